"""What optimizers and schedules are made from: the checks of their numbers, and the options of all optimizers."""

import math
from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Check

MOST_WORDS = 10_000  # that a step looks for in each parameter's name; a file may have them from an enemy
LARGEST = 1e30  # of a learning rate or an epsilon: float32 can still compute with it
BELOW_ONE = partial(checks.number, low=0, high=1, below=True)


def bounded(where: str, name: str, value: Any) -> float:
    """value as a float from 0 to LARGEST, else ValueError."""
    number = checks.number(where, name, value)
    if number > LARGEST:
        raise ValueError(f"{where}: {name}: expected a number of at most {LARGEST:g}, got {value!r}")
    return number


def positive(where: str, name: str, value: Any) -> float:
    """value as a float above 0 and at most LARGEST, else ValueError."""
    if bounded(where, name, value) == 0:
        raise ValueError(f"{where}: {name}: expected a number above 0, got {value!r}")
    return float(value)


def none_alone(where: str, name: str, value: Any) -> None:
    """None, Keras' default. Raises ValueError for what we do not do."""
    if value is not None:
        raise ValueError(f"{where}: {name}={value!r} is not supported here, only None")


def none_or_zero(where: str, name: str, value: Any) -> None:
    """None, for 0 too, as old scripts say it. Raises ValueError for what neither Keras nor we do any more."""
    none_alone(where, name, value or None)


def words(where: str, name: str, value: Any) -> tuple[str, ...]:
    """A list of at most MOST_WORDS words, perhaps of none; else ValueError."""
    if isinstance(value, list | tuple) and not value:
        return ()
    checked = checks.names(where, name, value)
    if len(checked) > MOST_WORDS:
        raise ValueError(f"{where}: {name}: expected at most {MOST_WORDS} names, got {len(checked)}")
    return checked


# The options of every optimizer: {name: (what it is unless given, the check)}.
OPTIONS: dict[str, tuple[Any, Check]] = {
    "weight_decay": (None, checks.or_none(bounded)),
    **dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm"), (None, checks.or_none(positive))),
    "use_ema": (False, checks.boolean),
    "ema_momentum": (0.99, partial(checks.number, low=0, high=1)),
    "ema_overwrite_frequency": (None, checks.or_none(partial(checks.whole, high=2**40))),
    "loss_scale_factor": (None, none_alone),
    "gradient_accumulation_steps": (None, none_alone),
    "decay": (None, none_or_zero),
    "undecayed": ((), words),  # what exclude_from_weight_decay was told
}


def clipped(optimizer: Any, grads: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradients, made shorter as an optimizer's clipvalue, clipnorm or global_clipnorm asks.

    clipvalue: each number to [-clipvalue, clipvalue]. clipnorm: each array to that length, g * c / max(|g|, c).
    global_clipnorm: the same with the length of all arrays together.
    """
    if optimizer.clipvalue is not None:
        limit = optimizer.clipvalue
        return {key: np.clip(g, -limit, limit) for key, g in grads.items()}
    if optimizer.clipnorm is not None:
        return {key: _shortened(g, optimizer.clipnorm, _length(g)) for key, g in grads.items()}
    if optimizer.global_clipnorm is not None:
        length = math.sqrt(sum(_length(g) ** 2 for g in grads.values()))
        return {key: _shortened(g, optimizer.global_clipnorm, length) for key, g in grads.items()}
    return grads


def _length(g):
    return math.sqrt(np.sum(np.square(g, dtype=np.float64)))


def _shortened(g, limit, length):
    return g if length <= limit else g * (limit / length)
