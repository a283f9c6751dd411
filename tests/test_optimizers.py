"""SGD and Adam against their formulas, written out for one number."""

import math

import numpy as np
import pytest

from cnn import optimizers
from cnn.optimizers import SGD, Adam
from kernels.adam import adam_update

GRADIENTS = [0.5, -2.0, 0.1, 0.0, 3.0]


def descend(optimizer, dtype=np.float64):
    """The weight 1, moved by GRADIENTS one after the other, all the way."""
    params = {"w": np.ones((1, 1), dtype)}
    path = []
    for g in GRADIENTS:
        optimizer.update(params, {"w": np.full((1, 1), g, dtype)})
        path.append(params["w"].item())
    return path


def sgd_formula(rate, momentum, nesterov):
    w, v, path = 1.0, 0.0, []
    for g in GRADIENTS:
        v = momentum * v - rate * g
        w += momentum * v - rate * g if nesterov else v
        path.append(w)
    return path


def adam_formula(rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    w, m, v, path = 1.0, 0.0, 0.0, []
    for t, g in enumerate(GRADIENTS, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        w -= rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (math.sqrt(v) + epsilon)
        path.append(w)
    return path


@pytest.mark.parametrize("momentum", [0, 0.5, 0.9, 1])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_its_formula(momentum, nesterov):
    np.testing.assert_allclose(descend(SGD(0.1, momentum, nesterov)), sgd_formula(0.1, momentum, nesterov), rtol=1e-14)


@pytest.mark.parametrize(
    "arguments", [{}, {"rate": 0.3, "beta_1": 0.5, "beta_2": 0.9}, {"epsilon": 0.1}, {"beta_1": 0}]
)
def test_adam_follows_its_formula(arguments):
    ours = {"learning_rate" if key == "rate" else key: value for key, value in arguments.items()}
    np.testing.assert_allclose(descend(Adam(**ours)), adam_formula(**arguments), rtol=1e-13)


def test_adams_first_step_is_the_learning_rate():
    """The corrections for the zeros that m and v start from cancel in the first step."""
    params = {"w": np.zeros(3)}
    Adam(0.01).update(params, {"w": np.array([5.0, -0.2, 1e-3])})
    np.testing.assert_allclose(params["w"], [-0.01, 0.01, -0.01], rtol=1e-2)


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9, True), Adam()], ids=["sgd", "nesterov", "adam"])
def test_float32_stays_float32_and_in_place(optimizer):
    w = np.ones((3, 2), np.float32)
    g = np.full((3, 2), 0.3, np.float32)
    optimizer.update({"w": w}, {"w": g})
    assert w.dtype == np.float32
    assert (w < 1).all()
    assert (g == np.float32(0.3)).all()
    assert {array.dtype for slot in optimizer.state.values() for array in slot.values()} <= {np.dtype(np.float32)}


def test_steps_are_counted_and_remembered():
    adam = Adam()
    descend(adam)
    assert adam.iterations == len(GRADIENTS)
    assert set(adam.state) == {"momentum", "velocity"}
    assert adam.state["velocity"]["w"].item() != 0
    assert SGD().state == {}


def test_the_learning_rate_can_be_changed_between_steps():
    sgd, params = SGD(1), {"w": np.zeros(1)}
    sgd.update(params, {"w": np.ones(1)})
    sgd.learning_rate = 0.5
    sgd.update(params, {"w": np.ones(1)})
    assert params["w"].item() == -1.5


def test_gradients_of_other_names_are_refused():
    with pytest.raises(ValueError, match=r"sgd: expected gradients for \['w'\], got \['v'\]"):
        SGD().update({"w": np.ones(1)}, {"v": np.ones(1)})


@pytest.mark.parametrize("make", [Adam, lambda: SGD(momentum=0.9)])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 2), np.float64), ((2,), np.float64), ((20,), np.float64), ((4,), np.float32)]
)
def test_slots_of_another_shape_are_refused_and_nothing_changes(make, shape, dtype):
    """The compiled loop over the weights would run past the end of what is remembered."""
    optimizer = make()
    optimizer.update({"w": np.ones(4)}, {"w": np.ones(4)})
    w = np.ones(shape, dtype)
    with pytest.raises(
        ValueError, match=r"of w: expected shape .*, got \(4,\), float64: .*Call compile\(\) with a new one"
    ):
        optimizer.update({"w": w}, {"w": np.ones(shape, dtype)})
    assert (w == 1).all()
    assert optimizer.iterations == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), "sgd: learning_rate: expected a number of at least 0, got -0.1"),
        (lambda: SGD(10**400), "sgd: learning_rate: .* got 1000"),
        (lambda: SGD(nesterov="no"), "sgd: nesterov: expected True or False, got 'no'"),
        (lambda: SGD(math.inf), "sgd: learning_rate: .* got inf"),
        (lambda: Adam(math.nan), "adam: learning_rate: .* got nan"),
        (lambda: Adam("0.1"), "adam: learning_rate: .* got '0.1'"),
        (lambda: SGD(momentum=1.5), r"sgd: momentum: expected a number in \[0, 1\], got 1.5"),
        (lambda: Adam(beta_1=1), r"adam: beta_1: expected a number in \[0, 1\), got 1"),
        (lambda: Adam(beta_2=-0.1), "adam: beta_2: .* got -0.1"),
        (lambda: Adam(epsilon=-1), "adam: epsilon: .* got -1"),
        (lambda: Adam(amsgrad="yes"), "adam: amsgrad: expected True or False, got 'yes'"),
        (lambda: Adam(centered=True), "adam: the argument 'centered' is not supported here"),
        (lambda: SGD(clipnorm=0), "sgd: clipnorm: expected a number above 0, got 0"),
        (lambda: optimizers.get("ftrl"), "optimizer: expected one of 'sgd', 'adam', .* or an optimizer, got 'ftrl'"),
        (lambda: optimizers.get(None), "optimizer: .* got None"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_optimizers_are_found_by_name_class_or_themselves():
    adam = Adam()
    assert isinstance(optimizers.get("ADAM"), Adam)
    assert isinstance(optimizers.get(SGD), SGD)
    assert optimizers.get(adam) is adam
    assert SGD(learning_rate=1).learning_rate == 1  # Keras refuses a whole number here


@pytest.mark.parametrize("optimizer", [SGD(0.2, 0.5, True), Adam(0.1, 0.8, 0.9, 1e-3)])
def test_the_configuration_makes_the_same_optimizer_again(optimizer):
    assert type(optimizer)(**optimizer.get_config()).get_config() == optimizer.get_config()


@pytest.mark.parametrize("odd_one", range(4))
def test_adams_kernel_refuses_arrays_of_different_shapes(odd_one):
    arrays = [np.ones(6) for _ in range(4)]
    arrays[odd_one] = np.ones(5)
    with pytest.raises(ValueError, match="one shape"):
        adam_update(*arrays, 0.001, 0.9, 0.999, 1e-7)
