"""Features in shards are those of a plain formula to the bit, whichever way a file takes through the builder."""

import struct

import numpy as np
import pytest
import scipy.fft
import soundfile
import soxr

from features.frontend.mel import cosine_matrix, mel_matrix
from features.frontend.presets import preset
from features.runtime.blas_threads import one_blas_thread
from features.store.layout import Layout
from features.store.shards import read_shard
from features.store.statistics import Statistics
from features.store.unit_report import read_report
from features.update.shard_builder import build_shard
from features.update.work_list import ShardUnit
from tests.features.examples import LOG_MEL, MFCC, STFT, changed, new_set, planned
from tests.signals import chirp, noise, sine, to_int16, write_wav

LOG_MEL_40 = preset("log-mel-40")
SPECS = {
    "stft": STFT,
    "stft float16": changed(STFT, storage_dtype="float16"),
    "stft, another length of frames and clips": changed(STFT, window_samples=400, hop_samples=160, fft_samples=512,
                                                        clip_seconds=0.73),
    "stft centred": changed(STFT, window_samples=256, centred=True),
    "stft, an odd transform": changed(STFT, window_samples=100, hop_samples=33, fft_samples=255),
    "stft, pooled": changed(STFT, pool="mean"),
    "log-mel": LOG_MEL,
    "log-mel-40": LOG_MEL_40,
    "log-mel-40 of power": changed(LOG_MEL_40, spectrum_power=2),
    "log-mel-40 float16": changed(LOG_MEL_40, storage_dtype="float16"),
    "log-mel-40 htk": changed(LOG_MEL_40, mel_filter_bank="htk", mel_low_hz=0.0),
    "log-mel in decibels": changed(LOG_MEL_40, spectrum_power=2, log_scale="decibel", log_offset=1e-10,
                                   dynamic_range_db=80.0),
    "log-mel, the middle of half a second": changed(LOG_MEL, clip_seconds=0.5, crop="centre"),
    "log-mel at 8 kHz": changed(LOG_MEL, sample_rate_hz=8_000, mel_high_hz=4_000.0),
    "log-mel of the loudest channel": changed(LOG_MEL, channels="loudest"),
    "mfcc": changed(MFCC, sample_rate_hz=16_000, mel_high_hz=8_000.0),
    "mfcc at 22.05 kHz": MFCC,
    "mfcc of whole files, pooled": preset("urbansound-mfcc"),
}  # fmt: skip


def make_recordings(root):
    """More than one block of every kind: lengths, headers, channels and rates, mixed in the order of their members."""
    for number, samples in enumerate([16_000] * 14 + [11_000, 15_999, 16_001, 24_000, 9_000, 16_000]):
        write_wav(root / "yes" / f"{number:03d}.wav", noise(samples, seed=number) + sine(300.0 + number, samples))
    write_wav(root / "yes" / "silent.wav", np.zeros(16_000, np.float32))
    write_wav(root / "yes" / "late.wav", np.append(np.zeros(15_000, np.float32), noise(1_000)))
    write_wav(root / "yes" / "stereo.wav", np.stack([noise(16_000, 1), noise(16_000, 2)], axis=1))
    write_wav(root / "yes" / "fast.wav", chirp(22_050, 22_050), 22_050)
    write_wav(root / "yes" / "slow.wav", chirp(8_000, 8_000), 8_000)
    soundfile.write(root / "yes" / "wide.wav", noise(16_000, 3), 16_000, subtype="FLOAT")
    soundfile.write(root / "yes" / "coded.flac", noise(16_000, 4), 16_000)
    samples = to_int16(noise(16_000, 5)).tobytes()
    listed = b"LIST" + struct.pack("<I", 16) + b"INFOISFT\x04\0\0\0data"  # which is not where the samples begin
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    data = b"data" + struct.pack("<I", len(samples)) + samples
    for name, chunks in (("list first", form + listed + data), ("list last", form + data + listed)):
        (root / "yes" / f"{name}.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def formula(path, spec):
    """The features of a file by the formulas of the field, one clip, nothing kept or shared."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    if spec.clip_samples is not None:
        wanted = min(len(samples), spec.clip_samples * rate_hz // spec.sample_rate_hz)
        skipped = (len(samples) - wanted) // 2 if spec.crop == "centre" else 0
        samples = samples[skipped : skipped + wanted]
    if samples.shape[1] == 1:
        mono = samples[:, 0]
    elif spec.channels == "loudest":
        mono = samples[:, np.square(samples, dtype=np.float64).sum(axis=0).argmax()]
    else:
        mono = samples.mean(axis=1, dtype=np.float32)
    length = spec.clip_samples or -(-len(mono) * spec.sample_rate_hz // rate_hz)
    if rate_hz != spec.sample_rate_hz:
        mono = soxr.resample(mono, rate_hz, spec.sample_rate_hz, quality=spec.resample_quality)
    half = spec.fft_samples // 2 if spec.centred else 0
    padded = np.zeros(length + 2 * half + spec.fft_samples, np.float32)
    padded[half : half + min(length, len(mono))] = mono[:length]
    period = spec.window_samples - spec.window_samples % 2
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window_samples) / period)).astype(np.float32)
    frames = np.zeros((spec.count_frames(length), spec.fft_samples), np.float32)
    for number, frame in enumerate(frames):
        begin = number * spec.hop_samples
        frame[: spec.window_samples] = padded[begin : begin + spec.window_samples] * window
    spectrum = scipy.fft.rfft(frames)
    bands = np.square(spectrum.real) + np.square(spectrum.imag)
    if spec.spectrum_power == 1:
        bands = np.sqrt(bands)
    if spec.front_end != "stft":
        weights = mel_matrix(spec.mel_filter_bank, spec.mel_bands, spec.fft_samples, spec.sample_rate_hz,
                             spec.mel_low_hz, spec.mel_high_hz)  # fmt: skip
        # Sixteen bands at a time, of the bins that they have: other products have other last digits.
        parts = []
        for first in range(0, spec.mel_bands, 16):
            some = weights[:, first : first + 16]
            used = np.flatnonzero(some.any(axis=1))
            used = slice(used[0], used[-1] + 1)
            parts.append(bands[:, used] @ np.ascontiguousarray(some[used]))
        bands = np.concatenate(parts, axis=1)
        if spec.log_scale == "natural":
            bands = np.log(bands + np.float32(spec.log_offset))
        else:
            bands = np.log10(np.maximum(bands, np.float32(spec.log_offset))) * np.float32(10)
            if spec.dynamic_range_db is not None:
                bands = np.maximum(bands, bands.max() - np.float32(spec.dynamic_range_db))
    if spec.front_end == "mfcc":
        bands = bands @ cosine_matrix(spec.mel_bands, spec.coefficients)
    if spec.pool is not None:
        bands = bands.mean(axis=0, dtype=np.float64).astype(np.float32)
    return bands.astype(spec.storage_dtype)


@pytest.mark.parametrize("name", SPECS)
def test_features_are_those_of_the_formula_to_the_bit(tmp_path, name):
    spec, root = SPECS[name], tmp_path / "words"
    make_recordings(root)
    clips = tuple(clip for unit in planned(root, tmp_path / "planned", spec) for clip in unit.clips)
    layout = Layout(new_set(tmp_path / "set"), "tfrecord")
    build_shard(ShardUnit("training-0", clips), layout, str(root), spec)
    report = read_report(layout, "training-0")
    shard = read_shard(layout, report.shard, spec)
    assert report.shard.rows == len(clips) == 29, report.rows["message"]
    with one_blas_thread():
        expected = [formula(root / clip.path, spec) for clip in clips]
    different = [path for path, row, other in zip(shard.paths, shard.tensors, expected, strict=True)
                 if row.tobytes() != other.tobytes()]  # fmt: skip
    assert not different
    assert report.statistics == Statistics.of(np.stack(expected)), "whatever blocks they were added up in"
