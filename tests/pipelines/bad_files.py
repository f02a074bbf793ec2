"""Bad files of many kinds, made in code, and decoders that really die, hang or eat memory on files that ask for it."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.errors import Reason
from tests.features.audio.test_decode import chunk, encoded, form, riff
from tests.signals import film, noise, to_int16

_PROJECT = Path(__file__).parents[2]
# For every Python process that finds it. In those that decode, a file with a mark in it makes happen what the mark
# says, when its samples are requested. In the others decoding may take so many seconds, and not a minute; the limit
# for the start of a decoder stays, as that may be slow on a busy machine.
_SITE = """
import sys

if "features.audio.decoder_process" in sys.orig_argv:
    import os
    import time

    from features.audio import soundfile_codec as codecs

    whole = codecs.read_coded

    def read_coded(descriptor, *part):
        content = os.pread(descriptor, 4096, 0)
        if b"decoder: ABORT" in content:
            os.abort()
        if b"decoder: HANG" in content:
            while True:
                time.sleep(1000)
        if b"decoder: EAT" in content:
            eaten = []
            while True:
                eaten.append(bytearray(b"x") * 2**24)
        if b"decoder: GROW" in content:
            with open(f"/proc/self/fd/{{descriptor}}", "ab") as file:
                file.write(bytes(100))
        yield from whole(descriptor, *part)

    codecs.read_coded = read_coded
else:
    from features.audio import decoder_client as decoders

    decoders.limit_seconds = lambda size: {seconds}
"""


class Kind(NamedTuple):
    """A kind of bad files.

    Attributes:
        ending: of their names.
        make: returns the content of one by a number, which chooses among many.
        stage: where it is found out.
        reason: the code that it gets.
    """

    ending: str
    make: Callable[[int], bytes]
    stage: str
    reason: Reason


def spoiling(folder: Path, seconds: float) -> dict[str, str]:
    """Returns an environment in which decoders do what marks say, and have these seconds; a module for it is put there.

    Each process of a command, and each that decodes for it, has a part in it by its environment alone.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITE.format(seconds=seconds))
    paths = [str(folder), str(_PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def wav_24(number: int, mark: str = "none", amplitude: float = 0.1, cut: int = 0) -> bytes:
    """A WAV of 24 bit that another process reads, for the mark in it; so many of its last bytes are missing."""
    samples = np.round(noise(8_000, seed=number, amplitude=amplitude) * 2**23).astype("<i4")
    three_bytes = samples[:, None].view(np.uint8)[:, :3].tobytes()
    content = riff(form(bits=24), chunk(b"mark", f"decoder: {mark}".encode()), chunk(b"data", three_bytes))
    return content[: len(content) - cut]


def png(number: int) -> bytes:
    """A picture of 64 x 64 grey pixels."""

    def part(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = np.random.default_rng(number).integers(0, 256, (64, 65), np.uint8)
    pixels[:, 0] = 0  # before each row, how it is filtered: not at all
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    parts = part(b"IHDR", header) + part(b"IDAT", zlib.compress(pixels.tobytes())) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def mp4(number: int) -> bytes:
    """A film without sound, and media data."""
    media = np.random.default_rng(number).bytes(2_000)
    return film() + struct.pack(">I", 8 + len(media)) + b"mdat" + media


def mp4_without_index(number: int) -> bytes:
    """How an M4A begins, and media data that nothing describes."""
    brand = struct.pack(">I", 24) + b"ftypM4A \0\0\0\0M4A isom"
    return brand + mp4(number)[len(film()) :]


def wav_16(number: int, samples: int = 8_000, channels: int = 1, rate_hz: int = 16_000) -> bytes:
    """A plain WAV, or one whose header says what none may."""
    return riff(form(channels, rate_hz), chunk(b"data", to_int16(noise(samples, seed=number)).tobytes()))


def _not_a_number(number: int) -> bytes:
    samples = noise(8_000, seed=number)
    samples[number % 8_000] = np.nan
    return encoded(samples, "WAV", "FLOAT")


def _too_loud(number: int) -> bytes:
    """Finite samples whose spectrum is not: each is almost the largest of all float32."""
    return encoded(np.copysign(np.float32(3e38), noise(8_000, seed=number)), "WAV", "FLOAT")


def _flac_without_a_frame(number: int) -> bytes:
    """A FLAC that was cut off a little after the beginning of its first frame, which is 4,096 samples."""
    content = encoded(noise(8_000, seed=number), "FLAC", "PCM_16")
    first = content.index(b"\xff\xf8")
    return content[: first + 20 + number % 1_000]


KINDS = {
    "no bytes": Kind(".wav", lambda number: b"", "decode", Reason.EMPTY),
    "no samples": Kind(".wav", lambda number: wav_16(number, 0, rate_hz=8_000 + number), "decode", Reason.EMPTY),
    "picture": Kind(".wav", png, "decode", Reason.NOT_AUDIO),
    "text": Kind(".flac", lambda number: f"track {number}: to be recorded\n".encode() * 40, "decode", Reason.NOT_AUDIO),
    "mp4": Kind(".m4a", mp4, "decode", Reason.UNSUPPORTED_CODEC),
    "mp4 without an index": Kind(".m4a", mp4_without_index, "decode", Reason.DAMAGED),
    "header": Kind(".wav", lambda number: riff(form(rate_hz=8_000 + number)), "decode", Reason.DAMAGED),
    "half a header": Kind(".wav", lambda number: wav_16(number)[: 12 + number % 20], "decode", Reason.DAMAGED),
    "no channels": Kind(".wav", lambda number: wav_16(number, channels=0), "decode", Reason.DAMAGED),
    "1 Hz": Kind(".wav", lambda number: wav_16(number, rate_hz=1), "decode", Reason.DAMAGED),
    "2 GHz": Kind(".wav", lambda number: wav_16(number, rate_hz=2_000_000_000), "decode", Reason.DAMAGED),
    "cut flac": Kind(".flac", _flac_without_a_frame, "decode", Reason.DAMAGED),
    "not a number": Kind(".wav", _not_a_number, "decode", Reason.NOT_FINITE),
    "too loud": Kind(".wav", _too_loud, "features", Reason.NOT_FINITE),
    "one sample": Kind(".wav", lambda number: wav_16(number, 1, rate_hz=768_000), "fit", Reason.TOO_SHORT),
    "abort": Kind(".wav", lambda number: wav_24(number, "ABORT"), "decode", Reason.DECODER_DIED),
    "hang": Kind(".wav", lambda number: wav_24(number, "HANG"), "decode", Reason.TIMEOUT),
    "eat": Kind(".wav", lambda number: wav_24(number, "EAT"), "decode", Reason.OUT_OF_MEMORY_GUARD),
}
