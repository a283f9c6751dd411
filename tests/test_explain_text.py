"""`cnn explain` as text: golden tours, the same bytes each time, options, errors, JSON."""

import gzip
import json
import re

import explain_models as nets
import numpy as np
import pytest

from cnn.commands import cli
from cnn.explain import figures
from cnn.explain.parts import Map
from cnn.explain.terminal import text
from cnn.explain.terminal.walk import Walk
from cnn.explain.trace import decode
from cnn.terminal import Style

NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?")


def equal_up_to_the_last_digit(line: str, golden: str) -> bool:
    """The same words, and numbers that differ by one in their last place at most: elsewhere BLAS adds differently."""
    if line == golden:
        return True
    found, wanted = NUMBER.findall(line), NUMBER.findall(golden)
    if re.sub(r"\s+", " ", NUMBER.sub("#", line)) != re.sub(r"\s+", " ", NUMBER.sub("#", golden)):
        return False
    return all(abs(float(a) - float(b)) <= 1.01 * last_place(b) for a, b in zip(found, wanted, strict=True))


def last_place(number: str) -> float:
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if decimals else 0.0


@pytest.mark.parametrize("number", nets.GOLDEN_PHOTOS)
def test_the_tour_is_the_golden_one(number):
    lines = nets.tour_text(number).splitlines()
    golden = (nets.GOLDEN / f"explain-{number}.txt").read_text(encoding="ascii").splitlines()
    different = [(a, b) for a, b in zip(lines, golden, strict=False) if not equal_up_to_the_last_digit(a, b)]
    assert not different and len(lines) == len(golden)


def test_the_comparison_with_golden_lines_can_fail():
    assert equal_up_to_the_last_digit("a  +0.123", "a  +0.124")
    assert not equal_up_to_the_last_digit("a  +0.123", "a  +0.125")
    assert not equal_up_to_the_last_digit("a 3", "a 4")
    assert not equal_up_to_the_last_digit("b  +0.123", "a  +0.123")


@pytest.mark.parametrize("number", range(1, 21))
def test_tours_are_short_narrow_and_plain(number):
    for name in ("tiny", "sure"):
        t = nets.traced(name, number)
        lines = text.piped(t, nets.PLAIN)
        assert len(lines) <= 480 and max(map(len, lines)) <= 80
        joined = "\n".join(lines)
        assert joined.isascii() and "\x1b" not in joined
        assert lines[0].startswith(f"photo {number} = test[{number - 1}]: model says ")
        assert "DIFFERS" not in joined and joined.count("agrees") >= 20
        assert all(f"\n{letter}{n} of {letter}12 " in joined for letter in "FB" for n in range(1, 13))


def test_every_backward_screen_states_the_targets_probability():
    t = nets.traced("sure")
    for n in range(1, 13):
        assert f"p = {t['p'][t.target]:.4g}" in "\n".join(text.piped(t, nets.PLAIN, only=f"B{n}"))
    assert f"{'gradients: ~ 0' if t.why == 'other' else 'label'}" in "\n".join(text.piped(t, nets.PLAIN, only="B1"))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.npz"
    nets.tiny().save(path)
    return str(path)


def run(capsys, *argv):
    code = cli.main(["explain", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_piped_the_whole_tour_the_same_bytes_every_time(model_file, capsys):
    code, first, errors = run(capsys, "9", "--model", model_file, "--ascii")
    assert (code, errors) == (0, "")
    assert (
        first
        == run(capsys, "9", "--model", model_file, "--ascii")[1]
        == run(capsys, "--model", model_file, "--ascii")[1]
        == nets.tour_text(9)
    )


def test_step_and_cursor_options(model_file, capsys):
    code, out, _ = run(capsys, "9", "--model", model_file, "--step", "b8", "--weight", "0,2,1,3")
    t = nets.traced("tiny")
    assert code == 0 and "= dW2[0,2,1,3]" in out and f"{t['dW2'][0, 2, 1, 3]:+#.4g}" in out
    out = run(
        capsys,
        "9",
        "--model",
        model_file,
        "--step",
        "F6",
        "--cell",
        "3,4",
        "--filter",
        "2",
        "--channel",
        "1",
        "--digits",
        "6",
    )[1]
    assert (
        "output cell i=3 j=4   filter f=2 of 0..3   input channel c=1 of 0..2" in out
        and f"{t['z2'][3, 4, 2]:+.8f}" in out
    )
    assert "= z3[7]" in run(capsys, "9", "--model", model_file, "--step", "F10", "--unit", "7")[1]
    assert "target Bag, p" in run(capsys, "9", "--model", model_file, "--step", "B1", "--target", "bag")[1]
    assert "target Bag, p" in run(capsys, "9", "--model", model_file, "--step", "B1", "--target", "8")[1]
    out = run(capsys, "9", "--model", model_file, "--step", "L", "--lab", "3,2,same,blur")[1]
    assert "output size = ceil(28/2) = 14" in out and "top 0 bottom 1 left 0 right 1" in out
    for extra in "MGS":
        assert f"\n{extra}  " in run(capsys, "9", "--model", model_file, "--step", extra)[1]


def test_json_is_the_trace_and_nothing_else(model_file, capsys):
    code, out, errors = run(capsys, "12", "--model", model_file, "--json")
    document, t = json.loads(out), nets.traced("tiny", 12)
    assert (code, errors) == (0, "") and document["photo"]["number"] == 12
    assert np.array_equal(decode(document["tensors"]["z1"]), t["z1"])


def test_a_file_of_ones_own(model_file, capsys, tmp_path):
    from PIL import Image

    path = tmp_path / "mine.png"
    Image.fromarray(nets.test_set()[0][8]).save(path)
    code, out, _ = run(capsys, str(path), "--model", model_file)
    assert code == 0 and out.startswith("mine.png: model says ") and "no label is known" in " ".join(out.split())


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["10001"], 2, "photo 10001: expected a number from 1 to 10000"),
        (["9", "--step", "F13"], 2, "expected F1 to F12"),
        (["9", "--target", "Hat"], 2, "--target: expected a class from 0 to 9"),
        (["9", "--model", "nowhere.npz"], 4, "nowhere.npz"),
        (["no-such-photo.png"], 3, "no such file"),
        (["9", "--step", "L", "--lab", "7,1,valid,blur,5x5"], 2, "expected input of at least 7 x 7"),
    ],
)
def test_errors_are_one_line(argv, code, message, model_file, capsys):
    got, out, errors = run(capsys, *argv, *([] if "--model" in argv else ["--model", model_file]))
    assert got == code and out == "" and errors.count("\n") == 1 and message in errors


@pytest.mark.parametrize(
    "argv",
    [
        ["--cell", "1"],
        ["--cell", "1,x"],
        ["--digits", "2"],
        ["--lab", "4,1,same,blur"],
        ["--weight", "1,2,3"],
        ["--filter", "-1"],
    ],
)
def test_wrong_options_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", "9", *argv])
    assert stopped.value.code == 2 and "expected" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [["--json"], ["--figures", "DIR"], ["--html", "FILE"]])
@pytest.mark.parametrize("one", [["--step", "F6"], ["--cell", "1,2"], ["--digits", "5"], ["--learning-rate", "0.1"]])
def test_options_of_one_step_beside_all_steps_are_refused(whole, one, model_file, capsys, tmp_path):
    whole = [word.replace("DIR", str(tmp_path / "d")).replace("FILE", str(tmp_path / "f")) for word in whole]
    code, out, errors = run(capsys, "9", *whole, *one, "--model", model_file)
    assert code == 2 and out == "" and f"{whole[0]} holds all steps: {one[0]} would change nothing" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outputs", [["--json", "--figures", "d"], ["--json", "--html", "f"]])
def test_one_output_at_a_time(outputs, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", "9", *outputs])
    assert stopped.value.code == 2 and "not allowed with" in capsys.readouterr().err


def small_set(folder, count):
    """A data set of `count` test photos, as four IDX files."""
    pixels, labels = nets.test_set()
    for name in ("train", "t10k"):
        shape = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        images, classes = pixels[:count].tobytes(), labels[:count].astype(np.uint8).tobytes()
        for kind, data in (
            ("images-idx3", b"\0\0\x08\x03" + shape + images),
            ("labels-idx1", b"\0\0\x08\x01" + shape[:4] + classes),
        ):
            with gzip.open(folder / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(data)
    return str(folder)


def test_a_small_test_set_will_do(model_file, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", {"01-photos": figures.sheet})
    data = small_set(tmp_path, 5)
    code, out, errors = run(capsys, "--data", data, "--model", model_file)
    assert (code, errors) == (0, "") and out.startswith("photo 5 = test[4]: model says ")
    assert run(capsys, "2", "--data", data, "--model", model_file, "--figures", str(tmp_path / "figures"))[0] == 0
    walk = Walk(nets.tiny(), None, tuple(array[:5] for array in nets.test_set()))
    assert "n: begin with photo 5" in "\n".join(walk.screen(80, 24, nets.PLAIN))


def test_no_color_has_its_way(monkeypatch, model_file, capsys):
    colourful = run(capsys, "9", "--model", model_file, "--step", "B12", "--color", "always")[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run(capsys, "9", "--model", model_file, "--step", "B12")[1]
    assert "\x1b" not in plain and "\x1b" in colourful
    assert re.sub(r"\x1b\[[\d;]*m", "", colourful) == plain  # colour only ever repeats


def test_maps_are_pointed_at():
    picture = text.draw_map(Map("a", np.eye(4), (2, 3), signed=True), Style(False, False, 80))
    assert [line.rstrip() for line in picture] == ["a", "     v", "  ##", ">   ##"]
