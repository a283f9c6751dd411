"""What a page carries: weights, photos and the numbers that it proves itself by, for each moment of the network.

A moment is the network with the weights that it had at one time: untrained, early, finished. Most pages have one,
without a name. Weights that are still as they were drawn are not sent: the page draws them, as NumPy does.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import cnn
from cnn import photos, utils
from cnn.article import MOMENTS
from cnn.errors import UsageError
from cnn.explain import chain, voice
from cnn.explain.page import plan
from cnn.explain.trace import SURE, Trace, to_json
from cnn.initializers import fans
from cnn.layers import Softmax
from cnn.models import forward

Array = np.ndarray
IN_FULL = 80_000  # numbers of one photo's trace that are on the page; of the other tensors there are sum and size
ELSEWHERE = 3_000  # so many where the page does not begin: at another moment of the network


# ---- which numbers


def label_byte(t: Trace) -> int:
    """The label; 255 where there is none."""
    return 255 if t.label is None else t.label


def parameters(t: Trace) -> list[str]:
    """The names of all weights, layer by layer."""
    return [stage.names[role] for stage in t.stages for role in stage.layer.learnable]


def compared(t: Trace) -> list[str]:
    """The tensors that the page computes again, by the names that it has for them."""
    roles = ("columns", "winners")
    others = {stage.names[role] for stage in t.stages for role in (*roles, *stage.layer.params) if role in stage.names}
    return [name for name in t.tensors if name not in others]


def in_full(t: Trace, most: int = IN_FULL) -> list[str]:
    """The tensors that are on the page number by number: what sums make; copies, and what is cut, follow from those.

    Of these the smallest, as long as there are not too many numbers.
    """
    found = ["p", "dlogits", "dx"]
    for stage in t.stages:
        moves = plan.operation(stage.layer)["op"] in ("copy", "activate")
        found += [] if moves else [stage.names["z"] if "z" in stage.names else stage.names["y"]]
        found += [stage.names["dx"]] if stage.layer.learnable else []
        found += [stage.names[f"d{role}"] for role in stage.layer.learnable]
    names = sorted(dict.fromkeys(found), key=lambda name: t[name].size)
    sizes = np.cumsum([t[name].size for name in names])
    kept = {name for name, size in zip(names, sizes, strict=True) if size <= most}
    return [name for name in compared(t) if name in kept]


# ---- blocks of them


class Block:
    """Arrays as one block of numbers. text: their bytes, sorted by their place in a number, deflated, in base64.

    First come all first bytes, then all second ones: so equal signs and exponents lie together.
    drawn: see `draws`; then there is no text, and the page makes the bytes itself.
    """

    def __init__(
        self, tensors: Mapping[str, Any], names: Iterable[str] | None, dtype: str, drawn: dict[str, list] | None = None
    ):
        chosen = {name: np.asarray(tensors[name], dtype) for name in (names or tensors)}
        raw = b"".join(array.tobytes() for array in chosen.values())
        width = np.dtype(dtype).itemsize
        packer = zlib.compressobj(9, wbits=-15)
        planes = np.frombuffer(raw, np.uint8).reshape(-1, width).T.tobytes()
        self.text = "" if drawn else base64.b64encode(packer.compress(planes) + packer.flush()).decode()
        layout = [[name, list(array.shape)] for name, array in chosen.items()]
        self.told = {"width": width, "layout": layout, "sha256": hashlib.sha256(raw).hexdigest()}
        self.told |= {"drawn": drawn} if drawn else {}

    def script(self, name: str) -> str:
        """As an element of the page, which the browser does not run."""
        return f'<script type="text/plain" id="{name}">{self.text}</script>'


def at(what: str, moment: str) -> str:
    """The name of what the page carries for one moment: weights-early; where there is but one, weights."""
    return f"{what}-{moment}" if moment else what


def moment_blocks(t: Trace, about: Mapping[str, Trace]) -> dict[str, "Block"]:
    """Weights and the numbers of one photo's trace for each moment; first those with which the page begins."""
    found = {}
    for one in sorted(about.values(), key=lambda one: one is not t):
        found[at("weights", one.moment)] = weights_block(one)
        found[at("full", one.moment)] = Block(one.tensors, in_full(one, IN_FULL if one is t else ELSEWHERE), "<f8")
    return found


def weights_block(t: Trace) -> "Block":
    """The weights: how they are drawn, where they are still as they were drawn; halves where these are the same."""
    names = parameters(t)
    drawn = draws(t)
    halves = all(np.array_equal(t.production[name], np.float16(t.production[name])) for name in names)
    return Block(t.production, names, "<f2" if halves and not drawn else "<f4", drawn)


def draws(t: Trace) -> dict[str, list]:
    """{kernel's name: [state, increment, limit]}: the random generator before it, and what it draws up to.

    Empty where any weight is not what its layer's initializer draws for this seed, or the page cannot draw it.
    """
    found = {}
    for index, layer in enumerate(t.model.logit_layers()):
        stage, rng = t.stages[index], utils.generator(t.model.seed, utils.INITIALISATION, layer=index)
        state = rng.bit_generator.state["state"]
        for role, value in layer.params.items():
            if role == "kernel":
                limit = float(np.sqrt(6 / sum(fans(value.shape))))
                found[stage.names[role]] = [str(state["state"]), str(state["inc"]), limit]
            drawn = rng.uniform(-limit, limit, value.shape) if role == "kernel" else np.zeros(value.shape)
            if not np.array_equal(value, drawn.astype(np.float32)):
                return {}
    return found


def photo_blocks(traces: list[Trace]) -> dict[str, "Block"]:
    """The bytes of the photos, and their labels."""
    found = np.stack([one.photo for one in traces]), np.array([label_byte(one) for one in traces], np.uint8)
    return {"photo-bytes": Block(dict(zip(("photos", "labels"), found, strict=True)), None, "u1")}


# ---- what is told of them


def same_net(traces: Iterable[Trace]) -> dict:
    """The one plan of networks that differ in their weights alone. Raises UsageError for others."""
    first, *others = map(plan.plan, traces)
    if any(other != first for other in others):
        raise UsageError("--html: expected one network at several moments, got layers that differ")
    return first


def data(t: Trace, traces: Mapping[str, list[Trace]], baseline: Trace | None, blocks: dict[str, Block]) -> dict:
    """What the page reads as JSON: how the blocks are cut into tensors, and what was found for each photo.

    moments: for each what it is called, its blocks, what was found in full of the photo that the page is about, and in
    short of all photos. begin: the name of the moment with which it begins.
    """
    return {
        "schema": "cnn-page/4",
        "version": cnn.__version__,
        "classes": list(t.class_names),
        "articled": [voice.article(name) for name in t.class_names],
        "shape": list(t.photo.shape if t.photo.ndim == 3 else (*t.photo.shape, 1)),
        "scale": photos.input_scale(t.model),
        "sure": SURE,
        "blocks": {name: block.told for name, block in blocks.items()},
        "begin": t.moment,
        "moments": [moment(t, found, baseline) for found in traces.values()],
    }


def moment(t: Trace, traces: list[Trace], baseline: Trace | None) -> dict:
    """What is known of one moment; t: the trace with which the page begins."""
    one = next(found for found in traces if (found.number, found.title) == (t.number, t.title))
    full = {key: value for key, value in to_json(one, []).items() if key not in ("production", "tensors")}  # in blocks
    return {
        "name": one.moment,
        "about": MOMENTS.get(one.moment, ""),
        "weights": at("weights", one.moment),
        "numbers": at("full", one.moment),
        "full": full,
        "photos": [short(each, baseline if one is t else None) for each in traces],
    }


def short(t: Trace, baseline: Trace | None) -> dict:
    """One photo in short: logits, loss, where its tour starts, winners' hashes, tensors' sums, largest sizes, lengths.

    number: 0 for a photo that is none of the set. baseline: a trace of the net to compare with.
    """
    sums = {name: [float(t[name].sum()), float(np.abs(t[name]).max()), t[name].size] for name in compared(t)}
    won = {plan.winners_name(stage): plan.winners(t, stage) for stage in t.stages}
    hashes = {name: hashlib.sha256(w.astype("<i4").tobytes()).hexdigest() for name, w in won.items() if w is not None}
    found = {name: getattr(t, name) for name in ("label", "predicted", "target", "loss")}
    found |= {"number": t.number or 0, "logits": t[t.stages[-1].names["y"]].tolist(), "start": chain.start(t).cells}
    if baseline:
        logits, _ = forward(baseline.model64.logit_layers(), t["x"][None])
        found["dense"] = Softmax().forward(logits)[0][0].tolist()
    return found | {"tensors": sums, "winners": hashes, "ties": plan.split_ties(t), "corners": plan.near_corners(t)}
