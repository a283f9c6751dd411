"""A layer or function from a file of one's own: found by its name, given numbers, and checked."""

import ast
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn.errors import UsageError
from cnn.gradcheck import states, tutorial
from cnn.gradcheck.counterparts import Pooling
from cnn.gradcheck.functions import argument_names, check_function
from cnn.gradcheck.slopes import TOLERANCE, TensorCheck
from cnn.gradcheck.trials import Trial

Array = np.ndarray
Shape = tuple[int, ...]
# What a layer is made with where its constructor asks: sizes that all differ, so that no two mistakes look the same.
ARGUMENTS = {"filters": 4, "units": 5, "kernel_size": (3, 2), "pool_size": (2, 2), "size": 2, "rate": 0.3}
PHOTO, ROW, ARRAY = (6, 5, 2), (7,), (3, 4)
COUNTS = (3, 5, 7, 11)  # photos: a number that is no size of x's or y's channels, so that a factor tells
LABELS = ("y", "labels", "classes", "y_true", "targets", "target")  # arguments that are class numbers, not floats
GRADIENTS = ("{}_gradient", "{}_backward", "{}_grad", "grad_{}", "d{}", "d_{}")


class Own(NamedTuple):
    """What stands in a file under a name."""

    thing: Any  # a layer, or a function
    gradient: Callable | None  # of a function
    name: str


def load(where: str) -> Own:
    """The layer or function of "FILE.py:Name", or of "FILE.py:Name(4, stride=2)", which makes a layer with arguments.

    A class is made an object of; beside a function its gradient is looked for, NAME_gradient or NAME_backward. Raises
    UsageError where the file or the name is not there, Refusal for whatever the file's own code raises.
    """
    file, colon, name = where.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise UsageError(f"expected FILE.py:Name, such as mine.py:Conv2D, got {where!r}")
    name, arguments, named = _call(name)
    module = _module(file)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise UsageError(f"{file}: expected a class or function {name!r}, got {', '.join(own) or 'none'}")
    thing = getattr(module, name)
    if isinstance(thing, type):
        thing = made(thing, arguments, named)
    if hasattr(thing, "forward") and hasattr(thing, "backward"):
        return Own(tutorial.adapted(thing), None, name)
    if not callable(thing):
        raise UsageError(f"{where}: expected a layer, with forward and backward, or a function, got {thing!r:.60}")
    names = [pattern.format(name) for pattern in GRADIENTS] + [name.replace("forward", "backward")]
    gradient = next((getattr(module, other) for other in names if other != name and hasattr(module, other)), None)
    if gradient is None:
        raise UsageError(f"{where}: expected its gradient beside it, a function {names[0]} or {names[1]}")
    return Own(thing, gradient, name)


def _call(text):
    """("Conv2D", (4,), {"stride": 2}) of "Conv2D(4, stride=2)". Raises UsageError for what is no such call."""
    try:
        node = ast.parse(text, mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, (), {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
            return node.func.id, tuple(map(ast.literal_eval, node.args)), named
    except (SyntaxError, ValueError):
        pass
    raise UsageError(f"expected a name such as Conv2D, or a call with plain values such as Conv2D(4, 3), got {text!r}")


def _module(file):
    path = Path(file).resolve()
    if not path.is_file():
        raise UsageError(f"{file}: expected a Python file, there is none")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # its name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.fspath(path.parent))  # it may import its neighbours
    try:
        states.run(file, spec.loader.exec_module, module)
    finally:
        sys.path.remove(os.fspath(path.parent))
    return module


def made(kind: type, arguments: tuple, named: dict[str, Any]) -> Any:
    """An object of a class; what its constructor needs and was not given is taken from ARGUMENTS. Raises UsageError."""
    if not arguments and not named:
        needed = [
            p.name
            for p in inspect.signature(kind).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        unknown = [name for name in needed if name not in ARGUMENTS]
        if unknown:
            call = f"{kind.__name__}({', '.join(f'{name}=...' for name in needed)})"
            raise UsageError(f"{kind.__name__}: needs {', '.join(unknown)}: say with which values, as FILE.py:'{call}'")
        named = {name: ARGUMENTS[name] for name in needed}
    return states.run(f"{kind.__name__}: its constructor", lambda: kind(*arguments, **named))


# ---- numbers to check it with


def spread(shape: Shape, seed: int) -> Array:
    """Numbers from -1 to 1 in random order, no two equal and none 0, so that no corner is near."""
    size = int(np.prod(shape))
    values = (np.arange(size) + 0.5) / size * 2 - 1 + 0.2 / size
    return np.random.default_rng(seed).permutation(values).reshape(shape)


def with_ties(x: Array) -> Array:
    """The same with only five different numbers: of a pooling window often several cells are the largest."""
    return np.round(2 * x) / 2


def check_own(
    own: Own, shapes: Sequence[Shape] = (), photos: int | None = None, seed: int = 0, samples: int | None = None
) -> tuple[str, list[TensorCheck]]:
    """(what was checked on which numbers, the results). shapes: of one photo for a layer, of each array for a function.

    Raises UsageError for shapes that cannot be meant, Refusal for code that cannot be checked.
    """
    if own.gradient is not None:
        return _check_function(own, shapes, seed)
    if len(shapes) > 1:
        raise UsageError(f"--shape: expected one shape for a layer, that of a photo, got {len(shapes)}")
    tried = list(shapes) or getattr(own.thing, "rows", []) + (
        [ROW, PHOTO] if hasattr(own.thing, "units") else [PHOTO, ROW]
    )
    trial = _first_that_runs(own.thing, tried, photos or COUNTS[0], seed)
    sizes = {*trial.y.shape[1:], trial.x.shape[-1]}
    count = photos or next((n for n in COUNTS if n not in sizes), COUNTS[0])
    if count != len(trial.x):
        trial = Trial(own.thing, spread((count, *trial.x.shape[1:]), seed), training=True, seed=seed)
    results = trial.check(samples)
    if isinstance(trial.counterpart, Pooling) and all(result.passed for result in results):
        again = Trial(own.thing, with_ties(trial.x), training=True, seed=seed)
        tied = again.check_one("input", samples, TOLERANCE)
        results += [tied._replace(name="input with ties")] if tied.diagnosis else []
    return f"{own.name}, {count} photos of {trial.x.shape[1:]}, float64", results


def _first_that_runs(layer, shapes, photos, seed):
    """The layer on the first shape that it takes; if it takes none, what it says of the first."""
    refusals = []
    for shape in shapes:
        try:
            return Trial(layer, spread((photos, *shape), seed), training=True, seed=seed)
        except states.Refusal as refusal:
            refusals.append(refusal)
            if hasattr(layer, "input_shape"):
                layer.input_shape = None  # it is built anew for the next
    raise refusals[0]


def _check_function(own, shapes, seed):
    """Each array of its own shape; class numbers where an argument is called like that."""
    told = [p for p in inspect.signature(own.thing).parameters.values() if p.default is p.empty]
    names = argument_names(own.thing, max(1, len(shapes), sum(p.kind <= p.POSITIONAL_OR_KEYWORD for p in told)))
    floats = [name for name in names if name not in LABELS or name == names[0]]
    if len(shapes) not in (0, len(floats)):
        raise UsageError(f"--shape: expected one for each of {', '.join(floats)}, got {len(shapes)}")
    given = dict(zip(floats, list(shapes) or [ARRAY] * len(floats), strict=True))
    rng = np.random.default_rng(seed)
    first = given[floats[0]]
    arrays = [
        spread(given[name], seed + k) if name in given else rng.integers(first[-1], size=first[0])
        for k, name in enumerate(names)
    ]
    where = ", ".join(f"{name} {array.shape}" for name, array in zip(names, arrays, strict=True))
    return f"{own.name}, {where}, float64", check_function(own.thing, own.gradient, tuple(arrays), seed)
