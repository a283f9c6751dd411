"""Winograd's convolution: the four sums of a pooling window from 16 products a channel instead of 36.

For 3x3 kernels with stride 1, F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks" (2015). A pooling window reads a patch d of 4x4 cells. With

    B = 1  0 -1  0     G =  1    0   0      A = 1  1  1  0
        0  1  1  0         1/2  1/2 1/2         0  1 -1 -1
        0 -1  1  0         1/2 -1/2 1/2
        0  1  0 -1          0    0   1

its four sums are  A (sum over c of (B d B') * (G kernel G')) A'  where ' transposes and * goes cell by
cell: for each of the 16 cells a product of matrices over the channels. B and A only add; G is done
once a pass. (B and A are transposed in the paper.) The result differs from the plain sums by rounding
alone, which is no larger here: with 32 channels a sum has 32 terms instead of 288.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.vectors import AVX512, BYTES, I64, LANES, VECTOR, Vectors
from kernels.windows import relu_pool

TILE, VECTORS = 7, 2 if AVX512 else 1  # pooling windows, and vectors of filters, at a time: 14 or 7 sums in registers
FILTERS = VECTORS * LANES
PRODUCTS_SHAPE = (16, TILE, FILTERS)  # what conv_relu_pool needs room for: the products of TILE patches
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


def transform_kernel(transformed: np.ndarray, kernel: np.ndarray) -> None:
    """transformed (16, C, F) = G kernel G' for each channel and filter of kernel (3, 3, C, F)."""
    rows = np.tensordot(G, kernel, (1, 0)).reshape(4, 3, -1)
    np.matmul(G, rows, out=transformed.reshape(4, 4, -1))


def patches_shape(channels: int) -> tuple[int, int, int]:
    """What conv_relu_pool needs room for: TILE transformed patches."""
    return 16, TILE, channels


def _rows_and_columns(transform, square):
    """transform each column of a square (a list of rows) and then each row of what came out."""
    columns = [transform(column) for column in zip(*square, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]


@intrinsic
def _transform_input(typingctx, patches, place, pitch, x_padded, corner, row_pitch, cell_pitch):
    """patches[cell * pitch + place + lane] = B d B' of the patch that begins at corner, for LANES channels."""

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        patches, x_padded = write.data(0), write.data(3)
        place, pitch, corner, row_pitch, cell_pitch = (args[k] for k in (1, 2, 4, 5, 6))

        def b(d):
            return [
                builder.fsub(d[0], d[2]),
                builder.fadd(d[1], d[2]),
                builder.fsub(d[2], d[1]),
                builder.fsub(d[1], d[3]),
            ]

        d = [
            [write.load(x_padded, write.at(corner, (row_pitch, r), (cell_pitch, s))) for s in range(4)]
            for r in range(4)
        ]
        for cell, value in enumerate(sum(_rows_and_columns(b, d), [])):
            builder.store(value, write.pointer(patches, write.at(place, (pitch, cell))), align=4)
        return context.get_dummy_value()

    return types.void(patches, place, pitch, x_padded, corner, row_pitch, cell_pitch), codegen


@intrinsic
def _multiply(typingctx, products, to, patches, patches_at, channels, kernel, kernel_at, filters):
    """products (TILE, FILTERS) at `to` = patches (TILE, channels) @ kernel[:, FILTERS of the filters]"""

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        products, patches, kernel = (write.data(k) for k in (0, 2, 5))
        to, patches_at, channels, kernel_at, filters = (args[k] for k in (1, 3, 4, 6, 7))
        sums = [cgutils.alloca_once_value(builder, ir.Constant(VECTOR, None)) for _ in range(TILE * VECTORS)]
        with cgutils.for_range(builder, channels) as c:
            row = write.at(kernel_at, builder.mul(c.index, filters))
            weights = [write.load(kernel, write.at(row, I64(k * LANES))) for k in range(VECTORS)]
            for j in range(TILE):
                x = write.number(patches, write.at(patches_at, (channels, j), c.index))
                for k in range(VECTORS):
                    write.add_product(sums[j * VECTORS + k], x, weights[k])
        write.put_back(products, [write.at(to, I64(k * LANES)) for k in range(TILE * VECTORS)], sums)
        return context.get_dummy_value()

    return types.void(products, to, patches, patches_at, channels, kernel, kernel_at, filters), codegen


@intrinsic
def _transform_output(typingctx, y, winners, place, products, at, bias, f, floor):
    """y and winners at place = relu_pool(A products A' + bias) for LANES filters"""

    def codegen(context, builder, signature, args):
        write = Vectors(context, builder, signature, args)
        y, winners, products, bias = (write.data(k) for k in (0, 1, 3, 5))
        place, at, f, floor = (args[k] for k in (2, 4, 6, 7))

        def a(m):
            return [builder.fadd(builder.fadd(m[0], m[1]), m[2]), builder.fsub(builder.fsub(m[1], m[2]), m[3])]

        m = [
            [write.load(products, write.at(at, I64((4 * r + s) * TILE * FILTERS))) for s in range(4)] for r in range(4)
        ]
        b = write.load(bias, f)
        z = [builder.fadd(value, b) for value in sum(_rows_and_columns(a, m), [])]
        best, winner = relu_pool(write, z, write.spread(floor, VECTOR))
        builder.store(best, write.pointer(y, place), align=4)
        builder.store(winner, write.pointer(winners, place, BYTES), align=1)
        return context.get_dummy_value()

    return types.void(y, winners, place, products, at, bias, f, floor), codegen


@njit(nogil=True, cache=True)
def conv_relu_pool(y, winners, x_padded, kernel, bias, floor, patches, products):
    """windows.conv_relu_pool for strides (1, 1) and a 3x3 kernel that transform_kernel has made (16, C, F).

    C must be a multiple of LANES and F of FILTERS. patches and products: room of patches_shape(C) and PRODUCTS_SHAPE.
    """
    photos, out_h, out_w, filters = y.shape
    channels = x_padded.shape[3]
    flat_patches, flat_products = patches.reshape(-1), products.reshape(-1)
    row_pitch = x_padded.shape[2] * channels
    flat_kernel = kernel.reshape(-1)
    for n in range(photos):
        flat_y, flat_winners, photo = y[n].reshape(-1), winners[n].reshape(-1), x_padded[n].reshape(-1)
        for i in range(out_h):
            for start in range(0, out_w, TILE):
                first = min(start, out_w - TILE)
                for j in range(TILE):
                    for c in range(0, channels, LANES):
                        _transform_input(
                            flat_patches,
                            j * channels + c,
                            TILE * channels,
                            photo,
                            2 * i * row_pitch + 2 * (first + j) * channels + c,
                            row_pitch,
                            channels,
                        )
                for f in range(0, filters, FILTERS):
                    for cell in range(16):
                        _multiply(
                            flat_products,
                            cell * TILE * FILTERS,
                            flat_patches,
                            cell * TILE * channels,
                            channels,
                            flat_kernel,
                            cell * channels * filters + f,
                            filters,
                        )
                    for j in range(TILE):
                        for k in range(0, FILTERS, LANES):
                            _transform_output(
                                flat_y,
                                flat_winners,
                                (i * out_w + first + j) * filters + f + k,
                                flat_products,
                                j * FILTERS + k,
                                bias,
                                f + k,
                                floor,
                            )
