"""The relatives of SGD and Adam against their formulas, written out for one number; and the options they all have."""

import math

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import models, optimizers
from cnn.errors import ModelFileError
from cnn.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, Optimizer, RMSprop

GRADIENTS = [0.5, -2.0, 0.1, 0.0, 3.0, 1e-4, -1.0, -1.0, 0.3, 5.0]


def amsgrad(w, rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, decay=0.0):
    m = v = top = 0.0
    for t, g in enumerate(GRADIENTS, start=1):
        w -= rate * decay * w
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        top = max(top, v)
        w -= rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (math.sqrt(top) + epsilon)
        yield w


def adamw(w, rate=0.001, decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = v = 0.0
    for t, g in enumerate(GRADIENTS, start=1):
        w -= rate * decay * w
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        w -= rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (math.sqrt(v) + epsilon)
        yield w


def rmsprop(w, rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    v = a = m = 0.0
    for g in GRADIENTS:
        v = rho * v + (1 - rho) * g * g
        a = rho * a + (1 - rho) * g
        m = momentum * m + rate * g / math.sqrt(v - centered * a * a + epsilon)
        w -= m
        yield w


def nadam(w, rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = v = 0.0
    product = 1.0
    for t, g in enumerate(GRADIENTS, start=1):
        u, following = (beta_1 * (1 - 0.96**k / 2) for k in (t, t + 1))
        product *= u
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        estimate = following * m / (1 - product * following) + (1 - u) * g / (1 - product)
        w -= rate * estimate / (math.sqrt(v / (1 - beta_2**t)) + epsilon)
        yield w


def adamax(w, rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = u = 0.0
    for t, g in enumerate(GRADIENTS, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        u = max(beta_2 * u, abs(g))
        w -= rate * m / ((1 - beta_1**t) * (u + epsilon))
        yield w


def adagrad(w, rate=0.001, start=0.1, epsilon=1e-7):
    s = start
    for g in GRADIENTS:
        s += g * g
        w -= rate * g / math.sqrt(s + epsilon)
        yield w


def adadelta(w, rate=0.001, rho=0.95, epsilon=1e-7):
    s = r = 0.0
    for g in GRADIENTS:
        s = rho * s + (1 - rho) * g * g
        d = math.sqrt(r + epsilon) / math.sqrt(s + epsilon) * g
        r = rho * r + (1 - rho) * d * d
        w -= rate * d
        yield w


def lion(w, rate=0.001, beta_1=0.9, beta_2=0.99):
    m = 0.0
    for g in GRADIENTS:
        direction = beta_1 * m + (1 - beta_1) * g
        w -= rate * ((direction > 0) - (direction < 0))
        m = beta_2 * m + (1 - beta_2) * g
        yield w


CASES = {
    "adamw": (AdamW, adamw, {}),
    "adamw, decay": (AdamW, adamw, {"learning_rate": 0.05, "weight_decay": 0.2}),
    "amsgrad": (lambda **more: Adam(amsgrad=True, **more), amsgrad, {"beta_2": 0.5, "learning_rate": 0.1}),
    "amsgrad, decay": (lambda **more: AdamW(amsgrad=True, **more), amsgrad, {"weight_decay": 0.5}),
    "rmsprop": (RMSprop, rmsprop, {}),
    "rmsprop, momentum": (RMSprop, rmsprop, {"momentum": 0.9, "learning_rate": 0.01}),
    "rmsprop, centered": (RMSprop, rmsprop, {"centered": True, "rho": 0.5}),
    "rmsprop, both": (RMSprop, rmsprop, {"centered": True, "momentum": 0.5, "epsilon": 1e-3}),
    "nadam": (Nadam, nadam, {}),
    "nadam, betas": (Nadam, nadam, {"beta_1": 0.5, "beta_2": 0.8, "learning_rate": 0.1}),
    "adamax": (Adamax, adamax, {}),
    "adamax, betas": (Adamax, adamax, {"beta_1": 0.5, "beta_2": 0.8, "learning_rate": 0.1}),
    "adagrad": (Adagrad, adagrad, {}),
    "adagrad, start": (Adagrad, adagrad, {"initial_accumulator_value": 2.0, "learning_rate": 0.5}),
    "adadelta": (Adadelta, adadelta, {}),
    "lion": (Lion, lion, {"beta_2": 0.5}),
    "lion, betas": (Lion, lion, {"beta_1": 0.1, "beta_2": 0.8, "learning_rate": 0.1}),
    "adadelta, rho": (Adadelta, adadelta, {"rho": 0.5, "learning_rate": 1.0, "epsilon": 1e-3}),
}
IN_FORMULAS = {"learning_rate": "rate", "weight_decay": "decay", "initial_accumulator_value": "start"}


def path(optimizer, dtype=np.float64):
    """The weight 1, moved by GRADIENTS one after the other."""
    params, places = {"w": np.ones(1, dtype)}, []
    for g in GRADIENTS:
        optimizer.update(params, {"w": np.full(1, g, dtype)})
        places.append(params["w"].item())
    return places


@pytest.mark.parametrize(("make", "formula", "arguments"), CASES.values(), ids=CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_each_follows_its_formula(make, formula, arguments, dtype, tolerance):
    expected = list(formula(1.0, **{IN_FORMULAS.get(key, key): value for key, value in arguments.items()}))
    assert abs(expected[-1] - 1) > 1e-6
    np.testing.assert_allclose(path(make(**arguments), dtype), expected, rtol=tolerance)


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_each_is_found_by_name_and_made_again_from_its_configuration(name):
    kind = optimizers.TABLE[name]
    for optimizer in (optimizers.get(name), kind(0.02, weight_decay=0.1, clipnorm=2, use_ema=True, name="mine")):
        assert type(optimizer) is kind
        for again in (kind.from_config(optimizer.get_config()), optimizers.get(optimizers.serialize(optimizer))):
            assert type(again) is kind and again.get_config() == optimizer.get_config()
    assert "weight_decay=0.1" in repr(optimizer)


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_a_large_array_in_slices_is_the_same_as_its_parts(name):
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=2**18 + 5), rng.normal(size=2**18 + 5)
    whole, parts = {"w": w.copy()}, {"a": w[:7].copy(), "b": w[7:].copy()}
    one, two = optimizers.TABLE[name](), optimizers.TABLE[name]()
    for _ in range(3):
        one.update(whole, {"w": g})
        two.update(parts, {"a": g[:7], "b": g[7:]})
    np.testing.assert_array_equal(whole["w"], np.concatenate([parts["a"], parts["b"]]))


# The options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"clipvalue": 0.5}, {"a": [0.5, -0.5], "b": [0.1]}),
        ({"clipnorm": 1}, {"a": [0.6, -0.8], "b": [0.1]}),
        ({"global_clipnorm": 2.5}, {"a": [1.5, -2.0], "b": [0.0]}),
        ({"global_clipnorm": 50}, {"a": [3.0, -4.0], "b": [0.0]}),
        ({"clipnorm": None}, {"a": [3.0, -4.0], "b": [0.1]}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_clipped(options, expected, dtype):
    b = expected["b"]
    grads = {"a": np.array([3.0, -4.0], dtype), "b": np.array(b if b != [0.1] else [0.1], dtype)}
    before = {key: g.copy() for key, g in grads.items()}
    params = {key: np.zeros_like(g) for key, g in grads.items()}
    SGD(1.0, **options).update(params, grads)
    for key, g in expected.items():
        np.testing.assert_allclose(params[key], -np.array(g), rtol=1e-6)
        np.testing.assert_array_equal(grads[key], before[key])


def test_the_norm_of_large_gradients_does_not_overflow():
    params = {"w": np.zeros(2, np.float32)}
    SGD(1.0, clipnorm=1).update(params, {"w": np.array([3e30, -4e30], np.float32)})
    np.testing.assert_allclose(params["w"], [-0.6, 0.8], rtol=1e-6)


def test_one_way_of_clipping_alone():
    with pytest.raises(ValueError, match="adam: expected one of clipnorm, clipvalue and global_clipnorm, got"):
        Adam(clipnorm=1, clipvalue=1)


@pytest.mark.parametrize(
    ("excluded", "decayed"),
    [([], "kernel bias gamma"), (["bias", "gamma"], "kernel"), (["dense/kernel"], "bias gamma"), (["dense"], "all")],
)
def test_weight_decay_leaves_out_what_it_is_told(excluded, decayed):
    """A word is looked for in the parameter's own name, not in its layer's."""
    sgd = SGD(0.1, weight_decay=0.5)
    sgd.exclude_from_weight_decay(var_names=excluded)
    params = {f"dense/{name}": np.ones(1) for name in ("kernel", "bias", "gamma")}
    sgd.update(params, {key: np.zeros(1) for key in params})
    changed = {key.partition("/")[2] for key, value in params.items() if value != 1}
    assert changed == ({"kernel", "bias", "gamma"} if decayed == "all" else set(decayed.split()))
    assert {value.item() for value in params.values()} <= {1.0, 0.95}
    assert SGD(**sgd.get_config()).undecayed == tuple(excluded)


def test_arrays_are_left_out_of_weight_decay():
    sgd, params = SGD(0.1, weight_decay=0.5), {f"dense/{name}": np.ones(1) for name in ("kernel", "bias", "gamma")}
    sgd.exclude_from_weight_decay(var_list=[params["dense/kernel"]], var_names=["gamma"])
    sgd.update(params, {key: np.zeros(1) for key in params})
    assert [value.item() for value in params.values()] == [1, 0.95, 1]
    assert SGD(**sgd.get_config()).undecayed == ("gamma", "dense/kernel")


def test_arrays_of_no_parameter_cannot_be_left_out():
    """After a load, for instance, the model has other arrays: leaving out none of them would not be noticed."""
    optimizer, params = AdamW(), {"w": np.ones(1)}
    optimizer.exclude_from_weight_decay(var_list=[np.ones(1)])
    with pytest.raises(ValueError, match="adamw: exclude_from_weight_decay: var_list: expected arrays of the model"):
        optimizer.update(params, {"w": np.ones(1)})
    assert params["w"] == 1


def test_the_moving_average():
    """Of the weights after each step; it begins with the first of them."""
    sgd, params = SGD(1.0, use_ema=True, ema_momentum=0.75), {"w": np.array([9.0])}
    average = None
    for g in (1.0, 2.0, -3.0):
        sgd.update(params, {"w": np.array([g])})
        w = params["w"].item()
        average = w if average is None else 0.75 * average + 0.25 * w
        assert sgd.state["average"]["w"].item() == average
    sgd.swap_average(params)
    assert (params["w"].item(), sgd.state["average"]["w"].item(), sgd.averaged) == (average, w, True)
    sgd.swap_average(params)
    assert (params["w"].item(), sgd.averaged) == (w, False)
    sgd.finalize_variable_values(params)
    assert params["w"].item() == average == sgd.state["average"]["w"].item()


def test_the_average_takes_the_place_of_the_weights_now_and_then():
    sgd, params = SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2), {"w": np.zeros(1)}
    seen = []
    for _ in range(4):
        sgd.update(params, {"w": -np.ones(1)})
        seen.append(params["w"].item())
    assert seen == [1.0, 1.5, 2.5, 2.75]


def test_without_an_average_there_is_none_to_swap():
    sgd, params = SGD(), {"w": np.ones(1)}
    sgd.finalize_variable_values(params)
    assert params["w"] == 1
    with pytest.raises(ValueError, match="sgd: expected an optimizer with use_ema=True"):
        sgd.swap_average(params)


@pytest.mark.parametrize("kind", [Adam, RMSprop, Nadam, Adamax, Adagrad, Adadelta, Lion, lambda: SGD(use_ema=True)])
def test_arrays_that_do_not_lie_row_after_row_are_refused(kind):
    w = np.ones((4, 6)).T
    with pytest.raises(ValueError, match="w: expected an array that lies row after row"):
        kind().update({"w": w}, {"w": np.ones_like(w)})
    assert (w == 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamW(weight_decay=None), "adamw: weight_decay: expected a number of at least 0, got None"),
        (lambda: Adam(weight_decay=-1), "adam: weight_decay: .* got -1"),
        (lambda: SGD(clipvalue="1"), "sgd: clipvalue: .* got '1'"),
        (lambda: SGD(use_ema=2), "sgd: use_ema: expected True or False, got 2"),
        (lambda: SGD(ema_momentum=1.5), r"sgd: ema_momentum: expected a number in \[0, 1\], got 1.5"),
        (lambda: SGD(ema_overwrite_frequency=0), "sgd: ema_overwrite_frequency: expected a whole number from 1"),
        (lambda: Adam(gradient_accumulation_steps=4), "adam: gradient_accumulation_steps=4 is not supported here"),
        (lambda: Adam(loss_scale_factor=2.0), "adam: loss_scale_factor=2.0 is not supported here, only None"),
        (lambda: RMSprop(rho=1), r"rmsprop: rho: expected a number in \[0, 1\), got 1"),
        (lambda: RMSprop(centered=3), "rmsprop: centered: expected True or False, got 3"),
        (lambda: Adagrad(initial_accumulator_value=-1), "adagrad: initial_accumulator_value: .* got -1"),
        (lambda: Nadam(decay=0.1), "nadam: decay=0.1 is not supported here, only None"),
        (lambda: Nadam(lr=0.1), "nadam: the argument 'lr' is not supported here"),
        (lambda: SGD(undecayed=[f"{k}" for k in range(10_001)]), "sgd: undecayed: expected at most 10000 names"),
        (lambda: SGD(undecayed="bias"), "sgd: undecayed: expected a list of names, got 'bias'"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_every_option_is_accepted_at_its_default(name):
    defaults = {key: value for key, value in Optimizer.unless.items() if value is not None or key != "weight_decay"}
    kind = optimizers.TABLE[name]
    assert kind(**defaults).get_config() == kind().get_config()


def test_old_scripts_say_decay_0():
    assert (
        RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-08, decay=0.0).get_config()
        == RMSprop(epsilon=1e-8).get_config()
    )


@pytest.mark.parametrize("name", [name for name, kind in optimizers.TABLE.items() if kind.squares])
def test_a_file_with_squares_below_0_is_refused(tmp_path, name):
    model = small_network(optimizer=name)
    model.train_on_batch(*random_batch())
    slot = next(slot for slot in model.optimizer.slots if slot in model.optimizer.squares)
    model.optimizer.state[slot]["dense/bias"][3] = -1
    model.save(tmp_path / "m.npz")
    with pytest.raises(ModelFileError, match=f"optimizer/{slot}/dense/bias: expected means of squares, got a number"):
        models.load_model(tmp_path / "m.npz")
