"""The twins of AveragePooling2D, ZeroPadding2D and UpSampling2D: the plain layers' numbers."""

import gates
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_twin import assert_close, compiled, head
from test_twin_layers import assert_same_bits, built

from cnn import layers
from cnn.training import twin
from cnn.training.twin import Buffers
from cnn.training.twin_maps import TwinAveragePool, TwinUpSampling, TwinZeroPadding
from kernels import average_pooling, upsampling


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_means_of_any_window(data):
    """Windows that overlap, skip and hang over; whole numbers in windows of 1, 2, 4 ... cells are exact."""
    whole = lambda high: data.draw(st.integers(1, high))
    shape, window, strides = (whole(9), whole(9), whole(5)), (whole(4), whole(4)), (whole(3), whole(3))
    padding = data.draw(st.sampled_from(["same", "valid"]))
    if padding == "valid" and (shape[0] < window[0] or shape[1] < window[1]):
        return
    plain = built(layers.AveragePooling2D(window, strides, padding), shape)
    fast = TwinAveragePool(plain, Buffers())
    for photos in (2, 1, 3):
        x = np.random.default_rng(whole(99)).choice([0, 1, -2, 0.5, np.nan, np.inf], (photos, *shape))
        (y, cache), (y_fast, cache_fast) = plain.forward(x.astype(np.float32)), fast.forward(x.astype(np.float32))
        np.testing.assert_array_equal(y_fast, y, strict=True)
        dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
        np.testing.assert_allclose(fast.backward(dy, cache_fast)[0], plain.backward(dy, cache)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("padding", [1, (2, 0), ((0, 3), (1, 2))])
def test_padding(padding):
    plain = built(layers.ZeroPadding2D(padding), (4, 5, 3))
    fast = TwinZeroPadding(plain, Buffers())
    for photos in (3, 1, 4):
        assert_same_bits(plain, fast, np.random.default_rng(photos).random((photos, 4, 5, 3), np.float32))


@pytest.mark.parametrize("size", [1, 2, (3, 1), (2, 4)])
def test_cells_repeated(size):
    plain = built(layers.UpSampling2D(size), (4, 5, 3))
    fast = TwinUpSampling(plain, Buffers())
    for photos in (3, 1, 4):
        x = np.random.default_rng(photos).random((photos, 4, 5, 3), np.float32)
        (y, cache), (y_fast, cache_fast) = plain.forward(x), fast.forward(x)
        np.testing.assert_array_equal(y_fast, y, strict=True)
        dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
        assert_close(fast.backward(dy, cache_fast)[0], plain.backward(dy, cache)[0])


def test_bilinear_cells_run_as_they_are():
    model = compiled([layers.UpSampling2D(2, interpolation="bilinear", input_shape=(4, 4, 2)), *head()])
    assert type(twin.twin_of(model.chain)[0]).__name__ == "InShards"


def test_in_a_network():
    model = compiled(
        [
            *(layers.ZeroPadding2D(2, input_shape=(8, 8, 1)), layers.Conv2D(6, 5, activation="tanh")),
            *(layers.AveragePooling2D(), layers.Reshape((4, 4, 6)), layers.Conv2D(5, 3, activation="relu")),
            *(layers.AveragePooling2D(2, 1), layers.ZeroPadding2D(1), layers.UpSampling2D(), *head()),
        ]
    )
    kinds = [type(layer).__name__ for layer in twin.twin_of(model.chain)]
    assert "InShards" not in kinds and kinds.count("TwinAveragePool") == 2
    gates.fast_gate(model)


def test_a_cell_forgotten_on_the_way_back_is_found(monkeypatch):
    original = upsampling.repeat_backward
    monkeypatch.setattr(upsampling, "repeat_backward", lambda dx, dy, size: original(dx, dy[:, ::2].copy(), size))
    with pytest.raises(AssertionError):
        test_cells_repeated(2)


def test_a_fault_is_found(monkeypatch):
    original = average_pooling.average_pool_backward
    monkeypatch.setattr(
        average_pooling, "average_pool_backward", lambda dx, *rest: (original(dx, *rest), dx[:, -1].fill(0))
    )
    plain = built(layers.AveragePooling2D(), (4, 4, 1))
    fast, dy = TwinAveragePool(plain, Buffers()), np.ones((2, 2, 2, 1), np.float32)
    with pytest.raises(AssertionError):
        assert_close(fast.backward(dy, ())[0], plain.backward(dy, plain.forward(np.ones((2, 4, 4, 1)))[1])[0])
