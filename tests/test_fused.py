"""The fast twin that fit, evaluate and predict run: the plain layers' results, to the rounding of float32."""

import gates
import numpy as np
import pytest
from conftest import random_batch, random_biases

from cnn import fused, layers, models
from cnn.gradcheck import relative_error
from kernels import sparse

CHANNELS = sparse.CHANNELS  # what the kernels that skip zeros want: 16 or 32 at a time
HEAD = [layers.Flatten, lambda: layers.Dense(7, activation="relu"), lambda: layers.Dense(10, activation="softmax")]
NETWORKS = {
    "article in small": ((8, 8, 1), [layers.Conv2D(CHANNELS, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
                                     layers.Conv2D(6, 3, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "groups of channels": ((6, 6, 2 * CHANNELS), [layers.Conv2D(5, 3, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "skips zeros, valid": ((9, 8, CHANNELS), [layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D()]),
    "skips zeros, odd": ((7, 9, CHANNELS), [layers.Conv2D(3, 3, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "skips zeros, second": ((8, 8, 2), [layers.Conv2D(CHANNELS, 1), layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D()]),
    "odd maps": ((7, 9, 2), [layers.Conv2D(3, 3, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "stride 2": ((9, 9, 2), [layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"), layers.MaxPooling2D()]),
    "large rectangle": ((8, 9, 2), [layers.Conv2D(3, (5, 2), padding="same"), layers.MaxPooling2D()]),
    "no bias": ((8, 8, 1), [layers.Conv2D(3, 3, use_bias=False, activation="relu"), layers.MaxPooling2D()]),
    "no activation": ((8, 8, CHANNELS), [layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D()]),
    "other pools": ((8, 8, 1), [layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(3, strides=2, padding="same")]),
    "dense alone": ((8, 8, 1), []),
}  # fmt: skip


def network(shape, body, seed=0):
    model = models.Sequential([layers.Input(shape)], seed=seed)
    for layer in body:
        model.add(type(layer)(**layer.get_config()))
    for make in HEAD:
        model.add(make())
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return random_biases(model)


@pytest.mark.parametrize(("shape", "body"), NETWORKS.values(), ids=NETWORKS)
def test_gradients_and_outputs(shape, body):
    model = network(shape, body)
    gates.fast_gate(model)
    x, _ = random_batch(21, shape)
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), model(x), rtol=0, atol=2e-6)
    gates.fast_gate(model)  # the buffers have seen other batches meanwhile


def test_which_pairs_are_fused():
    kinds = [
        [type(layer).__name__ for layer in fused.twin(network(*NETWORKS[name]).layers)]
        for name in ("article in small", "other pools")
    ]
    assert kinds[0] == ["ConvPool", "ConvPool", "Flatten", "KeptDense", "KeptDense"]
    assert kinds[1] == ["Conv2D", "MaxPooling2D", "Flatten", "KeptDense", "KeptDense"]


def test_the_kernels_that_skip_zeros_are_used_where_they_can():
    assert [
        fused.ConvPool(*network(*NETWORKS[name]).layers[:2]).skips_zeros for name in ("skips zeros, odd", "odd maps", "stride 2")
    ] == [sparse.AVAILABLE, False, False]


def test_both_ways_back_agree():
    model = network(*NETWORKS["skips zeros, odd"])
    layer = fused.ConvPool(*model.layers[:2])
    x, _ = random_batch(5, (7, 9, CHANNELS))
    y, cache = layer.forward(x)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    through = [np.copy(part) for part in layer.backward_through_columns(dy, cache, True)]
    if sparse.AVAILABLE:
        for a, b in zip(layer.backward_skipping_zeros(dy, cache, True), through, strict=True):
            assert relative_error(a, b) < 1e-6
    assert layer.backward_through_columns(dy, cache, False)[1] is None


def test_ties_go_to_the_first_cell_as_in_the_plain_layers():
    """A photo of few grey values: most windows are ties, and black ones stand on ReLU's corner."""
    model = network(*NETWORKS["article in small"])
    model.set_weights([w if w.ndim > 1 else 0 * w for w in model.get_weights()])
    x = np.random.default_rng(0).integers(0, 2, (12, 8, 8, 1)).astype(np.float32)
    x[:4] = 0
    y = np.arange(12) % 10
    plain, fast = (model.run_batch(x, y, fast=fast).grads for fast in (False, True))
    for key in plain:
        assert relative_error(plain[key], fast[key]) < 1e-5, key


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # from inf - inf, where the loops are not compiled
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_not_lost(value):
    model = network(*NETWORKS["article in small"])
    x, _ = random_batch(2)
    x[1, 3, 4, 0] = value
    outputs = models.forward(model.twins.borrow(), x)[0]
    assert np.isfinite(outputs[0]).all()
    assert np.isnan(outputs[1]).any()


def test_a_twin_follows_its_model():
    """New weights and other layers are seen; a twin made before must not answer for them."""
    model = network(*NETWORKS["article in small"])
    x, y = random_batch(6)
    model.fit(x, y, verbose=0)
    model.set_weights([0 * w for w in model.get_weights()])
    np.testing.assert_allclose(model.predict(x, verbose=0), 0.1, rtol=1e-6)
    model.pop()
    model.add(layers.Dense(4, activation="softmax"))
    assert model.predict(x, verbose=0).shape == (6, 4)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=0, atol=1e-6)
    assert model.astype(np.float64).predict(x, verbose=0).dtype == np.float64
