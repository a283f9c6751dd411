"""The chapter "Backward from nothing", and the steps R and C of the page: every number of them computed once more."""

import json
import re

import numpy as np
import page
import pytest
from page_browser import focus_lab, state, until
from test_page_engine import job_of, node

from cnn.explain import chain, formulas, path, voice
from cnn.explain.page import build, nothing
from cnn.explain.trace import loss_with

SIZES = [(1366, 768), (1920, 1080)]


def printed(name, text=None):
    """What stands in the page for a number of the chapter, each place once."""
    return re.findall(rf'data-n="{name}">([^<]*)<', text or page.text())


def number(name):
    """The one number that all its places show."""
    found = set(printed(name))
    assert len(found) == 1, (name, found)
    return voice.parsed(found.pop().replace("−", "-"))


def test_the_units_numbers_are_what_one_computes_by_hand():
    """Written out with the numbers as they are printed, without the module that made them."""
    x, wanted, w, h = (number(name) for name in ("x", "wanted", "w", "h"))
    assert number("u") == x * w and number("loss") == (x * w - wanted) ** 2
    assert number("moved") == w + h and number("u2") == x * (w + h)
    assert number("after") == (x * (w + h) - wanted) ** 2
    assert number("change") == number("after") - number("loss") and number("secant") == number("change") / h
    assert number("slope") == x * 2 * (x * w - wanted) == number("link1") * number("link2")
    assert number("tried") == pytest.approx(number("slope"), rel=1e-3) and number("tried") != number("slope")
    a, b = number("a"), number("b")
    ways = [x * one * 2 * (one * x * w - number(f"wanted{name}")) for one, name in ((a, "A"), (b, "B"))]
    assert [number("wayA"), number("wayB")] == ways and number("ways") == sum(ways)
    assert number("triedWays") == pytest.approx(sum(ways), rel=1e-3)
    for n in range(nothing.TOY["steps"]):
        assert number(f"w{n + 1}") == pytest.approx(number(f"w{n}") - number("rate") * number(f"slope{n}"), rel=1e-5)
        assert number(f"loss{n + 1}") < number(f"loss{n}")
    assert set(printed("verdict")) == {"The loss falls."}


def test_the_slope_is_the_slope_of_the_whole_network():
    """By a forward pass of NumPy's numbers alone: the model's weight moved, and the loss of what it then says."""
    t = page.traced()
    at, model = path.weight(t, chain.start(t), 0), page.networks()[0].astype(np.float64)
    kernel = model.layers[0].params["kernel"]
    assert set(printed("net-weight")) == {f"W1[{','.join(map(str, at))}]"}
    for n, h in enumerate((*nothing.TOY["nudges"], nothing.TOY["own"])):
        kernel[at] += h
        loss = -np.log(model(t["x"][None])[0][t.target])
        kernel[at] -= h
        assert number(f"net-loss{n}") == pytest.approx(loss, rel=1e-8)
        assert number(f"net-slope{n}") == pytest.approx((loss - t.loss) / h, rel=1e-3)
        assert number(f"net-told{n}") == pytest.approx(number("net-slope") * h, rel=1e-3)
    assert number("net-slope") == pytest.approx(t["dW1"][at], rel=1e-3)
    errors = [abs(number(f"net-slope{n}") - t["dW1"][at]) for n in (0, 3)]
    assert errors[1] < 0.02 * abs(t["dW1"][at]) < errors[0]  # a small nudge agrees, a large one does not
    assert set(printed("net-paths")) == {f"{chain.count(t, chain.start(t)):,}"}


@pytest.mark.parametrize("name", page.OTHERS)
def test_every_network_has_the_chapter_with_its_own_weight(name):
    t, text = page.other(name)
    way, stage = chain.start(t), t.stages[formulas.first_stage(t)]
    at = path.weight(t, way, formulas.first_stage(t))
    assert set(printed("net-weight", text)) == {f"{stage.names['kernel']}[{','.join(map(str, at))}]"}
    assert voice.parsed(printed("net-slope", text)[0].replace("−", "-")) == pytest.approx(
        t.get(stage, "dkernel")[at], rel=1e-3, abs=1e-12
    )
    chapter = text.split('id="nothing"')[1].split("</section>")[0]
    assert not re.search(r"[{}]{2}|\{n:|nan|<!--", chapter)


def test_no_number_of_the_chapter_is_typed_into_its_text():
    """Digits stand in the file only in attributes, names of numbers, and the formulas that they belong to."""
    text = re.sub(r"<[^>]*>|\{n:[^}]*\}", "", (build.PAGE / "nothing.html").read_text("utf-8"))
    text = text.replace("2 × (u − )", "").replace("2 × s × h", "").replace("0 if u is right", "").replace("near 0", "")
    assert re.findall(r"\d[\d.,]*", text.replace("B1", "")) == []


@pytest.mark.slow
def test_the_sliders_arithmetic_is_pythons(tmp_path):
    rng, cases = np.random.default_rng(2), []
    for _ in range(40):
        w, h, rate = rng.uniform(-0.5, 3.5), rng.uniform(0.01, 1), rng.uniform(0.01, 0.3)
        cases.append({**nothing.TOY, "w": w, "h": h, "rate": rate})
    node(tmp_path, {"what": "toy", "cases": cases})
    for c, found in zip(cases, json.loads((tmp_path / "out.json").read_text()), strict=True):
        expected = nothing.toy(c)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            near = value if isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-12)
            assert found[name] == near, name
    verdicts = {nothing.toy(c)["verdict"] for c in cases}
    assert len(verdicts) == 2


@pytest.mark.slow
def test_a_nudged_weight_has_the_loss_of_a_whole_pass(tmp_path):
    t = page.other("odd")[0]
    k, (job, arrays) = formulas.first_stage(t), job_of(t)
    kernel, at = t.get(t.stages[k], "kernel"), path.weight(t, chain.start(t), k)
    flat, hs = int(np.ravel_multi_index(at, kernel.shape)), [1.0, -0.3, 0.001]
    job |= {"what": "nudged", "entry": [t.stages[k].names["kernel"], flat, k], "nudges": hs}
    node(tmp_path, job, **arrays)
    for h, found in zip(hs, json.loads((tmp_path / "out.json").read_text()), strict=True):
        moved = np.array(kernel)
        moved[at] += h
        assert found["loss"] == pytest.approx(loss_with(t, {f"{t.stages[k].layer.name}/kernel": moved}), rel=1e-9)


# ---- in the browser


@pytest.mark.slow
def test_the_slider_moves_output_loss_and_slope(visit):
    tab = visit("#nothing")
    slider = tab.locator('#nothing-nudge [data-toy="w"]')
    slider.focus()
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowUp")
    shown = lambda name: voice.parsed(tab.locator(f'#nothing [data-n="{name}"]').first.inner_text().replace("−", "-"))
    expected = nothing.toy({**nothing.TOY, "w": 0.9})
    for name in ("w", "u", "loss", "after", "slope", "secant", "link2", "wayA", "ways", "loss5"):
        assert shown(name) == pytest.approx(expected[name], rel=1e-5), name
    assert "weight 0.9, output 1.8" in slider.get_attribute("aria-valuetext")
    assert tab.input_value('#nothing-fork [data-toy="w"]') == "0.9"  # one weight, wherever it stands
    assert tab.get_attribute("#nothing-slope [data-shape=dots]", "d").startswith("M0.9 -1.44")
    tab.locator('#nothing-slope [data-toy="h"]').fill("0.01")
    assert shown("secant") == pytest.approx(nothing.toy({**nothing.TOY, "w": 0.9, "h": 0.01})["secant"], rel=1e-5)
    tab.locator('#nothing-learning [data-toy="rate"]').fill("0.3")
    assert "does not fall" in tab.locator('[data-n="verdict"]').inner_text()
    assert state(tab, "step") == "F3"  # the keys were the slider's


@pytest.mark.slow
def test_the_chapter_follows_photo_path_and_weights(visit):
    tab = visit("#nothing-photo")
    read = lambda name: tab.locator(f'#nothing [data-n="{name}"]').first.inner_text()
    assert read("net-title") == "photo 9 = test[8]" and int(read("net-flips0")) > int(read("net-flips3"))
    tab.locator('[data-toy="own"]').fill("-1")
    assert read("net-h4") == "−1"
    tab.evaluate("App.set({ photo: 12 })")
    t = page.traced(12)
    way = chain.start(t)
    assert read("net-title") == "photo 12 = test[11]" and read("net-class") == t.class_names[t.target]
    until(tab, "App.A.S.photo === 12")
    tab.evaluate("State.spotlight(), App.redraw()")
    at = path.weight(t, way, 0)
    assert read("net-weight") == f"W1[{','.join(map(str, at))}]"
    assert read("net-slope") == voice.number(t["dW1"][at], "gradient").replace("-", "−")
    tab.evaluate("App.set({ step: 'B12' }), App.KEYS.t({})")
    until(tab, "App.A.losses.length === 2")
    assert read("net-loss") == voice.number(tab.evaluate("App.A.loss"), "loss").replace("-", "−")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slope", "ways", "net-loss3", "net-slope"])
def test_a_changed_number_of_the_chapter_is_found(visit, folder, name):
    text, found = page.text(), printed(name)[0]
    changed = text.replace(f'data-n="{name}">{found}', f'data-n="{name}">{found}1', 1)
    assert changed != text
    (folder / "typed.html").write_text(changed, "utf-8")
    tab = visit(file="typed.html")
    assert f"the chapter's {name}" in tab.inner_text("#alarm") and tab.locator("#nothing table").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("part", ["nudge", "slope", "chain", "fork", "photo", "learning"])
def test_a_link_to_a_part_of_the_chapter_lands_there(visit, part):
    tab = visit(f"#nothing-{part}", viewport={"width": 1366, "height": 768})
    box = tab.locator(f"#nothing-{part}").bounding_box()
    assert 0 <= box["y"] <= 120 and box["y"] + box["height"] <= 768  # and stands on one screen
    tab.locator("#nothing a[data-step=B1]").click()
    assert state(tab, "step") == "B1"


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 800}}])
def test_axe_finds_nothing_in_the_chapter(visit, options):
    from axe_playwright_python.sync_playwright import Axe

    tab = visit("#nothing-photo", **options)
    rules = {"rules": {"scrollable-region-focusable": {"enabled": True}}}
    found = Axe().run(tab, context="#nothing", options=rules).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_chain_and_relu_stand_on_one_screen(visit, size):
    width, height = size
    for step, parts in {
        "C": (".way canvas", ".stage table", ".beside table"),
        "R1": (".map canvas", ".grid", ".stage table.sum"),
        "R3": (".map canvas", ".grid", ".stage table.sum"),
    }.items():
        tab = visit(f"#step={step}", viewport={"width": width, "height": height})
        for part in parts:
            found = tab.locator(f"#live-{step} {part}")
            assert found.count() > 0
            for k in range(found.count()):
                box = found.nth(k).bounding_box()
                assert box["y"] >= 0 and box["y"] + box["height"] <= height, (step, part, box)
                assert box["x"] >= 0 and box["x"] + box["width"] <= width, (step, part, box)
        left, right = (tab.locator(f"#live-{step} {part}").first.bounding_box() for part in parts[:2])
        assert left["x"] + left["width"] <= right["x"]


@pytest.mark.slow
def test_the_chain_on_the_page_is_the_terminals_and_moves_with_the_path(visit):
    tab = visit("#step=C")
    t = page.traced()
    way = chain.start(t)
    for cell in (None, [13, 8, 21], [12, 13, 2]):
        way = path.moved(t, way, 1, tuple(cell)) if cell else way
        if cell:
            tab.evaluate(f"App.set({{ path: [1, {cell}] }})")
        links = chain.links(t, way)
        rows = tab.locator("#live-C .stage > div:last-child > .scroll tbody tr").all_inner_texts()
        assert [row.split("\t")[2:] for row in rows] == [[link.of, link.name] for link in links]
        text = tab.inner_text("#live-C .beside")
        assert voice.number(chain.product(links), "gradient").replace("-", "−") in text
        assert f"one of {chain.count(t, way):,} paths" in text
        at = path.weight(t, way, 0)
        assert f"add up to dW1[{','.join(map(str, at))}]" in text
        assert voice.number(t["dW1"][at], "gradient").replace("-", "−") in text


@pytest.mark.slow
def test_every_sum_opens(visit):
    """F10, F11, B3, B5, B8, B9, B11, B12 and C: all products, the largest first, add up to the sum."""
    tab, opened = visit(reduced_motion="reduce"), []
    for step in ("F10", "B5", "B8", "B9", "B11", "B12", "C"):
        focus_lab(tab, step)
        if tab.locator(f"#live-{step} details[data-table={step}-all]").count() == 0:
            assert "others" not in tab.inner_text(f"#live-{step}"), step  # the few that are not 0 are all shown
            continue
        opened.append(step)
        tab.locator(f"#live-{step} details[data-table={step}-all] summary").click()
        until(tab, f"document.querySelectorAll('#live-{step} [data-table={step}-all] tbody tr').length > 8")
        rows = tab.locator(f"#live-{step} [data-table={step}-all] tbody tr").all_inner_texts()
        numbers = [[voice.parsed(one.replace("−", "-")) for one in row.split("\t")[-2:]] for row in rows]
        live = [product for product, _ in numbers if product]
        assert live == sorted(live, key=abs, reverse=True), step
        assert sum(live) == pytest.approx(numbers[-1][1], rel=1e-2, abs=1e-2), step
    assert {"F10", "B5", "B9", "B12", "C"} <= set(opened)
