"""Conv2D: one small kernel looks at every place of a photo. With im2col it is a matrix product, as in Dense."""

from typing import Any, NamedTuple

from cnn import checks, initializers, regularizers, utils
from cnn.layers.activations import ActivationFunction
from cnn.layers.base import AnyShape, Array, Grads, Shape
from cnn.layers.weighted import Weighted
from cnn.layers.windows import Size, place_windows
from kernels.im2col import col2im, im2col


class Conv2DCache(NamedTuple):
    """What backward needs of the forward pass."""

    x_shape: tuple[int, int, int, int]
    columns: Array  # (N, OH, OW, kh, kw, C)
    z: Array  # (N, OH, OW, F), before the activation
    activation: Any


class Conv2D(Weighted):
    """z[n,i,j,f] = bias[f] + sum over u,v,c of x_padded[n, i*sh + u, j*sw + v, c] * kernel[u,v,c,f],  y = activation(z)

    x_padded is x with zeros around. im2col lays each window of it out as a row of columns; then all is one product:
        z = columns @ kernel + bias        columns (N*OH*OW, kh*kw*C), kernel (kh*kw*C, F)
    Backward: dz from dy by the activation. Let m be a window (n,i,j), and k a cell of one (u,v,c). As
    z[m,f] = sum_k columns[m,k] * kernel[k,f] + bias[f], by the chain rule
        dkernel[k,f]  = sum_m columns[m,k] * dz[m,f],   so  dkernel = columns^T @ dz
        dbias[f]      = sum_m dz[m,f],                  so  dbias = the sum of dz's rows
        dcolumns[m,k] = sum_f dz[m,f] * kernel[k,f],    so  dcolumns = dz @ kernel^T
    and a cell of x, which stands in columns once for each window that holds it, gets the sum over all its places:
        dx = col2im(dcolumns)

    >>> import numpy as np
    >>> edges = Conv2D(filters=1, kernel_size=(1, 2))
    >>> photo = np.array([0.0, 0.0, 5.0, 5.0]).reshape(1, 1, 4, 1)
    >>> edges(photo).shape
    (1, 1, 3, 1)
    >>> edges.kernel[:] = np.reshape([-1, 1], (1, 2, 1, 1))
    >>> edges(photo).ravel()
    array([0., 5., 0.])
    >>> edges
    <Conv2D: filters=1, kernel_size=(1, 2), activation='linear'; (1, 4, 1) -> (1, 3, 1), 3 parameters>
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, Conv2DCache]:
        _, _, pads = place_windows(self, x.shape[1:], self.kernel_size)
        columns = im2col(x, self.kernel_size, self.strides, pads)  # (N, OH, OW, kh, kw, C)
        kernel = self.params["kernel"].reshape(-1, self.filters)  # (kh*kw*C, F)
        z = self.add_bias(columns.reshape(-1, len(kernel)) @ kernel)  # (N*OH*OW, F)
        z = z.reshape(*columns.shape[:3], self.filters)
        y, activation = self.activation.forward(z)
        return y, Conv2DCache(x.shape, columns, z, activation)

    def backward(self, dy: Array, cache: Conv2DCache, need_dx: bool = True) -> tuple[Array | None, Grads]:
        dz, _ = self.activation.backward(dy, cache.activation)
        dz = dz.reshape(-1, self.filters)  # (N*OH*OW, F)
        kernel = self.params["kernel"].reshape(-1, self.filters)  # (kh*kw*C, F)
        grads = self.weight_grads(cache.columns.reshape(-1, len(kernel)), dz)
        if not need_dx:
            return None, grads
        dcolumns = (dz @ kernel.T).reshape(cache.columns.shape)
        _, _, pads = place_windows(self, cache.x_shape[1:], self.kernel_size)
        return col2im(dcolumns, cache.x_shape, self.strides, pads), grads

    # ---- what it is made from

    filters: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    arguments = {
        "filters": checks.whole,
        "kernel_size": checks.pair,
        "strides": checks.pair,
        "padding": checks.padding,
        **Weighted.arguments,
    }
    at_default = {**Weighted.at_default, "data_format": "channels_last", "dilation_rate": 1, "groups": 1}

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
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

    @property
    def units(self) -> int:
        """The filters: how many numbers come out at each place."""
        return self.filters

    def kernel_shape(self, input_shape: Shape) -> Shape:
        return *self.kernel_size, input_shape[-1], self.filters

    def infer_shape(self, input_shape: Shape) -> Shape:
        out_h, out_w, _ = place_windows(self, input_shape, self.kernel_size)
        return out_h, out_w, self.filters
