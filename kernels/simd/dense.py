"""A product of two matrices with its sums in registers, for the three of a Dense layer:

    z = x @ kernel        dkernel = x' @ dz        dx' = kernel @ dz'        where ' transposes

BLAS first copies both of its matrices into an order of its own, which pays where each number is used many hundred
times. A batch is 16 or 64 rows: there the copies take as long as the products. Here only the right matrix is copied,
DEPTH rows of a few columns at a time, to where the first cache holds them; the left one is read where it lies.

A tile is ROWS times up to VECTORS * LANES numbers of the result: 24 sums of 16 numbers in 24 of the 32 registers
of AVX-512, 12 of 8 numbers in 12 of the 16 of AVX2.
"""

import numpy as np

from kernels.compiled import compiled
from kernels.simd.vectors import LANES, REGISTERS, vector_code

ROWS, VECTORS = REGISTERS // 4, 3
WIDTH = VECTORS * LANES
BLOCK = 16  # numbers side by side that fill a line of the cache


def fits(rows: int, columns: int) -> bool:
    """Whether multiply can make a matrix of this size: it holds a tile."""
    return rows >= ROWS and columns >= LANES


@vector_code
def _copy(vec, panel, right, k, depth, c, vectors):
    """panel[:depth] = right[k : k + depth, c ...], so many vectors"""
    panel = panel.shaped(None, WIDTH)
    for row in vec.range(depth):
        for v in range(len(vectors)):
            panel.put((row, v * LANES), right.at(k + row, c + v * LANES))


def _tile(vec, out, panel, k, depth, r, c, vectors, left):
    """out[r + s, c ...] = or, behind the first k, += sum over j < depth of left(s, j) * panel[j], for s < ROWS."""
    panel = panel.shaped(None, WIDTH)
    places = [[(r + s, c + v * LANES) for v in range(len(vectors))] for s in range(ROWS)]
    sums = [[vec.total(vec.where(k > 0, out.at(*place), vec.all(0))) for place in row] for row in places]
    for j in vec.range(depth):
        some = [panel.at(j, v * LANES) for v in range(len(vectors))]
        for s, totals in enumerate(sums):
            number = left(s, j)
            for total, vector in zip(totals, some, strict=True):
                total.add(number, vector)
    for row, totals in zip(places, sums, strict=True):
        for place, total in zip(row, totals, strict=True):
            out.put(place, total.value)


@vector_code
def _plain_tile(vec, out, left, panel, k, depth, r, c, vectors):
    _tile(vec, out, panel, k, depth, r, c, vectors, lambda s, j: left.all(r + s, k + j))


@vector_code
def _transposed_tile(vec, out, left, panel, k, depth, r, c, vectors):
    _tile(vec, out, panel, k, depth, r, c, vectors, lambda s, j: left.all(k + j, r + s))


@compiled
def _stripe(out, left, right, transposed, panel, rows, k, depth, c, vectors):
    """Add the products of `depth` numbers to these rows of out and so many vectors of columns from c on."""
    _copy(panel, right, k, depth, c, vectors)
    for r in range(rows[0], rows[1], ROWS):
        if transposed:
            _transposed_tile(out, left, panel, k, depth, r, c, vectors)
        else:
            _plain_tile(out, left, panel, k, depth, r, c, vectors)


@compiled
def _region(out, left, right, transposed, panel, rows, columns):
    """out[rows[0]:rows[1], columns[0]:columns[1]], whole tiles"""
    for k in range(0, len(right), len(panel)):
        depth = min(len(panel), len(right) - k)
        for c in range(columns[0], columns[1], WIDTH):
            if columns[1] - c == LANES:
                _stripe(out, left, right, transposed, panel, rows, k, depth, c, (0,))
            elif columns[1] - c == 2 * LANES:
                _stripe(out, left, right, transposed, panel, rows, k, depth, c, (0, 0))
            else:
                _stripe(out, left, right, transposed, panel, rows, k, depth, c, (0, 0, 0))


@compiled
def multiply(out: np.ndarray, left: np.ndarray, right: np.ndarray, transposed: bool, panel: np.ndarray) -> None:
    """out (R, C) = left (R, K) @ right (K, C), or left' @ right of left (K, R); contiguous float32, of sizes that fit.

    panel: room of PANEL_SHAPE. What is left beside whole tiles is computed as part of a last one that covers numbers
    again, which come out the same.
    """
    rows, columns = out.shape
    whole_rows, whole_columns = (0, rows - rows % ROWS), (0, columns - columns % LANES)
    last_rows, last_columns = (rows - ROWS, rows), (columns - LANES, columns)
    _region(out, left, right, transposed, panel, whole_rows, whole_columns)
    if rows % ROWS:
        _region(out, left, right, transposed, panel, last_rows, whole_columns)
    if columns % LANES:
        _region(out, left, right, transposed, panel, whole_rows, last_columns)
        if rows % ROWS:
            _region(out, left, right, transposed, panel, last_rows, last_columns)


@compiled
def transpose(out: np.ndarray, a: np.ndarray) -> None:
    """out (C, R) = a (R, C), in blocks whose lines the cache holds"""
    rows, columns = a.shape
    for first in range(0, rows, BLOCK):
        for c in range(columns):
            for r in range(first, min(first + BLOCK, rows)):
                out[c, r] = a[r, c]
