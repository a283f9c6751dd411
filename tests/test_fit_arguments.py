"""What fit, evaluate and the steps alone take beside photos and labels: weights, generators, steps, validations."""

import numpy as np
import pytest
from conftest import random_batch, small_network
from test_resume import BATCH, EPOCHS, STEPS, StopAfter, X, Y, interrupted, new_model, uninterrupted

from cnn import layers, models, utils
from cnn.callbacks import BackupAndRestore, Callback, EarlyStopping, ModelCheckpoint
from cnn.gradcheck import relative_error
from cnn.training.step import run_batch

PHOTOS, CLASSES = random_batch(20)
WEIGHTS = np.random.default_rng(1).random(20)


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


def fitted(x=PHOTOS, y=CLASSES, **arguments):
    model = small_network()
    model.fit(x, y, **{"batch_size": 8, "epochs": 2, "verbose": 0, **arguments})
    return model


def losses_of(model, x=PHOTOS, y=CLASSES):
    """The loss of each photo."""
    p = model.predict(x, verbose=0).astype(np.float64)
    return -np.log(p[np.arange(len(y)), y])


def parts(size=8, times=1, weights=False):
    for _ in range(times):
        for start in range(0, 20, size):
            cut = slice(start, start + size)
            yield (PHOTOS[cut], CLASSES[cut], WEIGHTS[cut]) if weights else (PHOTOS[cut], CLASSES[cut])


# Weights


@pytest.mark.parametrize("weights", [WEIGHTS, WEIGHTS[:, None], WEIGHTS.tolist(), WEIGHTS.astype(np.float32)])
def test_a_weight_says_how_often_a_photo_counts(weights):
    """The mean stays one over all photos, as in Keras; metrics are not weighted."""
    model = small_network()
    loss, accuracy = model.evaluate(PHOTOS, CLASSES, sample_weight=weights, verbose=0, batch_size=7)
    assert loss == pytest.approx(float((losses_of(model) * WEIGHTS).mean()), rel=1e-5)
    assert accuracy == model.evaluate(PHOTOS, CLASSES, verbose=0)[1]
    assert model.test_on_batch(PHOTOS, CLASSES, weights)[0] == pytest.approx(loss, rel=1e-6)


def test_gradients_are_those_of_the_weighted_loss():
    """A photo of weight 3 is three photos, but for the mean; and shards change nothing."""
    model = small_network()
    weights = np.array([3.0, 0, 1, 0, 0, 0])
    x, y = PHOTOS[:6], CLASSES[:6]
    repeated = [0, 0, 0, 2]
    for fast in (False, True):
        weighted = run_batch(model, x, y, training=False, weights=weights, fast=fast)
        plain = run_batch(model, x[repeated], y[repeated], training=False)
        assert weighted.loss == pytest.approx(plain.loss * 4 / 6, rel=1e-6)
        for key, grad in plain.grads.items():
            assert relative_error(grad * np.float32(4 / 6), weighted.grads[key]) < 1e-6, key


def test_weights_of_classes_are_weights_of_photos():
    table = {0: 2.0, 3: 0.0, 7: np.float32(0.5)}
    weights = [table.get(c, 1.0) for c in CLASSES.tolist()]
    expected = bits(fitted(sample_weight=weights))
    assert bits(fitted(class_weight=table)) == expected != bits(fitted())
    one_hot = utils.to_categorical(CLASSES, 10)
    results = []
    for arguments in ({"class_weight": table}, {"sample_weight": weights}):
        model = small_network(compiled=False)
        model.compile("adam", "categorical_crossentropy")
        model.fit(PHOTOS, one_hot, verbose=0, **arguments)
        results.append(bits(model))
    assert results[0] == results[1]


def test_weights_of_two_classes_with_one_output():
    model = models.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 4)), np.array([0, 1, 1, 0])
    loss = model.train_on_batch(x, y, class_weight={0: 0.0, 1: 1.0})
    again = models.Sequential([layers.Input((4,)), layers.Dense(1)])
    again.compile("sgd", "mse")
    assert again.train_on_batch(x, y, np.array([0, 1, 1, 0])) == loss
    assert bits(again) == bits(model)


def test_ones_change_nothing():
    assert bits(fitted(sample_weight=np.ones(20))) == bits(fitted(class_weight={})) == bits(fitted())


def test_weights_are_held_back_with_their_photos():
    model = small_network()
    model.optimizer.learning_rate = 0
    kept = model.fit(PHOTOS, CLASSES, sample_weight=WEIGHTS, validation_split=0.25, verbose=0).history
    losses = losses_of(model)
    assert kept["val_loss"][0] == pytest.approx((losses * WEIGHTS)[15:].mean(), rel=1e-5)
    of_classes = model.fit(PHOTOS, CLASSES, class_weight={0: 9.0}, validation_split=0.25, verbose=0).history
    assert of_classes["val_loss"][0] == pytest.approx((losses * np.where(CLASSES == 0, 9, 1))[15:].mean(), rel=1e-5)


def test_weights_stand_third_in_validation_data():
    model = small_network()
    model.optimizer.learning_rate = 0
    history = model.fit(PHOTOS, CLASSES, validation_data=(PHOTOS, CLASSES, WEIGHTS), verbose=0).history
    assert history["val_loss"][0] == pytest.approx((losses_of(model) * WEIGHTS).mean(), rel=1e-5)


def test_weights_stand_third_in_a_step_alone():
    """They once landed on return_dict, and trained without weights."""
    model, other = small_network(), small_network()
    model.train_on_batch(PHOTOS, CLASSES, WEIGHTS)
    other.fit(PHOTOS, CLASSES, batch_size=20, sample_weight=WEIGHTS, shuffle=False, verbose=0)
    assert bits(model) == bits(other)
    for verb in ("train_on_batch", "test_on_batch"):
        assert list(getattr(model, verb)(PHOTOS, CLASSES, return_dict=True)) == ["accuracy", "loss"]
        with pytest.raises(ValueError, match="sample_weight: expected one weight a photo"):
            getattr(model, verb)(PHOTOS, CLASSES, True)
        with pytest.raises(ValueError, match="return_dict: expected True or False"):
            getattr(model, verb)(PHOTOS, CLASSES, return_dict=WEIGHTS)


# Photos without a channel axis


def test_a_channel_axis_is_added_and_taken_away_as_by_keras():
    assert bits(fitted(PHOTOS[..., 0], validation_data=(PHOTOS[..., 0], CLASSES))) == bits(fitted())
    model = small_network()
    for verb in (model.predict_on_batch, lambda x: model.predict(x, verbose=0), model):
        np.testing.assert_array_equal(verb(PHOTOS[..., 0]), verb(PHOTOS))
    assert model.evaluate(PHOTOS[..., 0].tolist(), CLASSES, verbose=0) == model.evaluate(PHOTOS, CLASSES, verbose=0)
    rows = models.Sequential([layers.Input((5,)), layers.Dense(2)])
    np.testing.assert_array_equal(rows(np.ones((3, 5, 1))), rows(np.ones((3, 5))))


# How often there is a validation


@pytest.mark.parametrize(("freq", "expected"), [(1, 6), (2, 3), (4, 1), ([1, 5], 2), ((6,), 1), (7, 0)])
def test_validation_in_some_epochs(freq, expected):
    history = fitted(epochs=6, validation_split=0.5, validation_freq=freq).history.history
    assert len(history["loss"]) == 6 and len(history.get("val_loss", [])) == expected


def test_who_reads_a_validation_waits_for_one(tmp_path):
    stop = EarlyStopping(patience=1, min_delta=10)
    best = ModelCheckpoint(str(tmp_path / "{epoch}.npz"), save_best_only=True)
    model = fitted(epochs=9, validation_split=0.5, validation_freq=2, callbacks=[stop, best])
    assert model.history.epoch == [0, 1, 2, 3]
    assert "2.npz" in {path.name for path in tmp_path.iterdir()} <= {"2.npz", "4.npz"}


def test_validation_batches_of_another_size_and_number():
    model = small_network()
    model.optimizer.learning_rate = 0
    arguments = {"validation_data": (PHOTOS, CLASSES), "validation_batch_size": 5, "validation_steps": 3}
    history = model.fit(PHOTOS, CLASSES, verbose=0, **arguments).history
    assert history["val_loss"][0] == pytest.approx(losses_of(model)[:15].mean(), rel=1e-5)
    assert model.evaluate(PHOTOS, CLASSES, 5, verbose=0, steps=3)[0] == pytest.approx(history["val_loss"][0], rel=1e-6)
    assert model.predict(PHOTOS, 5, 0, 3).shape == (15, 10)


# Steps


def test_as_many_steps_as_there_are_change_nothing():
    assert bits(fitted(steps_per_epoch=3)) == bits(fitted())


def test_the_next_epoch_goes_on_where_the_last_one_ended():
    few = fitted(epochs=6, steps_per_epoch=1)
    assert few.optimizer.iterations == 6
    assert bits(small_epochs(few)) == bits(few)
    assert fitted(epochs=2, steps_per_epoch=5).optimizer.iterations == 10


def small_epochs(model):
    """Six steps by hand: two passes over the photos, each shuffled as an epoch is."""
    by_hand = small_network()
    for step in range(6):
        order = utils.generator(0, utils.SHUFFLE, step // 3).permutation(20)
        part = order[8 * (step % 3) :][:8]
        by_hand.epoch = step
        by_hand.fit(PHOTOS[part], CLASSES[part], batch_size=8, shuffle=False, verbose=0)
    return by_hand


class Dictionary(dict):
    def __getitem__(self, key):
        return next(parts())


BAD = {
    "labels beside": (lambda: fitted(parts(), CLASSES), "fit: y: expected none beside a generator, which yields it"),
    "weights beside": (
        lambda: fitted(parts(), None, sample_weight=WEIGHTS),
        "fit: sample_weight: expected none beside a generator, which yields it with x",
    ),
    "weights beside, in evaluate": (
        lambda: small_network().evaluate(parts(), sample_weight=WEIGHTS),
        "evaluate: sample_weight: expected none beside a generator",
    ),
    "split": (
        lambda: fitted(parts(), None, validation_split=0.1),
        "validation_split: expected arrays .*, got generator",
    ),
    "ended": (lambda: fitted(parts(), None), r"the batches ended before step 1: expected .* \(while True\)"),
    "ended in an epoch": (lambda: fitted(parts(), None, steps_per_epoch=2), "the batches ended before step 2"),
    "empty": (lambda: fitted(iter([]), None), "the batches ended before step 1"),
    "photos alone": (
        lambda: fitted((x for x, _ in parts()), None),
        r"fit: expected batches \(x, y\) or .*, got ndarray",
    ),
    "bad photos": (lambda: fitted(((x[:, 1:], y) for x, y in parts()), None), r"fit: x: expected shape \(N, 8, 8, 1\)"),
    "before compile": (lambda: small_network(compiled=False).fit(parts()), r"fit: call compile\(\) first"),
    "nothing": (lambda: small_network().fit(), "x: expected an array of numbers, got dtype object"),
    "a dict": (lambda: fitted(Dictionary(), None), "x: expected an array of numbers"),
    "both weights": (lambda: fitted(class_weight={}, sample_weight=WEIGHTS), "expected one of them, got both"),
    "no dict": (lambda: fitted(class_weight=[1.0] * 10), "class_weight: expected a dict from class to weight"),
    "class 10": (
        lambda: fitted(class_weight={10: 1.0}),
        "class_weight: class: expected a whole number from 0 to 9, got",
    ),
    "class a": (lambda: fitted(class_weight={"a": 1.0}), "class_weight: class: expected a whole number"),
    "weight -1": (lambda: fitted(class_weight={1: -1}), "class_weight of 1: expected a number of at least 0, got -1"),
    "few weights": (lambda: fitted(sample_weight=WEIGHTS[:3]), r"one weight a photo, shape \(20,\), got \(3,\)"),
    "steps": (lambda: fitted(steps_per_epoch=0), "fit: steps_per_epoch: expected a whole number from 1"),
    "freq": (lambda: fitted(validation_freq=0), "fit: validation_freq: expected a whole number from 1"),
    "freq list": (lambda: fitted(validation_freq=[0]), "fit: validation_freq: epoch: expected a whole number from 1"),
    "weights in evaluate": (
        lambda: small_network().evaluate(PHOTOS, CLASSES, sample_weight=3),
        "evaluate: sample_weight: expected one weight a photo",
    ),
}


@pytest.mark.parametrize(("action", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_right_is_named(action, message):
    with pytest.raises(ValueError, match=message) as caught:
        action()
    assert "\n" not in str(caught.value)


# Stopped in a batch


class StopTraining(Callback):
    """As a callback of Keras' that has seen enough in the middle of an epoch."""

    def __init__(self, batch):
        self.batch, self.seen = batch, []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)
        self.model.stop_training = len(self.seen) == self.batch

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(sorted(logs))

    def on_train_end(self, logs=None):
        self.seen.append("end")


def test_stop_training_in_a_batch_ends_the_epoch_after_it():
    stop = StopTraining(2)
    model = fitted(epochs=3, validation_split=0.25, callbacks=[stop])
    assert stop.seen == [0, 1, ["accuracy", "loss", "val_accuracy", "val_loss"], "end"]
    assert model.optimizer.iterations == 2 and model.history.epoch == [0] and model.epoch == 1


def test_a_run_stopped_in_a_batch_has_ended(tmp_path):
    backup = BackupAndRestore(tmp_path, save_freq=1, delete_checkpoint=False)
    first = fitted(epochs=3, callbacks=[StopTraining(2), backup])
    again = fitted(epochs=3, callbacks=[StopTraining(99), BackupAndRestore(tmp_path)])
    assert bits(first) == bits(again) and again.history.epoch == [0]


# Taken up again


def weighted_model():
    return new_model()


@pytest.mark.parametrize("batches", range(1, EPOCHS * STEPS + 1, 3))
@pytest.mark.parametrize(
    "arguments",
    [
        {"sample_weight": np.arange(30) / 10},
        {"class_weight": {0: 2.0, 1: 0.5}},
        {"validation_freq": 2},
        {"validation_freq": [1, 4]},
        {"validation_batch_size": 2, "validation_steps": 2},
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_with_these_arguments(tmp_path, batches, arguments):
    assert interrupted(tmp_path, [batches], **arguments) == uninterrupted(**arguments)


@pytest.mark.parametrize("batches", range(1, 9))
def test_with_steps(tmp_path, batches):
    assert interrupted(tmp_path, [batches], steps_per_epoch=2) == uninterrupted(steps_per_epoch=2)


def test_other_weights_are_another_run(tmp_path):
    arguments = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
    new_model().fit(X, Y, **arguments, callbacks=[BackupAndRestore(tmp_path), StopAfter(2)])
    for other, message in (
        ({"sample_weight": np.ones(30)}, "data: expected"),
        ({"steps_per_epoch": 3}, "steps_per_epoch|settings: expected"),
    ):
        with pytest.raises(ValueError, match=f"cannot go on from .*({message})"):
            new_model().fit(X, Y, **arguments, **other, callbacks=[BackupAndRestore(tmp_path)])


# compile, and helpers that scripts for Keras use


def test_arguments_of_compile_that_change_nothing():
    model = small_network(compiled=False)
    arguments = {"loss_weights": None, "weighted_metrics": None, "auto_scale_loss": True}
    speed = {"run_eagerly": True, "jit_compile": False, "steps_per_execution": 8}
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"], **arguments, **speed)
    for name, value in (("loss_weights", [1.0]), ("target_tensors", None)):
        with pytest.raises(ValueError, match=f"compile: the argument '{name}' is not supported here"):
            model.compile("sgd", "mse", **{name: value})
    with pytest.raises(ValueError, match="loss: expected .*, got None"):
        model.compile("sgd")


def test_weighted_metrics_count_a_photo_as_often_as_its_weight(tmp_path):
    model = small_network(compiled=False)
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"], weighted_metrics=["accuracy", "acc"])
    names = ["loss", "accuracy", "weighted_accuracy", "acc"]
    assert model.metrics_names == names
    x, y = random_batch(20)
    weights = np.arange(20.0)
    history = model.fit(x, y, batch_size=7, sample_weight=weights, validation_data=(x, y, weights), verbose=0).history
    right = model.predict(x, verbose=0).argmax(axis=1) == y
    expected = [right.mean(), np.average(right, weights=weights), np.average(right, weights=weights)]
    assert [history[f"val_{name}"][0] for name in names[1:]] == pytest.approx(expected)
    assert model.evaluate(x, y, sample_weight=weights, verbose=0)[1:] == pytest.approx(expected)
    assert model.test_on_batch(x, y, sample_weight=weights)[1:] == pytest.approx(expected)
    assert model.evaluate(x, y, verbose=0)[1:] == pytest.approx([right.mean()] * 3)
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert again.metrics_names == names and [m.weighted for m in again.metrics] == [False, True, True]
    with pytest.raises(ValueError, match="weighted_metrics: expected a list of metrics, got 3"):
        model.compile("sgd", "mse", weighted_metrics=3)


def test_to_categorical():
    for labels in ([0, 2, 1], [[0], [2], [1]], np.array([0.0, 2, 1]), np.array([0, 2, 1], np.uint8)):
        np.testing.assert_array_equal(utils.to_categorical(labels), np.eye(3)[[0, 2, 1]])
    assert utils.to_categorical([1], num_classes=4).tolist() == [[0, 1, 0, 0]]
    assert utils.to_categorical([[0, 1], [1, 0]]).shape == (2, 2, 2)
    for labels, classes, message in (
        ([0, 3], 3, "expected whole numbers from 0 to 2, got 3"),
        ([-1], 3, "got -1"),
        ([0.5], 3, "got 0.5"),
        ([], None, "expected class numbers, got shape"),
        (["a"], None, "expected an array of numbers"),
        ([1], 0, "num_classes: expected a whole number from 1"),
    ):
        with pytest.raises(ValueError, match=f"to_categorical: .*{message}"):
            utils.to_categorical(labels, classes)


def test_normalize():
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(np.linalg.norm(utils.normalize(x), axis=1), 1)
    np.testing.assert_allclose(np.abs(utils.normalize(x, axis=0, order=1)).sum(axis=0), 1)
