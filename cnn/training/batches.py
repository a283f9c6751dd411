"""Photos and labels at the door: checked, the network built for them, and what is held back for validation."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.network import Network

Array = np.ndarray
Batch = tuple[Array, Array]  # photos (N, ...) and their classes (N,)


def check_inputs(network: Network, verb: str, x: ArrayLike) -> Array:
    """x as a batch that the network takes; builds the network if it is not yet. Raises ValueError."""
    x = checks.inputs(f"{network}: {verb}", x, network.photo_shape, network.dtype)
    if not network.layers:
        raise ValueError(f"{network}: {verb}: the model has no layers: add some first")
    if not network.built:
        network.build((None, *x.shape[1:]))
    for name, value in network.params.items():  # anybody may have put something else into layer.params
        checks.parameter(f"{network}: {verb}", name, value)
    return x


def check_batch(network: Network, verb: str, x: ArrayLike, y: ArrayLike) -> Batch:
    """x and y checked, the network built and found fit to train. Raises ValueError."""
    if network.loss is None:
        raise ValueError(f"{network}: {verb}: call compile() first")
    x = check_inputs(network, verb, x)
    if network.loss.from_logits and network.ends_in_softmax:
        raise ValueError(
            f"{network}: {verb}: the loss expects logits (from_logits=True), but the model ends in softmax"
        )
    return x, network.loss.check(y, (len(x), *checks.known(network.result_shape)))


def split_validation(
    network: Network, x: Array, y: Array, split: float, data: Any
) -> tuple[Array, Array, Batch | None]:
    """(x, y, validation): validation is (x, y), checked, or None. Raises ValueError when a part would be empty."""
    if data is not None:
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ValueError(f"{network}: fit: validation_data: expected (x, y), got {type(data).__name__}")
        return x, y, check_batch(network, "fit: validation_data", *data)
    if split == 0:
        return x, y, None
    count = math.floor(len(x) * (1 - split) + 1e-9)  # 10 * (1 - 0.9) is a little under 1 in floating point
    if count == 0 or count == len(x):
        raise ValueError(f"{network}: fit: validation_split: {split:g} of {len(x)} photos leaves one part empty")
    return x[:count], y[:count], (x[count:], y[count:])
