"""Photos, classes and arguments that cannot be right: one clear error each - where, what was expected, what came."""

import numpy as np
import pytest
from conftest import random_batch, small_network

PHOTOS, CLASSES = random_batch(6)


def with_value(value, place=(4, 3, 2, 0)):
    x = PHOTOS.copy()
    x[place] = value
    return x


BAD_DATA = {
    "no batch axis": (
        PHOTOS[0],
        CLASSES,
        r"x: expected shape \(N, 8, 8, 1\), got \(8, 8, 1\) \(one photo alone\? pass x\[None\]\)",
    ),
    "no channels, another size": (PHOTOS[:, 1:, :, 0], CLASSES, r"got \(6, 7, 8\)"),
    "three channels": (np.zeros((6, 8, 8, 3)), CLASSES, r"expected shape \(N, 8, 8, 1\), got \(6, 8, 8, 3\)"),
    "channels first": (np.zeros((6, 1, 8, 8)), CLASSES, r"channels come last here: pass x.transpose\(0, 2, 3, 1\)"),
    "another size": (np.zeros((6, 9, 8, 1)), CLASSES, r"got \(6, 9, 8, 1\)"),
    "nothing": (PHOTOS[:0], CLASSES[:0], r"x: expected at least one photo, got shape \(0, 8, 8, 1\)"),
    "NaN": (with_value(np.nan), CLASSES, r"x: expected finite numbers, got nan at x\[4, 3, 2, 0\]"),
    "infinity": (with_value(-np.inf), CLASSES, r"got -inf at x\[4, 3, 2, 0\]"),
    "1e39": (
        PHOTOS.astype(np.float64) * 1e39,
        CLASSES,
        r"expected finite numbers, got \S+e\+3\d at x\[0, .*\], too large for float32",
    ),
    "text": (np.full((6, 8, 8, 1), "a"), CLASSES, "x: expected an array of numbers, got dtype <U1"),
    "objects": (np.full((6, 8, 8, 1), None), CLASSES, "x: expected an array of numbers, got dtype object"),
    "complex": (PHOTOS + 1j, CLASSES, "x: expected an array of numbers, got dtype complex"),
    "ragged": ([[1], [1, 2]], CLASSES, "x: expected an array of numbers, got rows of different lengths"),
    "None": (None, CLASSES, "x: expected an array of numbers, got dtype object"),
    "fewer labels": (PHOTOS, CLASSES[:5], "expected as many labels as photos, got 6 photos and 5 labels"),
    "label 10": (PHOTOS, [0, 1, 2, 3, 4, 10], r"y: expected whole numbers from 0 to 9, got 10 at y\[5\]"),
    "label -1": (PHOTOS, [0, -1, 2, 3, 4, 5], r"got -1 at y\[1\]"),
    "label 3.5": (PHOTOS, [0, 1, 2, 3.5, 4, 5], r"got 3.5 at y\[3\]"),
    "label NaN": (PHOTOS, [0, 1, np.nan, 3, 4, 5], r"got nan at y\[2\]"),
    "one-hot": (PHOTOS, np.eye(10)[CLASSES], r"got shape \(6, 10\) \(one-hot rows\? pass y.argmax\(axis=1\)\)"),
    "label text": (PHOTOS, list("abcdef"), "y: expected an array of numbers, got dtype <U1"),
    "no labels": (PHOTOS, None, "y: expected an array of numbers, got dtype object"),
}


@pytest.mark.parametrize("verb", ["fit", "evaluate", "train_on_batch", "test_on_batch", "loss_and_gradients"])
@pytest.mark.parametrize(("x", "y", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_are_named(verb, x, y, message):
    if verb == "test_on_batch" and x is None:
        return  # its batch size is len(x): Python's own TypeError says it as well
    with pytest.raises(ValueError, match=message) as caught:
        getattr(small_network(), verb)(x, y)
    assert 'Sequential "sequential"' in str(caught.value) or "sparse_categorical_crossentropy" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["no batch axis", "three channels", "NaN", "1e39", "text", "nothing"])
def test_bad_photos_are_named_by_predict(case):
    x, _, message = BAD_DATA[case]
    with pytest.raises(ValueError, match="predict: .*" + message):
        small_network().predict(x)


BAD_FIT = {
    "batch size 0": ({"batch_size": 0}, "fit: batch_size: expected a whole number from 1 to 1,000,000, got 0"),
    "batch size -1": ({"batch_size": -1}, "batch_size: .* got -1"),
    "batch size 1.5": ({"batch_size": 1.5}, "batch_size: .* got 1.5"),
    "no epochs": ({"epochs": 0}, "fit: epochs: expected a whole number from 1 .*, got 0"),
    "epochs text": ({"epochs": "3"}, "epochs: .* got '3'"),
    "initial epoch": ({"initial_epoch": -1}, "initial_epoch: .* got -1"),
    "split 1": ({"validation_split": 1}, r"validation_split: expected a number in \[0, 1\), got 1"),
    "split -0.1": ({"validation_split": -0.1}, "validation_split: .* got -0.1"),
    "split too small": ({"validation_split": 1e-12}, "validation_split: 1e-12 of 6 photos leaves one part empty"),
    "split too large": ({"validation_split": 0.9999}, "validation_split: 0.9999 of 6 photos leaves one part empty"),
    "validation data": ({"validation_data": PHOTOS}, r"validation_data: expected \(x, y\), got ndarray"),
    "bad validation photos": (
        {"validation_data": (PHOTOS[:, 1:], CLASSES)},
        r"validation_data: x: expected shape \(N, 8, 8, 1\)",
    ),
    "bad validation labels": ({"validation_data": (PHOTOS, CLASSES + 10)}, "expected whole numbers from 0 to 9"),
    "verbose": ({"verbose": 3}, "fit: verbose: expected a whole number from 0 to 2, got 3"),
    "callbacks": ({"callbacks": ["history"]}, "callbacks: expected instances of Callback, got 'history'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_FIT.values(), ids=BAD_FIT)
def test_bad_arguments_of_fit_are_named_before_anything_changes(arguments, message):
    model = small_network()
    before = [w.tobytes() for w in model.get_weights()]
    with pytest.raises(ValueError, match=message):
        model.fit(PHOTOS, CLASSES, **{"verbose": 0, **arguments})
    assert [w.tobytes() for w in model.get_weights()] == before


@pytest.mark.parametrize("argument", ["class_weight", "sample_weight", "use_multiprocessing", "workers"])
def test_arguments_of_fit_that_do_not_exist(argument):
    with pytest.raises((TypeError, ValueError), match=argument):
        small_network().fit(PHOTOS, CLASSES, **{argument: 1})
