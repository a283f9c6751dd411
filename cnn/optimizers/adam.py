"""Adam, and Adam with weight decay."""

import math
from typing import Any

import numpy as np

from cnn import checks
from cnn.optimizers.arguments import BELOW_ONE, bounded
from cnn.optimizers.base import Optimizer
from kernels.adam import adam_update
from kernels.optimizers import amsgrad_update

Array = np.ndarray


class Adam(Optimizer):
    """m = beta_1 m + (1 - beta_1) g,   v = beta_2 v + (1 - beta_2) g^2
    w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)      in step t

    Kingma and Ba, 2015, in the form before their section 2.1 ("epsilon hat"), as in Keras.
    amsgrad: divide by the largest v so far (Reddi et al., 2018).

    The first step is the learning rate, whatever the gradient's size:

    >>> params = {"w": np.array([1.0, 1.0])}
    >>> Adam(0.01).update(params, {"w": np.array([500.0, -0.2])})
    >>> params["w"].round(6)
    array([0.99, 1.01])
    """

    identifier = "adam"
    slots: tuple[str, ...] = ("momentum", "velocity")
    squares = ("velocity", "velocity_hat")
    needs_rows = True
    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool
    arguments = {"beta_1": BELOW_ONE, "beta_2": BELOW_ONE, "epsilon": bounded, "amsgrad": checks.boolean}
    unless = {"amsgrad": False, **Optimizer.unless}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon, "amsgrad": amsgrad})
        if self.amsgrad:
            self.slots = ("momentum", "velocity", "velocity_hat")

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        m, v, *top = slots
        t = self.iterations + 1
        alpha = self.learning_rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        if self.amsgrad:
            amsgrad_update(w, g, m, v, top[0], alpha, self.beta_1, self.beta_2, self.epsilon)
        else:
            adam_update(w, g, m, v, alpha, self.beta_1, self.beta_2, self.epsilon)


class AdamW(Adam):
    """Adam with weight decay: before Adam's step,  w -= learning_rate * weight_decay * w

    Loshchilov and Hutter, 2019: the decay is no part of the gradient, so that Adam does not divide it by sqrt(v).

    >>> params = {"kernel": np.array([1.0]), "bias": np.array([1.0])}
    >>> optimizer = AdamW(0.1, weight_decay=0.5)
    >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
    >>> optimizer.update(params, {"kernel": np.zeros(1), "bias": np.zeros(1)})
    >>> params
    {'kernel': array([0.95]), 'bias': array([1.])}
    """

    identifier = "adamw"

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ):
        options["weight_decay"] = bounded(name or "adamw", "weight_decay", weight_decay)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, name=name, **options)
