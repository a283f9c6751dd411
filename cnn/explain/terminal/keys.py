"""What each key does in the walk, the help, and the sheet of photos that it begins with."""

import numpy as np

from cnn import photos
from cnn.checks import known
from cnn.explain import voice
from cnn.models import Sequential
from cnn.terminal import Style

ARROWS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
ACTIONS: dict[str, tuple] = {  # key: a method of the walk, and its arguments
    "n": ("go", 1),
    "p": ("go", -1),
    " ": ("reveal", 1),
    "\x7f": ("reveal", -1),
    **{key: ("move", by) for key, by in ARROWS.items()},
    **{f"shift-{key}": ("move", (5 * by[0], 5 * by[1])) for key, by in ARROWS.items()},
    "[": ("change_filter", -1),
    "]": ("change_filter", 1),
    "{": ("change_channel", -1),
    "}": ("change_channel", 1),
    "pageup": ("change_layer", -1),
    "pagedown": ("change_layer", 1),
    "f": ("twin", "F"),
    "b": ("twin", "B"),
    "j": ("jump",),
    "i": ("ask_photo",),
    "m": ("mirror",),
    "<": ("shift", -1),
    ">": ("shift", 1),
    "e": ("next_target",),
    "g": ("extra", "G"),
    "G": ("sample",),
    "t": ("learn",),
    "T": ("train",),
    "u": ("undo",),
    "x": ("extra", "M"),
    "l": ("extra", "L"),
    "k": ("lab", "kernel_size"),
    "s": ("stride_or_shifts",),
    "v": ("map_or_padding",),
    "o": ("lab", "toy"),
    "r": ("lab", "preset"),
    "c": ("toggle", "source"),
    "d": ("more_digits",),
    "a": ("toggle", "playing"),
    "+": ("faster", 0.5),
    "-": ("faster", 2.0),
    "y": ("link",),
    "?": ("toggle", "help"),
    "q": ("quit",),
}


def help_lines(width: int) -> list[str]:
    """Every key and what it does, in two columns where there is room."""
    keys = voice.keys_of("terminal")
    half = (width - 3) // 2 if width >= 80 else width
    lines = [f"{key.keys.replace('Space Backspace', 'Space'):5} {key.help}"[:half] for key in keys]
    if width < 80:
        return ["Keys:", *lines]
    middle = -(-len(lines) // 2)
    pairs = zip(lines[:middle], [*lines[middle:], ""], strict=False)
    about = [
        " float32 is the network in use; all else is computed again in float64, more",
        " exactly. 'agrees': within 1e-5 of the largest number of the tensor.",
        " In maps: # + positive, = - negative, . small; v and > point at the cell.",
    ]
    return ["Keys", *about, *[f" {a:<{half}} {b}".rstrip() for a, b in pairs]]


def sheet_lines(model: Sequential, test: tuple[np.ndarray, np.ndarray], style: Style) -> list[str]:
    """The first 20 photos: number, label, answer, right or wrong."""
    chosen = photos.first(*test)
    marks, wide = ("✓", "✗") if style.unicode else ("+", "x"), style.width >= 80
    rows = []
    for said in photos.predict(model, chosen):
        names, share = said.class_names, f"  {said.probabilities[said.predicted]:.2f}" if wide else ""
        label, mark = names[known(said.photo.label)], marks[0 if said.right else 1]
        rows.append(f"{said.photo.number:3} {label:11} {mark} {said.says:11}{share}")
    half = -(-len(rows) // 2)
    pairs = zip(rows[:half], [*rows[half:], ""], strict=False)
    gap = 3 if wide else 0
    first = photos.shown_first(*test)
    return [
        f"The first {len(chosen)} test photos: number, label, what the model says",
        "",
        *[f" {a:<{len(rows[0]) + gap}}{b}".rstrip() for a, b in pairs],
        "",
        f" {marks[0]} right   {marks[1]} wrong",
        "",
        " i and a number: walk through that photo",
        f" n: begin with photo {first.number}" + (", the sandal" if first.number == 9 else ""),
    ]
