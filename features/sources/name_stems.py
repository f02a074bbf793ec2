"""Whether parts of one recording, as their names say, are trained on and tested on: by numbers, whatever the names."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.io.take import take_rows

# A name without the number at its end, as that of a part of a recording; paths without one are their own stem.
STEM = r"^(.+?)(?:[-_ .][0-9]{1,5})?(?:\.[^./]*)?$"
_NUMBERED = r"[-_ .][0-9]{1,5}(\.[^./]*)?$"
# What a stem leaves away: to take it off takes a fifth of the time that it takes to get at the stem.
_BEHIND_STEM = r"(?:[-_ .][0-9]{1,5})?(?:\.[^./]*)?$"
_DATE = r"(^|[^0-9])(19|20)[0-9]{2}[-_.]?[0-9]{2}([-_.]?[0-9]{2})?$"
_STEMS_PER_CLASS = 2
_PART_CLIPS = 16_384
_NONE = np.iinfo(np.int32).max
# Of each place in a text, odd: texts that differ have, but for one in 2**40, another sum of factors times characters.
_FACTORS = np.random.default_rng(20).integers(0, 2**63, 4_096, np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True)
class _Stems:
    """The stems of some files, in any order.

    Attributes:
        rows: of the table of clips, sorted by stem: (clips,).
        firsts: where each stem begins in `rows`: (stems,).
        files: number of files of each: (stems,).
        is_spread: whether its files are in several partitions: (stems,).
        labels: number of the least of its labels, `_NONE` where it has none: (stems,).
    """

    rows: NDArray[np.int64]
    firsts: NDArray[np.int64]
    files: NDArray[np.int64]
    is_spread: NDArray[np.bool_]
    labels: NDArray[np.int32]


def spread_stems(clips: pa.Table) -> list[str]:
    """Returns a hint where files whose names share a stem, as parts of one recording do, are in several partitions.

    None where stems are rather the names of classes or dates, or one of them has most of the files.

    Args:
        clips: with the columns path, label, group and partition; those whose group is not their path are left out.
    """
    if not any(pc.any(pc.match_substring_regex(part["path"], _NUMBERED)).as_py() for _, part in _own(clips)):
        return []
    if any(pc.any(pc.match_substring(part["path"], "\n")).as_py() for _, part in _own(clips)):
        return []  # names of two lines
    found = _stems(clips)
    shared = np.flatnonzero(found.files > 1)
    names = np.flatnonzero(~_are_dates(clips, found.rows[found.firsts[shared]]))
    shared = shared[names]
    spread = shared[found.is_spread[shared]]
    classes = np.unique(found.labels[shared])
    if not len(spread) or len(shared) < _STEMS_PER_CLASS * int((classes != _NONE).sum()):
        return []
    if 2 * found.files[shared].max() > found.files.sum():
        return []
    number = spread[_least(clips, found.rows[found.firsts[spread]])]
    last = found.firsts[number + 1] if number + 1 < len(found.firsts) else len(found.rows)
    rows = take_rows(clips.select(["path", "partition"]), np.sort(found.rows[found.firsts[number] : last])).to_pylist()
    paths: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["path"]):
        paths.setdefault(row["partition"], row["path"])
    shown = " and ".join(f"{path} ({partition})" for partition, path in paths.items())
    return [f"names that share a stem are in more than one partition ({len(spread):,} such stems): {shown}; where they "
            f"are parts of one recording, --group {shlex.quote(STEM)} keeps them together"]  # fmt: skip


def _own(clips: pa.Table) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """Yields the clips whose group is their path, some at a time, with their rows in the table."""
    columns = clips.select(["path", "label", "group", "partition"])
    for first in range(0, len(columns), _PART_CLIPS):
        part = columns.slice(first, _PART_CLIPS).combine_chunks()
        is_own = pc.fill_null(pc.equal(part["path"], part["group"]), False)
        yield first + np.flatnonzero(is_own), part.filter(is_own).combine_chunks()


def _stems(clips: pa.Table) -> _Stems:
    """Returns the stems of those clips whose group is their path."""
    rows, stems, files = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    partitions, labels = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    known_partitions, known_labels = dict[str, int](), dict[str, int]()
    for own, part in _own(clips):
        rows.append(own)
        number_of_stem, number = _numbers_of(part["path"], pc.binary_length(_stem_texts(part["path"])))
        stems.append(number_of_stem)
        files.append(number)
        partitions.append(_codes(part["partition"], known_partitions))
        labels.append(_codes(part["label"], known_labels))
    key, file, label = np.concatenate(stems), np.concatenate(files), np.concatenate(labels)
    del stems, files, labels
    order = np.lexsort((file, key))
    key, file = key[order], file[order]
    is_first = np.append(True, key[1:] != key[:-1])[: len(key)]
    is_new_file = is_first | np.append(True, file[1:] != file[:-1])[: len(file)]
    firsts = np.flatnonzero(is_first)
    del key, file, is_first
    partition = np.concatenate(partitions)[order]
    least = np.minimum.reduceat(np.where(partition < 0, _NONE, partition), firsts)
    is_spread = np.maximum.reduceat(partition, firsts) > least
    # Labels by their order as texts, so that the least number is the least text.
    texts = sorted(known_labels)
    ranks = np.empty(len(texts) + 1, np.int32)
    for rank, text in enumerate(texts):
        ranks[known_labels[text]] = rank
    ranks[-1] = _NONE
    return _Stems(np.concatenate(rows)[order], firsts, np.add.reduceat(is_new_file, firsts, dtype=np.int64),
                  is_spread, np.minimum.reduceat(ranks[label][order], firsts))  # fmt: skip


def _codes(column: pa.ChunkedArray, known: dict[str, int]) -> NDArray[np.int32]:
    """Returns the number of each text, -1 for null; what is not known yet gets the next one."""
    texts = column.combine_chunks()
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    numbers = [known.setdefault(text, len(known)) for text in texts.dictionary.to_pylist()]
    return np.take(np.array([*numbers, -1], np.int32), np.asarray(texts.indices.fill_null(len(numbers))))


def _stem_texts(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns the stems of paths that have no end of line."""
    stems = pc.replace_substring_regex(paths, _BEHIND_STEM, "", max_replacements=1)
    is_empty = pc.equal(stems, "")
    if pc.any(is_empty).as_py():  # a stem has a character at least
        whole = [re.match(STEM, path)[1] for path in paths.filter(is_empty).to_pylist()]  # type: ignore[index]
        stems = pc.replace_with_mask(stems.combine_chunks(), is_empty.combine_chunks(), pa.array(whole, pa.string()))
        return pa.chunked_array([stems])
    return stems


def _numbers_of(paths: pa.ChunkedArray, lengths: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Returns numbers of the first so many bytes of paths and of whole paths, which texts seldom have in common."""
    beginnings, wholes, at = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], 0
    taken = np.asarray(lengths)
    for chunk in paths.chunks:
        offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        characters = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
        first = offsets[:-1] - offsets[0]
        places = np.arange(len(characters)) - np.repeat(first, np.diff(offsets))
        sums = np.zeros(len(characters) + 1, np.uint64)
        products = _FACTORS[places % len(_FACTORS)] * (characters + np.uint64(1))
        np.cumsum(products, out=sums[1:])
        beginnings.append(sums[first + taken[at : at + len(chunk)]] - sums[first])
        wholes.append(sums[offsets[1:] - offsets[0]] - sums[first])
        at += len(chunk)
    return np.concatenate(beginnings), np.concatenate(wholes)


def _least(clips: pa.Table, rows: NDArray[np.int64]) -> int:
    """Returns where of some rows the one with the least stem stands."""
    least = [
        (text := pc.min(part).as_py(), first + pc.index(part, text).as_py()) for first, part in _texts(clips, rows)
    ]
    return int(min(least)[1])


def _texts(clips: pa.Table, rows: NDArray[np.int64]) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """Yields the stems of rows, some at a time, with the place of the first."""
    paths = clips.select(["path"])
    for first in range(0, len(rows), _PART_CLIPS):
        yield first, _stem_texts(take_rows(paths, rows[first : first + _PART_CLIPS])["path"])


def _are_dates(clips: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns whether the stem of each row ends with a date."""
    found = [pc.match_substring_regex(part, _DATE).combine_chunks().to_numpy(zero_copy_only=False)
             for _, part in _texts(clips, rows)]  # fmt: skip
    return np.concatenate([np.empty(0, np.bool_), *found])
