"""Groups: clips that belong together, as those of one speaker, and share a partition."""

import functools
import hashlib
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError
from features.io.filesystem import is_uri
from features.io.local_copy import local_copy
from features.io.parallel import map_ahead
from features.sources.clips import in_parts
from features.sources.paths import clip_file

_SPEAKER_MARK = "_nohash_"


def groups_of(paths: pa.ChunkedArray, rule: str | None, root: str) -> pa.ChunkedArray:
    """Returns the group of each path; the paths themselves where each is a group of its own.

    Args:
        paths: as `features.sources.paths.escape_path` writes them.
        rule: None for the speaker before `_nohash_` where names have it, else the path; `path`; `content` for the
            hash of the file's content; or a regular expression, whose first group (or whole match) counts.
        root: where paths begin.

    Raises:
        UsageError: the regular expression is not one, or finds nothing in a path.
    """
    if rule is None:
        named = pc.any(pc.match_substring(paths, _SPEAKER_MARK)).as_py()
        return in_parts(paths, _speakers) if named else paths
    if rule == "path":
        return paths
    if rule == "content":  # a file may have many clips
        files = list(dict.fromkeys(paths.to_pylist()))
        take = functools.partial(_content_group, root)
        hashes = map_ahead(take, files) if is_uri(root) else map(take, files)
        find: Callable[[str], str] = dict(zip(files, hashes, strict=True)).__getitem__
    else:
        find = _match_rule(rule)
    return in_parts(paths, lambda part: pa.array(map(find, part.to_pylist()), pa.string()))


def _speakers(paths: pa.Array) -> pa.Array:
    below_root = pc.binary_join_element_wise("", paths, "/")
    names = pc.list_element(pc.split_pattern(below_root, "/", max_splits=1, reverse=True), 1)
    parts = pc.split_pattern(names, _SPEAKER_MARK, max_splits=1)
    return pc.if_else(pc.equal(pc.list_value_length(parts), 2), pc.list_element(parts, 0), paths)


def _match_rule(rule: str) -> Callable[[str], str]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UsageError(
            f"--group is path, content or a regular expression, and {rule!r} is not one: {error}"
        ) from error

    def match(path: str) -> str:
        hit = pattern.search(path)
        group = hit and (hit[1] if pattern.groups else hit[0])
        if not group:
            raise UsageError(f"--group {rule!r} finds a group in every path, but not in {path}")
        return group

    return match


def _content_group(root: str, path: str) -> str:
    try:
        with local_copy(clip_file(root, path)) as copied, open(copied, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return path  # it cannot be read: its reject follows when it is decoded
