"""Against Keras 3 itself: it opens our files and goes on as we would, and we open its own."""

import json
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import keras
import numpy as np
import pytest
import test_layers
import test_stateless_layers
from conftest import random_batch, random_biases
from test_c_header import NETWORKS

from cnn import layers, losses, metrics, models, optimizers
from cnn.optimizers.schedules import ExponentialDecay

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
L = keras.layers
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=1.0),
    "adam": lambda: optimizers.Adam(ExponentialDecay(0.01, 3, 0.5)),
    "amsgrad": lambda: optimizers.AdamW(0.01, weight_decay=0.1, amsgrad=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adamax": lambda: optimizers.Adamax(0.01),
    "adadelta": lambda: optimizers.Adadelta(0.5),
    "lion": lambda: optimizers.Lion(0.002),
    "average": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
}


def close(ours, theirs, tolerance=1e-6):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def both(model, path):
    """The model that Keras reads from our file."""
    model.save(path)
    return keras.saving.load_model(path)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_of_every_kind_go_out_and_come_back(network, tmp_path):
    model, (x, y) = random_biases(network()), random_batch(20)
    model.fit(x, y, verbose=0)
    theirs = both(model, tmp_path / "ours.keras")
    expected = model.predict(x, verbose=0)
    close(theirs.predict(x, verbose=0), expected)
    close(theirs.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), 1e-5)
    theirs.save(tmp_path / "theirs.keras")
    again = models.load_model(tmp_path / "theirs.keras")
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
    assert again.optimizer.iterations == model.optimizer.iterations == int(theirs.optimizer.iterations)


@pytest.mark.parametrize(("make", "shape"), test_layers.TABLE.values(), ids=test_layers.TABLE)
def test_every_layer(make, shape, tmp_path):
    model = models.Sequential([layers.Input(shape), make()])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.get_weights()])
    try:
        theirs = both(model, tmp_path / "m.keras")
    except ValueError as error:
        assert "Keras" in str(error)  # said by name; see test_what_keras_cannot_say
        return
    x = test_layers.batch(shape, 3, dtype=np.float32)
    close(theirs.predict(x, verbose=0), model.predict(x, verbose=0))
    theirs.save(tmp_path / "theirs.keras")
    again = models.load_model(tmp_path / "theirs.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_goes_on_with_the_same_losses(make, tmp_path):
    """Three steps here, two there; and two there after three there, here."""
    x, y = random_batch(24, (6,), 4)
    model = models.Sequential([layers.Dense(8, "tanh", input_shape=(6,)), layers.Dense(4, "softmax")], seed=1)
    model.compile(make(), "sparse_categorical_crossentropy", ["accuracy"])
    fit = {"batch_size": 8, "epochs": 2, "verbose": 0, "shuffle": False}
    model.fit(x, y, **{**fit, "epochs": 1})
    theirs = both(model, tmp_path / "ours.keras")
    close(theirs.fit(x, y, **fit).history["loss"], model.fit(x, y, **fit).history["loss"], 2e-6)
    theirs.save(tmp_path / "theirs.keras")
    again = models.load_model(tmp_path / "theirs.keras")
    close(again.fit(x, y, **fit).history["loss"], theirs.fit(x, y, **fit).history["loss"], 2e-6)


COMPILED = {
    "categorical": (losses.CategoricalCrossentropy(label_smoothing=0.1), [metrics.TopKCategoricalAccuracy(2), "mae"]),
    "binary": ("binary_crossentropy", ["acc", metrics.Precision(0.4), metrics.AUC(50, "PR"), metrics.F1Score("macro")]),
    "regression": (losses.Huber(), ["mse", metrics.RootMeanSquaredError(name="off")]),
    "squares": ("mse", ["mean_absolute_percentage_error", "msle", metrics.LogCoshError()]),
}


@pytest.mark.parametrize(("loss", "chosen"), COMPILED.values(), ids=COMPILED)
def test_losses_and_metrics(loss, chosen, tmp_path):
    model = models.Sequential([layers.Dense(4, "softmax", input_shape=(6,))], seed=1)
    model.compile("sgd", loss, chosen, weighted_metrics=["mae"])
    x, classes = random_batch(24, (6,), 4)
    y = np.eye(4, dtype=np.float32)[classes]
    theirs = both(model, tmp_path / "m.keras")
    close(theirs.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), 1e-5)
    theirs.save(tmp_path / "theirs.keras")
    assert models.load_model(tmp_path / "theirs.keras").evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def their_model():
    """One that a script for Keras makes: a network inside, adapted, frozen and trained."""
    inner = keras.Sequential([L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.RandomErasing(0.2)], name="changes")
    body = keras.Sequential(
        [L.Conv2D(4, 3, activation=L.LeakyReLU(0.1)), L.BatchNormalization(), L.PReLU()], name="body"
    )
    frozen = L.Conv2D(3, 3, trainable=False, kernel_initializer=keras.initializers.HeNormal(seed=3))
    model = keras.Sequential(
        [
            *(keras.Input((8, 8, 1)), L.Rescaling(1 / 255), inner, L.Normalization(), frozen, body),
            *(L.SpatialDropout2D(0.1), L.Flatten()),
            L.Dense(7, kernel_regularizer=keras.regularizers.L1L2(0.1), bias_constraint="non_neg"),
            *(L.ReLU(6.0), L.Dense(10, activation="softmax", dtype="float32")),
        ]
    )
    x, y = random_batch(20)
    model.layers[2].adapt(x)
    rate = keras.optimizers.schedules.CosineDecay(0.01, 100)
    top = keras.metrics.SparseTopKCategoricalAccuracy(2)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy", top])
    model.fit(x * 255, y, epochs=2, verbose=0)
    return model, x * 255, y


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_model_of_keras_own_comes_in(ending, tmp_path):
    theirs, x, y = their_model()
    theirs.save(tmp_path / f"m{ending}")
    model = models.load_model(tmp_path / f"m{ending}")
    close(model.predict(x, verbose=0), theirs.predict(x, verbose=0))
    close(model.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), 1e-5)
    assert model.optimizer.iterations == 2
    for key, ours in model.optimizer.state["momentum"].items():
        found = [v for v in theirs.optimizer.variables if v.path.endswith(f"{key.replace('/', '_')}_momentum")]
        assert len(found) == 1 - key.startswith(f"{theirs.layers[3].name}/")  # it is frozen: ours are 0
        np.testing.assert_array_equal(ours, found[0].numpy() if found else 0 * ours)
    close(both(model, tmp_path / "back.keras").predict(x, verbose=0), theirs.predict(x, verbose=0))


def test_a_model_that_keras_2_wrote_comes_in_with_a_fresh_optimizer(tmp_path):
    """Its first layer says the input's shape, its dtypes are names, and its optimizer counts in another order."""
    theirs, x, _ = their_model()
    theirs.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as h5:
        told = json.loads(h5.attrs["model_config"])
        shape = told["config"]["layers"].pop(0)["config"]["batch_shape"]
        for layer in told["config"]["layers"]:
            layer["config"]["dtype"] = "float32"
        told["config"]["layers"][0]["config"]["batch_input_shape"] = shape
        del told["config"]["build_input_shape"]
        h5.attrs["model_config"], h5.attrs["keras_version"] = json.dumps(told), "2.15.0"
    with pytest.warns(UserWarning, match="the optimizer of Keras 2 .* begins anew"):
        model = models.load_model(tmp_path / "m.h5")
    close(model.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert model.optimizer.iterations == 0


def test_weights_alone_go_both_ways(tmp_path):
    theirs, x, _ = their_model()
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    theirs.save(tmp_path / "m.keras")
    model = models.load_model(tmp_path / "m.keras")
    fresh = models.clone_model(model)
    fresh.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_array_equal(fresh.predict(x, verbose=0), model.predict(x, verbose=0))
    expected = theirs.predict(x, verbose=0)
    model.save_weights(tmp_path / "ours.weights.h5")
    theirs.set_weights([0 * weight for weight in theirs.get_weights()])
    theirs.load_weights(tmp_path / "ours.weights.h5")
    close(theirs.predict(x, verbose=0), expected)


def test_what_keras_has_no_place_for_comes_back_as_well(tmp_path):
    model = test_stateless_layers.network()
    model.class_names, model.input_scale, model.made_by = [f"class {k}" for k in range(10)], 1 / 255, "a test"
    model.compile(optimizers.AdamW(), "sparse_categorical_crossentropy")
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.warns(UserWarning, match=r"call exclude_from_weight_decay.var_names=..bias...$"):
        model.save(tmp_path / "m.keras")
    again = models.load_model(tmp_path / "m.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for name in ("class_names", "input_scale", "made_by", "seed", "shards", "epoch", "name"):
        assert getattr(again, name) == getattr(model, name)


def test_what_keras_cannot_say_is_refused_by_name(tmp_path):
    for layer, reason in (
        (layers.Activation(layers.Elementwise("gelu", {"approximate": True})), "Keras cannot say gelu"),
        (layers.RandomFlip(alternating=True), "Keras has no alternating"),
    ):
        model = models.Sequential([layers.Input((4, 4, 1)), layer])
        with pytest.raises(ValueError, match=reason):
            model.save(tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def test_what_we_have_not_is_refused_by_name(tmp_path):
    for layer, reason in (
        (L.Lambda(lambda x: x), "'Lambda'"),
        (L.Conv2D(2, 3, dilation_rate=2), "dilation_rate"),
        (L.LayerNormalization(), "'LayerNormalization'"),
        (L.Conv2D(2, 3, dtype="mixed_float16"), "float32"),
    ):
        keras.Sequential([keras.Input((8, 8, 1)), layer]).save(tmp_path / "m.keras")
        with pytest.raises(ValueError, match=reason):
            models.load_model(tmp_path / "m.keras")
    x = keras.Input((4,))
    keras.Model(x, L.Dense(2)(x)).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="expected a Sequential, got 'Functional'"):
        models.load_model(tmp_path / "m.keras")
