"""A trace at a glance: one line for everybody, a few more where it is printed, and a small picture in a notebook."""

import base64
import html
import io
from typing import Any

import numpy as np

from cnn.terminal import visible

Array = np.ndarray
FRAME = "1px solid rgba(128,128,128,.5)"  # seen on white and on black
HERE = "#e0007f"


def photo_line(t: Any) -> str:
    """photo 9 = test[8]: model says Sandal 0.93, label Sandal: correct; early network says where that is known"""
    names, who = t.class_names, f"{t.moment} network" if t.moment else "model"
    says = f"{t.title}: {who} says {names[t.predicted]} {t['p'][t.predicted]:.2f}"
    if t.label is None:
        return says
    return f"{says}, label {names[t.label]}: {'correct' if t.label == t.predicted else 'WRONG'}"


def rows(t: Any) -> list[tuple[str, str, str]]:
    """(name, shape, smallest to largest number) of each tensor of the way forward, the weights left out."""
    ahead = ["x", *dict.fromkeys(s.names[role] for s in t.stages for role in ("z", "y") if role in s.names), "p"]
    return [(name, str(t[name].shape), f"{t[name].min():.4g} to {t[name].max():.4g}") for name in ahead]


def as_text(t: Any) -> str:
    """What Python prints of a trace."""
    cells = rows(t)
    widths = [max(len(row[k]) for row in cells) for k in range(2)]
    lines = [f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {span}" for name, shape, span in cells]
    more = f"  and {len(t.tensors) - len(cells)} more: weights, and the gradients (d...) of the loss {t.loss:.4g}"
    return "\n".join(map(visible, [photo_line(t), *lines, more]))


def as_html(t: Any) -> str:
    """What a notebook shows of a trace: the photo, what the model says of it, the tensors."""
    text = lambda words: html.escape(visible(words))
    photo = picture(np.asarray(t.photo).reshape(*np.shape(t.photo)[:2], -1)[..., 0]) if np.ndim(t.photo) > 1 else ""
    bar = '<span style="display:inline-block;height:.7em;background:#1f5fa8;width:{:.2f}em"></span>'
    says = [(name, f"{bar.format(8 * p)} {p:.4f}") for name, p in zip(t.class_names, t["p"], strict=True)]
    classes = "".join(f"<tr>{cell(text(name))}{cell(shown)}</tr>" for name, shown in says)
    tensors = "".join(f"<tr>{''.join(cell(text(word)) for word in row)}</tr>" for row in rows(t))
    blocks = "".join(
        f'<div style="margin-right:2em">{block}</div>' for block in (photo, table(classes), table(tensors))
    )
    return f'<div><b>{text(photo_line(t))}</b><div style="display:flex;flex-wrap:wrap">{blocks}</div></div>'


def cell(markup: str) -> str:
    """A cell of a table, its words to the left."""
    return f'<td style="text-align:left">{markup}</td>'


def table(body: str) -> str:
    """A table of these rows."""
    return f"<table><tbody>{body}</tbody></table>"


def picture(values: Array, signed: bool = False, at: tuple[int, int] | None = None) -> str:
    """A 2-D array as a picture: black to white, or orange to blue around 0; at: the cell to frame."""
    from matplotlib import image

    from cnn.plots.style import DIVERGING

    data, top = io.BytesIO(), float(np.abs(values).max()) or 1.0
    low, colours = (-top, DIVERGING) if signed else (min(float(values.min()), 0.0), "gray")
    image.imsave(data, values, cmap=colours, vmin=low, vmax=top, format="png")
    height, width = values.shape
    side = max(4, min(12, 220 // max(height, width)))  # pixels on the screen for each number
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    look = f"width:{side * width}px;height:{side * height}px;image-rendering:pixelated;display:block;margin:0"
    inside = f'<img alt="{height} x {width} numbers" src="{source}" style="{look}">'
    if at is not None:
        row, column = at
        place = f"left:{side * column - 2}px;top:{side * row - 2}px;width:{side}px;height:{side}px"
        inside += f'<span style="position:absolute;{place};border:2px solid {HERE}"></span>'
    return f'<div style="position:relative;display:inline-block;border:{FRAME}">{inside}</div>'
