"""The two networks of the article, untrained and trained, for everything that trains, measures or shows them."""

from collections.abc import Sequence
from typing import Any

from cnn import pretrained
from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D, ReLU
from cnn.models import Sequential, load_model

INPUT_SCALE = 1 / 255  # photos come as bytes; the networks take numbers from 0 to 1
INPUT_SHAPE = (28, 28, 1)


def convolutional(
    filters: Sequence[int] = (32, 64), kernel_size: int = 3, seed: int | None = None, **training: Any
) -> Sequential:
    """The article's network: convolution and max pooling once for each number in `filters`, then two Dense layers.

    training: layers that act in training alone, as _with_head has them; models.folded gives the article's own again.
    Raises ValueError where the photo becomes too small to pool.
    """
    normalized = training.get("normalized", False)
    model = _begun("cnn", seed, training.pop("augmentation", ()))
    for count in filters:
        model.add(Conv2D(count, kernel_size, padding="same", **_activation(normalized)))
        model.add(MaxPooling2D((2, 2), strides=2))
        for layer in _normalization(normalized):
            model.add(layer)
    return _with_head(model, **training)


def dense(seed: int | None = None, **training: Any) -> Sequential:
    """The network that the article compares with: the photo as a row of 784 numbers, and the same two Dense layers."""
    return _with_head(_begun("dense", seed, training.pop("augmentation", ())), **training)


def _begun(name: str, seed: int | None, augmentation: Sequence[Layer]) -> Sequential:
    return Sequential([Input(INPUT_SHAPE), *augmentation], name=name, seed=seed)


def _activation(normalized: bool) -> dict[str, Any]:
    """ReLU; or none and no bias either, where both follow with the normalization."""
    return {"activation": None, "use_bias": False} if normalized else {"activation": "relu"}


def _normalization(normalized: bool) -> list[Layer]:
    """Behind the pooling, where there are a quarter of the numbers; without gamma, which the next kernel can hold."""
    return [BatchNormalization(scale=False), ReLU()] if normalized else []


def _with_head(model: Sequential, dropout: float = 0.0, normalized: bool = False) -> Sequential:
    """dropout: how much of what the Dense layers take is dropped. normalized: BatchNormalization before each ReLU."""
    hidden = [Dense(128, **_activation(normalized)), *_normalization(normalized)]
    dropped = [[Dropout(dropout)] if dropout else [] for _ in range(2)]
    for layer in [Flatten(), *dropped[0], *hidden, *dropped[1], Dense(len(CLASS_NAMES), activation="softmax")]:
        model.add(layer)
    model.class_names, model.input_scale = CLASS_NAMES, INPUT_SCALE
    return model


def trained(name: str) -> Sequential:
    """The trained model "best", "cnn" or "dense" that ships with the package. Raises ValueError for another name."""
    return load_model(pretrained.path(name))
