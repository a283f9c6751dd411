"""The network as the page's engine takes it: a list of layers, each one of seven operations with its settings.

    {"shape": [28, 28, 1], "layers": [{"op": "conv", "type": "Conv2D", "name": "conv1", "in": [28, 28, 1],
        "out": [28, 28, 32], "names": {"x": "x", "z": "z1", "y": "a1", "kernel": "W1", ...},
        "learned": ["kernel", "bias"], "kernel": [3, 3], "strides": [1, 1], "padding": "same",
        "activation": {"name": "relu", "settings": {}}}, ...]}

names: a layer's tensors by their role, as in trace.Stage. op:
    conv      Conv2D: kernel, strides, padding, activation
    dense     Dense, along the last axis: activation
    max       max pooling: kernel (its window), strides, padding
    weigh     each channel is down @ x @ across^T: average pooling, borders, other sizes. rows, columns: for each row
              (column) of the output those of the input and how much of them is taken, [[[r, share], ...], ...]
    scale     y = x * factor + shift, in turns along the last axis; what is learned of it is under names
    activate  activation alone
    copy      the same numbers, perhaps in another shape: Flatten; and what acts in training only, such as Dropout
What has none of these is refused by name: the page must not guess.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.errors import UsageError
from cnn.explain.formulas import window_size
from cnn.explain.terms import switch_name
from cnn.explain.trace import Stage, Trace, is_relu
from cnn.layers import (
    ELU,
    Activation,
    ActivationFunction,
    AveragePooling2D,
    BatchNormalization,
    CenterCrop,
    Conv2D,
    Cropping2D,
    Dense,
    Elementwise,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Layer,
    LeakyReLU,
    Linear,
    MaxPooling2D,
    Normalization,
    ReLU,
    Rescaling,
    Reshape,
    Resizing,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)
from cnn.layers.resizing import parts_taken
from kernels.geometry import window_geometry

Array = np.ndarray
Shares = list[list[list[float]]]  # for each place of the output: [place in the input, how much of it]
OURS = "cnn.layers."  # only these layers are known to act in training alone, if they draw


def plan(t: Trace) -> dict:
    """The trace's network for the engine: see the module's docstring. Raises UsageError for a layer it cannot do."""
    return {"shape": list(t["x"].shape), "layers": [described(stage) for stage in t.stages]}


def described(stage: Stage) -> dict:
    """One layer. Raises UsageError where the engine has no arithmetic for it."""
    layer = stage.layer
    names = stage.names | ({"win": switch_name(stage, "win")} if "winners" in stage.names else {})
    names |= {"winners": winners_name(stage)} if operation(layer)["op"] == "max" else {}
    names |= {"open": switch_name(stage, "open")} if is_relu(stage) else {}
    about = {"type": type(layer).__name__, "name": stage.name, "names": names, "learned": list(layer.learnable)}
    shapes = {"in": list(known(layer.input_shape)), "out": list(known(layer.output_shape))}
    return {**about, **shapes, **operation(layer)}


def operation(layer: Any) -> dict:
    """{"op": ..., and its settings}. Raises UsageError for a layer that is none of the operations."""
    kind, shape = type(layer), known(layer.input_shape)
    if kind is Conv2D:
        return {"op": "conv", **window(layer, layer.kernel_size), "activation": activation(layer, layer.activation)}
    if kind is Dense:
        return {"op": "dense", "activation": activation(layer, layer.activation)}
    if kind is MaxPooling2D:
        return {"op": "max", **window(layer, layer.pool_size)}
    if kind is GlobalMaxPooling2D:
        return {"op": "max", "kernel": list(shape[:2]), "strides": [1, 1], "padding": "valid"}
    if kind in AXES:
        return {"op": "weigh", **dict(zip(("rows", "columns"), map(shares, AXES[kind](layer, shape)), strict=True))}
    if kind in (BatchNormalization, Rescaling, Normalization):
        return {"op": "scale", **scaling(layer, shape)}
    if kind is Activation or isinstance(layer, ActivationFunction):
        return {"op": "activate", "activation": activation(layer, getattr(layer, "activation", layer))}
    if kind in (Flatten, Reshape) or (layer.draws and kind.__module__.startswith(OURS)):
        return {"op": "copy", "inactive": bool(layer.draws)}
    raise refused(layer, kind.__name__)


def refused(layer: Layer, what: str) -> UsageError:
    """The one sentence about a layer that the page cannot compute."""
    return UsageError(
        f"--html: {layer}: the page's own engine has no {what}, and shows nothing that it has not computed itself; "
        "`cnn explain` without --html explains any network"
    )


def window(layer: Any, size: Sequence[int]) -> dict:
    """The engine counts the padding itself."""
    return {"kernel": list(size), "strides": list(layer.strides), "padding": layer.padding}


def activation(layer: Layer, function: Any) -> dict:
    """{"name", "settings"} of an activation. Raises UsageError for one that the engine does not have."""
    if type(function) in (Elementwise, LeakyReLU, ELU):
        return {"name": function.formula, "settings": function.settings}
    if type(function) is Softmax and function.axis != -1:
        raise refused(layer, f"Softmax along axis {function.axis}")
    if type(function) not in (ReLU, Softmax, Linear):
        raise refused(layer, type(function).__name__)
    return {"name": known(type(function).identifier), "settings": {}}


def scaling(layer: Any, shape: tuple[int, ...]) -> dict:
    """mean and deviation that are taken off and divided by; else factor and shift. One number, or as many as fit.

    epsilon and momentum where training takes the batch's own mean and deviation.
    """
    if isinstance(layer, Rescaling):
        return {"factor": layer.scale.ravel().tolist(), "shift": layer.offset.ravel().tolist()}
    if isinstance(layer, BatchNormalization):
        mean, variance = (layer.params[f"moving_{name}"].astype(np.float64) for name in ("mean", "variance"))
        deviation = np.sqrt(variance + layer.epsilon)
        learning = {"epsilon": layer.epsilon, "momentum": layer.momentum}
        return {"mean": mean.tolist(), "deviation": deviation.tolist(), **learning}
    moments = layer.moments(1 + len(shape), np.float64)
    whole_mean, spread = (np.broadcast_to(one, (1, *shape)).ravel().tolist() for one in moments)
    return {"factor": spread, "shift": whole_mean} if layer.invert else {"mean": whole_mean, "deviation": spread}


# ---- layers that are one product along the rows and one along the columns


def shares(matrix: Array) -> Shares:
    """The entries of each row that are not 0, with their places."""
    return [[[int(k), float(row[k])] for k in np.flatnonzero(row)] for row in matrix]


def pooled(length: int, size: int, stride: int, padding: str) -> Array:
    """(windows, length): the mean over the cells that a window has inside."""
    windows, before, _ = window_geometry(length, size, stride, padding)
    places = np.arange(length) - (np.arange(windows) * stride - before)[:, None]
    inside = (places >= 0) & (places < size)
    return inside / inside.sum(axis=1, keepdims=True)


def average(layer: Any, shape: tuple[int, ...]) -> list[Array]:
    """Average pooling."""
    sizes = window_size(layer)
    return [pooled(shape[k], sizes[k], layer.strides[k], layer.padding) for k in (0, 1)]


def border(layer: Any, shape: tuple[int, ...]) -> list[Array]:
    """Zeros around the photo, or less of it."""
    padding = getattr(layer, "padding", None)
    tops = [side[0] for side in padding] if padding else [-side[0] for side in layer.cropping]
    return [np.eye(out, shape[k], -tops[k]) for k, out in enumerate(layer.output_shape[:2])]


def centre(layer: Any, shape: tuple[int, ...]) -> list[Array]:
    """The middle of the photo."""
    return [np.eye(out, shape[k], (shape[k] - out) // 2) for k, out in enumerate(layer.output_shape[:2])]


def resized(layer: Any, shape: tuple[int, ...]) -> list[Array]:
    """Another size."""
    return [parts_taken(shape[k], out, layer.interpolation) for k, out in enumerate(layer.output_shape[:2])]


AXES: dict[type, Callable[[Any, tuple[int, ...]], list[Array]]] = {
    AveragePooling2D: average,
    GlobalAveragePooling2D: lambda layer, shape: [np.full((1, side), 1 / side) for side in shape[:2]],
    **dict.fromkeys((ZeroPadding2D, Cropping2D), border),
    CenterCrop: centre,
    **dict.fromkeys((Resizing, UpSampling2D), resized),
}


# ---- where rounding alone decided


def winners_name(stage: Stage) -> str:
    """What the page calls the winners of a pooling layer: as the trace, which has none for whole maps."""
    return stage.names.get("winners", f"{stage.layer.name}:winners")


def winners(t: Trace, stage: Stage) -> Array | None:
    """Which cell of its window was the largest, counted row by row, as in the trace; None for another layer."""
    if "winners" in stage.names:
        return t.get(stage, "winners")
    if isinstance(stage.layer, GlobalMaxPooling2D):
        return stage.layer.forward(t.get(stage, "x")[None])[1].winners[0]
    return None


def split_ties(t: Trace) -> dict[str, list[list[int]]]:
    """{"argmax1": [[window, its winner], ...], ...}: where of equal cells not the first won, by rounding alone.

    BLAS may add up the same numbers in another order at another place of its matrix. The page adds up all
    places alike, so there the first wins: it has to be told of these few, or it would go another way back.
    """
    found = {}
    for stage in t.stages:
        won = winners(t, stage)
        if won is not None:
            found[winners_name(stage)] = split_windows(stage.layer, t.get(stage, "x"), won)
    return found


def split_windows(layer: Any, x: Array, won: Array) -> list[list[int]]:
    """[[window, its winner], ...] of one pooling layer, from its input (H, W, C) and the winners (OH, OW, C)."""
    size, strides = getattr(layer, "pool_size", x.shape[:2]), getattr(layer, "strides", (1, 1))
    places = [window_geometry(x.shape[k], size[k], strides[k], getattr(layer, "padding", "valid")) for k in (0, 1)]
    reach = [(out - 1) * strides[k] + size[k] for k, (out, _, _) in enumerate(places)]
    around = [(before, max(0, reach[k] - before - x.shape[k])) for k, (_, before, _) in enumerate(places)]
    padded = np.pad(x, [*around, (0, 0)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, (0, 1))[:: strides[0], :: strides[1]]
    cells = windows[: places[0][0], : places[1][0]].reshape(won.size, -1)
    first = (cells >= cells.max(axis=1, keepdims=True) - 1e-12 * max(1.0, np.abs(x).max())).argmax(axis=1)
    return [[int(n), int(won.flat[n])] for n in np.flatnonzero(first != won.ravel())]


def near_corners(t: Trace) -> dict[str, list[list[float]]]:
    """{"z1": [[place, number], ...], ...}: numbers that are 0 but for rounding, before an activation.

    On which side of its corner such a number lies, rounding alone decides; so the page takes over Python's.
    """
    found = {}
    for stage in t.stages:
        role = "z" if "z" in stage.names else "x"
        if operation(stage.layer).get("activation", {"name": "linear"})["name"] != "linear":
            z = t.get(stage, role).ravel()
            small = np.abs(z) <= 1e-12 * np.abs(z).max(initial=0.0)
            found[stage.names[role]] = [[int(n), float(z[n])] for n in np.flatnonzero(small & (z != 0))]
    return found
