"""Fuzzes the decode step: files that were damaged at random go through what featurize and score do with a clip.

    python -m tests.features.audio.fuzz --files 100000 --seed 1

A mutant follows from the seed and its number, and from the bases: small files made here in every format that
soundfile writes, and the files of $SOUNDMILL_DATA/odd_audio where that is set. `--first NUMBER --files 1` makes a
single one again.
"""

import argparse
import csv
import itertools
import os
import random
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from features.audio import decoder_client
from features.audio.decode import AudioInfo, probe
from features.audio.decoder_process import MEMORY_BYTES
from features.audio.ffmpeg import find_ffmpeg
from features.audio.protocol import limit_bytes
from features.errors import ClipError, Reason
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.windows import num_windows, window_waveforms
from tests.signals import sine

CLIP, WHOLE = preset("speech-commands"), preset("urbansound-mfcc")
# Every so many mutants are decoded as a whole, and in windows, too.
_WHOLE_EVERY, _WINDOWS_EVERY, _END_WINDOWS = 3, 4, 3
_BASE_BYTES, _MUTANT_BYTES = 2**16, 2**17
_BASE_SECONDS = 0.2
LEAST_SHARE = 0.3

# What a mutant may take. A decoder needs no more than a dozen blocks of samples, whatever a header says. This process
# holds three times at most what a file of its size may become: the samples, what is resampled of them, and that with
# zeros at its end. What is beyond was believed of a header.
MOST_SECONDS = 5.0
MOST_DECODER_BYTES = 48 * 2**20  # of one that continues; it ends at MEMORY_BYTES
MOST_OWN_BYTES = 16 * 2**20

_COMMON = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")
_EXTENSIONS = {
    "WAVEX": "wav", "RF64": "wav", "W64": "w64", "AIFF": "aif", "SVX": "8svx", "NIST": "sph", "IRCAM": "sf",
    "MAT4": "mat", "MAT5": "mat",
}  # fmt: skip
_NAMES_END = (".wav", ".mp3", ".MP3", ".au", ".snd", ".flac", ".ogg", ".opus", ".aif", ".caf", ".w64", ".raw", "")
_OGG_PAGE = struct.Struct("<4sBBqIIIB")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Base(NamedTuple):
    """A file that mutants are made of.

    Attributes:
        name: says which.
        kind: its format, `rare` or `real`.
        extension: how its name ends.
        content: its bytes.
    """

    name: str
    kind: str
    extension: str
    content: bytes


Bases = dict[str, list[Base]]
"""By their kind: those of one kind come up as often together as those of another, real ones as often as all others."""


class Mutant(NamedTuple):
    """A damaged file: from what it was made and how, how its name ends, and its bytes."""

    history: str
    extension: str
    content: bytes


def made_bases() -> list[Base]:
    """Makes files in every format that soundfile writes, of 1, 2 and 6 channels; they are the same at any time."""
    bases: list[Base] = []
    seen: set[bytes] = set()
    rates = itertools.cycle((16_000, 8_000, 44_100, 48_000))
    for file_format in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(file_format):
            for channels in (1, 2, 6):
                rate_hz = next(rates)
                for endian in ("FILE", "LITTLE", "BIG"):
                    content = _encoded(file_format, subtype, endian, channels, rate_hz)
                    if content is not None and content not in seen:
                        seen.add(content)
                        name = f"{file_format} {subtype} {endian} {channels} channels {rate_hz} Hz"
                        extension = "." + _EXTENSIONS.get(file_format, file_format.lower())
                        bases.append(Base(name, file_format if file_format in _COMMON else "rare", extension, content))
    first = {base.kind: base.content for base in bases if " PCM_16 FILE 1 " in base.name or base.kind == "MP3"}
    return [
        *bases,
        Base("WAV with many chunks", "WAV", ".wav", _with_chunks(first["WAV"])),
        Base("FLAC with metadata", "FLAC", ".flac", _with_metadata(first["FLAC"])),
        Base("FLAC of long silence", "FLAC", ".flac", _silence(2**22, 1_000)),
        Base("MP3 with a tag", "MP3", ".mp3", b"ID3\3\0\0\0\0\1\0" + bytes(128) + first["MP3"]),
    ]


def real_bases(folder: Path) -> list[Base]:
    """Reads the files that an INDEX.tsv lists, or how they begin."""
    with open(folder / "INDEX.tsv", encoding="utf-8", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file, delimiter="\t")]
    bases = []
    for name in names:
        with open(folder / name, "rb") as file:
            bases.append(Base(name, "real", Path(name).suffix, file.read(_BASE_BYTES)))
    return bases


def all_bases() -> Bases:
    """Returns what is made here, and real files where they are."""
    data = os.environ.get("SOUNDMILL_DATA")
    return by_kind(made_bases() + (real_bases(Path(data) / "odd_audio") if data else []))


def by_kind(files: list[Base]) -> Bases:
    bases: Bases = {}
    for base in files:
        bases.setdefault(base.kind, []).append(base)
    return bases


def _encoded(file_format: str, subtype: str, endian: str, channels: int, rate_hz: int) -> bytes | None:
    """Encodes a sound; returns nothing where no such file can be, or none whose format can be recognised."""
    if file_format in ("RAW", "SD2"):  # the one has no header, the other's is in a second file
        return None
    frames = min(int(_BASE_SECONDS * rate_hz), 7_000 // channels)
    # Of few bits: libsndfile cannot write ALAC that does not become smaller.
    tones = [sine(300.0 * (channel + 1), frames, rate_hz) for channel in range(channels)]
    sound = np.round(np.stack(tones, axis=1) * 64) / 64
    content = BytesIO()
    try:
        soundfile.write(content, sound, rate_hz, format=file_format, subtype=subtype, endian=endian)
    except (soundfile.SoundFileError, ValueError, TypeError):
        return None
    return _timeless(content.getvalue())


def _silence(frames: int, rate_hz: int) -> bytes:
    """Makes a file that becomes much larger than it is."""
    content = BytesIO()
    soundfile.write(content, np.zeros(frames, np.int16), rate_hz, format="FLAC")
    return content.getvalue()


def _timeless(content: bytes) -> bytes:
    """Takes from a file what depends on when it was written: times, and the random number of an Ogg stream."""
    changed = bytearray(content)
    if content[:4] in (b"RIFF", b"RIFX", b"FORM") and (at := content.find(b"PEAK", 0, 256)) >= 0:
        changed[at + 12 : at + 16] = bytes(4)
    elif content.startswith(b"MATLAB 5.0"):
        changed = bytearray(re.sub(rb"\d+-\d+-\d+ \d+:\d+:\d+", b"2000-01-01 00:00:00", content, count=1))
    elif content.startswith(b"OggS"):
        for at, _ in _ogg_pages(content):
            changed[at + 14 : at + 18] = bytes(4)
        repair_ogg(changed)
    return bytes(changed)


def _with_chunks(wav: bytes) -> bytes:
    """Puts before the samples of a WAV all chunks that libsndfile looks into."""
    chunks = {
        b"bext": bytes(602) + b"a history\r\n",
        b"cue ": struct.pack("<II4s4s3I", 1, 1, b"\0\0\0\1", b"data", 0, 0, 5),
        b"smpl": struct.pack("<9I6I", 0, 0, 62_500, 60, 0, 0, 0, 1, 0, 0, 0, 10, 100, 0, 0),
        b"inst": bytes([60, 0, 0, 1, 127, 1, 127]),
        b"acid": struct.pack("<IHHfIHHf", 0, 60, 0, 0.0, 4, 4, 4, 120.0),
        b"PEAK": struct.pack("<IIfI", 1, 0, 0.5, 7),
        b"LIST": b"INFOINAM\4\0\0\0abc\0ISFT\2\0\0\0x\0",
        b"cart": bytes(2048),
        b"fact": struct.pack("<I", 3_200),
    }
    more = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks.items()
    )
    at = wav.index(b"data")
    return wav[:4] + struct.pack("<I", len(wav) + len(more) - 8) + wav[8:at] + more + wav[at:]


def _with_metadata(flac: bytes) -> bytes:
    """Puts after the first block of a FLAC, which describes the samples, others of all kinds."""
    words = struct.pack("<I3sII7s", 3, b"abc", 1, 7, b"TITLE=x")
    sheet = bytes(128) + struct.pack(">QB", 88_200, 0x80) + bytes(258) + b"\1" + bytes(8) + b"\xaa" + bytes(27)
    picture = struct.pack(">II9sI4s4II3s", 3, 9, b"image/png", 4, b"name", 1, 1, 24, 0, 3, b"png")
    blocks = {1: bytes(16), 2: b"SOND" + bytes(8), 3: struct.pack(">QQH", 0, 0, 3_200), 4: words, 5: sheet, 6: picture}
    more = b"".join(bytes([kind]) + len(body).to_bytes(3, "big") + body for kind, body in blocks.items())
    return flac[:4] + bytes([flac[4] & 0x7F]) + flac[5:42] + more + b"\x81\0\0\0" + flac[flac.index(b"\xff\xf8") :]


def _ogg_pages(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields where the pages begin and end of which all is there."""
    at = content.find(b"OggS")
    while 0 <= at <= len(content) - _OGG_PAGE.size:
        body = at + _OGG_PAGE.size + content[at + 26]
        end = body + sum(content[at + 27 : body])
        if end <= len(content):
            yield at, end
        at = content.find(b"OggS", at + 4)


def repair_ogg(content: bytearray) -> None:
    """Makes checksums right: what is damaged behind a wrong one no decoder ever sees."""
    for at, end in _ogg_pages(bytes(content)):
        content[at + 22 : at + 26] = bytes(4)
        # Ogg's is the usual CRC-32 with bits in the other order, and begins with 0.
        mirrored = zlib.crc32(bytes(content[at:end]).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        content[at + 22 : at + 26] = mirrored.to_bytes(4, "big").translate(_REVERSED)


def _place(chance: random.Random, content: bytearray) -> int:
    """Chooses a place: among the first bytes, behind the name of a chunk, or anywhere."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randrange(min(64, len(content)))
    if kind == 1:
        names = [match.end() for match in re.finditer(rb"[A-Za-z][A-Za-z0-9 ]{3}", content[:4096])]
        if names:
            return min(chance.choice(names) + chance.choice((0, 0, 0, 4, 8)), len(content) - 1)
    if kind == 2:
        return chance.randrange(min(1024, len(content)))
    return chance.randrange(len(content))


def _length(chance: random.Random, most: int) -> int:
    """Chooses a length from 1 to `most`; short ones as often as long ones."""
    return min(most, int(2 ** chance.uniform(0, max(0, most.bit_length()))))


def _flip(chance: random.Random, content: bytearray, bases: Bases) -> None:
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16, 64))):
        content[_place(chance, content)] ^= 1 << chance.randrange(8)


def _put_integer(chance: random.Random, content: bytearray, bases: Bases) -> None:
    at, width, order = _place(chance, content), chance.choice((1, 2, 2, 4, 4, 4, 8)), chance.choice(("little", "big"))
    most = 2 ** (8 * width)
    now = int.from_bytes(content[at : at + width], order)
    value = chance.choice(
        (0, 1, 2, 3, 16, 255, 1024, most // 2 - 1, most // 2, most // 2 + 1, most - 1, most - 2, most - 8, most // 4,
         most // 16, now + 1, now - 1, now * 2, now // 2, -now, now + most // 2, len(content), len(content) - at,
         len(content) - at - width + 1, 100, 768_000, 2**31 - 8, chance.getrandbits(8 * width))
    )  # fmt: skip
    content[at : at + width] = (value % most).to_bytes(width, order)[: len(content) - at]


def _put_bytes(chance: random.Random, content: bytearray, bases: Bases) -> None:
    at = _place(chance, content)
    length = _length(chance, min(256, len(content) - at))
    content[at : at + length] = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))


def _truncate(chance: random.Random, content: bytearray, bases: Bases) -> None:
    del content[chance.choice((chance.randrange(len(content)), len(content) - _length(chance, len(content)))) :]


def _delete(chance: random.Random, content: bytearray, bases: Bases) -> None:
    at = _place(chance, content)
    del content[at : at + _length(chance, 4096)]


def _duplicate(chance: random.Random, content: bytearray, bases: Bases) -> None:
    at = _place(chance, content)
    block = content[at : at + _length(chance, 4096)]
    to = chance.choice((at, _place(chance, content)))
    content[to:to] = block * chance.choice((1, 1, 2, 8))


def _insert(chance: random.Random, content: bytearray, bases: Bases) -> None:
    at, length = _place(chance, content), _length(chance, 4096)
    content[at:at] = chance.choice((bytes(length), chance.randbytes(length)))


def _splice(chance: random.Random, content: bytearray, bases: Bases) -> None:
    other = _chosen(chance, bases).content
    at = _place(chance, content)
    content[at:] = other[chance.choice((at, at, chance.randrange(len(other) + 1))) :]


def _overlay(chance: random.Random, content: bytearray, bases: Bases) -> None:
    other = _chosen(chance, bases).content
    at = _place(chance, content)
    start = chance.randrange(len(other) + 1)
    block = other[start : start + _length(chance, 4096)]
    content[at : at + len(block)] = block


def _append(chance: random.Random, content: bytearray, bases: Bases) -> None:
    length = _length(chance, 4096)
    content += chance.choice((bytes(length), chance.randbytes(length), _chosen(chance, bases).content))


_MUTATORS: tuple[Callable[[random.Random, bytearray, Bases], None], ...] = (
    _flip, _flip, _put_integer, _put_integer, _put_integer, _put_bytes, _truncate, _delete, _duplicate, _insert,
    _splice, _overlay, _append,
)  # fmt: skip


def _chosen(chance: random.Random, bases: Bases) -> Base:
    if "real" in bases and chance.random() < 0.5:
        return chance.choice(bases["real"])
    return chance.choice(bases[chance.choice([kind for kind in bases if kind != "real"])])


def mutant(bases: Bases, seed: int, number: int) -> Mutant:
    """Makes a mutant; nothing but the arguments has a part in it."""
    chance = random.Random(f"{seed} {number}")
    base = _chosen(chance, bases)
    content, names = bytearray(base.content), []
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        if content:
            mutator = chance.choice(_MUTATORS)
            mutator(chance, content, bases)
            names.append(mutator.__name__.strip("_"))
    if chance.randrange(4):
        repair_ogg(content)
    extension = chance.choice(_NAMES_END) if chance.randrange(6) == 0 else base.extension
    return Mutant(f"{base.name}: {', '.join(names) or 'nothing'}", extension, bytes(content[:_MUTANT_BYTES]))


@dataclass
class Tally:
    """What was seen.

    Attributes:
        files: mutants that were tried.
        sampled: those of which samples were decoded, as their header was believed.
        decoded: those of which there is a waveform.
        outcomes: how often a clip was used or refused, by its warning or reason and the message.
        first: the first mutant of each.
        started: processes that decode which were started.
        slowest: seconds and number of the mutant that took longest.
        largest: for this process and for those that decode, the most memory that a mutant took, and its number.
        failures: what is to be mended.
    """

    files: int = 0
    sampled: int = 0
    decoded: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    started: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    largest: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The part of the mutants of which samples were decoded."""
        return self.sampled / max(1, self.files)

    def count(self, number: int, outcome: str, message: str) -> None:
        key = outcome, re.sub(r"[\d,.]*\d", "#", message)
        self.outcomes[key] += 1
        self.first.setdefault(key, number)

    def table(self) -> str:
        """Writes it for people."""
        total = max(1, self.outcomes.total())
        reasons: Counter[str] = Counter()
        for (outcome, _), times in self.outcomes.items():
            reasons[outcome] += times
        lines = [f"{times:9,d} {times / total:6.1%}  {outcome}" for outcome, times in reasons.most_common()]
        lines += ["", "    times     first  outcome: message"]
        for (outcome, message), times in self.outcomes.most_common(60):
            lines.append(f"{times:9,d} {self.first[outcome, message]:9,d}  {outcome}: {message[:150]}")
        grown = [f"{name} {size / 2**20:.0f} MiB (mutant {number})" for name, (size, number) in self.largest.items()]
        lines += [
            "",
            f"{self.files:,} mutants; samples were decoded of {self.sampled:,} ({self.share:.1%}), "
            f"{self.decoded:,} gave a waveform",
            f"slowest: {self.slowest[0]:.2f} s (mutant {self.slowest[1]}); most memory: {', '.join(grown)}",
            f"processes that decode started: {self.started:,}; "
            + ", ".join(f"{reason.value}: {reasons[reason.value]:,}" for reason in
                        (Reason.DECODER_DIED, Reason.TIMEOUT, Reason.OUT_OF_MEMORY_GUARD)),
            *self.failures,
            f"{len(self.failures)} failures",
        ]  # fmt: skip
        return "\n".join(lines)


class _Memory:
    """What a mutant takes: of this process, and of the one that decodes for it."""

    def __init__(self) -> None:
        _end_decoders()
        clip_waveform(_silence(1_000, 16_000), CLIP)
        self._fresh = _memory(decoder_client._idle[-1].process_id)[0]
        self._dead = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        self._before: dict[int, int] = {}

    def begin(self) -> None:
        self._before = {}
        for process_id in (os.getpid(), *(decoder.process_id for decoder in decoder_client._idle)):
            Path(f"/proc/{process_id}/clear_refs").write_text("5")  # the peak is what is there now
            self._before[process_id] = _memory(process_id)[0]

    def grown(self) -> tuple[int, int, int, int]:
        """Returns by how much this process, the one that decodes and one that is no more have grown, and new ones."""
        ours = _memory(os.getpid())[1] - self._before[os.getpid()]
        ids = [decoder.process_id for decoder in decoder_client._idle]
        theirs = [_memory(process_id)[1] - self._before.get(process_id, self._fresh) for process_id in ids]
        # Of those that have died or were ended the system knows the largest. It counts what this process was when it
        # started them, too.
        dead = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        new = dead if dead > max(self._dead, ours + self._before[os.getpid()]) else self._fresh
        self._dead = max(self._dead, dead)
        started = sum(process_id not in self._before for process_id in ids)
        return ours, max(theirs, default=0), new - self._fresh, started


def _memory(process_id: int) -> tuple[int, int]:
    """Returns bytes of a process in memory: now, and at most."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    now, peak = (int(status.partition(f"{name}:")[2].split(maxsplit=1)[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def _end_decoders() -> None:
    while decoder_client._idle:
        decoder_client._idle.pop().end()


def _try(path: str, number: int, tally: Tally) -> Iterator[str]:
    """Decodes a file in all ways; yields what is wrong."""
    info = refused = None
    try:
        info = probe(path)
    except ClipError as error:
        refused = error
    tally.sampled += info is not None and info.frames > 0
    decoded = False
    for spec in (CLIP, WHOLE)[: 2 if number % _WHOLE_EVERY == 0 else 1]:
        try:
            waveform, seconds, warning = clip_waveform(path, spec)
        except ClipError as error:
            tally.count(number, error.reason.value, error.message)
            yield from _wrong_error(error)
            if refused is not None and (error.reason, error.message) != (refused.reason, refused.message):
                yield f"probe said {refused.reason} ({refused}), and then {error.reason} ({error})"
            continue
        decoded = True
        tally.count(number, warning or "used", "")
        if refused is not None:
            yield f"probe refused it ({refused}), and it was used"
        if (
            not {*warning.split(";")} <= {"", "truncated", "silent", "wrong_size", "joined", "channels_cancel"}
            or not seconds > 0
        ):
            yield f"warning {warning!r}, {seconds} s"
        yield from _wrong_samples(waveform, spec.clip_samples)
    tally.decoded += decoded
    if info is not None and number % _WINDOWS_EVERY == 0:
        yield from _try_windows(path, info)


def _try_windows(path: str, info: AudioInfo) -> Iterator[str]:
    """Decodes the first and the last windows, as units of a long recording are."""
    number = num_windows(info, CLIP)
    for first in sorted({0, max(0, number - _END_WINDOWS)}):
        try:
            for window in window_waveforms(path, info, CLIP, first, min(_END_WINDOWS, number - first)):
                yield from _wrong_samples(window.waveform, CLIP.clip_samples)
                if not 0 <= window.start_seconds < window.end_seconds <= info.frames / info.rate_hz:
                    yield f"a window from {window.start_seconds} to {window.end_seconds} s"
        except ClipError as error:
            yield from _wrong_error(error)


def _wrong_samples(waveform: np.ndarray, length: int | None) -> Iterator[str]:
    if waveform.dtype != np.float32 or waveform.ndim != 1 or len(waveform) != (length or len(waveform)):
        yield f"a waveform of shape {waveform.shape}, {waveform.dtype}"
    if not np.isfinite(waveform).all():
        yield "the waveform is not finite"


def _wrong_error(error: ClipError) -> Iterator[str]:
    """Looks at what stands in a table of rejects, which is Parquet and CSV."""
    if error.stage not in ("decode", "fit") or not isinstance(error.reason, Reason) or not error.message:
        yield f"a reject of stage {error.stage}, reason {error.reason!r}, message {error.message!r}"
    if error.reason == Reason.DECODER_DIED and "exit code" in error.message:
        yield f"an exception in the process that decodes: {error}"
    if len(error.message) > 1000 or not error.message.isprintable():
        yield f"a message that is not a line of text: {error.message!r}"


def fuzz(
    bases: Bases,
    seed: int,
    files: int,
    folder: Path,
    output: Path,
    first: int = 0,
    seconds: float = float("inf"),
    most_seconds: float = MOST_SECONDS,
    most_decoder_bytes: int = MOST_DECODER_BYTES,
    most_own_bytes: int = MOST_OWN_BYTES,
) -> Tally:
    """Tries mutants.

    Args:
        bases: what they are made of.
        seed: with their number, all that chooses what happens to a base.
        files: how many.
        folder: where they are written, one at a time.
        output: where those are kept that fail.
        first: number of the first.
        seconds: after this time no further one is tried.
        most_seconds: a mutant that twice takes longer fails.
        most_decoder_bytes: one that makes the process that decodes it grow by more fails.
        most_own_bytes: and one that makes this process grow by more, beside three times what a file of its size may
            become.
    """
    tally, memory = Tally(), _Memory()
    end = time.monotonic() + seconds
    for number in range(first, first + files):
        if time.monotonic() > end:
            break
        made = mutant(bases, seed, number)
        path = folder / f"mutant-{number}{made.extension}"
        path.write_bytes(made.content)
        tally.files += 1
        memory.begin()
        wrong, took = _timed(path, number, tally)
        ours, theirs, dead, started = memory.grown()
        tally.started += started
        tally.slowest = max(tally.slowest, (took, number))
        for name, grown in (("this process", ours), ("decoder", theirs), ("a process that ended", dead)):
            tally.largest[name] = max(tally.largest.get(name, (0, 0)), (grown, number))
        if took > most_seconds and (again := _timed(path, number, Tally())[1]) > most_seconds:
            wrong.append(f"it took {took:.1f} s and {again:.1f} s")
        if ours > 3 * limit_bytes(len(made.content)) + most_own_bytes:
            wrong.append(f"this process grew by {ours:,} bytes for a file of {len(made.content):,}")
        if theirs > most_decoder_bytes:
            wrong.append(f"the process that decodes grew by {theirs:,} bytes for a file of {len(made.content):,}")
        if dead > MEMORY_BYTES + MOST_OWN_BYTES:
            wrong.append(f"a process that ended had grown by {dead:,} bytes for a file of {len(made.content):,}")
        if wrong:
            output.mkdir(parents=True, exist_ok=True)
            kept = output / f"{seed}-{number}{made.extension}"
            kept.write_bytes(made.content)
            tally.failures += [f"FAILED seed {seed} mutant {number} of {made.history}, kept as {kept}: {what}"
                               for what in wrong]  # fmt: skip
        path.unlink()
    return tally


def _timed(path: Path, number: int, tally: Tally) -> tuple[list[str], float]:
    started = time.monotonic()
    wrong: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numpy's, which a user can do nothing about
            wrong.extend(_try(str(path), number, tally))
    except Exception:
        wrong.append(traceback.format_exc())
    return wrong, time.monotonic() - started


def main() -> int:
    """Runs it as a command; returns 1 where a mutant failed or too few came as far as their samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=sys.maxsize, help="how many mutants (as many as there is time)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="of all chance (the time)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long at most (as long as it takes)")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(tempfile.gettempdir()) / "soundmill-fuzz",
                        help="where mutants that fail are kept (%(default)s)")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.files == sys.maxsize and arguments.seconds == float("inf"):
        parser.error("say how many --files, or for how many --seconds")
    bases = all_bases()
    contents = [base.content for kind in bases.values() for base in kind]
    made_of = f"{len(contents)} bases, CRC-32 {zlib.crc32(b''.join(contents)):08x}"
    print(f"seed {arguments.seed}; {made_of}; ffmpeg: {find_ffmpeg() or 'none'}", flush=True)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        tally = fuzz(bases, arguments.seed, arguments.files, Path(folder), arguments.output, arguments.first,
                     arguments.seconds)  # fmt: skip
    print(tally.table())
    return 1 if tally.failures or tally.share < LEAST_SHARE else 0


if __name__ == "__main__":
    sys.exit(main())
