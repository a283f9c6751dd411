"""Formulas of activations that go number by number: y = f(x), and above each its slope dy/dx, from x and y.

ReLU and Softmax stand in activations.py and are read first. A formula here is a function to call, and a line of
FORMULAS, by which Dense, Conv2D and Activation find it. Where a slope jumps, or the slope's own slope, there is a
corner: at it the slope is one of those beside it, and the gradient check goes around it. What differs on both sides of
0 is the sum of two parts: np.where, which looks at one number after the other, takes ten times as long.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kernels.erf import erf

Array = np.ndarray


class Formula(NamedTuple):
    """One activation."""

    function: Callable[..., Array]  # y from x, and settings such as alpha
    slope: Callable[..., Array]  # dy/dx from x, y and the same settings
    corners: tuple[float, ...]


FORMULAS: dict[str, Formula] = {}


def numbers(x: ArrayLike) -> Array:
    """x as an array of float32, or of float64 where it is an array of these."""
    array = np.asarray(x)
    double = array.dtype == np.float64 and not isinstance(x, list | tuple | float)
    return array.astype(np.float64 if double else np.float32, copy=False)


def formula(slope: Callable[..., Array], corners: tuple[float, ...] = ()) -> Callable:
    """Decorator: this function of x has this slope, and its name a line in FORMULAS. It may be called with lists."""

    def enter(function: Callable[..., Array]) -> Callable[..., Array]:
        @functools.wraps(function)
        def of_numbers(x: ArrayLike, *args: Any, **settings: Any) -> Array:
            return function(numbers(x), *args, **settings)

        FORMULAS[function.__name__] = Formula(of_numbers, slope, corners)
        return of_numbers

    return enter


# ---- S-shaped


@formula(lambda x, y: y * (1 - y))
def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), between 0 and 1.

    For x < 0 it is computed as exp(x) / (1 + exp(x)), the same, because exp(-x) might overflow.
    """
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


@formula(lambda x, y: 1 - y * y)
def tanh(x: Array) -> Array:
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x)), between -1 and 1."""
    return np.tanh(x)


@formula(lambda x, y: (1 / (1 + np.abs(x))) ** 2, corners=(0,))
def softsign(x: Array) -> Array:
    """y = x / (1 + |x|), between -1 and 1."""
    return x / (1 + np.abs(x))


# ---- like ReLU, but bent


@formula(lambda x, y, negative_slope=0.2: (x > 0) + (x <= 0) * x.dtype.type(negative_slope), corners=(0,))
def leaky_relu(x: Array, negative_slope: float = 0.2) -> Array:
    """y = x where x > 0, else negative_slope * x: no unit is ever closed."""
    return np.maximum(x, 0) + negative_slope * np.minimum(x, 0)


@formula(lambda x, y, alpha=1.0: (x > 0) + (x <= 0) * (alpha * np.exp(np.minimum(x, 0))), corners=(0,))
def elu(x: Array, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha * (exp(x) - 1) (Clevert et al., 2016)."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # they keep mean 0 and variance 1 from layer to layer


@formula(lambda x, y: SELU_SCALE * FORMULAS["elu"].slope(x, y, SELU_ALPHA), corners=(0,))
def selu(x: Array) -> Array:
    """y = scale * elu(x, alpha), with the two numbers above (Klambauer et al., 2017)."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


@formula(lambda x, y: sigmoid(x))
def softplus(x: Array) -> Array:
    """y = log(1 + exp(x)), a ReLU without its corner. For x > 0 it is x + log(exp(-x) + 1), where exp(x) overflows."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@formula(lambda x, y: sigmoid(x) * (1 + (x - y)))
def silu(x: Array) -> Array:
    """y = x * sigmoid(x), also called swish. With s = sigmoid(x):  dy/dx = s + x * s * (1 - s) = s * (1 + (x - y))"""
    return x * sigmoid(x)


@formula(lambda x, y: (t := np.tanh(softplus(x))) + x * (1 - t * t) * sigmoid(x))
def mish(x: Array) -> Array:
    """y = x * tanh(softplus(x)) (Misra, 2019)."""
    return x * np.tanh(softplus(x))


ROOT, CUBE = math.sqrt(2 / math.pi), 0.044715


def _gelu_slope(x: Array, y: Array, approximate: bool = False) -> Array:
    if approximate:
        near = np.clip(x, -10, 10)  # beyond, t is -1 or 1
        t = np.tanh(ROOT * (near + CUBE * near**3))
        return (1 + t) / 2 + near / 2 * (1 - t * t) * ROOT * (1 + 3 * CUBE * near**2)
    near = np.clip(x, -40, 40)  # beyond, the bell curve is 0
    return (1 + erf(x / math.sqrt(2))) / 2 + near * np.exp(-near * near / 2) / math.sqrt(2 * math.pi)


@formula(_gelu_slope)
def gelu(x: Array, approximate: bool = False) -> Array:
    """y = x * P, P the part of all normal numbers that is below x (Hendrycks and Gimpel, 2016).

    P is (1 + erf(x / sqrt(2))) / 2, and its slope the bell curve exp(-x^2 / 2) / sqrt(2 pi). approximate: P is
    (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2.
    """
    near = np.clip(x, -10, 10)
    inside = np.tanh(ROOT * (near + CUBE * near**3)) if approximate else erf(x / math.sqrt(2))
    return x * (1 + inside) / 2


PLACES = ("max_value", "threshold")  # settings that say where a corner is

# ---- straight lines, and one that is not


@formula(lambda x, y: ((x > 0) & (x < 6)).astype(x.dtype), corners=(0, 6))
def relu6(x: Array) -> Array:
    """y = x cut off at 0 and 6."""
    return np.clip(x, 0, 6)


@formula(lambda x, y: (np.abs(x) < 3) / x.dtype.type(6), corners=(-3, 3))
def hard_sigmoid(x: Array) -> Array:
    """y = x / 6 + 1/2 cut off at 0 and 1."""
    return np.clip(x / 6 + 0.5, 0, 1)


@formula(lambda x, y: (np.abs(x) < 3) * (x / 3 + x.dtype.type(0.5)) + (x >= 3), corners=(-3, 3))
def hard_silu(x: Array) -> Array:
    """y = x * hard_sigmoid(x), also called hard swish."""
    return x * hard_sigmoid(x)


@formula(lambda x, y: y)
def exponential(x: Array) -> Array:
    """y = exp(x); infinite where no float holds it."""
    with np.errstate(over="ignore"):
        return np.exp(x)


def _bent_relu_slope(
    x: Array, y: Array, negative_slope: float = 0.0, max_value: float = math.inf, threshold: float = 0.0
) -> Array:
    return np.where(x > threshold, x < max_value, x.dtype.type(negative_slope)).astype(x.dtype, copy=False)


@formula(_bent_relu_slope, corners=(0,))
def bent_relu(x: Array, negative_slope: float = 0.0, max_value: float = math.inf, threshold: float = 0.0) -> Array:
    """y = x from the threshold on, but at most max_value; below it negative_slope * (x - threshold): a ReLU."""
    y = np.where(x >= threshold, x, 0.0 + negative_slope * (x - threshold))  # 0 + -0 is 0
    return np.minimum(y, x.dtype.type(max_value))


OTHER_NAMES = {"swish": "silu", "hard_swish": "hard_silu"}
