"""CIFAR-10: 60,000 colour photos of 32x32 in ten classes, from the files that you have: its Python batches.

These are pickles, and a pickle may run any code of whoever wrote it. So they are read by an unpickler that knows the
few names of theirs, and for these only builds notes of what was written; which is then checked, and copied.
"""

import io
import os
import pickle
import pickletools
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cnn.datasets import places
from cnn.errors import DataError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PHOTO_SHAPE = (32, 32, 3)
TRAIN, TEST = tuple(f"data_batch_{k}" for k in range(1, 6)), ("test_batch",)
WHAT = "the Python version of CIFAR-10, cifar-10-python.tar.gz or its folder cifar-10-batches-py,"
NAMES = (
    "cifar-10-batches-py",
    "cifar-10-batches-py-target/cifar-10-batches-py",  # where Keras unpacks it
    "cifar-10-batches-py-target",
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py.tar.gz",
)
MAX_BYTES = 1 << 26  # of one batch; theirs have half of it

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_data(path: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Returns `(train_x, train_y), (test_x, test_y)` as Keras does: uint8 photos (N, 32, 32, 3) and labels (N, 1).

    path: the folder of the batches or the .tar.gz, also by its name in ~/.keras/datasets; unless given, what is there.

    Raises DataError if there is none, or if a file is anything else; nothing is downloaded.
    """
    found = places.find(WHAT, path, NAMES)
    batches = dict(_folder(found) if found.is_dir() else _archive(found))
    for name in (*TRAIN, *TEST):
        if name not in batches:
            raise DataError(f"{found}: expected a batch named {name}, found none")
    return _together(batches, TRAIN), _together(batches, TEST)


def _together(batches, names):
    photos, labels = zip(*(batches[name] for name in names), strict=True)
    return np.concatenate(photos), np.concatenate(labels)


def _folder(folder: Path) -> Iterator[tuple[str, Split]]:
    inner = folder / "cifar-10-batches-py"
    folder = inner if inner.is_dir() else folder
    for name in (*TRAIN, *TEST):
        path = folder / name
        if path.exists():
            if not stat.S_ISREG(path.stat().st_mode):
                raise DataError(f"{path}: expected a file, got a directory, pipe or device")
            with path.open("rb") as file:
                yield name, read_batch(str(path), file, path.stat().st_size)


def _archive(path: Path) -> Iterator[tuple[str, Split]]:
    """The batches in a .tar.gz, which is not unpacked."""
    import tarfile  # few have one, and it takes a while to load

    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if member.isfile() and name in (*TRAIN, *TEST):
                    file = archive.extractfile(member)
                    assert file is not None  # it is a file
                    yield name, read_batch(f"{path}: {member.name}", file, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


# ---- one batch


def read_batch(where: str, file: BinaryIO | Any, size: int) -> Split:
    """The photos (N, 32, 32, 3) and labels (N, 1) in a pickled batch of so many bytes. Raises DataError."""
    if size > MAX_BYTES:
        raise DataError(f"{where}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
    try:
        data = file.read(size)
        require_small_memo(data)
        found = Notes(io.BytesIO(data), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except Exception as error:  # what a damaged pickle raises can be anything
        raise DataError(f"{where}: not a batch of CIFAR-10: {type(error).__name__}: {error}") from None
    rows, labels = (_entry(where, found, key) for key in ("data", "labels"))
    photos = _photos(where, rows)
    return photos, _labels(where, labels, len(photos))


def require_small_memo(data: bytes) -> None:
    """Raise DataError where a pickle asks for more numbered places than it has bytes: they would be allocated at once.

    Raises ValueError for what is no pickle.
    """
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise DataError(f"not a batch of CIFAR-10: it asks for {argument:,} places")


def _entry(where, found, key):
    if not isinstance(found, dict) or not (key in found or key.encode() in found):
        raise DataError(f"{where}: expected a dict with data and labels")
    return found[key] if key in found else found[key.encode()]


def _photos(where, data):
    if not isinstance(data, WrittenArray) or data.rows() is None:
        raise DataError(f"{where}: data: expected an array (N, 3072) of uint8")
    return np.ascontiguousarray(data.rows().reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _labels(where, labels, count):
    right = isinstance(labels, list) and len(labels) == count
    if not right or not all(type(label) is int and 0 <= label < len(CLASS_NAMES) for label in labels):
        raise DataError(f"{where}: labels: expected a list of {count} whole numbers from 0 to 9")
    return np.array(labels, np.uint8).reshape(-1, 1)


class WrittenType:
    """What a pickle says of an array's type: the arguments of numpy.dtype."""

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """The order of the bytes and so on, which single bytes do not have."""


class WrittenArray:
    """What a pickle says of an array: its version, shape, type, whether columns come first, and its bytes."""

    state: Any = None

    def __init__(self, *arguments: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def rows(self) -> NDArray[np.uint8] | None:
        """The array (N, 3072), or None if it is another."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, kind, fortran, data = self.state
        if not isinstance(kind, WrittenType) or kind.arguments[:1] not in ((b"u1",), ("u1",)):
            return None
        right = isinstance(shape, tuple) and len(shape) == 2 and shape[1] == 3072 and type(shape[0]) is int
        if not right or not isinstance(data, bytes) or len(data) == 0 or len(data) != shape[0] * 3072:
            return None
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _as_bytes(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes into pickles that Python 2 can read."""
    if isinstance(text, str) and encoding in ("latin1", b"latin1"):
        return text.encode("latin1")
    raise DataError("not a batch of CIFAR-10: bytes in another encoding")


class Notes(pickle.Unpickler):
    """An unpickler for which an array is a note of what was written, and any other name is refused."""

    KNOWN = {"_reconstruct": WrittenArray, "ndarray": WrittenArray, "dtype": WrittenType, "encode": _as_bytes}
    MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs")

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name. Raises DataError for names that no batch of CIFAR-10 has."""
        if module not in self.MODULES or name not in self.KNOWN:
            raise DataError(f"not a batch of CIFAR-10: it asks for {module}.{name}".replace("\n", " ")[:200])
        return self.KNOWN[name]
