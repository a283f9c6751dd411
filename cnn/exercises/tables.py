"""Exercises with tables: im2col, and a convolution as one product."""

from types import SimpleNamespace

import numpy as np

from cnn.exercises.record import Array, Exercise, Shown, Task
from cnn.exercises.windows import KERNEL, photos

# ---- im2col


def _im2col_cases(rng):
    def case(shape, kh, kw, stride):
        return {"x": rng.standard_normal(shape), "kh": kh, "kw": kw, "stride": stride}

    return {
        "one photo, one channel": case((1, 4, 5, 1), 2, 3, 1),
        "two photos, three channels": case((2, 5, 4, 3), 3, 2, 1),
        "stride 2": case((2, 7, 9, 2), 3, 3, 2),
        "stride 2, where rows are left over": case((2, 6, 8, 2), 3, 3, 2),
        "stride 3, a window of 2 x 1": case((2, 8, 7, 2), 2, 1, 3),
        "one pixel": case((1, 1, 1, 1), 1, 1, 1),
        "a window as large as the photo": case((3, 3, 4, 2), 3, 4, 1),
        "a black photo": {**case((1, 3, 4, 1), 2, 2, 1), "x": np.zeros((1, 3, 4, 1))},
    }


def windows_of(a: SimpleNamespace, kh: int, kw: int, reach: int = 1) -> Array:
    """(N, OH, OW, kh, kw, C), by strides over the photos; reach: of a window's cells from each other."""
    tall, wide = (kh - 1) * reach + 1, (kw - 1) * reach + 1
    windows = np.lib.stride_tricks.sliding_window_view(a.x, (tall, wide), axis=(1, 2))
    windows = windows[:, :: a.stride, :: a.stride, :, ::reach, ::reach]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def table(a: SimpleNamespace, *order: int) -> Array:
    """The windows with their axes in another order, as a table of the right shape."""
    windows = windows_of(a, a.kh, a.kw)
    rows = int(np.prod(windows.shape[:3]))
    return windows.transpose(order).reshape(rows, -1)


def fewer(a: SimpleNamespace) -> dict:
    """As if the last window of each row and column were not there."""
    return {"x": a.x[:, : -a.stride, : -a.stride]}


def _written_at(a: SimpleNamespace, row) -> Array:
    """The windows in rows of other numbers; what is written later stays."""
    windows = windows_of(a, a.kh, a.kw)
    photos, out_h, out_w = windows.shape[:3]
    columns = np.zeros((photos * out_h * out_w, windows[0, 0, 0].size))
    for n, i, j in np.ndindex(photos, out_h, out_w):
        columns[row(n, i, j, out_h, out_w)] = windows[n, i, j].ravel()
    return columns


IM2COL = {
    "with a row laid out channel by channel: c, u, v for u, v, c": lambda a: table(a, 0, 1, 2, 5, 3, 4),
    "with a row laid out column by column: v, u, c for u, v, c": lambda a: table(a, 0, 1, 2, 4, 3, 5),
    "with a row laid out c, v, u for u, v, c": lambda a: table(a, 0, 1, 2, 5, 4, 3),
    "with the windows in the order i, j, n for n, i, j: the photos last": lambda a: table(a, 1, 2, 0, 3, 4, 5),
    "with the windows in the order n, j, i for n, i, j: column by column": lambda a: table(a, 0, 2, 1, 3, 4, 5),
    "with the windows in the order i, j, n, and a row laid out channel by channel": lambda a: table(
        a, 1, 2, 0, 5, 3, 4
    ),
    "with the windows read in the order u, v, c, n, i, j: reshape without transpose": lambda a: table(
        a, 3, 4, 5, 0, 1, 2
    ),
    "of a stride of 1": lambda a: {"stride": 1},
    "with kh and kw exchanged": lambda a: {"kh": a.kw, "kw": a.kh},
    "of a square window, kh x kh": lambda a: {"kw": a.kh},
    "without the last windows: OH and OW lack their + 1": fewer,
    "of loops that end one place too early: range(0, H - kh, stride)": lambda a: {"x": a.x[:, :-1, :-1]},
    "with every photo's windows written over those of the photo before: n is left out of the row": lambda a: (
        _written_at(a, lambda n, i, j, out_h, out_w: i * out_w + j)
    ),
    "with i*OH + j for i*OW + j in the row's number": lambda a: _written_at(
        a, lambda n, i, j, out_h, out_w: (n * out_w + i) * out_h + j
    ),
    "with i*OH + j for i*OW + j in the row's number, within each photo": lambda a: _written_at(
        a, lambda n, i, j, out_h, out_w: n * out_h * out_w + i * out_h + j
    ),
    "with each window turned by 180 degrees": lambda a: windows_of(a, a.kh, a.kw)[:, :, :, ::-1, ::-1].reshape(
        -1, a.kh * a.kw * a.x.shape[-1]
    ),
    "with the stride between the cells of a window: i + u * stride": lambda a: windows_of(
        SimpleNamespace(**{**vars(a), "stride": 1}), a.kh, a.kw, a.stride
    ).reshape(-1, a.kh * a.kw * a.x.shape[-1]),
    "of windows that begin at i, j for i * stride, j * stride": lambda a: windows_of(
        SimpleNamespace(**{**vars(a), "stride": 1}), a.kh, a.kw
    )[:, : (a.x.shape[1] - a.kh) // a.stride + 1, : (a.x.shape[2] - a.kw) // a.stride + 1].reshape(
        -1, a.kh * a.kw * a.x.shape[-1]
    ),
    "of the first photo at every photo's rows": lambda a: {"x": np.repeat(a.x[:1], len(a.x), axis=0)},
    "of the last photo at every photo's rows": lambda a: {"x": np.repeat(a.x[-1:], len(a.x), axis=0)},
    "of the first channel at every channel's place": lambda a: {"x": np.repeat(a.x[..., :1], a.x.shape[-1], axis=-1)},
}


def _im2col_terms(a, result, index) -> Shown:
    row, column = index
    out_h, out_w = (a.x.shape[1] - a.kh) // a.stride + 1, (a.x.shape[2] - a.kw) // a.stride + 1
    n, i, j = (int(k) for k in np.unravel_index(row, (len(a.x), out_h, out_w)))
    u, v, c = (int(k) for k in np.unravel_index(column, (a.kh, a.kw, a.x.shape[-1])))
    return [
        f"row {row} is the window at n={n}, i={i}, j={j}; column {column} is its cell u={u}, v={v}, c={c}",
        f"so columns[{row}, {column}] = x[{n}, {i * a.stride + u}, {j * a.stride + v}, {c}]",
    ]


# ---- a convolution as one product


def _product_cases(rng):
    draw = rng.standard_normal

    def case(shape, kernel, stride):
        return {"x": draw(shape), "kernel": draw(kernel), "bias": draw(kernel[-1]), "stride": stride}

    return {
        "one photo, one channel, one filter": case((1, 4, 5, 1), (2, 3, 1, 1), 1),
        "two photos, three channels, four filters": case((2, 5, 6, 3), (3, 2, 3, 4), 1),
        "a square kernel": case((2, 5, 4, 2), (3, 3, 2, 5), 1),
        "stride 2": case((2, 7, 9, 2), (3, 3, 2, 3), 2),
        "stride 2, where rows are left over": case((2, 6, 8, 2), (3, 3, 2, 3), 2),
        "one pixel": case((1, 1, 1, 1), (1, 1, 1, 2), 1),
        "a black photo": {**case((1, 3, 4, 1), (2, 2, 1, 3), 1), "x": np.zeros((1, 3, 4, 1))},
    }


def _product_terms(a, result, index) -> Shown:
    n, i, j, f = index
    places = np.ndindex(a.kernel.shape[:3])
    pairs = ((("x", (n, i * a.stride + u, j * a.stride + v, c)), ("kernel", (u, v, c, f))) for u, v, c in places)
    return [*pairs, (("bias", (f,)),)]


def convolved(a: SimpleNamespace, kernel: Array) -> Array:
    """The convolution with the filters as a table (kh*kw*C, F)."""
    windows = windows_of(a, *a.kernel.shape[:2])
    rows = windows.reshape(*windows.shape[:3], -1)
    return rows @ kernel + a.bias


def filters_first(a: SimpleNamespace) -> Array:
    """Filters written as rows, and the table then reshaped to the shape that it should have."""
    return a.kernel.transpose(3, 0, 1, 2).reshape(-1, a.kernel.shape[-1])


PRODUCT = {
    **KERNEL,
    "without the bias": lambda a: {"bias": 0 * a.bias},
    "with the bias added twice": lambda a: {"bias": 2 * a.bias},
    "with the bias added to every product": lambda a: {"bias": a.kernel[..., 0].size * a.bias},
    "with the bias taken off": lambda a: {"bias": -a.bias},
    "of a stride of 1": lambda a: {"stride": 1},
    "without the last windows: OH and OW lack their + 1": fewer,
    "of a kernel laid out channel by channel: c, u, v for u, v, c": lambda a: convolved(
        a, a.kernel.transpose(2, 0, 1, 3).reshape(-1, a.kernel.shape[-1])
    ),
    "of a kernel reshaped with the filters as rows, and not transposed": lambda a: convolved(a, filters_first(a)),
    "of a kernel reshaped to (F, kh*kw*C) and then transposed": lambda a: convolved(
        a, a.kernel.reshape(len(a.bias), -1).T
    ),
    "of a kernel laid out column by column: v, u, c for u, v, c": lambda a: convolved(
        a, a.kernel.transpose(1, 0, 2, 3).reshape(-1, len(a.bias))
    ),
    "with the sum of all biases at every filter": lambda a: {"bias": a.bias.sum() + 0 * a.bias},
    "with the first filter's bias at every filter": lambda a: {"bias": a.bias[0] + 0 * a.bias},
    "of the mean of the products, where their sum is meant": lambda a: {"kernel": a.kernel / a.kernel[..., 0].size},
    "of the first channel alone": lambda a: {"kernel": a.kernel * (np.arange(a.kernel.shape[2]) == 0)[:, None]},
    "of the last channel alone": lambda a: {
        "kernel": a.kernel * (np.arange(a.kernel.shape[2]) == a.kernel.shape[2] - 1)[:, None]
    },
    "of the first filter at every filter's place": lambda a: {
        "kernel": np.repeat(a.kernel[..., :1], len(a.bias), axis=-1),
        "bias": np.repeat(a.bias[:1], len(a.bias)),
    },
    "of the first photo at every photo's place": lambda a: {"x": np.repeat(a.x[:1], len(a.x), axis=0)},
    "after a ReLU, which comes later": lambda a: np.maximum(convolved(a, a.kernel.reshape(-1, len(a.bias))), 0),
    "in a wrong order: the photos come last in the table's rows": lambda a: _as_if(a, (1, 2, 0, 3)),
    "in a wrong order: reshaped to (N, F, OH, OW) first": lambda a: _reshaped(a, (0, 3, 1, 2)),
    "in a wrong order: the table is transposed before it is reshaped": lambda a: _as_if(a, (3, 0, 1, 2)),
}


def _as_if(a, order):
    """The right numbers written in another order into the right shape."""
    right = convolved(a, a.kernel.reshape(-1, len(a.bias)))
    return right.transpose(order).reshape(right.shape)


def _reshaped(a, order):
    """The right numbers taken for numbers in another order of the axes."""
    right = convolved(a, a.kernel.reshape(-1, len(a.bias)))
    shape = tuple(right.shape[k] for k in order)
    return right.reshape(shape).transpose(np.argsort(order))


EXERCISES = [
    Exercise(
        "im2col",
        "im2col: windows as rows of a table",
        "M",
        (Task("im2col", ("columns",), _im2col_cases, IM2COL, terms=_im2col_terms),),
    ),
    Exercise(
        "product",
        "a convolution as one product",
        "M",
        (Task("convolution", ("z",), _product_cases, PRODUCT, photos, _product_terms),),
        ("im2col",),
    ),
]
