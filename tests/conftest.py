"""What several test files share."""

import signal
from importlib.util import find_spec

import numpy as np
import pytest

from cnn import layers, models, pretrained, saving
from cnn.datasets import fashion_mnist

# Their fixtures are for all test files, and their assertions show what they compared.
pytest_plugins = ["commandline", "idx_files", "model_files", "page_browser"]

# Without PyTorch there is nothing to compare with: `pytest -m parity` then finds no test, an error and not a pass.
collect_ignore = [] if find_spec("torch") else ["test_parity.py", "test_parity_layers.py"]
collect_ignore += (
    []
    if find_spec("keras") and find_spec("h5py")
    else ["test_keras_files.py", "test_torch_files.py", "test_onnx_files.py"]
)
collect_ignore += [] if find_spec("mpi4py") else ["test_ranks.py"]

# A shell starts what runs in its background deaf to Ctrl-C, and the programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def small_network(seed=0, shards=2, photo=(8, 8, 1), classes=10, optimizer="adam", compiled=True, filters=4):
    """A network of every kind of layer that a few photos of 8 x 8 can go through in no time."""
    model = models.Sequential(
        [
            layers.Input(photo),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(5, (3, 2), padding="same"),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(12, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ],
        seed=seed,
    )
    model.shards = shards
    if compiled:
        model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def random_biases(model, seed=0):
    """Biases that are not 0: at 0 the black background of a photo would stand exactly on ReLU's corner."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            w if w.ndim > 1 else rng.uniform(0.05, 0.2, w.shape) * rng.choice([-1, 1], w.shape)
            for w in model.get_weights()
        ]
    )
    return model


def random_batch(count=12, photo=(8, 8, 1), classes=10, seed=0):
    """Photos of noise and classes for them."""
    rng = np.random.default_rng(seed)
    return rng.random((count, *photo), np.float32), rng.integers(classes, size=count)


@pytest.fixture(scope="session")
def photos():
    """The first 2,000 training photos, scaled to [0, 1], and their classes; read-only, so that no test spoils them."""
    x, y = fashion_mnist.load_split("train")
    x = (x[:2000, :, :, None] / 255).astype(np.float32)
    x.flags.writeable = False
    return x, y[:2000]


@pytest.fixture(scope="session")
def trained(photos):
    """A small convolutional network after one epoch on real photos. Nobody may change it."""
    model = models.Sequential(
        [
            layers.Conv2D(8, 3, padding="same", activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D(2),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(*photos, verbose=0)
    return model


@pytest.fixture(scope="session")
def data_set():
    """The 10,000 test photos and their classes, as they come. Nobody may change them."""
    return fashion_mnist.load_split("test")


@pytest.fixture(scope="session")
def cnn_model():
    """The convolutional network shipped with the package. Nobody may change it."""
    return saving.load_model(pretrained.path("cnn"))


@pytest.fixture(scope="session")
def dense_model():
    """The dense network shipped with the package. Nobody may change it."""
    return saving.load_model(pretrained.path("dense"))
