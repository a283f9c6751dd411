"""The kernel's gradient of a convolution that winograd.py computes: so many fewer products as forward.

The four sums of a patch are  A (sum over c of (B d B') * (G kernel G')) A'  (see there), linear in the kernel. With the
gradients dz of these sums, 2x2 for each filter, the chain rule goes through the same matrices from the other side:

    dkernel = G' (sum over patches of (B d B') * (A' dz A)) G

for each channel and filter: for each of the n * n cells a product of matrices over the patches.
"""

from functools import partial

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.simd.vectors import LANES, vector_code
from kernels.simd.winograd import FILTERS, VECTORS, Shape, b, combined, points_and_weights, rows_and_columns

PATCHES = 28  # at a time: with their sums they stay in the second cache
CHANNELS = 8  # at a time: with VECTORS vectors of filters 16 or 8 sums in registers


def _a_transposed(taps, *z):
    """A' times a column of dz, for a kernel of so many taps a side."""
    points, _ = points_and_weights(taps)
    return [*(combined(z, [1, p]) for p in points), z[-1]]


def _g_transposed(*m):
    """G' times a column."""
    taps = len(m) - 1
    points, weights = points_and_weights(taps)
    rows = [[weight * p**power for p, weight in zip(points, weights, strict=True)] for power in range(taps)]
    return [combined(m, [*row, float(power == taps - 1)]) for power, row in enumerate(rows)]


@vector_code
def _transform_input(vec, patches, taps, t, x, n, i, j, c):
    """patches[:, t, c ...] = B d B' of the patch of photo n that begins at (i, j), for LANES channels."""
    size = len(taps) + 1
    patches = patches.shaped(size**2, PATCHES, None)
    d = [[x.at(n, i + r, j + s, c) for s in range(size)] for r in range(size)]
    for cell, value in enumerate(rows_and_columns(b, d)):
        patches.put((cell, t, c), value)


@vector_code
def _transform_gradient(vec, gradients, taps, t, dy, winners, n, cells, patch, f):
    """gradients[:, t, f ...] = A' dz A of a patch of photo n, for LANES filters; dz is dy, or 0 where CLOSED."""
    gradients = gradients.shaped((len(taps) + 1) ** 2, PATCHES, None)
    places = [(n, cells[patch, k], f) for k in range(4)]
    z = [vec.where(winners.at(*place) == 0, dy.at(*place), vec.all(0)) for place in places]
    for cell, value in enumerate(rows_and_columns(partial(_a_transposed, len(taps)), [z[:2], z[2:]])):
        gradients.put((cell, t, f), value)


@vector_code
def _add_products(vec, sums, patches, gradients, count, cell, c, f):
    """sums[cell, c ... c + CHANNELS - 1, f ...] += sum over t < count of patches[cell, t, c] * gradients[cell, t, f]"""
    patches, gradients = patches.shaped(None, PATCHES, None), gradients.shaped(None, PATCHES, None)
    places = [[(cell, c + k, f + v * LANES) for v in range(VECTORS)] for k in range(CHANNELS)]
    totals = [[vec.total(sums.at(*place)) for place in row] for row in places]
    for t in vec.range(count):
        dz = [gradients.at(cell, t, f + v * LANES) for v in range(VECTORS)]
        for k, row in enumerate(totals):
            x = patches.all(cell, t, c + k)
            for total, some in zip(row, dz, strict=True):
                total.add(x, some)
    for row, some in zip(places, totals, strict=True):
        for place, total in zip(row, some, strict=True):
            sums.put(place, total.value)


@compiled
def _add_photo(sums, dy, winners, x, places, cells, patches, gradients, taps, n):
    """kernel_gradient's part of photo n"""
    channels, filters = x.shape[3], dy.shape[2]
    for start in range(0, len(places), PATCHES):
        count = min(PATCHES, len(places) - start)
        for t in range(count):
            i, j = places[start + t]
            for c in range(0, channels, LANES):
                _transform_input(patches, taps, t, x, n, i, j, c)
            for f in range(0, filters, LANES):
                _transform_gradient(gradients, taps, t, dy, winners, n, cells, start + t, f)
        for cell in range(len(sums)):
            for c in range(0, channels, CHANNELS):
                for f in range(0, filters, FILTERS):
                    _add_products(sums, patches, gradients, count, cell, c, f)


@in_threads
def kernel_gradient(
    sums: np.ndarray,
    shards: np.ndarray,
    dy: np.ndarray,
    winners: np.ndarray,
    x: np.ndarray,
    places: np.ndarray,
    cells: np.ndarray,
    patches: np.ndarray,
    gradients: np.ndarray,
    taps: Shape,
) -> None:
    """sums[s] (n * n, C, F) = the sum over the patches of shard s, whose photos are shards[s] ... shards[s + 1].

    dy (N, cells, F), winners 0 or CLOSED, x (N, H, W, C) padded, places and cells: winograd.patches_of maps of even
    sizes that are not pooled. C is a multiple of LANES and of CHANNELS, F of FILTERS. patches
    (shards, n * n, PATCHES, C) and gradients (shards, n * n, PATCHES, F) are room; taps: any tuple of r numbers.
    """
    for s in prange(len(sums)):
        sums[s] = 0
        for n in range(shards[s], shards[s + 1]):
            _add_photo(sums[s], dy, winners, x, places, cells, patches[s], gradients[s], taps, n)


@vector_code
def _transform_back(vec, dkernel, sums, taps, c, f):
    """dkernel[:, :, c, f ...] = G' (the sum over s, in this order, of sums (S, n * n, C, F)) G, for LANES filters."""
    size = len(taps) + 1
    totals = [vec.total(sums.at(0, cell, c, f)) for cell in range(size**2)]
    for s in vec.range(1, sums.shape[0]):
        for cell, total in enumerate(totals):
            total.add(sums.at(s, cell, c, f), vec.all(1))
    square = [[totals[size * r + k].value for k in range(size)] for r in range(size)]
    for tap, value in enumerate(rows_and_columns(_g_transposed, square)):
        dkernel.put((tap // len(taps), tap % len(taps), c, f), value)


@in_threads(least=2**12)
def transform_sums(dkernel: np.ndarray, sums: np.ndarray, taps: Shape) -> None:
    """dkernel (r, r, C, F) = G' (sums[0] + sums[1] + ...) G for each channel and filter of sums (shards, n * n, C, F).

    taps: any tuple of r numbers.
    """
    for c in prange(sums.shape[2]):
        for f in range(0, sums.shape[3], LANES):
            _transform_back(dkernel, sums, taps, c, f)
