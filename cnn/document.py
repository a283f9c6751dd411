"""The text in a model file: the network, how it was compiled, how far its training has come, as JSON.

A file may come from an enemy. Classes are looked up in the tables below, their constructors check every number, and
what an object says of itself afterwards must equal what the file said.
"""

import dataclasses
import json
import math
import re

import numpy as np

from cnn import checks, layers, losses, optimizers
from cnn.callbacks import History
from cnn.errors import ModelFileError
from cnn.models import Sequential
from cnn.resume import TrainingState

FORMAT = 1
MAX_BYTES = 1 << 22
MAX_DEPTH = 20
MAX_LAYERS = 1000
MAX_WORK = 100_000_000  # numbers that one photo may become inside one layer
LAYERS = {
    kind.__name__: kind
    for kind in (
        layers.Conv2D,
        layers.Dense,
        layers.Dropout,
        layers.Flatten,
        layers.Linear,
        layers.MaxPooling2D,
        layers.ReLU,
        layers.Softmax,
    )
}
OPTIMIZERS = {kind.__name__: kind for kind in optimizers.TABLE.values()}
LOSSES = {"SparseCategoricalCrossentropy": losses.SparseCategoricalCrossentropy}
WEIGHTS = object()  # stands in a callback's state until its arrays are read
DTYPES = ("float32", "float64")

Shapes = dict[str, tuple[int, ...]]

# ---- writing


def describe_model(model: Sequential) -> dict:
    """The network as JSON can hold it. Raises ValueError for layers of other people."""
    network = [_describe_object(model, "layer", layer, LAYERS) for layer in model.layers]
    shape = None if model.input_shape is None else list(model.input_shape)
    return {
        "name": model.name,
        "seed": model.seed,
        "shards": model.shards,
        "dtype": model.dtype.name,
        "input_shape": shape,
        "layers": network,
    }


def describe_run(model: Sequential) -> dict:
    """What of the model must be the same for a run of fit to go on."""
    network = describe_model(model)
    del network["name"], network["shards"]  # the one does not matter, the other is taken from the file
    return {"model": network, "compile": describe_compile(model)}


def describe_compile(model: Sequential) -> dict:
    """Optimizer, loss and metrics as JSON can hold them."""
    optimizer = _describe_object(model, "optimizer", model.optimizer, OPTIMIZERS)
    return {
        "optimizer": optimizer,
        "loss": _describe_object(model, "loss", model.loss, LOSSES),
        "metrics": list(model.metrics),
    }


def _describe_object(model, what, thing, table):
    name = type(thing).__name__
    if table.get(name) is not type(thing):
        raise ValueError(
            f"{model}: save: {what}: expected one of {', '.join(table)}, got {name}, which no file can describe"
        )
    return {"class": name, "config": thing.get_config()}


def to_bytes(model: Sequential, described: dict) -> bytes:
    """The document as UTF-8, after the check that we could read it again. Raises ValueError."""
    try:
        data = json.dumps(described, allow_nan=False, separators=(",", ":"), default=_plain_number).encode()
        read(parse(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{model}: save: {error}") from None
    return data


def _plain_number(value):
    """Numbers that callbacks put into the logs may be NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected numbers, text, lists and dicts, got {type(value).__name__}")


# ---- reading


def parse(data: bytes):
    """The JSON in these bytes: finite numbers of at most 64 bits, no key twice, not deeper than MAX_DEPTH."""
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"json: expected at most {MAX_BYTES:,} bytes, got {len(data):,}")
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', data, re.DOTALL):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise ModelFileError(f"json: nested deeper than {MAX_DEPTH}")
    numbers = {"parse_constant": _finite, "parse_float": _finite, "parse_int": _bounded}
    try:
        return json.loads(data.decode("utf-8"), **numbers, object_pairs_hook=_once)
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


def read(document) -> tuple[Sequential, Shapes, TrainingState | None]:
    """The model without its arrays, the shapes of its parameters, and the training state. Raises for all it does not know."""
    number = document.get("format") if isinstance(document, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ModelFileError(
            f"format {number} is newer than this program, which knows {FORMAT}: upgrade it to read this file"
        )
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
    if model.input_scale == 0:
        raise ModelFileError("input_scale: 0 would turn every photo black")
    model.made_by = None if made_by is None else _text("made_by", made_by, 2000)
    return model, shapes, None if training is None else _read_training(training)


def _read_model(described) -> tuple[Sequential, Shapes]:
    """The layers, built without allocating their parameters."""
    keys = ("name", "seed", "shards", "dtype", "input_shape", "layers")
    name, seed, shards, dtype, shape, network = _values("model", described, *keys)
    model = Sequential(name=_text("model: name", name), seed=checks.whole("model", "seed", seed, 0, 2**32 - 1))
    model.shards = checks.whole("model", "shards", shards, 1, 1024)
    model.dtype = np.dtype(checks.choice("model", "dtype", dtype, DTYPES))
    if (
        not isinstance(network, list)
        or not 1 <= len(network) <= MAX_LAYERS
        or not isinstance(shape, list)
        or len(shape) > 8
    ):
        raise ModelFileError(f"model: expected 1 to {MAX_LAYERS} layers, and an input shape of at most 8 numbers")
    model.input_shape = current = checks.shape("model", "input_shape", shape)
    shapes = {}
    for layer in (_read_object("layer", item, LAYERS) for item in network):
        _text("layer: name", layer.name)
        layer.input_shape, layer.output_shape = current, layer.infer_shape(current)
        _check_work(layer)
        shapes |= {f"{layer.name}/{key}": shape for key, shape in layer.param_shapes(current).items()}
        model.layers.append(layer)
        current = layer.output_shape
    if len({layer.name for layer in model.layers}) != len(model.layers):
        raise ModelFileError("model: two layers have the same name")
    return model, shapes


def _check_work(layer) -> None:
    """Raise where a few weights would make a photo as large as the memory: its output, or the columns of a convolution."""
    numbers = math.prod(layer.output_shape)
    if isinstance(layer, layers.Conv2D):
        numbers = max(
            numbers, math.prod(layer.output_shape[:-1]) * math.prod(layer.kernel_shape(layer.input_shape)[:-1])
        )
    if numbers > MAX_WORK:
        raise ModelFileError(
            f"{layer}: needs {numbers:.1e} numbers for one photo; a model in a file may need {MAX_WORK:.0e}"
        )


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
    values = dict(
        zip(
            names := [field.name for field in dataclasses.fields(TrainingState)],
            _values("training", described, *names),
            strict=True,
        )
    )
    for name in ("epoch", "step", "count"):
        checks.whole("training", name, values[name], 0, 2**40)
    if (values["step"] == 0) != (values["count"] == 0):
        raise ModelFileError("training: step and count: one of them is 0")
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
    state = TrainingState(
        **{**values, "callbacks": {name: _read_callback(kept) for name, kept in values["callbacks"].items()}}
    )
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
