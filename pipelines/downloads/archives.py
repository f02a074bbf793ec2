"""Public archives of recordings: where each lies, what its content is checked by, and how it is unpacked safely."""

import gzip
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast
from urllib.parse import urlsplit

from features.errors import RunError
from features.io.atomic import atomic_folder
from features.runtime.progress import Progress

MB = 1_000_000
_BLOCK_BYTES = 4096  # what even an empty file takes on a disk, near enough
_FILE, _FOLDER, _OTHER = "file", "folder", "link or device"
_MACOS_FOLDER, _MACOS_FILE, _MACOS_PREFIX = "__MACOSX", ".DS_Store", "._"
# A compression that zipfile does not know, or a password, is a RuntimeError.
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class Archive:
    """A public archive of recordings.

    Attributes:
        name: what the command calls it.
        url: where it lies; the last part of its path is the file's name, which ends in .zip or .tar.gz.
        bytes: size of the archive.
        sha256: digest of the archive, 64 hexadecimal digits.
        folder: name of the folder that it is unpacked into.
        unpacked_bytes: room that its files take on a disk, as an estimate.
        top: the one folder within the archive that holds everything; empty where there is none.
        options: what the next command takes besides its input and output.
    """

    name: str
    url: str
    bytes: int
    sha256: str
    folder: str
    unpacked_bytes: int
    top: str = ""
    options: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` for what cannot be an archive."""
        url = urlsplit(self.url)
        for rule, holds in {
            "url is http or https and names a host": url.scheme in ("http", "https") and bool(url.hostname),
            "url ends in .zip or .tar.gz": self.file_name.endswith((".zip", ".tar.gz")),
            "bytes and unpacked_bytes are positive": self.bytes > 0 and self.unpacked_bytes > 0,
            "sha256 is 64 small hexadecimal digits": re.fullmatch("[0-9a-f]{64}", self.sha256),
            "name and folder are plain names": all(
                re.fullmatch(r"\w[\w.-]*", name) for name in (self.name, self.folder)
            ),
        }.items():
            if not holds:
                raise ValueError(f"of an archive, {rule}; not so {self}")

    @property
    def host(self) -> str:
        """Name of the server."""
        return urlsplit(self.url).hostname or ""

    @property
    def file_name(self) -> str:
        """Name of the archive's file."""
        return urlsplit(self.url).path.rpartition("/")[2]


# Clips of a second at 16 kHz take 32,044 bytes each, 32,768 on a disk: 8,000 of them, and 105,829 with six of noise.
ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive(
            name="mini-speech-commands",
            url="https://storage.googleapis.com/download.tensorflow.org/data/mini_speech_commands.zip",
            bytes=182_082_353,
            sha256="49650f2341b26d886b46b3f4fb8fed59e30300b17550f1ee4a768b3106cf93a0",
            folder="mini_speech_commands",
            unpacked_bytes=265_000_000,
            top="mini_speech_commands",
            # Accuracies on it are published for a random split by clip.
            options="--group path --split 80/10/10",
        ),
        Archive(
            name="speech-commands-v2",
            url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            bytes=2_428_923_189,
            sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            folder="speech_commands_v0.02",
            unpacked_bytes=3_500_000_000,
        ),
    )
}


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes]]


class _RefusedError(Exception):
    """The archive holds what is never unpacked."""


def unpack(archive: Archive, path: Path, final: Path) -> int:
    """Unpacks an archive that was verified into a folder that appears when it is complete.

    Only files and folders are unpacked, under names that stay within the folder; the first entry that is anything
    else ends it, and nothing is left. What the entries declare, each in whole blocks of 4,096 bytes, may come to
    twice `unpacked_bytes` and to what is free on the disk when it begins, whichever is less. Files that
    macOS adds (`__MACOSX`, `.DS_Store`, `._*`) are left out.

    Args:
        archive: describes it.
        path: its file.
        final: folder to make, in place of an empty one.

    Returns:
        The number of files unpacked.

    Raises:
        RunError: the archive is damaged, or holds what is refused.
    """
    files = declared = 0
    limit = min(2 * archive.unpacked_bytes, shutil.disk_usage(final.parent).free)
    progress = Progress("unpack", path.stat().st_size // MB, "MB")
    entries = _zip_entries if archive.file_name.endswith(".zip") else _tar_entries
    try:
        with open(path, "rb") as file, atomic_folder(final) as folder:
            for entry in entries(file):
                declared += max(1, -(-entry.size // _BLOCK_BYTES)) * _BLOCK_BYTES
                if declared > limit:
                    raise _RefusedError(
                        f"with {entry.name!r} its files come to {declared:,} bytes, more than the {limit:,} that are "
                        "allowed, twice what it is known to hold or what is free on the disk"
                    )
                target = _target(entry, archive.top)
                if target is not None:
                    files += _write(entry, folder / target)
                progress.update(file.tell() // MB)
            if not files:
                raise _RefusedError("it holds no file")
    except _RefusedError as error:
        raise RunError(f"{path} is refused and nothing was unpacked: {error}") from error
    except _BROKEN as error:
        raise RunError(f"{path} cannot be unpacked: {error}; unpack it by hand into {final}") from error
    finally:
        progress.close()
    return files


def _zip_entries(file: BinaryIO) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            # Archives made elsewhere than on Unix have no type here.
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
            kind = _OTHER if not plain else _FOLDER if info.is_dir() else _FILE
            yield _Entry(info.filename, kind, info.file_size, partial(archive.open, info))


def _tar_entries(file: BinaryIO) -> Iterator[_Entry]:
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        for info in archive:
            kind = _FILE if info.isreg() else _FOLDER if info.isdir() else _OTHER
            yield _Entry(info.name, kind, info.size, partial(_open_member, archive, info))


def _open_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], archive.extractfile(info))  # never None, as only files are opened


def _target(entry: _Entry, top: str) -> PurePosixPath | None:
    """Returns where an entry goes within the folder, None where nothing is to be made."""
    parts = PurePosixPath(entry.name).parts
    if re.match(r"/|[A-Za-z]:", entry.name) or ".." in parts or "\\" in entry.name or "\0" in entry.name:
        raise _RefusedError(f"the name {entry.name!r} may lead out of its folder")
    if entry.kind == _OTHER:
        raise _RefusedError(f"{entry.name!r} is a {_OTHER}, and only files and folders are unpacked")
    if not parts or _MACOS_FOLDER in parts or parts[-1] == _MACOS_FILE or parts[-1].startswith(_MACOS_PREFIX):
        return None
    if top:
        if parts[0] != top or (len(parts) == 1 and entry.kind == _FILE):
            raise _RefusedError(f"{entry.name!r} lies beside its one folder {top}/")
        parts = parts[1:]
    return PurePosixPath(*parts) if parts else None


def _write(entry: _Entry, target: Path) -> int:
    """Makes a file or folder; returns how many files."""
    try:
        if entry.kind == _FOLDER:
            target.mkdir(parents=True, exist_ok=True)
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as source, open(target, "xb") as output:
            shutil.copyfileobj(source, output)
            if output.tell() != entry.size:
                raise _RefusedError(f"{entry.name!r} has {output.tell():,} bytes, where {entry.size:,} are declared")
    except (FileExistsError, NotADirectoryError) as error:
        raise _RefusedError(f"it holds {entry.name!r} twice") from error
    return 1
