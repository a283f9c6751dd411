"""`cnn train --data FOLDER` and all commands after it: the same photos, prepared the same way, to the same bits."""

import json
import re
import shutil

import numpy as np
import pytest
from commandline import same_bits, write_photos
from PIL import Image

from cnn import models, photos, saving
from cnn.commands import cli
from cnn.commands.shared import cache
from cnn.datasets import fashion_mnist
from cnn.errors import ModelFileError
from cnn.photos import comparison

FEW = ["--filters=4", "--epochs=1", "--shards=2", "--no-plots", "--verbose=0"]


def write_fashion(root, train, test):
    """The first photos of Fashion-MNIST as PNG files in train and test, a subfolder a class."""
    for part, count in (("train", train), ("test", test)):
        for number, (pixels, label) in enumerate(zip(*fashion_mnist.load_split(part), strict=True)):
            if number < count:
                path = root / part / str(label) / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


def run(capsys, *words, code=0):
    """What `cnn` prints: stdout, and stderr."""
    assert cli.main([*map(str, words)]) == code
    return capsys.readouterr()


# ---- the same bits as from IDX files


@pytest.mark.parametrize("count", [300, pytest.param(4000, marks=pytest.mark.slow)])
def test_png_files_give_the_bits_of_idx_files(tmp_path, capsys, count):
    folder = write_fashion(tmp_path / "png", count, 200)
    idx = write_photos(tmp_path / "idx", count, 200)
    told = []
    for data in (folder, idx):
        flags = [f"--data={data}", f"--out={tmp_path}", f"--name={data.name}-run", "--recipe=quick", *FEW]
        told.append(run(capsys, "train", *flags).out.splitlines()[-1].split(" time_s")[0])
    assert told[0] == told[1]
    assert same_bits(tmp_path / "png-run/last.npz", tmp_path / "idx-run/last.npz")
    model = models.load_model(tmp_path / "png-run")
    assert model.preparation == ("crop", 0.2, 0) and model.class_names == tuple("0123456789")
    assert models.load_model(tmp_path / "idx-run").preparation is None


@pytest.mark.slow
def test_real_digits_from_a_folder_are_learned_with_one_command(tmp_path, capsys):
    """The 1,797 digits of UCI that scikit-learn carries, 8x8, written by 43 people."""
    digits = pytest.importorskip("sklearn.datasets", reason="needs the extra 'digits'").load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = tmp_path / "digits" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8)).save(path)
    run(
        capsys,
        "train",
        f"--data={tmp_path / 'digits'}",
        f"--out={tmp_path}",
        "--epochs=30",
        "--no-plots",
        "--verbose=0",
    )
    metrics = json.loads((tmp_path / "train/metrics.json").read_text())
    assert metrics["photos"] == 359 and metrics["test_accuracy"] >= 0.98


# ---- photos in colour, through all commands


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of 80 pictures in two colours, of many sizes and formats, and a run that has learned them."""
    home = tmp_path_factory.mktemp("colour")
    rng = np.random.default_rng(0)
    for k in range(80):
        name = ("red thing", "blue thing")[k % 2]
        pixels = rng.integers(0, 90, (*rng.integers(20, 60, 2), 3), np.uint8)
        pixels[..., 0 if k % 2 == 0 else 2] += 150
        (home / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(home / "photos" / name / f"p{k}.{('png', 'jpg', 'webp', 'bmp')[k % 4]}")
    flags = ["--image-size=20x24", "--pad", "--epochs=8", "--validation-split=0.2", "--seed=3"]
    assert cli.main(["train", f"--data={home / 'photos'}", f"--out={home / 'runs'}", *FEW, *flags]) == 0
    return home


def test_the_model_keeps_how_its_photos_were_prepared(trained, capsys):
    model = models.load_model(trained / "runs/train")
    assert model.photo_shape == (20, 24, 3) and model.class_names == ("blue thing", "red thing")
    assert model.preparation == ("pad", 0.2, 3) and models.folded(model).preparation == model.preparation
    assert "--image-size=20x24 --color=rgb --pad --test-split=0.2" in model.made_by
    said = run(capsys, "evaluate", f"--model={trained / 'runs/train'}", f"--data={trained / 'photos'}")
    metrics = json.loads((trained / "runs/train/metrics.json").read_text())
    assert f"test accuracy  {metrics['test_accuracy']:.2%} of 16 photos" in said.out and metrics["test_accuracy"] > 0.9
    assert "warning" not in said.err and "decoding" not in said.err  # the cache beside the run


def test_a_photo_is_the_same_by_number_and_by_its_file(trained):
    model = models.load_model(trained / "runs/train")
    args = cli.build_parser().parse_args(["evaluate", f"--data={trained / 'photos'}"])
    from cnn.commands.shared import data

    source = data.of_model(args, model, trained / "runs/train/last.npz")
    pixels, labels = source.split("test")
    assert pixels.shape == (16, 20, 24, 3) and set(labels.tolist()) == {0, 1}
    for number in (0, 7, 15):
        own = photos.own_photo(str(trained / "photos" / source.found.test[number].path), model=model)
        np.testing.assert_array_equal(own.pixels, pixels[number])
        assert any("black picture" in note for note in own.notes)


COMMANDS = {
    "photos": (["--out=sheet.png"], "The model is right about"),
    "predict": (["2", "--figure=card.png"], "labelled"),
    "explain": (["2"], "F1 of"),
    "explain in steps": (["2", "--step=S"], "this network"),
    "explain as JSON": (["2", "--json"], '"schema"'),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_show_the_same_photos(trained, capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    words, expected = COMMANDS[name]
    said = run(capsys, name.split()[0], *words, f"--model={trained / 'runs/train'}", f"--data={trained / 'photos'}")
    assert expected in said.out
    for picture in tmp_path.glob("*.png"):
        assert np.asarray(Image.open(picture).convert("RGB")).std() > 5


@pytest.mark.slow
def test_pictures_and_comparison_of_photos_in_colour(trained, capsys, tmp_path):
    model, data = f"--model={trained / 'runs/train'}", f"--data={trained / 'photos'}"
    run(capsys, "explain", "1", model, data, f"--figures={tmp_path}")
    assert len(list(tmp_path.glob("*.png"))) == 14  # the twelfth compares with a net of other photos
    run(capsys, "compare", model, data, code=2)
    dense = ["--network=dense", "--image-size=20x24", "--pad", "--seed=3", "--epochs=1", "--no-plots", "--verbose=0"]
    run(capsys, "train", data, f"--out={tmp_path}", "--name=dense", *dense)
    said = run(capsys, "compare", model, data, f"--dense={tmp_path / 'dense'}", f"--out={tmp_path}").out
    assert "16 test photos" in said and comparison.WHY[:20] in said


def test_a_run_goes_on_to_the_same_bits(trained, capsys, tmp_path):
    data = f"--data={trained / 'photos'}"
    flags = ["--image-size=20x24", "--pad", "--validation-split=0.2", "--seed=3", f"--out={tmp_path}", data]
    run(capsys, "train", *FEW, *flags, "--name=whole", "--epochs=3")
    run(capsys, "train", *FEW, *flags, "--name=parts", "--epochs=1")
    run(capsys, "train", "--resume=parts", "--epochs=3", f"--out={tmp_path}", "--no-plots", "--verbose=0")
    assert same_bits(tmp_path / "whole/last.npz", tmp_path / "parts/last.npz")
    run(capsys, "train", "--resume=parts", "--crop", f"--out={tmp_path}", code=2)


# ---- what does not fit


def test_other_photos_than_the_models_are_refused(trained, capsys, tmp_path, photo_folder):
    model = f"--model={trained / 'runs/train'}"
    alone = shutil.copy(trained / "runs/train/best.npz", tmp_path)  # without its run, which knows them
    refusals = {
        "name its photos with --data": (4, ["evaluate", f"--model={alone}"]),
        "expected a model that makes": (4, ["evaluate", model, f"--data={photo_folder}"]),
        "expected a photo's number": (2, ["predict", "nothing", model, f"--data={trained / 'photos'}"]),
        "--pad: expected a folder of photos as --data": (2, ["train", "--pad", f"--data={photo_folder}", *FEW]),
        "found nothing": (3, ["train", f"--data={tmp_path / 'none'}", *FEW]),
    }
    other = shutil.copytree(trained / "photos", tmp_path / "other")
    (other / "red thing").rename(other / "green thing")
    refusals["expected the classes of .* got 'green thing'"] = (3, ["evaluate", model, f"--data={other}"])
    for reason, (code, words) in refusals.items():
        said = run(capsys, *words, code=code)
        assert re.search(reason, said.err.splitlines()[-1]), said.err


def test_photos_for_both_are_counted(trained, capsys, tmp_path):
    for part in ("train", "test"):
        shutil.copytree(trained / "photos", tmp_path / "both" / part)
    said = run(capsys, "train", f"--data={tmp_path / 'both'}", f"--out={tmp_path}", *FEW)
    assert "warning: 80 test photos are among the training photos as well, byte by byte the same" in said.err


def test_a_bad_photo_ends_it_before_anything_is_made(trained, capsys, tmp_path):
    spoilt = shutil.copytree(trained / "photos", tmp_path / "photos")
    (spoilt / "red thing" / "bad.jpg").write_text("hello")
    words = ["train", f"--data={spoilt}", f"--out={tmp_path / 'runs'}", *FEW]
    assert "bad.jpg: expected an image" in run(capsys, *words, code=3).err.splitlines()[-1]
    left = list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []
    assert all(path.suffix == ".cache" for path in left) and len(left) < 2  # of the part that is whole
    said = run(capsys, *words, "--skip-bad")
    assert "1 train photos are left out" in said.err or "1 test photos are left out" in said.err
    assert "--skip-bad" in models.load_model(tmp_path / "runs/train").made_by


HOSTILE = {
    "another fit": {"fit": "tile", "test_split": 0.2, "seed": 0},
    "a share of all": {"fit": "crop", "test_split": 1, "seed": 0},
    "a seed that is none": {"fit": "crop", "test_split": 0.2, "seed": "0"},
    "more": {"fit": "crop", "test_split": 0.2, "seed": 0, "more": 1},
    "a list": [],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_with_another_preparation_is_refused(trained, tmp_path, kind):
    with np.load(trained / "runs/train/last.npz") as file:
        arrays = dict(file)
    text = json.loads(arrays["json"].tobytes())
    for described, good in ((text["preparation"], True), (HOSTILE[kind], False)):
        arrays["json"] = np.frombuffer(json.dumps(text | {"preparation": described}).encode(), np.uint8)
        np.savez(tmp_path / "x.npz", **arrays)
        if good:
            assert saving.load_model(tmp_path / "x.npz").preparation.fit == "pad"
        else:
            with pytest.raises(ModelFileError, match="x.npz: preparation: "):
                saving.load_model(tmp_path / "x.npz")


# ---- the cache


def test_the_cache_is_taken_again_or_made_anew(trained, capsys, tmp_path):
    data = shutil.copytree(trained / "photos", tmp_path / "photos")
    words = ["train", f"--data={data}", f"--out={tmp_path / 'runs'}", *FEW]
    assert run(capsys, *words).err.count("decoding") == 2
    assert run(capsys, *words).err.count("decoding") == 0
    for path in (tmp_path / "runs").glob("photos-*.cache"):
        held = bytearray(path.read_bytes())
        held[1000] ^= 1
        path.write_bytes(held)
    said = run(capsys, *words).err
    assert said.count("is damaged") == said.count("decoding") == 2
    for path in (tmp_path / "runs").glob("photos-*.cache"):
        path.write_bytes(path.read_bytes()[:-9])
    assert run(capsys, *words).err.count("decoding") == 2
    Image.new("RGB", (30, 30), "red").save(next((data / "red thing").iterdir()), "PNG")
    assert run(capsys, *words).err.count("decoding") == 1  # the part that it belongs to
    first, *others = (tmp_path / "runs" / name / "last.npz" for name in ("train", "train-2", "train-3", "train-4"))
    assert all(same_bits(first, other) for other in others)


def test_without_a_cache_nothing_is_kept(trained, capsys, tmp_path):
    run(capsys, "train", f"--data={trained / 'photos'}", f"--out={tmp_path}", "--no-cache", *FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_leaving_while_decoding_leaves_nothing(trained, capsys, tmp_path, monkeypatch):
    def leave(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "decoded", leave)
    run(capsys, "train", f"--data={trained / 'photos'}", f"--out={tmp_path / 'runs'}", *FEW, code=130)
    assert not (tmp_path / "runs").exists()
