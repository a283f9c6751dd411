"""The container of a model file: an uncompressed zip archive of .npy arrays, as np.savez writes and np.load reads it.

Writing: the same arrays give the same bytes, and at every moment the path holds the old file or the new one, whole.
Reading: the file may come from an enemy. Its directory and headers are claims: each is compared with the bytes really
present and with what the caller expects before anything is allocated. Nothing is unpickled, and no name becomes a path.
"""

import contextlib
import io
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from cnn.errors import ModelFileError
from cnn.saving.atomic import replacing

Array = np.ndarray

# ---- writing


def write(path: str, arrays: dict[str, Array]) -> None:
    """Write these arrays under their names, or leave path as it was. Raises OSError, ValueError (over 2 GiB)."""
    try:
        with replacing(path) as file, archive(file) as members:
            for name, array in arrays.items():
                members.writestr(undated(f"{name}.npy"), _npy(array))
    except zipfile.LargeZipFile:
        raise ValueError(f"{path}: a model file holds 2 GiB at most") from None


def undated(name: str) -> zipfile.ZipInfo:
    """An entry of an archive dated 1980: the bytes do not tell when they were written."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3  # nor on which system
    return entry


@contextlib.contextmanager
def archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """A zip archive that is finished if all went well, else left as it is: a ZipFile left to itself would try to
    finish also when Ctrl-C met it within a member, and raise ValueError for that instead of the KeyboardInterrupt."""
    opened = zipfile.ZipFile(file, "w", allowZip64=False)
    try:
        yield opened
        opened.close()
    finally:
        opened.fp = None  # what close itself leaves behind


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    np.lib.format.write_array(buffer, little_endian, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()  # a view would keep the buffer open, which a failed write then could not close


# ---- reading

END = struct.Struct("<4s4H2IH")  # the archive's last bytes: where its directory is
ENTRY = struct.Struct("<4s4x2H4x3I3H8xI")  # in the directory: one member, followed by its name; x: what says nothing
LOCAL = struct.Struct("<4s22x2H")  # in front of a member's bytes, followed by its name again
MAX_DIRECTORY = 1 << 24
MAX_HEADER = 4096
NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|][a-z]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,12}, ?)*(?:\d{1,12})?),?\), \} *\n"
)
REAL = ("<f4", "<f8", ">f4", ">f8", "<f2", ">f2")  # dtypes of weights; halves only where a file is to be small
BYTES = ("|u1",)
FIRST = b"json.npy"


class Member(NamedTuple):
    """One array of the archive, as the directory claims it to be."""

    start: int  # of its bytes in the file
    size: int
    checksum: int  # CRC-32


class Reader:
    """An .npz file, open for reading. All methods raise ModelFileError, without the file's name."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.members = self._directory()

    def _bytes(self, start: int, size: int) -> bytes:
        self.file.seek(start)
        data = self.file.read(size)
        if len(data) != size:
            raise ModelFileError(f"cut short: expected {size} bytes at {start}, got {len(data)}")
        return data

    def _directory(self) -> dict[str, Member]:
        """The members by name. They must fill the file from its first byte to the directory, without gap or overlap."""
        total = self.file.seek(0, os.SEEK_END)
        if total < END.size or not self._bytes(0, 4).startswith(b"PK"):
            raise ModelFileError("not an .npz file")
        signature, disk, first_disk, here, count, size, start, comment = END.unpack(
            self._bytes(total - END.size, END.size)
        )
        if signature != b"PK\5\6" or (disk, first_disk, comment) != (0, 0, 0) or here != count:
            raise ModelFileError("not an .npz file, or cut short: the archive's directory is missing at its end")
        if size > MAX_DIRECTORY:
            raise ModelFileError(f"the archive's directory: expected at most {MAX_DIRECTORY:,} bytes, got {size:,}")
        if start + size + END.size != total:
            raise ModelFileError(
                f"damaged: the archive's directory claims {size} bytes at {start}, the file has {total}"
            )
        directory, members, at, end = self._bytes(start, size), {}, 0, 0
        for _ in range(count):
            name, offset, member, at = self._entry(directory, at)
            if offset != end or name in members:
                raise ModelFileError(f"damaged: member {name!r} overlaps another, or stands there twice")
            members[name], end = member, member.start + member.size
        if at != size or end != start:
            raise ModelFileError("damaged: the archive holds bytes that belong to no member")
        return members

    def _entry(self, directory: bytes, at: int) -> tuple[str, int, Member, int]:
        """(name, offset, member, where the next entry begins) of the directory's entry at this place."""
        if at + ENTRY.size > len(directory):
            raise ModelFileError("damaged: the archive's directory is cut short")
        signature, flags, method, checksum, packed, size, *sizes, offset = ENTRY.unpack_from(directory, at)
        name_size, extra_size, comment_size = sizes
        raw_name = directory[at + ENTRY.size : at + ENTRY.size + name_size]
        name = raw_name.decode("utf-8")
        if signature != b"PK\1\2" or flags & ~0x800 or not name.endswith(".npy"):
            raise ModelFileError(f"damaged: the archive's directory, byte {at}")
        if method != 0 or packed != size:
            raise ModelFileError(f"member {name!r} is compressed; model files are not (np.savez writes them so)")
        signature, local_name_size, local_extra_size = LOCAL.unpack(self._bytes(offset, LOCAL.size))
        start = offset + LOCAL.size + local_name_size
        if signature != b"PK\3\4" or self._bytes(offset + LOCAL.size, local_name_size) != raw_name:
            raise ModelFileError(f"damaged: member {name!r} does not begin at byte {offset}")
        next_entry = at + ENTRY.size + name_size + extra_size + comment_size
        return name.removesuffix(".npy"), offset, Member(start + local_extra_size, size, checksum), next_entry

    def array(
        self, name: str, shape: tuple[int, ...] | None, dtypes: tuple[str, ...], max_bytes: int = 1 << 31
    ) -> Array:
        """The array of this name, in C order and native bytes, writable. shape None: any of one axis."""
        member = self.members[name]
        head = self._bytes(member.start, min(member.size, MAX_HEADER))
        dtype, fortran, found, header_size = _parse_npy_header(name, head)
        if dtype not in dtypes:
            raise ModelFileError(f"{name}: expected dtype {' or '.join(dtypes)}, got {dtype}")
        if found != shape and not (shape is None and len(found) == 1):
            raise ModelFileError(f"{name}: expected shape {shape or '(n,)'}, got {found}")
        size = math.prod(found) * np.dtype(dtype).itemsize
        if size > max_bytes:
            raise ModelFileError(f"{name}: expected at most {max_bytes:,} bytes, got {size:,}")
        if size != member.size - header_size:
            raise ModelFileError(f"{name}: its header claims {size} bytes, there are {member.size - header_size}")
        data = self._bytes(member.start, member.size)
        if zlib.crc32(data) != member.checksum:
            raise ModelFileError(f"{name}: damaged: its bytes do not agree with their checksum")
        values = np.frombuffer(data, dtype, offset=header_size).reshape(found, order="F" if fortran else "C")
        return values.astype(values.dtype.newbyteorder("="), order="C", copy=True)


def _parse_npy_header(name: str, head: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """(dtype, Fortran order?, shape, size of the header) from an array's first bytes."""
    if head[:8] != b"\x93NUMPY\x01\x00" or len(head) < 10:
        raise ModelFileError(f"{name}: not a .npy array of version 1.0")
    size = 10 + int.from_bytes(head[8:10], "little")
    match = NPY_HEADER.fullmatch(head[10:size])
    if size > len(head) or not match:
        raise ModelFileError(f"{name}: not the header of an array of numbers")
    shape = tuple(int(number) for number in match[3].split(b",") if number.strip())
    return match[1].decode(), match[2] == b"True", shape, size


@contextlib.contextmanager
def reading(path: str) -> Iterator[Reader]:
    """A Reader of the file at path. Raises ModelFileError where there is no regular file."""
    with open_regular(path) as file:
        yield Reader(file)


def open_regular(path: str) -> BinaryIO:
    """The file, open for reading. Raises ModelFileError where there is no regular file, OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # asked before opening: opening a pipe waits for a writer
        raise ModelFileError("expected a file, got a pipe or device")
    return open(path, "rb")


def is_ours(path: str) -> bool:
    """Whether this is a file of ours under whatever name: an archive whose first member is json.npy."""
    with open_regular(path) as file:
        head = file.read(LOCAL.size + len(FIRST))
    return head.startswith(b"PK\3\4") and head.endswith(FIRST)
