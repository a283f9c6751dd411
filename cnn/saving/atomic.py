"""Files that are the old one or the new one, whole, whatever happens between."""

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of path once it is whole and on the disk; after an exception nothing of it is left."""
    path = os.path.realpath(path)  # where path is a link, the link stays
    temporary = f"{path}.tmp.{secrets.token_hex(4)}"  # beside path: a file cannot be renamed to another disk
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(os.path.dirname(path))
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):  # a full disk does not say by itself which file suffered
            raise OSError(error.errno, error.strerror, path) from error
        raise


def _sync_folder(folder: str) -> None:
    """Put the rename itself on the disk, where the system has a call for that."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(path: str) -> None:
    """Delete what writers of path left behind that were killed: a killed process cannot tidy up."""
    for leftover in glob.glob(f"{glob.escape(os.path.realpath(path))}.tmp.*"):
        with contextlib.suppress(OSError):
            os.unlink(leftover)
