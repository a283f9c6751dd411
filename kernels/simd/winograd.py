"""Winograd's convolution: four sums side by side from 16 products a channel instead of 36, or from 36 instead of 100.

For 3x3 and 5x5 kernels with stride 1: F(2x2, 3x3) and F(2x2, 5x5) of Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks" (2015). Four windows of r x r taps (those of a pooled cell, if it is pooled) read a
patch d of n x n cells, n = r + 1. Their sums are

    A (sum over c of (B d B') * (G kernel G')) A'       ' transposes, * goes cell by cell

so for each of the n * n cells a product of matrices over the channels. The matrices come from a product of polynomials,
transposed: two polynomials, of r and of 2 coefficients, are multiplied by way of their values at n points. With the
points p = 0, 1, -1 (0, 3/4, -3/4, 3/2, -3/2 for 5x5) and infinity,

    G has a row for each point:  1, p, p^2 ... p^(r-1), over the product of p - q for all other points q
    A has a column for each:     1, p
    B has a row for each:        the coefficients of the product of x - q for all other points q

and infinity is a polynomial's last coefficient. (B and A are transposed in the paper.) Points near 1 keep the powers
near 1: rounding, the only difference from the plain sums, is no larger for 3x3, about twice as large for 5x5 (with
0, 1, -1, 2, -2 four times). G is done once a pass.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.simd.conv_pool import POOLED, relu_pool
from kernels.simd.vectors import LANES, REGISTERS, vector_code

POINTS = {
    3: (1.0,),
    5: (0.75, 1.5),
}  # of a kernel of so many taps a side: beside 0 and infinity, each with its negative
TILE, VECTORS = 7, REGISTERS // 16  # patches, and vectors of filters, at a time: 14 or 7 sums in registers
FILTERS = VECTORS * LANES

Shape = tuple[int, ...]


def fits(kernel_size: tuple[int, int], strides: tuple[int, int], pooled: bool, photo: Shape, out: Shape) -> bool:
    """Whether conv_relu_pool can do this convolution of photos (H, W, C) into maps (P, Q, F)."""
    is_square = kernel_size[0] == kernel_size[1] and kernel_size[0] in POINTS and strides == (1, 1)
    fills = photo[2] % LANES == 0 and out[2] % FILTERS == 0
    return is_square and fills and min(photo[:2]) > kernel_size[0] and len(patches_of(out, pooled)[0]) >= TILE


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


def room(taps: int, channels: int) -> tuple[Shape, Shape]:
    """The shapes of what conv_relu_pool needs room for: TILE patches, transformed, and their products."""
    cells = (taps + 1) ** 2
    return (cells, TILE, channels), (cells, TILE, FILTERS)


def rows_and_columns(transform: Callable[..., list], square: Sequence[Sequence[Any]]) -> list:
    """transform each column of a square (a list of rows), then each row of what came out; row by row in one list."""
    columns = [transform(*column) for column in zip(*square, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in transform(*row)]


def points_and_weights(taps: int) -> tuple[list[float], list[float]]:
    """All points but infinity, and by what G divides for each, turned over."""
    points = [0.0, *(sign * p for p in POINTS[taps] for sign in (1, -1))]
    return points, [1 / math.prod(p - q for q in points if q != p) for p in points]


def combined(values: Sequence[Any], factors: Sequence[float]) -> Any:
    """The sum of values times factors, which are known where code is written."""
    first, *rest = [value * factor for value, factor in zip(values, factors, strict=True) if factor]
    for value in rest:
        first = first + value
    return first


def g(*k: Any) -> list:
    """G times a column of the kernel."""
    points, weights = points_and_weights(len(k))
    values = [combined(k, [p**power for power in range(len(k))]) for p in points]
    return [*(value * weight for value, weight in zip(values, weights, strict=True)), k[-1]]


def b(*d: Any) -> list:
    """B times a column of the patch; the products of two points +p and -p are shared: (x - p)(x + p) = x^2 - p^2."""
    pairs = POINTS[len(d) - 1]
    first, last = _times(d, pairs)
    between = []
    for p in pairs:
        _, odd, even, _ = _times(d, [q for q in pairs if q != p])
        between += [even + odd * p, even - odd * p]
    return [first, *between, last]


def _times(column, pairs):
    """What the column becomes where the polynomials are multiplied by x^2 - p^2 for each of the pairs."""
    for p in pairs:
        column = [late - early * (p * p) for early, late in zip(column, column[2:], strict=False)]
    return column


def _a(*m):
    """A times a column."""
    points, _ = points_and_weights(len(m) - 1)
    return [combined(m[:-1], [1] * len(points)), combined(m, [*points, 1])]


@vector_code
def _transform_filters(vec, transformed, kernel, taps, c, f):
    """transformed[:, c, f ...] = G kernel G' of channel c and LANES filters."""
    square = [[kernel.at(r, s, c, f) for s in range(len(taps))] for r in range(len(taps))]
    for cell, value in enumerate(rows_and_columns(g, square)):
        transformed.put((cell, c, f), value)


@in_threads(least=2**14)
def transform_kernel(transformed: np.ndarray, kernel: np.ndarray, taps: Shape) -> None:
    """transformed (n * n, C, F) = G kernel G' for each channel and filter of kernel (r, r, C, F); LANES divides F.

    taps: any tuple of r numbers; its length is known where code is written.
    """
    for c in prange(kernel.shape[2]):
        for f in range(0, kernel.shape[3], LANES):
            _transform_filters(transformed, kernel, taps, c, f)


@vector_code
def _transform_input(vec, patches, taps, t, x, n, i, j, c):
    """patches[:, t, c ...] = B d B' of the patch of photo n that begins at (i, j), for LANES channels."""
    size = len(taps) + 1
    patches = patches.shaped(size**2, TILE, None)
    d = [[x.at(n, i + r, j + s, c) for s in range(size)] for r in range(size)]
    for cell, value in enumerate(rows_and_columns(b, d)):
        patches.put((cell, t, c), value)


@vector_code
def _multiply(vec, products, patches, kernel, cell, f):
    """products[cell] (TILE, FILTERS) = patches[cell] (TILE, C) @ kernel[cell, :, f ... f + FILTERS - 1]"""
    patches, products = patches.shaped(None, TILE, None), products.shaped(None, TILE, FILTERS)
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


def _transform_output(vec, windows, y, winners, products, taps, t, k, bias, floor, n, cells, patch, f):
    """y and winners of the cells of a patch = relu_pool(A products[:, t, k ...] A' + bias) for LANES filters.

    windows: so many are behind each cell.
    """
    size = len(taps) + 1
    products = products.shaped(size**2, TILE, FILTERS)
    m = [[products.at(size * r + s, t, k) for s in range(size)] for r in range(size)]
    z = [value + bias.at(f) for value in rows_and_columns(_a, m)]
    for number in range(4 // windows):
        some = z[number * windows : (number + 1) * windows]
        best, winner = relu_pool(vec, some, vec.all(floor))
        y.put((n, cells[patch, number], f), best)
        winners.put((n, cells[patch, number], f), winner)


@vector_code
def _pooled_output(vec, y, winners, products, taps, t, k, bias, floor, n, cells, patch, f):
    _transform_output(vec, POOLED, y, winners, products, taps, t, k, bias, floor, n, cells, patch, f)


@vector_code
def _plain_output(vec, y, winners, products, taps, t, k, bias, floor, n, cells, patch, f):
    _transform_output(vec, 1, y, winners, products, taps, t, k, bias, floor, n, cells, patch, f)


@compiled
def _conv_photo(y, winners, x_padded, kernel, bias, floor, places, cells, patches, products, taps, n):
    """conv_relu_pool of photo n"""
    pooled = cells.shape[1] == 1
    for start in range(0, len(places), TILE):
        first = min(start, len(places) - TILE)
        for t in range(TILE):
            for c in range(0, x_padded.shape[3], LANES):
                _transform_input(patches, taps, t, x_padded, n, places[first + t, 0], places[first + t, 1], c)
        for f in range(0, y.shape[2], FILTERS):
            for cell in range(len(patches)):
                _multiply(products, patches, kernel, cell, f)
            for t in range(TILE):
                for k in range(0, FILTERS, LANES):
                    if pooled:
                        _pooled_output(y, winners, products, taps, t, k, bias, floor, n, cells, first + t, f + k)
                    else:
                        _plain_output(y, winners, products, taps, t, k, bias, floor, n, cells, first + t, f + k)


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
    taps: Shape,
) -> None:
    """conv_pool.conv_relu_pool for strides (1, 1) and an r x r kernel that transform_kernel has made (n * n, C, F).

    x_padded (N, H, W, C), y and winners (N, cells, F), places and cells: patches_of, TILE or more.
    C must be a multiple of LANES and F of FILTERS. patches and products: room(r, C) for each of the parts that the
    photos are shared out to; taps: any tuple of r numbers.
    """
    photos, parts = len(y), len(patches)
    for part in prange(parts):
        for n in range(part * photos // parts, (part + 1) * photos // parts):
            _conv_photo(
                y, winners, x_padded, kernel, bias, floor, places, cells, patches[part], products[part], taps, n
            )
