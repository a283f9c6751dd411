"""Callbacks: the moments they are called, what they record, when they stop, and what the progress line shows."""

import csv
import io
import re

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import models
from cnn.callbacks import Callback, CSVLogger, EarlyStopping, History, ModelCheckpoint, ProgressBar


class Stream(io.StringIO):
    """A stream that is a terminal or not, of some encoding."""

    def __init__(self, terminal=False, encoding="utf-8"):
        super().__init__()
        self.terminal, self._encoding = terminal, encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self.terminal


class Values(Callback):
    """Puts made-up values into the logs of each epoch, before other callbacks see them."""

    def __init__(self, **values):
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs.update({key: values[epoch] for key, values in self.values.items()})


def fit(*callbacks, epochs=3, count=20, **arguments):
    model, (x, y) = small_network(), random_batch(count)
    history = model.fit(
        x, y, **{"batch_size": 8, "epochs": epochs, "verbose": 0, "callbacks": list(callbacks), **arguments}
    )
    return model, history


# The moments


class Recorder(Callback):
    def __init__(self):
        self.calls = []


def _record(moment):
    def watch(self, *args):
        logs = args[-1] if args and isinstance(args[-1], dict) else None
        self.calls.append((moment, *(a for a in args if isinstance(a, int)), *(sorted(logs) if logs else ())))

    return watch


for _moment in [name for name in vars(Callback) if re.match("on_(train|test|predict|epoch)", name)]:
    setattr(Recorder, _moment, _record(_moment))


def test_moments_of_fit_in_their_order():
    recorder = Recorder()
    fit(recorder, epochs=1, count=20, validation_split=0.5, batch_size=8)
    assert recorder.calls == [
        ("on_train_begin",),
        ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 0, "accuracy", "loss"),
        ("on_train_batch_begin", 1),
        ("on_train_batch_end", 1, "accuracy", "loss"),
        ("on_test_begin",),
        ("on_test_batch_begin", 0),
        ("on_test_batch_end", 0, "accuracy", "loss"),
        ("on_test_batch_begin", 1),
        ("on_test_batch_end", 1, "accuracy", "loss"),
        ("on_test_end", "accuracy", "loss"),
        ("on_epoch_end", 0, "accuracy", "loss", "val_accuracy", "val_loss"),
        ("on_train_end", "accuracy", "loss", "val_accuracy", "val_loss"),
    ]
    assert recorder.params == {"epochs": 1, "steps": 2, "verbose": 0}


def test_moments_of_evaluate_and_predict():
    model, (x, y) = small_network(), random_batch(4)
    recorder = Recorder()
    model.evaluate(x, y, verbose=0, callbacks=[recorder])
    model.predict(x, verbose=0, callbacks=[recorder])
    assert [call[0] for call in recorder.calls] == [
        "on_test_begin",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
        "on_predict_begin",
        "on_predict_batch_begin",
        "on_predict_batch_end",
        "on_predict_end",
    ]


def test_a_callback_sees_the_model_and_may_stop_it():
    class StopAtTwo(Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert isinstance(self.model, models.Sequential)
            self.model.stop_training = epoch == 1

    assert fit(StopAtTwo(), epochs=9)[1].epoch == [0, 1]


def test_an_error_in_a_callback_reaches_the_caller_and_the_history_stays():
    class Fails(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyError("mine")

    model, (x, y) = small_network(), random_batch(8)
    with pytest.raises(KeyError, match="mine"):
        model.fit(x, y, epochs=3, verbose=0, callbacks=[Fails()])
    assert model.history.epoch == [0]


# What they record


def test_history_has_sorted_keys_and_plain_numbers():
    model, history = fit(validation_split=0.25)
    assert isinstance(history, History)
    assert history is model.history
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == [0, 1, 2]
    assert history.params == {"epochs": 3, "steps": 2, "verbose": 0}
    assert {type(value) for values in history.history.values() for value in values} == {float}


@pytest.mark.parametrize("separator", [",", ";"])
def test_csv_logger_writes_a_row_at_once(tmp_path, separator):
    path = tmp_path / "log.csv"
    rows_seen = []

    class Reads(Callback):
        def on_epoch_end(self, epoch, logs=None):
            rows_seen.append(len(path.read_text().splitlines()))

    _, history = fit(CSVLogger(path, separator=separator), Reads())
    rows = list(csv.reader(path.read_text().splitlines(), delimiter=separator))
    assert rows[0] == ["epoch", "accuracy", "loss"]
    assert [row[0] for row in rows[1:]] == ["0", "1", "2"]
    assert [float(row[2]) for row in rows[1:]] == history.history["loss"]
    assert rows_seen == [2, 3, 4]


def test_csv_logger_appends_without_a_second_header(tmp_path):
    path = tmp_path / "log.csv"
    for _ in range(2):
        fit(CSVLogger(path, append=True), epochs=2)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["epoch", "0", "1", "0", "1"]
    fit(CSVLogger(path), epochs=1)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "saved"),
    [({}, [1, 2, 3, 4]), ({"save_best_only": True}, [1, 3]), ({"save_best_only": True, "mode": "max"}, [1, 2])],
)
def test_checkpoints(tmp_path, arguments, saved):
    checkpoint = ModelCheckpoint(tmp_path / "m-{epoch:02d}-{val:.1f}.npz", monitor="val", **arguments)
    fit(Values(val=[2.0, 3.0, 1.0, 2.0]), checkpoint, epochs=4)
    values = {1: "2.0", 2: "3.0", 3: "1.0", 4: "2.0"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"m-{n:02d}-{values[n]}.npz" for n in saved]


def test_a_checkpoint_is_the_model_of_its_epoch(tmp_path):
    model, _ = fit(ModelCheckpoint(tmp_path / "m.npz"), epochs=2)
    x, _ = random_batch()
    np.testing.assert_array_equal(
        models.load_model(tmp_path / "m.npz").predict(x, verbose=0), model.predict(x, verbose=0)
    )


# When they stop


@pytest.mark.parametrize(
    ("values", "arguments", "epochs"),
    [
        ([3, 2, 1, 1, 1, 1], {}, 4),
        ([3, 2, 1, 1, 1, 1], {"patience": 2}, 5),
        ([3, 2, 2.5, 1, 2, 2], {"patience": 2}, 6),
        ([3, 2.95, 2.9, 2.85, 2.8, 2.7], {"min_delta": 0.15, "patience": 2}, 3),
        ([1, 2, 3, 3, 4, 5], {"mode": "max"}, 4),
        ([3, 3, 3, 2, 2, 2], {"start_from_epoch": 3}, 5),
        ([3, 2, 1, 1, 1, 1], {"baseline": 0.5, "patience": 2}, 4),
        ([3, 2, 1, 0.4, 0.6, 0.5], {"baseline": 0.5}, 5),
    ],
)
def test_early_stopping(values, arguments, epochs):
    _, history = fit(Values(val=values), EarlyStopping(monitor="val", **arguments), epochs=6)
    assert len(history.epoch) == epochs


def test_early_stopping_knows_that_accuracy_should_grow():
    _, history = fit(Values(val_accuracy=[0.5, 0.6, 0.7, 0.7]), EarlyStopping(monitor="val_accuracy"), epochs=4)
    assert len(history.epoch) == 4


def test_early_stopping_brings_the_best_weights_back(capsys):
    class Keep(Callback):
        def __init__(self):
            self.weights = []

        def on_epoch_end(self, epoch, logs=None):
            self.weights.append(self.model.get_weights())

    keep = Keep()
    stop = EarlyStopping(monitor="val", patience=2, restore_best_weights=True, verbose=1)
    model, history = fit(Values(val=[3, 1, 2, 2, 2]), keep, stop, epochs=5)
    assert len(history.epoch) == 4
    for got, best in zip(model.get_weights(), keep.weights[1], strict=True):
        np.testing.assert_array_equal(got, best)
    assert capsys.readouterr().out == "Epoch 4: early stopping\nRestoring the weights of epoch 2, the best\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=-1), "EarlyStopping: patience: .* got -1"),
        (
            lambda: EarlyStopping(mode="best"),
            "monitoring 'val_loss': mode: expected 'auto' or 'min' or 'max', got 'best'",
        ),
        (lambda: ModelCheckpoint("m"), "ModelCheckpoint: filepath: expected a file name that ends in .npz, got 'm'"),
        (
            lambda: fit(EarlyStopping()),
            r"monitor: expected one of accuracy, loss, got 'val_loss' \(no validation data\?\)",
        ),
        (lambda: fit(Callback), "callbacks: expected instances of Callback, got <class"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# The progress line


def bar_text(stream, monkeypatch, verbose="auto", seconds=0.2, **arguments):
    """What fit writes when each look at the clock is `seconds` after the last."""
    clock = iter(np.arange(1, 10_000) * seconds)
    monkeypatch.setattr("cnn.callbacks.progress.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    fit(verbose=verbose, **arguments)
    return stream.getvalue()


def test_no_terminal_one_line_an_epoch(monkeypatch):
    lines = bar_text(Stream(), monkeypatch, epochs=2, validation_split=0.5).splitlines()
    assert lines[0] == "Epoch 1/2"
    number = r"\d\.\d{4}"
    metrics = rf"accuracy: {number} - loss: {number} - val_accuracy: {number} - val_loss: {number}"
    pattern = rf"2/2 - \ds - \d+(ms|s)/step - {metrics}"
    assert re.fullmatch(pattern, lines[1]), lines[1]
    assert len(lines) == 4


def test_one_epoch_needs_no_heading(monkeypatch):
    assert not bar_text(Stream(), monkeypatch, epochs=1).startswith("Epoch")


def test_a_terminal_shows_a_bar_that_grows_in_one_line(monkeypatch):
    text = bar_text(Stream(terminal=True), monkeypatch, epochs=1, count=24)
    shown = text.split("\r")[1:]
    assert [part.count("━") for part in shown] == [6, 13, 20, 20]
    assert [part[:3] for part in shown] == ["1/3", "2/3", "3/3", "3/3"]
    assert text.count("\n") == 1
    assert text.endswith("\x1b[K\n")
    assert re.search(r"accuracy: \d\.\d{4} - loss: \d\.\d{4}", shown[-1])


def test_a_terminal_is_not_flooded(monkeypatch):
    text = bar_text(Stream(terminal=True), monkeypatch, seconds=1e-4, epochs=1, count=200, batch_size=1)
    assert text.count("\r") < 10


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_has_no_such_letters_gets_others(monkeypatch, encoding):
    text = bar_text(Stream(terminal=True, encoding=encoding), monkeypatch, epochs=1)
    text.encode(encoding)
    assert "=" * 20 in text


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert ProgressBar("auto", Stream(terminal=True)).verbose == 2
    monkeypatch.setenv("TERM", "xterm")
    assert ProgressBar("auto", Stream(terminal=True)).verbose == 1
    assert ProgressBar("auto", Stream()).verbose == 2


def test_verbose_0_is_silent(capsys):
    model, _ = fit(verbose=0)
    x, y = random_batch()
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_evaluate_and_predict_show_their_line(capsys):
    model, (x, y) = small_network(), random_batch(40)
    model.evaluate(x, y, verbose=2)
    model.predict(x, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"2/2 - 0s - \d+(us|ms)/step - accuracy: .* - loss: .*", lines[0])
    assert re.fullmatch(r"2/2 - 0s - \d+(us|ms)/step", lines[1])


def test_small_values_are_shown_with_their_size(monkeypatch):
    stream = Stream()
    monkeypatch.setattr("sys.stdout", stream)
    fit(Values(tiny=[1.25e-5]), epochs=1, verbose=2)
    assert "tiny: 1.2500e-05" in stream.getvalue()


def test_a_clock_that_goes_backwards_breaks_nothing(monkeypatch):
    assert bar_text(Stream(terminal=True), monkeypatch, seconds=-1, epochs=1).count("\n") == 1


# What cannot be, said before the first epoch


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (
            lambda folder: EarlyStopping(),
            "EarlyStopping: monitor: expected one of accuracy, loss, got 'val_loss' (no validation data?)",
        ),
        (
            lambda folder: ModelCheckpoint(folder / "m-{epoch}-{val_loss:.2f}.npz"),
            "ModelCheckpoint: filepath: expected one of accuracy, loss, got 'val_loss' (no validation data?)",
        ),
        (
            lambda folder: ModelCheckpoint(folder / "m.npz", monitor="val_accuracy", save_best_only=True),
            "ModelCheckpoint: monitor: expected one of accuracy, loss, got 'val_accuracy' (no validation data?)",
        ),
    ],
)
def test_a_callback_that_needs_validation_data_says_so_before_the_first_epoch(tmp_path, callback, message):
    model = small_network()
    before = [w.tobytes() for w in model.get_weights()]
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(*random_batch(), verbose=0, callbacks=[callback(tmp_path)])
    assert [w.tobytes() for w in model.get_weights()] == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["nothing", "", "0", "loss.x", "loss:s"])
def test_a_file_name_with_a_field_that_there_is_not(tmp_path, field):
    checkpoint = ModelCheckpoint(tmp_path / f"m-{{{field}}}.npz")
    with pytest.raises(
        ValueError, match=r"ModelCheckpoint: filepath: expected fields out of epoch, accuracy, loss, got"
    ):
        small_network().fit(*random_batch(), verbose=0, callbacks=[checkpoint])


def test_a_moment_may_be_set_on_the_callback_itself():
    """As Keras' LambdaCallback does; also while fit runs."""
    seen, callback = [], Callback()
    callback.on_epoch_begin = lambda epoch, logs=None: setattr(
        callback, "on_train_batch_end", lambda batch, logs=None: seen.append((epoch, batch))
    )
    small_network().fit(*random_batch(), batch_size=6, epochs=2, verbose=0, callbacks=[callback])
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("columns", [3, "loss", [1, 2], {"loss": 1}])
def test_a_log_takes_back_columns_alone(tmp_path, columns):
    logger = CSVLogger(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="CSVLogger: columns: expected a list of names"):
        logger.set_state({"columns": columns, "size": 5})


@pytest.mark.parametrize("min_delta", ["a", None, float("nan")])
def test_min_delta_is_a_number(min_delta):
    with pytest.raises(ValueError, match="EarlyStopping: min_delta: expected a number"):
        EarlyStopping(min_delta=min_delta)
