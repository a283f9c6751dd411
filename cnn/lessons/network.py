"""The networks and photos that the lessons speak of."""

import numpy as np

from cnn import article, explain, photos
from cnn.datasets import fashion_mnist
from cnn.explain import Trace
from cnn.models import Sequential

SEEN = 2000  # photos that the young network has learned from, each once


def untrained_network(seed: int = 0) -> Sequential:
    """The article's network as it is born, ready to learn."""
    model = article.convolutional(seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def young_network(seed: int = 0) -> Sequential:
    """The same after 63 steps, on 2,000 photos: it knows something and still doubts, so that learning can be seen."""
    model = untrained_network(seed)
    model.fit(*training_photos(SEEN), epochs=1, verbose=0)
    return model


def training_photos(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first photos (count, 28, 28, 1), as numbers from 0 to 1, and their classes."""
    x, y = fashion_mnist.load_split("train")
    return (x[:count, :, :, None] / 255).astype(np.float32), y[:count]


def trace(model: Sequential, number: int = 9) -> Trace:
    """The trace of a test photo, counted from 1; the loss is that of its label. Raises UsageError for none."""
    photo = photos.test_photo(number, *fashion_mnist.load_split("test"))
    return explain.trace(model, photo.pixels, photo.label, photo.label, number)
