"""Asks processes that decode: what crashes, hangs or eats memory there costs one file, and not the run."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.protocol import (
    END,
    MESSAGE,
    SAMPLES,
    CodecInfo,
    Decoded,
    FileIdentity,
    OpenFile,
    limit_bytes,
    limit_seconds,
)
from features.errors import ClipError, PassingError, Reason
from features.runtime.log import is_verbose
from features.runtime.processes import python_command, python_environment
from features.runtime.threads import ONE_THREAD

_MOST_ANSWER_BYTES = 2**20
_START_SECONDS = 60.0
_ENDING_SECONDS = 5.0


def probe_in_process(file: OpenFile) -> CodecInfo:
    """Has `features.audio.soundfile_codec.probe_coded` done in a process of its own; raises `ClipError` as that does.

    Raises:
        ClipError: besides, the process died, took too long or wanted too much memory.
        RunError: no such process can be started.
    """
    key = (file.identity, file.mp3)
    info = _probed.get(key)
    if info is None or file.identity is None:
        _, end = _ask(file, None)
        info = CodecInfo(**end["info"])
        _probed.clear()
        _probed[key] = info
    return info


def read_in_process(file: OpenFile, part: tuple[int, int], channels: int, forward: bool) -> Decoded:
    """Has `features.audio.soundfile_codec.read_coded` done in a process of its own; raises `ClipError` as that does.

    Args:
        file: the file.
        part: first frame to read, and how many at most.
        channels: what the header said; another number now is a file that has changed.
        forward: as in `features.audio.decode.decode_part`.

    Returns:
        The samples, fewer where the file ends or is damaged, and which of them are missing.

    Raises:
        ClipError: besides, the process died, took too long or wanted too much memory, or the file has changed.
        RunError: no such process can be started.
    """
    blocks, end = _ask(file, part, forward)
    if blocks and end["channels"] != channels:
        raise ClipError("decode", Reason.VANISHED, "the file changed while it was read")
    samples = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, np.float32), *blocks])
    missing = tuple((begin, behind) for begin, behind in end["missing"])
    return Decoded(samples.reshape(-1, channels), missing)


class _Decoder:
    """A process that decodes, and the socket on which it is asked."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # What decoders print of files that they refuse is in the reject already.
        silence = None if is_verbose() else subprocess.DEVNULL
        with theirs:
            self._process = subprocess.Popen(
                python_command("features.audio.decoder_process", os.getpid()),
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=silence,
                env=python_environment(**ONE_THREAD),  # threads never used are room it may not take
            )  # fmt: skip
        self._connection = ours
        self.process_id = self._process.pid
        self.asked = 0
        self.last_file: FileIdentity | None = None
        self.last_thread = 0
        try:
            self._receive(time.monotonic() + _START_SECONDS, 0)
        except ClipError as error:
            raise PassingError(f"the decoding process does not start: {error}; --verbose shows what it says") from error

    def ask(
        self, file: OpenFile, part: tuple[int, int] | None, forward: bool
    ) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
        """Sends a request and returns blocks of samples and the end of the answer."""
        self.asked += 1
        self.last_file, self.last_thread = file.identity, threading.get_ident()
        request = json.dumps({"size": file.size, "mp3": file.mp3, "part": part, "forward": forward}).encode()
        try:
            socket.send_fds(self._connection, [request], [file.descriptor])
        except OSError as error:
            raise self._death() from error
        return self._receive(time.monotonic() + limit_seconds(file.size), limit_bytes(file.size))

    def _receive(self, deadline: float, room: int) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
        blocks: list[NDArray[np.float32]] = []
        while True:
            kind, length = MESSAGE.unpack(self._bytes(MESSAGE.size, deadline))
            if kind == END and length <= _MOST_ANSWER_BYTES:
                return blocks, json.loads(self._bytes(length, deadline) or b"{}")
            room -= length
            if kind != SAMPLES or room < 0:
                self.end()
                raise ClipError("decode", Reason.OUT_OF_MEMORY_GUARD,
                                "it becomes more samples than a file of its size can hold")  # fmt: skip
            blocks.append(np.frombuffer(self._bytes(length, deadline), np.float32))

    def _bytes(self, count: int, deadline: float) -> bytearray:
        content = bytearray(count)
        view, done = memoryview(content), 0
        while done < count:
            self._connection.settimeout(max(1e-3, deadline - time.monotonic()))
            try:
                received = self._connection.recv_into(view[done:])
            except TimeoutError as error:
                self.end()
                raise ClipError("decode", Reason.TIMEOUT, "decoding took too long and was ended") from error
            except OSError as error:
                raise self._death() from error
            if not received:
                raise self._death()
            done += received
        return content

    def _death(self) -> ClipError:
        self._connection.close()
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:  # it does not answer and does not end
            self._process.kill()
            code = self._process.wait()
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ClipError("decode", Reason.DECODER_DIED, f"the process that decoded it died ({why})")

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


# Processes that wait to be asked: as many as threads have ever decoded at a time. They end when this one does.
_idle: list[_Decoder] = []
_lock = threading.Lock()
# What is known of the last file: its parts follow one another, and to count its frames may take long.
_probed: dict[tuple[FileIdentity | None, bool], CodecInfo] = {}


def _start_anew() -> None:
    global _lock
    _lock = threading.Lock()
    _idle.clear()  # they answer the process that this one was forked from


os.register_at_fork(after_in_child=_start_anew)


def _take_idle(identity: FileIdentity | None) -> _Decoder | None:
    """Takes a process that waits: the one that may have this file open, else one that has none open for another thread.

    A recording that is decoded from its beginning on would be decoded so again, had another thread's file taken its
    place between two requests.
    """
    thread = threading.get_ident()
    with _lock:
        ranks = [(identity is not None and decoder.last_file == identity, decoder.last_thread == thread)
                 for decoder in _idle]  # fmt: skip
        return _idle.pop(max(range(len(ranks)), key=ranks.__getitem__)) if ranks else None


def _ask(
    file: OpenFile, part: tuple[int, int] | None, forward: bool = False
) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
    while True:
        decoder = _take_idle(file.identity) or _Decoder()
        fresh = not decoder.asked
        try:
            blocks, end = decoder.ask(file, part, forward)
        except ClipError as error:
            if fresh or error.reason != Reason.DECODER_DIED:
                raise
            continue  # maybe for what an earlier file did to the process: a new one shows
        except BaseException:
            decoder.end()
            raise
        if "error" not in end:
            with _lock:
                _idle.append(decoder)
            return blocks, end
        stage, reason, message = end["error"]
        if reason == Reason.OUT_OF_MEMORY_GUARD:
            decoder.end()
            if not fresh:
                continue
        else:
            with _lock:
                _idle.append(decoder)
        raise ClipError(stage, Reason(reason), message)
