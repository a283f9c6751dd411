"""All optimizers and callbacks go on to the same bits: see test_resume.py, whose run this is."""

import pytest
from test_resume import interrupted, new_model, uninterrupted

from cnn import optimizers
from cnn.callbacks import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau, SwapEMAWeights
from cnn.optimizers.schedules import CosineDecay


def decayed(rate):
    """Adam with all that it can have besides: what it remembers, and what decides its next step."""
    options = {"weight_decay": 0.01, "clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.8}
    optimizer = optimizers.Adam(rate, amsgrad=True, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS = {
    "adamw": lambda: optimizers.AdamW(0.01),
    "decayed": lambda: decayed(0.01),
    "scheduled": lambda: decayed(CosineDecay(0.001, 9, warmup_target=0.02, warmup_steps=5)),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True, ema_overwrite_frequency=3, use_ema=True),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adamax": lambda: optimizers.Adamax(0.01),
    "lion": lambda: optimizers.Lion(0.003),
    "adadelta": lambda: optimizers.Adadelta(0.5),
}


def test_arrays_that_are_left_out_of_weight_decay_stay_out(tmp_path):
    def make():
        model = new_model(optimizers.AdamW(0.01, weight_decay=0.5))
        model.optimizer.exclude_from_weight_decay(var_list=[model.params["dense/kernel"]])
        return model

    expected = uninterrupted(make)
    assert interrupted(tmp_path, [3, 6], make) == expected
    assert expected != uninterrupted(lambda: new_model(optimizers.AdamW(0.01, weight_decay=0.5)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_each_optimizer(tmp_path, optimizer):
    def make():
        return new_model(optimizer())

    assert interrupted(tmp_path, [3, 6], make) == uninterrupted(make)


def ema():
    return optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5)


CALLBACKS = {
    "plateau": (
        lambda: [ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05, cooldown=1)],
        lambda: optimizers.Adam(0.02),
    ),
    "scheduler": (lambda: [LearningRateScheduler(lambda epoch, rate: rate * 0.5)], lambda: optimizers.SGD(0.5, 0.9)),
    "averages": (lambda: [SwapEMAWeights()], ema),
    "averages at epochs": (lambda: [SwapEMAWeights(swap_on_epoch=True)], ema),
}


@pytest.mark.parametrize(("watchers", "optimizer"), CALLBACKS.values(), ids=CALLBACKS)
@pytest.mark.parametrize("batches", [1, 4, 6, 8, 11, 15])
def test_each_callback(tmp_path, watchers, optimizer, batches):
    """Whether the process ends in an epoch or between two."""

    def make():
        return new_model(optimizer())

    expected = uninterrupted(make, watchers, epochs=5)
    assert interrupted(tmp_path, [batches], make, watchers, epochs=5) == expected
    again = tmp_path / "again"
    again.mkdir()
    assert interrupted(again, [batches], make, watchers, error=KeyboardInterrupt(), epochs=5) == expected


@pytest.mark.parametrize(
    ("kind", "forgets"),
    [(ReduceLROnPlateau, "plateau"), (LearningRateScheduler, "scheduler"), (SwapEMAWeights, "averages at epochs")],
)
def test_a_callback_that_forgets_is_noticed(tmp_path, monkeypatch, kind, forgets):
    monkeypatch.setattr(kind, "set_state", lambda self, state: None)
    noticed = 0
    for batches in (4, 6, 8, 11):
        (folder := tmp_path / str(batches)).mkdir()
        try:
            test_each_callback(folder, *CALLBACKS[forgets], batches)
        except AssertionError:
            noticed += 1
    assert noticed


def test_checkpoints_of_batches_are_the_same_files(tmp_path):
    def run(name, stops):
        (tmp_path / name / "backup").mkdir(parents=True)
        path = tmp_path / name / "files" / "{epoch}-{batch}.npz"

        def watchers():
            return [ModelCheckpoint(path, monitor="loss", save_best_only=True, save_freq=3, save_weights_only=True)]

        interrupted(tmp_path / name / "backup", stops, watchers=watchers)
        return {file.name: file.read_bytes() for file in path.parent.iterdir()}

    assert run("cut", [1, 4, 3]) == run("whole", [])
