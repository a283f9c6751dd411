"""Gradient descent."""

from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.optimizers.base import Optimizer

Array = np.ndarray


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
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"momentum": momentum, "nesterov": nesterov})
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        if not slots:
            w -= self.learning_rate * g
            return
        (v,) = slots
        v *= self.momentum
        v -= self.learning_rate * g
        w += self.momentum * v - self.learning_rate * g if self.nesterov else v
