"""What fit, evaluate and predict do with a network: epochs, batches, callbacks, results."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks, metrics, utils
from cnn.callbacks import Callback, CallbackList, History, ProgressBar
from cnn.layers import Softmax
from cnn.network import Network
from cnn.training import twin
from cnn.training.batches import Batch, check_batch, check_inputs, split_validation
from cnn.training.run import Run, RunningMean
from cnn.training.step import batch_logs, outputs_in_batches, require_finite, train_step

Array = np.ndarray


def fit(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    settings: dict,
    validation_data: tuple | None,
    callbacks: Sequence[Callback] | None,
    verbose: str | int,
) -> History:
    """Sequential.fit. settings: batch_size, initial_epoch, epochs, shuffle, validation_split, as given there."""
    x, y = check_batch(network, "fit", x, y)
    where = f"{network}: fit"
    settings = _check_settings(where, settings)
    x, y, validation = split_validation(network, x, y, settings["validation_split"], validation_data)

    history, bar = History(), ProgressBar(_verbosity(where, verbose))
    callbacks = [*_listed(where, callbacks), history, bar]
    steps = math.ceil(len(x) / settings["batch_size"])
    watchers = CallbackList(callbacks, network, {"epochs": settings["epochs"], "steps": steps, "verbose": verbose})
    watchers.require(["loss", *network.metrics], validation is not None)
    run = Run(network, [x, y, *(validation or ())], settings, callbacks)
    network.stop_training = network.stop_after_batch = False
    network.history = history
    watchers.call("on_train_begin")
    watchers.call("on_restore", run)
    try:
        while run.epoch < settings["epochs"] and not (network.stop_training or network.stop_after_batch):
            train_epoch(network, x, y, validation, run, watchers)
    finally:
        bar.close()
        twin.release(network)
    if not network.stop_after_batch:  # else the training has not ended: it waits to be taken up
        watchers.call("on_train_end", {key: values[-1] for key, values in history.history.items()})
    return history


def _check_settings(where, given):
    return {
        "batch_size": _batch_size(where, given["batch_size"]),
        "initial_epoch": checks.whole(where, "initial_epoch", given["initial_epoch"], low=0),
        "epochs": checks.whole(where, "epochs", given["epochs"]),
        "shuffle": checks.boolean(where, "shuffle", given["shuffle"]),
        "validation_split": checks.number(where, "validation_split", given["validation_split"], 0, 1, below=True),
    }


def train_epoch(
    network: Network, x: Array, y: Array, validation: Batch | None, run: Run, watchers: CallbackList
) -> None:
    """The epoch at which the run stands, from the batch at which it stands; it may be left after any batch."""
    batch_size = run.settings["batch_size"]
    order = np.arange(len(x))
    if run.settings["shuffle"]:
        order = utils.generator(network.seed, utils.SHUFFLE, network.epoch).permutation(len(x))
    watchers.call("on_epoch_begin", run.epoch)
    for step in range(run.step, math.ceil(len(x) / batch_size)):
        watchers.call("on_train_batch_begin", step)
        batch = order[step * batch_size : (step + 1) * batch_size]
        run.mean.add(
            train_step(network, x[batch], y[batch], step, where=f"epoch {run.epoch + 1}, step {step + 1}"), len(batch)
        )
        run.step = step + 1
        watchers.call("on_train_batch_end", step, run.mean.logs())
        watchers.call("on_safe_point", run)
        if network.stop_after_batch:
            return
    logs = run.mean.logs()
    network.epoch += 1
    if validation is not None:
        logs |= {
            f"val_{key}": value for key, value in evaluate_checked(network, *validation, batch_size, watchers).items()
        }
        require_finite(network, logs["val_loss"], f"epoch {run.epoch + 1}, validation")
    watchers.call("on_epoch_end", run.epoch, logs)
    run.next_epoch()
    watchers.call("on_safe_point", run)


def evaluate(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    batch_size: int | None,
    verbose: str | int,
    callbacks: Sequence[Callback] | None,
) -> dict[str, float]:
    """Sequential.evaluate, as {"loss": ..., "accuracy": ...}."""
    x, y = check_batch(network, "evaluate", x, y)
    batch_size, watchers = _watch(network, "evaluate", len(x), batch_size, verbose, callbacks)
    return evaluate_checked(network, x, y, batch_size, watchers)


def evaluate_checked(network: Network, x: Array, y: Array, batch_size: int, watchers: CallbackList) -> dict[str, float]:
    """{"loss": ..., "accuracy": ...} over all of checked x and y."""
    loss_of = checks.known(network.loss)
    from_logits = loss_of.from_logits or network.ends_in_softmax
    mean, penalty = RunningMean(), network.penalty()
    watchers.call("on_test_begin")
    for step, (part, outputs) in enumerate(outputs_in_batches(network, x, batch_size)):
        watchers.call("on_test_batch_begin", step)
        loss, _ = loss_of.loss_and_gradient(y[part], outputs, len(outputs), from_logits)
        logs = batch_logs(network, loss + penalty, metrics.count_correct(y[part], outputs), len(outputs))
        mean.add(logs, len(outputs))
        watchers.call("on_test_batch_end", step, mean.logs())
    watchers.call("on_test_end", mean.logs())
    return mean.logs()


def predict(
    network: Network, x: ArrayLike, batch_size: int | None, verbose: str | int, callbacks: Sequence[Callback] | None
) -> Array:
    """Sequential.predict."""
    x = check_inputs(network, "predict", x)
    batch_size, watchers = _watch(network, "predict", len(x), batch_size, verbose, callbacks)
    y = np.empty((len(x), *checks.known(network.result_shape)), network.dtype)
    watchers.call("on_predict_begin")
    for step, (part, outputs) in enumerate(outputs_in_batches(network, x, batch_size)):
        watchers.call("on_predict_batch_begin", step)
        y[part] = Softmax().forward(outputs)[0] if network.ends_in_softmax else outputs
        watchers.call("on_predict_batch_end", step)
    watchers.call("on_predict_end")
    return y


def _watch(network, verb, count, batch_size, verbose, callbacks):
    """(the checked batch size, the callbacks with a progress bar) of a pass over `count` photos."""
    where = f"{network}: {verb}"
    batch_size = _batch_size(where, batch_size)
    callbacks = [*_listed(where, callbacks), ProgressBar(_verbosity(where, verbose))]
    return batch_size, CallbackList(callbacks, network, {"steps": math.ceil(count / batch_size)})


def _listed(where, callbacks):
    """The callbacks as a list; ValueError for one alone."""
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise ValueError(f"{where}: callbacks: expected a list of callbacks, got {callbacks!r}")
    return list(callbacks)


def _batch_size(where, value):
    return checks.whole(where, "batch_size", 32 if value is None else value)


def _verbosity(where, verbose):
    """verbose as 'auto', 0, 1 or 2; else ValueError."""
    if isinstance(verbose, str) and verbose == "auto":
        return verbose
    return checks.whole(where, "verbose", int(verbose) if isinstance(verbose, bool | np.bool_) else verbose, 0, 2)
