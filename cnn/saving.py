"""Model files: what is in them, and how it is checked. npz.py is the container.

Format 1 holds one array a parameter, named <layer>/<param>; the optimizer's slots as
optimizer/<slot>/<layer>/<param>; weights that a callback keeps as callbacks/<callback>/<key>/<layer>/<param>; and
`json`, the rest as text in uint8. From the text follow the names and shapes of all arrays, exactly.

A file may come from an enemy. Classes are looked up in the tables below, their constructors check every number, and
what a layer says of itself afterwards must equal what the file said. An error leaves nothing half-loaded.
"""

import dataclasses
import json
import math
import os
import re

import numpy as np

from cnn import checks, layers, losses, npz, optimizers
from cnn.callbacks import History
from cnn.errors import DivergedError, ModelFileError
from cnn.models import Sequential
from cnn.resume import TrainingState

FORMAT = 1
MAX_JSON = 1 << 22
MAX_DEPTH = 20
MAX_LAYERS = 1000
LAYERS = {kind.__name__: kind for kind in (layers.Conv2D, layers.Dense, layers.Dropout, layers.Flatten, layers.Linear,
                                          layers.MaxPooling2D, layers.ReLU, layers.Softmax)}  # fmt: skip
OPTIMIZERS = {kind.__name__: kind for kind in optimizers.TABLE.values()}
LOSSES = {"SparseCategoricalCrossentropy": losses.SparseCategoricalCrossentropy}
DTYPES = ("float32", "float64")

Array = np.ndarray
Shapes = dict[str, tuple[int, ...]]

# ---- saving


def save_model(model: Sequential, path, overwrite: bool = True, training_state: TrainingState | None = None,
               include_optimizer: bool = True) -> None:  # fmt: skip
    """Write the model to one .npz file. Whatever happens, path holds the old file or the new one, whole.

    Without include_optimizer the file holds weights only; training goes on from them with a fresh optimizer.
    Raises FileExistsError unless overwrite, ValueError for what a file cannot hold, DivergedError for weights that
    are NaN or infinite, OSError where the disk refuses.
    """
    path = os.fspath(path)
    if not path.endswith(".npz"):
        raise ValueError(f"{model}: save: expected a file name that ends in .npz, got {path!r}")
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path}: exists already (overwrite=False)")
    model._require_built("save")
    document, arrays = _describe(model, training_state, include_optimizer)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DivergedError(f"{model}: save: {name} holds NaN or infinity; {path} is left as it was")
    npz.write(path, {"json": _to_bytes(model, document), **arrays})


def save_training(model: Sequential, path, state: TrainingState) -> None:
    """Write the model, its optimizer and how far its training has come to one file. Raises as save_model."""
    save_model(model, path, training_state=state)


def _describe(model, state, include_optimizer) -> tuple[dict, dict[str, Array]]:
    """The document and the arrays of a file."""
    params = model.params
    arrays = dict(params)
    trained = include_optimizer and model.optimizer is not None and model.optimizer.iterations > 0
    for slot in model.optimizer.slots if trained else ():
        values = model.optimizer.state.get(slot, {})
        for key, param in params.items():  # a layer added since has no slots yet: they start as zeros
            arrays[f"optimizer/{slot}/{key}"] = values.get(key, np.zeros_like(param))
    document = {
        "format": FORMAT,
        "model": describe_model(model),
        "compile": None if model.optimizer is None else describe_compile(model),
        "progress": {"epochs": model.epoch, "iterations": model.optimizer.iterations if trained else 0},
        "class_names": None if model.class_names is None else list(model.class_names),
        "input_scale": model.input_scale,
        "made_by": model.made_by,
        "training": None if state is None else _describe_training(state, arrays),
    }
    return document, arrays


def describe_model(model: Sequential) -> dict:
    """The network as JSON can hold it. Raises ValueError for layers of other people."""
    network = [_describe_object(model, "layer", layer, LAYERS) for layer in model.layers]
    shape = None if model.input_shape is None else list(model.input_shape)
    return {"name": model.name, "seed": model.seed, "shards": model.shards, "dtype": model.dtype.name,
            "input_shape": shape, "layers": network}  # fmt: skip


def describe_run(model: Sequential) -> dict:
    """What of the model must be the same for a run of fit to go on."""
    network = describe_model(model)
    del network["name"], network["shards"]  # the one does not matter, the other is taken from the file
    return {"model": network, "compile": describe_compile(model)}


def describe_compile(model: Sequential) -> dict:
    """Optimizer, loss and metrics as JSON can hold them."""
    optimizer = _describe_object(model, "optimizer", model.optimizer, OPTIMIZERS)
    return {"optimizer": optimizer, "loss": _describe_object(model, "loss", model.loss, LOSSES), "metrics": list(model.metrics)}


def _describe_object(model, what, thing, table):
    name = type(thing).__name__
    if table.get(name) is not type(thing):
        raise ValueError(f"{model}: save: {what}: expected one of {', '.join(table)}, got {name}, which no file can describe")
    return {"class": name, "config": thing.get_config()}


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


def _to_bytes(model, document) -> Array:
    """The document as UTF-8, after the check that we could read it again."""
    try:
        data = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        _read_document(_parse_json(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{model}: save: {error}") from None
    return np.frombuffer(data, np.uint8)


# ---- loading


def load_model(path) -> Sequential:
    """The model in a file, or in a run's folder: its best.npz, or last.npz where there is no best.

    Raises ModelFileError, with the file and the reason, for anything but a whole file of ours.
    """
    return _load(_file_in(os.fspath(path), ("best.npz", "last.npz")))[0]


def load_training(path) -> tuple[Sequential, TrainingState]:
    """The model and the state of training in a file, or in the last.npz of a run's folder. Raises ModelFileError."""
    file = _file_in(os.fspath(path), ("last.npz",))
    model, state = _load(file)
    if state is None:
        raise ModelFileError(f"{file}: holds a model, but no state of training to go on from")
    return model, state


def _file_in(path: str, names: tuple[str, ...]) -> str:
    """path itself, or the first of these files in it where it is a folder."""
    if not os.path.isdir(path):
        return path
    files = [file for name in names if os.path.exists(file := os.path.join(path, name))]
    if not files:
        raise ModelFileError(f"{path}: this folder holds no {' or '.join(names)}")
    return files[0]


def _load(path: str) -> tuple[Sequential, TrainingState | None]:
    try:
        with npz.reading(path) as reader:
            return _read(reader)
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


def _read(reader: npz.Reader) -> tuple[Sequential, TrainingState | None]:
    if "json" not in reader.members:
        raise ModelFileError("not a model file of this project: it holds no 'json'")
    document = _parse_json(reader.array("json", None, npz.BYTES, MAX_JSON).tobytes())
    model, shapes, state = _read_document(document)
    expected = _expected_arrays(model, shapes, document, state)
    _check_names(set(reader.members) - {"json"}, set(expected))
    arrays = {name: _read_weights(reader, name, shape, model.dtype) for name, shape in expected.items()}
    _put(model, shapes, state, arrays)
    return model, state


def _check_names(found: set[str], expected: set[str]) -> None:
    for name in sorted(expected - found):
        raise ModelFileError(f"the array {name!r} is missing")
    for name in sorted(found - expected):
        raise ModelFileError(f"the array {name!r} belongs to no part of the model")


def _expected_arrays(model, shapes: Shapes, document, state) -> Shapes:
    """Name and shape of every array that the document implies."""
    slots = model.optimizer.slots if document["progress"]["iterations"] else ()
    expected = shapes | {f"optimizer/{slot}/{key}": shape for slot in slots for key, shape in shapes.items()}
    for name, kept in (document["training"] or {"callbacks": {}})["callbacks"].items():
        expected |= {f"callbacks/{name}/{slot}/{key}": shape for slot in kept["weights"] for key, shape in shapes.items()}
    return expected


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
    for layer in model.layers:
        layer.params = {key: arrays[f"{layer.name}/{key}"] for key in layer.param_shapes(layer.input_shape)}
    if model.optimizer is not None and model.optimizer.iterations:
        model.optimizer.state = {slot: {key: arrays[f"optimizer/{slot}/{key}"] for key in shapes} for slot in model.optimizer.slots}
    for name, values in (state.callbacks if state else {}).items():
        for slot in [slot for slot, value in values.items() if value is WEIGHTS]:
            values[slot] = {key: arrays[f"callbacks/{name}/{slot}/{key}"] for key in shapes}


# ---- the document


WEIGHTS = object()  # stands in a callback's state until its arrays are read


def _parse_json(data: bytes):
    """The JSON in these bytes: finite numbers of at most 64 bits, no key twice, not deeper than MAX_DEPTH."""
    if len(data) > MAX_JSON:
        raise ModelFileError(f"json: expected at most {MAX_JSON:,} bytes, got {len(data):,}")
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', data, re.DOTALL):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise ModelFileError(f"json: nested deeper than {MAX_DEPTH}")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_finite, parse_float=_finite, parse_int=_bounded, object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelFileError(f"json: not JSON in UTF-8: {error}") from None


def _finite(text):
    if math.isfinite(value := float(text)):
        return value
    raise ModelFileError(f"json: expected finite numbers, got {text}")


def _bounded(text):
    if len(text) < 20 and abs(value := int(text)) < 2**63:
        return value
    raise ModelFileError("json: a whole number of more than 64 bits")


def _once(pairs):
    if len(found := dict(pairs)) == len(pairs):
        return found
    raise ModelFileError("json: a key stands twice in one object")


def _read_document(document) -> tuple[Sequential, Shapes, TrainingState | None]:
    """The model without its arrays, the shapes of its parameters, and the training state. Raises for all it does not know."""
    number = document.get("format") if isinstance(document, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ModelFileError(f"format {number} is newer than this program, which knows {FORMAT}: upgrade it to read this file")
    _format, network, compiled, progress, class_names, scale, made_by, training = _values(
        "json", document, "format", "model", "compile", "progress", "class_names", "input_scale", "made_by", "training"
    )
    if type(number) is not int or number != FORMAT:
        raise ModelFileError(f"format: expected {FORMAT}, got {number!r}")
    model, shapes = _read_model(network)
    _read_compile(model, compiled)
    epochs, iterations = _values("progress", progress, "epochs", "iterations")
    model.epoch = checks.whole("progress", "epochs", epochs, 0, 2**40)
    iterations = checks.whole("progress", "iterations", iterations, 0, 2**40 if compiled else 0)
    if compiled:
        model.optimizer.iterations = iterations
    model.class_names = None if class_names is None else _read_class_names(model, class_names)
    model.input_scale = None if scale is None else checks.number("json", "input_scale", scale)
    model.made_by = None if made_by is None else _text("made_by", made_by, 2000)
    return model, shapes, None if training is None else _read_training(training)


def _read_model(described) -> tuple[Sequential, Shapes]:
    """The layers, built without allocating their parameters."""
    name, seed, shards, dtype, shape, network = _values("model", described, "name", "seed", "shards", "dtype", "input_shape", "layers")
    model = Sequential(name=_text("model: name", name), seed=checks.whole("model", "seed", seed, 0, 2**32 - 1))
    model.shards = checks.whole("model", "shards", shards, 1, 1024)
    model.dtype = np.dtype(checks.choice("model", "dtype", dtype, DTYPES))
    if not isinstance(network, list) or not 1 <= len(network) <= MAX_LAYERS or not isinstance(shape, list) or len(shape) > 8:
        raise ModelFileError(f"model: expected 1 to {MAX_LAYERS} layers, and an input shape of at most 8 numbers")
    model.input_shape = current = checks.shape("model", "input_shape", shape)
    shapes = {}
    for layer in (_read_object("layer", item, LAYERS) for item in network):
        _text("layer: name", layer.name)
        layer.input_shape, layer.output_shape = current, layer.infer_shape(current)
        shapes |= {f"{layer.name}/{key}": shape for key, shape in layer.param_shapes(current).items()}
        model.layers.append(layer)
        current = layer.output_shape
    if len({layer.name for layer in model.layers}) != len(model.layers):
        raise ModelFileError("model: two layers have the same name")
    return model, shapes


def _read_compile(model, described) -> None:
    if described is not None:
        optimizer, loss, metrics = _values("compile", described, "optimizer", "loss", "metrics")
        if not isinstance(metrics, list):
            raise ModelFileError(f"compile: metrics: expected a list, got {metrics!r}")
        model.compile(_read_object("optimizer", optimizer, OPTIMIZERS), _read_object("loss", loss, LOSSES), metrics)


def _read_object(what, described, table):
    """An object from its class's name and its constructor's arguments; its own get_config must give them back."""
    name, config = _values(what, described, "class", "config")
    if not isinstance(name, str) or name not in table:
        raise ModelFileError(f"{what}: expected one of {', '.join(table)}, got {name!r}")
    if not isinstance(config, dict):
        raise ModelFileError(f"{what}: config: expected an object, got {config!r}")
    thing = table[name](**config)
    if json.dumps(thing.get_config(), sort_keys=True) != json.dumps(config, sort_keys=True):
        raise ModelFileError(f"{what}: {name}: expected the configuration {thing.get_config()}, got {config}")
    return thing


def _read_class_names(model, names) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) != model.output_shape[-1]:
        raise ModelFileError(f"class_names: expected {model.output_shape[-1]} names, one for each output")
    return tuple(_text("class_names", name) for name in names)


def _read_training(described) -> TrainingState:
    values = dict(zip(names := [field.name for field in dataclasses.fields(TrainingState)],
                      _values("training", described, *names), strict=True))  # fmt: skip
    for name in ("epoch", "step", "count"):
        checks.whole("training", name, values[name], 0, 2**40)
    _text("training: data", values["data"])
    if type(values["stopped"]) is not bool:
        raise ModelFileError("training: stopped: expected true or false")
    for name in ("sums", "settings", "callbacks", "extra"):
        if not isinstance(values[name], dict):
            raise ModelFileError(f"training: {name}: expected an object")
    for value in values["sums"].values():
        checks.number("training", "sums", value, low=-math.inf)
    if len(values["callbacks"]) > 50:
        raise ModelFileError(f"training: callbacks: expected at most 50, got {len(values['callbacks'])}")
    checks.whole("training: settings", "epochs", values["settings"].get("epochs"))
    state = TrainingState(**{**values, "callbacks": {name: _read_callback(kept) for name, kept in values["callbacks"].items()}})
    History().set_state(state.callbacks.get("History", {}))  # raises where it is not one
    return state


def _read_callback(described) -> dict:
    values, weights = _values("training: callbacks", described, "values", "weights")
    if not isinstance(values, dict) or not isinstance(weights, list) or len(weights) > 4:
        raise ModelFileError("training: callbacks: expected values and at most 4 names of weights")
    return values | {_text("training: callbacks", name): WEIGHTS for name in weights}


def _values(what, found, *names):
    """The values of an object that has these keys and no others."""
    if not isinstance(found, dict) or set(found) != set(names):
        got = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ModelFileError(f"{what}: expected an object with {', '.join(names)}, got {got}")
    return [found[name] for name in names]


def _text(what, value, most=100) -> str:
    if isinstance(value, str) and value.isprintable() and 1 <= len(value) <= most:
        return value
    raise ModelFileError(f"{what}: expected 1 to {most} printable characters, got {value!r:.50}")
