"""The house has floors: an import goes down, or stays in its room. Imports inside functions count as well.

Read from the files' syntax, so that a wall that is knocked through is noticed here and not by the next reader.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up. A name stands for a file or for a folder with all that is in it; rooms of one line know nothing of
# each other. `import cnn` itself is the front door, whose modules are loaded when they are asked for: cnn.models, said
# anywhere, counts as an import of that file.
FLOORS = """
kernels
cnn cnn.errors cnn.terminal cnn.pretrained
cnn.checks
cnn.datasets cnn.configurable cnn.results cnn.variables
cnn.utils
cnn.initializers cnn.regularizers cnn.constraints cnn.backend
cnn.layers cnn.losses cnn.optimizers
cnn.metrics cnn.world
cnn.weights
cnn.activations cnn.network cnn.summary
cnn.ops
cnn.saving
cnn.callbacks
cnn.training
cnn.feature_maps cnn.folding cnn.distribute
cnn.models
cnn.saving.__init__
cnn.gradcheck cnn.article cnn.photos
cnn.plots cnn.exercises
cnn.explain
cnn.lessons
cnn.commands.shared
cnn.commands
cnn.refresher
cnn.__main__ cnn.pretrained.__main__
"""
ROOMS = {room: height for height, line in enumerate(FLOORS.strip().splitlines()) for room in line.split()}


@cache
def files() -> dict[str, Path]:
    """{"cnn.saving.npz": its file, ...}; a package's own file is "cnn.saving.__init__"."""
    paths = [path for folder in ("cnn", "kernels") for path in (ROOT / folder).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


def module(name: str) -> str | None:
    """The file that a dotted name means: 'cnn.saving' is 'cnn.saving.__init__'; None for what is not ours."""
    return next((found for found in (name, f"{name}.__init__") if found in files()), None)


def room(name: str) -> str:
    """The longest entry of FLOORS that holds this file."""
    if name == "cnn.__init__":
        return "cnn"
    parts = name.split(".")
    starts = [".".join(parts[:k]) for k in range(len(parts), 0, -1)]
    return next((start for start in starts if start in ROOMS and start != "cnn"), f"{name}: in no room")


@cache
def imports(name: str) -> tuple[tuple[str, str | None, int], ...]:
    """(file, the name taken from it or None, line) for each import of ours in a file, wherever in it that stands."""
    found, aliases = [], {}
    tree = ast.parse(files()[name].read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if target := module(alias.name):
                    found.append((target, None, node.lineno))
                    aliases[alias.asname or alias.name.split(".")[0]] = alias.asname or alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = module(f"{node.module}.{alias.name}")
                if target := whole or module(node.module):
                    found.append((target, None if whole else alias.name, node.lineno))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("cnn", "kernels"):
            target = module(f"{node.value.id}.{node.attr}")
            if target and node.value.id in aliases and name != "cnn.__init__":
                found.append((target, None, node.lineno))
    return tuple(found)


def edges() -> list[tuple[str, str, int]]:
    """(from, to, line) without the front door, which stands open to everybody."""
    return [
        (name, target, line)
        for name in sorted(files())
        for target, _, line in imports(name)
        if target not in (name, "cnn.__init__", "kernels.__init__") and name != "cnn.__init__"
    ]


def upward(arrows) -> list[str]:
    """The arrows that do not go down to a lower floor or stay in their room."""
    wrong = []
    for name, target, line in arrows:
        here, there = room(name), room(target)
        if here != there and not ROOMS.get(here, -1) > ROOMS.get(there, 99):
            wrong.append(f"{name}:{line} -> {target}")
    return wrong


def circle(arrows) -> list[str]:
    """The files of one circle, or none."""
    below = {}
    for name, target, _ in arrows:
        below.setdefault(name, set()).add(target)
    done, path = set(), []

    def walk(name):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        path.append(name)
        found = next(filter(None, map(walk, sorted(below.get(name, ())))), [])
        path.pop()
        done.add(name)
        return found

    return next(filter(None, map(walk, sorted(below))), [])


def private_names() -> list[str]:
    """Uses of a name with one leading underscore that another file has for itself."""
    found = []
    for name in sorted(files()):
        taken = imports(name)
        found += [f"{name}:{line} takes {what} of {target}" for target, what, line in taken if is_private(what)]
        tree = ast.parse(files()[name].read_text("utf-8"))
        modules = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                whole = getattr(node, "module", None)
                modules |= {
                    alias.asname or alias.name
                    for alias in node.names
                    if module(f"{whole}.{alias.name}" if whole else alias.name)
                }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not is_private(node.attr):
                continue
            if isinstance(node.value, ast.Name) and node.value.id in modules:
                found.append(f"{name}:{node.lineno} uses {node.value.id}.{node.attr}")
    return found


def is_private(name) -> bool:
    return bool(name) and name.startswith("_") and not name.startswith("__")


def test_every_file_has_a_room():
    assert [name for name in files() if room(name) not in ROOMS] == []


def test_every_room_has_a_file():
    assert [name for name in ROOMS if not any(room(file) == name for file in files())] == []


def test_imports_go_down():
    assert len(edges()) > 100  # something was read
    assert upward(edges()) == []


def test_no_circle_of_files():
    assert circle(edges()) == []


def test_nobody_uses_what_another_file_keeps_for_itself():
    assert private_names() == []


def test_kernels_import_nothing_of_ours():
    assert [edge for edge in edges() if edge[0].startswith("kernels.") and not edge[1].startswith("kernels.")] == []


@pytest.mark.parametrize(
    "arrow",
    [
        ("cnn.layers.__init__", "cnn.models", 1),
        ("cnn.network", "cnn.training.fit", 1),
        ("cnn.saving.npz", "cnn.saving.__init__", 1),
        ("cnn.photos.photo", "cnn.article", 1),  # of one floor
        ("cnn.nowhere", "cnn.errors", 1),
    ],
)
def test_an_arrow_upwards_is_noticed(arrow):
    assert upward([arrow])


def test_a_circle_is_noticed():
    arrows = [("cnn.a", "cnn.b", 1), ("cnn.b", "cnn.c", 1), ("cnn.c", "cnn.a", 1), ("cnn.d", "cnn.a", 1)]
    assert circle(arrows) == ["cnn.a", "cnn.b", "cnn.c"]


def test_imports_inside_functions_and_by_the_front_door_are_seen():
    assert any(target == "cnn.plots.__init__" for target, _, _ in imports("cnn.commands.shared.session"))
    assert any(target == "cnn.models" for target, _, _ in imports("cnn.saving.__init__"))
