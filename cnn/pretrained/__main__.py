"""`python -m cnn.pretrained` trains the models that ship with the package again, with `cnn train`, and puts them here.

It prints the commands, which are also kept in the files. The same seed, shards, BLAS and
kind of processor give the same bits; another machine gives other last digits.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

from cnn import pretrained, saving
from cnn.commands import cli
from cnn.commands.shared import files, options
from cnn.saving import npz

ARTICLE = "--optimizer adam --learning-rate 0.001 --batch-size 32 --epochs"
COMMANDS = {
    "cnn": f"--network cnn {ARTICLE} 10",
    "dense": f"--network dense {ARTICLE} 10",
    "best": "--recipe best",
    "early": f"--network cnn {ARTICLE} 1 --limit 2000",
}


def main(argv: list[str] | None = None) -> int:
    """Train all models (or --only one) into --out; return the exit code of `cnn train`."""
    parser = argparse.ArgumentParser(prog="python -m cnn.pretrained", description="Train the shipped models again.")
    parser.add_argument("--only", choices=pretrained.NAMES, help="one of them (default: all)")
    parser.add_argument("--epochs", type=options.whole(1), metavar="N", help="for a quick try (default: as they were)")
    parser.add_argument(
        "--limit", type=options.whole(1), metavar="N", help="for a quick try: only the first N training photos"
    )
    parser.add_argument(
        "--shards", type=options.whole(1, 256), default=2, metavar="N", help="as for cnn train (default: 2)"
    )
    here = Path(pretrained.__file__).parent
    parser.add_argument(
        "--out", default=here, type=Path, metavar="DIR", help="where to put them (default: the package)"
    )
    args = parser.parse_args(argv)
    for name in [args.only] if args.only else pretrained.NAMES:
        if code := remake(name, args):
            return code
    return 0


def remake(name: str, args: argparse.Namespace) -> int:
    """Train one model in a run folder that is thrown away; keep its weights, and the command that made them."""
    command = ["train", *COMMANDS[name].split(), "--seed", "0", "--shards", str(args.shards)]
    command += ["--epochs", str(args.epochs)] if args.epochs else []
    command += ["--limit", str(args.limit)] if args.limit else []
    print(f"cnn {shlex.join(command)}", flush=True)
    with tempfile.TemporaryDirectory() as out:
        if code := cli.main([*command, "--out", out, "--name", name, "--no-plots"]):
            return code
        model = saving.load_model(Path(out) / name)
    model.made_by = f"cnn {shlex.join(command)}"
    files.make_folder(args.out)
    saving.save_model(model, args.out / f"{name}.npz", include_optimizer=False)
    if name == "early":
        halve(args.out / f"{name}.npz")
    print(f"wrote {args.out / name}.npz")
    return 0


def halve(path: Path) -> None:
    """Write the weights of a model file as float16, 11 binary digits instead of 24."""
    with np.load(path) as file:
        arrays = {key: file[key] if key == "json" else file[key].astype(np.float16) for key in file}
    npz.write(str(path), arrays)


if __name__ == "__main__":
    sys.exit(main())
