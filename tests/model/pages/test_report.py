"""The command: which of the two pages is made, and what it says of it."""

import json

import pytest

from features.errors import UsageError
from model import report
from model.labels.table_output import TABLE_FORMS
from tests.conftest import call


@pytest.fixture(scope="module")
def labels(untrained, words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    command = ("pipelines.score", "--model", untrained, "--input", words / "low", "--workers", 1)
    summary = ("--summary", folder / "summary.json")
    assert call(*command, "--output", folder / "labels.csv", "--report", folder / "at once.html", *summary) == 0
    return folder / "labels.csv"


def test_a_table_of_labels_has_the_page_of_a_scoring(labels, words, tmp_path, capsys):
    output, summary = tmp_path / "report.html", tmp_path / "summary.json"
    assert call("model.report", labels, "--input", words / "low", "--output", output, "--summary", summary) == 0
    figures = json.loads(summary.read_text(encoding="utf-8"))
    assert figures["lines"] == figures["files"] == 40
    assert figures["cards_heard"] == figures["cards"] > 0
    assert figures["bytes"] == output.stat().st_size
    said = capsys.readouterr().out
    assert f"{figures['cards']} windows to check by ear" in said
    assert str(output) in said


def test_score_writes_the_same_page_at_once(labels, tmp_path):
    at_once = labels.with_name("at once.html")
    assert call("model.report", labels, "--output", tmp_path / "report.html") == 0
    assert (tmp_path / "report.html").read_bytes() == at_once.read_bytes()
    figures = json.loads(labels.with_name("summary.json").read_text(encoding="utf-8"))["report"]
    assert figures["bytes"] == at_once.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("labels.csv", "--features", "set"), "^--features goes with a run, and labels.csv is a table of labels$"),
        (("labels.parquet", "--test-on", "testing"), "^--test-on goes with a run, and labels.parquet is "),
        (("run", "--input", "recordings"), "^--input goes with a table of labels, and run is none$"),
    ],
)
def test_what_the_other_page_takes_is_refused(tmp_path, arguments, said):
    with pytest.raises(UsageError, match=said):
        call("model.report", *arguments, "--output", tmp_path / "report.html")


def test_tables_of_labels_are_known_by_the_names_that_score_gives_them():
    assert set(report._LABELS) == set(TABLE_FORMS)


def test_score_refuses_a_page_before_it_begins(untrained, words, tmp_path):
    output = tmp_path / "labels.csv"
    with pytest.raises(UsageError, match=r"^no folder for --report "):
        call("pipelines.score", "--model", untrained, "--input", words, "--output", output,
             "--report", tmp_path / "none" / "report.html")  # fmt: skip
    assert not any(tmp_path.iterdir())
