"""All optimizers and callbacks go on to the same bits: see test_resume.py, whose run this is."""

import pytest
from test_resume import interrupted, new_model, uninterrupted

from cnn import optimizers
from cnn.optimizers.schedules import CosineDecay


def decayed(rate):
    """Adam with all that it can have besides: what it remembers, and what decides its next step."""
    options = {"weight_decay": 0.01, "clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.8}
    optimizer = optimizers.Adam(rate, amsgrad=True, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS = {
    "adamw": lambda: optimizers.AdamW(0.01),
    "decayed": lambda: decayed(0.01),
    "scheduled": lambda: decayed(CosineDecay(0.001, 9, warmup_target=0.02, warmup_steps=5)),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True, ema_overwrite_frequency=3, use_ema=True),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adamax": lambda: optimizers.Adamax(0.01),
    "adadelta": lambda: optimizers.Adadelta(0.5),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_each_optimizer(tmp_path, optimizer):
    def make():
        return new_model(optimizer())

    assert interrupted(tmp_path, [3, 6], make) == uninterrupted(make)
