"""Who computes which shards of a batch, and how what each shard gives is added up. Here: this process, all of them.

Each sum over a batch is a chain in the order of the shards, s0 + s1 + s2 ..., and each of its terms is made from one
shard alone. So it does not matter to the bits who makes a term, as long as somebody adds all of them in this order.
distribute.py has the World of several processes that learn together: there the layers' sums are put off (Unfinished)
until all terms have come.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from cnn.layers.whole_batch import added

Array = np.ndarray
Parts = Sequence[Array] | Array  # one array of numbers for each shard


class Unfinished(NamedTuple):
    """A gradient of which a process has the parts of its own shards; join([their sum]) is what it will be."""

    parts: Parts
    join: Callable[[Any], Array]


class Share:
    """The part of a batch that this process computes: all of it."""

    apart = False  # whether others compute the rest

    def __init__(self, shards: list[slice]):
        self.shards = shards  # of the batch, those computed here
        self.bounds = np.array([*accumulate((shard.stop - shard.start for shard in shards), initial=0)])
        self.photos: slice | Array = slice(0, shards[-1].stop)  # theirs: where in the batch they stand
        self.rows = np.arange(shards[-1].stop, dtype=np.uint64)  # the same, as kernels/draws.py wants them

    def of_all(self, rows: Array) -> Array:
        """The rows of all photos of the batch, in its order, from those of the photos that are computed here."""
        return rows

    def sums(self, parts: list[tuple]) -> tuple:
        """What all shards' tuples add up to."""
        return added(parts)

    def total(self, parts: Parts, join: Callable[[Any], Array]) -> Any:
        """join(parts), which adds up the parts of all shards in their order."""
        return join(parts)

    def whole(self, result: Any, loss_of: Callable[[Array], float]) -> Any:
        """The ShardResult of the whole batch from that of this share; loss_of(outputs of all photos)."""
        return result


class Alone:
    """The processes that learn together: this one. What fit, evaluate and predict ask of them."""

    rank, size = 0, 1
    leads = True  # whether this is the one that prints, draws and writes

    def share(self, shards: list[slice]) -> Share:
        """This process's share of a batch that is cut so."""
        return Share(shards)

    def in_turn(self, task: Callable[[Any], Any], parts: list) -> Iterable:
        """task(part) for all parts in order, each computed by one process."""
        return map(task, parts)

    def follow(self, run: Any) -> None:
        """All go on from where the first stands. Raises ValueError where the runs differ."""

    def agree(self, network: Any) -> None:
        """What a callback of one process has decided holds for all: to stop."""

    def broadcast(self, value: Any = None) -> Any:
        """What the first says."""
        return value

    def of_each(self, value: Any) -> list:
        """What each says, in their order."""
        return [value]

    def require_same(self, told: dict[str, Any]) -> None:
        """Raise ValueError in all processes, naming two of them and the place, unless all say the same."""

    def together(self) -> None:
        """Until all are here."""


ALONE = Alone()
