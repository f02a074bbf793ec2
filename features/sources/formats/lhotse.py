"""Reads Lhotse's manifests: a `CutSet`, or a `RecordingSet` with its `SupervisionSet`.

A cut is a clip: the file of its recording, its start and duration in seconds, and the label of its supervisions. Of
recordings and supervisions, each supervision is a clip, as of `CutSet.from_manifests(…).trim_to_supervisions()`.
"""

import os
from dataclasses import dataclass, field, replace
from typing import Any

from features.errors import Reason, UsageError
from features.sources.clips import Source
from features.sources.formats.lhotse_recordings import CutError, number_of, recording_file
from features.sources.formats.manifests import (
    PARTITION,
    ROUNDING_SECONDS,
    ManifestRows,
    check_layout,
    find_manifests,
    read_objects,
    text,
)
from features.sources.paths import absolute_path
from features.sources.row_clips import Reading, bad_row, clips_of_rows
from features.sources.table import root_of
from features.sources.table_layout import TableLayout

LHOTSE = "lhotse"
ENDINGS = (".jsonl", ".jsonl.gz")
CUTS = ("MonoCut", "MultiCut", "Cut")  # the last is what MonoCut was called before lhotse 0.8
_MIXES = ("MixedCut", "PaddingCut")
_FILE, _START, _DURATION = "source", "start", "duration"
_LABEL, _GROUP = "text", "speaker"
_TAKEN = ("root", "label_column", "group_column", "partition_column")
_RECORDINGS, _SUPERVISIONS = "recordings", "supervisions"


def scan_lhotse(input_path: str, layout: TableLayout, channels: str | int, partitioned: bool = True) -> Source:
    """Lists the clips of Lhotse's manifests.

    Args:
        input_path: manifest of cuts; one of recordings or supervisions, beside which the other has the same name but
            for that word; or a folder of either, whose names may say partitions: `cuts_train.jsonl.gz`.
        layout: of its options the root, and the fields of label (`text`), group (`speaker`) and partition: of a
            supervision, its `custom` or the cut's.
        channels: what the front end uses of a recording of several channels, as its spec has it.
        partitioned: whether partitions are read.

    Returns:
        The clips. A line that cannot be used is a reject, as is a cut whose supervisions differ in their label.

    Raises:
        UsageError: the input or an option cannot be used, or a clip is named twice.
        NothingUsableError: no line can be used.
    """
    check_layout(layout, f"--input-format {LHOTSE}", _TAKEN)
    found = find_manifests(input_path, ENDINGS, partitioned and layout.partition_column is None)
    if len(found) == 1 and (other := _other_manifest(input_path)) is not None:
        found.append((other, ""))
    label, group = layout.label_column or _LABEL, layout.group_column or _GROUP
    lines = _Lines(label, group, layout.partition_column, channels)
    # Recordings come first: a supervision has but the id of its own.
    for manifest, partition in sorted(found, key=lambda one: (_RECORDINGS not in os.path.basename(one[0]), one[0])):
        lines.partition = partition
        read_objects(manifest, lines.take, lines.rows.rejects)
    lines.check(input_path)
    rows = lines.rows
    used = {"path": _FILE, "label": "label", "start": _START, "duration": _DURATION}
    if any(rows.values["group"]):
        used["group"] = "group"
    if partitioned and any(rows.values[PARTITION]):
        used["partition"] = PARTITION
    reading = Reading(input_path, root_of(found[0][0], layout), TableLayout(path_column=_FILE), used,
                      rounding_seconds=ROUNDING_SECONDS)  # fmt: skip
    source = clips_of_rows(rows.rows(os.path.basename(input_path)), reading, rows.rejects)
    shown = {**used, "label": label} | ({"group": group} if "group" in used else {})
    left_out = (
        {"recordings without a supervision": len(lines.recordings) - len(lines.named)} if lines.recordings else {}
    )
    return replace(source, kind=LHOTSE, table=absolute_path(input_path), columns=shown,
                   left_out={why: number for why, number in left_out.items() if number})  # fmt: skip


def _other_manifest(manifest: str) -> str | None:
    """Returns the supervisions beside recordings, or the recordings beside supervisions; None of other manifests."""
    folder, name = os.path.split(manifest)
    if os.path.isdir(manifest):
        return None
    for word, other in ((_RECORDINGS, _SUPERVISIONS), (_SUPERVISIONS, _RECORDINGS)):
        if word in name:
            return os.path.join(folder, name.replace(word, other))
    return None


@dataclass
class _Lines:
    """Takes the lines of manifests.

    Attributes:
        label: field of the label.
        group: field of the group.
        partition_field: that of the partition, None where the names of manifests may say it.
        channels: see `scan_lhotse`.
        partition: of the manifest that is read.
        recordings: by their ids.
        named: ids of the recordings that have a supervision.
        kinds: of the lines that were met: `cuts`, `recordings`, `supervisions`.
    """

    label: str
    group: str
    partition_field: str | None
    channels: str | int
    partition: str = ""
    recordings: dict[str, dict[str, Any]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    rows: ManifestRows = field(
        default_factory=lambda: ManifestRows((_FILE, _START, _DURATION, "label", "group", PARTITION))
    )

    def take(self, name: str, line: int, fields: dict[str, Any]) -> None:
        """Takes the object of a line."""
        try:
            if "sources" in fields:
                self.kinds.add(_RECORDINGS)
                self._take_recording(fields)
            elif fields.get("type") in CUTS:
                self.kinds.add("cuts")
                self._take_cut(name, line, fields)
            elif "recording_id" in fields and "type" not in fields and "num_features" not in fields:
                self.kinds.add(_SUPERVISIONS)
                self._take_supervision(name, line, fields)
            else:
                kind = fields.get("type")
                raise CutError("a mix of cuts or padding, and a clip is a part of one file" if kind in _MIXES else
                               "not a cut, a recording or a supervision of Lhotse")  # fmt: skip
        except CutError as error:
            reject = bad_row(f"{name}, line {line}", f"it is {error}")
            self.rows.rejects.append(replace(reject, reason=error.reason))

    def check(self, input_path: str) -> None:
        """Raises `UsageError` where the manifests have no clips together."""
        if "cuts" in self.kinds and len(self.kinds) > 1:
            raise UsageError(f"{input_path} has cuts and {' and '.join(sorted(self.kinds - {'cuts'}))}, which say the "
                             "same twice; give the manifest of cuts, or that of recordings, as --input")  # fmt: skip
        for kind, other in ((_RECORDINGS, _SUPERVISIONS), (_SUPERVISIONS, _RECORDINGS)):
            if kind in self.kinds and other not in self.kinds:
                raise UsageError(f"{input_path} has {kind} and no {other}; Lhotse's manifest of {other} lies beside it "
                                 f"under the same name but for {other!r} in the place of {kind!r}")  # fmt: skip
        if not self.rows.numbers and not self.rows.rejects:
            raise UsageError(f"no audio in {input_path}: it has no lines")

    def _take_recording(self, fields: dict[str, Any]) -> None:
        name = text(fields.get("id"))
        if not name:
            raise CutError("a recording without an id")
        if name in self.recordings and self.recordings[name] != fields:
            raise CutError(f"another recording of the id {name!r}")
        self.recordings[name] = fields

    def _take_supervision(self, name: str, line: int, fields: dict[str, Any]) -> None:
        recording = text(fields.get("recording_id")) or ""
        if recording not in self.recordings:
            raise CutError(f"of the recording {recording!r}, of which there is no manifest", Reason.MISSING)
        self.named.add(recording)
        self._add(name, line, fields, recording_file(self.recordings[recording], fields, self.channels), [fields])

    def _take_cut(self, name: str, line: int, fields: dict[str, Any]) -> None:
        recording, supervisions = fields.get("recording"), fields.get("supervisions") or []
        if not isinstance(recording, dict):
            raise CutError("a cut without a recording, of features perhaps, and a clip is a part of a file")
        if not isinstance(supervisions, list) or not all(isinstance(one, dict) for one in supervisions):
            raise CutError("a cut whose supervisions cannot be read")
        self._add(name, line, fields, recording_file(recording, fields, self.channels), supervisions)

    def _add(self, name: str, line: int, part: dict[str, Any], path: str, supervisions: list[dict[str, Any]]) -> None:
        labels = self._values(self.label, part, supervisions)
        if len(labels) > 1:
            raise CutError(f"a cut with {len(labels)} labels, {' and '.join(map(repr, labels[:3]))}, and a clip has "
                           "one; trim_to_supervisions of Lhotse makes a cut of each", Reason.BAD_LABEL)  # fmt: skip
        if not labels:
            raise CutError(f"without a label: no supervision has {self.label!r} (--label-column names another field)",
                           Reason.BAD_LABEL)  # fmt: skip
        groups = self._values(self.group, part, supervisions)
        partition = self.partition
        if self.partition_field is not None:
            partition = next(iter(self._values(self.partition_field, part, supervisions)), "")
        times = [number_of(part.get(which), which) for which in (_START, _DURATION)]
        self.rows.add(name, line, path, *times, labels[0], groups[0] if len(groups) == 1 else "", partition)

    def _values(self, wanted: str, part: dict[str, Any], supervisions: list[dict[str, Any]]) -> list[str]:
        """Returns the different values of a field of supervisions, of their `custom`, or of that of the cut."""
        found: dict[str, None] = {}
        for fields in [*supervisions, *((one.get("custom") or {}) for one in [*supervisions, part])]:
            value = text(fields.get(wanted)) if isinstance(fields, dict) else None
            if value and value.strip():
                found[value.strip()] = None
        return list(found)
