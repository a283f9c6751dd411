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
    """What is to be said: first which layers of a network are at fault, then each tensor that is not right."""
    own = [r.diagnosis.layer for r in results if r.diagnosis and r.diagnosis.layer and r.diagnosis.mistake != "follows"]
    layers = list(dict.fromkeys(own))
    head = [f"at fault: {' and '.join(layers)}"] if layers else []
    return head + [said for result in results if (said := sentence(result)) is not None]
