"""Memory: files that claim gigabytes, and work that goes on for hours, take no more than they need."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from commandline import run

from cnn import layers, models

pytestmark = pytest.mark.slow

LOAD = """
import resource, sys
from cnn import models
from cnn.errors import ModelFileError
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
for path in sys.argv[1:]:
    try:
        models.load_model(path)
    except ModelFileError as error:
        print(error)
    else:
        raise SystemExit(f"{path} was loaded")
print("done")
"""


def patched_entry(data: bytes, hole: int) -> tuple[bytes, bytes]:
    """A file's first member grown by `hole` zero bytes that take no room on the disk: (before the hole, after it)."""
    with_size = bytearray(data)
    at = int.from_bytes(data[-6:-2], "little")
    size = int.from_bytes(data[at + 24 : at + 28], "little")
    for field in (20, 24):
        with_size[at + field : at + field + 4] = (size + hole).to_bytes(4, "little")
    end = 30 + int.from_bytes(data[26:28], "little") + size
    entry = at
    while with_size[entry : entry + 4] == b"PK\1\2":
        offset = int.from_bytes(with_size[entry + 42 : entry + 46], "little")
        if offset:
            with_size[entry + 42 : entry + 46] = (offset + hole).to_bytes(4, "little")
        entry += 46 + sum(int.from_bytes(with_size[entry + k : entry + k + 2], "little") for k in (28, 30, 32))
    with_size[-6:-2] = (at + hole).to_bytes(4, "little")
    return bytes(with_size[:end]), bytes(with_size[end:])


def write_sparse(path, before: bytes, hole: int, after: bytes) -> None:
    with open(path, "wb") as file:
        file.write(before)
        file.seek(hole, os.SEEK_CUR)
        file.write(after)


def test_hostile_files_under_a_memory_limit(tmp_path):
    """200 MB beyond what the interpreter has taken already must do for files that claim, or really have, gigabytes."""
    good = tmp_path / "good.npz"
    models.Sequential([layers.Dense(2, input_shape=(3,))]).save(good)
    data, gigabyte = good.read_bytes(), 1 << 30

    write_sparse(tmp_path / "zeros.npz", b"", 10 * gigabyte, b"\0")
    write_sparse(
        tmp_path / "directory.npz",
        b"PK\3\4",
        3 * gigabyte,
        b"PK\5\6" + bytes(4) + b"\xff\xff\xff\xff" + (3 * gigabyte).to_bytes(4, "little") + b"\4\0\0\0\0\0",
    )
    before, after = patched_entry(data, gigabyte)
    write_sparse(tmp_path / "json.npz", before, gigabyte, after)
    before = bytearray(before)
    header = before.index(b"'shape': (") + 10
    digits = before.index(b",", header) - header
    room = before.index(b"), }", header)
    claim = str(int(before[header : header + digits]) + gigabyte).encode() + b",), }"
    before[header : room + 4 + len(claim) - digits - 5] = claim  # the header's padding gives room for the longer number
    write_sparse(tmp_path / "long_json.npz", bytes(before), gigabyte, after)

    large = models.Sequential([layers.Dense(2, input_shape=(3,))])
    arrays = {"json": np.load(good)["json"]}
    document = json.loads(arrays["json"].tobytes())
    document["model"]["input_shape"], document["model"]["layers"][0]["config"]["units"] = [1_000_000], 1_000_000
    arrays["json"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(tmp_path / "claims.npz", **arrays, **large.params)
    assert (tmp_path / "json.npz").stat().st_blocks * 512 < 1 << 20  # the gigabytes are holes

    names = ["zeros", "directory", "json", "long_json", "claims"]
    process = run("-c", LOAD, *(tmp_path / f"{name}.npz" for name in names), timeout=60)
    assert process.returncode == 0, process.stderr + process.stdout
    lines = process.stdout.splitlines()
    assert lines[-1] == "done" and len(lines) == len(names) + 1
    for line, name in zip(lines, names, strict=False):
        assert line.startswith(str(tmp_path / f"{name}.npz: ")) and "memory" not in line, line
    assert "expected at most 16,777,216 bytes" in lines[1] and "expected at most 4,194,304 bytes" in lines[3]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat():
    """10,000 calls of predict, then 200 epochs: no cache or history holds on to arrays."""
    x, y = np.zeros((64, 8, 8, 1), np.float32), np.zeros(64, int)
    model = models.Sequential(
        [layers.Conv2D(8, 3, input_shape=(8, 8, 1)), layers.Flatten(), layers.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")

    def predict(times):
        for _ in range(times):
            model.predict(x[:4], verbose=0)

    predict(200)
    before = resident()
    predict(10_000)
    assert resident() - before < 4 << 20
    model.fit(x, y, epochs=5, verbose=0)
    before = resident()
    model.fit(x, y, epochs=200, verbose=0)
    assert resident() - before < 4 << 20
