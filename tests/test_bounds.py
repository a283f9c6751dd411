"""The kernels of the fast twin check no index: here the processor does. See guarded.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from test_without_jit import AVX2, X86

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forbids pages as Linux does"),
    pytest.mark.skipif(numba.config.DISABLE_JIT, reason="plain Python checks by itself"),
]


def run(*arguments, **environment):
    command = [sys.executable, str(Path(__file__).with_name("guarded.py")), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_kernels_stay_within_their_arrays(seed):
    done = run(seed, "150")
    assert (done.returncode, done.stdout) == (0, "150\n"), done.stderr


@X86
@pytest.mark.slow  # compiles all kernels anew
def test_kernels_stay_within_their_arrays_without_avx512():
    done = run("3", "100", **AVX2)
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr


def test_a_step_beyond_is_noticed():
    assert run("1", "1", "beyond").returncode == -signal.SIGSEGV
