"""HDF5 files from strangers, through h5py: plain numbers that stand in the file itself, and nothing else.

HDF5 can do much more: links into other files, data sets that are put together from others, compressed or spread over
files of their own, names that lead back to where one came from, and shapes without numbers behind them. None of that is
in what Keras writes, and all of it is refused, before a single number is read.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from cnn.errors import ModelFileError
from cnn.saving import strict_json
from cnn.saving.forms.extras import need

Array = np.ndarray
MAX_DEPTH = 32  # of groups in groups
MAX_THINGS = 100_000  # groups and data sets


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator[Any]:
    """The h5py.File in these bytes; what h5py says of damage becomes a ModelFileError."""
    h5py = need("h5py", "a file of Keras'")
    try:
        with h5py.File(file, "r") as h5:
            yield h5
    except ModelFileError:
        raise
    except (OSError, RuntimeError, KeyError, AttributeError, IndexError, UnicodeDecodeError) as error:
        raise ModelFileError(f"damaged: not the HDF5 file that it should be: {error}") from None


def datasets(group: Any) -> dict[str, Any]:
    """{"layers/conv2d/vars/0": the data set, not yet read}, of all below this group. Raises ModelFileError."""
    found: dict[str, Any] = {}
    things = 0
    waiting = [("", group, 0)]
    while waiting:
        path, inner, depth = waiting.pop()
        for name in inner:
            things += 1
            if depth > MAX_DEPTH or things > MAX_THINGS:
                raise ModelFileError("damaged: groups without an end")
            thing = _thing(inner, name, where := f"{path}{name}")
            if hasattr(thing, "shape"):
                found[where] = thing
            else:
                waiting.append((f"{where}/", thing, depth + 1))
    size = group.file.id.get_filesize()
    if sum(thing.nbytes for thing in found.values()) > size:
        raise ModelFileError(f"its arrays claim more bytes than the file has, {size:,}")
    return found


def _thing(group, name, where):
    """The group or data set of this name. Raises ModelFileError unless it lies in this file as plain numbers."""
    import h5py

    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ModelFileError(f"{where:.200}: is a link ({type(link).__name__}); models are read from one file")
    thing = group[name]
    if isinstance(thing, h5py.Group):
        return thing
    if not isinstance(thing, h5py.Dataset) or thing.shape is None or thing.dtype.kind not in "fiu":
        raise ModelFileError(f"{where:.200}: expected an array of numbers")
    layout = thing.id.get_create_plist()
    if thing.is_virtual or layout.get_external_count():
        raise ModelFileError(f"{where:.200}: its numbers stand elsewhere; models are read from one file")
    if thing.chunks or thing.id.get_storage_size() != thing.nbytes:
        raise ModelFileError(f"{where:.200}: is compressed or incomplete; Keras stores its arrays as they are")
    return thing


def numbers(found: dict[str, Any], path: str, shape: tuple[int, ...] | None = None) -> Array:
    """The array at this path. shape: what it must have. Raises ModelFileError."""
    if path not in found:
        raise ModelFileError(f"the array {path!r} is missing")
    if shape is not None and found[path].shape != shape:
        raise ModelFileError(f"{path}: expected shape {shape}, got {found[path].shape}")
    array = np.asarray(found[path][()])
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def attribute(thing: Any, name: str) -> Any:
    """Text, or a list of texts; None where there is none. Raises ModelFileError for anything else."""
    if name not in thing.attrs:
        return None
    attribute = thing.attrs.get_id(name)
    if attribute.shape is None or attribute.shape not in ((), attribute.shape[:1]):
        raise ModelFileError(f"{name}: expected text or a list of texts")
    if attribute.shape == (0,):
        return []
    if (size := attribute.get_storage_size()) > strict_json.MAX_BYTES:
        raise ModelFileError(f"{name}: expected at most {strict_json.MAX_BYTES:,} bytes, got {size:,}")
    value = thing.attrs[name]
    if isinstance(value, np.ndarray | list):
        return [_text(name, one) for one in value]
    return _text(name, value)


def _text(name, value):
    value = bytes(value).decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise ModelFileError(f"{name}: expected text, got {type(value).__name__}")
    return value


def write(file: BinaryIO, arrays: dict[str, Array], attributes: dict[str, dict[str, str]]) -> None:
    """An HDF5 file of these arrays at their paths, and of groups {path: {attribute: text}}."""
    h5py = need("h5py", "a file of Keras'")
    with h5py.File(file, "w") as h5:
        for path, told in attributes.items():
            h5.require_group(path).attrs.update(told)
        for path, array in arrays.items():
            h5[path] = array
