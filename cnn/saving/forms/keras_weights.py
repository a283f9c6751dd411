"""Keras 3's .weights.h5, also inside a .keras file: the arrays of a network, at the places of keras_arrays.py."""

from typing import Any, BinaryIO

import numpy as np

from cnn import checks
from cnn.errors import ModelFileError
from cnn.layers import Normalization
from cnn.network import Network
from cnn.saving import atomic, contents, npz
from cnn.saving.document import Shapes
from cnn.saving.forms import hdf5, keras_arrays

# ---- out


def write(network: Network, path: str, arrays: contents.Arrays, with_optimizer: bool = False) -> None:
    """Write the weights alone, for Keras' load_weights and ours. Raises OSError."""
    measured = {
        f"{path}vars/{k}": array
        for path, _, layer in keras_arrays.groups(network)
        if isinstance(layer, Normalization)
        for k, array in enumerate(_measured(layer))
    }
    with atomic.replacing(path) as file:
        write_arrays(network, file, arrays, measured)


def _measured(layer: Normalization) -> tuple[contents.Array, ...]:
    """Mean, variance and a count that Keras does not use: weights there, where they are not in its configuration."""
    shape = checks.known(layer.input_shape)
    axes = [shape[axis - 1] for axis in layer.kept_axes(1 + len(shape))]
    mean, variance = (np.broadcast_to(one, axes).astype(np.float32) for one in (layer.mean, layer.variance))
    return mean, variance, np.array(0, np.int32)


def write_arrays(network: Network, file: BinaryIO, arrays: contents.Arrays, more: contents.Arrays) -> None:
    """The HDF5 file, with more arrays at their own places."""
    places = keras_arrays.parameters(network)
    attributes = {f"{path}vars": {"name": str(layer.name)} for path, _, layer in keras_arrays.groups(network)}
    if any(place.startswith(keras_arrays.OPTIMIZER) for place in more):
        attributes[keras_arrays.OPTIMIZER] = {"name": checks.known(network.optimizer).name}
    hdf5.write(file, {place: arrays[name] for name, place in places.items()} | more, attributes)


def optimizer_arrays(network: Network, arrays: contents.Arrays, remembers: bool) -> contents.Arrays:
    """What the optimizer remembers, at its places; remembers=False, or before the first step: what it begins with."""
    optimizer = checks.known(network.optimizer)
    found = keras_arrays.scalars(network, optimizer.iterations if remembers else 0)
    for name, place in keras_arrays.slots(network).items():
        slot, parameter = name.removeprefix("optimizer/").split("/", 1)
        found[place] = arrays[name] if name in arrays else optimizer.fresh_slot(slot, arrays[parameter])
    return found


# ---- in


def read_weights(network: Network, path: str) -> None:
    """Give the network the weights in a file, whose layers must be its own. Raises ModelFileError, ValueError."""
    with npz.open_regular(path) as file, hdf5.opened(file) as h5:
        found = hdf5.datasets(h5)
        places = keras_arrays.parameters(network)
        _refuse_others(network, found, set(places.values()))
        arrays = [hdf5.numbers(found, place) for place in places.values()]
        adapt(network, found)
    network.set_weights(arrays)


def read(path: str, kind: type[Network]) -> Network:
    """There is no network in such a file, and ModelFileError says so."""
    raise ModelFileError(
        "holds weights alone: make a model of the same layers, and call its load_weights with this file"
    )


def read_steps(network: Network, found: dict[str, Any]) -> int:
    """How many steps the optimizer has taken: 0 where the file says nothing of it."""
    if network.optimizer is None or keras_arrays.STEPS not in found:
        return 0
    return checks.whole("optimizer", "steps", int(hdf5.numbers(found, keras_arrays.STEPS, ())), 0, 2**40)


def read_arrays(network: Network, shapes: Shapes, found: dict[str, Any]) -> contents.Arrays:
    """All arrays of these shapes. Of parameters that do not learn Keras' optimizer remembers nothing: fresh slots."""
    places = keras_arrays.parameters(network)
    slots = keras_arrays.slots(network) if contents.slots_of(network) else {}
    allowed = set(places.values()) | set(slots.values())
    _refuse_others(network, {path: one for path, one in found.items() if not path.startswith("optimizer/")}, allowed)
    arrays = {}
    for name, shape in shapes.items():
        place = (places | slots).get(name)
        if place is not None:
            arrays[name] = hdf5.numbers(found, place, shape)
        else:
            slot, parameter = name.removeprefix("optimizer/").split("/", 1)
            arrays[name] = checks.known(network.optimizer).fresh_slot(slot, arrays[parameter])
    return arrays


def adapt(network: Network, found: dict[str, Any]) -> None:
    """Give Normalization what Keras' adapt has measured, which is weights there and arguments here."""
    for path, _, layer in keras_arrays.groups(network):
        if isinstance(layer, Normalization) and f"{path}vars/0" in found:
            mean, variance = (hdf5.numbers(found, f"{path}vars/{k}") for k in range(2))
            layer.set_arguments({"mean": mean, "variance": variance})


def _refuse_others(network, found, expected) -> None:
    """Raise ModelFileError for arrays that no layer here has."""
    measured = {
        f"{path}vars/{k}"
        for path, _, one in keras_arrays.groups(network)
        for k in range(3)
        if isinstance(one, Normalization)
    }
    others = sorted(path for path in set(found) - expected - measured if not path.startswith("optimizer/"))
    if others:
        raise ModelFileError(f"the array {others[0]!r} belongs to no layer of the model")
