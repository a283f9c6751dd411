"""The twin of DepthwiseConv2D, and of SeparableConv2D's first step; its second is a convolution of 1x1: Pointwise."""

import math
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.layers import Conv2D, DepthwiseConv2D, Linear, ReLU, SeparableConv2D, place_windows
from cnn.training.twin_activations import TwinElementwise
from kernels import elementwise, threads
from kernels.simd import depthwise as simd
from kernels.simd.vectors import LANES

Array = np.ndarray


class TwinDepthwise:
    """y = relu(depthwise(x) + bias), with ReLU or without.

    Photos and gradients are laid into rooms where channels fill whole registers and borders are zero: as in all
    Buffers, what is never written to stays zero.
    """

    draws = False

    def __init__(self, layer: DepthwiseConv2D, has_relu: bool, buffer: Any):
        self.layer, self.name, self.buffer, self.has_relu = layer, layer.name, buffer, has_relu
        self.mixes = type(layer) is SeparableConv2D  # then the bias is added by the second step
        (kh, kw), (height, width, self.channels) = layer.kernel_size, known(layer.input_shape)
        out_h, out_w, (top, bottom, left, right) = place_windows(layer, known(layer.input_shape), layer.kernel_size)
        wide = self.wide = -(-self.channels // LANES) * LANES  # so many channels fill the registers
        self.output_shape, self.offset = (out_h, out_w, self.channels), (top, left)
        self.photo, pitch = (height + top + bottom, width + left + right, wide), (width + left + right) * wide
        self.starts = simd.table(out_h, out_w, layer.strides[0] * pitch, layer.strides[1] * wide)
        self.taps = simd.table(kh, kw, pitch, wide, simd.TAPS)
        # Gradients lie as far apart as their windows, with such a border that the turned kernel reads them all.
        self.gradients, pitch = (height + kh - 1, width + kw - 1, wide), (width + kw - 1) * wide
        self.gradient_offset = kh - 1 - top, kw - 1 - left
        self.places = simd.table(out_h, out_w, layer.strides[0] * pitch, layer.strides[1] * wide)
        self.places += self.gradient_offset[0] * pitch + self.gradient_offset[1] * wide
        self.input_starts, self.turned_taps = simd.table(height, width, pitch, wide), simd.table(kh, kw, pitch, wide)

    @property
    def params(self) -> dict[str, Array]:
        """The layer's own."""
        return self.layer.params

    @staticmethod
    def fits(layer: Any) -> bool:
        """Whether it can do this layer: with a kernel for each channel, while one with several runs as it is."""
        return (
            type(layer) in (DepthwiseConv2D, SeparableConv2D)
            and layer.depth_multiplier == 1
            and (type(layer.activation) in (Linear, ReLU) or TwinElementwise.fits(layer.activation))
        )

    def contiguous_params(self) -> tuple[Array, Array]:
        """Kernel (kh * kw, C) and bias as the kernels take for granted that they are. ValueError for other shapes."""
        params, channels = self.layer.params, self.channels
        bias = params["bias"] if self.layer.use_bias and not self.mixes else np.zeros(channels)
        expected = (*self.layer.kernel_size, channels, 1), (channels,)
        if (params["depthwise"].shape, bias.shape) != expected:
            raise ValueError(
                f"{self.layer}: expected depthwise and bias of shapes {expected}, "
                f"got {params['depthwise'].shape}, {bias.shape}"
            )
        return self.widened("kernel", params["depthwise"].reshape(-1, channels)), self.widened("bias", bias)

    def widened(self, name: str, array: Array) -> Array:
        """The array with zeros behind its channels to fill the registers."""
        wide = self.buffer(name, *array.shape[:-1], self.wide)
        wide[..., : self.channels] = array
        return wide

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple]:
        """(y, cache), valid until the next pass."""
        x = np.ascontiguousarray(x, np.float32)
        laid = x, x, False, self.offset, (1, 1)  # how the kernels lay them into rooms
        rooms, floor = self.buffer("rooms", threads.team_size(), *self.photo), 0 if self.has_relu else -np.inf
        kernel, bias = self.contiguous_params()
        y = self.convolved("y", laid, rooms, kernel, bias, floor, self.starts, self.taps)
        y = np.ascontiguousarray(y.reshape(len(x), *self.output_shape))
        return y, (kernel, laid, y)

    def convolved(
        self, name: str, laid: tuple, rooms: Array, kernel: Array, bias: Array, floor: float, starts: Array, taps: Array
    ) -> Array:
        """y (N, cells, C), of the kernel that is given these."""
        photos, cells = len(laid[0]), len(starts)
        if cells < simd.CELLS:
            starts = np.concatenate([starts, np.zeros(simd.CELLS - cells, np.int64)])
        y = self.buffer(name, photos, len(starts), self.wide)
        simd.convolve(y, laid, rooms, kernel, bias, np.float32(floor), starts, taps)
        return y[:, :cells, : self.channels]

    def backward(self, dy: Array, cache: tuple, need_dx: bool = True) -> tuple[Array | None, dict[str, Array]]:
        """(dx, grads), valid until the next pass."""
        kernel, x, y = cache
        dz = np.ascontiguousarray(dy, np.float32), y, self.has_relu, self.gradient_offset, self.layer.strides
        shards = self.buffer.shards(len(dy))
        parts = len(shards) - 1
        sums = self.buffer("dkernels", parts, len(self.taps), self.wide), self.buffer("dbiases", parts, self.wide)
        rooms = self.buffer("rooms of dz", parts, *self.gradients), self.buffer("rooms of x", parts, *self.photo)
        simd.gradients(*sums, shards, dz, x, *rooms, self.starts, self.places, self.taps)
        grads = {"depthwise": self.buffer.total(sums[0], self.join)}
        if self.layer.use_bias and not self.mixes:
            grads["bias"] = self.buffer.total(sums[1], lambda parts: elementwise.sum_of(parts)[: self.channels])
        return self.input_gradient(dz, kernel) if need_dx else None, grads

    def join(self, dkernels: Array) -> Array:
        """ddepthwise (kh, kw, C, 1) from those of the shards."""
        shape = (*self.layer.kernel_size, self.channels, 1)
        return elementwise.sum_of(dkernels)[: math.prod(shape[:2]), : self.channels].reshape(shape)

    def input_gradient(self, dz: tuple, kernel: Array) -> Array:
        """dx: dz, laid as far apart as the windows, convolved with the kernel turned by 180 degrees."""
        turned, no_bias = np.ascontiguousarray(kernel[::-1]), np.zeros(self.wide, np.float32)
        rooms = self.buffer("rooms of all dz", threads.team_size(), *self.gradients)
        dx = self.convolved("dx", dz, rooms, turned, no_bias, -np.inf, self.input_starts, self.turned_taps)
        return dx.reshape(len(dx), *known(self.layer.input_shape))


class Pointwise(Conv2D):
    """A SeparableConv2D's second step: channels mixed within each cell, by that layer's parameters."""

    def __init__(self, layer: SeparableConv2D):
        super().__init__(layer.filters, 1, activation=layer.activation, use_bias=layer.use_bias, name=layer.name)
        self.params, self.output_shape = layer.params, layer.output_shape
        self.input_shape = (*known(layer.output_shape)[:2], known(layer.input_shape)[-1])
