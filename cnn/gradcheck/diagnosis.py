"""Which mistake was made? What people do wrong is tried on the very arrays at hand; what gives these numbers is named.

Nothing is named that does not reproduce the numbers, all of them, and far better than the right ones do. Where two
mistakes give the same numbers, both are named. Where none does, the sentence tells where the error sits.
"""

from typing import NamedTuple

import numpy as np

from cnn.gradcheck import mistakes, mistakes_of_layers, mistakes_of_windows
from cnn.gradcheck.cases import Array, Case, Mistake

CATALOGUE = [*mistakes_of_layers.MISTAKES, *mistakes_of_windows.MISTAKES, *mistakes.MISTAKES]
EXACT, MEASURED, SINGLE = 1e-10, 1e-7, 1e-5  # how well numbers must agree: by formula, by slopes, from float32
BETTER = 1e-3  # ... and so many times better than the right ones do
ENOUGH = 8  # so many numbers must be comparable, or all where there are fewer
NAMED = 3  # mistakes that are named at most, where several give the same numbers
# Where the first is named, the others say the same of the same numbers in other words.
SAME = {
    "mask forgotten": ("upstream handed on",),
    "pooling shares": ("upstream handed on", "constant factor"),
    "constant factor": ("p minus y", "axes exchanged", "another shape", "reshaped for transposed"),
    "p minus y": ("upstream handed on",),
    "turned": ("flipped",),
    "only one place": ("only some outputs", "one filter in dx"),
    "one filter in dx": ("only some outputs",),
    "place missing": ("only some outputs",),
    "axes exchanged": ("another shape",),
}


class Diagnosis(NamedTuple):
    """What is wrong with a gradient."""

    mistake: str  # "constant factor", "turned" ...: a key of the catalogue, a state such as "missing", or "" for none
    sentence: str  # for people, without the tensor's name
    index: tuple[int, ...] | None = None  # type: ignore[assignment]  # of the first entry that differs, or the worst
    expected: float | None = None
    got: float | None = None
    agreement: float | None = None  # how far the numbers are from the mistake's, as a share of the largest
    layer: str | None = None  # in a network: the layer at fault


def diagnose(case: Case, catalogue: list[Mistake] | None = None) -> Diagnosis:
    """The mistake that gives the numbers of a gradient that is wrong, or where its error sits.

    >>> right = np.arange(1.0, 7.0).reshape(2, 3)
    >>> diagnose(Case("W", right, np.flip(right, 1))).sentence.split(" (")[0]
    'these are the right numbers flipped: the last place along axis 1 first'
    >>> diagnose(Case("W", right, right + [0, 0, 0.5])).sentence
    'furthest off at [0, 2]: expected 3, got 3.5; the error sits in place 2 along axis 1 alone, in 2 entries'
    """
    case.got = np.asarray(case.got)
    tolerance = MEASURED if not case.exact else EXACT
    if case.got.dtype.kind == "f" and case.got.dtype.itemsize < 8:
        tolerance = SINGLE
        if distance(case.right, case.got) <= SINGLE:
            return single_precision(case)
    tolerance = min(tolerance, BETTER * distance(case.right, case.got))
    found = matches(case, CATALOGUE if catalogue is None else catalogue, tolerance)
    if not found:
        return located(case)
    found = {words: value for words, value in found.items() if not said_already(value[0], found)}
    (key, agreement), place = next(iter(found.values())), first_difference(case)
    agrees = "agrees to the last digit" if agreement == 0 else f"agrees to {agreement:.0e}"
    sentence = f"these are {', or '.join(list(found)[:NAMED])} ({agrees})"
    if place is None:
        return Diagnosis(key, f"{shapes(case)}: {sentence}", None, None, None, agreement)
    expected, got = float(case.right[place]), float(case.got[place])
    first = f"the first entry that differs is {list(place)}: {versus(expected, got)}"
    return Diagnosis(key, f"{sentence}; {first}", place, expected, got, agreement)


def matches(case: Case, catalogue: list[Mistake], tolerance: float) -> dict[str, tuple[str, float]]:
    """{words: (key, agreement)} of the mistakes that give the numbers; if none does, with a factor that has a name."""
    made = [(mistake, candidate_of(mistake, case)) for mistake in catalogue]
    found = {}
    for mistake, array in made:
        if array is not None and (agreement := distance(array, case.got)) <= tolerance:
            found[mistake.words(case)] = mistake.key, agreement
            if mistake.key == "zeros":
                return {mistake.words(case): (mistake.key, agreement)}  # of many a mistake nothing comes
    if found:
        return found
    for mistake, array in made:
        for words, factor in mistakes.factors(case).items():
            if array is not None and (agreement := distance(factor * array, case.got)) <= tolerance:
                found[f"{mistake.words(case)}, and moreover times {words}"] = mistake.key, agreement
    return found


def candidate_of(mistake: Mistake, case: Case) -> Array | None:
    """The numbers that the mistake would give; None where it cannot be made, or makes no difference."""
    try:
        with np.errstate(all="ignore"):
            made = mistake.candidate(case)
    except (ValueError, IndexError):  # shapes that it was not meant for
        return None
    if made is None or made.shape != case.got.shape:
        return None
    return made


def said_already(key: str, found: dict[str, tuple[str, float]]) -> bool:
    """Whether another mistake that was found says the same."""
    return any(key in SAME.get(other, ()) for other, _ in found.values() if other != key)


def distance(a: Array, b: Array) -> float:
    """The largest difference as a share of the largest number, where a is known; infinity where too little is."""
    if a.shape != b.shape:
        return np.inf
    known = np.isfinite(a)
    if np.count_nonzero(known) < min(a.size, ENOUGH):
        return np.inf
    a, b = a[known].astype(np.float64), b[known].astype(np.float64)
    size = max(np.abs(b).max(initial=0), np.abs(a).max(initial=0))
    return float(np.abs(a - b).max(initial=0) / size) if size > 0 else 0.0


# ---- where the error sits


def wrong_entries(case: Case) -> Array:
    """A mask of the entries that differ by more than measuring errs."""
    size = max(np.nanmax(np.abs(case.right), initial=0), np.nanmax(np.abs(case.got), initial=0))
    limit = (EXACT if case.exact else MEASURED) * size
    with np.errstate(invalid="ignore"):
        wrong = np.abs(case.got - case.right) > limit
    if not wrong.any():  # wrong by less than that
        error = np.nan_to_num(np.abs(case.got - case.right))
        wrong = error == error.max(initial=0)
    return wrong


def first_difference(case: Case) -> tuple[int, ...] | None:
    """The first entry that differs; None where the shapes do."""
    if case.got.shape != case.right.shape:
        return None
    return tuple(int(i) for i in np.argwhere(wrong_entries(case))[0])


def versus(expected: float, got: float) -> str:
    """Both numbers, with as many digits as tell them apart."""
    expected, got = expected + 0.0, got + 0.0  # -0 is 0
    for digits in (6, 9, 13, 17):
        texts = f"{expected:.{digits}g}", f"{got:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return f"expected {texts[0]}, got {texts[1]}"


def shapes(case: Case) -> str:
    """The two shapes, where they differ."""
    return f"expected shape {case.right.shape}, that of {case.name} itself, got {case.got.shape}"


def located(case: Case) -> Diagnosis:
    """The worst entry, and where the error sits."""
    if case.got.shape != case.right.shape:
        return Diagnosis("shape", shapes(case))
    error = np.nan_to_num(np.abs(case.got - case.right), nan=-1)
    worst = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    expected, got = float(case.right[worst]), float(case.got[worst])
    sentence = f"furthest off at {list(worst)}: {versus(expected, got)}; {where(case, wrong_entries(case))}"
    return Diagnosis("", sentence, worst, expected, got)


def where(case: Case, wrong: Array) -> str:
    """Whether the entries that differ lie at the borders, in one photo, in one channel, or everywhere."""
    count, known = int(np.count_nonzero(wrong)), int(np.count_nonzero(np.isfinite(case.right)))
    if count == 1:
        return f"all others of the {known} that were compared are right"
    one = []
    for axis, size in enumerate(wrong.shape):
        places = np.unique(np.nonzero(wrong)[axis])
        if len(places) == 1 and size > 1:
            one.append(case.place(axis, int(places[0])))
    if one:
        return f"the error sits in {' and '.join(one)} alone, in {count} entries"
    axes = mistakes.spatial(case)
    if axes and min(wrong.shape[axis] for axis in axes) > 2:
        inner = [slice(None)] * wrong.ndim
        for axis in axes:
            inner[axis] = slice(1, -1)
        if not wrong[tuple(inner)].any():
            return f"the error sits at the borders alone, in {count} entries"
    if count > 0.9 * known:
        return f"the error is everywhere: {count} of the {known} entries that were compared differ"
    return f"{count} of the {known} entries that were compared differ"


def single_precision(case: Case) -> Diagnosis:
    """Right but for rounding."""
    place = first_difference(case)
    expected, got = float(case.right[place]), float(case.got[place])  # type: ignore[index]
    words = f"these are the right numbers rounded to {case.got.dtype}: somewhere this type is written down"
    why = f"{words}, where the layer should compute in its input's (float64 here)"
    return Diagnosis(
        "single precision", f"{why}; at {list(place or ())}: {versus(expected, got)}", place, expected, got
    )
