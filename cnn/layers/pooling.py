"""Pooling: one number stands for each window of a feature map."""

from typing import Any, NamedTuple

from cnn import checks, utils
from cnn.layers.base import AnyShape, Array, Grads, Layer, Shape
from cnn.layers.windows import Size, place_windows
from kernels.pooling import max_pool, max_pool_backward


class MaxPooling2DCache(NamedTuple):
    """What backward needs: who won."""

    x_shape: tuple[int, int, int, int]
    winners: Array  # (N, OH, OW, C): which cell of its window, counted row by row, was the largest


class MaxPooling2D(Layer):
    """y[n,i,j,c] = max over u,v of x[n, i*sh + u - top, j*sw + v - left, c], of the cells inside the photo

    Backward: y is the cell that won its window, so ∂y/∂x is 1 for that cell; a small change of the others changes
    nothing, so for them it is 0. By the chain rule a cell gets the sum over the windows that it won:
        dx[n,r,s,c] = sum of dy[n,i,j,c] over the windows (i,j) whose winner is (r,s)
    Of equal cells the first in row-major order wins alone.

    >>> import numpy as np
    >>> photo = np.array([[1.0, 2.0, 0.0, 0.0], [4.0, 3.0, 0.0, 7.0]]).reshape(1, 2, 4, 1)
    >>> layer = MaxPooling2D(pool_size=2)
    >>> y, cache = layer.forward(photo)
    >>> y.ravel()
    array([4., 7.])
    >>> dx, _ = layer.backward(np.ones_like(y), cache)
    >>> dx.reshape(2, 4)
    array([[0., 0., 0., 0.],
           [1., 0., 0., 1.]])
    """

    def forward(
        self, x: Array, training: bool = False, rng: utils.Rng | None = None
    ) -> tuple[Array, MaxPooling2DCache]:
        _, _, pads = place_windows(self, x.shape[1:], self.pool_size)
        y, winners = max_pool(x, self.pool_size, self.strides, pads)
        return y, MaxPooling2DCache(x.shape, winners)

    def backward(self, dy: Array, cache: MaxPooling2DCache, need_dx: bool = True) -> tuple[Array, Grads]:
        _, _, pads = place_windows(self, cache.x_shape[1:], self.pool_size)
        return max_pool_backward(dy, cache.winners, cache.x_shape, self.pool_size, self.strides, pads), {}

    # ---- what it is made from

    pool_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    arguments = {"pool_size": checks.pair, "strides": checks.pair, "padding": checks.padding, **Layer.arguments}
    at_default = {**Layer.at_default, "data_format": "channels_last"}

    def __init__(
        self,
        pool_size: Size = (2, 2),
        strides: Size | None = None,
        padding: str = "valid",
        *,
        input_shape: AnyShape | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(name, input_shape, **unsupported)
        strides = pool_size if strides is None else strides
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        out_h, out_w, _ = place_windows(self, input_shape, self.pool_size)
        return out_h, out_w, input_shape[-1]
