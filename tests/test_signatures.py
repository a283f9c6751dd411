"""What a reader and a type checker are told: each public signature is typed whole, each public thing has a docstring.

Read from the syntax, not from the modules: what a decorator makes of a function is no matter, and nothing is imported.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXTS = ROOT / "cnn/exercises/solutions"  # what a learner would write: mathematics alone, as in a lesson
FILES = sorted(path for part in ("cnn", "kernels") for path in (ROOT / part).rglob("*.py") if path.parent != TEXTS)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    """Whether anybody may use it: no leading underscore. `__call__` and its like are used by their operators."""
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def public_members(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """(dotted name, node) of the public functions, classes and methods, also of those that stand under an `if`."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            if not is_public(node.name):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_members(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for part in (node.body, getattr(node, "orelse", []), *(h.body for h in getattr(node, "handlers", []))):
                yield from public_members(part, prefix)


def untyped(function: Function, is_method: bool) -> list[str]:
    """The arguments without a type, and "return"; beside typed arguments __init__ need not say that it returns None."""
    given = function.args
    static = any(isinstance(wrapper, ast.Name) and wrapper.id == "staticmethod" for wrapper in function.decorator_list)
    listed = [*given.posonlyargs, *given.args][1 if is_method and not static else 0 :]
    every = [*listed, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    missing = [argument.arg for argument in every if argument.annotation is None]
    silent = function.returns is None and not (function.name == "__init__" and every)
    return missing + ["return"] * silent


def untyped_signatures(tree: ast.Module) -> list[str]:
    """["Class.method: argument, return"] for each public signature that does not tell all its types."""
    functions = [(name, node) for name, node in public_members(tree.body) if isinstance(node, Function)]
    told = [(name, untyped(node, "." in name)) for name, node in functions]
    return [f"{name}: {', '.join(missing)}" for name, missing in told if missing]


def classes(trees: Iterable[ast.Module]) -> dict[str, ast.ClassDef]:
    """All classes by their names."""
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def inherited(method: str, kind: ast.ClassDef, known: dict[str, ast.ClassDef]) -> bool:
    """Whether a class above this one documents the method; a class that is not ours is taken to."""
    for base in kind.bases:
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        if name == "NamedTuple":
            continue
        above = known.get(name)
        if above is None:
            return True
        if inherited(method, above, known):
            return True
        if any(isinstance(node, Function) and node.name == method and ast.get_docstring(node) for node in above.body):
            return True
    return False


def undocumented(tree: ast.Module, known: dict[str, ast.ClassDef]) -> list[str]:
    """The public functions, classes and methods without a docstring; the module's own is "module".

    `__call__` and its like say by their names what they do. So do the setters of a property, by its getter.
    """
    members = dict(public_members(tree.body))  # of a property the setter comes last
    found = [] if ast.get_docstring(tree) or not tree.body else ["module"]
    for name, node in public_members(tree.body):
        owner, _, last = name.rpartition(".")
        excused = last.startswith("__") or (owner and inherited(last, members[owner], known)) or is_setter(node)
        if not ast.get_docstring(node) and not excused:
            found.append(name)
    return found


def is_setter(node: ast.AST) -> bool:
    """Whether this is what a property does when it is set."""
    return any(isinstance(wrapper, ast.Attribute) and wrapper.attr == "setter" for wrapper in node.decorator_list)


@cache
def trees() -> dict[str, ast.Module]:
    """{"cnn/network.py": its syntax, ...}"""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in FILES}


def test_every_public_signature_tells_its_types():
    assert [f"{file}: {found}" for file, tree in trees().items() for found in untyped_signatures(tree)] == []


def test_every_public_thing_has_a_docstring():
    known = classes(trees().values())
    assert [f"{file}: {found}" for file, tree in trees().items() for found in undocumented(tree, known)] == []


def test_the_marker_that_the_types_are_meant_is_shipped():
    assert all((ROOT / folder / "py.typed").is_file() for folder in ("cnn", "kernels"))


SLOPPY = """
def good(x: int, *rest: int, key: str = "", **more: str) -> None:
    'Does it.'
def untyped(x, y: int, *rest, key=1, **more): 'Does it.'
def no_return(x: int): 'Does it.'
def no_docstring() -> None: ...
def _private(x): ...
if True:
    def under_an_if(x): 'Does it.'
class Kind:
    'A kind.'
    def __init__(self, x: int): ...
    def __call__(self, x): ...
    def method(self, x): ...
    @staticmethod
    def static(x) -> int: 'Does it.'
    @property
    def thing(self) -> int: 'The thing.'
    @thing.setter
    def thing(self, value: int) -> None: ...
class Empty:
    'Nothing is told, so nothing would be checked.'
    def __init__(self): ...
class Sub(Kind):
    def method(self, x: int) -> None: ...
    def static(self) -> int: ...
class Foreign(list):
    'Lists have told it.'
    def append(self, value: int) -> None: ...
class _Private:
    def method(self, x): ...
"""


def test_a_sloppy_file_is_noticed():
    tree = ast.parse(SLOPPY)
    assert untyped_signatures(tree) == [
        "untyped: x, key, rest, more, return",
        "no_return: return",
        "under_an_if: x, return",
        "Kind.__call__: x, return",
        "Kind.method: x, return",
        "Kind.static: x",
        "Empty.__init__: return",
    ]
    assert undocumented(tree, classes([tree])) == ["module", "no_docstring", "Kind.method", "Sub", "Sub.method"]
