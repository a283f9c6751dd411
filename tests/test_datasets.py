"""The IDX reader against every kind of broken file that we could think of, and the shipped Fashion-MNIST."""

import gzip
import hashlib
import os
import re
import shutil
import signal
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnn.datasets
from cnn.datasets import fashion_mnist, fingerprint
from cnn.datasets.idx import MAX_BYTES, read_idx
from cnn.errors import DataError

PHOTO = (28, 28)
NAMES = [name for names in fashion_mnist.FILES.values() for name in names]
TEST_PHOTOS, TEST_LABELS = fashion_mnist.FILES["test"]


def header(*dims: int, value_type: int = 8) -> bytes:
    return bytes([0, 0, value_type, len(dims)]) + struct.pack(f">{len(dims)}I", *dims)


def idx(array: np.ndarray) -> bytes:
    return header(*array.shape) + array.tobytes()


def random_photos(n: int, item_shape: tuple[int, ...] = PHOTO) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *item_shape), dtype=np.uint8)


def write_set(directory: Path, photos: bytes, labels: bytes) -> None:
    """Writes the files of the test split."""
    (directory / TEST_PHOTOS).write_bytes(photos)
    (directory / TEST_LABELS).write_bytes(labels)


def refuses(read, path: Path, reason: str) -> None:
    """Checks that read() raises a DataError of one line that begins with the path and goes on with the reason."""
    with pytest.raises(DataError) as caught:
        read()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    assert re.search(reason, message.removeprefix(f"{path}: ")), message


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


def test_refuses_a_file_without_permission(ordinary_users_directory):
    path = ordinary_users_directory / "photos"
    path.write_bytes(GOOD)
    assert len(read_idx(path, PHOTO)) == 2
    path.chmod(0)
    refuses(lambda: read_idx(path, PHOTO), path, "cannot be read: Permission denied$")


def test_refuses_a_directory_without_permission(ordinary_users_directory):
    path = ordinary_users_directory / "set"
    path.mkdir()
    write_set(path, GOOD, idx(np.array([3, 9], np.uint8)))
    assert len(fashion_mnist.load_split("test", path)[0]) == 2
    path.chmod(0)
    try:
        refuses(lambda: fashion_mnist.load_split("test", path), path, "data files: Permission denied$")
    finally:
        path.chmod(0o700)


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


# Sets of files


@pytest.mark.parametrize("dot", [False, True], ids=["dash", "dot"])
@pytest.mark.parametrize("zipped", [False, True], ids=["raw", "gzip"])
def test_loads_another_set_under_each_of_its_names(tmp_path, dot, zipped):
    written = {}
    for number, (photos_name, labels_name) in enumerate(fashion_mnist.FILES.values(), start=3):
        photos, labels = random_photos(number), np.arange(number, dtype=np.uint8)
        for name, array in ((photos_name, photos), (labels_name, labels)):
            name = name.replace("-idx", ".idx") if dot else name
            (tmp_path / (name + ".gz" * zipped)).write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
            written[name] = array
    (train_x, train_y), (test_x, test_y) = fashion_mnist.load_data(tmp_path)
    for got, array in zip((train_x, train_y, test_x, test_y), written.values(), strict=True):
        np.testing.assert_array_equal(got, array)
    np.testing.assert_array_equal(fashion_mnist.load_split("test", str(tmp_path))[0], test_x)


def test_passes_by_a_directory_with_the_name_of_a_file(tmp_path):
    (tmp_path / TEST_PHOTOS).mkdir()
    (tmp_path / TEST_PHOTOS.replace("-idx", ".idx")).write_bytes(GOOD)
    (tmp_path / TEST_LABELS).write_bytes(idx(np.array([3, 9], np.uint8)))
    np.testing.assert_array_equal(fashion_mnist.load_split("test", tmp_path)[0], random_photos(2))


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named_in_all_its_forms(tmp_path, missing):
    for photos_name, labels_name in fashion_mnist.FILES.values():
        (tmp_path / photos_name).write_bytes(GOOD)
        (tmp_path / labels_name).write_bytes(idx(np.array([3, 9], np.uint8)))
    (tmp_path / missing).unlink()
    dotted = missing.replace("-idx", ".idx")
    reason = f"expected a file named {missing} or {dotted} or {missing}.gz or {dotted}.gz, found none"
    refuses(lambda: fashion_mnist.load_data(tmp_path), tmp_path, re.escape(reason))


def test_refuses_a_missing_directory(tmp_path):
    path = tmp_path / "no"
    refuses(lambda: fashion_mnist.load_data(path), path, "expected a directory with data files: No such file")


def test_refuses_a_file_for_a_directory(tmp_path):
    path = tmp_path / "photos"
    path.write_bytes(GOOD)
    refuses(lambda: fashion_mnist.load_data(path), path, "expected a directory with data files: Not a directory")


@pytest.mark.parametrize("count", [1, 3])
def test_refuses_a_count_of_labels_unlike_that_of_photos(tmp_path, count):
    write_set(tmp_path, GOOD, idx(np.zeros(count, np.uint8)))
    reason = f"expected 2 labels, one for each photo in {TEST_PHOTOS}, got {count}"
    refuses(lambda: fashion_mnist.load_split("test", tmp_path), tmp_path / TEST_LABELS, reason)


@pytest.mark.parametrize(("labels", "index", "value"), [((9, 10), 1, 10), ((255, 10), 0, 255)])
def test_refuses_a_label_that_is_no_class(tmp_path, labels, index, value):
    write_set(tmp_path, GOOD, idx(np.array(labels, np.uint8)))
    reason = f"label at index {index}: expected 0 to 9, got {value}$"
    refuses(lambda: fashion_mnist.load_split("test", tmp_path), tmp_path / TEST_LABELS, reason)


@pytest.mark.parametrize("split", ["validation", "t10k", "", None])
def test_refuses_an_unknown_split(split):
    with pytest.raises(ValueError, match=f"^split: expected 'train' or 'test', got {split!r}$"):
        fashion_mnist.load_split(split)


# The shipped set


@pytest.fixture(scope="module")
def shipped():
    return fashion_mnist.load_data()


def test_shipped_shapes_and_types(shipped):
    assert [[array.shape for array in split] for split in shipped] == [
        [(60000, 28, 28), (60000,)],
        [(10000, 28, 28), (10000,)],
    ]
    assert {array.dtype for split in shipped for array in split} == {np.dtype(np.uint8)}


def test_shipped_labels(shipped):
    (_, train_y), (_, test_y) = shipped
    assert train_y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert test_y[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert np.bincount(train_y).tolist() == [6000] * 10
    assert np.bincount(test_y).tolist() == [1000] * 10


def test_shipped_class_names(shipped):
    (_, _), (_, test_y) = shipped
    assert fashion_mnist.CLASS_NAMES == (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    assert fashion_mnist.CLASS_NAMES[test_y[8]] == "Sandal"


def test_shipped_photos_are_the_right_way_round(shipped):
    """Trousers are narrow and high, so their middle columns are bright from top to bottom."""
    (train_x, train_y), _ = shipped
    trousers = train_x[train_y == 1].mean(axis=0)
    assert trousers[:, 10:18].mean() > 10 * trousers[:, [0, 1, 2, 25, 26, 27]].mean()
    assert trousers[[0, 27]].mean() > trousers[:, [0, 27]].mean()


def test_a_split_alone_is_the_same(shipped):
    for got, array in zip(fashion_mnist.load_split("test"), shipped[1], strict=True):
        np.testing.assert_array_equal(got, array)


def test_license_goes_with_the_data():
    text = (fashion_mnist.SHIPPED / "LICENSE").read_text(encoding="ascii")
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted" in text


@pytest.fixture
def own_copy(tmp_path, monkeypatch):
    """Lets the shipped data be looked for in a copy of the test set, unzipped."""
    for name in (TEST_PHOTOS, TEST_LABELS):
        (tmp_path / name).write_bytes(gzip.decompress((fashion_mnist.SHIPPED / f"{name}.gz").read_bytes()))
    monkeypatch.setattr(fashion_mnist, "SHIPPED", tmp_path)
    return tmp_path


def test_hashes_are_of_the_unzipped_files(own_copy, shipped):
    np.testing.assert_array_equal(fashion_mnist.load_split("test")[0], shipped[1][0])
    path = own_copy / TEST_LABELS
    (own_copy / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=1, mtime=7))
    path.unlink()
    np.testing.assert_array_equal(fashion_mnist.load_split("test")[1], shipped[1][1])


@pytest.mark.parametrize("name", [TEST_PHOTOS, TEST_LABELS])
def test_one_changed_value_in_shipped_data_is_found(own_copy, name):
    path = own_copy / name
    content = bytearray(path.read_bytes())
    content[5000] ^= 1  # a label stays a label
    path.write_bytes(content)
    reason = f"SHA-256 of the unzipped file: expected {fashion_mnist.SHA256[name]}, got [0-9a-f]{{64}}$"
    refuses(lambda: fashion_mnist.load_split("test"), path, reason)


def test_data_of_the_user_are_not_compared_with_hashes(own_copy, shipped):
    content = bytearray((own_copy / TEST_LABELS).read_bytes())
    content[5000] ^= 1
    (own_copy / TEST_LABELS).write_bytes(content)
    _, labels = fashion_mnist.load_split("test", own_copy)
    assert np.flatnonzero(labels != shipped[1][1]).tolist() == [5000 - 8]


def test_a_shipped_file_under_another_name_is_found(own_copy):
    shutil.copy(own_copy / TEST_PHOTOS, own_copy / TEST_LABELS)
    refuses(lambda: fashion_mnist.load_split("test"), own_copy / TEST_LABELS, "number of dimensions")


# Fingerprints


def test_fingerprint_hashes_type_shape_and_values():
    """Runs store it, so that a later version must find the same."""
    x, y = np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([1.5], np.float32)
    content = b"|u1(2, 3)" + bytes(range(6)) + b"<f4(1,)" + struct.pack("<f", 1.5)
    assert cnn.datasets.fingerprint(x, y) == hashlib.sha256(content).hexdigest()


def test_fingerprint_does_not_depend_on_the_place_in_memory():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for same in (array.copy("F"), np.repeat(array, 2, axis=1)[:, ::2], array.astype(">f4")):
        assert fingerprint(same) == fingerprint(array)


def test_fingerprint_tells_different_data_apart():
    x, y = np.arange(6.0), np.arange(3)
    changed = x.copy()
    changed[5] += 1e-12
    prints = [
        fingerprint(*arrays)
        for arrays in [(), (x,), (changed,), (x.reshape(2, 3),), (x.astype(np.float32),), (x.view(np.int64),)]
        + [(x, y), (y, x), (x[:3], x[3:]), (x[:2], x[2:]), (x[:0],)]
    ]
    assert len(set(prints)) == len(prints)


def test_fingerprint_refuses_python_objects():
    with pytest.raises(TypeError, match="Python objects"):
        fingerprint(np.array([object()]))
