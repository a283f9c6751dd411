"""The rules of the step-through over all steps of several networks: shown is traced, terms add up, text parses back."""

import inspect
import itertools
import re

import explain_models as nets
import numpy as np
import pytest

from cnn.explain import formulas, voice
from cnn.explain.formulas import find_step, steps
from cnn.explain.parts import Cursor, Grid, Grids, Line, Num, Row, Sum, Table
from cnn.explain.terminal import text
from cnn.explain.terms import Tensors, causes, evaluate
from cnn.explain.views import beside, maps, show
from cnn.explain.views.scene import receptive_field
from kernels import geometry, reference

ARTICLE_STEPS = [f"{letter}{n}" for letter in "FB" for n in range(1, 13)]
CURSORS = [
    Cursor(),
    Cursor(cell=(0, 0), filter=0, channel=0, unit=0, weight=(0, 0, 0, 0)),
    Cursor(cell=(99, 99), filter=99, channel=99, unit=10**6, weight=(9, 9, 99, 99)),
    Cursor(cell=(6, 5), filter=1, channel=1, unit=7, weight=(2, 0, 1, 1)),
    Cursor(cell=(3, 4)),
    Cursor(filter=1),
]


def views(name, number=9):
    """Every view of a network, at every cursor; a Dense layer's weight has two numbers."""
    t = nets.traced(name, number)
    for step, cursor in itertools.product(
        [s.id for s in formulas.tour(t)] + ["G", "L"] + (["M"] if name != "dense" else []), CURSORS
    ):
        kind = find_step(t, step).kind
        if cursor.weight and (kind == "dense-dkernel" or name == "dense"):
            cursor = cursor.but(weight=cursor.weight[:2])
        yield t, show(t, step, cursor)


def numbers(part):
    """All Nums of a part; those of a grid as Nums too."""
    if isinstance(part, Num):
        yield part
    elif isinstance(part, Line | Grids | Table):
        for item in (
            [*part.parts]
            if isinstance(part, Line)
            else part.items
            if isinstance(part, Grids)
            else itertools.chain(*part.rows)
        ):
            yield from numbers(item)
    elif isinstance(part, Grid):
        marks = np.full(part.values.shape, "") if part.marks is None else part.marks
        yield from (
            Num(value, kind=part.kind)
            for value, mark in zip(part.values.flat, marks.flat, strict=True)
            if mark not in ("pad", "blank")
        )
    elif isinstance(part, Sum):
        yield from [row.num for row in part.rows] + [part.total]


def test_the_article_network_has_the_steps_of_the_specification():
    t = nets.traced("tiny")
    assert [step.id for step in steps(t)] == ARTICLE_STEPS
    kinds = {step.id: step.kind for step in steps(t)}
    assert (
        kinds["F9"] == "flatten"
        and kinds["B7"] == kinds["B10"] == "pool-back"
        and kinds["B8"] == "conv-dkernel"
        and kinds["B9"] == "conv-dx"
    )
    with pytest.raises(ValueError, match="expected F1 to F12, B1 to B12, R3, R2, R1, C, M, G, L or S, got 'F13'"):
        find_step(t, "F13")


@pytest.mark.parametrize("name", nets.MODELS)
def test_shown_numbers_are_the_traces_bit_for_bit(name):
    checked = 0
    for t, view in views(name):
        for num in itertools.chain(*map(numbers, view.parts)):
            match = re.fullmatch(r"(.+)\[([\d,]+)\]", num.ref)
            if match and match[1] != "lab":
                assert num.value == t[match[1]][tuple(map(int, match[2].split(",")))], num.ref
                checked += 1
    assert checked > 300


@pytest.mark.parametrize("name", nets.MODELS)
def test_terms_add_up_and_float32_agrees(name):
    for t, view in views(name):
        for total in view.sums:
            assert abs(total.terms.sum() - total.total.value) <= 1e-12 * np.abs(total.terms).sum(), view.step
            assert total.agrees, (view.step, total)
            if total.tensor != "lab":
                assert total.production == t.production[total.tensor][total.index]
                assert total.scale == np.abs(t.production[total.tensor]).max()


@pytest.mark.parametrize("name", nets.MODELS)
def test_every_step_has_a_sum_that_is_checked(name):
    for _, view in views(name):
        if view.step.kind not in ("input", "padding", "check", "input-gradient"):
            assert view.sums, view.step


@pytest.mark.parametrize("digits", [3, 4, 6])
def test_printed_numbers_parse_back(digits):
    for _, view in itertools.chain(views("tiny"), views("sure"), views("odd")):
        lines = "\n".join(text.render(view, 200, digits))
        for num in itertools.chain(*map(numbers, view.parts)):
            printed = num.text(digits)
            mantissa, _, exponent = printed.removesuffix(" %").partition("e")
            decimals = len(mantissa.partition(".")[2])
            assert abs(voice.parsed(printed) - num.value) <= 0.5000001 * 10.0 ** (int(exponent or 0) - decimals), (
                view.step,
                num,
                printed,
            )
            assert printed in lines, (view.step, num, printed)


@pytest.mark.parametrize(
    ("value", "kind", "printed"),
    [
        (-1e-9, "product", "+0.00000"),
        (-1e-9, "value", "0.0000"),
        (1.23456e-7, "gradient", "+1.235e-07"),
        (0.0, "gradient", "0"),
        (-12.0, "gradient", "-12.00"),
        (0.00012345, "probability", "1.234e-04"),
        (1.0, "probability", "1.0000"),
        (5, "count", "5"),
        (33.333, "percent", "33.3 %"),
        (0.5, "total", "+0.500000"),
    ],
)
def test_number(value, kind, printed):
    assert Num(value, kind=kind).text() == printed


def test_what_the_shown_figures_add_to_is_said_where_it_differs():
    def shown_sum(total, *figures):
        return text.shown_sum(Row("sum", Num(total, kind="total"), tuple(Num(x, kind="product") for x in figures)), 4)

    assert shown_sum(0.3, 0.1, 0.2) == ""
    assert shown_sum(0.000009, 0.0000045, 0.0000045) == "(shown figures add to +0.000000)"


def test_every_step_names_a_line_of_source():
    for _, view in itertools.chain(views("tiny"), views("dense"), views("odd")):
        for code in view.words.code:
            assert code.needle in inspect.getsource(inspect.unwrap(getattr(code.function, "py_func", code.function)))
        if view.words.code:
            assert text.source_lines(view, 80, 15)[0].startswith(" ") and any(
                line.startswith(">") for line in text.source_lines(view, 80, 15)
            )
        else:
            assert view.step.kind in ("input",)


def test_zero_terms_are_counted_once_by_cause():
    t = nets.traced("tiny")
    for step in ("B8", "B11"):
        for weight in ((0, 0, 0, 0), (1, 1, 0, 2), (2, 2, 0, 1)):
            view = show(t, step, Cursor(weight=weight))
            stage = t.stages[view.step.stage]
            u, w, c, f = view.cursor.weight
            columns, dz = t.get(stage, "columns")[:, :, u, w, c], t.get(stage, "dz")[..., f]
            terms = evaluate(view.words.sentence, Tensors(t), dict(zip("uvcf", view.cursor.weight, strict=True)))
            counts = causes(t, view.step.stage, terms)
            assert sum(counts.values()) == np.sum(columns * dz == 0)
            assert counts.get("ReLU closed", 0) == np.sum(t.get(stage, "z")[..., f] <= 0)


@pytest.mark.parametrize("place", [(0, 0, 0), (13, 13, 2), (0, 6, 1), (7, 7, 0)])
def test_scatter_equals_gather(place):
    t = nets.traced("tiny")
    stage = t.stages[2]
    sentence = formulas.formula(t, find_step(t, "B9")).sentence
    found = evaluate(sentence, Tensors(t), dict(zip("rsc", place, strict=True)))
    scatter, marks = maps.scattered(found, stage.layer)
    gather, terms = maps.gathered(stage.layer, t["dz2"], t["W2"], place), found.terms[found.inside]
    np.testing.assert_allclose(scatter[::-1, ::-1], gather, rtol=0, atol=1e-15)
    assert abs(gather.sum() - t["dp1"][place]) <= 1e-12 * np.abs(terms).sum()
    assert len(terms) == 4 * {0: 4, 1: 6, 2: 9}[sum(0 < x < 13 for x in place[:2])]
    assert (marks == "").sum() * 4 == len(terms)


def test_pool_winners_and_ties():
    t = nets.traced("tiny")
    for i, j, f in np.ndindex(t["p1"].shape):
        window = t["a1"][2 * i : 2 * i + 2, 2 * j : 2 * j + 2, f]
        if i % 5 == 0 and j % 5 == 0:
            view = show(t, "F5", Cursor(cell=(i, j), filter=f))
            tie = int((window == window.max()).sum())
            said = "".join(
                str(p) for part in view.parts if isinstance(part, Line) for p in part.parts if isinstance(p, str)
            )
            assert (f"{tie} cells are equal" in said) == (tie > 1)


def test_receptive_fields():
    t = nets.traced("tiny")
    assert receptive_field(t, 0, (10, 10)) == (9, 11, 9, 11)
    assert receptive_field(t, 1, (5, 5)) == (9, 12, 9, 12)
    low, high, *_ = receptive_field(t, 3, (3, 3))
    assert high - low + 1 == 10
    assert receptive_field(t, 3, (0, 0)) == (0, 6, 0, 6)


@pytest.mark.parametrize(
    ("step", "other"),
    [
        ("F3", "B11"),
        ("F5", "B10"),
        ("F6", "B8"),
        ("F9", "B6"),
        ("F10", "B4"),
        ("F11", "B2"),
        ("F12", "B1"),
        ("F1", "B12"),
    ],
)
def test_twins(step, other):
    t = nets.traced("tiny")
    assert formulas.twin(t, find_step(t, step)).id == other
    assert formulas.twin(t, find_step(t, other)).stage == find_step(t, step).stage


# ---- M, G, L, S


@pytest.mark.parametrize(("k", "s", "padding"), list(itertools.product(voice.SIZES, voice.STRIDES, voice.PADDINGS)))
def test_lab_equals_the_reference_loops(k, s, padding):
    x = nets.test_set()[0][8] / 255.0
    t = nets.traced("tiny")
    for image, preset in ((voice.TOY, "outline"), (x, "learned")):
        if padding == "valid" and k > len(image):
            continue
        lab = beside.run_lab(
            image,
            beside.lab_kernel(t, voice.LabSettings(k, s, padding, preset), 1),
            voice.LabSettings(k, s, padding, preset),
        )
        out, before, after = geometry.window_geometry(len(image), k, s, padding)
        assert lab.z.shape == (out, out) and lab.pads == (before, after, before, after)
        columns = reference.im2col(image[None, ..., None], (k, k), (s, s), lab.pads)[0, ..., 0]
        np.testing.assert_allclose(lab.z, np.einsum("ijuv,uv->ij", columns, lab.kernel), atol=1e-12)


@pytest.mark.parametrize(
    ("size", "k", "s", "padding", "out", "pads", "unused"),
    [
        (28, 3, 1, "same", 28, (1, 1), 0),
        (28, 3, 2, "same", 14, (0, 1), 0),
        (5, 3, 2, "same", 3, (1, 1), 0),
        (28, 7, 1, "same", 28, (3, 3), 0),
        (28, 2, 1, "same", 28, (0, 1), 0),
        (28, 3, 2, "valid", 13, (0, 0), 1),
    ],
)
def test_the_articles_cases(size, k, s, padding, out, pads, unused):
    settings = voice.LabSettings(k, s, padding, "blur")
    lab = beside.run_lab(np.ones((size, size)), beside.lab_kernel(None, settings), settings)
    assert lab.z.shape == (out, out) and lab.pads == (*pads, *pads) and lab.unused == (unused, unused)


def test_a_window_too_large_for_the_image_is_said():
    t = nets.traced("tiny")
    with pytest.raises(ValueError, match="at least 7 x 7"):
        show(t, "L", Cursor(lab=voice.LabSettings(7, 1, "valid", "blur", toy=True)))


def test_gradient_check_agrees_or_names_the_kink():
    t = nets.traced("tiny")
    for weight in ((0, 2, 1, 3), (1, 1, 0, 0), (2, 2, 2, 2)):
        view = show(t, "G", Cursor(weight=weight))
        words = "".join(part for line in view.parts if isinstance(line, Line) for part in line.parts)
        assert words == "kinks 0: the two slopes agree" or words.startswith("kink: ")
    results = beside.check_sample(t, samples=30).results
    assert {r.name for r in results} == {
        *(f"{s.layer.name}/{key}" for s in t.stages for key in s.layer.params),
        "input",
    }
    assert not [r.name for r in results if r.verdict == "WRONG"]


def test_a_wrong_gradient_is_found(monkeypatch):
    from cnn.layers import Conv2D

    original = Conv2D.weight_grads
    monkeypatch.setattr(
        Conv2D, "weight_grads", lambda self, x, dz: {key: 1.01 * g for key, g in original(self, x, dz).items()}
    )
    t = nets.trace(nets.tiny(), nets.test_set()[0][8], 3)
    words = "".join(part for line in show(t, "G").parts if isinstance(line, Line) for part in line.parts)
    assert words == "kinks 0: the two slopes DIFFER"


def test_float32_layers_that_compute_something_else_are_found(monkeypatch):
    t = nets.traced("tiny")
    production = {**t.production, "z1": t.production["z1"] * np.float32(1.001)}
    from dataclasses import replace

    lines = text.render(show(replace(t, production=production), "F3"))
    assert "DIFFERS" in lines[-1] and "agrees" in text.render(show(t, "F3"))[-1]


def test_moved_photos_move_the_maps():
    view = show(nets.traced("tiny"), "S")
    words = text.render(view)
    assert sum("exactly" in line for line in words) == 3 and not any("NOT exactly" in line for line in words)
    rows = view.parts[0].rows
    assert [row[0] for row in rows] == list(beside.CHANGES)
    right = [sum(row[k] == "+" for row in rows) for k in (1, 4)]
    assert f"this network {right[0]}, dense net {right[1]} of {len(rows)}" in "".join(view.parts[1].parts)


@pytest.mark.parametrize("name", ["tiny", "odd", "normalized"])
@pytest.mark.parametrize("number", [1, 9, 12])
def test_padding_is_shown_where_most_can_be_seen_beside_it(name, number):
    """F2 shows a piece that reaches into the padding, and no other such piece of its size holds more."""
    t = nets.traced(name, number)
    for step in (step for step in steps(t) if step.kind == "padding"):
        [shown] = next(part for part in show(t, step).parts if isinstance(part, Grids)).items
        pads, (height, width) = formulas.pads(t.stages[step.stage].layer), shown.values.shape
        padded = np.pad(t.get(t.stages[step.stage], "x")[..., 0], (pads[:2], pads[2:]))
        pieces = {}
        sizes = zip(padded.shape, shown.values.shape, strict=True)
        for row, column in itertools.product(*(range(whole - part + 1) for whole, part in sizes)):
            inside = pads[0] <= row and row + height <= padded.shape[0] - pads[1]
            inside &= pads[2] <= column and column + width <= padded.shape[1] - pads[3]
            piece = padded[row : row + height, column : column + width]
            pieces[row - pads[0], column - pads[2]] = -1.0 if inside else np.abs(piece).sum()
        row, column = map(int, re.findall(r"-?\d+", shown.caption))
        assert pieces[row, column] == max(pieces.values()) and (pieces[row, column] > 0 or not any(pads))
        at = row + pads[0], column + pads[2]
        assert (shown.values == padded[at[0] : at[0] + height, at[1] : at[1] + width]).all()
        assert (np.asarray(shown.marks) == "pad").any() == any(pads)
