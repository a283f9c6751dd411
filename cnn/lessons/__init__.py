"""The class kit: three lessons as notebooks, their checkpoints, and worksheets. `cnn lessons DIR` writes them.

1-forward.md, 2-backward.md and 3-training.md are the lessons; source.py makes notebooks of them. verdict.py and
checks.py look at what students compute. worksheet.py draws tasks for paper, printing.py their pages.
"""

from importlib import resources

from cnn.lessons import source
from cnn.lessons.checks import Checks
from cnn.lessons.network import trace, training_photos, untrained_network, young_network
from cnn.lessons.verdict import bet

__all__ = ["Checks", "bet", "notebooks", "trace", "training_photos", "untrained_network", "worksheets", "young_network"]

LESSONS = ("1-forward", "2-backward", "3-training")
WORKSHEETS = ("students/worksheets.pdf", "teacher/worksheets-key.pdf")


def notebooks() -> dict[str, str]:
    """{"students/1-forward.ipynb": the notebook as text, ...}: each lesson for the students and for the teacher."""
    texts = {name: (resources.files("cnn.lessons") / f"{name}.md").read_text("utf-8") for name in LESSONS}
    return {
        f"{whose}/{name}.ipynb": source.notebook(source.cells(text, teacher=whose == "teacher"), name)
        for whose in ("students", "teacher")
        for name, text in texts.items()
    }


def worksheets(students: int, seed: int = 0) -> dict[str, bytes]:
    """{name: PDF} of WORKSHEETS: two pages a student, drawn by the seed, and the key. ValueError for too many."""
    from cnn import article
    from cnn.datasets import fashion_mnist
    from cnn.lessons import printing, worksheet

    test = fashion_mnist.load_split("test")
    made = worksheet.sheets(article.trained("cnn"), test, students, seed)
    return dict(zip(WORKSHEETS, printing.pdfs(made), strict=True))
