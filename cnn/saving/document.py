"""The text in a model file: the network, how it was compiled, how far its training has come, as JSON.

A file may come from an enemy. Classes are looked up in the tables below, their constructors check every number, and
what an object says of itself afterwards must equal what the file said.
"""

import json
import math
from typing import Any, TypeVar

import numpy as np

from cnn import checks, layers, losses, metrics, optimizers
from cnn.datasets import preparation
from cnn.datasets.preparation import Preparation
from cnn.errors import ModelFileError
from cnn.network import Network
from cnn.saving import limits, strict_json
from cnn.saving.state import TrainingState, read_training

FORMAT = 1
MAX_LAYERS = 1000
MIN_SCALE, MAX_SCALE = 1e-6, 1e6  # what bytes are multiplied by: 1/255 or 1 is usual, 1/65535 has been seen
LAYERS = {
    kind.__name__: kind
    for kind in (
        layers.Activation,
        layers.AlphaDropout,
        layers.AveragePooling2D,
        layers.BatchNormalization,
        layers.CenterCrop,
        layers.Conv2D,
        layers.Conv2DTranspose,
        layers.Cropping2D,
        layers.Dense,
        layers.DepthwiseConv2D,
        layers.Dropout,
        layers.ELU,
        layers.Flatten,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.GlobalAveragePooling2D,
        layers.GlobalMaxPooling2D,
        layers.LeakyReLU,
        layers.Linear,
        layers.MaxPooling2D,
        layers.Normalization,
        layers.PReLU,
        layers.RandomBrightness,
        layers.RandomContrast,
        layers.RandomErasing,
        layers.RandomFlip,
        layers.RandomRotation,
        layers.RandomTranslation,
        layers.RandomZoom,
        layers.ReLU,
        layers.Rescaling,
        layers.Reshape,
        layers.Resizing,
        layers.SeparableConv2D,
        layers.Softmax,
        layers.SpatialDropout2D,
        layers.UpSampling2D,
        layers.ZeroPadding2D,
    )
}
NETWORK = "Sequential"  # a network that stands among the layers of another
OPTIMIZERS = {kind.__name__: kind for kind in optimizers.TABLE.values()}
LOSSES = {kind.__name__: kind for kind in losses.TABLE.values()}
METRICS = {kind.__name__: kind for kind in metrics.TABLE.values()}
ACCURACIES = ("accuracy", "acc")
MAX_METRICS = 50
SAID = 12  # names in an error
DTYPES = ("float32", "float64")

N = TypeVar("N", bound=Network)
Shapes = dict[str, tuple[int, ...]]

# ---- writing


def describe_model(model: Network) -> dict:
    """The network as JSON can hold it. Raises ValueError for layers of other people."""
    shape = None if model.photo_shape is None else list(model.photo_shape)
    return {
        "name": model.name,
        "seed": model.seed,
        "shards": model.shards,
        "dtype": model.dtype.name,
        "input_shape": shape,
        "layers": _describe_layers(model, model.layers),
    }


def _describe_layers(model, found):
    """Layers, and networks that stand among them."""
    return [
        {"class": NETWORK, "config": {"name": layer.name, "layers": _describe_layers(model, layer.layers)}}
        if isinstance(layer, Network)
        else _describe_object(model, "layer", layer, LAYERS)
        for layer in found
    ]


def describe_run(model: Network) -> dict:
    """What of the model must be the same for a run of fit to go on."""
    network = describe_model(model)
    del network["name"], network["shards"]  # the one does not matter, the other is taken from the file
    return {"model": network, "compile": describe_compile(model)}


def describe_compile(model: Network) -> dict:
    """Optimizer, loss and metrics as JSON can hold them."""
    optimizer = _describe_object(model, "optimizer", model.optimizer, OPTIMIZERS)
    return {
        "optimizer": optimizer,
        "loss": _describe_object(model, "loss", model.loss, LOSSES),
        "metrics": [_describe_metric(model, metric) for metric in model.metrics],
    }


def describe_class_names(model: Network) -> list[str] | None:
    """The names in the order of the outputs. Raises ValueError for what has no such order: a set, one word, a dict."""
    names = model.class_names
    if names is not None and not isinstance(names, list | tuple | np.ndarray):
        raise ValueError(f"{model}: save: class_names: expected a list of names, got {names!r:.100}")
    return None if names is None else list(names)


def _describe_metric(model, metric):
    """Its name alone where that says all: "accuracy", as files have had it from the beginning."""
    by_name = type(metric) is metrics.Accuracy and metric.name in ACCURACIES
    described = metric.name if by_name else _describe_object(model, "metric", metric, METRICS)
    return {"weighted": described} if metric.weighted else described


def _describe_object(model, what, thing, table):
    name = type(thing).__name__
    if table.get(name) is not type(thing):
        raise ValueError(
            f"{model}: save: {what}: expected one of {_names(table)}, got {name}, which no file can describe"
        )
    return {"class": name, "config": thing.get_config()}


def _names(table):
    """Those of a table; of many the first, so that there is room for what came instead."""
    names = list(table)
    return ", ".join(names) if len(names) <= SAID else f"{', '.join(names[:SAID])} ... ({len(names)} in all)"


def to_bytes(model: Network, described: dict) -> bytes:
    """The document as UTF-8, after the check that we could read it again. Raises ValueError."""
    try:
        data = json.dumps(described, allow_nan=False, separators=(",", ":"), default=strict_json.plain_number).encode()
        read(strict_json.parse(data), Network)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{model}: save: {error}") from None
    return data


# ---- reading


def read(document: Any, kind: type[N]) -> tuple[N, Shapes, TrainingState | None]:
    """A network of this kind without its arrays, its parameters' shapes, the training state.

    Raises for all it does not know.
    """
    number = document.get("format") if isinstance(document, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ModelFileError(
            f"format {number} is newer than this program, which knows {FORMAT}: upgrade it to read this file"
        )
    if isinstance(document, dict):
        document = {"preparation": None} | document  # files did not have it at first, and most do not now
    names = "format", "model", "compile", "progress", "class_names", "input_scale", "preparation", "made_by", "training"
    values = strict_json.values("json", document, *names)
    _format, network, compiled, progress, class_names, scale, prepared, made_by, training = values
    if type(number) is not int or number != FORMAT:
        raise ModelFileError(f"format: expected {FORMAT}, got {number!r}")
    model, shapes = _read_model(network, kind)
    _read_compile(model, compiled)
    epochs, iterations = strict_json.values("progress", progress, "epochs", "iterations")
    model.epoch = checks.whole("progress", "epochs", epochs, 0, 2**40)
    iterations = checks.whole("progress", "iterations", iterations, 0, 2**40 if compiled else 0)
    if compiled:
        checks.known(model.optimizer).iterations = iterations
    model.class_names = None if class_names is None else _read_class_names(model, class_names)
    model.input_scale = None if scale is None else _read_input_scale(scale)
    model.made_by = None if made_by is None else strict_json.text("made_by", made_by, 2000)
    model.preparation = None if prepared is None else _read_preparation(model, prepared)
    return model, shapes, None if training is None else read_training(training, model.metrics_names)


def _read_model(described, kind: type[N]) -> tuple[N, Shapes]:
    """The layers, built without allocating their parameters."""
    keys = ("name", "seed", "shards", "dtype", "input_shape", "layers")
    name, seed, shards, dtype, shape, found = strict_json.values("model", described, *keys)
    model = kind(name=strict_json.text("model: name", name), seed=checks.whole("model", "seed", seed, 0, 2**32 - 1))
    model.shards = checks.whole("model", "shards", shards, 1, 1024)
    model.dtype = np.dtype(checks.choice("model", "dtype", dtype, DTYPES))
    if not isinstance(shape, list) or len(shape) > 8:
        raise ModelFileError("model: expected an input shape of at most 8 numbers")
    model.layers = _read_layers(found, model)
    if len(list(model.flat())) > MAX_LAYERS:
        raise ModelFileError(f"model: expected at most {MAX_LAYERS} layers")
    model.lay_out(model.layers, checks.shape("model", "input_shape", shape))
    shapes = {
        f"{name}/{key}": shape
        for name, layer in model.flat()
        for key, shape in layer.param_shapes(checks.known(layer.input_shape)).items()
    }
    limits.check(model, weights=sum(map(math.prod, shapes.values())))
    return model, shapes


def _read_layers(found, model: Network) -> list:
    """Layers, and networks of the model's kind among them."""
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_LAYERS:
        raise ModelFileError(f"model: expected 1 to {MAX_LAYERS} layers")
    read_layers = [_read_layer(item, model) for item in found]
    for layer in read_layers:
        checks.layer_name("layer", "name", strict_json.text("layer: name", layer.name))
    if len({layer.name for layer in read_layers}) != len(read_layers):
        raise ModelFileError("model: two layers have the same name")
    return read_layers


def _read_layer(item, model: Network):
    if not isinstance(item, dict) or item.get("class") != NETWORK:
        return _read_object("layer", item, LAYERS)
    _, config = strict_json.values("layer", item, "class", "config")
    name, found = strict_json.values("layer", config, "name", "layers")
    network = type(model)(name=strict_json.text("layer: name", name), seed=model.seed)
    network.dtype, network.layers = model.dtype, _read_layers(found, model)
    return network


def _read_compile(model, described) -> None:
    if described is not None:
        optimizer, loss, names = strict_json.values("compile", described, "optimizer", "loss", "metrics")
        if not isinstance(names, list):
            raise ModelFileError(f"compile: metrics: expected a list, got {names!r}")
        model.optimizer = _read_object("optimizer", optimizer, OPTIMIZERS)
        model.loss = _read_object("loss", loss, LOSSES)
        model.metrics = metrics.get_all([_read_metric(described) for described in names[:MAX_METRICS]])
        if model.metrics_names[1:] != [_name_of(described) for described in names]:
            raise ModelFileError(f"compile: metrics: expected at most {MAX_METRICS}, each with a name of its own")


def _read_metric(described):
    if _is_weighted(described):
        metric = metrics.get(_read_metric(described["weighted"]))
        metric.weighted = True
        return metric
    if isinstance(described, str):
        return checks.choice("compile", "metrics", described, ACCURACIES)
    return _read_object("metric", described, METRICS)


def _is_weighted(described) -> bool:
    return isinstance(described, dict) and described.keys() == {"weighted"}


def _name_of(described):
    described = described["weighted"] if _is_weighted(described) else described
    return described if isinstance(described, str) else strict_json.text("metric", described["config"]["name"])


def _read_object(what, described, table):
    """An object from its class's name and its constructor's arguments; its own get_config must give them back."""
    name, config = strict_json.values(what, described, "class", "config")
    if not isinstance(name, str) or name not in table:
        raise ModelFileError(f"{what}: expected one of {_names(table)}, got {name!r}")
    if not isinstance(config, dict):
        raise ModelFileError(f"{what}: config: expected an object, got {config!r}")
    thing = table[name](**config)
    if json.dumps(thing.get_config(), sort_keys=True) != json.dumps(config, sort_keys=True):
        raise ModelFileError(f"{what}: {name}: expected the configuration {thing.get_config()}, got {config}")
    return thing


def _read_preparation(model, described) -> Preparation:
    shape: tuple[int, ...] = model.photo_shape or ()
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ModelFileError(f"preparation: expected a model of photos in grey or colour, got one of {shape}")
    return preparation.read(described)


def _read_input_scale(scale) -> float:
    if checks.number("json", "input_scale", scale) == 0:
        raise ModelFileError("input_scale: 0 would turn every photo black")
    return checks.number("json", "input_scale", scale, MIN_SCALE, MAX_SCALE)


def _read_class_names(model, names) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) != model.result_shape[-1]:
        raise ModelFileError(f"class_names: expected {model.result_shape[-1]} names, one for each output")
    for name in names:
        strict_json.text("class_names", name)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelFileError(f"class_names: expected names that differ, got {twice!r} twice")
    return tuple(names)
