"""Runs that cannot be taken up are refused with one clear error, and what diverged never replaces what was good."""

import os

import numpy as np
import pytest
from model_files import with_document
from test_resume import FIT, StopAfter, X, Y, new_model

from cnn import callbacks, layers, models, optimizers, saving
from cnn.callbacks import BackupAndRestore, EarlyStopping
from cnn.errors import DivergedError, ModelFileError

# What is refused


def start(folder):
    new_model().fit(X, Y, **FIT, callbacks=[BackupAndRestore(folder), EarlyStopping(patience=3), StopAfter(6)])
    return (folder / "last.npz").read_bytes()


def go_on(folder, model=None, x=X, y=Y, watchers=None, **arguments):
    watchers = [EarlyStopping(patience=3)] if watchers is None else watchers
    (model or new_model()).fit(x, y, **{**FIT, **arguments}, callbacks=[BackupAndRestore(folder), *watchers])


def other_network():
    model = models.Sequential([layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(3, activation="softmax")], seed=5)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


CONTRADICTIONS = {
    "batch size": ({"batch_size": 8}, "batch_size: expected 7 as in the saved run, got 8"),
    "shuffling": ({"shuffle": False}, "shuffle: expected True"),
    "validation": ({"validation_split": 0.1}, "validation_split: expected 0.2"),
    "first epoch": ({"initial_epoch": 1}, "initial_epoch: expected 0"),
    "photos": ({"x": X + np.float32(1e-6)}, "data: expected [0-9a-f]{64} "),
    "labels": ({"y": (Y + 1) % 3}, "data: expected [0-9a-f]{64} "),
    "type of the photos": ({"x": X.astype(np.float64)}, "data: expected [0-9a-f]{64} "),
    "seed": (lambda: {"model": new_model(seed=6)}, "model.seed: expected 5 as in the saved run, got 6"),
    "network": (lambda: {"model": other_network()}, "model.layers: expected"),
    "layer": (
        lambda: {"model": new_model(units=4)},
        r"model.layers\[4\].config.units: expected 3 as in the saved run, got 4",
    ),
    "optimizer": (lambda: {"model": new_model("sgd")}, "compile.optimizer.class: expected Adam"),
    "learning rate": (
        lambda: {"model": new_model(optimizers.Adam(0.002))},
        "compile.optimizer.config.learning_rate: expected 0.001 as in the saved run, got 0.002",
    ),
    "callbacks": ({"watchers": []}, r"callbacks: expected \['EarlyStopping', 'History'\]"),
}


@pytest.mark.parametrize("arguments, reason", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_another_run_is_refused_and_nothing_is_changed(tmp_path, arguments, reason):
    before = start(tmp_path)
    arguments = arguments() if callable(arguments) else arguments
    model = arguments.setdefault("model", new_model())
    weights = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match=f"cannot go on from .*last.npz: {reason}"):
        go_on(tmp_path, **arguments)
    assert (tmp_path / "last.npz").read_bytes() == before
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    go_on(tmp_path)  # the right one still goes on


def test_a_damaged_backup_is_an_error_not_a_new_start(tmp_path):
    data = start(tmp_path)
    (tmp_path / "last.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError, match="last.npz: .*cut short"):
        go_on(tmp_path)


def batch(**values):
    return lambda document: document["training"].update(values)


IMPOSSIBLE = {  # of 24 photos in batches of 7, stopped in the second batch of the second epoch
    "step beyond the epoch": (batch(step=5, count=24), "expected at most 4 batches in an epoch, got 5"),
    "step far beyond the epoch": (batch(step=2**40, count=2**40), "expected at most 4 batches in an epoch"),
    "photos of other batches": (batch(count=15), "expected 14 photos in 2 batches, got 15"),
    "no sums": (batch(sums={}), r"expected sums of \['accuracy', 'loss'\], got \[\]"),
    "sums of others": (batch(sums={"loss": 1.0, "rate": 1.0}), "expected sums of"),
    "sums before the first batch": (batch(step=0, count=0), r"expected sums of \[\]"),
    "more steps than there is time": (
        lambda d: d["progress"].update(iterations=2**40),
        "expected at most 549755813888 epochs and steps done",
    ),
    "more epochs than there is time": (
        lambda d: d["progress"].update(epochs=2**40),
        "expected at most 549755813888 epochs and steps done",
    ),
}


@pytest.mark.parametrize("change, reason", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_place_where_no_run_can_stand_is_refused(tmp_path, change, reason):
    data = with_document(start(tmp_path), change)
    (tmp_path / "last.npz").write_bytes(data)
    model = new_model()
    weights = [w.copy() for w in model.get_weights()]
    with pytest.raises(ModelFileError, match=f"last.npz: {reason}"):
        go_on(tmp_path, model)
    assert (tmp_path / "last.npz").read_bytes() == data
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    start(tmp_path)
    (tmp_path / "last.npz.tmp.0123abcd").write_bytes(b"half a file")
    (tmp_path / "last.npz.of.mine").write_bytes(b"not ours")
    go_on(tmp_path)
    assert os.listdir(tmp_path) == ["last.npz.of.mine"]


def test_an_unwritable_folder_is_known_before_the_first_batch(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    model = new_model()
    with pytest.raises(OSError, match="file"):
        model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path / "file" / "backup")])
    assert model.optimizer.iterations == 0


def test_settings_of_the_callback():
    for save_freq in (0, -1, 1.5, "batch", True):
        with pytest.raises(ValueError, match="BackupAndRestore: save_freq"):
            BackupAndRestore("folder", save_freq)


# Divergence


def test_divergence_keeps_the_last_good_model(tmp_path):
    model = new_model(optimizers.SGD(1e-2))

    class Explode(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if model.optimizer.iterations == 6:
                model.params["dense/kernel"][:] = np.nan

    with pytest.raises(DivergedError, match="epoch 2, step 3: the loss became nan"):
        model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path), Explode()])
    saved, state = saving.load_training(tmp_path)
    assert (state.epoch, state.step) == (1, 0) and model.history.epoch == [0]
    assert all(np.isfinite(w).all() for w in saved.get_weights())


def test_weights_that_became_nan_in_the_last_batch_are_not_saved(tmp_path):
    """The loss of that batch was still finite."""
    model = new_model()

    class Explode(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if model.optimizer.iterations == 5:
                model.params["dense/kernel"][0] = np.inf

    with pytest.raises(DivergedError, match="dense/kernel holds NaN or infinity"):
        model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path, save_freq=1), Explode()])
    assert saving.load_training(tmp_path)[0].optimizer.iterations == 4


def test_a_validation_loss_that_is_not_finite_stops_too():
    x = X.copy()
    x[-1] = 3e38  # a photo of the validation part
    model = other_network()
    with (
        pytest.raises(DivergedError, match="epoch 1, validation: the loss became (nan|inf)"),
        np.errstate(all="ignore"),
    ):
        model.fit(x, Y, **FIT)
