"""One batch: cut into shards, run through the network and back, and one step of the optimizer.

Gradients are a pure function of the parameters, because a pass leaves nothing in the layers. So a batch can be cut
into shards, one for each core: each shard divides by the whole batch's size, and then losses and gradients simply add
up, always in the same order.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.checks import known
from cnn.datasets.scaled import Scaled
from cnn.errors import DivergedError
from cnn.layers.whole_batch import finished, together
from cnn.network import Network, averages, forward
from cnn.saving.limits import photos_at_once
from cnn.training import twin
from cnn.training.shard import backward_of_part, forward_of_part
from cnn.world import ALONE, Share
from kernels import threads

Array = np.ndarray


class ShardResult(NamedTuple):
    """What one pass over a shard gives; those of a batch add up."""

    loss: float  # this shard's part of the batch's loss
    outputs: Array  # what the network put out before the step, without its closing activation
    grads: dict[str, Array]
    dx: Array | None
    averages: dict[str, Array]  # what layers keep of all batches becomes this: the same from each shard


def run_batch(
    network: Network,
    x: Array,
    y: Array,
    step: int = 0,
    training: bool = True,
    input_gradient: bool = False,
    fast: bool = False,
    weights: Array | None = None,
    done: int = 0,
) -> ShardResult:
    """One forward and backward pass over checked x and y, in shards, added up in their order.

    done: so many layers at the head x has passed already.
    fast: run the network's twin (see twin.py), whose gradients are valid until its next pass, and leave out those of
    the frozen layers before the first that learns.
    """
    shards = shard_slices(len(x), network.shards)
    frozen = network.frozen if fast else ()
    share = (network.world if fast else ALONE).share(shards)

    def loss_and_gradient(part, outputs):
        return network.loss_and_gradient(y[part], outputs, len(x), None if weights is None else weights[part])

    def run(layers, part):
        rngs = generators(network, step, part) if training else {}
        outputs, caches = yield from forward_of_part(layers, x[part].astype(network.dtype, copy=False), training, rngs)
        loss, dy = loss_and_gradient(part, outputs)
        grads, dx = yield from backward_of_part(layers, caches, dy, input_gradient, frozen)
        return ShardResult(loss, outputs, grads, dx, averages(layers, caches))

    if fast and network.dtype == np.float32:  # the twin takes its share whole: it knows of the shards
        with twin.lend(network, share) as layers:
            result = finished(run(layers[done:], share.photos))
            result = share.whole(result, lambda outputs: loss_and_gradient(slice(None), outputs)[0])
    else:
        layers = network.logit_layers()[done:]
        result = _add_up(together([run(layers, shard) for shard in share.shards], share.sums), share)
        result = share.whole(result, lambda outputs: sum(loss_and_gradient(s, outputs[s])[0] for s in shards))
    penalty = network.penalty(result.grads)  # once, and not in each shard
    return result._replace(loss=result.loss + penalty)


def _add_up(results: list[ShardResult], share: Share) -> ShardResult:
    first = results[0]
    grads = {key: share.total([r.grads[key] for r in results], _chain) for key in first.grads}
    loss, outputs = sum(r.loss for r in results), np.concatenate([r.outputs for r in results])
    dx = None if first.dx is None else np.concatenate([r.dx for r in results if r.dx is not None])
    return ShardResult(loss, outputs, grads, dx, first.averages)


def _chain(parts: list[Array]) -> Array:
    """parts[0] + parts[1] + ..., where the first was."""
    for other in parts[1:]:
        parts[0] += other
    return parts[0]


def train_step(
    network: Network,
    x: Array,
    y: Array,
    step: int,
    where: str = "train_on_batch",
    weights: Array | None = None,
    done: int = 0,
) -> tuple[float, Array]:
    """One pass over one checked batch and one step of the optimizer; the loss and the outputs before that step.

    done: as in run_batch.
    Raises DivergedError, the parameters untouched, when the loss is NaN or infinite.
    """
    optimizer = known(network.optimizer)
    optimizer.belong_to(network)
    result = run_batch(network, x, y, step, fast=True, weights=weights, done=done)
    require_finite(network, result.loss, where)
    learned = network.trainable_params
    optimizer.update(learned, {key: result.grads[key] for key in learned})
    network.constrain()
    network.keep(result.averages)
    return result.loss, result.outputs


def outputs_in_batches(network: Network, x: Array | Scaled, batch_size: int) -> Iterator[tuple[slice, Array]]:
    """(slice of x, outputs before a closing softmax), batch by batch."""
    few = photos_at_once(network, batch_size)
    parts = [slice(start, start + batch_size) for start in range(0, len(x), batch_size)]

    def run(part):
        photos, outputs = x[part], []
        with twin.lend(network) as layers:
            for start in range(0, len(photos), few):
                y, _ = forward(layers, photos[start : start + few].astype(network.dtype, copy=False))
                outputs.append(y.copy())  # they may lie in an array that the twin's next pass uses again
        return part, outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def in_helper(part):
        return threads.run(run, [part])[0]

    try:
        yield from network.world.in_turn(in_helper, parts)
    finally:
        twin.release(network)


def require_finite(network: Network, loss: float, where: str) -> None:
    """Raise DivergedError when the loss is NaN or infinite."""
    if not math.isfinite(loss):
        hint = f"try a smaller learning rate than {known(network.optimizer).learning_rate:g}"
        raise DivergedError(f"{network}: {where}: the loss became {loss}: {hint}")


def shard_slices(count: int, shards: int) -> list[slice]:
    """`count` photos cut into at most `shards` parts that differ by one photo at most; none is empty."""
    shards = min(checks.whole("shard_slices", "shards", shards), count)
    return [slice(start, stop) for start, stop in pairwise(count * k // shards for k in range(shards + 1))]


def generators(network: Network, step: int, shard: slice | Array) -> dict[str, utils.ShardOfDraws]:
    """A generator for each layer that draws random numbers in training: keyed by epoch, step and layer."""
    places = [(k, name) for k, (name, layer) in enumerate(network.flat()) if layer.draws]
    draws = ((name, utils.generator(network.seed, utils.DROPOUT, network.epoch, step, k)) for k, name in places)
    return {name: utils.ShardOfDraws(rng, shard) for name, rng in draws}


def call_generators(network: Network, call: int) -> dict[str, np.random.Generator]:
    """The same for the call-th model(x, training=True): each call drops other units, as in Keras."""
    return {
        known(layer.name): utils.generator(network.seed, utils.CALL, network.epoch, call, k)
        for k, layer in enumerate(network.chain)
        if layer.draws
    }
