"""What fit, evaluate and predict promise: the same bits again, nothing changed that is not theirs, it learns."""

import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import random_batch, small_network

import cnn
from cnn import layers, models
from cnn.article import convolutional
from cnn.callbacks import Callback
from cnn.datasets import fashion_mnist
from cnn.errors import DivergedError
from cnn.gradcheck import relative_error
from cnn.training import fit
from cnn.training.step import generators, run_batch, shard_slices


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


def trained_network(seed=0, shards=2, **arguments):
    model, (x, y) = small_network(seed, shards), random_batch(50)
    model.fit(x, y, **{"batch_size": 16, "epochs": 2, "verbose": 0, **arguments})
    return model


# The same bits


def test_same_seed_same_bits():
    assert bits(trained_network()) == bits(trained_network()) != bits(trained_network(seed=1))


def test_threads_change_no_bit():
    results = []
    for count in (1, 2, 3):
        cnn.set_threads(count)
        try:
            results.append(bits(trained_network(shards=3)))
        finally:
            cnn.set_threads(None)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("shards", [2, 3, 7, 99])
def test_other_shards_differ_by_rounding_alone(shards):
    """Dropout's draws included: they are made for the whole batch before it is cut."""
    model, (x, y) = small_network(), random_batch(11)
    results = []
    for count in (1, shards):
        model.shards = count
        results.append(run_batch(model, x, y, step=4))
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-6)
    assert (results[0].outputs.argmax(axis=1) == results[1].outputs.argmax(axis=1)).all()
    for key, grad in results[0].grads.items():
        assert relative_error(grad, results[1].grads[key]) < 1e-6, key


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("shards", [1, 2, 3, 8, 12, 20])
def test_shards_are_a_partition(count, shards):
    slices = shard_slices(count, shards)
    assert np.concatenate([np.arange(count)[s] for s in slices]).tolist() == list(range(count))
    sizes = [s.stop - s.start for s in slices]
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)


def test_dropout_draws_differ_from_step_to_step_and_from_layer_to_layer():
    model = models.Sequential([layers.Input((500,)), layers.Dropout(0.5), layers.Dropout(0.5), layers.Dense(2)])
    x = np.ones((1, 500), np.float32)

    def kept(step):
        _, caches = models.forward(model.layers, x, True, generators(model, step, slice(0, 1)))
        return caches[0].factor > 0, caches[1].factor > 0

    assert (kept(0)[0] != kept(1)[0]).any()
    assert (kept(0)[0] != kept(0)[1]).any()
    np.testing.assert_array_equal(kept(3)[0], kept(3)[0])


# Nothing is changed that should not be


def test_loss_and_gradients_is_pure():
    model, (x, y) = small_network(), random_batch()
    before = bits(model), x.tobytes(), y.tobytes(), model.epoch, model.optimizer.iterations
    loss, grads = model.loss_and_gradients(x, y)
    again, grads_again, dx = model.loss_and_gradients(x, y, input_gradient=True)
    assert (bits(model), x.tobytes(), y.tobytes(), model.epoch, model.optimizer.iterations) == before
    assert loss == again
    assert dx.shape == x.shape
    assert list(grads) == list(model.params) == list(grads_again) or set(grads) == set(model.params)
    for key in grads:
        np.testing.assert_array_equal(grads[key], grads_again[key])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, bool, np.float16])
def test_inputs_are_never_written_to(dtype):
    model, (x, y) = small_network(), random_batch(20)
    x, y = (x * 3).astype(dtype), y.astype(np.uint8)
    x.flags.writeable = y.flags.writeable = False
    before = x.tobytes(), y.tobytes()
    model.fit(x, y, epochs=2, validation_split=0.25, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    assert (x.tobytes(), y.tobytes()) == before


def test_memory_mapped_and_strided_inputs_train_as_any_other(tmp_path):
    x, y = random_batch(20)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    strided = np.repeat(x, 2, axis=2)[:, :, ::2]
    results = []
    for photos in (x, mapped, strided, np.asfortranarray(x), x.tolist(), x.astype(">f4")):
        model = small_network()
        model.fit(photos, y, verbose=0)
        results.append(bits(model))
    assert all(result == results[0] for result in results)


def test_bytes_are_accepted_as_they_are():
    """Unscaled photos train badly, but as in Keras they are no error."""
    model, (x, y) = small_network(), random_batch(8)
    as_bytes = (x * 255).astype(np.uint8)
    np.testing.assert_array_equal(
        model.predict(as_bytes, verbose=0), model.predict(as_bytes.astype(np.float32), verbose=0)
    )
    assert math.isfinite(model.fit(as_bytes, y, verbose=0).history["loss"][0])


# Learning


def test_32_photos_can_be_learnt_by_heart(photos):
    model = models.Sequential(
        [
            layers.Conv2D(8, 3, padding="same", activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    x, y = photos[0][:32], photos[1][:32]
    start = model.evaluate(x, y, verbose=0)[0]
    assert start == pytest.approx(math.log(10), rel=0.15)
    model.fit(x, y, batch_size=8, epochs=60, verbose=0)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert accuracy == 1
    assert loss < 0.02


def test_a_short_training_on_real_photos_generalises(trained):
    """One epoch over 2,000 photos; guessing would be right for one in ten."""
    x, y = fashion_mnist.load_split("test")
    _, accuracy = trained.evaluate(x[:1000, :, :, None] / 255, y[:1000], verbose=0)
    assert accuracy > 0.6


@pytest.mark.slow
def test_a_longer_training_on_real_photos_passes_80_per_cent():
    (x, y), (test_x, test_y) = fashion_mnist.load_data()
    model = convolutional()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x[:12000, :, :, None] / 255, y[:12000], verbose=0)
    assert model.evaluate(test_x[:, :, :, None] / 255, test_y, verbose=0)[1] > 0.8


# Epochs and batches


class Watch(Callback):
    """Remembers the photos of each step, by their first number."""

    def __init__(self, monkeypatch):
        self.epochs = []
        original = fit.train_step

        def spy(model, x, y, *args, **kwargs):
            self.epochs[-1].extend(x[:, 0, 0, 0].tolist())
            return original(model, x, y, *args, **kwargs)

        monkeypatch.setattr(fit, "train_step", spy)

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append([])


@pytest.fixture
def numbered():
    x, y = random_batch(23)
    x[:, 0, 0, 0] = np.arange(23)
    return x, y


def test_an_epoch_is_a_permutation_and_the_next_is_another(monkeypatch, numbered):
    watch = Watch(monkeypatch)
    model = small_network()
    model.fit(*numbered, batch_size=4, epochs=3, verbose=0, callbacks=[watch])
    model.fit(*numbered, batch_size=4, epochs=1, verbose=0, callbacks=[watch])
    assert all(sorted(epoch) == list(range(23)) for epoch in watch.epochs)
    assert len({tuple(epoch) for epoch in watch.epochs}) == 4
    batches = [{frozenset(epoch[k : k + 4]) for k in range(0, 20, 4)} for epoch in watch.epochs[:2]]
    assert not batches[0] & batches[1]  # not the same batches in another order


def test_without_shuffling_the_photos_come_in_order(monkeypatch, numbered):
    watch = Watch(monkeypatch)
    small_network().fit(*numbered, batch_size=5, epochs=2, shuffle=False, verbose=0, callbacks=[watch])
    assert watch.epochs == [list(range(23))] * 2


@pytest.mark.parametrize(("split", "expected"), [(0.1, 20), (0.5, 11), (0.9, 2), (0.999, None), (0.2, 18)])
def test_validation_takes_the_last_photos(monkeypatch, numbered, split, expected):
    if expected is None:
        with pytest.raises(ValueError, match="leaves one part empty"):
            small_network().fit(*numbered, validation_split=split, verbose=0)
        return
    watch = Watch(monkeypatch)
    history = small_network().fit(*numbered, validation_split=split, verbose=0, callbacks=[watch])
    assert sorted(watch.epochs[0]) == list(range(expected))
    assert set(history.history) == {"accuracy", "loss", "val_accuracy", "val_loss"}


def test_rounding_in_the_split_takes_no_photo_away():
    """10 * (1 - 0.9) is 0.99999... in floating point; Keras finds no photo left to train on there."""
    x, y = random_batch(10)
    model = small_network()
    model.fit(x, y, validation_split=0.9, verbose=0)
    assert model.optimizer.iterations == 1


def test_validation_data_go_before_the_split(monkeypatch, numbered):
    watch = Watch(monkeypatch)
    small_network().fit(*numbered, validation_split=0.5, validation_data=random_batch(3), verbose=0, callbacks=[watch])
    assert len(watch.epochs[0]) == 23


def test_epochs_count_from_initial_epoch():
    history = trained_network(epochs=5, initial_epoch=3).history
    assert history.epoch == [3, 4]
    assert len(history.history["loss"]) == 2


def test_a_batch_larger_than_the_data_is_one_step():
    assert trained_network(batch_size=1000, epochs=1).optimizer.iterations == 1


def test_the_last_batch_counts_by_its_size():
    """The loss of an epoch at a standstill is that of evaluate, whatever the batch size."""
    model, (x, y) = small_network(), random_batch(23)
    model.pop(), model.pop(), model.pop()
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    model.optimizer.learning_rate = 0
    expected = model.evaluate(x, y, verbose=0)
    for batch_size in (1, 7, 23):
        history = model.fit(x, y, batch_size=batch_size, verbose=0).history
        assert history["loss"][0] == pytest.approx(expected[0], rel=1e-5)
        assert history["accuracy"][0] == pytest.approx(expected[1], rel=1e-12)
        assert model.evaluate(x, y, batch_size=batch_size, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_predict_is_the_same_in_any_batches():
    model, (x, _) = small_network(), random_batch(23)
    expected = model(x)
    for batch_size in (1, 4, 23, 100):
        np.testing.assert_allclose(model.predict(x, batch_size=batch_size, verbose=0), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "end",
    [[], [layers.Flatten], [layers.Flatten, layers.ReLU], [layers.Softmax]],
    ids=["pool", "flatten", "relu", "softmax"],
)
def test_predict_keeps_the_outputs_of_a_network_without_dense_layers(end):
    """Their outputs lie in arrays that the next batch uses again."""
    model = models.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            *(kind() for kind in end),
        ]
    )
    x, _ = random_batch(40)
    np.testing.assert_allclose(model.predict(x, batch_size=2, verbose=0), model(x), rtol=0, atol=1e-6)


def test_metrics_of_all_verbs_agree():
    model, (x, y) = small_network(), random_batch(16)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {"accuracy": accuracy, "loss": loss}
    assert model.test_on_batch(x, y) == pytest.approx([loss, accuracy], rel=1e-6)
    assert accuracy == (model.predict(x, verbose=0).argmax(axis=1) == y).mean()
    assert model.loss_and_gradients(x, y)[0] == pytest.approx(loss, rel=1e-6)
    np.testing.assert_array_equal(model.predict_on_batch(x), model(x))


def test_one_step_alone_is_a_step_of_fit():
    one, other, (x, y) = small_network(), small_network(), random_batch(16)
    one.train_on_batch(x, y)
    other.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    assert bits(one) == bits(other)


# Divergence, threads and processes


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy says it too
def test_divergence_names_the_step_and_takes_no_step_into_nan():
    model, (x, y) = small_network(optimizer="sgd"), random_batch(40)
    model.optimizer.learning_rate = 1e30
    step, advice = r'Sequential "sequential": epoch \d+, step \d+', r"try a smaller learning rate than 1e\+30"
    with pytest.raises(DivergedError, match=f"{step}: the loss became (nan|inf): {advice}"):
        model.fit(x * 100, y, batch_size=4, epochs=50, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_passes_of_several_threads_over_one_model_do_not_disturb_each_other():
    model = small_network()
    batches = [random_batch(9, seed=seed)[0] for seed in range(12)]
    expected = [model.predict(x, verbose=0) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for got, right in zip(pool.map(lambda x: model.predict(x, verbose=0), batches * 3), expected * 3, strict=True):
            np.testing.assert_array_equal(got, right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_trains_as_its_parent():
    expected = bits(trained_network())
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if bits(trained_network()) == expected else 1)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(2)
    for _ in range(600):  # a guard against a child that hangs
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
