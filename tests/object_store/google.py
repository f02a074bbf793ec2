"""As much of Google Cloud Storage as conditions on objects take."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def google() -> Iterator[tuple[str, list[str]]]:
    """Runs a server in threads; yields the account that leads to it, and the generations that it was given."""
    objects: dict[str, tuple[int, bytes]] = {}
    given: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            generation, _ = objects.get(self.path, (0, b""))
            given.append(self.headers.get("x-goog-if-generation-match", ""))
            if given[-1] == str(generation):
                objects[self.path] = generation + 1, content
                self._answer(200, b"")
            else:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")

        def do_GET(self) -> None:
            if "list-type" in self.path:
                self._answer(200, b"<ListBucketResult/>")
            elif self.path in objects:
                self._answer(200, objects[self.path][1])
            else:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

        do_HEAD = do_GET  # noqa: N815 - the name that is called

        def _answer(self, status: int, body: bytes) -> None:
            generation, _ = objects.get(self.path, (0, b""))
            self.send_response(status)
            for name, value in (("ETag", f'"e{generation}"'), ("x-goog-generation", str(generation)),
                                ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
                                ("Content-Length", str(len(body)))):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    account = {"gcs_base_url": f"http://127.0.0.1:{server.server_port}", "disable_oauth": True}
    try:
        yield json.dumps({**account, "client_email": "", "private_key": "", "private_key_id": ""}), given
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
