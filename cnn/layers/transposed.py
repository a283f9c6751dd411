"""Conv2DTranspose: a convolution's way back. Photos grow: each cell becomes a window, and windows add up."""

from functools import partial
from typing import Any, NamedTuple

from cnn import checks, initializers, regularizers, utils
from cnn.layers.activations import ActivationFunction
from cnn.layers.base import AnyShape, Array, Grads, Shape
from cnn.layers.weighted import Weighted
from cnn.layers.windows import Size, require_photo
from kernels.geometry import Pads, transposed_geometry
from kernels.im2col import col2im, im2col


class Conv2DTransposeCache(NamedTuple):
    """What backward needs of the forward pass."""

    x: Array
    activation: Any


class Conv2DTranspose(Weighted):
    """z = col2im(x @ kernel^T) + bias,  y = activation(z)        x (N*H*W, C), kernel (kh*kw*F, C)

    Each cell of x is multiplied by the kernel into a window of z, a stride further than the one before; windows add up:
        z[n,r,s,f] = bias[f] + sum of x[n,i,j,c] * kernel[u,v,f,c]
                     over all (i,j,u,v,c) with i*sh + u - top = r and j*sw + v - left = s
    top and left cells are cut off before the first, as transposed_geometry says. It is how Conv2D, from F channels to C
    filters with this kernel, finds its dx from a dz. Let columns be x @ kernel^T.

    Backward: dz from dy by the activation. z is a sum of columns, each of which stands in one cell of it; so a column
    has that cell's dz, and the sum's transpose lays dz out as Conv2D lays out its photos:
        dcolumns = im2col(dz)
    Let m be a cell (n,i,j) of x, and k one (u,v,f) of its window. As columns[m,k] = sum_c x[m,c] * kernel[k,c]
        dkernel[k,c] = sum_m dcolumns[m,k] * x[m,c],    so  dkernel = dcolumns^T @ x
        dx[m,c]      = sum_k dcolumns[m,k] * kernel[k,c],  so  dx = dcolumns @ kernel
        dbias[f]     = the sum of dz over all photos and places

    >>> import numpy as np
    >>> layer = Conv2DTranspose(filters=1, kernel_size=(1, 3), strides=(1, 2), kernel_initializer="ones")
    >>> layer(np.array([1.0, 10.0]).reshape(1, 1, 2, 1)).ravel()
    array([ 1.,  1., 11., 10., 10.])
    """

    def forward(
        self, x: Array, training: bool = False, rng: utils.Rng | None = None
    ) -> tuple[Array, Conv2DTransposeCache]:
        out_h, out_w, pads = self.place(x.shape[1:])
        kernel = self.params["kernel"].reshape(-1, x.shape[3])  # (kh*kw*F, C)
        columns = (x.reshape(-1, x.shape[3]) @ kernel.T).reshape(*x.shape[:3], *self.kernel_size, self.filters)
        z = self.add_bias(col2im(columns, (len(x), out_h, out_w, self.filters), self.strides, pads))
        y, activation = self.activation.forward(z)
        return y, Conv2DTransposeCache(x, activation)

    def backward(self, dy: Array, cache: Conv2DTransposeCache, need_dx: bool = True) -> tuple[Array | None, Grads]:
        dz, _ = self.activation.backward(dy, cache.activation)
        _, _, pads = self.place(cache.x.shape[1:])
        kernel = self.params["kernel"].reshape(-1, cache.x.shape[3])  # (kh*kw*F, C)
        dcolumns = im2col(dz, self.kernel_size, self.strides, pads).reshape(-1, len(kernel))
        grads = {"kernel": (dcolumns.T @ cache.x.reshape(-1, kernel.shape[1])).reshape(self.params["kernel"].shape)}
        if self.use_bias:
            grads["bias"] = dz.reshape(-1, self.filters).sum(axis=0)
        return ((dcolumns @ kernel).reshape(cache.x.shape) if need_dx else None), grads

    # ---- what it is made from

    filters: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    output_padding: tuple[int, int] | None
    arguments = {
        "filters": checks.whole,
        "kernel_size": checks.pair,
        "strides": checks.pair,
        "padding": checks.padding,
        "output_padding": checks.or_none(partial(checks.pair, low=0)),
        **Weighted.arguments,
    }
    at_default = {**Weighted.at_default, "data_format": "channels_last", "dilation_rate": 1}

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        output_padding: Size | None = None,
        *,
        activation: str | ActivationFunction | None = None,
        use_bias: bool = True,
        kernel_initializer: initializers.Identifier = "glorot_uniform",
        bias_initializer: initializers.Identifier = "zeros",
        kernel_regularizer: regularizers.Identifier = None,
        bias_regularizer: regularizers.Identifier = None,
        input_shape: AnyShape | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(name, input_shape, **unsupported)
        self.set_arguments(locals())
        if self.output_padding and any(more >= s for more, s in zip(self.output_padding, self.strides, strict=True)):
            raise ValueError(
                f"{self}: output_padding: expected less than the strides {self.strides}, got {output_padding}"
            )

    @property
    def units(self) -> int:
        """The filters: how many numbers come out at each place."""
        return self.filters

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        kernel: dict[str, Shape] = {"kernel": (*self.kernel_size, self.filters, input_shape[-1])}
        return {**kernel, "bias": (self.filters,)} if self.use_bias else kernel

    def infer_shape(self, input_shape: Shape) -> Shape:
        out_h, out_w, _ = self.place(input_shape)
        return out_h, out_w, self.filters

    def place(self, input_shape: Shape) -> tuple[int, int, Pads]:
        """(OH, OW, (top, bottom, left, right)): what comes out of such a photo, and what is cut off around it."""
        require_photo(self, input_shape)
        more = self.output_padding or (None, None)
        given = zip(input_shape, self.kernel_size, self.strides, (self.padding, self.padding), more, strict=False)
        (out_h, top, bottom), (out_w, left, right) = (transposed_geometry(*along) for along in given)
        if out_h < 1 or out_w < 1:
            raise ValueError(f"{self}: expected an input of which something is left, got {input_shape}")
        return out_h, out_w, (top, bottom, left, right)
