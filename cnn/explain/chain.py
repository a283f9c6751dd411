"""The chain rule on a path: its slopes, their product, how many paths there are; and where the tour begins.

Along a path the slopes multiply; the sum over all paths is the gradient.
"""

from math import prod
from typing import Any, NamedTuple

import numpy as np

from cnn.checks import known
from cnn.explain import parts, path
from cnn.explain.formulas import Step, first_stage, kind_of, window_size
from cnn.explain.parts import Cursor, Num, ref
from cnn.explain.path import Cell, Path
from cnn.explain.terms import switch_name, win
from cnn.explain.trace import Stage, Trace, is_relu
from cnn.explain.voice import SAID
from cnn.layers import Dense, Flatten, MaxPooling2D

TRIES = 50  # cells of the first layer from which a path is begun, until one carries anything


class Link(NamedTuple):
    """One factor of the chain: how much one number changes with another. name: the factor's own."""

    of: str
    by: str
    name: str
    slope: Num


def links(t: Trace, way: Path) -> list[Link]:
    """The factors from the loss back to the weight of the first layer with weights, each the slope of one by the next.

    Their product is what this path adds to that weight's gradient.
    """
    cell = way.cells[-1]
    found = [Link("loss", ref(path.names(t)[-1], cell), ref("dlogits", cell), parts.num(t, "dlogits", cell))]
    for k in reversed(range(first_stage(t), len(t.stages))):
        found += layer_links(t, way, k)
    return found


def layer_links(t: Trace, way: Path, k: int) -> list[Link]:
    """A layer's factors on the path: its activation's, then its weight; of the first layer its weight's: the input."""
    stage, (first, second) = t.stages[k], way.cells[k : k + 2]
    x, y = ref(stage.names["x"], first), ref(stage.names["y"], second)
    if kind_of(stage) == "flatten":
        return [Link(y, x, SAID["same"], Num(1.0, kind="count"))]
    if kind_of(stage) == "pool":
        window = (*(at - begin for at, begin in zip(first, path.corner(stage.layer, second), strict=False)), *second)
        switch = switch_name(stage, "win")
        return [Link(y, x, ref(switch, window), Num(float(win(t, stage)[window]), kind="count"))]
    if kind_of(stage) not in ("conv", "dense"):
        return [Link(y, x, SAID["own"], Num(slope(stage.layer, t.get(stage, "x"), first, second)))]
    found, z = [], ref(stage.names["z"], second)
    if is_relu(stage):
        switch = ref(switch_name(stage, "open"), second)
        found = [Link(y, z, switch, Num(float(t.get(stage, "z")[second] > 0), kind="count"))]
    elif y != z:
        found = [Link(y, z, SAID["bend"], Num(slope(stage.layer.activation, t.get(stage, "z"), second, second)))]
    kernel, place = stage.names["kernel"], path.weight(t, way, k)
    if k == first_stage(t):
        return [*found, Link(z, ref(kernel, place), x, parts.num(t, stage.names["x"], first))]
    return [*found, Link(z, x, ref(kernel, place), parts.num(t, kernel, place))]


def slope(layer: Any, x: np.ndarray, first: Cell, second: Cell) -> float:
    """How much a layer's output at the second place changes with its input at the first: by its own backward."""
    y, cache = layer.forward(x[None])
    chosen = np.zeros_like(y)
    chosen[(0, *second)] = 1.0
    return float(layer.backward(chosen, cache)[0][(0, *first)])


def product(factors: list[Link]) -> float:
    """The factors multiplied: one path's share of the gradient."""
    return prod(link.slope.value for link in factors)


def count(t: Trace, way: Path) -> int | None:
    """How many paths lead from that weight to the loss; None where a layer is none that this module knows."""
    k = first_stage(t)
    stage = t.stages[k]
    reached: Any = np.zeros(known(stage.layer.output_shape), object)  # whole numbers of any size
    *taps, _, f = path.weight(t, way, k)
    reached[..., f] = 1
    if taps:
        axes = zip(taps, path.corner(stage.layer, (0, 0)), stage.layer.strides, stage.layer.input_shape, strict=False)
        rows, columns = (reading(*axis, size) for axis, size in zip(axes, reached.shape, strict=False))
        reached[..., f] = np.outer(rows, columns)
    for stage in t.stages[k + 1 :]:
        reached = onwards(stage, reached)
        if reached is None:
            return None
    return int(reached.sum())


def reading(tap: int, begin: int, stride: int, size: int, count: int) -> list[int]:
    """Along one axis: 1 for each window whose tap lies inside the map, else 0."""
    return [int(0 <= i * stride + begin + tap < size) for i in range(count)]


def onwards(stage: Stage, reached: np.ndarray) -> np.ndarray | None:
    """How many paths reach each cell of a layer's output, from how many reach those before it."""
    layer, shape = stage.layer, known(stage.layer.output_shape)
    if path.windowed(layer):
        counts = reached if isinstance(layer, MaxPooling2D) else np.repeat(reached.sum(-1, keepdims=True), shape[2], -1)
        for axis, size in enumerate(window_size(layer)):
            begins = [i * layer.strides[axis] + path.corner(layer, (0, 0))[axis] for i in range(shape[axis])]
            counts = np.stack(
                [counts.take(range(max(b, 0), min(b + size, counts.shape[axis])), axis).sum(axis) for b in begins], axis
            )
        return counts
    if isinstance(layer, Dense):
        return np.repeat(reached.sum(-1, keepdims=True), shape[-1], -1)
    if isinstance(layer, Flatten) or shape == layer.input_shape:
        return reached.reshape(shape)
    return None


# ---- the path that the tour begins with


def start(t: Trace) -> Path:
    """The path that the tour begins with, ending at the class that is explained.

    It goes through the cell of the first layer with weights whose number times its gradient is largest, then through
    the channels and the unit by which most of the gradient comes back.
    """
    stage, at = t.stages[first_stage(t)], first_stage(t) + 1
    nowhere = Path(tuple((0,) * t[name].ndim for name in path.names(t)))
    if kind_of(stage) not in ("conv", "dense"):
        return path.moved(t, nowhere, len(t.stages), (t.target,))
    counts = np.abs(t.get(stage, "y") * t.get(stage, "dy"))
    places = [np.unravel_index(n, counts.shape) for n in np.argsort(-counts, axis=None, kind="stable")[:TRIES]]
    for place in places:  # the first may lose its pool, or stand on black: its path carries nothing
        way = begun(t, path.moved(t, nowhere, at, tuple(map(int, place))), at)
        if product(links(t, way)):
            return way
    return begun(t, path.moved(t, nowhere, at, tuple(map(int, places[0]))), at)


def begun(t: Trace, way: Path, at: int) -> Path:
    """This path with its channels and units chosen as `start` says, from the tensor at which it was chosen."""
    for k in reversed(range(at)):
        way = path.led(t, way, k, strongest(t, way, k, back=True), on=False)
    for k in range(at, len(t.stages)):
        way = path.led(t, way, k + 1, strongest(t, way, k, back=False), back=False)
    return path.led(t, way, len(t.stages), (t.target,), back=False)


def strongest(t: Trace, way: Path, k: int, back: bool) -> Cell:
    """Of layer k the input cell with the channel that gives it most, or the output cell with that which sends most."""
    stage, chosen, role = t.stages[k], way.cells[k + (not back)], "x" if back else "dz"
    if kind_of(stage) not in ("conv", "dense"):
        return chosen
    kernel, place = t.get(stage, "kernel"), path.weight(t, way, k)
    weights = kernel[place[:-2]][:, place[-1]] if back else kernel[place[:-1]]
    return (*chosen[:-1], *parts.largest(weights * t.get(stage, role)[chosen[:-1]]))


def looked_at(t: Trace, step: Step, chosen: Cursor | None = None) -> Cursor:
    """Where a step looks when nothing else was: on the tour's first path, moved to what is chosen."""
    chosen = chosen or Cursor()
    way = Path(chosen.cells) if chosen.cells else start(t)
    return path.cursor(t, path.follow(t, way, step, chosen), step, chosen)
