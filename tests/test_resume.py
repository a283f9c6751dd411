"""A run that was stopped anywhere and taken up again ends with the same bits as one that never stopped."""

import contextlib
import csv
import json
import os

import numpy as np
import pytest

from cnn import callbacks, layers, models, optimizers, saving
from cnn.callbacks import BackupAndRestore, CSVLogger, EarlyStopping, ModelCheckpoint
from cnn.training.run import Run, RunningMean

RNG = np.random.default_rng(0)
X, Y = RNG.random((30, 6, 6, 1), dtype=np.float32), RNG.integers(0, 3, 30)
EPOCHS, BATCH, STEPS = 4, 7, 4  # 24 photos to train on: 3 batches of 7 and one of 3
FIT = {"batch_size": BATCH, "epochs": EPOCHS, "validation_split": 0.2, "verbose": 0}


def new_model(optimizer="adam", seed=5, units=3):
    network = [
        layers.Conv2D(2, 3, activation="relu", input_shape=(6, 6, 1)),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(units, activation="softmax"),
    ]
    model = models.Sequential(network, seed=seed)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    model.shards = 2
    return model


class StopAfter(callbacks.Callback):
    """Ask for a stop after so many batches, or raise."""

    def __init__(self, batches, error=None):
        self.left, self.error = batches, error

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0 and self.error is not None:
            raise self.error
        if self.left == 0:
            self.model.stop_after_batch = True


def everything(model) -> dict:
    """All that must be the same bits."""
    arrays = dict(model.params)
    for slot, values in model.optimizer.state.items():
        arrays |= {f"{slot}/{key}": value for key, value in values.items()}
    numbers = {
        "iterations": model.optimizer.iterations,
        "epoch": model.epoch,
        "history": model.history.history,
        "epochs": model.history.epoch,
    }
    return {key: value.tobytes() for key, value in arrays.items()} | {
        "numbers": json.dumps(numbers, default=lambda n: n.item())
    }


def uninterrupted(make=new_model, watchers=list, **arguments):
    model = make()
    model.fit(X, Y, **{**FIT, **arguments}, callbacks=watchers())
    return everything(model)


def interrupted(folder, stops, make=new_model, watchers=list, save_freq="epoch", error=None, **arguments):
    """The same with stops after these numbers of batches, each followed by a new process's beginning."""
    for batches in [*stops, None]:
        model = make()
        stop = [] if batches is None else [StopAfter(batches, error)]
        # Before the others, because its place in the list must not matter.
        backup = BackupAndRestore(folder, save_freq)
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(X, Y, **{**FIT, **arguments}, callbacks=[backup, *watchers(), *stop])
    assert os.listdir(folder) == []  # fit is done: nothing is left to take up
    return everything(model)


@pytest.mark.parametrize("batches", range(1, EPOCHS * STEPS + 1))
def test_stop_after_any_batch(tmp_path, batches):
    assert interrupted(tmp_path, [batches]) == uninterrupted()


def test_stop_after_every_batch(tmp_path):
    """As many processes as batches; epochs end within them too."""
    assert interrupted(tmp_path, [1] * (EPOCHS * STEPS)) == uninterrupted()


@pytest.mark.parametrize("save_freq", ["epoch", 1, 3])
@pytest.mark.parametrize("batches", [1, 3, 4, 6, 11])
def test_interruption_without_a_chance_to_save(tmp_path, batches, save_freq):
    """KeyboardInterrupt stands for anything that ends the process: what counts is the file of the last safe point."""
    assert interrupted(tmp_path, [batches], save_freq=save_freq, error=KeyboardInterrupt()) == uninterrupted()


@pytest.mark.parametrize(
    "optimizer", [optimizers.SGD(0.1), optimizers.SGD(0.1, 0.9, nesterov=True)], ids=["sgd", "nesterov"]
)
def test_other_optimizers(tmp_path, optimizer):
    def make():
        return new_model(type(optimizer)(**optimizer.get_config()))

    assert interrupted(tmp_path, [3, 6], make) == uninterrupted(make)


def test_float64_without_validation_or_shuffling(tmp_path):
    def make():
        model = new_model().astype(np.float64)
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    arguments = {"validation_split": 0.0, "shuffle": False, "initial_epoch": 1}
    assert interrupted(tmp_path, [2, 5], make, **arguments) == uninterrupted(make, **arguments)


@pytest.mark.parametrize("batches", range(1, 16, 2))
def test_early_stopping_goes_on_counting(tmp_path, batches):
    """It stops in the same epoch and restores the same best weights, whichever process saw them."""

    def watchers():
        return [EarlyStopping("val_loss", patience=1, min_delta=0.05, restore_best_weights=True)]

    expected = uninterrupted(watchers=watchers, epochs=8)
    assert 1 < len(json.loads(expected["numbers"])["epochs"]) < 8  # it does stop early
    assert interrupted(tmp_path, [batches], watchers=watchers, epochs=8) == expected


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    def watchers():
        return [EarlyStopping("loss", mode="max")]

    model = new_model()
    model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False), *watchers()])
    assert len(model.history.epoch) == 2
    again = new_model()
    again.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False), *watchers()])
    assert everything(again) == everything(model)
    assert saving.load_training(tmp_path)[1].finished


def test_checkpoints_and_csv_are_the_same_files(tmp_path):
    def run(folder, stops):
        (tmp_path / folder / "backup").mkdir(parents=True)

        def watchers():
            return [
                ModelCheckpoint(tmp_path / folder / "best.npz", "loss", save_best_only=True),
                CSVLogger(tmp_path / folder / "history.csv"),
            ]

        interrupted(tmp_path / folder / "backup", stops, watchers=watchers, error=KeyboardInterrupt())
        return [(tmp_path / folder / name).read_bytes() for name in ("best.npz", "history.csv")]

    files = run("whole", [])
    assert len(list(csv.reader(files[1].decode().splitlines()))) == EPOCHS + 1
    assert run("cut", [3, 6, 5]) == files  # rows of epochs that are done twice stand there once


def test_resuming_a_finished_run_changes_nothing_and_more_epochs_go_on(tmp_path):
    def fit(epochs):
        model = new_model()
        model.fit(X, Y, **{**FIT, "epochs": epochs}, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False)])
        return everything(model)

    assert fit(2) == fit(2) == uninterrupted(epochs=2)
    assert fit(EPOCHS) == uninterrupted()


def test_shards_come_from_the_file(tmp_path):
    """A machine with other cores must not change the bits."""
    model = new_model()
    model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path), StopAfter(2)])
    other = new_model()
    other.shards = 1
    other.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path)])
    assert other.shards == 2 and everything(other) == uninterrupted()


def test_epoch_counter_goes_on_over_several_fits(tmp_path):
    """The second fit shuffles with the epochs after those of the first; a resume of the second one too."""

    def first():
        model = new_model()
        model.fit(X, Y, **FIT)
        return model

    assert interrupted(tmp_path, [5], first) == uninterrupted(first)


# The API that the command line uses


def test_load_training_tells_where_a_run_stands(tmp_path):
    model = new_model()
    model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path, extra={"network": "cnn"}), StopAfter(6)])
    assert model.stop_after_batch  # says that fit was stopped, not done
    loaded, state = saving.load_training(tmp_path)
    assert (state.epoch, state.step, state.stopped, state.finished) == (1, 2, False, False)
    assert state.settings["batch_size"] == BATCH and state.settings["epochs"] == EPOCHS
    assert (
        state.extra == {"network": "cnn"} and state.history == model.history.history and len(state.history["loss"]) == 1
    )
    assert loaded.optimizer.iterations == 6
    saving.save_training(loaded, tmp_path / "copy.npz", state)
    assert (tmp_path / "copy.npz").read_bytes() == (tmp_path / "last.npz").read_bytes()
    loaded.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path)])  # the loaded model is one to go on with
    assert everything(loaded) == uninterrupted()


def test_a_notebook_keeps_history_and_model_after_an_interrupt():
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, **FIT, callbacks=[StopAfter(6, KeyboardInterrupt())])
    assert model.history.epoch == [0] and len(model.history.history["val_loss"]) == 1
    assert np.isfinite(model.predict(X, verbose=0)).all()
    model.fit(X, Y, **FIT)
    assert len(model.history.epoch) == EPOCHS


@pytest.mark.parametrize(
    "moment", ["on_train_begin", "on_restore", "on_epoch_begin", "on_test_batch_end", "on_epoch_end", "on_train_end"]
)
def test_history_is_there_whenever_the_interrupt_comes(moment):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, **FIT, callbacks=[type("Interrupt", (callbacks.Callback,), {moment: interrupt})()])
    epochs = EPOCHS if moment == "on_train_end" else 0
    assert len(model.history.epoch) == epochs and all(
        len(values) == epochs for values in model.history.history.values()
    )
    model.fit(X, Y, **FIT)


def test_the_same_notebook_goes_on_exactly(tmp_path):
    """Not a new process but the same model, its weights somewhere after the last safe point."""
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path), StopAfter(6, KeyboardInterrupt())])
    model.fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path)])
    assert everything(model) == uninterrupted()


def test_an_interruption_ends_the_progress_line(capsys):
    class Terminal(callbacks.ProgressBar):
        def _begin(self):
            super()._begin()
            self.shown = -1  # show every update

    bar = Terminal(1)
    bar.params = {"steps": 4, "epochs": 1}
    bar.on_epoch_begin(0)
    bar.on_train_batch_end(0, {"loss": 1.0})
    assert not capsys.readouterr().out.endswith("\n")
    bar.close()
    bar.close()
    assert capsys.readouterr().out == "\n"


def test_numbers_that_other_callbacks_put_into_the_logs(tmp_path):
    class Logs(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["rate"], logs["epochs"] = np.float32(0.1), np.int64(epoch)

    assert interrupted(tmp_path, [6], watchers=lambda: [Logs()]) == interrupted(tmp_path, [], watchers=lambda: [Logs()])
    new_model().fit(X, Y, **FIT, callbacks=[Logs(), BackupAndRestore(tmp_path), StopAfter(6)])
    assert saving.load_training(tmp_path)[1].history["rate"] == [np.float32(0.1)]


# What callbacks remember


def test_several_callbacks_of_one_class_keep_their_own_state(tmp_path):
    class Two_Words(callbacks.Callback):
        def __init__(self):
            self.seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1

        def get_state(self):
            return {"seen": self.seen}

        def set_state(self, state):
            self.seen = state["seen"]

    def run(watchers, stop):
        new_model().fit(X, Y, **FIT, callbacks=[BackupAndRestore(tmp_path), *watchers, *stop])
        return [watcher.seen for watcher in watchers]

    first, second = Two_Words(), Two_Words()
    second.seen = 100
    assert run([first, second], [StopAfter(6)]) == [6, 106]
    assert run([Two_Words(), Two_Words()], []) == [16, 116]


# Injected faults: the checks above must notice


def forgets_the_optimizers_step(monkeypatch):
    original = Run.restore

    def restore(run, saved, state, where):
        saved.optimizer.iterations = 0
        original(run, saved, state, where)

    monkeypatch.setattr(Run, "restore", restore)


def forgets_the_slots(monkeypatch):
    original = Run.restore

    def restore(run, saved, state, where):
        saved.optimizer.state = {}
        original(run, saved, state, where)

    monkeypatch.setattr(Run, "restore", restore)


def starts_the_epoch_again(monkeypatch):
    original = Run.restore

    def restore(run, saved, state, where):
        original(run, saved, state, where)
        run.step = 0

    monkeypatch.setattr(Run, "restore", restore)


def forgets_the_means(monkeypatch):
    original = Run.restore

    def restore(run, saved, state, where):
        original(run, saved, state, where)
        run.mean = RunningMean(run.model)

    monkeypatch.setattr(Run, "restore", restore)


def shuffles_from_the_start(monkeypatch):
    original = Run.restore

    def restore(run, saved, state, where):
        original(run, saved, state, where)
        run.model.epoch = 0

    monkeypatch.setattr(Run, "restore", restore)


@pytest.mark.parametrize(
    "fault",
    [
        forgets_the_optimizers_step,
        forgets_the_slots,
        starts_the_epoch_again,
        forgets_the_means,
        shuffles_from_the_start,
    ],
)
def test_injected_faults_are_noticed(tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        test_stop_after_any_batch(tmp_path, 6)


def test_early_stopping_that_forgets_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(EarlyStopping, "set_state", lambda self, state: None)
    noticed = 0
    for batches in range(1, 16, 2):
        (folder := tmp_path / str(batches)).mkdir()
        try:
            test_early_stopping_goes_on_counting(folder, batches)
        except (AssertionError, ZeroDivisionError):
            noticed += 1
    assert noticed
