"""Initial weights: their limits, spread and repeatability."""

import math

import numpy as np
import pytest

from cnn import initializers
from cnn.initializers import GlorotUniform, HeNormal, Zeros


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


def test_zeros():
    assert not draw(Zeros(), (4, 3)).any()


@pytest.mark.parametrize("initializer", [GlorotUniform(), HeNormal(), Zeros()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_dtype_and_repeatability(initializer, dtype):
    weights = draw(initializer, (3, 2, 4, 5), dtype=dtype)
    assert (weights.shape, weights.dtype) == ((3, 2, 4, 5), dtype)
    np.testing.assert_array_equal(weights, draw(initializer, (3, 2, 4, 5), dtype=dtype))
    if not isinstance(initializer, Zeros):
        assert (weights != draw(initializer, (3, 2, 4, 5), seed=1, dtype=dtype)).any()


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


@pytest.mark.parametrize("identifier", ["random", None, 0, int])
def test_unknown_initializers_are_refused(identifier):
    with pytest.raises(
        ValueError, match="initializer: expected one of 'glorot_uniform', 'he_normal', 'ones', 'zeros', got"
    ):
        initializers.get(identifier)
