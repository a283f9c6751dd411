"""Views as plain lines of text: the same for a terminal's screen and for a pipe."""

import inspect
import textwrap

import numpy as np

from cnn.explain.tour import photo_line, show, target_line
from cnn.explain.trace import Trace
from cnn.explain.view import Cursor, Grid, Grids, Line, Map, Num, Sum, Table, View, steps
from cnn.terminal import RESET, Style, draw_photo

DIGITS = 4
SIGNIFICANT = {
    "gradient": ("+", 0),
    "size": ("", 0),
    "brief": ("+", 2),
}  # sign, and how many digits; 0: as many as asked for
MARKS = {"won": "[{}]", "here": "<{}>", "pad": ".", "blank": ""}


def number(n: Num, digits: int = DIGITS) -> str:
    """A number as it is printed: a fixed number of decimals forward, four significant digits for gradients."""
    value = float(n.value)
    if n.kind == "count":
        return f"{value:.0f}" if value == int(value) else f"{value:g}"
    if n.kind in SIGNIFICANT:
        sign, shown = SIGNIFICANT[n.kind]
        return f"{value:{sign}#.{shown or digits}g}".rstrip(".") if value else "0"
    if n.kind == "probability" and 0 < value < 0.001:
        return f"{value:.{digits - 1}e}"
    formats = {
        "value": f".{digits}f",
        "signed": f"+.{digits}f",
        "product": f"+.{digits + 1}f",
        "sum": "+.3f",
        "total": f"+.{digits + 2}f",
        "probability": f".{digits}f",
        "percent": ".1f",
        "exact": ".12f",
        "loss": ".9g",
        "rate": "g",
    }
    text = format(value, formats[n.kind])
    return (text if float(text) else text.replace("-0", "+0" if "+" in formats[n.kind] else "0", 1)) + (
        " %" if n.kind == "percent" else ""
    )


def parsed(text: str) -> float:
    """The number in a printed one."""
    return float(text.removesuffix(" %"))


def render(view: View, width: int = 80, digits: int = DIGITS, live: bool = False) -> list[str]:
    """The view's parts as lines of at most `width` characters. live: tell how large a rounding difference is."""
    lines = []
    for part in view.parts:
        lines += PARTS[type(part)](part, width - 1, digits, live)
    return [f" {line}".rstrip() for line in lines]


def head(view: View, of: str, width: int = 80, brief: bool = False, tiny: bool = False) -> list[str]:
    """The lines above a view: step, formula, what it is about (unless brief), where we look; tiny: the first and last."""
    title = f"{view.step.id}{of}  {view.title}"
    if tiny:
        return [title[:width], *([f" at {view.where}"[:width]] if view.where else [])]
    joined = f"{title}    {view.formula}".rstrip()
    formula = textwrap.wrap(
        view.formula, width - 4, initial_indent="   ", subsequent_indent="   ", break_long_words=False
    )
    lines = [joined] if len(joined) <= width else [title, *formula]
    lines += [] if brief else [f" {line}" for line in textwrap.wrap(view.say, width - 1)]
    return [
        *lines,
        *(textwrap.wrap(f"at {view.where}", width, initial_indent=" ", subsequent_indent="    ") if view.where else []),
    ]


def line_text(line: Line, width: int, digits: int, live: bool) -> list[str]:
    """One line, or more where it is too long."""
    text = "".join(part if isinstance(part, str) else number(part, digits) for part in line.parts)
    return textwrap.wrap(text, width, subsequent_indent="  ", drop_whitespace=True) if len(text) > width else [text]


def table_text(table: Table, width: int, digits: int, live: bool) -> list[str]:
    """Columns under their heads; numbers to the right, words to the left."""
    cells = [table.head] + [[cell_text(cell, digits) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = [all(isinstance(row[k], str) for row in table.rows) for k in range(len(widths))]
    lines = ["  ".join(f"{cell:{'<' if words[k] else '>'}{widths[k]}}" for k, cell in enumerate(row)) for row in cells]
    return [line.rstrip()[:width] for line in lines]


def cell_text(cell, digits: int) -> str:
    if isinstance(cell, Line):
        return "".join(part if isinstance(part, str) else number(part, digits) for part in cell.parts)
    return cell if isinstance(cell, str) else number(cell, digits)


def grid_text(grid: Grid, digits: int) -> list[str]:
    """A matrix under its caption, all lines of one length."""
    marks = np.full(grid.values.shape, "", object) if grid.marks is None else grid.marks
    cells = [
        [MARKS.get(m, "{}").format(number(Num(x, kind=grid.kind), digits)) for x, m in zip(*row, strict=True)]
        for row in zip(grid.values, marks, strict=True)
    ]
    bracketed = any(m in ("won", "here") for m in marks.flat)
    # The closing bracket hangs over, so that the digits stand under each other.
    cells = [[cell + " " * (bracketed and not cell.endswith(("]", ">"))) for cell in row] for row in cells]
    wide = max(len(cell) for row in cells for cell in row)
    lines = [" ".join(f"{cell:>{wide}}" for cell in row) for row in cells]
    wide = max(len(grid.caption), *map(len, lines))
    return [f"{line:<{wide}}" for line in (grid.caption, *lines)]


def grids_text(grids: Grids, width: int, digits: int, live: bool) -> list[str]:
    """Matrices side by side, as many in a row as the width allows."""
    lines, row = [], []
    for item in grids.items:
        block = item if isinstance(item, str) else grid_text(item, digits)
        if row and row_width([*row, block]) > width:
            # A sign goes on with the matrix behind it.
            carried = [row.pop()] if isinstance(row[-1], str) and len(row) > 1 else []
            lines += side_by_side(row)
            row = carried
        row.append(block)
    return [line[:width] for line in lines + side_by_side(row)]


def row_width(blocks: list) -> int:
    return sum(len(block) if isinstance(block, str) else len(block[0]) for block in blocks) + 2 * (len(blocks) - 1)


def side_by_side(blocks: list) -> list[str]:
    """Blocks of lines in one row; signs stand at the middle of the matrices."""
    tall = max((len(block) for block in blocks if not isinstance(block, str)), default=1)
    columns = []
    for block in blocks:
        wide = len(block) if isinstance(block, str) else len(block[0])
        middle = (tall + 1) // 2 if tall > 1 else 0
        column = (
            [block if k == middle else "" for k in range(tall)]
            if isinstance(block, str)
            else block + [""] * (tall - len(block))
        )
        columns.append([f"{line:<{wide}}" for line in column])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def sum_text(total: Sum, width: int, digits: int, live: bool) -> list[str]:
    """The rows of a sum, what the printed figures add to where that differs, the total, and the float32 layer's number."""
    printed = number(total.total, digits)
    verdict = "agrees" if total.agrees else "DIFFERS"
    if live or not total.agrees:
        float32 = number(total.total._replace(value=total.production), digits)
        note = f"float32 {float32} (off by {abs(total.difference):.0e}): {verdict}"
    else:
        note = f"float32 layer {verdict}"  # its last digits differ between machines: --json has them
    entries = [(row.label, number(row.num, digits), shown_sum(row, digits)) for row in total.rows]
    entries.append((f"= {total.total.ref}", printed, note))
    wide, digits_wide = max(len(label) for label, *_ in entries), max(len(text) for _, text, _ in entries)
    lines = []
    for label, printed, note in entries:
        line = f"{label:<{wide}}  {printed:>{digits_wide}}"
        lines += [f"{line}  {note}".rstrip()] if len(line) + 2 + len(note) <= width else [line, f"{note:>{width}}"]
    return lines


def shown_sum(row, digits: int) -> str:
    """(shown figures add to x), where that is not the printed sum."""
    if not row.shown:
        return ""
    added = sum(parsed(number(n, digits)) for n in row.shown)
    text = number(row.num._replace(value=added), digits)
    return "" if text == number(row.num, digits) else f"(shown figures add to {text})"


PARTS = {Line: line_text, Table: table_text, Grids: grids_text, Sum: sum_text}


def draw_map(picture: Map, style: Style) -> list[str]:
    """A picture of a map, two rows to a line, with v and > pointing at the cursor."""
    values = np.pad(picture.values, ((0, len(picture.values) % 2), (0, 0)))
    lines = draw_signed(values, style) if picture.signed else draw_photo(scaled(values), style)
    if picture.cursor is None:
        return [picture.caption, *lines]
    row, column = picture.cursor
    pointed = [("> " if k == row // 2 else "  ") + line for k, line in enumerate(lines)]
    return [picture.caption, " " * (column + 2) + "v", *pointed]


def beside(left: list[str], right: list[str], width: int) -> list[str]:
    """Two blocks side by side, the left one `width` wide."""
    rows = max(len(left), len(right))
    left, right = left + [""] * (rows - len(left)), right + [""] * (rows - len(right))
    return [f"{a[:width]:<{width}} {b}".rstrip() for a, b in zip(left, right, strict=True)]


def with_map(view: View, style: Style, digits: int, live: bool = False) -> list[str]:
    """The view's lines with its picture at the right."""
    left = style.width - 3 - max(view.map.values.shape[1], len(view.map.caption))
    return beside(render(view, left, digits, live), draw_map(view.map, style), left)


def scaled(values) -> np.ndarray:
    """0..255, the smallest and the largest."""
    low, high = float(values.min()), float(values.max())
    low = min(low, 0.0)
    return np.rint((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)


def draw_signed(values, style: Style) -> list[str]:
    """Positive and negative numbers by sign and size: # + . - = ; of two rows the larger number."""
    pairs = values.reshape(len(values) // 2, 2, -1)
    picked = np.take_along_axis(pairs, np.abs(pairs).argmax(axis=1, keepdims=True), axis=1)[:, 0]
    top = float(np.abs(picked).max()) or 1.0
    return ["".join(signed_cell(value / top, style) for value in row) for row in picked]


def signed_cell(share: float, style: Style) -> str:
    """One character; colour (orange and blue) only repeats what the character says."""
    size = abs(share)
    character = (
        " "
        if size < 0.02
        else "."
        if size < 0.1
        else ("#" if size > 0.5 else "+")
        if share > 0
        else ("=" if size > 0.5 else "-")
    )
    if not style.colour or character in " .":
        return character
    return f"\x1b[38;5;{208 if share > 0 else 33}m{character}{RESET}"


def piped(
    t: Trace, style: Style, digits: int = DIGITS, only: str | None = None, cursor: Cursor | None = None
) -> list[str]:
    """The whole tour, or one step of it, as lines for a pipe or a file. The same trace gives the same bytes."""
    tour = steps(t)
    chosen = [step for step in tour if only is None or step.id == only.upper()]
    lines, said = [photo_line(t)], set()
    for step in chosen or [only]:
        view = show(t, step, cursor)
        count = sum(other.id[0] == view.step.id[0] for other in tour)
        of = f" of {view.step.id[0]}{count}" if view.step in tour else ""
        if view.step.id[0] == "B" and (only or view.step.id == "B1"):
            lines += ["", *textwrap.wrap(target_line(t), style.width)]
        lines += ["", *head(view, of, style.width, brief=view.say in said)]
        said.add(view.say)  # what was explained once is not explained again
        if view.map and view.map.main:
            lines += with_map(view, style, digits)
        else:
            picture = draw_map(view.map, style) if view.map and only else []
            lines += render(view, style.width, digits) + [f" {line}".rstrip() for line in picture]
    return lines


def source_lines(view: View, width: int, height: int) -> list[str]:
    """The function that computes this step, from a few lines before the line that does it, which is marked."""
    if view.code is None:
        return [" this step has no source of its own"]
    function = inspect.unwrap(getattr(view.code, "py_func", view.code))
    lines, first = inspect.getsourcelines(function)
    file = f"{function.__module__.replace('.', '/')}.py"
    marked = next((k for k, line in enumerate(lines) if view.needle and view.needle in line), 0)
    start = max(0, min(marked - height // 2, len(lines) - height + 1))
    shown = [f"{'>' if k == marked else ' '} {first + k:4} {line.rstrip()}"[:width] for k, line in enumerate(lines)]
    return [f" {file}:{first + marked}   the code of {view.step.id}", *shown[start : start + height - 1]]


def command_line(t, view: View) -> str:
    """The command that prints this view."""
    at, photo = view.cursor, t.number or t.source
    words = ["cnn explain", str(photo), f"--step {view.step.id}"]
    words += [f"--cell {at.cell[0]},{at.cell[1]}"] if at.cell else []
    words += [f"--{name} {value}" for name in ("filter", "channel", "unit") if (value := getattr(at, name)) is not None]
    words += [f"--weight {','.join(map(str, at.weight))}"] if at.weight else []
    words += [f"--target {t.target}"] if t.why in ("chosen",) else []
    return " ".join(words)
