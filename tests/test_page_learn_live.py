"""Training from nothing in Chromium, from the disk: it starts, pauses, steps, is stopped, and never blocks the page.

Slow tests: they need Chromium and the extra `page`, and fail without it.
"""

import page
import pytest
from page_browser import until
from test_page_learn import with_photos

from cnn.explain.page import build

pytestmark = pytest.mark.slow

NEAR = "worker-src 'none'"  # a page whose policy allows no worker learns in the page itself
LONG = """() => {
  window.longs = [];
  const keep = (list) => longs.push(...list.getEntries().map((e) => e.duration));
  new PerformanceObserver(keep).observe({type: "longtask"});
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page of photo 9 with 300 training photos: as it is, without a worker, damaged; and of a dense net."""
    folder, text = tmp_path_factory.mktemp("learn"), with_photos()
    (folder / "page.html").write_text(text, "utf-8")
    (folder / "near.html").write_text(text.replace("worker-src blob:", NEAR), "utf-8")
    (folder / "damaged.html").write_text(page.damaged(text, "learn-photos", 60_000), "utf-8")
    dense = build.Example(9, *page.test_set(), learn=tuple(array[:300] for array in page.training_set()))
    (folder / "dense.html").write_text(build.page(page.networks()[1], None, dense), "utf-8")
    return folder


def opened(visit, file="page.html", **options):
    """The page with the section in sight and its weights drawn."""
    tab = visit(file=file, **options)
    tab.evaluate(
        "window.near = false, ((school) => { Learner.School = class extends school {"
        "constructor(...more) { super(...more); window.near = true; } }; })(Learner.School)"
    )
    tab.evaluate("document.getElementById('learn').scrollIntoView({behavior: 'instant'})")
    until(tab, "document.getElementById('learn-news').textContent.startsWith('After 0 photos')")
    return tab


def batches(tab):
    """So many batches it says that it has learned."""
    said = tab.inner_text("#learn-state").split(" batch")[0].replace(",", "")
    return int(said) if said.isdigit() else 0


def waits_for(tab, count):
    until(tab, f"parseInt(document.getElementById('learn-state').textContent.replace(',', '')) >= {count}", 120)


def picture(tab, which):
    return tab.evaluate(f"document.getElementById('learn-{which}').toDataURL()")


def test_start_makes_progress_in_a_worker_and_pause_pauses(visit):
    tab = opened(visit)
    assert tab.evaluate("near") is False and batches(tab) == 0 and picture(tab, "now") == picture(tab, "start")
    tab.click("#learn-run")
    waits_for(tab, 40)
    assert tab.inner_text("#learn-run") == "Pause" and tab.is_disabled("#learn-once")
    until(tab, "!document.getElementById('learn-news').textContent.startsWith('After 0 photos')", 120)
    assert picture(tab, "now") != picture(tab, "start")
    tab.click("#learn-run")
    until(
        tab,
        "document.querySelectorAll('#learn-right circle').length >= 2 && "
        "document.getElementById('learn-run').textContent === 'Start'",
        60,
    )
    tab.wait_for_timeout(1500)
    before = batches(tab)
    tab.wait_for_timeout(1500)
    assert batches(tab) == before >= 40
    first, last = tab.get_attribute("#learn-loss svg", "aria-label").split("from ")[1].split(" to ")
    assert float(first) == pytest.approx(2.3, abs=0.3) and float(last) < 2.2


def test_one_step_is_one_batch_and_reset_is_the_same_start_again(visit):
    tab = opened(visit)
    start = picture(tab, "start")
    for n in (1, 2, 3):
        tab.click("#learn-once")
        until(tab, f"document.getElementById('learn-state').textContent.startsWith('{n} batch')")
    assert "24 photos" in tab.inner_text("#learn-state")
    loss = tab.get_attribute("#learn-loss svg", "aria-label")
    tab.click("#learn-reset")
    until(tab, "document.getElementById('learn-state').textContent.includes('random')")
    until(
        tab, "document.getElementById('learn-now').toDataURL() === document.getElementById('learn-start').toDataURL()"
    )
    assert picture(tab, "start") == start
    for n in (1, 2, 3):
        tab.click("#learn-once")
        until(tab, f"document.getElementById('learn-state').textContent.startsWith('{n} batch')")
    assert tab.get_attribute("#learn-loss svg", "aria-label") == loss
    tab.fill("#learn-seed", "2")
    tab.keyboard.press("Enter")
    until(tab, "document.getElementById('learn-state').textContent.includes('random')")
    until(
        tab, "document.getElementById('learn-now').toDataURL() === document.getElementById('learn-start').toDataURL()"
    )
    assert picture(tab, "start") != start


def test_a_rate_too_high_stops_and_says_why(visit):
    tab = opened(visit)
    tab.select_option("#learn-rate", "10")
    tab.click("#learn-run")
    until(tab, "document.getElementById('learn-news').className === 'stopped'")
    said = tab.inner_text("#learn-news")
    assert "with learning rate 10. The loss went from 2.3" in said and "they overshot" in said and "NaN" not in said
    assert tab.is_disabled("#learn-run") and tab.is_disabled("#learn-take") and tab.is_enabled("#learn-reset")
    tab.select_option("#learn-rate", "0.1")
    tab.click("#learn-reset")
    until(tab, "!document.getElementById('learn-run').disabled")
    tab.click("#learn-run")
    waits_for(tab, 5)


def test_the_whole_page_takes_the_weights_over_and_gives_them_back(visit):
    tab = opened(visit)
    before = tab.evaluate("App.A.T.p[5]")
    tab.click("#learn-once")
    until(tab, "!document.getElementById('learn-take').disabled")
    tab.click("#learn-take")
    until(tab, "document.getElementById('verdict').textContent.includes('weights changed')")
    shown = tab.inner_text("#learn-photo")
    p = tab.evaluate("App.A.T.p[5]")
    assert f"{100 * p:.1f} %" in shown.split("Sandal")[1].split("\n")[0] and p < 0.3 < before
    tab.evaluate("App.KEYS.u()")
    assert tab.evaluate("App.A.T.p[5]") == before


def test_it_follows_the_photo_and_the_path_of_the_page(visit):
    tab = opened(visit)
    assert "photo 9" in tab.inner_text("#learn-photo")
    tab.evaluate("App.set({photo: 12, target: null})")
    until(tab, "document.getElementById('learn-photo').textContent.includes('photo 12')")
    tab.evaluate("App.set({step: 'F3', path: [1, [4, 5, 6]]})")
    until(tab, "document.getElementById('learn-path').textContent.includes('a1[4,5,6]')")


def test_without_a_worker_it_learns_in_the_page(browser, folder):
    tab = browser.new_page()
    tab.goto(f"file://{folder / 'near.html'}")
    until(tab, "document.documentElement.matches('.ready')")
    opened(lambda **_: tab)
    assert tab.evaluate("near") is True
    tab.click("#learn-run")
    waits_for(tab, 10)
    tab.close()


@pytest.mark.parametrize("file", ["page.html", "near.html"])
def test_learning_never_blocks_the_page(browser, folder, file):
    """No task over 50 ms in two seconds; other programs may take the processor away, so one such time of ten is enough:
    what blocks the page does so in each batch.
    """
    tab = browser.new_page()
    tab.goto(f"file://{folder / file}")
    until(tab, "document.documentElement.matches('.ready')")
    opened(lambda **_: tab)
    tab.click("#learn-run")
    waits_for(tab, 3)
    tab.evaluate(LONG)
    for _ in range(10):
        tab.evaluate("longs.length = 0")
        before = batches(tab)
        tab.wait_for_timeout(2000)
        found, learned = tab.evaluate("longs"), batches(tab) - before
        if not found and learned:
            break
    tab.close()
    assert not found and learned, found


def test_damaged_photos_are_not_learned_from(visit):
    tab = visit(file="damaged.html")
    tab.evaluate("document.getElementById('learn').scrollIntoView({behavior: 'instant'})")
    until(tab, "document.getElementById('learn-news').className === 'stopped'")
    assert "It cannot go on" in tab.inner_text("#learn-news") and tab.is_disabled("#learn-run")


def test_a_network_without_convolution_shows_the_weights_of_its_units(visit):
    tab = opened(visit, "dense.html")
    assert tab.inner_text("#learn-kernels figcaption").startswith("dense: 32 units;")
    assert tab.evaluate(
        "[document.getElementById('learn-now').width, document.getElementById('learn-now').height]"
    ) == [8 * 29, 4 * 29]
    tab.click("#learn-run")
    waits_for(tab, 20)


def test_nothing_is_unpacked_before_the_section_is_in_sight(visit):
    tab = visit()
    assert "when this comes into sight" in tab.evaluate("document.getElementById('learn-state').textContent")
    assert tab.evaluate("document.getElementById('learn-run').disabled")


@pytest.mark.parametrize("width", [320, 390, 1366])
def test_it_is_as_wide_as_the_window(visit, width):
    tab = opened(visit, viewport={"width": width, "height": 768})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
