"""The twins of DepthwiseConv2D and SeparableConv2D: the plain layers' numbers, and kernels that are what they say."""

from itertools import pairwise

import gates
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernel_faults import changed
from test_twin import FEW, assert_close, assert_same_pass, batch_for, compiled, head
from test_twin_layers import built
from test_vector_kernels import assert_text_agrees, whole

from cnn import layers
from cnn.training import twin
from cnn.training.step import run_batch
from cnn.training.twin import Buffers, TwinConv
from cnn.training.twin_depthwise import TwinDepthwise
from cnn.world import Share
from kernels import reference, threads
from kernels.simd import depthwise as simd
from kernels.simd.vectors import LANES

Depthwise, Separable, Pool = layers.DepthwiseConv2D, layers.SeparableConv2D, layers.MaxPooling2D
JIT = not numba.config.DISABLE_JIT
SAME = {"padding": "same"}


def kinds(model):
    return [type(layer).__name__ for layer in twin.twin_of(model.chain)]


# ---- against the plain layers


@settings(deadline=None, max_examples=80 if JIT else 15)
@given(st.data())
def test_any_window(data):
    """y, dx and gradients of one layer: channels around those of a register, batches that grow and shrink, shards."""
    draw, whole = data.draw, lambda high: data.draw(st.integers(1, high))
    channels = draw(st.sampled_from([1, 3, LANES - 1, LANES, LANES + 1, 2 * LANES, 3 * LANES, 4 * LANES + 2]))
    shape, window, strides = (whole(9), whole(9), channels), (whole(5), whole(5)), (whole(3), whole(3))
    padding, has_bias = draw(st.sampled_from(["same", "valid"])), draw(st.booleans())
    if padding == "valid" and (shape[0] < window[0] or shape[1] < window[1]):
        return
    activation = draw(st.sampled_from(["relu", None]))
    plain = built(Depthwise(window, strides, padding, activation=activation, use_bias=has_bias), shape)
    rng = np.random.default_rng(whole(99))
    plain.set_weights([rng.standard_normal(w.shape).astype(np.float32) for w in plain.get_weights()])
    fast = TwinDepthwise(plain, activation == "relu", Buffers())
    for photos in (2, 1, 3):
        cuts = np.linspace(0, photos, draw(st.integers(1, photos)) + 1).astype(int).tolist()
        fast.buffer.share = Share([slice(*pair) for pair in pairwise(cuts)])
        x = rng.standard_normal((photos, *shape)).astype(np.float32)
        (y, cache), (y_fast, cache_fast) = plain.forward(x), fast.forward(x)
        assert_close(y_fast, y)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        dy *= abs(y) > 1e-4  # at ReLU's corner rounding decides
        (dx, grads), (dx_fast, grads_fast) = plain.backward(dy, cache), fast.backward(dy, cache_fast)
        assert_close(dx_fast, dx)
        assert fast.backward(dy, cache_fast, need_dx=False)[0] is None
        assert grads_fast.keys() == grads.keys()
        for key, grad in grads.items():
            assert_close(grads_fast[key], grad, key)


def first(channels, shape=(8, 9)):
    """A convolution that makes so many channels, whose gradients show dx of what is behind it."""
    return layers.Conv2D(channels, 1, input_shape=(*shape, 2))


NETWORKS = {  # name: (layers, what runs)
    "separable, pooled": (
        lambda: [first(LANES), Separable(5, 3, activation="relu", **SAME), Pool(), *head()],
        ["TwinConv", "TwinDepthwise", "TwinConv"],
    ),
    "separable, not pooled": (
        lambda: [first(LANES + 3), Separable(2 * LANES, (3, 2), 2, activation="relu", use_bias=False), *head()],
        ["TwinConv", "TwinDepthwise", "TwinConv"],
    ),
    "separable, first of all": (
        lambda: [Separable(6, 5, input_shape=(8, 9, 2), activation="gelu", **SAME), Pool(3), *head()],
        ["TwinDepthwise", "TwinConv", "TwinElementwise", "TwinPool"],
    ),
    "separable, normalized": (
        lambda: [
            first(LANES),
            *(Separable(8, 3, **SAME, use_bias=False), layers.BatchNormalization(), layers.ReLU(), Pool(), *head()),
        ],
        ["TwinConv", "TwinDepthwise", "NormalizedConv", "TwinNormalization"],
    ),
    "depthwise, normalized": (
        lambda: [
            first(LANES),
            *(Depthwise(3, **SAME, use_bias=False), layers.BatchNormalization(), layers.ReLU(), *head()),
        ],
        ["TwinConv", "TwinDepthwise", "TwinNormalization"],
    ),
    "depthwise, ReLU a layer of its own": (
        lambda: [first(2 * LANES), Depthwise((2, 3), (1, 2), **SAME), layers.ReLU(), Pool(), *head()],
        ["TwinConv", "TwinDepthwise", "TwinPool"],
    ),
    "depthwise, another activation": (
        lambda: [first(5), Depthwise(3, activation="relu6"), Depthwise(1), layers.Activation("tanh"), *head()],
        ["TwinConv", "TwinDepthwise", "TwinElementwise", "TwinDepthwise", "TwinElementwise"],
    ),
    "several kernels a channel": (
        lambda: [first(5), Depthwise(3, depth_multiplier=2), Separable(4, 3, depth_multiplier=3), *head()],
        ["TwinConv", "InShards", "InShards"],
    ),
}
EVERY = pytest.mark.parametrize("name", NETWORKS)


@EVERY
def test_what_runs(name):
    assert kinds(compiled(NETWORKS[name][0]())) == [*NETWORKS[name][1], "Flatten", "TwinDense", "TwinDense"]


@pytest.mark.parametrize("name", [name for name in NETWORKS if "normalized" not in name])  # those differ by more
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_one_pass_equals_the_plain_path(name, shards):
    model = compiled(NETWORKS[name][0](), shards)
    for count in (FEW, 2, FEW + 3):
        x, y = batch_for(model, count)
        assert_same_pass(model, x, y)
        assert_close(*(run_batch(model, x, y, fast=fast, input_gradient=True).dx for fast in (True, False)))


@EVERY
def test_gradients_pass_the_gate(name):
    model = compiled(NETWORKS[name][0]())
    gates.exact_gate(model)
    x, _ = batch_for(model, 9)
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), model(x), rtol=0, atol=2e-6)


def test_a_separable_layer_among_others():
    """Its two steps are one layer to whoever trains the network: fit, a frozen layer, weights that are exchanged."""
    model = compiled([first(LANES), Separable(6, 3, activation="relu", **SAME), Pool(), *head()])
    x, y = batch_for(model, 12)
    before = model.get_weights()
    model.fit(x, y, batch_size=4, verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    model.layers[1].trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.layers[1].get_weights()
    model.fit(x, y, batch_size=4, verbose=0)
    for old, new in zip(before, model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.layers[1].set_weights([w[::-1].copy() for w in before])
    assert_close(model.predict(x, verbose=0), model(x))


@pytest.mark.parametrize("closing", ["sigmoid", "softmax"])
@pytest.mark.parametrize("apart", [True, False])
def test_a_closing_activation_is_left_to_the_loss(closing, apart):
    behind, own = ([layers.Activation(closing)], None) if apart else ([], closing)
    model = compiled([Depthwise(2, input_shape=(4, 4, 10), activation=own), *behind])
    stays = closing == "softmax" and not apart
    assert kinds(model) == ["InShards" if stays else "TwinDepthwise"]
    model = compiled([Separable(10, 2, input_shape=(4, 4, 10), activation=own), *behind])
    assert kinds(model)[0] == ("InShards" if stays else "TwinDepthwise")


def test_a_subclass_is_not_replaced():
    class Own(Separable):
        pass

    assert kinds(compiled([Own(4, 3, input_shape=(5, 5, 2)), *head()]))[0] == "InShards"


@pytest.mark.parametrize("key", ["depthwise", "pointwise", "bias"])
def test_nan_in_the_weights_reaches_the_loss(key):
    model = compiled([first(LANES), Separable(6, 3, activation="relu"), Pool(), *head()])
    x, y = batch_for(model, 4)
    model.layers[1].params[key].flat[1] = np.nan
    assert np.isnan(run_batch(model, x, y, fast=True).loss)


def test_nan_stays_in_its_channel_and_its_windows():
    plain = built(Depthwise(3, activation="relu", padding="same"), (6, 6, LANES + 1))
    x = np.random.default_rng(0).standard_normal((2, 6, 6, LANES + 1)).astype(np.float32)
    x[1, 2, 3, LANES] = np.nan
    y = TwinDepthwise(plain, True, Buffers()).forward(x)[0]
    np.testing.assert_array_equal(np.isnan(y), np.isnan(plain.forward(x)[0]))
    assert np.isnan(y).sum() == 9


def test_weights_of_another_shape_are_refused():
    """The kernels check no index."""
    plain = built(Depthwise(3), (6, 6, 4))
    plain.params["depthwise"] = plain.params["depthwise"][:2]
    with pytest.raises(ValueError, match=r"expected depthwise and bias of shapes .*got \(2, 3, 4, 1\), \(4,\)"):
        TwinDepthwise(plain, False, Buffers()).forward(np.zeros((1, 6, 6, 4), np.float32))


def test_weights_and_photos_of_float64():
    plain = Depthwise(3, activation="relu")
    y = plain(np.random.default_rng(0).standard_normal((2, 6, 6, 4)))
    assert plain.params["depthwise"].dtype == np.float64
    fast, x = TwinDepthwise(plain, True, Buffers()), np.random.default_rng(0).standard_normal((2, 6, 6, 4))
    np.testing.assert_allclose(fast.forward(x)[0], y, rtol=0, atol=1e-6)


# ---- the same bits


def result(model, x, y):
    found = run_batch(model, x, y, fast=True, input_gradient=True)
    return [found.outputs.copy(), found.dx.copy(), *(grad.copy() for grad in found.grads.values())]


@pytest.mark.parametrize("name", ["separable, pooled", "separable, not pooled", "depthwise, another activation"])
def test_the_same_bits_in_any_number_of_threads(name):
    model = compiled(NETWORKS[name][0](), shards=3)
    x, y = batch_for(model, 11)
    right = result(model, x, y)
    try:
        for count in (1, 2, 3, 2):
            threads.set_threads(count)
            for mine, expected in zip(result(model, x, y), right, strict=True):
                np.testing.assert_array_equal(mine, expected)
    finally:
        threads.set_threads(None)


def test_gradients_are_those_of_the_shards_in_their_order():
    plain = built(Depthwise(3, activation="relu"), (6, 7, LANES))
    x = np.random.default_rng(0).standard_normal((9, 6, 7, LANES)).astype(np.float32)
    fast, dy = TwinDepthwise(plain, True, Buffers()), np.ones((9, 4, 5, LANES), np.float32)

    def gradients(*bounds):
        fast.buffer.share = Share([slice(*pair) for pair in pairwise(bounds)])
        part = slice(bounds[0], bounds[-1])
        fast.buffer.share.bounds = np.array(bounds) - bounds[0]
        grads = fast.backward(dy[part], fast.forward(x[part])[1])[1]
        return grads["depthwise"].copy(), grads["bias"].copy()

    parts = [gradients(*pair) for pair in ((0, 2), (2, 5), (5, 9))]
    for k, whole_gradient in enumerate(gradients(0, 2, 5, 9)):
        np.testing.assert_array_equal(whole_gradient, (parts[0][k] + parts[1][k]) + parts[2][k])


def test_a_convolution_without_padding_reads_its_photos_where_they_lie():
    conv = built(layers.Conv2D(LANES, 1), (4, 4, LANES))
    step, x = TwinConv(conv, False, None, False), np.ones((2, 4, 4, LANES), np.float32)
    _, cache = step.forward(x)
    assert np.shares_memory(cache.x, x)
    x.flags.writeable = False  # kernels for such would be others
    y, cache = step.forward(x)
    assert not np.shares_memory(cache.x, x)
    assert_close(y, conv.forward(x)[0])


# ---- the kernels: against loops, and against their own text by NumPy


def case(channels, kernel_size=(3, 2), strides=(2, 1), size=(7, 8), photos=2):
    """Photos of three channels fewer, a kernel, and what the kernels want to know of them; the borders are not zero."""
    x, kernel = whole((photos, *size, channels - 3), 1), whole((*kernel_size, channels), 2)
    rooms = whole((2, size[0] + 1, size[1] + 2, channels), 5)
    padded = np.stack([rooms[n * 2 // photos] for n in range(photos)])
    padded[:, 1:, 1:-1, :-3] = x
    out = [(n - k) // s + 1 for n, k, s in zip(padded.shape[1:], kernel_size, strides, strict=False)]
    pitch = padded.shape[2] * channels
    starts = simd.table(*out, strides[0] * pitch, strides[1] * channels)
    taps = simd.table(*kernel_size, pitch, channels, simd.TAPS)
    columns = reference.im2col(padded, kernel_size, strides, (0, 0, 0, 0))
    return (x, x, False, (1, 1), (1, 1)), rooms, kernel, out, starts, taps, columns


def gradients_of(out, channels):
    """dy of three channels fewer and y, rooms where they lie two cells apart, and what lies there."""
    dy, y = (whole((2, *out, channels - 3), seed) for seed in (6, 7))
    rooms = np.zeros((2, 2 * out[0], 2 * out[1] + 1, channels), np.float32)
    dz = np.zeros((2, *out, channels), np.float32)
    dz[..., :-3] = np.where(y > 0, dy, 0)
    pitch = rooms.shape[2] * channels
    return (dy, y, True, (1, 0), (2, 2)), rooms, simd.table(*out, 2 * pitch, 2 * channels) + pitch, dz


@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 2), (3, 3), (4, 5)])
@pytest.mark.parametrize("floor", [0, -np.inf])
def test_kernels_equal_loops(vectors, kernel_size, floor):
    channels = vectors * LANES
    laid, rooms, kernel, out, starts, taps, columns = case(channels, kernel_size)
    y, bias = np.full((2, len(starts), channels), 99, np.float32), whole(channels, 3)
    simd.convolve(y, laid, rooms, kernel.reshape(-1, channels), bias, np.float32(floor), starts, taps)
    right = np.maximum(np.einsum("nijuvc,uvc->nijc", columns, kernel) + bias, floor)
    np.testing.assert_array_equal(y, right.reshape(y.shape))
    laid_dz, rooms_dz, places, dz = gradients_of(out, channels)
    dkernels, dbiases = (np.full((2, *shape), 99, np.float32) for shape in ((len(taps), channels), (channels,)))
    simd.gradients(dkernels, dbiases, np.array([0, 1, 2]), laid_dz, laid, rooms_dz, rooms, starts, places, taps)
    right = np.einsum("nijuvc,nijc->nuvc", columns, dz).reshape(2, -1, channels)
    np.testing.assert_array_equal(dkernels[:, : right.shape[1]], right)
    np.testing.assert_array_equal(dbiases, dz.sum(axis=(1, 2)))


def test_kernels_are_what_their_text_says():
    laid, rooms, kernel, out, starts, taps, _ = case(3 * LANES)
    bias, outputs = whole(3 * LANES, 3), [((2, len(starts), 3 * LANES), np.float32)]
    for floor in (0, -np.inf):
        rest = kernel.reshape(-1, 3 * LANES), bias, np.float32(floor), starts, taps
        assert_text_agrees(simd.convolve, outputs, laid, rooms, *rest)
    laid_dz, rooms_dz, places, _ = gradients_of(out, 3 * LANES)
    outputs = [((2, len(taps), 3 * LANES), np.float32), ((2, 3 * LANES), np.float32)]
    rest = np.array([0, 1, 2]), laid_dz, laid, rooms_dz, rooms, starts, places, taps
    assert_text_agrees(simd.gradients, outputs, *rest)


# ---- faults


def convolution_loses_a_lane(patch):
    def after(y, *_):
        y[..., LANES - 1] = 0

    changed(patch, simd, "convolve", after=after)


def convolution_shifts_a_tap(patch):
    before = lambda y, laid, rooms, kernel, *rest: (y, laid, rooms, np.roll(kernel, 1, axis=0), *rest)
    changed(patch, simd, "convolve", before=before)


def convolution_forgets_the_bias(patch):
    before = lambda y, laid, rooms, kernel, bias, *rest: (y, laid, rooms, kernel, np.zeros_like(bias), *rest)
    changed(patch, simd, "convolve", before=before)


def convolution_ends_with_the_last_whole_tile(patch):
    def after(y, *_):
        y[:, y.shape[1] // simd.CELLS * simd.CELLS :] = 0

    changed(patch, simd, "convolve", after=after)


def gradient_forgets_the_last_shard(patch):
    def after(dkernels, *_):
        dkernels[-1] = 0

    changed(patch, simd, "gradients", after=after)


def gradient_forgets_the_last_channels(patch):
    def after(dkernels, *_):
        dkernels[..., -LANES:] = 0

    changed(patch, simd, "gradients", after=after)


def gradient_exchanges_two_taps(patch):
    def after(dkernels, *_):
        dkernels[:, :2] = dkernels[:, 1::-1].copy()

    changed(patch, simd, "gradients", after=after)


def relu_lets_every_gradient_back(patch):
    def before(dkernels, dbiases, shards, laid_dz, *rest):
        return dkernels, dbiases, shards, (*laid_dz[:2], False, *laid_dz[3:]), *rest

    changed(patch, simd, "gradients", before=before)


def gradients_lie_a_row_too_high(patch):
    def before(y, laid, *rest):
        *some, (top, left), strides = laid
        return y, (*some, (max(0, top - 1) if strides == (2, 2) else top, left), strides), *rest

    changed(patch, simd, "convolve", before=before)


def bias_takes_one_shard_alone(patch):
    def after(dkernels, dbiases, *_):
        dbiases[1:] = 0

    changed(patch, simd, "gradients", after=after)


FAULTS = [
    *(convolution_loses_a_lane, convolution_shifts_a_tap, convolution_forgets_the_bias),
    *(convolution_ends_with_the_last_whole_tile, gradient_forgets_the_last_shard, gradient_forgets_the_last_channels),
    *(gradient_exchanges_two_taps, relu_lets_every_gradient_back, gradients_lie_a_row_too_high),
    bias_takes_one_shard_alone,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_makes_the_gate_fail(fault, monkeypatch):
    gates.depthwise_gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gates.depthwise_gate()
