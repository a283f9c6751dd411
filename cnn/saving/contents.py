"""What a file of a model holds, whatever its form: a text that describes the network, and arrays by their names.

The arrays are one a parameter, named <layer>/<param> (<network>/<layer>/<param> for a layer of a network that stands
among the layers); the optimizer's slots as optimizer/<slot>/<layer>/<param>; weights that a callback keeps as
callbacks/<callback>/<key>/<layer>/<param>.

document.py reads and writes the text. From it follow the names and shapes of all arrays, exactly; an error leaves
nothing half-loaded.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import checks
from cnn.errors import DivergedError, ModelFileError
from cnn.network import Network
from cnn.saving import document
from cnn.saving.document import N, Shapes
from cnn.saving.state import WEIGHTS, TrainingState

Array = np.ndarray
Arrays = dict[str, Array]

# ---- from a network


def describe(model: Network, state: TrainingState | None, include_optimizer: bool, path: str) -> tuple[bytes, Arrays]:
    """The text and the arrays of a file. Raises ValueError for what no file can hold, DivergedError for NaN."""
    model.require_built("save")
    params = model.params
    arrays = dict(params)
    for slot in slots_of(model) if include_optimizer else ():
        optimizer = checks.known(model.optimizer)
        values = optimizer.state.get(slot, {})
        for key, param in learnable(model, params).items():  # a layer added since has no slots yet
            fits = key in values and values[key].shape == param.shape
            arrays[f"optimizer/{slot}/{key}"] = values[key] if fits else optimizer.fresh_slot(slot, param)
    iterations = model.optimizer.iterations if include_optimizer and model.optimizer is not None else 0
    described = {
        "format": document.FORMAT,
        "model": document.describe_model(model),
        "compile": None if model.optimizer is None else document.describe_compile(model),
        "progress": {"epochs": model.epoch, "iterations": iterations},
        "class_names": document.describe_class_names(model),
        "input_scale": model.input_scale,
        "made_by": model.made_by,
        "training": None if state is None else _describe_training(state, arrays),
    }
    if model.preparation is not None:  # files have it since there are such models
        described["preparation"] = model.preparation.as_dict()
    text = document.to_bytes(model, described)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DivergedError(f"{model}: save: {name} holds NaN or infinity; {path} is left as it was")
    return text, arrays


def _describe_training(state, arrays) -> dict:
    """The document of a training state; weights that callbacks keep are added to the arrays."""
    described = dataclasses.asdict(dataclasses.replace(state, callbacks={}))
    for name, values in state.callbacks.items():
        weights = {key: value for key, value in values.items() if _holds_arrays(value)}
        for slot, kept in weights.items():
            arrays |= {f"callbacks/{name}/{slot}/{key}": array for key, array in kept.items()}
        rest = {key: value for key, value in values.items() if key not in weights}
        described["callbacks"][name] = {"values": rest, "weights": list(weights)}
    return described


def _holds_arrays(value) -> bool:
    return isinstance(value, dict) and any(isinstance(item, np.ndarray) for item in value.values())


def learnable(model: Network, by_name: dict[str, Any]) -> dict[str, Any]:
    """Those of {"conv2d/kernel": ...} that have a gradient, and so a place in the optimizer's slots."""
    averages = {f"{name}/{key}" for name, layer in model.flat() for key in layer.not_learned}
    return {name: value for name, value in by_name.items() if name not in averages}


def slots_of(model: Network) -> tuple[str, ...]:
    """The optimizer's slots, once it has taken a step."""
    return model.optimizer.all_slots if model.optimizer is not None and model.optimizer.iterations else ()


# ---- to a network


def restore(
    described: Any, kind: type[N], read_arrays: Callable[[N, Shapes], Arrays]
) -> tuple[N, TrainingState | None]:
    """The network, of this kind, that a text describes, and the state of its training.

    read_arrays(network, {name: shape}): all these arrays, from the file. Raises ModelFileError, ValueError, TypeError.
    """
    model, shapes, state = document.read(described, kind)
    expected = _expected_arrays(model, shapes, state)
    found = read_arrays(model, expected)
    arrays = {name: _checked(name, found[name], shape, model.dtype) for name, shape in expected.items()}
    _put(model, shapes, state, arrays)
    _check_squares({name: array for name, array in arrays.items() if name.endswith("/moving_variance")})
    for slot in model.optimizer.squares if model.optimizer else ():
        _check_squares({name: array for name, array in arrays.items() if name.startswith(f"optimizer/{slot}/")})
    return model, state


def _expected_arrays(model, shapes: Shapes, state) -> Shapes:
    """Name and shape of every array that the document implies."""
    prefixes = [""]
    slots = {
        f"optimizer/{slot}/{key}": shape for slot in slots_of(model) for key, shape in learnable(model, shapes).items()
    }
    for name, values in (state.callbacks if state else {}).items():
        prefixes += [f"callbacks/{name}/{slot}/" for slot, value in values.items() if value is WEIGHTS]
    return {prefix + key: shape for prefix in prefixes for key, shape in shapes.items()} | slots


def check_names(found: set[str], expected: set[str]) -> None:
    """Raise ModelFileError for an array that is missing, and for one too many."""
    for name in sorted(expected - found):
        raise ModelFileError(f"the array {name!r} is missing")
    for name in sorted(found - expected):
        raise ModelFileError(f"the array {name!r} belongs to no part of the model")


def _checked(name, array, shape, dtype) -> Array:
    """Finite numbers of this shape as dtype, whichever floating-point type wrote them."""
    if array.shape != shape:
        raise ModelFileError(f"{name}: expected shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False)
    if not np.isfinite(array).all():
        raise ModelFileError(f"{name}: holds NaN or infinity")
    return array


def _check_squares(arrays) -> None:
    """Adam and BatchNormalization take the root of their means of squares."""
    for name, values in arrays.items():
        if (values < 0).any():
            raise ModelFileError(f"{name}: expected means of squares, got a number below 0")


def _put(model, shapes, state, arrays) -> None:
    """Hand the arrays to their owners."""
    for name, layer in model.flat():
        layer.params = {key: arrays[f"{name}/{key}"] for key in layer.param_shapes(layer.input_shape)}
    for slot in slots_of(model):
        model.optimizer.state[slot] = {key: arrays[f"optimizer/{slot}/{key}"] for key in learnable(model, shapes)}
    for name, values in (state.callbacks if state else {}).items():
        for slot in [slot for slot, value in values.items() if value is WEIGHTS]:
            values[slot] = {key: arrays[f"callbacks/{name}/{slot}/{key}"] for key in shapes}
