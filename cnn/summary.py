"""The table of Sequential.summary, in Keras' form; and the same in a notebook, where a model shows itself."""

import html
import shutil
import sys
import textwrap
from typing import Any

from cnn import checks
from cnn.terminal import can_write, visible

WIDTHS = (0.45, 0.80, 1.0)  # where the columns end
ASCII = str.maketrans("━─┃│┏┳┓┡╇┩├┼┤└┴┘", "=-||" + "+" * 12)  # the same lines where nothing else can be written


def summary_table(
    model: Any, line_length: int | None = None, expand_nested: bool = False, show_trainable: bool = False
) -> str:
    """The layers of a model, their output shapes and numbers of parameters, as the lines of a table.

    line_length: how many characters wide (default: the terminal's width, 88 at most, and 12 for whether layers learn).
    """
    extra = 12 if show_trainable else 0
    width = min(88 + extra, shutil.get_terminal_size().columns - 4)
    if line_length is not None:
        width = checks.whole(str(model), "summary: line_length", line_length)
    ends = [int((width - extra) * share) for share in WIDTHS]
    widths = [max(9, ends[0] - 3), max(9, ends[1] - ends[0] - 4), max(7, ends[2] - ends[1] - 3)]
    widths += [9] if show_trainable else []
    lines = [f'Model: "{model.name}"', _rule("┏━┳┓", widths)]
    lines += [*_row(("Layer (type)", "Output Shape", "Param #", "Trainable"), widths, "┃"), _rule("┡━╇┩", widths)]
    for index, row in enumerate(_rows(model, expand_nested)):
        lines += [*([_rule("├─┼┤", widths)] if index else []), *_row(row, widths, "│")]
    return "\n".join([*lines, _rule("└─┴┘", widths), *_totals(model)])


def _rows(model: Any, expand_nested: bool, indent: str = "") -> list[tuple[str, ...]]:
    """(name and type, output shape, number of parameters, whether it learns) of each layer."""
    rows: list[tuple[str, ...]] = []
    for layer in model.layers:
        learns = ("Y" if layer.trainable else "N") if layer.params else "-"
        rows.append((f"{indent}{layer.name} ({type(layer).__name__})", _shape(layer), _count(layer), learns))
        if expand_nested and hasattr(layer, "layers"):
            rows += _rows(layer, expand_nested, f"   {indent or '└ '}")
    return rows


def _totals(model: Any) -> list[str]:
    """How many numbers there are and what room they take; those of the optimizer once it has taken a step."""
    kinds = {"Trainable": model.trainable_weights, "Non-trainable": model.non_trainable_weights}
    if model.optimizer is not None and model.optimizer.iterations:
        kinds["Optimizer"] = model.optimizer.variables
    kinds = {"Total": [array for arrays in kinds.values() for array in arrays]} | kinds
    return [
        f" {kind} params: {sum(a.size for a in arrays):,} ({_bytes(sum(a.nbytes for a in arrays))})"
        for kind, arrays in kinds.items()
    ]


def summary_html(model: Any) -> str:
    """The same table as HTML, with the layers of networks inside. Names may come from strangers: they stay text."""
    text = lambda words: html.escape(visible(words))
    row = lambda tag, cells: "".join(
        f'<{tag} style="text-align:{side}">{text(cell)}</{tag}>'
        for side, cell in zip(("left", "left", "right"), cells, strict=True)
    )
    head = row("th", ("Layer (type)", "Output shape", "Parameters"))
    body = "".join(f"<tr>{row('td', cells[:3])}</tr>" for cells in _rows(model, expand_nested=True))
    totals = "<br>".join(text(line.strip()) for line in _totals(model))
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><b>{text(str(model))}</b>{whole}<small>{totals}</small></div>"


def for_stdout(table: str) -> str:
    """The table as stdout can show it: in ASCII where its encoding has no lines to draw with."""
    return table if can_write(sys.stdout, table) else table.translate(ASCII)


def _shape(layer: Any) -> str:
    return "?" if layer.output_shape is None else f"({', '.join(map(str, layer.output.shape))})"


def _count(layer: Any) -> str:
    return "0 (unbuilt)" if layer.output_shape is None else f"{layer.count_params():,}"


def _rule(corners: str, widths: list[int]) -> str:
    left, line, middle, right = tuple(corners)
    return left + middle.join(line * (width + 2) for width in widths) + right


def _row(cells: tuple[str, ...], widths: list[int], edge: str) -> list[str]:
    """One row of the table; a cell too long for its column goes on in the next line, between two words if it can."""
    wrapped = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(cells, widths, strict=False)]
    lines = []
    for k in range(max(map(len, wrapped))):
        parts = [column[k] if k < len(column) else "" for column in wrapped]
        texts = [f"{part:{side}{width}}" for part, side, width in zip(parts, "<<>^", widths, strict=False)]
        lines.append(f"{edge} {f' {edge} '.join(texts)} {edge}")
    return lines


def _bytes(size: float) -> str:
    """1686568 as '1.61 MB'."""
    power = next((k for k in range(2) if size < 1024 ** (k + 1)), 2)
    return f"{size / 1024**power:.2f} {('B', 'KB', 'MB')[power]}"
