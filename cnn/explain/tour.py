"""The way through all steps: show(trace, "F3") gives the view of one."""

from cnn.explain import backward, backward_conv, extras, forward, forward_dense
from cnn.explain import view as v
from cnn.explain.trace import Trace
from cnn.explain.view import Cursor, Step, View

VIEWS = forward.VIEWS | forward_dense.VIEWS | backward.VIEWS | backward_conv.VIEWS | extras.VIEWS


def show(t: Trace, step: Step | str, cursor: Cursor | None = None) -> View:
    """What a step shows. Raises ValueError for a step that this network does not have."""
    step = v.find_step(t, step) if isinstance(step, str) else step
    return VIEWS[step.kind](t, step, cursor or Cursor())


def photo_line(t: Trace) -> str:
    """photo 9 = test[8]: model says Sandal 0.93, label Sandal: correct"""
    names, p = t.class_names, t["p"]
    name = f"photo {t.number} = test[{t.number - 1}]" if t.number else t.source or "photo"
    says = f"{name}: model says {names[t.predicted]} {p[t.predicted]:.2f}"
    if t.label is None:
        return says
    return f"{says}, label {names[t.label]}: {'correct' if t.label == t.predicted else 'WRONG'}"


def target_line(t: Trace) -> str:
    """Which class's loss the backward tour differentiates, its probability, and why this class."""
    names, p = t.class_names, t["p"]
    why = {"label": "the label", "prediction": "the network's answer; no label is known", "chosen": "as you chose"}.get(
        t.why
    )
    numbers = f"p = {p[t.target]:.4g}, loss {t.loss:.4g}"
    if t.why == "other":
        return f"what if this were {names[t.target]}? {numbers} ({names[t.predicted]}'s gradients: ~ 0)"
    return f"target {names[t.target]}, {numbers} ({why})"
