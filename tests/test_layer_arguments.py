"""What a layer is made from: its weights, its arguments, its names, and one clear error for each that cannot be."""

import json
import warnings

import numpy as np
import pytest

from cnn import layers, regularizers

# Weights


def test_weights_are_copies_on_the_way_out_and_in():
    layer = layers.Dense(2)
    x = np.ones((1, 3), np.float32)
    before = layer(x)
    layer.get_weights()[0][:] = 7
    np.testing.assert_array_equal(layer(x), before)
    kernel = np.zeros((3, 2), np.float32)
    layer.set_weights([kernel, [0, 0]])
    kernel[:] = 7
    assert not layer(x).any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "Dense: set_weights: expected 2 arrays, got 0"),
        ([np.zeros((3, 2))], "Dense: set_weights: expected 2 arrays, got 1"),
        ([np.zeros((2, 3)), np.zeros(2)], r"Dense: set_weights: kernel: expected shape \(3, 2\), got \(2, 3\)"),
        ([np.zeros((3, 2)), np.zeros((1, 2))], r"Dense: set_weights: bias: expected shape \(2,\), got \(1, 2\)"),
        ([np.zeros((3, 2)), ["a", "b"]], "Dense: set_weights: bias: expected an array of numbers, got dtype <U1"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(weights, message):
    layer = layers.Dense(2)
    layer(np.ones((1, 3)))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=message):
        layer.set_weights(weights)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_attributes_have_keras_names():
    conv, dense = layers.Conv2D(32, (3, 5), use_bias=False), layers.Dense(10)
    conv(np.zeros((1, 9, 9, 4)))
    dense(np.zeros((1, 128)))
    assert (conv.filters, conv.kernel_size, conv.strides, conv.padding) == (32, (3, 5), (1, 1), "valid")
    assert (conv.kernel.shape, conv.bias) == ((3, 5, 4, 32), None)
    assert (dense.units, dense.kernel.shape, dense.bias.shape) == (10, (128, 10), (10,))
    dense.kernel[:] = 2
    assert (dense.params["kernel"] == 2).all() and type(dense.kernel.numpy()) is np.ndarray


@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_weights_that_are_not_there_yet_or_cannot_be_replaced(name):
    layer = layers.Dense(2)
    with pytest.raises(AttributeError, match=f"Dense: {name}: not built yet: call the layer"):
        getattr(layer, name)
    layer(np.ones((1, 3)))
    with pytest.raises(AttributeError, match=rf"Dense: {name}: cannot be replaced: write into it, .*{name}\[:\] = "):
        setattr(layer, name, 0)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Dense(10, activation="relu"), "<Dense: units=10, activation='relu'; not built>"),
        (
            layers.Conv2D(32, 3, padding="same", input_shape=(28, 28, 1), name="conv1"),
            "<Conv2D \"conv1\": filters=32, kernel_size=(3, 3), padding='same', activation='linear'; "
            "not built, input (28, 28, 1)>",
        ),
        (layers.Flatten(), "<Flatten: not built>"),
    ],
)
def test_repr_before_building(layer, expected):
    assert repr(layer) == expected


def test_two_layers_alone_start_with_different_weights():
    x = np.ones((1, 5), np.float32)
    assert (layers.Dense(4)(x) != layers.Dense(4)(x)).any()


# Arguments

CONFIGS = {
    "conv": (
        layers.Conv2D(4, (3, 5), strides=2, padding="SAME", activation="relu", name="c"),
        '{"filters": 4, "kernel_size": [3, 5], "strides": [2, 2], "padding": "same", "name": "c", '
        '"activation": "relu", "use_bias": true, "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros"}',
    ),
    "dense": (
        layers.Dense(3, use_bias=False, kernel_initializer="he_normal"),
        '{"units": 3, "name": null, "activation": "linear", "use_bias": false, "kernel_initializer": "he_normal", '
        '"bias_initializer": "zeros"}',
    ),
    "pool": (layers.MaxPooling2D(3), '{"pool_size": [3, 3], "strides": [3, 3], "padding": "valid", "name": null}'),
    "dropout": (layers.Dropout(0), '{"rate": 0.0, "name": null}'),
    "flatten": (layers.Flatten(name="f"), '{"name": "f"}'),
    "regularized": (
        layers.Dense(3, kernel_regularizer="l1_l2", bias_regularizer=regularizers.l2(0.5)),
        '{"units": 3, "name": null, "activation": "linear", "use_bias": true, "kernel_initializer": "glorot_uniform", '
        '"bias_initializer": "zeros", '
        '"kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.01, "l2": 0.01}}, '
        '"bias_regularizer": {"class_name": "L2", "config": {"l2": 0.5}}}',
    ),
    "frozen": (layers.Flatten(trainable=False), '{"name": null, "trainable": false}'),
}


@pytest.mark.parametrize(("layer", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_the_configuration_is_that_of_every_model_file(layer, expected):
    """The same keys in the same order, so that one model always gives the same file."""
    assert json.dumps(layer.get_config()) == expected


def test_an_activation_of_ones_own_does_not_pass_for_ours():
    class LeakyReLU(layers.ReLU):
        pass

    assert layers.Dense(1, activation=layers.ReLU()).get_config()["activation"] == "relu"
    assert layers.Dense(1, activation=LeakyReLU()).get_config()["activation"] == "LeakyReLU"


BAD_ARGUMENTS = {
    "filters 0": (lambda: layers.Conv2D(0, 3), "Conv2D: filters: expected a whole number from 1 to 1,000,000, got 0"),
    "filters -3": (lambda: layers.Conv2D(-3, 3), "Conv2D: filters: .* got -3"),
    "filters 1.5": (lambda: layers.Conv2D(1.5, 3), "Conv2D: filters: .* got 1.5"),
    "filters True": (lambda: layers.Conv2D(True, 3), "Conv2D: filters: .* got True"),
    "filters huge": (lambda: layers.Conv2D(10**9, 3), "Conv2D: filters: .* got 1000000000"),
    "kernel 0": (lambda: layers.Conv2D(1, 0), "Conv2D: kernel_size: expected a whole number from 1 to 1,000, got 0"),
    "kernel of three": (
        lambda: layers.Conv2D(1, (3, 3, 3)),
        r"Conv2D: kernel_size: expected one or two whole numbers, got \(3, 3, 3\)",
    ),
    "kernel text": (lambda: layers.Conv2D(1, "3x3"), "Conv2D: kernel_size: expected a whole number .*, got '3x3'"),
    "stride 0": (lambda: layers.Conv2D(1, 3, strides=(1, 0)), "Conv2D: strides: .* got 0"),
    "padding": (lambda: layers.Conv2D(1, 3, padding="full"), "Conv2D: padding: expected 'valid' or 'same', got 'full'"),
    "activation": (
        lambda: layers.Conv2D(1, 3, activation="tan"),
        "Conv2D: activation: expected 'linear' or 'relu' or 'softmax' or .* got 'tan'",
    ),
    "initializer": (
        lambda: layers.Dense(1, kernel_initializer="twos"),
        "Dense: kernel_initializer: expected one of 'constant', .* got 'twos'",
    ),
    "name": (lambda: layers.Dense(1, name="a/b"), "name: expected a word without '/', got 'a/b'"),
    "input_shape": (lambda: layers.Dense(1, input_shape=(0,)), "Dense: input_shape: .* got 0"),
    "input_shape text": (lambda: layers.Dense(1, input_shape="28"), "Dense: input_shape: expected a tuple .* got '28'"),
    "Input without a shape": (lambda: layers.Input(None), "Input: shape: expected a tuple .* got None"),
    "dilation": (
        lambda: layers.Conv2D(1, 3, dilation_rate=2),
        "Conv2D: the argument 'dilation_rate' is not supported here",
    ),
    "groups": (lambda: layers.Conv2D(1, 3, groups=2), "Conv2D: the argument 'groups' is not supported here"),
    "regularizer": (
        lambda: layers.Dense(1, kernel_regularizer="l3"),
        r"Dense: kernel_regularizer: expected None, 'l1', 'l2', 'l1_l2' or an object such as .*, got 'l3'",
    ),
    "regularizer of a function": (
        lambda: layers.Conv2D(1, 3, bias_regularizer=abs),
        "Conv2D: bias_regularizer: expected None, 'l1', .*, got <built-in function abs>",
    ),
    "regularizer's factor": (lambda: regularizers.L2(-1), "L2: l2: expected a number in .*, got -1"),
    "regularizer's argument": (lambda: regularizers.L1(l2=1), "L1: the argument 'l2' is not supported here"),
    "regularizer of activity": (
        lambda: layers.Dense(1, activity_regularizer="l2"),
        "Dense: the argument 'activity_regularizer' is not supported here",
    ),
    "use_bias": (lambda: layers.Dense(1, use_bias="no"), "Dense: use_bias: expected True or False, got 'no'"),
    "activation 0": (lambda: layers.Dense(1, activation=0), "Dense: activation: expected 'linear' or .*, got 0"),
    "trainable": (lambda: layers.Dense(1, trainable="no"), "Dense: trainable: expected True or False, got 'no'"),
    "trainable later": (
        lambda: setattr(layers.Flatten(), "trainable", None),
        "Flatten: trainable: expected True or False, got None",
    ),
    "axis": (
        lambda: layers.BatchNormalization(axis=1)(np.zeros((2, 3, 3, 1))),
        "BatchNormalization: axis: expected -1 or 3, the channels, got 1",
    ),
    "momentum": (
        lambda: layers.BatchNormalization(momentum=1.5),
        r"BatchNormalization: momentum: expected a number in \[0, 1\], got 1.5",
    ),
    "epsilon": (lambda: layers.BatchNormalization(epsilon=-1), "BatchNormalization: epsilon: expected .*, got -1"),
    "renorm": (lambda: layers.BatchNormalization(renorm=True), "the argument 'renorm' is not supported here"),
    "weights": (lambda: layers.Flatten().set_weights(3), "Flatten: set_weights: expected 0 arrays, got 3"),
    "dropout without rng": (
        lambda: layers.Dropout(0.5).forward(np.ones((1, 2)), training=True),
        "Dropout: forward: expected rng, a generator .*, got None",
    ),
    "units": (lambda: layers.Dense(0), "Dense: units: .* got 0"),
    "pool 0": (lambda: layers.MaxPooling2D(0), "MaxPooling2D: pool_size: .* got 0"),
    "pool padding": (lambda: layers.MaxPooling2D(padding=None), "MaxPooling2D: padding: .* got None"),
    "pool data_format": (
        lambda: layers.MaxPooling2D(data_format="channels_first"),
        "'data_format' is not supported here",
    ),
    "rate": (lambda: layers.Dropout(1.1), r"Dropout: rate: expected a number in \[0, 1\], got 1.1"),
    "rate nan": (lambda: layers.Dropout(float("nan")), "Dropout: rate: .* got nan"),
    "unknown": (lambda: layers.ReLU(alpha=6), "ReLU: the argument 'alpha' is not supported here"),
    "kernel above photo": (
        lambda: layers.Conv2D(1, 5)(np.zeros((1, 4, 9, 1))),
        r"Conv2D: expected input of at least 5 x 5 \(the window\), got \(4, 9, 1\)",
    ),
    "pool on one cell": (
        lambda: layers.MaxPooling2D()(np.zeros((1, 1, 1, 3))),
        "MaxPooling2D: expected input of at least 2 x 2",
    ),
    "photos without channels": (
        lambda: layers.Conv2D(1, 3)(np.zeros((2, 28, 28))),
        r"Conv2D: expected input \(H, W, C\), got \(28, 28\)",
    ),
    "one row alone": (
        lambda: layers.Dense(2)(np.zeros(5)),
        r"Dense: x: expected shape .*, got \(5,\) \(one photo alone\? pass x\[None\]\)",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_articles_input_shape_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Conv2D(32, (3, 3), padding="same", activation="relu", input_shape=(28, 28, 1))


def test_keras_other_names():
    assert layers.Convolution2D is layers.Conv2D
    assert layers.MaxPool2D is layers.MaxPooling2D
