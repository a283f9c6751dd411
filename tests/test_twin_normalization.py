"""The twin of BatchNormalization: one pass for the whole batch, ReLU and pooling, none of its own in predict."""

import gates
import numpy as np
import pytest
from conftest import random_batch
from test_twin import assert_close, compiled, head

from cnn import layers, set_threads
from cnn.models import forward
from cnn.training import twin
from cnn.training.step import run_batch
from kernels.simd.vectors import LANES

Conv, Pool, Dense, Flatten, ReLU = layers.Conv2D, layers.MaxPooling2D, layers.Dense, layers.Flatten, layers.ReLU
Normal, Activation = layers.BatchNormalization, layers.Activation


def usual(*behind, filters=LANES, normal=Normal, shape=(8, 9, 2), **options):
    """A convolution, a normalization, and what stands behind them."""
    return [Conv(filters, 3, input_shape=shape, padding="same", **options), normal(), *behind, *head()]


FOLDED, ALONE = ["NormalizedConv", "TwinNormalization"], ["TwinConv", "TwinNormalization"]
# name: (layers, what they become before the head)
NETWORKS = {
    "convolution, ReLU, pooling": (lambda: usual(ReLU(), Pool()), FOLDED),
    "Winograd": (lambda: usual(Activation("relu"), Pool(), filters=32, shape=(14, 14, 16), use_bias=False), FOLDED),
    "pooling of odd maps": (lambda: usual(ReLU(), Pool(), filters=5, shape=(7, 9, 1)), FOLDED),
    "ReLU alone": (lambda: usual(ReLU(), filters=3), FOLDED),
    "pooling alone": (lambda: usual(Pool()), FOLDED),
    "neither": (lambda: usual(normal=lambda: Normal(scale=False)), FOLDED),
    "pooling before ReLU": (lambda: usual(Pool(), ReLU()), [*FOLDED, "TwinReLU"]),
    "another pooling": (lambda: usual(ReLU(), Pool(3)), [*FOLDED, "TwinPool"]),
    "twice": (lambda: usual(Normal(center=False, momentum=0.5), ReLU()), [*FOLDED, "TwinNormalization"]),
    "behind ReLU": (lambda: usual(Pool(), activation="relu"), ALONE),
    "behind pooling": (
        lambda: [Conv(6, 3, input_shape=(8, 8, 1), activation="relu"), Pool(), Normal(epsilon=0.1), *head()],
        ALONE,
    ),
    "first of all": (lambda: [Normal(input_shape=(6, 7, 1)), *head()], ["TwinNormalization"]),
    "behind Dense": (
        lambda: [Flatten(input_shape=(4, 4, 1)), Dense(7, use_bias=False), Normal(), ReLU(), Dense(10)],
        ["Flatten", "TwinDense", "TwinNormalization", "TwinDense"],
    ),
    "at the end": (
        lambda: [Flatten(input_shape=(4, 4, 1)), Dense(10, use_bias=False), Normal(), layers.Softmax()],
        ["Flatten", "TwinDense", "TwinNormalization"],
    ),
    "frozen": (lambda: usual(ReLU(), Pool(), normal=lambda: Normal(trainable=False)), FOLDED),
}
EVERY = pytest.mark.parametrize("name", NETWORKS)


def network(name, shards=2):
    """Ready to train, no parameter at a special value, and averages that are not those of the batch."""
    model = compiled(NETWORKS[name][0](), shards)
    for key, value in model.params.items():
        if key.endswith("moving_variance"):
            value[:] = np.abs(value) + 0.3
    return model


@EVERY
def test_what_runs_instead(name):
    kinds = [type(layer).__name__ for layer in twin.twin_of(network(name).chain)]
    assert kinds[: len(NETWORKS[name][1])] == NETWORKS[name][1]
    assert "InShards" not in kinds


@EVERY
@pytest.mark.parametrize("training", [True, False])
def test_a_pass_is_as_near_to_the_exact_one_as_the_plain_layers(name, training):
    model = network(name, shards=3)
    for count in (7, 2):
        gates.exact_gate(model, count, training)


@EVERY
def test_predict_and_training_between_each_other(name):
    """A folded pass leaves nothing behind that a training pass takes for its own, and the other way round."""
    model = network(name)
    x, y = random_batch(9, model.photo_shape)
    for _ in range(2):
        assert_close(model.predict(x, batch_size=4, verbose=0), model(x))
        model.train_on_batch(x, y)


def test_a_folded_pass_does_no_more_than_a_convolution(monkeypatch):
    model = network("convolution, ReLU, pooling")
    monkeypatch.setattr(twin.TwinNormalization, "moments", None)
    monkeypatch.setattr("kernels.normalization.normalize", None)
    x, _ = random_batch(3, model.photo_shape)
    assert_close(model.predict(x, verbose=0), model(x))
    with pytest.raises(TypeError):
        run_batch(model, x, np.zeros(3, np.int64), fast=True)


def test_a_bias_before_the_mean_is_subtracted_has_no_gradient():
    model = network("convolution, ReLU, pooling")
    x, y = random_batch(6, model.photo_shape)
    assert not run_batch(model, x, y, fast=True).grads["conv2d/bias"].any()
    assert run_batch(model, x, y, fast=True, training=False).grads["conv2d/bias"].all()


def test_any_number_of_threads_and_shards_gives_the_same_moments():
    x, y = random_batch(40, (8, 9, 2))
    results = []
    for count, shards in ((1, 1), (2, 4), (3, 4)):
        set_threads(count)
        results.append(run_batch(network("convolution, ReLU, pooling", shards), x, y, fast=True))
    set_threads(None)
    one, two, three = (result.averages | {"outputs": result.outputs} for result in results)
    for key, value in one.items():
        np.testing.assert_array_equal(two[key], value)
        np.testing.assert_array_equal(three[key], value)
    for key, value in results[1].grads.items():
        np.testing.assert_array_equal(results[2].grads[key], value)


def test_numbers_far_from_zero_keep_their_variance():
    """Where the mean is a thousand deviations, the mean of the squares less the square of the mean is noise."""
    model = network("first of all")
    x, y = random_batch(8, model.photo_shape)
    result = run_batch(model, x + 1000, y, fast=True)
    moved = result.averages["batch_normalization/moving_variance"]
    before = model.params["batch_normalization/moving_variance"]
    np.testing.assert_allclose((moved - 0.99 * before) / 0.01, (x + 1000).var(dtype=np.float64), rtol=1e-3)


@pytest.mark.parametrize("name", ["convolution, ReLU, pooling", "neither"])
@pytest.mark.parametrize("training", [True, False])
def test_nan_is_not_lost(name, training):
    model = network(name)
    x, _ = random_batch(3, model.photo_shape)
    x[1, 3, 4, 0] = np.nan
    with twin.lend(model) as lent:
        outputs = forward(lent, x, training)[0]
    assert np.isnan(outputs[1]).any()
    assert training or np.isfinite(outputs[[0, 2]]).all()
