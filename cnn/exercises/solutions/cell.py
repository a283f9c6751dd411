"""A convolution's cell: one number of the map that a filter makes of a photo.

Lay the filter on the photo, multiply each weight with the cell under it, and add up all products and the bias:

    z = bias + sum over u, v, c of  x[i + u, j + v, c] * kernel[u, v, c]

    x       (H, W, C)    one photo: row, column, channel
    kernel  (kh, kw, C)  one filter
    bias    a number
    i, j    where the window begins, above and left; it lies inside x
    z       a number
"""

import numpy as np


def cell(x, kernel, bias, i, j):
    """z, for example 1 * 4 + 10 * 2 + 0.5:

    >>> x = np.reshape([4.0, 2.0, 3.0], (1, 3, 1))
    >>> kernel = np.reshape([1.0, 10.0], (1, 2, 1))
    >>> float(cell(x, kernel, 0.5, 0, 0))
    24.5
    """
    kh, kw, _ = kernel.shape
    return np.sum(x[i : i + kh, j : j + kw] * kernel) + bias
