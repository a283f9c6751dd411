"""Softmax: turns any numbers into probabilities, also numbers as large as 1000.

    p[n, k] = exp(z[n, k]) / sum over m of exp(z[n, m])

exp(1000) is more than a float can hold. But taking the same number from a whole row of z changes no p.

    z  (N, K)  a row for each photo, a number for each class
    p  (N, K)  each row adds up to 1
"""

import numpy as np


def softmax(z):
    """p, for example of exp(0), exp(0) and exp(log 2): 1, 1 and 2 parts of 4.

    >>> softmax(np.array([[0.0, 0.0, np.log(2.0)]])).round(6)
    array([[0.25, 0.25, 0.5 ]])
    """
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
