"""A recording that stays open from one request to the next gives what one gives that is opened anew."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio import part_reader
from features.audio.decode import AudioInfo, decode_part, probe
from features.audio.protocol import Decoded
from features.audio.soundfile_codec import probe_coded, read_coded
from features.errors import ClipError
from tests.signals import noise, sine

RATE_HZ, SECONDS = 16_000, 9
CODECS = {
    "a.flac": ("FLAC", "PCM_16"), "a.wav": ("WAV", "PCM_24"), "gsm.wav": ("WAV", "GSM610"),
    "ima.wav": ("WAV", "IMA_ADPCM"), "ms.wav": ("WAV", "MS_ADPCM"), "a.ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"), "a.mp3": ("MP3", "MPEG_LAYER_III"), "alac.caf": ("CAF", "ALAC_16"),
}  # fmt: skip


@pytest.fixture(scope="module")
def coded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("coded")
    samples = sine(440, RATE_HZ * SECONDS) + noise(RATE_HZ * SECONDS)
    for name, (file_format, subtype) in CODECS.items():
        soundfile.write(folder / name, samples, RATE_HZ, subtype, format=file_format)
    return folder


def read(path: Path, start: int, frames: int, forward: bool) -> np.ndarray:
    """Reads as the decoding process does: with a descriptor of its own for each request."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return np.concatenate(list(read_coded(descriptor, path.suffix == ".mp3", (start, frames), forward, [])))
    finally:
        os.close(descriptor)


def times_open(path) -> int:
    """How often this process has a file open; connections to a store that other tests began come and go meanwhile."""
    return sum(os.path.realpath(file.path) == str(path) for file in os.scandir("/proc/self/fd"))


def forget() -> None:
    while part_reader._kept:
        part_reader._kept.pop().close()


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("name", CODECS)
def test_what_is_read_follows_from_the_place_and_not_from_what_was_read_before(coded, name, forward):
    path, length = coded / name, 8_000
    places = [0, 8_000, 16_000, 64_000, 64_001, 120_000, 8_000, 7_999, 100_000, 0]
    anew = {}
    for place in places:
        forget()
        anew[place] = read(path, place, length, forward)
    forget()
    for place in places:
        assert np.array_equal(read(path, place, length, forward), anew[place]), place
        assert np.array_equal(read(path, 24_000, 100, not forward), read(path, 24_000, 100, not forward))
    if forward:  # as one who reads all of it at once hears it
        forget()
        whole = read(path, 0, RATE_HZ * SECONDS, True)
        for place, samples in anew.items():
            assert np.array_equal(samples, whole[place : place + length]), place
    read(path, 0, length, forward)
    assert times_open(path) > 0
    read(path, 0, 2 * RATE_HZ * SECONDS, forward)
    assert (len(part_reader._kept), times_open(path)) == (0, 0)  # it was read to its end


def test_a_codec_without_places_is_decoded_once_for_all_its_windows(coded, monkeypatch):
    decoded = []
    whole = part_reader.blocks

    def counted(audio, frames):
        for block in whole(audio, frames):
            decoded.append(len(block))
            yield block

    monkeypatch.setattr(part_reader, "blocks", counted)
    for name in ("gsm.wav", "a.mp3"):
        forget()
        decoded.clear()
        for place in range(0, RATE_HZ * SECONDS - 2_000, 2_000):
            read(coded / name, place, 2_000, True)
        assert sum(decoded) <= RATE_HZ * SECONDS  # the first request opens it twice


def test_a_file_that_was_replaced_is_opened_anew(coded, tmp_path):
    for forward in (True, False):
        path = tmp_path / "a.flac"
        for name in ("a.flac", "a.ogg", "a.flac"):
            path.write_bytes((coded / name).read_bytes())
            assert np.array_equal(read(path, 8_000, 100, forward), read(coded / name, 8_000, 100, forward))
            os.unlink(path)


def test_headers_say_which_codecs_are_decoded_in_order(coded):
    in_order = set()
    for name in CODECS:
        with open(coded / name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if probe_coded(file.fileno(), size, name.endswith(".mp3")).in_order:
                in_order.add(name)
    assert in_order == {"gsm.wav", "a.mp3"}


def test_one_process_is_asked_for_all_of_a_file(coded):
    info = probe(str(coded / "gsm.wav"))
    assert isinstance(info, AudioInfo)
    assert info.in_order
    first, second = (decode_part(str(coded / "gsm.wav"), info, start, 4_000, forward=True) for start in (0, 4_000))
    together = decode_part(str(coded / "gsm.wav"), info, 0, 8_000)
    assert isinstance(first, Decoded)
    assert np.array_equal(np.concatenate([first.samples, second.samples]), together.samples)


@pytest.mark.parametrize("name", ["gsm.wav", "a.mp3"])
def test_stretches_that_overlap_are_decoded_once(coded, monkeypatch, name):
    whole, decoded = read(coded / name, 0, RATE_HZ * SECONDS, True), []
    one_by_one = part_reader.blocks

    def counted(audio, frames):
        for block in one_by_one(audio, frames):
            decoded.append(len(block))
            yield block

    monkeypatch.setattr(part_reader, "blocks", counted)
    monkeypatch.setattr(part_reader, "_KEPT_SAMPLES", 12_000)
    forget()
    for place in range(0, RATE_HZ * SECONDS - 12_000, 3_000):
        assert np.array_equal(read(coded / name, place, 12_000, True), whole[place : place + 12_000])
        assert sum(map(len, part_reader._kept[0].reader._last)) <= 24_000
    assert sum(decoded) <= RATE_HZ * SECONDS
    assert np.array_equal(read(coded / name, 0, 100, True), whole[:100])  # further back than what is kept


@pytest.mark.parametrize("damage", [bytes(3_000), b"\xff" * 100], ids=["zeros", "ones"])
def test_what_lies_behind_a_damage_is_read_as_by_one_who_begins_there(coded, tmp_path, damage):
    content, path, length = (coded / "a.mp3").read_bytes(), tmp_path / "a.mp3", 16_000
    middle = len(content) // 2
    path.write_bytes(content[:middle] + damage + content[middle + len(damage) :])

    def read_or_nothing(place: int) -> bytes:
        try:
            return read(path, place, length, True).tobytes()
        except (ClipError, ValueError):
            return b""

    places, anew = range(0, RATE_HZ * SECONDS, length), {}
    for place in places:
        forget()
        anew[place] = read_or_nothing(place)
    assert sum(map(bool, anew.values())) > SECONDS // 2 + 1
    forget()
    for order in (places, reversed(places)):
        assert [read_or_nothing(place) == anew[place] for place in order] == [True] * SECONDS
    forget()


def test_what_lies_behind_the_end_of_one_that_was_cut_off_is_not_searched_from_its_beginning_on(
    coded, tmp_path, monkeypatch
):
    content, path, decoded = (coded / "a.mp3").read_bytes(), tmp_path / "a.mp3", []
    path.write_bytes(content[: len(content) // 2])
    one_by_one = part_reader.blocks

    def counted(audio, frames):
        for block in one_by_one(audio, frames):
            decoded.append(len(block))
            yield block

    monkeypatch.setattr(part_reader, "blocks", counted)
    forget()
    found = 0
    for place in range(0, RATE_HZ * SECONDS, 8_000):
        with contextlib.suppress(ClipError, ValueError):
            found += len(read(path, place, 8_000, True))
    assert RATE_HZ * SECONDS * 0.4 < found <= sum(decoded) < RATE_HZ * SECONDS * 0.6
    forget()
