"""Pooling by the mean, compiled: what cnn/layers/average_pooling.py says, channels side by side."""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.elementwise import LEAST
from kernels.geometry import Pair


@compiled
def _inside(place: int, stride: int, before: int, window: int, size: int) -> tuple[int, int]:
    """Where along one axis the cells of a window begin and end that lie in the photo."""
    first = place * stride - before
    return max(first, 0), min(first + window, size)


@in_threads(least=LEAST)
def average_pool(y: np.ndarray, x: np.ndarray, pool_size: Pair, strides: Pair, offset: Pair) -> None:
    """y (N, OH, OW, C) = the mean of each window of x (N, H, W, C); offset is (top, left) of the padding"""
    photos, out_h, out_w, channels = y.shape
    for n in prange(photos):
        for i in range(out_h):
            top, bottom = _inside(i, strides[0], offset[0], pool_size[0], x.shape[1])
            for j in range(out_w):
                left, right = _inside(j, strides[1], offset[1], pool_size[1], x.shape[2])
                total, count = y[n, i, j], x.dtype.type((bottom - top) * (right - left))
                for c in range(channels):
                    total[c] = 0
                for r in range(top, bottom):
                    for s in range(left, right):
                        row = x[n, r, s]
                        for c in range(channels):
                            total[c] += row[c]
                for c in range(channels):
                    total[c] /= count


@in_threads(least=LEAST)
def average_pool_backward(dx: np.ndarray, dy: np.ndarray, pool_size: Pair, strides: Pair, offset: Pair) -> None:
    """dx (N, H, W, C) = the sum of dy / (cells in the window) over the windows that hold a cell"""
    photos, out_h, out_w, channels = dy.shape
    for n in prange(photos):
        dx[n] = 0
        for i in range(out_h):
            top, bottom = _inside(i, strides[0], offset[0], pool_size[0], dx.shape[1])
            for j in range(out_w):
                left, right = _inside(j, strides[1], offset[1], pool_size[1], dx.shape[2])
                row, count = dy[n, i, j], dx.dtype.type((bottom - top) * (right - left))
                for r in range(top, bottom):
                    for s in range(left, right):
                        dx_row = dx[n, r, s]
                        for c in range(channels):
                            dx_row[c] += row[c] / count
