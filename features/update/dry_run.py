"""What a featurize would do, without doing it."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from features.audio.decode import AudioInfo
from features.audio.recording import probe_at
from features.errors import ClipError
from features.io.filesystem import is_uri
from features.io.parallel import map_ahead
from features.runtime.quantities import size_text
from features.sources import partition
from features.sources.paths import clip_file
from features.update.request import Request


def describe(request: Request) -> tuple[list[str], dict[str, Any]]:
    """Returns what `--dry-run` prints and its figures: clips per class and partition, hours, what would be written."""
    started = time.monotonic()
    update = request.read()
    clips, source = update.changes.clips, update.source
    audio_seconds, unreadable = seconds_of(clips, source.root)
    anew = f" ({update.changes.outdated:,} anew for their decoder)" if update.changes.outdated else ""
    left_out = ", ".join(f"{number} {why}" for why, number in source.left_out.items())
    figures = {
        "clips": len(clips),
        **update.figures,
        "rejected": unreadable + len(source.rejects),
        "outdated": update.changes.outdated,
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
        f"would compute {update.computed:,} clips{anew} and write {len(update.todo):,} {request.storage_format} shards "
        f"of {spec.front_end} features {spec.shape}, about {size_text(update.bytes)}, to {request.output}; nothing was "
        "written",
    ]
    return lines, figures


def seconds_of(clips: pa.Table, root: str) -> tuple[float, int]:
    """Returns how long clips are together by the headers of their files, and for how many no header can be read.

    Args:
        clips: table of path, start, duration.
        root: where paths begin.
    """
    seconds = 0.0
    paths: Sequence[str] = clips["path"].to_pylist()
    places = {path: clip_file(root, path) for path in dict.fromkeys(paths)}
    at_once = map_ahead(_info, filter(is_uri, places.values()))  # of files each would wait for the others
    infos = {path: next(at_once) if is_uri(place) else _info(place) for path, place in places.items()}
    for path, start, duration in zip(paths, clips["start"].to_pylist(), clips["duration"].to_pylist(), strict=True):
        info = infos[path]
        if info is not None:
            frames = max(0, info.frames - start)
            seconds += (frames if duration is None else min(frames, duration)) / info.rate_hz
    return seconds, sum(infos[path] is None for path in paths)


def _info(place: str) -> AudioInfo | None:
    with contextlib.suppress(ClipError):
        return probe_at(place)
    return None
