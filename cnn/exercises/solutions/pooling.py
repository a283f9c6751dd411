"""Max pooling: of each window only the largest number goes on, and we remember which cell it came from.

y[n, i, j, c]       = the largest of  x[n, i*stride + u, j*stride + v, c]  over u, v
winners[n, i, j, c] = u*size + v of that cell; of several equal ones the first, row by row

x        (N, H, W, C)    photos: photo, row, column, channel
size     rows and columns of the window
stride   how far the window moves, in both directions
y        (N, OH, OW, C)  OH = (H - size) // stride + 1,  OW = (W - size) // stride + 1
winners  (N, OH, OW, C)  whole numbers
"""

import numpy as np


def max_pool(x, size, stride):
    """(y, winners), for example of two rows, whose last window has its largest number twice:

    >>> x = np.reshape([1.0, 3.0, 5.0, 5.0, 2.0, 0.0, 4.0, 5.0], (1, 2, 4, 1))
    >>> y, winners = max_pool(x, 2, 2)
    >>> y.ravel(), winners.ravel()
    (array([3., 5.]), array([1, 0]))
    """
    photos, height, width, channels = x.shape
    out_h, out_w = (height - size) // stride + 1, (width - size) // stride + 1
    y = np.zeros((photos, out_h, out_w, channels), x.dtype)
    winners = np.zeros(y.shape, int)
    for i, j in np.ndindex(out_h, out_w):
        window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
        cells = window.reshape(photos, size * size, channels)
        y[:, i, j], winners[:, i, j] = cells.max(axis=1), cells.argmax(axis=1)
    return y, winners
