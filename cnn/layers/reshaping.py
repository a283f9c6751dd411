"""Reshaping: the same numbers in another shape, their order kept."""

import math
from typing import NamedTuple

from cnn import utils
from cnn.layers.base import Array, Grads, Layer, Shape


class FlattenCache(NamedTuple):
    """What backward needs: how the numbers lay."""

    x_shape: tuple[int, ...]


class Flatten(Layer):
    """y[n, (r*W + s)*C + c] = x[n, r, s, c]        the same numbers in one row

    Backward: each y is one x, so each dx is that y's dy, back at its place.

    >>> import numpy as np
    >>> Flatten()(np.ones((5, 7, 7, 64))).shape
    (5, 3136)
    """

    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, FlattenCache]:
        return x.reshape(len(x), -1), FlattenCache(x.shape)

    def backward(self, dy: Array, cache: FlattenCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy.reshape(cache.x_shape), {}

    def infer_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)
