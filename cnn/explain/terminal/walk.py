"""The walk through the steps: which step, cell and photo, and what each key does. Knows nothing of the terminal."""

import textwrap
from typing import Any

import numpy as np

from cnn import photos
from cnn.checks import known
from cnn.errors import DataError, UsageError
from cnn.explain import chain, formulas, path, voice
from cnn.explain.glance import photo_line
from cnn.explain.parts import Cursor, View
from cnn.explain.path import Path
from cnn.explain.terminal import text
from cnn.explain.terminal.keys import ACTIONS, SCROLL, help_lines, sheet_lines
from cnn.explain.terminal.learning import Learning
from cnn.explain.terminal.text import BACKWARD, target_line
from cnn.explain.trace import trace
from cnn.explain.views import show
from cnn.explain.voice import LabSettings
from cnn.models import Sequential
from cnn.photos import changes
from cnn.terminal import Style

CHOICES = voice.SIZES, voice.STRIDES, voice.PADDINGS, (*voice.PRESETS, "learned"), (False, True)
LAB: dict[str, tuple] = dict(zip(LabSettings._fields, CHOICES, strict=True))


class Walk(Learning):
    """The state of the interactive step-through; `press` changes it, `screen` shows it."""

    def __init__(
        self,
        model: Sequential,
        photo: photos.Photo | None,
        test: tuple[np.ndarray, np.ndarray],
        target: int | None = None,
        step: str = "F1",
        cursor: Cursor | None = None,
        digits: int = voice.DIGITS,
        moment: str = "",
    ):
        self.moment = moment
        self.loaded, self.model, self.test, self.target, self.digits = model, model, test, target, digits
        self.photo = photo or photos.shown_first(*test)
        self.sheet = photo is None  # begin with the sheet of photos
        self.asked = target
        self.typed: str | None = None  # the number that is being typed
        self.message, self.pause = "", 2.0
        self.shown: int | None = None  # parts of the step, where they are revealed one by one
        self.help = self.source = self.playing = self.map = self.finished = False
        self.open, self.top = False, 0  # whether all terms are listed, and the first of them that is shown
        self.batch = 0
        self.retrace()
        self.step = formulas.find_step(self.trace, step)
        self.before_extra = self.step if self.step in self.tour else self.tour[0]
        self.beside = Cursor(lab=cursor.lab, learning_rate=cursor.learning_rate) if cursor else Cursor()
        self.path = Path(known(chain.looked_at(self.trace, self.step, cursor).cells))

    def retrace(self) -> None:
        """Compute everything anew: another photo, target or weights."""
        photo = self.photo
        self.trace = trace(self.model, photo.pixels, self.target, photo.label, photo.number, photo.title, self.moment)
        self.tour = formulas.tour(self.trace)

    @property
    def cursor(self) -> Cursor:
        """Where this step looks: on the path."""
        return path.cursor(self.trace, self.path, self.step, self.beside)

    def view(self) -> View:
        """This step at its cursor."""
        return show(self.trace, self.step, self.cursor)

    def press(self, key: str) -> None:
        """What the key does. A key that means nothing here says so."""
        self.message = ""
        if self.typed is not None:
            return self._type(key)
        if self.sheet and key in ("n", " ", "\r", "\n"):
            self.sheet = False
            return None
        self.sheet = self.sheet and key in ("?", "c", "d")
        if self.help and key != "?":
            self.help = False
        if self.open and key in SCROLL:
            self.top += SCROLL[key]
            return None
        self.open = self.open and key in ("\r", "\n", "d")
        if key not in ACTIONS:
            self.message = f"{key!r} does nothing: ? shows the keys"
            return None
        method, *arguments = ACTIONS[key]
        return getattr(self, method)(*arguments)

    # ---- where we are

    def go(self, by: int) -> None:
        """So many steps on, or back."""
        if self.step not in self.tour:
            self.step = self.before_extra
            return
        self.shown = None
        place = self.tour.index(self.step) + by
        if not 0 <= place < len(self.tour):
            self.playing = False
            self.message = "this is the last step" if by > 0 else "this is the first step"
            return
        self.step = self.tour[place]

    def reveal(self, by: int) -> None:
        """Show one part more of this step, or one less; at its end go on to the next."""
        parts = len(self.view().parts)
        if by > 0 and (self.shown is None or self.shown >= parts):
            before = self.step
            self.go(1)
            self.shown = 1 if self.step != before else None
        elif by < 0 and self.shown == 1:
            self.go(-1)
        else:
            self.shown = max(1, (parts if self.shown is None else self.shown) + by)

    def change_layer(self, by: int) -> None:
        """The first step of the next layer on this way; backward goes from the last layer to the first."""
        way = "B" if self.step in self.tour and self.step.id[0] in BACKWARD else "F"
        stage = self.step.stage + (by if way == "F" else -by)
        found = [s for s in self.tour if s.id[0] == way and s.stage == stage and s.kind != "padding"]
        if found:
            self.step, self.shown = found[0], None
        else:
            self.message = "there is no such layer"

    def twin(self, way: str) -> None:
        """The same layer's step on the other way, "F" or "B"."""
        step = self.step if self.step in self.tour else self.before_extra
        if (step.id[0] == "F") != (way == "F"):
            step = formulas.twin(self.trace, step)
        self.step, self.shown = step, None

    def extra(self, name: str) -> None:
        """To a step beside the tour; from it back to where we were."""
        if self.step.id == name:
            self.step = self.before_extra
            return
        stage = self.step.stage
        if self.step in self.tour:
            self.before_extra = self.step
        step = formulas.find_step(self.trace, name)
        if self._can_check(name, stage):
            step = step._replace(stage=stage)
        if not formulas.has_step(self.trace, step):
            self.message = "this network has no convolution"
            return
        self.step, self.shown = step, None

    def _can_check(self, name: str, stage: int) -> bool:
        """Whether G or M can look at the layer where we are."""
        kinds = {"G": ("conv", "dense"), "M": ("conv",)}.get(name, ())
        return 0 <= stage < len(self.trace.stages) and formulas.kind_of(self.trace.stages[stage]) in kinds

    # ---- what we look at

    def set_cursor(self, **changes: Any) -> None:
        """Choose something else at this step: the path goes there; the lab has a place of its own."""
        chosen = self.view().cursor.but(**changes)
        if self.step.id == "L":
            self.beside = chosen
        else:
            self.path = path.follow(self.trace, self.path, self.step, chosen)

    def move(self, by: tuple[int, int]) -> None:
        """The cursor by rows and columns."""
        kind, at = self.step.kind, self.view().cursor
        if kind in path.WEIGHTS and at.weight:
            self.set_cursor(weight=(at.weight[0] + by[0], at.weight[1] + by[1], *at.weight[2:]))
        elif at.unit is not None:
            self.set_cursor(unit=max(0, at.unit + sum(by)))
        elif at.cell:
            self.set_cursor(cell=(max(0, at.cell[0] + by[0]), max(0, at.cell[1] + by[1])))
        else:
            self.message = "nothing to move in this step"

    def change_filter(self, by: int) -> None:
        """Another filter, map or unit."""
        at = self.view().cursor
        if at.weight:
            self.set_cursor(weight=(*at.weight[:-1], at.weight[-1] + by))
        elif at.unit is not None:
            self.set_cursor(unit=max(0, at.unit + by))
        elif at.filter is not None or self.step.kind == "lab":
            self.set_cursor(filter=max(0, (at.filter or 0) + by))
        else:
            self.message = "no filter to choose in this step"

    def change_channel(self, by: int) -> None:
        """Another input channel."""
        at = self.view().cursor
        if at.weight and len(at.weight) == 4:
            self.set_cursor(weight=(*at.weight[:2], at.weight[2] + by, at.weight[3]))
        elif at.channel is not None:
            self.set_cursor(channel=max(0, at.channel + by))
        else:
            self.message = "no input channel to choose in this step"

    def jump(self) -> None:
        """The path through the largest number of this step."""
        chosen = show(self.trace, self.step).cursor
        if self.step.id == "L":
            self.beside = self.beside.but(cell=None)
        else:
            self.path = path.follow(self.trace, self.path, self.step, chosen)

    def aim(self) -> None:
        """The path ends at the class that is explained."""
        self.path = path.led(self.trace, self.path, len(self.trace.stages), (self.trace.target,), back=False)

    def begin_path(self) -> None:
        """The path that carries most again."""
        self.path = chain.start(self.trace)

    def open_sum(self) -> None:
        """List all terms of this step's sum, or no longer."""
        self.open, self.top = not self.open, 0
        if self.open and not text.opened_lines(self.trace, self.view(), 80, self.digits):
            self.open, self.message = False, "nothing to open here: every term is shown"

    def lab(self, name: str) -> None:
        """The next choice of one of the lab's settings."""
        if self.step.id != "L":
            self.message = "this key is for the lab: l"
            return
        settings = self.beside.lab or LabSettings()
        choices = LAB[name]
        place = choices.index(getattr(settings, name))
        for choice in (*choices[place + 1 :], *choices[: place + 1]):
            self.beside = self.beside.but(lab=settings._replace(**{name: choice}), cell=None)
            try:
                self.view()
                break
            except ValueError as error:  # the window is larger than the image: on to the next choice
                self.message = str(error)

    def stride_or_shifts(self) -> None:
        """In the lab another stride, elsewhere the shifted photos."""
        self.lab("stride") if self.step.id == "L" else self.extra("S")

    def map_or_padding(self) -> None:
        """In the lab another padding, elsewhere the map."""
        self.lab("padding") if self.step.id == "L" else self.toggle("map")

    # ---- the photo, the class, the weights

    def ask_photo(self) -> None:
        """From now on keys write a photo's number or file."""
        self.typed = ""

    def _type(self, key: str) -> None:
        if key in ("\r", "\n"):
            word, self.typed = self.typed, None
            if word:
                self._load(word)
        elif key == "escape":
            self.typed = None
        elif key == "\x7f":
            self.typed = known(self.typed)[:-1]
        elif len(key) == 1 and key.isprintable():
            self.typed = known(self.typed) + key

    def _load(self, word: str) -> None:
        try:
            self._show(photos.find(word, *self.test, self.loaded))
        except (UsageError, DataError) as error:
            self.message = str(error)

    def _show(self, photo: photos.Photo) -> None:
        """Another photo, explained for its own class again, with a path of its own."""
        self.photo, self.target, self.sheet = photo, None, False
        self.retrace()
        self.begin_path()

    def _changed(self, pixels, what: str) -> None:
        title = self.photo.title if what in self.photo.title else f"{self.photo.title} {what}"
        self._show(self.photo._replace(pixels=np.ascontiguousarray(pixels), number=None, title=title))

    def mirror(self) -> None:
        """The photo as in a mirror."""
        self._changed(changes.mirror(self.photo.pixels), "mirrored")

    def shift(self, by: int) -> None:
        """The photo moved sideways."""
        self._changed(changes.shift(self.photo.pixels, by, 0), "shifted")

    def next_target(self) -> None:
        """Explain the loss of the next class."""
        self.target = (self.trace.target + 1) % len(self.trace.class_names)
        self.retrace()
        self.aim()
        self.message = target_line(self.trace)

    # ---- how it is shown

    def toggle(self, name: str) -> None:
        """Show or hide the help, the source, the map."""
        setattr(self, name, not getattr(self, name))

    def more_digits(self) -> None:
        """More digits, or fewer."""
        self.digits = self.digits + 1 if self.digits < voice.MOST_DIGITS else voice.LEAST_DIGITS
        self.message = f"{self.digits} digits"

    def faster(self, factor: float) -> None:
        """Play faster, or slower."""
        self.pause = min(4.0, max(0.1, self.pause * factor))
        self.message = f"{self.pause:g} seconds a step"

    def link(self) -> None:
        """The command that comes back here."""
        self.message = text.command_line(self.trace, self.view())

    def quit(self) -> None:
        """The walk is over."""
        self.finished = True

    def screen(self, width: int, height: int, style: Style) -> list[str]:
        """The lines of the screen: at most height, each at most width wide (colour codes not counted)."""
        if self.help:
            body = [*help_lines(width)]
        elif self.sheet:
            body = sheet_lines(self.model, self.test, style._replace(width=width))
        elif self.source:
            body = [photo_line(self.trace)[:width], *text.source_lines(self.view(), width, height - 3)]
        else:
            body = self._step_lines(width, height - 2, style)
        if len(body) > height - 2:
            hidden = len(body) - (height - 3)
            body = [*body[: height - 3], f" ... {hidden} more lines: enlarge the window"]
        status = self.message or ("" if self.help or self.sheet else self._path_line(width - 1))
        status = status if self.typed is None else f"Photo number, or a file: {self.typed}_"
        keys = " n p step  arrows [ ] {{ }} move  {0}  Enter terms  i photo  ? help  q quit"
        foot = keys.format("f forward" if self.step.id[0] in BACKWARD else "b backward")
        foot = foot if len(foot) < width else " n p step  arrows  b back  g check  i photo  ? help  q quit"
        lines = [*body, *[""] * (height - 2 - len(body)), f" {status}", foot]
        return [line if "\x1b" in line else line[:width] for line in lines]

    def _path_line(self, width: int) -> str:
        at = path.slot(self.trace, self.step)
        at = self.step.stage + 1 if at is None and 0 <= self.step.stage < len(self.trace.stages) else at
        return text.path_line(self.trace, self.path, at, width)

    def _open_lines(self, view: View, width: int, height: int) -> list[str]:
        """As many of all terms as there is room for, from self.top on."""
        heads, table = text.opened_lines(self.trace, view, width, self.digits), []
        heads, table = heads[1:2], heads[2:]
        room = height - 3
        self.top = max(0, min(self.top, len(table) - room))
        last = min(len(table), self.top + room)
        where = f" lines {self.top + 1} to {last} of {len(table)}: arrows, PageUp, PageDown; Enter closes"
        return [
            f"{view.step.id}  all terms of {view.sums[0].total.ref}, the largest first",
            where,
            *heads,
            *table[self.top : last],
        ]

    def _step_lines(self, width: int, height: int, style: Style) -> list[str]:
        view = self.view()
        top = textwrap.wrap(photo_line(self.trace), width)
        if self.open:
            return [*top, *self._open_lines(view, width, height - len(top))]
        if self.step.id[0] in BACKWARD:
            top += textwrap.wrap(target_line(self.trace), width)
        of = text.of_how_many(self.trace, view)
        if self.map:
            picture = text.draw_map(view.map, style) if view.map else ["this step has no map"]
            return [*top, *text.head(view, of, width)[:1], *[f" {line}" for line in picture]]
        view.parts = view.parts[: self.shown]
        for lines in self._layouts(view, of, width, style):
            if len(top) + len(lines) <= height:
                break
        return [*top, *lines]

    def _layouts(self, view: View, of: str, width: int, style: Style):
        """The ways to lay a step out, the best first: the first that fits the window is taken, or the last."""
        if width >= 100 and view.map:
            picture, left = text.draw_map(view.map, style), width - 32
            lines = [*text.head(view, of, left), *text.render(view, left, self.digits, live=True)]
            yield text.beside(lines, picture, left)
        heads = [text.head(view, of, width), text.head(view, of, width, brief=True)]
        if view.map and view.map.main and width >= 80:
            for head in heads:
                yield [*head, *text.with_map(view, style._replace(width=width), self.digits, live=True)]
        body = text.render(view, width, self.digits, live=True)
        for head in (*heads, text.head(view, of, width, tiny=True)):
            yield [*head, *body]
