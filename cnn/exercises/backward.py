"""Exercises on the way back: dense, ReLU and max pooling.

What people do wrong here is known to gradcheck already, which takes our own layer apart: `known` hands it over.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np

from cnn import gradcheck
from cnn.exercises.record import Array, Change, Exercise, Shown, Task
from cnn.exercises.tables import windows_of
from cnn.gradcheck.counterparts import Alone, Pooling, Product, Windows
from cnn.layers import Linear, ReLU

# ---- dense


def _dense_cases(rng):
    draw = rng.standard_normal

    def case(photos, inputs, units):
        return {"dz": draw((photos, units)), "x": draw((photos, inputs)), "kernel": draw((inputs, units))}

    return {
        "three photos, five inputs, two units": case(3, 5, 2),
        "one photo": case(1, 4, 3),
        "as many inputs as units": case(5, 4, 4),
        "as many photos as inputs and units": case(3, 3, 3),
        "one input, one unit": case(4, 1, 1),
        "a black photo": {**case(2, 3, 4), "x": np.zeros((2, 3))},
    }


NAMES = {"dkernel": "kernel", "dbias": "bias", "dx": gradcheck.INPUT}  # what gradcheck calls them


def of_a_product(a: SimpleNamespace, result: str, product: Product) -> dict:
    """What is known of a gradient of a Dense or Conv2D without activation."""
    name = NAMES[result]
    kind = "photos" if name == gradcheck.INPUT else "weights"
    known = {"name": name, "kind": kind, "x": product.x, "dy": a.dz, "counterpart": product.ends_in(Linear())}
    return {**known, "of_input": name == gradcheck.INPUT}


def _dense_known(a, result):
    params = {"kernel": a.kernel, "bias": np.zeros(a.kernel.shape[-1])}
    return of_a_product(a, result, Product(a.x, params, a.dz, None))


def _dense_terms(a, result, index) -> Shown:
    photos, units = range(len(a.dz)), range(a.dz.shape[1])
    if result == "dkernel":
        i, o = index
        return [(("x", (n, i)), ("dz", (n, o))) for n in photos]
    if result == "dbias":
        return [(("dz", (n, *index)),) for n in photos]
    n, i = index
    return [(("dz", (n, o)), ("kernel", (i, o))) for o in units]


DENSE = {
    "of a bias added up along axis 1: over the units, not over the photos": lambda a: (
        a.x.T @ a.dz,
        a.dz.sum(axis=1),
        a.dz @ a.kernel.T,
    ),
    "of dz alone for the weights' gradient, without x": lambda a: (
        np.ones(a.x.shape).T @ a.dz,
        a.dz.sum(axis=0),
        a.dz @ a.kernel.T,
    ),
    "of dx from x in place of the kernel": lambda a: (
        a.x.T @ a.dz,
        a.dz.sum(axis=0),
        a.x * a.dz.sum(axis=1, keepdims=True),
    ),
    "of x itself for the weights' gradient, without dz": lambda a: (
        a.x.T @ np.ones(a.dz.shape),
        a.dz.sum(0),
        a.dz @ a.kernel.T,
    ),
}


def _dense_slopes(a, backward):
    def gradient(x, kernel, bias, dy):
        dkernel, dbias, dx = backward(dy, x, kernel)
        return dx, dkernel, dbias

    bias = np.zeros(a.kernel.shape[1])
    return gradcheck.check_function(lambda x, kernel, bias: x @ kernel + bias, gradient, (a.x, a.kernel, bias))


# ---- ReLU and pooling


def _relu_cases(rng):
    draw = rng.standard_normal
    return {
        "a row of numbers": {"dy": draw(7), "z": draw(7)},
        "photos": {"dy": draw((2, 3, 4, 2)), "z": draw((2, 3, 4, 2))},
        "a z of exactly 0": {"dy": draw((2, 5)), "z": np.array([[0.0, 1, -1, 0, 2], [-2, 0, 0, 3, 1]])},
        "a black photo: all z are 0": {"dy": draw((1, 3, 3, 1)), "z": np.zeros((1, 3, 3, 1))},
        "one number": {"dy": draw(1), "z": np.array([0.3])},
    }


def leaky(a: SimpleNamespace, slope: float) -> Array:
    """What is not above 0 goes through as well, a little."""
    return a.dy * np.where(a.z > 0, 1, slope)


RELU: dict[str, Change] = {
    "with z >= 0 for z > 0: at exactly 0 nothing goes through": lambda a: a.dy * (a.z >= 0),
    "with half of dy where z is exactly 0": lambda a: a.dy * (np.sign(a.z) + 1) / 2,
    **{
        f"of a leaky ReLU: {slope} of dy goes through where z is not above 0": partial(leaky, slope=slope)
        for slope in (0.01, 0.1, 0.2, 0.3)
    },
    "of ReLU itself: dy has no part in it": lambda a: np.maximum(a.z, 0),
    "of a ReLU of dy: it is z that decides": lambda a: np.maximum(a.dy, 0),
    "of a mask of dy: it is z that decides": lambda a: a.dy * (a.dy > 0),
    "of the mask alone, 1 where z > 0: dy has no part in it": lambda a: (a.z > 0).astype(float),
    "of the mask the wrong way round: z < 0 for z > 0": lambda a: a.dy * (a.z < 0),
    "of the mask the wrong way round: z <= 0 for z > 0": lambda a: a.dy * (a.z <= 0),
    "of dy times ReLU itself: its slope is 1, and not z": lambda a: a.dy * np.maximum(a.z, 0),
    "of dy times z": lambda a: a.dy * a.z,
    "of dy times the sign of z": lambda a: a.dy * np.sign(a.z),
    "of a mask where the number itself is kept: -dy where z < 0": lambda a: a.dy * np.where(a.z > 0, 1, -1),
}


def _relu_known(a, result):
    return {"name": gradcheck.INPUT, "x": a.z, "dy": a.dy, "of_input": True, "counterpart": Alone(a.z, a.dy, ReLU())}


def _relu_terms(a, result, index) -> Shown:
    sign = "is above 0: dy goes through" if a.z[index] > 0 else "is not above 0: nothing goes through"
    return [f"z{list(index)} = {a.z[index]:.6g} {sign}; dy{list(index)} = {a.dy[index]:.6g}"]


def _relu_slopes(a, backward):
    return gradcheck.check_function(lambda z: np.maximum(z, 0), lambda z, dy: backward(dy, z), a.z)


def _unpooling_cases(rng):
    def case(shape, size, stride, x=None):
        a = SimpleNamespace(x=rng.standard_normal(shape) if x is None else x, size=size, stride=stride)
        windows = windows_of(a, size, size)
        winners = windows.reshape(*windows.shape[:3], size**2, -1).argmax(axis=3)
        given = {"dy": rng.standard_normal(winners.shape), "winners": winners, "x_shape": a.x.shape}
        return {**given, "size": size, "stride": stride, "_x": a.x}

    return {
        "one photo, one channel": case((1, 4, 6, 1), 2, 2),
        "two photos, three channels": case((2, 6, 4, 3), 2, 2),
        "windows that overlap": case((2, 5, 7, 2), 3, 2),
        "windows that overlap, stride 1": case((1, 4, 5, 2), 2, 1),
        "odd sizes, where rows are left over": case((2, 5, 7, 2), 2, 2),
        "ties": case((2, 6, 4, 2), 2, 2, rng.integers(0, 2, (2, 6, 4, 2)).astype(float)),
        "one pixel": case((1, 1, 1, 1), 1, 1),
        "a black photo": case((1, 4, 4, 1), 2, 2, np.zeros((1, 4, 4, 1))),
    }


def places(a: SimpleNamespace, stride: int, u: Array, v: Array) -> tuple[Array, ...]:
    """Where in dx the winners lie."""
    n, i, j, c = np.indices(a.dy.shape)
    return n, i * stride + u, j * stride + v, c


def unpooled(a: SimpleNamespace, dy: Array, add: bool = True, stride: int | None = None, swap: bool = False) -> Array:
    """dx, with one part of the way wrong; where that leads outside, IndexError."""
    u, v = np.divmod(a.winners, a.size)
    where = places(a, a.stride if stride is None else stride, *((v, u) if swap else (u, v)))
    dx = np.zeros(a.x_shape)
    if add:
        np.add.at(dx, where, dy)
    else:
        dx[where] = dy  # in the order of a loop, the last one stays
    return dx


UNPOOLING = {
    "of `=` for `+=`: of several windows that one cell wins, the last one counts alone": lambda a: unpooled(
        a, a.dy, add=False
    ),
    "with u and v exchanged: the winner is u*size + v": lambda a: unpooled(a, a.dy, swap=True),
    "without the stride: i + u for i*stride + u": lambda a: unpooled(a, a.dy, stride=1),
    "with 1 at each winner: dy has no part in it": lambda a: unpooled(a, np.ones(a.dy.shape)),
    "with 1 at each winner, and `=` for `+=`": lambda a: unpooled(a, np.ones(a.dy.shape), add=False),
    "of the first channel alone": lambda a: unpooled(a, a.dy * (np.arange(a.dy.shape[-1]) == 0)),
    "of the first photo alone": lambda a: unpooled(a, a.dy * (np.arange(len(a.dy)) == 0)[:, None, None, None]),
    "with the first channel's winners in every channel": lambda a: {
        "winners": np.repeat(a.winners[..., :1], a.winners.shape[-1], axis=-1)
    },
    "with u for both, u and v": lambda a: {"winners": a.winners // a.size * (a.size + 1)},
    "with v for both, u and v": lambda a: {"winners": a.winners % a.size * (a.size + 1)},
    "with the upper left cell of each window as its winner": lambda a: {"winners": 0 * a.winners},
}


def _unpooling_known(a, result):
    windows = Windows(a.x_shape, (a.size, a.size), (a.stride, a.stride), (0, 0, 0, 0))
    pooling = Pooling(a._x, a.dy, windows, "max")
    known = {"name": gradcheck.INPUT, "kind": "photos", "x": a._x, "dy": a.dy, "y": pooling.y}
    return {**known, "of_input": True, "counterpart": pooling}


def _unpooling_terms(a, result, index) -> Shown:
    u, v = np.divmod(a.winners, a.size)
    n, row, column, c = places(a, a.stride, u, v)
    hits = np.argwhere((n == index[0]) & (row == index[1]) & (column == index[2]) & (c == index[3]))
    return [(("dy", tuple(int(k) for k in hit)),) for hit in hits]


def _unpooling_slopes(a, backward):
    window = SimpleNamespace(size=a.size, stride=a.stride)

    def cells(x):
        windows = windows_of(SimpleNamespace(x=x, **vars(window)), a.size, a.size)
        return windows.reshape(*windows.shape[:3], a.size**2, -1)

    def gradient(x, dy):
        return backward(dy, cells(x).argmax(axis=3), x.shape, a.size, a.stride)

    return gradcheck.check_function(lambda x: cells(x).max(axis=3), gradient, a._x)


EXERCISES = [
    Exercise(
        "dense",
        "dense, backward: weights, bias, input",
        "B4",
        (
            Task(
                "dense_backward",
                ("dkernel", "dbias", "dx"),
                _dense_cases,
                DENSE,
                _dense_known,
                _dense_terms,
                _dense_slopes,
            ),
        ),
    ),
    Exercise(
        "relu_pool",
        "ReLU and max pooling, backward",
        "B7",
        (
            Task("relu_backward", ("dz",), _relu_cases, RELU, _relu_known, _relu_terms, _relu_slopes),
            Task(
                "max_pool_backward",
                ("dx",),
                _unpooling_cases,
                UNPOOLING,
                _unpooling_known,
                _unpooling_terms,
                _unpooling_slopes,
            ),
        ),
    ),
]
