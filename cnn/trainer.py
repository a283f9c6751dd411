"""What fit, evaluate and predict do with a model: epochs, batches, callbacks, results."""

import math

import numpy as np

from cnn import checks, metrics, utils
from cnn.callbacks import CallbackList, History, ProgressBar
from cnn.errors import DivergedError
from cnn.layers import Softmax
from cnn.resume import Run, RunningMean
from cnn.training import twin
from kernels import threads

Array = np.ndarray


def check_metrics(names) -> list[str]:
    """The metrics that compile accepts: 'accuracy' or 'acc', or none. Raises ValueError for others."""
    names = [names] if isinstance(names, str) else list(names or [])
    return [checks.choice("compile", "metrics", name, ("accuracy", "acc")) for name in names]


def fit(model, x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle, initial_epoch):
    """Sequential.fit."""
    x, y = model._check_batch("fit", x, y)
    where = f"{model}: fit"
    settings = {
        "batch_size": checks.whole(where, "batch_size", 32 if batch_size is None else batch_size),
        "initial_epoch": checks.whole(where, "initial_epoch", initial_epoch, low=0),
        "epochs": checks.whole(where, "epochs", epochs),
        "shuffle": bool(shuffle),
        "validation_split": checks.number(where, "validation_split", validation_split, 0, 1, below=True),
    }
    x, y, validation = split_validation(model, x, y, settings["validation_split"], validation_data)

    history, bar = History(), ProgressBar(checks_verbose(where, verbose))
    callbacks = [*(callbacks or []), history, bar]
    steps = math.ceil(len(x) / settings["batch_size"])
    watchers = CallbackList(callbacks, model, {"epochs": settings["epochs"], "steps": steps, "verbose": verbose})
    run = Run(model, [x, y, *(validation or ())], settings, callbacks)
    model.stop_training = model.stop_after_batch = False
    model.history = history
    watchers.call("on_train_begin")
    watchers.call("on_restore", run)
    try:
        while run.epoch < settings["epochs"] and not (model.stop_training or model.stop_after_batch):
            train_epoch(model, x, y, validation, run, watchers)
    finally:
        bar.close()
        twin.release(model)
    if not model.stop_after_batch:  # else the training has not ended: it waits to be taken up
        watchers.call("on_train_end", {key: values[-1] for key, values in history.history.items()})
    return history


def train_epoch(model, x, y, validation, run: Run, watchers) -> None:
    """The epoch at which the run stands, from the batch at which it stands; it may be left after any batch."""
    batch_size = run.settings["batch_size"]
    order = np.arange(len(x))
    if run.settings["shuffle"]:
        order = utils.generator(model.seed, utils.SHUFFLE, model.epoch).permutation(len(x))
    watchers.call("on_epoch_begin", run.epoch)
    for step in range(run.step, math.ceil(len(x) / batch_size)):
        watchers.call("on_train_batch_begin", step)
        batch = order[step * batch_size : (step + 1) * batch_size]
        run.mean.add(
            train_step(model, x[batch], y[batch], step, where=f"epoch {run.epoch + 1}, step {step + 1}"), len(batch)
        )
        run.step = step + 1
        watchers.call("on_train_batch_end", step, run.mean.logs())
        watchers.call("on_safe_point", run)
        if model.stop_after_batch:
            return
    logs = run.mean.logs()
    model.epoch += 1
    if validation is not None:
        logs |= {
            f"val_{key}": value for key, value in evaluate_checked(model, *validation, batch_size, watchers).items()
        }
        require_finite(model, logs["val_loss"], f"epoch {run.epoch + 1}, validation")
    watchers.call("on_epoch_end", run.epoch, logs)
    run.next_epoch()
    watchers.call("on_safe_point", run)


def train_step(model, x: Array, y: Array, step: int, where: str = "train_on_batch") -> dict[str, float]:
    """One pass over one checked batch and one step of the optimizer; {"loss": ..., "accuracy": ...} before that step.

    Raises DivergedError, the parameters untouched, when the loss is NaN or infinite.
    """
    result = model.run_batch(x, y, step, fast=True)
    require_finite(model, result.loss, where)
    model.optimizer.update(model.params, result.grads)
    return batch_logs(model, result.loss, result.correct, len(x))


def require_finite(model, loss: float, where: str) -> None:
    """Raise DivergedError when the loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"{model}: {where}: the loss became {loss}: try a smaller learning rate than {model.optimizer.learning_rate:g}"
        )


def batch_logs(model, loss: float, correct: int, count: int) -> dict[str, float]:
    """The loss and the metrics that the model was compiled with, by their names."""
    return {"loss": loss, **dict.fromkeys(model.metrics, correct / count)}


def split_validation(model, x, y, split, data):
    """(x, y, validation): validation is (x, y), checked, or None. Raises ValueError when a part would be empty."""
    if data is not None:
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ValueError(f"{model}: fit: validation_data: expected (x, y), got {type(data).__name__}")
        return x, y, model._check_batch("fit: validation_data", *data)
    if split == 0:
        return x, y, None
    count = math.floor(len(x) * (1 - split) + 1e-9)  # 10 * (1 - 0.9) is a little under 1 in floating point
    if count == 0 or count == len(x):
        raise ValueError(f"{model}: fit: validation_split: {split:g} of {len(x)} photos leaves one part empty")
    return x[:count], y[:count], (x[count:], y[count:])


def evaluate(model, x, y, batch_size, verbose, callbacks, return_dict):
    """Sequential.evaluate."""
    x, y = model._check_batch("evaluate", x, y)
    where = f"{model}: evaluate"
    batch_size = checks.whole(where, "batch_size", 32 if batch_size is None else batch_size)
    steps = math.ceil(len(x) / batch_size)
    watchers = CallbackList([*(callbacks or []), ProgressBar(checks_verbose(where, verbose))], model, {"steps": steps})
    return as_keras(evaluate_checked(model, x, y, batch_size, watchers), return_dict)


def evaluate_checked(model, x, y, batch_size, watchers) -> dict[str, float]:
    """{"loss": ..., "accuracy": ...} over all of checked x and y."""
    from_logits = model.loss.from_logits or model.ends_in_softmax
    mean = RunningMean()
    watchers.call("on_test_begin")
    for step, (part, outputs) in enumerate(outputs_in_batches(model, x, batch_size)):
        watchers.call("on_test_batch_begin", step)
        loss, _ = model.loss.loss_and_gradient(y[part], outputs, len(outputs), from_logits)
        mean.add(batch_logs(model, loss, metrics.count_correct(y[part], outputs), len(outputs)), len(outputs))
        watchers.call("on_test_batch_end", step, mean.logs())
    watchers.call("on_test_end", mean.logs())
    return mean.logs()


def predict(model, x, batch_size, verbose, callbacks) -> Array:
    """Sequential.predict."""
    x = model._check_inputs("predict", x)
    where = f"{model}: predict"
    batch_size = checks.whole(where, "batch_size", 32 if batch_size is None else batch_size)
    steps = math.ceil(len(x) / batch_size)
    watchers = CallbackList([*(callbacks or []), ProgressBar(checks_verbose(where, verbose))], model, {"steps": steps})
    y = np.empty((len(x), *model.output_shape), model.dtype)
    watchers.call("on_predict_begin")
    for step, (part, outputs) in enumerate(outputs_in_batches(model, x, batch_size)):
        watchers.call("on_predict_batch_begin", step)
        y[part] = Softmax().forward(outputs)[0] if model.ends_in_softmax else outputs
        watchers.call("on_predict_batch_end", step)
    watchers.call("on_predict_end")
    return y


def outputs_in_batches(model, x: Array, batch_size: int):
    """Yield (slice of x, outputs before a closing softmax), batch by batch; several batches are computed at once."""
    from cnn.models import forward

    def run(part):
        with twin.lend(model) as (network,):
            outputs, _ = forward(network, x[part].astype(model.dtype, copy=False))
            return part, outputs.copy()  # they may lie in an array that the twin's next pass uses again

    parts = [slice(start, start + batch_size) for start in range(0, len(x), batch_size)]
    at_once = 8 * threads.get_threads()  # few enough to keep progress visible and memory small
    try:
        for first in range(0, len(parts), at_once):
            yield from threads.run(run, parts[first : first + at_once])
    finally:
        twin.release(model)


def as_keras(logs: dict[str, float], return_dict: bool):
    """Losses and metrics in the form that Keras' evaluate returns them."""
    if return_dict:
        return dict(sorted(logs.items()))
    values = [logs["loss"], *(value for key, value in logs.items() if key != "loss")]
    return values if len(values) > 1 else values[0]


def checks_verbose(where: str, verbose) -> int | str:
    """verbose as 'auto', 0, 1 or 2; else ValueError."""
    return (
        verbose
        if verbose == "auto"
        else checks.whole(where, "verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0, 2)
    )
