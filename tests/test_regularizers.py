"""What weights cost: penalties in the loss that fit and evaluate show, and their gradients, once a batch."""

import gates
import numpy as np
import pytest
from conftest import random_batch

from cnn import layers, models, optimizers, regularizers

X, Y = random_batch(10)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (None, None),
        ("l1", {"l1": 0.01}),
        ("L2", {"l2": 0.01}),
        ("l1_l2", {"l1": 0.01, "l2": 0.01}),
        (regularizers.L2, {"l2": 0.01}),
        (regularizers.l1(0.5), {"l1": 0.5}),
        (regularizers.l1_l2(l2=0.5), {"l1": 0.0, "l2": 0.5}),
        ({"class_name": "L1L2", "config": {"l1": 1, "l2": 2}}, {"l1": 1.0, "l2": 2.0}),
    ],
)
def test_identifiers(identifier, expected):
    found = regularizers.get(identifier)
    assert (None if found is None else found.get_config()) == expected
    dense = layers.Dense(1, kernel_regularizer=identifier)
    assert layers.Dense(**dense.get_config()).get_config() == dense.get_config()


def test_a_layer_tells_it():
    assert repr(layers.Dense(3, kernel_regularizer="l2")).startswith("<Dense: units=3, activation='linear', kernel_reg")


def test_losses_are_the_penalties_of_each_parameter():
    model = gates.regularized_network()
    kernel, gamma, beta, dense, bias = (
        model.params[key]
        for key in (
            "conv2d/kernel",
            "batch_normalization/gamma",
            "batch_normalization/beta",
            "dense/kernel",
            "dense/bias",
        )
    )
    expected = [
        0.02 * np.abs(kernel).sum() + 0.05 * (kernel**2).sum(),
        0.01 * np.abs(gamma).sum(),
        0.01 * (beta**2).sum(),
        0.01 * (dense**2).sum(),
        0.1 * np.abs(bias).sum(),
    ]
    assert model.losses == pytest.approx(expected, rel=1e-6)
    assert model.layers[-1].losses == pytest.approx(expected[3:], rel=1e-6)
    model.layers[-1].trainable = False  # as in Keras, what nobody can change costs nothing
    assert model.losses == pytest.approx(expected[:3], rel=1e-6)


@pytest.mark.parametrize("shards", [1, 3])
def test_fit_and_evaluate_show_the_loss_with_its_penalties(shards):
    model, free = gates.regularized_network(shards), gates.regularized_network(shards)
    for layer in free.layers:
        for key in layer.learnable:
            setattr(layer, f"{key}_regularizer", None)
    loss, without = (one.evaluate(X, Y, batch_size=4, verbose=0)[0] for one in (model, free))
    assert loss == pytest.approx(without + sum(model.losses), rel=1e-6)
    assert model.test_on_batch(X, Y)[0] == pytest.approx(loss, rel=1e-6)
    assert model.loss_and_gradients(X, Y)[0] == pytest.approx(loss, rel=1e-6)
    penalty = sum(model.losses)
    for one in (model, free):
        one.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    histories = [one.fit(X, Y, validation_data=(X, Y), verbose=0).history for one in (model, free)]
    for key in ("loss", "val_loss"):
        assert histories[0][key][0] == pytest.approx(histories[1][key][0] + penalty, rel=1e-5)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_step_shrinks_the_weights_once(shards):
    """Photos of zeros say nothing about the kernel: what moves it is its penalty alone."""
    kernel_regularizer = regularizers.L1L2(0.5, 0.25)
    model = models.Sequential([layers.Dense(2, "softmax", kernel_regularizer=kernel_regularizer, input_shape=3)])
    model.shards = shards
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    before = model.layers[0].kernel.copy()
    model.train_on_batch(np.zeros((6, 3)), [0, 1, 0, 1, 0, 1])
    expected = before - 0.1 * (0.5 * np.sign(before) + 2 * 0.25 * before)
    np.testing.assert_allclose(model.layers[0].kernel, expected, rtol=1e-6)


def test_saved_and_loaded_it_costs_the_same(tmp_path):
    model = gates.regularized_network()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.npz")
    again = models.load_model(tmp_path / "model.npz")
    assert again.losses == model.losses
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def test_a_regularizer_of_ones_own(tmp_path):
    class Cube(regularizers.Regularizer):
        def __call__(self, w):
            return float((np.abs(w) ** 3).sum())

        def gradient(self, w):
            return 3 * w * np.abs(w)

    model = models.Sequential([layers.Dense(2, "softmax", kernel_regularizer=Cube(), input_shape=3)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, 3)), [0, 1], verbose=0)
    with pytest.raises(ValueError, match="save: .*kernel_regularizer: expected None, 'l1', .*Cube"):
        model.save(tmp_path / "model.npz")
