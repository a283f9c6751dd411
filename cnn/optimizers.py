"""How a gradient becomes a step: SGD and Adam, with Keras' formulas.

update(params, grads) changes the parameters in place. What an optimizer remembers
between steps lies in `state`: one array for each slot and parameter.
"""

import math

import numpy as np

from cnn import checks
from kernels.adam import adam_update

Params = dict[str, np.ndarray]


class Optimizer:
    """What all optimizers share: a learning rate, a step counter, and slots the shape of the parameters."""

    slots: tuple[str, ...] = ()

    def __init__(self, learning_rate, name, **unsupported):
        self.name = name or type(self).__name__.lower()
        for argument in unsupported:
            raise ValueError(f"{self.name}: the argument {argument!r} is not supported here")
        self.learning_rate = learning_rate
        self.iterations = 0  # steps taken
        self.state: dict[str, Params] = {}  # slot -> parameter's name -> array

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._learning_rate = checks.number(self.name, "learning_rate", value)

    def update(self, params: Params, grads: Params) -> None:
        """One step: change each array of params by what the array of the same name in grads asks for.

        Raises ValueError, and changes nothing, where the names differ or what is remembered is of another shape.
        """
        if params.keys() != grads.keys():
            raise ValueError(f"{self.name}: expected gradients for {sorted(params)}, got {sorted(grads)}")
        for slot in self.slots:
            values = self.state.setdefault(slot, {})
            for key, value in params.items():
                if key not in values:
                    values[key] = np.zeros_like(value)
                self._check_slot(slot, key, values[key], value)
        self.iterations += 1
        for key, value in params.items():
            self.step(value, grads[key], *(self.state[slot][key] for slot in self.slots))

    def _check_slot(self, slot, key, old, param):
        if (old.shape, old.dtype) != (param.shape, param.dtype):  # the kernels behind `step` would not notice
            raise ValueError(
                f"{self.name}: {slot} of {key}: expected shape {param.shape}, {param.dtype}, got {old.shape}, {old.dtype}: "
                "the layers have changed, or this optimizer trains another model. Call compile() with a new one."
            )

    def step(self, w, g, *slots):
        raise NotImplementedError


class SGD(Optimizer):
    """w += -learning_rate * g

    With momentum:  v = momentum * v - learning_rate * g,  w += v
    and Nesterov's: w += momentum * v - learning_rate * g  with that new v.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, name=None, **unsupported):
        super().__init__(learning_rate, name, **unsupported)
        self.momentum = checks.number(self.name, "momentum", momentum, 0, 1)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, w, g, v=None):
        if v is None:
            w -= self.learning_rate * g
            return
        v *= self.momentum
        v -= self.learning_rate * g
        w += self.momentum * v - self.learning_rate * g if self.nesterov else v

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them."""
        return {
            "name": self.name,
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "nesterov": self.nesterov,
        }


class Adam(Optimizer):
    """m = beta_1 m + (1 - beta_1) g,   v = beta_2 v + (1 - beta_2) g^2
    w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)      in step t

    Kingma and Ba, 2015, in the form before their section 2.1 ("epsilon hat"), as in Keras.
    """

    slots = ("momentum", "velocity")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, name=None, **unsupported):
        super().__init__(learning_rate, name, **unsupported)
        self.beta_1 = checks.number(self.name, "beta_1", beta_1, 0, 1, below=True)
        self.beta_2 = checks.number(self.name, "beta_2", beta_2, 0, 1, below=True)
        self.epsilon = checks.number(self.name, "epsilon", epsilon)

    def step(self, w, g, m, v):
        t = self.iterations
        alpha = self.learning_rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        adam_update(w, g, m, v, alpha, self.beta_1, self.beta_2, self.epsilon)

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them."""
        betas = {"beta_1": self.beta_1, "beta_2": self.beta_2}
        return {"name": self.name, "learning_rate": self.learning_rate, **betas, "epsilon": self.epsilon}


TABLE = {"sgd": SGD, "adam": Adam}


def get(identifier) -> Optimizer:
    """An optimizer from its name, its class or itself, as in Keras. Raises ValueError for anything else."""
    if isinstance(identifier, str) and identifier.lower() in TABLE:
        return TABLE[identifier.lower()]()
    if isinstance(identifier, type) and identifier in TABLE.values():
        return identifier()
    if isinstance(identifier, Optimizer):
        return identifier
    raise ValueError(f"optimizer: expected 'adam', 'sgd' or an optimizer, got {identifier!r}")
