"""The page's three moments of the article's network: what it carries, that each proves itself, and the switch.

Slow ones need Node and Chromium, as those of the page do.
"""

import copy
import json

import numpy as np
import page
import pytest
from page_browser import state, until
from test_page_engine import node
from test_page_live import hashed

from cnn.article import MOMENTS
from cnn.errors import UsageError
from cnn.explain import chain, trace, voice
from cnn.explain.page import build, carried


def test_halves_would_change_what_the_finished_network_shows():
    """Why its weights are sent whole: of photo 9's first cells most would have another digit."""
    whole = page.networks("finished")[0]
    halved = whole.astype(np.float32)
    halved.set_weights([value.astype(np.float16).astype(np.float32) for value in whole.get_weights()])
    photo = page.test_set()[0][8]
    shown = [[voice.number(v) for v in trace(one, photo, None, 5)["z1"].ravel()] for one in (whole, halved)]
    assert sum(a != b for a, b in zip(*shown, strict=True)) > 1000


def test_each_moment_carries_its_own_trace():
    for name in MOMENTS:
        found, t = page.moment(name), page.traced(9, name)
        full = page.tensors(found["numbers"], "<f8")
        assert {"p", "dlogits", "z4", "dW1"} <= set(full)
        for tensor in full:
            assert full[tensor].tobytes() == t[tensor].tobytes(), (name, tensor)
        assert found["about"] == MOMENTS[name] and found["full"]["loss"] == t.loss
        assert [record["loss"] for record in found["photos"]] == [page.traced(n, name).loss for n in range(1, 21)]
        assert found["photos"][8]["target"] == (7 if name == "finished" else 5)
    assert page.data()["begin"] == "early"


def test_what_is_drawn_is_told_only_where_nothing_has_changed():
    untrained = page.networks("untrained")[0]
    told = carried.draws(page.traced(9, "untrained"))
    assert set(told) == {"W1", "W2", "W3", "W4"} and carried.draws(page.traced()) == {}
    changed = untrained.astype(np.float32)
    changed.params["dense/bias"][3] = 1e-30
    assert carried.draws(trace(changed, page.test_set()[0][8])) == {}


def test_networks_that_differ_in_more_than_weights_are_no_moments_of_one():
    pixels, labels = (array[:1] for array in page.test_set())
    model, other = page.networks()
    with pytest.raises(UsageError, match="one network at several moments, got layers that differ"):
        build.page(model, None, build.Example(1, pixels, labels), moments={"early": model, "other": other})


def test_a_page_of_one_moment_has_no_switch():
    assert "moment-note" not in page.other("dense")[1].split("<script")[0] and 'name="moment"' in page.text()
    assert "at three moments of its training" in page.text() and "moments of its" not in page.other("odd")[1]


# ---- in Node


def jobs():
    """What the runner needs of each moment: its weights, as the page carries them, and the records of 20 photos."""
    scripts, blocks = page.parts().scripts, page.data()["blocks"]
    moments = [
        {"told": blocks[one["weights"]], "text": scripts.get(one["weights"]), "records": one["photos"]}
        for one in page.data()["moments"]
    ]
    arrays = {f"photo{n}": page.traced(n + 1)["x"] for n in range(20)}
    return {"what": "moments", "plan": page.data()["net"], "moments": moments}, arrays


@pytest.mark.slow
def test_every_moment_proves_itself_in_node(tmp_path):
    job, arrays = jobs()
    node(tmp_path, job, **arrays)
    for found in json.loads((tmp_path / "out.json").read_text()):
        assert found["failures"] == [] and found["count"] > 1000 and found["largest"] < 1e-10


def another_seed(job, k):
    drawn = job["moments"][k]["told"]["drawn"]["W2"]
    drawn[0] = str(int(drawn[0]) + 1)


def another_record(job, k):
    job["moments"][k]["records"][13]["tensors"]["dW2"][0] *= 1 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "moment", "named"),
    [
        (another_seed, 0, "SHA-256"),
        (another_record, 0, "photo 13 sum of dW2"),
        (another_record, 1, "photo 13 sum of dW2"),
        (another_record, 2, "photo 13 sum of dW2"),
    ],
)
def test_a_moment_with_a_fault_fails_in_node_and_no_other(tmp_path, fault, moment, named):
    job, arrays = copy.deepcopy(jobs())
    fault(job, moment)
    node(tmp_path, job, **arrays)
    failures = [found["failures"] for found in json.loads((tmp_path / "out.json").read_text())]
    assert named in failures[moment][0] and not any(failures[k] for k in range(3) if k != moment)


# ---- in Chromium


def turn(tab, moment):
    """Choose a moment by its switch, and wait until it has proved itself."""
    tab.locator(f"input[value={moment}]").check()
    until(tab, f"document.documentElement.matches('[data-moment={moment}].ready, .failed')")


def numbers(tab):
    """What is computed and what is shown."""
    computed = tab.evaluate("[A => A.loss, A => A.target, A => [...A.T.p], A => [...A.G.dx]].map((f) => f(App.A))")
    pictures = "[...document.querySelectorAll('canvas[data-net], #sheet')].map((e) => e.toDataURL?.() ?? e.innerText)"
    return computed, tab.evaluate(pictures), tab.inner_html("#live-F6"), tab.inner_text("#verdict")


@pytest.mark.slow
def test_the_switch_changes_every_number_and_back_again(visit):
    tab = visit("#photo=9&moment=early&step=F6&at=6,3,42&c=21")
    first, seen = numbers(tab), []
    for moment in ("finished", "untrained", "early"):
        turn(tab, moment)
        t, (computed, *shown) = page.traced(9, moment), numbers(tab)
        assert computed[:2] == [pytest.approx(t.loss, rel=1e-9), t.target]
        np.testing.assert_allclose(computed[2], t["p"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(computed[3], t["dx"].ravel(), rtol=0, atol=1e-9 * max(1, np.abs(t["dx"]).max()))
        assert f"{moment} network says Sandal {voice.number(t['p'][5], 'probability')}" in shown[2]
        assert tab.inner_text("#moment-note") == MOMENTS[moment]
        assert state(tab, "path[4]") == [6, 3, 42] or state(tab, "path[3]") == [6, 3, 42]  # the same cells
        assert f"&moment={moment}&" in tab.evaluate("location.hash")
        seen.append((computed, *shown))
    assert seen[2] == first and seen[0] != first and seen[1] != first
    assert all(a != b for a, b in zip(seen[0], seen[1], strict=True))
    report = tab.inner_text("#report")
    assert report.startswith("self-check ok: early: 20 photos, ") and "not shown yet" not in report
    for name in ("weights-early", "weights-finished", "weights-untrained"):
        assert page.data()["blocks"][name]["sha256"][:16] in report


@pytest.mark.slow
def test_each_moment_asks_for_the_label_but_the_one_that_is_sure(visit):
    tab = visit()
    assert tab.inner_text("#target-note") == "The loss here is that of Sandal, p = 0.7912."
    turn(tab, "finished")
    note = tab.inner_text("#target-note")
    assert note.startswith("The loss here is that of Sneaker") and "So the tour asks: what would change" in note


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_link_brings_back_its_moment(visit, moment):
    address = f"#photo=12&moment={moment}&step=B8&w=0,2,5,27"
    tab = visit(address)
    assert tab.evaluate("State.address()") == address and f"{moment}: 20 photos" in tab.inner_text("#report")
    assert tab.evaluate("App.A.loss") == pytest.approx(page.traced(12, moment).loss, rel=1e-9)
    assert tab.evaluate("document.querySelector('input[name=moment]:checked').value") == moment
    turn(tab, "untrained" if moment == "early" else "early")
    tab.go_back()
    until(tab, f"App.A.moment === '{moment}' && State.address() === '{address}'")
    assert tab.evaluate("App.A.loss") == pytest.approx(page.traced(12, moment).loss, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_tour_starts_where_the_terminal_s_does(visit, moment):
    """From a fresh page at this moment; a switch keeps the cells."""
    way = [list(cell) for cell in chain.start(page.traced(9, moment)).cells]
    tab = visit(f"#photo=9&moment={moment}&step=F12")
    assert tab.evaluate("App.A.S.path") == way
    turn(tab, "finished" if moment == "early" else "early")
    assert tab.evaluate("App.A.S.path") == way


@pytest.mark.slow
def test_the_key_goes_round_and_a_page_of_one_network_says_that_it_has_one(visit, folder):
    tab = visit(reduced_motion="reduce")
    for moment in ("finished", "untrained", "early"):
        tab.keyboard.press("M")
        until(tab, f"document.documentElement.matches('[data-moment={moment}].ready, .failed')")
    tab.keyboard.press("n")  # the focus is no trap: letters are keys also after a click on the switch
    tab.locator("input[value=early]").focus()
    tab.keyboard.press("n")
    assert state(tab, "step") == "F5"
    (folder / "one.html").write_text(page.other("odd")[1], "utf-8")
    one = visit(file="one.html")
    one.keyboard.press("M")
    until(one, "document.getElementById('now-F').textContent.includes('known at one moment only')")
    assert one.locator("input[name=moment]").count() == 0 and "moment=" not in one.evaluate("State.address()")


@pytest.mark.slow
def test_trained_weights_are_left_behind_and_a_chosen_target_is_kept(visit):
    tab = visit("#photo=9&moment=early&step=B1&target=2")
    tab.evaluate("App.KEYS.t()")
    until(tab, "App.A.edited")
    turn(tab, "untrained")
    assert tab.evaluate("[App.A.edited, App.A.target, App.A.losses.length]") == [False, 2, 1]
    assert tab.evaluate("App.A.loss") == pytest.approx(-np.log(page.traced(9, "untrained")["p"][2]), rel=1e-9)


@pytest.mark.slow
def test_the_last_one_asked_for_is_shown(visit):
    tab = visit()
    tab.evaluate("(App.set({ moment: 'finished' }), App.set({ moment: 'untrained' }))")
    until(tab, "document.documentElement.matches('[data-moment=untrained].ready, .failed')")
    tab.wait_for_timeout(500)
    assert tab.evaluate("App.A.moment") == "untrained" and tab.is_hidden("#alarm")


@pytest.mark.slow
def test_a_page_can_begin_with_another_moment(visit, folder):
    (folder / "finished.html").write_text(page.text(9, "finished"), "utf-8")
    tab = visit(file="finished.html")
    assert tab.inner_text("#verdict").startswith("photo 9 = test[8]: finished network says Sandal 1.0000")
    assert tab.inner_text("#report").startswith("self-check ok: finished: 20 photos, 8")
    turn(tab, "early")
    assert tab.evaluate("App.A.loss") == pytest.approx(page.traced().loss, rel=1e-9)


def changed(text, moment, old, new):
    """The page with a piece of the JSON of one moment replaced."""
    start = text.index(f'{{"name":"{moment}"')
    assert old in text[start:]
    return text[:start] + text[start:].replace(old, new, 1)


TAMPERED = {
    "weights of finished": ("finished", lambda text: page.damaged(text, "weights-finished", 1_000_000)),
    "numbers of finished": ("finished", lambda text: page.damaged(text, "full-finished", 5_000)),
    "record of finished": ("finished", lambda text: changed(text, "finished", '"loss":', '"loss":1')),
    "seed of untrained": ("untrained", lambda text: text.replace('"drawn":{"W1":["', '"drawn":{"W1":["1')),
    "numbers of untrained": ("untrained", lambda text: page.damaged(text, "full-untrained", 5_000)),
    "record of untrained": ("untrained", lambda text: changed(text, "untrained", '"predicted":', '"predicted":1')),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TAMPERED)
def test_a_moment_that_is_not_what_was_written_is_refused_when_it_is_asked_for(visit, folder, name):
    moment, change = TAMPERED[name]
    (folder / "tampered.html").write_text(hashed(change(page.text())), "utf-8")
    tab = visit(file="tampered.html")
    assert tab.inner_text("#report").startswith("self-check ok: early: 20 photos")
    tab.locator(f"input[value={moment}]").check()
    until(tab, "document.documentElement.matches('.failed')", 30)
    assert "SELF-CHECK FAILED" in tab.inner_text("#alarm") and tab.is_visible("#alarm")
    assert tab.locator(".live table, canvas[id^=net-]").count() == 0


@pytest.mark.slow
def test_on_paper_every_step_has_the_numbers_of_what_is_shown(visit):
    """Not those of the page without JavaScript, and nothing of a sum is cut off."""
    tab = visit("#photo=12&moment=untrained&step=F3")
    tab.emulate_media(media="print")
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    z = page.traced(12, "untrained")["z4"]
    shown = tab.inner_text("#live-F11")
    assert all(voice.number(v, "total").replace("-", "−") in shown for v in z)
    empty = "State.STEPS.filter((id) => !/\\d\\.\\d/.test(document.getElementById('live-' + id).innerText))"
    assert tab.evaluate(empty) in ([], ["F2"])
    cut = "[...document.querySelectorAll('.scroll')].filter((e) => getComputedStyle(e).overflowX !== 'visible').length"
    assert tab.evaluate(cut) == 0
