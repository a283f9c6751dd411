"""Small steps over large arrays, in all threads: each does what its first line says, and nothing else."""

import numpy as np
from numba import prange

from kernels.compiled import in_threads

LEAST = 2**14  # numbers that are worth a second thread: some microseconds of work


def pad(x_padded: np.ndarray, x: np.ndarray, top: int, left: int) -> None:
    """x_padded[:, top : top + H, left : left + W] = x (N, H, W, C)"""
    rows = x.reshape(*x.shape[:2], -1)
    _pad_rows(x_padded.reshape(*x_padded.shape[:2], -1), rows, top, left * x.shape[3])


@in_threads(least=LEAST)
def _pad_rows(x_padded, x, top, left):
    photos, height, numbers = x.shape
    for n in prange(photos):
        for i in range(height):
            row = x_padded[n, top + i, left:]
            for k in range(numbers):
                row[k] = x[n, i, k]


@in_threads(least=LEAST)
def relu(y: np.ndarray, x: np.ndarray) -> None:
    """y = max(0, x), row by row of (N, M); NaN stays NaN"""
    zero = x.dtype.type(0)
    for n in prange(len(x)):
        for k in range(x.shape[1]):
            y[n, k] = zero if x[n, k] <= zero else x[n, k]


@in_threads(least=LEAST)
def relu_backward(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
    """dx = dy where y > 0, else 0, row by row of (N, M)"""
    zero = y.dtype.type(0)
    for n in prange(len(y)):
        for k in range(y.shape[1]):
            dx[n, k] = dy[n, k] if y[n, k] > zero else zero


@in_threads(least=LEAST)
def prelu(y: np.ndarray, x: np.ndarray, alpha: np.ndarray) -> None:
    """y = x where x > 0, else alpha * x, for each row of (N, M)"""
    for n in prange(len(x)):
        for k in range(x.shape[1]):
            y[n, k] = x[n, k] if x[n, k] > 0 else alpha[k] * x[n, k]


@in_threads
def prelu_backward(
    dx: np.ndarray, dalphas: np.ndarray, shards: np.ndarray, dy: np.ndarray, x: np.ndarray, alpha: np.ndarray
) -> None:
    """dx = dy * the slope, 0 at 0; dalphas[s] (M,) = the sum of dy * min(0, x) of the rows of shard s, one by one"""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for s in prange(len(dalphas)):
        dalphas[s] = 0
        for n in range(shards[s], shards[s + 1]):
            for k in range(x.shape[1]):
                dx[n, k] = dy[n, k] * (one if x[n, k] > zero else alpha[k] if x[n, k] < zero else zero)
                dalphas[s, k] += dy[n, k] * (zero if x[n, k] > zero else x[n, k])


@in_threads(least=LEAST)
def add_to_rows(z: np.ndarray, bias: np.ndarray, floor: float) -> None:
    """z = max(floor, z + bias) for each row of z (N, M); NaN stays NaN"""
    for n in prange(len(z)):
        for k in range(z.shape[1]):
            value = z[n, k] + bias[k]
            z[n, k] = floor if value <= floor else value


@in_threads
def sums_of_rows(totals: np.ndarray, shards: np.ndarray, dz: np.ndarray) -> None:
    """totals[s] = the sum of the rows shards[s] ... shards[s + 1] of dz (N, M), one after the other"""
    for s in prange(len(totals)):
        totals[s] = 0
        for n in range(shards[s], shards[s + 1]):
            for k in range(dz.shape[1]):
                totals[s, k] += dz[n, k]


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
