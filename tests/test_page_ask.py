"""Ask first: the page keeps a step's number to itself until it was asked for, in headless Chromium.

That questions and verdicts are the terminal's is shown by test_page_quiz.py. Slow tests, as test_page_live.py says.
"""

import page
import pytest
from page_browser import state, until

from cnn.explain import quiz
from cnn.explain.formulas import steps

pytestmark = pytest.mark.slow

HEARD = """(id) => { const step = document.getElementById('step-' + id);
  step.querySelectorAll('.map details').forEach((one) => { one.open = true; });
  return new Promise((done) => setTimeout(() => done([step.innerText, document.getElementById('now-' + id[0]).innerText,
    document.getElementById('speech').innerText, document.getElementById('verdict').innerText,
    ...[...step.querySelectorAll('[aria-label]')].map((one) => one.ariaLabel)].join('\\n')), 50)); }"""
SHOWN = "(id) => !document.querySelector(`#live-${id} .question`)"
RESULTS = "(id) => document.querySelectorAll(`#live-${id} :is(.total, .winner)`).length"


def minus(text):
    """As the page prints it."""
    return text.replace("-", "−")


def asked(t, seed):
    """{step: question} of the steps that the page has."""
    return {one.step.id: one for step in steps(t) for one in quiz.questions(t, seed, step.id)}


def given(one, digits=4):
    return [number.text(digits) for _, number in one.terms]


def leaks(tab, one):
    """Whether the answer can be read or heard, or pointed at in any cell of the maps beside the question."""
    step, answer = one.step.id, minus(one.answer.text())
    if (
        tab.evaluate(SHOWN, step)
        or tab.evaluate(RESULTS, step)
        or (one.answer.ref and tab.locator(f"[id='{step}-m-{one.answer.ref.partition('[')[0]}']").count())
    ):
        return True
    if one.choices or any(text.lstrip("+-") == answer.lstrip("+−") for text in given(one)):
        return False  # max(0, z) of what is positive: the question itself says the number
    pointed = tab.evaluate(
        """(id) => [...document.querySelectorAll(`#live-${id} canvas`)].map(({ id: map }) => {
          const { H, W } = Show.maps.get(map), said = [];
          for (let n = 0; n < H * W; n++) { App.pointAt(id, map, Math.floor(n / W), n % W);
            said.push(document.getElementById('now-' + id[0]).textContent.split(': ')[1]); }
          return said; }).flat()""",
        step,
    )
    words = tab.evaluate(HEARD, step).replace("|", " ").split()
    table = [
        word
        for row in tab.evaluate(
            "(id) => [...document.querySelectorAll(`#live-${id} .map td`)].map((one) => one.innerText)", step
        )
        for word in row.split()
    ]
    for word in table + pointed:  # a map of other numbers may hold an equal one
        if word in words:
            words.remove(word)
    return answer in words


def test_no_number_is_seen_heard_or_pointed_at_before_it_was_asked_for(visit):
    tab, t = visit("#photo=9&step=F1&quiz=1"), page.traced()
    for step, one in asked(t, 1).items():
        tab.evaluate(f"App.go('{step}')")
        assert tab.inner_text(f"#{step}-ask") == one.ask
        assert not leaks(tab, one), step
        tab.evaluate(f"document.querySelector('[data-show={step}]').click()")
        assert tab.evaluate(SHOWN, step) and minus(one.answer.text()) in tab.inner_text(f"#{step}-outcome"), step
    tab.evaluate("App.go('F2')")
    assert tab.locator("#step-F2 .question").count() == 0, "F2 computes nothing"
    assert tab.inner_text("#score") == f"0 of {len(asked(t, 1))} right"


def adding(t, step):
    """A seed with which a step asks for a sum, and that question."""
    found = ((seed, one) for seed in range(9) for one in quiz.questions(t, seed, step))
    return next((seed, one) for seed, one in found if one.ways == "add")


def test_wrong_once_more_the_missed_term_and_the_score(visit):
    t = page.traced()
    seed, one = adding(t, "F6")
    name, number = max(one.terms, key=lambda term: abs(term[1].value))
    tab = visit(f"#photo=9&step=F6&quiz={seed}")
    tab.focus("#F6-answer")
    tab.keyboard.type("seven")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#F6-told") == "expected a number, got seven"
    assert tab.get_attribute("#F6-answer", "aria-invalid") == "true"
    left_out = one.answer._replace(value=one.answer.value - number.value).text()
    tab.keyboard.type(left_out)  # the answer before is selected
    tab.keyboard.press("Enter")
    assert tab.inner_text("#F6-told") == "Not yet: once more." and tab.inner_text("#score") == "0 of 0 right"
    assert tab.get_attribute("#F6-answer", "aria-invalid") == "false" and not tab.evaluate(SHOWN, "F6")
    until(tab, "document.getElementById('speech').textContent.includes('Not yet: once more.')", 5)
    assert tab.evaluate("document.activeElement.id") == "F6-answer"
    tab.keyboard.press("Enter")
    said = tab.inner_text("#F6-outcome")
    assert said.startswith(f"Not this time: {left_out}.") and f"{name} = {minus(number.text())} is missing" in said
    assert tab.inner_text("#score") == "0 of 1 right" and tab.evaluate(SHOWN, "F6")
    assert tab.evaluate("document.activeElement.id") == "F6-outcome"
    tab.keyboard.press("n")
    assert state(tab, "step") == "F7"
    tab.fill("#F7-answer", "7")
    tab.keyboard.press("Enter")
    tab.fill("#F7-answer", quiz.questions(t, seed, "F7")[0].answer.text().replace(".", ","))
    tab.click("#step-F7 form button >> nth=0")
    assert tab.inner_text("#F7-outcome").startswith("Right.") and tab.inner_text("#score") == "1 of 2 right"
    tab.keyboard.press("p")
    assert tab.inner_text("#F6-outcome") == said, "what was answered stays answered"


def test_the_switch_the_seed_and_the_address(visit):
    tab, t = visit("#photo=9&step=F6"), page.traced()
    assert tab.locator(".question").count() == 0 and tab.is_hidden("#score") and "quiz" not in tab.url
    tab.keyboard.press("q")
    assert tab.url.endswith("&quiz=0") and tab.get_attribute('.asks [data-key="q"]', "aria-pressed") == "true"
    assert tab.inner_text("#F6-ask") == quiz.questions(t, 0, "F6")[0].ask
    other = next(n for n in range(1, 9) if quiz.questions(t, n, "F6")[0].ask != quiz.questions(t, 0, "F6")[0].ask)
    tab.fill("#seed", str(other))
    tab.keyboard.press("Enter")
    assert tab.inner_text("#F6-ask") == quiz.questions(t, other, "F6")[0].ask
    again = visit(tab.url[tab.url.index("#") :])
    assert again.inner_text("#F6-ask") == tab.inner_text("#F6-ask") and again.input_value("#seed") == str(other)
    again.click('.asks [data-key="q"]')
    assert again.locator(".question").count() == 0 and again.is_hidden("#score") and "quiz" not in again.url


def test_on_paper_and_in_the_labs(visit):
    tab = visit("#photo=9&step=B8&quiz=0")
    assert "answer there first" in tab.evaluate("App.go('G'), document.getElementById('live-G').textContent")
    tab.evaluate("App.go('B8')")
    assert not tab.evaluate(SHOWN, "B8")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(SHOWN, "B8") and tab.locator(".question").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not tab.evaluate(SHOWN, "B8") and tab.locator("#step-B8 .question").count() == 1
    tab.evaluate("document.querySelector('[data-show=B8]').click(); App.go('G')")
    assert "answer there first" not in tab.evaluate("document.getElementById('live-G').textContent")
    tab.evaluate("document.getElementById('help').showModal()")
    tab.click("#help form button")
    assert tab.is_hidden("#help"), "the other form of the page still does what it did"


@pytest.mark.parametrize("name", ["odd", "colour"])
def test_all_of_another_network_can_be_answered(visit, folder, name):
    t, text = page.other(name)
    (folder / f"ask-{name}.html").write_text(text, "utf-8")
    tab, questions = visit(f"#photo={t.number}&step=F1&quiz=2", file=f"ask-{name}.html"), asked(t, 2)
    for step, one in questions.items():
        tab.evaluate(f"App.go('{step}')")
        assert tab.inner_text(f"#{step}-ask") == one.ask and not tab.evaluate(SHOWN, step)
        tab.fill(f"#{step}-answer", one.answer.text())
        tab.keyboard.press("Enter")
    assert tab.inner_text("#score") == f"{len(questions)} of {len(questions)} right" and len(questions) >= 8


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark", "viewport": {"width": 320, "height": 800}}])
def test_axe_finds_nothing_in_the_questions(visit, options):
    from axe_playwright_python.sync_playwright import Axe

    tab = visit("#photo=9&step=F3&quiz=0", **options)
    for step in ("F3", "F5", "F10", "B1", "B8", "B12"):
        tab.evaluate(f"App.go('{step}')")
        for done in (False, True):
            if done:
                tab.evaluate(f"document.querySelector('[data-show={step}]').click()")
            tab.wait_for_timeout(50)
            found = Axe().run(tab).response["violations"]
            assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == [], (step, done)
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), (step, done)
