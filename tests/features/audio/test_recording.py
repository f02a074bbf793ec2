import os

import pytest
import soundfile

from features.audio import recording
from features.audio.decode import AudioInfo, decode, probe
from features.audio.recording import open_recording
from features.errors import ClipError, Reason, RunError
from tests.features.not_files import NOT_FILES, within_seconds
from tests.signals import noise, write_wav


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_is_not_a_file_with_bytes_is_refused_and_not_waited_for(tmp_path, what, whole):
    put, reason, message = NOT_FILES[what]
    put(tmp_path / "a.wav")
    with within_seconds(20), pytest.raises(ClipError, match=message) as error:
        open_recording(str(tmp_path / "a.wav"), whole).probe()
    assert (error.value.stage, error.value.reason) == ("decode", reason)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(100), 16_000, subtype="PCM_16")
    info = probe(str(path))
    path.unlink()
    os.mkfifo(path)
    for look in (probe, lambda source: decode(source, info)):
        with within_seconds(20), pytest.raises(ClipError, match="it is not a regular file") as error:
            look(str(path))
        assert error.value.reason == Reason.UNREADABLE


def test_a_small_plain_wav_is_decoded_from_memory_where_all_of_it_is_wanted(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(100))
    for whole in (True, False):
        opened = open_recording(str(path), whole)
        status = path.stat()
        assert (opened.size, opened.mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert opened.content == (path.read_bytes() if whole else None)
        assert opened.source == (path.read_bytes() if whole else str(path))
        assert opened.probe() == opened.plain_info == probe(str(path))


def test_what_another_process_decodes_is_not_handed_over_as_bytes(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(100), 16_000)
    opened = open_recording(str(path), whole=True)
    assert opened.content == path.read_bytes()  # for its hash
    assert opened.source == str(path)
    assert opened.plain_info is None
    decoder = f"libsndfile {soundfile.__libsndfile_version__}"
    assert opened.probe() == AudioInfo(100, 1, 16_000, end_unverified=True, decoder=decoder, size=path.stat().st_size)


@pytest.mark.parametrize("more", [0, 1])
def test_a_file_above_the_limit_is_not_held_in_memory(tmp_path, monkeypatch, more):
    path = write_wav(tmp_path / "a.wav", noise(100))
    monkeypatch.setattr(recording, "_IN_MEMORY_BYTES", path.stat().st_size - more)
    opened = open_recording(str(path), whole=True)
    assert (opened.content is None) == bool(more)
    assert opened.plain_info == probe(str(path))


def grow(path):
    path.write_bytes(path.read_bytes() + b"\0\0")


def shrink(path):
    path.write_bytes(path.read_bytes()[:-2])


def touch(path):
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [grow, shrink, touch])
def test_a_file_that_changes_while_it_is_read_into_memory(tmp_path, monkeypatch, change):
    path = write_wav(tmp_path / "a.wav", noise(100))
    read = os.read

    def read_and_change(descriptor, size):
        change(path)
        return read(descriptor, size)

    monkeypatch.setattr(recording.os, "read", read_and_change)
    with pytest.raises(ClipError, match="the file changed while it was read") as error:
        open_recording(str(path), whole=True)
    assert error.value.reason == Reason.VANISHED


def test_a_file_that_comes_in_pieces_is_read_to_its_end(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", noise(1_000))
    read = os.read
    monkeypatch.setattr(recording.os, "read", lambda descriptor, size: read(descriptor, min(size, 300)))
    assert open_recording(str(path), whole=True).content == path.read_bytes()


@pytest.mark.parametrize("change", [grow, shrink, touch, os.unlink])
def test_a_file_that_changes_while_parts_of_it_are_decoded(tmp_path, change):
    path = write_wav(tmp_path / "a.wav", noise(100))
    message = "went away" if change is os.unlink else "changed"
    with pytest.raises(ClipError, match=f"the file {message} while it was read") as error, \
            open_recording(str(path), whole=False):  # fmt: skip
        change(path)
    assert error.value.reason == Reason.VANISHED


def test_an_error_of_what_took_the_place_of_a_file_is_that_it_vanished(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(100))
    with pytest.raises(ClipError) as error, open_recording(str(path), whole=False):
        shrink(path)
        raise ClipError("decode", Reason.DAMAGED, "it is damaged")
    assert error.value.reason == Reason.VANISHED
    with pytest.raises(ClipError, match="it is damaged"), open_recording(str(path), whole=False):
        raise ClipError("decode", Reason.DAMAGED, "it is damaged")


def test_an_error_that_ends_the_run_stays_what_it_is(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(100))
    with pytest.raises(RunError), open_recording(str(path), whole=False):
        shrink(path)
        raise RunError("no process can be started")


def test_content_in_memory_does_not_change(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(100))
    content = path.read_bytes()
    with open_recording(str(path), whole=True) as opened:
        path.unlink()
        assert len(decode(opened.source, opened.probe())) == 100
    assert opened.content == content
