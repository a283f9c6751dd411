"""The fast twin in use: batches that change, threads, fits and changed models; and its kernels against plain loops.

What one pass computes is compared with the plain layers here over more shapes than in test_fused.py.
"""

import copy
import pickle
import threading

import numpy as np
import pytest

from cnn import layers
from cnn.errors import DivergedError
from cnn.fused import ConvPool, twin
from cnn.losses import SparseCategoricalCrossentropy
from cnn.models import Sequential
from cnn.optimizers import SGD
from kernels import reference
from kernels import relu_pool as fused
from kernels.simd import sparse_backward as sparse
from kernels.simd import vectors

JIT = True  # under NUMBA_DISABLE_JIT=1 the same tests run on smaller networks
Conv, Pool, Dense, Flatten, Dropout = layers.Conv2D, layers.MaxPooling2D, layers.Dense, layers.Flatten, layers.Dropout


def head(units=12):
    return [Flatten(), Dense(units, activation="relu"), Dense(10, activation="softmax")]


def article(filters=(32, 64), shape=(28, 28, 1), **options):
    first, second = filters
    options = {"padding": "same", "activation": "relu"} | options
    return [Conv(first, 3, input_shape=shape, **options), Pool(), Conv(second, 3, **options), Pool(), *head()]


# name: (layers, how many convolutions run in one step with their pooling)
NETWORKS = {
    "the article's": (lambda: article(), 2),
    "few filters": (lambda: article((8, 12), (12, 12, 1)), 2),
    "no activation": (lambda: article(activation=None, shape=(12, 12, 1)), 2),
    "no bias": (lambda: article(use_bias=False, shape=(12, 12, 1)), 2),
    "no bias, no activation": (lambda: article((8, 12), (12, 12, 2), use_bias=False, activation=None), 2),
    "odd size, three channels": (lambda: article(shape=(27, 29, 3)), 2),
    "valid padding": (lambda: article(shape=(14, 15, 1), padding="valid"), 2),
    "kernel 5": (lambda: [Conv(8, 5, padding="same", activation="relu", input_shape=(11, 12, 2)), Pool(), *head()], 1),
    "kernel 3x5, valid": (lambda: [Conv(8, (3, 5), activation="relu", input_shape=(11, 12, 32)), Pool(), *head()], 1),
    "stride 2": (
        lambda: [Conv(8, 3, strides=2, padding="same", activation="relu", input_shape=(13, 12, 32)), Pool(), *head()],
        1,
    ),
    "stride 2x1, valid": (
        lambda: [Conv(8, 3, strides=(2, 1), activation="relu", input_shape=(13, 12, 3)), Pool(), *head()],
        1,
    ),
    "64 channels": (
        lambda: [Conv(10, 3, padding="same", activation="relu", input_shape=(8, 9, 64)), Pool(), *head()],
        1,
    ),
    "96 channels, then 64": (lambda: [*article((64, 8), (8, 8, 96))], 2),
    "kernel 1": (lambda: [Conv(8, 1, activation="relu", input_shape=(6, 6, 32)), Pool(), *head()], 1),
    "pooling 3x3": (lambda: [Conv(8, 3, activation="relu", input_shape=(11, 11, 2)), Pool(3), *head()], 0),
    "pooling that overlaps": (
        lambda: [Conv(8, 3, activation="relu", input_shape=(9, 9, 2)), Pool(2, strides=1), *head()],
        0,
    ),
    "pooling that pads": (
        lambda: [Conv(8, 3, activation="relu", input_shape=(9, 9, 2)), Pool(2, padding="same"), *head()],
        0,
    ),
    "ReLU a layer of its own": (lambda: [Conv(8, 3, input_shape=(8, 8, 2)), layers.ReLU(), Pool(), *head()], 0),
    "softmax in a convolution": (lambda: [Conv(8, 3, activation="softmax", input_shape=(8, 8, 2)), Pool(), *head()], 0),
    "convolutions in a row": (
        lambda: [Conv(8, 3, input_shape=(9, 9, 1)), Conv(8, 3, activation="relu"), Pool(), *head()],
        1,
    ),
    "dropout": (
        lambda: [
            Conv(8, 3, activation="relu", input_shape=(8, 8, 1)),
            Pool(),
            Dropout(0.4),
            Flatten(),
            Dropout(0.3),
            Dense(10, activation="softmax"),
        ],
        1,
    ),
    "pooling first": (lambda: [Pool(input_shape=(12, 12, 1)), Conv(32, 3, activation="relu"), Pool(), *head()], 1),
    "no convolution": (lambda: [Flatten(input_shape=(7, 6, 1)), *head()[1:]], 0),
    "softmax a layer of its own": (lambda: [Flatten(input_shape=(7, 6, 1)), Dense(10), layers.Softmax()], 0),
    "dense without bias": (
        lambda: [Flatten(input_shape=(7, 6, 1)), Dense(9, use_bias=False), Dense(10, use_bias=False)],
        0,
    ),
    "dense before flatten": (
        lambda: [Dense(5, activation="relu", input_shape=(4, 4, 3)), Flatten(), Dense(10, activation="softmax")],
        0,
    ),
}
SMALL = (
    "few filters",
    "no bias, no activation",
    "pooling 3x3",
    "dropout",
    "no convolution",
    "softmax a layer of its own",
)
NAMES = list(NETWORKS) if JIT else SMALL


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
    fast = model.run_batch(x, y, fast=True, **options)
    plain = model.run_batch(x, y, fast=False, **options)
    assert fast.loss == pytest.approx(plain.loss, rel=1e-5)
    assert fast.correct == plain.correct
    assert fast.grads.keys() == plain.grads.keys() == model.params.keys()
    for key in plain.grads:
        assert_close(fast.grads[key], plain.grads[key], key)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_one_pass_equals_the_plain_path(name, shards):
    model = compiled(NETWORKS[name][0](), shards)
    assert_same_pass(model, *batch_for(model, 7))


@pytest.mark.parametrize("name", NAMES)
def test_predict_and_evaluate_equal_the_plain_path(name):
    model = compiled(NETWORKS[name][0]())
    x, y = batch_for(model, 11)
    plain = model(x)
    for batch_size in (1, 4, 11, 32):
        assert_close(model.predict(x, batch_size=batch_size, verbose=0), plain)
        assert model.evaluate(x, y, batch_size=batch_size, verbose=0)[0] == pytest.approx(
            model.loss(y, plain), rel=1e-5
        )


@pytest.mark.parametrize("name", NAMES)
def test_what_runs_as_one_step(name):
    """The table above tests the fused step only if the twin really uses it."""
    model = compiled(NETWORKS[name][0]())
    assert sum(isinstance(layer, ConvPool) for layer in twin(model.layers)) == NETWORKS[name][1]


@pytest.mark.skipif(not JIT, reason="vector code has no meaning in plain Python")
def test_the_article_skips_zeros():
    steps = [step for step in twin(compiled(article()).layers) if isinstance(step, ConvPool)]
    assert [step.skips_zeros for step in steps] == [True, True]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_batches_smaller_than_the_number_of_shards(count):
    model = compiled(NETWORKS["few filters"][0](), shards=4)
    assert_same_pass(model, *batch_for(model, count))


def test_batch_sizes_that_change():
    """Buffers of one size must not leak into a batch of another."""
    model = compiled(article(shape=(12, 12, 1)) if JIT else NETWORKS["few filters"][0]())
    for number, count in enumerate((8, 3, 17, 1, 8, 40 if JIT else 9, 2)):
        assert_same_pass(model, *batch_for(model, count, seed=number))


def test_many_blocks():
    """A batch that does not fit the cache at once is cut into blocks, the last one smaller."""
    model = compiled(article(shape=(20, 20, 1)) if JIT else NETWORKS["few filters"][0](), shards=1)
    count = 37 if JIT else 5
    if JIT:
        assert len(list(twin(model.layers)[0].blocks(count))) > 1
    assert_same_pass(model, *batch_for(model, count))


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
    model = compiled(NETWORKS["dropout"][0]())
    x, y = batch_for(model, 9)
    assert_same_pass(model, x, y, training=True, step=4)
    drawn, not_drawn = (model.run_batch(x, y, training=training, fast=True).loss for training in (True, False))
    assert drawn != not_drawn


@pytest.mark.parametrize("key", ["conv2d/kernel", "conv2d/bias", "conv2d_1/kernel", "conv2d_1/bias", "dense/kernel"])
def test_nan_in_the_weights_reaches_the_loss(key):
    model = compiled(article((8, 12), (12, 12, 1)))
    x, y = batch_for(model, 4)
    model.params[key].flat[1] = np.nan
    assert np.isnan(model.run_batch(x, y, fast=True).loss)
    assert np.isnan(model.predict(x, verbose=0)).any()
    with pytest.raises(DivergedError):
        model.fit(x, y, verbose=0)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("others", [-1.0, 1.0])
def test_nan_goes_through_pooling_from_any_place_of_its_window(place, others):
    z = np.full((1, 4, 4, 8), others, np.float32)
    z[0, place[0], place[1], 3] = np.nan
    y, _ = pooled(z, np.zeros(8, np.float32), 0)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 0, 3]]


def test_what_follows_a_fit_uses_the_new_weights_and_layers():
    model = compiled(article((8, 12), (12, 12, 1)))
    x, y = batch_for(model, 12)
    model.fit(x, y, batch_size=5, verbose=0)
    assert_close(model.predict(x, verbose=0), model(x))
    model.set_weights([w * np.float32(0.5) for w in model.get_weights()])
    assert_close(model.predict(x, verbose=0), model(x))
    assert_same_pass(model, x, y)
    model.pop()
    model.add(Dense(11, activation="relu"))
    model.add(Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    assert_same_pass(model, x, y)
    model.fit(x, y, batch_size=5, verbose=0)
    assert_close(model.predict(x, verbose=0), model(x))


def test_fit_takes_the_same_steps_as_the_plain_path():
    """Three epochs of SGD with the twin, and by hand from the plain gradients."""
    model, by_hand = (compiled(article((8, 12), (12, 12, 1))) for _ in range(2))
    model.optimizer = SGD(0.1)
    x, y = batch_for(model, 10)
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    for _ in range(3):
        for start in range(0, 10, 4):
            grads = by_hand.run_batch(x[start : start + 4], y[start : start + 4], fast=False).grads
            for key, value in by_hand.params.items():
                value -= np.float32(0.1) * grads[key]
    for key, value in by_hand.params.items():
        assert_close(model.params[key], value, key)


def in_threads(*tasks):
    """Run the tasks at once; raise what any of them raised."""
    results, errors = [None] * len(tasks), []

    def run(index):
        try:
            results[index] = tasks[index]()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=[index]) for index in range(len(tasks))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in running), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def test_two_threads_train_two_models():
    def train():
        model = compiled(article((8, 32), (12, 12, 1)))
        x, y = batch_for(model, 24)
        model.fit(x, y, batch_size=6, epochs=3, verbose=0)
        return model.get_weights()

    alone = train()
    for weights in in_threads(train, train):
        assert all(np.array_equal(a, b) for a, b in zip(weights, alone, strict=True))


def test_two_threads_predict_with_one_model():
    model = compiled(article((8, 32), (12, 12, 1)))
    photos = [batch_for(model, 40, seed=seed)[0] for seed in range(2)]
    alone = [model.predict(x, batch_size=7, verbose=0) for x in photos]
    for _ in range(3):
        together = in_threads(*(lambda x=x: model.predict(x, batch_size=7, verbose=0) for x in photos))
        assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def halved(layer):
    """The same kind of layer, but its outputs are half as large."""

    class Halved(type(layer)):
        def forward(self, x, training=False, rng=None):
            y, cache = super().forward(x, training, rng)
            return y / 2, cache

    layer.__class__ = Halved
    return layer


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_layer_of_the_users_own_kind_is_not_replaced(place):
    network = [Conv(8, 3, activation="relu", input_shape=(8, 8, 1)), Pool(), *head()]
    halved(network[place])
    model = compiled(network)
    x, _ = batch_for(model, 5)
    assert_close(model.predict(x, verbose=0), model(x))


def test_what_is_set_in_a_layer_after_a_pass_is_seen():
    model = compiled(article((8, 32), (12, 12, 1)))
    x, y = batch_for(model, 6)
    for index in (0, 2, 5):
        model.predict(x, verbose=0)
        model.layers[index].activation = layers.Linear()
        assert_close(model.predict(x, verbose=0), model(x))
    model.layers[0].name = "first"
    assert_same_pass(model, x, y)


def test_parameters_in_any_order_in_memory():
    """The vector kernels read neighbours: what lies otherwise is copied, and another shape refused."""
    model = compiled(article((32, 32), (16, 16, 1)))
    x, y = batch_for(model, 5)
    for layer in (model.layers[0], model.layers[2]):
        layer.params = {
            "kernel": np.asfortranarray(layer.params["kernel"]),
            "bias": np.repeat(layer.params["bias"], 2)[::2],
        }
        assert_same_pass(model, x, y)
    model.layers[2].params["bias"] = model.layers[2].params["bias"][:4]
    if JIT:
        with pytest.raises(
            ValueError, match=r'Conv2D "conv2d_1": expected kernel and bias of shapes .*\(32,\)\), got .*\(4,\)'
        ):
            model.predict(x, verbose=0)


def test_a_twin_that_comes_back_late_is_not_used_again():
    model = compiled(article((8, 12), (12, 12, 1)))
    x, _ = batch_for(model, 4)
    lent = model.twins.borrow(model)
    model.pop()
    model.add(Dense(4, activation="softmax"))
    assert_close(model.predict(x, verbose=0), model(x))
    model.twins.give_back(lent)
    assert_close(model.predict(x, verbose=0), model(x))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_a_model_answer_for_themselves(duplicate):
    model = compiled(article((8, 12), (12, 12, 1)))
    x, _ = batch_for(model, 4)
    before = model.predict(x, verbose=0)
    twin_of_it = duplicate(model)
    twin_of_it.layers = [*twin_of_it.layers]
    twin_of_it.pop()
    twin_of_it.add(Dense(10, activation="softmax"))
    assert_close(twin_of_it.predict(x, verbose=0), twin_of_it(x))
    assert np.array_equal(model.predict(x, verbose=0), before)


def test_a_pickle_holds_the_weights_and_not_what_passes_left():
    model = compiled(article((8, 12), (12, 12, 1)))
    model.predict(batch_for(model, 500)[0], batch_size=500, verbose=0)
    assert len(pickle.dumps(model)) < 2 * sum(w.nbytes for w in model.get_weights()) + 10_000


def test_float64_models_take_the_plain_path():
    model = compiled(article((8, 12), (12, 12, 1))).astype(np.float64)
    x, y = batch_for(model, 4)
    fast, plain = (model.run_batch(x.astype(np.float64), y, fast=choice) for choice in (True, False))
    for key in plain.grads:
        assert fast.grads[key].dtype == np.float64
        assert np.array_equal(fast.grads[key], plain.grads[key])


# ---- the kernels against their definitions in loops


def reference_pooled(z, bias, floor):
    """y = max(floor, max_pool_2x2(z + bias)), winners CLOSED where nothing is above the floor."""
    height, width = z.shape[1] // 2 * 2, z.shape[2] // 2 * 2
    largest, winners = reference.max_pool(z[:, :height, :width] + bias, (2, 2), (2, 2), (0, 0, 0, 0))
    closed = ~(largest > floor)
    return np.where(closed & ~np.isnan(largest), np.float32(floor), largest), np.where(closed, fused.CLOSED, winners)


def pooled(z, bias, floor):
    photos, height, width, filters = z.shape
    y = np.full((photos, height // 2, width // 2, filters), 99, np.float32)
    winners = np.full(y.shape, 99, np.uint8)
    fused.bias_relu_pool(y, winners, z, bias, np.float32(floor))
    return y, winners


def random_maps(shape, seed=1):
    """z with many ties, and a bias."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-3, 4, shape) / 4).astype(np.float32), (rng.integers(-2, 3, shape[3]) / 4).astype(np.float32)


SHAPES = [(2, 4, 6, 5), (1, 5, 7, 8), (3, 2, 2, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("floor", [0.0, -np.inf])
def test_bias_relu_pool_equals_loops(shape, floor):
    z, bias = random_maps(shape)
    y, winners = pooled(z, bias, floor)
    expected_y, expected_winners = reference_pooled(z, bias, floor)
    assert np.array_equal(y, expected_y)
    assert np.array_equal(winners, expected_winners)


@pytest.mark.parametrize("shape", SHAPES)
def test_unpool_and_bias_gradient_equal_loops(shape):
    z, bias = random_maps(shape)
    y, winners = pooled(z, bias, 0.0)
    dy = np.random.default_rng(2).standard_normal(y.shape, np.float32)
    expected_dz, expected_dbias = unpool_in_loops(dy, winners, shape), np.zeros(shape[3])
    dz = np.full(shape, 99, np.float32)
    fused.unpool(dz, dy, winners)
    assert np.array_equal(dz, expected_dz)
    dbias = np.full(shape[3], 99, np.float32)
    fused.bias_gradient(dbias, dy, winners)
    for place in np.ndindex(dy.shape):
        expected_dbias[place[3]] += dy[place] if winners[place] < fused.CLOSED else 0
    np.testing.assert_allclose(dbias, expected_dbias, rtol=1e-5, atol=1e-5)


def unpool_in_loops(dy, winners, shape, dtype=np.float32):
    """dz[n, 2p + u, 2q + v, f] = dy[n,p,q,f] for the winner (u, v), 0 elsewhere."""
    dz = np.zeros(shape, dtype)
    for n, p, q, f in np.ndindex(dy.shape):
        if winners[n, p, q, f] < fused.CLOSED:
            u, v = divmod(int(winners[n, p, q, f]), 2)
            dz[n, 2 * p + u, 2 * q + v, f] = dy[n, p, q, f]
    return dz


@pytest.mark.skipif(not JIT, reason="vector code has no meaning in plain Python")
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (6, 4)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0)])
@pytest.mark.parametrize("groups, filters", [(1, 3), (2, 2 * sparse.FILTERS + 8)])
def test_sparse_gradients_equal_the_products_in_float64(size, pads, groups, filters):
    """Against reference.im2col and col2im: dkernel = columns^T @ dz, dx = col2im(dz @ kernel^T)."""
    rng = np.random.default_rng(7)
    height, width, channels = size[0] + 2, size[1] + 2, groups * vectors.LANES
    x = rng.standard_normal((2, height, width, channels)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, channels, filters)).astype(np.float32)
    top, bottom, left, right = pads
    x_padded = np.ascontiguousarray(np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))))
    out_h, out_w = x_padded.shape[1] - 2, x_padded.shape[2] - 2
    dy = rng.standard_normal((2, out_h // 2, out_w // 2, filters)).astype(np.float32)
    winners = rng.integers(0, 5, dy.shape).astype(np.uint8)
    winners[0, 0, 0, :], winners[1, 0, 0, :] = fused.CLOSED, 3  # a window nobody won, and one that all won

    dz = unpool_in_loops(dy, winners, (2, out_h, out_w, filters), np.float64).reshape(-1, filters)
    columns = reference.im2col(x.astype(np.float64), (3, 3), (1, 1), pads)
    expected_dkernel = (columns.reshape(-1, 9 * channels).T @ dz).reshape(kernel.shape)
    dcolumns = dz @ kernel.reshape(-1, filters).T.astype(np.float64)
    expected_dx = reference.col2im(dcolumns.reshape(columns.shape), x.shape, (1, 1), pads)

    where = sparse.window_starts(*dy.shape[1:3], x_padded.shape[2] * channels, channels)
    dkernel = np.full((filters, 3, 3, channels), 99, np.float32)
    sparse.kernel_gradient(dkernel, dy, winners, x_padded, where)
    assert_close(dkernel.transpose(1, 2, 3, 0).astype(np.float64), expected_dkernel)
    by_lanes = np.ascontiguousarray(kernel.reshape(3, 3, groups, vectors.LANES, filters).transpose(2, 4, 0, 1, 3))
    dx, photo = np.full(x.shape, 99, np.float32), np.full(x_padded.shape[1:], 99, np.float32)
    sparse.input_gradient(dx, dy, winners, by_lanes, (top, left), photo)
    assert_close(dx.astype(np.float64), expected_dx)


@pytest.mark.skipif(not JIT, reason="vector code has no meaning in plain Python")
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (6, 4)])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_grey_kernel_gradient_equals_the_product_in_float64(size, groups):
    """One channel: dkernel = columns^T @ dz, the filters lying side by side."""
    rng = np.random.default_rng(8)
    filters = groups * vectors.LANES
    x_padded = rng.standard_normal((2, size[0] + 2, size[1] + 2, 1)).astype(np.float32)
    dy = rng.standard_normal((2, size[0] // 2, size[1] // 2, filters)).astype(np.float32)
    winners = rng.integers(0, 5, dy.shape).astype(np.uint8)
    dz = unpool_in_loops(dy, winners, (2, *size, filters), np.float64).reshape(-1, filters)
    columns = reference.im2col(x_padded.astype(np.float64), (3, 3), (1, 1), (0, 0, 0, 0))
    dkernel = np.full((3, 3, 1, filters), 99, np.float32)
    sparse.kernel_gradient_of_grey(dkernel, dy, winners, x_padded)
    assert_close(dkernel.astype(np.float64), (columns.reshape(-1, 9).T @ dz).reshape(dkernel.shape))
