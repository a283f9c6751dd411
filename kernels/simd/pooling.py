"""Max pooling of LANES channels at a time: the winner so far stays in a register while a window is walked over.

kernels/pooling.py has the same loops in plain words. A winner is its number in the window, as a float32, so that it is
chosen by the same lanes as its value.
"""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.geometry import Pair
from kernels.simd.vectors import LANES, vector_code


@vector_code
def _largest(vec, y, winners, x, n, i, j, c, rows, columns, first, skipped, vectors):
    """y[n, i, j, c ...] = the largest of x[n, rows, columns, c ...], or NaN; winners: the first such."""
    lanes = [c + v * LANES for v in range(len(vectors))]
    largest = [vec.total(x.at(n, rows[0], columns[0], lane)) for lane in lanes]
    holders = [vec.total(vec.all(first)) for _ in lanes]
    number = vec.total(vec.all(first))
    for r in vec.range(rows[0], rows[1]):
        for s in vec.range(columns[0], columns[1]):
            for lane, best, holder in zip(lanes, largest, holders, strict=True):
                value, old = x.at(n, r, s, lane), best.value
                wins = (value > old) | ((value != value) & (old == old))  # NaN must not be lost
                best.become(vec.where(wins, value, old))
                holder.become(vec.where(wins, number.value, holder.value))
            number.become(number.value + vec.all(1.0))
        number.become(number.value + vec.all(skipped))
    for lane, best, holder in zip(lanes, largest, holders, strict=True):
        y.put((n, i, j, lane), best.value)
        winners.put((n, i, j, lane), holder.value)


@vector_code
def _hand_back(vec, dx, dy, winners, n, i, j, c, rows, columns, first, skipped):
    """dx[n, rows, columns, c ...] += dy[n, i, j, c ...] where they won"""
    gradient, winner, number = dy.at(n, i, j, c), winners.at(n, i, j, c), vec.total(vec.all(first))
    for r in vec.range(rows[0], rows[1]):
        for s in vec.range(columns[0], columns[1]):
            own = vec.where(winner == number.value, gradient, vec.all(0.0))
            dx.put((n, r, s, c), dx.at(n, r, s, c) + own)
            number.become(number.value + vec.all(1.0))
        number.become(number.value + vec.all(skipped))


@compiled
def _inside(place, stride, before, window, size):
    """(first, end) along one axis of the cells of a window that lie in the photo."""
    first = place * stride - before
    return max(first, 0), min(first + window, size)


@compiled
def _window(i, j, pool_size, strides, offset, height, width):
    """(rows, columns, the number of the first cell in the window, cells of a row that are not in the photo)"""
    rows = _inside(i, strides[0], offset[0], pool_size[0], height)
    columns = _inside(j, strides[1], offset[1], pool_size[1], width)
    above, before = rows[0] - (i * strides[0] - offset[0]), columns[0] - (j * strides[1] - offset[1])
    skipped = pool_size[1] - (columns[1] - columns[0])
    return rows, columns, np.float32(above * pool_size[1] + before), np.float32(skipped)


@compiled
def _pool_photo(y, winners, x, n, pool_size, strides, offset, vectors):
    """max_pool of photo n, so many vectors of channels at a time"""
    together = len(vectors) * LANES
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            rows, columns, first, skipped = _window(i, j, pool_size, strides, offset, x.shape[1], x.shape[2])
            for c in range(0, y.shape[3] - together + 1, together):
                _largest(y, winners, x, n, i, j, c, rows, columns, first, skipped, vectors)


@in_threads
def max_pool(y: np.ndarray, winners: np.ndarray, x: np.ndarray, pool_size: Pair, strides: Pair, offset: Pair) -> None:
    """Fill y and winners (N, OH, OW, C), float32, from x (N, H, W, C), for those channels that fill whole registers.

    offset is (top, left) of the padding, which never wins.
    """
    two = y.shape[3] // LANES % 2 == 0  # then one is compared while the other waits
    for n in prange(len(y)):
        if two:
            _pool_photo(y, winners, x, n, pool_size, strides, offset, (0, 0))
        else:
            _pool_photo(y, winners, x, n, pool_size, strides, offset, (0,))


@in_threads
def max_pool_backward(
    dx: np.ndarray, dy: np.ndarray, winners: np.ndarray, pool_size: Pair, strides: Pair, offset: Pair
) -> None:
    """dx (N, H, W, C) = the sum of all dy (N, OH, OW, C) at the winners, for the same channels."""
    for n in prange(len(dy)):
        dx[n] = 0
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                rows, columns, first, skipped = _window(i, j, pool_size, strides, offset, dx.shape[1], dx.shape[2])
                for c in range(0, dy.shape[3] - LANES + 1, LANES):
                    _hand_back(dx, dy, winners, n, i, j, c, rows, columns, first, skipped)
