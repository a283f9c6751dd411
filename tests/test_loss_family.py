"""The other losses: each against slopes, alone and behind a network; parts, weights and labels that are refused."""

import math

import numpy as np
import pytest
from commandline import succeeds
from conftest import random_batch

from cnn import gradcheck, layers, losses, metrics, models, utils
from cnn.commands.shared import evaluation
from cnn.gradcheck import relative_error
from cnn.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3))
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-Z))
CLASSES = np.array([2, 1, 0, 1, 1])
ONE_HOT = np.eye(3)[CLASSES]
SOFT = RNG.dirichlet(np.ones(3), size=5)
YES = (RNG.random((5, 3)) < 0.5).astype(float)
MAPS = RNG.normal(size=(5, 2, 4, 3))

# loss, labels, predictions, whether those are logits
CASES = {
    "sparse": (SparseCategoricalCrossentropy(), CLASSES, P, False),
    "sparse of logits": (SparseCategoricalCrossentropy(), CLASSES, Z, True),
    "categorical": (CategoricalCrossentropy(), ONE_HOT, P, False),
    "categorical of logits": (CategoricalCrossentropy(), ONE_HOT, Z, True),
    "smoothed": (CategoricalCrossentropy(label_smoothing=0.1), ONE_HOT, 2 * P + 0.1, False),
    "smoothed, of logits": (CategoricalCrossentropy(label_smoothing=0.1), ONE_HOT, Z, True),
    "soft labels": (CategoricalCrossentropy(), SOFT, Z, True),
    "labels that do not add up to 1": (CategoricalCrossentropy(), YES, Z, True),
    "labels that do not add up to 1, probabilities": (CategoricalCrossentropy(), YES, 3 * P, False),
    "binary": (BinaryCrossentropy(), YES, SIGMOID, False),
    "binary of logits": (BinaryCrossentropy(), YES, 3 * Z, True),
    "binary, smoothed": (BinaryCrossentropy(label_smoothing=0.2), YES, SIGMOID, False),
    "binary, smoothed, of logits": (BinaryCrossentropy(label_smoothing=0.2), YES, Z, True),
    "squares": (MeanSquaredError(), SOFT, Z, False),
    "squares of maps": (MeanSquaredError(), np.zeros_like(MAPS), MAPS, False),
    "distances": (MeanAbsoluteError(), SOFT, Z, False),
    "distances of maps": (MeanAbsoluteError(), np.zeros_like(MAPS), MAPS, False),
    "percent": (losses.MeanAbsolutePercentageError(), SOFT, Z, False),
    "logarithms": (losses.MeanSquaredLogarithmicError(), SOFT, Z, False),
    "huber": (losses.Huber(0.5), SOFT, Z, False),
    "log cosh": (losses.LogCosh(), SOFT, 3 * Z, False),
}
WEIGHTS = np.array([0.0, 0.5, 1.0, 2.0, 7.0])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(("loss", "labels", "values", "from_logits"), CASES.values(), ids=CASES)
def test_gradient_is_the_slope(loss, labels, values, from_logits, weights):
    def measure(values):
        return loss.loss_and_gradient(labels, values, len(values), from_logits, weights)

    slopes, h = np.empty_like(values), 1e-5
    for place in np.ndindex(values.shape):
        up, down = values.copy(), values.copy()
        up[place] += h
        down[place] -= h
        slopes[place] = (measure(up)[0] - measure(down)[0]) / (2 * h)
    assert relative_error(measure(values)[1], slopes) <= 1e-8


@pytest.mark.parametrize(("loss", "labels", "values", "from_logits"), CASES.values(), ids=CASES)
def test_parts_of_a_batch_add_up_and_nothing_is_written_to(loss, labels, values, from_logits):
    before = labels.copy(), values.copy()
    whole, gradient = loss.loss_and_gradient(labels, values, 5, from_logits, WEIGHTS)
    parts = [loss.loss_and_gradient(labels[p], values[p], 5, from_logits, WEIGHTS[p]) for p in (slice(2), slice(2, 5))]
    assert sum(part[0] for part in parts) == pytest.approx(whole, rel=1e-14)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), gradient)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(values, before[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("loss", "labels", "values", "from_logits"), CASES.values(), ids=CASES)
def test_dtype_in_is_dtype_out(loss, labels, values, from_logits, dtype):
    assert loss.loss_and_gradient(labels, values.astype(dtype), 5, from_logits, WEIGHTS)[1].dtype == dtype


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_stay_finite(size, dtype):
    z = np.array([[size, -size], [-size, size]], dtype)
    loss, dz = BinaryCrossentropy().loss_and_gradient(np.array([[0, 0], [0, 1]]), z, 2, True)
    assert loss == size / 4
    np.testing.assert_allclose(dz, [[0.25, 0], [0, 0]], rtol=0, atol=1e-40)
    loss, dz = CategoricalCrossentropy().loss_and_gradient(np.array([[0, 1], [0, 1]]), z, 2, True)
    assert loss == size
    np.testing.assert_allclose(dz, [[0.5, -0.5], [0, 0]], rtol=0, atol=1e-40)


def test_one_hot_rows_cost_what_class_numbers_cost():
    for from_logits, values in ((True, Z), (False, P)):
        sparse, categorical = SparseCategoricalCrossentropy(from_logits), CategoricalCrossentropy(from_logits)
        assert categorical(utils.to_categorical(CLASSES), values) == pytest.approx(sparse(CLASSES, values), rel=1e-14)


@pytest.mark.parametrize(("loss", "labels", "values", "from_logits"), CASES.values(), ids=CASES)
def test_reductions(loss, labels, values, from_logits):
    known = {**loss.get_config(), **({"from_logits": True} if from_logits else {})}
    each = type(loss)(**known, reduction=None)(labels, values, WEIGHTS)
    assert type(loss)(**known, reduction="mean")(labels, values, WEIGHTS) == pytest.approx(each.mean(), rel=1e-12)
    total = type(loss)(**known, reduction="sum")
    assert total(labels, values, WEIGHTS) == pytest.approx(each.sum(), rel=1e-12)
    assert total.get_config()["reduction"] == "sum" and "reduction" not in loss.get_config()
    assert total(labels, values, 2.0) == pytest.approx(2 * total(labels, values), rel=1e-12)
    mean_gradient = loss.loss_and_gradient(labels, values, 5, from_logits)[1]
    np.testing.assert_allclose(total.loss_and_gradient(labels, values, 5, from_logits)[1], mean_gradient * (each.size))


def test_probabilities_are_clipped_as_by_keras():
    p = np.array([[0.0, 1.0]])
    for loss in (CategoricalCrossentropy(), BinaryCrossentropy()):
        value, dp = loss.loss_and_gradient(np.array([[1.0, 0.0]]), p, 1, False)
        assert value == pytest.approx(-math.log(1e-7), rel=1e-6)
        assert not dp.any()


def test_values_by_hand():
    assert MeanSquaredError()([[1, 2], [3, 4]], [[1.0, 4.0], [3.0, 4.0]]) == 1
    assert MeanAbsoluteError()([[1, 2], [3, 4]], [[1.0, 4.0], [3.0, 4.0]]) == 0.5
    assert MeanSquaredError()([1, 2], [1.0, 4.0]) == 2
    assert MeanSquaredError()([1, 2], [[1.0], [4.0]], sample_weight=[1, 0.25]) == 0.5
    np.testing.assert_allclose(losses.mse([[1, 2], [3, 4]], [[1.0, 4.0], [3.0, 4.0]]), [2, 0])
    np.testing.assert_allclose(losses.mae([[1, 2], [3, 4]], [[1.0, 4.0], [3.0, 4.0]]), [1, 0])
    np.testing.assert_allclose(losses.mape([[1, 2], [3, 0]], [[1.0, 4.0], [3.0, 1e-7]]), [50, 50], rtol=1e-6)
    np.testing.assert_allclose(losses.msle([[0, 1]], [[-5.0, 3.0]]), [math.log(2) ** 2 / 2], rtol=1e-6)
    np.testing.assert_allclose(losses.huber([[0, 0]], [[1.0, -4.0]], delta=2), [(0.5 + 6) / 2])
    np.testing.assert_allclose(
        losses.log_cosh([[0, 0]], [[1.0, -99.0]]), [(math.log(math.cosh(1)) + 99 - math.log(2)) / 2]
    )
    half = np.full((2, 2), 0.5)
    for function in (losses.categorical_crossentropy, losses.binary_crossentropy):
        np.testing.assert_allclose(function([[1, 0], [0, 1]], half), [math.log(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy([1, 0], half), [math.log(2)] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("identifier", "kind"),
    [
        ("mse", MeanSquaredError),
        ("MSE", MeanSquaredError),
        ("mean_squared_error", MeanSquaredError),
        (losses.mse, MeanSquaredError),
        (["mae"], MeanAbsoluteError),
        ("log_cosh", losses.LogCosh),
        (losses.huber, losses.Huber),
        ("msle", losses.MeanSquaredLogarithmicError),
        (losses.mape, losses.MeanAbsolutePercentageError),
        (losses.mean_absolute_error, MeanAbsoluteError),
        ("categorical_crossentropy", CategoricalCrossentropy),
        ("CategoricalCrossentropy", CategoricalCrossentropy),
        (CategoricalCrossentropy, CategoricalCrossentropy),
        (losses.categorical_crossentropy, CategoricalCrossentropy),
        ("binary_crossentropy", BinaryCrossentropy),
        (losses.binary_crossentropy, BinaryCrossentropy),
        (losses.sparse_categorical_crossentropy, SparseCategoricalCrossentropy),
    ],
)
def test_losses_are_found_as_in_keras(identifier, kind):
    assert type(losses.get(identifier)) is kind


def test_arguments_at_keras_own_defaults_are_accepted():
    loss = CategoricalCrossentropy(label_smoothing=0.1, axis=-1, reduction="sum_over_batch_size", name="mine")
    assert loss.get_config() == {"name": "mine", "from_logits": False, "label_smoothing": 0.1}
    assert repr(loss) == "CategoricalCrossentropy(label_smoothing=0.1)"


BAD = {
    "class numbers": (
        CategoricalCrossentropy(),
        CLASSES,
        P,
        r"expected labels of shape \(5, 3\), got .*to_categorical",
    ),
    "other classes": (CategoricalCrossentropy(), np.eye(4)[CLASSES], P, r"got shape \(5, 4\)"),
    "fewer": (CategoricalCrossentropy(), ONE_HOT[:4], P, "got 5 photos and 4 labels"),
    "over 1": (CategoricalCrossentropy(), 2 * ONE_HOT, P, r"expected numbers from 0 to 1, got 2.0 at y\[0, 2\]"),
    "NaN": (BinaryCrossentropy(), YES * math.nan, P, "expected numbers from 0 to 1, got nan"),
    "infinity": (MeanSquaredError(), YES + math.inf, P, "expected finite numbers, got inf"),
    "text": (MeanSquaredError(), [["a"] * 3] * 5, P, "expected an array of numbers, got dtype <U1"),
    "no probabilities": (BinaryCrossentropy(), YES, 3 * Z, r"expected probabilities, got .* end the model in sigmoid"),
    "no probabilities of classes": (CategoricalCrossentropy(), ONE_HOT, Z, "end the model in softmax"),
    "maps of classes": (CategoricalCrossentropy(), np.ones_like(MAPS), MAPS, r"Add layers.Flatten\(\)"),
}


@pytest.mark.parametrize(("loss", "labels", "values", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_right_is_named(loss, labels, values, message):
    with pytest.raises(ValueError, match=message):
        loss(labels, values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CategoricalCrossentropy(label_smoothing=1.5), r"label_smoothing: expected a number in \[0, 1\]"),
        (lambda: CategoricalCrossentropy(axis=1), "the argument 'axis' is not supported here"),
        (lambda: MeanSquaredError(reduction="max"), "reduction: expected 'sum_over_batch_size' or 'sum' or 'none'"),
        (lambda: losses.get(MeanSquaredError(reduction=None)), "reduction: expected 'sum_over_batch_size' or 'sum' of"),
        (
            lambda: MeanSquaredError()([1], [[2.0]], [[1, 2]]),
            r"sample_weight: expected one weight a photo, shape \(1,\)",
        ),
        (lambda: MeanSquaredError()([1], [[2.0]], [-1]), r"sample_weight: expected numbers of at least 0, got -1.0"),
    ],
)
def test_arguments_that_cannot_be_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Behind a network


def ending(activation, loss, units=3):
    model = models.Sequential(
        [layers.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(units, activation=activation)]
    )
    model.shards = 2
    model.compile("sgd", loss)
    return model


ENDS = {
    "softmax, categorical": ("softmax", CategoricalCrossentropy(label_smoothing=0.1), SOFT),
    "logits, categorical": (None, CategoricalCrossentropy(from_logits=True), SOFT),
    "softmax, squares": ("softmax", "mse", SOFT),
    "softmax, distances": ("softmax", "mae", SOFT),
    "softmax, binary": ("softmax", "binary_crossentropy", YES),
    "logits, binary": (None, BinaryCrossentropy(from_logits=True), YES),
    "squares": (None, "mse", Z),
    "sigmoid, binary": ("sigmoid", BinaryCrossentropy(label_smoothing=0.1), YES),
    "sigmoid, squares": ("sigmoid", "mse", YES),
    "sigmoid, categorical": ("sigmoid", "categorical_crossentropy", SOFT),
}


@pytest.mark.parametrize(("activation", "loss", "labels"), ENDS.values(), ids=ENDS)
def test_gradients_of_a_network(activation, loss, labels):
    x, _ = random_batch(5, (6,))
    model = ending(activation, loss)
    results = gradcheck.check_model(model, x, labels, samples=None)
    assert all(result.passed for result in results), [(r.name, r.error) for r in results]
    before = model.evaluate(x, labels, verbose=0)
    model.fit(x, labels, epochs=20, verbose=0)
    assert model.evaluate(x, labels, verbose=0) < before


@pytest.mark.parametrize(("activation", "loss", "labels"), ENDS.values(), ids=ENDS)
def test_loss_of_evaluate_is_that_of_the_predictions(activation, loss, labels):
    x, _ = random_batch(5, (6,))
    model = ending(activation, loss)
    expected = model.loss(labels, model.predict(x, verbose=0))
    assert model.evaluate(x, labels, verbose=0) == pytest.approx(expected, rel=1e-6)
    assert model.loss_and_gradients(x, labels)[0] == pytest.approx(expected, rel=1e-6)


ENDINGS = {
    "in Dense": lambda name: [layers.Dense(3, activation=name)],
    "as a layer": lambda name: [layers.Dense(3), layers.Activation(name)],
    "of an inner model": lambda name: [models.Sequential([layers.Dense(3, activation=name)])],
    "in a subclass": lambda name: [MyDense(3, activation=name)],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize(
    ("activation", "loss", "labels"),
    [("sigmoid", "binary_crossentropy", YES), ("softmax", "categorical_crossentropy", ONE_HOT)],
)
def test_logits_are_handed_over_where_the_activation_saturates(activation, loss, labels, make, dtype):
    """The gradient of a wrong answer of which the network is sure is that of logits: 1 / N, and not 0."""
    model = models.Sequential([layers.Input((3,)), *make(activation)]).astype(dtype)
    model.compile("sgd", loss)
    model.set_weights([40 * np.eye(3), np.zeros(3)])
    x = np.where(labels > 0, -1.0, 1.0)  # as wrong as can be
    _, _, dx = model.loss_and_gradients(x, labels, input_gradient=True)
    assert (np.abs(dx[labels > 0]) > 40 / 5 / 3 * 0.99).all()
    before = model.evaluate(x, labels, verbose=0)
    assert before > 26
    assert model.train_on_batch(x, labels) == pytest.approx(before, rel=1e-6)
    assert model.evaluate(x, labels, verbose=0) < before
    p = model.predict(x, verbose=0)
    np.testing.assert_allclose(p, model(x), rtol=0, atol=1e-6)


def test_a_sigmoid_at_the_end_wants_no_logits():
    with pytest.raises(ValueError, match="the loss expects logits .*, but the model ends in sigmoid"):
        ending("sigmoid", BinaryCrossentropy(from_logits=True)).fit(np.ones((5, 6)), YES)


def test_metrics_see_what_a_sigmoid_makes_of_the_outputs():
    x, _ = random_batch(5, (6,))
    model = ending("sigmoid", "binary_crossentropy")
    model.compile("sgd", "binary_crossentropy", [metrics.BinaryAccuracy(threshold=0.4), metrics.Precision(), "mse"])
    p = model.predict(x, verbose=0)
    loss, accuracy, precision, squares = model.evaluate(x, YES, verbose=0)
    assert loss == pytest.approx(BinaryCrossentropy()(YES, p), rel=1e-5)
    assert accuracy == metrics.BinaryAccuracy(threshold=0.4)(YES, p)
    assert precision == metrics.Precision()(YES, p)
    assert squares == pytest.approx(((p - YES) ** 2).mean(), rel=1e-5)


class MyDense(layers.Dense):
    """The twin leaves layers of other people as they are."""


@pytest.mark.parametrize(
    "end",
    [lambda: MyDense(3, activation="softmax"), lambda: layers.Conv2D(3, 3, activation="softmax")],
    ids=["a subclass", "a convolution"],
)
def test_a_closing_softmax_in_any_layer_is_applied_once(end):
    x, _ = random_batch(40, (6, 6, 1))
    model = models.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(2, 3, padding="same"), end()])
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=0, atol=1e-6)
    y = np.zeros(model(x).shape)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(float((model(x) ** 2).mean()), rel=1e-5)


@pytest.mark.parametrize("loss", [CategoricalCrossentropy(label_smoothing=0.1), BinaryCrossentropy(True, 0.2), "mae"])
def test_a_model_in_a_file_keeps_its_loss(loss, tmp_path):
    model = ending(None, loss)
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert repr(again.loss) == repr(model.loss) and again.loss.get_config() == model.loss.get_config()


# What the commands make of models with other losses


@pytest.fixture(scope="module", params=["categorical_crossentropy", "binary_crossentropy", "mse"])
def in_a_file(request, tmp_path_factory):
    ends = {"categorical_crossentropy": "softmax", "binary_crossentropy": "sigmoid", "mse": None}
    model = models.Sequential(
        [
            layers.Conv2D(2, 3, activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(10, activation=ends[request.param]),
        ]
    )
    model.compile("sgd", request.param)
    model.set_weights([w if w.ndim > 1 else np.full(w.shape, 0.1) for w in model.get_weights()])
    path = tmp_path_factory.mktemp("models") / f"{request.param}.npz"
    model.save(path)
    return path


def test_a_model_is_evaluated_by_the_cross_entropy_of_classes(in_a_file, data_set):
    model, (photos, labels) = models.load_model(in_a_file), (part[:200] for part in data_set)
    result = evaluation.evaluate(model, photos, labels)
    predicted = model.predict(photos / np.float32(255), verbose=0).argmax(axis=1)
    assert result.accuracy == (predicted == labels).mean() and np.isfinite(result.loss)


def test_a_models_gradients_are_checked_with_its_own_loss(in_a_file):
    done = succeeds("gradcheck", "--model", str(in_a_file), "--photos", "8", "--samples", "30", cwd=in_a_file.parent)
    assert "dense/kernel" in done.stdout and "WRONG" not in done.stdout
