"""'same' padding: so many zeros around the photos that a map is as large as the photo (with stride 1).

out    = H / stride, rounded up                    so many windows fit along the rows
total  = (out - 1) * stride + kh - H, or 0         so many rows of zeros are missing, never less than 0
top    = half of total, rounded down;              bottom = the rest;          the same for columns

x       (N, H, W, C)  photos: photo, row, column, channel
kh, kw  rows and columns of the window
stride  how far the window moves, in both directions
padded  (N, top + H + bottom, left + W + right, C)
"""

import numpy as np


def pad_same(x, kh, kw, stride):
    """padded, for example to the right of a row of three, where 2 cells are laid on it:

    >>> x = np.reshape([7.0, 8.0, 9.0], (1, 1, 3, 1))
    >>> pad_same(x, 1, 2, 1).ravel()
    array([7., 8., 9., 0.])
    """
    _, height, width, _ = x.shape
    rows = max((-(-height // stride) - 1) * stride + kh - height, 0)
    columns = max((-(-width // stride) - 1) * stride + kw - width, 0)
    top, left = rows // 2, columns // 2
    return np.pad(x, ((0, 0), (top, rows - top), (left, columns - left), (0, 0)))
