"""The backward products of 3x3 convolutions that are pooled 2x2, without the products by zero.

Of each window of four only the winner has a gradient, and none where ReLU was closed: five
in six of the numbers in dz are zero. BLAS multiplies them all the same. Here each winner
adds one window of rows, nine cells of CHANNELS neighbours, to its sum; the sum of a window
stays in the processor's vector registers until all its winners have been added.

    dkernel[:,:,:,f] += dy * x_padded[i:i+3, j:j+3, :]     for each winner (i, j) of filter f
    dx_padded[i:i+3, j:j+3, :] += dy * kernel[:,:,:,f]     for each filter f that won at (i, j)

Photos of one channel have no neighbours over the channels; there the filters are the
neighbours, and the four places of a pooling window are taken one after the other.

The sums are those of the full products, with other rounding. This is the one place that
writes vector code by hand (as LLVM's instructions): Numba's own loops reach half its speed.
"""

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

# 18 registers of AVX-512's 32 hold a window of 2 vectors a cell; 9 of AVX2's 16 one of 1 vector a cell.
AVX512 = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
LANES, VECTORS = (16, 2) if AVX512 else (8, 1)
CHANNELS = LANES * VECTORS  # channels (or filters) are handled in groups of so many
TAPS = [(u, v) for u in range(3) for v in range(3)]
AVAILABLE = not config.DISABLE_JIT  # vector code has no meaning in plain Python

I64 = ir.IntType(64)
VECTOR = ir.VectorType(ir.FloatType(), LANES)


class _Vectors:
    """Writes LLVM instructions on vectors of LANES float32 numbers."""

    def __init__(self, context, builder, signature, args):
        self.builder, self.args = builder, args
        self.data = lambda k: context.make_array(signature.args[k])(context, builder, args[k]).data
        self.fma = builder.module.declare_intrinsic(f"llvm.fma.v{LANES}f32", (), ir.FunctionType(VECTOR, [VECTOR] * 3))

    def at(self, base, *steps):
        """The place base + all steps, each an integer value, or a pair of one and a Python number to multiply."""
        for step in steps:
            base = self.builder.add(base, self.builder.mul(step[0], I64(step[1])) if isinstance(step, tuple) else step)
        return base

    def pointer(self, array, place, kind=VECTOR):
        return self.builder.bitcast(self.builder.gep(array, [place]), kind.as_pointer())

    def load(self, array, place, kind=VECTOR, align=4):
        return self.builder.load(self.pointer(array, place, kind), align=align)

    def number(self, array, place):
        """The number at this place in all lanes of a vector."""
        return self.spread(self.builder.load(self.builder.gep(array, [place])), VECTOR)

    def spread(self, value, kind):
        none, lanes = ir.Constant(kind, ir.Undefined), ir.VectorType(ir.IntType(32), kind.count)
        first = self.builder.insert_element(none, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, none, ir.Constant(lanes, None))

    def sums(self, out, places):
        """Sums that begin with what stands at these places; LLVM keeps them in registers."""
        sums = [cgutils.alloca_once(self.builder, VECTOR) for _ in places]
        for total, place in zip(sums, places, strict=True):
            self.builder.store(self.load(out, place), total)
        return sums

    def add_product(self, total, a, b):
        self.builder.store(self.builder.call(self.fma, [a, b, self.builder.load(total)]), total)

    def put_back(self, out, places, sums):
        for total, place in zip(sums, places, strict=True):
            self.builder.store(self.builder.load(total), self.pointer(out, place), align=4)


@intrinsic
def _add_windows(typingctx, out, out_at, out_pitch, rows, rows_pitch, starts, values, first, last):
    """out[window at out_at] += sum over first <= m < last of values[m] * rows[window at starts[m]]

    A window is 3 rows, `pitch` numbers apart, of 3 cells; the pitches are (row, cell).
    All arrays are flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        write = _Vectors(context, builder, signature, args)
        out, rows, starts, values = (write.data(k) for k in (0, 3, 5, 6))

        def window(start, pitch):
            row, cell = cgutils.unpack_tuple(builder, pitch, 2)
            return [write.at(start, (row, u), (cell, v), I64(k * LANES)) for u, v in TAPS for k in range(VECTORS)]

        places = window(args[1], args[2])
        sums = write.sums(out, places)
        with cgutils.for_range_slice(builder, args[7], args[8], I64(1)) as (m, _):
            value = write.number(values, m)
            for total, place in zip(sums, window(builder.load(builder.gep(starts, [m])), args[4]), strict=True):
                write.add_product(total, value, write.load(rows, place))
        write.put_back(out, places, sums)
        return context.get_dummy_value()

    return types.void(out, out_at, out_pitch, rows, rows_pitch, starts, values, first, last), codegen


@intrinsic
def _add_taps(typingctx, out, f, filters, dy, winners, out_h, out_w, photo, width):
    """out[u,v,f...] += sum over windows (p, q) and their places k of photo[2p + k//2 + u, 2q + k%2 + v] * (dy where k won)

    out (3, 3, filters), dy and winners (out_h, out_w, filters), photo (H, width), all flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        write = _Vectors(context, builder, signature, args)
        out, dy, winners, photo = (write.data(k) for k in (0, 3, 4, 7))
        f, filters, out_h, out_w, width = (args[k] for k in (1, 2, 5, 6, 8))
        lanes = [I64(k * LANES) for k in range(VECTORS)]
        bytes_ = ir.VectorType(ir.IntType(8), LANES)
        places = [write.at(f, (filters, 3 * u + v), lane) for u, v in TAPS for lane in lanes]
        sums = write.sums(out, places)
        with cgutils.for_range(builder, out_h) as p, cgutils.for_range(builder, out_w) as q:
            cell = builder.mul(builder.add(builder.mul(p.index, out_w), q.index), filters)
            corner = builder.mul(builder.add(builder.mul(p.index, width), q.index), I64(2))
            dys = [write.load(dy, write.at(cell, f, lane)) for lane in lanes]
            won = [write.load(winners, write.at(cell, f, lane), bytes_, align=1) for lane in lanes]
            for k in range(4):
                here = write.spread(ir.IntType(8)(k), bytes_)
                gradient = [builder.select(builder.icmp_unsigned("==", w, here), d, VECTOR(None)) for w, d in zip(won, dys, strict=True)]
                for tap, (u, v) in enumerate(TAPS):
                    x = write.number(photo, write.at(corner, (width, k // 2 + u), I64(k % 2 + v)))
                    for lane in range(VECTORS):
                        write.add_product(sums[tap * VECTORS + lane], x, gradient[lane])
        write.put_back(out, places, sums)
        return context.get_dummy_value()

    return types.void(out, f, filters, dy, winners, out_h, out_w, photo, width), codegen


@njit(nogil=True, cache=True)
def kernel_gradient_of_grey(dkernel, dy, winners, x_padded):
    """dkernel (3, 3, 1, F) = the gradient of the kernel of a 3x3 convolution over photos of one channel.

    dy, winners (N, P, Q, F) as bias_relu_pool left them, with F a multiple of CHANNELS, x_padded (N, H, W, 1)
    with H >= 2P + 2, W >= 2Q + 2, all float32 and contiguous.
    """
    photos, out_h, out_w, filters = dy.shape
    dkernel[:] = 0
    flat_dkernel = dkernel.reshape(-1)
    for n in range(photos):
        for f in range(0, filters, CHANNELS):
            _add_taps(flat_dkernel, f, filters, dy[n].reshape(-1), winners[n].reshape(-1), out_h, out_w,
                      x_padded[n].reshape(-1), x_padded.shape[2])  # fmt: skip


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
    W >= 2Q + 2 and C a multiple of CHANNELS, all float32 and contiguous; where: window_starts
    of x_padded's pitches.
    """
    photos, out_h, out_w, filters = dy.shape
    channels = x_padded.shape[3]
    row_pitch = x_padded.shape[2] * channels
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
            for c in range(0, channels, CHANNELS):
                _add_windows(flat_dkernel, f * 9 * channels + c, (3 * channels, channels),
                             photo[c:], (row_pitch, channels), starts, values, 0, count)  # fmt: skip


@njit(nogil=True, cache=True)
def input_gradient(dx, dy, winners, kernel, where, offset, photo):
    """dx (N, H, W, C) = the gradient of the input of the same convolution, padded by offset (top, left).

    kernel is laid out (F, 3, 3, C); photo: room for one padded photo (H', W', C); where: window_starts
    of its pitches.
    """
    photos, height, width, channels = dx.shape
    top, left = offset
    filters = dy.shape[3]
    row_pitch = photo.shape[1] * channels
    starts, values = np.empty((5, filters), np.int64), np.empty((5, filters), np.float32)
    count = np.empty(5, np.int64)  # how many filters won at each of the four cells; at none: the fifth
    flat_kernel, flat_photo = kernel.reshape(-1), photo.reshape(-1)
    for n in range(photos):
        flat_photo[:] = 0
        dy_photo, winners_photo = dy[n].reshape(-1, filters), winners[n].reshape(-1, filters)
        for k in range(len(dy_photo)):
            count[:] = 0
            for f in range(filters):
                winner = winners_photo[k, f]
                starts[winner, count[winner]] = f * 9 * channels
                values[winner, count[winner]] = dy_photo[k, f]
                count[winner] += 1
            for winner in range(4):
                for c in range(0, channels, CHANNELS):
                    _add_windows(flat_photo, where[k, winner] + c, (row_pitch, channels), flat_kernel[c:],
                                 (3 * channels, channels), starts[winner], values[winner], 0, count[winner])  # fmt: skip
        for r in range(height):
            for s in range(width):
                for c in range(channels):
                    dx[n, r, s, c] = photo[r + top, s + left, c]
