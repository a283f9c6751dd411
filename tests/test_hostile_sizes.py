"""A small file may not ask for a large machine: its text tells what it would take; networks to learn from do load."""

import tracemalloc

import numpy as np
import pytest
from model_files import refuses

from cnn import article, callbacks, layers, models
from cnn.network import Network
from cnn.saving import limits

RNG = np.random.default_rng(0)


def chain(*middle, photo=(28, 28, 1)):
    return models.Sequential([layers.Input(photo), *middle, layers.Flatten(), layers.Dense(10, "softmax")], seed=1)


def wide(pairs=1, filters=20_000):
    parts = [(layers.Conv2D(filters, 1), layers.Conv2D(1, 1)) for _ in range(pairs)]
    return chain(*(layer for pair in parts for layer in pair))


HOSTILE = {
    "one wide layer": wide,
    "a chain of wide layers": lambda: wide(12),
    "a chain of layers each of which would pass": lambda: wide(12, 1500),
    "Dense on every pixel": lambda: chain(layers.Dense(20_000), layers.Dense(1)),
    "activations as layers": lambda: chain(layers.Conv2D(500, 1), *(layers.ReLU() for _ in range(40))),
    "softmax as layers": lambda: chain(layers.Conv2D(500, 1), *(layers.Softmax() for _ in range(40))),
    "dropout as layers": lambda: chain(layers.Conv2D(500, 1), *(layers.Dropout(0.5) for _ in range(40))),
    "large windows": lambda: chain(*(layers.Conv2D(1, 100, padding="same") for _ in range(3))),
    "large pooling windows": lambda: chain(layers.MaxPooling2D(1000, strides=1, padding="same")),
    "one large pooling window": lambda: chain(layers.Conv2D(50, 1), layers.MaxPooling2D(1000, padding="same")),
    "pooling windows that overlap": lambda: chain(
        layers.Conv2D(50, 1), *(layers.MaxPooling2D(9, strides=1, padding="same") for _ in range(4))
    ),
    "large photos": lambda: chain(
        layers.Conv2D(200, 1), layers.Conv2D(1, 1), layers.MaxPooling2D(99), photo=(999, 999, 1)
    ),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_more_than_a_machine_has_is_refused_before_anything_is_allocated(tmp_path, path, monkeypatch, make):
    model = make()
    with monkeypatch.context() as patch:
        patch.setattr(limits, "check", lambda network, weights: None)
        model.save(path)
    refuses(path, path.read_bytes(), r"with the layers before it needs [0-9.e+]+ numbers for one photo")
    with pytest.raises(ValueError, match="numbers for one photo"):  # nor is a file written that nobody could read
        model.save(tmp_path / "again.npz")


def vgg16(photo):
    filters = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    convolutions = [layers.Conv2D(f, 3, padding="same", activation="relu", name=f"c{k}") for k, f in enumerate(filters)]
    for k, place in enumerate((2, 5, 9, 13, 17)):
        convolutions.insert(place, layers.MaxPooling2D(name=f"p{k}"))
    dense = [layers.Dense(units, name=f"d{k}") for k, units in enumerate((4096, 4096, 1000))]
    return laid_out([*convolutions, layers.Flatten(name="f"), *dense], photo)


def laid_out(parts, photo):
    network = Network()
    network.lay_out(parts, photo)
    return network


def autoencoder():
    parts = [layers.Conv2D(64, 5, padding="same", name=f"c{k}") for k in range(2)]
    return laid_out([*parts, layers.Conv2D(3, 3, padding="same", name="last")], (256, 256, 3))


LEARNED_FROM = {
    "VGG16, 256x256x3": lambda: vgg16((256, 256, 3)),
    "VGG16, 256x256x1": lambda: vgg16((256, 256, 1)),
    "VGG16, 224x224x3": lambda: vgg16((224, 224, 3)),
    "VGG16, 32x32x3": lambda: vgg16((32, 32, 3)),
    "few weights on large photos": autoencoder,
    "the largest filters of the command": lambda: article.convolutional([1024, 1024], 5, 0),
    "as many layers as a file holds": lambda: laid_out([layers.Dense(9, name=f"d{k}") for k in range(1000)], (9,)),
}


@pytest.mark.parametrize("make", LEARNED_FROM.values(), ids=LEARNED_FROM.keys())
def test_networks_to_learn_from_are_far_below(make):
    limits.check(make(), weights=0)


def test_many_weights_may_have_many_outputs():
    """The size of such a file says by itself what it will take."""
    network = laid_out([layers.Conv2D(1024, 10, padding="same"), layers.Conv2D(1024, 10, padding="same")], (14, 14, 1))
    limits.check(network, weights=10**8)


def test_small_networks_pass_as_many_photos_as_the_caller_asks():
    model = laid_out([layers.Flatten(), layers.Dense(100), layers.Dense(10)], (28, 28, 1))
    assert limits.photos_at_once(model, 10_000) == 10_000
    assert 32 <= limits.photos_at_once(article.convolutional([64, 128], 3, 0), 10_000) < 10_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_network_passes_few_photos_at_once_and_says_the_same(dtype):
    """250 photos at once, as `cnn compare` asks, would take 1.9 GB in float32."""
    model = wide(1, 800).astype(dtype)
    x, batches = RNG.random((260, 28, 28, 1), dtype=np.float32), []
    expected = np.concatenate([model.predict(x[k : k + 10], verbose=0) for k in (0, 10, 250)])
    tracemalloc.start()
    try:
        y = model.predict(x, batch_size=250, verbose=0, callbacks=[Batches(batches)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * limits.AT_ONCE * np.dtype(dtype).itemsize
    assert batches == [0, 1]  # those that were asked for
    np.testing.assert_allclose(np.concatenate([y[:20], y[250:]]), expected, rtol=1e-5)


class Batches(callbacks.Callback):
    """Notes the batches of predict."""

    def __init__(self, seen):
        self.seen = seen

    def on_predict_batch_end(self, batch, logs=None):
        self.seen.append(batch)
