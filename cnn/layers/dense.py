"""Dense: every input times a weight, added up."""

from typing import Any, NamedTuple

from cnn import checks, initializers, regularizers, utils
from cnn.layers.activations import ActivationFunction
from cnn.layers.base import AnyShape, Array, Grads, Shape
from cnn.layers.weighted import Weighted


class DenseCache(NamedTuple):
    """What backward needs of the forward pass."""

    x: Array
    z: Array  # before the activation
    activation: Any


class Dense(Weighted):
    """z = x @ kernel + bias,  y = activation(z)        x (N, I), kernel (I, units), bias (units,)

    Backward: dz from dy by the activation. As z[n,o] = sum_i x[n,i] * kernel[i,o] + bias[o], by the chain rule
        dkernel[i,o] = sum_n dz[n,o] * x[n,i],      so  dkernel = x^T @ dz
        dbias[o]     = sum_n dz[n,o] * 1,           so  dbias = sum_n dz[n]
        dx[n,i]      = sum_o dz[n,o] * kernel[i,o], so  dx = dz @ kernel^T
    An x of more axes, (N, ..., I), is multiplied along its last one, as in Keras.

    >>> layer = Dense(2, activation="relu", kernel_initializer="zeros")
    >>> layer([[1.0, 2.0, 3.0]])
    array([[0., 0.]])
    >>> layer.kernel[:] = [[1, 0], [0, 1], [0, -1]]
    >>> layer([[1.0, 2.0, 3.0]])
    array([[1., 0.]])
    >>> layer
    <Dense: units=2, activation='relu', kernel_initializer='zeros'; (3,) -> (2,), 8 parameters>
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, DenseCache]:
        z = self.add_bias(x @ self.params["kernel"])
        y, activation = self.activation.forward(z)
        return y, DenseCache(x, z, activation)

    def backward(self, dy: Array, cache: DenseCache, need_dx: bool = True) -> tuple[Array | None, Grads]:
        dz, _ = self.activation.backward(dy, cache.activation)
        grads = self.weight_grads(cache.x.reshape(-1, cache.x.shape[-1]), dz.reshape(-1, self.units))
        return (dz @ self.params["kernel"].T if need_dx else None), grads

    # ---- what it is made from

    units: int
    arguments = {"units": checks.whole, **Weighted.arguments}

    def __init__(
        self,
        units: int,
        activation: str | ActivationFunction | None = None,
        use_bias: bool = True,
        kernel_initializer: initializers.Identifier = "glorot_uniform",
        bias_initializer: initializers.Identifier = "zeros",
        kernel_regularizer: regularizers.Identifier = None,
        bias_regularizer: regularizers.Identifier = None,
        *,
        input_shape: AnyShape | None = None,
        input_dim: int | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        input_shape = input_dim if input_shape is None else input_shape  # Keras' older name, of rows
        super().__init__(name, input_shape, **unsupported)
        self.set_arguments(locals())

    def kernel_shape(self, input_shape: Shape) -> Shape:
        return input_shape[-1], self.units

    def infer_shape(self, input_shape: Shape) -> Shape:
        return *input_shape[:-1], self.units
