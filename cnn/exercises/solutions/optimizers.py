"""SGD and Adam: from a gradient to better weights.

SGD goes a small step against the gradient:

    w_new = w - rate * g

Adam keeps a running mean m of the gradients and v of their squares, and so makes steps of about the same length in
every weight, however large its gradient; t counts the steps from 1:

    m_new = beta_1 * m + (1 - beta_1) * g
    v_new = beta_2 * v + (1 - beta_2) * g**2
    w_new = w - rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m_new / (sqrt(v_new) + epsilon)

    w, g, m, v   all of one shape, of any
    the others   numbers
"""

import numpy as np


def sgd(w, g, rate):
    """w_new, for example:

    >>> sgd(np.array([1.0, 2.0, 3.0]), np.array([10.0, 0.0, -10.0]), 0.1)
    array([0., 2., 4.])
    """
    return w - rate * g


def adam(w, g, m, v, t, rate, beta_1, beta_2, epsilon):
    """(w_new, m_new, v_new), for example in the first step, where each w moves by the rate:

    >>> w, g, zeros = np.array([1.0, 1.0]), np.array([500.0, -0.2]), np.zeros(2)
    >>> w, m, v = adam(w, g, zeros, zeros, 1, 0.01, 0.9, 0.999, 1e-7)
    >>> w.round(4)
    array([0.99, 1.01])
    """
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g**2
    alpha = rate * (1 - beta_2**t) ** 0.5 / (1 - beta_1**t)
    return w - alpha * m / (np.sqrt(v) + epsilon), m, v
