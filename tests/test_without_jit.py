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
from llvmlite import binding

HERE = Path(__file__).parent
TWIN = ["test_twin.py", "test_twin_in_use.py", "test_vector_kernels.py"]
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2",
}  # the environment that means such a processor
SSE = {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2,+sse4.1,+ssse3,+sse3"}
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
        command, env=os.environ | environment, cwd=HERE.parent, capture_output=True, text=True, timeout=1500
    )
    assert run.returncode == 0, run.stdout[-3000:]
    return int(re.search(r"(\d+) passed", run.stdout)[1])


@pytest.mark.slow
def test_kernels_layers_and_the_fast_twin_without_the_compiler():
    files = [
        "test_kernels.py",
        "test_optimizer_kernels.py",
        "test_layers.py",
        "test_layer_arguments.py",
        "test_vectors.py",
        *TWIN,
    ]
    assert run_again(files, "-k", "not any_shape and not pools", NUMBA_DISABLE_JIT="1") > 600


def lanes_and_tile(environment) -> list[str]:
    """What the vector kernels were written for."""
    code = "from kernels.simd import conv_pool, vectors; print(vectors.LANES, conv_pool.cells_at_least(pooled=True))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, cwd=HERE.parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


PROCESSORS = {"SSE": (SSE, "4")}
if binding.get_host_cpu_features().get("avx512f"):  # else all tests run on such a one anyway
    PROCESSORS["AVX2"] = AVX2, "8"


@X86
@pytest.mark.slow
@pytest.mark.parametrize(("processor", "lanes"), PROCESSORS.values(), ids=PROCESSORS)
def test_the_fast_twin_on_a_processor_without_avx512(processor, lanes):
    assert lanes_and_tile(processor) == [lanes, "3"]
    assert run_again([*TWIN, "test_vectors.py", "test_kernel_faults.py"], **processor) > 420


@X86
def test_numbas_switch_for_avx_is_obeyed():
    assert lanes_and_tile({"NUMBA_ENABLE_AVX": "0"})[0] == "4"
