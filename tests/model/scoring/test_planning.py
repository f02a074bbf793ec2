"""Planning in units: the plan is that of one pass, whoever read which headers, and what was read is not read again."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from features.errors import RunError
from features.frontend.windows import Windowing
from features.sources.clips import Source
from features.sources.folder import scan
from features.store.locks import claim
from model.scoring import planning
from model.scoring.plan import Plan, plan_batches
from model.scoring.planning import PlanJob, plan_source, read_here
from model.scoring.recordings import read_recorders
from tests.features.audio.test_recorder_header import guano
from tests.model.scoring.test_plan import SPEC
from tests.signals import noise, write_wav

UNIT = 3
WINDOWING = Windowing(least_seconds=0.0125)


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    monkeypatch.setattr(planning, "FILES_IN_UNITS", 8)
    monkeypatch.setattr(planning, "FILES_OF_A_UNIT", UNIT)


def recordings(folder: Path, files: int) -> Path:
    """Files of 1 to 600 windows, one of which is left out in some, and two that are no audio."""
    for number in range(files):
        path = write_wav(
            folder / f"{number:02d}.wav", noise(2_000 * (1 + 200 * (number % 4)) + 50 * (number % 3)), 8_000
        )
        if number in (3, 7):
            path.write_bytes(b"no sound " * 20)
    return folder


def content(plan: Plan) -> tuple[object, ...]:
    return list(plan.batches()), plan.rejects, plan.shortened.tolist(), plan.paths.to_pylist()


class Reading:
    """Reads units here, and remembers which."""

    def __init__(self, *without: int) -> None:
        self.asked: list[int] = []
        self._without = without

    def __call__(self, job: PlanJob, numbers: Sequence[int]) -> None:
        self.asked += numbers
        read_here(job, [number for number in numbers[::-1] if number not in self._without])


def planned(
    parts: Path, source: Source, reading: Reading, windowing: Windowing = WINDOWING, recorders: bool = False
) -> tuple[Plan, Path | None]:
    with claim(parts, "score", "labels.csv") as lease:
        return plan_source(parts, source, SPEC, windowing, lease, reading, recorders)


def plan(parts: Path, source: Path, reading: Reading) -> tuple[Plan, Path | None]:
    parts.mkdir(exist_ok=True)
    return planned(parts, scan(str(source), labelled=False), reading)


@pytest.mark.parametrize("files", [7, 8, 9, 10])
def test_the_plan_is_that_of_one_pass(tmp_path, files):
    source = scan(str(recordings(tmp_path / "source", files)), labelled=False)
    reading = Reading()
    made, folder = plan(tmp_path / "parts", tmp_path / "source", reading)
    expected = plan_batches(source.root, source.clips["path"].to_pylist(), SPEC, WINDOWING)
    assert content(made) == content(expected)
    assert len(expected.rejects) == (1 if files < 8 else 2)
    assert any(expected.shortened)
    assert reading.asked == ([] if files < 8 else list(range(-(-files // UNIT))))
    assert (folder is None) == (files < 8)


@pytest.mark.parametrize("files", [7, 10])
def test_what_recorders_say_is_read_where_it_is_wanted(tmp_path, files):
    root = recordings(tmp_path / "source", files)
    for number in (2, 4):
        with open(root / f"{number:02d}.wav", "ab") as file:
            file.write(guano(f"GUANO|Version:1.0\nTimestamp:2020-05-01T19:22:0{number}Z"))
    (tmp_path / "parts").mkdir()
    source = scan(str(root), labelled=False)
    without, folder = planned(tmp_path / "parts", source, Reading())
    reading = Reading()
    made, other = planned(tmp_path / "parts", source, reading, recorders=True)
    assert without.recorders is None
    assert content(made) == content(without)
    assert made.recorders.combine_chunks().equals(read_recorders(str(root), source.clips["path"].to_pylist()))
    assert [bool(time) for time in made.recorders["recorded_at"].to_pylist()] == [n in (2, 4) for n in range(files)]
    assert (other is None and folder is None) if files < 8 else (other != folder and len(reading.asked) == 4)


def test_what_was_read_is_not_read_again(tmp_path):
    recordings(tmp_path / "source", 10)
    whole, folder = plan(tmp_path / "parts", tmp_path / "source", Reading())
    shutil.rmtree(folder)
    stopped = Reading(2, 3)
    with pytest.raises(RunError, match=r"00000002\.parquet is missing or damaged"):
        plan(tmp_path / "parts", tmp_path / "source", stopped)
    (folder / "00000001.parquet").write_bytes((folder / "00000001.parquet").read_bytes()[:-1])
    again = Reading()
    assert content(plan(tmp_path / "parts", tmp_path / "source", again)[0]) == content(whole)
    assert again.asked == [1, 2, 3]
    nothing = Reading()
    assert content(plan(tmp_path / "parts", tmp_path / "source", nothing)[0]) == content(whole)
    assert nothing.asked == []


def test_a_file_that_was_missing_is_looked_for_again(tmp_path):
    recordings(tmp_path / "source", 10)
    listed = scan(str(tmp_path / "source"), labelled=False)
    (tmp_path / "source" / "04.wav").rename(tmp_path / "away.wav")
    (tmp_path / "parts").mkdir()
    without, _ = planned(tmp_path / "parts", listed, Reading())
    assert [(reject.path, reject.reason) for reject in without.rejects] == [
        ("03.wav", "not_audio"), ("04.wav", "missing"), ("07.wav", "not_audio"),
    ]  # fmt: skip
    (tmp_path / "away.wav").rename(tmp_path / "source" / "04.wav")
    again = Reading()
    found, _ = planned(tmp_path / "parts", listed, again)
    assert again.asked == [1]
    assert [reject.path for reject in found.rejects] == ["03.wav", "07.wav"]


def test_a_disk_that_goes_away_on_the_way_is_an_error_and_no_reject(tmp_path):
    root = recordings(tmp_path / "source", 10)

    def read(job: PlanJob, numbers: Sequence[int]) -> None:
        with job.open() as files:
            root.rename(tmp_path / "elsewhere")
            job.read(files, numbers[0])

    with pytest.raises(RunError, match=f"does not see the recordings in {root}, where the driver saw 00.wav of"):
        plan(tmp_path / "parts", root, read)
    assert not list((tmp_path / "parts").rglob("0*.parquet"))


def test_other_files_windows_or_times_are_another_planning(tmp_path):
    source = recordings(tmp_path / "source", 10)
    (tmp_path / "parts").mkdir()
    folders = []
    for windowing in (WINDOWING, Windowing()):
        listed = scan(str(source), labelled=False)
        folders.append(planned(tmp_path / "parts", listed, Reading(), windowing)[1])
    os.utime(source / "05.wav", (1_600_000_000, 1_600_000_000))
    folders.append(plan(tmp_path / "parts", source, Reading())[1])
    (source / "05.wav").rename(source / "05 a.wav")
    folders.append(plan(tmp_path / "parts", source, Reading())[1])
    assert len(set(folders)) == 4
