"""The whole: a network whose every layer is yours. Two rows: forward through the layers, and backward in reverse.

    pad, convolution, ReLU, pooling     with kernel_1 (3, 3, 1, F), bias_1 (F,)
    pad, convolution, ReLU, pooling     with kernel_2 (3, 3, F, G), bias_2 (G,)
    each photo as one row, dense        with kernel_3 (I, 10), bias_3 (10,):  z = row @ kernel_3 + bias_3

'same' padding, convolutions with stride 1, pooling with size 2 and stride 2. Sizes are even, so the padding is one
cell on each side; on the way back it is cut off.

    x       (N, H, W, 1)   photos: photo, row, column, channel
    params  a dict: the six arrays above, under these names
    z       (N, 10)        a number for each class; the softmax comes later, in your dlogits
    kept    whatever you need on the way back
    dz      (N, 10)        the slope of the loss in each z
    grads   a dict: a gradient for each of the six, under the same names

When both are right, your network learns 2,000 photos, with your dlogits and your adam.
"""

import numpy as np
from dense import dense_backward
from input_gradient import convolution_dx
from kernel_gradient import convolution_dkernel
from padding import pad_same
from pooling import max_pool
from product import convolution
from relu_pool import max_pool_backward, relu_backward


def forward(x, params):
    """(z, kept), for example of a black photo, for which the biases alone speak:

    >>> params = {"kernel_1": np.ones((3, 3, 1, 2)), "bias_1": np.zeros(2), "kernel_2": np.ones((3, 3, 2, 3))}
    >>> params |= {"bias_2": np.zeros(3), "kernel_3": np.ones((3, 10)), "bias_3": np.arange(10.0)}
    >>> forward(np.zeros((1, 4, 4, 1)), params)[0]
    array([[0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]])
    """
    kept = []
    for k in (1, 2):
        padded = pad_same(x, 3, 3, 1)
        z = convolution(padded, params[f"kernel_{k}"], params[f"bias_{k}"], 1)
        x, winners = max_pool(np.maximum(z, 0), 2, 2)
        kept.append((padded, z, winners))
    rows = x.reshape(len(x), -1)
    return rows @ params["kernel_3"] + params["bias_3"], (kept, rows, x.shape)


def backward(dz, kept, params):
    """grads, for example of the last bias: the sum of dz over the photos."""
    kept, rows, shape = kept
    grads = {}
    grads["kernel_3"], grads["bias_3"], dy = dense_backward(dz, rows, params["kernel_3"])
    dy = dy.reshape(shape)
    for k in (2, 1):
        padded, z, winners = kept[k - 1]
        dz = relu_backward(max_pool_backward(dy, winners, z.shape, 2, 2), z)
        grads[f"kernel_{k}"], grads[f"bias_{k}"] = convolution_dkernel(dz, padded, 3, 3, 1)
        dy = convolution_dx(dz, params[f"kernel_{k}"], padded.shape, 1)[:, 1:-1, 1:-1]  # the padding cut off
    return grads
