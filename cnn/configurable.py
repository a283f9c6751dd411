"""What is made from arguments: layers, losses, optimizers, initializers. Each argument is written down once.

Found by name as well: `find` turns "adam", Adam or Adam(0.01) into an optimizer.
"""

import inspect
import re
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
    at_default: ClassVar[Mapping[str, Any]] = {}  # arguments of Keras that we have at Keras' own default alone

    def set_arguments(self, given: Mapping[str, Any]) -> None:
        """Check and keep those of `given`, a constructor's locals(), that `arguments` lists. Raises ValueError."""
        unsupported = given.get("unsupported", {})
        others = {key: value for key, value in unsupported.items() if key not in self.arguments}  # taken further up
        require_defaults(str(self), others, self.at_default)
        for name, check in self.arguments.items():
            if name in given:
                setattr(self, name, check(str(self), name, given[name]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        values = {name: as_json(getattr(self, name)) for name in self.arguments}
        return {name: value for name, value in values.items() if name not in self.unless or value != self.unless[name]}

    def changed_arguments(self) -> dict[str, Any]:
        """Of get_config those that are not at their defaults, but for the name."""
        defaults = {key: as_json(known.default) for key, known in inspect.signature(type(self)).parameters.items()}
        defaults = {**self.unless, **defaults}
        changed = {key: value for key, value in self.get_config().items() if key in defaults and value != defaults[key]}
        return {key: value for key, value in changed.items() if key != "name"}

    def arguments_text(self) -> str:
        """The arguments that are not at their defaults, but for the name: "filters=32, kernel_size=(3, 3)"."""
        return ", ".join(
            f"{name}={tuple(value) if isinstance(value, list) else value!r}"
            for name, value in self.changed_arguments().items()
        )

    def as_argument(self) -> str | dict[str, Any]:
        """How the configuration of another object tells this one: by its name, with its arguments if any is changed."""
        name = vars(type(self)).get("identifier", type(self).__name__)  # a subclass may compute something else
        changed = self.changed_arguments()
        return {"class_name": name, "config": changed} if changed else name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.arguments_text()})"

    def __str__(self) -> str:
        """How errors call it."""
        return type(self).__name__


def require_defaults(where: str, given: Mapping[str, Any], at_default: Mapping[str, Any]) -> None:
    """Raise ValueError for an argument that we do not have, unless it is one of Keras' and as if it were not given.

    At None, or as several equal numbers for one, it is at its default too: dilation_rate=(1, 1) is 1.

    >>> require_defaults("Conv2D", {"dilation_rate": (2, 2)}, {"dilation_rate": 1})
    Traceback (most recent call last):
    ValueError: Conv2D: the argument 'dilation_rate' is not supported here but as 1
    """
    for argument, value in given.items():
        known, default = argument in at_default, at_default.get(argument)
        once = value[0] if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1] else value
        if not known or not (once is None or (type(once) is type(default) and once == default)):
            but = f" but as {default!r}" * known
            raise ValueError(f"{where}: the argument {argument!r} is not supported here{but}")


def as_json(value: Any) -> Any:
    """An argument as JSON can hold it: a pair or an array as a list, an initializer or activation by its name."""
    if isinstance(value, Configurable):
        return value.as_argument()
    if hasattr(value, "tolist"):  # an array
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def snake_case(name: str) -> str:
    """What something of this class is called that was given no name.

    >>> snake_case("Conv2DTranspose"), snake_case("PReLU"), snake_case("BatchNormalization")
    ('conv2d_transpose', 'p_re_lu', 'batch_normalization')
    """
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def is_description(value: Any) -> bool:
    """Whether this is an object with changed arguments as `as_json` tells it: {"class_name": ..., "config": {...}}."""
    return isinstance(value, dict) and value.keys() == {"class_name", "config"} and isinstance(value["config"], dict)


def serialize(thing: Configurable) -> dict[str, Any]:
    """An object as JSON can hold it, without what it remembers: the `get` of its kind makes the same again."""
    return {"class_name": type(thing).__name__, "config": thing.get_config()}


def table(*kinds: type[Thing]) -> dict[str, type[Thing]]:
    """{identifier: class}, for `find`."""
    return {kind.identifier: kind for kind in kinds}


def find(known: Mapping[str, type[Thing]], kind: type[Thing], identifier: Any, expected: str) -> Thing:
    """An object of this kind from its name, its class, itself or {"class_name", "config"}, as in Keras.

    Raises ValueError, "`expected`, got ...", for what is not in `known` and not of that kind.
    """
    if isinstance(identifier, kind):
        return identifier
    settings = {}
    if is_description(identifier):
        identifier, settings = identifier["class_name"], identifier["config"]
    for name, known_kind in known.items():
        names = (name, known_kind.__name__.lower())
        if identifier is known_kind or (isinstance(identifier, str) and identifier.lower() in names):
            return known_kind(**settings)
    raise ValueError(f"{expected}, got {identifier!r}")
