"""Noise: in training each number is changed at random, by something whose size is known. Outside training y = x."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import Array, Grads, Layer, Shape
from cnn.layers.formulas import SELU_ALPHA, SELU_SCALE
from cnn.layers.regularization import Dropout, require_draws

Drawn = tuple[Array | None, Array | float]  # (factor, shift) of y = x * factor + shift; None is 1


class NoiseCache(NamedTuple):
    """What backward needs."""

    factor: Array | None  # None where y is x, or x and something


class Noise(Layer):
    """y = x * factor + shift, as a subclass draws them.

    Backward: neither depends on x, so ∂y/∂x = factor, and  dx = dy * factor.

    >>> isinstance(GaussianNoise(0.1), Noise)
    True
    """

    draws = True

    @property
    def size(self) -> float:
        """How much is changed: nothing at 0."""
        raise NotImplementedError

    def draw(self, rng: utils.Rng, shape: Shape) -> Drawn:
        """Factor and shift for an x of this shape, in float64."""
        raise NotImplementedError

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, NoiseCache]:
        if not training or self.size == 0:
            return x, NoiseCache(None)
        factor, shift = self.draw(require_draws(self, rng), x.shape)
        factor = None if factor is None else factor.astype(x.dtype)
        return (x if factor is None else x * factor) + np.asarray(shift, x.dtype), NoiseCache(factor)

    def backward(self, dy: Array, cache: NoiseCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return (dy if cache.factor is None else dy * cache.factor), {}


class GaussianNoise(Noise):
    """y = x + stddev * normal        seed: as Dropout's

    >>> y, _ = GaussianNoise(0.5).forward(np.ones((1, 10000)), training=True, rng=np.random.default_rng(0))
    >>> print(f"{y.mean():.1f} {y.std():.1f}")
    1.0 0.5
    """

    stddev: float
    seed: int | None
    arguments = {"stddev": partial(checks.number, low=0, high=1), "seed": checks.seed, **Layer.arguments}
    unless = {"seed": None, **Layer.unless}

    def __init__(self, stddev: float, seed: int | None = None, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    @property
    def size(self) -> float:
        return self.stddev

    def draw(self, rng: utils.Rng, shape: Shape) -> Drawn:
        return None, self.stddev * normal(rng, shape)


class NoiseOfRate(Noise):
    """What the others share: a rate below 1, which means as much noise as Dropout's rate does.

    >>> GaussianDropout(0.5).size
    0.5
    """

    rate: float
    seed: int | None
    arguments = {**Dropout.arguments, "rate": partial(checks.number, low=0, high=1, below=True)}
    unless = Dropout.unless
    at_default = Dropout.at_default

    def __init__(self, rate: float, seed: int | None = None, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    @property
    def size(self) -> float:
        return self.rate


class GaussianDropout(NoiseOfRate):
    """y = x * (1 + sqrt(rate / (1 - rate)) * normal): the mean and the variance that Dropout's factor has

    >>> y, _ = GaussianDropout(0.5).forward(np.ones((1, 10000)), training=True, rng=np.random.default_rng(0))
    >>> print(f"{y.mean():.1f} {y.std():.1f}")
    1.0 1.0
    """

    def draw(self, rng: utils.Rng, shape: Shape) -> Drawn:
        return 1 + math.sqrt(self.rate / (1 - self.rate)) * normal(rng, shape), 0.0


class AlphaDropout(NoiseOfRate):
    """y = a * x + b where x is kept, a * least + b where it is dropped: Dropout for selu

    least = -scale * alpha is the smallest number that selu gives. With q = 1 - rate the parts kept, mean and variance
    of what is then there are q * 0 + rate * least and q * 1 + q * rate * least^2 if x has 0 and 1; so
        a = 1 / sqrt(q * (1 + rate * least^2)),  b = -a * rate * least
    bring them back to 0 and 1 (Klambauer et al., 2017).

    >>> x = np.random.default_rng(1).standard_normal((1, 10000))
    >>> y, _ = AlphaDropout(0.3).forward(x, training=True, rng=np.random.default_rng(0))
    >>> print(f"{abs(y.mean()):.1f} {y.std():.1f}")
    0.0 1.0
    """

    def draw(self, rng: utils.Rng, shape: Shape) -> Drawn:
        kept, least = rng.random(shape) >= self.rate, -SELU_SCALE * SELU_ALPHA
        a = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * least**2))
        return a * kept, a * least * (~kept - self.rate)


def normal(rng: utils.Rng, shape: Shape) -> Array:
    """Normal numbers from uniform ones u and v, of which each photo has its own however a batch is cut.

    sqrt(-2 log u) * cos(2 pi v): the length and the direction of a point whose two coordinates are normal (Box and
    Muller, 1958).
    """
    u, v = np.moveaxis(rng.random((*shape, 2)), -1, 0)
    return np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * math.pi * v)  # 1 - u is never 0
