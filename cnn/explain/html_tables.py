"""The page's numbers as plain tables: what is read without JavaScript, and compared with the live values with it.

A cell says which number it shows: data-ref="z1[19,11,7]", or a product "x[18,10,0]*W1[0,0,0,7]";
`value` finds it, and so does the page.
"""

import html
import math

import numpy as np

from cnn.explain.trace import Trace, loss_with

Array = np.ndarray
H = 1e-5  # of the gradient check on the page
LAYERS = (  # what leaves each layer: tensor, its gradient, the steps, title, shape, parameters, multiply-adds
    ("x", "F1", "B12", "input", "28 × 28 × 1", 0, 0),
    ("a1", "F3", "B11", "conv1 + ReLU", "28 × 28 × 32", 320, 225_792),
    ("p1", "F5", "B10", "pool1", "14 × 14 × 32", 0, 0),
    ("a2", "F6", "B8", "conv2 + ReLU", "14 × 14 × 64", 18_496, 3_612_672),
    ("p2", "F8", "B7", "pool2", "7 × 7 × 64", 0, 0),
    ("a3", "F10", "B4", "dense + ReLU", "128", 401_536, 401_408),
    ("p", "F12", "B1", "output", "10", 1_290, 1_280),
)
GEOMETRY = (
    (28, 3, 1, "same"),
    (28, 3, 2, "same"),
    (5, 3, 2, "same"),
    (28, 7, 1, "same"),
    (28, 2, 1, "same"),
    (28, 3, 2, "valid"),
)


def escape(text) -> str:
    """The text as HTML."""
    return html.escape(str(text))


# ---- numbers as the page prints them


def fixed(v: float) -> str:
    """Five decimals, with a real minus sign; never minus zero."""
    text = f"{v:.5f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")


def signed(v: float) -> str:
    """As `fixed`, with a sign."""
    text = fixed(v)
    return text if text.startswith("−") else f"+{text}"


def grad(v: float) -> str:
    """Four significant digits and a sign: gradients can be very small."""
    if v == 0:
        return "0"
    decimals = next((k + 1 for k, limit in enumerate((100, 10, 1, 0.1, 0.01, 0.001)) if abs(v) >= limit), None)
    mantissa, _, exponent = f"{v:.3e}".partition("e")
    text = f"{mantissa}e{int(exponent):+d}" if decimals is None else f"{v:.{decimals}f}"
    return ("+" if v > 0 else "") + text.replace("-", "−")


FORMATS = {"fixed": fixed, "signed": signed, "grad": grad}


def value(t: Trace, ref: str) -> float:
    """The number a cell names. Besides the trace's tensors: part2[i,j,f,c], what channel c adds to z2[i,j,f]; scatter[u,v,i,j,c],
    what weight [u,v] sends back to dp1[i,j,c]; numeric[u,v,c,f], the measured slope of a weight of conv2."""
    if "*" in ref:
        return math.prod(value(t, one) for one in ref.split("*"))
    name, _, index = ref.rstrip("]").partition("[")
    index = tuple(map(int, index.split(",")))
    special = {"part2": _part2, "scatter": _scatter, "numeric": _numeric}
    return float(special[name](t, *index) if name in special else t[name][index])


def _part2(t, i, j, f, c):
    window = np.pad(t["p1"][:, :, c], 1)[i : i + 3, j : j + 3]
    return (window * t["W2"][:, :, c, f]).sum()


def _scatter(t, u, v, i, j, c):
    row, column = i - u + 1, j - v + 1
    inside = 0 <= row < 14 and 0 <= column < 14
    return t["dz2"][row, column] @ t["W2"][u, v, c] if inside else 0.0


def _numeric(t, *index):
    name, losses = f"{t.stages[2].layer.name}/kernel", []
    for h in (H, -H):
        kernel = t["W2"].copy()
        kernel[index] += h
        losses.append(loss_with(t, {name: kernel}))
    return (losses[0] - losses[1]) / (2 * H)


# ---- tables


def cell(t: Trace, ref: str, form: str = "fixed") -> str:
    """A cell with the number that ref names."""
    return f'<td data-ref="{ref}" data-format="{form}">{FORMATS[form](value(t, ref))}</td>'


def table(caption: str, head: list[str], rows: list[list[str]]) -> str:
    """rows: a heading, then cells as HTML (<td>...)."""
    top = "".join(f'<th scope="col">{text}</th>' if text else "<td></td>" for text in head)
    body = "".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, *cells in rows)
    name = escape(caption)
    whole = f"<table><caption>{name}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{whole}</div>'


def largest(array: Array) -> tuple[int, ...]:
    """The place of the largest value, the first of equals."""
    return tuple(map(int, np.unravel_index(np.argmax(array), array.shape)))


def strongest_weight(t: Trace) -> tuple[int, ...]:
    """The weight of conv2 with the largest gradient: B8 and the gradient check look at it."""
    return largest(np.abs(t["dW2"]))


def f3(t):
    """The nine products of the strongest cell of conv1."""
    i, j, f = largest(t["a1"])
    rows = []
    for u, v in np.ndindex(3, 3):
        r, c = i + u - 1, j + v - 1
        w = f"W1[{u},{v},0,{f}]"
        real = 0 <= r < 28 and 0 <= c < 28
        x = f"x[{r},{c},0]"
        rows.append(
            [
                f"[{u},{v}]",
                cell(t, x) if real else "<td>padding</td>",
                cell(t, w, "signed"),
                cell(t, f"{x}*{w}", "signed") if real else "<td>padding</td>",
            ]
        )
    end = table(
        "bias, sum and ReLU",
        ["", "value"],
        [
            ["+ bias", cell(t, f"b1[{f}]", "signed")],
            ["= z1", cell(t, f"z1[{i},{j},{f}]", "signed")],
            ["a1", cell(t, f"a1[{i},{j},{f}]")],
        ],
    )
    return table(f"conv1 at row {i}, column {j}, filter {f}", ["weight", "x", "W1", "product"], rows) + end


def f5(t):
    """The pooling window around that cell."""
    i, j, f = largest(t["a1"])
    i, j = i // 2, j // 2
    rows = [
        [f"row {2 * i + d}, column {2 * j + e}", cell(t, f"a1[{2 * i + d},{2 * j + e},{f}]")]
        for d, e in np.ndindex(2, 2)
    ]
    return table(
        f"pool1 at row {i}, column {j}, filter {f}",
        ["cell", "a1"],
        [*rows, ["the largest: p1", cell(t, f"p1[{i},{j},{f}]")]],
    )


def f6(t):
    """The 32 partial sums of the strongest cell of conv2."""
    i, j, f = largest(t["a2"])
    rows = [
        [f"channels {c} to {c + 3}", *(cell(t, f"part2[{i},{j},{f},{k}]", "signed") for k in range(c, c + 4))]
        for c in range(0, 32, 4)
    ]
    end = table(
        "bias and sum",
        ["", "value"],
        [["+ bias", cell(t, f"b2[{f}]", "signed")], ["= z2", cell(t, f"z2[{i},{j},{f}]", "signed")]],
    )
    return (
        table(
            f"conv2 at row {i}, column {j}, filter {f}: 32 partial sums of nine products each",
            ["", "", "", "", ""],
            rows,
        )
        + end
    )


def f10(t):
    """The eight largest products of the strongest dense unit."""
    (u,) = largest(t["a3"])
    order = np.argsort(-np.abs(t["f"] * t["W3"][:, u]), kind="stable")[:8]
    rows = [
        [
            f"n = {n}: row {n // 448}, column {n // 64 % 7}, channel {n % 64}",
            cell(t, f"f[{n}]"),
            cell(t, f"W3[{n},{u}]", "signed"),
            cell(t, f"f[{n}]*W3[{n},{u}]", "signed"),
        ]
        for n in order
    ]
    end = table(
        "bias, sum and ReLU",
        ["", "value"],
        [
            ["+ bias", cell(t, f"b3[{u}]", "signed")],
            ["= z3", cell(t, f"z3[{u}]", "signed")],
            ["a3", cell(t, f"a3[{u}]")],
        ],
    )
    return table(f"dense unit {u}: the 8 largest of 3,136 products", ["from", "f[n]", "W3[n,u]", "product"], rows) + end


def f12(t):
    """Logits and probabilities."""
    rows = [
        [escape(name), cell(t, f"z4[{k}]", "signed"), cell(t, f"p[{k}]", "grad")]
        for k, name in enumerate(t.class_names)
    ]
    return table("logits and probabilities", ["class", "z4", "p"], rows)


def b1(t):
    """p - y."""
    rows = [
        [escape(name), cell(t, f"p[{k}]", "grad"), f"<td>{int(k == t.target)}</td>", cell(t, f"dlogits[{k}]", "grad")]
        for k, name in enumerate(t.class_names)
    ]
    return table(f"p − y for {t.class_names[t.target]}", ["class", "p", "y", "p − y"], rows)


def top_term(t: Trace) -> tuple[int, int, int]:
    """Where the strongest weight of conv2 got the largest of its products: row, column, filter."""
    u, v, c, f = strongest_weight(t)
    padded = np.pad(t["p1"][:, :, c], 1)
    return *largest(np.abs(padded[u : u + 14, v : v + 14] * t["dz2"][:, :, f])), f


def b7(t):
    """One slope and the four cells it could go to."""
    i, j, f = top_term(t)
    i, j = i // 2, j // 2
    rows = [
        [
            f"row {2 * i + d}, column {2 * j + e}",
            cell(t, f"a2[{2 * i + d},{2 * j + e},{f}]"),
            cell(t, f"da2[{2 * i + d},{2 * j + e},{f}]", "grad"),
        ]
        for d, e in np.ndindex(2, 2)
    ]
    return table(
        f"pool2 at row {i}, column {j}, filter {f}",
        ["cell", "a2", "da2"],
        [*rows, ["arrives: dp2", "<td></td>", cell(t, f"dp2[{i},{j},{f}]", "grad")]],
    )


def b8(t):
    """The five largest products of the gradient of the strongest weight of conv2."""
    u, v, c, f = strongest_weight(t)
    padded = np.pad(t["p1"][:, :, c], 1)
    products = padded[u : u + 14, v : v + 14] * t["dz2"][:, :, f]
    places = [divmod(int(n), 14) for n in np.argsort(-np.abs(products).ravel(), kind="stable")[:5]]
    rows = []
    for i, j in places:
        if products[i, j] != 0:
            x, d = f"p1[{i + u - 1},{j + v - 1},{c}]", f"dz2[{i},{j},{f}]"
            rows.append([f"row {i}, column {j}", cell(t, x), cell(t, d, "grad"), cell(t, f"{x}*{d}", "grad")])
    rows.append(["sum of all 196", "<td></td>", "<td></td>", cell(t, f"dW2[{u},{v},{c},{f}]", "grad")])
    return table(f"dW2[{u},{v},{c},{f}]: its largest products", ["place", "p1", "dz2", "product"], rows)


def b9(t):
    """The nine partial sums of one cell of dp1."""
    (i, j, _), c = top_term(t), strongest_weight(t)[2]
    rows = [[f"u = {u}", *(cell(t, f"scatter[{u},{v},{i},{j},{c}]", "grad") for v in range(3))] for u in range(3)]
    rows.append(["sum", cell(t, f"dp1[{i},{j},{c}]", "grad"), "<td></td>", "<td></td>"])
    return table(
        f"dp1 at row {i}, column {j}, channel {c}: what comes back through weight [u,v]",
        ["", "v = 0", "v = 1", "v = 2"],
        rows,
    )


def check(t):
    """The gradient of the strongest weight of conv2, computed and measured."""
    index = ",".join(map(str, strongest_weight(t)))
    rows = [
        ["from the backward pass", cell(t, f"dW2[{index}]", "grad")],
        [f"measured with h = {H:g}", cell(t, f"numeric[{index}]", "grad")],
    ]
    return table(f"weight W2[{index}]", ["slope", "value"], rows)


STATIC = {"F3": f3, "F5": f5, "F6": f6, "F10": f10, "F12": f12, "B1": b1, "B7": b7, "B8": b8, "B9": b9, "G": check}


# ---- text with numbers


def target(t: Trace) -> str:
    """Whose loss the way back explains."""
    return f"The loss here is that of {escape(t.class_names[t.target])}, p = {grad(t['p'][t.target])[1:]}."


def sheet(traces: list[Trace]) -> str:
    """All photos with labels and predictions, for reading without JavaScript."""
    names = [escape(name) for name in traces[0].class_names]
    rows = [
        [
            f"{t.number} = test[{t.number - 1}]",
            f"<td>{names[t.label]}</td>",
            f"<td>{names[t.predicted]}</td>",
            f"<td>{'right' if t.label == t.predicted else 'WRONG'}</td>",
        ]
        for t in traces
    ]
    return f'<div class="static derived">{table("labels and predictions", ["photo", "label", "model says", ""], rows)}</div>'


def network() -> str:
    """One item a layer: maps forward and backward, shape, parameters, multiply-adds."""
    items = []
    for name, ahead, back, title, shape, parameters, products in LAYERS:
        numbers = (
            f"<small>{parameters:,} parameters<br>{products:,} multiply-adds</small>"
            if parameters
            else "<small>no parameters</small>"
        )
        items.append(
            f'<li><a href="#step-{ahead}" data-step="{ahead}" aria-label="{ahead}: {title}, {shape}">'
            f'<canvas id="net-{name}" aria-hidden="true"></canvas></a>'
            f"<b>{title}</b><span>{shape}</span>{numbers}"
            f'<a href="#step-{back}" data-step="{back}" aria-label="{back}: slopes of {title}">'
            f'<canvas id="net-d{name}" aria-hidden="true"></canvas></a></li>'
        )
    return "".join(items)


def geometry() -> str:
    """Sizes and padding for the settings that are asked for most."""
    from kernels.geometry import window_geometry

    rows = []
    for size, k, s, padding in GEOMETRY:
        out, before, after = window_geometry(size, k, s, padding)
        rows.append(
            [f"{size}, {k}×{k}, stride {s}, {padding}", f"<td>{out}</td>", f"<td>{before}</td>", f"<td>{after}</td>"]
        )
    return table("output and padding by Keras’ rule", ["input, kernel", "output", "zeros before", "after"], rows)


def comparison(found: dict | None) -> str:
    """What `cnn compare` measured on the whole test set: a table, and its own sentences."""
    if not found:
        return "<p>For these networks no comparison on the whole test set has been made: <code>cnn compare</code> makes it.</p>"
    shown = [row for row in found["results"] if not row["dy"]]
    first, second = found["networks"]
    rows = [
        [escape(row["change"]), *(_share(row[n]) + _share(row[n]["by_class"].get("Sandal")) for n in (first, second))]
        for row in shown
    ]
    head = ["photos", f"{first}, all", f"{first}, sandals", f"{second}, all", f"{second}, sandals"]
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in found["sentences"])
    caption = f"right answers of {found['photos']:,} photos, in percent, with 95 % intervals"
    return (
        f"<h3>What the whole test set says</h3>{table(caption, head, rows)}<ul>{said}</ul><p>{escape(found['why'])}</p>"
    )


def _share(score):
    if not score:
        return "<td></td>"
    low, high = (f"{edge:.1%}".rstrip("%") for edge in score["interval"])
    return f"<td>{score['share']:.1%} <small>{low}–{high}</small></td>"
