"""All files that commands write are the old one or the new one, whole; and the small ones that they read do no harm.

The disk is full where a limit on the size of files is reached.
"""

import json
import os
import re
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest
from commandline import ENVIRONMENT, PATIENCE, cnn, refused, result, succeeds, write_photos

from cnn import saving
from cnn.article import dense
from cnn.commands.shared import files

FLAGS = ("--network=dense", "--epochs=1", "--batch-size=100")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 100, 50)


def full_disk(size):
    """For preexec_fn: no file may become larger than this."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WRITERS = {
    "a page": (("explain", "9", "--html=page.html"), "page.html", 100_000),
    "figures": (("explain", "9", "--figures=figures"), "figures/.*png", 8_000),
    "a card": (("predict", "9", "--figure=card.png"), "card.png", 8_000),
    "a card as SVG": (("predict", "9", "--figure=card.svg"), "card.svg", 8_000),
    "the second of two cards": (("predict", "9", "2", "--figure=card.pdf"), "card(-2)?.pdf", 5_000),
    "a lesson": (("lessons", "class"), "students/.*ipynb", 5_000),
    "a sheet": (("photos", "--out=sheet.png"), "sheet.png", 8_000),
    "a comparison": (("compare", "--limit=20", "--out=compared"), "compared/compare.json", 1_000),
    "its picture": (("compare", "--limit=20", "--out=compared"), "compared/compare.png", 300_000),
}


@pytest.mark.parametrize(("arguments", "name", "size"), WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_old_file_and_names_the_new_one(tmp_path, arguments, name, size):
    succeeds(*arguments, cwd=tmp_path)
    before = contents(tmp_path)
    done = refused(1, f"{name}: File too large", *arguments, cwd=tmp_path, preexec_fn=full_disk(size))
    after = contents(tmp_path)
    assert after == before
    assert "Errno" not in done.stderr


@pytest.mark.parametrize(("arguments", "name", "size"), WRITERS.values(), ids=WRITERS)
def test_the_same_again_is_the_same_bytes(tmp_path, arguments, name, size):
    succeeds(*arguments, cwd=tmp_path)
    before = contents(tmp_path)
    assert [path for path in before if re.search(name, path)]
    succeeds(*arguments, cwd=tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("explain", "9", "--html=nowhere/page.html"), "nowhere/page.html"),
        (("explain", "9", "--html=."), r"\."),
        (("explain", "9", "--figures=file"), "file"),
        (("compare", "--limit=20", "--out=file/deeper"), "file/deeper"),
        (("compare", "--limit=20", "--out=compared"), "compared/compare.json"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_named(tmp_path, arguments, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "compared/compare.json").mkdir(parents=True)
    refused(1, rf"^cnn \w+: \S*{place}: \w+", *arguments, cwd=tmp_path)
    assert contents(tmp_path) == {"file": b"mine"}


def test_a_link_stays_and_what_is_no_file_is_written_to(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    files.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    files.write(tmp_path / "pipe", "through")
    reader.join(PATIENCE)
    assert received == [b"through"] and (tmp_path / "pipe").is_fifo()
    files.write("/dev/null", "away")
    assert not os.path.isfile("/dev/null")
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe", "real"]


def test_a_folder_of_any_depth(tmp_path, photos):
    deep = "d/" * 1500
    assert files.make_folder(tmp_path / deep).is_dir()
    succeeds("train", *FLAGS, "--no-plots", "--data", photos, f"--out={deep}", cwd=tmp_path)
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # pytest's own way would call itself too often


def test_json_has_no_nan(tmp_path):
    for value in (float("nan"), float("inf"), [1, {"a": -float("inf")}]):
        with pytest.raises(ValueError, match="JSON"):
            files.write_json(tmp_path / "x.json", value)
    assert os.listdir(tmp_path) == []


# ---- a run's result and its pictures


def test_a_picture_that_cannot_be_drawn_costs_no_result(photos, tmp_path):
    """Somebody's matplotlibrc asks for a LaTeX that is not there."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    environment = {**ENVIRONMENT, "PATH": "/nowhere"}
    done = succeeds("train", *FLAGS, "--data", photos, cwd=tmp_path, env=environment)
    assert result(done.stdout)
    for name in ("curves.png", "confusion_matrix.png"):
        assert re.search(rf"^warning: runs/train/{name} is missing: cannot be drawn: .*latex", done.stderr, re.M)
        assert not (tmp_path / "runs/train" / name).exists()
    assert (tmp_path / "runs/train/metrics.json").exists()
    card = refused(1, "card.png: cannot be drawn", "predict", "9", "--figure=card.png", cwd=tmp_path, env=environment)
    assert "The model says Sandal" in card.stdout


PATCHED = """
import sys
from cnn.commands import cli
from cnn.commands.shared import pictures, files
def fail(*a, **k): raise {error}
{what} = fail
sys.exit(cli.main(sys.argv[1:]))
"""
FAULTS = {
    "no memory": ("pictures.drawn", "MemoryError()"),
    "a fault in matplotlib": ("pictures.drawn", "AssertionError('what')"),
    "no file left": ("pictures.drawn", "OSError(24, 'Too many open files', 'font.ttf')"),
    "no matplotlib": ("sys.modules['cnn.plots']", None),
}


@pytest.mark.parametrize(("what", "error"), FAULTS.values(), ids=FAULTS)
def test_whatever_a_picture_fails_with(photos, tmp_path, what, error):
    code = PATCHED.format(what=what, error=error)
    code = code if error else code.replace("= fail", "= None")
    command = [sys.executable, "-c", code, "train", *FLAGS, "--data", str(photos)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
    assert done.returncode == 0 and result(done.stdout)
    assert len(re.findall(r"^warning: \S+png is missing: .", done.stderr, re.M)) == 2
    assert "Traceback" not in done.stderr


def test_the_result_stands_before_a_disk_that_is_full_for_pictures(photos, tmp_path):
    succeeds("train", *FLAGS, "--data", photos, cwd=tmp_path)
    folder = tmp_path / "runs/train"
    for name in ("curves.png", "confusion_matrix.png"):
        (folder / name).unlink()
    done = succeeds("train", "--resume=train", cwd=tmp_path, preexec_fn=full_disk(10_000))
    assert result(done.stdout) and done.stderr.count("png is missing: File too large") == 2
    assert not [name for name in os.listdir(folder) if "tmp" in name or "png" in name]


def stamps(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


@pytest.mark.parametrize("flags", [(), ("--no-plots",), ("--epochs=2",), ("--batch-size=100", "--name=train")])
def test_showing_a_finished_run_again_changes_no_file(photos, tmp_path, flags):
    succeeds("train", *FLAGS, "--epochs=2", "--validation-split=0.5", "--data", photos, cwd=tmp_path)
    before = stamps(tmp_path / "runs/train")
    others = write_photos(tmp_path / "others", 100, 40)  # the same training photos, other test photos
    for data in ([], [f"--data={others}"]):
        done = succeeds("train", "--resume=train", *flags, *data, cwd=tmp_path)
        assert "finished already" in done.stderr and result(done.stdout)
        assert stamps(tmp_path / "runs/train") == before
    environment = {**ENVIRONMENT, "OPENBLAS_CORETYPE": "Nehalem"}
    succeeds("train", "--resume=train", *flags, cwd=tmp_path, env=environment)
    assert stamps(tmp_path / "runs/train") == before


def test_what_a_finished_run_lacks_is_made(photos, tmp_path):
    succeeds("train", *FLAGS, "--no-plots", "--data", photos, cwd=tmp_path)
    folder = tmp_path / "runs/train"
    (folder / "metrics.json").unlink()
    succeeds("train", "--resume=train", cwd=tmp_path)
    assert {"metrics.json", "curves.png", "confusion_matrix.png"} <= set(os.listdir(folder))


def test_results_of_an_earlier_end_do_not_stay_beside_a_longer_training(photos, tmp_path):
    succeeds("train", *FLAGS, "--data", photos, cwd=tmp_path)
    succeeds("train", "--resume=train", "--epochs=3", "--no-plots", cwd=tmp_path)
    folder = tmp_path / "runs/train"
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 3
    assert json.loads((folder / "config.json").read_text())["settings"]["epochs"] == 3
    assert not (folder / "curves.png").exists()


# ---- small files that are read


@pytest.fixture
def run(tmp_path):
    """A folder with a model, whose config.json a test will put there."""
    dense().save(tmp_path / "last.npz")
    return tmp_path


def make_endless(path):
    path.symlink_to("/dev/zero")


def make_large(path):
    with open(path, "wb") as file:
        file.truncate(50 << 30)  # holes


CONFIGS = {
    "a pipe": os.mkfifo,
    "endless": make_endless,
    "50 GB": make_large,
    "a folder": os.mkdir,
    "a link to itself": lambda path: path.symlink_to(path),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "no text": lambda path: path.write_bytes(bytes(range(256))),
    "another kind": lambda path: path.write_text('{"data": ["test_sha256"]}'),
    "a number": lambda path: path.write_text('{"data": {"test_sha256": 1e999}}'),
    "long digits": lambda path: path.write_text('{"data": {"test_sha256": ' + "9" * 900_000 + "}}"),
}


@pytest.mark.parametrize("make", CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_means_harm(run, photos, make):
    make(run / "config.json")

    def little_memory():
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

    done = succeeds("evaluate", "--model=.", "--data", photos, cwd=run, preexec_fn=little_memory, timeout=60)
    assert "does not say whether it was trained" in done.stderr


# ---- answers that are none


def model_of(weight=None, scale=None):
    model = dense()
    if weight is not None:
        model.set_weights([np.resize(weight, array.shape) for array in model.get_weights()])
    model.input_scale = scale
    return model


HARMFUL = {"weights": (1e38, None), "weights of both signs": (np.array([3e38, -3e38]), None), "both": (1e33, 1e6)}
ASKING = {
    "predict": ("predict", "9"),
    "predict --json": ("predict", "9", "--json"),
    "photos": ("photos",),
    "compare": ("compare", "--limit=20"),
    "compare --json": ("compare", "--limit=20", "--json"),
    "evaluate": ("evaluate",),
    "evaluate --json": ("evaluate", "--json"),
    "explain": ("explain", "9", "--step=F12"),
    "explain --json": ("explain", "9", "--json"),
    "explain --html": ("explain", "9", "--html=page.html"),
    "gradcheck --json": ("gradcheck", "--json", "--samples=30"),
}


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
@pytest.mark.parametrize("arguments", ASKING.values(), ids=ASKING)
def test_numbers_that_overflow_are_no_answer(tmp_path, photos, monkeypatch, capsys, arguments, harm):
    from cnn.commands import cli

    monkeypatch.chdir(tmp_path)
    saving.save_model(model_of(*harm), "m.npz")
    code = cli.main([*arguments, "--model=m.npz", "--data", str(photos)])
    stdout, stderr = capsys.readouterr()
    assert code == 4
    assert stdout == "" and re.fullmatch(r"cnn \w+: m.npz: [^\n]+ too large[^\n]*", stderr.splitlines()[-1])
    assert "RuntimeWarning" not in stderr and os.listdir() == ["m.npz"]


def test_the_dense_network_of_a_comparison_is_named_too(tmp_path):
    model_of(1e38).save(tmp_path / "m.npz")
    done = cnn("compare", "--dense=m.npz", "--limit=20", cwd=tmp_path)
    assert done.returncode == 4 and "m.npz: the network's answer is not a number" in done.stderr
