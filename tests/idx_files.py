"""What the tests of data files share: files to read, and what it means to refuse one."""

import os
import re
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cnn.errors import DataError

PHOTO = (28, 28)


def header(*dims: int, value_type: int = 8) -> bytes:
    return bytes([0, 0, value_type, len(dims)]) + struct.pack(f">{len(dims)}I", *dims)


def idx(array: np.ndarray) -> bytes:
    return header(*array.shape) + array.tobytes()


def random_photos(n: int, item_shape: tuple[int, ...] = PHOTO) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *item_shape), dtype=np.uint8)


def refuses(read, path: Path, reason: str) -> None:
    """Checks that read() raises a DataError of one line that begins with the path and goes on with the reason."""
    with pytest.raises(DataError) as caught:
        read()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    assert re.search(reason, message.removeprefix(f"{path}: ")), message


@pytest.fixture
def ordinary_users_directory():
    """A directory of somebody who is not root, with the rights of that user, because root may read everything."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no such rights here")
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)
    finally:
        os.seteuid(user)
