"""A proxy before an S3 server that is slow, refuses now and then and ends connections where it should not."""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_REFUSAL = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_BUSY = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
         % (len(_REFUSAL), _REFUSAL))  # fmt: skip


@dataclass
class Faults:
    """What a proxy does, and what it saw.

    Attributes:
        latency_seconds: before each request is passed on.
        busy: share of the requests that are answered by 503.
        cut: share of those whose answer ends in its middle, with the connection.
        lost: share of those that the server does and whose answer does not come.
        half: share of those of which the server gets half of the body.
        seed: of the choice.
        requests: how many came, by method.
        asked: how many came, by method and by what they asked for, without a query.
        done: how many were spoilt, by kind.
        most_at_once: requests that were in work at the same time.
    """

    latency_seconds: float = 0.0
    busy: float = 0.0
    cut: float = 0.0
    lost: float = 0.0
    half: float = 0.0
    seed: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._at_once = 0

    def choose(self, method: str, target: str, has_body: bool) -> str:
        """Returns what becomes of a request."""
        self.requests[method] += 1
        self.asked[method, target.partition("?")[0]] += 1
        drawn, kind = self._random.random(), "pass"
        for name in ("busy", "cut", "lost", "half"):
            if 0 <= drawn < getattr(self, name):
                kind = name
            drawn -= getattr(self, name)
        kind = "pass" if kind == "half" and not has_body else kind
        self.done[kind] += 1
        return kind

    @contextlib.contextmanager
    def in_work(self) -> Iterator[None]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            self._at_once -= 1


@contextlib.contextmanager
def proxy(endpoint: str, faults: Faults) -> Iterator[str]:
    """Runs a proxy in a thread of its own; yields its endpoint. It passes on `Host`, which the signature covers."""
    port = int(endpoint.rpartition(":")[2])
    started: list[str] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(lambda reader, writer: _serve(reader, writer, port, faults), "127.0.0.1", 0)
        started.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()
        async with server:
            with contextlib.suppress(asyncio.CancelledError):
                await server.serve_forever()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(5)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, faults: Faults) -> None:
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    try:
        while head := await _head(reader):
            method, target, _ = head.decode("latin-1").split(" ", 2)
            body = await reader.readexactly(_length(head))
            with faults.in_work():
                kind = faults.choose(method, target, bool(body))
                await asyncio.sleep(faults.latency_seconds)
                if kind == "busy":
                    writer.write(_BUSY if method != "HEAD" else _BUSY.partition(_REFUSAL)[0])
                    await writer.drain()
                    continue
                upstream = upstream or await asyncio.open_connection("127.0.0.1", port)
                up, down = upstream
                if kind == "half":
                    down.write(head + body[: len(body) // 2])
                    await down.drain()
                    return
                down.write(head + body)
                await down.drain()
                answer = await _head(up)
                content = b"" if method == "HEAD" or not answer else await up.readexactly(_length(answer))
                if kind == "lost" or not answer:
                    return
                kind = "cut" if kind == "cut" and len(content) > 1 else ""
                writer.write(answer + (content[: len(content) // 2] if kind else content))
                await writer.drain()
                if kind or b"\r\nconnection: close" in answer.lower():
                    return
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        for end in (writer, upstream[1] if upstream else None):
            if end is not None:
                end.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    if any(line.startswith(b"transfer-encoding:") for line in lines):
        raise ConnectionError("neither client nor server is known to send chunks")
    return next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
