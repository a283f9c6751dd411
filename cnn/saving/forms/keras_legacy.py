"""Keras' older file, .h5: a whole model in HDF5, as Keras 2 wrote it and Keras 3 still does. It is read, not written.

The configuration and what compile was told are JSON in attributes of the file. Under model_weights each layer has a
group of its own name, whose attribute weight_names lists its arrays, those that learn first. Under optimizer_weights an
attribute of that name lists the optimizer's, in Keras 3 as in its other file.
"""

import warnings
from typing import Any

from cnn import checks
from cnn.errors import ModelFileError
from cnn.layers import Layer, Normalization
from cnn.network import Network
from cnn.saving import contents, npz, strict_json
from cnn.saving.document import N
from cnn.saving.forms import hdf5, keras_arrays, keras_names, keras_weights
from cnn.saving.forms.keras_file import described_as_ours

write = None
MODEL, OPTIMIZER, NAMES = "model_weights", "optimizer_weights", "weight_names"


def read(path: str, kind: type[N]) -> N:
    """The network, of this kind, in a file. Raises ModelFileError, ValueError, TypeError, OSError."""
    with npz.open_regular(path) as file, hdf5.opened(file) as h5:
        config = _json(h5, "model_config")
        if config is None:
            if hdf5.attribute(h5, "layer_names") is not None or "layers" in h5:
                keras_weights.read(path, Network)
            raise ModelFileError("not a model of Keras: it has no model_config")
        network = keras_names.to_network(config)
        keras_names.to_compile(_compile(_json(h5, "training_config")), network)
        found = _renamed(network, h5, hdf5.datasets(h5))
        keras_weights.adapt(network, found)
        steps = keras_weights.read_steps(network, found)
        described = described_as_ours(network, steps)
        return contents.restore(described, kind, lambda model, shapes: keras_weights.read_arrays(model, shapes, found))[
            0
        ]


def _json(h5, name):
    text = hdf5.attribute(h5, name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ModelFileError(f"{name}: expected text, got a list")
    return strict_json.parse(text.encode())


def _compile(told):
    """What compile was told, under the names of the other file."""
    if not isinstance(told, dict):
        return None
    return {**told, "optimizer": told.get("optimizer_config")}


def _renamed(network: Network, h5: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The data sets at the places that they have in Keras' newer file."""
    renamed: dict[str, Any] = {}
    for layer in network.layers:
        there = _names(h5, found, f"{MODEL}/{layer.name}")
        for measured in (False, True):
            places = _places(network, layer, measured)
            if len(places) == len(there):
                break
        else:
            raise ModelFileError(f"{layer}: expected {len(places)} arrays, got {len(there)}")
        renamed |= dict(zip(places, there, strict=True))
    if network.optimizer is None or OPTIMIZER not in h5:
        return renamed
    there = _names(h5, found, OPTIMIZER)
    if not str(hdf5.attribute(h5, "keras_version")).startswith("3."):
        warnings.warn("the optimizer of Keras 2 remembers in another order: it begins anew", stacklevel=6)
        return renamed
    return renamed | {f"{keras_arrays.OPTIMIZER}/{k}": dataset for k, dataset in enumerate(there)}


def _names(h5: Any, found: dict[str, Any], group: str) -> list[Any]:
    """The data sets that a group lists."""
    if group not in h5:
        raise ModelFileError(f"the group {group!r} is missing")
    listed = hdf5.attribute(h5[group], NAMES)
    names = [listed] if isinstance(listed, str) else listed or []
    for name in names:
        if f"{group}/{name}" not in found:
            raise ModelFileError(f"the array {group}/{name} is missing")
    return [found[f"{group}/{name}"] for name in names]


def _places(network: Network, layer: Layer | Network, measured: bool) -> list[str]:
    """Where the newer file keeps the weights of one of the network's layers, in the order of this one.

    measured: with what Normalization has measured, which are weights unless they were given.
    """
    inside = (
        {id(one) for each in layer.networks() for one in each.layers} if isinstance(layer, Network) else {id(layer)}
    )
    learn: list[str] = []
    rest: list[str] = []
    for path, _, one in keras_arrays.groups(network):
        if id(one) not in inside or isinstance(one, Network):
            continue
        if isinstance(one, Normalization) and measured:
            rest += [f"{path}vars/{k}" for k in range(3)]
        for k, key in enumerate(one.param_shapes(checks.known(one.input_shape))):
            (learn if one.trainable and key not in one.not_learned else rest).append(f"{path}vars/{k}")
    return learn + rest
