"""Predict, then reveal: a question for each step of the tour, from the same sentences and terms that the step shows.

`questions(t, seed)` draws them for any network; `judge` says whether an answer is right: at its
printed digits, also where it was computed from the printed figures. `missed` names the term that
a wrong answer left out, or whose sign it turned.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cnn.checks import known
from cnn.explain import chain, parts, path, voice
from cnn.explain.formulas import Step, find_step, formula, tour
from cnn.explain.parts import Cursor, Num, ref
from cnn.explain.path import Path
from cnn.explain.terms import Tensors, Terms, evaluate
from cnn.explain.trace import Trace
from cnn.explain.views.scene import factor_num, window_cells

SCHEMA = "cnn-explain-quiz/1"
FEW = 9  # terms that one adds up by hand
RETURNS = ("flatten", "flatten-back", "pool-back", "conv-dx", "dense-dx")  # their sentences are about the cell before


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
    rng = np.random.default_rng(seed)
    return [question for step in asked if (question := ask(t, way, step, rng))]


def ask(t: Trace, way: Path, step: Step, rng: np.random.Generator) -> Question | None:
    """The question of one step on the path; None where it computes nothing."""
    sentence = formula(t, step).sentence
    if sentence is None or step.kind == "im2col":
        return None
    terms = evaluate(
        sentence, Tensors(t), dict(zip([name for name, _ in sentence.places], place(t, way, step), strict=True))
    )
    out = ref(sentence.out.tensor, terms.index)
    if step.kind in ("flatten", "flatten-back"):
        return zin_row(step, terms) if step.kind == "flatten" else None
    if step.kind in ("pool", "pool-back"):
        return which_cell(t, way, step, out)
    if sentence.operator == "SUM":
        return one_product(t, step, terms, rng) if rng.integers(2) else total(t, step, terms, out, rng)
    if sentence.operator == "RELU":
        name, z = factor(t, terms, 0, 0)
        return Question(
            step, f"{out} = max(0, {name}) = ?", ((name, z),), "", parts.num(t, sentence.out.tensor, terms.index)
        )
    given = tuple(factor(t, terms, k, 0) for k in range(len(sentence.factors)))
    if sentence.start:
        names = [name for name, _ in given]
        start = parts.num(t, sentence.start.tensor, terms.index, "gradient")
        minus = tuple((f"- {name}", one._replace(value=-one.value)) for name, one in given)
        asked = f"{out} = {ref(sentence.start.tensor, terms.index)} - {names[0]} = ?"
        return Question(
            step, asked, ((ref(sentence.start.tensor, terms.index), start), *minus), "add", number(t, terms)
        )
    return Question(step, f"{out} = {' x '.join(name for name, _ in given)} = ?", given, "multiply", number(t, terms))


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


def zin_row(step: Step, terms: Terms) -> Question:
    """Which number of the row a cell becomes."""
    name, index = terms.entry(0, 0)
    asked = f"{ref(name, index)} becomes {terms.sentence.out.tensor}[n]; {terms.sentence.text}. n = ?"
    sizes = [
        next((size for letter, size in axis if letter == one), 0)
        for axis in terms.sentence.out.index[:1]
        for one in terms.at
    ]
    shares = tuple((f"{at} * {size}", parts.count(at * size)) for at, size in zip(index, sizes, strict=True))
    return Question(step, asked, shares, "add", parts.count(terms.index[0]))


def which_cell(t: Trace, way: Path, step: Step, out: str) -> Question:
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
    role, verb = ("y", "goes on as") if step.kind == "pool" else ("dy", "gets the gradient")
    asked = f"Of these {len(cells)} cells which one {verb} {ref(stage.names[role], cell)}?"
    return Question(step, asked, given, "", parts.count(int(t.get(stage, "winners")[cell]) + 1), len(cells))


def one_product(t: Trace, step: Step, terms: Terms, rng: np.random.Generator) -> Question:
    """One product of a sum: one that is not 0, where there is one."""
    live = np.flatnonzero(terms.terms)
    n = int(rng.choice(live)) if len(live) else 0
    given = tuple(factor(t, terms, k, n) for k in range(2))
    kind = parts.kind_of_tensor(terms.sentence.out.tensor, "product")
    asked = f"One product of {ref(terms.sentence.out.tensor, terms.index)}: {' x '.join(name for name, _ in given)} = ?"
    return Question(step, asked, given, "multiply", Num(float(terms.terms.flat[n]), kind=kind))


def total(t: Trace, step: Step, terms: Terms, out: str, rng: np.random.Generator) -> Question:
    """A sum of at most ten numbers: all products, those of one channel, or the largest ones and the others together."""
    sentence, kind = terms.sentence, parts.kind_of_tensor(terms.sentence.out.tensor, "product")
    named = lambda n: " x ".join(factor(t, terms, k, int(n))[0] for k in range(2))
    flat, places, words = terms.terms.reshape(-1), np.arange(terms.terms.size), formula(t, step)
    if words.by == "c" and len(flat) > FEW:
        c = int(rng.integers(terms.terms.shape[-1]))
        chosen = places.reshape(terms.terms.shape)[..., c].reshape(-1)
        given = tuple((named(n), Num(float(flat[n]), kind=kind)) for n in chosen)
        asked = f"The {len(chosen)} products of input channel {c} for {out}: their sum = ?"
        return Question(
            step,
            asked,
            given,
            "add",
            Num(float(flat[chosen].sum()), kind=parts.kind_of_tensor(sentence.out.tensor, "total")),
        )
    live = [int(n) for n in terms.order() if flat[n]]
    few = live[:FEW] if len(flat) > FEW else list(range(len(flat)))
    given = tuple((named(n), Num(float(flat[n]), kind=kind)) for n in few)
    if len(live) > len(few):
        others = float(np.delete(flat, few).sum())
        given += ((f"the {len(live) - len(few)} others", Num(others, kind=kind)),)
    if sentence.start:
        index = tuple(terms.at[letter] for axis in sentence.start.index for letter, _ in axis)
        given += ((f"bias {ref(sentence.start.tensor, index)}", parts.num(t, sentence.start.tensor, index)),)
    return Question(step, f"{out} = the sum of these = ?", given, "add", number(t, terms))


# ---- answers


def judge(question: Question, answer: str, digits: int = voice.DIGITS) -> bool:
    """Whether this answer is right, as far as the number asked for is printed. ValueError for what is no number."""
    given = question.answer._replace(value=float(answer))
    if question.choices and not (given.value.is_integer() and 1 <= given.value <= question.choices):
        raise ValueError(f"expected a whole number from 1 to {question.choices}, got {answer}")
    return given.text(digits) in {one.text(digits) for one in right(question, digits)}


def right(question: Question, digits: int) -> Iterator[Num]:
    """What counts as right: the number itself, and what the printed figures give."""
    yield question.answer
    printed = [voice.parsed(one.text(digits)) for _, one in question.terms]
    if question.ways:
        combined = sum(printed) if question.ways == "add" else float(np.prod(printed))
        yield question.answer._replace(value=combined)


def precision(question: Question, digits: int) -> str:
    """How the answer is printed: to 5 decimals, to 4 digits, a whole number."""
    form = voice.FORMATS[question.answer.kind]
    how = {"fixed": "decimals", "significant": "digits"}.get(form.style)
    return f"to {form.digits + (digits if form.relative else 0)} {how}" if how else "a whole number"


def missed(question: Question, answer: str, digits: int = voice.DIGITS) -> str:
    """What a wrong answer did: the term that it left out or took with the wrong sign; "" where neither explains it."""
    given, exact = float(answer), question.answer.value
    if question.ways == "multiply" and judge(question, str(-given), digits):
        return "the sign: minus times minus is plus, minus times plus is minus"
    if question.ways != "add":
        return ""
    printed = [one.text(digits) for _, one in question.terms]
    rounded = [one for one in (question.answer, *dict(question.terms).values()) if one.kind != "count"]
    rounded.append(question.answer._replace(value=given))
    slack = sum(last_place(one.text(digits)) for one in rounded)
    turns = ((1, "is missing"), (2, "has the other sign"))
    found = [
        (abs(exact - times * one.value - given), f"{name} = {text} {said}")
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
