"""The page alive, in headless Chromium and from the disk, with every request counted: there may be none.

Slow tests: they need Chromium and the extra `page`; CI has both. Where something is missing they fail: a check that
skips itself checks nothing.
"""

import re

import numpy as np
import page
import pytest
from page_browser import focus_lab, state, until
from photographs import photograph
from PIL import Image

from cnn.explain import formulas, trace, voice
from cnn.explain.page import build
from cnn.photos import changes, own

pytestmark = pytest.mark.slow


def test_it_opens_from_the_disk_and_proves_itself(visit):
    tab = visit()
    report = tab.inner_text("#report")
    assert report.startswith("self-check ok: early: 20 photos, ")
    assert page.data()["blocks"]["weights-early"]["sha256"][:16] in report
    assert int(report.split(" photos, ")[1].split(" comparisons")[0].replace(",", "")) > 70_000
    assert float(report.split("difference ")[1].split(",")[0]) < 1e-9
    assert tab.inner_text("#verdict").startswith("photo 9 = test[8]: early network says Sandal 0.79")
    assert tab.inner_text("#verdict").endswith("label Sandal: correct")
    assert tab.is_hidden("#alarm")


def test_photo_12_can_be_typed(visit):
    tab = visit()
    focus_lab(tab)
    tab.keyboard.press("i")
    tab.keyboard.type("12")
    tab.keyboard.press("Enter")
    t = page.traced(12)
    assert f"photo 12 = test[11]: early network says {t.class_names[t.predicted]}" in tab.inner_text("#verdict")
    assert tab.evaluate("App.A.loss") == pytest.approx(t.loss, rel=1e-9)
    tab.fill("#number", "21")
    tab.keyboard.press("Enter")
    assert "expected a photo, 1 to 20, got 21" in tab.inner_text("#number-error") and state(tab, "photo") == 12


def test_a_target_that_was_asked_for_is_kept_and_its_tiny_gradients_still_agree(visit, folder):
    chosen = build.page(*page.networks(), build.Example(9, *page.test_set()), target=5)
    (folder / "target.html").write_text(chosen, "utf-8")
    tab = visit(file="target.html")
    assert tab.evaluate("App.A.target") == 5 and tab.inner_text("#report").startswith("self-check ok")
    assert tab.evaluate("App.A.loss") == pytest.approx(-np.log(page.traced()["p"][5]), rel=1e-6, abs=1e-15)
    focus_lab(tab, "B8")
    tab.keyboard.press("G")
    until(tab, "document.getElementById('sample')?.textContent.includes('282 of 282 done')", 120)
    assert "DIFFERS" not in tab.inner_text("#sample")


KEYS = {  # key: (before, what to read, what it must be afterwards)
    "n": ("F3", "S.step", "F4"),
    "p": ("F3", "S.step", "F2"),
    "PageDown": ("F3", "S.step", "F5"),
    "PageUp": ("F6", "S.step", "F5"),
    "b": ("F6", "S.step", "B8"),
    "f": ("B8", "S.step", "F6"),
    "x": ("F3", "S.step", "M"),
    "l": ("F3", "S.step", "L"),
    "s": ("F3", "S.step", "S"),
    "g": ("B8", "S.step", "G"),
    "m": ("F3", "S.mirror", 1),
    ">": ("F3", "S.dx", 1),
    "<": ("F3", "S.dx", -1),
    "y": ("F3", "S.step", "F3"),
}


@pytest.mark.parametrize("key", KEYS)
def test_each_key_that_goes_somewhere(visit, key):
    before, what, after = KEYS[key]
    tab = visit()
    focus_lab(tab, before)
    tab.keyboard.press(key)
    assert tab.evaluate(f"App.A.{what}") == after
    if key == "y":
        until(tab, "document.getElementById('now-F').textContent.includes('copied')")


def test_each_key_that_moves_the_cursor(visit):
    tab = visit("#photo=9&step=F6&at=5,6,10&c=20")
    focus_lab(tab, "F6")
    cursor = lambda: tab.evaluate("[...App.A.S.path[3], App.A.S.path[2][2]]")
    expected = [5, 6, 10, 20]
    for key, place, by in (
        ("ArrowDown", 0, 1),
        ("ArrowUp", 0, -1),
        ("ArrowRight", 1, 1),
        ("ArrowLeft", 1, -1),
        ("Shift+ArrowDown", 0, 5),
        ("Shift+ArrowRight", 1, 5),
        ("]", 2, 1),
        ("[", 2, -1),
        ("}", 3, 1),
        ("{", 3, -1),
    ):
        tab.keyboard.press(key)
        expected[place] += by
        assert cursor() == expected, key
    tab.keyboard.press("j")
    assert cursor()[:3] == list(np.unravel_index(page.traced()["a2"].argmax(), (14, 14, 64))) and cursor() != expected


def test_small_steps_play_digits_code_and_help(visit):
    tab = visit()
    focus_lab(tab)
    now = lambda: tab.inner_text("#now-F")
    tab.keyboard.press("Space")
    assert now().startswith("product 1 of 9: ")
    tab.keyboard.press("Space")
    assert now().startswith("product 2 of 9: ") and tab.locator("#live-F3 td.lit").count() == 4
    tab.keyboard.press("Backspace")
    assert now().startswith("product 1 of 9: ")
    for key in "+++++++":
        tab.keyboard.press(key)
    assert state(tab, "pace") == pytest.approx(0.1)
    tab.keyboard.press("-")
    assert state(tab, "pace") == pytest.approx(0.15)
    tab.keyboard.press("a")
    until(tab, "document.getElementById('now-F').textContent.startsWith('ReLU')", 20)
    tab.keyboard.press("d")
    assert (
        tab.evaluate("Show.settings.digits") == voice.DIGITS + 1
        and len(tab.locator("#live-F3 .grid tbody td").first.inner_text().split(".")[1]) == voice.DIGITS + 1
    )
    tab.keyboard.press("c")
    until(tab, "document.querySelector('#step-F3 details.code').innerText.includes('def forward')")
    tab.keyboard.press("?")
    assert tab.is_visible("#help")
    tab.keyboard.press("Escape")
    assert tab.is_hidden("#help")


def test_training_keys_and_undo(visit):
    tab = visit()
    focus_lab(tab, "B12")
    before = tab.evaluate("App.A.loss")
    tab.keyboard.press("t")
    until(tab, "App.A.losses.length === 2")
    assert tab.evaluate("App.A.loss") < before
    assert "weights changed" in tab.inner_text("#verdict")
    tab.keyboard.press("T")
    until(tab, "App.A.losses.length === 102", 60)
    assert tab.evaluate("App.A.losses.at(-1)") < 0.01
    tab.keyboard.press("u")
    assert tab.evaluate("App.A.loss") == before and "changed" not in tab.inner_text("#verdict")


def test_the_sample_of_the_gradient_check(visit):
    tab = visit()
    focus_lab(tab, "B8")
    tab.keyboard.press("G")
    until(tab, "document.getElementById('sample')?.textContent.includes('282 of 282 done')", 120)
    rows = tab.locator("#sample tbody tr").all_inner_texts()
    assert len(rows) == 8 and not any("DIFFERS" in row for row in rows), rows
    assert sum("agrees" in row for row in rows) >= 5, rows


def test_keys_act_at_once_but_not_where_one_types_and_can_be_turned_off(visit):
    tab = visit()
    tab.evaluate("document.activeElement.blur()")
    top = tab.evaluate("scrollY")
    tab.keyboard.press("Space")  # scrolls, as on any page
    until(tab, f"scrollY > {top}")
    assert state(tab, "step") == "F3"
    tab.keyboard.press("n")
    assert state(tab, "step") == "F4"
    tab.keyboard.press("p")
    tab.locator("#number").focus()
    tab.keyboard.press("n")
    assert state(tab, "step") == "F3"
    focus_lab(tab)
    tab.keyboard.press("?")
    tab.locator("#keys").uncheck()
    tab.keyboard.press("Escape")
    focus_lab(tab)
    tab.keyboard.press("n")
    assert state(tab, "step") == "F3"


def test_every_key_of_the_help_is_one_that_the_page_knows(visit):
    tab = visit()
    known = set(tab.evaluate("Object.keys(App.KEYS)"))
    shown = tab.locator("#help dt kbd").all_text_contents()
    names = {"Space": " ", "←": "ArrowLeft", "↑": "ArrowUp", "→": "ArrowRight", "↓": "ArrowDown"}
    assert {names.get(key, key) for key in shown} == known
    assert [f"{one.help}" for one in voice.keys_of("page")] == tab.locator("#help dd").all_text_contents()


def test_a_weight_is_edited_and_its_effects_seen_and_undone(visit):
    tab = visit("#photo=9&step=F3&at=13,8,21&c=0&tap=4")
    z = float(page.traced()["z1"][13, 8, 21])
    x = float(page.traced()["x"][13, 8, 0])
    w = float(page.traced()["W1"][1, 1, 0, 21])
    assert tab.evaluate("App.A.T.z1[(13 * 28 + 8) * 32 + 21]") == pytest.approx(z, rel=1e-12)
    box = tab.locator('#live-F3 [data-edit="W1"]')
    box.fill("1.5")
    box.press("Enter")
    assert tab.evaluate("App.A.T.z1[(13 * 28 + 8) * 32 + 21]") == pytest.approx(z + (1.5 - w) * x, rel=1e-9)
    assert tab.evaluate("App.A.T.p[5]") != float(page.traced()["p"][5]) and "weights changed" in tab.inner_text(
        "#verdict"
    )
    focus_lab(tab)
    tab.keyboard.press("u")
    assert tab.evaluate("App.A.T.z1[(13 * 28 + 8) * 32 + 21]") == pytest.approx(z, rel=1e-12)


@pytest.mark.parametrize(
    "address",
    [
        "#photo=9&moment=early&step=B8&w=0,2,5,27",
        "#photo=12&moment=early&step=F6&at=3,4,9&c=2&tap=8",
        "#photo=1&moment=early&step=F3&at=27,0,31&c=0&tap=1&dx=-3&dy=2&mirror=1",
        "#photo=20&moment=early&step=L&k=7&s=1&pad=valid&filter=sobel-x&toy=0&cell=3,9",
        "#photo=3&moment=early&step=F10&at=17&from=1450",
        "#photo=5&moment=early&step=G&w=1,1,3,2&layer=2&target=7",
        "#photo=7&moment=early&step=S&parts=halves",
        "#photo=2&moment=early&step=B12&cells=8.10.0,9.9.3,4.4.3,4.5.7,2.2.7,1031,11,6",
        "#photo=4&moment=early&step=C&cells=8.10.0,9.9.3,4.4.3,4.5.7,2.2.7,1031,11,6&target=3",
        "#photo=6&moment=early&step=R1&at=9,9,3",
        "#photo=6&moment=early&step=R3&at=11",
    ],
)
def test_an_address_brings_back_the_very_screen(visit, address):
    tab = visit(address)
    assert tab.evaluate("State.address()") == address
    step = state(tab, "step")
    shown = tab.inner_html(f"#live-{step}")
    again = visit(address)
    assert again.inner_html(f"#live-{step}") == shown


def test_a_nonsensical_address_does_no_harm(visit):
    tab = visit("#photo=99&step=Z9&at=x,-5,1e9&from=1,2&w=1,2&c=-3&mirror=7&parts=all&k=4&px=%3Cscript%3E&target=-1")
    assert (
        state(tab, "photo") == 9
        and state(tab, "step") == "F3"
        and tab.inner_text("#report").startswith("self-check ok")
    )


def test_back_and_forward(visit):
    tab = visit()
    focus_lab(tab)
    tab.keyboard.press("n")
    tab.keyboard.press("n")
    tab.keyboard.press("m")
    assert (state(tab, "step"), state(tab, "mirror")) == ("F5", 1)
    tab.go_back()
    assert (state(tab, "step"), state(tab, "mirror")) == ("F5", 0)
    tab.go_back()
    assert state(tab, "step") == "F4" and tab.is_visible("#step-F4") and tab.is_hidden("#step-F5")
    tab.go_forward()
    assert state(tab, "step") == "F5"


def test_pointing_lights_up_the_partners(visit):
    tab = visit(reduced_motion="reduce")
    tab.evaluate("App.reveal()")
    tab.locator("#F3-g-w-5").hover()
    lit = tab.evaluate("[...document.querySelectorAll('#live-F3 .lit')].map((e) => e.id)")
    assert {"F3-g-a-5", "F3-g-w-5", "F3-g-p-5"} <= set(lit)
    tab.locator("#F3-g-p-4").focus()
    assert "lit" in tab.locator("#F3-g-a-4").get_attribute("class")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.id") == "F3-g-p-5"
    assert "lit" in tab.locator("#F3-g-w-5").get_attribute("class")
    i, j, _ = state(tab, "path[1]")
    tab.evaluate("document.getElementById('F3-m-x').scrollIntoView({block: 'center'})")
    box = tab.locator("#F3-m-x").bounding_box()
    cell = box["width"] / 30
    tab.mouse.move(box["x"] + (j + 1.5) * cell, box["y"] + (i + 1.5) * cell)
    assert "lit" in tab.locator("#F3-g-w-4").get_attribute("class")
    x = voice.number(page.traced()["x"][i, j, 0])
    assert tab.inner_text("#now-F").startswith(f"x at row {i}, column {j}: {x} (product 5 of 9: ")
    tab.mouse.click(box["x"] + (j + 2.5) * cell, box["y"] + (i + 1.5) * cell)
    assert state(tab, "path[0][1]") == state(tab, "path[1][1]") == j + 1


def test_one_can_draw_by_keys_and_by_pointer_and_send_the_drawing_as_an_address(visit):
    tab = visit(reduced_motion="reduce")
    tab.locator("#paper").focus()
    for key in ("Space", "ArrowDown", "Space", "ArrowRight", "Space"):
        tab.keyboard.press(key)
    box = tab.locator("#paper").bounding_box()
    tab.mouse.move(box["x"] + 50, box["y"] + 50)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 200, box["y"] + 50, steps=12)
    tab.mouse.up()
    tab.locator("#use").click()
    assert (
        tab.inner_text("#verdict").startswith("your own drawing: early network says ") and state(tab, "photo") == "own"
    )
    logits, address = tab.evaluate("[...App.A.T.z4]"), tab.evaluate("location.hash")
    pixels = np.array(tab.evaluate("[...App.A.S.px]"), np.uint8).reshape(28, 28)
    assert (pixels > 0).sum() > 20
    np.testing.assert_allclose(logits, trace(page.networks()[0], pixels)["z4"], rtol=0, atol=1e-9)
    assert visit(address).evaluate("[...App.A.T.z4]") == logits
    tab.locator("#paper").focus()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") != "paper"


def test_a_picture_is_loaded_and_prepared_as_cnn_predict_does_it(visit, tmp_path):

    picture = np.full((56, 56), 255, np.uint8)
    picture[10:46, 20:36] = 0
    Image.fromarray(picture).save(tmp_path / "dark.png")
    photograph_of = photograph(page.test_set()[0][8], np.random.default_rng(3))
    Image.fromarray(photograph_of).save(tmp_path / "sandal.png")
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(tmp_path / "wall.png")
    (tmp_path / "none.png").write_text("no picture")
    tab = visit()
    for name, pixels in (("dark.png", 336), ("sandal.png", None)):
        expected = own.read(tmp_path / name).pixels
        tab.set_input_files("#load", str(tmp_path / name))
        until(
            tab, f"document.getElementById('paper-state').textContent.includes('; {np.count_nonzero(expected)} of 784')"
        )
        tab.locator("#use").click()
        found = np.array(tab.evaluate("[...App.A.S.px]"), int).reshape(28, 28)
        assert np.abs(found - expected).max() <= 1 and pixels in (None, np.count_nonzero(expected)), name
    tab.set_input_files("#load", str(tmp_path / "none.png"))
    until(tab, "document.getElementById('paper-state').textContent.startsWith('none.png: expected a picture')")
    tab.set_input_files("#load", str(tmp_path / "wall.png"))
    until(tab, "document.getElementById('paper-state').textContent.startsWith('wall.png: expected something to see')")


def test_numbers_are_printed_as_in_python(visit):
    tab, rng = visit(), np.random.default_rng(4)
    values = [
        *(rng.normal(size=60) * 10.0 ** rng.integers(-9, 6, 60)),
        0.0,
        -0.0,
        1.0,
        -1e-9,
        0.00099999,
        1e-5,
        123456.0,
    ]
    for kind in voice.FORMATS:
        for digits in (voice.LEAST_DIGITS, voice.DIGITS, voice.MOST_DIGITS):
            tab.evaluate(f"Show.settings.digits = {digits}")
            found = tab.evaluate(
                "([values, kind]) => values.map((v) => Show.number(v, kind))", [list(map(float, values)), kind]
            )
            expected = [voice.number(v + 0.0, kind, digits).replace("-", "−") for v in values]  # + 0.0: no minus zero
            assert found == expected, (kind, digits)


def test_the_lab_has_the_filters_of_the_terminal(visit):
    tab = visit("#photo=9&step=L")
    kernel = page.traced()["W1"][:, :, 0, state(tab, "path[1][2]")]
    for k in voice.SIZES:
        for name in (*voice.PRESETS, "learned"):
            expected = voice.resized(kernel, k) if name == "learned" else voice.preset(name, k)
            found = tab.evaluate(f"(App.set({{k: {k}, preset: '{name}'}}), [...Labs.lab(App.A).W])")
            np.testing.assert_allclose(found, expected.ravel(), atol=1e-12, err_msg=f"{name} {k}")
    assert tab.evaluate("(App.set({toy: true}), [...Labs.lab(App.A).x])") == voice.TOY.ravel().tolist()


def test_the_two_nets_look_at_the_same_moved_photo(visit):
    tab = visit("#photo=9&step=S&dx=2&mirror=1")
    pixels, _ = page.test_set()
    moved = changes.shift(changes.mirror(pixels[8]), 2, 0)
    x = np.float64(np.float32(moved[None, :, :, None]) * np.float32(1 / 255))
    for name, model in zip(("T.p", "dense.p"), page.networks(), strict=True):
        np.testing.assert_allclose(tab.evaluate(f"[...App.A.{name}]"), model.astype(np.float64)(x)[0], atol=1e-12)


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_runs_off_the_side(visit, width):
    tab = visit(viewport={"width": width, "height": 800})
    for step in ("F3", "F6", "F10", "F12", "B1", "B8", "B9", "B12", "R1", "R3", "C", "L", "M", "G", "T", "S"):
        tab.evaluate(f"App.go('{step}')")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, step
    small = tab.evaluate("""[...document.querySelectorAll('button, select, input, summary')]
      .filter((e) => e.offsetParent && Math.min(e.getBoundingClientRect().height, e.getBoundingClientRect().width) < 24)
      .map((e) => e.outerHTML)""")
    assert small == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"color_scheme": "dark"},
        {"viewport": {"width": 320, "height": 800}},
        {"color_scheme": "dark", "viewport": {"width": 320, "height": 800}},
    ],
    ids=["light", "dark", "narrow", "dark narrow"],
)
def test_axe_finds_nothing(visit, options):
    from axe_playwright_python.sync_playwright import Axe

    tab, rules = visit(**options), {"rules": {"scrollable-region-focusable": {"enabled": True}}}
    tab.evaluate("['L', 'M', 'G', 'T', 'S'].forEach((id) => document.getElementById('live-' + id).scrollIntoView())")
    for step in ("F3", "F6", "F10", "F12", "B1", "B4", "B8", "B9", "B12", "R1", "R3", "C", "G"):
        tab.evaluate(f"App.go('{step}')")
        tab.wait_for_timeout(100)
        part = None if step == "F3" else f"#step-{step}"  # all of the page once, then what has changed
        found = Axe().run(tab, context=part, options=rules).response["violations"]
        assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == [], step


def test_reduced_motion_stops_what_moves_by_itself(visit):
    tab = visit(reduced_motion="reduce")
    focus_lab(tab)
    tab.keyboard.press("a")
    assert tab.inner_text("#now-F").startswith("product 1 of 9")
    tab.wait_for_timeout(1500)
    assert tab.inner_text("#now-F").startswith("product 1 of 9")
    assert tab.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_without_javascript_it_is_a_document(visit):
    tab = visit(wait=False, java_script_enabled=False)
    text = tab.locator("body").inner_text()
    for step in ("F3", "B9", "B8", "L"):
        words = formulas.formula(page.traced(), formulas.find_step(page.traced(), step))
        assert words.title[1:] in text and words.say in text and words.text in text, step
    assert tab.locator("td[data-ref]").count() == len(page.parts().cells)
    assert (
        tab.locator("#live-F3 table").first.is_visible()
        and tab.is_hidden("#alarm")
        and tab.locator("#sheet").is_hidden()
    )
    assert "9 = test[8]" in text


def test_every_link_lands_where_it_says_from_a_fresh_load(visit, folder):
    """A section or step at the upper edge of the window, under the bar, or the page's end in sight."""
    (folder / "odd.html").write_text(page.other("odd")[1], "utf-8")  # all sections, and quick to open
    tab = visit(file="odd.html")
    sections = tab.evaluate("[...document.querySelectorAll('.hero nav a')].map((a) => a.getAttribute('href').slice(1))")
    missed, url = [], tab.url
    for hash_ in (*sections, *tab.evaluate("State.ALL")):
        tab.goto("about:blank")
        tab.goto(f"{url}#{hash_}")
        until(tab, "document.documentElement.matches('.alive, .failed')", 60)
        place = hash_ if hash_ in sections else f"step-{hash_}"
        top, end = tab.evaluate(f"""(() => {{ const e = document.getElementById('{place}');
          return [(e.closest('div.lab') || e).getBoundingClientRect().top,
            innerHeight + scrollY >= document.documentElement.scrollHeight - 2]; }})()""")
        missed += [] if 0 <= top <= 120 or (end and top > 0) else [(hash_, top)]
    assert missed == []


def test_a_click_on_a_map_of_the_network_enters_it(visit):
    tab = visit(reduced_motion="reduce")
    canvas = tab.locator("#net-1")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tab.mouse.click(box["x"] + 2.5 * box["width"] / 6, box["y"] + 3.5 * box["height"] / 6)
    assert state(tab, "step") == "F3" and state(tab, "path[1][2]") == 3 * 6 + 2


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
def test_a_convolution_stands_on_one_screen_and_its_window_slides(visit, size):
    """Both maps, window x filter = products, the sum and ReLU at once, on one line; then the window fills the map."""
    tab = visit("#photo=9&step=F3&at=13,8,21&c=0", viewport=dict(zip(("width", "height"), size, strict=True)))
    boxes = [tab.locator(f"#F3-{one}").bounding_box() for one in ("m-x", "m-z1", "g-a-0", "g-w-0", "g-p-0")]
    boxes.append(tab.locator("#live-F3 .stage table.sum").bounding_box())
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= size[1] for box in boxes)
    assert all(box["x"] + box["width"] <= size[0] for box in boxes)
    tops = {round(box["y"]) for box in boxes[2:5]}
    assert len(tops) == 1 and boxes[5]["x"] > boxes[4]["x"]
    tab.keyboard.press("w")
    until(tab, "Show.maps.get('F3-m-z1').upTo > 20")
    assert tab.evaluate(
        "(({box, sel}) => box[0] === sel[0] - 1 && box[1] === sel[1] - 1)"
        "({box: Show.maps.get('F3-m-x').box, sel: Show.maps.get('F3-m-z1').sel})"
    )
    until(tab, "Show.maps.get('F3-m-z1').upTo === undefined", 30)
    assert state(tab, "path[1]") == [13, 8, 21]


@pytest.mark.parametrize("name", page.OTHERS)
def test_the_page_of_another_network_proves_itself_and_shows_every_step(visit, folder, name):
    """Each step is drawn, its address brings it back, every key acts, and no number is missing."""
    t, text = page.other(name)
    (folder / f"{name}.html").write_text(text, "utf-8")
    tab = visit(file=f"{name}.html", reduced_motion="reduce")
    assert tab.inner_text("#report").startswith("self-check ok"), tab.inner_text("#report")
    np.testing.assert_allclose(tab.evaluate("[...App.A.T.p]"), t["p"], atol=1e-12)
    for step in tab.evaluate("State.ALL"):
        tab.evaluate(f"App.go('{step}')")
        address = tab.evaluate("State.address()")
        assert tab.evaluate(f"(State.spotlight(), State.read({address!r}), State.address())") == address
        for key in ("ArrowDown", "ArrowRight", "]", "[", "}", "{", " ", "g", "u"):
            tab.evaluate(f"App.KEYS[{key!r}]({{}})")
        tab.evaluate(f"App.set({{ step: '{step}' }})")
        shown = tab.inner_text(f"#live-{step}")
        assert len(shown) > 40 and not re.search(r"NaN|undefined|\[object", shown), step
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize(
    ("old", "new"), [('"strides":[1,1]', '"strides":[2,1]'), ('"padding":"same"', '"padding":"valid"')]
)
def test_a_page_whose_network_has_another_stride_or_padding_refuses_itself(visit, folder, old, new):
    text = page.other("odd")[1]
    (folder / "other.html").write_text(text.replace(old, new, 1), "utf-8")
    assert old in text and "SELF-CHECK FAILED" in visit(file="other.html").inner_text("#alarm")


def hashed(text):
    """The page with the hashes of its scripts in the policy, as one would do who changes a script and knows of it."""
    code = [text for name, text in page.Parts(text).scripts.items() if name.startswith("script")]
    hashes = " ".join(f"'sha256-{build.fingerprint(script)}'" for script in code)
    return re.sub(r"script-src [^;]*;", f"script-src {hashes};", text, count=1)


def damage(folder, name, position):
    file = folder / f"damaged-{name}-{position}.html"
    file.write_text(page.damaged(page.text(), name, position), "utf-8")
    return file.name


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("weights-early", 0),
        ("weights-early", 900_003),
        ("weights-early", -6),
        ("weights-early", -1),
        ("weights-early", 3),
        ("baseline", 5),
        ("baseline", -3),
        ("photo-bytes", 9_000),
        ("full-early", 200_000),
    ],
)
def test_one_changed_letter_of_the_weights_or_photos_is_found(visit, folder, name, position):
    tab = visit(file=damage(folder, name, position))
    assert "SELF-CHECK FAILED" in tab.inner_text("#alarm") and tab.is_visible("#alarm")
    assert tab.inner_text("#report").startswith("SELF-CHECK FAILED")
    assert tab.locator("td[data-ref], canvas[id^=net-], .live table").count() == 0
    assert tab.inner_text("#verdict") == "Hidden, because the self-check failed."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"label":5', '"label":6'),
        ('"loss":', '"loss":1'),
        ('data-ref="z4[3]" data-format="total">', 'data-ref="z4[3]" data-format="total">9'),
        ("(v > 0 ? v : 0)", "(v > 1e-3 ? v : 0)"),
        ('{"schema"', "{schema"),
    ],
    ids=["label", "loss", "table", "engine", "json"],
)
def test_a_changed_trace_table_or_engine_is_found(visit, folder, old, new):
    text = page.text()
    begin = text.index('{"name":"early"') if old in ('"label":5', '"loss":') else 0
    assert old in text[begin:]
    (folder / "changed.html").write_text(hashed(text[:begin] + text[begin:].replace(old, new, 1)), "utf-8")
    tab = visit(file="changed.html")
    assert tab.is_visible("#alarm") and tab.locator(".live table").count() == 0
