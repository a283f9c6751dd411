"""Photos of another size: Resizing computes cells between cells, CenterCrop keeps the middle."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import Array, Grads, Layer, Shape
from cnn.layers.windows import Size, require_photo
from kernels.geometry import parts_taken


class ResizingCache(NamedTuple):
    """What backward needs: the size of the photos."""

    x_shape: tuple[int, int, int, int]


def interpolation(where: str, name: str, value: Any) -> str:
    """'bilinear' or 'nearest'; else ValueError."""
    return checks.choice(where, name, value, ("bilinear", "nearest"))


class Interpolation(Layer):
    """y = down @ x @ across^T for each channel of a photo: cells computed from x's, as many as size_of says

    A cell of y in row i of OH has its middle at (i + 1/2) * H / OH - 1/2 in x's rows: "bilinear" is the mean of the two
    rows beside it, each the more the nearer, "nearest" the row at (i + 1/2) * H / OH, rounded down. So down (OH, H)
    holds in its row i what of each row of x is taken, and across (OW, W) the same of columns.
    Backward: a product's, as for Dense:  dx = down^T @ dy @ across

    >>> Resizing(1, 4)(np.array([0.0, 4.0]).reshape(1, 1, 2, 1)).ravel()
    array([0., 1., 3., 4.])
    """

    interpolation: str

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ResizingCache]:
        down, across = self.parts_taken(x.shape, x.dtype)
        return np.einsum("ir,nrsc,js->nijc", down, x, across, optimize=True), ResizingCache(x.shape)

    def backward(self, dy: Array, cache: ResizingCache, need_dx: bool = True) -> tuple[Array, Grads]:
        down, across = self.parts_taken(cache.x_shape, dy.dtype)
        return np.einsum("ir,nijc,js->nrsc", down, dy, across, optimize=True), {}

    def parts_taken(self, x_shape: Shape, dtype: Any) -> tuple[Array, Array]:
        """(down, across)"""
        sizes = zip(x_shape[1:3], self.size_of(x_shape[1:]), strict=True)
        down, across = (parts_taken(old, new, self.interpolation).astype(dtype) for old, new in sizes)
        return down, across

    def size_of(self, input_shape: Shape) -> tuple[int, int]:
        """(OH, OW) for such a photo."""
        raise NotImplementedError

    def infer_shape(self, input_shape: Shape) -> Shape:
        channels = require_photo(self, input_shape)[2]
        return *self.size_of(input_shape), channels


class Resizing(Interpolation):
    """y = down @ x @ across^T for each channel of a photo: height x width cells computed from x's by interpolation

    Backward: dx = down^T @ dy @ across.

    >>> Resizing(1, 1)(np.array([0.0, 4.0]).reshape(1, 1, 2, 1)).ravel()
    array([2.])
    """

    height: int
    width: int
    arguments = {
        "height": partial(checks.whole, high=10_000),
        "width": partial(checks.whole, high=10_000),
        "interpolation": interpolation,
        **Layer.arguments,
    }
    at_default = {
        **Layer.at_default,
        **dict.fromkeys(("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"), False),
        **{"fill_mode": "constant", "fill_value": 0.0, "data_format": "channels_last"},
    }

    def __init__(self, height: int, width: int, interpolation: str = "bilinear", **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def size_of(self, input_shape: Shape) -> tuple[int, int]:
        return self.height, self.width


class UpSampling2D(Interpolation):
    """y[n, i, j, c] = x[n, i // a, j // b, c], (a, b) = size: each cell a times below and b times beside itself

    Or, with interpolation "bilinear", photos that are as much larger, as Resizing makes them.
    Backward: a cell of x is each of a * b cells of y, so dx is the sum of their dy: down^T @ dy @ across.

    >>> UpSampling2D((1, 2))(np.array([1.0, 2.0]).reshape(1, 1, 2, 1)).ravel()
    array([1., 1., 2., 2.])
    """

    size: tuple[int, int]
    arguments = {"size": checks.pair, "interpolation": interpolation, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(self, size: Size = (2, 2), *, interpolation: str = "nearest", **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def size_of(self, input_shape: Shape) -> tuple[int, int]:
        return input_shape[0] * self.size[0], input_shape[1] * self.size[1]


class CenterCrop(Layer):
    """y is the middle of x: (height, width) cells, where the border is odd one more left out below and on the right

    Backward: an x inside is one y, an x of the border stands in no y; so dx is dy with zeros around it.

    >>> CenterCrop(1, 2)(np.arange(4.0).reshape(1, 1, 4, 1)).ravel()
    array([1., 2.])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ResizingCache]:
        return x[self.inner(x.shape)], ResizingCache(x.shape)

    def backward(self, dy: Array, cache: ResizingCache, need_dx: bool = True) -> tuple[Array, Grads]:
        dx = np.zeros(cache.x_shape, dy.dtype)
        dx[self.inner(cache.x_shape)] = dy
        return dx, {}

    def inner(self, x_shape: Shape) -> tuple[slice, ...]:
        """Where y lies in x."""
        top, left = (x_shape[1] - self.height) // 2, (x_shape[2] - self.width) // 2
        return slice(None), slice(top, top + self.height), slice(left, left + self.width)

    # ---- what it is made from

    height: int
    width: int
    arguments = {"height": checks.whole, "width": checks.whole, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(self, height: int, width: int, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = require_photo(self, input_shape)
        if height < self.height or width < self.width:
            raise ValueError(f"{self}: expected input of at least {self.height} x {self.width}, got {input_shape}")
        return self.height, self.width, channels
