"""The random layers: what they draw, where each cell is read, and that shards, files and resuming change no bit."""

import math
import os

import gates
import numpy as np
import pytest
from conftest import random_batch

from cnn import callbacks, gradcheck, layers, models
from cnn.explain import trace
from cnn.explain.terminal.text import piped
from cnn.layers import augmentation
from cnn.terminal import Style
from cnn.training.step import run_batch

X = np.random.default_rng(0).standard_normal((5, 4, 3, 2))
RANDOM = {
    "flip": lambda: layers.RandomFlip(),
    "translation": lambda: layers.RandomTranslation(0.3, (-0.2, 0.4)),
    "zoom": lambda: layers.RandomZoom(0.5, 0.3),
    "rotation": lambda: layers.RandomRotation(0.2, fill_mode="constant", fill_value=0.5),
    "erasing": lambda: layers.RandomErasing((0.5, 0.9), (0.1, 0.4), value_range=(0, 1)),
    "contrast": lambda: layers.RandomContrast((0.5, 0.9), value_range=(-1, 2)),
    "brightness": lambda: layers.RandomBrightness(0.3, value_range=(-1, 2)),
}
EVERY_KIND = pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)


class Fixed:
    """In place of a generator: it draws what it is told."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def random(self, shape):
        return np.broadcast_to(np.array(self.numbers), shape)


def drawn(layer, x, *numbers):
    return layer.forward(x, training=True, rng=Fixed(*numbers))[0]


def cell(x, r, s, mode, fill):
    """x at (r, s), also outside, as np.pad continues it."""
    if mode == "constant":
        return x[r, s] if 0 <= r < x.shape[0] and 0 <= s < x.shape[1] else np.full(x.shape[2], fill)
    name = {"nearest": "edge", "reflect": "symmetric", "wrap": "wrap"}[mode]
    return np.pad(x, ((20, 20), (20, 20), (0, 0)), name)[20 + r, 20 + s]


def place_of(layer, i, j, height, width):
    """Where (i, j) is read when 1/4 of each range is drawn: the words of the docstrings as plain arithmetic."""
    up, left = i - (height - 1) / 2, j - (width - 1) / 2
    if isinstance(layer, layers.RandomTranslation):
        return i - (-0.15 * height), j - (-0.05 * width)
    if isinstance(layer, layers.RandomZoom):
        return up * 0.75 + (height - 1) / 2, left * 0.85 + (width - 1) / 2
    cos, sin = math.cos(-0.1 * 2 * math.pi), math.sin(-0.1 * 2 * math.pi)  # against the clock; rows go down
    return cos * up + sin * left + (height - 1) / 2, -sin * up + cos * left + (width - 1) / 2


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect", "wrap"])
@pytest.mark.parametrize("kind", ["translation", "zoom", "rotation"])
def test_each_cell_is_read_where_the_words_say(kind, mode, interpolation):
    given = {"fill_mode": mode, "interpolation": interpolation, "fill_value": 0.5}
    layer = {
        "translation": lambda: layers.RandomTranslation(0.3, (-0.15, 0.25), **given),
        "zoom": lambda: layers.RandomZoom(0.5, 0.3, **given),
        "rotation": lambda: layers.RandomRotation(0.2, **given),
    }[kind]()
    y = drawn(layer, X, 0.25)
    for i in range(4):
        for j in range(3):
            r, s = place_of(layer, i, j, 4, 3)
            if interpolation == "nearest":
                expected = cell(X[1], round(r), round(s), mode, 0.5)
            else:
                r0, s0 = math.floor(r), math.floor(s)
                expected = sum(
                    (1 - abs(r - a)) * (1 - abs(s - b)) * cell(X[1], a, b, mode, 0.5)
                    for a in (r0, r0 + 1)
                    for b in (s0, s0 + 1)
                )
            np.testing.assert_allclose(y[1, i, j], expected, rtol=0, atol=1e-13)


def test_a_quarter_turn_and_back():
    turned = drawn(layers.RandomRotation((0.25, 0.25)), X[:, :, :3][:, :3], 0)
    np.testing.assert_allclose(turned, np.rot90(X[:, :3], 1, axes=(1, 2)), rtol=0, atol=1e-14)
    np.testing.assert_allclose(drawn(layers.RandomRotation((-0.25, 0)), turned, 0), X[:, :3], rtol=0, atol=1e-14)


def test_whole_steps_move_whole_cells():
    y = drawn(layers.RandomTranslation((0.25, 0.25), (-1 / 3, -1 / 3), "constant", fill_value=7), X, 0)
    np.testing.assert_allclose(y[:, 1:, :2], X[:, :3, 1:], rtol=0, atol=1e-14)
    assert (abs(y[:, 0] - 7) < 1e-13).all() and (abs(y[:, :, 2] - 7) < 1e-13).all()


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flips(mode):
    layer = layers.RandomFlip(mode)
    vertical, horizontal = "vertical" in mode, "horizontal" in mode
    np.testing.assert_array_equal(drawn(layer, X, 0.6, 0.6), X)
    np.testing.assert_array_equal(drawn(layer, X, 0.4, 0.6), X[:, ::-1] if vertical else X)
    np.testing.assert_array_equal(drawn(layer, X, 0.6, 0.4), X[:, :, ::-1] if horizontal else X)
    y = layer.forward(np.tile(X, (200, 1, 1, 1)), training=True, rng=np.random.default_rng(0))[0]
    changed = (y != np.tile(X, (200, 1, 1, 1))).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx(0.75 if vertical and horizontal else 0.5, abs=0.06)


def test_erasing_covers_a_box_of_the_drawn_size_inside_the_photo():
    x, layer = np.full((400, 9, 8, 2), 7.0), layers.RandomErasing((0.25, 0.25), (0.25, 0.25), fill_value=0)
    y = layer.forward(x, training=True, rng=np.random.default_rng(1))[0]
    erased = (y == 0).any(axis=(1, 2, 3))
    assert erased.mean() == pytest.approx(0.25, abs=0.06) and set(np.unique(y)) == {0, 7}
    for photo in y[erased]:
        rows, columns = (np.flatnonzero((photo == 0).any(axis=axis)) for axis in ((1, 2), (0, 2)))
        assert len(rows) in (4, 5) and len(columns) == 4  # half of 9, and of 8
        assert (photo[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 0).all()
    assert layers.RandomErasing(0.3).factor == (0, 0.3)


def test_noise_is_cut_off_at_the_ends_and_differs_from_photo_to_photo():
    y = layers.RandomErasing((1, 1), (1, 1), value_range=(0, 255))(np.full((50, 8, 8, 1), 7, np.uint8), training=True)
    assert y.min() == 0 and y.max() == 255 and len(np.unique(y.reshape(50, -1), axis=0)) == 50
    assert 0.4 < (y == 0).mean() < 0.6  # of normal numbers half are below 0


def test_one_factor_is_for_both_directions_and_one_zoom_for_both_sides():
    assert layers.RandomTranslation(0.2, -0.1).height_factor == (-0.2, 0.2)
    assert layers.RandomTranslation(0.2, -0.1).width_factor == (-0.1, 0.1)
    assert layers.RandomRotation((0.3, -0.1)).factor == (-0.1, 0.3)
    maps = layers.RandomZoom(0.5).draw(np.random.default_rng(0), (50, 4, 3, 1))
    assert (maps[:, 0, 0] == maps[:, 1, 1]).all() and maps[:, 0, 0].min() >= 0.5 and maps[:, 0, 0].max() <= 1.5
    maps = layers.RandomZoom(0.5, 0.2).draw(np.random.default_rng(0), (50, 4, 3, 1))
    assert (maps[:, 0, 0] != maps[:, 1, 1]).all() and abs(maps[:, 1, 1] - 1).max() <= 0.2


# ---- when it happens


@EVERY_KIND
def test_only_in_training_and_each_time_anew(make):
    layer = make()
    assert layer.forward(X)[0] is X
    np.testing.assert_array_equal(layer(X), X)
    first, second = layer(X, training=True), layer(X, training=True)
    assert (first != second).any()
    assert layer(X[0]).shape == layer(X[0], training=True).shape == X[0].shape  # one photo alone
    assert layer(np.zeros((2, 9, 8, 1), np.uint8), training=True).shape == (2, 9, 8, 1)  # another size


def network(make, shards=2):
    model = models.Sequential(
        [
            layers.Conv2D(2, 3, padding="same", input_shape=(8, 8, 1)),
            make(),  # behind a layer that learns, so that its gradient is needed
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )
    model.shards = shards
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@EVERY_KIND
def test_shards_change_no_draw(make):
    x, y = random_batch(9)
    results = [run_batch(network(make, shards), x, y, step=2, input_gradient=True) for shards in (1, 2, 4)]
    for other in results[1:]:
        np.testing.assert_allclose(other.dx, results[0].dx, rtol=0, atol=1e-7)
        assert other.loss == pytest.approx(results[0].loss, rel=1e-6)
    at_rest = run_batch(network(make), x, y, training=False)
    assert abs(at_rest.loss - results[0].loss) > 1e-6


@EVERY_KIND
def test_the_fast_twin_draws_the_same(make):
    gates.fast_gate(network(make))


@EVERY_KIND
def test_resumed_from_a_file_to_the_same_bits(make, tmp_path):
    x, y = random_batch(10)
    whole, begun = network(make), network(make)
    whole.fit(x, y, batch_size=4, epochs=3, verbose=0)
    begun.fit(x, y, batch_size=4, epochs=1, verbose=0)
    begun.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    again.fit(x, y, batch_size=4, epochs=3, initial_epoch=1, verbose=0)
    for ours, theirs in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_interrupted_in_its_second_epoch_to_the_same_bits(tmp_path):
    x, y = random_batch(10)

    class Interrupts(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.epoch == 1:
                raise KeyboardInterrupt

    whole, first, second = (network(RANDOM["rotation"]) for _ in range(3))
    whole.fit(x, y, batch_size=4, epochs=2, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        backup = callbacks.BackupAndRestore(tmp_path)
        first.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[backup, Interrupts()])
    assert os.listdir(tmp_path)
    second.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path)])
    for ours, theirs in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_default_names_and_the_step_through():
    every = [make() for make in RANDOM.values()]
    model = models.Sequential([layers.Input((28, 28, 1)), *every, layers.Flatten(), layers.Dense(10)])
    names = [layer.name for layer in model.layers]
    kinds = ["random_flip", "random_translation", "random_zoom", "random_rotation", "random_erasing"]
    assert names[:5] == kinds
    t = trace(model, np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8), label=3)
    text = "\n".join(piped(t, Style(unicode=False, colour=False, width=80)))
    assert all(f"{name}: Random" in text for name in kinds)


# ---- errors

BAD = {
    "factor": (lambda: layers.RandomRotation(2), r"RandomRotation: factor: expected a number in \[-1, 1\], got 2"),
    "three factors": (lambda: layers.RandomRotation((0, 1, 2)), "factor: expected one or two numbers, got"),
    "factor text": (lambda: layers.RandomTranslation("a", 0), "height_factor: expected a number .* got 'a'"),
    "no factor": (lambda: layers.RandomTranslation(None, 0), "height_factor: expected a number .* got None"),
    "zoom": (
        lambda: layers.RandomZoom((-1, 0)),
        r"RandomZoom: height_factor: expected numbers above -1, got \(-1, 0\)",
    ),
    "width": (lambda: layers.RandomZoom(0.1, 2), r"RandomZoom: width_factor: expected a number in \[-1, 1\], got 2"),
    "fill": (lambda: layers.RandomZoom(0.1, fill_mode="black"), "fill_mode: expected 'constant' or .* got 'black'"),
    "between": (
        lambda: layers.RandomZoom(0.1, interpolation="cubic"),
        "interpolation: expected 'bilinear' or 'nearest'",
    ),
    "value": (lambda: layers.RandomZoom(0.1, fill_value=math.inf), "fill_value: expected a number .* got inf"),
    "mode": (lambda: layers.RandomFlip("diagonal"), "RandomFlip: mode: expected 'horizontal' or .* got 'diagonal'"),
    "area": (lambda: layers.RandomErasing(1, (0, 2)), r"RandomErasing: scale: expected a number in \[0, 1\], got 2"),
    "chance": (lambda: layers.RandomErasing(-0.1), r"RandomErasing: factor: expected a number in \[0, 1\], got -0.1"),
    "range": (lambda: layers.RandomErasing(value_range=(1, 0)), r"value_range: expected two numbers that rise, got"),
    "no range": (lambda: layers.RandomErasing(value_range=1), "value_range: expected the least and the largest number"),
    "seed": (lambda: layers.RandomFlip(seed=-1), "RandomFlip: seed: expected a whole number from 0 .* got -1"),
    "channels first": (
        lambda: layers.RandomFlip(data_format="channels_first"),
        "RandomFlip: the argument 'data_format' is not supported here but as 'channels_last'",
    ),
    "rows": (lambda: layers.RandomFlip()(np.ones((2, 5))), r"RandomFlip: expected input \(H, W, C\), got \(5,\)"),
    "no rng": (lambda: layers.RandomFlip().forward(X, training=True), "RandomFlip: forward: expected rng, .* got None"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# ---- faults


def overwritten(self, dy, maps):
    dx = np.zeros((dy[..., 0].size, dy.shape[-1]))
    for places, shares in self.reads(maps, dy.shape, dy.dtype):
        dx[places] += shares * dy  # of several that read one cell, one counts
    return dx.reshape(dy.shape)


def read_back(self, dy, maps):
    """As if the inverse of a map were its transpose, or moving dy the way back the same."""
    return self.change(dy, np.concatenate([maps[:, :, :2].transpose(0, 2, 1), -maps[:, :, 2:]], axis=2))


FAULTS = {
    "cells read twice count once": ("change_back", layers.RandomTranslation, overwritten),
    "moved back": ("change_back", layers.RandomRotation, read_back),
    "not moved back": ("change_back", layers.RandomZoom, lambda self, dy, maps: dy),
    "erased cells learn": ("change_back", layers.RandomErasing, lambda self, dy, boxes: dy),
    "not flipped back": ("change_back", layers.RandomFlip, lambda self, dy, flips: dy),
}


@pytest.mark.parametrize(("name", "kind", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_makes_the_gate_fail(name, kind, fault, monkeypatch):
    gates.layer_gate()
    monkeypatch.setattr(kind, name, fault)
    with pytest.raises(AssertionError):
        gates.layer_gate()


def test_the_slope_of_a_network_that_augments():
    """The gradient check itself runs without training; so each kind is checked in training, in float64."""
    for make in RANDOM.values():
        gates.all_passed(gradcheck.check_layer(make(), X, training=True))
        assert issubclass(type(make()), augmentation.RandomLayer)
