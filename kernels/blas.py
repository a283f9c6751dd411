"""Speaks to the BLAS library behind NumPy's matrix product: which processor kernels it uses, how many threads.

The functions of OpenBLAS (in NumPy's wheels), MKL and BLIS are looked up by name. With
any other BLAS nothing can be told and `controllable()` is False.
"""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

_SET_THREADS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
    "bli_thread_set_num_threads",
)
_GET_THREADS = (
    "scipy_openblas_get_num_threads64_",
    "scipy_openblas_get_num_threads",
    "openblas_get_num_threads64_",
    "openblas_get_num_threads",
    "MKL_Get_Max_Threads",
    "bli_thread_get_num_threads",
)
_GET_CORE = (
    "scipy_openblas_get_corename64_",
    "scipy_openblas_get_corename",
    "openblas_get_corename64_",
    "openblas_get_corename",
)

asked_for_avx512 = False  # whether ask_for_avx512 has done so
_lock = threading.Lock()
_users = 0  # how many passes are running that need BLAS single-threaded
_users_threads: int | None = 1  # what BLAS was set to before the first of them


def ask_for_avx512() -> None:
    """Make OpenBLAS use its AVX-512 kernels on AMD processors, before NumPy loads it.

    An OpenBLAS older than the processor takes it for one without AVX-512 and then leaves half of
    its speed unused. It reads OPENBLAS_CORETYPE once, when it is loaded;
    a value set by the user stays, and where NumPy is loaded already it is too late.
    """
    global asked_for_avx512
    if "numpy" in sys.modules or "OPENBLAS_CORETYPE" in os.environ:
        return
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        processor = file.read(4096)
        if "AuthenticAMD" in processor and "avx512f" in processor:
            os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
            asked_for_avx512 = True


def controllable() -> bool:
    """Whether this BLAS can be told its number of threads."""
    return _function(_SET_THREADS) is not None and _function(_GET_THREADS) is not None


def get_threads() -> int | None:
    """The number of threads BLAS uses now; None where it cannot be asked."""
    function = _function(_GET_THREADS)
    return function() if function else None


def core_name() -> str | None:
    """The processor whose kernels OpenBLAS uses, such as 'SkylakeX'; None with another BLAS."""
    function = _function(_GET_CORE)
    if function is None:
        return None
    function.restype = ctypes.c_char_p
    return function().decode()


def _forget_users() -> None:
    """In a process that was forked from one with passes running: none of them runs here."""
    global _lock, _users
    _lock = threading.Lock()
    if _users:
        _users = 0
        _function(_SET_THREADS)(_users_threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_users)


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Within this block BLAS runs in the calling thread alone; the user's setting comes back afterwards.

    The setting is one for the whole process, so the first block to begin saves it and the
    last to end restores it.
    """
    global _users, _users_threads
    set_threads = _function(_SET_THREADS)
    if set_threads is None:
        yield
        return
    with _lock:
        if _users == 0:
            _users_threads = get_threads()
            set_threads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                set_threads(_users_threads)


_found: dict[tuple[str, ...], Any] = {}


def _function(names):
    """The first of these functions that the library behind NumPy has, or None."""
    if names not in _found:
        import numpy as np

        # Looking a name up in NumPy's core module also searches the libraries that it is linked to.
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)
        _found[names] = next((getattr(library, name) for name in names if hasattr(library, name)), None)
    return _found[names]
