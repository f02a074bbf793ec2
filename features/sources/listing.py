"""Lists the labelled clips of an input in whichever format it is, and says where it looks like another."""

import os
from dataclasses import dataclass

from features.errors import NothingUsableError, UsageError
from features.io.filesystem import is_uri
from features.sources.clips import Source
from features.sources.folder import scan
from features.sources.formats.annotated import Annotated, scan_annotated
from features.sources.formats.audiofolder import AUDIOFOLDER, METADATA, scan_audiofolder
from features.sources.formats.lhotse import CUTS, LHOTSE, scan_lhotse
from features.sources.formats.manifests import first_object
from features.sources.formats.nemo import FILES, NEMO, scan_nemo
from features.sources.table import list_clips, scan_table
from features.sources.table_layout import TableLayout

FOLDER, TABLE = "folder", "table"
INPUT_FORMATS = (FOLDER, TABLE, AUDIOFOLDER, LHOTSE, NEMO)
_MANIFEST_ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".ndjson")


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
    hint = None if look is None else f"{input_path} looks like {look[1]}, which --input-format {look[0]} reads"
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


def looks_like(input_path: str) -> tuple[str, str] | None:
    """Returns the format that an input looks like, and why, where it is not read without `--input-format`."""
    if is_uri(input_path):
        return None
    if os.path.isdir(input_path):
        places = [input_path, *(entry.path for entry in _folders(input_path))]
        found = next((name for place in places for name in METADATA if os.path.isfile(os.path.join(place, name))), None)
        return None if found is None else (AUDIOFOLDER, f"Hugging Face's audiofolder, as it has {found}")
    if not input_path.lower().endswith(_MANIFEST_ENDINGS) or not os.path.isfile(input_path):
        return None
    first = first_object(input_path) or {}
    if any(name in first for name in FILES):
        return NEMO, f"a NeMo manifest, as its first line has {next(name for name in FILES if name in first)}"
    if first.get("type") in CUTS:
        return LHOTSE, f"a Lhotse CutSet, as its first line is a {first['type']}"
    if "sources" in first and "sampling_rate" in first:
        return LHOTSE, "a Lhotse manifest of recordings, as its first line has sources"
    if "recording_id" in first and "duration" in first:
        return LHOTSE, "a Lhotse manifest of supervisions, as its first line has a recording_id"
    return None


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    except OSError:
        return []
