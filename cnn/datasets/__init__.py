"""Data sets, as uint8 arrays: `fashion_mnist.load_data()`, which is shipped; `mnist` and `cifar10` read your files."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from cnn.datasets import cifar10, fashion_mnist, mnist

__all__ = ["cifar10", "fashion_mnist", "fingerprint", "in_both", "mnist"]


def fingerprint(*arrays: ArrayLike) -> str:
    """Returns the SHA-256, in hex, of the arrays' types, shapes and values in order, the same on every machine.

    Raises TypeError for arrays of Python objects, whose bytes are addresses.
    """
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        if array.dtype.hasobject:
            raise TypeError("fingerprint: expected arrays of numbers, got an array of Python objects")
        dtype = array.dtype.newbyteorder("<")
        digest.update(f"{dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype))  # type: ignore[arg-type]  # a buffer to all eyes but mypy's
    return digest.hexdigest()


def in_both(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """(its place in the first set, in the second) of each photo (N, ...) that is in both, byte by byte the same.

    Of equal photos within the second set the first place is named.

    >>> in_both(np.array([[1, 2], [3, 4], [5, 6]], np.uint8), np.array([[5, 6], [7, 8], [1, 2]], np.uint8))
    [(0, 2), (2, 0)]
    """
    places: dict[bytes, int] = {}
    for place, photo in enumerate(second):
        places.setdefault(photo.tobytes(), place)
    found = ((place, places.get(photo.tobytes())) for place, photo in enumerate(first))
    return [(place, other) for place, other in found if other is not None]
