"""Bias, ReLU and 2x2 pooling in one sweep, and the way back: for shapes that the vector kernels do not take.

The plain path (cnn/layers) sweeps over the largest arrays of the network once for the
bias, once for ReLU and once for pooling. Here each product is read once, while it is
still in the cache, and only a quarter of it is written.
"""

import numpy as np

from kernels.compiled import compiled

Pair = tuple[int, int]
CLOSED = 4  # in place of a winner: ReLU let nothing through, so nothing goes back


def fits(pool_size: Pair, strides: Pair, pads: tuple[int, int, int, int]) -> bool:
    """Whether this is the pooling that all of them take for granted: windows of 2x2 side by side, without padding."""
    return pool_size == strides == (2, 2) and pads == (0, 0, 0, 0)


@compiled
def bias_relu_pool(y: np.ndarray, winners: np.ndarray, z: np.ndarray, bias: np.ndarray, floor: float) -> None:
    """y = max(floor, largest of the 2x2 windows of z + bias); winners: which of the four, or CLOSED.

    z (N, H, W, F), y and winners (N, H//2, W//2, F), winners uint8. floor is 0 for ReLU,
    -infinity for no activation.
    """
    photos, out_h, out_w, filters = y.shape
    for n in range(photos):
        for i in range(out_h):
            for j in range(out_w):
                z00, z01 = z[n, 2 * i, 2 * j], z[n, 2 * i, 2 * j + 1]
                z10, z11 = z[n, 2 * i + 1, 2 * j], z[n, 2 * i + 1, 2 * j + 1]
                y_row, winner_row = y[n, i, j], winners[n, i, j]
                for f in range(filters):
                    b = bias[f]
                    a0, a1, a2, a3 = z00[f] + b, z01[f] + b, z10[f] + b, z11[f] + b
                    best, winner = a0, np.uint8(0)
                    if a1 > best:
                        best, winner = a1, np.uint8(1)
                    if a2 > best:
                        best, winner = a2, np.uint8(2)
                    if a3 > best:
                        best, winner = a3, np.uint8(3)
                    if not best > floor:
                        best, winner = floor, np.uint8(CLOSED)
                    # 0 * (their sum) is 0, or NaN if one of them (or the sum) is not finite: comparisons alone lose it.
                    y_row[f] = best + 0 * (a0 + a1 + a2 + a3)
                    winner_row[f] = winner


@compiled
def unpool(dz: np.ndarray, dy: np.ndarray, winners: np.ndarray) -> None:
    """dz = dy at each window's winner, 0 elsewhere: the way back through bias_relu_pool.

    dz (N, H, W, F), dy and winners (N, H//2, W//2, F). A last odd row or column gets 0.
    """
    photos, out_h, out_w, filters = dy.shape
    if 2 * out_h < dz.shape[1] or 2 * out_w < dz.shape[2]:
        dz[:] = 0
    for n in range(photos):
        for i in range(out_h):
            for j in range(out_w):
                dy_row, winner_row = dy[n, i, j], winners[n, i, j]
                for winner in range(4):
                    dz_row = dz[n, 2 * i + (winner >> 1), 2 * j + (winner & 1)]
                    for f in range(filters):
                        dz_row[f] = dy_row[f] if winner_row[f] == winner else 0


@compiled
def bias_gradient(dbias: np.ndarray, dy: np.ndarray, winners: np.ndarray) -> None:
    """dbias[f] = sum of the dy of all windows of filter f that are not CLOSED."""
    photos, out_h, out_w, filters = dy.shape
    dbias[:] = 0
    for n in range(photos):
        for i in range(out_h):
            for j in range(out_w):
                dy_row, winner_row = dy[n, i, j], winners[n, i, j]
                for f in range(filters):
                    dbias[f] += dy_row[f] if winner_row[f] < CLOSED else 0
