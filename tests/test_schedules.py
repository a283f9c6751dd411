"""Learning rates that follow the steps, and the learning rate as a float with Keras' words."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
from conftest import random_batch, small_network

from cnn import models, optimizers
from cnn.optimizers import SGD, Adam
from cnn.optimizers.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

SCHEDULES = {
    "exponential": (ExponentialDecay(0.1, 7, 0.5), lambda s: 0.1 * 0.5 ** (s / 7)),
    "exponential stairs": (ExponentialDecay(0.1, 7, 0.5, staircase=True), lambda s: 0.1 * 0.5 ** (s // 7)),
    "inverse": (InverseTimeDecay(0.1, 7, 0.5), lambda s: 0.1 / (1 + 0.5 * s / 7)),
    "inverse stairs": (InverseTimeDecay(0.1, 7, 0.5, True), lambda s: 0.1 / (1 + 0.5 * (s // 7))),
    "piecewise": (
        PiecewiseConstantDecay([5, 10], [0.3, 0.2, 0.1]),
        lambda s: 0.3 if s <= 5 else 0.2 if s <= 10 else 0.1,
    ),
    "polynomial": (PolynomialDecay(0.1, 10, 0.01, power=2), lambda s: 0.09 * (1 - min(s, 10) / 10) ** 2 + 0.01),
    "polynomial cycle": (
        PolynomialDecay(0.1, 10, 0.01, cycle=True),
        lambda s: 0.09 * (1 - s / (10 * max(1, math.ceil(s / 10)))) + 0.01,
    ),
    "cosine": (
        CosineDecay(0.1, 10, alpha=0.2),
        lambda s: 0.1 * (0.8 * (1 + math.cos(math.pi * min(s, 10) / 10)) / 2 + 0.2),
    ),
    "cosine with warm-up": (
        CosineDecay(0.1, 10, warmup_target=0.5, warmup_steps=4),
        lambda s: 0.1 + 0.1 * s if s < 4 else 0.5 * (1 + math.cos(math.pi * min(s - 4, 10) / 10)) / 2,
    ),
    "restarts of one length": (
        CosineDecayRestarts(0.1, 4, t_mul=1, m_mul=0.5),
        lambda s: 0.1 * 0.5 ** (s // 4) * (1 + math.cos(math.pi * (s % 4) / 4)) / 2,
    ),
}


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES.values(), ids=SCHEDULES)
def test_each_follows_its_formula(schedule, formula):
    expected = [formula(step) for step in range(60)]
    np.testing.assert_allclose([schedule(step) for step in range(60)], expected, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(schedule(np.arange(60)), expected, rtol=1e-12, atol=1e-17)
    assert type(schedule(np.int64(3))) is float


@pytest.mark.parametrize("t_mul", [2, 3, 10])
def test_each_wave_is_longer_and_begins_at_the_top(t_mul):
    schedule, begins = CosineDecayRestarts(0.1, 5, t_mul=t_mul, m_mul=0.5, alpha=0.25), 0
    for wave in range(4):
        assert schedule(begins) == pytest.approx(0.1 * (0.75 * 0.5**wave + 0.25))
        length = 5 * t_mul**wave
        middle = 0.1 * (0.75 * 0.5**wave * (1 + math.cos(math.pi * (length // 2) / length)) / 2 + 0.25)
        assert schedule(begins + length // 2) == pytest.approx(middle)
        begins += length


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in SCHEDULES.values()], ids=SCHEDULES)
def test_the_configuration_makes_the_same_schedule_again(schedule):
    config = json.loads(json.dumps(schedule.get_config()))
    again = type(schedule).from_config(config)
    assert again.get_config() == config
    assert [again(step) for step in range(30)] == [schedule(step) for step in range(30)]
    optimizer = Adam(schedule)
    assert Adam(**json.loads(json.dumps(optimizer.get_config()))).get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExponentialDecay(0.1, 0, 0.5), "ExponentialDecay: decay_steps: expected a number above 0, got 0"),
        (lambda: ExponentialDecay(-0.1, 5, 0.5), "ExponentialDecay: initial_learning_rate: .* got -0.1"),
        (lambda: PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "expected one value more than boundaries, got 2 values"),
        (lambda: PiecewiseConstantDecay([2, 1], [0.1] * 3), "boundaries: expected numbers that rise"),
        (lambda: PiecewiseConstantDecay(3, [0.1] * 3), "boundaries: expected a list of numbers, got 3"),
        (lambda: CosineDecayRestarts(0.1, 5, t_mul=0.5), "CosineDecayRestarts: t_mul: .* got 0.5"),
        (lambda: Adam(CosineDecay), "adam: learning_rate: expected a number or a schedule, got the class"),
        (lambda: Adam({"class_name": "Own", "config": {}}), "adam: learning_rate: expected a number or one of Expo"),
        (lambda: Adam("fast"), "adam: learning_rate: expected a number of at least 0, got 'fast'"),
        (lambda: SGD(lambda: -1).learning_rate, "sgd: learning_rate: .* got -1"),
        (lambda: SGD(ExponentialDecay(1, 1, 1e30)).learning_rate, None),
    ],
)
def test_bad_arguments_are_named(make, message):
    if message is None:
        make()
        return
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_that_grows_over_all_bounds_is_noticed():
    optimizer = SGD(ExponentialDecay(1.0, 1, 1e30))
    optimizer.iterations = 100
    with pytest.raises(ValueError, match="sgd: learning_rate: .* got inf"):
        optimizer.update({"w": np.ones(1)}, {"w": np.ones(1)})


# In an optimizer


def test_the_first_step_is_step_0():
    rates = [0.5, 0.25, 0.125]
    sgd, params, places = SGD(PiecewiseConstantDecay([0, 1], rates)), {"w": np.zeros(1)}, []
    for rate in rates:
        assert sgd.learning_rate == rate
        sgd.update(params, {"w": -np.ones(1)})
        places.append(params["w"].item())
    assert places == [0.5, 0.75, 0.875]


def test_a_function_is_asked_at_each_step():
    rates = iter([0.5, 0.25])
    sgd, params = SGD(lambda: next(rates)), {"w": np.zeros(1), "v": np.zeros(1)}
    for _ in range(2):
        sgd.update(params, {"w": -np.ones(1), "v": -np.ones(1)})
    assert params["w"] == params["v"] == 0.75


def test_weight_decay_follows_the_schedule():
    class Once(LearningRateSchedule):
        def __call__(self, step):
            return 0.1 if step == 0 else 0.0

    sgd, params = SGD(Once(), weight_decay=0.5), {"w": np.ones(1)}
    for _ in range(2):
        sgd.update(params, {"w": np.zeros(1)})
    assert params["w"] == 0.95


def test_a_scheduled_rate_cannot_be_set_but_by_another_schedule():
    adam = Adam(ExponentialDecay(0.1, 10, 0.5))
    for change in (lambda: setattr(adam, "learning_rate", 0.1), lambda: adam.learning_rate.assign(0.1)):
        with pytest.raises(
            TypeError, match=r"adam: learning_rate: expected a schedule, got 0.1: it follows Exponential"
        ):
            change()
    adam.learning_rate = CosineDecay(0.5, 10)
    assert adam.learning_rate == 0.5


# The float


def test_the_learning_rate_is_a_float_with_words():
    adam = Adam(0.5)
    assert adam.learning_rate == 0.5 and isinstance(adam.learning_rate, float)
    adam.learning_rate.assign(0.25)
    assert adam.learning_rate == 0.25
    adam.learning_rate.assign(adam.learning_rate * 0.5)
    assert (f"{adam.learning_rate:g}", repr(adam.learning_rate)) == ("0.125", "0.125")
    assert type(adam.learning_rate.numpy()) is np.float32 and float(adam.learning_rate.numpy()) == 0.125
    assert json.dumps({"learning_rate": adam.learning_rate}) == '{"learning_rate": 0.125}'
    for copied in (copy.deepcopy(adam.learning_rate), pickle.loads(pickle.dumps(adam.learning_rate))):
        assert type(copied) is float and copied == 0.125
    with pytest.raises(ValueError, match="adam: learning_rate: .* got -1"):
        adam.learning_rate.assign(-1)


def test_with_arrays_it_is_a_plain_float():
    """Otherwise NumPy would take it for a float64 and compute twice as long."""
    rate, g = SGD(0.1).learning_rate, np.ones(3, np.float32)
    assert {(rate * g).dtype, (g * rate).dtype, (g / rate).dtype, np.multiply(rate, g).dtype} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(rate * g, 0.1 * g)
    assert np.log10(rate) == pytest.approx(-1)


# Kept in files


@pytest.mark.parametrize("name", optimizers.TABLE)
def test_a_saved_model_trains_on_to_the_same_bits(tmp_path, name):
    x, y = random_batch(12)

    def compiled():
        options = {"weight_decay": 0.01, "global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.5}
        optimizer = optimizers.TABLE[name](CosineDecay(0.01, 20, warmup_target=0.1, warmup_steps=3), **options)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return small_network(optimizer=optimizer)

    model = compiled()
    for _ in range(4):
        model.train_on_batch(x, y)
    model.save(tmp_path / "m.npz")
    loaded = models.load_model(tmp_path / "m.npz")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for network in (model, loaded):
        for _ in range(4):
            network.train_on_batch(x, y)
    assert loaded.optimizer.learning_rate == model.optimizer.learning_rate
    for ours, theirs in ((model.params, loaded.params), (model.optimizer.state, loaded.optimizer.state)):
        assert repr(ours) == repr(theirs)
    for key, value in model.params.items():
        assert value.tobytes() == loaded.params[key].tobytes()


def test_what_no_file_can_describe_is_named(tmp_path):
    class Own(LearningRateSchedule):
        def __call__(self, step):
            return 0.1

    for rate in (Own(), lambda: 0.1):
        model = small_network(optimizer=Adam(rate))
        with pytest.raises(ValueError, match=r"save: adam: learning_rate: .* got .*, which no file can describe"):
            model.save(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "described",
    [
        {"class_name": "CosineDecay"},
        {"class_name": "Layer", "config": {}},
        {"class_name": 3, "config": {}},
        {"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 0, "decay_rate": 1}},
        [0.1],
        None,
    ],
)
def test_hostile_documents_are_refused(described):
    with pytest.raises(ValueError, match="learning_rate|ExponentialDecay"):
        Adam(learning_rate=described)


def test_one_made_from_ours_with_a_constructor_of_its_own():
    class Slow(ExponentialDecay):
        def __init__(self, alpha):
            super().__init__(alpha, decay_steps=10, decay_rate=0.5)

    assert Slow(0.5)(20) == 0.125 and Slow(0.5).decay_steps == 10
