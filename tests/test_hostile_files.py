"""Model files from strangers: each is a whole model or one ModelFileError, whatever its bytes say."""

import io
import os
import pickle
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from model_files import archive, header, load, members, npy, refuses, with_document, with_member

from cnn import models
from cnn.errors import ModelFileError
from cnn.saving import npz


def test_the_valid_file_is_valid(path, valid):
    assert load(path, valid).built
    assert load(path, archive(members(valid))).built  # so is what the helpers below make of it
    assert load(path, with_document(valid, lambda document: None)).built
    assert len(members(valid)) == 1 + 4 * 4  # json; parameters, two slots and the best weights


# Damage


def test_truncated_anywhere(path, valid):
    for size in [*range(0, len(valid), 64), *range(len(valid) - 70, len(valid))]:
        refuses(path, valid[:size], "^(not an .npz file|damaged|cut short)")


def test_bytes_at_the_end_or_the_beginning(path, valid):
    refuses(path, valid + b"\0", "directory")
    refuses(path, b"\0" + valid, "not an .npz file")
    refuses(path, b"PK" + valid, "directory")
    refuses(path, valid + valid, "directory|belong to no member")


def test_one_flipped_bit_in_each_member(path, valid):
    with zipfile.ZipFile(io.BytesIO(valid)) as file:
        for info in file.infolist():
            name_size, extra_size = struct.unpack_from("<2H", valid, info.header_offset + 26)
            start = info.header_offset + 30 + name_size + extra_size
            for place in (
                start,
                start + 9,
                start + 20,
                start + 128,
                start + info.file_size // 2,
                start + info.file_size - 1,
            ):
                for bit in (0, 5, 7):
                    damaged = bytearray(valid)
                    damaged[place] ^= 1 << bit
                    refuses(path, bytes(damaged), re.escape(info.filename.removesuffix(".npy")))


def test_a_missing_file_and_what_is_no_file(tmp_path):
    with pytest.raises(ModelFileError, match="nothing.npz: cannot be read: No such file"):
        models.load_model(tmp_path / "nothing.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ModelFileError, match="pipe.npz: expected a file, got a pipe or device"):
        models.load_model(tmp_path / "pipe.npz")
    with pytest.raises(ModelFileError, match="expected a file, got a pipe or device"):
        models.load_model("/dev/zero")


OTHER_FILES = {
    "empty": b"",
    "text": b"epoch,loss\n0,1.5\n" * 100,
    "HTML page": b"<!DOCTYPE html><html><body>404</body></html>" * 10,
    "one array": npy(np.zeros(100)),
    "pickle": pickle.dumps({"a": 1}) * 10,
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(500),
    "empty zip": archive({}),
    "end of directory only": b"PK\5\6" + bytes(18),
}


@pytest.mark.parametrize("data", OTHER_FILES.values(), ids=OTHER_FILES.keys())
def test_other_kinds_of_files(path, data):
    refuses(path, data, "not a|directory")


# Archives that lie


def patch(data: bytes, at: int, form: str, value: int) -> bytes:
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


def directory_entry(data: bytes, index: int = 0) -> int:
    """Where the directory's entry for this member begins."""
    at = struct.unpack_from("<I", data, len(data) - 6)[0]
    for _ in range(index):
        at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
    return at


def test_zip_bombs(path, valid):
    bomb = members(valid)
    bomb["conv2d/kernel"] = npy(np.zeros((3000, 3000), np.float32))
    refuses(path, archive(bomb, zipfile.ZIP_DEFLATED), "compressed")
    refuses(path, archive(members(valid), zipfile.ZIP_DEFLATED), "compressed")


def test_sizes_that_are_not_there(path, valid):
    entry = directory_entry(valid, 1)
    for field in (20, 24):  # packed size, size
        for claim in (0, 1, 2**31, 2**32 - 1):
            refuses(path, patch(valid, entry + field, "<I", claim))
    both = patch(patch(valid, entry + 20, "<I", 2**32 - 1), entry + 24, "<I", 2**32 - 1)
    refuses(path, both, "damaged|cut short")
    for at, form in (
        (len(valid) - 12, "<H"),
        (len(valid) - 14, "<H"),
        (len(valid) - 10, "<I"),
        (len(valid) - 6, "<I"),
        (len(valid) - 2, "<H"),
    ):
        for claim in (1, 2**16 - 1):
            refuses(path, patch(valid, at, form, claim))


def test_members_that_overlap(path, valid):
    """A quine-like archive: all entries share the same bytes."""
    first = struct.unpack_from("<I", valid, directory_entry(valid, 0) + 42)[0]
    for index in range(1, 4):
        refuses(path, patch(valid, directory_entry(valid, index) + 42, "<I", first), "does not begin|overlaps")
    refuses(path, patch(valid, directory_entry(valid, 2) + 42, "<I", 2**32 - 1), "cut short")


def test_a_hole_between_members(path, valid):
    """Bytes that belong to nobody could hide another file."""
    start = directory_entry(valid)
    hidden = valid[:start] + b"secret" + valid[start:]
    refuses(path, patch(hidden, len(hidden) - 6, "<I", start + 6), "belong to no member")


def test_a_name_twice(path, valid):
    buffer = io.BytesIO(valid)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as file:
        file.writestr("json.npy", npy(np.zeros(3, np.uint8)))
    refuses(path, buffer.getvalue(), "'json' overlaps another, or stands there twice")


def test_encrypted_members_and_names_that_are_no_text(path, valid):
    refuses(path, patch(valid, directory_entry(valid, 1) + 8, "<H", 1), "directory")
    refuses(path, patch(valid, directory_entry(valid, 1) + 46, "<B", 0xFF), "utf-8")


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc/passwd", "C:\\evil", "conv2d/kernel\0", "conv2d\\kernel", "", "json/../json", "\x1b[2J"],
)
def test_names_of_other_members(tmp_path, path, valid, name):
    refuses(path, with_member(valid, name, npy(np.zeros(1, np.float32))), "belongs to no part|directory|damaged")
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_missing_array_and_one_too_many(path, valid):
    for name in members(valid):
        rest = {key: value for key, value in members(valid).items() if key != name}
        refuses(path, archive(rest), "holds no 'json'" if name == "json" else f"the array '{name}' is missing")
    refuses(path, with_member(valid, "optimizer/extra/conv2d/kernel", npy(np.zeros(1))), "belongs to no part")


# Arrays that lie


class Payload:
    """Unpickling this creates a folder."""

    def __init__(self, victim):
        self.victim = str(victim)

    def __reduce__(self):
        return os.mkdir, (self.victim,)


def test_pickles_are_never_run(tmp_path, path, valid):
    victim = tmp_path / "victim"
    objects = np.empty((3, 3, 1, 2), object)
    objects[:] = Payload(victim)
    pickle.loads(pickle.dumps(Payload(victim)))
    assert victim.exists()  # the payload does work
    victim.rmdir()
    for name in ("conv2d/kernel", "json", "optimizer/momentum/conv2d/kernel"):
        refuses(path, with_member(valid, name, npy(objects, allow_pickle=True)), f"{name}: ")
        raw = header("{'descr': '|O', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n") + pickle.dumps(
            [Payload(victim)]
        )
        refuses(path, with_member(valid, name, raw), f"{name}: ")
    refuses(path, pickle.dumps(Payload(victim)) * 20, "not an .npz")
    assert not victim.exists()


SHAPES = [
    "(3, 3, 1, 2000000000)",
    "(4294967296, 4294967296, 4294967296)",
    "(999999999999,)",
    "(3, 3, 1, 2, 1)",
    "(18,)",
    "()",
    "(0,)",
    "(-3, -3, 1, 2)",
    "(3, 3, 1, 2" + "0" * 3000 + ")",
    "(3.0, 3, 1, 2)",
    "(True, 3, 1, 2)",
    "[3, 3, 1, 2]",
    "3",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_bombs(path, valid, shape):
    for name in ("conv2d/kernel", "json"):
        data = header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n") + bytes(72)
        refuses(path, with_member(valid, name, data), f"{name}: ")


def test_a_json_that_claims_gigabytes(path, valid):
    data = header("{'descr': '|u1', 'fortran_order': False, 'shape': (100000000000,), }\n") + b"{}"
    refuses(path, with_member(valid, "json", data), "json: expected at most 4,194,304 bytes, got 100,000,000,000")


HEADERS = {
    "code": "__import__('os').system('touch victim')",
    "code as a value": "{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').system('touch victim'), }\n",
    "structured dtype": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
    "another key": "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3, 1, 2), 'x': 1, }\n",
    "deep": "(" * 4000,
    "text dtype": "{'descr': '<U4', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
    "complex": "{'descr': '<c8', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
    "long double": "{'descr': '<f16', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
    "no item": "{'descr': '|V0', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
    "whole numbers": "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
    "time": "{'descr': '<M8', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n",
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_are_not_those_of_weights(tmp_path, monkeypatch, path, valid, text):
    monkeypatch.chdir(tmp_path)
    refuses(path, with_member(valid, "conv2d/kernel", header(text) + bytes(72)), "conv2d/kernel: ")
    refuses(
        path, with_member(valid, "conv2d/kernel", header(text, b"\x02\x00") + bytes(72)), "conv2d/kernel: not a .npy"
    )
    assert os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00\xff\xff", bytes(200)])
def test_members_that_are_no_arrays(path, valid, content):
    refuses(path, with_member(valid, "dense/bias", content), "dense/bias: not")


def weights(valid, change):
    return with_member(valid, "dense/kernel", npy(change(np.load(io.BytesIO(valid))["dense/kernel"])))


def test_weights_of_another_form(path, valid):
    model = load(path, valid)
    refuses(path, weights(valid, lambda w: w.T), r"dense/kernel: expected shape \(32, 3\), got \(3, 32\)")
    refuses(path, weights(valid, lambda w: w[:, :2]), "expected shape")
    refuses(path, weights(valid, lambda w: w[None]), "expected shape")
    refuses(path, weights(valid, lambda w: w.astype(np.int16)), "expected dtype <f4 or <f8 .*, got <i2")
    for bad in (np.nan, np.inf, -np.inf):
        refuses(
            path,
            weights(valid, lambda w, bad=bad: np.where(w == w.max(), bad, w).astype(np.float32)),
            "dense/kernel: holds NaN or infinity",
        )
    refuses(
        path, weights(valid, lambda w: w.astype(np.float64) * 1e200), "holds NaN or infinity"
    )  # too large for float32
    for change in (np.asfortranarray, lambda w: w.astype(">f4"), lambda w: w.astype("<f8"), lambda w: w.astype(">f8")):
        assert np.array_equal(load(path, weights(valid, change)).params["dense/kernel"], model.params["dense/kernel"])


def test_means_of_squares_below_zero(path, valid):
    """Adam would make NaN of them, and the weights would be lost after a step."""
    velocity = np.load(io.BytesIO(valid))["optimizer/velocity/dense/kernel"] - np.float32(1)
    refuses(path, with_member(valid, "optimizer/velocity/dense/kernel", npy(velocity)), "expected means of squares")


# Injected faults: the checks above must notice


def test_a_reader_that_trusts_the_header_is_noticed(path, valid, monkeypatch):
    """Injected fault: as np.load does, allocate what the header says before looking at the bytes."""
    original = npz._parse_npy_header

    def trusting(name, head):
        dtype, fortran, shape, size = original(name, head)
        if np.dtype(dtype).itemsize * np.prod(shape, dtype=float) < 1e9:
            np.empty(shape, dtype).fill(0)
        return dtype, fortran, shape, size

    claim = header("{'descr': '<f4', 'fortran_order': False, 'shape': (20000000,), }\n") + bytes(72)
    bomb = with_member(valid, "conv2d/kernel", claim)
    refuses(path, bomb, "conv2d/kernel: ")
    monkeypatch.setattr(npz, "_parse_npy_header", trusting)
    with pytest.raises(AssertionError, match="^8[0-9]{7} bytes for a file of"):
        refuses(path, bomb, "conv2d/kernel: ")


def test_a_reader_without_checksum_is_noticed(path, valid, monkeypatch):
    monkeypatch.setattr(npz, "zlib", type("NoZlib", (), {"crc32": staticmethod(lambda data: None)}))
    monkeypatch.setattr(
        npz.Member, "__new__", lambda cls, start, size, checksum: tuple.__new__(cls, (start, size, None))
    )
    with pytest.raises(
        (AssertionError, pytest.fail.Exception)
    ):  # accepted, or refused for another reason than the checksum
        test_one_flipped_bit_in_each_member(path, valid)


def test_a_reader_that_calls_numpy_with_pickle_is_noticed(tmp_path, path, valid, monkeypatch):
    def careless(reader, name, shape, dtypes, max_bytes=0):
        member = reader.members[name]
        return np.load(io.BytesIO(reader._bytes(member.start, member.size)), allow_pickle=True)

    monkeypatch.setattr(npz.Reader, "array", careless)
    with pytest.raises((AssertionError, AttributeError, pytest.fail.Exception)):
        test_pickles_are_never_run(tmp_path, path, valid)
    assert (tmp_path / "victim").exists()


def test_the_checksum_is_the_archives_own(valid):
    """So that any zip tool can test a file."""
    for name, content in members(valid).items():
        with zipfile.ZipFile(io.BytesIO(valid)) as file:
            assert zlib.crc32(content) == file.getinfo(f"{name}.npy").CRC
