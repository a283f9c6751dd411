"""What each step shows: show(trace, "F3") gives the view of one."""

from cnn.explain.formulas import Step, find_step, formula
from cnn.explain.parts import Cursor, View
from cnn.explain.trace import Trace
from cnn.explain.views import beside, maps, rows
from cnn.explain.views.scene import Scene

VIEWS = maps.VIEWS | rows.VIEWS | beside.VIEWS


def show(t: Trace, step: Step | str, cursor: Cursor | None = None) -> View:
    """What a step shows. Raises ValueError for a step that this network does not have."""
    step = find_step(t, step) if isinstance(step, str) else step
    words = formula(t, step)
    return View(words, *VIEWS[step.kind](Scene(t, words, cursor or Cursor())))
