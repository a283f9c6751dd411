"""Convolution, bias, ReLU and 2x2 pooling in one step whose sums never leave the processor's vector registers.

im2col writes the windows of a photo out as the rows of a matrix, so that BLAS can multiply
it by the kernel. That matrix is only the photo read in another order: here the product
reads the windows where they lie, and the columns are never written.

A tile is TILE pooling windows side by side, four sums each, for LANES filters: 28 sums of 16
numbers, in 28 of the 32 registers that AVX-512 has (with AVX2 12 of 8 numbers, in 12 of 16).
When the last product has been added, bias, ReLU and pooling find their four numbers in
registers, and only the largest is written.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.compiled import compiled
from kernels.relu_pool import CLOSED
from kernels.simd.vectors import LANES, REGISTERS, vector_code

TILE = (REGISTERS - 4) // 4  # four sums each; four registers are left for weights and inputs
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]  # of a pooling window, (row, column)


def fits(kernel_size: tuple[int, int], strides: tuple[int, int], channels: int, filters: int, out_w: int) -> bool:
    """Whether conv_relu_pool can do this convolution, whose pooled maps are out_w wide."""
    return out_w >= TILE and filters % LANES == 0


def relu_pool(vec: Any, z: Sequence[Any], floor: Any) -> tuple[Any, Any]:
    """What relu_pool.bias_relu_pool does with the four numbers of a window, for LANES filters."""
    best, winner = z[0], vec.byte(0)
    for k in (1, 2, 3):
        larger = z[k] > best
        best, winner = vec.where(larger, z[k], best), vec.where(larger, vec.byte(k), winner)
    is_open = best > floor
    best, winner = vec.where(is_open, best, floor), vec.where(is_open, winner, vec.byte(CLOSED))
    # The sum times 0 is 0, or NaN where one of the four is NaN or infinite: comparisons alone would lose it.
    return best + ((z[0] + z[1]) + (z[2] + z[3])) * 0, winner


@vector_code
def _tile(vec, y, winners, x, kernel, bias, floor, down, right, n, i, j, f):
    """y and winners of photo n, row i, columns j ... j + TILE - 1, filters f ... f + LANES - 1.

    x (N, H, W * C) and kernel (kh, kw * C, F): what a window reads of a row lies side by side. The
    windows of two neighbouring cells are `down` rows or `right` numbers of a row apart.
    """
    sums = [[vec.total() for _ in CORNERS] for _ in range(TILE)]
    for u in vec.range(kernel.shape[0]):
        for k in vec.range(kernel.shape[1]):
            weights = kernel.at(u, k, f)
            for t in range(TILE):
                for (r, s), total in zip(CORNERS, sums[t], strict=True):
                    total.add(x.all(n, (i * 2 + r) * down + u, (j * 2 + (2 * t + s)) * right + k), weights)
    for t in range(TILE):
        best, winner = relu_pool(vec, [total.value + bias.at(f) for total in sums[t]], vec.all(floor))
        y.put((n, i, j + t, f), best)
        winners.put((n, i, j + t, f), winner)


@compiled
def conv_relu_pool(
    y: np.ndarray,
    winners: np.ndarray,
    x_padded: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    floor: float,
    strides: tuple[int, int],
) -> None:
    """y = max(floor, max_pool_2x2(conv(x) + bias)); winners: which of the four cells, or CLOSED.

    x_padded (N, H, W, C), kernel (kh, kw, C, F), y and winners (N, P, Q, F) with F a multiple of LANES,
    Q >= TILE and (2P - 1) * sh + kh <= H, (2Q - 1) * sw + kw <= W; float32 and contiguous, winners uint8.
    """
    photos, out_h, out_w, filters = y.shape
    kh, kw, channels = kernel.shape[:3]
    rows = x_padded.reshape(photos, x_padded.shape[1], -1)
    row_kernel = kernel.reshape(kh, kw * channels, filters)
    down, right = strides[0], strides[1] * channels
    for n in range(photos):
        for i in range(out_h):
            for f in range(0, filters, LANES):
                for start in range(0, out_w, TILE):
                    j = min(start, out_w - TILE)  # the last tile may cover cells again: the same numbers
                    _tile(y, winners, rows, row_kernel, bias, floor, down, right, n, i, j, f)
