"""The two networks of the article, untrained and trained, for everything that trains, measures or shows them."""

from collections.abc import Sequence

from cnn import pretrained
from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D
from cnn.models import Sequential, load_model

INPUT_SCALE = 1 / 255  # photos come as bytes; the networks take numbers from 0 to 1
INPUT_SHAPE = (28, 28, 1)


def convolutional(filters: Sequence[int] = (32, 64), kernel_size: int = 3, seed: int | None = None) -> Sequential:
    """The article's network: convolution and max pooling once for each number in `filters`, then two Dense layers.

    Raises ValueError where the photo becomes too small to pool.
    """
    model = Sequential(name="cnn", seed=seed)
    for index, count in enumerate(filters):
        shape = None if index else INPUT_SHAPE
        model.add(Conv2D(count, kernel_size, padding="same", activation="relu", input_shape=shape))
        model.add(MaxPooling2D((2, 2), strides=2))
    return _with_head(model)


def dense(seed: int | None = None) -> Sequential:
    """The network that the article compares with: the photo as a row of 784 numbers, and the same two Dense layers."""
    return _with_head(Sequential(name="dense", seed=seed))


def _with_head(model: Sequential) -> Sequential:
    model.add(Flatten(input_shape=None if model.layers else INPUT_SHAPE))
    model.add(Dense(128, activation="relu"))
    model.add(Dense(len(CLASS_NAMES), activation="softmax"))
    model.class_names, model.input_scale = CLASS_NAMES, INPUT_SCALE
    return model


def trained(name: str) -> Sequential:
    """The trained model "cnn" or "dense" that ships with the package. Raises ValueError for another name."""
    return load_model(pretrained.path(name))
