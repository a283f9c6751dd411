"""Initial weights: their limits, spread and repeatability."""

import json
import math

import numpy as np
import pytest

from cnn import initializers, layers
from cnn.initializers import TABLE, Constant, GlorotUniform, HeNormal, Ones, TruncatedNormal, Zeros


def draw(initializer, shape, seed=0, dtype=np.float32):
    return initializer(shape, np.random.default_rng(seed), dtype)


@pytest.mark.parametrize(
    ("shape", "limit"),
    [((3, 3, 1, 32), 0.14213), ((3, 3, 32, 64), 0.08333), ((3136, 128), 0.04287), ((128, 10), 0.20851)],
)
def test_glorot_limits_of_the_articles_network(shape, limit):
    weights = draw(GlorotUniform(), shape)
    assert np.abs(weights).max() == pytest.approx(limit, rel=0.05)
    assert np.abs(weights).max() <= limit + 1e-5
    assert abs(weights.mean()) < 4 * limit / math.sqrt(3 * weights.size)
    assert weights.std() == pytest.approx(limit / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize(("shape", "fan_in"), [((3, 3, 32, 64), 288), ((500, 100), 500)])
def test_he_spread_after_the_cut(shape, fan_in):
    weights = draw(HeNormal(), shape)
    deviation = math.sqrt(2 / fan_in)
    assert weights.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(weights).max() <= 2 * deviation / 0.8796 + 1e-6
    assert abs(weights.mean()) < 4 * deviation / math.sqrt(weights.size)


WORDS = {
    "glorot_uniform": (2 / 200, "uniform"),
    "glorot_normal": (2 / 200, "cut"),
    "he_uniform": (2 / 150, "uniform"),
    "he_normal": (2 / 150, "cut"),
    "lecun_uniform": (1 / 150, "uniform"),
    "lecun_normal": (1 / 150, "cut"),
}


@pytest.mark.parametrize(("name", "expected"), WORDS.items())
def test_variance_and_limits_of_keras(name, expected):
    variance, kind = expected
    weights = draw(initializers.get(name), (150, 50))  # fan_in 150, fan_out 50
    assert weights.std() == pytest.approx(math.sqrt(variance), rel=0.03)
    limit = math.sqrt(3 * variance) if kind == "uniform" else 2 * math.sqrt(variance) / 0.87962566
    assert 0.98 * limit < np.abs(weights).max() <= limit * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 3, 2, 8), (2, 2, 8, 3)])
def test_orthogonal_kernels_keep_lengths(shape):
    kernel = draw(initializers.Orthogonal(gain=2.0), shape, dtype=np.float64).reshape(-1, shape[-1])
    square = kernel.T @ kernel if kernel.shape[0] >= kernel.shape[1] else kernel @ kernel.T
    np.testing.assert_allclose(square, 4 * np.eye(len(square)), atol=1e-12)


def test_orthogonal_kernels_are_uniform():
    """Each number has mean 0 and variance 1 / rows, which the signs of a plain QR decomposition do not give."""
    first = np.array([draw(initializers.Orthogonal(), (3, 3), seed)[0, 0] for seed in range(400)])
    assert abs(first.mean()) < 0.1 and first.var() == pytest.approx(1 / 3, rel=0.15)


def test_identity_hands_on_what_it_gets():
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_array_equal(layers.Dense(4, kernel_initializer="identity")(x), x)
    assert (draw(initializers.Identity(3.0), (2, 4)) == 3 * np.eye(2, 4)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.Identity()((3, 3, 1, 1)), r"Identity: expected a shape of two axes, got \(3, 3, 1, 1\)"),
        (lambda: initializers.Orthogonal()((3,)), r"Orthogonal: expected a shape of two axes or more, got \(3,\)"),
        (lambda: initializers.Orthogonal("much"), "Orthogonal: gain: expected a number .*, got 'much'"),
    ],
)
def test_shapes_that_are_no_matrices(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_random_numbers_of_a_given_size():
    normal, cut = (draw(kind(1.0, 0.5), (100, 100)) for kind in (initializers.RandomNormal, TruncatedNormal))
    assert normal.mean() == pytest.approx(1, abs=0.02) and normal.std() == pytest.approx(0.5, rel=0.02)
    assert np.abs(normal - 1).max() > 1.5 and np.abs(cut - 1).max() <= 1
    assert cut.std() == pytest.approx(0.5 * 0.8796, rel=0.02)  # as in Keras the cut is not made up for
    uniform = draw(initializers.RandomUniform(-1, 3), (100, 100))
    assert uniform.min() < -0.99 and uniform.max() > 2.99 and uniform.mean() == pytest.approx(1, abs=0.05)
    assert (
        draw(initializers.RandomUniform(), (1000,)).max() <= 0.05
        and draw(initializers.RandomNormal(), (9, 9)).std() < 0.07
    )


def test_variance_scaling():
    for mode, n in (("fan_in", 150), ("fan_out", 50), ("fan_avg", 100)):
        for distribution in ("uniform", "truncated_normal", "untruncated_normal"):
            weights = draw(initializers.VarianceScaling(3, mode, distribution), (150, 50))
            assert weights.std() == pytest.approx(math.sqrt(3 / n), rel=0.03)
    assert np.abs(weights).max() > 2.5 * math.sqrt(3 / n)


def test_a_seed_gives_the_same_numbers_and_none_others_each_time():
    he = initializers.HeUniform(seed=3)
    np.testing.assert_array_equal(he((3, 4)), he((3, 4), np.random.default_rng(9)))
    assert (initializers.HeUniform()((3, 4)) != initializers.HeUniform()((3, 4))).any()
    assert he((3, 4)).dtype == he((3, 4), dtype=None).dtype == np.float32 and he((3, 4), dtype="float64").dtype == float
    first, second = (layers.Dense(4, kernel_initializer=he)(np.ones((1, 3))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


TOLD = {
    "he_uniform": "he_uniform",
    "HeUniform": "he_uniform",
    "normal": "random_normal",
    "uniform": "random_uniform",
    "ones": "ones",
    "constant": "constant",
}


@pytest.mark.parametrize(("asked", "told"), TOLD.items())
def test_how_a_configuration_tells_it(asked, told):
    assert layers.Dense(1, kernel_initializer=asked).get_config()["kernel_initializer"] == told


def test_how_a_configuration_tells_arguments():
    layer = layers.Dense(1, bias_initializer=initializers.Constant(0.1), kernel_initializer=TruncatedNormal(seed=5))
    told = json.loads(json.dumps(layer.get_config()))
    assert told["bias_initializer"] == {"class_name": "constant", "config": {"value": 0.1}}
    assert told["kernel_initializer"] == {"class_name": "truncated_normal", "config": {"seed": 5}}
    again = layers.Dense(**told)
    assert again.get_config() == told and again.bias_initializer.value == 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.HeNormal(seed="a"), "HeNormal: seed: expected a whole number from 0 .* got 'a'"),
        (lambda: initializers.HeNormal(scale=2), "HeNormal: the argument 'scale' is not supported here"),
        (lambda: initializers.Zeros(value=2), "Zeros: the argument 'value' is not supported here"),
        (lambda: initializers.RandomNormal(stddev=-1), "RandomNormal: stddev: expected a number of at least 0, got -1"),
        (lambda: initializers.RandomUniform(1, 0), "minval and maxval: expected the smaller one first, got 1 and 0"),
        (lambda: initializers.Constant("a"), "Constant: value: expected a number .* got 'a'"),
        (
            lambda: initializers.VarianceScaling(mode="fan"),
            "mode: expected 'fan_in' or 'fan_out' or 'fan_avg', got 'fan'",
        ),
        (
            lambda: layers.Dense(1, kernel_initializer={"class_name": "constant", "config": {"values": 3}}),
            "Constant: the argument 'values' is not supported here",
        ),
        (
            lambda: layers.Dense(1, kernel_initializer={"class_name": "twos", "config": {}}),
            "Dense: kernel_initializer: expected one of 'constant', .* got {'class_name'|got 'twos'",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_zeros():
    assert not draw(Zeros(), (4, 3)).any()


@pytest.mark.parametrize("initializer", [kind() for kind in TABLE.values()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_dtype_and_repeatability(initializer, dtype):
    shape = (4, 5) if isinstance(initializer, initializers.Identity) else (3, 2, 4, 5)
    weights = draw(initializer, shape, dtype=dtype)
    assert (weights.shape, weights.dtype) == (shape, dtype)
    np.testing.assert_array_equal(weights, draw(initializer, shape, dtype=dtype))
    if not isinstance(initializer, Constant | Ones | Zeros | initializers.Identity):
        assert (weights != draw(initializer, shape, seed=1, dtype=dtype)).any()


@pytest.mark.parametrize(("shape", "expected"), [((3, 5, 2, 7), (30, 105)), ((4, 6), (4, 6)), ((9,), (9, 9))])
def test_fans(shape, expected):
    assert initializers.fans(shape) == expected


def test_initializers_are_found_by_name_class_or_themselves():
    he = HeNormal()
    assert initializers.get(he) is he
    assert isinstance(initializers.get(GlorotUniform), GlorotUniform)
    for name in ("glorot_uniform", "he_normal", "zeros"):
        assert initializers.get(name.upper()).identifier == name
    assert isinstance(initializers.get("HeNormal"), HeNormal)  # a class's name will do, as in Keras


@pytest.mark.parametrize("identifier", ["random", 0, int])
def test_unknown_initializers_are_refused(identifier):
    with pytest.raises(ValueError, match="initializer: expected one of 'constant', 'glorot_normal', .* 'zeros', got"):
        initializers.get(identifier)
