"""cnn against its peers on many networks: `python -m benchmarks.family [--quick] [--only NAMES]`.

The networks are those of networks.py. As in peers.py every contender runs in its own process, from the same weights,
must first show that it computes the same network, and then they take turns.
"""

import argparse
import statistics
from contextlib import ExitStack

from benchmarks import report
from benchmarks.contenders import CONTENDERS
from benchmarks.networks import NETWORKS
from benchmarks.peers import OURS, TORCH, best_of, check, inference, installed, start, training
from benchmarks.report import figures, machine, new_figure, progress, ratio, spread, table, with_range, write

AVX2, TORCH_AVX2, KERAS, ONNX = "cnn-avx2", ("torch-avx2", "torch-last-avx2"), "keras-tf", "onnx"
NAMES = (OURS, AVX2, *TORCH, *TORCH_AVX2, KERAS, ONNX)
CHECK_STEPS = 5  # Adam divides by a gradient's size: on photos of noise it doubles what rounding did at every step
FULL = {"rounds": 5, "seconds": 0.6, "batches": (32, 256, 1000)}
QUICK = {"rounds": 2, "seconds": 0.2, "batches": (32, 256)}
COLUMNS = {  # title: (what was measured, whose time, over whose)
    "training": ("training", TORCH, OURS),
    "inference": ("inference", TORCH, OURS),
    "training, both with AVX2": ("training", TORCH_AVX2, AVX2),
    "inference, both with AVX2": ("inference", TORCH_AVX2, AVX2),
    "training, Keras": ("training", (KERAS,), OURS),
    "inference, Keras": ("inference", (KERAS,), OURS),
    "inference, ONNX Runtime": ("inference", (ONNX,), OURS),
}
TARGETS = (("training", 2.2, 1.3), ("inference", 1.8, 1.0))  # against PyTorch: the geometric mean, the worst row


def measure_network(children: dict, name: str, settings: dict) -> dict:
    """Seconds a photo of each contender in training and inference, round by round, and how far apart the losses are."""
    batch, trainers = NETWORKS[name].batch, [contender for contender in children if contender != ONNX]
    for child in children.values():
        child.ask("turn_to", network=name)
    reference = next((peer for peer in (*TORCH, KERAS) if peer in children), OURS)
    found = {"loss distance": check(children, list(children), reference, batch, CHECK_STEPS), "batch": batch}
    children[OURS].ask("train", batch=batch, count=2 * batch)  # compiles
    seconds = children[OURS].ask("train", batch=batch, count=8 * batch) / 8
    steps = max(2, min(round(settings["seconds"] / seconds), 12_000 // batch))
    photos = {"train": steps * batch, "predict": min(10_000, 3 * steps * batch)}
    found["training"] = training(children, trainers, batch, settings | photos)
    if batch >= 32:  # the networks of smaller ones are there again
        found["inference"], found["inference batch"] = inference(children, list(children), settings | photos)
    return found


def measure(names: list[str], settings: dict) -> dict:
    """{"contenders": ..., "networks": {name: what measure_network found}}"""
    with ExitStack() as stack:
        children = {name: start(stack, name) for name in installed(NAMES)}
        found = {"contenders": {name: child.ask("describe") for name, child in children.items()}, "networks": {}}
        for number, name in enumerate(names, 1):
            progress(f"network {number} of {len(names)}: {name}")
            found["networks"][name] = measure_network(children, name, settings)
    return found


def ratios(found: dict) -> dict[str, dict[str, dict]]:
    """{column: {network: how many times as fast as the best of these peers}}, for the columns that were measured."""
    result = {}
    for column, (what, peers, ours) in COLUMNS.items():
        for name, network in found["networks"].items():
            best = best_of(peers, network.get(what, {}))
            if best and ours in network[what]:
                result.setdefault(column, {})[name] = ratio(network[what][best], network[what][ours])
    return result


def summary(rows: dict[str, dict]) -> tuple[float, str, float]:
    """(geometric mean, the worst network, its ratio) of one column."""
    medians = {name: values["median"] for name, values in rows.items()}
    worst = min(medians, key=medians.__getitem__)
    return statistics.geometric_mean(medians.values()), worst, medians[worst]


def markdown(found: dict) -> str:
    """The report: targets, the ratios, and everybody's rates."""
    factors, networks = ratios(found), found["networks"]
    targets = []
    for column, mean_target, worst_target in TARGETS:
        if column in factors:
            mean, worst, factor = summary(factors[column])
            targets.append([f"{column}, geometric mean", figures(mean), mean_target, verdict(mean, mean_target)])
            targets.append(
                [f"{column}, the worst: {worst}", figures(factor), worst_target, verdict(factor, worst_target)]
            )
    means = [figures(summary(rows)[0]) for rows in factors.values()]
    lines = [
        [name, network["batch"], *(with_range(rows[name]) if name in rows else "" for rows in factors.values())]
        for name, network in networks.items()
    ]
    text = (
        "How many times as fast as the better of PyTorch's two layouts where nobody else is named: median (min-max).\n"
    )
    parts = [text, table(["", "times PyTorch", "target", "met"], targets)]
    parts.append(table(["network", "batch", *factors], [*lines, ["geometric mean", "", *means]]))
    for what in ("training", "inference"):
        shown = [
            contender
            for contender in found["contenders"]
            if any(contender in n.get(what, {}) for n in networks.values())
        ]
        rates = [
            [name, *(with_range(spread([1 / t for t in n[what][c]])) if c in n[what] else "" for c in shown)]
            for name, n in networks.items()
            if what in n
        ]
        parts.append(f"## Photos a second, {what}\n")
        parts.append(table(["network", *(CONTENDERS[contender][0] for contender in shown)], rates))
    return "\n".join(parts)


def verdict(value: float, target: float) -> str:
    return "yes" if value >= target else "no"


def plot(found: dict, path) -> None:
    """A bar for each network, to the right of the line where we are ahead of PyTorch, on a scale of doublings."""
    factors = {column: rows for column, rows in ratios(found).items() if column in ("training", "inference")}
    figure, axes = new_figure(1, max(len(factors), 1), width=4.6, height=1 + 0.24 * len(found["networks"]))
    for axis, (column, rows) in zip(axes[0], factors.items(), strict=False):
        names = [name for name in reversed(list(found["networks"])) if name in rows]
        medians = [rows[name]["median"] for name in names]
        colours = [report.OURS if median >= 1 else report.THEIRS for median in medians]
        whiskers = [[r["median"] - r["min"] for r in rows.values()], [r["max"] - r["median"] for r in rows.values()]]
        whiskers = [side[::-1] for side in whiskers]
        axis.barh(names, [m - 1 for m in medians], left=1, xerr=whiskers, color=colours, ecolor=report.INK, capsize=2)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axis.axvline(1, color=report.INK, linewidth=1)
        mean, worst, factor = summary(rows)
        axis.set_title(f"{column.capitalize()}: mean {figures(mean)}x", loc="left", fontweight="bold")
        axis.set_xlabel(f"times PyTorch's speed\nthe worst: {worst}, {figures(factor)}x")
    figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/family.md, .json and .png; with --only, print the report alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.family", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures only rough")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, metavar="NAME", help=", ".join(NETWORKS))
    args = parser.parse_args(argv)
    about = machine() | ({"measured": "with --quick: rough"} if args.quick else {})
    found = measure(args.only or list(NETWORKS), QUICK if args.quick else FULL)
    if args.only:
        print(markdown(found))
        return
    path = write("family", "cnn and its peers on many networks", about, found, markdown(found))
    plot(found, path.with_suffix(".png"))
    print(path.read_text())


if __name__ == "__main__":
    main()
