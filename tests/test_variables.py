"""Parameters and numbers of metrics with Keras' words for variables, and optimizers that are given them."""

import copy
import json

import numpy as np
import pytest
from conftest import random_batch, small_network

import cnn
from cnn import constraints, layers, metrics, models, optimizers
from cnn.variables import Variable

X, Y = random_batch(6)


def test_a_layers_kernel_and_bias_are_variables():
    dense = layers.Dense(2, name="d")
    dense(np.ones((1, 3), np.float32))
    kernel = dense.kernel
    assert (kernel.name, kernel.path, kernel.shape, kernel.dtype) == ("kernel", "d/kernel", (3, 2), "float32")
    assert type(kernel.numpy()) is type(kernel.value) is np.ndarray
    kernel.assign(np.ones((3, 2))).assign_add(np.full((3, 2), 2.0)).assign_sub(1)
    assert (dense.params["kernel"] == 2).all() and (kernel.value == 2).all()
    kernel.numpy()[:] = 7
    dense.bias.assign([1, 2])
    np.testing.assert_array_equal(dense(np.ones((1, 3))), [[7, 8]])
    with pytest.raises(ValueError, match=r"d/kernel: assign: expected shape \(3, 2\), got \(3,\)"):
        kernel.assign([1, 2, 3])


def test_variables_say_whether_they_learn():
    model = models.Sequential([layers.Dense(2, input_shape=3), layers.BatchNormalization(), layers.Dense(1)])
    model.layers[0].trainable = False
    told = {weight.path: weight.trainable for weight in model.weights}
    assert [path for path, learns in told.items() if learns] == [w.path for w in model.trainable_weights]
    assert list(told.values()) == [False, False, True, True, False, False, True, True]


def test_a_variable_of_ones_own():
    variable = cnn.Variable([1, 2], name="mine")
    assert (variable.dtype, variable.path, variable.trainable) == ("float32", "mine", True)
    assert type(variable * 2) is np.ndarray and (variable * 2).tolist() == [2, 4]
    first, second = Variable(0.0), Variable(0.0)
    assert first.name != second.name and float(first.assign_add(2)) == 2


# ---- optimizers


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_an_optimizer_takes_gradients_and_variables_in_keras_words(optimizer):
    model, same = small_network(optimizer=optimizer), small_network(optimizer=optimizer)
    for _ in range(2):
        _, grads = model.loss_and_gradients(X, Y)
        in_order = [grads[weight.path] for weight in model.trainable_variables]
        model.optimizer.apply_gradients(zip(in_order, model.trainable_variables, strict=True))
        same.optimizer.update(same.params, same.loss_and_gradients(X, Y)[1])
    for ours, theirs in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_applied_gradients_keep_to_constraints_and_lists_will_do():
    dense = layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_constraint=constraints.NonNeg())
    dense(np.ones((1, 2)))
    optimizers.SGD(1.0).apply([[[3.0], [0.5]]], dense.trainable_variables)
    np.testing.assert_array_equal(dense.kernel, [[0], [0.5]])
    w = Variable([1.0, 2.0])
    optimizers.SGD(1.0).apply([[1.0, 1.0]], [w])
    assert w.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("grads", "variables", "message"),
    [
        ([np.ones(2)], [], r"sgd: apply: expected as many gradients as variables, .* got 1 for \[\]"),
        ([1.0, 1.0], [Variable(0.0, name="w"), Variable(0.0, name="w")], "each with a name of its own, got 2 for"),
    ],
)
def test_gradients_without_variables_are_named(grads, variables, message):
    with pytest.raises(ValueError, match=message):
        optimizers.SGD().apply(grads, variables)


def test_variables_can_be_left_out_of_weight_decay():
    model = small_network(optimizer=optimizers.SGD(0.1, weight_decay=0.5))
    biases = [weight for weight in model.weights if weight.name == "bias"]
    model.optimizer.exclude_from_weight_decay([*biases, model.layers[0].kernel])
    model.train_on_batch(X, Y)
    assert set(model.optimizer.undecayed) == {"conv2d/kernel", *(weight.path for weight in biases)}


# ---- metrics of one's own


class Confusion(metrics.Metric):
    """In the style of Keras' guide: a count, and a table of classes."""

    def __init__(self, classes=10, name="confusion", **others):
        super().__init__(name=name, **others)
        self.right = self.add_weight(name="right", initializer="zeros")
        self.table = self.add_weight(shape=(classes, classes), name="table")

    def update_state(self, y_true, y_pred, sample_weight=None):
        found = y_pred.argmax(axis=-1)
        self.right.assign_add(np.sum(found == y_true))
        np.add.at(self.table, (y_true, found), 1)

    def result(self):
        return self.right / max(self.table.sum(), 1)


class Plain(Confusion):
    """That knows of no weights, and forgets by itself."""

    def update_state(self, y_true, y_pred):
        super().update_state(y_true, y_pred)

    def reset_state(self):
        self.right.assign(0)
        self.table.assign(np.zeros(self.table.shape))


@pytest.mark.parametrize("kind", [Confusion, Plain])
def test_a_metric_of_ones_own_counts_what_accuracy_counts(kind):
    model = small_network(compiled=False)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy", kind()])
    history = model.fit(X, Y, epochs=3, batch_size=4, validation_data=(X, Y), verbose=0).history
    assert history["confusion"] == pytest.approx(history["accuracy"])
    assert history["val_confusion"] == pytest.approx(history["val_accuracy"])


def test_its_variables():
    metric = Confusion(classes=2)
    assert [v.path for v in metric.variables] == ["confusion/right", "confusion/table"]
    metric.update_state(np.array([0, 1]), np.array([[1, 0], [1, 0]]))
    again = copy.deepcopy(metric)
    again.reset_state()
    assert (float(metric.right), float(again.right), again.table.any()) == (1, 0, False)
    assert again.right is again.variables[0]
    assert metrics.Metric().name == "metric" and type("TopOne", (metrics.Metric,), {})().name == "top_one"
    with pytest.raises(ValueError, match="confusion: add_weight: initializer: expected one of .*, got 'twos'"):
        metric.add_weight(initializer="twos")
    with pytest.raises(ValueError, match="confusion: add_weight: shape: expected a tuple .*, got 'total'"):
        metric.add_weight("total")


@pytest.mark.parametrize("result", [np.ones(2), {"a": 1.0}, "much"])
def test_a_result_that_is_no_number_is_named(result):
    metric = Confusion()
    metric.result = lambda: result
    model = small_network(compiled=False)
    model.compile("adam", "sparse_categorical_crossentropy", [metric])
    with pytest.raises(ValueError, match="confusion: result: expected one number, got "):
        model.evaluate(X, Y, verbose=0)


def test_it_is_refused_by_name_where_a_file_should_hold_it(tmp_path):
    model = small_network(compiled=False)
    model.compile("adam", "sparse_categorical_crossentropy", [Confusion()])
    with pytest.raises(ValueError, match="save: metric: expected one of .*, got Confusion, which no file can describe"):
        model.save(tmp_path / "m.npz")


def test_what_is_described_comes_back():
    for module, thing in (
        (cnn.initializers, cnn.initializers.VarianceScaling(2.0, "fan_out")),
        (cnn.regularizers, cnn.regularizers.L1L2(0.1, 0.2)),
        (cnn.constraints, constraints.MaxNorm(3)),
        (cnn.losses, cnn.losses.Huber(0.5)),
        (cnn.optimizers, optimizers.SGD(0.5, momentum=0.9)),
        (metrics, metrics.F1Score("macro", name="f")),
    ):
        again = module.deserialize(json.loads(json.dumps(module.serialize(thing))))
        assert type(again) is type(thing) and again.get_config() == thing.get_config()
    assert cnn.activations.serialize(cnn.activations.gelu) == "gelu"
    assert cnn.activations.deserialize("relu")(-1.0) == 0


def test_a_sum_and_what_is_not_here():
    total = metrics.Sum()
    total.update_state([1, 2, 3])
    assert total.result() == 6
    with pytest.raises(AttributeError, match="no attribute 'preprocessing': layers.Rescaling, RandomFlip, .* do it"):
        _ = cnn.preprocessing


def test_a_function_with_settings_is_a_metric():
    def within(y_true, y_pred, distance=1.0):
        return np.abs(y_true - y_pred) <= distance

    class Near(metrics.MeanMetricWrapper):
        def __init__(self, name="near", **others):
            super().__init__(within, name=name, distance=0.1, **others)

    assert metrics.MeanMetricWrapper(within)([1.0, 2.0], [1.5, 4.0]) == 0.5
    assert metrics.MeanMetricWrapper(within, "w", distance=3)([1.0, 2.0], [1.5, 4.0]) == 1
    assert (Near().name, Near()([1.0, 2.0], [1.05, 4.0])) == ("near", 0.5)
