"""The two backward products of a 3x3 convolution that is pooled 2x2, without the products by zero.

Of each window of four only the winner has a gradient, and none where ReLU was closed: five
in six of the numbers in dz are zero. BLAS multiplies them all the same. Here each winner
adds one window of rows, nine cells of CHANNELS neighbours, to its sum; the sum of a window
stays in the processor's vector registers until all its winners have been added.

    dkernel[:,:,:,f] += dy * x_padded[i:i+3, j:j+3, :]     for each winner (i, j) of filter f
    dx_padded[i:i+3, j:j+3, :] += dy * kernel[:,:,:,f]     for each filter f that won at (i, j)

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
CHANNELS = LANES * VECTORS  # the input's channels are handled in groups of so many
TAPS = 9
AVAILABLE = not config.DISABLE_JIT  # vector code has no meaning in plain Python


@intrinsic
def _add_windows(typingctx, out, out_at, out_pitch, rows, rows_pitch, starts, values, first, last):
    """out[window at out_at] += sum over first <= m < last of values[m] * rows[window at starts[m]]

    A window is 3 rows, `pitch` numbers apart, of 3 cells; the pitches are (row, cell).
    All arrays are flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.FloatType(), LANES)
        i64 = ir.IntType(64)
        pointers = {k: context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 3, 5, 6)}
        fma = builder.module.declare_intrinsic(f"llvm.fma.v{LANES}f32", (), ir.FunctionType(vector, [vector] * 3))

        def cells(base, start, pitch):
            """A pointer to each vector of the window at start."""
            row_pitch, cell_pitch = cgutils.unpack_tuple(builder, pitch, 2)
            for u in range(3):
                for v in range(3):
                    step = builder.add(builder.mul(row_pitch, i64(u)), builder.mul(cell_pitch, i64(v)))
                    for k in range(VECTORS):
                        place = builder.add(start, builder.add(step, i64(k * LANES)))
                        yield builder.bitcast(builder.gep(base, [place]), vector.as_pointer())

        sums = [cgutils.alloca_once(builder, vector) for _ in range(TAPS * VECTORS)]  # LLVM makes them registers
        for total, cell in zip(sums, cells(pointers[0], args[1], args[2]), strict=True):
            builder.store(builder.load(cell, align=4), total)
        with cgutils.for_range_slice(builder, args[7], args[8], i64(1)) as (m, _):
            start = builder.load(builder.gep(pointers[5], [m]))
            value = builder.load(builder.gep(pointers[6], [m]))
            value = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            value = builder.shuffle_vector(value, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), LANES), None))
            for total, cell in zip(sums, cells(pointers[3], start, args[4]), strict=True):
                builder.store(builder.call(fma, [value, builder.load(cell, align=4), builder.load(total)]), total)
        for total, cell in zip(sums, cells(pointers[0], args[1], args[2]), strict=True):
            builder.store(builder.load(total), builder.bitcast(cell, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(out, out_at, out_pitch, rows, rows_pitch, starts, values, first, last), codegen


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
                _add_windows(flat_dkernel, f * TAPS * channels + c, (3 * channels, channels),
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
                starts[winner, count[winner]] = f * TAPS * channels
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
