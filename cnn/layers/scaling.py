"""Scaling: numbers brought to another range, by factors that are given or measured, not learned."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks, utils
from cnn.layers.base import Array, Grads, Layer, Shape

LEAST_DEVIATION = 1e-7  # what is divided by at least


class ScalingCache(NamedTuple):
    """What backward needs stands in the arguments."""


class Rescaling(Layer):
    """y = x * scale + offset        scale and offset: one number, or one for each channel

    Backward: ∂y/∂x = scale, so  dx = dy * scale

    >>> Rescaling(1 / 127.5, offset=-1)([[0, 127.5, 255]])
    array([[-1.,  0.,  1.]])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ScalingCache]:
        return x * self.scale.astype(x.dtype) + self.offset.astype(x.dtype), ScalingCache()

    def backward(self, dy: Array, cache: ScalingCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy * self.scale.astype(dy.dtype), {}

    # ---- what it is made from

    scale: Array
    offset: Array
    arguments = {"scale": checks.real_numbers, "offset": checks.real_numbers, **Layer.arguments}

    def __init__(self, scale: float | Sequence[float], offset: float | Sequence[float] = 0.0, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())
        if max(self.scale.ndim, self.offset.ndim) > 1:
            got = f"{self.scale.shape} and {self.offset.shape}"
            raise ValueError(f"{self}: scale and offset: expected one number or a row of them, got shapes {got}")

    def infer_shape(self, input_shape: Shape) -> Shape:
        for name in ("scale", "offset"):
            require_fit(self, name, getattr(self, name), (-1,), input_shape)
        return input_shape


def axes_or_none(where: str, name: str, value: Any) -> tuple[int, ...] | None:
    """None, or whole numbers; else ValueError."""
    if value is None:
        return None
    listed = value if isinstance(value, tuple | list) else (value,)
    return tuple(checks.whole(where, name, axis, low=-8, high=7) for axis in listed)


class Normalization(Layer):
    """y = (x - mean) / deviation,  deviation = sqrt(variance), at least 1e-7        invert: y = x * deviation + mean

    Mean and variance are given, or measured by `adapt`; before that they are 0 and 1. There is one of each for every
    place along `axis` (-1: for each channel; None: one for all numbers).

    Backward: neither depends on x, so ∂y/∂x = 1 / deviation,  dx = dy / deviation        invert: dx = dy * deviation

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]]))
    >>> layer.mean, layer.variance
    (array([1., 8.]), array([1., 1.]))
    >>> layer([[3.0, 8.0]])
    array([[2., 0.]])
    """

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ScalingCache]:
        mean, deviation = self.moments(x.ndim, x.dtype)
        return (x * deviation + mean if self.invert else (x - mean) / deviation), ScalingCache()

    def backward(self, dy: Array, cache: ScalingCache, need_dx: bool = True) -> tuple[Array, Grads]:
        _, deviation = self.moments(dy.ndim, dy.dtype)
        return (dy * deviation if self.invert else dy / deviation), {}

    def adapt(self, data: Any) -> None:
        """Measure mean and variance of data (N, ...): an array, or an iterable of batches. Raises ValueError."""
        if not hasattr(data, "__array__") and not isinstance(data, tuple | list):
            data = list(data)  # a generator of batches
        if isinstance(data, list) and all(isinstance(batch, np.ndarray) for batch in data):
            data = np.concatenate(data)
        data = checks.inputs(f"{self}: adapt", data, None, name="data", least_axes=1)
        if self.input_shape is not None:
            self.infer_shape(data.shape[1:])
        kept = self.kept_axes(data.ndim)
        others = tuple(k for k in range(data.ndim) if k not in kept)
        self.mean, self.variance = (np.asarray(f(data, axis=others, dtype=np.float64)) for f in (np.mean, np.var))

    def moments(self, axes: int, dtype: Any) -> tuple[Array, Array]:
        """Mean and deviation, shaped so that they fit to an x of so many axes."""
        deviation = np.maximum(np.sqrt(self.variance), LEAST_DEVIATION)
        shape = [1] * axes
        for axis, size in zip(self.kept_axes(axes)[::-1], self.mean.shape[::-1], strict=False):
            shape[axis] = size
        return self.mean.reshape(shape).astype(dtype), deviation.reshape(shape).astype(dtype)

    def kept_axes(self, axes: int) -> list[int]:
        """The axes of an x of so many, in order, along which there are several means. Raises ValueError."""
        for axis in self.axis or ():
            if not -axes <= axis < axes or axis % axes == 0:
                counted = f"1 to {axes - 1}, or -1" if axes > 1 else "None"
                raise ValueError(f"{self}: axis: expected {counted} for an input of {axes} axes, got {axis}")
        return sorted({axis % axes for axis in self.axis or ()})

    # ---- what it is made from

    axis: tuple[int, ...] | None
    mean: Array
    variance: Array
    invert: bool
    arguments = {
        "axis": axes_or_none,
        "mean": checks.real_numbers,
        "variance": partial(checks.real_numbers, low=0),
        "invert": checks.boolean,
        **Layer.arguments,
    }

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        invert: bool = False,
        **others: Any,
    ):
        super().__init__(**others)
        if (mean is None) != (variance is None):
            got = "mean" if variance is None else "variance"
            raise ValueError(f"{self}: mean and variance: expected both or none, got {got} alone")
        mean, variance = (0.0, 1.0) if mean is None else (mean, variance)
        self.set_arguments(locals())
        if self.mean.shape != self.variance.shape or self.mean.ndim > len(self.axis or ()):
            expected = f"expected one shape of at most {len(self.axis or ())} axes"
            got = f"{self.mean.shape} and {self.variance.shape}"
            raise ValueError(f"{self}: mean and variance: {expected}, got {got}")

    def infer_shape(self, input_shape: Shape) -> Shape:
        kept = self.kept_axes(1 + len(input_shape))
        require_fit(self, "mean", self.mean, [axis - 1 for axis in kept], input_shape)
        return input_shape


def require_fit(layer: Layer, name: str, values: Array, axes: Sequence[int], input_shape: Shape) -> None:
    """Raise ValueError unless there is one value, or one for each place along these axes of a photo, the last ones."""
    for axis, size in zip(axes[::-1], values.shape[::-1], strict=False):
        if axis >= -len(input_shape) and size not in (1, input_shape[axis]):
            raise ValueError(
                f"{layer}: {name}: expected one number or {input_shape[axis]} for input {input_shape}, got {size}"
            )
