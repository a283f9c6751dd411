"""What a learner's layer may do instead of returning a gradient, functions of one's own, and the command for them."""

import json
import re

import numpy as np
import pytest
from learners import Affine, answering, numbers, softmax, tied, wrong

from cnn import gradcheck
from cnn.commands import cli
from cnn.layers import Layer

ROWS = numbers((3, 7))

# ---- states

STATES = {
    "None": (answering(Affine, lambda dx, g, dy, c: (None, g)), "input", "None", "expected an array, got None"),
    "missing": (
        answering(Affine, lambda dx, g, dy, c: (dx, {"W": g["W"]})),
        "b",
        "missing",
        "grads need 'b', and have 'W'",
    ),
    "extra": (answering(Affine, lambda dx, g, dy, c: (dx, {**g, "c": dx})), "c", "extra", "no 'c' in params"),
    "NaN": (answering(Affine, lambda dx, g, dy, c: (dx / 0 * 0, g)), "input", "NaN", "the first at [0, 0]"),
    "infinite": (
        answering(Affine, lambda dx, g, dy, c: (dx + np.inf, g)),
        "input",
        "infinite",
        "got infinite: 21 of 21",
    ),
    "integers": (answering(Affine, lambda dx, g, dy, c: (dx.astype(int), g)), "input", "integers", "dtype=x.dtype"),
    "a list": (answering(Affine, lambda dx, g, dy, c: (dx.tolist(), g)), "input", "no array", "got list"),
    "shape": (
        answering(Affine, lambda dx, g, dy, c: (dx[:, :3], g)),
        "input",
        "shape",
        "(3, 7), that of input itself, got (3, 3)",
    ),
    "float32": (
        answering(Affine, lambda dx, g, dy, c: (np.float32(dx), g)),
        "input",
        "single precision",
        "rounded to float32",
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("kind", "tensor", "state", "words"), STATES.values(), ids=STATES)
def test_the_state_of_a_gradient_gets_its_sentence(kind, tensor, state, words):
    results = {result.name: result for result in gradcheck.check_layer(kind(), ROWS)}
    assert results[tensor].verdict == "WRONG" and not results[tensor].passed
    assert results[tensor].diagnosis.mistake == state and words in results[tensor].diagnosis.sentence
    assert all(result.passed for name, result in results.items() if name != tensor)


def writes(which):
    def backward(self, dy, cache, need_dx=True):
        answer = Affine.backward(self, dy, cache)
        {"x": cache[0], "dy": dy, "W": self.params["W"]}[which][0, 0] += 1
        return answer

    return wrong(Affine, backward=backward)


class Stateful(Affine):
    def forward(self, x, training=False, rng=None):
        self.last = Affine.forward(self, x)[1]
        return self.last[2], ()

    def backward(self, dy, cache, need_dx=True):
        return Affine.backward(self, dy, self.last)


class Noisy(Affine):
    def forward(self, x, training=False, rng=None):
        y, cache = Affine.forward(self, x)
        return y + np.random.default_rng().random(), cache


class Impatient(Affine):
    def backward(self, dy, cache, need_dx=True):
        return dy @ self.kept.T, {}


def in_place(self, x, training=False, rng=None):
    x *= 2
    return Affine.forward(self, x)


forward_giving = lambda value: wrong(Affine, forward=lambda self, x, training=False, rng=None: value)
backward_giving = lambda value: wrong(Affine, backward=lambda self, dy, cache, need_dx=True: value)
REFUSED = {
    "input overwritten": (wrong(Affine, forward=in_place), "forward: the input is overwritten: .*at .0, 0.: "),
    "overwritten later": (writes("x"), "backward: the input that forward got is overwritten"),
    "dy overwritten": (writes("dy"), "backward: dy is overwritten"),
    "weights changed": (writes("W"), "the parameter 'W' is changed"),
    "not deterministic": (Noisy, "the same x gives another y the second time"),
    "kept in the layer": (Stateful, "by what the last forward left in the layer"),
    "forward not called": (
        Impatient,
        "backward: AttributeError: .*'kept'.*test_diagnosis_states.py, line .*self.kept.T",
    ),
    "forward None": (forward_giving(None), r"forward: expected \(y, cache\), got None: is there a return"),
    "forward three": (forward_giving((1, 2, 3)), r"expected \(y, cache\), got a tuple of 3"),
    "y None": (forward_giving((None, ())), "forward: y: expected an array, got None"),
    "y of whole numbers": (forward_giving((np.ones((3, 2), int), ())), "y: expected an array of floats, got int64"),
    "y of other photos": (forward_giving((np.ones((2, 2)), ())), r"a batch of 3 photos, as x is, got shape \(2, 2\)"),
    "backward None": (backward_giving(None), r"backward: expected \(dx, grads\), got None"),
    "dx alone": (backward_giving(np.ones((3, 7))), r"backward: expected \(dx, grads\), got an array of shape \(3, 7\)"),
    "grads a list": (backward_giving((np.ones((3, 7)), [])), "grads: expected a dict of arrays, got list"),
}


@pytest.mark.parametrize(("kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_checked_gets_its_sentence(kind, message):
    with pytest.raises(gradcheck.Refusal, match=message) as caught:
        gradcheck.check_layer(kind(), ROWS)
    assert "\n" not in str(caught.value)
    with pytest.raises(AssertionError, match=message):
        gradcheck.assert_gradients(kind(), ROWS)


def test_what_is_not_written_yet():
    with pytest.raises(gradcheck.Refusal, match=r"forward: is not written yet \(NotImplementedError\)"):
        gradcheck.check_layer(Layer(), ROWS)


# ---- functions

LABELS = np.array([2, 0, 3])


def loss(z, labels):
    return -np.log(softmax(z)[np.arange(len(z)), labels]).mean()


def loss_by(slope):
    return lambda z, labels: slope(softmax(z), np.eye(z.shape[1])[labels]) / len(z)


def blocks(x):
    return x.reshape(2, 2, 2, 3, 2, 2).max((2, 4))


def spread_over(x, dy):
    cells = x.reshape(2, 2, 2, 3, 2, 2)
    return ((cells == blocks(x)[:, :, None, :, None]) * dy[:, :, None, :, None]).reshape(x.shape)


Z = numbers((3, 5))
FUNCTIONS = {
    "p": (loss, loss_by(lambda p, y: p), (Z, LABELS), "p minus y", "p for p - y"),
    "-y": (loss, loss_by(lambda p, y: -y), (Z, LABELS), "p minus y", "-y for p - y"),
    "y - p": (loss, loss_by(lambda p, y: y - p), (Z, LABELS), "constant factor", "-1"),
    "not the mean": (
        loss,
        lambda z, y: 3 * loss_by(lambda p, y: p - y)(z, y),
        (Z, LABELS),
        "constant factor",
        "times 3",
    ),
    "right class alone": (loss, loss_by(lambda p, y: (p - y) * y), (Z, LABELS), "p minus y", "0 for the others"),
    "-y / p": (loss, loss_by(lambda p, y: -y / p), (Z, LABELS), "p minus y", "the derivative by p"),
    "half": (lambda x: (x**2).sum(), lambda x: x, ROWS, "constant factor", "times 1/2"),
    "mean for sum": (lambda x: (x**2).sum(), lambda x: 2 * x / x.size, ROWS, "constant factor", "1/21"),
    "transposed": (lambda x: (x**3).sum(), lambda x: 3 * x.T**2, ROWS, "axes exchanged", "transposed"),
    "exchanged": (
        lambda a, b: np.sin(a * b).sum(),
        lambda a, b: (a * np.cos(a * b), b * np.cos(a * b)),
        (Z, Z[::-1] + 2),
        "of another tensor",
        "right numbers for b",
    ),
    "without dy": (np.tanh, lambda x, dy: 1 - np.tanh(x) ** 2, ROWS, "upstream left out", "dy"),
    "cumsum forwards": (lambda x: np.cumsum(x), lambda x, dy: np.cumsum(dy), Z[0], "other side", "not transposed"),
    "a mask forgotten": (lambda x: np.maximum(x, 0), lambda dy, x: dy, ROWS, "mask forgotten", "dz = dy"),
    "dW of the first photo": (
        lambda kernel, x, bias: np.maximum(x @ kernel + bias, 0),
        lambda dy, kernel, x, bias: (x[:1].T @ dy[:1], dy @ kernel.T, dy.sum(0)),
        (numbers((7, 4)), ROWS, Z[0, :4]),
        "",
        "furthest off",
    ),
    "dense, mask forgotten": (
        lambda x, W, b: np.maximum(x @ W + b, 0),
        lambda x, W, b, dy: (dy @ W.T, x.T @ dy, dy.sum(0)),
        (ROWS, numbers((7, 4)), Z[0, :4]),
        "mask forgotten",
        "dz = dy",
    ),
    "mean spread": (lambda x: (x**2).sum(), lambda x: 0 * x + 2 * x.mean(0), ROWS, "averaged and spread", "axis 0"),
    "dy times J summed": (
        np.cumsum,
        lambda x, dy: dy * np.arange(5, 0, -1),
        Z[0],
        "upstream times all slopes",
        "only its own slope",
    ),
    "rows laid out as columns": (
        np.ravel,
        lambda x, dy: dy.reshape(x.shape[::-1]).T,
        ROWS,
        "transposed for reshaped",
        "in a wrong order",
    ),
    "summed away": (lambda x: (x**2).sum(), lambda x: 2 * x.sum(0), ROWS, "summed", "got (7,)"),
    "ties to all": (
        blocks,
        lambda dy, x: spread_over(x, dy),
        tied((2, 4, 6, 2)),
        "pooling shares",
        "ties given to all",
    ),
    "sum spread": (lambda x: (x**2).sum(), lambda x: 0 * x + 2 * x.sum(0), ROWS, "summed and spread", "axis 0"),
}


@pytest.mark.parametrize(("f", "gradient", "x", "mistake", "words"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_of_ones_own(f, gradient, x, mistake, words):
    diagnosis = gradcheck.check_function(f, gradient, x)[0].diagnosis
    assert diagnosis.mistake == mistake and words in diagnosis.sentence, diagnosis.sentence
    with pytest.raises(AssertionError, match=re.escape(diagnosis.sentence)):
        gradcheck.assert_gradients(f, gradient, x)


def test_right_functions():
    gradcheck.assert_gradients(loss, loss_by(lambda p, y: p - y), (Z, LABELS))
    gradcheck.assert_gradients(lambda a, b: a @ b, lambda dy, a, b: (dy @ b.T, a.T @ dy), (Z, numbers((5, 2))))
    gradcheck.assert_gradients(lambda a, b: (a @ b).sum(), lambda a, b: {"b": a.sum(0), "a": 0 * a + b}, (Z, Z[0]))
    gradcheck.assert_gradients(lambda a, b: a @ b, lambda a, dy, b, more=3: (dy @ b.T, a.T @ dy), (Z, numbers((5, 2))))
    gradcheck.assert_gradients(np.abs, lambda x, dy: dy * np.sign(x), np.array([1e-5, -2.0, 3.0]))  # a hidden corner


def test_functions_that_cannot_be_checked():
    for f, gradient, message in (
        (lambda x: None, None, "expected an array, got None"),
        (lambda x: x * np.random.default_rng().random(), None, "another one the second time"),
        (lambda x: x.sum(), lambda x: (x, x), "expected one array, got a tuple of 2"),
        (lambda x: x.sum(), lambda x: x[9], "IndexError.*test_diagnosis_states.py"),
    ):
        with pytest.raises(gradcheck.Refusal, match=message):
            gradcheck.check_function(f, gradient, ROWS)
    assert (
        gradcheck.check_function(lambda a, b: a + b, lambda a, b, dy: dy, (1.0, 2.0))[1].diagnosis.mistake == "missing"
    )


# ---- the command

MINE = """
import numpy as np
from cnn.layers import Layer

class Scale(Layer):
    def __init__(self, factor=3.0, **others):
        super().__init__(**others)
        self.factor = factor
        print("made")

    def forward(self, x, training=False, rng=None):
        return self.factor * x, ()

    def backward(self, dy, cache, need_dx=True):
        return dy * FACTOR, {}

class Pool(Layer):
    def infer_shape(self, s):
        return s[0] // 2, s[1] // 2, s[2]

    def forward(self, x, training=False, rng=None):
        blocks = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3])
        return blocks.max((2, 4)), blocks

    def backward(self, dy, blocks, need_dx=True):
        dx = (blocks == blocks.max((2, 4), keepdims=True)) * dy[:, :, None, :, None]
        n, h, _, w, _, c = blocks.shape
        return dx.reshape(n, 2 * h, 2 * w, c), {}

class Asking(Layer):
    def __init__(self, depth):
        super().__init__()

class Dense(Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units
    def forward(self, x, training=False, rng=None):
        return x, x[9]

def loss(z, labels):
    return -np.log((np.exp(z) / np.exp(z).sum(1, keepdims=True))[np.arange(len(z)), labels]).mean()

def loss_gradient(z, labels):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True) / len(z)

def product_forward(a, b):
    return a @ b

def product_backward(dy, a, b):
    return dy @ b.T, a.T @ dy

def alone(x):
    return x

number = 3
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("FACTOR", "self.factor ** 2"))
    (tmp_path / "right.py").write_text(MINE.replace("FACTOR", "self.factor"))
    (tmp_path / "broken.py").write_text("import nowhere_at_all")
    return str(tmp_path / "mine.py")


def test_a_layer_in_a_file_of_ones_own(mine, capsys):
    assert cli.main(["gradcheck", f"{mine}:Scale(7)", "--shape", "4,3,2"]) == 1
    out, err = capsys.readouterr()
    said = " ".join(out.split())
    assert "input 5 x 4 x 3 x 2 120 0" in said and "input: WRONG: these are the right numbers times 7 (agrees" in said
    assert "made" in err and "Scale, 5 photos of (4, 3, 2), float64" in err
    assert cli.main(["gradcheck", mine.replace("mine.py", "right.py:Scale")]) == 0
    assert "WRONG" not in capsys.readouterr().out


def test_pooling_is_checked_with_ties_too(mine, capsys):
    assert cli.main(["gradcheck", f"{mine}:Pool", "--shape=6,4,2", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["tensor"], row["verdict"], row["mistake"]) for row in rows] == [
        ("input", "ok", None),
        ("input with ties", "WRONG", "pooling shares"),
    ]
    assert "ties given to all winners" in rows[1]["diagnosis"] and rows[1]["layer"] is None


def test_functions_in_a_file_of_ones_own(mine, capsys):
    assert cli.main(["gradcheck", f"{mine}:loss"]) == 1
    assert "p for p - y" in capsys.readouterr().out
    assert cli.main(["gradcheck", f"{mine}:product_forward", "--shape=3,4", "--shape=4,2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["MINE"], 2, "expected FILE.py:Name, such as mine.py:Conv2D"),
        (["nowhere.py:Conv"], 2, "nowhere.py: expected a Python file, there is none"),
        (["MINE:Conv"], 2, "expected a class or function 'Conv', got Scale, Pool"),
        (["MINE:Scale(x)"], 2, "a call with plain values such as Conv2D(4, 3), got 'Scale(x)'"),
        (["MINE:number"], 2, "expected a layer, with forward and backward, or a function, got 3"),
        (["MINE:alone"], 2, "expected its gradient beside it, a function alone_gradient or alone_backward"),
        (["MINE:Asking"], 2, "Asking: needs depth: say with which values"),
        (["MINE:Scale", "--shape=3", "--shape=4"], 2, "--shape: expected one shape for a layer"),
        (["MINE:loss", "--shape=3,2", "--shape=4,2"], 2, "--shape: expected one for each of z, got 2"),
        (["MINE:Scale", "--init"], 2, "--init: belongs to a network"),
        (["--shape=3"], 2, "--shape: belongs to a layer or function of your own"),
        (["BROKEN:Conv"], 1, "ModuleNotFoundError: No module named 'nowhere_at_all' (at broken.py, line 1: import"),
        (["MINE:Scale(1, 2, 3, 4)"], 1, "Scale: its constructor: TypeError"),
        (
            ["MINE:Dense"],
            1,
            "Dense: forward: IndexError: index 9 is out of bounds for axis 0 with size 3 (at mine.py, li",
        ),
    ],
)
def test_what_the_command_refuses_of_ones_own(mine, capsys, arguments, code, message):
    words = [word.replace("MINE", mine).replace("BROKEN", mine.replace("mine.py", "broken.py")) for word in arguments]
    assert cli.main(["gradcheck", *words]) == code
    out, err = capsys.readouterr()
    assert not out and message in err and len(err.replace("made\n", "").splitlines()) == 1
