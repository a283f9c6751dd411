"""Mistakes that any result can show, beside those of gradcheck: another function of the right numbers, or some of them.

They are tried last: a network's gradients are seldom wrong in this way, the first lines of a learner more often.
"""

from collections.abc import Callable

import numpy as np

from cnn.gradcheck import Case
from cnn.gradcheck.cases import Array, catalogue

MISTAKES, mistake = catalogue()
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "the squares of the right numbers": np.square,
    "the square roots of the right numbers": np.sqrt,
    "the right numbers without their signs": np.abs,
    "exp of the right numbers": np.exp,
    "the logarithms of the right numbers": np.log,
    "1 less the right numbers": lambda right: 1 - right,
    "1 divided by the right numbers": np.reciprocal,
    "the right numbers, and 0 where they are negative": lambda right: np.maximum(right, 0),
    "the right numbers, and 0 where they are positive": lambda right: np.minimum(right, 0),
    "the signs of the right numbers": np.sign,
    "the right numbers rounded to whole ones": np.round,
    "the right numbers with all behind the point cut off": np.trunc,
}


@mistake("{what}", what=tuple(FUNCTIONS))
def another_function(c: Case, what: str) -> Array:
    """A step too many, or one left out."""
    return FUNCTIONS[what](c.right)


@mistake("the right numbers rounded to {digits} digits behind the point", digits=range(1, 9))
def rounded(c: Case, digits: int) -> Array:
    """np.round."""
    return np.round(c.right, digits)


@mistake(
    lambda c, axis, place: f"the right numbers of the {'last' if place else 'first'} {c.axis(axis)}, put at each",
    axis=range(4),
    place=(0, -1),
)
def one_for_all(c: Case, axis: int, place: int) -> Array | None:
    """A loop's variable that is not used."""
    if axis >= c.right.ndim or c.right.shape[axis] < 2:
        return None
    return np.take(c.right, [place], axis) + 0 * c.right


@mistake(lambda c, axis: f"the right numbers added up from one {c.axis(axis)} to the next", axis=range(4))
def added_up(c: Case, axis: int) -> Array | None:
    """A sum that does not begin anew at 0."""
    return np.cumsum(c.right, axis) if axis < c.right.ndim and c.right.shape[axis] > 1 else None


@mistake("the right numbers sorted along {axis}", axis=range(4))
def in_order(c: Case, axis: int) -> Array | None:
    """np.sort for np.max."""
    return np.sort(c.right, axis) if axis < c.right.ndim and c.right.shape[axis] > 1 else None


SOME = ((0,), (1,), (2,), (3,), (1, 2))
ENDS = {0: "first", -1: "last"}


def some_words(c: Case, axes: tuple[int, ...], place: int, alone: bool, of: str) -> str:
    """Which places."""
    names = {0: "photo", 1: "row", 2: "column", 3: "channel"}
    which = " and ".join(f"the {ENDS[place]} {names[axis] if of == 'output' else c.axis(axis)}" for axis in axes)
    whose = f"{which} of the output" if of == "output" else which
    return f"the right numbers for {whose} alone" if alone else f"the right numbers without {whose}"


@mistake(some_words, axes=SOME, place=(0, -1), alone=(True, False), of=("output", "result"))
def only_some(c: Case, axes: tuple[int, ...], place: int, alone: bool, of: str) -> Array | None:
    """A loop that begins too late, ends too early, or is left too soon; also where the loop has one turn alone."""
    shape = c.right.shape if of == "result" else () if c.dy is None else c.dy.shape
    if max(axes) >= len(shape) or (of == "output" and len(shape) == 2 and axes != (0,)):
        return None
    kept = np.full(shape, True)
    for axis in axes:
        line = np.arange(shape[axis]) == (place % shape[axis])
        kept &= np.expand_dims(line if alone else ~line, tuple(k for k in range(len(shape)) if k != axis))
    return c.right * kept if of == "result" or c.dy is None else c.with_upstream(c.dy * kept)


@mistake(lambda c: f"the right numbers, each {versus(c)}")
def a_constant_more(c: Case) -> Array | None:
    """Something is added that is not in the formula."""
    more = difference(c)
    return None if more is None else c.right + more


def difference(c: Case) -> float | None:
    """What every number has too much, where that is the same for eight numbers or more."""
    if c.got.shape != c.right.shape or c.right.size < 8:
        return None
    more = c.got - c.right
    return float(more.flat[0]) if np.ptp(more) <= 1e-9 * np.abs(more).max() else None


def versus(c: Case) -> str:
    """How much too large or too small."""
    more = difference(c) or 0.0
    return f"{abs(more):.6g} too {'large' if more > 0 else 'small'}"
