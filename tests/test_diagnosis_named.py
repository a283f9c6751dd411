"""When nothing is named; networks, functions, and what a layer may do instead of returning a gradient."""

import numpy as np
import pytest
from conftest import random_batch, random_biases
from hypothesis import given, settings
from hypothesis import strategies as st
from learners import (
    Affine,
    Conv,
    Function,
    Norm,
    Quadratic,
    answering,
    first_of,
    largest,
    numbers,
    pooling,
    softmax,
    wrong,
)

from cnn import gradcheck, layers, models
from cnn.gradcheck.cases import Case
from cnn.gradcheck.trials import Trial

X, ROWS = numbers((3, 5, 4, 2)), numbers((3, 7))
RELU = lambda x: np.maximum(x, 0)

# ---- nothing is said of what is right, and nothing is named that does not give the numbers

RIGHT = {
    "convolution": (Conv(relu=True, stride=(2, 1)), X),
    "convolution, padding of its own": (Conv(pads=(2, 0, 1, 0)), X),
    "dense": (Affine(activation="sigmoid"), ROWS),
    "dense, square": (Affine(7, activation="relu"), ROWS),
    "pooling": (pooling(lambda x: first_of(largest(x)), size=3, stride=2), numbers((2, 5, 7, 2))),
    "pooling, ties": (pooling(lambda x: first_of(largest(x))), np.round(numbers((2, 4, 6, 2)))),
    "softmax": (Function(softmax, lambda dy, x, y: y * (dy - (dy * y).sum(-1, keepdims=True))), ROWS),
    "norm": (Norm(), X),
    "relu in place of a copy": (Function(RELU, lambda dy, x, y: dy * (y > 0)), X),
}


@pytest.mark.parametrize(("layer", "x"), RIGHT.values(), ids=RIGHT)
def test_nothing_is_said_of_what_is_right(layer, x):
    results = gradcheck.check_layer(layer, x, samples=30)
    assert [result.name for result in results if result.verdict == "WRONG"] == []  # ties may not be comparable
    assert gradcheck.sentences([result for result in results if result.comparable]) == []


NO_MISTAKE = {
    "one entry": (lambda g: g + 0.1 * (np.arange(g.size) == 5).reshape(g.shape), "all others of the 48"),
    "one filter": (lambda g: g + 0.1 * np.sin(np.arange(g.size)).reshape(g.shape) * [0, 0, 1, 0], "in filter 2 alone"),
    "everywhere": (lambda g: g + 0.1 * np.cos(np.arange(g.size)).reshape(g.shape), "everywhere: 48 of the 48"),
    "a little": (lambda g: g + 1e-6 * np.cos(np.arange(g.size)).reshape(g.shape), "everywhere: 48 of the 48"),
    "some": (lambda g: g * np.where(np.arange(g.size).reshape(g.shape) % 4 < 2, 1, 1.01), "24 of the 48"),
    "cut off": (lambda g: np.clip(g, -1, 1), "entries that were compared differ"),
    "without signs": (np.abs, "entries that were compared differ"),
    "its square": (np.square, "everywhere"),
    "plus a constant": (lambda g: g + 0.3, "everywhere"),
    "whole numbers": (np.round, "everywhere"),
}


@pytest.mark.parametrize(("change", "where"), NO_MISTAKE.values(), ids=NO_MISTAKE)
def test_what_no_mistake_gives_is_located_and_not_named(change, where):
    layer = answering(Conv, lambda dx, grads, dy, cache: (dx, {**grads, "kernel": change(grads["kernel"])}))()
    diagnosis = Trial(layer, X).check_one("kernel", None, gradcheck.TOLERANCE).diagnosis
    assert diagnosis.mistake == "" and where in diagnosis.sentence, diagnosis.sentence
    right = Trial(Conv(), X).tensors["kernel"][1]
    assert diagnosis.got == pytest.approx(change(right)[diagnosis.index])
    assert diagnosis.expected == pytest.approx(right[diagnosis.index])


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        (np.s_[:, [0, -1]], "at the borders alone"),
        (np.s_[1], "in photo 1 alone"),
        (np.s_[..., 1], "in channel 1 alone"),
        (np.s_[2, :, :, 0], "in photo 2 and channel 0 alone"),
    ],
)
def test_where_the_error_sits(rows, where):
    def change(dx, grads, dy, cache):
        dx = dx.copy()
        dx[rows] += np.sin(np.arange(dx[rows].size)).reshape(dx[rows].shape) + 2
        return dx, grads

    diagnosis = Trial(answering(Conv, change)(), X).check_one("input", None, gradcheck.TOLERANCE).diagnosis
    assert diagnosis.mistake == "" and where in diagnosis.sentence, diagnosis.sentence


TRIALS = {
    ("convolution", "kernel"): Trial(Conv(relu=True, stride=(2, 1)), X),
    ("convolution", "bias"): Trial(Conv(relu=True), X),
    ("convolution", "input"): Trial(Conv(relu=True, pads=(1, 1, 1, 0)), X),
    ("dense", "b"): Trial(Affine(1, activation="sigmoid"), ROWS),  # a single number
    ("dense", "input"): Trial(Affine(activation="sigmoid"), ROWS),
    ("pooling", "input"): Trial(pooling(lambda x: first_of(largest(x))), numbers((2, 4, 6, 2))),
    ("softmax", "input"): Trial(Function(softmax, lambda dy, x, y: dy), ROWS),
    ("norm", "gamma"): Trial(Norm(), X),
}
CASES = {}


def case_of(key):
    """All that is known of this tensor, its slopes measured once."""
    if key not in CASES:
        trial, name = TRIALS[key], key[1]
        array = trial.tensors[name][0]
        wrong = np.full(array.shape, 0.123)
        CASES[key] = trial.case(
            gradcheck.check_tensor(name, array, wrong, trial.measure, 1.0, None, np.random.default_rng(0)), wrong
        )
    return CASES[key]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(TRIALS)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-6, 1e-3, 1.0, 1e3]),
    st.sampled_from(["all", "some", "one", "instead"]),
)
def test_nothing_is_ever_named_for_random_numbers(key, seed, size, which):
    """Noise on all entries, some, one, or random numbers in place of the gradient."""
    case, rng = case_of(key), np.random.default_rng(seed)
    noise = size * rng.standard_normal(case.right.shape)
    if which != "all":
        kept = rng.random(noise.shape) < 0.3 if which == "some" else np.zeros(noise.shape, bool)
        kept.flat[rng.integers(noise.size)] = True
        noise = noise * (kept | (which == "instead"))
    case.got = noise if which == "instead" else np.nan_to_num(case.right) + noise
    diagnosis = gradcheck.diagnose(case)
    assert diagnosis.mistake == "", diagnosis.sentence


def test_two_mistakes_of_the_same_numbers_are_both_named():
    """A kernel of one column: turned by 180 degrees it is the same as with its rows flipped."""
    layer = answering(Conv, lambda dx, g, dy, c: (dx, {**g, "kernel": g["kernel"][::-1]}))(kernel_size=(3, 1))
    sentence = Trial(layer, X).check_one("kernel", None, gradcheck.TOLERANCE).diagnosis.sentence
    assert "turned by 180 degrees" in sentence
    right = np.array([[1.0, 2.0], [2.0, 5.0]])  # symmetric: transposing changes nothing
    assert gradcheck.diagnose(Case("W", right, right.T * 2)).sentence.count("transposed") == 0


def test_the_evidence():
    right = np.arange(1.0, 7.0).reshape(2, 3)
    diagnosis = gradcheck.diagnose(Case("w", right, -right))
    assert (diagnosis.mistake, diagnosis.index, diagnosis.expected, diagnosis.got) == ("constant factor", (0, 0), 1, -1)
    assert diagnosis.sentence == (
        "these are the right numbers times -1: the sign (agrees to the last digit); "
        "the first entry that differs is [0, 0]: expected 1, got -1"
    )


# ---- networks: whose fault it is


def network(mine, loss="sparse_categorical_crossentropy", end="softmax"):
    body = [layers.Input((6, 5, 2)), layers.Conv2D(3, (3, 2), activation="relu", name="ours"), mine]
    model = models.Sequential(
        [*body, layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(5, end, name="last")], seed=1
    )
    model.compile("sgd", loss)
    return random_biases(model)


def checked(model, one_hot=False):
    x, y = random_batch(3, (6, 5, 2), 5)
    results = gradcheck.check_model(model, x, np.eye(5)[y] if one_hot else y, samples=30)
    return {result.name: result for result in results}, gradcheck.sentences(results)


def test_a_wrong_dx_is_not_the_fault_of_the_layer_below():
    turned = wrong(Conv, kernel_on_the_way_back=lambda self, kernel: kernel[::-1, ::-1])
    results, said = checked(network(turned(relu=True, name="mine")))
    assert said[0] == "at fault: mine" and said[1].startswith(
        "mine/input: WRONG: these are the numbers of a kernel turned"
    )
    assert said[2] == "not at fault, wrong for what comes from above: ours/kernel, ours/bias, input" and len(said) == 3
    assert results["mine/input"].diagnosis.mistake == "kernel turned in dx"
    assert results["ours/kernel"].diagnosis[:2] == (
        "follows",
        "not this layer's fault: the dx of mine, above it, is wrong",
    )
    assert all(results[name].passed for name in ("mine/kernel", "mine/bias", "last/kernel"))


def test_a_mask_of_another_layer_is_named_with_that_layer():
    masks = []

    def through_relu(self, dy, x, z):
        other = next((m for m in masks if m.shape == dy.shape), dy)
        return dy * (other > 0)

    mine = wrong(Conv, through_relu=through_relu)(3, kernel_size=(3, 3), pads=(1, 1, 1, 1), relu=True, name="mine")
    model = network(mine)
    x, y = random_batch(3, (6, 5, 2), 5)
    masks.append(model.layers[0].forward(x.astype(np.float64))[0])
    results = {r.name: r for r in gradcheck.check_model(shards(model, 1), x, y, samples=30)}
    assert (
        "the output of ours" in results["mine/kernel"].diagnosis.sentence
        or "x > 0" in results["mine/kernel"].diagnosis.sentence
    )
    assert results["mine/kernel"].diagnosis.mistake == "mask of another layer"


def shards(model, count):
    model.shards = count
    return model


def test_the_loss_is_at_fault():
    results, said = checked(network(Conv(name="mine"), Quadratic(lambda p, y: p - y), None), one_hot=True)
    assert said[0] == "at fault: the loss" and "times 1/2" in said[1] and results["loss"].diagnosis.layer == "loss"
    results, said = checked(network(Conv(name="mine"), Quadratic(lambda p, y: 2 * (p - y)), None), one_hot=True)
    assert said == [] and "loss" not in results


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"crop": lambda self, d, shape: d}, r"mine/input: WRONG: expected shape \(3, 4, 4, 3\).* got \(3, 6, 5, 3\)"),
        ({"crop": lambda self, d, shape: None}, "mine/input: WRONG: expected an array, got None"),
        (
            {"forward": lambda self, x, training=False, rng=None: x},
            r"mine: forward: expected \(y, cache\), got y alone",
        ),
        (
            {"crop": lambda self, d, shape: d[self.gone]},
            "mine: backward: AttributeError: .*gone.* test_diagnosis_named.py",
        ),
    ],
)
def test_a_layer_that_cannot_be_used_is_named(methods, message):
    with pytest.raises(gradcheck.Refusal, match=message):
        checked(network(wrong(Conv, **methods)(name="mine")))


def test_a_missing_gradient_in_a_network():
    results, _ = checked(network(wrong(Conv, grads=lambda self, dkernel, dz: {"kernel": dkernel})(name="mine")))
    assert results["mine/bias"].diagnosis.mistake == "missing" and results["mine/kernel"].passed
