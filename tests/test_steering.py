"""Callbacks that steer the training: the learning rate, an end at NaN, the moving averages; checkpoints' arguments."""

import itertools
import os

import numpy as np
import pytest
from conftest import random_batch, small_network
from test_callbacks import Values, fit

from cnn import callbacks, models, optimizers
from cnn.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    RemoteMonitor,
    SwapEMAWeights,
    TerminateOnNaN,
)
from cnn.errors import DivergedError
from cnn.optimizers.schedules import ExponentialDecay


def rates(values, **arguments):
    """The learning rate of each epoch, from 1 on, where the monitored value was this in the epochs before."""
    reduce = ReduceLROnPlateau(monitor="val", **arguments)
    model, (x, y) = small_network(optimizer=optimizers.SGD(1.0)), random_batch(4)
    history = model.fit(x, y, epochs=len(values), verbose=0, callbacks=[Values(val=values), reduce])
    return history.history["learning_rate"]


@pytest.mark.parametrize(
    ("values", "arguments", "expected"),
    [
        ([3, 2, 2, 2, 2], {"patience": 1}, [1, 1, 1, 0.1, 0.01]),
        ([3, 2, 2, 2, 2], {"patience": 0}, [1, 1, 1, 0.1, 0.01]),
        ([3, 2, 2, 2, 2, 2], {"patience": 2, "factor": 0.5}, [1, 1, 1, 1, 0.5, 0.5]),
        ([3, 2, 2, 2, 2, 2, 2], {"patience": 1, "cooldown": 2}, [1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ([3, 2, 2, 2, 2], {"patience": 1, "min_lr": 0.05}, [1, 1, 1, 0.1, 0.05]),
        ([3, 2.99995, 2.99993, 2.99991], {"patience": 1}, [1, 1, 0.1, 0.01]),
        ([3, 2.99995, 2.99993, 2.99991], {"patience": 1, "min_delta": 0}, [1, 1, 1, 1]),
        ([1, 2, 2, 3], {"patience": 1, "mode": "max"}, [1, 1, 1, 0.1]),
    ],
)
def test_a_plateau_reduces_the_learning_rate(values, arguments, expected):
    np.testing.assert_allclose(rates(values, **arguments), expected)


def test_a_plateau_says_so(capsys):
    rates([1, 1, 1], patience=1, factor=0.5, verbose=1)
    assert capsys.readouterr().out == "Epoch 2: the learning rate is now 0.5\nEpoch 3: the learning rate is now 0.25\n"


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 1 / (1 + epoch),
        lambda epoch, rate: 1 / (1 + epoch),
        lambda epoch, rate=5: 1 / (1 + epoch),
        optimizers.schedules.InverseTimeDecay(1.0, 1, 1.0),
    ],
)
def test_a_function_sets_the_learning_rate_of_each_epoch(schedule, capsys):
    model, (x, y) = small_network(optimizer=optimizers.SGD(0.7)), random_batch(4)
    scheduler = LearningRateScheduler(schedule, verbose=1)
    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[scheduler])
    assert history.history["learning_rate"] == [1.0, 1 / 2, 1 / 3]
    assert capsys.readouterr().out.splitlines()[1] == "Epoch 2: the learning rate is 0.5"


def test_an_error_within_the_function_is_no_reason_to_call_it_otherwise():
    calls = []

    def schedule(epoch, rate):
        calls.append(epoch)
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        fit(LearningRateScheduler(schedule))
    assert calls == [0]


@pytest.mark.parametrize("callback", [ReduceLROnPlateau("loss"), LearningRateScheduler(lambda epoch: 0.1)])
def test_a_rate_that_follows_a_schedule_cannot_be_set_says_fit_at_once(callback):
    model = small_network(optimizer=optimizers.Adam(ExponentialDecay(0.1, 10, 0.5)))
    with pytest.raises(TypeError, match=r"expected an optimizer whose learning rate can be set"):
        model.fit(*random_batch(), verbose=0, callbacks=[callback])
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReduceLROnPlateau(factor=1.0), r"ReduceLROnPlateau: factor: expected a number in \[0, 1\), got 1.0"),
        (lambda: ReduceLROnPlateau(patience=-1), "ReduceLROnPlateau: patience: .* got -1"),
        (lambda: ReduceLROnPlateau(mode="best"), "mode: expected 'auto' or 'min' or 'max'"),
        (
            lambda: fit(ReduceLROnPlateau()),
            r"ReduceLROnPlateau: monitor: expected one of accuracy, loss, got 'val_loss'",
        ),
        (
            lambda: LearningRateScheduler(0.1),
            "LearningRateScheduler: schedule: expected a function of an epoch, got 0.1",
        ),
        (lambda: fit(LearningRateScheduler(lambda epoch: "fast")), "adam: learning_rate: .* got 'fast'"),
        (lambda: TerminateOnNaN("no"), "TerminateOnNaN: raise_error: expected True or False"),
        (lambda: SwapEMAWeights("no"), "SwapEMAWeights: swap_on_epoch: expected True or False"),
        (lambda: fit(SwapEMAWeights()), "adam: expected an optimizer with use_ema=True"),
        (
            lambda: LambdaCallback(on_epoch_ends=print),
            "LambdaCallback: expected moments out of .*, got 'on_epoch_ends'",
        ),
        (lambda: LambdaCallback(on_epoch_end=3), "LambdaCallback: on_epoch_end: expected a function, got 3"),
        (lambda: RemoteMonitor(root="http://localhost"), "RemoteMonitor: is not supported here"),
        (lambda: ModelCheckpoint("m.npz", save_freq=0), "ModelCheckpoint: save_freq: .* got 0"),
        (lambda: ModelCheckpoint("m.npz", save_freq="batch"), "ModelCheckpoint: save_freq: .* got 'batch'"),
        (
            lambda: ModelCheckpoint("m.npz", initial_value_threshold="low"),
            "ModelCheckpoint: initial_value_threshold: expected a number",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# NaN


def diverging(*watchers, **arguments):
    """A model whose weights were made NaN before its second epoch."""
    model, (x, y) = small_network(optimizer=optimizers.SGD(0.1)), random_batch(8)
    spoil = LambdaCallback(on_epoch_begin=lambda epoch, logs: epoch == 1 and model.params["dense/bias"].fill(np.nan))
    arguments = {"batch_size": 4, "epochs": 5, "verbose": 0, **arguments}
    return model, lambda: model.fit(x, y, **arguments, callbacks=[spoil, *watchers])


def test_nan_ends_the_training_without_an_error(capsys):
    ended = []
    watch = LambdaCallback(on_train_end=lambda logs: ended.append(sorted(logs)))
    model, train = diverging(TerminateOnNaN(), watch)
    history = train()
    for name in ("loss", "accuracy"):
        assert np.isfinite(history.history[name]).tolist() == [True, False]
    assert model.optimizer.iterations == 2 and ended == [["accuracy", "loss"]]
    assert capsys.readouterr().out == "Batch 1: the loss became nan, so the training ends here\n"


def test_nan_is_no_matter_for_callbacks_that_wait_for_a_validation():
    x, y = random_batch(4)
    watchers = [EarlyStopping("val_loss"), TerminateOnNaN()]
    _, train = diverging(*watchers, validation_data=(x, y))
    assert len(train().history["loss"]) == 2


@pytest.mark.parametrize("watchers", [[], [TerminateOnNaN(raise_error=True)]])
def test_nan_is_an_error_otherwise(watchers):
    with pytest.raises(DivergedError, match="epoch 2, step 1: the loss became nan"):
        diverging(*watchers)[1]()


# Functions


def test_functions_at_any_moment():
    seen = []
    record = {name: lambda *args, name=name: seen.append(name) for name in vars(Callback) if name.startswith("on_t")}
    fit(LambdaCallback(**record, on_epoch_end=None), epochs=1, count=4, validation_split=0.5)
    assert LambdaCallback(mine=print).mine is print
    assert set(seen) == set(record) and seen[0] == "on_train_begin" and seen[-1] == "on_train_end"


# Moving averages


def averaging(*watchers, epochs=4, momentum=0.5, **arguments):
    model = small_network(optimizer=optimizers.SGD(0.1, use_ema=True, ema_momentum=momentum))
    x, y = random_batch(12)
    history = model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(watchers), **arguments)
    return model, history


def weights_of(model):
    return [w.tobytes() for w in model.get_weights()]


def test_fit_ends_with_the_averages():
    model, _ = averaging()
    assert weights_of(model) == [w.tobytes() for w in model.optimizer.state["average"].values()]
    plain = small_network(optimizer=optimizers.SGD(0.1))
    plain.fit(*random_batch(12), batch_size=4, epochs=4, verbose=0)
    assert weights_of(plain) != weights_of(model)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_what_is_seen_while_the_averages_are_swapped(swap_on_epoch):
    """The validation sees the averages, the training never; the end is the same as without the callback."""
    seen = {}

    def watch(moment):
        def look(*args):
            seen.setdefault(moment, []).append(weights_of(watcher.model))

        return look

    moments = ["on_train_batch_begin", "on_test_batch_begin", "on_epoch_end"]
    watcher = LambdaCallback(**{moment: watch(moment) for moment in moments})
    x, y = random_batch(8, seed=1)
    model, history = averaging(SwapEMAWeights(swap_on_epoch), watcher, validation_data=(x, y))
    plain_seen, seen = seen, {}
    plain, plain_history = averaging(watcher, validation_data=(x, y))
    assert weights_of(model) == weights_of(plain)
    assert history.history["loss"] == plain_history.history["loss"]
    assert history.history["val_loss"] != plain_history.history["val_loss"]
    assert plain_seen["on_train_batch_begin"] == seen["on_train_batch_begin"]
    assert all(
        ours != theirs for ours, theirs in zip(*(s["on_test_batch_begin"] for s in (plain_seen, seen)), strict=True)
    )
    differ = [ours != theirs for ours, theirs in zip(plain_seen["on_epoch_end"], seen["on_epoch_end"], strict=True)]
    assert differ == [swap_on_epoch] * 4
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(history.history["val_loss"][-1])


def test_a_training_that_stops_early_ends_with_the_averages_too():
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", epoch == 1))
    swapped, _ = averaging(SwapEMAWeights(swap_on_epoch=True), stop)
    assert weights_of(swapped) == weights_of(averaging(epochs=2)[0])


def test_an_interrupted_validation_leaves_no_averages_behind():
    def interrupt(*args):
        raise KeyboardInterrupt

    x, y = random_batch(12)
    model = small_network(optimizer=optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    arguments = {"batch_size": 4, "verbose": 0, "validation_data": (x, y)}
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, **arguments, callbacks=[SwapEMAWeights(), LambdaCallback(on_test_batch_begin=interrupt)])
    assert model.optimizer.averaged
    begun = []
    look = LambdaCallback(on_train_begin=lambda logs: begun.append(weights_of(model)))
    trained = [w.tobytes() for w in model.optimizer.state["average"].values()]  # they are in each other's place
    model.fit(x, y, **arguments, callbacks=[SwapEMAWeights(), look])
    assert begun == [trained] and not model.optimizer.averaged


# Checkpoints


def test_checkpoints_after_so_many_batches(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}-{batch}.npz", save_freq=2)
    fit(checkpoint, epochs=2, count=20, batch_size=4)
    assert sorted(os.listdir(tmp_path)) == ["1-2.npz", "1-4.npz", "2-1.npz", "2-3.npz", "2-5.npz"]


def test_the_best_of_batches(tmp_path):
    seen = []
    look = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    path = tmp_path / "{epoch}-{batch}.npz"
    fit(look, ModelCheckpoint(path, monitor="loss", save_best_only=True, save_freq=1), epochs=3, batch_size=4)
    best, names = np.inf, []
    for (epoch, batch), loss in zip(itertools.product(range(1, 4), range(1, 6)), seen, strict=True):
        if loss < best:
            best = loss
            names.append(f"{epoch}-{batch}.npz")
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_weights_alone(tmp_path):
    model, _ = fit(ModelCheckpoint(tmp_path / "m.npz", save_weights_only=True), epochs=1)
    loaded = models.load_model(tmp_path / "m.npz")
    assert weights_of(loaded) == weights_of(model)
    assert loaded.optimizer.iterations == 0 and loaded.optimizer.state == {}
    assert (tmp_path / "m.npz").stat().st_size < 0.5 * size_with_optimizer(model, tmp_path / "whole.npz")


def size_with_optimizer(model, path):
    model.save(path)
    return path.stat().st_size


def test_the_first_value_must_be_better_than_a_threshold(tmp_path):
    checkpoint = ModelCheckpoint(
        tmp_path / "{epoch}.npz", monitor="val", save_best_only=True, initial_value_threshold=2.5
    )
    fit(Values(val=[4.0, 3.0, 2.0, 2.2]), checkpoint, epochs=4)
    assert os.listdir(tmp_path) == ["3.npz"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("{batch}.npz", {}, "ModelCheckpoint: filepath: expected what is known after an epoch, got 'batch'"),
        ("{val_loss}.npz", {"save_freq": 2}, "ModelCheckpoint: filepath: expected what is known after a batch"),
        (
            "m.npz",
            {"save_freq": 2, "save_best_only": True},
            "ModelCheckpoint: monitor: .* after a batch, got 'val_loss'",
        ),
    ],
)
def test_what_will_not_be_known_is_said_before_the_first_epoch(tmp_path, name, arguments, message):
    model = small_network()
    with pytest.raises(ValueError, match=message):
        model.fit(
            *random_batch(), verbose=0, validation_split=0.5, callbacks=[ModelCheckpoint(tmp_path / name, **arguments)]
        )
    assert model.optimizer.iterations == 0 and os.listdir(tmp_path) == []


def test_all_of_keras_callbacks_are_here():
    """Those that a script may name."""
    names = "BackupAndRestore CSVLogger Callback EarlyStopping History LambdaCallback LearningRateScheduler"
    names += " ModelCheckpoint ReduceLROnPlateau RemoteMonitor SwapEMAWeights TensorBoard TerminateOnNaN"
    assert set(names.split()) <= set(callbacks.__all__)
