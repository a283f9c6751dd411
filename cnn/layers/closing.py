"""The activation at a network's end, without which training runs where the loss takes logits (see losses/)."""

import copy
from typing import Any

from cnn.layers.activations import ActivationFunction, Elementwise, Linear
from cnn.layers.base import Array, Grads, Layer

CLOSING = ("softmax", "sigmoid")  # those that a loss may take apart


def closing_name(layer: Any) -> str | None:
    """ "softmax" or "sigmoid" for such an activation, None for anything else.

    >>> from cnn.layers import Elementwise, ReLU
    >>> closing_name(Elementwise("sigmoid")), closing_name(ReLU())
    ('sigmoid', None)
    """
    if not isinstance(layer, ActivationFunction) or getattr(layer, "axis", -1) != -1:  # losses take the last axis
        return None
    name = layer.formula if isinstance(layer, Elementwise) else getattr(layer, "identifier", None)
    return name if name in CLOSING else None


class OpenEnd:
    """The last layer without its closing activation; its parameters are those that it has when a pass begins.

    >>> import numpy as np
    >>> from cnn.layers import Dense, Softmax
    >>> dense = Dense(2, activation="softmax")
    >>> p = dense(np.ones((1, 3)))
    >>> z, _ = OpenEnd(dense).forward(np.ones((1, 3)))
    >>> bool(np.allclose(Softmax()(z), p))
    True
    """

    def __init__(self, layer: Layer):
        self.layer, self.name, self.draws = layer, layer.name, layer.draws

    @property
    def params(self) -> dict[str, Array]:
        """The layer's own."""
        return self.layer.params

    def now(self) -> Layer:
        """A copy that shares the parameters and has no activation."""
        layer = copy.copy(self.layer)
        layer.activation = Linear()  # type: ignore[attr-defined]  # it has one, says who asks
        return layer

    def forward(self, x: Array, training: bool = False, rng: Any = None) -> tuple[Array, Any]:
        """(y, cache), as the layer's own."""
        return self.now().forward(x, training, rng)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> tuple[Array | None, Grads]:
        """(dx, grads), as the layer's own."""
        return self.now().backward(dy, cache, need_dx)
