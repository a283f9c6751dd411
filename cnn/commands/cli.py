"""The command `cnn`: finds the subcommand, runs it, and turns every exception into one line and an exit code."""

import argparse
import importlib
import os
import sys
import warnings
from typing import NoReturn

from cnn.commands.shared import ranks, streams
from cnn.errors import DataError, DivergedError, ModelFileError, UsageError
from cnn.terminal import visible

COMMANDS = (
    *("train", "sweep", "evaluate", "predict", "photos", "compare", "explain", "gradcheck"),
    *("exercise", "lessons", "summary", "export", "import", "env"),
)
EXIT_CODES = {UsageError: 2, DataError: 3, ModelFileError: 4, DivergedError: 5}


def main(argv: list[str] | None = None) -> int:
    """Run `cnn` with these arguments (default: those of the process); return the exit code."""
    os.environ["MPLBACKEND"] = "agg"  # pictures go into files; what else was asked for may not even be there
    with streams.doors(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of overflow: DivergedError and ModelFileError will say it
        return ranks.together(lambda: run(build_parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    """Run the command of these arguments; return the exit code."""
    try:
        code = args.run(args) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as error:
        print(f"cnn {args.command}: {str(error) or 'interrupted'}", file=sys.stderr)
        return getattr(error, "exit_code", 130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        return 0
    except Exception as error:
        if args.debug:
            raise
        print(f"cnn {args.command}: {streams.one_line(error)}", file=sys.stderr)
        return exit_code(error)


def exit_code(error: BaseException) -> int:
    """2 wrong arguments, 3 data, 4 model file, 5 diverged, 1 anything else."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one sentence, like all others of the commands."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {visible(message.removeprefix('argument '))} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `cnn` with all its subcommands."""
    parser = Parser(prog="cnn", description="A convolutional neural network from scratch, on Fashion-MNIST.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"cnn.commands.{name}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
