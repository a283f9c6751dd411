"""What each step shows: show(trace, "F3") gives the view of one. The view of a kind is the function of its name."""

from cnn.explain.formulas import Step, find_step, formula
from cnn.explain.parts import Cursor, View
from cnn.explain.trace import Trace
from cnn.explain.views import beside, maps, rows
from cnn.explain.views.scene import Scene


def show(t: Trace, step: Step | str, cursor: Cursor | None = None) -> View:
    """What a step shows. Raises ValueError for a step that this network does not have."""
    step = find_step(t, step) if isinstance(step, str) else step
    words, name = formula(t, step), step.kind.replace("-", "_")
    view = next(getattr(room, name) for room in (maps, rows, beside) if hasattr(room, name))
    return View(words, *view(Scene(t, words, cursor or Cursor())))
