"""The backward products of 3x3 convolutions that are pooled 2x2, without the products by zero.

Of each window of four only the winner has a gradient, and none where ReLU was closed: five
in six of the numbers in dz are zero. BLAS multiplies them all the same. Here each winner
(i, j) of a filter f adds nine cells, for LANES channels at a time, to sums that stay in the
processor's vector registers:

    dkernel[:,:,:,f] += dy * x_padded[i:i+3, j:j+3, :]     nine sums, for all winners of filter f
    dx_padded[i:i+3, j:j+3, :] += dy * kernel[:,:,:,f]     sixteen, for 32 filters of one pooling window

Photos of one channel have no neighbours over the channels; there the filters are the
neighbours, and the four places of a pooling window are taken one after the other.

The sums are those of the full products, with other rounding.
"""

import numpy as np

from kernels.compiled import compiled
from kernels.simd.vectors import LANES, REGISTERS, vector_code

TAPS = [(a, b) for a in range(3) for b in range(3)]  # of a kernel, (row, column)
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]  # of a pooling window, in the order in which `winners` counts them
FILTERS = 32  # of which input_gradient takes the kernels at a time: the first cache holds LANES channels of them
# The sums of a whole patch at once where there are registers for its 16 cells, else of one winner's window.
TOGETHER = [(0, 1, 2, 3)] if REGISTERS >= 32 else [(0,), (1,), (2,), (3,)]
BITS = 12  # of each of the five counts that lie in one number of 64
MASK = 2**BITS - 1


def fits(kernel_size: tuple[int, int], strides: tuple[int, int], channels: int, filters: int, out_w: int) -> bool:
    """Whether kernel_gradient and input_gradient can do this convolution."""
    return kernel_size == (3, 3) and strides == (1, 1) and channels % LANES == 0


def fits_grey(kernel_size: tuple[int, int], strides: tuple[int, int], channels: int, filters: int, out_w: int) -> bool:
    """Whether kernel_gradient_of_grey can do this convolution."""
    return kernel_size == (3, 3) and strides == (1, 1) and channels == 1 and filters % LANES == 0


@vector_code
def _add_windows(vec, dkernel, x, row_pitch, cell_pitch, starts, values, count, n, f, c):
    """dkernel[f, :, :, c ...] += sum over m < count of values[m] * the window of x[n] that begins at starts[m] + c

    dkernel (F, 3, 3, C), x (N, H * W * C), for LANES channels.
    """
    dkernel = dkernel.shaped(None, 3, 3, None)
    sums = [vec.total(dkernel.at(f, a, b, c)) for a, b in TAPS]
    for m in vec.range(count):
        value = values.all(m)
        for (a, b), total in zip(TAPS, sums, strict=True):
            total.add(value, x.at(n, starts[m] + c + row_pitch * a + cell_pitch * b))
    for (a, b), total in zip(TAPS, sums, strict=True):
        dkernel.put((f, a, b, c), total.value)


@vector_code
def _add_kernels(vec, dx, kernel, starts, values, counts, i, j, c):
    """dx[i + r + a, j + s + b, c ...] += sum over m of values[m] * kernel[g, first + starts[m] + tap (a, b)]

    for each place k = (r, s) of a pooling window, with m over the k-th list, starts, values and counts as
    _list_winners left them. dx is one padded photo (H, W, C), c = g * LANES, kernel (C / LANES, F * 9 * LANES).
    """
    for places in TOGETHER:
        cells = sorted({(CORNERS[k][0] + a, CORNERS[k][1] + b) for k in places for a, b in TAPS})
        sums = {(r, s): vec.total(dx.at(i + r, j + s, c)) for r, s in cells}
        for k in places:
            (r, s), count = CORNERS[k], (counts >> k * BITS) & MASK
            for m in vec.range(k * FILTERS, count + k * FILTERS):
                value, start = values.all(m), starts[m]
                for tap, (a, b) in enumerate(TAPS):
                    sums[r + a, s + b].add(value, kernel.at(start + tap * LANES))
        for (r, s), total in sums.items():
            dx.put((i + r, j + s, c), total.value)


@vector_code
def _add_taps(vec, dkernel, dy, winners, x, n, f):
    """dkernel[a, b, 0, f ...] += sum over windows (p, q) and their places (r, s) of x[2p + r + a, 2q + s + b] * dy

    of photo n where this place won, for LANES filters.
    """
    sums = [vec.total(dkernel.at(a, b, 0, f)) for a, b in TAPS]
    for p in vec.range(dy.shape[1]):
        for q in vec.range(dy.shape[2]):
            gradient, winner = dy.at(n, p, q, f), winners.at(n, p, q, f)
            for k, (r, s) in enumerate(CORNERS):
                here = vec.where(winner == k, gradient, vec.all(0))
                for (a, b), total in zip(TAPS, sums, strict=True):
                    total.add(x.all(n, p * 2 + (r + a), q * 2 + (s + b), 0), here)
    for (a, b), total in zip(TAPS, sums, strict=True):
        dkernel.put((a, b, 0, f), total.value)


@compiled
def kernel_gradient_of_grey(dkernel: np.ndarray, dy: np.ndarray, winners: np.ndarray, x_padded: np.ndarray) -> None:
    """dkernel (3, 3, 1, F) = the gradient of the kernel of a 3x3 convolution over photos of one channel.

    dy, winners (N, P, Q, F) as bias_relu_pool left them, with F a multiple of LANES, x_padded (N, H, W, 1)
    with H >= 2P + 2, W >= 2Q + 2, all float32 and contiguous.
    """
    dkernel[:] = 0
    for n in range(len(dy)):
        for f in range(0, dy.shape[3], LANES):
            _add_taps(dkernel, dy, winners, x_padded, n, f)


def window_starts(out_h: int, out_w: int, row_pitch: int, cell_pitch: int) -> np.ndarray:
    """Where each of the four cells of a pooling window begins in a flat photo: int64 (out_h * out_w, 5).

    The fifth, for a window without a winner (CLOSED), is 0 and never read.
    """
    p, q, winner = np.ogrid[:out_h, :out_w, :5]
    starts = (2 * p + (winner >> 1)) * row_pitch + (2 * q + (winner & 1)) * cell_pitch
    return np.where(winner < 4, starts, 0).reshape(out_h * out_w, 5)


@compiled
def kernel_gradient(
    dkernel: np.ndarray, dy: np.ndarray, winners: np.ndarray, x_padded: np.ndarray, where: np.ndarray
) -> None:
    """dkernel (F, 3, 3, C) = the gradient of the kernel of a 3x3 convolution with stride 1 and 2x2 pooling.

    dy, winners (N, P, Q, F) as bias_relu_pool left them, x_padded (N, H, W, C) with H >= 2P + 2,
    W >= 2Q + 2 and C a multiple of LANES, all float32 and contiguous; where: window_starts
    of x_padded's pitches.
    """
    photos, out_h, out_w, filters = dy.shape
    width, channels = x_padded.shape[2:]
    starts, values = np.empty(out_h * out_w + 1, np.int64), np.empty(out_h * out_w + 1, np.float32)
    dkernel[:] = 0
    flat_x = x_padded.reshape(photos, -1)
    for n in range(photos):
        dy_photo, winners_photo = dy[n].reshape(-1, filters), winners[n].reshape(-1, filters)
        for f in range(filters):
            count = 0
            for k in range(out_h * out_w):
                winner = winners_photo[k, f]
                starts[count] = where[k, winner]
                values[count] = dy_photo[k, f]
                count += winner < 4  # a closed one is overwritten by the next: no branch to guess wrong
            for c in range(0, channels, LANES):
                _add_windows(dkernel, flat_x, width * channels, channels, starts, values, count, n, f, c)


@compiled
def _list_winners(starts, values, dy, winners):
    """The filters that won at each of the four cells of one window, in lists of FILTERS; returns their lengths.

    A filter's kernel begins at starts[...], its gradient is values[...]. The five counts (the fifth: of the
    closed) lie in one number, BITS each, for it stays in a register: five in an array make this twice as slow.
    """
    counts = np.uint64(0)
    for f in range(len(dy)):
        k = np.uint64(winners[f])
        place = k * np.uint64(FILTERS) + ((counts >> (k * np.uint64(BITS))) & np.uint64(MASK))
        starts[place] = f * 9 * LANES
        values[place] = dy[f]
        counts += np.uint64(1) << (k * np.uint64(BITS))
    return counts


@compiled
def input_gradient(
    dx: np.ndarray, dy: np.ndarray, winners: np.ndarray, kernel: np.ndarray, offset: tuple[int, int], photo: np.ndarray
) -> None:
    """dx (N, H, W, C) = the gradient of the input of the same convolution, padded by offset (top, left).

    kernel is laid out (C / LANES, F, 3, 3, LANES); photo: room for one padded photo (H', W', C).
    """
    photos, height, width, channels = dx.shape
    out_h, out_w, filters = dy.shape[1:]
    top, left = offset
    starts, values = np.empty(5 * FILTERS, np.int64), np.empty(5 * FILTERS, np.float32)
    flat_kernel, flat_photo = kernel.reshape(-1), photo.reshape(-1)
    for n in range(photos):
        flat_photo[:] = 0
        for f in range(0, filters, FILTERS):
            for p in range(out_h):
                for q in range(out_w):
                    some = slice(f, f + FILTERS)
                    counts = _list_winners(starts, values, dy[n, p, q, some], winners[n, p, q, some])
                    for c in range(0, channels, LANES):
                        kernels = flat_kernel[9 * (c * filters + f * LANES) :]
                        _add_kernels(photo, kernels, starts, values, counts, 2 * p, 2 * q, c)
        for r in range(height):
            for s in range(width):
                for c in range(channels):
                    dx[n, r, s, c] = photo[r + top, s + left, c]
