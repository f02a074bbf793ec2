"""Compares noise mixed into cached features with noise mixed into waveforms: python benchmarks/noise.py.

How far apart the features are by the signal-to-noise ratio, and what a clip of an epoch costs in CPU time, in memory
and in one thread.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from clips import WORDS, benchmark_parser, find_originals
from measure import machine, spread
from numpy.typing import NDArray

from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from model.training.augment import Augmenter
from model.training.noise import compute_noise
from model.training.recipes import recipe
from model.training.spectrogram_changes import add_noise, from_power, to_power

PRESETS = ("log-mel", "speech-commands")
SNRS_DB = (0.0, 10.0, 20.0)
BATCH = 100
Waveforms = NDArray[np.float32]


def noise_waveforms(data: Path, count: int, spec: FeatureSpec) -> Waveforms:
    """Returns stretches of the background noise, drawn with a seed: (count, samples)."""
    recordings = sorted((data / WORDS / "_background_noise_").glob("*.wav"))
    generator = np.random.default_rng(0)
    starts = generator.integers(0, 50 * spec.sample_rate_hz, count)
    chosen = [recordings[number] for number in generator.integers(0, len(recordings), count)]
    return np.stack([clip_waveform(str(path), spec, int(start))[0]
                     for path, start in zip(chosen, starts, strict=True)])  # fmt: skip


def differences_db(clips: Waveforms, noise: Waveforms, snr_db: float, spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns by how much each value of the two mixtures differs, in decibels."""
    power, noise_power = (to_power(compute_features(each, spec), spec) for each in (clips, noise))
    ratios = power.mean(axis=(1, 2)) / noise_power.mean(axis=(1, 2)) * np.float32(10 ** (-snr_db / 10))
    add_noise(power, noise_power, np.arange(len(clips)), np.full(len(clips), snr_db), spec)
    mixed = compute_features(clips + np.sqrt(ratios)[:, None] * noise, spec)
    mine, theirs = from_power(power, spec), mixed
    if spec.front_end == "stft":
        mine, theirs = np.log(mine + np.float32(1e-6)), np.log(theirs + np.float32(1e-6))
    nepers: NDArray[np.float32] = mine - theirs
    return nepers * np.float32(10 * (3 - spec.spectrum_power) / np.log(10))


def cpu_ms(work: Callable[[int], object], turns: int) -> list[float]:
    """Returns what a clip of a batch costs, turn by turn."""
    found = []
    for turn in range(turns):
        begun = time.process_time()
        work(turn)
        found.append((time.process_time() - begun) / BATCH * 1e3)
    return found


def costs(
    data: Path, originals: Sequence[Path], clips: Waveforms, noise: Waveforms, turns: int
) -> dict[str, list[float]]:
    """Returns the CPU milliseconds a clip of each way, with the preset `log-mel`."""
    spec = preset(PRESETS[0])
    waveforms, sounds = clips[:BATCH], noise[:BATCH]
    features, noise_features = compute_features(waveforms, spec), compute_features(sounds, spec)
    windows = compute_noise(str(data / WORDS / "_background_noise_"), spec).windows["training"].features
    augmenter = Augmenter(recipe("residual"), np.ones(8, np.float32), spec, features.mean(axis=(0, 1)), windows)

    def in_features(_: int) -> object:
        power = to_power(features, spec)
        add_noise(power, to_power(noise_features, spec), np.arange(BATCH), np.full(BATCH, 10.0), spec)
        return from_power(power, spec)

    def in_waveforms(_: int) -> object:
        loudness = [np.square(each).mean(axis=1) for each in (waveforms, sounds)]
        factors = np.sqrt(loudness[0] / loudness[1] / 10)
        return compute_features(waveforms + factors[:, None] * sounds, spec)

    ways: dict[str, Callable[[int], object]] = {
        "noise into cached features": in_features,
        "noise into waveforms in memory, and their features": in_waveforms,
        "decoding besides, where waveforms are not kept": lambda _: [clip_waveform(str(path), spec)
                                                                     for path in originals[:BATCH]],
        "the whole augmentation of the recipe of `residual`": lambda turn: augmenter.change(
            features[..., None].copy(), np.zeros(BATCH, np.int32), np.random.default_rng(turn)
        ),
    }  # fmt: skip
    return {name: cpu_ms(work, turns) for name, work in ways.items()}


def main() -> None:
    """Measures and prints."""
    options = benchmark_parser(__doc__, clips=400, turns=15, output=False).parse_args()
    originals = find_originals(options.data)[: options.clips]
    print(f"{machine('numpy', 'scipy')}.\n\n| preset | SNR | median | 90th percentile | bias |\n|---|---|---|---|---|")
    for name in PRESETS:
        spec = preset(name)
        clips = np.stack([clip_waveform(str(path), spec)[0] for path in originals])
        noise = noise_waveforms(options.data, len(clips), spec)
        for snr_db in SNRS_DB:
            apart = differences_db(clips, noise, snr_db, spec)
            print(f"| {name} | {snr_db:.0f} dB | {np.median(np.abs(apart)):.2f} dB | "
                  f"{np.percentile(np.abs(apart), 90):.2f} dB | {np.median(apart):.2f} dB |")  # fmt: skip
    print(f"\n| a clip of an epoch, {PRESETS[0]} | CPU ms (median, least to most) |\n|---|---|")
    for name, found in costs(options.data, originals, clips, noise, options.turns).items():
        print(f"| {name} | {spread(found, 3)} |")


if __name__ == "__main__":
    main()
