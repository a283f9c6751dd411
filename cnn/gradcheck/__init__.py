"""Is the gradient right, and if not: which mistake is it?

- slopes.py: numerical derivatives, entry by entry, and what a kink is; how we know that all of it is right
- trials.py, networks.py, functions.py: the check of one layer, of a whole network, of any function
- mistakes.py, mistakes_of_layers.py, mistakes_of_windows.py: what people do wrong, one small function a mistake;
  cases.py: what these functions know
- counterparts.py: our own layer that computes the same, in parts, from which the numbers of a mistake follow
- diagnosis.py: which of the mistakes gives the numbers at hand; states.py what a layer may do instead; report.py
- own.py: a layer or function in a file of one's own; tutorial.py: layers that keep on self what ours hand on
"""

from cnn.gradcheck.cases import Case, Mistake
from cnn.gradcheck.counterparts import INPUT
from cnn.gradcheck.diagnosis import CATALOGUE, Diagnosis, diagnose
from cnn.gradcheck.functions import assert_gradients, check_function
from cnn.gradcheck.networks import Problem, check_model, check_weight, run_layers
from cnn.gradcheck.report import sentence, sentences
from cnn.gradcheck.slopes import (
    ENOUGH,
    LAST_STEPS,
    ROUNDING,
    STEPS,
    TOLERANCE,
    Entry,
    Measure,
    Pass,
    TensorCheck,
    check_entry,
    check_tensor,
    crossings,
    relative_error,
)
from cnn.gradcheck.states import Refusal
from cnn.gradcheck.trials import check_layer, in_float64

__all__ = [
    "CATALOGUE",
    "ENOUGH",
    "INPUT",
    "LAST_STEPS",
    "ROUNDING",
    "STEPS",
    "TOLERANCE",
    "Case",
    "Diagnosis",
    "Entry",
    "Measure",
    "Mistake",
    "Pass",
    "Problem",
    "Refusal",
    "TensorCheck",
    "assert_gradients",
    "check_entry",
    "check_function",
    "check_layer",
    "check_model",
    "check_tensor",
    "check_weight",
    "crossings",
    "diagnose",
    "in_float64",
    "relative_error",
    "run_layers",
    "sentence",
    "sentences",
]
