"""What pooling 2x2 behind ReLU leaves to do beside the products: gradients spread over the windows, and summed."""

import numpy as np
from numba import prange

from kernels.compiled import in_threads

Pair = tuple[int, int]
CLOSED = 4  # in place of a winner: ReLU let nothing through, so nothing goes back


def fits(pool_size: Pair, strides: Pair, pads: tuple[int, int, int, int]) -> bool:
    """Whether this is the pooling that all of them take for granted: windows of 2x2 side by side, without padding."""
    return pool_size == strides == (2, 2) and pads == (0, 0, 0, 0)


@in_threads
def unpool(dz: np.ndarray, dy: np.ndarray, winners: np.ndarray, offset: Pair, pooled: bool) -> None:
    """dz = dy at each cell's winner, 0 at the others; without pooling a cell has one window, which won or is CLOSED.

    dz (N, H, W, F), written from offset (top, left) on, dy (N, P, Q, F), winners (N, P * Q or more, F or more).
    """
    photos, out_h, out_w, filters = dy.shape
    side = 2 if pooled else 1
    for n in prange(photos):
        for i in range(out_h):
            for j in range(out_w):
                dy_row, winner_row = dy[n, i, j], winners[n, i * out_w + j]
                for winner in range(side * side):
                    dz_row = dz[n, offset[0] + side * i + winner // side, offset[1] + side * j + winner % side]
                    for f in range(filters):
                        dz_row[f] = dy_row[f] if winner_row[f] == winner else 0


@in_threads
def bias_gradient(dbiases: np.ndarray, shards: np.ndarray, dy: np.ndarray, winners: np.ndarray) -> None:
    """dbiases[s, f] = sum of the dy (N, cells, F) of all cells of filter f in shard s that are not CLOSED.

    Its photos are shards[s] ... shards[s + 1]; winners (N, cells or more, F or more).
    """
    _, cells, filters = dy.shape
    for s in prange(len(dbiases)):
        total = np.zeros(filters, dbiases.dtype)
        for n in range(shards[s], shards[s + 1]):
            for cell in range(cells):
                dy_row, winner_row = dy[n, cell], winners[n, cell]
                for f in range(filters):
                    total[f] += dy_row[f] if winner_row[f] < CLOSED else dy.dtype.type(0)
        dbiases[s] = total
