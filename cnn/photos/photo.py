"""Photos as people name them - by number from 1, `random`, or an image file of their own - and what a model says."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from cnn.checks import known
from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.datasets.preparation import Preparation, Shape
from cnn.datasets.scaled import Scaled
from cnn.errors import DataError, ModelFileError, UsageError
from cnn.layers import Rescaling, Softmax
from cnn.models import Sequential
from cnn.network import Network
from cnn.photos import own

Array = np.ndarray


class Photo(NamedTuple):
    """A photo with what is known of it."""

    pixels: Array  # uint8 (H, W), or (H, W, 3) in colour
    title: str  # "photo 9 = test[8]", or the name of a file
    number: int | None = None  # counted from 1; None for a file
    label: int | None = None  # the class it belongs to, where that is known
    notes: Sequence[str] = ()  # what was done to make it fit


class Prediction(NamedTuple):
    """What a model says of a photo."""

    photo: Photo
    probabilities: Array  # (classes,)
    class_names: Sequence[str]

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    @property
    def says(self) -> str:
        """The name of the most probable class."""
        return self.class_names[self.predicted]

    @property
    def right(self) -> bool | None:
        """Whether the model is right; None where no label is known."""
        return None if self.photo.label is None else self.predicted == self.photo.label


def test_photo(number: int, photos: Array, labels: Array) -> Photo:
    """The photo that people call `number`, counted from 1. Raises UsageError outside the set."""
    if not 1 <= number <= len(photos):
        raise UsageError(f"photo {number}: expected a number from 1 to {len(photos)}")
    return Photo(np.asarray(photos[number - 1]), title(number), number, int(labels[number - 1]))


def first(photos: Array, labels: Array, count: int = 20) -> list[Photo]:
    """The first photos of a set, 20 of them where it has as many."""
    return [test_photo(number, photos, labels) for number in range(1, min(count, len(photos)) + 1)]


def shown_first(photos: Array, labels: Array) -> Photo:
    """The photo to begin with where none is asked for: the article's photo 9, or the last of a smaller set."""
    return test_photo(min(9, len(photos)), photos, labels)


def title(number: int) -> str:
    """photo 9 = test[8]: people count from 1, programs from 0."""
    return f"photo {number} = test[{number - 1}]"


def find(word: str, photos: Array, labels: Array, model: Network | None = None) -> Photo:
    """The photo that a word means: a number from 1, 'random', or the name of an image file, prepared for the model.

    Raises UsageError for a word that means none, DataError for a file that holds none.
    """
    if word == "random":
        return test_photo(int(np.random.default_rng().integers(len(photos))) + 1, photos, labels)
    if (number := number_in(word)) is None:
        return own_photo(word, len(photos), model)
    return test_photo(number, photos, labels)


def number_in(word: str) -> int | None:
    """The number that a word is, or None."""
    try:
        return int(word)
    except ValueError:
        return None


def own_photo(path: str, count: int | None = None, model: Network | None = None) -> Photo:
    """The photo in an image file, prepared as the model's were; without a model as those of Fashion-MNIST.

    count: how many photos can be named by number instead. Raises UsageError for what is no file's name, DataError for
    a bad file.
    """
    if not os.path.exists(path):
        if os.path.splitext(path)[1] or os.sep in path:
            raise DataError(f"{path}: cannot be read: there is no such file")
        numbers = "a photo's number" if count is None else f"a photo's number from 1 to {count}"
        raise UsageError(f"{path!r}: expected {numbers}, 'random' or an image file")
    if model is None or (model.preparation is None and shape_of(model) == own.SHAPE):
        pixels, notes = own.read(path)
    else:
        pixels, notes = own.read_as_set(path, shape_of(model), model.preparation or Preparation())
    return Photo(pixels, os.path.basename(path), notes=notes)


def shape_of(model: Network) -> Shape:
    """(height, width, channels) of a model's photos. Raises ModelFileError for a model of anything else."""
    shape, result = model.photo_shape, model.result_shape
    if (
        shape is None
        or len(shape) != 3
        or shape[2] not in (1, 3)
        or result is None
        or len(result) != 1
        or result[0] < 2
    ):
        expected = "expected a model that makes a number for each of two classes or more of photos in grey or colour"
        raise ModelFileError(f"{model.file or model}: {expected}, got one that makes {result} of {shape}")
    height, width, channels = shape
    return height, width, channels


def probabilities(model: Sequential, photos: Array) -> Array:
    """p[n, k], float32: how probable the model finds class k for photo n of photos (N, H, W), uint8.

    They add up to 1, but for a model that ends in sigmoid, which answers for each class alone.

    Raises ValueError for a model that takes no such photos, ModelFileError for one whose numbers overflow.
    """
    y = model.predict(scaled(model, photos), batch_size=250, verbose=0)
    return require_numbers(model, Softmax().forward(y)[0] if model.closing is None else y)


def require_numbers(model: Network, outputs: Array) -> Array:
    """The outputs of a network, all finite. Raises ModelFileError: finite weights may be large enough to overflow."""
    if np.isfinite(outputs).all():
        return outputs
    raise ModelFileError(f"{model.file or model}: the network's answer is not a number: its weights are too large")


def model_input(model: Network, photos: Array, dtype: DTypeLike | None = None) -> Array:
    """Photos (N, H, W) or (N, H, W, C) of bytes as the numbers (N, H, W, C) that the model takes.

    They go from 0 to 1 where the model does not say. dtype: float32 or float64 (default: the model's).
    """
    x = scaled(model, photos, dtype)
    return x.astype(x.dtype)


def scaled(model: Network, photos: Array, dtype: DTypeLike | None = None) -> Scaled:
    """The same for very many of them: they become numbers only where they are used."""
    return Scaled(photos, input_scale(model), dtype or model.dtype)


def input_scale(model: Network) -> float:
    """What bytes are multiplied by; 1/255 where the model does not say, 1 where it does that in a layer of its own."""
    if model.input_scale is not None:
        return model.input_scale
    return 1.0 if any(isinstance(layer, Rescaling) and (layer.scale < 0.1).all() for layer in model.chain) else 1 / 255


def class_names(model: Network) -> tuple[str, ...]:
    """The names of a model's outputs: its own; else those of Fashion-MNIST for ten; else "class 0" and so on.

    Raises ValueError where there are more or fewer of its own than outputs.
    """
    outputs = known(model.result_shape)[-1]
    if model.class_names is not None and len(model.class_names) != outputs:
        raise ValueError(f"{model}: class_names: expected {outputs}, one for each output, got {len(model.class_names)}")
    default = CLASS_NAMES if outputs == len(CLASS_NAMES) else (f"class {k}" for k in range(outputs))
    return tuple(model.class_names or default)


def predict(model: Sequential, chosen: Sequence[Photo]) -> list[Prediction]:
    """What the model says of each photo. Raises ValueError for a model that takes no such photos."""
    rows = probabilities(model, np.stack([photo.pixels for photo in chosen]))
    return [Prediction(photo, row, class_names(model)) for photo, row in zip(chosen, rows, strict=True)]
