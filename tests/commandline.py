"""Runs `cnn` as a user does, in a process of its own, on a small set of real photos."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from cnn.datasets import fashion_mnist

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
RESULT = re.compile(r"RESULT test_accuracy=(\d\.\d{4}) test_loss=(\d+\.\d{4}) seed=(\d+) time_s=(\d+\.\d)")
PATIENCE = 300  # seconds, against hanging only


def cnn(*arguments, cwd, **options):
    """The finished process of `python -m cnn ...`, with its stdout and stderr as text."""
    command = [sys.executable, "-m", "cnn", *map(str, arguments)]
    options = {
        "capture_output": True,
        "text": True,
        "stdin": subprocess.DEVNULL,
        "env": ENVIRONMENT,
        "timeout": PATIENCE,
        **options,
    }
    return subprocess.run(command, cwd=cwd, **options)


def succeeds(*arguments, cwd, **options):
    """The process, once it has ended with exit code 0."""
    done = cnn(*arguments, cwd=cwd, **options)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def refused(code, reason, *arguments, cwd, **options):
    """The process, once it has ended with this exit code and a last line on stderr that gives the reason (a pattern)."""
    done = cnn(*arguments, cwd=cwd, **options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
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


def arrays(path):
    """{name: array} of a model file's weights and optimizer, its text left out."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "json"}


def same_bits(one, other):
    """Whether two model files hold the same arrays, bit for bit."""
    first, second = arrays(one), arrays(other)
    return first.keys() == second.keys() and all(first[key].tobytes() == second[key].tobytes() for key in first)
