"""Photos in a folder: what is found there, how they are prepared, and all that a folder can hold instead."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from cnn.datasets import decoding, folder, image_file, preparation
from cnn.datasets.preparation import Preparation, prepared
from cnn.errors import DataError


def photo(size=(12, 9), seed=0, mode="RGB"):
    """A picture of noise, width x height."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def write(root, *names, **options):
    """A photo of its own under each of these names."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(seed=seed, **options).save(path)
    return root


@pytest.fixture
def pets(tmp_path):
    """Two classes of ten photos each."""
    return write(tmp_path / "pets", *(f"{name}/{name} {k}.png" for name in ("cat", "dog") for k in range(10)))


def find(root, share=0.2, seed=0):
    return folder.find(root, share, seed)


# ---- what is found


def test_a_share_of_each_class_is_held_out_by_seed(pets):
    found, again, other = find(pets), find(pets), find(pets, seed=1)
    assert found == again and found.class_names == ("cat", "dog") and found.held_out
    assert [len(found.train), len(found.test)] == [16, 4]
    assert np.bincount([file.label for file in found.test]).tolist() == [2, 2]
    assert not {file.path for file in found.train} & {file.path for file in found.test}
    assert {file.path for file in found.test} != {file.path for file in other.test}
    assert {file.label for file in found.train[:5]} == {0, 1}  # mixed


def test_one_photo_more_changes_little(pets):
    before = {file.path for file in find(pets).test}
    write(pets, "cat/new.png")
    assert len(before & {file.path for file in find(pets).test}) >= 3


def test_train_and_test_have_folders_of_their_own(tmp_path):
    root = write(
        tmp_path, "train/a/x.png", "train/b/y.JPG", "test/b/z.png", "train/a/deep/er.gif", "train/b/notes.txt.png"
    )
    (root / "train/a/notes.txt").write_text("hello")
    (root / "train/a/.hidden.png").write_text("hello")
    found = find(root)
    assert not found.held_out and found.left_out == [os.path.join("train", "a", "notes.txt")]
    assert {file.path for file in found.train} == {
        "train/a/x.png",
        "train/b/y.JPG",
        "train/a/deep/er.gif",
        "train/b/notes.txt.png",
    }
    assert found.test == [folder.PhotoFile("test/b/z.png", 1)]


def test_photos_with_numbers_stand_in_their_order(tmp_path):
    root = write(tmp_path, *(f"train/{k % 2}/{k}.png" for k in range(12)), "test/0/0.png")
    assert [os.path.basename(file.path) for file in find(root).train] == [f"{k}.png" for k in range(12)]


def test_what_is_held_back_is_of_all_classes_and_stands_last(pets):
    files = find(pets).train
    last = folder.held_back_last(files, 0.25, seed=0)
    assert sorted(last) == sorted(files) and np.bincount([file.label for file in last[12:]]).tolist() == [2, 2]


def link(root):
    (root / "cat/link.png").symlink_to(write(root.parent / "else", "secret.png") / "secret.png")


def links_to_itself(root):
    (root / "cat/all").symlink_to(root)


def only_in_test(root):
    write(root, "train/a/1.png", "train/b/2.png", "test/bird/3.png")


FOLDERS = {
    "an empty class": (lambda root: (root / "bird").mkdir(), r"bird: expected photos \(.png .*\), found none"),
    "a class without photos": (lambda root: (root / "bird/notes.txt").parent.mkdir(), "bird: expected photos"),
    "a link that leaves": (link, r"link.png: expected files of its own in .*, got a link that leaves the folder"),
    "a link to a folder": (links_to_itself, "cat/all: expected files of its own in .*, got a link to a folder"),
    "classes that differ in case": (
        lambda root: write(root, "Cat/1.png"),
        "differ by more than case, got 'Cat' and 'cat'",
    ),
    "a name of two lines": (lambda root: write(root, "a\nb/1.png"), r"printable characters, got 'a\\nb'"),
    "a name too long": (lambda root: write(root, f"{'x' * 101}/1.png"), "names of at most 100 printable characters"),
    "one photo alone": (
        lambda root: write(root, "bird/1.png"),
        "bird: expected 2 photos or more, one to test with, got 1",
    ),
    "another class in test": (only_in_test, "test: expected the classes of train, got 'bird', which is not there"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_refused_in_one_sentence(pets, kind):
    spoil, reason = FOLDERS[kind]
    spoil(pets)
    with pytest.raises(DataError, match=reason) as caught:
        find(pets)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(pets))


@pytest.mark.parametrize("names", [["cat/1.png", "cat/2.png"], ["1.png"]])
def test_two_classes_are_the_least(tmp_path, names):
    with pytest.raises(
        DataError, match="expected a subfolder of photos for each of two classes or more, got (only|none)"
    ):
        find(write(tmp_path, *names))


def test_a_link_within_the_folder_is_a_photo(pets):
    (pets / "cat/again.png").symlink_to("cat 3.png")
    assert len(find(pets).train) + len(find(pets).test) == 21


# ---- how they are prepared


def test_a_photo_of_the_size_keeps_every_value():
    pixels = np.asarray(photo((8, 12)))
    np.testing.assert_array_equal(prepared(pixels.astype(np.float32), (12, 8, 3), "crop"), pixels)
    grey = np.repeat(pixels[..., :1], 3, axis=2).astype(np.float32)
    np.testing.assert_array_equal(prepared(grey, (12, 8, 1), "stretch"), pixels[..., 0])


def test_three_ways_to_another_shape():
    """White left half, black right half, twice as wide as high, into a square."""
    wide = np.zeros((16, 32, 3), np.float32)
    wide[:, :16] = 255
    crop, pad, stretch = (prepared(wide, (16, 16, 1), fit) for fit in preparation.FITS)
    assert crop[5].tolist() == [255] * 8 + [0] * 8
    assert (pad[:4] == 0).all() and (pad[12:] == 0).all() and pad[8].tolist()[:7] == [255] * 7 and pad[8, 9:].max() == 0
    assert (stretch[:, :7] == 255).all() and (stretch[:, 9:] == 0).all()
    turned = prepared(np.rot90(wide), (16, 16, 1), "crop")
    np.testing.assert_array_equal(turned, np.rot90(crop))


def test_any_shape_can_be_cut_to_any(tmp_path):
    """To the edge, and not a rounding beyond it."""
    for height in range(20, 60):
        for width in (20, 33, 47):
            cut = prepared(np.full((height, width, 3), 9, np.float32), (20, 24, 3), "crop")
            assert cut.shape == (20, 24, 3) and (cut == 9).all()


def test_getting_smaller_takes_the_mean():
    """Stripes of a pixel would, without a mean, become black or white."""
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 200
    assert np.abs(prepared(stripes, (8, 8, 1), "crop").astype(int)[:, 1:-1] - 100).max() <= 2


def test_a_preparation_is_read_again_or_refused():
    for good in (Preparation(), Preparation("pad", 0.5, 7)):
        assert preparation.read(good.as_dict()) == good
    for bad in ({}, None, {"fit": "tile", "test_split": 0.2, "seed": 0}, Preparation(test_split=1.0).as_dict()):
        with pytest.raises(ValueError, match="preparation"):
            preparation.read(bad)


# ---- decoding


def decode(root, files, shape=(9, 12, 3), **options):
    tally = decoding.Tally()
    files = [folder.PhotoFile(name, 0) for name in files]
    return list(decoding.decoded(root, files, shape, "crop", tally, workers=2, **options)), tally


def test_photos_come_in_their_order_however_many_work(tmp_path):
    names = [f"{k}.png" for k in range(600)]
    write(tmp_path, *names)
    got, _ = decode(tmp_path, names)
    np.testing.assert_array_equal(got[577], np.asarray(photo(seed=577)))
    assert len(got) == 600


def truncated(path):
    data = io.BytesIO()
    photo((90, 90)).save(data, "JPEG")
    path.write_bytes(data.getvalue()[:-400])


BAD = {
    "a text": (lambda path: path.write_text("hello"), r"expected an image \(.*\), got 5 bytes of something else"),
    "cut short": (truncated, "cannot be read: .*truncated"),
    "empty": (lambda path: path.touch(), "got an empty file"),
    "a pipe": (os.mkfifo, "expected an image file, got a directory, pipe or device"),
    "tiny": (lambda path: photo((4, 4)).save(path, "PNG"), "at least 8 x 8 pixels, got 4 x 4"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_photo_is_named_and_left_out_only_when_asked(tmp_path, kind):
    make, reason = BAD[kind]
    write(tmp_path, "a.png", "b.png")
    make(tmp_path / "c\n.jpg")
    with pytest.raises(DataError, match=reason) as caught:
        decode(tmp_path, ["a.png", "c\n.jpg", "b.png"])
    assert str(caught.value).startswith(f"{tmp_path}/c\\n.jpg: ") and "\n" not in str(caught.value)
    got, tally = decode(tmp_path, ["a.png", "c\n.jpg", "b.png"], skip_bad=True)
    assert len(got) == 2 and [place for place, _ in tally.skipped] == [1]


def exif(orientation):
    notes = Image.Exif()
    notes[274] = orientation
    return {"exif": notes}


def animated():
    return {"save_all": True, "append_images": [photo(seed=k) for k in (1, 2)]}


KINDS = {
    "turned by a camera": (lambda path: photo((9, 12)).save(path, "PNG", **exif(6)), "turned upright"),
    "an animated GIF": (lambda path: photo().save(path, "GIF", **animated()), "first picture was taken of several"),
    "an animated WebP": (lambda path: photo().save(path, "WEBP", **animated()), "first picture was taken of several"),
    "16 bits": (
        lambda path: Image.fromarray(np.arange(108, dtype=np.uint16).reshape(9, 12) * 600).save(path, "PNG"),
        "scaled",
    ),
    "palette": (lambda path: photo().convert("P").save(path, "PNG"), None),
    "CMYK": (lambda path: photo().convert("CMYK").save(path, "JPEG"), None),
    "clear": (lambda path: photo(mode="RGBA").save(path, "PNG"), None),
    "BMP": (lambda path: photo().save(path, "BMP"), None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_photos(tmp_path, kind):
    make, note = KINDS[kind]
    make(tmp_path / "x")
    (got,), tally = decode(tmp_path, ["x"])
    assert got.shape == (9, 12, 3) and got.dtype == np.uint8 and got.std() > 10
    assert note is None or any(note in told for told in tally.notes)
    with image_file.quietly():
        assert decoding.usual_shape(tmp_path, [folder.PhotoFile("x", 0)])[:2] == (9, 12)


def test_what_the_photos_suggest(tmp_path):
    write(tmp_path, "a.png", "b.png")
    write(tmp_path, "grey.png", mode="L")
    write(tmp_path, "large.png", size=(65, 60))
    suggest = lambda *names: decoding.usual_shape(tmp_path, [folder.PhotoFile(name, 0) for name in names])
    assert suggest("a.png", "b.png") == suggest("a.png", "grey.png") == (9, 12, 3)
    assert suggest("grey.png") == (9, 12, 1)
    assert suggest("large.png") == suggest("a.png", "large.png") == (64, 64, 3)
