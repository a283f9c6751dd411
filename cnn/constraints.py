"""Constraints: where weights have to stay. After each step of the optimizer they are brought back there."""

from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Configurable, find, table
from cnn.configurable import serialize as serialize

Array = np.ndarray
LEAST = 1e-7  # added to a length before something is divided by it, as in Keras


class Constraint(Configurable):
    """What a parameter w becomes after a step. One of your own is this, and its `arguments`.

    >>> class AtMostOne(Constraint):
    ...     def __call__(self, w):
    ...         return np.minimum(w, 1)
    >>> AtMostOne()(np.array([0.5, 3.0]))
    array([0.5, 1. ])
    """

    def __call__(self, w: Array) -> Array:
        """The parameter as it should be, of the same shape."""
        raise NotImplementedError

    def as_argument(self) -> dict[str, Any]:
        return {"class_name": type(self).__name__, "config": self.get_config()}


class NonNeg(Constraint):
    """No number is below 0.

    >>> NonNeg()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    identifier = "non_neg"

    def __call__(self, w: Array) -> Array:
        return np.maximum(w, 0)


class OfLength(Constraint):
    """w * wanted / length,  length = sqrt(sum of w^2 along `axis`): what those that follow share, each its `wanted`

    axis 0 measures the weights of each unit of a Dense layer, (0, 1, 2) those of each filter of a convolution.

    >>> MaxNorm(5).wanted(np.array([3.0, 7.0]))
    array([3., 5.])
    """

    axis: checks.Axes
    arguments = {"axis": checks.axes}

    def wanted(self, length: Array) -> Array:
        """How long it should be."""
        raise NotImplementedError

    def __call__(self, w: Array) -> Array:
        try:
            length = np.sqrt(np.sum(np.square(w), axis=self.axis, keepdims=True))
        except ValueError:  # NumPy's own, of an axis that is not there or stands twice
            raise ValueError(f"{self}: axis: expected axes of an array of shape {w.shape}, got {self.axis}") from None
        return w * (self.wanted(length) / (LEAST + length))


class MaxNorm(OfLength):
    """The length is at most max_value.

    >>> MaxNorm(1)(np.array([[3.0, 0.3], [4.0, 0.4]])).round(3)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """

    identifier = "max_norm"
    max_value: float
    arguments = {"max_value": checks.number, **OfLength.arguments}

    def __init__(self, max_value: float = 2, axis: checks.Axes = 0):
        self.set_arguments(locals())

    def wanted(self, length: Array) -> Array:
        return np.minimum(length, self.max_value)


class UnitNorm(OfLength):
    """The length is 1.

    >>> UnitNorm()(np.array([3.0, 4.0])).round(3)
    array([0.6, 0.8])
    """

    identifier = "unit_norm"

    def __init__(self, axis: checks.Axes = 0):
        self.set_arguments(locals())

    def wanted(self, length: Array) -> Array:
        return np.ones_like(length)


class MinMaxNorm(OfLength):
    """The length goes from where it is to the next in [min_value, max_value]: by a share `rate` of the way.

    >>> MinMaxNorm(0, 1, rate=0.5)(np.array([3.0, 4.0])).round(3)  # of length 3
    array([1.8, 2.4])
    """

    identifier = "min_max_norm"
    min_value: float
    max_value: float
    rate: float
    arguments = {
        "min_value": checks.number,
        "max_value": checks.number,
        "rate": partial(checks.number, low=0, high=1),
        **OfLength.arguments,
    }

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: checks.Axes = 0):
        self.set_arguments(locals())
        if self.min_value > self.max_value:
            raise ValueError(f"{self}: expected min_value up to max_value, got {min_value} and {max_value}")

    def wanted(self, length: Array) -> Array:
        return self.rate * np.clip(length, self.min_value, self.max_value) + (1 - self.rate) * length


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm  # Keras' other names for them
Identifier = str | Constraint | type[Constraint] | dict | None  # how users may ask for one
TABLE: dict[str, type[Constraint]] = table(MaxNorm, MinMaxNorm, NonNeg, UnitNorm)


def get(identifier: Any, where: str = "constraint") -> Constraint | None:
    """A constraint from its name, class, itself or {"class_name", "config"}; None for None. ValueError for the rest."""
    if identifier is None:
        return None
    expected = f"{where}: expected None, {', '.join(map(repr, TABLE))} or an object such as constraints.MaxNorm(2)"
    return find(TABLE, Constraint, identifier, expected)


deserialize = get


def argument(where: str, name: str, value: Any) -> Constraint | None:
    """`get` as the check of a layer's argument."""
    return get(value, f"{where}: {name}")
