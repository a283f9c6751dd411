"""Regularization: made harder in training, so that the network does not learn its photos by heart."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import AnyShape, Array, Grads, Layer, Shape
from cnn.layers.windows import require_photo


class DropoutCache(NamedTuple):
    """What backward needs: who was dropped."""

    factor: Array | None  # 0 or 1/(1 - rate) for each number; None outside training


class Dropout(Layer):
    """y = x * factor,  factor = 0 with probability `rate`, else 1/(1 - rate), so that the mean of y stays that of x;
    outside training y = x

    seed: as in Keras, and without effect: every draw has a key of its own here (utils.py), so a run repeats without it.

    Backward: the factor does not depend on x, so ∂y/∂x is the factor, and dx = dy * factor.

    >>> x = np.ones((1, 6))
    >>> Dropout(0.5).forward(x, training=True, rng=np.random.default_rng(0))[0]
    array([[2., 0., 0., 0., 2., 2.]])
    >>> Dropout(0.5)(x)
    array([[1., 1., 1., 1., 1., 1.]])
    """

    draws = True

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, DropoutCache]:
        if not training or self.rate == 0:
            return x, DropoutCache(None)
        kept = require_draws(self, rng).random(self.noise_shape(x.shape)) >= self.rate  # a rate of 1 keeps nothing
        factor = kept.astype(x.dtype) / x.dtype.type(max(1 - self.rate, np.finfo(x.dtype).tiny))
        return x * factor, DropoutCache(factor)

    def backward(self, dy: Array, cache: DropoutCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return (dy if cache.factor is None else dy * cache.factor), {}

    # ---- what it is made from

    rate: float
    seed: int | None
    arguments = {"rate": partial(checks.number, low=0, high=1), "seed": checks.seed, **Layer.arguments}
    unless = {"seed": None, **Layer.unless}
    at_default = {**Layer.at_default, "noise_shape": None}

    def __init__(
        self,
        rate: float,
        *,
        seed: int | None = None,
        input_shape: AnyShape | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(name, input_shape, **unsupported)
        self.set_arguments(locals())

    def noise_shape(self, x_shape: Shape) -> Shape:
        """How many draws there are for a batch: one for each number of x."""
        return x_shape


def require_draws(layer: Layer, rng: utils.Rng | None) -> utils.Rng:
    """The generator that a layer draws from in training. Raises ValueError where there is none."""
    if rng is None:
        raise ValueError(f"{layer}: forward: expected rng, a generator of random numbers, in training, got None")
    return rng


class SpatialDropout2D(Dropout):
    """y = x * factor, as Dropout, but a map is dropped as a whole or kept as a whole: its cells tell much the same

    Backward: dx = dy * factor.

    >>> x = np.ones((1, 2, 2, 3))
    >>> SpatialDropout2D(0.5).forward(x, training=True, rng=np.random.default_rng(0))[0][0, :, 0]
    array([[2., 0., 0.],
           [2., 0., 0.]])
    """

    at_default = {**Dropout.at_default, "data_format": "channels_last"}

    def noise_shape(self, x_shape: Shape) -> Shape:
        return x_shape[0], 1, 1, x_shape[3]

    def infer_shape(self, input_shape: Shape) -> Shape:
        return require_photo(self, input_shape)
