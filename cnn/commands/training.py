"""What `cnn train` does: settings, data, a run folder, the training itself, its result on the test photos."""

import shlex
import threading
import time

import numpy as np

import cnn
from cnn import environment, optimizers, runs
from cnn.callbacks import Callback, ProgressBar
from cnn.commands import evaluation, network, options
from cnn.commands.train import DEFAULTS
from cnn.datasets import fashion_mnist
from cnn.errors import UsageError
from cnn.interrupts import Interrupted, Interrupts


def main(args) -> None:
    """Train as the arguments say and print the result. Raises what cnn.cli turns into messages and exit codes."""
    cnn.set_threads(args.threads)
    settings = chosen(args)
    model = compiled(settings)
    train, test = photos(args.data, settings)
    folder = runs.create(args.out, args.name, needed_bytes=20 * sum(value.nbytes for value in model.params.values()))
    with runs.alone(folder), Interrupts() as interrupts:
        announce(folder, settings, model, len(train[0]))
        prepare_kernels(model, *train, settings["batch_size"])
        seconds = fit(model, train, settings, folder, interrupts, args.verbose)
        interrupts.at_once = True
        report(folder, model, settings, seconds, test, plots=not args.no_plots)


def chosen(args) -> dict:
    """The settings: flags given, defaults of the others. Raises UsageError for flags that do not go together."""
    from kernels import threads

    given = {key: getattr(args, key) for key in DEFAULTS if getattr(args, key) is not None}
    settings = DEFAULTS | given | network.settings(args)
    return settings | {"shards": settings["shards"] or threads.default_shards()}


def compiled(settings: dict):
    """A new model of these settings, ready to train."""
    model = network.build(*(settings[key] for key in network.DEFAULTS), settings["seed"])
    model.shards = settings["shards"]
    optimizer = optimizers.TABLE[settings["optimizer"]](learning_rate=settings["learning_rate"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def photos(directory: str | None, settings: dict):
    """((train_x, train_y), (test_x, test_y)), as bytes, cut to --limit. Raises DataError, UsageError."""
    (x, y), test = fashion_mnist.load_data(directory)
    limit = settings["limit"] or len(x)
    if limit > len(x):
        raise UsageError(f"--limit: expected at most {len(x)}, the number of training photos, got {limit}")
    held_back = limit - int(limit * (1 - settings["validation_split"]) + 1e-9)
    if held_back == limit or (settings["validation_split"] and not held_back):
        raise UsageError(f"--validation-split: {settings['validation_split']:g} of {limit} photos leaves one part empty")
    return (x[:limit], y[:limit]), test


def announce(folder, settings, model, count) -> None:
    """Say on stderr, and in config.json, what will be done and by what."""
    versions = environment.versions()
    machine = {**versions, "BLAS": environment.blas_name(), "processor": environment.processor(), "threads": cnn.get_threads()}
    runs.write_json(folder / "config.json", {"settings": settings, "machine": machine})
    for key, value in settings.items():
        options.log(f"{key.replace('_', ' '):<16} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    options.log(f"{'parameters':<16} {model.count_params():,}")
    options.log(f"{'photos':<16} {count:,}")
    options.log(f"{'machine':<16} " + ", ".join(f"{name} {value}" for name, value in machine.items()))
    options.log(f"{'run folder':<16} {folder}\n")


def prepare_kernels(model, x, y, batch_size: int) -> None:
    """Run one batch and forget it, so that the kernels are compiled before the clock starts; say so if that takes time."""
    patience = threading.Timer(1.0, options.log, ["Compiling the kernels, once on this machine: about half a minute ..."])
    patience.daemon = True
    patience.start()
    try:
        result = model.run_batch(evaluation.model_input(model, x[:batch_size]), y[:batch_size].astype(np.int64))
        rehearsal = type(model.optimizer)()
        rehearsal.update({key: value.copy() for key, value in model.params.items()}, result.grads)
    finally:
        patience.cancel()


def fit(model, train, settings, folder, interrupts, verbose) -> float:
    """Train and keep the run folder up to date; the seconds it took. Raises Interrupted, DivergedError."""
    x, y = train
    bar = ProgressBar(verbose if verbose == "auto" else int(verbose), options.Progress())
    started = time.monotonic()
    model.fit(evaluation.model_input(model, x), y, settings["batch_size"], settings["epochs"], verbose=0,
              callbacks=[bar, Keeper(folder, interrupts)], validation_split=settings["validation_split"])  # fmt: skip
    return time.monotonic() - started


class Keeper(Callback):
    """Keeps the run folder up to date after each epoch, and stops in good order when a signal has come."""

    def __init__(self, folder, interrupts):
        self.folder, self.interrupts = folder, interrupts
        self.history = {}

    def on_epoch_end(self, epoch, logs=None):
        for key, value in sorted(logs.items()):
            self.history.setdefault(key, []).append(value)
        runs.write_history(self.folder / "history.csv", self.history)
        if "val_loss" in logs and logs["val_loss"] <= min(self.history["val_loss"]):
            self.model.save(self.folder / runs.BEST)
        self._stop_if_asked()

    def _stop_if_asked(self):
        if self.interrupts.received:
            command = shlex.join(["cnn", "train", "--resume", str(self.folder)])
            raise Interrupted(self.interrupts.received, f"saved; to go on:  {command}")


def report(folder, model, settings, seconds, test, plots: bool) -> None:
    """The result on the test photos: metrics.json, pictures, and as the last line of stdout RESULT ..."""
    result = evaluation.evaluate(model, *test)
    figures = {"seed": settings["seed"], "time_s": round(seconds, 1)}
    runs.write_json(folder / runs.METRICS, {**result.as_dict(), **figures})
    if plots:
        draw(folder, model, result)
    print(result.text())
    print(f"run folder     {folder}")
    print(f"RESULT test_accuracy={result.accuracy:.4f} test_loss={result.loss:.4f} seed={settings['seed']} time_s={seconds:.1f}")


def draw(folder, model, result) -> None:
    """curves.png and confusion_matrix.png."""
    from cnn import plots

    plots.learning_curves(model.history.history).savefig(folder / "curves.png")
    plots.confusion_matrix(result.confusion, model.class_names).savefig(folder / "confusion_matrix.png")
