"""The two networks of the article, untrained and trained, for everything that trains, measures or shows them."""

from collections.abc import Sequence
from typing import Any

from cnn import pretrained
from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D, ReLU
from cnn.models import Sequential, load_model

INPUT_SCALE = 1 / 255  # photos come as bytes; the networks take numbers from 0 to 1
INPUT_SHAPE = (28, 28, 1)
FILTERS = 32, 64  # of its convolutions
MOST_FILTERS = 256
SMALLEST_MAPS = 7  # rows or columns behind the last pooling, as the article has them


def filters_for(height: int, width: int) -> list[int]:
    """The filters of each convolution for photos of this size: one more for each time that pooling can halve them.

    From convolution to convolution they double, as the article's do, up to MOST_FILTERS.

    >>> filters_for(28, 28), filters_for(8, 8), filters_for(64, 48), filters_for(224, 224)
    ([32, 64], [32], [32, 64], [32, 64, 128, 256, 256])
    """
    count = max(1, (min(height, width) // SMALLEST_MAPS).bit_length() - 1)
    return [min(FILTERS[0] << k, MOST_FILTERS) for k in range(count)]


def convolutional(
    filters: Sequence[int] = FILTERS, kernel_size: int = 3, seed: int | None = None, **more: Any
) -> Sequential:
    """The article's network: convolution and max pooling once for each number in `filters`, then two Dense layers.

    more: input_shape and class_names of other photos; layers that act in training alone, as _with_head has them:
    models.folded gives the article's own again.
    Raises ValueError where the photo becomes too small to pool.
    """
    normalized = more.get("normalized", False)
    model = _begun("cnn", seed, **_taken(more, "input_shape", "augmentation"))
    for count in filters:
        model.add(Conv2D(count, kernel_size, padding="same", **_activation(normalized)))
        model.add(MaxPooling2D((2, 2), strides=2))
        for layer in _normalization(normalized):
            model.add(layer)
    return _with_head(model, **more)


def dense(seed: int | None = None, **more: Any) -> Sequential:
    """The network that the article compares with: the photo as a row of 784 numbers, and the same two Dense layers.

    more: as for `convolutional`.
    """
    return _with_head(_begun("dense", seed, **_taken(more, "input_shape", "augmentation")), **more)


def _taken(more: dict[str, Any], *names: str) -> dict[str, Any]:
    """Those of these keywords that are there, and no longer among the others."""
    return {name: more.pop(name) for name in names if name in more}


def _begun(
    name: str, seed: int | None, input_shape: tuple[int, int, int] = INPUT_SHAPE, augmentation: Sequence[Layer] = ()
) -> Sequential:
    return Sequential([Input(input_shape), *augmentation], name=name, seed=seed)


def _activation(normalized: bool) -> dict[str, Any]:
    """ReLU; or none and no bias either, where both follow with the normalization."""
    return {"activation": None, "use_bias": False} if normalized else {"activation": "relu"}


def _normalization(normalized: bool) -> list[Layer]:
    """Behind the pooling, where there are a quarter of the numbers; without gamma, which the next kernel can hold."""
    return [BatchNormalization(scale=False), ReLU()] if normalized else []


def _with_head(
    model: Sequential, dropout: float = 0.0, normalized: bool = False, class_names: Sequence[str] = CLASS_NAMES
) -> Sequential:
    """dropout: how much of what the Dense layers take is dropped. normalized: BatchNormalization before each ReLU."""
    hidden = [Dense(128, **_activation(normalized)), *_normalization(normalized)]
    dropped = [[Dropout(dropout)] if dropout else [] for _ in range(2)]
    for layer in [Flatten(), *dropped[0], *hidden, *dropped[1], Dense(len(class_names), activation="softmax")]:
        model.add(layer)
    model.class_names, model.input_scale = tuple(class_names), INPUT_SCALE
    return model


def trained(name: str) -> Sequential:
    """The trained model that ships with the package: see pretrained.NAMES. Raises ValueError for another name."""
    return load_model(pretrained.path(name))


MOMENTS = {
    "untrained": "before any training",
    "early": "after one epoch of the first 2,000 photos",
    "finished": "after ten epochs of all 60,000",
}


def at_moment(name: str) -> Sequential:
    """The article's network at one of its MOMENTS, from the same first weights; the same bits on every machine.

    Untrained it is drawn anew, by NumPy alone. Early is in a file: training, however short, gives other last digits on
    another processor. Raises ValueError for another name.
    """
    if name not in MOMENTS:
        raise ValueError(f"moment: expected {', '.join(map(repr, MOMENTS))}, got {name!r}")
    if name == "untrained":
        return convolutional(seed=0)
    return trained({"early": "early", "finished": "cnn"}[name])
