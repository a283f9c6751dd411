"""Views as plain lines of text: the same for a terminal's screen and for a pipe."""

import textwrap
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from cnn.checks import known
from cnn.explain import chain, path, voice
from cnn.explain.formulas import find_step, first_stage, steps, tour
from cnn.explain.glance import photo_line
from cnn.explain.parts import Cursor, Grid, Grids, Line, Map, Num, Row, Sum, Table, View, ref
from cnn.explain.path import Path
from cnn.explain.trace import Trace
from cnn.explain.views import opened, show
from cnn.terminal import RESET, Style, draw_photo

BACKWARD = "BRC"  # how the steps of the way back are called
MARKS = {"won": "[{}]", "here": "<{}>", "pad": ".", "blank": ""}


def target_line(t: Trace) -> str:
    """Which class's loss the backward tour differentiates, its probability, and why this class."""
    names, p = t.class_names, t["p"]
    numbers = f"p = {p[t.target]:.4g}, loss {t.loss:.4g}"
    if t.why == "other":
        what = voice.article(names[t.target])
        return f"what if this were {what}? {numbers} ({names[t.predicted]}'s gradients: ~ 0)"
    answer = "the network's answer; no label is known"
    why = {"label": "the label", "prediction": answer, "chosen": "as you chose"}[t.why]
    return f"target {names[t.target]}, {numbers} ({why})"


def render(view: View, width: int = 80, digits: int = voice.DIGITS, live: bool = False) -> list[str]:
    """The view's parts as lines of at most `width` characters. live: tell how large a rounding difference is."""
    shown = PARTS | {Sum: partial(sum_text, live=live)}
    lines = [line for part in view.parts for line in shown[type(part)](part, width - 1, digits)]
    return [f" {line}".rstrip() for line in lines]


def head(view: View, of: str, width: int = 80, brief: bool = False, tiny: bool = False) -> list[str]:
    """The lines above a view: step, formula, explanation (unless brief), where we look; tiny: the first and last."""
    title = f"{view.step.id}{of}  {view.words.title}"
    if tiny:
        return [title[:width], *([f" at {view.where}"[:width]] if view.where else [])]
    joined = f"{title}    {view.words.text}".rstrip()
    lines = [joined] if len(joined) <= width else [title, *wrapped(view.words.text, width - 4, "   ", "   ")]
    lines += [] if brief else wrapped(view.words.say, width, " ", " ")
    return [*lines, *(wrapped(f"at {view.where}", width, " ", "    ") if view.where else [])]


def wrapped(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """Lines of at most this width, with a margin for the first and one for the others."""
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=others, break_long_words=False)


def plain_text(item: Any, digits: int) -> str:
    """A cell of a table or a part of a line: words, a number, or a line of both."""
    if isinstance(item, Line):
        return "".join(plain_text(part, digits) for part in item.parts)
    return item.text(digits) if isinstance(item, Num) else item


def line_text(line: Line, width: int, digits: int) -> list[str]:
    """One line, or more where it is too long."""
    text = plain_text(line, digits)
    return wrapped(text, width, "", "  ") if len(text) > width else [text]


def table_text(table: Table, width: int, digits: int) -> list[str]:
    """Columns under their heads; numbers to the right, words to the left."""
    cells = [table.head] + [[plain_text(cell, digits) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = ["<" if all(isinstance(row[k], str) for row in table.rows) else ">" for k in range(len(widths))]
    lines = [[f"{cell:{side}{wide}}" for cell, side, wide in zip(row, sides, widths, strict=True)] for row in cells]
    return ["  ".join(row).rstrip()[:width] for row in lines]


def grid_text(grid: Grid, digits: int) -> list[str]:
    """A matrix under its caption, all lines of one length."""
    marks = np.full(grid.values.shape, "", object) if grid.marks is None else grid.marks
    shown = lambda x, mark: MARKS.get(mark, "{}").format(voice.number(x, grid.kind, digits))
    rows = [[shown(*cell) for cell in zip(*row, strict=True)] for row in zip(grid.values, marks, strict=True)]
    # The closing bracket hangs over, so that the digits stand under each other.
    bracketed = any(mark in ("won", "here") for mark in marks.flat)
    rows = [[cell + " " * (bracketed and not cell.endswith(("]", ">"))) for cell in row] for row in rows]
    wide = max(len(cell) for row in rows for cell in row)
    lines = [grid.caption, *(" ".join(f"{cell:>{wide}}" for cell in row) for row in rows)]
    return [f"{line:<{max(map(len, lines))}}" for line in lines]


def grids_text(grids: Grids, width: int, digits: int) -> list[str]:
    """Matrices side by side, as many in a row as the width allows."""
    lines: list[str] = []
    row: list[list[str]] = []
    for item in grids.items:
        block = [item] if isinstance(item, str) else grid_text(item, digits)
        if row and sum(len(one[0]) + 2 for one in [*row, block]) - 2 > width:
            carried = [row.pop()] if len(row[-1]) == 1 and len(row) > 1 else []  # a sign goes on with what follows it
            lines += side_by_side(row)
            row = carried
        row.append(block)
    return [line[:width] for line in lines + side_by_side(row)]


def side_by_side(blocks: list[list[str]]) -> list[str]:
    """Blocks of lines in one row; signs, which are one line, stand at the middle of the matrices."""
    tall = max(map(len, blocks))
    columns = []
    for block in blocks:
        above = [""] * ((tall + 1) // 2) if len(block) == 1 < tall else []
        lines = [*above, *block, *[""] * tall][:tall]
        columns.append([f"{line:<{len(block[0])}}" for line in lines])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def sum_text(total: Sum, width: int, digits: int, live: bool = False) -> list[str]:
    """The rows of a sum, what the printed figures add to if that differs, the total, and the float32 layer's number."""
    verdict = "agrees" if total.agrees else "DIFFERS"
    note = f"float32 layer {verdict}"  # its last digits differ between machines: --json has them
    if live or not total.agrees:
        float32 = total.total._replace(value=total.production).text(digits)
        note = f"float32 {float32} (off by {abs(total.difference):.0e}): {verdict}"
    entries = [(row.label, row.num.text(digits), shown_sum(row, digits)) for row in total.rows]
    entries.append((f"= {total.total.ref}", total.total.text(digits), note))
    wide, digits_wide = (max(len(entry[k]) for entry in entries) for k in (0, 1))
    lines = []
    for label, printed, note in entries:
        line = f"{label:<{wide}}  {printed:>{digits_wide}}"
        lines += [f"{line}  {note}".rstrip()] if len(line) + 2 + len(note) <= width else [line, f"{note:>{width}}"]
    return lines


def shown_sum(row: Row, digits: int) -> str:
    """(shown figures add to x), where that is not the printed sum."""
    added = sum(voice.parsed(one.text(digits)) for one in row.shown)
    text = row.num._replace(value=added).text(digits)
    return "" if not row.shown or text == row.num.text(digits) else f"(shown figures add to {text})"


PARTS: dict[type, Callable[..., list[str]]] = {Line: line_text, Table: table_text, Grids: grids_text}


# ---- maps


def draw_map(picture: Map, style: Style) -> list[str]:
    """A picture of a map, two rows to a line, with v and > pointing at the cursor."""
    values = np.pad(picture.values, ((0, len(picture.values) % 2), (0, 0)))
    low, high = min(float(values.min()), 0.0), float(values.max())
    bytes_ = np.rint((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    lines = draw_signed(values, style) if picture.signed else draw_photo(bytes_, style)
    if picture.cursor is None:
        return [picture.caption, *lines]
    row, column = picture.cursor
    pointed = [("> " if k == row // 2 else "  ") + line for k, line in enumerate(lines)]
    return [picture.caption, " " * (column + 2) + "v", *pointed]


def beside(left: list[str], right: list[str], width: int) -> list[str]:
    """Two blocks side by side, the left one `width` wide."""
    return [f"{a[:width]:<{width}} {b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]


def with_map(view: View, style: Style, digits: int, live: bool = False) -> list[str]:
    """The view's lines with its picture at the right."""
    picture = known(view.map)
    left = style.width - 3 - max(picture.values.shape[1], len(picture.caption))
    return beside(render(view, left, digits, live), draw_map(picture, style), left)


def draw_signed(values: np.ndarray, style: Style) -> list[str]:
    """Positive and negative numbers by sign and size: # + . - = ; of two rows the larger number."""
    pairs = values.reshape(len(values) // 2, 2, -1)
    picked = np.take_along_axis(pairs, np.abs(pairs).argmax(axis=1, keepdims=True), axis=1)[:, 0]
    top = float(np.abs(picked).max()) or 1.0
    return ["".join(signed_cell(value / top, style) for value in row) for row in picked]


def signed_cell(share: float, style: Style) -> str:
    """One character; colour (blue positive, orange negative) only repeats what the character says."""
    if abs(share) < 0.1:
        return " " if abs(share) < 0.02 else "."
    small, large = "+#" if share > 0 else "-="
    colour = voice.COLOURS["positive" if share > 0 else "negative"]["terminal"]
    character = large if abs(share) > 0.5 else small
    return f"\x1b[38;5;{colour}m{character}{RESET}" if style.colour else character


# ---- the whole tour, sources, commands


def piped(
    t: Trace,
    style: Style,
    digits: int = voice.DIGITS,
    only: str | None = None,
    cursor: Cursor | None = None,
    every: bool = False,
) -> list[str]:
    """The whole tour, or one step of it, as lines for a pipe or a file. The same trace gives the same bytes.

    cursor: where the path is moved to: at that step, or for the whole tour at the first layer. every: all terms.
    """
    first = next(step for step in tour(t) if step.stage == first_stage(t) and step.kind != "padding")
    begin = find_step(t, only) if only else first
    at = chain.looked_at(t, begin, cursor)
    way = Path(known(at.cells))
    lines, said = [photo_line(t), *wrapped(path_line(t, way), style.width, " ", "      ")], set()
    for step in [begin] if only else tour(t):
        view = show(t, step, at if only else path.cursor(t, way, step, at))
        if view.step.id[0] in BACKWARD and (only or view.step.id == "B1"):
            lines += ["", *wrapped(target_line(t), style.width)]
        lines += ["", *head(view, of_how_many(t, view), style.width, brief=view.words.say in said)]
        said.add(view.words.say)  # what was explained once is not explained again
        if view.map and view.map.main:
            lines += with_map(view, style, digits)
        else:
            picture = draw_map(view.map, style) if view.map and only else []
            lines += render(view, style.width, digits) + [f" {line}".rstrip() for line in picture]
        lines += opened_lines(t, view, style.width, digits) if every else []
    return lines


def opened_lines(t: Trace, view: View, width: int, digits: int) -> list[str]:
    """All terms of the step's sum, the largest first; nothing where there is no sum to open."""
    table = opened(t, view)
    if table is None:
        return []
    return [" all terms, the largest first:", *(f" {line}" for line in table_text(table, width - 1, digits))]


def path_line(t: Trace, way: Path, at: int | None = None, width: int = 0) -> str:
    """path x[13,8,0] > z1[13,8,21] > ...: the cell of each layer; at: the one to mark; width: cut around that one."""
    words = [ref(name, cell) for name, cell in zip(path.names(t), way.cells, strict=True)]
    words = [f"<{word}>" if k == at else word for k, word in enumerate(words)]
    first, last, shown = 0, len(words), lambda: " ".join(words[first:last])
    while width and len(shown()) + 10 > width and last - first > 1:
        first, last = (first, last - 1) if last - 1 - (at or 0) > (at or 0) - first else (first + 1, last)
    return f"path {'.. ' * (first > 0)}{shown()}{' ..' * (last < len(words))}"


def of_how_many(t: Trace, view: View) -> str:
    """of F12: how many steps this way has; nothing for the steps beside the tour."""
    letter = view.step.id[0]
    count = sum(step.id[0] == letter for step in steps(t))
    return f" of {letter}{count}" if count else ""


def source_lines(view: View, width: int, height: int) -> list[str]:
    """The function that computes this step, from a few lines before the line that does it, which is marked."""
    if not view.words.code:
        return [" this step has no source of its own"]
    code = view.words.code[0]
    file, first, lines = code.source()
    marked = next((k for k, line in enumerate(lines) if code.needle and code.needle in line), 0)
    start = max(0, min(marked - height // 2, len(lines) - height + 1))
    shown = [f"{'>' if k == marked else ' '} {first + k:4} {line.rstrip()}"[:width] for k, line in enumerate(lines)]
    return [f" {file}:{first + marked}   the code of {view.step.id}", *shown[start : start + height - 1]]


def command_line(t: Trace, view: View) -> str:
    """The command that prints this view."""
    at, photo = view.cursor, t.number or t.source
    if view.step.kind == "chain":
        return "no command holds a whole path; the other steps have theirs"
    words = ["cnn explain", str(photo), *([f"--moment {t.moment}"] if t.moment else []), f"--step {view.step.id}"]
    words += [f"--cell {at.cell[0]},{at.cell[1]}"] if at.cell else []
    words += [f"--{name} {value}" for name in ("filter", "channel", "unit") if (value := getattr(at, name)) is not None]
    words += [f"--weight {','.join(map(str, at.weight))}"] if at.weight else []
    words += [f"--target {t.target}"] if t.why == "chosen" else []
    return " ".join(words)
