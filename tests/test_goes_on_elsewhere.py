"""Runs of `cnn train` taken up again: on another machine, from somebody else's folder, or when they are done."""

import json
import os
import re

import pytest
from commandline import write_photos
from model_files import document_of, with_document

from cnn.commands import cli
from cnn.commands.shared import environment, evaluation, machines, options, runs

TRAIN = ("train", "--filters=2", "--no-plots", "--name=run", "--validation-split=0.2", "--batch-size=16")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos", train=60, test=40)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, photos):
    """The files of a run of two epochs."""
    out = tmp_path_factory.mktemp("begun")
    assert cli.main([*TRAIN, "--epochs=2", f"--data={photos}", f"--out={out}"]) == 0
    return {path.name: path.read_bytes() for path in (out / "run").iterdir()}


@pytest.fixture
def run(begun, tmp_path):
    """A copy of that folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, data in begun.items():
        (folder / name).write_bytes(data)
    return folder


def contents(folder) -> dict:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def resume(folder, *flags) -> int:
    return cli.main(["train", f"--resume={folder}", "--no-plots", *flags])


def go_on(folder, epochs):
    assert resume(folder, f"--epochs={epochs}") == 0


def config(folder) -> dict:
    return json.loads((folder / "config.json").read_text())


# ---- another machine


def test_a_run_on_one_machine_says_nothing_of_others(run, capsys):
    before = config(run)
    go_on(run, 3)
    assert "machines" not in capsys.readouterr().err
    assert list(config(run)) == list(before) == ["command", "settings", "data", "machine"]
    assert config(run)["machine"] == before["machine"] == machines.machine()


ELSEWHERE = {
    "BLAS": (
        "blas_name",
        lambda: "openblas 0.3, kernels for Nehalem",
        "BLAS .*, then openblas 0.3, kernels for Nehalem",
    ),
    "processor": ("processor", lambda: "Another 9000", "processor .*, then Another 9000"),
    "NumPy": (
        "versions",
        lambda: {"numpy-cnn": "0", "NumPy": "2.1.0", "Numba": "0.61"},
        "NumPy .*, then 2.1.0; Numba .*0.61",
    ),
}


@pytest.mark.parametrize("name, found, reason", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_run_that_goes_on_elsewhere_says_so_at_its_start(run, monkeypatch, capsys, name, found, reason):
    first = config(run)["machine"]
    monkeypatch.setattr(environment, name, found)
    go_on(run, 3)
    err = capsys.readouterr().err
    line = next(line for line in err.splitlines() if line.startswith("warning"))
    assert "different machines, so other bits" in line and err.index(line) < err.index("Epoch 3")
    assert re.search(reason, line)
    assert config(run)["machine"] == first
    assert config(run)["resumed"] == [{"epoch": 3, "batch": 1, "machine": machines.machine()}]
    go_on(run, 4)  # the same again
    assert len(config(run)["resumed"]) == 1


def test_a_variable_that_changes_bits_is_part_of_the_machine(run, monkeypatch, capsys):
    monkeypatch.setenv("NUMBA_CPU_NAME", "gene\x1bric")
    go_on(run, 3)
    assert "NUMBA_CPU_NAME not set, then gene?ric" in capsys.readouterr().err
    assert config(run)["resumed"][0]["machine"]["NUMBA_CPU_NAME"] == "gene?ric"


def test_back_where_it_began_a_run_still_says_where_it_has_been(run, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(environment, "processor", lambda: "Another 9000")
        go_on(run, 3)
    capsys.readouterr()
    go_on(run, 4)
    assert "processor" in capsys.readouterr().err
    assert [part["epoch"] for part in config(run)["resumed"]] == [3, 4]
    assert document_of((run / "last.npz").read_bytes())["training"]["extra"]["parts"][1:] == config(run)["resumed"]


def older(run):
    """As before last.npz kept the machines."""
    drop = lambda document: document["training"]["extra"].pop("parts")
    (run / "last.npz").write_bytes(with_document((run / "last.npz").read_bytes(), drop))


def test_of_an_older_run_the_record_is_taken_from_its_config(run, monkeypatch, capsys):
    older(run)
    first = config(run)["machine"]
    monkeypatch.setattr(environment, "processor", lambda: "Another 9000")
    go_on(run, 3)
    assert "then Another 9000" in capsys.readouterr().err
    assert config(run)["machine"] == first and config(run)["resumed"][0]["machine"]["processor"] == "Another 9000"


def test_an_older_run_without_its_record_goes_on(run, capsys):
    older(run)
    (run / "config.json").unlink()
    go_on(run, 3)
    assert "machines" not in capsys.readouterr().err and config(run)["machine"] == machines.machine()


# ---- done already


@pytest.mark.parametrize("flags", [(), ("--epochs=2",), ("--batch-size=16",)], ids=str)
def test_showing_a_finished_run_again_changes_no_file(run, monkeypatch, capsys, flags):
    before = contents(run)
    monkeypatch.setattr(environment, "processor", lambda: "Another 9000")
    assert resume(run, *flags) == 0
    assert "finished already" in capsys.readouterr().err
    assert contents(run) == before


def test_nor_does_it_with_other_test_photos(run, tmp_path, photos, capsys):
    before = contents(run)
    other = write_photos(tmp_path / "other", train=60, test=30)
    assert resume(run, f"--data={other}") == 0
    assert contents(run) == before


def test_what_a_killed_run_had_not_written_is_written(run):
    (run / "metrics.json").unlink()
    before = contents(run)
    assert cli.main(["train", f"--resume={run}"]) == 0
    new = contents(run)
    assert {name: new[name] for name in before} == before
    assert sorted(new.keys() - before.keys()) == ["confusion_matrix.png", "curves.png", "metrics.json"]
    assert cli.main(["train", f"--resume={run}"]) == 0
    assert contents(run) == new


def test_a_best_model_that_is_gone_is_told(run, capsys):
    (run / "best.npz").unlink()
    go_on(run, 3)
    assert "best.npz: the best epoch so far is lost" in capsys.readouterr().err


# ---- somebody else's folder


def extra(**values):
    return lambda document: document["training"]["extra"].update(values)


def setting(**values):
    return lambda document: document["training"]["extra"]["settings"].update(values)


def noted(**values):
    return lambda document: document["training"]["settings"].update(values)


def history(change):
    return lambda document: change(document["training"]["callbacks"]["History"]["values"])


def part(**values):
    return lambda document: document["training"]["extra"].update(
        parts=[{"epoch": 1, "batch": 1, "machine": {}} | values]
    )


HOSTILE = {
    "data folder of half a character": (extra(data="\ud800"), "expected a data folder of printable text"),
    "data folder steers the terminal": (extra(data="\x1b]0;owned\x07\x1b[2J"), "expected a data folder of printable"),
    "data folder with a zero byte": (extra(data="a\0b"), "expected a data folder of printable text"),
    "data folder of several lines": (extra(data="a\nb"), "expected a data folder of printable text"),
    "data folder written backwards": (extra(data="a\u202eb"), "expected a data folder of printable text"),
    "data folder a list": (extra(data=["a"]), "expected a run of `cnn train`"),
    "larger filters than the model's": (setting(filters=[1024] * 4), "contradicts itself: convolutions"),
    "larger kernels": (setting(kernel_size=28), "contradicts itself: convolutions: expected .*28"),
    "another network": (setting(network="dense"), "contradicts itself: convolutions"),
    "another seed": (setting(seed=5), "contradicts itself: run.model.seed: expected 5, got 0"),
    "another optimizer": (setting(optimizer="sgd"), "contradicts itself: run.compile"),
    "another learning rate": (setting(learning_rate=1.0), "contradicts itself: run.compile.optimizer.*: expected 1.0"),
    "another batch size": (
        setting(batch_size=1_000_000),
        "contradicts itself: run.batch_size: expected 1000000, got 16",
    ),
    "another split": (setting(validation_split=0.3), "contradicts itself: run.validation_split"),
    "not shuffled": (noted(shuffle=False), "contradicts itself: run.shuffle"),
    "another beginning": (noted(initial_epoch=1), "contradicts itself: run.initial_epoch"),
    "fit knows another model": (lambda d: d["training"]["settings"]["model"].update(seed=1), "run.model.seed"),
    "fewer epochs than done": (noted(epochs=1), "contradicts itself: epochs begun: expected at most 1, got 2"),
    "epochs for ever": (
        lambda d: d["training"].update(epoch=2**40),
        "contradicts itself: epochs begun: expected at most 2",
    ),
    "epochs of the model": (lambda d: d["progress"].update(epochs=7), "contradicts itself: epochs of the model"),
    "steps of the optimizer": (
        lambda d: d["progress"].update(iterations=5),
        "steps of the optimizer: expected 6, got 5",
    ),
    "history too short": (
        history(lambda h: (h["epoch"].pop(), [v.pop() for v in h["history"].values()])),
        "in the history",
    ),
    "history of other epochs": (history(lambda h: h.update(epoch=[0, 7])), "contradicts itself: epochs in the history"),
    "history of uneven length": (
        history(lambda h: h["history"].update(rate=[1.0])),
        "contradicts itself: history of rate",
    ),
    "step beyond the epoch": (
        lambda d: d["training"].update(epoch=1, step=99, count=99, sums={"loss": 1.0, "accuracy": 1.0}),
        "expected at most 3 batches in an epoch",
    ),
    "no machines": (extra(parts=[]), "expected the machines that the run was computed on"),
    "machines as text": (extra(parts="all"), "expected the machines that the run was computed on"),
    "a million machines": (extra(parts=[{"epoch": 1, "batch": 1, "machine": {}}] * 2000), "expected the machines"),
    "machine steers the terminal": (part(machine={"BLAS": "\x1b[2J"}), "expected the machines"),
    "machine of a megabyte": (part(machine={"BLAS": "a" * 1_000_000}), "expected the machines"),
    "machine a list": (part(machine=["BLAS"]), "expected the machines"),
    "machine at half an epoch": (part(epoch=0.5), "expected the machines"),
}


@pytest.mark.parametrize("change, reason", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_run_that_means_harm_is_refused_and_left_as_it_is(run, capsys, change, reason):
    (run / "last.npz").write_bytes(with_document((run / "last.npz").read_bytes(), change))
    before = contents(run)
    assert resume(run, "--epochs=5") == 4
    out, err = capsys.readouterr()
    assert err.replace("\n", "").isprintable() and "Delete" not in err and out == ""
    assert re.search(reason, err.splitlines()[-1]), err
    assert contents(run) == before


def test_a_strange_data_folder_can_be_named_anew(run, photos):
    (run / "last.npz").write_bytes(with_document((run / "last.npz").read_bytes(), extra(data="a\nb")))
    assert resume(run, "--epochs=3", f"--data={photos}") == 0


def write_pipe(path):
    os.mkfifo(path)


CONFIGS = {
    "pipe": write_pipe,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "large": lambda path: path.write_text(" " * (runs.MAX_JSON + 1)),
    "deep": lambda path: path.write_text("[" * 100_000),
    "list": lambda path: path.write_text("[1]"),
    "not a number": lambda path: path.write_text('{"data": NaN}'),
    "data a list": lambda path: path.write_text('{"data": [], "machine": []}'),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("make", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_that_is_none_of_ours_neither_hangs_nor_fills_the_memory(run, monkeypatch, photos, make):
    (run / "config.json").unlink()
    make(run / "config.json")
    said = []
    monkeypatch.setattr(options, "log", said.append)
    evaluation.warn_of_other_data(run / "best.npz", ([], []), str(photos))
    assert len(said) == 1 and "does not say whether it was trained on photos like those" in said[0]
    older(run)
    assert resume(run) == 0
