"""Photos moved by whole cells and mirrored, compiled; for one thread, which runs beside those of a step."""

import numpy as np

from kernels.compiled import compiled


@compiled
def read_moved(y: np.ndarray, x: np.ndarray, photos: np.ndarray, moves: np.ndarray) -> None:
    """y[n,i,j,c] = x[photos[n], a*i + b, d*j + e, c], with a, b, d, e = moves[n]; 0 where that is outside the photo

    y (N, H, W, C), x (..., H, W, C); photos (N,) and moves (N, 4) whole numbers, a and d 1 or -1.
    """
    count, height, width, channels = y.shape
    for n in range(count):
        photo = x[photos[n]]
        a, b, d, e = moves[n]
        first, last = max(0, -e if d > 0 else e - width + 1), min(width, width - e if d > 0 else e + 1)
        for i in range(height):
            r = a * i + b
            y[n, i] = 0
            if 0 <= r < height:
                for j in range(first, last):
                    for c in range(channels):
                        y[n, i, j, c] = photo[r, d * j + e, c]
