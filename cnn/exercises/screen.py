"""What a check found, in the words of the screen."""

import re
from typing import Any

from cnn import terminal
from cnn.exercises import EXERCISES

KEPT = "\N{NO-BREAK SPACE}"


def following(name: str) -> str | None:
    """The exercise after this one."""
    names = list(EXERCISES)
    return names[names.index(name) + 1] if name != names[-1] else None


def filled(text: str, indent: str = "  ") -> str:
    """A paragraph as wide as the terminal; places and shapes, such as [0, 2], are not broken."""
    whole = re.sub(r"[\[(][\d, ]+[\])]", lambda found: found[0].replace(" ", KEPT), text)
    return terminal.fill(whole, min(terminal.style_of().width, 100), indent).replace(KEPT, " ")


def told(report: dict[str, Any]) -> str:
    """A report as lines of text."""
    lines = [f"{report['exercise']}: {'right' if report['passed'] else 'not yet'}"]
    if report["passed"]:
        lines += [filled(f"  {check}", "    ") for check in report["checks"]]
    else:
        lines += ["", *not_yet(report)]
    lines += [filled(f"  a remark: {remark}", "    ") for remark in report["remarks"]]
    if report["printed"]:
        lines += ["", "your code printed:", *(f"  | {line}" for line in report["printed"].splitlines())]
    return "\n".join([*lines, "", *last_lines(report)])


def not_yet(report: dict[str, Any]) -> list[str]:
    """What is wrong, where, and the sum behind it."""
    whose = f"{report['result']} of {report['function']}: " if report["state"] == "wrong numbers" else ""
    lines = [filled(f"{whose}{report['sentence']}")]
    if report["case"] and report["given"]:
        lines.append(filled(f'in the case "{report["case"]}": {report["given"]}'))
    elif report["case"] and report["function"]:
        lines.append(filled(f'in the case "{report["case"]}"'))
    if report["right"]:
        lines.append(filled(f"right in: {'; '.join(report['right'])}"))
    if report["right"] and report["wrong"]:
        lines.append(filled(f"not yet in: {'; '.join(report['wrong'])}"))
    return [*lines, "", *(f"    {line}" for line in report["lines"])] if report["lines"] else lines


def last_lines(report: dict[str, Any]) -> list[str]:
    """Where to go from here."""
    name = report["exercise"]
    if report["milestone"]:
        return milestone_lines(report["milestone"])
    if report["passed"]:
        after = following(name)
        return [f"Next: cnn exercise start {after}"] if after else []
    step = f"cnn explain 9 --step {EXERCISES[name].step}"
    return [f"This step on a real photo: {step}", f"A hint: cnn exercise hint {name}"]


def milestone_lines(found: dict[str, Any]) -> list[str]:
    """The last exercise's own words."""
    rule = "=" * 72
    text = (
        f"You have written a convolutional network, every layer of it, forward and backward. It looked once at "
        f"{found['photos']:,} photos of clothes and now names {found['accuracy']:.1%} of {found['tested']:,} others "
        f"rightly; by guessing it would be 10%."
    )
    same = (
        f"Ours, from the same weights on the same photos, comes to {found['our_accuracy']:.1%}: "
        "it does nothing that yours does not do."
    )
    speed = (
        f"Yours learned {found['photos'] / found['seconds']:,.0f} photos a second, ours "
        f"{found['photos'] / found['our_seconds']:,.0f}: {found['times']:,.0f} times as many. Python goes anew through "
        "every line of a loop; ours is compiled, works on many numbers at once, and between convolution, ReLU and "
        "pooling writes nothing down. The formulas are the same."
    )
    if found["slowest"]:
        speed += f" Of your time {found['share']:.0%} went into {found['slowest']}."
    return [rule, *(filled(line, "") for line in (text, same, speed)), rule, "With all 60,000 photos: cnn train"]
