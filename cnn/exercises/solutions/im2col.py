"""im2col: every window of the photos laid flat, as one row of a table.

columns[(n*OH + i)*OW + j,  (u*kw + v)*C + c] = x[n, i*stride + u, j*stride + v, c]
OH = (H - kh) // stride + 1,   OW = (W - kw) // stride + 1

x        (N, H, W, C)  photos: photo, row, column, channel
kh, kw   rows and columns of the window
stride   how far the window moves, in both directions
columns  (N*OH*OW, kh*kw*C)  one row a window: photo by photo, row by row; in it cell by cell, row by row
"""

import numpy as np


def im2col(x, kh, kw, stride):
    """columns, for example the two windows of 2 cells in a row of three:

    >>> x = np.reshape([7.0, 8.0, 9.0], (1, 1, 3, 1))
    >>> im2col(x, 1, 2, 1)
    array([[7., 8.],
           [8., 9.]])
    """
    photos, height, width, channels = x.shape
    out_h, out_w = (height - kh) // stride + 1, (width - kw) // stride + 1
    columns = np.zeros((photos, out_h, out_w, kh, kw, channels), x.dtype)
    for u, v in np.ndindex(kh, kw):  # this cell of all windows at once
        columns[:, :, :, u, v] = x[:, u : u + out_h * stride : stride, v : v + out_w * stride : stride][
            :, :out_h, :out_w
        ]
    return columns.reshape(photos * out_h * out_w, kh * kw * channels)
