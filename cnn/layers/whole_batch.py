"""Layers that in training look at all photos of a batch at once, though the batch is cut into shards.

Such a layer adds something up over the batch: its mean, say. Where it needs the sum of all shards it says
`total, ... = yield part, ...`: what its shard has goes out, what the whole batch has comes back, added up in the order
of the shards. So its passes are written down as for one batch, and cutting the batch changes nothing but rounding.
"""

import operator
from collections.abc import Callable, Generator, Iterable
from functools import reduce
from typing import Any

from cnn import utils
from cnn.layers.base import Array, Grads, Layer
from kernels import threads

Task = Generator[tuple, tuple, Any]  # yields what it has, is sent the sums over all, returns its result


class WholeBatch(Layer):
    """A layer whose forward_of_part and backward_of_part are such generators; see normalization.py.

    >>> import numpy as np
    >>> class Centre(WholeBatch):
    ...     '''y = x - the mean of the batch'''
    ...
    ...     def forward_of_part(self, x, training=False):
    ...         count, total = yield len(x), x.sum(axis=0)
    ...         return x - total / count, ()
    >>> Centre().forward(np.array([[1.0], [3.0]]))[0].ravel()
    array([-1.,  1.])
    """

    def forward_of_part(self, x: Array, training: bool = False) -> Task:
        """forward of a shard x."""
        raise NotImplementedError

    def backward_of_part(self, dy: Array, cache: Any) -> Task:
        """backward of a shard; its grads are the shard's own and add up."""
        raise NotImplementedError

    def averages(self, cache: Any) -> dict[str, Array]:
        """What the parameters in `not_learned` become when a step of training has seen this batch."""
        return {}

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, Any]:
        return together([self.forward_of_part(x, training)])[0]

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> tuple[Array, Grads]:
        return together([self.backward_of_part(dy, cache)])[0]


def added(shares: list[tuple]) -> tuple:
    """What these tuples, one from each shard, add up to, in their order.

    >>> added([(1, 2.5), (3, 0.5)])
    (4, 3.0)
    """
    return tuple(reduce(operator.add, column) for column in zip(*shares, strict=True))


def together(tasks: Iterable[Task], add_up: Callable[[list[tuple]], tuple] = added) -> list:
    """What generators return that run side by side in threads; what all yield is added up and sent back to each.

    All yield equally often, and tuples that are equally long.

    >>> def share(count):
    ...     (total,) = yield (count,)
    ...     return count / total
    >>> together([share(1), share(3)])
    [0.25, 0.75]
    """
    parts: list[tuple[Task, tuple | None]] = [(task, None) for task in tasks]
    while True:
        steps = threads.run(_go_on, parts)
        if steps[0][0]:
            return [result for _, result in steps]
        totals = add_up([shares for _, shares in steps])
        parts = [(task, totals) for task, _ in parts]


def finished(task: Task) -> Any:
    """What a generator returns that yields nothing: where no layer looks at the whole batch, or each has it."""
    is_done, result = _go_on((task, None))
    assert is_done
    return result


def _go_on(part):
    """(False, what the generator yields next) or (True, what it returns)."""
    task, totals = part
    try:
        return False, task.send(totals)
    except StopIteration as end:
        return True, end.value
