"""The twins of Dense, MaxPooling2D and ReLU, the sum of the shards and what a shard draws: as the plain ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import checks, layers, utils
from cnn.training.twin import Buffers, twin_of
from cnn.training.twin_layers import InShards, TwinDense, TwinPool, TwinReLU
from cnn.world import Share
from kernels import adam, elementwise, threads
from kernels.simd import dense as simd
from kernels.simd.vectors import LANES

RNG = np.random.default_rng(0)


def built(layer, shape):
    layer.build(shape, np.random.default_rng(1))
    return layer


def assert_same_bits(plain, twin, x, seed=0):
    """y, dx and gradients of one pass."""
    (y, cache), (y_twin, cache_twin) = plain.forward(x), twin.forward(x)
    np.testing.assert_array_equal(y_twin, y, strict=True)
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32)
    (dx, grads), (dx_twin, grads_twin) = plain.backward(dy, cache), twin.backward(dy, cache_twin)
    np.testing.assert_array_equal(dx_twin, dx, strict=True)
    assert grads.keys() == grads_twin.keys()
    for key, grad in grads.items():
        np.testing.assert_allclose(grads_twin[key], grad, rtol=0, atol=1e-5, err_msg=key)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_pooling_of_any_window(data):
    """Windows that overlap, skip and hang over; ties, infinities and NaN; batches that grow and shrink."""
    whole = lambda high: data.draw(st.integers(1, high))
    channels = data.draw(st.sampled_from([1, 2, 5, LANES, LANES + 1, 2 * LANES, 3 * LANES + 2]))
    shape, window, strides = (whole(9), whole(9), channels), (whole(4), whole(4)), (whole(3), whole(3))
    padding = data.draw(st.sampled_from(["same", "valid"]))
    if padding == "valid" and (shape[0] < window[0] or shape[1] < window[1]):
        return
    plain = built(layers.MaxPooling2D(window, strides, padding), shape)
    twin = TwinPool(plain, Buffers())
    for photos in (2, 1, 3):
        x = np.random.default_rng(whole(99)).choice([0, 1, -2, 0.5, np.nan, -np.inf, np.inf], (photos, *shape))
        assert_same_bits(plain, twin, x.astype(np.float32))


def test_relu():
    plain = built(layers.ReLU(), (3, 4))
    twin = TwinReLU(plain, Buffers())
    for photos in (4, 2, 5):
        x = RNG.choice([0, -0.0, 1, -2, 1e-45, np.nan, np.inf, -np.inf], (photos, 3, 4)).astype(np.float32)
        assert_same_bits(plain, twin, x)


@pytest.mark.parametrize("activation", ["relu", None, "softmax"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense(activation, use_bias):
    plain = built(layers.Dense(7, activation, use_bias), (30,))
    twin = TwinDense(plain, plain.activation, Buffers())
    for photos in (3, 1, 2, 8):
        x = RNG.standard_normal((photos, 30)).astype(np.float32)
        (y, cache), (y_twin, cache_twin) = plain.forward(x), twin.forward(x)
        np.testing.assert_allclose(y_twin, y, rtol=0, atol=1e-6)
        dy = RNG.standard_normal(y.shape).astype(np.float32)
        (dx, grads), (dx_twin, grads_twin) = plain.backward(dy, cache), twin.backward(dy, cache_twin)
        np.testing.assert_allclose(dx_twin, dx, rtol=0, atol=1e-5)
        for key, grad in grads.items():
            np.testing.assert_allclose(grads_twin[key], grad, rtol=0, atol=1e-5, err_msg=key)
        assert twin.backward(dy, cache_twin, need_dx=False)[0] is None


def test_a_subclass_is_not_replaced():
    class Own(layers.ReLU):
        pass

    own = built(Own(), (3,))
    (stand_in,) = twin_of([own])
    assert type(stand_in) is InShards and stand_in.layer is own


@pytest.mark.parametrize("bounds", [None, [0, 5], [0, 2, 5], [0, 1, 2, 3, 4, 5]])
def test_a_layer_without_a_twin_in_shards(bounds):
    """Outputs, dx and what it draws are those of the whole batch; gradients those of the shards, in their order."""
    draw = lambda part: utils.ShardOfDraws(np.random.default_rng(3), part)
    x, dy = (RNG.standard_normal((5, size)).astype(np.float32) for size in (6, 4))
    for layer in (built(layers.Dense(4), (6,)), built(layers.Dropout(0.5), (6,))):
        stand_in = InShards(layer, Buffers())
        stand_in.buffer.share = bounds and Share([slice(*pair) for pair in pairwise(bounds)])
        y, cache = stand_in.forward(x, True, draw(slice(0, 5)))
        right, right_cache = layer.forward(x, True, draw(slice(0, 5)))
        np.testing.assert_allclose(y, right, rtol=1e-6)
        dx, grads = stand_in.backward(dy[:, : y.shape[1]] if layer.params else x, cache)
        right_dx, _ = layer.backward(dy if layer.params else x, right_cache)
        np.testing.assert_allclose(dx, right_dx, rtol=1e-6)
        if layer.params:
            pairs = list(pairwise(bounds or [0, 5]))
            total = layer.backward(dy[slice(*pairs[0])], layer.forward(x[slice(*pairs[0])])[1])[1]["kernel"]
            for first, last in pairs[1:]:
                total = total + layer.backward(dy[first:last], layer.forward(x[first:last])[1])[1]["kernel"]
            np.testing.assert_array_equal(grads["kernel"], total)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_products_of_any_size(data):
    """Of whole numbers, whose sums are exact: tiles that cover numbers again, blocks, parts, both orders."""
    whole = lambda low, high: data.draw(st.integers(low, high))
    rows, columns, depth, parts = whole(simd.ROWS, 40), whole(LANES, 5 * LANES), whole(1, 40), whole(1, 4)
    cuts = sorted(data.draw(st.sets(st.integers(1, depth), max_size=3)) - {depth})
    blocks, transposed = np.array([0, *cuts, depth]), data.draw(st.booleans())
    rng = np.random.default_rng(whole(0, 99))
    left, right = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((rows, depth), (depth, columns)))
    out = np.full((rows, columns), np.nan, np.float32)
    panels = np.full((parts, simd.room(np.diff(blocks).max())), np.nan, np.float32)
    simd.multiply(out, np.ascontiguousarray(left.T) if transposed else left, right, transposed, panels, blocks)
    np.testing.assert_array_equal(out, left @ right)


def test_a_product_adds_its_blocks_in_their_order():
    left, right = (RNG.standard_normal(shape).astype(np.float32) for shape in ((24, 60), (60, 50)))
    blocks = [np.array(bounds) for bounds in ([0, 20, 45, 60], [0, 20], [0, 25], [0, 15])]
    panels, outs = np.empty((1, simd.room(60)), np.float32), [np.empty((24, 50), np.float32) for _ in blocks]
    for out, some, (first, last) in zip(outs, blocks, [(0, 60), (0, 20), (20, 45), (45, 60)], strict=True):
        simd.multiply(out, np.ascontiguousarray(left[:, first:last]), right[first:last], False, panels, some)
    np.testing.assert_array_equal(outs[0], outs[1] + outs[2] + outs[3])


def product(left, right, depth, parts=1):
    """left @ right in blocks of so many numbers."""
    out = np.full((len(left), right.shape[1]), np.nan, np.float32)
    bounds = np.array([*range(0, len(right), depth), len(right)])
    simd.multiply(out, left, right, False, np.full((parts, simd.room(depth)), np.nan, np.float32), bounds)
    return out


def in_narrow_parts(left, right, depth):
    """The same, with too few columns at a time for a list."""
    whole = np.empty((len(left), right.shape[1]), np.float32)
    for c in [*range(0, right.shape[1] - LANES, LANES), right.shape[1] - LANES]:
        whole[:, c : c + LANES] = product(left, np.ascontiguousarray(right[:, c : c + LANES]), depth)
    return whole


@pytest.mark.parametrize("zeros", [0.45, 0.8, 1.0])
@pytest.mark.parametrize(("rows", "depth"), [(8, 40), (45, 128), (64, 130)])
def test_a_product_without_its_zeros_is_the_same_bits(zeros, rows, depth):
    left = RNG.standard_normal((rows, 200)).astype(np.float32)
    left[RNG.random(left.shape) < zeros] = 0
    right = RNG.standard_normal((200, simd.MANY + 2 * LANES + 5)).astype(np.float32)
    right[3] = left[3, 4] = -0.0
    narrow = in_narrow_parts(left, right, depth)
    for parts in (1, 2):
        np.testing.assert_array_equal(product(left, right, depth, parts), narrow)
    np.testing.assert_allclose(narrow, left @ right, rtol=0, atol=1e-4)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [(0, 0), (70, simd.MANY - 1), (149, -1)])
def test_zero_times_infinity_is_not_left_out(number, place):
    left, right = np.zeros((16, 150), np.float32), np.ones((150, simd.MANY + LANES + 7), np.float32)
    left[::3, ::4], right[place] = 2, number
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(product(left, right, 128), left @ right)


def test_not_a_number_on_the_left_is_no_zero():
    left, right = np.zeros((16, 30), np.float32), np.ones((30, simd.MANY), np.float32)
    left[5, 6] = np.nan
    np.testing.assert_array_equal(product(left, right, 128), left @ right)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (16, 16), (33, 17)])
def test_transpose(shape):
    a = RNG.standard_normal(shape).astype(np.float32)
    out = np.empty(shape[::-1], np.float32)
    simd.transpose(out, a)
    np.testing.assert_array_equal(out, a.T)


# ---- in all threads


@pytest.fixture(params=[1, 2, 3])
def count(request):
    threads.set_threads(request.param)
    yield request.param
    threads.set_threads(None)


def test_adam_in_any_number_of_threads(count):
    arrays = [RNG.standard_normal((300, 141)).astype(np.float32) for _ in range(4)]
    arrays[3] = abs(arrays[3])
    right = [array.copy() for array in arrays]
    adam.adam_update(*arrays, 1e-3, 0.9, 0.999, 1e-7)
    threads.set_threads(1)
    adam.adam_update(*right, 1e-3, 0.9, 0.999, 1e-7)
    for array, expected in zip(arrays, right, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_parts_are_added_in_their_order(count):
    parts = np.stack([RNG.standard_normal((130, 140)) * 10.0**k for k in range(5)]).astype(np.float32)
    right = (((parts[0] + parts[1]) + parts[2]) + parts[3]) + parts[4]
    np.testing.assert_array_equal(elementwise.sum_of(parts), right, strict=True)


# ---- what a shard draws, what a photo holds


def test_a_shard_draws_its_part_of_the_whole_batch():
    whole, *alone = (utils.ShardOfDraws(np.random.default_rng(4), part) for part in (slice(0, 9), *SHARDS))
    for shape in ((3, 2), (5,), (1, 1, 4)):  # a layer may draw more than once
        drawn = [rng.random((part.stop - part.start, *shape)) for rng, part in zip(alone, SHARDS, strict=True)]
        np.testing.assert_array_equal(np.concatenate(drawn), whole.random((9, *shape)))


SHARDS = [slice(0, 2), slice(2, 6), slice(6, 9)]


@pytest.mark.parametrize("photo", [0, 333, 334, 999])
def test_a_number_that_is_none_is_found_in_any_photo(photo):
    x = np.zeros((1000, 28, 28, 1), np.float32)
    x[photo, 27, 3, 0] = np.nan
    with pytest.raises(ValueError, match=rf"got nan at x\[{photo}, 27, 3, 0\]"):
        checks.inputs("here", x, (28, 28, 1))
