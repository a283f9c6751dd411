"""Keras' settings, as far as scripts ask for them: there is one way of computing here, in NumPy and Numba."""

from cnn import utils


def clear_session(free_memory: bool = True) -> None:
    """Begin anew, as keras.backend.clear_session: layers without a model draw the same weights again.

    There is nothing else to clear: names count per model, and a model's memory goes with the model.

    >>> from cnn import layers
    >>> first = layers.Dense(2)([[1.0]])
    >>> clear_session()
    >>> bool((layers.Dense(2)([[1.0]]) == layers.Dense(2)([[1.0]])).all())
    False
    """
    utils.set_random_seed(utils.default_seed())


def backend() -> str:
    """What computes."""
    return "numpy"


def floatx() -> str:
    """The type of parameters and results; model.astype makes float64 of them."""
    return "float32"


def epsilon() -> float:
    """How close to 0 or 1 a probability is taken at most."""
    return 1e-7


def image_data_format() -> str:
    """Photos are (N, H, W, C)."""
    return "channels_last"
