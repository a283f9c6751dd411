"""Predict, then reveal: a question for each step of the tour, from the same sentences and terms that the step shows.

`questions(t, seed)` draws them for any network; `judge` says whether an answer is right: at its
printed digits, also where it was computed from the printed figures. `missed` names the term that
a wrong answer left out, or whose sign it turned.

The page asks the same (page/quiz.js): it gets the kinds and the words from here (`for_page`),
and draws by the same rule (`draw`).
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cnn.checks import known
from cnn.explain import chain, formulas, parts, path, voice
from cnn.explain.formulas import Step, find_step, formula, tour
from cnn.explain.parts import Cursor, Num, ref
from cnn.explain.path import Path
from cnn.explain.terms import Tensors, Terms, evaluate
from cnn.explain.trace import Trace
from cnn.explain.views.scene import factor_num, window_cells

SCHEMA = "cnn-explain-quiz/1"
FEW = 9  # terms that one adds up by hand
RETURNS = ("flatten", "flatten-back", "pool-back", "conv-dx", "dense-dx")  # their sentences are about the cell before

WORDS = {  # what a question says, for terminal and page
    "place": "{entry} becomes {out}[n]; {formula}. n = ?",
    "goes on": "Of these {count} cells which one goes on as {entry}?",
    "gets": "Of these {count} cells which one gets the gradient {entry}?",
    "RELU": "{out} = max(0, {factors}) = ?",
    "less": "{out} = {start} - {factors} = ?",
    "times": "{out} = {factors} = ?",
    "one product": "One product of {out}: {factors} = ?",
    "one channel": "The {count} products of input channel {channel} for {out}: their sum = ?",
    "all": "{out} = the sum of these = ?",
    "others": "the {count} others",
    "bias": "bias {entry}",
    "missing": "{name} = {number} is missing",
    "turned": "{name} = {number} has the other sign",
    "sign": "the sign: minus times minus is plus, minus times plus is minus",
    "whole": "a whole number",
    "choice": "a number from 1 to {count}",
    "fixed": "to {count} decimals",
    "significant": "to {count} digits",
    "range": "expected a whole number from 1 to {count}, got {answer}",
}


class Question(NamedTuple):
    """A number, or one of several cells, that is asked for before it is shown.

    terms: what it is made of, each with its name; ways: "add", "multiply", or "" where neither. choices: how many
    cells there are to choose from, from 1; 0 where a number is asked for.
    """

    step: Step
    ask: str
    terms: tuple[tuple[str, Num], ...]
    ways: str
    answer: Num
    choices: int = 0


def questions(t: Trace, seed: int = 0, only: str | None = None, cursor: Cursor | None = None) -> list[Question]:
    """A question for each step of the tour that has one, or for one step; the seed decides what is asked of it."""
    asked = [find_step(t, only)] if only else tour(t)
    way = Path(known(chain.looked_at(t, asked[0], cursor).cells))
    return [question for step in asked if (question := ask(t, way, step, seed))]


def draw(seed: int, step: Step, what: str, count: int) -> int:
    """A whole number below count: by SHA-256, so that every step draws for itself, and the page what Python draws."""
    return int(hashlib.sha256(f"{seed} {step.id} {what}".encode()).hexdigest()[:8], 16) % count


def asked_of(t: Trace, step: Step) -> str:
    """What is asked of a step: "place", "cell", "RELU", "less", "times" or "SUM"; "" where it computes nothing."""
    sentence = formula(t, step).sentence
    if sentence is None or step.kind in ("im2col", "flatten-back"):
        return ""
    if step.kind in ("flatten", "pool", "pool-back"):
        return "place" if step.kind == "flatten" else "cell"
    return sentence.operator or ("less" if sentence.start else "times")


def ask(t: Trace, way: Path, step: Step, seed: int) -> Question | None:
    """The question of one step on the path; None where it computes nothing."""
    if not (kind := asked_of(t, step)):
        return None
    sentence = known(formula(t, step).sentence)
    at = zip([name for name, _ in sentence.places], place(t, way, step), strict=True)
    terms = evaluate(sentence, Tensors(t), dict(at))
    if kind == "place":
        return new_place(step, terms)
    if kind == "cell":
        return which_cell(t, way, step)
    if kind == "SUM":
        return (one_product if draw(seed, step, "product?", 2) else total)(t, step, terms, seed)
    given = tuple(factor(t, terms, k, 0) for k in range(len(sentence.factors)))
    out, factors = ref(sentence.out.tensor, terms.index), " x ".join(name for name, _ in given)
    if kind == "RELU":
        answer = parts.num(t, sentence.out.tensor, terms.index)
        return Question(step, WORDS[kind].format(out=out, factors=factors), given, "", answer)
    if kind == "less":
        start = parts.num(t, known(sentence.start).tensor, terms.index, "gradient")
        minus = tuple((f"- {name}", one._replace(value=-one.value)) for name, one in given)
        asked = WORDS[kind].format(out=out, start=start.ref, factors=factors)
        return Question(step, asked, ((start.ref, start), *minus), "add", number(t, terms))
    return Question(step, WORDS[kind].format(out=out, factors=factors), given, "multiply", number(t, terms))


def place(t: Trace, way: Path, step: Step) -> tuple[int, ...]:
    """Where the path meets the entry that a step's sentence is about."""
    if (k := path.weight_stage(t, step)) is not None and step.kind != "input-gradient":
        return path.weight(t, way, k)
    return way.cells[step.stage if step.kind in RETURNS else known(path.slot(t, step))]


def number(t: Trace, terms: Terms) -> Num:
    """The entry that the sentence is about, printed as such entries are."""
    tensor = terms.sentence.out.tensor
    return parts.num(t, tensor, terms.index, parts.kind_of_tensor(tensor, "total"))


def factor(t: Trace, terms: Terms, k: int, flat: int) -> tuple[str, Num]:
    """The k-th factor of one term, with its name; a switch is 0 or 1."""
    name, index = terms.entry(k, flat)
    if name in t.tensors:
        return ref(name, index), factor_num(t, terms, k, flat)
    return ref(name, index), parts.count(float(Tensors(t)[name][index]))


def new_place(step: Step, terms: Terms) -> Question:
    """Which number of the row a cell becomes."""
    name, index = terms.entry(0, 0)
    out = terms.sentence.out
    asked = WORDS["place"].format(entry=ref(name, index), out=out.tensor, formula=terms.sentence.text)
    sizes = [next((size for letter, size in out.index[0] if letter == one), 0) for one in terms.at]
    shares = tuple((f"{at} * {size}", parts.count(at * size)) for at, size in zip(index, sizes, strict=True))
    return Question(step, asked, shares, "add", parts.count(terms.index[0]))


def which_cell(t: Trace, way: Path, step: Step) -> Question:
    """Which cell of a pooling window wins, or gets the gradient."""
    stage, cell = t.stages[step.stage], way.cells[step.stage + 1]
    x = t.get(stage, "x")
    rows, columns = window_cells(stage.layer, cell[:2], stage.layer.pool_size)
    cells = [(r, c, cell[2]) for r in rows for c in columns]
    inside = lambda one: 0 <= one[0] < x.shape[0] and 0 <= one[1] < x.shape[1]
    given = tuple(
        (f"{n}: {ref(stage.names['x'], one)}", parts.num(t, stage.names["x"], one) if inside(one) else Num(0.0))
        for n, one in enumerate(cells, 1)
    )
    role, words = ("y", "goes on") if step.kind == "pool" else ("dy", "gets")
    asked = WORDS[words].format(count=len(cells), entry=ref(stage.names[role], cell))
    return Question(step, asked, given, "", parts.count(int(t.get(stage, "winners")[cell]) + 1), len(cells))


def one_product(t: Trace, step: Step, terms: Terms, seed: int) -> Question:
    """One product of a sum: one that is not 0, where there is one."""
    live = np.flatnonzero(terms.terms)
    n = int(live[draw(seed, step, "product", len(live))]) if len(live) else 0
    given = tuple(factor(t, terms, k, n) for k in range(2))
    kind = parts.kind_of_tensor(terms.sentence.out.tensor, "product")
    out = ref(terms.sentence.out.tensor, terms.index)
    asked = WORDS["one product"].format(out=out, factors=" x ".join(name for name, _ in given))
    return Question(step, asked, given, "multiply", Num(float(terms.terms.flat[n]), kind=kind))


def total(t: Trace, step: Step, terms: Terms, seed: int) -> Question:
    """A sum of at most ten numbers: all products, those of one channel, or the largest ones and the others together."""
    sentence, flat = terms.sentence, terms.terms.reshape(-1)
    kind, out = parts.kind_of_tensor(sentence.out.tensor, "product"), ref(sentence.out.tensor, terms.index)
    named = lambda n: " x ".join(factor(t, terms, k, int(n))[0] for k in range(2))
    if formula(t, step).by == "c" and len(flat) > FEW:
        c = draw(seed, step, "channel", terms.terms.shape[-1])
        chosen = np.arange(len(flat)).reshape(terms.terms.shape)[..., c].reshape(-1)
        given = tuple((named(n), Num(float(flat[n]), kind=kind)) for n in chosen)
        asked = WORDS["one channel"].format(count=len(chosen), channel=c, out=out)
        answer = Num(float(flat[chosen].sum()), kind=parts.kind_of_tensor(sentence.out.tensor, "total"))
        return Question(step, asked, given, "add", answer)
    live = [int(n) for n in terms.order() if flat[n]]
    few = (live or list(range(len(flat))))[:FEW] if len(flat) > FEW else list(range(len(flat)))
    given = tuple((named(n), Num(float(flat[n]), kind=kind)) for n in few)
    if len(live) > len(few):
        others = float(np.delete(flat, few).sum())
        given += ((WORDS["others"].format(count=len(live) - len(few)), Num(others, kind=kind)),)
    if sentence.start:
        index = tuple(terms.at[letter] for axis in sentence.start.index for letter, _ in axis)
        start = parts.num(t, sentence.start.tensor, index)
        given += ((WORDS["bias"].format(entry=start.ref), start),)
    return Question(step, WORDS["all"].format(out=out), given, "add", number(t, terms))


# ---- answers


def judge(question: Question, answer: str, digits: int = voice.DIGITS) -> bool:
    """Whether this answer is right, as far as the number asked for is printed. ValueError for what is no number."""
    given = question.answer._replace(value=float(answer))
    if question.choices and not (given.value.is_integer() and 1 <= given.value <= question.choices):
        raise ValueError(WORDS["range"].format(count=question.choices, answer=answer))
    return given.text(digits) in {one.text(digits) for one in right(question, digits)}


def right(question: Question, digits: int) -> Iterator[Num]:
    """What counts as right: the number itself, and what the printed figures give."""
    yield question.answer
    printed = [voice.parsed(one.text(digits)) for _, one in question.terms]
    if question.ways:
        combined = sum(printed) if question.ways == "add" else float(np.prod(printed))
        yield question.answer._replace(value=combined)


def precision(question: Question, digits: int) -> str:
    """How the answer is printed: to 5 decimals, to 4 digits, a whole number; or between which numbers to choose."""
    if question.choices:
        return WORDS["choice"].format(count=question.choices)
    form = voice.FORMATS[question.answer.kind]
    return WORDS.get(form.style, WORDS["whole"]).format(count=form.digits + (digits if form.relative else 0))


def missed(question: Question, answer: str, digits: int = voice.DIGITS) -> str:
    """What a wrong answer did: the term that it left out or took with the wrong sign; "" where neither explains it."""
    given, exact = float(answer), question.answer.value
    if question.ways == "multiply" and judge(question, str(-given), digits):
        return WORDS["sign"]
    if question.ways != "add":
        return ""
    printed = [one.text(digits) for _, one in question.terms]
    rounded = [one for one in (question.answer, *dict(question.terms).values()) if one.kind != "count"]
    rounded.append(question.answer._replace(value=given))
    slack = sum(last_place(one.text(digits)) for one in rounded)
    turns = ((1, "missing"), (2, "turned"))
    found = [
        (abs(exact - times * one.value - given), WORDS[said].format(name=name, number=text))
        for (name, one), text in zip(question.terms, printed, strict=True)
        for times, said in turns
        if abs(one.value) > slack
    ]
    distance, said = min(found, default=(np.inf, ""))
    return said if distance <= slack else ""


def last_place(text: str) -> float:
    """0.001 of +0.125: one in the last place of a printed number."""
    mantissa, _, exponent = text.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def as_json(t: Trace, asked: list[Question], seed: int, digits: int) -> dict:
    """The questions with their answers, for a teacher: the key."""
    keys = [
        {
            **{"step": one.step.id, "title": formula(t, one.step).title, "ask": one.ask, "choices": one.choices},
            "precision": precision(one, digits),
            "given": [[name, number.text(digits)] for name, number in one.terms],
            **{"answer": one.answer.text(digits), "right": sorted({way.text(digits) for way in right(one, digits)})},
        }
        for one in asked
    ]
    about = {"schema": SCHEMA, "photo": t.number, "source": t.source, "moment": t.moment or None}
    return about | {"target": t.class_names[t.target], "seed": seed, "digits": digits, "questions": keys}


def for_page(t: Trace) -> dict:
    """What the page needs to ask the same: what is asked of each step, the words, how many terms are few."""
    return {"few": FEW, "words": WORDS, "asked": {step.id: asked_of(t, step) for step in formulas.tour(t)}}
