"""What a real process of `cnn train` does when it is stopped, at named moments and at any: nothing is lost.

What the library does by itself, without the command, stands in test_interrupts.py. The moments are hit exactly by
patching the production function at which the process is to receive the signal. Each stopped run is resumed with the
very command that it printed, and must end with the bits of one that never stopped.
"""

import os
import random
import shlex
import signal
import time

import numpy as np
import pytest
from commandline import PATIENCE, arrays, result, run, same_bits, start, succeeds

from cnn import saving

pytestmark = pytest.mark.slow

FLAGS = ("--filters=4,8", "--epochs=3", "--batch-size=10", "--validation-split=0.2", "--no-plots", "--shards=2")

# Calls the k-th call of a function of ours behind a signal (or several) to this very process.
DRIVER = """
import importlib, os, signal, sys
import cnn.commands.cli
module, name, when, signals = sys.argv[1:5]
owner = importlib.import_module(module.partition(":")[0])
for part in filter(None, module.partition(":")[2].split(".")):
    owner = getattr(owner, part)
original, calls = getattr(owner, name), 0
def patched(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(when):
        for number in signals.split(","):
            os.kill(os.getpid(), int(number))
    return original(*args, **kwargs)
setattr(owner, name, patched)
sys.exit(cnn.commands.cli.main(sys.argv[5:]))
"""


@pytest.fixture(scope="module")
def uninterrupted(photo_folder, tmp_path_factory):
    """The run folder of a training that was left in peace."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    succeeds("train", *FLAGS, "--data", photo_folder, cwd=folder)
    return folder / "runs/train"


def train_with_signal(place, when, signals, *flags, cwd):
    """The finished process of a training that sends itself signals at the `when`-th call of a function."""
    module, name = place.rsplit(" ", 1)
    signals = ",".join(str(int(number)) for number in signals)
    return run("-c", DRIVER, module, name, when, signals, "train", *flags, cwd=cwd)


def resumed_as_told(stderr, cwd):
    """The process of the command that a stopped training printed at its end."""
    program, *arguments = shlex.split(stderr.splitlines()[-1])
    assert (program, arguments[:2]) == ("cnn", ["train", "--resume"])
    return succeeds(*arguments, "--no-plots", cwd=cwd)


def same_run(folder, other):
    """Whether two run folders hold the same models, history and results."""
    names = ("last.npz", "best.npz")
    return all(same_bits(folder / name, other / name) for name in names) and (
        (folder / "history.csv").read_text() == (other / "history.csv").read_text()
    )


MOMENTS = {
    "while the photos are read": ("cnn.datasets.idx load_split", 1),
    "while the kernels are compiled": ("cnn.commands.shared.session prepare_kernels", 1),
    "in the first batch": ("cnn.training.fit train_step", 1),
    "in a batch": ("cnn.training.fit train_step", 30),
    "in the last batch of an epoch": ("cnn.training.fit train_step", 48),
    "in validation": ("cnn.training.fit evaluate_checked", 1),
    "in the last validation": ("cnn.training.fit evaluate_checked", 3),
    "while saving the first state": ("cnn.saving.model_file save_training", 1),
    "while saving an epoch": ("cnn.saving.model_file save_training", 3),
    "while the file is written": ("os fsync", 5),
    "while the best model is saved": ("cnn.models:Sequential save", 2),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("place", "when"), MOMENTS.values(), ids=MOMENTS)
def test_first_signal_saves_and_tells_how_to_go_on(photo_folder, uninterrupted, tmp_path, place, when, number):
    done = train_with_signal(place, when, [number], *FLAGS, "--data", photo_folder, cwd=tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert "Stopping: this batch is finished and saved first." in done.stderr
    assert "Traceback" not in done.stderr and "RESULT" not in done.stdout
    saving.load_training(tmp_path / "runs/train")
    result(resumed_as_told(done.stderr, tmp_path).stdout)
    assert same_run(tmp_path / "runs/train", uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["cnn.training.fit train_step", "cnn.saving.model_file save_training", "os fsync"])
def test_second_signal_leaves_at_once(photo_folder, uninterrupted, tmp_path, place, number):
    done = train_with_signal(place, 4, [number, number], *FLAGS, "--data", photo_folder, cwd=tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr
    folder = tmp_path / "runs/train"
    assert not [name for name in os.listdir(folder) if "tmp" in name]
    succeeds("train", "--resume=train", "--no-plots", cwd=tmp_path)  # from the state before
    assert same_run(folder, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_after_the_training_loses_only_the_report(photo_folder, uninterrupted, tmp_path, number):
    place = "cnn.commands.shared.evaluation evaluate"
    done = train_with_signal(place, 1, [number], *FLAGS, "--data", photo_folder, cwd=tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert "The trained model is kept in runs/train" in done.stderr.splitlines()[-1]
    assert same_run(tmp_path / "runs/train", uninterrupted)
    assert "finished already" in succeeds("train", "--resume=train", "--no-plots", cwd=tmp_path).stderr


def test_stopped_again_and_again(photo_folder, uninterrupted, tmp_path):
    done = train_with_signal(
        "cnn.training.fit train_step", 7, [signal.SIGINT], *FLAGS, "--data", photo_folder, cwd=tmp_path
    )
    for when in (5, 20, 9):
        done = train_with_signal("cnn.training.fit train_step", when, [signal.SIGINT], "--resume=train", cwd=tmp_path)
        assert done.returncode == 130, done.stderr
    resumed_as_told(done.stderr, tmp_path)
    assert same_run(tmp_path / "runs/train", uninterrupted)


def begin(*arguments, cwd):
    """A training that runs beside us, once an epoch has begun, or it is over."""
    process = start("-m", "cnn", "train", *arguments, cwd=cwd)
    for line in process.stderr:
        if line.startswith("Epoch "):
            break
    return process


def test_ctrl_c_from_outside(photo_folder, tmp_path):
    process = begin(*FLAGS, "--epochs=1000", "--data", photo_folder, cwd=tmp_path)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "  cnn train --resume runs/train"


def test_killed_at_any_moment(photo_folder, uninterrupted, tmp_path):
    """What a killed process leaves of the command's own files, too: the best model, the table, the folder itself."""
    moments, killed = random.Random(0), 0
    for attempt in range(8):
        arguments = ["--resume=train", "--no-plots"] if attempt else [*FLAGS, "--data", photo_folder]
        process = begin(*arguments, cwd=tmp_path)
        time.sleep(moments.uniform(0, 0.04))
        process.kill()
        process.communicate(timeout=PATIENCE)
        saving.load_training(tmp_path / "runs/train")
        killed += process.returncode == -signal.SIGKILL
    assert killed > 1
    succeeds("train", "--resume=train", "--no-plots", cwd=tmp_path)
    assert same_run(tmp_path / "runs/train", uninterrupted)
    assert not [name for name in os.listdir(tmp_path / "runs/train") if "tmp" in name]


def test_two_trainings_side_by_side(photo_folder, uninterrupted, tmp_path):
    processes = [begin(*FLAGS, "--data", photo_folder, cwd=tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert result(outputs[0])[:3] == result(outputs[1])[:3]
    assert sorted(os.listdir(tmp_path / "runs")) == ["train", "train-2"]
    for name in ("train", "train-2"):
        assert same_run(tmp_path / "runs" / name, uninterrupted)


def test_many_processes_never_share_a_folder(tmp_path):
    code = "from cnn.commands.shared import runs; print(*[runs.create('runs').name for _ in range(20)])"
    processes = [start("-c", code, cwd=tmp_path) for _ in range(4)]
    names = " ".join(process.communicate(timeout=PATIENCE)[0] for process in processes).split()
    assert sorted(names) == sorted(["train", *(f"train-{k}" for k in range(2, 81))])


def test_nobody_reading_the_progress_stops_nothing(photo_folder, uninterrupted, tmp_path):
    with begin(*FLAGS, "--data", photo_folder, cwd=tmp_path) as process:
        process.stderr.close()
        stdout = process.stdout.read()
    assert process.returncode == 0
    assert result(stdout)
    assert same_run(tmp_path / "runs/train", uninterrupted)


SPOILED = """
import itertools, sys
import cnn.commands.cli, cnn.training.fit
number, train_step = itertools.count(1), cnn.training.fit.train_step
def spoiled(model, *args, **kwargs):
    if next(number) == 60:
        model.params["dense/bias"][:] = float("inf")
    return train_step(model, *args, **kwargs)
cnn.training.fit.train_step = spoiled
sys.exit(cnn.commands.cli.main(sys.argv[1:]))
"""


def test_a_diverging_run_keeps_the_model_of_the_last_good_epoch(photo_folder, uninterrupted, tmp_path):
    """The loss is made infinite in the third epoch; the resumed run, with the trouble gone, ends as if it never had."""
    done = run("-c", SPOILED, "train", *FLAGS, "--data", photo_folder, cwd=tmp_path)
    assert done.returncode == 5 and "epoch 3, step 12: the loss became" in done.stderr
    folder = tmp_path / "runs/train"
    model, state = saving.load_training(folder)
    assert state.epoch == 2 and all(np.isfinite(value).all() for value in arrays(folder / "last.npz").values())
    assert model.epoch == 2
    succeeds("train", "--resume=train", "--no-plots", cwd=tmp_path)
    assert same_run(folder, uninterrupted)
