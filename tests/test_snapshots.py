"""`cnn train --snapshots` and `cnn explain --run`: what each epoch leaves, also after a stop, and how it is played."""

import json

import explain_models as nets
import numpy as np
import pytest

from cnn.commands import cli
from cnn.commands.shared import snapshots
from cnn.errors import ModelFileError
from cnn.explain import film
from cnn.terminal import Style

STYLE = Style(unicode=False, colour=False, width=80)
TRAIN = ["train", "--limit", "320", "--filters", "4,4", "--shards", "1", "--no-plots", "--verbose", "0", "--snapshots"]


def train(folder, *words):
    assert cli.main([*TRAIN, *words, "--out", str(folder), "--name", "run"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), "--epochs", "2")


def contents(run):
    return {path.name: path.read_bytes() for path in sorted((run / "snapshots").iterdir())}


def test_one_before_training_and_one_after_each_epoch(whole):
    found = snapshots.read(str(whole))
    assert [one.epoch for one in found] == [0, 1, 2] and {one.photo for one in found} == {9}
    assert not np.array_equal(found[0].kernel, found[1].kernel) and found[0].kernel.shape == (3, 3, 1, 4)
    assert all(one.probabilities.sum() == pytest.approx(1) for one in found)
    assert list(found[0].dead) == ["conv2d", "conv2d_1", "dense"] and len(found[0].gradients) == 4


def test_a_run_that_goes_on_has_the_same_snapshots(whole, tmp_path):
    run = train(tmp_path, "--epochs", "1")
    (run / "snapshots" / "epoch-002.json.tmp.0123abcd").write_text("half")  # as a killed process leaves it
    assert cli.main(["train", "--resume", str(run), "--epochs", "2", "--no-plots", "--verbose", "0"]) == 0
    assert contents(run) == contents(whole)


def test_the_statistics_are_what_they_say():
    model, (pixels, labels) = nets.tiny(), nets.test_set()
    x = pixels[:20, ..., None].astype(np.float32) / 255
    one = film.take(model, 3, (9, x[8:9], 5), (x, labels[:20].astype(int)))
    np.testing.assert_allclose(one.probabilities, nets.traced("tiny")["p"], rtol=1e-5)
    opened = np.zeros(128, bool)
    squares = 0.0
    for number in range(1, 21):
        t = nets.traced("tiny", number, int(labels[number - 1]))
        opened |= t["z3"] > 0
        squares = squares + t["dW3"] / 20
    assert one.dead["dense"] == pytest.approx(1 - opened.mean())
    assert one.gradients["dense/kernel"] == pytest.approx(float(np.sqrt(np.mean(squares**2))), rel=1e-4)
    again = film.from_json(json.loads(json.dumps(film.as_json(one))))
    assert np.array_equal(again.kernel, one.kernel) and again.dead == one.dead


def test_a_network_that_diverges_leaves_no_snapshot_and_its_own_error(tmp_path, capsys):
    words = ["--epochs", "2", "--optimizer", "sgd", "--learning-rate", "1e30", "--out", str(tmp_path), "--name", "run"]
    assert cli.main([*TRAIN, *words]) == 5
    assert [one.epoch for one in snapshots.read(str(tmp_path / "run"))] == [0]
    assert "Traceback" not in capsys.readouterr().err


def test_a_first_save_that_fails_leaves_no_folder(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(snapshots.files, "write_json", full)
    assert cli.main([*TRAIN, "--epochs", "1", "--out", str(tmp_path), "--name", "run"]) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"label": 99},
        {"kernel": [[1.0], [1.0, 2.0]]},
        {"kernel": [float("inf")]},
        {"dead": {"a": "b"}},
        {"epoch": "1"},
    ],
)
def test_a_damaged_snapshot_is_refused(whole, tmp_path, change):
    document = json.loads((whole / "snapshots" / "epoch-001.json").read_text())
    folder = tmp_path / "snapshots"
    folder.mkdir()
    (folder / "epoch-001.json").write_text(json.dumps(document | change))
    with pytest.raises(ModelFileError, match=r"epoch-001\.json: "):
        snapshots.read(str(tmp_path))


def test_it_is_played_as_text_on_screens_and_as_a_picture(whole, capsys, tmp_path):
    assert cli.main(["explain", "--run", str(whole)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "photo 9, label Sandal, after each epoch" in out and "first filters, epoch 2" in out
    found = snapshots.read(str(whole))
    assert f"{found[2].probabilities[5]:.3f}" in out
    player = film.Film(found, "run")
    for size in ((80, 24), (60, 20), (120, 40)):
        assert len(player.screen(*size, STYLE)) == size[1] and max(map(len, player.screen(*size, STYLE))) <= size[0]
    for key, epoch in (("p", 0), ("n", 1), (" ", 2), ("n", 2), ("p", 1)):
        player.press(key)
        assert f"epoch {epoch} of 2" in player.screen(80, 24, STYLE)[0]
    player.press("a")
    assert player.playing
    player.press("q")
    assert player.finished
    assert cli.main(["explain", "--run", str(whole), "--figures", str(tmp_path)]) == 0
    assert (tmp_path / "16-run.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--run", "nowhere"], "--run: expected the folder of a run"), (["9", "--run", "x"], "leave out PHOTO")],
)
def test_errors_are_one_line(words, said, capsys):
    assert cli.main(["explain", *words]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1
