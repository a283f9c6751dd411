"""The loops of batch normalization, with the ReLU and the 2x2 pooling behind it in the same sweep over the maps.

Maps x are (N, H, W, C). Of y each cell has side * side windows behind it: one where nothing is pooled, which won or is
CLOSED. What is summed up is summed photo by photo, so no sum depends on who computes which photo.
"""

import numpy as np
from numba import prange

from kernels.compiled import in_threads
from kernels.elementwise import LEAST
from kernels.relu_pool import CLOSED


@in_threads
def moments(means: np.ndarray, squares: np.ndarray, x: np.ndarray) -> None:
    """means[n] = the mean of each channel of photo n, squares[n] = the sum of (x - means[n])^2, both (N, C)"""
    photos, height, width, channels = x.shape
    for n in prange(photos):
        mean, square = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        for i in range(height):
            for j in range(width):
                row = x[n, i, j]
                for c in range(channels):
                    mean[c] += row[c]
        mean /= x.dtype.type(height * width)
        for i in range(height):
            for j in range(width):
                row = x[n, i, j]
                for c in range(channels):
                    square[c] += (row[c] - mean[c]) * (row[c] - mean[c])
        means[n] = mean
        squares[n] = square


@in_threads(least=LEAST)
def normalize(
    y: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    floor: float,
    side: int,
) -> None:
    """y (N, P, Q, C) = max(floor, max_pool((x - mean) * scale + shift)); winners: which of the windows, or CLOSED.

    NaN stays NaN.
    """
    photos, out_h, out_w, channels = y.shape
    for n in prange(photos):
        for i in range(out_h):
            for j in range(out_w):
                best, winner = y[n, i, j], winners[n, i, j]
                for k in range(side * side):
                    row = x[n, side * i + k // side, side * j + k % side]
                    for c in range(channels):
                        value = (row[c] - mean[c]) * scale[c] + shift[c]
                        wins = (k == 0) | (value > best[c]) | (value != value)
                        winner[c] = k if wins else winner[c]
                        best[c] = value if wins else best[c]
                for c in range(channels):
                    winner[c] = CLOSED if best[c] <= floor else winner[c]
                    best[c] = floor if best[c] <= floor else best[c]


@in_threads
def gradient_sums(
    dgammas: np.ndarray,
    dbetas: np.ndarray,
    dy: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    side: int,
) -> None:
    """dbetas[n] (C,) = the sum of photo n's dy that are not CLOSED, dgammas[n] that of dy * (x - mean) where x won"""
    photos, out_h, out_w, channels = dy.shape
    for n in prange(photos):
        dgamma, dbeta = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        for i in range(out_h):
            for j in range(out_w):
                dy_row, winner = dy[n, i, j], winners[n, i, j]
                for k in range(side * side):
                    row = x[n, side * i + k // side, side * j + k % side]
                    for c in range(channels):
                        d = dy_row[c] if winner[c] == k else x.dtype.type(0)
                        dbeta[c] += d
                        dgamma[c] += d * (row[c] - mean[c])
        dgammas[n] = dgamma
        dbetas[n] = dbeta


@in_threads(least=LEAST)
def input_gradient(
    dx: np.ndarray,
    dy: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    of_dy: np.ndarray,
    of_x: np.ndarray,
    constant: np.ndarray,
    side: int,
) -> None:
    """dx = of_dy * dy where x won, else 0, and of_x * (x - mean) + constant everywhere"""
    photos, height, width, channels = x.shape
    out_h, out_w = dy.shape[1:3]
    for n in prange(photos):
        for i in range(height):
            for j in range(width):
                row, dx_row = x[n, i, j], dx[n, i, j]
                for c in range(channels):
                    dx_row[c] = of_x[c] * (row[c] - mean[c]) + constant[c]
                if i < side * out_h and j < side * out_w:
                    dy_row, winner = dy[n, i // side, j // side], winners[n, i // side, j // side]
                    k = i % side * side + j % side
                    for c in range(channels):
                        dx_row[c] += of_dy[c] * dy_row[c] if winner[c] == k else x.dtype.type(0)
