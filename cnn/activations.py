"""Activations as functions, to call with numbers or to hand to a layer: Dense(10, activation=activations.tanh).

Their formulas stand in layers/activations.py (relu, softmax) and layers/formulas.py (the others), each with its slope.

>>> relu([-1, 0, 2])
array([0., 0., 2.], dtype=float32)
>>> get("sigmoid")([0])
array([0.5], dtype=float32)
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn.layers.activations import Linear, Softmax, find_activation
from cnn.layers.formulas import (
    bent_relu,
    elu,
    exponential,
    gelu,
    hard_sigmoid,
    hard_silu,
    leaky_relu,
    mish,
    numbers,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanh,
)

Array = np.ndarray
swish, hard_swish = silu, hard_silu

__all__ = [
    "bent_relu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


def relu(x: ArrayLike, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Array:
    """x from the threshold on, but at most max_value; negative_slope * (x - threshold) below it. As it comes, ReLU."""
    return bent_relu(x, negative_slope, math.inf if max_value is None else max_value, threshold)


def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """exp(x) along an axis, divided by their sum: probabilities."""
    return np.moveaxis(Softmax()(np.moveaxis(numbers(x), axis, -1)), -1, axis)


def linear(x: ArrayLike) -> Array:
    """x itself: no activation."""
    return Linear()(numbers(x))


def get(identifier: Any) -> Callable[..., Array]:
    """The function of this name, or of a configuration; a function is itself, None is linear. Else ValueError."""
    if callable(identifier):
        return identifier
    found = find_activation("activations", "get", identifier).as_argument()
    return globals()[found] if isinstance(found, str) else partial(globals()[found["class_name"]], **found["config"])


def serialize(activation: Callable[..., Array]) -> Any:
    """The name of one of these functions, or its configuration: `get` finds it by that. Raises ValueError."""
    return find_activation("activations", "serialize", activation).as_argument()


deserialize = get
