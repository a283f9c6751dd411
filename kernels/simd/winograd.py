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

from kernels.compiled import compiled
from kernels.simd.conv_pool import relu_pool
from kernels.simd.vectors import LANES, REGISTERS, vector_code

TILE, VECTORS = 7, REGISTERS // 16  # pooling windows, and vectors of filters, at a time: 14 or 7 sums in registers
FILTERS = VECTORS * LANES
PRODUCTS_SHAPE = (16, TILE, FILTERS)  # what conv_relu_pool needs room for: the products of TILE patches
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


def fits(kernel_size: tuple[int, int], strides: tuple[int, int], pooled: bool, photo, out) -> bool:
    """Whether conv_relu_pool can do this convolution of photos (H, W, C) into maps (P, Q, F)."""
    is_3x3 = kernel_size == (3, 3) and strides == (1, 1)
    return pooled and is_3x3 and photo[2] % LANES == 0 and out[2] % FILTERS == 0 and out[1] >= TILE


def transform_kernel(transformed: np.ndarray, kernel: np.ndarray) -> None:
    """transformed (16, C, F) = G kernel G' for each channel and filter of kernel (3, 3, C, F)."""
    rows = np.tensordot(G, kernel, (1, 0)).reshape(4, 3, -1)
    np.matmul(G, rows, out=transformed.reshape(4, 4, -1))


def patches_shape(channels: int) -> tuple[int, int, int]:
    """What conv_relu_pool needs room for: TILE transformed patches."""
    return 16, TILE, channels


def _rows_and_columns(transform, square):
    """transform each column of a square (a list of rows), then each row of what came out; row by row in one list."""
    columns = [transform(*column) for column in zip(*square, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in transform(*row)]


def _b(d0, d1, d2, d3):
    return [d0 - d2, d1 + d2, d2 - d1, d1 - d3]


def _a(m0, m1, m2, m3):
    return [m0 + m1 + m2, m1 - m2 - m3]


@vector_code
def _transform_input(vec, patches, t, x, n, i, j, c):
    """patches[:, t, c ...] = B d B' of the patch that pooling window (i, j) of photo n reads, for LANES channels."""
    patches = patches.shaped(16, TILE, None)
    d = [[x.at(n, i * 2 + r, j * 2 + s, c) for s in range(4)] for r in range(4)]
    for cell, value in enumerate(_rows_and_columns(_b, d)):
        patches.put((cell, t, c), value)


@vector_code
def _multiply(vec, products, patches, kernel, cell, f):
    """products[cell] (TILE, FILTERS) = patches[cell] (TILE, C) @ kernel[cell, :, f ... f + FILTERS - 1]"""
    patches, products = patches.shaped(16, TILE, None), products.shaped(*PRODUCTS_SHAPE)
    sums = [[vec.total() for _ in range(VECTORS)] for _ in range(TILE)]
    for c in vec.range(patches.shape[2]):
        weights = [kernel.at(cell, c, f + k * LANES) for k in range(VECTORS)]
        for t in range(TILE):
            x = patches.all(cell, t, c)
            for k in range(VECTORS):
                sums[t][k].add(x, weights[k])
    for t in range(TILE):
        for k in range(VECTORS):
            products.put((cell, t, k * LANES), sums[t][k].value)


@vector_code
def _transform_output(vec, y, winners, products, t, k, bias, floor, n, i, j, f):
    """y and winners of window (i, j) of photo n = relu_pool(A products[:, t, k ...] A' + bias) for LANES filters."""
    products = products.shaped(*PRODUCTS_SHAPE)
    m = [[products.at(4 * r + s, t, k) for s in range(4)] for r in range(4)]
    z = [value + bias.at(f) for value in _rows_and_columns(_a, m)]
    best, winner = relu_pool(vec, z, vec.all(floor))
    y.put((n, i, j, f), best)
    winners.put((n, i, j, f), winner)


@compiled
def conv_relu_pool(y, winners, x_padded, kernel, bias, floor, patches, products):
    """conv_pool.conv_relu_pool for strides (1, 1) and a 3x3 kernel that transform_kernel has made (16, C, F).

    C must be a multiple of LANES and F of FILTERS. patches and products: room of patches_shape(C) and PRODUCTS_SHAPE.
    """
    photos, out_h, out_w, filters = y.shape
    for n in range(photos):
        for i in range(out_h):
            for start in range(0, out_w, TILE):
                j = min(start, out_w - TILE)
                for t in range(TILE):
                    for c in range(0, x_padded.shape[3], LANES):
                        _transform_input(patches, t, x_padded, n, i, j + t, c)
                for f in range(0, filters, FILTERS):
                    for cell in range(16):
                        _multiply(products, patches, kernel, cell, f)
                    for t in range(TILE):
                        for k in range(0, FILTERS, LANES):
                            _transform_output(y, winners, products, t, k, bias, floor, n, i, j + t, f + k)
