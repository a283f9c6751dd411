"""Exercises from the maps to the loss: max pooling, softmax, the loss, and its gradient p - y."""

from types import SimpleNamespace

import numpy as np

from cnn import gradcheck
from cnn.exercises.record import Array, Exercise, Shown, Task
from cnn.exercises.tables import windows_of
from cnn.exercises.windows import photos

# ---- max pooling


def _pooling_cases(rng):
    def case(shape, size, stride):
        return {"x": rng.standard_normal(shape), "size": size, "stride": stride}

    return {
        "one photo, one channel": case((1, 4, 6, 1), 2, 2),
        "two photos, three channels": case((2, 6, 4, 3), 2, 2),
        "windows that overlap": case((2, 5, 7, 2), 3, 2),
        "odd sizes, where rows are left over": case((2, 5, 7, 2), 2, 2),
        "ties": {**case((2, 6, 4, 2), 2, 2), "x": rng.integers(0, 2, (2, 6, 4, 2)).astype(float)},
        "negative numbers alone": {**case((1, 4, 4, 2), 2, 2), "x": -1 - rng.random((1, 4, 4, 2))},
        "one pixel": case((1, 1, 1, 1), 1, 1),
        "a black photo": {**case((1, 4, 4, 1), 2, 2), "x": np.zeros((1, 4, 4, 1))},
    }


def cells(a: SimpleNamespace) -> Array:
    """The windows' cells in a row, (N, OH, OW, size*size, C)."""
    windows = windows_of(a, a.size, a.size)
    return windows.reshape(*windows.shape[:3], a.size**2, -1)


def _pooled(a: SimpleNamespace, y=None, winners=None) -> tuple[Array, Array]:
    """(y, winners) with one of them replaced."""
    c = cells(a)
    return c.max(axis=3) if y is None else y(c), c.argmax(axis=3) if winners is None else winners(c)


def last(c: Array) -> Array:
    """The last of the largest."""
    return c.shape[3] - 1 - c[:, :, :, ::-1].argmax(axis=3)


def in_the_photo(a: SimpleNamespace) -> Array:
    """The winners counted over the whole photo."""
    u, v = np.divmod(cells(a).argmax(axis=3), a.size)
    _, i, j, _ = np.indices(u.shape)
    return (i * a.stride + u) * a.x.shape[2] + j * a.stride + v


def last_row(a: SimpleNamespace) -> tuple[Array, Array]:
    """The largest of the last row of each window."""
    c = cells(a)[:, :, :, -a.size :]
    return c.max(axis=3), c.argmax(axis=3) + a.size * (a.size - 1)


POOLING = {
    "of the mean of each window, not of its largest number": lambda a: _pooled(a, lambda c: c.mean(axis=3)),
    "of the smallest number of each window": lambda a: _pooled(a, lambda c: c.min(axis=3), lambda c: c.argmin(axis=3)),
    "of the sum of each window": lambda a: _pooled(a, lambda c: c.sum(axis=3)),
    "of a search that begins at 0: negative numbers never win": lambda a: _pooled(
        a, lambda c: np.maximum(c.max(axis=3), 0), lambda c: np.where(c.max(axis=3) > 0, c.argmax(axis=3), 0)
    ),
    "of the largest size, whatever the sign": lambda a: _pooled(
        a, lambda c: np.abs(c).max(axis=3), lambda c: np.abs(c).argmax(axis=3)
    ),
    "with ties won by the last cell, where it is the first that wins": lambda a: _pooled(a, winners=last),
    "of winners counted column by column: v*size + u for u*size + v": lambda a: _pooled(
        a, winners=lambda c: (c.argmax(axis=3) % a.size) * a.size + c.argmax(axis=3) // a.size
    ),
    "of winners counted from 1": lambda a: _pooled(a, winners=lambda c: c.argmax(axis=3) + 1),
    "of winners that are u alone": lambda a: _pooled(a, winners=lambda c: c.argmax(axis=3) // a.size),
    "of winners that are v alone": lambda a: _pooled(a, winners=lambda c: c.argmax(axis=3) % a.size),
    "of winners counted over the whole photo, not in their window": lambda a: _pooled(
        a, winners=lambda c: in_the_photo(a)
    ),
    "of winners that are how many cells are the largest": lambda a: _pooled(
        a, winners=lambda c: (c == c.max(axis=3, keepdims=True)).sum(axis=3)
    ),
    "of winners that are u*stride + v, not u*size + v": lambda a: _pooled(
        a, winners=lambda c: (c.argmax(axis=3) // a.size) * a.stride + c.argmax(axis=3) % a.size
    ),
    "of winners that hold the smallest number": lambda a: _pooled(a, winners=lambda c: c.argmin(axis=3)),
    "of the last row of each window alone: the search begins anew in each row": lambda a: last_row(a),
    "of the first cell of each window": lambda a: _pooled(a, lambda c: c[:, :, :, 0], lambda c: 0 * c.argmax(axis=3)),
    "with winners all 0": lambda a: _pooled(a, winners=lambda c: 0 * c.argmax(axis=3)),
    "of windows side by side: size in place of stride": lambda a: {"stride": a.size},
    "of a stride of 1": lambda a: {"stride": 1},
    "of windows of stride x stride": lambda a: {"size": a.stride},
    "of windows without their last row and column": lambda a: {"size": a.size - 1} if a.size > 1 else None,
    "of the first channel at every channel's place": lambda a: {"x": np.repeat(a.x[..., :1], a.x.shape[-1], axis=-1)},
    "of the largest number over all channels": lambda a: {
        "x": np.repeat(a.x.max(axis=-1, keepdims=True), a.x.shape[-1], axis=-1)
    },
    "of the first photo at every photo's place": lambda a: {"x": np.repeat(a.x[:1], len(a.x), axis=0)},
}


def _pooling_terms(a, result, index) -> Shown:
    n, i, j, c = index
    window = a.x[n, i * a.stride : i * a.stride + a.size, j * a.stride : j * a.stride + a.size, c]
    rows = [" ".join(f"{value:9.4g}" for value in row) for row in window]
    place = int(window.argmax())
    u, v = divmod(place, a.size)
    first = f"x[{n}, {i * a.stride}:{i * a.stride + a.size}, {j * a.stride}:{j * a.stride + a.size}, {c}]"
    return [f"the window is {first}:", *rows, f"its largest number is first met at u={u}, v={v}: winner {place}"]


# ---- softmax


def _softmax_cases(rng):
    z = rng.standard_normal((4, 6))
    return {
        "three photos, five classes": {"z": rng.standard_normal((3, 5))},
        "one photo": {"z": rng.standard_normal((1, 4))},
        "as many photos as classes": {"z": 2 * rng.standard_normal((3, 3))},
        "ties": {"z": np.round(z)},
        "one class": {"z": rng.standard_normal((2, 1))},
        "zeros, as of a black photo": {"z": np.zeros((2, 4))},
        "numbers as large as 1000": {"z": 1000 + z},
        "a row near 1000 and one near -1000": {"z": z + np.reshape([1000.0, -1000.0, 0.0, 500.0], (4, 1))},
        "numbers as small as -1000": {"z": z - 1000},
        "numbers far apart in one row": {"z": 2000 * rng.permutation([-1.0, 0.0, 1.0, 0.999])[None]},
    }


def _exp_by(e, axis) -> Array:
    return e / e.sum(axis=axis, keepdims=True)


def _stable(z) -> Array:
    return np.exp(z - z.max(axis=1, keepdims=True))


SOFTMAX = {
    "of exp(z) as it is: the largest number of each row must be taken off first": lambda a: _exp_by(np.exp(a.z), 1),
    "with the largest of all numbers taken off, not of each row: for another row that may be far too much": lambda a: (
        _exp_by(np.exp(a.z - a.z.max()), 1)
    ),
    "with the smallest number taken off, not the largest": lambda a: _exp_by(
        np.exp(a.z - a.z.min(axis=1, keepdims=True)), 1
    ),
    "with the mean taken off, not the largest": lambda a: _exp_by(np.exp(a.z - a.z.mean(axis=1, keepdims=True)), 1),
    "with the largest number added, not taken off": lambda a: _exp_by(np.exp(a.z + a.z.max(axis=1, keepdims=True)), 1),
    "of a softmax over the photos: the sum runs along axis 0": lambda a: _exp_by(
        np.exp(a.z - a.z.max(axis=0, keepdims=True)), 0
    ),
    "divided by the sum along axis 0: over the photos, not over the classes": lambda a: _exp_by(_stable(a.z), 0),
    "divided by the sum over the whole table": lambda a: _stable(a.z) / _stable(a.z).sum(),
    "divided by the sum over the whole table, whose largest number was taken off": lambda a: (
        np.exp(a.z - a.z.max()) / np.exp(a.z - a.z.max()).sum()
    ),
    "of exp(z), not divided by its sum": lambda a: np.exp(a.z),
    "of exp, not divided by its sum": lambda a: _stable(a.z),
    "divided by the largest, not by the sum": lambda a: _stable(a.z) / _stable(a.z).max(axis=1, keepdims=True),
    "of the logarithm of the softmax": lambda a: np.log(_exp_by(_stable(a.z), 1)),
    "of a sigmoid": lambda a: 1 / (1 + np.exp(-a.z)),
    "of z divided by its sum, without exp": lambda a: _exp_by(a.z, 1),
    "with 2 to the power of z, not e": lambda a: _exp_by(2.0 ** (a.z - a.z.max(axis=1, keepdims=True)), 1),
    "of exp(-z)": lambda a: _exp_by(_stable(-a.z), 1),
    "with the largest |z| taken off, not the largest z": lambda a: _exp_by(
        np.exp(a.z - np.abs(a.z).max(axis=1, keepdims=True)), 1
    ),
    "with z divided by its largest number, not less it": lambda a: _exp_by(
        np.exp(a.z / a.z.max(axis=1, keepdims=True)), 1
    ),
    "of exp squared": lambda a: _exp_by(_stable(a.z) ** 2, 1),
    "with z cut off where it is large": lambda a: _exp_by(np.exp(np.clip(a.z, -500, 500)), 1),
    "divided by the mean, not by the sum": lambda a: _stable(a.z) / _stable(a.z).mean(axis=1, keepdims=True),
}


def _softmax_terms(a, result, index) -> Shown:
    row = a.z[index[0]]
    e = np.exp(row - row.max())
    return [
        f"row {index[0]} of z        {numbers_of(row)}",
        f"less {row.max():.6g}, its largest  {numbers_of(row - row.max())}",
        f"exp                {numbers_of(e)}   sum {e.sum():.6g}",
        f"p[{index[0]}, {index[1]}] = {e[index[1]]:.6g} / {e.sum():.6g} = {e[index[1]] / e.sum():.6g}",
    ]


def numbers_of(row: Array) -> str:
    """A few numbers in a row of text."""
    return " ".join(f"{value:9.4g}" for value in row[:8]) + (" ..." if len(row) > 8 else "")


# ---- the loss


def _labelled(rng, photos: int, classes: int) -> dict:
    """Probabilities, none of them small, and classes."""
    p = rng.random((photos, classes)) + 0.2
    return {"p": p / p.sum(axis=1, keepdims=True), "y": rng.integers(classes, size=photos)}


def _loss_cases(rng):
    return {
        "three photos, five classes": {**_labelled(rng, 3, 5), "y": np.array([2, 4, 1])},
        "one photo": _labelled(rng, 1, 4),
        "as many photos as classes": _labelled(rng, 4, 4),
        "a class never right": {**_labelled(rng, 6, 3), "y": np.array([0, 2, 2, 0, 0, 2])},
        "the right class is quite sure": {
            "p": np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01]]),
            "y": np.array([0, 1]),
        },
        "a wrong class is quite sure": {"p": np.array([[0.98, 0.01, 0.01]]), "y": np.array([2])},
    }


def chosen(a: SimpleNamespace) -> Array:
    """p of the right classes."""
    return a.p[np.arange(len(a.y)), a.y]


def _one_hot(a: SimpleNamespace, classes: int) -> Array:
    return (np.arange(classes) == a.y[:, None]).astype(float)


LOSS = {
    "of the sum over the photos, where the mean is meant": lambda a: -np.log(chosen(a)).sum(),
    "of the mean over photos and classes: divided by N*K": lambda a: -np.log(chosen(a)).sum() / a.p.size,
    "divided by the number of classes, not of photos": lambda a: -np.log(chosen(a)).sum() / a.p.shape[1],
    "without the minus sign": lambda a: np.log(chosen(a)).mean(),
    "of a logarithm to base 10: np.log10 for np.log": lambda a: -np.log10(chosen(a)).mean(),
    "of a logarithm to base 2: np.log2 for np.log": lambda a: -np.log2(chosen(a)).mean(),
    "of 1 - p of the right class, without a logarithm": lambda a: (1 - chosen(a)).mean(),
    "of -p of the right class, without a logarithm": lambda a: -chosen(a).mean(),
    "of the logarithm of the mean: first the logarithms, then their mean": lambda a: -np.log(chosen(a).mean()),
    "of the logarithms of all classes, not of the right one's alone": lambda a: -np.log(a.p).sum(axis=1).mean(),
    "of the mean of the logarithms of all classes": lambda a: -np.log(a.p).mean(),
    "of -p log p, the entropy, in which y does not occur": lambda a: -(a.p * np.log(a.p)).sum(axis=1).mean(),
    "of the most probable class, in which y does not occur": lambda a: -np.log(a.p.max(axis=1)).mean(),
    "of p[:, y], which takes all classes of y in every row, not each photo's own": lambda a: (
        -np.log(a.p[:, a.y]).mean()
    ),
    "of p[:, y], summed over all and divided by the photos": lambda a: -np.log(a.p[:, a.y]).sum() / len(a.y),
    "of the first photo alone": lambda a: -np.log(chosen(a))[0],
    "of the last photo alone": lambda a: -np.log(chosen(a))[-1],
    "of the class before the right one: y - 1 for y": lambda a: {"y": a.y - 1},
    "of the squared error, not of the logarithm": lambda a: ((a.p - _one_hot(a, a.p.shape[1])) ** 2).sum(axis=1).mean(),
    "of the mean squared error, not of the logarithm": lambda a: ((a.p - _one_hot(a, a.p.shape[1])) ** 2).mean(),
    "of log(1 - p) for the right class": lambda a: -np.log(1 - chosen(a)).mean(),
    "of a binary cross-entropy: log(1 - p) of the wrong classes is added": lambda a: (
        -(np.log(np.where(_one_hot(a, a.p.shape[1]) > 0, a.p, 1 - a.p)).sum(axis=1).mean())
    ),
    "of p[y, n] for p[n, y]": lambda a: -np.log(a.p[a.y, np.arange(len(a.y))]).mean(),
    "of log(1 + p)": lambda a: -np.log1p(chosen(a)).mean(),
    "of the logarithm of 0, too: log(p * one-hot), where one-hot * log(p) is meant": lambda a: (
        -np.log(a.p * _one_hot(a, a.p.shape[1])).sum() / len(a.y)
    ),
    "of half the mean": lambda a: -np.log(chosen(a)).mean() / 2,
    "of the wrong classes: log(1 - p) of each, without the right one": lambda a: (
        -(((1 - _one_hot(a, a.p.shape[1])) * np.log(1 - a.p)).sum(axis=1).mean())
    ),
    "of exp of the loss": lambda a: np.exp(-np.log(chosen(a)).mean()),
    "of the most probable class, summed and not averaged": lambda a: -np.log(a.p.max(axis=1)).sum(),
    "of a product of the probabilities": lambda a: chosen(a).prod(),
    "of a softmax of p: p is one already": lambda a: {"p": _exp_by(np.exp(a.p), 1)},
}


def _loss_terms(a, result, index) -> Shown:
    lines = [
        f"photo {n}: -log p[{n}, {k}] = -log {a.p[n, k]:.6g} = {-np.log(a.p[n, k]):.6g}" for n, k in enumerate(a.y)
    ]
    return [*lines[:6], f"their mean over {len(a.y)} photos is L"]


# ---- p - y


def _logits_cases(rng):
    def case(photos, classes):
        return {"z": rng.standard_normal((photos, classes)), "y": rng.integers(classes, size=photos)}

    return {
        "three photos, five classes": {**case(3, 5), "y": np.array([1, 4, 0])},
        "one photo": case(1, 4),
        "as many photos as classes": case(4, 4),
        "six photos of one class": {**case(6, 3), "y": np.array([2] * 6)},
        "zeros, as of a black photo": {**case(2, 3), "z": np.zeros((2, 3))},
        "numbers as large as 1000": {**case(3, 4), "z": 1000 + rng.standard_normal((3, 4))},
    }


def _difference(a: SimpleNamespace) -> Array:
    return _exp_by(_stable(a.z), 1) - _one_hot(a, a.z.shape[1])


P_MINUS_Y = {
    "divided by the number of classes, not of photos": lambda a: _difference(a) / a.z.shape[1],
    "divided by photos and classes: by N*K": lambda a: _difference(a) / a.z.size,
    "of exp(z) as it is: the largest number of each row must be taken off first": lambda a: (
        (_exp_by(np.exp(a.z), 1) - _one_hot(a, a.z.shape[1])) / len(a.y)
    ),
    "of a softmax over the photos: the sum runs along axis 0": lambda a: (
        (_exp_by(np.exp(a.z - a.z.max(axis=0)), 0) - _one_hot(a, a.z.shape[1])) / len(a.y)
    ),
    "of p - y with only y divided by the photos": lambda a: (
        _exp_by(_stable(a.z), 1) - _one_hot(a, a.z.shape[1]) / len(a.y)
    ),
    "of p - y with only p divided by the photos": lambda a: (
        _exp_by(_stable(a.z), 1) / len(a.y) - _one_hot(a, a.z.shape[1])
    ),
    "of p - y with the number of the class in place of a 1": lambda a: (
        (_exp_by(_stable(a.z), 1) - a.y[:, None]) / len(a.y)
    ),
    "with 1 taken off in the columns of all classes of y, in every row: p[:, y] for p[n, y[n]]": lambda a: (
        (_exp_by(_stable(a.z), 1) - _one_hot(a, a.z.shape[1]).max(axis=0)) / len(a.y)
    ),
    "of the class before the right one: y - 1 for y": lambda a: {"y": (a.y - 1) % a.z.shape[1]},
    "of the first photo alone, and p elsewhere": lambda a: (
        (_exp_by(_stable(a.z), 1) - _one_hot(a, a.z.shape[1]) * (np.arange(len(a.y)) == 0)[:, None]) / len(a.y)
    ),
}


def _logits_terms(a, result, index) -> Shown:
    n, k = index
    row = a.z[n]
    e = np.exp(row - row.max())
    p, hit = e[k] / e.sum(), int(a.y[n] == k)
    right = "the right class" if hit else f"not the right class, which is {a.y[n]}"
    return [
        f"z[{n}]              {numbers_of(row)}",
        f"p[{n}] = softmax     {numbers_of(e / e.sum())}",
        f"class {k} is {right}: dz[{n}, {k}] = ({p:.6g} - {hit}) / {len(a.y)} = {(p - hit) / len(a.y):.6g}",
    ]


def _logits_known(a, result):
    return {"kind": "photos", "x": a.z, "value": a.z}


def _logits_slopes(a, dlogits):
    def mean_loss(z):
        return -np.log(_exp_by(_stable(z), 1)[np.arange(len(a.y)), a.y]).mean()

    return gradcheck.check_function(mean_loss, lambda z: dlogits(z, a.y.copy()), a.z)


EXERCISES = [
    Exercise(
        "pooling",
        "max pooling, with ties",
        "F5",
        (Task("max_pool", ("y", "winners"), _pooling_cases, POOLING, photos, _pooling_terms),),
    ),
    Exercise(
        "softmax",
        "softmax that cannot overflow",
        "F12",
        (Task("softmax", ("p",), _softmax_cases, SOFTMAX, lambda a, r: {"kind": "photos", "x": a.z}, _softmax_terms),),
    ),
    Exercise("loss", "the loss", "F12", (Task("loss", ("L",), _loss_cases, LOSS, terms=_loss_terms, tolerance=2e-5),)),
    Exercise(
        "p_minus_y",
        "p - y, the gradient of the loss",
        "B1",
        (Task("dlogits", ("dz",), _logits_cases, P_MINUS_Y, _logits_known, _logits_terms, _logits_slopes),),
        ("softmax",),
    ),
]
