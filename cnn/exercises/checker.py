"""One file of a learner against one exercise: shapes, types, numbers in every case, slopes, what must not change.

What a learner's code may do is endless; each thing that is known to happen has a sentence in sentences.py.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cnn import gradcheck
from cnn.exercises import EXERCISES, files, sums
from cnn.exercises.comparison import Run, counted, is_right, named_mistake, unusable
from cnn.exercises.record import Exercise, Task, answer, handed_over, named
from cnn.exercises.sentences import say
from cnn.gradcheck import states

Call = Callable[[], Any]
Attempt = Callable[[str, str, Call], Any]  # (function, case, call): runs learner's code, and returns what it returns


@dataclass
class Report:
    """What a check found. state: "" where all is right, a key of SENTENCES, or "wrong numbers"."""

    exercise: str
    file: str
    passed: bool = False
    state: str = ""
    sentence: str = ""
    function: str | None = None
    case: str | None = None
    given: str | None = None  # what the function was given there
    result: str | None = None
    index: list[int] | None = None
    expected: float | None = None
    got: float | None = None
    mistake: str | None = None
    lines: list[str] = field(default_factory=list)  # the sum behind the first wrong number
    right: list[str] = field(default_factory=list)  # the cases, or results, that are right
    wrong: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)  # what was found to be right
    remarks: list[str] = field(default_factory=list)
    printed: str = ""
    milestone: dict | None = None


class Wrong(Exception):
    """What ends a check: fields of Report."""

    def __init__(self, state: str, sentence: str, **facts: Any):
        super().__init__(sentence)
        self.facts = {"state": state, "sentence": sentence, **facts}


def plainly(function: str, case: str, call: Call) -> Any:
    """Learner's code run as it is, in this process, without a limit."""
    return call()


def check(name: str, path: Path, seed: int = 0, attempt: Attempt = plainly) -> tuple[Report, Any]:
    """(what was found, the learner's module or None)."""
    exercise, report = EXERCISES[name], Report(name, str(path))
    module = None
    try:
        module = module_of(exercise, path, seed, attempt)
        for task in exercise.tasks:
            check_task(exercise, task, module, path, seed, attempt, report)
        report.passed = True
    except Wrong as wrong:
        for key, value in wrong.facts.items():
            setattr(report, key, value)
    return report, module


# ---- the file


def module_of(exercise: Exercise, path: Path, seed: int, attempt: Attempt) -> Any:
    """The learner's module. Raises Wrong."""
    first = exercise.tasks[0].function
    if path.read_bytes().decode("utf-8", "replace") == files.stub(exercise.name):
        raise Wrong("untouched", say("untouched", function=first, exercise=exercise.name), function=first)
    require_neighbours(exercise, path, seed, attempt)
    return guarded(path, path.name, "", lambda: files.load(path, EXERCISES), attempt)


def require_neighbours(exercise: Exercise, path: Path, seed: int, attempt: Attempt) -> None:
    """Raise Wrong where a file that this one takes a function from is not right: the fault would look like its own."""
    try:
        used = files.neighbours(path, exercise.needs)
    except (SyntaxError, ValueError):
        return  # loading it will tell
    for other in used:
        report, _ = check(other, path.parent / f"{other}.py", seed, attempt)
        if not report.passed:
            said = say("neighbour", other=other, file=path.name, said=report.sentence)
            raise Wrong("neighbour", said, case=report.case, mistake=report.mistake, wrong=[other])


def guarded(path: Path, function: str, case: str, call: Call, attempt: Attempt) -> Any:
    """What a call of learner's code returns. Raises Wrong for whatever it raises."""
    try:
        with np.errstate(all="ignore"):
            return attempt(function, case, lambda: states.run(function, call))
    except SystemExit as error:
        raise Wrong("exit", say("exit", file=path.name, place=states.place_of(error)), function=function) from error
    except states.Refusal as refusal:
        raise wrong_for(path, function, case, refusal, refusal.__cause__) from refusal


def wrong_for(path: Path, function: str, case: str, refusal: Exception, cause: BaseException | None) -> Wrong:
    """The state that an exception is."""
    facts = {"function": function, "case": case or None}
    if isinstance(cause, NotImplementedError):
        return Wrong("unwritten", say("unwritten", function=function, place=states.place_of(cause)), **facts)
    if isinstance(cause, SyntaxError) and cause.filename:
        text = f": {cause.text.strip()}" if cause.text else ""
        file = Path(cause.filename).name
        return Wrong("syntax", say("syntax", file=file, line=cause.lineno, said=cause.msg, text=text), **facts)
    if isinstance(cause, ModuleNotFoundError) and cause.name in EXERCISES:
        return Wrong("needs", say("needs", file=path.name, other=cause.name), **facts)
    return Wrong("raises", say("raises", said=refusal), **facts)


# ---- one function


def check_task(
    exercise: Exercise, task: Task, module: Any, path: Path, seed: int, attempt: Attempt, report: Report
) -> None:
    """Raise Wrong unless the function is right."""
    solution = files.load(files.SOLUTIONS / f"{exercise.name}.py", EXERCISES)
    require_function(task, module, solution, path)
    runs: list[Run] = []
    stopped: Wrong | None = None
    cases = task.cases(np.random.default_rng([seed, 1]))
    try:
        for case, arguments in cases.items():
            right = named(task, answer(task, solution, copy.deepcopy(arguments)))
            runs.append(Run(case, arguments, right, run_case(task, module, path, case, arguments, right, attempt)))
    except Wrong as wrong:  # where numbers of a simpler case are wrong, they come first
        stopped = wrong
    if runs:
        require_the_same_again(task, module, path, runs[0], attempt)
    require_right(exercise, task, solution, runs)
    if stopped is not None:
        stopped.facts["right"] = [run.case for run in runs]
        raise stopped
    report.checks.append(
        f"{task.function}: {', '.join(task.results)} right in {len(runs)} cases, the input left as it was"
    )
    check_slopes(task, module, path, runs[0], attempt, report)
    check_single(task, module, path, runs[0], attempt, report)


def require_function(task: Task, module: Any, solution: Any, path: Path) -> None:
    """Raise Wrong where the function is not there, or takes other arguments."""
    names = ["forward", "backward"] if task.call else [task.function]
    for name in names:
        function = getattr(module, name, None)
        if not callable(function):
            own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
            facts = {"function": name, "file": path.name, "got": ", ".join(own) or "none"}
            raise Wrong("no function", say("no function", **facts), function=name)
        expected = inspect.signature(getattr(solution, name))
        try:
            given = inspect.signature(function)
        except (TypeError, ValueError):
            continue  # it does not tell; calling it will
        try:
            given.bind(*expected.parameters)
        except TypeError as error:
            facts = {"function": name, "expected": _names(expected), "got": _names(given)}
            raise Wrong("signature", say("signature", **facts), function=name) from error


def _names(signature):
    return ", ".join(signature.parameters)


def run_case(task: Task, module: Any, path: Path, case: str, arguments: dict, right: dict, attempt: Attempt) -> dict:
    """{result: what the learner's function gave}. Raises Wrong where that is of no use."""
    given = copy.deepcopy(arguments)
    got = guarded(path, task.function, case, lambda: answer(task, module, given), attempt)
    facts = {"function": task.function, "case": case, "given": described(arguments)}
    if problem := counted(task, got, right):
        raise Wrong(*problem, **facts)
    results = named(task, got)
    for result in task.results:
        if problem := unusable(result, right[result], results[result]):
            raise Wrong(*problem, **facts, result=result)
    results = {name: np.array(value) for name, value in results.items()}  # of its own: it may lie in the input
    for name, before, after in changed(handed_over(arguments), handed_over(given)):
        sentence = say("overwritten", function=task.function, result=name, index=first_change(before, after))
        raise Wrong("overwritten", sentence, **facts, result=name)
    return results


def changed(before: Any, after: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(name, before, after) of the arrays that are no longer the same."""
    if isinstance(before, dict):
        if not isinstance(after, dict) or before.keys() != after.keys():
            return [(name, before, after)]
        return [
            change for key in before for change in changed(before[key], after[key], f"{name}[{key!r}]" if name else key)
        ]
    return [] if np.array_equal(before, after, equal_nan=isinstance(before, np.ndarray)) else [(name, before, after)]


def first_change(before: Any, after: Any) -> str:
    """' (at [0, 1]: 2, then 5)', where there is a place to tell."""
    if not isinstance(before, np.ndarray) or np.shape(before) != np.shape(after):
        return ""
    if not before.ndim:
        return f" ({before:.6g}, then {after:.6g})"
    index = tuple(int(k) for k in np.argwhere(before != after)[0])
    return f" (at {list(index)}: {before[index]:.6g}, then {after[index]:.6g})"


def described(arguments: dict) -> str:
    """x (1, 4, 5, 1), kernel (2, 3, 1), bias 0.5."""

    def one(value):
        if isinstance(value, np.ndarray):
            return str(value.shape)
        return f"of {len(value)}" if isinstance(value, dict) else f"{value}"

    return ", ".join(f"{name} {one(value)}" for name, value in handed_over(arguments).items())


def require_right(exercise: Exercise, task: Task, solution: Any, runs: list[Run]) -> None:
    """Raise Wrong, with the diagnosis, where a result is wrong in some case."""
    for result in task.results:
        wrong = [run.case for run in runs if not is_right(task, run, result)]
        if not wrong:
            continue
        run, case, diagnosis = named_mistake(task, solution, runs, result)
        index = () if case.right.ndim == 0 else diagnosis.index
        place, got = (0,) * case.right.ndim, None
        if index is not None and case.got.shape == case.right.shape and np.isfinite(case.got[index]):
            place, got = index, float(case.got[index])
        lines = sums.lines_of(task, run.arguments, result, place, got)
        facts: dict[str, Any] = {"function": task.function, "case": run.case, "given": described(run.arguments)}
        facts |= {"result": result, "expected": diagnosis.expected, "got": diagnosis.got, "mistake": diagnosis.mistake}
        facts |= {"index": None if index is None else list(index), "lines": lines, "wrong": wrong}
        facts["right"] = [run.case for run in runs if run.case not in wrong]
        raise Wrong("wrong numbers", diagnosis.sentence, **facts)


def require_the_same_again(task: Task, module: Any, path: Path, run: Run, attempt: Attempt) -> None:
    """Raise Wrong where the first case, after all others, is not what it was."""
    again = run_case(task, module, path, run.case, run.arguments, run.right, attempt)
    for result in task.results:
        if not np.array_equal(run.got[result], again[result], equal_nan=True):
            place = first_change(run.got[result], again[result])
            sentence = say("not deterministic", function=task.function, result=result, index=place)
            raise Wrong("not deterministic", sentence, function=task.function, case=run.case, result=result)


def check_slopes(task: Task, module: Any, path: Path, run: Run, attempt: Attempt, report: Report) -> None:
    """The gradient check: the learner's numbers against slopes that are measured. Raises Wrong."""
    if task.slopes is None:
        return
    a, function = SimpleNamespace(**run.arguments), getattr(module, task.function)
    results = guarded(path, task.function, "the gradient check", lambda: task.slopes(a, function), attempt)  # type: ignore[misc]
    if not all(result.passed for result in results):
        raise Wrong("wrong numbers", "; ".join(gradcheck.sentences(results)), function=task.function, case="slopes")
    count = sum(result.checked for result in results)
    worst = max(result.error for result in results)
    report.checks.append(f"{task.function}: {count} slopes measured, all as you say (to {worst:.0e})")


def check_single(task: Task, module: Any, path: Path, run: Run, attempt: Attempt, report: Report) -> None:
    """With float32 nothing may break; float64 coming out of it is worth a remark."""
    arguments = single(run.arguments)
    got = guarded(path, task.function, "float32", lambda: answer(task, module, copy.deepcopy(arguments)), attempt)
    results = got if len(task.results) > 1 else (got,)
    wide = [
        name
        for name, value in zip(task.results, results, strict=True)
        if np.asarray(value).dtype == np.float64 and np.ndim(value)
    ]
    if wide:
        report.remarks.append(
            f"float32 came in, and {', '.join(wide)} went out as float64, twice as large: an array made without "
            "dtype=x.dtype, or an np.float64 among the factors, does that"
        )


def single(value: Any) -> Any:
    """The same with float32 arrays."""
    if isinstance(value, dict):
        return {name: single(one) for name, one in value.items()}
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
