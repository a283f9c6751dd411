"""How a gradient becomes a step: SGD and Adam first, then their relatives, with Keras' names, defaults and formulas.

base.py is what they share; schedules.py lets the learning rate follow the steps.
"""

from typing import Any

from cnn.configurable import find, table
from cnn.configurable import serialize as serialize
from cnn.optimizers import schedules
from cnn.optimizers.adam import Adam, AdamW
from cnn.optimizers.adaptive import Adadelta, Adagrad, Adamax, Lion, Nadam, RMSprop
from cnn.optimizers.base import Optimizer
from cnn.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]

TABLE: dict[str, type[Optimizer]] = table(SGD, Adam, AdamW, RMSprop, Nadam, Adagrad, Adamax, Adadelta, Lion)


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, its class, what `serialize` gives or itself, as in Keras. ValueError for the rest."""
    names = ", ".join(map(repr, TABLE))
    return find(TABLE, Optimizer, identifier, f"optimizer: expected one of {names} or an optimizer")


deserialize = get
