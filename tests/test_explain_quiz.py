"""The quiz: answers follow from what is given and are the trace's; wrong ones are named; the dialogue keeps score."""

import io
import json

import explain_models as nets
import numpy as np
import pytest

from cnn.commands import cli
from cnn.explain import quiz, voice

NETWORKS = ("tiny", "odd", "dense")


def asked(name, seed=0):
    return quiz.questions(nets.traced(name), seed)


def unfounded(t, questions):
    """The questions whose answer is not what its terms make, or not the trace's entry of its name."""
    for one in questions:
        values, answer = [number.value for _, number in one.terms], one.answer.value
        made = {"add": sum(values), "multiply": float(np.prod(values))}.get(one.ways, answer)
        entry = t[one.answer.ref.partition("[")[0]][nested(one.answer.ref)] if one.answer.ref else answer
        if abs(made - answer) > 1e-9 * max(1.0, *map(abs, values)) or entry != answer:
            yield one


def nested(ref):
    return tuple(map(int, ref.partition("[")[2][:-1].split(",")))


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_follow_from_what_is_given(name):
    t = nets.traced(name)
    for seed in range(3):
        questions = asked(name, seed)
        assert len(questions) >= 10 and {one.step.id[0] for one in questions} >= {"F", "B", "R"}
        assert not list(unfounded(t, questions))
        for one in questions:
            for digits in (3, 4, 6):
                assert all(quiz.judge(one, way.text(digits), digits) for way in quiz.right(one, digits))
                off = voice.parsed(one.answer.text(digits)) * 1.02 + 0.02
                assert one.choices or not quiz.judge(one, str(off), digits), one


def test_answers_that_do_not_follow_are_found(monkeypatch):
    t, right = nets.traced("tiny"), quiz.factor
    monkeypatch.setattr(quiz, "factor", lambda t, terms, k, flat: right(t, terms, k, (flat + k) % terms.terms.size))
    assert list(unfounded(t, quiz.questions(t, 0)))


def test_the_cell_that_wins_is_the_largest_and_gets_the_blame():
    pools = 0
    for one in asked("tiny"):
        if one.choices:
            values = [number.value for _, number in one.terms]
            assert int(one.answer.value) == int(np.argmax(values)) + 1 and len(values) == one.choices == 4
            assert not quiz.judge(one, str(int(one.answer.value) % 4 + 1))
            for wrong in ("0", "5", "1.5"):
                with pytest.raises(ValueError, match="expected a whole number from 1 to 4"):
                    quiz.judge(one, wrong)
            pools += 1
    assert pools == 4


def test_a_term_left_out_is_named():
    named = 0
    for one in [one for seed in range(3) for one in asked("tiny", seed) if one.ways == "add" and one.step.id != "F9"]:
        for name, number in [term for term in one.terms if abs(term[1].value) > 2e-3]:  # above all rounding
            for times, said in ((1, "is missing"), (2, "has the other sign")):
                answer = one.answer._replace(value=one.answer.value - times * number.value).text()
                if not quiz.judge(one, answer):
                    assert quiz.missed(one, answer)
                    named += f"{name} = {number.text()} {said}" == quiz.missed(one, answer)
    assert named > 30
    product = next(one for one in asked("tiny") if one.ways == "multiply")
    assert "the sign" in quiz.missed(product, product.answer._replace(value=-product.answer.value).text())
    assert quiz.missed(product, "123") == ""


def test_the_seed_decides():
    assert asked("tiny", 4) == asked("tiny", 4) != asked("tiny", 5)


# ---- the dialogue


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.npz"
    nets.tiny().save(path)
    return str(path)


@pytest.fixture
def run(model_file, capsys, monkeypatch):
    def run(*words, answers=()):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{answer}\n" for answer in answers)))
        code = cli.main(["explain", "9", "--quiz", "--model", model_file, *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def key(run):
    code, out, errors = run("--json", "--seed", "3")
    assert (code, errors) == (0, "")
    return json.loads(out)["questions"]


def test_with_the_key_all_is_right(run, key):
    code, out, _ = run("--seed", "3", answers=[one["answer"] for one in key])
    assert code == 0 and f"\n{len(key)} of {len(key)} right\n" in out and max(map(len, out.splitlines())) <= 80
    assert out == run("--seed", "3", answers=[one["answer"] for one in key])[1]


def test_one_retry_then_the_term_that_was_missed(run):
    seed = next(
        seed
        for seed in range(9)
        if {one.step.id: one for one in quiz.questions(nets.traced("tiny"), seed, "F3")}["F3"].ways == "add"
    )
    words = ["--seed", str(seed), "--step", "F3"]
    one = json.loads(run(*words, "--json")[1])["questions"][0]
    name, number = next(given for given in one["given"] if float(given[1]))
    left_out = f"{float(one['answer']) - float(number):+.6f}"
    code, out, _ = run(*words, answers=[left_out, left_out])
    assert code == 0 and out.count("not yet: once more") == 1 and "0 of 1 right" in out
    assert f" {name} = {number} is missing" in out and f"the answer: {one['answer']}" in out
    assert "1 of 1 right" in run(*words, answers=["7", one["answer"]])[1]
    assert "0 of 1 right" in run(*words, answers=[""])[1]


def test_it_ends_early_and_takes_numbers_only(run, key):
    code, out, _ = run("--seed", "3", answers=["seven", key[0]["answer"], "q"])
    assert code == 0 and "expected a number, got 'seven'" in out and f"1 of 1 right; {len(key) - 1} not reached" in out
    assert "no question answered" in run(answers=[])[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--figures", "d"], "leave out --figures"),
        (["--all"], "leave out --all"),
        (["--step", "F2"], "step F2 computes nothing"),
    ],
)
def test_what_the_quiz_knows_nothing_of_is_refused(run, words, said):
    code, _, errors = run(*words)
    assert code == 2 and said in errors and errors.count("\n") == 1


def test_a_seed_alone_is_refused(capsys):
    assert cli.main(["explain", "9", "--seed", "1"]) == 2 and "--quiz" in capsys.readouterr().err
