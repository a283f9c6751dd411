"""A place for compiled kernels that is missing, full or damaged costs time and nothing else."""

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commandline import ENVIRONMENT, PATIENCE

pytestmark = pytest.mark.slow  # each compiles all kernels of a small training anew

NOTE = "note: compiled kernels cannot be kept"
PROGRAM = """
import sys
{before}
import numpy as np
from cnn import layers, models
x, y = np.random.default_rng(0).random((16, 8, 8, 1), np.float32), np.arange(16) % 3
model = models.Sequential([layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)), layers.MaxPooling2D(),
                           layers.Flatten(), layers.Dense(3, activation="softmax")])
model.shards = 2
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x, y, batch_size=8, verbose=0)
print([w.tobytes().hex()[:40] for w in model.get_weights()])
"""
NO_LOCATOR = "import tempfile; tempfile.TemporaryFile = open"  # by which Numba tries a folder: no folder will do


def start(cache: Path | str, before: str = "", **options) -> subprocess.CompletedProcess:
    """A small training with its compiled kernels in this folder; it has succeeded."""
    environment = {**ENVIRONMENT, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, **options)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """(a folder with the compiled kernels, what the program prints)."""
    folder = tmp_path_factory.mktemp("kernels")
    done = start(folder)
    assert done.stderr == "" and len(files(folder)) > 5
    return folder, done.stdout


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_nowhere_to_write_is_said_once_and_changes_nothing(kept, tmp_path):
    done = start(tmp_path, NO_LOCATOR)
    assert done.stdout == kept[1]
    assert done.stderr.count(NOTE) == 1 and len(done.stderr.splitlines()) == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize("folder", ["/proc/no/such", "/dev/null/kernels", "{file}/kernels"])
def test_a_folder_that_cannot_be_made(kept, tmp_path, folder):
    (tmp_path / "file").write_text("")
    assert start(folder.format(file=tmp_path / "file")).stdout == kept[1]


def test_a_full_disk_is_said_once(kept, tmp_path):
    done = start(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)))
    assert done.stdout == kept[1] and done.stderr.count("note:") == 1 and NOTE in done.stderr


@pytest.mark.parametrize("damage", ["empty", "half", "other bytes", "text", "a folder"])
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_files_are_made_anew(kept, tmp_path, ending, damage):
    folder = tmp_path / "kernels"
    subprocess.run(["cp", "-a", kept[0], folder], check=True)
    damaged = [path for path in files(folder) if path.suffix == ending]
    assert damaged
    for path in damaged:
        data = path.read_bytes()
        if damage == "a folder":
            path.unlink()
            path.mkdir()
        else:
            changed = {"empty": b"", "half": data[: len(data) // 2], "other bytes": bytes(len(data)), "text": b"x" * 99}
            path.write_bytes(changed[damage])
    first, second = start(folder), start(folder)
    assert first.stdout == second.stdout == kept[1]
    if damage != "a folder":
        assert first.stderr == second.stderr == ""
        assert all(path.stat().st_size > 99 for path in damaged if path.exists())


def test_files_of_another_version_or_processor_are_left_alone(kept, tmp_path):
    folder = tmp_path / "kernels"
    subprocess.run(["cp", "-a", kept[0], folder], check=True)
    before = {path: path.read_bytes() for path in files(folder)}
    start(folder, "import numba; numba.__version__ = '0.0'; from numba.core import caching; caching.numba = numba")
    assert start(folder).stdout == kept[1]
    assert set(before) <= set(files(folder))


def test_processes_that_compile_at_once(kept, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: start(tmp_path), range(4)))
    assert {one.stdout for one in done} == {kept[1]} and {one.stderr for one in done} == {""}
    assert start(tmp_path).stderr == ""


def test_the_environment_says_where_they_are(tmp_path):
    code = f"{NO_LOCATOR}; from cnn.commands.shared import environment; print(environment.kernel_cache())"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout.startswith("none: no folder can be written to"), done.stderr + os.linesep + done.stdout
