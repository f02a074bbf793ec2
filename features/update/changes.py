"""What has become of each clip since the committed state: kept, copied, to be computed, refused, removed."""

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import DECODER_DEPENDENT, RETRYABLE, Reason
from features.sources.content_hash import hash_files
from features.sources.paths import clip_file, unescape_path
from features.store.decoders import rows_of

# An ETag that is an MD5: the same one, and the same size, under another name are the same content. Others, of uploads
# in parts or of stores that number or date their objects, say something of one object alone.
_CONTENT_ETAG = re.compile(r'"?[0-9a-f]{32}"?')
# A modification time this close to the scan is no evidence: the file may change again without a new time.
RACY_NANOSECONDS = 2_000_000_000
NOTHING = -1
KEY_COLUMNS = ("path", "start")
_PLACED = ("label", "group", "partition")
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
        outdated: decoders whose rows are computed anew, see `features.store.decoders.outdated`.
        same_root: whether the committed state has its clips from there: the version of an object is that of one name.
    """

    root: str
    scan_started_ns: int
    last_scan_ns: int | None = None
    verify_content: bool = False
    other_decoder: bool = False
    outdated: tuple[str | None, ...] = ()
    same_root: bool = True


@dataclass(frozen=True)
class Changes:
    """The clips of a source, and what a committed state knows of them.

    Attributes:
        clips: what the scan found, with a column content_hash: of what the state knows, or was hashed now, else null.
        cache: what the state knows, see `features.store.known_rows`.
        known: for each clip the line of `cache` that holds its features or its refusal, `NOTHING` for a clip that is
            to be computed.
        kept: whether a clip is as it was: its row, its label, its group, its partition.
        refused: whether a clip is a reject that need not be tried again.
        removed: number of clips of the state that are gone.
        outdated: number of clips that are computed only as another decoder read them.
    """

    clips: pa.Table
    cache: pa.Table
    known: NDArray[np.int64]
    kept: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    removed: int
    outdated: int = 0

    @property
    def computed(self) -> NDArray[np.bool_]:
        """Whether a clip is to be decoded."""
        return np.equal(self.known, NOTHING)

    @property
    def copied(self) -> int:
        """Number of clips whose row is that of another path, or has another label, group or partition."""
        return int((~self.kept & ~self.refused & ~self.computed).sum())


def compare(clips: pa.Table, cache: pa.Table, evidence: Evidence) -> Changes:
    """Finds out what has become of each clip.

    Args:
        clips: table of path, start, duration, size, mtime_ns, version, label, group, partition.
        cache: what the committed state knows.
        evidence: by what a file counts as unchanged.

    Returns:
        The changes. They follow from the files, the state and the contents, and not from the time of the comparison.
    """
    clips, cache = clips.combine_chunks(), cache.combine_chunks()
    hashes: dict[str, str] = {}
    keys, cached_keys = _keys(clips), _keys(cache)
    same = _places(keys, cached_keys)
    here = same != NOTHING
    for name in ("duration", "size"):
        here &= _numbers(clips, name) == _taken(_numbers(cache, name), same)
    mtimes, of_store = _numbers(clips, "mtime_ns"), _are_objects(clips)
    trusted = here & ~of_store & (mtimes == _taken(_numbers(cache, "mtime_ns"), same))
    if evidence.last_scan_ns is None:
        trusted[:] = False
    else:
        trusted &= mtimes <= evidence.last_scan_ns - RACY_NANOSECONDS
    if evidence.same_root:
        trusted |= here & _equal(clips["version"], cache["version"], same)
    if evidence.verify_content:
        trusted[:] = False
    else:
        hashes |= _hashes_by_version(clips, cache, ~trusted & of_store)
    # To fetch an object for its hash takes as long as to compute it anew; where it was a file before, all of them were.
    hashed = ~of_store | evidence.verify_content
    asked = here & ~trusted
    _hash(clips, asked & (hashed | ~_taken(_are_objects(cache), same)), evidence.root, hashes)
    unchanged = trusted | _equal_contents(clips, cache, asked, same, hashes)
    known = np.where(unchanged, same, NOTHING)
    rows = cache["row"].is_valid().to_numpy(zero_copy_only=False)
    claimed = np.zeros(len(cache), bool)
    claimed[known[unchanged]] = True
    current = rows & ~rows_of(cache["decoder"], evidence.outdated).to_numpy(zero_copy_only=False)
    free = current & ~claimed
    if free.any():
        # A file whose content a lost row had is that row, whatever it is called now.
        lost = pc.is_in(clips["size"], value_set=pc.unique(cache["size"].filter(pa.array(free))))
        asked = ~unchanged & lost.to_numpy()
        _hash(clips, asked & hashed, evidence.root, hashes)
        found = _moved(clips, cache, asked, free, hashes)
        known[asked] = found
        claimed[found[found != NOTHING]] = True
    # These may change again under the same time, and their shards' names shall show it.
    racy = (known == NOTHING) & ((mtimes > evidence.scan_started_ns - RACY_NANOSECONDS) | evidence.verify_content)
    _hash(clips, racy & ~of_store, evidence.root, hashes)  # of objects the versions show it
    refused = _refused(clips, cache, known, rows, evidence)
    outdated = (known != NOTHING) & _taken(rows & ~current, known)
    known[(known != NOTHING) & ~_taken(current, known) & ~refused] = NOTHING
    kept = unchanged & (known != NOTHING) & ~refused
    for name in _PLACED:
        kept &= _equal(clips[name], cache[name], known)
    table = clips.append_column("content_hash", _content_hashes(clips, cache, known, hashes))
    lost_rows = rows & ~claimed
    lost_rows[lost_rows] = ~pc.is_in(cached_keys.filter(pa.array(lost_rows)), value_set=keys).to_numpy()
    return Changes(table, cache, known, kept, refused, int(lost_rows.sum()), int(outdated.sum()))


def spare_lines(changes: Changes, spare: pa.Table) -> NDArray[np.int64]:
    """Returns for each clip that is to be computed the line of a cache that may hold its features all the same.

    Args:
        changes: the clips.
        spare: rows whose files had the same key, part, size, and time or version, see
            `features.store.known_rows.read_spare`.
    """
    if not len(spare):
        return np.full(len(changes.known), NOTHING)
    clips = changes.clips
    lines = _places(_keys(clips), _keys(spare))
    for name in ("duration", "size", "mtime_ns"):
        lines[_numbers(clips, name) != _taken(_numbers(spare, name), lines)] = NOTHING
    lines[_are_objects(clips) & ~_equal(clips["version"], spare["version"], lines)] = NOTHING
    lines[~changes.computed] = NOTHING
    return lines


def num_found(clips: pa.Table, among: pa.Table) -> int:
    """Returns how many of some clips another table has."""
    return int(pc.sum(pc.is_in(_keys(clips), value_set=_keys(among))).as_py() or 0)


def _keys(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["path"], pc.cast(table["start"], pa.string()), "\0")


def _places(keys: pa.ChunkedArray, among: pa.ChunkedArray) -> NDArray[np.int64]:
    """Returns where each key stands first among others, `NOTHING` where it does not."""
    return np.asarray(pc.index_in(keys, value_set=among).fill_null(NOTHING), np.int64)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].fill_null(NOTHING), np.int64)


def _taken(values: NDArray[Any], lines: NDArray[np.int64]) -> NDArray[Any]:
    """Returns the values of lines, any value for `NOTHING`."""
    return values[lines] if len(values) else np.zeros(len(lines), values.dtype)


def _equal(column: pa.ChunkedArray, cached: pa.ChunkedArray, lines: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns where a column has the value that a line of the cache has; false for `NOTHING`."""
    taken = cached.take(pa.array(lines, mask=lines == NOTHING))
    return np.asarray(pc.equal(column, taken).fill_null(False), np.bool_)


def _are_objects(clips: pa.Table) -> NDArray[np.bool_]:
    """Returns which clips are of objects of a store: these are known by their versions, and have no times."""
    return np.asarray(clips["version"].is_valid(), np.bool_)


def _hashes_by_version(clips: pa.Table, cache: pa.Table, asked: NDArray[np.bool_]) -> dict[str, str]:
    """Returns the hashes of the asked objects whose content the cache knows, under whatever name, by their paths."""
    if not asked.any() or cache["version"].null_count == len(cache):
        return {}
    names = ("size", "version", "content_hash")
    known = {(size, version): content_hash
             for size, version, content_hash in zip(*(cache[name].to_pylist() for name in names), strict=True)
             if version is not None and _CONTENT_ETAG.fullmatch(version)}  # fmt: skip
    paths, *state = (clips[name].filter(pa.array(asked)).to_pylist() for name in ("path", "size", "version"))
    found = ((path, known.get(one)) for path, one in zip(paths, zip(*state, strict=True), strict=True))
    return {path: content_hash for path, content_hash in found if content_hash is not None}


def _hash(clips: pa.Table, asked: NDArray[np.bool_], root: str, hashes: dict[str, str]) -> None:
    paths = dict.fromkeys(clips["path"].filter(pa.array(asked)).to_pylist())
    hashes.update(hash_files(root, [path for path in paths if path not in hashes]))


def _equal_contents(
    clips: pa.Table,
    cache: pa.Table,
    asked: NDArray[np.bool_],
    same: NDArray[np.int64],
    hashes: dict[str, str],
) -> NDArray[np.bool_]:
    """Returns which of the asked clips have by their hashes the content that the cache knows under their key."""
    equal = np.zeros(len(clips), bool)
    chosen = np.flatnonzero(asked)
    paths = clips["path"].take(pa.array(chosen)).to_pylist()
    expected = cache["content_hash"].take(pa.array(same[chosen])).to_pylist()
    equal[chosen] = [known is not None and hashes.get(path) == known
                     for path, known in zip(paths, expected, strict=True)]  # fmt: skip
    return equal


def _moved(
    clips: pa.Table, cache: pa.Table, asked: NDArray[np.bool_], free: NDArray[np.bool_], hashes: dict[str, str]
) -> NDArray[np.int64]:
    """Returns for each asked clip a free row of the same content, part and kind of file, its own while they last."""

    def traits(table: pa.Table, lines: NDArray[np.bool_], contents: list[str | None]) -> list[_Traits]:
        columns = (table[name].filter(pa.array(lines)).to_pylist() for name in ("path", "start", "duration"))
        # Decoders may go by the ending of the name.
        return [(content, start, duration, os.path.splitext(unescape_path(path))[1].lower())
                for content, path, start, duration in zip(contents, *columns, strict=True)]  # fmt: skip

    rows: dict[_Traits, list[int]] = {}
    lost = traits(cache, free, cache["content_hash"].filter(pa.array(free)).to_pylist())
    for line, trait in zip(np.flatnonzero(free).tolist(), lost, strict=True):
        rows.setdefault(trait, []).append(line)
    paths, starts = (clips[name].filter(pa.array(asked)).to_pylist() for name in ("path", "start"))
    asked_traits = traits(clips, asked, [hashes.get(path) for path in paths])
    found = np.full(len(paths), NOTHING)
    # In the order of paths and starts, as sources list them, whatever the order of the table.
    for place in sorted(range(len(paths)), key=lambda place: (paths[place], starts[place])):
        trait = asked_traits[place]
        lines = rows.get(trait, [])
        if trait[0] is not None and lines:
            found[place] = lines.pop(0) if len(lines) > 1 else lines[0]
    return found


def _refused(
    clips: pa.Table, cache: pa.Table, known: NDArray[np.int64], rows: NDArray[np.bool_], evidence: Evidence
) -> NDArray[np.bool_]:
    """Returns which clips are known rejects that would be rejects again."""
    refused = np.asarray((known != NOTHING) & ~_taken(rows, known), np.bool_)
    asked = np.flatnonzero(refused)
    reasons = cache["reason"].take(pa.array(known[asked])).to_pylist()
    for number, reason in zip(asked.tolist(), reasons, strict=True):
        if reason in DECODER_DEPENDENT:
            refused[number] = not evidence.other_decoder
        elif reason == Reason.PERMISSION and clips["version"][number].as_py() is None:
            refused[number] = not os.access(clip_file(evidence.root, clips["path"][number].as_py()), os.R_OK)
        elif reason in RETRYABLE:
            refused[number] = False
    return refused


def _content_hashes(
    clips: pa.Table, cache: pa.Table, known: NDArray[np.int64], hashes: dict[str, str]
) -> pa.ChunkedArray:
    """Returns the hash of each file's content where it is known."""
    stated = cache["content_hash"].take(pa.array(known, mask=known == NOTHING))
    if not hashes:
        return stated
    hashed = pa.array([hashes.get(path) for path in clips["path"].to_pylist()], pa.string())
    return pc.coalesce(stated, hashed)
