"""`cnn exercise`: write a convolutional network yourself, a function at a time, and be told which mistake you made."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from cnn.exercises.files import State

HELP = "write the network yourself: fourteen exercises, and a checker that names the mistake"
ACTIONS = {
    "list": "the exercises, and how far you are",
    "start": "write the file of one, with its formula and an example",
    "check": "check it: the exit code is 0 where all is right, else 1",
    "watch": "check it each time it is saved, until it is right",
    "hint": "a hint; there are three, each a step further",
    "solution": "our own answer, after asking",
    "reset": "begin anew; your file is kept under another name",
}
LOOK = 0.3  # seconds between two looks at a file that is watched


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn exercise`."""
    parser.add_argument(
        "action",
        choices=tuple(ACTIONS),
        metavar="ACTION",
        help="; ".join(f"{a}: {words}" for a, words in ACTIONS.items()),
    )
    parser.add_argument(
        "name", nargs="?", type=options.name, metavar="NAME", help="of the exercise; for check and watch also a FILE"
    )
    parser.add_argument(
        "--folder",
        type=options.name,
        default="exercises",
        metavar="DIR",
        help="where your files lie (default: exercises)",
    )
    parser.add_argument(
        "--exercise", type=options.name, metavar="NAME", help="which one a FILE is, where it is not called NAME.py"
    )
    parser.add_argument(
        "--seconds", type=options.positive, default=10.0, metavar="S", help="how long one call may take (default: 10)"
    )
    parser.add_argument(
        "--seed",
        type=options.whole(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="draws the numbers of a check (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="print what a check found as JSON; progress is not kept")
    parser.add_argument("--yes", action="store_true", help="show the solution without asking")


def run(args: argparse.Namespace) -> int:
    """Do what the action says; the exit code."""
    from cnn.errors import UsageError

    if args.action == "list":
        return show_list(args)
    if args.name is None:
        raise UsageError(f"{args.action}: expected the NAME of an exercise (`cnn exercise list` shows them)")
    actions = {"start": start, "check": check, "watch": watch, "hint": hint, "solution": solution, "reset": reset}
    return actions[args.action](args)


# ---- which exercise, which file, how far


def find(args: argparse.Namespace) -> tuple[str, Path]:
    """(the exercise, its file) of NAME or FILE. Raises UsageError."""
    from cnn.errors import UsageError
    from cnn.exercises import EXERCISES

    given = args.name
    is_file = given.endswith(".py")
    if is_file and args.action not in ("check", "watch"):
        raise UsageError(f"{args.action}: expected the NAME of an exercise, got the file {given}")
    name = args.exercise or (Path(given).stem if is_file else given)
    if name not in EXERCISES:
        known = ", ".join(EXERCISES)
        hint = ": --exercise NAME tells which one the file is" if is_file and not args.exercise else ""
        raise UsageError(f"expected one of {known}, got {name}{hint}")
    return name, Path(given) if is_file else Path(args.folder) / f"{name}.py"


def progress_of(folder: Path) -> tuple[str, dict[str, "State"]]:
    """(the text of the progress file, its states); nothing where there is none."""
    from cnn.commands.shared import files as shared
    from cnn.exercises import files

    try:
        text = shared.read_small(folder / files.PROGRESS).decode("utf-8", "replace")
    except OSError:
        text = ""
    return text, files.parse_progress(text)


def remember(folder: Path, name: str, **changes: Any) -> "State":
    """Keep the new state of an exercise; a folder that cannot be written to gets a warning."""
    import datetime

    from cnn.commands.shared import files as shared
    from cnn.exercises import files

    text, states = progress_of(folder)
    state = states.get(name, files.State())._replace(day=datetime.date.today().isoformat(), **changes)
    try:
        shared.write(folder / files.PROGRESS, files.progress_text(text, name, state))
    except OSError as error:
        options.log(f"warning: {error.filename}: {error.strerror}: how far you are is not kept")
    return state


# ---- the actions


def show_list(args: argparse.Namespace) -> int:
    """The exercises in their order, and how far somebody is."""
    from cnn.exercises import EXERCISES

    states = progress_of(Path(args.folder))[1]
    done = 0
    for number, (name, exercise) in enumerate(EXERCISES.items(), 1):
        state = states[name].state if name in states else ""
        done += state == "done"
        print(f"{number:>2}  {name:<16} {exercise.title:<50} {state}".rstrip())
    begin = next((name for name in EXERCISES if name not in states or states[name].state != "done"), None)
    if begin is None:
        print(f"\nAll {done} are done: you have written a convolutional network.")
        return 0
    verb = "check" if begin in states else "start"
    print(f"\n{done} of {len(EXERCISES)} done. Next: cnn exercise {verb} {begin}")
    return 0


def start(args: argparse.Namespace) -> int:
    """Write the file of an exercise. Raises UsageError where there is one: nobody's work is overwritten."""
    from cnn.commands.shared import files as shared
    from cnn.errors import UsageError
    from cnn.exercises import EXERCISES, files, screen

    name, path = find(args)
    if path.exists():
        raise UsageError(f"{path} is there already, and stays as it is: `cnn exercise reset {name}` begins anew")
    shared.make_folder(path.parent)
    shared.write(path, files.stub(name))
    remember(path.parent, name)
    print(
        f"{path}: {EXERCISES[name].title}. Read it, write the lines that are missing, then: cnn exercise check {name}"
    )
    missing = [other for other in EXERCISES[name].needs if not (path.parent / f"{other}.py").exists()]
    if missing:
        print(screen.filled(f"It takes functions of {', '.join(missing)}, which you have not begun yet."))
    return 0


def check(args: argparse.Namespace) -> int:
    """Check a file once. Raises UsageError where there is none."""
    from cnn.commands.shared import streams
    from cnn.exercises import screen

    name, path = find(args)
    report = checked(args, name, path)
    if args.json:
        streams.print_json(report)
    else:
        keep(report, name, path)
        print(screen.told(report))
    return 0 if report["passed"] else 1


def checked(args: argparse.Namespace, name: str, path: Path) -> dict[str, Any]:
    """What a check found. Raises UsageError where there is no file."""
    from cnn.errors import UsageError
    from cnn.exercises import process

    if not path.is_file():
        raise UsageError(f"{path}: there is no such file: `cnn exercise start {name}` writes it")
    say = (lambda text: None) if args.json else progress_line
    report = process.check(name, path, args.seed, args.seconds, say)
    return {**report, "file": str(path)}


def progress_line(text: str) -> None:
    """How far the training is: on a terminal always in the same line."""
    from cnn import terminal

    if sys.stderr.isatty():
        terminal.draw(sys.stderr, f"\r\x1b[K{terminal.visible(text)}" + ("\n" if text.startswith("2,000 ") else ""))
    else:
        options.log(text)


def keep(report: dict[str, Any], name: str, path: Path) -> None:
    """Remember a check beside the file; once done an exercise stays done."""
    states = progress_of(path.parent)[1]
    before = states.get(name)
    is_done = report["passed"] or (before is not None and before.state == "done")
    remember(path.parent, name, checks=(before.checks if before else 0) + 1, state="done" if is_done else "begun")


def watch(args: argparse.Namespace) -> int:
    """Check at each save until it is right."""
    import time

    from cnn.exercises import screen

    name, path = find(args)
    seen = None
    while True:
        try:
            status = path.stat()
            now = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            now = None  # an editor may just be writing it
        if now is None and seen is None:
            checked(args, name, path)  # says that there is none
        if now is not None and now != seen:
            seen = now
            report = checked(args, name, path)
            keep(report, name, path)
            print(screen.told(report), flush=True)
            if report["passed"]:
                return 0
            print(f"\nwatching {path}: save it, and it is checked again (Ctrl-C ends)\n", flush=True)
        time.sleep(LOOK)


def hint(args: argparse.Namespace) -> int:
    """The next hint, under those that were given before."""
    from cnn.exercises import screen
    from cnn.exercises.hints import HINTS

    name, path = find(args)
    hints, states = HINTS[name], progress_of(path.parent)[1]
    count = min(len(hints), (states[name].hints if name in states else 0) + 1)
    if path.parent.is_dir():
        remember(path.parent, name, hints=count)
    for number, text in enumerate(hints[:count], 1):
        print(screen.filled(f"hint {number} of {len(hints)}: {text}"))
    if count == len(hints):
        print(f"There are no more; `cnn exercise solution {name}` shows how we wrote it.")
    return 0


def solution(args: argparse.Namespace) -> int:
    """Our answer, after asking. Raises UsageError where nobody can be asked."""
    from cnn.errors import UsageError
    from cnn.exercises import files

    name, _ = find(args)
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError(f"solution: asks before it shows our answer: cnn exercise solution {name} --yes")
        if input(f"Show our answer to {name}? Your own is worth more. [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    print(files.solution_text(name), end="")
    return 0


def reset(args: argparse.Namespace) -> int:
    """The file as it was at first; what stood there is kept. Raises UsageError where there is none."""
    import os

    from cnn.errors import UsageError

    _, path = find(args)
    if not path.exists():
        raise UsageError(f"{path}: there is no such file: nothing to reset")
    number = 1
    while (aside := path.with_name(f"{path.stem}.old-{number}.py")).exists():
        number += 1
    os.rename(path, aside)
    print(f"your file is kept as {aside}")
    return start(args)
