"""Small steps over large arrays, in all threads: each does what its first line says, and nothing else."""

import numpy as np
from numba import prange

from kernels.compiled import in_threads

LEAST = 2**14  # numbers that are worth a second thread: some microseconds of work


@in_threads(least=LEAST)
def pad(x_padded: np.ndarray, x: np.ndarray, top: int, left: int) -> None:
    """x_padded[:, top : top + H, left : left + W] = x (N, H, W, C)"""
    photos, height, width, _ = x.shape
    for n in prange(photos):
        x_padded[n, top : top + height, left : left + width] = x[n]


@in_threads(least=LEAST)
def relu(y: np.ndarray, x: np.ndarray) -> None:
    """y = max(0, x), for flat arrays; NaN stays NaN"""
    zero = x.dtype.type(0)
    for k in prange(len(x)):
        y[k] = zero if x[k] <= zero else x[k]


@in_threads(least=LEAST)
def relu_backward(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
    """dx = dy where y > 0, else 0, for flat arrays"""
    zero = y.dtype.type(0)
    for k in prange(len(y)):
        dx[k] = dy[k] if y[k] > zero else zero


@in_threads(least=LEAST)
def add(total: np.ndarray, other: np.ndarray) -> None:
    """total += other, for flat arrays"""
    for k in prange(len(total)):
        total[k] += other[k]


def sum_of(parts: np.ndarray) -> np.ndarray:
    """parts[0] + parts[1] + ..., in this order, where parts[0] was. parts is contiguous."""
    for other in parts[1:]:
        if parts[0].size < LEAST:
            parts[0] += other
        else:
            add(parts[0].reshape(-1), other.reshape(-1))
    return parts[0]
