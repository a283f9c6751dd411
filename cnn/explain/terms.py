"""A sentence at one place of a trace: its terms, which of them are padding, how they group, and why some are 0."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cnn.explain.sentences import Entry, Index, Sentence
from cnn.explain.trace import Stage, Trace, is_relu
from cnn.layers import MaxPooling2D

Array = np.ndarray


class Tensors(Mapping[str, Array]):
    """The tensors of a trace by name, and the switches that follow from them.

    y (C,) is 1 at the target. open3 is 1 where z3 > 0. win1 (ph, pw, OH, OW, C) is 1 where
    the cell (u, v) of the window (i, j) won: win1[u,v,i,j,c]. In other networks than the
    article's they are called `<layer>:open` and `<layer>:win`.
    """

    def __init__(self, t: Trace):
        self.t = t
        self.made: dict[str, Callable[[], Array]] = {"y": lambda: np.eye(len(t["p"]))[t.target]}
        for stage in t.stages:
            if "winners" in stage.names:
                self.made[switch_name(stage, "win")] = functools.partial(win, t, stage)
            if "z" in stage.names:
                self.made[switch_name(stage, "open")] = functools.partial(opened, t, stage)

    def __getitem__(self, name: str) -> Array:
        return self.made[name]() if name in self.made else self.t[name]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each, the switches included."""
        return {name: self[name].shape for name in self}

    def __iter__(self) -> Iterator[str]:
        yield from [*self.t.tensors, *self.made]

    def __len__(self) -> int:
        return len(self.t.tensors) + len(self.made)


def switch_name(stage: Stage, role: str) -> str:
    """What the switches of a layer are called: win1 beside argmax1, open3 beside z3; else `<layer>:win`."""
    name = stage.names["winners" if role == "win" else "z"]
    return f"{role}{name[-1]}" if name.isalnum() else f"{stage.layer.name}:{role}"


def opened(t: Trace, stage: Stage) -> Array:
    """1 where a number came through the layer's ReLU, else 0."""
    return (t.get(stage, "z") > 0).astype(float)


def win(t: Trace, stage: Stage) -> Array:
    """1 where the cell (u, v) of a window won, else 0: (ph, pw, OH, OW, C)."""
    ph, pw = stage.layer.pool_size
    cells = np.arange(ph * pw).reshape(ph, pw, 1, 1, 1)
    return (cells == t.get(stage, "winners")).astype(float)


@dataclass(frozen=True)
class Terms:
    """A sentence at one place. The arrays have one axis for each range of the sentence, in its order."""

    sentence: Sentence
    at: dict[str, int]
    value: float  # the entry of the trace that the sentence is about
    index: tuple[int, ...]  # where it stands
    start: float
    factors: tuple[Array, ...]  # the entries that are multiplied; 0 where they are padding
    inside: Array  # whether all factors lie inside their tensors
    terms: Array  # their product, with its sign

    @property
    def result(self) -> float:
        """What the sentence says: equal to `value` up to the rounding of a sum in another order."""
        if self.sentence.operator == "MAX":
            return float(np.where(self.inside, self.terms, -np.inf).max())
        total = self.start + float(self.terms.sum())
        return max(0.0, total) if self.sentence.operator == "RELU" else total

    @property
    def size(self) -> float:
        """The terms' absolute sum: what rounding is measured by."""
        return abs(self.start) + float(np.abs(self.terms).sum())

    def by(self, letters: str) -> Array:
        """The sums of the terms for each value of these ranges: by("c") has one number for each channel."""
        others = tuple(k for k, (letter, _) in enumerate(self.sentence.ranges) if letter not in letters)
        return self.terms.sum(axis=others)

    def entry(self, k: int, flat: int) -> tuple[str, tuple[int, ...]]:
        """The tensor and index of the k-th factor of one term; the index may lie outside, in the padding."""
        places = np.unravel_index(flat, self.terms.shape)
        letters = [letter for letter, _ in self.sentence.ranges]
        factor, scope = self.sentence.factors[k], self.at | dict(zip(letters, map(int, places), strict=True))
        return factor.tensor, tuple(int(_place(index, scope)) for index in factor.index)

    def order(self) -> Array:
        """The flat places of the terms, the largest first."""
        return np.argsort(-np.abs(self.terms), axis=None, kind="stable")


def evaluate(sentence: Sentence, tensors: Mapping[str, Array], at: Mapping[str, int]) -> Terms:
    """The terms of a sentence where its letters have these values: at = {"i": 3, "j": 4, "f": 2}."""
    sizes = [size for _, size in sentence.ranges]
    ranges = zip([letter for letter, _ in sentence.ranges], np.indices(sizes, sparse=True), strict=True)
    at = {letter: int(at[letter]) for letter, _ in sentence.places}
    scope = at | dict(ranges)
    factors, inside = [], np.ones(sizes, bool)
    for entry in sentence.factors:
        values, within = _read(tensors[entry.tensor], entry, scope)
        factors.append(np.broadcast_to(values, sizes))
        inside = inside & within
    index = tuple(int(_place(axis, scope)) for axis in sentence.out.index)
    start = float(_read(tensors[sentence.start.tensor], sentence.start, scope)[0]) if sentence.start else 0.0
    terms = sentence.sign * np.prod(factors, axis=0)
    return Terms(sentence, at, float(tensors[sentence.out.tensor][index]), index, start, tuple(factors), inside, terms)


def _place(index: Index, scope):
    return sum(factor * (scope[letter] if letter else 1) for letter, factor in index)


def _read(array: Array, entry: Entry, scope):
    """(the entries, 0 outside the tensor; whether they lie inside)."""
    places = np.broadcast_arrays(*[_place(index, scope) for index in entry.index])
    inside = np.all([(place >= 0) & (place < size) for place, size in zip(places, array.shape, strict=True)], axis=0)
    clipped = tuple(np.clip(place, 0, size - 1) for place, size in zip(places, array.shape, strict=True))
    return np.where(inside, array[clipped], 0.0), inside


CAUSES = ("ReLU closed", "lost the pool", "padding", "zero input")  # why a product is 0


def causes(t: Trace, stage: int, terms: Terms) -> dict[str, int]:
    """Why products of a convolution's weight gradient are 0, each counted once: ReLU, then pooling, then input."""
    this, (values, gradients) = t.stages[stage], terms.factors
    filter_number = terms.index[-1]
    closed = t.get(this, "z")[..., filter_number] <= 0 if is_relu(this) else np.zeros(terms.terms.shape, bool)
    lost, silent = (gradients == 0) & ~closed, (values == 0) & (gradients != 0)
    pooled = stage + 1 < len(t.stages) and isinstance(t.stages[stage + 1].layer, MaxPooling2D)
    names = CAUSES if pooled else (CAUSES[0], "no gradient", *CAUSES[2:])
    masks = zip(names, (closed, lost, silent & ~terms.inside, silent & terms.inside), strict=True)
    return {name: int(mask.sum()) for name, mask in masks if mask.any()}
