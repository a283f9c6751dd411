"""Learning rates that follow the steps: an optimizer takes one for its learning_rate, and asks it before each step.

Each is a formula over steps that count from 0. Called with one step it gives a number, with an array of steps an array.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.configurable import Check, Configurable
from cnn.optimizers.arguments import bounded, positive

Array = np.ndarray


class LearningRateSchedule(Configurable):
    """One of your own has `__call__(step)`.

    >>> class Halves(LearningRateSchedule):
    ...     '''0.1 / 2^(step // 1000)'''
    ...
    ...     def __call__(self, step):
    ...         return 0.1 / 2 ** (step // 1000)
    >>> from cnn.optimizers import SGD
    >>> SGD(Halves()).learning_rate
    0.1
    """

    name: str | None

    def __call__(self, step: ArrayLike) -> Any:
        """The learning rate of this step, counted from 0: a float, or an array for an array of steps."""
        with np.errstate(over="ignore", invalid="ignore"):
            rates = self.rates(np.asarray(step, np.float64))
        return float(rates) if np.ndim(rates) == 0 else rates

    def rates(self, step: Array) -> Array:
        """The formula, over an array of steps."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule that said this of itself in get_config."""
        return cls(**config)


def _numbers(where: str, name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) == 0:
        raise ValueError(f"{where}: {name}: expected a list of numbers, got {value!r}")
    return tuple(bounded(where, name, number) for number in value)


def _rising(where: str, name: str, value: Any) -> tuple[float, ...]:
    numbers = _numbers(where, name, value)
    if list(numbers) != sorted(set(numbers)):
        raise ValueError(f"{where}: {name}: expected numbers that rise, got {value!r}")
    return numbers


CHECKS: dict[str, Check] = {  # of every argument that a constructor here has
    **dict.fromkeys(("initial_learning_rate", "end_learning_rate", "decay_rate", "power", "alpha", "m_mul"), bounded),
    **dict.fromkeys(("decay_steps", "first_decay_steps"), positive),
    **dict.fromkeys(("staircase", "cycle"), checks.boolean),
    "boundaries": _rising,
    "values": _numbers,
    "warmup_target": checks.or_none(bounded),
    "warmup_steps": bounded,
    "t_mul": partial(checks.number, low=1, high=1e6),
    "name": checks.layer_name,
}


class _Formula(LearningRateSchedule):
    """What the schedules below share: their arguments are those that the constructor shows."""

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool
    alpha: float

    def __init_subclass__(cls) -> None:
        """The arguments are those of the constructor, beside those of the kind that one of your own is made from."""
        shown = {name: CHECKS[name] for name in inspect.signature(cls).parameters if name in CHECKS}
        cls.arguments = {**cls.arguments, **shown}


class _Decay(_Formula):
    """What ExponentialDecay and InverseTimeDecay share."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ):
        self.set_arguments({**locals(), "name": name or type(self).__name__})

    def decays(self, step: Array) -> Array:
        """step / decay_steps; rounded down where it goes in stairs."""
        return np.floor(step / self.decay_steps) if self.staircase else step / self.decay_steps


class ExponentialDecay(_Decay):
    """initial_learning_rate * decay_rate^(step / decay_steps)

    staircase: the exponent is rounded down, so that the rate stays for decay_steps.

    >>> ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.5)(2000)
    0.025
    """

    def rates(self, step: Array) -> Array:
        return self.initial_learning_rate * self.decay_rate ** self.decays(step)


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps)

    staircase: step / decay_steps is rounded down, so that the rate stays for decay_steps.

    >>> InverseTimeDecay(0.1, decay_steps=1000, decay_rate=0.5)(2000)
    0.05
    """

    def rates(self, step: Array) -> Array:
        return self.initial_learning_rate / (1 + self.decay_rate * self.decays(step))


class PiecewiseConstantDecay(_Formula):
    """values[0] up to and with step boundaries[0], then values[1] up to boundaries[1] ..., and values[-1] at the end

    >>> rate = PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001])
    >>> [rate(step) for step in (0, 100, 101, 201)]
    [0.1, 0.1, 0.01, 0.001]
    """

    boundaries: tuple[float, ...]
    values: tuple[float, ...]

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str | None = "PiecewiseConstant"):
        self.set_arguments(locals())
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"{self}: expected one value more than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )

    def rates(self, step: Array) -> Array:
        return np.array(self.values)[np.searchsorted(self.boundaries, step)]


class PolynomialDecay(_Formula):
    """(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps)^power + end_learning_rate

    and end_learning_rate after decay_steps. cycle: instead of that, decay_steps is doubled, tripled, ...

    >>> PolynomialDecay(0.1, decay_steps=1000, end_learning_rate=0)(750)
    0.025
    """

    end_learning_rate: float
    power: float
    cycle: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = "PolynomialDecay",
    ):
        self.set_arguments(locals())

    def rates(self, step: Array) -> Array:
        steps = self.decay_steps * (np.maximum(np.ceil(step / self.decay_steps), 1) if self.cycle else 1)
        left = 1 - np.minimum(step, steps) / steps
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


class CosineDecay(_Formula):
    """initial_learning_rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha), alpha times it at the end

    With warmup_target the rate first rises in a line, in warmup_steps, from initial_learning_rate to warmup_target, and
    falls from there.

    >>> rate = CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
    >>> [round(rate(step), 6) for step in (0, 5, 10, 60, 110, 999)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """

    warmup_target: float | None
    warmup_steps: float

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ):
        self.set_arguments(locals())

    def rates(self, step: Array) -> Array:
        if self.warmup_target is None:
            return self.initial_learning_rate * self._falling(step)
        rise = (self.warmup_target - self.initial_learning_rate) * step / (self.warmup_steps or 1)
        falling = self.warmup_target * self._falling(step - self.warmup_steps)
        return np.where(step < self.warmup_steps, self.initial_learning_rate + rise, falling)

    def _falling(self, step: Array) -> Array:
        cosine = 0.5 * (1 + np.cos(math.pi * np.minimum(step, self.decay_steps) / self.decay_steps))
        return (1 - self.alpha) * cosine + self.alpha


class CosineDecayRestarts(_Formula):
    """A half wave of a cosine as of CosineDecay, in first_decay_steps, and then again and again

    Each is t_mul times as long as the one before and begins m_mul times as high. Loshchilov and Hutter, 2017.

    >>> rate = CosineDecayRestarts(0.1, first_decay_steps=100, t_mul=2, m_mul=0.5)
    >>> [round(rate(step), 6) for step in (0, 50, 100, 200, 300)]
    [0.1, 0.05, 0.05, 0.025, 0.025]
    """

    first_decay_steps: float
    t_mul: float
    m_mul: float

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = "SGDRDecay",
    ):
        self.set_arguments(locals())

    def rates(self, step: Array) -> Array:
        restarts, place = self._wave(step / self.first_decay_steps)
        cosine = 0.5 * self.m_mul**restarts * (1 + np.cos(math.pi * place))
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)

    def _wave(self, done: Array) -> tuple[Array, Array]:
        """Which wave it is, from 0, and how much of it is done, from 0 to 1; done: in lengths of the first wave."""
        if self.t_mul == 1:
            return np.floor(done), done - np.floor(done)
        wave = np.floor(np.log(1 + done * (self.t_mul - 1)) / math.log(self.t_mul))
        wave = wave + (done >= self._beginning(wave + 1))  # where rounding gave the wave before
        return wave, (done - self._beginning(wave)) / self.t_mul**wave

    def _beginning(self, wave: Array) -> Array:
        """1 + t_mul + t_mul^2 + ... + t_mul^(wave - 1)"""
        return (self.t_mul**wave - 1) / (self.t_mul - 1)


TABLE: dict[str, type[LearningRateSchedule]] = {
    kind.__name__: kind
    for kind in (
        ExponentialDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
        InverseTimeDecay,
        CosineDecay,
        CosineDecayRestarts,
    )
}


def as_document(rate: Any) -> Any:
    """A learning rate as JSON can hold it: the number, or {"class_name": ..., "config": ...} of a schedule."""
    if isinstance(rate, float):
        return rate
    kind = type(rate)
    if TABLE.get(kind.__name__) is kind:
        return {"class_name": kind.__name__, "config": rate.get_config()}
    of = kind if isinstance(rate, LearningRateSchedule) else rate
    return {
        "class_name": f"{of.__module__}.{getattr(of, '__qualname__', of)}",
        "config": {},
    }  # of ours none is so named


def from_document(where: str, described: Mapping[str, Any]) -> LearningRateSchedule:
    """The schedule that as_document has described. Raises ValueError for any other."""
    name, config = described.get("class_name"), described.get("config")
    if not isinstance(name, str) or name not in TABLE or not isinstance(config, dict):
        raise ValueError(
            f"{where}: learning_rate: expected a number or one of {', '.join(TABLE)}, got {name!r}, which no file can "
            "describe"
        )
    return TABLE[name](**config)
