"""The exercises: our solutions are right, right answers pass, and each stored wrong one gets its own diagnosis."""

import doctest
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cnn.exercises import EXERCISES, checker, files, sums
from cnn.exercises.hints import HINTS
from cnn.exercises.record import answer, named
from cnn.explain.trace import trace
from cnn.explain.views import show

STORED = Path(__file__).parent / "exercises"


def stored(name):
    """[(kind, words, text)]: somebody's answers to an exercise, "right" or "wrong"."""
    pieces = re.split(r"^==== (right|wrong): (.*)\n", (STORED / f"{name}.txt").read_text("utf-8"), flags=re.M)[1:]
    return [
        (kind, words, "import numpy as np\n\n" + text) for kind, words, text in zip(*[iter(pieces)] * 3, strict=True)
    ]


ANSWERS = [(name, *one) for name in EXERCISES for one in stored(name)]
IDS = [f"{name}-{kind}-{words[:40]}" for name, kind, words, _ in ANSWERS]


@pytest.fixture
def folder(tmp_path):
    """A folder with all our solutions, of which one is replaced."""
    for name in EXERCISES:
        shutil.copy(files.SOLUTIONS / f"{name}.py", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "kind", "words", "text"), ANSWERS, ids=IDS)
def test_right_answers_pass_and_wrong_ones_get_their_diagnosis(folder, name, kind, words, text):
    path = folder / f"{name}.py"
    path.write_text(text)
    report, _ = checker.check(name, path)
    if kind == "right":
        assert report.passed, report.sentence
        return
    assert not report.passed and words in report.sentence, report.sentence
    assert "Traceback" not in report.sentence


def test_each_exercise_has_five_wrong_answers_and_two_right_ones():
    for name in EXERCISES:
        kinds = [kind for kind, _, _ in stored(name)]
        assert kinds.count("wrong") >= 5 and kinds.count("right") >= 2, name


@pytest.mark.parametrize("name", EXERCISES)
def test_a_diagnosis_does_not_depend_on_the_numbers_drawn(folder, name):
    for kind, words, text in stored(name):
        (folder / f"{name}.py").write_text(text)
        report, _ = checker.check(name, folder / f"{name}.py", seed=7)
        assert report.passed == (kind == "right") and (report.passed or words in report.sentence), report.sentence


@pytest.mark.parametrize("name", EXERCISES)
def test_our_solution_passes_its_examples_and_its_check(folder, name):
    module = files.load(folder / f"{name}.py", EXERCISES)
    assert doctest.testmod(module).failed == 0
    report, _ = checker.check(name, folder / f"{name}.py")
    assert report.passed and not report.remarks, report


@pytest.mark.parametrize("name", EXERCISES)
def test_the_untouched_file_is_refused_and_gives_nothing_away(folder, name):
    text = files.stub(name)
    (folder / f"{name}.py").write_text(text)
    report, _ = checker.check(name, folder / f"{name}.py")
    assert report.state == "untouched" and "not written yet" in report.sentence
    assert text.count(files.UNWRITTEN) == text.count("\ndef ") >= 1 and "return" not in text
    assert len(text) < len(files.solution_text(name)) and all(len(hint) > 30 for hint in HINTS[name])


@pytest.mark.parametrize("name", EXERCISES)
def test_the_step_on_a_real_photo_is_there(name, cnn_model, data_set):
    t = trace(cnn_model, data_set[0][8], None, 5, 9, "")
    assert show(t, EXERCISES[name].step)


@pytest.mark.parametrize("name", EXERCISES)
def test_no_mistake_of_the_table_is_no_mistake(name):
    """Each of them must change the numbers in some case, and say which it is."""
    solution = files.load(files.SOLUTIONS / f"{name}.py", EXERCISES)
    for task in EXERCISES[name].tasks:
        cases = list(task.cases(np.random.default_rng(3)).values())
        for words, change in task.mistakes.items():
            assert any(changes(task, solution, change, case) for case in cases), words


TERMS = np.array([2.1, -3.3, 5.7, 7.9, 0.4])  # 12.8 in all


@pytest.mark.parametrize(
    ("values", "got", "words"),
    [
        (TERMS, 12.8 - 5.7, "yours is the sum without c"),
        (TERMS, 12.8 + 7.9, "yours is the sum with d counted twice"),
        (TERMS, 12.8 + 6.6, "yours is the sum with the sign of b turned"),
        (TERMS, 7.9, "yours is d alone"),
        (TERMS, 4.5, "yours is the sum of the first 3 terms alone"),
        (TERMS[:2], -3.3, "yours is the sum without a"),
        (np.array([1.0, 1.0, 4.0]), 5.0, ""),  # either of two
        (TERMS, 8.25, ""),
        (TERMS, 12.8, ""),
    ],
)
def test_the_term_that_is_missing_is_named_where_it_is_the_only_one(values, got, words):
    assert sums.difference(values, list("abcde"), got) == words


def changes(task, solution, change, arguments):
    """Whether a mistake gives other numbers than the right ones."""
    from types import SimpleNamespace

    try:
        with np.errstate(all="ignore"):
            made = change(SimpleNamespace(**arguments))
            made = answer(task, solution, {**arguments, **made}) if isinstance(made, dict) else made
    except (ValueError, IndexError):
        return False
    if made is None:
        return False
    right = named(task, answer(task, solution, arguments))
    pairs = [(right[key], value) for key, value in named(task, made).items()]
    return any(np.shape(a) != np.shape(b) or not np.allclose(a, b, 1e-9, 1e-12) for a, b in pairs)
