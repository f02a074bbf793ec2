import csv
import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import RunError, UsageError
from features.frontend.windows import Windowing
from model.evaluation import false_alarms
from model.evaluation.false_alarms import Windows, alarm_thresholds, count_false_alarms, find_alarms
from model.inference.executor import load_executor
from model.scoring.label_files import label_files
from tests.conftest import call
from tests.model.untrained import save_untrained
from tests.signals import noise, sine, write_wav

CLASSES = ["a", "b", "_unknown_"]
LEVELS = (0.2, 0.5, 0.7, 0.9)


def plain_alarms(windows, thresholds) -> list[tuple[int, int, int, float]]:
    """First and last window, class and highest probability of each run, one window after the other."""
    runs = []
    going = False
    for number, (start, _, label, probability) in enumerate(windows):
        raised = probability >= thresholds[label]
        follows = number > 0 and start == windows[number - 1][1]
        if raised and going and follows and label == runs[-1][2]:
            runs[-1] = (runs[-1][0], number, label, max(runs[-1][3], probability))
        elif raised:
            runs.append((number, number, label, probability))
        going = raised
    return runs


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 0, 1]), st.integers(0, 2), st.sampled_from(LEVELS)), max_size=30),
    st.tuples(st.sampled_from([*LEVELS, np.inf]), st.sampled_from([*LEVELS, np.inf])),
)
def test_runs_are_those_of_one_window_after_the_other(drawn, thresholds):
    windows, end = [], 0
    for gap, label, probability in drawn:
        windows.append((end + gap, end + gap + 1, label, probability))
        end += gap + 1
    columns = list(zip(*windows, strict=True)) or [()] * 4
    types = (np.float64, np.float64, np.int64, np.float32)
    found = find_alarms(
        Windows(*(np.array(column, kind) for column, kind in zip(columns, types, strict=True))),
        np.array([*thresholds, np.inf]).astype(np.float32),
    )
    numbers = np.array([*thresholds, np.inf], np.float32)
    rounded = [(start, end, label, np.float32(probability)) for start, end, label, probability in windows]
    expected = plain_alarms(rounded, numbers)
    columns = (found.first, found.last, found.classes, found.probabilities)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


def test_thresholds_are_a_half_or_those_that_were_fitted():
    assert alarm_thresholds(CLASSES, None).tolist() == [0.5, 0.5, np.inf]
    assert alarm_thresholds(CLASSES, {"a": 0.8, "b": None, "_unknown_": 0.3}).tolist() == [0.8, np.inf, np.inf]


@pytest.fixture(scope="module")
def run(feature_set, tmp_path_factory):
    """A run folder with a network that guesses, of a class that raises no alarms and two that do."""
    return save_untrained(
        tmp_path_factory.mktemp("runs") / "run", feature_set, classes=["high", "low", "_unknown_"], seed=1
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A minute and a half that goes through several batches, a short one, and one that is not audio."""
    root = tmp_path_factory.mktemp("field")
    parts = [sine(200 * (number % 37 + 1), 16_000) + noise(16_000, seed=number) for number in range(90)]
    write_wav(root / "day.wav", np.concatenate(parts))
    write_wav(root / "=night.wav", sine(440, 24_000))
    (root / "broken.wav").write_bytes(b"RIFF of nothing")
    return root


def best_labels(run, paths):
    """Path, start, end, number of the best class and its probability of each window."""
    rows = label_files(load_executor(run), paths, Windowing(least_seconds=0.05)).rows
    best = rows.probabilities.argmax(axis=1)
    names = [rows.paths[number] for number in rows.recordings.tolist()]
    columns = (rows.start_seconds, rows.end_seconds, best, rows.probabilities.max(axis=1))
    return list(zip(names, *(column.tolist() for column in columns), strict=True))


def test_alarms_are_those_of_the_labels_of_the_same_recordings(run, recordings, monkeypatch):
    paths = [str(recordings / name) for name in ("=night.wav", "day.wav")]
    scores = best_labels(run, paths)
    threshold = float(np.median([probability for *_, probability in scores]))
    monkeypatch.setattr(false_alarms, "DEFAULT_THRESHOLD", threshold)
    metrics = count_false_alarms(str(run), str(recordings))
    expected = []
    classes = ["high", "low", "_unknown_"]
    for path in paths:
        of_file = [place for name, *place in scores if name == path]
        for first, last, label, peak in plain_alarms(of_file, [threshold, threshold, np.inf]):
            name = path.rpartition("/")[2]
            seconds = [f"{of_file[first][0]:.6f}", f"{of_file[last][1]:.6f}"]
            shown = f"./{name}" if name[0] == "=" else name
            expected.append([shown, *seconds, classes[label], f"{peak:.6f}", str(last - first + 1)])
    folder = run / "evaluation" / metrics["folder"]
    with open(folder / "alarms.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "start_seconds", "end_seconds", "label", "probability", "windows"]
    assert rows == expected
    assert 2 < len(expected) < 92, "with all windows or none this test shows nothing"
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["hours"] == pytest.approx(91.5 / 3600)
    assert (metrics["windows"], metrics["recordings"], metrics["rejected"]) == (92, 2, 1)
    assert metrics["alarms"] == len(expected)
    assert metrics["alarm_windows"] == sum(int(row[5]) for row in expected)
    assert metrics["alarms_per_hour"] == pytest.approx(len(expected) / 91.5 * 3600)
    assert set(metrics["classes"]) == {"high", "low"}
    for label, counted in metrics["classes"].items():
        of_class = sum(row[3] == label for row in expected)
        assert counted["alarms"] == of_class
        assert counted["alarms_per_hour"] == pytest.approx(of_class / 91.5 * 3600)
        assert counted["threshold"] == threshold
    rates = [one["alarms_per_hour"] for one in metrics["worst"]]
    assert rates == sorted(rates, reverse=True)
    assert sum(one["alarms"] for one in metrics["worst"]) == len(expected)


def test_thresholds_of_the_run_decide_and_a_class_without_one_raises_no_alarm(run, recordings, tmp_path):
    fitted = shutil.copytree(run, tmp_path / "run")
    path = fitted / "model" / "artifact.json"
    thresholds = {"high": 0.0, "low": None, "_unknown_": 0.0}
    path.write_text(json.dumps({**json.loads(path.read_text()), "thresholds": thresholds, "target_precision": 0.9}))
    best = Counter(number for _, _, _, number, _ in best_labels(run, [str(recordings / "day.wav")]))
    high, low = 0, 1
    assert min(best[high], best[low]) > 0, "this network names one class alone: this test shows nothing"
    metrics = count_false_alarms(str(fitted), str(recordings / "day.wav"))
    assert metrics["alarm_windows"] == best[high]
    assert {label: counted["threshold"] for label, counted in metrics["classes"].items()} == {"high": 0, "low": None}
    assert metrics["classes"]["low"]["alarms"] == 0 < metrics["classes"]["high"]["alarms"]


def test_the_command_needs_no_features_and_says_what_it_found(run, recordings, tmp_path, capsys):
    summary = tmp_path / "summary.json"
    assert call("model.evaluate", "--model", run, "--negatives", recordings, "--summary", summary) == 0
    text = capsys.readouterr().out
    assert "false alarms in 0.02542 hours of 2 recordings" in text
    assert "1 recordings could not be used" in text
    assert json.loads(summary.read_text())["negatives"]["windows"] == 92


def test_a_command_without_anything_to_measure_on_is_refused(run):
    with pytest.raises(UsageError, match="--features, --negatives or --review is missing"):
        call("model.evaluate", "--model", run)


def test_a_folder_without_a_usable_recording_fails_and_leaves_nothing(untrained, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF of nothing")
    with pytest.raises(RunError, match=r"no recording of .* can be used, of 1"):
        count_false_alarms(str(untrained), str(tmp_path))
    assert not list((untrained / "evaluation").glob("negatives*"))


def test_results_of_other_recordings_stay_and_those_of_the_same_are_replaced(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))
    for place in ("here", "there"):
        write_wav(tmp_path / place / "field" / "a.wav", sine(440, 16_000))
        os.utime(tmp_path / place / "field" / "a.wav", (1e9, 1e9))
    (tmp_path / "field.csv").write_text("path\nhere/field/a.wav\n")
    inputs = ["here/field", "there/field", "here/field/a.wav", "field.csv"]
    names = [count_false_alarms(str(run), str(tmp_path / name))["folder"] for name in inputs]
    assert [name.rpartition("-")[0] for name in names] == [
        "negatives@field", "negatives@field", "negatives@a.wav", "negatives@field.csv",
    ]  # fmt: skip
    assert len(set(names)) == 4
    assert count_false_alarms(str(run), f"{tmp_path}/here/../here/field/")["folder"] == names[0]
    assert sorted(path.name for path in (run / "evaluation").iterdir()) == sorted(names)
    write_wav(tmp_path / "here" / "field" / "b.wav", sine(440, 8_000))
    assert count_false_alarms(str(run), str(tmp_path / "here" / "field"))["folder"] not in names
