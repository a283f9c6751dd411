"""The figures hold the trace's numbers: what the artists draw is compared with the arrays."""

import explain_models as nets
import numpy as np
import pytest

from cnn.explain import figures, trace
from cnn.explain.chain import looked_at
from cnn.explain.formulas import find_step
from cnn.explain.views import show


def make(name, model="tiny", number=9):
    key = next(key for key in figures.FIGURES if key.startswith(name))
    t = nets.traced(model, number)
    figure, data = figures.FIGURES[key](t, nets.test_set())
    return t, figure, data


def images(figure):
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def texts(figure):
    return [words.get_text() for axes in figure.axes for words in axes.texts]


def test_there_are_fourteen_in_fifteen_files():
    assert {name[:2] for name in figures.FIGURES} == {f"{n:02}" for n in range(1, 15)}
    assert len(figures.FIGURES) == 15


def test_what_a_network_has_nothing_for_is_known_before_it_is_drawn():
    """The dense net has no convolution and no pooling; a network of other photos is not compared on these."""
    left_out = lambda t: {name[:2] for name in figures.FIGURES if figures.missing(t, name)}
    assert left_out(nets.traced("dense")) == {"02", "04", "05", "06", "10", "13"}
    assert left_out(nets.traced("odd")) == left_out(nets.traced("tiny")) == set()
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    assert left_out(trace(nets.colour(), photo)) == {"06", "07", "12"}
    make("07", "dense")


def test_large_windows_and_long_names_have_room():
    """02: each number of a 5x5 window inside its cell; 09: each title beside the next."""
    t, test = trace(nets.deep(), nets.test_set()[0][8], None, 5, 9), nets.test_set()
    figure, _ = figures.convolution(t, test)
    figure.draw_without_rendering()
    for axes in figure.axes[1:]:
        cell = axes.get_window_extent().width / 5
        assert all(words.get_window_extent().width < cell for words in axes.texts) and len(axes.texts) == 25
    figure, _ = figures.gradient_flow(t, test)
    figure.draw_without_rendering()
    titles = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_visible()]
    assert not any(a.overlaps(b) for k, a in enumerate(titles) for b in titles[:k])


def test_01_photos():
    _, figure, data = make("01")
    pixels, labels = nets.test_set()
    assert np.array_equal(data["pixels"], pixels[:20]) and data["labels"] == labels[:20].tolist()
    assert data["predicted"] == [nets.traced("tiny", k).predicted for k in range(1, 21)]
    assert all(np.array_equal(shown, photo) for shown, photo in zip(images(figure), pixels[:20], strict=True))


def test_02_convolution():
    t, figure, data = make("02")
    photo, window, weights, products = images(figure)
    i, j, f = *data["cell"], data["filter"]
    assert np.array_equal(photo, t["x"][..., 0]) and np.array_equal(window, t["columns1"][i, j, :, :, 0])
    assert np.array_equal(weights, t["W1"][:, :, 0, f]) and np.array_equal(products, window * weights)
    assert data["z"] == t["z1"][i, j, f] and f"= z1[{i},{j},{f}] {data['z']:+.6f}" in figure._supxlabel.get_text()
    assert [float(word) for word in texts(figure)[9:18]] == pytest.approx(weights.ravel().tolist(), abs=5.1e-4)


def test_03_stride_and_padding():
    _, figure, data = make("03")
    assert data[28, 2, "same"] == (14, 0, 1) and data[5, 2, "same"] == (3, 1, 1) and data[28, 2, "valid"] == (13, 0, 0)
    assert len(figure.axes) == len(data) == 4
    for axes, ((size, stride, padding), (out, before, after)) in zip(figure.axes, data.items(), strict=True):
        drawn = axes.get_title(loc="left")
        assert drawn.startswith(
            f"stride {stride}, '{padding}':  {size} → {out},  padding {before} before and {after} after"
        )


def test_04_filters_and_05_maps():
    t, figure, data = make("04")
    assert all(np.array_equal(shown, t.production["W1"][:, :, 0, f]) for f, shown in enumerate(images(figure)[:3]))
    for name, tensor, count in (("05a", "a1", 3), ("05b", "a2", 4)):
        _, figure, data = make(name)
        assert np.array_equal(data["maps"], t.production[tensor])
        for f, shown in enumerate(images(figure)[:count]):
            np.testing.assert_allclose(shown, t[tensor][..., f], atol=1e-5 * t[tensor].max())


def test_06_pooling():
    t, figure, data = make("06", number=12)
    region, after = images(figure)
    assert np.array_equal(region, data["region"]) and np.array_equal(after, data["after"])
    assert np.array_equal(after, region.reshape(2, 2, 2, 2).max(axis=(1, 3)))
    assert [t["a1"][r, s, data["filter"]] for r, s in data["winners"]] == after.ravel().tolist()
    assert sum("equal" in word for word in texts(figure)) == data["ties"]


def test_07_flatten():
    t, figure, data = make("07")
    assert np.array_equal(t["f"][data["indices"]], data["map"])
    assert [int(word) for word in texts(figure)] == data["indices"].ravel().tolist()
    assert np.array_equal(figure.axes[1].lines[0].get_ydata(), t["f"])


def test_08_prediction():
    t, figure, data = make("08")
    bars = figure.axes[1].patches
    assert [bar.get_width() for bar in bars] == pytest.approx(t["p"].tolist(), abs=1e-6) and np.array_equal(
        data["p"], t.production["p"]
    )


def test_09_gradient_flow():
    t, figure, data = make("09")
    assert list(data) == ["dlogits", "da3", "dz3", "df", "dp2", "da2", "dz2", "dp1", "da1", "dz1", "dx"]
    for name, drawn in data.items():
        size = np.abs(t[name])
        assert np.array_equal(drawn["drawn"], size.sum(axis=2) if size.ndim == 3 else size)
        assert drawn["zeros"] == np.mean(t[name] == 0)
    assert np.array_equal(images(figure)[-1], np.abs(t["dx"][..., 0]))


def test_10_weight_gradient():
    t, figure, data = make("10")
    total = show(t, "B8", looked_at(t, find_step(t, "B8"))).sums[0]
    assert [bar.get_height() for bar in figure.axes[0].patches] == data["bars"].tolist()
    assert data["total"] == t["dW2"][total.index] == pytest.approx(data["running"][-1], abs=1e-12)
    assert f"{total.terms.size} products, {np.count_nonzero(total.terms)} count" in figure.axes[0].get_title(loc="left")


def test_11_gradient_check():
    _, figure, data = make("11")
    on_line, kinks = figure.axes[0].lines[1:]
    assert np.array_equal(on_line.get_xdata(), data["smooth"][:, 0]) and np.array_equal(
        kinks.get_ydata(), data["kinks"][:, 1]
    )
    assert len(data["smooth"]) == sum(r.checked for r in data["results"]) and "WRONG" not in figure.axes[0].get_title(
        loc="left"
    )


def test_12_shift_curves(monkeypatch):
    monkeypatch.setattr(figures, "COMPARED", 40)
    _, _, data = make("12")
    labels = nets.test_set()[1][:40]
    predicted = np.array([nets.traced("tiny", k).predicted for k in range(1, 41)])
    assert data["result"].score("CNN", "as they are").correct == (predicted == labels).sum()


def test_13_im2col():
    t, figure, _ = make("13")
    columns, kernel, z = images(figure)
    np.testing.assert_allclose(columns @ kernel + t["b1"], z, atol=1e-12)
    assert np.array_equal(z, t["z1"].reshape(784, 3))


def test_14_descent():
    t, figure, data = make("14")
    drawn = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert drawn == list(data["losses"].values())
    rate, values = next(iter(data["losses"].items()))
    assert values[0] == t.loss and values[-1] < values[0] and len(values) == figures.STEPS + 1
    from cnn.explain.trace import update

    assert values[1] == pytest.approx(update(t, t.stages[0], (0, 0, 0, 0), rate).loss_all, rel=1e-12)


def test_the_command_writes_them_small_and_the_same_each_time(tmp_path, monkeypatch, capsys):
    from cnn.commands import cli

    monkeypatch.setattr(figures, "COMPARED", 20)
    nets.tiny().save(tmp_path / "tiny.npz")
    for folder in ("a", "b"):
        assert (
            cli.main(["explain", "9", "--model", str(tmp_path / "tiny.npz"), "--figures", str(tmp_path / folder)]) == 0
        )
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"{name}.png" for name in figures.FIGURES] and capsys.readouterr().out == ""
    for name in names:
        first = (tmp_path / "a" / name).read_bytes()
        assert len(first) < 400_000 and first == (tmp_path / "b" / name).read_bytes()


def test_sums_print_what_the_figures_print():
    t = nets.traced("tiny")
    assert show(t, "F3").sums[0].total.text() == f"{t['z1'][show(t, 'F3').sums[0].index]:+.6f}"
