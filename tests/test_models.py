"""Sequential: its structure, its summary, and one clear error for everything that cannot be right."""

import copy
import warnings

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import layers, models, utils
from cnn.losses import SparseCategoricalCrossentropy
from cnn.optimizers import SGD


def article_network(flatten=True):
    """The article's own lines."""
    model = models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), padding="same", activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.MaxPooling2D((2, 2), strides=2))
    model.add(layers.Conv2D(64, (3, 3), padding="same", activation="relu"))
    model.add(layers.MaxPooling2D((2, 2), strides=2))
    if flatten:
        model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    return model


# Structure


def test_the_articles_network():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = article_network()
    assert [layer.name for layer in model.layers] == [
        "conv2d",
        "max_pooling2d",
        "conv2d_1",
        "max_pooling2d_1",
        "flatten",
        "dense",
        "dense_1",
    ]
    assert [w.shape for w in model.get_weights()] == [
        (3, 3, 1, 32),
        (32,),
        (3, 3, 32, 64),
        (64,),
        (3136, 128),
        (128,),
        (128, 10),
        (10,),
    ]
    assert model.count_params() == 421_642
    assert (model.input_shape, model.output_shape) == ((None, 28, 28, 1), (None, 10))


def test_the_article_without_flatten_is_told_to_add_it():
    model = article_network(flatten=False)
    assert model.output_shape == (None, 7, 7, 10)  # as in Keras, Dense works on the last axis
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(
        ValueError, match=r"got shape \(4, 7, 7, 10\).*Add layers.Flatten\(\) before the first Dense layer"
    ):
        model.fit(np.zeros((4, 28, 28, 1)), np.zeros(4), verbose=0)


SUMMARY = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ conv2d (Conv2D)                 │ (None, 28, 28, 32)     │           320 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ max_pooling2d (MaxPooling2D)    │ (None, 14, 14, 32)     │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ conv2d_1 (Conv2D)               │ (None, 14, 14, 64)     │        18,496 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ max_pooling2d_1 (MaxPooling2D)  │ (None, 7, 7, 64)       │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ flatten (Flatten)               │ (None, 3136)           │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense (Dense)                   │ (None, 128)            │       401,536 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 10)             │         1,290 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 421,642 (1.61 MB)
 Trainable params: 421,642 (1.61 MB)
 Non-trainable params: 0 (0.00 B)"""


def test_summary_is_that_of_keras():
    lines = []
    assert article_network().summary(line_length=76, print_fn=lines.append) is None
    assert "\n".join(lines) == SUMMARY


def test_summary_of_a_width_that_is_no_number():
    with pytest.raises(ValueError, match="summary: line_length: expected a whole number .*, got 'wide'"):
        article_network().summary(line_length="wide")


def test_summary_before_the_input_is_known_and_with_a_long_name():
    lines = []
    models.Sequential([layers.Dense(3, name="a" * 60)]).summary(line_length=70, print_fn=lines.append)
    text = "\n".join(lines)
    assert "│ ?" in text
    assert "0 (unbuilt)" in text
    assert text.count("a") >= 60
    assert len({len(line) for line in text.splitlines() if line[0] in "┏┃┡│├└"}) == 1


def test_a_model_is_built_by_its_first_data():
    model = models.Sequential([layers.Flatten(), layers.Dense(3, activation="softmax")])
    assert not model.built
    assert model(np.zeros((2, 4, 5, 1))).shape == (2, 3)
    assert model.built
    assert model.input_shape == (None, 4, 5, 1)
    with pytest.raises(ValueError, match=r"built for \(4, 5, 1\), got \(5, 5, 1\)"):
        model.build((None, 5, 5, 1))


def test_photos_that_do_not_fit_build_nothing():
    model = models.Sequential([layers.Conv2D(2, 3), layers.MaxPooling2D(), layers.Conv2D(2, 3), layers.Flatten()])
    with pytest.raises(ValueError, match=r'Conv2D "conv2d_1": expected input of at least 3 x 3'):
        model(np.zeros((1, 5, 5, 1)))
    assert not model.built
    assert model(np.zeros((1, 8, 8, 1))).shape == (1, 2)


def test_add_pop_and_get_layer():
    model = small_network(compiled=False)
    dense = model.get_layer("dense_1")
    assert dense is model.layers[-1] is model.get_layer(index=-1)
    assert model.pop() is dense
    assert model.output_shape == (None, 12)
    model.add(layers.Dense(4, name="last"))
    assert model.output_shape == (None, 4)
    assert list(model.params)[-2:] == ["last/kernel", "last/bias"]
    for wanted in ({"name": "nobody"}, {"index": 99}, {}):
        with pytest.raises(ValueError, match="get_layer: expected one of"):
            model.get_layer(**wanted)


def test_names_count_for_each_model():
    for _ in range(2):
        assert [layer.name for layer in models.Sequential([layers.ReLU(), layers.ReLU(), layers.Dense(1)]).layers] == [
            "re_lu",
            "re_lu_1",
            "dense",
        ]


def test_weights_are_copies():
    model, (x, _) = small_network(), random_batch()
    before = model(x)
    weights = model.get_weights()
    for w in weights:
        w[:] = 9
    np.testing.assert_array_equal(model(x), before)
    model.set_weights(weights)
    assert (model(x) != before).any()
    after = model(x)
    weights[-1][0] = 5
    np.testing.assert_array_equal(model(x), after)


def test_a_copy_in_float64_has_weights_of_its_own():
    model = small_network()
    double = model.astype(np.float64)
    assert {w.dtype for w in double.get_weights()} == {np.dtype(np.float64)}
    double.layers[0].params["kernel"][:] = 0
    assert model.layers[0].params["kernel"].all()
    assert double(random_batch()[0]).dtype == np.float64


def test_a_copy_in_float64_trains_on_alone():
    model, (x, y) = small_network(), random_batch()
    model.train_on_batch(x, y)
    before = model.optimizer.state["momentum"]["dense/kernel"].tobytes()
    double = model.astype(np.float64)
    double.train_on_batch(x, y)
    assert (model.optimizer.iterations, double.optimizer.iterations) == (1, 2)
    assert model.optimizer.state["momentum"]["dense/kernel"].tobytes() == before
    assert double.optimizer.state["momentum"]["dense/kernel"].dtype == np.float64


def test_another_last_layer_wants_another_optimizer():
    model, (x, y) = small_network(), random_batch()
    model.train_on_batch(x, y)
    model.pop()
    model.add(layers.Dense(100, activation="softmax"))
    with pytest.raises(
        ValueError, match=r"adam: momentum of dense_1/kernel: expected shape \(12, 100\).*got \(12, 10\)"
    ):
        model.train_on_batch(x, y)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(x, y)


def test_a_deep_copy_is_independent():
    model, (x, y) = small_network(), random_batch()
    other = copy.deepcopy(model)
    before = model.predict(x, verbose=0)
    other.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert (other.predict(x, verbose=0) != before).any()


def test_the_seed_decides_the_weights():
    def first_weights(seed):
        return small_network(seed).get_weights()[0].tobytes()

    assert first_weights(0) == first_weights(0) != first_weights(1)
    utils.set_random_seed(1)
    try:
        assert first_weights(None) == first_weights(1)
    finally:
        utils.set_random_seed(0)


def test_keras_forms_of_everything():
    model = article_network()
    for optimizer in ("adam", "SGD", SGD, SGD(0.1, momentum=0.9)):
        for loss in ("sparse_categorical_crossentropy", SparseCategoricalCrossentropy, SparseCategoricalCrossentropy()):
            model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    model.compile("adam", "sparse_categorical_crossentropy")
    assert isinstance(model.test_on_batch(np.zeros((2, 28, 28, 1)), [0, 1]), float)
    model.compile("adam", "sparse_categorical_crossentropy", ["acc"])
    assert set(model.test_on_batch(np.zeros((2, 28, 28, 1)), [0, 1], return_dict=True)) == {"acc", "loss"}


# What cannot be right

BAD_STRUCTURE = {
    "not a layer": (lambda: models.Sequential([3]), 'Sequential "sequential": add: expected a layer, got 3'),
    "a layer's class": (lambda: models.Sequential([layers.Flatten]), "add: expected a layer, got <class"),
    "same layer twice": (
        lambda: models.Sequential([relu := layers.ReLU(), relu]),
        'add: ReLU "re_lu" is in this model already',
    ),
    "same name twice": (
        lambda: models.Sequential([layers.ReLU(name="a"), layers.Dense(1, name="a")]),
        "there is another layer 'a'",
    ),
    "Input in the middle": (
        lambda: models.Sequential([layers.ReLU(), layers.Input((3,))]),
        "Input stands once, before all layers",
    ),
    "two Inputs": (lambda: models.Sequential([layers.Input((3,)), layers.Input((3,))]), "Input stands once"),
    "shape that does not follow": (
        lambda: models.Sequential([layers.Dense(2, input_shape=(3,)), layers.Dense(2, input_shape=(5,))]),
        r"declares input_shape \(5,\), but its input will be \(2,\)",
    ),
    "layer built for another model": (
        lambda: models.Sequential([layers.Input((4, 4, 1)), built_dense()]),
        r"built for input \(3,\), but here it would get \(4, 4, 1\)",
    ),
    "window above the photo": (
        lambda: models.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 5)]),
        r"Conv2D: expected input of at least 5 x 5",
    ),
    "no photo": (
        lambda: models.Sequential([layers.Input((4,)), layers.Conv2D(2, 3)]),
        r"expected input \(H, W, C\), got \(4,\)",
    ),
    "pop from nothing": (lambda: models.Sequential().pop(), "pop: there is no layer to remove"),
    "seed": (lambda: models.Sequential(seed=-1), "seed: .* got -1"),
    "build": (
        lambda: models.Sequential([layers.Dense(1)]).build(3),
        r"build: expected a shape with a batch axis such as .*, got 3",
    ),
    "count before build": (
        lambda: models.Sequential([layers.Dense(1)]).count_params(),
        "count_params: the shape of the input is not known yet",
    ),
    "weights before build": (
        lambda: models.Sequential([layers.Dense(1)]).get_weights(),
        "get_weights: the shape of the input is not known yet",
    ),
    "predict with no layers": (
        lambda: models.Sequential().predict(np.zeros((1, 2))),
        "predict: the model has no layers",
    ),
    "optimizer": (
        lambda: article_network().compile("ftrl", "sparse_categorical_crossentropy"),
        "optimizer: expected one of 'sgd', 'adam', .* or an optimizer, got 'ftrl'",
    ),
    "loss": (
        lambda: article_network().compile("adam", "hinge"),
        "loss: expected 'sparse_categorical_crossentropy' or .*, got 'hinge'",
    ),
    "metrics": (
        lambda: article_network().compile("adam", "sparse_categorical_crossentropy", ["f1"]),
        "compile: metrics: expected 'accuracy', .*, got 'f1'",
    ),
    "logits and softmax": (
        lambda: compiled(SparseCategoricalCrossentropy(from_logits=True)).fit(*random_batch(), verbose=0),
        "the loss expects logits .*, but the model ends in softmax",
    ),
    "fit before compile": (lambda: small_network(compiled=False).fit(*random_batch()), r"fit: call compile\(\) first"),
    "evaluate before compile": (
        lambda: small_network(compiled=False).evaluate(*random_batch()),
        r"evaluate: call compile\(\) first",
    ),
    "gradients before compile": (
        lambda: small_network(compiled=False).loss_and_gradients(*random_batch()),
        r"call compile\(\) first",
    ),
    "step before compile": (
        lambda: small_network(compiled=False).train_on_batch(*random_batch()),
        r"train_on_batch: call compile\(\) first",
    ),
    "too few weights": (lambda: small_network().set_weights([]), "set_weights: expected 8 arrays, got 0"),
    "weights of other shape": (
        lambda: small_network().set_weights([w.T for w in small_network().get_weights()]),
        r'Conv2D "conv2d": set_weights: kernel: expected shape \(3, 3, 1, 4\), got \(4, 1, 3, 3\)',
    ),
}


def built_dense():
    layer = layers.Dense(2)
    layer(np.zeros((1, 3)))
    return layer


def compiled(loss):
    model = small_network(compiled=False)
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(("action", "message"), BAD_STRUCTURE.values(), ids=BAD_STRUCTURE)
def test_what_cannot_be_right_is_named(action, message):
    with pytest.raises(ValueError, match=message) as caught:
        action()
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_change_nothing():
    model = small_network()
    before = [w.tobytes() for w in model.get_weights()]
    wrong = model.get_weights()
    wrong[0] += 1
    wrong[-1] = np.zeros(11)
    with pytest.raises(ValueError, match=r"dense_1.*bias: expected shape \(10,\), got \(11,\)"):
        model.set_weights(wrong)
    assert [w.tobytes() for w in model.get_weights()] == before


def test_each_call_in_training_drops_other_units():
    model = models.Sequential([layers.Dropout(0.5, input_shape=(200,)), layers.Dense(3)])
    x = np.ones((4, 200), np.float32)
    first, second = model(x, training=True), model(x, training=True)
    assert (first != second).any()
    again = models.Sequential([layers.Dropout(0.5, input_shape=(200,)), layers.Dense(3)])
    np.testing.assert_array_equal(again(x, training=True), first)  # from the same seed the same draws
    np.testing.assert_array_equal(model(x), again(x))


@pytest.mark.parametrize("verb", ["train_on_batch", "test_on_batch"])
def test_a_batch_that_is_none(verb):
    with pytest.raises(ValueError, match=rf'Sequential "sequential": {verb}: x: expected shape'):
        getattr(small_network(), verb)(3, 4)
