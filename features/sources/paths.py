"""Paths of recordings as text that every table can hold, and which names are audio."""

import os
import re

import pyarrow as pa
import pyarrow.compute as pc

# What soundfile reads, and what an ffmpeg does: where there is none, that becomes a reject with a reason.
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".wave", ".bwf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".sf", ".sph", ".voc"}
    | {".m4a", ".m4b", ".mp4", ".aac", ".3gp", ".amr", ".wma", ".webm", ".weba", ".mka", ".wv", ".ape", ".tta", ".ac3"}
)
BACKGROUND_FOLDER = "_background_noise_"
FORMULA_STARTS = ("=", "+", "-", "@")


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
    if "\\" not in text:
        return text.encode()

    def byte(match: re.Match[bytes]) -> bytes:
        return b"\\" if match[0] == b"\\\\" else bytes([int(match[0][2:], 16)])

    return re.sub(rb"\\\\|\\x[0-9a-f]{2}", byte, text.encode())


def csv_path(text: str) -> str:
    """Returns an escaped path as CSV files hold it: no spreadsheet shall take it for a formula."""
    return f"./{text}" if text.startswith(FORMULA_STARTS) else text


def clip_file(root: str, path: str) -> str:
    """Returns the path under which a clip is opened, as `os.fsdecode` gives it."""
    return os.path.join(root, os.fsdecode(unescape_path(path)))
