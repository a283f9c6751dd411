"""Real processes that are killed, run out of disk or of memory: what was saved is whole, and a resume ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cnn import layers, models, saving
from cnn.errors import ModelFileError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent

TRAIN = '''
import builtins, hashlib, json, os, resource, signal, sys
import numpy as np
from cnn import callbacks, layers, models
from cnn.saving import atomic, npz
folder, fault = sys.argv[1], sys.argv[2:]

class Report(callbacks.Callback):
    def on_train_begin(self, logs=None):
        print("begin", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        if fault[:1] == ["disk"] and epoch == 1:  # from now on no file may be longer than half of what is needed
            size = os.path.getsize(os.path.join(folder, "last.npz")) // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

def killed_at(name, function, when, number):
    """The function, but the process dies before or after its call of that number."""
    calls = 0
    def call(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

if fault[:1] == ["call"]:
    _, name, when, number = fault
    if name == "open":
        atomic.open = killed_at(name, open, when, int(number))
    elif name == "write":
        npz._npy = killed_at(name, npz._npy, when, int(number))
    else:
        setattr(os, name, killed_at(name, getattr(os, name), when, int(number)))

rng = np.random.default_rng(0)
x, y = rng.random((96, 8, 8, 1), dtype=np.float32), rng.integers(0, 3, 96)
model = models.Sequential([layers.Conv2D(8, 3, activation="relu", input_shape=(8, 8, 1)), layers.MaxPooling2D(),
                           layers.Flatten(), layers.Dropout(0.3), layers.Dense(3, activation="softmax")], seed=5)
model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
model.shards = 2
backup = callbacks.BackupAndRestore(folder, save_freq=int(os.environ["SAVE_FREQ"]))
stopping = callbacks.EarlyStopping("val_loss", patience=100, restore_best_weights=True)
epochs = int(os.environ["EPOCHS"])
model.fit(x, y, batch_size=10, epochs=epochs, validation_split=0.2, verbose=0, callbacks=[backup, stopping, Report()])
digest = hashlib.sha256()
for values in (model.params, *model.optimizer.state.values()):
    for key, array in values.items():
        digest.update(key.encode() + array.tobytes())
print(json.dumps([digest.hexdigest(), model.optimizer.iterations, model.history.history]), flush=True)
'''


def start(folder, *fault, epochs=30, save_freq=1, program=TRAIN):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "EPOCHS": str(epochs), "SAVE_FREQ": str(save_freq)}
    arguments = [sys.executable, "-c", program, str(folder), *fault]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def finish(process) -> str:
    """The result of a run that must end well."""
    with process:
        try:
            output, errors = process.communicate(timeout=120)
        finally:
            process.kill()  # one that hangs
    assert process.returncode == 0, errors
    return output.splitlines()[-1]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """(result, seconds of training) of a run that nobody disturbs."""
    process = start(tmp_path_factory.mktemp("whole"))
    process.stdout.readline()
    began = time.monotonic()
    return finish(process), time.monotonic() - began


def check_whole(folder):
    """What a killed process left is a whole file, whichever it is, or none at all."""
    if (folder / "last.npz").exists():
        saving.load_training(folder)


def test_kill_at_twenty_random_moments(tmp_path, expected):
    result, seconds = expected
    moments, kills, runs = random.Random(0), 0, 0
    while kills < 20:
        folder = tmp_path / str(runs)
        folder.mkdir()
        runs += 1
        for _ in range(6):  # several kills in one run
            process = start(folder)
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
            assert finish(start(folder)) == result
            assert os.listdir(folder) == []
        assert runs < 20, "the runs end before they can be killed"


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    return finish(start(tmp_path_factory.mktemp("two"), epochs=2))


# The fourth save, after three batches: a call of it, and how many saves the folder holds when the process dies before or after it.
CALLS = {
    "the file is opened": ("open", 4, 3, 3),
    "an array in the middle is written": ("write", 35, 3, 3),  # 5 arrays in the first file, 13 in each of the others
    "the file is synced": ("fsync", 7, 3, 3),
    "the file is renamed": ("replace", 4, 3, 4),
    "the folder is synced": ("fsync", 8, 4, 4),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_kill_at_each_call_inside_saving(tmp_path, two_epochs, call, when):
    name, number, saves_before, saves_after = call
    process = start(tmp_path, "call", name, when, str(number), epochs=2)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    saves = saves_before if when == "before" else saves_after
    assert saving.load_training(tmp_path)[1].step == saves - 1  # the first save is that of the beginning
    assert finish(start(tmp_path, epochs=2)) == two_epochs
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_at_the_removal_of_a_finished_run(tmp_path, two_epochs, when):
    process = start(tmp_path, "call", "unlink", when, "1", epochs=2)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == (["last.npz"] if when == "before" else [])
    assert finish(start(tmp_path, epochs=2)) == two_epochs


def test_a_save_that_is_not_atomic_is_noticed(tmp_path):
    """Injected fault: write straight to the path. The kill in the middle then leaves half a file."""
    in_place = "from cnn.saving import npz\nimport contextlib\n@contextlib.contextmanager\ndef replacing(path):\n    with open(path, 'wb') as file:\n        yield file\nnpz.replacing = replacing\n"
    process = start(tmp_path, "call", "write", "before", "35", epochs=2, program=in_place + TRAIN)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ModelFileError):
        check_whole(tmp_path)


def test_disk_full(tmp_path):
    process = start(tmp_path, "disk", epochs=4, save_freq=8)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (
        "OSError: [Errno 27] File too large" in errors.splitlines()[-1]
        and str(tmp_path / "last.npz") in errors.splitlines()[-1]
    )
    assert os.listdir(tmp_path) == ["last.npz"]  # no temporary file
    assert saving.load_training(tmp_path)[1].epoch == 1
    (whole := tmp_path / "whole").mkdir()
    assert finish(start(tmp_path, epochs=4, save_freq=8)) == finish(start(whole, epochs=4, save_freq=8))


INTERRUPT = """
import random, signal, sys, time
import numpy as np
source = open(sys.argv[2]).read()
before, fit, after = source.partition("model.fit(")
exec(before)
moments, interrupts = random.Random(1), 0
def interrupt(signum, frame):
    raise KeyboardInterrupt
def once_more(lost):
    if lost.exc_type is KeyboardInterrupt:  # it met a __del__, where Python drops it
        signal.setitimer(signal.ITIMER_REAL, 0.002)
signal.signal(signal.SIGALRM, interrupt)
sys.unraisablehook = once_more
def make_fit(*args, **kwargs):
    global interrupts
    while True:
        try:
            if interrupts < 20:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.001, 0.03))
            model.fit(*args, **kwargs)
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        except KeyboardInterrupt:
            interrupts += 1
            assert all(len(values) == len(model.history.epoch) for values in model.history.history.values())
            assert np.isfinite(model.predict(x[:2], verbose=0)).all()
exec("make_fit(" + after)
assert interrupts >= 10, interrupts
"""


def test_ctrl_c_in_a_notebook_at_twenty_moments(tmp_path, expected):
    """KeyboardInterrupt out of fit, and the same model goes on exactly."""
    (program := tmp_path / "train.py").write_text(TRAIN)
    (folder := tmp_path / "backup").mkdir()
    assert finish(start(folder, str(program), program=INTERRUPT)) == expected[0]


INTERRUPT_THREADS = """
import random, signal, sys, time
from kernels import blas, threads
assert blas.controllable()  # this loads NumPy, whose import bears no interrupt; whoever has a model has loaded it
threads.set_threads(2)
def interrupt(signum, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
sys.unraisablehook = lambda lost: None  # an interrupt that met a __del__
def slow_square(k):
    time.sleep(moments.uniform(0, 0.0002))
    return k * k
moments, interrupts = random.Random(0), 0
while interrupts < 10000:
    try:
        signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.00005, 0.0005))
        while True:
            assert threads.run(slow_square, range(4)) == [0, 1, 4, 9]
    except KeyboardInterrupt:
        interrupts += 1
print("done")
"""


def test_ctrl_c_at_ten_thousand_moments_leaves_no_lock_taken(tmp_path):
    process = start(tmp_path, program=INTERRUPT_THREADS)
    assert finish(process) == "done"


LOAD = """
import resource, sys
from cnn import models
from cnn.errors import ModelFileError
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
for path in sys.argv[1:]:
    try:
        models.load_model(path)
    except ModelFileError as error:
        print(error)
    else:
        raise SystemExit(f"{path} was loaded")
print("done")
"""


def patched_entry(data: bytes, hole: int) -> tuple[bytes, bytes]:
    """A file's first member grown by `hole` zero bytes that take no room on the disk: (before the hole, after it)."""
    with_size = bytearray(data)
    at = int.from_bytes(data[-6:-2], "little")
    size = int.from_bytes(data[at + 24 : at + 28], "little")
    for field in (20, 24):
        with_size[at + field : at + field + 4] = (size + hole).to_bytes(4, "little")
    end = 30 + int.from_bytes(data[26:28], "little") + size
    entry = at
    while with_size[entry : entry + 4] == b"PK\1\2":
        offset = int.from_bytes(with_size[entry + 42 : entry + 46], "little")
        if offset:
            with_size[entry + 42 : entry + 46] = (offset + hole).to_bytes(4, "little")
        entry += 46 + sum(int.from_bytes(with_size[entry + k : entry + k + 2], "little") for k in (28, 30, 32))
    with_size[-6:-2] = (at + hole).to_bytes(4, "little")
    return bytes(with_size[:end]), bytes(with_size[end:])


def write_sparse(path, before: bytes, hole: int, after: bytes) -> None:
    with open(path, "wb") as file:
        file.write(before)
        file.seek(hole, os.SEEK_CUR)
        file.write(after)


def test_hostile_files_under_a_memory_limit(tmp_path):
    """200 MB beyond what the interpreter has taken already must do for files that claim, or really have, gigabytes."""
    good = tmp_path / "good.npz"
    models.Sequential([layers.Dense(2, input_shape=(3,))]).save(good)
    data, gigabyte = good.read_bytes(), 1 << 30

    write_sparse(tmp_path / "zeros.npz", b"", 10 * gigabyte, b"\0")
    write_sparse(
        tmp_path / "directory.npz",
        b"PK\3\4",
        3 * gigabyte,
        b"PK\5\6" + bytes(4) + b"\xff\xff\xff\xff" + (3 * gigabyte).to_bytes(4, "little") + b"\4\0\0\0\0\0",
    )
    before, after = patched_entry(data, gigabyte)
    write_sparse(tmp_path / "json.npz", before, gigabyte, after)
    before = bytearray(before)
    header = before.index(b"'shape': (") + 10
    digits = before.index(b",", header) - header
    room = before.index(b"), }", header)
    claim = str(int(before[header : header + digits]) + gigabyte).encode() + b",), }"
    before[header : room + 4 + len(claim) - digits - 5] = claim  # the header's padding gives room for the longer number
    write_sparse(tmp_path / "long_json.npz", bytes(before), gigabyte, after)

    large = models.Sequential([layers.Dense(2, input_shape=(3,))])
    arrays = {"json": np.load(good)["json"]}
    document = json.loads(arrays["json"].tobytes())
    document["model"]["input_shape"], document["model"]["layers"][0]["config"]["units"] = [1_000_000], 1_000_000
    arrays["json"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(tmp_path / "claims.npz", **arrays, **large.params)
    assert (tmp_path / "json.npz").stat().st_blocks * 512 < 1 << 20  # the gigabytes are holes

    names = ["zeros", "directory", "json", "long_json", "claims"]
    process = subprocess.run(
        [sys.executable, "-c", LOAD, *(str(tmp_path / f"{name}.npz") for name in names)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stderr + process.stdout
    lines = process.stdout.splitlines()
    assert lines[-1] == "done" and len(lines) == len(names) + 1
    for line, name in zip(lines, names, strict=False):
        assert line.startswith(str(tmp_path / f"{name}.npz: ")) and "memory" not in line, line
    assert "expected at most 16,777,216 bytes" in lines[1] and "expected at most 4,194,304 bytes" in lines[3]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat():
    """10,000 calls of predict, then 200 epochs: no cache or history holds on to arrays."""
    x, y = np.zeros((64, 8, 8, 1), np.float32), np.zeros(64, int)
    model = models.Sequential(
        [layers.Conv2D(8, 3, input_shape=(8, 8, 1)), layers.Flatten(), layers.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")

    def predict(times):
        for _ in range(times):
            model.predict(x[:4], verbose=0)

    predict(200)
    before = resident()
    predict(10_000)
    assert resident() - before < 4 << 20
    model.fit(x, y, epochs=5, verbose=0)
    before = resident()
    model.fit(x, y, epochs=200, verbose=0)
    assert resident() - before < 4 << 20
