"""Text for the terminal: photos, bars, percentages, columns."""

import io

import numpy as np
import pytest

from cnn import terminal


def test_draw_photo_in_all_styles():
    photo = np.zeros((4, 6), np.uint8)
    photo[0, 0], photo[2:, 1] = 255, 255
    unicode, ascii_only, colour = (
        terminal.Style(*style, 80) for style in ((True, False), (False, False), (True, True))
    )
    assert terminal.draw_photo(photo, unicode) == ["▀     ", " █    "]
    assert terminal.draw_photo(photo, ascii_only) == ["=     ", " @    "]
    assert terminal.draw_photo(photo, colour)[0] == "\x1b[38;5;231;48;5;16m▀\x1b[38;5;16;48;5;16m▀▀▀▀▀\x1b[0m"


def test_bars_and_percentages():
    style = terminal.Style(True, False, 80)
    assert terminal.bar(1, 10, style) == "█" * 10 and terminal.bar(0, 10, style) == ""
    assert terminal.bar(0.55, 10, style) == "█████▌"
    assert terminal.bar(0.55, 10, style._replace(unicode=False)) in ("#####", "######")
    assert terminal.percent(0.54163) == "54.16%" and terminal.percent(1 - 1e-9) == terminal.percent(1.0) == ">99.99%"
    assert terminal.percent(0.999, 0) == ">99%" and terminal.percent(0.99994) == "99.99%"


def test_columns_and_blocks_side_by_side():
    assert terminal.beside(["ab", "cd"], ["x"], 2, gap=2) == ["ab  x", "cd"]
    assert terminal.beside(["ab"], ["x", "y"], 2, gap=1) == ["ab x", "   y"]
    assert terminal.columns([["a", "b"], ["c", " "]], gap=2) == ["a  c", "b"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "expected"),
    [
        ("auto", {"TERM": "xterm"}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1", "TERM": "xterm"}, False),
    ],
)
def test_colour_follows_the_flag_then_the_environment_then_the_terminal(monkeypatch, choice, environment, expected):
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal.style_of(Terminal(), choice).colour is expected


def test_no_colour_into_a_pipe_or_an_ascii_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    pipe = Terminal()
    pipe.isatty = lambda: False
    assert not terminal.style_of(pipe).colour and terminal.style_of(pipe).unicode
    pipe.encoding = "ascii"
    assert terminal.style_of(pipe, "always") == terminal.Style(False, False, terminal.style_of(pipe).width)
