"""How the weights start: random numbers of the right size, so that signals neither fade nor explode.

Those of one kind, for a layer's kernel, differ in three words only: see FanScaled.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cnn import checks, utils
from cnn.configurable import Configurable, find, table
from cnn.configurable import serialize as serialize

Array = np.ndarray
Rng = np.random.Generator


class Initializer(Configurable):
    """What fills a parameter of a given shape; one of your own is its `values`.

    >>> get("zeros")((2,), np.random.default_rng(0))
    array([0., 0.], dtype=float32)
    """

    seed: int | None = None  # of random ones: with it they give the same numbers each time, as in Keras

    def __init__(self, **unsupported: Any):
        self.set_arguments(locals())

    def __call__(self, shape: tuple[int, ...], rng: Rng | None = None, dtype: Any = np.float32) -> Array:
        """The numbers: drawn from rng, or as `seed` says; without both they are others at each call."""
        if self.seed is not None or rng is None:
            rng = utils.lone_layer_generator() if self.seed is None else np.random.default_rng(self.seed)
        return self.values(tuple(shape), rng).astype(np.float32 if dtype is None else dtype, copy=False)

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """The numbers in float64."""
        raise NotImplementedError


class Constant(Initializer):
    """All the same number.

    >>> Constant(0.5)((3,))
    array([0.5, 0.5, 0.5], dtype=float32)
    """

    identifier = "constant"
    value: float
    arguments = {"value": partial(checks.number, low=-math.inf)}

    def __init__(self, value: float = 0.0, **unsupported: Any):
        self.set_arguments(locals())

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        return np.full(shape, self.value)


class Zeros(Initializer):
    """All zeros: where biases start.

    >>> Zeros()((3,))
    array([0., 0., 0.], dtype=float32)
    """

    identifier = "zeros"

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        return np.zeros(shape)


class Ones(Initializer):
    """All ones: where the scale of a normalization starts.

    >>> Ones()((3,))
    array([1., 1., 1.], dtype=float32)
    """

    identifier = "ones"

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        return np.ones(shape)


# ---- random numbers of a size that is given


class RandomUniform(Initializer):
    """Uniform in [minval, maxval).

    >>> numbers = RandomUniform(0, 2, seed=1)((1000,))
    >>> bool((numbers >= 0).all() and (numbers < 2).all()), round(float(numbers.mean()))
    (True, 1)
    """

    identifier = "random_uniform"
    minval: float
    maxval: float
    arguments = {**dict.fromkeys(("minval", "maxval"), partial(checks.number, low=-math.inf)), "seed": checks.seed}

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None, **unsupported: Any):
        self.set_arguments(locals())
        if self.minval > self.maxval:
            raise ValueError(f"{self}: minval and maxval: expected the smaller one first, got {minval} and {maxval}")

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        return rng.uniform(self.minval, self.maxval, shape)


class RandomNormal(Initializer):
    """Normal, with this mean and standard deviation.

    >>> numbers = RandomNormal(mean=3, stddev=0.1, seed=1)((1000,))
    >>> print(f"{numbers.mean():.1f} {numbers.std():.1f}")
    3.0 0.1
    """

    identifier = "random_normal"
    mean: float
    stddev: float
    arguments = {"mean": partial(checks.number, low=-math.inf), "stddev": checks.number, "seed": checks.seed}

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None, **unsupported: Any):
        self.set_arguments(locals())

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        return self.mean + self.stddev * rng.standard_normal(shape)


class TruncatedNormal(RandomNormal):
    """Normal, but what is more than two standard deviations from the mean is drawn again.

    >>> numbers = TruncatedNormal(stddev=0.5, seed=1)((1000,))
    >>> bool(np.abs(numbers).max() <= 1)
    True
    """

    identifier = "truncated_normal"

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        return self.mean + self.stddev * cut_normal(shape, rng)


# ---- random numbers of the size that a kernel's shape asks for


class FanScaled(Initializer):
    """Random numbers whose variance is scale / n: n the fan_in, the fan_out or their mean, fan_avg.

    "uniform" draws them in [-L, L], whose variance is L^2 / 3, so L = sqrt(3 * scale / n). "truncated_normal" cuts
    normal ones off at two standard deviations. The cut makes the spread smaller; dividing by 0.8796..., the standard
    deviation of a normal variable cut at 2, brings it back to sqrt(scale / n), as Keras does.

    >>> print(f"{HeUniform(seed=0)((200, 100)).std():.2f}, and sqrt(2 / 200) is {math.sqrt(2 / 200):.2f}")
    0.10, and sqrt(2 / 200) is 0.10
    """

    scale = 1.0
    mode = "fan_in"
    distribution = "truncated_normal"
    arguments = {"seed": checks.seed}
    at_default = {"input_axes": None, "output_axes": None}

    def __init__(self, seed: int | None = None, **unsupported: Any):
        self.set_arguments(locals())

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        if self.distribution == "uniform":
            limit = math.sqrt(3 * self.scale / n)
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return rng.standard_normal(shape) * math.sqrt(self.scale / n)
        return cut_normal(shape, rng) * (math.sqrt(self.scale / n) / 0.87962566103423978)


class GlorotUniform(FanScaled):
    """Uniform in [-L, L], L = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010; Keras' default).

    >>> kernel = GlorotUniform()((100, 50), np.random.default_rng(0))
    >>> bool(np.abs(kernel).max() <= math.sqrt(6 / 150))
    True
    """

    identifier, mode, distribution = "glorot_uniform", "fan_avg", "uniform"


class GlorotNormal(FanScaled):
    """Normal with variance 2 / (fan_in + fan_out), cut off at two standard deviations (Glorot and Bengio, 2010).

    >>> print(f"{GlorotNormal(seed=0)((150, 50)).std():.2f}")
    0.10
    """

    identifier, mode = "glorot_normal", "fan_avg"


class HeUniform(FanScaled):
    """Uniform in [-L, L], L = sqrt(6 / fan_in): for layers with a ReLU, which halves the variance (He et al., 2015).

    >>> print(f"{HeUniform(seed=0)((600, 50)).max():.2f}")
    0.10
    """

    identifier, scale, distribution = "he_uniform", 2.0, "uniform"


class HeNormal(FanScaled):
    """Normal with variance 2 / fan_in, cut off at two standard deviations (He et al., 2015).

    >>> kernel = HeNormal()((200, 100), np.random.default_rng(0))
    >>> print(f"{kernel.std():.2f}, and sqrt(2 / 200) is {math.sqrt(2 / 200):.2f}")
    0.10, and sqrt(2 / 200) is 0.10
    """

    identifier, scale = "he_normal", 2.0


class LecunUniform(FanScaled):
    """Uniform in [-L, L], L = sqrt(3 / fan_in) (LeCun et al., 1998).

    >>> print(f"{LecunUniform(seed=0)((300, 50)).max():.2f}")
    0.10
    """

    identifier, distribution = "lecun_uniform", "uniform"


class LecunNormal(FanScaled):
    """Normal with variance 1 / fan_in, cut off at two standard deviations (LeCun et al., 1998; selu's).

    >>> print(f"{LecunNormal(seed=0)((100, 50)).std():.2f}")
    0.10
    """

    identifier = "lecun_normal"


class VarianceScaling(FanScaled):
    """FanScaled with all its words given.

    >>> print(f"{VarianceScaling(4.0, 'fan_out', 'untruncated_normal', seed=0)((50, 100)).std():.1f}")
    0.2
    """

    identifier = "variance_scaling"
    arguments = {
        "scale": checks.number,
        "mode": partial(checks.choice, allowed=("fan_in", "fan_out", "fan_avg")),
        "distribution": partial(checks.choice, allowed=("truncated_normal", "untruncated_normal", "uniform")),
        "seed": checks.seed,
    }

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        **unsupported: Any,
    ):
        self.set_arguments(locals())


# ---- matrices


class Orthogonal(Initializer):
    """Columns of length gain at right angles to each other, or rows where there are fewer: products keep their size.

    The kernel as a matrix (..., O) of normal numbers is q @ r with q orthogonal and r triangular; q is taken, each
    column with the sign that makes r's diagonal positive, or it would not be uniform (Saxe et al., 2014).

    >>> kernel = Orthogonal(seed=0)((3, 2))
    >>> bool(np.allclose(kernel.T @ kernel, np.eye(2), atol=1e-6))
    True
    """

    identifier = "orthogonal"
    gain: float
    arguments = {"gain": partial(checks.number, low=-math.inf), "seed": checks.seed}

    def __init__(self, gain: float = 1.0, seed: int | None = None, **unsupported: Any):
        self.set_arguments(locals())

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        if len(shape) < 2:
            raise ValueError(f"{self}: expected a shape of two axes or more, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """gain where row and column are equal, else 0: a Dense layer that at first hands on what it gets.

    >>> Identity()((2, 3))
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """

    identifier = "identity"
    gain: float
    arguments = {"gain": partial(checks.number, low=-math.inf)}

    def __init__(self, gain: float = 1.0, **unsupported: Any):
        self.set_arguments(locals())

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        if len(shape) != 2:
            raise ValueError(f"{self}: expected a shape of two axes, got {shape}")
        return self.gain * np.eye(*shape)


def cut_normal(shape: tuple[int, ...], rng: Rng) -> Array:
    """Normal numbers, those beyond 2 and -2 drawn again."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(np.count_nonzero(outside))
    return values


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs feed one output and how many outputs one input feeds, for a kernel (..., I, O).

    >>> fans((3, 3, 32, 64))
    (288, 576)
    """
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


class OfOnesOwn(Initializer):
    """A function(shape, dtype) of one's own, or an object with such a __call__, as Keras takes them.

    >>> get(lambda shape, dtype=None: np.full(shape, 0.5))((2,))
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def values(self, shape: tuple[int, ...], rng: Rng) -> Array:
        values = checks.numeric_array(str(self), "result", self.function(shape, dtype="float32"))
        if values.shape != shape:
            raise ValueError(f"{self}: expected numbers of shape {shape}, got {values.shape}")
        return values

    def as_argument(self) -> str:
        return str(self)  # a name that no file can mean

    def __str__(self) -> str:
        return f"<{getattr(self.function, '__name__', type(self.function).__name__)}>"


# ---- found by name

Identifier = str | Initializer | type[Initializer] | Callable | None  # how users may ask for one
MATRICES = (Identity, Orthogonal)
FANS = (GlorotNormal, GlorotUniform, HeNormal, HeUniform, LecunNormal, LecunUniform, VarianceScaling)
TABLE: dict[str, type[Initializer]] = table(
    *(Constant, *FANS, *MATRICES, Ones, RandomNormal, RandomUniform, TruncatedNormal, Zeros)
)
constant, ones, zeros, identity, orthogonal = Constant, Ones, Zeros, Identity, Orthogonal  # Keras' other names
glorot_normal, glorot_uniform, he_normal, he_uniform = GlorotNormal, GlorotUniform, HeNormal, HeUniform
lecun_normal, lecun_uniform, variance_scaling = LecunNormal, LecunUniform, VarianceScaling
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
OTHER_NAMES = {"normal": RandomNormal, "uniform": RandomUniform, "one": Ones, "zero": Zeros}


def get(identifier: Any, where: str = "initializer") -> Initializer:
    """An initializer from its name, its class, itself or its configuration. Raises ValueError for anything else.

    None is glorot_uniform, also for a bias: what Keras' layers make of it.
    """
    expected = f"{where}: expected one of {', '.join(map(repr, TABLE))}"
    chosen = GlorotUniform if identifier is None else identifier
    own_call = isinstance(chosen, Initializer) and type(chosen).__call__ is not Initializer.__call__
    if own_call or (callable(chosen) and not isinstance(chosen, Initializer | type)):
        return OfOnesOwn(chosen)
    return find({**TABLE, **OTHER_NAMES}, Initializer, chosen, expected)


deserialize = get


def argument(where: str, name: str, value: Any) -> Initializer:
    """`get` as the check of a layer's argument."""
    return get(value, f"{where}: {name}")
