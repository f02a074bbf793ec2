import os

import pytest

from features.io.regular_file import open_regular
from tests.features.not_files import within_seconds


def test_a_file_is_opened_to_be_read(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    descriptor, status = open_regular(str(tmp_path / "a"))
    with open(descriptor, "rb") as file:
        assert file.read() == b"content"
        assert status.st_size == 7
        assert not os.get_inheritable(descriptor)


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_not_a_regular_file_is_refused_and_not_left_open(tmp_path, monkeypatch, put):
    put(tmp_path / "a")
    closed, close = [], os.close
    monkeypatch.setattr(os, "close", lambda descriptor: closed.append(os.fstat(descriptor)) or close(descriptor))
    with within_seconds(20), pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        open_regular(str(tmp_path / "a"))
    assert [status.st_ino for status in closed] == [(tmp_path / "a").stat().st_ino]


def test_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular(str(tmp_path / "a"))
