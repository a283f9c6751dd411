"""Callbacks where scripts for Keras rely on them: moments, logs, what is best, folders that are not there yet."""

import re

import numpy as np
import pytest
from conftest import random_batch, small_network
from test_callbacks import Values, fit

from cnn.callbacks import BackupAndRestore, Callback, EarlyStopping, ModelCheckpoint


class BatchCounter(Callback):
    def __init__(self):
        self.begun, self.ended = [], []

    def on_batch_begin(self, batch, logs=None):
        self.begun.append((batch, logs))

    def on_batch_end(self, batch, logs=None):
        self.ended.append((batch, sorted(logs)))


def test_the_short_names_of_a_batchs_moments_are_called_in_training_alone():
    counter = BatchCounter()
    fit(counter, epochs=1, count=20, validation_split=0.5, batch_size=8)
    assert counter.begun == [(0, {}), (1, {})]
    assert counter.ended == [(0, ["accuracy", "loss"]), (1, ["accuracy", "loss"])]


def test_a_callback_that_hands_a_batchs_end_on_is_called_once():
    class Both(BatchCounter):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)

    both = Both()
    fit(both, epochs=1, count=8)
    assert len(both.ended) == 1


def test_logs_are_a_dict_at_every_moment():
    """A script may ask logs.get("loss") wherever it likes."""
    seen = {}

    def watch(moment):
        return lambda *args: seen.update({moment: args[-1]})

    callback = Callback()
    for moment in [name for name in vars(Callback) if re.match("on_(train|test|predict|epoch)", name)]:
        setattr(callback, moment, watch(moment))
    model, _ = fit(callback, epochs=1, validation_split=0.5)
    x, _ = random_batch(4)
    model.predict(x, verbose=0, callbacks=callback)
    assert len(seen) == 14
    empty = {moment for moment, logs in seen.items() if logs == {}}
    assert empty == {moment for moment in seen if moment.endswith("begin")} | {"on_predict_end"}
    np.testing.assert_array_equal(seen["on_predict_batch_end"]["outputs"], model.predict(x, verbose=0))


@pytest.mark.parametrize(("values", "best"), [([3, 1, 2], 1), ([3, 2, 1], 2)])
@pytest.mark.parametrize("baseline", [0.5, 1.5])
def test_the_best_weights_are_the_best_even_where_none_is_better_than_the_baseline(values, best, baseline):
    kept = []
    keep = Callback()
    keep.on_epoch_end = lambda epoch, logs=None: kept.append(keep.model.get_weights())
    stop = EarlyStopping(monitor="val", patience=3, baseline=baseline, restore_best_weights=True)
    model, _ = fit(Values(val=values), keep, stop, epochs=3)
    for got, right in zip(model.get_weights(), kept[best], strict=True):
        np.testing.assert_array_equal(got, right)
    assert stop.best_epoch == best and stop.best == values[best]


def test_a_checkpoint_makes_its_folder_before_the_first_epoch(tmp_path):
    seen = []
    look = Callback()
    look.on_epoch_begin = lambda epoch, logs=None: seen.append((tmp_path / "a" / "b").is_dir())
    fit(ModelCheckpoint(tmp_path / "a" / "b" / "m.npz"), look, epochs=1)
    assert seen == [True] and (tmp_path / "a" / "b" / "m.npz").exists()
    fit(ModelCheckpoint(tmp_path / "epoch-{epoch}" / "m.npz"), epochs=2)
    assert (tmp_path / "epoch-2" / "m.npz").exists()


def test_a_checkpoint_whose_folder_cannot_be_made_says_so_before_the_first_epoch(tmp_path):
    (tmp_path / "file").write_text("")
    model = small_network()
    with pytest.raises(OSError, match="file"):
        model.fit(*random_batch(), verbose=0, callbacks=ModelCheckpoint(tmp_path / "file" / "m.npz"))
    assert model.optimizer.iterations == 0


def test_backups_need_a_folder():
    with pytest.raises(ValueError, match="BackupAndRestore: backup_dir: expected the name of a folder, got ''"):
        BackupAndRestore("")
    with pytest.raises(ValueError, match="BackupAndRestore: double_checkpoint: True is not supported here"):
        BackupAndRestore("backup", double_checkpoint=True)
