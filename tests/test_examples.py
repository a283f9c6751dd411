"""The examples in the docstrings: each runs and prints what it says, and every public class has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import cnn
from cnn import callbacks, initializers, layers, losses, metrics, models, network, optimizers

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cnn.__path__, "cnn.")
    if not any(part.startswith("_") for part in module.name.split("."))
    and not module.name.startswith("cnn.exercises.solutions.")  # learners' files, which test_exercises.py loads
)


def examples_of(thing, name=None):
    """The examples in the docstrings of a module, or of a class and its methods."""
    return [found for found in doctest.DocTestFinder().find(thing, name) if found.examples]


def public_classes(module):
    """Those that somebody makes objects of; a cache is what a layer returns."""
    kinds = [kind for name, kind in vars(module).items() if inspect.isclass(kind) and not name.startswith("_")]
    return [kind for kind in kinds if kind.__module__.startswith(module.__name__) and not issubclass(kind, tuple)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    module = importlib.import_module(name)
    report = []
    for example in examples_of(module):
        doctest.DocTestRunner().run(example, out=report.append)
    assert not report, "".join(report)


PUBLIC = (callbacks, initializers, layers, losses, metrics, models, network, optimizers)
CLASSES = [kind for module in PUBLIC for kind in public_classes(module)]


@pytest.mark.parametrize("kind", CLASSES, ids=[f"{kind.__module__}.{kind.__qualname__}" for kind in CLASSES])
def test_every_public_class_has_an_example(kind):
    assert examples_of(kind, kind.__name__)


def test_these_tests_see_what_they_should():
    assert {"cnn.layers.dense", "cnn.losses", "cnn.explain.trace"} <= set(MODULES)
    assert {layers.Conv2D, layers.Layer, losses.SparseCategoricalCrossentropy, optimizers.Adam} <= set(CLASSES)
    assert initializers.GlorotUniform in CLASSES and layers.Conv2DCache not in CLASSES
