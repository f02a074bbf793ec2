"""The recordings of a source that a review names: which files they are, and how long."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import Reason, UsageError
from features.runtime.invocation import command_line
from features.runtime.quantities import counted
from features.sources.clips import Source
from features.sources.paths import below, escape_path, is_absolute, unescape_path
from features.sources.review import Judgement
from features.sources.table_files import TableFile, TableFiles


@dataclass(frozen=True)
class Recording:
    """A recording of which a clip or a window was judged.

    Attributes:
        path: relative to the root of the source, as its clips have it.
        rate_hz: of its sound.
        frames: how many it has.
        file: its state.
    """

    path: str
    rate_hz: int
    frames: int
    file: TableFile


def find_recordings(source: Source, judgements: Sequence[Judgement]) -> dict[str, Recording]:
    """Finds the recordings of judgements.

    Args:
        source: whose clips they may be.
        judgements: of reviews.

    Returns:
        The recordings by their paths as the judgements have them, which may be absolute.

    Raises:
        UsageError: one is no file below the root of the source and no clip of it, or cannot be read.
    """
    first = {judgement.path: judgement for judgement in reversed(judgements)}
    known = _known(source.clips, list(first))
    root = source.root.encode("utf-8", "surrogateescape")
    paths = {written: written if written in known else _below(root, written) for written in first}
    files = TableFiles(source.root, probed=True)
    files.look_up(unescape_path(path) for path in paths.values() if path is not None)
    known |= _known(source.clips, [path for path in paths.values() if path is not None])
    recordings: dict[str, Recording] = {}
    outside: dict[str, str] = {}
    for written, path in paths.items():
        file = TableFile() if path is None else files[unescape_path(path)]
        if path is None or (file.error is not None and file.error.reason == Reason.MISSING):
            outside[written] = "is not there"
        elif path not in known and (is_absolute(path) or path.startswith("../")):
            outside[written] = "lies elsewhere"
        elif file.error is not None or file.rate_hz is None or file.frames is None:
            why = "it has no sound" if file.error is None else f"{file.error.reason}, {file.error.message}"
            raise UsageError(f"{first[written].where}: {written} cannot be read ({why}); leave the line out")
        else:
            recordings[written] = Recording(path, file.rate_hz, file.frames, file)
    if outside:
        _refuse(source, [judgement for judgement in judgements if judgement.path in outside], outside)
    return recordings


def _known(clips: pa.Table, paths: list[str]) -> set[str]:
    """Returns which of some paths are of clips."""
    is_there = pc.is_in(pa.array(paths, pa.string()), value_set=pc.unique(clips["path"]))
    return {path for path, there in zip(paths, is_there.to_pylist(), strict=True) if there}


def _below(root: bytes, written: str) -> str | None:
    """Returns a path relative to the root, None where no file can have it."""
    return None if "\0" in written else escape_path(below(root, unescape_path(written)))


def _refuse(source: Source, judgements: list[Judgement], outside: dict[str, str]) -> None:
    first, others = judgements[0], len(judgements) - 1
    more = f", as are the recordings of {counted(others, 'other line')}" if others else ""
    score = command_line("pipelines.score", "--clips", "DIR")
    raise UsageError(
        f"{first.where}: what is corrected is a clip of {source.table or source.root}, or a part of a recording below "
        f"{source.root}, and {first.path} {outside[first.path]}{more}; {score} cuts windows of other recordings out, "
        "into a folder that can be featurized, or leave these lines out"
    )
