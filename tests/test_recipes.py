"""`cnn train --recipe`: a table of flags; what they build, that others win over them, and that nothing is lost."""

import argparse
import json
import shlex
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from commandline import same_bits

from cnn import article, models
from cnn.commands import cli
from cnn.commands.shared import recipes, session, settings

NAMES = tuple(recipes.RECIPES)
FEW = ("--filters=4,8", "--batch-size=32", "--no-plots", "--verbose=0")  # ten steps an epoch


def parsed(*flags):
    parser = argparse.ArgumentParser(exit_on_error=False)
    settings.add_settings(parser)
    return parser.parse_args(flags)


@pytest.mark.parametrize("name", NAMES)
def test_each_word_of_the_table_is_a_flag(name):
    whole = settings.of_recipe(name)
    assert whole.keys() == settings.DEFAULTS.keys()
    given = settings.given(parsed(*settings.flags(whole)))
    assert given == {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_given_beside_it_wins(name):
    chosen = settings.chosen(parsed(f"--recipe={name}", "--epochs=5", "--dropout=0.125", "--shards=3"))
    expected = {**settings.of_recipe(name), "recipe": name, "epochs": 5, "dropout": 0.125, "shards": 3}
    assert chosen == expected
    command = settings.command(chosen, None)
    assert f"--recipe={name}" in command or name == "article"
    assert len(command) < 80  # what the recipe says is not said again
    assert settings.chosen(parsed(*shlex.split(command)[2:])) == expected


def test_without_a_recipe_it_is_the_articles():
    assert settings.chosen(parsed("--shards=2")) == settings.DEFAULTS | {"shards": 2}
    model = session.compiled(settings.DEFAULTS | {"shards": 2}, 60_000)
    assert [repr(layer) for layer in model.layers] == [repr(layer) for layer in article.convolutional().layers]
    assert model.optimizer.get_config() == {**model.optimizer.get_config(), "name": "adam", "learning_rate": 0.001}
    assert model.loss.name == "sparse_categorical_crossentropy"


def test_what_a_recipe_builds():
    chosen = settings.chosen(parsed("--recipe=best", "--shift=2", "--flip=alternating", "--normalization=batch"))
    model = session.compiled(chosen, 60_000)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[:3] == ["RandomFlip", "RandomTranslation", "RandomErasing"] and model.layers[0].alternating
    drawn = model.layers[1].draw(np.random.default_rng(0), (5000, 28, 28, 1))
    for shift in drawn[:, 0, 2], drawn[:, 1, 2]:  # each way equally often
        assert (np.bincount(shift.astype(int) + 2) > 850).all() and abs(shift).max() == 2
    assert kinds.count("BatchNormalization") == 3 and kinds.count("Dropout") == 2
    assert models.folded(model).count_params() == 421_642


def test_the_learning_rate_rises_falls_and_ends_at_nothing():
    optimizer = recipes.optimizer(settings.of_recipe("best") | {"learning_rate": 0.01, "warm_up": 0.2}, 1000)
    rates = np.array([optimizer._learning_rate(step) for step in range(1000)])
    assert rates[0] == pytest.approx(0.01 / 25) and rates.argmax() == 200 and rates.max() == pytest.approx(0.01)
    assert (np.diff(rates[:200]) > 0).all() and (np.diff(rates[200:]) < 0).all() and rates[-1] < 1e-6
    assert optimizer.ema_momentum == pytest.approx(1 - 1 / (0.04 * 1000))


def test_kernels_alone_decay():
    model = session.compiled(settings.of_recipe("best") | {"normalization": "batch", "shards": 1}, 100)
    optimizer, params = model.optimizer, model.trainable_params
    before = {key: value.copy() for key, value in params.items()}
    optimizer.update(params, {key: np.zeros_like(value) for key, value in params.items()})
    changed = {key for key in params if (params[key] != before[key]).any()}
    assert changed == {key for key in params if key.endswith("/kernel")}


# ---- whole runs, in this process


def train(*flags):
    return cli.main(["train", *FEW, *flags])


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_run_ends_with_the_network_of_the_article(name, photo_folder, tmp_path):
    assert train(f"--recipe={name}", "--epochs=1", f"--data={photo_folder}", f"--out={tmp_path}") == 0
    run = tmp_path / "train"
    model = models.load_model(run)
    assert model.file in (None, str(run / "model.npz"))
    plain = article.convolutional([4, 8])
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in plain.layers]
    assert model.count_params() == plain.count_params()
    metrics, config = (json.loads((run / f"{file}.json").read_text()) for file in ("metrics", "config"))
    assert metrics["model"] == "model.npz"
    assert config["settings"]["recipe"] == name and config["settings"]["flip"] == settings.of_recipe(name)["flip"]


def stop_at(monkeypatch, steps):
    """From now on Ctrl-C comes in the batch after so many steps."""
    original = session.StopOnSignal.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == steps:
            signal.raise_signal(signal.SIGINT)
        original(self, batch, logs)

    monkeypatch.setattr(session.StopOnSignal, "on_train_batch_end", on_train_batch_end)


def test_stopped_within_an_epoch_and_resumed_to_the_same_bits(photo_folder, tmp_path, monkeypatch, capsys):
    flags = ("--recipe=best", "--normalization=batch", "--flip=alternating", f"--out={tmp_path}")
    flags = (*flags, f"--data={photo_folder}", "--epochs=3")
    assert train(*flags, "--name=whole") == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 14)
        assert train(*flags, "--name=stopped") == 130
    assert not (tmp_path / "stopped/model.npz").exists()
    assert cli.main(["train", f"--out={tmp_path}", "--resume=stopped", "--epochs=4", "--verbose=0"]) == 2
    assert "--epochs" in capsys.readouterr().err  # the learning rate follows them
    assert cli.main(["train", f"--out={tmp_path}", "--resume=stopped", "--no-plots", "--verbose=0"]) == 0
    for file in ("last.npz", "model.npz"):
        assert same_bits(tmp_path / "whole" / file, tmp_path / "stopped" / file)
    kept = (tmp_path / "whole/model.npz").stat().st_mtime_ns
    assert cli.main(["train", f"--out={tmp_path}", "--resume=whole", "--no-plots", "--verbose=0"]) == 0
    assert (tmp_path / "whole/model.npz").stat().st_mtime_ns == kept  # a finished run is only shown


def test_validation_sees_the_average_and_the_last_epoch_counts(photo_folder, tmp_path):
    flags = ("--recipe=quick", "--epochs=2", "--validation-split=0.2", f"--data={photo_folder}", f"--out={tmp_path}")
    assert train(*flags) == 0
    run = tmp_path / "train"
    assert (run / "model.npz").exists() and not (run / "best.npz").exists()
    model = models.load_model(run / "model.npz")
    from cnn.commands.shared import data

    x, y = data.of_settings(argparse.Namespace(data=str(photo_folder)), settings.DEFAULTS).split("train")
    x = x[240:, ..., None] * np.float32(1 / 255)
    right = (model.predict(x, verbose=0).argmax(axis=1) == y[240:]).mean()
    last = (run / "history.csv").read_text().splitlines()
    assert float(last[-1].split(",")[last[0].split(",").index("val_accuracy")]) == pytest.approx(right)


def test_a_run_from_before_there_were_recipes_is_the_articles(tmp_path):
    old = {key: value for key, value in settings.DEFAULTS.items() if key not in recipes.ARTICLE} | {"shards": 2}
    state = SimpleNamespace(extra={"settings": old, "data": None, "seconds": 1.0}, epoch=1, step=0)
    args = parsed()
    args.data = args.name = None
    assert settings.restored(args, state, tmp_path)[0] == settings.DEFAULTS | {"shards": 2}
