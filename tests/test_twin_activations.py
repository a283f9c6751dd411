"""The twin of the activations that go number by number, behind any layer. The kernels: test_activation_kernels.py."""

import gates
import numpy as np
import pytest
from test_twin import compiled, head

from cnn import layers, set_threads
from cnn.layers.formulas import FORMULAS
from cnn.training import twin
from cnn.training.twin import Buffers
from cnn.training.twin_activations import RISING, TwinElementwise, TwinPReLU
from kernels.activations import KERNELS

Conv, Pool, Activation = layers.Conv2D, layers.MaxPooling2D, layers.Activation
EVERY = pytest.mark.parametrize("name", KERNELS)


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
def test_threads_change_no_bit(name):
    x, dy = (np.random.default_rng(k).standard_normal((5, 70, 7, 9)).astype(np.float32) * 4 for k in range(2))
    results = []
    for count in (1, 2, 3):
        set_threads(count)
        stand_in = TwinElementwise(layers.Elementwise(name), Buffers())
        y, kept = stand_in.forward(x)
        results.append((y, stand_in.backward(dy, kept)[0]))
    set_threads(None)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0], strict=True)


@pytest.mark.parametrize("activation", [layers.LeakyReLU(0.07), layers.ELU(0.4), layers.ReLU(4, 0.1, 1).activation])
def test_settings_reach_the_kernel(activation):
    x = np.linspace(-6, 6, 97, dtype=np.float32).reshape(1, -1)
    y, cache = activation.forward(x)
    stand_in = TwinElementwise(activation, Buffers())
    fast, kept = stand_in.forward(x)
    np.testing.assert_allclose(fast, y, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(stand_in.backward(x, kept)[0], activation.backward(x, cache)[0], rtol=1e-6, atol=1e-6)


def test_a_wrong_slope_is_found(monkeypatch):
    values, gradients = KERNELS["silu"]
    faulty = lambda dx, dy, x, y, settings: gradients(dx, dy, x, x, settings)
    monkeypatch.setitem(KERNELS, "silu", (values, faulty))
    with pytest.raises(AssertionError):
        gates.exact_gate(network("silu"))


def test_a_formula_without_a_kernel_runs_as_it_is():
    """exp alone: float32 holds it from -103 to 89, the kernels' exp from -87 to 87."""
    model = network("exponential", Activation("exponential"))
    assert kinds(model)[:3] == ["InShards", "TwinPool", "InShards"]
    gates.exact_gate(model)


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


@pytest.mark.parametrize("shared", [None, [1, 2], 3, [1]])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_prelu(shared, shards):
    """Its alpha for each number, each map, each cell or each place of a row; zeros stand at the corner."""
    prelu = layers.PReLU("uniform", shared_axes=shared)
    model = compiled([Conv(5, 3, input_shape=(7, 6, 2)), prelu, Pool(), *head(10)], shards)
    assert "TwinPReLU" in kinds(model)
    gates.exact_gate(model)
    stand_in, plain = TwinPReLU(prelu, Buffers()), prelu
    x = np.random.default_rng(0).choice([-2, -1, 0, 1, 3, np.nan], (4, *prelu.input_shape)).astype(np.float32)
    dy = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    (y, cache), (fast, kept) = plain.forward(x), stand_in.forward(x)
    np.testing.assert_array_equal(fast, y)
    x[np.isnan(x)] = -1
    (_, cache), (_, kept) = plain.forward(x), stand_in.forward(x)
    (dx, grads), (fast_dx, fast_grads) = plain.backward(dy, cache), stand_in.backward(dy, kept)
    np.testing.assert_array_equal(fast_dx, dx)
    np.testing.assert_allclose(fast_grads["alpha"], grads["alpha"], rtol=1e-5, atol=1e-5)
