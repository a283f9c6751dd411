"""What a step shows, apart from how it looks: numbers with their place in the trace, small matrices, tables and sums.

Terminal and page without JavaScript render the same parts, and the figures draw them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnn.explain import voice
from cnn.explain.formulas import Formula, Step
from cnn.explain.terms import Terms
from cnn.explain.trace import Trace

Array = np.ndarray


@dataclass(frozen=True)
class Cursor:
    """Which of the many equal computations to look at; what is None is chosen: the largest number of its tensor."""

    cell: tuple[int, int] | None = None
    filter: int | None = None
    channel: int | None = None
    unit: int | None = None
    weight: tuple[int, ...] | None = None
    learning_rate: float = 0.01
    lab: voice.LabSettings | None = None
    cells: tuple[tuple[int, ...], ...] | None = None  # the path's, see path.py

    def but(self, **changes: Any) -> "Cursor":
        """This cursor with some of it changed."""
        return replace(self, **changes)


class Num(NamedTuple):
    """A number to show. kind: how it is printed, see voice.FORMATS."""

    value: float
    ref: str = ""  # "z1[19,11,7]": the entry of the trace that this is; of a product or partial sum see Scene.of_terms
    kind: str = "value"

    def text(self, digits: int = voice.DIGITS) -> str:
        """As it is printed."""
        return voice.number(self.value, self.kind, digits)


class Grid(NamedTuple):
    """A small matrix. marks: "", "pad" (outside the photo), "won" (largest of its window), "here" (chosen), "blank"."""

    caption: str
    values: Array  # 2-D
    kind: str = "value"
    marks: Array | None = None
    ref: str = ""  # "x[18:21,10:13,0]", or of each number with {u}, {v} for its row and column, {n} for its place


class Grids(NamedTuple):
    """Matrices side by side, with signs such as "x" and "=" between them."""

    items: list  # of Grid and str


class Table(NamedTuple):
    """Rows under a head."""

    head: list[str]
    rows: list[list]  # of Num, str and Line


class Line(NamedTuple):
    """A line of words and numbers."""

    parts: list  # of str and Num


class Row(NamedTuple):
    """One line of a sum: a label and a number; shown: the figures printed above that add up to it."""

    label: str
    num: Num
    shown: tuple[Num, ...] = ()


@dataclass(frozen=True)
class Sum:
    """Rows that add up to one entry of one tensor, and every single term behind them."""

    rows: list[Row]
    tensor: str
    index: tuple[int, ...]
    terms: Array
    total: Num
    production: float = 0.0  # by the float32 layers
    scale: float = 1.0  # the largest absolute value of the float32 tensor
    of: Terms | None = None  # the sentence's terms, where they are those of a sentence

    @property
    def difference(self) -> float:
        """float32 layer minus trace."""
        return float(self.production) - float(self.total.value)

    @property
    def agrees(self) -> bool:
        """Whether the float32 layer's number is near enough, measured by the tensor's largest absolute value."""
        return abs(self.difference) <= voice.TOLERANCES["float32"] * self.scale


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

    words: Formula
    cursor: Cursor
    where: str = ""
    parts: list = field(default_factory=list)
    map: Map | None = None

    @property
    def step(self) -> Step:
        """The step that it shows."""
        return self.words.step

    @property
    def sums(self) -> list[Sum]:
        """The sums among the parts."""
        return [part for part in self.parts if isinstance(part, Sum)]


def line(words: str, *items: "Num | Line | str") -> Line:
    """line("x = {}", Num(...)): these in the places of {}; a name from outside is an item too."""
    return Line([part for pair in zip_longest(words.split("{}"), items, fillvalue="") for part in pair])


def count(value: float) -> Num:
    """A whole number."""
    return Num(value, kind="count")


def gradient(value: float) -> Num:
    """A number with significant digits."""
    return Num(float(value), kind="gradient")


def nums(values: Array, kind: str) -> tuple[Num, ...]:
    """All these numbers, row by row."""
    return tuple(Num(float(value), kind=kind) for value in np.ravel(values))


def percent(mask: Array) -> Num:
    """How many of these are true, of a hundred."""
    return Num(100 * float(np.mean(mask)), kind="percent")


def ref(tensor: str, index: Sequence[int]) -> str:
    """z1[19,11,7]"""
    return f"{tensor}[{','.join(map(str, index))}]" if len(index) else tensor


def num(t: Trace, tensor: str, index: Sequence[int], kind: str = "") -> Num:
    """An entry of the trace, printed as such entries are unless a kind is given."""
    index = tuple(int(i) for i in index)
    return Num(float(t[tensor][index]), ref(tensor, index), kind or kind_of_tensor(tensor))


def kind_of_tensor(name: str, plain: str = "") -> str:
    """How a tensor's entries are printed: gradients, weights and what comes before the ReLU have a sign.

    plain: instead, where they are no gradients.
    """
    if name.startswith("d") if name.isalnum() else name.endswith((":backward", ":dz", ":gradient")):
        return "gradient"
    signed = (name.isalnum() and name[0] in "Wbz") or "/" in name or name.endswith(":z")
    return plain or ("signed" if signed else "value")


def total(t: Trace, tensor: str, index: Sequence[int], terms: ArrayLike, *rows: Row) -> Sum:
    """A Sum whose total is this entry of the trace, with the float32 layer's value beside it."""
    index, array = tuple(int(i) for i in index), t.production[tensor]
    number = num(t, tensor, index, kind_of_tensor(tensor, "total"))
    terms = np.asarray(terms, np.float64).reshape(-1)
    return Sum(list(rows), tensor, index, terms, number, float(array[index]), float(np.abs(array).max()))


def summed(t: Trace, terms: Terms, *rows: Row, label: str = "", shown: tuple[Num, ...] = ()) -> Sum:
    """The sum of a sentence's terms: all products in one row unless other rows are given, and the bias, if any."""
    kind = kind_of_tensor(terms.sentence.out.tensor, "total")
    products, start = terms.terms.reshape(-1), terms.sentence.start
    rows = rows or (Row(label or f"sum of {products.size} products", Num(float(products.sum()), kind=kind), shown),)
    if start:
        index = tuple(terms.at[letter] for axis in start.index for letter, _ in axis)
        rows = (*rows, Row(f"+ bias {ref(start.tensor, index)}", num(t, start.tensor, index, kind)))
        products = np.append(products, terms.start)
    return replace(total(t, terms.sentence.out.tensor, terms.index, products, *rows), of=terms)


# ---- places


def largest(array: Array) -> tuple[int, ...]:
    """Where the largest absolute value stands; the first in row-major order."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(array)), array.shape))


def clip(index: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """The place, moved inside the shape: arrow keys stop at the border. ValueError for a place of other dimensions."""
    if len(index) != len(shape):
        raise ValueError(f"expected a place of {len(shape)} numbers in {tuple(shape)}, got {tuple(index)}")
    return tuple(int(min(max(i, 0), size - 1)) for i, size in zip(index, shape, strict=True))


def one(chosen: int | None, array: Array) -> int:
    """A place in a 1-D tensor: what the cursor says, else the largest."""
    return largest(array)[0] if chosen is None else clip((chosen,), array.shape)[0]


def place(cursor: Cursor, array: Array, f: int | None = None) -> tuple[int, int, int]:
    """(i, j, f) in an (H, W, F) tensor: what the cursor says (f: instead of its filter), the largest among the rest."""
    f = cursor.filter if f is None else f
    if cursor.cell is not None:
        i, j = clip(cursor.cell, array.shape[:2])
        return i, j, one(f, array[i, j])
    if f is not None:
        f = clip((f,), array.shape[2:])[0]
        i, j = largest(array[..., f])
        return i, j, f
    i, j, f = largest(array)
    return i, j, f


def span(numbers: list[int]) -> str:
    """18:21 for [18, 19, 20]"""
    return f"{numbers[0]}:{numbers[-1] + 1}"


def marked(mask: Array, word: str = "pad") -> Array:
    """marks: the word where the mask is true."""
    return np.where(mask, word, "").astype(object)


def here(shape: tuple[int, ...], at: tuple[int, ...]) -> Array:
    """marks with "here" at one place."""
    marks = np.full(shape, "", object)
    marks[at] = "here"
    return marks
