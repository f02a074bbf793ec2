"""A size in a header is believed only as far as the file goes, in both directions."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from features.audio.decode import decode, probe
from features.frontend.clip import clip_waveform
from tests.features.audio.test_decode import chunk, encoded
from tests.features.examples import STFT
from tests.signals import noise, to_int16

FRAMES = 12_000
SOUND = to_int16(noise(FRAMES))
EXPECTED = SOUND.astype(np.float32) / 32_768
BYTES = SOUND.nbytes
AS_IT_IS = -1


def riff(size: int, data: bytes, kind: bytes = b"RIFF", before: bytes = b"", order: str = "<") -> bytes:
    """A WAV whose `data` chunk says `size`, and which has `data` in it."""
    form = b"fmt " + struct.pack(f"{order}IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    body = b"WAVE" + before + form + b"data" + struct.pack(f"{order}I", size) + data
    whole = size + len(body) - len(data) if 0 < size < 2**32 - 100 else min(size, 2**32 - 1)
    return kind + struct.pack(f"{order}I", min(whole, 2**32 - 1)) + body


def rf64(size: int, data: bytes) -> bytes:
    sizes = b"ds64" + struct.pack("<IQQQI", 28, min(size + 72, 2**64 - 1), size, size // 2, 0)
    return riff(2**32 - 1, data, b"RF64", sizes)


def aiff(size: int, data: bytes) -> bytes:
    rate = b"\x40\x0c\xfa\0\0\0\0\0\0\0"  # 16,000 as an 80-bit number
    body = b"AIFFCOMM" + struct.pack(">IhIh", 18, 1, min(size // 2, 2**32 - 1), 16) + rate
    length = size + 8 if size < 2**32 - 8 else size
    body += b"SSND" + struct.pack(">III", length, 0, 0) + data
    return b"FORM" + struct.pack(">I", min(46 + size, 2**32 - 1)) + body


def w64(size: int, data: bytes) -> bytes:
    end = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    length = min(size + 24, 2**64 - 1)
    form = b"fmt " + end + struct.pack("<QHHIIHH", 40, 1, 1, 16_000, 32_000, 2, 16)
    sound = b"data" + end + struct.pack("<Q", length) + data
    riff_id = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
    return riff_id + struct.pack("<Q", min(length + 80, 2**64 - 1)) + b"wave" + end + form + sound


def au(size: int, data: bytes) -> bytes:
    return b".snd" + struct.pack(">5I", 24, size, 3, 16_000, 1) + data


def caf(size: int, data: bytes) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, SOUND, 16_000, "PCM_16", "BIG", "CAF")
    whole = content.getvalue()
    at = whole.index(b"data") + 4
    return whole[:at] + struct.pack(">Q", size + 4) + whole[at + 8 : at + 12] + data


# How a container is made, and the order of the bytes of its samples.
CONTAINERS = {
    "wav": (riff, "<i2"),
    "rifx": (lambda size, data: riff(size, data, b"RIFX", order=">"), ">i2"),
    "rf64": (rf64, "<i2"),
    "aiff": (aiff, ">i2"),
    "w64": (w64, "<i2"),
    "au": (au, ">i2"),
    "caf": (caf, ">i2"),
}


def made(name: str, size: int, more: bytes = b"") -> bytes:
    make, order = CONTAINERS[name]
    return make(BYTES if size == AS_IT_IS else size, SOUND.astype(order).tobytes() + more)


def is_all_there(content: bytes, note: str = "", frames: int = FRAMES, warning: str = "wrong_size") -> None:
    info = probe(content)
    samples = decode(content, info)[:, 0]
    assert (info.frames, info.truncated) == (frames, False)
    assert np.array_equal(samples[:FRAMES], EXPECTED[:frames])
    assert np.array_equal(decode(content, info, 5_000, 100)[:, 0], samples[5_000:5_100])
    said = "".join(info.header_warnings.values())
    assert said.startswith(note) and bool(said) == bool(note)
    assert clip_waveform(content, STFT)[2] == (warning if note else "")


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_right_size_is_no_warning(name):
    is_all_there(made(name, AS_IT_IS))


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("said", [0, 2, 4_000, BYTES // 2, BYTES - 4_098])
def test_sound_behind_the_size_that_the_header_says_is_used_and_said(name, said):
    is_all_there(made(name, said), f"its header says {said:,} bytes of sound, and the file holds {BYTES:,}")


# What ffmpeg, arecord, sox, Praat and others leave that write to a pipe.
@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("left", [0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000, 0xFFFFFFD4, 0xFFFFF000, 0xFFFFFFFF])
def test_the_placeholder_of_a_writer_to_a_pipe_is_no_size(name, left):
    is_all_there(made(name, left))


@pytest.mark.parametrize("left", [2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("name", ["rf64", "w64"])
def test_so_it_is_where_a_size_has_64_bits(name, left):
    is_all_there(made(name, left))


@pytest.mark.parametrize("name", ["wav", "rf64", "aiff", "au", "w64"])
@pytest.mark.parametrize("said", [BYTES + 10, 2 * BYTES, 0x7FFFF000 - 10_000, 3 * 10**9])
def test_every_other_size_beyond_the_end_is_a_file_that_was_cut_off(name, said):
    content = made(name, said)
    info = probe(content)
    assert info.truncated
    assert not info.size_note
    assert clip_waveform(content, STFT)[2] == "truncated"


TRAILING = {
    "LIST": chunk(b"LIST", bytes(range(256)) * 40),
    "two chunks": chunk(b"id3 ", b"ID3" + b"\x99" * 9_000) + chunk(b"guan", b"GUANO|Version: 1.0" * 400),
    "a chunk of its own": chunk(b"Xtra", b"\x17" * 9_000),
    "a chunk and padding": chunk(b"LIST", b"\x17" * 9_000) + b"\x23" * 1_000,
    "a kilobyte": b"\x23" * 1_000,
    "4 KiB": b"\x23" * 4_096,
    "zeros": bytes(100_000),
    "an ID3 tag": b"ID3\4\0\0\0\0\x7f\x7f" + b"\x42" * 16_383,
    "an APE tag": b"APETAGEX" + b"\x42" * 9_000,
}


@pytest.mark.parametrize("more", TRAILING.values(), ids=TRAILING)
def test_what_follows_the_sound_of_a_wav_is_no_sound_unless_it_looks_like_it(more):
    is_all_there(made("wav", AS_IT_IS, more))
    if chunk(b"LIST", b"")[:4] in more:
        content = made("wav", 0, more).replace(SOUND.tobytes(), b"")
        assert probe(content).frames == 0


def test_more_than_4_kib_that_are_nothing_else_are_sound():
    more = b"\x23" * 4_098
    is_all_there(made("wav", AS_IT_IS, more), "its header says", FRAMES + 2_049)


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize(("name", "other"), [*zip(CONTAINERS, CONTAINERS, strict=True), ("wav", "au"), ("aiff", "wav")])
def test_another_recording_behind_the_first_is_named_and_not_used(name, other, odd):
    """As after `cat a.wav b.wav`; behind an odd length there is a byte more."""
    second = bytes(odd) + made(other, AS_IT_IS)
    note = f"{len(second):,} bytes follow its sound that are another recording, and are not used"
    is_all_there(made(name, AS_IT_IS) + second, note, warning="joined")


def with_chunks(name: str, *chunks: tuple[bytes, int]) -> bytes:
    """A file that ends with chunks of such names and lengths, all of it as its format has it."""
    content = made(name, AS_IT_IS)
    for kind, length in chunks:
        if name == "w64":
            content += kind + bytes(12) + struct.pack("<Q", 24 + length) + b"\x17" * (length + -length % 8)
        elif name == "caf":
            content += kind + struct.pack(">Q", length) + b"\x17" * length
        else:
            order = ">" if name in ("aiff", "rifx") else "<"
            content += kind + struct.pack(f"{order}I", length) + b"\x17" * (length + length % 2)
    if name in ("wav", "rifx", "aiff"):
        order = "<" if name == "wav" else ">"
        content = content[:4] + struct.pack(f"{order}I", len(content) - 8) + content[8:]
    return content


@pytest.mark.parametrize("program", ["with ffmpeg", "without"])
@pytest.mark.parametrize("other", ["wav", "aiff", "flac"])
@pytest.mark.parametrize(
    "chunks",
    [[(b"LIST", 26)], [(b"id3 ", 9_000)], [(b"SAUR", 17)], [(b"LIST", 17), (b"Xtra", 9), (b"ANNO", 5_000)]],
)
@pytest.mark.parametrize("name", ["wav", "rifx", "rf64", "aiff", "w64", "caf"])
def test_another_recording_behind_chunks_is_named_and_not_used(request, monkeypatch, name, chunks, other, program):
    """As after `cat a.wav b.wav`, where a.wav ends with its title or the name of its encoder."""
    if program == "without":
        monkeypatch.setenv("PATH", "")
    else:
        request.getfixturevalue("ffmpeg")
    first = with_chunks(name, *chunks)
    if name != "w64":  # libsndfile takes such chunks for sound in a W64 that is alone
        is_all_there(first)
    second = made(other, AS_IT_IS) if other in CONTAINERS else encoded(noise(2_000), "FLAC", "PCM_16")
    note = f"{len(second):,} bytes follow its sound that are another recording, and are not used"
    is_all_there(first + second, note, warning="joined")
    assert probe(first + second).decoder.startswith("libsndfile")


@pytest.mark.parametrize("second", [0, 0x7FFFF000, 0xFFFFFFFF, AS_IT_IS])
@pytest.mark.parametrize("first", [0, 4_000, 0x7FFFF000, 0xFFFFFFD4, 0xFFFFFFFF])
@pytest.mark.parametrize("name", ["wav", "rifx", "rf64"])
def test_another_recording_behind_a_size_that_was_never_written_is_no_sound(name, first, second):
    """As several calls of `ffmpeg -f wav - >> a.wav` leave them."""
    more = made("wav", second) + made("wav", second)
    content = made(name, first) + more
    note = f"its header says {first:,} bytes of sound, and the file holds {BYTES:,}" if first < BYTES else ""
    joined = f"{len(more):,} bytes follow its sound that are another recording, and are not used"
    warning = "wrong_size;joined" if note else "joined"
    is_all_there(content, note + joined, warning=warning)


@pytest.mark.parametrize("place", [0, 1, 2**16 - 60, 2**16 - 48, 2**16 - 45, 2**16 - 4, 2**16, 200_000])
@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX", b"RF64", b"Riff"])
def test_another_wav_is_found_wherever_it_begins(kind, place):
    sound = np.zeros(150_000, "<i2").tobytes()
    content = riff(0xFFFFFFFF, sound[:place] + kind + bytes(4) + b"WAVE" + sound)
    info = probe(content)
    assert info.frames == (place // 2 if kind != b"Riff" else (place + 12 + len(sound)) // 2)
    assert bool(info.joined_note) == (kind != b"Riff")


def test_a_short_recording_behind_a_chunk_is_no_padding():
    second = riff(200, bytes(200))
    is_all_there(with_chunks("wav", (b"LIST", 26)) + second, "244 bytes follow its sound", warning="joined")


@pytest.mark.parametrize("behind", [b"RIFF", b"RIFT" + bytes(9_000)])
def test_what_is_behind_a_chunk_and_no_recording_is_no_warning(behind):
    is_all_there(with_chunks("wav", (b"LIST", 26)) + behind)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "IMA_ADPCM", "ULAW"])
def test_other_samples_than_plain_ones(subtype):
    content = io.BytesIO()
    soundfile.write(content, 0.5 * noise(60_000), 16_000, subtype, format="WAV")
    whole = content.getvalue()
    at = whole.index(b"data") + 4
    died = whole[:at] + bytes(4) + whole[at + 4 :]
    info, control = probe(died), probe(whole)
    assert info.size_note.startswith("its header says 0 bytes")
    assert info.frames == control.frames
    assert np.array_equal(decode(died, info), decode(whole, control))


@pytest.mark.parametrize("length", [0, 8, 15, 16, 28])
def test_sizes_of_64_bits_are_those_of_an_rf64_alone(length):
    """In a RIFF the chunk is one that decoders pass over; what it holds, or what follows a short one, stays."""
    content = riff(0, SOUND.tobytes(), before=chunk(b"ds64", bytes(length)))
    is_all_there(content, f"its header says 0 bytes of sound, and the file holds {BYTES:,}")


LONG_FRAMES = 192_000 * 1_410  # of 8 channels of 16 bits: 4.3 GB


def long_header(kind: str, said: int) -> bytes:
    """How a recording of 8 channels at 192 kHz begins whose size is said to be this."""
    if kind == "au":
        return b".snd" + struct.pack(">5I", 24, said, 3, 192_000, 8)
    if kind == "aiff":
        rate = b"\x40\x10" + (192_000 << 46).to_bytes(8, "big")
        body = b"AIFFCOMM" + struct.pack(">IhIh", 18, 8, LONG_FRAMES, 16) + rate
        return b"FORM" + struct.pack(">I", said) + body + b"SSND" + struct.pack(">III", (said + 8) % 2**32, 0, 0)
    order = ">" if kind == "rifx" else "<"
    form = b"WAVEfmt " + struct.pack(f"{order}IHHIIHH", 16, 1, 8, 192_000, 192_000 * 16, 16, 16)
    name = b"RIFX" if kind == "rifx" else b"RIFF"
    return name + struct.pack(f"{order}I", said) + form + b"data" + struct.pack(f"{order}I", said)


@pytest.mark.parametrize("kind", ["wav", "au", "rifx", "aiff"])
@pytest.mark.parametrize("died", [False, True])
def test_beyond_4_gib_all_is_used_that_the_format_can_say(tmp_path, kind, died):
    """Recorders that wrote a size that wrapped round, or died before they wrote one. The files are sparse."""
    path, size = tmp_path / "a.sound", 16 * LONG_FRAMES
    said = 0 if died else size % 2**32
    header = long_header(kind, said)
    with open(path, "wb") as file:
        file.write(header)
        file.seek(len(header) + size - 16)
        file.write((b"\0\x40" if kind == "wav" else b"\x40\0") * 8)
    info = probe(str(path))
    note = f"its header says {said:,} bytes of sound, and the file holds {size:,}"
    assert not info.truncated
    if kind in ("wav", "au"):
        assert (info.frames, info.header_warnings) == (LONG_FRAMES, {"wrong_size": note})
        assert decode(str(path), info, LONG_FRAMES - 2).tolist() == [[0.0] * 8, [0.5] * 8]
    else:
        note += ", of which 4 GiB are used, as its format can say no more"
        assert (info.frames, info.header_warnings) == ((2**32 - 1) // 16, {"wrong_size": note})
        assert decode(str(path), info, info.frames - 1).tolist() == [[0.0] * 8]


def test_a_chunk_behind_a_size_that_wrapped_round_is_no_sound(tmp_path):
    size = 16 * LONG_FRAMES
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(long_header("wav", size % 2**32))
        file.seek(44 + size)
        file.write(chunk(b"LIST", b"\x17" * 9_000))
    info = probe(str(tmp_path / "a.wav"))
    assert (info.frames, info.truncated) == (LONG_FRAMES, False)
    assert info.size_note == f"its header says {size % 2**32:,} bytes of sound, and the file holds {size:,}"


def test_no_warning_takes_the_place_of_another():
    quiet = riff(0, bytes(BYTES))
    assert clip_waveform(quiet, STFT)[2] == "silent;wrong_size"
    assert clip_waveform(made("wav", 0), replace(STFT, clip_seconds=0.1))[2] == "wrong_size"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "frames", "warned"),
    [
        ("YannickJadoul_Parselmouth__cl_F1_2b_egg.wav", 156_049, False),
        ("made__riff_36_data_0.wav", 59_756, True),
        ("made__arecord_pipe_80000000.wav", 32_000, False),
    ],
)
def test_real_files_whose_sizes_were_never_written(data, name, frames, warned):
    info = probe(str(data / "odd_audio_2" / name))
    assert (info.frames, info.truncated, bool(info.size_note)) == (frames, False, warned)
