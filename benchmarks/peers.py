"""cnn against PyTorch, Keras, ONNX Runtime and plain NumPy on the same job: `python -m benchmarks.peers [--quick]`.

Every contender runs in its own process, from the same weights, on the same photos in the
same order, and first has to show that it computes the same network: the same
probabilities, the same losses in its first steps. Then they take turns, each
round in another order; a ratio is taken round by round, so that both sides of it have met the same machine.
"""

import argparse
import math
from contextlib import ExitStack
from itertools import chain

from benchmarks import first_use, report
from benchmarks.child import Child, ChildError
from benchmarks.contenders import CONTENDERS, CORES, missing
from benchmarks.report import alternate, figures, machine, new_figure, progress, ratio, spread, table, with_range, write

OURS = "cnn"
TORCH, KERAS = ("torch", "torch-last"), ("keras-tf", "keras-jax")
TRAINERS = (OURS, "cnn-late", "plain", *TORCH, *KERAS)
PREDICTORS = (*TRAINERS, "torch-compiled", "onnx")
CHECK_STEPS = 10
LOSS_TOLERANCE, PROBABILITY_TOLERANCE = (
    2e-3,
    1e-5,
)  # relative; Keras corrects Adam's bias in float32, which is 1e-3 after 10 steps
TRAINING_FLOP = 24_995_328  # a photo; article.flop() counts it
FULL = {
    "rounds": 7,
    "train": 6400,
    "predict": 10_000,
    "memory": 60_000,
    "seeds": 5,
    "accuracy": 0.91,
    "batches": (32, 64, 128, 256, 1000, 2500),
    "left out": (),
}
QUICK = {
    "rounds": 3,
    "train": 1600,
    "predict": 2000,
    "memory": 6400,
    "seeds": 1,
    "accuracy": 0.75,
    "batches": (32, 256),
    "left out": ("torch-compiled",),
}
AVX2 = {  # what most laptops have: the kernels compiled for it, and those of the libraries below us and PyTorch
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
MEMORY_PEERS = (OURS, *TORCH[:1], *KERAS)


def start(stack: ExitStack, name: str, threads: int = CORES) -> Child:
    """A running contender, which ends with the stack."""
    return stack.enter_context(
        Child("benchmarks.worker", name, str(threads), "28,28,1", environment=AVX2 if name.endswith("-avx2") else None)
    )


def installed(names) -> list[str]:
    """Those of the contenders that can run here; says of the others what to install."""
    for name in names:
        if missing(name):
            progress(
                f"{CONTENDERS[name][0]} is left out: install {' '.join(missing(name))} (pip install 'numpy-cnn[bench]')"
            )
    return [name for name in names if not missing(name)]


def chosen(names, settings) -> list[str]:
    """Those that the settings do not leave out."""
    return [name for name in names if name not in settings["left out"]]


def check(
    children: dict[str, Child], names: list[str], reference: str = "plain", batch: int = 32, steps: int = CHECK_STEPS
) -> dict[str, float]:
    """How far each trainer's losses are from those of the reference. Raises ChildError for a different network."""
    answers = {name: children[name].ask("check", batch=batch, steps=steps) for name in names}
    right, title = answers[reference], CONTENDERS[reference][0]
    distances = {}
    for name, answer in answers.items():
        pairs = zip(*(chain.from_iterable(a["probabilities"]) for a in (answer, right)), strict=True)
        far = largest(abs(a - b) for a, b in pairs)
        if not far <= PROBABILITY_TOLERANCE:
            raise ChildError(
                f"{name}: expected the probabilities of {title} within {PROBABILITY_TOLERANCE}, got {far:.1e} off"
            )
        if "losses" not in answer:  # it only infers
            continue
        losses = zip(answer["losses"], right["losses"], strict=True)
        distances[name] = largest(abs(a / b - 1) for a, b in losses)
        if not distances[name] <= LOSS_TOLERANCE:
            raise ChildError(
                f"{name}: expected the losses of {title} within {LOSS_TOLERANCE}, got {distances[name]:.1e} off"
            )
    return distances


def largest(distances) -> float:
    """The largest of them, and NaN if one is: max alone may pass over it."""
    distances = list(distances)
    return max(distances) if all(map(math.isfinite, distances)) else math.nan


def training(children, names, batch: int, settings) -> dict[str, list[float]]:
    """Seconds a photo of each contender, round by round."""
    count = max(settings["train"] // batch, 1) * batch

    def turn(name):
        photos = max(count // 8 // batch, 1) * batch if name == "plain" else count  # it is slow, and steady
        return lambda: children[name].ask_rested("train", batch=batch, count=photos) / photos

    return alternate(settings["rounds"], {name: turn(name) for name in names})


def inference(children, names, settings) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds a photo of each contender at its best batch size, and that size."""
    count = settings["predict"]

    def turn(name, batch, photos):
        return lambda: children[name].ask_rested("predict", batch=batch, count=photos) / photos

    best = {}
    for name in names:
        trial = 1000 if name == "plain" else min(count, 4000)
        tried = alternate(
            1 if settings["rounds"] < 5 else 2, {batch: turn(name, batch, trial) for batch in settings["batches"]}
        )
        best[name] = min(tried, key=lambda batch: min(tried[batch]))
    return alternate(
        settings["rounds"], {name: turn(name, best[name], 1000 if name == "plain" else count) for name in names}
    ), best


def ceiling(child: Child, settings) -> dict[str, list[float]]:
    """A large product in our process, and training at batch 128, in turns: FLOP/s each."""
    photos = max(settings["train"] // 128, 1) * 128
    return alternate(
        settings["rounds"],
        {
            "product": lambda: child.ask_rested("product_rate"),
            "training": lambda: photos * TRAINING_FLOP / child.ask_rested("train", batch=128, count=photos),
        },
    )


def memory(names, settings) -> dict[str, float]:
    """Peak MB of a process that trains on 60,000 photos at batch 32, one epoch (with --quick: its first steps)."""
    peaks = {}
    for name in names:
        progress(f"memory: {CONTENDERS[name][0]}")
        with ExitStack() as stack:
            peaks[name] = start(stack, name).ask("memory_of_training", batch=32, count=settings["memory"])
    return peaks


def seconds_to_accuracy(names, settings) -> dict[str, list[dict]]:
    """From the start of the process to the first test at that accuracy, batch 32, tested every 200 steps, by seed."""
    runs = {name: [] for name in names}
    for seed in range(settings["seeds"]):
        for name in names:
            progress(f"seconds to {settings['accuracy']:.0%}: seed {seed}, {CONTENDERS[name][0]}")
            with ExitStack() as stack:
                child = start(stack, name)
                answer = child.ask(
                    "train_until", accuracy=settings["accuracy"], batch=32, every=200, seed=seed, epochs=10
                )
                runs[name].append({"seconds": child.age(), **answer})
    return runs


def best_of(names, times) -> str | None:
    """The fastest of those that took part."""
    return min((name for name in names if name in times), key=lambda name: spread(times[name])["median"], default=None)


def compare(rows: list, title: str, times: dict, against: tuple, target: float) -> None:
    """Append a row: how many times as fast as the best of these we are. times: seconds (or any cost) by contender."""
    best = best_of(against, times)
    if best is None or OURS not in times:
        return
    factor = ratio(times[best], times[OURS])
    met = "yes" if factor["median"] >= target else "no"
    rows.append({"row": title, "against": CONTENDERS[best][0], "ratio": factor, "target": target, "met": met})


def measure(settings, skip_accuracy: bool) -> dict:
    """All measurements, as one dict that JSON can hold."""
    names = installed(chosen(PREDICTORS, settings))
    trainers = [name for name in names if name in TRAINERS]
    found = {"settings": settings}
    with ExitStack() as stack:
        progress("starting " + ", ".join(names))
        children = {name: start(stack, name) for name in names}
        found["contenders"] = {name: children[name].ask("describe") for name in names}
        progress("checking that all compute the same network")
        found["loss distance"] = check(children, names)
        for batch in (32, 128):
            progress(f"training, batch {batch}")
            found[f"training, batch {batch}"] = training(children, trainers, batch, settings)
        progress("inference")
        found["inference"], found["inference batch"] = inference(children, names, settings)
        progress("share of the ceiling")
        found["ceiling"] = ceiling(children[OURS], settings)
    with ExitStack() as stack:
        progress("training with one thread")
        names = installed(chosen([OURS, *TORCH], settings))
        children = {name: start(stack, name, threads=1) for name in names}
        found["training, one thread, batch 32"] = training(children, names, 32, settings)
    found["memory"] = memory(installed(chosen(MEMORY_PEERS, settings)), settings)
    if not skip_accuracy:
        best = best_of(TORCH, found["training, batch 32"])
        found["seconds to accuracy"] = seconds_to_accuracy([OURS] + [best] * (best is not None), settings)
    progress("at the keyboard, and the first compilation")
    found["first use"] = first_use.measure(settings["rounds"])
    return found


def judge(found: dict) -> list[dict]:
    """The rows of the table of targets."""
    rows = []
    for batch in (32, 128):
        compare(rows, f"training, batch {batch}", found[f"training, batch {batch}"], TORCH, 2.0)
    for batch in (32, 128):
        compare(rows, f"training, batch {batch}", found[f"training, batch {batch}"], KERAS, 2.5)
    compare(rows, "inference, each at its best batch size", found["inference"], (*TORCH, "torch-compiled", *KERAS), 1.3)
    compare(rows, "inference, each at its best batch size", found["inference"], ("onnx",), 0.9)
    compare(rows, "training, one thread each, batch 32", found["training, one thread, batch 32"], TORCH, 1.8)
    share = ratio(found["ceiling"]["training"], found["ceiling"]["product"])
    rows.append(
        {
            "row": "share of the ceiling, training at batch 128",
            "against": "a large matrix product",
            "ratio": share,
            "target": 0.6,
            "met": "yes" if share["median"] >= 0.6 else "no",
        }
    )
    trained_on = f"peak memory, training on {found['settings']['memory']:,} of 60,000 photos"
    compare(rows, trained_on, {name: [peak] for name, peak in found["memory"].items()}, ("torch",), 1.0)
    runs = found.get("seconds to accuracy", {})
    goal = f"seconds from process start to {found['settings']['accuracy']:.0%}, kernels compiled before"
    compare(rows, goal, {name: [run["seconds"] for run in seeds] for name, seeds in runs.items()}, TORCH, 2.0)
    return rows


def markdown(found: dict, rows: list[dict]) -> str:
    """The report: targets, everybody's rates, memory and seconds, first use, code paths."""
    targets = [
        [row["row"], row["against"], with_range(row["ratio"]) + "x", f"{row['target']}x", row["met"]] for row in rows
    ]
    columns = ["training, batch 32", "training, batch 128", "training, one thread, batch 32", "inference"]
    rates = [
        [CONTENDERS[name][0]]
        + [with_range(spread([1 / t for t in found[c][name]])) if name in found[c] else "" for c in columns]
        + [found["inference batch"].get(name, "")]
        for name in found["contenders"]
    ]
    runs = found.get("seconds to accuracy", {})
    costs = [
        [
            CONTENDERS[name][0],
            figures(found["memory"][name]) if name in found["memory"] else "",
            with_range(spread([run["seconds"] for run in runs[name]])) if name in runs else "",
        ]
        for name in found["contenders"]
        if name in found["memory"] or name in runs
    ]
    paths = [
        [
            CONTENDERS[name][0],
            about["path"],
            about["threads"],
            f"{found['loss distance'][name]:.0e}" if name in found["loss distance"] else "",
            ", ".join(f"{key} {value}" for key, value in about.items() if key not in ("path", "threads")),
        ]
        for name, about in found["contenders"].items()
    ]
    product = spread(found["ceiling"]["product"])["median"]
    return "\n".join(
        [
            "Ratios are theirs over ours in time or memory, so more is better for us: "
            "median (min-max) over the turns.\n",
            table(["row", "against", "ratio", "target", "met"], targets),
            f"The ceiling: a large float32 product runs at {figures(product / 1e9)} GFLOP/s here; training takes "
            f"{TRAINING_FLOP / 1e6:.1f} MFLOP a photo when neither products with zero nor, by Winograd's transform, "
            "others are left out: so ours may pass it.\n",
            "## Photos a second: median (min-max)\n",
            table(["contender", *columns, "its batch size"], rates),
            f"## Peak memory, and seconds from process start to {found['settings']['accuracy']:.0%} test accuracy\n",
            table(["contender", "peak MB", "seconds"], costs),
            "## At the keyboard\n",
            first_use.markdown(found["first use"]),
            "## Code paths\n\nThe last but one column: the largest relative distance of the first "
            f"{CHECK_STEPS} losses from plain NumPy's.\n",
            table(["contender", "path", "threads", "losses", "versions"], paths),
        ]
    )


def plot(found: dict, path) -> None:
    """Bars: photos a second of everybody in the three main rows, the range of the turns as a line."""
    columns = [
        ("training, batch 32", "Training, batch 32"),
        ("training, batch 128", "Training, batch 128"),
        ("inference", "Inference"),
    ]
    figure, axes = new_figure(1, 3, width=4.2, height=3.4)
    for axis, (column, title) in zip(axes[0], columns, strict=True):
        names = [name for name in reversed(list(found["contenders"])) if name in found[column]]
        rates = [spread([1 / t for t in found[column][name]]) for name in names]
        whiskers = [[r["median"] - r["min"] for r in rates], [r["max"] - r["median"] for r in rates]]
        axis.barh(
            [CONTENDERS[name][0] for name in names],
            [r["median"] for r in rates],
            xerr=whiskers,
            ecolor=report.INK,
            color=[report.OURS if name.startswith("cnn") else report.THEIRS for name in names],
            capsize=2,
        )
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set_xlabel("photos a second")
        axis.locator_params(axis="x", nbins=5)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for axis in axes[0][1:2]:
        axis.set_yticklabels([])
    figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/peers.md, .json and .png."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter turns: about three minutes, figures only rough"
    )
    parser.add_argument("--rounds", type=int, help="turns of each contender")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        choices=CONTENDERS,
        metavar="NAME",
        help=f"leave out some of {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--seeds", type=int, help="runs to the accuracy; 0 leaves them out")
    args = parser.parse_args(argv)
    settings = dict(QUICK if args.quick else FULL)
    settings |= {key: getattr(args, key) for key in ("rounds", "seeds") if getattr(args, key) is not None}
    settings["left out"] = (*settings["left out"], *(name for name in args.without if name not in (OURS, "plain")))
    about = machine() | ({"measured": "with --quick: rough"} if args.quick else {})
    found = measure(settings, skip_accuracy=settings["seeds"] == 0)
    rows = judge(found)
    path = write("peers", "cnn and its peers", about, {"targets": rows, **found}, markdown(found, rows))
    plot(found, path.with_suffix(".png"))
    print(path.read_text())


if __name__ == "__main__":
    main()
