"""Back through a ReLU, and the chain rule: the numbers along one path, multiplied."""

from dataclasses import replace

from cnn.checks import known
from cnn.explain import chain as chains
from cnn.explain import parts, path
from cnn.explain.formulas import Step, formula, kind_of
from cnn.explain.parts import Grid, Grids, Map, Row, Sum, Table, count, gradient, line
from cnn.explain.terms import Tensors, evaluate
from cnn.explain.views.scene import Scene, around
from cnn.explain.voice import CHAIN_HEADS, SAID


def relu_back(s: Scene) -> tuple:
    """R1..: what comes back to a number that was closed is 0."""
    dy, dz, z = s.get("dy"), s.get("dz"), s.get("z")
    place: tuple[int, ...]
    if dz.ndim == 3:
        place = parts.place(s.cursor, dz)
        (at, before, marks), (_, back, _), (_, sums, _) = (around(one, place) for one in (dy, dz, z))
        where = "cell i={} j={}   filter f={}   (marked with < >)".format(*place)
        cursor = s.cursor.but(cell=place[:2], filter=place[2])
        picture = Map(f"{s.names['dz']}, filter {place[2]}", dz[..., place[2]], place[:2], signed=True)
    else:
        place = (parts.one(s.cursor.unit, dz),)
        first = max(0, min(place[0] - 2, len(dz) - 5))
        at, marks = f"[{first}:{first + 5}]", parts.here((1, min(5, len(dz))), (0, place[0] - first))
        before, back, sums = (one[None, first : first + 5] for one in (dy, dz, z))
        where, cursor, picture = f"unit u={place[0]} of 0..{len(dz) - 1}", s.cursor.but(unit=place[0]), None
    gradients = [
        Grid(f"{s.names[role]} {at}", values, "brief", marks) for role, values in (("dy", before), ("dz", back))
    ]
    opened = z[place] > 0
    found = [
        Grids([gradients[0], "x", Grid("open", sums > 0, "count", marks), "=", gradients[1]]),
        line(
            f"here: {{}} = {{}}, {'open: 1' if opened else 'closed: 0'}", s.ref("z", place), s.num("z", place, "total")
        ),
        s.total(
            "dz", place, [dy[place] * opened], Row(s.ref("dy", place), s.num("dy", place)), Row("x open", count(opened))
        ),
        line(SAID["closed"], parts.percent(z <= 0), count(z.size)),
    ]
    return cursor, where, found, picture


def chain(s: Scene) -> tuple:
    """C: the slopes along the path, from the loss back to a weight, and their product beside the whole gradient."""
    t, k = s.t, s.words.step.stage
    way = path.Path(s.cursor.cells) if s.cursor.cells else chains.start(t)
    factors, at, rows, running = chains.links(t, way), path.weight(t, way, k), [], 1.0
    for link in factors:
        running *= link.slope.value
        rows.append([link.slope, gradient(running), link.of, link.name])
    paths, weight = chains.count(t, way), s.ref("kernel", at)
    found: list = [Table(CHAIN_HEADS, rows)]
    found += [line(SAID["nothing"], link.name) for link in factors if not link.slope.value][:1]
    found.append(line(SAID["path"], gradient(running), f"{paths:,}" if paths else "many"))
    found.append(line(SAID["all"], s.ref("dkernel", at)))
    found.append(all_paths(s, at, way.cells[k], way.cells[k + 1]))
    return s.cursor.but(cells=way.cells), f"weight {weight}, class {t.class_names[way.cells[-1][0]]}", found


def all_paths(s: Scene, at: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> Sum:
    """A weight's gradient, by the paths through one cell of its layer and those through all others."""
    t, k = s.t, s.words.step.stage
    sentence = known(formula(t, Step("", f"{kind_of(s.stage)}-dkernel", k)).sentence)
    terms = evaluate(sentence, Tensors(t), dict(zip([letter for letter, _ in sentence.places], at, strict=True)))
    through = float(s.get("x")[first] * s.get("dz")[second])
    said = SAID["through"].format(s.ref("z", second), s.ref("x", first), s.ref("dz", second))
    rows = [Row(said, gradient(through))]
    if sentence.operator:
        rows.append(Row(SAID["others"], gradient(float(terms.terms.sum()) - through)))
    return replace(s.total("dkernel", at, terms.terms, *rows), of=terms)
