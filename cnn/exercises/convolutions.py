"""Exercises on the way back through a convolution: the gradient of its filters, and of its input."""

from types import SimpleNamespace

import numpy as np

from cnn import gradcheck
from cnn.exercises.backward import of_a_product
from cnn.exercises.record import Array, Exercise, Shown, Task
from cnn.exercises.tables import windows_of
from cnn.gradcheck.counterparts import Product, Windows

# ---- a convolution's filters


def _kernel_cases(rng):
    draw = rng.standard_normal

    def case(shape, kh, kw, filters, stride):
        out = (shape[1] - kh) // stride + 1, (shape[2] - kw) // stride + 1
        dz = draw((shape[0], *out, filters))
        return {"dz": dz, "x": draw(shape), "kh": kh, "kw": kw, "stride": stride}

    return {
        "one photo, one channel, one filter": case((1, 4, 5, 1), 2, 3, 1, 1),
        "three photos, two channels, four filters": case((3, 5, 6, 2), 3, 2, 4, 1),
        "a square kernel": case((3, 5, 6, 2), 3, 3, 4, 1),
        "stride 2": case((3, 7, 9, 2), 3, 3, 5, 2),
        "stride 2, where rows are left over": case((3, 6, 8, 2), 3, 2, 4, 2),
        "one pixel": case((1, 1, 1, 1), 1, 1, 2, 1),
        "a black photo": {**case((1, 4, 4, 1), 2, 2, 2, 1), "x": np.zeros((1, 4, 4, 1))},
    }


def windows_at(a: SimpleNamespace, x: Array, kernel: Array) -> Product:
    """Our own convolution of these arrays, taken apart."""
    windows = Windows(x.shape, kernel.shape[:2], (a.stride, a.stride), (0, 0, 0, 0))  # type: ignore[arg-type]
    return Product(x, {"kernel": kernel, "bias": np.zeros(kernel.shape[-1])}, a.dz, windows)


def _kernel_known(a, result):
    kernel = np.zeros((a.kh, a.kw, a.x.shape[-1], a.dz.shape[-1]))
    return of_a_product(a, result, windows_at(a, a.x, kernel))


def _kernel_terms(a, result, index) -> Shown:
    every = np.ndindex(a.dz.shape[:3])
    if result == "dbias":
        return [(("dz", (n, i, j, *index)),) for n, i, j in every]
    u, v, c, f = index
    return [(("x", (n, i * a.stride + u, j * a.stride + v, c)), ("dz", (n, i, j, f))) for n, i, j in every]


def kernel_of(a: SimpleNamespace, order: tuple[int, ...]) -> tuple[Array, Array]:
    """dkernel of a table whose columns, or whose result, is read in another order."""
    windows = windows_of(a, a.kh, a.kw)
    columns = windows.reshape(-1, a.kh * a.kw * a.x.shape[-1])
    dkernel = (columns.T @ a.dz.reshape(-1, a.dz.shape[-1])).reshape(a.kh, a.kw, a.x.shape[-1], -1)
    return dkernel.transpose(order).reshape(dkernel.shape), a.dz.sum(axis=(0, 1, 2))


DKERNEL = {
    "with the table of dz times that of the windows, reshaped and not transposed": lambda a: kernel_of(a, (3, 0, 1, 2)),
    "of windows laid out channel by channel: c, u, v for u, v, c": lambda a: kernel_of(a, (2, 0, 1, 3)),
    "with u and v exchanged in x: x[n, i*stride + v, j*stride + u, c]": lambda a: (
        np.tensordot(windows_of(a, a.kw, a.kh)[:, : a.dz.shape[1], : a.dz.shape[2]], a.dz, ((0, 1, 2), (0, 1, 2)))
        .swapaxes(0, 1)
        .copy(),
        a.dz.sum(axis=(0, 1, 2)),
    ),
    "of the first photo alone": lambda a: {"x": a.x[:1], "dz": a.dz[:1]},
    "of the last photo alone: `=` for `+=` over the photos": lambda a: {"x": a.x[-1:], "dz": a.dz[-1:]},
    "of the first place of each photo alone": lambda a: {"dz": a.dz * _corner(a.dz, 0)},
    "of the last place of each photo alone: `=` for `+=` over the places": lambda a: {"dz": a.dz * _corner(a.dz, -1)},
    "of the last place of the last photo alone: `=` for `+=`": lambda a: {
        "x": a.x[-1:],
        "dz": (a.dz * _corner(a.dz, -1))[-1:],
    },
    "of dz turned by 180 degrees": lambda a: {"dz": a.dz[:, ::-1, ::-1]},
    "of x turned by 180 degrees": lambda a: {"x": a.x[:, ::-1, ::-1]},
}


def _corner(dz, place):
    """1 at one place of the map."""
    mask = np.zeros((*dz.shape[1:3], 1))
    mask[place, place] = 1
    return mask


def convolved(a: SimpleNamespace, x: Array, kernel: Array) -> Array:
    """A convolution of x with stride a.stride, without padding and bias."""
    windows = windows_of(SimpleNamespace(x=x, stride=a.stride), *kernel.shape[:2])
    return np.tensordot(windows, kernel, 3)


def _kernel_slopes(a, backward):
    def gradient(kernel, bias, dz):
        return tuple(backward(dz, a.x.copy(), a.kh, a.kw, a.stride))

    kernel, bias = np.zeros((a.kh, a.kw, a.x.shape[-1], a.dz.shape[-1])), np.zeros(a.dz.shape[-1])
    return gradcheck.check_function(
        lambda kernel, bias: convolved(a, a.x, kernel) + bias, _with_dy(gradient), (kernel, bias)
    )


def _with_dy(gradient):
    return lambda kernel, bias, dy: gradient(kernel, bias, dy)


# ---- a convolution's input


def _input_cases(rng):
    draw = rng.standard_normal

    def case(shape, kernel, stride):
        out = (shape[1] - kernel[0]) // stride + 1, (shape[2] - kernel[1]) // stride + 1
        dz = draw((shape[0], *out, kernel[3]))
        return {"dz": dz, "kernel": draw(kernel), "x_shape": shape, "stride": stride}

    return {
        "one photo, one channel, one filter": case((1, 4, 5, 1), (2, 3, 1, 1), 1),
        "three photos, two channels, four filters": case((3, 5, 6, 2), (3, 2, 2, 4), 1),
        "as many channels as filters, a square kernel": case((2, 5, 6, 3), (3, 3, 3, 3), 1),
        "stride 2": case((3, 7, 9, 2), (3, 3, 2, 5), 2),
        "stride 2, where rows are left over": case((3, 6, 8, 2), (3, 2, 2, 4), 2),
        "a stride larger than the window": case((2, 7, 8, 2), (2, 1, 2, 3), 3),
        "one pixel": case((1, 1, 1, 1), (1, 1, 1, 2), 1),
    }


def _input_known(a, result):
    return of_a_product(a, result, windows_at(a, np.zeros(a.x_shape), a.kernel))


def _input_terms(a, result, index) -> Shown:
    n, row, column, c = index
    kh, kw, _, filters = a.kernel.shape
    _, out_h, out_w, _ = a.dz.shape
    found: list = []
    for i, j in np.ndindex(out_h, out_w):
        u, v = row - i * a.stride, column - j * a.stride
        if 0 <= u < kh and 0 <= v < kw:
            found += [(("dz", (n, i, j, f)), ("kernel", (u, v, c, f))) for f in range(filters)]
    return found


def assigned(a: SimpleNamespace, order: str) -> Array:
    """dx with `=` for `+=`."""
    product = windows_at(a, np.zeros(a.x_shape), a.kernel)
    assert product.windows is not None  # it is a convolution
    columns = np.tensordot(a.dz, a.kernel, (3, 3))
    return product.windows.assigned(columns, order)


DX = {
    "of `=` for `+=` where windows overlap: each window replaces what another has left there": lambda a: assigned(
        a, "windows"
    ),
    "of `=` for `+=` where windows overlap: each cell of the window replaces it": lambda a: assigned(a, "cells"),
    "of the last filter alone: `=` for `+=` over the filters": lambda a: {
        "kernel": a.kernel * (np.arange(a.kernel.shape[3]) == a.kernel.shape[3] - 1)
    },
    "of a kernel turned by 180 degrees": lambda a: {"kernel": a.kernel[::-1, ::-1]},
    "of the first filter alone": lambda a: {"kernel": a.kernel * (np.arange(a.kernel.shape[3]) == 0)},
    "of the kernel's sum over the filters times dz's sum": lambda a: {
        "kernel": a.kernel.sum(axis=3, keepdims=True),
        "dz": a.dz.sum(axis=3, keepdims=True),
    },
    "of the first photo alone": lambda a: {"dz": a.dz * (np.arange(len(a.dz)) == 0)[:, None, None, None]},
    "of the last photo alone": lambda a: {"dz": a.dz * (np.arange(len(a.dz)) == len(a.dz) - 1)[:, None, None, None]},
    "of the first channel at every channel's place": lambda a: {
        "kernel": np.repeat(a.kernel[:, :, :1], a.kernel.shape[2], axis=2)
    },
    "with 1 for each dz: dz has no part in it": lambda a: {"dz": np.ones(a.dz.shape)},
    "with 1 for each weight: the kernel has no part in it": lambda a: {"kernel": np.ones(a.kernel.shape)},
}


def _input_slopes(a, backward):
    x = np.random.default_rng(0).standard_normal(a.x_shape)

    def gradient(x, dy):
        return backward(dy, a.kernel.copy(), a.x_shape, a.stride)

    return gradcheck.check_function(lambda x: convolved(a, x, a.kernel), gradient, x)


EXERCISES = [
    Exercise(
        "kernel_gradient",
        "a convolution's filters: dW",
        "B8",
        (
            Task(
                "convolution_dkernel",
                ("dkernel", "dbias"),
                _kernel_cases,
                DKERNEL,
                _kernel_known,
                _kernel_terms,
                _kernel_slopes,
            ),
        ),
        ("im2col",),
    ),
    Exercise(
        "input_gradient",
        "a convolution's input: dx by col2im",
        "B9",
        (Task("convolution_dx", ("dx",), _input_cases, DX, _input_known, _input_terms, _input_slopes),),
    ),
]
