"""What has become of each clip since the committed state: kept, copied, to be computed, refused, removed."""

import os
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import DECODER_DEPENDENT, RETRYABLE, Reason
from features.io.take import take_rows
from features.sources.content_hash import hash_files
from features.sources.paths import clip_file, unescape_path
from features.store.decoders import outdated
from features.update.clip_index import ClipIndex, Found, equal_values, find_lines, numbers_of
from features.update.known_lines import NOTHING, KnownLines
from features.update.work_list import with_few_values

# An ETag that is an MD5: the same one, and the same size, under another name are the same content. Others, of uploads
# in parts or of stores that number or date their objects, say something of one object alone.
_CONTENT_ETAG = re.compile(r'"?[0-9a-f]{32}"?')
# A modification time this close to the scan is no evidence: the file may change again without a new time.
RACY_NANOSECONDS = 2_000_000_000
# Content, start, duration and ending of the name.
_Traits = tuple[str | None, int, int | None, bytes]


@dataclass(frozen=True)
class Evidence:
    """By what a file counts as unchanged.

    Attributes:
        root: where the paths of clips begin.
        scan_started_ns: when the scan began, in nanoseconds since the epoch.
        last_scan_ns: when the scan of the committed state began; None where that is not known, or was of another
            source: then every file is hashed.
        verify_content: whether every file is hashed all the same.
        other_decoder: whether another version of the decoder is here than the state was made with.
        changed_decoder: whose rows are computed anew, see `features.store.decoders.outdated`.
        same_root: whether the committed state has its clips from there: the version of an object is that of one name.
    """

    root: str
    scan_started_ns: int
    last_scan_ns: int | None = None
    verify_content: bool = False
    other_decoder: bool = False
    changed_decoder: str | None = None
    same_root: bool = True


@dataclass(frozen=True)
class Changes:
    """The clips of a source, and what a committed state knows of them.

    Attributes:
        clips: what the scan found.
        lines: what the state knows.
        known: for each clip the one of `lines` that holds its features or its refusal, `NOTHING` for a clip that is
            to be computed.
        kept: whether a clip is as it was: its row, its label, its group, its partition.
        refused: whether a clip is a reject that need not be tried again.
        removed: number of clips of the state that are gone.
        outdated: number of clips that are computed only as another decoder read them.
        dated: whether those that are kept or refused have the times and versions that the state has of them.
        hashes: of the contents of files that were hashed now, by their paths.
    """

    clips: pa.Table
    lines: KnownLines
    known: NDArray[np.int64]
    kept: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    removed: int = 0
    outdated: int = 0
    dated: bool = True
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def computed(self) -> NDArray[np.bool_]:
        """Whether a clip is to be decoded."""
        return np.equal(self.known, NOTHING)

    @property
    def copied(self) -> int:
        """Number of clips whose row is that of another path, or has another label, group or partition."""
        return int((~self.kept & ~self.refused & ~self.computed).sum())

    def take(self, numbers: NDArray[np.int64]) -> pa.Table:
        """Returns clips by their numbers, with a column content_hash: of what the state knows, or was hashed now."""
        clips = take_rows(self.clips, numbers)
        hashes = self.lines.take(self.known[numbers], ["content_hash"])["content_hash"]
        if self.hashes and hashes.null_count:
            hashed = pa.array([self.hashes.get(path) for path in clips["path"].to_pylist()], pa.string())
            hashes = pc.coalesce(hashes, hashed)
        return clips.append_column("content_hash", hashes)


def compare(clips: pa.Table, lines: KnownLines, evidence: Evidence) -> Changes:
    """Finds out what has become of each clip.

    Args:
        clips: table of path, start, duration, size, mtime_ns, version, label, group, partition.
        lines: what the committed state knows.
        evidence: by what a file counts as unchanged.

    Returns:
        The changes. They follow from the files, the state and the contents, and not from the time of the comparison.
    """
    clips = with_few_values(clips)
    hashes: dict[str, str] = {}
    found = find_lines(clips, lines)
    of_store = np.asarray(clips["version"].is_valid(), np.bool_)
    trusted = _trusted(clips, found, of_store, evidence)
    if not evidence.verify_content and of_store.any():
        hashes |= _hashes_by_version(clips, lines, ~trusted & of_store)
    # To fetch an object for its hash takes as long as to compute it anew; where it was a file before, all of them were.
    hashed = ~of_store | evidence.verify_content
    asked = found.sized & ~trusted
    _hash(clips, asked & (hashed | ~found.was_object), evidence.root, hashes)
    unchanged = trusted | _equal_contents(clips, lines, asked, found.same, hashes)
    known = found.same  # which is not asked for any more
    known[~unchanged] = NOTHING
    rows = lines.row != NOTHING
    claimed = np.zeros(len(lines), bool)
    claimed[known[unchanged]] = True
    current = rows & ~_outdated(lines, evidence)
    free = current & ~claimed
    if free.any():
        # A file whose content a lost row had is that row, whatever it is called now.
        sizes = lines.take(np.flatnonzero(free), ["size"])["size"]
        asked = ~unchanged & np.asarray(pc.is_in(clips["size"], value_set=pc.unique(sizes)), np.bool_)
        _hash(clips, asked & hashed, evidence.root, hashes)
        moved = _moved(clips, lines, asked, free, hashes)
        known[asked] = moved
        claimed[moved[moved != NOTHING]] = True
    # These may change again under the same time, and their shards' names shall show it.
    latest = pc.greater(clips["mtime_ns"], evidence.scan_started_ns - RACY_NANOSECONDS).fill_null(False)
    racy = (known == NOTHING) & (np.asarray(latest, np.bool_) | evidence.verify_content)
    _hash(clips, racy & ~of_store, evidence.root, hashes)  # of objects the versions show it
    refused = _refused(clips, lines, known, evidence)
    outdated_rows = (known != NOTHING) & _taken(rows & ~current, known)
    known[(known != NOTHING) & ~_taken(current, known) & ~refused] = NOTHING
    kept = unchanged & (known != NOTHING) & ~refused
    dated = (found.timed & (found.versioned | ~of_store & ~found.was_object))[kept | refused]
    removed = rows & ~claimed & ~found.is_of_clip
    return Changes(clips, lines, known, kept & found.placed, refused, int(removed.sum()), int(outdated_rows.sum()),
                   bool(dated.all()), hashes)  # fmt: skip


def spare_lines(changes: Changes, spare: pa.Table) -> NDArray[np.int64]:
    """Returns for each clip that is to be computed the line of a cache that may hold its features all the same.

    Args:
        changes: the clips.
        spare: rows whose files had the same key, part, size, and time or version, see
            `features.store.known_rows.read_spare`.
    """
    if not len(spare):
        return _of_each(NOTHING, changes.clips)
    clips = changes.clips
    lines, numbers = ClipIndex(clips).find(spare)
    of_clips = take_rows(clips, numbers)
    of_lines = take_rows(spare, lines)
    fits = changes.computed[numbers]
    for name in ("duration", "size", "mtime_ns"):
        fits &= numbers_of(of_clips, name) == numbers_of(of_lines, name)
    fits &= ~np.asarray(of_clips["version"].is_valid(), np.bool_) | equal_values(
        of_clips["version"], of_lines["version"]
    )
    # Of lines of one key the first counts, whether it fits or not.
    first = np.full(len(changes.known), len(spare))
    np.minimum.at(first, numbers, lines)
    fits &= first[numbers] == lines
    result = np.full(len(changes.known), NOTHING)
    result[numbers[fits]] = lines[fits]
    return result


def _trusted(clips: pa.Table, found: Found, of_store: NDArray[np.bool_], evidence: Evidence) -> NDArray[np.bool_]:
    """Returns which clips are the same by their times or versions."""
    trusted = np.zeros(len(clips), bool)
    if evidence.verify_content:
        return trusted
    if evidence.last_scan_ns is not None:
        old = pc.less_equal(clips["mtime_ns"].fill_null(NOTHING), evidence.last_scan_ns - RACY_NANOSECONDS)
        trusted |= found.sized & ~of_store & found.timed & np.asarray(old, np.bool_)
    if evidence.same_root:
        trusted |= found.sized & found.versioned
    return trusted


def _of_each(value: int, clips: pa.Table) -> NDArray[np.int64]:
    """Returns one number for each clip, which takes no memory and is only read."""
    return np.broadcast_to(np.int64(value), len(clips))


def _taken(values: NDArray[Any], lines: NDArray[np.int64]) -> NDArray[Any]:
    """Returns the values of lines, any value for `NOTHING`."""
    return values[lines] if len(values) else np.zeros(len(lines), values.dtype)


def _outdated(lines: KnownLines, evidence: Evidence) -> NDArray[np.bool_]:
    """Returns which lines are of decoders whose rows are computed anew."""
    is_any = np.unique(lines.decoder[lines.row != NOTHING]).tolist()
    names = {None if number == NOTHING else lines.decoders[number]: number for number in is_any}
    numbers = [names[name] for name in outdated(names, evidence.changed_decoder)]
    return np.isin(lines.decoder, numbers) if numbers else np.zeros(len(lines), bool)


def _hashes_by_version(clips: pa.Table, lines: KnownLines, asked: NDArray[np.bool_]) -> dict[str, str]:
    """Returns the hashes of the asked objects whose content the lines know, under whatever name, by their paths."""
    if not asked.any():
        return {}
    objects = take_rows(clips.select(["path", "size", "version"]), np.flatnonzero(asked))
    named = objects["version"].combine_chunks()
    known: dict[tuple[int, str], str] = {}
    for table in lines.filtered("version", pc.unique(named), ["size", "version", "content_hash"]):
        for size, version, content_hash in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if _CONTENT_ETAG.fullmatch(version):
                known[size, version] = content_hash
    paths, *state = (column.to_pylist() for column in objects.columns)
    found = ((path, known.get(one)) for path, one in zip(paths, zip(*state, strict=True), strict=True))
    return {path: content_hash for path, content_hash in found if content_hash is not None}


def _hash(clips: pa.Table, asked: NDArray[np.bool_], root: str, hashes: dict[str, str]) -> None:
    paths = dict.fromkeys(clips["path"].filter(pa.array(asked)).to_pylist())
    hashes.update(hash_files(root, [path for path in paths if path not in hashes]))


def _equal_contents(
    clips: pa.Table,
    lines: KnownLines,
    asked: NDArray[np.bool_],
    same: NDArray[np.int64],
    hashes: dict[str, str],
) -> NDArray[np.bool_]:
    """Returns which of the asked clips have by their hashes the content that the lines know under their key."""
    equal = np.zeros(len(clips), bool)
    chosen = np.flatnonzero(asked)
    if not len(chosen):
        return equal
    paths = take_rows(clips.select(["path"]), chosen)["path"].to_pylist()
    expected = lines.take(same[chosen], ["content_hash"])["content_hash"].to_pylist()
    equal[chosen] = [known is not None and hashes.get(path) == known
                     for path, known in zip(paths, expected, strict=True)]  # fmt: skip
    return equal


def _moved(
    clips: pa.Table, lines: KnownLines, asked: NDArray[np.bool_], free: NDArray[np.bool_], hashes: dict[str, str]
) -> NDArray[np.int64]:
    """Returns for each asked clip a free row of the same content, part and kind of file, its own while they last."""

    def traits(table: pa.Table, contents: list[str | None]) -> list[_Traits]:
        columns = (table[name].to_pylist() for name in ("path", "start", "duration"))
        # Decoders may go by the ending of the name.
        return [(content, start, duration, os.path.splitext(unescape_path(path))[1].lower())
                for content, path, start, duration in zip(contents, *columns, strict=True)]  # fmt: skip

    of_clips = take_rows(clips.select(["path", "start", "duration"]), np.flatnonzero(asked))
    paths, starts = of_clips["path"].to_pylist(), of_clips["start"].to_pylist()
    found = np.full(len(paths), NOTHING)
    if not len(paths):
        return found
    rows: dict[_Traits, list[int]] = {}
    lost = lines.take(np.flatnonzero(free), ["path", "start", "duration", "content_hash"])
    for line, trait in zip(np.flatnonzero(free).tolist(), traits(lost, lost["content_hash"].to_pylist()), strict=True):
        rows.setdefault(trait, []).append(line)
    asked_traits = traits(of_clips, [hashes.get(path) for path in paths])
    # In the order of paths and starts, as sources list them, whatever the order of the table.
    for place in sorted(range(len(paths)), key=lambda place: (paths[place], starts[place])):
        trait = asked_traits[place]
        held = rows.get(trait, [])
        if trait[0] is not None and held:
            found[place] = held.pop(0) if len(held) > 1 else held[0]
    return found


def _refused(clips: pa.Table, lines: KnownLines, known: NDArray[np.int64], evidence: Evidence) -> NDArray[np.bool_]:
    """Returns which clips are known rejects that would be rejects again."""
    refused = np.asarray((known != NOTHING) & ~_taken(lines.row != NOTHING, known), np.bool_)
    asked = np.flatnonzero(refused)
    if not len(asked):
        return refused
    reasons = lines.rejects_of(known[asked])["reason"].to_pylist()
    for number, reason in zip(asked.tolist(), reasons, strict=True):
        if reason in DECODER_DEPENDENT:
            refused[number] = not evidence.other_decoder
        elif reason == Reason.PERMISSION and clips["version"][number].as_py() is None:
            refused[number] = not os.access(clip_file(evidence.root, clips["path"][number].as_py()), os.R_OK)
        elif reason in RETRYABLE:
            refused[number] = False
    return refused
