"""One step in a notebook: show(trace, "B8"). In plain Python it prints what `cnn explain 9 --step B8` prints."""

from typing import Any

import numpy as np

from cnn import checks
from cnn.explain import glance, voice
from cnn.explain.chain import looked_at
from cnn.explain.formulas import find_step
from cnn.explain.page.markup import escape
from cnn.explain.parts import Cursor, Grid, Grids, Line, Num, Sum, Table, View
from cnn.explain.terminal import text
from cnn.explain.trace import Trace
from cnn.explain.views import show as view_of
from cnn.terminal import style_of, visible

# Colours are half transparent and letters keep the notebook's own, so that it reads by day and by night.
STYLE = f"""<style>
.cnn-step table {{ border-collapse: collapse; margin: .4em 0; font-variant-numeric: tabular-nums; }}
.cnn-step td, .cnn-step th {{ border: {glance.FRAME}; padding: .15em .4em; text-align: right; font-size: .92em; }}
.cnn-step td.words {{ text-align: left; }}
.cnn-step .side {{ display: flex; flex-wrap: wrap; align-items: center; gap: .3em .6em; }}
.cnn-step p {{ margin: .4em 0; }}
.cnn-step p.line {{ white-space: pre-wrap; }}
.cnn-step > .side {{ align-items: start; }}
.cnn-step > .side > :first-child {{ flex: 1 1 28em; }}
.cnn-step .pad {{ opacity: .5; }}
.cnn-step .won, .cnn-step .here {{ outline: 2px solid {glance.HERE}; outline-offset: -2px; font-weight: bold; }}
.cnn-step .total td {{ font-weight: bold; border-top: 2px solid; }}
</style>"""
COLOURS = {True: "31,95,168", False: "200,80,30"}  # positive blue, negative orange, and a sign says so too
LEFT = ' class="words"'
SIGNS = {"x": "×", "->": "→", "-> max =": "→ max ="}
DEEPEST = 0.45  # how opaque the largest number's colour is


class Shown:
    """What `show` returns: a view that a notebook draws and Python prints."""

    def __init__(self, t: Trace, view: View, digits: int):
        self.trace, self.view, self.digits = t, view, digits

    def __repr__(self) -> str:
        style = style_of(colour="never")
        lines = text.piped(self.trace, style, self.digits, self.view.step.id, self.view.cursor)
        return "\n".join(map(visible, lines))

    def _repr_html_(self) -> str:
        view, digits = self.view, self.digits
        blocks = [f"<b>{view.step.id} {words(view.words.title, digits)}</b>"]
        blocks += [f"<code>{words(view.words.text, digits)}</code>"] if view.words.text else []
        blocks += [words(said, digits) for said in (view.words.say, view.where and f"at {view.where}") if said]
        body = "".join(f"<p>{block}</p>" for block in blocks) + "".join(part(one, digits) for one in view.parts)
        if view.map:
            drawn = glance.picture(view.map.values, view.map.signed, view.map.cursor)
            body = f'<div class="side"><div>{body}</div><div>{words(view.map.caption, digits)}<br>{drawn}</div></div>'
        return f'{STYLE}<div class="cnn-step"><p>{words(glance.photo_line(self.trace), digits)}</p>{body}</div>'


def show(
    t: Trace,
    step: str,
    cell: tuple[int, int] | None = None,
    filter: int | None = None,
    channel: int | None = None,
    unit: int | None = None,
    weight: tuple[int, ...] | None = None,
    digits: int = voice.DIGITS,
) -> Shown:
    """One step of the step-through, F1 to B12, R1 to R3, C, M, G, L or S, on the path that the tour begins with.

    What is given moves the path there.

    cell (row, column) of the step's map; weight: its place in the kernel. A place outside is moved to the border.
    Raises ValueError for a step that this network does not have, or a place that is none.
    """
    where = f"show {step}"
    one = {"filter": filter, "channel": channel, "unit": unit}
    at: dict[str, Any] = {
        name: None if value is None else checks.whole(where, name, value, low=0) for name, value in one.items()
    }
    at["cell"] = place(where, "cell", cell, (2,))
    at["weight"] = place(where, "weight", weight, (2, 4))
    digits = checks.whole(where, "digits", digits, voice.LEAST_DIGITS, voice.MOST_DIGITS)
    return Shown(t, view_of(t, step, looked_at(t, find_step(t, step), Cursor(**at))), digits)


def place(where: str, name: str, given: Any, lengths: tuple[int, ...]) -> tuple[int, ...] | None:
    """A place of so many whole numbers from 0; None for None. Raises ValueError."""
    if given is None:
        return None
    if not isinstance(given, tuple | list | np.ndarray) or len(given) not in lengths:
        raise ValueError(f"{where}: {name}: expected {' or '.join(map(str, lengths))} whole numbers, got {given!r}")
    return tuple(checks.whole(where, name, one, low=0) for one in given)


# ---- parts as HTML


def words(shown: Any, digits: int) -> str:
    """Words, a number, or a Line of both."""
    if isinstance(shown, Line):
        return "".join(words(one, digits) for one in shown.parts)
    return escape(visible(shown.text(digits).replace("-", "−") if isinstance(shown, Num) else str(shown)))


def part(shown: Any, digits: int) -> str:
    """Any part of a view."""
    match shown:
        case Grids():
            items = (
                f"<b>{escape(SIGNS.get(one, one))}</b>" if isinstance(one, str) else grid(one, digits)
                for one in shown.items
            )
            return f'<div class="side">{"".join(items)}</div>'
        case Table():
            head = "".join(f"<th>{words(one, digits)}</th>" for one in shown.head)
            return f"<table><tr>{head}</tr>{''.join(row(cells, digits) for cells in shown.rows)}</table>"
        case Sum():
            rows = "".join(row([one.label, one.num], digits) for one in shown.rows)
            total = row([f"= {shown.total.ref}", shown.total], digits, ' class="total"')
            agrees = "" if shown.agrees else "<p>The float32 layer DIFFERS.</p>"
            return f"<table>{rows}{total}</table>{agrees}"
    return f'<p class="line">{words(shown, digits)}</p>'


def row(cells: list, digits: int, attributes: str = "") -> str:
    """A row of a table: words to the left, numbers to the right."""
    one = lambda cell: f"<td{'' if isinstance(cell, Num) else LEFT}>{words(cell, digits)}</td>"
    return f"<tr{attributes}>{''.join(map(one, cells))}</tr>"


def grid(shown: Grid, digits: int) -> str:
    """A small matrix, each number on a ground as deep as it is large."""
    top = float(np.abs(shown.values).max()) or 1.0
    marks = np.full(shown.values.shape, "") if shown.marks is None else shown.marks

    def one(value: float, mark: str) -> str:
        number = words(Num(value, kind=shown.kind), digits)
        ground = f"background:rgba({COLOURS[value >= 0]},{DEEPEST * abs(value) / top:.2f})"
        return f'<td class="{mark}" style="{ground}">{"" if mark == "blank" else number}</td>'

    rows = "".join(
        f"<tr>{''.join(map(one, values, row_marks))}</tr>"
        for values, row_marks in zip(shown.values, marks, strict=True)
    )
    return f"<div>{words(shown.caption, digits)}<table>{rows}</table></div>"
