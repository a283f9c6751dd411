"""What Dense and Conv2D share: a kernel, a bias and an activation."""

from typing import Any, NoReturn

from cnn import checks, constraints, initializers, regularizers
from cnn.configurable import as_json
from cnn.layers.activations import ActivationFunction, find_activation
from cnn.layers.base import AnyShape, Array, Grads, Layer, Shape
from cnn.variables import Variable


class Weighted(Layer):
    """z = x @ kernel + bias,  y = activation(z), for rows x; a subclass says what its rows and its kernel's shape are.

    >>> from cnn.layers import Dense
    >>> layer = Dense(2, use_bias=False, input_shape=3)
    >>> layer.param_shapes((3,))
    {'kernel': (3, 2)}
    >>> layer.kernel
    Traceback (most recent call last):
    AttributeError: Dense: kernel: not built yet: call the layer, or give it a place in a model that knows its input
    """

    arguments = {
        **Layer.arguments,
        "activation": find_activation,
        "use_bias": checks.boolean,
        "kernel_initializer": initializers.argument,
        "bias_initializer": initializers.argument,
        "kernel_regularizer": regularizers.argument,
        "bias_regularizer": regularizers.argument,
        "kernel_constraint": constraints.argument,
        "bias_constraint": constraints.argument,
    }
    unless = {
        **Layer.unless,
        **dict.fromkeys(("kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint")),
    }
    at_default = {**Layer.at_default, **dict.fromkeys(("lora_rank", "lora_alpha", "quantization_config"))}
    activation: ActivationFunction
    use_bias: bool
    kernel_initializer: initializers.Initializer
    bias_initializer: initializers.Initializer
    kernel_regularizer: regularizers.Regularizer | None
    bias_regularizer: regularizers.Regularizer | None
    kernel_constraint: constraints.Constraint | None
    bias_constraint: constraints.Constraint | None
    least_axes = 2

    def __init__(
        self,
        name: str | None = None,
        input_shape: AnyShape | None = None,
        kernel_constraint: constraints.Identifier = None,
        bias_constraint: constraints.Identifier = None,
        **others: Any,
    ):
        super().__init__(name, input_shape, **others)
        self.set_arguments(locals())

    def add_bias(self, z: Array) -> Array:
        """z with the bias, where there is one."""
        return z + self.params["bias"] if self.use_bias else z

    def weight_grads(self, x: Array, dz: Array) -> Grads:
        """For z = x @ kernel + bias, with rows x (M, I), dz (M, O):  dkernel = x^T @ dz,  dbias = sum of dz's rows."""
        grads = {"kernel": (x.T @ dz).reshape(self.params["kernel"].shape)}
        if self.use_bias:
            grads["bias"] = dz.sum(axis=0)
        return grads

    def kernel_shape(self, input_shape: Shape) -> Shape:
        """(..., I, O): its last axis is that of the output."""
        raise NotImplementedError

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        kernel = self.kernel_shape(input_shape)
        return {"kernel": kernel, "bias": kernel[-1:]} if self.use_bias else {"kernel": kernel}

    @property
    def activation_name(self) -> str:
        """The activation as get_config has it: "relu"."""
        return str(as_json(self.activation))

    @property
    def kernel(self) -> Variable:
        """The kernel itself, not a copy. AttributeError before the layer is built."""
        return self._param("kernel")

    @kernel.setter
    def kernel(self, value: Any) -> NoReturn:
        self._refuse_to_set("kernel")

    @property
    def bias(self) -> Variable | None:
        """The bias itself, None without one (use_bias=False). AttributeError before the layer is built."""
        return self._param("bias") if self.use_bias else None

    @bias.setter
    def bias(self, value: Any) -> NoReturn:
        self._refuse_to_set("bias")

    def _param(self, key: str) -> Variable:
        if key in self.params:
            return self.variable(key)
        raise AttributeError(
            f"{self}: {key}: not built yet: call the layer, or give it a place in a model that knows its input"
        )

    def _refuse_to_set(self, key: str) -> NoReturn:
        raise AttributeError(f"{self}: {key}: cannot be replaced: write into it, layer.{key}[:] = ..., or set_weights")
