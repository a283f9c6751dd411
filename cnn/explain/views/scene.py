"""What every view starts from: one step of one trace at one cursor; and the table of a long sum's largest terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn.checks import known
from cnn.explain import parts
from cnn.explain.formulas import Formula, pads, window_size
from cnn.explain.parts import Cursor, Line, Num, Row, Sum, Table, count, line, ref
from cnn.explain.terms import Tensors, Terms, evaluate
from cnn.explain.trace import Stage, Trace
from cnn.layers import Conv2D, Flatten, MaxPooling2D

Array = np.ndarray


@dataclass(frozen=True)
class Scene:
    """A view is a function of this; it returns (cursor filled in, where it looks, parts, map or nothing)."""

    t: Trace
    words: Formula
    cursor: Cursor

    @property
    def stage(self) -> Stage:
        """The step's layer."""
        return self.t.stages[self.words.step.stage]

    @property
    def names(self) -> dict[str, str]:
        """What the layer's tensors are called, by their roles."""
        return self.stage.names

    @property
    def on_path(self) -> tuple[int, ...] | None:
        """The cell before the step's layer that the path goes through; None where no path was chosen."""
        return self.cursor.cells[self.words.step.stage] if self.cursor.cells else None

    def get(self, role: str) -> Array:
        """The tensor that plays this role at this stage."""
        return self.t.get(self.stage, role)

    def ref(self, role: str, index: Sequence[int]) -> str:
        """z1[19,11,7]"""
        return ref(self.names[role], index)

    def num(self, role: str, index: Sequence[int], kind: str = "") -> Num:
        """An entry of it."""
        return parts.num(self.t, self.names[role], index, kind)

    def total(self, role: str, index: Sequence[int], terms: ArrayLike, *rows: Row) -> Sum:
        """An entry of it as a sum."""
        return parts.total(self.t, self.names[role], index, terms, *rows)

    def terms(self, **at: int) -> Terms:
        """The step's sentence at this place."""
        return evaluate(known(self.words.sentence), Tensors(self.t), at)

    def weight(self) -> tuple[int, ...]:
        """The place of a weight: what the cursor says, else the one with the largest gradient."""
        dkernel, chosen = self.get("dkernel"), self.cursor.weight
        return parts.largest(dkernel) if chosen is None else parts.clip(chosen, dkernel.shape)

    def bias_line(self, index: tuple[int, ...], what: str) -> list[Line]:
        """The gradient of a bias and what it is; nothing where there is none."""
        if "dbias" not in self.names:
            return []
        return [line("bias: {} = {} = {}", self.ref("dbias", index), what, self.num("dbias", index))]

    def of_terms(self, terms: Terms, **fixed: int | str) -> str:
        """What a number made of terms is called: "F6 i=3 j=4 f=9 c=5" is the sum of those of F6 there that have c=5."""
        return " ".join([self.words.step.id, *(f"{letter}={n}" for letter, n in ({**terms.at, **fixed}).items())])


def around(array: Array, place: tuple[int, int, int]) -> tuple[str, Array, Array]:
    """The cells of a map around one of them: their place, such as "[3:,7:,2]", their numbers, and marks."""
    i, j, f = place
    r, c = max(i - 1, 0), max(j - 1, 0)
    values = array[r : i + 2, c : j + 2, f]
    return f"[{r}:,{c}:,{f}]", values, parts.here(values.shape, (i - r, j - c))


def image(array: Array, t: Trace) -> Array:
    """The photo's tensor as (H, W, C), where the network takes it in one row."""
    return array if array.ndim == 3 else array.reshape(*t.photo.shape[:2], -1)


def window_cells(layer: Any, cell: Sequence[int], size: Sequence[int]) -> tuple[list[int], ...]:
    """The rows and columns of the input under the window of an output cell; some may lie outside, in the padding."""
    starts = (i * stride - before for i, stride, before in zip(cell, layer.strides, pads(layer)[::2], strict=True))
    return tuple(list(range(start, start + length)) for start, length in zip(starts, size, strict=True))


def term_table(s: Scene, terms: Terms, show_origin: bool = False, top: int | None = None) -> Table:
    """The largest terms of a long sum with their running sum, and the rest in one line.

    show_origin: one more column, the cell that an input had before Flatten. top: how many; by default the step's.
    """
    kind = parts.kind_of_tensor(terms.sentence.out.tensor, "product")
    top, flat = s.words.top if top is None else top, terms.terms.reshape(-1)
    order = [n for n in terms.order()[:top] if flat[n]]
    letters = [letter for letter, _ in terms.sentence.ranges]
    running, rows = 0.0, []
    for n in order:
        running += flat[n]
        where = [int(k) for k in np.unravel_index(n, terms.terms.shape)]
        middle = [", ".join(map(str, known(origin(s.t, s.words.step.stage, int(n)))))] if show_origin else []
        factors = [factor_num(s.t, terms, k, int(n)) for k in range(2)]
        product = Num(flat[n], s.of_terms(terms, **dict(zip(letters, where, strict=True))), kind)
        rows.append([*map(count, where), *middle, *factors, product, Num(running, kind=kind)])
    if len(order) < len(flat):
        others = np.delete(flat, order)
        live, rest = int(np.count_nonzero(others)), float(others.sum())
        blank = [""] * (len(letters) - 1 + show_origin)
        said = ["rest", *blank, f"{live} terms", f"{len(others) - live} zeros"]
        rows.append([*said, Num(rest, kind=kind), Num(running + rest, kind=kind)])
    heads = terms.sentence.text.rpartition(") ")[2].split(" * ")
    return Table([*letters, *["r, s, c"][:show_origin], *heads, "product", "running sum"], rows)


def factor_num(t: Trace, terms: Terms, k: int, flat: int) -> Num:
    """The k-th factor of one term; padding is a plain 0."""
    tensor, index = terms.entry(k, flat)
    inside = all(0 <= i < size for i, size in zip(index, t[tensor].shape, strict=True))
    return parts.num(t, tensor, index) if inside else Num(0.0)


def table_and_sum(s: Scene, terms: Terms, show_origin: bool = False) -> tuple[Table, Sum]:
    """The largest terms of a long sum, and the sum, whose first row a reader may add up from the table."""
    table = term_table(s, terms, show_origin)
    return table, parts.summed(s.t, terms, shown=tuple(row[-2] for row in table.rows))


def origin(t: Trace, stage: int, n: int) -> tuple[int, ...] | None:
    """(row, column, channel) that input n of a Dense layer had before Flatten; None where no Flatten came before."""
    if stage > 0 and isinstance(t.stages[stage - 1].layer, Flatten):
        return tuple(int(i) for i in np.unravel_index(n, t.stages[stage - 1].layer.input_shape))
    return None


def receptive_field(t: Trace, stage: int, cell: tuple[int, int]) -> tuple[int, ...] | None:
    """(first row, last row, first column, last column) of the photo that an output cell of this stage depends on."""
    low, high = np.array(cell), np.array(cell)
    for layer in (one.layer for one in reversed(t.stages[: stage + 1])):
        if isinstance(layer, Conv2D | MaxPooling2D):
            low, high = (edge * layer.strides - pads(layer)[::2] for edge in (low, high))
            high = high + window_size(layer) - 1
        elif len(layer.output_shape) != 3:
            return None
    low, high = np.maximum(low, 0), np.minimum(high, np.array(t["x"].shape[:2]) - 1)
    return int(low[0]), int(high[0]), int(low[1]), int(high[1])


def field_line(t: Trace, stage: int, cell: tuple[int, int], what: str) -> list[Line]:
    """What of the photo a cell depends on, in words; none where the layers before it have no maps."""
    field = receptive_field(t, stage, cell)
    words = "{} sees rows {} to {} and columns {} to {} of the photo"
    return [line(words.format(what, *field))] if field else []
