"""Measures featurize on clips in the rates and formats that people have: python benchmarks/formats.py.

Peers are a bare loop of soundfile, soxr and rfft in as many processes as there are cores, and librosa's loop. The time
of a clip is the difference of two runs of which one has more clips, by the number of those: the start of processes,
which `benchmarks/featurize.py` measures, is in no figure here.
"""

import functools
import itertools
import os
import shutil
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from clips import LONG_AGO, TAKES, benchmark_parser, find_originals
from measure import PYTHON, Contender, alternate, machine, peer, spread

from features.errors import UsageError

RATE_HZ, ORIGINAL_RATE_HZ = 16_000, 16_000
PACKAGES = ("numpy", "scipy", "soxr", "soundfile", "pyarrow", "apache-beam")
CLIPS = {1: (1_600, 320), 10: (240, 48)}  # of the larger and the smaller run, by seconds
NOISE, ECHO_SAMPLES = 0.003, 40
SPEC = 'preset = "speech-commands"\nclip_seconds = {}\n'


@dataclass(frozen=True)
class Kind:
    """What clips are: the words of a row, and as what soundfile writes them."""

    name: str
    ending: str
    subtype: str
    rate_hz: int
    channels: int


KINDS = {
    "wav16": Kind("WAV, 44.1 kHz, 16 bits, mono", ".wav", "PCM_16", 44_100, 1),
    "wav24": Kind("WAV, 48 kHz, 24 bits, stereo", ".wav", "PCM_24", 48_000, 2),
    "flac": Kind("FLAC, 44.1 kHz, 16 bits, mono", ".flac", "PCM_16", 44_100, 1),
    "mp3": Kind("MP3, 44.1 kHz, mono", ".mp3", "MPEG_LAYER_III", 44_100, 1),
}


def write_clips(folder: Path, originals: list[Path], kind: Kind, seconds: int, numbers: range) -> None:
    """Writes clips: words one after the other at another rate, with noise of their own; number N is always the same."""
    for number in numbers:
        label = originals[number % len(originals)].parent.name
        speaker, take = divmod(number, TAKES)
        path = folder / label / f"{speaker * 2_654_435_761 % 2**32:08x}_nohash_{take}{kind.ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [_samples(originals[(number + 7 * word) % len(originals)]) for word in range(seconds)]
        sound = np.zeros(seconds * ORIGINAL_RATE_HZ, np.float32)
        for word, samples in enumerate(words):
            sound[word * ORIGINAL_RATE_HZ :][: len(samples)] = samples[:ORIGINAL_RATE_HZ]
        sound = soxr.resample(sound, ORIGINAL_RATE_HZ, kind.rate_hz)
        channels = np.stack([np.roll(sound, ECHO_SAMPLES * channel) for channel in range(kind.channels)], axis=1)
        noise = np.random.default_rng(number).standard_normal(channels.shape, np.float32)
        soundfile.write(path, np.clip(channels + NOISE * noise, -0.99, 0.99), kind.rate_hz, subtype=kind.subtype)
        os.utime(path, (LONG_AGO + number, LONG_AGO + number))


def _samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32_768


def made(folder: Path, originals: list[Path], kind: Kind, seconds: int, number: int) -> Path:
    """Returns a folder of so many clips, made anew on all cores where the last making of them did not end."""
    mark = folder.with_name(f"{folder.name}.made")
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        parts = os.cpu_count() or 1
        write = functools.partial(write_clips, folder, originals, kind, seconds)
        with ProcessPoolExecutor(parts) as pool:
            list(pool.map(write, (range(part, number, parts) for part in range(parts))))
        mark.touch()
    return folder


def few_of(folder: Path, number: int) -> Path:
    """Returns a folder of so many of the clips of another, which are linked and not copied."""
    few = folder.with_name(f"{folder.name}-few")
    shutil.rmtree(few, ignore_errors=True)
    for path in sorted(folder.rglob("*.*"), key=lambda path: path.stat().st_mtime_ns)[:number]:
        link = few / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, link)
    return few


@dataclass
class Pair:
    """A contender of two runs, of which one has more clips."""

    large: Contender
    small: Contender

    @property
    def clip_us(self) -> list[float]:
        """CPU time of a clip in each turn: what the larger run takes more, by its more clips."""
        clips = self.large.clips - self.small.clips
        pairs = zip(self.large.cpu_seconds, self.small.cpu_seconds, strict=True)
        return [(large - small) / clips * 1e6 for large, small in pairs]


def pair(
    name: str,
    command: list[str],
    runs: tuple[tuple[Path, int], tuple[Path, int]],
    output: Path | None,
    tree: Path | None = None,
) -> Pair:
    """Returns a contender of two runs, each of a folder and its number of clips; its command has `{source}` for it."""
    large, small = (Contender(name, [part.format(source=source) for part in command], clips, output, tree=tree)
                    for source, clips in runs)  # fmt: skip
    return Pair(large, small)


def featurize(output: Path, spec: Path) -> list[str]:
    """Returns the command of featurize."""
    return [PYTHON, "-m", "pipelines.featurize", "--input", "{source}", "--output", str(output), "--spec", str(spec),
            "--workers", "2"]  # fmt: skip


def row(pairs: list[Pair], name: str) -> str:
    """Returns a line of the table: CPU time a clip of each, and their ratios, turn by turn."""
    times = {one.large.name: one.clip_us for one in pairs}
    cells = [name, *(spread(us, 0) for us in times.values())]
    ours = times["soundmill"]
    for us in list(times.values())[1:]:
        cells.append(spread([b / a for a, b in zip(ours, us, strict=True)]))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, turns=3)
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of %(default)s")
    parser.add_argument("--seconds", default="1,10", help="lengths of clips, some of %(default)s")
    parser.add_argument("--share", type=float, default=1.0, help="of the clips that are measured by default")
    parser.add_argument("--before", type=Path, help="another checkout of soundmill, measured too")
    parser.add_argument("--no-librosa", action="store_true", help="leave out librosa's loop")
    options = parser.parse_args()
    options.output = options.output.resolve()  # another checkout runs in its own folder
    peers = [] if options.no_librosa else ["librosa"]
    where, originals = machine(*PACKAGES, peers=peers), find_originals(options.data)
    work = options.output / "work"
    if work.exists():
        raise UsageError(f"{work} is in the way; remove it")
    work.mkdir(parents=True)
    lines = []
    for key, text in itertools.product(options.kinds.split(","), options.seconds.split(",")):
        kind, seconds = KINDS[key], int(text)
        counts = [int(number * options.share) for number in CLIPS[seconds]]
        folder = made(options.output / f"{key}-{seconds}s-{counts[0]}", originals, kind, seconds, counts[0])
        runs = (folder, counts[0]), (few_of(folder, counts[1]), counts[1])
        spec = work / f"spec-{seconds}.toml"
        spec.write_text(SPEC.format(seconds), encoding="utf-8")
        pairs = [pair("soundmill", featurize(work / "set", spec), runs, work / "set")]
        bare = [*peer("bare", Path("{source}"), work / "bare"), str(seconds)]
        pairs.append(pair("bare loop", bare, runs, work / "bare"))
        if options.before is not None:
            command = featurize(work / "before", spec)
            pairs.append(pair("before", command, runs, work / "before", options.before.resolve()))
        if not options.no_librosa:
            command = [*peer("librosa-load", Path("{source}"), work / "none", "librosa"), str(seconds)]
            pairs.append(pair("librosa loop", command, runs, None))
        alternate([run for one in pairs for run in (one.large, one.small)], options.turns)
        lines.append(row(pairs, f"{kind.name}, {seconds} s"))
        print(lines[-1], flush=True)
    shutil.rmtree(work)
    names = [one.large.name for one in pairs]
    header = ["CPU µs a clip", *names, *(f"{other} by soundmill" for other in names[1:])]
    print(f"\n{where}.\n\n| {' | '.join(header)} |\n{'|---' * len(header)}|", *lines, sep="\n")


if __name__ == "__main__":
    main()
