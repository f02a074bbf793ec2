"""An S3 server on loopback for tests: versitygw, which `make s3-server` builds, on a temporary folder."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = "versitygw"
KEY, SECRET = "tester", "not-a-secret"
_BUILT = Path(__file__).parents[2] / ".s3-server"
_PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Bucket:
    """A bucket of a test's own.

    Attributes:
        uri: `s3://NAME`.
        endpoint: of the server.
        folder: where the server keeps the objects, as files of their names.
    """

    uri: str
    endpoint: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a command finds it."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": self.endpoint}  # fmt: skip

    def names(self) -> list[str]:
        """Returns the names of all objects."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Server:
    """A server that runs: its endpoint and its process."""

    endpoint: str
    process: int


@contextlib.contextmanager
def serving(program: str, root: Path, log: Path) -> Iterator[Server]:
    """Runs a server while the block lasts; the folders of `root` are its buckets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet", "posix", str(root)]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True,
                                   env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET})  # fmt: skip
    try:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{PROGRAM} does not answer: {log.read_text()}")
            time.sleep(0.05)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.kill()  # it would wait for its clients
        process.wait()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An S3 server: its endpoint, and the folder whose folders are its buckets."""
    program = shutil.which(PROGRAM, path=os.environ.get("SOUNDMILL_S3_SERVER", str(_BUILT)))
    if program is None:
        if os.environ.get("SOUNDMILL_S3_SERVER"):
            pytest.fail(f"no {PROGRAM} in SOUNDMILL_S3_SERVER={os.environ['SOUNDMILL_S3_SERVER']}")
        pytest.skip(f"no {PROGRAM} in {_BUILT.name}: `make s3-server` builds it, which takes Go and a network")
    root, log = tmp_path_factory.mktemp("s3"), tmp_path_factory.mktemp("s3-log") / "log"
    with serving(program, root, log) as process:
        yield process.endpoint, root


@pytest.fixture
def s3(s3_server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which this process and those that it starts find."""
    endpoint, root = s3_server
    name = f"b{uuid.uuid4().hex[:12]}"
    (root / name).mkdir()
    bucket = Bucket(f"s3://{name}", endpoint, root / name)
    for variable, value in bucket.environment.items():
        monkeypatch.setenv(variable, value)
    return bucket


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
