"""Files of every damage among good ones: each is named with its reason, and costs nothing but itself."""

import csv
import hashlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from features.errors import RETRYABLE, Reason
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from tests.conftest import call, clips_table, files_below, run_command, start_command, wait_until
from tests.held import BATCH, held_at
from tests.model.untrained import save_untrained
from tests.pipelines.bad_files import KINDS, spoiling, wav_16, wav_24
from tests.pipelines.conftest import LONG_AGO, files_of, is_alive, workers_of
from tests.signals import sine, write_wav

SECONDS = 30  # within which a run whose worker died has ended, on a loaded machine too
LIMIT_SECONDS = 3.0  # for decoding, where decoders hang
GOOD_CLIPS, BAD_FILES = 5_000, 500
# Kinds of which each file takes seconds; the others make up the rest.
SLOW_KINDS = {"hang": 4, "eat": 8, "abort": 8}


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rejects_of(folder: Path) -> list[dict[str, str]]:
    return read(folder / load_manifest(folder).rejects_file)


def rows_of(folder: Path) -> dict[str, list[tuple[str, str, bytes]]]:
    """Returns path, label and features of all rows in their order, by partition."""
    manifest = load_manifest(folder)
    rows: dict[str, list[tuple[str, str, bytes]]] = {}
    for name, shards in manifest.partitions.items():
        rows[name] = []
        for shard in shards:
            content = read_shard(manifest.layout(folder), shard, manifest.spec)
            features = [row.tobytes() for row in content.features]
            rows[name] += zip(content.paths, content.labels, features, strict=True)
    return rows


def table_of(folder: Path) -> pa.Table:
    """Returns what the clips table says of each file, less when that was and which shard has it."""
    columns = ["path", "start", "size", "content_hash", "label", "group", "partition", "seconds", "warning"]
    return clips_table(folder, load_manifest(folder)).select(columns).sort_by("path")


def make_good_and_mixed(recordings: list[Path], good: Path, mixed: Path) -> dict[str, str]:
    """Links recordings into two folders, puts bad files among those of the second; returns the kinds of these."""
    for root in (good, mixed):
        for recording in recordings:
            link = root / recording.parent.name / recording.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(recording)
    words = sorted(path.name for path in mixed.iterdir())
    quick = itertools.cycle(sorted(KINDS.keys() - SLOW_KINDS.keys()))
    kinds = [kind for kind, count in SLOW_KINDS.items() for _ in range(count)]
    kinds += itertools.islice(quick, BAD_FILES - len(kinds))
    bad = {}
    for number, kind in enumerate(kinds):
        # Hashes lie among the names of the recordings, before and after each.
        name = f"{hashlib.sha256(str(number).encode()).hexdigest()[:8]}_nohash_9{KINDS[kind].ending}"
        path = mixed / words[number % len(words)] / name
        assert not path.exists()
        path.write_bytes(KINDS[kind].make(number))
        os.utime(path, (LONG_AGO, LONG_AGO))
        bad[str(path.relative_to(mixed))] = kind
    return bad


@pytest.mark.data
@pytest.mark.endurance
def test_500_bad_files_among_5_000_good_clips_change_no_byte_of_these(data, small_spec, tmp_path):
    found = (data / "speech_commands_8words").glob("[a-z]*/*.wav")
    recordings = sorted(found, key=lambda path: (path.name, path.parent.name))[:GOOD_CLIPS]
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in recordings}) == GOOD_CLIPS
    bad = make_good_and_mixed(recordings, tmp_path / "good", tmp_path / "mixed")
    assert (len(bad), set(bad.values())) == (BAD_FILES, set(KINDS))
    sizes = {path: str((tmp_path / "mixed" / path).stat().st_size) for path in bad}
    expected = [(path, sizes[path], KINDS[bad[path]].stage, KINDS[bad[path]].reason) for path in sorted(bad)]
    environment = spoiling(tmp_path / "site", LIMIT_SECONDS)

    def run(module: str, name: str, output: Path, *options: object) -> dict:
        summary = tmp_path / "summary.json"
        options = (*options, "--input", tmp_path / name, "--output", output, "--workers", 2, "--summary", summary)
        run_command(module, *options, timeout=900, env=environment)
        return json.loads(summary.read_text())

    sets = {name: tmp_path / f"{name}-set" for name in ("good", "mixed")}
    figures = {name: run("pipelines.featurize", name, folder, "--spec", small_spec) for name, folder in sets.items()}
    assert (figures["good"]["clips"], figures["good"]["rejected"]) == (GOOD_CLIPS, 0)
    assert (figures["mixed"]["clips"], figures["mixed"]["rejected"]) == (GOOD_CLIPS, BAD_FILES)
    rows = rows_of(sets["good"])
    assert min(map(len, rows.values())) > 300
    assert rows_of(sets["mixed"]) == rows
    assert table_of(sets["mixed"]).equals(table_of(sets["good"]))
    rejects = rejects_of(sets["mixed"])
    assert [(row["path"], row["size"], row["stage"], row["reason"]) for row in rejects] == expected
    assert all(row["message"] for row in rejects)

    network = save_untrained(tmp_path / "run", sets["good"])
    tables = {name: tmp_path / f"{name}.csv" for name in sets}
    figures = {name: run("pipelines.score", name, table, "--model", network) for name, table in tables.items()}
    assert [figures["good"][name] for name in ("files", "scored", "rejected")] == [GOOD_CLIPS, GOOD_CLIPS, 0]
    counted = [figures["mixed"][name] for name in ("files", "scored", "rejected")]
    assert counted == [GOOD_CLIPS + BAD_FILES, GOOD_CLIPS, BAD_FILES]
    assert {row["path"] for row in read(tables["good"])} == {f"{path.parent.name}/{path.name}" for path in recordings}
    assert tables["mixed"].read_bytes() == tables["good"].read_bytes()
    warnings = [(tmp_path / f"{name}.warnings.csv").read_bytes() for name in sets]
    assert warnings[0] == warnings[1]
    rejects = read(tmp_path / "mixed.rejects.csv")
    assert [(row["path"], row["size"], row["stage"], row["reason"]) for row in rejects] == expected
    assert all(row["message"] for row in rejects)


class Case(NamedTuple):
    """A file that cannot be used.

    Attributes:
        stage: where that is found out.
        reason: the code that it gets.
        put: puts it there.
        mend: takes away the cause and leaves the file itself alone; None where the cause does not pass, and where it is
            enough that decoders do as they should.
    """

    stage: str
    reason: Reason
    put: Callable[[Path], None]
    mend: Callable[[Path], None] | None = None


def content(made: bytes) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.write_bytes(made)
        os.utime(path, (LONG_AGO, LONG_AGO))

    return put


def kind(name: str) -> tuple[str, Reason, Callable[[Path], None]]:
    made = KINDS[name]
    return made.stage, made.reason, content(made.make(0))


def aside(path: Path) -> Path:
    """Where a link leads to, outside of the source."""
    return path.parents[2] / f"target of {path.name}"


def link_to_what_nobody_can_read(path: Path) -> None:
    # At the beginning of a process' memory there is nothing, so that to read it is an error of the device. It is the
    # memory of this process, whoever lists or reads it: that of another has another time.
    aside(path).symlink_to(f"/proc/{os.getpid()}/mem")
    path.symlink_to(aside(path))


def replace_target(path: Path) -> None:
    aside(path).unlink(missing_ok=True)
    content(wav_16(1))(aside(path))


def forbid(path: Path) -> None:
    content(wav_16(2))(path)
    path.chmod(0)


CASES = {
    "yes/device.wav": Case("decode", Reason.UNREADABLE, link_to_what_nobody_can_read, replace_target),
    "yes/picture.wav": Case(*kind("picture")),
    "yes/apple.m4a": Case(*kind("mp4")),
    "yes/no channels.wav": Case(*kind("no channels")),
    "yes/abort.wav": Case(*kind("abort")),
    "yes/cut.wav": Case("decode", Reason.TRUNCATED, content(wav_24(3, cut=100))),
    "yes/nothing.wav": Case(*kind("no bytes")),
    "yes/one sample.wav": Case(*kind("one sample")),
    "yes/not a number.wav": Case(*kind("not a number")),
    "yes/too loud.wav": Case(*kind("too loud")),
    "yes/zeros.wav": Case("fit", Reason.SILENT, content(wav_24(4, amplitude=0.0))),
    "without class.wav": Case("scan", Reason.BAD_LABEL, content(wav_16(5))),
    "yes/link.wav": Case("scan", Reason.MISSING, lambda path: path.symlink_to(aside(path)), replace_target),
    "yes/forbidden.wav": Case("decode", Reason.PERMISSION, forbid, lambda path: path.chmod(0o600)),
    "yes/growing.wav": Case("decode", Reason.VANISHED, content(wav_24(6, "GROW"))),
    "yes/hang.wav": Case(*kind("hang")),
    "yes/eat.wav": Case(*kind("eat")),
}
GOOD = [f"{word}/{number}.wav" for word in ("no", "yes") for number in range(5)]
POLICIES = ("--truncated", "reject", "--silent", "reject")


class Damage:
    """A source that has a file of each case."""

    def __init__(self, place: Path) -> None:
        self.source, self.features = place / "source", place / "set"
        for number, path in enumerate(GOOD):
            write_wav(self.source / path, sine(300 * (number + 1), 16_000))
            os.utime(self.source / path, (LONG_AGO, LONG_AGO))
        for path, case in CASES.items():
            case.put(self.source / path)
        self.sizes = {path: (self.source / path).stat().st_size for path in CASES if (self.source / path).exists()}
        self._environment = spoiling(place / "site", LIMIT_SECONDS)

    def run(self, module: str, *arguments: object) -> None:
        """Runs a command as a user who may not read everything, with decoders that do what the files say."""
        command = ("tests.pipelines.ordinary_user", module) if os.geteuid() == 0 else (module,)
        run_command(*command, *arguments, *POLICIES, "--workers", 1, env=self._environment)


@pytest.fixture(scope="module")
def damage(tmp_path_factory) -> Damage:
    return Damage(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def rejects(damage) -> dict[str, dict[str, str]]:
    """What featurize says of the files that it could not use, by their paths."""
    damage.run("pipelines.featurize", "--input", damage.source, "--output", damage.features)
    assert sorted(path for rows in rows_of(damage.features).values() for path, _, _ in rows) == GOOD
    return {row["path"]: row for row in rejects_of(damage.features)}


@pytest.mark.parametrize("path", CASES)
def test_each_reason_is_met_for_real(damage, rejects, path):
    case, row = CASES[path], rejects[path]
    assert (row["stage"], row["reason"]) == (case.stage, case.reason)
    assert row["message"]
    if case.stage != "scan":
        assert int(row["size"]) == damage.sizes[path]


def test_no_reason_is_without_a_case_and_no_file_is_rejected_besides(rejects):
    # Rows of tables: tests/features/sources/test_field_tables.py. A channel that a spec is about is missing
    # in files that another spec uses: tests/pipelines/test_channels.py.
    elsewhere = {Reason.BAD_ROW, Reason.TOO_FEW_CHANNELS}
    assert {case.reason for case in CASES.values()} == set(Reason) - elsewhere
    assert rejects.keys() == CASES.keys()


@pytest.fixture(scope="module")
def refusals(damage, rejects, run_folder) -> dict[str, dict[str, str]]:
    """What score says of the files, which a table names, that it could not use."""
    # What has no label and what grows while it is read is scored; what hangs takes long.
    left_out = (Reason.BAD_LABEL, Reason.VANISHED, Reason.TIMEOUT)
    named = [*GOOD, *(path for path, case in CASES.items() if case.reason not in left_out)]
    table, labels = damage.source.parent / "table.csv", damage.source.parent / "labels.csv"
    table.write_text("\n".join(["path", *named]) + "\n")
    arguments = ("--model", run_folder, "--input", table, "--root", damage.source, "--output", labels)
    damage.run("pipelines.score", *arguments)
    assert [row["path"] for row in read(labels)] == GOOD
    return {row["path"]: row for row in read(labels.with_suffix(".rejects.csv"))}


def test_score_gives_the_same_reasons(damage, rejects, refusals):
    assert len(refusals) == len(CASES) - 3
    for path, row in refusals.items():
        for column in ("path", "reason", "size"):
            assert row[column] == rejects[path][column], (path, column)
        assert rejects[path]["message"] in row["message"]


@pytest.fixture(scope="module")
def second(damage, rejects, refusals) -> dict:
    """The figures of a second featurize: decoders are as they should be, and the causes of other rejects are gone."""
    for path, case in CASES.items():
        if case.mend:
            case.mend(damage.source / path)
    return featurize(damage.source, damage.features)


def featurize(source: Path, features: Path) -> dict:
    summary = features.with_suffix(".json")
    arguments = ("--input", source, "--output", features, *POLICIES, "--workers", 1, "--summary", summary)
    assert call("pipelines.featurize", *arguments) == 0
    return json.loads(summary.read_text())


def test_what_has_become_readable_becomes_a_row_and_all_else_is_not_decoded_again(damage, second, tmp_path):
    mended = sorted(path for path, case in CASES.items() if case.reason in RETRYABLE)
    assert len(mended) == len(RETRYABLE)
    assert (second["computed"], second["kept"], second["clips"]) == (len(mended), len(GOOD), len(GOOD) + len(mended))
    assert [row["path"] for row in rejects_of(damage.features)] == sorted(CASES.keys() - set(mended))
    featurize(damage.source, tmp_path / "cold")
    mine, theirs = rows_of(damage.features), rows_of(tmp_path / "cold")
    assert {name: sorted(rows) for name, rows in mine.items()} == {name: sorted(rows) for name, rows in theirs.items()}
    assert table_of(damage.features).equals(table_of(tmp_path / "cold"))
    assert rejects_of(damage.features) == rejects_of(tmp_path / "cold")


def test_where_nothing_has_become_readable_nothing_is_decoded_and_no_state_is_made(damage, second):
    before = files_of(damage.features, "runs.jsonl")
    third = featurize(damage.source, damage.features)
    assert (third["computed"], third["committed"], third["rejected"]) == (0, False, len(CASES) - len(RETRYABLE))
    assert files_of(damage.features, "runs.jsonl") == before


@pytest.mark.parametrize("moment", ["as it starts", pytest.param("as it works", marks=pytest.mark.trial)])
def test_a_worker_that_is_killed_ends_a_scoring_with_one_line(many_clips, run_folder, tmp_path, caplog, moment):
    output, parts = tmp_path / "labels.csv", tmp_path / "labels.csv.parts"
    arguments = ("--model", run_folder, "--input", many_clips / "high")
    waits = held_at(tmp_path, [2], BATCH, "pipelines.score")
    process = start_command(*waits, *arguments, "--output", output, "--workers", 2)
    wait_until(lambda: len(workers_of(process.pid)) == 2)
    workers = workers_of(process.pid)
    if moment == "as it works":
        wait_until(lambda: files_below(parts, "0*.part"))
        assert process.poll() is None
    os.kill(workers[0], signal.SIGKILL)
    killed = time.monotonic()
    try:
        errors = process.communicate(timeout=SECONDS)[1]
    except subprocess.TimeoutExpired:
        pytest.fail(f"the run has not ended {SECONDS} s after a worker was killed")
    assert time.monotonic() - killed < SECONDS
    lines = [line for line in errors.splitlines() if not line.startswith("score: ")]
    assert process.returncode == 1
    assert lines[0] == "running in 2 worker processes"
    assert len(lines) == 2, lines
    assert lines[1].startswith("error: a worker process died")
    assert "run it again" in lines[1]
    wait_until(lambda: not any(map(is_alive, workers)), seconds=SECONDS)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv.parts"]
    if moment == "as it starts":
        return

    finished = list(parts.rglob("0*.part"))
    assert finished
    with caplog.at_level("INFO", logger="soundmill"):
        assert call("pipelines.score", *arguments, "--output", output) == 0
    assert f"{len(finished)} of 7 batches are there" in caplog.text
    (tmp_path / "unbroken").mkdir()
    assert call("pipelines.score", *arguments, "--output", tmp_path / "unbroken" / "labels.csv") == 0
    for name in ("labels.csv", "labels.rejects.csv", "labels.warnings.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
