"""A gradient that is wrong, with all that is known around it, and how a mistake is entered into the catalogue."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn.gradcheck.counterparts import Counterpart

Array = np.ndarray
AXES = {
    "photos": {4: ("photo", "row", "column", "channel"), 3: ("photo", "row", "channel"), 2: ("photo", "number")},
    "weights": {4: ("kernel row", "kernel column", "channel", "filter"), 2: ("input", "unit")},
}


@dataclass
class Case:
    """A tensor whose gradient is wrong. What is not known is None or empty; `right` may hold NaN where it is not."""

    name: str  # of the tensor: "kernel", "input", an argument's
    right: Array  # what the gradient should be
    got: Array  # what it is
    kind: str = "array"  # "photos": its first axis are the photos of a batch; "weights": of a layer; "array"
    value: Array | None = None  # the tensor itself
    x: Array | None = None  # the layer's input
    y: Array | None = None  # its output
    dy: Array | None = None  # the gradient that arrives from above
    jacobian: Array | None = None  # (numbers of y, numbers of the tensor): the slope of each by each
    counterpart: Counterpart | None = None  # our own layer of the same y, in parts
    others: Mapping[str, Array] = field(default_factory=dict)  # the right gradients of the other tensors
    params: Mapping[str, Array] = field(default_factory=dict)  # the layer's
    outputs: Mapping[str, Array] = field(default_factory=dict)  # of other layers of the network, by their names
    of_input: bool = False  # whether the tensor is the layer's input
    exact: bool = False  # whether `right` is computed by a formula, and not measured
    arguments: Mapping[str, Any] = field(default_factory=dict)  # what the function of an exercise was called with

    def with_upstream(self, dy: Array) -> Array | None:
        """The right gradient if another dy came from above."""
        if self.counterpart is not None:
            return self.counterpart.gradient(self.name, dy=dy)
        if self.jacobian is None or self.value is None:
            return None
        return (dy.ravel() @ self.jacobian).reshape(self.value.shape)

    def part(self, kind: type) -> Any:
        """The counterpart where it is of this kind, else None."""
        return self.counterpart if isinstance(self.counterpart, kind) else None

    def axis(self, k: int) -> str:
        """What a place along an axis is: "photo", "kernel row"; None known: "place along axis 1"."""
        names = AXES.get(self.kind, {}).get(self.right.ndim, ())
        return names[k] if k < len(names) else f"place along axis {k}"

    def place(self, k: int, number: int) -> str:
        """ "photo 2", "place 2 along axis 1"."""
        words = self.axis(k)
        return f"place {number} along axis {k}" if words.startswith("place") else f"{words} {number}"


Candidate = Callable[[Case], Array | None]


class Mistake(NamedTuple):
    """A mistake that people make: its key, the words for the numbers that come of it, and these numbers in a case."""

    key: str
    words: Callable[[Case], str]  # completes "these are ..."
    candidate: Candidate


def catalogue() -> tuple[list[Mistake], Callable]:
    """An empty catalogue, and the decorator that enters a function of a case under its own name.

    The function returns the gradient that this mistake would give, or None where it cannot be made. choices: the
    function is entered once for each combination of them, and gets them as arguments. Words may be a function, too.
    """
    entries: list[Mistake] = []

    def mistake(words: str | Callable[..., str], **choices: Any) -> Callable:
        def enter(function: Callable) -> Callable:
            for values in itertools.product(*choices.values()):
                chosen = dict(zip(choices, values, strict=True))
                say = partial(words, **chosen) if callable(words) else partial(_fixed, words.format(**chosen))
                entries.append(Mistake(function.__name__.replace("_", " "), say, partial(function, **chosen)))
            return function

        return enter

    return entries, mistake


def _fixed(words: str, case: Case) -> str:
    return words
