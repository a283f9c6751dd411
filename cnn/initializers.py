"""How the weights start: random numbers of the right size, so that signals neither fade nor explode."""

import math
from typing import Any

import numpy as np

from cnn.configurable import Configurable, find, table

Array = np.ndarray


class Initializer(Configurable):
    """What fills a parameter of a given shape: a function of shape, generator and dtype.

    >>> get("zeros")((2,), np.random.default_rng(0))
    array([0., 0.], dtype=float32)
    """

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> Array:
        raise NotImplementedError


class Zeros(Initializer):
    """All zeros: where biases start.

    >>> Zeros()((3,), np.random.default_rng(0))
    array([0., 0., 0.], dtype=float32)
    """

    identifier = "zeros"

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> Array:
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """All ones: where the scale of a normalization starts.

    >>> Ones()((3,), np.random.default_rng(0))
    array([1., 1., 1.], dtype=float32)
    """

    identifier = "ones"

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> Array:
        return np.ones(shape, dtype)


class GlorotUniform(Initializer):
    """Uniform in [-L, L], L = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010; Keras' default).

    >>> kernel = GlorotUniform()((100, 50), np.random.default_rng(0))
    >>> bool(np.abs(kernel).max() <= math.sqrt(6 / 150))
    True
    """

    identifier = "glorot_uniform"

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> Array:
        fan_in, fan_out = fans(shape)
        limit = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape).astype(dtype)


class HeNormal(Initializer):
    """Normal with variance 2 / fan_in, cut off at two standard deviations (He et al., 2015).

    The cut makes the spread smaller; dividing by 0.8796..., the standard deviation of a
    normal variable cut at 2, brings it back to sqrt(2 / fan_in), as Keras does.

    >>> kernel = HeNormal()((200, 100), np.random.default_rng(0))
    >>> print(f"{kernel.std():.2f}, and sqrt(2 / 200) is {math.sqrt(2 / 200):.2f}")
    0.10, and sqrt(2 / 200) is 0.10
    """

    identifier = "he_normal"

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.float32) -> Array:
        fan_in, _ = fans(shape)
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.standard_normal(np.count_nonzero(outside))
        return (values * (math.sqrt(2 / fan_in) / 0.87962566103423978)).astype(dtype)


Identifier = str | Initializer | type[Initializer]  # how users may ask for one
TABLE: dict[str, type[Initializer]] = table(GlorotUniform, HeNormal, Ones, Zeros)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs feed one output and how many outputs one input feeds, for a kernel (..., I, O).

    >>> fans((3, 3, 32, 64))
    (288, 576)
    """
    if len(shape) < 2:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def get(identifier: Any, where: str = "initializer") -> Initializer:
    """An initializer from its name, its class or itself. Raises ValueError for anything else."""
    return find(TABLE, Initializer, identifier, f"{where}: expected one of {', '.join(map(repr, TABLE))}")


def argument(where: str, name: str, value: Any) -> Initializer:
    """`get` as the check of a layer's argument."""
    return get(value, f"{where}: {name}")
