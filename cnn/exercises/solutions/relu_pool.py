"""ReLU and max pooling, backward: the gradient goes where the number came from, and nowhere else.

ReLU was y = max(z, 0): a positive z went through unchanged, all others became 0.

    dz = dy  where z > 0,  else 0

Of each window of the pooling one cell won; winners[n, i, j, c] = u*size + v tells which.

    dx[n, i*stride + u, j*stride + v, c] += dy[n, i, j, c]   for the winner (u, v) of each window

    dy of relu_backward, z, dz           all of one shape
    dy of max_pool_backward, winners     (N, OH, OW, C)
    dx                                   of shape x_shape, (N, H, W, C)
"""

import numpy as np


def relu_backward(dy, z):
    """dz, for example:

    >>> relu_backward(np.array([5.0, 6.0, 7.0]), np.array([0.1, -2.0, 3.0]))
    array([5., 0., 7.])
    """
    return dy * (z > 0)


def max_pool_backward(dy, winners, x_shape, size, stride):
    """dx, for example where the second cell of three wins in both windows (size 2 and stride 1, of one row each):

    >>> dy, winners = np.reshape([5.0, 7.0], (1, 1, 2, 1)), np.reshape([1, 0], (1, 1, 2, 1))
    >>> max_pool_backward(dy, winners, (1, 2, 3, 1), 2, 1)[0, 0, :, 0]
    array([ 0., 12.,  0.])
    """
    dx = np.zeros(x_shape, dy.dtype)
    for n, i, j, c in np.ndindex(dy.shape):
        u, v = divmod(winners[n, i, j, c], size)
        dx[n, i * stride + u, j * stride + v, c] += dy[n, i, j, c]
    return dx
