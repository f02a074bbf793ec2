"""Features that are the mean over a clip's frames, of files of any length, as librosa has them."""

import numpy as np
import pytest
import soundfile

from features.audio.decode import AudioInfo, probe
from features.errors import ClipError, Reason
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.spectrogram import compute_features
from features.frontend.waveform import fit
from features.frontend.windows import num_windows, window_waveforms
from tests.features.examples import SPECS, STFT, changed
from tests.peers.library import pooled_mfcc
from tests.signals import chirp, noise, write_wav

MFCC = preset("urbansound-mfcc")
POOLED = {name: changed(spec, pool="mean") for name, spec in SPECS.items()}
# Of librosa's values over all clips compared, as the recipe asks; the differences met are a thousand times smaller.
TOLERANCE = 1e-3


def any_length(spec):
    fields = {name: value for name, value in spec.to_dict().items() if name != "clip_seconds"}
    return type(spec).from_dict({**fields, "pool": "mean"})


def features_of(path) -> np.ndarray:
    waveform, _, _ = clip_waveform(str(path), MFCC)
    return compute_features([waveform], MFCC)[0]


def compare(librosa, name, paths) -> None:
    actual = np.stack([features_of(path) for path in paths])
    expected = librosa(f"mean MFCC of {name}", lambda theirs: [pooled_mfcc(theirs, path) for path in paths])
    assert actual.shape == (len(paths), 40)
    assert np.abs(actual - expected).max() <= TOLERANCE * np.ptp(expected)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_every_rate_are_librosas(librosa, tmp_path, rate_hz, channels):
    samples = noise(rate_hz // 3 * channels, seed=rate_hz, amplitude=0.2).reshape(-1, channels)
    samples += chirp(len(samples), rate_hz)[:, None]
    name = f"{rate_hz} Hz, channels {channels}"
    compare(librosa, name, [write_wav(tmp_path / "sound.wav", samples, rate_hz)])


# Around one sample, one hop and one window, at a rate whose resampled length is seldom whole.
@pytest.mark.parametrize("frames", [1, 2, 10, 185, 186, 187, 371, 372, 742, 743, 744, 5_000])
def test_files_of_every_length_are_librosas(librosa, tmp_path, frames):
    path = write_wav(tmp_path / "sound.wav", noise(frames, seed=frames), 8_000)
    compare(librosa, f"{frames} frames of 8 kHz", [path])


def test_flac_is_librosas(librosa, tmp_path):
    soundfile.write(tmp_path / "sound.flac", noise(30_000), 44_100, subtype="PCM_24")
    compare(librosa, "FLAC", [tmp_path / "sound.flac"])


@pytest.mark.data
@pytest.mark.peers("librosa")
@pytest.mark.parametrize(
    "every", [pytest.param(20, marks=pytest.mark.trial), pytest.param(1, marks=pytest.mark.endurance)]
)
@pytest.mark.parametrize("pattern", ["fsdd/recordings/*.wav", "esc10/audio/*.ogg"])
def test_real_clips_are_librosas(live_librosa, data, pattern, every):
    paths = sorted(data.glob(pattern))
    assert len(paths) >= 400
    compare(live_librosa, pattern, paths[::every])


@pytest.mark.parametrize("spec", POOLED.values(), ids=POOLED)
@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
def test_the_mean_is_that_of_the_frames_in_every_batch(spec, storage_dtype):
    spec = changed(spec, storage_dtype=storage_dtype)
    waveforms = noise(70 * spec.clip_samples).reshape(70, -1) * np.logspace(0, -5, 70, dtype=np.float32)[:, None]
    alone = np.concatenate([compute_features(waveforms[[row]], spec) for row in range(70)])
    for size in (2, 7, 64):
        together = np.concatenate([compute_features(waveforms[at : at + size], spec) for at in range(0, 70, size)])
        assert together.tobytes() == alone.tobytes(), size
    frames = compute_features(waveforms, changed(SPECS[spec.front_end], storage_dtype="float32"))
    expected = frames.mean(axis=1, dtype=np.float64).astype(storage_dtype)
    assert np.allclose(alone, expected, rtol=1e-3 if storage_dtype == "float16" else 1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_clip_of_the_clip_length_has_the_values_of_the_spec_with_one(spec):
    waveform = noise(spec.clip_samples)
    assert (
        compute_features([waveform], any_length(spec)).tobytes()
        == compute_features([waveform], changed(spec, pool="mean")).tobytes()
    )


def test_clips_of_several_lengths_in_one_batch():
    clips = [noise(samples, seed=samples) for samples in (1, 511, 512, 513, 2047, 2048, 2049, 50_000)]
    together = compute_features(clips, MFCC)
    assert together.shape == (len(clips), 40)
    for row, clip in zip(together, clips, strict=True):
        assert row.tobytes() == compute_features([clip], MFCC)[0].tobytes()


@pytest.mark.parametrize("shape", [(2, 0), (2, 3, 4)])
def test_waveforms_without_a_frame_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(clips, 1 or more\)"):
        compute_features(np.zeros(shape, np.float32), MFCC)


@pytest.mark.parametrize(("frames", "usable"), [(1, False), (254, False), (255, True), (256, True)])
def test_less_than_a_window_is_too_short_where_nothing_is_padded(frames, usable):
    spec = any_length(STFT)
    if usable:
        assert compute_features([fit(noise(frames)[:, None], 16_000, spec)], spec).shape == (1, 129)
        return
    with pytest.raises(ClipError, match="less than one window of 255") as error:
        fit(noise(frames)[:, None], 16_000, spec)
    assert error.value.reason is Reason.TOO_SHORT


def test_silence_is_finite():
    assert np.isfinite(compute_features([np.zeros(10_000, np.float32)], MFCC)).all()


@pytest.mark.parametrize("frames", [1, 8_000, 100_000])
def test_a_file_is_one_window(tmp_path, frames):
    path = str(write_wav(tmp_path / "sound.wav", noise(frames), 8_000))
    info = probe(path)
    assert num_windows(info, MFCC) == 1
    [(waveform, start, end, *_)] = window_waveforms(path, info, MFCC, 0, 1)
    assert (start, end) == (0.0, frames / 8_000)
    assert waveform.tobytes() == clip_waveform(path, MFCC)[0].tobytes()


def test_a_part_of_a_file_is_that_part(tmp_path):
    samples = noise(40_000)
    whole = str(write_wav(tmp_path / "whole.wav", samples, 8_000))
    part = str(write_wav(tmp_path / "part.wav", samples[10_000:22_000], 8_000))
    within, seconds, _ = clip_waveform(whole, MFCC, start=10_000, duration=12_000)
    assert seconds == 1.5
    assert within.tobytes() == clip_waveform(part, MFCC)[0].tobytes()


def test_an_empty_file_is_one_window_that_is_rejected():
    assert num_windows(AudioInfo(0, 1, 8_000), MFCC) == 1
