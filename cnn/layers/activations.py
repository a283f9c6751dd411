"""Activations: what each number, or each row of numbers, becomes between two layers."""

from typing import Any, NamedTuple

import numpy as np

from cnn import checks, configurable, utils
from cnn.layers.base import Array, Grads, Layer


class Activation(Layer):
    """A layer without parameters whose y has the shape of x; Dense and Conv2D may have one at their end.

    >>> find_activation("Dense", "activation", "relu")
    <ReLU: not built>
    """

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}) from dy and forward's cache."""
        raise NotImplementedError


class ReLUCache(NamedTuple):
    """What backward needs of the forward pass: x, for its sign."""

    x: Array


class ReLU(Activation):
    """y = max(0, x)

    Backward: ∂y/∂x is 1 where x > 0 (there y = x) and 0 where x < 0 (there y = 0 whatever x is), so
        dx = dy where x > 0, else 0        (at x = 0, where no derivative exists, it is 0)

    >>> ReLU()([[-1.0, 0.0, 2.0]])
    array([[0., 0., 2.]])
    """

    identifier = "relu"

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ReLUCache]:
        return np.maximum(x, 0), ReLUCache(x)

    def backward(self, dy: Array, cache: ReLUCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy * (cache.x > 0), {}


class SoftmaxCache(NamedTuple):
    """What backward needs: the probabilities."""

    y: Array


class Softmax(Activation):
    """y_k = exp(x_k) / S,  S = sum_j exp(x_j)        along the last axis

    Backward: x_k stands in S and so in every y_j, and in y_k also above the line. By the rule for quotients
        ∂y_j/∂x_k = ([j = k] * exp(x_j) * S - exp(x_j) * exp(x_k)) / S^2 = y_j * ([j = k] - y_k)
        dx_k = sum_j dy_j * y_j * ([j = k] - y_k) = y_k * (dy_k - sum_j dy_j * y_j)
    Subtracting the largest x first changes nothing in the quotient, and exp cannot overflow.

    >>> Softmax()([[1000.0, 1000.0]])
    array([[0.5, 0.5]])
    """

    identifier = "softmax"

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, SoftmaxCache]:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
        return y, SoftmaxCache(y)

    def backward(self, dy: Array, cache: SoftmaxCache, need_dx: bool = True) -> tuple[Array, Grads]:
        y = cache.y
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True)), {}


class LinearCache(NamedTuple):
    """The identity needs to remember nothing."""


class Linear(Activation):
    """y = x, the activation None;  dx = dy

    >>> Linear()([[-1.0, 2.0]])
    array([[-1.,  2.]])
    """

    identifier = "linear"

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, LinearCache]:
        return x, LinearCache()

    def backward(self, dy: Array, cache: LinearCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy, {}


ACTIVATIONS: dict[str, type[Activation]] = configurable.table(Linear, ReLU, Softmax)


def find_activation(where: str, name: str, value: Any) -> Activation:
    """The layer that an `activation` argument asks for: a name, None for Linear, or a layer itself; else ValueError."""
    if isinstance(value, Activation):
        return value
    return ACTIVATIONS[checks.choice(where, name, "linear" if value is None else value, tuple(ACTIVATIONS))]()
