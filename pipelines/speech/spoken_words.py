"""Makes the demo's recordings: single words, spoken by eSpeak NG, laid out as the Speech Commands data set is.

    python -m pipelines.speech.spoken_words --output DIR

eSpeak NG is under the GPL-3. Its library comes with the package `espeakng-loader`, an extra of the demo alone
(`pip install 'soundmill[demo]'`); nothing else in soundmill loads it, and the demo runs this module in a process
of its own.
"""

import argparse
import ctypes
import importlib.util
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from features.errors import RunError, UsageError
from features.io.atomic import write_file
from features.runtime import command
from features.runtime.processes import choose_workers, parse_workers, run_jobs
from pipelines.speech.voices import WORDS, Speaker, clip_paths, plan_speakers

EXAMPLE = "python -m pipelines.speech.spoken_words --output words/"
SAMPLE_RATE_HZ = 16_000
CLIP_SAMPLES = SAMPLE_RATE_HZ  # one second
DEFAULT_CLIPS = 5_600
PEAK_RANGE_DB = (-13.0, -3.0)
NOISE_RANGE_DB = (-60.0, -40.0)
MAX_SHIFT_SECONDS = 0.06  # how far the middle of a word may lie from the middle of its clip

# From speak_lib.h of eSpeak NG.
_SYNCHRONOUS, _RATE, _PITCH, _CHARS_UTF8 = 2, 1, 3, 1
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def list_variants() -> list[str]:
    """Returns the names of eSpeak NG's variant voices, sorted."""
    import espeakng_loader

    return sorted(os.listdir(Path(espeakng_loader.get_data_path()) / "voices" / "!v"))


class _Synthesiser:
    """eSpeak NG set to one voice."""

    def __init__(self, library: ctypes.CDLL, data_path: str, speaker: Speaker) -> None:
        self._library = library
        self._chunks: list[bytes] = []
        # Held as an attribute: the library keeps no reference of its own.
        self._callback = _SYNTH_CALLBACK(self._receive)
        self.sample_rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data_path), 0)
        library.espeak_SetSynthCallback(self._callback)
        library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        voice = f"{speaker.accent}+{speaker.variant}"
        if self.sample_rate_hz <= 0 or library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RunError(f"eSpeak NG cannot speak as {voice!r}")
        library.espeak_SetParameter(_RATE, speaker.rate_wpm, 0)
        library.espeak_SetParameter(_PITCH, speaker.pitch, 0)

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, word: str, noise_seed: int) -> np.ndarray:
        """Speaks one word; noise_seed is for the breath of voices that have some, else seeded by the clock."""
        self._chunks.clear()
        self._library.espeak_ng_SetRandSeed(noise_seed)
        text = word.encode() + b"\0"
        size = ctypes.c_size_t(len(text))
        self._library.espeak_Synth(text, size, 0, 1, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.frombuffer(b"".join(self._chunks), np.int16) / 32768.0


@contextmanager
def _fresh_synthesiser(speaker: Speaker) -> Iterator[_Synthesiser]:
    """Loads the library for one speaker and unloads it.

    eSpeak NG carries the phase of a voice's flutter from one utterance to the next, in a static variable that
    neither a new voice nor espeak_Terminate resets. Loaded anew, a speaker sounds the same whoever spoke before.
    """
    import espeakng_loader

    path = espeakng_loader.get_library_path()
    library = ctypes.CDLL(path)
    try:
        yield _Synthesiser(library, espeakng_loader.get_data_path(), speaker)
        library.espeak_Terminate()
    finally:
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def _place(word: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Puts a word of any level into one second of noise, as 16-bit samples."""
    loud = np.flatnonzero(np.abs(word) > 0.02 * np.abs(word).max())
    word = word[loud[0] : loud[-1] + 1][:CLIP_SAMPLES]
    shift = round(rng.uniform(-MAX_SHIFT_SECONDS, MAX_SHIFT_SECONDS) * SAMPLE_RATE_HZ)
    start = int(np.clip((CLIP_SAMPLES - len(word)) // 2 + shift, 0, CLIP_SAMPLES - len(word)))
    clip = rng.normal(0.0, 10 ** (rng.uniform(*NOISE_RANGE_DB) / 20), CLIP_SAMPLES)
    clip[start : start + len(word)] += word / np.abs(word).max() * 10 ** (rng.uniform(*PEAK_RANGE_DB) / 20)
    return np.round(np.clip(clip, -1.0, 1.0) * 32767).astype(np.int16)


@dataclass(frozen=True)
class SpeakerJob:
    """The clips of one speaker to write.

    Attributes:
        output: root of the tree; the folders of the clips exist.
        speaker: who speaks.
        seed: of places, gains and noise; each clip derives its own, whoever is synthesised before.
        first_number: of the first clip, in the names of unseen/.
    """

    output: Path
    speaker: Speaker
    seed: int
    first_number: int


def write_speaker(job: SpeakerJob) -> int:
    """Synthesises and writes all clips of one speaker; returns how many."""
    speaker = job.speaker
    clips = clip_paths(speaker, job.first_number)
    with _fresh_synthesiser(speaker) as synthesiser:
        for word, take, path in clips:
            rng = np.random.default_rng([job.seed, int(speaker.identifier, 16), WORDS.index(word), take])
            speech = synthesiser.say(word, int(rng.integers(2**31)))
            if not speech.any():
                raise RunError(f"eSpeak NG says nothing for {word!r} as {speaker}")
            samples = _place(soxr.resample(speech, synthesiser.sample_rate_hz, SAMPLE_RATE_HZ), rng)
            wav = io.BytesIO()
            soundfile.write(wav, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
            write_file(job.output / path, wav.getvalue())
    return len(clips)


def write_tree(output: Path, clips: int, seed: int, workers: int) -> int:
    """Writes the whole tree: labelled/ with its two lists, and unseen/.

    Args:
        output: Root of the tree, an empty or missing folder.
        clips: Least number of clips in labelled/.
        seed: Seed of the tree; the number of workers changes no byte of it.
        workers: Number of processes.

    Returns:
        The number of clips written.
    """
    speakers = plan_speakers(list_variants(), clips, seed)
    for folder in ("unseen", *(f"labelled/{word}" for word in WORDS)):
        (output / folder).mkdir(parents=True, exist_ok=True)
    unseen = [speaker for speaker in speakers if speaker.partition == "unseen"]
    first_numbers = {speaker: i * len(WORDS) for i, speaker in enumerate(unseen)}
    jobs = [SpeakerJob(output, speaker, seed, first_numbers.get(speaker, 0)) for speaker in speakers]
    written = sum(run_jobs(write_speaker, jobs, workers))
    for partition in ("testing", "validation"):
        chosen = (speaker for speaker in speakers if speaker.partition == partition)
        lines = sorted(path.removeprefix("labelled/") for s in chosen for _, _, path in clip_paths(s))
        write_file(output / "labelled" / f"{partition}_list.txt", "".join(f"{line}\n" for line in lines))
    return written


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Makes the demo's recordings: words spoken by eSpeak NG (GPL-3).", EXAMPLE)
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder for the recordings")
    result.add_argument("--clips", type=int, default=DEFAULT_CLIPS, help="labelled clips (%(default)s)")
    result.add_argument("--seed", type=int, default=0, help="of every choice (%(default)s)")
    result.add_argument("--workers", default="auto", metavar="N", help="processes (auto)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Makes the words and prints what came of it."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise UsageError("the demo's words need eSpeak NG: pip install 'soundmill[demo]'")
    if options.clips < 1:
        raise UsageError(f"--clips is above 0, not {options.clips}")
    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        raise UsageError(f"{options.output} is not an empty folder; give another --output")
    workers = choose_workers(parse_workers(options.workers), options.clips, pays=True)
    started = time.monotonic()
    clips = write_tree(options.output, options.clips, options.seed, workers)
    seconds = time.monotonic() - started
    figures = {"clips": clips, "seconds": seconds, "clips_per_second": clips / seconds}
    command.finish(options, f"{clips:,} words spoken in {seconds:.1f} s; they are in {options.output}.", figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
