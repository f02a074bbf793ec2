"""The layout of the sounds themselves that Hugging Face calls an audiofolder: `datasets.load_dataset(DIR)`.

A folder a split has the recordings under the paths that the set knows, and `metadata.csv` with their labels. A clip
that is all of its recording is that file, by link; a part of one is cut out into a WAV that has its samples to the last
bit. A recording that is not the one any more of which the set has features is a reject.
"""

import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.audio.decode import AudioInfo, decode, file_error
from features.audio.recording import Recording, open_recording
from features.audio.remote import Listed
from features.audio.wav_file import wav_file
from features.errors import ClipError, Reason, Reject, RunError
from features.interchange.placing import COPIED, CUT, place_file
from features.interchange.splits import split_name
from features.interchange.written import SourceSet, Written
from features.io.csv_text import FORMULA_STARTS, csv_lines
from features.io.file_time import same_time
from features.io.filesystem import is_uri
from features.runtime.progress import Progress
from features.sources.content_hash import file_hash
from features.sources.paths import clip_file
from features.sources.rejects import in_order, to_csv
from features.sources.safe_names import safe_names

REJECTS = "rejects.csv"
# The partition stands there too, as names of folders say to readers of this layout no folds.
COLUMNS = ("file_name", "label", "group", "partition", "path", "start")
_BATCH_ROWS = 10_000
# What pandas, by which datasets reads CSV files, takes for a value that is missing, within quotes too.
_MISSING = frozenset((
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
))  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Clip(NamedTuple):
    """A row of the clips table, as far as it says what sound it is."""

    path: str
    start: int
    duration: int | None
    size: int | None
    mtime_ns: int | None
    version: str | None
    content_hash: str | None
    label: str
    group: str
    partition: str

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its recording."""
        return self.start == 0 and self.duration is None


CLIP_COLUMNS = _Clip._fields


def write_audiofolder(source: SourceSet, folder: Path) -> Written:
    """Lays the sounds of a set out.

    Args:
        source: the set.
        folder: where, empty.

    Raises:
        RunError: none of its sounds can be published.
    """
    written, root = Written(), source.manifest.source["root"]
    names = _FileNames(source.clips)
    lines: dict[str, list[tuple[Any, ...]]] = {split: [] for split in source.shards}
    progress, done = Progress("publish", len(source.clips), "clips"), 0
    for _, group in itertools.groupby(_clips(source.clips), key=lambda clip: clip.path):
        clips = list(group)
        targets = [folder / split_name(clip.partition) / names.of(clip) for clip in clips]
        for clip, target, outcome in zip(clips, targets, _publish(clips, targets, root), strict=True):
            if isinstance(outcome, ClipError):
                target.unlink(missing_ok=True)
                written.rejects.append(Reject(clip.path, outcome.stage, outcome.reason, outcome.message, clip.start,
                                              clip.duration, label=clip.label))  # fmt: skip
                continue
            split = split_name(clip.partition)
            written.ways[outcome] += 1
            written.split_bytes[split] += target.stat().st_size
            lines[split].append((names.of(clip), clip.label, clip.group, clip.partition, clip.path, clip.start))
        done += len(clips)
        progress.update(done)
    progress.close()
    lines = {split: rows for split, rows in lines.items() if rows}
    written.rows.update({split: len(rows) for split, rows in lines.items()})
    if not lines:
        first = written.rejects[0]
        raise RunError(f"none of the {len(source.clips):,} sounds can be published; the first, {first.path}: "
                       f"{first.message} ({first.reason})")  # fmt: skip
    for split, rows in lines.items():
        written.write(folder / split / metadata_name(source), _metadata(rows, metadata_name(source)))
    if written.rejects:
        written.write(folder / REJECTS, to_csv(in_order(written.rejects)))
    return written


def metadata_name(source: SourceSet) -> str:
    """Returns what the table of a split is called: `metadata.csv`, or `metadata.parquet` where a CSV would lose a text.

    datasets reads a CSV by pandas, for which a class `NA` or `None` is a missing one, and a spreadsheet takes what
    begins with `=` for a formula.
    """
    texts = {text for name in ("label", "group", "path") for text in pc.unique(source.clips[name]).to_pylist() if text}
    lossy = (text in _MISSING or text.startswith(FORMULA_STARTS) or _CONTROL.search(text) for text in texts)
    return "metadata.parquet" if any(lossy) else "metadata.csv"


def data_files(split: str) -> str:
    """Returns the pattern of the files of a split, relative to the folder."""
    return f"{split}/**"


class _FileNames:
    """The names of the published files."""

    def __init__(self, clips: pa.Table) -> None:
        paths = pc.unique(clips["path"]).to_pylist()
        parts = safe_names({part for path in paths for part in path.split("/")}, keep_end=True)
        # datasets passes over what begins with two of them.
        self._parts = {part: re.sub("^__", "%5F_", name) for part, name in parts.items()}

    def of(self, clip: _Clip) -> str:
        """Returns the path of a clip's file in the folder of its split, which no other clip has."""
        name = "/".join(self._parts[part] for part in clip.path.split("/"))
        if clip.is_whole:
            return name
        end = "" if clip.duration is None else clip.start + clip.duration
        return f"{name}%-{clip.start}-{end}.wav"  # `safe_names` puts no hyphen behind a %


def _clips(table: pa.Table) -> Iterator[_Clip]:
    """Yields the rows of the clips table; the clips of one recording one after the other."""
    table = table.select(CLIP_COLUMNS).sort_by([("path", "ascending"), ("start", "ascending")])
    for batch in table.to_batches(_BATCH_ROWS):
        for values in zip(*(batch.column(name).to_pylist() for name in CLIP_COLUMNS), strict=True):
            clip = _Clip(*values)
            yield clip._replace(label=clip.label or "", group=clip.group or "")


def _publish(clips: list[_Clip], targets: list[Path], root: str) -> list[str | ClipError]:
    """Writes the files of the clips of one recording; returns how each came to be, or why it cannot be published."""
    place = clip_file(root, clips[0].path)
    try:
        with open_recording(place, False, listed=Listed(place, clips[0].size, clips[0].version)) as recording:
            _check_same(clips[0], recording)
            sound: list[AudioInfo] = []
            return [_write_sound(clip, target, recording, sound) for clip, target in zip(clips, targets, strict=True)]
    except ClipError as error:
        return [error] * len(clips)


def _write_sound(clip: _Clip, target: Path, recording: Recording, known: list[AudioInfo]) -> str | ClipError:
    """Writes the file of a clip.

    Args:
        clip: which.
        target: the file.
        recording: that holds it.
        known: what its header says, once it was read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if clip.is_whole:
            way = place_file(recording.file, target)
            return COPIED if is_uri(recording.path) else way
        known[:] = known or [recording.probe()]
        samples = decode(recording.file, known[0], clip.start, clip.duration)
        if not len(samples):
            return ClipError("decode", Reason.EMPTY, "there is no sound where the clip lies")
        target.write_bytes(wav_file(samples, known[0].rate_hz))
        return CUT
    except ClipError as error:
        return error


def _check_same(clip: _Clip, recording: Recording) -> None:
    """Raises `ClipError` where a recording is not the one any more of which the set has features."""
    if clip.version is not None and clip.version == recording.version:
        return
    now, then = recording.mtime_ns, clip.mtime_ns
    if recording.size == clip.size:
        if now is not None and then is not None and same_time(now, then):
            return
        try:
            if clip.content_hash and file_hash(recording.file, like=clip.content_hash) == clip.content_hash:
                return
        except OSError as error:
            raise file_error(error) from error
    raise ClipError("scan", Reason.VANISHED, "the file changed after its features were computed; run featurize again")


def _metadata(rows: list[tuple[Any, ...]], name: str) -> str | bytes:
    """Returns the table of a split as the content of a file of this name."""
    if name.endswith(".csv"):
        return csv_lines([COLUMNS, *rows])
    types = [pa.int64() if column == "start" else pa.string() for column in COLUMNS]
    texts = [[None if value == "" else value for value in values] for values in zip(*rows, strict=True)]
    columns = [pa.array(values, kind) for values, kind in zip(texts, types, strict=True)]
    file = io.BytesIO()
    pq.write_table(pa.table(columns, names=COLUMNS), file)
    return file.getvalue()
