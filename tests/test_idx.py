"""The IDX reader against every kind of broken file that we could think of."""

import gzip
import os
import signal
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx_files import PHOTO, header, idx, random_photos, refuses

from cnn.datasets.idx import MAX_BYTES, read_idx
from cnn.errors import DataError

# Files as they should be


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzip"])
@pytest.mark.parametrize("name", ["data", "data.gz"])
@pytest.mark.parametrize("item_shape", [(), (5,), PHOTO])
def test_reads_back_what_was_written(tmp_path, pack, name, item_shape):
    array = random_photos(3, item_shape)
    path = tmp_path / name  # whose ending says nothing
    path.write_bytes(pack(idx(array)))

    for given_path in (path, str(path)):
        got = read_idx(given_path, item_shape)
        assert got.dtype == np.uint8
        assert got.flags.writeable
        np.testing.assert_array_equal(got, array)


def test_reads_a_file_of_several_pieces(tmp_path):
    array = random_photos(1000, (64, 64))
    (tmp_path / "data").write_bytes(gzip.compress(idx(array), compresslevel=1))
    np.testing.assert_array_equal(read_idx(tmp_path / "data", (64, 64)), array)


def test_reads_gzip_of_several_members(tmp_path):
    whole = idx(random_photos(2))
    (tmp_path / "data").write_bytes(gzip.compress(whole[:100]) + gzip.compress(whole[100:]))
    np.testing.assert_array_equal(read_idx(tmp_path / "data", PHOTO), random_photos(2))


# Files as they should not be

GOOD = idx(random_photos(2))
ZIPPED = gzip.compress(GOOD)
PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>"
HUGE = 2**32 - 1

BROKEN_PHOTOS = {
    "empty": (b"", "length .*: expected at least 4 bytes, got 0"),
    "three bytes": (GOOD[:3], "length .*: expected at least 4 bytes, got 3"),
    "first byte not zero": (b"\1" + GOOD[1:], r"first two bytes: expected b'\\x00\\x00', got b'\\x01\\x00'"),
    "second byte not zero": (b"\0\7" + GOOD[2:], r"first two bytes: expected b'\\x00\\x00', got b'\\x00\\x07'"),
    "web page": (PAGE, "not an IDX file: first two bytes: .*got b'<!'"),
    "zipped web page": (gzip.compress(PAGE), "not an IDX file: first two bytes: .*got b'<!'"),
    "zipped twice": (gzip.compress(ZIPPED), "not an IDX file: first two bytes"),
    "unknown type": (header(2, 28, 28, value_type=0x0A), r"type .*byte 2\): expected uint8, got the unknown code 0x0a"),
    "type int8": (header(2, 28, 28, value_type=0x09), "expected uint8, got int8"),
    "type int16": (header(2, 28, 28, value_type=0x0B), "expected uint8, got int16"),
    "type int32": (header(2, 28, 28, value_type=0x0C), "expected uint8, got int32"),
    "type float32": (header(2, 28, 28, value_type=0x0D), "expected uint8, got float32"),
    "type float64": (header(2, 28, 28, value_type=0x0E), "expected uint8, got float64"),
    "no dimensions": (header() + b"\7", r"number of dimensions \(byte 3\): expected 3, got 0"),
    "one dimension": (header(1568) + bytes(1568), "number of dimensions .*: expected 3, got 1"),
    "four dimensions": (header(2, 28, 28, 1) + bytes(1568), "number of dimensions .*: expected 3, got 4"),
    "255 dimensions": (header(*[1] * 255) + b"\7", "number of dimensions .*: expected 3, got 255"),
    "header cut after rank": (GOOD[:4], "length .*: expected at least 16 bytes, got 4"),
    "header cut in last dimension": (GOOD[:15], "length .*: expected at least 16 bytes, got 15"),
    "no values": (GOOD[:16], "length .*: expected at least 1584 bytes, got 16"),
    "one value missing": (GOOD[:-1], "length .*: expected at least 1584 bytes, got 1583"),
    "one value too many": (GOOD + b"\0", "length .*: expected 1584 bytes, got more"),
    "two files in one": (GOOD + GOOD, "length .*: expected 1584 bytes, got more"),
    "no photos": (header(0, 28, 28), "number of items .*: expected 1 to [0-9]+, got 0"),
    "zero height": (header(2, 0, 28), r"shape of an item .*: expected \(28, 28\), got \(0, 28\)"),
    "zero width": (header(2, 28, 0), r"shape of an item .*: expected \(28, 28\), got \(28, 0\)"),
    "32x32": (header(2, 32, 32) + bytes(2048), r"shape of an item .*: expected \(28, 28\), got \(32, 32\)"),
    "28x27": (header(2, 28, 27) + bytes(1512), r"shape of an item .*: expected \(28, 28\), got \(28, 27\)"),
    "little-endian": (b"\0\0\x08\x03" + struct.pack("<3I", 2, 28, 28) + GOOD[16:], "shape of an item"),
    "too many photos": (header(HUGE, 28, 28), f"number of items .*, got {HUGE}"),
    "product overflows 64 bits": (header(HUGE, HUGE, HUGE), "shape of an item"),
    "product overflows to 0": (header(2**31, 2**31, 4), "shape of an item"),
    "one photo above the cap": (header(MAX_BYTES // 784 + 1, 28, 28), f"expected 1 to {MAX_BYTES // 784}, got"),
    "gzip magic alone": (ZIPPED[:2], "cannot be read: .*ended before"),
    "gzip cut in its header": (ZIPPED[:9], "cannot be read: .*ended before"),
    "gzip cut in the middle": (ZIPPED[: len(ZIPPED) // 2], "cannot be read: .*ended before"),
    "gzip without checksum": (ZIPPED[:-8], "cannot be read: .*ended before"),
    "gzip cut in its last byte": (ZIPPED[:-1], "cannot be read: .*ended before"),
    "gzip with wrong checksum": (ZIPPED[:-8] + b"\1\2\3\4" + ZIPPED[-4:], "cannot be read: CRC check failed"),
    "gzip with wrong length": (ZIPPED[:-4] + b"\1\2\3\4", "cannot be read: Incorrect length"),
    "gzip with unknown method": (ZIPPED[:2] + b"\0" + ZIPPED[3:], "cannot be read: Unknown compression method"),
    "gzip with invalid block": (ZIPPED[:10] + b"\xff" + ZIPPED[11:], "cannot be read: Error -3"),
    "gzip with something behind": (ZIPPED + b"more", "cannot be read: Not a gzipped file"),
    "gzip of a short file": (gzip.compress(GOOD[:-1]), "length .*: expected at least 1584 bytes, got 1583"),
    "gzip of a long file": (gzip.compress(GOOD + b"\0"), "length .*: expected 1584 bytes, got more"),
    "zlib without gzip": (zlib.compress(GOOD), "not an IDX file: first two bytes"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN_PHOTOS.values(), ids=BROKEN_PHOTOS)
def test_refuses_broken_photos(tmp_path, content, reason):
    path = tmp_path / "photos.gz"
    path.write_bytes(content)
    refuses(lambda: read_idx(path, PHOTO), path, reason)


BROKEN_LABELS = {
    "empty": (b"", "length .*: expected at least 4 bytes, got 0"),
    "no dimensions": (header() + b"\7", "number of dimensions .*: expected 1, got 0"),
    "one-hot": (header(2, 10) + bytes(20), "number of dimensions .*: expected 1, got 2"),
    "photos": (GOOD, "number of dimensions .*: expected 1, got 3"),
    "int32": (header(2, value_type=0x0C) + bytes(8), "type .*: expected uint8, got int32"),
    "header cut": (header(2)[:7], "length .*: expected at least 8 bytes, got 7"),
    "no labels": (header(0), "number of items .*, got 0"),
    "one above the cap": (header(MAX_BYTES + 1), f"number of items .*: expected 1 to {MAX_BYTES}, got {MAX_BYTES + 1}"),
    "one missing": (header(3) + b"\1\2", "length .*: expected at least 11 bytes, got 10"),
    "one too many": (header(3) + b"\1\2\3\4", "length .*: expected 11 bytes, got more"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN_LABELS.values(), ids=BROKEN_LABELS)
def test_refuses_broken_labels(tmp_path, content, reason):
    path = tmp_path / "labels"
    path.write_bytes(content)
    refuses(lambda: read_idx(path, ()), path, reason)


BOMBS = {
    "gzip bomb": gzip.compress(header(1, 28, 28) + bytes(64 << 20)),
    "raw file that goes on": header(1, 28, 28) + bytes(64 << 20),
    "header that promises what is not there": header(MAX_BYTES // 784, 28, 28),
    "zipped header that promises what is not there": gzip.compress(header(MAX_BYTES // 784, 28, 28)),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_refuses_a_bomb_without_taking_the_memory(tmp_path, content):
    path = tmp_path / "bomb"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        refuses(lambda: read_idx(path, PHOTO), path, "length .*: expected")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_reads_no_further_than_one_byte_too_many(tmp_path, monkeypatch):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(GOOD + bytes(1 << 20)))
    lengths = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda *args: lengths.append(len(piece := read(*args))) or piece)
    refuses(lambda: read_idx(path, PHOTO), path, "got more")
    assert sum(lengths) == len(GOOD) + 1


# Things that are no files


def test_refuses_a_missing_file(tmp_path):
    refuses(lambda: read_idx(tmp_path / "no", PHOTO), tmp_path / "no", "cannot be read: No such file or directory$")


def test_refuses_a_directory(tmp_path):
    refuses(lambda: read_idx(tmp_path, PHOTO), tmp_path, "expected a file, got a directory")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_refuses_a_pipe_instead_of_waiting_for_it(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def hangs(*_):
        raise TimeoutError("waits for the other end of the pipe")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(10)
    try:
        refuses(lambda: read_idx(path, PHOTO), path, "expected a file, got a directory, pipe or device")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such links here")
def test_refuses_a_link_to_itself(tmp_path):
    path = tmp_path / "loop"
    path.symlink_to(path)
    refuses(lambda: read_idx(path, PHOTO), path, "cannot be read: Too many")


def test_refuses_a_file_without_permission(ordinary_users_directory):
    path = ordinary_users_directory / "photos"
    path.write_bytes(GOOD)
    assert len(read_idx(path, PHOTO)) == 2
    path.chmod(0)
    refuses(lambda: read_idx(path, PHOTO), path, "cannot be read: Permission denied$")


# Any bytes at all

SMALL = np.arange(18, dtype=np.uint8).reshape(3, 2, 3)
changes = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4)


def mutated(content: bytes, changes: list[tuple[int, int]], length: int, tail: bytes) -> bytes:
    content = bytearray(content)
    for position, value in changes:
        content[position % len(content)] = value
    return bytes(content[:length]) + tail


@given(
    changes=changes,
    length=st.integers(0, 100) | st.just(1000),
    tail=st.binary(max_size=3),
    where=st.sampled_from(["raw", "inside gzip", "outside gzip"]),
)
def test_a_changed_file_gives_its_array_or_a_data_error(tmp_path_factory, changes, length, tail, where):
    """What is accepted must, written again, be the file: there is no second way to read it."""
    original = gzip.compress(idx(SMALL), mtime=0) if where == "outside gzip" else idx(SMALL)
    content = mutated(original, changes, length, tail)
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(gzip.compress(content) if where == "inside gzip" else content)
    try:
        array = read_idx(path, (2, 3))
    except DataError as error:
        assert str(error).startswith(f"{path}: ")
        assert content != original
    else:
        assert array.dtype == np.uint8
        assert idx(array) == (gzip.decompress(content) if where == "outside gzip" else content)


@given(st.binary(max_size=200), st.sampled_from([b"", header(3), header(3, 2, 3), b"\x1f\x8b\x08\0"]))
def test_any_file_gives_its_array_or_a_data_error(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "anything"
    path.write_bytes(start + content)
    for item_shape in [(), (2, 3)]:
        try:
            array = read_idx(path, item_shape)
        except DataError:
            continue
        assert idx(array) == start + content
