"""The backward products of a convolution, from photos and gradients as they lie in memory, sums in registers.

A gradient dz of a filter f, whose window begins at (i, j), adds to

    dkernel[:,:,:,f] += dz * x_padded[i:i+kh, j:j+kw, :]
    dx_padded[i:i+kh, j:j+kw, :] += dz * kernel[:,:,:,f]

dz is zero where ReLU was closed, and where a window lost its pooling: of the four behind a pooled cell only the
winner has a gradient. Behind both, five in six of its numbers are zero. BLAS multiplies them all the same.
Here lists of those that are not zero are made first, and LANES neighbours of a row of the window multiplied by each:
for dkernel over all gradients of one filter, for dx over all filters with a gradient in one window.

Where a kernel has few taps the lists cost more than they save, and the sooner where nothing was pooled. There
dense_kernel_gradient takes LANES filters as neighbours, and multiplies all.

A row of a window is kw * C neighbours in memory, and where a window begins is told by the table of
conv_pool.window_starts, so kernels, strides and padding may be any. A window is cut into blocks whose sums fill
the registers. The last block may reach beyond the window: what is added there is 0, or goes where nobody looks.

The sums are those of the full products, with other rounding.
"""

import math

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.relu_pool import CLOSED
from kernels.simd.conv_pool import SUMS
from kernels.simd.vectors import LANES, vector_code

Numbers = tuple[int, ...]
Layout = tuple[Numbers, Numbers, np.ndarray]
FILTERS = 32  # of which input_gradient takes the kernels at a time: the first cache holds a block of them
BAND = 64  # cells that kernel_gradient takes at a time: the first cache holds their windows
BITS = 12  # of each of the five counts that lie in one number of 64
MASK = 2**BITS - 1


class Blocks:
    """Windows of kh rows of so many numbers, cut into blocks of equal size; each sum is of `unit` neighbours.

    rows and sums are tuples: their lengths, the rows of a block and the sums in each, are known where code is written.
    """

    def __init__(self, kh: int, numbers: int, pitch: int, unit: int):
        self.window = kh, numbers
        needed = math.ceil(numbers / unit)
        self.down = math.ceil(kh / SUMS)
        rows = math.ceil(kh / self.down)
        self.across = math.ceil(needed / (SUMS // rows))
        sums = math.ceil(needed / self.across)
        self.height, self.width = rows, sums * unit
        self.rows = tuple(r * pitch for r in range(rows))  # where they begin in a flat photo
        self.sums = tuple(range(0, self.width, unit))
        b, a = np.ogrid[: self.down, : self.across]
        self.firsts = (b * rows * pitch + a * self.width).ravel()  # where each block begins in a window, int64
        self.reach = (self.down * rows - 1) * pitch + self.across * self.width  # numbers from a window's first to last
        self.layout: Layout = self.rows, self.sums, self.firsts  # what the kernels want to know

    def join(self, dkernel: np.ndarray, dkernels: np.ndarray) -> None:
        """dkernel (kh, numbers, F) = the sum over s, in this order, of dkernels (S, F, blocks, height * width)"""
        _join(dkernel, dkernels, self.height, self.width, self.across)

    def cut(self, blocks: np.ndarray, kernel: np.ndarray) -> None:
        """blocks (blocks, F, height * width) = kernel (kh, numbers, F), 0 where they reach beyond it"""
        _cut(blocks, kernel, self.height, self.width, self.across)


@in_threads(least=2**12)
def _join(dkernel, dkernels, height, width, across):
    kh, numbers, filters = dkernel.shape
    for turn in prange(kh * (filters // LANES + 1)):  # a few filters at a time, whose lines the cache holds
        u, first = turn % kh, turn // kh * LANES
        for k in range(numbers):
            block, tap = u // height * across + k // width, u % height * width + k % width
            for f in range(first, min(first + LANES, filters)):
                total = dkernels[0, f, block, tap]
                for s in range(1, len(dkernels)):
                    total += dkernels[s, f, block, tap]
                dkernel[u, k, f] = total


@in_threads(least=2**12)
def _cut(blocks, kernel, height, width, across):
    kh, numbers, filters = kernel.shape
    for turn in prange(len(blocks) * (filters // LANES + 1)):
        block, first = turn % len(blocks), turn // len(blocks) * LANES
        for tap in range(height * width):
            u, k = block // across * height + tap // width, block % across * width + tap % width
            inside = u < kh and k < numbers
            for f in range(first, min(first + LANES, filters)):
                blocks[block, f, tap] = kernel[u, k, f] if inside else 0


def few_taps(kh: int, numbers: int, most_are_zero: bool) -> bool:
    """Whether lists cost more than they save, for a window of kh rows of so many numbers.

    To put a gradient into a list and take it out again takes as long as some vectors of products: with half of the
    gradients zero that is not earned by 8 vectors, and with most of them by 3 it is, as was measured.
    """
    return kh * numbers <= max(SUMS, (2 if most_are_zero else 8) * LANES)


@vector_code
def _add_windows(vec, dkernel, x, rows, sums, starts, values, count, f, block, first):
    """dkernel[f, block] += sum over m < count of values[m] * the block of x that begins at starts[m] + first

    dkernel (F, blocks, height * width), x flat.
    """
    places = [(f, block, r * len(sums) * LANES + v * LANES) for r in range(len(rows)) for v in range(len(sums))]
    totals = [vec.total(dkernel.at(*place)) for place in places]
    for m in vec.range(count):
        value, start = values.all(m), starts[m] + first
        neighbours = (x.at(start + row + v * LANES) for row in rows for v in range(len(sums)))
        for total, some in zip(totals, neighbours, strict=True):
            total.add(value, some)
    for place, total in zip(places, totals, strict=True):
        dkernel.put(place, total.value)


@vector_code
def _add_products(vec, dkernel, dy, winners, x, starts, rows, sums, windows, n, f, block, first):
    """dkernel[block, :, f ...] += sum over cells and their windows of dz * the block of x that begins at starts + first

    dkernel (blocks, height * width, F), for LANES filters.
    """
    totals = [vec.total(dkernel.at(block, tap, f)) for tap in range(len(rows) * len(sums))]
    for cell in vec.range(dy.shape[1]):
        gradient, winner = dy.at(n, cell, f), winners.at(n, cell, f)
        for k in range(len(windows)):
            dz, start = vec.where(winner == k, gradient, vec.all(0)), starts[cell, k] + first
            taps = (x.all(start + row + v) for row in rows for v in range(len(sums)))
            for total, tap in zip(totals, taps, strict=True):
                total.add(tap, dz)
    for tap, total in enumerate(totals):
        dkernel.put((block, tap, f), total.value)


@vector_code
def _add_open(vec, dbias, dy, winners, n, f):
    """dbias[f ...] += sum over cells of dy[n] where a window won, for LANES filters."""
    total = vec.total(dbias.at(f))
    for cell in vec.range(dy.shape[1]):
        is_closed = winners.at(n, cell, f) == CLOSED
        total.add(vec.all(1.0), vec.where(is_closed, vec.all(0), dy.at(n, cell, f)))
    dbias.put((f,), total.value)


@in_threads
def bias_gradient(dbiases: np.ndarray, shards: np.ndarray, dy: np.ndarray, winners: np.ndarray) -> None:
    """dbiases[s, f] = sum of the dy (N, cells, F) of all cells of filter f in shard s that are not CLOSED.

    Its photos are shards[s] ... shards[s + 1]; winners (N, cells or more, F); F is a multiple of LANES in all three.
    """
    for s in prange(len(dbiases)):
        dbiases[s] = 0
        for n in range(shards[s], shards[s + 1]):
            for f in range(0, dy.shape[2], LANES):
                _add_open(dbiases[s], dy, winners, n, f)


@vector_code
def _add_kernels(vec, dx, kernel, rows, sums, filters, values, begin, end, block, place):
    """The block of dx that begins at place += sum over begin <= m < end of values[m] * kernel[block, filters[m]]

    dx one flat padded photo, kernel (blocks, F, height * width).
    """
    places = [place + row + v * LANES for row in rows for v in range(len(sums))]
    totals = [vec.total(dx.at(cell)) for cell in places]
    for m in vec.range(begin, end):
        value, f = values.all(m), filters[m]
        for k, total in enumerate(totals):
            total.add(value, kernel.at(block, f, k * LANES))
    for cell, total in zip(places, totals, strict=True):
        dx.put((cell,), total.value)


@compiled
def _add_photo_sparsely(dkernel, dy, winners, x, first, starts, rows, sums, firsts, n, begins, values):
    """kernel_gradient's part of photo n, whose numbers begin at x[first]; begins, values: room for BAND + 1"""
    cells, filters = dy.shape[1:]
    for band in range(0, cells, BAND):
        for f in range(filters):
            count = 0
            for cell in range(band, min(band + BAND, cells)):
                winner = winners[n, cell, f]
                begins[count] = starts[cell, winner]
                values[count] = dy[n, cell, f]
                # What is left out is overwritten by the next: no branch to guess wrong.
                count += (winner < CLOSED) & (dy[n, cell, f] != 0)
            for block in range(len(firsts)):
                _add_windows(dkernel, x, rows, sums, begins, values, count, f, block, first + firsts[block])


@in_threads
def kernel_gradient(
    dkernels: np.ndarray,
    shards: np.ndarray,
    dy: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    size: int,
    starts: np.ndarray,
    layout: Layout,
) -> None:
    """dkernels[s] (F, blocks, height * width) = the kernel's gradient by shard s, from what is not zero.

    Its photos are shards[s] ... shards[s + 1]. dy (N, cells, F), winners as conv_relu_pool left them, (N, cells or
    more, F or more), starts (cells or more, 5), layout: of Blocks with unit LANES; x flat: photos of `size` numbers
    and what the last window reaches beyond them.
    """
    rows, sums, firsts = layout
    for s in prange(len(dkernels)):
        begins, values = np.empty(BAND + 1, np.int64), np.empty(BAND + 1, np.float32)
        dkernels[s] = 0
        for n in range(shards[s], shards[s + 1]):
            _add_photo_sparsely(dkernels[s], dy, winners, x, n * size, starts, rows, sums, firsts, n, begins, values)


@in_threads
def dense_kernel_gradient(
    dkernels: np.ndarray,
    shards: np.ndarray,
    dy: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    size: int,
    starts: np.ndarray,
    layout: Layout,
    windows: Numbers,
) -> None:
    """dkernels[s] (blocks, height * width, F) = the same by all products; layout: of Blocks with unit 1.

    F is a multiple of LANES in all three; windows: a tuple as long as there are behind each cell.
    """
    rows, sums, firsts = layout
    for s in prange(len(dkernels)):
        dkernels[s] = 0
        for n in range(shards[s], shards[s + 1]):
            for f in range(0, dy.shape[2], LANES):
                for block in range(len(firsts)):
                    first = n * size + firsts[block]
                    _add_products(dkernels[s], dy, winners, x, starts, rows, sums, windows, n, f, block, first)


@compiled
def _list_winners(some, values, dy, winners, first):
    """The filters with a gradient for each of the windows behind one cell, in lists of FILTERS; returns their lengths.

    A filter is first + its place, its gradient in values. The five counts (the fifth: of those without) lie in
    one number, BITS each, for it stays in a register: five in an array make this twice as slow.
    """
    counts = np.uint64(0)
    for f in range(len(dy)):
        winner, is_zero = np.uint64(winners[f]), np.uint64(dy[f] == 0)
        k = winner + (np.uint64(CLOSED) - winner) * is_zero  # CLOSED if it is: no branch to guess wrong
        place = k * np.uint64(FILTERS) + ((counts >> (k * np.uint64(BITS))) & np.uint64(MASK))
        some[place] = first + f
        values[place] = dy[f]
        counts += np.uint64(1) << (k * np.uint64(BITS))
    return counts


@compiled
def _input_gradient_of_photo(dx, dy, winners, kernel, offset, photo, pitch, starts, rows, sums, firsts, windows, n):
    """input_gradient of photo n"""
    _, height, width, channels = dx.shape
    _, cells, filters = dy.shape
    top, left = offset
    some, values = np.empty(5 * FILTERS, np.int64), np.empty(5 * FILTERS, np.float32)
    photo[:] = 0
    for f in range(0, filters, FILTERS):
        for cell in range(cells):
            end = min(f + FILTERS, filters)
            counts = _list_winners(some, values, dy[n, cell, f:end], winners[n, cell, f:end], f)
            for block in range(len(firsts)):
                for k in range(len(windows)):
                    begin, count = k * FILTERS, np.int64((counts >> np.uint64(k * BITS)) & np.uint64(MASK))
                    place = starts[cell, k] + firsts[block]
                    _add_kernels(photo, kernel, rows, sums, some, values, begin, begin + count, block, place)
    for r in range(height):
        for s in range(width):
            for c in range(channels):
                dx[n, r, s, c] = photo[(r + top) * pitch + (s + left) * channels + c]


@in_threads
def input_gradient(
    dx: np.ndarray,
    dy: np.ndarray,
    winners: np.ndarray,
    kernel: np.ndarray,
    offset: tuple[int, int],
    photo: np.ndarray,
    pitch: int,
    starts: np.ndarray,
    layout: Layout,
    windows: Numbers,
) -> None:
    """dx (N, H, W, C) = the gradient of the input, padded by offset (top, left), by the gradients that are not zero.

    kernel (blocks, F, height * width): of Blocks with unit LANES, zeros where it reaches beyond the window; photo:
    for each of the parts that the photos are shared out to, room for a flat padded photo, whose rows are `pitch`
    apart, and what the last window reaches beyond it.
    """
    rows, sums, firsts = layout
    photos, parts = len(dx), len(photo)
    for part in prange(parts):
        for n in range(part * photos // parts, (part + 1) * photos // parts):
            _input_gradient_of_photo(
                dx, dy, winners, kernel, offset, photo[part], pitch, starts, rows, sums, firsts, windows, n
            )
