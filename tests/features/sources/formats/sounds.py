"""The recordings that manifests of the tests name, and clips as the tests compare them."""

from pathlib import Path

import numpy as np
import soundfile

from tests.signals import noise, sine, write_wav

RATE = 8_000


def write_sounds(folder: Path) -> Path:
    """Writes `sounds/`: recordings of one channel, of another rate and of two channels; returns the folder."""
    sounds = folder / "sounds"
    sounds.mkdir(parents=True)
    write_wav(sounds / "mono.wav", noise(2 * RATE + 7, seed=1), RATE)
    write_wav(sounds / "rate.wav", noise(11_025, seed=2), 11_025)
    both = np.stack([noise(2 * RATE, seed=3), 0.5 * sine(440, 2 * RATE, RATE)], axis=1)
    soundfile.write(sounds / "stereo.wav", both, RATE, "PCM_16")
    return folder


def clips_of(source, *names):
    """Returns path, start, duration and label of each clip, and further columns."""
    columns = ("path", "start", "duration", "label", *names)
    return list(zip(*(source.clips[name].to_pylist() for name in columns), strict=True))
