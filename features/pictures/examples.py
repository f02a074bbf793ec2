"""A few clips of each class of a feature set, decoded anew or read from its shards, to be looked at."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.audio.recording import open_recording
from features.audio.remote import Listed
from features.errors import ClipError, SoundmillError
from features.frontend.clip import clip_waveform
from features.frontend.spectrogram import compute_features
from features.io.file_time import mtime_ns
from features.io.filesystem import is_uri
from features.pictures.signal_summary import Trace, trace_waveform
from features.sources.clip_order import key_order
from features.sources.paths import clip_file
from features.store.clips_table import CLIPS_SCHEMA, clips_batches
from features.store.manifest import Manifest
from features.store.shards import read_shard
from features.store.summary import Description

MAX_CLASSES = 60
# Clips per class, for up to so many classes.
_CLIPS_A_CLASS = ((10, 3), (20, 2), (MAX_CLASSES, 1))
_CLIP_COLUMNS = [
    "path",
    "start",
    "duration",
    "size",
    "mtime_ns",
    "version",
    "label",
    "group",
    "partition",
    "seconds",
    "shard",
    "row",
]


@dataclass(frozen=True)
class Example:
    """One clip of the picture.

    Attributes:
        path: of its file.
        label: its class.
        partition: that it is in.
        seconds: its duration before it was fitted.
        trace: of its waveform as the front end takes it, None where the source file is gone or has changed.
        features: shape spec.shape.
    """

    path: str
    label: str
    partition: str
    seconds: float
    trace: Trace | None
    features: NDArray[np.floating]


def shown_classes(description: Description) -> list[str]:
    """Returns the classes that the picture has room for, in the manifest's order: the largest where there are more."""
    names = list(description.manifest.partitions)
    largest = sorted(description.manifest.classes, key=lambda label: (-description.cell([label], names)[0], label))
    kept = set(largest[:MAX_CLASSES])
    return [label for label in description.manifest.classes if label in kept]


def load_examples(description: Description) -> list[Example]:
    """Chooses a few clips of each shown class, and decodes them from the source, or reads them from the shards.

    Features of a network are read from the shards: to compute one anew takes longer than to read a shard.

    Raises:
        RunError: the clips table or a shard cannot be read.
    """
    manifest, labels = description.manifest, shown_classes(description)
    number = next(clips for classes, clips in _CLIPS_A_CLASS if len(labels) <= classes)
    # Those that are chosen of all clips are among those that are chosen of each part of them.
    chosen = [row for clips in clips_batches(description.layout, manifest, _CLIP_COLUMNS)
              for row in choose(clips, labels, number)]  # fmt: skip
    schema = pa.schema([CLIPS_SCHEMA.field(name) for name in _CLIP_COLUMNS])
    rows = choose(pa.Table.from_pylist(chosen, schema), labels, number)
    waveforms = [source_waveform(row, manifest) for row in rows]
    has_network = manifest.spec.network_name is not None
    read = [row for row, waveform in zip(rows, waveforms, strict=True) if waveform is None or has_network]
    stored = _stored(read, description)
    examples = []
    for row, waveform in zip(rows, waveforms, strict=True):
        trace = None if waveform is None else trace_waveform(waveform, manifest.spec.sample_rate_hz)
        if waveform is None or has_network:
            features = stored[row["shard"], row["row"]]
        else:
            features = compute_features([waveform], manifest.spec)[0]
        examples.append(Example(row["path"], row["label"], row["partition"], row["seconds"], trace, features))
    return examples


def choose(clips: pa.Table, labels: Sequence[str], number: int) -> list[dict[str, Any]]:
    """Returns rows of a clips table: of each class so many, the first by the hashes of their keys, of many groups."""
    table_labels, groups = clips["label"].to_pylist(), clips["group"].to_pylist()
    by_label: dict[str, list[int]] = {label: [] for label in labels}
    spare: dict[str, list[int]] = {label: [] for label in labels}
    for row in key_order(clips).tolist():
        chosen = by_label.get(table_labels[row])
        if chosen is None or len(chosen) == number:
            continue
        if groups[row] not in [groups[other] for other in chosen]:
            chosen.append(row)
        elif len(spare[table_labels[row]]) < number:
            spare[table_labels[row]].append(row)
    rows = [row for label in labels for row in (by_label[label] + spare[label])[:number]]
    return list(clips.take(rows).to_pylist())


def source_waveform(row: dict[str, Any], manifest: Manifest) -> NDArray[np.float32] | None:
    """Decodes a clip anew from the source of a set, as the front end takes it.

    Args:
        row: path, start, duration, size, mtime_ns and version of the clip, as the clips table has them.
        manifest: of the set.

    Returns:
        The waveform, (samples,), or None where the file is gone or another than the one that was featurized.
    """
    path = clip_file(manifest.source["root"], row["path"])
    try:
        if is_uri(path):
            with open_recording(path, whole=False, listed=Listed(path, row["size"], row["version"])) as recording:
                return clip_waveform(recording.file, manifest.spec, row["start"], row["duration"])[0]
        status = os.stat(path)
        if (status.st_size, mtime_ns(status)) != (row["size"], row["mtime_ns"]):
            return None
        return clip_waveform(path, manifest.spec, row["start"], row["duration"])[0]
    except (OSError, ClipError, SoundmillError):
        return None


def _stored(rows: list[dict[str, Any]], description: Description) -> dict[tuple[str, int], NDArray[np.floating]]:
    """Reads the features of some clips from their shards, by shard and row; each shard is read once."""
    manifest = description.manifest
    found = {}
    for shard in manifest.all_shards:
        wanted = [row["row"] for row in rows if row["shard"] == shard.name]
        if wanted:
            features = read_shard(description.layout, shard, manifest.spec).features
            found.update({(shard.name, row): features[row].copy() for row in wanted})
    return found
