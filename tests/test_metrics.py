"""Metrics: values by hand, batches that add up, names in the logs, files and runs that were stopped."""

import json

import numpy as np
import pytest
from conftest import random_batch, small_network
from test_resume import BATCH, EPOCHS, STEPS, StopAfter, X, Y, everything, new_model

from cnn import layers, metrics, models, utils
from cnn.callbacks import BackupAndRestore
from cnn.metrics import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Precision,
    Recall,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from cnn.saving import document

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(4, size=20)
ONE_HOT = np.eye(4)[CLASSES]
P = RNG.dirichlet(np.ones(4), size=20)
YES, Q = RNG.integers(2, size=(20, 1)), RNG.random((20, 1))
WEIGHTS = RNG.random(20)


def ranks_of_right():
    """0 where the right class is the largest, 1 where it is the second ..."""
    return np.array([sorted(row, reverse=True).index(row[c]) for row, c in zip(P, CLASSES, strict=True)])


def shares(right):
    return lambda weights: float(np.average(right, weights=weights))


def hits(yes, right, over):
    return lambda weights: float(((yes & right) * weights).sum() / ((yes if over == "yes" else right) * weights).sum())


def counts(hit):
    return lambda weights: float((hit.sum(axis=1) * weights).sum())


def pairs_in_order(weights):
    """How probably a yes is predicted higher than a no: what the area under the curve is."""
    yes = YES[:, 0] == 1
    pairs = np.outer(weights[yes], weights[~yes])
    return float((pairs * (Q[yes] > Q[~yes].T)).sum() / pairs.sum())


def f_scores(yes, beta):
    """For each class from how often it is said, how often it is right, and both."""

    def of(weights):
        said, is_so, both = (weights @ those for those in (yes, ONE_HOT, yes * ONE_HOT))
        precision, recall = both / (said + 1e-7), both / (is_so + 1e-7)  # never a division by 0, as in Keras
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall + 1e-7)

    return of


LARGEST = np.eye(4)[P.argmax(axis=1)]
TOP = (np.sort(P, axis=1)[:, [-2]] <= P).ravel()
CASES = {
    "accuracy, sparse": (Accuracy(), CLASSES, P, shares(ranks_of_right() == 0)),
    "accuracy, categorical": (Accuracy(), ONE_HOT, P, shares(ranks_of_right() == 0)),
    "accuracy, binary": (Accuracy(), YES, Q, shares(((Q > 0.5) == YES)[:, 0])),
    "accuracy, binary, flat labels": (Accuracy(), YES[:, 0], Q, shares(((Q > 0.5) == YES)[:, 0])),
    "sparse": (SparseCategoricalAccuracy(), CLASSES, P, shares(ranks_of_right() == 0)),
    "sparse, in a column": (SparseCategoricalAccuracy(), CLASSES[:, None], P, shares(ranks_of_right() == 0)),
    "categorical": (CategoricalAccuracy(), ONE_HOT, P, shares(ranks_of_right() == 0)),
    "binary": (BinaryAccuracy(threshold=0.3), YES, Q, shares(((Q > 0.3) == YES)[:, 0])),
    "binary, four answers": (BinaryAccuracy(), ONE_HOT, P, shares(((P > 0.5) == ONE_HOT).mean(axis=1))),
    "top 2": (TopKCategoricalAccuracy(2), ONE_HOT, P, shares(ranks_of_right() < 2)),
    "top 3, sparse": (SparseTopKCategoricalAccuracy(k=3), CLASSES, P, shares(ranks_of_right() < 3)),
    "squares": (MeanSquaredError(), ONE_HOT, P, shares(((P - ONE_HOT) ** 2).mean(axis=1))),
    "distances": (MeanAbsoluteError(), YES[:, 0], Q, shares(np.abs(Q - YES)[:, 0])),
    "cross-entropy": (metrics.SparseCategoricalCrossentropy(), CLASSES, P, shares(-np.log(P[np.arange(20), CLASSES]))),
    "cross-entropy of rows, smoothed": (
        metrics.CategoricalCrossentropy(label_smoothing=0.2),
        ONE_HOT,
        P,
        shares(-((0.8 * ONE_HOT + 0.05) * np.log(P)).sum(axis=1)),
    ),
    "cross-entropy of yes and no, of logits": (
        metrics.BinaryCrossentropy(from_logits=True),
        YES,
        4 * Q,
        shares((np.log1p(np.exp(4 * Q)) - 4 * Q * YES)[:, 0]),
    ),
    "root of squares": (
        metrics.RootMeanSquaredError(),
        YES,
        Q,
        lambda weights: shares((Q - YES)[:, 0] ** 2)(weights) ** 0.5,
    ),
    "percent": (
        metrics.MeanAbsolutePercentageError(),
        1 + YES,
        Q,
        shares((100 * np.abs(Q - 1 - YES) / (1 + YES))[:, 0]),
    ),
    "logarithms": (
        metrics.MeanSquaredLogarithmicError(),
        YES,
        Q,
        shares((np.log1p(Q) - np.log1p(YES + 1e-7 * (YES == 0)))[:, 0] ** 2),
    ),
    "log cosh": (metrics.LogCoshError(), YES, Q, shares(np.log(np.cosh(Q - YES))[:, 0])),
    "true positives": (metrics.TruePositives(), YES, Q, counts((Q > 0.5) & (YES == 1))),
    "false positives": (metrics.FalsePositives(0.3), YES, Q, counts((Q > 0.3) & (YES == 0))),
    "true negatives": (metrics.TrueNegatives(), ONE_HOT, P, counts((P <= 0.5) & (ONE_HOT == 0))),
    "false negatives": (metrics.FalseNegatives(thresholds=0.3), YES, Q, counts((Q <= 0.3) & (YES == 1))),
    "area": (metrics.AUC(9999), YES, Q, pairs_in_order),
    "precision": (Precision(), YES, Q, hits(Q[:, 0] > 0.5, YES[:, 0] == 1, "yes")),
    "recall": (Recall(thresholds=0.3), YES, Q, hits(Q[:, 0] > 0.3, YES[:, 0] == 1, "right")),
    "precision of a class": (
        Precision(class_id=2, thresholds=0.2),
        ONE_HOT,
        P,
        hits(P[:, 2] > 0.2, CLASSES == 2, "yes"),
    ),
    "f1": (metrics.F1Score("macro"), ONE_HOT, P, lambda weights: f_scores(LARGEST, 1)(weights).mean()),
    "f1, weighted": (
        metrics.F1Score("weighted", threshold=0.3),
        ONE_HOT,
        P,
        lambda weights: (f_scores(P > 0.3, 1)(weights) * (weights @ ONE_HOT)).sum() / (weights.sum() + 1e-7),
    ),
    "f2": (metrics.FBetaScore("macro", 2.0, 0.2), ONE_HOT, P, lambda weights: f_scores(P > 0.2, 2)(weights).mean()),
    "recall in the top 2": (
        Recall(top_k=2),
        ONE_HOT,
        P,
        lambda weights: hits(TOP, ONE_HOT.ravel() == 1, "right")(np.repeat(weights, 4)),
    ),
}


@pytest.mark.parametrize("weights", [np.ones(20), WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(("metric", "labels", "values", "expected"), CASES.values(), ids=CASES)
def test_value_in_one_piece_and_in_parts(metric, labels, values, expected, weights):
    metric.reset_state()
    assert metric(labels, values, weights) == pytest.approx(expected(weights), rel=1e-12)
    metric.reset_state()
    for part in (slice(3), slice(3, 11), slice(11, 20)):
        metric.update_state(labels[part].tolist(), values[part].tolist(), weights[part].tolist())
    assert metric.result() == pytest.approx(expected(weights), rel=1e-12)


@pytest.mark.parametrize(("metric", "labels", "values", "expected"), CASES.values(), ids=CASES)
def test_configuration_and_a_fresh_start(metric, labels, values, expected):
    again = type(metric)(**json.loads(json.dumps(metric.get_config())))
    assert again.get_config() == metric.get_config()
    assert again.result() == 0


def test_equal_predictions():
    """The first of equal ones is the largest, and equal ones are all among the top."""
    assert SparseCategoricalAccuracy()([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0.5
    assert SparseTopKCategoricalAccuracy(1)([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 1


def test_class_numbers_as_predictions():
    assert Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]) == 0.75
    assert Accuracy()([[1], [2]], [1, 3]) == 0.5


def test_mean_of_numbers():
    mean = Mean("rate")
    assert mean.name == "rate" and mean.result() == 0
    mean.update_state([1.0, 3.0], sample_weight=[1, 3])
    assert mean.result() == 2.5
    mean.update_state(2.5)
    assert mean.result() == 2.5
    mean.reset_state()
    assert mean.result() == 0


BAD = {
    "count": (lambda: Accuracy()([0, 1], [[0.5, 0.5]]), "accuracy: expected as many labels as predictions, got shapes"),
    "class numbers": (lambda: Precision()([0, 1], np.ones((2, 3))), r"precision: y: expected .*to_categorical"),
    "weights": (lambda: Accuracy()([0], [[1.0, 0]], [1, 2]), "accuracy: sample_weight: expected one weight a photo"),
    "k": (lambda: TopKCategoricalAccuracy(k=0), "k: expected a whole number from 1"),
    "thresholds": (lambda: Precision(thresholds=[0.1, 0.2]), r"thresholds: expected a number in \[0, 1\]"),
    "dtype": (lambda: Recall(dtype="float16"), "the argument 'dtype' is not supported here"),
}


@pytest.mark.parametrize(("action", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_right_is_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()


# In compile


def one_hot_network(*chosen, shards=2):
    model = small_network(compiled=False, shards=shards)
    model.compile("adam", "categorical_crossentropy", list(chosen))
    return model


def double(y_true, y_pred):
    return 2 * (y_pred.argmax(axis=1) == y_true.argmax(axis=1))


def test_f1_of_all_classes_together_is_accuracy_and_none_is_one_for_each():
    assert metrics.F1Score("micro")(ONE_HOT, P, WEIGHTS) == pytest.approx(
        CategoricalAccuracy()(ONE_HOT, P, WEIGHTS), rel=1e-6
    )
    np.testing.assert_allclose(metrics.F1Score()(ONE_HOT, P), f_scores(LARGEST, 1)(np.ones(20)), rtol=1e-12)
    with pytest.raises(ValueError, match="compile: metrics: f1_score: average: expected 'micro', .* got None"):
        one_hot_network(metrics.F1Score())
    with pytest.raises(ValueError, match=r"f1_score: y_pred: expected predictions \(N, classes\), got shape \(20,\)"):
        metrics.F1Score("macro")(CLASSES, P[:, 0])


def test_names_in_the_logs_are_those_of_keras():
    model = one_hot_network(
        "acc", "mse", Precision(), Precision(class_id=1), Recall(name="found"), TopKCategoricalAccuracy(k=3), double
    )
    expected = ["acc", "mse", "precision", "precision_1", "found", "top_k_categorical_accuracy", "double"]
    assert model.metrics_names == ["loss", *expected]
    x, y = random_batch(20)
    y = utils.to_categorical(y, 10)
    history = model.fit(x, y, validation_split=0.5, epochs=2, verbose=0).history
    assert set(history) == {f"{prefix}{name}" for prefix in ("", "val_") for name in ("loss", *expected)}
    values = model.evaluate(x, y, verbose=0)
    assert len(values) == 8
    named = model.evaluate(x, y, verbose=0, return_dict=True)
    assert list(named) == sorted(named) and [named[name] for name in model.metrics_names] == values
    p = model.predict(x, verbose=0)
    assert named["mse"] == pytest.approx(((p - y) ** 2).mean(), rel=1e-6)
    assert named["precision"] == Precision()(y, p) and named["found"] == Recall()(y, p)
    assert named["double"] == 2 * named["acc"] == 2 * CategoricalAccuracy()(y, p)


@pytest.mark.parametrize("batch_size", [3, 7, 20])
def test_exact_however_the_photos_are_cut(batch_size):
    x, y = random_batch(20)
    y = utils.to_categorical(y, 10)
    results = []
    for shards in (1, 2, 3):
        model = one_hot_network("accuracy", Precision(0.1), Recall(0.1), shards=shards)
        model.optimizer.learning_rate = 0
        results.append(model.fit(x, y, batch_size=batch_size, verbose=0, shuffle=False).history)
        evaluated = model.evaluate(x, y, batch_size=batch_size, verbose=0, return_dict=True)
        p = model.predict(x, verbose=0)
        assert evaluated["precision"] == Precision(0.1)(y, p) and evaluated["recall"] == Recall(0.1)(y, p)
    for name in ("accuracy", "precision", "recall"):
        assert results[0][name] == results[1][name] == results[2][name]


@pytest.mark.parametrize(
    ("loss", "units", "labels"),
    [("binary_crossentropy", 1, YES[:5, 0]), ("mse", 1, YES[:5]), ("mse", 3, np.eye(3)[[0, 1, 2, 0, 1]])],
)
def test_accuracy_is_chosen_by_the_shapes(loss, units, labels):
    model = models.Sequential([layers.Input((6,)), layers.Dense(units, activation="softmax" if units > 1 else None)])
    model.compile("sgd", "mse", ["accuracy"])
    x, _ = random_batch(5, (6,))
    p = model.predict(x, verbose=0)
    kind = BinaryAccuracy() if units == 1 else CategoricalAccuracy()
    assert model.evaluate(x, labels, verbose=0)[1] == kind(labels, p)


def test_one_metric_object_in_two_models_counts_for_each():
    shared = CategoricalAccuracy()
    first, second = one_hot_network(shared), one_hot_network(shared)
    x, y = random_batch(20)
    y = utils.to_categorical(y, 10)
    alone = first.evaluate(x, y, verbose=0)
    second.fit(x, y, verbose=0)
    assert first.evaluate(x, y, verbose=0) == alone
    assert shared.result() == 0


# In files


def test_metrics_come_back_from_a_file(tmp_path):
    model = one_hot_network("acc", "mse", Precision(0.3, class_id=1), Recall(top_k=2), TopKCategoricalAccuracy(k=3))
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert [(type(m), m.get_config()) for m in again.metrics] == [(type(m), m.get_config()) for m in model.metrics]
    assert {kind.__name__ for kind in metrics.TABLE.values()} == set(document.METRICS)


def test_accuracy_is_kept_in_a_file_by_its_name_alone():
    assert document.describe_compile(small_network())["metrics"] == ["accuracy"]


def test_a_function_is_named_when_no_file_can_describe_it(tmp_path):
    with pytest.raises(ValueError, match="save: metric: expected one of .*, got MeanOfFunction, which no file can"):
        one_hot_network(double).save(tmp_path / "m.npz")


@pytest.mark.parametrize("batches", [1, 3, 4, 6, 11, 16])
def test_a_stopped_run_goes_on_counting(tmp_path, batches):
    def make():
        model = new_model()
        chosen = ["accuracy", "mse", Precision(0.3), Recall(0.3), metrics.AUC(5), metrics.F1Score("macro")]
        model.compile("adam", "categorical_crossentropy", chosen, weighted_metrics=["accuracy"])
        return model

    def fit(model, *watchers):
        arguments = {"batch_size": BATCH, "epochs": EPOCHS, "validation_split": 0.2, "verbose": 0}
        weights = np.linspace(0, 2, len(Y))
        model.fit(X, utils.to_categorical(Y), **arguments, sample_weight=weights, callbacks=list(watchers))
        return everything(model)

    assert batches <= EPOCHS * STEPS
    fit(make(), BackupAndRestore(tmp_path), StopAfter(batches))
    assert fit(make(), BackupAndRestore(tmp_path)) == fit(make())


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (3, 9), (9, 3), (8, 8)])
def test_mcnemar_counts_tosses_of_a_coin(first, second):
    """How many of all rows of n tosses fall at least as unevenly: counted one by one, half way at most once."""
    n = first + second
    heads = np.array([bin(row).count("1") for row in range(2**n)])
    extreme = np.abs(2 * heads - n) >= abs(first - second)
    assert metrics.mcnemar(first, second) == pytest.approx(extreme.mean())


def test_mcnemar_of_many_photos_is_the_formula_with_chi_squared():
    """(|b - c| - 1)^2 / (b + c) at the bound of 5% of chi-squared with one degree of freedom, 3.841."""
    assert metrics.mcnemar(1000, 1089) == pytest.approx(0.05, abs=0.005)
    assert metrics.mcnemar(0, 5000) < 1e-300
