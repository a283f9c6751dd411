"""The step-through: one trace of numbers (trace.py), what each step shows of it (views), and several renderers.

In a notebook a trace shows itself, and show(trace, "B8") one step; in plain Python both print text.
"""

from cnn.explain.notebook import show
from cnn.explain.trace import Trace, trace

__all__ = ["Trace", "show", "trace"]
