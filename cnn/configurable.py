"""What is made from arguments: layers, losses, optimizers, initializers. Each argument is written down once.

Found by name as well: `find` turns "adam", Adam or Adam(0.01) into an optimizer.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

Check = Callable[[str, str, Any], Any]  # (where, name, value) -> the value to keep; raises ValueError
Thing = TypeVar("Thing", bound="Configurable")


class Configurable:
    """An object that knows the arguments it was made from.

    `arguments` lists them, each with the function that checks it, in the order of get_config and of model files. The
    constructor shows them to the reader and hands them to set_arguments; each is then an attribute of the same name.

    >>> from cnn import checks
    >>> class Scale(Configurable):
    ...     arguments = {"factor": checks.number}
    ...
    ...     def __init__(self, factor: float = 1.0, **unsupported):
    ...         self.set_arguments(locals())
    >>> Scale(3).factor
    3.0
    >>> Scale(3)
    Scale(factor=3.0)
    >>> Scale(3).get_config()
    {'factor': 3.0}
    >>> Scale(factor="much")
    Traceback (most recent call last):
    ValueError: Scale: factor: expected a number of at least 0, got 'much'
    """

    arguments: ClassVar[Mapping[str, Check]] = {}
    identifier: ClassVar[str]  # the name that `find` and files know it by, where they do
    unless: ClassVar[Mapping[str, Any]] = {}  # get_config leaves these arguments out at these values: so do older files

    def set_arguments(self, given: Mapping[str, Any]) -> None:
        """Check and keep those of `given`, a constructor's locals(), that `arguments` lists. Raises ValueError."""
        for argument in given.get("unsupported", ()):
            if argument not in self.arguments:  # else the constructor above has taken it
                raise ValueError(f"{self}: the argument {argument!r} is not supported here")
        for name, check in self.arguments.items():
            if name in given:
                setattr(self, name, check(str(self), name, given[name]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        values = {name: as_json(getattr(self, name)) for name in self.arguments}
        return {name: value for name, value in values.items() if name not in self.unless or value != self.unless[name]}

    def arguments_text(self) -> str:
        """The arguments that are not at their defaults, but for the name: "filters=32, kernel_size=(3, 3)"."""
        defaults = {key: as_json(known.default) for key, known in inspect.signature(type(self)).parameters.items()}
        defaults = {**self.unless, **defaults}
        return ", ".join(
            f"{name}={tuple(value) if isinstance(value, list) else value!r}"
            for name, value in self.get_config().items()
            if name != "name" and name in defaults and value != defaults[name]
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.arguments_text()})"

    def __str__(self) -> str:
        """How errors call it."""
        return type(self).__name__


def as_json(value: Any) -> Any:
    """An argument as JSON can hold it: a pair as a list, an initializer or activation by its name."""
    if isinstance(value, Configurable):
        return vars(type(value)).get("identifier", type(value).__name__)  # a subclass may compute something else
    return list(value) if isinstance(value, tuple) else value


def table(*kinds: type[Thing]) -> dict[str, type[Thing]]:
    """{identifier: class}, for `find`."""
    return {kind.identifier: kind for kind in kinds}


def find(known: Mapping[str, type[Thing]], kind: type[Thing], identifier: Any, expected: str) -> Thing:
    """An object of this kind from its name, its class or itself, as in Keras.

    Raises ValueError, "`expected`, got ...", for what is not in `known` and not of that kind.
    """
    if isinstance(identifier, kind):
        return identifier
    for name, known_kind in known.items():
        names = (name, known_kind.__name__.lower())
        if identifier is known_kind or (isinstance(identifier, str) and identifier.lower() in names):
            return known_kind()
    raise ValueError(f"{expected}, got {identifier!r}")
