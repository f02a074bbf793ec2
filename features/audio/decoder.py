"""A process that decodes, as the one that asks it has it; `decoder_client` says which is asked what."""

import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.audio.protocol import (
    END,
    MESSAGE,
    SAMPLES,
    SHARED,
    TOGETHER_SECONDS,
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


def decoded(blocks: list[NDArray[np.float32]], end: dict[str, Any], channels: int) -> Decoded:
    """Returns what the blocks of an answer and its end say together."""
    samples = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, np.float32), *blocks])
    missing = tuple((begin, behind) for begin, behind in end["missing"])
    return Decoded(samples.reshape(-1, channels), missing)


class Decoder:
    """A process that decodes, and the socket on which it is asked."""

    def __init__(self) -> None:
        """Starts it; raises `RunError` where it cannot be started."""
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
        self._send(request, [file.descriptor])
        return self._receive(time.monotonic() + limit_seconds(file.size), limit_bytes(file.size))

    def ask_together(self, files: Sequence[OpenFile], clip: ClipLength) -> list[tuple[CodecInfo, Decoded] | str | None]:
        """Sends a request for several files; returns of each what was decoded, None for nothing, or an error's reason.

        Raises:
            ClipError: the process died, took too long or gives something else.
        """
        self.asked += 1
        self.last_file, self.last_thread = None, threading.get_ident()
        request = {"files": [(file.size, file.mp3) for file in files], "clip": clip}
        self._send(request, [file.descriptor for file in files])
        _, end = self._receive(time.monotonic() + TOGETHER_SECONDS, 0)
        found: list[tuple[CodecInfo, Decoded] | str | None] = []
        begin = 0
        for one in end["files"]:
            if one is None or isinstance(one, str):
                found.append(one)
                continue
            values, count, missing = one
            info = CodecInfo(**values)
            samples = self._shared[begin : begin + count].copy()
            begin += count
            found.append((info, decoded([samples], {"missing": missing}, info.channels)))
        return found

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
        except OSError as error:
            raise self._death() from error

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
