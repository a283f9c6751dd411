"""The gates that every gradient must pass. Each raises AssertionError; test_injected_faults.py proves that they can."""

import numpy as np
from conftest import random_batch, random_biases, small_network

from cnn import gradcheck, layers
from cnn.training.step import run_batch


def spread(shape, count=2):
    """Numbers that are far apart and not 0, so that no kink is near."""
    size = count * int(np.prod(shape))
    return np.random.default_rng(1).permutation(np.linspace(-1, 1, 2 * size))[:size].reshape(count, *shape)


LAYERS = [
    (lambda: layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"), (6, 6, 2)),
    (lambda: layers.Conv2D(2, (2, 3), padding="same"), (5, 4, 2)),
    (lambda: layers.MaxPooling2D(3, strides=2, padding="same"), (6, 5, 2)),
    (lambda: layers.Dense(4, activation="relu"), (4,)),
    (lambda: layers.Dense(3, activation="softmax"), (4,)),
    (lambda: layers.Flatten(), (2, 3, 2)),
    (lambda: layers.Dropout(0.3), (10,)),
]


def all_passed(results):
    for result in results:
        assert result.passed, f"{result.name}: {result.verdict}, error {result.error:.1e}, {result.kinks} kinks"


def layer_gate():
    """Every number of every tensor of small layers, against slopes."""
    for make, shape in LAYERS:
        all_passed(gradcheck.check_layer(make(), spread(shape), training=True))


def network_gate():
    """Every number of a whole network with its loss, in two shards, against slopes."""
    x, y = random_batch(4)
    all_passed(gradcheck.check_model(random_biases(small_network(shards=2)), x, y, samples=None))


def corner_gate():
    """Where there is no slope the gradient is what Keras says: ReLU'(0) = 0, the first of equal cells wins alone."""
    _, cache = layers.ReLU().forward(np.array([[-1.0, 0.0, 1.0]]))
    assert layers.ReLU().backward(np.ones((1, 3)), cache)[0].tolist() == [[0, 0, 1]]
    pool = layers.MaxPooling2D()
    y, cache = pool.forward(np.zeros((1, 4, 4, 1)))
    dx, _ = pool.backward(np.ones_like(y), cache)
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def independence_gate():
    """A second pass does not spoil the first, as it would where a layer remembered things."""
    for make, shape in LAYERS:
        layer = make()
        layer.build(shape, np.random.default_rng(0), np.float64)
        y, cache = layer.forward(spread(shape))
        alone = layer.backward(np.ones_like(y), cache)
        y, cache = layer.forward(spread(shape))
        layer.forward(-2 * spread(shape))
        after = layer.backward(np.ones_like(y), cache)
        np.testing.assert_array_equal(alone[0], after[0])
        for key in alone[1]:
            np.testing.assert_array_equal(alone[1][key], after[1][key])


def fast_gate(model=None):
    """The fast twin that fit runs has the gradients of the plain layers, to the rounding of float32."""
    model = model or random_biases(small_network(shards=2))
    x, y = random_batch(12, model.input_shape)
    plain, fast = (run_batch(model, x, y, step=3, fast=fast) for fast in (False, True))
    assert abs(plain.loss - fast.loss) <= 1e-6 * abs(plain.loss)
    assert plain.correct == fast.correct
    assert plain.grads.keys() == fast.grads.keys()
    for key, grad in plain.grads.items():
        assert gradcheck.relative_error(grad, fast.grads[key]) <= 1e-6, key
