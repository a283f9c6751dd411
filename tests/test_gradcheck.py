"""The gradient check itself: whole networks, trained ones too, kinks by name, and the command."""

import json
import math

import numpy as np
import pytest
from conftest import random_batch, random_biases, small_network

from cnn import gradcheck, layers, models
from cnn.commands import cli
from cnn.commands import gradcheck as command
from cnn.losses import SparseCategoricalCrossentropy


def test_every_number_of_a_small_network():
    results = gradcheck.check_model(random_biases(small_network()), *random_batch(4), samples=None)
    assert [result.name for result in results] == [
        "conv2d/kernel",
        "conv2d/bias",
        "conv2d_1/kernel",
        "conv2d_1/bias",
        "dense/kernel",
        "dense/bias",
        "dense_1/kernel",
        "dense_1/bias",
        "input",
    ]
    for result in results:
        assert result.checked == math.prod(result.shape), result.name
        assert result.passed, f"{result.name}: {result.error}"


NETWORKS = {
    "softmax of its own": [layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(5), layers.Softmax()],
    "strides and rectangles": [
        layers.Conv2D(3, (3, 2), strides=(2, 1), padding="same", activation="relu"),
        layers.MaxPooling2D((2, 3), strides=1, padding="same"),
        layers.Flatten(),
        layers.Dense(5, activation="softmax"),
    ],
    "no bias, overlapping pools": [
        layers.Conv2D(3, 3, use_bias=False, activation="relu"),
        layers.MaxPooling2D(3, strides=2),
        layers.Flatten(),
        layers.Dense(5, use_bias=False, activation="softmax"),
    ],
    "softmax inside": [layers.Flatten(), layers.Dense(6, activation="softmax"), layers.Dense(5, activation="softmax")],
    "dense alone": [layers.Flatten(), layers.Dense(8, activation="relu"), layers.Dense(5, activation="softmax")],
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("shards", [1, 3])
def test_networks(network, shards):
    model = models.Sequential([layers.Input((7, 6, 2))], seed=1)
    for layer in network:
        model.add(type(layer)(**layer.get_config()))
    model.shards = shards
    model.compile("sgd", "sparse_categorical_crossentropy")
    for result in gradcheck.check_model(random_biases(model), *random_batch(3, (7, 6, 2), 5), samples=60):
        assert result.passed, f"{result.name}: {result.verdict} {result.error}"


def test_logits_and_probabilities_without_softmax():
    x, y = random_batch(4)
    for loss, last in (
        (SparseCategoricalCrossentropy(from_logits=True), None),
        (SparseCategoricalCrossentropy(), "relu"),
    ):
        model = models.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, activation=last)])
        model.compile("sgd", loss)
        model.set_weights([np.abs(w) + 0.1 for w in model.get_weights()])
        assert all(result.passed for result in gradcheck.check_model(model, x, y))


def test_a_trained_network_on_real_photos(trained, photos):
    x, _ = photos
    y = np.random.default_rng(0).integers(10, size=8)
    results = gradcheck.check_model(trained, x[100:108], y, samples=60)
    assert {result.name for result in results} == {*trained.params, "input"}
    for result in results:
        assert result.passed, f"{result.name}: {result.verdict}, {result.error:.1e}, {result.kinks} kinks"
        assert result.checked >= min(math.prod(result.shape), 30)
    assert results[-1].kinks > 0  # the black background is full of equal cells


def test_float32_gradients_agree_with_float64(trained, photos):
    x, y = photos[0][:32], photos[1][:32]
    single, double = (model.loss_and_gradients(x, y)[1] for model in (trained, trained.astype(np.float64)))
    for key in single:
        assert gradcheck.relative_error(single[key].astype(float), double[key]) <= 1e-5, key


def test_biases_of_zero_over_a_black_background_are_named_as_kinks():
    """Every background sum is exactly 0, the corner of ReLU: there is no slope, and that is not passed over."""
    model = small_network()
    x, y = np.zeros((8, 8, 8, 1), np.float32), np.arange(8)
    bias = gradcheck.check_model(model, x, y, names=["conv2d/bias"])[0]
    assert (bias.checked, bias.kinks) == (0, 4)
    assert bias.verdict == "not comparable"
    assert not bias.passed
    assert math.isnan(bias.error)
    assert bias.worst is None
    assert all(entry.kinks >= 8 * 64 for entry in bias.entries)


def test_ties_of_a_black_background_are_kinks_of_the_input():
    layer = layers.MaxPooling2D()
    result = gradcheck.check_layer(layer, np.zeros((1, 4, 4, 1)))[0]
    assert (result.name, result.checked, result.kinks) == ("input", 0, 16)
    assert result.verdict == "not comparable"


@pytest.mark.parametrize("first", [layers.ReLU, layers.MaxPooling2D])
def test_kinks_of_the_input_in_the_first_layer(first):
    model = models.Sequential(
        [layers.Input((4, 4, 1)), first(), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    result = gradcheck.check_model(model, np.zeros((2, 4, 4, 1)), [0, 1], names=["input"])[0]
    assert (result.checked, result.kinks) == (0, 32)


def test_equal_cells_that_move_together_are_no_kink():
    """The slope is the same whichever of them wins, even when rounding makes the winner change."""
    x = np.full((2, 6, 6, 1), 0.3)
    above, below = (
        gradcheck.Pass(pool := layers.MaxPooling2D(), moved, pool.forward(moved)[1])
        for moved in (x, x + 1e-16 * np.arange(36).reshape(6, 6, 1))
    )
    assert (above.cache.winners != below.cache.winners).any()
    assert gradcheck.crossings(above, below) == 0


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_crossings_are_counted_one_by_one(padding):
    x = np.arange(50.0).reshape(1, 5, 5, 2)
    other = x.copy()
    other[0, 0, 0, 1] = 100
    pool = layers.MaxPooling2D(2, padding=padding)
    passes = [gradcheck.Pass(pool, values, pool.forward(values)[1]) for values in (x, other)]
    assert gradcheck.crossings(*passes) == 1
    assert gradcheck.crossings(passes[0], passes[0]) == 0
    relu = layers.ReLU()
    passes = [gradcheck.Pass(relu, values, relu.forward(values)[1]) for values in (x - 10.5, x - 13.5)]
    assert gradcheck.crossings(*passes) == 3


def test_one_weight():
    model, (x, y) = random_biases(small_network()), random_batch(4)
    entry = gradcheck.check_weight(model, x, y, "conv2d/kernel", (0, 2, 0, 3))
    _, grads = model.astype(np.float64).loss_and_gradients(x, y)
    assert entry.value == model.params["conv2d/kernel"][0, 2, 0, 3]
    assert entry.analytic == grads["conv2d/kernel"][0, 2, 0, 3]
    assert entry.numeric == (entry.plus - entry.minus) / (2 * entry.h)
    assert entry.kinks == 0
    assert entry.error < 1e-7
    moved = model.astype(np.float64)
    moved.layers[0].params["kernel"][0, 2, 0, 3] += entry.h
    assert moved.loss_and_gradients(x, y)[0] == pytest.approx(entry.plus, rel=1e-15)


def test_a_wrong_gradient_is_told_with_its_worst_number():
    array, gradient = np.arange(6.0).reshape(2, 3), 2 * np.arange(6.0).reshape(2, 3)
    gradient[1, 1] += 1e-3
    result = gradcheck.check_tensor(
        "w", array, gradient, lambda: ((array**2).sum(), []), 1.0, None, np.random.default_rng(0)
    )
    assert result.verdict == "WRONG"
    assert result.worst.index == (1, 1)
    assert 1e-6 < result.error < 1e-3


@pytest.mark.parametrize(("factor", "passed"), [(1 + 1e-7, False), (1 + 1e-9, True)])
def test_the_smallest_error_that_counts(factor, passed):
    """The gate is at 1e-8: an error of 1e-7 in all numbers fails, one of 1e-9 passes."""
    array = np.arange(1.0, 7.0)

    def measure():
        return (array**2).sum(), []

    result = gradcheck.check_tensor("w", array, 2 * array * factor, measure, 1.0, None, np.random.default_rng(0))
    assert result.passed is passed


def test_a_gradient_of_zero_is_right_where_the_slope_is():
    assert gradcheck.relative_error(np.zeros(3), np.zeros(3)) == 0
    assert gradcheck.relative_error(np.zeros(3), np.ones(3)) == 1


def test_nan_never_passes():
    array = np.ones(3)
    result = gradcheck.check_tensor(
        "w", array, np.full(3, np.nan), lambda: (array.sum(), []), 1.0, None, np.random.default_rng(0)
    )
    assert result.verdict == "WRONG"
    assert not result.passed


def test_nothing_is_changed():
    model, (x, y) = small_network(), random_batch(4)
    before = [w.tobytes() for w in model.get_weights()], x.tobytes(), model.dtype, model.epoch
    gradcheck.check_model(model, x, y, samples=30)
    assert ([w.tobytes() for w in model.get_weights()], x.tobytes(), model.dtype, model.epoch) == before


def test_the_same_seed_checks_the_same_numbers():
    model, batch = small_network(), random_batch(4)
    first, again, other = (
        gradcheck.check_model(model, *batch, samples=30, names=["dense/kernel"], seed=s)[0] for s in (1, 1, 2)
    )
    assert first.entries == again.entries
    assert [e.index for e in first.entries] != [e.index for e in other.entries]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: gradcheck.check_model(m, x, y, samples=29), "samples: expected a whole number from 30"),
        (
            lambda m, x, y: gradcheck.check_model(m, x, y, names=["conv/kernel"]),
            "name: expected one of conv2d/kernel, .* got 'conv/kernel'",
        ),
        (lambda m, x, y: gradcheck.check_model(m, x, y, seed=-1), "seed: .* got -1"),
        (lambda m, x, y: gradcheck.check_model(m, x, y[:2]), "expected as many labels as photos"),
        (
            lambda m, x, y: gradcheck.check_weight(m, x, y, "dense/bias", (12,)),
            r"index: expected a place in dense/bias of shape \(12,\), got \(12,\)",
        ),
        (lambda m, x, y: gradcheck.check_weight(m, x, y, "dense/bias", (0, 0)), r"of shape \(12,\), got \(0, 0\)"),
        (lambda m, x, y: gradcheck.check_model(small_network(compiled=False), x, y), "call compile"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(small_network(), *random_batch(4))


def test_the_table():
    model = random_biases(small_network())
    lines = command.table(gradcheck.check_model(model, *random_batch(4), names=["dense/bias", "input"])).splitlines()
    assert lines[0].split() == ["tensor", "shape", "checked", "kinks", "error", "verdict"]
    assert lines[2].split()[:3] == ["dense/bias", "12", "12"]
    assert lines[3].split()[:8] == ["input", "4", "x", "8", "x", "8", "x", "1"]
    assert all(line.endswith("ok") for line in lines[2:])


# The command


@pytest.fixture
def in_place_of_the_trained_network(monkeypatch, trained):
    monkeypatch.setattr(command.options, "open_model", lambda path: (trained, path))


def test_the_command_prints_the_table(capsys, in_place_of_the_trained_network):
    assert cli.main(["gradcheck", "--photos", "3", "--samples", "30"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 + 9
    assert "classes drawn at random" in err


def test_the_command_as_json(capsys, in_place_of_the_trained_network):
    assert cli.main(["gradcheck", "--photos", "3", "--samples", "30", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["tensor"] == "conv2d/kernel"
    assert all(row["verdict"] == "ok" and row["error"] <= 1e-8 for row in rows)


def test_the_command_fails_on_a_wrong_gradient(capsys, monkeypatch, in_place_of_the_trained_network):
    original = layers.Dense.backward

    def faulty(self, dy, cache, need_dx=True):
        dx, grads = original(self, dy, cache, need_dx)
        return dx, {**grads, "bias": 1.001 * grads["bias"]}

    monkeypatch.setattr(layers.Dense, "backward", faulty)
    assert cli.main(["gradcheck", "--photos", "3", "--samples", "30"]) == 1
    out = capsys.readouterr().out
    assert "WRONG" in out
    assert "at fault: dense" in out
    assert "dense/bias: WRONG: these are the right numbers times 1.001 (agrees to" in " ".join(out.split())


def test_the_command_explains_the_kinks_of_fresh_weights(capsys):
    assert cli.main(["gradcheck", "--init", "--photos", "2", "--samples", "30"]) == 0
    out = capsys.readouterr().out
    assert "conv2d/bias: only 0 entries free of kinks" in out
    assert "Biases start at 0" in out


def test_the_shipped_network_passes(capsys):
    assert cli.main(["gradcheck", "--photos", "3", "--samples", "30"]) == 0
    assert capsys.readouterr().out.count(" ok\n") == 9


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--init", "--model", "x.npz"], 2, "--init and --model: expected one of them, got both"),
        (["--data", "nowhere"], 3, "nowhere: expected a folder of photos"),
        (["--model", "nowhere"], 4, "nowhere"),
    ],
)
def test_what_the_command_refuses(capsys, arguments, code, message):
    assert cli.main(["gradcheck", *arguments]) == code
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--photos", "0"], ["--samples", "29"], ["--seed", "-1"], ["--seed", "x"]])
def test_numbers_out_of_range(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["gradcheck", *arguments])
    assert caught.value.code == 2
    assert f"cnn gradcheck: {arguments[0]}: expected a whole number from" in capsys.readouterr().err
