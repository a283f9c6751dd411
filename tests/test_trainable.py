"""Frozen layers: trainable=False keeps their weights, in whatever way it was said, and costs no way back to them."""

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import callbacks, layers, models, optimizers

X, Y = random_batch(12)
FROZEN = ("conv2d", "dense")


def frozen_network(optimizer="adam"):
    model = small_network(optimizer=optimizer)
    for name in FROZEN:
        model.get_layer(name).trainable = False
    return model


@pytest.mark.parametrize("optimizer", ["adam", optimizers.SGD(0.1, momentum=0.9)], ids=["adam", "momentum"])
def test_fit_leaves_frozen_layers_as_they_were(optimizer):
    model = frozen_network(optimizer)
    before = {key: value.copy() for key, value in model.params.items()}
    model.fit(X, Y, epochs=2, verbose=0)
    model.train_on_batch(X, Y)
    for key, value in model.params.items():
        assert (value == before[key]).all() == (key.split("/")[0] in FROZEN), key
    for values in model.optimizer.state.values():
        assert values.keys() == model.trainable_params.keys()


def test_said_in_the_constructor_or_of_the_whole_model():
    assert not layers.Dense(3, trainable=False).trainable
    assert layers.Dense(3, trainable=True).get_config() == layers.Dense(3).get_config()
    model = small_network()
    model.trainable = False
    assert [layer.trainable for layer in model.layers] == [False] * len(model.layers)
    assert not model.trainable
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert all((new == old).all() for new, old in zip(model.get_weights(), before, strict=True))
    model.layers[-1].trainable = True
    assert model.trainable
    model.fit(X, Y, verbose=0)
    changed = [(new != old).any() for new, old in zip(model.get_weights(), before, strict=True)]
    assert changed == [False] * 6 + [True] * 2


def test_the_other_layers_learn_what_they_would_have_learned():
    """The gradients do not change because others stand still."""
    model, free = frozen_network(optimizers.SGD(0.1)), small_network(optimizer=optimizers.SGD(0.1))
    model.train_on_batch(X, Y)
    free.train_on_batch(X, Y)
    for key in model.trainable_params:
        np.testing.assert_array_equal(model.params[key], free.params[key])


def test_lists_of_weights():
    model = frozen_network()
    assert [len(w) for w in (model.weights, model.trainable_weights, model.non_trainable_weights)] == [8, 4, 4]
    assert [w.path for w in model.trainable_variables][:2] == ["conv2d_1/kernel", "conv2d_1/bias"]
    assert [w.path for w in model.non_trainable_variables][:2] == ["conv2d/kernel", "conv2d/bias"]
    dense = model.get_layer("dense")
    assert [(w.name, w.path, w.shape) for w in dense.weights] == [
        ("kernel", "dense/kernel", (20, 12)),
        ("bias", "dense/bias", (12,)),
    ]
    assert (len(dense.trainable_weights), len(dense.non_trainable_weights)) == (0, 2)
    dense.trainable = True
    assert (len(dense.trainable_variables), len(dense.non_trainable_variables)) == (2, 0)
    assert model.count_params() == sum(w.size for w in model.weights)


def test_weights_are_the_parameters_and_not_copies():
    model = small_network()
    kernel, bias = model.get_layer("dense").weights
    assert np.shares_memory(kernel, model.get_layer("dense").kernel)
    assert type(kernel.numpy()) is type(kernel + 1) is type(kernel.mean(axis=0)) is np.ndarray
    assert not np.shares_memory(kernel.numpy(), kernel)
    assert isinstance(kernel.sum(), np.float32)
    bias.assign(np.arange(12))
    np.testing.assert_array_equal(model.params["dense/bias"], np.arange(12))
    with pytest.raises(ValueError, match=r"dense/bias: assign: expected shape \(12,\), got \(3,\)"):
        bias.assign([1, 2, 3])
    model.set_weights(model.weights)
    model.fit(X, Y, verbose=0)
    assert all(type(value) is np.ndarray for value in model.params.values())


def test_a_layer_that_learns_again_starts_with_fresh_moments():
    model = frozen_network()
    model.fit(X, Y, verbose=0)
    model.get_layer("dense").trainable = True
    model.fit(X, Y, verbose=0)
    assert model.optimizer.state["momentum"].keys() == model.trainable_params.keys()


def test_saved_and_loaded_it_is_still_frozen(tmp_path):
    model = frozen_network()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.npz")
    again = models.load_model(tmp_path / "model.npz")
    assert again.frozen == model.frozen == set(FROZEN)
    for one in (model, again):
        one.fit(X, Y, verbose=0)
    for new, old in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_run_goes_on_only_with_the_same_layers_frozen(tmp_path):
    def fit(model):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)])

    fit(frozen_network())
    fit(frozen_network())
    with pytest.raises(ValueError, match="cannot go on from"):
        fit(small_network())


def test_the_way_back_ends_at_the_first_layer_that_learns(monkeypatch):
    class NoWayBack(layers.Dense):
        def backward(self, dy, cache, need_dx=True):
            raise AssertionError("nobody needs it")

    model = models.Sequential(
        [layers.Input(4), NoWayBack(3, trainable=False), layers.ReLU(), layers.Dense(2, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.ones((2, 4)), [0, 1], verbose=0)
    assert "Dense: units=3, trainable=False" in repr(layers.Dense(3, trainable=False))
