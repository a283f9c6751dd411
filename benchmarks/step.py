"""Where the time of a training step goes: `python -m benchmarks.step [--quick]`.

The article's network trains by `fit` with clocks around each layer's passes, around the optimizer
and around whole batches.
"""

import argparse
import time
from collections import defaultdict
from unittest import mock

import numpy as np

import cnn  # before NumPy, as a user's program does
from benchmarks import article
from benchmarks.contenders import CORES
from benchmarks.report import figures, machine, progress, table, with_range, write
from cnn.article import convolutional
from cnn.callbacks import Callback
from cnn.training import step as training_step
from cnn.training import twin

clock = time.perf_counter
BATCHES = (32, 128)


class Clocks(Callback):
    """Seconds by name: one number for each call of a watched method, and for each "step" from one to the next."""

    def __init__(self):
        self.seconds, self.begun = defaultdict(list), []

    def timed(self, function, name):
        """The function with a clock around it."""

        def timed(*args, **kwargs):
            start = clock()
            result = function(*args, **kwargs)
            self.seconds[name].append(clock() - start)
            return result

        return timed

    def watch(self, owner, method: str, name) -> None:
        """Put a clock around owner.method."""
        setattr(owner, method, self.timed(getattr(owner, method), name))

    def on_train_begin(self, logs=None):
        self.seconds.clear()
        self.begun = []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(clock())

    def on_train_end(self, logs=None):
        self.seconds["step"] = np.diff(self.begun, append=clock())


def watched_model(shards: int):
    """The article's network, the clocks in it, and the (layer, pass) that they watch."""
    model, clocks, watched = convolutional(seed=0), Clocks(), {}
    model.shards = shards
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with twin.lend(model) as layers:  # fit will be lent the same
        for layer in (layer for layer in layers if layer not in model.layers):  # Flatten does nothing
            for method in ("forward", "backward"):
                clocks.watch(layer, method, (layer.name, method))
                watched[layer.name, method] = True
    clocks.watch(model.optimizer, "update", "optimizer")
    return model, clocks, list(watched)


def measure(batch: int, steps: int) -> dict[str, np.ndarray]:
    """Seconds of each part of a step, in each step of an epoch that comes after one to warm up."""
    cnn.set_threads(CORES)
    model, clocks, watched = watched_model(shards=CORES)
    x, y = article.photos("train", batch * steps)
    with mock.patch.object(training_step, "run_batch", clocks.timed(training_step.run_batch, "batch")):
        for _ in range(2):
            model.fit(x, y, batch_size=batch, callbacks=[clocks], verbose=0)
    seconds = {name: np.array(values) for name, values in clocks.seconds.items()}
    parts = {f"{layer}, {method}": seconds[layer, method] for layer, method in watched}
    layers = sum(parts.values())
    parts["loss, and what lies between the layers"] = seconds["batch"] - layers
    parts["optimizer"] = seconds["optimizer"]
    parts["the rest of fit: choosing photos, callbacks"] = seconds["step"] - seconds["batch"] - seconds["optimizer"]
    parts["all"] = seconds["step"]
    return parts


def middle(times: np.ndarray) -> dict[str, float]:
    """The median, and what nine steps in ten lie between, in microseconds."""
    low, median, high = (float(value) for value in np.quantile(times * 1e6, (0.05, 0.5, 0.95)))
    return {"median": median, "min": low, "max": high}


def markdown(found: dict) -> str:
    """A table with two columns for each size of batch."""
    header = ["part of a step"] + [text for batch in found for text in (f"batch {batch}, us", "share")]
    rows = [
        [name]
        + [
            text
            for parts in found.values()
            for text in (with_range(parts[name]), f"{parts[name]['median'] / parts['all']['median']:.0%}")
        ]
        for name in next(iter(found.values()))
    ]
    text = f"{CORES} threads. Microseconds: median (and between which nine steps in ten lie).\n\n"
    rates = [
        f"batch {batch}: {figures(1e6 * batch / parts['all']['median'])} photos a second"
        for batch, parts in found.items()
    ]
    return text + table(header, rows) + "\nThe median step means " + "; ".join(rates) + ".\n"


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/step.md and .json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps: figures only rough")
    args = parser.parse_args(argv)
    about = machine() | ({"measured": "with --quick: rough"} if args.quick else {})
    found = {}
    for batch in BATCHES:
        progress(f"steps of batch {batch}")
        found[batch] = {name: middle(times) for name, times in measure(batch, 100 if args.quick else 400).items()}
    path = write("step", "Where the time of a training step goes", about, {"batches": found}, markdown(found))
    print(path.read_text())


if __name__ == "__main__":
    main()
