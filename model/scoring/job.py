"""The work of scoring on disk: planned batches of windows, a part of the CSV for each, and their union.

A batch is a row group of the work list. Its part is two files: the lines of the CSV, and, when these are complete, a
note of what was done, with their checksum: nothing waits for the disk, and what a power cut took is done again. Batches
are planned in the order of the CSV, so the union is the parts one after the other.

Who plans and joins has claimed the folder of the parts; workers have not, and one whose driver was killed may still
write. So all that a worker reads and writes lies in a folder of its job, named by a digest of what its CSV follows
from: no part of another job is ever joined.
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.audio.decode import probe
from features.errors import ClipError, Reason, Reject, RunError, UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.windows import num_windows
from features.io.atomic import AtomicFile, atomic_folder, write_file
from features.io.csv_text import csv_lines
from features.sources.clips import Source
from features.sources.paths import clip_file, csv_path
from features.sources.policies import Policies, refusal
from features.sources.rejects import COLUMNS, in_order, to_csv
from features.store.locks import CLAIM
from features.store.versions import library_versions
from model.inference.litert import BATCH_CLIPS
from model.scoring.labels_csv import Labels, WindowUnit, csv_header, score_lines

_WORK_LIST = "batches.parquet"
_TABLE_COLUMNS = (*COLUMNS, "size")
# Folders of jobs, partial ones among them, and what lay there itself before jobs had folders.
_OWN_NAME = re.compile(r"[0-9a-f]{64}|job\.json|batches\.parquet|network\.tflite|\d{8}\.(csv|json)")


@dataclass(frozen=True)
class Outcome:
    """What came of all batches.

    Attributes:
        files: number of files that were labelled.
        windows: number of windows that were labelled.
        rejects: files that could not be used, in the order of their paths.
        warnings: what is odd about files that were labelled all the same, in that order.
    """

    files: int
    windows: int
    rejects: list[Reject]
    warnings: list[Reject]


def plan_batches(source: Source, spec: FeatureSpec) -> tuple[list[list[WindowUnit]], list[Reject]]:
    """Deals the windows of all files into batches, in the order of the CSV.

    A file is split only where its windows alone are more than a batch.

    Returns:
        The batches, and files whose header cannot be read.
    """
    rejects = []
    batches: list[list[WindowUnit]] = []
    room = 0
    for path in source.clips["path"].to_pylist():
        try:
            count = num_windows(probe(clip_file(source.root, path)), spec)
        except ClipError as error:
            rejects.append(Reject(path, error.stage, str(error.reason), error.message))
            continue
        for first in range(0, count, BATCH_CLIPS):
            unit = WindowUnit(path, first, min(BATCH_CLIPS, count - first))
            if unit.num_windows > room:
                batches.append([])
                room = BATCH_CLIPS
            batches[-1].append(unit)
            room -= unit.num_windows
    return batches, rejects


def check_folder(folder: Path) -> None:
    """Raises `UsageError` where something else stands in the place of the parts."""
    try:
        others = [name for name in os.listdir(folder) if name != CLAIM and not _OWN_NAME.match(name)]
    except FileNotFoundError:
        return
    except NotADirectoryError:
        others = [folder.name]
    if others:
        raise UsageError(f"{folder} is in the way: scoring keeps its parts there; move it or remove it")


def open_parts(folder: Path, source: Source, batches: list[list[WindowUnit]], settings: dict[str, object]) -> "Parts":
    """Finds the parts of a job, or begins it; those of other jobs are removed.

    Args:
        folder: of the parts, which this process has claimed.
        source: the files, whose sizes and times tell one job from another.
        batches: the plan.
        settings: all else that the lines of the CSV follow from.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in ("path", "size", "mtime_ns"):
        digest.update(json.dumps(source.clips[name].to_pylist()).encode())
    # Another decoder may find other windows.
    planned = [[(unit.path, unit.first_window, unit.num_windows) for unit in batch] for batch in batches]
    digest.update(json.dumps(planned).encode())
    digest.update(json.dumps(library_versions(), sort_keys=True).encode())
    parts = Parts(folder / digest.hexdigest())
    remove_parts(folder, but=parts)
    if not parts.folder.is_dir():
        with atomic_folder(parts.folder) as partial:
            _write_batches(partial / _WORK_LIST, batches)
    return parts


def remove_parts(folder: Path, but: "Parts | None" = None) -> None:
    """Removes the parts of all jobs but one, and leaves the file that says who has claimed the folder."""
    for entry in list(os.scandir(folder)):
        if entry.name == CLAIM or (but and entry.name == but.folder.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            # A worker whose driver was killed may write into it this moment: what it leaves is of use to nobody, and
            # goes the next time.
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


def _write_batches(path: Path, batches: list[list[WindowUnit]]) -> None:
    schema = pa.schema({"path": pa.string(), "first_window": pa.int64(), "num_windows": pa.int64()})
    with pq.ParquetWriter(path, schema) as writer:
        for batch in batches:
            rows = pa.Table.from_pylist([asdict(unit) for unit in batch], schema=schema)
            writer.write_table(rows, row_group_size=len(batch))


class Parts:
    """The folder of one job, in which its parts lie until they are all there."""

    def __init__(self, folder: str | Path) -> None:
        """Takes the path of the folder, whose name is the job's."""
        self.folder = Path(folder)

    @property
    def network(self) -> Path:
        """The file that holds the network for `model.inference.executor`."""
        return self.folder / "network.tflite"

    def unfinished(self, count: int) -> list[int]:
        """Returns the numbers of the batches, of so many, that are still to be done."""
        return [number for number in range(count) if not self._is_finished(number)]

    def _is_finished(self, number: int) -> bool:
        try:
            self._read_lines(number, json.loads(self.note(number).read_bytes()))
            return True
        except (OSError, ValueError, KeyError, TypeError, RunError):
            return False

    def _read_lines(self, number: int, note: dict[str, Any]) -> bytes:
        """Returns the lines of a batch; raises `RunError` where these are others than its note tells of."""
        lines = self._lines(number).read_bytes()
        if (note["job"], note["crc32c"]) != (self.folder.name, google_crc32c.value(lines)):
            raise RunError(f"{self._lines(number)} is damaged or of another job; remove {self.folder} and run it again")
        return lines

    def read_batch(self, number: int) -> list[WindowUnit]:
        """Reads one batch of the work list."""
        with pq.ParquetFile(self.folder / _WORK_LIST) as file:
            return [WindowUnit(**row) for row in file.read_row_group(number).to_pylist()]

    def note(self, number: int) -> Path:
        """Returns the file whose presence says that a batch is finished."""
        return self.folder / f"{number:08d}.json"

    def _lines(self, number: int) -> Path:
        return self.folder / f"{number:08d}.csv"

    def write(self, number: int, labels: Labels, top: int) -> None:
        """Writes the part of a batch, its note last."""
        crc32c = write_file(self._lines(number), score_lines(labels.scores, top), durable=False)
        note = {
            "job": self.folder.name,
            "crc32c": crc32c,
            "scored": labels.scored,
            "windows": labels.windows,
            "rejects": [[getattr(reject, name) for name in COLUMNS] for reject in labels.rejects],
            "warnings": [[getattr(warning, name) for name in COLUMNS] for warning in labels.warnings],
        }
        write_file(self.note(number), json.dumps(note), durable=False)

    def join(
        self,
        batches: list[list[WindowUnit]],
        source: Source,
        output: str,
        rejects_output: str,
        warnings_output: str,
        top: int,
        policies: Policies,
    ) -> Outcome:
        """Writes the CSV and the tables of rejects and of odd files from the parts of all batches.

        Raises:
            RunError: a part is damaged or of another job, the counts of the parts are not those of the plan, or every
                file was rejected.
        """
        notes = [json.loads(self.note(number).read_text(encoding="utf-8")) for number in range(len(batches))]
        rejects: dict[str, Reject] = {}
        for note in notes:
            for row in note["rejects"]:
                rejects.setdefault(row[0], Reject(*row))
        units = Counter(unit.path for batch in batches for unit in batch)
        scored, refused = sum(note["scored"] for note in notes), sum(len(note["rejects"]) for note in notes)
        if scored + refused != units.total():
            raise RunError(f"of {units.total():,} units of work {scored:,} were scored and {refused:,} rejected; this "
                           f"does not add up: remove {self.folder} and run again")  # fmt: skip
        warnings = {path: warning for path, warning in _warnings(notes, units).items() if path not in rejects}
        left_out = {path: error for path in warnings if (error := refusal(warnings[path].reason, policies))}
        rejects |= {path: Reject(path, error.stage, error.reason, error.message) for path, error in left_out.items()}
        sizes = _sizes(source, [*rejects, *warnings])
        ordered = _with_sizes(rejects.values(), sizes)
        if len(ordered) == len(units):
            first = ordered[0]
            raise RunError(
                f"every file was rejected, {len(ordered):,} in all; the first: {first.path}: {first.reason}, "
                f"{first.message}"
            )
        odd = _with_sizes((warning for path, warning in warnings.items() if path not in left_out), sizes)
        write_file(rejects_output, to_csv(ordered, _TABLE_COLUMNS))
        write_file(warnings_output, to_csv(odd, _TABLE_COLUMNS))
        counted = zip(chain(*batches), chain.from_iterable(note["windows"] for note in notes), strict=True)
        windows = sum(count for unit, count in counted if unit.path not in rejects)
        # One part of a long file may fail where another did not: such a file is rejected as a whole.
        broken = {csv_path(path) for path in rejects if units[path] > 1 or path in left_out}
        with AtomicFile(output) as file:
            file.write(csv_header(top).encode())
            for number, note in enumerate(notes):
                file.write(_without(self._read_lines(number, note), broken))
        return Outcome(len(units) - len(ordered), windows, ordered, odd)


def _warnings(notes: list[dict[str, Any]], units: Counter[str]) -> dict[str, Reject]:
    """Returns what is odd about each file: it is truncated where any unit of it is, and silent where all units are."""
    found = [Reject(*row) for note in notes for row in note["warnings"]]
    silent = Counter(warning.path for warning in found if warning.reason == Reason.SILENT)
    return {warning.path: warning for warning in found
            if warning.reason != Reason.SILENT or silent[warning.path] == units[warning.path]}  # fmt: skip


def _with_sizes(rejects: Iterable[Reject], sizes: dict[str, int]) -> list[Reject]:
    return [replace(reject, size=sizes.get(reject.path)) for reject in in_order(rejects)]


def _sizes(source: Source, paths: list[str]) -> dict[str, int]:
    asked = source.clips.filter(pc.is_in(source.clips["path"], value_set=pa.array(paths, pa.string())))
    return dict(zip(asked["path"].to_pylist(), asked["size"].to_pylist(), strict=True))


def _without(lines: bytes, paths: set[str]) -> bytes:
    if not paths:
        return lines
    rows = csv.reader(io.StringIO(lines.decode(), newline=""))
    return csv_lines(row for row in rows if row[0] not in paths).encode()
