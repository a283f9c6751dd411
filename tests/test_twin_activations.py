"""The twin of the activations that go number by number: the formulas themselves, in blocks, behind any layer."""

import gates
import numpy as np
import pytest
from test_twin import compiled, head

from cnn import layers, set_threads
from cnn.layers.formulas import FORMULAS
from cnn.training import twin, twin_activations
from cnn.training.twin import Buffers
from cnn.training.twin_activations import RISING, TwinElementwise

Conv, Pool, Activation = layers.Conv2D, layers.MaxPooling2D, layers.Activation
EVERY = pytest.mark.parametrize("name", FORMULAS)


def kinds(model):
    return [type(layer).__name__ for layer in twin.twin_of(model.chain)]


def network(activation, *behind):
    """One behind a convolution, one that may be pooled, and whatever else."""
    return compiled([Conv(5, 3, input_shape=(9, 8, 2), activation=activation), Pool(), *behind, *head(10)])


@EVERY
def test_a_pass_is_as_near_to_the_exact_one_as_the_plain_layers(name):
    model = network(name, Activation(name))
    apart = ["TwinConv", "TwinElementwise", "TwinElementwise"]
    if name not in RISING:
        apart.insert(2, "TwinPool")
    assert kinds(model)[: len(apart)] == apart and "InShards" not in kinds(model)
    gates.exact_gate(model)


@EVERY
def test_formulas_that_rise_are_those_of_the_list(name):
    y = FORMULAS[name].function(np.linspace(-12, 12, 4801))
    assert (np.diff(y) >= 0).all() == (name in RISING)


@EVERY
@pytest.mark.parametrize("count", [1, 2, 3])
def test_blocks_and_threads_change_no_bit(name, count, monkeypatch):
    x, dy = (np.random.default_rng(k).standard_normal((5, 7, 7, 3)).astype(np.float32) * 4 for k in range(2))
    plain = layers.Elementwise(name)
    y, cache = plain.forward(x)
    set_threads(count)
    monkeypatch.setattr(twin_activations, "BLOCK", 32)
    stand_in = TwinElementwise(plain, Buffers())
    fast, kept = stand_in.forward(x)
    np.testing.assert_array_equal(fast, y, strict=True)
    np.testing.assert_array_equal(stand_in.backward(dy, kept)[0], plain.backward(dy, cache)[0], strict=True)
    set_threads(None)


def test_a_subclass_is_not_replaced():
    class Own(layers.LeakyReLU):
        pass

    assert kinds(compiled([Own(input_shape=(4, 4, 1)), *head()]))[0] == "InShards"


@pytest.mark.parametrize(
    "make", [lambda: [Conv(10, (4, 4), activation="sigmoid"), layers.Flatten()], lambda: [*head(), Activation("tanh")]]
)
def test_at_the_end(make):
    first, *rest = make()
    model = compiled([layers.Input((4, 4, 1)), first, *rest])
    gates.exact_gate(model, training=False)
