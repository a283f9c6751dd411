"""The diagnosis: wrong gradients as people write them, each held to the mistake that was made."""

import numpy as np
import pytest
from learners import Affine, Conv, Function, Norm, answering, first_of, largest, numbers, pooling, softmax, tied, wrong
from test_diagnosis_named import TRIALS, case_of
from test_diagnosis_states import FUNCTIONS

from cnn import gradcheck
from cnn.gradcheck.diagnosis import SAME
from cnn.gradcheck.trials import Trial

X, ROWS = numbers((3, 5, 4, 2)), numbers((3, 7))
PHOTO, TIED = numbers((2, 5, 7, 2)), tied((2, 4, 6, 2))
KEPT, MATRIX = np.arange(7) % 3 > 0, numbers((7, 7), seed=3)
RELU = lambda x: np.maximum(x, 0)
ZEROS_AROUND = lambda x: np.pad(x, ((0, 0), (1, 2), (2, 0), (0, 0)))
DENSE, SIGMOID = Affine, lambda kind: kind(activation="sigmoid")


def conv(relu=False, stride=(1, 1), pads=(1, 1, 0, 1), **methods):
    """A wrong convolution."""
    return wrong(Conv, **methods)(relu=relu, stride=stride, pads=pads)


def conv_giving(change, **arguments):
    """A convolution whose answers are changed."""
    return answering(Conv, change)(**arguments)


def kernel_of(change):
    """Only the kernel's gradient is changed."""
    return lambda dx, grads, dy, cache: (dx, {**grads, "kernel": change(grads["kernel"])})


def weights_of(change):
    """Only W's gradient is changed."""
    return lambda dx, grads, dy, cache: (dx, {**grads, "W": change(grads["W"])})


def input_of(change):
    """Only dx is changed."""
    return lambda dx, grads, dy, cache: (change(dx), grads)


def assign(self, dpadded, window, part):
    dpadded[window] = part


def last_filter(self, kernel):
    return kernel * (np.arange(4) == 3)


def from_the_first_cell(self, dpadded, shape):
    return dpadded[:, : shape[1], : shape[2]]


def from_the_other_side(self, dpadded, shape):
    _, bottom, _, right = self.pads
    return dpadded[:, bottom : bottom + shape[1], right : right + shape[2]]


def averaged(self, dpadded, shape):
    counts, x = np.zeros(dpadded.shape), np.zeros(shape)
    for _, _, window in self.windows(x):
        counts[window] += 1
    return Conv.crop(self, dpadded / counts, shape)


def only_rows(self, x):
    """All windows but those of the last row."""
    return [w for w in Conv.windows(self, x) if w[0] < self.infer_shape(x.shape[1:])[0] - 1]


def without_last_row(self, dy, cache, need_dx=True):
    self.windows = only_rows.__get__(self)
    try:
        return Conv.backward(self, dy, cache)
    finally:
        del self.windows


def stride_forgotten(self, dy, cache, need_dx=True):
    _, grads = Conv.backward(self, dy, cache)
    padded, dkernel, dpadded = self.pad(cache[0]), np.zeros(grads["kernel"].shape), np.zeros(self.pad(cache[0]).shape)
    for i, j in np.ndindex(dy.shape[1:3]):
        dkernel += np.tensordot(padded[self.window(i, j)], dy[:, i, j], (0, 0))
        dpadded[self.window(i, j)] += np.tensordot(dy[:, i, j], self.params["kernel"], (1, 3))
    return self.crop(dpadded, cache[0].shape), {**grads, "kernel": dkernel}


def no_padding_in_kernel(self, dy, cache, need_dx=True):
    dx, grads = Conv.backward(self, dy, cache)
    x, dkernel = np.pad(cache[0], ((0, 0), (0, 2), (0, 1), (0, 0))), np.zeros(grads["kernel"].shape)
    for i, j in np.ndindex(dy.shape[1:3]):
        dkernel += np.tensordot(x[self.window(i, j)], dy[:, i, j], (0, 0))
    return dx, {**grads, "kernel": dkernel}


def mask_without_bias(self, dy, x, z):
    return dy * (z - self.params["bias"] > 0)


def photos_assigned(self, dy, cache, need_dx=True):
    """dkernel = for dkernel += in a loop over the photos: the last one stays."""
    last = dy * (np.arange(len(dy)) == len(dy) - 1)[:, None, None, None]
    return Conv.backward(self, dy, cache)[0], Conv.backward(self, last, cache)[1]


def relayed(grad):
    """A dkernel whose columns were laid out channel by channel."""
    return grad.transpose(2, 0, 1, 3).reshape(grad.shape)


BIAS = lambda change: lambda dx, grads, dy, cache: (dx, {**grads, "bias": change(dy)})

WRONG = {
    # convolution
    "dW turned": (conv_giving(kernel_of(lambda g: g[::-1, ::-1])), X, "kernel", "turned"),
    "dW flipped": (conv_giving(kernel_of(lambda g: g[:, ::-1])), X, "kernel", "flipped"),
    "dW / N": (conv_giving(kernel_of(lambda g: g / 3)), X, "kernel", "constant factor"),
    "dW * N": (conv_giving(kernel_of(lambda g: g * 3)), X, "kernel", "constant factor"),
    "-dW": (conv_giving(kernel_of(lambda g: -g)), X, "kernel", "constant factor"),
    "2 dW": (conv_giving(kernel_of(lambda g: 2 * g)), X, "kernel", "constant factor"),
    "0.7 dW": (conv_giving(kernel_of(lambda g: 0.7 * g)), X, "kernel", "constant factor"),
    "dW mean of places": (conv_giving(kernel_of(lambda g: g / 20)), X, "kernel", "constant factor"),
    "dW never filled": (conv_giving(kernel_of(np.zeros_like)), X, "kernel", "zeros"),
    "dW in axes of its own": (conv_giving(kernel_of(lambda g: g.transpose(3, 2, 0, 1))), X, "kernel", "axes exchanged"),
    "dW relaid": (conv_giving(kernel_of(relayed)), X, "kernel", "reshaped for transposed"),
    "dW flat": (conv_giving(kernel_of(lambda g: g.reshape(-1, 4))), X, "kernel", "another shape"),
    "dW of the last photo": (conv(backward=photos_assigned), X, "kernel", "only some outputs"),
    "dW and dx without the last row": (conv(backward=without_last_row), X, "kernel", "only some outputs"),
    "dx without the last row": (conv(backward=without_last_row), X, "input", "only some outputs"),
    "dW without stride": (conv(stride=(2, 1), backward=stride_forgotten), X, "kernel", "stride forgotten"),
    "dx without stride": (conv(stride=(2, 1), backward=stride_forgotten), X, "input", "stride forgotten in dx"),
    "dW without padding": (conv(backward=no_padding_in_kernel), X, "kernel", "padding in kernel"),
    "dW turned and divided": (conv_giving(kernel_of(lambda g: g[::-1, ::-1] / 3)), X, "kernel", "turned"),
    "dx kernel turned": (conv(kernel_on_the_way_back=lambda self, k: k[::-1, ::-1]), X, "input", "kernel turned in dx"),
    "dx kernel flipped": (conv(kernel_on_the_way_back=lambda self, k: k[::-1]), X, "input", "kernel flipped in dx"),
    "dx assigned": (conv(add=assign), X, "input", "assigned for added"),
    "dx last filter": (conv(kernel_on_the_way_back=last_filter), X, "input", "one filter in dx"),
    "dx cut at the end": (conv(crop=from_the_first_cell), X, "input", "cropped wrong"),
    "dx cut on the other side": (conv(crop=from_the_other_side, pads=(1, 2, 0, 1)), X, "input", "cropped wrong"),
    "dx first photo": (
        conv_giving(input_of(lambda dx: dx * (np.arange(3) == 0)[:, None, None, None])),
        X,
        "input",
        "only one place",
    ),
    "dx last column": (
        conv_giving(input_of(lambda dx: dx * (np.arange(4) < 3)[None, None, :, None])),
        X,
        "input",
        "place missing",
    ),
    "dx averaged": (conv(crop=averaged), X, "input", "averaged for added"),
    "dx moved": (
        conv_giving(input_of(lambda dx: np.pad(dx, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1])),
        X,
        "input",
        "moved",
    ),
    "dx axes": (conv_giving(input_of(lambda dx: dx.transpose(0, 2, 1, 3))), X, "input", "axes exchanged"),
    "mask forgotten, dW": (conv(relu=True, through_relu=lambda self, dy, x, z: dy), X, "kernel", "mask forgotten"),
    "mask forgotten, dx": (conv(relu=True, through_relu=lambda self, dy, x, z: dy), X, "input", "mask forgotten"),
    "mask of dy": (conv(relu=True, through_relu=lambda self, dy, x, z: dy * (dy > 0)), X, "input", "mask of upstream"),
    "mask inverted": (conv(relu=True, through_relu=lambda self, dy, x, z: dy * (z < 0)), X, "bias", "mask inverted"),
    "mask without bias": (conv(relu=True, through_relu=mask_without_bias), X, "input", "mask without bias"),
    "db over photos": (conv_giving(BIAS(lambda dy: dy.sum(axis=0))), X, "bias", "bias over wrong axes"),
    "db of one photo": (conv_giving(BIAS(lambda dy: dy[0].sum(axis=(0, 1)))), X, "bias", "only some outputs"),
    "db mean": (conv_giving(BIAS(lambda dy: dy.mean(axis=(0, 1, 2)))), X, "bias", "constant factor"),
    "db not summed": (conv_giving(BIAS(lambda dy: dy)), X, "bias", "bias not summed"),
    "db over units": (conv_giving(BIAS(lambda dy: dy.sum(axis=(0, 3)))), X, "bias", "bias over wrong axes"),
    # dense
    "dW transposed": (answering(DENSE, weights_of(np.transpose))(), ROWS, "W", "axes exchanged"),
    "dW reshaped": (
        answering(DENSE, weights_of(lambda g: g.T.reshape(g.shape)))(),
        ROWS,
        "W",
        "reshaped for transposed",
    ),
    "W square, dx = dz @ W": (
        wrong(DENSE, backward=lambda s, dy, c, need_dx=True: (dy @ s.params["W"], DENSE.backward(s, dy, c)[1]))(7),
        ROWS,
        "input",
        "kernel not transposed",
    ),
    "sigmoid'(y)": (
        SIGMOID(wrong(DENSE, slope=lambda s, x, z, y: 1 / (2 + np.exp(y) + np.exp(-y)))),
        ROWS,
        "W",
        "slope at output",
    ),
    "z (1 - z)": (SIGMOID(wrong(DENSE, slope=lambda s, x, z, y: z * (1 - z))), ROWS, "input", "input for output"),
    "no sigmoid'": (SIGMOID(wrong(DENSE, slope=lambda s, x, z, y: 1)), ROWS, "b", "mask forgotten"),
    "product of sums": (
        answering(Affine, lambda dx, g, dy, c: (dx, {**g, "W": np.outer(c[0].sum(0), dy.sum(0))}))(),
        ROWS,
        "W",
        "product of sums",
    ),
    "dW with dy twice": (
        answering(Affine, lambda dx, g, dy, c: (dx, {**g, "W": c[0].T @ (dy * dy)}))(),
        ROWS,
        "W",
        "upstream twice",
    ),
    "relu's mask of a sigmoid": (
        SIGMOID(wrong(Affine, slope=lambda s, x, z, y: z > 0)),
        ROWS,
        "W",
        "slope of another activation",
    ),
    "sigmoid' twice": (SIGMOID(wrong(Affine, slope=lambda s, x, z, y: (y * (1 - y)) ** 2)), ROWS, "W", "slope twice"),
    "y for the mask": (wrong(Affine, slope=lambda s, x, z, y: y)(activation="relu"), ROWS, "W", "value for slope"),
    # pooling
    "ties to all": (pooling(largest), TIED, "input", "pooling shares"),
    "ties shared": (
        pooling(lambda x: largest(x) / largest(x).sum(axis=(1, 2), keepdims=True)),
        TIED,
        "input",
        "pooling shares",
    ),
    "ties to the last": (pooling(lambda x: first_of(largest(x), reverse=True)), TIED, "input", "pooling shares"),
    "to all cells": (pooling(np.ones_like), PHOTO, "input", "pooling shares"),
    "to the first cell": (pooling(lambda x: first_of(np.ones_like(x))), PHOTO, "input", "pooling shares"),
    "max, windows assigned": (pooling(largest, add=False, size=3, stride=2), PHOTO, "input", "assigned for added"),
    "mean not divided": (pooling(np.ones_like, reduce=np.mean), PHOTO, "input", "pooling shares"),
    "mean to the largest": (pooling(largest, reduce=np.mean), PHOTO, "input", "pooling shares"),
    "mean, windows assigned": (
        pooling(lambda x: np.full(x.shape, 1 / 9), add=False, size=3, stride=2, reduce=np.mean),
        PHOTO,
        "input",
        "assigned for added",
    ),
    "max without dy": (
        pooling(largest).but(lambda dy, x, y, back: back(np.ones_like(dy), x, y)),
        PHOTO,
        "input",
        "upstream left out",
    ),
    # activations, dropout
    "relu without mask": (Function(RELU, lambda dy, x, y: dy), PHOTO, "input", "mask forgotten"),
    "relu of dy": (Function(RELU, lambda dy, x, y: dy * (dy > 0)), PHOTO, "input", "mask of upstream"),
    "relu without dy": (Function(RELU, lambda dy, x, y: 1.0 * (x > 0)), PHOTO, "input", "upstream left out"),
    "tanh'(y)": (Function(np.tanh, lambda dy, x, y: dy * (1 - np.tanh(y) ** 2)), ROWS, "input", "slope at output"),
    "softmax diagonal": (Function(softmax, lambda dy, x, y: dy * y * (1 - y)), ROWS, "input", "diagonal alone"),
    "softmax sum over photos": (
        Function(softmax, lambda dy, x, y: y * (dy - (dy * y).sum(axis=0))),
        ROWS,
        "input",
        "softmax sum",
    ),
    "softmax, sum of dy": (
        Function(softmax, lambda dy, x, y: y * (dy - dy.sum(-1, keepdims=True))),
        ROWS,
        "input",
        "softmax sum",
    ),
    "softmax without y": (
        Function(softmax, lambda dy, x, y: dy - (dy * y).sum(-1, keepdims=True)),
        ROWS,
        "input",
        "softmax without factor",
    ),
    "dropout without mask": (
        Function(lambda x: x * KEPT / 0.7, lambda dy, x, y: dy),
        ROWS,
        "input",
        "upstream handed on",
    ),
    "dropout without scale": (
        Function(lambda x: x * KEPT / 0.7, lambda dy, x, y: dy * KEPT),
        ROWS,
        "input",
        "constant factor",
    ),
    "matrix from the wrong side": (
        Function(lambda x: x @ MATRIX, lambda dy, x, y: dy @ MATRIX),
        ROWS,
        "input",
        "other side",
    ),
    "padding undone at the corner": (
        Function(
            ZEROS_AROUND, lambda dy, x, y: dy[:, : x.shape[1], : x.shape[2]], lambda s: (s[0] + 3, s[1] + 2, s[2])
        ),
        X,
        "input",
        "upstream cut out",
    ),
    "mean of maps not divided": (
        Function(lambda x: x.mean((1, 2)), lambda dy, x, y: 0 * x + dy[:, None, None], lambda s: s[2:]),
        X,
        "input",
        "constant factor",
    ),
    # batch normalization
    "sums for means": (
        wrong(Norm, moments=lambda s, dn, n, axes: 60 * Norm.moments(s, dn, n, axes))(),
        X,
        "input",
        "moments of another count",
    ),
    "moments constant": (wrong(Norm, moments=lambda s, dn, n, axes: 0)(), X, "input", "moments as constants"),
    "deviation constant": (
        wrong(Norm, moments=lambda s, dn, n, axes: dn.mean(axis=axes))(),
        X,
        "input",
        "moments as constants",
    ),
    "without gamma": (wrong(Norm, dnormal=lambda s, dy: dy)(), X, "input", "gamma forgotten"),
    "gamma for beta": (
        answering(Norm, lambda dx, g, dy, c: (dx, {"gamma": g["beta"], "beta": g["gamma"]}))(),
        X,
        "beta",
        "of another tensor",
    ),
    "gamma with x": (
        answering(Norm, lambda dx, g, dy, c: (dx, {**g, "gamma": (dy * c[0]).sum(axis=c[3])}))(),
        X,
        "gamma",
        "gamma of another array",
    ),
}


@pytest.mark.parametrize(("layer", "x", "tensor", "mistake"), WRONG.values(), ids=WRONG)
def test_the_mistake_is_named(layer, x, tensor, mistake):
    trial = Trial(layer, x)
    found = trial.check_one(tensor, 30, gradcheck.TOLERANCE)
    assert found.verdict == "WRONG" and not found.passed
    assert found.diagnosis.mistake == mistake, found.diagnosis.sentence
    assert found.diagnosis.agreement < 1e-9 and "these are " in found.diagnosis.sentence


def test_an_output_without_its_bias_is_named():
    y, bias = numbers((3, 4)), numbers((4,), seed=5)
    diagnosis = gradcheck.diagnose(gradcheck.Case("y", y, y - bias, params={"bias": bias}))
    assert diagnosis.mistake == "bias left out"


def test_every_mistake_of_the_catalogue_has_its_case():
    tested = {case[3] for case in (*WRONG.values(), *FUNCTIONS.values())}
    tested |= {"bias left out", "mask of another layer"}  # above, and in a network
    assert {mistake.key for mistake in gradcheck.CATALOGUE} - tested == set()
    assert {key for keys in SAME.values() for key in keys} | set(SAME) <= tested


@pytest.mark.slow
@pytest.mark.parametrize("key", TRIALS, ids=" ".join)
def test_the_numbers_of_a_mistake_are_named_by_it(key):
    """Whatever a mistake gives in a case, its words come up, or those of one that says the same."""
    case = case_of(key)
    for mistake in gradcheck.CATALOGUE:
        made = mistake.candidate(case)
        if made is None or (made.shape == case.right.shape and np.allclose(made, case.right)):
            continue
        case.got = made
        diagnosis = gradcheck.diagnose(case, gradcheck.CATALOGUE)
        same = mistake.key in SAME.get(diagnosis.mistake, ()) or diagnosis.mistake == "zeros"
        several = diagnosis.sentence.count(", or ") >= 2
        assert same or several or mistake.words(case) in diagnosis.sentence, (mistake.key, diagnosis.sentence)
