"""The gates of the fast twin find faults in every kernel that trains: each is put into the function that training runs.

The network of the gate fills the vector registers, so that its steps reach each kernel, which is tested too.
"""

import gates
import numpy as np
import pytest
from numba import njit

from cnn.training import twin_layers
from kernels import adam, elementwise, relu_pool
from kernels.simd import backward, conv_pool, dense, pooling, winograd
from kernels.simd.vectors import LANES, vector_code

GATES = [
    gates.fast_gate,
    gates.vector_gate,
    gates.unpooled_gate,
    gates.pooling_gate,
    gates.normalization_gate,
    gates.step_gate,
]


@pytest.mark.parametrize("gate", [gates.fast_gate, gates.vector_gate, gates.pooling_gate, gates.step_gate])
def test_without_a_fault_every_gate_passes(gate):
    gate()


def changed(patch, module, name, before=None, after=None):
    """The kernel with its arguments (outputs first) changed before it runs, or its outputs afterwards."""
    original = getattr(module, name)

    def faulty(*args):
        args = before(*args) if before else args
        original(*args)
        if after:
            after(*args)

    patch.setattr(module, name, faulty)


def compiled_with(patch, module, *names, **constants):
    """Kernels, each of which calls the one before, compiled anew with other constants or helpers in the module."""
    for key, value in constants.items():
        patch.setattr(module, key, value)
    for name in names:
        patch.setattr(module, name, njit(getattr(module, name).py_func))


def closed(y, winners, *place):
    """As if these outputs were never written."""
    y[place], winners[place] = 0, relu_pool.CLOSED


def registers_lose_a_lane(patch):
    changed(patch, conv_pool, "conv_relu_pool", after=lambda y, winners, *_: closed(y, winners, ..., LANES - 1))


def registers_overlap_two_tiles(patch):
    """The last tile begins where the others end, and so one cell too late."""

    def after(y, winners, *_):
        y[:, -1], winners[:, -1] = y[:, -2], winners[:, -2]

    changed(patch, conv_pool, "conv_relu_pool", after=after)


def registers_shift_a_tap(patch):
    before = lambda y, winners, x, kernel, *rest: (y, winners, x, np.roll(kernel, 1, axis=1), *rest)
    changed(patch, conv_pool, "conv_relu_pool", before=before)


def registers_exchange_two_corners(patch):
    """The largest is right, only whose it was is not."""

    def before(y, winners, x, kernel, bias, floor, starts, *rest):
        return y, winners, x, kernel, bias, floor, starts[:, [0, 1, 3, 2, 4]].copy(), *rest

    changed(patch, conv_pool, "conv_relu_pool", before=before)


def registers_exchange_two_cells(patch):
    def before(y, winners, x, kernel, bias, floor, starts, *rest):
        return y, winners, x, kernel, bias, floor, np.roll(starts, 1, axis=0), *rest

    changed(patch, conv_pool, "conv_relu_pool", before=before)


def winograd_adds_where_it_should_subtract(patch):
    right = winograd.b
    compiled_with(patch, winograd, "_conv_photo", "conv_relu_pool", b=lambda *d: [*right(*d)[:-1], d[-1] + d[-3]])


def winograd_drops_the_border_column(patch):
    def before(y, winners, x_padded, *rest):
        x_padded = x_padded.copy()
        x_padded[:, :, -2] = 0
        return y, winners, x_padded, *rest

    changed(patch, winograd, "conv_relu_pool", before=before)


def winograd_forgets_its_second_vector(patch):
    after = lambda y, winners, *_: closed(y, winners, ..., slice(winograd.FILTERS - LANES, winograd.FILTERS))
    changed(patch, winograd, "conv_relu_pool", after=after)


def kernel_gradient_loses_a_vector(patch):
    def after(dkernel, *_):
        dkernel[..., -LANES:] = 0

    changed(patch, backward, "kernel_gradient", after=after)


def kernel_gradient_forgets_the_second_band(patch):
    def before(dkernels, shards, dy, *rest):
        dy = dy.copy()
        dy[:, backward.BAND // 2 :] = 0
        return dkernels, shards, dy, *rest

    changed(patch, backward, "kernel_gradient", before=before)


def kernel_gradient_takes_the_next_winner(patch):
    before = lambda dkernels, shards, dy, winners, *rest: (
        *(dkernels, shards, dy, np.where(winners < 3, winners + 1, winners)),
        *rest,
    )
    changed(patch, backward, "kernel_gradient", before=before)


def kernel_gradient_forgets_the_last_photo(patch):
    def before(dkernels, shards, dy, *rest):
        dy = dy.copy()
        dy[-1] = 0
        return dkernels, shards, dy, *rest

    changed(patch, backward, "kernel_gradient", before=before)


def input_gradient_overwrites_what_overlaps(patch):
    """The sums of a block begin at 0 instead of with what its neighbours left."""

    @vector_code
    def add_kernels(vec, dx, kernel, rows, sums, filters, values, begin, end, block, place):
        for row in rows:
            for v in range(len(sums)):
                dx.put((place + row + v * LANES,), vec.all(0))
        original(vec, dx, kernel, rows, sums, filters, values, begin, end, block, place)

    original = backward._add_kernels.__wrapped__
    compiled_with(patch, backward, "_input_gradient_of_photo", "input_gradient", _add_kernels=add_kernels)


def input_gradient_turns_the_kernel(patch):
    before = lambda dx, dy, winners, kernel, *rest: (dx, dy, winners, np.ascontiguousarray(kernel[..., ::-1]), *rest)
    changed(patch, backward, "input_gradient", before=before)


def input_gradient_forgets_the_second_list(patch):
    before = lambda dx, dy, winners, *rest: (dx, dy, np.where(winners == 1, relu_pool.CLOSED, winners), *rest)
    changed(patch, backward, "input_gradient", before=before)


def dense_gradient_loses_a_lane(patch):
    def after(dkernel, *_):
        dkernel[..., LANES - 1] = 0

    changed(patch, backward, "dense_kernel_gradient", after=after)


def dense_gradient_shifts_the_taps(patch):
    def after(dkernel, *_):
        dkernel[:] = np.roll(dkernel, 1, axis=2)

    changed(patch, backward, "dense_kernel_gradient", after=after)


def dense_gradient_takes_the_closed_too(patch):
    before = lambda dkernels, shards, dy, winners, *rest: (dkernels, shards, dy, winners % relu_pool.CLOSED, *rest)
    changed(patch, backward, "dense_kernel_gradient", before=before)


def unpool_drops_the_border_column(patch):
    def after(dz, *_):
        dz[:, :, -2] = 0  # the last is beyond the border

    changed(patch, relu_pool, "unpool", after=after)


def unpool_opens_what_was_closed(patch):
    before = lambda dz, dy, winners, *rest: (dz, dy, winners % relu_pool.CLOSED, *rest)
    changed(patch, relu_pool, "unpool", before=before)


def adam_takes_beta_2_for_beta_1(patch):
    before = lambda w, g, m, v, alpha, rate_1, rate_2, *rest: (w, g, m, v, alpha, rate_2, rate_1, *rest)
    changed(patch, adam, "adam_into", before=before)


def adam_forgets_its_moments(patch):
    def after(w, g, m, v, *_):
        m[:], v[:] = 0, 0

    changed(patch, adam, "adam_into", after=after)


def adam_forgets_the_last_numbers(patch):
    before = lambda w, *rest: (w[: len(w) - len(w) // 3], *rest)
    changed(patch, adam, "adam_into", before=before)


def products_lose_half_their_lanes(patch):
    def after(out, *_):
        out[..., 1:LANES:2] = 0

    changed(patch, dense, "multiply", after=after)


def products_forget_the_last_block(patch):
    """Of the blocks of photos or numbers that are added."""
    before = lambda out, left, right, transposed, panels, blocks: (
        *(out, left, right, transposed, panels),
        blocks[:-1] if len(blocks) > 2 else blocks,
    )
    changed(patch, dense, "multiply", before=before)


def products_read_the_left_matrix_shifted(patch):
    before = lambda out, left, *rest: (out, np.roll(left, 1, axis=0), *rest)
    changed(patch, dense, "multiply", before=before)


def join_forgets_the_last_shard(patch):
    changed(patch, backward, "_join", before=lambda dkernel, dkernels, *rest: (dkernel, dkernels[:1], *rest))


def cut_shifts_the_taps(patch):
    def after(blocks, *_):
        blocks[:] = np.roll(blocks, 1, axis=-1)

    changed(patch, backward, "_cut", after=after)


def transform_forgets_to_halve(patch):
    def after(transformed, *_):
        transformed[4:12] *= 2

    changed(patch, winograd, "transform_kernel", after=after)


def transpose_forgets_its_last_row(patch):
    def after(out, a):
        out[-1] = 0

    changed(patch, dense, "transpose", after=after)


def bias_of_dense_takes_one_shard_alone(patch):
    def after(totals, *_):
        totals[1:] = 0

    changed(patch, elementwise, "sums_of_rows", after=after)


def relu_passes_what_is_below_zero(patch):
    changed(patch, elementwise, "add_to_rows", before=lambda z, bias, floor: (z, bias, np.float32(-np.inf)))


def relu_lets_every_gradient_back(patch):
    changed(patch, elementwise, "relu_backward", before=lambda dx, dy, y: (dx, dy, np.ones_like(y)))


def padding_drops_the_last_column(patch):
    changed(patch, elementwise, "pad", before=lambda x_padded, x, top, left: (x_padded, x[:, :, :-1].copy(), top, left))


def pooling_takes_the_next_winner(patch):
    def after(y, winners, *_):
        winners[winners == 3] = 4

    changed(patch, twin_layers, "max_pool_into", after=after)


def pooling_overwrites_what_overlaps(patch):
    """Of two windows that the same cell won, only one reaches it."""

    def after(dx, dy, *_):
        dx[:] = np.where(np.isin(dx, dy), dx, dx / 2)

    changed(patch, twin_layers, "max_pool_backward_into", after=after)


def pooling_in_registers_takes_the_next_winner(patch):
    def after(y, winners, *_):
        winners[winners == 3] = 4

    changed(patch, pooling, "max_pool", after=after)


def pooling_in_registers_overwrites_what_overlaps(patch):
    def after(dx, dy, *_):
        dx[:] = np.where(np.isin(dx, dy), dx, dx / 2)

    changed(patch, pooling, "max_pool_backward", after=after)


POOLING_KERNELS = [
    *((twin_layers, "max_pool_into"), (twin_layers, "max_pool_backward_into")),
    *((pooling, "max_pool"), (pooling, "max_pool_backward")),
]


@pytest.mark.parametrize(("module", "name"), POOLING_KERNELS)
def test_the_pooling_gate_reaches_each_kernel(module, name, monkeypatch):
    calls = []
    changed(monkeypatch, module, name, after=lambda *args: calls.append(name))
    gates.pooling_gate()
    assert calls


KERNELS = [  # that training runs
    *((conv_pool, "conv_relu_pool"), (winograd, "conv_relu_pool"), (adam, "adam_into")),
    *((backward, name) for name in ("kernel_gradient", "input_gradient", "dense_kernel_gradient", "bias_gradient")),
    *((backward, "_join"), (backward, "_cut"), (winograd, "transform_kernel"), (relu_pool, "unpool")),
    *((dense, name) for name in ("multiply", "transpose")),
    *((elementwise, name) for name in ("pad", "relu_backward", "add_to_rows", "sums_of_rows")),
]


@pytest.mark.parametrize(("module", "name"), KERNELS, ids=[f"{module.__name__}.{name}" for module, name in KERNELS])
def test_the_step_gate_reaches_each_kernel(module, name, monkeypatch):
    calls = []
    changed(monkeypatch, module, name, after=lambda *args: calls.append(name))
    gates.step_gate()
    assert calls


# ---- the faults that a network of few filters shows as well


def bias_counts_closed_windows(patch):
    def faulty(dbiases, shards, dy, winners):
        dbiases[:] = np.add.reduceat(dy, shards[:-1]).sum(axis=1)

    patch.setattr(backward, "bias_gradient", faulty)


def pooling_takes_another_winner(patch):
    def after(y, winners, *_):
        winners[winners == 1] = 2

    changed(patch, conv_pool, "conv_relu_pool", after=after)


VECTOR_FAULTS = [
    *(registers_lose_a_lane, registers_overlap_two_tiles, registers_shift_a_tap, registers_exchange_two_corners),
    *(registers_exchange_two_cells, winograd_adds_where_it_should_subtract, winograd_drops_the_border_column),
    *(winograd_forgets_its_second_vector, kernel_gradient_loses_a_vector, kernel_gradient_forgets_the_second_band),
    *(kernel_gradient_takes_the_next_winner, kernel_gradient_forgets_the_last_photo),
    *(input_gradient_overwrites_what_overlaps, input_gradient_turns_the_kernel, input_gradient_forgets_the_second_list),
    *(dense_gradient_loses_a_lane, dense_gradient_shifts_the_taps, dense_gradient_takes_the_closed_too),
    *(unpool_drops_the_border_column, unpool_opens_what_was_closed),
    *(bias_counts_closed_windows, pooling_takes_another_winner),
    *(products_lose_half_their_lanes, products_forget_the_last_block, products_read_the_left_matrix_shifted),
    *(transpose_forgets_its_last_row, bias_of_dense_takes_one_shard_alone, relu_passes_what_is_below_zero),
    *(relu_lets_every_gradient_back, padding_drops_the_last_column),
    *(join_forgets_the_last_shard, cut_shifts_the_taps, transform_forgets_to_halve),
]
FAULTS = [
    (bias_counts_closed_windows, gates.fast_gate),
    (pooling_takes_another_winner, gates.fast_gate),
    *((fault, gates.vector_gate) for fault in VECTOR_FAULTS),
    (adam_takes_beta_2_for_beta_1, gates.step_gate),
    (adam_forgets_its_moments, gates.step_gate),
    (adam_forgets_the_last_numbers, gates.step_gate),
    (pooling_takes_the_next_winner, gates.pooling_gate),
    (pooling_overwrites_what_overlaps, gates.pooling_gate),
    (pooling_in_registers_takes_the_next_winner, gates.pooling_gate),
    (pooling_in_registers_overwrites_what_overlaps, gates.pooling_gate),
]


@pytest.mark.parametrize(("fault", "gate"), FAULTS, ids=[f"{fault.__name__}-{gate.__name__}" for fault, gate in FAULTS])
def test_a_fault_makes_its_gate_fail(fault, gate, monkeypatch):
    gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gate()
