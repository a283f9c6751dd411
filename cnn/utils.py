"""Randomness: every draw of the project has a key of five numbers, and nothing else is state.

The key is (seed, purpose, epoch, step, layer). The same key gives the same numbers in any
order of calls, so a run that is resumed draws what the uninterrupted run would have drawn.
"""

import copy
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.datasets.directory import ImageDataset as ImageDataset
from cnn.datasets.directory import image_dataset_from_directory as image_dataset_from_directory
from cnn.datasets.directory import img_to_array as img_to_array
from cnn.datasets.directory import load_img as load_img
from kernels import draws

INITIALISATION, SHUFFLE, DROPOUT, CALL, PHOTO, SIDE = 1, 2, 3, 4, 5, 6  # the purposes
# CALL: dropout in model(x, training=True); PHOTO, SIDE: see DrawsOfPhotos
LONE = 2**32 - 1  # in the place of a layer's number, for one that is in no model

_default_seed = 0
_lone_layers = itertools.count()  # layers built outside a model get different weights
_lone_calls = itertools.count()  # and drop different units each time they are called


def generator(seed: int, purpose: int, epoch: int = 0, step: int = 0, layer: int = 0) -> np.random.Generator:
    """The generator for one draw. All five numbers are always given: NumPy would ignore zeros left out at the end.

    >>> generator(seed=0, purpose=SHUFFLE, epoch=3).permutation(5)
    array([2, 4, 1, 0, 3])
    """
    return np.random.default_rng([seed, purpose, epoch, step, layer])


def set_random_seed(seed: int) -> None:
    """The seed of models made from now on without one of their own, as keras.utils.set_random_seed."""
    global _default_seed, _lone_layers, _lone_calls
    _default_seed = checks.whole("set_random_seed", "seed", seed, low=0, high=2**32 - 1)
    _lone_layers, _lone_calls = itertools.count(), itertools.count()


def default_seed() -> int:
    """The seed that set_random_seed chose; 0 before."""
    return _default_seed


def lone_layer_generator() -> np.random.Generator:
    """The generator for a layer that is built by calling it, without a model."""
    return generator(_default_seed, INITIALISATION, layer=next(_lone_layers))


def lone_call_generator() -> np.random.Generator:
    """The generator for a layer that draws and is called in training, without a model."""
    return generator(_default_seed, CALL, step=next(_lone_calls), layer=LONE)


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (N,) or (N, 1) as one-hot rows (N, num_classes), as keras.utils.to_categorical. Raises ValueError.

    num_classes: the largest number and one more, unless given.

    >>> to_categorical([0, 2], num_classes=3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    numbers = checks.numeric_array("to_categorical", "x", x)
    if numbers.size == 0:
        raise ValueError(f"to_categorical: x: expected class numbers, got shape {numbers.shape}")
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    most = int(numbers.max()) + 1 if num_classes is None else num_classes
    classes = checks.whole("to_categorical", "num_classes", most)
    wrong = ~((numbers >= 0) & (numbers < classes) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise ValueError(
            f"to_categorical: x: expected whole numbers from 0 to {classes - 1}, got {numbers[wrong].ravel()[0]}"
        )
    return np.eye(classes)[numbers.astype(np.int64)]


def normalize(x: ArrayLike, axis: int = -1, order: int = 2) -> np.ndarray:
    """x divided by its length along an axis, as keras.utils.normalize: by the sum of |x|^order to the 1/order.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    numbers = checks.numeric_array("normalize", "x", x)
    length = np.linalg.norm(np.atleast_1d(numbers), checks.whole("normalize", "order", order), axis, keepdims=True)
    return np.atleast_1d(numbers) / np.where(length == 0, 1, length)


def plot_model(*arguments: Any, **more: Any) -> None:
    """Not here, where a network is layers in a row: there is no graph to draw.

    >>> plot_model()
    Traceback (most recent call last):
    ValueError: plot_model: not supported here: model.summary() shows the layers, `cnn explain --figures` draws them
    """
    raise ValueError(
        "plot_model: not supported here: model.summary() shows the layers, `cnn explain --figures` draws them"
    )


class PyDataset:
    """What to write for fit instead of arrays: your own __len__, the number of batches, and __getitem__, one of them.

    on_epoch_end is called when an epoch is over. Any object with these two methods will do as well.

    >>> class Ones(PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, index):
    ...         return np.ones((8, 4)), np.zeros(8)
    >>> len(Ones()), Ones()[0][0].shape
    (3, (8, 4))
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        """Keras' arguments say who reads ahead; here the batches are read one by one."""

    def __len__(self) -> int:
        """How many batches there are."""
        raise NotImplementedError(f"{type(self).__name__}: write __len__, which returns the number of batches")

    def __getitem__(self, index: int) -> tuple:
        """The batch of this number: (x, y) or (x, y, sample_weight)."""
        raise NotImplementedError(f"{type(self).__name__}: write __getitem__, which returns a batch (x, y)")

    def on_epoch_end(self) -> None:
        """An epoch is over."""


Sequence = PyDataset  # Keras' older name


class ShardOfDraws:
    """Draws numbers for a whole batch and hands out those of one shard: cutting the batch changes no draw.

    >>> whole = ShardOfDraws(np.random.default_rng(0), slice(0, 4)).random((4, 2))
    >>> second_half = ShardOfDraws(np.random.default_rng(0), slice(2, 4)).random((2, 2))
    >>> bool((second_half == whole[2:]).all())
    True
    """

    def __init__(self, rng: np.random.Generator, shard: slice | np.ndarray):
        """shard: where its photos stand in the batch, as a slice or by their numbers."""
        self.rng = rng
        self.rows = np.arange(shard.start, shard.stop) if isinstance(shard, slice) else shard

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform in [0, 1), of this shape; the first axis is the shard's photos."""
        return _uniform(self.key(), self.rows, shape)

    def key(self) -> np.uint64:
        """What the next numbers are drawn by (kernels/draws.py)."""
        return _key(self.rng)

    def part(self, shard: slice) -> "ShardOfDraws":
        """The same for a part of these photos, from where this one stands; neither changes what the other draws."""
        return ShardOfDraws(copy.deepcopy(self.rng), self.rows[shard])


class DrawsOfPhotos:
    """Draws numbers by photo: in a pass over all photos each has numbers of its own, wherever it stands in it.

    >>> some, others = (DrawsOfPhotos(seed=0, epoch=3, layer=0).of(photos) for photos in ([5, 2], [2, 7, 5]))
    >>> bool((some.random((2, 4)) == others.random((3, 4))[[2, 0]]).all())
    True
    """

    def __init__(self, seed: int, epoch: int, layer: int, photos: ArrayLike = ()):
        self.seed, self.epoch, self.layer, self.photos = seed, epoch, layer, np.asarray(photos)
        self.calls = 0

    def of(self, photos: ArrayLike) -> "DrawsOfPhotos":
        """The draws for the photos with these numbers, (N,)."""
        return DrawsOfPhotos(self.seed, self.epoch, self.layer, photos)

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform in [0, 1), of this shape; the first axis is the photos."""
        self.calls += 1
        key = _key(generator(self.seed, PHOTO, self.epoch, self.calls, self.layer))
        return _uniform(key, self.photos, shape)

    def alternating(self, shape: tuple[int, ...]) -> np.ndarray:
        """Drawn once for all epochs, and half a round further in each: below 1/2 in every second one."""
        drawn = _uniform(_key(generator(self.seed, SIDE, layer=self.layer)), self.photos, shape)
        return (drawn + self.epoch % 2 / 2) % 1


def _key(rng):
    return rng.integers(2**64, dtype=np.uint64)


def _uniform(key, rows, shape):
    """The numbers of these rows (N,) under a key, of this shape (N, ...)."""
    numbers = np.empty((shape[0], math.prod(shape[1:])))
    draws.uniform(numbers, rows.astype(np.uint64), key)
    return numbers.reshape(shape)


Rng = np.random.Generator | ShardOfDraws | DrawsOfPhotos  # what a layer that draws is given
