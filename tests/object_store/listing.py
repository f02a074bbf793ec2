"""A server that lists objects of any name, as S3 has them, and has none of them: file systems keep no such names."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

_OBJECT = ("<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
           "<Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>")  # fmt: skip


@contextlib.contextmanager
def lister(keys: Sequence[str], refused: str | None = None) -> Iterator[str]:
    """Runs the server in threads; yields its endpoint.

    Args:
        keys: of the objects of every bucket.
        refused: the prefix that may not be listed.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
            listed = "".join(_OBJECT.format(escape(key)) for key in keys if key.startswith(prefix))
            status, body = 200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
            if "list-type" not in self.path:
                status, body = 404, "<Error><Code>NoSuchKey</Code></Error>"
            elif prefix == refused:
                status, body = 403, "<Error><Code>AccessDenied</Code></Error>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body.encode())

        do_HEAD = do_GET  # noqa: N815 - the name that is called

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
