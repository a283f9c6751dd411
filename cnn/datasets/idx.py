"""Reader of IDX, the file format of MNIST and its relatives, gzipped or not.

    00 00 | type of the values | number of dimensions | each dimension, 32 bits, big-endian | values

A file may come from anywhere, so its header is a claim to be checked: it decides neither how much is read nor how
much memory is taken before the bytes are really there.
"""

import gzip
import hashlib
import math
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.errors import DataError

VALUE_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
MAX_BYTES = 1 << 28  # of values in one file; the largest of the 28x28 relatives in use holds three quarters of it
LONGEST_SIDE = 1000  # of a photo of any size
PIECE = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_split(
    split: str,
    directory: str | os.PathLike,
    photo_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    sha256: Mapping[str, str] | None = None,
) -> Split:
    """The photos (N, H, W), or (N, H, W, 3) in colour, and labels (N,), uint8, of "train" or "test" in a directory.

    They stand there under the usual four names, gzipped or not. photo_shape, classes and sha256, by the files' names:
    what they must be, where that is known.

    Raises DataError if a file is missing or wrong, or if photos and labels do not belong together, and ValueError if
    there is no such split.
    """
    if split not in FILES:
        raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
    photos_name, labels_name = FILES[split]
    hashes = sha256 or {}
    photos_path, labels_path = _find(directory, photos_name), _find(directory, labels_name)
    photos = read_idx(photos_path, photo_shape, hashes.get(photos_name))
    labels = read_idx(labels_path, (), hashes.get(labels_name))
    _check_labels(labels_path, labels, photos_path, photos, classes)
    return photos, labels


def is_directory_of(directory: str | os.PathLike) -> bool:
    """Whether a directory has one of the four files, whatever is in it."""
    names = {name.removesuffix(".gz").replace(".idx", "-idx") for name in os.listdir(directory)}
    return any(name in names for pair in FILES.values() for name in pair)


def _find(directory: str | os.PathLike, name: str) -> Path:
    """Returns the path of the file `name` in the directory, unzipped if there are both; raises DataError if none."""
    directory = Path(directory)
    dotted = name.replace("-idx", ".idx")
    candidates = (name, dotted, f"{name}.gz", f"{dotted}.gz")
    try:
        present = os.listdir(directory)
    except OSError as error:
        raise DataError(f"{directory}: expected a directory with data files: {error.strerror}") from error
    for candidate in candidates:
        # One download of MNIST has directories of these names beside the files.
        if candidate in present and not (directory / candidate).is_dir():
            return directory / candidate
    raise DataError(f"{directory}: expected a file named {' or '.join(candidates)}, found none of them")


def _check_labels(labels_path, labels, photos_path, photos, classes) -> None:
    """Raises DataError unless there is one label for each photo, and none that is no class."""
    if len(labels) != len(photos):
        raise DataError(
            f"{labels_path}: expected {len(photos)} labels, one for each photo in {photos_path.name}, got {len(labels)}"
        )
    if classes is not None and labels.max() >= classes:
        first = int(np.argmax(labels >= classes))
        raise DataError(f"{labels_path}: label at index {first}: expected 0 to {classes - 1}, got {labels[first]}")


# ---- one file


def read_idx(
    path: str | os.PathLike, item_shape: tuple[int, ...] | None, sha256: str | None = None
) -> NDArray[np.uint8]:
    """Returns the N items of an IDX file of uint8 values as a writable array (N, *item_shape), N >= 1.

    `item_shape` is () for labels and the photos' for photos, None for photos of any size: (H, W) in grey, (H, W, 3) in
    colour. `sha256`, where given, must be the hash of the unzipped file.

    Raises DataError, naming the file, the place in it, what was expected and what was found, if the file cannot be
    read or is anything but such a file, to the byte.
    """
    try:
        # Asked before opening, because opening a pipe waits for somebody to write to it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError("expected a file, got a directory, pipe or device")
        with open(path, "rb") as file:
            # What the file is decides, not what its name says.
            zipped = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
            return _parse(gzip.open(file) if zipped else file, item_shape, sha256)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        # The text of a system error names the path again, its strerror does not; errors of gzip have only a text.
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _parse(stream: BufferedIOBase, item_shape: tuple[int, ...] | None, sha256: str | None) -> NDArray[np.uint8]:
    """Returns the array (N, *item_shape) in an unzipped stream; raises DataError without the file's name."""
    data = bytearray()
    _fill(data, 4, stream)
    _expect("not an IDX file: first two bytes", b"\0\0", bytes(data[:2]))
    _expect("type of the values (byte 2)", "uint8", VALUE_TYPES.get(data[2], f"the unknown code 0x{data[2]:02x}"))
    ranks = (3, 4) if item_shape is None else (1 + len(item_shape),)
    if data[3] not in ranks:
        raise DataError(f"number of dimensions (byte 3): expected {' or '.join(map(str, ranks))}, got {data[3]}")

    header_size = 4 + 4 * data[3]
    _fill(data, header_size, stream)
    shape = struct.unpack_from(f">{data[3]}I", data, offset=4)
    if item_shape is None:
        check_photo_shape("shape of an item (bytes 8 on)", shape[1:])
    else:
        _expect("shape of an item (bytes 8 on)", item_shape, shape[1:])
    most = MAX_BYTES // math.prod(shape[1:])
    if not 1 <= shape[0] <= most:
        raise DataError(f"number of items (bytes 4 to 7): expected 1 to {most}, got {shape[0]}")

    size = header_size + math.prod(shape)
    _fill(data, size, stream)
    # Asking for one more byte also takes gzip to its checksum.
    if stream.read(1):
        raise DataError(f"length (unzipped): expected {size} bytes, got more")
    if sha256 is not None:
        _expect("SHA-256 of the unzipped file", sha256, hashlib.sha256(data).hexdigest())
    return np.frombuffer(data, np.uint8, offset=header_size).reshape(shape)


def check_photo_shape(what: str, shape: tuple[int, ...]) -> None:
    """Raises DataError unless a photo may have this shape: height and width, and of colour three channels."""
    if (
        len(shape) not in (2, 3)
        or not all(1 <= side <= LONGEST_SIDE for side in shape[:2])
        or shape[2:] not in ((), (3,))
    ):
        raise DataError(f"{what}: expected (height, width) or (height, width, 3), up to {LONGEST_SIDE}, got {shape}")


def _fill(data: bytearray, size: int, stream: BufferedIOBase) -> None:
    """Reads on until `data` holds `size` bytes; raises DataError if the stream ends before.

    In pieces, because a stream asked for everything at once takes the memory at once, however short it is.
    """
    while len(data) < size:
        piece = stream.read(min(PIECE, size - len(data)))
        if not piece:
            raise DataError(f"length (unzipped): expected at least {size} bytes, got {len(data)}")
        data += piece


def _expect(what: str, expected: object, got: object) -> None:
    """Raises DataError unless both are equal."""
    if got != expected:
        raise DataError(f"{what}: expected {expected}, got {got}")
