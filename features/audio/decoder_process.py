"""The process in which files are decoded that a decoder might crash on; `decoder_client` starts and asks it.

It takes requests on the socket that is its standard input: a line of JSON with an open file. Each message of an answer
has its kind and length before it: blocks of samples, then a line of JSON, which ends the answer.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

from features.audio.protocol import END, MESSAGE, REQUEST_BYTES, SAMPLES
from features.audio.soundfile_codec import DECODER, probe_coded, read_coded
from features.errors import ClipError, Reason
from features.runtime.parent_watch import end_with_parent

# What decoding may take beside what the process is made of: a decoder that wants more has believed a damaged header.
MEMORY_BYTES = 256 * 2**20


def main() -> None:
    """Answers requests until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    end_with_parent(int(sys.argv[1]))
    connection = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _limit_memory()
    _send(connection, END, b"")  # ready
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 1)
        if not request:
            return
        with open(descriptors[0], "rb") as file:
            answer = _answer(connection, file.fileno(), **json.loads(request))
        _send(connection, END, json.dumps(answer).encode())


def _answer(
    connection: socket.socket, descriptor: int, size: int, mp3: bool, part: list[int] | None, forward: bool
) -> dict[str, Any]:
    try:
        if part is None:
            return {"info": probe_coded(descriptor, size, mp3)._replace(decoder=DECODER)._asdict()}
        channels, (start, frames) = 0, part
        missing: list[tuple[int, int]] = []
        for samples in read_coded(descriptor, mp3, (start, frames), forward, missing):
            channels = samples.shape[1]
            _send(connection, SAMPLES, samples.tobytes())
        return {"channels": channels, "missing": missing}
    except ClipError as error:
        return {"error": [error.stage, error.reason, error.message]}
    except MemoryError:
        message = f"decoding wants more memory than {MEMORY_BYTES // 2**20} MiB"
        return {"error": ["decode", Reason.OUT_OF_MEMORY_GUARD, message]}


def _send(connection: socket.socket, kind: bytes, content: bytes) -> None:
    connection.sendall(MESSAGE.pack(kind, len(content)))
    connection.sendall(content)


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
