"""The compiled formulas of activations against those of cnn/layers/formulas.py in float64, and their text in Python."""

import inspect

import numpy as np
import pytest

from cnn.layers.formulas import FORMULAS
from kernels.activations import KERNELS, exp, expm1

EVERY = pytest.mark.parametrize("name", KERNELS)
ROUNDING = np.finfo(np.float32).eps


def settings_of(name):
    """Those that the formula has unless told otherwise, none of them 0 where that would hide a fault."""
    known = inspect.signature(FORMULAS[name].function).parameters.values()
    return {one.name: one.default for one in known if one.name != "x"}


def results(name, x, dy, settings, run=lambda kernel: kernel):
    values, gradients = map(run, KERNELS[name])
    y, dx = np.empty_like(x), np.empty_like(x)
    numbers = tuple(map(np.float32, settings.values())) or (np.float32(0),)
    values(y, x, numbers)
    gradients(dx, dy, x, y, numbers)
    return y, dx


def test_every_formula_but_one_has_a_kernel():
    assert FORMULAS.keys() - KERNELS.keys() == {"exponential"}


@pytest.mark.parametrize("approximate", [False, True])
@EVERY
def test_values_and_slopes_are_those_of_float64(name, approximate):
    settings = settings_of(name)
    if "approximate" in settings:
        settings["approximate"] = approximate
    if name == "bent_relu":
        settings = {"negative_slope": 0.3, "max_value": 4.0, "threshold": 1.0}
    x = np.concatenate([np.linspace(-30, 30, 20_011), np.geomspace(1e-30, 1, 500), -np.geomspace(1e-30, 1, 500)])
    x = x.astype(np.float32)
    dy = np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    y, dx = results(name, x, dy, settings)
    exact = x.astype(np.float64)
    right = FORMULAS[name].function(exact, **settings)
    slope = FORMULAS[name].slope(exact, right, **settings)
    size = np.maximum(1, np.abs(exact))
    np.testing.assert_allclose(y / size, right / size, rtol=0, atol=4 * ROUNDING)
    np.testing.assert_allclose(dx, dy * slope, rtol=0, atol=8 * ROUNDING * np.abs(dy).max() * np.abs(slope).max())


@pytest.mark.parametrize(("kernel", "formula"), [(exp, np.exp), (expm1, np.expm1)])
def test_exp_is_right_to_two_roundings(kernel, formula):
    x = np.concatenate([np.linspace(-86, 86, 9973), np.linspace(-1e-3, 1e-3, 101)]).astype(np.float32)
    right = formula(x.astype(np.float64))
    found = np.array([kernel(number) for number in x])
    np.testing.assert_allclose(found, right, rtol=2 * ROUNDING, atol=0)


@EVERY
def test_far_away_and_not_a_number(name):
    settings = settings_of(name)
    x, dy = np.array([np.nan, np.inf, 1e30, -1e30, 0.0, -0.0], np.float32), np.ones(6, np.float32)
    with np.errstate(all="ignore"):
        y, dx = results(name, x, dy, settings)
        right = FORMULAS[name].function(x, **settings)
    assert np.isnan(y[0])
    np.testing.assert_allclose(y[2:], right[2:], rtol=1e-6, atol=1e-6)
    assert np.isfinite(dx[2:]).all()


@EVERY
def test_kernels_are_what_their_text_says(name):
    x = np.linspace(-7, 7, 57, dtype=np.float32)
    compiled = results(name, x, x, settings_of(name))
    text = results(name, x, x, settings_of(name), lambda kernel: getattr(kernel, "py_func", kernel))
    for one, other in zip(compiled, text, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
