"""A training by the library that is killed, meets Ctrl-C or a full disk: files are whole, it goes on to the same bits.

What the command `cnn train` makes of it stands in test_signals.py.
"""

import contextlib
import gc
import itertools
import os
import random
import signal
import sys
import time

import numpy as np
import pytest
from commandline import ENVIRONMENT, ROOT, start

from cnn import saving
from cnn.errors import ModelFileError
from cnn.saving import npz

pytestmark = pytest.mark.slow
PROGRAM = ROOT / "tests/disturbed.py"


def finish(process) -> str:
    """The last line of a run that must end well."""
    with process:
        try:
            output, errors = process.communicate(timeout=300)
        finally:
            process.kill()  # one that hangs
    assert process.returncode == 0, errors
    return output.splitlines()[-1]


def train(folder, *fault, epochs=2, save_freq=1):
    """The process of a training that is disturbed as disturbed.py says."""
    return start(PROGRAM, "train", folder, epochs, *fault, env={**ENVIRONMENT, "SAVE_FREQ": str(save_freq)})


def finish_killed(process):
    """Wait for a process that kills itself."""
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """(result, seconds of training) of 30 epochs that nobody disturbs."""
    process = train(tmp_path_factory.mktemp("whole"), epochs=30)
    process.stdout.readline()
    began = time.monotonic()
    return finish(process), time.monotonic() - began


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    """The result of 2 epochs that nobody disturbs."""
    return finish(train(tmp_path_factory.mktemp("two")))


def check_whole(folder):
    """What a killed process left is a whole file, whichever it is, or none at all."""
    if (folder / "last.npz").exists():
        saving.load_training(folder)


# ---- killed


def test_kill_at_twenty_random_moments(tmp_path, expected):
    result, seconds = expected
    moments, kills, runs = random.Random(0), 0, 0
    while kills < 20:
        folder = tmp_path / str(runs)
        folder.mkdir()
        runs += 1
        for _ in range(6):  # several kills in one run
            process = train(folder, epochs=30)
            process.stdout.readline()
            time.sleep(moments.uniform(0, seconds / 4))
            alive = process.poll() is None
            process.kill()
            process.communicate()
            kills += alive
            check_whole(folder)
            if not alive:
                break
        else:
            assert finish(train(folder, epochs=30)) == result
            assert os.listdir(folder) == []
        assert runs < 20, "the runs end before they can be killed"


# The fourth save, after three batches: a call of it, and how many saves the folder holds when the process dies before
# or after it.
CALLS = {
    "the file is opened": ("open", 4, 3, 3),
    "an array in the middle is written": ("_npy", 35, 3, 3),  # 5 arrays in the first file, 13 in each of the others
    "the file is synced": ("fsync", 7, 3, 3),
    "the file is renamed": ("replace", 4, 3, 4),
    "the folder is synced": ("fsync", 8, 4, 4),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_kill_at_each_call_inside_saving(tmp_path, two_epochs, call, when):
    name, number, saves_before, saves_after = call
    finish_killed(train(tmp_path, "kill", name, when, number))
    saves = saves_before if when == "before" else saves_after
    assert saving.load_training(tmp_path)[1].step == saves - 1  # the first save is that of the beginning
    assert finish(train(tmp_path)) == two_epochs
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_at_the_removal_of_a_finished_run(tmp_path, two_epochs, when):
    finish_killed(train(tmp_path, "kill", "unlink", when, 1))
    assert os.listdir(tmp_path) == (["last.npz"] if when == "before" else [])
    assert finish(train(tmp_path)) == two_epochs


IN_PLACE = """
import contextlib, sys
import disturbed
from cnn.saving import npz

@contextlib.contextmanager
def replacing(path):
    with open(path, "wb") as file:
        yield file

npz.replacing = replacing
disturbed.train(sys.argv[1], 2, "kill", "_npy", "before", 35)
"""


def test_a_save_that_is_not_atomic_is_noticed(tmp_path):
    """Injected fault: write straight to the path. The kill in the middle then leaves half a file."""
    path = os.pathsep.join([str(PROGRAM.parent), ENVIRONMENT["PYTHONPATH"]])
    finish_killed(start("-c", IN_PLACE, tmp_path, env={**ENVIRONMENT, "PYTHONPATH": path}))
    with pytest.raises(ModelFileError):
        check_whole(tmp_path)


# ---- a full disk


def test_disk_full(tmp_path):
    process = train(tmp_path, "disk", epochs=4, save_freq=8)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    last_line = errors.splitlines()[-1]
    assert "OSError: [Errno 27] File too large" in last_line and str(tmp_path / "last.npz") in last_line
    assert os.listdir(tmp_path) == ["last.npz"]  # no temporary file
    assert saving.load_training(tmp_path)[1].epoch == 1
    (whole := tmp_path / "whole").mkdir()
    assert finish(train(tmp_path, epochs=4, save_freq=8)) == finish(train(whole, epochs=4, save_freq=8))


# ---- Ctrl-C


def test_ctrl_c_in_a_notebook_at_twenty_moments(tmp_path, expected):
    """KeyboardInterrupt out of fit, and the same model goes on exactly."""
    assert finish(start(PROGRAM, "train_interrupted", tmp_path, 30)) == expected[0]


def test_ctrl_c_at_ten_thousand_moments_leaves_no_lock_taken():
    assert finish(start(PROGRAM, "interrupt_threads", 10_000)) == "done"


def interrupted_at(line, function, *args):
    """Call the function, with Ctrl-C at that line (counted as they are executed) of it or of what it calls."""
    executed = 0

    def trace(frame, event, arg):
        nonlocal executed
        executed += event == "line"
        if event == "line" and executed == line:
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a ZipFile half made
def test_ctrl_c_at_every_line_of_writing(tmp_path):
    """Whatever line it meets, it comes out as KeyboardInterrupt, and the file is the old one or the new one, whole."""
    path, old, new = str(tmp_path / "model.npz"), {"a": np.zeros(3)}, {"a": np.ones(3), "b": np.ones(4)}
    npz.write(path, new)
    whole = {"new": (tmp_path / "model.npz").read_bytes()}
    npz.write(path, old)
    whole["old"] = (tmp_path / "model.npz").read_bytes()
    found = []
    for line in itertools.count(1):
        with contextlib.suppress(KeyboardInterrupt):
            interrupted_at(line, npz.write, path, new)
            break
        gc.collect()
        found.append(next(name for name, data in whole.items() if data == (tmp_path / "model.npz").read_bytes()))
        assert os.listdir(tmp_path) == ["model.npz"], line
        npz.write(path, old)
    assert len(found) > 400 and found == sorted(found, reverse=True)  # the old one until the moment of the renaming
    assert set(found) == {"old", "new"}
