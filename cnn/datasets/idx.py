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
from io import BufferedIOBase

import numpy as np
from numpy.typing import NDArray

from cnn.errors import DataError

VALUE_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
MAX_BYTES = 1 << 28  # of values in one file; the largest of the 28x28 relatives in use holds three quarters of it
PIECE = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike, item_shape: tuple[int, ...], sha256: str | None = None) -> NDArray[np.uint8]:
    """Returns the N items of an IDX file of uint8 values as a writable array (N, *item_shape), N >= 1.

    `item_shape` is (28, 28) for photos and () for labels. `sha256`, where given, must be the hash of the unzipped file.

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


def _parse(stream: BufferedIOBase, item_shape: tuple[int, ...], sha256: str | None) -> NDArray[np.uint8]:
    """Returns the array (N, *item_shape) in an unzipped stream; raises DataError without the file's name."""
    data = bytearray()
    rank = 1 + len(item_shape)
    header_size = 4 + 4 * rank

    _fill(data, 4, stream)
    _expect("not an IDX file: first two bytes", b"\0\0", bytes(data[:2]))
    _expect("type of the values (byte 2)", "uint8", VALUE_TYPES.get(data[2], f"the unknown code 0x{data[2]:02x}"))
    _expect("number of dimensions (byte 3)", rank, data[3])

    _fill(data, header_size, stream)
    shape = struct.unpack_from(f">{rank}I", data, offset=4)
    _expect("shape of an item (bytes 8 on)", item_shape, shape[1:])
    most = MAX_BYTES // math.prod(item_shape)
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
