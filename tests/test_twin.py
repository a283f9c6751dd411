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
from cnn.training.step import run_batch
from cnn.training.twin import InRegisters, SkippingZeros, SkippingZerosOfGrey, ThroughColumns, TwinConvPool, Winograd
from kernels.simd import conv_pool, winograd
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


# How the twin must compute a convolution and its pooling, forward and backward.
COLUMNS, BOTH_COLUMNS = ThroughColumns, (ThroughColumns, ThroughColumns)
NARROW = InRegisters if conv_pool.TILE <= 3 else ThroughColumns  # pooled maps of 3 to 6 columns: it depends on the tile
SAME = {"padding": "same"}
# name: (layers, for each convolution that runs in one step with its pooling the two ways)
NETWORKS = {
    "Winograd, in registers, grey: the article's": (
        article,
        [(InRegisters, SkippingZerosOfGrey), (Winograd, SkippingZeros)],
    ),
    "Winograd": (lambda: one(2 * winograd.FILTERS, 3, (15, 14, LANES), **SAME), [(Winograd, SkippingZeros)]),
    "Winograd, valid": (
        lambda: one(winograd.FILTERS, 3, (17, 20, 2 * LANES), activation=None),
        [(Winograd, SkippingZeros)],
    ),
    "Winograd behind three channels, odd size": (
        lambda: article(shape=(27, 29, 3)),
        [(InRegisters, COLUMNS), (Winograd, SkippingZeros)],
    ),
    "in registers": (lambda: one(LANES, (2, 3), (16, 19, 3), use_bias=False), [(InRegisters, COLUMNS)]),
    "in registers, stride 2": (
        lambda: one(LANES, 3, (10, 31, 2), strides=(1, 2), activation=None, **SAME),
        [(InRegisters, COLUMNS)],
    ),
    "in registers, no activation": (
        lambda: article(activation=None, shape=(14, 14, 1)),
        [(InRegisters, SkippingZerosOfGrey), (NARROW, SkippingZeros)],
    ),
    "in registers, no bias": (
        lambda: article(use_bias=False, shape=(14, 15, 1)),
        [(InRegisters, SkippingZerosOfGrey), (NARROW, SkippingZeros)],
    ),
    "grey, article in small": (
        lambda: article((LANES, 6), (8, 8, 1)),
        [(NARROW, SkippingZerosOfGrey), (COLUMNS, SkippingZeros)],
    ),
    "grey, valid": (
        lambda: article(shape=(14, 15, 1), padding="valid"),
        [(NARROW, SkippingZerosOfGrey), (COLUMNS, SkippingZeros)],
    ),
    "grey, pooling first": (
        lambda: [Pool(input_shape=(12, 12, 1)), Conv(32, 3, activation="relu"), Pool(), *head()],
        [(COLUMNS, SkippingZerosOfGrey)],
    ),
    "skips zeros, groups of channels": (lambda: one(5, 3, (6, 6, 2 * LANES), **SAME), [(COLUMNS, SkippingZeros)]),
    "skips zeros, valid": (lambda: one(3, 3, (9, 8, LANES)), [(COLUMNS, SkippingZeros)]),
    "skips zeros, odd": (lambda: one(3, 3, (7, 9, LANES), **SAME), [(COLUMNS, SkippingZeros)]),
    "skips zeros, no activation": (
        lambda: one(3, 3, (8, 8, LANES), activation=None, **SAME),
        [(COLUMNS, SkippingZeros)],
    ),
    "skips zeros, second": (
        lambda: [Conv(LANES, 1, input_shape=(8, 8, 2)), Conv(3, 3, **SAME), Pool(), *head()],
        [(COLUMNS, SkippingZeros)],
    ),
    "skips zeros, 64 channels": (lambda: one(10, 3, (8, 9, 64), **SAME), [(COLUMNS, SkippingZeros)]),
    "skips zeros, 96 channels, then 64": (
        lambda: article((64, 8), (8, 8, 96)),
        [(NARROW, SkippingZeros), (COLUMNS, SkippingZeros)],
    ),
    "columns, few filters": (lambda: article((5, 7), (12, 12, 1)), [BOTH_COLUMNS, BOTH_COLUMNS]),
    "columns, no bias, no activation": (
        lambda: article((5, 7), (12, 12, 2), use_bias=False, activation=None),
        [BOTH_COLUMNS, BOTH_COLUMNS],
    ),
    "columns, no bias": (lambda: one(3, 3, (8, 8, 1), use_bias=False), [BOTH_COLUMNS]),
    "columns, odd maps": (lambda: one(3, 3, (7, 9, 2), **SAME), [BOTH_COLUMNS]),
    "columns, kernel 1": (lambda: one(10, 1, (6, 6, 32)), [BOTH_COLUMNS]),
    "columns, kernel 5": (lambda: one(10, 5, (11, 12, 2), **SAME), [BOTH_COLUMNS]),
    "columns, kernel 5x2": (lambda: one(3, (5, 2), (8, 9, 2), activation=None, **SAME), [BOTH_COLUMNS]),
    "columns, kernel 3x5, valid": (lambda: one(10, (3, 5), (11, 12, 32)), [BOTH_COLUMNS]),
    "columns, stride 2": (lambda: one(10, 3, (13, 12, 32), strides=2, **SAME), [BOTH_COLUMNS]),
    "columns, stride 2, odd": (lambda: one(3, 3, (9, 9, 2), strides=2, **SAME), [BOTH_COLUMNS]),
    "columns, stride 2x1, valid": (lambda: one(10, 3, (13, 12, 3), strides=(2, 1)), [BOTH_COLUMNS]),
    "columns, convolutions in a row": (
        lambda: [Conv(5, 3, input_shape=(9, 9, 1)), Conv(8, 3, activation="relu"), Pool(), *head()],
        [BOTH_COLUMNS],
    ),
    "columns, dropout": (
        lambda: [
            Conv(5, 3, activation="relu", input_shape=(8, 8, 1)),
            *(Pool(), Dropout(0.4), Flatten(), Dropout(0.3), Dense(10, activation="softmax")),
        ],
        [BOTH_COLUMNS],
    ),
    "plain, pooling 3x3": (lambda: one(8, 3, (11, 11, 2), Pool(3)), []),
    "plain, pooling that overlaps": (lambda: one(8, 3, (9, 9, 2), Pool(2, strides=1)), []),
    "plain, pooling that overlaps and pads": (lambda: one(3, 3, (8, 8, 1), Pool(3, strides=2, padding="same")), []),
    "plain, pooling that pads": (lambda: one(8, 3, (9, 9, 2), Pool(2, padding="same")), []),
    "plain, ReLU a layer of its own": (lambda: [Conv(8, 3, input_shape=(8, 8, 2)), layers.ReLU(), Pool(), *head()], []),
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
    return rng.random((count, *model.input_shape), np.float32), rng.integers(0, 10, count)


def assert_close(fast, plain, what=""):
    """Equal to float32 rounding of sums of a few thousand terms, measured against the largest number in the tensor."""
    assert fast.dtype == plain.dtype and fast.shape == plain.shape, what
    np.testing.assert_allclose(fast, plain, rtol=0, atol=2e-5 * max(np.abs(plain).max(), 1e-6), err_msg=what)


def assert_same_pass(model, x, y, **options):
    fast = run_batch(model, x, y, fast=True, **options)
    plain = run_batch(model, x, y, fast=False, **options)
    assert fast.loss == pytest.approx(plain.loss, rel=1e-5)
    assert fast.correct == plain.correct
    assert fast.grads.keys() == plain.grads.keys() == model.params.keys()
    for key in plain.grads:
        assert_close(fast.grads[key], plain.grads[key], key)


@EVERY
def test_the_table_above_says_which_kernels_run(name):
    steps = [layer for layer in twin.twin_of(network(name).layers) if isinstance(layer, TwinConvPool)]
    assert [(type(step.forward_way), type(step.backward_way)) for step in steps] == NETWORKS[name][1]


def test_what_runs_instead_of_which_layers():
    kinds = lambda name: [type(layer).__name__ for layer in twin.twin_of(network(name).layers)]
    assert kinds("grey, article in small") == ["TwinConvPool", "TwinConvPool", "Flatten", "TwinDense", "TwinDense"]
    assert kinds("plain, pooling 3x3") == ["Conv2D", "TwinPool", "Flatten", "TwinDense", "TwinDense"]


@EVERY
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_one_pass_equals_the_plain_path(name, shards):
    model = compiled(NETWORKS[name][0](), shards)
    assert_same_pass(model, *batch_for(model, FEW))


@EVERY
def test_gradients_pass_the_gate(name):
    model = random_biases(network(name))
    gates.fast_gate(model, count=12 if JIT else 3)
    x, _ = random_batch(3 * FEW, model.input_shape)
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


def test_many_blocks(monkeypatch):
    """A batch that does not fit the cache at once is cut into blocks, the last one smaller."""
    monkeypatch.setattr(twin, "BLOCK_BYTES", 2**17)
    model = compiled(article((5, 7), (20, 20, 1)), shards=1)
    step = twin.twin_of(model.layers)[0]
    assert [block.stop - block.start for block, _, _ in step.forward_way.blocks(13)] == [5, 5, 3]
    assert_same_pass(model, *batch_for(model, 13))


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
    model = network("columns, dropout")
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


def test_both_ways_back_agree():
    step = twin.twin_of(network("skips zeros, odd").layers)[0]
    x, _ = random_batch(5, (7, 9, LANES))
    y, cache = step.forward(x)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    columns = ThroughColumns(step.conv, step.buffer)
    through = [np.copy(part) for part in columns.backward(dy, cache, True)]
    for a, b in zip(SkippingZeros(step.conv, step.buffer).backward(dy, cache, True), through, strict=True):
        assert relative_error(a, b) < 1e-6
    assert columns.backward(dy, cache, False)[1] is None


def test_ties_go_to_the_first_cell_as_in_the_plain_layers():
    """A photo of few grey values: most windows are ties, and black ones stand on ReLU's corner."""
    model = random_biases(network("grey, article in small"))
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
    model = random_biases(network("grey, article in small"))
    x, _ = random_batch(2)
    x[1, 3, 4, 0] = value
    with twin.lend(model) as (lent,):
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
