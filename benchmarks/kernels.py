"""Every kernel and every product of the article's network, alone: `python -m benchmarks.kernels [--quick]`.

One thread, as each shard of a batch runs; times are for one photo of a block of 16. Data
movers are compared with a plain copy of as many bytes, products with the rate of a large
product; every kernel with other ways to do the same. All have to agree before they are timed.
"""

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import cnn  # noqa: F401  before NumPy, as a user's program does
from benchmarks.report import OURS, THEIRS, alternate, figures, machine, new_figure, progress, spread, table, write
from cnn.article import convolutional
from cnn.layers import MaxPooling2D
from cnn.training.twin import twin_of
from kernels import adam, blas, im2col, pooling

PHOTOS = 16
FILTERS1, FILTERS2 = 32, 64
SAME = (1, 1, 1, 1)
rng = np.random.default_rng(0)


class Case(NamedTuple):
    """One kernel, what it moves or multiplies for PHOTOS photos, and other ways to do the same."""

    name: str
    run: Any
    rivals: dict = {}
    moved: int = 0  # bytes read and written
    flop: int = 0
    photos: int = PHOTOS  # what the time is divided by


def normal(*shape):
    return rng.standard_normal(shape, np.float32)


def windows_by_view(x):
    x_padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.ascontiguousarray(sliding_window_view(x_padded, (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3))


def empty_padded(columns):
    """Zeros for the padded photos, and their height and width without padding."""
    photos, height, width, _, _, channels = columns.shape
    return np.zeros((photos, height + 2, width + 2, channels), np.float32), height, width


def col2im_add_at(columns):
    padded, height, width = empty_padded(columns)
    rows = np.arange(height)[:, None, None, None] + np.arange(3)[:, None]
    cells = np.arange(width)[:, None, None] + np.arange(3)
    np.add.at(padded, (slice(None), rows, cells), columns)
    return padded[:, 1:-1, 1:-1]


def col2im_slices(columns):
    padded, height, width = empty_padded(columns)
    for u in range(3):
        for v in range(3):
            padded[:, u : u + height, v : v + width] += columns[:, :, :, u, v]
    return padded[:, 1:-1, 1:-1]


def pool_windows(x):
    photos, height, width, channels = x.shape
    x = x.reshape(photos, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(photos, height // 2, width // 2, channels, 4)


def unpool_numpy(dy, winners, shape):
    photos, out_h, out_w, channels = dy.shape
    windows = np.zeros((*dy.shape, 4), np.float32)
    np.put_along_axis(windows, winners.astype(np.int64)[..., None], dy[..., None], axis=-1)
    return windows.reshape(photos, out_h, out_w, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(shape)


def movers() -> list[Case]:
    """Kernels that move numbers: im2col, col2im, pooling, Adam."""
    cases = []
    for name, size, channels in (("im2col, conv1", 28, 1), ("im2col, conv2", 14, FILTERS1)):
        x = normal(PHOTOS, size, size, channels)
        run = lambda x=x: im2col.im2col(x, (3, 3), (1, 1), SAME)
        cases.append(Case(name, run, {"sliding_window_view": lambda x=x: windows_by_view(x)}, 10 * x.nbytes))
    columns = normal(PHOTOS, 14, 14, 3, 3, FILTERS1)
    shape = (PHOTOS, 14, 14, FILTERS1)
    rivals = {"np.add.at": lambda: col2im_add_at(columns), "slices": lambda: col2im_slices(columns)}
    cases.append(
        Case("col2im, conv2", lambda: im2col.col2im(columns, shape, (1, 1), SAME), rivals, columns.nbytes * 10 // 9)
    )
    z = normal(PHOTOS, 28, 28, FILTERS1)
    winners = pooling.max_pool(z, (2, 2), (2, 2), (0, 0, 0, 0))[1]
    dy = normal(*winners.shape)
    cases.append(
        Case(
            "max_pool, pool1",
            lambda: pooling.max_pool(z, (2, 2), (2, 2), (0, 0, 0, 0))[0],
            {"argmax": lambda: take_largest(z), "slices, no winners": lambda: largest_of_slices(z)},
            z.nbytes * 3 // 2,
        )
    )
    cases.append(
        Case(
            "max_pool_backward, pool1",
            lambda: pooling.max_pool_backward(dy, winners, z.shape, (2, 2), (2, 2), (0, 0, 0, 0)),
            {"put_along_axis": lambda: unpool_numpy(dy, winners, z.shape)},
            z.nbytes * 3 // 2,
        )
    )
    return [*cases, adam_case()]


def take_largest(z):
    windows = pool_windows(z)
    return np.take_along_axis(windows, windows.argmax(axis=-1)[..., None], axis=-1)[..., 0]


def largest_of_slices(z):
    """The quick way to the maxima, which does not say where they were: enough for inference, not for training."""
    rows = np.maximum(z[:, ::2], z[:, 1::2])
    return np.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def adam_case() -> Case:
    """All weights in one array; both ways go on from the same state, each on its own arrays."""
    size = 421_642
    start = [normal(size), normal(size), normal(size) * 0, np.abs(normal(size))]
    ours, theirs = ([a.copy() for a in start] for _ in range(2))

    def run():
        adam.adam_update(*ours, 1e-3, 0.9, 0.999, 1e-7)
        return ours[0]

    def numpy_adam():
        w, g, m, v = theirs
        m += np.float32(0.1) * (g - m)
        v += np.float32(0.001) * (g * g - v)
        w -= np.float32(1e-3) * m / (np.sqrt(v) + np.float32(1e-7))
        return w

    return Case("adam_update, a step", run, {"NumPy": numpy_adam}, 7 * ours[0].nbytes, photos=1)


def products() -> list[Case]:
    """The matrix products of a training step, by BLAS."""
    rows1, rows2, features = PHOTOS * 784, PHOTOS * 196, 49 * FILTERS2
    shapes = {
        "conv1 forward": (rows1, 9, FILTERS1),
        "conv1 dkernel": (9, rows1, FILTERS1),
        "conv2 forward": (rows2, 9 * FILTERS1, FILTERS2),
        "conv2 dkernel": (9 * FILTERS1, rows2, FILTERS2),
        "conv2 dcolumns": (rows2, FILTERS2, 9 * FILTERS1),
        "dense forward": (PHOTOS, features, 128),
        "dense dkernel": (features, PHOTOS, 128),
        "dense dx": (PHOTOS, 128, features),
    }
    cases = []
    for name, (m, k, n) in shapes.items():
        a, b, out = normal(m, k), normal(k, n), np.empty((m, n), np.float32)
        run = lambda a=a, b=b, out=out: np.matmul(a, b, out=out)
        cases.append(Case(f"product, {name} ({m}x{k})({k}x{n})", run, flop=2 * m * k * n))
    return cases


def conv_pool_cases() -> list[Case]:
    """Convolution, ReLU and pooling as the twin runs them, sums in registers and no zeros, against the plain layers."""
    first, second = twin_of(convolutional(seed=0).layers)[:2]
    cases = []
    for twin, x, need_dx in (
        (first, normal(PHOTOS, 28, 28, 1), False),
        (second, normal(PHOTOS, 14, 14, FILTERS1), True),
    ):
        twin.params["bias"][:] -= 0.5  # closes some of the windows
        conv, pool = twin.layer, MaxPooling2D()
        y, cache = twin.forward(x)
        a, conv_cache = conv.forward(x)
        pool_cache, dy = pool.forward(a)[1], normal(*y.shape)

        def backward_plain(conv=conv, pool=pool, caches=(conv_cache, pool_cache), dy=dy, need_dx=need_dx):
            return conv.backward(pool.backward(dy, caches[1])[0], caches[0], need_dx)[1]["kernel"]

        forward, forward_plain, backward = (
            lambda twin=twin, x=x: twin.forward(x)[0],
            lambda conv=conv, pool=pool, x=x: pool.forward(conv.forward(x)[0])[0],
            lambda twin=twin, dy=dy, cache=cache, need_dx=need_dx: twin.backward(dy, cache, need_dx)[1]["kernel"],
        )
        flop = 2 * PHOTOS * a[0].size * conv.params["kernel"][..., 0].size
        cases += [
            Case(f"{twin.name}, ReLU, pool: forward", forward, {"plain layers": forward_plain}, flop=flop),
            Case(
                f"{twin.name}, ReLU, pool: backward",
                backward,
                {"plain layers": backward_plain},
                flop=flop * (1 + need_dx),
            ),
        ]
    return cases


def timer(run, seconds: float):
    """A function that returns the mean seconds of `run`, called for about so long."""
    run()
    start = time.perf_counter()
    run()
    calls = max(1, int(seconds / max(time.perf_counter() - start, 1e-6)))

    def turn():
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - begin) / calls

    return turn


def check(case: Case) -> None:
    """Raises AssertionError where a rival does not compute the same."""
    for name, rival in case.rivals.items():
        ours, theirs = results(case.run), results(rival)
        for a, b in zip(ours, theirs, strict=True):
            assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), f"{case.name}: {name} computes something else"


def results(run) -> list[np.ndarray]:
    """Copies of the array, or of the arrays, that this returns."""
    returned = run()
    return [a.copy() for a in (returned if isinstance(returned, tuple) else (returned,)) if a is not None]


def copy_of(moved: int):
    """Read and write as many bytes, without doing anything to them."""
    source, target = np.ones(moved // 8, np.float32), np.empty(moved // 8, np.float32)
    return lambda: np.copyto(target, source)


def measure(rounds: int, seconds: float) -> dict:
    """{"kernels": [...]}, in seconds for one photo."""
    a = normal(2048, 2048)
    found = []
    with blas.single_threaded():
        for case in [*movers(), *conv_pool_cases(), *products()]:
            progress(case.name)
            check(case)
            ceiling = (lambda: a @ a) if case.flop else copy_of(case.moved)
            turns = {"ours": case.run, **case.rivals, "ceiling": ceiling}
            times = alternate(rounds, {name: timer(run, seconds) for name, run in turns.items()})
            best = (
                2 * 2048**3 / spread(times["ceiling"])["median"]
                if case.flop
                else case.moved / spread(times["ceiling"])["median"]
            )
            rate = (case.flop or case.moved) / spread(times["ours"])["median"]
            found.append(
                {
                    "name": case.name,
                    "unit": "GFLOP/s" if case.flop else "GB/s",
                    "rate": rate / 1e9,
                    "share": rate / best,
                    "seconds": {
                        name: spread([t / case.photos for t in values])
                        for name, values in times.items()
                        if name != "ceiling"
                    },
                }
            )
    return {"kernels": found}


def markdown(found: dict) -> str:
    """The table."""
    rows = []
    for kernel in found["kernels"]:
        ours = kernel["seconds"]["ours"]
        rivals = [
            f"{name} {figures(s['median'] / ours['median'])}x"
            for name, s in kernel["seconds"].items()
            if name != "ours"
        ]
        micro = {key: ours[key] * 1e6 for key in ("median", "min", "max")}
        rows.append(
            [
                kernel["name"],
                f"{figures(micro['median'])} ({figures(micro['min'])}-{figures(micro['max'])})",
                f"{figures(kernel['rate'])} {kernel['unit']}",
                f"{kernel['share']:.0%}",
                ", ".join(rivals),
            ]
        )
    text = (
        "One thread, microseconds a photo: median (min-max). The ceiling of data movers is a copy of as many bytes, "
        "that of products a large float32 product. Convolutions are counted as if they were multiplied out, zeros and "
        "all and without Winograd, so they may pass it.\n\n"
    )
    return text + table(["kernel", "us a photo", "rate", "of the ceiling", "other ways take"], rows)


def plot(found: dict, path) -> None:
    """How many times longer the other ways take."""
    bars = [
        (f"{kernel['name']}\n{name}", s["median"] / kernel["seconds"]["ours"]["median"])
        for kernel in found["kernels"]
        for name, s in kernel["seconds"].items()
        if name != "ours"
    ]
    figure, axes = new_figure(width=7, height=0.45 * len(bars) + 0.9)
    axis = axes[0][0]
    names, values = zip(*reversed(bars), strict=True)
    drawn = axis.barh(
        names, [value - 1 for value in values], left=1, color=THEIRS
    )  # a bar begins at the line: as long as ours
    axis.bar_label(drawn, [f"{value:.1f}x" for value in values], padding=3)
    axis.axvline(1, color=OURS)
    axis.set_xscale("log")
    axis.set_xlim(min(0.5, *values) / 1.3, max(values) * 1.5)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axis.set_xlabel("times as long as our kernel (the line), one thread, log scale")
    figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/kernels.md, .json and .png."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures only rough")
    args = parser.parse_args(argv)
    about = machine()
    found = measure(rounds=3 if args.quick else 11, seconds=0.01 if args.quick else 0.05)
    versions = {"numpy": np.__version__, "BLAS kernels": blas.core_name()} | (
        {"measured": "with --quick: rough"} if args.quick else {}
    )
    path = write("kernels", "Each kernel and product alone", about | versions, found, markdown(found))
    plot(found, path.with_suffix(".png"))
    print(path.read_text())


if __name__ == "__main__":
    main()
