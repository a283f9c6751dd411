"""Small networks for the tests of the step-through, the same on every machine, and the golden texts made with one.

`PYTHONPATH=. python tests/explain_models.py` writes the golden texts anew: read the difference before you keep it.
"""

from functools import cache
from pathlib import Path

import numpy as np

from cnn import article
from cnn.datasets import fashion_mnist
from cnn.explain import trace
from cnn.explain.terminal.text import piped
from cnn.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Cropping2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPooling2D,
    RandomFlip,
    ReLU,
    Rescaling,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)
from cnn.models import Sequential
from cnn.terminal import Style

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_PHOTOS = (9, 12)
PLAIN = Style(unicode=False, colour=False, width=80)


def with_biases(model: Sequential, seed: int = 1) -> Sequential:
    """Random biases in place of zeros, so that black background stands at no ReLU's corner."""
    rng = np.random.default_rng(seed)
    model.set_weights([w if w.ndim > 1 else rng.uniform(-0.1, 0.1, w.shape) for w in model.get_weights()])
    return model


@cache
def tiny() -> Sequential:
    """The article's architecture with 3 and 4 filters: all steps F1-F12 and B1-B12."""
    return with_biases(article.convolutional((3, 4), seed=5))


@cache
def sure() -> Sequential:
    """Like tiny, but certain of whatever it says."""
    model = tiny().astype(np.float32)
    model.layers[-1].params["kernel"] *= 60
    return model


@cache
def dense() -> Sequential:
    return with_biases(article.dense(seed=2))


@cache
def odd() -> Sequential:
    """What the article's network has not: stride 2, no padding, pools that overlap, ReLU and softmax as layers."""
    return with_biases(
        Sequential(
            [
                Conv2D(3, 5, strides=2, padding="valid", input_shape=(28, 28, 1)),
                ReLU(),
                MaxPooling2D(3, strides=2, padding="same"),
                Conv2D(40, 3, strides=2, padding="same", activation="relu", use_bias=False),
                Conv2D(2, 2, padding="same"),
                Dropout(0.5),
                Flatten(),
                Dense(7, use_bias=False),
                Dense(10),
                Softmax(),
            ],
            seed=3,
        )
    )


@cache
def normalized() -> Sequential:
    """Batch normalization in front of everything, behind a convolution and between Dense layers."""
    model = Sequential(
        [
            BatchNormalization(input_shape=(28, 28, 1)),
            Conv2D(3, 3, padding="same", use_bias=False),
            BatchNormalization(scale=False),
            ReLU(),
            MaxPooling2D(4),
            Flatten(),
            Dense(7, trainable=False),
            BatchNormalization(center=False),
            Dense(10, activation="softmax"),
        ],
        seed=4,
    )
    model(np.random.default_rng(1).random((5, 28, 28, 1)), training=True)
    return model


@cache
def colour() -> Sequential:
    """Colour photos of another size, own classes, and much of what the page's engine can do beside convolutions."""
    model = Sequential(
        [
            Rescaling(1 / 127.5, -1, input_shape=(20, 24, 3)),
            RandomFlip(),
            Conv2D(5, (3, 2), strides=(2, 1), padding="same", activation="tanh"),
            ZeroPadding2D(((1, 0), (0, 2))),
            AveragePooling2D(3, 2, "same"),
            BatchNormalization(),
            Activation("gelu"),
            UpSampling2D(2),
            Cropping2D(1),
            Conv2D(4, 3, activation="leaky_relu"),
            Dense(6, activation="selu"),
            GlobalMaxPooling2D(),
            Dropout(0.3),
            Dense(3),
        ],
        seed=3,
    )
    model.input_scale, model.class_names = 1.0, ("cat", "dog", "owl")
    model(np.random.default_rng(0).random((4, 20, 24, 3)) * 255, training=True)
    return model


@cache
def pooled() -> Sequential:
    """Pools that overlap and are not square, one mean for each map, and three classes of one's own."""
    layers = [
        Conv2D(6, 3, strides=2, activation="relu", input_shape=(28, 28, 1)),
        MaxPooling2D((3, 2), (2, 1), "same"),
        Conv2D(70, 1, activation="elu", use_bias=False),
        GlobalAveragePooling2D(),
        Dense(3, activation="softmax"),
    ]
    model = with_biases(Sequential(layers, seed=5))
    model.input_scale, model.class_names = 1 / 255, ("shoe", "shirt", "bag")
    return model


@cache
def deep() -> Sequential:
    """What `cnn train --filters 8,16,32 --kernel-size 5` makes, untrained."""
    return with_biases(article.convolutional((8, 16, 32), 5, seed=1))


MODELS = {"tiny": tiny, "sure": sure, "dense": dense, "odd": odd, "normalized": normalized}


@cache
def test_set():
    return fashion_mnist.load_split("test")


@cache
def traced(name: str, number: int = 9, target: int | None = None):
    """The trace of a test photo by one of the MODELS."""
    pixels, labels = test_set()
    return trace(MODELS[name](), pixels[number - 1], target, int(labels[number - 1]), number)


def tour_text(number: int) -> str:
    return "\n".join(piped(traced("tiny", number), PLAIN)) + "\n"


if __name__ == "__main__":
    for photo in GOLDEN_PHOTOS:
        (GOLDEN / f"explain-{photo}.txt").write_text(tour_text(photo), encoding="ascii")
