"""p - y: how the loss changes with the numbers that go into the softmax.

    dz[n, k] = (p[n, k] - 1) / N    where k is the right class y[n]
    dz[n, k] =  p[n, k] / N         elsewhere

with p = softmax(z). It is the slope of the loss of the last exercise, the mean over N photos, in each z[n, k].

    z   (N, K)  a row for each photo, a number for each class
    y   (N,)    whole numbers: the right class of each photo
    dz  (N, K)

Your softmax lies in the file beside this one.
"""

import numpy as np
from softmax import softmax


def dlogits(z, y):
    """dz, for example of one photo:

    >>> dlogits(np.array([[0.0, 0.0, np.log(2.0)]]), np.array([2])).round(6)
    array([[ 0.25,  0.25, -0.5 ]])
    """
    dz = softmax(z)
    dz[np.arange(len(y)), y] -= 1
    return dz / len(y)
