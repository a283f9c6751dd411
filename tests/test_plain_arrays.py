"""Arrays with more to them than numbers, given as photos, labels or parameters: named, and nothing has changed."""

import copy

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import layers, losses, optimizers
from cnn.callbacks import Callback

X, Y = random_batch(6)
VERBS = ["fit", "evaluate", "train_on_batch", "test_on_batch", "loss_and_gradients"]


def weights(model):
    return [w.tobytes() for w in model.get_weights()]


# Masked arrays

MASK = np.zeros(X.shape, bool)
MASK[2, 3] = True
MASKED = {
    "x": (np.ma.MaskedArray(X, MASK), Y, "x"),
    "x, nothing masked": (np.ma.MaskedArray(X), Y, "x"),
    "y": (X, np.ma.MaskedArray(Y, np.arange(6) > 3), "y"),
    "a list of masked photos": ([np.ma.MaskedArray(x, m) for x, m in zip(X, MASK, strict=True)], Y, "x"),
    "a tuple with one masked label": (X, (*Y[:5], np.ma.MaskedArray(Y[5], True)), "y"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", MASKED)
def test_a_mask_is_not_dropped(verb, case):
    x, y, name = MASKED[case]
    model = small_network()
    before = weights(model)
    with pytest.raises(ValueError, match=f"{name}: expected an array of numbers, got a masked array"):
        getattr(model, verb)(x, y)
    assert weights(model) == before


def test_a_mask_is_not_dropped_elsewhere():
    masked, model = MASKED["x"][0], small_network()
    for use in (
        lambda: model.predict(masked, verbose=0),
        lambda: model(masked),
        lambda: layers.Flatten()(masked),
        lambda: losses.SparseCategoricalCrossentropy()(Y, np.ma.MaskedArray(np.full((6, 10), 0.1))),
        lambda: model.set_weights([np.ma.MaskedArray(w) for w in model.get_weights()]),
        lambda: model.layers[0].set_weights([np.ma.MaskedArray(w) for w in model.layers[0].get_weights()]),
        lambda: model.fit(X, Y, validation_data=(masked, Y), verbose=0),
    ):
        with pytest.raises(ValueError, match="got a masked array"):
            use()


# Parameters that are not plain arrays


def locked(w):
    w.flags.writeable = False
    return w


NO_PARAMETERS = {
    "masked": (lambda w: np.ma.MaskedArray(w, w > 0), "got MaskedArray of float32"),
    "record array": (lambda w: w.view(np.recarray), "got recarray of float32"),
    "records": (lambda w: np.rec.fromarrays([w], names=["w"]), "got recarray of"),
    "whole numbers": (lambda w: w.astype(np.int64), "got ndarray of int64"),
    "float16": (lambda w: w.astype(np.float16), "got ndarray of float16"),
    "complex": (lambda w: w.astype(complex), "got ndarray of complex128"),
    "big-endian": (lambda w: w.astype(">f4"), "got ndarray of >f4"),
    "objects": (lambda w: w.astype(object), "got ndarray of object"),
    "a list": (lambda w: w.tolist(), "got list"),
    "None": (lambda w: None, "got NoneType"),
}


@pytest.mark.parametrize("verb", [*VERBS, "predict"])
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("case", NO_PARAMETERS)
def test_a_parameter_is_an_array_of_numbers(verb, place, case):
    make, got = NO_PARAMETERS[case]
    model = small_network()
    layer = [layer for layer in model.layers if layer.params][place]
    others = {name: w.copy() for name, w in model.params.items()}
    layer.params["kernel"] = make(layer.params["kernel"])
    message = f"{layer.name}/kernel: expected a NumPy array of float32 or float64, {got}"
    with pytest.raises(ValueError, match=message) as caught:
        getattr(model, verb)(*([X] if verb == "predict" else [X, Y]))
    assert "\n" not in str(caught.value)
    del others[f"{layer.name}/kernel"]
    assert all(np.array_equal(model.params[name], w) for name, w in others.items())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", optimizers.SGD(0.1, 0.9)], ids=["sgd", "adam", "momentum"])
@pytest.mark.parametrize("put", [True, False])
def test_a_locked_parameter_is_named_before_anything_changes(optimizer, put):
    """Also where a callback locks it in the middle of fit."""

    class Lock(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            locked(self.model.layers[-1].params["kernel"])

    model = small_network(optimizer=copy.deepcopy(optimizer))
    if put:
        locked(model.layers[-1].params["kernel"])
    before = weights(model)
    name = f"{model.layers[-1].name}/kernel"
    with pytest.raises(ValueError, match=f"{name}: expected an array that can be changed, got one that is read-only"):
        model.fit(X, Y, verbose=0, callbacks=[] if put else [Lock()])
    assert weights(model) == before and model.optimizer.iterations == 0
    model.predict(X, verbose=0)  # which changes nothing


def test_a_parameter_in_another_order_is_named_before_anything_changes():
    model = small_network(optimizer="adam")
    model.layers[-1].params["kernel"] = np.asfortranarray(model.layers[-1].params["kernel"])
    before = weights(model)
    with pytest.raises(ValueError, match="kernel: expected an array that lies row after row"):
        model.fit(X, Y, verbose=0)
    assert weights(model) == before
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)


def test_a_parameter_mapped_from_a_file_is_trained(tmp_path):
    model = small_network(optimizer="adam")
    kernel = model.layers[0].params["kernel"]
    np.save(tmp_path / "w.npy", kernel)
    mapped = np.load(tmp_path / "w.npy", mmap_mode="r+")
    model.layers[0].params["kernel"] = mapped
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(mapped, kernel)
