"""The fast twin that fit, evaluate and predict run: the plain layers' results, to the rounding of float32."""

import gates
import numpy as np
import pytest
from conftest import random_batch, random_biases

from cnn import fused, layers, models
from cnn.gradcheck import relative_error
from kernels import reference
from kernels import relu_pool as fused_kernels
from kernels.simd import conv_pool as windows
from kernels.simd import vectors, winograd

CHANNELS = vectors.LANES  # what the vector kernels take at a time, 8 or 16
HEAD = [layers.Flatten, lambda: layers.Dense(7, activation="relu"), lambda: layers.Dense(10, activation="softmax")]
NETWORKS = {
    "article in small": (
        (8, 8, 1),
        [
            layers.Conv2D(CHANNELS, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
        ],
    ),
    "groups of channels": (
        (6, 6, 2 * CHANNELS),
        [layers.Conv2D(5, 3, padding="same", activation="relu"), layers.MaxPooling2D()],
    ),
    "skips zeros, valid": ((9, 8, CHANNELS), [layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D()]),
    "skips zeros, odd": (
        (7, 9, CHANNELS),
        [layers.Conv2D(3, 3, padding="same", activation="relu"), layers.MaxPooling2D()],
    ),
    "skips zeros, second": (
        (8, 8, 2),
        [layers.Conv2D(CHANNELS, 1), layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D()],
    ),
    "Winograd": (
        (15, 14, CHANNELS),
        [layers.Conv2D(2 * winograd.FILTERS, 3, padding="same", activation="relu"), layers.MaxPooling2D()],
    ),
    "Winograd, valid": ((17, 20, 2 * CHANNELS), [layers.Conv2D(winograd.FILTERS, 3), layers.MaxPooling2D()]),
    "in registers": (
        (16, 19, 3),
        [layers.Conv2D(CHANNELS, (2, 3), activation="relu", use_bias=False), layers.MaxPooling2D()],
    ),
    "in registers, stride 2": (
        (10, 31, 2),
        [layers.Conv2D(CHANNELS, 3, strides=(1, 2), padding="same"), layers.MaxPooling2D()],
    ),
    "odd maps": ((7, 9, 2), [layers.Conv2D(3, 3, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "stride 2": ((9, 9, 2), [layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "large rectangle": ((8, 9, 2), [layers.Conv2D(3, (5, 2), padding="same"), layers.MaxPooling2D()]),
    "no bias": ((8, 8, 1), [layers.Conv2D(3, 3, use_bias=False, activation="relu"), layers.MaxPooling2D()]),
    "no activation": ((8, 8, CHANNELS), [layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D()]),
    "other pools": (
        (8, 8, 1),
        [layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(3, strides=2, padding="same")],
    ),
    "dense alone": ((8, 8, 1), []),
}


def network(shape, body, seed=0):
    model = models.Sequential([layers.Input(shape)], seed=seed)
    for layer in body:
        model.add(type(layer)(**layer.get_config()))
    for make in HEAD:
        model.add(make())
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return random_biases(model)


@pytest.mark.parametrize(("shape", "body"), NETWORKS.values(), ids=NETWORKS)
def test_gradients_and_outputs(shape, body):
    model = network(shape, body)
    gates.fast_gate(model)
    x, _ = random_batch(21, shape)
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), model(x), rtol=0, atol=2e-6)
    gates.fast_gate(model)  # the buffers have seen other batches meanwhile


def test_which_pairs_are_fused():
    kinds = [
        [type(layer).__name__ for layer in fused.twin(network(*NETWORKS[name]).layers)]
        for name in ("article in small", "other pools")
    ]
    assert kinds[0] == ["ConvPool", "ConvPool", "Flatten", "KeptDense", "KeptDense"]
    assert kinds[1] == ["Conv2D", "MaxPooling2D", "Flatten", "KeptDense", "KeptDense"]


def test_the_kernels_that_skip_zeros_are_used_where_they_can():
    assert [
        fused.ConvPool(*network(*NETWORKS[name]).layers[:2]).skips_zeros
        for name in ("skips zeros, odd", "odd maps", "stride 2")
    ] == [True, False, False]


@pytest.mark.skipif(not True, reason="vector code is not compiled")
@pytest.mark.parametrize("pools", [(2, 7), (3, 8), (1, 20)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("relu", [True, False])
def test_sums_in_registers_equal_the_plain_loops(pools, strides, kernel_size, relu):
    rng = np.random.default_rng(3)
    channels, filters = 2 * vectors.LANES, 2 * winograd.FILTERS
    rows, columns = (2 * pool * stride + size for pool, stride, size in zip(pools, strides, kernel_size, strict=True))
    x = rng.integers(-2, 3, (2, rows, columns, channels)).astype(
        np.float32
    )  # whole numbers: sums are exact, and ties are many
    kernel = rng.integers(-2, 3, (*kernel_size, channels, filters)).astype(np.float32)
    bias = rng.integers(-2, 3, filters).astype(np.float32)
    floor = np.float32(0 if relu else -np.inf)
    z = np.tensordot(reference.im2col(x, kernel_size, strides, (0, 0, 0, 0)), kernel, 3) + bias
    right, right_winners = reference.max_pool(np.maximum(z, floor), (2, 2), (2, 2), (0, 0, 0, 0))
    right, right_winners = (a[:, : pools[0], : pools[1]] for a in (right, right_winners))

    y, winners = np.empty(right.shape, np.float32), np.empty(right.shape, np.uint8)
    windows.conv_relu_pool(y, winners, x, kernel, bias, floor, strides)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(winners, np.where(right > floor, right_winners, fused_kernels.CLOSED))
    if kernel_size == (3, 3) and strides == (1, 1):
        y[:], winners[:] = -1, 9
        transformed = np.empty((16, channels, filters), np.float32)
        winograd.transform_kernel(transformed, kernel)
        room = np.empty(winograd.patches_shape(channels), np.float32), np.empty(winograd.PRODUCTS_SHAPE, np.float32)
        winograd.conv_relu_pool(y, winners, x, transformed, bias, floor, *room)
        np.testing.assert_array_equal(y, right)
        np.testing.assert_array_equal(winners, np.where(right > floor, right_winners, fused_kernels.CLOSED))


@pytest.mark.skipif(not True, reason="vector code is not compiled")
def test_winograds_rounding_is_no_larger_than_that_of_the_product():
    """Against the same sums in float64, numbers like those in the article's network."""
    rng = np.random.default_rng(4)
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in [(4, 16, 16, 32), (3, 3, 32, 64)])
    layer = fused.ConvPool(
        *network((14, 14, 32), [layers.Conv2D(64, 3, padding="same"), layers.MaxPooling2D()]).layers[:2]
    )
    layer.conv.params = {"kernel": kernel, "bias": np.zeros(64, np.float32)}
    exact = np.tensordot(
        reference.im2col(x.astype(np.float64), (3, 3), (1, 1), (0, 0, 0, 0)), kernel.astype(np.float64), 3
    )
    exact = exact.reshape(4, 7, 2, 7, 2, 64).max(axis=(2, 4))
    errors = []
    for has_winograd in (True, False):
        layer.has_winograd = layer.in_registers = has_winograd
        y, _ = layer.forward(np.ascontiguousarray(x[:, 1:-1, 1:-1]))
        inside = np.s_[:, 1:-1, 1:-1]  # the forward pass pads with zeros, `exact` with numbers
        errors.append(np.sqrt(np.mean((y - exact)[inside] ** 2)))
    assert 0 < errors[0] < 1.2 * errors[1] < 1e-4


def test_the_kernels_in_registers_are_used_where_they_can():
    names = ["Winograd", "Winograd, valid", "in registers", "in registers, stride 2", "no bias"]
    twins = [fused.ConvPool(*network(*NETWORKS[name]).layers[:2]) for name in names]
    assert [(twin.has_winograd, twin.in_registers) for twin in twins] == [
        (True, True),
        (True, True),
        (False, True),
        (False, True),
        (False, False),
    ]


def test_both_ways_back_agree():
    model = network(*NETWORKS["skips zeros, odd"])
    layer = fused.ConvPool(*model.layers[:2])
    x, _ = random_batch(5, (7, 9, CHANNELS))
    y, cache = layer.forward(x)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    through = [np.copy(part) for part in layer.backward_through_columns(dy, cache, True)]
    if True:
        for a, b in zip(layer.backward_skipping_zeros(dy, cache, True), through, strict=True):
            assert relative_error(a, b) < 1e-6
    assert layer.backward_through_columns(dy, cache, False)[1] is None


def test_ties_go_to_the_first_cell_as_in_the_plain_layers():
    """A photo of few grey values: most windows are ties, and black ones stand on ReLU's corner."""
    model = network(*NETWORKS["article in small"])
    model.set_weights([w if w.ndim > 1 else 0 * w for w in model.get_weights()])
    x = np.random.default_rng(0).integers(0, 2, (12, 8, 8, 1)).astype(np.float32)
    x[:4] = 0
    y = np.arange(12) % 10
    plain, fast = (model.run_batch(x, y, fast=fast).grads for fast in (False, True))
    for key in plain:
        assert relative_error(plain[key], fast[key]) < 1e-5, key


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # from inf - inf, where the loops are not compiled
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_not_lost(value):
    model = network(*NETWORKS["article in small"])
    x, _ = random_batch(2)
    x[1, 3, 4, 0] = value
    outputs = models.forward(model.twins.borrow(model), x)[0]
    assert np.isfinite(outputs[0]).all()
    assert np.isnan(outputs[1]).any()


@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 16, CHANNELS)])
def test_a_layer_that_was_built_for_float64(shape):
    """The vector kernels read the arrays' bytes as float32: they must never see others."""
    conv = layers.Conv2D(winograd.FILTERS, 3, padding="same", activation="relu")
    conv(np.zeros((1, *shape)))
    assert conv.params["kernel"].dtype == np.float64
    model = models.Sequential(
        [layers.Input(shape), conv, layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = random_batch(6, shape)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=0, atol=2e-6)
    plain, fast = (model.run_batch(x, y, fast=fast).grads for fast in (False, True))
    for key in plain:
        assert relative_error(plain[key], fast[key]) < 1e-5, key


def test_a_twin_follows_its_model():
    """New weights and other layers are seen; a twin made before must not answer for them."""
    model = network(*NETWORKS["article in small"])
    x, y = random_batch(6)
    model.fit(x, y, verbose=0)
    model.set_weights([0 * w for w in model.get_weights()])
    np.testing.assert_allclose(model.predict(x, verbose=0), 0.1, rtol=1e-6)
    model.pop()
    model.add(layers.Dense(4, activation="softmax"))
    assert model.predict(x, verbose=0).shape == (6, 4)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=0, atol=1e-6)
    assert model.astype(np.float64).predict(x, verbose=0).dtype == np.float64
