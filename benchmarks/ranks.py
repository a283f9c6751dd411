"""What several ranks of MPI cost and win: `python -m benchmarks.ranks [--quick]`; needs the extra `mpi`.

A step of the article's network is measured on 1, 2 and 4 ranks of this machine, with one thread each: what a rank
computes of its own shards, what it sends, adds and waits for, and the optimizer. The model of a step on P ranks, each
on a core of its own, for G numbers of gradients (4 bytes each) in S shards, eight or, beyond that, one a rank:

    step(P) = shards * ceil(S / P) / S + rest                          what is computed; rest: optimizer, Python
            + add * (G * ceil(S / P) + G * S / P)                  packing a rank's shards, adding a P-th of all
            + latency * (2 (P - 1) + 3 log2 P)                         Alltoallv, Allgather; outputs, wish to stop
            + 4 G (ceil(S / P) + 1) (P - 1) / P / bandwidth            what a rank receives

latency and bandwidth are measured between two ranks of this machine, and assumed for the networks of 10 and 100 Gbit:
TCP on an ordinary cluster, and RDMA. Waiting for a slower rank is not in it, nor are collisions of messages. The
network of 25 million weights is a ResNet-50 (4.1e9 products a photo, thrice for training) at the rate of products that
the article's reaches in one thread here.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.child import ROOT
from benchmarks.report import INK, OURS, RESULTS, THEIRS, figures, machine, new_figure, progress, table, write

clock = time.perf_counter
SHARDS, BATCH, STEPS, QUICK_STEPS = 8, 128, 100, 40
MEASURED, PREDICTED = (1, 2, 4), (1, 2, 4, 8, 16, 32, 64)
CLUSTERS = {"10 Gbit": (30e-6, 1.25e9), "100 Gbit": (3e-6, 12.5e9)}  # seconds, bytes a second
LARGE = {"numbers": 25_600_000, "products": 3 * 4.1e9, "batch": 256}
SIZES = (1, 2**10, 2**14, 2**18, 2**20, 2**22)  # bytes, for latency and bandwidth


# ---- what each rank runs


def as_rank(steps: int) -> None:
    """Measure this rank's steps; rank 0 prints the parts of the fastest as JSON."""
    from benchmarks import article, networks
    from benchmarks.contenders import Ours
    from cnn import distribute
    from cnn.training import step
    from kernels import threads

    contender = Ours(1)  # it loads cnn
    group = distribute.use()
    threads.set_threads(1)
    contender.load(networks.NETWORKS["article"], article.start_weights())
    model, (x, y) = contender.model, article.photos("train", BATCH * 4)
    model.shards = SHARDS
    times: dict[str, float] = {}

    def clocked(owner, name, label):
        plain = getattr(owner, name)

        def timed(*arguments, **more):
            start = clock()
            try:
                return plain(*arguments, **more)
            finally:
                times[label] = times.get(label, 0.0) + clock() - start

        setattr(owner, name, timed)

    clocked(step, "train_step", "step")
    clocked(step, "run_batch", "pass")
    clocked(distribute.PartOfBatch, "finished", "gradients")
    clocked(distribute.PartOfBatch, "of_all", "outputs")
    clocked(distribute.World, "wait", "messages")
    clocked(type(model.optimizer), "update", "optimizer")
    found: dict = {"step": math.inf}
    for count in range(steps + 5):
        times.clear()
        part = slice(count % 4 * BATCH, (count % 4 + 1) * BATCH)
        step.train_step(model, x[part], y[part], count)
        if group.size > 1:
            group.agree(model)
        found = min(found, dict(times), key=lambda parts: parts["step"])
    found["numbers"] = model.count_params()
    if group.size == 2:
        found["link"] = link(group)
    if group.leads:
        print(json.dumps(found))


def link(group) -> list[list[float]]:
    """[bytes, seconds] of messages from one rank to the other, half the way there and back."""
    found = []
    for size in SIZES:
        data, times = np.zeros(size, np.uint8), []
        for _ in range(100):
            start = clock()
            for sender in (0, 1):
                message = group.comm.Isend(data, 1) if group.rank == sender == 0 else None
                message = message or (group.comm.Isend(data, 0) if group.rank == sender else None)
                group.wait(message or group.comm.Irecv(data, sender))
            times.append((clock() - start) / 2)
        found.append([size, min(times)])
    return found


# ---- the model


def line(points: list[list[float]]) -> tuple[float, float]:
    """(latency, bandwidth): of the smallest message the time, of the largest the slope."""
    (_, latency), (size, seconds) = points[0], points[-1]
    return latency, size / max(seconds - latency, 1e-9)


def predicted(job: dict, ranks: int, latency: float, bandwidth: float, in_order: bool = True) -> float:
    """The model's seconds of a step."""
    shards, numbers = max(SHARDS, ranks), job["numbers"]
    own = math.ceil(shards / ranks)
    work = job["shards"] * own / shards + job["rest"]
    if ranks == 1:
        return work
    adding = job["add"] * numbers * (own + (shards / ranks if in_order else 0))
    sent = 4 * numbers * ((own if in_order else 1) + 1) * (ranks - 1) / ranks
    return work + adding + latency * (2 * (ranks - 1) + 3 * math.log2(ranks)) + sent / bandwidth


def jobs(measured: dict) -> dict[str, dict]:
    """What the model knows of the two networks."""
    one, two = measured[1], measured[2]
    numbers = one["numbers"]
    waited = two["messages"] - two["outputs"]  # for gradients
    add = max(two["gradients"] - waited, 0) / (numbers * SHARDS)  # half of the shards are packed, half added
    shards, rest = one["pass"], one["step"] - one["pass"]
    article = {"numbers": numbers, "shards": shards, "rest": rest, "add": add}
    from benchmarks.article import flop

    rate = flop()[1] / 2 * BATCH / shards  # products a second
    large = LARGE["numbers"]
    seconds = LARGE["products"] * LARGE["batch"] / rate
    return {
        f"article, batch {BATCH}": article,
        f"25 million weights, batch {LARGE['batch']}": article
        | {"numbers": large, "shards": seconds, "rest": rest * large / numbers},
    }


# ---- the report


def measure(ranks: int, steps: int) -> dict:
    """What the ranks of one job tell."""
    python = [sys.executable, "-m", "benchmarks.ranks", f"--as-rank={steps}"]
    place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    launcher = [shutil.which("mpiexec", path=place) or "mpiexec", "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run([*launcher, *python], cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(f"{ranks} ranks: {done.stderr}")
    return json.loads(done.stdout)


def markdown(data: dict) -> str:
    """The table of what was measured, and one of the model for each network of weights."""
    measured, links, found = data["measured"], data["links"], data["model"]
    names = ("step", "pass", "gradients", "messages", "outputs", "optimizer")
    rows = [
        [f"{ranks} rank{'s' * (ranks > 1)}", *(figures(1e3 * measured[ranks].get(name, 0)) for name in names)]
        for ranks in MEASURED
    ]
    parts = [
        __doc__.split("\n\n", 1)[1],
        f"## Measured: the article's network, {SHARDS} shards of a batch of {BATCH}, rank 0's fastest step\n",
        table(["milliseconds", *names], rows),
        "pass: forward, backward and all but the optimizer; of it gradients: packed, sent and added; messages: all "
        "waiting for others; outputs: those of all photos, for loss and metrics. Ranks beyond the cores "
        "of this machine take turns: on two cores they win nothing over two threads. The promise here is the bits.\n",
    ]
    for name, job in found.items():
        header = ["milliseconds on", *(f"{ranks}" for ranks in PREDICTED), "least at"]
        rows = []
        for link, values in links.items():
            for in_order in (True, False):
                times = {ranks: predicted(job, ranks, *values, in_order) for ranks in PREDICTED}
                least = min(times, key=times.get)
                way = "in order" if in_order else "--allreduce"
                rows.append([f"{link}, {way}", *(figures(1e3 * seconds) for seconds in times.values()), least])
        parts.append(f"## Model: {name}, {job['numbers']:,} weights\n\n{table(header, rows)}")
    told = "; ".join(f"{name}: {1e6 * a:.1f} us, {b / 1e9:.2f} GB/s" for name, (a, b) in links.items())
    parts.append(f"Latency and bandwidth: {told}.\n\n{ADVICE}")
    return "\n".join(parts)


ADVICE = """\
One process with as many threads as cores does without all of this: on one machine ranks win nothing over threads.
To send a layer's gradient while the one before is computed could hide no more than the messages' part of a step, and of
that no more than the backward pass takes. With as many shards as ranks the exchange in order sends what an Allreduce
does; with eight shards a rank, four and a half times as much: on a slow network choose --shards near the number of
ranks. What a cluster would have to confirm: latency and bandwidth when all ranks send at once, the time that a step
waits for its slowest rank, and that processors of one kind give one machine's bits on another.
"""


def draw(measured: dict, links: dict, found: dict) -> None:
    """benchmarks/results/ranks.png: the model's curves and the measured points."""
    figure, axes = new_figure(1, 2)
    for panel, (name, job) in zip(axes[0], found.items(), strict=True):
        for (link, values), colour in zip(links.items(), (INK, THEIRS, OURS), strict=True):
            times = [1e3 * predicted(job, ranks, *values) for ranks in PREDICTED]
            panel.plot(PREDICTED, times, "-", color=colour, label=f"model, {link}")
        panel.set(xscale="log", yscale="log", xlabel="ranks, a core each", ylabel="ms a step", title=name)
        panel.set_xticks(PREDICTED, PREDICTED)
    points = [1e3 * measured[ranks]["step"] for ranks in MEASURED]
    axes[0][0].plot(MEASURED, points, "o", color=OURS, label="measured on the cores here")
    axes[0][0].legend(frameon=False)
    figure.savefig(RESULTS / "ranks.png", dpi=150)


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/ranks.md, .json and .png."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps: figures only rough")
    parser.add_argument("--as-rank", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.as_rank:
        return as_rank(args.as_rank)
    about, measured = machine() | ({"measured": "with --quick: rough"} if args.quick else {}), {}
    for ranks in MEASURED:
        progress(f"{ranks} ranks")
        measured[ranks] = measure(ranks, QUICK_STEPS if args.quick else STEPS)
    links = {"loopback": line(measured[2]["link"]), **CLUSTERS}
    found = jobs(measured)
    draw(measured, links, found)
    data = {"measured": measured, "links": links, "model": found}
    path = write("ranks", "What several ranks cost and win", about, {"ranks": data}, markdown(data))
    print(path.read_text())
    return None


if __name__ == "__main__":
    main()
