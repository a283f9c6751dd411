"""The kernels of the twin: against their definitions in loops, and against their own text run by NumPy."""

import numpy as np
import pytest

from kernels import reference, relu_pool
from kernels.simd import backward, conv_pool, dense, pooling, winograd, winograd_gradient
from kernels.simd.vectors import LANES

POOLED = pytest.mark.parametrize("pooled", [True, False])
WINDOWS = {True: (0, 1, 2, 3), False: (0,)}  # behind a cell that is pooled or not


def assert_close(fast, right):
    """Equal to float32 rounding of sums of a few thousand terms, measured against the largest number in the tensor."""
    assert fast.shape == right.shape
    np.testing.assert_allclose(fast, right, rtol=0, atol=2e-5 * max(np.abs(right).max(), 1e-6))


def whole(shape, seed, dtype=np.float32):
    """Small whole numbers: their sums are exact in any order and rounding, and ties are many."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def flat(x, beyond=0):
    """Photos in one row, and so many numbers behind them."""
    return np.concatenate([x.ravel(), np.full(beyond, 7, x.dtype)])


# ---- the convolution


def reference_maps(x, kernel, bias, floor, strides, pooled):
    """y = max(floor, max_pool_2x2(conv(x) + bias)) or without pooling; winners CLOSED where nothing is above."""
    z = np.tensordot(reference.im2col(x, kernel.shape[:2], strides, (0, 0, 0, 0)), kernel, 3) + bias
    size = (2, 2) if pooled else (1, 1)
    largest, winners = reference.max_pool(z, size, size, (0, 0, 0, 0))
    closed = ~(largest > floor)
    y = np.where(closed & ~np.isnan(largest), np.float32(floor), largest)
    return y, np.where(closed, relu_pool.CLOSED, winners)


def starts_of(shape, kernel_size, strides, pooled):
    """The table of the windows in padded photos of this shape, and y's (P, Q)."""
    _, width, channels = shape
    side = 2 if pooled else 1
    out = [((size - k) // stride + 1) // side for size, k, stride in zip(shape[:2], kernel_size, strides, strict=True)]
    return conv_pool.window_starts(out, width * channels, channels, strides, pooled), out


def arguments(x, kernel, bias, floor, strides, pooled):
    """The inputs of conv_relu_pool, and y's (P, Q)."""
    (kh, kw, channels, filters), starts_and_out = (
        kernel.shape,
        starts_of(x.shape[1:], kernel.shape[:2], strides, pooled),
    )
    rows, laid = x.reshape(len(x), -1), kernel.reshape(kh, kw * channels, filters)
    return (rows, laid, bias, np.float32(floor), starts_and_out[0], x.shape[2] * channels, pooled), starts_and_out[1]


def in_registers(x, kernel, bias, floor, strides, pooled):
    inputs, out = arguments(x, kernel, bias, floor, strides, pooled)
    y, winners = (np.full((len(x), len(inputs[4]), len(bias)), 9, dtype) for dtype in (np.float32, np.uint8))
    conv_pool.conv_relu_pool(y, winners, *inputs)
    return (a[:, : out[0] * out[1]].reshape(len(x), *out, -1) for a in (y, winners))


TAPS = pytest.mark.parametrize("taps", winograd.POINTS)


def transformed(kernel):
    """The kernel as winograd.conv_relu_pool wants it."""
    taps, _, channels, filters = kernel.shape
    result = np.empty(((taps + 1) ** 2, channels, filters), np.float32)
    winograd.transform_kernel(result, kernel, tuple(range(taps)))
    return result


def winograd_rest(taps, channels, out, pooled, parts=2):
    """The last arguments of winograd.conv_relu_pool."""
    room = [np.empty((parts, *shape), np.float32) for shape in winograd.room(taps, channels)]
    return *winograd.patches_of(out, pooled), *room, tuple(range(taps))


def by_winograd(x_padded, kernel, bias, floor, out, pooled):
    taps, _, channels, filters = kernel.shape
    shape = len(x_padded), out[0] * out[1], filters
    y, winners = (np.full(shape, 9, dtype) for dtype in (np.float32, np.uint8))
    rest = winograd_rest(taps, channels, out, pooled)
    winograd.conv_relu_pool(y, winners, x_padded, transformed(kernel), bias, floor, *rest)
    return (a.reshape(len(x_padded), *out, filters) for a in (y, winners))


def assert_equal_but_for_rounding(mine, right, taps):
    """The same numbers: those of 3x3 are exact here; winners need not be looked at where sums tie but for rounding."""
    if taps == 3:
        np.testing.assert_array_equal(mine, right)
    elif mine.dtype == np.float32:
        np.testing.assert_allclose(mine, right, rtol=0, atol=2e-6 * np.abs(right).max())


@POOLED
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 8), (1, 20)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("floor", [0.0, -np.inf])
@pytest.mark.parametrize("vectors", [2, 3])
def test_sums_in_registers_equal_the_plain_loops(pooled, size, strides, kernel_size, floor, vectors):
    channels, filters = 3, vectors * LANES
    rows, columns = (2 * cells * stride + k for cells, stride, k in zip(size, strides, kernel_size, strict=True))
    x, kernel, bias = (
        whole((2, rows, columns, channels), 1),
        whole((*kernel_size, channels, filters), 2),
        whole(filters, 3),
    )
    right = reference_maps(x, kernel, bias, floor, strides, pooled)
    for mine, expected in zip(in_registers(x, kernel, bias, floor, strides, pooled), right, strict=True):
        np.testing.assert_array_equal(mine, expected)


@POOLED
@pytest.mark.parametrize("out", [(2, 7), (3, 8), (7, 7), (4, 4), (2, 20), (20, 3)])
@pytest.mark.parametrize("floor", [0.0, -np.inf])
@TAPS
def test_winograd_equals_the_plain_loops(pooled, out, floor, taps):
    side = 2 if pooled else 1
    if len(winograd.patches_of(out, pooled)[0]) < winograd.TILE:
        assert not winograd.fits((taps, taps), (1, 1), pooled, (6, 6, LANES), (*out, winograd.FILTERS))
        return
    filters, channels = 2 * winograd.FILTERS, 2 * LANES
    x, kernel, bias = (
        whole((2, side * out[0] + taps - 1, side * out[1] + taps - 1, channels), 1),
        whole((taps, taps, channels, filters), 2),
        whole(filters, 3),
    )
    right = reference_maps(x, kernel, bias, floor, (1, 1), pooled)
    for mine, expected in zip(by_winograd(x, kernel, bias, np.float32(floor), out, pooled), right, strict=True):
        assert_equal_but_for_rounding(mine, expected, taps)


@pytest.mark.parametrize(("taps", "times"), [(3, 1.2), (5, 2.5)])
def test_winograds_rounding_is_near_that_of_the_product(taps, times):
    """Against the same sums in float64, numbers like those in the article's network."""
    rng = np.random.default_rng(4)
    shapes = [(4, 13 + taps, 13 + taps, 32), (taps, taps, 32, 64)]
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    columns = lambda x: reference.im2col(x, (taps, taps), (1, 1), (0, 0, 0, 0)).reshape(-1, taps * taps * 32)
    exact, by_blas = (
        (columns(x.astype(dtype)) @ kernel.reshape(-1, 64).astype(dtype)).reshape(4, 7, 2, 7, 2, 64).max(axis=(2, 4))
        for dtype in (np.float64, np.float32)
    )
    y, _ = by_winograd(x, kernel, np.zeros(64, np.float32), np.float32(-np.inf), (7, 7), True)
    errors = [np.sqrt(np.mean((result - exact) ** 2)) for result in (y, by_blas)]
    assert 0 < errors[0] < times * errors[1] < 2e-4


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("others", [-1.0, 1.0])
def test_nan_goes_through_pooling_from_any_place_of_its_window(place, others):
    x = np.full((1, 4, 4, LANES), others, np.float32)
    x[0, place[0], place[1], 3] = np.nan
    y, _ = in_registers(x, np.eye(LANES, dtype=np.float32)[None, None], np.zeros(LANES, np.float32), 0, (1, 1), True)
    assert np.argwhere(np.isnan(y).any(3)).tolist() == [[0, 0, 0]]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # from inf * 0, where nothing is compiled
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_goes_through_relu(value):
    x = -np.ones((1, 2, 2, 1), np.float32)
    x[0, 1, 0, 0] = value
    y, _ = in_registers(x, np.ones((1, 1, 1, LANES), np.float32), np.zeros(LANES, np.float32), 0, (1, 1), False)
    assert np.isnan(y[0, 1, 0]).all()
    assert (y[0, [0, 0, 1], [0, 1, 1]] == 0).all()


# ---- the way back


def gradients(photos, cells, filters, windows, seed=9, more=0):
    """dy and winners of `more` cells, of which some have none, and one is won by every filter with its last window."""
    rng = np.random.default_rng(seed)
    winners = rng.choice([*windows, relu_pool.CLOSED], (photos, cells + more, filters)).astype(np.uint8)
    winners[0, 0], winners[-1, 0] = relu_pool.CLOSED, windows[-1]
    return whole((photos, cells, filters), seed), winners


def unpooled(dy, winners, out, pooled, shape):
    """dz[n, i, j, f] = dy for each cell's winner, 0 elsewhere."""
    dz, (_, columns) = np.zeros(shape, np.float32), out
    for n, cell, f in np.ndindex(dy.shape):
        if winners[n, cell, f] < relu_pool.CLOSED:
            u, v = divmod(int(winners[n, cell, f]), 2)
            i, j = divmod(cell, columns)
            dz[n, (2 * i + u if pooled else i), (2 * j + v if pooled else j), f] = dy[n, cell, f]
    return dz


BACKWARD = pytest.mark.parametrize(
    "shape, kernel_size, strides",
    [
        ((6, 6, LANES), (3, 3), (1, 1)),
        ((7, 9, 2 * LANES), (3, 3), (1, 1)),
        ((8, 7, 1), (3, 2), (2, 1)),
        ((9, 11, 5), (5, 4), (1, 2)),
        ((40, 8, 3), (35, 3), (1, 1)),  # more rows than there are registers
        ((6, 20, LANES), (3, 11), (1, 1)),  # more vectors in a row than fit
    ],
)


SHARDS = pytest.mark.parametrize("shards", [np.array([0, 2]), np.array([0, 1, 2])], ids=["one shard", "two shards"])


def case(shape, kernel_size, strides, pooled, filters):
    """Photos, gradients, and from reference.im2col and col2im: dkernel = columns^T @ dz, dx = col2im(dz @ kernel^T)."""
    starts, out = starts_of(shape, kernel_size, strides, pooled)
    cells = out[0] * out[1]
    x, kernel = whole((2, *shape), 1), whole((*kernel_size, shape[2], filters), 2)
    dy, winners = gradients(2, cells, filters, WINDOWS[pooled], more=len(starts) - cells)
    columns = reference.im2col(x, kernel_size, strides, (0, 0, 0, 0))
    dz = unpooled(dy, winners, out, pooled, (*columns.shape[:3], filters)).reshape(-1, filters)
    dkernel = columns.reshape(len(dz), -1).T @ dz
    dx = reference.col2im((dz @ kernel.reshape(-1, filters).T).reshape(columns.shape), x.shape, strides, (0, 0, 0, 0))
    return x, kernel, starts, dy, winners, dkernel, dx


@POOLED
@BACKWARD
@SHARDS
@pytest.mark.parametrize("filters", [3, backward.FILTERS + 8])
def test_sparse_gradients_equal_the_products(shape, kernel_size, strides, pooled, filters, shards):
    x, kernel, starts, dy, winners, dkernel, dx = case(shape, kernel_size, strides, pooled, filters)
    numbers, pitch, size = kernel_size[1] * shape[2], shape[1] * shape[2], np.prod(shape)
    blocks = backward.Blocks(kernel_size[0], numbers, pitch, LANES)
    mine = np.full((len(shards) - 1, filters, len(blocks.firsts), blocks.height * blocks.width), 99, np.float32)
    backward.kernel_gradient(mine, shards, dy, winners, flat(x, blocks.reach), size, starts, blocks.layout)
    joined = np.full((kernel_size[0], numbers, filters), 99, np.float32)
    blocks.join(joined, mine)
    np.testing.assert_array_equal(joined.reshape(dkernel.shape), dkernel)

    laid, mine = np.full((len(blocks.firsts), filters, blocks.height * blocks.width), 99, np.float32), np.empty_like(x)
    blocks.cut(laid, kernel.reshape(kernel_size[0], numbers, filters))
    photo = np.empty((len(shards) - 1, size + blocks.reach), np.float32)  # so many parts too
    rest = (0, 0), photo, pitch, starts, blocks.layout, WINDOWS[pooled]
    backward.input_gradient(mine, dy, winners, laid, *rest)
    np.testing.assert_array_equal(mine, dx)


@POOLED
@BACKWARD
@SHARDS
def test_the_dense_kernel_gradient_equals_the_product(shape, kernel_size, strides, pooled, shards):
    filters = 2 * LANES
    x, _, starts, dy, winners, dkernel, _ = case(shape, kernel_size, strides, pooled, filters)
    blocks = backward.Blocks(kernel_size[0], kernel_size[1] * shape[2], shape[1] * shape[2], 1)
    mine = np.full((len(shards) - 1, len(blocks.firsts), blocks.height * blocks.width, filters), 99, np.float32)
    rest = np.prod(shape), starts, blocks.layout, WINDOWS[pooled]
    backward.dense_kernel_gradient(mine, shards, dy, winners, flat(x, blocks.reach), *rest)
    joined = np.full((kernel_size[0], kernel_size[1] * shape[2], filters), 99, np.float32)
    blocks.join(joined, mine.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(joined.reshape(dkernel.shape), dkernel)


def winograd_gradient_of(taps, out, channels, filters):
    """Arguments of winograd_gradient.kernel_gradient, and the gradient by the columns of reference.im2col."""
    shape = out[0] + taps - 1, out[1] + taps - 1, channels
    x, _, _, dy, winners, dkernel, _ = case(shape, (taps, taps), (1, 1), False, filters)
    winners = np.ascontiguousarray(winners[:, : dy.shape[1]])
    shapes = ((2, (taps + 1) ** 2, winograd_gradient.PATCHES, size) for size in (channels, filters))
    room = (np.empty(shape, np.float32) for shape in shapes)
    rest = np.array([0, 1, 2]), dy, winners, x, *winograd.patches_of(out, False), *room, tuple(range(taps))
    return rest, dkernel.reshape(taps, taps, channels, filters)


@pytest.mark.parametrize("out", [(2, 14), (8, 6), (8, 16)])
@TAPS
def test_winograds_kernel_gradient_equals_the_product(out, taps):
    channels, filters = 2 * LANES, 2 * winograd.FILTERS
    rest, right = winograd_gradient_of(taps, out, channels, filters)
    sums = np.full((2, (taps + 1) ** 2, channels, filters), 99, np.float32)
    winograd_gradient.kernel_gradient(sums, *rest)
    dkernel = np.full(right.shape, 99, np.float32)
    winograd_gradient.transform_sums(dkernel, sums, rest[-1])
    assert_equal_but_for_rounding(dkernel, right, taps)


@POOLED
def test_unpool_and_bias_gradient_equal_loops(pooled):
    out, filters, side = (2, 3), 2 * LANES, 2 if pooled else 1
    dy, winners = gradients(2, 6, filters, WINDOWS[pooled], more=3)
    shape = 2, side * out[0] + 1, side * out[1], filters
    dz = np.zeros((2, shape[1] + 2, shape[2] + 3, filters), np.float32)
    relu_pool.unpool(dz, dy.reshape(2, *out, filters), winners, (2, 1), pooled)
    right = np.zeros_like(dz)
    right[:, 2:, 1:-2] = unpooled(dy, winners, out, pooled, shape)
    np.testing.assert_array_equal(dz, right)
    dbiases = np.full((2, filters), 99, np.float32)
    backward.bias_gradient(dbiases, np.array([0, 1, 2]), dy, winners)
    np.testing.assert_array_equal(dbiases, right.sum((1, 2)))


# ---- each kernel against its own text, which NumPy runs


def assert_text_agrees(kernel, outputs, *inputs, exactly=True):
    """The compiled kernel and its text, by NumPy, write the same into arrays of these shapes and dtypes.

    exactly: where no number is rounded; else the processor rounds once where NumPy does twice.
    """
    results = []
    for run in (kernel, getattr(kernel, "py_func", kernel)):
        arrays = [np.full(shape, 99, dtype) for shape, dtype in outputs]
        run(*arrays, *inputs)
        results.append(arrays)
    for compiled, text in zip(*results, strict=True):
        if exactly:
            np.testing.assert_array_equal(compiled, text)
        elif text.dtype == np.float32:
            np.testing.assert_allclose(compiled, text, rtol=0, atol=2e-6 * np.abs(text).max())


@POOLED
@pytest.mark.parametrize("floor", [0, -np.inf])
def test_sums_in_registers_are_what_their_text_says(pooled, floor):
    x, kernel, bias = whole((1, 9, 2 * conv_pool.SUMS + 3, 3), 1), whole((2, 3, 3, 2 * LANES), 2), whole(2 * LANES, 3)
    inputs, _ = arguments(x, kernel, bias, floor, (2, 1), pooled)
    maps = 1, len(inputs[4]), 2 * LANES
    assert_text_agrees(conv_pool.conv_relu_pool, [(maps, np.float32), (maps, np.uint8)], *inputs)


@POOLED
@TAPS
def test_winograd_is_what_its_text_says(pooled, taps):
    out, filters, channels = (5, 6), 2 * winograd.FILTERS, 2 * LANES
    size = [(2 if pooled else 1) * cells + taps - 1 for cells in out]
    x, kernel, bias = whole((1, *size, channels), 1), whole((taps, taps, channels, filters), 2), whole(filters, 3)
    maps = 1, out[0] * out[1], filters
    rest = winograd_rest(taps, channels, out, pooled)
    outputs = [(maps, np.float32), (maps, np.uint8)]
    inputs = x, transformed(kernel), bias, np.float32(0), *rest
    assert_text_agrees(winograd.conv_relu_pool, outputs, *inputs, exactly=taps == 3)


@POOLED
def test_the_gradients_are_what_their_text_says(pooled):
    shape, kernel_size, filters = (6, 8, LANES + 3), (3, 4), LANES
    x, kernel, starts, dy, winners, _, _ = case(shape, kernel_size, (1, 2), pooled, filters)
    numbers, pitch, size = kernel_size[1] * shape[2], shape[1] * shape[2], int(np.prod(shape))
    for unit, run in ((LANES, backward.kernel_gradient), (1, backward.dense_kernel_gradient)):
        blocks = backward.Blocks(kernel_size[0], numbers, pitch, unit)
        block = blocks.height * blocks.width
        maps = (filters, len(blocks.firsts), block) if unit == LANES else (len(blocks.firsts), block, filters)
        rest = (blocks.layout,) if unit == LANES else (blocks.layout, WINDOWS[pooled])
        shards = np.array([0, 1, 2])
        assert_text_agrees(
            run, [((2, *maps), np.float32)], shards, dy, winners, flat(x, blocks.reach), size, starts, *rest
        )
    blocks = backward.Blocks(kernel_size[0], numbers, pitch, LANES)
    laid, photo = (
        np.empty((len(blocks.firsts), filters, blocks.height * blocks.width), np.float32),
        np.empty((2, size + blocks.reach), np.float32),
    )
    blocks.cut(laid, kernel.reshape(3, numbers, filters))
    rest = (0, 0), photo, pitch, starts, blocks.layout, WINDOWS[pooled]
    assert_text_agrees(backward.input_gradient, [(x.shape, np.float32)], dy, winners, laid, *rest)


@TAPS
def test_winograds_kernel_gradient_is_what_its_text_says(taps):
    channels, filters = 2 * LANES, winograd.FILTERS
    rest, _ = winograd_gradient_of(taps, (2, 30), channels, filters)
    outputs = [((2, (taps + 1) ** 2, channels, filters), np.float32)]
    assert_text_agrees(winograd_gradient.kernel_gradient, outputs, *rest, exactly=taps == 3)


@pytest.mark.parametrize("transposed", [True, False])
def test_a_product_is_what_its_text_says(transposed):
    rows, columns, depth = 2 * dense.ROWS + 3, 4 * LANES + 5, 7
    left, right = whole((depth, rows) if transposed else (rows, depth), 1), whole((depth, columns), 2)
    rest = np.empty((2, dense.room(4)), np.float32), np.array([0, 3, depth])
    assert_text_agrees(dense.multiply, [((rows, columns), np.float32)], left, right, transposed, *rest)


def test_a_product_by_lists_is_what_its_text_says():
    rows, columns, depth = dense.ROWS + 3, dense.MANY + LANES + 5, 7
    left, right = whole((rows, depth), 1), whole((depth, columns), 2)
    left[:, ::2] = 0
    rest = np.empty((1, dense.room(4)), np.float32), np.array([0, 4, depth])
    assert_text_agrees(dense.multiply, [((rows, columns), np.float32)], left, right, False, *rest)


def test_pooling_is_what_its_text_says():
    x, windows = whole((2, 6, 7, 3 * LANES + 1), 1), ((3, 2), (2, 1), (1, 0))
    outputs = [((2, 3, 6, 3 * LANES + 1), np.float32)] * 2
    assert_text_agrees(pooling.max_pool, outputs, x, *windows)
    y, winners = (np.zeros(shape, dtype) for shape, dtype in outputs)
    pooling.max_pool(y, winners, x, *windows)
    assert_text_agrees(pooling.max_pool_backward, [(x.shape, np.float32)], whole(y.shape, 2), winners, *windows)
