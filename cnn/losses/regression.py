"""Losses of numbers: how far the predictions p are from what they should be, y. Each is a formula and its slope."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import checks
from cnn.losses.base import EPSILON, Array, Loss


class OfNumbers(Loss):
    """L = mean f(p, y)        over the C numbers of each prediction p (N, ..., C), places and photos

    Backward: each number has a loss of its own, so dp = f'(p, y) / C, over places and photos; f' is f's slope by p.
    """

    least_axes = 1

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        """(f, f') of each number."""
        raise NotImplementedError

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        losses, slopes = self.of_each(y_true.astype(y_pred.dtype, copy=False), y_pred)
        return losses.mean(axis=-1), slopes / y_pred.shape[-1]


class MeanSquaredError(OfNumbers):
    """f = (p - y)^2,   f' = 2 (p - y)

    >>> MeanSquaredError()([[0.0, 1.0]], [[2.0, 1.0]])
    2.0
    """

    identifier = name = "mean_squared_error"

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        return (p - y) ** 2, 2 * (p - y)


class MeanAbsoluteError(OfNumbers):
    """f = |p - y|,   f' = sign(p - y), 0 where both are equal

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]])
    1.0
    """

    identifier = name = "mean_absolute_error"

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        return np.abs(p - y), np.sign(p - y)


class MeanAbsolutePercentageError(OfNumbers):
    """f = 100 |p - y| / |y|,   f' = 100 sign(p - y) / |y|        |y| is taken as 1e-7 at least

    >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[3.0, 4.0]])
    25.0
    """

    identifier = name = "mean_absolute_percentage_error"

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        percent = 100 / np.maximum(np.abs(y), y.dtype.type(EPSILON))
        return percent * np.abs(p - y), percent * np.sign(p - y)


class MeanSquaredLogarithmicError(OfNumbers):
    """f = d^2,  d = log(1 + p) - log(1 + y),   f' = 2 d / (1 + p)        p and y are taken as 1e-7 at least

    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[np.e - 1]]), 4)
    1.0
    """

    identifier = name = "mean_squared_logarithmic_error"

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        q, least = np.maximum(p, p.dtype.type(EPSILON)), y.dtype.type(EPSILON)
        d = np.log1p(q) - np.log1p(np.maximum(y, least))
        return d**2, 2 * d / (1 + q) * (q == p)


class Huber(OfNumbers):
    """f = e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2,  e = p - y;   f' = e cut off at -delta and delta

    A square near the target and a line far from it, so that single wild labels do not rule (Huber, 1964).

    >>> Huber()([[0.0, 0.0]], [[1.0, 3.0]])  # the mean of 1/2 and 5/2
    1.5
    """

    identifier = name = "huber"
    delta: float
    arguments = {"delta": checks.number, **OfNumbers.arguments}

    def __init__(self, delta: float = 1.0, *, name: str | None = None, **unsupported: Any):
        super().__init__(name=name, **unsupported)
        self.set_arguments(locals())

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        slope = np.clip(p - y, -self.delta, self.delta)
        return slope * (p - y) - slope**2 / 2, slope


class LogCosh(OfNumbers):
    """f = log((exp(e) + exp(-e)) / 2),  e = p - y,   f' = tanh(e)

    Near 0 it is e^2 / 2, far from it |e| - log 2. It is computed as |e| + log(1 + exp(-2 |e|)) - log 2, where exp
    cannot overflow.

    >>> round(LogCosh()([[0.0]], [[1000.0]]), 3)
    999.307
    """

    identifier = name = "log_cosh"

    def of_each(self, y: Array, p: Array) -> tuple[Array, Array]:
        far = np.abs(p - y)
        return far + np.log1p(np.exp(-2 * far)) - p.dtype.type(np.log(2)), np.tanh(p - y)


def _function(kind: type[Loss]) -> Callable[[Any, Any], Array]:
    """Keras' function of a loss: (y_true, y_pred) -> the loss of each photo, or of each place of its map."""

    def loss(y_true: Any, y_pred: Any) -> Array:
        return kind().per_photo(y_true, y_pred)

    loss.__name__ = loss.__qualname__ = kind.identifier
    loss.__doc__ = f"The mean of f along the last axis, as {kind.__name__} has it. Raises ValueError."
    return loss


mean_squared_error = _function(MeanSquaredError)
mean_absolute_error = _function(MeanAbsoluteError)
mean_absolute_percentage_error = _function(MeanAbsolutePercentageError)
mean_squared_logarithmic_error = _function(MeanSquaredLogarithmicError)
log_cosh = _function(LogCosh)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Array:
    """The mean of f along the last axis, as Huber has it. Raises ValueError."""
    return Huber(delta).per_photo(y_true, y_pred)
