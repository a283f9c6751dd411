"""Regularizers: what large weights cost, added to the loss, so that the network explains its photos with small ones."""

from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Configurable, find, table
from cnn.configurable import serialize as serialize

Array = np.ndarray
FACTOR = partial(checks.number, low=0, high=1e6)


class Regularizer(Configurable):
    """The penalty of a parameter w, and its gradient. One of your own is these two, and its `arguments`.

    >>> get("l2")(np.array([1.0, -2.0]))
    0.05
    """

    def __call__(self, w: Array) -> float:
        raise NotImplementedError

    def gradient(self, w: Array) -> Array:
        """The derivative of the penalty by each number of w."""
        raise NotImplementedError

    def as_argument(self) -> dict[str, Any]:
        return {"class_name": type(self).__name__, "config": self.get_config()}


class L1L2(Regularizer):
    """penalty = l1 * sum |w| + l2 * sum w^2,   so its gradient = l1 * sign(w) + 2 * l2 * w       (sign(0) = 0)

    >>> both, w = L1L2(l1=0.5, l2=0.25), np.array([2.0, 0.0, -1.0])
    >>> both(w), both.gradient(w)
    (2.75, array([ 1.5,  0. , -1. ]))
    """

    identifier = "l1_l2"
    l1: float = 0.0
    l2: float = 0.0
    arguments = {"l1": FACTOR, "l2": FACTOR}

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **unsupported: Any):
        self.set_arguments(locals())

    def __call__(self, w: Array) -> float:
        return self.l1 * float(np.abs(w).sum()) + self.l2 * float((w * w).sum())

    def gradient(self, w: Array) -> Array:
        return self.l1 * np.sign(w) + 2 * self.l2 * w


class L1(L1L2):
    """penalty = l1 * sum |w|: small weights become exactly superfluous

    >>> L1(0.1)(np.array([2.0, -3.0]))
    0.5
    """

    identifier = "l1"
    arguments = {"l1": FACTOR}

    def __init__(self, l1: float = 0.01, **unsupported: Any):
        self.set_arguments(locals())


class L2(L1L2):
    """penalty = l2 * sum w^2: each step takes a share of every weight away

    >>> L2(0.1).gradient(np.array([2.0, -3.0]))
    array([ 0.4, -0.6])
    """

    identifier = "l2"
    arguments = {"l2": FACTOR}

    def __init__(self, l2: float = 0.01, **unsupported: Any):
        self.set_arguments(locals())


l1, l2, l1_l2 = L1, L2, L1L2  # Keras' other names for them
Identifier = str | Regularizer | type[Regularizer] | dict | None  # how users may ask for one
TABLE: dict[str, type[Regularizer]] = table(L1, L2, L1L2)


def get(identifier: Any, where: str = "regularizer") -> Regularizer | None:
    """A regularizer from its name, class, itself or {"class_name", "config"}; None for None. ValueError for the rest.

    'l1_l2' alone is 0.01 of each, as for the others; L1L2() asks for its two factors.
    """
    if identifier is None:
        return None
    if identifier == "l1_l2":
        return L1L2(0.01, 0.01)
    expected = f"{where}: expected None, 'l1', 'l2', 'l1_l2' or an object such as regularizers.L2(0.01)"
    return find(TABLE, Regularizer, identifier, expected)


deserialize = get


def argument(where: str, name: str, value: Any) -> Regularizer | None:
    """`get` as the check of a layer's argument."""
    return get(value, f"{where}: {name}")
