"""Each optimizer's compiled kernel equals its plain loop, which stands here and reads like the formula."""

import numpy as np
import pytest

from kernels import optimizers as kernels
from kernels.adam import LEAST

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def rmsprop(w, g, v, m, a, rate, rho, momentum, epsilon):
    v[:] = [rho * vk + (1 - rho) * gk**2 for vk, gk in zip(v, g, strict=True)]
    spread = v.copy()
    if a is not None:
        a[:] = [rho * ak + (1 - rho) * gk for ak, gk in zip(a, g, strict=True)]
        spread -= a**2
    for k, gk in enumerate(g):
        step = rate * gk / np.sqrt(spread[k] + epsilon)
        if m is not None:
            m[k] = step = momentum * m[k] + step
        w[k] -= step


def amsgrad(w, g, m, v, top, alpha, beta_1, beta_2, epsilon):
    for k, gk in enumerate(g):
        m[k] = beta_1 * m[k] + (1 - beta_1) * gk
        v[k] = beta_2 * v[k] + (1 - beta_2) * gk**2
        top[k] = max(top[k], v[k])
        w[k] -= alpha * m[k] / (np.sqrt(top[k]) + epsilon)


def nadam(w, g, m, v, share_m, share_g, correction, beta_1, beta_2, epsilon):
    for k, gk in enumerate(g):
        m[k] = beta_1 * m[k] + (1 - beta_1) * gk
        v[k] = beta_2 * v[k] + (1 - beta_2) * gk**2
        w[k] -= (share_m * m[k] + share_g * gk) / (np.sqrt(correction * v[k]) + epsilon)


def adamax(w, g, m, u, alpha, beta_1, beta_2, epsilon):
    for k, gk in enumerate(g):
        m[k] = beta_1 * m[k] + (1 - beta_1) * gk
        u[k] = max(beta_2 * u[k], abs(gk))
        w[k] -= alpha * m[k] / (u[k] + epsilon)


def adagrad(w, g, s, rate, epsilon):
    for k, gk in enumerate(g):
        s[k] += gk**2
        w[k] -= rate * gk / np.sqrt(s[k] + epsilon)


def adadelta(w, g, s, r, rate, rho, epsilon):
    for k, gk in enumerate(g):
        s[k] = rho * s[k] + (1 - rho) * gk**2
        d = np.sqrt(r[k] + epsilon) / np.sqrt(s[k] + epsilon) * gk
        r[k] = rho * r[k] + (1 - rho) * d**2
        w[k] -= rate * d


def lion(w, g, m, rate, beta_1, beta_2):
    for k, gk in enumerate(g):
        w[k] -= rate * np.sign(beta_1 * m[k] + (1 - beta_1) * gk)
        m[k] = beta_2 * m[k] + (1 - beta_2) * gk


def average(w, g, momentum):
    w[:] = [momentum * wk + (1 - momentum) * gk for wk, gk in zip(w, g, strict=True)]


# kernel, plain loop, the slots beside w and g (None: left out), the numbers
CASES = {
    "rmsprop": (kernels.rmsprop_update, rmsprop, [1, None, None], (0.01, 0.9, 0.0, 1e-7)),
    "rmsprop, momentum": (kernels.rmsprop_update, rmsprop, [1, 1, None], (0.01, 0.9, 0.8, 1e-7)),
    "rmsprop, centered": (kernels.rmsprop_update, rmsprop, [4, None, 1], (0.01, 0.9, 0.0, 1e-3)),
    "rmsprop, both": (kernels.rmsprop_update, rmsprop, [4, 1, 1], (0.01, 0.9, 0.8, 1e-3)),
    "amsgrad": (kernels.amsgrad_update, amsgrad, [1, 1, 1], (0.01, 0.9, 0.99, 1e-7)),
    "nadam": (kernels.nadam_update, nadam, [1, 1], (0.009, 0.002, 1.5, 0.9, 0.99, 1e-7)),
    "adamax": (kernels.adamax_update, adamax, [1, 1], (0.01, 0.9, 0.99, 1e-7)),
    "adagrad": (kernels.adagrad_update, adagrad, [1], (0.01, 1e-7)),
    "adadelta": (kernels.adadelta_update, adadelta, [1, 1], (0.5, 0.9, 1e-3)),
    "lion": (kernels.lion_update, lion, [1], (0.01, 0.9, 0.99)),
    "average": (kernels.move_average, average, [], (0.9,)),
}
TABLE = pytest.mark.parametrize(("kernel", "plain", "slots", "numbers"), CASES.values(), ids=CASES)


def arrays(slots, size, dtype):
    """w, g and the slots: numbers above 0, as squares are, so much larger that no variance is below 0."""
    rng = np.random.default_rng(0)
    w, g = (rng.normal(size=size).astype(dtype) for _ in range(2))
    return [w, g, *(None if scale is None else (scale + rng.random(size)).astype(dtype) for scale in slots)]


def copies(given):
    return [None if array is None else array.copy() for array in given]


@TABLE
@FLOATS
@pytest.mark.parametrize("size", [1, 7, 61])
def test_a_kernel_equals_its_loop(kernel, plain, slots, numbers, dtype, size):
    ours = arrays(slots, size, dtype)
    expected, before = copies(ours), copies(ours)
    plain(*expected, *(dtype(number) for number in numbers))
    kernel(*ours, *numbers)
    for got, right in zip(ours, expected, strict=True):
        if got is not None:
            assert got.dtype == dtype
            np.testing.assert_allclose(got, right, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(ours[1], before[1])  # the gradient is only read
    assert (ours[0] != before[0]).any()


@TABLE
def test_slices_in_threads_change_nothing(kernel, plain, slots, numbers):
    ours = arrays(slots, 2 * LEAST + 3, np.float32)
    tail = copies([None if array is None else array[-5:] for array in ours])
    shaped = [None if array is None else array.reshape(1, -1) for array in ours]
    kernel(*shaped, *numbers)
    kernel(*tail, *numbers)
    for got, right in zip(ours, tail, strict=True):
        if got is not None:
            np.testing.assert_allclose(got[-5:], right, rtol=1e-6)


@TABLE
def test_arrays_of_different_shapes_are_refused(kernel, plain, slots, numbers):
    for odd_one, scale in enumerate([1, 1, *slots]):
        given = arrays(slots, 6, np.float64)
        given[odd_one] = None if scale is None else np.ones(5)
        if scale is not None:
            with pytest.raises(ValueError, match="expected arrays of one shape"):
                kernel(*given, *numbers)


@TABLE
def test_a_copy_is_never_changed_instead(kernel, plain, slots, numbers):
    given = [None if array is None else array.reshape(4, 6).T for array in arrays(slots, 24, np.float64)]
    with pytest.raises(ValueError, match="copy"):
        kernel(*given, *numbers)


@TABLE
@FLOATS
def test_what_is_remembered_never_becomes_denormal(kernel, plain, slots, numbers, dtype):
    """A weight that gets no gradient any more; NaN stays."""
    if not slots or kernel is kernels.adagrad_update:
        return  # these do not shrink, or follow the weight
    tiny = np.finfo(dtype).tiny
    given = arrays(slots, 3, dtype)
    given[1][:] = 0
    for array in given[2:]:
        if array is not None:
            array[:] = [1.05 * tiny, 1, np.nan]
    kernel(*given, *numbers)
    shrinking = [array for array in given[2:] if array is not None]
    if kernel is kernels.amsgrad_update:
        shrinking = shrinking[:2]
    for array in shrinking:
        assert array[0] == 0 and array[1] > 0
    assert np.isnan(given[0][2])


def test_a_variance_that_rounding_made_less_than_0_counts_as_0():
    w, g, v, a = (np.array([value], np.float32) for value in (1, 1000.0, 1e6 - 1, 1000.0))
    kernels.rmsprop_update(w, g, v, None, a, 1e-6, 0.9, 0.0, 1e-7)
    assert np.isfinite(w).all()
