"""The language of the vector kernels: what it refuses, and that no change of a source is answered from an old cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit

from kernels.simd.vectors import LANES, vector_code

KERNELS = Path(__file__).parent.parent / "kernels"


@vector_code
def _add_up(vec, out, x, scale, first):
    """out = scale * (sum over rows of x[row, first ...]) where that is above 1, else 0"""
    x = x.shaped(None, 2 * LANES)
    total = vec.total(out.at(0))
    for row in vec.range(1, x.shape[0]):
        total.add(x.at(row, first), vec.all(scale))
    total.add(x.at(0, first), vec.all(scale))
    out.put((0,), vec.where(total.value > vec.all(1), total.value, vec.all(0)))


@njit
def compiled(out, x, scale, first):
    _add_up(out, x, scale, first)


@pytest.mark.parametrize("run", [compiled, _add_up], ids=["compiled", "by NumPy"])
@pytest.mark.parametrize("first", [0, LANES])
def test_a_text_means_the_same_both_ways(run, first):
    x = np.arange(6 * LANES, dtype=np.float32).reshape(3, 2 * LANES)
    out = np.zeros(LANES, np.float32)
    run(out, x, np.float32(0.25), first)
    right = x[:, first : first + LANES].sum(axis=0) / 4
    np.testing.assert_array_equal(out, np.where(right > 1, right, 0))


def test_by_numpy_the_places_are_checked():
    x = np.zeros((3, 2 * LANES), np.float32)
    for first in (-1, LANES + 1):
        with pytest.raises(IndexError, match=f"no {LANES} neighbours there in an array of shape"):
            _add_up(np.zeros(LANES, np.float32), x, np.float32(1), first)
    with pytest.raises(ValueError, match="an array of shape .* where .* was expected"):
        _add_up(np.zeros(LANES, np.float32), x[:, 1:], np.float32(1), 0)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="asks the compiler")
@pytest.mark.parametrize(
    ("x", "scale"),
    [
        (np.zeros((3, 4 * LANES), np.float32)[:, ::2], np.float32(1)),
        (np.zeros((3, 2 * LANES), np.float64), np.float32(1)),
        (np.zeros((3, 2 * LANES), np.float32), 1.0),
    ],
    ids=["not contiguous", "float64", "a float64 number"],
)
def test_compiled_code_takes_only_what_it_is_written_for(x, scale):
    with pytest.raises(numba.TypingError):
        compiled(np.zeros(LANES, np.float32), x, scale, 0)


# ---- the cache

SCRIPT = """
import numpy as np
from kernels.simd import conv_pool
from kernels.simd.vectors import LANES
cells, one = conv_pool.SUMS, np.ones((1, 1, LANES), np.float32)
y, winners = np.zeros((1, cells, LANES), np.float32), np.zeros((1, cells, LANES), np.uint8)
x, starts = np.ones((1, cells), np.float32), conv_pool.window_starts((1, cells), cells, 1, (1, 1), False)
conv_pool.conv_relu_pool(y, winners, x, one, np.zeros(LANES, np.float32), np.float32(5), starts, cells, False)
hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in conv_pool.conv_relu_pool.kernels)
print(y[0, 0, 0], winners[0, 0, 0], hits)
"""


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="asks the compiler's cache")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "simd/vectors.py",
            "self.builder.call(self.fma, [a.llvm,",
            "self.builder.call(self.fma, [_nine(a),",
            ["9.0", "0"],
        ),
        ("relu_pool.py", "CLOSED = 4", "CLOSED = 44", ["5.0", "44"]),
    ],
    ids=["the writer", "a constant of another kernel"],
)
def test_a_change_in_another_file_compiles_anew(tmp_path, file, old, new, expected):
    """Numba looks at the file of a kernel only; a kernel is made of more."""
    shutil.copytree(KERNELS, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))

    def run():
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run() == ["5.0", "4", "0"]
    assert run() == ["5.0", "4", "1"]  # from the cache
    source = tmp_path / "kernels" / file
    text = source.read_text()
    assert old in text
    nine = "\n\ndef _nine(a):\n    return _constant(WIDE[F32], 9)\n" if "_nine" in new else ""
    source.write_text(text.replace(old, new) + nine)
    assert run() == [*expected, "0"]
    source.write_text(text)
    assert run() == ["5.0", "4", "1"]  # the old files are still there
