"""The page and strangers: names with markup in them stay text, a script that was changed does not run."""

from urllib.parse import quote

import numpy as np
import page
import pytest
from page_browser import until
from PIL import Image

from cnn.explain.page import build

pytestmark = pytest.mark.slow


def test_a_hostile_name_runs_nothing_at_any_step(visit, folder):
    """Markup in every name that comes from outside: no dialog, no request, no element; the text is seen as it is."""
    hostile = "<img src=x onerror=alert(1)><b>'\"&</b>"
    model = page.networks()[0].astype(np.float32)
    model.class_names, model.made_by = [f"{k}{hostile}" for k in range(10)], hostile
    model.input_scale = page.networks()[0].input_scale
    example = build.Example(9, *page.test_set(), page.small_comparison())
    (folder / "hostile.html").write_text(build.page(model, page.networks()[1], example), "utf-8")
    (folder / "alone.html").write_text(page.alone(), "utf-8")
    tab, plain, dialogs = visit(file="hostile.html"), visit(file="alone.html"), []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for step in tab.evaluate("State.ALL"):
        for one in (tab, plain):
            one.evaluate(f"App.go('{step}')")
            one.evaluate(
                "App.KEYS.t(); [...document.querySelectorAll('.map details')].forEach((d) => { d.open = true; })"
            )
            one.wait_for_timeout(30)
            one.evaluate("App.KEYS.u()")
            one.wait_for_timeout(100)  # opened tables fill themselves
        places = (f"#step-{step}", "#sheet", "#verdict", "#target-note", "#now-F", "#now-B", "header", "footer")
        counts = f"{list(places)}.map((place) => document.querySelectorAll(place + ' *').length)"
        assert tab.evaluate("document.querySelectorAll('img').length") == 0, step
        assert tab.evaluate(counts) == plain.evaluate(counts), step
        assert "onerror" not in tab.evaluate(
            "[...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())"
        )
    assert hostile in tab.inner_text("#live-F12") and hostile in tab.inner_text("#verdict") and dialogs == []


HOSTILE = {
    "the end of a script": "</script><script>window.ran = 1</script>",
    "the end of a style": "</style></title><svg onload='window.ran = 1'>",
    "the end of an attribute": '" autofocus onfocus="window.ran = 1" x=\'',
    "a comment": "<!--<script>window.ran = 1//",
    "a template": "{{scripts}}${window.ran = 1}`",
    "line separators": "a\u2028window.ran = 1\u2029//",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_of_every_place_stay_text(visit, folder, tmp_path, name):
    """Of classes, model and its command, of a loaded file, and in the address."""
    model = page.networks()[0].astype(np.float32)
    model.class_names, model.made_by, model.name = [f"{k} {name}" for k in range(10)], name, name
    model.input_scale = page.networks()[0].input_scale
    text = build.page(model, page.networks()[1], build.Example(9, *page.test_set(), page.small_comparison()))
    (folder / "named.html").write_text(text, "utf-8")
    (folder / "alone.html").write_text(page.alone(), "utf-8")
    tab = visit(f"#photo={quote(name)}&step={quote(name)}&f1={quote(name)}&draw={quote(name)}", file="named.html")
    assert tab.evaluate("document.documentElement.matches('.ready')"), tab.inner_text("#report")
    for step in ("F11", "F12", "B1", "B3", "S"):
        tab.evaluate(f"App.go('{step}')")
    file = tmp_path / f"{name.replace('/', '∕')}.png"
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(file)
    tab.set_input_files("#load", str(file))
    tab.wait_for_timeout(200)
    assert tab.evaluate("typeof window.ran") == "undefined"
    assert tab.evaluate("document.scripts.length") == visit(file="alone.html").evaluate("document.scripts.length")
    assert tab.locator("[onload], [onfocus], [onerror], svg[onload]").count() == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("(v > 0 ? v : 0)", "(v > 1e-3 ? v : 0)"), ('id="words">{', 'id="words">')],
    ids=["script", "words"],
)
def test_a_script_that_was_changed_does_not_run(browser, folder, old, new):
    """The policy knows the scripts by their hashes; a foreign one is not run, and the page says that it is damaged."""
    text = page.text().replace(old, new)
    (folder / "foreign.html").write_text(text.replace("</main>", "<script>window.ran = 1</script></main>"), "utf-8")
    tab = browser.new_page()
    tab.goto(f"file://{folder / 'foreign.html'}")
    until(tab, "document.documentElement.matches('.ready, .failed')", 60)
    assert tab.evaluate("typeof window.ran") == "undefined" and "SELF-CHECK FAILED" in tab.inner_text("#alarm")
    assert tab.locator("td[data-ref], canvas[id^=net-]").count() == 0
    tab.close()
