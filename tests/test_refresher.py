"""The refresher: its numbers against the shipped models, its pictures, its commands."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from cnn import pretrained, saving
from cnn.commands import cli
from cnn.commands.shared import evaluation
from cnn.datasets import fashion_mnist, fingerprint
from cnn.photos import comparison
from cnn.refresher import __main__ as refresher

FOLDER = refresher.FOLDER
NETWORKS = (comparison.CNN, comparison.DENSE, comparison.BEST)


@pytest.fixture(scope="module")
def networks():
    return {name: saving.load_model(pretrained.path(name.lower())) for name in NETWORKS}


@pytest.fixture(scope="module")
def data_set():
    return fashion_mnist.load_split("test")


@pytest.fixture(scope="module")
def content():
    return json.loads((FOLDER / "compare.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def text():
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_comparison_is_of_the_shipped_models(networks, content):
    for name, model in networks.items():
        assert content["networks"][name]["weights_sha256"] == fingerprint(*model.get_weights())
        assert content["networks"][name]["made_by"] == model.made_by


def test_the_page_is_what_the_models_give(networks, data_set, content, text):
    """Measured again: what `cnn evaluate`, `cnn photos` and `cnn summary` say, and the chief rows of the comparison."""
    results = {name: evaluation.evaluate(model, *data_set) for name, model in networks.items()}
    rows = {row["change"]: row for row in content["results"]}
    for name, result in results.items():
        assert rows[comparison.PLAIN][name]["correct"] == np.trace(result.confusion)
        mirrored = evaluation.evaluate(networks[name], data_set[0][:, :, ::-1], data_set[1]).confusion
        assert rows[comparison.MIRRORED][name]["correct"] == np.trace(mirrored)
        assert rows[comparison.MIRRORED][name]["by_class"]["Sandal"]["correct"] == mirrored[5, 5]
    assert refresher.page(networks, results, content, *data_set) == text


def test_the_sentences_follow_from_the_counts(content, text):
    counts = np.array([score["count"] for score in content["results"][0]["CNN"]["by_class"].values()])

    def right(row, name):
        return np.array([score["correct"] for score in row[name]["by_class"].values()])

    rows = content["results"]
    correct = {name: {row["change"]: right(row, name) for row in rows} for name in NETWORKS}
    answers = {name: {row["change"]: list(row[name]["said"].values()) for row in rows} for name in NETWORKS}
    alone = {change: tuple(pair) for change, pair in content["best_alone_cnn_alone"].items()}
    said = comparison.sentences(comparison.Comparison(fashion_mnist.CLASS_NAMES, counts, correct, alone, answers))
    assert content["sentences"][: len(said)] == said
    for sentence in said:
        assert sentence in text


def test_the_page_has_the_facts_of_the_article(text):
    for fact in ("421,642", "101,770", "3,136", "**0 before and 1 after**", "`test[8]`", "60,000", "10,000"):
        assert fact in text


def test_every_picture_is_there_small_and_used(text):
    named = re.findall(r"!\[[^\]]+\]\((\w+\.png)\)", text)
    assert sorted(named) == sorted(path.name for path in FOLDER.glob("*.png")) and len(named) == len(set(named)) == 10
    for name in named:
        assert (FOLDER / name).stat().st_size < 200_000
        with Image.open(FOLDER / name) as picture:
            assert picture.width >= 1000


def test_every_command_of_the_page_exists(text):
    parser = cli.build_parser()
    commands = re.findall(r"^    cnn (.+?)(?:\s+#.*)?$", text, re.M) + re.findall(r"`cnn ([^`]+)`", text)
    assert len(commands) > 12
    for command in commands:
        assert parser.parse_args(shlex.split(command)).command == command.split()[0]


def test_the_table_shows_the_counts():
    score = {"correct": 915, "count": 1000}
    row = {"change": "mirrored"} | {name: score | {"by_class": {"Sandal": score}} for name in NETWORKS}
    cell = comparison.percent(comparison.Score(915, 1000))
    assert refresher.table([row]).splitlines()[2] == f"| mirrored |{f' {cell} |' * 6}"
