"""How a gradient becomes a step: SGD and Adam, with Keras' formulas.

update(params, grads) changes the parameters in place. What an optimizer remembers
between steps lies in `state`: one array for each slot and parameter.
"""

import math
import weakref
from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Configurable, find, table
from kernels.adam import adam_update

Array = np.ndarray
Params = dict[str, Array]
LARGEST = 1e30  # of a learning rate or an epsilon: float32 can still compute with it


def bounded(where: str, name: str, value: Any) -> float:
    """value as a float from 0 to LARGEST, else ValueError."""
    number = checks.number(where, name, value)
    if number > LARGEST:
        raise ValueError(f"{where}: {name}: expected a number of at most {LARGEST:g}, got {value!r}")
    return number


BELOW_ONE = partial(checks.number, low=0, high=1, below=True)


class Optimizer(Configurable):
    """What all optimizers share: a learning rate, a step counter, and slots the shape of the parameters.

    One of your own lists its `arguments` as a layer does (see Configurable), the names of its `slots`, and its `step`.

    >>> class SignDescent(Optimizer):
    ...     '''w -= learning_rate * sign(g)'''
    ...
    ...     def step(self, w, g):
    ...         w -= self.learning_rate * np.sign(g)
    >>> params = {"w": np.array([1.0, 1.0])}
    >>> SignDescent(0.25).update(params, {"w": np.array([7.0, -0.1])})
    >>> params["w"]
    array([0.75, 1.25])
    """

    slots: tuple[str, ...] = ()
    _model: weakref.ref | None = None  # the one that it trains, from the first step on

    def __init__(self, learning_rate: float, name: str | None = None, **unsupported: Any):
        self.name = name or type(self).__name__.lower()
        self.set_arguments(locals())
        self.learning_rate = learning_rate
        self.iterations = 0  # steps taken
        self.state: dict[str, Params] = {}  # slot -> parameter's name -> array

    @property
    def learning_rate(self) -> float:
        """How long a step is; checked whenever it is set."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = bounded(self.name, "learning_rate", value)

    def belong_to(self, model: Any) -> None:
        """Train this model from now on. Raises ValueError where it has trained another, whose moments it remembers."""
        if self._model is not None and self._model() is not model:
            raise ValueError(
                f"{model}: {self.name}: expected an optimizer of its own, got one that has trained another model. "
                "Call compile() with a new one."
            )
        self._model = weakref.ref(model)

    @property
    def variables(self) -> list[Array]:
        """All that it remembers, as Keras lists it: the steps taken, the learning rate, the slots."""
        slots = [array for values in self.state.values() for array in values.values()]
        return [np.array(self.iterations, np.int64), np.array(self.learning_rate, np.float32), *slots]

    def __getstate__(self) -> dict:
        """What a copy or a file gets: the copy is free to train another model."""
        return {key: value for key, value in vars(self).items() if key != "_model"}

    def update(self, params: Params, grads: Params) -> None:
        """One step: change each array of params by what the array of the same name in grads asks for.

        Raises ValueError, and changes nothing, where the names differ or what is remembered is of another shape.
        """
        if params.keys() != grads.keys():
            raise ValueError(f"{self.name}: expected gradients for {sorted(params)}, got {sorted(grads)}")
        for key, value in params.items():
            self._check_parameter(key, value)
        for slot in self.slots:
            values = self.state.setdefault(slot, {})
            for key, value in params.items():
                if key not in values:
                    values[key] = np.zeros_like(value)
                self._check_slot(slot, key, values[key], value)
        self.iterations += 1
        for key, value in params.items():
            self.step(value, grads[key], *(self.state[slot][key] for slot in self.slots))

    def _check_parameter(self, key: str, value: Array) -> None:
        checks.parameter(self.name, key, value)
        if not value.flags.writeable:
            raise ValueError(f"{self.name}: {key}: expected an array that can be changed, got one that is read-only")

    def _check_slot(self, slot: str, key: str, old: Array, param: Array) -> None:
        if (old.shape, old.dtype) != (param.shape, param.dtype):  # the kernels behind `step` would not notice
            raise ValueError(
                f"{self.name}: {slot} of {key}: expected shape {param.shape}, {param.dtype}, "
                f"got {old.shape}, {old.dtype}: "
                "the layers have changed, or this optimizer trains another model. Call compile() with a new one."
            )

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        """Change w, and what is remembered of it in the slots, in place, by the gradient g."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "learning_rate": self.learning_rate, **super().get_config()}

    def __str__(self) -> str:
        return self.name


class SGD(Optimizer):
    """w += -learning_rate * g

    With momentum:  v = momentum * v - learning_rate * g,  w += v
    and Nesterov's: w += momentum * v - learning_rate * g  with that new v.

    >>> params = {"w": np.array([1.0, 1.0])}
    >>> SGD(learning_rate=0.1).update(params, {"w": np.array([2.0, -1.0])})
    >>> params["w"]
    array([0.8, 1.1])
    >>> SGD(momentum=0.9)
    SGD(momentum=0.9)
    """

    identifier = "sgd"
    momentum: float
    nesterov: bool
    arguments = {"momentum": partial(checks.number, low=0, high=1), "nesterov": checks.boolean}

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(learning_rate, name, **unsupported)
        self.set_arguments(locals())
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        if not slots:
            w -= self.learning_rate * g
            return
        (v,) = slots
        v *= self.momentum
        v -= self.learning_rate * g
        w += self.momentum * v - self.learning_rate * g if self.nesterov else v


class Adam(Optimizer):
    """m = beta_1 m + (1 - beta_1) g,   v = beta_2 v + (1 - beta_2) g^2
    w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)      in step t

    Kingma and Ba, 2015, in the form before their section 2.1 ("epsilon hat"), as in Keras.

    The first step is the learning rate, whatever the gradient's size:

    >>> params = {"w": np.array([1.0, 1.0])}
    >>> Adam(0.01).update(params, {"w": np.array([500.0, -0.2])})
    >>> params["w"].round(6)
    array([0.99, 1.01])
    """

    identifier = "adam"
    slots = ("momentum", "velocity")
    beta_1: float
    beta_2: float
    epsilon: float
    arguments = {"beta_1": BELOW_ONE, "beta_2": BELOW_ONE, "epsilon": bounded}

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(learning_rate, name, **unsupported)
        self.set_arguments(locals())

    def _check_parameter(self, key: str, value: Array) -> None:
        super()._check_parameter(key, value)
        if not value.flags.c_contiguous:  # its kernel reads row after row
            raise ValueError(f"{self.name}: {key}: expected an array that lies row after row (np.ascontiguousarray)")

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        m, v = slots
        t = self.iterations
        alpha = self.learning_rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        adam_update(w, g, m, v, alpha, self.beta_1, self.beta_2, self.epsilon)


TABLE: dict[str, type[Optimizer]] = table(SGD, Adam)


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, its class or itself, as in Keras. Raises ValueError for anything else."""
    return find(TABLE, Optimizer, identifier, "optimizer: expected 'adam', 'sgd' or an optimizer")
