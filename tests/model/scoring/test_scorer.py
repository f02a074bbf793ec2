"""Scoring without Beam: what it hands to what runs the batches, and how it resumes after an interruption."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from features.errors import RunError
from model.scoring.label_windows import LabelJob
from model.scoring.scorer import Request, score
from tests.signals import noise, sine, write_wav


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A recording of 300 windows in two units, short ones around it, and one that is not audio: two batches."""
    root = tmp_path_factory.mktemp("recordings") / "source"
    write_wav(root / "a.wav", noise(16_000))
    write_wav(root / "m.wav", noise(300 * 4_000, amplitude=0.2), 4_000)
    write_wav(root / "z.wav", sine(300, 30_000))
    (root / "text.wav").write_bytes(b"no sound " * 20)
    return root


def label_here(job: LabelJob, windows: Mapping[int, int]) -> None:
    """Labels batches in this thread."""
    network = job.load_network()
    for number in windows:
        job.write(number, job.label(network, number))


def test_an_interrupted_score_hands_over_what_is_left_and_ends_with_the_same_bytes(recordings, untrained, tmp_path):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    handed_over: list[dict[int, int]] = []

    def stop_after_one(job: LabelJob, windows: Mapping[int, int]) -> None:
        handed_over.append(dict(windows))
        label_here(job, dict(itertools.islice(windows.items(), 1)))
        raise KeyboardInterrupt

    def go_on(job: LabelJob, windows: Mapping[int, int]) -> None:
        handed_over.append(dict(windows))
        label_here(job, windows)

    figures = score(Request(str(untrained), str(recordings), str(tmp_path / "whole" / "labels.csv"), top=2), label_here)
    request = Request(str(untrained), str(recordings), str(tmp_path / "stopped" / "labels.csv"), top=2)
    with pytest.raises(KeyboardInterrupt):
        score(request, stop_after_one)
    again = score(request, go_on)
    assert handed_over == [{0: 1, 1: 256, 2: 46}, {1: 256, 2: 46}]
    assert {name: figures[name] for name in ("files", "scored", "rejected", "rejects", "clips")} == {
        "files": 4, "scored": 3, "rejected": 1, "rejects": {"not_audio": 1}, "clips": 303,
    }  # fmt: skip
    timing = ("seconds", "clips_per_second")
    assert {n: v for n, v in again.items() if n not in timing} == {n: v for n, v in figures.items() if n not in timing}
    whole, stopped = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
                      for name in ("whole", "stopped"))  # fmt: skip
    assert sorted(whole) == ["labels.csv", "labels.rejects.csv", "labels.warnings.csv"]
    assert whole == stopped


def test_batches_that_were_not_run_are_an_error(recordings, untrained, tmp_path):
    request = Request(str(untrained), str(recordings), str(tmp_path / "labels.csv"))
    with pytest.raises(RunError, match=r"00000000\.json is missing"):
        score(request, lambda job, windows: None)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv.parts"]
