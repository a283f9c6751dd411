"""The layers: each holds its parameters, and its formula stands beside its code, forward and backward.

forward(x) returns (y, cache): the result, and what backward will need to know. backward
takes dy = dLoss/dy and that cache, and returns (dx, grads): dLoss/dx, and the gradient
of each parameter under the parameter's own name. A pass leaves no trace in the layer.

Photos are (N, H, W, C), as in Keras: photo, row, column, channel.
"""

import math
from typing import NamedTuple

import numpy as np

from cnn import checks, initializers, utils
from kernels.im2col import col2im, im2col
from kernels.pooling import max_pool, max_pool_backward
from kernels.geometry import window_geometry

Array = np.ndarray


class Layer:
    """What all layers share: a name, parameters, and building them when the input's shape is known."""

    draws = False  # whether forward needs random numbers in training

    def __init__(self, name: str | None = None, input_shape=None, **unsupported):
        self.name = name
        self.params: dict[str, Array] = {}
        self.input_shape: tuple[int, ...] | None = None  # one photo's, known once built
        self.output_shape: tuple[int, ...] | None = None
        for argument in unsupported:
            raise ValueError(f"{self}: the argument {argument!r} is not supported here")
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"{self}: name: expected a word without '/', got {name!r}")
        self.declared_shape = None if input_shape is None else checks.shape(str(self), "input_shape", input_shape)

    def build(self, input_shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32) -> tuple[int, ...]:
        """Allocate the parameters for inputs of this shape (no batch axis); return the output's shape."""
        input_shape = tuple(input_shape)
        output_shape = self.infer_shape(input_shape)  # raises for an input that does not fit, which then builds nothing
        self.params = self.create_params(input_shape, rng, dtype)
        self.input_shape, self.output_shape = input_shape, output_shape
        return output_shape

    def infer_shape(self, input_shape):
        """The shape of one output; raises ValueError, naming the layer, for an input it cannot take."""
        return input_shape

    def param_shapes(self, input_shape) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter, before any is allocated."""
        return {}

    def create_params(self, input_shape, rng, dtype):
        return {}

    def forward(self, x: Array, training: bool = False, rng=None) -> tuple[Array, NamedTuple]:
        raise NotImplementedError

    def backward(self, dy: Array, cache: NamedTuple, need_dx: bool = True) -> tuple[Array | None, dict[str, Array]]:
        raise NotImplementedError

    def __call__(self, x) -> Array:
        """y for a batch x, as in Keras: the layer is built from x if it is not yet. Raises ValueError."""
        x = checks.inputs(str(self), x, self.input_shape)
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        if self.input_shape is None:
            self.build(x.shape[1:], utils.lone_layer_generator(), dtype)
        dtype = next((p.dtype for p in self.params.values()), dtype)
        return self.forward(x.astype(dtype, copy=False))[0]

    def get_weights(self) -> list[Array]:
        """Copies of the parameters, kernel before bias."""
        return [value.copy() for value in self.params.values()]

    def set_weights(self, weights) -> None:
        """Replace the parameters by copies of these arrays. Raises ValueError, and then changes nothing."""
        if len(weights) != len(self.params):
            raise ValueError(f"{self}: set_weights: expected {len(self.params)} arrays, got {len(weights)}")
        checked = {}
        for (key, old), new in zip(self.params.items(), weights, strict=True):
            new = checks.numeric_array(f"{self}: set_weights", key, new)
            if new.shape != old.shape:
                raise ValueError(f"{self}: set_weights: {key}: expected shape {old.shape}, got {new.shape}")
            checked[key] = np.array(new, old.dtype, order="C")
        self.params = checked

    def count_params(self) -> int:
        """How many numbers there are to learn."""
        return sum(value.size for value in self.params.values())

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them."""
        return {"name": self.name}

    def __str__(self):
        return f'{type(self).__name__} "{self.name}"' if getattr(self, "name", None) else type(self).__name__


class Input(Layer):
    """Says the shape of one photo, for the first place in a Sequential: Input(shape=(28, 28, 1))."""

    def __init__(self, shape, name=None, **unsupported):
        super().__init__(name, shape, **unsupported)


class LinearCache(NamedTuple):
    """The identity needs to remember nothing."""


class Linear(Layer):
    """y = x, the activation None."""

    def forward(self, x, training=False, rng=None):
        return x, LinearCache()

    def backward(self, dy, cache, need_dx=True):
        return dy, {}


class ReLUCache(NamedTuple):
    x: Array


class ReLU(Layer):
    """y = max(0, x)

    dx = dy where x > 0, else 0        (at x = 0, where no derivative exists, it is 0)
    """

    def forward(self, x, training=False, rng=None):
        return np.maximum(x, 0), ReLUCache(x)

    def backward(self, dy, cache, need_dx=True):
        return dy * (cache.x > 0), {}


class SoftmaxCache(NamedTuple):
    y: Array


class Softmax(Layer):
    """y_k = exp(x_k) / sum_j exp(x_j)        along the last axis

    dx_k = y_k * (dy_k - sum_j dy_j y_j)
    Subtracting the largest x first changes nothing in the quotient, and exp cannot overflow.
    """

    def forward(self, x, training=False, rng=None):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
        return y, SoftmaxCache(y)

    def backward(self, dy, cache, need_dx=True):
        y = cache.y
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True)), {}


ACTIVATIONS = {"linear": Linear, "relu": ReLU, "softmax": Softmax}


class Weighted(Layer):
    """What Conv2D and Dense share: a kernel, a bias and an activation."""

    def __init__(
        self, units, activation, use_bias, kernel_initializer, bias_initializer, name, input_shape, unsupported
    ):
        super().__init__(name, input_shape, **unsupported)
        self.units = units
        self.activation_name = checks.choice(str(self), "activation", activation or "linear", tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[self.activation_name]()
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def param_shapes(self, input_shape):
        return {"kernel": self.kernel_shape(input_shape)} | ({"bias": (self.units,)} if self.use_bias else {})

    def create_params(self, input_shape, rng, dtype):
        initializers = {"kernel": self.kernel_initializer, "bias": self.bias_initializer}
        return {key: initializers[key](shape, rng, dtype) for key, shape in self.param_shapes(input_shape).items()}

    def add_bias(self, z):
        return z + self.params["bias"] if self.use_bias else z

    def weight_grads(self, x, dz):
        """For z = x @ kernel + bias, with rows x (M, I) and dz (M, O):  dkernel = x^T @ dz,  dbias = sum of dz's rows."""
        grads = {"kernel": (x.T @ dz).reshape(self.params["kernel"].shape)}
        if self.use_bias:
            grads["bias"] = dz.sum(axis=0)
        return grads

    def get_config(self):
        return {
            "name": self.name,
            "activation": self.activation_name,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.name_of(self.kernel_initializer),
            "bias_initializer": initializers.name_of(self.bias_initializer),
        }


class DenseCache(NamedTuple):
    x: Array
    z: Array
    activation: NamedTuple


class Dense(Weighted):
    """z = x @ kernel + bias,  y = activation(z)        x (N, I), kernel (I, units), bias (units,)

    dkernel = x^T @ dz,   dbias = sum_n dz[n],   dx = dz @ kernel^T
    An x of more axes, (N, ..., I), is multiplied along its last one, as in Keras.
    """

    def __init__(
        self,
        units,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        input_shape=None,
        name=None,
        **unsupported,
    ):
        units = checks.whole("Dense", "units", units)
        super().__init__(
            units, activation, use_bias, kernel_initializer, bias_initializer, name, input_shape, unsupported
        )

    def kernel_shape(self, input_shape):
        return input_shape[-1], self.units

    def infer_shape(self, input_shape):
        return *input_shape[:-1], self.units

    def forward(self, x, training=False, rng=None):
        z = self.add_bias(x @ self.params["kernel"])
        y, activation = self.activation.forward(z)
        return y, DenseCache(x, z, activation)

    def backward(self, dy, cache, need_dx=True):
        dz, _ = self.activation.backward(dy, cache.activation)
        grads = self.weight_grads(cache.x.reshape(-1, cache.x.shape[-1]), dz.reshape(-1, self.units))
        return (dz @ self.params["kernel"].T if need_dx else None), grads

    def get_config(self):
        return {"units": self.units, **super().get_config()}


class Conv2DCache(NamedTuple):
    x_shape: tuple[int, int, int, int]
    columns: Array  # (N, OH, OW, kh, kw, C)
    z: Array  # (N, OH, OW, F), before the activation
    activation: NamedTuple


class Conv2D(Weighted):
    """z[n,i,j,f] = bias[f] + sum over u,v,c of x_padded[n, i*sh + u, j*sw + v, c] * kernel[u,v,c,f],  y = activation(z)

    im2col lays each window of x out as a row of columns; then all of it is one product:
        z = columns @ kernel + bias        columns (N*OH*OW, kh*kw*C), kernel (kh*kw*C, F)
    and backward is that product's own backward, with col2im putting each window back:
        dkernel = columns^T @ dz,   dbias = sum of dz's rows,   dx = col2im(dz @ kernel^T)
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=(1, 1),
        padding="valid",
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        input_shape=None,
        name=None,
        **unsupported,
    ):
        filters = checks.whole("Conv2D", "filters", filters)
        super().__init__(
            filters, activation, use_bias, kernel_initializer, bias_initializer, name, input_shape, unsupported
        )
        self.kernel_size = checks.pair(str(self), "kernel_size", kernel_size)
        self.strides = checks.pair(str(self), "strides", strides)
        self.padding = checks.choice(str(self), "padding", padding, ("valid", "same"))

    def kernel_shape(self, input_shape):
        return *self.kernel_size, input_shape[-1], self.units

    def infer_shape(self, input_shape):
        out_h, out_w, _ = place_windows(self, input_shape, self.kernel_size)
        return out_h, out_w, self.units

    def forward(self, x, training=False, rng=None):
        _, _, pads = place_windows(self, x.shape[1:], self.kernel_size)
        columns = im2col(x, self.kernel_size, self.strides, pads)  # (N, OH, OW, kh, kw, C)
        kernel = self.params["kernel"].reshape(-1, self.units)  # (kh*kw*C, F)
        z = self.add_bias(columns.reshape(-1, len(kernel)) @ kernel)  # (N*OH*OW, F)
        z = z.reshape(*columns.shape[:3], self.units)
        y, activation = self.activation.forward(z)
        return y, Conv2DCache(x.shape, columns, z, activation)

    def backward(self, dy, cache, need_dx=True):
        dz, _ = self.activation.backward(dy, cache.activation)
        dz = dz.reshape(-1, self.units)  # (N*OH*OW, F)
        kernel = self.params["kernel"].reshape(-1, self.units)  # (kh*kw*C, F)
        grads = self.weight_grads(cache.columns.reshape(-1, len(kernel)), dz)
        if not need_dx:
            return None, grads
        dcolumns = (dz @ kernel.T).reshape(cache.columns.shape)
        _, _, pads = place_windows(self, cache.x_shape[1:], self.kernel_size)
        return col2im(dcolumns, cache.x_shape, self.strides, pads), grads

    def get_config(self):
        window = {"kernel_size": list(self.kernel_size), "strides": list(self.strides), "padding": self.padding}
        return {"filters": self.units, **window, **super().get_config()}


class MaxPooling2DCache(NamedTuple):
    x_shape: tuple[int, int, int, int]
    winners: Array  # (N, OH, OW, C): which cell of its window, counted row by row, was the largest


class MaxPooling2D(Layer):
    """y[n,i,j,c] = max over u,v of x[n, i*sh + u, j*sw + v, c]

    dx = dy at the cell that won its window, 0 at all others; of equal cells the first in row-major order wins alone.
    """

    def __init__(self, pool_size=(2, 2), strides=None, padding="valid", input_shape=None, name=None, **unsupported):
        super().__init__(name, input_shape, **unsupported)
        self.pool_size = checks.pair(str(self), "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else checks.pair(str(self), "strides", strides)
        self.padding = checks.choice(str(self), "padding", padding, ("valid", "same"))

    def infer_shape(self, input_shape):
        out_h, out_w, _ = place_windows(self, input_shape, self.pool_size)
        return out_h, out_w, input_shape[-1]

    def forward(self, x, training=False, rng=None):
        _, _, pads = place_windows(self, x.shape[1:], self.pool_size)
        y, winners = max_pool(x, self.pool_size, self.strides, pads)
        return y, MaxPooling2DCache(x.shape, winners)

    def backward(self, dy, cache, need_dx=True):
        _, _, pads = place_windows(self, cache.x_shape[1:], self.pool_size)
        return max_pool_backward(dy, cache.winners, cache.x_shape, self.pool_size, self.strides, pads), {}

    def get_config(self):
        return {
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "name": self.name,
        }


class FlattenCache(NamedTuple):
    x_shape: tuple[int, ...]


class Flatten(Layer):
    """y[n, (r*W + s)*C + c] = x[n, r, s, c]        the same numbers in one row"""

    def infer_shape(self, input_shape):
        return (math.prod(input_shape),)

    def forward(self, x, training=False, rng=None):
        return x.reshape(len(x), -1), FlattenCache(x.shape)

    def backward(self, dy, cache, need_dx=True):
        return dy.reshape(cache.x_shape), {}


class DropoutCache(NamedTuple):
    factor: Array | None  # 0 or 1/(1 - rate) for each number; None outside training


class Dropout(Layer):
    """y = x * factor,  factor = 0 with probability `rate`, else 1/(1 - rate); outside training y = x

    dx = dy * factor
    """

    draws = True

    def __init__(self, rate, input_shape=None, name=None, **unsupported):
        super().__init__(name, input_shape, **unsupported)
        self.rate = checks.number(str(self), "rate", rate, 0, 1)

    def forward(self, x, training=False, rng=None):
        if not training or self.rate == 0:
            return x, DropoutCache(None)
        kept = rng.random(x.shape) >= self.rate  # a rate of 1 keeps nothing
        factor = kept.astype(x.dtype) / x.dtype.type(max(1 - self.rate, np.finfo(x.dtype).tiny))
        return x * factor, DropoutCache(factor)

    def backward(self, dy, cache, need_dx=True):
        return (dy if cache.factor is None else dy * cache.factor), {}

    def get_config(self):
        return {"rate": self.rate, "name": self.name}


def place_windows(layer, input_shape, size):
    """(OH, OW, (top, bottom, left, right)) for a layer's sliding window; raises ValueError where none fits."""
    if len(input_shape) != 3:
        raise ValueError(f"{layer}: expected input (H, W, C), got {input_shape}")
    out_h, top, bottom = window_geometry(input_shape[0], size[0], layer.strides[0], layer.padding)
    out_w, left, right = window_geometry(input_shape[1], size[1], layer.strides[1], layer.padding)
    if out_h < 1 or out_w < 1:
        raise ValueError(f"{layer}: expected input of at least {size[0]} x {size[1]} (the window), got {input_shape}")
    return out_h, out_w, (top, bottom, left, right)


Convolution2D, MaxPool2D = Conv2D, MaxPooling2D  # Keras' other names for them
