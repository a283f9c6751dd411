"""The pictures: their data against the model, and what is written on them."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn import layers, photos, plots, pretrained, saving
from cnn.datasets import fashion_mnist
from cnn.models import Sequential
from cnn.photos import comparison

NAMES = fashion_mnist.CLASS_NAMES


@pytest.fixture(scope="module")
def model():
    return saving.load_model(pretrained.path("cnn"))


@pytest.fixture(scope="module")
def data_set():
    return fashion_mnist.load_split("test")


@pytest.fixture(scope="module")
def chosen(data_set):
    return [photos.test_photo(number, *data_set) for number in range(1, 21)]


@pytest.fixture(scope="module")
def predictions(model, chosen):
    return photos.predict(model, chosen)


def shown(figure):
    """The arrays of all images of a figure, in order; those of colour bars left out."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def texts(figure):
    figure.draw_without_rendering()
    return [
        text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_visible()
    ]


def test_the_sheet_shows_the_photos_and_what_is_said_of_them(chosen, predictions):
    figure = plots.photo_sheet(chosen, NAMES, predictions)
    assert isinstance(figure, Figure)
    for array, photo in zip(shown(figure), chosen, strict=True):
        np.testing.assert_array_equal(array, photo.pixels)
    words = texts(figure)
    for photo, said in zip(chosen, predictions, strict=True):
        assert f"{photo.number}  {NAMES[photo.label]}" in words
        assert any(word.startswith(f"{'✓' if said.right else '✗'} {said.says} ") for word in words)
    assert f"{sum(p.right for p in predictions)} of 20 right" in " ".join(words)


def test_the_sheet_without_a_model_says_nothing_of_right_and_wrong(chosen):
    words = " ".join(texts(plots.photo_sheet(chosen[:7], NAMES)))
    assert "7  Coat" in words and "✓" not in words and "8  " not in words


@pytest.mark.parametrize("index", [8, 6])
def test_the_card_has_the_models_probabilities(predictions, index):
    figure = plots.prediction_card(predictions[index])
    left, right = figure.axes
    np.testing.assert_array_equal(left.images[0].get_array(), predictions[index].photo.pixels)
    np.testing.assert_array_equal([bar.get_width() for bar in right.patches], predictions[index].probabilities)
    words = texts(figure)
    assert f"The model says {predictions[index].says}: {'right ✓' if predictions[index].right else 'wrong ✗'}" in words
    assert f"{NAMES[predictions[index].photo.label]} ◀ label" in words
    assert bool(right.patches[predictions[index].photo.label].get_hatch()) == (not predictions[index].right)


def test_the_card_of_an_own_photo_has_no_label(predictions):
    figure = plots.prediction_card(predictions[0]._replace(photo=photos.Photo(predictions[0].photo.pixels, "boot.png")))
    words = " ".join(texts(figure))
    assert "boot.png" in words and "label" not in words and "✓" not in words and "✗" not in words


def test_filters_are_the_first_kernel_on_one_scale(model):
    figure = plots.filters(model)
    kernel = model.layers[0].params["kernel"]
    arrays = shown(figure)
    for f in range(32):
        np.testing.assert_array_equal(arrays[f], kernel[:, :, 0, f])
    limits = {image.get_clim() for axes in figure.axes[:32] for image in axes.images}
    assert limits == {(-float(np.abs(kernel).max()), float(np.abs(kernel).max()))}
    printed = [text.get_text().replace("−", "-") for text in figure.axes[4].texts]
    np.testing.assert_allclose([float(number) for number in printed], kernel[:, :, 0, 4].ravel(), atol=0.00501)


@pytest.mark.parametrize(("layer", "index", "count"), [(None, 0, 32), ("conv2d_1", 2, 64)])
def test_feature_maps_are_what_the_layers_give(model, chosen, layer, index, count):
    x = photos.model_input(model, chosen[8].pixels[None])
    for stage in model.layers[: index + 1]:
        x, _ = stage.forward(x)
    figure = plots.feature_maps(model, chosen[8], layer)
    arrays = shown(figure)[:count]
    np.testing.assert_array_equal(np.stack(arrays, axis=-1), x[0])
    assert len({image.get_clim() for axes in figure.axes[:count] for image in axes.images}) == 1


def test_activations_end_in_the_prediction(model, chosen, predictions):
    values = plots.activations(model, chosen[8].pixels)
    assert list(values) == [layer.name for layer in model.layers]
    np.testing.assert_allclose(values[model.layers[-1].name], predictions[8].probabilities, atol=1e-6)


def test_the_journey_pools_the_maps_that_it_shows(model, chosen):
    first, *arrays = shown(plots.journey(model, chosen[8], maps=3))
    np.testing.assert_array_equal(first, chosen[8].pixels)
    by_shape = {size: [a for a in arrays if a.shape == (size, size)] for size in (28, 14, 7)}
    assert {size: len(found) for size, found in by_shape.items()} == {28: 3, 14: 6, 7: 3}
    pooled = [a.reshape(14, 2, 14, 2).max(axis=(1, 3)) for a in by_shape[28]]
    for expected in pooled:
        assert any(np.array_equal(expected, a) for a in by_shape[14])


def test_one_step_of_the_convolution_adds_up_to_the_layers_own_number(model, chosen):
    i, j, f = 13, 8, 21
    figure = plots.convolution_step(model, chosen[8], (i, j), f)
    _, window, kernel, products = shown(figure)
    np.testing.assert_allclose(window * kernel, products)
    z = float(model.layers[0].forward(photos.model_input(model, chosen[8].pixels[None]))[1].z[0, i, j, f])
    said = figure.get_supxlabel()
    assert float(re.search(r"=  ([+-][\d.]+)", said).group(1)) == pytest.approx(z, abs=6e-5)
    assert float(re.search(r"= ([\d.]+)$", said).group(1)) == pytest.approx(max(z, 0), abs=6e-5)


def test_a_window_at_the_corner_shows_the_padding(model, chosen):
    _, window, _, _ = shown(plots.convolution_step(model, chosen[0], (0, 0), 0))
    assert window.shape == (3, 3) and not window[0].any() and not window[:, 0].any()


def test_stride_and_padding_says_what_the_layers_do():
    titles = [axes.get_title(loc="left") for axes in plots.stride_and_padding().axes]
    pattern = r"stride (\d), '(\w+)':  (\d+) → (\d+),  padding (\d) before and (\d) after"
    assert [re.search(pattern, title).groups() for title in titles] == [
        ("1", "same", "28", "28", "1", "1"),
        ("2", "same", "28", "14", "0", "1"),
        ("2", "valid", "28", "13", "0", "0"),
        ("2", "same", "5", "3", "1", "1"),
    ]
    for title in titles:
        stride, padding, size, out = re.search(r"stride (\d), '(\w+)':  (\d+) → (\d+)", title).groups()
        conv = layers.Conv2D(1, 3, strides=int(stride), padding=padding)
        assert conv(np.zeros((1, int(size), int(size), 1))).shape[1] == int(out)


def test_pooling_shows_the_largest_of_each_four(model, chosen):
    before, after = shown(plots.pooling_step(model, chosen[8], 21, (10, 6)))
    np.testing.assert_array_equal(before.reshape(3, 2, 3, 2).max(axis=(1, 3)), after)


def test_comparison_draws_the_counts_and_their_intervals(data_set, model):
    dense = saving.load_model(pretrained.path("dense"))
    result = comparison.compare({"CNN": model, "dense": dense}, data_set[0][:200], data_set[1][:200])
    figure = plots.comparison(result)
    sandal = NAMES.index("Sandal")
    for column, label in ((0, None), (1, sandal)):
        for row, name in ((0, lambda d: comparison.shift_name(d, 0)), (1, lambda d: comparison.shift_name(0, d))):
            for line, network in zip(figure.axes[2 * row + column].lines, ("CNN", "dense"), strict=True):
                expected = [result.score(network, name(d), label).share for d in range(-6, 7)]
                np.testing.assert_array_equal(line.get_ydata(), expected)
        heights = [bar.get_height() for bar in figure.axes[4 + column].patches]
        assert heights == [result.score(n, c, label).share for n in ("CNN", "dense") for c in comparison.WHOLE]
    assert {bar.get_hatch() for bar in figure.axes[4].patches[4:]} == {"////"}  # told apart without colour


@pytest.mark.parametrize(
    "draw", [plots.filters, lambda m: plots.feature_maps(m, None), lambda m: plots.journey(m, None)]
)
def test_a_model_without_a_convolution_has_no_filters(draw):
    model = Sequential([layers.Flatten(input_shape=(28, 28, 1)), layers.Dense(10)])
    with pytest.raises(ValueError, match="expected a model with a convolution"):
        draw(model)


def test_a_picture_is_the_same_bytes_each_time(tmp_path, predictions):
    from cnn.commands.shared import pictures

    for name in ("a.png", "b.png"):
        pictures.write(plots.prediction_card(predictions[8]), str(tmp_path / name))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_dollars_in_names_are_no_mathematics(tmp_path, chosen, predictions):
    """matplotlib would set what stands between two of them in italics, or raise an error for what it does not know."""
    names = ("$5 to $9", r"$\nonsense$", *NAMES[2:])
    said = [prediction._replace(class_names=names) for prediction in predictions]
    counts = np.diag(np.arange(10))
    for figure in (
        plots.photo_sheet(chosen, names, said),
        plots.prediction_card(said[0]),
        plots.confusion_matrix(counts, names),
    ):
        figure.savefig(tmp_path / "figure.png")
        texts = figure.findobj(lambda artist: names[0] in getattr(artist, "get_text", str)())
        assert texts and not any(text.get_parse_math() for text in texts)
