"""Fetches a public data set of recordings and unpacks it: python -m pipelines.download."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.errors import RunError, UsageError
from features.io.atomic import PARTIAL_SUFFIX
from features.io.local_copy import check_local
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.log import LOG
from pipelines.downloads.archives import ARCHIVES, MB, Archive, unpack
from pipelines.downloads.transfer import PATIENCE, Patience, fetch

EXAMPLE = "python -m pipelines.download mini-speech-commands --output data/"
_WRONG_SUFFIX = ".wrong"


def download(archive: Archive, output: Path, patience: Patience = PATIENCE) -> dict[str, Any]:
    """Fetches an archive, verifies it and unpacks it into `archive.folder` below `output`.

    Where the folder is there and not empty, it is complete, and nothing is done. An archive that was put by hand into
    `output` under its own name is taken instead of fetching it, and stays. What an interrupted run has fetched is used;
    what was fetched is removed when it is unpacked.

    Args:
        archive: what to fetch.
        output: folder, made where it is missing.
        patience: how long to wait for the server, and how often to try.

    Returns:
        The figures of the run: `folder`, `files` and `fetched_bytes`, both 0 where nothing was to do, and `seconds`.

    Raises:
        UsageError: there is too little room, or the folder cannot be made.
        RunError: the archive cannot be fetched, is not the right one, or cannot be unpacked safely; or another run
            is at work on it.
    """
    started = time.monotonic()
    final = output / archive.folder
    files = fetched = 0
    if not _is_complete(final):
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {output}: {error.strerror}; give another --output") from error
        with _lock(archive, output):
            # Another run may have ended before this one got the lock.
            if not _is_complete(final):
                files, fetched = _fetch_and_unpack(archive, output, patience)
    return {
        "folder": str(final),
        "files": files,
        "fetched_bytes": fetched,
        "seconds": time.monotonic() - started,
    }


def _is_complete(final: Path) -> bool:
    if final.exists() and not final.is_dir():
        raise UsageError(f"{final} is a file where a folder shall be; give another --output, or remove it")
    return final.is_dir() and any(final.iterdir())


@contextlib.contextmanager
def _lock(archive: Archive, output: Path) -> Iterator[None]:
    """Holds the lock of an archive in a folder; the system lets go of the locks of dead processes."""
    with open(output / f".{archive.name}.lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"another run is at work on {archive.name} in {output}; wait for its end, or give another --output"
            ) from error
        yield


def _fetch_and_unpack(archive: Archive, output: Path, patience: Patience) -> tuple[int, int]:
    """Returns the numbers of files unpacked and of bytes fetched."""
    for left in output.glob(f"{archive.folder}.[0-9]*{PARTIAL_SUFFIX}"):
        shutil.rmtree(left)  # of a run that was killed while it unpacked
    by_hand, partial = output / archive.file_name, output / f"{archive.file_name}{PARTIAL_SUFFIX}"
    path = by_hand if by_hand.exists() else partial
    size = path.stat().st_size if path.exists() else 0
    _check_room(archive, output, max(archive.bytes - size, 0))
    fetched = 0
    if path is partial:
        fetched = _fetch(archive, partial, by_hand, patience)
    elif size != archive.bytes:
        raise RunError(
            f"{by_hand} has {size:,} bytes, where {archive.bytes:,} are right; put the whole archive there, or remove "
            "the file to have it fetched"
        )
    _verify(archive, path, output)
    files = unpack(archive, path, output / archive.folder)
    partial.unlink(missing_ok=True)  # what was put there by hand is not this command's to remove
    return files, fetched


def _check_room(archive: Archive, output: Path, missing: int) -> None:
    needed, free = missing + archive.unpacked_bytes, shutil.disk_usage(output).free
    if free < needed:
        raise UsageError(
            f"{archive.name} needs {needed / MB:,.0f} MB in {output}, {missing / MB:,.0f} of them to be fetched and "
            f"{archive.unpacked_bytes / MB:,.0f} unpacked, and {free / MB:,.0f} MB are free; make room, or give "
            "another --output"
        )


def _fetch(archive: Archive, partial: Path, by_hand: Path, patience: Patience) -> int:
    way_out = f"run this again later, or fetch {archive.url} by hand, put it at {by_hand} and run this again"
    partial.touch()
    try:
        with open(partial, "r+b") as file:
            return fetch(archive, file, way_out, patience)
    finally:
        if not partial.stat().st_size:
            partial.unlink()


def _verify(archive: Archive, path: Path, output: Path) -> None:
    LOG.info("verifying the %s MB of %s", f"{archive.bytes / MB:,.0f}", archive.file_name)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != archive.sha256:
        wrong = output / f"{archive.file_name}{_WRONG_SUFFIX}"
        os.replace(path, wrong)
        raise RunError(
            f"{path} is damaged or not {archive.name}: its sha256 is {digest}, and {archive.sha256} is right; it was "
            f"moved to {wrong}, and running this again fetches it anew"
        )


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Fetches a public data set of recordings, verifies it and unpacks it. What was interrupted resumes.", EXAMPLE
    )
    sizes = ", ".join(f"{archive.name} ({archive.bytes / MB:,.0f} MB)" for archive in ARCHIVES.values())
    result.add_argument("name", metavar="NAME", choices=list(ARCHIVES), help=f"the data set: {sizes}")
    result.add_argument("--output", required=True, metavar="DIR", help="where its folder shall be made")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Downloads and prints what came of it."""
    archive = ARCHIVES[options.name]
    check_local("--output", options.output)
    figures = download(archive, Path(options.output))
    folder = figures["folder"]
    if figures["files"]:
        done = (
            f"{figures['files']:,} files of {archive.name} are in {folder} after {figures['seconds']:.1f} s; "
            f"{figures['fetched_bytes'] / MB:,.0f} MB were fetched, and the sha256 is right."
        )
    else:
        done = (
            f"{archive.name} is in {folder} already, and nothing was done; remove the folder to have it fetched anew."
        )
    featurize = command_line(
        "pipelines.featurize", "--input", folder, "--output", "speech-features/", *shlex.split(archive.options)
    )
    command.finish(options, f"{done} Next: {featurize}", {"name": archive.name, **figures})
    return 0


if __name__ == "__main__":
    command.run(main, parser())
