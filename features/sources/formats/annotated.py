"""Windows of recordings as clips, with the labels of what was annotated in them."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from features.errors import NothingUsableError, Reason, Reject, UsageError
from features.io.filesystem import is_uri
from features.runtime.quantities import counted
from features.sources.clips import Source, clip_table
from features.sources.folder import scan
from features.sources.formats.annotation_files import Annotation, annotation_files, read_annotations
from features.sources.formats.manifests import check_layout
from features.sources.formats.recording_names import RecordingNames
from features.sources.formats.window_grid import WindowGrid
from features.sources.paths import absolute_path, unescape_path
from features.sources.row_clips import bad_row
from features.sources.table_files import TableFile, TableFiles
from features.sources.table_layout import TableLayout
from features.sources.table_times import frame_at

ANNOTATIONS = "annotations"
BACKGROUND = "background"
_SALT = "background"  # another order than that of the shards, which has the same keys
_SHOWN = 3
_NEITHER = (
    "it is neither a selection table of Raven, with 'Begin Time (s)' in its first line, nor a label track of Audacity"
)


@dataclass(frozen=True)
class Annotated:
    """What is annotated in recordings, and which windows of them are clips.

    Attributes:
        place: folder of selection tables or label tracks, or one of them.
        grid: the windows of a recording.
        min_overlap_seconds: a window takes a label that covers this much of it, or all of what is shorter; None for
            half of the shorter of the two.
        background_share: part of the windows without any label that are clips, from 0 to 1.
        background_label: their class.

    Raises:
        UsageError: one of them is not what it may be.
    """

    place: str
    grid: WindowGrid
    min_overlap_seconds: float | None = None
    background_share: float = 0.0
    background_label: str = BACKGROUND

    def __post_init__(self) -> None:
        """Refuses what has no meaning."""
        least, longest = self.min_overlap_seconds, self.grid.seconds
        if least is not None and not 0 < least <= longest:
            raise UsageError(
                f"--min-overlap-seconds is above 0 and at most {longest:g} s, the length of a window, not {least:g}"
            )
        if not 0 <= self.background_share <= 1:
            raise UsageError(f"--background-share is from 0 to 1, not {self.background_share:g}")
        if not self.background_label.strip():
            raise UsageError("--background-label is the name of a class, and it is empty")
        if is_uri(self.place):
            raise UsageError(f"--annotations are files of the file system, not {self.place}; download them")

    @property
    def rule(self) -> str:
        """Which windows are clips, in words, for the manifest."""
        least = self.min_overlap_seconds
        enough = "half of the shorter of window and annotation" if least is None else f"{least:g} s"
        share = f", {self.background_share:g} of those without are {self.background_label}"
        return f"windows of {self.grid.seconds:g} s, labelled from {enough}{share if self.background_share else ''}"

    def is_enough(self, overlap: int, annotation: int, window: int, rate_hz: int) -> bool:
        """Returns whether a window takes the label of an annotation, by how many frames they share and have.

        Times and edges of windows are rounded to frames, so that one frame less is enough.
        """
        shorter = min(annotation, window)
        if self.min_overlap_seconds is None:
            return 2 * (overlap + 1) >= shorter
        return overlap + 1 >= min(frame_at(self.min_overlap_seconds, rate_hz), shorter)

    def is_background(self, path: str, start: int) -> bool:
        """Returns whether a window without a label is a clip: by its path and its first frame alone."""
        if self.background_share in (0, 1):
            return self.background_share == 1
        digest = hashlib.sha256(f"{_SALT}\0{path}\0{start}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.background_share * 2**64


@dataclass
class _Clips:
    """The clips that are found, column by column, and what is left of the recordings."""

    paths: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    files: list[TableFile] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)  # recordings of which an annotation cannot be read
    left_out: Counter[str] = field(default_factory=Counter)


def scan_annotated(input_path: str, layout: TableLayout, annotated: Annotated) -> Source:
    """Lists the windows of recordings that have a label, and some of those that have none.

    A window of which two labels cover enough is a reject. One that an annotation lies in, but not enough of it, is
    neither a clip of its label nor background, as is none of a recording of which an annotation cannot be read, since
    that may lie anywhere. Recordings without a file of annotations are left out; one whose file is empty has windows
    without a label alone.

    Args:
        input_path: folder of recordings, or one.
        layout: of its options the column of labels of selection tables.
        annotated: the annotations, and which windows are clips.

    Raises:
        UsageError: the input or the annotations cannot be used.
        NothingUsableError: no window has a label.
    """
    check_layout(layout, "--annotations", ("label_column",))
    source = scan(input_path, labelled=False)
    paths = source.clips["path"].to_pylist()
    found = _Clips(rejects=list(source.rejects))
    by_recording, notes = _by_recording(source.root, paths, annotated.place, layout.label_column, found)
    files = TableFiles(source.root, probed=True)
    files.look_up(unescape_path(path) for path in by_recording)
    for path in paths:
        if path in by_recording:
            _add_windows(path, files[unescape_path(path)], by_recording[path], annotated, found)
        else:
            found.left_out["recordings without annotations"] += 1
    if not found.paths:
        why = "".join(f"; the first reject: {one.path}: {one.message}" for one in found.rejects[:1])
        message = (f"no window of the {counted(len(paths), 'recording')} in {input_path} has a label of "
                   f"{annotated.place}, which has annotations of {len(by_recording)} of them{why}")  # fmt: skip
        raise NothingUsableError(message, found.rejects)
    clips = clip_table(
        pa.array(found.paths, pa.string()),
        [file.size for file in found.files],
        [file.mtime_ns for file in found.files],
        start=found.starts,
        duration=found.durations,
        label=found.labels,
        version=[file.version for file in found.files],
    )
    return replace(source, kind=ANNOTATIONS, clips=clips, rejects=found.rejects, table=absolute_path(annotated.place),
                   left_out={**source.left_out, **found.left_out}, notes=notes, rule=annotated.rule)  # fmt: skip


def _by_recording(
    root: str, paths: Sequence[str], place: str, label_column: str | None, found: _Clips
) -> tuple[dict[str, list[Annotation]], list[str]]:
    """Returns the annotations of each recording that has a file of them, and what there is to say about them."""
    names = RecordingNames(root, paths)
    by_recording: dict[str, list[Annotation]] = {}
    notes = []
    for path, name in annotation_files(place):
        file = read_annotations(path, name, label_column)
        if file is None:
            found.rejects.append(bad_row(name, _NEITHER))
            continue
        found.rejects += file.rejects
        notes += file.notes
        own, are_unread = names.of_file(name), bool(file.rejects)
        annotates = set() if own is None else {own}
        if own is not None:
            by_recording.setdefault(own, [])
        elif not any(any(annotation.named) for annotation in file.annotations):
            reject = bad_row(name, "no recording has its name, and its rows name none")
            found.rejects.append(replace(reject, reason=Reason.MISSING))
            continue
        is_of_one = len({annotation.named for annotation in file.annotations}) == 1
        for annotation in file.annotations:
            recording = own
            if any(annotation.named):  # a table of one recording that was renamed has its name
                recording = names.of_row(*annotation.named, annotation.where) or (own if is_of_one else None)
            if recording is None:
                reject = bad_row(
                    annotation.where, f"there is no recording {annotation.named[0] or annotation.named[1]}"
                )
                found.rejects.append(replace(reject, reason=Reason.MISSING))
                are_unread = are_unread or own is not None
            else:
                by_recording.setdefault(recording, []).append(annotation)
                annotates.add(recording)
        if are_unread:
            found.unread |= annotates
    if not by_recording and not found.rejects:
        raise UsageError(f"--annotations {place} has no files that end in .txt or .tsv")
    return by_recording, notes


def _add_windows(
    path: str, file: TableFile, annotations: Sequence[Annotation], annotated: Annotated, found: _Clips
) -> None:
    """Adds the windows of a recording that are clips."""
    if file.error is not None or file.rate_hz is None or file.frames is None:
        error = file.error
        reason, message = (error.reason, error.message) if error else (Reason.EMPTY, "it has no sound")
        found.rejects.append(Reject(path, "scan", reason, message))
        return
    windows = list(annotated.grid.windows(file.frames, file.rate_hz))
    labels: dict[int, dict[str, str]] = {}
    touched: set[int] = set()
    for annotation, begin, end in _frames(path, file, annotations, found):
        for number, overlap in annotated.grid.overlaps(begin, end, windows, file.rate_hz):
            touched.add(number)
            length = windows[number][1] - windows[number][0]
            if annotation.label is not None and annotated.is_enough(overlap, end - begin, length, file.rate_hz):
                labels.setdefault(number, {}).setdefault(annotation.label, annotation.where)
    for number, (begin, end) in enumerate(windows):
        said = labels.get(number, {})
        if len(said) > 1:
            shown = " and ".join(f"{label!r} ({where})" for label, where in list(said.items())[:_SHOWN])
            message = f"a clip has one label, and {len(said)} cover enough of this window: {shown}"
            reject = Reject(path, "scan", Reason.BAD_LABEL, message, begin, end - begin, file.size, file.mtime_ns)
            found.rejects.append(replace(reject, version=file.version))
            continue
        if not said and number in touched:
            found.left_out["windows with too little of an annotation"] += 1
            continue
        if not said and annotated.background_share and path in found.unread:
            found.left_out["windows beside annotations that cannot be read"] += 1
            continue
        if not said and not annotated.is_background(path, begin):
            found.left_out["windows without a label"] += 1
            continue
        found.paths.append(path)
        found.starts.append(begin)
        found.durations.append(end - begin)
        found.labels.append(next(iter(said), annotated.background_label))
        found.files.append(file)


def _frames(
    path: str, file: TableFile, annotations: Sequence[Annotation], found: _Clips
) -> Iterator[tuple[Annotation, int, int]]:
    """Yields annotations with their first frame and the one behind their last; those without a label too."""
    rate_hz, frames = file.rate_hz or 1, file.frames or 0
    for annotation in annotations:
        begin, end = frame_at(annotation.start_seconds, rate_hz), frame_at(annotation.end_seconds, rate_hz)
        fault = None
        if begin >= frames:
            fault = f"it begins at {annotation.start_seconds:g} s, past the end of {path}, {frames / rate_hz:.6g} s"
            found.rejects.append(bad_row(annotation.where, fault))
            continue
        if annotation.label is None:
            reject = bad_row(annotation.where, "the label is empty")
            found.rejects.append(replace(reject, reason=Reason.BAD_LABEL))
        yield annotation, begin, max(begin, min(end, frames))
