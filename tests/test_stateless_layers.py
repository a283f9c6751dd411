"""Layers without weights: pooling by the mean, padding, reshaping, scaling, dropped maps, inputs."""

import gates
import numpy as np
import pytest

import cnn
from cnn import gradcheck, layers, models, photos
from cnn.layers import average_pooling, scaling

X = np.random.default_rng(0).standard_normal((3, 7, 8, 2))


# ---- pooling


@pytest.mark.parametrize("size", [2, 3, (2, 3), (9, 1)])
@pytest.mark.parametrize("strides", [None, 1, 2, (1, 3)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_mean_goes_over_what_lies_inside_the_photo(size, strides, padding):
    layer = layers.AveragePooling2D(size, strides, padding)
    if padding == "valid" and size == (9, 1):
        with pytest.raises(ValueError, match="AveragePooling2D: expected input of at least 9 x 1"):
            layer(X)
        return
    y = layer(X)
    (ph, pw), (sh, sw) = layer.pool_size, layer.strides
    _, _, (top, _, left, _) = layers.place_windows(layer, X.shape[1:], layer.pool_size)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            r, s = i * sh - top, j * sw - left
            window = X[:, max(r, 0) : r + ph, max(s, 0) : s + pw]
            np.testing.assert_allclose(y[:, i, j], window.mean(axis=(1, 2)), rtol=0, atol=1e-14)


def test_a_mean_of_ones_is_one_at_the_border_too():
    assert (layers.AveragePooling2D(3, 1, "same")(np.ones((1, 5, 5, 1))) == 1).all()


def test_the_first_of_equal_maxima_of_a_map_wins():
    layer = layers.GlobalMaxPooling2D()
    y, cache = layer.forward(np.zeros((1, 2, 2, 1)))
    assert layer.backward(np.ones_like(y), cache)[0].ravel().tolist() == [1, 0, 0, 0]


def test_a_change_of_the_maximum_of_a_map_is_a_kink():
    layer, x = layers.GlobalMaxPooling2D(), np.array([1.0, 1.001, 0, 0]).reshape(1, 2, 2, 1)
    moved = x + np.array([0.01, 0, 0, 0]).reshape(1, 2, 2, 1)
    passes = [gradcheck.Pass(layer, one, layer.forward(one)[1]) for one in (x, moved)]
    assert gradcheck.crossings(*passes) == 1 and gradcheck.crossings(passes[0], passes[0]) == 0


# ---- scaling


def test_adapt_measures_along_its_axes():
    for axis, others in ((-1, (0, 1, 2)), (None, (0, 1, 2, 3)), ((1, 3), (0, 2)), ((1, 2, 3), 0)):
        layer = layers.Normalization(axis)
        layer.adapt(X)
        y = layer(X)
        np.testing.assert_allclose(y.mean(axis=others), 0, atol=1e-14)
        np.testing.assert_allclose(y.std(axis=others), 1, rtol=1e-14)
        back = layers.Normalization(axis, layer.mean, layer.variance, invert=True)
        np.testing.assert_allclose(back(y), X, rtol=0, atol=1e-14)


def test_adapt_takes_bytes_lists_and_batches():
    photos = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    whole = layers.Normalization()
    whole.adapt(photos)
    for data in ([photos[:7], photos[7:]], iter([photos[:7], photos[7:]]), photos.tolist()):
        layer = layers.Normalization()
        layer.adapt(data)
        np.testing.assert_array_equal(layer.mean, whole.mean)
    numbers = layers.Normalization(axis=None)
    numbers.adapt([1, 2, 3])
    assert (numbers.mean, numbers([2.0])) == (2, [0])


def test_before_it_is_adapted_nothing_is_changed_and_no_deviation_is_zero():
    layer = layers.Normalization()
    np.testing.assert_array_equal(layer(X), X)
    layer.adapt(np.ones((4, 2)))
    assert np.isfinite(layer(X)).all()


def test_rescaling_of_bytes():
    y = layers.Rescaling(1 / 127.5, offset=-1)(np.array([[0, 255]], np.uint8))
    assert y.dtype == np.float32 and y.tolist() == [[-1, 1]]


def test_a_model_with_a_layer_of_its_own_for_it_takes_bytes_as_they_are():
    dense = layers.Dense(10, "softmax")
    model = models.Sequential([layers.Rescaling(1 / 255, input_shape=(28, 28, 1)), layers.Flatten(), dense])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    ours = photos.probabilities(model, pixels)
    np.testing.assert_allclose(ours, dense(pixels.reshape(3, -1) / np.float32(255)), rtol=1e-5)


# ---- drop, input, names


def test_a_map_is_dropped_as_a_whole():
    y, _ = layers.SpatialDropout2D(0.5).forward(np.ones((8, 4, 5, 6)), training=True, rng=np.random.default_rng(0))
    assert (y == y[:, :1, :1]).all() and set(np.unique(y)) == {0, 2}
    assert 0.3 < (y[:, 0, 0] == 0).mean() < 0.7


@pytest.mark.parametrize("rate", [0, 0.25])
def test_dropout_drops_when_it_is_called_in_training(rate):
    for make in (layers.Dropout, layers.SpatialDropout2D):
        layer, x = make(rate, seed=3), np.ones((5, 4, 4, 40))
        assert (layer(x) == x).all()
        first, second = layer(x, training=True), layer(x, training=True)
        assert (first != second).any() == (first != x).any() == bool(rate)
    assert layers.Dropout(0.5).get_config() == {"rate": 0.5, "name": None}
    assert layers.Dropout(0.5, seed=3).get_config() == {"rate": 0.5, "seed": 3, "name": None}


@pytest.mark.parametrize(
    "first",
    [
        cnn.Input((6, 6, 1)),
        layers.Input(shape=(6, 6, 1), batch_size=32, name="photo", dtype="float32", sparse=False),
        layers.InputLayer(input_shape=(6, 6, 1)),
        layers.InputLayer(batch_shape=(None, 6, 6, 1)),
        layers.Input(batch_shape=[32, 6, 6, 1]),
    ],
)
def test_ways_to_say_the_shape_of_the_input(first):
    model = models.Sequential([first, layers.Flatten()])
    assert model.input_shape == (None, 6, 6, 1) and model.output_shape == (None, 36)


def test_keras_other_names():
    assert layers.AvgPool2D is layers.AveragePooling2D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
    assert layers.GlobalMaxPool2D is layers.GlobalMaxPooling2D


def test_keras_arguments_at_keras_defaults():
    layers.Conv2D(1, 3, (1, 1), "valid", data_format=None, dilation_rate=(1, 1), groups=1, kernel_constraint=None)
    layers.Conv2D(1, 3, data_format="channels_last", dilation_rate=1, bias_constraint=None, dtype="float32")
    layers.Dense(1, "relu", True, "glorot_uniform", "zeros", kernel_constraint=None, activity_regularizer=None)
    layers.MaxPooling2D(2, None, "valid", data_format="channels_last")
    layers.GlobalMaxPooling2D(data_format="channels_last")
    layers.Flatten(data_format=None)
    layers.Flatten("channels_last")
    assert layers.Dense(2, input_dim=3).declared_shape == (3,)
    layers.Dropout(0.5, noise_shape=None, seed=None)
    layers.ReLU(max_value=None, negative_slope=0.0, threshold=0.0)


# ---- errors

BAD = {
    "not a photo": (
        lambda: layers.GlobalAveragePooling2D()(np.ones((2, 5))),
        r"expected input \(H, W, C\), got \(5,\)",
    ),
    "padding of a row": (lambda: layers.ZeroPadding2D()(np.ones((2, 5))), r"ZeroPadding2D: expected input \(H, W, C\)"),
    "padding": (lambda: layers.ZeroPadding2D(-1), "ZeroPadding2D: padding: expected a whole number from 0 .*, got -1"),
    "three paddings": (lambda: layers.ZeroPadding2D((1, 2, 3)), r"padding: expected a number, two, or \(\(top, .* got"),
    "padding of threes": (lambda: layers.ZeroPadding2D(((1, 2, 3), 1)), r"padding: expected a number, two, or .* got"),
    "keepdims": (lambda: layers.GlobalMaxPooling2D(keepdims="no"), "keepdims: expected True or False, got 'no'"),
    "channels first": (
        lambda: layers.AveragePooling2D(data_format="channels_first"),
        "AveragePooling2D: the argument 'data_format' is not supported here but as 'channels_last'",
    ),
    "channels first, by position": (lambda: layers.Flatten("channels_first"), "Flatten: the argument 'data_format' is"),
    "dilation": (lambda: layers.Conv2D(1, 3, dilation_rate=(1, 2)), "'dilation_rate' is not supported here but as 1"),
    "a mask": (lambda: layers.Dropout(0.5, noise_shape=(1, 2)), "'noise_shape' is not supported here but as None"),
    "mean of nothing": (lambda: layers.AveragePooling2D(0), "AveragePooling2D: pool_size: expected a whole .* got 0"),
    "target": (lambda: layers.Reshape(3), "Reshape: target_shape: expected a tuple of whole numbers, .* got 3"),
    "two unknown": (lambda: layers.Reshape((-1, -1)), "target_shape: expected .* one of them -1 at most, got"),
    "size": (lambda: layers.Reshape((2, 0)), "Reshape: target_shape: expected a whole number from 1 .*, got 0"),
    "no fit": (
        lambda: layers.Reshape((4, 2))(np.ones((2, 3, 3))),
        r"Reshape: expected input whose 9 numbers fill \(4, 2\), got \(3, 3\)",
    ),
    "no fit of the rest": (lambda: layers.Reshape((4, -1))(np.ones((2, 3, 3))), r"9 numbers fill \(4, -1\)"),
    "scale": (lambda: layers.Rescaling("1/255"), "Rescaling: scale: expected an array of numbers, got dtype <U5"),
    "scale NaN": (lambda: layers.Rescaling(float("nan")), "Rescaling: scale: expected finite numbers, got nan"),
    "scale of photos": (lambda: layers.Rescaling(np.ones((2, 2))), "scale and offset: expected one number or a row of"),
    "scale of channels": (
        lambda: layers.Rescaling((1, 2))(np.ones((2, 3))),
        r"Rescaling: scale: expected one number or 3 for input \(3,\), got 2",
    ),
    "mean alone": (lambda: layers.Normalization(mean=1), "mean and variance: expected both or none, got mean alone"),
    "variance alone": (lambda: layers.Normalization(variance=1), "expected both or none, got variance alone"),
    "variance": (lambda: layers.Normalization(mean=0, variance=-1), "variance: expected finite numbers of at least 0"),
    "two shapes": (
        lambda: layers.Normalization(mean=[1, 2], variance=1),
        r"mean and variance: expected one shape of at most 1 axes, got \(2,\) and \(\)",
    ),
    "axes": (
        lambda: layers.Normalization(axis=4)(np.ones((2, 3))),
        "axis: expected 1 to 1, or -1 for an input of 2 axes",
    ),
    "the batch": (
        lambda: layers.Normalization(axis=0).adapt(np.ones((2, 3))),
        "axis: expected 1 to 1, or -1 for .* got 0",
    ),
    "a row": (lambda: layers.Normalization().adapt([1, 2]), "axis: expected None for an input of 1 axes, got -1"),
    "axis": (lambda: layers.Normalization(axis="c"), "Normalization: axis: expected a whole number .* got 'c'"),
    "data": (lambda: layers.Normalization().adapt([["a"]]), "Normalization: adapt: data: expected an array of numbers"),
    "no data": (lambda: layers.Normalization().adapt(np.ones((0, 3))), "adapt: data: expected at least one photo"),
    "infinite data": (
        lambda: layers.Normalization().adapt([[np.inf]]),
        "adapt: data: expected finite numbers, got inf",
    ),
    "other channels": (
        lambda: layers.Normalization(mean=[1, 2], variance=[1, 1])(np.ones((2, 4, 4, 3))),
        r"Normalization: mean: expected one number or 3 for input \(4, 4, 3\), got 2",
    ),
    "no shape": (lambda: layers.Input(), "Input: shape: expected a tuple of whole numbers"),
    "two of them": (
        lambda: layers.Input((2,), batch_shape=(None, 3)),
        r"Input: shape: expected one shape, got \(2,\) and",
    ),
    "any size": (lambda: layers.Input((None, None, 3)), "Input: shape: expected a whole number .* got None"),
    "sparse": (
        lambda: layers.Input((3,), sparse=True),
        "Input: the argument 'sparse' is not supported here but as False",
    ),
    "seed": (lambda: layers.Dropout(0.5, seed="a"), "Dropout: seed: expected a whole number from 0 .*, got 'a'"),
    "rate": (lambda: layers.SpatialDropout2D(2), r"SpatialDropout2D: rate: expected a number in \[0, 1\], got 2"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# ---- in a network


def network(photo=(8, 8, 1)):
    """Every one of them, between layers that learn."""
    model = models.Sequential(
        [
            layers.Input(photo),
            layers.Rescaling(2.0, offset=-1),
            layers.Normalization(mean=[0.1], variance=[0.5]),
            layers.ZeroPadding2D(1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.SpatialDropout2D(0.25),
            layers.AveragePooling2D(2, padding="same"),
            layers.Conv2D(6, 3),
            layers.GlobalMaxPooling2D(keepdims=True),
            layers.Reshape((2, 3, 1)),
            layers.Conv2D(5, 2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def test_default_names_are_keras():
    names = [layer.name for layer in network().layers]
    assert names[:6] == [
        "rescaling",
        "normalization",
        "zero_padding2d",
        "conv2d",
        "spatial_dropout2d",
        "average_pooling2d",
    ]
    assert names[7:11] == ["global_max_pooling2d", "reshape", "conv2d_2", "global_average_pooling2d"]


# ---- faults


def mean_divided_by_the_whole_window(patch):
    sizes = average_pooling.AveragePooling2D.sizes
    patch.setattr(
        average_pooling.AveragePooling2D, "sizes", lambda self, x: np.full_like(sizes(self, x), np.prod(self.pool_size))
    )
    backward = average_pooling.AveragePooling2D.backward  # in forward alone it is another layer, and its gradient right

    def faulty(self, dy, cache, need_dx=True):
        with pytest.MonkeyPatch.context() as undone:
            undone.setattr(average_pooling.AveragePooling2D, "sizes", sizes)
            return backward(self, dy, cache, need_dx)

    patch.setattr(average_pooling.AveragePooling2D, "backward", faulty)


def windows_that_overlap_overwrite(patch):
    def faulty(self, dy, cache, need_dx=True):
        share, dx = dy / self.sizes(cache.x_shape), np.zeros(cache.x_shape)
        for windows, cells in self.places(cache.x_shape):
            dx[cells] = share[windows]
        return dx, {}

    patch.setattr(average_pooling.AveragePooling2D, "backward", faulty)


def backward_of(kind, change):
    original = kind.backward

    def faulty(self, dy, cache, need_dx=True):
        dx, grads = original(self, dy, cache, need_dx)
        return change(dx), grads

    return lambda patch: patch.setattr(kind, "backward", faulty)


FAULTS = {
    "a mean divided by the whole window": mean_divided_by_the_whole_window,
    "windows that overlap overwrite": windows_that_overlap_overwrite,
    "a mean not divided": backward_of(layers.GlobalAveragePooling2D, lambda dx: dx * dx[0, ..., 0].size),
    "every cell wins": backward_of(layers.GlobalMaxPooling2D, lambda dx: dx + dx.max(axis=(1, 2), keepdims=True)),
    "cropped on the wrong side": backward_of(layers.ZeroPadding2D, lambda dx: np.roll(dx, 1, axis=1)),
    "columns first": backward_of(layers.Reshape, lambda dx: dx.reshape(len(dx), -1, order="F").reshape(dx.shape)),
    "rescaling twice": backward_of(layers.Rescaling, lambda dx: dx * 0.5),
    "a variance for a deviation": lambda patch: patch.setattr(
        scaling.Normalization, "backward", lambda self, dy, cache, need_dx=True: (dy / self.variance, {})
    ),
    "maps that were kept on the way back": lambda patch: patch.setattr(
        layers.SpatialDropout2D, "backward", lambda self, dy, cache, need_dx=True: (dy, {})
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_makes_the_gate_fail(fault, monkeypatch):
    gates.layer_gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gates.layer_gate()
