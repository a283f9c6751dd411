"""The loss: its values against the formula in exact arithmetic, its gradients against slopes, and its limits."""

import math

import numpy as np
import pytest

from cnn import losses
from cnn.gradcheck import relative_error
from cnn.losses import SparseCategoricalCrossentropy

LOGITS = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [3.0, 2.0, -1.0], [-0.7, 0.2, 0.1]])
CLASSES = np.array([2, 1, 0, 1])
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def slopes(values, from_logits, h=1e-5):
    """dL/dvalues by central differences."""
    loss = SparseCategoricalCrossentropy(from_logits)
    result = np.empty_like(values)
    for place in np.ndindex(values.shape):
        up, down = values.copy(), values.copy()
        up[place] += h
        down[place] -= h
        result[place] = (loss(CLASSES, up) - loss(CLASSES, down)) / (2 * h)
    return result


def gradient(values, from_logits):
    return SparseCategoricalCrossentropy().loss_and_gradient(CLASSES, values, len(values), from_logits)[1]


def test_value_is_the_mean_of_minus_log_p():
    expected = -sum(math.log(PROBABILITIES[n, c]) for n, c in enumerate(CLASSES)) / 4
    assert SparseCategoricalCrossentropy(from_logits=True)(CLASSES, LOGITS) == pytest.approx(expected, rel=1e-14)
    assert SparseCategoricalCrossentropy()(CLASSES, PROBABILITIES) == pytest.approx(expected, rel=1e-14)


def test_ten_classes_that_are_equally_likely_cost_the_logarithm_of_ten():
    assert SparseCategoricalCrossentropy(from_logits=True)([3, 9], np.zeros((2, 10))) == pytest.approx(
        math.log(10), rel=1e-14
    )


@pytest.mark.parametrize("from_logits", [True, False])
def test_gradient_is_the_slope(from_logits):
    values = LOGITS if from_logits else PROBABILITIES
    assert relative_error(gradient(values, from_logits), slopes(values, from_logits)) <= 1e-8


def test_gradient_of_logits_is_p_minus_one_at_the_class_by_the_batch_size():
    np.testing.assert_allclose(gradient(LOGITS, True), (PROBABILITIES - np.eye(3)[CLASSES]) / 4, rtol=0, atol=1e-16)


def test_gradient_of_probabilities_counts_that_they_are_divided_by_their_sum():
    assert relative_error(gradient(2 * PROBABILITIES + 0.1, False), slopes(2 * PROBABILITIES + 0.1, False)) <= 1e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_huge_logits_stay_finite(size, dtype):
    z = np.array([[size, -size, 0], [-size, size, 0]], dtype)
    loss, dz = SparseCategoricalCrossentropy().loss_and_gradient(np.array([1, 1]), z, 2, True)
    assert loss == size  # -log p is 2 * size for the first photo and 0 for the second
    assert dz.dtype == dtype
    np.testing.assert_allclose(dz, [[0.5, -0.5, 0], [0, 0, 0]], rtol=0, atol=1e-40)


def test_probabilities_are_clipped_as_by_keras():
    loss, dp = SparseCategoricalCrossentropy().loss_and_gradient(
        np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]), 2, False
    )
    assert loss == pytest.approx((-math.log(1e-7) - math.log(1 - 1e-7)) / 2, rel=1e-14)
    assert not dp.any()


def test_parts_of_a_batch_add_up():
    loss = SparseCategoricalCrossentropy()
    whole, gradient = loss.loss_and_gradient(CLASSES, LOGITS, 4, True)
    first, upper = loss.loss_and_gradient(CLASSES[:1], LOGITS[:1], 4, True)
    rest, lower = loss.loss_and_gradient(CLASSES[1:], LOGITS[1:], 4, True)
    assert first + rest == pytest.approx(whole, rel=1e-15)
    np.testing.assert_array_equal(np.concatenate([upper, lower]), gradient)


def test_predictions_are_not_written_to():
    for values, from_logits in ((LOGITS, True), (PROBABILITIES, False)):
        before = values.copy()
        gradient(values, from_logits)
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    "labels", [[2, 1, 0, 1], [[2], [1], [0], [1]], [2.0, 1.0, 0.0, 1.0], np.array([2, 1, 0, 1], np.uint8)]
)
def test_labels_in_all_forms(labels):
    assert SparseCategoricalCrossentropy(True)(labels, LOGITS) == SparseCategoricalCrossentropy(True)(CLASSES, LOGITS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([2, 1, 0, 3], r"expected whole numbers from 0 to 2, got 3 at y\[3\]"),
        ([2, -1, 0, 1], r"expected whole numbers from 0 to 2, got -1 at y\[1\]"),
        ([2, 1, 0.5, 1], r"got 0.5 at y\[2\]"),
        ([2, 1, np.nan, 1], r"got nan at y\[2\]"),
        ([2, 1, 0], "expected as many labels as photos, got 4 photos and 3 labels"),
        (np.eye(3)[CLASSES], r"got shape \(4, 3\) \(one-hot rows\? pass y.argmax\(axis=1\)\)"),
        (["a"] * 4, "expected an array of numbers, got dtype <U1"),
        ([[0], [1, 2]], "got rows of different lengths"),
    ],
)
def test_labels_that_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        SparseCategoricalCrossentropy(True)(labels, LOGITS)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([0.5, 0.5], r"y_pred: expected shape \(N, ...\), got \(2,\)"),
        ([[0.5, math.nan]], r"y_pred: expected finite numbers, got nan at y_pred\[0, 1\]"),
        ([["a", "b"]], "y_pred: expected an array of numbers, got dtype <U1"),
    ],
)
def test_errors_about_predictions_name_them(predictions, message):
    with pytest.raises(ValueError, match=f"SparseCategoricalCrossentropy: {message}"):
        SparseCategoricalCrossentropy()([0], predictions)


def test_numbers_that_are_no_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"expected probabilities, got -2 .*from_logits=True"):
        SparseCategoricalCrossentropy()(CLASSES, LOGITS)


def test_a_feature_map_is_refused_and_flatten_named():
    with pytest.raises(
        ValueError, match=r"expected predictions \(N, classes\), got shape \(2, 7, 7, 10\).*layers.Flatten\(\)"
    ):
        SparseCategoricalCrossentropy()([1, 2], np.ones((2, 7, 7, 10)))


@pytest.mark.parametrize(
    "form", ["sparse_categorical_crossentropy", "Sparse_Categorical_Crossentropy", SparseCategoricalCrossentropy]
)
def test_losses_are_found_by_name_or_class(form):
    assert isinstance(losses.get(form), SparseCategoricalCrossentropy)


@pytest.mark.parametrize("form", ["hinge", None, 3, dict, len, lambda y, p: 0])
def test_unknown_losses_are_refused(form):
    with pytest.raises(ValueError, match="loss: expected 'sparse_categorical_crossentropy' or"):
        losses.get(form)


def test_from_logits_is_true_or_false():
    with pytest.raises(ValueError, match="from_logits: expected True or False, got 'yes'"):
        SparseCategoricalCrossentropy(from_logits="yes")


def test_arguments_that_are_not_supported():
    with pytest.raises(ValueError, match="the argument 'ignore_class' is not supported here"):
        SparseCategoricalCrossentropy(ignore_class=3)
