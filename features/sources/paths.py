"""Paths of recordings: relative to a root, as text that every table can hold."""

import os
import re

import pyarrow as pa
import pyarrow.compute as pc

from features.io.csv_text import FORMULA_STARTS
from features.io.filesystem import is_uri, join, without_slash


def escape_path(path: bytes) -> str:
    r"""Writes a path as text that every table can hold: UTF-8 as it is, other bytes as `\xNN`, backslashes doubled."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def escape_paths(paths: pa.Array) -> pa.Array:
    """Returns `escape_path` of each path: a string array of a binary one."""
    try:
        texts = paths.cast(pa.string())
    except pa.ArrowInvalid:  # some bytes are not UTF-8
        texts = None
    if texts is None or pc.any(pc.match_substring(texts, "\\")).as_py():
        return pa.array(map(escape_path, paths.to_pylist()), pa.string())
    return texts


def unescape_path(text: str) -> bytes:
    """Returns the bytes of a path that `escape_path` wrote."""
    return _unescaped(text.encode()) if "\\" in text else text.encode()


def escaped_path(written: bytes) -> bytes | None:
    """Returns the path that `escape_path` has written so; None where it writes none so, or leaves it as it is."""
    path = _unescaped(written) if b"\\" in written else written
    return path if path != written and escape_path(path).encode() == written else None


def _unescaped(path: bytes) -> bytes:
    def byte(match: re.Match[bytes]) -> bytes:
        return b"\\" if match[0] == b"\\\\" else bytes([int(match[0][2:], 16)])

    return re.sub(rb"\\\\|\\x[0-9a-f]{2}", byte, path)


def csv_path(text: str) -> str:
    """Returns an escaped path as CSV files hold it: no spreadsheet shall take it for a formula."""
    return f"./{text}" if text.startswith(FORMULA_STARTS) else text


def clip_file(root: str, path: str) -> str:
    """Returns the place at which a clip is opened, as `os.fsdecode` gives it: a path, or the URI of an object."""
    if path.isascii() and "\\" not in path and ":" not in path:  # written as it is, and no URI
        return path if path.startswith("/") else join(root, path)
    return place_of(os.fsencode(root), unescape_path(path))


def place_of(root: bytes, path: bytes) -> str:
    """Returns the place of a file by its path relative to a root, or its absolute one."""
    name = os.fsdecode(path)
    return name if is_absolute(name) else join(os.fsdecode(root), name)


def is_absolute(name: str) -> bool:
    """Returns whether a place is not relative to a root: a path from `/` on, or a URI."""
    return name.startswith("/") or is_uri(name)


def absolute_path(path: str) -> str:
    """Returns the absolute path of the file that the system opens by a path, without the parts `.` and `..`.

    A URI stays as it is, but for the `/` at its end.
    """
    if is_uri(path):
        return without_slash(path)
    found = below(b"/", os.fsencode(os.path.join(os.getcwd(), path)))
    return os.path.normpath("/" + os.fsdecode(found))


def below(root: bytes, path: bytes) -> bytes:
    """Returns a path relative to a root, without the parts `.` and `..` as far as that names the same file.

    A `..` behind a link leads to the parent of the folder that the link leads to, as the system follows it.

    Args:
        root: absolute path, or a URI.
        path: absolute, or relative to the root. A URI that does not lie below the root stays as it is.
    """
    if is_uri(os.fsdecode(root)) or is_uri(os.fsdecode(path)):
        return os.fsencode(_below_uri(os.fsdecode(root), os.fsdecode(path)))
    if not (path.startswith((b"/", b".")) or path.endswith(b"/") or b"/." in path or b"//" in path):
        return path or b"."
    is_absolute = path.startswith(b"/")
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b".." or (not is_absolute and parts[-1:] in ([], [b".."])):
            parts.append(part)
            continue
        folder = os.path.join(b"/" if is_absolute else root, *parts)
        if os.path.islink(folder):
            is_absolute, parts = True, os.path.realpath(os.path.join(folder, b"..")).split(b"/")[1:]
        else:
            parts = parts[:-1]
    if not is_absolute:
        return b"/".join(parts) or b"."
    found = b"/" + b"/".join(parts)
    if os.path.commonpath([root, found]) != root and os.path.realpath(root) != root:
        # From the root upwards the system goes by the folder that a link leads to.
        folder, name = os.path.split(found)
        return os.path.relpath(os.path.join(os.path.realpath(folder), name), os.path.realpath(root))
    return os.path.relpath(found, root)


def _below_uri(root: str, path: str) -> str:
    """Returns `below` where the root or the path is a URI."""
    if path.startswith("/"):
        return absolute_path(path)
    if not is_uri(path):
        path = _without_dots(join(root, path))
    relative = path.removeprefix(f"{root}/")
    return relative if relative and not is_absolute(relative) else path


def _without_dots(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    bucket, *parts = rest.split("/")
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    return f"{scheme}://{'/'.join([bucket, *kept])}"
