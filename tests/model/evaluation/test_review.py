import json

import numpy as np
import pytest
from scipy.stats import norm

from features.errors import UsageError
from model.evaluation.review import measure_review
from tests.conftest import call
from tests.features.sources.reviews import write_review


def score_interval(right, judged):
    """The shares p for which |right / judged - p| is z standard errors of p (Wilson, 1927), by that definition."""
    square, share = norm.ppf(0.975) ** 2, right / judged
    return sorted(np.roots([1 + square / judged, -2 * share - square / judged, share**2]).real.clip(0, 1))


def judged(label, right, wrong):
    rows = [(f"{label}.wav", number, number + 1, label, "right") for number in range(right)]
    return rows + [(f"{label}.wav", number + 0.5, number + 1.5, label, "wrong") for number in range(wrong)]


def test_labels_that_were_judged_are_counted_by_class(untrained, tmp_path, capsys):
    counts = {"low": (7, 1), "high": (0, 3)}
    review = write_review(tmp_path / "review.csv", [row for label in counts for row in judged(label, *counts[label])])
    assert call("model.evaluate", "--model", untrained, "--review", review, "--summary", tmp_path / "run.json") == 0
    figures = json.loads((tmp_path / "run.json").read_text())["review"]
    assert (figures["judged"], figures["right"], figures["recordings"], figures["not_judged"]) == (11, 7, 2, ["middle"])
    assert list(figures["classes"]) == ["high", "low"]
    for label, (right, wrong) in counts.items():
        found = figures["classes"][label]
        assert (found["right"], found["judged"], found["precision"]) == (right, right + wrong, right / (right + wrong))
        assert found["interval_95"] == pytest.approx(score_interval(right, right + wrong), abs=1e-12)
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines()[:3]] == [
        ["class", "judged", "right", "precision", "95", "%", "interval"],
        ["high", "3", "0", "0.000", "0.000", "to", "0.561"],
        ["low", "8", "7", "0.875", "0.529", "to", "0.978"],
    ]
    assert said.splitlines()[3] == (
        f"7 of 11 labels are right that were judged, of 2 recordings ({review}); the precision of a class is that of "
        "those. None was judged of middle."
    )


@pytest.mark.parametrize("verdict", ["right", "wrong"])
def test_one_row(untrained, tmp_path, verdict):
    [row] = judged("low", 1, 0)
    review = write_review(tmp_path / "review.csv", [(*row[:4], verdict), (*row[:4], verdict)])
    found = measure_review(str(untrained), str(review))["classes"]["low"]
    assert (found["judged"], found["right"]) == (1, verdict == "right"), "what was judged twice alike counts once"
    assert found["interval_95"] == pytest.approx(score_interval(found["right"], 1), abs=1e-12)


def test_reviews_that_cannot_be_counted(untrained, tmp_path):
    path, [row] = tmp_path / "review.csv", judged("low", 1, 0)
    for rows, message in (
        ([], f"{path} has no row: nothing was judged"),
        ([row, (*row[:3], "hihg", "right")], f"{path}, line 3: 'hihg' was judged, which is no class of {untrained}; "
         "near it are high; give the run"),
        ([row, (*row[:4], "wrong")], f"'low' is right by {path}, line 2, and 'low' is wrong by {path}, line 3; leave"),
    ):  # fmt: skip
        write_review(path, rows)
        with pytest.raises(UsageError) as error:
            measure_review(str(untrained), str(path))
        assert message in str(error.value)
