"""Faults in the kernels of batch normalization and of gradients without zeros, as those of test_kernel_faults.py."""

import gates
import pytest
from test_kernel_faults import changed

from kernels import normalization, relu_pool
from kernels.simd import winograd_gradient
from kernels.simd.vectors import LANES


def winograd_gradient_forgets_a_vector(patch):
    def after(sums, *_):
        sums[..., -LANES:] = 0

    changed(patch, winograd_gradient, "kernel_gradient", after=after)


def winograd_gradient_takes_the_closed_too(patch):
    before = lambda sums, shards, dy, winners, *rest: (sums, shards, dy, 0 * winners, *rest)
    changed(patch, winograd_gradient, "kernel_gradient", before=before)


def winograd_gradient_exchanges_two_cells(patch):
    before = lambda *args: (*args[:6], args[6][:, [0, 2, 1, 3]].copy(), *args[7:])
    changed(patch, winograd_gradient, "kernel_gradient", before=before)


def winograd_gradient_stops_after_the_first_patches(patch):
    before = lambda *args: (*args[:5], args[5][: winograd_gradient.PATCHES], *args[6:])
    changed(patch, winograd_gradient, "kernel_gradient", before=before)


def moments_forget_the_first_photo(patch):
    def after(means, squares, x):
        means[0], squares[0] = means[-1], squares[-1]

    changed(patch, normalization, "moments", after=after)


def moments_forget_that_photos_differ(patch):
    """As if each photo were normalized by itself, and the batch's variance the mean of theirs."""

    def after(means, squares, x):
        means[:] = means.mean(axis=0)

    changed(patch, normalization, "moments", after=after)


def normalization_forgets_the_mean(patch):
    before = lambda y, winners, x, mean, *rest: (y, winners, x, 0 * mean, *rest)
    changed(patch, normalization, "normalize", before=before)


def normalization_takes_the_next_winner(patch):
    def after(y, winners, *_):
        winners[winners == 2] = 3

    changed(patch, normalization, "normalize", after=after)


def normalization_counts_the_closed(patch):
    before = lambda dgammas, dbetas, dy, winners, *rest: (dgammas, dbetas, dy, winners % relu_pool.CLOSED, *rest)
    changed(patch, normalization, "gradient_sums", before=before)


def normalization_takes_its_sums_for_constants(patch):
    """dx without what mean and deviation undo of it."""
    before = lambda dx, dy, winners, x, mean, of_dy, of_x, constant, side: (
        *(dx, dy, winners, x, mean, of_dy, 0 * of_x),
        *(0 * constant, side),
    )
    changed(patch, normalization, "input_gradient", before=before)


def normalization_stops_at_the_last_pooled_row(patch):
    def after(dx, *_):
        dx[:, -1] = 0

    changed(patch, normalization, "input_gradient", after=after)


UNPOOLED = [
    *(winograd_gradient_forgets_a_vector, winograd_gradient_takes_the_closed_too),
    *(winograd_gradient_exchanges_two_cells, winograd_gradient_stops_after_the_first_patches),
]
NORMALIZATION = [
    *(moments_forget_the_first_photo, moments_forget_that_photos_differ, normalization_forgets_the_mean),
    *(normalization_takes_the_next_winner, normalization_counts_the_closed),
    *(normalization_takes_its_sums_for_constants, normalization_stops_at_the_last_pooled_row),
]
FAULTS = [
    *((fault, gates.unpooled_gate) for fault in UNPOOLED),
    *((fault, gates.normalization_gate) for fault in NORMALIZATION),
]


@pytest.mark.parametrize(("fault", "gate"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_fault_makes_its_gate_fail(fault, gate, monkeypatch):
    gate()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gate()
