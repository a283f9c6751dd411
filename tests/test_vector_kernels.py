"""The kernels of the twin: against their definitions in loops, and against their own text run by NumPy."""

import numpy as np
import pytest

from kernels import reference, relu_pool
from kernels.simd import conv_pool, sparse_backward, winograd
from kernels.simd.vectors import LANES


def assert_close(fast, right):
    """Equal to float32 rounding of sums of a few thousand terms, measured against the largest number in the tensor."""
    assert fast.shape == right.shape
    np.testing.assert_allclose(fast, right, rtol=0, atol=2e-5 * max(np.abs(right).max(), 1e-6))


def reference_pooled(z, bias, floor):
    """y = max(floor, max_pool_2x2(z + bias)), winners CLOSED where nothing is above the floor."""
    height, width = z.shape[1] // 2 * 2, z.shape[2] // 2 * 2
    largest, winners = reference.max_pool(z[:, :height, :width] + bias, (2, 2), (2, 2), (0, 0, 0, 0))
    closed = ~(largest > floor)
    return np.where(closed & ~np.isnan(largest), np.float32(floor), largest), np.where(
        closed, relu_pool.CLOSED, winners
    )


def pooled(z, bias, floor):
    photos, height, width, filters = z.shape
    y = np.full((photos, height // 2, width // 2, filters), 99, np.float32)
    winners = np.full(y.shape, 99, np.uint8)
    relu_pool.bias_relu_pool(y, winners, z, bias, np.float32(floor))
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
    relu_pool.unpool(dz, dy, winners)
    assert np.array_equal(dz, expected_dz)
    dbias = np.full(shape[3], 99, np.float32)
    relu_pool.bias_gradient(dbias, dy, winners)
    for place in np.ndindex(dy.shape):
        expected_dbias[place[3]] += dy[place] if winners[place] < relu_pool.CLOSED else 0
    np.testing.assert_allclose(dbias, expected_dbias, rtol=1e-5, atol=1e-5)


def unpool_in_loops(dy, winners, shape, dtype=np.float32):
    """dz[n, 2p + u, 2q + v, f] = dy[n,p,q,f] for the winner (u, v), 0 elsewhere."""
    dz = np.zeros(shape, dtype)
    for n, p, q, f in np.ndindex(dy.shape):
        if winners[n, p, q, f] < relu_pool.CLOSED:
            u, v = divmod(int(winners[n, p, q, f]), 2)
            dz[n, 2 * p + u, 2 * q + v, f] = dy[n, p, q, f]
    return dz


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (6, 4)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0)])
@pytest.mark.parametrize("groups, filters", [(1, 3), (2, 2 * sparse_backward.FILTERS + 8)])
def test_sparse_gradients_equal_the_products_in_float64(size, pads, groups, filters):
    """Against reference.im2col and col2im: dkernel = columns^T @ dz, dx = col2im(dz @ kernel^T)."""
    rng = np.random.default_rng(7)
    height, width, channels = size[0] + 2, size[1] + 2, groups * LANES
    x = rng.standard_normal((2, height, width, channels)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, channels, filters)).astype(np.float32)
    top, bottom, left, right = pads
    x_padded = np.ascontiguousarray(np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))))
    out_h, out_w = x_padded.shape[1] - 2, x_padded.shape[2] - 2
    dy = rng.standard_normal((2, out_h // 2, out_w // 2, filters)).astype(np.float32)
    winners = rng.integers(0, 5, dy.shape).astype(np.uint8)
    winners[0, 0, 0, :], winners[1, 0, 0, :] = relu_pool.CLOSED, 3  # a window nobody won, and one that all won

    dz = unpool_in_loops(dy, winners, (2, out_h, out_w, filters), np.float64).reshape(-1, filters)
    columns = reference.im2col(x.astype(np.float64), (3, 3), (1, 1), pads)
    expected_dkernel = (columns.reshape(-1, 9 * channels).T @ dz).reshape(kernel.shape)
    dcolumns = dz @ kernel.reshape(-1, filters).T.astype(np.float64)
    expected_dx = reference.col2im(dcolumns.reshape(columns.shape), x.shape, (1, 1), pads)

    where = sparse_backward.window_starts(*dy.shape[1:3], x_padded.shape[2] * channels, channels)
    dkernel = np.full((filters, 3, 3, channels), 99, np.float32)
    sparse_backward.kernel_gradient(dkernel, dy, winners, x_padded, where)
    assert_close(dkernel.transpose(1, 2, 3, 0).astype(np.float64), expected_dkernel)
    by_lanes = np.ascontiguousarray(kernel.reshape(3, 3, groups, LANES, filters).transpose(2, 4, 0, 1, 3))
    dx, photo = np.full(x.shape, 99, np.float32), np.full(x_padded.shape[1:], 99, np.float32)
    sparse_backward.input_gradient(dx, dy, winners, by_lanes, (top, left), photo)
    assert_close(dx.astype(np.float64), expected_dx)


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (6, 4)])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_grey_kernel_gradient_equals_the_product_in_float64(size, groups):
    """One channel: dkernel = columns^T @ dz, the filters lying side by side."""
    rng = np.random.default_rng(8)
    filters = groups * LANES
    x_padded = rng.standard_normal((2, size[0] + 2, size[1] + 2, 1)).astype(np.float32)
    dy = rng.standard_normal((2, size[0] // 2, size[1] // 2, filters)).astype(np.float32)
    winners = rng.integers(0, 5, dy.shape).astype(np.uint8)
    dz = unpool_in_loops(dy, winners, (2, *size, filters), np.float64).reshape(-1, filters)
    columns = reference.im2col(x_padded.astype(np.float64), (3, 3), (1, 1), (0, 0, 0, 0))
    dkernel = np.full((3, 3, 1, filters), 99, np.float32)
    sparse_backward.kernel_gradient_of_grey(dkernel, dy, winners, x_padded)
    assert_close(dkernel.astype(np.float64), (columns.reshape(-1, 9).T @ dz).reshape(dkernel.shape))


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("others", [-1.0, 1.0])
def test_nan_goes_through_pooling_from_any_place_of_its_window(place, others):
    z = np.full((1, 4, 4, 8), others, np.float32)
    z[0, place[0], place[1], 3] = np.nan
    y, _ = pooled(z, np.zeros(8, np.float32), 0)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 0, 3]]


def by_winograd(x_padded, kernel, bias, floor, pools):
    channels, filters = kernel.shape[2:]
    y, winners = (np.full((len(x_padded), *pools, filters), 9, dtype) for dtype in (np.float32, np.uint8))
    transformed = np.empty((16, channels, filters), np.float32)
    winograd.transform_kernel(transformed, kernel)
    room = np.empty(winograd.patches_shape(channels), np.float32), np.empty(winograd.PRODUCTS_SHAPE, np.float32)
    winograd.conv_relu_pool(y, winners, x_padded, transformed, bias, floor, *room)
    return y, winners


@pytest.mark.parametrize("pools", [(2, 7), (3, 8), (1, 20)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("relu", [True, False])
def test_sums_in_registers_equal_the_plain_loops(pools, strides, kernel_size, relu):
    rng = np.random.default_rng(3)
    channels, filters = 2 * LANES, 2 * winograd.FILTERS
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
    conv_pool.conv_relu_pool(y, winners, x, kernel, bias, floor, strides)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(winners, np.where(right > floor, right_winners, relu_pool.CLOSED))
    if kernel_size == (3, 3) and strides == (1, 1):
        y, winners = by_winograd(x, kernel, bias, floor, pools)
        np.testing.assert_array_equal(y, right)
        np.testing.assert_array_equal(winners, np.where(right > floor, right_winners, relu_pool.CLOSED))


def test_winograds_rounding_is_no_larger_than_that_of_the_product():
    """Against the same sums in float64, numbers like those in the article's network."""
    rng = np.random.default_rng(4)
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in [(4, 16, 16, 32), (3, 3, 32, 64)])
    exact = np.tensordot(
        reference.im2col(x.astype(np.float64), (3, 3), (1, 1), (0, 0, 0, 0)), kernel.astype(np.float64), 3
    )
    exact = exact.reshape(4, 7, 2, 7, 2, 64).max(axis=(2, 4))
    rows = reference.im2col(x, (3, 3), (1, 1), (0, 0, 0, 0)).reshape(-1, 288)
    by_blas = (rows @ kernel.reshape(288, 64)).reshape(4, 7, 2, 7, 2, 64).max(axis=(2, 4))
    y, _ = by_winograd(x, kernel, np.zeros(64, np.float32), np.float32(-np.inf), (7, 7))
    errors = [np.sqrt(np.mean((result - exact) ** 2)) for result in (y, by_blas)]
    assert 0 < errors[0] < 1.2 * errors[1] < 1e-4


# ---- each kernel against its own text, which NumPy runs


def by_numpy(kernel):
    """The kernel as plain Python: its vector code by NumPy."""
    return getattr(kernel, "py_func", kernel)


def in_both_ways(kernel, outputs, *inputs):
    """What the compiled kernel and its text write into arrays of these shapes and dtypes."""
    results = []
    for run in (kernel, by_numpy(kernel)):
        arrays = [np.full(shape, 99, dtype) for shape, dtype in outputs]
        run(*arrays, *inputs)
        results.append(arrays)
    return zip(*results, strict=True)


def whole(shape, seed, dtype=np.float32):
    """Small whole numbers: their sums are exact in any order and rounding."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def gradients(photos, pools, filters, seed=9):
    """dy, and winners of which some windows have none, and one is won by every filter at its last cell."""
    rng = np.random.default_rng(seed)
    winners = rng.integers(0, 5, (photos, *pools, filters)).astype(np.uint8)
    winners[0, 0, 0], winners[0, 0, 1] = relu_pool.CLOSED, 3
    return whole(winners.shape, seed), winners


def test_sums_in_registers_are_what_their_text_says():
    maps = (1, 2, conv_pool.TILE + 2, 2 * LANES)
    x, kernel, bias = whole((1, 9, 2 * maps[2] + 3, 3), 1), whole((2, 3, 3, maps[3]), 2), whole(maps[3], 3)
    outputs = [(maps, np.float32), (maps, np.uint8)]
    for floor in (0, -np.inf):
        rest = x, kernel, bias, np.float32(floor), (2, 1)
        for compiled, text in in_both_ways(conv_pool.conv_relu_pool, outputs, *rest):
            np.testing.assert_array_equal(compiled, text)


def test_winograd_is_what_its_text_says():
    maps, channels = (1, 2, winograd.TILE + 2, 2 * winograd.FILTERS), 2 * LANES
    x, kernel, bias = (
        whole((1, 6, 2 * maps[2] + 2, channels), 1),
        whole((3, 3, channels, maps[3]), 2),
        whole(maps[3], 3),
    )
    transformed = np.empty((16, channels, maps[3]), np.float32)
    winograd.transform_kernel(transformed, kernel)
    room = np.empty(winograd.patches_shape(channels), np.float32), np.empty(winograd.PRODUCTS_SHAPE, np.float32)
    outputs = [(maps, np.float32), (maps, np.uint8)]
    rest = x, transformed, bias, np.float32(0), *room
    for compiled, text in in_both_ways(winograd.conv_relu_pool, outputs, *rest):
        np.testing.assert_array_equal(compiled, text)


def test_the_grey_kernel_gradient_is_what_its_text_says():
    dy, winners = gradients(2, (2, 3), 2 * LANES)
    outputs = [((3, 3, 1, 2 * LANES), np.float32)]
    for compiled, text in in_both_ways(
        sparse_backward.kernel_gradient_of_grey, outputs, dy, winners, whole((2, 6, 8, 1), 1)
    ):
        np.testing.assert_array_equal(compiled, text)


def test_the_gradients_without_zeros_are_what_their_text_says():
    filters, channels = sparse_backward.FILTERS + 5, 2 * LANES
    dy, winners = gradients(2, (2, 3), filters)
    x_padded = whole((2, 6, 8, channels), 1)
    where = sparse_backward.window_starts(2, 3, 8 * channels, channels)
    outputs = [((filters, 3, 3, channels), np.float32)]
    for compiled, text in in_both_ways(sparse_backward.kernel_gradient, outputs, dy, winners, x_padded, where):
        np.testing.assert_array_equal(compiled, text)
    kernel, photo = whole((2, filters, 3, 3, LANES), 2), np.empty((6, 8, channels), np.float32)
    outputs = [((2, 4, 6, channels), np.float32)]
    for compiled, text in in_both_ways(sparse_backward.input_gradient, outputs, dy, winners, kernel, (1, 1), photo):
        np.testing.assert_array_equal(compiled, text)
