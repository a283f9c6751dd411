"""Photos and labels at the door: checked, the network built for them, and what is held back for validation."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.datasets.scaled import Scaled
from cnn.layers.closing import closing_name
from cnn.losses import Loss
from cnn.network import Network

Array = np.ndarray


class Batch(NamedTuple):
    """Photos that go through the network together."""

    x: Any  # (N, ...), an array or Scaled
    y: Array  # their labels, as the loss takes them
    weights: Array | None = None  # (N,), how often each one's loss counts; None: once

    def part(self, photos: Any) -> "Batch":
        """Those of a slice or of an array of indices."""
        return Batch(self.x[photos], self.y[photos], None if self.weights is None else self.weights[photos])

    @property
    def arrays(self) -> list[Array]:
        """Those that there are."""
        return [array for array in self if array is not None]


def check_photos(network: Network, verb: str, x: ArrayLike | Scaled) -> Any:
    """As check_inputs; photos that are Scaled stay so."""
    if not isinstance(x, Scaled):
        return check_inputs(network, verb, x)
    check_inputs(network, verb, np.broadcast_to(np.uint8(0), x.shape))  # whatever its bytes are, they are finite
    return x


def check_inputs(network: Network, verb: str, x: ArrayLike) -> Array:
    """x as a batch that the network takes; builds the network if it is not yet. Raises ValueError."""
    where = f"{network}: {verb}"
    x = with_channels(checks.numeric_array(where, "x", x), network.photo_shape)
    x = checks.inputs(where, x, network.photo_shape, network.dtype)
    if not network.layers:
        raise ValueError(f"{where}: the model has no layers: add some first")
    if not network.built:
        network.build((None, *x.shape[1:]))
    for name, value in network.params.items():  # anybody may have put something else into layer.params
        checks.parameter(where, name, value)
    return x


def with_channels(x: Array, input_shape: tuple[int, ...] | None) -> Array:
    """x with a last axis of one number added or left out where that alone makes it fit, as Keras does.

    >>> with_channels(np.zeros((5, 28, 28)), (28, 28, 1)).shape, with_channels(np.zeros((5, 784, 1)), (784,)).shape
    ((5, 28, 28, 1), (5, 784))
    """
    if input_shape and x.shape[1:] != input_shape:
        if (*x.shape[1:], 1) == input_shape:
            return x[..., None]
        if x.shape[1:] == (*input_shape, 1):
            return x[..., 0]
    return x


def check_batch(
    network: Network,
    verb: str,
    x: Any,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None = None,
    class_weight: dict[int, float] | None = None,
) -> Batch:
    """x and y and their weights checked, the network built and found fit to train. Raises ValueError."""
    loss = require_loss(network, verb)
    x = check_photos(network, verb, x)
    if loss.from_logits and network.closing is not None:
        end = closing_name(network.closing)
        raise ValueError(f"{network}: {verb}: the loss expects logits (from_logits=True), but the model ends in {end}")
    y = loss.check(y, (len(x), *checks.known(network.result_shape)))
    return Batch(x, y, _weights(network, f"{network}: {verb}", y, sample_weight, class_weight))


def require_loss(network: Network, verb: str) -> Loss:
    """The loss that the network was compiled with. Raises ValueError before compile."""
    if network.loss is None:
        raise ValueError(f"{network}: {verb}: call compile() first")
    return network.loss


def _weights(network, where, y, sample_weight, class_weight):
    """How often the loss of each photo counts, or None."""
    if sample_weight is not None and class_weight is not None:
        raise ValueError(f"{where}: class_weight and sample_weight: expected one of them, got both")
    if sample_weight is not None:
        return checks.weights(where, sample_weight, len(y))
    return None if class_weight is None else weights_of_classes(where, class_weight, y, network.result_shape[-1])


def weights_of_classes(where: str, class_weight: Any, y: Array, outputs: int) -> Array:
    """class_weight[class] for each photo, 1 for a class that it does not name. Raises ValueError.

    >>> weights_of_classes("fit", {1: 5.0}, np.array([0, 1, 1]), outputs=3)
    array([1., 5., 5.])
    """
    if not isinstance(class_weight, dict):
        raise ValueError(f"{where}: class_weight: expected a dict from class to weight, got {class_weight!r:.100}")
    if y.ndim > 2:
        raise ValueError(f"{where}: class_weight: expected one label a photo, got labels of shape {y.shape}")
    table = np.ones(max(2, outputs))
    for key, value in class_weight.items():
        key = checks.whole(where, "class_weight: class", key, 0, len(table) - 1)
        table[key] = checks.number(where, f"class_weight of {key}", value)
    one_hot = y.ndim == 2 and y.shape[1] > 1
    classes = y.argmax(axis=1) if one_hot else np.rint(y.reshape(len(y))).astype(np.int64)
    if classes.min() < 0 or classes.max() >= len(table):
        raise ValueError(
            f"{where}: class_weight: expected labels that are classes, got {classes.min()}, {classes.max()}"
        )
    return table[classes]


def split_validation(network: Network, data: Batch, split: float) -> tuple[Batch, Batch | None]:
    """(training, validation): the last fraction of the photos, or None. ValueError when a part would be empty."""
    if split == 0:
        return data, None
    count = math.floor(len(data.x) * (1 - split) + 1e-9)  # 10 * (1 - 0.9) is a little under 1 in floating point
    if count == 0 or count == len(data.x):
        raise ValueError(f"{network}: fit: validation_split: {split:g} of {len(data.x)} photos leaves one part empty")
    return data.part(slice(None, count)), data.part(slice(count, None))
