"""How every kernel is compiled: by Numba, without the GIL, once on a machine; and which run in several threads.

Numba keeps what it has compiled in files, and to see whether one is still right it looks at the source
of that kernel alone, not at what the kernel was made with: constants, kernels and vector code of
other files. So the digest of all sources in this folder becomes part of each kernel's full
name, and with it of the file's: a change anywhere here compiles anew.

The files are a convenience. Where they cannot be kept, or are damaged, only the time changes.
"""

import contextlib
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

from kernels import threads

_sources = sorted(Path(__file__).parent.rglob("*.py"))
DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in _sources)).hexdigest()[:16]


def compiled(function: Callable | None = None, **options: Any) -> Callable:
    """Decorator, also with options of numba.njit: this function compiled at its first call with new types."""
    if function is None:
        return functools.partial(compiled, **options)
    function.__qualname__ = f"{function.__qualname__}-{DIGEST}"
    kernel = njit(nogil=True, **options)(function)
    if kernel is not function:  # as it is with NUMBA_DISABLE_JIT
        # where njit(cache=True) puts a FunctionCache, which raises what this one forgives
        kernel._cache = Cache(function)
        # Compiled or read from its file: broken off within, Numba would be left unable to, or even crash the process.
        make = kernel._compile_for_args
        kernel._compile_for_args = lambda *args, **kws: threads.aside(lambda: make(*args, **kws))
    return kernel


def in_threads(function: Callable | None = None, least: int = 0, **options: Any) -> Callable:
    """Decorator: this function compiled, the turns of its prange spread over the threads that share a kernel.

    No turn may write where another reads or writes: then the threads change no bit of the result. Where the first
    array has fewer numbers than `least`, one thread has done the work before another would have begun.
    """
    if function is None:
        return functools.partial(in_threads, least=least, **options)
    alone = compiled(function, **options)
    if alone is function:  # NUMBA_DISABLE_JIT
        return function
    twin = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    twin.__qualname__ = f"{function.__qualname__}-in-threads"  # files of its own in the cache
    together = compiled(twin, parallel=True, **options)

    @functools.wraps(function)
    def run(*arguments: Any) -> None:
        if _rehearsing:
            alone(*arguments)
        elif arguments[0].size < least:
            return alone(*arguments)
        if not threads.join():
            return alone(*arguments)
        try:
            together(*arguments)
        finally:
            threads.part()

    vars(run).update(py_func=function, kernels=(alone, together))  # the first as kernels have it
    return run


_rehearsing = False


@contextlib.contextmanager
def rehearsal() -> Iterator[None]:
    """Meanwhile kernels are compiled for one thread and for several, whatever the sizes; results are worth nothing."""
    global _rehearsing
    _rehearsing = True
    try:
        yield
    finally:
        _rehearsing = False


NOWHERE = "no folder can be written to"


class Cache:
    """Numba's files of one kernel: what cannot be read is made anew, what cannot be written is said once."""

    def __init__(self, function: Callable):
        try:
            self.files: FunctionCache | None = FunctionCache(function)
        except Exception:  # Numba says RuntimeError; what a strange NUMBA_CACHE_DIR makes of it is not promised
            self.files = None

    @property
    def cache_path(self) -> str:
        """The folder of the files."""
        return self.files.cache_path if self.files else f"none: {NOWHERE}"

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled kernel for these types, or None."""
        try:
            return self.files and self.files.load_overload(signature, target)
        except Exception:  # cut short, by a loss of power for example, or not ours: pickle and LLVM raise anything
            self.flush()
            return None

    def save_overload(self, signature: Any, kernel: Any) -> None:
        """Keep a compiled kernel, if that can be done."""
        if self.files is None:
            _tell(NOWHERE)
            return
        try:
            self.files.save_overload(signature, kernel)
        except Exception as error:
            _tell(str(error))

    def flush(self) -> None:
        """Forget the files."""
        with contextlib.suppress(Exception):
            if self.files:
                self.files.flush()


_told: list[str] = []  # the first reason that was said; no other is


def _tell(reason: str) -> None:
    """Say on stderr, once, why each start will take longer. Nobody may be reading."""
    if not _told:
        _told.append(reason)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(
                f"note: compiled kernels cannot be kept, so each start takes some seconds more ({reason}); "
                "NUMBA_CACHE_DIR names a folder for them",
                file=sys.stderr,
            )
