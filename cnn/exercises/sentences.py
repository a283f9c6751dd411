"""What is said to a learner whose function does something else than return wrong numbers."""

SENTENCES = {
    "untouched": "{function} is not written yet: the file is still as you got it. Put your own lines in the place of "
    "`raise NotImplementedError`; `cnn exercise hint {exercise}` helps to begin",
    "unwritten": "{function} is not written yet: it ends in `raise NotImplementedError`{place}",
    "None": "{function} returns None: is there a `return` at its end?",
    "results": "{function} returns {got}; expected {expected}",
    "order": "{function} returns the right arrays in another order: expected ({expected}), got ({got})",
    "no array": "{result} is {got}; expected an array of numbers: np.array(...) makes one",
    "no number": "{result} is {got}; expected one number: float(...) of an array with one makes it",
    "whole": "{result} came as {got}; expected whole numbers, with which one can count cells: make it with dtype=int",
    "integers": "{result} came as {got}, whole numbers, which cut off all that stands behind the point: "
    "make the array with dtype=x.dtype",
    "rounded": "{result} came as {got}: the numbers are right, but rounded to fewer digits than came in. Somewhere "
    "this type is written down; x.dtype is what came in",
    "NaN": "{result} has {count} of {size} numbers that are {got}, the first at {index}. Such a number comes of 0 / 0, "
    "of exp of something large, or of the logarithm of 0",
    "NaN alone": "{result} is {got}. Such a number comes of 0 / 0, of exp of something large, or of the logarithm of 0",
    "shape": "{result} has shape {got}; expected {expected}",
    "raises": "{said}",
    "syntax": "Python cannot read {file}, line {line}: {said}{text}",
    "no function": "there is no function {function} in {file}; there is {got}. Its name must stay as it was",
    "signature": "{function} is called as {function}({expected}), and yours takes ({got}): keep its first line as it "
    "was",
    "needs": "{file} takes something from {other}.py, which is not here: `cnn exercise start {other}`, or write that "
    "part here and leave the import out",
    "neighbour": "first {other}.py, which {file} uses: {said}",
    "endless": "{function} was still busy after {seconds:g} seconds{place}: is there a loop that never ends? (If it is "
    "only slow, --seconds gives it more)",
    "overwritten": "{function} writes into {result}, which it was given{index}: `{result} += ...` and `{result}[...] = "
    "...` change the array of whoever called; `{result}.copy()` is yours to change",
    "not deterministic": "{function} gives another {result} the second time for the same input{index}: nothing may be "
    "left over from the call before, and nothing drawn at random",
    "exit": "{file} ended the program{place}: without exit() and quit() it can be checked",
    "crashed": "Python itself ended while {function} ran ({got}). Memory that ran out can be the reason",
}


def say(state: str, **facts: object) -> str:
    """The sentence of a state."""
    return SENTENCES[state].format(**facts)
