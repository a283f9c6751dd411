"""The terminal: keys in, screens out, and everything put back at the end, whatever happens."""

import contextlib
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from typing import Protocol

from cnn import terminal

SMALLEST = (60, 20)
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # main screen aside, cursor hidden; and back
NAMES = dict(zip("ABCD", ("up", "down", "right", "left"), strict=True))
SEQUENCES = {
    **{f"{start}{letter}": name for letter, name in NAMES.items() for start in "[O"},
    **{f"[1;2{letter}": f"shift-{name}" for letter, name in NAMES.items()},
    **{"[5~": "pageup", "[6~": "pagedown"},
}


def too_small(size: os.terminal_size) -> bool:
    """Whether a window has no room for a step."""
    return size.columns < SMALLEST[0] or size.lines < SMALLEST[1]


def usable() -> str:
    """Why this terminal cannot show screens; empty where it can."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return "TERM=dumb: plain text instead of screens"
    size = shutil.get_terminal_size()
    if too_small(size):
        smallest = "x".join(map(str, SMALLEST))
        return f"the window is {size.columns}x{size.lines}, smaller than {smallest}: plain text instead of screens"
    try:
        import termios  # noqa: F401  not on every system
    except ImportError:
        return "no termios here: plain text instead of screens"
    return ""


@contextlib.contextmanager
def raw(fd: int) -> Iterator[int]:
    """Keys come one by one and are not echoed; Ctrl-C still interrupts. All is put back at the end."""
    import termios

    before = termios.tcgetattr(fd)

    def terminate(number, frame):
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, terminate) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)  # wakes the waiting select
    wakeup, wake = os.pipe()
    os.set_blocking(wake, False)
    old_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        mode = termios.tcgetattr(fd)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(fd, termios.TCSADRAIN, mode)
        terminal.draw(sys.stdout, ENTER)
        yield wakeup
    finally:
        terminal.draw(sys.stdout, LEAVE)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(old_wake)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(wakeup)
        os.close(wake)


class Shown(Protocol):
    """What `run` shows: it takes keys, draws itself, and is over at some time."""

    playing: bool
    pause: float
    finished: bool

    def press(self, key: str) -> None:
        """What the key does."""

    def screen(self, width: int, height: int, style: terminal.Style) -> list[str]:
        """The lines of the screen."""


def run(walk: Shown, style: terminal.Style) -> int:
    """Show screens and obey keys until q or the end of the input; the exit code."""
    fd = sys.stdin.fileno()
    with raw(fd) as wakeup:
        while not walk.finished:
            draw(walk, style)
            ready, _, _ = select.select([fd, wakeup], [], [], walk.pause if walk.playing else None)
            if wakeup in ready:
                os.read(wakeup, 1024)
            if fd in ready:
                key = read_key(fd)
                if key in ("", "\x04"):
                    break
                walk.press(key)
            elif not ready:
                walk.press("n")
    return 0


def draw(walk: Shown, style: terminal.Style) -> None:
    """One screen, in a single write, so that nothing flickers."""
    size = shutil.get_terminal_size()
    if too_small(size):
        lines = ["This window is too small:", f"{SMALLEST[0]} x {SMALLEST[1]} is needed.", "q quits."][: size.lines]
        lines = [line[: size.columns] for line in lines]
    else:
        lines = walk.screen(size.columns, size.lines, style)
    text = "\r\n".join(f"{terminal.shown(line)}\x1b[K" for line in lines)
    terminal.draw(sys.stdout, f"\x1b[H{text}\x1b[J")


def read_key(fd: int) -> str:
    """One key: a character, or a name such as "up". Empty at the end of the input."""
    first = os.read(fd, 1)
    if first == b"\x08":
        return "\x7f"
    if first != b"\x1b":
        more = sum(first >= lead for lead in (b"\xc0", b"\xe0", b"\xf0"))  # bytes of a letter in UTF-8
        return (first + (os.read(fd, more) if more else b"")).decode("utf-8", "replace")
    sequence = b""
    while select.select([fd], [], [], 0.03)[0] and len(sequence) < 8:
        sequence += os.read(fd, 1)
        if (sequence[-1:].isalpha() and sequence != b"O") or sequence[-1:] == b"~":
            break
    return SEQUENCES.get(sequence.decode("latin-1"), "escape")
