"""What an exercise is made of, and the words in which its table of mistakes is written."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from cnn.gradcheck import Case, Mistake, TensorCheck

Array = np.ndarray
Arguments = dict[str, Any]  # in the order in which the function takes them; those called _x are for the checker alone
Factor = tuple[str, tuple[int, ...]]  # ("x", (0, 1, 2, 0)): one number of an argument
Term = tuple[Factor, ...]  # a product
Shown = Sequence[Term] | Sequence[str]  # a sum term by term, or lines that show what else was to be done
# What a mistake does, seen from our solution: other arguments (a dict), or other results (an array, or a tuple).
Change = Callable[[SimpleNamespace], Any]


def nothing(*_: Any) -> dict:
    """Nothing is known beyond the arguments."""
    return {}


class Task(NamedTuple):
    """One function that the learner writes."""

    function: str
    results: tuple[str, ...]
    cases: Callable[[np.random.Generator], dict[str, Arguments]]  # under words for what is special, the simplest first
    mistakes: Mapping[str, Change]  # under words that complete "the numbers ..."
    known: Callable[[SimpleNamespace, str], dict] = nothing  # fields of Case for (the arguments, a result)
    terms: Callable[[SimpleNamespace, str, tuple[int, ...]], Shown] | None = None
    slopes: Callable[[SimpleNamespace, Callable], list[TensorCheck]] | None = None  # the gradient check
    tolerance: float = 1e-9  # of values, as a share of the largest
    call: Callable[[Any, Arguments], Any] | None = None  # (module, arguments): how to call it, if not by its name


class Exercise(NamedTuple):
    """An exercise: one file, with one function or a few."""

    name: str  # of the file, too
    title: str
    step: str  # of `cnn explain`, which shows the same on a real photo
    tasks: tuple[Task, ...]
    needs: tuple[str, ...] = ()  # the exercises whose functions the file takes


def handed_over(arguments: Mapping[str, Any]) -> Arguments:
    """What the function gets."""
    return {name: value for name, value in arguments.items() if not name.startswith("_")}


def answer(task: Task, module: Any, arguments: Mapping[str, Any]) -> Any:
    """What a module's function makes of the arguments."""
    given = handed_over(arguments)
    return task.call(module, given) if task.call else getattr(module, task.function)(*given.values())


def named(task: Task, results: Any) -> dict[str, Any]:
    """{name: result} of what one call returns."""
    return dict(zip(task.results, results if len(task.results) > 1 else (results,), strict=True))


def catalogue_of(task: Task, solution: Any, at_once: int = 1) -> list[Mistake]:
    """The task's mistakes as gradcheck's catalogue has them; at_once = 2: any two of them."""
    return [
        Mistake(" and ".join(words), _said(", and moreover ".join(words)), _candidate(task, solution, list(changes)))
        for some in itertools.combinations(task.mistakes.items(), at_once)
        for words, changes in [zip(*some, strict=True)]
    ]


def _said(words: str) -> Callable[[Case], str]:
    return lambda case: f"the numbers {words}"


def _candidate(task: Task, solution: Any, changes: list[Change]) -> Callable[[Case], Array | None]:
    """The numbers of these changes, one after the other: all but one must be of arguments."""

    def make(case: Case) -> Array | None:
        arguments, result = dict(case.arguments), None
        made = [change(SimpleNamespace(**arguments)) for change in changes]
        if sum(not isinstance(one, dict) for one in made) > 1 or any(one is None for one in made):
            return None
        for one in made:
            arguments |= one if isinstance(one, dict) else {}
        if all(isinstance(one, dict) for one in made):
            result = answer(task, solution, arguments)
        else:  # of the changed arguments
            result = next(c for c, one in zip(changes, made, strict=True) if not isinstance(one, dict))(
                SimpleNamespace(**arguments)
            )
        return np.asarray(named(task, result)[case.arguments["_result"]], np.float64)

    return make
