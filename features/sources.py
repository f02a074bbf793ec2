"""Lists the clips of a folder (labels from its folders, from its names, or none) or of one file."""

import collections
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from features.errors import Reason, Reject, UsageError

# What soundfile reads, and what it refuses and is audio all the same: that becomes a reject with a reason.
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".sf", ".m4a", ".aac", ".wma"}
)
BACKGROUND_FOLDER = "_background_noise_"
FORMULA_STARTS = ("=", "+", "-", "@")
_PATTERN_GROUPS = {"label", "group", "partition"}


@dataclass(frozen=True)
class Clip:
    """One clip of a source.

    Attributes:
        path: relative to the root, as `escape_path` writes it.
        start: first frame within the file, at the file's own rate.
        duration: frames, None for all that follow.
        size: bytes of the file when it was listed.
        mtime_ns: its modification time then, in nanoseconds.
        content_hash: hash of its content where the planner took it, else None.
        label: name of its class, None when scoring.
        group: clips of one group (a speaker, a recording) share a partition; None when scoring.
        partition: `training`, `validation`, `testing` or a fold such as `fold-1`; None when scoring.
    """

    path: str
    start: int = 0
    duration: int | None = None
    size: int = 0
    mtime_ns: int = 0
    content_hash: str | None = None
    label: str | None = None
    group: str | None = None
    partition: str | None = None


@dataclass
class Source:
    """What a scan found.

    Attributes:
        kind: `folder`, `file` or `table`.
        root: absolute path that clip paths are relative to.
        clips: what `clip_table` makes, in the order of the paths' bytes, then of the starts.
        left_out: how many files were passed over, by why.
        rejects: files that were seen and cannot be used.
        table: absolute path of the table.
        pattern: what found the labels in the paths.
        columns: the table's columns that were used, by what was read from them.
        notes: what there is to say about the source.
    """

    kind: str
    root: str
    clips: pa.Table
    left_out: dict[str, int]
    rejects: list[Reject]
    table: str | None = None
    pattern: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def described(self) -> dict[str, str]:
        """What the manifest says of the source."""
        parts = {"kind": self.kind, "root": self.root, "table": self.table, "pattern": self.pattern}
        return {name: value for name, value in parts.items() if value is not None}


@dataclass
class _Found:
    paths: list[bytes] = field(default_factory=list)
    stats: list[os.stat_result] = field(default_factory=list)
    left_out: collections.Counter[str] = field(default_factory=collections.Counter)
    rejects: list[Reject] = field(default_factory=list)


def escape_path(path: bytes) -> str:
    r"""Writes a path as text that every table can hold: UTF-8 as it is, other bytes as `\xNN`, backslashes doubled."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def unescape_path(text: str) -> bytes:
    """Returns the bytes of a path that `escape_path` wrote."""

    def byte(match: re.Match[bytes]) -> bytes:
        return b"\\" if match[0] == b"\\\\" else bytes([int(match[0][2:], 16)])

    return re.sub(rb"\\\\|\\x[0-9a-f]{2}", byte, text.encode())


def csv_path(text: str) -> str:
    """Returns an escaped path as CSV files hold it: no spreadsheet shall take it for a formula."""
    return f"./{text}" if text.startswith(FORMULA_STARTS) else text


def clip_file(root: str, path: str) -> str:
    """Returns the path under which a clip is opened, as `os.fsdecode` gives it."""
    return os.path.join(root, os.fsdecode(unescape_path(path)))


def clip_table(paths: list[str], stats: list[os.stat_result], **columns: list[Any]) -> pa.Table:
    """Returns the table of clips.

    Args:
        paths: as `escape_path` writes them.
        stats: of each file.
        columns: start and duration (whole files without them), label (none without it), group and partition (no such
            columns without them).

    Returns:
        Table of path, start, duration, size, mtime_ns, label, and group and partition where they were given.
    """
    number = len(paths)
    values = {
        "path": paths,
        "start": [0] * number,
        "duration": [None] * number,
        "size": [status.st_size for status in stats],
        "mtime_ns": [status.st_mtime_ns for status in stats],
        "label": [None] * number,
        **columns,
    }
    whole_numbers = ("start", "duration", "size", "mtime_ns")
    return pa.table({name: pa.array(value, pa.int64() if name in whole_numbers else pa.string())
                     for name, value in values.items()})  # fmt: skip


def scan(input_path: str, labelled: bool, pattern: str | None = None) -> Source:
    """Lists the audio below a folder, or the one file.

    Args:
        input_path: folder or file.
        labelled: whether clips have a label: the first folder under the root, or what `pattern` finds.
        pattern: regular expression that is searched in the relative path; its named groups are label and, where it
            has them, group and partition.

    Returns:
        The clips and what was left out.

    Raises:
        UsageError: there is no such path, no audio in it, no label where labels are asked for, or no use in the
            pattern.
    """
    root = os.path.abspath(input_path)
    searched = None if pattern is None else _label_pattern(pattern)
    if not os.path.exists(root):
        raise UsageError(f"no such file or folder: {input_path}")
    kind = "folder" if os.path.isdir(root) else "file"
    if kind == "file":
        if labelled:
            raise UsageError(
                f"{input_path} is one file without a label; give a folder with one folder per class, or a table"
            )
        if not _is_audio(os.fsencode(root)):
            raise UsageError(f"{input_path} is no audio: its name ends in none of {' '.join(sorted(AUDIO_EXTENSIONS))}")
        found = _Found([os.fsencode(os.path.basename(root))], [os.stat(root)])
        root = os.path.dirname(root)
    else:
        found = _walk(os.fsencode(root))
    if not found.paths:
        left = ", ".join(f"{count} {why}" for why, count in sorted(found.left_out.items()))
        raise UsageError(f"no audio in {input_path}" + (f" (left out: {left})" if left else ""))
    clips = _labelled_clips(found, input_path, searched) if labelled else _clips(found)
    return Source(kind, root, clips, dict(sorted(found.left_out.items())), found.rejects, pattern=pattern)


def _label_pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"--label-pattern is a regular expression, and {text!r} is none: {error}") from error
    names = set(pattern.groupindex)
    if "label" not in names or not names <= _PATTERN_GROUPS:
        raise UsageError("--label-pattern has a named group (?P<label>…), and (?P<group>…) and (?P<partition>…) where "
                         f"names tell them, no others; not {text!r}")  # fmt: skip
    return pattern


def _clips(found: _Found) -> pa.Table:
    order = sorted(range(len(found.paths)), key=found.paths.__getitem__)
    return clip_table([escape_path(found.paths[index]) for index in order], [found.stats[index] for index in order])


def _labelled_clips(found: _Found, input_path: str, pattern: re.Pattern[str] | None) -> pa.Table:
    """Makes the table of clips whose path tells a label; the others become rejects."""
    paths: list[str] = []
    stats: list[os.stat_result] = []
    columns: dict[str, list[str | None]] = {name: [] for name in (pattern.groupindex if pattern else ("label",))}
    for index in sorted(range(len(found.paths)), key=found.paths.__getitem__):
        path = escape_path(found.paths[index])
        first, slash, _ = path.partition("/")
        hit = pattern.search(path) if pattern else None
        told = (hit.groupdict() if hit else {}) if pattern else {"label": first if slash else None}
        if not told.get("label"):
            message = (
                "--label-pattern finds no label in it" if pattern else
                "it lies directly in the source folder; the label is the name of the first folder below that"
            )  # fmt: skip
            found.rejects.append(Reject(path, "scan", Reason.BAD_LABEL, message))
            continue
        paths.append(path)
        stats.append(found.stats[index])
        for name, values in columns.items():
            values.append(told[name] or None)
    if not paths and pattern:
        raise UsageError(f"--label-pattern {pattern.pattern!r} finds no label in any of the {len(found.paths)} paths "
                         f"below {input_path}, such as {escape_path(min(found.paths))}")  # fmt: skip
    if not paths:
        raise UsageError(
            f"no class folder in {input_path}: its {len(found.paths)} audio files lie directly in it; "
            "put each into a folder named after its class, or give --label-pattern"
        )
    for label in sorted(set(filter(None, columns["label"]))):
        if label.startswith(FORMULA_STARTS):
            way_out = f"--label-pattern finds {label!r}" if pattern else f"a class folder is named {label!r}; rename it"
            raise UsageError(f"a label begins with none of {' '.join(FORMULA_STARTS)}, which spreadsheets take for "
                             f"formulas, but in {input_path} {way_out}")  # fmt: skip
    return clip_table(paths, stats, **columns)


def _is_audio(name: bytes) -> bool:
    return os.fsdecode(os.path.splitext(name)[1]).lower() in AUDIO_EXTENSIONS


def _walk(root: bytes) -> _Found:
    """Walks real folders first and folders behind links last, each once, so that a loop of links ends."""
    found = _Found()
    seen: set[tuple[int, int]] = set()
    real, linked = [b""], collections.deque[bytes]()
    while real or linked:
        relative = real.pop() if real else linked.popleft()
        folder = os.path.join(root, relative)
        try:
            identity = os.stat(folder)
            if (identity.st_dev, identity.st_ino) in seen:
                found.left_out["folders linked twice"] += 1
                continue
            seen.add((identity.st_dev, identity.st_ino))
            with os.scandir(folder) as entries:
                listing = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            found.rejects.append(_scan_reject(relative, error))
            continue
        for entry in listing:
            path = os.path.join(relative, entry.name)
            if entry.name.startswith(b"."):
                found.left_out["hidden"] += 1
            elif _is_folder(entry):
                if entry.name == os.fsencode(BACKGROUND_FOLDER):
                    found.left_out[f"in {BACKGROUND_FOLDER}"] += sum(len(names) for _, _, names in os.walk(entry.path))
                else:
                    (linked if entry.is_symlink() else real).append(path)
            elif not _is_audio(entry.name):
                found.left_out["not audio"] += 1
            else:
                _add(found, path, entry)
    return found


def _is_folder(entry: os.DirEntry[Any]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself; `_add` meets the same error and says so


def _add(found: _Found, path: bytes, entry: os.DirEntry[Any]) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        found.rejects.append(_scan_reject(path, error))
        return
    if not stat.S_ISREG(status.st_mode):  # a pipe: to open it would be to wait for ever
        found.left_out["not a file"] += 1
        return
    found.paths.append(path)
    found.stats.append(status)


def _scan_reject(path: bytes, error: OSError) -> Reject:
    reason = Reason.PERMISSION if isinstance(error, PermissionError) else Reason.MISSING
    return Reject(escape_path(path) or ".", "scan", reason, error.strerror or str(error))
