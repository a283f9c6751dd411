"""Runs `cnn` as a user does, or a program of ours, in a process of its own; and a small set of real photos."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnn.datasets import fashion_mnist

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
RESULT = re.compile(r"RESULT test_accuracy=(\d\.\d{4}) test_loss=(\d+\.\d{4}) seed=(\d+) time_s=(\d+\.\d)")
PATIENCE = 300  # seconds, against hanging only


def start(*arguments, **options):
    """A process of Python with these arguments that runs beside us, its stdout and stderr to be read as text."""
    command = [sys.executable, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT, **options}
    return subprocess.Popen(command, **options)


def run(*arguments, **options):
    """The finished process of Python with these arguments, with its stdout and stderr as text."""
    command = [sys.executable, *map(str, arguments)]
    pipes = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, **{**pipes, "env": ENVIRONMENT, "timeout": PATIENCE, **options})


def cnn(*arguments, cwd, **options):
    """The finished process of `python -m cnn ...`."""
    return run("-m", "cnn", *arguments, cwd=cwd, **options)


def succeeds(*arguments, cwd, **options):
    """The process, once it has ended with exit code 0."""
    done = cnn(*arguments, cwd=cwd, **options)
    assert done.returncode == 0, done.stderr
    assert_no_foreign_words(done)
    return done


def assert_no_foreign_words(done):
    """What Python itself prints is not for users: tracebacks, and errors where nobody can catch them."""
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr


def refused(code, reason, *arguments, cwd, **options):
    """The process, once it has ended with this exit code and a last line on stderr with the reason (a pattern)."""
    done = cnn(*arguments, cwd=cwd, **options)
    assert done.returncode == code, done.stderr
    assert_no_foreign_words(done)
    assert re.search(reason, done.stderr.splitlines()[-1]), done.stderr
    assert "RESULT" not in done.stdout
    return done


def result(stdout):
    """(accuracy, loss, seed, seconds) from the last line of stdout."""
    return tuple(map(float, RESULT.fullmatch(stdout.splitlines()[-1]).groups()))


def write_photos(directory, train=300, test=200, shift=0):
    """Write a data set of the first real photos, with `shift` added to each grey value, as four IDX files."""
    directory.mkdir(exist_ok=True)
    for split, count in (("train", train), ("test", test)):
        for name, array in zip(fashion_mnist.FILES[split], fashion_mnist.load_split(split), strict=True):
            array = array[:count] + np.uint8(shift) * np.uint8(array.ndim > 1)
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (directory / name).write_bytes(header + array.tobytes())
    return directory


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    """The folder of 300 photos to learn from and 200 to test with. Nobody may change it."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


def arrays(path):
    """{name: array} of a model file's weights and optimizer, its text left out."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "json"}


def same_bits(one, other):
    """Whether two model files hold the same arrays, bit for bit."""
    first, second = arrays(one), arrays(other)
    return first.keys() == second.keys() and all(first[key].tobytes() == second[key].tobytes() for key in first)
