"""What a featurize is asked for, and what it would do."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.audio.decode import AudioInfo, probe
from features.errors import ClipError, UsageError
from features.frontend.spec import FeatureSpec
from features.runtime.command import LOG, size_text
from features.sources import partition
from features.sources.clip_order import limit
from features.sources.folder import Source
from features.sources.paths import clip_file
from features.sources.policies import DEFAULTS, Policies
from features.sources.table import TableLayout, list_clips
from features.store.manifest import Manifest, check_text, existing_manifest
from features.update.update import Update, check_removal, prepare


@dataclass(frozen=True)
class Request:
    """What a featurize is asked for.

    Attributes:
        input: folder, or table that names recordings.
        output: folder of the feature set.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        group: rule of the groups, see `features.sources.partition.groups_of`.
        split: percentages of training, validation and testing; None leaves it to the source or 80/10/10.
        limit: number of clips at most.
        layout: where a table says what.
        label_pattern: what finds the labels in the paths of a folder; None for the first folder below it.
        allow_removal: whether most clips may leave the set, or come from another source.
        verify_content: whether contents are compared where sizes and times tell that nothing has changed.
        policies: whether odd clips are used; the clips table says which were.
    """

    input: str
    output: str
    spec: FeatureSpec
    storage_format: str = "tfrecord"
    group: str | None = None
    split: tuple[int, int, int] | None = None
    limit: int | None = None
    layout: TableLayout = field(default_factory=TableLayout)
    label_pattern: str | None = None
    allow_removal: bool = False
    verify_content: bool = False
    policies: Policies = field(default_factory=lambda: dict(DEFAULTS))

    @property
    def folder(self) -> Path:
        """Absolute path of the feature set."""
        return Path(os.path.abspath(self.output))

    def described(self, source: Source) -> dict[str, Any]:
        """What the manifest says of the request beside its spec: policies, the source, what chose and divided clips."""
        chosen = {"group": self.group, "split": list(self.split) if self.split else None, "limit": self.limit}
        columns = {"columns": source.columns} if source.columns else {}
        return {"policies": dict(self.policies), "source": source.described, "options": {**chosen, **columns}}

    def read(self) -> Update:
        """Lists the clips, says what is odd about them, and compares them with the committed state.

        Raises:
            UsageError: the input cannot be used, or the output holds something else.
            RunError: a table of the committed state cannot be read.
        """
        scan_started_ns = time.time_ns()
        base = existing_manifest(self.output)
        self._check_spec(base)
        source, clips = self.find_clips()
        self._check_source(base, source)
        update = prepare(
            self.folder, base, source, clips, self.spec, self.storage_format, scan_started_ns, self.verify_content,
            self.policies,
        )  # fmt: skip
        if not self.allow_removal:
            check_removal(update, self.limit)
        return update

    def find_clips(self) -> tuple[Source, pa.Table]:
        """Lists the clips of the input with their groups and partitions, and says what is odd about them."""
        source = list_clips(
            self.input, self.layout, labelled=True, pattern=self.label_pattern, partitioned=self.split is None
        )
        source.columns = self._used_columns(source)
        check_text([*source.described.values(), *source.columns.values(), self.group or ""])
        complete = source.kind == "folder"
        clips, notes = partition.assign(source.clips, source.root, self.group, self.split, complete)
        clips = limit(clips, self.limit)
        for note in (*source.notes, *notes, *partition.remarks(clips)):
            LOG.warning("warning: %s", note)
        return source, clips

    def _used_columns(self, source: Source) -> dict[str, str]:
        """Returns the columns of a table less those that --group or official lists overrule."""
        overruled = {"group"} if self.group is not None else set()
        if partition.official_lists(source.root):
            overruled |= {"partition", "fold"}
        return {role: name for role, name in source.columns.items() if role not in overruled}

    def _check_spec(self, base: Manifest | None) -> None:
        if base is None:
            return
        if base.spec.fingerprint != self.spec.fingerprint:
            raise UsageError(
                f"{self.output} holds features of another spec: {base.spec.differences(self.spec)} "
                "(there against asked for); give another --output"
            )
        if base.storage_format != self.storage_format:
            raise UsageError(f"{self.output} is stored as {base.storage_format}; ask for that or give another --output")

    def _check_source(self, base: Manifest | None, source: Source) -> None:
        if base is None or self.allow_removal:
            return
        here = (source.root, source.table or "a folder")
        there = (base.source["root"], base.source.get("table", "a folder"))
        for one, other in zip(there, here, strict=True):
            if one != other:
                raise UsageError(f"{self.output} was made from {one}, not from {other}; give another --output, or "
                                 "--allow-removal to make it the features of that")  # fmt: skip


def describe(request: Request) -> tuple[str, dict[str, Any]]:
    """Returns what `--dry-run` prints and its figures: clips a class and partition, hours, what would be written."""
    started = time.monotonic()
    update = request.read()
    clips, source = update.changes.clips, update.source
    audio_seconds, unreadable = seconds_of(clips, source.root)
    left_out = ", ".join(f"{number} {why}" for why, number in source.left_out.items())
    figures = {
        "clips": len(clips),
        **update.figures,
        "rejected": unreadable + len(source.rejects),
        "left_out": source.left_out,
        "audio_seconds": audio_seconds,
        "shards": len(update.todo),
        "bytes": update.bytes,
        "seconds": time.monotonic() - started,
    }
    spec = request.spec
    lines = [
        *partition.count_table(clips),
        "",
        f"{len(clips):,} clips of {source.root}, {audio_seconds / 3600:.2f} hours; headers that cannot be read: "
        f"{unreadable:,}; other rejects: {len(source.rejects):,}; left out: {left_out or 'nothing'}",
        f"would compute {update.computed:,} clips and write {len(update.todo):,} {request.storage_format} shards of "
        f"{spec.front_end} features {spec.shape}, about {size_text(update.bytes)}, to {request.output}; nothing was "
        "written",
    ]
    return "\n".join(lines), figures


def seconds_of(clips: pa.Table, root: str) -> tuple[float, int]:
    """Returns how long clips are together by the headers of their files, and for how many no header can be read.

    Args:
        clips: table of path, start, duration.
        root: where paths begin.
    """
    infos: dict[str, AudioInfo | None] = {}
    seconds = 0.0
    paths: Sequence[str] = clips["path"].to_pylist()
    for path, start, duration in zip(paths, clips["start"].to_pylist(), clips["duration"].to_pylist(), strict=True):
        if path not in infos:
            infos[path] = None
            with contextlib.suppress(ClipError):
                infos[path] = probe(clip_file(root, path))
        info = infos[path]
        if info is not None:
            frames = max(0, info.frames - start)
            seconds += (frames if duration is None else min(frames, duration)) / info.rate_hz
    return seconds, sum(infos[path] is None for path in paths)
