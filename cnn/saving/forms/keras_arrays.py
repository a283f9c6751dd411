"""Where Keras 3 keeps each array in its HDF5 file: {"conv2d/kernel": "layers/conv2d/vars/0"}.

A layer's group is called after its class, with _1, _2 ... for the second and third of it, whatever its own name is; its
arrays are numbered as it lists its weights. The optimizer's are numbered through: the steps taken, the learning
rate unless a schedule gives it, and then slots, in the order in which that optimizer makes them.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from cnn import checks
from cnn.configurable import snake_case
from cnn.layers import Layer
from cnn.network import Network
from cnn.optimizers.adaptive import Nadam, momentum_product
from cnn.optimizers.base import Optimizer
from cnn.saving.forms import keras_names

Array = np.ndarray
OPTIMIZER = "optimizer/vars"
STEPS = f"{OPTIMIZER}/0"
# Slots that are made together stand together: of each parameter its momentum and its velocity. The order of the others.
TOGETHER = {
    "Adam": ("momentum", "velocity"),
    "AdamW": ("momentum", "velocity"),
    "Nadam": ("momentum", "velocity"),
    "Adamax": ("momentum", "norm"),
    "Adadelta": ("accumulated_grad", "accumulated_delta_var"),
}


def groups(network: Network, path: str = "", name: str = "") -> Iterator[tuple[str, str, Layer | Network]]:
    """(the group in the file, what the names of our arrays begin with, the layer), networks before their layers."""
    yield path, name, network
    seen: Counter[str] = Counter()
    for layer in network.layers:
        kind = snake_case(keras_names.class_name(layer))
        place = f"{path}layers/{kind}_{seen[kind]}" if seen[kind] else f"{path}layers/{kind}"
        seen[kind] += 1
        if isinstance(layer, Network):
            yield from groups(layer, f"{place}/", f"{name}{layer.name}/")
        else:
            yield f"{place}/", f"{name}{layer.name}/", layer


def parameters(network: Network) -> dict[str, str]:
    """The place of each parameter of a network that is laid out."""
    return {
        f"{name}{key}": f"{path}vars/{k}"
        for path, name, layer in groups(network)
        if isinstance(layer, Layer)
        for k, key in enumerate(layer.param_shapes(checks.known(layer.input_shape)))
    }


def trained(network: Network) -> list[str]:
    """The parameters that training changes, in order: those that Keras' optimizer knows."""
    return [
        f"{name}/{key}"
        for name, layer in network.flat()
        if layer.trainable
        for key in layer.param_shapes(checks.known(layer.input_shape))
        if key not in layer.not_learned
    ]


def slots(network: Network) -> dict[str, str]:
    """The place of each array that the optimizer remembers of a parameter."""
    optimizer = checks.known(network.optimizer)
    first = 1 if optimizer.scheduled else 2
    listed = [
        f"optimizer/{slot}/{key}" for together in _rows(optimizer) for key in trained(network) for slot in together
    ]
    return {name: f"{OPTIMIZER}/{k}" for k, name in enumerate(listed, first)}


def _rows(optimizer: Optimizer) -> list[tuple[str, ...]]:
    """The slots, those that stand together in one row; the moving average is the first that is made."""
    together = TOGETHER.get(type(optimizer).__name__, ())
    alone = [(slot,) for slot in optimizer.slots if slot not in together]
    return [*[("average",)] * optimizer.use_ema, *[together] * bool(together), *alone]


def scalars(network: Network, steps: int) -> dict[str, Array]:
    """What the optimizer remembers beside slots after so many steps, at its place."""
    optimizer = checks.known(network.optimizer)
    found = {STEPS: np.array(steps, np.int32)}
    if not optimizer.scheduled:
        found[f"{OPTIMIZER}/1"] = np.array(optimizer.learning_rate, np.float32)
    if isinstance(optimizer, Nadam):  # its u_1 u_2 ... u_t, which we compute
        product = momentum_product(optimizer.beta_1, steps) if steps else 1.0
        found[f"{OPTIMIZER}/{len(found) + len(slots(network))}"] = np.array(product, np.float32)
    return found
