"""A training outlives its log: disks that fill up, terminals that go away, streams that somebody closed."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from commandline import ENVIRONMENT, PATIENCE, ROOT, result, same_bits, succeeds, write_photos

from cnn import saving

FLAGS = ("--network=dense", "--epochs=3", "--batch-size=10", "--shards=2")
COMMAND = [sys.executable, "-m", "cnn", "train", *FLAGS]
FILES = {"config.json", "history.csv", "last.npz", "metrics.json", "curves.png", "confusion_matrix.png"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """last.npz of a training that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    succeeds("train", *FLAGS, "--data", photos, cwd=folder)
    return folder / "runs/train/last.npz"


def bash(script, cwd, photos):
    """A finished process: bash runs the script, in which {train} is the command."""
    command = f"{sys.executable} -m cnn train {' '.join(FLAGS)} --data '{photos}'"
    return subprocess.run(
        ["bash", "-c", script.replace("{train}", command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
    )


def is_whole(folder, whole):
    return set(os.listdir(folder)) == FILES and same_bits(folder / "last.npz", whole)


@pytest.mark.parametrize(
    "lost", ["2>/dev/full", "2>&-", "2>/dev/full <&-", "<&- 2>&-", "2> >(true)", "2>/dev/full --verbose=1"]
)
def test_a_lost_log_ends_nothing(photos, whole, tmp_path, lost):
    done = bash(f"{{train}} {lost}", tmp_path, photos)
    assert done.returncode == 0
    assert result(done.stdout)
    assert is_whole(tmp_path / "runs/train", whole)


@pytest.mark.parametrize("lost", [">/dev/full", ">&-", "> >(true)", ">&- 2>&- <&-", ">/dev/full 2>/dev/full"])
def test_a_result_that_nobody_takes_costs_no_file(photos, whole, tmp_path, lost):
    done = bash(f"{{train}} {lost}", tmp_path, photos)
    assert is_whole(tmp_path / "runs/train", whole)
    assert done.returncode == (1 if ">/dev/full" in lost.split() else 0)
    if lost == ">/dev/full":
        assert done.stderr.splitlines()[-1] == "cnn train: stdout: No space left on device"


@pytest.mark.parametrize("command", ["summary", "env", "predict 9", "photos", "evaluate --json", "explain 9 --json"])
@pytest.mark.parametrize("full", [">", "2>"])
def test_a_full_disk_behind_a_stream(tmp_path, command, full):
    done = bash(f"{sys.executable} -m cnn {command} {full}/dev/full", tmp_path, "")
    if full == "2>":
        assert done.returncode == 0 and done.stdout
    else:
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith("stdout: No space left on device")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", ["predict", "predict 9", "explain 9 --step=F1", "photos"])
def test_a_closed_stdin_is_the_end_of_the_input(tmp_path, command):
    done = bash(f"{sys.executable} -m cnn {command} <&-", tmp_path, "")
    assert done.returncode == 0, done.stderr
    assert "NoneType" not in done.stderr


def until_the_first_epoch(terminal):
    """What arrives until a training has begun."""
    received = b""
    while b"Epoch 1/" not in received:
        received += os.read(terminal, 65536)
    return received


def start_on_a_terminal(cwd, photos, *flags, before="pass", **streams):
    """(a training whose streams are a terminal's, the terminal's other end), once an epoch has begun."""
    ours, theirs = pty.openpty()
    code = f"import os, pty, signal, sys; {before}; from cnn.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **streams}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", *FLAGS, *flags, "--data", str(photos)],
        cwd=cwd,
        env=ENVIRONMENT,
        **streams,
    )
    os.close(theirs)
    until_the_first_epoch(ours)
    return process, ours


@pytest.mark.parametrize("verbose", ["1", "2"])
def test_a_terminal_that_goes_away_while_hangups_are_ignored(photos, tmp_path, verbose):
    """As under nohup: every write then gives EIO, and the training goes on to its files."""
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    flags = ("--epochs=60", f"--verbose={verbose}")
    with open(tmp_path / "out", "w") as out:
        process, terminal = start_on_a_terminal(tmp_path, photos, *flags, before=ignored, stdout=out)
        os.close(terminal)
        assert process.wait(PATIENCE) == 0
    assert result((tmp_path / "out").read_text())
    assert set(os.listdir(tmp_path / "runs/train")) == FILES
    assert saving.load_training(tmp_path / "runs/train")[1].epoch == 60


def test_a_terminal_that_takes_the_result_with_it(photos, tmp_path):
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    process, terminal = start_on_a_terminal(tmp_path, photos, "--epochs=60", before=ignored)
    os.close(terminal)
    assert process.wait(PATIENCE) == 1
    assert set(os.listdir(tmp_path / "runs/train")) == FILES


def test_a_hangup_saves_like_sigterm(photos, tmp_path):
    heard = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # also where nohup runs the tests
    process, terminal = start_on_a_terminal(tmp_path, photos, "--epochs=2000", "--verbose=2", before=heard)
    process.send_signal(signal.SIGHUP)
    os.close(terminal)
    assert process.wait(PATIENCE) == 128 + signal.SIGHUP
    state = saving.load_training(tmp_path / "runs/train")[1]
    assert state.step or state.epoch
    done = succeeds("train", "--resume=train", f"--epochs={state.epoch + 1}", "--no-plots", cwd=tmp_path)
    assert f"going on at epoch {state.epoch + 1}, batch {state.step + 1}" in done.stderr


def test_a_log_whose_disk_fills_in_the_middle(photos, whole, tmp_path):
    """The limit on the size of files holds for the log, and not for what is smaller than it."""

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    (tmp_path / "log").write_bytes(b" " * 1_999_000)
    with open(tmp_path / "log", "a") as log:
        done = subprocess.run(
            [*COMMAND, "--data", photos],
            cwd=tmp_path,
            stderr=log,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            preexec_fn=small,
            timeout=PATIENCE,
        )
    assert done.returncode == 0 and result(done.stdout)
    assert (tmp_path / "log").stat().st_size <= 2_000_000
    assert is_whole(tmp_path / "runs/train", whole)


# ---- the clock


# Runs `cnn train` and prints which kernels were compiled, or loaded for new types of arguments, after the clock began.
WATCH = """
import json, sys
from numba.core.dispatcher import Dispatcher
from cnn.commands import cli
from cnn.commands.shared import session
import kernels.adam, kernels.relu_pool, kernels.im2col, kernels.pooling

def compiled():
    found = set()
    for name, module in list(sys.modules.items()):
        if name.startswith(("kernels", "cnn")):
            for key, value in vars(module).items():
                several = getattr(value, "kernels", None)  # of one that runs in threads, or alone
                for kernel in several if isinstance(several, tuple) else [value]:
                    if isinstance(kernel, Dispatcher):
                        found |= {f"{kernel.py_func.__qualname__} {s}" for s in kernel.signatures}
    return found

begin, moments = session.Keeper.__init__, []
session.Keeper.__init__ = lambda self, *a: (moments.append(compiled()), begin(self, *a))[1]
seconds = session.Keeper.seconds
session.Keeper.seconds = lambda self: (moments.append(compiled()), seconds(self))[1]
code = cli.main(sys.argv[1:])
print("KERNELS", json.dumps([len(moments[0]), sorted(moments[-1] - moments[0])]))
sys.exit(code)
"""
NETWORKS = {
    "the article's": (),
    "dense": ("--network=dense",),
    "large filters": ("--filters=8,16", "--kernel-size=5"),
    "odd numbers of filters": ("--filters=3,5,7",),
    "one convolution": ("--filters=32",),
    "sgd, validation": ("--optimizer=sgd", "--validation-split=0.2"),
    "one shard": ("--shards=1", "--batch-size=7"),
    "many shards": ("--shards=16", "--batch-size=100"),
    "more shards than photos": ("--shards=200", "--batch-size=3"),
    "batches of one": ("--batch-size=1", "--limit=20"),
}


@pytest.mark.parametrize("flags", NETWORKS.values(), ids=NETWORKS)
def test_no_kernel_is_compiled_within_the_clock(photos, tmp_path, flags):
    command = [sys.executable, "-c", WATCH, "train", *flags, "--epochs=1", "--no-plots", "--data", str(photos)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("KERNELS"))
    count, late = json.loads(line.removeprefix("KERNELS "))
    assert count > 0 and late == []


def test_warming_up_takes_no_memory_of_a_batch():
    code = """
import tracemalloc, numpy as np
from cnn.commands.shared import session
from cnn.article import convolutional
model = convolutional()
model.compile("adam", "sparse_categorical_crossentropy")
x, y = np.zeros((4000, 28, 28, 1), np.float32), np.zeros(4000, np.uint8)
session.prepare_kernels(model, x, y, 4000)
tracemalloc.start()
session.prepare_kernels(model, x, y, 4000)
print(tracemalloc.get_traced_memory()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
    assert int(done.stdout) < 30_000_000, done.stderr  # the step itself needs 750 MB for such a batch


def test_preparing_changes_nothing(photos):
    from cnn.commands.shared import session

    model = session.compiled(session.settings.DEFAULTS | {"shards": 2})
    before = model.get_weights()
    x = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
    session.prepare_kernels(model, x, np.zeros(8, np.uint8), 4)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 0 and not model.optimizer.state.get("m")
