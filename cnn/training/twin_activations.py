"""The twins of activations that go number by number: their formulas as kernels/activations.py has them, and PReLU."""

import inspect
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.layers import ELU, Elementwise, LeakyReLU, PReLU
from cnn.layers.formulas import FORMULAS
from kernels import elementwise
from kernels.activations import KERNELS

Array = np.ndarray
RISING = {  # formulas that never fall, so that the largest y is that of the largest x
    *("sigmoid", "tanh", "softsign", "elu", "selu", "leaky_relu", "softplus", "relu6", "hard_sigmoid"),
    "bent_relu",
}


class TwinElementwise:
    """y = f(x), dx = dy * f'(x)"""

    draws = False

    def __init__(self, activation: Elementwise, buffer: Any):
        self.name, self.buffer = activation.name, buffer
        self.params: dict[str, Array] = {}
        self.values, self.gradients = KERNELS[activation.formula]
        known = inspect.signature(FORMULAS[activation.formula].function).parameters.values()
        settings = {one.name: one.default for one in known if one.name != "x"} | activation.settings
        self.settings = tuple(map(np.float32, settings.values())) or (np.float32(0),)

    @staticmethod
    def fits(activation: Any) -> bool:
        """Whether it can do this layer. A subclass may compute something else."""
        return type(activation) in (Elementwise, LeakyReLU, ELU) and activation.formula in KERNELS

    @staticmethod
    def rises(activation: Any) -> bool:
        """Whether its y never falls where x grows."""
        return TwinElementwise.fits(activation) and activation.formula in RISING  # no setting is below 0

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple[Array, Array]]:
        """(y, cache), valid until the next pass."""
        x, y = np.ascontiguousarray(x, np.float32), self.buffer("y", *x.shape)
        self.values(y.reshape(-1), x.reshape(-1), self.settings)
        return y, (x, y)

    def backward(self, dy: Array, cache: tuple[Array, Array], need_dx: bool = True) -> tuple[Array, dict]:
        """(dx, {}), valid until the next pass."""
        dx, dy = self.buffer("dx", *dy.shape), np.ascontiguousarray(dy, np.float32)
        self.gradients(dx.reshape(-1), dy.reshape(-1), *(array.reshape(-1) for array in cache), self.settings)
        return dx, {}


class TwinPReLU:
    """PReLU: alpha laid out for all numbers of a photo, whatever it is shared along."""

    draws = False

    def __init__(self, prelu: PReLU, buffer: Any):
        self.prelu, self.name, self.buffer = prelu, prelu.name, buffer
        self.shape = known(prelu.input_shape)

    @property
    def params(self) -> dict[str, Array]:
        """The layer's own."""
        return self.prelu.params

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple[Array, Array]]:
        """(y, cache), valid until the next pass."""
        alpha, y = self.buffer("alpha", *self.shape), self.buffer("y", *x.shape)
        alpha[:] = self.params["alpha"]
        rows = np.ascontiguousarray(x, np.float32).reshape(len(x), -1)
        elementwise.prelu(y.reshape(rows.shape), rows, alpha.reshape(-1))
        return y, (rows, alpha.reshape(-1))

    def backward(self, dy: Array, cache: tuple[Array, Array], need_dx: bool = True) -> tuple[Array, dict]:
        """(dx, grads), valid until the next pass."""
        x, alpha = cache
        dx, shards = self.buffer("dx", *dy.shape), self.buffer.shards(len(dy))
        dalphas = self.buffer("dalphas", len(shards) - 1, len(alpha))
        rows = np.ascontiguousarray(dy, np.float32).reshape(x.shape)
        elementwise.prelu_backward(dx.reshape(x.shape), dalphas, shards, rows, x, alpha)
        return dx, {"alpha": self.buffer.total(dalphas, self.join)}

    def join(self, dalphas: Array) -> Array:
        """dalpha from those of the shards."""
        shared = tuple(axis - 1 for axis in self.prelu.shared_axes or ())
        return elementwise.sum_of(dalphas).reshape(self.shape).sum(axis=shared, keepdims=True)
