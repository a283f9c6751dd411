"""Every layer: its gradients over a table of shapes, its shapes as in Keras, and what it must not do."""

import math
from functools import partial

import numpy as np
import pytest

from cnn import layers
from cnn.gradcheck import check_layer

FLIPS, FILL_MODES = ("horizontal", "vertical", "horizontal_and_vertical"), ("constant", "nearest", "reflect", "wrap")
# name: (layer, shape of one photo). Kernels 1 to 7, strides 1 to 3, both paddings, rectangles, every activation.
TABLE = {
    "conv 1x1": (lambda: layers.Conv2D(3, 1), (4, 5, 2)),
    "conv 1x1 stride 2": (lambda: layers.Conv2D(3, 1, strides=2), (5, 4, 2)),
    "conv 2x2 same": (lambda: layers.Conv2D(2, 2, padding="same"), (5, 5, 2)),
    "conv 3x3 valid": (lambda: layers.Conv2D(3, 3), (5, 6, 2)),
    "conv 3x3 same relu": (lambda: layers.Conv2D(3, 3, padding="same", activation="relu"), (5, 6, 2)),
    "conv 3x3 same softmax": (lambda: layers.Conv2D(3, 3, padding="same", activation="softmax"), (4, 4, 1)),
    "conv 3x3 without bias": (lambda: layers.Conv2D(3, 3, use_bias=False), (5, 5, 1)),
    "conv 3x3 same stride 2, even": (lambda: layers.Conv2D(2, 3, strides=2, padding="same"), (6, 6, 2)),
    "conv 3x3 same stride 2, odd": (lambda: layers.Conv2D(2, 3, strides=2, padding="same"), (7, 5, 2)),
    "conv 3x3 valid stride 3": (lambda: layers.Conv2D(2, 3, strides=3), (8, 7, 1)),
    "conv 4x4 same": (lambda: layers.Conv2D(2, 4, padding="same"), (6, 5, 1)),
    "conv 5x5 same stride 3": (lambda: layers.Conv2D(2, 5, strides=3, padding="same"), (7, 8, 1)),
    "conv 6x6 valid": (lambda: layers.Conv2D(2, 6), (7, 6, 1)),
    "conv 7x7 same": (lambda: layers.Conv2D(2, 7, padding="same"), (6, 5, 1)),
    "conv 7x7 same stride 2 relu": (
        lambda: layers.Conv2D(2, 7, strides=2, padding="same", activation="relu"),
        (8, 8, 1),
    ),
    "conv 2x3": (lambda: layers.Conv2D(2, (2, 3)), (5, 6, 2)),
    "conv 3x1 same, strides 1x2": (lambda: layers.Conv2D(2, (3, 1), strides=(1, 2), padding="same"), (5, 6, 2)),
    "conv 1x5 same, strides 3x1": (lambda: layers.Conv2D(2, (1, 5), strides=(3, 1), padding="same"), (7, 6, 1)),
    "conv stride above kernel": (lambda: layers.Conv2D(2, 2, strides=3), (8, 8, 2)),
    "transposed 1x1": (lambda: layers.Conv2DTranspose(3, 1), (3, 4, 2)),
    "transposed 3x3": (lambda: layers.Conv2DTranspose(2, 3), (3, 4, 2)),
    "transposed 3x3 same relu": (lambda: layers.Conv2DTranspose(2, 3, padding="same", activation="relu"), (4, 3, 2)),
    "transposed 3x3 same stride 2": (lambda: layers.Conv2DTranspose(2, 3, 2, "same"), (3, 4, 2)),
    "transposed 4x4 same stride 2": (lambda: layers.Conv2DTranspose(1, 4, 2, "same", use_bias=False), (3, 2, 3)),
    "transposed 5x2 stride 3": (lambda: layers.Conv2DTranspose(2, (5, 2), 3), (2, 3, 2)),
    "transposed stride above kernel": (lambda: layers.Conv2DTranspose(2, 1, (3, 2), "same"), (3, 3, 2)),
    "transposed, padded": (lambda: layers.Conv2DTranspose(2, 3, (2, 3), "same", (1, 2), activation="tanh"), (3, 2, 2)),
    "transposed valid, padded": (lambda: layers.Conv2DTranspose(2, 2, 3, "valid", 2), (2, 2, 2)),
    "depthwise 3x3": (lambda: layers.DepthwiseConv2D(3), (5, 4, 2)),
    "depthwise 2x3 same stride 2": (lambda: layers.DepthwiseConv2D((2, 3), 2, "same", 3, activation="relu"), (5, 6, 2)),
    "depthwise without bias": (lambda: layers.DepthwiseConv2D(2, (1, 3), use_bias=False), (3, 7, 2)),
    "separable 3x3": (lambda: layers.SeparableConv2D(4, 3), (5, 4, 2)),
    "separable same stride 2": (lambda: layers.SeparableConv2D(3, 3, 2, "same", depth_multiplier=2), (5, 4, 2)),
    "separable 1x1 tanh": (lambda: layers.SeparableConv2D(2, 1, activation="tanh", use_bias=False), (3, 4, 3)),
    "pool 2x2": (lambda: layers.MaxPooling2D(), (6, 4, 3)),
    "pool 2x2, odd": (lambda: layers.MaxPooling2D(), (5, 7, 2)),
    "pool 2x2 same, odd": (lambda: layers.MaxPooling2D(padding="same"), (5, 7, 2)),
    "pool 3x3 stride 2, overlapping": (lambda: layers.MaxPooling2D(3, strides=2), (7, 7, 2)),
    "pool 3x3 stride 1 same": (lambda: layers.MaxPooling2D(3, strides=1, padding="same"), (4, 5, 1)),
    "pool 2x3, strides 1x2": (lambda: layers.MaxPooling2D((2, 3), strides=(1, 2)), (5, 7, 2)),
    "pool 1x1 stride 3": (lambda: layers.MaxPooling2D(1, strides=3), (7, 5, 1)),
    "dense": (lambda: layers.Dense(4), (5,)),
    "dense relu": (lambda: layers.Dense(4, activation="relu"), (5,)),
    "dense softmax": (lambda: layers.Dense(4, activation="softmax"), (5,)),
    "dense without bias": (lambda: layers.Dense(4, use_bias=False), (5,)),
    "dense, one unit": (lambda: layers.Dense(1), (1,)),
    "dense on the last axis": (lambda: layers.Dense(3, activation="relu"), (2, 3, 4)),
    "relu": (lambda: layers.ReLU(), (3, 4, 2)),
    "softmax": (lambda: layers.Softmax(), (6,)),
    "softmax on the rows": (lambda: layers.Softmax(axis=1), (4, 3)),
    "softmax on two axes": (lambda: layers.Softmax(axis=(1, -2)), (2, 3, 2)),
    "softmax on the last axis": (lambda: layers.Softmax(), (2, 2, 3)),
    **{f"{name} alone": (partial(layers.Activation, name), (3, 4)) for name in layers.ACTIVATIONS},
    "leaky relu": (lambda: layers.LeakyReLU(0.1), (3, 4)),
    "prelu": (lambda: layers.PReLU(), (3, 4)),
    "prelu of maps": (lambda: layers.PReLU(shared_axes=[1, 2]), (3, 4, 2)),
    "prelu of rows": (lambda: layers.PReLU("ones", shared_axes=2), (3, 4, 2)),
    "elu": (lambda: layers.ELU(0.5), (3, 4)),
    "dense sigmoid": (lambda: layers.Dense(4, activation="sigmoid"), (5,)),
    "conv elu": (lambda: layers.Conv2D(2, 3, activation=layers.ELU(0.5)), (5, 6, 2)),
    "flatten": (lambda: layers.Flatten(), (3, 4, 2)),
    "flatten of a row": (lambda: layers.Flatten(), (3,)),
    "batch normalization": (lambda: layers.BatchNormalization(), (3, 2, 2)),
    "batch normalization of rows": (lambda: layers.BatchNormalization(axis=1, momentum=0.5, epsilon=0.1), (3,)),
    "batch normalization, frozen": (lambda: layers.BatchNormalization(trainable=False), (2, 2)),
    "batch normalization, no scale": (lambda: layers.BatchNormalization(scale=False), (2, 2, 3)),
    "batch normalization, no center": (lambda: layers.BatchNormalization(center=False), (3, 4)),
    "dropout": (lambda: layers.Dropout(0.4), (4, 3)),
    "dropout of nothing": (lambda: layers.Dropout(0), (4, 3)),
    "dropout of maps": (lambda: layers.SpatialDropout2D(0.4), (3, 2, 5)),
    "gaussian noise": (lambda: layers.GaussianNoise(0.4), (4, 3)),
    "gaussian dropout": (lambda: layers.GaussianDropout(0.4), (4, 3)),
    "alpha dropout": (lambda: layers.AlphaDropout(0.4), (4, 3)),
    "alpha dropout of nothing": (lambda: layers.AlphaDropout(0), (4, 3)),
    "mean 2x2": (lambda: layers.AveragePooling2D(), (6, 4, 3)),
    "mean 2x2, odd": (lambda: layers.AveragePooling2D(), (5, 7, 2)),
    "mean 2x2 same, odd": (lambda: layers.AveragePooling2D(padding="same"), (5, 7, 2)),
    "mean 3x3 stride 2, overlapping": (lambda: layers.AveragePooling2D(3, 2), (7, 7, 2)),
    "mean 3x3 stride 1 same": (lambda: layers.AveragePooling2D(3, 1, "same"), (4, 5, 1)),
    "mean 2x3, strides 1x2": (lambda: layers.AveragePooling2D((2, 3), (1, 2)), (5, 7, 2)),
    "mean 5x4 same, larger than the photo": (lambda: layers.AveragePooling2D((5, 4), 2, "same"), (3, 2, 2)),
    "mean 1x1 stride 3": (lambda: layers.AveragePooling2D(1, 3), (7, 5, 1)),
    "mean of maps": (lambda: layers.GlobalAveragePooling2D(), (3, 4, 2)),
    "mean of maps, kept": (lambda: layers.GlobalAveragePooling2D(keepdims=True), (3, 4, 2)),
    "maximum of maps": (lambda: layers.GlobalMaxPooling2D(), (3, 4, 2)),
    "maximum of maps, kept": (lambda: layers.GlobalMaxPooling2D(keepdims=True), (3, 4, 2)),
    "zeros around": (lambda: layers.ZeroPadding2D(((1, 0), (2, 3))), (3, 4, 2)),
    "cropped": (lambda: layers.Cropping2D(((1, 0), (1, 2))), (3, 5, 2)),
    "repeated": (lambda: layers.UpSampling2D((2, 3)), (3, 4, 2)),
    "repeated, bilinear": (lambda: layers.UpSampling2D(2, interpolation="bilinear"), (3, 4, 2)),
    "larger": (lambda: layers.Resizing(5, 7), (3, 4, 2)),
    "smaller": (lambda: layers.Resizing(2, 3), (5, 4, 2)),
    "nearest": (lambda: layers.Resizing(5, 3, "nearest"), (4, 5, 2)),
    "middle": (lambda: layers.CenterCrop(2, 3), (5, 4, 2)),
    "reshape": (lambda: layers.Reshape((2, -1)), (3, 4)),
    "reshape to a row": (lambda: layers.Reshape((-1,)), (3, 4, 2)),
    "rescaling": (lambda: layers.Rescaling(-0.5, offset=3), (3, 4)),
    "rescaling of channels": (lambda: layers.Rescaling((0.5, 2), offset=(0, 1)), (3, 2)),
    "normalization": (lambda: layers.Normalization(mean=(1, 2), variance=(4, 0.25)), (3, 2)),
    "normalization, inverted": (lambda: layers.Normalization(None, 1, 4, invert=True), (3, 2)),
    "normalization of places": (lambda: layers.Normalization((1, 2), [[1, 2]] * 3, [[4, 1]] * 3), (3, 2, 4)),
    **{f"random flip, {mode}": (partial(layers.RandomFlip, mode), (3, 4, 2)) for mode in FLIPS},
    **{f"random rotation, {mode}": (partial(layers.RandomRotation, 0.4, mode), (4, 3, 2)) for mode in FILL_MODES},
    **{f"random zoom, {mode}": (partial(layers.RandomZoom, 0.6, None, mode), (4, 3, 2)) for mode in FILL_MODES},
    "random zoom of both": (lambda: layers.RandomZoom((-0.5, -0.2), (0.1, 0.9), "nearest", "nearest"), (4, 3, 2)),
    "random translation": (lambda: layers.RandomTranslation(0.6, (-0.1, 0.9)), (4, 3, 2)),
    "random contrast": (lambda: layers.RandomContrast((0.5, 0.7), value_range=(-9, 9)), (4, 3, 2)),
    "random contrast, cut off": (lambda: layers.RandomContrast((0.1, 0.9), value_range=(-0.6, 0.5)), (4, 3, 2)),
    "random brightness": (lambda: layers.RandomBrightness(0.3, value_range=(-0.9, 0.7)), (4, 3, 2)),
    "random erasing": (lambda: layers.RandomErasing((1, 1), 0.4, value_range=(-1, 1)), (5, 4, 2)),
    "random erasing, filled": (lambda: layers.RandomErasing(1, (0.2, 0.9), fill_value=2), (5, 4, 2)),
    "random translation of whole cells": (lambda: layers.RandomTranslation(0.6, 0.6, "constant", "nearest"), (4, 3, 2)),
    "random translation, filled": (lambda: layers.RandomTranslation(0, 0.9, "constant", fill_value=2), (4, 3, 2)),
}
FOR_PHOTOS = (
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
    *(layers.ZeroPadding2D, layers.SpatialDropout2D, layers.RandomLayer, layers.Cropping2D),
    *(layers.Interpolation, layers.CenterCrop),
)
EVERY_LAYER = pytest.mark.parametrize(("make", "shape"), TABLE.values(), ids=TABLE)
FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def batch(shape, count=2, seed=0, dtype=np.float64):
    """Numbers that all differ, none of them 0: further apart than gradcheck's steps, so that no kink is near."""
    size = count * int(np.prod(shape))
    numbers = np.linspace(-1, 1, 2 * size)
    return np.random.default_rng(seed).permutation(numbers)[:size].reshape(count, *shape).astype(dtype)


def built(make, shape, dtype=np.float64, seed=3):
    """The layer with random biases."""
    layer = make()
    rng = np.random.default_rng(seed)
    layer.build(shape, rng, dtype)
    for key in {"bias", "alpha", "gamma", "beta", "moving_mean", "moving_variance"} & layer.params.keys():
        layer.params[key] += rng.uniform(-0.5, 0.5, layer.params[key].shape).astype(dtype)
    return layer


@EVERY_LAYER
def test_gradients(make, shape):
    """Each number of each parameter and of the input."""
    for result in check_layer(built(make, shape), batch(shape), training=True):
        assert result.kinks == 0
        assert result.checked == np.prod(result.shape)
        assert result.passed, f"{result.name}: {result.error} at {result.worst}"


@EVERY_LAYER
@FLOATS
def test_dtype_in_is_dtype_out(make, shape, dtype):
    """A float64 hidden among float32 numbers would slow training down to half, in silence."""
    layer, x = built(make, shape, dtype), batch(shape, dtype=dtype)
    y, cache = layer.forward(x, training=True, rng=np.random.default_rng(0))
    dx, grads = layer.backward(np.ones_like(y), cache)
    arrays = [y, dx, *grads.values(), *(part for part in _arrays(cache) if part.dtype.kind == "f")]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def _arrays(cache):
    for part in cache:
        if isinstance(part, np.ndarray):
            yield part
        elif hasattr(part, "_fields"):
            yield from _arrays(part)


@EVERY_LAYER
def test_a_pass_writes_to_nothing_that_it_was_given(make, shape):
    layer, x = built(make, shape), batch(shape)
    x.flags.writeable = False
    for value in layer.params.values():
        value.flags.writeable = False
    y, cache = layer.forward(x, training=True, rng=np.random.default_rng(0))
    dy = np.ones_like(y)
    for array in (y, dy, *_arrays(cache)):
        array.flags.writeable = False
    before = x.tobytes(), y.tobytes(), dy.tobytes()
    first = layer.backward(dy, cache)
    second = layer.backward(dy, cache)
    assert (x.tobytes(), y.tobytes(), dy.tobytes()) == before
    np.testing.assert_array_equal(first[0], second[0])


@EVERY_LAYER
def test_a_pass_leaves_no_trace_in_the_layer(make, shape):
    layer = built(make, shape)
    before = dict(vars(layer))
    y, cache = layer.forward(batch(shape), training=True, rng=np.random.default_rng(0))
    layer.forward(batch(shape, seed=1))
    layer.backward(y, cache)
    assert vars(layer) == before


@EVERY_LAYER
def test_a_batch_is_its_photos_one_by_one(make, shape):
    layer, x = built(make, shape), batch(shape, count=3)
    together, cache = layer.forward(x)
    dx, grads = layer.backward(together, cache)
    passes = [layer.forward(x[n : n + 1]) for n in range(3)]
    alone = [layer.backward(y, c) for y, c in passes]
    np.testing.assert_allclose(np.concatenate([y for y, _ in passes]), together, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.concatenate([d for d, _ in alone]), dx, rtol=0, atol=1e-14)
    for key, grad in grads.items():
        np.testing.assert_allclose(sum(g[key] for _, g in alone), grad, rtol=0, atol=1e-13)


@EVERY_LAYER
def test_shapes_are_those_that_were_announced(make, shape):
    layer = built(make, shape)
    y, cache = layer.forward(batch(shape, count=3))
    dx, grads = layer.backward(y, cache)
    assert y.shape == (3, *layer.output_shape)
    assert dx.shape == (3, *shape)
    assert {key: grad.shape for key, grad in grads.items()} == {key: layer.params[key].shape for key in layer.learnable}


@EVERY_LAYER
def test_a_layer_can_be_called_alone(make, shape):
    layer = make()
    y = layer(batch(shape, dtype=np.float32))
    assert y.shape == (2, *layer.output_shape)
    assert y.dtype == np.float32
    assert layer.count_params() == sum(w.size for w in layer.get_weights())
    second = np.zeros((2, *shape, 7), np.float32)
    for_channels = any(np.ndim(getattr(layer, name, 0)) == 1 for name in ("scale", "mean"))
    if layer.params or for_channels or isinstance(layer, FOR_PHOTOS):  # which need the axes that they were made for
        with pytest.raises(ValueError, match=type(layer).__name__):
            layer(second)
    else:  # what has no weights takes any shape that it can compute with, as in Keras
        assert layer(second).shape == (2, *layer.infer_shape(second.shape[1:]))
        assert layer.input_shape == shape


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.ReLU(), [0, 2]),
        (layers.Softmax(), [1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))]),
        (layers.Dropout(0.5), [-1, 2]),
        (layers.Flatten(), [[-1], [2]]),
    ],
)
def test_layers_without_weights_take_a_row_of_numbers_as_in_keras(layer, expected):
    np.testing.assert_allclose(layer([-1.0, 2.0]), expected, rtol=1e-15)


def test_pooling_takes_photos_of_another_size():
    layer = layers.MaxPooling2D()
    assert layer(np.zeros((1, 4, 4, 1))).shape == (1, 2, 2, 1)
    assert layer(np.zeros((2, 9, 6, 3))).shape == (2, 4, 3, 3)
    with pytest.raises(ValueError, match="MaxPooling2D: expected input of at least 2 x 2"):
        layer(np.zeros((1, 1, 6, 3)))


def test_an_input_that_does_not_fit_builds_nothing():
    layer = layers.Conv2D(1, 3)
    with pytest.raises(ValueError, match=r"expected input \(H, W, C\), got \(28, 28\)"):
        layer(np.zeros((2, 28, 28)))
    assert layer(np.zeros((2, 28, 28, 1))).shape == (2, 26, 26, 1)


@EVERY_LAYER
def test_the_configuration_makes_the_same_layer_again(make, shape):
    layer = make()
    again = type(layer)(**layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.infer_shape(shape) == layer.infer_shape(shape)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Conv2D(32, 3, padding="same"), (28, 28, 1), (28, 28, 32)),
        (layers.Conv2D(32, 3), (28, 28, 1), (26, 26, 32)),
        (layers.Conv2D(8, 7, strides=2, padding="SAME"), (28, 28, 3), (14, 14, 8)),
        (layers.Conv2D(8, (5, 3), strides=(2, 3)), (28, 28, 3), (12, 9, 8)),
        (layers.MaxPooling2D(), (28, 28, 32), (14, 14, 32)),
        (layers.MaxPooling2D(), (7, 7, 64), (3, 3, 64)),
        (layers.MaxPooling2D(padding="same"), (7, 7, 64), (4, 4, 64)),
        (layers.MaxPooling2D(3, strides=1), (7, 9, 4), (5, 7, 4)),
        (layers.Flatten(), (7, 7, 64), (3136,)),
        (layers.Dense(10), (128,), (10,)),
        (layers.Dense(10), (7, 7, 64), (7, 7, 10)),
    ],
)
def test_shapes_are_those_of_keras(layer, shape, expected):
    assert layer.infer_shape(shape) == expected


def test_weights_have_the_shapes_and_order_of_keras():
    conv, dense = layers.Conv2D(32, (3, 5)), layers.Dense(10)
    conv(np.zeros((1, 9, 9, 4)))
    dense(np.zeros((1, 128)))
    assert [w.shape for w in conv.get_weights()] == [(3, 5, 4, 32), (32,)]
    assert [w.shape for w in dense.get_weights()] == [(128, 10), (10,)]


def test_a_convolution_slides_its_kernel_without_turning_it():
    """The article's way of convolving; a turned kernel would give 4 1 at the first place instead."""
    layer = layers.Conv2D(1, (1, 2))
    layer.build((1, 3, 1), np.random.default_rng(0))
    layer.set_weights([np.array([1.0, 4.0]).reshape(1, 2, 1, 1), [0.5]])
    assert layer(np.array([1.0, 10.0, 100.0]).reshape(1, 1, 3, 1)).ravel().tolist() == [41.5, 410.5]


# At the corners the derivative is what we say it is


def test_relu_at_zero_lets_no_gradient_through():
    _, cache = layers.ReLU().forward(np.array([[-1.0, -0.0, 0.0, 1e-300, 2.0]]))
    assert layers.ReLU().backward(np.ones((1, 5)), cache)[0].tolist() == [[0, 0, 0, 1, 1]]


@pytest.mark.parametrize("size", [2, 3, (1, 2), (4, 4)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pooling_a_black_photo_keeps_the_sum_of_the_gradient(size, padding):
    """Every window is one tie. Feeding each of the tied cells would multiply the gradient."""
    layer = layers.MaxPooling2D(size, padding=padding)
    y, cache = layer.forward(np.zeros((2, 8, 8, 3)))
    dy = np.random.default_rng(0).integers(1, 9, y.shape).astype(float)
    dx, _ = layer.backward(dy, cache)
    assert dx.sum() == dy.sum()
    assert np.count_nonzero(dx) == dy.size


def test_softmax_of_huge_numbers():
    y = layers.Softmax()(np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4]]))
    np.testing.assert_allclose(y, [[0.5, 0, 0.5], [1 / 3] * 3], rtol=1e-6)


def test_dropout_keeps_the_mean_and_is_silent_outside_training():
    x = np.ones((100, 200), np.float32)
    layer = layers.Dropout(0.25)
    y, _ = layer.forward(x, training=True, rng=np.random.default_rng(0))
    assert set(np.unique(y).tolist()) == {0, np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.02
    assert layer.forward(x)[0] is x
    assert not layers.Dropout(1).forward(x, training=True, rng=np.random.default_rng(0))[0].any()


@EVERY_LAYER
def test_repr_is_one_line_with_shapes_and_number_of_parameters(make, shape):
    layer = built(make, shape)
    line = repr(layer)
    assert line.startswith(f"<{type(layer).__name__}: ")
    assert line.endswith(f"{shape} -> {layer.output_shape}, {layer.count_params():,} parameters>")
    assert "\n" not in line
