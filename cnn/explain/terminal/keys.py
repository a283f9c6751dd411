"""What each key does in the walk, the help, and the sheet of photos that it begins with."""

import numpy as np

from cnn import photos
from cnn.checks import known
from cnn.explain import voice
from cnn.models import Sequential
from cnn.terminal import Style

ARROWS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
SCROLL = {"up": -1, "down": 1, "pageup": -10, "pagedown": 10, " ": 10, "\x7f": -10}  # lines of an opened sum
PAIRS = (  # a method of the walk, and the keys for one back and one on
    *(("go", "p", "n"), ("reveal", "\x7f", " "), ("change_layer", "pageup", "pagedown"), ("shift", "<", ">")),
    *(("change_filter", "[", "]"), ("change_channel", "{", "}")),
)
PLAIN = {  # methods without arguments
    **{
        "j": "jump",
        "i": "ask_photo",
        "m": "mirror",
        "e": "next_target",
        "w": "begin_path",
        "M": "next_moment",
        "G": "sample",
        "t": "learn",
        "T": "train",
    },
    **{"u": "undo", "s": "stride_or_shifts", "v": "map_or_padding", "d": "more_digits", "y": "link", "q": "quit"},
}
ACTIONS: dict[str, tuple] = {  # key: a method of the walk, and its arguments
    **{key: (method, by) for method, *keys in PAIRS for key, by in zip(keys, (-1, 1), strict=True)},
    **{key: ("move", by) for key, by in ARROWS.items()},
    **{f"shift-{key}": ("move", (5 * by[0], 5 * by[1])) for key, by in ARROWS.items()},
    **{"f": ("twin", "F"), "b": ("twin", "B"), "g": ("extra", "G"), "x": ("extra", "M"), "l": ("extra", "L")},
    **{"k": ("lab", "kernel_size"), "o": ("lab", "toy"), "r": ("lab", "preset")},
    **{"c": ("toggle", "source"), "a": ("toggle", "playing"), "?": ("toggle", "help")},
    **{"+": ("faster", 0.5), "-": ("faster", 2.0)},
    **{key: (method,) for key, method in PLAIN.items()},
    **dict.fromkeys(("\r", "\n"), ("open_sum",)),
}


def help_lines(width: int) -> list[str]:
    """Every key and what it does, in two columns where there is room."""
    keys = voice.keys_of("terminal")
    half = (width - 3) // 2 if width >= 80 else width
    lines = [f"{key.keys.replace('Space Backspace', 'Space'):5} {key.help}"[:half] for key in keys]
    if width < 80:
        return ["Keys:", *lines]
    about = [
        " float32 is the network in use; all else is computed again in float64, more",
        " exactly. 'agrees': within 1e-5 of the largest number of the tensor.",
        " In maps: # + positive, = - negative, . small; v and > point at the cell.",
    ]
    return ["Keys", *about, *two_columns(lines, half + 1)]


def two_columns(lines: list[str], width: int) -> list[str]:
    """The lines in two columns, the first of this width."""
    half = -(-len(lines) // 2)
    return [f" {a:<{width}}{b}".rstrip() for a, b in zip(lines[:half], [*lines[half:], ""], strict=False)]


def sheet_lines(model: Sequential, test: tuple[np.ndarray, np.ndarray], style: Style) -> list[str]:
    """The first 20 photos: number, label, answer, right or wrong."""
    chosen = photos.first(*test)
    marks, wide = ("✓", "✗") if style.unicode else ("+", "x"), style.width >= 80
    rows = []
    for said in photos.predict(model, chosen):
        names, share = said.class_names, f"  {said.probabilities[said.predicted]:.2f}" if wide else ""
        label, mark = names[known(said.photo.label)], marks[0 if said.right else 1]
        rows.append(f"{said.photo.number:3} {label:11} {mark} {said.says:11}{share}")
    first = photos.shown_first(*test)
    return [
        f"The first {len(chosen)} test photos: number, label, what the model says",
        "",
        *two_columns(rows, len(rows[0]) + (3 if wide else 0)),
        "",
        f" {marks[0]} right   {marks[1]} wrong",
        "",
        " i and a number: walk through that photo",
        f" n: begin with photo {first.number}" + (", the sandal" if first.number == 9 else ""),
    ]
