"""The article's network at three moments: the same bits everywhere, and a tour that asks for the photo's own label."""

import json

import explain_models as nets
import numpy as np
import pytest

from cnn import article, photos, pretrained, saving
from cnn.commands import cli
from cnn.datasets import fingerprint
from cnn.errors import ModelFileError
from cnn.explain.terminal.walk import Walk
from cnn.explain.trace import to_json

BITS = {
    "untrained": "cc5a21d4d841cc6cd5d5d93c8248a958bcf6e31d2839e599ed1b230580a64d52",
    "early": "620b8b2403ce594bd1981f7e56826454cb7338737f35a87e231715447b703772",
    "finished": "9f43172d82c8f08e336f96359abbebcccdd104b6479ba72351c2128eabdb7c35",
}
SAYS = {"untrained": 0.1070, "early": 0.7912, "finished": 1.0}  # p(Sandal) of photo 9


@pytest.mark.parametrize("moment", article.MOMENTS)
def test_each_moment_has_its_bits(moment):
    model = article.at_moment(moment)
    assert fingerprint(*model.params.values()) == BITS[moment]
    assert {array.dtype for array in model.params.values()} == {np.dtype(np.float32)}
    p = photos.probabilities(model, nets.test_set()[0][8:9])[0]
    assert p[5] == pytest.approx(SAYS[moment], abs=1e-4)


def test_a_changed_bit_is_found(tmp_path):
    content = bytearray(pretrained.path("early").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "early.npz").write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged"):
        saving.load_model(tmp_path / "early.npz")


def test_early_is_small_says_how_it_was_made_and_comes_from_untrained():
    early, untrained = article.at_moment("early"), article.at_moment("untrained")
    assert pretrained.path("early").stat().st_size < 900_000
    assert "--epochs 1 --limit 2000 --seed 0" in early.made_by
    farthest = max(float(np.abs(early.params[key] - value).max()) for key, value in untrained.params.items())
    assert farthest < 0.001 * 63 * 1.1  # 63 steps of Adam, each hardly longer than the learning rate


def test_other_moments_are_refused():
    with pytest.raises(ValueError, match="moment: expected 'untrained', 'early', 'finished', got 'late'"):
        article.at_moment("late")


def run(capsys, *words):
    code = cli.main(["explain", "9", *words])
    return code, *capsys.readouterr()


def test_the_tour_begins_early_with_the_photo_s_own_label(capsys):
    code, out, _ = run(capsys, "--step", "F12")
    assert code == 0 and "early network says Sandal 0.79, label Sandal: correct" in out and "what if" not in out
    assert "loss = -log p[Sandal] = 0.2342" in out
    assert "target Sandal, p = 0.7912, loss 0.2342 (the label)" in run(capsys, "--step", "B1")[1]
    finished = run(capsys, "--step", "F12", "--moment", "finished")[1]
    assert "backward, we ask: what if this were a Sneaker? -log p[Sneaker] = 25.02" in finished
    assert run(capsys, "--step", "B1", "--moment", "untrained")[1].startswith(
        "photo 9 = test[8]: untrained network says"
    )


def test_json_names_the_moment_and_a_model_excludes_it(capsys):
    assert json.loads(run(capsys, "--json")[1])["network"]["moment"] == "early"
    assert to_json(nets.traced("tiny"), [])["network"]["moment"] is None
    with pytest.raises(SystemExit):
        cli.main(["explain", "9", "--model", "cnn", "--moment", "early"])
    assert "not allowed with" in capsys.readouterr().err


def test_m_goes_through_the_moments_on_the_same_path():
    test = nets.test_set()
    walk = Walk(article.at_moment("early"), photos.test_photo(9, *test), test, moment="early")
    way, losses = walk.path, [walk.trace.loss]
    for moment in ("finished", "untrained", "early"):
        walk.press("M")
        assert walk.moment == walk.trace.moment == moment and f"{moment}: " in walk.message
        assert walk.path.cells[:-1] == way.cells[:-1]
        losses.append(walk.trace.loss)
    assert losses[0] == losses[3] and len(set(losses)) == 3
    other = Walk(nets.tiny(), photos.test_photo(9, *test), test)
    other.press("M")
    assert "known at one moment only" in other.message
