"""Optimizers that divide each step by a length that its gradients have had: RMSprop and others."""

from functools import cache, partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.optimizers.arguments import BELOW_ONE, bounded
from cnn.optimizers.base import Optimizer
from kernels import optimizers as kernels

Array = np.ndarray


class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g^2,   w -= learning_rate * g / sqrt(v + epsilon)

    With momentum:  m = momentum * m + learning_rate * g / sqrt(v + epsilon),  w -= m
    centered: with v - a^2, the variance of g, for v, where a = rho a + (1 - rho) g.

    Hinton, 2012.

    >>> params = {"w": np.array([1.0, 1.0])}
    >>> RMSprop(0.01, rho=0.75).update(params, {"w": np.array([500.0, -0.2])})
    >>> params["w"].round(4)
    array([0.98, 1.02])
    """

    identifier = "rmsprop"
    squares = ("velocity",)
    needs_rows = True
    rho: float
    momentum: float
    epsilon: float
    centered: bool
    arguments = {
        "rho": BELOW_ONE,
        "momentum": partial(checks.number, low=0, high=1),
        "epsilon": bounded,
        "centered": checks.boolean,
    }

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"rho": rho, "momentum": momentum, "epsilon": epsilon, "centered": centered})
        wanted = {"velocity": True, "momentum": self.momentum > 0, "average_gradient": self.centered}
        self.slots = tuple(slot for slot, is_wanted in wanted.items() if is_wanted)

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        v, *rest = slots
        m = rest.pop(0) if self.momentum else None
        a = rest.pop(0) if self.centered else None
        kernels.rmsprop_update(w, g, v, m, a, self.learning_rate, self.rho, self.momentum, self.epsilon)


class Adagrad(Optimizer):
    """s = s + g^2,   w -= learning_rate * g / sqrt(s + epsilon)        s begins with initial_accumulator_value

    Duchi, Hazan and Singer, 2011.

    >>> params = {"w": np.array([1.0])}
    >>> Adagrad(0.1, initial_accumulator_value=9).update(params, {"w": np.array([4.0])})
    >>> params["w"].round(6)
    array([0.92])
    """

    identifier = "adagrad"
    slots = squares = ("accumulator",)
    needs_rows = True
    initial_accumulator_value: float
    epsilon: float
    arguments = {"initial_accumulator_value": bounded, "epsilon": bounded}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"initial_accumulator_value": initial_accumulator_value, "epsilon": epsilon})

    def fresh_slot(self, slot: str, param: Array) -> Array:
        if slot == "accumulator":
            return np.full_like(param, self.initial_accumulator_value)
        return super().fresh_slot(slot, param)

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        (s,) = slots
        kernels.adagrad_update(w, g, s, self.learning_rate, self.epsilon)


class Adadelta(Optimizer):
    """s = rho s + (1 - rho) g^2,   d = sqrt(r + epsilon) / sqrt(s + epsilon) * g,   r = rho r + (1 - rho) d^2
    w -= learning_rate * d

    Zeiler, 2012: the step has the unit of w, since d has that of the steps before it.

    >>> params = {"w": np.array([1.0])}
    >>> Adadelta(1.0, rho=0.75, epsilon=1e-4).update(params, {"w": np.array([8.0])})
    >>> params["w"].round(6)
    array([0.98])
    """

    identifier = "adadelta"
    slots = squares = ("accumulated_grad", "accumulated_delta_var")
    needs_rows = True
    rho: float
    epsilon: float
    arguments = {"rho": BELOW_ONE, "epsilon": bounded}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"rho": rho, "epsilon": epsilon})

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        s, r = slots
        kernels.adadelta_update(w, g, s, r, self.learning_rate, self.rho, self.epsilon)


class Lion(Optimizer):
    """w -= learning_rate * sign(beta_1 m + (1 - beta_1) g),   m = beta_2 m + (1 - beta_2) g

    Chen et al., 2023: every weight moves equally far, so a learning rate of a third to a tenth of Adam's is usual.

    >>> params = {"w": np.array([1.0, 1.0, 1.0])}
    >>> Lion(0.01).update(params, {"w": np.array([500.0, -0.2, 0.0])})
    >>> params["w"]
    array([0.99, 1.01, 1.  ])
    """

    identifier = "lion"
    slots = ("momentum",)
    needs_rows = True
    beta_1: float
    beta_2: float
    arguments = {"beta_1": BELOW_ONE, "beta_2": BELOW_ONE}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"beta_1": beta_1, "beta_2": beta_2})

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        (m,) = slots
        kernels.lion_update(w, g, m, self.learning_rate, self.beta_1, self.beta_2)


class WithBetas(Optimizer):
    """What Adamax and Nadam share: Adam's arguments."""

    needs_rows = True
    beta_1: float
    beta_2: float
    epsilon: float
    arguments = {"beta_1": BELOW_ONE, "beta_2": BELOW_ONE, "epsilon": bounded}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(learning_rate, name, **options)
        self.set_arguments({"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon})


class Adamax(WithBetas):
    """m = beta_1 m + (1 - beta_1) g,   u = max(beta_2 u, |g|)
    w -= learning_rate / (1 - beta_1^t) * m / (u + epsilon)      in step t

    Kingma and Ba, 2015, section 7.1: Adam with the largest gradient for the root of the mean of squares.

    >>> params = {"w": np.array([1.0, 1.0])}
    >>> Adamax(0.01).update(params, {"w": np.array([500.0, -0.2])})
    >>> params["w"].round(6)
    array([0.99, 1.01])
    """

    identifier = "adamax"
    slots = ("momentum", "norm")
    squares = ("norm",)

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        m, u = slots
        alpha = self.learning_rate / (1 - self.beta_1 ** (self.iterations + 1))
        kernels.adamax_update(w, g, m, u, alpha, self.beta_1, self.beta_2, self.epsilon)


class Nadam(WithBetas):
    """m and v as Adam's;   w -= learning_rate * (a m + b g) / (sqrt(v / (1 - beta_2^t)) + epsilon)     in step t

    a = u_(t+1) / (1 - u_1 u_2 ... u_(t+1)),   b = (1 - u_t) / (1 - u_1 u_2 ... u_t),   u_t = beta_1 (1 - 0.96^t / 2)

    Dozat, 2016: Nesterov's momentum in Adam, which grows to beta_1 in the first steps.

    >>> params = {"w": np.array([1.0])}
    >>> Nadam(0.01).update(params, {"w": np.array([500.0])})
    >>> params["w"].round(3)
    array([0.989])
    """

    identifier = "nadam"
    slots = ("momentum", "velocity")
    squares = ("velocity",)

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        (m, v), t, beta_1 = slots, self.iterations + 1, self.beta_1
        now, following = (beta_1 * (1 - 0.5 * 0.96**k) for k in (t, t + 1))
        share_m = self.learning_rate * following / (1 - momentum_product(beta_1, t + 1))
        share_g = self.learning_rate * (1 - now) / (1 - momentum_product(beta_1, t))
        correction = 1 / (1 - self.beta_2**t)
        kernels.nadam_update(w, g, m, v, share_m, share_g, correction, beta_1, self.beta_2, self.epsilon)


GROWN = 1000  # steps, after which Nadam's momentum is beta_1 to the last bit


def momentum_product(beta_1: float, steps: int) -> float:
    """u_1 u_2 ... u_steps of Nadam."""
    first = min(steps, GROWN)
    return float(_products(beta_1)[first - 1]) * beta_1 ** (steps - first)


@cache
def _products(beta_1: float) -> Array:
    return np.cumprod(beta_1 * (1 - 0.5 * 0.96 ** np.arange(1, GROWN + 1)))
