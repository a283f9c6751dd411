"""What fit, evaluate and predict do with a network: epochs, batches, callbacks, results."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.callbacks import Callback, CallbackList, History, ProgressBar
from cnn.errors import DivergedError
from cnn.network import Network
from cnn.training import ahead, twin
from cnn.training.batches import Batch, check_batch, check_photos, require_loss, split_validation
from cnn.training.means import RunningMean
from cnn.training.run import Run
from cnn.training.settings import batch_size_of, check_settings
from cnn.training.sources import Arrays, Source, is_stream, stream, yields_batches
from cnn.training.step import require_finite, train_step

Array = np.ndarray


def fit(
    network: Network,
    x: Any,
    y: ArrayLike | None,
    settings: dict,
    validation_data: Any,
    callbacks: Sequence[Callback] | Callback | None,
    verbose: str | int,
    sample_weight: ArrayLike | None = None,
    class_weight: dict[int, float] | None = None,
) -> History:
    """Sequential.fit. settings: its other arguments, as given there."""
    where = f"{network}: fit"
    streamed = yields_batches(where, x, y, sample_weight)
    data = x if streamed else check_batch(network, "fit", x, y, sample_weight, class_weight)
    settings, chosen = check_settings(where, settings)
    source, validation = _sources(network, data, chosen, validation_data, class_weight)
    history, bar = History(), ProgressBar(_verbosity(where, verbose))
    callbacks = [*_listed(where, callbacks), history, bar]
    if not network.world.leads:
        callbacks = [callback for callback in callbacks if not callback.only_writes]
    params = {"epochs": settings["epochs"], "steps": source.steps, "verbose": verbose}
    watchers = CallbackList(callbacks, network, params)
    watchers.require(network.metrics_names, validation is not None)
    run = Run(network, source, validation, settings, callbacks)
    network.stop_training = network.stop_after_batch = False
    network.history = history
    checks.known(network.optimizer).belong_to(network)
    watchers.call("on_train_begin")
    watchers.call("on_restore", run)
    network.world.follow(run)
    try:
        while run.epoch < settings["epochs"] and not (network.stop_training or network.stop_after_batch):
            train_epoch(network, run, watchers)
    finally:
        bar.close()
        twin.release(network)
    if not network.stop_after_batch:  # else the training has not ended: it waits to be taken up
        checks.known(network.optimizer).finalize_variable_values(network.params)
        watchers.call("on_train_end", {key: values[-1] for key, values in history.history.items()})
    return history


def _sources(network, data, chosen, validation_data, class_weight):
    """Where the batches of training and of validation come from; the second is None where there is none."""
    where, split, shuffle = f"{network}: fit", chosen["validation_split"], chosen["shuffle"]
    steps, later = chosen["steps_per_epoch"], {"steps": chosen["validation_steps"]}
    batch_size = chosen["batch_size"]
    validation_size = chosen["validation_batch_size"] or batch_size
    held_back = None
    if isinstance(data, Batch):
        data, held_back = split_validation(network, data, 0 if validation_data is not None else split)
        source = Arrays(data, batch_size, shuffle, steps)
    elif split and validation_data is None:
        raise ValueError(f"{where}: validation_split: expected arrays to hold some back of, got {type(data).__name__}")
    else:
        require_loss(network, "fit")
        source = stream(data, where, shuffle, steps, class_weight=class_weight)
    if is_stream(validation_data):
        return source, stream(validation_data, f"{where}: validation_data", **later)
    if validation_data is not None:
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            kind = type(validation_data).__name__
            raise ValueError(f"{where}: validation_data: expected (x, y), got {kind} (weights may stand third)")
        held_back = check_batch(network, "fit: validation_data", *validation_data)
    return source, held_back and Arrays(held_back, validation_size, **later)


def train_epoch(network: Network, run: Run, watchers: CallbackList) -> None:
    """The epoch at which the run stands, from the batch at which it stands; it may be left after any batch."""
    watchers.call("on_epoch_begin", run.epoch)
    with contextlib.closing(ahead.batches(network, run.source, run.step)) as batches:
        for step, (x, y, weights), done in batches:
            watchers.call("on_train_batch_begin", step)
            where = f"epoch {run.epoch + 1}, step {step + 1}"
            try:
                loss, outputs = train_step(network, x, y, step, where, weights, done)
            except DivergedError:
                watchers.call("on_train_batch_end", step, {"loss": math.nan})
                if network.stop_training:  # as TerminateOnNaN wants it
                    return _end_at_nan(network, run, watchers)
                raise
            run.mean.add(loss, y, outputs, weights)
            run.step = step + 1
            watchers.call("on_train_batch_end", step, run.mean.logs())
            network.world.agree(network)
            if network.stop_training:
                break
            watchers.call("on_safe_point", run)
            if network.stop_after_batch:
                return
    _end_epoch(network, run, watchers)


def _end_epoch(network, run, watchers):
    """The validation, where one is due, and what the callbacks make of the epoch."""
    logs, idle = run.mean.logs(), []
    network.epoch += 1
    if run.validation is not None and _due(run):
        found = evaluate_checked(network, run.validation, watchers)
        logs |= {f"val_{key}": value for key, value in found.items()}
        require_finite(network, logs["val_loss"], f"epoch {run.epoch + 1}, validation")
    elif run.validation is not None:
        idle = watchers.waiting()
    run.source.close()
    watchers.call("on_epoch_end", run.epoch, logs, without=idle)
    network.world.agree(network)
    run.next_epoch()
    watchers.call("on_safe_point", run)


def _end_at_nan(network, run, watchers):
    """The epoch ends here without a validation; nothing more is kept of the run."""
    run.source.close()
    means = run.mean.logs() if run.step else dict.fromkeys(network.metrics_names, math.nan)
    watchers.call("on_epoch_end", run.epoch, means | {"loss": math.nan}, without=watchers.waiting())


def _due(run):
    """Whether this epoch ends with a validation: each, each second and so on, or those that a list names."""
    wanted = run.settings.get("validation_freq", 1)
    return run.epoch + 1 in wanted if isinstance(wanted, list) else (run.epoch + 1) % wanted == 0


def evaluate(
    network: Network,
    x: Any,
    y: ArrayLike | None,
    batch_size: int | None,
    verbose: str | int,
    callbacks: Sequence[Callback] | Callback | None,
    sample_weight: ArrayLike | None = None,
    steps: int | None = None,
) -> dict[str, float]:
    """Sequential.evaluate, as {"loss": ..., "accuracy": ...}."""
    where = f"{network}: evaluate"
    steps = None if steps is None else checks.whole(where, "steps", steps)
    source: Source
    if yields_batches(where, x, y, sample_weight):
        require_loss(network, "evaluate")
        source = stream(x, where, steps=steps)
    else:
        data = check_batch(network, "evaluate", x, y, sample_weight)
        source = Arrays(data, batch_size_of(where, batch_size), steps=steps)
    return evaluate_checked(network, source, watch(network, "evaluate", source.steps, verbose, callbacks))


def evaluate_checked(network: Network, source: Source, watchers: CallbackList) -> dict[str, float]:
    """{"loss": ..., "accuracy": ...} over all batches of a source."""
    mean, penalty = RunningMean(network), network.penalty()
    watchers.call("on_test_begin")
    for step, (batch, outputs) in enumerate(source.outputs(network)):
        watchers.call("on_test_batch_begin", step)
        loss, _ = network.loss_and_gradient(batch.y, outputs, len(outputs), batch.weights)
        mean.add(loss + penalty, batch.y, outputs, batch.weights)
        watchers.call("on_test_batch_end", step, mean.logs())
    watchers.call("on_test_end", mean.logs())
    return mean.logs()


def predict(
    network: Network,
    x: Any,
    batch_size: int | None,
    verbose: str | int,
    callbacks: Sequence[Callback] | Callback | None,
    steps: int | None = None,
) -> Array:
    """Sequential.predict."""
    where = f"{network}: predict"
    steps = None if steps is None else checks.whole(where, "steps", steps)
    source: Source
    if is_stream(x):
        source = stream(x, where, steps=steps)
    else:
        x = check_photos(network, "predict", x)
        source = Arrays(Batch(x, np.empty(len(x))), batch_size_of(where, batch_size), steps=steps)
    watchers = watch(network, "predict", source.steps, verbose, callbacks)
    found = []
    watchers.call("on_predict_begin")
    for step, (_, outputs) in enumerate(source.outputs(network)):
        watchers.call("on_predict_batch_begin", step)
        found.append(network.closing.forward(outputs)[0] if network.closing else outputs)
        watchers.call("on_predict_batch_end", step, {"outputs": found[-1]})
    watchers.call("on_predict_end")
    return np.concatenate(found)


def watch(
    network: Network, verb: str, steps: int | None, verbose: str | int, callbacks: Sequence[Callback] | Callback | None
) -> CallbackList:
    """The callbacks, with a progress bar, of a pass of so many steps. Raises ValueError."""
    where = f"{network}: {verb}"
    callbacks = [*_listed(where, callbacks), ProgressBar(_verbosity(where, verbose) if network.world.leads else 0)]
    return CallbackList(callbacks, network, {"steps": steps})


def _listed(where, callbacks):
    """The callbacks as a list, as which one alone passes; ValueError for anything else."""
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback):
        return [callbacks]
    if not isinstance(callbacks, Iterable):
        raise ValueError(f"{where}: callbacks: expected a list of callbacks, got {callbacks!r}")
    return list(callbacks)


def _verbosity(where, verbose):
    """verbose as 'auto', 0, 1 or 2; else ValueError."""
    if isinstance(verbose, str) and verbose == "auto":
        return verbose
    return checks.whole(where, "verbose", int(verbose) if isinstance(verbose, bool | np.bool_) else verbose, 0, 2)
