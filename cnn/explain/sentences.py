"""A step as a sentence: the formula that is shown, the recipe for its terms, and its own check.

    z2[i,j,f] = b2[f] + SUM(u:3, v:3, c:32) p1[i+u-1, j+v-1, c] * W2[u,v,c,f]
    p1[i,j,f] = MAX(u:2, v:2) a1[2*i+u, 2*j+v, f]
    a1[i,j,f] = max(0, z1[i,j,f])
    dlogits[k] = p[k] - y[k]

On the left stands one entry of a tensor; on the right a start (or none), then products of
entries, added up (SUM) or compared (MAX) over ranges that begin at 0. Every index is a sum
of letters times whole numbers. An entry outside its tensor is padding: 0 in a SUM, left out
of a MAX. Here the text is taken apart, so that nobody who evaluates it needs to.

As JSON (`Sentence.as_json`):
    {"text": "...",                            as above, to be shown
     "out": {"tensor": "z2", "index": [[["i",1]], [["j",1]], [["f",1]]]},
     "places": [["i",14], ["j",14], ["f",64]], the letters one may choose, with how many values each has
     "start": {"tensor": "b2", "index": [[["f",1]]]} or null,
     "sign": 1 or -1,                          of everything behind the start
     "operator": "SUM", "MAX", "RELU" (max(0, factor)) or "" (one product alone),
     "ranges": [["u",3], ["v",3], ["c",32]],
     "factors": [{"tensor": "p1", "index": [[["i",1],["u",1],["",-1]], [["j",1],["v",1],["",-1]], [["c",1]]]}, ...]}
An index is a list of [letter, factor]; the letter "" stands for 1, so ["",-1] is minus one.
"""

import ast
import re
from collections.abc import Mapping
from typing import NamedTuple

Index = tuple[tuple[str, int], ...]  # i+u-1: (("i", 1), ("u", 1), ("", -1))
Ranges = tuple[tuple[str, int], ...]


class Entry(NamedTuple):
    """One entry of a tensor: its name in the trace and an index for each axis."""

    tensor: str
    index: tuple[Index, ...]

    def as_json(self) -> dict:
        """{"tensor", "index"} of plain lists."""
        return {"tensor": self.tensor, "index": [[list(part) for part in axis] for axis in self.index]}


class Sentence(NamedTuple):
    """A formula, taken apart: see the module's docstring."""

    text: str
    out: Entry
    places: Ranges
    start: Entry | None
    sign: int
    operator: str
    ranges: Ranges
    factors: tuple[Entry, ...]

    def as_json(self) -> dict:
        """The sentence as JSON can hold it."""
        lists = {name: [list(one) for one in getattr(self, name)] for name in ("places", "ranges")}
        entries = {"out": self.out.as_json(), "start": self.start and self.start.as_json()}
        return self._asdict() | lists | entries | {"factors": [factor.as_json() for factor in self.factors]}


ENTRY = r"\w+\[[^]]*\]"
SHAPE = re.compile(
    rf"({ENTRY}) = (?:({ENTRY}) ([+-]) )?(?:(SUM|MAX)\((.*?)\) |(max)\(0, )?({ENTRY}(?: \* {ENTRY})*)\)?"
)


def parse(text: str, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> Sentence:
    """The sentence of a text. names: what a letter such as W in it is called in the trace; shapes: by those names.

    Raises ValueError for a text that is no sentence.
    """
    found = SHAPE.fullmatch(text)
    if not found:
        raise ValueError(f"expected a sentence such as y[i] = SUM(u:3) x[i+u] * w[u], got {text!r}")
    out, start, sign, operator, ranges, relu, product = found.groups()
    factors = tuple(_entry(part, names) for part in re.findall(ENTRY, product))
    running = tuple((letter, int(size)) for letter, size in re.findall(r"(\w+):(\d+)", ranges or ""))
    left, first = _entry(out, names), start and _entry(start, names)
    places, factor = _places([left, *factors], dict(running), shapes), -1 if sign == "-" else 1
    return Sentence(text, left, places, first, factor, "RELU" if relu else operator or "", running, factors)


def _entry(text, names):
    name, index = re.fullmatch(r"(\w+)\[(.*)\]", text).groups()
    return Entry(names.get(name, name), tuple(linear(part.strip()) for part in index.split(",")))


def linear(text: str) -> Index:
    """(("r", 448), ("s", 64), ("c", 1)) of "(r*7+s)*64+c"."""
    parts = _linear(ast.parse(text, mode="eval").body)
    return tuple((letter, factor) for letter, factor in parts.items() if factor or len(parts) == 1)


def _linear(node):
    match node:
        case ast.Name(id=letter):
            return {letter: 1}
        case ast.Constant(value=int(number)):
            return {"": number}
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            sign, parts = 1 if isinstance(node.op, ast.Add) else -1, _linear(left)
            for letter, factor in _linear(right).items():
                parts[letter] = parts.get(letter, 0) + sign * factor
            return parts
        case (
            ast.BinOp(left=part, op=ast.Mult(), right=ast.Constant(value=int(number)))
            | ast.BinOp(left=ast.Constant(value=int(number)), op=ast.Mult(), right=part)
        ):
            return {letter: number * factor for letter, factor in _linear(part).items()}
    raise ValueError(f"expected an index such as 2*i+u-1, got {ast.unparse(node)!r}")


def _places(entries, running, shapes):
    """The letters that are no ranges, in the order of the left side; each is somewhere an axis of its own."""
    sizes = {}
    for entry in entries:
        for axis, index in enumerate(entry.index):
            if len(index) == 1 and index[0][1] == 1 and index[0][0]:
                sizes.setdefault(index[0][0], shapes[entry.tensor][axis])
    letters = dict.fromkeys(letter for index in entries[0].index for letter, _ in index if letter)
    return tuple((letter, sizes[letter]) for letter in letters if letter not in running)
