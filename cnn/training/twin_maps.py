"""The twins of AveragePooling2D, ZeroPadding2D and UpSampling2D: loops over whole maps, into arrays that stay."""

from typing import Any

import numpy as np

from cnn.checks import known
from cnn.layers import AveragePooling2D, UpSampling2D, ZeroPadding2D, place_windows
from cnn.training.twin_layers import InShards
from kernels import average_pooling, elementwise, upsampling

Array = np.ndarray


class TwinAveragePool:
    """An AveragePooling2D."""

    draws = False

    def __init__(self, pool: AveragePooling2D, buffer: Any):
        self.name, self.buffer = pool.name, buffer
        self.input_shape, self.output_shape = known(pool.input_shape), known(pool.output_shape)
        self.params: dict[str, Array] = {}
        top, _, left, _ = place_windows(pool, self.input_shape, pool.pool_size)[2]
        self.windows = pool.pool_size, pool.strides, (top, left)

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple]:
        """(y, cache), valid until the next pass."""
        y = self.buffer("y", len(x), *self.output_shape)
        average_pooling.average_pool(y, np.ascontiguousarray(x, np.float32), *self.windows)
        return y, ()

    def backward(self, dy: Array, cache: tuple, need_dx: bool = True) -> tuple[Array, dict]:
        """(dx, {}), valid until the next pass."""
        dx = self.buffer("dx", len(dy), *self.input_shape)
        average_pooling.average_pool_backward(dx, np.ascontiguousarray(dy, np.float32), *self.windows)
        return dx, {}


class TwinZeroPadding:
    """A ZeroPadding2D."""

    draws = False

    def __init__(self, layer: ZeroPadding2D, buffer: Any):
        self.name, self.buffer = layer.name, buffer
        self.input_shape, self.output_shape = known(layer.input_shape), known(layer.output_shape)
        self.params: dict[str, Array] = {}
        (self.top, _), (self.left, _) = layer.padding

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple]:
        """(y, cache), valid until the next pass."""
        y = self.buffer("y", len(x), *self.output_shape)
        x = np.ascontiguousarray(x, np.float32)
        elementwise.pad(y, x, self.top, self.left)  # the border has been zero from the start
        return y, ()

    def backward(self, dy: Array, cache: tuple, need_dx: bool = True) -> tuple[Array, dict]:
        """(dx, {}): a view of dy."""
        height, width, _ = self.input_shape
        return dy[:, self.top : self.top + height, self.left : self.left + width], {}


class TwinUpSampling:
    """An UpSampling2D that repeats cells."""

    draws = False

    def __init__(self, layer: UpSampling2D, buffer: Any):
        self.name, self.buffer, self.size = layer.name, buffer, layer.size
        self.input_shape, self.output_shape = known(layer.input_shape), known(layer.output_shape)
        self.params: dict[str, Array] = {}

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple]:
        """(y, cache), valid until the next pass."""
        y = self.buffer("y", len(x), *self.output_shape)
        upsampling.repeat(y, np.ascontiguousarray(x, np.float32), self.size)
        return y, ()

    def backward(self, dy: Array, cache: tuple, need_dx: bool = True) -> tuple[Array, dict]:
        """(dx, {}), valid until the next pass."""
        dx = self.buffer("dx", len(dy), *self.input_shape)
        upsampling.repeat_backward(dx, np.ascontiguousarray(dy, np.float32), self.size)
        return dx, {}


def up_sampling(layer: UpSampling2D, buffer: Any) -> TwinUpSampling | InShards:
    """The twin of this layer; itself where it interpolates."""
    return TwinUpSampling(layer, buffer) if layer.interpolation == "nearest" else InShards(layer, buffer)
