"""The same tests where less is to be had: without the compiler, and on a processor with fewer registers.

NUMBA_DISABLE_JIT=1 runs the very loops that are compiled otherwise, as plain Python.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2",
}  # the environment that means such a processor
X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of this family")


def run_again(files: list[str], *options, **environment) -> int:
    """How many tests of these files pass in a process of their own, in this environment."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        *(str(HERE / name) for name in files),
        *options,
    ]
    run = subprocess.run(
        command, env=os.environ | environment, cwd=HERE.parent, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-3000:]
    return int(re.search(r"(\d+) passed", run.stdout)[1])


def test_kernels_layers_and_the_fast_twin_without_the_compiler():
    files = ["test_kernels.py", "test_layers.py", "test_layer_arguments.py", "test_fused.py"]
    assert run_again(files, "-k", "not any_shape and not groups", NUMBA_DISABLE_JIT="1") > 400


@X86
def test_the_fast_twin_on_a_processor_without_avx512(tmp_path):
    features = AVX2 | {"NUMBA_CACHE_DIR": str(tmp_path)}
    code = "from kernels import vectors, windows; print(vectors.LANES, windows.TILE)"
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | features, cwd=HERE.parent, capture_output=True, text=True
    )
    assert run.stdout.split() == ["8", "3"], run.stderr
    assert run_again(["test_fused.py", "test_twin.py"], **features) > 200
