"""The page's questions are the terminal's, for the same seed and path, and it judges answers as the terminal does.

Slow tests: they need Node, as test_page_engine.py says.
"""

import json

import numpy as np
import page
import pytest
from test_page_engine import node

from cnn.explain import chain, path, quiz
from cnn.explain.formulas import tour
from cnn.explain.parts import Cursor

pytestmark = pytest.mark.slow

SEEDS, DIGITS = (0, 1, 7), (4, 3, 6)
PAGES = {"article": lambda: (page.traced(), page.text())}
PAGES |= {name: lambda name=name: page.other(name) for name in page.OTHERS}


def paths(t):
    """The path of the tour, and two others."""
    rng, way = np.random.default_rng(5), chain.start(t)
    for _ in SEEDS:
        yield way.cells
        at = int(rng.integers(len(way.cells)))
        way = path.moved(t, way, at, tuple(int(rng.integers(size)) for size in t[path.names(t)[at]].shape))


def asked(t, seed, cells):
    """Python's questions of the steps that the page has."""
    ids = [step.id for step in tour(t)]
    return [one for one in quiz.questions(t, seed, cursor=Cursor(cells=cells)) if one.step.id in ids]


def answers(one, digits):
    """Right ones, each term left out and turned, the sign turned, others, and what is no answer."""
    form = lambda value: one.answer._replace(value=value).text(digits)
    exact = one.answer.value
    yield from [way.text(digits) for way in quiz.right(one, digits)]
    yield f" {form(exact).replace('-', '−').replace('.', ',')} "
    yield from [form(exact - times * term.value) for _, term in one.terms for times in (1, 2)]
    yield from (form(-exact), form(exact * 1.02 + 0.02), "123", "0", "1", "2", "1.5", "seven", "0x1", "")


def judged(one, said, digits):
    """[what is wrong with it before it is judged, whether it is right, what was missed]; None where it is not."""
    plain = said.strip().replace("−", "-").replace(",", ".")
    try:
        right = quiz.judge(one, plain, digits)
    except (ValueError, OverflowError) as error:
        whole = one.choices and "expected" in str(error)
        return [str(error) if whole else f"expected a number, got {said.strip() or 'nothing'}", None, None]
    return ["", right, quiz.missed(one, plain, digits)]


def compare(one, found, digits):
    """A question of the page against Python's."""
    assert (found["id"], found["ask"], found["ways"], found["choices"]) == (
        *(one.step.id, one.ask, one.ways, one.choices),
    )
    assert found["precision"] == quiz.precision(one, digits)
    assert [name for name, *_ in found["terms"]] == [name for name, _ in one.terms]
    expected = [number for _, number in one.terms]
    scale = 1e-9 * max(1.0, *(abs(number.value) for number in expected))
    np.testing.assert_allclose([v for _, v, _ in found["terms"]], [n.value for n in expected], rtol=0, atol=scale)
    assert found["answer"]["value"] == pytest.approx(one.answer.value, abs=scale)
    assert [text for *_, text in found["terms"]] == [number.text(digits) for number in expected]
    assert (found["text"], found["right"]) == (
        one.answer.text(digits),
        [n.text(digits) for n in quiz.right(one, digits)],
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_page_asks_and_judges_as_the_terminal(tmp_path, name):
    t, text = PAGES[name]()
    cases, expected = [], []
    for seed, digits, cells in zip(SEEDS, DIGITS, paths(t), strict=True):
        questions = asked(t, seed, cells)
        given = {one.step.id: list(answers(one, digits)) for one in questions}
        cases.append({"photo": t.number or 0, "path": cells, "seed": seed, "digits": digits, "answers": given})
        expected.append((questions, given, digits))
    node(tmp_path, {"what": "quiz", "parts": page.Parts(text).scripts, "cases": cases})
    kinds = {True: 0, False: 0, None: 0}
    for (questions, given, digits), found in zip(
        expected, json.loads((tmp_path / "out.json").read_text()), strict=True
    ):
        assert [one["id"] for one in found] == [one.step.id for one in questions] and len(found) >= 8
        for one, got in zip(questions, found, strict=True):
            compare(one, got, digits)
            for said, (unfit, right, missed) in zip(given[one.step.id], got["judged"], strict=True):
                wanted = judged(one, said, digits)
                assert [unfit, *([right, missed] if not unfit else [None, None])] == wanted, (one, said)
                kinds[wanted[1]] += 1
    assert min(kinds.values()) > 20, kinds
