"""Adam's step in one pass over the arrays; reference.py holds the formula.

NumPy would sweep over the weights a dozen times, once for each operation; here each
number is read and written once, in all threads where there are many.

A moment that shrinks to almost nothing becomes 0. Otherwise the moments of weights that get no
gradient any more, a quarter of them after a few epochs, would pass through and partly stay among
the numbers whose products are denormal, and many processors take a hundred times as long over those.
A gradient whose square would be denormal counts as 0 in v, which that square would not change.
"""

import functools
import math

import numpy as np
from numba import prange

from kernels.compiled import in_threads

LEAST = 2**14  # numbers that are worth a second thread: some microseconds of work


def adam_update(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    alpha: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """In place, for contiguous arrays of one shape and dtype:
    m += (1 - beta_1) (g - m),   v += (1 - beta_2) (g^2 - v),   w -= alpha m / (sqrt(v) + epsilon)

    Raises ValueError for different shapes: the compiled loop checks no bounds and would write beside the arrays.
    """
    if not w.shape == g.shape == m.shape == v.shape:
        raise ValueError(f"adam_update: expected arrays of one shape, got {w.shape}, {g.shape}, {m.shape}, {v.shape}")
    flat_w, flat_m, flat_v = (array.reshape(-1, copy=False) for array in (w, m, v))
    adam_into(flat_w, np.ravel(g), flat_m, flat_v, *_scalars(w.dtype, alpha, beta_1, beta_2, epsilon))


@functools.lru_cache(maxsize=4)  # the parameters of one step ask for the same
def _scalars(dtype, alpha, beta_1, beta_2, epsilon):
    """What adam_into wants beside the arrays."""
    tiny = float(np.finfo(dtype).tiny)  # the smallest number that is not denormal
    numbers = (alpha, 1 - beta_1, 1 - beta_2, epsilon, negligible(dtype, epsilon), math.sqrt(tiny))
    return [dtype.type(value) for value in numbers]


def negligible(dtype: np.dtype, epsilon: float) -> float:
    """Moments below it become 0: products of larger ones are normal, and epsilon hides the root of smaller ones."""
    tiny = float(np.finfo(dtype).tiny)  # the smallest number that is not denormal
    return max(tiny, min(2**26 * tiny, 2**-50 * epsilon**2))


@in_threads(least=LEAST, error_model="numpy")
def adam_into(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    alpha: float,
    rate_1: float,
    rate_2: float,
    epsilon: float,
    threshold: float,
    smallest_root: float,
) -> None:
    """adam_update over flat arrays, with 1 - beta_1 and 1 - beta_2 as rates; moments below threshold become 0,
    and so do gradients below smallest_root before they are squared.
    """
    zero = w.dtype.type(0)
    for k in prange(w.size):
        gk = g[k]
        mk = m[k] + rate_1 * (gk - m[k])
        root = zero if abs(gk) < smallest_root else gk
        vk = v[k] + rate_2 * (root * root - v[k])
        m[k] = zero if abs(mk) < threshold else mk  # in this form NaN stays NaN
        v[k] = zero if vk < threshold else vk
        w[k] -= alpha * mk / (np.sqrt(vk) + epsilon)
