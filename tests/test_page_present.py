"""For an audience: one step fills the window, by one key, in headless Chromium. Slow, as test_page_live.py says."""

import page
import pytest
from page_browser import state

from cnn.explain import quiz
from cnn.explain.formulas import tour

pytestmark = pytest.mark.slow

SIZES = [(1366, 768), (1920, 1080)]
SCREEN = """() => {
  const seen = (e) => e.checkVisibility() && e.getClientRects().length;
  const out = [...document.querySelectorAll('.bar *, .on-stage, .on-stage *')].filter(seen).filter((e) => {
    const { left, right, top, bottom } = e.getBoundingClientRect();
    return left < -1 || top < -1 || right > innerWidth + 1 || bottom > innerHeight + 1;
  });
  const root = document.documentElement, letters = parseFloat(getComputedStyle(root).fontSize) / innerHeight;
  const wide = [...document.querySelectorAll('.on-stage .scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1);
  return { step: App.A.S.step, asks: Boolean(document.querySelector('.on-stage .question')), letters,
    out: [...out, ...wide].map((e) => e.outerHTML.slice(0, 90)),
    progress: document.getElementById('progress').textContent,
    steps: [...document.querySelectorAll('article, section > .lab, .hero nav, footer')].filter(seen).length,
    scrolls: scrollY || scrollX || root.scrollHeight > innerHeight || root.scrollWidth > innerWidth };
}"""


def expected(t):
    """[(step, whether it asks)] of every screen: first the question, where there is one."""
    asked = {one.step.id for one in quiz.questions(t)}
    return [(step.id, asks) for step in tour(t) for asks in ((True, False) if step.id in asked else (False,))]


def check(screen, count):
    """One step, all of it in sight, in letters that the last row can read."""
    assert not screen["out"] and not screen["scrolls"], screen
    assert screen["letters"] > 0.019, screen
    assert screen["progress"].endswith(f" of {count}") and screen["steps"] == 2, "an article in its lab, nothing else"


def opened(visit, folder, name, address, size):
    """The page of one network, its trace, the number of its steps."""
    t, text = (page.traced(), page.text()) if name == "article" else page.other(name)
    (folder / f"present-{name}.html").write_text(text, "utf-8")
    viewport = {"width": size[0], "height": size[1]}
    return visit(f"#photo={t.number}&{address}", file=f"present-{name}.html", viewport=viewport), t, len(tour(t))


@pytest.mark.parametrize("size", SIZES)
def test_one_key_leads_through_all_steps_and_back(visit, folder, size):
    tab, t, count = opened(visit, folder, "article", "step=F1&present=1", size)
    for n, (step, asks) in enumerate(screens := expected(t)):
        screen = tab.evaluate(SCREEN)
        assert (screen["step"], screen["asks"]) == (step, asks)
        check(screen, count)
        if n + 1 < len(screens):
            tab.keyboard.press(("PageDown", " ", "ArrowRight")[n % 3])
    tab.keyboard.press("PageDown")
    assert state(tab, "step") == screens[-1][0]
    for step in reversed([step.id for step in tour(t)][:-1]):
        tab.keyboard.press("PageUp")
        screen = tab.evaluate(SCREEN)
        assert (screen["step"], screen["asks"]) == (step, False), "what was seen is not asked again"
        check(screen, count)


@pytest.mark.parametrize("name", ["deep", "odd", "dense"])
def test_other_networks_fit_as_well(visit, folder, name):
    tab, t, _ = opened(visit, folder, name, "step=F1&present=1", SIZES[0])
    for step, asks in expected(t):
        screen = tab.evaluate(SCREEN)
        assert (screen["step"], screen["asks"]) == (step, asks)
        assert not screen["out"] and not screen["scrolls"], screen
        tab.keyboard.press(" ")


def test_it_begins_and_ends_at_the_step_where_one_is(visit):
    tab = visit("#photo=9&step=B8", viewport={"width": 1366, "height": 768})
    before = tab.evaluate("document.getElementById('live-B8').textContent")
    tab.keyboard.press("P")
    assert tab.url.endswith("present=1") and tab.inner_text("#progress").startswith("step 22 of")
    assert tab.inner_text("#B8-ask") == quiz.questions(page.traced(), 0, "B8")[0].ask
    assert tab.locator("#step-B8 form").count() == 0, "nobody types before an audience"
    tab.click("[data-present=next]")
    assert tab.locator(".question").count() == 0 and state(tab, "step") == "B8"
    tab.keyboard.press("t")
    assert not tab.evaluate("App.A.edited"), "no other key does anything"
    tab.keyboard.press("Enter")
    assert state(tab, "step") == "B9" and tab.locator("#step-B9 .question").count() == 1
    tab.keyboard.press("PageUp")
    tab.keyboard.press("Escape")
    tab.wait_for_timeout(700)
    box = tab.locator("#backward div.lab").bounding_box()
    assert "present" not in tab.url and state(tab, "step") == "B8" and 0 <= box["y"] < 200, box
    assert tab.evaluate("document.getElementById('live-B8').textContent") == before
    assert tab.evaluate("document.documentElement.style.fontSize") == "" and tab.locator(".hero").is_visible()
    tab.go_back()
    assert tab.evaluate("document.documentElement.matches('.presenting')")


def test_a_link_opens_it_and_paper_and_labs_know_nothing_of_it(visit):
    tab = visit("#photo=9&step=F6&present=1&quiz=2", viewport={"width": 1366, "height": 768})
    assert tab.inner_text("#F6-ask") == quiz.questions(page.traced(), 2, "F6")[0].ask
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not tab.evaluate("document.documentElement.matches('.presenting')") and tab.locator(".question").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.inner_text("#F6-ask") and tab.evaluate("document.documentElement.matches('.presenting')")
    assert state(visit("#photo=9&step=L&present=1"), "step") == "F1"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_before_an_audience(visit, scheme):
    from axe_playwright_python.sync_playwright import Axe

    tab = visit("#photo=9&step=F3&present=1", color_scheme=scheme, viewport={"width": 1366, "height": 768})
    for step in ("F3", "F6", "F10", "F12", "B1", "B9"):
        for revealed in (0, 1):
            tab.evaluate(f"App.go('{step}', {{revealed: {revealed}}})")
            tab.wait_for_timeout(50)
            found = Axe().run(tab).response["violations"]
            assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == [], (step, revealed)


@pytest.mark.parametrize("size", SIZES)
def test_products_of_five_by_five_stand_beside_their_sum(visit, folder, size):
    tab, *_ = opened(visit, folder, "deep", "step=F3", size)
    box = (
        "(e) => { const { left, right, top, bottom } = e.getBoundingClientRect(); return [left, right, top, bottom]; }"
    )
    products, total = (tab.eval_on_selector(f"#live-F3 .stage {one}", box) for one in (".equation", ".sum"))
    assert products[1] <= total[0] and max(products[2], total[2]) < min(products[3], total[3]), (products, total)
    assert total[1] <= size[0] and total[3] <= size[1], "with the picture, on one screen"
    assert tab.evaluate(
        "[...document.querySelectorAll('#live-F3 .equation .scroll')].every((e) => e.scrollWidth <= e.clientWidth + 1)"
    )
