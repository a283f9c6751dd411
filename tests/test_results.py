"""What scripts for Keras ask for numpy(): a model's outputs, a loss, a metric; elsewhere they are as any other."""

import copy
import json
import pickle

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import layers, losses, metrics, models, ops
from cnn.network import backward, forward


def test_outputs_of_a_model():
    model, (x, _) = small_network(), random_batch(5)
    y = model(x)
    assert type(y.numpy()) is type(y[0].numpy()) is np.ndarray and y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), model.predict_on_batch(x))
    assert type(y - 1) is type(np.exp(y)) is type(y.max(axis=1)) is np.ndarray and isinstance(y.sum(), np.float32)
    assert type(model.predict(x, verbose=0)) is type(model.predict_on_batch(x)) is np.ndarray


def test_outputs_go_where_arrays_go():
    """Into kernels, too: as the input of another model, and as what a backward pass begins with."""
    model, (x, _) = small_network(), random_batch(5)
    maps = models.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same", activation="relu")])
    np.testing.assert_array_equal(model(maps(x)), model(maps(x).numpy()))
    y, caches = forward(maps.layers, x)
    grads, _ = backward(maps.layers, caches, maps(x))
    expected, _ = backward(maps.layers, caches, y)
    np.testing.assert_array_equal(grads["conv2d/kernel"], expected["conv2d/kernel"])


def test_losses_and_metrics():
    for made in (losses.MeanSquaredError(), metrics.MeanSquaredError(), metrics.Precision(), metrics.Mean()):
        number = made([1.0, 0.0], [1.0, 1.0]) if not isinstance(made, metrics.Mean) else made.result()
        assert number == number.numpy() and type(number.numpy()) is np.float32
        assert json.loads(json.dumps(number)) == number and repr(number) == repr(float(number))
        assert type(copy.deepcopy(number)) is type(pickle.loads(pickle.dumps(number))) is float


def test_outputs_of_a_layer_alone():
    y = layers.Dense(2, bias_initializer=None)(np.ones((3, 4)))
    assert type(y.numpy()) is np.ndarray and repr(y).startswith("array([[")


def test_operations_are_those_of_numpy():
    x = ops.ones((2, 3)) - ops.convert_to_tensor([0.0, 1.0, 2.0], "float32")
    assert x.dtype == np.float32 and ops.zeros(3).tolist() == [0, 0, 0] and ops.cast(x, "int32").dtype == np.int32
    np.testing.assert_array_equal(ops.relu(ops.square(x)), np.square(x))
    assert all(hasattr(np, name) for name in ops.OF_NUMPY)
    with pytest.raises(AttributeError, match="'cnn.ops' has no attribute 'vectorized_map': what a layer puts out is"):
        ops.vectorized_map(x)
    model = small_network(compiled=False)
    model.compile("sgd", "sparse_categorical_crossentropy", [lambda y, p: ops.mean(ops.abs(ops.max(p, axis=-1) - y))])
    x, y = random_batch(5)
    expected = np.abs(model.predict(x, verbose=0).max(axis=1) - y).mean()
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(expected, rel=1e-6)


def test_logs_are_plain_numbers():
    model, (x, y) = small_network(), random_batch(5)
    history = model.fit(x, y, verbose=0).history
    assert {type(values[0]) for values in history.values()} == {float}
    assert {type(value) for value in model.evaluate(x, y, verbose=0)} == {float}
