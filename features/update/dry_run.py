"""What a featurize would do, without doing it."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from features.audio.recording import probe_all
from features.errors import ClipError
from features.runtime.processes import choose_workers, run_jobs
from features.runtime.progress import Progress
from features.runtime.quantities import size_text
from features.sources import partition
from features.sources.corrections import corrections_sentence
from features.sources.paths import clip_file
from features.update.front_end_network import network_sentence
from features.update.request import Request

_FILES_OF_A_JOB = 1_000
# From so many headers on, several processes are sooner done than one, their start included.
_FILES_THAT_PAY = 20_000


def describe(request: Request, workers: int | None = None) -> tuple[list[str], dict[str, Any]]:
    """Returns what `--dry-run` prints and its figures: clips per class and partition, hours, what would be written.

    Args:
        request: of the featurize.
        workers: processes that read headers, None to choose.
    """
    started = time.monotonic()
    update = request.read()
    clips, source = update.changes.clips, update.source
    audio_seconds, unreadable = seconds_of(clips, source.root, workers)
    anew = f" ({update.changes.outdated:,} anew for their decoder)" if update.changes.outdated else ""
    left_out = ", ".join(f"{number} {why}" for why, number in source.left_out.items())
    figures = {
        "clips": len(clips),
        **update.figures,
        "rejected": unreadable + len(source.rejects),
        "outdated": update.changes.outdated,
        "left_out": source.left_out,
        "corrections": update.provenance.corrections,
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
    for sentence in (network_sentence(update.provenance.network), corrections_sentence(update.provenance.corrections)):
        if sentence:
            lines.append(sentence.strip())
    return lines, figures


def seconds_of(clips: pa.Table, root: str, workers: int | None = None) -> tuple[float, int]:
    """Returns how long clips are together by the headers of their files, and for how many no header can be read.

    Args:
        clips: table of path, start, duration.
        root: where paths begin.
        workers: processes that read headers, None to choose.
    """
    paths: Sequence[str] = clips["path"].to_pylist()
    files = list(dict.fromkeys(paths))
    jobs = [_Files(root, files[first : first + _FILES_OF_A_JOB]) for first in range(0, len(files), _FILES_OF_A_JOB)]
    processes = choose_workers(workers, len(jobs), pays=len(files) >= _FILES_THAT_PAY)
    progress, lengths = Progress("dry run", len(files), "files"), []
    for read in run_jobs(read_lengths, jobs, processes):
        lengths += read
        progress.update(len(lengths))
    progress.close()
    length_of = dict(zip(files, lengths, strict=True))
    seconds = 0.0
    for path, start, duration in zip(paths, clips["start"].to_pylist(), clips["duration"].to_pylist(), strict=True):
        length = length_of[path]
        if length is not None:
            frames = max(0, length.frames - start)
            seconds += (frames if duration is None else min(frames, duration)) / length.rate_hz
    return seconds, sum(length_of[path] is None for path in paths)


class _Files(NamedTuple):
    root: str
    paths: list[str]


class Length(NamedTuple):
    """How long a file is by its header.

    Attributes:
        frames: number of frames.
        rate_hz: how many of them are a second.
    """

    frames: int
    rate_hz: int


def read_lengths(files: _Files) -> list[Length | None]:
    """Returns how long each file is, None where its header cannot be read."""
    lengths: list[Length | None] = []
    for info in probe_all([clip_file(files.root, path) for path in files.paths]):
        lengths.append(None if isinstance(info, ClipError) else Length(info.frames, info.rate_hz))
    return lengths
