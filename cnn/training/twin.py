"""The fast twin of a network: what fit, evaluate and predict really run. Read cnn/layers first; this is optional.

A twin is a list of layers that shares the parameters of its model and gives the plain layers' results to
rounding, which tests/test_twin.py holds it to. What each idea buys is how many times as much work a training
step of the article's network is without it (`python -m benchmarks.twin`, one thread, processor time, AVX-512):

| a training step without                  | batch 32 | batch 128 |
| ---------------------------------------- | -------: | --------: |
| skipping zeros (simd/backward)           |     1.3x |      1.4x |
| Winograd (simd/winograd)                 |     1.1x |      1.1x |
| dense products in registers (simd/dense) |    1.03x |     1.01x |
| the twin, for plain layers               |     4.0x |      4.7x |

One thread of Python takes the whole batch through it; the threads share out the loops inside its kernels. It knows how
the batch is cut into shards: each gradient is made shard by shard and added up in their order.

Since large arrays are kept from batch to batch, one twin serves one pass at a time, unlike the layers, and what it
returns is valid until its next pass. lend() sees to that.
"""

import contextlib
import math
import operator
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cnn.checks import known
from cnn.layers import (
    Activation,
    ActivationFunction,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPooling2D,
    PReLU,
    ReLU,
    Reshape,
    SeparableConv2D,
    UpSampling2D,
    ZeroPadding2D,
    place_windows,
)
from cnn.layers.closing import OpenEnd, closing_name
from cnn.network import Network
from cnn.training import convolutions
from cnn.training.twin_activations import TwinElementwise, TwinPReLU
from cnn.training.twin_depthwise import Pointwise, TwinDepthwise
from cnn.training.twin_layers import InShards, TwinDense, TwinDropout, TwinPool, TwinReLU
from cnn.training.twin_maps import TwinAveragePool, TwinZeroPadding, up_sampling
from cnn.training.twin_normalization import TwinNormalization
from cnn.world import Share
from kernels import elementwise, relu_pool
from kernels.simd import backward

Array = np.ndarray
Pair = tuple[int, int]
Shape = tuple[int, ...]
# Of a twin's arrays so much may outlive a call of fit, evaluate or predict: about 600 of the article's photos.
KEPT_BYTES = 2**26


class Buffers:
    """Named arrays kept between passes: float32 unless said otherwise, zero at first, at multiples of 64 bytes.

    And which share of a batch the pass takes.
    """

    def __init__(self) -> None:
        self.share: Share | None = None  # None: a pass that does not come back
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

    def shards(self, photos: int) -> Array:
        """Where each shard of so many photos begins, and where the last ends, int64."""
        return np.array([0, photos]) if self.share is None else self.share.bounds

    def total(self, parts: Any, join: Callable) -> Any:
        """The gradient join(parts), which adds up the parts of all shards; see world.py."""
        return join(parts) if self.share is None else self.share.total(parts, join)

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return sum(array.nbytes for array in self.arrays.values())


# ---- convolution, activation and pooling as one layer


class ConvCache(NamedTuple):
    """What backward needs of the forward pass."""

    kernel: Array  # contiguous, float32
    x: Array  # flat: padded photos, and what the last window of a block reaches beyond them
    winners: Array  # (N, cells or more, F or more), uint8
    loses_mean: bool = False  # since it is subtracted from y, a bias changes nothing


class TwinConv:
    """y = max_pool_2x2(activation(conv(x))): a Conv2D and the MaxPooling2D behind it, if there is one, in one step."""

    draws = False

    def __init__(self, layer: Conv2D, has_relu: bool, pool: MaxPooling2D | None, buffer: Buffers | None = None):
        out = (pool or layer).output_shape
        assert layer.input_shape and out  # the model is built
        self.layer, self.name, self.buffer = layer, layer.name, buffer or Buffers()
        self.kernel_name = "pointwise" if type(layer) is Pointwise else "kernel"
        self.floor = 0 if has_relu else -np.inf
        height, width, channels = layer.input_shape
        self.pads = place_windows(layer, layer.input_shape, layer.kernel_size)[2]
        photo = height + sum(self.pads[:2]), width + sum(self.pads[2:]), channels
        self.conv = convolutions.convolution(
            self.buffer, "y", layer.kernel_size, layer.strides, pool is not None, photo, out
        )
        self.kernel_gradient, self.input_gradient = convolutions.gradients(self.conv, layer, self.pads, has_relu)

    @property
    def params(self) -> dict[str, Array]:
        """The convolution's own."""
        return self.layer.params

    @staticmethod
    def fits(layer: Any) -> bool:
        """Whether it can do this layer, but for an activation of formulas.py. A subclass may compute something else."""
        return type(layer) in (Conv2D, Pointwise) and (
            type(layer.activation) in (Linear, ReLU) or TwinElementwise.fits(layer.activation)
        )

    @staticmethod
    def fits_pool(pool: Layer, shape: Shape) -> bool:
        """Whether it can do this pooling of maps of this shape too."""
        return type(pool) is MaxPooling2D and relu_pool.fits(
            pool.pool_size, pool.strides, place_windows(pool, shape, pool.pool_size)[2]
        )

    def contiguous_params(self) -> tuple[Array, Array]:
        """Kernel and bias as the kernels take for granted that they are. Raises ValueError for other shapes."""
        layer, filters = self.layer, self.conv.filters
        bias = layer.params["bias"] if layer.use_bias else np.zeros(filters)
        kernel, bias = (np.ascontiguousarray(a, np.float32) for a in (layer.params[self.kernel_name], bias))
        expected = (*layer.kernel_size, self.conv.photo[2], filters), (filters,)
        if (kernel.shape, bias.shape) != expected:
            raise ValueError(
                f"{layer}: expected kernel and bias of shapes {expected}, got {kernel.shape}, {bias.shape}"
            )
        return kernel, bias

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, ConvCache]:
        """(y, cache), valid until the next pass."""
        kernel, bias = self.contiguous_params()
        flat, size = self.padded(np.ascontiguousarray(x, np.float32)), self.conv.size
        y, winners = self.conv(flat[: len(x) * size].reshape(len(x), size), kernel, bias, self.floor)
        return y, ConvCache(kernel, flat, winners)

    def padded(self, x: Array) -> Array:
        """The x of ConvCache: x itself, where nothing is to be added."""
        conv, (top, _, left, _) = self.conv, self.pads
        beyond = max(0, conv.last_start + self.kernel_gradient.blocks.reach - conv.size)
        if not any(self.pads) and not beyond and x.flags.writeable:  # the kernels are compiled for such arrays
            return x.reshape(-1)
        flat = self.buffer("x_padded", len(x) * conv.size + beyond)
        x_padded = flat[: len(x) * conv.size].reshape(len(x), *conv.photo)
        elementwise.pad(x_padded, x, top, left)  # the border has been zero from the start
        return flat

    def backward(self, dy: Array, cache: ConvCache, need_dx: bool = True) -> tuple[Array | None, dict[str, Array]]:
        """(dx, grads), valid until the next pass."""
        dy = np.ascontiguousarray(dy, np.float32)
        kernel = cache.kernel
        flat = dy.reshape(len(dy), self.conv.cells, self.conv.filters)
        wide = self.conv.widened("dy", flat)
        grads = {self.kernel_name: self.kernel_gradient(flat, wide, cache.x, cache.winners)}
        if self.layer.use_bias:
            grads["bias"] = self.bias_gradient(wide, cache)
        return self.input_gradient(dy, kernel, cache.winners) if need_dx else None, grads

    def bias_gradient(self, wide_dy: Array, cache: ConvCache) -> Array:
        """dbias (F,) from dy (N, cells, filters that fill the registers)."""
        shards = self.buffer.shards(len(wide_dy))
        dbiases = self.buffer("dbiases", len(shards) - 1, self.conv.wide)
        backward.bias_gradient(dbiases, shards, wide_dy, cache.winners)
        return self.buffer.total(dbiases, lambda parts: elementwise.sum_of(parts)[: self.conv.filters])


class FoldedConv(TwinConv):
    """y = max_pool_2x2(relu(normalization(conv(x)))) with the moving averages: a convolution with another kernel.

    The normalization multiplies a filter's map by scale = gamma / deviation and adds beta - mean * scale, so the
    kernel and the bias may be multiplied beforehand; the result differs by rounding.
    """

    def __init__(
        self, layer: Conv2D, normal: BatchNormalization, has_relu: bool, pool: MaxPooling2D | None, buffer: Buffers
    ):
        super().__init__(layer, has_relu, pool, buffer)
        self.normal = normal

    def contiguous_params(self) -> tuple[Array, Array]:
        kernel, bias = super().contiguous_params()
        params = self.normal.params
        scale = params.get("gamma", 1) / np.sqrt(params["moving_variance"] + self.normal.epsilon)
        bias = (bias - params["moving_mean"]) * scale + params.get("beta", 0)
        return np.asarray(kernel * scale, np.float32), np.asarray(bias, np.float32)


class NormalizedConv(TwinConv):
    """A Conv2D without activation before a BatchNormalization, and all of both where a pass does not come back."""

    def __init__(self, layer: Conv2D, normal: BatchNormalization, has_relu: bool, pool: MaxPooling2D | None):
        super().__init__(layer, False, None)
        self.normal, self.folded = normal, FoldedConv(layer, normal, has_relu, pool, self.buffer)

    @staticmethod
    def replaces(before: Any) -> bool:
        """Whether it can stand for this layer of a twin: a convolution that ends with its sums."""
        return type(before) is TwinConv and not before.conv.pooled and before.floor == -np.inf

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, ConvCache]:
        if not training and self.buffer.share is None:
            return self.folded.forward(x)
        y, cache = super().forward(x)
        return y, cache._replace(loses_mean=training and self.normal.trainable)

    def bias_gradient(self, wide_dy: Array, cache: ConvCache) -> Array:
        return np.zeros(self.conv.filters, np.float32) if cache.loses_mean else super().bias_gradient(wide_dy, cache)


# ---- what runs instead of what


# A subclass may compute something else, and runs in shards as it is.
TWINS: dict[type, Callable] = {
    ReLU: TwinReLU,
    PReLU: TwinPReLU,
    Dropout: TwinDropout,
    MaxPooling2D: TwinPool,
    AveragePooling2D: TwinAveragePool,
    ZeroPadding2D: TwinZeroPadding,
    UpSampling2D: up_sampling,
}
WHOLE = Flatten, Reshape  # one pass over the whole batch takes no time, and gives the bits of many over its shards


def twin_of(layers: list) -> list:
    """Layers that compute the same logits: a convolution and its pooling are one, a closing activation is left out."""
    twin: list = []
    todo: list = [_function(layer) for layer in layers]
    while todo:
        layer = todo.pop(0)
        if type(layer) is SeparableConv2D and TwinDepthwise.fits(layer):
            twin.append(TwinDepthwise(layer, False, Buffers()))
            layer = Pointwise(layer)
        if TwinConv.fits(layer):
            activation: Any = _activation_of(layer, todo)
            is_apart = TwinElementwise.fits(activation)  # maxima may be taken before what never falls
            may_pool = not is_apart or TwinElementwise.rises(activation)
            pool = _pool_behind(layer, todo) if may_pool else None
            twin.append(TwinConv(layer, type(activation) is ReLU, pool))
            todo[:0] = [activation] if is_apart else []
        elif TwinDepthwise.fits(layer):
            activation = _activation_of(layer, todo)
            twin.append(TwinDepthwise(layer, type(activation) is ReLU, Buffers()))
            todo[:0] = [activation] if TwinElementwise.fits(activation) else []
        elif type(layer) is BatchNormalization:
            has_relu = bool(todo) and type(todo[0]) is ReLU and bool(todo.pop(0))
            behind = has_relu, _pool_behind(layer, todo)
            is_folded = bool(twin) and NormalizedConv.replaces(twin[-1])
            if is_folded:
                twin[-1] = NormalizedConv(twin[-1].layer, layer, *behind)
            twin.append(TwinNormalization(layer, *behind, is_folded, Buffers()))
        elif type(layer) is Dense and len(layer.input_shape or ()) == 1:
            activation = _activation_of(layer, todo)
            is_apart = TwinElementwise.fits(activation)
            closing = not todo and closing_name(activation) is not None
            twin.append(TwinDense(layer, Linear() if closing or is_apart else activation, Buffers()))
            todo[:0] = [activation] if is_apart else []
        elif TwinElementwise.fits(layer) and (todo or not closing_name(layer)):
            twin.append(TwinElementwise(layer, Buffers()))
        elif type(layer) in TWINS:
            twin.append(TWINS[type(layer)](layer, Buffers()))
        elif type(layer) in WHOLE:
            twin.append(layer)
        elif todo or not closing_name(layer):
            is_closed = not todo and closing_name(getattr(layer, "activation", None))
            twin.append(InShards(OpenEnd(layer) if is_closed else layer, Buffers()))
    return twin


def _pool_behind(layer: Layer, todo: list) -> MaxPooling2D | None:
    """The next layer, taken out, if the kernels can pool this one's maps by it too."""
    return todo.pop(0) if todo and TwinConv.fits_pool(todo[0], known(layer.output_shape)) else None


def _activation_of(layer: Conv2D | DepthwiseConv2D | Dense, todo: list) -> ActivationFunction:
    """Its own activation or, where it has none, that of the next layer, which is taken out, if it can have that."""
    behind = todo[0] if todo and type(layer.activation) is Linear else None
    return todo.pop(0) if type(behind) is ReLU or TwinElementwise.fits(behind) else layer.activation


def _function(layer: Layer) -> Layer:
    """What an Activation does; any other layer itself."""
    return layer.activation if type(layer) is Activation else layer


# ---- who uses which twin when


class Pool(NamedTuple):
    """Twins of one model that nobody is using. When its layers change, the model gets another pool."""

    made_from: list
    free: list


_pools: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # by model


@contextlib.contextmanager
def lend(model: Network, share: Share | None = None) -> Iterator[list]:
    """A twin of a model in float32, which no other pass uses meanwhile; the plain layers of one in float64.

    share: how the batch is cut; each gradient is that of the first shard plus that of the second and so on.
    The twin is kept for the next pass, unless this one ends in an exception: it may have been left half done.
    """
    if model.dtype != np.float32:
        yield model.logit_layers()
        return
    parts = _parts(model.chain)
    pool = _pools.get(model)
    if pool is None or len(parts) != len(pool.made_from) or not all(map(operator.is_, parts, pool.made_from)):
        pool = _pools[model] = Pool(parts, [])
    twin = _take(pool.free) or twin_of(model.chain)
    for layer in twin:
        if hasattr(layer, "buffer"):
            layer.buffer.share = share
    yield twin
    pool.free.append(twin)


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
    """The layers and all that is set in them (the dict of parameters, not these): what a twin is made from."""
    return [part for layer in layers for part in (layer, *vars(layer).values())]
