"""One thread through the network: a cell in every layer, each under the window of the next, walked forward and back.

A path is chosen once; every step then looks at its cells. A cell chosen in one layer fixes the
others, by one rule:

    towards the photo   the cell at the middle of the window (of an even window the first of the two in the
                        middle), kept inside the map
    towards the answer  the cell whose window contains it and has its middle nearest; the first of equals
    channels and units  stay those chosen; a pooling layer keeps its input's channel; Flatten's number is the cell's

Two neighbours are joined by a tap: the weight of the filter that one lays on the other. A weight
chosen is a tap chosen, and moves the cell before it.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.explain import parts
from cnn.explain.formulas import Step, first_stage, kind_of, pads, window_size
from cnn.explain.parts import Cursor
from cnn.explain.trace import Stage, Trace
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D

Cell = tuple[int, ...]
WEIGHTS = ("conv-dkernel", "dense-dkernel", "check")  # steps that look at a weight
NOWHERE = ("padding", "lab", "shift")  # steps that look at no cell of the path
BEFORE = ("conv-dx", "dense-dx", "through-back")  # steps that look at what a layer sends back
CHANNELS = ("conv-dx", "input-gradient")  # steps that call the last number of a place a channel


@dataclass(frozen=True)
class Path:
    """cells[0] is a place in the photo's tensor, cells[k + 1] one in the output of layer k; the last is the class."""

    cells: tuple[Cell, ...]


# ---- neighbours


def windowed(layer: Any) -> bool:
    """Whether the layer slides a window over maps."""
    return isinstance(layer, Conv2D | MaxPooling2D)


def before(stage: Stage, cell: Cell, kept: Cell) -> Cell:
    """The cell before a layer that belongs to this cell of its output; kept: the one until now, for its channel."""
    layer, shape = stage.layer, known(stage.layer.input_shape)
    if windowed(layer):
        middle = [first + (size - 1) // 2 for first, size in zip(corner(layer, cell), window_size(layer), strict=True)]
        return parts.clip((*middle, cell[2] if isinstance(layer, MaxPooling2D) else kept[2]), shape)
    if isinstance(layer, Flatten):
        return tuple(map(int, np.unravel_index(cell[0], shape)))
    return across(layer, shape, known(layer.output_shape), cell, kept)


def after(stage: Stage, cell: Cell, kept: Cell) -> Cell:
    """The cell of a layer's output that belongs to this cell before it; kept: the one until now, for its channel."""
    layer, shape = stage.layer, known(stage.layer.output_shape)
    if windowed(layer):
        axes = zip(cell, pads(layer)[::2], window_size(layer), layer.strides, shape, strict=False)
        return (*(nearest_window(*axis) for axis in axes), (cell if isinstance(layer, MaxPooling2D) else kept)[2])
    if isinstance(layer, Flatten):
        return (int(np.ravel_multi_index(cell, known(layer.input_shape))),)
    return across(layer, shape, known(layer.input_shape), cell, kept)


def corner(layer: Any, cell: Cell) -> tuple[int, int]:
    """The first row and column under the window of an output cell; they may lie in the padding."""
    top, _, left, _ = pads(layer)
    return cell[0] * layer.strides[0] - top, cell[1] * layer.strides[1] - left


def nearest_window(at: int, pad: int, size: int, stride: int, count: int) -> int:
    """Along one axis: the window, of so many, that contains the place and has its middle nearest, else the nearest."""
    starts = np.arange(count) * stride - pad
    outside = (at < starts) | (at >= starts + size)
    return int(np.lexsort((np.abs(starts + (size - 1) // 2 - at), outside))[0])


def under(layer: Any, first: Cell, second: Cell) -> bool:
    """Whether the first cell lies under the window of the second."""
    places = zip(first, corner(layer, second), window_size(layer), strict=False)
    return all(0 <= at - begin < size for at, begin, size in places)


def across(layer: Any, shape: Cell, other: Cell, cell: Cell, kept: Cell) -> Cell:
    """The neighbour, in a tensor of this shape, through a layer without windows.

    The same place where nothing moves; where only channels are mixed, the one chosen; else as far along.
    """
    if shape == other and not isinstance(layer, Dense):
        return cell
    if shape[:-1] == other[:-1]:
        return (*cell[:-1], kept[-1])
    if len(shape) == len(other):
        return parts.clip([at * size // had for at, size, had in zip(cell, shape, other, strict=True)], shape)
    if shape[-1] == other[-1]:  # pooling over whole maps
        return (*((size - 1) // 2 for size in shape[:-1]), cell[-1])
    flat = int(np.ravel_multi_index(cell, other)) * prod(shape) // prod(other)
    return tuple(map(int, np.unravel_index(flat, shape)))


# ---- choosing


def names(t: Trace) -> list[str]:
    """The tensors whose places a path's cells are: x and every layer's output."""
    return ["x", *(stage.names["y"] for stage in t.stages)]


def moved(t: Trace, path: Path, at: int, cell: Cell) -> Path:
    """The path through another cell of one tensor; all others follow. A place outside is moved inside."""
    return led(t, path, at, parts.clip(cell, t[names(t)[at]].shape))


def led(t: Trace, path: Path, at: int, cell: Cell, back: bool = True, on: bool = True) -> Path:
    """The path with another cell; back: the cells before follow; on: those behind.

    Where only a channel is new, no cell moves. A cell that no window reads is replaced by the nearest that one does.
    """
    old, cells = path.cells, [*path.cells[:at], cell, *path.cells[at + 1 :]]
    same = lambda n: cells[n][:2] == old[n][:2]
    for k in reversed(range(at if back else 0)):
        stage, found = t.stages[k], before(t.stages[k], cells[k + 1], cells[k])
        keep = windowed(stage.layer) and same(k + 1) and under(stage.layer, old[k], cells[k + 1])
        cells[k] = (*old[k][:2], found[2]) if keep else found
    for k in range(at if on else len(t.stages), len(t.stages)):
        stage, found = t.stages[k], after(t.stages[k], cells[k], cells[k + 1])
        keep = windowed(stage.layer) and same(k)
        cells[k + 1] = (*old[k + 1][:2], found[2]) if keep else found
        if windowed(stage.layer) and not under(stage.layer, cells[k], cells[k + 1]):
            return led(t, Path(tuple(cells)), k + 1, cells[k + 1])
    return Path(tuple(cells))


def weight(t: Trace, path: Path, k: int) -> tuple[int, ...]:
    """The weight of layer k on the path: (u, v, c, f) of a convolution, (n, u) of a Dense layer."""
    layer, (first, second) = t.stages[k].layer, path.cells[k : k + 2]
    if not isinstance(layer, Conv2D):
        return first[0], second[0]
    row, column = corner(layer, second)
    return first[0] - row, first[1] - column, first[2], second[2]


def through_weight(t: Trace, path: Path, k: int, chosen: tuple[int, ...]) -> Path:
    """The path that uses this weight of layer k: its filter or unit, and before it the cell on which the tap lies.

    Where that would be padding, the layer's own cell moves too.
    """
    layer, chosen = t.stages[k].layer, parts.clip(chosen, t.get(t.stages[k], "kernel").shape)
    cell, wanted = path.cells[k + 1], chosen[-1:]
    if isinstance(layer, Conv2D):
        sizes = known(layer.input_shape), known(layer.output_shape)
        axes = zip(cell, chosen, corner(layer, (0, 0)), layer.strides, *sizes, strict=False)
        wanted = (*(reaching(*axis) for axis in axes), chosen[-1])
    path = path if wanted == cell else moved(t, path, k + 1, wanted)
    begin = corner(layer, wanted) if isinstance(layer, Conv2D) else ()
    first = *(at + tap for at, tap in zip(begin, chosen, strict=False)), chosen[-2]
    return led(t, path, k, parts.clip(first, known(layer.input_shape)), on=False)


def reaching(at: int, tap: int, begin: int, stride: int, size: int, count: int) -> int:
    """Along one axis: the window nearest to this one whose tap lies inside the map."""
    inside = [i for i in range(count) if 0 <= i * stride + begin + tap < size]
    return min(inside, key=lambda i: abs(i - at), default=at)


# ---- a path and the cursors of the steps


def slot(t: Trace, step: Step) -> int | None:
    """Which of the path's cells a step looks at; None where it looks at a weight, or at none."""
    if step.kind in ("input", "input-gradient"):
        return 0
    if step.kind == "dlogits":
        return len(t.stages)
    if step.kind in (*WEIGHTS, *NOWHERE) or not 0 <= step.stage < len(t.stages):
        return None
    return step.stage + (step.kind not in BEFORE)


def weight_stage(t: Trace, step: Step) -> int | None:
    """The layer whose weight a step looks at; None where it looks at none."""
    k = first_stage(t) if step.kind == "input-gradient" else step.stage
    looks = step.kind in (*WEIGHTS, "input-gradient") and kind_of(t.stages[k]) in ("conv", "dense")
    return k if looks else None


def cursor(t: Trace, path: Path, step: Step, others: Cursor | None = None) -> Cursor:
    """Where a step looks on the path. others: what is chosen beside it: the learning rate, the lab."""
    found, at, k = others or Cursor(), slot(t, step), weight_stage(t, step)
    found = found.but(cells=path.cells, cell=None, filter=None, channel=None, unit=None, weight=None)
    if step.kind in NOWHERE:
        return found.but(cell=(others or found).cell, filter=(others or found).filter)
    if at is not None:
        found = found.but(**fields(t, step, path.cells[at]))
    if step.kind == "conv":
        found = found.but(channel=path.cells[step.stage][2])
    return found if k is None else found.but(weight=weight(t, path, k))


def fields(t: Trace, step: Step, cell: Cell) -> dict[str, Any]:
    """A cell as the fields of a cursor: cell and filter (or channel), or unit."""
    if step.kind in ("input", "input-gradient") and len(cell) == 1:
        cell = tuple(map(int, np.unravel_index(cell[0], photo_shape(t))))
    if len(cell) == 3:
        return {"cell": cell[:2], "channel" if step.kind in CHANNELS else "filter": cell[2]}
    return {"unit": cell[0]} if len(cell) == 1 else {}


def cell_of(t: Trace, step: Step, at: int, found: Cursor) -> Cell:
    """The place that a cursor's fields mean: the inverse of `fields`."""
    if found.cell is None:
        return (known(found.unit),)
    cell = (*found.cell, known(found.channel if step.kind in CHANNELS else found.filter))
    if t[names(t)[at]].ndim == 3:
        return cell
    return (int(np.ravel_multi_index(parts.clip(cell, photo_shape(t)), photo_shape(t))),)


def photo_shape(t: Trace) -> Cell:
    """The photo as (H, W, C), where the network takes it as a row."""
    height, width = t.photo.shape[:2]
    return height, width, t["x"].size // (height * width)


def follow(t: Trace, path: Path, step: Step, chosen: Cursor) -> Path:
    """The path moved to what a cursor says at this step; what it leaves open, or agrees on, moves nothing."""
    now, at, k = cursor(t, path, step), slot(t, step), weight_stage(t, step)
    new = {name: getattr(chosen, name) for name in ("cell", "filter", "channel", "unit", "weight")}
    new = {name: value for name, value in new.items() if value not in (None, getattr(now, name))}
    wanted = now.but(**{name: value for name, value in new.items() if getattr(now, name) is not None})
    if at is not None and (place := cell_of(t, step, at, wanted)) != cell_of(t, step, at, now):
        path = moved(t, path, at, place)
    if step.kind == "conv" and "channel" in new:
        before_it = (*path.cells[step.stage][:2], known(wanted.channel))
        path = led(t, path, step.stage, parts.clip(before_it, known(t.stages[step.stage].layer.input_shape)), on=False)
    return path if k is None or "weight" not in new else through_weight(t, path, k, known(wanted.weight))
