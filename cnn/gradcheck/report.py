"""What a check found, in sentences."""

from collections.abc import Sequence

from cnn.gradcheck.slopes import TensorCheck


def sentence(result: TensorCheck) -> str | None:
    """What is to be said of a tensor; None where it is right."""
    if result.diagnosis is not None:
        return f"{result.name}: WRONG: {result.diagnosis.sentence}"
    if result.verdict == "WRONG" and result.worst is not None:
        worst = result.worst
        where = f"{result.name}: WRONG: furthest off at {list(worst.index)}"
        return f"{where}: expected {worst.numeric:.9g}, got {worst.analytic:.9g}"
    if not result.passed:
        return f"{result.name}: only {result.checked} entries free of kinks"
    return None


def sentences(results: Sequence[TensorCheck]) -> list[str]:
    """What is to be said: which layers of a network are at fault, each of their tensors, and what follows from them."""
    faults = [r for r in results if r.diagnosis and r.diagnosis.layer and r.diagnosis.mistake != "follows"]
    layers = dict.fromkeys("the loss" if r.name == "loss" else str(r.diagnosis.layer) for r in faults if r.diagnosis)
    head = [f"at fault: {' and '.join(layers)}"] if layers else []
    follows = [result.name for result in results if result.diagnosis and result.diagnosis.mistake == "follows"]
    tail = [f"not at fault, wrong for what comes from above: {', '.join(follows)}"] if follows else []
    own = [said for result in results if result.name not in follows and (said := sentence(result)) is not None]
    return head + own + tail
