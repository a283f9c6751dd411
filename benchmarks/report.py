"""What the four benchmarks share: statistics, the machine, the files in benchmarks/results/."""

import json
import os
import platform
import random
import statistics
import sys
import time
from pathlib import Path

from benchmarks.child import ROOT

RESULTS = ROOT / "benchmarks" / "results"
INK, OURS, THEIRS = "#222222", "#c2410c", "#8b96a5"  # colours of the plots
_start = time.perf_counter()


def progress(text: str) -> None:
    """One line to stderr: minutes since the start, and what is being measured now."""
    minutes, seconds = divmod(int(time.perf_counter() - _start), 60)
    print(f"[{minutes:2}:{seconds:02}] {text}", file=sys.stderr, flush=True)


def spread(values: list[float]) -> dict[str, float]:
    """The median of these values, and how far they reach."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "count": len(values)}


def ratio(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """How many times theirs is ours, round by round: what lies near in time has met the same machine."""
    return spread([a / b for a, b in zip(theirs, ours, strict=True)])


def alternate(rounds: int, turns: dict) -> dict[str, list[float]]:
    """Call each of {name: function} once a round; what they returned. One round before is for warming up.

    Each round has another order: else whoever comes after a library whose threads go to sleep late always pays for it.
    """
    values = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name in random.Random(number).sample(list(turns), len(turns)):
            value = turns[name]()
            if number > 0:
                values[name].append(value)
    return values


def calm() -> bool:
    """Whether nothing else is running: else libraries whose threads wait for each other lose most, which is unfair."""
    return os.getloadavg()[0] <= (os.cpu_count() or 1) / 4


def machine() -> dict:
    """Processor, cores, load, what the environment says to BLAS and the compiler, and date: the head of a report."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = dict(part for part in (line.split(":", 1) for line in lines) if len(part) == 2)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        processor = f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    except (OSError, KeyError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    settings = {
        key: value for key, value in os.environ.items() if key.startswith(("OPENBLAS_", "OMP_", "MKL_", "NUMBA_"))
    }
    if not calm():
        progress(f"other programs are running (load {os.getloadavg()[0]:.1f}): these figures will be worth nothing")
    return {
        "processor": processor,
        "cores": cores,
        "load before": round(os.getloadavg()[0], 2),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "environment": " ".join(f"{key}={value}" for key, value in sorted(settings.items())) or "nothing set",
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def figures(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def with_range(values: dict[str, float]) -> str:
    """median (min-max); of one value alone no range"""
    if values.get("count") == 1:
        return figures(values["median"])
    return f"{figures(values['median'])} ({figures(values['min'])}-{figures(values['max'])})"


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; every column but the first is aligned right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def write(name: str, title: str, about: dict, data: dict, text: str) -> Path:
    """benchmarks/results/<name>.md and .json; returns the path of the first."""
    RESULTS.mkdir(exist_ok=True)
    head = "; ".join(f"{key}: {value}" for key, value in about.items())
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, **data}, indent=1) + "\n")
    path = RESULTS / f"{name}.md"
    path.write_text(f"# {title}\n\n{head}\n\n{text}")
    return path


def new_figure(rows: int = 1, columns: int = 1, width: float = 5.5, height: float = 3.6):
    """A matplotlib figure and its axes, plain and without a window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "axes.edgecolor": INK}
    )
    return pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False)
