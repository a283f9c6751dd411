"""One batch: cut into shards, run through the network and back, and one step of the optimizer.

Gradients are a pure function of the parameters, because a pass leaves nothing in the layers. So a batch can be cut
into shards, one for each core: each shard divides by the whole batch's size, and then losses and gradients simply add
up, always in the same order.
"""

import contextlib
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.checks import known
from cnn.errors import DivergedError
from cnn.layers.whole_batch import together
from cnn.network import Network, averages, forward
from cnn.saving.limits import photos_at_once
from cnn.training import twin
from cnn.training.shard import backward_of_part, forward_of_part
from kernels import threads

Array = np.ndarray
SLICE = 2**18  # numbers at least for a thread to add: 80 us of work, twice what it takes to wake one


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
) -> ShardResult:
    """One forward and backward pass over checked x and y, in shards, added up in their order.

    fast: run the network's twin (see twin.py), whose gradients are valid until its next pass, and leave out those of
    the frozen layers before the first that learns.
    """
    shards = shard_slices(len(x), network.shards)
    lent = twin.lend(network, len(shards)) if fast else _plain(network, len(shards))
    frozen = network.frozen if fast else ()

    def run_shard(layers, shard):
        rngs = generators(network, step, len(x), shard) if training else {}
        photos = x[shard].astype(network.dtype, copy=False)
        outputs, caches = yield from forward_of_part(layers, photos, training, rngs)
        shard_weights = None if weights is None else weights[shard]
        loss, dy = network.loss_and_gradient(y[shard], outputs, len(x), shard_weights)
        grads, dx = yield from backward_of_part(layers, caches, dy, input_gradient, frozen)
        return ShardResult(loss, outputs, grads, dx, averages(layers, caches))

    with lent as networks:
        result = _add_up(together(map(run_shard, networks, shards)), input_gradient)
    penalty = network.penalty(result.grads)  # once, and not in each shard
    return result._replace(loss=result.loss + penalty)


def _plain(network, count):
    """The plain layers, which any number of passes may use at once."""
    return contextlib.nullcontext([network.logit_layers()] * count)


def _add_up(results: list[ShardResult], input_gradient: bool) -> ShardResult:
    grads = {key: _sum([result.grads[key] for result in results]) for key in results[0].grads}
    loss, outputs = sum(r.loss for r in results), np.concatenate([r.outputs for r in results])
    dx = np.concatenate([r.dx for r in results]) if input_gradient else None
    return ShardResult(loss, outputs, grads, dx, results[0].averages)


def _sum(grads: list[Array]) -> Array:
    """The sum of one parameter's gradients, in the order of the shards; it may lie where the first was."""

    def add(total, *others):
        for other in others:
            total += other

    if grads[0].size * (len(grads) - 1) < 2 * SLICE:  # too little for two threads
        add(*grads)
        return grads[0]
    flat = [np.ravel(grad) for grad in grads]
    threads.run_in_slices(lambda part: add(*(grad[part] for grad in flat)), flat[0].size, SLICE // (len(grads) - 1))
    return flat[0].reshape(grads[0].shape)


def train_step(
    network: Network, x: Array, y: Array, step: int, where: str = "train_on_batch", weights: Array | None = None
) -> tuple[float, Array]:
    """One pass over one checked batch and one step of the optimizer; the loss and the outputs before that step.

    Raises DivergedError, the parameters untouched, when the loss is NaN or infinite.
    """
    optimizer = known(network.optimizer)
    optimizer.belong_to(network)
    result = run_batch(network, x, y, step, fast=True, weights=weights)
    require_finite(network, result.loss, where)
    learned = network.trainable_params
    optimizer.update(learned, {key: result.grads[key] for key in learned})
    network.keep(result.averages)
    return result.loss, result.outputs


def outputs_in_batches(network: Network, x: Array, batch_size: int) -> Iterator[tuple[slice, Array]]:
    """(slice of x, outputs before a closing softmax), batch by batch; several batches are computed at once."""
    few = photos_at_once(network, batch_size)

    def run(part):
        photos, outputs = x[part], []
        with twin.lend(network) as (layers,):
            for start in range(0, len(photos), few):
                y, _ = forward(layers, photos[start : start + few].astype(network.dtype, copy=False))
                outputs.append(y.copy())  # they may lie in an array that the twin's next pass uses again
        return part, outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    parts = [slice(start, start + batch_size) for start in range(0, len(x), batch_size)]
    at_once = 8 * threads.get_threads()  # few enough to keep progress visible and memory small
    try:
        for first in range(0, len(parts), at_once):
            yield from threads.run(run, parts[first : first + at_once])
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


def generators(network: Network, step: int, batch_size: int, shard: slice) -> dict[str, utils.ShardOfDraws]:
    """A generator for each layer that draws random numbers in training: keyed by epoch, step and layer."""
    draws = (
        (known(layer.name), utils.generator(network.seed, utils.DROPOUT, network.epoch, step, k))
        for k, layer in enumerate(network.chain)
        if layer.draws
    )
    return {name: utils.ShardOfDraws(rng, batch_size, shard) for name, rng in draws}


def call_generators(network: Network, call: int) -> dict[str, np.random.Generator]:
    """The same for the call-th model(x, training=True): each call drops other units, as in Keras."""
    return {
        known(layer.name): utils.generator(network.seed, utils.CALL, network.epoch, call, k)
        for k, layer in enumerate(network.chain)
        if layer.draws
    }
