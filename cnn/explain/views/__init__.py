"""What each step shows: show(trace, "F3") gives the view of one. The view of a kind is the function of its name."""

from cnn.explain.formulas import Step, find_step, formula
from cnn.explain.parts import Cursor, Table, View
from cnn.explain.trace import Trace
from cnn.explain.views import beside, chain, maps, rows
from cnn.explain.views.scene import Scene, origin, term_table


def show(t: Trace, step: Step | str, cursor: Cursor | None = None) -> View:
    """What a step shows. Raises ValueError for a step that this network does not have."""
    step = find_step(t, step) if isinstance(step, str) else step
    words, name = formula(t, step), step.kind.replace("-", "_")
    view = next(getattr(room, name) for room in (maps, rows, chain, beside) if hasattr(room, name))
    return View(words, *view(Scene(t, words, cursor or Cursor())))


def opened(t: Trace, view: View) -> Table | None:
    """Every term of the step's sum, the largest first, those that are 0 in one line; None where no sum is."""
    found = [total.of for total in view.sums if total.of and total.of.sentence.operator == "SUM"]
    if not found or any(factor.tensor not in t.tensors for factor in found[0].sentence.factors):
        return None
    show_origin = view.step.kind in ("dense", "logits") and origin(t, view.step.stage, 0) is not None
    return term_table(Scene(t, view.words, view.cursor), found[0], show_origin, found[0].terms.size)
