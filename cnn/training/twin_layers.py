"""The twins of the layers that are no convolutions: the plain formulas, in arrays kept from pass to pass.

The system takes as long to give new memory of 100 kB and more as these layers take to fill it. Each layer is given
`buffer`, the Buffers of twin.py; what it returns lies there, and is valid until the next pass.
"""

from typing import Any

import numpy as np

from cnn.checks import known
from cnn.layers import ActivationFunction, Dense, MaxPooling2D, ReLU, place_windows
from kernels.dense import outer_into
from kernels.pooling import max_pool_backward_into, max_pool_into

Array = np.ndarray
Grads = dict[str, Array]


class TwinReLU:
    """ReLU: y > 0 where x > 0, so that x need not be kept."""

    draws = False

    def __init__(self, relu: ReLU, buffer: Any):
        self.name, self.buffer = relu.name, buffer
        self.params: dict[str, Array] = {}

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, Array]:
        """(y, cache), valid until the next pass."""
        y = np.maximum(x, 0, out=self.buffer("y", *x.shape))
        return y, y

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}), valid until the next pass."""
        active = np.greater(cache, 0, out=self.buffer("active", *cache.shape, dtype=np.bool_))
        return np.multiply(dy, active, out=self.buffer("through", *cache.shape)), {}


class TwinPool:
    """A MaxPooling2D that is not one with a convolution before it."""

    draws = False

    def __init__(self, pool: MaxPooling2D, buffer: Any):
        self.name, self.buffer = pool.name, buffer
        self.input_shape, self.output_shape = known(pool.input_shape), known(pool.output_shape)
        self.params: dict[str, Array] = {}
        top, _, left, _ = place_windows(pool, self.input_shape, pool.pool_size)[2]
        self.windows = pool.pool_size, pool.strides, (top, left)

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, Array]:
        """(y, cache), valid until the next pass."""
        y = self.buffer("y", len(x), *self.output_shape)
        winners = self.buffer("winners", len(x), *self.output_shape, dtype=np.int32)
        max_pool_into(y, winners, np.ascontiguousarray(x, np.float32), *self.windows)
        return y, winners

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}), valid until the next pass."""
        dx = self.buffer("dx", len(dy), *self.input_shape)
        dx[:] = 0
        max_pool_backward_into(dx, np.ascontiguousarray(dy, np.float32), cache, *self.windows)
        return dx, {}


class TwinDense:
    """Dense on rows (N, I), with this activation."""

    draws = False

    def __init__(self, dense: Dense, activation: ActivationFunction, buffer: Any):
        self.dense, self.name, self.buffer = dense, dense.name, buffer
        self.activation = TwinReLU(activation, buffer) if type(activation) is ReLU else activation

    @property
    def params(self) -> dict[str, Array]:
        """The Dense layer's own."""
        return self.dense.params

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple]:
        """(y, cache), valid until the next pass."""
        z = np.matmul(x, self.params["kernel"], out=self.buffer("z", len(x), self.dense.units))
        if self.dense.use_bias:
            z += self.params["bias"]
        y, active = self.activation.forward(z)
        return y, (x, active)

    def backward(self, dy: Array, cache: tuple, need_dx: bool = True) -> tuple[Array | None, Grads]:
        """(dx, grads), valid until the next pass."""
        x, active = cache
        dz, _ = self.activation.backward(dy, active)
        grads = {"kernel": self.kernel_gradient(x, dz)}
        if self.dense.use_bias:
            grads["bias"] = dz.sum(axis=0)
        return self.input_gradient(dz) if need_dx else None, grads

    def kernel_gradient(self, x: Array, dz: Array) -> Array:
        """x.T @ dz, (I, units)."""
        dkernel = self.buffer("dkernel", *self.params["kernel"].shape)
        if len(x) > 1:
            return np.matmul(x.T, dz, out=dkernel)
        outer_into(dkernel, np.ravel(x), np.ravel(dz))  # the same; BLAS takes ten times as long
        return dkernel

    def input_gradient(self, dz: Array) -> Array:
        """dz @ kernel.T by way of its transpose: else BLAS would first copy the whole kernel into another order."""
        kernel = self.params["kernel"]
        transposed = np.matmul(kernel, dz.T, out=self.buffer("transposed", len(kernel), len(dz)))
        dx = self.buffer("dx", len(dz), len(kernel))
        dx[:] = transposed.T
        return dx
