"""Checks of what users pass in: one clear error each - where, what was expected, what came."""

import math
import sys
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
Axes = int | tuple[int, ...]


def whole(where: str, name: str, value: Any, low: int = 1, high: int = 1_000_000) -> int:
    """value as an int in [low, high], else ValueError."""
    if isinstance(value, Integral) and not isinstance(value, bool | np.bool_) and low <= int(value) <= high:
        return int(value)
    raise ValueError(f"{where}: {name}: expected a whole number from {low} to {high:,}, got {value!r}")


def number(where: str, name: str, value: Any, low: float = 0.0, high: float = math.inf, below: bool = False) -> float:
    """value as a finite float in [low, high], or in [low, high) where `below` is set; else ValueError."""
    real = _real(value)
    if math.isfinite(real) and low <= real and (real < high or (real == high and not below)):
        return real
    limits = f" of at least {low:g}" if high == math.inf else f" in [{low:g}, {high:g}{')' if below else ']'}"
    raise ValueError(f"{where}: {name}: expected a number{limits}, got {value!r}")


def _real(value: Any) -> float:
    """value as a float; NaN for what is no number, infinity for a whole number too large to be a float."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool | np.bool_) else math.nan
    except OverflowError:
        return math.inf


def or_none(check: Callable[..., T]) -> Callable[..., T | None]:
    """The check of an argument that may also be None: whoever leaves it out."""
    return lambda where, name, value: None if value is None else check(where, name, value)


def pair(where: str, name: str, value: Any, low: int = 1) -> tuple[int, int]:
    """A size along height and width: one whole number of at least `low` for both, or two. Else ValueError."""
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) == 2:
        return whole(where, name, both[0], low, 1000), whole(where, name, both[1], low, 1000)
    raise ValueError(f"{where}: {name}: expected one or two whole numbers, got {value!r}")


def axes(where: str, name: str, value: Any) -> Axes:
    """One axis of an array or several, also counted from the end: whole numbers. Else ValueError."""
    if isinstance(value, tuple | list) and len(value) > 0:
        return tuple(whole(where, name, axis, -8, 8) for axis in value)
    return whole(where, name, value, -8, 8)


def choice(where: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """value, in lower case, when it is one of the allowed words; else ValueError."""
    if isinstance(value, str) and value.lower() in allowed:
        return value.lower()
    raise ValueError(f"{where}: {name}: expected {' or '.join(map(repr, allowed))}, got {value!r}")


def padding(where: str, name: str, value: Any) -> str:
    """How a window treats the border: 'valid' or 'same', in lower case; else ValueError."""
    return choice(where, name, value, ("valid", "same"))


def boolean(where: str, name: str, value: Any) -> bool:
    """True or False, also as 1 or 0; else ValueError."""
    if isinstance(value, bool | np.bool_ | Integral) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{where}: {name}: expected True or False, got {value!r}")


def layer_name(where: str, name: str, value: Any) -> str | None:
    """A name for a layer, which stands before the '/' in the names of its parameters, or None; else ValueError."""
    if value is None or (isinstance(value, str) and value and "/" not in value):
        return value
    raise ValueError(f"{where}: {name}: expected a word without '/', got {value!r}")


def shape(where: str, name: str, value: Any) -> tuple[int, ...]:
    """The shape of one photo or row of numbers, without the batch axis; else ValueError."""
    if isinstance(value, Integral):
        value = (value,)
    if isinstance(value, tuple | list) and len(value) > 0:
        return tuple(whole(where, name, size) for size in value)
    raise ValueError(f"{where}: {name}: expected a tuple of whole numbers such as (28, 28, 1), got {value!r}")


def float_type(where: str, name: str, value: Any) -> np.dtype:
    """float32 or float64, from whatever NumPy takes for one of them; else ValueError."""
    try:
        dtype = None if value is None else np.dtype(value).newbyteorder("=")
    except TypeError:
        dtype = None
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"{where}: {name}: expected float32 or float64, got {value!r}")
    return dtype


def names(where: str, name: str, value: Any) -> tuple[str, ...]:
    """value as a tuple of different words; else ValueError. A set has no order, and a word alone is no list of them."""
    in_order = isinstance(value, tuple | list | np.ndarray)
    if not in_order or len(value) == 0 or not all(isinstance(word, str) and word for word in value):
        raise ValueError(f"{where}: {name}: expected a list of names, got {value!r}")
    words = tuple(map(str, value))  # NumPy has strings of its own
    twice = next((word for word in words if words.count(word) > 1), None)
    if twice is not None:
        raise ValueError(f"{where}: {name}: expected different names, got {twice!r} {words.count(twice)} times")
    return words


def parameter(where: str, name: str, value: Any) -> None:
    """Raise ValueError unless a layer's parameter is an array as the kernels take it: numbers and nothing else."""
    if type(value) not in (np.ndarray, np.memmap) or value.dtype not in (np.float32, np.float64):
        got = f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{where}: {name}: expected a NumPy array of float32 or float64, got {got}")


def numeric_array(where: str, name: str, value: Any) -> np.ndarray:
    """value as an array of real numbers (lists are accepted, nothing is copied that need not be); else ValueError."""
    parts = value if isinstance(value, tuple | list) else ()
    if any(map(_is_masked, (value, *parts))):
        raise ValueError(
            f"{where}: {name}: expected an array of numbers, got a masked array: fill or leave out what is masked"
        )
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{where}: {name}: expected an array of numbers, got rows of different lengths") from None
    if array.dtype.kind not in "buif":
        raise ValueError(f"{where}: {name}: expected an array of numbers, got dtype {array.dtype}")
    return array


def _is_masked(value) -> bool:
    """Whether it is a masked array. Who has one has loaded numpy.ma, which is slow to load: it is not loaded to ask."""
    return isinstance(value, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ()))


def real_numbers(where: str, name: str, value: Any, low: float = -math.inf) -> np.ndarray:
    """A number or an array of them as a float64 array of its own, all finite and at least low; else ValueError."""
    array = np.array(numeric_array(where, name, value), np.float64)
    if array.size == 0 or not (np.isfinite(array) & (array >= low)).all():
        limit = "" if low == -math.inf else f" of at least {low:g}"
        raise ValueError(f"{where}: {name}: expected finite numbers{limit}, got {value!r:.100}")
    return array


def seed(where: str, name: str, value: Any) -> int | None:
    """The key of random draws, a whole number, or None; else ValueError."""
    return None if value is None else whole(where, name, value, 0, 2**32 - 1)


def inputs(
    where: str,
    x: Any,
    input_shape: tuple[int, ...] | None,
    dtype: Any = np.float64,
    *,
    name: str = "x",
    least_axes: int = 2,
) -> np.ndarray:
    """x as a batch of at least one photo of the model's input shape, all numbers finite in dtype; else ValueError.

    input_shape None (a model not yet built) accepts any shape of at least `least_axes`, the batch axis among them.
    name: what errors call x.
    """
    array = numeric_array(where, name, x)
    expected = "(N, ...)" if input_shape is None else batch_shape(input_shape)
    if array.ndim < least_axes or (input_shape is not None and array.shape[1:] != input_shape):
        hint = _shape_hint(name, array.shape, input_shape)
        raise ValueError(f"{where}: {name}: expected shape {expected}, got {array.shape}{hint}")
    if array.size == 0:
        raise ValueError(f"{where}: {name}: expected at least one photo, got shape {array.shape}")
    if array.dtype.kind == "f":
        _check_finite(where, name, array, dtype)
    return array


def _check_finite(where: str, name: str, x: np.ndarray, dtype: Any) -> None:
    few = max(1, 2**18 * len(x) // x.size)  # photos, whose mask stays in the cache
    for start in range(0, len(x), few):
        with np.errstate(over="ignore"):
            finite = np.isfinite(x[start : start + few].astype(dtype, copy=False))
        if not finite.all():
            place = tuple(int(i) for i in np.argwhere(~finite)[0])
            place = (start + place[0], *place[1:])
            at = f"{name}[{', '.join(map(str, place))}]"
            why = f", too large for {np.dtype(dtype)}" if np.isfinite(x[place]) else ""
            raise ValueError(f"{where}: {name}: expected finite numbers, got {x[place]} at {at}{why}")


def labels(where: str, y: Any, count: int, classes: int) -> np.ndarray:
    """y as int64 class numbers (N,), one for each of `count` photos, each in [0, classes); else ValueError."""
    numbers = numeric_array(where, "y", y)
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.ndim != 1:
        is_one_hot = numbers.ndim == 2 and numbers.shape[1] == classes
        hint = " (one-hot rows? pass y.argmax(axis=1))" if is_one_hot else ""
        raise ValueError(f"{where}: y: expected class numbers of shape (N,), got shape {numbers.shape}{hint}")
    if len(numbers) != count:
        raise ValueError(
            f"{where}: x and y: expected as many labels as photos, got {count} photos and {len(numbers)} labels"
        )
    wrong = ~((numbers >= 0) & (numbers < classes) & (numbers == np.floor(numbers)))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"{where}: y: expected whole numbers from 0 to {classes - 1}, got {numbers[at]} at y[{at}]")
    return numbers.astype(np.int64)


def targets(
    where: str, y: Any, shape: tuple[int, ...], low: float = -math.inf, high: float = math.inf, hint: str = ""
) -> np.ndarray:
    """y as numbers of the predictions' shape, a last axis of one number added or left out, all from low to high.

    Raises ValueError for anything else; hint: what might help where the shape is another.
    """
    numbers = numeric_array(where, "y", y)
    if numbers.shape[:1] != shape[:1] and numbers.ndim and len(shape) > 1:
        raise ValueError(
            f"{where}: x and y: expected as many labels as photos, got {shape[0]} photos and {len(numbers)} labels"
        )
    if numbers.shape != shape:
        same = shape[-1:] == (1,) and numbers.shape == shape[:-1]
        same |= numbers.shape[-1:] == (1,) and numbers.shape[:-1] == shape
        if not same:
            hint = hint and f" ({hint})"
            raise ValueError(f"{where}: y: expected labels of shape {shape}, got shape {numbers.shape}{hint}")
        numbers = numbers.reshape(shape)
    numbers = numbers if numbers.dtype in (np.float32, np.float64) else numbers.astype(np.float32)
    wrong = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        limits = "finite numbers" if low == -math.inf else f"numbers from {low:g} to {high:g}"
        raise ValueError(f"{where}: y: expected {limits}, got {numbers[place]} at y[{', '.join(map(str, place))}]")
    return numbers


def weights(where: str, value: Any, count: int, name: str = "sample_weight") -> np.ndarray:
    """One weight of at least 0 for each of `count` photos, (N,) or (N, 1), as float64 (N,); else ValueError."""
    numbers = numeric_array(where, name, value)
    if numbers.shape not in ((count,), (count, 1)):
        raise ValueError(f"{where}: {name}: expected one weight a photo, shape ({count},), got {numbers.shape}")
    numbers = numbers.reshape(count).astype(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"{where}: {name}: expected numbers of at least 0, got {numbers[at]} at {name}[{at}]")
    return numbers


def batch_shape(input_shape: tuple[int, ...]) -> str:
    """(28, 28, 1) written with its batch axis: '(N, 28, 28, 1)'."""
    return f"(N, {', '.join(map(str, input_shape))})"


def _shape_hint(name: str, given: tuple[int, ...], expected: tuple[int, ...] | None) -> str:
    if given == expected or (expected is None and len(given) == 1):
        return f" (one photo alone? pass {name}[None])"
    if expected is None:
        return ""
    if expected[-1] == 1 and given[1:] == expected[:-1]:
        return f" (the channel axis is missing: pass {name}[..., None])"
    if len(given) == 4 and (*given[2:], given[1]) == expected:
        return f" (channels come last here: pass {name}.transpose(0, 2, 3, 1))"
    return ""


def known(value: T | None) -> T:
    """value, of which the caller knows that it is there by now: the shape of a built layer, a compiled model's loss."""
    assert value is not None
    return value
