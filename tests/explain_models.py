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
from cnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D, ReLU, Softmax
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
