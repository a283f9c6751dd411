"""What `cnn train` does: a run folder, the training itself, its result on the test photos."""

import argparse
import contextlib
import copy
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import cnn
from cnn import article, distribute, saving, terminal
from cnn.callbacks import BackupAndRestore, Callback, ModelCheckpoint, ProgressBar, SwapEMAWeights
from cnn.callbacks.base import Logs, Run
from cnn.checks import known
from cnn.commands.shared import (
    data,
    evaluation,
    files,
    machines,
    network,
    options,
    pictures,
    ranks,
    recipes,
    resuming,
    runs,
    settings,
    streams,
)
from cnn.commands.shared.data import Source
from cnn.commands.shared.interrupts import Interrupted, Interrupts
from cnn.commands.shared.snapshots import Snapshots, was_kept
from cnn.datasets import fashion_mnist, fingerprint, in_both
from cnn.datasets.idx import Split
from cnn.datasets.scaled import Scaled
from cnn.errors import DataError, DivergedError, UsageError
from cnn.models import Sequential, folded
from cnn.photos import model_input, scaled
from cnn.saving.model_file import BEST, LAST, MODEL, file_in
from cnn.saving.state import TrainingState
from cnn.training import ahead, step
from cnn.training.batches import check_batch
from cnn.training.sources import Arrays
from cnn.world import ALONE
from kernels.compiled import rehearsal

Photos = tuple[Split, Split]  # to learn from, to test with


def main(args: argparse.Namespace) -> None:
    """Train as the arguments say and print the result. Raises what cnn.commands.cli turns into messages and codes."""
    group = ranks.group(args)
    args.data = None if args.data is None else os.path.abspath(args.data)  # a run may be resumed from elsewhere
    with Interrupts() as interrupts, begun(args, interrupts) as (folder, chosen, state, source, (train, test)):
        parts = parts_of(folder, chosen, state)
        announce(folder, chosen, state, parts, train, test, args)
        model = compiled(chosen, len(train[0]), source)
        model.made_by = settings.command(chosen, args.data)
        about = {"directory": args.data, "training_photos": len(train[0]), "test_sha256": fingerprint(*test)}
        config = {"command": model.made_by, "settings": chosen, "data": about, "machine": parts[0]["machine"]}
        config |= {"resumed": parts[1:]} if len(parts) > 1 else {}
        snapshots = Snapshots(folder, train, test) if args.snapshots or was_kept(state) else None
        seconds = fit(model, train, config, folder, state, parts, interrupts, args.verbose, snapshots)
        if not group.leads:
            return
        keep_result(model, folder)
        interrupts.leave_at_once(f"interrupted. The trained model is kept in {folder}")
        again = is_over(chosen, state)
        report(folder, chosen, state.extra["seconds"] if again else seconds, test, plots=not args.no_plots, again=again)


@contextlib.contextmanager
def begun(args: argparse.Namespace, interrupts: Interrupts) -> Iterator[tuple]:
    """What `start` or `take_up` gives; within this block no other process trains in that folder."""
    group = distribute.world()
    if not group.leads:  # the run is that of rank 0; its folder may be on another machine
        folder, chosen, state, directory = group.broadcast()
        args.data = args.data or directory
        source = data.of_settings(args, chosen)
        yield folder, chosen, state, source, load_photos(source, chosen, interrupts)
        return
    new = start(args, interrupts) if args.resume is None else None
    folder = new[0] if new else runs.find(args.resume, args.out)
    with runs.alone(folder):  # from here on nobody else changes what is read
        chosen, state, source, photos = new[1:] if new else take_up(args, folder, interrupts)
        group.broadcast((folder, chosen, state, args.data))
        yield folder, chosen, state, source, photos


def start(args: argparse.Namespace, interrupts: Interrupts) -> tuple[Path, dict, None, Source, Photos]:
    """(a new run folder, its settings, None, where the photos come from, the photos).

    What can be refused is refused before there is a folder.
    """
    chosen = settings.chosen(args)
    source = data.of_settings(args, chosen)
    chosen |= source.settings
    if args.filters is None and chosen["network"] == "cnn":
        chosen["filters"] = article.filters_for(*source.shape[:2])
    compiled(chosen, source=source)
    photos = load_photos(source, chosen, interrupts)
    return runs.create(args.out, args.name, needed_bytes=100_000_000), chosen, None, source, photos


def take_up(
    args: argparse.Namespace, folder: Path, interrupts: Interrupts
) -> tuple[dict, TrainingState, Source, Photos]:
    """(the settings of an old run, the state it was left in, where its photos come from, these).

    Raises UsageError, ModelFileError, DataError.
    """
    saved, state = saving.load_training(folder / LAST)
    resuming.check_epochs(folder / LAST, state)
    chosen, args.data = settings.restored(args, state, folder)
    resuming.check_model(folder / LAST, saved, chosen)
    args.skip_bad = chosen["skip_bad"]
    source = data.of_model(args, saved, folder / LAST, chosen)
    resuming.check_preparation(folder / LAST, source, chosen)
    photos = load_photos(source, chosen, interrupts)
    resuming.check_settings(folder / LAST, saved, state, chosen, compiled(chosen, len(photos[0][0]), source))
    return chosen, state, source, photos


def is_over(chosen: dict, state: TrainingState | None) -> bool:
    """Whether a run that was taken up has nothing left to do: it is shown again, and none of its files is touched."""
    return state is not None and (state.stopped or state.epoch >= chosen["epochs"])


def parts_of(folder: Path, chosen: dict, state: TrainingState | None) -> list[dict]:
    """The machines of the run, with this one if it goes on here. Raises ModelFileError."""
    if state is None:
        return machines.with_this_one([], 1, 1)
    parts = machines.read_parts(folder / LAST, state.extra.get("parts"), files.read_json(folder / runs.CONFIG))
    if parts and is_over(chosen, state):
        return parts
    return machines.with_this_one(parts, state.epoch + 1, state.step + 1)


def load_photos(source: Source, settings: dict, interrupts: Interrupts) -> Photos:
    """((train_x, train_y), (test_x, test_y)), as bytes, cut to --limit. Raises DataError, UsageError."""
    if source.preparation:  # decoding may take minutes, and is never half done
        interrupts.leave_at_once("left before the training began")
    (x, y), test = source.split("train"), source.split("test")
    interrupts.last_words = None
    limit, split = settings["limit"] or len(x), settings["validation_split"]
    if limit > len(x):
        raise UsageError(f"--limit: expected at most {len(x)}, the number of training photos, got {limit}")
    kept = int(limit * (1 - split) + 1e-9)  # as fit cuts them
    if kept == 0 or (split and kept == limit):
        raise UsageError(f"--validation-split: {split:g} of {limit} photos leaves one part empty")
    if source.preparation and (count := len(in_both(test[0], x))):
        options.log(f"warning: {count:,} test photos are among the training photos as well, byte by byte the same")
    return (x[:limit], y[:limit]), test


def compiled(chosen: dict, photos: int = 1, source: Source | None = None) -> Sequential:
    """A new model of these settings, ready to train on so many photos. Raises UsageError where they give none.

    source: where the photos come from (default: Fashion-MNIST).
    """
    shape, names = (source.shape, source.class_names) if source else (article.INPUT_SHAPE, fashion_mnist.CLASS_NAMES)
    more: dict = {"dropout": chosen["dropout"], "normalized": chosen["normalization"] == "batch"}
    more |= {"augmentation": recipes.augmentation(chosen, shape), "input_shape": shape, "class_names": names}
    model = network.build(**{key: chosen[key] for key in network.DEFAULTS}, seed=chosen["seed"], **more)
    model.preparation = source.preparation if source else None
    model.shards = chosen["shards"]
    learned = max(1, int(photos * (1 - chosen["validation_split"]) + 1e-9))  # as fit cuts them
    steps = math.ceil(learned / chosen["batch_size"]) * chosen["epochs"]
    model.compile(recipes.optimizer(chosen, steps), recipes.loss(chosen), metrics=["accuracy"])
    return model


def announce(
    folder: Path,
    chosen: dict,
    state: TrainingState | None,
    parts: list[dict],
    train: Split,
    test: Split,
    args: argparse.Namespace,
) -> None:
    """Say on stderr what will be done, and by what."""
    lines = {
        "run folder": folder,
        "command": settings.command(chosen, args.data),
        "settings": settings.text(chosen),
        "photos": f"{len(train[0]):,} to learn from, {len(test[0]):,} to test with",
        "machine": ", ".join(f"{name} {value}" for name, value in machines.machine().items()),
        "threads": f"{cnn.get_threads()}; each batch is cut into {chosen['shards']} shards",
        **ranks.told(args),
    }
    if state is not None:
        lines["resumed"] = (
            f"finished already, after {state.epoch} epochs; here is its result again"
            if is_over(chosen, state)
            else f"going on at epoch {state.epoch + 1}, batch {state.step + 1}"
        )
    keeps_best = chosen["validation_split"] and chosen["recipe"] == "article"
    if state and state.epoch and keeps_best and not (folder / BEST).exists():
        lines["missing"] = f"{folder / BEST}: the best epoch so far is lost, only a better one will be kept there"
    if different := machines.difference(parts):
        lines["warning"] = f"computed on different machines, so other bits than of a run on one: {different}"
    for name, text in lines.items():
        options.log(f"{name:<11} {text}")
    options.log("")


def fit(
    model: Sequential,
    train: Split,
    config: dict,
    folder: Path,
    state: TrainingState | None,
    parts: list[dict],
    interrupts: Interrupts,
    verbose: str,
    snapshots: Snapshots | None = None,
) -> float:
    """Train and keep the folder up to date; the seconds it took. Raises Interrupted, DivergedError, DataError."""
    chosen = config["settings"]
    x = scaled(model, train[0]) if isinstance(train[0], np.memmap) else model_input(model, train[0])
    y = recipes.labels(chosen, train[1], known(model.result_shape)[-1])
    prepare_kernels(model, x, y, chosen["batch_size"])
    bar = ProgressBar(verbose if verbose == "auto" else int(verbose), options.Progress())
    keeper = Keeper(folder, config, state, parts, {"snapshots": True} if snapshots else {})
    validated: list[Callback] = [SwapEMAWeights()] if chosen["average"] and chosen["validation_split"] else []
    validated += [snapshots] if snapshots else []  # before the keeper: what is saved has its snapshot
    if chosen["validation_split"] and chosen["recipe"] == "article":  # elsewhere the last epoch counts
        validated.append(ModelCheckpoint(_literal(folder / BEST), save_best_only=True))
    try:
        model.fit(
            x,
            y,
            chosen["batch_size"],
            chosen["epochs"],
            verbose=0,
            validation_split=chosen["validation_split"],
            callbacks=[bar, StopOnSignal(interrupts), *validated, keeper],
        )
    except DivergedError as error:
        raise DivergedError(f"{error}. The last good model is in {folder / LAST}") from None
    finally:
        bar.close()
    if model.stop_after_batch:
        received = distribute.world().of_each(interrupts.received)  # by one of them at least; the first has saved
        command = streams.command_line(["cnn", "train", "--resume", str(folder)])
        raise Interrupted(next(filter(None, received)), f"stopped and saved. To go on:\n  {command}")
    return keeper.seconds()


def keep_result(model: Sequential, folder: Path) -> None:
    """Write the network that the training was for, where last.npz is more than that: averaged weights, folded layers.

    Of a finished run it is not made anew.
    """
    result = folded(model)
    more = known(model.optimizer).use_ema or len(result.layers) < len(model.layers)
    if more and not (folder / MODEL).exists():
        saving.save_model(result, folder / MODEL, include_optimizer=False)


def _literal(path):
    """The path for ModelCheckpoint, which takes braces for fields."""
    return str(path).replace("{", "{{").replace("}", "}}")


def prepare_kernels(model: Sequential, x: np.ndarray | Scaled, y: np.ndarray, batch_size: int) -> None:
    """Compile all that training will use before the clock starts, by a step that is forgotten.

    A photo for each shard, and two at least, take the way that whole batches take, without their memory. Says so if
    that takes time.
    """
    few = slice(min(max(2, model.shards), batch_size, len(x)))
    patience = threading.Timer(1.0, options.log, ["Compiling the kernels, once on this machine ..."])
    patience.daemon = True
    patience.start()
    try:
        with rehearsal():
            batch = check_batch(model, "fit", x[few], y[few])
            with contextlib.closing(ahead.batches(model, Arrays(batch, len(batch.x)), 0)) as batches:
                next(batches)
            result = step.run_batch(model, batch.x, batch.y, fast=True)
            optimizer = copy.deepcopy(known(model.optimizer))
            learned = {key: value.copy() for key, value in model.trainable_params.items()}
            optimizer.update(learned, {key: result.grads[key] for key in learned})
    finally:
        patience.cancel()


class StopOnSignal(Callback):
    """Ends fit after the batch, or after the validation, in which a signal came."""

    def __init__(self, interrupts: Interrupts):
        self.interrupts = interrupts

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.model.stop_after_batch = self.interrupts.received is not None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.on_train_batch_end(epoch)


class Keeper(BackupAndRestore):
    """Keeps config.json, last.npz and history.csv up to date; last.npz also holds the settings and the time spent."""

    def __init__(self, folder: Path, config: dict, state: TrainingState | None, parts: list[dict], more: dict):
        extra = {"settings": config["settings"], "data": config["data"]["directory"], "seconds": 0.0, "parts": parts}
        extra |= more
        super().__init__(folder, delete_checkpoint=False, extra=extra)
        self.folder, self.config, self.state = folder, config, state
        self.before, self.started = state.extra["seconds"] if state else 0.0, time.monotonic()
        self.over = is_over(config["settings"], state)

    def seconds(self) -> float:
        """How long the run has trained, over all its parts."""
        return self.before if self.over else self.before + time.monotonic() - self.started

    def on_restore(self, run: Run) -> None:
        if not self.model.world.leads:
            return super().on_restore(run)
        if self.state and self.state.data != run.data:
            raise DataError(
                f"{self.path}: expected the photos that the run began with (SHA-256 {self.state.data[:12]}...), "
                f"got others ({run.data[:12]}...)"
            )
        runs.remove_leftovers(self.folder)
        try:
            super().on_restore(run)
        except OSError:
            runs.discard(self.folder)  # not even the beginning could be saved
            raise
        if self.state:
            resuming.check_progress(self.path, self.model, self.state, run.steps)
        if not self.over:
            files.write_json(self.folder / runs.CONFIG, self.config)

    def save(self, run: Run) -> None:
        runs.remove_results(self.folder)
        self.extra["seconds"] = self.seconds()
        super().save(run)
        runs.write_history(self.folder / runs.HISTORY, run.state().history)


def report(folder: Path, chosen: dict, seconds: float, test: Split, plots: bool, again: bool) -> None:
    """The result on the test photos of the model that the folder stands for: RESULT, then metrics.json and pictures.

    again: of a finished run only the files that are missing are made. A picture that cannot be made is a warning.
    """
    path = file_in(folder)
    model, history = saving.load_model(path), saving.load_training(folder / LAST)[1].history
    model.world = ALONE  # the other ranks have done their work
    result = evaluation.evaluate(model, *test)
    about = {"model": path.name, "epochs": len(history["loss"]), "seed": chosen["seed"], "time_s": round(seconds, 1)}
    unread = tell(path, result, f"seed={chosen['seed']} time_s={seconds:.1f}")
    if not (again and (folder / runs.METRICS).exists()):
        files.write_json(folder / runs.METRICS, {**result.as_dict(), **about})
    for name, figure in figures(history, result).items() if plots else ():
        if not (again and (folder / name).exists()):
            draw(figure, folder / name)
    if unread:
        raise unread


def tell(path: Path, result: evaluation.Result, about: str) -> OSError | None:
    """Print the result; the error of a stdout that takes none, for the files are made all the same."""
    try:
        print(f"model          {terminal.visible(str(path))}")
        print(result.text())
        print(f"RESULT test_accuracy={result.accuracy:.4f} test_loss={result.loss:.4f} {about}", flush=True)
    except OSError as error:
        return error
    return None


def figures(history: dict, result: evaluation.Result) -> dict:
    """{"curves.png": a function that gives the figure, ...}."""
    return {
        runs.CURVES: lambda plots: plots.learning_curves(history),
        runs.CONFUSION: lambda plots: plots.confusion_matrix(result.confusion, result.class_names),
    }


def draw(figure: Callable, path: Path) -> None:
    """One picture; why there is none, where it cannot be drawn or written: no result is lost to its picture."""
    try:
        from cnn import plots

        files.write(path, pictures.drawn(figure(plots), str(path)))
    except Exception as error:
        options.log(f"warning: {path} is missing: {streams.one_line(error).removeprefix(f'{path}: ')}")
