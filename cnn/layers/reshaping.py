"""Reshaping: the same numbers in another shape, their order kept, with zeros around them, or cropped."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import Array, Grads, Layer, Shape
from cnn.layers.windows import require_photo


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

    def __init__(self, data_format: str | None = None, **others: Any):
        super().__init__(data_format=data_format, **others)

    def infer_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


def check_target(where: str, name: str, value: Any) -> Shape:
    """A shape of which one size may be -1; else ValueError."""
    if not isinstance(value, tuple | list) or list(value).count(-1) > 1:
        raise ValueError(f"{where}: {name}: expected a tuple of whole numbers, one of them -1 at most, got {value!r}")
    return tuple(-1 if size == -1 else checks.whole(where, name, size) for size in value)


class Reshape(Layer):
    """y holds the numbers of x in target_shape, in the same order; one size may be -1: what remains

    Backward: each y is one x, so each dx is that y's dy, back at its place.

    >>> Reshape((-1, 2))(np.arange(6.0).reshape(1, 6)).tolist()
    [[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]]
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, FlattenCache]:
        return x.reshape(len(x), *self.infer_shape(x.shape[1:])), FlattenCache(x.shape)

    def backward(self, dy: Array, cache: FlattenCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy.reshape(cache.x_shape), {}

    # ---- what it is made from

    target_shape: tuple[int, ...]
    arguments = {"target_shape": check_target, **Layer.arguments}

    def __init__(self, target_shape: Sequence[int], **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        size, known = math.prod(input_shape), math.prod(n for n in self.target_shape if n != -1)
        shape = tuple(size // known if n == -1 else n for n in self.target_shape)
        if math.prod(shape) != size:
            raise ValueError(f"{self}: expected input whose {size} numbers fill {self.target_shape}, got {input_shape}")
        return shape


def check_border(where: str, name: str, value: Any) -> tuple[tuple[int, int], ...]:
    """((top, bottom), (left, right)) from that, from two numbers or from one; else ValueError."""
    both = value if isinstance(value, tuple | list) else (value, value)
    sides = [side if isinstance(side, tuple | list) else (side, side) for side in both]
    if len(sides) != 2 or any(len(side) != 2 for side in sides):
        raise ValueError(f"{where}: {name}: expected a number, two, or ((top, bottom), (left, right)), got {value!r}")
    return tuple((checks.whole(where, name, a, 0, 1000), checks.whole(where, name, b, 0, 1000)) for a, b in sides)


class ZeroPadding2D(Layer):
    """y is x with rows and columns of zeros around it

    padding: ((top, bottom), (left, right)), or one number for each pair, or one for all.

    Backward: each x is one y, so dx is dy without its border.

    >>> ZeroPadding2D(((1, 0), (0, 2)))(np.ones((1, 1, 2, 1))).reshape(2, 4)
    array([[0., 0., 0., 0.],
           [1., 1., 0., 0.]])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, FlattenCache]:
        y = np.zeros((len(x), *self.infer_shape(x.shape[1:])), x.dtype)
        y[self.inner(x.shape)] = x
        return y, FlattenCache(x.shape)

    def backward(self, dy: Array, cache: FlattenCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy[self.inner(cache.x_shape)], {}

    def inner(self, x_shape: Shape) -> tuple[slice, ...]:
        """Where x lies in y."""
        (top, _), (left, _) = self.padding
        return slice(None), slice(top, top + x_shape[1]), slice(left, left + x_shape[2])

    # ---- what it is made from

    padding: tuple[tuple[int, int], tuple[int, int]]
    arguments = {"padding": check_border, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(
        self, padding: int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] = (1, 1), **others: Any
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = require_photo(self, input_shape)
        return height + sum(self.padding[0]), width + sum(self.padding[1]), channels


class Cropping2D(Layer):
    """y is x without rows and columns at its border: what ZeroPadding2D undoes

    cropping: ((top, bottom), (left, right)), or one number for each pair, or one for all.

    Backward: an x inside is one y, an x of the border stands in no y; so dx is dy with zeros around it.

    >>> Cropping2D(((1, 0), (0, 1)))(np.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    array([2.])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, FlattenCache]:
        return x[self.inner(x.shape)], FlattenCache(x.shape)

    def backward(self, dy: Array, cache: FlattenCache, need_dx: bool = True) -> tuple[Array, Grads]:
        dx = np.zeros(cache.x_shape, dy.dtype)
        dx[self.inner(cache.x_shape)] = dy
        return dx, {}

    def inner(self, x_shape: Shape) -> tuple[slice, ...]:
        """Where y lies in x."""
        (top, bottom), (left, right) = self.cropping
        return slice(None), slice(top, x_shape[1] - bottom), slice(left, x_shape[2] - right)

    # ---- what it is made from

    cropping: tuple[tuple[int, int], tuple[int, int]]
    arguments = {"cropping": check_border, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(
        self,
        cropping: int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = require_photo(self, input_shape)
        left = height - sum(self.cropping[0]), width - sum(self.cropping[1])
        if min(left) < 1:
            raise ValueError(f"{self}: expected input larger than its cropping {self.cropping}, got {input_shape}")
        return *left, channels
