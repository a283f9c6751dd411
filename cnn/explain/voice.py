"""One voice for terminal, page and figures: how numbers are printed, colours, keys, the lab's filters, tolerances.

What is data here goes to the page as JSON (`formulas.for_page`), so that it cannot say otherwise.
"""

from math import comb
from typing import NamedTuple

import numpy as np

Array = np.ndarray
DIGITS = 4  # at first; 3 to 9 can be chosen
LEAST_DIGITS, MOST_DIGITS = 3, 9


# ---- numbers


class Format(NamedTuple):
    """How a kind of number is printed.

    style: "fixed" (so many decimals), "significant" (so many digits, zeros at the end kept),
    "general" (so many digits at most). digits: how many; where relative is true, how many
    more than are asked for. small: below this, but not 0, with digits-1 decimals and an
    exponent. A significant number below 0.0001 has an exponent too, of two digits (e-07);
    0 is "0". Minus zero is printed as zero.
    """

    style: str = "fixed"
    sign: bool = False  # + before what is not negative
    digits: int = 0
    relative: bool = True
    small: float = 0.0
    unit: str = ""


FORMATS = {
    "count": Format("general", digits=15, relative=False),
    "value": Format(),  # what is never negative: pixels, activations after ReLU
    "signed": Format(sign=True),  # weights, biases, z
    "product": Format(sign=True, digits=1),
    "sum": Format(sign=True, digits=3, relative=False),  # partial sums, many of them in a row
    "total": Format(sign=True, digits=2),
    "gradient": Format("significant", sign=True),  # may be very small
    "brief": Format("significant", sign=True, digits=2, relative=False),  # gradients, many of them
    "size": Format("significant"),
    "probability": Format(small=0.001),
    "percent": Format(digits=1, relative=False, unit=" %"),
    "exact": Format(digits=12, relative=False),  # losses whose difference counts
    "loss": Format("general", digits=9, relative=False),
    "rate": Format("general", digits=6, relative=False),
}


def number(value: float, kind: str = "value", digits: int = DIGITS) -> str:
    """The number as it is printed everywhere; the page writes a longer minus sign."""
    form, value = FORMATS[kind], float(value)
    shown, sign = form.digits + (digits if form.relative else 0), "+" if form.sign else ""
    if form.style == "general":
        return f"{value:.{shown}g}"
    if form.style == "significant":
        return f"{value:{sign}#.{shown}g}".rstrip(".") if value else "0"
    if 0 < abs(value) < form.small:
        return f"{value:{sign}.{shown - 1}e}"
    text = f"{value:{sign}.{shown}f}"
    return (text if float(text) else text.replace("-", sign)) + form.unit


def parsed(text: str) -> float:
    """The number in a printed one."""
    return float(text.removesuffix(" %"))


def count(n: int) -> str:
    """two, three, ...; from ten on figures"""
    words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return words[n] if n < len(words) else str(n)


def article(name: str) -> str:
    """a Sandal, an Ankle boot"""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


# ---- colours and marks

# Blue is positive, orange negative; a sign says so too. For the page by day and by night, pictures, the terminal.
COLOURS = {
    "positive": {"light": "#0b5fa5", "dark": "#5fb0ff", "picture": "#1f5fa8", "terminal": 33},
    "negative": {"light": "#c2500a", "dark": "#ff9a4d", "picture": "#c8501e", "terminal": 208},
}

# How far two numbers that should be equal may be apart.
TOLERANCES = {
    "terms": 1e-12,  # a sum and its terms, of the terms' absolute sum
    "float32": 1e-5,  # the float32 layers and the trace, of the tensor's largest absolute value
    "slope": 1e-5,  # a measured slope and the gradient, of the gradient
    "sample": 1e-8,  # measured slopes and gradients of a tensor, of the gradients' norm
}


# What is said of a ReLU's way back and of the chain rule. {} is a number, or a name of a number.
SAID = {
    "same": "the same number",
    "bend": "the bend's slope",
    "own": "the layer's own slope",
    "nothing": "{} is 0: this path carries nothing",
    "path": "this path: {}, one of {} paths from this weight to the loss;",
    "all": "all of them add up to {}",
    "through": "through {}: {} x {}",
    "others": "through all its other cells",
    "closed": "closed: {} of all {} numbers; there no slope passes",
}


CHAIN_HEADS = ["slope", "product", "of", "by the next: its name"]


# ---- the lab


SIZES, STRIDES, PADDINGS = (1, 2, 3, 5, 7), (1, 2, 3), ("same", "valid")
PRESETS = ("identity", "blur", "sobel-x", "sobel-y", "outline")  # and "learned"
TOY = np.array([[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]], float)


class LabSettings(NamedTuple):
    """preset: one of PRESETS, or "learned": a filter of the first convolution. toy: the 5x5 image, not the photo."""

    kernel_size: int = 3
    stride: int = 1
    padding: str = "same"
    preset: str = "outline"
    toy: bool = False


def preset(name: str, k: int) -> Array:
    """A classic filter (k, k). Sobel: binomial weights along one side, a straight line along the other."""
    middle = np.zeros((k, k))
    middle[(k - 1) // 2, (k - 1) // 2] = 1.0
    slope, weights = np.arange(k) - (k - 1) / 2, np.array([comb(k - 1, u) for u in range(k)], float)
    return {
        "identity": middle,
        "blur": np.full((k, k), 1 / k**2),
        "sobel-x": np.outer(weights, slope),
        "sobel-y": np.outer(slope, weights),
        "outline": k * k * middle - 1,
    }[name]


def resized(kernel: Array, k: int) -> Array:
    """A learned filter in a window of another size: in the middle of zeros, or its own middle."""
    side = len(kernel)
    if k < side:
        start = (side - k) // 2
        return kernel[start : start + k, start : start + k]
    before = (k - side) // 2
    return np.pad(kernel, (before, k - side - before))


def lab_json() -> dict:
    """The lab's choices; presets[name][k] is the filter, row by row."""
    filters = {name: {str(k): preset(name, k).ravel().tolist() for k in SIZES} for name in PRESETS}
    return {"sizes": SIZES, "strides": STRIDES, "paddings": PADDINGS, "presets": filters, "toy": TOY.tolist()}


# ---- the keys


class Key(NamedTuple):
    """keys: what is pressed, by the name that help shows; where: "both", "terminal" or "page"."""

    keys: str
    help: str
    where: str = "both"


KEYS = (
    Key("n p", "next, previous step"),
    Key("Space Backspace", "slowly, bit by bit; one bit back"),
    Key("arrows", "move the cell (Shift: by 5)"),
    Key("[ ]", "filter, map or unit"),
    Key("{ }", "input channel", "terminal"),
    Key("{ }", "input channel, input or weight", "page"),
    Key("PageUp PageDown", "previous, next layer"),
    Key("f b", "forward, backward step of this layer"),
    Key("j", "jump to the largest number"),
    Key("w", "the path with which the walk began", "terminal"),
    Key("Enter", "open the sum: all its terms", "terminal"),
    Key("i", "another photo: number, Enter", "terminal"),
    Key("i", "choose a photo", "page"),
    Key("m", "mirror the photo"),
    Key("< >", "shift the photo by a pixel"),
    Key("M", "the network untrained, early, finished"),
    Key("e", "explain another class", "terminal"),
    Key("g", "gradient check of this weight"),
    Key("G", "gradient check of all tensors"),
    Key("t", "one training step on this photo"),
    Key("T", "one training step on 32 photos", "terminal"),
    Key("T", "a hundred training steps on this photo", "page"),
    Key("u", "undo all training"),
    Key("x", "im2col: one matrix product"),
    Key("l", "convolution lab"),
    Key("k s v", "in the lab: size, stride, padding", "terminal"),
    Key("o r", "in the lab: 5x5 image, filter", "terminal"),
    Key("s", "moved and mirrored photos"),
    Key("v", "the map of this step", "terminal"),
    Key("c", "the code that computes this"),
    Key("d", f"more digits, {LEAST_DIGITS} to {MOST_DIGITS}"),
    Key("a", "play"),
    Key("w", "slide the window over the whole map", "page"),
    Key("+ -", "play faster, slower"),
    Key("y", "the command that prints this step", "terminal"),
    Key("y", "copy the address of this step", "page"),
    Key("q", "ask before a number is shown", "page"),
    Key("P", "present: one step fills the screen", "page"),
    Key("?", "this help"),
    Key("q", "quit", "terminal"),
)


def keys_of(where: str) -> tuple[Key, ...]:
    """The keys of the terminal or of the page."""
    return tuple(key for key in KEYS if key.where in ("both", where))
