"""The fast twin that fit, evaluate and predict run: the plain layers' results, to the rounding of float32.

Networks of many shapes, named by the kernel that they reach; batches that change, threads, fits and changed models.
The kernels alone: test_vector_kernels.py.
"""

import gates
import numba
import numpy as np
import pytest
from conftest import random_batch, random_biases

from cnn import layers
from cnn.errors import DivergedError
from cnn.gradcheck import relative_error
from cnn.losses import SparseCategoricalCrossentropy
from cnn.models import Sequential, forward
from cnn.training import twin
from cnn.training.convolutions import (
    Convolution,
    DenseKernelGradient,
    SparseInputGradient,
    SparseKernelGradient,
    TurnedConvolution,
    Winograd,
    WinogradKernelGradient,
)
from cnn.training.step import run_batch
from cnn.training.twin import TwinConv
from kernels.simd import backward, winograd
from kernels.simd.vectors import LANES

JIT = not numba.config.DISABLE_JIT  # in plain Python the same tests run with fewer photos
FEW = 7 if JIT else 2
Conv, Pool, Dense, Flatten, Dropout = layers.Conv2D, layers.MaxPooling2D, layers.Dense, layers.Flatten, layers.Dropout


def head(units=12):
    return [Flatten(), Dense(units, activation="relu"), Dense(10, activation="softmax")]


def article(filters=(32, 64), shape=(28, 28, 1), **options):
    first, second = filters
    options = {"padding": "same", "activation": "relu"} | options
    return [Conv(first, 3, input_shape=shape, **options), Pool(), Conv(second, 3, **options), Pool(), *head()]


def one(filters, kernel_size, shape, pool=None, **options):
    """One convolution with ReLU, pooling, and two dense layers."""
    return [Conv(filters, kernel_size, input_shape=shape, **{"activation": "relu"} | options), pool or Pool(), *head()]


# How the twin must compute a convolution: forward, its kernel's gradient, its input's.
WINOGRAD = Winograd, SparseKernelGradient, SparseInputGradient
POOLED = Convolution, SparseKernelGradient, SparseInputGradient
FEW_TAPS = Convolution, DenseKernelGradient, SparseInputGradient
PLAIN_FEW_TAPS = Convolution, DenseKernelGradient, TurnedConvolution  # not pooled
PLAIN = Convolution, SparseKernelGradient, TurnedConvolution
PLAIN_WINOGRAD = Winograd, SparseKernelGradient, TurnedConvolution
UNPOOLED = Winograd, WinogradKernelGradient, TurnedConvolution
# Kernels of 10 to 28 taps: it depends on the number of registers.
BETWEEN = FEW_TAPS if backward.few_taps(3, 9, True) else POOLED


def plain(kh, numbers):
    """Of a kernel of kh rows of so many numbers, not pooled."""
    return PLAIN_FEW_TAPS if backward.few_taps(kh, numbers, False) else PLAIN


SAME = {"padding": "same"}
# name: (layers, for each convolution the three ways)
NETWORKS = {
    "the article's": (article, [FEW_TAPS, WINOGRAD]),
    "Winograd": (lambda: one(2 * winograd.FILTERS, 3, (15, 14, LANES), **SAME), [WINOGRAD]),
    "Winograd, valid": (lambda: one(winograd.FILTERS, 3, (17, 20, 2 * LANES), activation=None), [WINOGRAD]),
    "Winograd behind three channels, odd size": (lambda: article(shape=(27, 29, 3)), [BETWEEN, WINOGRAD]),
    "a row for a kernel": (lambda: one(LANES, (2, 3), (16, 19, 3), use_bias=False), [BETWEEN]),
    "no activation": (lambda: article(activation=None, shape=(14, 14, 1)), [FEW_TAPS, WINOGRAD]),
    "no bias": (lambda: article(use_bias=False, shape=(14, 15, 1)), [FEW_TAPS, WINOGRAD]),
    "article in small": (lambda: article((LANES, 6), (8, 8, 1)), [FEW_TAPS, POOLED]),
    "valid": (lambda: article(shape=(14, 15, 1), padding="valid"), [FEW_TAPS, POOLED]),
    "pooling first": (
        lambda: [Pool(input_shape=(12, 12, 1)), Conv(32, 3, activation="relu"), Pool(), *head()],
        [FEW_TAPS],
    ),
    "pooled, few filters": (lambda: one(5, 3, (6, 6, 2 * LANES), **SAME), [POOLED]),
    "pooled, valid": (lambda: one(3, 3, (9, 8, LANES)), [POOLED]),
    "pooled, odd": (lambda: one(3, 3, (7, 9, LANES), **SAME), [POOLED]),
    "pooled, no activation": (lambda: one(3, 3, (8, 8, LANES), activation=None, **SAME), [POOLED]),
    "pooled, 64 channels": (lambda: one(10, 3, (8, 9, 64), **SAME), [POOLED]),
    "pooled, 96 channels, then 64": (lambda: article((64, 8), (8, 8, 96)), [WINOGRAD, POOLED]),
    "pooled, more filters than in a list": (lambda: one(backward.FILTERS + 3, 3, (6, 8, 5), **SAME), [POOLED]),
    "pooled, more cells than in a band": (lambda: one(3, 3, (23, 18, 4)), [POOLED]),
    "pooled to a single cell": (lambda: one(3, 3, (3, 3, 4), **SAME), [POOLED]),
    "few filters": (lambda: article((5, 7), (12, 12, 1)), [FEW_TAPS, POOLED]),
    "few filters, two channels": (
        lambda: article((5, 7), (12, 12, 2), use_bias=False, activation=None),
        [BETWEEN, POOLED],
    ),
    "few filters, no bias": (lambda: one(3, 3, (8, 8, 1), use_bias=False), [FEW_TAPS]),
    "filters for a register and a half": (lambda: one(LANES + LANES // 2, 3, (8, 8, 3 * LANES)), [POOLED]),
    "kernel 1": (lambda: one(10, 1, (6, 6, 32)), [FEW_TAPS]),
    "kernel 5": (lambda: one(10, 5, (11, 12, 2), **SAME), [POOLED]),
    "kernel 5, 32 channels": (lambda: one(10, 5, (11, 12, 32), **SAME), [POOLED]),
    "Winograd, kernel 5": (lambda: one(winograd.FILTERS, 5, (11, 12, LANES), **SAME), [WINOGRAD]),
    "Winograd, kernel 5, not pooled": (
        lambda: [
            Conv(2 * LANES, 1, input_shape=(6, 8, 1)),
            *(Conv(winograd.FILTERS, 5, activation="relu", **SAME), Conv(winograd.FILTERS, 5, **SAME), *head()),
        ],
        [plain(1, 1), UNPOOLED, UNPOOLED],
    ),
    "kernel 7, then 3": (
        lambda: [Conv(4, 7, input_shape=(14, 12, 1), activation="relu"), Pool(), Conv(5, 3), Pool(1), *head()],
        [POOLED, plain(3, 12)],
    ),
    "kernel 5x2": (lambda: one(3, (5, 2), (8, 9, 2), activation=None, **SAME), [BETWEEN]),
    "kernel 3x5, valid": (lambda: one(10, (3, 5), (11, 12, 32)), [POOLED]),
    "kernel 31x2": (lambda: one(4, (31, 2), (33, 6, 2)), [POOLED]),  # more rows than there are registers
    "LeNet-5": (
        lambda: [Conv(6, 5, input_shape=(28, 28, 1), activation="relu", **SAME), Pool(), Conv(16, 5), Pool(), *head()],
        [BETWEEN, POOLED],
    ),
    "stride 2": (lambda: one(10, 3, (13, 12, 32), strides=2, **SAME), [POOLED]),
    "stride 2, odd": (lambda: one(3, 3, (9, 9, 2), strides=2, **SAME), [BETWEEN]),
    "stride 2x1, valid": (lambda: one(10, 3, (13, 12, 3), strides=(2, 1)), [BETWEEN]),
    "stride 1x2, no activation": (
        lambda: one(LANES, 3, (10, 31, 2), strides=(1, 2), activation=None, **SAME),
        [BETWEEN],
    ),
    "strides beyond the kernel": (lambda: one(3, 2, (13, 14, 2), strides=3), [FEW_TAPS]),
    "strides without pooling": (
        lambda: [
            Conv(6, 3, strides=2, input_shape=(15, 14, 1), activation="relu", **SAME),
            *(Conv(LANES, 3, strides=(2, 1), activation="relu"), *head()),
        ],
        [FEW_TAPS, FEW_TAPS],
    ),
    "convolutions in a row": (
        lambda: [Conv(5, 3, input_shape=(9, 9, 1)), Conv(8, 3, activation="relu"), Pool(), *head()],
        [plain(3, 3), POOLED],
    ),
    "convolutions in a row, 1x1 between": (
        lambda: [
            Conv(LANES, 1, input_shape=(8, 8, 2)),
            *(Conv(3, 1, activation="relu"), Conv(3, 3, **SAME), Pool(), *head()),
        ],
        [plain(1, 2), plain(1, LANES), BETWEEN],
    ),
    "not pooled": (
        lambda: [
            Conv(2 * LANES, 3, input_shape=(9, 7, 1), activation="relu", **SAME),
            *(Conv(5, (3, 2), activation="relu", **SAME), Conv(4, (2, 5), use_bias=False), *head()),
        ],
        [plain(3, 3), plain(3, 4 * LANES), plain(2, 25)],
    ),
    "Winograd, not pooled, odd": (
        lambda: [
            Conv(LANES, 1, input_shape=(9, 7, 1)),
            *(Conv(winograd.FILTERS, 3, activation="relu", **SAME), Conv(winograd.FILTERS, 3), Pool(), *head()),
        ],
        [plain(1, 1), PLAIN_WINOGRAD, POOLED],
    ),
    "Winograd, not pooled": (
        lambda: [
            Conv(2 * LANES, 1, input_shape=(8, 10, 1)),
            *(Conv(winograd.FILTERS, 3, activation="relu", **SAME), Conv(winograd.FILTERS, 3), *head()),
        ],
        [plain(1, 1), UNPOOLED, UNPOOLED],
    ),
    "maps of one cell": (
        lambda: [Conv(7, 3, input_shape=(3, 3, 2)), Conv(4, 1, activation="relu"), *head()],
        [plain(3, 6), plain(1, 7)],
    ),
    "dropout": (
        lambda: [
            Conv(5, 3, activation="relu", input_shape=(8, 8, 1)),
            *(Pool(), Dropout(0.4), Flatten(), Dropout(0.3), Dense(10, activation="softmax")),
        ],
        [FEW_TAPS],
    ),
    "pooling 3x3": (lambda: one(8, 3, (11, 11, 2), Pool(3)), [plain(3, 6)]),
    "pooling 3x3 behind Winograd": (lambda: one(winograd.FILTERS, 3, (8, 10, LANES), Pool(3, 2), **SAME), [UNPOOLED]),
    "pooling 3x3, a few channels beside whole registers": (
        lambda: one(LANES + 3, 3, (11, 11, 2), Pool(3, 2), **SAME),
        [plain(3, 6)],
    ),
    "pooling that overlaps": (lambda: one(8, 3, (9, 9, 2), Pool(2, strides=1)), [plain(3, 6)]),
    "pooling that overlaps and pads": (lambda: one(3, 3, (8, 8, 1), Pool(3, strides=2, padding="same")), [plain(3, 3)]),
    "pooling that pads": (lambda: one(8, 3, (9, 9, 2), Pool(2, padding="same")), [plain(3, 6)]),
    "ReLU a layer of its own": (lambda: [Conv(8, 3, input_shape=(8, 8, 2)), layers.ReLU(), Pool(), *head()], [BETWEEN]),
    "plain, softmax in a convolution": (lambda: one(8, 3, (8, 8, 2), activation="softmax"), []),
    "dense alone": (lambda: [Flatten(input_shape=(7, 6, 1)), *head()[1:]], []),
    "dense, softmax a layer of its own": (lambda: [Flatten(input_shape=(7, 6, 1)), Dense(10), layers.Softmax()], []),
    "dense without bias": (
        lambda: [Flatten(input_shape=(7, 6, 1)), Dense(9, use_bias=False), Dense(10, use_bias=False)],
        [],
    ),
    "dense before flatten": (
        lambda: [Dense(5, activation="relu", input_shape=(4, 4, 3)), Flatten(), Dense(10, activation="softmax")],
        [],
    ),
}
EVERY = pytest.mark.parametrize("name", NETWORKS)


def network(name):
    return compiled(NETWORKS[name][0]())


def compiled(network, shards=2):
    """A model that is ready to train, biases away from zero."""
    model = Sequential(network, seed=3)
    model.shards = shards
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=not model.ends_in_softmax), metrics=["accuracy"])
    rng = np.random.default_rng(5)
    model.set_weights([w + rng.normal(0, 0.05, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def batch_for(model, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, *model.photo_shape), np.float32), rng.integers(0, 10, count)


def assert_close(fast, plain, what=""):
    """Equal to float32 rounding of sums of a few thousand terms, measured against the largest number in the tensor."""
    assert fast.dtype == plain.dtype and fast.shape == plain.shape, what
    np.testing.assert_allclose(fast, plain, rtol=0, atol=2e-5 * max(np.abs(plain).max(), 1e-6), err_msg=what)


def assert_same_pass(model, x, y, **options):
    fast = run_batch(model, x, y, fast=True, **options)
    plain = run_batch(model, x, y, fast=False, **options)
    assert fast.loss == pytest.approx(plain.loss, rel=1e-5)
    assert (plain.outputs.argmax(axis=1) == fast.outputs.argmax(axis=1)).all()
    assert fast.grads.keys() == plain.grads.keys() == model.params.keys()
    for key in plain.grads:
        assert_close(fast.grads[key], plain.grads[key], key)


@pytest.mark.skipif(LANES != 16, reason="the table is for AVX-512: with fewer lanes few filters fill a register sooner")
@EVERY
def test_the_table_above_says_which_kernels_run(name):
    steps = [layer for layer in twin.twin_of(network(name).layers) if isinstance(layer, TwinConv)]
    ways = [tuple(map(type, (step.conv, step.kernel_gradient, step.input_gradient))) for step in steps]
    assert ways == NETWORKS[name][1]


def test_what_runs_instead_of_which_layers():
    kinds = lambda name: [type(layer).__name__ for layer in twin.twin_of(network(name).layers)]
    assert kinds("article in small") == ["TwinConv", "TwinConv", "Flatten", "TwinDense", "TwinDense"]
    assert kinds("pooling 3x3") == ["TwinConv", "TwinPool", "Flatten", "TwinDense", "TwinDense"]
    assert kinds("plain, softmax in a convolution")[:2] == ["InShards", "TwinPool"]


@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu", "gelu", "sigmoid"])
def test_an_activation_of_its_own_costs_nothing(activation):
    """A convolution and a dense layer run together with the activation layer behind them: the same bits."""
    own = lambda: layers.Activation(activation)
    between = [Pool(), Flatten()]
    inside = [Conv(8, 3, activation=activation, input_shape=(8, 8, 2)), *between, Dense(9, activation), Dense(10)]
    apart = [Conv(8, 3, input_shape=(8, 8, 2)), own(), *between, Dense(9), own(), Dense(10)]
    inside, apart = compiled(inside), compiled(apart)
    apart.set_weights(inside.get_weights())
    kinds = [[type(layer).__name__ for layer in twin.twin_of(model.chain)] for model in (inside, apart)]
    assert kinds[0][:-2] == kinds[1][: len(kinds[0]) - 2]
    x, y = batch_for(inside, FEW)
    results = [run_batch(model, x, y, fast=True) for model in (inside, apart)]
    np.testing.assert_array_equal(results[0].outputs, results[1].outputs)
    for one_of_them, other in zip(*(result.grads.values() for result in results), strict=True):
        assert_close(one_of_them, other)
    assert_same_pass(apart, x, y)


@pytest.mark.parametrize("closing", ["sigmoid", "softmax"])
def test_a_closing_activation_of_its_own_is_left_to_the_loss(closing):
    model = compiled([Conv(10, 3, input_shape=(5, 4, 2)), layers.Activation(closing)])
    assert [type(layer).__name__ for layer in twin.twin_of(model.chain)] == ["TwinConv"]


@EVERY
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_one_pass_equals_the_plain_path(name, shards):
    model = compiled(NETWORKS[name][0](), shards)
    assert_same_pass(model, *batch_for(model, FEW))


@EVERY
def test_gradients_pass_the_gate(name):
    model = random_biases(network(name))
    gates.fast_gate(model, count=12 if JIT else 3)
    x, _ = random_batch(3 * FEW, model.photo_shape)
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), model(x), rtol=0, atol=2e-6)
    gates.fast_gate(model, count=12 if JIT else 3)  # the buffers have seen other batches meanwhile


@EVERY
def test_predict_and_evaluate_equal_the_plain_path(name):
    model = network(name)
    x, y = batch_for(model, 11 if JIT else 3)
    plain = model(x)
    for batch_size in (1, 4, 11, 32) if JIT else (2, 3):
        assert_close(model.predict(x, batch_size=batch_size, verbose=0), plain)
        assert model.evaluate(x, y, batch_size=batch_size, verbose=0)[0] == pytest.approx(
            model.loss(y, plain), rel=1e-5
        )


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_batches_smaller_than_the_number_of_shards(count):
    model = compiled(article((5, 7), (12, 12, 1)), shards=4)
    assert_same_pass(model, *batch_for(model, count))


def test_batch_sizes_that_change():
    """Buffers of one size must not leak into a batch of another."""
    model = compiled(article(shape=(12, 12, 1)))
    for number, count in enumerate((8, 3, 17, 1, 8, 40, 2) if JIT else (3, 1, 4, 2)):
        assert_same_pass(model, *batch_for(model, count, seed=number))


@pytest.mark.parametrize("activation", ["relu", None])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_ties_and_black_photos(activation, value):
    """Of equal cells the first wins alone, as in the plain path; a black photo opens no ReLU by itself."""
    model = compiled(article((8, 32), (12, 12, 1), activation=activation))
    x, y = batch_for(model, 6)
    x[:] = value
    assert_same_pass(model, x, y)
    x[::2, 3:9, 3:9] = 0.5
    assert_same_pass(model, x, y)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])  # all cells tie, exactly at ReLU's kink
    assert_same_pass(model, x, y)


def test_dropout_draws_the_same_numbers_in_training():
    model = network("dropout")
    x, y = batch_for(model, 9)
    assert_same_pass(model, x, y, training=True, step=4)
    drawn, not_drawn = (run_batch(model, x, y, training=training, fast=True).loss for training in (True, False))
    assert drawn != not_drawn


@pytest.mark.parametrize("key", ["conv2d/kernel", "conv2d/bias", "conv2d_1/kernel", "conv2d_1/bias", "dense/kernel"])
def test_nan_in_the_weights_reaches_the_loss(key):
    model = compiled(article((8, 12), (12, 12, 1)))
    x, y = batch_for(model, 4)
    model.params[key].flat[1] = np.nan
    assert np.isnan(run_batch(model, x, y, fast=True).loss)
    assert np.isnan(model.predict(x, verbose=0)).any()
    with pytest.raises(DivergedError):
        model.fit(x, y, verbose=0)


@pytest.mark.parametrize("name", ["few filters", "pooled, odd", "kernel 5", "stride 2", "not pooled"])
def test_all_ways_back_agree(name):
    """Each way that can do a convolution, also where another one is taken."""
    step = twin.twin_of(network(name).layers)[0]
    y, cache = step.forward(random_batch(5, step.layer.input_shape)[0])
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    kernel, flat = step.layer.params["kernel"], dy.reshape(len(dy), step.conv.cells, -1)
    x = np.concatenate([cache.x, np.zeros(4 * step.conv.size, np.float32)])  # as much as any of them reaches beyond
    ways = SparseKernelGradient(step.conv), DenseKernelGradient(step.conv)
    wide = step.conv.widened("dy", flat)
    sparse, dense = (np.copy(way(flat, wide, x, cache.winners)) for way in ways)
    assert relative_error(sparse, dense) < 1e-6
    if step.layer.strides == (1, 1):
        ways = (way(step.conv, step.layer, step.pads) for way in (SparseInputGradient, TurnedConvolution))
        sparse, turned = (np.copy(way(dy, kernel, cache.winners)) for way in ways)
        assert relative_error(sparse, turned) < 1e-6


def test_ties_go_to_the_first_cell_as_in_the_plain_layers():
    """A photo of few grey values: most windows are ties, and black ones stand on ReLU's corner."""
    model = random_biases(network("article in small"))
    model.set_weights([w if w.ndim > 1 else 0 * w for w in model.get_weights()])
    x = np.random.default_rng(0).integers(0, 2, (12, 8, 8, 1)).astype(np.float32)
    x[:4] = 0
    y = np.arange(12) % 10
    plain, fast = (run_batch(model, x, y, fast=fast).grads for fast in (False, True))
    for key in plain:
        assert relative_error(plain[key], fast[key]) < 1e-5, key


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # from inf - inf, where the loops are not compiled
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_not_lost(value):
    model = random_biases(network("article in small"))
    x, _ = random_batch(2)
    x[1, 3, 4, 0] = value
    with twin.lend(model) as lent:
        outputs = forward(lent, x)[0]
    assert np.isfinite(outputs[0]).all()
    assert np.isnan(outputs[1]).any()


@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 16, LANES)])
def test_a_layer_that_was_built_for_float64(shape):
    """The vector kernels read the arrays' bytes as float32: they must never see others."""
    conv = layers.Conv2D(winograd.FILTERS, 3, padding="same", activation="relu")
    conv(np.zeros((1, *shape)))
    assert conv.params["kernel"].dtype == np.float64
    model = Sequential(
        [layers.Input(shape), conv, layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = random_batch(6, shape)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=0, atol=2e-6)
    plain, fast = (run_batch(model, x, y, fast=fast).grads for fast in (False, True))
    for key in plain:
        assert relative_error(plain[key], fast[key]) < 1e-5, key
