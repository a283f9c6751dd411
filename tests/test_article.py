"""The article's photos, its question and its claim: `cnn photos`, `cnn predict`, `cnn compare`, as a user runs them."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnn import layers, metrics, photos, pretrained, saving
from cnn.commands import cli
from cnn.datasets import fashion_mnist
from cnn.models import Sequential
from cnn.photos import comparison

NAMES = fashion_mnist.CLASS_NAMES


@pytest.fixture
def run(capsys, monkeypatch):
    """run(*words) -> (exit code, stdout, stderr) of `cnn`."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def call(*words):
        try:
            code = cli.main(list(map(str, words)))
        except SystemExit as stop:  # argparse
            code = stop.code
        return code, *capsys.readouterr()

    return call


def as_process(*words, stdin="", **environment):
    """The same in a process of its own."""
    env = os.environ | {"COLUMNS": "80", "PYTHONIOENCODING": "utf-8"} | environment
    command = [sys.executable, "-m", "cnn", *map(str, words)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, encoding="utf-8", env=env, timeout=300)


# ---- the shipped models


@pytest.mark.parametrize(("name", "parameters"), [("cnn", 421_642), ("dense", 101_770)])
def test_shipped_models_say_how_they_were_made_and_hold_weights_only(name, parameters):
    model = saving.load_model(pretrained.path(name))
    assert model.count_params() == parameters
    assert model.made_by.startswith(f"cnn train --network {name} ")
    for setting in ("--optimizer adam", "--epochs 10", "--batch-size 32", "--seed 0"):
        assert setting in model.made_by
    assert model.class_names == NAMES
    with np.load(pretrained.path(name)) as file:
        assert sum(file[key].size for key in file if key != "json") == parameters


def test_the_best_is_the_network_of_the_article_trained_otherwise(cnn_model):
    best = saving.load_model(pretrained.path("best"))
    assert best.made_by.startswith("cnn train --recipe best --seed 0 ") and best.class_names == NAMES
    assert [layer.get_config() for layer in best.layers] == [layer.get_config() for layer in cnn_model.layers]


def test_there_are_four_shipped_models():
    with pytest.raises(ValueError, match="pretrained: expected 'cnn', 'dense', 'best', 'early', got 'resnet'"):
        pretrained.path("resnet")


def retrain(folder, name):
    """The bytes and the model that the command which made the shipped ones makes of 640 photos; and what it printed."""
    epochs = "6" if name == "best" else "1"  # of five steps, where the others have twenty
    command = [sys.executable, "-m", "cnn.pretrained", "--only", name, "--epochs", epochs, "--limit", "640"]
    command += ["--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return (folder / f"{name}.npz").read_bytes(), saving.load_model(folder / f"{name}.npz"), done.stdout


@pytest.mark.parametrize(
    "name", ["dense", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cnn", "best", "early"))]
)
def test_the_command_that_made_them_makes_them(tmp_path, name):
    """The same path in small: a model of the same layers that has learned something, and the same bytes each time."""
    content, model, out = retrain(tmp_path / "a", name)
    assert model.made_by in out and "--limit 640" in model.made_by
    shipped = saving.load_model(pretrained.path(name))
    described, expected = ([(type(layer), layer.get_config()) for layer in m.layers] for m in (model, shipped))
    assert described == expected
    x, y = (array[:640] for array in fashion_mnist.load_split("train"))
    assert (photos.probabilities(model, x).argmax(axis=1) == y).mean() > 0.3
    assert retrain(tmp_path / "b", name)[0] == content


# ---- photos


def test_photos_shows_the_first_20_with_their_labels(run, data_set):
    code, out, _ = run("photos")
    assert code == 0
    found = dict(re.findall(r"(?<![\w.])(\d+) (T-shirt/top|Ankle boot|[A-Z][a-z]+)", out))
    assert {int(number): label for number, label in found.items()} == {k + 1: NAMES[data_set[1][k]] for k in range(20)}
    assert "photo 9 is test[8]" in out
    assert max(map(len, out.splitlines())) <= 80


def test_photos_with_predictions_counts_the_right_ones(run, data_set, cnn_model):
    code, out, _ = run("photos", "--model")
    said = photos.probabilities(cnn_model, data_set[0][:20]).argmax(axis=1)
    right = int((said == data_set[1][:20]).sum())
    assert code == 0
    assert f"right about {right} of 20 photos" in out
    assert out.count("✓ right") == right and out.count("✗ WRONG") == 20 - right
    for k in np.flatnonzero(said != data_set[1][:20]):
        assert re.search(rf"photo {k + 1} = test\[{k}\], an? {NAMES[data_set[1][k]]}, for an? {NAMES[said[k]]}", out)
    assert re.findall(r"→ (\S+(?: boot)?)", out) == [NAMES[k] for k in said]


def test_photos_writes_the_sheet(run, tmp_path):
    code, _, err = run("photos", "--out", tmp_path / "sheet.png")
    assert code == 0 and "sheet.png" in err
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] >= 1400


# ---- predict


def test_predict_answers_the_articles_question(run, data_set, cnn_model):
    code, out, _ = run("predict", "9")
    p = photos.probabilities(cnn_model, data_set[0][8:9])[0]
    assert code == 0
    assert "photo 9 = test[8], labelled Sandal" in out
    assert f"The model says {NAMES[p.argmax()]}" in out
    assert ("RIGHT" in out) == (p.argmax() == 5) != ("WRONG" in out)
    printed = re.findall(rf"({'|'.join(NAMES)}) +(>?[\d.]+)%", out)
    assert [name for name, _ in printed] == list(NAMES)
    for (_, text), value in zip(printed, p, strict=True):
        assert abs(float(text.lstrip(">")) / 100 - value) <= 1.01e-4
    assert max(map(len, out.splitlines())) <= 80


def test_predict_says_wrong_where_it_is_wrong(run, data_set, cnn_model):
    said = photos.probabilities(cnn_model, data_set[0][:200]).argmax(axis=1)
    wrong = int(np.flatnonzero(said != data_set[1][:200])[0])
    code, out, _ = run("predict", wrong + 1)
    assert code == 0 and "WRONG" in out and "RIGHT" not in out
    assert f"The label says {NAMES[data_set[1][wrong]]}" in " ".join(out.split())


def test_predict_several_as_json(run, data_set, cnn_model):
    code, out, _ = run("predict", "1", "10000", "--json")
    found = json.loads(out)["predictions"]
    assert code == 0 and [(p["photo"], p["test_index"]) for p in found] == [(1, 0), (10000, 9999)]
    expected = photos.probabilities(cnn_model, data_set[0][[0, -1]])
    for entry, p in zip(found, expected, strict=True):
        np.testing.assert_allclose(list(entry["probabilities"].values()), p, atol=1e-6)
        assert entry["prediction"] == NAMES[p.argmax()]
        assert entry["right"] == (entry["prediction"] == entry["label"])


def test_predict_random_names_the_photo_it_took(run, data_set):
    code, out, _ = run("predict", "random", "--json")
    entry = json.loads(out)["predictions"][0]
    assert code == 0 and entry["label"] == NAMES[data_set[1][entry["photo"] - 1]]


def test_predict_with_the_other_shipped_model(run, data_set, dense_model):
    code, out, _ = run("predict", "9", "--json", "--model", "dense")
    p = photos.probabilities(dense_model, data_set[0][8:9])[0]
    assert code == 0 and json.loads(out)["predictions"][0]["prediction"] == NAMES[p.argmax()]


def test_predict_asks_the_article_about_its_photos_and_the_best_about_others(run, tmp_path, data_set):
    Image.fromarray(255 - data_set[0][8]).save(tmp_path / "sandal.png")
    for words, models in (
        (("9", tmp_path / "sandal.png"), ["cnn", "best"]),
        (("9", tmp_path / "sandal.png", "--model=dense"), ["dense", "dense"]),
    ):
        found = json.loads(run("predict", *words, "--json")[1])
        assert [entry["model"] for entry in found["predictions"]] == [str(pretrained.path(name)) for name in models]
        assert found["model"] == (str(pretrained.path(models[0])) if len(set(models)) == 1 else None)


def test_predict_an_image_file(run, tmp_path, data_set):
    large = np.repeat(np.repeat(255 - data_set[0][0], 10, axis=0), 10, axis=1)
    Image.fromarray(large).save(tmp_path / "boot.png")
    code, out, _ = run("predict", tmp_path / "boot.png")
    assert code == 0
    assert "boot.png" in out and "inverted" in out and "The model says Ankle boot" in out and "no label" in out
    assert max(map(len, out.splitlines())) <= 80


def test_predict_writes_a_card_for_each_photo(run, tmp_path):
    code, _, _ = run("predict", "9", "10", "--figure", tmp_path / "card.png")
    assert code == 0 and sorted(os.listdir(tmp_path)) == ["card-2.png", "card.png"]


def test_predict_asks_until_q():
    done = as_process("predict", stdin="9\n10001\nabc\n\n  13 \nq\n4\n")
    assert done.returncode == 0
    assert re.findall(r"photo (\d+) =", done.stdout) == ["9", "13"]
    assert "expected a number from 1 to 10000" in done.stderr and "'abc'" in done.stderr


def test_predict_asks_until_the_end_of_the_input():
    done = as_process("predict", stdin="9")
    assert done.returncode == 0 and "test[8]" in done.stdout
    assert "Traceback" not in done.stderr


def test_ascii_terminals_get_ascii():
    done = as_process("predict", "9", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0 and done.stdout.isascii() and "#" in done.stdout


def test_colour_on_demand_only(run):
    assert "\x1b[" not in run("predict", "9")[1]
    assert "\x1b[38;5;" in run("predict", "9", "--color", "always")[1]


BAD_WORDS = {
    "0": (2, "photo 0: expected a number from 1 to 10000"),
    "10001": (2, "photo 10001: expected a number from 1 to 10000"),
    "99999999999999999999": (2, "expected a number from 1 to 10000"),
    "abc": (2, "'abc': expected a photo's number from 1 to 10000, 'random' or an image file"),
    "1.5": (3, "1.5: cannot be read: there is no such file"),
    "no/such.png": (3, "no/such.png: cannot be read: there is no such file"),
    ".": (3, r"\.: expected an image file, got a directory"),
}


@pytest.mark.parametrize(("word", "code", "reason"), [(word, *rest) for word, rest in BAD_WORDS.items()], ids=BAD_WORDS)
def test_predict_refuses(run, word, code, reason):
    got, out, err = run("predict", word)
    assert got == code and out == ""
    assert re.search(reason, err) and err.count("\n") == 1


def test_predict_refuses_a_bad_image_in_one_line(run, tmp_path):
    (tmp_path / "x.png").write_text("hello")
    code, out, err = run("predict", tmp_path / "x.png")
    assert code == 3 and out == "" and err.count("\n") == 1 and "expected an image" in err


def test_predict_refuses_models_for_other_shapes(run, tmp_path):
    model = Sequential([layers.Flatten(input_shape=(8, 8, 1)), layers.Dense(10, activation="softmax")])
    model.save(tmp_path / "other.npz")
    code, out, err = run("predict", "9", "--model", tmp_path / "other.npz")
    assert code == 4 and out == "" and err.count("\n") == 1 and "(28, 28, 1)" in err


def test_predict_refuses_what_is_no_model(run, tmp_path):
    (tmp_path / "x.npz").write_text("hello")
    code, _, err = run("predict", "9", "--model", tmp_path / "x.npz")
    assert code == 4 and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "predict 9 --figure x.docx",
        "predict 9 --figure no/x.png",
        "predict --json",
        "predict --figure x.png",
        "photos --out x",
        "compare --limit 0",
        "compare --limit 10001",
    ],
)
def test_wrong_flags_are_refused_before_any_work(run, words):
    code, out, err = run(*words.split())
    assert code == 2 and out == "" and err


# ---- compare

SMALL = 300


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """`cnn compare` with few photos: (its text, its JSON, the folder it wrote)."""
    folder = tmp_path_factory.mktemp("compare")
    done = as_process("compare", "--limit", SMALL, "--out", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "compare.json").read_text(encoding="utf-8")), folder


def test_compare_counts_what_the_models_say(compared, data_set, cnn_model, dense_model):
    (_, found, _), best_model = compared, saving.load_model(pretrained.path("best"))
    pixels, labels = data_set[0][:SMALL], data_set[1][:SMALL]
    assert len(found["results"]) == 28
    done = {
        "as they are": pixels,
        "mirrored": pixels[..., ::-1],
        "2 left": np.pad(pixels, ((0, 0), (0, 0), (0, 2)))[..., 2:],
        "quadrants swapped": np.roll(pixels, (14, 14), (1, 2)),
    }
    for row in found["results"]:
        if row["change"] not in done:
            continue
        for name, model in (("CNN", cnn_model), ("dense", dense_model), ("best", best_model)):
            right = photos.probabilities(model, done[row["change"]]).argmax(axis=1) == labels
            assert row[name]["correct"] == right.sum() and row[name]["count"] == SMALL
            assert row[name]["interval"] == list(metrics.wilson_interval(int(right.sum()), SMALL))
            assert row[name]["by_class"]["Sandal"]["correct"] == right[labels == 5].sum()
            assert sum(score["correct"] for score in row[name]["by_class"].values()) == right.sum()
            assert sum(row[name]["said"].values()) == SMALL
        right = [
            photos.probabilities(model, done[row["change"]]).argmax(axis=1) == labels
            for model in (best_model, cnn_model)
        ]
        alone = [(right[0] > right[1]).sum(), (right[1] > right[0]).sum()]
        assert found["best_alone_cnn_alone"][row["change"]] == alone


def test_compare_prints_what_it_counted(compared):
    out, found, _ = compared
    networks = ("CNN", "dense", "best")
    for row in found["results"]:
        name = row["change"].removesuffix(" swapped")
        lines = [line.removeprefix(name) for line in out.splitlines() if line.startswith(f"{name} ")]
        groups = [row[network] for network in networks], [row[network]["by_class"]["Sandal"] for network in networks]
        for line, scores in zip(lines, groups, strict=True):
            expected = [value for score in scores for value in (score["share"], *score["interval"])]
            numbers = [float(number) / 100 for number in re.findall(r"[\d.]+", line)]
            np.testing.assert_allclose(numbers, expected, atol=0.00051)
    for sentence in found["sentences"]:
        assert sentence in " ".join(out.replace("\n- ", " ").split())
    assert max(map(len, out.splitlines())) <= 80
    assert (compared[2] / "compare.png").stat().st_size > 20_000


def test_compare_as_json(run):
    code, out, err = run("compare", "--limit", "5", "--json")
    found = json.loads(out)
    assert code == 0 and found["photos"] == 5 and err == ""
    assert found["networks"]["dense"]["parameters"] == 101_770


def compare_of(plain, mirrored):
    """A comparison of 1,000 sandals alone, with these numbers of right answers for (CNN, dense)."""
    sandal = np.eye(10, dtype=int)[5]
    correct = {name: {change.name: sandal * 500 for change in comparison.changes()} for name in ("CNN", "dense")}
    for k, name in enumerate(correct):
        correct[name] |= {comparison.PLAIN: sandal * plain[k], comparison.MIRRORED: sandal * mirrored[k]}
    return comparison.Comparison(NAMES, sandal * 1000, correct)


def test_who_calls_everything_a_sandal_recognises_none():
    result, sandal = compare_of((950, 950), (900, 100)), np.eye(10, dtype=int)[5]
    for answers, expected in ((1000, "holds here: most"), (5000, "holds in name alone: the CNN calls 5,000 of all")):
        said = {"CNN": dict.fromkeys((change.name for change in comparison.changes()), sandal * answers)}
        claim = next(s for s in comparison.sentences(result._replace(said=said)) if s.startswith("Sandals mirrored"))
        assert expected in claim


def test_two_cnns_are_compared_by_the_photos_that_one_alone_knows():
    two = compare_of((930, 900), (900, 100))
    correct = {"CNN": two.correct["dense"], "dense": two.correct["dense"], "best": two.correct["CNN"]}
    for alone, expected in (
        ((60, 30), "60 photos it alone knows, 30 the CNN alone: the CNN of augmented photos is the better one"),
        ((30, 60), "the CNN is the better one (McNemar's test, p = 0.0021)"),
        ((45, 44), "no sure difference (McNemar's test, p = 1)"),
    ):
        said = comparison.sentences(two._replace(correct=correct, alone={comparison.PLAIN: alone}))
        assert any(expected in sentence for sentence in said)
    assert sum(sentence.startswith("Sandals mirrored") for sentence in said) == 2


CLAIMS = {
    (900, 100): "holds here",
    (300, 100): "holds in part: the CNN knows more of them than the dense net, but it does not know most of them",
    (900, 700): "holds in part: the CNN knows more of them than the dense net, but both know most of them",
    (510, 200): "holds in part: the CNN knows more of them than the dense net, but the rest is not clear",
    (277, 290): "does not hold here: no difference outside the 95% intervals",
    (100, 300): "does not hold here: the dense net is the better one",
}


@pytest.mark.parametrize(("mirrored", "expected"), CLAIMS.items(), ids=map(str, CLAIMS))
def test_the_sentence_about_the_claim_follows_the_numbers(mirrored, expected):
    said = next(s for s in comparison.sentences(compare_of((950, 950), mirrored)) if s.startswith("Sandals mirrored"))
    assert expected in said
    assert f"{mirrored[0] / 10:.1f}%" in said and f"{mirrored[1] / 10:.1f}%" in said


def test_a_difference_is_one_only_outside_the_intervals():
    for a, b, expected in ((950, 900, ">"), (900, 950, "<"), (920, 910, "="), (500, 500, "=")):
        assert comparison.sign(comparison.Score(a, 1000), comparison.Score(b, 1000)) == expected
        sentence = comparison.sentences(compare_of((a, b), (0, 0)))[0]
        assert comparison.verdict(expected) in sentence


def test_one_way_tells_shoes_from_bags():
    left = np.zeros((20, 8, 8))
    left[:, :, :3] = 1
    assert comparison.one_way(left) == 1
    left[:3] = left[:3, :, ::-1]
    assert comparison.one_way(left) == 0.85
