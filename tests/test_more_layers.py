"""Transposed convolution, PReLU, noise, softmax along any axis: shapes, values, in a network, in a file, faults."""

import gates
import numpy as np
import pytest
from conftest import random_batch

from cnn import layers, models
from cnn.layers import noise, transposed
from cnn.training.step import run_batch
from cnn.utils import ShardOfDraws

X = np.random.default_rng(0).standard_normal((2, 3, 4, 2))


# ---- transposed convolution


@pytest.mark.parametrize("size", [1, 2, 3, 4, (2, 5)])
@pytest.mark.parametrize("strides", [1, 2, (1, 3)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_it_is_the_way_back_of_a_convolution(size, strides, padding):
    """<conv(y), x> = <y, transposed(x)>: the same kernel, which has the filters of the one as channels of the other."""
    layer = layers.Conv2DTranspose(5, size, strides, padding)
    y = layer(X)
    back = layers.Conv2D(2, size, strides, padding, use_bias=False)
    back.build(layer.output_shape, np.random.default_rng(0), np.float64)
    back.set_weights([layer.kernel])
    assert back.output_shape == X.shape[1:]
    other = np.random.default_rng(1).standard_normal(y.shape)
    np.testing.assert_allclose((back(other) * X).sum(), (other * y).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [  # as Keras 3 says
        ({"kernel_size": 3}, (5, 6)),
        ({"kernel_size": 3, "strides": 2}, (7, 9)),
        ({"kernel_size": 2, "strides": 3}, (9, 12)),
        ({"kernel_size": 3, "strides": 2, "padding": "same"}, (6, 8)),
        ({"kernel_size": (4, 1), "strides": (1, 2), "padding": "same"}, (3, 8)),
        ({"kernel_size": 3, "strides": 2, "output_padding": 0}, (7, 9)),
        ({"kernel_size": 3, "strides": 2, "output_padding": (1, 0)}, (8, 9)),
        ({"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 0}, (5, 7)),
    ],
)
def test_shapes_are_those_of_keras(arguments, expected):
    layer = layers.Conv2DTranspose(5, **arguments)
    assert layer(X).shape == (2, *expected, 5)
    assert layer.compute_output_shape((None, 3, 4, 2)) == (None, *expected, 5)
    assert [weight.shape for weight in layer.weights] == [(*layer.kernel_size, 5, 2), (5,)]
    assert layer.filters == layer.units == 5


def test_an_autoencoder_learns_to_copy():
    model = models.Sequential(
        [
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", input_shape=(8, 8, 1)),
            layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    x = np.zeros((32, 8, 8, 1), np.float32)
    x[np.arange(32), np.arange(32) % 8] = 1
    losses = model.fit(x, x, epochs=60, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < 0.1 < 0.4 < losses[0]


# ---- noise


@pytest.mark.parametrize("make", [layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout])
def test_noise_is_there_in_training_alone(make):
    layer, x = make(0.3, seed=3), np.ones((4, 50))
    assert (layer(x) == x).all() and (make(0)(x, training=True) == x).all()
    first, second = layer(x, training=True), layer(x, training=True)
    assert (first != x).mean() > 0.2 and (first != second).any()
    assert make(0.3).get_config() == {next(iter(layer.arguments)): 0.3, "name": None}
    with pytest.raises(ValueError, match=f"{make.__name__}: forward: expected rng, a generator .*, got None"):
        layer.forward(x, training=True)


def test_moments_are_those_that_are_promised():
    x = np.random.default_rng(1).standard_normal((100, 2000))
    rng = np.random.default_rng(0)

    def changed(layer):
        return layer.forward(x, True, rng)[0]

    for rate in (0.1, 0.5):
        alpha = changed(layers.AlphaDropout(rate))
        assert abs(alpha.mean()) < 0.01 and alpha.std() == pytest.approx(1, abs=0.01)
        dropped = np.unique(alpha, return_counts=True)[1].max()  # the one number that is there more than once
        assert dropped / alpha.size == pytest.approx(rate, abs=0.01)
        factors = changed(layers.GaussianDropout(rate)) / x
        assert factors.mean() == pytest.approx(1, abs=0.01)
        assert factors.std() == pytest.approx(np.sqrt(rate / (1 - rate)), rel=0.01)
        added = changed(layers.GaussianNoise(rate)) - x
        assert abs(added.mean()) < 0.01 and added.std() == pytest.approx(rate, rel=0.01)


def test_numbers_are_normal_and_each_photo_has_its_own():
    numbers = noise.normal(np.random.default_rng(0), (4, 50000))
    shares = [(numbers < edge).mean() for edge in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(shares, [0.02275, 0.15866, 0.5, 0.84134, 0.97725], atol=0.003)
    whole, second = (ShardOfDraws(np.random.default_rng(0), part) for part in (slice(0, 4), slice(2, 4)))
    np.testing.assert_array_equal(noise.normal(second, (2, 50000)), noise.normal(whole, (4, 50000))[2:])


# ---- softmax and PReLU


def test_softmax_along_any_axis():
    for axis in (1, 2, -2, (1, 2), [1, -1]):
        y = layers.Softmax(axis=axis)(X)
        np.testing.assert_allclose(y.sum(axis=tuple(np.atleast_1d(axis))), 1)
        assert layers.Softmax(**layers.Softmax(axis).get_config()).axis == layers.Softmax(axis).axis
    assert layers.Softmax().get_config() == {"name": None}


def test_the_loss_takes_no_logits_where_softmax_goes_along_another_axis():
    model = models.Sequential([layers.Reshape((2, 1), input_shape=(2,)), layers.Softmax(axis=1)])
    assert model.closing is None and not model.ends_in_softmax
    model.compile("sgd", "mse")
    x, y = np.array([[0.0, 1.0]]), np.array([[[1.0], [0.0]]])
    p = 1 / (1 + np.exp(-1))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(p * p, rel=1e-6)


def test_alpha_is_learned():
    model = models.Sequential([layers.PReLU(input_shape=(1,))])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.5
    x = np.linspace(-1, 1, 20)[:, None]
    model.fit(x, np.where(x < 0, 0.25 * x, x), epochs=100, verbose=0)
    assert model.layers[0].weights[0].numpy() == pytest.approx(0.25, abs=1e-3)
    assert model.count_params() == 1


def test_keras_argument_names_and_other_names():
    layers.PReLU(alpha_initializer="zeros", alpha_regularizer=None, alpha_constraint=None, shared_axes=None)
    layers.AlphaDropout(0.1, noise_shape=None, seed=None)
    layers.Conv2DTranspose(
        1, (3, 3), (1, 1), "valid", None, data_format=None, dilation_rate=(1, 1), bias_constraint=None
    )
    assert layers.Convolution2DTranspose is layers.Conv2DTranspose


BAD = {
    "filters": (lambda: layers.Conv2DTranspose(0, 3), "Conv2DTranspose: filters: expected a whole number .* got 0"),
    "dilation": (
        lambda: layers.Conv2DTranspose(1, 3, dilation_rate=2),
        "'dilation_rate' is not supported here but as 1",
    ),
    "output padding": (
        lambda: layers.Conv2DTranspose(1, 3, strides=2, output_padding=2),
        r"Conv2DTranspose: output_padding: expected less than the strides \(2, 2\), got 2",
    ),
    "negative output padding": (
        lambda: layers.Conv2DTranspose(1, 3, output_padding=-1),
        "Conv2DTranspose: output_padding: expected a whole number from 0 to 1,000, got -1",
    ),
    "a row": (lambda: layers.Conv2DTranspose(1, 3)(np.ones((2, 5))), r"Conv2DTranspose: expected input \(H, W, C\)"),
    "nothing left": (
        lambda: layers.Conv2DTranspose(1, 2, padding="same", output_padding=0)(np.ones((1, 1, 1, 1))),
        r"Conv2DTranspose: expected an input of which something is left, got \(1, 1, 1\)",
    ),
    "shared axes": (lambda: layers.PReLU(shared_axes=0), "PReLU: shared_axes: expected a whole number from 1 .* got 0"),
    "no such axis": (
        lambda: layers.PReLU(shared_axes=[1, 3])(np.ones((1, 2, 2))),
        r"PReLU: shared_axes: expected 1 to 2, got \(1, 3\)",
    ),
    "slope": (lambda: layers.PReLU("much"), "PReLU: alpha_initializer: expected one of 'constant', .* got 'much'"),
    "softmax of photos": (
        lambda: layers.Softmax(axis=0)(X),
        "Softmax: axis: expected 1 to 3, or from the end, once, got 0",
    ),
    "softmax axis": (lambda: layers.Softmax(axis="c"), "Softmax: axis: expected a whole number .* got 'c'"),
    "softmax beyond": (lambda: layers.Softmax(axis=(1, 4))(X), r"Softmax: axis: expected 1 to 3, .* got \(1, 4\)"),
    "noise": (lambda: layers.GaussianNoise(2), r"GaussianNoise: stddev: expected a number in \[0, 1\], got 2"),
    "all noise": (lambda: layers.GaussianDropout(1), r"GaussianDropout: rate: expected a number in \[0, 1\), got 1"),
    "all dropped": (lambda: layers.AlphaDropout(1.0), r"AlphaDropout: rate: expected a number in \[0, 1\), got 1"),
    "variance": (
        lambda: _normalization().set_weights([[1, 1], [0, 0], [0, 0], [1, -0.5]]),
        "BatchNormalization: set_weights: moving_variance: expected numbers of at least 0, got -0.5",
    ),
}


def _normalization():
    layer = layers.BatchNormalization()
    layer(np.ones((2, 2)))
    return layer


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
            layers.GaussianNoise(0.1, input_shape=photo),
            layers.Conv2D(4, 3, strides=2),
            layers.PReLU("random_normal", shared_axes=[1, 2]),
            layers.GaussianDropout(0.2),
            layers.Conv2DTranspose(3, 3, 2, "same", activation="selu", kernel_initializer="lecun_normal"),
            layers.AlphaDropout(0.2),
            layers.Softmax(axis=1),
            layers.Conv2DTranspose(2, 2),
            layers.Flatten(),
            layers.PReLU("ones", alpha_regularizer="l2", alpha_constraint="max_norm"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def test_default_names_are_keras():
    names = [layer.name for layer in network().layers]
    assert names[:3] == ["gaussian_noise", "conv2d", "p_re_lu"]
    assert names[3:6] == ["gaussian_dropout", "conv2d_transpose", "alpha_dropout"]


def test_cutting_the_batch_changes_no_draw():
    x, y = random_batch(7)
    one, three = network(), network()
    one.shards, three.shards = 1, 3
    results = [run_batch(model.astype(np.float64), x, y) for model in (one, three)]
    for key, grad in results[0].grads.items():
        np.testing.assert_allclose(results[1].grads[key], grad, rtol=0, atol=1e-13)


def test_folded_without_noise_it_predicts_the_same():
    model, (x, _) = network(), random_batch(6)
    left = models.folded(model)
    assert not any(isinstance(layer, layers.Noise) for layer in left.layers)
    np.testing.assert_array_equal(left.predict(x, verbose=0), model.predict(x, verbose=0))


# ---- faults


def laid_out_from_the_other_side(patch):
    original = transposed.im2col

    def faulty(x, kernel_size, strides, pads):
        top, bottom, left, right = pads
        return original(x, kernel_size, strides, (bottom, top, right, left))

    patch.setattr(transposed, "im2col", faulty)


def kernel_turned_on_the_way_back(patch):
    original = layers.Conv2DTranspose.backward

    def faulty(self, dy, cache, need_dx=True):
        kept = self.params
        self.params = {**kept, "kernel": kept["kernel"][::-1, ::-1]}
        dx, _ = original(self, dy, cache, need_dx)
        self.params = kept
        return dx, original(self, dy, cache, need_dx)[1]

    patch.setattr(layers.Conv2DTranspose, "backward", faulty)


FAULTS = {
    "laid out from the other side": laid_out_from_the_other_side,
    "kernel turned on the way back": kernel_turned_on_the_way_back,
    "kernel's axes exchanged": gates.backward_of(
        layers.Conv2DTranspose,
        lambda dx, grads: (dx, grads | {"kernel": grads["kernel"].swapaxes(0, 1).reshape(grads["kernel"].shape)}),
    ),
    "bias of one photo": gates.backward_of(
        layers.Conv2DTranspose, lambda dx, grads: (dx, grads | {"bias": grads["bias"] / 2})
    ),
    "alpha of all photos' mean": gates.backward_of(
        layers.PReLU, lambda dx, grads: (dx, {"alpha": grads["alpha"] / len(dx)})
    ),
    "alpha's sign": gates.backward_of(layers.PReLU, lambda dx, grads: (dx, {"alpha": -grads["alpha"]})),
    "alpha for all": lambda patch: patch.setattr(
        layers.PReLU,
        "backward",
        lambda self, dy, cache, need_dx=True: (dy * self.params["alpha"], layers_alpha(self, dy, cache)),
    ),
    "softmax along the last axis": lambda patch: patch.setattr(
        layers.Softmax,
        "backward",
        lambda self, dy, cache, need_dx=True: (cache.y * (dy - (dy * cache.y).sum(axis=-1, keepdims=True)), {}),
    ),
    "noise forgotten": gates.backward_of(noise.Noise, lambda dx, grads: (np.ones_like(dx) * dx.mean(), grads)),
}


def layers_alpha(layer, dy, cache):
    return {"alpha": (dy * np.minimum(cache.x, 0)).sum(axis=(0, *(layer.shared_axes or ())), keepdims=True)[0]}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_makes_the_gate_fail(fault, monkeypatch):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gates.layer_gate()
