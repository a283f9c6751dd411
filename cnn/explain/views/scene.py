"""What every view starts from: one step of one trace at one cursor; and the table of a long sum's largest terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.explain import parts
from cnn.explain.formulas import Formula, pads, window_size
from cnn.explain.parts import Cursor, Num, Table
from cnn.explain.terms import Tensors, Terms, evaluate
from cnn.explain.trace import Stage, Trace
from cnn.layers import Conv2D, Flatten, MaxPooling2D

Array = np.ndarray


@dataclass(frozen=True)
class Scene:
    """A view is a function of this; it returns (cursor filled in, where it looks, parts, map or None)."""

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

    def get(self, role: str) -> Array:
        """The tensor that plays this role at this stage."""
        return self.t.get(self.stage, role)

    def num(self, role: str, index: Sequence[int], kind: str = "") -> Num:
        """An entry of it."""
        return parts.num(self.t, self.names[role], index, kind)

    def terms(self, **at: int) -> Terms:
        """The step's sentence at this place."""
        return evaluate(known(self.words.sentence), Tensors(self.t), at)

    def of_terms(self, terms: Terms, **fixed: int | str) -> str:
        """What a number made of terms is called: "F6 i=3 j=4 f=9 c=5" is the sum of those of F6 there that have c=5."""
        return " ".join([self.words.step.id, *(f"{letter}={n}" for letter, n in ({**terms.at, **fixed}).items())])


def image(array: Array, t: Trace) -> Array:
    """The photo's tensor as (H, W, C), where the network takes it in one row."""
    return array if array.ndim == 3 else array.reshape(*t.photo.shape[:2], -1)


def window_cells(layer: Any, cell: Sequence[int], size: Sequence[int]) -> tuple[list[int], list[int]]:
    """The rows and columns of the input under the window of an output cell; some may lie outside, in the padding."""
    top, _, left, _ = pads(layer)
    rows = [cell[0] * layer.strides[0] - top + u for u in range(size[0])]
    columns = [cell[1] * layer.strides[1] - left + v for v in range(size[1])]
    return rows, columns


def term_table(s: Scene, terms: Terms, extra: tuple[str, Callable[[int], str]] | None = None) -> Table:
    """The largest terms of a long sum with their running sum, and the rest in one line. extra: one more column."""
    out = terms.sentence.out.tensor
    kind = "gradient" if parts.kind_of_tensor(out) == "gradient" else "product"
    flat, order = terms.terms.reshape(-1), [n for n in terms.order()[: s.words.top] if terms.terms.flat[n]]
    letters = [letter for letter, _ in terms.sentence.ranges]
    running, rows = 0.0, []
    for n in order:
        running += flat[n]
        where = [parts.count(int(k)) for k in np.unravel_index(n, terms.terms.shape)]
        middle = [extra[1](int(n))] if extra else []
        factors = [factor_num(s.t, terms, k, int(n)) for k in range(2)]
        product = s.of_terms(terms, **{letter: int(k.value) for letter, k in zip(letters, where, strict=True)})
        rows.append([*where, *middle, *factors, Num(flat[n], product, kind), Num(running, kind=kind)])
    if len(order) < len(flat):
        others = np.delete(flat, order)
        live, rest = int(np.count_nonzero(others)), float(others.sum())
        blank = [""] * (len(letters) - 1 + bool(extra))
        said = ["rest", *blank, f"{live} terms", f"{len(others) - live} zeros"]
        rows.append([*said, Num(rest, kind=kind), Num(running + rest, kind=kind)])
    heads = terms.sentence.text.rpartition(") ")[2].split(" * ")
    return Table([*letters, *([extra[0]] if extra else []), *heads, "product", "running sum"], rows)


def factor_num(t: Trace, terms: Terms, k: int, flat: int) -> Num:
    """The k-th factor of one term; padding is a plain 0."""
    tensor, index = terms.entry(k, flat)
    if all(0 <= i < size for i, size in zip(index, t[tensor].shape, strict=True)):
        return parts.num(t, tensor, index)
    return Num(0.0)


def table_sum(table: Table) -> tuple[Num, ...]:
    """The products that a term table shows: what a reader may add up."""
    return tuple(row[-2] for row in table.rows)


def origin(t: Trace, stage: int, n: int) -> tuple[int, ...] | None:
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
            for axis, (stride, before, size) in enumerate(
                zip(layer.strides, pads(layer)[::2], window_size(layer), strict=True)
            ):
                low[axis] = low[axis] * stride - before
                high[axis] = high[axis] * stride - before + size - 1
        elif len(layer.output_shape) != 3:
            return None
    height, width = t["x"].shape[:2]
    return max(low[0], 0), min(high[0], height - 1), max(low[1], 0), min(high[1], width - 1)


def field_line(t: Trace, stage: int, cell: tuple[int, int], what: str) -> list[parts.Line]:
    """What of the photo a cell depends on, in words; none where the layers before it have no maps."""
    field = receptive_field(t, stage, cell)
    words = "{} sees rows {} to {} and columns {} to {} of the photo"
    return [parts.line(words.format(what, *field))] if field else []
