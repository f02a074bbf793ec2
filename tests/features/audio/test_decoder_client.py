"""Processes that decode, and what they do to the one that asks: really aborted, really hung, really out of memory."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from features.audio import decoder_client, protocol
from features.audio.decode import decode, probe
from features.audio.decoder_process import MEMORY_BYTES
from features.errors import ClipError, Reason, RunError
from features.frontend.clip import clip_waveform
from tests.conftest import wait_until
from tests.features.audio.test_decode import chunk, encoded, form, riff
from tests.features.examples import STFT
from tests.signals import noise

# In every Python process that finds this module: a decoder that meets a mark in a file really does what it says.
SPOILED = """
import sys

if "features.audio.decoder_process" in sys.orig_argv:
    import ctypes, os, time
    from features.audio import soundfile_codec as codecs

    whole = codecs.read_coded

    def read_coded(descriptor, *part):
        content = os.pread(descriptor, 1 << 20, 0)
        if b"ABORT" in content:
            os.abort()
        if b"FAULT" in content:
            ctypes.string_at(0)
        if b"HANG" in content:
            while True:
                ctypes.CDLL(None).sleep(1000)
        if b"EAT" in content:
            eaten = []
            try:
                while True:
                    eaten.append(bytes(bytearray(1 << 24)))
            finally:
                eaten.clear()  # there is room for this
                with open("/proc/self/status") as status, open(__file__ + ".eaten", "w") as note:
                    note.write(status.read())
        if b"MALLOC" in content:
            malloc = ctypes.CDLL(None).malloc
            malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
            while address := malloc(1 << 24):
                ctypes.memset(address, 1, 1 << 24)
            os.abort()
        if b"ENDLESS" in content:
            import numpy
            while True:
                yield numpy.zeros((1 << 20, 1), numpy.float32)
        if b"ONCE" in content and getattr(codecs, "spoiled", False):
            os.abort()
        if b"SPOIL" in content:
            codecs.spoiled = True
        yield from whole(descriptor, *part)

    codecs.read_coded = read_coded
"""
SAMPLES = noise(1_000)


def marked(mark: str) -> bytes:
    """A WAV of floats, which is not read by hand, with a mark in it."""
    return encoded(SAMPLES, "WAV", "FLOAT") + chunk(b"LIST", mark.encode())


def end_all() -> None:
    while decoder_client._idle:
        decoder_client._idle.pop().end()


@pytest.fixture
def spoiled(monkeypatch, tmp_path):
    """Decoders that do what files say, and none from before or for after."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SPOILED)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    end_all()
    yield
    end_all()


def write(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def refusal(path: str) -> ClipError:
    with pytest.raises(ClipError) as error:
        clip_waveform(path, STFT)
    assert error.value.stage == "decode"
    return error.value


@pytest.mark.parametrize(
    ("mark", "reason", "words"),
    [
        ("ABORT", Reason.DECODER_DIED, "SIGABRT"),
        ("FAULT", Reason.DECODER_DIED, "SIGSEGV"),
        ("EAT", Reason.OUT_OF_MEMORY_GUARD, "more memory than 256 MiB"),
        ("MALLOC", Reason.DECODER_DIED, "SIGABRT"),
        ("ENDLESS", Reason.OUT_OF_MEMORY_GUARD, "more samples than a file of its size can hold"),
    ],
)
def test_a_decoder_that_fails_costs_one_file(spoiled, tmp_path, mark, reason, words):
    good = write(tmp_path, "good.wav", marked("good"))
    bad = write(tmp_path, "bad.wav", marked(mark))
    expected = clip_waveform(good, STFT)[0]
    for _ in range(2):
        error = refusal(bad)
        assert error.reason == reason
        assert words in error.message
        assert np.array_equal(clip_waveform(good, STFT)[0], expected)


def test_a_decoder_that_hangs_is_ended_at_the_limit(spoiled, tmp_path, monkeypatch):
    good = write(tmp_path, "good.wav", marked("good"))
    bad = write(tmp_path, "bad.wav", marked("HANG"))
    clip_waveform(good, STFT)
    first = decoder_client._idle[-1].process_id
    started = time.monotonic()
    with monkeypatch.context() as changed:
        changed.setattr(protocol, "_LEAST_SECONDS", 1.0)
        assert refusal(bad).reason == Reason.TIMEOUT
    assert time.monotonic() - started < 30  # of 1,000
    assert not Path(f"/proc/{first}").exists()
    assert decoder_client._idle == []
    clip_waveform(good, STFT)


def test_the_bound_of_a_decoders_memory_is_kept(spoiled, tmp_path):
    good = write(tmp_path, "good.wav", marked("good"))
    clip_waveform(good, STFT)

    def bytes_of(status: Path, name: str) -> int:
        return int(status.read_text().partition(f"{name}:")[2].split()[0]) * 1024

    resting = bytes_of(Path(f"/proc/{decoder_client._idle[-1].process_id}/status"), "VmRSS")
    assert refusal(write(tmp_path, "bad.wav", marked("EAT"))).reason == Reason.OUT_OF_MEMORY_GUARD
    peak = bytes_of(tmp_path / "site" / "sitecustomize.py.eaten", "VmHWM")
    assert resting + MEMORY_BYTES // 2 < peak < resting + MEMORY_BYTES + 2**24


def test_what_an_earlier_file_did_to_a_decoder_is_not_held_against_the_next(spoiled, tmp_path):
    spoiling = write(tmp_path, "a.wav", marked("SPOIL"))
    victim = write(tmp_path, "b.wav", marked("ONCE"))
    clip_waveform(spoiling, STFT)
    assert len(clip_waveform(victim, STFT)[0]) == STFT.clip_samples


def test_a_decoder_serves_many_files_and_threads_have_their_own(tmp_path):
    end_all()
    paths = [write(tmp_path, f"{number}.wav", encoded(noise(500, number), "WAV", "FLOAT")) for number in range(40)]
    expected = [clip_waveform(path, STFT)[0] for path in paths]
    assert len(decoder_client._idle) == 1
    assert decoder_client._idle[0].asked == 40
    results: dict[int, list[np.ndarray]] = {}

    def work(number: int) -> None:
        results[number] = [clip_waveform(path, STFT)[0] for path in paths]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(decoder_client._idle) <= 4
    for waveforms in results.values():
        assert all(map(np.array_equal, waveforms, expected))
    end_all()


def test_a_file_that_another_thread_has_open_stays_so(tmp_path):
    end_all()
    paths = [write(tmp_path, f"{number}.wav", encoded(noise(500, number), "WAV", "FLOAT")) for number in range(3)]
    clip_waveform(paths[0], STFT)
    of_this_thread = decoder_client._idle.pop()
    with ThreadPoolExecutor(1) as other:
        other.submit(clip_waveform, paths[1], STFT).result()
        [of_the_other] = decoder_client._idle
        for idle in ([of_the_other, of_this_thread], [of_this_thread, of_the_other]):
            decoder_client._idle[:] = idle
            asked = of_this_thread.asked, of_the_other.asked
            other.submit(clip_waveform, paths[2], STFT).result()
            assert (of_this_thread.asked, of_the_other.asked > asked[1]) == (asked[0], True)
    asked_before = of_the_other.asked
    clip_waveform(paths[2], STFT)  # which the other has open
    assert of_the_other.asked > asked_before
    end_all()


def test_a_decoder_that_cannot_start_ends_the_run(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'features.audio.decoder_process' in sys.orig_argv: os._exit(9)"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    end_all()
    with pytest.raises(RunError, match=r"the decoding process does not start: .*exit code 9.*--verbose"):
        probe(marked(""))


ASKS = """
import sys
from features.audio.decode import decode, probe
info = probe(sys.argv[1])
print("probed", flush=True)
decode(sys.argv[1], info)
"""


def children(process_id: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


@pytest.mark.parametrize("mark", ["HANG", "good"])
def test_a_decoder_ends_with_the_process_that_asked_it_however_that_ended(spoiled, tmp_path, mark):
    path = write(tmp_path, "a.wav", marked(mark))
    code = ASKS + "import time; time.sleep(1000)"
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout.readline() == b"probed\n"
        (child,) = children(process.pid)
        process.kill()
        process.wait()
        wait_until(lambda: not Path(f"/proc/{child}").exists(), seconds=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def test_a_process_that_was_forked_after_decoding_has_decoders_of_its_own(tmp_path):
    paths = [write(tmp_path, f"{number}.flac", encoded(noise(50_000, number), "FLAC", "PCM_16")) for number in range(2)]
    code = """
import os, sys
import numpy as np
from features.audio.decode import decode, probe
def look(path): return decode(path, probe(path)).tobytes()
whole = {path: look(path) for path in sys.argv[1:]}
children = []
for path in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        os._exit(0 if all(look(path) == whole[path] for _ in range(50)) else 1)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[0, 0]\n", done.stderr


def test_decoders_find_the_package_from_any_folder_and_none_that_has_its_name(tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "__init__.py").write_text("raise SystemExit('another features')")
    path = write(tmp_path, "a.wav", marked(""))
    code = "import sys; sys.path.remove(''); " + ASKS.strip().replace("\n", "; ")
    done = subprocess.run([sys.executable, "-c", code, path], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "probed\n"), done.stderr


def test_what_decoders_print_is_not_shown(tmp_path):
    path = write(tmp_path, "a.mp3", encoded(noise(16_000), "MP3", "MPEG_LAYER_III")[:1_500])
    done = subprocess.run([sys.executable, "-c", ASKS, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_replaced_between_its_header_and_its_samples_has_changed(tmp_path):
    path = write(tmp_path, "a.wav", encoded(noise(1_000), "WAV", "FLOAT"))
    info = probe(path)
    write(tmp_path, "a.wav", encoded(noise(1_000).reshape(-1, 2), "WAV", "FLOAT"))
    with pytest.raises(ClipError) as error:
        decode(path, info)
    assert error.value.reason == Reason.VANISHED


def test_promises_of_a_header_take_no_memory(tmp_path):
    """A data chunk of 3.7 GB in a file of 60 bytes is read as what is there."""
    content = riff(form(bits=32), b"data\xf0\xff\xff\xdf" + b"\0" * 16)
    info = probe(content)
    assert (info.frames, info.truncated) == (4, True)
    assert decode(content, info).shape == (4, 1)
    flac = bytearray(encoded(noise(1_000), "FLAC", "PCM_16"))
    flac[21] |= 0x0F  # the 36 bits of the number of samples
    flac[22:26] = b"\xff\xff\xff\xf0"
    info = probe(bytes(flac))
    assert (info.frames, info.truncated) == (1_000, True)
    assert clip_waveform(bytes(flac), STFT)[2] == "truncated"


def test_where_files_may_not_be_large_samples_come_all_the_same(tmp_path):
    """The memory that is shared counts as a file; a part that does not fit into it comes by the socket."""
    path = str(tmp_path / "a.flac")
    Path(path).write_bytes(encoded(noise(4_000, seed=0), "FLAC", "PCM_16"))
    code = (
        "import resource, sys\nfrom features.audio.decode import decode, probe\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8_002, 8_002))\n"
        "for frames in (2_000, 2_001):\n"
        "    print(decode(sys.argv[1], probe(sys.argv[1]), 0, frames).tobytes().hex())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    whole = decode(path, probe(path))
    assert done.stdout.split() == [whole[:frames].tobytes().hex() for frames in (2_000, 2_001)]
