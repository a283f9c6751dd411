"""Model files: what is written comes back, always the same bytes, whole or not at all."""

import json
import os
import sys
import zipfile

import numpy as np
import pytest

from cnn import checks, initializers, layers, losses, models, optimizers, saving
from cnn.errors import DivergedError, ModelFileError
from cnn.saving import document

RNG = np.random.default_rng(0)
X, Y = RNG.random((12, 6, 6, 1), dtype=np.float32), RNG.integers(0, 3, 12)


def small_model(optimizer="adam", seed=7, trained=True, **names):
    """A network with every kind of layer."""
    model = models.Sequential(
        [
            layers.Conv2D(
                2, 3, padding="same", activation="relu", kernel_initializer="he_normal", input_shape=(6, 6, 1)
            ),
            layers.MaxPooling2D((2, 3), strides=2, padding="same"),
            layers.Conv2D(3, (2, 1), strides=(1, 2), use_bias=False),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(4),
            layers.Linear(),
            layers.Dense(3),
            layers.Softmax(),
        ],
        seed=seed,
        **names,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    if trained:
        model.fit(X, Y, batch_size=5, epochs=1, verbose=0)
    return model


def same_arrays(a: dict, b: dict) -> bool:
    return list(a) == list(b) and all(
        a[key].dtype == b[key].dtype and a[key].tobytes() == b[key].tobytes() for key in a
    )


OPTIMIZERS = [
    optimizers.Adam(1, beta_1=0.5, epsilon=1e-3),
    optimizers.SGD(0.1),
    optimizers.SGD(0.1, momentum=0.9, nesterov=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["adam", "sgd", "nesterov"])
def test_all_of_a_model_comes_back(tmp_path, optimizer):
    model = small_model(optimizer, name="näme with spaces")
    model.class_names, model.input_scale, model.made_by, model.shards = (
        ("a", "b", "ç"),
        1 / 255,
        "cnn train --seed 7",
        2,
    )
    model.save(tmp_path / "model.npz")
    loaded = models.load_model(tmp_path / "model.npz")

    assert same_arrays(model.params, loaded.params)
    for name in (
        "name",
        "seed",
        "shards",
        "dtype",
        "input_shape",
        "output_shape",
        "epoch",
        "metrics_names",
        "class_names",
        "input_scale",
        "made_by",
    ):
        assert getattr(loaded, name) == getattr(model, name), name
    assert [layer.get_config() for layer in loaded.layers] == [layer.get_config() for layer in model.layers]
    assert [(layer.input_shape, layer.output_shape) for layer in loaded.layers] == [
        (m.input_shape, m.output_shape) for m in model.layers
    ]
    assert loaded.optimizer.get_config() == optimizer.get_config()
    assert loaded.optimizer.iterations == model.optimizer.iterations == 3
    assert list(loaded.optimizer.state) == list(model.optimizer.state)
    for slot, values in model.optimizer.state.items():
        assert same_arrays(values, loaded.optimizer.state[slot])


def test_a_loaded_model_trains_on_as_the_saved_one(tmp_path):
    model = small_model()
    model.save(tmp_path / "model.npz")
    loaded = models.load_model(tmp_path / "model.npz")
    for each in (model, loaded):
        each.fit(X, Y, batch_size=5, epochs=2, verbose=0)
    assert same_arrays(model.params, loaded.params)


def test_float64_and_no_compile(tmp_path):
    model = models.Sequential([layers.Dense(2, input_shape=(3,))]).astype(np.float64)
    model.save(tmp_path / "model.npz")
    loaded = models.load_model(tmp_path / "model.npz")
    assert loaded.dtype == np.float64 and same_arrays(model.params, loaded.params)
    assert loaded.optimizer is None and loaded.loss is None


def test_cross_entropy_of_logits_comes_back(tmp_path):
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "model.npz")
    assert models.load_model(tmp_path / "model.npz").loss.get_config() == model.loss.get_config()


def test_same_state_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        small_model().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    models.load_model(tmp_path / "a.npz").save(tmp_path / "c.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "c.npz").read_bytes()
    small_model(seed=8).save(tmp_path / "d.npz")
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "d.npz").read_bytes()


def test_numpy_and_unzip_read_the_file(tmp_path):
    model = small_model()
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert set(model.params) < set(arrays)
        assert {f"optimizer/{slot}/{key}" for slot in ("momentum", "velocity") for key in model.params} < set(arrays)
        assert np.array_equal(arrays["conv2d/kernel"], model.params["conv2d/kernel"])
        document = json.loads(arrays["json"].tobytes())
    assert document["format"] == 1 and document["model"]["seed"] == 7
    assert zipfile.ZipFile(tmp_path / "model.npz").testzip() is None


def test_a_file_written_by_numpy_is_read(tmp_path):
    """np.savez writes zip64 headers, and others may store big-endian, Fortran-ordered or float64 arrays."""
    model = small_model(trained=False)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as arrays:
        for change in (
            lambda a: a,
            lambda a: a.astype(">f4"),
            np.asfortranarray,
            lambda a: a.astype(np.float64),
            lambda a: a[..., ::-1][..., ::-1],
        ):
            np.savez(tmp_path / "theirs.npz", **{key: a if key == "json" else change(a) for key, a in arrays.items()})
            loaded = models.load_model(tmp_path / "theirs.npz")
            assert same_arrays(model.params, loaded.params)
            assert all(p.flags.c_contiguous and p.flags.writeable for p in loaded.params.values())


def test_weights_only(tmp_path):
    model = small_model()
    saving.save_model(model, tmp_path / "model.npz", include_optimizer=False)
    loaded = models.load_model(tmp_path / "model.npz")
    assert same_arrays(model.params, loaded.params)
    assert loaded.optimizer.iterations == 0 and loaded.optimizer.state == {}
    with np.load(tmp_path / "model.npz") as arrays:
        assert set(arrays) == {"json", *model.params}
    loaded.fit(X, Y, verbose=0)


def test_a_layer_added_after_training_starts_with_empty_slots(tmp_path):
    model = models.Sequential([layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(3)])
    model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, verbose=0)
    model.add(layers.Dense(3))
    model.save(tmp_path / "model.npz")
    state = models.load_model(tmp_path / "model.npz").optimizer.state
    assert state["momentum"]["dense/kernel"].any() and not state["momentum"]["dense_1/kernel"].any()
    model.pop()
    model.pop()
    model.add(layers.Dense(5))  # under the old name, but of another shape
    model.save(tmp_path / "model.npz")
    assert models.load_model(tmp_path / "model.npz").optimizer.state["momentum"]["dense/kernel"].shape == (36, 5)


def test_a_folder_means_its_model_or_best_or_last(tmp_path):
    with pytest.raises(ModelFileError, match="holds no model.npz or best.npz or last.npz"):
        models.load_model(tmp_path)
    small_model(name="last").save(tmp_path / "last.npz")
    assert models.load_model(tmp_path).name == "last"
    small_model(name="best").save(tmp_path / "best.npz")
    assert models.load_model(tmp_path).name == "best"
    with pytest.raises(ModelFileError, match="last.npz: holds a model, but no state of training"):
        saving.load_training(tmp_path)
    small_model(name="folded").save(tmp_path / "model.npz")
    assert models.load_model(tmp_path).name == "folded"


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_names_that_scripts_for_keras_give_are_taken_with_a_warning(tmp_path, name, monkeypatch):
    """Without h5py; with it two of them are what Keras reads, see test_keras_files.py."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    model = small_model(trained=False)
    with pytest.warns(UserWarning, match=f"{name}: is an .npz file of this package, which Keras cannot read"):
        model.save(tmp_path / name)
    model.save(tmp_path / "m.npz")
    assert (tmp_path / name).read_bytes() == (tmp_path / "m.npz").read_bytes()
    assert same_arrays(models.load_model(tmp_path / name).params, model.params)


def test_weights_alone_come_back(tmp_path):
    model, path = small_model(), tmp_path / "w.npz"
    model.save_weights(path)
    assert models.load_model(path).optimizer.iterations == 0
    unbuilt = models.Sequential([layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ValueError, match="set_weights: expected 2 arrays, got"):
        unbuilt.load_weights(path)
    for other in (small_model(seed=8), models.clone_model(small_model(seed=9))):
        other.load_weights(path)
        assert same_arrays(other.params, model.params)
    with pytest.raises(ModelFileError, match="nowhere.npz: cannot be read"):
        model.load_weights(tmp_path / "nowhere.npz")


# What cannot be saved


def test_overwrite(tmp_path):
    path = tmp_path / "model.npz"
    model = small_model(trained=False)
    saving.save_model(model, path, overwrite=False)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="model.npz: exists already"):
        model.save(path, overwrite=False)
    assert path.read_bytes() == before
    model.save(path)


class Foreign(layers.Flatten):
    """Somebody's own layer."""


def broken(**attributes):
    model = small_model(trained=False)
    vars(model).update(attributes)
    return model


REFUSED = {
    "name without .npz": (lambda: small_model(trained=False), "model", "ends in .npz, got"),
    "not built": (lambda: models.Sequential([layers.Dense(2)]), "m.npz", "shape of the input is not known"),
    "own layer": (
        lambda: models.Sequential([Foreign(input_shape=(2, 2))]),
        "m.npz",
        "layer: expected one of .*, got Foreign",
    ),
    "class names": (lambda: broken(class_names=("a", "b")), "m.npz", "class_names: expected 3 names"),
    "class name not text": (lambda: broken(class_names=(1, 2, 3)), "m.npz", "class_names: expected 1 to 100 printable"),
    "class names twice": (
        lambda: broken(class_names=["a", "b", "a"]),
        "m.npz",
        "class_names: expected names that differ, got 'a' twice",
    ),
    "class names a word": (
        lambda: broken(class_names="abc"),
        "m.npz",
        "class_names: expected a list of names, got 'abc'",
    ),
    "class names a set": (
        lambda: broken(class_names={"a", "b", "c"}),
        "m.npz",
        "class_names: expected a list of names",
    ),
    "class names a dict": (lambda: broken(class_names=dict.fromkeys("abc")), "m.npz", "class_names: expected a list"),
    "class names bytes": (lambda: broken(class_names=b"abc"), "m.npz", "class_names: expected a list of names"),
    "class names drawn once": (
        lambda: broken(class_names=iter("abc")),
        "m.npz",
        "class_names: expected a list of names",
    ),
    "input scale beyond all photos": (lambda: broken(input_scale=1e38), "m.npz", "input_scale: expected a number in"),
    "input scale": (lambda: broken(input_scale=float("nan")), "m.npz", "not JSON compliant"),
    "escape sequence in the name": (
        lambda: broken(name="\x1b[2J"),
        "m.npz",
        "model: name: expected 1 to 100 printable",
    ),
    "more layers than a file holds": (
        lambda: models.Sequential(
            [layers.ReLU(input_shape=(2,), name="first")] + [layers.ReLU(name=f"r{k}") for k in range(1000)]
        ),
        "m.npz",
        "expected 1 to 1000 layers",
    ),
}


def test_class_names_may_be_an_array(tmp_path):
    broken(class_names=np.array(["a", "b", "c"])).save(tmp_path / "m.npz")
    assert models.load_model(tmp_path / "m.npz").class_names == ("a", "b", "c")


@pytest.mark.parametrize("make, name, reason", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_file_can_hold_is_refused_in_time(tmp_path, make, name, reason):
    model = make()
    with pytest.raises(ValueError, match=reason):
        model.save(tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_diverged_weights_do_not_replace_good_ones(tmp_path, bad):
    model = small_model()
    model.save(tmp_path / "model.npz")
    good = (tmp_path / "model.npz").read_bytes()
    model.optimizer.state["velocity"]["dense/kernel"][1, 1] = bad
    with pytest.raises(DivergedError, match="optimizer/velocity/dense/kernel holds NaN or infinity"):
        model.save(tmp_path / "model.npz")
    model.params["conv2d/bias"][0] = bad
    with pytest.raises(DivergedError, match="conv2d/bias holds NaN or infinity"):
        model.save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == good and os.listdir(tmp_path) == ["model.npz"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "model.npz").symlink_to(tmp_path / "disk" / "real.npz")
    small_model(trained=False).save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").is_symlink() and os.listdir(tmp_path / "disk") == ["real.npz"]
    models.load_model(tmp_path / "model.npz")


def test_paths_with_spaces_and_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("model.npz", "ä ö [1]*?.npz", "./here.npz", b"bytes.npz"):
        small_model(trained=False).save(name)
        models.load_model(name)


@pytest.mark.parametrize("name", ["schicht_ä", "名", "json", "optimizer", "a.npy", "..", "a b", "callbacks", "[{"])
def test_unusual_names_of_layers(tmp_path, name):
    model = models.Sequential([layers.Dense(2, name=name, input_shape=(3,))])
    model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.zeros((2, 3)), [0, 1], verbose=0)
    model.save(tmp_path / "model.npz")
    assert same_arrays(models.load_model(tmp_path / "model.npz").params, model.params)
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_loaded_model_owns_its_arrays(tmp_path):
    model = small_model()
    model.save(tmp_path / "model.npz")
    a, b = (models.load_model(tmp_path / "model.npz") for _ in range(2))
    a.params["dense/kernel"][:] = 0
    assert b.params["dense/kernel"].any() and model.params["dense/kernel"].any()


def test_get_config_and_constructor_are_inverse():
    """Every class that a file may name, with arguments that are not the defaults."""
    things = [
        *(layer for layer in small_model(trained=False).layers),
        layers.Dropout(0.1, name="drop"),
        layers.BatchNormalization(momentum=0.5, epsilon=0.1, center=False, gamma_initializer="zeros"),
        layers.Dense(3, trainable=False, activation=layers.ELU(0.5), kernel_initializer=initializers.HeUniform(seed=3)),
        layers.Activation("gelu"),
        layers.LeakyReLU(0.1),
        layers.ELU(0.5),
        layers.PReLU(initializers.Constant(0.1), "l2", "non_neg", shared_axes=[1, 2]),
        layers.Softmax(axis=[1, 2]),
        layers.Conv2DTranspose(3, (2, 3), 2, "same", output_padding=1, kernel_constraint="max_norm", name="up"),
        layers.DepthwiseConv2D((2, 3), 2, "same", 3, depthwise_regularizer="l1", use_bias=False),
        layers.SeparableConv2D(4, 3, depth_multiplier=2, pointwise_constraint="unit_norm", activation="relu"),
        layers.Cropping2D(((1, 2), (3, 4))),
        layers.UpSampling2D((2, 3)),
        layers.Resizing(2, 3, "nearest"),
        layers.CenterCrop(2, 3),
        layers.RandomContrast((0.1, 0.2), value_range=(0, 1), seed=3),
        layers.RandomBrightness((-0.1, 0.2)),
        layers.GaussianNoise(0.1, seed=3),
        layers.GaussianDropout(0.1, seed=3),
        layers.AlphaDropout(0.1, seed=3),
        layers.AveragePooling2D((2, 3), 1, "same"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.ZeroPadding2D(((1, 2), (3, 4))),
        layers.Reshape((-1, 2)),
        layers.SpatialDropout2D(0.1, seed=3),
        layers.Rescaling((0.5, 2), offset=(1, 0)),
        layers.Normalization((1, 3), mean=[[1, 2]], variance=[[3, 4]], invert=True),
        layers.RandomErasing((0.1, 0.3), (0.02, 0.2), fill_value=0.5, value_range=(0, 1)),
        layers.RandomFlip("vertical", seed=3, alternating=True),
        layers.RandomRotation((0.1, 0.2), "wrap"),
        layers.RandomTranslation(0.1, 0.2, "nearest", "nearest"),
        layers.RandomZoom(0.1, (0, 0.2), "constant", fill_value=0.5),
        *OPTIMIZERS,
        *(kind(0.02, weight_decay=0.3, use_ema=True) for kind in optimizers.TABLE.values()),
        losses.SparseCategoricalCrossentropy(from_logits=True, name="mine"),
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, name="mine"),
        losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1, name="mine"),
        losses.MeanSquaredError(name="mine"),
        losses.MeanAbsoluteError(name="mine"),
        losses.MeanAbsolutePercentageError(name="mine"),
        losses.MeanSquaredLogarithmicError(name="mine"),
        losses.Huber(0.5, name="mine"),
        losses.LogCosh(name="mine"),
    ]
    assert {type(thing).__name__ for thing in things} == {*document.LAYERS, *document.OPTIMIZERS, *document.LOSSES}
    for thing in things:
        config = json.loads(json.dumps(thing.get_config()))
        assert type(thing)(**config).get_config() == thing.get_config()


def test_param_shapes_are_those_of_the_parameters():
    for layer in small_model(trained=False).layers:
        assert layer.param_shapes(layer.input_shape) == {key: value.shape for key, value in layer.params.items()}
        assert checks.shape("test", "output_shape", layer.output_shape) == layer.output_shape
