"""Folders of data files, the shipped Fashion-MNIST, and fingerprints of arrays."""

import gzip
import hashlib
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx, random_photos, refuses

import cnn.datasets
from cnn.datasets import fashion_mnist, fingerprint, in_both

NAMES = [name for names in fashion_mnist.FILES.values() for name in names]
TEST_PHOTOS, TEST_LABELS = fashion_mnist.FILES["test"]
GOOD = idx(random_photos(2))


def write_set(directory: Path, photos: bytes, labels: bytes) -> None:
    """Writes the files of the test split."""
    (directory / TEST_PHOTOS).write_bytes(photos)
    (directory / TEST_LABELS).write_bytes(labels)


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
    groups = [(), (x,), (changed,), (x.reshape(2, 3),), (x.astype(np.float32),), (x.view(np.int64),)]
    groups += [(x, y), (y, x), (x[:3], x[3:]), (x[:2], x[2:]), (x[:0],)]
    prints = [fingerprint(*arrays) for arrays in groups]
    assert len(set(prints)) == len(prints)


def test_fingerprint_refuses_python_objects():
    with pytest.raises(TypeError, match="Python objects"):
        fingerprint(np.array([object()]))


def test_no_training_photo_is_in_the_test_set_byte_by_byte():
    """And two that are put there are found, with their places."""
    (train, _), (test, _) = fashion_mnist.load_data()
    assert in_both(train, test) == []
    planted = train.copy()
    planted[[7, 50_000]] = test[[3, 9_999]]
    planted[11] = test[5]
    planted[11, 0, 0] ^= 1  # nearly
    assert in_both(planted, test) == [(7, 3), (50_000, 9_999)]
