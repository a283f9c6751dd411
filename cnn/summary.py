"""The table of Sequential.summary, in Keras' form."""

import shutil
from typing import Any

from cnn import checks

WIDTHS = (0.45, 0.80, 1.0)  # where the columns end


def summary_table(model: Any, line_length: int | None = None) -> str:
    """The layers of a model, their output shapes and numbers of parameters, as the lines of a table.

    line_length: how many characters wide (default: the terminal's width, 88 at most).
    """
    width = min(88, shutil.get_terminal_size().columns - 4)
    if line_length is not None:
        width = checks.whole(str(model), "summary: line_length", line_length)
    ends = [int(width * share) for share in WIDTHS]
    widths = [max(9, ends[0] - 3), max(9, ends[1] - ends[0] - 4), max(7, ends[2] - ends[1] - 3)]
    rows = [(f"{layer.name} ({type(layer).__name__})", _shape(layer), _count(layer)) for layer in model.layers]
    lines = [f'Model: "{model.name}"', _rule("┏━┳┓", widths)]
    lines += [*_row(("Layer (type)", "Output Shape", "Param #"), widths, "┃"), _rule("┡━╇┩", widths)]
    for index, row in enumerate(rows):
        lines += [*([_rule("├─┼┤", widths)] if index else []), *_row(row, widths, "│")]
    total = sum(value.size for value in model.params.values())
    size = sum(value.nbytes for value in model.params.values())
    lines += [
        _rule("└─┴┘", widths),
        f" Total params: {total:,} ({_bytes(size)})",
        f" Trainable params: {total:,} ({_bytes(size)})",
        " Non-trainable params: 0 (0.00 B)",
    ]
    return "\n".join(lines)


def _shape(layer: Any) -> str:
    return "?" if layer.output_shape is None else f"(None, {', '.join(map(str, layer.output_shape))})"


def _count(layer: Any) -> str:
    return "0 (unbuilt)" if layer.output_shape is None else f"{layer.count_params():,}"


def _rule(corners: str, widths: list[int]) -> str:
    left, line, middle, right = tuple(corners)
    return left + middle.join(line * (width + 2) for width in widths) + right


def _row(cells: tuple[str, str, str], widths: list[int], edge: str) -> list[str]:
    """One row of the table; a cell too long for its column goes on in the next line."""
    wrapped = [
        [cell[k : k + width] for k in range(0, len(cell), width)] for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for k in range(max(map(len, wrapped))):
        parts = [column[k] if k < len(column) else "" for column in wrapped]
        texts = [f"{parts[0]:<{widths[0]}}", f"{parts[1]:<{widths[1]}}", f"{parts[2]:>{widths[2]}}"]
        lines.append(f"{edge} {f' {edge} '.join(texts)} {edge}")
    return lines


def _bytes(size: float) -> str:
    """1686568 as '1.61 MB'."""
    power = next((k for k in range(2) if size < 1024 ** (k + 1)), 2)
    return f"{size / 1024**power:.2f} {('B', 'KB', 'MB')[power]}"
