"""The error function, which NumPy has not: what GELU needs."""

import math

import numpy as np

from kernels.compiled import compiled


def erf(x: np.ndarray) -> np.ndarray:
    """2 / sqrt(pi) * the integral of exp(-t^2) from 0 to x, for each number of an array of floats, in its dtype."""
    x = np.ascontiguousarray(x)
    y = np.empty_like(x)
    erf_into(y.reshape(-1), x.reshape(-1))
    return y


@compiled
def erf_into(y: np.ndarray, x: np.ndarray) -> None:
    """Fill y (M,) with the error function of x (M,)."""
    for i in range(len(x)):
        y[i] = math.erf(x[i])
