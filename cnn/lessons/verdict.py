"""What is said of a student's number: right, nearly, not yet and why, or still open. It does not scold."""

import html
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray
CLOSE = 2e-3  # of the largest number: three digits are right, as from a pocket calculator
NEAR = 2e-2
EXACT = 1e-6  # of the network's float32 photo
# Half transparent, so that it reads by day and by night; the word in front says the same as the colour.
COLOURS = {
    "Right": "46,125,50",
    "Measured": "31,95,168",
    "Nearly": "200,140,0",
    "Not yet": "200,80,30",
    "Open": "128,128,128",
}


class Verdict:
    """A word, such as Right, and a sentence; a notebook shows it in a box."""

    def __init__(self, word: str, sentence: str):
        self.word, self.sentence = word, sentence

    def __bool__(self) -> bool:
        return self.word == "Right"

    def __repr__(self) -> str:
        return f"{self.word}: {self.sentence}"

    def _repr_html_(self) -> str:
        colour, text = COLOURS[self.word], html.escape(self.sentence)
        look = f"border-left:4px solid rgb({colour});background:rgba({colour},.15);padding:.4em .8em"
        return f'<div style="{look}"><b>{self.word}:</b> {text}</div>'


def judge(
    what: str,
    answer: Any,
    right: ArrayLike,
    misses: dict[str, Any],
    hint: str,
    tolerance: float = CLOSE,
    exact: bool = False,
) -> Verdict:
    """The verdict on an answer: a number, or an array of the shape of `right`; `...` is a blank left open.

    misses: {what to say: the number that somebody gets who made this mistake}; said only of an answer that is
    just that number, and is not right as well. exact: a count, nothing is near it.
    """
    right = np.asarray(right, np.float64)
    if answer is ... or answer is None:
        return Verdict("Open", f"still to be found: {what}. {hint}")
    given, trouble = numbers(answer, right.shape)
    if trouble:
        return Verdict("Not yet", f"{what}: {trouble}")
    size = float(np.abs(right).max())
    tolerance, near = (0.0, 0.0) if exact else (tolerance, max(NEAR, 2 * tolerance))
    if within(given, right, tolerance * size):
        if right.ndim:
            return Verdict("Right", f"{what}, all {right.size} numbers.")
        return Verdict("Right", f"{what} = {float(right) + 0.0:.6g}.")
    for sentence, wrong in {**misses, **signs(right)}.items():
        wrong = np.asarray(wrong, np.float64)
        # A number beside the right one may be a rounded right one: there the mistake must give it exactly.
        distance = EXACT if within(wrong, right, near * size) else tolerance
        if wrong.shape == right.shape and within(given, wrong, distance * float(np.abs(wrong).max())):
            return Verdict("Not yet", f"{what}: {sentence}.")
    if within(given, right, near * size):
        return Verdict("Nearly", f"{what} is almost right: keep a digit or two more on the way.")
    return Verdict("Not yet", f"{what}: {how_far(given, right, tolerance * size)} {hint}")


def bet(answer: Any, measure: Callable[[], float | str]) -> Verdict:
    """What is measured, beside what was bet; without a bet nothing is measured, nor given away."""
    if answer is ... or answer is None:
        return Verdict("Open", "write your bet in place of the dots: then this cell measures.")
    found = measure()
    if isinstance(found, str):
        same = str(answer).strip().lower() == found.lower()
        return Verdict("Measured", f"{found}. Your bet was {answer}{', well foreseen' if same else ''}.")
    given, trouble = numbers(answer, ())
    if trouble:
        return Verdict("Open", f"your bet: {trouble}")
    return Verdict("Measured", f"{found:.1f}. Your bet was {given:g}, off by {abs(given - found):.1f}.")


def signs(right: Array) -> dict[str, Array]:
    """Mistakes that fit any number."""
    return {
        "the sign is the other way round": -right,
        "that is twice as much": 2 * right,
        "that is half of it": right / 2,
    }


def numbers(answer: Any, shape: tuple[int, ...]) -> tuple[Array, str]:
    """(the answer as an array of this shape, what is wrong with it or "")."""
    wanted = f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
    try:
        given = np.asarray(answer, np.float64)
    except (TypeError, ValueError):
        return np.zeros(shape), f"expected {wanted}, got {type(answer).__name__}"
    if given.size == np.prod(shape, dtype=int):
        given = given.reshape(shape)
    if given.shape != shape:
        got = f"{' x '.join(map(str, given.shape))} numbers" if given.ndim else "one number"
        return given, f"expected {wanted}, got {got}"
    if not np.isfinite(given).all():
        return given, "there is an infinity or a NaN in it: somewhere 0 was divided by 0, or the numbers grew too large"
    return given, ""


def within(a: Array, b: Array, distance: float) -> bool:
    """Whether no two numbers are further apart; rounding of the last digit is no distance."""
    return bool((np.abs(a - b) <= distance + 1e-12).all())


def how_far(given: Array, right: Array, distance: float) -> str:
    """Too large or too small; of many numbers, how many are right and where the first is that is not."""
    if given.ndim == 0:
        return f"your number is too {'large' if given > right else 'small'}."
    wrong = np.argwhere(np.abs(given - right) > distance + 1e-12)
    place = ",".join(map(str, wrong[0]))
    return f"{given.size - len(wrong)} of {given.size} numbers are right, the one at [{place}] is not."
