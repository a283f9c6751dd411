"""What a training step would take on more cores than there are here: `python -m benchmarks.cores [--quick]`.

A step is what one thread of Python does alone, and loops that all threads share. Both are measured with one thread, for
batches that are cut into 1, 2, 4 ... shards; beside it, what it costs to begin a shared loop in all threads that are
here. The model of the step on n cores, n a power of 2:

    step(n) = alone + sum over shared loops of (loop * ceil(turns / n) / turns) + calls * begin * log2(n)

A loop has as many turns as its first array has rows: those that add up gradients have one a shard, all others one a
photo, a row of a kernel or more. The model takes for granted that threads are woken in a tree, that turns take equally
long, and that memory serves all: what Adam reads and writes must come from caches of the cores. Two cores test it: what
it says of them stands beside what is measured.
"""

import argparse
import math
import statistics
import time
from collections import Counter

import numpy as np
from numba import prange

from benchmarks import networks
from benchmarks.contenders import CORES as HERE
from benchmarks.contenders import Ours
from benchmarks.report import figures, machine, progress, table, write
from kernels import compiled, threads

clock = time.perf_counter
SHARDS, CORES = (1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16, 32)
STEPS, QUICK_STEPS, EPOCHS = 40, 10, 5
NETWORKS = ("article", "dense 512-512", "VGG")


class Loops:
    """Seconds in loops that threads would share, by the turns that these have, and how often one begins."""

    def __init__(self):
        self.seconds, self.calls, self.original = Counter(), 0, compiled.in_threads

    def clear(self):
        """From the beginning."""
        self.seconds, self.calls = Counter(), 0

    def in_threads(self, function=None, least: int = 0, **options):
        """compiled.in_threads with a clock around what several threads would do."""
        if function is None:
            return lambda function: self.in_threads(function, least, **options)
        kernel = self.original(function, least=least, **options)

        def timed(*arguments):
            if arguments[0].size < least:
                return kernel(*arguments)
            start = clock()
            kernel(*arguments)
            self.seconds[len(arguments[0])] += clock() - start
            self.calls += 1

        vars(timed).update(vars(kernel))
        return timed


LOOPS = Loops()


def beginning() -> float:
    """Seconds that a shared loop costs in two threads, beside its work: they are woken and waited for."""

    @LOOPS.original
    def nothing(array):
        for _ in prange(len(array)):
            pass

    def once() -> float:
        start = clock()
        nothing(pair)
        return clock() - start

    threads.set_threads(2)
    pair = np.zeros(2)
    return statistics.median(once() for _ in range(2000))


def parts_of_a_step(contender: Ours, data: tuple, batch: int) -> dict:
    """Of the fastest of some epochs: seconds of a step and of its shared loops by their turns, and how many begin."""
    found = []
    for _ in range(EPOCHS):
        LOOPS.clear()
        start = clock()
        contender.train(*data, batch)
        found.append((clock() - start, LOOPS.seconds, LOOPS.calls))
    steps, (step, loops, calls) = len(data[0]) / batch, min(found, key=lambda epoch: epoch[0])
    return {"step": step / steps, "loops": {k: v / steps for k, v in loops.items()}, "calls": calls / steps}


def measure(name: str, steps: int) -> dict:
    """{shards: parts_of_a_step in one thread}, and what a step takes in all threads of this machine."""
    contender = Ours(1)  # it loads cnn
    from benchmarks import article

    network = networks.NETWORKS[name]
    batch = network.batch
    contender.load(network, article.start_weights(0, network))
    data = article.photos("train", batch * steps)
    alone = {}
    for shards in SHARDS:
        contender.model.shards = shards
        contender.train(*data, batch)
        alone[shards] = parts_of_a_step(contender, data, batch)
    threads.set_threads(HERE)
    contender.model.shards = HERE
    contender.train(*data, batch)
    return {"batch": batch, "alone": alone, "here": parts_of_a_step(contender, data, batch)["step"]}


def predicted(alone: dict, cores: int, begin: float) -> float:
    """The model's seconds of a step on so many cores."""
    shared = sum(seconds * math.ceil(turns / cores) / turns for turns, seconds in alone["loops"].items())
    return outside(alone) + shared + alone["calls"] * begin * math.log2(cores)


def outside(alone: dict) -> float:
    """Seconds that one thread of Python works alone."""
    return alone["step"] - sum(alone["loops"].values())


def markdown(found: dict) -> str:
    """A table for each network: rows are cores, columns shards."""
    begin = found["begin"]
    parts = [__doc__.split("\n\n", 1)[1], f"Beginning a shared loop: {1e6 * begin:.1f} us in two threads.\n"]
    for name, network in found["networks"].items():
        alone = network["alone"]
        one = alone[1]
        parts.append(
            f"## {name}, batch {network['batch']}\n\nOne thread, one shard: {figures(1e6 * one['step'])} us, of them "
            f"{figures(1e6 * outside(one))} outside of {one['calls']:.0f} shared loops. Two cores, two "
            f"shards: {figures(1e6 * predicted(alone[2], 2, begin))} us by the model, "
            f"{figures(1e6 * network['here'])} measured on the {HERE} here.\n"
        )
        rows = [
            [cores, *(figures(1e6 * predicted(alone[shards], cores, begin)) for shards in SHARDS)] for cores in CORES
        ]
        header = ["us a step on cores", *(f"{shards} shard{'s' * (shards > 1)}" for shards in SHARDS)]
        parts.append(table(header, rows))
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/cores.md and .json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps: figures only rough")
    args = parser.parse_args(argv)
    about, found = machine() | ({"measured": "with --quick: rough"} if args.quick else {}), {}
    compiled.in_threads = LOOPS.in_threads  # before `import cnn` has the kernels made
    begin = beginning()
    for name in NETWORKS:
        progress(name)
        found[name] = measure(name, QUICK_STEPS if args.quick else STEPS)
    data = {"model": {"begin": begin, "networks": found}}
    path = write("cores", "What a step would take on more cores", about, data, markdown(data["model"]))
    print(path.read_text())


if __name__ == "__main__":
    main()
