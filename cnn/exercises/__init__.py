"""Write it yourself: fourteen exercises, each one function or layer, and a checker that names the mistake.

- record.py: what an exercise is made of; windows.py, tables.py, choices.py, backward.py, convolutions.py,
  learning.py: the exercises in the lesson's order, each with its cases and a table of what people do wrong; hints.py
- solutions/: our answers; files.py: what is written beside a learner's own files
- checker.py: one file against one exercise; comparison.py: what a result may be instead of right, and which mistake
  gives its numbers; anything.py: mistakes that fit any result; sums.py: a wrong number's sum, term by term
- child.py, process.py: learner's code runs in a process of its own, with a time limit; screen.py: what is said of it
- milestone.py: the learner's network learns 2,000 photos
"""

from cnn.exercises import backward, choices, convolutions, learning, tables, windows
from cnn.exercises.record import Exercise

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for family in (windows, tables, choices, backward, convolutions, learning)
    for exercise in family.EXERCISES
}
