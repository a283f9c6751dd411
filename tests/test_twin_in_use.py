"""The fast twin in use: fits, threads, changed models, copies, and what is left when a pass is over."""

import copy
import gc
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from conftest import random_batch, random_biases
from test_twin import (
    JIT,
    Conv,
    Dense,
    Pool,
    article,
    assert_close,
    assert_same_pass,
    batch_for,
    compiled,
    head,
    network,
)

from cnn import layers
from cnn.optimizers import SGD
from cnn.training import twin
from cnn.training.convolutions import Convolution
from cnn.training.step import run_batch
from cnn.training.twin import TwinConv


def test_what_follows_a_fit_uses_the_new_weights_and_layers():
    model = compiled(article((8, 12), (12, 12, 1)))
    x, y = batch_for(model, 12)
    model.fit(x, y, batch_size=5, verbose=0)
    assert_close(model.predict(x, verbose=0), model(x))
    model.set_weights([w * np.float32(0.5) for w in model.get_weights()])
    assert_close(model.predict(x, verbose=0), model(x))
    assert_same_pass(model, x, y)
    model.pop()
    model.add(Dense(11, activation="relu"))
    model.add(Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    assert_same_pass(model, x, y)
    model.fit(x, y, batch_size=5, verbose=0)
    assert_close(model.predict(x, verbose=0), model(x))


def test_fit_takes_the_same_steps_as_the_plain_path():
    """Three epochs of SGD with the twin, and by hand from the plain gradients."""
    model, by_hand = (compiled(article((8, 12), (12, 12, 1))) for _ in range(2))
    model.optimizer = SGD(0.1)
    x, y = batch_for(model, 10)
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    for _ in range(3):
        for start in range(0, 10, 4):
            grads = run_batch(by_hand, x[start : start + 4], y[start : start + 4], fast=False).grads
            for key, value in by_hand.params.items():
                value -= np.float32(0.1) * grads[key]
    for key, value in by_hand.params.items():
        assert_close(model.params[key], value, key)


def in_threads(*tasks):
    """Run the tasks at once; raise what any of them raised."""
    results, errors = [None] * len(tasks), []

    def run(index):
        try:
            results[index] = tasks[index]()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=[index]) for index in range(len(tasks))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=300)
    assert not any(thread.is_alive() for thread in running), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def test_two_threads_train_two_models():
    def train():
        model = compiled(article((8, 32), (12, 12, 1)))
        x, y = batch_for(model, 24)
        model.fit(x, y, batch_size=6, epochs=3, verbose=0)
        return model.get_weights()

    alone = train()
    for weights in in_threads(train, train):
        assert all(np.array_equal(a, b) for a, b in zip(weights, alone, strict=True))


def test_two_threads_predict_with_one_model():
    model = compiled(article((8, 32), (12, 12, 1)))
    photos = [batch_for(model, 40, seed=seed)[0] for seed in range(2)]
    alone = [model.predict(x, batch_size=7, verbose=0) for x in photos]
    for _ in range(3):
        together = in_threads(*(lambda x=x: model.predict(x, batch_size=7, verbose=0) for x in photos))
        assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def halved(layer):
    """The same kind of layer, but its outputs are half as large."""

    class Halved(type(layer)):
        def forward(self, x, training=False, rng=None):
            y, cache = super().forward(x, training, rng)
            return y / 2, cache

    layer.__class__ = Halved
    return layer


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_layer_of_the_users_own_kind_is_not_replaced(place):
    network = [Conv(8, 3, activation="relu", input_shape=(8, 8, 1)), Pool(), *head()]
    halved(network[place])
    model = compiled(network)
    x, _ = batch_for(model, 5)
    assert_close(model.predict(x, verbose=0), model(x))


def test_what_is_set_in_a_layer_after_a_pass_is_seen():
    model = compiled(article((8, 32), (12, 12, 1)))
    x, y = batch_for(model, 6)
    for index in (0, 2, 5):
        model.predict(x, verbose=0)
        model.layers[index].activation = layers.Linear()
        assert_close(model.predict(x, verbose=0), model(x))
    model.layers[0].name = "first"
    assert_same_pass(model, x, y)


def test_parameters_in_any_order_in_memory():
    """The vector kernels read neighbours: what lies otherwise is copied, and another shape refused."""
    model = compiled(article((32, 32), (16, 16, 1)))
    x, y = batch_for(model, 5)
    for layer in (model.layers[0], model.layers[2]):
        layer.params = {
            "kernel": np.asfortranarray(layer.params["kernel"]),
            "bias": np.repeat(layer.params["bias"], 2)[::2],
        }
        assert_same_pass(model, x, y)
    model.layers[2].params["bias"] = model.layers[2].params["bias"][:4]
    message = r'Conv2D "conv2d_1": expected kernel and bias of shapes .*\(32,\)\), got .*\(4,\)'
    with pytest.raises(ValueError, match=message):
        model.predict(x, verbose=0)


def test_a_twin_that_comes_back_late_is_not_used_again():
    model = compiled(article((8, 12), (12, 12, 1)))
    x, _ = batch_for(model, 4)
    with twin.lend(model):
        model.pop()
        model.add(Dense(4, activation="softmax"))
        assert_close(model.predict(x, verbose=0), model(x))
    assert_close(model.predict(x, verbose=0), model(x))


def test_a_twin_follows_its_model():
    """New weights and other layers are seen; a twin made before must not answer for them."""
    model = random_biases(network("article in small"))
    x, y = random_batch(6)
    model.fit(x, y, verbose=0)
    model.set_weights([0 * w for w in model.get_weights()])
    np.testing.assert_allclose(model.predict(x, verbose=0), 0.1, rtol=1e-6)
    model.pop()
    model.add(layers.Dense(4, activation="softmax"))
    assert model.predict(x, verbose=0).shape == (6, 4)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=0, atol=1e-6)
    assert model.astype(np.float64).predict(x, verbose=0).dtype == np.float64


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_a_model_answer_for_themselves(duplicate):
    model = compiled(article((8, 12), (12, 12, 1)))
    x, _ = batch_for(model, 4)
    before = model.predict(x, verbose=0)
    twin_of_it = duplicate(model)
    twin_of_it.layers = [*twin_of_it.layers]
    twin_of_it.pop()
    twin_of_it.add(Dense(10, activation="softmax"))
    assert_close(twin_of_it.predict(x, verbose=0), twin_of_it(x))
    assert np.array_equal(model.predict(x, verbose=0), before)


def test_a_pickle_holds_the_weights_and_not_what_passes_left():
    model = compiled(article((8, 12), (12, 12, 1)))
    model.predict(batch_for(model, 500)[0], batch_size=500, verbose=0)
    assert len(pickle.dumps(model)) < 2 * sum(w.nbytes for w in model.get_weights()) + 10_000


def test_float64_models_take_the_plain_path():
    model = compiled(article((8, 12), (12, 12, 1))).astype(np.float64)
    x, y = batch_for(model, 4)
    fast, plain = (run_batch(model, x.astype(np.float64), y, fast=choice) for choice in (True, False))
    for key in plain.grads:
        assert fast.grads[key].dtype == np.float64
        assert np.array_equal(fast.grads[key], plain.grads[key])


# ---- what passes leave behind


def memory_of(models_passes):
    """Bytes that are in use after these passes and were not before."""
    tracemalloc.start()
    try:
        models_passes()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def interrupted(run):
    with pytest.raises(KeyboardInterrupt):
        run()


@pytest.mark.parametrize("verb", ["fit", "predict", "evaluate"])
def test_interrupted_passes_leave_no_twins_behind(verb, monkeypatch):
    """Each Ctrl-C in a notebook once cost the arrays of two twins, for the life of the model."""
    model = compiled(article((5, 7), (12, 12, 1)))
    x, y = batch_for(model, 16)
    one_pass = memory_of(lambda: run_batch(model, x, y, fast=True))
    forward_way, passes = Convolution.compute, []

    def stopped(self, *args):
        forward_way(self, *args)
        if passes:
            raise KeyboardInterrupt

    monkeypatch.setattr(Convolution, "compute", stopped)
    run = lambda: getattr(model, verb)(x, *([] if verb == "predict" else [y]), batch_size=16, verbose=0)
    passes.append(True)
    assert memory_of(lambda: [interrupted(run) for _ in range(6)]) < 2 * one_pass
    passes.clear()
    assert_close(model.predict(x, verbose=0), model(x))


@pytest.mark.parametrize("verb", ["fit", "predict", "evaluate"])
def test_a_large_batch_does_not_keep_its_memory(verb, monkeypatch):
    monkeypatch.setattr(twin, "KEPT_BYTES", 50_000)
    model = compiled(article((5, 7), (12, 12, 1)))
    x, y = batch_for(model, 200 if JIT else 40)
    run = lambda size: getattr(model, verb)(x, *([] if verb == "predict" else [y]), batch_size=size, verbose=0)
    run(len(x))  # loads the kernels that large batches need
    run(4)
    assert memory_of(lambda: run(len(x))) < 100_000


def test_batches_as_usual_keep_their_arrays():
    model = compiled(article((5, 7), (12, 12, 1)))
    x, y = batch_for(model, 32)
    for run in (lambda: model.predict(x, verbose=0), lambda: model.fit(x, y, verbose=0)):
        run()
        with twin.lend(model) as lent:
            before = lent[0].buffer("y y", 1).ctypes.data
        run()
        with twin.lend(model) as again:
            assert again is lent and again[0].buffer("y y", 1).ctypes.data == before


def test_a_model_that_nobody_uses_is_forgotten_with_its_twins():
    model = compiled(article((5, 7), (12, 12, 1)))
    model.predict(batch_for(model, 4)[0], verbose=0)
    steps = [step for step in gc.get_objects() if type(step) is TwinConv and step.layer in model.layers]
    assert steps
    convolutions = [step.layer for step in steps]
    del model, steps
    gc.collect()
    assert not [step for step in gc.get_objects() if type(step) is TwinConv and step.layer in convolutions]
