"""Data sets, as uint8 arrays: `fashion_mnist.load_data()`, which is shipped; `mnist` and `cifar10` read your files."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from cnn.datasets import cifar10, fashion_mnist, mnist
from cnn.datasets.scaled import Scaled

__all__ = ["cifar10", "fashion_mnist", "fingerprint", "in_both", "mnist"]


def fingerprint(*arrays: ArrayLike | Scaled) -> str:
    """Returns the SHA-256, in hex, of the arrays' types, shapes and values in order, the same on every machine.

    Raises TypeError for arrays of Python objects, whose bytes are addresses.
    """
    digest = hashlib.sha256()
    for given in arrays:
        array = given if isinstance(given, Scaled) else np.asarray(given)
        if array.dtype.hasobject:
            raise TypeError("fingerprint: expected arrays of numbers, got an array of Python objects")
        dtype = array.dtype.newbyteorder("<")
        digest.update(f"{dtype.str}{array.shape}".encode())
        for piece in array.pieces() if isinstance(array, Scaled) else [array]:
            digest.update(np.ascontiguousarray(piece, dtype))  # type: ignore[arg-type]  # a buffer, but to mypy
    return digest.hexdigest()


def in_both(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """(its place in the first set, in the second) of each photo (N, ...) that is in both, byte by byte the same.

    Of equal photos within the second set the first place is named.

    >>> in_both(np.array([[1, 2], [3, 4], [5, 6]], np.uint8), np.array([[5, 6], [7, 8], [1, 2]], np.uint8))
    [(0, 2), (2, 0)]
    """
    digests = lambda photos: (
        hashlib.blake2b(photo.tobytes()).digest() for photo in np.asarray(photos)
    )  # they are short
    places: dict[bytes, int] = {}
    for place, photo in enumerate(digests(second)):
        places.setdefault(photo, place)
    found = ((place, places.get(photo)) for place, photo in enumerate(digests(first)))
    return [(place, other) for place, other in found if other is not None]
