"""MNIST: 70,000 handwritten digits, 28x28 grey values. From your own files: Keras' mnist.npz, or four of IDX."""

import math
import os
import stat
import zipfile
import zlib
from pathlib import Path

import numpy as np

from cnn.datasets import fashion_mnist, idx, places
from cnn.datasets.fashion_mnist import PHOTO_SHAPE, Split
from cnn.errors import DataError

WHAT = "MNIST as Keras' mnist.npz, or as a folder mnist with the four IDX files,"
MAX_BYTES = 1 << 28  # of one array; the largest of MNIST has 47 million
BYTES = ("u1",)
WHOLE = (*BYTES, "u2", "u4", "u8", "i1", "i2", "i4", "i8")
MOST_LABEL = 9999


def load_data(path: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Returns `(train_x, train_y), (test_x, test_y)` as Keras does: uint8 photos (N, 28, 28) and labels (N,).

    path: an .npz file or a folder of IDX files, also by its name in ~/.keras/datasets; unless given, what is there.

    Raises DataError if there is none, or if a file is anything else; nothing is downloaded.
    """
    found = places.find(WHAT, path, ("mnist.npz", "mnist", "MNIST/raw"))
    return fashion_mnist.load_data(found) if found.is_dir() else read_npz(found)


def read_npz(path: Path, any_photos: bool = False) -> tuple[Split, Split]:
    """The four arrays x_train, y_train, x_test, y_test of an .npz file. Raises DataError for anything else.

    any_photos: of any size, (N, H, W) or (N, H, W, 3), in any number of classes, whose labels may be (N, 1) and of any
    kind of whole numbers.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # asked before opening, because opening a pipe waits for somebody
            raise DataError("expected a file, got a pipe or device")
        with zipfile.ZipFile(path) as archive:
            splits = [_split(archive, name, any_photos) for name in ("train", "test")]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return splits[0], splits[1]


def _split(archive, name, any_photos):
    photos = _array(archive, f"x_{name}", BYTES)
    labels = _array(archive, f"y_{name}", WHOLE if any_photos else BYTES)
    if any_photos:
        idx.check_photo_shape(f"x_{name}: shape of a photo", photos.shape[1:])
        labels = labels[:, 0] if labels.shape == (len(labels), 1) else labels
    elif photos.shape[1:] != PHOTO_SHAPE:
        raise DataError(f"x_{name}, y_{name}: expected (N, 28, 28) and (N,), got {photos.shape} and {labels.shape}")
    if labels.shape != photos.shape[:1] or len(labels) == 0:
        raise DataError(f"x_{name}, y_{name}: expected a label for each photo, got {photos.shape} and {labels.shape}")
    most = MOST_LABEL if any_photos else 9
    if labels.min() < 0 or labels.max() > most:
        got = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"y_{name}: expected labels from 0 to {most}, got {got}")
    return photos, labels.astype(np.uint8 if labels.max() < 256 else np.uint16, copy=False)


def _array(archive, name, kinds) -> np.ndarray:
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
        if dtype.str[1:] not in kinds:
            raise DataError(f"{name}: expected {'uint8' if kinds == BYTES else 'whole numbers'}, got {dtype}")
        if file.tell() + math.prod(shape) * dtype.itemsize != size:
            raise DataError(
                f"{name}: its header claims {math.prod(shape)} numbers, there are {size - file.tell()} bytes"
            )
        data = bytearray(file.read())
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
