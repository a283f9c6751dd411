"""The step-through: one trace of numbers (trace.py), what each step shows of it (views), and several renderers."""

from cnn.explain.trace import Trace, trace

__all__ = ["Trace", "trace"]
