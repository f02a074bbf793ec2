"""Lists the clips of a source: a folder with a folder per class, a folder without labels, or one file."""

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
_FORMULA_STARTS = ("=", "+", "-", "@")


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
        partition: `training`, `validation` or `testing`; None when scoring.
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
        kind: `folder` or `file`.
        root: absolute path that clip paths are relative to.
        clips: table of path, start, duration, size, mtime_ns, label in the order of the paths' bytes.
        left_out: how many files were passed over, by why.
        rejects: files that were seen and cannot be used.
    """

    kind: str
    root: str
    clips: pa.Table
    left_out: dict[str, int]
    rejects: list[Reject]


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
    return f"./{text}" if text.startswith(_FORMULA_STARTS) else text


def clip_file(root: str, path: str) -> str:
    """Returns the path under which a clip is opened, as `os.fsdecode` gives it."""
    return os.path.join(root, os.fsdecode(unescape_path(path)))


def scan(input_path: str, labelled: bool) -> Source:
    """Lists the audio below a folder, or the one file.

    Args:
        input_path: folder or file.
        labelled: whether the first folder under the root is the label of what lies below it.

    Returns:
        The clips and what was left out.

    Raises:
        UsageError: there is no such path, no audio in it, or no class folder where labels are asked for.
    """
    root = os.path.abspath(input_path)
    if not os.path.exists(root):
        raise UsageError(f"no such file or folder: {input_path}")
    kind = "folder" if os.path.isdir(root) else "file"
    if kind == "file":
        if labelled:
            raise UsageError(f"{input_path} is one file without a label; give a folder with one folder per class")
        if not _is_audio(os.fsencode(root)):
            raise UsageError(f"{input_path} is no audio: its name ends in none of {' '.join(sorted(AUDIO_EXTENSIONS))}")
        found = _Found([os.fsencode(os.path.basename(root))], [os.stat(root)])
        root = os.path.dirname(root)
    else:
        found = _walk(os.fsencode(root))
    if not found.paths:
        left = ", ".join(f"{count} {why}" for why, count in sorted(found.left_out.items()))
        raise UsageError(f"no audio in {input_path}" + (f" (left out: {left})" if left else ""))
    return _source(kind, root, found, input_path, labelled)


def _source(kind: str, root: str, found: _Found, input_path: str, labelled: bool) -> Source:
    order = sorted(range(len(found.paths)), key=found.paths.__getitem__)
    labels: list[str | None] = []
    kept = []
    for index in order:
        first, slash, _ = found.paths[index].partition(b"/")
        if labelled and not slash:
            message = "it lies directly in the source folder; the label is the name of the first folder below that"
            found.rejects.append(Reject(escape_path(found.paths[index]), "scan", Reason.BAD_LABEL, message))
            continue
        kept.append(index)
        labels.append(escape_path(first) if labelled else None)
    if labelled and not kept:
        raise UsageError(
            f"no class folder in {input_path}: its {len(order)} audio files lie directly in it; "
            "put each into a folder named after its class"
        )
    for label in {label for label in labels if label is not None}:
        if label.startswith(_FORMULA_STARTS):
            raise UsageError(f"a label begins with none of {' '.join(_FORMULA_STARTS)}, which spreadsheets take for "
                             f"formulas, but a class folder in {input_path} is named {label!r}; rename it")  # fmt: skip
    clips = pa.table(
        {
            "path": pa.array([escape_path(found.paths[i]) for i in kept], pa.string()),
            "start": pa.array([0] * len(kept), pa.int64()),
            "duration": pa.nulls(len(kept), pa.int64()),
            "size": pa.array([found.stats[i].st_size for i in kept], pa.int64()),
            "mtime_ns": pa.array([found.stats[i].st_mtime_ns for i in kept], pa.int64()),
            "label": pa.array(labels, pa.string()),
        }
    )
    return Source(kind, root, clips, dict(sorted(found.left_out.items())), found.rejects)


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
