"""Max pooling, forward and backward, compiled. Both equal their loops in reference.py.

The two walk over the same windows in the same order, so their outer loops are the same lines.
"""

import numpy as np
from numba import prange

from kernels.compiled import in_threads
from kernels.geometry import Pads, Pair, Shape


def max_pool(x: np.ndarray, pool_size: Pair, strides: Pair, pads: Pads) -> tuple[np.ndarray, np.ndarray]:
    """y[n,i,j,c] = max over u,v of x_padded[n, i*sh + u, j*sw + v, c]

    x (N, H, W, C) -> y (N, OH, OW, C) and winners, int32 of the same shape: u*pw + v of
    the first cell in row-major order that holds the maximum. Padding never wins.
    """
    photos, height, width, channels = x.shape
    top, bottom, left, right = pads
    out_h = (height + top + bottom - pool_size[0]) // strides[0] + 1
    out_w = (width + left + right - pool_size[1]) // strides[1] + 1
    y = np.empty((photos, out_h, out_w, channels), x.dtype)
    winners = np.empty(y.shape, np.int32)
    max_pool_into(y, winners, np.ascontiguousarray(x), pool_size, strides, (top, left))
    return y, winners


def max_pool_backward(
    dy: np.ndarray, winners: np.ndarray, x_shape: Shape, pool_size: Pair, strides: Pair, pads: Pads
) -> np.ndarray:
    """dx = dy at the winner of each window, 0 at every other cell; windows that overlap add up."""
    dx = np.empty(x_shape, dy.dtype)
    max_pool_backward_into(dx, np.ascontiguousarray(dy), winners, pool_size, strides, (pads[0], pads[2]))
    return dx


@in_threads
def max_pool_into(
    y: np.ndarray, winners: np.ndarray, x: np.ndarray, pool_size: Pair, strides: Pair, offset: Pair
) -> None:
    """Fill y and winners (N, OH, OW, C) from x (N, H, W, C); offset is (top, left) of the padding."""
    (ph, pw), (sh, sw), (top, left) = pool_size, strides, offset
    photos, out_h, out_w, channels = y.shape
    height, width = x.shape[1], x.shape[2]
    for n in prange(photos):
        for i in range(out_h):
            for j in range(out_w):
                y[n, i, j, :] = -np.inf
                # Until a cell beats -infinity the first real cell of the window holds the place.
                winners[n, i, j, :] = max(top - i * sh, 0) * pw + max(left - j * sw, 0)
                for u in range(ph):
                    for v in range(pw):
                        r, s = i * sh + u - top, j * sw + v - left
                        if 0 <= r < height and 0 <= s < width:
                            for c in range(channels):
                                value, best = x[n, r, s, c], y[n, i, j, c]
                                if value > best or (value != value and best == best):  # NaN must not be lost
                                    y[n, i, j, c] = value
                                    winners[n, i, j, c] = u * pw + v


@in_threads
def max_pool_backward_into(
    dx: np.ndarray, dy: np.ndarray, winners: np.ndarray, pool_size: Pair, strides: Pair, offset: Pair
) -> None:
    """dx (N, H, W, C) = the sum of all dy (N, OH, OW, C) at the winners."""
    (ph, pw), (sh, sw), (top, left) = pool_size, strides, offset
    photos, out_h, out_w, channels = dy.shape
    height, width = dx.shape[1], dx.shape[2]
    for n in prange(photos):
        dx[n] = 0
        for i in range(out_h):
            for j in range(out_w):
                for u in range(ph):
                    for v in range(pw):
                        r, s = i * sh + u - top, j * sw + v - left
                        if 0 <= r < height and 0 <= s < width:
                            for c in range(channels):
                                if winners[n, i, j, c] == u * pw + v:
                                    dx[n, r, s, c] += dy[n, i, j, c]
