"""Scoring without Beam: what it hands to what runs the batches, and how it resumes after an interruption."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.errors import RunError
from model.scoring.label_windows import LabelJob
from model.scoring.request import Request
from model.scoring.scorer import BatchSize, score
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


def label_here(job: LabelJob, batches: Mapping[int, BatchSize]) -> None:
    """Labels batches in this thread."""
    network = job.load_network()
    for number in batches:
        job.write(number, job.label(network, number))


def test_an_interrupted_score_hands_over_what_is_left_and_ends_with_the_same_bytes(recordings, untrained, tmp_path):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    handed_over: list[dict[int, int]] = []

    def stop_after_one(job: LabelJob, batches: Mapping[int, BatchSize]) -> None:
        handed_over.append({number: size.windows for number, size in batches.items()})
        label_here(job, dict(itertools.islice(batches.items(), 1)))
        raise KeyboardInterrupt

    def go_on(job: LabelJob, batches: Mapping[int, BatchSize]) -> None:
        handed_over.append({number: size.windows for number, size in batches.items()})
        label_here(job, batches)

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
    assert sorted(whole) == ["labels.csv", "labels.csv.manifest.parquet", "labels.rejects.csv", "labels.warnings.csv"]
    assert whole == stopped


@pytest.fixture(scope="module")
def remainders(tmp_path_factory) -> Path:
    """Recordings of a second and a little more, at two rates, one shorter than any least, one not usable."""
    root = tmp_path_factory.mktemp("remainders") / "source"
    for rate_hz in (16_000, 44_100):
        for more in (0, 1, rate_hz // 20 - 1, rate_hz // 20, rate_hz // 20 + 1):
            write_wav(root / f"{rate_hz}-{more:05d}.wav", sine(300, rate_hz + more, rate_hz), rate_hz)
    write_wav(root / "short.wav", sine(300, 100))
    soundfile.write(root / "too_loud.wav", np.sign(noise(16_016)) * 3e38, 16_000, subtype="FLOAT")
    return root


@pytest.mark.parametrize(
    ("least", "twice", "short"), [(None, (800, 801, 2205, 2206), 3), (0.0, (1, 799, 800, 801, 2204, 2205, 2206), 0)]
)
def test_the_last_window_of_a_recording_is_left_out_where_it_is_too_short(
    remainders, untrained, tmp_path, least, twice, short
):
    output = tmp_path / "labels.csv"
    figures = score(Request(str(untrained), str(remainders), str(output), min_window_seconds=least), label_here)
    lines = output.read_text().splitlines()[1:]
    assert sum(line.startswith("short.wav,0.000000,0.006250,") for line in lines) == 1
    seconds = [line.split(",") for line in lines if line.split(",")[1] == "1.000000"]
    assert [int(path[-9:-4]) for path, *_ in seconds] == list(twice)
    # Of one sample at 44.1 kHz none is left at 16 kHz, so that it never was a window.
    assert [float(end) for _, _, end, *_ in seconds] == [
        pytest.approx(1 + int(path[-9:-4]) / int(path[:5]), abs=1e-6) for path, *_ in seconds
    ]
    assert (figures["rejects"], figures["short_windows"]) == ({"not_finite": 1}, short)
    assert figures["clips"] == len(lines) == 11 + len(twice)


def test_a_recording_that_was_cut_off_where_nothing_is_labelled_is_truncated_all_the_same(untrained, tmp_path):
    """Only the last frame of a FLAC shows that it is whole; where that is of a window left out, it is read for it."""
    (tmp_path / "source").mkdir()
    for name in ("whole", "cut"):
        soundfile.write(tmp_path / "source" / f"{name}.flac", noise(16_400), 16_000)
    path = tmp_path / "source" / "cut.flac"
    path.write_bytes(path.read_bytes()[:-100])
    figures = score(Request(str(untrained), str(tmp_path / "source"), str(tmp_path / "labels.csv")), label_here)
    assert (figures["clips"], figures["short_windows"], figures["warnings"]) == (2, 2, {"truncated": 1})
    assert (tmp_path / "labels.warnings.csv").read_text().splitlines()[1].startswith("cut.flac,decode,truncated,")


def test_batches_that_were_not_run_are_an_error(recordings, untrained, tmp_path):
    request = Request(str(untrained), str(recordings), str(tmp_path / "labels.csv"))
    with pytest.raises(RunError, match=r"00000000\.part is missing"):
        score(request, lambda job, windows: None)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv.parts"]
