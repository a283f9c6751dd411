"""MNIST: 70,000 handwritten digits, 28x28 grey values. From your own files: Keras' mnist.npz, or four of IDX."""

import math
import os
import stat
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.datasets import fashion_mnist, places
from cnn.datasets.fashion_mnist import PHOTO_SHAPE, Split
from cnn.errors import DataError

WHAT = "MNIST as Keras' mnist.npz, or as a folder mnist with the four IDX files,"
MAX_BYTES = 1 << 28  # of one array; the largest of MNIST has 47 million


def load_data(path: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Returns `(train_x, train_y), (test_x, test_y)` as Keras does: uint8 photos (N, 28, 28) and labels (N,).

    path: an .npz file or a folder of IDX files, also by its name in ~/.keras/datasets; unless given, what is there.

    Raises DataError if there is none, or if a file is anything else; nothing is downloaded.
    """
    found = places.find(WHAT, path, ("mnist.npz", "mnist", "MNIST/raw"))
    return fashion_mnist.load_data(found) if found.is_dir() else read_npz(found)


def read_npz(path: Path) -> tuple[Split, Split]:
    """The four arrays x_train, y_train, x_test, y_test of an .npz file. Raises DataError for anything else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # asked before opening, because opening a pipe waits for somebody
            raise DataError("expected a file, got a pipe or device")
        with zipfile.ZipFile(path) as archive:
            splits = [_split(archive, name) for name in ("train", "test")]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return splits[0], splits[1]


def _split(archive, name):
    photos, labels = (_array(archive, f"{letter}_{name}") for letter in "xy")
    if photos.shape[1:] != PHOTO_SHAPE or labels.shape != photos.shape[:1] or len(labels) == 0:
        raise DataError(f"x_{name}, y_{name}: expected (N, 28, 28) and (N,), got {photos.shape} and {labels.shape}")
    if labels.max() > 9:
        raise DataError(f"y_{name}: expected labels from 0 to 9, got {labels.max()}")
    return photos, labels


def _array(archive, name) -> NDArray[np.uint8]:
    """One array. Its header is a claim, which must agree with the member's size before memory is taken for it."""
    if f"{name}.npy" not in archive.namelist():
        raise DataError(f"expected an array {name}, got {', '.join(archive.namelist()[:10]) or 'none'}")
    size = archive.getinfo(f"{name}.npy").file_size
    if size > MAX_BYTES:
        raise DataError(f"{name}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise DataError(f"{name}: expected an array of format 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.uint8:
            raise DataError(f"{name}: expected uint8, got {dtype}")
        if file.tell() + math.prod(shape) != size:
            raise DataError(
                f"{name}: its header claims {math.prod(shape)} numbers, there are {size - file.tell()} bytes"
            )
        data = bytearray(file.read())
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")
