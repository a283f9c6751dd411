"""What each kernel of the fast twin buys: `python -m benchmarks.twin [--quick]`, the table of cnn/training/twin.py.

The article's network trains with one thing left out, in turn with the whole twin, so that both
meet the same machine. The ratios are of neighbouring turns, and of the time that the processor
works for one thread: on a machine with others it says more than the clock.
"""

import argparse
import contextlib
import time
from unittest import mock

import numpy as np

import cnn  # before NumPy, as a user's program does
from benchmarks import article
from benchmarks.report import alternate, figures, progress, ratio, table
from cnn.article import convolutional
from cnn.training import convolutions, twin
from cnn.training.twin_layers import TwinDense

STEPS = {32: 20, 128: 10}  # in a turn, by the size of a batch
WHOLE = "nothing"


class Turned(convolutions.TurnedConvolution):
    """Also where something was pooled."""

    @staticmethod
    def fits(conv, strides) -> bool:
        return True


class ByBlas(TwinDense):
    """With the products of NumPy."""

    def product(self, name, left, right, blocks, transposed=False):
        return np.matmul(left.T if transposed else left, right)


LEFT_OUT = {  # what the twin's modules are given instead
    WHOLE: lambda model: {},
    "skipping zeros (simd/backward)": lambda model: {
        "KERNEL_GRADIENTS": (convolutions.DenseKernelGradient,),
        "INPUT_GRADIENTS": (Turned,),
    },
    "Winograd (simd/winograd)": lambda model: {"CONVOLUTIONS": (convolutions.Convolution,)},
    "dense products in registers (simd/dense)": lambda model: {"TwinDense": ByBlas},
    "the twin, for plain layers": lambda model: {"twin_of": lambda layers: model.logit_layers()},
}


def trainer(batch: int, left_out):
    """A function that trains some steps with a twin made without this, and returns the processor's seconds a step."""
    model = convolutional(seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = article.photos("train", batch * STEPS[batch])

    def turn() -> float:
        start = time.process_time()
        model.fit(x, y, batch_size=batch, verbose=0)
        return (time.process_time() - start) / STEPS[batch]

    with contextlib.ExitStack() as choices:
        for name, value in left_out(model).items():
            module = convolutions if hasattr(convolutions, name) else twin
            choices.enter_context(mock.patch.object(module, name, value))
        turn()  # makes the twins, and compiles
    return turn


def measure(batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a step, by what was left out."""
    cnn.set_threads(1)  # of several the one that waits works too
    return alternate(rounds, {name: trainer(batch, left_out) for name, left_out in LEFT_OUT.items()})


def markdown(found: dict[int, dict[str, list[float]]]) -> str:
    """The table: how many times as long a step takes."""
    rows = [
        [name, *(f"{figures(ratio(times[name], times[WHOLE])['median'])}x" for times in found.values())]
        for name in LEFT_OUT
    ]
    return table(["a training step without", *(f"batch {batch}" for batch in found)], rows)


def main(argv: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.twin", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns: figures only rough")
    args = parser.parse_args(argv)
    found = {}
    for batch in STEPS:
        progress(f"steps of batch {batch}")
        found[batch] = measure(batch, rounds=5 if args.quick else 40)
    print(markdown(found))


if __name__ == "__main__":
    main()
