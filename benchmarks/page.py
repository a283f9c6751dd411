"""How soon the page of `cnn explain 9 --html` is there: `python -m benchmarks.page [--quick] [--file PAGE]`.

In Chromium (the extra `page`), from the disk, at full speed and slowed down four times: the first paint, until one can
use it, until it has proved itself, and the longest time that it does not answer in between and when it is asked for
another moment of the network.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.child import ROOT
from benchmarks.report import alternate, machine, progress, spread, table, with_range, write

SPEEDS = {"full speed": 1, "four times slower": 4}
ROWS = {  # what is measured: the most it may be, in milliseconds, at each speed
    "first paint": (None, None),
    "one can use it": (1000, 4000),
    "it has proved itself": (None, None),
    "longest block after the first paint": (200, 200),
    "another moment is shown": (None, None),
    "longest block until then": (200, 200),
}
WATCH = """
const seen = window.seen = { blocks: [], at: {} };
new PerformanceObserver((list) => { for (const { startTime, duration } of list.getEntries())
  seen.blocks.push([startTime, duration]); }).observe({ type: "longtask", buffered: true });
new PerformanceObserver((list) => { for (const { name, startTime } of list.getEntries())
  seen.at[name] = startTime; }).observe({ type: "paint", buffered: true });
const note = () => { for (const name of ["alive", "ready", "failed"])
  if (document.documentElement?.classList.contains(name)) seen.at[name] ??= performance.now(); };
new MutationObserver(note).observe(document, { attributes: true, subtree: true, attributeFilter: ["class"] });
"""


def chromium() -> str:
    """Where Chromium is. Raises FileNotFoundError where there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        raise FileNotFoundError("expected Chromium: apt-get install chromium, or set CHROMIUM")
    return found


def opened(browser, page: Path, slower: int) -> dict[str, float]:
    """One visit, in milliseconds: see ROWS."""
    tab = browser.new_page(viewport={"width": 1366, "height": 768})
    tab.add_init_script(WATCH)
    tab.context.new_cdp_session(tab).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    tab.goto(page.as_uri())
    until(tab, "seen.at.ready || seen.at.failed")
    seen = tab.evaluate("seen")
    paint, ready = seen["at"]["first-contentful-paint"], seen["at"]["ready"]
    found = [paint, seen["at"]["alive"], ready, longest(seen["blocks"], paint)]
    found += switched(tab)
    tab.close()
    return dict(zip(ROWS, found, strict=True))


def switched(tab) -> list[float]:
    """How long it takes to show the finished network, and the longest block until then; zeros where there is none."""
    if not tab.locator("input[name=moment][value=finished]").count():
        return [0.0, 0.0]
    start = tab.evaluate("(seen.start = performance.now(), App.set({ moment: 'finished' }), seen.start)")
    until(tab, "document.documentElement.dataset.moment === 'finished' && performance.now()")
    end = tab.evaluate("performance.now()")
    until(tab, "document.documentElement.matches('.ready')")
    return [end - start, longest(tab.evaluate("seen.blocks"), start)]


def longest(blocks: list[list[float]], since: float) -> float:
    """The longest of the blocks (start, duration) that reach beyond this time; those under 50 ms are not reported."""
    return max(
        (min(duration, start + duration - since) for start, duration in blocks if start + duration > since), default=0.0
    )


def until(tab, condition: str, seconds: int = 120) -> None:
    """Wait for a condition in the page, whose policy forbids what Playwright's own waiting needs."""
    for _ in range(seconds * 40):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(25)
    raise TimeoutError(f"{condition}: not within {seconds} s; the page says {tab.inner_text('#report')}")


def measure(page: Path, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """{speed: {row: its spread}}"""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        turns = {name: lambda slower=slower: opened(browser, page, slower) for name, slower in SPEEDS.items()}
        visits = alternate(rounds, turns)
        browser.close()
    return {name: {row: spread([one[row] for one in seen]) for row in ROWS} for name, seen in visits.items()}


def markdown(found: dict) -> str:
    """A table with a column for each speed, and what may not be exceeded."""
    rows = []
    for row, limits in ROWS.items():
        measured = [found["speeds"][name][row] for name in SPEEDS]
        met = [one["median"] <= limit for one, limit in zip(measured, limits, strict=True) if limit]
        asked = ", ".join("" if limit is None else f"{limit:,}" for limit in limits) if met else ""
        rows.append([row, *map(with_range, measured), asked.strip(", "), ("yes" if all(met) else "no") if met else ""])
    return f"The page has {found['bytes']:,} bytes. Milliseconds; a block under 50 ms counts as none.\n\n" + table(
        ["", *SPEEDS, "at most", "met"], rows
    )


def main(argv: list[str] | None = None) -> None:
    """Measure, and write benchmarks/results/page.md and .json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.split(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer visits: figures only rough")
    parser.add_argument("--file", type=Path, help="this page; then the figures are printed and no file is written")
    args = parser.parse_args(argv)
    about = machine() | ({"measured": "with --quick: rough"} if args.quick else {})
    with tempfile.TemporaryDirectory() as folder:
        page = args.file or Path(folder) / "page.html"
        if not args.file:
            progress("writing the page")
            subprocess.run([sys.executable, "-m", "cnn", "explain", "9", "--html", str(page)], cwd=ROOT, check=True)
        progress("opening it")
        found = {"speeds": measure(page.resolve(), 2 if args.quick else 5), "bytes": page.stat().st_size}
    if args.file:
        return print(markdown(found))
    print(write("page", "How soon the page is there", about, {"page": found}, markdown(found)).read_text())


if __name__ == "__main__":
    main()
