"""The way of one shard through a network and back, as a generator: see layers/whole_batch.py for what it yields.

Between the layers that look at the whole batch it is network.forward and network.backward that run; without such
layers, these are all.
"""

from collections.abc import Collection
from itertools import pairwise

import numpy as np

from cnn.checks import known
from cnn.layers import Layer, WholeBatch
from cnn.layers.whole_batch import Task
from cnn.network import backward, first_that_learns, forward

Array = np.ndarray


def forward_of_part(layers: list[Layer], x: Array, training: bool, rngs: dict) -> Task:
    """network.forward for a shard."""
    caches: list = []
    for start, stop in _runs(layers):
        run = layers[start:stop]
        if isinstance(run[0], WholeBatch):
            x, cache = yield from run[0].forward_of_part(x, training)
            caches.append(cache)
        else:
            x, more = forward(run, x, training, rngs)
            caches += more
    return x, caches


def backward_of_part(
    layers: list[Layer], caches: list, dy: Array, input_gradient: bool = False, frozen: Collection[str] = ()
) -> Task:
    """network.backward for a shard."""
    grads: dict[str, Array] = {}
    first = 0 if input_gradient else first_that_learns(layers, frozen)
    dx: Array | None = dy
    for start, stop in reversed(_runs(layers)):
        if stop <= first:
            break
        run = layers[start:stop]
        if isinstance(run[0], WholeBatch):
            dx, own = yield from run[0].backward_of_part(known(dx), caches[start])
            grads.update({f"{run[0].name}/{key}": value for key, value in own.items()})
        else:
            own, dx = backward(run, caches[start:stop], known(dx), input_gradient or start > first, frozen)
            grads.update(own)
    return grads, dx if input_gradient else None


def _runs(layers: list[Layer]) -> list[tuple[int, int]]:
    """Where the runs of layers begin and end between those that look at the whole batch, each a run of its own."""
    edges = {0, len(layers)}
    for k, layer in enumerate(layers):
        if isinstance(layer, WholeBatch):
            edges |= {k, k + 1}
    places = sorted(edges)
    return list(pairwise(places))
