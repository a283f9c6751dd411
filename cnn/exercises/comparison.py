"""What a result is instead of right: of no use at all, or wrong numbers, and then of which mistake."""

import re
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from cnn.exercises import anything
from cnn.exercises.record import Arguments, Array, Task, catalogue_of
from cnn.exercises.sentences import say
from cnn.gradcheck import CATALOGUE, Case, Diagnosis, Mistake, diagnose
from cnn.gradcheck.diagnosis import BETTER, EXACT, distance
from cnn.gradcheck.mistakes import factor, factors
from cnn.gradcheck.states import described

SINGLE = 1e-5  # how well numbers agree that were rounded to float32


class Run(NamedTuple):
    """One case: what the function was given, what is right, and what came."""

    case: str
    arguments: Arguments
    right: dict[str, Any]
    got: dict[str, Any]


def counted(task: Task, got: Any, right: dict[str, Any]) -> tuple[str, str] | None:
    """(state, sentence) where the function did not return as many results as it should, or in another order."""
    expected = ", ".join(task.results)
    if got is None:
        return "None", say("None", function=task.function)
    if len(task.results) == 1:
        if isinstance(got, tuple | list) and len(got) == 1:
            return "results", say("results", function=task.function, got="a tuple of one", expected=f"{expected} alone")
        return None
    if not isinstance(got, tuple | list) or len(got) != len(task.results):
        told = f"a list of {len(got)}" if isinstance(got, list) else described(got)
        return "results", say("results", function=task.function, got=told, expected=f"({expected})")
    found = [next((name for name in right if same(right[name], one)), None) for one in got]
    if None not in found and len(set(found)) == len(found) and tuple(found) != task.results:
        return "order", say("order", function=task.function, expected=expected, got=", ".join(map(str, found)))
    return None


def same(right: Any, got: Any) -> bool:
    """Whether one result is another one."""
    try:
        array = np.asarray(got, np.float64)
    except (TypeError, ValueError):
        return False
    return array.shape == np.shape(right) and close(np.asarray(right), array, 1e-9)


def unusable(result: str, right: Any, got: Any) -> tuple[str, str] | None:
    """(state, sentence) of what is no array of numbers of the right kind; shape and numbers are judged elsewhere."""
    if isinstance(got, int) and not isinstance(got, bool) and np.ndim(right) == 0:
        return None
    if not isinstance(got, np.ndarray | np.generic | float) or np.asarray(got).dtype.kind not in "fiub":
        kind = "None" if got is None else described(got)
        kind = f"an array of {got.dtype}" if isinstance(got, np.ndarray) else kind
        return "no array", say("no array", result=result, got=kind)
    array = np.asarray(got)
    if np.ndim(right) == 0 and array.ndim and array.size == 1:
        return "no number", say("no number", result=result, got=f"an array of shape {array.shape}")
    if np.asarray(right).dtype.kind in "iu":
        return None if array.dtype.kind in "iu" else ("whole", say("whole", result=result, got=array.dtype))
    if array.dtype.kind != "f":
        return "integers", say("integers", result=result, got=array.dtype)
    if array.dtype.itemsize < 8 and array.shape == np.shape(right) and close(np.asarray(right), array, SINGLE):
        return "rounded", say("rounded", result=result, got=array.dtype)
    return None


def close(right: Array, got: Array, tolerance: float) -> bool:
    """Whether all numbers are the right ones, but for rounding; whole numbers must be equal."""
    if right.shape != got.shape or not np.isfinite(got).all():
        return False
    if right.dtype.kind in "iu":
        return bool((right == got).all())
    size = max(1e-3, float(np.abs(right).max(initial=0)))
    return bool(np.abs(np.asarray(got, np.float64) - right).max(initial=0) <= tolerance * size)


def is_right(task: Task, run: Run, result: str) -> bool:
    """Whether one result of one case is right."""
    return close(np.asarray(run.right[result]), np.asarray(run.got[result]), task.tolerance)


# ---- which mistake


def case_of(task: Task, run: Run, result: str) -> Case:
    """A result that is wrong with all that is known around it, for gradcheck's catalogue and the task's own."""
    a = SimpleNamespace(**run.arguments)
    right, got = (np.asarray(numbers[result], np.float64) for numbers in (run.right, run.got))
    known = {"name": result, "exact": True, **task.known(a, result)}
    others = {
        name: np.asarray(value, np.float64)
        for name, value in run.right.items()
        if name != result and np.size(value) > 1
    }
    return Case(right=right, got=got, others=others, arguments={**run.arguments, "_result": result}, **known)


def named_mistake(task: Task, solution: Any, runs: list[Run], result: str) -> tuple[Run, Case, Diagnosis]:
    """(the first case that is wrong, all that is known of it, its diagnosis).

    What is named gives the learner's numbers in every case, also where they are right: one case alone cannot tell
    many a mistake from others. Where nothing does, the diagnosis says where the error sits.
    """
    runs = sorted(runs, key=lambda run: is_right(task, run, result))  # the wrong ones first, in their order
    cases = [case_of(task, run, result) for run in runs]
    told_by = [case for case in cases if case.got.size or not case.right.size] or cases  # nothing tells nothing
    found: list[Mistake] = []
    for catalogue in (
        lambda: catalogue_of(task, solution),
        lambda: [*by_a_factor(told_by), *(m for m in CATALOGUE if m.key != "constant factor")],
        lambda: anything.MISTAKES,
        lambda: catalogue_of(task, solution, at_once=2),
    ):
        for scaled in (False, True):
            found = found or [m for m in catalogue() if all(reproduces(m, case, scaled) for case in told_by)]
    found = of_all_results(task, runs, found) or found
    return runs[0], cases[0], told(cases[0], found)


def of_all_results(task: Task, runs: list[Run], found: list[Mistake]) -> list[Mistake]:
    """Of mistakes that give one result those that give all the others as well, as they came."""
    own = [m for m in found if m.key not in {mistake.key for mistake in CATALOGUE}]
    cases = [case_of(task, run, result) for run in runs for result in task.results]
    return [m for m in own if all(reproduces(m, case) for case in cases)] if len(task.results) > 1 else []


def by_a_factor(cases: list[Case]) -> list[Mistake]:
    """The one factor that makes the learner's numbers of the right ones in all cases, if there is one.

    A factor that counts something, photos say, may be another number in each case, and 1 where there is one photo.
    """
    distances = [apart(case) for case in cases]
    wrong = [case for case, distant in zip(cases, distances, strict=True) if distant > EXACT]
    right = [case for case, distant in zip(cases, distances, strict=True) if distant <= EXACT and case.right.any()]
    by_name = [{_unnumbered(words): (words, value) for words, value in factors(case).items()} for case in wrong]
    fits = [
        {name for name, (_, value) in names.items() if abs(factor(case) / value - 1) < 1e-6}
        for case, names in zip(wrong, by_name, strict=True)
    ]
    seen = {_unnumbered(words) for case in right for words in factors(case)}
    names = sorted(set.intersection(*fits) - seen)
    if not names:  # one without a name
        return [m for m in CATALOGUE if m.key == "constant factor" and not seen and _one(map(factor, wrong))]
    words = " or ".join(by_name[0][name][0] for name in names)

    def candidate(case: Case) -> Array | None:
        here = {_unnumbered(words): value for words, value in factors(case).items()}
        return case.right * here[names[0]] if names[0] in here else None

    return [Mistake("constant factor", lambda case: f"the right numbers times {words}", candidate)]


def _unnumbered(words):
    return re.sub(r"(?<!-)\b\d+, |, \d+ being|1/\d+(?=, )", lambda found: "1/n" if "/" in found[0] else "n", words)


def _one(values):
    first, *others = values
    return all(abs(value - first) <= 1e-6 * abs(first) for value in others)


def reproduces(mistake: Mistake, case: Case, scaled: bool = False) -> bool:
    """Whether a mistake gives the numbers of a case; scaled: but for a factor that has a name."""
    distant = apart(case)
    is_right = distant <= EXACT
    made = made_by(mistake, case)
    if made is None:
        return is_right  # in this case it makes no difference
    if not is_right and np.isfinite(made).all() and distance(made, case.right) <= EXACT:
        return False
    limit = EXACT if is_right else min(EXACT, BETTER * distant)
    made_of = [1.0, *factors(case).values()] if scaled else [1.0]
    with np.errstate(all="ignore"):
        return any(alike(k * made, case.got, limit) for k in made_of)


def apart(case: Case) -> float:
    """How far the learner's numbers are from the right ones, as a share of the largest."""
    return distance(case.right, case.got) if np.isfinite(case.got).all() else np.inf


def made_by(mistake: Mistake, case: Case) -> Array | None:
    """The numbers that the mistake would give, of whatever shape; None where it cannot be made."""
    try:
        with np.errstate(all="ignore"):
            return mistake.candidate(case)
    except (ValueError, IndexError):  # shapes that it was not meant for
        return None


def alike(made: Array, got: Array, limit: float) -> bool:
    """Whether numbers agree; what is not a number must be so in both."""
    if made.shape != got.shape or not np.array_equal(np.isnan(made), np.isnan(got)):
        return False
    finite = np.isfinite(got)
    if not np.array_equal(made[~finite], got[~finite], equal_nan=True):
        return False
    return distance(made, got) <= limit if finite.all() else _near(made[finite], got[finite])


def _near(made, got):
    return bool((np.abs(made - got) <= 1e-9 * (1 + np.abs(got))).all())


def told(case: Case, found: list[Mistake]) -> Diagnosis:
    """The diagnosis of the mistakes that were found; of none, where the error sits."""
    name, finite = case.arguments["_result"], np.isfinite(case.got)
    if not finite.all():
        place = tuple(int(k) for k in np.argwhere(~finite)[0])
        facts = {"result": name, "count": np.count_nonzero(~finite), "size": case.got.size, "index": list(place)}
        kind = "NaN" if np.isnan(case.got[place]) else "infinite"
        sentence = say("NaN" if place else "NaN alone", got=kind, **facts)
        words = ", or ".join(m.words(case) for m in found[:2])
        return Diagnosis(found[0].key if found else "NaN", f"{sentence}{f'. These are {words}' if words else ''}")
    if case.got.shape != case.right.shape:
        sentence = say("shape", result=name, expected=case.right.shape, got=case.got.shape)
        words = ", or ".join(m.words(case) for m in found[:2])
        return Diagnosis(found[0].key if found else "shape", f"{sentence}{f'. These are {words}' if words else ''}")
    result = diagnose(case, found)
    if case.right.ndim == 0:  # a number has no place
        sentence = result.sentence.replace("the first entry that differs is []: ", "")
        sentence = sentence.removeprefix("furthest off at []: ").split("; all others of")[0]
        return result._replace(sentence=sentence)
    return result
