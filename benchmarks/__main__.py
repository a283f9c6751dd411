"""All benchmarks one after the other, each in a process of its own: `python -m benchmarks [--quick] [NAMES]`."""

import argparse
import subprocess
import sys
import time

from benchmarks.child import ROOT
from benchmarks.report import calm, progress

BENCHMARKS = ("kernels", "step", "cores", "scaling", "peers", "family")


def main() -> int:
    """Run the benchmarks that were asked for; the exit code is that of the first that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split(":")[0])
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="about five minutes instead of half an hour; figures only rough"
    )
    args = parser.parse_args()
    for name in args.names:
        if name not in BENCHMARKS:
            parser.error(f"expected benchmarks among {', '.join(BENCHMARKS)}, got {name!r}")
    names = args.names or BENCHMARKS
    for number, name in enumerate(names, 1):
        progress(f"benchmark {number} of {len(names)}: {name}")
        for _ in range(180):  # the load of the one before is forgotten after a minute or two
            if calm() or args.quick:
                break
            time.sleep(1)
        code = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *["--quick"] * args.quick], cwd=ROOT
        ).returncode
        if code:
            return code
    progress("done: see benchmarks/results/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
