"""Regularization: made harder in training, so that the network does not learn its photos by heart."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import AnyShape, Array, Grads, Layer


class DropoutCache(NamedTuple):
    """What backward needs: who was dropped."""

    factor: Array | None  # 0 or 1/(1 - rate) for each number; None outside training


class Dropout(Layer):
    """y = x * factor,  factor = 0 with probability `rate`, else 1/(1 - rate), so that the mean of y stays that of x;
    outside training y = x

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
        if rng is None:
            raise ValueError(f"{self}: forward: expected rng, a generator of random numbers, in training, got None")
        kept = rng.random(x.shape) >= self.rate  # a rate of 1 keeps nothing
        factor = kept.astype(x.dtype) / x.dtype.type(max(1 - self.rate, np.finfo(x.dtype).tiny))
        return x * factor, DropoutCache(factor)

    def backward(self, dy: Array, cache: DropoutCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return (dy if cache.factor is None else dy * cache.factor), {}

    # ---- what it is made from

    rate: float
    arguments = {"rate": partial(checks.number, low=0, high=1), **Layer.arguments}

    def __init__(self, rate: float, input_shape: AnyShape | None = None, name: str | None = None, **unsupported: Any):
        super().__init__(name, input_shape, **unsupported)
        self.set_arguments(locals())
