"""The steps behind the maps: flatten, the Dense layers, softmax and loss, forward and backward."""

import numpy as np

from cnn.checks import known
from cnn.explain import parts, voice
from cnn.explain.parts import Grid, Line, Map, Num, Row, Table, count, gradient, grids, line, ref
from cnn.explain.trace import is_relu
from cnn.explain.views.scene import Scene, field_line, origin, table_sum, term_table

AROUND = 5  # neighbours in the flattened row
LEGIBLE = 7  # columns of a map that fit beside each other


def flatten(s: Scene) -> tuple:
    """F9: which number of the row is which cell of which map."""
    x, y, names = s.get("x"), s.get("y"), s.names
    n, rows = parts.one(s.cursor.unit, y), []
    first = max(0, min(n - 2, len(y) - AROUND))
    for k in range(first, min(len(y), first + AROUND)):
        cell = tuple(map(int, np.unravel_index(k, x.shape)))
        place = ", ".join(map(str, cell))
        rows.append([">" if k == n else "", count(k), place, s.num("x", cell), s.num("y", (k,))])
    cell = tuple(map(int, np.unravel_index(n, x.shape)))
    same = Row(f"the same number, {ref(names['x'], cell)}", s.num("x", cell, "total"))
    table = Table(["", "n", "r, s, c" if x.ndim == 3 else "place", names["x"], names["y"]], rows)
    where = f"n = {place_in_row(cell, x.shape)} = {n}" if x.ndim == 3 else f"n = {n}"
    return s.cursor.but(unit=n), where, [table, parts.total(s.t, names["y"], (n,), [x[cell]], [same])]


def place_in_row(cell: tuple, shape: tuple[int, int, int]) -> str:
    """(3*7 + 4)*64 + 2: where a cell of a map stands in the flattened row; numbers or letters."""
    return f"({cell[0]}*{shape[1]} + {cell[1]})*{shape[2]} + {cell[2]}"


def flatten_back(s: Scene) -> tuple:
    """B6: the row of gradients becomes maps again."""
    dy, dx, names = s.get("dy"), s.get("dx"), s.names
    n = parts.one(s.cursor.unit, dy)
    cell = tuple(map(int, np.unravel_index(n, dx.shape)))
    same = Row(ref(names["dy"], (n,)), s.num("dy", (n,)))
    found: list = [parts.total(s.t, names["dx"], cell, [dy[n]], [same])]
    picture = None
    if dx.ndim == 3:
        r, w, c = cell
        picture = Map(names["dx"], dx[..., c], (r, w), signed=True)
        caption, marks = f"{names['dx']}[:,:,{c}]", parts.here(dx.shape[:2], (r, w))
        shown = grids(Grid(f"{caption}, all places of map {c}", dx[..., c], "brief", marks, caption))
        found = [shown, *found] if dx.shape[1] <= LEGIBLE else found
    return s.cursor.but(unit=n), f"n={n} goes back to {cell}", found, picture


def dense(s: Scene) -> tuple:
    """F10: one unit as the sum of its terms, the largest first, each with the cell it comes from."""
    x, z, names, k = s.get("x"), s.get("z"), s.names, s.words.step.stage
    u = parts.one(s.cursor.unit, s.get("y"))
    terms = s.terms(u=u)
    flattened = origin(s.t, k, 0) is not None
    table = term_table(
        s, terms, ("r, s, c", lambda n: ", ".join(map(str, known(origin(s.t, k, n))))) if flattened else None
    )
    row = Row(f"sum of {len(x)} products", Num(float(terms.terms.sum()), kind="total"), table_sum(table))
    found = [table, parts.summed(s.t, terms, [row])]
    if is_relu(s.stage):
        opened = f"then ReLU: {names['y']}[{u}] = max(0, z) = "
        closed = count(int((z <= 0).sum()))
        found.append(line(opened, s.num("y", (u,), "total"), "; units closed: ", closed, " of ", count(len(z))))
    cell = origin(s.t, k, int(terms.order()[0]))
    if cell and len(cell) == 3 and k > 1:
        found += field_line(s.t, k - 2, cell[:2], "the largest term")
    where = f"unit u={u} of 0..{len(z) - 1}; the {min(s.words.top, len(x))} largest of {len(x)} terms"
    return s.cursor.but(unit=u), where, found


def logits(s: Scene) -> tuple:
    """F11: one number for each class, before they become probabilities."""
    t, x, z, names = s.t, s.get("x"), s.get("z"), s.names
    dots, rows = x @ s.get("kernel"), []
    for k in top_classes(z):
        mark = "<- largest" if k == t.predicted else "label" if k == t.label else ""
        bias = s.num("bias", (k,), "total") if s.stage.layer.use_bias else "none"
        rows.append([count(k), t.class_names[k], Num(dots[k], kind="total"), bias, s.num("z", (k,), "total"), mark])
    k = t.predicted if s.cursor.unit is None else parts.one(s.cursor.unit, z)
    terms = s.terms(**{known(s.words.sentence).places[0][0]: k})
    row = Row(f"sum of {len(x)} products for {t.class_names[k]}", Num(float(terms.terms.sum()), kind="total"))
    table = Table(["k", "class", "dot product", "bias", names["z"], ""], rows)
    return s.cursor.but(unit=k), f"class k={k}, {t.class_names[k]}", [table, parts.summed(t, terms, [row])]


def top_classes(z: np.ndarray) -> list[int]:
    """All classes, in order; of more than twelve the ten with the largest numbers."""
    return list(range(len(z))) if len(z) <= 12 else sorted(int(k) for k in np.argsort(-z, kind="stable")[:10])


def softmax(s: Scene) -> tuple:
    """F12: from logits to probabilities, and the loss."""
    t, name, rows = s.t, s.t.stages[-1].names["y"], []
    z, p = t[name], t["p"]
    e = np.exp(z - z.max())
    for k in top_classes(z):
        mark = " ".join(
            word for word, k_ in (("label", t.label), ("target", t.target), ("answer", t.predicted)) if k_ == k
        )
        numbers = [
            Num(z[k] - z.max(), kind="signed"),
            Num(e[k], kind="probability"),
            parts.num(t, "p", (k,), "probability"),
        ]
        rows.append([count(k), t.class_names[k], parts.num(t, name, (k,), "value"), *numbers, mark])
    wanted = t.predicted if t.label is None else t.label
    loss = float(np.log(e.sum()) - (z[wanted] - z.max()))
    right, share = t.class_names[wanted], e[wanted] / e.sum()
    what = "the answer" if t.label is None else "the label"
    found = [
        Table(["k", "class", "z", "z - max", "exp", "p", ""], rows),
        line("sum of exp = ", Num(float(e.sum()), kind="total"), "    sum of p = ", Num(float(p.sum()), kind="total")),
        parts.total(t, "p", (wanted,), [share], [Row(f"exp / sum of exp, {right}", Num(share, kind="total"))]),
        line(f"loss = -log p[{right}] = ", Num(loss, kind="size"), f"        {right} is {what}"),
    ]
    return s.cursor, "", found


def dlogits(s: Scene) -> tuple:
    """B1: the error at the output, p - y."""
    t, p, d, rows = s.t, s.t["p"], s.t["dlogits"], []
    k = t.target if s.cursor.unit is None else parts.one(s.cursor.unit, p)
    for n in top_classes(p):
        mark = "<- target: push up" if n == t.target else ""
        numbers = parts.num(t, "p", (n,), "size"), count(n == t.target), parts.num(t, "dlogits", (n,))
        rows.append([count(n), t.class_names[n], *numbers, mark])
    terms = s.terms(k=k)
    lines = [Row(f"p[{k}]", parts.num(t, "p", (k,), "gradient")), Row(f"- y[{k}]", gradient(float(terms.terms)))]
    found = [
        Table(["k", "class", "p", "y", "dlogits = p - y", ""], rows),
        line("sum of all = ", count(round(float(d.sum()), 12) + 0.0), ": what one class gains the others lose"),
        parts.total(t, "dlogits", (k,), [p[k], float(terms.terms)], lines),
    ]
    return s.cursor.but(unit=k), "y = 1 for the target, else 0", found


def dense_kernel(s: Scene) -> tuple:
    """B2, B4: the gradient of one weight of a Dense layer is one product."""
    x, dz, dkernel, names = s.get("x"), s.get("dz"), s.get("dkernel"), s.names
    n, u = parts.largest(dkernel) if s.cursor.weight is None else parts.clip(s.cursor.weight, dkernel.shape)
    units = sorted({u, *np.argsort(-np.abs(dz), kind="stable")[:3].tolist()})
    inputs = [n, *[k for k in np.argsort(-np.abs(x), kind="stable")[:4].tolist() if k != n]][:4]
    rows: list[list] = [["", *[s.num("dz", (k,)) for k in units]]]
    for k in inputs:
        rows.append([Line([f"{names['x']}[{k}] = ", s.num("x", (k,))]), *[s.num("dkernel", (k, w)) for w in units]])
    lines = [Row(f"{names['x']}[{n}]", s.num("x", (n,), "gradient")), Row(f"x {names['dz']}[{u}]", s.num("dz", (u,)))]
    table = Table(["", *[f"{names['dz']}[{k}]" for k in units]], rows)
    found = [*gate_line(s, (u,)), table, parts.total(s.t, names["dkernel"], (n, u), [x[n] * dz[u]], lines)]
    if s.stage.layer.use_bias:
        found.append(line(f"bias: {ref(names['dbias'], (u,))} = {names['dz']}[{u}] = ", s.num("dbias", (u,))))
    zeros, why = parts.percent(dkernel == 0), ": a silent input, or a closed unit"
    found.append(line("weights whose gradient is exactly 0: ", zeros, " of ", count(dkernel.size), why))
    letters = [letter for letter, _ in known(s.words.sentence).places]
    weight = voice.number(s.get("kernel")[n, u], "total")
    return s.cursor.but(weight=(n, u)), f"weight {letters[0]}={n} {letters[1]}={u}, w = {weight}", found


def gate_line(s: Scene, index: tuple[int, ...]) -> list[Line]:
    """How the gradient passes the layer's ReLU at one place; nothing where there is none."""
    if not is_relu(s.stage):
        return []
    opened = "> 0: open, so" if s.get("z")[index] > 0 else "<= 0: closed, so"
    before = f"ReLU: {ref(s.names['z'], index)} = ", s.num("z", index, "value")
    after = f" {opened} {s.names['dz']} = ", s.num("dz", index), f" from {s.names['dy']} = ", s.num("dy", index)
    return [line(*before, *after)]


def dense_input(s: Scene) -> tuple:
    """B3, B5: what each unit behind says about one input, added up."""
    dx, step = s.get("dx"), s.words.step
    n = parts.one(s.cursor.unit, dx)
    letter = known(s.words.sentence).places[0][0]
    terms = s.terms(**{letter: n})
    table = term_table(s, terms)
    row = Row(f"sum of {terms.terms.size} products", gradient(terms.terms.sum()), table_sum(table))
    cell = origin(s.t, step.stage, n)
    where = f"input {letter}={n} of 0..{len(dx) - 1}" + (f", the cell (r, s, c) = {cell}" if cell else "")
    return s.cursor.but(unit=n), where, [table, parts.summed(s.t, terms, [row])]


def through(s: Scene) -> tuple:
    """Layers without a view of their own, such as Dropout outside training: in and out at one place."""
    return s.cursor, *passage(s, "x" if "z" not in s.names else "z", "y", "total")


def through_back(s: Scene) -> tuple:
    """The same backward: the gradient that comes in and the one that goes on, at one place."""
    return s.cursor, *passage(s, "dy", "dx", "gradient")


def passage(s: Scene, before: str, after: str, kind: str) -> tuple:
    """One number of a layer where it is largest, and what it was before the layer."""
    array, names = s.get(after), s.names
    index = parts.largest(array)
    row = Row("computed by the layer", s.num(after, index, kind))
    found: list = [parts.total(s.t, names[after], index, [array[index]], [row])]
    if s.get(before).shape == array.shape:
        found.insert(0, line(f"in:  {names[before]} = ", s.num(before, index, kind)))
    return f"place {index} of {array.shape}", found


VIEWS = {
    "flatten": flatten,
    "flatten-back": flatten_back,
    "dense": dense,
    "logits": logits,
    "softmax": softmax,
    "dlogits": dlogits,
    "dense-dkernel": dense_kernel,
    "dense-dx": dense_input,
    "through": through,
    "through-back": through_back,
}
