"""What would go wrong in silence, or with an error about something else: one optimizer for two models, class names,
odd hyperparameters, NumPy's numbers, threads, and numbers too small to compute with.
"""

import copy
import gc
import pickle
import threading
import time

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import layers, losses, optimizers, photos
from cnn.callbacks import Callback, EarlyStopping, History
from cnn.models import Sequential, load_model
from kernels import threads

X, Y = random_batch(6)


def weights(model):
    return [w.tobytes() for w in model.get_weights()]


# One optimizer for two models


@pytest.mark.parametrize("make", [optimizers.SGD, lambda: optimizers.SGD(0.1, 0.9), optimizers.Adam])
@pytest.mark.parametrize("verb", ["fit", "train_on_batch"])
def test_an_optimizer_trains_one_model(make, verb):
    optimizer = make()
    first, second = small_network(optimizer=optimizer), small_network(optimizer=optimizer)
    getattr(first, verb)(X, Y)
    before, state = weights(second), copy.deepcopy(optimizer.state)
    with pytest.raises(ValueError, match="expected an optimizer of its own, got one that has trained another model"):
        getattr(second, verb)(X, Y)
    assert weights(second) == before and optimizer.iterations == 1
    assert all(np.array_equal(v, state[slot][key]) for slot in state for key, v in optimizer.state[slot].items())
    getattr(first, verb)(X, Y)
    second.evaluate(X, Y, verbose=0)


def test_an_optimizer_does_not_go_over_to_the_next_model_of_a_loop():
    """The first is gone, but its moments are still there."""
    optimizer = optimizers.Adam()
    model = small_network(optimizer=optimizer)
    model.fit(X, Y, verbose=0)
    del model
    gc.collect()
    with pytest.raises(ValueError, match="got one that has trained another model"):
        small_network(optimizer=optimizer).fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.astype("float64")],
    ids=["copy", "pickle", "astype"],
)
def test_a_copy_of_a_model_trains_on_with_its_own_optimizer(again):
    model = small_network(optimizer="adam")
    model.fit(X, Y, verbose=0)
    twin = again(model)
    for _ in range(2):
        model.fit(X, Y, verbose=0)
        twin.fit(X, Y, verbose=0)
    assert model.optimizer.iterations == twin.optimizer.iterations == 3
    assert twin.dtype != model.dtype or weights(model) == weights(twin)


def test_a_saved_model_trains_on_with_its_own_optimizer(tmp_path):
    model = small_network(optimizer="adam")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.npz")
    for each in (load_model(tmp_path / "m.npz"), load_model(tmp_path / "m.npz"), model):
        each.fit(X, Y, verbose=0)


# Class names

NO_NAMES = {
    "a word": "abcdefghij",
    "bytes": b"abcdefghij",
    "a set": set("abcdefghij"),
    "a dict": dict.fromkeys("abcdefghij"),
    "twice the same": ["a", "b", "c", "a", "e", "f", "g", "h", "i", "j"],
    "all the same": ["same"] * 10,
    "numbers": list(range(10)),
    "an empty name": ["", *"bcdefghij"],
    "None among them": [None, *"bcdefghij"],
    "a generator": (letter for letter in "abcdefghij"),
    "none at all": [],
    "an array of numbers": np.arange(10),
}


@pytest.mark.parametrize("names", NO_NAMES.values(), ids=NO_NAMES)
def test_class_names_are_a_list_of_different_names(names):
    model = small_network()
    model.class_names = "a", "b"
    with pytest.raises(
        ValueError, match='Sequential "sequential": class_names: expected (a list of|different) names, got'
    ):
        model.class_names = names
    assert model.class_names == ("a", "b")


@pytest.mark.parametrize("make", [list, tuple, np.array])
def test_class_names_in_order(make, tmp_path):
    model = small_network()
    model.class_names = make(list("abcdefghij"))
    assert model.class_names == tuple("abcdefghij") and type(model.class_names[0]) is str
    model.save(tmp_path / "m.npz")
    assert load_model(tmp_path / "m.npz").class_names == model.class_names
    model.class_names = None
    assert model.class_names is None


def test_class_names_for_another_number_of_outputs():
    model = small_network()
    model.class_names = "a", "b", "c"
    with pytest.raises(ValueError, match="class_names: expected 10, one for each output, got 3"):
        photos.class_names(model)


# astype


@pytest.mark.parametrize(
    "dtype",
    [
        "int32",
        int,
        np.uint8,
        "float16",
        np.half,
        "complex64",
        complex,
        bool,
        "U5",
        "nonsense",
        None,
        object,
        np.longdouble,
        3,
    ],
)
def test_astype_refuses(dtype):
    model = small_network()
    with pytest.raises(ValueError, match='Sequential "sequential": astype: .*expected float32 or float64, got'):
        model.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "f4", np.float32, ">f4", np.dtype("float32"), np.single])
def test_astype_takes_what_numpy_takes(dtype):
    model = small_network().astype("float64").astype(dtype)
    assert model.dtype == np.float32 and model.dtype.isnative
    assert all(w.dtype == np.float32 and w.dtype.isnative for w in model.get_weights())
    model.fit(X, Y, verbose=0)


# NumPy's numbers


def test_numpy_numbers_are_numbers():
    seed, one, two, three = (
        kind(value) for kind, value in ((np.uint32, 5), (np.int8, 1), (np.int16, 2), (np.uint64, 3))
    )
    model = Sequential(
        [
            layers.Conv2D(np.int64(4), three, strides=(one, one), input_shape=(np.int32(8), np.int64(8), one)),
            layers.MaxPooling2D(two),
            layers.Flatten(),
            layers.Dropout(np.float32(0.25)),
            layers.Dense(np.int32(10), "softmax", use_bias=np.True_),
        ],
        seed=seed,
    )
    optimizer = optimizers.SGD(np.float32(0.1), np.float64(0.5), nesterov=np.True_)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.shards = np.int64(2)
    stop = EarlyStopping("loss", np.float32(0.1), patience=np.int64(3), baseline=np.float32(9), start_from_epoch=one)
    model.fit(
        X,
        Y,
        batch_size=np.int64(4),
        epochs=two,
        verbose=np.False_,
        callbacks=(stop,),
        shuffle=np.True_,
        initial_epoch=np.uint8(0),
        validation_split=np.float32(0.5),
    )
    model.predict(X, batch_size=three, verbose=np.int64(0))
    model.evaluate(X, Y, batch_size=two, verbose=np.False_)
    assert model.get_layer(index=np.int64(-1)) is model.layers[-1]


def test_a_flag_is_a_flag():
    with pytest.raises(ValueError, match="fit: shuffle: expected True or False, got 'no'"):
        small_network().fit(X, Y, shuffle="no", verbose=0)


@pytest.mark.parametrize("shards", [0, -1, 1.5, "2", None, True])
def test_shards(shards):
    model = small_network()
    model.shards = shards
    with pytest.raises(ValueError, match="shards: expected a whole number from 1"):
        model.fit(X, Y, verbose=0)


# Callbacks


@pytest.mark.parametrize("callbacks", [3, np.True_, Callback])
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_callbacks_are_a_list_or_one(verb, callbacks):
    getattr(small_network(), verb)(*([X] if verb == "predict" else [X, Y]), callbacks=History(), verbose=0)
    with pytest.raises(ValueError, match=f"{verb}: callbacks: expected a list of callbacks, got"):
        getattr(small_network(), verb)(*([X] if verb == "predict" else [X, Y]), callbacks=callbacks, verbose=0)


@pytest.mark.parametrize("baseline", ["0.5", np.nan, np.array([1.0, 2.0]), True])
def test_a_baseline_is_a_number(baseline):
    with pytest.raises(ValueError, match="baseline: expected a number"):
        EarlyStopping("loss", baseline=baseline)


# Hyperparameters


@pytest.mark.parametrize("value", [1e200, 1e31, 10**400, np.float64(1e100)])
def test_hyperparameters_that_no_float32_holds(value):
    with pytest.raises(ValueError, match="adam: epsilon: expected a number of at (most 1e\\+30|least 0), got"):
        optimizers.Adam(epsilon=value)
    for make in (optimizers.Adam, optimizers.SGD):
        with pytest.raises(ValueError, match="learning_rate: expected a number of at (most 1e\\+30|least 0), got"):
            make(value)
        with pytest.raises(ValueError, match="learning_rate: expected a number"):
            make().learning_rate = value


@pytest.mark.parametrize("epsilon", [1e30, 1.0, 1e-30])
def test_odd_epsilons_take_a_step(epsilon):
    model = small_network(optimizer=optimizers.Adam(epsilon=epsilon))
    model.fit(X, Y, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


# Threads


@pytest.mark.parametrize("count", [1025, 20_000, 10**9, np.int64(2**40), np.True_, np.float64(2), np.array([2])])
def test_set_threads_refuses_what_no_machine_has(count):
    with pytest.raises(
        ValueError, match="set_threads: expected a whole number of at least 1 and at most 1024, or None"
    ):
        threads.set_threads(count)


@pytest.fixture
def usual_threads():
    yield
    threads.set_threads(None)


def helpers():
    return sum(thread.name == "cnn" for thread in threading.enumerate())


def leave():
    """Wait until no helper is left."""
    threads.set_threads(None)
    for _ in range(200):
        if not helpers():
            return
        time.sleep(0.02)


def test_no_more_helpers_than_parts(usual_threads):
    leave()
    threads.set_threads(np.int64(1000))
    assert threads.get_threads() == 1000
    assert threads.run(abs, [-1, -2, -3]) == [1, 2, 3] and helpers() == 3
    assert threads.run(abs, range(-5, 0)) == [5, 4, 3, 2, 1] and helpers() == 5
    leave()
    assert helpers() == 0


def test_as_many_helpers_as_the_system_gives(usual_threads, monkeypatch):
    leave()
    start = threading.Thread.start

    def start_two(thread):
        if helpers() >= 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    threads.set_threads(64)
    for _ in range(3):
        assert threads.run(abs, range(-64, 0)) == list(range(64, 0, -1))
    assert helpers() == 2


# Numbers too small to compute with

TINY = np.finfo(np.float32).tiny


@pytest.mark.parametrize(("dtype", "kept"), [(np.float32, 3), (np.float64, 6)])
def test_a_gradient_that_moves_no_weight_is_zero(dtype, kept):
    """exp(-45) is 3e-20, and 1 - p of the right class 0 in float32 but not in float64."""
    z = np.array([[0, -14, -43, -45, -80, -95]], dtype)
    _, gradient = losses.SparseCategoricalCrossentropy(True).loss_and_gradient(np.array([0]), z, 1, True)
    assert np.count_nonzero(gradient) == kept
    np.testing.assert_allclose(gradient[0, 1:kept], np.exp(z[0, 1:kept]), rtol=1e-5)


def denormal(array):
    return np.count_nonzero((array != 0) & (np.abs(array) < TINY))


@pytest.mark.parametrize("rate", [0.0015, 0.002, 0.003])
@pytest.mark.parametrize("label", [0, 9])
def test_labels_of_one_class_lead_to_no_denormal_numbers(rate, label):
    """Gradients fade below all bounds within some steps; none of them, nor of Adam's moments, may become denormal."""
    x = random_batch(64)[0]
    model = small_network(optimizer=optimizers.Adam(rate * 5))
    y = np.full(64, label)
    for _ in range(150):
        model.train_on_batch(x, y)
        _, grads = model.loss_and_gradients(x, y)
        assert not any(map(denormal, grads.values()))
        assert not any(denormal(v) for slot in model.optimizer.state.values() for v in slot.values())
    model.fit(x, y, verbose=0)
