"""The walk in a terminal: a real `cnn explain` on a pseudo-terminal, its screens read by pyte."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

import explain_models as nets
import pyte
import pytest

from cnn import photos
from cnn.explain import formulas, voice
from cnn.explain.terminal import screen, text
from cnn.explain.terminal.keys import ACTIONS
from cnn.explain.terminal.walk import Walk
from cnn.terminal import Style

ROOT = Path(__file__).parent.parent
LIMIT = 60  # seconds; against hanging only
NAMES = {name: sequence for sequence, name in screen.SEQUENCES.items()}


class Terminal:
    """A child process on a pseudo-terminal of this size, and the screen that a person would see."""

    def __init__(self, argv, columns=80, rows=24, before="pass", **environment):
        self.display = pyte.Screen(columns, rows)
        self.stream, self.bytes = pyte.ByteStream(self.display), b""
        program = f"import sys; {before}; from cnn.commands.cli import main; sys.exit(main(sys.argv[1:]))"
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(self.slave)
        environment = {
            **os.environ,
            "TERM": "xterm",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "PYTHONUTF8": "1",
            **environment,
        }
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            environment.pop(name, None)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for descriptor in (0, 1, 2):
                os.dup2(self.slave, descriptor)
            os.execve(sys.executable, [sys.executable, "-c", program, "explain", *argv], environment)
        self.status = None

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.display.resize(rows, columns)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                data = os.read(self.master, 65536)
                self.bytes += data
                self.stream.feed(data)

    def wait_for(self, words):
        """Read until the words stand on the screen."""
        end = time.monotonic() + LIMIT
        while words not in self.text and time.monotonic() < end:
            self.read(0.05)
        assert words in self.text, self.text
        return self.text

    def press(self, keys, words):
        os.write(self.master, keys.encode())
        return self.wait_for(words)

    def ended(self):
        """The exit code, once the process is gone."""
        end = time.monotonic() + LIMIT
        while self.status is None and time.monotonic() < end:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        assert self.status is not None
        seen = -1
        while len(self.bytes) > seen:  # a terminal hands over 4 kB at a time, and more may wait
            seen = len(self.bytes)
            self.read(0.1)
        return self.status

    @property
    def text(self):
        return "\n".join(self.display.display)

    def restored(self):
        """Echo and line mode as before, the cursor shown, the main screen back."""
        tail = self.bytes
        return (
            termios.tcgetattr(self.slave) == self.modes
            and tail.rindex(b"\x1b[?25h") > tail.rindex(b"\x1b[?25l")
            and tail.rindex(b"\x1b[?1049l") > tail.rindex(b"\x1b[?1049h")
        )

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.npz"
    nets.tiny().save(path)
    return str(path)


@pytest.fixture
def start(model_file):
    terminals = []

    def begin(*argv, **options):
        terminals.append(Terminal([*argv, "--model", model_file], **options))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.close()


def test_from_the_sheet_to_photo_12_and_out(start):
    terminal = start()
    terminal.wait_for("The first 20 test photos")
    terminal.press("i", "Photo number, or a file: _")
    terminal.press("1x\x7f2", "a file: 12_")
    terminal.press("\r", "photo 12 = test[11]: model says")
    terminal.press("n", "F2 of F12")
    terminal.press("i0\r", "photo 0: expected a number from 1 to 10000")
    terminal.press("p", "F1 of F12")
    os.write(terminal.master, b"q")
    assert terminal.ended() == 0 and terminal.restored()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 20), (104, 30), (200, 50)])
def test_all_steps_fit_the_window(start, columns, rows):
    terminal = start("9", columns=columns, rows=rows)
    terminal.wait_for("F1 of F12")
    for step in [step.id for step in formulas.tour(nets.traced("tiny"))][1:]:
        shown = terminal.press("n", f"{step} of {step[0]}12" if step[0] in "FB" else f"{step}  ").splitlines()
        assert shown[0].startswith("photo 9 = test[8]: model says "), "a row was scrolled away"
        assert "? help" in shown[-1]
    terminal.press("f", "F3 of F12")
    terminal.press("b", "B11 of B12")


def test_a_resized_window_is_drawn_anew(start):
    terminal = start("9")
    terminal.wait_for("F1 of F12")
    terminal.resize(50, 15)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.wait_for("This window is too small")
    terminal.resize(90, 28)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.wait_for("F1 of F12")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_and_the_terminal_is_as_before(start, number, code):
    terminal = start("9")
    terminal.wait_for("F1 of F12")
    if number == signal.SIGINT:
        os.write(terminal.master, b"\x03")  # Ctrl-C, as from the keyboard
    else:
        os.kill(terminal.pid, number)
    assert terminal.ended() == code and terminal.restored()


def test_an_exception_leaves_the_terminal_as_before(start):
    terminal = start("9", before="import cnn.explain.terminal.walk as w; w.Walk.jump = lambda self: 1 / 0")
    terminal.wait_for("F1 of F12")
    os.write(terminal.master, b"j")
    assert terminal.ended() == 1 and terminal.restored()
    assert "division by zero" in terminal.text.replace("\n", "")  # this terminal has no second screen: it goes on there


def test_the_end_of_the_input_ends_it(start):
    terminal = start("9")
    terminal.wait_for("F1 of F12")
    os.write(terminal.master, b"\x04")
    assert terminal.ended() == 0 and terminal.restored()


@pytest.mark.parametrize("options", [{"TERM": "dumb"}, {"columns": 59}, {"rows": 19}])
def test_small_and_dumb_terminals_get_plain_text(start, options):
    terminal = start("9", **options)
    assert terminal.ended() == 0
    assert (
        b"plain text instead of screens" in terminal.bytes
        and b"\x1b[?1049h" not in terminal.bytes
        and b"B12 of B12" in terminal.bytes
    )


# ---- the keys, without a terminal

STYLE = Style(unicode=True, colour=True, width=80)


@pytest.fixture
def walk():
    return Walk(nets.tiny(), photos.test_photo(9, *nets.test_set()), nets.test_set())


def lines(walk, width=80, height=24):
    found = walk.screen(width, height, STYLE)
    assert len(found) <= height
    assert all(len(line) <= width for line in found if "\x1b" not in line)
    return "\n".join(found)


def press(walk, *keys):
    for key in keys:
        walk.press(key)
    return lines(walk)


def test_every_key_of_the_help_does_something(walk):
    """From the step where it can: the screen or the state changes, and no key raises."""
    before_each = {"p": "n", "f": "b", "u": "t", "pageup": "n", "<": "m", "\x7f": " ", "{": "n", "[": "n"}
    arrows = ["up", "down", "left", "right", "shift-up", "shift-down", "shift-left", "shift-right"]
    starts = dict.fromkeys([*arrows, "[", "]", "j", "pageup", "pagedown"], "F3")
    starts |= {"{": "F6", "}": "F6", "k": "L", "o": "L", "r": "L", "f": "B8"}
    shown = list(ACTIONS)
    assert set(starts) <= set(shown)
    for key in shown:
        fresh = Walk(
            nets.tiny(),
            photos.test_photo(9, *nets.test_set()),
            nets.test_set(),
            step=starts.get(key, "F3" if key != "?" else "F1"),
            moment="early",
        )
        if key in ("j", "w"):
            fresh.press("up")
        elif key in before_each and key not in starts:
            fresh.press(before_each[key])
        elif key in ("{", "["):
            fresh.press({"{": "}", "[": "]"}[key])
        before = lines(fresh), fresh.playing, fresh.finished
        fresh.press(key)
        assert (lines(fresh), fresh.playing, fresh.finished) != before, key
        assert "does nothing" not in fresh.message and "this key is for the lab" not in fresh.message, key


def test_the_help_names_every_key(walk):
    said = press(walk, "?")
    for key in voice.keys_of("terminal"):
        assert key.help[:30] in said
    named = {"\x7f": "Backspace", " ": "Space", "\r": "Enter", "\n": "Enter"} | dict.fromkeys(
        ("up", "down", "left", "right"), "arrows"
    )
    named |= {f"shift-{arrow}": "arrows" for arrow in ("up", "down", "left", "right")}
    named |= {"pageup": "PageUp", "pagedown": "PageDown"}
    listed = {one for key in voice.keys_of("terminal") for one in key.keys.split()}
    assert {named.get(key, key) for key in ACTIONS} == listed
    assert "Keys" not in press(walk, "?")


def test_a_key_without_meaning_says_so(walk):
    assert "'Z' does nothing: ? shows the keys" in press(walk, "Z")


def test_arrows_filters_channels_and_borders(walk):
    walk.step = next(s for s in walk.tour if s.id == "F6")
    i, j = walk.view().cursor.cell
    press(walk, "down", "right")
    assert walk.view().cursor.cell == (min(i + 1, 13), min(j + 1, 13))
    press(walk, *["shift-up"] * 4, *["left"] * 20)
    assert walk.view().cursor.cell == (0, 0)
    press(walk, *["]"] * 9, *["}"] * 9)
    assert (walk.view().cursor.filter, walk.view().cursor.channel) == (3, 2)
    press(walk, "n")
    assert walk.view().cursor.cell == (0, 0) and walk.step.id == "F7"
    press(walk, "n")
    assert walk.view().cursor.cell == (0, 0) and walk.view().cursor.filter == 3 and walk.step.id == "F8"


def test_moving_a_weight_and_a_unit(walk):
    walk.step = next(s for s in walk.tour if s.id == "B8")
    press(walk, *["up"] * 3, *["left"] * 3, *["["] * 4, *["{"] * 4)
    assert walk.view().cursor.weight == (0, 0, 0, 0)
    press(walk, "down", "right", "]", "}")
    assert walk.view().cursor.weight == (1, 1, 1, 1)
    assert "weight W2[1,1,1,1]" in press(walk, "g")
    walk.step = next(s for s in walk.tour if s.id == "F10")
    unit = walk.view().cursor.unit
    press(walk, "right" if unit < 127 else "left")
    assert abs(walk.view().cursor.unit - unit) == 1


def test_space_shows_a_step_line_by_line_and_goes_on(walk):
    walk.step = next(s for s in walk.tour if s.id == "F2")
    walk.press(" ")
    assert walk.step.id == "F3" and walk.shown == 1 and "float32" not in lines(walk) and "products" in lines(walk)
    press(walk, " ", " ")
    assert "float32" in lines(walk)
    assert walk.step.id == "F3" and press(walk, "\x7f").count("float32") == 0
    press(walk, " ", " ")
    assert walk.step.id == "F4"


def test_one_step_lowers_the_loss_and_undo_brings_it_back(walk):
    before = walk.trace.loss
    press(walk, "t")
    assert walk.trace.loss < before and f"loss {before:.6g} -> {walk.trace.loss:.6g}" in walk.message
    trained = walk.trace.loss
    press(walk, "T")
    assert walk.trace.loss != trained and "batch 1" in walk.message
    press(walk, "u")
    assert walk.trace.loss == before


def test_another_class_and_back_with_another_photo(walk):
    press(walk, "e")
    assert walk.trace.why == "chosen" and walk.trace.target == (walk.trace.label + 1) % 10
    press(walk, "i", "1", "2", "\r")
    assert (walk.trace.why, walk.trace.number) == ("label", 12)
    press(walk, "i", "9", "9", "escape")
    assert walk.trace.number == 12 and walk.typed is None


def test_mirror_and_shift_change_the_photo(walk):
    original = walk.trace.photo
    press(walk, "m")
    assert (walk.trace.photo == original[:, ::-1]).all() and "mirrored" in lines(walk)
    press(walk, "m", ">")
    assert (walk.trace.photo[:, 1:] == original[:, :-1]).all()


def test_play_speed_digits_source_and_command(walk):
    press(walk, "a", "+")
    assert walk.playing and walk.pause == 1.0
    press(walk, *["-"] * 5)
    assert walk.pause == 4.0
    walk.step = next(s for s in walk.tour if s.id == "F3")
    before = lines(walk)
    assert lines(walk) != press(walk, "d") != before
    seen = [walk.digits] + [press(walk, "d") and walk.digits for _ in range(7)]
    assert seen == [5, 6, 7, 8, 9, 3, 4, 5]
    assert "cnn explain 9 --step F3 --cell" in press(walk, "y")
    source = press(walk, "c")
    assert "cnn/layers/convolution.py:" in source and "@ kernel" in source


def test_the_printed_command_shows_the_same_step(walk):
    from cnn.commands import cli

    walk.step = next(s for s in walk.tour if s.id == "B8")
    press(walk, "]", "up")
    words = text.command_line(walk.trace, walk.view()).split()
    assert words[:2] == ["cnn", "explain"]
    args = cli.build_parser().parse_args(words[1:])
    assert (args.photo, args.step, args.weight) == ("9", "B8", walk.view().cursor.weight)


def test_the_lab(walk):
    assert "outline, 3x3, stride 1" in press(walk, "l")
    assert "5x5, stride 1" in press(walk, "k")
    assert "stride 2" in press(walk, "s")
    assert "'valid'" in press(walk, "v")
    assert "learned filter" in press(walk, "r")
    assert "the 5x5 image" in press(walk, "o")
    assert "expected input of at least 7 x 7" in press(walk, "k") and "1x1, stride 2" in lines(walk)  # said, not raised
    assert "F1 of F12" in press(walk, "l")


def test_a_network_of_another_kind_can_be_walked():
    for name in ("dense", "odd"):
        walk = Walk(nets.MODELS[name](), photos.test_photo(12, *nets.test_set()), nets.test_set())
        for _ in walk.tour:
            for size in ((80, 24), (60, 20), (120, 40)):
                lines(walk, *size)
            press(walk, "up", "]", "}", "b", "f", "n")
        press(walk, "x", "g", "s", "l", "n")


def test_a_step_may_be_where_it_begins(start):
    terminal = start("9", "--step", "B8", "--weight", "0,2,1,3")
    assert "weight u=0 v=2 c=1 f=3" in terminal.wait_for("B8 of B12")
    terminal.press("l", "convolution lab")
    terminal.press("l", "B8 of B12")
