"""The fast twin of a network: what fit, evaluate and predict really run. Read layers.py first; this is optional.

A twin is a list of layers that shares the parameters of its model and gives the plain layers' results to
rounding, which tests/test_twin.py holds it to. What each idea buys is how many times as much work a training
step of the article's network is without it (`python -m benchmarks.twin`, processor time, AVX-512):

| a training step without                            | batch 32 | batch 128 |
| -------------------------------------------------- | -------: | --------: |
| skipping zeros (simd/sparse_backward)              |     1.7x |      1.8x |
| Winograd (simd/winograd)                           |     1.1x |      1.2x |
| sums in registers, Winograd too (simd/conv_pool)   |     1.3x |      1.4x |
| all three, for columns and BLAS                    |     2.0x |      2.2x |
| the twin, for plain layers                         |     4.7x |      5.5x |

Since large arrays are kept from batch to batch, one twin serves one pass at a time, unlike the layers, and what it
returns is valid until its next pass. lend() sees to that.
"""

import contextlib
import math
import operator
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cnn.checks import known
from cnn.layers import Conv2D, Dense, Layer, Linear, MaxPooling2D, ReLU, Softmax, place_windows
from cnn.network import Network
from cnn.training.twin_layers import TwinDense, TwinPool, TwinReLU
from kernels import relu_pool
from kernels.im2col import col2im_into, im2col_into
from kernels.simd import conv_pool, sparse_backward, winograd
from kernels.simd.vectors import LANES

Array = np.ndarray
Pair = tuple[int, int]
BLOCK_BYTES = 2**20  # of columns and products at a time: a processor's second cache holds them
KEPT_BYTES = (
    2**26
)  # of a twin's arrays may outlive a call of fit, evaluate or predict: about 600 of the article's photos


class Buffers:
    """Named arrays kept between passes: float32 unless said otherwise, zero at first, at multiples of 64 bytes."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.views: dict[str, Array] = {}  # of them, as they were last asked for

    def __call__(self, name: str, *shape: int, dtype: DTypeLike = np.float32) -> Array:
        view = self.views.get(name)
        if view is not None and view.shape == shape:
            return view
        size = math.prod(shape)
        if name not in self.arrays or self.arrays[name].size < size:
            raw = np.zeros(size * np.dtype(dtype).itemsize + 64, np.uint8)
            offset = -raw.ctypes.data % 64
            self.arrays[name] = raw[offset : offset + size * np.dtype(dtype).itemsize].view(dtype)
        view = self.views[name] = self.arrays[name][:size].reshape(shape)
        return view

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return sum(array.nbytes for array in self.arrays.values())


# ---- convolution, activation and pooling as one layer


class ConvPoolCache(NamedTuple):
    """What backward needs of the forward pass."""

    x_padded: Array  # (N, H + top + bottom, W + left + right, C)
    winners: Array  # (N, OH//2, OW//2, F), uint8


class Way:
    """A way to compute the convolution of a TwinConvPool: forward, backward or both, on shapes that fit."""

    def __init__(self, conv: Conv2D, buffer: Buffers):
        self.conv, self.buffer = conv, buffer
        assert conv.input_shape and conv.output_shape  # the model is built
        self.out_h, self.out_w, self.pads = place_windows(conv, conv.input_shape, conv.kernel_size)
        self.input_shape, (*_, self.channels) = conv.input_shape, conv.input_shape
        *_, self.filters = conv.output_shape
        self.floor = np.float32(0 if isinstance(conv.activation, ReLU) else -np.inf)

    @staticmethod
    def fits(kernel_size: Pair, strides: Pair, channels: int, filters: int, out_w: int) -> bool:
        """Whether it can: its kernels know. out_w is the width of the pooled maps."""
        raise NotImplementedError

    def forward(self, y: Array, winners: Array, x_padded: Array) -> None:
        """Fill y and winners (N, P, Q, F)."""
        raise NotImplementedError

    def backward(self, dy: Array, cache: ConvPoolCache, need_dx: bool) -> tuple[Array, Array | None]:
        """(dkernel, dx); dx is None where it is not needed."""
        raise NotImplementedError

    def contiguous_params(self) -> tuple[Array, Array]:
        """Kernel and bias as the kernels take for granted that they are. Raises ValueError for other shapes."""
        bias = self.conv.params["bias"] if self.conv.use_bias else np.zeros(self.filters)
        kernel, bias = (np.ascontiguousarray(a, np.float32) for a in (self.conv.params["kernel"], bias))
        expected = (*self.conv.kernel_size, self.channels, self.filters), (self.filters,)
        if (kernel.shape, bias.shape) != expected:
            raise ValueError(
                f"{self.conv}: expected kernel and bias of shapes {expected}, got {kernel.shape}, {bias.shape}"
            )
        return kernel, bias


class Winograd(Way):
    """Forward with 16 products a channel and pooling window instead of 36."""

    fits = staticmethod(winograd.fits)

    def forward(self, y: Array, winners: Array, x_padded: Array) -> None:
        kernel, bias = self.contiguous_params()
        transformed = self.buffer("transformed", 16, self.channels, self.filters)
        winograd.transform_kernel(transformed, kernel)
        patches = self.buffer("patches", *winograd.patches_shape(self.channels))
        products = self.buffer("products", *winograd.PRODUCTS_SHAPE)
        winograd.conv_relu_pool(y, winners, x_padded, transformed, bias, self.floor, patches, products)


class InRegisters(Way):
    """Forward with sums that never leave the processor's registers."""

    fits = staticmethod(conv_pool.fits)

    def forward(self, y: Array, winners: Array, x_padded: Array) -> None:
        kernel, bias = self.contiguous_params()
        conv_pool.conv_relu_pool(y, winners, x_padded, kernel, bias, self.floor, self.conv.strides)


class ThroughColumns(Way):
    """Forward and backward as Conv2D, a few photos at a time, so that columns and products never leave the cache."""

    @staticmethod
    def fits(kernel_size: Pair, strides: Pair, channels: int, filters: int, out_w: int) -> bool:
        return True

    def blocks(self, photos: int) -> Iterator[tuple[slice, Array, Array]]:
        """Cut the batch into slices whose columns and products fit the cache; with each its columns and z, to fill."""
        window = (self.out_h, self.out_w, *self.conv.kernel_size, self.channels)
        numbers = math.prod(window) + self.out_h * self.out_w * self.filters
        size = max(1, BLOCK_BYTES // (4 * numbers))
        for start in range(0, photos, size):
            count = min(size, photos - start)
            z = self.buffer("z", count, self.out_h, self.out_w, self.filters)
            yield slice(start, start + count), self.buffer("columns", count, *window), z

    def forward(self, y: Array, winners: Array, x_padded: Array) -> None:
        kernel, bias = self.contiguous_params()
        kernel = kernel.reshape(-1, self.filters)  # (kh*kw*C, F)
        for block, columns, z in self.blocks(len(y)):
            im2col_into(columns, x_padded[block], self.conv.strides)
            np.matmul(columns.reshape(-1, len(kernel)), kernel, out=z.reshape(-1, self.filters))
            relu_pool.bias_relu_pool(y[block], winners[block], z, bias, self.floor)

    def backward(self, dy: Array, cache: ConvPoolCache, need_dx: bool) -> tuple[Array, Array | None]:
        # The columns are made again rather than kept.
        kernel = self.conv.params["kernel"].reshape(-1, self.filters)
        dkernel = np.zeros_like(kernel)
        dx = self.buffer("dx", len(dy), *self.input_shape)
        for block, columns, dz in self.blocks(len(dy)):
            im2col_into(columns, cache.x_padded[block], self.conv.strides)
            relu_pool.unpool(dz, dy[block], cache.winners[block])
            dz = dz.reshape(-1, self.filters)
            dkernel += columns.reshape(-1, len(kernel)).T @ dz
            if need_dx:
                np.matmul(dz, kernel.T, out=columns.reshape(-1, len(kernel)))  # dcolumns, in the place of columns
                col2im_into(dx[block], columns, self.conv.strides, (self.pads[0], self.pads[2]))
        return dkernel.reshape(self.conv.params["kernel"].shape), dx if need_dx else None


class SkippingZeros(Way):
    """Backward from the winners alone: five in six of the numbers in dz are zero."""

    fits = staticmethod(sparse_backward.fits)

    def __init__(self, conv: Conv2D, buffer: Buffers):
        super().__init__(conv, buffer)
        width = self.pads[2] + self.input_shape[1] + self.pads[3]
        self.where = sparse_backward.window_starts(
            self.out_h // 2, self.out_w // 2, width * self.channels, self.channels
        )

    def backward(self, dy: Array, cache: ConvPoolCache, need_dx: bool) -> tuple[Array, Array | None]:
        dkernel = self.buffer("dkernel", self.filters, 3, 3, self.channels)
        sparse_backward.kernel_gradient(dkernel, dy, cache.winners, cache.x_padded, self.where)
        return np.ascontiguousarray(dkernel.transpose(1, 2, 3, 0)), self.input_gradient(dy, cache) if need_dx else None

    def input_gradient(self, dy: Array, cache: ConvPoolCache) -> Array:
        """dx (N, H, W, C)."""
        kernel = self.buffer("kernel", self.channels // LANES, self.filters, 3, 3, LANES)
        kernel[:] = self.conv.params["kernel"].reshape(3, 3, -1, LANES, self.filters).transpose(2, 4, 0, 1, 3)
        dx = self.buffer("dx", len(dy), *self.input_shape)
        photo = self.buffer("photo", *cache.x_padded.shape[1:])
        sparse_backward.input_gradient(dx, dy, cache.winners, kernel, (self.pads[0], self.pads[2]), photo)
        return dx


class SkippingZerosOfGrey(ThroughColumns):
    """The same for photos of one channel; their own gradient, which training does not need, goes through columns."""

    fits = staticmethod(sparse_backward.fits_grey)

    def backward(self, dy: Array, cache: ConvPoolCache, need_dx: bool) -> tuple[Array, Array | None]:
        if need_dx:
            return super().backward(dy, cache, need_dx)
        dkernel = np.empty(self.conv.params["kernel"].shape, np.float32)
        sparse_backward.kernel_gradient_of_grey(dkernel, dy, cache.winners, cache.x_padded)
        return dkernel, None


# The first that fits is taken.
FORWARD: tuple[type[Way], ...] = (Winograd, InRegisters, ThroughColumns)
BACKWARD: tuple[type[Way], ...] = (SkippingZeros, SkippingZerosOfGrey, ThroughColumns)


class TwinConvPool:
    """y = max_pool_2x2(activation(conv(x))): a Conv2D and the MaxPooling2D behind it, in one step."""

    draws = False

    def __init__(self, conv: Conv2D, pool: MaxPooling2D):
        assert conv.input_shape and pool.output_shape  # the model is built
        self.conv, self.name, self.pool_shape, self.buffer = conv, conv.name, pool.output_shape, Buffers()
        self.pads = place_windows(conv, conv.input_shape, conv.kernel_size)[2]
        *_, channels = conv.input_shape
        _, out_w, filters = self.pool_shape
        shape = conv.kernel_size, conv.strides, channels, filters, out_w
        self.forward_way, self.backward_way = (
            next(way for way in ways if way.fits(*shape))(conv, self.buffer) for ways in (FORWARD, BACKWARD)
        )

    @property
    def params(self) -> dict[str, Array]:
        """The convolution's own."""
        return self.conv.params

    @staticmethod
    def fits(conv: Layer, pool: Layer) -> bool:
        """Whether this pair of layers can run as one. A subclass may compute something else."""
        return (
            type(conv) is Conv2D
            and type(conv.activation) in (Linear, ReLU)
            and type(pool) is MaxPooling2D
            and relu_pool.fits(pool.pool_size, pool.strides, place_windows(pool, known(conv.output_shape), (2, 2))[2])
        )

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, ConvPoolCache]:
        """(y, cache), valid until the next pass."""
        photos, height, width, channels = x.shape
        top, bottom, left, right = self.pads
        x_padded = self.buffer("x_padded", photos, height + top + bottom, width + left + right, channels)
        x_padded[:, top : top + height, left : left + width] = x  # the border has been zero from the start
        y = self.buffer("y", photos, *self.pool_shape)
        winners = self.buffer("winners", photos, *self.pool_shape, dtype=np.uint8)
        self.forward_way.forward(y, winners, x_padded)
        return y, ConvPoolCache(x_padded, winners)

    def backward(self, dy: Array, cache: ConvPoolCache, need_dx: bool = True) -> tuple[Array | None, dict[str, Array]]:
        """(dx, grads), valid until the next pass."""
        dy = np.ascontiguousarray(dy, np.float32)
        dkernel, dx = self.backward_way.backward(dy, cache, need_dx)
        grads = {"kernel": dkernel}
        if self.conv.use_bias:
            grads["bias"] = np.empty(dkernel.shape[3], np.float32)
            relu_pool.bias_gradient(grads["bias"], dy, cache.winners)
        return dx, grads


# ---- what runs instead of what


TWINS: dict[type, Callable] = {
    ReLU: TwinReLU,
    MaxPooling2D: TwinPool,
}  # a subclass may compute something else, and stays as it is


def twin_of(layers: list) -> list:
    """Layers that compute the same logits as these: pairs that fit are one, a closing softmax is left out."""
    twin: list = []
    todo = list(layers)
    while todo:
        layer = todo.pop(0)
        if todo and TwinConvPool.fits(layer, todo[0]):
            twin.append(TwinConvPool(layer, todo.pop(0)))
        elif type(layer) is Dense and len(layer.input_shape or ()) == 1:
            closing = not todo and isinstance(layer.activation, Softmax)
            twin.append(TwinDense(layer, Linear() if closing else layer.activation, Buffers()))
        elif type(layer) in TWINS:
            twin.append(TWINS[type(layer)](layer, Buffers()))
        elif todo or not isinstance(layer, Softmax):
            twin.append(layer)
    return twin


# ---- who uses which twin when


class Pool(NamedTuple):
    """Twins of one model that nobody is using. When its layers change, the model gets another pool."""

    made_from: list
    free: list


_pools: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # by model


@contextlib.contextmanager
def lend(model: Network, count: int = 1) -> Iterator[list[list]]:
    """So many twins of a model in float32, which no other pass uses meanwhile; the plain layers of one in float64.

    They are kept for the next pass, unless this one ends in an exception: after a second Ctrl-C a thread may still
    be at work with them, and then they go when it ends.
    """
    if model.dtype != np.float32:
        yield [model.logit_layers() for _ in range(count)]
        return
    parts = _parts(model.layers)
    pool = _pools.get(model)
    if pool is None or len(parts) != len(pool.made_from) or not all(map(operator.is_, parts, pool.made_from)):
        pool = _pools[model] = Pool(parts, [])
    twins = [_take(pool.free) or twin_of(model.layers) for _ in range(count)]
    yield twins
    pool.free.extend(reversed(twins))  # so that the next pass gets them in this order again


def release(model: Network) -> None:
    """Forget the model's free twins with more than KEPT_BYTES of arrays: a batch as large may not come again."""
    free = _pools[model].free if model in _pools else []
    for _ in range(len(free)):
        twin = _take(free, 0)
        if twin and sum(layer.buffer.nbytes for layer in twin if hasattr(layer, "buffer")) <= KEPT_BYTES:
            free.append(twin)


def _take(free: list, place: int = -1) -> list | None:
    """Take one out, None when there is none. Another thread may do so at the same time: asking first would not help."""
    with contextlib.suppress(IndexError):
        return free.pop(place)
    return None


def _parts(layers: list) -> list:
    """The layers and all that is set in them but their parameters: what a twin is made from."""
    return [part for layer in layers for part in (layer, *(v for key, v in vars(layer).items() if key != "params"))]
