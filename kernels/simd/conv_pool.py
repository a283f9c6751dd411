"""Convolution, bias, ReLU and, if wanted, 2x2 pooling in one step whose sums never leave the vector registers.

im2col writes the windows of a photo out as the rows of a matrix, so that BLAS can multiply
it by the kernel. That matrix is only the photo read in another order: here the product
reads the windows where they lie, and the columns are never written. Where each begins is told by a table,
so kernels, strides and padding may be any.

A tile is SUMS windows for LANES filters, or half as many for twice the filters: 28 sums of 16 numbers, in 28 of the
32 registers that AVX-512 has (with AVX2 12 of 8 numbers, in 12 of 16). When the last product has been added, bias, ReLU
and pooling find their numbers in registers; of the four windows that are pooled only the largest is written.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.relu_pool import CLOSED
from kernels.simd.vectors import LANES, REGISTERS, vector_code

SUMS = REGISTERS - 4  # four registers are left for weights and inputs
POOLED = 4  # windows of which the largest is kept


def cells_at_least(pooled: bool) -> int:
    """How many cells y must have."""
    return SUMS // POOLED if pooled else SUMS


def window_starts(
    out: tuple[int, int], row_pitch: int, cell_pitch: int, strides: tuple[int, int], pooled: bool
) -> np.ndarray:
    """Where in a flat photo the windows behind each cell of y begin: int64 (cells, 5).

    out: (P, Q) of y. Behind a pooled cell are four windows, row by row, else one; the others are 0 and never
    read, nor is the fifth, for CLOSED.
    """
    i, j, k = np.ogrid[: out[0], : out[1], :5]
    if pooled:
        i, j = 2 * i + (k >> 1), 2 * j + (k & 1)
    starts = i * strides[0] * row_pitch + j * strides[1] * cell_pitch
    starts = np.where(k < (4 if pooled else 1), starts, 0).reshape(-1, 5)
    missing = max(0, cells_at_least(pooled) - len(starts))
    return np.concatenate([starts, np.zeros((missing, 5), np.int64)])


def relu_pool(vec: Any, z: Sequence[Any], floor: Any) -> tuple[Any, Any]:
    """The largest of the numbers z behind one cell, or floor, and which it was, or CLOSED, for LANES filters."""
    best, winner = z[0], vec.byte(0)
    for k in range(1, len(z)):
        larger = z[k] > best
        best, winner = vec.where(larger, z[k], best), vec.where(larger, vec.byte(k), winner)
    is_open = best > floor
    best, winner = vec.where(is_open, best, floor), vec.where(is_open, winner, vec.byte(CLOSED))
    # The sum times 0 is 0, or NaN where one of them is NaN or infinite: comparisons alone would lose it.
    total = (z[0] + z[1]) + (z[2] + z[3]) if len(z) == POOLED else z[0]
    return best + total * 0, winner


def _tile(vec, windows, y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors):
    """y and winners of photo n, cells cell ..., so many vectors of filters from f on; `windows` are behind each cell.

    x (N, H * W * C) and kernel (kh, kw * C, F): what a window reads of a row lies side by side, and its rows are
    `pitch` apart.
    """
    lanes = [f + v * LANES for v in range(len(vectors))]
    cells = range(SUMS // len(vectors) // windows)
    begins = [[starts[cell + t, k] for k in range(windows)] for t in cells]
    sums = [[[vec.total() for _ in lanes] for _ in some] for some in begins]
    for u in vec.range(kernel.shape[0]):
        for k in vec.range(kernel.shape[1]):
            weights = [kernel.at(u, k, lane) for lane in lanes]
            for t in cells:
                for begin, totals in zip(begins[t], sums[t], strict=True):
                    number = x.all(n, begin + (u * pitch + k))
                    for total, weight in zip(totals, weights, strict=True):
                        total.add(number, weight)
    for t in cells:
        for v, lane in enumerate(lanes):
            z = [totals[v].value + bias.at(lane) for totals in sums[t]]
            best, winner = relu_pool(vec, z, vec.all(floor))
            y.put((n, cell + t, lane), best)
            winners.put((n, cell + t, lane), winner)


@vector_code
def _pooled_tile(vec, y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors):
    _tile(vec, POOLED, y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors)


@vector_code
def _plain_tile(vec, y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors):
    _tile(vec, 1, y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors)


@compiled
def _conv_photo(y, winners, x, kernel, bias, floor, starts, pitch, pooled, n, vectors):
    """conv_relu_pool of photo n, so many vectors of filters at a time"""
    cells, filters = y.shape[1:]
    together = SUMS // len(vectors) // (POOLED if pooled else 1)
    for f in range(0, filters, len(vectors) * LANES):
        for start in range(0, cells, together):
            cell = min(start, cells - together)  # the last tile may cover cells again: the same numbers
            if pooled:
                _pooled_tile(y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors)
            else:
                _plain_tile(y, winners, x, kernel, bias, floor, starts, pitch, n, cell, f, vectors)


@in_threads
def conv_relu_pool(
    y: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    floor: float,
    starts: np.ndarray,
    pitch: int,
    pooled: bool,
) -> None:
    """y = max(floor, max_pool_2x2(conv(x) + bias)), or without max_pool; winners: which of the windows, or CLOSED.

    x (N, H * W * C) padded photos, pitch = W * C, kernel (kh, kw * C, F), bias (F,), y and winners (N, cells, F) with F
    a multiple of LANES and cells_at_least(pooled) or more cells, starts (cells, 5): window_starts, all
    float32 and contiguous, winners uint8, starts int64.
    """
    two = y.shape[2] % (2 * LANES) == 0  # then each number of x is read for both
    for n in prange(len(y)):
        if two:
            _conv_photo(y, winners, x, kernel, bias, floor, starts, pitch, pooled, n, (0, 0))
        else:
            _conv_photo(y, winners, x, kernel, bias, floor, starts, pitch, pooled, n, (0,))
