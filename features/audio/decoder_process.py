"""The process in which files are decoded that a decoder might crash on; `decoder_client` starts and asks it.

It takes requests on the socket that is its standard input: a line of JSON with an open file, or with several. Each
message of an answer has its kind and length before it: blocks of samples, then a line of JSON, which ends the answer.
The samples of several files lie one behind the other in the memory that is shared.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.protocol import (
    END,
    MESSAGE,
    RATES_HZ,
    REQUEST_BYTES,
    SAMPLES,
    SHARED,
    SHARED_BYTES,
    TOGETHER,
    ClipLength,
    CodecInfo,
    shared_samples,
)
from features.audio.sound_parts import close_left
from features.audio.soundfile_codec import DECODER, probe_coded, read_coded
from features.errors import ClipError, Reason
from features.runtime.parent_watch import end_with_parent

# What decoding may take beside what the process is made of: a decoder that wants more has believed a damaged header.
MEMORY_BYTES = 256 * 2**20


def main() -> None:
    """Answers requests until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    end_with_parent(int(sys.argv[1]))
    asker = _Asker(int(sys.argv[2]))
    _limit_memory()
    asker.end(b"")  # ready
    while True:
        request, descriptors = asker.receive()
        if not request:
            return
        try:
            wanted = json.loads(request)
            if "files" in wanted:
                answer = _answers(asker, descriptors, **wanted)
            else:
                answer = _answer(asker, descriptors[0], **wanted)
        finally:
            close_left()
            for descriptor in descriptors:
                os.close(descriptor)
        asker.end(json.dumps(answer).encode())


class _Asker:
    """The other end: a socket, and memory for samples that is shared with it."""

    def __init__(self, memory: int) -> None:
        """Takes the socket that is the standard input, and the descriptor of the memory."""
        self._connection = socket.socket(fileno=os.dup(0))
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        self._memory = shared_samples(memory)
        os.close(memory)
        self._shares = True  # whether the memory is free
        self._waiting = b""

    def receive(self) -> tuple[bytes, list[int]]:
        """Waits for a request and its open files; nothing where there will be none."""
        request, descriptors, _, _ = socket.recv_fds(self._connection, REQUEST_BYTES, TOGETHER)
        return request, descriptors

    @property
    def memory(self) -> NDArray[np.float32]:
        """The memory that is shared."""
        return self._memory

    def samples(self, block: NDArray[np.float32]) -> None:
        """Gives a block of samples."""
        if self._shares and block.size <= self._memory.size:
            self._memory[: block.size] = block.reshape(-1)
            self._waiting = MESSAGE.pack(SHARED, block.nbytes)  # with what follows
        else:
            self._connection.sendall(self._waiting + MESSAGE.pack(SAMPLES, block.nbytes))
            self._connection.sendall(block.tobytes())
            self._waiting = b""
        self._shares = False

    def end(self, answer: bytes) -> None:
        """Ends an answer."""
        self._connection.sendall(self._waiting + MESSAGE.pack(END, len(answer)) + answer)
        self._waiting, self._shares = b"", True


class _Together:
    """Memory in which the samples of several files are laid one behind the other."""

    def __init__(self, memory: NDArray[np.float32]) -> None:
        """Takes memory that is free."""
        self._memory = memory
        self.used = 0  # samples of all channels

    @property
    def room_bytes(self) -> int:
        """Bytes that are left."""
        return self._memory.nbytes - 4 * self.used

    def samples(self, block: NDArray[np.float32]) -> None:
        """Adds a block of samples; raises `MemoryError` where it has no room."""
        if 4 * block.size > self.room_bytes:
            raise MemoryError
        self._memory[self.used : self.used + block.size] = block.reshape(-1)
        self.used += block.size


def _answers(asker: _Asker, descriptors: list[int], files: list[list[Any]], clip: list[int]) -> dict[str, Any]:
    """Decodes what is used of several files, as far as there is room for their samples.

    Each is answered by what its header says, its number of samples and what of them is missing, or by the reason of an
    error; by None where it is to be asked for by itself, as all are that have an error.
    """
    found: list[Any] = []
    together = _Together(asker.memory)
    for descriptor, (size, mp3) in zip(descriptors, files, strict=True):
        before = together.used
        answer = _answer(together, descriptor, size, mp3, None, False, clip, together.room_bytes)
        close_left()
        if "missing" in answer:
            found.append([answer["info"], together.used - before, answer["missing"]])
        else:
            together.used = before
            found.append(answer["error"][1] if "error" in answer else None)
    return {"files": found}


def _answer(
    asker: _Asker | _Together,
    descriptor: int,
    size: int,
    mp3: bool,
    part: list[int] | None,
    forward: bool,
    clip: list[int] | None,
    room_bytes: int = SHARED_BYTES,
) -> dict[str, Any]:
    info: dict[str, Any] = {}
    try:
        if part is None:
            found = probe_coded(descriptor, size, mp3, leave_open=clip is not None)._replace(decoder=DECODER)
            info = {"info": found._asdict()}
            part = _part_at_once(found, clip, room_bytes)
            if part is None:
                return info
        missing: list[tuple[int, int]] = []
        channels, (start, frames) = 0, part
        for samples in read_coded(descriptor, mp3, (start, frames), forward, missing):
            channels = samples.shape[1]
            asker.samples(samples)
        return {**info, "channels": channels, "missing": missing}
    except ClipError as error:
        return {"error": [error.stage, error.reason, error.message]}
    except MemoryError:
        message = f"decoding wants more memory than {MEMORY_BYTES // 2**20} MiB"
        return {"error": ["decode", Reason.OUT_OF_MEMORY_GUARD, message]}


def _part_at_once(info: CodecInfo, clip: list[int] | None, room_bytes: int) -> list[int] | None:
    """Returns the part that is decoded with the first request, None where that is left to another one."""
    if clip is None or info.rate_hz not in RATES_HZ:
        return None
    samples, rate_hz, centre = clip
    start, frames = ClipLength(samples, rate_hz, bool(centre)).part(info.frames, info.rate_hz)
    return [start, frames] if 0 < 4 * frames * info.channels <= room_bytes else None


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # where the system has no such thing
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # should memory run out, this process is the one to go
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, hard))


if __name__ == "__main__":
    main()
