"""A network as the program for Keras that makes it and compiles it; its weights come from a .weights.h5 file."""

import inspect
from typing import Any

from cnn import checks
from cnn.configurable import as_json
from cnn.layers import Normalization
from cnn.network import Network
from cnn.saving import atomic, contents
from cnn.saving.forms import keras_names
from cnn.saving.forms.extras import comment


def write(network: Network, path: str, arrays: contents.Arrays) -> None:
    """Write the program. Raises ValueError for what Keras has no word for, OSError."""
    with atomic.replacing(path) as file:
        file.write(code(network).encode())


def code(network: Network) -> str:
    """The program. Raises ValueError for what Keras has no word for."""
    scale = "" if network.input_scale is None else f"; bytes are multiplied by {network.input_scale!r}"
    told = keras_names.of_compile(network)
    compiled = []
    if told is not None:
        chosen = {key: told[key] for key in ("metrics", "weighted_metrics") if told[key]}
        compiled = [
            "model.compile(",
            f"    optimizer={_object(network.optimizer, told['optimizer'])},",
            f"    loss={_object(network.loss, told['loss'])},",
            *(f"    {key}={_value(value)}," for key, value in chosen.items()),
            ")",
        ]
        if words := list(checks.known(network.optimizer).undecayed):
            compiled.append(f"model.optimizer.exclude_from_weight_decay(var_names={words!r})")
    return "\n".join(
        [
            f"# {comment(str(network.name))}: photos are (N, H, W, C){scale}.",
            "",
            "import keras",
            "from keras import layers",
            "",
            "model = keras.Sequential(",
            "    [",
            f"        keras.Input({tuple(checks.known(network.photo_shape))!r}),",
            *_layers(network, "        "),
            "    ],",
            f"    name={network.name!r},",
            ")",
            *compiled,
            '# model.load_weights("model.weights.h5")  # as `cnn export MODEL model.weights.h5` writes it',
            "",
        ]
    )


def _layers(network: Network, indent: str) -> list[str]:
    lines = []
    for layer in network.layers:
        if isinstance(layer, Network):
            lines += [f"{indent}keras.Sequential(", f"{indent}    [", *_layers(layer, f"{indent}        ")]
            lines += [f"{indent}    ],", f"{indent}    name={layer.name!r},", f"{indent}),"]
        else:
            lines.append(f"{indent}{_object(layer, keras_names.of_object(layer))},")
    return lines


REQUIRED = ("pool_size",)  # in Keras, of AveragePooling2D


def _object(thing: Any, told: dict[str, Any]) -> str:
    """The call that makes an object, with the arguments that are not at their defaults."""
    known = {
        key: as_json(parameter.default)
        for kind in reversed(type(thing).__mro__)
        for key, parameter in inspect.signature(kind).parameters.items()
        if key not in REQUIRED
    }
    absent, weights = object(), ("mean", "variance") if isinstance(thing, Normalization) else ()  # they are in the file
    config = {key: value for key, value in told["config"].items() if key not in weights}
    shown = [key for key in config if key == "name" or thing.get_config().get(key, absent) != known.get(key, absent)]
    return _call(told, {key: config[key] for key in shown})


def _call(told, config) -> str:
    module = told["module"].replace("keras.layers", "layers")
    return f"{module}.{told['class_name']}({', '.join(f'{key}={_value(value)}' for key, value in config.items())})"


def _value(value) -> str:
    if isinstance(value, dict):
        return _call(value, value["config"])
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
