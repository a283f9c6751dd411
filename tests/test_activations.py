"""The activations of the table in cnn/layers/formulas.py: functions, arguments, layers, in files and in training."""

import copy
import json
import math
from functools import partial

import gates
import numpy as np
import pytest
from conftest import random_batch

from cnn import activations, gradcheck, layers, models, optimizers
from cnn.layers import formulas
from cnn.layers.activations import find_activation
from cnn.layers.formulas import FORMULAS
from cnn.training.twin import twin_of
from kernels.erf import erf

EVERY_FORMULA = pytest.mark.parametrize("name", FORMULAS)
WIDE = np.random.default_rng(0).permutation(np.linspace(-8, 8, 54)).reshape(6, 9)  # beyond all corners, on none


def find(value):
    return find_activation("Dense", "activation", value)


# ---- formulas and slopes


@EVERY_FORMULA
def test_slopes_where_the_formula_bends(name):
    for result in gradcheck.check_layer(layers.Activation(name), WIDE):
        assert result.kinks == 0 and result.passed, f"{result.error} at {result.worst}"


@pytest.mark.parametrize("settings", [{"negative_slope": 0.0}, {"negative_slope": 0.7}, {"alpha": 0.3}, {"alpha": 2}])
def test_slopes_with_other_settings(settings):
    layer = layers.ELU(**settings) if "alpha" in settings else layers.LeakyReLU(**settings)
    gates.all_passed(gradcheck.check_layer(layer, WIDE))
    gates.all_passed(gradcheck.check_layer(layers.Activation(partial(activations.gelu, approximate=True)), WIDE))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_function(dtype):
    y = erf(WIDE.astype(dtype)[:, ::2])
    assert y.dtype == dtype
    np.testing.assert_array_equal(
        y, np.array([[math.erf(x) for x in row] for row in WIDE[:, ::2].astype(dtype)], dtype)
    )


@EVERY_FORMULA
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_numbers_are_no_trouble(name, dtype):
    x = np.array([[-1e30, -1e15, -100, 0, 80, 1e15, 1e30]], dtype)
    x = x[:, :5] if name == "exponential" else x
    y, cache = find(name).forward(x)
    dx, _ = find(name).backward(np.ones_like(x), cache)
    assert np.isfinite(dx).all() and np.isfinite(y[:, 1:-1]).all()
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("name", [name for name, formula in FORMULAS.items() if formula.corners])
def test_a_step_over_a_corner_is_counted(name):
    layer, (corner, *_) = find(name), FORMULAS[name].corners
    x = np.array([[corner - 0.01, corner + 0.01, 5]])
    passes = [gradcheck.Pass(layer, x + move, layer.forward(x + move)[1]) for move in (0.02, -0.005)]
    assert gradcheck.crossings(*passes) == 1


# ---- functions


@pytest.mark.parametrize("name", [*FORMULAS, "relu", "softmax", "linear"])
def test_functions_are_the_layers(name):
    np.testing.assert_array_equal(getattr(activations, name)(WIDE), layers.Activation(name)(WIDE))
    assert getattr(activations, name)([1, 2]).dtype == np.float32
    assert activations.get(name) is getattr(activations, name)
    assert find(getattr(activations, name)).as_argument() == name


def test_relu_and_softmax_with_arguments():
    x = [-4.0, -1.0, 0.5, 2.0, 9.0]
    assert activations.relu(x, negative_slope=0.5, max_value=6, threshold=1).tolist() == [-2.5, -1, -0.25, 2, 6]
    columns = activations.softmax(np.array([[0.0, 1.0], [0.0, 1.0]]), axis=0)
    np.testing.assert_allclose(columns, 0.5)
    assert activations.get(None) is activations.linear
    approximate = activations.get({"class_name": "gelu", "config": {"approximate": True}})
    assert approximate([1.0]) == activations.gelu([1.0], approximate=True) != activations.gelu([1.0])


@pytest.mark.parametrize("settings", [{"max_value": 1.5}, {"negative_slope": 0.1}, {"threshold": 0.5, "max_value": 2}])
def test_relu_with_settings(settings):
    layer, x = layers.ReLU(**settings, name="bent"), np.random.default_rng(0).normal(size=(6, 7))
    np.testing.assert_array_equal(layer(x), activations.relu(x, **settings))
    assert all(result.passed for result in gradcheck.check_layer(layer, x))
    assert layer.name == "bent" and type(layers.ReLU(None, 0, 0)) is type(copy.deepcopy(layers.ReLU())) is layers.ReLU


# ---- asked for

ASKED = {
    "sigmoid": "sigmoid",
    "SWISH": "silu",
    "hard_swish": "hard_silu",
    "gelu": activations.gelu,
    "a function with settings": partial(activations.gelu, approximate=True),
    "relu with settings": partial(activations.relu, max_value=1.5),
    "ReLU with settings": layers.ReLU(negative_slope=0.25, threshold=0.5),
    "a class": layers.LeakyReLU,
    "a layer": layers.ELU(0.5),
    "a layer around it": layers.Activation("tanh"),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_what_a_configuration_says_makes_the_same_again(asked):
    layer = layers.Dense(3, activation=asked)
    told = json.loads(json.dumps(layer.get_config()))
    again = layers.Dense(**told)
    assert again.get_config() == told
    np.testing.assert_array_equal(layer.activation(WIDE), again.activation(WIDE))


def test_how_a_configuration_tells_settings():
    assert layers.Dense(1, activation="silu").get_config()["activation"] == "silu"
    assert layers.Dense(1, activation=layers.ELU()).get_config()["activation"] == "elu"
    told = {"class_name": "leaky_relu", "config": {"negative_slope": 0.3}}
    assert layers.Dense(1, activation=layers.LeakyReLU()).get_config()["activation"] == told
    assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1  # its older name
    changed = layers.LeakyReLU()
    changed.negative_slope = 0.5
    assert changed([-1.0]) == [-0.5] and changed.get_config()["negative_slope"] == 0.5
    assert repr(layers.LeakyReLU(0.1)) == "<LeakyReLU: negative_slope=0.1; not built>"
    assert repr(layers.Activation("elu")) == "<Activation: activation='elu'; not built>"


BAD = {
    "a name": ("tan", "activation: expected 'linear' or 'relu' or 'softmax' or 'sigmoid' or .*, got 'tan'"),
    "a function of one's own": (lambda x: x, "activation: expected 'linear' or .*, got <function"),
    "of the same name": (np.tanh, "activation: expected 'linear' or .*, got <ufunc 'tanh'>"),
    "a setting": ({"class_name": "elu", "config": {"beta": 1}}, "Elementwise: the argument 'beta' is not supported"),
    "a negative setting": ({"class_name": "elu", "config": {"alpha": -1}}, "alpha: expected a number of at least 0"),
    "a setting of relu": ({"class_name": "relu", "config": {"max": 6}}, "ReLU: the argument 'max' is not"),
    "no settings": ({"class_name": "elu", "config": 3}, "activation: expected 'linear' or .*, got {"),
    "a number": (3, "activation: expected 'linear' or .*, got 3"),
}


@pytest.mark.parametrize(("asked", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("make", [layers.Activation, lambda asked: layers.Dense(1, activation=asked)])
def test_what_is_no_activation_is_named(make, asked, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.LeakyReLU(-1), "LeakyReLU: negative_slope: expected a number of at least 0, got -1"),
        (lambda: layers.ELU("a"), "ELU: alpha: expected a number of at least 0, got 'a'"),
        (lambda: layers.ELU(beta=1), "ELU: the argument 'beta' is not supported here"),
        (lambda: layers.ReLU(max_value=-1), "max_value: expected a number of at least 0, got -1"),
        (lambda: layers.ReLU(max_value=0), "ReLU: max_value: expected a number above 0, got 0"),
        (lambda: layers.ReLU(negative_slope="a"), "negative_slope: expected a number of at least 0, got 'a'"),
        (lambda: layers.Softmax(axis=[1, -1])([[0.0, 1.0]]), r"Softmax: axis: expected 1 to 1, .* got \(1, -1\)"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- in a network


def network(closing="softmax", photo=(8, 8, 1)):
    """Activations in every place: of a convolution, of a Dense layer, as layers, at the end."""
    model = models.Sequential(
        [
            layers.Conv2D(3, 3, activation="gelu", input_shape=photo),
            layers.Activation("relu"),
            layers.MaxPooling2D(),
            layers.LeakyReLU(0.1),
            layers.Flatten(),
            layers.Dense(6, activation=layers.ELU(0.5)),
            layers.Dense(5, activation="sigmoid"),
            layers.Dense(10),
            layers.Activation(closing),
        ]
    )
    model.shards = 2
    model.compile(optimizers.Adam(), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def test_default_names_are_keras():
    names = [layer.name for layer in network().layers]
    assert names[:5] == ["conv2d", "activation", "max_pooling2d", "leaky_re_lu", "flatten"]
    assert names[5:] == ["dense", "dense_1", "dense_2", "activation_1"]


def test_relu_as_a_layer_has_the_twin_of_relu():
    kinds = [type(layer).__name__ for layer in twin_of(network().layers)]
    before = ["TwinConv", "TwinElementwise", "TwinReLU", "TwinPool", "TwinElementwise"]
    assert kinds == [*before, "Flatten", *["TwinDense", "TwinElementwise"] * 2, "TwinDense"]


def test_a_closing_activation_is_a_closing_softmax():
    model, same = network(), network("linear")
    same.add(layers.Softmax())
    x, y = random_batch(6)
    assert model.ends_in_softmax and not network("linear").ends_in_softmax
    np.testing.assert_array_equal(model.predict(x, verbose=0), same.predict(x, verbose=0))
    np.testing.assert_allclose(model.predict(x, verbose=0).sum(axis=1), 1, rtol=1e-6)
    assert model.loss_and_gradients(x, y)[0] == same.loss_and_gradients(x, y)[0]
    for each in (model, same):
        each.fit(x, y, epochs=2, verbose=0)
    for ours, theirs in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---- faults


def slope_of(name, slope):
    return lambda patch: patch.setitem(FORMULAS, name, FORMULAS[name]._replace(slope=slope))


FAULTS = {
    "sigmoid's slope from x": slope_of("sigmoid", lambda x, y: x * (1 - x)),
    "tanh without the square": slope_of("tanh", lambda x, y: 1 - y),
    "silu without its product": slope_of("silu", lambda x, y: formulas.sigmoid(x)),
    "selu without its scale": slope_of("selu", lambda x, y: FORMULAS["elu"].slope(x, y, formulas.SELU_ALPHA)),
    "elu from y alone": slope_of("elu", lambda x, y, alpha=1.0: np.where(x > 0, 1, y)),
    "softsign without the square": slope_of("softsign", lambda x, y: 1 / (1 + np.abs(x))),
    "gelu without the bell": slope_of("gelu", lambda x, y, approximate=False: formulas.sigmoid(1.702 * x)),
    "settings forgotten": slope_of("leaky_relu", lambda x, y, negative_slope=0: np.where(x > 0, 1, x.dtype.type(0.2))),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_makes_the_gate_fail(fault, monkeypatch):
    gates.layer_gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gates.layer_gate()
