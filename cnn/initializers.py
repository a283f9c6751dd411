"""How the weights start: random numbers of the right size, so that signals neither fade nor explode."""

import math

import numpy as np


class Zeros:
    """All zeros: where biases start."""

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
        return np.zeros(shape, dtype)


class GlorotUniform:
    """Uniform in [-L, L], L = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010; Keras' default)."""

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        limit = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape).astype(dtype)


class HeNormal:
    """Normal with variance 2 / fan_in, cut off at two standard deviations (He et al., 2015).

    The cut makes the spread smaller; dividing by 0.8796..., the standard deviation of a
    normal variable cut at 2, brings it back to sqrt(2 / fan_in), as Keras does.
    """

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
        fan_in, _ = fans(shape)
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.standard_normal(np.count_nonzero(outside))
        return (values * (math.sqrt(2 / fan_in) / 0.87962566103423978)).astype(dtype)


TABLE = {"glorot_uniform": GlorotUniform, "he_normal": HeNormal, "zeros": Zeros}


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs feed one output and how many outputs one input feeds, for a kernel (..., I, O)."""
    if len(shape) < 2:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def get(identifier):
    """An initializer from its name, its class or itself. Raises ValueError for anything else."""
    if isinstance(identifier, str) and identifier.lower() in TABLE:
        return TABLE[identifier.lower()]()
    if isinstance(identifier, type) and identifier in TABLE.values():
        return identifier()
    if isinstance(identifier, tuple(TABLE.values())):
        return identifier
    raise ValueError(f"initializer: expected one of {', '.join(map(repr, TABLE))}, got {identifier!r}")


def name_of(initializer) -> str:
    """The name under which `get` finds this initializer."""
    return next(name for name, kind in TABLE.items() if isinstance(initializer, kind))
