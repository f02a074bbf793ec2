"""Reads NeMo's manifests: a line has `audio_filepath`, `offset` and `duration` in seconds, and a label.

By NeMo's own reader of labels (`ASRSpeechLabel`): the file is `audio_filepath` or `audio_filename`, `duration` has to
be there, the label is `command`, else `target`, else `label`, and a missing `offset` is 0. A path is relative to the
manifest.
"""

import os
from dataclasses import replace
from typing import Any

from features.errors import UsageError
from features.sources.clips import Source
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

NEMO = "nemo"
ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
FILES = ("audio_filepath", "audio_filename")
_LABELS = ("command", "target", "label")
_FILE, _START, _DURATION, _LABEL, _GROUP = "audio_filepath", "offset", "duration", "label", "speaker"
_TAKEN = ("root", "label_column", "group_column", "partition_column")


def scan_nemo(input_path: str, layout: TableLayout, partitioned: bool = True) -> Source:
    """Lists the clips of NeMo's manifests.

    Args:
        input_path: a manifest, or a folder of manifests, whose names may say partitions: `train_manifest.json`.
        layout: of its options the root, and the fields of label, group (`speaker`) and partition.
        partitioned: whether partitions are read.

    Returns:
        The clips. A line that cannot be used is a reject.

    Raises:
        UsageError: the input or an option cannot be used, or a clip is named twice.
        NothingUsableError: no line can be used.
    """
    check_layout(layout, f"--input-format {NEMO}", _TAKEN)
    found = find_manifests(input_path, ENDINGS, partitioned and layout.partition_column is None)
    labels = _LABELS if layout.label_column is None else (layout.label_column,)
    group = layout.group_column or _GROUP
    rows = ManifestRows((_FILE, _START, _DURATION, _LABEL, group, PARTITION))
    for manifest, partition in found:

        def take(name: str, line: int, fields: dict[str, Any], partition: str = partition) -> None:
            if layout.partition_column is not None:
                partition = text(fields.get(layout.partition_column)) or ""
            values = [_first(fields, FILES), fields.get(_START) or 0, fields.get(_DURATION), _first(fields, labels),
                      fields.get(group), partition]  # fmt: skip
            texts = [text(value) for value in values]
            fault = _fault(fields, labels, texts)
            if fault is None:
                path = os.path.expanduser(texts[0] or "")
                rows.add(name, line, path, *(value or "" for value in texts[1:]))
            else:
                rows.rejects.append(bad_row(f"{name}, line {line}", fault))

        read_objects(manifest, take, rows.rejects)
    used = {"path": _FILE, "label": _LABEL, "start": _START, "duration": _DURATION}
    if any(rows.values[group]):
        used["group"] = group
    if partitioned and (layout.partition_column is not None or any(partition for _, partition in found)):
        used["partition"] = PARTITION
    if not rows.numbers and not rows.rejects:
        raise UsageError(f"no audio in {input_path}: it has no lines")
    root = root_of(found[0][0], layout)
    reading = Reading(input_path, root, TableLayout(path_column=_FILE), used, rounding_seconds=ROUNDING_SECONDS)
    source = clips_of_rows(rows.rows(os.path.basename(input_path)), reading, rows.rejects)
    shown = {**used, "label": "/".join(labels)}
    return replace(source, kind=NEMO, table=absolute_path(input_path), columns=shown)


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> object:
    """Returns the value of the first of some fields that is there."""
    return next((fields[name] for name in names if name in fields), None)


def _fault(fields: dict[str, Any], labels: tuple[str, ...], texts: list[str | None]) -> str | None:
    """Returns what is wrong with a line, None where nothing is."""
    if not any(name in fields for name in FILES):
        return f"a line of a NeMo manifest has {' or '.join(FILES)}, and this one has {', '.join(map(repr, fields))}"
    if _DURATION not in fields:
        return "a line of a NeMo manifest has a duration, and this one has none"
    if not any(name in fields for name in labels):
        return (
            f"a line has the label as {' or '.join(labels)} (--label-column names another field), and this one has none"
        )
    for name, value in zip(("file", _START, _DURATION, "label", "group", PARTITION), texts, strict=True):
        if value is None:
            return f"the {name} of a clip is text or a number, and this one has several values"
    return None
