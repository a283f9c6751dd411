"""The parts of a step as HTML: what is read without JavaScript, and compared with the live values with it.

A cell that shows an entry of the trace says which: data-ref="z1[19,11,7]", with the kind of
number it is (voice.FORMATS). The page computes all of these again when it opens.
"""

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn.article import MOMENTS
from cnn.checks import known
from cnn.explain import formulas, views, voice
from cnn.explain.formulas import Step
from cnn.explain.page.plan import operation
from cnn.explain.parts import Grid, Grids, Line, Num, Sum, Table
from cnn.explain.trace import Stage, Trace
from cnn.explain.words import Code
from kernels.geometry import window_geometry

PAGE = Path(__file__).parent
ENTRY = re.compile(r"(?!columns|lab\[)(?!.*:columns\[).+\[[\d,]+\]")  # what the page's engine has by the same name
MARKS = {"pad": "padding", "won": "winner", "here": "chosen"}
WAY = {"F": "F", "B": "B", "R": "B", "C": "B"}  # by a step's letter, the stage on which it stands
GEOMETRY = [(*sizes, "same") for sizes in ((28, 3, 1), (28, 3, 2), (5, 3, 2), (28, 7, 1), (28, 2, 1))]
GEOMETRY += [(28, 3, 2, "valid")]


class Html(str):
    """Markup that was made here, unlike any text from outside."""


def escape(text: object) -> str:
    """The text as HTML: everything from outside comes through here."""
    return html.escape(str(text))


# ---- parts


def number(num: Num) -> str:
    """A number as all of the page prints it: with a real minus sign."""
    return num.text().replace("-", "−")


def cell(shown: Any, mark: str = "") -> str:
    """A table's cell: a Num, a Line, words, or the cell itself as Html."""
    if isinstance(shown, Html):
        return shown
    cls = f' class="{MARKS[mark]}"' if mark in MARKS else ""
    if isinstance(shown, Num):
        known = ENTRY.fullmatch(shown.ref) or "=" in shown.ref
        ref = f' data-ref="{escape(shown.ref)}" data-format="{shown.kind}"' if known else ""
        return f"<td{ref}{cls}>{number(shown)}</td>"
    return f"<td{cls}>{words(shown)}</td>"


def words(shown: Any) -> str:
    """Words, a number, or a Line of both."""
    if isinstance(shown, Line):
        return "".join(map(words, shown.parts))
    return number(shown) if isinstance(shown, Num) else escape(shown)


def table(caption: str, head: list[str], rows: list[list], cls: str = "") -> str:
    """rows: a heading, then cells."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' if text else "<td></td>" for text in head)
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    body = "".join(f'<tr><th scope="row">{words(row[0])}</th>{"".join(map(cell, row[1:]))}</tr>' for row in rows)
    name, look = escape(caption), f' class="{cls}"' if cls else ""
    whole = f"<table{look}><caption>{name}</caption>{top}<tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{whole}</div>'


def grid(part: Grid) -> str:
    """A small matrix; each cell names its entry of the trace."""
    name, _, place = part.caption.rpartition(" [")
    refs = entries(part.ref or (f"{name}[{place}" if name else ""), part.values.shape[1])
    marks = np.full(part.values.shape, "") if part.marks is None else part.marks

    def one(u, v):
        ref = "" if marks[u, v] == "pad" else refs(u, v)
        return Html(cell(Num(part.values[u, v], ref, part.kind), marks[u, v]))

    height, width = part.values.shape
    rows = [[str(u), *(one(u, v) for v in range(width))] for u in range(height)]
    return table(part.caption, ["", *map(str, range(width))], rows, "grid")


def entries(ref: str, width: int) -> Callable[[int, int], str]:
    """A function that names the number at a place of a matrix: for "x[18:21,10:13,0]" or "F6 i=3 c={n}"; else ""."""
    if "{" in ref:
        return lambda u, v: ref.format(u=u, v=v, n=u * width + v)
    name, _, inside = ref.rstrip("]").rpartition("[")
    axes = [axis.partition(":") for axis in inside.split(",")]
    if len(axes) < 3 or sum(bool(colon) for _, colon, _ in axes) != 2:
        return lambda u, v: ""

    def entry(u, v):
        steps = iter((u, v))
        return f"{name}[{','.join(str(int(first or 0) + next(steps)) if colon else first for first, colon, _ in axes)}]"

    return entry


def sums(part: Sum, caption: str) -> str:
    """Rows that add up."""
    return table(
        caption, [], [*([row.label, row.num] for row in part.rows), [f"= {part.total.ref}", part.total]], "sum"
    )


def part_html(part: Any, caption: str) -> str:
    """Any part of a view."""
    match part:
        case Grids():
            arrows, sign = {"x": "×", "->": "→"}, '<b aria-hidden="true">{}</b>'.format
            items = (sign(escape(arrows.get(one, one))) if isinstance(one, str) else grid(one) for one in part.items)
            return f'<div class="equation">{"".join(items)}</div>'
        case Table():
            return table(caption, part.head, part.rows)
        case Sum():
            return sums(part, f"{caption}: the sum")
    return f"<p>{words(part)}</p>"


# ---- a stop of the tour


class Stop:
    """One step of the page: what it says, its numbers, its code. told: more.html speaks of this very network."""

    def __init__(self, t: Trace, step: Step, told: bool = False):
        self.t, self.id, self.words, self.told = t, step.id, formulas.formula(t, step), told

    def article(self) -> str:
        """The whole of a step of the tour."""
        return f'<article class="step" id="step-{self.id}">{self.head()}{self.live()}</article>'

    def head(self) -> str:
        """Title, explanation and formula; a lab has a larger title."""
        title, tour = self.words.title, self.id[0] in WAY
        title = title if tour or title.startswith(self.words.layer or " ") else title[0].upper() + title[1:]
        level = 3 if tour else 2
        heading = f"<b>{self.id}</b> {escape(title)}" if tour else escape(title)
        formula = f'<p class="formula">{escape(self.words.text)}</p>' if self.words.text else ""
        said = f"<p>{escape(self.words.say)}</p>{more(self.id, self.told)}{formula}"
        return f'<h{level} tabindex="-1">{heading}</h{level}>{said}'

    def live(self) -> str:
        """The place where a step comes alive; before that it holds its numbers."""
        ids = " ".join(f"code-{code.name}" for code in self.words.code)
        links = ", ".join(f'<a href="#code-{code.name}">{code.name}</a>' for code in self.words.code)
        summary = f"<summary>The code <kbd>c</kbd></summary><p>{links}</p><div></div>"
        source = f'<details class="code" data-code="{ids}">{summary}</details>' if ids else ""
        return f'<div class="live derived" id="live-{self.id}">{self.numbers()}</div>{source}'

    def numbers(self) -> str:
        """What the terminal shows of this step, as HTML."""
        if self.words.step.kind == "train":
            return ""
        view = views.show(self.t, self.words.step)
        where = f"<p>{escape(view.where)}</p>" if view.where else ""
        return where + "".join(part_html(part, self.words.title) for part in view.parts)


def more(step: str, told: bool) -> str:
    """What only the page says of a step: of a lab always, of the tour where the network is the article's."""
    if step[0] in "FB" and not told:
        return ""
    found = re.search(rf'^<p id="{step}">(.*)</p>$', (PAGE / "more.html").read_text("utf-8"), re.M)
    return f"<p>{found[1]}</p>" if found else ""


def step_links(tour: dict[str, Stop], way: str) -> str:
    """The row of links to the steps of one way."""
    link = '<a href="#step-{0}" data-step="{0}"><b>{0}</b> {1}</a>'
    return "".join(
        link.format(step, escape(stop.words.short)) for step, stop in tour.items() if WAY.get(step[0]) == way
    )


def keys() -> str:
    """The keys and what they do."""
    names = {"arrows": "← ↑ → ↓"}
    marked = lambda keys: " ".join(f"<kbd>{escape(k)}</kbd>" for k in (names.get(keys) or keys).split())
    return "".join(f"<dt>{marked(one.keys)}</dt><dd>{escape(one.help)}</dd>" for one in voice.keys_of("page"))


def sources(tour: dict[str, Stop]) -> str:
    """The functions that compute the steps, each once: their own text with its file and line, as it ran."""
    found = {code.name: code.function for stop in tour.values() for code in stop.words.code}
    return "".join(source(name, function) for name, function in found.items())


def source(name: str, function: Callable) -> str:
    """A function's own text."""
    file, first, lines = Code(function, "").source()
    indent = len(lines[0]) - len(lines[0].lstrip())
    body = escape("".join(line[indent:] if line.strip() else "\n" for line in lines).rstrip())
    caption = f"<figcaption>{file}, line {first}: <code>{name}</code></figcaption>"
    text = f'<pre tabindex="0" role="region" aria-label="{name}">{body}</pre>'
    return f'<figure id="code-{name}" class="source">{caption}{text}</figure>'


# ---- text with numbers


def moments(names: Sequence[str], begin: str) -> str:
    """The switch between the moments of the network, in the bar; where there is but one, nothing."""
    radio = '<label><input type="radio" name="moment" value="{0}"{1}> {0}</label>'
    shown = "".join(radio.format(escape(name), " checked" * (name == begin)) for name in names)
    head = "<legend>Network <kbd>M</kbd></legend>"
    note = f'<small id="moment-note">{escape(MOMENTS.get(begin, ""))}</small>'
    return f'<fieldset class="moments">{head}{shown}{note}</fieldset>' if len(names) > 1 else ""


def moments_said(names: Sequence[str], begin: str) -> str:
    """What the moments are, and whose numbers stand in the page without JavaScript."""
    if len(names) < 2:
        return ""
    each = "; ".join(f"<strong>{escape(name)}</strong>, {escape(MOMENTS.get(name, ''))}" for name in names)
    said = f"You can look at this network at {voice.count(len(names))} moments of its training: {each}."
    tables = f"Without JavaScript all numbers are those of the {escape(begin)} one."
    return f'<p>{said}<span class="static"> {tables}</span></p>'


def target(t: Trace) -> str:
    """Whose loss the way back explains."""
    p = number(Num(t["p"][t.target], kind="size"))
    return f"The loss here is that of {escape(t.class_names[t.target])}, p = {p}."


def sheet(traces: list[Trace]) -> str:
    """All photos with labels and predictions, for reading without JavaScript."""
    names, rows = traces[0].class_names, []
    for t in traces:
        said = "" if t.label is None else "right" if t.label == t.predicted else "WRONG"
        title, label = t.title.removeprefix("photo "), "" if t.label is None else names[t.label]
        rows.append([title, label, names[t.predicted], said])
    made = table("labels and predictions", ["photo", "label", "model says", ""], rows)
    return f'<div class="static derived">{made}</div>'


def network(t: Trace) -> str:
    """One item a layer: maps forward and backward, shape, parameters, multiply-adds."""
    return "".join(map(layer_item, layers(t)))


def strip(t: Trace) -> str:
    """The same in small, for the bar: one picture a layer."""
    picture = (
        '<a href="#step-{0}" data-step="{0}" aria-label="{1}"><canvas data-net="{2}" aria-hidden="true"></canvas></a>'
    )
    return "".join(picture.format(one.ahead, escape(f"{one.ahead}: {one.title}"), one.place) for one in layers(t))


class Item(NamedTuple):
    """A layer of the network's map. place: what it puts out in the path; ahead, back: the steps that explain it."""

    place: int
    ahead: str
    back: str
    title: str
    shape: tuple[int, ...]
    parameters: int = 0
    products: int = 0


def layers(t: Trace) -> list[Item]:
    """The photo and the layers; those that only copy numbers are left out."""
    steps = [step for step in formulas.steps(t) if step.kind != "padding"]
    first = {(step.id[0], step.stage): step.id for step in reversed(steps)}
    items, last = [Item(0, first["F", -1], first["B", -1], "input", t["x"].shape)], len(t.stages) - 1
    for k, stage in enumerate(t.stages):
        layer, names = stage.layer, stage.names
        if k != last and operation(layer)["op"] == "copy":
            continue
        at, title = k + 1 if k == last else k, stage.name
        if names.get("z", names["y"]) != names["y"]:
            title += f" + {getattr(layer.activation, 'formula', type(layer.activation).__name__)}"
        about = known(layer.output_shape), layer.count_params(), products(stage)
        items.append(Item(k + 1, first["F", at], first["B", at], title, *about))
    return items


def products(stage: Stage) -> int:
    """The multiplications of a layer on the way forward: each weight of a kernel, once for each place."""
    shape, kernel = known(stage.layer.output_shape), stage.layer.params.get("kernel")
    return 0 if kernel is None else int(kernel.size * np.prod(shape[:-1]))


def layer_item(one: Item) -> str:
    """A layer of the network's map."""
    size, title = " × ".join(map(str, one.shape)), escape(one.title)
    about = "no parameters"
    if one.parameters:
        about = f"{one.parameters:,} parameters<br>{one.products:,} multiply-adds"
    picture = f'<canvas id="net-{{1}}{one.place}" data-net="{one.place}" aria-hidden="true"></canvas>'
    link = f'<a href="#step-{{0}}" data-step="{{0}}" aria-label="{{0}}: {{2}}">{picture}</a>'
    return (
        f"<li>{link.format(one.ahead, '', f'{title}, {size}')}<b>{title}</b><span>{size}</span>"
        f"<small>{about}</small>{link.format(one.back, 'd', f'slopes of {title}')}</li>"
    )


def geometry() -> str:
    """Sizes and padding for the settings that are asked for most."""
    names = (f"{size}, {k}×{k}, stride {s}, {padding}" for size, k, s, padding in GEOMETRY)
    rows = [[name, *map(str, window_geometry(*one))] for name, one in zip(names, GEOMETRY, strict=True)]
    return table("output and padding by Keras’ rule", ["input, kernel", "output", "zeros before", "after"], rows)


def comparison(found: dict | None) -> str:
    """What `cnn compare` measured on the whole test set: a table, and its own sentences."""
    if not found:
        said = "For these networks no comparison on the whole test set has been made"
        return f"<p>{said}: <code>cnn compare</code> makes it.</p>"
    groups: dict[str, list[dict]] = {}  # the four ways of a move together, as the sentences tell of them
    for row in sorted(found["results"], key=lambda row: abs(row["dx"]) + abs(row["dy"])):
        steps = abs(row["dx"]) + abs(row["dy"])
        groups.setdefault(f"moved by {steps}, four ways" if steps else row["change"], []).append(row)
    names = found["networks"]
    rows = [[change, *(one for name in names for one in shares(same, name))] for change, same in groups.items()]
    head = ["photos", *(f"{name}, {which}" for name in names for which in ("all", "sandals"))]
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in found["sentences"])
    caption = f"right answers of {found['photos']:,} photos, in percent, by networks that have finished their training"
    told = f"<details><summary>In sentences, with 95 % intervals</summary><ul>{said}</ul></details>"
    measured = f"{table(caption, head, rows)}<p>{escape(found['why'])}</p>{told}"
    return f"<h3>What the whole test set says</h3>{measured}"


def shares(rows: list[dict], name: str) -> list[str]:
    """Two cells of one network: all photos and the sandals among them, from the lowest to the highest of these rows."""
    cells = []
    for scores in ([row[name] for row in rows], [row[name]["by_class"].get("Sandal") for row in rows]):
        found = sorted(score["share"] for score in scores if score)
        cells.append("–".join(dict.fromkeys(f"{100 * edge:.1f}" for edge in (found[:1] + found[-1:]))))
    return cells
