"""Augmentation ahead of the step: drawn by photo and epoch; threads, batches, order and resuming change no bit."""

import threading

import numpy as np
import pytest
from conftest import random_batch

import cnn
from cnn import callbacks, layers, models, utils
from cnn.network import forward
from cnn.training import ahead
from cnn.training.batches import Batch
from cnn.training.sources import Arrays, Stream

HEAD = {
    "moves": lambda: [
        layers.RandomFlip("horizontal", alternating=True),
        layers.RandomTranslation(0.2, 0.2, "constant"),
    ],
    "whole moves": lambda: [layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2, "constant", "nearest")],
    "moved twice": lambda: [layers.RandomTranslation(0.3, 0.3, "constant", "nearest") for _ in range(2)],
    "all": lambda: [
        layers.Rescaling(0.5),
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.RandomContrast((0.2, 0.4), value_range=(0, 1)),
        layers.RandomBrightness(0.2, value_range=(0, 1)),
        layers.RandomErasing((0.5, 0.5), (0.1, 0.4), value_range=(0, 1)),
    ],
}
EVERY_HEAD = pytest.mark.parametrize("head", HEAD.values(), ids=HEAD)


def network(head, shards=2):
    after = [layers.Conv2D(2, 3, padding="same"), layers.Flatten(), layers.Dropout(0.2), layers.Dense(10, "softmax")]
    model = models.Sequential([layers.Input((8, 8, 1)), *head(), *after])
    model.shards = shards
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def numbered(count=10):
    """Photos that are told apart, whatever is done to them, by their labels."""
    return random_batch(count)[0], np.arange(count)


def passed(model, batch_size, epoch=0, count=10):
    """{photo: how it comes through the head in this epoch}."""
    model.epoch = epoch
    source = Arrays(Batch(*numbered(count)), batch_size, shuffle=True)
    return {
        int(label): photo
        for _, batch, _ in ahead.batches(model, source, 0)
        for label, photo in zip(batch.y, batch.x, strict=True)
    }


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, photo in first.items():
        np.testing.assert_array_equal(photo, second[key])


@EVERY_HEAD
def test_a_photo_in_an_epoch_is_changed_in_one_way(head):
    """Whatever the size of the batch; in another epoch, or with another seed, in another way."""
    model = network(head)
    first = passed(model, 4)
    assert_same(first, passed(model, 3))
    other = passed(model, 4, epoch=1)
    model.seed = 1
    for changed in (other, passed(model, 4)):
        assert sum((changed[k] != first[k]).any() for k in first) > 5


@EVERY_HEAD
def test_ahead_and_in_the_layers_the_same_is_computed(head):
    model, (x, y) = network(head), numbered()
    (_, batch, done), *_ = ahead.batches(model, Arrays(Batch(x, y), 10), 0)
    rngs = {layer.name: utils.DrawsOfPhotos(model.seed, 0, k, range(10)) for k, layer in enumerate(model.layers)}
    expected, _ = forward(model.layers[:done], x.astype(np.float32), training=True, rngs=rngs)
    assert done == len(head())
    np.testing.assert_allclose(batch.x, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(batch.y, y)  # a label stays with its photo


def test_alternating_flips_show_both_sides_in_two_epochs():
    model = network(lambda: [layers.RandomFlip("horizontal", alternating=True)])
    x, _ = numbered(40)
    epochs = [passed(model, 7, epoch, 40) for epoch in range(4)]
    flipped = np.array([[(epoch[k] != x[k]).any() for k in range(40)] for epoch in epochs])
    assert (flipped[0] != flipped[1]).all() and (flipped[0] == flipped[2]).all() and (flipped[1] == flipped[3]).all()
    assert 8 < flipped[0].sum() < 32  # each begins on a side of its own
    np.testing.assert_array_equal(epochs[int(flipped[0, 3])][3], x[3])


def weights_after(head, threads=None, epochs=2, **more):
    model = network(head)
    cnn.set_threads(threads)
    try:
        model.fit(*random_batch(10), batch_size=4, epochs=epochs, verbose=0, **more)
    finally:
        cnn.set_threads(None)
    return model.get_weights()


@EVERY_HEAD
def test_any_number_of_threads_gives_the_same_bits(head):
    one = weights_after(head, threads=1)
    for threads in (2, 4):
        for ours, theirs in zip(one, weights_after(head, threads), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not [thread for thread in threading.enumerate() if thread.name == "cnn ahead"]


def test_stopped_in_an_epoch_and_resumed_to_the_same_bits(tmp_path):
    class Stops(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_after_batch = self.model.epoch == 1 and batch == 0

    whole = weights_after(HEAD["all"])
    weights_after(HEAD["all"], callbacks=[Stops(), callbacks.BackupAndRestore(tmp_path)])
    assert list(tmp_path.iterdir())
    again = weights_after(HEAD["all"], callbacks=[Stops(), callbacks.BackupAndRestore(tmp_path)])
    for ours, theirs in zip(whole, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_who_goes_ahead():
    """Random layers at the head, and Rescaling before them; no layer behind one that learns, and no stream."""

    class Own(layers.RandomFlip):
        pass

    for head, length in (
        ([layers.Rescaling(2)], 0),
        ([layers.Rescaling(2), layers.RandomFlip(), layers.Rescaling(2)], 2),
        ([Own(), layers.RandomFlip()], 0),
        ([layers.Dropout(0.1), layers.RandomFlip()], 0),
    ):
        assert ahead.length_of_head(network(lambda head=head: head)) == length
    x, y = random_batch(4)
    ((_, batch, done),) = ahead.batches(network(HEAD["moves"]), Stream([(x, y)], "m: fit"), 0)
    assert done == 0 and batch.x is x


def test_an_error_ahead_comes_out_and_ends_the_thread():
    def make(step):
        if step == 3:
            raise ValueError("photo 3")
        return step

    found = []
    with pytest.raises(ValueError, match="photo 3"):
        for step in ahead.in_advance(make, range(10)):
            found.append(step)
    assert found == [0, 1, 2]
    left = ahead.in_advance(make, range(10))
    next(left)
    left.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "cnn ahead"]


def test_without_a_second_thread_the_batches_are_made_in_turn(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no more")))
    assert list(ahead.in_advance(str, range(3))) == ["0", "1", "2"]


# ---- faults


def shifted_labels(self, step):
    batch = ORIGINAL(self, step)
    return batch._replace(y=np.roll(batch.y, 1))


def by_place(self, photos):
    """As if a photo's draws were those of its place in the batch."""
    return OF(self, np.arange(len(photos)))


ORIGINAL, OF = ahead.PassesHead.__call__, utils.DrawsOfPhotos.of
FAULTS = {
    "labels of other photos": (ahead.PassesHead, "__call__", shifted_labels),
    "drawn by place": (utils.DrawsOfPhotos, "of", by_place),
    "moves the wrong way round": (ahead, "_one_after_the_other", lambda first, second: first),
}


@pytest.mark.parametrize(("where", "name", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_noticed(where, name, fault, monkeypatch):
    monkeypatch.setattr(where, name, fault)
    with pytest.raises(AssertionError):
        test_ahead_and_in_the_layers_the_same_is_computed(HEAD["whole moves"])
        test_a_photo_in_an_epoch_is_changed_in_one_way(HEAD["whole moves"])
