"""The keys of the walk, their help, and the sheet of photos that it begins with."""

from cnn import photos
from cnn.terminal import Style

KEYS = {  # key: (method, its argument, what the help says); one that shares the help of the key before says nothing
    "n": ("go", 1, "next step"),
    "p": ("go", -1, "previous step"),
    " ": ("reveal", 1, "Space: slowly, line by line"),
    "\x7f": ("reveal", -1, "Backspace: one back"),
    "up": ("move", (-1, 0), "arrows: move the cell (Shift: by 5)"),
    "down": ("move", (1, 0), ""),
    "left": ("move", (0, -1), ""),
    "right": ("move", (0, 1), ""),
    "shift-up": ("move", (-5, 0), ""),
    "shift-down": ("move", (5, 0), ""),
    "shift-left": ("move", (0, -5), ""),
    "shift-right": ("move", (0, 5), ""),
    "[": ("change_filter", -1, "[ ] filter, map or unit"),
    "]": ("change_filter", 1, ""),
    "{": ("change_channel", -1, "{ } input channel"),
    "}": ("change_channel", 1, ""),
    "pageup": ("change_layer", -1, "PgUp PgDn: previous, next layer"),
    "pagedown": ("change_layer", 1, ""),
    "f": ("twin", "F", "the forward step of this layer"),
    "b": ("twin", "B", "the backward step of this layer"),
    "j": ("jump", None, "jump to the largest number"),
    "i": ("ask_photo", None, "another photo: number, Enter"),
    "m": ("mirror", None, "mirror the photo"),
    "<": ("shift", -1, "< > shift the photo by a pixel"),
    ">": ("shift", 1, ""),
    "e": ("next_target", None, "explain another class"),
    "g": ("extra", "G", "gradient check of this weight"),
    "G": ("sample", None, "gradient check of all tensors"),
    "t": ("learn", None, "one training step on this photo"),
    "T": ("train", None, "one training step on 32 photos"),
    "u": ("undo", None, "undo all training"),
    "x": ("extra", "M", "im2col: one matrix product"),
    "l": ("extra", "L", "convolution lab, with these keys:"),
    "k": ("lab", "kernel_size", "   k size, s stride, v padding"),
    "s": ("stride_or_shifts", None, "else: moved and mirrored photos"),
    "v": ("map_or_padding", None, "else: the map of this step"),
    "o": ("lab", "toy", "   o 5x5 image, r filter"),
    "r": ("lab", "preset", ""),
    "c": ("toggle", "source", "the source line that computes this"),
    "d": ("more_digits", None, "more digits"),
    "a": ("toggle", "playing", "play: a step every few seconds"),
    "+": ("faster", 0.5, "+ - faster, slower"),
    "-": ("faster", 2.0, ""),
    "y": ("link", None, "the command that prints this step"),
    "?": ("toggle", "help", "this help"),
    "q": ("quit", None, "quit"),
}


def help_lines(width: int) -> list[str]:
    """Every key and what it does, in two columns where there is room."""
    entries = [
        (key if len(key) == 1 and key not in " \x7f" else "", said) for key, (_, _, said) in KEYS.items() if said
    ]
    lines = [
        f"{'' if said.startswith((key + ' ', '   ')) else key:>1} {said}"[: (width - 3) // 2 if width >= 80 else width]
        for key, said in entries
    ]
    if width < 80:
        return ["Keys:", *lines]
    half = -(-len(lines) // 2)
    pairs = zip(lines[:half], lines[half:] + [""], strict=False)
    about = [
        " float32 is the network in use; all else is computed again in float64, more",
        " exactly. 'agrees': within 1e-5 of the largest number of the tensor.",
    ]
    return ["Keys", *about, *[f" {a:<{(width - 3) // 2}} {b}".rstrip() for a, b in pairs]]


def sheet_lines(model, test, style: Style) -> list[str]:
    """The first 20 photos: number, label, answer, right or wrong."""
    chosen = [photos.test_photo(number, *test) for number in range(1, min(20, len(test[0])) + 1)]
    marks = ("✓", "✗") if style.unicode else ("+", "x")
    rows = []
    for said in photos.predict(model, chosen):
        names = said.class_names
        p = said.probabilities[said.predicted]
        row = f"{said.photo.number:3} {names[said.photo.label]:11} {marks[0 if said.right else 1]} {said.says:11}"
        rows.append(f"{row}  {p:.2f}" if style.width >= 80 else row)
    half = -(-len(rows) // 2)
    lines = [
        f" {a:<{len(rows[0]) + (3 if style.width >= 80 else 0)}}{b}".rstrip()
        for a, b in zip(rows[:half], rows[half:] + [""], strict=False)
    ]
    return [
        "The first 20 test photos: number, label, what the model says",
        "",
        *lines,
        "",
        f" {marks[0]} right   {marks[1]} wrong",
        "",
        " i and a number: walk through that photo",
        " n: begin with photo 9, the sandal",
    ]
