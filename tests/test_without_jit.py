"""NUMBA_DISABLE_JIT=1 runs the very loops that are compiled otherwise, as plain Python: the same tests pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_kernels_layers_and_the_fast_twin_without_the_compiler():
    files = [str(HERE / name) for name in ("test_kernels.py", "test_layers.py", "test_fused.py")]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files, "-k", "not any_shape and not groups"]
    run = subprocess.run(
        command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=HERE.parent, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 400
