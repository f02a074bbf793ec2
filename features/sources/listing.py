"""Lists the labelled clips of an input in whichever format it is, and says where it looks like another."""

import os
from dataclasses import dataclass

from features.errors import NothingUsableError, UsageError
from features.io.filesystem import is_uri
from features.sources.clips import Source
from features.sources.folder import scan
from features.sources.formats import annotation_files
from features.sources.formats.annotated import Annotated, scan_annotated
from features.sources.formats.audiofolder import AUDIOFOLDER, METADATA, scan_audiofolder
from features.sources.formats.lhotse import CUTS, LHOTSE, scan_lhotse
from features.sources.formats.manifests import first_object
from features.sources.formats.nemo import ENDINGS, FILES, NEMO, scan_nemo
from features.sources.table import list_clips, scan_table
from features.sources.table_layout import TableLayout

FOLDER, TABLE = "folder", "table"
INPUT_FORMATS = (FOLDER, TABLE, AUDIOFOLDER, LHOTSE, NEMO)
_MOST_LOOKED_INTO = 10  # files of a folder


@dataclass(frozen=True)
class InputFormat:
    """How an input is read.

    Attributes:
        name: one of `INPUT_FORMATS`, None for a folder or a table, whichever it is.
        annotations: of recordings, whose windows are the clips; None where the input itself has the labels.
        channels: what the front end uses of a recording of several channels, as its spec has it.
    """

    name: str | None = None
    annotations: Annotated | None = None
    channels: str | int = "mean"


def list_labelled(
    input_path: str, layout: TableLayout, read: InputFormat, pattern: str | None = None, partitioned: bool = True
) -> Source:
    """Lists the clips of an input.

    Args:
        input_path: folder, table or manifest.
        layout: where a table says what.
        read: the format of the input.
        pattern: what finds labels in the paths of a folder, see `features.sources.folder.scan`.
        partitioned: whether partitions that the input says are read.

    Returns:
        The clips; where the input looks like one of another format, a note says so.

    Raises:
        UsageError: the input cannot be used, or an option is for another kind of input.
    """
    if pattern is not None and (read.annotations is not None or read.name not in (None, FOLDER)):
        what = "--annotations say" if read.annotations is not None else f"--input-format {read.name} says"
        raise UsageError(
            f"--label-pattern finds labels in the paths of a folder, and {what} them otherwise; leave one out"
        )
    if read.annotations is not None:
        if read.name not in (None, FOLDER):
            raise UsageError(
                f"--annotations are of recordings of a folder, not of --input-format {read.name}; leave one out"
            )
        return scan_annotated(input_path, layout, read.annotations)
    if read.name == AUDIOFOLDER:
        return scan_audiofolder(input_path, layout, partitioned)
    if read.name == LHOTSE:
        return scan_lhotse(input_path, layout, read.channels, partitioned)
    if read.name == NEMO:
        return scan_nemo(input_path, layout, partitioned)
    if read.name == TABLE:
        return scan_table(input_path, layout, partitioned=partitioned)
    if read.name == FOLDER:
        if layout.given:
            raise UsageError(
                f"{layout.given[0]} is for a table, and --input-format {FOLDER} reads a folder; leave one out"
            )
        return scan(input_path, True, pattern)
    return _with_hint(input_path, layout, pattern, partitioned)


def _with_hint(input_path: str, layout: TableLayout, pattern: str | None, partitioned: bool) -> Source:
    """Lists the clips of a folder or a table, and says where the input looks like another format."""
    look = None if pattern is not None or layout.given else looks_like(input_path)
    hint = None if look is None else f"{input_path} {look}"
    try:
        source = list_clips(input_path, layout, labelled=True, pattern=pattern, partitioned=partitioned)
    except UsageError as error:
        if hint is None:
            raise
        if isinstance(error, NothingUsableError):
            raise NothingUsableError(f"{error}; {hint}", error.rejects) from error
        raise UsageError(f"{error}; {hint}") from error
    if hint:
        source.notes.append(hint)
    return source


def looks_like(input_path: str) -> str | None:
    """Returns what an input looks like, and which option reads that; None where it is read without one."""
    if is_uri(input_path):
        return None
    if os.path.isdir(input_path):
        return _looks_of_folder(input_path)
    return _looks_of_file(input_path)


def _looks_of_folder(folder: str) -> str | None:
    places = [folder, *(entry.path for entry in _entries(folder) if entry.is_dir())]
    for name in METADATA:
        if any(os.path.isfile(os.path.join(place, name)) for place in places):
            return f"looks like Hugging Face's audiofolder, as it has {name}, which --input-format {AUDIOFOLDER} reads"
    files = [entry for entry in _entries(folder) if entry.name.lower().endswith((*ENDINGS, *annotation_files.ENDINGS))]
    looks = ((entry.name, _looks_of_file(entry.path)) for entry in files[:_MOST_LOOKED_INTO])
    return next((f"has {name}, which {look}" for name, look in looks if look), None)


def _looks_of_file(path: str) -> str | None:
    if path.lower().endswith(annotation_files.ENDINGS):
        kind = annotation_files.kind_of_annotations(path)
        return kind and f"looks like {kind}, which --annotations reads, beside the recordings as --input"
    if not path.lower().endswith(ENDINGS) or not os.path.isfile(path):
        return None
    first = first_object(path) or {}
    look = None
    if any(name in first for name in FILES):
        look = NEMO, f"a NeMo manifest, as its first line has {next(name for name in FILES if name in first)}"
    elif first.get("type") in CUTS:
        look = LHOTSE, f"a Lhotse CutSet, as its first line is a {first['type']}"
    elif "sources" in first and "sampling_rate" in first:
        look = LHOTSE, "a Lhotse manifest of recordings, as its first line has sources"
    elif "recording_id" in first and "duration" in first:
        look = LHOTSE, "a Lhotse manifest of supervisions, as its first line has a recording_id"
    return look and f"looks like {look[1]}, which --input-format {look[0]} reads"


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
