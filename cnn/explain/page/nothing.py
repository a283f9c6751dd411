"""The chapter "Backward from nothing": the slope and the chain rule on one weight, then on a weight of the network.

Its text is nothing.html. A number in it is {n:name}; here all of them are computed, once as they stand when nothing
has been moved, for reading without JavaScript. toy.js has the same arithmetic, for the sliders; the page compares.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn.explain import chain, path, voice
from cnn.explain.formulas import first_stage, tour
from cnn.explain.page.markup import escape
from cnn.explain.parts import ref
from cnn.explain.trace import Trace, loss_with

# A unit with one weight: what comes in, what it should say, its weight, and how it is moved; tiny: a nudge so small
# that it hardly counts. Behind a fork two units take the number on, each with a weight and a wish of its own.
TOY: dict[str, Any] = {
    **{"x": 2.0, "wanted": 3.0, "w": 0.5, "low": -0.5, "high": 3.5, "h": 0.5, "tiny": 0.001, "rate": 0.05, "steps": 5},
    **{"a": 0.5, "wantedA": 1.0, "b": -1.0, "wantedB": 1.0},
    "nudges": [1.0, 0.1, 0.01, 0.001],  # of the network's weight
    "own": 0.3,
}


def chapter(t: Trace, text: str) -> str:
    """The chapter with its numbers for this trace."""
    found = texts(t)
    shown = lambda name: f'<b data-n="{name}">{escape(found[name])}</b>'
    others = {"toy": escape(json.dumps(TOY)), "learning": learning(), "nudged": nudged(), **shapes()}
    text = re.sub(r"\{\{([\w-]+)\}\}", lambda name: others[name[1]], text)
    return re.sub(r"\{n:([\w-]+)\}", lambda name: shown(name[1]), text)


def texts(t: Trace) -> dict[str, str]:
    """All numbers of the chapter as they are printed, by name."""
    plain = {name: printed(value) for name, value in toy(TOY).items()}
    plain |= {name: printed(TOY[name]) for name in ("low", "high", "rate")}
    plain["top"] = printed(loss(TOY["x"] * TOY["low"], TOY["wanted"]))
    return plain | (network(t) if any(step.kind == "chain" for step in tour(t)) else {})


def printed(value: float | str, kind: str = "rate") -> str:
    """A number as the page prints it; words stay."""
    return value if isinstance(value, str) else voice.number(value, kind).replace("-", "\N{MINUS SIGN}")


# ---- one weight


def loss(u: float, wanted: float) -> float:
    """How far off, squared."""
    return (u - wanted) ** 2


def toy(c: Mapping[str, Any]) -> dict[str, float | str]:
    """The unit's numbers, those of a nudge, the links of its chain, the fork, and some steps of learning."""
    x, wanted, w, h, tiny = (c[name] for name in ("x", "wanted", "w", "h", "tiny"))
    at = lambda weight: loss(x * weight, wanted)
    u, change = x * w, at(w + h) - at(w)
    found = {"x": x, "wanted": wanted, "w": w, "u": u, "off": u - wanted, "loss": at(w), "h": h, "tiny": tiny}
    found |= {"moved": w + h, "u2": x * (w + h), "after": at(w + h), "change": change, "secant": change / h}
    links = {"link1": x, "link2": 2 * (u - wanted), "slope": x * 2 * (u - wanted)}
    tried = {"tried1": (x * (w + tiny) - u) / tiny, "tried2": (loss(u + tiny, wanted) - at(w)) / tiny}
    tried["tried"] = (at(w + tiny) - at(w)) / tiny
    return found | links | tried | fork(c) | steps(c, at)


def fork(c: Mapping[str, Any]) -> dict[str, float | str]:
    """Two ways from the weight to the loss."""
    x, w, tiny, a, b = (c[name] for name in ("x", "w", "tiny", "a", "b"))
    both = lambda weight: loss(a * x * weight, c["wantedA"]) + loss(b * x * weight, c["wantedB"])
    slope_a, slope_b = 2 * (a * x * w - c["wantedA"]), 2 * (b * x * w - c["wantedB"])
    found = {"a": a, "b": b, "wantedA": c["wantedA"], "wantedB": c["wantedB"], "A": a * x * w, "B": b * x * w}
    found |= {"both": both(w), "slopeA": slope_a, "slopeB": slope_b, "wayA": x * a * slope_a, "wayB": x * b * slope_b}
    return found | {"ways": x * a * slope_a + x * b * slope_b, "triedWays": (both(w + tiny) - both(w)) / tiny}


def steps(c: Mapping[str, Any], at: Any) -> dict[str, float | str]:
    """Steps against the slope, and what came of them."""
    found: dict[str, float | str] = {}
    w, losses = c["w"], []
    for n in range(c["steps"] + 1):
        slope = c["x"] * 2 * (c["x"] * w - c["wanted"])
        losses.append(at(w))
        found |= {f"w{n}": w, f"slope{n}": slope, f"loss{n}": at(w)}
        w -= c["rate"] * slope
    falls = losses[-1] < losses[0]
    return found | {"verdict": "The loss falls." if falls else "The loss does not fall: the steps are too large."}


# ---- a weight of the network


def network(t: Trace) -> dict[str, str]:
    """The weight at which the tour's path ends, nudged, and the loss of a whole forward pass each time."""
    way, stage = chain.start(t), t.stages[first_stage(t)]
    at = path.weight(t, way, first_stage(t))
    w, slope, paths = t.get(stage, "kernel")[at], t.get(stage, "dkernel")[at], chain.count(t, way)
    found = {
        "net-title": t.title if t.number or t.source else "the photo",
        "net-weight": ref(stage.names["kernel"], at),
        "net-places": "row, column, channel, filter" if len(at) == 4 else "number that comes in, unit",
        "net-class": t.class_names[t.target],
    }
    found |= {
        "net-w": printed(w, "signed"),
        "net-slope": printed(slope, "gradient"),
        "net-loss": printed(t.loss, "loss"),
    }
    found |= {"net-paths": f"{paths:,}" if paths else "many"}
    for n, h in enumerate([*TOY["nudges"], TOY["own"]]):
        kernel = np.array(t.get(stage, "kernel"))
        kernel[at] += h
        after = loss_with(t, {f"{stage.layer.name}/kernel": kernel})
        row = {"h": printed(h), "loss": printed(after, "loss"), "told": printed(slope * h, "gradient")}
        row |= {"change": printed(after - t.loss, "gradient"), "slope": printed((after - t.loss) / h, "gradient")}
        found |= {f"net-{name}{n}": text for name, text in row.items()}
    return found


# ---- drawn and listed


def shapes() -> dict[str, str]:
    """The curve and what lies on it as SVG paths in units of weight and loss; y grows downwards there, so it is -loss.

    nothing.js draws all but the curve anew when a slider moves.
    """
    n: dict[str, Any] = toy(TOY)
    at = lambda w: f"{w:.6g} {-loss(TOY['x'] * w, TOY['wanted']):.6g}"
    line = lambda w: f"{w:.6g} {-(n['loss'] + n['secant'] * (w - n['w'])):.6g}"
    stops = [at(n[f"w{k}"]) for k in range(TOY["steps"] + 1)]  # of learning
    return {
        "curve": f"M{' '.join(map(at, np.linspace(TOY['low'], TOY['high'], 61)))}",
        "secant": f"M{line(TOY['low'] - 1)}L{line(TOY['high'] + 1)}",
        "rise": f"M{at(n['w'])}H{n['moved']:.6g}V{-n['after']:.6g}",
        "dots": f"M{at(n['w'])}h0M{at(n['moved'])}h0",
        "steps": f"M{'L'.join(stops)}",
        "stops": f"M{'h0M'.join(stops)}h0",
    }


def learning() -> str:
    """The rows of the steps."""
    cells = "<td>{{n:w{0}}}</td><td>{{n:slope{0}}}</td><td>{{n:loss{0}}}</td>"
    return "".join(f'<tr><th scope="row">{n}</th>{cells.format(n)}</tr>' for n in range(TOY["steps"] + 1))


def nudged() -> str:
    """The rows of the network's weight, the last for the learner's own nudge."""
    cells = "".join(f"<td>{{n:net-{name}#}}</td>" for name in ("loss", "change", "told", "slope"))
    rows = [
        f'<th scope="row">{{n:net-h{n}}}{" (yours)" * (n == len(TOY["nudges"]))}</th>{cells.replace("#", str(n))}'
        for n in range(len(TOY["nudges"]) + 1)
    ]
    return "".join(f"<tr{' class=js-only' if n == len(rows) - 1 else ''}>{row}</tr>" for n, row in enumerate(rows))
