"""The gates find faults: each fault here is put into the function that training runs, and its gate must fail.

The faults are those that people really make; several were found in other projects. Those in the kernels that
training runs instead of the layers: test_kernel_faults.py.
"""

import copy

import gates
import numpy as np
import pytest

import cnn.layers
import cnn.layers.convolution
import cnn.layers.pooling
import cnn.training.step
from cnn import losses, regularizers

GATES = [
    gates.layer_gate,
    gates.network_gate,
    gates.corner_gate,
    gates.independence_gate,
    gates.whole_batch_gate,
    gates.penalty_gate,
]


@pytest.mark.parametrize("gate", GATES)
def test_without_a_fault_every_gate_passes(gate):
    gate()


def loss_gradient_without_the_mean(patch):
    original = losses.SparseCategoricalCrossentropy.loss_and_gradient

    def faulty(self, y_true, y_pred, batch_size, from_logits):
        loss, gradient = original(self, y_true, y_pred, batch_size, from_logits)
        return loss, gradient * batch_size

    patch.setattr(losses.SparseCategoricalCrossentropy, "loss_and_gradient", faulty)


def each_shard_divides_by_its_own_size(patch):
    original = losses.SparseCategoricalCrossentropy.loss_and_gradient
    patch.setattr(
        losses.SparseCategoricalCrossentropy,
        "loss_and_gradient",
        lambda self, y_true, y_pred, batch_size, from_logits: original(self, y_true, y_pred, len(y_true), from_logits),
    )


def weight_grads_with(patch, change):
    original = cnn.layers.Weighted.weight_grads

    def faulty(self, x, dz):
        grads = original(self, x, dz)
        change(grads, x, dz)
        return grads

    patch.setattr(cnn.layers.Weighted, "weight_grads", faulty)


def bias_summed_over_the_wrong_axis(patch):
    weight_grads_with(patch, lambda grads, x, dz: grads.update(bias=dz.reshape(dz.shape[::-1]).sum(axis=1)))


def bias_divided_by_the_batch_once_more(patch):
    weight_grads_with(patch, lambda grads, x, dz: grads.update(bias=grads["bias"] / len(dz)))


def convolution_turned_in_dx(patch):
    original = cnn.layers.Conv2D.backward

    def faulty(self, dy, cache, need_dx=True):
        turned = copy.copy(self)
        turned.params = {**self.params, "kernel": self.params["kernel"][::-1, ::-1]}
        return original(turned, dy, cache, need_dx)[0], original(self, dy, cache, need_dx)[1]

    patch.setattr(cnn.layers.Conv2D, "backward", faulty)


def padding_cropped_on_the_wrong_side(patch):
    original = cnn.layers.convolution.col2im

    def faulty(columns, x_shape, strides, pads):
        top, bottom, left, right = pads
        return original(columns, x_shape, strides, (bottom, top, right, left))

    patch.setattr(cnn.layers.convolution, "col2im", faulty)


def rows_and_columns_exchanged_in_col2im(patch):
    original = cnn.layers.convolution.col2im
    patch.setattr(
        cnn.layers.convolution,
        "col2im",
        lambda columns, *args: original(columns.swapaxes(3, 4).reshape(columns.shape), *args),
    )


def the_last_of_equal_cells_wins(patch):
    original = cnn.layers.pooling.max_pool

    def faulty(x, size, strides, pads):
        y, winners = original(x[:, ::-1, ::-1], size, strides, pads)
        return y[:, ::-1, ::-1].copy(), size[0] * size[1] - 1 - winners[:, ::-1, ::-1]

    patch.setattr(cnn.layers.pooling, "max_pool", faulty)


def every_equal_cell_wins(patch):
    """By averaging over the window: on a black photo all cells are equal."""

    def faulty(dy, winners, x_shape, size, strides, pads):
        return np.kron(dy, np.ones((1, *size, 1)))

    patch.setattr(cnn.layers.pooling, "max_pool_backward", faulty)


def overlapping_windows_overwrite(patch):
    original = cnn.layers.pooling.max_pool_backward

    def faulty(dy, winners, *args):
        return np.sign(original(np.ones_like(dy), winners, *args)) * original(dy, winners, *args).max()

    patch.setattr(cnn.layers.pooling, "max_pool_backward", faulty)


def relu_open_at_zero(patch):
    patch.setattr(cnn.layers.ReLU, "backward", lambda self, dy, cache, need_dx=True: (dy * (cache.x >= 0), {}))


def relu_left_out_on_the_way_back(patch):
    patch.setattr(cnn.layers.ReLU, "backward", lambda self, dy, cache, need_dx=True: (dy, {}))


def dense_transposed(patch):
    original = cnn.layers.Dense.backward

    def faulty(self, dy, cache, need_dx=True):
        dx, grads = original(self, dy, cache, need_dx)
        kernel = self.params["kernel"]
        if kernel.shape[0] == kernel.shape[1]:  # elsewhere the shapes would give it away
            dx = self.activation.backward(dy, cache.activation)[0] @ kernel
        return dx, grads

    patch.setattr(cnn.layers.Dense, "backward", faulty)


def softmax_without_the_other_classes(patch):
    patch.setattr(
        cnn.layers.Softmax, "backward", lambda self, dy, cache, need_dx=True: (dy * cache.y * (1 - cache.y), {})
    )


def flatten_columns_first(patch):
    patch.setattr(
        cnn.layers.Flatten, "backward", lambda self, dy, cache, need_dx=True: (dy.reshape(cache.x_shape, order="F"), {})
    )


def dropout_forgotten_on_the_way_back(patch):
    patch.setattr(cnn.layers.Dropout, "backward", lambda self, dy, cache, need_dx=True: (dy, {}))


def a_shards_bias_left_out(patch):
    original = cnn.training.step.together

    def faulty(tasks, *sums):
        results = original(tasks, *sums)
        for result in results[1:]:
            result.grads["dense/bias"][:] = 0
        return results

    patch.setattr(cnn.training.step, "together", faulty)


def activation_left_out_of_the_convolution(patch):
    patch.setattr(cnn.layers.Conv2D, "backward", _without_activation(cnn.layers.Conv2D.backward))


def _without_activation(original):
    def faulty(self, dy, cache, need_dx=True):
        linear = copy.copy(self)
        linear.activation = cnn.layers.Linear()
        return original(linear, dy, cache, need_dx)

    return faulty


def a_layer_that_remembers_its_last_input(patch):
    forward, backward = cnn.layers.Conv2D.forward, cnn.layers.Conv2D.backward
    last = {}

    def faulty_forward(self, x, training=False, rng=None):
        y, last[self] = forward(self, x, training, rng)
        return y, last[self]

    patch.setattr(cnn.layers.Conv2D, "forward", faulty_forward)
    patch.setattr(
        cnn.layers.Conv2D, "backward", lambda self, dy, cache, need_dx=True: backward(self, dy, last[self], need_dx)
    )


def a_column_buffer_used_twice(patch):
    original, kept = cnn.layers.convolution.im2col, {}

    def faulty(x, *args):
        columns = original(x, *args)
        buffer = kept.setdefault(columns.shape, columns)
        buffer[:] = columns
        return buffer

    patch.setattr(cnn.layers.convolution, "im2col", faulty)


def normalization_with(patch, change):
    """A fault in what backward adds up over the batch: change(totals) -> the totals that it is told."""
    original = cnn.layers.BatchNormalization.backward_of_part

    def faulty(self, dy, cache):
        task = original(self, dy, cache)
        return (yield from _answered(task, change))

    patch.setattr(cnn.layers.BatchNormalization, "backward_of_part", faulty)


def _answered(task, change):
    shares = next(task, None)
    try:
        task.send(change((yield shares)))
    except StopIteration as end:
        return end.value
    raise AssertionError("it asked for more")


def moments_taken_for_constants(patch):
    """The gradient that does not go through mean and variance."""
    normalization_with(patch, lambda totals: (0 * totals[0], 0 * totals[1]))


def variance_taken_for_a_constant(patch):
    normalization_with(patch, lambda totals: (0 * totals[0], totals[1]))


def each_shard_normalizes_by_itself(patch):
    """By moments of its own photos alone."""
    original = cnn.layers.BatchNormalization.forward_of_part

    def faulty(self, x, training=False):
        y, cache = cnn.layers.whole_batch.together([original(self, x, training)])[0]
        return y, cache
        yield

    patch.setattr(cnn.layers.BatchNormalization, "forward_of_part", faulty)


def dgamma_of_what_was_not_normalized(patch):
    original = cnn.layers.BatchNormalization.backward_of_part

    def faulty(self, dy, cache):
        dx, grads = yield from original(self, dy, cache)
        x = cache.normal * cache.deviation
        return dx, grads | {"gamma": (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)}

    patch.setattr(cnn.layers.BatchNormalization, "backward_of_part", faulty)


def penalty_added_in_each_shard(patch):
    original = regularizers.L1L2.gradient
    patch.setattr(regularizers.L1L2, "gradient", lambda self, w: 2 * original(self, w))  # by two shards


def square_without_its_two(patch):
    patch.setattr(regularizers.L1L2, "gradient", lambda self, w: self.l1 * np.sign(w) + self.l2 * w)


def absolute_value_without_its_sign(patch):
    patch.setattr(regularizers.L1L2, "gradient", lambda self, w: self.l1 + 2 * self.l2 * w)


FAULTS = [
    (loss_gradient_without_the_mean, gates.network_gate),
    (each_shard_divides_by_its_own_size, gates.network_gate),
    (bias_summed_over_the_wrong_axis, gates.layer_gate),
    (bias_summed_over_the_wrong_axis, gates.network_gate),
    (bias_divided_by_the_batch_once_more, gates.layer_gate),
    (convolution_turned_in_dx, gates.layer_gate),
    (convolution_turned_in_dx, gates.network_gate),
    (padding_cropped_on_the_wrong_side, gates.layer_gate),
    (rows_and_columns_exchanged_in_col2im, gates.layer_gate),
    (the_last_of_equal_cells_wins, gates.corner_gate),
    (every_equal_cell_wins, gates.corner_gate),
    (overlapping_windows_overwrite, gates.layer_gate),
    (relu_open_at_zero, gates.corner_gate),
    (relu_left_out_on_the_way_back, gates.layer_gate),
    (dense_transposed, gates.layer_gate),
    (softmax_without_the_other_classes, gates.layer_gate),
    (flatten_columns_first, gates.layer_gate),
    (dropout_forgotten_on_the_way_back, gates.layer_gate),
    (a_shards_bias_left_out, gates.network_gate),
    (activation_left_out_of_the_convolution, gates.network_gate),
    (a_layer_that_remembers_its_last_input, gates.independence_gate),
    (a_column_buffer_used_twice, gates.independence_gate),
    (moments_taken_for_constants, gates.layer_gate),
    (variance_taken_for_a_constant, gates.layer_gate),
    (dgamma_of_what_was_not_normalized, gates.layer_gate),
    (each_shard_normalizes_by_itself, gates.whole_batch_gate),
    (penalty_added_in_each_shard, gates.penalty_gate),
    (square_without_its_two, gates.penalty_gate),
    (absolute_value_without_its_sign, gates.penalty_gate),
]


@pytest.mark.parametrize(("fault", "gate"), FAULTS, ids=[f"{fault.__name__}-{gate.__name__}" for fault, gate in FAULTS])
def test_a_fault_makes_its_gate_fail(fault, gate, monkeypatch):
    gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gate()
