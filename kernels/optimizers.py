"""The steps of RMSprop, Adam with amsgrad, Nadam, Adamax, Adagrad, Adadelta and Lion, each in one pass over the arrays.

As Adam's (adam.py), in all threads where there are many numbers; what shrinks to almost nothing becomes 0 for the
reason given there. Each `..._update` changes contiguous arrays of one shape and dtype in place, and raises ValueError
for different shapes: the compiled loops check no bounds.
"""

from collections.abc import Callable

import numpy as np
from numba import prange

from kernels.adam import LEAST, negligible
from kernels.compiled import in_threads

Array = np.ndarray


def _in_one_pass(loop: Callable, arrays: list[Array | None], numbers: list[float]) -> None:
    """loop(*arrays, *numbers) over the arrays made flat; for an array that is None it gets an empty one."""
    first, given = arrays[0], [array for array in arrays if array is not None]
    assert first is not None
    if any(array.shape != first.shape for array in given):
        raise ValueError(f"{loop.__name__}: expected arrays of one shape, got {[array.shape for array in given]}")
    # The second, the gradient, is only read: it may be copied.
    given[1] = np.ascontiguousarray(given[1])
    flat = iter([array.reshape(-1, copy=False) for array in given])
    none = np.empty(0, first.dtype)
    rows = [none if array is None else next(flat) for array in arrays]
    scalars = [first.dtype.type(number) for number in numbers]
    loop(*rows, *scalars)


def rmsprop_update(
    w: Array,
    g: Array,
    v: Array,
    m: Array | None,
    a: Array | None,
    rate: float,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """v = rho v + (1 - rho) g^2,   a = rho a + (1 - rho) g
    step = rate g / sqrt(v - a^2 + epsilon),   m = momentum m + step,   w -= m

    m None: w -= step. a None: without a^2.
    """
    numbers = [rate, rho, 1 - rho, momentum, epsilon, negligible(w.dtype, epsilon)]
    _in_one_pass(rmsprop_into, [w, g, v, m, a], numbers)


@in_threads(least=LEAST, error_model="numpy")
def rmsprop_into(
    w: Array,
    g: Array,
    v: Array,
    m: Array,
    a: Array,
    rate: float,
    rho: float,
    rest: float,
    momentum: float,
    epsilon: float,
    threshold: float,
) -> None:
    """rmsprop_update over flat arrays, with 1 - rho as rest; an m or an a of no numbers is left out."""
    zero = w.dtype.type(0)
    for k in prange(w.size):
        gk = g[k]
        vk = rho * v[k] + rest * (gk * gk)
        v[k] = zero if vk < threshold else vk  # in this form NaN stays NaN
        if a.size:
            ak = rho * a[k] + rest * gk
            a[k] = zero if abs(ak) < threshold else ak
            vk -= ak * ak
            vk = zero if vk < zero else vk  # a variance; rounding may have made it less than 0
        step = rate * gk / np.sqrt(vk + epsilon)
        if m.size:
            step += momentum * m[k]
            m[k] = zero if abs(step) < threshold else step
        w[k] -= step


def amsgrad_update(
    w: Array, g: Array, m: Array, v: Array, top: Array, alpha: float, beta_1: float, beta_2: float, epsilon: float
) -> None:
    """m += (1 - beta_1) (g - m),   v += (1 - beta_2) (g^2 - v),   top = max(top, v)
    w -= alpha m / (sqrt(top) + epsilon)
    """
    numbers = [alpha, 1 - beta_1, 1 - beta_2, epsilon, negligible(w.dtype, epsilon)]
    _in_one_pass(amsgrad_into, [w, g, m, v, top], numbers)


@in_threads(least=LEAST, error_model="numpy")
def amsgrad_into(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    top: Array,
    alpha: float,
    rate_1: float,
    rate_2: float,
    epsilon: float,
    threshold: float,
) -> None:
    """amsgrad_update over flat arrays, with 1 - beta_1 and 1 - beta_2 as rates."""
    zero = w.dtype.type(0)
    for k in prange(w.size):
        gk = g[k]
        mk = m[k] + rate_1 * (gk - m[k])
        vk = v[k] + rate_2 * (gk * gk - v[k])
        m[k] = zero if abs(mk) < threshold else mk
        v[k] = zero if vk < threshold else vk
        top[k] = top[k] if top[k] >= vk else vk  # NaN goes on
        w[k] -= alpha * mk / (np.sqrt(top[k]) + epsilon)


def nadam_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    share_m: float,
    share_g: float,
    correction: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """m += (1 - beta_1) (g - m),   v += (1 - beta_2) (g^2 - v)
    w -= (share_m m + share_g g) / (sqrt(correction v) + epsilon)
    """
    numbers = [share_m, share_g, correction, 1 - beta_1, 1 - beta_2, epsilon, negligible(w.dtype, epsilon)]
    _in_one_pass(nadam_into, [w, g, m, v], numbers)


@in_threads(least=LEAST, error_model="numpy")
def nadam_into(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    share_m: float,
    share_g: float,
    correction: float,
    rate_1: float,
    rate_2: float,
    epsilon: float,
    threshold: float,
) -> None:
    """nadam_update over flat arrays, with 1 - beta_1 and 1 - beta_2 as rates."""
    zero = w.dtype.type(0)
    for k in prange(w.size):
        gk = g[k]
        mk = m[k] + rate_1 * (gk - m[k])
        vk = v[k] + rate_2 * (gk * gk - v[k])
        m[k] = zero if abs(mk) < threshold else mk
        v[k] = zero if vk < threshold else vk
        w[k] -= (share_m * mk + share_g * gk) / (np.sqrt(correction * vk) + epsilon)


def adamax_update(
    w: Array, g: Array, m: Array, u: Array, alpha: float, beta_1: float, beta_2: float, epsilon: float
) -> None:
    """m += (1 - beta_1) (g - m),   u = max(beta_2 u, |g|),   w -= alpha m / (u + epsilon)"""
    numbers = [alpha, 1 - beta_1, beta_2, epsilon, negligible(w.dtype, epsilon)]
    _in_one_pass(adamax_into, [w, g, m, u], numbers)


@in_threads(least=LEAST, error_model="numpy")
def adamax_into(
    w: Array, g: Array, m: Array, u: Array, alpha: float, rate_1: float, beta_2: float, epsilon: float, threshold: float
) -> None:
    """adamax_update over flat arrays, with 1 - beta_1 as rate_1."""
    zero = w.dtype.type(0)
    for k in prange(w.size):
        gk = g[k]
        mk = m[k] + rate_1 * (gk - m[k])
        old, size = beta_2 * u[k], abs(gk)
        uk = old if old >= size else size  # NaN goes on
        m[k] = zero if abs(mk) < threshold else mk
        u[k] = zero if uk < threshold else uk
        w[k] -= alpha * mk / (uk + epsilon)


def adagrad_update(w: Array, g: Array, s: Array, rate: float, epsilon: float) -> None:
    """s += g^2,   w -= rate g / sqrt(s + epsilon)"""
    _in_one_pass(adagrad_into, [w, g, s], [rate, epsilon])


@in_threads(least=LEAST, error_model="numpy")
def adagrad_into(w: Array, g: Array, s: Array, rate: float, epsilon: float) -> None:
    """adagrad_update over flat arrays."""
    for k in prange(w.size):
        gk = g[k]
        s[k] += gk * gk
        w[k] -= rate * gk / np.sqrt(s[k] + epsilon)


def adadelta_update(w: Array, g: Array, s: Array, r: Array, rate: float, rho: float, epsilon: float) -> None:
    """s = rho s + (1 - rho) g^2,   d = sqrt(r + epsilon) / sqrt(s + epsilon) g,   r = rho r + (1 - rho) d^2
    w -= rate d
    """
    _in_one_pass(adadelta_into, [w, g, s, r], [rate, rho, 1 - rho, epsilon, negligible(w.dtype, epsilon)])


@in_threads(least=LEAST, error_model="numpy")
def adadelta_into(
    w: Array, g: Array, s: Array, r: Array, rate: float, rho: float, rest: float, epsilon: float, threshold: float
) -> None:
    """adadelta_update over flat arrays, with 1 - rho as rest."""
    zero = w.dtype.type(0)
    for k in prange(w.size):
        gk = g[k]
        sk = rho * s[k] + rest * (gk * gk)
        d = np.sqrt(r[k] + epsilon) / np.sqrt(sk + epsilon) * gk
        rk = rho * r[k] + rest * (d * d)
        s[k] = zero if sk < threshold else sk
        r[k] = zero if rk < threshold else rk
        w[k] -= rate * d


def lion_update(w: Array, g: Array, m: Array, rate: float, beta_1: float, beta_2: float) -> None:
    """w -= rate sign(beta_1 m + (1 - beta_1) g),   m = beta_2 m + (1 - beta_2) g"""
    numbers = [rate, beta_1, 1 - beta_1, beta_2, 1 - beta_2, negligible(w.dtype, 1)]
    _in_one_pass(lion_into, [w, g, m], numbers)


@in_threads(least=LEAST, error_model="numpy")
def lion_into(
    w: Array,
    g: Array,
    m: Array,
    rate: float,
    beta_1: float,
    rest_1: float,
    beta_2: float,
    rest_2: float,
    threshold: float,
) -> None:
    """lion_update over flat arrays, with 1 - beta_1 and 1 - beta_2 as rests."""
    zero = w.dtype.type(0)
    for k in prange(w.size):
        w[k] -= rate * np.sign(beta_1 * m[k] + rest_1 * g[k])
        mk = beta_2 * m[k] + rest_2 * g[k]
        m[k] = zero if abs(mk) < threshold else mk


def move_average(average: Array, w: Array, momentum: float) -> None:
    """average = momentum average + (1 - momentum) w"""
    _in_one_pass(move_average_into, [average, w], [momentum, 1 - momentum])


@in_threads(least=LEAST, error_model="numpy")
def move_average_into(average: Array, w: Array, momentum: float, rest: float) -> None:
    """move_average over flat arrays, with 1 - momentum as rest."""
    for k in prange(w.size):
        average[k] = momentum * average[k] + rest * w[k]
