"""Files of Keras and PyTorch from strangers: a whole model or one ModelFileError, whatever their bytes say."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import RNG, refuses
from test_hostile_documents import JSON, places, setter

from cnn import layers, models
from cnn.errors import ModelFileError

h5py = pytest.importorskip("h5py", reason="needs the extra 'interop'")
numpy_tensors = pytest.importorskip("safetensors.numpy", reason="needs the extra 'interop'")
pytestmark = pytest.mark.parity  # where its libraries are
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
FUZZ = settings(max_examples=100, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def model():
    """Weights, moving averages, what was measured, the optimizer's slots."""
    parts = [layers.Normalization(mean=[0.5], variance=[2.0]), layers.Conv2D(2, 3), layers.BatchNormalization()]
    model = models.Sequential([layers.Input((6, 6, 1)), *parts, layers.Flatten(), layers.Dense(3, "softmax")], seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(RNG.random((8, 6, 6, 1), dtype=np.float32), RNG.integers(0, 3, 8), verbose=0)
    return model


@pytest.fixture(scope="module")
def keras_bytes(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "m.keras"
    model.save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def tensor_bytes(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tensors") / "m.safetensors"
    model.save(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.keras"


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(contents, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return buffer.getvalue()


def with_config(data, change, name=CONFIG):
    told = json.loads(members(data)[name])
    change(told)
    return archive(members(data) | {name: json.dumps(told).encode()})


def with_weights(data, change):
    """The file after change(h5py.File)."""
    buffer = io.BytesIO(members(data)[WEIGHTS])
    with h5py.File(buffer, "a") as h5:
        change(h5)
    return archive(members(data) | {WEIGHTS: buffer.getvalue()})


def test_the_valid_files_are_valid(path, keras_bytes, model):
    path.write_bytes(with_weights(with_config(keras_bytes, lambda told: None), lambda h5: None))
    again = models.load_model(path)
    assert again.optimizer.iterations == 1
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    first = path.read_bytes()
    again.save(path)
    assert path.read_bytes() != first and models.load_model(path).layers[0].mean == [0.5]


def test_the_same_model_gives_the_same_bytes(keras_bytes, model, path):
    model.save(path)
    assert path.read_bytes() == keras_bytes


# Archives and configurations that lie

LAYER = ("config", "layers", 2)
CONFIGS = {
    "Lambda": (setter(*LAYER, "class_name", value="Lambda"), "there is no 'Lambda' here"),
    "a class of somebody": (setter(*LAYER, "registered_name", value="Custom>Conv2D"), "expected one of Keras' own"),
    "a module of somebody": (setter(*LAYER, "module", value="os"), "expected one of Keras' own, got 'Conv2D' of 'os'"),
    "a function of somebody": (
        setter(
            *LAYER, "config", "activation", value={"module": "builtins", "class_name": "function", "config": "eval"}
        ),
        "expected a class and its config",
    ),
    "a lambda": (
        setter(*LAYER, "config", "activation", value={"class_name": "__lambda__", "config": {"value": "4wAA"}}),
        "activation: expected",
    ),
    "a functional model": (setter("class_name", value="Functional"), "expected a Sequential, got 'Functional'"),
    "a billion filters": (setter(*LAYER, "config", "filters", value=10**9), "filters: expected a whole number from 1"),
    "a million filters": (setter(*LAYER, "config", "filters", value=10**6), "needs .* numbers for one photo"),
    "an unknown argument": (setter(*LAYER, "config", "groups", value=2), "'groups' is not supported here but as 1"),
    "half precision": (setter(*LAYER, "config", "dtype", value="mixed_float16"), "dtype: expected 'float32'"),
    "two dtypes": (setter(*LAYER, "config", "dtype", value="float64"), "expected layers of one dtype"),
    "no input shape": (
        lambda told: (
            told["config"]["layers"].pop(0),
            told.pop("build_config"),
            told["config"].pop("build_input_shape"),
        ),
        "the shape of its input is not in the file",
    ),
    "a huge photo": (setter("config", "layers", 0, "config", "batch_shape", value=[None, 10**6, 10**6, 1]), "numbers"),
    "no layers": (setter("config", "layers", value=[]), "expected 1 to 1000 layers"),
    "2,400 layers": (lambda told: told["config"].update(layers=told["config"]["layers"] * 400), "1 to 1000 layers"),
    "a name that climbs": (setter(*LAYER, "config", "name", value="../x"), "name"),
    "another optimizer": (setter("compile_config", "optimizer", "class_name", value="Evil"), "optimizer: expected"),
    "loss weights": (setter("compile_config", "loss_weights", value=[1]), "there are no loss_weights"),
    "a list": (lambda told: told.clear(), "model: expected a class and its config"),
}


@pytest.mark.parametrize(("change", "reason"), CONFIGS.values(), ids=CONFIGS)
def test_configurations_that_lie(path, keras_bytes, change, reason):
    refuses(path, with_config(keras_bytes, change), reason)


def test_archives_that_lie(path, keras_bytes):
    refuses(path, archive(members(keras_bytes), zipfile.ZIP_DEFLATED), "compressed")
    refuses(path, archive(members(keras_bytes) | {"assets/evil.pkl": b"cos\nsystem\n"}), "got .*evil.pkl")
    refuses(path, archive({CONFIG: b"{}"}), "expected metadata.json, config.json and model.weights.h5")
    refuses(path, keras_bytes[:-30], "not a .keras file")
    refuses(path, b"PK\3\4" + bytes(100), "not a .keras file")
    refuses(path, archive(members(keras_bytes) | {CONFIG: b"[" * 10_000}), "nested deeper")
    refuses(path, archive(members(keras_bytes) | {WEIGHTS: b"\x89HDF\r\n\x1a\n" + bytes(500)}), "damaged")
    twice = with_config(keras_bytes, setter("numpy_cnn", "input_scale", value=0), METADATA)
    refuses(path, twice, "input_scale: 0 would turn every photo black")
    refuses(path, with_config(keras_bytes, setter("numpy_cnn", "seed", value=-1), METADATA), "seed: expected")


# HDF5 that lies

KERNEL = "layers/conv2d/vars/0"


def replaced(make, place=KERNEL):
    def change(h5):
        del h5[place]
        make(h5, place)

    return change


def virtual(h5, place):
    layout = h5py.VirtualLayout((3, 3, 1, 2), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (3, 3, 1, 2))
    h5.create_virtual_dataset(place, layout)


LIES = {
    "a link to another file": (
        replaced(lambda h5, place: h5.__setitem__(place, h5py.ExternalLink("/etc/passwd", "x"))),
        "is a link .ExternalLink.",
    ),
    "a link within": (replaced(lambda h5, place: h5.__setitem__(place, h5py.SoftLink("/x"))), "is a link .SoftLink."),
    "numbers of other files": (replaced(virtual), "its numbers stand elsewhere"),
    "numbers in another file": (
        replaced(lambda h5, p: h5.create_dataset(p, (3, 3, 1, 2), "f4", external=[("/etc/passwd", 0, 72)])),
        "its numbers stand elsewhere",
    ),
    "a bomb": (
        replaced(lambda h5, p: h5.create_dataset(p, (30_000, 30_000), "f4", compression="gzip", fillvalue=1)),
        "claim more bytes|is compressed",
    ),
    "compressed": (
        replaced(lambda h5, p: h5.create_dataset(p, data=np.zeros((3, 3, 1, 2), "f4"), compression="gzip")),
        "is compressed",
    ),
    "nothing behind it": (
        replaced(lambda h5, p: h5.create_dataset(p, (3, 3, 1, 2), "f4")),
        "is compressed or incomplete",
    ),
    "text": (replaced(lambda h5, p: h5.create_dataset(p, data=[b"x"])), "expected an array of numbers"),
    "complex numbers": (replaced(lambda h5, p: h5.create_dataset(p, data=[1j])), "expected an array of numbers"),
    "no shape": (replaced(lambda h5, p: h5.create_dataset(p, data=h5py.Empty("f4"))), "expected an array of numbers"),
    "another shape": (replaced(lambda h5, p: h5.create_dataset(p, data=np.zeros((3, 3, 2, 1)))), "expected shape"),
    "NaN": (replaced(lambda h5, p: h5.create_dataset(p, data=np.full((3, 3, 1, 2), np.nan))), "holds NaN or infinity"),
    "missing": (replaced(lambda h5, p: None), "the array 'layers/conv2d/vars/0' is missing"),
    "one too many": (lambda h5: h5.create_dataset("layers/conv2d/vars/2", data=[1.0]), "belongs to no layer"),
    "a circle of groups": (
        lambda h5: h5.__setitem__("layers/conv2d/again", h5["/"]),
        "groups without an end|claim more",
    ),
    "a variance below 0": (
        lambda h5: h5["layers/batch_normalization/vars/3"].write_direct(np.full(2, -1, "f4")),
        "expected means of squares",
    ),
    "steps": (lambda h5: h5["optimizer/vars/0"].write_direct(np.array(-1, "i4")), "steps: expected"),
    "a slot is missing": (lambda h5: h5.__delitem__("optimizer/vars/2"), "'optimizer/vars/2' is missing"),
}


@pytest.mark.parametrize(("change", "reason"), LIES.values(), ids=LIES)
def test_arrays_that_lie(path, keras_bytes, change, reason):
    refuses(path, with_weights(keras_bytes, change), reason)


def test_weights_alone_are_no_model_and_need_one_that_fits(tmp_path, model):
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    with pytest.raises(ModelFileError, match="holds weights alone"):
        models.load_model(path)
    other = models.Sequential([layers.Dense(2, input_shape=(3,))])
    with pytest.raises(ModelFileError, match="belongs to no layer"):
        other.load_weights(path)
    (tmp_path / "m.h5").write_bytes(path.read_bytes())
    with pytest.raises(ModelFileError, match="m.h5: holds weights alone"):
        models.load_model(tmp_path / "m.h5")


# Tensors that lie


def with_header(data, change):
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


TENSORS = {
    "overlap": (setter("2.weight", "data_offsets", value=[0, 72]), "not a .safetensors file"),
    "outside": (setter("1.weight", "data_offsets", value=[0, 2**40]), "not a .safetensors file"),
    "another shape": (setter("1.weight", "shape", value=[2, 1, 9, 1]), "expected shape"),
    "whole numbers": (setter("1.weight", "dtype", value="I32"), "expected floating-point numbers"),
    "a dtype of no one": (setter("1.weight", "dtype", value="OBJECT"), "not a .safetensors file"),
    "a text that lies": (
        lambda header: header["__metadata__"].update(
            numpy_cnn=header["__metadata__"]["numpy_cnn"].replace("Flatten", "os")
        ),
        "expected one of",
    ),
    "a text of another kind": (lambda header: header["__metadata__"].update(numpy_cnn="[" * 999), "nested deeper"),
    "no text": (lambda header: header.pop("__metadata__"), "holds weights alone"),
}


@pytest.mark.parametrize(("change", "reason"), TENSORS.values(), ids=TENSORS)
def test_tensors_that_lie(tmp_path, tensor_bytes, change, reason):
    refuses(tmp_path / "m.safetensors", with_header(tensor_bytes, change), reason)


def test_no_tensors(tmp_path, tensor_bytes):
    for data in (b"", b"\0" * 8, b"\xff" * 64, tensor_bytes[:100], tensor_bytes + b"\0"):
        refuses(tmp_path / "m.safetensors", data, "not a .safetensors file")


# Any bytes at all


def loads_or_refuses(path, data):
    path.write_bytes(data)
    try:
        model = models.load_model(path)
    except ModelFileError as error:
        assert str(error).startswith(str(path)) and str(error).isprintable()
    else:
        assert all(np.isfinite(w).all() for w in model.get_weights())


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5)


def changed(data, changes):
    data = bytearray(data)
    for place, value in changes:
        data[int(place * len(data))] = value
    return bytes(data)


@FUZZ
@given(changes=CHANGES)
def test_changed_bytes_of_the_archive_and_of_the_tensors(tmp_path, keras_bytes, tensor_bytes, changes):
    loads_or_refuses(tmp_path / "m.keras", changed(keras_bytes, changes))
    loads_or_refuses(tmp_path / "m.safetensors", changed(tensor_bytes, changes))


@FUZZ
@given(changes=CHANGES)
def test_changed_bytes_of_the_arrays_with_right_checksums(path, keras_bytes, changes):
    contents = members(keras_bytes)
    loads_or_refuses(path, archive(contents | {WEIGHTS: changed(contents[WEIGHTS], changes)}))


@FUZZ
@given(data=st.data(), value=JSON)
def test_a_configuration_with_any_value_anywhere(path, keras_bytes, data, value):
    keys = data.draw(st.sampled_from(list(places(json.loads(members(keras_bytes)[CONFIG])))[1:]))
    loads_or_refuses(path, with_config(keras_bytes, setter(*keys, value=value)))
