"""Where weights have to stay: the formulas, after each step of any optimizer, saved, resumed, and one's own."""

import numpy as np
import pytest
from conftest import random_batch

from cnn import constraints, layers, models, optimizers

X, Y = random_batch(10)
W = np.random.default_rng(0).standard_normal((3, 3, 2, 4))
AXES = (0, 1, 2)


def lengths(w, axis=AXES):
    return np.sqrt((w.astype(np.float64) ** 2).sum(axis=axis))


def test_the_formulas():
    before = lengths(W)
    np.testing.assert_allclose(lengths(constraints.MaxNorm(4, AXES)(W)), np.minimum(before, 4), rtol=1e-6)
    np.testing.assert_allclose(lengths(constraints.UnitNorm(AXES)(W)), 1, rtol=1e-6)
    half = constraints.MinMaxNorm(0.5, 1.0, rate=0.5, axis=list(AXES))(W)
    np.testing.assert_allclose(lengths(half), (before + 1) / 2, rtol=1e-6)
    np.testing.assert_array_equal(constraints.NonNeg()(W), W.clip(0))
    assert (constraints.UnitNorm()(np.zeros((2, 2))) == 0).all()  # what has no direction stays


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (None, None),
        ("max_norm", {"max_value": 2.0, "axis": 0}),
        ("MaxNorm", {"max_value": 2.0, "axis": 0}),
        ("non_neg", {}),
        (constraints.unit_norm, {"axis": 0}),
        (constraints.min_max_norm(0.5, 2), {"min_value": 0.5, "max_value": 2.0, "rate": 1.0, "axis": 0}),
        ({"class_name": "MaxNorm", "config": {"max_value": 3, "axis": [0, 1]}}, {"max_value": 3.0, "axis": [0, 1]}),
    ],
)
def test_identifiers(identifier, expected):
    found = constraints.get(identifier)
    assert (None if found is None else found.get_config()) == expected
    dense = layers.Dense(1, kernel_constraint=identifier)
    assert layers.Dense(**dense.get_config()).get_config() == dense.get_config()


def network(optimizer="adam"):
    model = models.Sequential(
        [
            layers.Conv2D(4, 3, kernel_constraint=constraints.MaxNorm(0.5, AXES), input_shape=(8, 8, 1)),
            layers.BatchNormalization(gamma_constraint=constraints.MinMaxNorm(0.0, 0.5), beta_constraint="non_neg"),
            layers.Flatten(),
            layers.Dense(10, "softmax", kernel_constraint="unit_norm", bias_constraint="non_neg"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def held(model):
    kernel, gamma, beta, dense, bias = (
        weight.numpy() for weight in model.trainable_weights if weight.path != "conv2d/bias"
    )
    assert (lengths(kernel) <= 0.5 + 1e-6).all() and lengths(gamma, 0) <= 0.5 + 1e-6
    assert (beta >= 0).all() and (bias >= 0).all() and bias.any()
    np.testing.assert_allclose(lengths(dense, 0), 1, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", optimizers.SGD(0.5, momentum=0.9), "rmsprop"], ids=str)
@pytest.mark.parametrize("shards", [1, 2])
def test_after_every_step_they_are_held(optimizer, shards):
    model = network(optimizers.get(optimizer) if isinstance(optimizer, str) else type(optimizer)(0.5, momentum=0.9))
    model.shards = shards
    model.train_on_batch(X, Y)
    held(model)
    model.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    held(model)


def test_a_step_without_a_constraint_goes_elsewhere():
    """The test above would pass for weights that no step moves out of their place."""
    model = network(optimizers.SGD(0.5))
    for layer in model.layers:
        for key in layer.learnable:
            setattr(layer, f"{key}_constraint", None)
    model.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    with pytest.raises(AssertionError):
        held(model)


def test_what_is_frozen_is_left_alone():
    model = network()
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()[0]
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)


def test_saved_loaded_and_trained_on_they_give_the_same_bits(tmp_path):
    model = network()
    model.fit(X, Y, batch_size=4, verbose=0)
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    for each in (model, again):
        each.fit(X, Y, epochs=2, batch_size=4, verbose=0)
        held(each)
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_of_ones_own(tmp_path):
    class Halved(constraints.Constraint):
        def __call__(self, w):
            return w / 2

    model = models.Sequential([layers.Dense(2, "softmax", kernel_constraint=Halved(), input_shape=3)])
    model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    before = model.layers[0].kernel.numpy()
    model.train_on_batch(np.ones((2, 3)), [0, 1])
    np.testing.assert_array_equal(model.layers[0].kernel, before / 2)
    with pytest.raises(ValueError, match="save: .*kernel_constraint: expected None, 'max_norm', .*Halved"):
        model.save(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constraints.MaxNorm(-1), "MaxNorm: max_value: expected a number of at least 0, got -1"),
        (lambda: constraints.MaxNorm(axis="rows"), "MaxNorm: axis: expected a whole number .*, got 'rows'"),
        (lambda: constraints.MaxNorm(axis=(0, 3))(np.ones((2, 2))), r"MaxNorm: axis: .* shape \(2, 2\), got \(0, 3\)"),
        (lambda: constraints.UnitNorm((0, 0))(np.ones((2, 2))), r"UnitNorm: axis: expected axes of .* got \(0, 0\)"),
        (lambda: constraints.MinMaxNorm(2, 1), "MinMaxNorm: expected min_value up to max_value, got 2 and 1"),
        (lambda: constraints.MinMaxNorm(rate=2), r"MinMaxNorm: rate: expected a number in \[0, 1\], got 2"),
        (lambda: layers.Dense(1, kernel_constraint="small"), "Dense: kernel_constraint: expected None, .* got 'small'"),
        (lambda: layers.Conv2D(1, 3, bias_constraint=3), "Conv2D: bias_constraint: expected None, .* got 3"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
