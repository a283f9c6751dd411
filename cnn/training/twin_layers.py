"""The twins of the layers that are no convolutions: plain formulas in arrays kept from pass to pass, in all threads.

The system takes as long to give new memory of 100 kB and more as these layers take to fill it. Each layer is given
`buffer`, the Buffers of twin.py; what it returns lies there, and is valid until the next pass.
"""

import functools
from itertools import pairwise
from typing import Any

import numpy as np

from cnn import utils
from cnn.checks import known
from cnn.layers import ActivationFunction, Dense, Dropout, Layer, MaxPooling2D, ReLU, WholeBatch, place_windows
from cnn.layers.closing import OpenEnd
from cnn.layers.whole_batch import together
from kernels import draws, elementwise, threads
from kernels.pooling import max_pool_backward_into, max_pool_into
from kernels.simd import dense as simd
from kernels.simd import pooling as simd_pooling
from kernels.simd.vectors import LANES

Array = np.ndarray
Grads = dict[str, Array]
LARGEST_DEPTH = 1024  # and what may lie in the second
MANY_UNITS = 256  # that pay for a transpose of their inputs


class InShards:
    """A layer that has no twin: itself, over each shard in a thread of its own."""

    def __init__(self, layer: Layer | OpenEnd, buffer: Any):
        self.layer, self.name, self.draws, self.buffer = layer, layer.name, layer.draws, buffer

    @property
    def params(self) -> dict[str, Array]:
        """The layer's own."""
        return self.layer.params

    def forward(self, x: Array, training: bool = False, rng: utils.ShardOfDraws | None = None) -> tuple[Array, list]:
        """(y, the cache of each shard)"""
        shards, layer = [slice(*bounds) for bounds in pairwise(self.buffer.shards(len(x)).tolist())], self.layer
        if isinstance(layer, WholeBatch):
            parts = [layer.forward_of_part(x[shard], training) for shard in shards]
            results = together(parts, *self.add_up())
        else:
            results = threads.run(lambda shard: layer.forward(x[shard], training, rng and rng.part(shard)), shards)
        ys, caches = zip(*results, strict=True)
        return ys[0] if len(ys) == 1 else np.concatenate(ys), list(zip(shards, caches, strict=True))

    def backward(self, dy: Array, cache: list, need_dx: bool = True) -> tuple[Array | None, Grads]:
        """(dx, grads); the gradients of the shards are added in their order."""
        layer = self.layer
        if isinstance(layer, WholeBatch):
            results = together([layer.backward_of_part(dy[shard], own) for shard, own in cache], *self.add_up())
        else:
            results = threads.run(lambda part: layer.backward(dy[part[0]], part[1], need_dx), cache)
        dxs, grads = zip(*results, strict=True)
        join = functools.partial(functools.reduce, np.add)
        total = {key: self.buffer.total([some[key] for some in grads], join) for key in grads[0]}
        return (np.concatenate(dxs) if need_dx else None), total

    def add_up(self) -> list:
        """How sums over the whole batch are made, where not as always."""
        return [self.buffer.share.sums] if self.buffer.share else []

    def averages(self, cache: list) -> dict[str, Array]:
        """The layer's own, if it keeps any: the same from each shard."""
        return self.layer.averages(cache[0][1]) if isinstance(self.layer, WholeBatch) else {}


class TwinReLU:
    """ReLU: y > 0 where x > 0, so that x need not be kept."""

    draws = False

    def __init__(self, relu: ReLU, buffer: Any):
        self.name, self.buffer = relu.name, buffer
        self.params: dict[str, Array] = {}

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, Array]:
        """(y, cache), valid until the next pass."""
        y = self.buffer("y", *x.shape)
        elementwise.relu(y.reshape(len(x), -1), np.ascontiguousarray(x, np.float32).reshape(len(x), -1))
        return y, y

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}), valid until the next pass."""
        dx, rows = self.buffer("dx", *cache.shape), (len(dy), -1)
        dy = np.ascontiguousarray(dy, np.float32)
        elementwise.relu_backward(dx.reshape(rows), dy.reshape(rows), cache.reshape(rows))
        return dx, {}


class TwinDropout:
    """Dropout, whose factors are drawn where they are needed, and again in backward, rather than kept."""

    draws = True

    def __init__(self, dropout: Dropout, buffer: Any):
        self.name, self.buffer, self.rate = dropout.name, buffer, dropout.rate
        self.factor = 1 / max(1 - dropout.rate, float(np.finfo(np.float32).tiny))
        self.params: dict[str, Array] = {}

    def forward(self, x: Array, training: bool = False, rng: Any = None) -> tuple[Array, np.uint64 | None]:
        """(y, cache), valid until the next pass."""
        if not training or self.rate == 0:
            return x, None
        key = rng.key()
        return self.dropped("y", x, key), key

    def backward(self, dy: Array, cache: np.uint64 | None, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}), valid until the next pass."""
        return (dy if cache is None else self.dropped("dx", dy, cache)), {}

    def dropped(self, name: str, x: Array, key: np.uint64) -> Array:
        """x times the factors of this key."""
        y, flat, share = self.buffer(name, *x.shape), (len(x), -1), self.buffer.share
        x = np.ascontiguousarray(x, np.float32)
        rows = np.arange(len(x), dtype=np.uint64) if share is None else share.rows
        draws.dropped(y.reshape(flat), x.reshape(flat), rows, key, self.rate, self.factor)
        return y


class TwinPool:
    """A MaxPooling2D that is not one with a convolution before it.

    Registers hold LANES channels; those that are left over go the plain way.
    """

    draws = False

    def __init__(self, pool: MaxPooling2D, buffer: Any):
        self.name, self.buffer = pool.name, buffer
        self.input_shape, self.output_shape = known(pool.input_shape), known(pool.output_shape)
        self.params: dict[str, Array] = {}
        top, _, left, _ = place_windows(pool, self.input_shape, pool.pool_size)[2]
        self.windows = pool.pool_size, pool.strides, (top, left)
        channels = self.input_shape[-1]
        self.whole = channels // LANES * LANES
        self.left_over = (..., slice(self.whole, channels))

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, Array]:
        """(y, cache), valid until the next pass."""
        x = np.ascontiguousarray(x, np.float32)
        y, winners = (self.buffer(name, len(x), *self.output_shape) for name in ("y", "winners"))
        if self.whole:
            simd_pooling.max_pool(y, winners, x, *self.windows)
        if self.whole < x.shape[-1]:
            max_pool_into(y[self.left_over], winners[self.left_over], x[self.left_over], *self.windows)
        return y, winners

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}), valid until the next pass."""
        dy = np.ascontiguousarray(dy, np.float32)
        dx = self.buffer("dx", len(dy), *self.input_shape)
        if self.whole:
            simd_pooling.max_pool_backward(dx, dy, cache, *self.windows)
        if self.whole < dy.shape[-1]:
            max_pool_backward_into(dx[self.left_over], dy[self.left_over], cache[self.left_over], *self.windows)
        return dx, {}


class TwinDense:
    """Dense on rows (N, I), with this activation."""

    draws = False

    def __init__(self, dense: Dense, activation: ActivationFunction, buffer: Any):
        self.dense, self.name, self.buffer = dense, dense.name, buffer
        self.is_relu, self.activation = type(activation) is ReLU, activation
        inputs, units = known(dense.input_shape)[-1], dense.units
        self.forward_blocks, self.backward_blocks = blocks(inputs, simd.DEPTH), blocks(units, LARGEST_DEPTH)
        self.no_bias = np.zeros(units, np.float32)

    @property
    def params(self) -> dict[str, Array]:
        """The Dense layer's own."""
        return self.dense.params

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple]:
        """(y, cache), valid until the next pass."""
        z = self.product("z", x, self.params["kernel"], self.forward_blocks)
        bias = np.ascontiguousarray(self.params.get("bias", self.no_bias), np.float32)
        elementwise.add_to_rows(z, bias, np.float32(0 if self.is_relu else -np.inf))
        y, cache = (z, z) if self.is_relu else self.activation.forward(z)
        return y, (x, cache)

    def backward(self, dy: Array, cache: tuple, need_dx: bool = True) -> tuple[Array | None, Grads]:
        """(dx, grads), valid until the next pass."""
        x, active = cache
        dy = np.ascontiguousarray(dy, np.float32)
        if self.is_relu:
            dz = self.buffer("dz", *dy.shape)
            elementwise.relu_backward(dz, dy, active)
        else:
            dz = self.activation.backward(dy, active)[0]
        shards = self.buffer.shards(len(dz))
        grads = {"kernel": self.kernel_gradient(x, dz, shards)}
        if self.dense.use_bias:
            dbiases = self.buffer("dbiases", len(shards) - 1, self.dense.units)
            elementwise.sums_of_rows(dbiases, shards, dz)
            grads["bias"] = self.buffer.total(dbiases, elementwise.sum_of)
        return self.input_gradient(dz) if need_dx else None, grads

    def kernel_gradient(self, x: Array, dz: Array, shards: Array) -> Any:
        """x.T @ dz, whose product adds up the shards itself, unless there are others elsewhere."""
        if self.buffer.share is None or not self.buffer.share.apart:
            return self.transposed_product("dkernel", x, dz, shards)
        parts = [
            self.transposed_product(f"dkernel {start}", x[start:stop], dz[start:stop], np.array([0, stop - start]))
            for start, stop in pairwise(shards.tolist())
        ]
        return self.buffer.total(parts, lambda parts: parts[0])

    def transposed_product(self, name: str, x: Array, dz: Array, blocks: Array) -> Array:
        """x.T @ dz. Down a column of x each number is a row further: read over and over for many units, that is slow,
        and most of all where a row is 4096 bytes, so that a whole column shares a few places of a cache.
        """
        if self.dense.units < MANY_UNITS:
            return self.product(name, x, dz, blocks, transposed=True)
        x_transposed = self.buffer("x transposed", *x.shape[::-1])
        simd.transpose(x_transposed, np.ascontiguousarray(x, np.float32))
        return self.product(name, x_transposed, dz, blocks)

    def input_gradient(self, dz: Array) -> Array:
        """dz @ kernel.T by way of its transpose: else the whole kernel would have to be copied into another order."""
        dz_transposed = self.buffer("dz transposed", *dz.shape[::-1])
        simd.transpose(dz_transposed, np.ascontiguousarray(dz))
        dx_transposed = self.product("dx transposed", self.params["kernel"], dz_transposed, self.backward_blocks)
        dx = self.buffer("dx", *dx_transposed.shape[::-1])
        simd.transpose(dx, dx_transposed)
        return dx

    def product(self, name: str, left: Array, right: Array, blocks: Array, transposed: bool = False) -> Array:
        """left @ right, or left.T @ right, (R, C), in blocks as simd.multiply has them; contiguous."""
        rows, columns = left.shape[1 if transposed else 0], right.shape[1]
        left = self.filled(f"{name} left", left, 1 if transposed else 0, simd.ROWS)
        right = self.filled(f"{name} right", right, 1, LANES)
        out = self.buffer(name, max(rows, simd.ROWS), max(columns, LANES))
        depth = int(blocks[1]) + 1  # no block is deeper: a shard may have one photo more than the first
        panels = self.buffer(f"{name} panels", threads.team_size(), simd.room(depth))
        simd.multiply(out, left, right, transposed, panels, blocks)
        return out if columns >= LANES and rows >= simd.ROWS else np.ascontiguousarray(out[:rows, :columns])

    def filled(self, name: str, matrix: Array, axis: int, least: int) -> Array:
        """The matrix contiguous in float32, with anything behind it where it is shorter than a tile along an axis."""
        size = matrix.shape[axis]
        if size >= least:
            return np.ascontiguousarray(matrix, np.float32)
        wide = self.buffer(name, *(least if k == axis else n for k, n in enumerate(matrix.shape)))
        wide[(slice(None),) * axis + (slice(size),)] = matrix
        return wide


def blocks(size: int, depth: int) -> Array:
    """Where blocks of so many begin, and the last ends: 0, depth, 2 * depth ... size."""
    return np.array([*range(0, size, depth), size])
