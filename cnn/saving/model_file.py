"""Model files: save and load. npz.py is the container, document.py the text that describes the network.

Format 1 holds one array a parameter, named <layer>/<param> (<network>/<layer>/<param> for a layer of a network that
stands among the layers); the optimizer's slots as
optimizer/<slot>/<layer>/<param>; weights that a callback keeps as callbacks/<callback>/<key>/<layer>/<param>; and
`json`, the rest as text in uint8.

document.py reads and writes that text. From it follow the names and shapes of all arrays, exactly; an error leaves
nothing half-loaded.
"""

import dataclasses
import os
import warnings
from pathlib import Path

import numpy as np

from cnn.errors import DivergedError, ModelFileError
from cnn.network import Network
from cnn.saving import document, npz, strict_json
from cnn.saving.document import N, Shapes
from cnn.saving.state import WEIGHTS, TrainingState

Array = np.ndarray
MODEL, BEST, LAST = "model.npz", "best.npz", "last.npz"  # in a run's folder
KERAS_ENDINGS = (".keras", ".h5")  # names that scripts for Keras give

# ---- saving


def save_model(
    model: Network,
    path: str | os.PathLike,
    overwrite: bool = True,
    training_state: TrainingState | None = None,
    include_optimizer: bool = True,
) -> None:
    """Write the model to one .npz file. Whatever happens, path holds the old file or the new one, whole.

    A name with an ending of Keras' is taken as well, for scripts that read the file again by themselves: it holds the
    same .npz, and a warning says that Keras cannot read it.

    Without include_optimizer the file holds weights only; training goes on from them with a fresh optimizer.
    Raises FileExistsError unless overwrite, ValueError for what a file cannot hold, DivergedError for weights that
    are NaN or infinite, OSError where the disk refuses.
    """
    path = os.fsdecode(path)
    check_name(f"{model}: save", "path", path)
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path}: exists already (overwrite=False)")
    model.require_built("save")
    text, arrays = _describe(model, training_state, include_optimizer)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DivergedError(f"{model}: save: {name} holds NaN or infinity; {path} is left as it was")
    npz.write(path, {"json": np.frombuffer(text, np.uint8), **arrays})
    if path.endswith(KERAS_ENDINGS):
        warnings.warn(f"{path}: is an .npz file of this package, which Keras cannot read", stacklevel=3)


def check_name(where: str, name: str, path: str) -> None:
    """Raise ValueError unless a model file may be called so."""
    if not path.endswith((".npz", *KERAS_ENDINGS)):
        raise ValueError(f"{where}: {name}: expected a file name that ends in .npz, got {path!r}")


def save_training(model: Network, path: str | os.PathLike, state: TrainingState) -> None:
    """Write the model, its optimizer and how far its training has come to one file. Raises as save_model."""
    save_model(model, path, training_state=state)


def _describe(model, state, include_optimizer) -> tuple[bytes, dict[str, Array]]:
    """The text and the arrays of a file."""
    params = model.params
    arrays = dict(params)
    for slot in _slots(model) if include_optimizer else ():
        values = model.optimizer.state.get(slot, {})
        for key, param in _learnable(model, params).items():  # a layer added since has no slots yet
            fits = key in values and values[key].shape == param.shape
            arrays[f"optimizer/{slot}/{key}"] = values[key] if fits else model.optimizer.fresh_slot(slot, param)
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
    return document.to_bytes(model, described), arrays


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


# ---- loading


def load(path: str | os.PathLike, kind: type[N]) -> N:
    """The network, of this kind, in a file or in a run's folder: its model.npz, best.npz or last.npz, the first there.

    Raises ModelFileError, with the file and the reason, for anything but a whole file of ours.
    """
    return _load(str(file_in(path)), kind)[0]


def load_training(path: str | os.PathLike, kind: type[N]) -> tuple[N, TrainingState]:
    """The network and the state of training in a file, or in the last.npz of a run's folder. Raises ModelFileError."""
    file = str(file_in(path, (LAST,)))
    model, state = _load(file, kind)
    if state is None:
        raise ModelFileError(f"{file}: holds a model, but no state of training to go on from")
    return model, state


def file_in(path: str | os.PathLike, names: tuple[str, ...] = (MODEL, BEST, LAST)) -> Path:
    """The model file meant by `path`: itself, or of a folder the first of these files in it. Raises ModelFileError."""
    path = Path(os.fsdecode(path))
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).exists():
            return path / name
    raise ModelFileError(
        f"{path}: expected a model file or the folder of a run; this folder holds no {' or '.join(names)}"
    )


def _load(path: str, kind: type[N]) -> tuple[N, TrainingState | None]:
    try:
        with npz.reading(path) as reader:
            return _read(reader, kind)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path}: {_one_line(error)}") from None
    except MemoryError:
        raise ModelFileError(f"{path}: does not fit into this machine's memory") from None


def _one_line(error) -> str:
    """An error's text, safe to print: the file may have chosen parts of it."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(error))
    return text if len(text) <= 500 else f"{text[:500]}..."


def _read(reader: npz.Reader, kind: type[N]) -> tuple[N, TrainingState | None]:
    if "json" not in reader.members:
        raise ModelFileError("not a model file of this project: it holds no 'json'")
    described = strict_json.parse(reader.array("json", None, npz.BYTES, strict_json.MAX_BYTES).tobytes())
    model, shapes, state = document.read(described, kind)
    expected = _expected_arrays(model, shapes, state)
    _check_names(set(reader.members) - {"json"}, set(expected))
    arrays = {name: _read_weights(reader, name, shape, model.dtype) for name, shape in expected.items()}
    _put(model, shapes, state, arrays)
    _check_squares({name: array for name, array in arrays.items() if name.endswith("/moving_variance")})
    for slot in model.optimizer.squares if model.optimizer else ():
        _check_squares({name: array for name, array in arrays.items() if name.startswith(f"optimizer/{slot}/")})
    return model, state


def _check_squares(arrays) -> None:
    """Adam and BatchNormalization take the root of their means of squares."""
    for name, values in arrays.items():
        if (values < 0).any():
            raise ModelFileError(f"{name}: expected means of squares, got a number below 0")


def _learnable(model, by_name: dict) -> dict:
    """Those of {"conv2d/kernel": ...} that have a gradient, and so a place in the optimizer's slots."""
    averages = {f"{name}/{key}" for name, layer in model.flat() for key in layer.not_learned}
    return {name: value for name, value in by_name.items() if name not in averages}


def _check_names(found: set[str], expected: set[str]) -> None:
    for name in sorted(expected - found):
        raise ModelFileError(f"the array {name!r} is missing")
    for name in sorted(found - expected):
        raise ModelFileError(f"the array {name!r} belongs to no part of the model")


def _expected_arrays(model, shapes: Shapes, state) -> Shapes:
    """Name and shape of every array that the document implies."""
    learnable, prefixes = _learnable(model, shapes), [""]
    slots = {f"optimizer/{slot}/{key}": shape for slot in _slots(model) for key, shape in learnable.items()}
    for name, values in (state.callbacks if state else {}).items():
        prefixes += [f"callbacks/{name}/{slot}/" for slot, value in values.items() if value is WEIGHTS]
    return {prefix + key: shape for prefix in prefixes for key, shape in shapes.items()} | slots


def _slots(model) -> tuple[str, ...]:
    """The optimizer's slots, once it has taken a step."""
    return model.optimizer.all_slots if model.optimizer is not None and model.optimizer.iterations else ()


def _read_weights(reader, name, shape, dtype) -> Array:
    """Finite numbers of this shape as dtype, whichever floating-point type wrote them."""
    array = reader.array(name, shape, npz.REAL)
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False)
    if not np.isfinite(array).all():
        raise ModelFileError(f"{name}: holds NaN or infinity")
    return array


def _put(model, shapes, state, arrays) -> None:
    """Hand the arrays to their owners."""
    for name, layer in model.flat():
        layer.params = {key: arrays[f"{name}/{key}"] for key in layer.param_shapes(layer.input_shape)}
    for slot in _slots(model):
        model.optimizer.state[slot] = {key: arrays[f"optimizer/{slot}/{key}"] for key in _learnable(model, shapes)}
    for name, values in (state.callbacks if state else {}).items():
        for slot in [slot for slot, value in values.items() if value is WEIGHTS]:
            values[slot] = {key: arrays[f"callbacks/{name}/{slot}/{key}"] for key in shapes}
