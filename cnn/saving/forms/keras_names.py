"""Layers, optimizers, losses and metrics as Keras' JSON, and back. Ours mirror Keras', so only what differs is here.

An object is {"module": "keras.layers", "class_name": "Dense", "config": {...}, "registered_name": null} in Keras 3,
and the two in the middle alone before. What Keras has no word for is refused, and so is what we have none for: both by
name. Reading makes the objects by their constructors, which check each argument, without a single weight. What they say
of themselves is then read as a document of ours, as warily as any.
"""

from typing import Any

import numpy as np

from cnn import checks, constraints, initializers, layers, losses, metrics, optimizers, regularizers
from cnn.configurable import Configurable
from cnn.errors import ModelFileError
from cnn.network import Network
from cnn.optimizers.schedules import LearningRateSchedule
from cnn.saving import document, strict_json

NETWORK = document.NETWORK
MODULES: tuple[tuple[type, str], ...] = (
    (layers.Layer, "keras.layers"),
    (initializers.Initializer, "keras.initializers"),
    (regularizers.Regularizer, "keras.regularizers"),
    (constraints.Constraint, "keras.constraints"),
    (LearningRateSchedule, "keras.optimizers.schedules"),
)
ACTIVATION_LAYERS = {  # formulas with settings, which Keras can only say as layers
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "bent_relu": "ReLU",
    "softmax": "Softmax",
}
OTHER_NAMES = {"Linear": "Activation", "Network": NETWORK}
OURS_ALONE = ("alternating",)  # arguments that Keras does not have
NOT_TOLD = ("undecayed",)  # those that it has, but not in its files: keras_file.py keeps them
# Arguments that Keras writes, and at which value they say nothing: ours do not know their names.
SAY_NOTHING: dict[str, tuple[Any, ...]] = {
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99,),
    "num_labels": (None,),
    "label_weights": (None,),
    "is_legacy_optimizer": (False,),
    "jit_compile": (False, True),
}
ACCURACIES = {  # what "accuracy" means with a loss
    "SparseCategoricalCrossentropy": "SparseCategoricalAccuracy",
    "CategoricalCrossentropy": "CategoricalAccuracy",
    "BinaryCrossentropy": "BinaryAccuracy",
}

# ---- out


def of_object(thing: Any, module: str | None = None) -> dict[str, Any]:
    """Any object but a network. Raises ValueError for what Keras has no word for."""
    config = {key: value for key, value in thing.get_config().items() if key not in NOT_TOLD}
    for key, value in config.items():
        if key in OURS_ALONE:
            raise ValueError(f"{thing}: Keras has no {key}, here {value!r}")
        argument = getattr(thing, f"_{key}" if key == "learning_rate" else key, None)
        if isinstance(argument, layers.ActivationFunction):
            config[key] = _of_activation(argument)
        elif isinstance(argument, Configurable):
            config[key] = of_object(argument)
    if isinstance(thing, layers.Linear):
        config["activation"] = "linear"
    if isinstance(thing, layers.Activation) and isinstance(config["activation"], dict):
        config |= config.pop("activation")["config"]  # as the layer that this function is in Keras
    found = module or next(name for kind, name in MODULES if isinstance(thing, kind))
    return _told(found, class_name(thing), config)


def class_name(thing: Any) -> str:
    """The name of its class in Keras."""
    if isinstance(thing, layers.Activation) and isinstance(told := thing.activation.as_argument(), dict):
        return ACTIVATION_LAYERS.get(told["class_name"], "Activation")
    return OTHER_NAMES.get(type(thing).__name__, type(thing).__name__)


def _told(module, class_name, config):
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def _of_activation(function: layers.ActivationFunction) -> str | dict[str, Any]:
    """An `activation` argument: its name, or as a layer where it has settings."""
    told = function.as_argument()
    if isinstance(told, str):
        return "relu" if told == "bent_relu" else told
    if told["class_name"] not in ACTIVATION_LAYERS:
        raise ValueError(f"activation: Keras cannot say {told['class_name']} with {told['config']}")
    return _told("keras.layers", ACTIVATION_LAYERS[told["class_name"]], told["config"])


def of_network(network: Network) -> dict[str, Any]:
    """The network as Keras describes it."""
    shape, dtype = [None, *checks.known(network.photo_shape)], network.dtype.name
    first = {"batch_shape": shape, "dtype": dtype, "sparse": False, "ragged": False, "name": f"{network.name}_input"}
    found: list[dict[str, Any]] = [_told("keras.layers", "InputLayer", first)]
    for layer in network.layers:
        told = of_network(layer) if isinstance(layer, Network) else of_object(layer)
        told["config"]["dtype"] = dtype
        shape_of = layer.photo_shape if isinstance(layer, Network) else layer.input_shape
        found.append({**told, "build_config": {"input_shape": [None, *checks.known(shape_of)]}})
    config = {"name": network.name, "trainable": True, "dtype": dtype, "layers": found, "build_input_shape": shape}
    return {**_told("keras", NETWORK, config), "build_config": {"input_shape": shape}}


def of_compile(network: Network) -> dict[str, Any] | None:
    """What compile was told."""
    if network.optimizer is None or network.loss is None:
        return None
    told = [(metric.weighted, _of_metric(metric, network.loss)) for metric in network.metrics]
    return {
        "optimizer": of_object(network.optimizer, "keras.optimizers"),
        "loss": of_object(network.loss, "keras.losses"),
        "loss_weights": None,
        "metrics": [metric for weighted, metric in told if not weighted] or None,
        "weighted_metrics": [metric for weighted, metric in told if weighted] or None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
    }


def _of_metric(metric, loss):
    if type(metric) is not metrics.Accuracy:
        return of_object(metric, "keras.metrics")
    if metric.name in document.ACCURACIES:
        return metric.name
    if type(loss).__name__ not in ACCURACIES:
        raise ValueError(f"{metric.name}: Keras has no accuracy of this name with {loss}")
    return _told("keras.metrics", ACCURACIES[type(loss).__name__], {"name": metric.name})


# ---- in


def to_network(told: Any) -> Network:
    """A Sequential, laid out without a single weight. Raises ModelFileError, ValueError, TypeError."""
    name, config = _class_and_config("model", told)
    if name != NETWORK:
        raise ModelFileError(
            f"model: expected a Sequential, got {name!r:.100}: layers in a row are all that is known here"
        )
    dtypes: set[str] = set()
    network, shape = _network(config, dtypes)
    shape = shape or _input_shape(config) or _input_shape(told.get("build_config"))
    if shape is None:
        raise ModelFileError("model: the shape of its input is not in the file: it was saved before it was built")
    if len(dtypes) > 1:
        raise ModelFileError(f"model: expected layers of one dtype, got {', '.join(sorted(dtypes))}")
    for inner in network.networks():
        inner.dtype = np.dtype(next(iter(dtypes))) if dtypes else network.dtype
    network.lay_out(network.layers, checks.shape("model", "input_shape", shape))
    return network


def _input_shape(config):
    for key in ("batch_shape", "batch_input_shape", "build_input_shape", "input_shape"):
        shape = config.get(key) if isinstance(config, dict) else None
        if isinstance(shape, list) and len(shape) > 1:
            return shape[1:]
    return None


def _network(config, dtypes):
    """(the network, the shape of its input where its first layer says it); the layers' dtypes go into the set."""
    network, shape, listed = Network(name=_name(config)), None, config.get("layers")
    if not isinstance(listed, list) or not 1 <= len(listed) <= document.MAX_LAYERS:
        raise ModelFileError(f"model: expected 1 to {document.MAX_LAYERS} layers")
    for told in listed:
        name, inner = _class_and_config("layer", told)
        of_first = _input_shape(inner)
        if name == NETWORK:
            layer, of_first = _network(inner, dtypes)
        elif name in document.LAYERS:
            layer = document.LAYERS[name](**_arguments(inner))
            dtypes.add(_dtype(inner.get("dtype", "float32")))
        elif name != "InputLayer":
            raise ModelFileError(f"layer: there is no {name!r:.100} here, and so no way to read this model")
        shape = of_first if told is listed[0] else shape
        network.layers += [layer] if name != "InputLayer" else []
    return network, shape


def _name(config):
    return strict_json.text("model: name", config.get("name"))


def _dtype(told):
    """The type in which a layer computes and keeps its weights."""
    if isinstance(told, dict):
        _, config = _class_and_config("layer: dtype", told)
        told = config.get("name")
    return checks.choice("layer", "dtype", told, document.DTYPES)


def _class_and_config(what, told):
    """The name of a class of Keras' own, and its arguments."""
    if not isinstance(told, dict) or not isinstance(told.get("config"), dict):
        raise ModelFileError(f"{what}: expected a class and its config, got {told!r:.50}")
    module, name, registered = (told.get(key) for key in ("module", "class_name", "registered_name"))
    own = module is None or (isinstance(module, str) and module.split(".")[0] == "keras")
    if not isinstance(name, str) or not own or registered not in (None, name):
        raise ModelFileError(f"{what}: expected one of Keras' own, got {registered or name!r:.100} of {module!r:.100}")
    return name, told["config"]


def _arguments(config):
    """A configuration as our constructors take it."""
    unsaid = {key for key, value in config.items() if _is_unsaid(key, value)}
    return {key: _argument(value) for key, value in config.items() if key not in unsaid}


def _is_unsaid(key, value):
    if key in ("dtype", "batch_input_shape", "batch_shape"):
        return True
    return any(type(value) is type(empty) and value == empty for empty in SAY_NOTHING.get(key, ()))


def _argument(value):
    """An initializer, regularizer, constraint, schedule without its module; an activation with settings as a layer."""
    if not (isinstance(value, dict) and "class_name" in value):
        return value
    name, config = _class_and_config("argument", value)
    if name in ACTIVATION_LAYERS.values():
        return document.LAYERS[name](**_arguments(config))
    return {"class_name": name, "config": _arguments(config)}


def to_compile(told: Any, network: Network) -> None:
    """Give the network the optimizer, loss and metrics that Keras was told. Raises as to_network."""
    if not isinstance(told, dict) or told.get("optimizer") is None or told.get("loss") is None:
        return
    if told.get("loss_weights") is not None:
        raise ModelFileError("compile: there are no loss_weights here")
    network.optimizer = optimizers.get(_found("optimizer", told["optimizer"]))
    network.loss = losses.get(_found("loss", told["loss"]))
    chosen, weighted = (_metrics(told.get(key)) for key in ("metrics", "weighted_metrics"))
    network.metrics = metrics.get_all(chosen, weighted)


def _found(what, told):
    """A name, or a class and its arguments, as our `get` takes them."""
    if isinstance(told, list) and len(told) == 1:
        told = told[0]
    if isinstance(told, dict) and told.get("class_name") == "function":
        told = told.get("config")
    if isinstance(told, str):
        return told
    name, config = _class_and_config(what, told)
    config = _arguments(config)
    if config.get("reduction") == "auto":  # Keras 2
        del config["reduction"]
    return {"class_name": name, "config": config}


def _metrics(told):
    """Those of a list, in which older files keep another list, one an output."""
    if told is None:
        return []
    if not isinstance(told, list) or len(told) > document.MAX_METRICS:
        raise ModelFileError(f"compile: metrics: expected a list of at most {document.MAX_METRICS}, got {told!r:.50}")
    if len(told) == 1 and isinstance(told[0], list):
        return _metrics(told[0])
    return [_metric(one) for one in told]


def _metric(told):
    found = _found("metric", told)
    if isinstance(found, str):
        return found
    if found["class_name"] == "MeanMetricWrapper":  # a function, and the name that the logs call it by
        metric = metrics.get(_found("metric", found["config"].get("fn")))
        metric.name = strict_json.text("metric", found["config"].get("name"))
        return metric
    if found["class_name"] == "Accuracy":
        raise ModelFileError("compile: metrics: Keras' Accuracy asks for numbers that are equal; there is none here")
    return metrics.get(found)
