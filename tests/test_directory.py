"""Keras' words for photos in files, and photos that stay in a file: what Keras gives, in little memory."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image
from test_folder import photo, write

from cnn import layers, models, utils
from cnn.commands.shared import cache
from cnn.datasets import directory, fingerprint, folder
from cnn.datasets.scaled import Scaled
from cnn.errors import DataError


@pytest.fixture
def pets(tmp_path):
    """Two classes of photos, as numbers count them: cat 0 to 4, dog 0 to 4, one of them deeper."""
    names = [f"{name}/{k}.png" for name in ("cat", "dog") for k in range(4)]
    return write(tmp_path / "pets", *names, "cat/deep/4.png", "dog/deep/4.PNG", "cat/left.webp")


def dataset(root, **options):
    return utils.image_dataset_from_directory(
        root, verbose=False, **{"image_size": (9, 12), "batch_size": 4, **options}
    )


def test_files_labels_and_names_in_keras_order(pets):
    got = dataset(pets, shuffle=False)
    names = [path.removeprefix(f"{pets}/") for path in got.file_paths]
    assert names == [f"{name}/{k}.png" for name in ("cat",) for k in range(4)] + ["cat/deep/4.png"] + [
        f"dog/{k}.png" for k in range(4)
    ] + ["dog/deep/4.PNG"]
    assert got.labels.tolist() == [0] * 5 + [1] * 5 and got.class_names == ["cat", "dog"]
    assert got.labels.dtype == np.int32 and len(got) == 3
    x, y = got[2]
    assert x.shape == (2, 9, 12, 3) and x.dtype == np.float32 and y.tolist() == [1, 1]
    np.testing.assert_array_equal(x[0], np.asarray(Image.open(pets / "dog/3.png")))


def test_the_split_is_keras(pets):
    """Keras shuffles paths and labels by NumPy's RandomState(seed), and cuts the end off."""
    both = dataset(pets, seed=7, validation_split=0.3, subset="both")
    parts = [dataset(pets, seed=7, validation_split=0.3, subset=part) for part in ("training", "validation")]
    everything = dataset(pets, shuffle=False)
    order = np.random.RandomState(7).permutation(10)
    for part, alone, places in zip(both, parts, (order[:7], order[7:]), strict=True):
        assert part.file_paths == alone.file_paths == [everything.file_paths[k] for k in places]
        assert part.labels.tolist() == alone.labels.tolist() == everything.labels[places].tolist()


def test_every_pass_has_another_order_and_every_photo(pets):
    got = dataset(pets, seed=1)
    first, second = (np.concatenate([y for _, y in got]) for _ in range(2))
    assert first.tolist() != second.tolist() and sorted(first) == sorted(second)


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [("int", (4,), "int32"), ("binary", (4, 1), "float32"), ("categorical", (4, 2), "float32")],
)
def test_labels_as_keras_encodes_them(pets, mode, shape, dtype):
    _, y = dataset(pets, label_mode=mode)[0]
    assert y.shape == shape and y.dtype == dtype


def test_without_labels_and_with_labels_of_ones_own(pets):
    assert dataset(pets, labels=None)[0].shape == (4, 9, 12, 3)
    own = dataset(pets, labels=list(range(10)), shuffle=False)
    assert own.class_names == [str(k) for k in range(10)] and own[2][1].tolist() == [8, 9]
    assert dataset(pets, class_names=["dog", "cat"], shuffle=False).labels.tolist() == [0] * 5 + [1] * 5


def test_a_network_learns_from_it(pets):
    model = models.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    train, validation = dataset(pets, seed=7, validation_split=0.3, subset="both")
    history = model.fit(train, validation_data=validation, epochs=2, verbose=0).history
    assert len(history["val_loss"]) == 2 and np.isfinite(history["val_loss"]).all()
    assert model.predict(dataset(pets, labels=None, shuffle=False), verbose=0).shape == (10, 2)


def test_sizes_as_tensorflow_computes_them():
    """Cells between cells, and no mean of what is left out: the numbers of tf.image.resize by hand."""
    x = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    assert directory.resized(x, (1, 4), "bilinear").ravel().tolist() == [0.5, 2.5, 4.5, 6.5]
    assert directory.resized(x, (1, 4), "nearest").ravel().tolist() == [1, 3, 5, 7]
    assert directory.resized(x, (1, 2), "bilinear").ravel().tolist() == [1.5, 5.5]  # a mean of four would be the same
    assert directory.resized(x * x, (1, 2), "bilinear").ravel().tolist() == [2.5, 30.5]  # a mean of four: 3.5, 31.5
    square = directory.resized(x, (4, 4), "bilinear", "pad")
    assert (square[1:] == 0).all() and square.shape == (4, 4, 1)
    assert directory.resized(x, (1, 1), "bilinear", "crop").ravel().tolist() == [3]


REFUSED = {
    "label_mode": ({"label_mode": "words"}, "label_mode: expected 'int' or"),
    "interpolation": ({"interpolation": "area"}, "interpolation: expected 'bilinear' or 'nearest', got 'area'"),
    "a split alone": ({"validation_split": 0.2}, "validation_split and subset: expected both or none"),
    "no seed": ({"validation_split": 0.2, "subset": "both"}, "seed: expected one"),
    "two ways": ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "expected one of"),
    "labels": ({"labels": [0, 1]}, 'expected "inferred", None or one for each of 10 files, got 2 labels'),
    "class names": ({"class_names": ["cow", "dog"]}, "class_names: expected some of"),
    "three classes": ({"label_mode": "binary", "class_names": ["cat"]}, "expected two classes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_arguments(pets, kind):
    options, reason = REFUSED[kind]
    with pytest.raises(ValueError, match=f"image_dataset_from_directory: .*{reason}"):
        dataset(pets, **options)


def test_load_img_and_img_to_array(tmp_path):
    photo((12, 9)).save(tmp_path / "x.png")
    whole = utils.img_to_array(utils.load_img(tmp_path / "x.png"))
    assert whole.shape == (9, 12, 3) and whole.dtype == np.float32
    assert utils.img_to_array(utils.load_img(tmp_path / "x.png", "grayscale")).shape == (9, 12, 1)
    assert utils.img_to_array(utils.load_img(tmp_path / "x.png"), "channels_first").shape == (3, 9, 12)
    small = utils.load_img(str(tmp_path / "x.png"), target_size=(3, 4))
    np.testing.assert_array_equal(utils.img_to_array(small), whole[1::3, 1::3])  # nearest, as in Keras
    middle = utils.load_img(tmp_path / "x.png", target_size=(9, 9), keep_aspect_ratio=True)
    np.testing.assert_array_equal(utils.img_to_array(middle), whole[:, 1:10])
    (tmp_path / "x.jpg").write_text("hello")
    with pytest.raises(DataError, match="x.jpg: expected an image"):
        utils.load_img(tmp_path / "x.jpg")
    with pytest.raises(ValueError, match="color_mode: expected 'grayscale' or 'rgb' or 'rgba', got 'cmyk'"):
        utils.load_img(tmp_path / "x.png", "cmyk")


# ---- in little memory


def peak(work):
    """The most megabytes that NumPy and Python held for this."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_decoding_takes_no_more_memory_for_more_photos(tmp_path):
    write(tmp_path / "photos", "0.png", size=(100, 100))
    for k in range(1, 1500):
        (tmp_path / f"photos/{k}.png").hardlink_to(tmp_path / "photos/0.png")
    files = [folder.PhotoFile(f"{k}.png", 0) for k in range(1500)]
    decode = lambda count: cache.photos(
        tmp_path / "photos", files[:count], (100, 100, 3), "crop", False, tmp_path, write=True
    )
    few, many = (peak(lambda count=count: decode(count)) for count in (400, 1500))
    assert many < few + 3  # of 33 MB more


def test_photos_in_a_file_become_numbers_a_batch_at_a_time(tmp_path):
    rng = np.random.default_rng(0)
    pixels = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(20_000, 28, 28))
    pixels[:] = rng.integers(0, 256, pixels.shape, np.uint8)
    y, x = rng.integers(10, size=len(pixels)), Scaled(pixels, 1 / 255)
    assert fingerprint(x) == fingerprint(pixels[..., None] * np.float32(1 / 255))

    def network():
        model = models.Sequential(
            [layers.Flatten(input_shape=(28, 28, 1)), layers.Dense(10, activation="softmax")], seed=1
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    learned, plain = network(), network()
    plain.fit(pixels[..., None] * np.float32(1 / 255), y, 500, verbose=0, validation_split=0.1)
    most = peak(lambda: learned.fit(x, y, 500, verbose=0, validation_split=0.1) and fingerprint(x))
    assert most < 45  # of 63 MB that all of them would be
    for a, b in zip(learned.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(learned.predict(x, verbose=0), plain.predict(x.astype("float32"), verbose=0))
