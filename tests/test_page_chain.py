"""The page's path and chain rule in Node against the terminal's (cnn/explain/path.py and chain.py)."""

import json

import explain_models
import numpy as np
import page
import pytest
from test_explain_formulas import overlapping
from test_page_engine import job_of, node, with_windows

from cnn.explain import chain, formulas, path, voice
from cnn.explain.page import build, plan

pytestmark = pytest.mark.slow

NETWORKS = {
    "article": page.traced,
    "tiny": lambda: explain_models.traced("tiny"),
    "odd": lambda: page.other("odd")[0],
    "overlapping": overlapping,
    "deep": lambda: page.other("deep")[0],
    "dense": lambda: page.other("dense")[0],
    "colour": lambda: page.other("colour")[0],
    "pooled": lambda: page.other("pooled")[0],
    "normalized": lambda: page.other("normalized")[0],
}


def random_moves(t, count=200):
    """(what the page is told, the path that Python then has): cells and weights chosen at random, one after another."""
    rng, way, names = np.random.default_rng(11), chain.start(t), path.names(t)
    kernels = [k for k, stage in enumerate(t.stages) if formulas.kind_of(stage) in ("conv", "dense")]
    for n in range(count):
        if n % 3 < 2:
            at = int(rng.integers(len(way.cells)))
            cell = tuple(int(rng.integers(size)) for size in t[names[at]].shape)
            way = path.moved(t, way, at, cell)
            yield ["moved", at, list(cell)], way
        else:
            k = int(rng.choice(kernels))
            chosen = tuple(int(rng.integers(size)) for size in t.get(t.stages[k], "kernel").shape)
            way = path.through_weight(t, way, k, chosen)
            yield ["throughWeight", k, list(chosen)], way


def as_lists(way):
    return [list(cell) for cell in way.cells]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_path_is_the_terminals_on_200_random_moves(tmp_path, name):
    t = NETWORKS[name]()
    moves, ways = zip(*random_moves(t), strict=True)
    layers = with_windows(plan.plan(t)["layers"])
    node(tmp_path, {"what": "walk", "layers": layers, "start": as_lists(chain.start(t)), "moves": moves})
    found = json.loads((tmp_path / "out.json").read_text())[1:]
    for move, cells, way in zip(moves, found, ways, strict=True):
        assert cells == as_lists(way), move


def chosen_paths(t, count=40):
    """The tour's own path, some through its cell, and random ones."""
    ways = [chain.start(t), *(way for _, way in random_moves(t, count))]
    at = formulas.first_stage(t) + 1
    places = np.argsort(-np.abs(t[path.names(t)[at]]), axis=None)[:10]
    shape = t[path.names(t)[at]].shape
    live = [path.moved(t, ways[0], at, tuple(map(int, np.unravel_index(n, shape)))) for n in places]
    return [*ways, *(chain.begun(t, way, at) for way in live)]


@pytest.mark.parametrize("name", NETWORKS)
def test_product_factors_and_number_of_paths_are_the_terminals(tmp_path, name):
    t = NETWORKS[name]()
    ways, first = chosen_paths(t), formulas.first_stage(t)
    job, arrays = job_of(t)
    job |= {"what": "chains", "cases": [as_lists(way) for way in ways], "first": first, "said": voice.SAID}
    node(tmp_path, job, **arrays)
    found = json.loads((tmp_path / "out.json").read_text())
    carried = 0
    for way, one in zip(ways, found, strict=True):
        links = chain.links(t, way)
        assert [link[:3] for link in one["links"]] == [[link.of, link.by, link.name] for link in links]
        slopes = np.array([link.slope.value for link in links])
        np.testing.assert_allclose([link[3] for link in one["links"]], slopes, rtol=1e-9, atol=1e-12)
        assert one["product"] == pytest.approx(chain.product(links), rel=1e-8, abs=1e-15)
        count = chain.count(t, way)
        assert one["count"] == (None if count is None else str(count))
        assert tuple(one["weight"]) == path.weight(t, way, first)
        carried += chain.product(links) != 0
    assert all(one["joined"] for one in found)
    assert carried >= 3 or name == "colour"  # there no path has been found that carries anything
    assert (found[0]["count"] is None) == (name in ("colour", "pooled"))


def test_a_path_that_does_not_join_is_known(tmp_path):
    t = page.traced()
    way, (job, arrays) = as_lists(chain.start(t)), job_of(t)
    apart = [[[(way[0][0] + 9) % 28, *way[0][1:]], *way[1:]], [*way[:5], [way[5][0] ^ 1], *way[6:]]]
    job |= {"what": "chains", "cases": [way, *apart], "first": 0, "said": voice.SAID}
    node(tmp_path, job, **arrays)
    assert [one["joined"] for one in json.loads((tmp_path / "out.json").read_text())] == [True, False, False]


@pytest.mark.parametrize(
    ("file", "old", "new", "test"),
    [
        ("path.js", "(side.k - 1) >> 1) - r", "side.k >> 1) - r", "path"),
        ("path.js", "keep ? [...path[n]", "false ? [...path[n]", "path"),
        ("chain.js", "all * slope", "all + slope", "product"),
        ("chain.js", "reads(Math.floor(n / F))", "true", "product"),
        ("engine.js", "return G[dx][first];", "return 1;", "product"),
    ],
)
def test_a_page_with_another_rule_is_found(tmp_path, monkeypatch, file, old, new, test):
    folder = tmp_path / "page"
    folder.mkdir()
    for source in (one for one in build.PAGE.iterdir() if one.suffix in (".js", ".html", ".css")):
        text = source.read_text("utf-8")
        assert source.name != file or old in text
        (folder / source.name).write_text(text.replace(old, new) if source.name == file else text, "utf-8")
    monkeypatch.setattr(build, "PAGE", folder)
    tests = {
        "path": test_the_path_is_the_terminals_on_200_random_moves,
        "product": test_product_factors_and_number_of_paths_are_the_terminals,
    }
    with pytest.raises(AssertionError):
        tests[test](tmp_path, "tiny" if "reads" in old else "odd")
