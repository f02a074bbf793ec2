"""Fetches an archive over HTTP, and resumes where an earlier try stopped."""

import contextlib
import http.client
import io
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from features.errors import RunError, one_line
from features.runtime.log import LOG
from features.runtime.progress import Progress
from pipelines.downloads.archives import MB, Archive

_CHUNK_BYTES = 65_536
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_WHOLE, _PART, _NO_SUCH_RANGE = 200, 206, 416


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to try.

    Attributes:
        timeout_seconds: for a connection, and for more bytes to come.
        pauses_seconds: before each new connection after one that broke off; a further megabyte begins them anew.
    """

    timeout_seconds: float = 30.0
    pauses_seconds: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)


PATIENCE = Patience()


class _BrokenError(Exception):
    """The connection broke off; a new one may do better."""


class _UnreachableError(_BrokenError):
    """No connection was made."""


class _NoSuchRangeError(Exception):
    """The server has nothing after the bytes that are here."""


class _WrongAnswerError(Exception):
    """The server does not give what was requested."""


def fetch(archive: Archive, file: BinaryIO, way_out: str, patience: Patience) -> int:
    """Completes the file of an archive with what its server has of it.

    A connection that breaks off is made anew after growing pauses. From a server that knows no ranges the whole is
    requested again; what was there is given up only for an answer that announces as many bytes as the archive has.

    Args:
        archive: says where it lies and how many bytes it has; never more are written.
        file: its beginning, open for reading and writing; what came stays in it, whatever happens.
        way_out: what a person can do where the server does not help, for the message.
        patience: how long to wait and how often to try.

    Returns:
        The number of bytes that came.

    Raises:
        RunError: the server cannot be reached, answers with an error or with something that was not requested, has
            another size, or broke off too often.
    """
    received = failures = 0
    best = done = _length(file, archive.bytes)
    started_over = False
    while done < archive.bytes:
        try:
            for count in _receive(archive, file, done, patience.timeout_seconds):
                received += count
        except _NoSuchRangeError as error:
            if started_over:
                raise RunError(
                    f"{archive.host} ends at byte {done:,} of {archive.url}, which has {archive.bytes:,}; {way_out}"
                ) from error
            started_over = True
            LOG.info("%s has nothing after byte %s: starting over", archive.host, f"{done:,}")
            file.truncate(0)
        except _WrongAnswerError as error:
            raise RunError(f"{error}; {way_out}") from error
        except _BrokenError as error:
            if isinstance(error, _UnreachableError) and not received:
                raise RunError(f"{error}; {way_out}") from error
            done = _length(file, archive.bytes)
            if done == archive.bytes:
                break
            if done >= best + MB:
                best, failures = done, 0
            if failures == len(patience.pauses_seconds):
                raise RunError(
                    f"the connection to {archive.host} broke off {failures + 1} times, last at {done:,} of "
                    f"{archive.bytes:,} bytes: {error}; run this again to resume from there"
                ) from error
            pause = patience.pauses_seconds[failures]
            failures += 1
            LOG.info("at %s of %s bytes, %s; again in %g s", f"{done:,}", f"{archive.bytes:,}", error, pause)
            time.sleep(pause)
        done = _length(file, archive.bytes)
    return received


def _length(file: BinaryIO, size: int) -> int:
    """Returns how many bytes are there, after emptying a file that has too many."""
    length = file.seek(0, io.SEEK_END)
    if length > size:
        file.truncate(0)
        return 0
    return length


def _receive(archive: Archive, file: BinaryIO, done: int, timeout_seconds: float) -> Iterator[int]:
    """Writes what one connection brings, and yields the length of each piece."""
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={done}-"} if done else {})
    with _open(request, archive, timeout_seconds) as response:
        position = _first_byte(response, archive, done)
        if position < done:
            LOG.info("%s does not send parts: starting over", archive.host)
        file.truncate(position)
        file.seek(position)
        note = f" ({position // MB:,} MB were there)" if position else ""
        progress = Progress("download", (archive.bytes - position) // MB, "MB")
        first, announced = position, response.length
        end = archive.bytes if announced is None else first + announced
        try:
            while chunk := _read(response, min(end - position, _CHUNK_BYTES)):
                file.write(chunk)
                file.flush()
                position += len(chunk)
                progress.update((position - first) // MB, note)
                yield len(chunk)
        finally:
            progress.close()
        if announced is None and position == archive.bytes and _read(response, 1):
            raise _WrongAnswerError(
                f"{archive.host} sends {position + 1:,} bytes or more of {archive.url}, where {archive.bytes:,} are "
                "right"
            )
    if position < archive.bytes:
        raise _BrokenError("the connection was closed")


@contextlib.contextmanager
def _open(
    request: urllib.request.Request, archive: Archive, timeout_seconds: float
) -> Iterator[http.client.HTTPResponse]:
    try:
        response = urllib.request.urlopen(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _NO_SUCH_RANGE and request.has_header("Range"):
            _check_total(error.headers.get("Content-Range", "").rpartition("/")[2], archive)
            raise _NoSuchRangeError from error
        phrase = http.client.responses.get(error.code, "")
        answer = f"{archive.host} answered {error.code} {phrase}".rstrip() + f" for {archive.url}"
        if error.code >= 500:
            raise _UnreachableError(answer) from error
        raise _WrongAnswerError(answer) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _UnreachableError(f"cannot reach {archive.host}: {one_line(getattr(error, 'reason', error))}") from error
    with response:
        yield response


def _first_byte(response: http.client.HTTPResponse, archive: Archive, done: int) -> int:
    """Returns where in the file the bytes belong that the server sends."""
    if response.status == _WHOLE:
        first, length = 0, archive.bytes
        if done and response.length is None:  # a login page, as likely as the archive
            raise _WrongAnswerError(
                f"{archive.host} sends something of unknown length for {archive.url}, where bytes "
                f"{done}-{archive.bytes - 1}/{archive.bytes} were requested; what was fetched before is kept"
            )
    elif response.status == _PART and done:
        header = response.headers.get("Content-Range", "")
        match = _RANGE.fullmatch(header.strip())
        if match:
            _check_total(match[3], archive)
        if not match or int(match[1]) != done or not done <= int(match[2]) < archive.bytes:
            raise _WrongAnswerError(
                f"{archive.host} sends {header[:80]!r}, where bytes {done}-{archive.bytes - 1}/{archive.bytes} were "
                "requested"
            )
        first, length = done, int(match[2]) + 1 - done
    else:
        raise _WrongAnswerError(f"{archive.host} answered {response.status} for {archive.url}")
    if response.length not in (None, length):
        raise _WrongAnswerError(
            f"{archive.host} sends {response.length:,} bytes of {archive.url}, where {length:,} are right"
        )
    return first


def _check_total(total: str, archive: Archive) -> None:
    if total.isdecimal() and total != str(archive.bytes):
        raise _WrongAnswerError(f"{archive.url} has {total[:18]} bytes on the server, where {archive.bytes} are right")


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    """Returns what has come, at least a byte; none where that is all, or none is requested."""
    try:
        return response.read1(most) if most else b""
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"the connection broke off: {one_line(error)}") from error
