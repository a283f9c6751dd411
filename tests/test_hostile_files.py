"""Model files from strangers: each is a whole model or one ModelFileError, whatever its bytes say."""

import copy
import io
import json
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cnn import callbacks, document, layers, models, npz, saving
from cnn.errors import ModelFileError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> bytes:
    """A file with everything in it: weights, optimizer, training state, a callback's weights."""
    folder = tmp_path_factory.mktemp("valid")
    model = models.Sequential([layers.Conv2D(2, 3, input_shape=(6, 6, 1)), layers.Flatten(), layers.Dense(3, "softmax")], seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.class_names, model.input_scale, model.made_by = ("a", "b", "c"), 1 / 255, "a test"
    watchers = [callbacks.EarlyStopping("loss", restore_best_weights=True), callbacks.BackupAndRestore(folder, delete_checkpoint=False)]
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
    """Check that loading gives one line that names the file and then the reason, and takes hardly more memory than the file."""
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
            for place in (start, start + 9, start + 20, start + 128, start + info.file_size // 2, start + info.file_size - 1):
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
    for at, form in ((len(valid) - 12, "<H"), (len(valid) - 14, "<H"), (len(valid) - 10, "<I"), (len(valid) - 6, "<I"), (len(valid) - 2, "<H")):
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


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "C:\\evil", "conv2d/kernel\0", "conv2d\\kernel", "", "json/../json", "\x1b[2J"])
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
    """Unpickling this creates a file."""

    def __init__(self, victim):
        self.victim = str(victim)

    def __reduce__(self):
        return os.mkdir, (self.victim,)


def test_pickles_are_never_run(tmp_path, path, valid):
    victim = tmp_path / "victim"
    objects = np.empty((3, 3, 1, 2), object)
    objects[:] = Payload(victim)
    pickle.loads(pickle.dumps(Payload(victim)))
    assert victim.is_dir()  # the payload does work
    victim.rmdir()
    for name in ("conv2d/kernel", "json", "optimizer/momentum/conv2d/kernel"):
        refuses(path, with_member(valid, name, npy(objects, allow_pickle=True)), f"{name}: ")
        raw = header("{'descr': '|O', 'fortran_order': False, 'shape': (3, 3, 1, 2), }\n") + pickle.dumps([Payload(victim)])
        refuses(path, with_member(valid, name, raw), f"{name}: ")
    refuses(path, pickle.dumps(Payload(victim)) * 20, "not an .npz")
    assert not victim.exists()


SHAPES = ["(3, 3, 1, 2000000000)", "(4294967296, 4294967296, 4294967296)", "(999999999999,)", "(3, 3, 1, 2, 1)", "(18,)", "()", "(0,)",
          "(-3, -3, 1, 2)", "(3, 3, 1, 2" + "0" * 3000 + ")", "(3.0, 3, 1, 2)", "(True, 3, 1, 2)", "[3, 3, 1, 2]", "3"]  # fmt: skip


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
    refuses(path, with_member(valid, "conv2d/kernel", header(text, b"\x02\x00") + bytes(72)), "conv2d/kernel: not a .npy")
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
    refuses(path, weights(valid, lambda w: w.astype(np.float16)), "expected dtype <f4 or <f8 .*, got <f2")
    for bad in (np.nan, np.inf, -np.inf):
        refuses(path, weights(valid, lambda w, bad=bad: np.where(w == w.max(), bad, w).astype(np.float32)), "dense/kernel: holds NaN or infinity")
    refuses(path, weights(valid, lambda w: w.astype(np.float64) * 1e200), "holds NaN or infinity")  # too large for float32
    for change in (np.asfortranarray, lambda w: w.astype(">f4"), lambda w: w.astype("<f8"), lambda w: w.astype(">f8")):
        assert np.array_equal(load(path, weights(valid, change)).params["dense/kernel"], model.params["dense/kernel"])


# Documents that lie


TEXTS = {
    "not JSON": b"import os; os.system('touch victim')",
    "empty": b"",
    "nested 10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "nested deep in objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "nested a million deep": b"[" * 1_000_000,
    "NaN": b'{"format": NaN}',
    "infinity": b'{"format": Infinity}',
    "number too large for a float": b'{"format": 1e999}',
    "number of 100,000 digits": b'{"format": ' + b"9" * 100_000 + b"}",
    "not UTF-8": b'{"format": "\xff\xfe"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "key twice": b'{"format": 1, "format": 1}',
    "too long": b" " * (document.MAX_BYTES + 1),
    "array": b"[1]",
    "null": b"null",
    "open string": b'{"a": "' + b'\\"' * 100_000,
    "quotes": b'"' * 100_001,
    "cut": b'{"format": 1, ',
    "half a character": b'{"format": "\\ud800"}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_documents_that_are_not_ours(path, valid, text):
    path.write_bytes(with_text(valid, text))
    with pytest.raises(ModelFileError) as caught:
        models.load_model(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 700


def test_brackets_in_text_are_no_depth(path, valid):
    change = lambda document: document.update(made_by="[{" * 100 + '\\"]')  # noqa: E731
    assert load(path, with_document(valid, change)).made_by.startswith("[{[{")


def layer(document, index=0):
    return document["model"]["layers"][index]


def setter(*keys, value):
    """A change of a document: document[key][key]... = value."""

    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


KERNEL = ("model", "layers", 0, "config")
DOCUMENTS = {
    "newer": (setter("format", value=2), "format 2 is newer than this program, which knows 1"),
    "newer with other keys": (lambda d: (d.clear(), d.update(format=7, new=1)), "format 7 is newer"),
    "format 0": (setter("format", value=0), "format: expected 1"),
    "format true": (setter("format", value=True), "format: expected 1"),
    "format text": (setter("format", value="1"), "format: expected 1"),
    "unknown key": (setter("extra", value=1), "json: expected an object with"),
    "missing key": (lambda d: d.pop("made_by"), "json: expected an object with"),
    "os.system": (setter("model", "layers", 0, "class", value="os.system"), "layer: expected one of .*, got 'os.system'"),
    "module": (setter("model", "layers", 0, "module", value="os"), "layer: expected an object with class, config, got"),
    "Lambda": (setter("model", "layers", 0, "class", value="Lambda"), "layer: expected one of"),
    "class of another table": (setter("model", "layers", 0, "class", value="Adam"), "layer: expected one of"),
    "class is a list": (setter("model", "layers", 0, "class", value=["Dense"]), "layer: expected one of"),
    "__init__": (setter(*KERNEL, "__init__", value=1), "'__init__' is not supported"),
    "self": (setter(*KERNEL, "self", value=1), "self"),
    "input_shape": (setter(*KERNEL, "input_shape", value=[6, 6, 1]), "expected the configuration"),
    "unsupported": (setter(*KERNEL, "unsupported", value={}), "unsupported"),
    "config is a list": (setter("model", "layers", 0, "config", value=[]), "config: expected an object"),
    "1e9 filters": (setter(*KERNEL, "filters", value=10**9), "filters: expected a whole number from 1 to 1,000,000"),
    "a million filters that are not there": (setter(*KERNEL, "filters", value=10**6), "expected shape"),
    "filters 2.0": (setter(*KERNEL, "filters", value=2.0), "filters: expected a whole number"),
    "filters true": (setter(*KERNEL, "filters", value=True), "filters: expected a whole number"),
    "filters text": (setter(*KERNEL, "filters", value="2"), "filters: expected a whole number"),
    "filters -1": (setter(*KERNEL, "filters", value=-1), "filters: expected a whole number"),
    "huge number": (setter(*KERNEL, "filters", value=10**18), "filters"),
    "kernel 0": (setter(*KERNEL, "kernel_size", value=[0, 3]), "kernel_size"),
    "kernel of one number": (setter(*KERNEL, "kernel_size", value=3), "expected the configuration"),
    "kernel larger than the photo": (setter(*KERNEL, "kernel_size", value=[9, 9]), "expected input of at least 9 x 9"),
    "use_bias 1": (setter(*KERNEL, "use_bias", value=1), "expected the configuration"),
    "activation": (setter(*KERNEL, "activation", value="__class__"), "activation: expected 'linear'"),
    "activation in capitals": (setter(*KERNEL, "activation", value="LINEAR"), "expected the configuration"),
    "initializer": (setter(*KERNEL, "kernel_initializer", value={"class": "os.system"}), "initializer: expected one of"),
    "layer name with a slash": (setter(*KERNEL, "name", value="../conv2d"), "name: expected a word without"),
    "layer name null": (setter(*KERNEL, "name", value=None), "layer: name: expected 1 to 100"),
    "layer name of a megabyte": (setter(*KERNEL, "name", value="a" * 1_000_000), "layer: name: expected 1 to 100"),
    "layer name clears the screen": (setter(*KERNEL, "name", value="\x1b[2J"), "layer: name: expected 1 to 100 printable"),
    "layer name twice": (setter("model", "layers", 2, "config", "name", value="conv2d"), "two layers have the same name"),
    "no layers": (setter("model", "layers", value=[]), "expected 1 to 1000 layers"),
    "layers are an object": (setter("model", "layers", value={}), "expected 1 to 1000 layers"),
    "20,000 layers": (lambda d: d["model"].update(layers=[{"class": "ReLU", "config": {"name": "r"}}] * 20_000), "expected 1 to 1000 layers"),
    "input shape of many numbers": (setter("model", "input_shape", value=[1_000_000] * 10_000), "at most 8 numbers"),
    "input shape empty": (setter("model", "input_shape", value=[]), "input_shape: expected a tuple"),
    "input shape null": (setter("model", "input_shape", value=None), "input shape"),
    "input shape huge": (setter("model", "input_shape", value=[1_000_000] * 3), r"conv2d.* needs .* numbers for one photo"),
    "activations beyond memory": (lambda d: (setter("model", "input_shape", value=[20_000, 20_000, 1])(d)), "needs .* numbers for one photo"),
    "columns beyond memory": (
        lambda d: (setter("model", "input_shape", value=[28, 28, 1])(d), layer(d)["config"].update(kernel_size=[1000, 1000], padding="same")),
        "conv2d.* needs 7.8e.08 numbers for one photo",
    ),
    "input shape of another rank": (setter("model", "input_shape", value=[36]), r"expected input \(H, W, C\)"),
    "seed -1": (setter("model", "seed", value=-1), "seed: expected"),
    "seed null": (setter("model", "seed", value=None), "seed: expected"),
    "shards 0": (setter("model", "shards", value=0), "shards: expected"),
    "a billion shards": (setter("model", "shards", value=10**9), "shards: expected"),
    "dtype object": (setter("model", "dtype", value="object"), "dtype: expected 'float32' or 'float64'"),
    "name": (setter("model", "name", value=["a"]), "model: name: expected"),
    "optimizer": (setter("compile", "optimizer", "class", value="SGD"), "beta_1"),
    "learning rate negative": (setter("compile", "optimizer", "config", "learning_rate", value=-1.0), "learning_rate: expected"),
    "beta_2 = 1": (setter("compile", "optimizer", "config", "beta_2", value=1.0), "beta_2: expected"),
    "metrics": (setter("compile", "metrics", value=["__class__"]), "metrics: expected"),
    "metrics are text": (setter("compile", "metrics", value="accuracy"), "metrics: expected a list"),
    "loss": (setter("compile", "loss", "class", value="eval"), "loss: expected one of"),
    "no optimizer, but its state": (setter("compile", value=None), "iterations: expected"),
    "iterations -1": (setter("progress", "iterations", value=-1), "iterations: expected"),
    "iterations 0": (setter("progress", "iterations", value=0), "'optimizer/.*' belongs to no part"),
    "iterations 1.5": (setter("progress", "iterations", value=1.5), "iterations: expected"),
    "epochs": (setter("progress", "epochs", value="2"), "epochs: expected"),
    "class names": (setter("class_names", value=["a", "b"]), "class_names: expected 3 names"),
    "class names text": (setter("class_names", value="abc"), "class_names: expected 3 names"),
    "class names escape": (setter("class_names", value=["a", "b", "\x1b]0;x\x07"]), "class_names: expected 1 to 100 printable"),
    "input scale": (setter("input_scale", value="1"), "input_scale: expected a number"),
    "input scale true": (setter("input_scale", value=True), "input_scale: expected a number"),
    "made by": (setter("made_by", value=7), "made_by: expected"),
    "training": (setter("training", value=[]), "training: expected an object"),
    "training without state": (setter("training", value=None), "'callbacks/.*' belongs to no part"),
    "no photos in the means": (lambda d: d["training"].update(step=3, count=0), "step and count"),
    "step -1": (setter("training", "step", value=-1), "training: step: expected"),
    "stopped": (setter("training", "stopped", value=1), "training: stopped: expected"),
    "sums": (setter("training", "sums", value={"loss": "1"}), "sums: expected a number"),
    "settings": (setter("training", "settings", value=[]), "settings: expected an object"),
    "settings without epochs": (setter("training", "settings", value={}), "epochs: expected a whole number"),
    "history": (setter("training", "callbacks", "History", "values", value={}), "History: expected"),
    "history text": (setter("training", "callbacks", "History", "values", "history", value={"loss": ["1"]}), "History: loss: expected"),
    "history too long": (setter("training", "callbacks", "History", "values", "history", value={"loss": [1.0] * 9}), "History: loss: expected at most"),
    "no history": (lambda d: d["training"]["callbacks"].pop("History"), "History: expected"),
    "10,000 callbacks": (lambda d: d["training"].update(callbacks={str(k): {"values": {}, "weights": ["w"]} for k in range(10_000)}), "at most 50"),
    "many weights": (setter("training", "callbacks", "EarlyStopping", "weights", value=["w"] * 1000), "at most 4"),
    "weights' name": (setter("training", "callbacks", "EarlyStopping", "weights", value=[1]), "expected 1 to 100"),
}  # fmt: skip


@pytest.mark.parametrize("change, reason", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_documents_that_lie(tmp_path, path, valid, change, reason):
    refuses(path, with_document(valid, change), reason)
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_thousand_layers_are_allowed(path, tmp_path):
    model = models.Sequential([layers.Dense(1, input_shape=(1,), name=f"d{k}") for k in range(1000)])
    model.save(path)
    assert len(models.load_model(path).layers) == 1000


def test_a_crafted_callback_state_is_one_error(tmp_path, valid):
    """The state of callbacks is handed to them only when fit goes on."""
    x, y = np.random.default_rng(0).random((8, 6, 6, 1), dtype=np.float32), np.zeros(8, int)

    def fit(watchers):
        model = models.Sequential([layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(3, "softmax")], seed=1)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, epochs=1, verbose=0, callbacks=[*watchers, callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)])

    fit([callbacks.EarlyStopping("loss")])
    data = (tmp_path / "last.npz").read_bytes()
    for values in ({}, {"best": "x", "wait": 0, "stopped_epoch": 0, "best_epoch": 0}, {"best": 1.0, "wait": [], "stopped_epoch": 0, "best_epoch": 0}):
        (tmp_path / "last.npz").write_bytes(with_document(data, setter("training", "callbacks", "EarlyStopping", "values", value=values)))
        with pytest.raises(ModelFileError, match="last.npz: the state of EarlyStopping is not one"):
            fit([callbacks.EarlyStopping("loss")])


# Any bytes at all


def loads_or_refuses(path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        model, state = saving._load(str(path))
    except ModelFileError as error:
        assert str(error).startswith(str(path)) and str(error).isprintable()
    else:
        assert all(np.isfinite(w).all() for w in model.get_weights())
        model.predict(np.zeros((1, *model.input_shape), np.float32), verbose=0)


FUZZ = settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.binary(max_size=300), head=st.sampled_from([b"", b"PK\3\4"]), end=st.booleans())
def test_any_bytes(path, data, head, end):
    data = head + data
    loads_or_refuses(path, data + (struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(data), 0, 0) if end else b""))


@FUZZ
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_valid_file_with_changed_bytes(path, valid, changes):
    data = bytearray(valid)
    for place, value in changes:
        data[int(place * len(data))] = value
    loads_or_refuses(path, bytes(data))


@FUZZ
@given(a=st.floats(0, 1), b=st.floats(0, 1), c=st.floats(0, 1))
def test_a_valid_file_with_a_piece_moved(path, valid, a, b, c):
    first, second, third = sorted(int(share * len(valid)) for share in (a, b, c))
    loads_or_refuses(path, valid[:first] + valid[second:third] + valid[first:second] + valid[third:])


@FUZZ
@given(place=st.floats(0, 1, exclude_max=True), piece=st.binary(max_size=8), cut=st.integers(0, 8))
def test_a_changed_header_or_text_with_right_checksums(path, valid, place, piece, cut):
    """Mutations behind the checksum: an enemy writes the right one."""
    contents = members(valid)
    for name in ("json", "conv2d/kernel", "optimizer/velocity/dense/bias"):
        at = int(place * len(contents[name]))
        loads_or_refuses(path, archive(contents | {name: contents[name][:at] + piece + contents[name][at + cut :]}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


def places(value, keys=()):
    """All paths of keys into a document."""
    yield keys
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*keys, key))


@FUZZ
@given(data=st.data(), value=JSON)
def test_a_document_with_any_value_anywhere(path, valid, data, value):
    keys = data.draw(st.sampled_from(list(places(document_of(valid)))))
    changed = with_document(valid, setter(*keys, value=value)) if keys else with_text(valid, json.dumps(value).encode())
    loads_or_refuses(path, changed)


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
    with pytest.raises(AssertionError, match="^800[0-9]{5} bytes for a file of"):
        refuses(path, bomb, "conv2d/kernel: ")


def test_a_reader_without_checksum_is_noticed(path, valid, monkeypatch):
    monkeypatch.setattr(npz, "zlib", type("NoZlib", (), {"crc32": staticmethod(lambda data: None)}))
    monkeypatch.setattr(npz.Member, "__new__", lambda cls, start, size, checksum: tuple.__new__(cls, (start, size, None)))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_one_flipped_bit_in_each_member(path, valid)


def test_a_reader_that_calls_numpy_with_pickle_is_noticed(tmp_path, path, valid, monkeypatch):
    def careless(reader, name, shape, dtypes, max_bytes=0):
        member = reader.members[name]
        return np.load(io.BytesIO(reader._bytes(member.start, member.size)), allow_pickle=True)

    monkeypatch.setattr(npz.Reader, "array", careless)
    with pytest.raises((AssertionError, AttributeError, pytest.fail.Exception)):
        test_pickles_are_never_run(tmp_path, path, valid)


def test_a_configuration_that_may_name_any_class_is_noticed(tmp_path, path, valid, monkeypatch):
    class AnyClass(dict):
        def __contains__(self, name):
            return True

        def __missing__(self, name):
            return lambda **config: layers.Flatten()

    monkeypatch.setattr(document, "LAYERS", AnyClass(document.LAYERS))
    with pytest.raises(AssertionError):
        test_documents_that_lie(tmp_path, path, valid, *DOCUMENTS["os.system"])


def test_the_checksum_is_the_archives_own(valid):
    """So that any zip tool can test a file."""
    for name, content in members(valid).items():
        with zipfile.ZipFile(io.BytesIO(valid)) as file:
            assert file.getinfo(f"{name}.npy").CRC == zlib.crc32(content)
