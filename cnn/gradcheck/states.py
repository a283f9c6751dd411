"""What a learner's code may do instead of returning a gradient: each such state gets its sentence.

Code is run through `run`, which turns its exceptions into a Refusal with their own file and line.
"""

import inspect
import linecache
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnn.gradcheck.diagnosis import Diagnosis

Array = np.ndarray
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the package's folder


class Refusal(ValueError):
    """A layer or function cannot be checked; the sentence says what it did."""


def run(what: str, function: Callable, *arguments: Any) -> Any:
    """What the function returns. Raises Refusal for whatever it raises, with the line where that happened."""
    try:
        return function(*arguments)
    except Refusal:
        raise
    except NotImplementedError as error:
        said = f": {error}" if str(error) else ""
        raise Refusal(f"{what}: is not written yet (NotImplementedError{said}){place_of(error)}") from error
    except Exception as error:
        raise Refusal(f"{what}: {type(error).__name__}: {error}{place_of(error)}") from error


def place_of(error: BaseException) -> str:
    """The innermost line that is neither ours nor a library's: ' (at mine.py, line 12: "dx[n] += ...")'."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    if not frames:
        return ""
    frame = frames[-1]
    text = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f" (at {os.path.basename(frame.filename)}, line {frame.lineno}{f': {text}' if text else ''})"


def _is_library(file):
    return file.startswith((HERE, "<")) or "site-packages" in file or os.sep + "numba" + os.sep in file


def positional(function: Callable, *arguments: Any) -> tuple:
    """As many of the arguments as the function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return arguments
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return arguments
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return arguments[: len(taken)]


def forward(name: str, layer: Any, x: Array, training: bool, rng: Any) -> tuple[Array, Any]:
    """(y, cache) of a layer's forward. Raises Refusal where it returns anything else."""
    result = run(f"{name}: forward", layer.forward, *positional(layer.forward, x, training, rng))
    if isinstance(result, np.ndarray):
        raise Refusal(
            f"{name}: forward: expected (y, cache), got y alone: what backward needs is handed to it as cache"
        )
    if not isinstance(result, tuple) or len(result) != 2:
        raise Refusal(f"{name}: forward: expected (y, cache), got {described(result)}")
    y, cache = result
    problem = unusable(y)
    if problem:
        raise Refusal(f"{name}: forward: y: {problem.sentence}")
    if not np.ndim(y) or len(y) != len(x):
        raise Refusal(f"{name}: forward: y: expected a batch of {len(x)} photos, as x is, got shape {np.shape(y)}")
    return y, cache


def backward(name: str, layer: Any, dy: Array, cache: Any) -> tuple[Any, Mapping[str, Any]]:
    """(dx, grads) of a layer's backward, which are not looked at yet. Raises Refusal where it returns anything else."""
    result = run(f"{name}: backward", layer.backward, dy, cache)
    if not isinstance(result, tuple) or len(result) != 2:
        hint = ": without parameters grads is {}" if isinstance(result, np.ndarray) else ""
        raise Refusal(f"{name}: backward: expected (dx, grads), got {described(result)}{hint}")
    if not isinstance(result[1], Mapping):
        raise Refusal(f"{name}: backward: grads: expected a dict of arrays, got {described(result[1])}")
    return result


def described(value: Any) -> str:
    """None, an array of shape (2, 3), a tuple of 3, a float."""
    if value is None:
        return "None: is there a return?"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"{type(value).__name__}"


def unusable(value: Any) -> Diagnosis | None:
    """What keeps a gradient, or y, from being compared at all; a wrong shape is left to others."""
    if value is None:
        return Diagnosis("None", "expected an array, got None")
    if not isinstance(value, np.ndarray | np.generic | float) or np.asarray(value).dtype.kind not in "fiub":
        return Diagnosis("no array", f"expected an array of numbers, got {described(value)}")
    array = np.asarray(value)
    if array.dtype.kind != "f":
        why = f"whole numbers ({array.dtype}) cut the digits off: make the array with dtype=x.dtype"
        return Diagnosis("integers", f"expected an array of floats, got {array.dtype}: {why}")
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        count = f"{np.count_nonzero(bad)} of {array.size} entries are"
        kind = "NaN" if np.isnan(array[place]) else "infinite"
        said = f"{count} not finite, the first at {list(place)}: {array[place]}"
        return Diagnosis(kind, f"expected finite numbers, got {kind}: {said}")
    return None


def misshapen(value: Any, shape: tuple[int, ...]) -> Diagnosis | None:
    """A gradient of another shape than its tensor."""
    if np.shape(value) == shape:
        return None
    return Diagnosis("shape", f"expected the tensor's own shape {shape}, got {np.shape(value)}")


def missing(name: str, grads: Mapping[str, Any]) -> Diagnosis:
    """A parameter whose gradient backward does not return."""
    there = ", ".join(map(repr, grads)) or "none"
    return Diagnosis("missing", f"the gradient is missing: backward's grads need {name!r}, and have {there}")


def extra(name: str, params: Mapping[str, Any]) -> Diagnosis:
    """A gradient of no parameter."""
    there = ", ".join(map(repr, params)) or "none"
    return Diagnosis("extra", f"a gradient of no parameter: the layer has no {name!r} in params (it has {there})")


def require_same(name: str, what: str, before: Array, after: Array, why: str) -> None:
    """Raise Refusal unless two arrays are the same, bit for bit."""
    if before.shape == after.shape and np.array_equal(before, after, equal_nan=True):
        return
    place = ""
    if before.shape == after.shape:
        index = tuple(int(i) for i in np.argwhere(before != after)[0])
        place = f" (at {list(index)}: {before[index]:.6g}, then {after[index]:.6g})"
    raise Refusal(f"{name}: {what}: {why}{place}")
