"""The gates of the losses find faults: each fault here is put into the function that training runs."""

import copy

import gates
import numpy as np
import pytest

import cnn.network
from cnn import losses
from cnn.layers.closing import closing_name

GATES = [gates.loss_gate, gates.closing_gate, gates.weights_gate]


@pytest.mark.parametrize("gate", GATES)
def test_without_a_fault_every_gate_passes(gate):
    gate()


def gradient_of(kind, change):
    """A fault of a loss: its gradient is another."""

    def fault(patch):
        original = kind.formula

        def faulty(self, y_true, y_pred, from_logits=False):
            values, gradient = original(self, y_true, y_pred, from_logits)
            return values, change(self, y_true, y_pred, gradient)

        patch.setattr(kind, "formula", faulty)

    fault.__name__ = f"{kind.__name__}: {change.__name__}"
    return fault


def not_divided_by_the_classes(loss, y, p, gradient):
    return gradient * p.shape[-1]


def without_the_factor_two(loss, y, p, gradient):
    return gradient / 2


def the_other_way(loss, y, p, gradient):
    return -gradient


def as_if_labels_added_up_to_one(loss, y, p, gradient):
    """p - t, whatever the sum of t is."""
    return gradient + p * 0.01 if np.any(y.sum(axis=1) != 1) else gradient


def smoothing_forgotten(patch):
    original = losses.CategoricalCrossentropy.formula

    def faulty(self, y_true, y_pred, from_logits=False):
        sharp = copy.copy(self)
        sharp.label_smoothing = 0.0
        return original(self, y_true, y_pred, from_logits)[0], original(sharp, y_true, y_pred, from_logits)[1]

    patch.setattr(losses.CategoricalCrossentropy, "formula", faulty)


def the_sigmoid_saturates_in_silence(patch):
    """The derivative of a sigmoid once more, as if the loss were not given logits."""
    original = losses.BinaryCrossentropy.formula

    def faulty(self, y_true, y_pred, from_logits=False):
        values, gradient = original(self, y_true, y_pred, from_logits)
        p = 1 / (1 + np.exp(-y_pred))
        return values, gradient * p * (1 - p) if from_logits else gradient

    patch.setattr(losses.BinaryCrossentropy, "formula", faulty)


def closing_softmax_left_out_on_the_way_back(patch):
    original = cnn.network.Network.loss_and_gradient

    def faulty(self, y, outputs, batch_size, weights=None):
        loss = self.loss
        if self.closing is None or closing_name(self.closing) == loss.logits_of:
            return original(self, y, outputs, batch_size, weights)
        return loss.loss_and_gradient(y, self.closing.forward(outputs)[0], batch_size, False)

    patch.setattr(cnn.network.Network, "loss_and_gradient", faulty)


def weights_of_the_loss_alone(patch):
    original = losses.Loss.loss_and_gradient

    def faulty(self, y_true, y_pred, batch_size, from_logits, weights=None):
        plain = original(self, y_true, y_pred, batch_size, from_logits)
        return original(self, y_true, y_pred, batch_size, from_logits, weights)[0], plain[1]

    patch.setattr(losses.Loss, "loss_and_gradient", faulty)


def each_shard_takes_the_first_weights(patch):
    original = cnn.network.Network.loss_and_gradient
    first = {}

    def faulty(self, y, outputs, batch_size, weights=None):
        weights = None if weights is None else first.setdefault(len(weights), weights)
        return original(self, y, outputs, batch_size, weights)

    patch.setattr(cnn.network.Network, "loss_and_gradient", faulty)


FAULTS = [
    (gradient_of(losses.BinaryCrossentropy, not_divided_by_the_classes), gates.loss_gate),
    (gradient_of(losses.MeanSquaredError, without_the_factor_two), gates.loss_gate),
    (gradient_of(losses.MeanAbsoluteError, the_other_way), gates.loss_gate),
    (gradient_of(losses.MeanAbsolutePercentageError, the_other_way), gates.loss_gate),
    (gradient_of(losses.MeanSquaredLogarithmicError, without_the_factor_two), gates.loss_gate),
    (gradient_of(losses.Huber, not_divided_by_the_classes), gates.loss_gate),
    (gradient_of(losses.LogCosh, not_divided_by_the_classes), gates.loss_gate),
    (gradient_of(losses.CategoricalCrossentropy, as_if_labels_added_up_to_one), gates.loss_gate),
    (smoothing_forgotten, gates.loss_gate),
    (the_sigmoid_saturates_in_silence, gates.loss_gate),
    (closing_softmax_left_out_on_the_way_back, gates.closing_gate),
    (weights_of_the_loss_alone, gates.loss_gate),
    (weights_of_the_loss_alone, gates.weights_gate),
    (each_shard_takes_the_first_weights, gates.weights_gate),
]


@pytest.mark.parametrize(("fault", "gate"), FAULTS, ids=[f"{fault.__name__}-{gate.__name__}" for fault, gate in FAULTS])
def test_a_fault_makes_its_gate_fail(fault, gate, monkeypatch):
    gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gate()
