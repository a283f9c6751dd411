"""The quiz in a terminal: a question, an answer, one retry, then what was missed; the score at the end."""

import sys

from cnn.explain import quiz
from cnn.explain.formulas import formula
from cnn.explain.glance import photo_line
from cnn.explain.parts import Table
from cnn.explain.quiz import Question
from cnn.explain.terminal import text
from cnn.explain.trace import Trace


class Quiz:
    """The questions of one photo, and how many were answered rightly."""

    def __init__(self, t: Trace, asked: list[Question], digits: int, width: int):
        self.t, self.asked, self.digits, self.width = t, asked, digits, width
        self.score = self.done = 0

    def run(self) -> None:
        """Ask until the questions, or the answers, come to their end."""
        print("\n".join(text.wrapped(photo_line(self.t), self.width)))
        count = f"{len(self.asked)} question{'s' * (len(self.asked) > 1)}"
        print(f"{count}: answer as figures are printed. Enter leaves one out, q ends.")
        for n, question in enumerate(self.asked, 1):
            print("\n" + "\n".join(self.lines(n, question)))
            if not self.answered(question):
                break
        told = f"{self.score} of {self.done} right" if self.done else "no question answered"
        print(f"\n{told}{'' if self.done == len(self.asked) else f'; {len(self.asked) - self.done} not reached'}")

    def lines(self, n: int, question: Question) -> list[str]:
        """A question with all that its answer is made of."""
        title = f"{n}. {question.step.id}  {formula(self.t, question.step).title}"
        rows: list = [[name, number] for name, number in question.terms]
        given = text.table_text(Table(["", ""], rows), self.width - 2, self.digits)[1:]
        return [
            title,
            *text.wrapped(f"{question.ask} ({quiz.precision(question, self.digits)})", self.width, " ", "   "),
            *(f"   {line}" for line in given),
        ]

    def answered(self, question: Question) -> bool:
        """Take the answer, and a second one where the first is wrong; False where there is none to come."""
        said = ""
        for again in (True, False):
            said = self.read(question)
            if said in ("", "q"):
                break
            if quiz.judge(question, said, self.digits):
                print(" right")
                self.score += 1
                break
            print(" not yet: once more" if again else " no")
        if said == "q":
            return False
        self.done += 1
        self.reveal(question, said)
        return True

    def read(self, question: Question) -> str:
        """An answer that is a number; "" for none, "q" at the end of the input."""
        while True:
            print(" ? ", end="", flush=True)
            line = sys.stdin.readline()
            if not sys.stdin.isatty():
                print(line.strip())
            said = line.strip().replace("−", "-").replace(",", ".")
            if not line or said == "q":
                return "q"
            try:
                if said:
                    quiz.judge(question, said, self.digits)
                return said
            except (ValueError, OverflowError) as error:
                print(f" {error}" if "expected" in str(error) else f" expected a number, got {said!r}")

    def reveal(self, question: Question, said: str) -> None:
        """The answer; after a wrong one the term that was missed."""
        print(f" the answer: {question.answer.text(self.digits)}")
        if said and not quiz.judge(question, said, self.digits):
            why = quiz.missed(question, said, self.digits)
            print(
                "\n".join(
                    text.wrapped(
                        why or f"compare: cnn explain {self.t.number or self.t.source} --step {question.step.id} --all",
                        self.width,
                        " ",
                        "   ",
                    )
                )
            )
