"""A disk without room: what cannot fit is refused; one that fills up on the way costs nothing that was finished."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import RunError
from features.io.atomic import writer_name
from features.store.layout import MANIFEST, RUN_LOG
from features.store.manifest import load_manifest
from tests.conftest import STARTED, call, wait_until
from tests.pipelines.conftest import files_of
from tests.pipelines.sets import Case, check_whole, differences, featurize, finished_shards, make_case, named

PAGE_BYTES = 4096
ROOM = r"([\d.]+ [kM]?B|[\d,]+ bytes)"
NO_SPACE = "error: no space is left on the device for {}/{}; make room and run it again, what was finished is kept"
# The commit takes what is known of the clips from a file that goes with the process and has no name.
NO_SPACE_FOR_LINES = (
    "error: cannot write what is known of the clips, some 200 bytes each, to a file in {}: No space left on device; "
    "make room and run it again, what was finished is kept"
)


class Disk:
    """A small file system in memory, mounted where only its own processes see it, and gone when they have ended."""

    def __init__(self, place: Path, mebibytes: int) -> None:
        """Mounts it; skips the test where that is not allowed."""
        place.mkdir()
        mount = 'mount -t tmpfs -o size="$0"m tmpfs "$1" && echo mounted && exec cat'
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(mebibytes), str(place)]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, start_new_session=True)  # fmt: skip
        STARTED.append(self._holder)
        if self._holder.stdout.readline() != "mounted\n":
            pytest.skip(f"a file system cannot be mounted here: {self._holder.communicate()[1].strip()}")
        self.folder = place / "set"
        # The same from outside.
        self.seen = Path(f"/proc/{self._holder.pid}/root{self.folder}")
        self._filler = self.seen.with_name("filler")

    def start(self, module: str, *arguments: object) -> subprocess.Popen:
        """Starts a command that sees it."""
        inside = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount", "--preserve-credentials", "--wd"]
        command = [*inside, sys.executable, "-m", module, *map(str, arguments)]
        STARTED.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True))  # fmt: skip
        return STARTED[-1]

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return shutil.disk_usage(self.seen.parent).free

    def fill(self, left_bytes: int = 0) -> None:
        """Takes all that is free but so much."""
        with open(self._filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free_bytes - left_bytes)
        assert self.free_bytes == left_bytes

    def make_room(self) -> None:
        """Gives back what was taken."""
        self._filler.unlink()


def errors_of(process: subprocess.Popen) -> list[str]:
    """Waits for the end; returns the lines on standard error but those of progress."""
    lines = process.communicate(timeout=120)[1].splitlines()
    return [line for line in lines if not line.startswith(("featurize: ", "running in "))]


def test_what_cannot_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    case = make_case(tmp_path / "case", "incremental", "tfrecord")
    folder = case.copy(tmp_path / "set")
    before = files_of(folder)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(RunError) as raised:
        call("pipelines.featurize", *case.options(folder))
    start = rf"{folder} has room for 10\.0 kB, and this run writes about {ROOM}; make room"
    assert re.match(
        rf"{start} \(python -m features.prune {folder} .*\), give an --output on another", str(raised.value)
    )
    assert files_of(folder) == before


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
@pytest.mark.parametrize("where", ["shard", "report", "table", "manifest"])
def test_a_file_that_finds_no_room_ends_the_run_with_its_name(tmp_path, storage_format, where):
    case = make_case(tmp_path / "case", "incremental", storage_format)
    featurize(case.request(case.copy(case.unbroken)))
    new, folder = load_manifest(case.unbroken), case.copy(tmp_path / "set")
    name = sorted(case.new_shards(case.unbroken))[0]
    file = {
        "shard": f"shards/{name}",
        "report": f"reports/{Path(name).stem}.parquet",
        "table": new.clips_file,
        "manifest": MANIFEST,
    }[where]
    # What is written to this device finds no room.
    partial = folder / f"{file}.{writer_name()}.partial"
    partial.symlink_to("/dev/full")
    with pytest.raises(RunError) as raised:
        featurize(case.request(folder))
    assert f"error: {raised.value}" == NO_SPACE.format(folder, file)
    assert not partial.is_symlink()
    check_whole(folder, storage_format)
    assert load_manifest(folder) == load_manifest(case.base)
    finished = finished_shards(folder)
    featurize(case.request(folder))
    assert finished.items() <= finished_shards(folder).items()
    assert differences(named(folder), named(case.unbroken)) == []


def test_a_work_list_that_finds_no_room_ends_the_run_and_leaves_nothing(tmp_path):
    case = make_case(tmp_path / "case", "incremental", "tfrecord")
    folder = case.copy(tmp_path / "set")
    before = files_of(folder)
    (folder / "work").mkdir()
    name = f"work/units-{writer_name()}.arrow"
    (folder / f"{name}.{writer_name()}.partial").symlink_to("/dev/full")
    with pytest.raises(RunError) as raised:
        featurize(case.request(folder))
    assert f"error: {raised.value}" == NO_SPACE.format(folder, name)
    assert files_of(folder) == before


def test_a_diary_that_finds_no_room_is_a_warning(tmp_path, caplog):
    case = make_case(tmp_path / "case", "cold", "tfrecord")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / RUN_LOG).symlink_to("/dev/full")
    manifest, _ = featurize(case.request(folder))
    assert load_manifest(folder) == manifest
    assert f"this run is not noted in {folder / RUN_LOG}: No space left on device" in caplog.text


@pytest.mark.trial
@pytest.mark.parametrize("left_bytes", [0, 4 * PAGE_BYTES, 256 * PAGE_BYTES, 2_560 * PAGE_BYTES])
def test_a_training_that_finds_no_room_is_one_line(feature_set, tmp_path, left_bytes):
    """At its claim, the log of TensorBoard, the best weights, the last ones."""
    disk = Disk(tmp_path / "disk", 32)
    disk.fill(left_bytes)
    options = ("--network", "mlp", "--epochs", 1, "--features", feature_set, "--output", disk.folder)
    process = disk.start("model.train", *options)
    lines = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 1
    assert re.fullmatch(rf"error: no space is left on the device for {disk.folder}[\w./-]*; make room .*", lines[-1])
    assert ".partial" not in lines[-1]
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


@pytest.mark.trial
def test_a_small_disk_is_refused_before_anything_is_written(tmp_path):
    case = make_case(tmp_path / "case", "slow incremental", "tfrecord")
    disk = Disk(tmp_path / "disk", 8)
    case.copy(disk.seen)
    before = files_of(disk.seen)
    process = disk.start("pipelines.featurize", *case.options(disk.folder))
    size, error = errors_of(process)
    assert process.returncode == 1
    said = re.fullmatch(rf"{ROOM} to write in 6 shards, {ROOM} are free", size)
    start = f"error: {disk.folder} has room for {said[2]}, and this run writes about {said[1]}; make room ("
    assert error.startswith(start)
    assert files_of(disk.seen) == before
    # Another process has no part in that disk, and its own folder of that name is empty.
    assert not disk.folder.exists()


def still_needed(case: Case, folder: Path) -> int:
    """Returns how many bytes a run that is stopped has yet to write until all its shards and reports are there."""
    there = [*(folder / "shards").iterdir(), *(folder / "reports").iterdir()]
    begun = sum(pages(path) for path in there if path.suffix == ".partial")
    names = {f"{path.parent.name}/{path.name}" for path in there}
    files = [*(case.unbroken / "shards").iterdir(), *(case.unbroken / "reports").iterdir()]
    return sum(pages(path) for path in files if f"{path.parent.name}/{path.name}" not in names) - begun


def threads_stand_still(group: int) -> bool:
    """Whether all threads of a group of processes have stopped."""
    states = set()
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
            states |= {state} if int(of) == group else set()
    return states <= {"T", "Z"}


def pages(path: Path) -> int:
    return -(-path.stat().st_size // PAGE_BYTES) * PAGE_BYTES


@pytest.mark.trial
@pytest.mark.parametrize(
    ("storage_format", "workers", "place"),
    [("tfrecord", 1, "shards"), ("parquet", 2, "shards"), ("tfrecord", 2, "commit"), ("parquet", 1, "commit")],
)
def test_a_disk_that_fills_up_costs_nothing_that_was_finished(tmp_path, storage_format, workers, place):
    case = make_case(tmp_path / "case", "slow incremental", storage_format)
    featurize(case.request(case.copy(case.unbroken)))
    disk = Disk(tmp_path / "disk", 24)
    case.copy(disk.seen)
    process = disk.start("pipelines.featurize", *case.options(disk.folder, workers))
    wait_until(lambda: case.new_shards(disk.seen) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGSTOP)
    wait_until(lambda: threads_stand_still(process.pid))  # a thread in the middle of a write first ends it
    # A unit's file of progress and the job's lease take a page each for a while; the table of clips takes nine.
    disk.fill(left_bytes=still_needed(case, disk.seen) + 4 * PAGE_BYTES if place == "commit" else 0)
    os.killpg(process.pid, signal.SIGCONT)
    _, *errors = errors_of(process)
    assert process.returncode == 1
    assert len(errors) == 1
    said = re.fullmatch(NO_SPACE.format(disk.folder, "(shards|reports|clips-|rejects-|states)?.*"), errors[0])
    in_commit = errors[0] == NO_SPACE_FOR_LINES.format(disk.folder)
    assert said or in_commit, errors
    assert (said is not None and said[1] in ("shards", "reports")) == (place == "shards"), errors
    check_whole(disk.seen, storage_format)
    assert load_manifest(disk.seen) == load_manifest(case.base)
    finished, new = finished_shards(disk.seen), case.new_shards(disk.seen)
    assert (len(new) < 6) == (place == "shards")
    disk.make_room()
    summary = tmp_path / "summary.json"
    process = disk.start("pipelines.featurize", *case.options(disk.folder, workers), "--summary", summary)
    errors_of(process)
    assert process.returncode == 0
    # Each new shard has as many rows.
    assert json.loads(summary.read_text())["computed"] == 200 * (6 - len(new))
    assert finished.items() <= finished_shards(disk.seen).items()
    assert differences(named(disk.seen), named(case.unbroken)) == []
    check_whole(disk.seen, storage_format)
