import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from features.errors import RunError, UsageError
from features.io.atomic import (
    PARTIAL_SUFFIX,
    AtomicFile,
    atomic_folder,
    naming_full_disk,
    write_file,
    writer_name,
)


@pytest.fixture
def calls(monkeypatch):
    """The names of what is synced and renamed, in order; the calls themselves are made."""
    made = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        made.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def watched_replace(source, target):
        made.append(("replace", os.path.basename(source), os.path.basename(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    return made


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("content", [b"", b"a", b"x" * 100_000, "ä\n", ""])
def test_a_file_holds_what_was_written(tmp_path, content):
    write_file(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert names(tmp_path) == ["a"]


def test_length_and_checksum_are_those_of_the_file(tmp_path):
    with AtomicFile(tmp_path / "a") as file:
        assert file.write(b"1234") == file.write(memoryview(b"5678")) == 4
        assert file.write(np.frombuffer(b"9", "u1")) == 1
        assert not file.closed
    assert file.closed
    assert (file.num_bytes, file.crc32c) == (9, 0xE3069283)  # the check value of CRC-32C
    assert (tmp_path / "a").read_bytes() == b"123456789"


def test_a_file_appears_when_it_is_complete(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with AtomicFile(tmp_path / "a") as file:
        file.write(b"new")
        assert (tmp_path / "a").read_bytes() == b"old"
        (partial,) = set(names(tmp_path)) - {"a"}
        assert partial.endswith(PARTIAL_SUFFIX)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_two_writers_of_one_process_do_not_get_into_each_other(tmp_path):
    with AtomicFile(tmp_path / "a") as first:
        first.write(b"first")
        with AtomicFile(tmp_path / "a") as second:
            second.write(b"second, ")
            first.write(b", too")
        assert (tmp_path / "a").read_bytes() == b"second, "
    assert (tmp_path / "a").read_bytes() == b"first, too"
    assert names(tmp_path) == ["a"]


def test_a_name_that_was_given_back_is_taken_again(tmp_path, calls):
    partial = f"a.{writer_name()}{PARTIAL_SUFFIX}"
    for _ in range(2):
        write_file(tmp_path / "a", b"new")
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "missing" / "a", b"new")
    (tmp_path / "missing").mkdir()
    write_file(tmp_path / "missing" / "a", b"new")
    assert [call for call in calls if call[0] == "replace"] == [("replace", partial, "a")] * 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [[], ["a"]])
def test_a_block_that_raises_leaves_nothing(tmp_path, error, old):
    for name in old:
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(error), AtomicFile(tmp_path / "a") as file:
        file.write(b"new")
        raise error
    assert names(tmp_path) == old
    assert file.closed
    assert all((tmp_path / name).read_bytes() == b"old" for name in old)


def test_a_name_that_cannot_be_taken_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]


def test_a_file_is_synced_before_it_is_named_and_its_folder_after(tmp_path, calls):
    write_file(tmp_path / "a", b"new")
    partial = f"a.{writer_name()}{PARTIAL_SUFFIX}"
    assert calls == [("fsync", partial), ("replace", partial, "a"), ("fsync", tmp_path.name)]


def test_a_relative_name(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    write_file("a", b"new")
    assert names(tmp_path) == ["a"]
    assert calls[-1] == ("fsync", tmp_path.name)


def test_a_killed_writer_leaves_no_file_under_the_name(tmp_path):
    code = (
        "import os, signal, sys; from features.io.atomic import AtomicFile\n"
        "with AtomicFile(sys.argv[1]) as file:\n    file.write(b'new' * 1000); os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)
    assert result.returncode == -9
    assert not (tmp_path / "a").exists()
    assert all(name.endswith(PARTIAL_SUFFIX) for name in names(tmp_path))
    write_file(tmp_path / "a", b"newer")
    assert (tmp_path / "a").read_bytes() == b"newer"


def fill(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "b").write_bytes(b"b")
    (folder / "c").write_bytes(b"c")


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("old", [False, True])
def test_a_folder_appears_when_it_is_complete(tmp_path, old):
    final = tmp_path / "new" / "run" if not old else tmp_path / "run"
    if old:
        final.mkdir()
        (final / "old").write_bytes(b"old")
    with atomic_folder(final) as folder:
        assert list(folder.iterdir()) == []
        fill(folder)
        assert final.exists() == old
        assert not old or content(final) == {"old": b"old"}
    assert content(final) == {"sub/b": b"b", "c": b"c"}
    assert names(final.parent) == ["run"]


@pytest.mark.parametrize("named", [b"abc", 3, "elsewhere"])
def test_an_error_about_something_else_passes_through(tmp_path, named):
    error = OSError(errno.EIO, "x", named)
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "run"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [False, True])
def test_a_folder_whose_block_raises_leaves_nothing(tmp_path, error, old):
    final = tmp_path / "run"
    if old:
        final.mkdir()
        (final / "old").write_bytes(b"old")
    with pytest.raises(error), atomic_folder(final) as folder:
        fill(folder)
        raise error
    assert names(tmp_path) == (["run"] if old else [])
    assert not old or content(final) == {"old": b"old"}


def test_all_of_a_folder_is_synced_before_it_is_named(tmp_path, calls):
    with atomic_folder(tmp_path / "run") as folder:
        fill(folder)
    partial = folder.name
    assert {call[1] for call in calls[:-2]} == {"sub", "b", "c", partial}
    assert all(call[0] == "fsync" for call in calls[:-2])
    assert calls[-2:] == [("replace", partial, "run"), ("fsync", tmp_path.name)]


def test_what_a_dead_writer_left_is_no_part_of_a_folder(tmp_path):
    left = tmp_path / f"run.{writer_name()}{PARTIAL_SUFFIX}"
    left.mkdir()
    (left / "junk").write_bytes(b"junk")
    with atomic_folder(tmp_path / "run") as folder:
        fill(folder)
    assert content(tmp_path / "run") == {"sub/b": b"b", "c": b"c"}


@pytest.fixture
def small_files():
    """No file may be larger than 4 kB, as where a user has a quota of that kind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_folder(path: Path) -> None:
    with atomic_folder(path) as folder:
        write_file(folder / "a", b"x" * 10_000)


def fill_folder(path: Path) -> None:
    with atomic_folder(path) as folder, open(folder / "a", "wb") as file:
        file.write(b"x" * 10_000)


def make_nothing(path: Path) -> None:
    with atomic_folder(path) as folder:
        os.unlink(folder / "a")


@pytest.mark.parametrize(
    ("write", "name", "kind"),
    [
        (lambda path: write_file(path, b"x"), "none/a", FileNotFoundError),
        (lambda path: write_file(path, b"x"), "file/a", NotADirectoryError),
        (lambda path: write_file(path, b"x"), "folder", IsADirectoryError),
        (lambda path: write_file(path, b"x" * 10_000), "a", OSError),
        (make_nothing, "file/a", NotADirectoryError),
        (make_nothing, "a", FileNotFoundError),
    ],
)
def test_an_error_names_what_was_asked_for_and_no_partial_file(tmp_path, small_files, write, name, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(kind) as raised:
        write(tmp_path / name)
    assert raised.value.filename == str(tmp_path / name)
    assert PARTIAL_SUFFIX not in str(raised.value)
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("write", [write_folder, fill_folder])
def test_a_file_of_a_folder_that_grows_too_large_leaves_nothing(tmp_path, small_files, write):
    with pytest.raises(OSError) as raised:
        write(tmp_path / "new")
    assert raised.value.errno == errno.EFBIG
    assert PARTIAL_SUFFIX not in str(raised.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x.123-ab.partial"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        # As h5py and TensorFlow say it.
        OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
        RuntimeError(
            "Unable to flush file's cached information (errno = 28, error message = 'No space left on device')"
        ),
    ],
)
def test_a_full_disk_is_one_sentence_whoever_meets_it(error):
    sentence = "no space is left on the device for run; make room and run it again, what was finished is kept"
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"), naming_full_disk("run"):
        raise error


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), ValueError("x"), KeyboardInterrupt(),
                                   UsageError("give --output"), RunError("of another kind")])  # fmt: skip
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, naming_full_disk("run"):
        raise error
    assert raised.value is error
