"""What the tests of hostile files share: a valid file, ways to change it, and what it means to refuse one."""

import copy
import io
import json
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from cnn import callbacks, layers, models
from cnn.errors import ModelFileError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="session")
def valid(tmp_path_factory) -> bytes:
    """A file with everything in it: weights, optimizer, training state, a callback's weights."""
    folder = tmp_path_factory.mktemp("valid")
    model = models.Sequential(
        [layers.Conv2D(2, 3, input_shape=(6, 6, 1)), layers.Flatten(), layers.Dense(3, "softmax")], seed=1
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.class_names, model.input_scale, model.made_by = ("a", "b", "c"), 1 / 255, "a test"
    watchers = [
        callbacks.EarlyStopping("loss", restore_best_weights=True),
        callbacks.BackupAndRestore(folder, delete_checkpoint=False),
    ]
    x, y = RNG.random((8, 6, 6, 1), dtype=np.float32), RNG.integers(0, 3, 8)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=watchers)
    return (folder / "last.npz").read_bytes()


def members(data: bytes) -> dict[str, bytes]:
    """Name -> the .npy file of each array, in the file's order."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}


def archive(contents: dict[str, bytes], compression=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in contents.items():
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), content, compression)
    return buffer.getvalue()


def npy(array: np.ndarray, **arguments) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), **arguments)
    return buffer.getvalue()


def header(text: str, version=b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode("latin1")


def with_member(data: bytes, name: str, content: bytes) -> bytes:
    return archive(members(data) | {name: content})


def document_of(data: bytes) -> dict:
    return json.loads(np.load(io.BytesIO(data))["json"].tobytes())


def with_text(data: bytes, text: bytes) -> bytes:
    return with_member(data, "json", npy(np.frombuffer(text, np.uint8)))


def with_document(data: bytes, change) -> bytes:
    """The file after change(document)."""
    document = copy.deepcopy(document_of(data))
    change(document)
    return with_text(data, json.dumps(document).encode())


def load(path, data: bytes):
    path.write_bytes(data)
    return models.load_model(path)


def refuses(path, data: bytes, reason: str = "") -> str:
    """Check that loading gives one line, the file's name and the reason, and takes hardly more memory than the file."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError) as caught:
            models.load_model(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.count(str(path)) == 1
    assert message.isprintable() and len(message) < 700
    assert re.search(reason, message.removeprefix(f"{path}: ")), message
    assert peak < 20 * len(data) + 2_000_000, f"{peak} bytes for a file of {len(data)}"
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"
