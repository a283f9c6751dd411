"""The checkpoints: right answers computed here once more, wrong ones named, open ones kindly left open."""

import re

import numpy as np
import pytest

from cnn import explain, lessons
from cnn.article import dense
from cnn.lessons import verdict


@pytest.fixture(scope="module")
def trace():
    """Of a network that has learned nothing: it doubts all classes, so that all mistakes can be told apart."""
    return lessons.trace(lessons.untrained_network(), 9)


@pytest.fixture(scope="module")
def check(trace):
    return lessons.Checks(trace)


def cell_of(trace, i, j, f):
    """z1 by plain loops."""
    x, total = trace.photo / 255, float(trace["b1"][f])
    for u in range(3):
        for v in range(3):
            r, s = i + u - 1, j + v - 1
            total += x[r, s] * trace["W1"][u, v, 0, f] if 0 <= r < 28 and 0 <= s < 28 else 0.0
    return total


def gradient_of(trace, u, v, f):
    """dW1 by plain loops, from what comes back to z1."""
    x, total = trace.photo / 255, 0.0
    for i in range(28):
        for j in range(28):
            r, s = i + u - 1, j + v - 1
            if 0 <= r < 28 and 0 <= s < 28:
                total += x[r, s] * trace["dz1"][i, j, f]
    return total


def softmax_of(z):
    powers = [np.exp(number) for number in z]
    return [power / sum(powers) for power in powers]


Y = np.eye(10)[5]
CLOSED = lambda t: tuple(int(n) for n in np.unravel_index(t["z1"].argmin(), t["z1"].shape))

RIGHT = {
    "pixel": lambda c, t: c.pixel(155 / 255, 14, 15),
    "a rounded pixel": lambda c, t: c.pixel(0.608, 14, 15),
    "products": lambda c, t: c.products((t.photo[13:16, 14:17] / 255) * t["W1"][:, :, 0, 2], 14, 15, 2),
    "a cell": lambda c, t: c.cell(cell_of(t, 14, 15, 2), 14, 15, 2),
    "a cell at the corner": lambda c, t: c.cell(cell_of(t, 27, 27, 5), 27, 27, 5),
    "relu, closed": lambda c, t: c.relu(0, *CLOSED(t)),
    "pool": lambda c, t: c.pool(max(max(0, cell_of(t, i, j, 2)) for i in (14, 15) for j in (14, 15)), 7, 7, 2),
    "count": lambda c, t: c.count((3 * 3 * 32 + 1) * 64, "conv2"),
    "softmax": lambda c, t: c.softmax(softmax_of(t["z4"])),
    "loss": lambda c, t: c.loss(-np.log(softmax_of(t["z4"])[5])),
    "guessing": lambda c, t: c.guessing(2.3026),
    "slope by a nudge": lambda c, t: c.slope(((0.51 * 2 - 3) ** 2 - 4) / 0.01, 2, 0.5, 3),
    "slope by the chain": lambda c, t: c.slope(-8, 2, 0.5, 3),
    "chain": lambda c, t: c.chain(2 * (3 - 4) * 3 * 2, 2, 0.5, 3, 4),
    "chain, closed": lambda c, t: c.chain(0, 2, -0.5, 3, 4),
    "p - y": lambda c, t: c.error(np.array(softmax_of(t["z4"])) - Y),
    "a weight of the last layer": lambda c, t: c.dense(t["a3"][10] * (softmax_of(t["z4"])[5] - 1), 10, 5),
    "a weight of a filter": lambda c, t: c.filter_weight(gradient_of(t, 2, 1, 2), 2, 1, 2),
    "a first step": lambda c, t: c.first_step(1.3, 2, 0.5, 3, 0.1),
    "a step": lambda c, t: c.moved(0.0974, 0.1, 0.26, 0.01),
}


@pytest.mark.parametrize("ask", RIGHT.values(), ids=RIGHT)
def test_right_answers_are_right(check, trace, ask):
    said = ask(check, trace)
    assert said.word == "Right" and said, said


WRONG = {
    "the byte": (lambda c, t: c.pixel(155, 14, 15), "divided by 255"),
    "white for black": (lambda c, t: c.pixel(1 - 155 / 255, 14, 15), "0 is black"),
    "column first": (lambda c, t: c.pixel(t.photo[15, 14] / 255, 14, 15), "the row comes first"),
    "counted from 1": (lambda c, t: c.pixel(t.photo[13, 14] / 255, 14, 15), "counted from 0"),
    "@ for *": (
        lambda c, t: c.products((t.photo[13:16, 14:17] / 255) @ t["W1"][:, :, 0, 2], 14, 15, 2),
        "matrix product",
    ),
    "no bias": (lambda c, t: with_bias(t).cell(cell_of(t, 14, 15, 2), 14, 15, 2), "the bias is missing"),
    "turned": (lambda c, t: c.cell(turned(t, 14, 15, 2), 14, 15, 2), "turned by 180 degrees"),
    "the next window": (lambda c, t: c.cell(cell_of(t, 15, 16, 2), 14, 15, 2), "begins one row above"),
    "the mean": (lambda c, t: c.cell(cell_of(t, 14, 15, 2) / 9, 14, 15, 2), "mean of the products"),
    "no ReLU": (lambda c, t: c.relu(t["z1"].min(), *CLOSED(t)), "that is z itself"),
    "the size of z": (lambda c, t: c.relu(-t["z1"].min(), *CLOSED(t)), "without its sign"),
    "mean pooling": (lambda c, t: c.pool(t["a1"][14:16, 14:16, 2].mean(), 7, 7, 2), "mean of the four"),
    "no biases": (lambda c, t: c.count(3 * 3 * 32 * 64, "conv2"), "the biases are missing"),
    "flat filters": (lambda c, t: c.count((3 * 3 + 1) * 64, "conv2"), "all the maps before it"),
    "one too many": (lambda c, t: c.count(18497, "conv2"), "too large"),
    "exp alone": (lambda c, t: c.softmax(np.exp(t["z4"])), "divide them by their sum"),
    "no exp": (lambda c, t: c.softmax(t["z4"] / t["z4"].sum()), "take exp of each z first"),
    "log p": (lambda c, t: c.loss(np.log(t["p"][5])), "minus in front"),
    "p for the loss": (lambda c, t: c.loss(t["p"][5]), "take -log of it"),
    "base 10": (lambda c, t: c.guessing(1.0), "natural one"),
    "not divided": (lambda c, t: c.slope(-0.08, 2, 0.5, 3), "by the nudge"),
    "uphill": (lambda c, t: c.slope(8, 2, 0.5, 3), "sign"),
    "no two": (lambda c, t: c.slope(-4.0, 2, 1.0, 4), "the two is missing"),
    "a missing link": (lambda c, t: c.chain(2 * (3 - 4) * 3, 2, 0.5, 3, 4), "the link a is missing"),
    "a closed gate": (lambda c, t: c.chain(2 * (0 - 4) * 3 * 2, 2, -0.5, 3, 4), "closed here"),
    "y - p": (lambda c, t: c.error(Y - t["p"]), "the other way round"),
    "p alone": (lambda c, t: c.error(t["p"]), "take away 1"),
    "a mean over classes": (lambda c, t: c.error((t["p"] - Y) / 10), "divided by 10"),
    "weight x error": (lambda c, t: c.dense(t["W4"][U(t), 5] * t["dlogits"][5], U(t), 5), "weight times the error"),
    "what came in": (lambda c, t: c.dense(t["a3"][U(t)], U(t), 5), "times the error of the class"),
    "a mean over places": (lambda c, t: c.filter_weight(gradient_of(t, 2, 1, 2) / 784, 2, 1, 2), "the mean over"),
    "the opposite": (lambda c, t: c.filter_weight(gradient_of(t, 0, 0, 2), 2, 2, 2), "opposite place"),
    "not moved": (lambda c, t: c.filter_weight(gradient_of(t, 1, 1, 2), 2, 1, 2), "was not moved"),
    "the bias": (lambda c, t: c.filter_weight(t["dz1"][..., 2].sum(), 2, 1, 2), "gradient of the bias"),
    "no gate": (lambda c, t: c.filter_weight(*ungated(t)), "gate is missing"),
    "a step uphill": (lambda c, t: c.moved(0.1026, 0.1, 0.26, 0.01), "went uphill"),
    "a whole step": (lambda c, t: c.moved(0.1 - 0.26, 0.1, 0.26, 0.01), "the rate is missing"),
    "twice": (lambda c, t: c.loss(2 * t.loss), "twice as much"),
}


def U(t):
    return int(t["a3"].argmax())


def turned(t, i, j, f):
    return (t.photo[i - 1 : i + 2, j - 1 : j + 2] / 255 * t["W1"][::-1, ::-1, 0, f]).sum() + t["b1"][f]


def ungated(t):
    """The sum that forgets the ReLU, and the place of a weight for which that makes a difference."""
    x, gates = np.pad(t.photo / 255, 1), t["da1"] * (t["z1"] <= 0)
    u, v, f = max(
        np.ndindex(3, 3, 32), key=lambda at: abs((x[at[0] :][:28, at[1] :][:, :28] * gates[..., at[2]]).sum())
    )
    return (x[u : u + 28, v : v + 28] * t["da1"][..., f]).sum(), u, v, f


def with_bias(t):
    """The checks of the same network with biases that are not 0."""
    model = t.model.astype(np.float32)
    model.set_weights([w + 0.2 if w.ndim == 1 else w for w in model.get_weights()])
    return lessons.Checks(explain.trace(model, t.photo, 5, 5, 9))


@pytest.mark.parametrize(("ask", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_answers_get_their_sentence(check, trace, ask, reason):
    said = ask(check, trace)
    assert said.word == "Not yet" and not said, said
    assert reason in said.sentence


def test_no_sentence_is_said_where_another_number_is_wrong(check, trace):
    """A mistake is named only if it gives just this number."""
    for factor in (1.37, 0.61, 3.3):
        said = check.filter_weight(factor * gradient_of(trace, 2, 1, 2), 2, 1, 2)
        assert re.search(r"your number is too (large|small)\. At each place", said.sentence)


STATES = [
    (..., "Open", "still to be found: the loss. -np.log"),
    (None, "Open", "still to be found"),
    ("two", "Not yet", "expected one number, got str"),
    ([1, 2], "Not yet", "expected one number, got 2 numbers"),
    (float("nan"), "Not yet", "infinity or a NaN"),
    ({}, "Not yet", "expected one number, got dict"),
    ([[2.23]], "Right", ""),
]


@pytest.mark.parametrize(("answer", "word", "reason"), STATES, ids=[str(state[0]) for state in STATES])
def test_any_answer_gets_a_kind_sentence(answer, word, reason):
    said = verdict.judge("the loss", answer, 2.23, {}, "-np.log of p.")
    assert said.word == word and reason in said.sentence


def test_nothing_has_no_sign(check):
    assert check.chain(0, 2, -0.5, 3, 4).sentence == "the slope of w1 = 0."


def test_many_numbers_are_told_how_many_are_right():
    said = verdict.judge("p", [0.1, 0.2, 0.9], [0.1, 0.2, 0.7], {}, "Divide.")
    assert said.sentence == "p: 2 of 3 numbers are right, the one at [2] is not. Divide."
    assert "expected 3 numbers, got one number" in verdict.judge("p", 0.1, [0.1, 0.2, 0.7], {}, "").sentence


def test_a_mistake_beside_the_right_number_must_give_it_exactly():
    beside = {"row and column": 0.6}
    assert "row and column" in verdict.judge("x", 0.6, 0.6078, beside, "").sentence
    assert verdict.judge("x", 0.601, 0.6078, beside, "").word == "Nearly"


def test_nearly_right_is_called_so_unless_it_must_be_exact():
    assert verdict.judge("z", 0.505, 0.5, {}, "").word == "Nearly"
    assert verdict.judge("n", 201, 200, {}, "", exact=True).word == "Not yet"


def test_a_verdict_shows_itself_and_escapes_what_it_says():
    said = verdict.Verdict("Open", "<script>")
    assert repr(said) == "Open: <script>" and "&lt;script&gt;" in said._repr_html_()
    assert "<script" not in said._repr_html_()


def test_a_bet_is_measured_only_once_it_is_made():
    def never():
        raise AssertionError("nothing may be given away")

    assert lessons.bet(..., never).word == "Open"
    assert lessons.bet(80, lambda: 75.14).sentence == "75.1. Your bet was 80, off by 4.9."
    assert lessons.bet("sneaker", lambda: "Sneaker").sentence == "Sneaker. Your bet was sneaker, well foreseen."
    assert lessons.bet("Bag", lambda: "Sneaker").sentence == "Sneaker. Your bet was Bag."
    assert "expected one number, got str" in lessons.bet("many", lambda: 75.14).sentence


def test_checks_need_the_articles_network():
    t = lessons.trace(dense(), 9)
    with pytest.raises(ValueError, match="expected the article's network"):
        lessons.Checks(t)


def test_an_unknown_layer_is_refused(check):
    with pytest.raises(ValueError, match="expected conv1, conv2, dense or output, got 'pool1'"):
        check.count(3, "pool1")
