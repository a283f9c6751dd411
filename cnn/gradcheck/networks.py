"""A whole network: every gradient against slopes of the loss, and where one is wrong, the layer whose fault it is.

A wrong dx spoils the gradients of all layers below it, whose code is right. So where something is wrong each layer is
tried alone, from the last to the first, on the activations and the gradient from above that really arrive.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.gradcheck import states
from cnn.gradcheck.cases import Case
from cnn.gradcheck.counterparts import INPUT
from cnn.gradcheck.diagnosis import Diagnosis, diagnose
from cnn.gradcheck.report import sentences
from cnn.gradcheck.slopes import (
    ENOUGH,
    LAST_STEPS,
    STEPS,
    TOLERANCE,
    Entry,
    Measure,
    Pass,
    TensorCheck,
    check_entry,
    check_tensor,
)
from cnn.gradcheck.trials import Trial, check_gradient, jacobian, slopes_of
from cnn.layers import Layer
from cnn.models import Sequential
from cnn.training.batches import check_batch
from kernels import blas

Array = np.ndarray
LOOSE = 1e-6  # the tolerance of a layer on its own, where the network as a whole has been found wrong
FEW = 60  # numbers of each tensor that show which layer it is; all that were asked for where they show nothing
LOSS = "loss"  # the name under which dL/doutputs is checked where something is wrong


def check_model(
    model: Sequential,
    x: ArrayLike,
    y: ArrayLike,
    samples: int | None = 60,
    names: Collection[str] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> list[TensorCheck]:
    """Check the gradient of every parameter and of the input, for the loss of photos x (N, ...) of classes y (N,).

    samples: how many entries of each tensor, at least 30, drawn with `seed` (None: all). names: only
    these tensors, such as "conv2d/kernel" or "input". The model must be compiled; it is
    not changed. Where a gradient is WRONG its diagnosis names the layer at fault, and what else is wrong in that layer
    is added to the results: its dx as "conv2d_1/input". Raises ValueError for bad arguments, and Refusal, which is one,
    for a layer whose forward or backward cannot be used at all.
    """
    if samples is not None:
        checks.whole("check_model", "samples", samples, low=ENOUGH)
    problem = Problem(model, x, y)
    rng = np.random.default_rng(checks.whole("check_model", "seed", seed, 0, 2**32 - 1))
    results = [problem.check(name, samples, rng, tolerance) for name in names or problem.arrays]
    if any(result.verdict == "WRONG" for result in results):
        return explained(results, problem, samples, seed)
    return results


def check_weight(model: Sequential, x: ArrayLike, y: ArrayLike, name: str, index: tuple[int, ...]) -> Entry:
    """Check one number alone, such as check_weight(model, x, y, "conv2d/kernel", (0, 2, 0, 5)). Raises ValueError."""
    array, gradient, measure, reach = Problem(model, x, y).parts(name)
    index = tuple(index)
    if len(index) != array.ndim or not all(0 <= i < size for i, size in zip(index, array.shape, strict=True)):
        raise ValueError(f"check_weight: index: expected a place in {name} of shape {array.shape}, got {index}")
    return check_entry(
        array, index, gradient[index], measure, reach, STEPS + LAST_STEPS
    )  # no other entry can take its place


class Problem:
    """A float64 copy of a model with its photos and gradients, whose numbers can be moved and the loss measured."""

    def __init__(self, model: Sequential, x: ArrayLike, y: ArrayLike):
        x, self.y, _ = check_batch(model, "gradcheck", x, y)
        self.model, self.x = model.astype(np.float64), np.array(x, np.float64)
        self.arrays = {**{key: self.model.params[key] for key in self.model.learnable}, INPUT: self.x}
        self.layers = self.model.logit_layers()
        try:
            _, gradients, dx = self.model.loss_and_gradients(self.x, self.y, input_gradient=True)
        except Exception as error:
            found = sentences(list(faults(self, ENOUGH, seed=0).values()))  # or it raises for a layer without an answer
            if not found:
                raise
            raise states.Refusal("; ".join(found)) from error
        self.gradients = {**gradients, INPUT: dx}

    def parts(self, name: str) -> tuple[Array, Array, Measure, float]:
        """A tensor, its gradient, the loss as a function of it, and how far moving it by 1 may move the sums it is in.

        Layers before the tensor's own do not depend on it and run once and for all. Raises ValueError for a wrong name.
        """
        if name not in self.arrays:
            raise ValueError(f"gradient check: name: expected one of {', '.join(self.arrays)}, got {name!r}")
        first = 0 if name == INPUT else [layer.name for layer in self.layers].index(name.rpartition("/")[0])
        start, _ = run_layers(self.layers[:first], self.x)

        def measure():
            outputs, passes = run_layers(self.layers[first:], start.copy())  # the input itself will be moved again
            loss, _ = self.model.loss_and_gradient(self.y, outputs, len(outputs))
            return loss + self.model.penalty(), passes

        return self.arrays[name], self.gradients[name], measure, max(1.0, float(np.abs(start).max()))

    def check(self, name: str, samples: int | None, rng: np.random.Generator, tolerance: float) -> TensorCheck:
        """One tensor against slopes. Raises ValueError for a wrong name."""
        if name in self.arrays and name not in self.gradients:
            return TensorCheck(name, self.arrays[name].shape, [], tolerance, states.missing(name, {}))
        array, gradient, measure, reach = self.parts(name)
        problem = states.unusable(gradient) or states.misshapen(gradient, array.shape)
        if problem:
            return TensorCheck(name, array.shape, [], tolerance, problem)
        return check_tensor(name, array, gradient, measure, reach, samples, rng, tolerance)


def run_layers(layers: list[Layer], x: Array) -> tuple[Array, list[Pass]]:
    """The outputs of layers in a row, and what each of them did. BLAS runs one thread: the products are small."""
    passes = []
    with blas.single_threaded():
        for layer in layers:
            y, cache = layer.forward(x)
            passes.append(Pass(layer, x, cache))
            x = y
    return x, passes


# ---- whose fault it is


def explained(results: list[TensorCheck], problem: Problem, samples: int | None, seed: int) -> list[TensorCheck]:
    """The results with a diagnosis of each that is wrong, and what else is wrong in the layers at fault."""
    few = min(samples or FEW, FEW)
    found = faults(problem, few, seed) or faults(problem, samples, seed)
    first = f"{problem.layers[0].name}/{INPUT}"
    told = [
        result._replace(diagnosis=diagnosis_of(result, found, problem, first)) if result.verdict == "WRONG" else result
        for result in results
    ]
    listed = {first if result.name == INPUT else result.name for result in results}
    return told + [fault for name, fault in found.items() if name not in listed]


def diagnosis_of(result: TensorCheck, found: dict[str, TensorCheck], problem: Problem, first: str) -> Diagnosis:
    """The layer's own mistake, or the layer above from which the error came."""
    name = first if result.name == INPUT else result.name
    if name in found:
        return checks.known(found[name].diagnosis)
    order = [layer.name for layer in problem.layers]
    place = order.index(name.rpartition("/")[0])
    above = [f"{layer}/{INPUT}" for layer in order[place + 1 :]] + [LOSS]
    culprit = next((fault for fault in above if fault in found), None)
    if culprit is not None:
        layer = checks.known(found[culprit].diagnosis).layer
        what = "the gradient of the loss" if culprit == LOSS else f"the dx of {layer}, above it,"
        return Diagnosis("follows", f"not this layer's fault: {what} is wrong", layer=layer)
    if result.diagnosis is not None:
        return result.diagnosis
    here = diagnose(Case(result.name, slopes_of(result), problem.gradients[result.name], kind="weights"))
    return here._replace(sentence=f"each layer alone is right to {LOOSE:.0e}, the whole is not: {here.sentence}")


def faults(problem: Problem, samples: int | None, seed: int) -> dict[str, TensorCheck]:
    """{"conv2d_1/input": ..., "loss": ...}: what is wrong in each layer alone and in the loss. Raises Refusal.

    Each layer is tried on the input and the gradient from above that it has in this network.
    """
    x, inputs = problem.x, []
    for layer in problem.layers:
        inputs.append(x)
        x, _ = states.forward(str(layer.name), layer, x.copy(), False, None)
    outputs = {str(layer.name): y for layer, y in zip(problem.layers, [*inputs[1:], x], strict=True)}
    wrong = check_loss(problem, x, samples, seed)
    found = {LOSS: wrong} if wrong else {}
    dy: Any = problem.model.loss_and_gradient(problem.y, x, len(x))[1]
    for layer, x in zip(reversed(problem.layers), reversed(inputs), strict=True):
        others = {name: y for name, y in outputs.items() if name != layer.name}
        trial = Trial(layer, x, seed=seed, dy=dy, outputs=others)
        for result in trial.check(samples, LOOSE):
            if result.verdict == "WRONG":
                name, diagnosis = f"{layer.name}/{result.name}", checks.known(result.diagnosis)
                found[name] = result._replace(name=name, diagnosis=diagnosis._replace(layer=layer.name))
        dy = trial.dx
        if states.unusable(dy) or np.shape(dy) != x.shape:
            break
    return found


def check_loss(problem: Problem, outputs: Array, samples: int | None, seed: int) -> TensorCheck | None:
    """The loss's own gradient, where it is wrong."""
    outputs = outputs.copy()

    def run():
        return np.array([problem.model.loss_and_gradient(problem.y, outputs, len(outputs))[0]])

    def measure():
        return float(run()[0]), []

    _, gradient = problem.model.loss_and_gradient(problem.y, outputs, len(outputs))
    rng = np.random.default_rng(seed)

    def case(result: TensorCheck) -> Case:
        right = jacobian(run, outputs).reshape(outputs.shape)
        return Case(LOSS, right, gradient, kind="photos", value=outputs, x=outputs)

    result = check_gradient(LOSS, outputs, gradient, measure, samples, rng, LOOSE, case)
    if result.verdict != "WRONG":
        return None
    return result._replace(diagnosis=checks.known(result.diagnosis)._replace(layer=LOSS))
