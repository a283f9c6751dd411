"""The text in model files from strangers, and any bytes at all: a whole model or one ModelFileError."""

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import archive, document_of, load, members, refuses, with_document, with_text

from cnn import callbacks, layers, models
from cnn.errors import ModelFileError
from cnn.saving import document, model_file, strict_json

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
    "too long": b" " * (strict_json.MAX_BYTES + 1),
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
    change = lambda document: document.update(made_by="[{" * 100 + '\\"]')
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
    "os.system": (
        setter("model", "layers", 0, "class", value="os.system"),
        "layer: expected one of .*, got 'os.system'",
    ),
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
    "initializer": (
        setter(*KERNEL, "kernel_initializer", value={"class": "os.system"}),
        "initializer: expected one of",
    ),
    "layer name with a slash": (setter(*KERNEL, "name", value="../conv2d"), "name: expected a word without"),
    "layer name null": (setter(*KERNEL, "name", value=None), "layer: name: expected 1 to 100"),
    "layer name of a megabyte": (setter(*KERNEL, "name", value="a" * 1_000_000), "layer: name: expected 1 to 100"),
    "layer name clears the screen": (
        setter(*KERNEL, "name", value="\x1b[2J"),
        "layer: name: expected 1 to 100 printable",
    ),
    "layer name twice": (
        setter("model", "layers", 2, "config", "name", value="conv2d"),
        "two layers have the same name",
    ),
    "no layers": (setter("model", "layers", value=[]), "expected 1 to 1000 layers"),
    "layers are an object": (setter("model", "layers", value={}), "expected 1 to 1000 layers"),
    "20,000 layers": (
        lambda d: d["model"].update(layers=[{"class": "ReLU", "config": {"name": "r"}}] * 20_000),
        "expected 1 to 1000 layers",
    ),
    "input shape of many numbers": (setter("model", "input_shape", value=[1_000_000] * 10_000), "at most 8 numbers"),
    "input shape empty": (setter("model", "input_shape", value=[]), "input_shape: expected a tuple"),
    "input shape null": (setter("model", "input_shape", value=None), "input shape"),
    "input shape huge": (
        setter("model", "input_shape", value=[1_000_000] * 3),
        r"conv2d.* needs .* numbers for one photo",
    ),
    "activations beyond memory": (
        lambda d: setter("model", "input_shape", value=[20_000, 20_000, 1])(d),
        "needs .* numbers for one photo",
    ),
    "columns beyond memory": (
        lambda d: (
            setter("model", "input_shape", value=[28, 28, 1])(d),
            layer(d)["config"].update(kernel_size=[1000, 1000], padding="same"),
        ),
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
    "learning rate negative": (
        setter("compile", "optimizer", "config", "learning_rate", value=-1.0),
        "learning_rate: expected",
    ),
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
    "class names twice": (setter("class_names", value=["a", "b", "a"]), "expected names that differ, got 'a' twice"),
    "class names all the same": (setter("class_names", value=["x", "x", "x"]), "expected names that differ"),
    "class names object": (setter("class_names", value={"a": 0, "b": 1, "c": 2}), "class_names: expected 3 names"),
    "class names nested": (setter("class_names", value=[["a"], "b", "c"]), "class_names: expected 1 to 100 printable"),
    "class names escape": (
        setter("class_names", value=["a", "b", "\x1b]0;x\x07"]),
        "class_names: expected 1 to 100 printable",
    ),
    "input scale": (setter("input_scale", value="1"), "input_scale: expected a number"),
    "input scale 0": (setter("input_scale", value=0), "input_scale: 0 would turn every photo black"),
    "input scale 1e38": (setter("input_scale", value=1e38), r"input_scale: expected a number in \[1e-06, 1e\+06\]"),
    "input scale 1e308": (setter("input_scale", value=1e308), "input_scale: expected a number in"),
    "input scale 1e-300": (setter("input_scale", value=1e-300), "input_scale: expected a number in"),
    "input scale -1": (setter("input_scale", value=-1), "input_scale: expected a number"),
    "input scale true": (setter("input_scale", value=True), "input_scale: expected a number"),
    "made by": (setter("made_by", value=7), "made_by: expected"),
    "training": (setter("training", value=[]), "training: expected an object"),
    "training without state": (setter("training", value=None), "'callbacks/.*' belongs to no part"),
    "no photos in the means": (lambda d: d["training"].update(step=3, count=0), "step and count"),
    "more batches than photos": (lambda d: d["training"].update(step=3, count=2), "expected a photo in each batch"),
    "step -1": (setter("training", "step", value=-1), "training: step: expected"),
    "stopped": (setter("training", "stopped", value=1), "training: stopped: expected"),
    "sums": (setter("training", "sums", value={"loss": "1"}), "sums: expected a number"),
    "settings": (setter("training", "settings", value=[]), "settings: expected an object"),
    "settings without epochs": (setter("training", "settings", value={}), "epochs: expected a whole number"),
    "history": (setter("training", "callbacks", "History", "values", value={}), "History: expected"),
    "history text": (
        setter("training", "callbacks", "History", "values", "history", value={"loss": ["1"]}),
        "History: loss: expected",
    ),
    "history too long": (
        setter("training", "callbacks", "History", "values", "history", value={"loss": [1.0] * 9}),
        "History: loss: expected at most",
    ),
    "history of uneven length": (
        lambda d: d["training"]["callbacks"]["History"]["values"]["history"]["loss"].pop(),
        "History: loss: expected 2 numbers, one an epoch, got 1",
    ),
    "metric of uneven length": (
        setter("training", "callbacks", "History", "values", "history", "accuracy", value=[]),
        "History: accuracy: expected 2 numbers, one an epoch, got 0",
    ),
    "validation of uneven length": (
        setter("training", "callbacks", "History", "values", "history", "val_loss", value=[0.5]),
        "History: val_loss: expected 2 numbers",
    ),
    "no history": (lambda d: d["training"]["callbacks"].pop("History"), "History: expected"),
    "10,000 callbacks": (
        lambda d: d["training"].update(callbacks={str(k): {"values": {}, "weights": ["w"]} for k in range(10_000)}),
        "at most 50",
    ),
    "many weights": (setter("training", "callbacks", "EarlyStopping", "weights", value=["w"] * 1000), "at most 4"),
    "weights' name": (setter("training", "callbacks", "EarlyStopping", "weights", value=[1]), "expected 1 to 100"),
}


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
        model.fit(
            x,
            y,
            epochs=1,
            verbose=0,
            callbacks=[*watchers, callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)],
        )

    fit([callbacks.EarlyStopping("loss")])
    data = (tmp_path / "last.npz").read_bytes()
    for values in (
        {},
        {"best": "x", "wait": 0, "stopped_epoch": 0, "best_epoch": 0},
        {"best": 1.0, "wait": [], "stopped_epoch": 0, "best_epoch": 0},
    ):
        (tmp_path / "last.npz").write_bytes(
            with_document(data, setter("training", "callbacks", "EarlyStopping", "values", value=values))
        )
        with pytest.raises(ModelFileError, match="last.npz: the state of EarlyStopping is not one"):
            fit([callbacks.EarlyStopping("loss")])


# Any bytes at all


def loads_or_refuses(path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        model, _ = model_file._load(str(path), models.Sequential)
    except ModelFileError as error:
        assert str(error).startswith(str(path)) and str(error).isprintable()
    else:
        assert all(np.isfinite(w).all() for w in model.get_weights())
        model.predict(np.zeros((1, *model.photo_shape), np.float32), verbose=0)


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


# Injected fault


def test_a_configuration_that_may_name_any_class_is_noticed(tmp_path, path, valid, monkeypatch):
    class AnyClass(dict):
        def __contains__(self, name):
            return True

        def __missing__(self, name):
            return lambda **config: layers.Flatten()

    monkeypatch.setattr(document, "LAYERS", AnyClass(document.LAYERS))
    with pytest.raises(AssertionError):
        test_documents_that_lie(tmp_path, path, valid, *DOCUMENTS["os.system"])
