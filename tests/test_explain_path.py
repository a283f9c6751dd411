"""One path through the network: its rule on random cells, its chain rule against brute force, and the walk along it."""

import itertools

import explain_models as nets
import numpy as np
import pytest
from test_explain_formulas import overlapping

from cnn import photos
from cnn.explain import chain, path, trace
from cnn.explain.formulas import find_step, first_stage, kind_of, tour
from cnn.explain.parts import Cursor
from cnn.explain.path import Path
from cnn.explain.terminal.walk import Walk
from cnn.explain.views import opened, show
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D
from cnn.models import Sequential

NETWORKS = {"tiny": lambda: nets.traced("tiny"), "odd": lambda: nets.traced("odd"), "overlapping": overlapping}


def random_paths(t, count=200):
    """Paths through a random cell of a random tensor, each from the one before."""
    rng, way = np.random.default_rng(7), chain.start(t)
    for _ in range(count):
        at = int(rng.integers(len(way.cells)))
        cell = tuple(int(rng.integers(size)) for size in t[path.names(t)[at]].shape)
        way = path.moved(t, way, at, cell)
        yield at, cell, way


def joined(t, way):
    """Whether each cell lies under the window of the next, with the channel and the number that belong to it."""
    for stage, first, second in zip(t.stages, way.cells, way.cells[1:], strict=False):
        layer = stage.layer
        if isinstance(layer, Conv2D | MaxPooling2D) and not path.under(layer, first, second):
            return False
        if isinstance(layer, MaxPooling2D) and first[2] != second[2]:
            return False
        if isinstance(layer, Flatten) and np.ravel_multi_index(first, layer.input_shape) != second[0]:
            return False
        if layer.input_shape == layer.output_shape and not isinstance(layer, Conv2D | Dense) and first != second:
            return False
    return True


@pytest.mark.parametrize("name", NETWORKS)
def test_each_cell_lies_in_the_window_of_the_next(name):
    t = NETWORKS[name]()
    for at, cell, way in random_paths(t):
        assert joined(t, way), (at, cell, way)
        reached = all(kind_of(s) != "conv" or s.layer.strides == (1, 1) for s in t.stages[at:])
        assert way.cells[at] == cell or not reached  # with a stride no window may read it


def test_the_rule_in_numbers():
    t = nets.traced("tiny")
    way = path.moved(t, chain.start(t), 1, (13, 8, 2))
    assert [cell[:2] for cell in way.cells[:5]] == [(13, 8), (13, 8), (6, 4), (6, 4), (3, 2)]
    assert way.cells[2][2] == 2 and way.cells[5] == ((3 * 7 + 2) * 4 + way.cells[4][2],)
    other = path.moved(t, way, 4, (3, 2, 1))  # another channel alone moves no cell
    assert [cell[:2] for cell in other.cells[:5]] == [cell[:2] for cell in way.cells[:5]] and other.cells[3][2] == 1
    way = path.moved(t, way, 4, (3, 3, 1))  # an even window: the first of the two in its middle
    assert [cell[:2] for cell in way.cells[:5]] == [(12, 12), (12, 12), (6, 6), (6, 6), (3, 3)]
    assert path.weight(t, way, 0) == (1, 1, 0, 2) and way.cells[3][2] == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_backward_look_at_the_same_cells(name):
    t = NETWORKS[name]()
    for _, _, way in itertools.islice(random_paths(t), 8):
        for step in tour(t):
            seen = show(t, step, path.cursor(t, way, step)).cursor
            at = path.slot(t, step)
            if at is not None and t[path.names(t)[at]].ndim in (1, 3) and "through" not in step.kind:
                assert path.cell_of(t, step, at, seen) == way.cells[at], step
            if step.kind.endswith("dkernel"):
                assert seen.weight == path.weight(t, way, step.stage)
            assert path.follow(t, way, step, seen) == way  # what is agreed on moves nothing


@pytest.mark.parametrize("name", NETWORKS)
def test_a_weight_chosen_is_the_weight_on_the_path(name):
    t, rng = NETWORKS[name](), np.random.default_rng(3)
    way = chain.start(t)
    for k, stage in enumerate(t.stages):
        for _ in range(20 if kind_of(stage) in ("conv", "dense") else 0):
            chosen = tuple(int(rng.integers(size)) for size in t.get(stage, "kernel").shape)
            way = path.through_weight(t, way, k, chosen)
            assert path.weight(t, way, k) == chosen and joined(t, way)


# ---- the chain rule


def small():
    """A network of which all paths can be walked."""
    layers = [
        Conv2D(2, 3, padding="same", activation="relu", input_shape=(4, 4, 1)),
        MaxPooling2D(2),
        Conv2D(2, 2, padding="same", activation="relu"),
        Flatten(),
        Dense(3, activation="relu"),
        Dense(2),
    ]
    photo = np.random.default_rng(5).uniform(size=(4, 4, 1))
    return trace(nets.with_biases(Sequential(layers, seed=3), 3), photo, label=1)


def all_paths(t, weight):
    """Every path that leads from a weight of the first layer to the loss."""
    places = [[tuple(map(int, i)) for i in np.ndindex(t[name].shape)] for name in path.names(t)]
    grown = [(a, b) for a in places[0] for b in places[1] if path.under(t.stages[0].layer, a, b)]
    grown = [cells for cells in grown if path.weight(t, Path(cells), 0) == weight]
    for stage, ahead in zip(t.stages[1:], places[2:], strict=True):
        grown = [(*cells, b) for cells in grown for b in ahead if neighbours(stage.layer, cells[-1], b)]
    return [Path(cells) for cells in grown]


def neighbours(layer, first, second):
    if isinstance(layer, Flatten):
        return np.ravel_multi_index(first, layer.input_shape) == second[0]
    if isinstance(layer, MaxPooling2D) and first[2] != second[2]:
        return False
    return isinstance(layer, Dense) or path.under(layer, first, second)


def sums_of_paths(t, weight):
    """(how many, what the products along all paths add up to, the gradient itself)."""
    ways = all_paths(t, weight)
    return len(ways), sum(chain.product(chain.links(t, way)) for way in ways), t.get(t.stages[0], "dkernel")[weight]


@pytest.mark.parametrize("weight", [(1, 1, 0, 0), (0, 2, 0, 1), (2, 1, 0, 1)])
def test_all_paths_add_up_to_the_gradient(weight):
    t = small()
    count, total, gradient = sums_of_paths(t, weight)
    assert gradient != 0 and abs(total - gradient) <= 1e-12 * max(1.0, abs(gradient))
    assert count == chain.count(t, path.through_weight(t, chain.start(t), 0, weight)) > 100


def test_a_chain_without_its_relu_is_found(monkeypatch):
    t = small()
    monkeypatch.setattr(chain, "is_relu", lambda stage: False)
    monkeypatch.setattr(chain, "slope", lambda *_: 1.0)
    _, total, gradient = sums_of_paths(t, (1, 1, 0, 1))
    assert abs(total - gradient) > 1e-3


def test_a_rule_that_is_wrong_is_found(monkeypatch):
    t, right = nets.traced("tiny"), path.nearest_window
    begun = chain.start(t)
    monkeypatch.setattr(path, "under", lambda *_: True)
    monkeypatch.setattr(path, "nearest_window", lambda *axis: max(0, right(*axis) - 2))
    monkeypatch.setattr(chain, "start", lambda _: begun)
    found = [way for _, _, way in random_paths(t)]
    monkeypatch.undo()
    assert not all(joined(t, way) for way in found)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_product_is_the_product_of_measured_slopes(name):
    """Each layer alone, its input moved up and down at the path's cell: what its output does at the next."""
    t, h = NETWORKS[name](), 1e-6
    k, ways = first_stage(t), live_paths(t)
    assert len(ways) > 2
    for way in ways:
        slopes = [t["dlogits"][way.cells[-1]], t.get(t.stages[k], "x")[way.cells[k]]]
        for n in range(k, len(t.stages)):
            place, second = (way.cells[n], way.cells[n + 1]) if n > k else ((), way.cells[n + 1])
            if n == k:  # the weight's own slope is its input; what is left is the activation's
                slopes.append(measured(t.stages[n].layer.activation, t.get(t.stages[n], "z"), second, second, h))
            else:
                slopes.append(measured(t.stages[n].layer, t.get(t.stages[n], "x"), place, second, h))
        assert chain.product(chain.links(t, way)) == pytest.approx(float(np.prod(slopes)), rel=1e-5, abs=1e-12)


def live_paths(t, count=6):
    """Paths that carry something, through cells of the first layer from the photo's middle on."""
    at = first_stage(t) + 1
    cells = np.argwhere(t.get(t.stages[at - 1], "y") * t.get(t.stages[at - 1], "dy"))
    ways = (
        chain.begun(t, path.moved(t, chain.start(t), at, tuple(map(int, cell))), at)
        for cell in cells[len(cells) // 3 :]
    )
    return list(itertools.islice((way for way in ways if chain.product(chain.links(t, way))), count))


def measured(layer, x, first, second, h):
    moved = np.zeros_like(x)
    moved[first] = h
    ahead, behind = (layer.forward((x + sign * moved)[None])[0][0][second] for sign in (1, -1))
    return (ahead - behind) / (2 * h)


@pytest.mark.parametrize("name", nets.MODELS)
def test_the_tour_begins_on_a_path_that_carries_something(name):
    t = nets.traced(name)
    way = chain.start(t)
    assert chain.product(chain.links(t, way)) != 0 and way.cells[-1] == (t.target,)
    view = show(t, "C", path.cursor(t, way, find_step(t, "C")))
    table, total = view.parts[0], view.sums[0]
    assert table.rows[-1][1].value == pytest.approx(chain.product(chain.links(t, way)), rel=1e-12)
    assert total.total.value == t.get(t.stages[first_stage(t)], "dkernel")[path.weight(t, way, first_stage(t))]


def test_every_sum_opens_into_all_its_terms():
    t, opens = nets.traced("tiny"), []
    for step in tour(t):
        view = show(t, step, path.cursor(t, chain.start(t), step))
        table = opened(t, view)
        if table:
            opens.append(step.id)
            shown = sum(row[-2].value for row in table.rows)
            assert shown == pytest.approx(view.sums[0].of.terms.sum(), rel=1e-9, abs=1e-15), step
            live = np.count_nonzero(view.sums[0].of.terms)
            assert len(table.rows) in (live, live + 1)  # the zeros stand in one line
    assert {"F3", "F6", "F10", "F11", "B3", "B5", "B8", "B9", "B11", "B12", "C"} <= set(opens)


# ---- the walk


def walk_of(name="tiny", **options):
    return Walk(nets.MODELS[name](), photos.test_photo(9, *nets.test_set()), nets.test_set(), **options)


def press(walk, *keys):
    for key in keys:
        walk.press(key)
    return "\n".join(walk.screen(80, 24, nets.PLAIN))


def test_one_s_own_cell_is_walked_to_the_end_and_back():
    walk = walk_of(step="F6", cursor=Cursor(cell=(2, 9), filter=3, channel=1))
    begun = walk.path
    assert begun.cells[3] == (2, 9, 3) and begun.cells[2] == (2, 9, 1) and begun.cells[1] == (4, 18, 1)
    for _ in walk.tour:
        press(walk, "n")
        assert walk.path == begun
    assert walk.step.id == "C" and walk.view().cursor.cells == begun.cells
    assert "W1[1,1,0,1]" in press(walk, "p") or walk.view().cursor.weight == (1, 1, 0, 1)


def test_moving_any_cell_moves_the_path_and_w_brings_it_back():
    walk = walk_of(step="B9")
    begun = walk.path
    press(walk, "down", "}")
    row, column, channel = begun.cells[2]
    assert walk.path.cells[2] == (row + 1, column, channel + 1) and walk.path.cells[1][:2] == (2 * row + 2, 2 * column)
    assert walk.path.cells[3][:2] == (row + 1, column)
    press(walk, "w")
    assert walk.path == begun
    walk.step = find_step(walk.trace, "B11")
    weight = walk.view().cursor.weight
    press(walk, "up")
    assert walk.view().cursor.weight == (weight[0] - 1, *weight[1:])
    assert walk.path.cells[0][0] == begun.cells[0][0] - 1 and walk.path.cells[1:] == begun.cells[1:]


def test_a_sum_is_opened_scrolled_and_closed():
    walk = walk_of(step="F10")
    assert "all terms of z3[" in press(walk, "\r") and "lines 1 to" in press(walk)
    assert "lines 11 to" in press(walk, "pagedown") and "zeros" in press(walk, *["pagedown"] * 40)
    assert "F10 of F12" in press(walk, "\r")
    walk.step = find_step(walk.trace, "F5")
    assert "nothing to open here" in press(walk, "\r")
