"""PReLU: a ReLU whose slope below 0 is learned."""

from typing import Any, NamedTuple

import numpy as np

from cnn import checks, constraints, initializers, regularizers, utils
from cnn.layers.base import Array, Grads, Layer, Shape


class PReLUCache(NamedTuple):
    """What backward needs of the forward pass."""

    x: Array

    @property
    def corners(self) -> tuple[float, ...]:
        """Where the slope jumps, for the gradient check."""
        return (0.0,)


def _several(where, name, value):
    listed = value if isinstance(value, tuple | list) else (value,)
    return tuple(checks.whole(where, name, axis, high=8) for axis in dict.fromkeys(listed))


class PReLU(Layer):
    """y = max(0, x) + alpha * min(0, x)        alpha: learned, for each number of x, along shared_axes one for all

    Backward: ∂y/∂x is 1 where x > 0, alpha where x < 0 (at 0, where no derivative exists, it is 0), and ∂y/∂alpha is
    min(0, x). By the chain rule alpha gets the sum over all numbers of x that it stands at:
        dx = dy * ([x > 0] + alpha * [x < 0]),  dalpha = sum of dy * min(0, x) over photos and shared axes
    (He et al., 2015). Behind a convolution shared_axes=[1, 2] makes one alpha for each map.

    >>> layer = PReLU(alpha_initializer=initializers.Constant(0.25))
    >>> layer([[-4.0, 2.0]])
    array([[-1.,  2.]])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, PReLUCache]:
        return np.maximum(x, 0) + self.params["alpha"] * np.minimum(x, 0), PReLUCache(x)

    def backward(self, dy: Array, cache: PReLUCache, need_dx: bool = True) -> tuple[Array, Grads]:
        x, alpha = cache.x, self.params["alpha"]
        dalpha = (dy * np.minimum(x, 0)).sum(axis=(0, *(self.shared_axes or ())), keepdims=True)[0]
        return dy * ((x > 0) + alpha * (x < 0)), {"alpha": dalpha}

    # ---- what it is made from

    alpha_initializer: initializers.Initializer
    alpha_regularizer: regularizers.Regularizer | None
    alpha_constraint: constraints.Constraint | None
    shared_axes: tuple[int, ...] | None
    arguments = {
        "alpha_initializer": initializers.argument,
        "alpha_regularizer": regularizers.argument,
        "alpha_constraint": constraints.argument,
        "shared_axes": checks.or_none(_several),
        **Layer.arguments,
    }
    least_axes = 2

    def __init__(
        self,
        alpha_initializer: initializers.Identifier = "zeros",
        alpha_regularizer: regularizers.Identifier = None,
        alpha_constraint: constraints.Identifier = None,
        shared_axes: int | tuple[int, ...] | None = None,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        if max(self.shared_axes or (), default=0) > len(input_shape):
            raise ValueError(f"{self}: shared_axes: expected 1 to {len(input_shape)}, got {self.shared_axes}")
        return input_shape

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        shared = self.shared_axes or ()
        return {"alpha": tuple(1 if k in shared else size for k, size in enumerate(input_shape, start=1))}
