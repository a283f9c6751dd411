"""A product of two matrices with its sums in registers, for the three of a Dense layer:

    z = x @ kernel        dkernel = x' @ dz        dx' = kernel @ dz'        where ' transposes

BLAS first copies both of its matrices into an order of its own, which pays where each number is used many hundred
times. A batch is 32 or 128 rows: there the copies take as long as the products. Here only the right matrix is copied,
a block of rows of a few columns at a time, to where a near cache holds it; the left one is read where it lies.

A tile is ROWS times up to VECTORS * LANES numbers of the result: 24 sums of 16 numbers in 24 of the 32 registers
of AVX-512, 12 of 8 numbers in 12 of the 16 of AVX2.

Half of a photo is black, and ReLU leaves half of its numbers at 0. Where enough numbers of the left matrix are
zero, lists of the others are made first, and a row of the result is the sum over its list: the same numbers in the
same order, and so the same bits, with less to multiply.
"""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.simd.vectors import LANES, REGISTERS, vector_code

ROWS, VECTORS = REGISTERS // 4, 3
LISTED = (0,) * min(64 // LANES, REGISTERS // 2)  # vectors of a row that is the sum over a list
WIDTH = max(VECTORS, len(LISTED)) * LANES  # columns of a panel
DEPTH = 128  # and its rows, of which the first cache holds all
FEW, MANY = 0.6, 256  # so few numbers that are not zero, times so many columns, are worth a list


def room(depth: int) -> int:
    """How many numbers the panel of a block takes."""
    return depth * WIDTH + LANES


@vector_code
def _copy(vec, panel, right, k, depth, c, vectors):
    """panel = right[k : k + depth, c ...], so many vectors, and behind them LANES zeros, or NaN: not all are finite"""
    zeros, width = [vec.total() for _ in range(len(vectors))], len(vectors) * LANES
    for row in vec.range(depth):
        for v, total in enumerate(zeros):
            numbers = right.at(k + row, c + v * LANES)
            panel.put((row * width + v * LANES,), numbers)
            total.add(numbers, vec.all(0.0))
    panel.put((depth * width,), sum((total.value for total in zeros), vec.all(0.0)))


def _tile(vec, out, panel, again, depth, r, c, vectors, left):
    """out[r + s, c ...] = or, where it is done again, += sum over j < depth of left(s, j) * panel[j], for s < ROWS"""
    columns, width = range(len(vectors)), len(vectors) * LANES
    sums = [[vec.total() for _ in columns] for _ in range(ROWS)]
    for j in vec.range(depth):
        some = [panel.at(j * width + v * LANES) for v in columns]
        for s, totals in enumerate(sums):
            number = left(s, j)
            for total, vector in zip(totals, some, strict=True):
                total.add(number, vector)
    for s, totals in enumerate(sums):
        for v, total in enumerate(totals):
            place = r + s, c + v * LANES
            out.put(place, vec.where(again > 0, out.at(*place) + total.value, total.value))


@vector_code
def _plain_tile(vec, out, left, panel, again, k, depth, r, c, vectors):
    _tile(vec, out, panel, again, depth, r, c, vectors, lambda s, j: left.all(r + s, k + j))


@vector_code
def _transposed_tile(vec, out, left, panel, again, k, depth, r, c, vectors):
    _tile(vec, out, panel, again, depth, r, c, vectors, lambda s, j: left.all(k + j, r + s))


@compiled
def _stripe(out, left, right, transposed, panel, rows, again, k, depth, c, vectors):
    """The products of `depth` numbers, in these rows of out and so many vectors of columns from c on."""
    _copy(panel, right, k, depth, c, vectors)
    for r in range(rows[0], rows[1], ROWS):
        if transposed:
            _transposed_tile(out, left, panel, again, k, depth, r, c, vectors)
        else:
            _plain_tile(out, left, panel, again, k, depth, r, c, vectors)


@compiled
def _by_tiles(out, left, right, transposed, panel, again, k, depth, rows, columns):
    """out[rows[0]:rows[1], columns[0]:columns[1]] = or += the products of `depth` numbers from k on, all of them"""
    c, end = columns
    while c < end:
        vectors = (end - c) // LANES
        if vectors == 1:
            _stripe(out, left, right, transposed, panel, rows, again, k, depth, c, (0,))
            c += LANES
        elif vectors == 2 or vectors == 4:  # four are two and two: one alone would leave most registers idle
            _stripe(out, left, right, transposed, panel, rows, again, k, depth, c, (0, 0))
            c += 2 * LANES
        else:
            _stripe(out, left, right, transposed, panel, rows, again, k, depth, c, (0, 0, 0))
            c += VECTORS * LANES


@vector_code
def _add_listed(vec, out, left, panel, places, begin, end, again, k, r, c, vectors):
    """out[r, c ...] = or, where it is done again, += sum over j in places[begin:end] of left[r, k + j] * panel[j]"""
    columns, width = range(len(vectors)), len(vectors) * LANES
    totals = [vec.total() for _ in columns]
    for m in vec.range(begin, end):
        j = places[m]
        number, row = left.all(r, j + k), j * width
        for v, total in enumerate(totals):
            total.add(number, panel.at(row + v * LANES))
    for v, total in enumerate(totals):
        place = r, c + v * LANES
        out.put(place, vec.where(again > 0, out.at(*place) + total.value, total.value))


@compiled
def _has_zeros(left, rows, k, depth):
    """Whether lists of these rows are short enough to pay, judged by one in eight."""
    others = numbers = 0
    for r in range(rows[0], rows[1], 8):
        numbers += depth
        for j in range(k, k + depth):
            others += left[r, j] != 0
    return others <= FEW * numbers


@compiled
def _by_lists(out, left, right, panel, again, k, depth, rows, columns):
    """_by_tiles without the numbers of left that are zero, as far as it can; returns the column where it ends.

    That is where too few columns are left, and where the right matrix holds an infinity or NaN: times 0 it is not 0.
    """
    count, c = 0, columns[0]
    places = np.empty((rows[1] - rows[0]) * depth + 1, np.int64)
    ends = np.empty(rows[1] - rows[0], np.int64)
    for r in range(rows[0], rows[1]):
        for j in range(depth):
            places[count] = j
            count += left[r, k + j] != 0  # what is left out is overwritten by the next
        ends[r - rows[0]] = count
    while columns[1] - c >= len(LISTED) * LANES:
        _copy(panel, right, k, depth, c, LISTED)
        if (panel[depth * len(LISTED) * LANES :][:LANES] != 0).any():
            return c
        begin = 0
        for r in range(rows[0], rows[1]):
            end = ends[r - rows[0]]
            _add_listed(out, left, panel, places, begin, end, again, k, r, c, LISTED)
            begin = end
        c += len(LISTED) * LANES
    return c


@compiled
def _region(out, left, right, transposed, panel, blocks, rows, columns):
    """out[rows[0]:rows[1], columns[0]:columns[1]], whole tiles"""
    for again in range(len(blocks) - 1):
        k, depth = blocks[again], blocks[again + 1] - blocks[again]
        start, end = columns
        if end - start >= MANY and depth <= DEPTH and not transposed and _has_zeros(left, rows, k, depth):
            start = _by_lists(out, left, right, panel, again, k, depth, rows, columns)
        _by_tiles(out, left, right, transposed, panel, again, k, depth, rows, (start, end))


@compiled
def _share(size, unit, part, parts):
    """(first, last, end) of a part: its whole units end at last, and it ends there, or with size."""
    units, part = size // unit, np.int64(part)  # prange counts without a sign
    last = (part + 1) * units // parts * unit
    return part * units // parts * unit, last, size if part == parts - 1 else last


@in_threads(least=2**12)
def multiply(
    out: np.ndarray, left: np.ndarray, right: np.ndarray, transposed: bool, panels: np.ndarray, blocks: np.ndarray
) -> None:
    """out (R, C) = left (R, K) @ right (K, C), or left' @ right of left (K, R); contiguous float32.

    R must be ROWS or more, C LANES or more. blocks, 0 to K, int64: the sums of each block of K are added in this
    order. panels: for each of the parts that the rows, or else the columns, are shared out to, a row of room(the
    largest block). What is left beside whole tiles comes with a last tile that covers numbers again: the same.
    """
    rows, columns = out.shape
    parts = len(panels)
    for part in prange(parts):
        by_rows = rows > columns or rows >= 8 * ROWS * parts  # each part copies the panels then, lists are made once
        row, last_row, end_row = _share(rows, ROWS, part if by_rows else 0, parts if by_rows else 1)
        column, last_column, end_column = _share(columns, LANES, 0 if by_rows else part, 1 if by_rows else parts)
        whole_rows, whole_columns = (row, last_row), (column, last_column)
        last_rows, last_columns = (end_row - ROWS, end_row), (end_column - LANES, end_column)
        _region(out, left, right, transposed, panels[part], blocks, whole_rows, whole_columns)
        if last_row < end_row:
            _region(out, left, right, transposed, panels[part], blocks, last_rows, whole_columns)
        if last_column < end_column:
            _region(out, left, right, transposed, panels[part], blocks, whole_rows, last_columns)
            if last_row < end_row:
                _region(out, left, right, transposed, panels[part], blocks, last_rows, last_columns)


@vector_code
def _transpose_square(vec, out, a, r, c):
    """out[c ..., r ...] = a[r ..., c ...]', LANES times LANES numbers.

    Each round lays the first half of the rows between those of the second, number by number.
    """
    rows = [a.at(r + k, c) for k in range(LANES)]
    for _ in range(LANES.bit_length() - 1):
        pairs = zip(rows[: LANES // 2], rows[LANES // 2 :], strict=True)
        rows = [mixed for pair in pairs for mixed in vec.interleaved(*pair)]
    for k, row in enumerate(rows):
        out.put((c + k, r), row)


@compiled
def _transpose_rows(out, a, r):
    """LANES rows of a from r on; the last square may cover numbers again: the same."""
    for c in range(0, a.shape[1], LANES):
        _transpose_square(out, a, r, min(c, a.shape[1] - LANES))


@in_threads(least=2**13)
def transpose(out: np.ndarray, a: np.ndarray) -> None:
    """out (C, R) = a (R, C)"""
    rows, columns = a.shape
    if min(rows, columns) < LANES:
        for r in range(rows):
            for c in range(columns):
                out[c, r] = a[r, c]
        return
    for block in prange(rows // LANES):
        _transpose_rows(out, a, block * LANES)
        if block == rows // LANES - 1 and rows % LANES:
            _transpose_rows(out, a, rows - LANES)
