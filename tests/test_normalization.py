"""BatchNormalization in a network: moments of the whole batch, averages that move once a step, nothing lost."""

import gates
import numpy as np
import pytest
from conftest import random_batch
from model_files import document_of, members, npy, refuses, with_member

from cnn import callbacks, gradcheck, layers, models, set_threads
from cnn.training.step import run_batch

X, Y = random_batch(30)
FIT = {"batch_size": 7, "epochs": 3, "validation_split": 0.2, "verbose": 0}


def averages_of(model):
    return {key: value.copy() for key, value in model.params.items() if "moving" in key}


def arrays_of(model):
    slots = {f"{slot}/{key}": value for slot, values in model.optimizer.state.items() for key, value in values.items()}
    return {key: value.tobytes() for key, value in (model.params | slots).items()}


def test_weights_in_keras_order():
    layer = layers.BatchNormalization()
    layer(np.zeros((2, 3)))
    assert list(layer.params) == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [w.tolist() for w in layer.get_weights()] == [[1] * 3, [0] * 3, [0] * 3, [1] * 3]
    assert layer.learnable == ("gamma", "beta")
    assert layer.count_params() == 12
    only_moments = layers.BatchNormalization(scale=False, center=False)
    only_moments(np.zeros((2, 3)))
    assert list(only_moments.params) == ["moving_mean", "moving_variance"]
    assert only_moments.learnable == ()


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_step_moves_the_averages_by_the_moments_of_the_whole_batch(shards):
    model = models.Sequential([layers.BatchNormalization(momentum=0.9, input_shape=3), layers.Dense(2)])
    model.shards = shards
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.layers[1].kernel[:], model.layers[1].bias[:] = 0, 1
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    model.train_on_batch(x, np.arange(8) % 2)
    mean, variance = model.layers[0].get_weights()[2:]
    np.testing.assert_allclose(mean, 0.1 * x.mean(axis=0), rtol=0, atol=1e-7)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * x.var(axis=0), rtol=0, atol=1e-7)


def test_a_batch_may_be_cut_into_single_photos():
    """Each would be its own mean, and the layer would put out beta alone."""
    one, many = (run_batch(gates.normalized_network(shards), *random_batch(6)) for shards in (1, 6))
    assert one.loss == pytest.approx(many.loss, rel=1e-6)


@pytest.mark.parametrize("shards", [1, 3])
def test_gradients_in_training_through_a_whole_network(shards):
    model = gates.normalized_network(shards, activation=layers.Softmax).astype(np.float64)  # which has no kink
    x, y = random_batch(9)
    grads = run_batch(model, x, y).grads
    measure = lambda: (run_batch(model, x, y).loss, [])
    for name in model.learnable:
        result = gradcheck.check_tensor(
            name, model.params[name], grads[name], measure, 1.0, 12, np.random.default_rng(0)
        )
        assert result.error <= 1e-7, f"{name}: {result.error}"


def test_gradients_outside_training():
    for result in gradcheck.check_model(gates.normalized_network(), *random_batch(4), samples=60):
        assert result.passed, f"{result.name}: {result.verdict} {result.error}"


def test_the_fast_twin_normalizes_too():
    gates.normalization_gate()


def test_nothing_but_a_step_moves_the_averages():
    model = gates.normalized_network()
    before = averages_of(model)
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.loss_and_gradients(X, Y)
    model.test_on_batch(X, Y)
    model(X)
    run_batch(model, X, Y)
    assert all((value == before[key]).all() for key, value in averages_of(model).items())
    model(X, training=True)  # as in Keras
    assert all((value != before[key]).any() for key, value in averages_of(model).items())


def test_the_same_shards_give_the_same_bits_with_any_threads():
    results = []
    for threads in (1, 2, 3):
        set_threads(threads)
        try:
            model = gates.normalized_network(shards=3)
            model.fit(X, Y, **FIT)
        finally:
            set_threads(None)
        results.append(arrays_of(model))
    assert results[0] == results[1] == results[2]


def test_after_training_the_moments_of_training_stand_in_predictions():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = (100 + rng.standard_normal((200, 4)) + 3 * y[:, None]).astype(np.float32)
    network = [layers.Input(4), layers.BatchNormalization(momentum=0.8), layers.Dense(2, activation="softmax")]
    model = models.Sequential(network)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, epochs=30, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.95
    mean, variance = model.layers[0].get_weights()[2:]
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(variance, x.var(axis=0), rtol=0.2)


# Frozen


def test_a_frozen_normalization_keeps_its_averages_and_uses_them():
    """As in Keras: in fit as well, so that what was learned elsewhere is not washed away."""
    model = gates.normalized_network()
    model.layers[1].trainable = False
    before = model.layers[1].get_weights()
    model.fit(X, Y, **FIT)
    assert all((new == old).all() for new, old in zip(model.layers[1].get_weights(), before, strict=True))
    assert all((new != old).any() for new, old in zip(model.layers[5].get_weights(), [1, 0, 0, 1], strict=True))
    x = np.ones((2, 6, 6, 4), np.float32)
    training, inference = (model.layers[1].forward(x, training)[0] for training in (True, False))
    assert (training == inference).all()


def test_summary_counts_as_keras_does():
    shown = []
    model = gates.normalized_network()
    model.summary(print_fn=shown.append)
    model.fit(X, Y, **FIT)
    model.layers[0].trainable = False
    model.summary(print_fn=shown.append)
    fresh, trained = (text.splitlines() for text in shown)
    assert fresh[-3:] == [
        " Total params: 566 (2.21 KB)",
        " Trainable params: 486 (1.90 KB)",
        " Non-trainable params: 80 (320.00 B)",
    ]
    assert trained[-4:] == [
        " Total params: 1,540 (6.02 KB)",
        " Trainable params: 450 (1.76 KB)",
        " Non-trainable params: 116 (464.00 B)",
        " Optimizer params: 974 (3.81 KB)",
    ]
    names = [line for line in fresh if "batch" in line.lower()]
    assert "batch_normalization " in names[0] and "(BatchNormalization)" in names[1]


# Kept


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = gates.normalized_network()
    model.fit(X, Y, **FIT)
    model.layers[1].trainable = False
    model.save(tmp_path / "model.npz")
    again = models.load_model(tmp_path / "model.npz")
    assert arrays_of(again) == arrays_of(model)
    assert [layer.trainable for layer in again.layers] == [layer.trainable for layer in model.layers]
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    names = members((tmp_path / "model.npz").read_bytes()).keys()
    assert "batch_normalization/moving_mean" in names
    assert not any(name.startswith("optimizer") and "moving" in name for name in names)


class StopAfter(callbacks.Callback):
    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        self.model.stop_after_batch = self.left == 0


@pytest.mark.parametrize("batches", [1, 4, 6])
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path, batches):
    whole = gates.normalized_network()
    whole.fit(X, Y, **FIT)
    first, second = gates.normalized_network(), gates.normalized_network(seed=3)
    second.seed = first.seed
    first.fit(X, Y, **FIT, callbacks=[StopAfter(batches), callbacks.BackupAndRestore(tmp_path)])
    second.fit(X, Y, **FIT, callbacks=[StopAfter(0), callbacks.BackupAndRestore(tmp_path)])
    assert arrays_of(second) == arrays_of(whole)


def test_the_best_weights_have_their_averages(tmp_path):
    class Remember(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(averages_of(self.model))

    kept = []
    model = gates.normalized_network()
    stop = callbacks.EarlyStopping("loss", min_delta=100, patience=2, restore_best_weights=True)
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "best.npz", monitor="loss", save_best_only=True)
    history = model.fit(X, Y, **FIT, callbacks=[Remember(), stop, checkpoint]).history
    assert all((value == kept[0][key]).all() for key, value in averages_of(model).items())
    best = models.load_model(tmp_path / "best.npz")
    assert all((value == kept[np.argmin(history["loss"])][key]).all() for key, value in averages_of(best).items())


def test_a_file_with_a_variance_below_zero_is_refused(tmp_path):
    model = gates.normalized_network()
    model.save(tmp_path / "model.npz")
    data = (tmp_path / "model.npz").read_bytes()
    assert document_of(data)["model"]["layers"][1]["class"] == "BatchNormalization"
    bad = with_member(data, "batch_normalization/moving_variance", npy(np.array([1, 1, -1, 1], np.float32)))
    refuses(tmp_path / "bad.npz", bad, "batch_normalization/moving_variance: expected means of squares")
