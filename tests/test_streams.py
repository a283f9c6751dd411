"""Batches from generators, from objects that have them by number, and from anything that can be iterated over."""

import io

import numpy as np
import pytest
from conftest import small_network
from test_fit_arguments import CLASSES, PHOTOS, WEIGHTS, bits, fitted, parts
from test_resume import StopAfter, everything

from cnn import utils
from cnn.callbacks import BackupAndRestore, ProgressBar


class Numbered:
    """As Keras' PyDataset, and nothing of ours."""

    def __init__(self, size=8):
        self.size, self.asked, self.epochs = size, [], 0

    def __len__(self):
        return -(-20 // self.size)

    def __getitem__(self, number):
        self.asked.append(number)
        return list(parts(self.size))[number]

    def on_epoch_end(self):
        self.epochs += 1


class Loader:
    """Can be iterated over again and again."""

    def __iter__(self):
        return parts()


class LoaderOfKnownLength(Loader):
    def __len__(self):
        return 3


class EndlessLoader(Loader):
    def __len__(self):
        raise TypeError("it has no end")


def test_batches_from_anywhere_train_as_those_of_arrays():
    expected = bits(fitted(shuffle=False))
    assert bits(fitted(parts(times=2), None, steps_per_epoch=3)) == expected
    assert bits(fitted(Numbered(), None, shuffle=False)) == expected
    assert bits(fitted(Loader(), None)) == bits(fitted(LoaderOfKnownLength(), None)) == expected
    assert bits(fitted(EndlessLoader(), None, steps_per_epoch=3)) == expected
    twos = {"steps_per_epoch": 2, "epochs": 3, "shuffle": False}
    assert bits(fitted(Loader(), None, **twos)) == bits(fitted(Numbered(), None, **twos)) == bits(fitted(**twos))
    assert bits(fitted(parts(), None, epochs=1)) == bits(fitted(shuffle=False, epochs=1))
    weighted = bits(fitted(shuffle=False, sample_weight=WEIGHTS))
    assert bits(fitted(parts(times=2, weights=True), None, steps_per_epoch=3)) == weighted
    by_class = bits(fitted(shuffle=False, class_weight={1: 3.0}))
    assert bits(fitted(Numbered(), None, shuffle=False, class_weight={1: 3.0})) == by_class


def test_numbered_batches_are_shuffled_and_told_of_the_end_of_an_epoch():
    source = Numbered(size=2)
    fitted(source, None, epochs=3)
    epochs = [source.asked[k : k + 10] for k in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and len(set(map(tuple, epochs))) == 3
    assert source.epochs == 3


def test_validation_evaluation_and_prediction_of_batches_from_anywhere():
    model = small_network()
    model.optimizer.learning_rate = 0
    expected = model.evaluate(PHOTOS, CLASSES, 8, verbose=0)
    for source in (parts(), Numbered(), Loader(), LoaderOfKnownLength()):
        assert model.evaluate(source, verbose=0) == pytest.approx(expected, rel=1e-6)
    weighted = model.evaluate(parts(weights=True), verbose=0)
    assert weighted == pytest.approx(model.evaluate(PHOTOS, CLASSES, 8, sample_weight=WEIGHTS, verbose=0), rel=1e-6)
    outputs = model.predict(PHOTOS, 8, verbose=0)
    for source in (parts(), Numbered(), Loader(), (x for x, _ in parts())):
        np.testing.assert_allclose(model.predict(source, verbose=0), outputs, rtol=0, atol=1e-6)
    assert model.predict(parts(times=9), steps=2, verbose=0).shape == (16, 10)
    for source in (Numbered(), Loader()):
        history = model.fit(PHOTOS, CLASSES, epochs=2, validation_data=source, verbose=0).history
        assert history["val_loss"] == pytest.approx([expected[0]] * 2, rel=1e-6)
    steps = model.fit(PHOTOS, CLASSES, epochs=2, validation_data=parts(times=2), validation_steps=3, verbose=0)
    assert steps.history["val_loss"] == pytest.approx([expected[0]] * 2, rel=1e-6)


def test_the_line_of_progress_of_a_stream_that_does_not_say_how_long_it_is():
    for live in (False, True):
        stream = io.StringIO()
        stream.isatty = lambda live=live: live
        fitted(Loader(), None, callbacks=[ProgressBar(stream=stream)])
        assert "3/3" in stream.getvalue() and "nan" not in stream.getvalue()


@pytest.mark.parametrize("batches", range(1, 6))
def test_numbered_batches(tmp_path, batches):
    def fit(*watchers):
        model = small_network()
        model.fit(Numbered(), epochs=2, verbose=0, callbacks=list(watchers))
        return everything(model)

    fit(BackupAndRestore(tmp_path), StopAfter(batches))
    assert fit(BackupAndRestore(tmp_path)) == fit()


def test_a_generator_cannot_be_taken_up(tmp_path):
    with pytest.raises(ValueError, match="a run that reads from a generator cannot be taken up again: pass arrays"):
        fitted(parts(times=2), None, steps_per_epoch=3, callbacks=[BackupAndRestore(tmp_path)])


class Dataset(utils.PyDataset):
    def __init__(self, **arguments):
        super().__init__(**arguments)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return list(parts())[index]


def test_a_dataset_of_batches():
    expected = bits(fitted(shuffle=False))
    assert bits(fitted(Dataset(workers=2, use_multiprocessing=True, max_queue_size=3), None, shuffle=False)) == expected
    with pytest.raises(NotImplementedError, match="PyDataset: write __len__"):
        fitted(utils.PyDataset(), None)
    assert utils.Sequence is utils.PyDataset
