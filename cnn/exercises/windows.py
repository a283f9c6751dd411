"""Exercises with sliding windows, forward: a convolution's cell, and 'same' padding."""

from types import SimpleNamespace

import numpy as np

from cnn.exercises.record import Array, Exercise, Shown, Task
from kernels.geometry import window_geometry

TURNS = {  # of a kernel, and what people do to it
    "of a kernel turned by 180 degrees": lambda k: k[::-1, ::-1],
    "of a kernel with its rows flipped": lambda k: k[::-1],
    "of a kernel with its columns flipped": lambda k: k[:, ::-1],
    "of a kernel whose rows and columns are exchanged": lambda k: k.swapaxes(0, 1),
    "of a kernel whose channels are taken from the last to the first": lambda k: k[:, :, ::-1],
}


def _turned(turn):
    """The change of the argument `kernel`, where its shape stays."""
    return lambda a: {"kernel": turn(a.kernel)} if turn(a.kernel).shape == a.kernel.shape else None


KERNEL = {words: _turned(turn) for words, turn in TURNS.items()}
COUNT = ("kh", "kw")


# ---- a convolution's cell


def _cell_cases(rng):
    draw = rng.standard_normal
    return {
        "one channel": {"x": draw((4, 5, 1)), "kernel": draw((2, 3, 1)), "bias": 0.5, "i": 0, "j": 0},
        "another place": {"x": draw((6, 7, 1)), "kernel": draw((3, 3, 1)), "bias": 0.3, "i": 1, "j": 3},
        "two channels": {"x": draw((5, 6, 2)), "kernel": draw((3, 3, 2)), "bias": -0.7, "i": 2, "j": 1},
        "the last place": {"x": draw((5, 4, 3)), "kernel": draw((3, 2, 3)), "bias": 0.2, "i": 2, "j": 2},
        "one pixel": {"x": draw((1, 1, 1)), "kernel": draw((1, 1, 1)), "bias": 0.4, "i": 0, "j": 0},
        "a black photo": {"x": np.zeros((4, 4, 2)), "kernel": draw((3, 3, 2)), "bias": -0.6, "i": 1, "j": 0},
    }


def window_of(a: SimpleNamespace, down: int = 0, right: int = 0) -> Array:
    """The cells under the kernel; where it hangs over an edge Python counts from the other one."""
    kh, kw, _ = a.kernel.shape
    height, width, _ = a.x.shape
    return a.x[np.ix_((np.arange(kh) + a.i + down) % height, (np.arange(kw) + a.j + right) % width)]


def _cell_terms(a, result, index) -> Shown:
    places = np.ndindex(a.kernel.shape)
    return [*((("x", (a.i + u, a.j + v, c)), ("kernel", (u, v, c))) for u, v, c in places), (("bias", ()),)]


CELL = {
    **KERNEL,
    "without the bias": lambda a: {"bias": 0.0},
    "with the bias added to every product": lambda a: {"bias": a.bias * a.kernel.size},
    "with the bias taken off": lambda a: {"bias": -a.bias},
    "with i and j exchanged": lambda a: (window_of(a, a.j - a.i, a.i - a.j) * a.kernel).sum() + a.bias,
    "of the window above and left of every photo: i and j are not used": lambda a: {"i": 0, "j": 0},
    "of a window whose middle lies at i, j": lambda a: (
        (window_of(a, -(a.kernel.shape[0] // 2), -(a.kernel.shape[1] // 2)) * a.kernel).sum() + a.bias
    ),
    "of a window that begins one row and one column too late": lambda a: (window_of(a, 1, 1) * a.kernel).sum() + a.bias,
    "of the mean of the products, where their sum is meant": lambda a: (window_of(a) * a.kernel).mean() + a.bias,
    "of the sum of the window times the sum of the kernel": lambda a: window_of(a).sum() * a.kernel.sum() + a.bias,
    "of the window plus the kernel, where each pair is multiplied": lambda a: (window_of(a) + a.kernel).sum() + a.bias,
    "of the first channel alone": lambda a: (window_of(a) * a.kernel)[:, :, 0].sum() + a.bias,
    "of the last channel alone": lambda a: (window_of(a) * a.kernel)[:, :, -1].sum() + a.bias,
    "of the last product alone: `=` for `+=`": lambda a: (window_of(a) * a.kernel)[-1, -1, -1] + a.bias,
    "of the first product alone": lambda a: (window_of(a) * a.kernel)[0, 0, 0] + a.bias,
    "with u and v exchanged in x: x[i + v, j + u, c]": lambda a: (
        (a.x[a.i : a.i + a.kernel.shape[1], a.j : a.j + a.kernel.shape[0]].swapaxes(0, 1) * a.kernel).sum() + a.bias
    ),
    "of a window without its last channel": lambda a: (window_of(a) * a.kernel)[:, :, :-1].sum() + a.bias,
    "of the last row of the window alone: the sum begins anew for each row": lambda a: (
        (window_of(a) * a.kernel)[-1].sum() + a.bias
    ),
    "of the last cell of the window alone: the sum begins anew for each cell": lambda a: (
        (window_of(a) * a.kernel)[-1, -1].sum() + a.bias
    ),
    "of the first column of the window alone": lambda a: (window_of(a) * a.kernel)[:, 0].sum() + a.bias,
    "of the first cell of the window alone": lambda a: (window_of(a) * a.kernel)[0, 0].sum() + a.bias,
    "of the squared differences of window and kernel": lambda a: ((window_of(a) - a.kernel) ** 2).sum() + a.bias,
    "of the largest product, where their sum is meant": lambda a: (window_of(a) * a.kernel).max() + a.bias,
    "of a window whose channels are added up first": lambda a: (
        (window_of(a).sum(axis=2, keepdims=True) * a.kernel).sum() + a.bias
    ),
    "of the first row of the window alone": lambda a: (window_of(a) * a.kernel)[0].sum() + a.bias,
    "of a window without its last row": lambda a: (window_of(a) * a.kernel)[:-1].sum() + a.bias,
    "of a window without its last column": lambda a: (window_of(a) * a.kernel)[:, :-1].sum() + a.bias,
    "of a window without its last row and column": lambda a: (window_of(a) * a.kernel)[:-1, :-1].sum() + a.bias,
    "after a ReLU, which comes later": lambda a: max((window_of(a) * a.kernel).sum() + a.bias, 0.0),
    "times the bias, which is added": lambda a: (window_of(a) * a.kernel).sum() * a.bias,
}

# ---- 'same' padding


def _padding_cases(rng):
    def case(shape, kh, kw, stride):
        return {"x": rng.standard_normal(shape), "kh": kh, "kw": kw, "stride": stride}

    return {
        "a window of 3 x 3": case((2, 4, 5, 1), 3, 3, 1),
        "a window of 3 x 5": case((2, 4, 6, 2), 3, 5, 1),
        "a window of 2 x 4, whose zeros are odd in number": case((1, 5, 6, 2), 2, 4, 1),
        "stride 2": case((2, 6, 8, 1), 3, 5, 2),
        "stride 2, odd sizes": case((1, 7, 5, 3), 3, 4, 2),
        "a stride larger than the window": case((1, 7, 8, 1), 2, 1, 3),
        "one pixel": case((1, 1, 1, 1), 3, 2, 1),
        "a window of one cell": case((2, 3, 4, 1), 1, 1, 1),
    }


def _bordered(a: SimpleNamespace, rows: tuple[int, int], columns: tuple[int, int], **how) -> Array | None:
    """x with so many rows above and below, and columns left and right; None where they are less than none."""
    return np.pad(a.x, ((0, 0), rows, columns, (0, 0)), **how) if min(rows + columns) >= 0 else None


def _halves(a: SimpleNamespace, split) -> list[tuple[int, int]]:
    """How the zeros of rows and columns are split in two."""
    geometry = (window_geometry(a.x.shape[k], size, a.stride, "same") for k, size in ((1, a.kh), (2, a.kw)))
    return [split(before + after) for _, before, after in geometry]


def evenly(total: int) -> tuple[int, int]:
    """The smaller half first."""
    return total // 2, total - total // 2


def _total_of(a: SimpleNamespace, count) -> list[tuple[int, int]]:
    """The halves where another number of windows is taken."""
    sizes = ((a.x.shape[1], a.kh), (a.x.shape[2], a.kw))
    totals = [max((count(size, k, a.stride) - 1) * a.stride + k - size, 0) for size, k in sizes]
    return [(total // 2, total - total // 2) for total in totals]


PADDING = {
    "with the larger half above and left": lambda a: _bordered(a, *_halves(a, lambda n: (n - n // 2, n // 2))),
    "with all zeros above and left": lambda a: _bordered(a, *_halves(a, lambda n: (n, 0))),
    "with all zeros below and right": lambda a: _bordered(a, *_halves(a, lambda n: (0, n))),
    "with half of the zeros on both sides, rounded down": lambda a: _bordered(
        a, *_halves(a, lambda n: (n // 2, n // 2))
    ),
    "with half of the zeros on both sides, rounded up": lambda a: _bordered(
        a, *_halves(a, lambda n: (n - n // 2, n - n // 2))
    ),
    "with all of the zeros on both sides, twice as many as needed": lambda a: _bordered(
        a, *_halves(a, lambda n: (n, n))
    ),
    "with kh // 2 and kw // 2 on each side, which fits only odd windows and a stride of 1": lambda a: _bordered(
        a, (a.kh // 2,) * 2, (a.kw // 2,) * 2
    ),
    "with one zero on each side, whatever the window": lambda a: _bordered(a, (1, 1), (1, 1)),
    "with kh - 1 and kw - 1 on each side": lambda a: _bordered(a, (a.kh - 1,) * 2, (a.kw - 1,) * 2),
    "of a stride of 1": lambda a: {"stride": 1},
    "with kh and kw exchanged": lambda a: {"kh": a.kw, "kw": a.kh},
    "of a square window, kh x kh": lambda a: {"kw": a.kh},
    "of a square window, kw x kw": lambda a: {"kh": a.kw},
    "with the zeros of rows and columns exchanged": lambda a: _bordered(a, *_halves(a, evenly)[::-1]),
    "with out rounded down": lambda a: _bordered(a, *_total_of(a, lambda size, k, s: size // s)),
    "with the out of windows without padding": lambda a: _bordered(
        a, *_total_of(a, lambda size, k, s: (size - k) // s + 1)
    ),
    "of a total of kh - stride, which fits only where the stride divides H": lambda a: _bordered(
        a, *((n // 2, n - n // 2) for n in (max(a.kh - a.stride, 0), max(a.kw - a.stride, 0)))
    ),
    "of a total without the - 1: out * stride + kh - H": lambda a: _bordered(
        a, *_total_of(a, lambda size, k, s: -(-size // s) + 1)
    ),
    "with the zeros of the rows for the columns, too": lambda a: _bordered(a, *[_halves(a, evenly)[0]] * 2),
    "with the zeros of the columns for the rows, too": lambda a: _bordered(a, *[_halves(a, evenly)[1]] * 2),
    "with half of the zeros above and left, rounded by round(), which makes 0 of 0.5 and 2 of 1.5": lambda a: _bordered(
        a, *_halves(a, lambda n: (round(n / 2), n - round(n / 2)))
    ),
    "with zeros around the channels, too": lambda a: np.pad(a.x, ((0, 0), *_halves(a, evenly), (1, 1))),
    "without any padding": lambda a: a.x,
    "with rows padded and columns not": lambda a: _bordered(a, _halves(a, evenly)[0], (0, 0)),
    "with columns padded and rows not": lambda a: _bordered(a, (0, 0), _halves(a, evenly)[1]),
    "with the edge repeated in place of zeros": lambda a: _bordered(a, *_halves(a, evenly), mode="edge"),
    "with ones in place of zeros": lambda a: _bordered(a, *_halves(a, evenly), constant_values=1.0),
    "with the photo mirrored in place of zeros": lambda a: _bordered(a, *_halves(a, evenly), mode="symmetric"),
}


def _padding_terms(a, result, index) -> Shown:
    lines = []
    for words, size, k in (("rows", a.x.shape[1], a.kh), ("columns", a.x.shape[2], a.kw)):
        out, before, after = window_geometry(size, k, a.stride, "same")
        total = (out - 1) * a.stride + k - size
        lines.append(
            f"{words}: out = {size} / {a.stride} rounded up = {out}, "
            f"total = ({out} - 1) * {a.stride} + {k} - {size} = {total}: {before} before, {after} behind"
        )
    return lines


def photos(a: SimpleNamespace, result: str) -> dict:
    """A result of photos, made from x."""
    return {"kind": "photos", "x": a.x}


EXERCISES = [
    Exercise("cell", "a convolution's cell", "F3", (Task("cell", ("z",), _cell_cases, CELL, terms=_cell_terms),)),
    Exercise(
        "padding",
        "'same' padding",
        "F2",
        (Task("pad_same", ("padded",), _padding_cases, PADDING, photos, _padding_terms),),
    ),
]
