"""Augmentation ahead of the step: while a batch is learned, the next ones are changed in a thread beside it.

The random layers at the head of a network learn nothing and depend on nothing that a step changes. So with arrays, fit
lets batches pass them before their turn comes, and the step begins behind them. What happens to a photo is drawn by its
number and the pass over all photos in which it comes: neither threads, batch size, order nor resuming change a bit.
"""

import contextvars
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count, islice
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from cnn import layers, utils
from cnn.datasets.scaled import Scaled
from cnn.layers import RandomFlip, RandomLayer, Rescaling
from cnn.network import Network, forward
from cnn.training.batches import Batch
from cnn.training.sources import Arrays, Source
from kernels import threads
from kernels.augmentation import read_moved

Array = np.ndarray
T = TypeVar("T")
READY = 2  # batches that wait for their turn
RANDOM = (
    *(layers.RandomBrightness, layers.RandomContrast, layers.RandomErasing, layers.RandomFlip),
    *(layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom),
)
# A subclass may do more to a photo than the moves that it inherits.


def batches(network: Network, source: Source, start: int) -> Generator[tuple[int, Batch, int]]:
    """(step, its batch, how many layers that has passed) for the steps of the network's epoch from `start` on."""
    if isinstance(source, Arrays) and (done := length_of_head(network)):
        steps = range(start, source.steps)
        for step, batch in zip(steps, in_advance(PassesHead(network, source, done), steps), strict=True):
            yield step, batch, done
        return
    for step in count(start) if source.steps is None else range(start, source.steps):
        read = source.batch(network, step)
        if read is None:
            return
        yield step, read, 0


def length_of_head(network: Network) -> int:
    """How many layers at the head batches can pass ahead of their step: to the last of them that is random."""
    done = 0
    for k, layer in enumerate(network.chain, start=1):
        if type(layer) in RANDOM:
            done = k
        elif type(layer) is not Rescaling:
            break
    return done


class PassesHead:
    """passes(step) is the batch of this step behind the first `done` layers."""

    def __init__(self, network: Network, source: Arrays, done: int):
        self.network, self.source, self.layers = network, source, network.chain[:done]

    def __call__(self, step: int) -> Batch:
        times, photos = self.source.place(self.network, step)
        seed, layers = self.network.seed, enumerate(self.layers)
        rngs = {str(layer.name): utils.DrawsOfPhotos(seed, times, k, photos) for k, layer in layers}
        x, passed = self._moved(photos, rngs)
        x, _ = forward(self.layers[passed:], x, training=True, rngs=rngs)
        data = self.source.data
        return Batch(x, data.y[photos], None if data.weights is None else data.weights[photos])

    def _moved(self, photos, rngs) -> tuple[Array, int]:
        """The photos behind the first layers that only move whole cells, and how many these are: all moves at once."""
        data, shape, passed = self.source.data.x, (len(photos), *self.source.data.x.shape[1:]), 0
        moves = np.tile(np.array([1, 0, 1, 0]), (len(photos), 1))
        for layer in self.layers:
            if not isinstance(layer, RandomLayer):
                break
            drawn = layer.draw(rngs[layer.name].of(photos), shape)  # not of the generator itself: it may be asked again
            own = layer.moves(drawn, shape)
            if own is None:
                break
            moves, passed = _one_after_the_other(moves, own), passed + 1
            if type(layer) is not RandomFlip:
                break  # what left the photo must not come back
        x = np.empty(shape, self.network.dtype)
        if isinstance(data, Scaled):  # of which only these photos become numbers
            data, photos = data[photos], np.arange(len(photos))
        read_moved(x, data, photos, moves)
        return x, passed


def _one_after_the_other(first: Array, second: Array) -> Array:
    """Two moves (N, 4) as one: a * (a' * i + b') + b along each axis."""
    a, b = first[:, ::2], first[:, 1::2]
    return np.stack([a * second[:, ::2], a * second[:, 1::2] + b], axis=2).reshape(-1, 4)


def in_advance(make: Callable[[Any], T], steps: Sequence, ready: int = READY) -> Iterator[T]:
    """make(step) for each of the steps, made in a thread of its own while the caller works with the one before.

    >>> list(in_advance(lambda step: step * step, range(5)))
    [0, 1, 4, 9, 16]
    """
    todo: SimpleQueue = SimpleQueue()  # an exception in the main thread, as of Ctrl-C, cannot leave it locked
    made: SimpleQueue = SimpleQueue()

    def work():
        for step in iter(todo.get, None):
            try:
                made.put((make(step), None))
            except BaseException as error:
                made.put((None, error))

    helper = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="cnn ahead", daemon=True)
    if threads.get_threads() == 1 or not _started(helper):
        yield from map(make, steps)
        return
    try:
        later = iter(steps)
        for step in islice(later, ready):
            todo.put(step)
        for _ in steps:
            result, error = made.get()
            if error is not None:
                raise error
            todo.put(next(later, None))
            yield result
    finally:
        todo.put(None)
        helper.join()


def _started(helper: threading.Thread) -> bool:
    """Start the thread; False where the system gives no more of them."""
    try:
        helper.start()
    except RuntimeError:
        return False
    return True
