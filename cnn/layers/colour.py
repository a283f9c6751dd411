"""Colour: in training each photo comes with more or less contrast, brighter or darker; else as it is."""

from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.augmentation import RandomLayer, Range, between
from cnn.layers.base import Array, Grads, Shape
from cnn.layers.erasing import check_value_range, up_to
from cnn.layers.regularization import require_draws


class ColourCache(NamedTuple):
    """What backward needs; None outside training."""

    drawn: Array | None
    inside: Array | None  # where nothing was cut off


class ColourLayer(RandomLayer):
    """What both share: y = change(x) cut off at the ends of value_range

    Backward: what is cut off does not depend on x, so dx = change_back(dy, but 0 where something was cut off).

    >>> RandomContrast(0.5)(np.ones((1, 2, 2, 1))).ravel()
    array([1., 1., 1., 1.])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, Any]:
        if not training:
            return x, ColourCache(None, None)
        drawn = self.draw(require_draws(self, rng), x.shape).astype(x.dtype)
        y, (low, high) = self.change(x, drawn), self.value_range
        return np.clip(y, low, high), ColourCache(drawn, (low <= y) & (y <= high))

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> tuple[Array, Grads]:
        return (dy if cache.drawn is None else self.change_back(dy * cache.inside, cache.drawn)), {}

    # ---- what they are made from

    factor: Range
    value_range: Range
    arguments = {"factor": up_to, "value_range": check_value_range, "seed": checks.seed, **RandomLayer.arguments}

    def __init__(self, factor: float | Range, value_range: Range = (0, 255), seed: int | None = None, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())


class RandomContrast(ColourLayer):
    """y = (x - mean) * f + mean,  mean that of the photo's channel,  f from 1 - factor[0] to 1 + factor[1]

    factor: two numbers, or the upper one alone, and then contrast only grows, as in Keras.
    Backward: each of the M cells of a channel stands in the mean with 1/M, so ∂y_k/∂x_m = [k = m] * f + (1 - f) / M,
        dx_m = f * dy_m + (1 - f) * the mean of dy

    >>> layer, x = RandomContrast((0.5, 0.5)), np.array([1.0, 3.0]).reshape(1, 1, 2, 1)
    >>> layer.change(x, np.array([0.5]).reshape(1, 1, 1, 1)).ravel()
    array([1.5, 2.5])
    """

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        """f (N, 1, 1, 1)."""
        low, high = 1 - self.factor[0], 1 + self.factor[1]
        return low + (high - low) * rng.random((x_shape[0], 1, 1, 1))

    def change(self, x: Array, drawn: Array) -> Array:
        mean = x.mean(axis=(1, 2), keepdims=True)
        return (x - mean) * drawn + mean

    def change_back(self, dy: Array, drawn: Array) -> Array:
        return drawn * dy + (1 - drawn) * dy.mean(axis=(1, 2), keepdims=True)


class RandomBrightness(ColourLayer):
    """y = x + d,  d from factor[0] to factor[1], in parts of the value_range        factor: two, or one for both

    Backward: ∂y/∂x = 1, so dx = dy.

    >>> RandomBrightness(0.2).factor
    (-0.2, 0.2)
    """

    arguments = {**ColourLayer.arguments, "factor": between}

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        """d (N, 1, 1, 1)."""
        (least, most), (low, high) = self.factor, self.value_range
        return (high - low) * (least + (most - least) * rng.random((x_shape[0], 1, 1, 1)))

    def change(self, x: Array, drawn: Array) -> Array:
        return x + drawn

    def change_back(self, dy: Array, drawn: Array) -> Array:
        return dy
