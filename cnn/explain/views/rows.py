"""The steps behind the maps: flatten, the Dense layers, softmax and loss, forward and backward."""

import numpy as np

from cnn.checks import known
from cnn.explain import parts, voice
from cnn.explain.parts import Grid, Grids, Line, Map, Num, Row, Table, count, gradient, line
from cnn.explain.trace import is_relu
from cnn.explain.views.scene import Scene, field_line, origin, table_and_sum

AROUND = 5  # neighbours in the flattened row
LEGIBLE = 7  # columns of a map that fit beside each other


def cell_of(n: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The cell whose number stands at place n of the flattened row."""
    return tuple(map(int, np.unravel_index(n, shape)))


def flatten(s: Scene) -> tuple:
    """F9: which number of the row is which cell of which map."""
    x, y, names = s.get("x"), s.get("y"), s.names
    n, rows = parts.one(s.cursor.unit, y), []
    first = max(0, min(n - 2, len(y) - AROUND))
    for k in range(first, min(len(y), first + AROUND)):
        cell = cell_of(k, x.shape)
        rows.append([">" if k == n else "", count(k), ", ".join(map(str, cell)), s.num("x", cell), s.num("y", (k,))])
    cell = cell_of(n, x.shape)
    same = Row(f"the same number, {s.ref('x', cell)}", s.num("x", cell, "total"))
    table = Table(["", "n", "r, s, c" if x.ndim == 3 else "place", names["x"], names["y"]], rows)
    where = f"n = {place_in_row(cell, x.shape)} = {n}" if x.ndim == 3 else f"n = {n}"
    return s.cursor.but(unit=n), where, [table, s.total("y", (n,), [x[cell]], same)]


def place_in_row(cell: tuple, shape: tuple[int, ...]) -> str:
    """(3*7 + 4)*64 + 2: where a cell of a map stands in the flattened row; numbers or letters."""
    return f"({cell[0]}*{shape[1]} + {cell[1]})*{shape[2]} + {cell[2]}"


def flatten_back(s: Scene) -> tuple:
    """B6: the row of gradients becomes maps again."""
    dy, dx, name = s.get("dy"), s.get("dx"), s.names["dx"]
    n = parts.one(s.cursor.unit, dy)
    cell = cell_of(n, dx.shape)
    found: list = [s.total("dx", cell, [dy[n]], Row(s.ref("dy", (n,)), s.num("dy", (n,))))]
    picture = None
    if dx.ndim == 3:
        r, w, c = cell
        picture = Map(name, dx[..., c], (r, w), signed=True)
        caption, marks = f"{name}[:,:,{c}]", parts.here(dx.shape[:2], (r, w))
        shown = Grids([Grid(f"{caption}, all places of map {c}", dx[..., c], "brief", marks, caption)])
        found = [shown, *found] if dx.shape[1] <= LEGIBLE else found
    return s.cursor.but(unit=n), f"n={n} goes back to {cell}", found, picture


def dense(s: Scene) -> tuple:
    """F10: one unit as the sum of its terms, the largest first, each with the cell it comes from."""
    x, z, k = s.get("x"), s.get("z"), s.words.step.stage
    u = parts.one(s.cursor.unit, s.get("y"))
    terms = s.terms(u=u)
    found = [*table_and_sum(s, terms, origin(s.t, k, 0) is not None)]
    if is_relu(s.stage):
        opened, closed = "then ReLU: {} = max(0, z) = {}; units closed: {} of {}", count(int((z <= 0).sum()))
        found.append(line(opened, s.ref("y", (u,)), s.num("y", (u,), "total"), closed, count(len(z))))
    cell = origin(s.t, k, int(terms.order()[0]))
    if cell and len(cell) == 3 and k > 1:
        found += field_line(s.t, k - 2, cell[:2], "the largest term")
    where = f"unit u={u} of 0..{len(z) - 1}; the {min(s.words.top, len(x))} largest of {len(x)} terms"
    return s.cursor.but(unit=u), where, found


def logits(s: Scene) -> tuple:
    """F11: one number for each class, before they become probabilities."""
    t, x, z = s.t, s.get("x"), s.get("z")
    dots, rows = x @ s.get("kernel"), []
    for k in top_classes(z):
        mark = "<- largest" if k == t.predicted else "label" if k == t.label else ""
        bias = s.num("bias", (k,), "total") if s.stage.layer.use_bias else "none"
        rows.append([count(k), t.class_names[k], Num(dots[k], kind="total"), bias, s.num("z", (k,), "total"), mark])
    k = t.predicted if s.cursor.unit is None else parts.one(s.cursor.unit, z)
    label = f"sum of {len(x)} products for {t.class_names[k]}"
    total = parts.summed(t, s.terms(**{known(s.words.sentence).places[0][0]: k}), label=label)
    table = Table(["k", "class", "dot product", "bias", s.names["z"], ""], rows)
    return s.cursor.but(unit=k), f"class k={k}, {t.class_names[k]}", [table, total]


def top_classes(z: np.ndarray) -> list[int]:
    """All classes, in order; of more than twelve the ten with the largest numbers."""
    return list(range(len(z))) if len(z) <= 12 else sorted(int(k) for k in np.argsort(-z, kind="stable")[:10])


def softmax(s: Scene) -> tuple:
    """F12: from logits to probabilities, and the loss."""
    t, name, rows = s.t, s.t.stages[-1].names["y"], []
    z, names = t[name], t.class_names
    e, classes = np.exp(z - z.max()), (("label", t.label), ("target", t.target), ("answer", t.predicted))
    for k in top_classes(z):
        shifted, exp = Num(z[k] - z.max(), kind="signed"), Num(e[k], kind="probability")
        logit, p = parts.num(t, name, (k,), "value"), parts.num(t, "p", (k,), "probability")
        rows.append([count(k), names[k], logit, shifted, exp, p, " ".join(word for word, one in classes if one == k)])
    wanted, what = (t.predicted, "the answer") if t.label is None else (t.label, "the label")
    right, share, total = names[wanted], e[wanted] / e.sum(), Num(float(e.sum()), kind="total")
    loss = Num(float(np.log(e.sum()) - (z[wanted] - z.max())), kind="size")
    found = [
        Table(["k", "class", "z", "z - max", "exp", "p", ""], rows),
        line("sum of exp = {}    sum of p = {}", total, Num(float(t["p"].sum()), kind="total")),
        parts.total(t, "p", (wanted,), [share], Row(f"exp / sum of exp, {right}", Num(share, kind="total"))),
        line("loss = -log p[{}] = {}        {} is " + what, right, loss, right),
    ]
    if t.target != wanted:
        asked = f"backward, we ask: what if this were {voice.article(names[t.target])}? -log p[{names[t.target]}] = "
        found.append(line("{}{}", asked, Num(t.loss, kind="size")))
    return s.cursor, "", found


def dlogits(s: Scene) -> tuple:
    """B1: the error at the output, p - y."""
    t, p, rows = s.t, s.t["p"], []
    k = t.target if s.cursor.unit is None else parts.one(s.cursor.unit, p)
    for n in top_classes(p):
        mark = "<- target: push up" if n == t.target else ""
        numbers = parts.num(t, "p", (n,), "size"), count(n == t.target), parts.num(t, "dlogits", (n,))
        rows.append([count(n), t.class_names[n], *numbers, mark])
    minus_y = gradient(float(s.terms(k=k).terms))
    lines = [Row(f"p[{k}]", parts.num(t, "p", (k,), "gradient")), Row(f"- y[{k}]", minus_y)]
    none = count(round(float(t["dlogits"].sum()), 12) + 0.0)
    found = [
        Table(["k", "class", "p", "y", "dlogits = p - y", ""], rows),
        line("sum of all = {}: what one class gains the others lose", none),
        parts.total(t, "dlogits", (k,), [p[k], minus_y.value], *lines),
    ]
    return s.cursor.but(unit=k), "y = 1 for the target, else 0", found


def dense_dkernel(s: Scene) -> tuple:
    """B2, B4: the gradient of one weight of a Dense layer is one product."""
    x, dz, dkernel = s.get("x"), s.get("dz"), s.get("dkernel")
    n, u = weight = s.weight()
    units = sorted({u, *np.argsort(-np.abs(dz), kind="stable")[:3].tolist()})
    inputs = [n, *[k for k in np.argsort(-np.abs(x), kind="stable")[:4].tolist() if k != n]][:4]
    rows: list = [["", *[s.num("dz", (k,)) for k in units]]]
    for k in inputs:
        rows.append([line("{} = {}", s.ref("x", (k,)), s.num("x", (k,))), *[s.num("dkernel", (k, w)) for w in units]])
    lines = [Row(s.ref("x", (n,)), s.num("x", (n,), "gradient")), Row(f"x {s.ref('dz', (u,))}", s.num("dz", (u,)))]
    table = Table(["", *[s.ref("dz", (k,)) for k in units]], rows)
    total = s.total("dkernel", weight, [x[n] * dz[u]], *lines)
    found = [*gate_line(s, (u,)), table, total, *s.bias_line((u,), s.ref("dz", (u,)))]
    zeros = "weights whose slope is exactly 0: {} of {}: a silent input, or a closed unit"
    found.append(line(zeros, parts.percent(dkernel == 0), count(dkernel.size)))
    (a, _), (b, _) = known(s.words.sentence).places
    return s.cursor.but(weight=weight), f"weight {a}={n} {b}={u}, w = {s.num('kernel', weight, 'total').text()}", found


def gate_line(s: Scene, index: tuple[int, ...]) -> list[Line]:
    """How the gradient passes the layer's ReLU at one place; nothing where there is none."""
    if not is_relu(s.stage):
        return []
    opened = "> 0: open" if s.get("z")[index] > 0 else "<= 0: closed"
    before = s.ref("z", index), s.num("z", index, "value")
    after = s.names["dz"], s.num("dz", index), s.names["dy"], s.num("dy", index)
    return [line(f"ReLU: {{}} = {{}} {opened}, so {{}} = {{}} from {{}} = {{}}", *before, *after)]


def dense_dx(s: Scene) -> tuple:
    """B3, B5: what each unit behind says about one input, added up."""
    dx = s.get("dx")
    n, letter = parts.one(s.cursor.unit, dx), known(s.words.sentence).places[0][0]
    cell = origin(s.t, s.words.step.stage, n)
    where = f"input {letter}={n} of 0..{len(dx) - 1}" + (f", the cell (r, s, c) = {cell}" if cell else "")
    return s.cursor.but(unit=n), where, [*table_and_sum(s, s.terms(**{letter: n}))]


def through(s: Scene) -> tuple:
    """Layers without a view of their own, such as Dropout outside training: in and out at one place."""
    return passage(s, "x" if "z" not in s.names else "z", "y", "total")


def through_back(s: Scene) -> tuple:
    """The same backward: the gradient that comes in and the one that goes on, at one place."""
    return passage(s, "dy", "dx", "gradient")


def passage(s: Scene, before: str, after: str, kind: str) -> tuple:
    """One number of a layer, on the path or where it is largest, and what it was before the layer."""
    array, at = s.get(after), s.words.step.stage + (after == "y")
    index = s.cursor.cells[at] if s.cursor.cells else parts.largest(array)
    found: list = [s.total(after, index, [array[index]], Row("computed by the layer", s.num(after, index, kind)))]
    if s.get(before).shape == array.shape:
        found.insert(0, line("in:  {} = {}", s.names[before], s.num(before, index, kind)))
    return s.cursor, f"place {index} of {array.shape}", found
