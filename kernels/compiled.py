"""How every kernel is compiled: by Numba, without the GIL, once on a machine.

Numba keeps what it has compiled in files, and to see whether one is still right it looks at the source
of that kernel alone, not at what the kernel was made with: constants, kernels and vector code of
other files. So the digest of all sources in this folder becomes part of each kernel's full
name, and with it of the file's: a change anywhere here compiles anew.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_sources = sorted(Path(__file__).parent.rglob("*.py"))
DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in _sources)).hexdigest()[:16]


def compiled(function: Callable | None = None, **options: Any) -> Callable:
    """Decorator, also with options of numba.njit: this function compiled at its first call with new types."""
    if function is None:
        return functools.partial(compiled, **options)
    function.__qualname__ = f"{function.__qualname__}-{DIGEST}"
    return njit(nogil=True, cache=True, **options)(function)
