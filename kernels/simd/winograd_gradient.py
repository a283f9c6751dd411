"""The kernel's gradient of a convolution that winograd.py computes: 16 products for four windows instead of 36.

The four sums of a patch are  A (sum over c of (B d B') * (G kernel G')) A'  (see there), linear in the kernel. With the
gradients dz of these sums, 2x2 for each filter, the chain rule goes through the same matrices from the other side:

    dkernel = G' (sum over patches of (B d B') * (A' dz A)) G

for each channel and filter: for each of the 16 cells a product of matrices over the patches.
"""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.simd.vectors import LANES, vector_code
from kernels.simd.winograd import FILTERS, VECTORS, b, rows_and_columns

PATCHES = 28  # at a time: with their sums they stay in the second cache
CHANNELS = 8  # at a time: with VECTORS vectors of filters 16 or 8 sums in registers


def _a_transposed(d0, d1):
    return [d0, d0 + d1, d0 - d1, d1 * -1]


def _g_transposed(m0, m1, m2, m3):
    return [m0 + (m1 + m2) * 0.5, (m1 - m2) * 0.5, (m1 + m2) * 0.5 + m3]


@vector_code
def _transform_input(vec, patches, t, x, n, i, j, c):
    """patches[:, t, c ...] = B d B' of the patch of photo n that begins at (i, j), for LANES channels."""
    patches = patches.shaped(16, PATCHES, None)
    d = [[x.at(n, i + r, j + s, c) for s in range(4)] for r in range(4)]
    for cell, value in enumerate(rows_and_columns(b, d)):
        patches.put((cell, t, c), value)


@vector_code
def _transform_gradient(vec, gradients, t, dy, winners, n, cells, patch, f):
    """gradients[:, t, f ...] = A' dz A of a patch of photo n, for LANES filters; dz is dy, or 0 where CLOSED."""
    gradients = gradients.shaped(16, PATCHES, None)
    places = [(n, cells[patch, k], f) for k in range(4)]
    z = [vec.where(winners.at(*place) == 0, dy.at(*place), vec.all(0)) for place in places]
    for cell, value in enumerate(rows_and_columns(_a_transposed, [z[:2], z[2:]])):
        gradients.put((cell, t, f), value)


@vector_code
def _add_products(vec, sums, patches, gradients, count, cell, c, f):
    """sums[cell, c ... c + CHANNELS - 1, f ...] += sum over t < count of patches[cell, t, c] * gradients[cell, t, f]"""
    sums = sums.shaped(16, None, None)
    patches, gradients = patches.shaped(16, PATCHES, None), gradients.shaped(16, PATCHES, None)
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
def _add_photo(sums, dy, winners, x, places, cells, patches, gradients, n):
    """kernel_gradient's part of photo n"""
    channels, filters = x.shape[3], dy.shape[2]
    for start in range(0, len(places), PATCHES):
        count = min(PATCHES, len(places) - start)
        for t in range(count):
            i, j = places[start + t]
            for c in range(0, channels, LANES):
                _transform_input(patches, t, x, n, i, j, c)
            for f in range(0, filters, LANES):
                _transform_gradient(gradients, t, dy, winners, n, cells, start + t, f)
        for cell in range(16):
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
) -> None:
    """sums[s] (16, C, F) = the sum over the patches of shard s, whose photos are shards[s] ... shards[s + 1].

    dy (N, cells, F), winners 0 or CLOSED, x (N, H, W, C) padded, places and cells: winograd.patches_of maps of even
    sizes that are not pooled. C is a multiple of LANES and of CHANNELS, F of FILTERS. patches (shards, 16, PATCHES, C)
    and gradients (shards, 16, PATCHES, F) are room.
    """
    for s in prange(len(sums)):
        sums[s] = 0
        for n in range(shards[s], shards[s + 1]):
            _add_photo(sums[s], dy, winners, x, places, cells, patches[s], gradients[s], n)


@vector_code
def _transform_back(vec, dkernel, sums, c, f):
    """dkernel[:, :, c, f ...] = G' (the sum over s, in this order, of sums (S, 16, C, F)) G, for LANES filters."""
    cells = [sums.at(0, cell, c, f) for cell in range(16)]
    totals = [vec.total(cell) for cell in cells]
    for s in vec.range(1, sums.shape[0]):
        for cell, total in enumerate(totals):
            total.add(sums.at(s, cell, c, f), vec.all(1))
    square = [[totals[4 * r + k].value for k in range(4)] for r in range(4)]
    for tap, value in enumerate(rows_and_columns(_g_transposed, square)):
        dkernel.put((tap // 3, tap % 3, c, f), value)


@in_threads(least=2**12)
def transform_sums(dkernel: np.ndarray, sums: np.ndarray) -> None:
    """dkernel (3, 3, C, F) = G' (sums[0] + sums[1] + ...) G for each channel and filter of sums (shards, 16, C, F)."""
    for c in prange(sums.shape[2]):
        for f in range(0, sums.shape[3], LANES):
            _transform_back(dkernel, sums, c, f)
