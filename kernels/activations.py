"""Activations and their slopes in one pass over an array: the formulas of cnn/layers/formulas.py, in float32.

NumPy sweeps over an array once for each operation of a formula, seven times for a sigmoid. Here each number is read and
written once, in all threads, and since a formula is made of +, -, *, / and choices alone, exp too, the compiler works
on as many numbers at a time as a register holds. The results are within a few roundings of NumPy's.

exp(x) is 2^n exp(r), n the whole number next to x / log 2 and r the rest, log(2) / 2 at most: the first is a matter of
the exponent's bits, the second of a short polynomial. Its coefficients and those of the others were found by least
squares; tests/test_activation_kernels.py measures what they are worth.
"""

import types
from collections.abc import Callable

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads

Array = np.ndarray
LEAST = 2**13  # numbers that are worth a second thread
F, INT = np.float32, np.int32


def _floats(*numbers: float) -> tuple[np.float32, ...]:
    return tuple(map(F, numbers))


ZERO, HALF, ONE, TWO, THREE, SIX = F(0), F(0.5), F(1), F(2), F(3), F(6)
LOG2_E, LOG_2, LOG_2_REST = F(1 / np.log(2)), F(355 / 512), F(np.log(2) - 355 / 512)  # log 2 cut where bits are left
WHOLE = F(1.5 * 2**23)  # so large that what is added to it keeps nothing behind the point
FAR = F(87)  # beyond it and its negative float32 does not hold exp
EXP = _floats(0.5, 0.16666577, 0.0416663762, 0.00836317551, 0.00139410219)  # (exp(r) - 1 - r) / r^2
LOG = _floats(  # log(1 + u) / u, u from 0 to 1
    *(0.999999975, -0.499995523, 0.333203379, -0.248528997, 0.191449319),
    *(-0.137462225, 0.0792059561, -0.0301079894, 0.00538331118),
)
ERFC = _floats(  # exp(z^2) (1 - erf(z)), of 1 / (1 + STEEP z)
    *(0.000186973275, 0.222246505, 0.253071708, 0.0828247969, 0.526932888),
    *(-0.527269814, 0.805899501, -0.448443915, 0.0845513447),
)
STEEP = F(0.4)
SELU_ALPHA, SELU_SCALE = F(1.6732632423543772), F(1.0507009873554805)
ROOT, CUBE = F((2 / np.pi) ** 0.5), F(0.044715)  # of gelu as it is approximated
BELL, ROOT_HALF = F(1 / (2 * np.pi) ** 0.5), F(0.5**0.5)


# ---- what the formulas are made of


_part = compiled(inline="always")


@_part
def _polynomial(a, x):
    """a[0] + a[1] x + a[2] x^2 + ..."""
    total = a[-1]
    for k in range(len(a) - 2, -1, -1):
        total = total * x + a[k]
    return total


@_part
def _exp_minus_1_in_parts(x):
    """(scale, rest): exp(x) = scale + scale rest, and scale is a power of 2"""
    x = -FAR if x < -FAR else FAR if x > FAR else x  # NaN stays NaN
    n = (x * LOG2_E + WHOLE) - WHOLE
    r = x - n * LOG_2 - n * LOG_2_REST
    exponent = INT(n if n == n else ZERO) + INT(127)
    return INT(exponent << INT(23)).view(F), r + r * r * _polynomial(EXP, r)


@_part
def exp(x: float) -> float:
    """exp(x), for x from -87 to 87; beyond, that of the nearer end"""
    scale, rest = _exp_minus_1_in_parts(x)
    return scale + scale * rest


@_part
def expm1(x: float) -> float:
    """exp(x) - 1, exact where both are almost the same"""
    scale, rest = _exp_minus_1_in_parts(x)
    return scale * rest + (scale - ONE)


@_part
def _below(x):
    """(the part of all normal numbers that is below x, their bell curve at x)"""
    z, bell = abs(x) * ROOT_HALF, exp(-HALF * x * x)
    beyond = HALF * bell * _polynomial(ERFC, ONE / (ONE + STEEP * z))
    return (ONE - beyond if x > ZERO else beyond), BELL * bell


# ---- the formulas: y of x, then dy/dx of x and y; `settings` are those that they have there, in that order

FORMULAS: dict[str, list[Callable]] = {}


def _formula(function: Callable) -> Callable:
    """Decorator for a function of the formula's name, and behind it for name_slope."""
    own = _part(function)
    FORMULAS.setdefault(function.__name__.strip("_").removesuffix("_slope"), []).append(own)
    return own


@_formula
def _sigmoid(x, _):
    return ONE / (ONE + exp(-x))


@_formula
def _sigmoid_slope(x, y, _):
    return y * (ONE - y)


@_formula
def _tanh(x, _):
    e = expm1(-TWO * abs(x))
    size = -e / (TWO + e)
    return size if x > ZERO else -size


@_formula
def _tanh_slope(x, y, _):
    return ONE - y * y


@_formula
def _softplus(x, _):
    u = exp(-abs(x))
    return (x if x > ZERO else ZERO) + u * _polynomial(LOG, u)


@_formula
def _softplus_slope(x, y, _):
    return _sigmoid(x, _)


@_formula
def _softsign(x, _):
    return x / (ONE + abs(x))


@_formula
def _softsign_slope(x, y, _):
    near = ONE / (ONE + abs(x))
    return near * near


@_formula
def _leaky_relu(x, settings):
    return x if x > ZERO else settings[0] * x


@_formula
def _leaky_relu_slope(x, y, settings):
    return ONE if x > ZERO else settings[0]


@_formula
def _elu(x, settings):
    return x if x > ZERO else settings[0] * expm1(x)


@_formula
def _elu_slope(x, y, settings):
    return ONE if x > ZERO else y + settings[0]


@_formula
def _selu(x, _):
    return SELU_SCALE * (x if x > ZERO else SELU_ALPHA * expm1(x))


@_formula
def _selu_slope(x, y, _):
    return SELU_SCALE if x > ZERO else y + SELU_SCALE * SELU_ALPHA


@_formula
def _silu(x, _):
    return x * _sigmoid(x, _)


@_formula
def _silu_slope(x, y, _):
    return _sigmoid(x, _) * (ONE + (x - y))


@_formula
def _mish(x, _):
    """With e = exp(x) _tanh(log(1 + e)) is ((1 + e)^2 - 1) / ((1 + e)^2 + 1)."""
    e = exp(x if x < HALF * FAR else HALF * FAR)
    n = e * (e + TWO)
    return x * (n / (n + TWO))


@_formula
def _mish_slope(x, y, _):
    e = exp(x if x < HALF * FAR else HALF * FAR)
    n = e * (e + TWO)
    t = n / (n + TWO)
    return t + x * (ONE + t) * (TWO / (n + TWO)) * _sigmoid(x, _)


@_formula
def _gelu(x, settings):
    if settings[0] != ZERO:
        return x * (ONE + _tanh(ROOT * (x + CUBE * x * x * x), settings)) * HALF
    return x * _below(x)[0]


@_formula
def _gelu_slope(x, y, settings):
    if settings[0] != ZERO:
        t = _tanh(ROOT * (x + CUBE * x * x * x), settings)
        return (ONE + t) * HALF + HALF * x * (ONE - t * t) * ROOT * (ONE + THREE * CUBE * x * x)
    p, bell = _below(x)
    return p + x * bell


@_formula
def _relu6(x, _):
    return ZERO if x < ZERO else SIX if x > SIX else x


@_formula
def _relu6_slope(x, y, _):
    return ONE if (x > ZERO) & (x < SIX) else ZERO


@_formula
def _hard_sigmoid(x, _):
    y = x / SIX + HALF
    return ZERO if y < ZERO else ONE if y > ONE else y


@_formula
def _hard_sigmoid_slope(x, y, _):
    return ONE / SIX if abs(x) < THREE else ZERO


@_formula
def _hard_silu(x, _):
    return x * _hard_sigmoid(x, _)


@_formula
def _hard_silu_slope(x, y, _):
    return x / THREE + HALF if abs(x) < THREE else ONE if x >= THREE else ZERO


@_formula
def _bent_relu(x, settings):
    y = x if x >= settings[2] else settings[0] * (x - settings[2])
    return settings[1] if y > settings[1] else y


@_formula
def _bent_relu_slope(x, y, settings):
    return settings[0] if x <= settings[2] else ONE if x < settings[1] else ZERO


# ---- over arrays


def _values(y, x, settings):
    for k in prange(len(y)):
        y[k] = function(x[k], settings)  # noqa: F821  _over_arrays says which


def _gradients(dx, dy, x, y, settings):
    for k in prange(len(dx)):
        dx[k] = dy[k] * function(x[k], y[k], settings)  # noqa: F821


def _over_arrays(loop: Callable, name: str, function: Callable) -> Callable:
    """The loop with this function in it, in all threads."""
    names = {"function": function, "prange": prange, "__name__": __name__}
    kernel = types.FunctionType(loop.__code__, names, f"{loop.__name__}_of_{name}")
    kernel.__qualname__ = kernel.__name__  # files of its own in the cache
    return in_threads(kernel, least=LEAST, error_model="numpy")


# y = f(x) as values(y, x, settings) and dx = dy f'(x) as gradients(dx, dy, x, y, settings), over flat float32 arrays;
# settings: a tuple of float32, not empty
KERNELS = {
    name: (_over_arrays(_values, name, value), _over_arrays(_gradients, name, slope))
    for name, (value, slope) in FORMULAS.items()
}
