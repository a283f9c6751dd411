"""The gradient of a convolution's filters: one weight was used at every place, so it gets the sum over all places.

Forward was  z[n, i, j, f] = bias[f] + sum over u, v, c of  x[n, i*stride + u, j*stride + v, c] * kernel[u, v, c, f].

    dkernel[u, v, c, f] = sum over n, i, j of  x[n, i*stride + u, j*stride + v, c] * dz[n, i, j, f]
    dbias[f]            = sum over n, i, j of  dz[n, i, j, f]
    as one product:  columns transposed (kh*kw*C, N*OH*OW)  @  dz (N*OH*OW, F)

    dz       (N, OH, OW, F)
    x        (N, H, W, C)     its padding is there already
    kh, kw   rows and columns of the window
    stride   how far the window moves, in both directions
    dkernel  (kh, kw, C, F)
    dbias    (F,)

Your im2col lies in the file beside this one.
"""

import numpy as np
from im2col import im2col


def convolution_dkernel(dz, x, kh, kw, stride):
    """(dkernel, dbias), for example of a row of three, 1 * 4 + 100 * 2 and 1 * 2 + 100 * 3:

    >>> dz, x = np.reshape([1.0, 100.0], (1, 1, 2, 1)), np.reshape([4.0, 2.0, 3.0], (1, 1, 3, 1))
    >>> dkernel, dbias = convolution_dkernel(dz, x, 1, 2, 1)
    >>> dkernel.ravel(), dbias
    (array([204., 302.]), array([101.]))
    """
    rows = dz.reshape(-1, dz.shape[-1])
    dkernel = im2col(x, kh, kw, stride).T @ rows
    return dkernel.reshape(kh, kw, x.shape[-1], dz.shape[-1]), rows.sum(axis=0)
