"""Makes clips for benchmarks, any number of them, of the real ones of Speech Commands."""

import argparse
import os
import random
import shutil
import wave
from dataclasses import dataclass
from pathlib import Path

from features.errors import UsageError

WORDS = "speech_commands_8words"
LONG_AGO = 1_600_000_000
PARTS, TAKES, ROLLED_SAMPLES = 4, 4, 101
HOUR_WORDS = 600
LINKS, LINKED_CLIPS = 50_000, 2_500  # of one file, of which ext4 allows 65,000; and in one folder


def benchmark_parser(
    description: str | None, clips: int | None = None, turns: int | None = None, output: bool = True
) -> argparse.ArgumentParser:
    """Returns the options that benchmarks share: where the recordings are, where to work, and how much."""
    result = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    data = os.environ.get("SOUNDMILL_DATA")
    result.add_argument(
        "--data", type=_recordings, default=data, required=data is None, help="folder of recordings (SOUNDMILL_DATA)"
    )
    if output:
        result.add_argument("--output", type=Path, required=True, help="folder for all that is made")
    if clips is not None:
        result.add_argument("--clips", type=int, default=clips, help="number of clips (%(default)s)")
    if turns is not None:
        result.add_argument("--turns", type=int, default=turns, help="how often each is run (%(default)s)")
    return result


def _recordings(text: str) -> Path:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"no folder of recordings: {text}")
    return Path(text)


def find_originals(data: Path) -> list[Path]:
    """Returns the recordings, so mixed that any number of the first has all classes."""
    originals = sorted((data / WORDS).glob("[!_]*/*.wav"))
    random.Random(0).shuffle(originals)
    if not originals:
        raise UsageError(f"no recordings in {data / WORDS}; --data names the folder that holds {WORDS}")
    return originals


@dataclass
class Clips:
    """Makes clips of real ones: number N is always the same, and no two have one name or one content."""

    folder: Path
    made: int = 0
    shortened: int | None = None  # bytes of sound, where few will do

    def make(self, originals: list[Path], number: int) -> None:
        """Adds clips, in as many classes as the originals have."""
        for clip in range(self.made, self.made + number):
            copy, place = divmod(clip, len(originals))
            original = originals[place]
            with wave.open(str(original)) as file:
                layout, sound = file.getparams(), file.readframes(file.getnframes())
            cut = layout.sampwidth * ROLLED_SAMPLES * copy % len(sound)
            speaker, take = divmod(clip, TAKES)
            name = f"{speaker * 2_654_435_761 % 2**32:08x}_nohash_{take}.wav"  # an odd factor: no two are the same
            path = self.folder / original.parent.name / f"part-{1 + speaker % PARTS}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setparams(layout)
                file.writeframes((sound[cut:] + sound[:cut])[: self.shortened])
            os.utime(path, (LONG_AGO + clip, LONG_AGO + clip))
        self.made += number


def made(folder: Path, originals: list[Path], number: int, shortened: int | None = None) -> Path:
    """Returns a folder of so many clips, made anew where the last making of them did not end; see `Clips`."""
    mark = folder.with_name(f"{folder.name}.made")
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        Clips(folder, shortened=shortened).make(originals, number)
        mark.touch()
    return folder


def made_hours(folder: Path, originals: list[Path], hours: int, rate_hz: int = 48_000) -> Path:
    """Returns a folder of recordings of an hour each, mono: words one after the other, with noise between them."""
    import numpy as np
    import soxr

    mark = folder.with_name(f"{folder.name}.made")
    if mark.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = []
    for original in originals[:HOUR_WORDS]:
        with wave.open(str(original)) as file:
            words.append(soxr.resample(np.frombuffer(file.readframes(file.getnframes()), "<i2"), 16_000, rate_hz))
    random_numbers = np.random.default_rng(0)
    for hour in range(hours):
        with wave.open(str(folder / f"20260601_{hour:02d}0000.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            left = 3600 * rate_hz
            while left:
                noise = random_numbers.normal(scale=30, size=random_numbers.integers(rate_hz)).astype("<i2")
                word = words[random_numbers.integers(len(words))]
                block = np.concatenate([word, noise])[:left]
                file.writeframes(block.astype("<i2").tobytes())
                left -= len(block)
    mark.touch()
    return folder


def link_clips(linked_to: list[Path], folder: Path, first: int, end: int) -> None:
    """Gives clips many names, so that millions take no room."""
    for block in range(first, end, LINKED_CLIPS):
        place = folder / f"class-{block // LINKED_CLIPS % 8}" / f"part-{block // LINKED_CLIPS}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(block, min(block + LINKED_CLIPS, end)):
            os.link(linked_to[number // LINKS], place / f"{number // TAKES:08x}_nohash_{number % TAKES}.wav")
