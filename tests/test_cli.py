"""Every command as a user runs it: in a process of its own, with its output read."""

import csv
import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pyte
import pytest
from commandline import ENVIRONMENT, PATIENCE, arrays, refused, result, same_bits, succeeds, write_photos
from PIL import Image

from cnn import models, saving
from cnn.article import dense
from cnn.layers import Dense, Flatten
from cnn.saving.state import TrainingState

QUICK = ("--network=dense", "--epochs=2", "--no-plots")


@pytest.fixture(scope="module")
def trained(photo_folder, tmp_path_factory):
    """(folder in which it was started, process) of one small training with validation data, 3 epochs."""
    folder = tmp_path_factory.mktemp("trained")
    flags = (
        "--filters=4,8",
        "--epochs=3",
        "--validation-split=0.2",
        "--batch-size=16",
        "--seed=7",
        f"--data={photo_folder}",
    )
    return folder, succeeds("train", *flags, cwd=folder)


# ---- train


def test_last_line_of_train_is_the_result_that_metrics_hold(trained):
    folder, process = trained
    accuracy, loss, seed, seconds = result(process.stdout)
    metrics = json.loads((folder / "runs/train/metrics.json").read_text())
    assert (f"{metrics['test_accuracy']:.4f}", f"{metrics['test_loss']:.4f}") == (f"{accuracy:.4f}", f"{loss:.4f}")
    assert (metrics["seed"], metrics["time_s"]) == (seed, seconds) == (7, seconds)
    assert np.trace(metrics["confusion_matrix"]) / 200 == metrics["test_accuracy"]
    assert metrics["interval_95"][0] < metrics["test_accuracy"] < metrics["interval_95"][1]


def test_run_folder_holds_what_it_should(trained):
    folder = trained[0] / "runs/train"
    names = {"config.json", "history.csv", "metrics.json", "last.npz", "best.npz", "curves.png", "confusion_matrix.png"}
    assert set(os.listdir(folder)) == names
    for name in ("curves.png", "confusion_matrix.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 500
            assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 20  # something is drawn
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["filters"] == [4, 8] and config["settings"]["seed"] == 7
    assert {"Python", "NumPy", "Numba", "BLAS", "processor"} <= config["machine"].keys()


def test_history_has_a_row_an_epoch(trained):
    with open(trained[0] / "runs/train/history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert float(rows[2]["loss"]) < float(rows[0]["loss"])


def test_redirected_progress_is_one_line_an_epoch_on_stderr(trained):
    _, process = trained
    steps = re.findall(
        r"^15/15 - \d+s - \d+[mu]?s/step - accuracy: \d.\d{4} - loss: .* - val_loss: \d.\d{4}$", process.stderr, re.M
    )
    assert len(steps) == 3
    assert not re.search("[\r\b\x1b━]", process.stderr + process.stdout)
    assert "Epoch" not in process.stdout


def test_effective_settings_are_announced(trained):
    error = trained[1].stderr
    for part in (
        "runs/train",
        "filters 4,8",
        "batch size 16",
        "seed 7",
        "NumPy ",
        "BLAS ",
        f"Python {sys.version.split()[0]}",
    ):
        assert part in error.split("Epoch 1/3")[0]


def test_best_is_the_epoch_of_least_validation_loss(trained):
    folder = trained[0] / "runs/train"
    with open(folder / "history.csv") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert saving.load_model(folder / "best.npz").epoch == losses.index(min(losses)) + 1
    assert json.loads((folder / "metrics.json").read_text())["model"] == "best.npz"


def test_model_says_how_it_was_made(trained):
    model = saving.load_model(trained[0] / "runs/train")
    assert model.class_names[8] == "8" and model.input_scale == 1 / 255  # IDX files tell no names
    assert "--filters=4,8" in model.made_by and "--seed=7" in model.made_by


def test_names_count_up_and_a_name_that_is_taken_is_refused(photo_folder, tmp_path):
    for folder in ("train", "train-2", "train-3"):
        assert f"runs/{folder}" in succeeds("train", *QUICK, "--data", photo_folder, cwd=tmp_path).stdout
    before = (tmp_path / "runs/train-2/last.npz").read_bytes()
    refused(2, "train-2 exists already", "train", *QUICK, "--name=train-2", "--data", photo_folder, cwd=tmp_path)
    assert (tmp_path / "runs/train-2/last.npz").read_bytes() == before
    succeeds(
        "train",
        *QUICK,
        "--name=my run {0} ü",
        "--out=else where",
        "--validation-split=.5",
        "--data",
        photo_folder,
        cwd=tmp_path,
    )
    assert (tmp_path / "else where/my run {0} ü/best.npz").exists()


def test_same_seed_same_bits_whatever_the_threads(photo_folder, tmp_path):
    for name, flags in {"a": ["--threads=1"], "b": ["--threads=2"], "c": ["--seed=1"]}.items():
        succeeds(
            "train",
            "--filters=4",
            "--epochs=1",
            "--no-plots",
            "--shards=2",
            "--data",
            photo_folder,
            "--name",
            name,
            *flags,
            cwd=tmp_path,
        )
    last = {name: tmp_path / f"runs/{name}/last.npz" for name in "abc"}
    assert same_bits(last["a"], last["b"])
    assert not same_bits(last["a"], last["c"])


def test_networks_and_optimizers(photo_folder, tmp_path):
    flags = ["--epochs=1", "--no-plots", f"--data={photo_folder}"]
    succeeds("train", "--network=dense", "--optimizer=sgd", "--learning-rate=0.1", *flags, cwd=tmp_path)
    succeeds("train", "--filters=2,3,4", "--kernel-size=5", *flags, cwd=tmp_path)
    assert {key: value.shape for key, value in arrays(tmp_path / "runs/train/last.npz").items()} == {
        "dense/kernel": (784, 128),
        "dense/bias": (128,),
        "dense_1/kernel": (128, 10),
        "dense_1/bias": (10,),
    }
    assert arrays(tmp_path / "runs/train-2/last.npz")["conv2d_2/kernel"].shape == (5, 5, 3, 4)


def test_learns_real_photos(tmp_path):
    done = succeeds("train", "--limit=6000", "--epochs=2", "--no-plots", cwd=tmp_path)
    assert result(done.stdout)[0] > 0.80


def test_live_progress_on_a_terminal(photo_folder, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cnn", "train", *QUICK, "--batch-size=2", "--data", photo_folder]
    environment = {**ENVIRONMENT, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=theirs, stdout=subprocess.PIPE, text=True, env=environment)
    os.close(theirs)
    received = b""
    try:
        while chunk := os.read(ours, 65536):
            received += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    stdout, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and result(stdout)
    screen = pyte.Screen(160, 40)
    pyte.Stream(screen).feed(received.decode())
    lines = [line.rstrip() for line in screen.display]
    (second,) = [k for k, line in enumerate(lines) if re.fullmatch(r"Epoch 2/2 - (\d+s|\d+:\d\d) left", line)]
    assert lines[second + 1].startswith("150/150 " + "━" * 20)
    assert re.search(r"[━─]{20} \d+s \d+[mu]?s/step - accuracy: ", received.decode())
    assert received.count(b"\r") > 10  # it moved


def test_verbose_0_is_quiet_about_progress(photo_folder, tmp_path):
    assert "Epoch" not in succeeds("train", *QUICK, "--verbose=0", "--data", photo_folder, cwd=tmp_path).stderr


# ---- resume


def test_resume_with_more_epochs_gives_the_bits_of_one_long_run(photo_folder, tmp_path):
    flags = ("--filters=4", "--validation-split=0.2", "--data", photo_folder)
    succeeds("train", *flags, "--epochs=4", "--name=long", cwd=tmp_path)
    succeeds("train", *flags, "--epochs=2", "--name=parts", cwd=tmp_path)
    done = succeeds("train", "--resume=parts", "--epochs=4", cwd=tmp_path)
    assert "going on at epoch 3, batch 1" in done.stderr
    for name in ("last.npz", "best.npz"):
        assert same_bits(tmp_path / "runs/long" / name, tmp_path / "runs/parts" / name)
    histories = [(tmp_path / f"runs/{run}/history.csv").read_text() for run in ("long", "parts")]
    assert histories[0] == histories[1]


def test_resuming_a_finished_run_says_so_and_changes_nothing(trained):
    folder, process = trained
    before = arrays(folder / "runs/train/last.npz")
    done = succeeds("train", "--resume=runs/train", cwd=folder)
    assert "finished already, after 3 epochs" in done.stderr and "Epoch" not in done.stderr
    assert result(done.stdout)[:3] == result(process.stdout)[:3]
    after = arrays(folder / "runs/train/last.npz")
    assert all(np.array_equal(before[key], after[key]) for key in before)


CONTRADICTIONS = (
    "--batch-size=32",
    "--seed=8",
    "--filters=4",
    "--learning-rate=1e-2",
    "--optimizer=sgd",
    "--epochs=2",
    "--validation-split=0.5",
    "--limit=100",
    "--network=dense",
    "--kernel-size=5",
    "--shards=200",
    "--name=other",
)


@pytest.mark.parametrize("flag", CONTRADICTIONS)
def test_resume_refuses_contradicting_flags_by_name(trained, flag):
    refused(
        2,
        f"^cnn train: {flag.split('=')[0]}: the run in runs/train has .*: leave it out",
        "train",
        "--resume=train",
        flag,
        cwd=trained[0],
    )


def test_resume_accepts_flags_that_agree(trained):
    succeeds("train", "--resume=train", "--batch-size=16", "--seed=7", "--filters=4,8", "--name=train", cwd=trained[0])


def test_resume_refuses_other_photos(trained, tmp_path):
    others = write_photos(tmp_path / "others", shift=1)
    before = {path.name: path.read_bytes() for path in (trained[0] / "runs/train").iterdir()}
    refused(
        3, "expected the photos that the run began with", "train", "--resume=train", "--data", others, cwd=trained[0]
    )
    assert before == {path.name: path.read_bytes() for path in (trained[0] / "runs/train").iterdir()}


def test_resume_refuses_files_that_are_no_run(tmp_path):
    refused(2, "--resume: expected the folder of a run", "train", "--resume=runs/train", cwd=tmp_path)
    (tmp_path / "empty").mkdir()
    refused(4, "last.npz: cannot be read: No such file", "train", "--resume=empty", cwd=tmp_path)
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy")
    history = {"History": {"epoch": [], "history": {}}}
    for extra in ({}, {"settings": {"epochs": "os.system"}, "data": None, "seconds": 0.0}):
        state = TrainingState(0, 0, {}, 0, False, {"epochs": 3}, "0" * 64, history, extra)
        saving.save_training(model, tmp_path / "empty/last.npz", state)
        refused(4, "empty: expected a run of `cnn train`", "train", "--resume=empty", cwd=tmp_path)


def test_only_one_process_trains_in_a_folder(trained):
    import fcntl

    descriptor = os.open(trained[0] / "runs/train", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        refused(
            2, "another process is training in this folder", "train", "--resume=train", "--epochs=5", cwd=trained[0]
        )
    finally:
        os.close(descriptor)


# ---- evaluate


def test_evaluate_in_a_fresh_process_gives_the_result_of_training(trained, photo_folder):
    folder, _ = trained
    found = json.loads(succeeds("evaluate", "--model=runs/train", "--data", photo_folder, "--json", cwd=folder).stdout)
    metrics = json.loads((folder / "runs/train/metrics.json").read_text())
    assert found["model"] == "runs/train/best.npz"
    assert {key: metrics[key] for key in ("test_accuracy", "test_loss", "confusion_matrix")} == {
        key: found[key] for key in ("test_accuracy", "test_loss", "confusion_matrix")
    }


def test_a_model_that_was_never_compiled(photo_folder, tmp_path):
    """Whether its last step is a softmax tells whether its outputs are logits."""
    results = []
    for activation in ("softmax", None):
        model = models.Sequential([Flatten(input_shape=(28, 28, 1)), Dense(10, activation)], seed=3)
        model.save(tmp_path / "model.npz")
        results.append(succeeds("evaluate", "--model=model.npz", "--data", photo_folder, "--json", cwd=tmp_path).stdout)
        succeeds("gradcheck", "--model=model.npz", "--data", photo_folder, cwd=tmp_path)
    assert results[0] == results[1]


def test_evaluate_agrees_with_the_library(trained, photo_folder):
    from cnn.datasets import fashion_mnist

    folder, _ = trained
    found = json.loads(
        succeeds("evaluate", "--model=runs/train/last.npz", "--data", photo_folder, "--json", cwd=folder).stdout
    )
    (x, y), model = fashion_mnist.load_split("test", photo_folder), saving.load_model(folder / "runs/train/last.npz")
    loss, accuracy = model.evaluate(x[..., None] * np.float32(1 / 255), y, verbose=0)
    assert found["test_accuracy"] == accuracy
    assert found["test_loss"] == pytest.approx(loss, rel=1e-5)
    table = succeeds("evaluate", "--model=runs/train/last.npz", "--data", photo_folder, cwd=folder).stdout
    for name, share in found["recall"].items():
        assert re.search(rf"^{name} +{share:.1%}( |$)", table, re.M)
    assert len(found["recall"]) == 10


def test_evaluate_warns_of_other_data(trained, photo_folder, tmp_path):
    folder, _ = trained
    assert "warning" not in succeeds("evaluate", "--model=runs/train", "--data", photo_folder, cwd=folder).stderr
    assert "warning" not in succeeds("evaluate", "--model=runs/train", cwd=folder).stderr  # it knows its photos
    other = f"--data={write_photos(tmp_path / 'other', shift=1)}"
    assert "was trained on other data" in succeeds("evaluate", "--model=runs/train", other, cwd=folder).stderr
    dense().save(model := tmp_path / "untrained.npz")
    assert "does not say whether" in succeeds("evaluate", "--model", model, "--data", photo_folder, cwd=folder).stderr


def test_foreign_models_are_refused(tmp_path):
    refused(4, "nothing.npz: ", "evaluate", "--model=nothing.npz", cwd=tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    refused(4, "text.npz: not an .npz file", "evaluate", "--model=text.npz", cwd=tmp_path)
    (tmp_path / "folder").mkdir()
    refused(4, "folder: expected a model file or the folder of a run", "evaluate", "--model=folder", cwd=tmp_path)
    models.Sequential([Flatten(input_shape=(4, 4, 1)), Dense(3, activation="softmax")]).save(tmp_path / "small.npz")
    refused(
        4,
        r"small.npz: expected a model that makes \(10,\) of \(28, 28, 1\)",
        "evaluate",
        "--model=small.npz",
        cwd=tmp_path,
    )


def test_summary_of_a_trained_model_and_of_both(trained):
    assert "│ (None, 28, 28, 4) " in succeeds("summary", "--model=runs/train", cwd=trained[0]).stdout
    refused(
        2, "--model and --filters: expected one of them", "summary", "--model=runs/train", "--filters=3", cwd=trained[0]
    )
