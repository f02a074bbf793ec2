"""Fetching and unpacking public archives, from a real server on this machine that behaves as badly as servers do."""

import hashlib
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from features.errors import RunError, UsageError
from pipelines.download import download
from pipelines.downloads import archives
from pipelines.downloads.archives import ARCHIVES, Archive
from pipelines.downloads.transfer import Patience
from tests.conftest import call, run_command, wait_until
from tests.pipelines.conftest import files_of

IMPATIENT = Patience(timeout_seconds=2.0, pauses_seconds=(0.01, 0.02))
PATIENT = Patience(timeout_seconds=60.0)
HELLO = {"README.md": b"read me", "yes/a_nohash_0.wav": b"yes" * 700_000, "no/b_nohash_0.wav": os.urandom(500_000)}
RUN = """
import sys
from features.runtime import command
from pipelines import download
from pipelines.downloads import archives
archives.ARCHIVES["words"] = archives.Archive(**eval(sys.argv.pop(1)))
command.run(download.main, download.parser())
"""


@dataclass
class Server:
    """What the server has and how it behaves; `ranges` are the Range headers that it was sent."""

    url: str
    content: bytes
    knows_ranges: bool = True
    status: int = 0  # of every answer, where not 0
    ends_after: int = 10**9  # bytes of a connection
    pause_seconds: float = 0.0  # after each 10,000 bytes
    waits_at: int = 10**9  # byte of an answer, from which on it waits for `goes_on`
    goes_on: threading.Event = field(default_factory=threading.Event)
    headers: dict[str, str | None] = field(default_factory=dict)  # in place of the true ones; None leaves one out
    only_part: dict[str, str] = field(default_factory=dict)  # headers of answers to ranges alone
    ranges: list[str | None] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.knows_ranges else 0
        size = len(self.content)
        status = self.status or (416 if first >= size else 206 if first else 200)
        handler.send_response(status)
        headers: dict[str, str | None] = {"Content-Length": str(size - first)}
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
            headers |= self.only_part
        if status == 416:
            headers = {"Content-Length": "0", "Content-Range": f"bytes */{size}"}
        for name, value in (headers | self.headers).items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        body = self.content[first:][: self.ends_after] if status < 300 else b""
        for start in range(0, len(body), 10_000):
            if start >= self.waits_at:
                self.goes_on.wait(60)
            handler.wfile.write(body[start : start + 10_000])
            time.sleep(self.pause_seconds)


@pytest.fixture
def start(monkeypatch):
    """Starts servers, which stop with the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = []

    def start_server(content: bytes, name: str, **behaviour) -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    described.answer(self)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        described = Server(f"http://127.0.0.1:{server.server_port}/data/{name}", content, **behaviour)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return described

    yield start_server
    for server in running:
        server.shutdown()
        server.server_close()


def zip_of(entries: dict[str, bytes], top: str = "words/") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, value in entries.items():
            file.writestr(top + name, value)
    return content.getvalue()


def tar_of(entries: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        for name, value in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(value)
            file.addfile(info, io.BytesIO(value))
        for info in others:
            file.addfile(info)
    return content.getvalue()


def archive_of(content: bytes, url: str, **changes) -> Archive:
    values = {"name": "words", "url": url, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    values |= {"folder": "words", "unpacked_bytes": 4_000_000, "top": "words" if url.endswith(".zip") else ""}
    return Archive(**(values | changes))


def serve_zip(start, content: bytes = b"", **behaviour) -> tuple[Archive, Server]:
    """An archive, and a server that has `content` under its address, by default the archive itself."""
    right = zip_of(HELLO)
    server = start(content or right, "words.zip", **behaviour)
    return archive_of(right, server.url), server


def refusal(archive: Archive, output: Path, kind: type[Exception] = RunError) -> str:
    with pytest.raises(kind) as caught:
        download(archive, output, IMPATIENT)
    message = str(caught.value)
    assert "\n" not in message
    return message


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_table_says_what_was_published():
    mini, whole = ARCHIVES["mini-speech-commands"], ARCHIVES["speech-commands-v2"]
    assert mini.url == "https://storage.googleapis.com/download.tensorflow.org/data/mini_speech_commands.zip"
    assert mini.bytes == 182_082_353
    assert mini.sha256 == "49650f2341b26d886b46b3f4fb8fed59e30300b17550f1ee4a768b3106cf93a0"
    assert (mini.folder, mini.top, mini.options) == (
        "mini_speech_commands",
        "mini_speech_commands",
        "--group path --split 80/10/10",
    )
    assert whole.url == "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
    assert whole.bytes == 2_428_923_189
    assert whole.sha256 == "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
    assert (whole.folder, whole.top, whole.options) == ("speech_commands_v0.02", "", "")
    assert [archive.name for archive in ARCHIVES.values()] == list(ARCHIVES)


@pytest.mark.parametrize(
    "wrong",
    [{"url": "ftp://a/words.zip"}, {"url": "https://a/words.rar"}, {"url": "https:///words.zip"}, {"bytes": 0},
     {"sha256": "12"}, {"folder": "../words"}, {"folder": ""}, {"name": "a/b"}, {"unpacked_bytes": 0}],
)  # fmt: skip
def test_an_archive_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="of an archive"):
        replace(archive_of(b"abc", "https://host/words.zip"), **wrong)


def test_a_zip_is_fetched_and_unpacked_below_its_top_folder(start, tmp_path):
    archive, server = serve_zip(start)
    figures = download(archive, tmp_path / "new" / "data", IMPATIENT)
    output = tmp_path / "new" / "data"
    assert files_of(output / "words") == dict(sorted(HELLO.items()))
    assert names(output) == [".words.lock", "words"]
    assert figures["files"] == 3 and figures["fetched_bytes"] == archive.bytes
    assert server.ranges == [None]


def test_a_tar_is_fetched_and_unpacked(start, tmp_path):
    folder = tarfile.TarInfo("./_background_noise_")
    folder.type = tarfile.DIRTYPE
    content = tar_of(
        {f"./{name}": value for name, value in HELLO.items()} | {"./validation_list.txt": b"yes/a"}, folder
    )
    server = start(content, "words_v0.02.tar.gz")
    download(archive_of(content, server.url, folder="words_v0.02"), tmp_path, IMPATIENT)
    assert files_of(tmp_path / "words_v0.02") == dict(sorted((HELLO | {"validation_list.txt": b"yes/a"}).items()))
    assert (tmp_path / "words_v0.02" / "_background_noise_").is_dir()
    assert names(tmp_path) == [".words.lock", "words_v0.02"]


def test_a_second_run_does_nothing_and_needs_no_server(start, tmp_path):
    archive, server = serve_zip(start)
    download(archive, tmp_path, IMPATIENT)
    before = files_of(tmp_path)
    figures = download(archive, tmp_path, IMPATIENT)
    assert (figures["files"], figures["fetched_bytes"]) == (0, 0)
    assert len(server.ranges) == 1
    assert files_of(tmp_path) == before


def test_the_litter_of_macos_is_left_out(start, tmp_path):
    content = zip_of({"words/yes/a.wav": b"a", "__MACOSX/words/._yes": b"x", "words/yes/._a.wav": b"x",
                      "words/.DS_Store": b"x"}, top="")  # fmt: skip
    server = start(content, "words.zip")
    download(archive_of(content, server.url), tmp_path, IMPATIENT)
    assert files_of(tmp_path / "words") == {"yes/a.wav": b"a"}


def test_a_connection_that_breaks_off_goes_on_where_it_stopped(start, tmp_path):
    # Each connection brings more than a megabyte, so that the pauses begin anew: two would not be enough for three.
    archive, server = serve_zip(start, ends_after=1_200_000)
    one_pause = Patience(timeout_seconds=2.0, pauses_seconds=(0.01,))
    figures = download(archive, tmp_path, one_pause)
    assert server.ranges == [None, "bytes=1200000-", "bytes=2400000-"]
    assert figures["fetched_bytes"] == archive.bytes
    assert files_of(tmp_path / "words") == dict(sorted(HELLO.items()))


def test_a_connection_that_always_breaks_off_is_given_up_and_the_next_run_goes_on(start, tmp_path):
    archive, server = serve_zip(start, ends_after=100_000)
    message = refusal(archive, tmp_path)
    assert re.search(r"broke off 3 times, last at 300,000 of 2,600,\d+ bytes", message)
    assert message.endswith("run this again to resume from there")
    assert (tmp_path / "words.zip.partial").read_bytes() == server.content[:300_000]
    server.ends_after = 10**9
    assert download(archive, tmp_path, IMPATIENT)["fetched_bytes"] == archive.bytes - 300_000
    assert server.ranges[-1] == "bytes=300000-"
    assert names(tmp_path) == [".words.lock", "words"]


def test_a_server_that_falls_silent_is_left(start, tmp_path):
    archive, _ = serve_zip(start, pause_seconds=5)
    with pytest.raises(RunError, match="broke off 1 times, last at 10,000 of"):
        download(archive, tmp_path, Patience(timeout_seconds=0.2, pauses_seconds=()))
    assert (tmp_path / "words.zip.partial").stat().st_size == 10_000


def test_a_server_without_ranges_is_asked_for_the_whole_again(start, tmp_path):
    archive, server = serve_zip(start, knows_ranges=False)
    (tmp_path / "words.zip.partial").write_bytes(b"?" * 1000)
    assert download(archive, tmp_path, IMPATIENT)["fetched_bytes"] == archive.bytes
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("length", [None, "19"])
def test_a_page_in_place_of_the_rest_leaves_what_was_fetched(start, tmp_path, length):
    archive, server = serve_zip(start)
    whole, partial = server.content, tmp_path / "words.zip.partial"
    partial.write_bytes(whole[:2_000_000])
    server.content, server.knows_ranges = b"<html>log in</html>", False
    server.headers = {"Content-Length": length, "Content-Type": "text/html"}
    message = refusal(archive, tmp_path)
    assert f"for {archive.url}, where bytes 2000000-" in message or "sends 19 bytes" in message
    assert partial.read_bytes() == whole[:2_000_000]
    assert server.ranges == ["bytes=2000000-"]

    server.content, server.knows_ranges, server.headers = whole, True, {}
    assert download(archive, tmp_path, IMPATIENT)["fetched_bytes"] == archive.bytes - 2_000_000


def test_a_range_that_is_not_satisfiable_starts_over_once(start, tmp_path):
    archive, server = serve_zip(start)
    shorter = archive.bytes - 10
    (tmp_path / "words.zip.partial").write_bytes(server.content[:1000])
    server.status, whole = 416, server.content
    server.headers = {"Content-Range": None}
    assert "answered 416" in refusal(archive, tmp_path)
    assert server.ranges == ["bytes=1000-", None]
    assert names(tmp_path) == [".words.lock"]

    server.status, server.content, server.ranges[:] = 0, whole[:shorter], []
    server.headers = {"Content-Range": None, "Content-Length": None}
    message = refusal(archive, tmp_path)
    assert f"ends at byte {shorter:,}" in message and f"{archive.bytes:,}" in message
    assert server.ranges == [None, f"bytes={shorter}-", None, f"bytes={shorter}-"]


@pytest.mark.parametrize("difference", [-1, 1, 10_000])
def test_a_server_with_another_size_is_not_believed(start, tmp_path, difference):
    archive, server = serve_zip(start)
    server.content = (server.content + bytes(10_000))[: archive.bytes + difference]
    message = refusal(archive, tmp_path)
    assert f"sends {archive.bytes + difference:,} bytes" in message and f"{archive.bytes:,} are right" in message
    assert names(tmp_path) == [".words.lock"]

    (tmp_path / "words.zip.partial").write_bytes(server.content[:1000])
    message = refusal(archive, tmp_path)
    assert f"has {archive.bytes + difference} bytes on the server, where {archive.bytes} are right" in message
    assert (tmp_path / "words.zip.partial").stat().st_size == 1000


def test_a_server_that_sends_more_than_there_is_is_stopped(start, tmp_path):
    archive, server = serve_zip(start, headers={"Content-Length": None})
    server.content += bytes(1_000_000)
    message = refusal(archive, tmp_path)
    assert "bytes or more" in message and f"where {archive.bytes:,} are right" in message
    assert (tmp_path / "words.zip.partial").stat().st_size == archive.bytes


@pytest.mark.parametrize(
    "header",
    ["bytes 0-2/{size}", "bytes 1001-{last}/{size}", "bytes 1000-{size}/{size}", "bytes 1000-999/{size}", "gibberish",
     "bytes 1000-{last}/" + "9" * 5000],
)  # fmt: skip
def test_a_part_that_was_not_asked_for_is_refused(start, tmp_path, header):
    archive, server = serve_zip(start)
    header = header.format(size=archive.bytes, last=archive.bytes - 1)
    server.only_part = {"Content-Range": header}
    (tmp_path / "words.zip.partial").write_bytes(server.content[:1000])
    assert re.search(f"sends {header[:80]!r}, where bytes 1000-{archive.bytes - 1}/{archive.bytes} were requested",
                     refusal(archive, tmp_path))  # fmt: skip
    assert (tmp_path / "words.zip.partial").read_bytes() == server.content[:1000]


def test_a_part_whose_length_is_not_that_of_its_range_is_refused(start, tmp_path):
    archive, server = serve_zip(start, only_part={"Content-Length": "7"})
    (tmp_path / "words.zip.partial").write_bytes(server.content[:1000])
    assert re.search(f"sends 7 bytes .*, where {archive.bytes - 1000:,} are right", refusal(archive, tmp_path))


def test_a_wrong_byte_is_found_nothing_is_unpacked_and_the_next_run_fetches_anew(start, tmp_path):
    archive, server = serve_zip(start)
    right, wrong = server.content, bytearray(server.content)
    wrong[1_000_000] ^= 1
    server.content = bytes(wrong)
    message = refusal(archive, tmp_path)
    assert archive.sha256 in message and hashlib.sha256(wrong).hexdigest() in message
    assert names(tmp_path) == [".words.lock", "words.zip.wrong"]
    assert str(tmp_path / "words.zip.wrong") in message
    server.content = right
    assert download(archive, tmp_path, IMPATIENT)["fetched_bytes"] == archive.bytes


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (500, "500 Internal Server Error"), (204, "204")])
def test_a_status_that_is_an_error_is_reported_in_one_line(start, tmp_path, status, said):
    archive, server = serve_zip(start, status=status)
    message = refusal(archive, tmp_path)
    assert f"127.0.0.1 answered {said} for {archive.url}; " in message
    assert str(tmp_path / "words.zip") in message
    assert len(server.ranges) == 1
    assert names(tmp_path) == [".words.lock"]


def test_without_a_server_the_file_can_be_fetched_by_hand(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    content = zip_of(HELLO)
    archive = archive_of(content, f"http://127.0.0.1:{port}/words.zip")
    message = refusal(archive, tmp_path)
    assert message.startswith("cannot reach 127.0.0.1: ")
    assert message.endswith(f"fetch {archive.url} by hand, put it at {tmp_path / 'words.zip'} and run this again")

    (tmp_path / "words.zip").write_bytes(content[:-1])
    assert f"has {len(content) - 1:,} bytes, where {len(content):,} are right" in refusal(archive, tmp_path)
    (tmp_path / "words.zip").write_bytes(content[:-1] + b"?")
    assert archive.sha256 in refusal(archive, tmp_path)
    assert names(tmp_path) == [".words.lock", "words.zip.wrong"]

    (tmp_path / "words.zip").write_bytes(content)
    (tmp_path / "words.zip.partial").write_bytes(content[:1000])
    assert download(archive, tmp_path, IMPATIENT)["fetched_bytes"] == 0
    assert names(tmp_path) == [".words.lock", "words", "words.zip", "words.zip.wrong"]
    assert (tmp_path / "words.zip").read_bytes() == content


def test_too_little_room_is_refused_before_the_server_is_asked(start, tmp_path):
    archive, server = serve_zip(start)
    message = refusal(replace(archive, unpacked_bytes=10**18), tmp_path, UsageError)
    assert "needs 1,000,000,000,003 MB" in message and "MB are free" in message
    assert not server.ranges


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path):
    archive = archive_of(b"abc", "http://127.0.0.1:9/words.zip")
    (tmp_path / "file").write_text("")
    assert "cannot make the folder" in refusal(archive, tmp_path / "file", UsageError)
    (tmp_path / "words").write_text("")
    assert "is a file where a folder shall be" in refusal(archive, tmp_path, UsageError)


def tar_entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_link(name: str, target: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, target)
    return content.getvalue()


BAD_ZIPS = {
    "parent": zip_of({"yes/a.wav": b"a", "../../evil": b"evil"}),
    "parent at the end": zip_of({"yes/..": b"evil"}),
    "absolute": zip_of({"/tmp/evil": b"evil"}, top=""),
    "backslash": zip_of({"..\\evil": b"evil"}),
    "drive": zip_of({"C:/evil": b"evil"}, top=""),
    "drive without a slash": zip_of({"c:evil": b"evil"}, top=""),
    "link": zip_link("words/evil", "/etc/passwd"),
    "beside the top": zip_of({"words/a.wav": b"a", "evil/a.wav": b"evil"}, top=""),
    "instead of the top": zip_of({"words": b"evil"}, top=""),
    "nothing": zip_of({}),
    "twice": zip_of({"a.wav": b"a", "./a.wav": b"evil"}),
    "file and folder": zip_of({"a": b"a", "a/evil.wav": b"evil"}),
    "bomb": None,
}  # fmt: skip
GOOD = {"yes/a.wav": b"a"}
BAD_TARS = {
    "parent": tar_of(GOOD | {"../evil": b"evil"}),
    "parent within": tar_of(GOOD | {"yes/../../evil": b"evil"}),
    "absolute": tar_of(GOOD | {"/tmp/evil": b"evil"}),
    "symbolic link out": tar_of(GOOD, tar_entry("evil", tarfile.SYMTYPE, "../..")),
    "absolute symbolic link": tar_of(GOOD, tar_entry("evil", tarfile.SYMTYPE, "/etc")),
    "hard link out": tar_of(GOOD, tar_entry("evil", tarfile.LNKTYPE, "../../evil")),
    "character device": tar_of(GOOD, tar_entry("evil", tarfile.CHRTYPE)),
    "block device": tar_of(GOOD, tar_entry("evil", tarfile.BLKTYPE)),
    "pipe": tar_of(GOOD, tar_entry("evil", tarfile.FIFOTYPE)),
    "bomb": None,
}


def bomb(pack) -> bytes:
    return pack({f"{number}.wav": bytes(1_000_000) for number in range(9)})


@pytest.mark.parametrize(
    ("content", "name"),
    [pytest.param(content or bomb(zip_of), "words.zip", id=f"zip: {what}") for what, content in BAD_ZIPS.items()]
    + [pytest.param(content or bomb(tar_of), "words.tar.gz", id=f"tar: {what}") for what, content in BAD_TARS.items()],
)
def test_an_archive_that_is_not_safe_leaves_nothing(tmp_path, content, name):
    output = tmp_path / "data"
    output.mkdir()
    (output / name).write_bytes(content)
    message = refusal(archive_of(content, f"http://127.0.0.1:9/{name}"), output)
    assert message.startswith(f"{output / name} is refused and nothing was unpacked: ")
    assert names(output) == sorted([".words.lock", name])
    assert names(tmp_path) == ["data"]
    assert not Path("/tmp/evil").exists()


def test_many_empty_files_are_a_bomb_as_well(tmp_path):
    content = tar_of({f"{number}": b"" for number in range(3_000)})
    (tmp_path / "words.tar.gz").write_bytes(content)
    assert "more than the 8,000,000 that are allowed" in refusal(archive_of(content, "http://a/words.tar.gz"), tmp_path)


@pytest.mark.parametrize("name", ["words.zip", "words.tar.gz"])
def test_an_archive_that_is_damaged_where_it_was_made_leaves_nothing(tmp_path, name):
    content = (zip_of(HELLO) if name.endswith(".zip") else tar_of(HELLO))[:-2_000]
    (tmp_path / name).write_bytes(content)
    message = refusal(archive_of(content, f"http://127.0.0.1:9/{name}"), tmp_path)
    assert "cannot be unpacked: " in message
    assert names(tmp_path) == sorted([".words.lock", name])


def start_run(archive: Archive, output: Path) -> subprocess.Popen:
    """Runs the command in a process of its own, with a table that has one archive more."""
    values = {name: getattr(archive, name) for name in archive.__dataclass_fields__}
    command = [sys.executable, "-c", RUN, repr(values), "words", "--output", str(output)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on(start, tmp_path, signal_):
    archive, server = serve_zip(start, waits_at=300_000)  # so it is not over before it is stopped
    partial = tmp_path / "words.zip.partial"
    process = start_run(archive, tmp_path)
    wait_until(lambda: partial.exists() and partial.stat().st_size > 200_000)
    os.killpg(process.pid, signal_)
    errors = process.communicate(timeout=60)[1]
    if signal_ == signal.SIGINT:
        assert (process.returncode, errors) == (130, "interrupted; nothing half-written stands under its final name\n")
    done = partial.stat().st_size
    assert 200_000 < done < archive.bytes

    server.goes_on.set()
    process = start_run(archive, tmp_path)
    paragraph, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert server.ranges == [None, f"bytes={done}-"]
    assert files_of(tmp_path / "words") == dict(sorted(HELLO.items()))
    assert names(tmp_path) == [".words.lock", "words"]
    assert len(paragraph.splitlines()) == 1


def test_a_run_that_was_killed_while_it_unpacked_is_completed_without_the_server(start, tmp_path):
    archive, server = serve_zip(start)
    (tmp_path / "words.zip.partial").write_bytes(server.content)
    (tmp_path / "words.12345.partial").mkdir()
    (tmp_path / "words.12345.partial" / "half.wav").write_bytes(b"half")
    assert download(archive, tmp_path, IMPATIENT)["files"] == 3
    assert not server.ranges
    assert names(tmp_path) == [".words.lock", "words"]


def test_of_two_runs_at_once_one_ends_in_one_line(start, tmp_path):
    archive, server = serve_zip(start, waits_at=300_000)
    first = threading.Thread(target=download, args=(archive, tmp_path, PATIENT))
    first.start()
    wait_until(lambda: (tmp_path / "words.zip.partial").exists())
    message = refusal(archive, tmp_path)
    server.goes_on.set()
    first.join()
    assert message.startswith("another run is at work on words in ")
    assert len(server.ranges) == 1
    assert files_of(tmp_path / "words") == dict(sorted(HELLO.items()))


def test_the_command_says_what_comes_next(start, tmp_path, capsys, monkeypatch):
    archive, _ = serve_zip(start)
    monkeypatch.setitem(archives.ARCHIVES, "words", replace(archive, options="--group path"))
    output, summary = tmp_path / "my data", tmp_path / "summary.json"
    next_command = (
        f"Next: python -m pipelines.featurize --input '{output}/words' --output speech-features/ --group path\n"
    )

    assert call("pipelines.download", "words", "--output", output, "--summary", summary) == 0
    paragraph = capsys.readouterr().out
    assert paragraph.startswith(f"3 files of words are in {output}/words after ")
    assert paragraph.endswith(next_command)
    figures = json.loads(summary.read_text())
    assert (figures["name"], figures["files"], figures["fetched_bytes"]) == ("words", 3, archive.bytes)

    assert call("pipelines.download", "words", "--output", output) == 0
    paragraph = capsys.readouterr().out
    assert paragraph.startswith(f"words is in {output}/words already, and nothing was done")
    assert paragraph.endswith(next_command)


def test_a_name_that_is_not_in_the_table_is_refused(tmp_path):
    result = run_command("pipelines.download", "songs", "--output", tmp_path / "data", check=False)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "mini-speech-commands" in result.stderr and "speech-commands-v2" in result.stderr
    assert not (tmp_path / "data").exists()
