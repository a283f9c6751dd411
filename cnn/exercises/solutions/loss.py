"""The loss: how far the network was from the truth, in one number.

L = the mean over all photos n of  -log p[n, y[n]]

p  (N, K)  probabilities: a row for each photo, a number for each class
y  (N,)    whole numbers: the right class of each photo
L  a number; log is the natural logarithm, np.log
"""

import numpy as np


def loss(p, y):
    """L, for example -log 0.25, where the right class was given 0.25:

    >>> round(float(loss(np.array([[0.25, 0.5, 0.25]]), np.array([2]))), 6)
    1.386294
    """
    return -np.log(p[np.arange(len(y)), y]).mean()
