"""Folders and object stores do the same by the same calls."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from features.errors import RunError, UsageError
from features.io.filesystem import LOCAL, absolute, filesystem_of, is_uri, join, place
from features.io.parallel import map_ahead
from features.io.store_errors import ChangedError, UnlistableError, first_line
from tests.object_store.faults import Faults, proxy
from tests.object_store.google import google
from tests.object_store.listing import lister
from tests.object_store.server import Bucket

NAMES = (
    "a b",
    "a%20b",
    "a+b",
    "a#b",
    "a?b",
    "x&y=1",
    "é",
    "e\u0301",
    "*",
    "a:b",
    "a\\b",
    "a~b",
    "{x}",
    '"q"',
    "<x>",
    "...",
)


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    return join(request.getfixturevalue("s3").uri, "set") if request.param == "s3" else str(tmp_path / "set")


def test_one_contract(folder):
    files = filesystem_of(folder)
    assert files.is_local is not is_uri(folder)
    path = join(folder, "some", "file")
    assert list(files.list(folder)) == []
    for call in (files.read, files.status, lambda path: files.read_range(path, 0, 1)):
        with pytest.raises(FileNotFoundError):
            call(path)
    files.delete(path)

    files.write(path, b"0123456789")
    assert files.read(path) == b"0123456789"
    status = files.status(path)
    assert (status.path, status.size) == (path, 10)
    assert abs(status.mtime_ns - time.time_ns()) < 60e9
    ranges = {(0, 1): b"0", (3, 4): b"3456", (9, 1): b"9", (8, 5): b"89", (10, 1): b"", (11, 5): b"", (4, 0): b""}
    assert {asked: files.read_range(path, *asked) for asked in ranges} == ranges
    files.write(path, "grün")
    assert files.read(path) == "grün".encode()
    assert files.status(path).version != status.version
    files.write(path, b"")
    assert files.read(path) == b"" and files.status(path).size == 0
    files.delete(path)
    assert list(files.list(folder)) == []


def test_what_is_created_is_not_replaced(folder):
    files, path = filesystem_of(folder), join(folder, "file")
    first = files.create(path, b"first")
    assert files.status(path).version == first
    with pytest.raises(FileExistsError):
        files.create(path, b"second")
    second = files.replace(path, b"second", first)
    with pytest.raises(ChangedError):
        files.replace(path, b"third", first)
    assert files.read(path) == b"second"
    files.replace(path, b"fourth", second)
    files.delete(path)
    with pytest.raises(ChangedError):
        files.replace(path, b"fifth", second)
    assert list(files.list(folder)) == []


@pytest.mark.parametrize("how", ["create", "replace"])
def test_of_many_at_once_one_writes(folder, how):
    files = filesystem_of(folder)
    for turn in range(5):
        path, version = join(folder, f"file-{turn}"), ""
        if how == "replace":
            version = files.create(path, b"base")
        won: list[int] = []
        ready = threading.Barrier(6)

        def write(number, path=path, version=version, won=won, ready=ready):
            ready.wait()
            try:
                content = b"by %d" % number
                files.create(path, content) if how == "create" else files.replace(path, content, version)
            except (FileExistsError, ChangedError):
                return
            won.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert files.read(path) == b"by %d" % won[0]


def test_listing_in_the_order_of_bytes(folder):
    files = filesystem_of(folder)
    names = ["a-b", "a/b", "a/c/d", "a.x", "a0", "b", "Z", "é", "z/y"]
    for name in names:
        files.write(join(folder, *name.split("/")), name.encode())
    listed = list(files.list(folder))
    assert [entry.path for entry in listed] == sorted(
        (join(folder, *name.split("/")) for name in names), key=os.fsencode
    )
    assert [entry.size for entry in listed] == [len(files.read(entry.path)) for entry in listed]
    assert [entry.path for entry in files.list(folder + "/")] == [entry.path for entry in listed]
    below = [entry.path for entry in files.list(folder, recursive=False)]
    assert below == [entry.path for entry in listed if "/" not in entry.path[len(folder) + 1 :]]
    assert [entry.path for entry in files.list(join(folder, "a"))] == [
        join(folder, "a", "b"),
        join(folder, "a", "c", "d"),
    ]


def test_odd_names(folder):
    files = filesystem_of(folder)
    for name in NAMES:
        files.write(join(folder, name), name.encode())
    assert {entry.path for entry in files.list(folder)} == {join(folder, name) for name in NAMES}
    for name in NAMES:
        assert files.read(join(folder, name)) == name.encode()
        files.delete(join(folder, name))
    assert list(files.list(folder)) == []


def test_a_file_that_is_begun_is_there_when_it_is_whole(folder, tmp_path):
    files, path = filesystem_of(folder), join(folder, "file")
    files.write(join(folder, "other"), b"")
    with files.begin(path) as file:
        file.write(b"half")
        with pytest.raises(FileNotFoundError):
            files.status(path)
        file.write(b" and half")
    assert files.read(path) == b"half and half"
    with pytest.raises(RuntimeError), files.begin(path) as file:
        file.write(b"quarter")
        raise RuntimeError
    with files.begin(path) as file:
        file.discard()
    assert files.read(path) == b"half and half"
    local = tmp_path / "local"
    local.write_bytes(os.urandom(3 * 2**20 + 1))
    files.write(path, local)
    assert files.read(path) == local.read_bytes()
    assert [entry.path for entry in files.list(folder)] == [path, join(folder, "other")]


def test_the_clock_of_what_dates_files(folder):
    files = filesystem_of(folder)
    now_ns = files.now_ns(join(folder, "clock"))
    files.write(join(folder, "file"), b"")
    assert 0 <= files.status(join(folder, "file")).mtime_ns - now_ns < 60e9
    assert len(list(files.list(folder))) == 1


def test_a_path_of_bytes_that_are_not_utf8_is_a_file_and_no_object(tmp_path, s3):
    name = os.fsdecode(b"\xff")
    LOCAL.write(join(str(tmp_path), name), b"x")
    assert [os.path.basename(entry.path) for entry in LOCAL.list(str(tmp_path))] == [name]
    with pytest.raises(UsageError, match="is UTF-8"):
        filesystem_of(s3.uri).write(join(s3.uri, name), b"x")


@pytest.mark.parametrize("name", ["a//b", "../a", "a/..", "./a", "a/./b", "a/", "/a", "", "a\nb", "a\x7f"])
def test_names_that_would_be_those_of_other_objects_are_refused(name, s3):
    files, path = filesystem_of(s3.uri), f"{s3.uri}/{name}"
    for call in (files.read, files.status, files.delete, files.begin, lambda path: files.write(path, b"")):
        with pytest.raises(UsageError, match="the name of an object has no empty part"):
            call(path)
    assert s3.names() == []


@pytest.mark.parametrize("place", ["hdfs://host/set", "http://host/set", "S4://b/x"])
def test_other_uris_are_refused(place):
    with pytest.raises(UsageError, match="begins with one of s3://, gs://, "):
        filesystem_of(place)


def test_what_looks_like_a_uri_is_a_path_behind_a_dot():
    assert filesystem_of("./s3://bucket/x") is LOCAL
    assert filesystem_of(Path("s3://bucket/x")) is LOCAL
    with pytest.raises(UsageError, match="names no bucket"):
        filesystem_of("s3:///x")
    for text in ("s3://", "s3:///", str(place("s3://")), place("s3://") / "x", join("s3://", "x"), absolute("s3://")):
        with pytest.raises(UsageError, match="names no bucket"):
            filesystem_of(text)
    assert (place("s3://b//"), place("s3://b/x/") / "y") == ("s3://b", "s3://b/x/y")
    assert absolute("s3://b/x/") == absolute("s3://b/x") == "s3://b/x"  # as a run that goes on may be told it


@pytest.fixture
def listed(monkeypatch):
    """Has a store list objects of these names."""
    with contextlib.ExitStack() as servers:

        def serve(*keys, refused=None):
            endpoint = servers.enter_context(lister(keys, refused))
            for variable, value in Bucket("", endpoint, Path()).environment.items():
                monkeypatch.setenv(variable, value)
            return fresh_store("s3://bucket")

        yield serve


def test_what_marks_a_folder_is_no_file_in_it(listed):
    files = listed("words/", "words/yes/", "words/yes/a.wav", "words2/b.wav")
    for folder in ("s3://bucket/words", "s3://bucket/words/"):
        names = [entry.path.removeprefix("s3://bucket/words/") for entry in files.list(folder)]
        assert names == ["yes", "yes/a.wav"]
    assert "s3://bucket/words" not in [entry.path for entry in files.list("s3://bucket/words", recursive=False)]


@pytest.mark.parametrize("key", ["words//b.wav", "words/../b.wav", "words/./b.wav"])
def test_a_name_that_cannot_be_said_is_named(listed, key):
    with pytest.raises(UnlistableError) as told:
        list(listed("words/a.wav", key).list("s3://bucket/words"))
    said = str(told.value)
    assert said.startswith("s3://bucket/words cannot be listed for the name of one object: ")
    assert key in said and "\n" not in said


def test_what_cannot_be_asked_is_told_in_one_line_within_seconds(s3, monkeypatch):
    def told(uri=s3.uri, **variables):
        with monkeypatch.context() as changed:
            for variable, value in variables.items():
                changed.setenv(variable, value) if value else changed.delenv(variable)
            # In a process of its own, which has asked nothing before.
            code = f"from features.io.filesystem import filesystem_of; filesystem_of({uri!r}).read({uri + '/x'!r})"
            started = time.monotonic()
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
            assert time.monotonic() - started < 60  # 6 s, and the start of a process where others are at work
        return run.stderr.strip().splitlines()[-1]

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        silent = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        assert f"{silent} does not answer for {s3.uri}: " in told(AWS_ENDPOINT_URL=silent)
    assert f"no such bucket: s3://no-such-bucket, at {s3.endpoint}; " in told("s3://no-such-bucket")
    assert f"{s3.endpoint} answers 400 InvalidBucketName for s3://b; see to the name" in told("s3://b")
    assert "refuses the credentials for" in told(AWS_SECRET_ACCESS_KEY="wrong")
    assert "FileNotFoundError" in told()


def test_faults_cost_time_and_nothing_else(s3, monkeypatch):
    faults = Faults(busy=0.1, cut=0.1, lost=0.1, half=0.1, seed=3)
    with proxy(s3.endpoint, faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        files = fresh_store(s3.uri)
        contents = {join(s3.uri, "set", f"{number:03d}"): os.urandom(1 + 999 * number) for number in range(40)}
        for path, content in contents.items():
            files.write(path, content)
        assert [(entry.path, entry.size) for entry in files.list(s3.uri)] == [
            (path, len(content)) for path, content in contents.items()
        ]
        assert list(map_ahead(files.read, contents)) == [*contents.values()]
        version = ""
        for number in range(8):
            content, path = b"%d" % number, join(s3.uri, "one")
            version = files.replace(path, content, version) if version else files.create(path, content)
            with pytest.raises(ChangedError):
                files.replace(path, b"other", '"0123"')
            with pytest.raises(FileExistsError):
                files.create(path, b"other")
        assert files.read(path) == b"7"
    assert min(faults.done[kind] for kind in ("busy", "cut", "lost", "half")) > 0


def test_an_endpoint_that_falls_silent_ends_the_run_and_is_no_missing_file(s3, monkeypatch):
    monkeypatch.setattr("features.io.object_store._PATIENCE_SECONDS", 1)
    with proxy(s3.endpoint, Faults()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        files = fresh_store(s3.uri)
        files.write(join(s3.uri, "x"), b"x")
    with pytest.raises(RunError, match="does not answer any more"):
        files.read(join(s3.uri, "x"))


@pytest.mark.parametrize("store", ["S3", "GCS", "MicrosoftAzure"])
@pytest.mark.parametrize("request_of", ["", "Error performing list request: "])
def test_no_address_is_told_as_it_may_hold_a_signature(store, request_of):
    request = "Error performing GET https://a.blob.example/b/x?sv=1&sig=secret in 3.2ms, after 2 retries - "
    error = GenericError(f"Generic {store} error: {request_of}{request}HTTP error: reset\n\nDebug source:\nGeneric {{")
    assert first_line(error) == "HTTP error: reset"


def test_a_fork_of_a_process_that_used_a_store_does_not_wait_for_ever(s3):
    code = f"""
import os
from features.io.filesystem import filesystem_of
read = lambda: filesystem_of({s3.uri!r}).read({s3.uri + "/none"!r})
for _ in range(2):
    try:
        read()
    except Exception as error:
        print(type(error).__name__, str(error)[:30])
    if _ == 0 and (child := os.fork()):
        os.waitpid(child, 0)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert sorted(set(run.stdout.splitlines())) == [
        "FileNotFoundError [Errno 2] No such file or dire", "RunError this process was forked from o",
    ]  # fmt: skip


def test_google_replaces_by_the_generation(monkeypatch):
    with google() as (account, generations):
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", account)
        monkeypatch.setenv("AWS_ENDPOINT_URL", json.loads(account)["gcs_base_url"])  # by which http is allowed
        files, path = fresh_store("gs://bucket"), "gs://bucket/file"
        first = files.create(path, b"first")
        with pytest.raises(FileExistsError):
            files.create(path, b"other")
        second = files.replace(path, b"second", first)
        for version in (first, '"none"'):
            with pytest.raises(ChangedError):
                files.replace(path, b"third", version)
        with pytest.raises(ChangedError):
            files.replace("gs://bucket/none", b"third", second)
        assert files.status(path).version == second
        assert files.read(path) == b"second"
    assert generations == ["0", "0", "1"]


def fresh_store(uri):
    """Returns a store that has asked nothing yet, as a process of its own would have it."""
    from features.io.object_store import ObjectStore

    return ObjectStore(uri)
