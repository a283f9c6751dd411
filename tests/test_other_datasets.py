"""MNIST and CIFAR-10 from files that somebody has; and files that lie, or would run code."""

import io
import os
import pickle
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from idx_files import idx, random_photos

from cnn import datasets
from cnn.datasets import cifar10, fashion_mnist, mnist
from cnn.errors import DataError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Keras' folder of data sets, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras/datasets").mkdir(parents=True)
    return tmp_path / "keras/datasets"


# MNIST

TRAIN = random_photos(5), np.arange(5, dtype=np.uint8)
TEST = random_photos(3), np.array([9, 0, 3], np.uint8)
ARRAYS = {"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1]}


def is_mnist(found):
    for (photos, labels), (expected, classes) in zip(found, (TRAIN, TEST), strict=True):
        np.testing.assert_array_equal(photos, expected)
        np.testing.assert_array_equal(labels, classes)
        assert photos.dtype == labels.dtype == np.uint8


def write_idx(folder):
    folder.mkdir(parents=True)
    for (photos_name, labels_name), (photos, labels) in zip(fashion_mnist.FILES.values(), (TRAIN, TEST), strict=True):
        (folder / photos_name).write_bytes(idx(photos))
        (folder / labels_name).write_bytes(idx(labels))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mnist_from_keras_own_file(home, tmp_path, save):
    save(home / "mnist.npz", **ARRAYS)
    save(tmp_path / "elsewhere.npz", **ARRAYS)
    is_mnist(mnist.load_data())
    is_mnist(mnist.load_data("mnist.npz"))
    is_mnist(mnist.load_data(path=tmp_path / "elsewhere.npz"))
    is_mnist(datasets.mnist.load_data(str(tmp_path / "elsewhere.npz")))


@pytest.mark.parametrize("name", ["mnist", "MNIST/raw"])
def test_mnist_from_idx_files(home, name):
    write_idx(home / name)
    is_mnist(mnist.load_data())
    is_mnist(mnist.load_data(home / name))


def test_without_keras_home_it_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_idx(tmp_path / ".keras/datasets/mnist")
    is_mnist(mnist.load_data())


@pytest.mark.parametrize("module", [mnist, cifar10])
def test_one_sentence_says_where_to_put_which_file(home, module):
    name = {mnist: "mnist.npz", cifar10: "cifar-10-python.tar.gz"}[module]
    with pytest.raises(
        DataError, match=re.escape(str(home)) + f": expected .*{name}.*put it there, or say load_data"
    ) as e:
        module.load_data()
    assert "\n" not in str(e.value)
    with pytest.raises(DataError, match=r"nowhere.npz or .*nowhere.npz: expected .* found nothing"):
        module.load_data("nowhere.npz")


def bytes_of(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def bomb():
    """A few kilobytes that claim, and unpack to, half a gigabyte."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", b"\x93NUMPY" + bytes(1 << 29) if name == "x_train" else b"")
    return file.getvalue()


def with_objects():
    file = io.BytesIO()
    np.savez(file, **{**ARRAYS, "x_train": np.array([{}], object)})
    return file.getvalue()


def damaged():
    """A bit of the compressed numbers is another."""
    data = bytearray(bytes_of(**ARRAYS))
    data[1000] ^= 1
    return bytes(data)


def with_header(changes):
    """The training photos under a header that says something else."""
    header, file = io.BytesIO(), io.BytesIO()
    known = {"descr": "|u1", "fortran_order": False, "shape": TRAIN[0].shape}
    np.lib.format.write_array_header_1_0(header, known | changes)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train.npy", header.getvalue() + TRAIN[0].tobytes())
    return file.getvalue()


def one_array():
    file = io.BytesIO()
    np.save(file, TRAIN[0])
    return file.getvalue()


BAD_NPZ = {
    "nothing": (b"", "cannot be read"),
    "no archive": (b"abc" * 100, "cannot be read"),
    "cut short": (bytes_of(**ARRAYS)[:-40], "cannot be read"),
    "damaged": (damaged(), "cannot be read: "),
    "one array": (one_array(), "cannot be read: File is not a zip file"),
    "an array missing": (bytes_of(x_train=TRAIN[0]), "expected an array y_train, got x_train.npy"),
    "a header that claims much": (with_header({"shape": (10**12, 28, 28)}), "x_train: its header claims 7840{12} numb"),
    "a header that claims less": (
        with_header({"shape": (4, 28, 28)}),
        "x_train: its header claims 3136 numbers, there",
    ),
    "shape": (
        bytes_of(**{**ARRAYS, "x_test": TEST[0][:, 1:]}),
        r"expected \(N, 28, 28\) and \(N,\), got \(3, 27, 28\)",
    ),
    "count": (bytes_of(**{**ARRAYS, "y_test": TEST[1][1:]}), r"got \(3, 28, 28\) and \(2,\)"),
    "type": (bytes_of(**{**ARRAYS, "y_test": TEST[1].astype(int)}), "y_test: expected uint8, got int64"),
    "label": (bytes_of(**{**ARRAYS, "y_test": TEST[1] + 1}), "y_test: expected labels from 0 to 9, got 10"),
    "pickles": (with_objects(), "x_train: expected uint8, got object"),
    "a bomb": (bomb(), "x_train: expected at most 268,435,456 bytes, got 536,870,918"),
}


@pytest.mark.parametrize(("data", "message"), BAD_NPZ.values(), ids=BAD_NPZ)
def test_files_that_are_not_mnist(home, data, message):
    (home / "mnist.npz").write_bytes(data)
    with pytest.raises(DataError, match=re.escape(str(home / "mnist.npz")) + f": .*({message})") as caught:
        mnist.load_data()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["mnist.npz", "cifar-10-batches-py/data_batch_1"])
def test_a_pipe_is_refused_at_once(home, name):
    (home / name).parent.mkdir(exist_ok=True)
    os.mkfifo(home / name)
    with pytest.raises(DataError, match="expected a file, got a .*pipe"):
        (mnist if name == "mnist.npz" else cifar10).load_data()


# CIFAR-10, as Python 2 wrote it


def text(value):
    """A string of Python 2."""
    data = value if isinstance(value, bytes) else value.encode()
    return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data


def number(value):
    return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)


def python_2_array(array, kind="u1", fortran=False):
    """What Python 2 pickles of an array of bytes."""
    shape = b"(" + b"".join(map(number, array.shape)) + b"t"
    dtype = b"cnumpy\ndtype\n" + text(kind) + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + number(0) + b"tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text("b") + b"\x87R"
    data = text(array.tobytes(order="F" if fortran else "C"))
    return made + b"(" + number(1) + shape + dtype + (b"\x88" if fortran else b"\x89") + data + b"tb"


def python_2_batch(rows, labels, **changes):
    entries = {
        "batch_label": text("training batch 1 of 5"),
        "labels": b"](" + b"".join(map(number, labels)) + b"e",
        "data": python_2_array(rows),
        "filenames": b"](" + b"".join(text(f"photo_{k}.png") for k in labels) + b"e",
    } | changes
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u."


def rows_of(seed, count=4):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), rng.integers(10, size=count).tolist()


BATCHES = {name: rows_of(k) for k, name in enumerate((*cifar10.TRAIN, *cifar10.TEST))}


def write_batches(folder, write=python_2_batch):
    folder.mkdir(parents=True)
    for name, (rows, labels) in BATCHES.items():
        (folder / name).write_bytes(write(rows, labels))


def is_cifar10(found):
    for (photos, labels), names in zip(found, (cifar10.TRAIN, cifar10.TEST), strict=True):
        count = 4 * len(names)
        assert photos.shape == (count, 32, 32, 3) and photos.dtype == np.uint8 and photos.flags.c_contiguous
        assert labels.shape == (count, 1) and labels.dtype == np.uint8
        for k, name in enumerate(names):
            rows, classes = BATCHES[name]
            assert labels[4 * k : 4 * k + 4, 0].tolist() == classes
            for channel in range(3):  # a row is a photo's red numbers, then the green, then the blue
                plane = rows[:, 1024 * channel : 1024 * (channel + 1)]
                np.testing.assert_array_equal(photos[4 * k : 4 * k + 4, :, :, channel].reshape(4, 1024), plane)


@pytest.mark.parametrize("name", [name for name in cifar10.NAMES if "tar" not in name])
def test_cifar10_from_its_folder(home, name):
    write_batches(home / name)
    is_cifar10(cifar10.load_data())
    is_cifar10(datasets.cifar10.load_data(home / name))


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_cifar10_from_the_archive_as_it_is_downloaded(home, tmp_path, mode):
    write_batches(tmp_path / "cifar-10-batches-py")
    with tarfile.open(home / "cifar-10-python.tar.gz", mode) as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    is_cifar10(cifar10.load_data())
    assert os.listdir(home) == ["cifar-10-python.tar.gz"]  # nothing was unpacked


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_cifar10_written_again_by_python_3(home, protocol):
    def write(rows, labels):
        return pickle.dumps({"data": rows.copy(), "labels": labels}, protocol)

    if protocol == 5:  # NumPy writes the array itself in another way
        with pytest.raises(DataError, match="it asks for numpy"):
            write_batches(home / "cifar-10-batches-py", write)
            cifar10.load_data()
        return
    write_batches(home / "cifar-10-batches-py", write)
    is_cifar10(cifar10.load_data())


def test_an_array_with_columns_first():
    rows, labels = BATCHES["test_batch"]
    data = python_2_batch(rows, labels, data=python_2_array(rows, fortran=True))
    photos, _ = cifar10.read_batch("it", io.BytesIO(data), len(data))
    np.testing.assert_array_equal(photos.transpose(0, 3, 1, 2).reshape(4, 3072), rows)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/cnn-test-evil",)


def calls(module, name):
    """A batch whose data are the result of a call with an argument."""
    return f"c{module}\n{name}\n".encode() + text("x") + b"\x85R"


ROWS, LABELS = BATCHES["test_batch"]
BAD_BATCHES = {
    "nothing": (b"", "not a batch of CIFAR-10"),
    "text": (b"hello", "not a batch of CIFAR-10"),
    "cut short": (python_2_batch(ROWS, LABELS)[:-100], "not a batch of CIFAR-10"),
    "a list": (pickle.dumps([1, 2]), "expected a dict with data and labels"),
    "no labels": (pickle.dumps({"data": 1}), "expected a dict with data and labels"),
    "no array": (pickle.dumps({"data": 1, "labels": []}), r"data: expected an array \(N, 3072\) of uint8"),
    "a type": (python_2_batch(ROWS, LABELS, data=b"cnumpy\ndtype\n"), r"data: expected an array \(N, 3072\)"),
    "other rows": (python_2_batch(ROWS[:, 1:], LABELS), r"data: expected an array \(N, 3072\) of uint8"),
    "objects": (
        python_2_batch(ROWS, LABELS, data=python_2_array(ROWS, kind="O8")),
        r"data: expected an array \(N, 3072\) of uint8",
    ),
    "fewer bytes than claimed": (
        python_2_batch(ROWS, LABELS).replace(number(4) + number(3072), number(9) + number(3072)),
        r"data: expected an array \(N, 3072\) of uint8",
    ),
    "too few labels": (python_2_batch(ROWS, LABELS[:3]), "labels: expected a list of 4 whole numbers from 0 to 9"),
    "label 10": (python_2_batch(ROWS, [1, 2, 3, 10]), "labels: expected a list of 4"),
    "code to run": (pickle.dumps({"data": Evil(), "labels": []}), r"it asks for \w+.mkdir"),
    "code to run, in a list": (pickle.dumps([Evil()], 0), r"it asks for \w+.mkdir"),
    "eval": (python_2_batch(ROWS, LABELS, data=calls("builtins", "eval")), "it asks for (__builtin__|builtins).eval"),
    "another of NumPy": (python_2_batch(ROWS, LABELS, data=calls("numpy", "load")), "it asks for numpy.load"),
    "a name of ours": (python_2_batch(ROWS, LABELS, data=calls("cnn.datasets", "cifar10")), "it asks for cnn.datasets"),
    "a path through a known name": (
        b"\x80\x04\x8c\x05numpy\x8c\x12dtype.__init__.x.y\x93.",
        "it asks for numpy.dtype.__init__",
    ),
    "a memo of gigabytes": (b"\x80\x02}r\xff\xff\xff\x7f.", "it asks for 2,147,483,647 places"),
    "other encodings": (
        python_2_batch(ROWS, LABELS, data=b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R"),
        "bytes in another encoding",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_batches_that_lie_or_would_run_code(home, data, message):
    write_batches(home / "cifar-10-batches-py")
    path = home / "cifar-10-batches-py/test_batch"
    path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(str(path)) + f": .*{message}") as caught:
        cifar10.load_data()
    assert "\n" not in str(caught.value)
    assert not os.path.exists("/tmp/cnn-test-evil")


def test_a_missing_batch_and_a_large_one_are_named(home):
    write_batches(home / "cifar-10-batches-py")
    (home / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(DataError, match="cifar-10-batches-py: expected a batch named data_batch_3, found none"):
        cifar10.load_data()
    with open(home / "cifar-10-batches-py/data_batch_3", "wb") as file:
        file.truncate(cifar10.MAX_BYTES + 1)
    with pytest.raises(DataError, match="data_batch_3: expected at most 67,108,864 bytes, got 67,108,865"):
        cifar10.load_data()


@pytest.mark.parametrize("data", [b"", b"abc" * 1000, b"\x1f\x8b" + bytes(50)])
def test_an_archive_that_is_none(home, data):
    (home / "cifar-10-python.tar.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: (cannot be read|expected a batch)"):
        cifar10.load_data()
