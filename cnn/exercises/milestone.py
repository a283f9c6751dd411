"""The milestone: the learner's own network learns 2,000 photos, and ours beside it, from the same weights."""

import functools
import inspect
import time
from pathlib import Path
from typing import Any

import numpy as np

from cnn import layers, models, optimizers
from cnn.datasets import fashion_mnist
from cnn.exercises import EXERCISES, checker

Array = np.ndarray
Params = dict[str, Array]
PHOTOS, TESTED, BATCH, RATE = 2000, 1000, 20, 0.01
FILTERS = (4, 8)
TELL = 100  # photos between two lines of progress
BETAS, EPSILON = (0.9, 0.999), 1e-7
PATIENCE = 120.0  # seconds for one batch
NAMES = ("kernel_1", "bias_1", "kernel_2", "bias_2", "kernel_3", "bias_3")


def reach(path: Path, module: Any, report: checker.Report, guard: Any) -> dict[str, Any] | None:
    """What the network learned and how fast, beside ours; None, and the report says why, where it could not."""
    train, test = photographs()
    first = ours()
    params = dict(zip(NAMES, (w.copy() for w in first.get_weights()), strict=True))
    try:
        parts = {other: neighbour(path, other, guard) for other in ("p_minus_y", "optimizers")}
        shares = timed(module)
        begun = time.perf_counter()
        params = learn(module, parts, params, train, path, guard)
        seconds = time.perf_counter() - begun
        accuracy = hits(module, params, test, path, guard)
    except checker.Wrong as wrong:
        report.passed = False
        for key, value in wrong.facts.items():
            setattr(report, key, value)
        return None
    guard.tell(progress="now ours, which is compiled first")
    first.fit(train[0][:BATCH], train[1][:BATCH], BATCH, verbose=0)  # the kernels are compiled
    second = ours()
    begun = time.perf_counter()
    second.fit(*train, BATCH, shuffle=False, verbose=0)
    our_seconds = time.perf_counter() - begun
    return {
        "photos": PHOTOS,
        "tested": TESTED,
        "accuracy": accuracy,
        "our_accuracy": float((second.predict(test[0], verbose=0).argmax(axis=1) == test[1]).mean()),
        "seconds": seconds,
        "our_seconds": our_seconds,
        "times": seconds / our_seconds,
        "slowest": max(shares, key=lambda name: shares[name]) if shares else None,
        "share": max(shares.values(), default=0.0) / seconds,
    }


def photographs() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The first photos to learn from and to test with, from 0 to 1."""
    train, test = (fashion_mnist.load_split(split) for split in ("train", "test"))
    scaled = [
        ((x[:count, :, :, None] / 255).astype(np.float32), y[:count])
        for (x, y), count in ((train, PHOTOS), (test, TESTED))
    ]
    return scaled[0], scaled[1]


def ours() -> models.Sequential:
    """The same network in our words, untrained."""
    model = models.Sequential([layers.Input((28, 28, 1))], seed=0)
    for count in FILTERS:
        model.add(layers.Conv2D(count, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(10, activation="softmax"))
    adam = optimizers.Adam(RATE, *BETAS, EPSILON)
    model.compile(adam, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def neighbour(path: Path, other: str, guard: Any) -> Any:
    """The learner's module of another exercise, right. Raises Wrong."""
    beside = path.parent / f"{other}.py"
    if not beside.is_file():
        raise checker.Wrong("needs", checker.say("needs", file="the training", other=other))
    report, module = checker.check(other, beside, 0, guard)
    if not report.passed:
        raise checker.Wrong(
            "neighbour", checker.say("neighbour", other=other, file="the training", said=report.sentence)
        )
    return module


def timed(module: Any) -> dict[str, float]:
    """{function: the seconds spent in it}, which grow from here on; of those taken from other files."""
    spent: dict[str, float] = {}
    for name, function in list(vars(module).items()):
        if inspect.isfunction(function) and function.__module__ in EXERCISES and function.__module__ != module.__name__:
            spent[name] = 0.0
            setattr(module, name, functools.partial(_clocked, spent, name, function))
    return spent


def _clocked(spent, name, function, *arguments, **named):
    begun = time.perf_counter()
    try:
        return function(*arguments, **named)
    finally:
        spent[name] += time.perf_counter() - begun


def learn(module: Any, parts: dict, params: Params, train: tuple, path: Path, guard: Any) -> Params:
    """Once through the photos in batches, by the learner's forward, dlogits, backward and adam. Raises Wrong."""
    moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in params.items()}
    begun = time.perf_counter()
    for step in range(PHOTOS // BATCH):
        part = np.s_[step * BATCH : (step + 1) * BATCH]

        def one(x=train[0][part], y=train[1][part], t=step + 1):
            z, kept = module.forward(x, params)
            grads = module.backward(parts["p_minus_y"].dlogits(z, y), kept, params)
            for name in params:
                w, *moments[name] = parts["optimizers"].adam(
                    params[name], grads[name], *moments[name], t, RATE, *BETAS, EPSILON
                )
                params[name] = w.astype(np.float32)

        checker.guarded(path, "the training", f"batch {step + 1}", one, lambda f, c, call: guard(f, c, call, PATIENCE))
        done, seconds = (step + 1) * BATCH, time.perf_counter() - begun
        if done % TELL == 0:
            left = f", {(PHOTOS - done) * seconds / done:,.0f} seconds left" if done < PHOTOS else ""
            guard.tell(progress=f"{done:,} of {PHOTOS:,} photos, {done / seconds:,.1f} a second{left}")
    return params


def hits(module: Any, params: Params, test: tuple, path: Path, guard: Any) -> float:
    """The share of the test photos whose class the network names. Raises Wrong."""
    right = 0
    for begin in range(0, TESTED, BATCH):
        x, y = (array[begin : begin + BATCH] for array in test)
        call = lambda x=x: module.forward(x, params)[0]
        z = checker.guarded(path, "forward", "test photos", call, lambda f, c, call: guard(f, c, call, PATIENCE))
        right += int((np.argmax(z, axis=1) == y).sum())
    return right / TESTED
