"""Image files of one's own: what is made of them, and which are refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from photographs import photograph
from PIL import Image

from cnn import photos, pretrained, saving
from cnn.errors import DataError
from cnn.photos import own


@pytest.fixture(scope="module")
def model():
    return saving.load_model(pretrained.path("cnn"))


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


# A photo of the set itself


@pytest.mark.parametrize("number", [1, 9, 20])
def test_a_photo_of_the_set_comes_back_as_it_is(tmp_path, data_set, number):
    pixels = data_set[0][number - 1]
    got = own.read(save(tmp_path / "x.png", pixels))
    np.testing.assert_array_equal(got.pixels, pixels)
    assert got.notes == ["taken as it is: 28 x 28 grey values, bright on dark"]


def test_an_inverted_photo_is_inverted_back(tmp_path, data_set):
    got = own.read(save(tmp_path / "x.png", 255 - data_set[0][8]))
    np.testing.assert_array_equal(got.pixels, data_set[0][8])
    assert got.notes == ["inverted: bright on dark, as in the data set"]


# Photographs

KINDS = {
    "dark on a white wall": {},
    "bright on a dark wall": {"wall": (25, 25, 28), "dye": (210, 200, 180)},
    "red on white": {"wall": (240, 240, 240), "dye": (190, 30, 40)},
    "white on a blue wall": {"wall": (120, 140, 170), "dye": (250, 250, 250)},
    "strong noise, light from one side": {"noise": 15.0, "light": 50.0},
    "small in a large picture": {"enlarge": 8, "size": (800, 600)},
    "high format": {"size": (420, 700)},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_the_model_knows_it_knows_on_a_photograph(data_set, model, kind):
    """Of the photos that the model is right about, it must be right about most as photographs too."""
    rng, chosen = np.random.default_rng(7), np.arange(100, 124)
    known = chosen[photos.probabilities(model, data_set[0][chosen]).argmax(axis=1) == data_set[1][chosen]]
    made = [own.prepare(photograph(data_set[0][k], rng, **kind).astype(np.float32)).pixels for k in known]
    right = photos.probabilities(model, np.stack(made)).argmax(axis=1) == data_set[1][known]
    assert len(known) > 18
    assert right.mean() >= 0.85


def test_a_wall_alone_or_without_preparation_would_not_do(data_set, model):
    """The same photographs merely scaled down are mostly not recognised: the preparation is what does it."""
    rng, chosen = np.random.default_rng(7), np.arange(100, 124)
    scaled = []
    for k in chosen:
        image = Image.fromarray(photograph(data_set[0][k], rng)).convert("L").resize((28, 28))
        scaled.append(np.asarray(image))
    assert (photos.probabilities(model, np.stack(scaled)).argmax(axis=1) == data_set[1][chosen]).mean() < 0.5


def test_the_notes_say_what_was_done(tmp_path, data_set):
    picture = photograph(data_set[0][0], np.random.default_rng(1))
    got = own.read(save(tmp_path / "boot.jpg", picture, quality=90))
    text = "; ".join(got.notes)
    for part in (
        "colour to grey",
        "cut out the thing",
        "from 640 x 480 to 28 pixels",
        "inverted",
        "contrast stretched",
    ):
        assert part in text
    assert got.pixels.shape == (28, 28) and got.pixels.dtype == np.uint8
    assert got.pixels.max() == 255 and (got.pixels == 0).mean() > 0.3


def test_the_longer_side_fills_the_photo_and_the_other_is_centred(data_set):
    trouser = data_set[0][2]
    pixels = own.prepare(photograph(trouser, np.random.default_rng(2), noise=0, light=0).astype(np.float32)).pixels
    rows, columns = np.flatnonzero(pixels.max(axis=1) > 40), np.flatnonzero(pixels.max(axis=0) > 40)
    assert rows[0] <= 1 and rows[-1] >= 26
    assert abs(columns[0] - (27 - columns[-1])) <= 1


def test_a_camera_photo_of_twelve_million_pixels(tmp_path, data_set, model):
    picture = photograph(data_set[0][0], np.random.default_rng(5), enlarge=90, size=(4000, 3000))
    got = own.read(save(tmp_path / "x.jpg", picture, quality=80))
    assert any("from 4000 x 3000" in note for note in got.notes)
    assert photos.probabilities(model, got.pixels[None]).argmax() == 9


def test_a_turned_photo_is_turned_upright_as_the_camera_noted(tmp_path, data_set):
    picture = Image.fromarray(photograph(data_set[0][2], np.random.default_rng(3)))
    upright = own.read(save(tmp_path / "a.png", np.asarray(picture)))
    exif = Image.Exif()
    exif[274] = 6  # shown turned by 90 degrees to the right
    picture.rotate(90, expand=True).save(tmp_path / "b.png", exif=exif)
    turned = own.read(tmp_path / "b.png")
    assert turned.notes[0] == "turned upright, as the camera noted"
    np.testing.assert_array_equal(turned.pixels, upright.pixels)


def test_what_is_transparent_stands_on_white(tmp_path, data_set):
    thing = np.repeat(np.repeat(data_set[0][0], 10, axis=0), 10, axis=1)
    rgba = np.zeros((280, 280, 4), np.uint8)
    rgba[..., 3] = thing
    got = own.read(save(tmp_path / "x.png", rgba))
    assert got.notes[0] == "laid on white, where transparent"
    assert np.abs(got.pixels.astype(int) - data_set[0][0]).mean() < 25


def test_sixteen_bits_and_palettes(tmp_path, data_set):
    large = np.repeat(np.repeat(data_set[0][0], 10, axis=0), 10, axis=1)
    expected = own.read(save(tmp_path / "a.png", large)).pixels.astype(int)
    images = {"b.png": Image.fromarray(large.astype(np.uint16) * 257), "c.gif": Image.fromarray(large).convert("P")}
    for name, image in images.items():
        image.save(tmp_path / name)
        assert np.abs(own.read(tmp_path / name).pixels - expected).max() <= 3


# Refused

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height):
    """A PNG of a few bytes that promises a picture of this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return PNG + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def image_bytes(format, size=(40, 40), frames=1, colour=0):
    buffer = io.BytesIO()
    pictures = [Image.new("L", size, colour + 40 * k) for k in range(frames)]
    pictures[0].save(buffer, format, **({"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}))
    return buffer.getvalue()


REFUSED = {
    "empty": (b"", "expected an image .*, got an empty file"),
    "text": (b"this is no picture\n" * 9, "expected an image .*, got 171 bytes of something else"),
    "cut off": (image_bytes("PNG")[:-30], "cannot be read"),
    "animated": (image_bytes("GIF", frames=5), "expected one photo, got 5 of them"),
    "1x1": (image_bytes("PNG", (1, 1)), "at least 8 x 8 pixels, got 1 x 1"),
    "narrow": (image_bytes("PNG", (500, 3)), "at least 8 x 8 pixels, got 500 x 3"),
    "all black": (image_bytes("PNG"), "something to see, got a picture of one and the same brightness"),
    "all grey, 28x28": (image_bytes("PNG", (28, 28), colour=99), "something to see, got a picture of one and the same"),
    "bomb": (bomb(60_000, 60_000), "at most 100 million pixels, got far more"),
    "small bomb": (bomb(11_000, 11_000), "at most 100 million pixels, got 11,000 x 11,000"),
    "eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "expected an image .*, got 47 bytes of something else",
    ),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_is_no_photo(tmp_path, content, reason):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: .*{reason}") as caught:
        own.read(path)
    assert "\n" not in str(caught.value)


def test_noise_alone_shows_nothing(tmp_path):
    noise = np.random.default_rng(0).normal(128, 3, (200, 200)).clip(0, 255).astype(np.uint8)
    with pytest.raises(DataError, match="something to see"):
        own.read(save(tmp_path / "x.png", noise))


def test_any_damaged_png_is_read_or_refused(tmp_path, data_set):
    """One changed byte anywhere: a photo or a DataError, nothing else."""
    good = image_bytes("PNG")
    path = tmp_path / "x.png"
    for position in range(0, len(good), 3):
        content = bytearray(good)
        content[position] ^= 0x55
        path.write_bytes(content)
        with pytest.raises(DataError):  # whole, it is refused too: it is all black
            own.read(path)
