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

from cnn import checks, metrics, utils
from cnn.checks import known
from cnn.errors import DivergedError
from cnn.network import Network, backward, forward
from cnn.saving.limits import photos_at_once
from cnn.training import twin
from kernels import threads

Array = np.ndarray


class ShardResult(NamedTuple):
    """What one pass over a shard gives; those of a batch add up."""

    loss: float  # this shard's part of the batch's loss
    correct: int  # photos whose most probable class is the right one
    grads: dict[str, Array]
    dx: Array | None


def run_batch(
    network: Network,
    x: Array,
    y: Array,
    step: int = 0,
    training: bool = True,
    input_gradient: bool = False,
    fast: bool = False,
) -> ShardResult:
    """One forward and backward pass over checked x and y, in shards, added up in their order.

    fast: run the network's twin (see twin.py), whose gradients are valid until its next pass.
    """
    shards = shard_slices(len(x), network.shards)
    loss_of = known(network.loss)
    from_logits = loss_of.from_logits or network.ends_in_softmax

    def run(layers, part):
        rngs = generators(network, step, len(x), part) if training else {}
        outputs, caches = forward(layers, x[part].astype(network.dtype, copy=False), training, rngs)
        loss, dy = loss_of.loss_and_gradient(y[part], outputs, len(x), from_logits)
        grads, dx = backward(layers, caches, dy, input_gradient)
        return ShardResult(loss, metrics.count_correct(y[part], outputs), grads, dx)

    if fast and network.dtype == np.float32:  # the twin knows of the shards
        with twin.lend(network, shards) as layers:
            return threads.run(lambda whole: run(layers, whole), [slice(0, len(x))])[0]
    layers = network.logit_layers()
    return _add_up(threads.run(lambda shard: run(layers, shard), shards))


def _add_up(results: list[ShardResult]) -> ShardResult:
    first, *others = results
    for result in others:
        for key, grad in result.grads.items():
            first.grads[key] += grad
    loss, correct = sum(r.loss for r in results), sum(r.correct for r in results)
    dx = None if first.dx is None else np.concatenate([r.dx for r in results if r.dx is not None])
    return ShardResult(loss, correct, first.grads, dx)


def train_step(network: Network, x: Array, y: Array, step: int, where: str = "train_on_batch") -> dict[str, float]:
    """One pass over one checked batch and one step of the optimizer; {"loss": ..., "accuracy": ...} before that step.

    Raises DivergedError, the parameters untouched, when the loss is NaN or infinite.
    """
    optimizer = known(network.optimizer)
    optimizer.belong_to(network)
    result = run_batch(network, x, y, step, fast=True)
    require_finite(network, result.loss, where)
    optimizer.update(network.params, result.grads)
    return batch_logs(network, result.loss, result.correct, len(x))


def outputs_in_batches(network: Network, x: Array, batch_size: int) -> Iterator[tuple[slice, Array]]:
    """(slice of x, outputs before a closing softmax), batch by batch."""
    few = photos_at_once(network, batch_size)

    def run(part):
        photos, outputs = x[part], []
        with twin.lend(network) as layers:
            for start in range(0, len(photos), few):
                y, _ = forward(layers, photos[start : start + few].astype(network.dtype, copy=False))
                outputs.append(y.copy())  # they may lie in an array that the twin's next pass uses again
        return part, outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    try:
        for start in range(0, len(x), batch_size):
            yield threads.run(run, [slice(start, start + batch_size)])[0]
    finally:
        twin.release(network)


def require_finite(network: Network, loss: float, where: str) -> None:
    """Raise DivergedError when the loss is NaN or infinite."""
    if not math.isfinite(loss):
        hint = f"try a smaller learning rate than {known(network.optimizer).learning_rate:g}"
        raise DivergedError(f"{network}: {where}: the loss became {loss}: {hint}")


def batch_logs(network: Network, loss: float, correct: int, count: int) -> dict[str, float]:
    """The loss and the metrics that the network was compiled with, by their names."""
    return {"loss": loss, **dict.fromkeys(network.metrics, correct / count)}


def shard_slices(count: int, shards: int) -> list[slice]:
    """`count` photos cut into at most `shards` parts that differ by one photo at most; none is empty."""
    shards = min(checks.whole("shard_slices", "shards", shards), count)
    return [slice(start, stop) for start, stop in pairwise(count * k // shards for k in range(shards + 1))]


def generators(network: Network, step: int, batch_size: int, shard: slice) -> dict[str, utils.ShardOfDraws]:
    """A generator for each layer that draws random numbers in training: keyed by epoch, step and layer."""
    draws = (
        (known(layer.name), utils.generator(network.seed, utils.DROPOUT, network.epoch, step, k))
        for k, layer in enumerate(network.layers)
        if layer.draws
    )
    return {name: utils.ShardOfDraws(rng, batch_size, shard) for name, rng in draws}


def call_generators(network: Network, call: int) -> dict[str, np.random.Generator]:
    """The same for the call-th model(x, training=True): each call drops other units, as in Keras."""
    return {
        known(layer.name): utils.generator(network.seed, utils.CALL, network.epoch, call, k)
        for k, layer in enumerate(network.layers)
        if layer.draws
    }
