"""The one function that changes a feature set, by an atomic rename after all else is on disk."""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.atomic import write_file
from features.build import Report, library_versions
from features.errors import Reject, RunError
from features.manifest import MANIFEST, Manifest, load_manifest
from features.partition import count, partition_order
from features.rejects import in_order, to_csv
from features.shards import Shard
from features.statistics import Statistics

# Versions say who computed the set, and these names hold the number of the state: neither is its content.
_NOT_CONTENT = ("state", "versions", "clips_file", "rejects_file")


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
    # Parquet's bytes tell pyarrow's version, which is not content: the name comes from the rows.
    rows = json.dumps({name: clips[name].to_pylist() for name in clips.column_names}).encode()
    tables = {
        "clips": (sink.getvalue().to_pybytes(), rows, "parquet"),
        "rejects": (to_csv(rejects).encode(), to_csv(rejects).encode(), "csv"),
    }
    with _lock(folder):
        now = load_manifest(folder) if (folder / MANIFEST).exists() else None
        if (now.state if now else 0) != (base.state if base else 0):
            raise RunError(
                f"another featurize committed into {folder} while this one ran; run it again, finished shards are kept"
            )
        state = (base.state if base else 0) + 1
        names = {
            name: f"{name}-{state:06d}-{hashlib.sha256(hashed).hexdigest()[:16]}.{ending}"
            for name, (_, hashed, ending) in tables.items()
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
        for name, (content, _, _) in tables.items():
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
        for name in partition_order(map(_partition, reports))
    }


def _statistics(reports: list[Report]) -> dict[str, Statistics]:
    return {
        name: Statistics.merge(report.statistics for report in reports if _partition(report) == name)
        for name in partition_order(map(_partition, reports))
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
