"""Dense, backward: the gradients of weights, bias and input.

Forward was  z[n, o] = bias[o] + sum over i of  x[n, i] * kernel[i, o].  From above comes dz, the slope of the loss in
each z; by the chain rule:

    dkernel[i, o] = sum over n of  x[n, i] * dz[n, o]
    dbias[o]      = sum over n of  dz[n, o]
    dx[n, i]      = sum over o of  dz[n, o] * kernel[i, o]

    dz      (N, O)     kernel, dkernel  (I, O)
    x, dx   (N, I)     dbias            (O,)
"""

import numpy as np


def dense_backward(dz, x, kernel):
    """(dkernel, dbias, dx), for example of one photo:

    >>> dkernel, dbias, dx = dense_backward(np.array([[2.0]]), np.array([[3.0, 5.0]]), np.array([[10.0], [1.0]]))
    >>> dkernel.ravel(), dbias, dx
    (array([ 6., 10.]), array([2.]), array([[20.,  2.]]))
    """
    return x.T @ dz, dz.sum(axis=0), dz @ kernel.T
