"""Files of events, as TensorBoard reads them: each event a protocol buffer, in a frame with checksums.

A frame is the length of its data in eight bytes, a checksum of these, the data, a checksum of it. The checksum is
CRC-32C, turned and shifted so that a checksum of checksums is no weak one.
"""

import itertools
import os
import struct
import time
from collections.abc import Iterable, Mapping

import numpy as np

POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits reversed
MASK = 0xA282EAD8
PREFIX = "events.out.tfevents."  # of the names that TensorBoard looks for


def _table() -> list[int]:
    """The checksum's change by each byte."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ POLYNOMIAL * (value & 1)
        table.append(value)
    return table


TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of data (RFC 3720, appendix B.4).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """data as one record of a file of events."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


# ---- protocol buffers: a field is its number and kind in one number, then its value


def _varint(value: int) -> bytes:
    """A whole number, seven bits a byte, the lowest first."""
    groups = []
    while True:
        value, low = value >> 7, value & 0x7F
        groups.append(low | 0x80 * (value > 0))
        if not value:
            return bytes(groups)


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    with np.errstate(over="ignore"):
        return _varint(number << 3 | 5) + np.float32(value).astype("<f4").tobytes()


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


# ---- events


def beginning() -> bytes:
    """The event that every file begins with."""
    return frame(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))


def scalars(values: Mapping[str, float], step: int) -> bytes:
    """An event of numbers by their names: {"epoch_loss": 0.3}."""
    return _event([_bytes(1, name.encode()) + _float(2, value) for name, value in values.items()], step)


def histograms(arrays: Mapping[str, np.ndarray], step: int, bins: int = 30) -> bytes:
    """An event of how the numbers of each array are spread."""
    return _event([_bytes(1, name.encode()) + _bytes(5, _histogram(a, bins)) for name, a in arrays.items()], step)


def _event(values: Iterable[bytes], step: int) -> bytes:
    summary = b"".join(_bytes(1, value) for value in values)
    return frame(_double(1, time.time()) + _whole(2, step) + _bytes(5, summary))


def _histogram(array: np.ndarray, bins: int) -> bytes:
    """min, max, how many, sum, sum of squares; where each bin ends; how many are in it."""
    numbers = array[np.isfinite(array)].astype("<f8")
    numbers = numbers if numbers.size else np.zeros(1)
    counts, edges = np.histogram(numbers, bins)
    whole = (numbers.min(), numbers.max(), numbers.size, numbers.sum(), np.square(numbers).sum())
    fields = b"".join(_double(number, float(value)) for number, value in enumerate(whole, start=1))
    return fields + _bytes(6, edges[1:].astype("<f8").tobytes()) + _bytes(7, counts.astype("<f8").tobytes())


_numbers = itertools.count()  # of this process's files


def new_name() -> str:
    """A name that no other file of events has."""
    return f"{PREFIX}{time.time():.0f}.{os.getpid()}.{next(_numbers)}.v2"


def append(path: str, event: bytes) -> None:
    """Write an event to a file, which is made where there is none. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab") as file:
        file.write(event if file.tell() else beginning() + event)
