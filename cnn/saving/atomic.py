"""Files that are the old one or the new one, whole, whatever happens between."""

import contextlib
import errno
import glob
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

# How file systems say that they have no such call; a disk that fails says EIO, a full one ENOSPC or EDQUOT.
UNKNOWN = {
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EBADF,
    errno.ENOSYS,
    errno.EPERM,
    errno.EACCES,
    errno.EROFS,
}


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of path once it is whole and on the disk; after an exception nothing is left."""
    path = os.path.realpath(path)  # where path is a link, the link stays
    temporary = f"{path}.tmp.{secrets.token_hex(4)}"  # beside path: a file cannot be renamed to another disk
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            sync(file.fileno())
        os.replace(temporary, path)
        sync_folder(os.path.dirname(path))
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):  # a full disk does not say by itself which file suffered
            raise OSError(error.errno, error.strerror, path) from error
        raise


def sync(descriptor: int) -> bool:
    """Put on the disk what was written; False where the file system has no such call (network and shared folders)."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        return False
    return True


def sync_folder(folder: str) -> bool:
    """Put a rename itself on the disk; False where the system has no call for that, and a power cut may undo it."""
    if not hasattr(os, "O_DIRECTORY"):
        return False
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # the file is in its place already: a folder that nobody may list is no failure
        return False
    try:
        return sync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: str) -> None:
    """Delete what writers of path left behind that were killed: a killed process cannot tidy up."""
    for leftover in glob.glob(f"{glob.escape(os.path.realpath(path))}.tmp.*"):
        with contextlib.suppress(OSError):
            os.unlink(leftover)
