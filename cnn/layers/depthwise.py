"""DepthwiseConv2D and SeparableConv2D: each channel is convolved by itself; then, in the latter, channels are mixed.

Howard et al., 2017 (MobileNet); Chollet, 2017 (Xception).
"""

from typing import Any, NamedTuple

import numpy as np

from cnn import checks, constraints, initializers, regularizers, utils
from cnn.layers.base import Array, Grads, Shape
from cnn.layers.weighted import Weighted
from cnn.layers.windows import Size, place_windows
from kernels.im2col import col2im, im2col

DEPTHWISE = {
    "depthwise_initializer": initializers.argument,
    "depthwise_regularizer": regularizers.argument,
    "depthwise_constraint": constraints.argument,
}
OF_WEIGHTED = {key: check for key, check in Weighted.arguments.items() if not key.startswith("kernel_")}


class DepthwiseCache(NamedTuple):
    """What backward needs of the forward pass."""

    x_shape: tuple[int, int, int, int]
    columns: Array  # (N*OH*OW, kh*kw, C)
    middle: Array  # (N*OH*OW, C*D), before channels are mixed
    activation: Any


class DepthwiseConv2D(Weighted):
    """z[n,i,j,c*D+d] = bias[c*D+d] + sum over u,v of x_padded[n, i*sh + u, j*sw + v, c] * depthwise[u,v,c,d]

    y = activation(z), and D is depth_multiplier: each channel c has D kernels of its own, and z holds c's D maps.

    Backward: dz from dy by the activation. With im2col's columns, a window m and a cell k of it, for each channel
    z[m,c,d] = sum_k columns[m,k,c] * depthwise[k,c,d], so by the chain rule, as for Conv2D but without a sum over c,
        ddepthwise[k,c,d] = sum_m columns[m,k,c] * dz[m,c,d]
        dcolumns[m,k,c]   = sum_d dz[m,c,d] * depthwise[k,c,d],  and  dx = col2im(dcolumns)

    >>> layer = DepthwiseConv2D((1, 2), depthwise_initializer="ones")
    >>> layer(np.arange(6.0).reshape(1, 1, 3, 2)).ravel()
    array([2., 4., 6., 8.])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, DepthwiseCache]:
        out_h, out_w, pads = place_windows(self, x.shape[1:], self.kernel_size)
        kernel = self.params["depthwise"].reshape(-1, x.shape[3], self.depth_multiplier)  # (kh*kw, C, D)
        columns = im2col(x, self.kernel_size, self.strides, pads).reshape(-1, *kernel.shape[:2])
        middle = np.einsum("mkc,kcd->mcd", columns, kernel).reshape(len(columns), -1)
        z = self.add_bias(self.mixed(middle)).reshape(len(x), out_h, out_w, -1)
        y, activation = self.activation.forward(z)
        return y, DepthwiseCache(x.shape, columns, middle, activation)

    def backward(self, dy: Array, cache: DepthwiseCache, need_dx: bool = True) -> tuple[Array | None, Grads]:
        dz = self.activation.backward(dy, cache.activation)[0].reshape(len(cache.columns), -1)
        dmiddle, grads = self.mixed_back(dz, cache.middle)
        if self.use_bias:
            grads["bias"] = dz.sum(axis=0)
        kernel = self.params["depthwise"].reshape(*cache.columns.shape[1:], -1)
        dmiddle = dmiddle.reshape(len(dz), *kernel.shape[1:])
        dkernel = np.einsum("mkc,mcd->kcd", cache.columns, dmiddle).reshape(self.params["depthwise"].shape)
        grads = {"depthwise": dkernel, **grads}
        if not need_dx:
            return None, grads
        out_h, out_w, pads = place_windows(self, cache.x_shape[1:], self.kernel_size)
        dcolumns = np.einsum("mcd,kcd->mkc", dmiddle, kernel)
        dcolumns = dcolumns.reshape(-1, out_h, out_w, *self.kernel_size, cache.x_shape[3])
        return col2im(dcolumns, cache.x_shape, self.strides, pads), grads

    def mixed(self, middle: Array) -> Array:
        """What becomes of the channels (M, C*D): here nothing."""
        return middle

    def mixed_back(self, dz: Array, middle: Array) -> tuple[Array, Grads]:
        """dmiddle, and the gradients of what mixed the channels."""
        return dz, {}

    # ---- what it is made from

    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    depth_multiplier: int
    depthwise_initializer: initializers.Initializer
    depthwise_regularizer: regularizers.Regularizer | None
    depthwise_constraint: constraints.Constraint | None
    arguments = {
        "kernel_size": checks.pair,
        "strides": checks.pair,
        "padding": checks.padding,
        "depth_multiplier": checks.whole,
        **DEPTHWISE,
        **OF_WEIGHTED,
    }
    at_default = {**Weighted.at_default, "data_format": "channels_last", "dilation_rate": 1}

    def __init__(
        self,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        *,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: initializers.Identifier = "glorot_uniform",
        bias_initializer: initializers.Identifier = "zeros",
        depthwise_regularizer: regularizers.Identifier = None,
        bias_regularizer: regularizers.Identifier = None,
        depthwise_constraint: constraints.Identifier = None,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def channels(self, input_shape: Shape) -> int:
        """How many come out."""
        return input_shape[-1] * self.depth_multiplier

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"depthwise": (*self.kernel_size, input_shape[-1], self.depth_multiplier)}
        return {**shapes, "bias": (self.channels(input_shape),)} if self.use_bias else shapes

    def infer_shape(self, input_shape: Shape) -> Shape:
        out_h, out_w, _ = place_windows(self, input_shape, self.kernel_size)
        return out_h, out_w, self.channels(input_shape)


class SeparableConv2D(DepthwiseConv2D):
    """z = DepthwiseConv2D's without bias, (M, C*D), @ pointwise + bias,  y = activation(z)        pointwise (C*D, F)

    A convolution of far fewer products: windows within a channel, and then channels within a place.
    Backward: with middle what the depthwise step gives, as for Dense
        dpointwise = middle^T @ dz,  dmiddle = dz @ pointwise^T,  and from there as for DepthwiseConv2D

    >>> layer = SeparableConv2D(5, 3, padding="same")
    >>> layer(np.ones((1, 4, 4, 2))).shape, [weight.shape for weight in layer.weights]
    ((1, 4, 4, 5), [(3, 3, 2, 1), (1, 1, 2, 5), (5,)])
    """

    def mixed(self, middle: Array) -> Array:
        return middle @ self.params["pointwise"][0, 0]

    def mixed_back(self, dz: Array, middle: Array) -> tuple[Array, Grads]:
        pointwise = self.params["pointwise"]
        return dz @ pointwise[0, 0].T, {"pointwise": (middle.T @ dz).reshape(pointwise.shape)}

    # ---- what it is made from

    filters: int
    pointwise_initializer: initializers.Initializer
    pointwise_regularizer: regularizers.Regularizer | None
    pointwise_constraint: constraints.Constraint | None
    arguments = {
        "filters": checks.whole,
        **DepthwiseConv2D.arguments,
        "pointwise_initializer": initializers.argument,
        "pointwise_regularizer": regularizers.argument,
        "pointwise_constraint": constraints.argument,
    }

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        *,
        pointwise_initializer: initializers.Identifier = "glorot_uniform",
        pointwise_regularizer: regularizers.Identifier = None,
        pointwise_constraint: constraints.Identifier = None,
        **others: Any,
    ):
        super().__init__(kernel_size, strides, padding, **others)
        self.set_arguments(locals())

    def channels(self, input_shape: Shape) -> int:
        return self.filters

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        shapes, between = super().param_shapes(input_shape), input_shape[-1] * self.depth_multiplier
        bias = {"bias": shapes.pop("bias")} if self.use_bias else {}
        return {**shapes, "pointwise": (1, 1, between, self.filters), **bias}
