"""What the forward steps behind the maps show: flatten, the Dense layers, softmax and loss."""

import numpy as np

from cnn.explain import view as v
from cnn.explain.forward import TOP, is_relu
from cnn.explain.trace import Trace
from cnn.explain.view import Cursor, Num, Row, Step, Table, View, count, line
from cnn.layers import Dense, Flatten, Softmax
from cnn.losses import cross_entropy_of_logits


def flatten_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F9: which number of the row is which cell of which map."""
    stage = t.stages[step.stage]
    x, y, names = t.get(stage, "x"), t.get(stage, "y"), stage.names
    n = v.largest(y)[0] if cursor.unit is None else v.clip((cursor.unit,), y.shape)[0]
    rows = []
    first = max(0, min(n - 2, len(y) - 5))
    for k in range(first, min(len(y), first + 5)):
        origin = tuple(int(i) for i in np.unravel_index(k, x.shape))
        rows.append(
            [
                ">" if k == n else "",
                count(k),
                ", ".join(map(str, origin)),
                v.num(t, names["x"], origin),
                v.num(t, names["y"], (k,)),
            ]
        )
    origin = tuple(int(i) for i in np.unravel_index(n, x.shape))
    if x.ndim == 3:
        formula = f"n = (r*{x.shape[1]} + s)*{x.shape[2]} + c"
        there = f"n = ({origin[0]}*{x.shape[1]} + {origin[1]})*{x.shape[2]} + {origin[2]} = {n}"
    else:
        formula, there = "the same numbers in one row", f"n = {n}"
    row = Row(f"the same number, {v.ref(names['x'], origin)}", v.num(t, names["x"], origin, "total"))
    total = v.total(t, names["y"], (n,), [x[origin]], [row], "forward")
    return View(
        step,
        f"{stage.layer.name}: all maps in one row",
        formula,
        f"The {' x '.join(map(str, x.shape))} = {len(y)} numbers, written one after the other. Nothing is computed.",
        cursor.but(unit=n),
        there,
        [Table(["", "n", "r, s, c" if x.ndim == 3 else "place", names["x"], names["y"]], rows), total],
        code=Flatten.forward,
        needle="x.reshape(len(x), -1)",
    )


def dense_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F10: one unit as the sum of its terms, the largest first, each with the cell it comes from."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    x, z, y, kernel = (t.get(stage, role) for role in ("x", "z", "y", "kernel"))
    u = v.largest(y)[0] if cursor.unit is None else v.clip((cursor.unit,), y.shape)[0]
    terms = x * kernel[:, u]
    inputs, weights = (lambda n: v.num(t, names["x"], (n,))), (lambda n: v.num(t, names["kernel"], (n, u), "signed"))
    table, row = term_table(t, step.stage, terms, names["x"], inputs, weights, names["kernel"])
    zeros = int((x == 0).sum())
    rows, all_terms = [row], terms
    if layer.use_bias:
        all_terms = np.append(terms, t.get(stage, "bias")[u])
        rows.append(Row(f"+ bias {v.ref(names['bias'], (u,))}", v.num(t, names["bias"], (u,), "total")))
    parts = [table, v.total(t, names["z"], (u,), all_terms, rows, "forward")]
    if is_relu(stage):
        value, closed = v.num(t, names["y"], (u,), "total"), count(int((z <= 0).sum()))
        parts.append(
            line(
                f"then ReLU: {names['y']}[{u}] = max(0, z) = ", value, "; units closed: ", closed, " of ", count(len(z))
            )
        )
    origin = v.flat_origin(t, step.stage, int(np.argmax(np.abs(terms))))
    field = v.receptive_field(t, step.stage - 2, origin[:2]) if origin and len(origin) == 3 and step.stage > 1 else None
    if field:
        parts.append(
            line(f"the largest term saw rows {field[0]} to {field[1]}, columns {field[2]} to {field[3]} of the photo")
        )
    return View(
        step,
        f"{layer.name}: one unit",
        "{z}[u] = {bias}[u] + SUM(n) {x}[n] * {kernel}[n,u]".format(**v.letters(stage)),
        f"Each unit weighs all {len(x)} numbers at once, for or against what it has learned to look for. {zeros} "
        "of them are 0 and add nothing.",
        cursor.but(unit=u),
        f"unit u={u} of 0..{len(z) - 1}; the {min(TOP, len(x))} largest of {len(x)} terms",
        parts,
        code=Dense.forward,
        needle='x @ self.params["kernel"]',
    )


def term_table(
    t: Trace, stage: int, terms, left: str, first, second, right: str, kind: str = "product"
) -> tuple[Table, Row]:
    """The largest terms of a long sum with their running sum, the rest in one line; and the row with the sum of all."""
    order = np.argsort(-np.abs(terms), kind="stable")[: min(TOP, len(terms))]
    running, rows = 0.0, []
    origins = v.flat_origin(t, stage, 0) is not None
    for n in order:
        running += terms[n]
        rows.append(
            [
                count(int(n)),
                *([", ".join(map(str, v.flat_origin(t, stage, n)))] if origins else []),
                first(n),
                second(n),
                Num(terms[n], kind=kind),
                Num(running, kind=kind),
            ]
        )
    rest = float(np.delete(terms, order).sum())
    others = len(terms) - len(order)
    if others:
        live = int((np.delete(terms, order) != 0).sum())
        rows.append(
            [
                "rest",
                *([""] if origins else []),
                f"{live} terms",
                f"{others - live} zeros",
                Num(rest, kind=kind),
                Num(running + rest, kind=kind),
            ]
        )
    head = ["n", *(["r, s, c"] if origins else []), left, right, "product", "running sum"]
    shown = tuple(row[-2] for row in rows)
    return Table(head, rows), Row(
        f"sum of {len(terms)} products", Num(float(terms.sum()), kind="total" if kind == "product" else kind), shown
    )


def logits_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F11: one number for each class, before they become probabilities."""
    stage = t.stages[step.stage]
    x, z, kernel, names = t.get(stage, "x"), t.get(stage, "z"), t.get(stage, "kernel"), stage.names
    use_bias = stage.layer.use_bias
    rows = []
    for k in top_classes(z):
        mark = "<- largest" if k == t.predicted else "label" if k == t.label else ""
        dot = x @ kernel[:, k]
        bias = v.num(t, names["bias"], (k,), "total") if use_bias else "none"
        rows.append(
            [count(int(k)), t.class_names[k], Num(dot, kind="total"), bias, v.num(t, names["z"], (k,), "total"), mark]
        )
    u = t.predicted if cursor.unit is None else v.clip((cursor.unit,), z.shape)[0]
    terms = x * kernel[:, u]
    lines = [Row(f"sum of {len(x)} products for {t.class_names[u]}", Num(float(terms.sum()), kind="total"))]
    if use_bias:
        lines.append(Row(f"+ bias {v.ref(names['bias'], (u,))}", v.num(t, names["bias"], (u,), "total")))
        terms = np.append(terms, t.get(stage, "bias")[u])
    return View(
        step,
        f"{stage.layer.name}: one number for each class",
        "{z}[k] = {bias}[k] + SUM(u) {x}[u] * {kernel}[u,k]".format(**v.letters(stage)),
        f"Each class adds up the {len(x)} units with weights of its own. The largest number (logit) wins.",
        cursor.but(unit=u),
        f"class k={u}, {t.class_names[u]}",
        [
            Table(["k", "class", "dot product", "bias", names["z"], ""], rows),
            v.total(t, names["z"], (u,), terms, lines, "forward"),
        ],
        code=Dense.forward,
        needle='x @ self.params["kernel"]',
    )


def top_classes(z) -> list[int]:
    """All classes, in order; of more than twelve the ten with the largest numbers."""
    return list(range(len(z))) if len(z) <= 12 else sorted(int(k) for k in np.argsort(-z, kind="stable")[:10])


def softmax_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F12: from logits to probabilities, and the loss."""
    logits = t.stages[-1].names["y"]
    z, p = t[logits], t["p"]
    e = np.exp(z - z.max())
    rows = []
    for k in top_classes(z):
        marks = (("label", t.label), ("target", t.target), ("answer", t.predicted))
        mark = " ".join(word for word, place in marks if place == k)
        differences = Num(z[k] - z.max(), kind="signed"), Num(e[k], kind="probability")
        numbers = [v.num(t, logits, (k,)), *differences, v.num(t, "p", (k,), "probability")]
        rows.append([count(k), t.class_names[k], *numbers, mark])
    wanted = t.predicted if t.label is None else t.label
    loss = float(-np.log(p[wanted])) if p[wanted] > 0 else float(z.max() - z[wanted] + np.log(e.sum()))
    name, share = t.class_names[wanted], e[wanted] / e.sum()
    row = Row(f"exp / sum of exp, {name}", Num(share, kind="total"))
    parts = [
        Table(["k", "class", "z", "z - max", "exp", "p", ""], rows),
        line("sum of exp = ", Num(float(e.sum()), kind="total"), "    sum of p = ", Num(float(p.sum()), kind="total")),
        v.total(t, "p", (wanted,), [share], [row], "forward"),
        line(
            f"loss = -log p[{name}] = ",
            Num(loss, kind="size"),
            f"        {name} is {'the answer' if t.label is None else 'the label'}",
        ),
    ]
    return View(
        step,
        "softmax and loss",
        "p[k] = exp(z[k] - max) / SUM exp        loss = -log p[label]",
        "exp makes all numbers positive, dividing by their sum turns them into probabilities. The loss is 0 if "
        "the right class has p = 1, and "
        "grows the less the network believed in it.",
        cursor,
        "",
        parts,
        code=Softmax.forward if t.label is None else cross_entropy_of_logits,
        needle="np.exp(",
    )


def through_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """Layers without a view of their own, such as Dropout outside training or a ReLU by itself: in and out at one place."""
    stage = t.stages[step.stage]
    names, y, x = stage.names, t.get(stage, "y"), t.get(stage, "x")
    index = v.largest(y)
    parts = [
        v.total(
            t,
            names["y"],
            index,
            [y[index]],
            [Row("computed by the layer", v.num(t, names["y"], index, "total"))],
            "forward",
        )
    ]
    if x.shape == y.shape:
        parts.insert(0, line(f"in:  {names['x']} = ", v.num(t, names["x"], index, "total")))
    return View(
        step,
        f"{stage.layer.name}: {type(stage.layer).__name__}",
        (type(stage.layer).__doc__ or "").strip().splitlines()[0],
        "One number of this layer, where it is largest.",
        cursor,
        f"place {index} of {y.shape}",
        parts,
        code=type(stage.layer).forward,
    )


VIEWS = {
    "flatten": flatten_view,
    "dense": dense_view,
    "logits": logits_view,
    "softmax": softmax_view,
    "through": through_view,
}
