"""A depthwise convolution of LANES channels at a time, with its sums in registers.

    y[i, j, c] = bias[c] + sum over u,v of x[i*sh + u, j*sw + v, c] * kernel[u, v, c]
    dkernel[u, v, c] = sum over i,j of x[i*sh + u, j*sw + v, c] * dz[i, j, c]

The channels of a cell lie side by side in memory, so a vector of them is read as it lies, and none is mixed with
another. Each photo is first laid into a room: with a border of zeros, so that no window hangs over, and with so many
channels that they fill whole registers. A thread uses its room again for the next photo, and so has it in its cache.
A table says where in the room each window begins (`starts`), another how far behind that its cells, the taps, lie
(`taps`). So kernels, strides and padding may be any.

A sum waits for itself, about four cycles for each product. So several are made side by side: the first formula holds
the sums of CELLS windows while it walks over the taps, the second those of TAPS taps while it walks over the windows.

The input's gradient is the first formula too: of dz, laid as far apart as the strides, and of the kernel turned round.
"""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.geometry import Pair
from kernels.simd.vectors import LANES, vector_code

CELLS = 7  # maps of photos are 28, 14 and 7 cells wide; twice as many sums and two weights fill the registers of AVX2
TAPS = 9  # of a kernel 3x3


def table(height: int, width: int, row_pitch: int, cell_pitch: int, unit: int = 1) -> np.ndarray:
    """Where each cell of a map begins in a room, row by row, and zeros behind them to fill whole units."""
    places = (np.arange(height)[:, None] * row_pitch + np.arange(width) * cell_pitch).ravel()
    return np.concatenate([places, np.zeros(-len(places) % unit, np.int64)])


@vector_code
def _tile(vec, y, room, kernel, bias, floor, starts, taps, n, cell, c, vectors):
    """y[n, cell + t, c ...] for t < CELLS, so many vectors of channels."""
    lanes = [c + v * LANES for v in range(len(vectors))]
    begins = [starts[cell + t] for t in range(CELLS)]
    sums = [[vec.total(bias.at(lane)) for lane in lanes] for _ in begins]
    for k in vec.range(kernel.shape[0]):
        weights, tap = [kernel.at(k, lane) for lane in lanes], taps[k]
        for begin, totals in zip(begins, sums, strict=True):
            for lane, weight, total in zip(lanes, weights, totals, strict=True):
                total.add(room.at(begin + tap + lane), weight)
    lowest = vec.all(floor)
    for t, totals in enumerate(sums):
        for lane, total in zip(lanes, totals, strict=True):
            y.put((n, cell + t, lane), vec.where(lowest > total.value, lowest, total.value))  # NaN is not lost


@vector_code
def _add_products(vec, dkernel, dz, x, starts, places, taps, first, c):
    """dkernel[first + k, c ...] += the sum over all windows of x's tap first + k times dz, for k < TAPS"""
    offsets = [taps[first + k] for k in range(TAPS)]
    totals = [vec.total(dkernel.at(first + k, c)) for k in range(TAPS)]
    for cell in vec.range(places.shape[0]):
        gradient, begin = dz.at(places[cell] + c), starts[cell] + c
        for offset, total in zip(offsets, totals, strict=True):
            total.add(x.at(begin + offset), gradient)
    for k, total in enumerate(totals):
        dkernel.put((first + k, c), total.value)


@vector_code
def _add_up(vec, dbias, dz, places, c):
    """dbias[c ...] += the sum of dz over all windows"""
    total = vec.total(dbias.at(c))
    for cell in vec.range(places.shape[0]):
        total.become(total.value + dz.at(places[cell] + c))
    dbias.put((c,), total.value)


@compiled
def _lay(room, a, y, has_relu, offset, strides):
    """room[top + i*sh, left + j*sw, :C] = a[i, j] (H, W, C), and with ReLU 0 where its y was not above 0"""
    height, width, channels = a.shape
    for i in range(height):
        for j in range(width):
            cell = room[offset[0] + i * strides[0], offset[1] + j * strides[1]]
            if has_relu:
                for c in range(channels):
                    cell[c] = a[i, j, c] if y[i, j, c] > 0 else 0
            else:
                for c in range(channels):
                    cell[c] = a[i, j, c]


@compiled
def _convolve_photo(y, room, kernel, bias, floor, starts, taps, n, c, vectors):
    cells = y.shape[1]
    for start in range(0, cells, CELLS):
        cell = min(start, cells - CELLS)  # the last tile may cover cells again: the same numbers
        _tile(y, room, kernel, bias, floor, starts, taps, n, cell, c, vectors)


@in_threads
def convolve(
    y: np.ndarray,
    laid: tuple[np.ndarray, np.ndarray, bool, Pair, Pair],
    rooms: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    floor: float,
    starts: np.ndarray,
    taps: np.ndarray,
) -> None:
    """y = max(floor, depthwise(photos) + bias)

    y (N, cells, C) with C a multiple of LANES and CELLS cells or more; laid: the photos (N, H, W, C or fewer) and how
    _lay shall lay them, into rooms (parts, height, width, C), which are zero elsewhere; kernel (kh * kw, C), bias (C,),
    all float32 and contiguous; starts (cells,), taps (kh * kw or more,), int64.
    """
    photos, gates, has_relu, offset, strides = laid
    parts = len(rooms)
    for p in prange(parts):
        part = np.int64(p)  # prange counts without a sign
        room = rooms[part].reshape(rooms[part].size)
        for n in range(part * len(y) // parts, (part + 1) * len(y) // parts):
            _lay(rooms[part], photos[n], gates[n], has_relu, offset, strides)
            c = 0
            while c < y.shape[2]:
                if c + LANES == y.shape[2]:
                    _convolve_photo(y, room, kernel, bias, floor, starts, taps, n, c, (0,))
                else:  # two at a time: where a window begins is looked up for both
                    _convolve_photo(y, room, kernel, bias, floor, starts, taps, n, c, (0, 0))
                c += 2 * LANES


@in_threads
def gradients(
    dkernels: np.ndarray,
    dbiases: np.ndarray,
    shards: np.ndarray,
    laid_dz: tuple[np.ndarray, np.ndarray, bool, Pair, Pair],
    laid_x: tuple[np.ndarray, np.ndarray, bool, Pair, Pair],
    rooms_dz: np.ndarray,
    rooms_x: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    taps: np.ndarray,
) -> None:
    """dkernels[s] (kh * kw or more, C), dbiases[s] (C,) = the sums over the photos shards[s] ... shards[s + 1]

    laid_dz, laid_x: gradients and photos, as convolve has them; each shard has a room for one of both. Where a window
    begins say starts (cells or more,), where its gradient lies places (cells,). The taps fill whole units of TAPS.
    """
    (dy, y, has_relu, dz_offset, strides), (photos, _, _, offset, ones) = laid_dz, laid_x
    for s in prange(len(dkernels)):
        dkernels[s], dbiases[s] = 0, 0
        dz, x = rooms_dz[s].reshape(rooms_dz[s].size), rooms_x[s].reshape(rooms_x[s].size)
        for n in range(shards[s], shards[s + 1]):
            _lay(rooms_dz[s], dy[n], y[n], has_relu, dz_offset, strides)
            _lay(rooms_x[s], photos[n], photos[n], False, offset, ones)
            for c in range(0, dkernels.shape[2], LANES):
                _add_up(dbiases[s], dz, places, c)
                for first in range(0, dkernels.shape[1], TAPS):
                    _add_products(dkernels[s], dz, x, starts, places, taps, first, c)
