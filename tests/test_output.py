"""What the commands print: names from strangers steer no terminal, JSON stays JSON, encodings end nothing."""

import io
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from commandline import ENVIRONMENT, PATIENCE, cnn, refused, succeeds, write_photos
from PIL import Image

from cnn import plots, terminal
from cnn.article import dense
from cnn.commands import cli
from cnn.commands.shared import streams
from cnn.network import Network
from cnn.photos import Photo, Prediction
from cnn.saving import model_file
from cnn.terminal import draw_photo, shown, visible

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\r\b\x9b31m\u202e\nRESULT test_accuracy=1"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028\u2029\ud800-\udfff]")  # all but the end of a line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data set, a photo, a model and a run, all of them called by hostile names."""
    folder = tmp_path_factory.mktemp("output")
    write_photos(folder / HOSTILE)
    square = np.zeros((28, 28), np.uint8)
    square[8:20, 8:20] = 200
    for name in (f"{HOSTILE}.png", b"not-utf-8-\xff.png", "日本.png"):
        Image.fromarray(square).save(os.path.join(os.fsencode(folder), os.fsencode(name)))
    dense().save(folder / f"{HOSTILE}.npz")
    return folder


def told(folder, monkeypatch, capsys, *arguments):
    """(exit code, stdout, stderr) of a command run in that folder by this very process."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


FLAGS = ("--network=dense", "--epochs=1", "--no-plots", "--batch-size=100")
COMMANDS = {
    "predict": ("predict", f"{HOSTILE}.png"),
    "predict, several": ("predict", "9", f"{HOSTILE}.png", "--ascii"),
    "predict a photo that is not there": ("predict", f"{HOSTILE}.gif"),
    "predict no photo's name": ("predict", HOSTILE[:20]),
    "predict with a model": ("predict", "9", "--model", f"{HOSTILE}.npz"),
    "predict with a model that is not there": ("predict", "9", "--model", f"{HOSTILE}.h5"),
    "predict --figure": ("predict", "9", "--figure", f"{HOSTILE}.svg"),
    "predict --figure elsewhere": ("predict", "9", "--figure", f"{HOSTILE}nowhere/x.svg"),
    "predict --figure, no picture": ("predict", "9", "--figure", HOSTILE),
    "evaluate": ("evaluate", "--model", f"{HOSTILE}.npz", "--data", HOSTILE),
    "evaluate a folder without a model": ("evaluate", "--model", HOSTILE),
    "photos": ("photos", "--model", f"{HOSTILE}.npz", "--data", HOSTILE, "--out", f"{HOSTILE}.pdf"),
    "data that are not there": ("photos", "--data", HOSTILE[:30]),
    "compare": ("compare", "--dense", f"{HOSTILE}.npz", "--limit=20", "--out", f"{HOSTILE}compared"),
    "explain": ("explain", f"{HOSTILE}.png", "--step=F1"),
    "explain --step": ("explain", "9", "--step", HOSTILE),
    "explain --target": ("explain", "9", "--target", HOSTILE),
    "explain --html": ("explain", f"{HOSTILE}.png", "--html=p.html"),
    "lessons": ("lessons", f"{HOSTILE}class"),
    "lessons, but that is a file": ("lessons", f"{HOSTILE}.png"),
    "gradcheck": ("gradcheck", "--model", f"{HOSTILE}.npz", "--samples=30"),
    "summary": ("summary", "--model", f"{HOSTILE}.npz"),
    "env": ("env", "--data", HOSTILE),
    "train": ("train", *FLAGS, "--data", HOSTILE, "--out", f"{HOSTILE}runs", "--name", f"{HOSTILE}run"),
    "train again": ("train", *FLAGS, "--data", HOSTILE, "--out", f"{HOSTILE}runs", "--name", f"{HOSTILE}run"),
    "resume": ("train", "--resume", f"{HOSTILE}run", "--out", f"{HOSTILE}runs", "--no-plots", "--data", HOSTILE),
    "resume nothing": ("train", "--resume", f"{HOSTILE}-", "--out", f"{HOSTILE}runs"),
    "an unknown flag": ("train", f"--{HOSTILE}"),
    "an unknown command": (HOSTILE,),
    "a number": ("train", "--epochs", HOSTILE),
    "a choice": ("train", "--optimizer", HOSTILE),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_no_name_steers_the_terminal(folder, monkeypatch, capsys, arguments):
    code, stdout, stderr = told(folder, monkeypatch, capsys, *arguments)
    assert stdout + stderr
    assert not CONTROL.search(stdout + stderr)
    results = re.findall(r"^RESULT.*", stdout + stderr, re.M)  # a name that ends a line begins none of ours
    assert all("test_loss" in line for line in results)
    if code:
        assert len(stderr.rstrip().splitlines()[-1]) > 10


@pytest.mark.parametrize("name", [f"{HOSTILE}.png", os.fsdecode(b"not-utf-8-\xff.png"), "日本.png"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_json_keeps_the_true_name_in_every_encoding(folder, name, encoding):
    done = cnn("predict", name, "--json", cwd=folder, text=False, env={**ENVIRONMENT, "PYTHONIOENCODING": encoding})
    text = done.stdout.decode(encoding)
    assert not CONTROL.search(text)
    assert json.loads(text)["predictions"][0]["file"] == name


def test_colours_of_our_own_are_kept(folder, monkeypatch, capsys):
    _, stdout, _ = told(folder, monkeypatch, capsys, "predict", f"{HOSTILE}.png", "--color=always")
    photo = np.asarray(Image.open(folder / f"{HOSTILE}.png"))
    lines = draw_photo(photo, terminal.Style(True, True, 80))
    assert all(line in stdout for line in lines)
    assert not CONTROL.search("".join(terminal.DRAWING.split(stdout)[::2]))


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred",
        "\x1b[38;5;16;48;5;16mhidden\x1b[0m",  # our own colours, but around words
        "\x1b[38;5;16m▀",  # colours that nobody ends
        "\x1b[38;5;99999m▀\x1b[0m",
        "\x1b[0m",
        "a\tb\vc\fd",
        "\x00\x7f\x85\xad",
        "\u200b\u2066\ufeff\ue000\ud8ff",
    ],
)
def test_all_that_a_terminal_obeys_is_shown(text):
    assert not re.search(r"[^\x20-\x7e▀]", shown(text))
    assert visible(text) == shown(text)


@pytest.mark.parametrize("text", ["", "plain", "ünï → ✓ ━ 日本 👟", "two\nlines\n", "\x1b[38;5;208m#\x1b[0m|"])
def test_what_is_harmless_stays_as_it_is(text):
    assert shown(text) == text


def test_texts_in_pictures_are_shown(tmp_path):
    photo = Photo(np.zeros((28, 28), np.uint8), HOSTILE, label=None)
    figure = plots.prediction_card(Prediction(photo, np.full(10, 0.1), tuple("abcdefghij")))
    figure.savefig(io.BytesIO(), format="png")
    texts = [artist.get_text() for artist in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("\\x1b]0;owned" in text for text in texts)
    assert not CONTROL.search("".join(texts))


# ---- going on with a run


@pytest.mark.parametrize("name", ["plain", "two words", "it's", HOSTILE, "back\\slash\x01", "\udcff", "\u202eé\u00a0"])
def test_the_command_to_go_on_means_the_run_in_a_shell(name):
    line = streams.command_line(["printf", "%s", name])
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=PATIENCE)
    assert done.stdout == os.fsencode(name)
    if name.isprintable():
        assert shlex.split(line)[2] == name


def test_a_run_whose_data_folder_is_no_text(tmp_path):
    """A file chooses that name: it is not printed, and not looked for."""
    photos = write_photos(tmp_path / "photos")
    succeeds("train", *FLAGS, "--data", photos, cwd=tmp_path)
    path = tmp_path / "runs/train/last.npz"
    for name in ("\x1b]0;owned\x07\x1b[2J", "a\nb", "x" * 5000, "\u202e"):
        model, state = model_file.load_training(path, Network)
        state.extra["data"] = name
        model_file.save_training(model, path, state)
        done = refused(
            4, "expected a data folder of printable text", "train", "--resume=train", "--epochs=2", cwd=tmp_path
        )
        assert not CONTROL.search(done.stderr + done.stdout)
    succeeds("train", "--resume=train", "--epochs=2", "--no-plots", "--data", photos, cwd=tmp_path)


# ---- encodings

ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437", "utf-16", "ascii:replace", "shift_jis")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "arguments",
    [("summary",), ("predict", "9"), ("photos", "--model"), ("predict", "日本.png"), ("explain", "9", "--step=F4")],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_encoding_gets_its_text(folder, monkeypatch, arguments, encoding):
    """In this process, on streams of that encoding, with the strictness that stdout has."""
    raw = io.BytesIO(), io.BytesIO()
    encoding = encoding.partition(":")[0]
    monkeypatch.chdir(folder)
    for name, bytes_ in zip(("stdout", "stderr"), raw, strict=True):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(bytes_, encoding, "strict"))
    assert cli.main(list(arguments)) == 0
    sys.stdout.flush()
    text = raw[0].getvalue().decode(encoding)
    assert len(text.splitlines()) > 8
    if arguments == ("summary",):
        assert "conv2d (Conv2D)" in text and "\\u" not in text


def test_summary_in_code_and_ascii():
    code = "from cnn.article import dense; dense().summary()"
    command, ascii_only = [sys.executable, "-c", code], {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=ascii_only, timeout=PATIENCE)
    assert done.returncode == 0 and "| dense_1 (Dense)" in done.stdout
    assert len({len(line) for line in done.stdout.splitlines() if line.startswith(("|", "+"))}) == 1


# ---- mistakes

EMPTY = [
    ("explain", "9", "--html"),
    ("explain", "9", "--figures"),
    ("explain",),
    ("explain", "9", "--model"),
    ("explain", "9", "--target"),
    ("explain", "9", "--step"),
    ("predict", "9", "--figure"),
    ("predict", "9", "--data"),
    ("predict",),
    ("photos", "--model"),
    ("photos", "--out"),
    ("compare", "--out"),
    ("compare", "--dense"),
    ("train", "--out"),
    ("train", "--name"),
    ("train", "--resume"),
    ("evaluate", "--model"),
]


@pytest.mark.parametrize("arguments", EMPTY, ids=" ".join)
def test_an_empty_name_is_refused(tmp_path, monkeypatch, capsys, arguments):
    code, stdout, stderr = told(tmp_path, monkeypatch, capsys, *arguments, "")
    assert (code, stdout) == (2, "")
    assert re.fullmatch(r"cnn \w+: .*expected .*''.*\n", stderr)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments", [(), ("trian",), ("train", "--epochs=0"), ("train", "--what"), ("train", "--name=a/b")]
)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, arguments):
    code, stdout, stderr = told(tmp_path, monkeypatch, capsys, *arguments)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("cnn") and len(stderr.splitlines()) == 1


def test_a_backend_that_is_not_there_is_no_matter(tmp_path):
    environment = {**ENVIRONMENT, "MPLBACKEND": "foo"}
    succeeds("predict", "9", "--figure=card.png", cwd=tmp_path, env=environment)
    succeeds("env", cwd=tmp_path, env=environment)
    assert (tmp_path / "card.png").stat().st_size > 10_000


def test_env_shows_the_variables_that_change_bits(tmp_path):
    chosen = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NPY_DISABLE_CPU_FEATURES": "AVX512F"}
    text = succeeds("env", cwd=tmp_path, env={**ENVIRONMENT, **chosen}).stdout
    line = next(line for line in text.splitlines() if line.startswith("Variables "))
    assert all(f"{name}={value}" in line for name, value in chosen.items())


def test_env_says_what_uninstalling_leaves(tmp_path):
    text = succeeds("env", cwd=tmp_path, env={**ENVIRONMENT, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}).stdout
    assert re.search(rf"^Kernel cache +{re.escape(str(tmp_path))}/cache\S* \(uninstalling leaves it", text, re.M)
