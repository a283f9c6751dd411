"""The exceptions of the project that stand for a kind of trouble; the command line maps each to its exit code.

Wrong arguments raise Python's own ValueError and TypeError.
"""


class DataError(ValueError):
    """A data file or photo is missing, damaged, or not of the expected form (exit code 3)."""


class ModelFileError(ValueError):
    """A model file is missing, damaged, or does not fit (exit code 4)."""


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite (exit code 5)."""


class UsageError(ValueError):
    """Arguments of a command that do not go together or lie out of range (exit code 2)."""
