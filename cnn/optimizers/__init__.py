"""How a gradient becomes a step: SGD and Adam first, then their relatives, with Keras' names, defaults and formulas.

base.py is what they share; schedules.py lets the learning rate follow the steps.
"""

from typing import Any

from cnn.configurable import find, table
from cnn.optimizers import schedules
from cnn.optimizers.adam import Adam, AdamW
from cnn.optimizers.adaptive import Adadelta, Adagrad, Adamax, Nadam, RMSprop
from cnn.optimizers.base import Optimizer
from cnn.optimizers.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Nadam", "Optimizer", "RMSprop", "get", "schedules"]

TABLE: dict[str, type[Optimizer]] = table(SGD, Adam, AdamW, RMSprop, Nadam, Adagrad, Adamax, Adadelta)


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, its class, what `serialize` gives or itself, as in Keras. ValueError for the rest."""
    names = ", ".join(map(repr, TABLE))
    return find(TABLE, Optimizer, identifier, f"optimizer: expected one of {names} or an optimizer")


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer, without what it remembers, as JSON can hold it."""
    return {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}


deserialize = get
