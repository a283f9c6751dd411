"""The fast twin of a network: what fit, evaluate and predict really run. Read layers.py first; this is optional.

A twin shares the parameters of its model and gives the plain layers' results to rounding,
which tests/test_fused.py holds it to. It is faster for three reasons:
- convolution, bias, ReLU and 2x2 pooling run as one step, whose sums stay in the processor's
  registers (kernels/windows.py, kernels/winograd.py), or, for shapes that do not fill those,
  over a few photos at a time, so that columns and products never leave the cache;
- the backward products leave out the five numbers in six that pooling and ReLU make zero
  (kernels/sparse.py);
- its large arrays are kept from batch to batch. So, unlike the layers, one twin serves one
  pass at a time, and what it returns is valid until its next pass.
"""

import math
import operator
from typing import NamedTuple

import numpy as np

from cnn.layers import Conv2D, Dense, Linear, MaxPooling2D, ReLU, Softmax, place_windows
from kernels import relu_pool as fused
from kernels.simd import conv_pool as windows, sparse_backward as sparse, vectors, winograd
from kernels.im2col import col2im_into, im2col_into

Array = np.ndarray
BLOCK_BYTES = 2**20  # of columns and products at a time: a processor's second cache holds them


class Buffers:
    """Named arrays kept between passes, float32 unless said otherwise, zero at first, at addresses that are multiples of 64."""

    def __init__(self):
        self.arrays: dict[str, Array] = {}

    def __call__(self, name: str, *shape: int, dtype=np.float32) -> Array:
        size = math.prod(shape)
        if name not in self.arrays or self.arrays[name].size < size:
            raw = np.zeros(size * np.dtype(dtype).itemsize + 64, np.uint8)
            offset = -raw.ctypes.data % 64
            self.arrays[name] = raw[offset : offset + size * np.dtype(dtype).itemsize].view(dtype)
        return self.arrays[name][:size].reshape(shape)


class ConvPoolCache(NamedTuple):
    x_padded: Array  # (N, H + top + bottom, W + left + right, C)
    winners: Array  # (N, OH//2, OW//2, F), uint8


class ConvPool:
    """y = max_pool_2x2(activation(conv(x))), in one step: Conv2D and the MaxPooling2D behind it."""

    draws = False

    def __init__(self, conv: Conv2D, pool: MaxPooling2D):
        self.conv, self.name = conv, conv.name
        self.out_h, self.out_w, self.pads = place_windows(conv, conv.input_shape, conv.kernel_size)
        self.pool_shape = pool.output_shape
        self.floor = np.float32(0 if isinstance(conv.activation, ReLU) else -np.inf)
        # The vector kernels take channels, filters and cells in groups that fill their registers.
        _, width, channels = conv.input_shape
        self.grey = channels == 1
        is_3x3 = conv.kernel_size == (3, 3) and conv.strides == (1, 1)  # by far the most common
        fill = self.pool_shape[1] >= winograd.TILE and conv.units % winograd.FILTERS == 0
        self.has_winograd = is_3x3 and fill and channels % vectors.LANES == 0
        self.in_registers = self.pool_shape[1] >= windows.TILE and conv.units % vectors.LANES == 0
        self.skips_zeros = is_3x3 and (conv.units if self.grey else channels) % vectors.LANES == 0
        self.where = sparse.window_starts(
            *self.pool_shape[:2], (self.pads[2] + width + self.pads[3]) * channels, channels
        )
        self.buffer = Buffers()

    @property
    def params(self):
        return self.conv.params

    @staticmethod
    def fits(conv, pool) -> bool:
        """Whether this pair of layers can run as one. A subclass may compute something else."""
        return (
            type(conv) is Conv2D
            and type(conv.activation) in (Linear, ReLU)
            and type(pool) is MaxPooling2D
            and pool.pool_size == pool.strides == (2, 2)
            and place_windows(pool, conv.output_shape, (2, 2))[2] == (0, 0, 0, 0)
        )

    def blocks(self, photos):
        """Cut the batch into slices whose columns and products fit the cache; with each its columns and z, to fill."""
        kh, kw = self.conv.kernel_size
        channels, filters = self.conv.input_shape[2], self.conv.units
        numbers = self.out_h * self.out_w * (kh * kw * channels + filters)
        size = max(1, BLOCK_BYTES // (4 * numbers))
        for start in range(0, photos, size):
            count = min(size, photos - start)
            columns = self.buffer("columns", count, self.out_h, self.out_w, kh, kw, channels)
            yield slice(start, start + count), columns, self.buffer("z", count, self.out_h, self.out_w, filters)

    def kernel_matrix(self):
        return self.params["kernel"].reshape(-1, self.conv.units)  # (kh*kw*C, F)

    def forward(self, x, training=False, rng=None):
        photos, height, width, channels = x.shape
        top, bottom, left, right = self.pads
        x_padded = self.buffer("x_padded", photos, height + top + bottom, width + left + right, channels)
        x_padded[:, top : top + height, left : left + width] = x  # the border has been zero from the start
        y = self.buffer("y", photos, *self.pool_shape)
        winners = self.buffer("winners", photos, *self.pool_shape, dtype=np.uint8)
        kernel, bias = self.contiguous_params(channels)
        if self.has_winograd:
            transformed = self.buffer("transformed", 16, channels, self.conv.units)
            winograd.transform_kernel(transformed, kernel)
            room = (
                self.buffer("patches", *winograd.patches_shape(channels)),
                self.buffer("products", *winograd.PRODUCTS_SHAPE),
            )
            winograd.conv_relu_pool(y, winners, x_padded, transformed, bias, self.floor, *room)
        elif self.in_registers:
            windows.conv_relu_pool(y, winners, x_padded, kernel, bias, self.floor, self.conv.strides)
        else:
            self.forward_through_columns(y, winners, x_padded, bias)
        return y, ConvPoolCache(x_padded, winners)

    def contiguous_params(self, channels):
        """Kernel and bias as the vector kernels take for granted that they are. Raises ValueError for other shapes."""
        kernel = np.ascontiguousarray(self.params["kernel"], np.float32)
        bias = np.ascontiguousarray(
            self.params["bias"] if self.conv.use_bias else np.zeros(self.conv.units), np.float32
        )
        expected = (*self.conv.kernel_size, channels, self.conv.units), (self.conv.units,)
        if (kernel.shape, bias.shape) != expected:
            raise ValueError(
                f"{self.conv}: expected kernel and bias of shapes {expected}, got {kernel.shape}, {bias.shape}"
            )
        return kernel, bias

    def forward_through_columns(self, y, winners, x_padded, bias):
        """Conv2D.forward and what follows it, block by block."""
        kernel = self.kernel_matrix()
        for block, columns, z in self.blocks(len(y)):
            im2col_into(columns, x_padded[block], self.conv.strides)
            np.matmul(columns.reshape(-1, len(kernel)), kernel, out=z.reshape(-1, self.conv.units))
            fused.bias_relu_pool(y[block], winners[block], z, bias, self.floor)

    def backward(self, dy, cache, need_dx=True):
        skips_zeros = self.skips_zeros and not (self.grey and need_dx)
        product = self.backward_skipping_zeros if skips_zeros else self.backward_through_columns
        dy = np.ascontiguousarray(dy, np.float32)
        dkernel, dx = product(dy, cache, need_dx)
        grads = {"kernel": dkernel}
        if self.conv.use_bias:
            grads["bias"] = np.empty(self.conv.units, np.float32)
            fused.bias_gradient(grads["bias"], dy, cache.winners)
        return dx, grads

    def backward_through_columns(self, dy, cache, need_dx):
        """The products of Conv2D.backward, block by block; the columns are made again rather than kept."""
        kernel = self.kernel_matrix()
        dkernel = np.zeros_like(kernel)
        dx = self.buffer("dx", len(dy), *self.conv.input_shape)
        for block, columns, dz in self.blocks(len(dy)):
            im2col_into(columns, cache.x_padded[block], self.conv.strides)
            fused.unpool(dz, dy[block], cache.winners[block])
            dz = dz.reshape(-1, self.conv.units)
            dkernel += columns.reshape(-1, len(kernel)).T @ dz
            if need_dx:
                np.matmul(dz, kernel.T, out=columns.reshape(-1, len(kernel)))  # dcolumns, in the place of columns
                col2im_into(dx[block], columns, self.conv.strides, (self.pads[0], self.pads[2]))
        return dkernel.reshape(self.params["kernel"].shape), dx if need_dx else None

    def backward_skipping_zeros(self, dy, cache, need_dx):
        """The same sums from the winners alone, whose kernels lie here with the filters first."""
        filters, channels = self.conv.units, self.conv.input_shape[2]
        if self.grey:
            dkernel = np.empty(self.params["kernel"].shape, np.float32)
            sparse.kernel_gradient_of_grey(dkernel, dy, cache.winners, cache.x_padded)
            return dkernel, None
        padded_shape = cache.x_padded.shape[1:]
        dkernel = self.buffer("dkernel", filters, 3, 3, channels)
        sparse.kernel_gradient(dkernel, dy, cache.winners, cache.x_padded, self.where)
        dkernel = np.ascontiguousarray(dkernel.transpose(1, 2, 3, 0))
        if not need_dx:
            return dkernel, None
        kernel = self.buffer("kernel", channels // vectors.LANES, filters, 3, 3, vectors.LANES)
        kernel.reshape(-1, filters, 9, vectors.LANES)[:] = (
            self.params["kernel"].reshape(9, -1, vectors.LANES, filters).transpose(1, 3, 0, 2)
        )
        dx, photo = self.buffer("dx", len(dy), *self.conv.input_shape), self.buffer("photo", *padded_shape)
        sparse.input_gradient(dx, dy, cache.winners, kernel, (self.pads[0], self.pads[2]), photo)
        return dkernel, dx


class KeptDense:
    """Dense with the arrays of its large gradients kept from pass to pass."""

    draws = False

    def __init__(self, dense: Dense, activation):
        self.dense, self.name, self.activation, self.buffer = dense, dense.name, activation, Buffers()

    @property
    def params(self):
        return self.dense.params

    def forward(self, x, training=False, rng=None):
        z = self.dense.add_bias(x @ self.params["kernel"])
        y, active = self.activation.forward(z)
        return y, (x, active)

    def backward(self, dy, cache, need_dx=True):
        x, active = cache
        dz, _ = self.activation.backward(dy, active)
        kernel = self.params["kernel"]
        product = (
            np.matmul if len(x) > 1 else np.multiply
        )  # the same for one photo, where BLAS takes eight times as long
        grads = {"kernel": product(x.T, dz, out=self.buffer("dkernel", *kernel.shape))}
        if self.dense.use_bias:
            grads["bias"] = dz.sum(axis=0)
        if not need_dx:
            return None, grads
        # dz @ kernel.T by way of its transpose: else BLAS would first copy the whole kernel into another order.
        transposed = np.matmul(kernel, dz.T, out=self.buffer("transposed", len(kernel), len(x)))
        dx = self.buffer("dx", *x.shape)
        dx[:] = transposed.T
        return dx, grads


def twin(layers: list) -> list:
    """Layers that compute the same logits as these: pairs that fit are one, a closing softmax is left out."""
    twins, todo = [], list(layers)
    while todo:
        layer = todo.pop(0)
        if todo and ConvPool.fits(layer, todo[0]):
            twins.append(ConvPool(layer, todo.pop(0)))
        elif type(layer) is Dense and len(layer.input_shape) == 1:
            closing = not todo and isinstance(layer.activation, Softmax)
            twins.append(KeptDense(layer, Linear() if closing else layer.activation))
        elif todo or not isinstance(layer, Softmax):
            twins.append(layer)
    return twins


class Twins:
    """Lends twins of one model to passes that run at the same time, and keeps them for the next."""

    def __init__(self):
        self.made_from, self.made, self.free = [], [], []

    def borrow(self, model) -> list:
        """A twin that no other pass is using; the plain layers of a model in float64."""
        if model.dtype != np.float32:
            return model.logit_layers()
        parts = _parts(model.layers)
        if len(parts) != len(self.made_from) or not all(map(operator.is_, parts, self.made_from)):
            self.made, self.free, self.made_from = [], [], parts  # in this order: another thread may be looking
        try:
            return self.free.pop()
        except IndexError:
            network = twin(model.layers)
            self.made.append(network)
            return network

    def give_back(self, network: list) -> None:
        """Keep it, unless the layers have changed since it was lent."""
        if any(network is one for one in self.made):
            self.free.append(network)

    def __reduce__(self):
        return Twins, ()  # a copy of a model makes its own


def _parts(layers):
    """The layers and all that is set in them but their parameters: what a twin is made from."""
    return [part for layer in layers for part in (layer, *(v for key, v in vars(layer).items() if key != "params"))]
