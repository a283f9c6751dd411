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
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.vectors import AVX512, BYTES, I64, LANES, VECTOR, Vectors

TAPS = [(u, v) for u in range(3) for v in range(3)]
FILTERS = 32  # of which input_gradient takes the kernels at a time: the first cache holds LANES channels of them
# The sums of a whole patch at once where there are registers for its 16 cells, else of one winner's window.
TOGETHER = [(0, 1, 2, 3)] if AVX512 else [(0,), (1,), (2,), (3,)]
BITS = 12  # of each of the five counts that lie in one number of 64
MASK = 2**BITS - 1


@intrinsic
def _add_windows(typingctx, out, at, x_padded, row_pitch, cell_pitch, starts, values, count):
    """out[tap] += sum over m < count of values[m] * x_padded[tap of the window at starts[m]]

    The nine taps of `out` begin at `at`, cell_pitch apart. All arrays are flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        out, x_padded, starts, values = (write.data(k) for k in (0, 2, 5, 6))
        at, row_pitch, cell_pitch, count = (args[k] for k in (1, 3, 4, 7))
        places = [write.at(at, (cell_pitch, tap)) for tap in range(9)]
        sums = write.sums(out, places)
        with cgutils.for_range(builder, count) as m:
            value, start = write.number(values, m.index), builder.load(builder.gep(starts, [m.index]))
            for total, (u, v) in zip(sums, TAPS, strict=True):
                write.add_product(total, value, write.load(x_padded, write.at(start, (row_pitch, u), (cell_pitch, v))))
        write.put_back(out, places, sums)
        return context.get_dummy_value()

    return types.void(out, at, x_padded, row_pitch, cell_pitch, starts, values, count), codegen


@intrinsic
def _add_kernels(typingctx, out, at, row_pitch, cell_pitch, kernel, starts, values, counts):
    """out[tap + winner] += sum over m < count[winner] of values[winner, m] * kernel[tap of the kernel at starts[winner, m]]

    out is a photo, `at` the corner of a patch of 4x4 cells, of which a winner 0 ... 3 has the window of
    3x3 at its place; counts as _list_winners returns them. All arrays are flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        out, kernel, starts, values = (write.data(k) for k in (0, 4, 5, 6))
        at, row_pitch, cell_pitch, counts = (args[k] for k in (1, 2, 3, 7))
        for winners in TOGETHER:
            cells = sorted({(winner // 2 + u, winner % 2 + v) for winner in winners for u, v in TAPS})
            places = [write.at(at, (row_pitch, r), (cell_pitch, s)) for r, s in cells]
            sums = dict(zip(cells, write.sums(out, places), strict=True))
            for winner in winners:
                count = builder.and_(builder.lshr(counts, I64(winner * BITS)), I64(MASK))
                first = I64(winner * FILTERS)
                with cgutils.for_range_slice(builder, first, builder.add(first, count), I64(1)) as (m, _):
                    value, start = write.number(values, m), builder.load(builder.gep(starts, [m]))
                    for tap, (u, v) in enumerate(TAPS):
                        weights = write.load(kernel, write.at(start, I64(tap * LANES)))
                        write.add_product(sums[winner // 2 + u, winner % 2 + v], value, weights)
            write.put_back(out, places, sums.values())
        return context.get_dummy_value()

    return types.void(out, at, row_pitch, cell_pitch, kernel, starts, values, counts), codegen


@intrinsic
def _add_taps(typingctx, out, f, filters, dy, winners, out_h, out_w, photo, width):
    """out[u,v,f...] += sum over windows (p, q) and their places k of photo[2p + k//2 + u, 2q + k%2 + v] * (dy where k won)

    out (3, 3, filters), dy and winners (out_h, out_w, filters), photo (H, width), all flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        out, dy, winners, photo = (write.data(k) for k in (0, 3, 4, 7))
        f, filters, out_h, out_w, width = (args[k] for k in (1, 2, 5, 6, 8))
        places = [write.at(f, (filters, tap)) for tap in range(9)]
        sums = write.sums(out, places)
        with cgutils.for_range(builder, out_h) as p, cgutils.for_range(builder, out_w) as q:
            cell = write.at(f, builder.mul(builder.add(builder.mul(p.index, out_w), q.index), filters))
            corner = builder.mul(builder.add(builder.mul(p.index, width), q.index), I64(2))
            gradient, winner = write.load(dy, cell), write.load(winners, cell, BYTES, align=1)
            for k in range(4):
                won = builder.icmp_unsigned("==", winner, write.spread(ir.IntType(8)(k), BYTES))
                here = builder.select(won, gradient, VECTOR(None))
                for total, (u, v) in zip(sums, TAPS, strict=True):
                    write.add_product(
                        total, write.number(photo, write.at(corner, (width, k // 2 + u), I64(k % 2 + v))), here
                    )
        write.put_back(out, places, sums)
        return context.get_dummy_value()

    return types.void(out, f, filters, dy, winners, out_h, out_w, photo, width), codegen


@njit(nogil=True, cache=True)
def kernel_gradient_of_grey(dkernel, dy, winners, x_padded):
    """dkernel (3, 3, 1, F) = the gradient of the kernel of a 3x3 convolution over photos of one channel.

    dy, winners (N, P, Q, F) as bias_relu_pool left them, with F a multiple of LANES, x_padded (N, H, W, 1)
    with H >= 2P + 2, W >= 2Q + 2, all float32 and contiguous.
    """
    photos, out_h, out_w, filters = dy.shape
    dkernel[:] = 0
    flat_dkernel = dkernel.reshape(-1)
    for n in range(photos):
        for f in range(0, filters, LANES):
            _add_taps(
                flat_dkernel,
                f,
                filters,
                dy[n].reshape(-1),
                winners[n].reshape(-1),
                out_h,
                out_w,
                x_padded[n].reshape(-1),
                x_padded.shape[2],
            )


def window_starts(out_h: int, out_w: int, row_pitch: int, cell_pitch: int) -> np.ndarray:
    """Where each of the four cells of a pooling window begins in a flat photo: int64 (out_h * out_w, 5).

    The fifth, for a window without a winner (CLOSED), is 0 and never read.
    """
    p, q, winner = np.ogrid[:out_h, :out_w, :5]
    starts = (2 * p + (winner >> 1)) * row_pitch + (2 * q + (winner & 1)) * cell_pitch
    return np.where(winner < 4, starts, 0).reshape(out_h * out_w, 5)


@njit(nogil=True, cache=True)
def kernel_gradient(dkernel, dy, winners, x_padded, where):
    """dkernel (F, 3, 3, C) = the gradient of the kernel of a 3x3 convolution with stride 1 and 2x2 pooling.

    dy, winners (N, P, Q, F) as bias_relu_pool left them, x_padded (N, H, W, C) with H >= 2P + 2,
    W >= 2Q + 2 and C a multiple of LANES, all float32 and contiguous; where: window_starts
    of x_padded's pitches.
    """
    photos, out_h, out_w, filters = dy.shape
    channels = x_padded.shape[3]
    starts, values = np.empty(out_h * out_w + 1, np.int64), np.empty(out_h * out_w + 1, np.float32)
    dkernel[:] = 0
    flat_dkernel = dkernel.reshape(-1)
    for n in range(photos):
        photo = x_padded[n].reshape(-1)
        dy_photo, winners_photo = dy[n].reshape(-1, filters), winners[n].reshape(-1, filters)
        for f in range(filters):
            count = 0
            for k in range(out_h * out_w):
                winner = winners_photo[k, f]
                starts[count] = where[k, winner]
                values[count] = dy_photo[k, f]
                count += winner < 4  # a closed one is overwritten by the next: no branch to guess wrong
            for c in range(0, channels, LANES):
                _add_windows(
                    flat_dkernel,
                    f * 9 * channels + c,
                    photo[c:],
                    x_padded.shape[2] * channels,
                    channels,
                    starts,
                    values,
                    count,
                )


@njit(nogil=True, cache=True)
def _list_winners(starts, values, dy, winners):
    """The filters that won at each of the four cells of one window, in lists of FILTERS; returns how long the lists are.

    A filter's kernel begins at starts[...], its gradient is values[...]. The five counts (the fifth: of the
    closed) lie in one number, BITS each, for it stays in a register: five in an array make this twice as slow.
    """
    counts = np.uint64(0)
    for f in range(len(dy)):
        winner = np.uint64(winners[f])
        place = winner * np.uint64(FILTERS) + ((counts >> (winner * np.uint64(BITS))) & np.uint64(MASK))
        starts[place] = f * 9 * LANES
        values[place] = dy[f]
        counts += np.uint64(1) << (winner * np.uint64(BITS))
    return counts


@njit(nogil=True, cache=True)
def input_gradient(dx, dy, winners, kernel, where, offset, photo):
    """dx (N, H, W, C) = the gradient of the input of the same convolution, padded by offset (top, left).

    kernel is laid out (C / LANES, F, 3, 3, LANES); photo: room for one padded photo (H', W', C); where:
    window_starts of its pitches.
    """
    photos, height, width, channels = dx.shape
    top, left = offset
    filters = dy.shape[3]
    starts, values = np.empty(5 * FILTERS, np.int64), np.empty(5 * FILTERS, np.float32)
    flat_kernel, flat_photo = kernel.reshape(-1), photo.reshape(-1)
    for n in range(photos):
        flat_photo[:] = 0
        dy_photo, winners_photo = dy[n].reshape(-1, filters), winners[n].reshape(-1, filters)
        for f in range(0, filters, FILTERS):
            for k in range(len(dy_photo)):
                counts = _list_winners(starts, values, dy_photo[k, f : f + FILTERS], winners_photo[k, f : f + FILTERS])
                for c in range(0, channels, LANES):
                    _add_kernels(
                        flat_photo,
                        where[k, 0] + c,
                        photo.shape[1] * channels,
                        channels,
                        flat_kernel[9 * (c * filters + f * LANES) :],
                        starts,
                        values,
                        counts,
                    )
        for r in range(height):
            for s in range(width):
                for c in range(channels):
                    dx[n, r, s, c] = photo[r + top, s + left, c]
