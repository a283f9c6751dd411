"""Winograd's convolution: four sums side by side from 16 products a channel instead of 36.

For 3x3 kernels with stride 1, F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks" (2015). Four windows, of 2x2 cells of the map
(those of a pooled cell, if it is pooled), read a patch d of 4x4 cells. With

    B = 1  0 -1  0     G =  1    0   0      A = 1  1  1  0
        0  1  1  0         1/2  1/2 1/2         0  1 -1 -1
        0 -1  1  0         1/2 -1/2 1/2
        0  1  0 -1          0    0   1

its four sums are  A (sum over c of (B d B') * (G kernel G')) A'  where ' transposes and * goes cell by
cell: for each of the 16 cells a product of matrices over the channels. B and A only add; G is done
once a pass. (B and A are transposed in the paper.) The result differs from the plain sums by rounding
alone, which is no larger here: with 32 channels a sum has 32 terms instead of 288.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.simd.conv_pool import POOLED, relu_pool
from kernels.simd.vectors import LANES, REGISTERS, vector_code

TILE, VECTORS = 7, REGISTERS // 16  # patches, and vectors of filters, at a time: 14 or 7 sums in registers
FILTERS = VECTORS * LANES
PRODUCTS_SHAPE = (16, TILE, FILTERS)  # what conv_relu_pool needs room for: the products of TILE patches

Shape = tuple[int, ...]


def fits(kernel_size: tuple[int, int], strides: tuple[int, int], pooled: bool, photo: Shape, out: Shape) -> bool:
    """Whether conv_relu_pool can do this convolution of photos (H, W, C) into maps (P, Q, F)."""
    is_3x3 = kernel_size == (3, 3) and strides == (1, 1)
    fills = photo[2] % LANES == 0 and out[2] % FILTERS == 0
    return is_3x3 and fills and min(photo[:2]) >= 4 and len(patches_of(out, pooled)[0]) >= TILE


def patches_of(out: Shape, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where in the map before pooling each patch lies, int64 (patches, 2), and its cells of y, (patches, 4 or 1).

    y is (P, Q); in maps of odd size, not pooled, the last patches cover cells again: the same numbers.
    """
    if pooled:
        places = 2 * np.indices(out[:2]).reshape(2, -1).T
        return places, np.arange(len(places))[:, None]
    rows, columns = (np.minimum(np.arange(0, size, 2), size - 2) for size in out[:2])
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    return places, (places[:, None] + corners) @ [out[1], 1]


def patches_shape(channels: int) -> tuple[int, int, int]:
    """What conv_relu_pool needs room for: TILE transformed patches."""
    return 16, TILE, channels


def rows_and_columns(transform: Callable[..., list], square: Sequence[Sequence[Any]]) -> list:
    """transform each column of a square (a list of rows), then each row of what came out; row by row in one list."""
    columns = [transform(*column) for column in zip(*square, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in transform(*row)]


def _g(k0, k1, k2):
    return [k0, (k0 + k1 + k2) * 0.5, (k0 - k1 + k2) * 0.5, k2]


def b(d0: Any, d1: Any, d2: Any, d3: Any) -> list:
    """B times a column of four."""
    return [d0 - d2, d1 + d2, d2 - d1, d1 - d3]


def _a(m0, m1, m2, m3):
    return [m0 + m1 + m2, m1 - m2 - m3]


@vector_code
def _transform_filters(vec, transformed, kernel, c, f):
    """transformed[:, c, f ...] = G kernel G' of channel c and LANES filters."""
    taps = [[kernel.at(r, s, c, f) for s in range(3)] for r in range(3)]
    for cell, value in enumerate(rows_and_columns(_g, taps)):
        transformed.put((cell, c, f), value)


@in_threads(least=2**14)
def transform_kernel(transformed: np.ndarray, kernel: np.ndarray) -> None:
    """transformed (16, C, F) = G kernel G' for each channel and filter of kernel (3, 3, C, F); LANES divides F."""
    for c in prange(kernel.shape[2]):
        for f in range(0, kernel.shape[3], LANES):
            _transform_filters(transformed, kernel, c, f)


@vector_code
def _transform_input(vec, patches, t, x, n, i, j, c):
    """patches[:, t, c ...] = B d B' of the patch of photo n that begins at (i, j), for LANES channels."""
    patches = patches.shaped(16, TILE, None)
    d = [[x.at(n, i + r, j + s, c) for s in range(4)] for r in range(4)]
    for cell, value in enumerate(rows_and_columns(b, d)):
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


def _transform_output(vec, windows, y, winners, products, t, k, bias, floor, n, cells, patch, f):
    """y and winners of the cells of a patch = relu_pool(A products[:, t, k ...] A' + bias) for LANES filters.

    windows: so many are behind each cell.
    """
    products = products.shaped(*PRODUCTS_SHAPE)
    m = [[products.at(4 * r + s, t, k) for s in range(4)] for r in range(4)]
    z = [value + bias.at(f) for value in rows_and_columns(_a, m)]
    for number in range(4 // windows):
        some = z[number * windows : (number + 1) * windows]
        best, winner = relu_pool(vec, some, vec.all(floor))
        y.put((n, cells[patch, number], f), best)
        winners.put((n, cells[patch, number], f), winner)


@vector_code
def _pooled_output(vec, y, winners, products, t, k, bias, floor, n, cells, patch, f):
    _transform_output(vec, POOLED, y, winners, products, t, k, bias, floor, n, cells, patch, f)


@vector_code
def _plain_output(vec, y, winners, products, t, k, bias, floor, n, cells, patch, f):
    _transform_output(vec, 1, y, winners, products, t, k, bias, floor, n, cells, patch, f)


@compiled
def _conv_photo(y, winners, x_padded, kernel, bias, floor, places, cells, patches, products, n):
    """conv_relu_pool of photo n"""
    pooled = cells.shape[1] == 1
    for start in range(0, len(places), TILE):
        first = min(start, len(places) - TILE)
        for t in range(TILE):
            for c in range(0, x_padded.shape[3], LANES):
                _transform_input(patches, t, x_padded, n, places[first + t, 0], places[first + t, 1], c)
        for f in range(0, y.shape[2], FILTERS):
            for cell in range(16):
                _multiply(products, patches, kernel, cell, f)
            for t in range(TILE):
                for k in range(0, FILTERS, LANES):
                    if pooled:
                        _pooled_output(y, winners, products, t, k, bias, floor, n, cells, first + t, f + k)
                    else:
                        _plain_output(y, winners, products, t, k, bias, floor, n, cells, first + t, f + k)


@in_threads
def conv_relu_pool(
    y: np.ndarray,
    winners: np.ndarray,
    x_padded: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    floor: float,
    places: np.ndarray,
    cells: np.ndarray,
    patches: np.ndarray,
    products: np.ndarray,
) -> None:
    """conv_pool.conv_relu_pool for strides (1, 1) and a 3x3 kernel that transform_kernel has made (16, C, F).

    x_padded (N, H, W, C), y and winners (N, cells, F), places and cells: patches_of, TILE or more.
    C must be a multiple of LANES and F of FILTERS. patches and products: room of patches_shape(C) and PRODUCTS_SHAPE
    for each of the parts that the photos are shared out to.
    """
    photos, parts = len(y), len(patches)
    for part in prange(parts):
        for n in range(part * photos // parts, (part + 1) * photos // parts):
            _conv_photo(y, winners, x_padded, kernel, bias, floor, places, cells, patches[part], products[part], n)
