"""Pooling by the mean, and pooling over whole maps: one number for each window, or one for each map."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import Array, Grads, Layer, Shape
from cnn.layers.pooling import MaxPooling2DCache
from cnn.layers.windows import Size, place_windows, require_photo
from kernels.pooling import max_pool, max_pool_backward

Slices = tuple[slice, ...]


class PoolingCache(NamedTuple):
    """What backward needs of a mean: over which cells it went."""

    x_shape: tuple[int, int, int, int]


class AveragePooling2D(Layer):
    """y[n,i,j,c] = mean over u,v of x[n, i*sh + u - top, j*sw + v - left, c], of the k[i,j] cells inside the photo

    Backward: y is the sum of these cells divided by k, so ∂y/∂x is 1/k for each of them. By the chain rule a cell gets
    the sum over the windows that hold it:
        dx[n,r,s,c] = sum of dy[n,i,j,c] / k[i,j] over the windows (i,j) around (r,s)

    >>> photo = np.array([[1.0, 2.0, 0.0, 0.0], [4.0, 3.0, 0.0, 7.0]]).reshape(1, 2, 4, 1)
    >>> AveragePooling2D(pool_size=2)(photo).ravel()
    array([2.5 , 1.75])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, PoolingCache]:
        out_h, out_w, _ = place_windows(self, x.shape[1:], self.pool_size)
        y = np.zeros((len(x), out_h, out_w, x.shape[3]), x.dtype)
        for windows, cells in self.places(x.shape):
            y[windows] += x[cells]
        return y / self.sizes(x.shape).astype(x.dtype), PoolingCache(x.shape)

    def backward(self, dy: Array, cache: PoolingCache, need_dx: bool = True) -> tuple[Array, Grads]:
        share, dx = dy / self.sizes(cache.x_shape).astype(dy.dtype), np.zeros(cache.x_shape, dy.dtype)
        for windows, cells in self.places(cache.x_shape):
            dx[cells] += share[windows]
        return dx, {}

    def places(self, x_shape: Shape) -> Iterator[tuple[Slices, Slices]]:
        """For each place (u, v) in a window: all windows with a cell of the photo there, and these cells."""
        out_h, out_w, (top, _, left, _) = place_windows(self, x_shape[1:], self.pool_size)
        rows = _places(x_shape[1], out_h, self.pool_size[0], self.strides[0], top)
        columns = _places(x_shape[2], out_w, self.pool_size[1], self.strides[1], left)
        for (i, r), (j, s) in itertools.product(rows, columns):
            yield (slice(None), i, j), (slice(None), r, s)

    def sizes(self, x_shape: Shape) -> Array:
        """k (OH, OW, 1): how many cells of the photo each window holds."""
        out_h, out_w, _ = place_windows(self, x_shape[1:], self.pool_size)
        k = np.zeros((1, out_h, out_w, 1), np.int32)
        for windows, _ in self.places(x_shape):
            k[windows] += 1
        return k[0]

    # ---- what it is made from

    pool_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    arguments = {"pool_size": checks.pair, "strides": checks.pair, "padding": checks.padding, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(self, pool_size: Size = (2, 2), strides: Size | None = None, padding: str = "valid", **others: Any):
        super().__init__(**others)
        strides = pool_size if strides is None else strides
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        out_h, out_w, _ = place_windows(self, input_shape, self.pool_size)
        return out_h, out_w, input_shape[-1]


def _places(size: int, out: int, window: int, stride: int, before: int) -> list[tuple[slice, slice]]:
    """Along one axis, for each place u in a window: the windows i whose cell i*stride + u - before exists, and it."""
    places = []
    for u in range(window):
        first = max(0, -((u - before) // stride))
        last = min(out, (size - 1 - u + before) // stride + 1)
        if first < last:
            start = first * stride + u - before
            places.append((slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)))
    return places


class GlobalPooling2D(Layer):
    """What both share: (H, W, C) becomes (C,), or (1, 1, C) with keepdims.

    >>> GlobalAveragePooling2D(keepdims=True).infer_shape((7, 7, 64))
    (1, 1, 64)
    """

    keepdims: bool
    arguments = {"keepdims": checks.boolean, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(self, *, keepdims: bool = False, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        channels = require_photo(self, input_shape)[2]
        return (1, 1, channels) if self.keepdims else (channels,)


class GlobalAveragePooling2D(GlobalPooling2D):
    """y[n,c] = mean over r,s of x[n,r,s,c]

    Backward: each of the H*W cells of a map has the same share in its mean, so  dx[n,r,s,c] = dy[n,c] / (H*W)

    >>> GlobalAveragePooling2D()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[3., 4.]])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, PoolingCache]:
        return x.mean(axis=(1, 2), keepdims=self.keepdims), PoolingCache(x.shape)

    def backward(self, dy: Array, cache: PoolingCache, need_dx: bool = True) -> tuple[Array, Grads]:
        photos, height, width, channels = cache.x_shape
        dx = np.empty(cache.x_shape, dy.dtype)
        dx[:] = dy.reshape(photos, 1, 1, channels) / (height * width)
        return dx, {}


class GlobalMaxPooling2D(GlobalPooling2D):
    """y[n,c] = max over r,s of x[n,r,s,c]: a MaxPooling2D whose window is the whole map

    Backward: as there, dy goes to the cell that won, the first of equal ones.

    >>> GlobalMaxPooling2D()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[6., 7.]])
    """

    def forward(
        self, x: Array, training: bool = False, rng: utils.Rng | None = None
    ) -> tuple[Array, MaxPooling2DCache]:
        y, winners = max_pool(x, x.shape[1:3], (1, 1), (0, 0, 0, 0))
        return y.reshape(len(x), *self.infer_shape(x.shape[1:])), MaxPooling2DCache(x.shape, winners)

    def backward(self, dy: Array, cache: MaxPooling2DCache, need_dx: bool = True) -> tuple[Array, Grads]:
        dy, whole = dy.reshape(cache.winners.shape), cache.x_shape[1:3]
        return max_pool_backward(dy, cache.winners, cache.x_shape, whole, (1, 1), (0, 0, 0, 0)), {}
