"""The committed state of a feature set: what is in it, where it came from, and the one function that changes it."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.atomic import write_file
from features.build import Report, library_versions
from features.errors import Reject, RunError, UsageError
from features.partition import PARTITIONS, count
from features.rejects import in_order, to_csv
from features.shards import Shard
from features.spec import FeatureSpec
from features.statistics import Statistics

FORMAT_NAME = "soundmill-features"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
# The folders of a set; one that holds nothing else is a set whose first run did not end.
FOLDERS = ("shards", "reports", "states", "work")
_OWN_FILES = (".lock", "runs.jsonl")
_OWN_PREFIXES = ("clips-", "rejects-", MANIFEST)
# Versions say who computed the set, and these three names hold the number of the state: neither is its content.
_NOT_CONTENT = ("state", "versions", "clips_file", "rejects_file")


@dataclass(frozen=True)
class Manifest:
    """A feature set as it was committed.

    Attributes:
        state: number of the commit, from 1.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        policies: what was done with odd clips.
        source: kind and root of the source.
        options: what chose and divided the clips: group, split, limit.
        classes: sorted labels; a label's place is its id.
        partitions: shards by partition, in planned order.
        statistics: sums by partition.
        counts: clips by class and partition, rejects by reason, hours.
        clips_file: name of the clips table.
        rejects_file: name of the table of rejects.
        versions: of the libraries that made it.
    """

    state: int
    spec: FeatureSpec
    storage_format: str
    policies: dict[str, str]
    source: dict[str, str]
    options: dict[str, Any]
    classes: list[str]
    partitions: dict[str, list[Shard]]
    statistics: dict[str, Statistics]
    counts: dict[str, Any]
    clips_file: str
    rejects_file: str
    versions: dict[str, str]

    def rows(self, partitions: Iterable[str]) -> int:
        """Returns the number of rows of a union of partitions."""
        return sum(shard.rows for shard in self.shards(partitions))

    def shards(self, partitions: Iterable[str]) -> list[Shard]:
        """Returns the shards of a union of partitions in manifest order; raises `UsageError` for an unknown one."""
        wanted = set(partitions)
        unknown = sorted(wanted - set(self.partitions))
        if unknown:
            raise UsageError(f"no partition {unknown[0]!r} in the features; there are {', '.join(self.partitions)}")
        return [shard for name, shards in self.partitions.items() if name in wanted for shard in shards]

    def to_json(self) -> str:
        """Returns the file's content."""
        content = {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "spec": self.spec.to_dict(),
            "fingerprint": self.spec.fingerprint,
            "shape": self.spec.shape,  # of a row, for readers that do not derive it
            "partitions": {name: [asdict(shard) for shard in shards] for name, shards in self.partitions.items()},
            "statistics": {name: statistics.to_dict() for name, statistics in self.statistics.items()},
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Manifest":
        """Reads the file's content; raises `UsageError` where it is none of a known version."""
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT_NAME:
                raise ValueError("another format")
            version, fingerprint = content.pop("format_version"), content.pop("fingerprint")
            del content["shape"]
            if version != FORMAT_VERSION:
                raise UsageError(f"{where} has format version {version}; this soundmill reads version {FORMAT_VERSION}")
            content["spec"] = FeatureSpec.from_dict(content["spec"], where=where)
            content["partitions"] = {
                name: [Shard(**shard) for shard in shards] for name, shards in content["partitions"].items()
            }
            content["statistics"] = {name: Statistics.from_dict(sums) for name, sums in content["statistics"].items()}
            manifest = cls(**content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{where} is not the manifest of a feature set: {error!r}") from error
        if manifest.spec.fingerprint != fingerprint:
            raise UsageError(
                f"the features of {where} come from another version of the front end; featurize into a new folder"
            )
        return manifest


def load_manifest(folder: str | Path) -> Manifest:
    """Reads the committed state of a feature set; raises `UsageError` where the folder holds none."""
    path = Path(folder) / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if not Path(folder).is_dir():
            raise UsageError(f"no such feature set: {folder}; make it with python -m pipelines.featurize") from error
        raise UsageError(
            f"{folder} is not a complete feature set: it has no {MANIFEST}. If featurize was interrupted, run it again"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    return Manifest.from_json(text, str(path))


def existing_manifest(folder: str | Path) -> Manifest | None:
    """Returns the state that a run would bring up to date, None for a new or interrupted set.

    Raises:
        UsageError: the folder holds something else.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        return load_manifest(folder)
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; the output of featurize is a folder")
    foreign = [
        name
        for name in sorted(os.listdir(folder))
        if name not in FOLDERS and name not in _OWN_FILES and not name.startswith(_OWN_PREFIXES)
    ]
    if foreign:
        raise UsageError(f"{folder} is not a feature set (it holds {foreign[0]}); give a new or an empty folder")
    return None


def clips_table(folder: str | Path, manifest: Manifest) -> pa.Table:
    """Reads the clips of a set: one row a clip, with the shard and the row that hold it."""
    return pq.read_table(Path(folder) / manifest.clips_file)


def commit(
    folder: str | Path,
    reports: list[Report],
    base: Manifest | None,
    scan_rejects: list[Reject],
    **described: Any,
) -> tuple[Manifest, bool]:
    """Makes the shards of the reports the committed state of a set, by one atomic rename, last.

    Args:
        folder: the set.
        reports: of all its units, in planned order.
        base: the state that the run began with.
        scan_rejects: files that were left out before there were units.
        described: spec, storage_format, policies, source and options of the manifest.

    Returns:
        The committed state, and whether anything was committed: a state equal to `base` is `base`.

    Raises:
        RunError: another run has committed since this one began, or no clip was usable.
    """
    folder = Path(folder)
    clips = _clips(reports)
    rejects = in_order(scan_rejects + _rejects(reports))
    if not len(clips):
        first = rejects[0]
        raise RunError(
            f"every clip was rejected, {len(rejects)} in all; the first: {first.path}: {first.reason}, {first.message}"
        )
    sink = pa.BufferOutputStream()
    pq.write_table(clips, sink)
    tables = {"clips": (sink.getvalue().to_pybytes(), "parquet"), "rejects": (to_csv(rejects).encode(), "csv")}
    with _lock(folder):
        now = load_manifest(folder) if (folder / MANIFEST).exists() else None
        if (now.state if now else 0) != (base.state if base else 0):
            raise RunError(
                f"another featurize committed into {folder} while this one ran; run it again, finished shards are kept"
            )
        state = (base.state if base else 0) + 1
        names = {
            name: f"{name}-{state:06d}-{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
            for name, (content, ending) in tables.items()
        }
        manifest = Manifest(
            state=state,
            classes=sorted(pc.unique(clips["label"]).to_pylist()),
            partitions=_shards(reports),
            statistics=_statistics(reports),
            counts=_counts(clips, rejects),
            clips_file=names["clips"],
            rejects_file=names["rejects"],
            versions=library_versions(),
            **described,
        )
        if base is not None and _content(manifest) == _content(base):
            return base, False
        for name, (content, _) in tables.items():
            write_file(folder / names[name], content)
        if base is not None:
            (folder / "states").mkdir(exist_ok=True)
            write_file(folder / "states" / f"manifest-{base.state:06d}.json", base.to_json())
        write_file(folder / MANIFEST, manifest.to_json())
    return manifest, True


def append_run(folder: str | Path, run: dict[str, Any]) -> None:
    """Adds a line to `runs.jsonl`, the diary of a set; it is no part of the state."""
    with open(Path(folder) / "runs.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(run, sort_keys=True) + "\n")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the lock of a set; the system lets go of the locks of dead processes."""
    with open(folder / ".lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clips(reports: list[Report]) -> pa.Table:
    tables = []
    for report in reports:
        kept = report.rows.filter(pc.is_valid(report.rows["row"]))
        shard = pa.array([report.name] * len(kept), pa.string())
        tables.append(kept.append_column("shard", shard).drop_columns(["stage", "reason", "message"]))
    return pa.concat_tables(tables).combine_chunks() if tables else pa.table({"label": pa.array([], pa.string())})


def _rejects(reports: list[Report]) -> list[Reject]:
    return [
        Reject(row["path"], row["stage"], row["reason"], row["message"])
        for report in reports
        for row in report.rows.filter(pc.is_null(report.rows["row"])).to_pylist()
    ]


def _partition(report: Report) -> str:
    return report.name.rpartition("-")[0]


def _shards(reports: list[Report]) -> dict[str, list[Shard]]:
    return {
        name: [report.shard for report in reports if report.shard is not None and _partition(report) == name]
        for name in PARTITIONS
    }


def _statistics(reports: list[Report]) -> dict[str, Statistics]:
    return {
        name: Statistics.merge(report.statistics for report in reports if _partition(report) == name)
        for name in PARTITIONS
    }


def _counts(clips: pa.Table, rejects: list[Reject]) -> dict[str, Any]:
    reasons = [reject.reason for reject in rejects]
    warnings = [warning for warning in clips["warning"].to_pylist() if warning]
    return {
        "clips": len(clips),
        "rejected": len(rejects),
        "seconds": pc.sum(clips["seconds"]).as_py(),
        "classes": count(clips),
        "rejects": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "warnings": {warning: warnings.count(warning) for warning in sorted(set(warnings))},
    }


def _content(manifest: Manifest) -> tuple[str, list[str]]:
    hashes = [name.rpartition("-")[2] for name in (manifest.clips_file, manifest.rejects_file)]
    blank: dict[str, Any] = dict.fromkeys(_NOT_CONTENT, "")
    return replace(manifest, **blank).to_json(), hashes
