"""The gradient of a convolution's input: a cell lay under several windows, so it gets the sum over all of them.

Forward was  z[n, i, j, f] = bias[f] + sum over u, v, c of  x[n, i*stride + u, j*stride + v, c] * kernel[u, v, c, f].

    dcolumns[n, i, j, u, v, c] = sum over f of  dz[n, i, j, f] * kernel[u, v, c, f]
    dx[n, i*stride + u, j*stride + v, c] += dcolumns[n, i, j, u, v, c]       this is col2im: im2col the other way

    dz      (N, OH, OW, F)
    kernel  (kh, kw, C, F)
    stride  how far the window moves, in both directions
    dx      of shape x_shape, (N, H, W, C); x had its padding already
"""

import numpy as np


def convolution_dx(dz, kernel, x_shape, stride):
    """dx, for example of a row of three; the middle cell lay under both windows, 10 * 1 + 1 * 100:

    >>> dz, kernel = np.reshape([1.0, 100.0], (1, 1, 2, 1)), np.reshape([1.0, 10.0], (1, 2, 1, 1))
    >>> convolution_dx(dz, kernel, (1, 1, 3, 1), 1).ravel()
    array([   1.,  110., 1000.])
    """
    kh, kw, _, _ = kernel.shape
    _, out_h, out_w, _ = dz.shape
    dx = np.zeros(x_shape, dz.dtype)
    for i, j in np.ndindex(out_h, out_w):
        part = np.tensordot(dz[:, i, j], kernel, (1, 3))  # (N, kh, kw, C)
        dx[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += part
    return dx
