"""A wrong number's sum, term by term, and the term that the learner's number lacks, where that can be told."""

from types import SimpleNamespace

import numpy as np

from cnn.exercises.record import Factor, Task, Term

LONGEST = 9  # terms that are shown; of more, the largest


def lines_of(task: Task, arguments: dict, result: str, index: tuple[int, ...], got: float | None) -> list[str]:
    """The sum behind one number, in lines; [] where the task knows none, or it takes what the learner got."""
    if task.terms is None:
        return []
    a = SimpleNamespace(**arguments)
    shown = task.terms(a, result, index)
    if lines := [line for line in shown if isinstance(line, str)]:
        return lines
    products = [term for term in shown if not isinstance(term, str)]
    return [] if got is None else written(a, products, f"{result}{list(index) if index else ''}", got)


def written(a: SimpleNamespace, terms: list[Term], name: str, got: float) -> list[str]:
    """The terms, their sum, and what is said of the learner's number."""
    values = np.array([value_of(a, term) for term in terms])
    texts = [" * ".join(factor_text(factor) for factor in term) for term in terms]
    numbers = [" * ".join(f"{number(a, factor):.4g}" for factor in term) for term in terms]
    if not terms:
        return [f"{name} = 0: nothing is added to this cell"]
    kept = list(range(len(terms)))
    if len(terms) > LONGEST:
        kept = sorted(np.argsort(-np.abs(values), kind="stable")[: LONGEST - 1].tolist())
    label = f"{name}, their sum"
    width, wide = max(len(label), *(len(texts[k]) for k in kept)), max(len(numbers[k]) for k in kept)
    lines = [f"{texts[k]:<{width}}   {numbers[k]:>{wide}}   {values[k]:>+11.6g}" for k in kept]
    if len(kept) < len(terms):
        others = values.sum() - values[kept].sum()
        lines.append(f"{f'the other {len(terms) - len(kept)}':<{width}}   {'':>{wide}}   {others:>+11.6g}")
    total = f"{label:<{width}}   {'':>{wide}}   {values.sum() + 0.0:>+11.6g}   yours: {got + 0.0:.6g}"
    told = difference(values, texts, got)
    return [*lines, total.rstrip(), *([told] if told else [])]


def difference(values: np.ndarray, texts: list[str], got: float) -> str:
    """What makes the sum the learner's number, where one term does and only one."""
    total, near = values.sum(), 1e-9 * max(np.abs(values).max(initial=0), 1e-300)
    if len(values) < 2 or abs(got - total) <= near:
        return ""
    tried = {
        "yours is the sum without {}": total - values,
        "yours is the sum with {} counted twice": total + values,
        "yours is the sum with the sign of {} turned": total - 2 * values,
        "yours is {} alone": values,
    }
    for words, made in tried.items():  # of two terms, without the one is the other alone: the first words say it
        hits = np.flatnonzero(np.abs(made - got) <= near)
        if len(hits):
            return words.format(texts[hits[0]]) if len(hits) == 1 else ""
    begun = np.flatnonzero(np.abs(np.cumsum(values)[1:-1] - got) <= near) + 2
    return f"yours is the sum of the first {begun[0]} terms alone" if len(begun) == 1 else ""


def factor_text(factor: Factor) -> str:
    """x[0, 1, 2, 0]; a number by its name alone."""
    name, index = factor
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def number(a: SimpleNamespace, factor: Factor) -> float:
    """The number that a factor stands for."""
    name, index = factor
    return float(np.asarray(getattr(a, name))[index])


def value_of(a: SimpleNamespace, term: Term) -> float:
    """The product of its factors."""
    return float(np.prod([number(a, factor) for factor in term]))
