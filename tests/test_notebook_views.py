"""What a notebook shows by itself: models, traces, figures and single steps; and what plain Python prints instead."""

import html
import re
import struct

import numpy as np
import pytest

from cnn import explain, layers, models, photos, plots
from cnn.explain import glance, notebook
from cnn.explain.terminal import text
from cnn.feature_maps import Model
from cnn.terminal import style_of

EVIL = '<script>alert("1")</script>\x1b[2J\nRESULT'


@pytest.fixture(scope="module")
def trace(cnn_model, data_set):
    photo = photos.test_photo(9, *data_set)
    return explain.trace(cnn_model, photo.pixels, None, photo.label, 9)


def unmarked(markup):
    return html.unescape(re.sub(r"<[^>]*>", " ", markup))


def harmless(markup):
    """No tag of a stranger's, nothing loaded from elsewhere."""
    assert "<script" not in markup and "\x1b" not in markup
    assert not re.search(r"""(src|href)=["'](?!data:image/png;base64,)""", markup)
    return True


def test_a_model_shows_its_layers(cnn_model):
    shown = unmarked(cnn_model._repr_html_())
    for words in ("conv2d_1 (Conv2D)", "(None, 14, 14, 64)", "18,496", "Total params: 421,642"):
        assert words in shown
    maps = Model(inputs=cnn_model.inputs, outputs=[cnn_model.layers[0].output])
    assert "conv2d (Conv2D)" in maps._repr_html_()


def test_a_model_that_is_not_built_shows_itself_too():
    assert "0 (unbuilt)" in models.Sequential([layers.Dense(2)])._repr_html_()


def test_names_of_strangers_are_text():
    model = models.Sequential([layers.Input((2, 2, 1)), layers.Flatten(), layers.Dense(2, name=EVIL[:8])], name=EVIL)
    assert harmless(model._repr_html_()) and "alert" in unmarked(model._repr_html_())
    model.class_names = (EVIL, "b")
    t = explain.trace(model, np.ones((2, 2)), source=EVIL)
    assert harmless(t._repr_html_()) and EVIL[:27] in unmarked(t._repr_html_())
    for step in ("F1", "F4", "B1"):
        shown = explain.show(t, step)
        assert harmless(shown._repr_html_().replace(notebook.STYLE, "")) and "\x1b" not in repr(shown)
    assert "\x1b" not in repr(t) and not re.search("^RESULT", repr(t), re.M)


def test_a_trace_shows_photo_answer_and_tensors(trace):
    shown = unmarked(trace._repr_html_())
    assert "photo 9 = test[8]: model says Sandal 1.00, label Sandal: correct" in shown
    assert re.search(r"Sandal\s+1\.0000", shown) and re.search(r"z2\s+\(14, 14, 64\)", shown)
    printed = repr(trace)
    assert len(printed.splitlines()) < 20 and re.search(r"p1 +\(14, 14, 32\) +0 to 0\.7193", printed)


def test_a_figure_shows_itself(cnn_model):
    png = plots.filters(cnn_model)._repr_png_()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert 400 < width < 1500 and height > 100


ALL = [f"{way}{k}" for way in "FB" for k in range(1, 13)] + ["M", "G", "L"]


@pytest.mark.parametrize("step", ALL)
def test_a_step_shows_all_its_numbers(trace, step):
    shown = explain.show(trace, step)
    said = re.sub(r"\s+", " ", unmarked(shown._repr_html_().replace("−", "-")))
    assert shown.view.words.title in said
    for total in shown.view.sums:
        assert total.total.text() in said and all(row.num.text() in said for row in total.rows)
    plain = text.piped(trace, style_of(colour="never"), only=step)
    assert repr(shown) == "\n".join(plain)


def test_a_step_at_a_place(trace):
    assert explain.show(trace, "F3", cell=(14, 15), filter=2).view.cursor.cell == (14, 15)
    assert explain.show(trace, "B8", weight=(1, 0, 29, 61), digits=6).view.cursor.weight == (1, 0, 29, 61)


REFUSED = {
    "a step": (("Q9",), {}, "expected F1 to F12"),
    "a cell": (("F3",), {"cell": 7}, "cell: expected 2 whole numbers, got 7"),
    "a long cell": (("F3",), {"cell": (1, 2, 3)}, "cell: expected 2 whole numbers"),
    "a filter": (("F3",), {"filter": -1}, "filter: expected a whole number"),
    "a weight": (("B8",), {"weight": (1, 2)}, "expected a place of 4 numbers"),
    "digits": (("B8",), {"digits": 40}, "digits: expected a whole number from 3 to 9"),
}


@pytest.mark.parametrize(("place", "options", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_place_is_refused(trace, place, options, reason):
    with pytest.raises(ValueError, match=reason):
        explain.show(trace, *place, **options)


def test_the_largest_number_has_the_deepest_ground_and_the_sign_is_told_twice(trace):
    shown = explain.show(trace, "F3")
    filter_ = next(part for part in shown.view.parts if hasattr(part, "items")).items[2]
    cells = re.findall(r"rgba\(([\d,]+),([\d.]+)\)\">([−+][\d.]+)<", notebook.grid(filter_, 4))
    assert len(cells) == 9
    deepest = max(cells, key=lambda cell: float(cell[1]))
    assert float(deepest[1]) == notebook.DEEPEST
    assert abs(float(deepest[2].replace("−", "-"))) == pytest.approx(np.abs(filter_.values).max(), abs=1e-4)
    for colour, _, number in cells:
        assert colour == notebook.COLOURS[number[0] == "+"]


def test_a_picture_frames_its_cell_and_holds_the_numbers():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    values = np.array([[0.0, 1.0, 0.5], [0.25, 0.0, 0.0]])
    markup = glance.picture(values, at=(1, 2))
    data = b64decode(re.search(r"base64,([^\"]+)", markup)[1])
    grey = np.asarray(Image.open(BytesIO(data)).convert("L"))
    np.testing.assert_allclose(grey / 255, values, atol=1 / 250)
    assert "left:22px;top:10px" in markup
