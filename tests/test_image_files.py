"""Image files that mean harm: a photo or one DataError, of small files that unfold to gigabytes and of damaged ones."""

import io
import random
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_own_photo import PNG, chunk

from cnn.errors import DataError
from cnn.photos import own

ROOT = Path(__file__).parent.parent
MOST = 600  # MB that no file may pass, Python, NumPy and Pillow among them


def picture(size=(80, 60)):
    """A red thing with a print on a grey wall."""
    pixels = np.full((60, 80, 3), 230, np.uint8)
    pixels[15:45, 20:60] = 200, 30, 40
    pixels[20:30, 30:50] = np.random.default_rng(0).integers(0, 255, (10, 20, 3))
    return Image.fromarray(pixels).resize(size)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# Bombs


def png(width, height, depth, colour, *chunks):
    """A PNG of nothing but zeros."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer, row = zlib.compressobj(9), bytes(1 + (width * channels * depth + 7) // 8)
    data = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + b"".join(chunk(*c) for c in [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")])


def tiff_of_one_tile(tile_width, tile_height):
    """A TIFF of 100 x 100 pixels that lie in one tile, which is far larger."""
    data = zlib.compress(bytes(tile_width * tile_height), 9)
    entries = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1}
    entries |= {322: tile_width, 323: tile_height, 324: 8, 325: len(data)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def file_of_holes(head, size):
    """Says how to write a file that takes no room on the disk, and this much when it is read."""

    def write(path):
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(size)

    return write


def pillow(mode, size, format, **options):
    return lambda path: Image.new(mode, size).save(path, format, **options)


PALETTE, ALPHAS = (b"PLTE", bytes(768)), (b"tRNS", bytes(256))
BOMBS = {
    "RGB": lambda path: path.write_bytes(png(10_000, 10_000, 8, 2)),
    "RGBA": lambda path: path.write_bytes(png(10_000, 10_000, 8, 6)),
    "grey of 16 bits": lambda path: path.write_bytes(png(10_000, 10_000, 16, 0)),
    "grey and alpha": lambda path: path.write_bytes(png(10_000, 10_000, 8, 4)),
    "palette": lambda path: path.write_bytes(png(10_000, 10_000, 8, 3, PALETTE, ALPHAS)),
    "one bit": lambda path: path.write_bytes(png(10_000, 10_000, 1, 0)),
    "RGBA under the limit": lambda path: path.write_bytes(png(5000, 5000, 8, 6)),
    "grey of 16 bits and alpha under the limit": lambda path: path.write_bytes(png(5000, 5000, 16, 4)),
    "palette under the limit": lambda path: path.write_bytes(png(5000, 5000, 8, 3, PALETTE, ALPHAS)),
    "JPEG": pillow("RGB", (10_000, 10_000), "JPEG"),
    "JPEG of CMYK": pillow("CMYK", (10_000, 10_000), "JPEG"),
    "JPEG, very wide": pillow("RGB", (65_000, 1500), "JPEG"),
    "JPEG, progressive": pillow("RGB", (10_000, 10_000), "JPEG", progressive=True),
    "GIF": pillow("P", (10_000, 10_000), "GIF"),
    "GIF under the limit": pillow("P", (5000, 5000), "GIF", transparency=0),
    "WebP": pillow("RGB", (10_000, 9000), "WEBP"),
    "WebP under the limit": pillow("RGBA", (5000, 5000), "WEBP", lossless=True),
    "TIFF of floats": pillow("F", (10_000, 10_000), "TIFF", compression="tiff_deflate"),
    "TIFF of floats under the limit": pillow("F", (5000, 5000), "TIFF", compression="tiff_deflate"),
    "TIFF of 16 bits": pillow("I;16", (10_000, 10_000), "TIFF", compression="tiff_deflate"),
    "TIFF of one tile": lambda path: path.write_bytes(tiff_of_one_tile(32_000, 32_000)),
    "WebP of holes": file_of_holes(b"RIFF\xf0\xff\xff\xffWEBPVP8L\0\xff\xff\xff\x2f" + b"\xff" * 9, 30 << 30),
    "BMP of holes": file_of_holes(b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + b"\x64\0\0\0" * 2, 30 << 30),
}
QUICK = "RGBA", "grey of 16 bits", "JPEG, very wide", "TIFF of floats under the limit", "WebP of holes"
READ_EACH = """
import sys
from cnn.photos import own
for path in sys.argv[1:]:
    try:
        print("photo", own.read(path).notes)
    except ValueError as error:
        print(type(error).__name__, error)
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system as Linux answers")
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind not in QUICK)) for kind in BOMBS])
def test_no_file_takes_the_memory(tmp_path, kind):
    path = tmp_path / "bomb"
    BOMBS[kind](path)
    assert path.stat().st_blocks * 512 < 5_000_000
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", READ_EACH, str(path)]
    limit = (4 << 30, 4 << 30)  # should it be broken, the machine survives the test
    done = subprocess.run(
        command,
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    said, kilobytes = done.stdout.splitlines()
    assert said.startswith(f"DataError {path}: ") and done.stderr == ""
    assert int(kilobytes) / 1024 < MOST


def test_a_very_large_jpeg_is_read_at_a_fraction_of_its_size(tmp_path):
    """A telephone's fifty million pixels, held on its side."""
    exif = Image.Exif()
    exif[274] = 6
    picture((8000, 6000)).save(tmp_path / "x.jpg", exif=exif)
    got = own.read(tmp_path / "x.jpg")
    assert any("from 6000 x 8000" in note for note in got.notes)
    picture((1600, 1200)).rotate(-90, expand=True).save(tmp_path / "y.png")
    assert np.abs(own.read(tmp_path / "y.png").pixels.astype(int) - got.pixels).mean() < 8


# Damaged


def exif(orientation):
    notes = Image.Exif()
    notes[271], notes[282] = "Maker", 72.0
    if orientation is not None:
        notes[274] = orientation
    return notes


def formats():
    """One valid file of each kind, by name."""
    image, grey = picture(), picture().convert("L")
    clear = image.convert("RGBA")
    clear.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    more = {"save_all": True, "append_images": [image.rotate(9)] * 2}
    kinds = {
        "png": (image, "PNG", {"exif": exif(6)}),
        "png rgba": (clear, "PNG", {}),
        "png palette": (image.convert("P"), "PNG", {"transparency": bytes(range(256))}),
        "png 16 bits": (deep, "PNG", {}),
        "png animated": (image, "PNG", more),
        "jpeg": (image, "JPEG", {"exif": exif(6)}),
        "jpeg progressive": (image, "JPEG", {"progressive": True}),
        "jpeg cmyk": (image.convert("CMYK"), "JPEG", {}),
        "mpo": (image, "MPO", more | {"exif": exif(3)}),
        "gif": (image.convert("P"), "GIF", {"transparency": 3}),
        "gif animated": (image.convert("P"), "GIF", more),
        "bmp": (image, "BMP", {}),
        "bmp palette": (image.convert("P"), "BMP", {}),
        "webp": (image, "WEBP", {"exif": exif(8)}),
        "webp rgba": (clear, "WEBP", {"lossless": True}),
        "webp animated": (image, "WEBP", more),
        "ppm": (image, "PPM", {}),
        "ppm 16 bits": (deep.convert("I"), "PPM", {}),
    }
    for mode in ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F"):
        kinds[f"tiff {mode}"] = (
            image.convert(mode) if mode != "LA" else clear.convert(mode),
            "TIFF",
            {"exif": exif(6)},
        )
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        kinds[f"tiff {compression}"] = (image, "TIFF", {"compression": compression})
    return {name: encoded(image, format, **options) for name, (image, format, options) in kinds.items()}


VALID = formats()


def damaged(good, rng):
    """The file with a few bits, bytes or numbers changed, most near its beginning, with a piece lost, or cut off."""
    data = bytearray(good)
    if rng.random() < 0.15:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(min(len(data), rng.choice((40, 120, 400, len(data)))))
        kind = rng.random()
        if kind < 0.5:
            data[place] ^= 1 << rng.randrange(8)
        elif kind < 0.75:
            data[place] = rng.choice((0, 1, 127, 128, 255))
        elif kind < 0.9:
            data[place : place + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
        else:
            del data[place : place + rng.randrange(1, 9)]
    return bytes(data)


def read_damaged(path, name, seeds):
    for seed in seeds:
        path.write_bytes(damaged(VALID[name], random.Random(f"{name} {seed}")))
        try:
            got = own.read(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error), seed
        else:
            assert got.pixels.shape == (28, 28) and got.pixels.dtype == np.uint8, seed


@pytest.mark.parametrize("name", VALID)
def test_a_damaged_file_is_a_photo_or_refused(tmp_path, name):
    read_damaged(tmp_path / "x", name, range(40))


@pytest.mark.slow
@pytest.mark.parametrize("name", VALID)
def test_many_damaged_files(tmp_path, name):
    read_damaged(tmp_path / "x", name, range(40, 1500))


@pytest.mark.parametrize("name", [name for name in VALID if "animated" not in name])
def test_the_valid_files_are_photos(tmp_path, name):
    (tmp_path / "x").write_bytes(VALID[name])
    assert own.read(tmp_path / "x").pixels.max() == 255


# (type, count, value) of the entry where the orientation should stand
ODD_ORIENTATIONS = {
    "text": (2, 2, b"6\0\0\0"),
    "bytes": (7, 4, b"\xff\0\0\6"),
    "0": (3, 1, b"\0\0\0\0"),
    "9": (3, 1, b"\0\x09\0\0"),
    "65535": (3, 1, b"\xff\xff\0\0"),
    "two numbers": (3, 2, b"\0\x09\0\6"),
    "no number": (3, 0, bytes(4)),
    "a fraction by zero": (5, 1, b"\0\0\0\x1a"),
    "not a number": (11, 1, b"\x7f\xc0\0\0"),
    "beyond the end": (5, 9, b"\x7f\xff\xff\xff"),
    "an unknown type": (99, 1, b"\0\6\0\0"),
}


@pytest.mark.parametrize("kind", ODD_ORIENTATIONS)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_odd_notes_of_a_camera(tmp_path, format, kind):
    """What stands where the orientation should: the picture is whole, and read as it lies."""
    number_type, count, value = ODD_ORIENTATIONS[kind]
    notes = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHI", 274, number_type, count) + value + bytes(20)
    (tmp_path / "x").write_bytes(encoded(picture(), format, exif=notes))
    (tmp_path / "plain").write_bytes(encoded(picture(), format))
    np.testing.assert_array_equal(own.read(tmp_path / "x").pixels, own.read(tmp_path / "plain").pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_grey_values_that_are_no_numbers(tmp_path, value):
    values = np.asarray(picture().convert("F")).copy()
    values[7, 7] = value
    (tmp_path / "x").write_bytes(encoded(Image.fromarray(values), "TIFF"))
    with pytest.raises(DataError, match="expected finite grey values, got NaN or infinity"):
        own.read(tmp_path / "x")


def test_grey_values_at_the_ends_of_float32(tmp_path):
    values = np.asarray(picture().convert("F")) / 255
    plain = own.read(_tiff(tmp_path / "plain", values)).pixels
    for factor in (1e-38, 1e-42, 3e38):
        assert np.abs(own.read(_tiff(tmp_path / "x", values * np.float32(factor))).pixels.astype(int) - plain).max() < 9
    both = _tiff(tmp_path / "both", np.where(values > 0.5, 3e38, -3e38).astype(np.float32))
    assert own.read(both).pixels.max() == 255


def _tiff(path, values):
    path.write_bytes(encoded(Image.fromarray(values), "TIFF"))
    return path


@pytest.mark.parametrize("turn", [0, 1])
def test_an_edge_of_three_colours_is_no_background(turn):
    """No pixel of the edge is near the median of them all, which is black."""
    colours = np.zeros((90, 90, 3), np.float32)
    for place in np.ndindex(90, 90):
        colours[(*place, (sum(place) // 5) % 3)] = 255
    with pytest.raises(DataError, match="expected one thing before an even background, found none"):
        own.prepare(np.rot90(colours, turn))


@pytest.mark.parametrize("size", [(8, 40_000), (40_000, 8), (8, 8), (9, 9), (28, 29)])
def test_odd_sizes(tmp_path, size):
    (tmp_path / "x").write_bytes(encoded(picture(size), "PNG"))
    if max(size) > 1000:
        with pytest.raises(DataError, match="expected something to see"):
            own.read(tmp_path / "x")
    else:
        assert own.read(tmp_path / "x").pixels.shape == (28, 28)


@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_what_is_no_file(tmp_path, make):
    subprocess.run([make, tmp_path / "x"], check=True)
    with pytest.raises(DataError, match="expected an image file, got a directory, pipe or device"):
        own.read(tmp_path / "x")
