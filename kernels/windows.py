"""Convolution, bias, ReLU and 2x2 pooling in one step whose sums never leave the processor's vector registers.

im2col writes the windows of a photo out as the rows of a matrix, so that BLAS can multiply
it by the kernel. That matrix is only the photo read in another order: here the product
reads the windows where they lie, and the columns are never written.

A tile is TILE pooling windows side by side, four sums each, for LANES filters: 28 sums of 16
numbers, in 28 of the 32 registers that AVX-512 has (with AVX2 12 of 8 numbers, in 12 of 16).
When the last product has been added, bias, ReLU and pooling find their four numbers in
registers, and only the largest is written.
"""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.fused import CLOSED
from kernels.vectors import AVX512, BYTES, LANES, VECTOR, Vectors

TILE = 7 if AVX512 else 3
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]  # of a pooling window, (row, column)


@intrinsic
def _tile(typingctx, y, winners, place, x_padded, corner, down, right, kernel, f, filters, kernel_size, bias, floor):
    """y and winners at place, and at the TILE - 1 cells beside it, for the filters f ... f + LANES - 1.

    x_padded is one photo, its first window begins at `corner`; the windows under and beside it begin
    `down` and `right` numbers further, and each reads kernel_size = (rows, numbers in a row, numbers
    from row to row). All arrays are flat; nothing is checked.
    """

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        y, winners, x_padded, kernel, bias = (write.data(k) for k in (0, 1, 3, 7, 11))
        place, corner, down, right, f, filters, floor = (args[k] for k in (2, 4, 5, 6, 8, 9, 12))
        rows, row_length, row_pitch = cgutils.unpack_tuple(builder, args[10], 3)

        zero = ir.Constant(VECTOR, None)
        windows = [[cgutils.alloca_once_value(builder, zero) for _ in CORNERS] for _ in range(TILE)]
        with cgutils.for_range(builder, rows) as u, cgutils.for_range(builder, row_length) as k:
            x_at = write.at(corner, builder.mul(u.index, row_pitch), k.index)
            tap = builder.add(builder.mul(u.index, row_length), k.index)
            weights = write.load(kernel, write.at(f, builder.mul(tap, filters)))
            for j, sums in enumerate(windows):
                for total, (r, s) in zip(sums, CORNERS, strict=True):
                    write.add_product(
                        total, write.number(x_padded, write.at(x_at, (down, r), (right, 2 * j + s))), weights
                    )

        for j, sums in enumerate(windows):
            z = [builder.fadd(builder.load(total), write.load(bias, f)) for total in sums]
            best, winner = relu_pool(write, z, write.spread(floor, VECTOR))
            here = write.at(place, (filters, j))
            builder.store(best, write.pointer(y, here), align=4)
            builder.store(winner, write.pointer(winners, here, BYTES), align=1)
        return context.get_dummy_value()

    arguments = (y, winners, place, x_padded, corner, down, right, kernel, f, filters, kernel_size, bias, floor)
    return types.void(*arguments), codegen


def relu_pool(write, z, floor):
    """What fused.bias_relu_pool does with the four numbers of a window, for LANES filters."""
    builder, number = write.builder, lambda k: write.spread(ir.IntType(8)(k), BYTES)
    best, winner = z[0], number(0)
    for k in (1, 2, 3):
        larger = builder.fcmp_ordered(">", z[k], best)
        best, winner = builder.select(larger, z[k], best), builder.select(larger, number(k), winner)
    is_open = builder.fcmp_ordered(">", best, floor)
    best, winner = builder.select(is_open, best, floor), builder.select(is_open, winner, number(CLOSED))
    total = builder.fadd(
        builder.fadd(z[0], z[1]), builder.fadd(z[2], z[3])
    )  # times 0: 0, or NaN if one is NaN or infinite
    return builder.fadd(best, builder.fmul(total, ir.Constant(VECTOR, None))), winner


@njit(nogil=True, cache=True)
def conv_relu_pool(y, winners, x_padded, kernel, bias, floor, strides):
    """y = max(floor, max_pool_2x2(conv(x) + bias)); winners: which of the four cells, or CLOSED.

    x_padded (N, H, W, C), kernel (kh, kw, C, F), y and winners (N, P, Q, F) with F a multiple of LANES,
    Q >= TILE and (2P - 1) * sh + kh <= H, (2Q - 1) * sw + kw <= W; float32 and contiguous, winners uint8.
    """
    photos, out_h, out_w, filters = y.shape
    kh, kw, channels = kernel.shape[:3]
    row_pitch = x_padded.shape[2] * channels
    down, right = strides[0] * row_pitch, strides[1] * channels
    flat_kernel = kernel.reshape(-1)
    for n in range(photos):
        flat_y, flat_winners, photo = y[n].reshape(-1), winners[n].reshape(-1), x_padded[n].reshape(-1)
        for i in range(out_h):
            for f in range(0, filters, LANES):
                for start in range(0, out_w, TILE):
                    j = min(
                        start, out_w - TILE
                    )  # the last tile may cover cells of the one before: the same numbers again
                    _tile(
                        flat_y,
                        flat_winners,
                        (i * out_w + j) * filters + f,
                        photo,
                        2 * (i * down + j * right),
                        down,
                        right,
                        flat_kernel,
                        f,
                        filters,
                        (kh, kw * channels, row_pitch),
                        bias,
                        floor,
                    )
