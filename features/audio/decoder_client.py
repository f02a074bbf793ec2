"""Asks processes that decode: what crashes, hangs or eats memory there costs one file, and not the run."""

import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.audio.protocol import (
    END,
    MESSAGE,
    SAMPLES,
    SHARED,
    ClipLength,
    CodecInfo,
    Decoded,
    FileIdentity,
    OpenFile,
    limit_bytes,
    limit_seconds,
    open_shared_memory,
    shared_samples,
)
from features.errors import ClipError, PassingError, Reason
from features.runtime.log import is_verbose
from features.runtime.processes import python_command, python_environment
from features.runtime.threads import ONE_THREAD

_What = TypeVar("_What")
_Received = TypeVar("_Received", bytes, int)
_MESSAGE_BYTES = 2**12  # messages that are no samples have rarely more
_MOST_ANSWER_BYTES = 2**20
# What a file needed is kept for the next: else the C library gives it back to the system, which clears it anew.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
_START_SECONDS = 60.0
_ENDING_SECONDS = 5.0


def probe_in_process(file: OpenFile, clip: ClipLength | None = None) -> tuple[CodecInfo, Decoded | None]:
    """Has `features.audio.soundfile_codec.probe_coded` done in a process of its own; raises `ClipError` as that does.

    Args:
        file: the file.
        clip: what of it becomes a clip, where that is to be decoded as well.

    Returns:
        What was found out; and what is used of the file as `read_in_process` gives it, None where that is to be asked
        for: where it is large, or known what the header says.

    Raises:
        ClipError: besides, the process died, took too long or wanted too much memory; or what `read_in_process` raises.
        RunError: no such process can be started.
    """
    key = (file.identity, file.mp3)
    info = _probed.get(key)
    if info is not None and file.identity is not None:
        return info, None
    blocks, end = _ask(file, None, clip=clip)
    info = CodecInfo(**end["info"])
    _probed.clear()
    _probed[key] = info
    return info, _decoded(blocks, end, info.channels) if "missing" in end else None


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
    return _decoded(blocks, end, channels)


def _decoded(blocks: list[NDArray[np.float32]], end: dict[str, Any], channels: int) -> Decoded:
    samples = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, np.float32), *blocks])
    missing = tuple((begin, behind) for begin, behind in end["missing"])
    return Decoded(samples.reshape(-1, channels), missing)


class _Decoder:
    """A process that decodes, and the socket on which it is asked."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        memory = open_shared_memory()
        # What decoders print of files that they refuse is in the reject already.
        silence = None if is_verbose() else subprocess.DEVNULL
        with theirs, open(memory, "rb"):
            self._shared = shared_samples(memory)
            self._process = subprocess.Popen(
                python_command("features.audio.decoder_process", os.getpid(), memory),
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=silence, pass_fds=[memory],
                env=python_environment(**ONE_THREAD, **_KEPT_MEMORY),  # unused threads are room it may not take
            )  # fmt: skip
        self._connection = ours
        self._arrives = select.poll()
        self._arrives.register(ours, select.POLLIN)
        self._arrived = b""  # and not taken
        self.process_id = self._process.pid
        self.asked = 0
        self.last_file: FileIdentity | None = None
        self.last_thread = 0
        try:
            self._receive(time.monotonic() + _START_SECONDS, 0)
        except ClipError as error:
            raise PassingError(f"the decoding process does not start: {error}; --verbose shows what it says") from error

    def ask(
        self, file: OpenFile, part: tuple[int, int] | None, forward: bool, clip: ClipLength | None
    ) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
        """Sends a request and returns blocks of samples and the end of the answer."""
        self.asked += 1
        self.last_file, self.last_thread = file.identity, threading.get_ident()
        request = {"size": file.size, "mp3": file.mp3, "part": part, "forward": forward, "clip": clip}
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode()], [file.descriptor])
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
            if kind not in (SHARED, SAMPLES) or room < 0:
                self.end()
                raise ClipError("decode", Reason.OUT_OF_MEMORY_GUARD,
                                "it becomes more samples than a file of its size can hold")  # fmt: skip
            if kind == SHARED:
                blocks.append(self._shared[: length // 4].copy())
            else:
                blocks.append(np.frombuffer(self._bytes(length, deadline), np.float32))

    def _bytes(self, count: int, deadline: float) -> bytes | bytearray:
        if count <= _MESSAGE_BYTES:
            while len(self._arrived) < count:
                self._wait(deadline)
                self._arrived += self._took(self._connection.recv, _MESSAGE_BYTES)
            taken, self._arrived = self._arrived[:count], self._arrived[count:]
            return taken
        content = bytearray(count)
        done = len(self._arrived)
        content[:done], self._arrived = self._arrived, b""
        with memoryview(content) as view:
            while done < count:
                self._wait(deadline)
                done += self._took(self._connection.recv_into, view[done:])
        return content

    def _wait(self, deadline: float) -> None:
        """Waits until something arrives, or the other end is closed."""
        if not self._arrives.poll(max(1.0, 1e3 * (deadline - time.monotonic()))):
            self.end()
            raise ClipError("decode", Reason.TIMEOUT, "decoding took too long and was ended")

    def _took(self, receive: Callable[[_What], _Received], what: _What) -> _Received:
        try:
            received = receive(what)
        except OSError as error:
            raise self._death() from error
        if not received:
            raise self._death()
        return received

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
    file: OpenFile, part: tuple[int, int] | None, forward: bool = False, clip: ClipLength | None = None
) -> tuple[list[NDArray[np.float32]], dict[str, Any]]:
    while True:
        decoder = _take_idle(file.identity) or _Decoder()
        fresh = not decoder.asked
        try:
            blocks, end = decoder.ask(file, part, forward, clip)
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
