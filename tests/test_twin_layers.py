"""The twins of Dense, MaxPooling2D and ReLU, the sum of the shards and what a shard draws: as the plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import checks, layers, utils
from cnn.training import step
from cnn.training.twin import Buffers, twin_of
from cnn.training.twin_layers import TwinDense, TwinPool, TwinReLU
from kernels import adam, threads
from kernels.dense import outer_into

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
    shape, window, strides = (whole(9), whole(9), whole(5)), (whole(4), whole(4)), (whole(3), whole(3))
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
    assert twin_of([own]) == [own]


def test_the_gradient_of_one_photo():
    x, dz = RNG.standard_normal(40).astype(np.float32), RNG.standard_normal(17).astype(np.float32)
    dkernel = np.full((40, 17), np.nan, np.float32)
    outer_into(dkernel, x, dz)
    np.testing.assert_array_equal(dkernel, np.multiply.outer(x, dz))


# ---- in all threads


@pytest.fixture(params=[1, 2, 3])
def count(request):
    threads.set_threads(request.param)
    yield request.param
    threads.set_threads(None)


@pytest.mark.parametrize(("size", "least"), [(1, 1), (10, 100), (1000, 300), (1001, 1), (7, 2)])
def test_slices_hold_each_number_once(count, size, least):
    parts = []
    threads.run_in_slices(parts.append, size, least)
    parts.sort(key=lambda part: part.start)
    assert [k for part in parts for k in range(size)[part]] == list(range(size))
    assert len(parts) <= count and (len(parts) == 1 or min(part.stop - part.start for part in parts) >= least)


def test_adam_in_slices(count, monkeypatch):
    arrays = [RNG.standard_normal((50, 41)).astype(np.float32) for _ in range(4)]
    arrays[3] = abs(arrays[3])
    whole = [array.copy() for array in arrays]
    adam.adam_update(*whole, 1e-3, 0.9, 0.999, 1e-7)
    monkeypatch.setattr(adam, "SLICE", 100)
    adam.adam_update(*arrays, 1e-3, 0.9, 0.999, 1e-7)
    for sliced, right in zip(arrays, whole, strict=True):
        np.testing.assert_array_equal(sliced, right)


def test_shards_are_added_in_their_order(count, monkeypatch):
    monkeypatch.setattr(step, "SLICE", 300)
    parts = [(RNG.standard_normal((13, 40)) * 10.0**k).astype(np.float32) for k in range(5)]
    parts[1], parts[3] = np.asfortranarray(parts[1]), parts[3][::-1]
    right = (((parts[0] + parts[1]) + parts[2]) + parts[3]) + parts[4]
    first_in_columns = [np.asfortranarray(parts[0]), *parts[1:]]
    for grads in (parts, first_in_columns):
        np.testing.assert_array_equal(step._sum(grads), right, strict=True)


# ---- what a shard draws, what a photo holds


def test_a_shard_draws_its_part_of_the_whole_batch():
    whole, alone = np.random.default_rng(4), [utils.ShardOfDraws(np.random.default_rng(4), 9, part) for part in SHARDS]
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
