"""A depthwise convolution of LANES channels at a time, with its sums in registers.

    y[i, j, c] = bias[c] + sum over u,v of x[i*sh + u, j*sw + v, c] * kernel[u, v, c]
    dkernel[u, v, c] = sum over i,j of x[i*sh + u, j*sw + v, c] * dz[i, j, c]

The channels of a cell lie side by side in memory, so a vector of them is read as it lies, and none is mixed with
another. The photos are padded, and flat: a table says where each window begins (`starts`), another how far behind that
its cells, the taps, lie (`taps`). So kernels, strides and padding may be any.

A sum waits for itself, about four cycles for each product. So several are made side by side: the first formula holds
the sums of CELLS windows while it walks over the taps, the second those of TAPS taps while it walks over the windows.

The input's gradient is the first formula too: dz, spread out by the strides and padded, with the kernel turned round.
"""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.geometry import Pair
from kernels.simd.vectors import LANES, vector_code

CELLS = 7  # maps of photos are 28, 14 and 7 cells wide; twice as many sums and two weights fill the registers of AVX2
TAPS = 9  # of a kernel 3x3


def table(height: int, width: int, row_pitch: int, cell_pitch: int, unit: int = 1) -> np.ndarray:
    """Where each cell of a map begins in a flat photo, row by row, and zeros behind them to fill whole units."""
    places = (np.arange(height)[:, None] * row_pitch + np.arange(width) * cell_pitch).ravel()
    return np.concatenate([places, np.zeros(-len(places) % unit, np.int64)])


@vector_code
def _tile(vec, y, x, kernel, bias, floor, starts, taps, n, cell, c, vectors):
    """y[n, cell + t, c ...] for t < CELLS, so many vectors of channels."""
    lanes = [c + v * LANES for v in range(len(vectors))]
    begins = [starts[cell + t] for t in range(CELLS)]
    sums = [[vec.total(bias.at(lane)) for lane in lanes] for _ in begins]
    for k in vec.range(kernel.shape[0]):
        weights, tap = [kernel.at(k, lane) for lane in lanes], taps[k]
        for begin, totals in zip(begins, sums, strict=True):
            for lane, weight, total in zip(lanes, weights, totals, strict=True):
                total.add(x.at(n, begin + tap + lane), weight)
    lowest = vec.all(floor)
    for t, totals in enumerate(sums):
        for lane, total in zip(lanes, totals, strict=True):
            y.put((n, cell + t, lane), vec.where(lowest > total.value, lowest, total.value))  # NaN is not lost


@vector_code
def _add_products(vec, dkernel, dz, x, starts, places, taps, n, first, c):
    """dkernel[first + k, c ...] += the sum over all windows of x's tap first + k times dz, for k < TAPS"""
    offsets = [taps[first + k] for k in range(TAPS)]
    totals = [vec.total(dkernel.at(first + k, c)) for k in range(TAPS)]
    for cell in vec.range(places.shape[0]):
        gradient, begin = dz.at(n, places[cell] + c), starts[cell] + c
        for offset, total in zip(offsets, totals, strict=True):
            total.add(x.at(n, begin + offset), gradient)
    for k, total in enumerate(totals):
        dkernel.put((first + k, c), total.value)


@compiled
def _convolve_photo(y, x, kernel, bias, floor, starts, taps, n, c, vectors):
    cells = y.shape[1]
    for start in range(0, cells, CELLS):
        cell = min(start, cells - CELLS)  # the last tile may cover cells again: the same numbers
        _tile(y, x, kernel, bias, floor, starts, taps, n, cell, c, vectors)


@in_threads
def convolve(
    y: np.ndarray,
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    floor: float,
    starts: np.ndarray,
    taps: np.ndarray,
) -> None:
    """y = max(floor, depthwise(x) + bias)

    y (N, cells, C) with C a multiple of LANES and CELLS cells or more, x (N, numbers of a padded photo), kernel
    (kh * kw, C), bias (C,), all float32 and contiguous; starts (cells,), taps (kh * kw or more,), int64.
    """
    for n in prange(len(y)):
        c = 0
        while c < y.shape[2]:
            if c + LANES == y.shape[2]:
                _convolve_photo(y, x, kernel, bias, floor, starts, taps, n, c, (0,))
            else:  # two at a time: where a window begins is looked up for both
                _convolve_photo(y, x, kernel, bias, floor, starts, taps, n, c, (0, 0))
            c += 2 * LANES


@in_threads
def kernel_gradient(
    dkernels: np.ndarray,
    shards: np.ndarray,
    dz: np.ndarray,
    x: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    taps: np.ndarray,
) -> None:
    """dkernels[s] (kh * kw or more, C) = the sum over the photos shards[s] ... shards[s + 1] of x times dz

    dz (N, numbers of a photo of gradients), x (N, numbers of a padded photo); where a window begins in x say starts
    (cells or more,), where its gradient lies in dz places (cells,). The taps fill whole units of TAPS.
    """
    for s in prange(len(dkernels)):
        dkernels[s] = 0
        for n in range(shards[s], shards[s + 1]):
            for c in range(0, dkernels.shape[2], LANES):
                for first in range(0, dkernels.shape[1], TAPS):
                    _add_products(dkernels[s], dz, x, starts, places, taps, n, first, c)


@in_threads
def spread(out: np.ndarray, a: np.ndarray, y: np.ndarray, has_relu: bool, offset: Pair, strides: Pair) -> None:
    """out[n, top + i*sh, left + j*sw, :C] = a[n, i, j] (N, H, W, C), and with ReLU 0 where its y was not above 0"""
    photos, height, width, channels = a.shape
    for n in prange(photos):
        for i in range(height):
            for j in range(width):
                cell = out[n, offset[0] + i * strides[0], offset[1] + j * strides[1]]
                if has_relu:
                    for c in range(channels):
                        cell[c] = a[n, i, j, c] if y[n, i, j, c] > 0 else 0
                else:
                    for c in range(channels):
                        cell[c] = a[n, i, j, c]
