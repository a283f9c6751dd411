"""How the fast twin computes a convolution, its kernel's gradient and its input's. Each in two ways; see the end.

Each way knows for which shapes it is made. They share the twin's buffers: what they return is valid until its next
pass.
"""

import math
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.layers import Conv2D
from kernels import relu_pool, threads
from kernels.simd import backward, conv_pool, winograd, winograd_gradient
from kernels.simd.vectors import LANES

Array = np.ndarray
Pair = tuple[int, int]
Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]
Buffers = Any  # twin.Buffers


class Convolution:
    """y = max(floor, conv(x) + bias), pooled 2x2 or not, over photos that are padded already: any that there is."""

    def __init__(
        self, buffer: Buffers, name: str, kernel_size: Pair, strides: Pair, pooled: bool, photo: Shape, out: Shape
    ):
        """photo (H, W, C) is padded, out (P, Q, F) is y; two of one twin have different names."""
        self.buffer, self.name, self.kernel_size, self.pooled, self.photo = buffer, name, kernel_size, pooled, photo
        self.out, self.filters = (out[0], out[1]), out[2]
        self.wide = -(-self.filters // LANES) * LANES  # so many filters fill the registers
        self.size, self.pitch, self.numbers = math.prod(photo), photo[1] * photo[2], kernel_size[1] * photo[2]
        self.cells = math.prod(self.out)
        self.starts = conv_pool.window_starts(self.out, self.pitch, photo[2], strides, pooled)
        self.last_start, self.windows = int(self.starts.max()), tuple(range(4 if pooled else 1))  # behind each cell

    @staticmethod
    def fits(kernel_size: Pair, strides: Pair, pooled: bool, photo: Shape, out: Shape) -> bool:
        """Whether it can: the kernels know."""
        return True

    def __call__(self, x: Array, kernel: Array, bias: Array, floor: float) -> tuple[Array, Array]:
        """y (N, P, Q, F) and winners (N, cells or more, F or more) from x (N, H * W * C), kernel (kh, kw, C, F)."""
        kernel = kernel.reshape(self.kernel_size[0], self.numbers, self.filters)
        y = self.buffer(f"{self.name} y", len(x), len(self.starts), self.wide)
        winners = self.buffer(f"{self.name} winners", *y.shape, dtype=np.uint8)
        self.compute(y, winners, x, self.widened("kernel", kernel), self.widened("bias", bias), np.float32(floor))
        return y[:, : self.cells, : self.filters].reshape(len(x), *self.out, self.filters), winners

    def widened(self, name: str, array: Array) -> Array:
        """The array contiguous, and with zeros behind its filters to fill the registers."""
        if self.wide == self.filters:
            return np.ascontiguousarray(array, np.float32)
        wide = self.buffer(f"{self.name} {name}", *array.shape[:-1], self.wide)
        wide[..., : self.filters] = array
        return wide

    def compute(self, y: Array, winners: Array, x: Array, kernel: Array, bias: Array, floor: np.float32) -> None:
        """Fill y and winners (N, cells or more, F), F a multiple of LANES."""
        conv_pool.conv_relu_pool(y, winners, x, kernel, bias, floor, self.starts, self.pitch, self.pooled)


class Winograd(Convolution):
    """Four sums side by side by fewer products: 3x3 and 5x5."""

    fits = staticmethod(winograd.fits)

    def __init__(self, *shape: Any):
        super().__init__(*shape)
        self.patches = winograd.patches_of(self.out, self.pooled)
        self.taps = tuple(range(self.kernel_size[0]))

    def compute(self, y: Array, winners: Array, x: Array, kernel: Array, bias: Array, floor: np.float32) -> None:
        taps, channels, parts = len(self.taps), self.photo[2], threads.team_size()
        transformed = self.buffer(f"{self.name} transformed", (taps + 1) ** 2, channels, self.filters)
        winograd.transform_kernel(transformed, kernel.reshape(taps, taps, channels, self.filters), self.taps)
        room = (self.buffer(f"{self.name} {k}", parts, *shape) for k, shape in enumerate(winograd.room(taps, channels)))
        x = x.reshape(len(x), *self.photo)
        winograd.conv_relu_pool(y, winners, x, transformed, bias, floor, *self.patches, *room, self.taps)


class SparseKernelGradient:
    """From the gradients alone that are not zero: behind ReLU and pooling one in six is."""

    unit = LANES

    def __init__(self, conv: Convolution):
        self.conv = conv
        self.blocks = backward.Blocks(conv.kernel_size[0], conv.numbers, conv.pitch, self.unit)

    @staticmethod
    def fits(conv: Convolution, has_relu: bool) -> bool:
        """Whether it is worth it: where no gradient is zero, if few filters would leave most of a register empty."""
        some_are_zero = has_relu or conv.pooled or conv.wide >= 2 * conv.filters
        return some_are_zero and not backward.few_taps(conv.kernel_size[0], conv.numbers, conv.pooled)

    def __call__(self, dy: Array, wide_dy: Array, x: Array, winners: Array) -> Array:
        """dkernel (kh, kw, C, F) from dy (N, cells, F), the same with filters that fill the registers, and flat x."""
        shards = self.conv.buffer.shards(len(dy))
        return self.conv.buffer.total(self.by_shards(shards, dy, wide_dy, x, winners), self.join)

    def join(self, parts: Array) -> Array:
        """dkernel from what by_shards gives."""
        conv = self.conv
        dkernel = conv.buffer("dkernel", conv.kernel_size[0], conv.numbers, conv.filters)
        self.blocks.join(dkernel, parts)
        return dkernel.reshape(*conv.kernel_size, conv.photo[2], conv.filters)

    def by_shards(self, shards: Array, dy: Array, wide_dy: Array, x: Array, winners: Array) -> Array:
        """The part of each shard: (shards, F, blocks, height * width)."""
        conv, blocks = self.conv, self.blocks
        shape = len(shards) - 1, conv.filters, len(blocks.firsts), blocks.height * blocks.width
        dkernels = conv.buffer("dkernels", *shape)
        backward.kernel_gradient(dkernels, shards, dy, winners, x, conv.size, conv.starts, blocks.layout)
        return dkernels


class DenseKernelGradient(SparseKernelGradient):
    """From all of them."""

    unit = 1

    @staticmethod
    def fits(conv: Convolution, has_relu: bool) -> bool:
        return True

    def by_shards(self, shards: Array, dy: Array, wide_dy: Array, x: Array, winners: Array) -> Array:
        conv, blocks = self.conv, self.blocks
        shape = len(shards) - 1, len(blocks.firsts), blocks.height * blocks.width, conv.wide
        dkernels = conv.buffer("dkernels", *shape)
        backward.dense_kernel_gradient(
            dkernels, shards, wide_dy, winners, x, conv.size, conv.starts, blocks.layout, conv.windows
        )
        return dkernels[..., : conv.filters].transpose(0, 3, 1, 2)


class WinogradKernelGradient:
    """From all of them, for four windows by fewer products."""

    def __init__(self, conv: Any):
        self.conv = conv
        self.blocks = backward.Blocks(conv.kernel_size[0], conv.numbers, conv.pitch, LANES)  # for its reach alone
        self.patches = winograd.patches_of(conv.out, False)

    @staticmethod
    def fits(conv: Convolution, has_relu: bool) -> bool:
        """Whether it can: in maps of odd sizes patches cover cells twice."""
        whole = not conv.pooled and conv.out[0] % 2 == conv.out[1] % 2 == 0
        return whole and isinstance(conv, Winograd) and conv.photo[2] % winograd_gradient.CHANNELS == 0

    def __call__(self, dy: Array, wide_dy: Array, x: Array, winners: Array) -> Array:
        conv, shards = self.conv, self.conv.buffer.shards(len(dy))
        channels, parts, cells = conv.photo[2], len(shards) - 1, (len(conv.taps) + 1) ** 2
        sums = conv.buffer("sums", parts, cells, channels, conv.filters)
        patches = conv.buffer("patches of x", parts, cells, winograd_gradient.PATCHES, channels)
        gradients = conv.buffer("patches of dz", parts, cells, winograd_gradient.PATCHES, conv.filters)
        photos = x[: len(dy) * conv.size].reshape(len(dy), *conv.photo)
        winograd_gradient.kernel_gradient(
            sums, shards, dy, winners, photos, *self.patches, patches, gradients, conv.taps
        )
        return conv.buffer.total(sums, self.join)

    def join(self, sums: Array) -> Array:
        """dkernel (r, r, C, F) from the sums of the shards."""
        dkernel = self.conv.buffer("dkernel", *self.conv.kernel_size, *sums.shape[2:])
        winograd_gradient.transform_sums(dkernel, sums, self.conv.taps)
        return dkernel


class SparseInputGradient:
    """From the gradients alone that are not zero."""

    def __init__(self, conv: Convolution, layer: Conv2D, pads: Pads):
        self.conv, self.input_shape, self.offset = conv, known(layer.input_shape), (pads[0], pads[2])
        self.blocks = backward.Blocks(conv.kernel_size[0], conv.numbers, conv.pitch, LANES)

    @staticmethod
    def fits(conv: Convolution, strides: Pair) -> bool:
        """Whether it can, and is worth it."""
        return True

    def __call__(self, dy: Array, kernel: Array, winners: Array) -> Array:
        """dx from dy (N, P, Q, F) and kernel (kh, kw, C, F)."""
        conv, blocks = self.conv, self.blocks
        laid = conv.buffer("laid", len(blocks.firsts), conv.filters, blocks.height * blocks.width)
        blocks.cut(laid, kernel.reshape(-1, conv.numbers, conv.filters))
        dx = conv.buffer("dx", len(dy), *self.input_shape)
        photo = conv.buffer("photo", threads.team_size(), max(conv.size, conv.last_start + blocks.reach))
        dy = dy.reshape(len(dy), conv.cells, -1)
        backward.input_gradient(
            dx, dy, winners, laid, self.offset, photo, conv.pitch, conv.starts, blocks.layout, conv.windows
        )
        return dx


class TurnedConvolution:
    """The input's gradient is dz, padded, convolved with the kernel turned by 180 degrees, filters for channels."""

    def __init__(self, conv: Convolution, layer: Conv2D, pads: Pads):
        (kh, kw), (height, width, channels) = conv.kernel_size, known(layer.input_shape)
        self.conv, self.offset = conv, (kh - 1 - pads[0], kw - 1 - pads[2])
        self.photo = height + kh - 1, width + kw - 1, conv.filters
        shape = (kh, kw), (1, 1), False, self.photo, (height, width, channels)
        self.turned = convolution(conv.buffer, "turned", *shape)

    @staticmethod
    def fits(conv: Convolution, strides: Pair) -> bool:
        """Stride 1, not pooled."""
        return strides == (1, 1) and not conv.pooled

    def __call__(self, dy: Array, kernel: Array, winners: Array) -> Array:
        dz = self.conv.buffer("dz", len(dy), *self.photo)  # the border has been zero from the start
        relu_pool.unpool(dz, dy, winners, self.offset, self.conv.pooled)
        turned = np.ascontiguousarray(kernel[::-1, ::-1].swapaxes(2, 3))
        bias = np.zeros(self.turned.filters, np.float32)
        return self.turned(dz.reshape(len(dy), -1), turned, bias, -np.inf)[0]


# The first that fits is taken.
CONVOLUTIONS: tuple[type[Convolution], ...] = (Winograd, Convolution)
KERNEL_GRADIENTS: tuple[Any, ...] = WinogradKernelGradient, SparseKernelGradient, DenseKernelGradient
INPUT_GRADIENTS = TurnedConvolution, SparseInputGradient


def convolution(buffer: Buffers, name: str, *shape: Any) -> Convolution:
    """The first that fits kernel_size, strides, pooled, photo and out."""
    return next(way for way in CONVOLUTIONS if way.fits(*shape))(buffer, name, *shape)


def gradients(conv: Convolution, layer: Conv2D, pads: Pads, has_relu: bool) -> tuple[Any, Any]:
    """The ways to its kernel's and its input's gradient."""
    kernel_gradient = next(way for way in KERNEL_GRADIENTS if way.fits(conv, has_relu))(conv)
    way: Any = next(way for way in INPUT_GRADIENTS if way.fits(conv, layer.strides))
    return kernel_gradient, way(conv, layer, pads)
