"""Random numbers by key and place: the published generator, the same however asked for, and Dropout by them."""

import numpy as np
import pytest

import cnn
from cnn import layers, utils
from cnn.training.twin import Buffers
from cnn.training.twin_layers import TwinDropout
from kernels import draws

PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def drawn(rows, width, key=1234567):
    numbers = np.empty((len(rows), width))
    draws.uniform(numbers, np.asarray(rows, np.uint64), np.uint64(key))
    return numbers


def test_the_published_numbers_of_splitmix64():
    """The first numbers of the seed 1234567, as implementations in other languages print them."""
    np.testing.assert_array_equal(drawn([0], 5)[0], [(number >> 11) / 2**53 for number in PUBLISHED], strict=True)


def test_the_definition_in_whole_numbers_of_python():
    def number(key, place):
        z = (key + (place + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return ((z ^ (z >> 31)) >> 11) / 2**53

    for key in (0, 1, 2**64 - 1, 0x9E3779B97F4A7C15):
        rows = [7, 0, 59_999]
        expected = [[number(key, row * 19 + m) for m in range(19)] for row in rows]
        np.testing.assert_array_equal(drawn(rows, 19, key), expected, strict=True)


def test_numbers_look_like_chance():
    numbers = drawn(range(200), 1000)
    assert (numbers >= 0).all() and (numbers < 1).all()
    counts = np.histogram(numbers, 100, (0, 1))[0]
    assert 60 < ((counts - 2000) ** 2 / 2000).sum() < 150  # chi-squared with 99 degrees of freedom: 99 +- 14
    beside = [numbers[:, :-1], numbers[:, 1:]], [numbers[:-1], numbers[1:]], [numbers, drawn(range(200), 1000, 1234568)]
    for one, other in beside:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("threads", [1, 3])
def test_neither_threads_nor_cuts_change_a_number(threads):
    rows = np.arange(300)
    whole = drawn(rows, 401)
    cnn.set_threads(threads)
    try:
        np.testing.assert_array_equal(drawn(rows, 401), whole)
    finally:
        cnn.set_threads(None)
    np.testing.assert_array_equal(np.concatenate([drawn(part, 401) for part in (rows[:7], rows[7:])]), whole)


def both(rate, x, twin=TwinDropout):
    """(y, dx) of the plain layer, and of its twin, for the same draws; dx for dy = x."""
    layer = layers.Dropout(rate)
    for dropout in (layer, twin(layer, Buffers())):
        y, cache = dropout.forward(x, True, utils.ShardOfDraws(np.random.default_rng(5), slice(0, len(x))))
        yield y.copy(), dropout.backward(x, cache)[0].copy()


@pytest.mark.parametrize("rate", [0, 0.3, 0.999, 1])
@pytest.mark.parametrize("shape", [(4, 9), (3, 5, 7, 2), (130, 140)])
def test_the_twin_of_dropout_drops_what_the_layer_drops(rate, shape):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for ours, theirs in zip(*both(rate, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, strict=True)


def test_a_number_that_is_none_stays_none():
    x = np.array([[np.nan] * 15], np.float32)
    for ours, theirs in zip(*both(0.5, x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class OtherDrawsBackward(TwinDropout):
    def backward(self, dy, cache, need_dx=True):
        return super().backward(dy, cache + np.uint64(1), need_dx)


class Unscaled(TwinDropout):
    def dropped(self, name, x, key):
        return super().dropped(name, x, key) * np.float32(1 - self.rate)


class Reversed(TwinDropout):
    def dropped(self, name, x, key):
        return x / np.float32(1 - self.rate) - super().dropped(name, x, key)


@pytest.mark.parametrize("fault", [OtherDrawsBackward, Unscaled, Reversed])
def test_a_fault_is_noticed(fault):
    x = np.ones((6, 50), np.float32)
    with pytest.raises(AssertionError):
        for ours, theirs in zip(*both(0.3, x, fault), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
