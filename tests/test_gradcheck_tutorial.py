"""Layers as most tutorials write them, in a file of one's own: forward gives y alone, gradients lie on self."""

import numpy as np
import pytest

from cnn.gradcheck import own
from cnn.gradcheck.own import check_own
from cnn.gradcheck.tutorial import adapted


class Dense:
    def __init__(self, n_in, n_out):
        rng = np.random.default_rng(0)
        self.W = rng.standard_normal((n_in, n_out))
        self.b = np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW = self.x.T @ dy
        self.db = dy.sum(axis=0)
        return dy @ self.W.T


class WrongDense(Dense):
    def backward(self, dy):
        self.dW = self.x.T @ dy
        self.db = dy.mean(axis=0)
        return dy @ self.W.T


class Learns(Dense):
    def backward(self, dy, learning_rate):
        dx = dy @ self.W.T
        self.W -= learning_rate * self.x.T @ dy
        self.b -= learning_rate * dy.sum(axis=0)
        return dx


class LearnsLate(Dense):
    def backward(self, dy, lr):
        self.W -= lr * self.x.T @ dy
        self.b -= lr * dy.sum(axis=0)
        return dy @ self.W.T


class Returns(Dense):
    def backward(self, dout):
        return dout @ self.W.T, self.x.T @ dout, dout.sum(0)


class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class WrongRelu(Relu):
    def backward(self, dy):
        return dy


class Conv:
    def __init__(self, filters=3, size=3):
        self.filters, self.size, self.kernel = filters, size, None

    def forward(self, x):
        if self.kernel is None:
            self.kernel = np.random.default_rng(1).standard_normal((self.size, self.size, x.shape[3], self.filters))
            self.bias = np.zeros(self.filters)
        self.x = x
        n, h, w, _ = x.shape
        y = np.zeros((n, h - self.size + 1, w - self.size + 1, self.filters))
        for i, j in np.ndindex(y.shape[1:3]):
            y[:, i, j] = np.tensordot(x[:, i : i + self.size, j : j + self.size], self.kernel, 3) + self.bias
        return y

    def backward(self, dy):
        self.dkernel, self.dbias, dx = np.zeros_like(self.kernel), dy.sum((0, 1, 2)), np.zeros_like(self.x)
        for i, j in np.ndindex(dy.shape[1:3]):
            self.dkernel += np.tensordot(self.x[:, i : i + self.size, j : j + self.size], dy[:, i, j], (0, 0))
            dx[:, i : i + self.size, j : j + self.size] = np.tensordot(dy[:, i, j], self.kernel, (1, 3))
        return dx


class Forgets(Dense):
    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


def checked(layer, *shapes):
    """{tensor: (verdict, what is said of it)}"""
    _, results = check_own(own.Own(adapted(layer), None, "theirs"), shapes)
    return {r.name: (r.verdict, r.diagnosis.sentence if r.diagnosis else "") for r in results}


RIGHT = {
    "on self": (Dense(4, 3), {"W", "b", "input"}),
    "learns in backward": (Learns(4, 3), {"W", "b", "input"}),
    "returns them": (Returns(4, 3), {"W", "b", "input"}),
    "no parameters": (Relu(), {"input"}),
}


@pytest.mark.parametrize(("layer", "tensors"), RIGHT.values(), ids=RIGHT)
def test_right_layers_of_each_style_pass(layer, tensors):
    found = checked(layer)
    assert found.keys() == tensors and {verdict for verdict, _ in found.values()} == {"ok"}


WRONG = {
    "mean for sum": (WrongDense(4, 3), "b", "times 1/5, 5 being the number of photos"),
    "mask forgotten": (WrongRelu(), "input", "the mask is forgotten"),
    "weights made by the first forward": (Conv(), "input", "`=` for `+=` where windows overlap"),
    "another size": (Conv(2, 2), "input", "`=` for `+=` where windows overlap"),
    "a gradient forgotten": (Forgets(4, 3), "b", "the gradient is missing"),
    "learns before dx": (LearnsLate(4, 3), "input", "the error is everywhere"),
}


@pytest.mark.parametrize(("layer", "tensor", "words"), WRONG.values(), ids=WRONG)
def test_wrong_layers_get_the_same_diagnosis_as_ours(layer, tensor, words):
    found = checked(layer)
    assert found[tensor][0] == "WRONG" and words in found[tensor][1]
    assert all(verdict == "ok" for name, (verdict, _) in found.items() if name != tensor)


def test_the_layer_itself_is_left_alone():
    layer = Learns(4, 3)
    before = layer.W.copy()
    checked(layer)
    assert np.array_equal(layer.W, before) and not hasattr(layer, "x")


def test_our_own_style_is_not_adapted():
    from cnn.layers import Dense as Ours

    layer = Ours(3)
    assert adapted(layer) is layer
