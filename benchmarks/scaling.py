"""How cost grows: `python -m benchmarks.scaling [--quick]`. A plot each for time and memory of five questions.

Batch size, threads, size of the photos, their channels, and their number. Every point is
a process of its own, so that its peak of memory is its own; PyTorch runs beside ours
where it is installed, in turns. Both train the article's network, adapted to the photos.
"""

import argparse
from contextlib import ExitStack

from benchmarks.child import Child
from benchmarks.contenders import CONTENDERS, CORES, missing
from benchmarks.report import (
    OURS,
    THEIRS,
    alternate,
    figures,
    machine,
    new_figure,
    progress,
    spread,
    table,
    with_range,
    write,
)

NAMES = ("cnn", "torch-last")
DEFAULT = {"threads": CORES, "shape": (28, 28, 1), "batch": 32}
FULL = {"rounds": 3, "photos": 1600, "work": 1600 * 784}
QUICK = {"rounds": 1, "photos": 320, "work": 320 * 784}

# question: (title, unit of the axis, [(place on the axis, what differs from DEFAULT)])
SERIES = {
    "batch": ("Batch size", "photos in a batch", [(n, {"batch": n}) for n in (1, 4, 16, 32, 64, 128, 256, 512, 1024)]),
    "threads": ("Threads", "threads", [(n, {"threads": n}) for n in range(1, CORES + 1)]),
    "size": ("Size of the photos", "pixels along a side", [(n, {"shape": (n, n, 1)}) for n in (28, 56, 112, 224)]),
    "channels": ("Channels", "channels of a photo", [(n, {"shape": (28, 28, n)}) for n in (1, 4, 16, 64)]),
    "photos": ("Number of photos, one epoch", "photos", [(n, {"photos": n}) for n in (1000, 6000, 20_000, 60_000)]),
}


def photos_for(point: dict, settings: dict) -> int:
    """So many that a point takes about a second: at least two batches, fewer where photos are larger."""
    height, width, channels = point["shape"]
    cost = height * width * (1 + channels / 16)
    count = max(int(settings["work"] / cost), point["batch"] * 2)
    return point.get("photos") or -(-count // point["batch"]) * point["batch"]


def measure_point(names, differs: dict, settings: dict) -> dict:
    """{contender: {"seconds": spread for one photo, "memory": MB}} at one point."""
    point = DEFAULT | differs
    count = photos_for(point, settings)
    with ExitStack() as stack:
        arguments = str(point["threads"]), ",".join(map(str, point["shape"]))
        children = {name: stack.enter_context(Child("benchmarks.worker", name, *arguments)) for name in names}
        rounds = 1 if "photos" in point and point["photos"] > 2000 else settings["rounds"]
        turns = {
            name: lambda child=child: child.ask_rested("train", batch=point["batch"], count=count) / count
            for name, child in children.items()
        }
        times = alternate(rounds, turns)
        return {
            name: {"seconds": spread(times[name]), "memory": children[name].ask("peak_memory"), "photos": count}
            for name in names
        }


def measure(settings: dict, quick: bool) -> dict:
    """{question: {place on the axis: {contender: ...}}}"""
    names = [name for name in NAMES if not missing(name)]
    if len(names) < len(NAMES):
        progress("PyTorch is left out: install torch (pip install 'numpy-cnn[bench]')")
    found = {}
    for question, (title, _, points) in SERIES.items():
        found[question] = {}
        for place, differs in points[:: max(1, len(points) // 2)][:3] if quick else points:
            progress(f"{title.lower()}: {place:,}")
            found[question][place] = measure_point(names, differs, settings)
    return found


def markdown(found: dict) -> str:
    """A table for each question."""
    parts = [
        "Training; microseconds a photo are the median (min-max) of the turns, "
        "memory is the peak of the whole process.\n"
    ]
    for question, places in found.items():
        title, unit, _ = SERIES[question]
        names = list(next(iter(places.values())))
        header = [
            unit,
            *(f"{CONTENDERS[n][0]}, {what}" for n in names for what in ("us a photo", "photos/s", "peak MB")),
        ]
        rows = []
        for place, answers in places.items():
            row = [f"{place:,}"]
            for answer in (answers[name] for name in names):
                micro = {key: answer["seconds"][key] * 1e6 for key in ("median", "min", "max")}
                row += [with_range(micro), figures(1e6 / micro["median"]), figures(answer["memory"])]
            rows.append(row)
        parts += [f"## {title}\n", table(header, rows)]
    return "\n".join(parts)


def plot(question: str, places: dict, path) -> None:
    """Two panels: time (for the number of photos: of the whole epoch; else of one photo) and memory."""
    title, unit, _ = SERIES[question]
    whole = question == "photos"
    figure, axes = new_figure(1, 2, width=4.4, height=3.2)
    for name, color, style in (("torch-last", THEIRS, "s--"), ("cnn", OURS, "o-")):
        xs = [place for place in places if name in places[place]]
        if not xs:
            continue
        answers = [places[x][name] for x in xs]
        scale = [answer["photos"] if whole else 1e6 for answer in answers]
        times = [
            {key: value * k for key, value in answer["seconds"].items()}
            for answer, k in zip(answers, scale, strict=True)
        ]
        ranges = [[t["median"] - t["min"] for t in times], [t["max"] - t["median"] for t in times]]
        axes[0][0].errorbar(
            xs, [t["median"] for t in times], yerr=ranges, fmt=style, color=color, capsize=2, label=CONTENDERS[name][0]
        )
        axes[0][1].plot(xs, [answer["memory"] for answer in answers], style, color=color, label=CONTENDERS[name][0])
    for axis, label in zip(
        axes[0],
        ("seconds for one epoch" if whole else "microseconds a photo, training", "peak memory, MB"),
        strict=True,
    ):
        axis.set_xlabel(unit)
        axis.set_ylabel(label)
        label_axis(axis, question, list(places))
    axes[0][0].legend(frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    figure.savefig(path, dpi=150)


def label_axis(axis, question: str, places: list[int]) -> None:
    """The measured places as ticks, zero at the bottom; doublings side by side where the range is wide."""
    if question in ("batch", "channels"):
        axis.set_xscale("log", base=2)
    axis.set_ylim(0, 1.12 * axis.get_ylim()[1])
    crowded = question == "photos" and places[0]  # 1,000 and 6,000 would overlap
    axis.set_xticks(places, ["" if place == crowded else f"{place:,}" for place in places])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.grid(axis="y", color="#e5e7eb")


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/scaling.md, .json and a .png for each question."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="two or three points for each question, fewer turns: figures only rough"
    )
    args = parser.parse_args(argv)
    about = machine() | ({"measured": "with --quick: rough"} if args.quick else {})
    found = measure(QUICK if args.quick else FULL, args.quick)
    path = write("scaling", "How cost grows", about, {"series": found}, markdown(found))
    for question, places in found.items():
        plot(question, places, path.with_name(f"scaling-{question}.png"))
    print(path.read_text())


if __name__ == "__main__":
    main()
