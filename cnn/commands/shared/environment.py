"""What a result may depend on beside the code: versions, processor, BLAS, threads. For a run's head, a bug report."""

import os
import platform
import subprocess
from pathlib import Path

import cnn

PACKAGE = Path(cnn.__file__).parent


def versions() -> dict[str, str]:
    """{"numpy-cnn": "0.1.0", "Python": ..., "NumPy": ..., "Numba": ..., "Matplotlib": ...}, in a clone git's hash."""
    import matplotlib
    import numba
    import numpy

    own = cnn.__version__ + (f" (git {commit})" if (commit := git_hash()) else "")
    return {
        "numpy-cnn": own,
        "Python": platform.python_version(),
        "NumPy": numpy.__version__,
        "Numba": numba.__version__,
        "Matplotlib": matplotlib.__version__,
    }


def git_hash() -> str | None:
    """The commit that this package runs from, with '+' where files differ from it; None outside a clone."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return commit + "+" * bool(changes) if commit else None


def _git(*arguments):
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def processor() -> str:
    """The processor's name as it calls itself."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def blas_name() -> str:
    """The BLAS library behind NumPy and, where it tells, the processor whose kernels it uses."""
    import numpy as np

    from kernels import blas

    library = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    name = " ".join(filter(None, (library.get("name"), library.get("version")))) or "unknown"
    return f"{name}, kernels for {core}" if (core := blas.core_name()) else name


def avx512() -> str:
    """How OpenBLAS came to its kernels: by itself, by our asking, or by the user's."""
    from kernels import blas

    if blas.asked_for_avx512:
        return f"asked for by us (OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']})"
    given = os.environ.get("OPENBLAS_CORETYPE")
    return f"left to your OPENBLAS_CORETYPE={given}" if given else "left to the BLAS library"


# Set by a user, these change the last digits of a result, or who computes it.
VARIABLES = ("NUMBA_", "OPENBLAS_", "NPY_", "MKL_", "BLIS_", "GOTO_", "OMP_", "VECLIB_", "ACCELERATE_")


def variables() -> dict[str, str]:
    """Those of the environment's variables on which speed or the last digits of a result may depend."""
    from kernels import blas

    ours = {"OPENBLAS_CORETYPE"} if blas.asked_for_avx512 else set()
    return {key: value for key, value in sorted(os.environ.items()) if key.startswith(VARIABLES) and key not in ours}


def kernel_cache() -> str:
    """The directory in which Numba keeps the compiled kernels."""
    from kernels.im2col import im2col_into

    stats = getattr(im2col_into, "stats", None)  # absent with NUMBA_DISABLE_JIT=1
    return f"{stats.cache_path} (uninstalling leaves it there)" if stats else "none: NUMBA_DISABLE_JIT is set"
