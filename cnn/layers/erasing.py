"""RandomErasing: in training a rectangle of some photos is covered, so that no one part decides alone what is seen.

Zhong et al., 2020.
"""

import functools
import math
from typing import Any

import numpy as np

from cnn import checks, utils
from cnn.layers.augmentation import RandomLayer, Range, between
from cnn.layers.base import Array, Shape

NOISE = 2**16  # places where the noise of a photo may begin


def up_to(where: str, name: str, value: Any) -> Range:
    """(least, most) of two numbers from 0 to 1, or of one, which is the most; else ValueError."""
    least, most = between(where, name, value, low=0)
    return max(least, 0.0), most


def check_value_range(where: str, name: str, value: Any) -> Range:
    """(least, largest) number of a photo; else ValueError."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{where}: {name}: expected the least and the largest number of a photo, got {value!r}")
    low, high = (checks.number(where, name, end, low=-math.inf) for end in value)
    if low >= high:
        raise ValueError(f"{where}: {name}: expected two numbers that rise, got {value!r}")
    return low, high


class RandomErasing(RandomLayer):
    """y = fill inside a box of the photo, with a probability; else, and outside the box, y = x

    The probability is drawn from `factor`, two limits or the upper one alone: (0.3, 0.3) erases 3 photos of 10, and 0.3
    half as many. The box is sqrt(a) of the height by sqrt(b) of the width, with a and b from `scale`, somewhere inside
    the photo. fill_value None: noise, normal numbers times the upper end of value_range, cut off at both its ends.
    Backward: y does not depend on x inside the box, and is x elsewhere: dx = 0 there, and dy elsewhere.

    >>> layer, x = RandomErasing((1, 1), (0.25, 0.25), fill_value=0), np.ones((1, 4, 4, 1))
    >>> layer.forward(x, training=True, rng=np.random.default_rng(0))[0][0, :, :, 0]
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.],
           [1., 1., 0., 0.],
           [1., 1., 0., 0.]])
    """

    factor: Range
    scale: Range
    fill_value: float | None
    value_range: Range
    arguments = {
        "factor": up_to,
        "scale": up_to,
        "fill_value": lambda where, name, value: (
            None if value is None else checks.number(where, name, value, -math.inf)
        ),
        "value_range": check_value_range,
        "seed": checks.seed,
        **RandomLayer.arguments,
    }

    def __init__(
        self,
        factor: float | Range = 1.0,
        scale: float | Range = (0.02, 0.33),
        fill_value: float | None = None,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        """(N, 5): top, bottom, left and right of the box, all 0 where nothing is erased, and where its noise begins."""
        probability, chance, height, width, top, left, begin = rng.random((x_shape[0], 7)).T
        box = [*self._edges(height, top, x_shape[1]), *self._edges(width, left, x_shape[2])]
        erased = chance < self.factor[0] + (self.factor[1] - self.factor[0]) * probability
        return np.stack([*(edge * erased for edge in box), np.floor(begin * NOISE)], axis=1)

    def _edges(self, share, start, size):
        """Where boxes begin and end along an axis of so many cells, from the draws of their lengths and places."""
        length = np.sqrt(self.scale[0] + (self.scale[1] - self.scale[0]) * share) * size
        start = start * (size - length)
        return np.ceil(start), np.ceil(start + length)  # the first cell that is in it, and the first behind it

    def change(self, x: Array, drawn: Array) -> Array:
        if self.fill_value is not None:
            return self._filled(x, drawn, lambda begin, shape: self.fill_value)
        noise = _noise(x[0].size, *self.value_range)
        return self._filled(x, drawn, lambda begin, shape: noise[begin : begin + math.prod(shape)].reshape(shape))

    def change_back(self, dy: Array, drawn: Array) -> Array:
        return self._filled(dy, drawn, lambda begin, shape: 0)

    def _filled(self, x, drawn, fill):
        """x with fill(where the noise begins, the box's shape) in each box."""
        y, channels = x.copy(), x.shape[3]
        for n in np.flatnonzero(drawn[:, 1]):
            top, bottom, left, right, begin = map(int, drawn[n].tolist())
            y[n, top:bottom, left:right] = fill(begin % NOISE, (bottom - top, right - left, channels))
        return y


@functools.lru_cache(maxsize=4)
def _noise(size: int, low: float, high: float) -> Array:
    """Normal numbers times high, cut off, in a row so long that `size` follow each place where a box's may begin."""
    return np.clip(np.random.default_rng(0).standard_normal(NOISE + size, np.float32) * high, low, high)
