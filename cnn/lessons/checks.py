"""The checkpoints of the notebooks: a student's number beside the library's own trace, and a kind word about it.

Each checkpoint knows the right numbers and what people often write instead, both computed from the trace at hand,
so that it works for any photo, any network of the article's form and any place in it.
"""

from typing import Any, NamedTuple

import numpy as np

from cnn.explain.trace import Trace
from cnn.lessons.verdict import Verdict, judge

Array = np.ndarray


class Checks:
    """The checkpoints for one trace. Raises ValueError for a network that is not the article's."""

    def __init__(self, trace: Trace):
        if not trace.article:
            raise ValueError(f"{trace.model}: lessons: expected the article's network, two convolutions and two Dense")
        self.t = trace

    # ---- forward

    def pixel(self, answer: Any, i: int, j: int) -> Verdict:
        """x[i,j]: the byte as the network takes it."""
        x = self.t["x"][..., 0]
        misses = {
            "that is the byte itself: the network takes it divided by 255": 255 * x[i, j],
            "that is 1 minus the pixel: 0 is black here, and 1 is white": 1 - x[i, j],
        }
        if min(i, j) > 0:
            misses["that is the pixel one row above and one column before: rows and columns are counted from 0"] = x[
                i - 1, j - 1
            ]
        if i != j and max(i, j) < min(x.shape):
            misses["row and column changed places: the row comes first"] = x[j, i]
        return judge(f"x[{i},{j}]", answer, x[i, j], misses, "Take the byte at this place and divide it by 255.")

    def products(self, answer: Any, i: int, j: int, f: int) -> Verdict:
        """The nine products of a cell of conv1, (3, 3)."""
        window, kernel, _ = self._cell(i, j, f)
        misses = {
            "that is the matrix product @: here each number meets the one at the same place, with *": window @ kernel,
            "that is the sum of window and filter: they are multiplied": window + kernel,
            "the filter was turned by 180 degrees: lay it on as it is": window * kernel[::-1, ::-1],
            "the filter was transposed: lay it on as it is": window * kernel.T,
        }
        right = window * kernel
        return judge("the nine products", answer, right, misses, "Multiply what lies at the same place.")

    def cell(self, answer: Any, i: int, j: int, f: int) -> Verdict:
        """z1[i,j,f]: one cell of the first convolution."""
        (window, kernel, bias), right = self._cell(i, j, f), self.t["z1"][i, j, f]
        misses = {
            "the bias is missing: add b1[f] to the sum": right - bias,
            "the bias was taken away: it is added": right - 2 * bias,
            "the filter was turned by 180 degrees: lay it on as it is": (window * kernel[::-1, ::-1]).sum() + bias,
            "that is the mean of the products: a convolution adds them up": (window * kernel).mean() + bias,
            "that is already after the ReLU: here we want the sum itself": max(0.0, right),
            "that is the largest product alone: add up all nine": (window * kernel).max(),
        }
        height, width = self.t["z1"].shape[:2]
        if i + 1 < height and j + 1 < width:
            late = "your window begins at the cell itself: it begins one row above and one column before"
            misses[late] = self.t["z1"][i + 1, j + 1, f]
        return judge(f"z1[{i},{j},{f}]", answer, right, misses, "Add up the nine products, then add the bias.")

    def relu(self, answer: Any, i: int, j: int, f: int) -> Verdict:
        """a1[i,j,f]: a cell after the ReLU."""
        z = self.t["z1"][i, j, f]
        misses = {
            "that is z itself: the ReLU makes 0 of what is negative": z,
            "that is the size of z without its sign: the ReLU makes 0 of what is negative": abs(z),
            "the ReLU keeps what is positive and closes what is negative: you have it the other way round": min(0.0, z),
        }
        return judge(f"a1[{i},{j},{f}]", answer, self.t["a1"][i, j, f], misses, "Take the larger of 0 and z.")

    def pool(self, answer: Any, i: int, j: int, f: int) -> Verdict:
        """p1[i,j,f]: the winner of a window of 2 x 2."""
        window = self.t["a1"][2 * i : 2 * i + 2, 2 * j : 2 * j + 2, f]
        misses = {
            "that is the mean of the four: max pooling takes the largest": window.mean(),
            "that is the sum of the four: max pooling takes the largest": window.sum(),
            "that is the smallest of the four: max pooling takes the largest": window.min(),
            "that is the upper left number: look for the largest of the four": window[0, 0],
        }
        return judge(f"p1[{i},{j},{f}]", answer, self.t["p1"][i, j, f], misses, "Take the largest of the four numbers.")

    def count(self, answer: Any, layer: str) -> Verdict:
        """How many weights and biases a layer has: "conv1", "conv2", "dense" or "output"."""
        stage = next((s for s in self.t.stages if s.name == layer and s.layer.params), None)
        if stage is None:
            raise ValueError(f"count: expected conv1, conv2, dense or output, got {layer!r}")
        kernel = self.t.get(stage, "kernel")
        misses = {"the biases are missing: one for each filter or unit": kernel.size}
        if kernel.ndim == 4 and kernel.shape[2] > 1:
            each = kernel.size // kernel.shape[2]
            misses["a filter goes through all the maps before it: times their number"] = each + kernel.shape[-1]
        hint = "Weights of one filter or unit, plus its bias, times how many there are."
        return judge(f"parameters of {layer}", answer, stage.layer.count_params(), misses, hint, exact=True)

    def softmax(self, answer: Any) -> Verdict:
        """p (10,): the probabilities of the classes."""
        z, p = self.t["z4"], self.t["p"]
        powers = np.exp(z - z.max())
        misses = {
            "these are the exponentials: divide them by their sum": np.exp(z),
            "these are the exponentials with the largest taken off: divide them by their sum": powers,
            "that is z divided by its sum: take exp of each z first": z / z.sum(),
            "that is the logarithm of p": np.log(np.maximum(p, 1e-300)),
        }
        return judge("p", answer, p, misses, "exp of each z, then divided by the sum of all of them.")

    def loss(self, answer: Any) -> Verdict:
        """-log p of the target class."""
        p = self.t["p"][self.t.target]
        misses = {
            "the sign: the logarithm of a number below 1 is negative, so the loss has a minus in front": np.log(p),
            "that is p itself: take -log of it": p,
            "that is 1 - p: take -log of p": 1 - p,
            "that is the logarithm to the base 10: here it is the natural one, np.log": -np.log10(p),
        }
        return judge("the loss", answer, self.t.loss, misses, f"-np.log of p[{self.t.target}].")

    # ---- backward

    def slope(self, answer: Any, a: float, w: float, t: float) -> Verdict:
        """The slope of (w*a - t)**2 by w; measured by a nudge of 0.01 it is near enough."""
        out = w * a
        misses = {
            "the two is missing: the slope of d*d is 2*d": (out - t) * a,
            "the last link is missing: moving w by 1 moves out by a, so times a": 2 * (out - t),
            "that is the loss: how much does it change for each step of w?": (out - t) ** 2,
            "divide the change of the loss by the nudge": 2 * (out - t) * a / 100,
        }
        hint = "Change w a little. How much does the loss change for each unit of w?"
        return judge("the slope", answer, 2 * (out - t) * a, misses, hint, tolerance=1e-2)

    def chain(self, answer: Any, a: float, w1: float, w2: float, t: float) -> Verdict:
        """The slope of (w2 * relu(w1*a) - t)**2 by w1."""
        z = w1 * a
        opened, out = float(z > 0), w2 * max(0.0, z)
        whole = 2 * (out - t) * w2 * a
        links = {"w2": whole / w2 if w2 else 0.0, "a": whole / a if a else 0.0, "2*(out - t)": w2 * a}
        misses = {f"the link {name} is missing": value * opened for name, value in links.items()}
        if not opened:
            misses["the ReLU is closed here: nothing gets through, the slope of that link is 0"] = whole
        hint = "Multiply the four links: 2*(out - t), w2, the gate of the ReLU (1 or 0), a."
        return judge("the slope of w1", answer, whole * opened, misses, hint, tolerance=1e-2)

    def error(self, answer: Any) -> Verdict:
        """dlogits (10,): p - y."""
        p, right = self.t["p"], self.t["dlogits"]
        misses = {
            "that is y - p: the other way round, said minus should": -right,
            "that is p: take away 1 at the right class": p,
            "that is y: how far is p from it?": p - right,
            "divided by 10: that would be a mean over the classes, but each class has its own error": right / 10,
        }
        return judge("p - y", answer, right, misses, "p, with 1 taken away at the right class.")

    def dense(self, answer: Any, u: int, k: int) -> Verdict:
        """dW4[u,k]: a weight of the last layer."""
        a, error, w = self.t["a3"][u], self.t["dlogits"][k], self.t["W4"][u, k]
        misses = {
            "that is what came in: times the error of the class": a,
            "that is the error of the class: times what came in": error,
            "that is the weight times the error: it is what came in that counts": w * error,
            "that is the weight times what came in, as on the way forward: here it is input times error": w * a,
        }
        hint = "What came in through this weight, times the error where it ends."
        return judge(f"dW4[{u},{k}]", answer, self.t["dW4"][u, k], misses, hint)

    def filter_weight(self, answer: Any, u: int, v: int, f: int) -> Verdict:
        """dW1[u,v,0,f]: a weight of a filter, used at every place."""
        right, x = self.t["dW1"][u, v, 0, f], np.pad(self.t["x"][..., 0], 1)
        height, width = self.t["z1"].shape[:2]
        seen, dz, da = x[u : u + height, v : v + width], self.t["dz1"][..., f], self.t["da1"][..., f]
        misses = {
            "that is the mean over the places: add them up": right / dz.size,
            "the ReLU's gate is missing: where z1 is negative nothing comes back; take dz1": (seen * da).sum(),
            "the photo was not moved: this weight sees the pixel u-1 rows and v-1 columns away": (
                x[1:-1, 1:-1] * dz
            ).sum(),
            "that is the weight at the opposite place of the filter": self.t["dW1"][2 - u, 2 - v, 0, f],
            "that is the sum of dz1, the gradient of the bias: multiply with what the weight saw first": dz.sum(),
            "that is the largest of the products alone: add up all places": _largest(seen * dz),
        }
        hint = "At each place: what the weight was multiplied with, times dz1 there. Add up all places."
        return judge(f"dW1[{u},{v},0,{f}]", answer, right, misses, hint)

    def first_step(self, answer: Any, a: float, w: float, t: float, rate: float) -> Verdict:
        """w after one step on (w*a - t)**2; with a measured slope it is near enough."""
        return self.moved(answer, w, 2 * (w * a - t) * a, rate, tolerance=1e-2)

    def moved(self, answer: Any, w: float, gradient: float, rate: float, tolerance: float = 1e-5) -> Verdict:
        """A weight after one step: w - rate * gradient."""
        misses = {
            "that went uphill: the step goes against the gradient": w + rate * gradient,
            "the rate is missing: only a small part of the gradient is taken": w - gradient,
            "that is the step alone: take it away from w": rate * gradient,
            "that is the weight as it was": w,
        }
        right = w - rate * gradient
        return judge("the new weight", answer, right, misses, "w - rate * gradient.", tolerance)

    def guessing(self, answer: Any) -> Verdict:
        """The loss of a network that gives every class the same probability."""
        count = len(self.t["p"])
        misses = {
            "that is the probability: take -log of it": 1 / count,
            "the logarithm to the base 10 was taken: here it is the natural one, np.log": np.log10(count),
        }
        return judge("the loss of pure guessing", answer, np.log(count), misses, f"-np.log of 1/{count}.")

    def _cell(self, i: int, j: int, f: int) -> "Cell":
        window = np.pad(self.t["x"][..., 0], 1)[i : i + 3, j : j + 3]
        return Cell(window, self.t["W1"][:, :, 0, f], float(self.t["b1"][f]))


class Cell(NamedTuple):
    """What a cell of conv1 is made from: what it sees of the photo, zeros around it; the filter; its bias."""

    window: Array
    kernel: Array
    bias: float


def _largest(products: Array) -> float:
    """The one with the largest absolute value."""
    return float(products.flat[np.abs(products).argmax()])
