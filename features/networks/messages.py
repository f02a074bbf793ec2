"""What both ends of the pipes to a SavedModel's process share: a line of JSON, and the bytes that it announces."""

import json
from typing import Any, BinaryIO

_BYTES = "bytes"


def send(pipe: BinaryIO, header: dict[str, Any], content: bytes = b"") -> None:
    """Writes a message."""
    pipe.write(json.dumps({**header, _BYTES: len(content)}).encode() + b"\n")
    pipe.write(content)
    pipe.flush()


def receive(pipe: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Reads a message; raises `EOFError` where the other end is closed."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    header: dict[str, Any] = json.loads(line)
    content = pipe.read(header[_BYTES])
    if len(content) < header[_BYTES]:
        raise EOFError
    return header, content
