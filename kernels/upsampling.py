"""Photos enlarged by whole numbers, each cell repeated, and the way back."""

import numpy as np
from numba import prange

from kernels.compiled import in_threads
from kernels.elementwise import LEAST
from kernels.geometry import Pair


@in_threads(least=LEAST)
def repeat(y: np.ndarray, x: np.ndarray, size: Pair) -> None:
    """y[n, i, j] = x[n, i // a, j // b], (a, b) = size; x (N, H, W, C), y (N, a H, b W, C)"""
    for n in prange(len(x)):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                cell, row = x[n, i // size[0], j // size[1]], y[n, i, j]
                for c in range(len(row)):
                    row[c] = cell[c]


@in_threads(least=LEAST)
def repeat_backward(dx: np.ndarray, dy: np.ndarray, size: Pair) -> None:
    """dx[n, i, j] = the sum of the dy of its a * b cells"""
    for n in prange(len(dx)):
        dx[n] = 0
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                total, row = dx[n, i // size[0], j // size[1]], dy[n, i, j]
                for c in range(len(row)):
                    total[c] += row[c]
