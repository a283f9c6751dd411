"""Each compiled kernel equals its plain loops in kernels/reference.py, bit for bit where it only moves data."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import adam, blas, geometry, im2col, pooling, reference, threads

# x (N, H, W, C), kernel, strides, pads (top, bottom, left, right): squares, rectangles, windows that overhang or skip
CASES = {
    "3x3 same": ((2, 5, 6, 3), (3, 3), (1, 1), (1, 1, 1, 1)),
    "3x3 same, stride 2, even": ((1, 6, 6, 2), (3, 3), (2, 2), (0, 1, 0, 1)),
    "1x1": ((2, 3, 4, 2), (1, 1), (1, 1), (0, 0, 0, 0)),
    "1x1, stride 2": ((1, 5, 4, 1), (1, 1), (2, 2), (0, 0, 0, 0)),
    "2x2, stride 2": ((2, 6, 4, 3), (2, 2), (2, 2), (0, 0, 0, 0)),
    "2x2, stride 2, a row left over": ((1, 5, 7, 2), (2, 2), (2, 2), (0, 0, 0, 0)),
    "rectangular kernel": ((1, 7, 5, 2), (2, 3), (1, 1), (0, 1, 1, 1)),
    "rectangular stride": ((1, 7, 8, 1), (3, 2), (1, 3), (1, 1, 0, 1)),
    "7x7 same": ((1, 9, 8, 1), (7, 7), (1, 1), (3, 3, 3, 3)),
    "stride above kernel": ((1, 8, 9, 2), (2, 2), (3, 4), (0, 0, 0, 0)),
    "window as large as the photo": ((2, 4, 3, 2), (4, 3), (1, 1), (0, 0, 0, 0)),
    "one cell": ((1, 1, 1, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
}
TABLE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@st.composite
def windows(draw):
    """A shape, kernel, strides and the pads of 'same' or 'valid' for it."""
    photos, height, width, channels = (draw(st.integers(1, high)) for high in (3, 8, 8, 3))
    kernel = draw(st.integers(1, min(height, 5))), draw(st.integers(1, min(width, 5)))
    strides = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["same", "valid"]))
    _, *rows = geometry.window_geometry(height, kernel[0], strides[0], padding)
    _, *columns = geometry.window_geometry(width, kernel[1], strides[1], padding)
    return (photos, height, width, channels), kernel, strides, (*rows, *columns)


def random(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def whole_numbers(shape, dtype=np.float64, seed=0):
    """Few different values: windows full of ties, and sums that are exact in any order."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def same(got, expected):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def check_im2col(case, dtype):
    shape, kernel, strides, pads = case
    x = random(shape, dtype)
    columns = im2col.im2col(x, kernel, strides, pads)
    same(columns, reference.im2col(x, kernel, strides, pads))
    assert columns.flags.c_contiguous


def check_col2im(case, dtype):
    shape, kernel, strides, pads = case
    columns = whole_numbers(reference.im2col(np.zeros(shape), kernel, strides, pads).shape, dtype)
    same(im2col.col2im(columns, shape, strides, pads), reference.col2im(columns, shape, strides, pads))


def check_pooling(case, dtype):
    shape, size, strides, pads = case
    if pads[0] >= size[0] or pads[2] >= size[1] or shape[1] < size[0] - 1:
        return
    x = whole_numbers(shape, dtype)
    y, winners = pooling.max_pool(x, size, strides, pads)
    expected_y, expected_winners = reference.max_pool(x, size, strides, pads)
    same(y, expected_y)
    same(winners, expected_winners)
    dy = whole_numbers(y.shape, dtype, seed=1)
    expected = reference.max_pool_backward(dy, winners, shape, size, strides, pads)
    same(pooling.max_pool_backward(dy, winners, shape, size, strides, pads), expected)


@TABLE
@FLOATS
def test_im2col_equals_its_loops(case, dtype):
    check_im2col(case, dtype)


@TABLE
@FLOATS
def test_col2im_equals_its_loops(case, dtype):
    check_col2im(case, dtype)


@TABLE
@FLOATS
def test_max_pool_equals_its_loops(case, dtype):
    check_pooling(case, dtype)


@given(windows(), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60, deadline=None)
def test_kernels_equal_their_loops_on_any_shape(case, dtype):
    check_im2col(case, dtype)
    check_col2im(case, dtype)
    check_pooling(case, dtype)


def check_adjoint(case):
    """<im2col(x), c> = <x, col2im(c)>: whatever im2col does, col2im is its transpose."""
    shape, kernel, strides, pads = case
    x = random(shape)
    columns = im2col.im2col(x, kernel, strides, pads)
    c = random(columns.shape, seed=1)
    there, back = (columns * c).sum(), (x * im2col.col2im(c, shape, strides, pads)).sum()
    assert abs(there - back) <= 1e-12 * (np.abs(columns * c).sum() + 1e-300)


@TABLE
def test_im2col_and_col2im_are_adjoint(case):
    check_adjoint(case)


@given(windows())
@settings(max_examples=60, deadline=None)
def test_im2col_and_col2im_are_adjoint_on_any_shape(case):
    check_adjoint(case)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (28, 3, 1, "same", (28, 1, 1)),
        (28, 3, 2, "same", (14, 0, 1)),
        (28, 2, 2, "same", (14, 0, 0)),
        (28, 7, 2, "same", (14, 2, 3)),
        (28, 2, 1, "same", (28, 0, 1)),
        (5, 2, 3, "same", (2, 0, 0)),
        (28, 3, 1, "valid", (26, 0, 0)),
        (28, 3, 2, "valid", (13, 0, 0)),
        (7, 2, 2, "valid", (3, 0, 0)),
        (3, 3, 5, "valid", (1, 0, 0)),
        (2, 3, 1, "valid", (0, 0, 0)),
        (2, 7, 1, "same", (2, 3, 3)),
    ],
)
def test_windows_are_placed_as_by_keras(size, kernel, stride, padding, expected):
    assert geometry.window_geometry(size, kernel, stride, padding) == expected


def test_a_tie_goes_to_the_first_cell_alone():
    x = np.array([[3.0, 3.0, 1.0, 2.0], [3.0, 3.0, 2.0, 2.0]]).reshape(1, 2, 4, 1)
    y, winners = pooling.max_pool(x, (2, 2), (2, 2), (0, 0, 0, 0))
    assert y.ravel().tolist() == [3, 2]
    assert winners.ravel().tolist() == [0, 1]
    dx = pooling.max_pool_backward(
        np.array([5.0, 7.0]).reshape(1, 1, 2, 1), winners, x.shape, (2, 2), (2, 2), (0, 0, 0, 0)
    )
    assert dx[0, :, :, 0].tolist() == [[5, 0, 0, 7], [0, 0, 0, 0]]


@pytest.mark.parametrize("value", [0.0, -1.0, -np.inf])
def test_padding_never_wins(value):
    x = np.full((1, 3, 3, 1), value)
    y, winners = pooling.max_pool(x, (3, 3), (1, 1), (1, 1, 1, 1))
    assert (y == value).all()
    dx = pooling.max_pool_backward(np.ones_like(y), winners, x.shape, (3, 3), (1, 1), (1, 1, 1, 1))
    assert dx.sum() == 9


@pytest.mark.parametrize("place", range(4))
def test_nan_goes_through_a_pooling_window(place):
    x = np.ones((1, 2, 2, 1))
    x.flat[place] = np.nan
    for module in (pooling, reference):
        y, winners = module.max_pool(x, (2, 2), (2, 2), (0, 0, 0, 0))
        assert np.isnan(y).all()
        assert winners.item() == place


def test_arrays_that_are_not_contiguous_give_the_same():
    shape, kernel, strides, pads = CASES["3x3 same"]
    x = random((*shape[:3], 2 * shape[3]))[..., ::2]
    assert not x.flags.c_contiguous
    same(im2col.im2col(x, kernel, strides, pads), im2col.im2col(x.copy(), kernel, strides, pads))
    columns = random((*im2col.im2col(x, kernel, strides, pads).shape[::-1],)).T
    same(im2col.col2im(columns, shape, strides, pads), im2col.col2im(columns.copy("C"), shape, strides, pads))
    for got, expected in zip(
        pooling.max_pool(x, (2, 2), (2, 2), (0,) * 4), pooling.max_pool(x.copy(), (2, 2), (2, 2), (0,) * 4), strict=True
    ):
        same(got, expected)
    y, winners = pooling.max_pool(x, (2, 2), (2, 2), (0,) * 4)
    dy = random(y.shape[::-1]).T
    args = (winners, shape, (2, 2), (2, 2), (0,) * 4)
    same(pooling.max_pool_backward(dy, *args), pooling.max_pool_backward(dy.copy("C"), *args))


def test_kernels_do_not_write_to_their_inputs():
    shape, kernel, strides, pads = CASES["3x3 same"]
    x = random(shape)
    x.flags.writeable = False
    columns = im2col.im2col(x, kernel, strides, pads)
    columns.flags.writeable = False
    im2col.col2im(columns, shape, strides, pads)
    y, winners = pooling.max_pool(x, (2, 2), (2, 2), (0,) * 4)
    y.flags.writeable = winners.flags.writeable = False
    pooling.max_pool_backward(y, winners, shape, (2, 2), (2, 2), (0,) * 4)


@FLOATS
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 2, 2, 5)])
def test_adam_update_equals_its_loop(shape, dtype):
    w, g, m = (random(shape, dtype, seed) for seed in range(3))
    v = np.abs(random(shape, dtype, 3))
    arguments = (0.01, 0.9, 0.999, 1e-7)
    expected = [w.copy(), g, m.copy(), v.copy()]
    reference.adam_update(*expected, *(dtype(a) for a in arguments))
    adam.adam_update(w, g, m, v, *arguments)
    for got, right in zip((w, m, v), (expected[0], expected[2], expected[3]), strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, right, rtol=0, atol=4 * np.finfo(dtype).eps)


@FLOATS
@pytest.mark.parametrize("epsilon", [1e-7, 1e-30])
def test_adams_moments_never_become_denormal(dtype, epsilon):
    """A weight that gets no gradient any more: its momentum shrinks to 0, NaN stays, what is normal is left alone."""
    tiny = np.finfo(dtype).tiny
    w, g = np.ones(6, dtype), np.zeros(6, dtype)
    m = np.array([tiny, -1.05 * tiny, 2**27 * tiny, np.nan, -1, 2**20 * tiny], dtype)
    v = np.array([tiny, 2**27 * tiny, 1, np.nan, 1, 1], dtype)
    adam.adam_update(w, g, m, v, 1e-3, 0.9, 0.999, epsilon)
    products_too = dtype == np.float64 or epsilon == 1e-7  # else epsilon would not hide what is left out
    np.testing.assert_array_equal(m == 0, [True, True, False, False, False, products_too])
    np.testing.assert_array_equal(v == 0, [True, False, False, False, False, False])
    assert np.isnan([m[3], v[3], w[3]]).all()
    np.testing.assert_array_equal(w[[0, 2, 5]], 1)
    m = np.full(5, 1e-30, dtype)
    for _ in range(8000):
        adam.adam_update(w[:5], g[:5], m, np.ones_like(m), 1e-3, 0.9, 0.999, epsilon)
    np.testing.assert_array_equal(m, 0)


@FLOATS
def test_leaving_out_almost_nothing_changes_no_weight(dtype):
    """Gradients that fall from 1 to below all numbers, against the loop that keeps every moment."""
    w, m, v = np.ones(50, dtype), np.zeros(50, dtype), np.zeros(50, dtype)
    plain = [w.copy(), m.copy(), v.copy()]
    for step in range(400):
        g = random((50,), dtype, step) * dtype(0.75) ** step
        adam.adam_update(w, g, m, v, 1e-3, 0.9, 0.999, 1e-7)
        reference.adam_update(plain[0], g, *plain[1:], *(dtype(a) for a in (1e-3, 0.9, 0.999, 1e-7)))
    np.testing.assert_allclose(w, plain[0], rtol=0, atol=400 * np.finfo(dtype).eps)


def test_adam_update_refuses_to_change_a_copy():
    w = np.abs(random((4, 6))).T
    with pytest.raises(ValueError, match="copy"):
        adam.adam_update(w, w.copy(), w.copy(), w.copy(), 0.1, 0.9, 0.999, 1e-7)


# Threads


def test_results_come_in_the_order_of_the_parts():
    assert threads.run(lambda k: k * k, range(20)) == [k * k for k in range(20)]
    assert threads.run(lambda k: k, []) == []


def test_a_task_may_itself_run_tasks():
    """A layer of the user's own may ask another model: its helper must not wait for helpers."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(threads.run(lambda k: threads.run(lambda j: 10 * k + j, range(3)), range(3))),
        daemon=True,
    )
    thread.start()
    thread.join(timeout=60)
    assert results == [[[0, 1, 2], [10, 11, 12], [20, 21, 22]]]


@pytest.mark.skipif(
    not hasattr(os, "fork") or not blas.controllable(), reason="needs fork, and a BLAS that can be told"
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_pass_leaves_the_child_its_blas():
    before = blas.get_threads()
    with blas.single_threaded():
        child = os.fork()
        if child == 0:
            with blas.single_threaded():
                inside = blas.get_threads()
            os._exit(0 if (inside, blas.get_threads()) == (1, before) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert blas.get_threads() == before


def test_an_error_in_a_thread_reaches_the_caller_and_restores_blas():
    before = blas.get_threads()

    def fails(k):
        raise KeyError(k)

    with pytest.raises(KeyError):
        threads.run(fails, range(5))
    assert blas.get_threads() == before


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_set_threads_refuses(count):
    with pytest.raises(ValueError, match="set_threads: expected a whole number of at least 1"):
        threads.set_threads(count)
