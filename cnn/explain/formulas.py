"""The steps as data: for each its sentence (or formula), title, explanation, how its terms are grouped, and its code.

`steps(t)` lists the steps of any network: F1.. forward, B1.. backward; beside them stand M, G, L
and S. `tour(t)` is what one walks: backward it also stops at each ReLU (R3 for dz3), and ends with
C, the chain rule. `formula(t, step)` fills one in for this network's shapes, strides, paddings and names.
Terminal, page and figures take words and terms from here; a step is changed, or added, here.

`for_page(t)` is all of it as one dictionary for JSON:
    {"schema": "cnn-explain-formulas/1",
     "steps": [{"id": "F6", "kind": "conv", "stage": 2, "layer": "conv2", "short": "conv2", "title": ..., "say": ...,
                "formula": ..., "sentence": {...} or null, "also": [{...}], "by": "c", "top": 0,
                "code": ["Conv2D.forward", "im2col_into"], "twin": "B8"}, ...],   M, G, L, S and T (training) at the end
     "numbers": {"digits": 4, "least": 3, "most": 9, "formats": {kind: {style, sign, digits, relative, small, unit}}},
     "colours", "tolerances", "causes", "said",
     "lab": {sizes, strides, paddings, presets, toy}, "keys": [[keys, help], ...]}
Sentences are described in sentences.py, formats in voice.py. by: the ranges whose partial sums
are shown ("c": one for each channel); top: how many of the largest terms are shown, before the
rest in one line (0: all).
"""

import re
from typing import Any, NamedTuple

from cnn import photos
from cnn.checks import known
from cnn.explain import sentences, voice
from cnn.explain.sentences import Sentence
from cnn.explain.terms import CAUSES, Tensors, switch_name
from cnn.explain.trace import Stage, Trace, is_relu
from cnn.explain.words import WORDS, Code
from cnn.layers import Activation, Conv2D, Dense, Elementwise, Flatten, MaxPooling2D, place_windows
from cnn.layers.formulas import FORMULAS

SCHEMA = "cnn-explain-formulas/1"


class Step(NamedTuple):
    """One stop of the tour. stage: the layer's place in trace.stages; -1 is the input, len(stages) softmax and loss."""

    id: str
    kind: str
    stage: int


class Formula(NamedTuple):
    """A step of one network, in words and as sentences."""

    step: Step
    layer: str
    short: str
    title: str
    say: str
    text: str  # the formula as it is shown: the sentence's text where there is one
    sentence: Sentence | None
    also: tuple[Sentence, ...]  # what else this step computes: the bias's gradient, the ReLU on the way
    by: str
    top: int
    code: tuple[Code, ...]


# With a stride a cell lies under every second weight only: then the sum runs over the windows instead.
STRIDED = "{dx}[r,s,c] = SUM(i:{OH}, j:{OW}, f:{F}) {dz}[i,j,f] * {W}[{u_of}, {v_of}, c, f]"
BESIDE = {"M": "im2col", "G": "check", "L": "lab", "S": "shift"}


# ---- the tour


def steps(t: Trace) -> list[Step]:
    """The tour of this network: F1.. forward, then B1.. backward. For the article's network F1-F12 and B1-B12."""
    last = len(t.stages) - 1
    forward, backward = [("input", -1)], []
    for k, stage in enumerate(t.stages):
        padding = ["padding"] if k == first_stage(t) and kind_of(stage) == "conv" else []
        forward += [(kind, k) for kind in [*padding, *forward_kinds(stage, k == last)]]
    for k in reversed(range(last + 1)):
        backward += [(kind, k) for kind in backward_kinds(t.stages[k], first=k == 0)]
    forward += [("softmax", last + 1)]
    backward = [("dlogits", last + 1), *backward, ("input-gradient", -1)]
    ways = (("F", forward), ("B", backward))
    return [Step(f"{letter}{n}", *what) for letter, way in ways for n, what in enumerate(way, 1)]


def tour(t: Trace) -> list[Step]:
    """The steps in the order of the walk, with R1.. where a gradient passes a ReLU, and C at the end."""
    places = [k for k, stage in enumerate(t.stages) if is_relu(stage) and kind_of(stage) != "through"]
    relus = {k: Step(f"R{n}", "relu-back", k) for n, k in enumerate(places, 1)}
    walk = []
    for step in steps(t):
        if step.id[0] == "B" and step.kind.endswith("-dkernel") and step.stage in relus:
            walk.append(relus[step.stage])
        walk.append(step)
    chain = kind_of(t.stages[first_stage(t)]) in ("conv", "dense")
    return [*walk, Step("C", "chain", first_stage(t))] if chain else walk


def find_step(t: Trace, name: str) -> Step:
    """The step of this id, M, G, L and S included. Raises ValueError for another."""
    walk, name = {step.id: step for step in tour(t)}, name.upper()
    if name in walk:
        return walk[name]
    if name in BESIDE:
        convolutions = [k for k, stage in enumerate(t.stages) if kind_of(stage) == "conv"]
        stage = convolutions[-1] if convolutions and name == "G" else first_stage(t)
        return Step(name, BESIDE[name], stage)
    forward, backward = (sum(step[0] == letter for step in walk) for letter in "FB")
    more = "".join(f"{step}, " for step in walk if step[0] in "RC")
    raise ValueError(f"step: expected F1 to F{forward}, B1 to B{backward}, {more}M, G, L or S, got {name!r}")


def twin(t: Trace, step: Step) -> Step:
    """The step that goes the other way at the same layer."""
    other = "B" if step.id[0] == "F" else "F"  # from R and C too
    same = [one for one in steps(t) if one.id[0] == other and one.stage == step.stage]
    return next((one for one in same if one.kind != "padding"), same[0] if same else step)


def first_stage(t: Trace) -> int:
    """The place of the first convolution; of the first layer with a kernel where there is none."""
    found = [k for k, stage in enumerate(t.stages) if isinstance(stage.layer, Conv2D)]
    return found[0] if found else next((k for k, stage in enumerate(t.stages) if "kernel" in stage.layer.params), 0)


def kind_of(stage: Stage) -> str:
    """conv, pool, flatten, dense, or through for what needs no arithmetic of its own."""
    if isinstance(stage.layer, Dense) and len(known(stage.layer.output_shape)) > 1:
        return "through"  # a Dense layer along the last of several axes
    kinds = {Conv2D: "conv", MaxPooling2D: "pool", Flatten: "flatten", Dense: "dense"}
    return kinds.get(type(stage.layer), "through")


def forward_kinds(stage: Stage, last: bool) -> list[str]:
    """A convolution with an activation takes two steps; the last Dense layer gives the logits."""
    kind = kind_of(stage)
    if kind == "conv":
        activated = [] if stage.names["y"] == stage.names["z"] else ["relu"] if is_relu(stage) else ["through"]
        return ["conv", *activated]
    return ["logits"] if kind == "dense" and last else [kind]


def backward_kinds(stage: Stage, first: bool) -> list[str]:
    """Layers with weights have two steps, the first of all only one: what it sends back is dx, shown at the end."""
    kind = kind_of(stage)
    if kind not in ("conv", "dense"):
        return [f"{kind}-back"]
    return [f"{kind}-dkernel"] if first else [f"{kind}-dkernel", f"{kind}-dx"]


# ---- a step of this network


def formula(t: Trace, step: Step) -> Formula:
    """The step's words and sentences for this network."""
    words, values = WORDS[step.kind], filling(t, step)
    shown = input_step(t) if step.kind == "input-gradient" else step
    found = step_sentences(t, shown)
    text = fill(words.formula, values) if words.formula or not found else found[0].text
    short, title, say = (fill(part, values) for part in words[:3])
    main, also = (found[0], found[1:]) if found else (None, ())
    code = words.code or through_code(t, step)
    return Formula(step, values["layer"], short, title, say, text, main, also, words.by, words.top, code)


def through_code(t: Trace, step: Step) -> tuple[Code, ...]:
    """The layer's own functions, for a layer that has no step of its own."""
    kind = {"through": "forward", "through-back": "backward"}.get(step.kind)
    layer = type(t.stages[step.stage].layer)
    return (Code(getattr(layer, f"{kind}_of_part", getattr(layer, kind)), ""),) if kind else ()


def has_step(t: Trace, step: Step) -> bool:
    """Whether this network can show the step: M needs a convolution, S the photos and classes of the dense net."""
    if step.kind == "shift":
        return t.photo.shape == (28, 28) and len(t["p"]) == 10
    return step.kind != "im2col" or kind_of(t.stages[step.stage]) == "conv"


def input_step(t: Trace) -> Step:
    """The step that would show what the first layer sends back to the photo."""
    kind = kind_of(t.stages[0])
    return Step("", f"{kind}-dx" if kind in ("conv", "dense") else f"{kind}-back", 0)


def step_sentences(t: Trace, step: Step) -> tuple[Sentence, ...]:
    """What this step computes, the main thing first."""
    texts, stage = WORDS[step.kind].sentences, t.stages[step.stage] if 0 <= step.stage < len(t.stages) else None
    if step.kind == "conv-dx" and known(stage).layer.strides != (1, 1):
        texts = (STRIDED,)
    names = tensor_names(stage) if stage else {}
    values, tensors = filling(t, step), Tensors(t)
    shapes = {name: tensors[name].shape for name in (*names.values(), "dlogits", "p", "y")} if texts else {}
    return tuple(sentences.parse(fill(text, values), names, shapes) for text in texts if usable(text, names))


def usable(text: str, names: dict) -> bool:
    """Whether the layer has what the sentence speaks of: a bias, a ReLU."""
    needed = {"{db}": "db", "{open}": "open", "max(0": "open"}
    return all(role in names for words, role in needed.items() if words in text)


# ---- filling in


ROLES = {
    **{"x": "x", "z": "z", "a": "y", "W": "kernel", "b": "bias", "dx": "dx", "dy": "dy", "dz": "dz"},
    **{"dW": "dkernel", "db": "dbias", "columns": "columns", "win": "win", "open": "open"},
}  # the letters of the sentences, and the roles of a stage's tensors


def fill(text: str, values: dict) -> str:
    """Each {name} replaced by its value."""
    return re.sub(r"\{([^}]*)\}", lambda found: str(values[found[1]]), text)


def letters(stage: Stage) -> dict[str, str]:
    """{"W": "W2", ...}: what formulas call a stage's tensors: their names where those are short, else W itself."""
    return {letter: name if name.isalnum() else letter for letter, name in tensor_names(stage).items()}


def tensor_names(stage: Stage) -> dict[str, str]:
    """{"W": "W2", ...}: the letters of the sentences and the tensors of this stage that they mean."""
    names = dict(stage.names)
    names |= {"win": switch_name(stage, "win")} if "winners" in names else {}
    names |= {"open": switch_name(stage, "open")} if is_relu(stage) else {}
    return {letter: names[role] for letter, role in ROLES.items() if role in names}


def filling(t: Trace, step: Step) -> dict:
    """The values for {names} in the words and sentences of a step."""
    values: dict = {"layer": "", "scale": f"{1 / photos.input_scale(t.model):g}", "z": letters(t.stages[-1])["a"]}
    if not 0 <= step.stage < len(t.stages):
        return values
    stage = t.stages[step.stage]
    layer, x = stage.layer, t.get(stage, "x")
    calm = " It acts in training alone: here every number passes it unchanged."
    values["inactive"] = calm if layer.draws else ""
    kind, about = what_it_is(stage)
    values |= {"layer": stage.name, "type": kind, "doc": (about.__doc__ or "").strip().partition("\n")[0]}
    values |= {"shape": " x ".join(map(str, x.shape)), "size": x.size} | letters(stage)
    if kind_of(stage) in ("conv", "pool"):
        values |= window_filling(stage)
    if isinstance(layer, Dense):
        n, u = ("u", "k") if stage is t.stages[-1] else ("n", "u")
        values |= {"n": n, "u": u, "at": u, "units": known(layer.output_shape)[-1]}
        values["+b[u]"] = f"{values['b']}[{u}] + " if layer.use_bias else ""
    if isinstance(layer, Flatten):
        values |= flat_filling(x.shape)
    return values


def what_it_is(stage: Stage) -> tuple[str, Any]:
    """A layer's name and what documents it; of a convolution the activation that takes a step of its own."""
    own = isinstance(stage.layer, Activation) or kind_of(stage) == "conv"
    layer = stage.layer.activation if own else stage.layer
    if isinstance(layer, Elementwise):
        return layer.formula, FORMULAS[layer.formula].function
    return type(layer).__name__, type(layer)


def window_filling(stage: Stage) -> dict:
    """Where the windows of a layer stand, and how many of everything there are."""
    layer, (height, width, channels) = stage.layer, stage.layer.output_shape
    (kh, kw), (sh, sw), (top, _, left, _) = window_size(layer), layer.strides, pads(layer)
    depth = layer.input_shape[2]
    bias = f"{letters(stage)['b']}[f] + " if getattr(layer, "use_bias", False) else ""
    return {
        "at": "i,j,f",
        **{"kh": kh, "kw": kw, "C": depth, "F": channels, "OH": height, "OW": width, "+b[f]": bias},
        **{"i": index(("i", sh), ("u", 1), ("", -top)), "j": index(("j", sw), ("v", 1), ("", -left))},
        **{"i_of": index(("r", 1), ("u", -1), ("", top)), "j_of": index(("s", 1), ("v", -1), ("", left))},
        **{"u_of": index(("r", 1), ("i", -sh), ("", top)), "v_of": index(("s", 1), ("j", -sw), ("", left))},
        **{"kernel": f"{kh} x {kw}", "depth": f" x {depth}" if depth > 1 else "", "products": kh * kw * depth},
        "before": f"all {depth} maps before at once" if depth > 1 else "the numbers before",
        **{"windows": kh * kw, "places": height * width},
    }


def flat_filling(shape: tuple[int, ...]) -> dict:
    """The place in the row of a cell (r, s, c), and its letters; of other shapes as many letters as they have axes."""
    names = "rsc"[-len(shape) :] if len(shape) <= 3 else "qrsc"[: len(shape)]
    flat = names[0]
    for letter, size in zip(names[1:], shape[1:], strict=True):
        flat = f"({flat})*{size}+{letter}" if len(flat) > 1 else f"{flat}*{size}+{letter}"
    return {"rsc": ",".join(names), "flat": flat}


def index(*parts: tuple[str, int]) -> str:
    """2*i+u-1 of ("i", 2), ("u", 1), ("", -1)"""
    text = ""
    for letter, factor in parts:
        size = "*".join([str(abs(factor))] * (abs(factor) != 1 or not letter) + [letter] * bool(letter))
        text += f"{'-' if factor < 0 else '+'}{size}" if factor else ""
    return text.removeprefix("+") or "0"


def window_size(layer: Any) -> tuple[int, int]:
    """(height, width) of the window that a layer slides."""
    return layer.kernel_size if isinstance(layer, Conv2D) else layer.pool_size


def pads(layer: Any) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a layer's sliding window."""
    return place_windows(layer, layer.input_shape, window_size(layer))[2]


# ---- for the page


def as_json(t: Trace, step: Step) -> dict:
    """A step as JSON can hold it: see the module's docstring."""
    found = formula(t, step)
    words = {name: getattr(found, name) for name in ("layer", "short", "title", "say", "by", "top")}
    sentences_ = {
        "sentence": found.sentence and found.sentence.as_json(),
        "also": [one.as_json() for one in found.also],
    }
    other = {"code": [code.name for code in found.code], "twin": twin(t, step).id if step.id[0] in "FBRC" else ""}
    return step._asdict() | words | {"formula": found.text} | sentences_ | other


def for_page(t: Trace) -> dict:
    """All steps of this network and the voice they speak with: see the module's docstring."""
    beside = [step for name in BESIDE if has_step(t, step := find_step(t, name))]
    formats = {kind: form._asdict() for kind, form in voice.FORMATS.items()}
    numbers = {"digits": voice.DIGITS, "least": voice.LEAST_DIGITS, "most": voice.MOST_DIGITS, "formats": formats}
    return {
        "schema": SCHEMA,
        "steps": [as_json(t, step) for step in [*tour(t), *beside, Step("T", "train", -1)]],
        "numbers": numbers,
        **{
            "colours": voice.COLOURS,
            "tolerances": voice.TOLERANCES,
            "causes": CAUSES,
            "said": voice.SAID | {"heads": voice.CHAIN_HEADS},
            "lab": voice.lab_json(),
        },
        "keys": [[key.keys, key.help] for key in voice.keys_of("page")],
    }
