"""What a step shows, apart from how it looks: numbers with their place in the trace, small matrices, tables and sums.

A view is a pure function of the trace and a cursor. Terminal, figures and page render the
same views, so a number is chosen, added up and checked in one place.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from cnn.explain.trace import Trace
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D, place_windows

Array = np.ndarray


class Step(NamedTuple):
    """One stop of the tour. stage: the layer's place in trace.stages; -1 is the input, len(stages) softmax and loss."""

    id: str
    kind: str
    stage: int


@dataclass(frozen=True)
class Cursor:
    """Which of the many equal computations to look at; what is None is chosen: the largest number of its tensor."""

    cell: tuple[int, int] | None = None
    filter: int | None = None
    channel: int | None = None
    unit: int | None = None
    weight: tuple[int, ...] | None = None
    learning_rate: float = 0.01
    lab: object = None  # extras.LabSettings, for the step L

    def but(self, **changes) -> "Cursor":
        """This cursor with some of it changed."""
        return replace(self, **changes)


class Num(NamedTuple):
    """A number to show. kind: value, product, total (more digits), gradient (significant digits) or count."""

    value: float
    ref: str = ""  # "z1[19,11,7]": the entry of the trace that this is; empty where it is computed from such
    kind: str = "value"


class Grid(NamedTuple):
    """A small matrix. marks: "" or "pad" (outside the photo), "won" (largest of its window), "here" (the chosen one)."""

    caption: str
    values: Array  # 2-D
    kind: str = "value"
    marks: Array | None = None
    ref: str = ""  # "x[18:21,10:13,0]"


class Grids(NamedTuple):
    """Matrices side by side, with signs such as "x" and "=" between them."""

    items: list  # of Grid and str


class Table(NamedTuple):
    head: list[str]
    rows: list[list]  # of Num and str


class Line(NamedTuple):
    """A line of words and numbers."""

    parts: list  # of str and Num


class Row(NamedTuple):
    """One line of a sum: a label and a number; shown: the figures printed above that add up to it."""

    label: str
    num: Num
    shown: tuple[Num, ...] = ()


def line(*parts) -> Line:
    """line("x = ", Num(...)): a Line of these."""
    return Line(list(parts))


def grids(*items) -> Grids:
    """grids(Grid(...), "x", Grid(...)): these side by side."""
    return Grids(list(items))


def count(value: float) -> Num:
    """A whole number."""
    return Num(value, kind="count")


def gradient(value: float) -> Num:
    """A number with significant digits."""
    return Num(float(value), kind="gradient")


def percent(value: float) -> Num:
    return Num(value, kind="percent")


@dataclass(frozen=True)
class Sum:
    """Rows that add up to one entry of one tensor, and every single term behind them."""

    rows: list[Row]
    tensor: str
    index: tuple[int, ...]
    terms: Array
    total: Num
    direction: str = "forward"
    production: float = 0.0
    scale: float = 1.0  # the largest absolute value of the float32 tensor

    @property
    def difference(self) -> float:
        """float32 layer minus trace."""
        return float(self.production) - float(self.total.value)

    @property
    def agrees(self) -> bool:
        """Whether the float32 layer's number is within 1e-5 of the tensor's largest absolute value."""
        return abs(self.difference) <= 1e-5 * self.scale


class Map(NamedTuple):
    """A picture of a 2-D tensor. signed: it has positive and negative values. cursor: the place that is looked at."""

    caption: str
    values: Array
    cursor: tuple[int, int] | None = None
    signed: bool = False
    main: bool = False  # the step is about this picture: show it on small screens too


@dataclass
class View:
    """One step at one cursor. `cursor` is filled in: what was None is now what was chosen."""

    step: Step
    title: str
    formula: str
    say: str
    cursor: Cursor
    where: str = ""
    parts: list = field(default_factory=list)
    map: Map | None = None
    code: object = None  # the function whose source computes this step
    needle: str = ""  # a piece of the line in it that does

    @property
    def sums(self) -> list[Sum]:
        """The sums among the parts."""
        return [part for part in self.parts if isinstance(part, Sum)]


def steps(t: Trace) -> list[Step]:
    """The tour of this network: F1.. forward, then B1.. backward. For the article's network F1-F12 and B1-B12."""
    last = len(t.stages) - 1
    first_conv = next((k for k, s in enumerate(t.stages) if isinstance(s.layer, Conv2D)), None)
    forward, backward = [("input", -1)], []
    for k, stage in enumerate(t.stages):
        kinds = forward_kinds(stage, k == last)
        if k == first_conv:
            kinds = ["padding", *kinds]
        forward += [(kind, k) for kind in kinds]
    for k in reversed(range(last + 1)):
        kind = kind_of(t.stages[k])
        if kind in ("conv", "dense"):
            backward += [(f"{kind}-dkernel", k)] + ([(f"{kind}-dx", k)] if k > 0 else [])
        else:
            backward.append((f"{kind}-back", k))
    forward += [("softmax", last + 1)]
    backward = [("dlogits", last + 1), *backward, ("input-gradient", -1)]
    return [
        Step(f"{letter}{n}", *what)
        for letter, way in (("F", forward), ("B", backward))
        for n, what in enumerate(way, 1)
    ]


EXTRAS = {"M": "im2col", "G": "check", "L": "lab", "S": "shift"}


def find_step(t: Trace, name: str) -> Step:
    """The step of this id, M, G, L and S included. Raises ValueError for another."""
    tour = {step.id: step for step in steps(t)}
    if name.upper() in tour:
        return tour[name.upper()]
    if name.upper() in EXTRAS:
        convolutions = [k for k, stage in enumerate(t.stages) if kind_of(stage) == "conv"]
        stage = convolutions[-1] if convolutions and name.upper() == "G" else first_stage(t, Conv2D)
        return Step(name.upper(), EXTRAS[name.upper()], stage)
    last = {letter: sum(step.id[0] == letter for step in tour.values()) for letter in "FB"}
    raise ValueError(f"step: expected F1 to F{last['F']}, B1 to B{last['B']}, M, G, L or S, got {name!r}")


def first_stage(t: Trace, kind: type) -> int:
    """The place of the first layer of this kind; of the first with parameters where there is none."""
    found = [k for k, s in enumerate(t.stages) if isinstance(s.layer, kind)]
    return found[0] if found else next((k for k, s in enumerate(t.stages) if s.layer.params), 0)


def kind_of(stage) -> str:
    """conv, pool, flatten, dense, or through for what needs no arithmetic of its own."""
    layer = stage.layer
    if isinstance(layer, Dense) and len(layer.output_shape) > 1:
        return "through"  # a Dense layer along the last of several axes
    kinds = {Conv2D: "conv", MaxPooling2D: "pool", Flatten: "flatten", Dense: "dense"}
    return kinds.get(type(layer), "through")


def forward_kinds(stage, last: bool) -> list[str]:
    """A convolution with an activation takes two steps; the last Dense layer gives the logits."""
    kind = kind_of(stage)
    if kind == "conv":
        return ["conv"] if stage.names["y"] == stage.names["z"] else ["conv", "relu"]
    return ["logits"] if kind == "dense" and last else [kind]


def twin(t: Trace, step: Step) -> Step:
    """The step that goes the other way at the same layer."""
    other = "B" if step.id[0] == "F" else "F"
    same = [s for s in steps(t) if s.id[0] == other and s.stage == step.stage]
    return next((s for s in same if s.kind not in ("padding",)), same[0] if same else step)


def total(t: Trace, tensor: str, index: tuple[int, ...], terms, rows: list[Row], direction: str) -> Sum:
    """A Sum whose total is this entry of the trace, with the float32 layer's value beside it."""
    index = tuple(int(i) for i in index)
    kind = "total" if direction == "forward" else "gradient"
    array = t.production[tensor]
    scale = float(np.abs(array).max())
    number = Num(float(t[tensor][index]), ref(tensor, index), kind)
    return Sum(
        rows, tensor, index, np.asarray(terms, np.float64).reshape(-1), number, direction, float(array[index]), scale
    )


def ref(tensor: str, index) -> str:
    """z1[19,11,7]"""
    return f"{tensor}[{','.join(map(str, index))}]" if len(index) else tensor


def num(t: Trace, tensor: str, index, kind: str = "value") -> Num:
    """An entry of the trace."""
    index = tuple(int(i) for i in index)
    return Num(float(t[tensor][index]), ref(tensor, index), kind)


def largest(array: Array) -> tuple[int, ...]:
    """Where the largest absolute value stands; the first in row-major order."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(array)), array.shape))


def clip(index, shape) -> tuple[int, ...]:
    """The place, moved inside the shape: arrow keys stop at the border."""
    return tuple(int(min(max(i, 0), size - 1)) for i, size in zip(index, shape, strict=True))


def place(cursor: Cursor, array: Array) -> tuple[int, int, int]:
    """(i, j, f) in an (H, W, F) tensor: what the cursor says, the largest |value| among the rest."""
    if cursor.cell is not None and cursor.filter is not None:
        return clip((*cursor.cell, cursor.filter), array.shape)
    if cursor.cell is not None:
        i, j = clip(cursor.cell, array.shape[:2])
        return i, j, largest(array[i, j])[0]
    if cursor.filter is not None:
        f = clip((cursor.filter,), array.shape[2:])[0]
        return *largest(array[..., f]), f
    return largest(array)


def pads(layer) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a layer's sliding window."""
    size = layer.kernel_size if isinstance(layer, Conv2D) else layer.pool_size
    return place_windows(layer, layer.input_shape, size)[2]


def window_rows(layer, cell, size) -> tuple[list[int], list[int]]:
    """The rows and columns of the input under the window of an output cell; some may lie outside, in the padding."""
    top, _, left, _ = pads(layer)
    rows = [cell[0] * layer.strides[0] - top + u for u in range(size[0])]
    columns = [cell[1] * layer.strides[1] - left + v for v in range(size[1])]
    return rows, columns


def outside(rows, columns, shape) -> Array:
    """marks: "pad" where a window hangs over the edge."""
    inside = np.outer([0 <= r < shape[0] for r in rows], [0 <= s < shape[1] for s in columns])
    return np.where(inside, "", "pad").astype(object)


def span(numbers: list[int]) -> str:
    """18:21 for [18, 19, 20]"""
    return f"{numbers[0]}:{numbers[-1] + 1}"


LETTERS = {
    "x": "x",
    "z": "z",
    "y": "a",
    "kernel": "W",
    "bias": "b",
    "dx": "dx",
    "dy": "dy",
    "dz": "dz",
    "dkernel": "dW",
    "dbias": "db",
}


def letters(stage) -> dict[str, str]:
    """What formulas call the tensors of a stage: their names where those are short, else x, W, z and so on."""
    return {
        role: name if (name := stage.names.get(role, ":")).isalnum() else letter for role, letter in LETTERS.items()
    }


def at_window(layer) -> str:
    """Where a window stands, as formulas write it: i+u, j+v; with a stride i*2+u, j*2+v."""
    i, j = (letter if s == 1 else f"{letter}*{s}" for letter, s in zip("ij", layer.strides, strict=True))
    return f"{i}+u, {j}+v"


def flat_origin(t: Trace, stage: int, n: int) -> tuple[int, ...] | None:
    """(row, column, channel) that input n of a Dense layer had before Flatten; None where no Flatten came before."""
    if stage > 0 and isinstance(t.stages[stage - 1].layer, Flatten):
        return tuple(int(i) for i in np.unravel_index(n, t.stages[stage - 1].layer.input_shape))
    return None


def receptive_field(t: Trace, stage: int, cell: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """(first row, last row, first column, last column) of the photo that an output cell of this stage depends on."""
    low, high = list(cell), list(cell)
    for one in reversed(t.stages[: stage + 1]):
        layer = one.layer
        if isinstance(layer, Conv2D | MaxPooling2D):
            size = layer.kernel_size if isinstance(layer, Conv2D) else layer.pool_size
            before = pads(layer)[::2]
            for axis in (0, 1):
                low[axis] = low[axis] * layer.strides[axis] - before[axis]
                high[axis] = high[axis] * layer.strides[axis] - before[axis] + size[axis] - 1
        elif len(layer.output_shape) != 3:
            return None
    height, width = t["x"].shape[:2]
    return max(low[0], 0), min(high[0], height - 1), max(low[1], 0), min(high[1], width - 1)
