"""Where the batches come from: arrays, objects that have them by number, or a stream that yields one after the other.

Arrays and numbered batches know what the step of an epoch is given, so that a run can be taken up at any step. A stream
can only go on.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn import checks, utils
from cnn.datasets.scaled import Scaled
from cnn.network import Network
from cnn.training.batches import Batch, check_batch, check_inputs
from cnn.training.step import outputs_in_batches

Array = np.ndarray
Outputs = Iterator[tuple[Batch, Array]]  # each batch, and what the network puts out for it before a closing activation


class Arrays:
    """Photos in memory, cut into batches of batch_size: `steps` an epoch, or as many as there are.

    With another number of steps an epoch goes on where the last one ended, and with the next shuffling once all photos
    were seen.
    """

    def __init__(self, data: Batch, batch_size: int, shuffle: bool = False, steps: int | None = None):
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.in_all = math.ceil(len(data.x) / batch_size)
        self.steps = steps or self.in_all
        self._shuffled: tuple[Any, Array] | None = None

    def batch(self, network: Network, step: int) -> Batch:
        """What this step of the network's epoch learns from."""
        times, part = self._place(network, step)
        return self.data.part(self._order(network.seed, times)[part] if self.shuffle else part)

    def place(self, network: Network, step: int) -> tuple[int, Array]:
        """(which pass over all photos this step of the network's epoch is part of, the numbers of its photos)."""
        times, part = self._place(network, step)
        return times, self._order(network.seed, times)[part] if self.shuffle else np.arange(len(self.data.x))[part]

    def _place(self, network, step):
        times, place = divmod(network.epoch * self.steps + step, self.in_all)
        return times, slice(place * self.batch_size, (place + 1) * self.batch_size)

    def _order(self, seed, times):
        """The photos in the order of the times-th pass over all of them."""
        if self._shuffled is None or self._shuffled[0] != (seed, times):
            order = utils.generator(seed, utils.SHUFFLE, times).permutation(len(self.data.x))
            self._shuffled = (seed, times), order
        return self._shuffled[1]

    def contents(self) -> list[Array]:
        """All that is read, for its fingerprint."""
        return self.data.arrays

    def photos_in(self, network: Network, steps: int) -> int:
        """How many photos the first steps of the network's epoch have."""
        whole, last = self.batch_size, len(self.data.x) - (self.in_all - 1) * self.batch_size
        places = ((network.epoch * self.steps + step) % self.in_all for step in range(steps))
        return sum(last if place == self.in_all - 1 else whole for place in places)

    def outputs(self, network: Network) -> Outputs:
        """All batches in order, and what the network puts out for each."""
        x = self.data.x[: self.steps * self.batch_size]
        for part, outputs in outputs_in_batches(network, x, self.batch_size):
            yield self.data.part(part), outputs

    def close(self) -> None:
        """Nothing is open."""


class Numbered:
    """Batches by number, (x, y) or (x, y, sample_weight): source[k] for k < len(source), as Keras' PyDataset has them.

    Its on_epoch_end, if there is one, is called when an epoch is over.
    """

    def __init__(self, source: Any, where: str, shuffle: bool = False, steps: int | None = None, **weights: Any):
        self.source, self.where, self.shuffle, self.weights = source, where, shuffle, weights
        self.in_all = checks.whole(where, "len(x)", len(source))
        self.steps = steps or self.in_all

    def batch(self, network: Network, step: int) -> Batch:
        """What this step of the network's epoch learns from."""
        times, place = divmod(network.epoch * self.steps + step, self.in_all)
        if self.shuffle:
            place = int(utils.generator(network.seed, utils.SHUFFLE, times).permutation(self.in_all)[place])
        return read(network, self.where, self.source[place], **self.weights)

    def contents(self) -> list[Array]:
        """What is known of it without reading it."""
        return [np.frombuffer(f"{self.in_all} batches of {type(self.source).__name__}".encode(), np.uint8)]

    def photos_in(self, network: Network, steps: int) -> None:
        """Nobody knows before they are read."""

    def outputs(self, network: Network) -> Outputs:
        """All batches in order, and what the network puts out for each."""
        for number in range(self.steps):
            yield outputs_of(network, self.where, self.source[number % self.in_all])

    def close(self) -> None:
        """An epoch is over."""
        getattr(self.source, "on_epoch_end", lambda: None)()


class Stream:
    """Batches from a generator, or from anything that can be iterated over; `steps` an epoch, or all until it ends.

    What can be iterated over again begins anew when it has ended.
    """

    def __init__(self, source: Any, where: str, steps: int | None = None, **weights: Any):
        self.source, self.where, self.weights = source, where, weights
        self.steps = steps or _length(source)
        self.once = hasattr(source, "__next__")
        self.iterator: Iterator | None = None

    def contents(self) -> list[Array]:
        """Raises ValueError: nobody can tell whether a stream is the same, nor go back in it."""
        raise ValueError(
            f"{self.where}: a run that reads from a generator cannot be taken up again: "
            "pass arrays, or an object with __len__ and __getitem__"
        )

    def next(self, step: int) -> Any:
        """The next batch as it comes, or None where an epoch without a number of steps ends."""
        fresh = self.iterator is None
        self.iterator = iter(self.source) if self.iterator is None else self.iterator
        for batch in self.iterator:
            return batch
        if not self.once:
            self.iterator = None  # it begins anew
        if self.steps is None and step > 0:
            return None
        if self.once or fresh:
            raise ValueError(
                f"{self.where}: the batches ended before step {step + 1}: expected as many as epochs times "
                "steps_per_epoch, from a generator that goes on for ever (while True) or from arrays"
            )
        return self.next(step)

    def batch(self, network: Network, step: int) -> Batch | None:
        """What this step learns from, or None: the epoch is over."""
        batch = self.next(step)
        return None if batch is None else read(network, self.where, batch, **self.weights)

    def photos_in(self, network: Network, steps: int) -> None:
        """Nobody knows before they are read."""

    def outputs(self, network: Network) -> Outputs:
        """One batch after the other, and what the network puts out for each."""
        step = 0
        while step != self.steps and (batch := self.next(step)) is not None:
            yield outputs_of(network, self.where, batch)
            step += 1

    def close(self) -> None:
        """Nothing is open."""


Source = Arrays | Numbered | Stream


def read(network: Network, where: str, batch: Any, class_weight: dict[int, float] | None = None) -> Batch:
    """A batch (x, y) or (x, y, sample_weight) as a stream gives it. Raises ValueError."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise ValueError(f"{where}: expected batches (x, y) or (x, y, sample_weight), got {type(batch).__name__}")
    x, y, *weights = batch
    return check_batch(network, where.partition(": ")[2], x, y, weights[0] if weights else None, class_weight)


def outputs_of(network: Network, where: str, batch: Any) -> tuple[Batch, Array]:
    """The batch, and what the network puts out for it before a closing activation; to predict, it needs no labels."""
    verb = where.partition(": ")[2]
    if verb.startswith("predict"):
        x = batch[0] if isinstance(batch, tuple | list) else batch
        read_batch = Batch(check_inputs(network, verb, x), np.empty(0))
    else:
        read_batch = read(network, where, batch)
    ((_, outputs),) = outputs_in_batches(network, read_batch.x, len(read_batch.x))
    return read_batch, outputs


def _length(source):
    """How many batches it says that it has; None where it does not, or where there is no end."""
    try:
        return len(source) if hasattr(source, "__len__") else None
    except TypeError:
        return None


def yields_batches(where: str, x: Any, y: Any, sample_weight: Any = None) -> bool:
    """Whether x is a stream. Raises ValueError where there are labels or weights beside it, which nobody would read."""
    if not is_stream(x):
        return False
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"{where}: {name}: expected none beside a {type(x).__name__}, which yields it with x")
    return True


def is_stream(x: Any) -> bool:
    """Whether x yields batches, and is no array nor what becomes one."""
    plain = isinstance(x, list | tuple | dict | str | bytes | set | Scaled) or hasattr(x, "__array__")
    return not plain and not np.isscalar(x) and (hasattr(x, "__iter__") or hasattr(x, "__getitem__"))


def stream(x: Any, where: str, shuffle: bool = False, steps: int | None = None, **weights: Any) -> Numbered | Stream:
    """The source that x is. Raises ValueError for y or weights beside it."""
    if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        return Numbered(x, where, shuffle, steps, **weights)
    return Stream(x, where, steps, **weights)
