import dataclasses

import numpy as np
import pytest

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from model.training import noise as module
from model.training.noise import compute_noise, find_noise
from model.training.noise_file import read_noise, write_noise
from tests.model.conftest import SMALL_SPEC
from tests.signals import noise, to_int16, write_wav

RATE, LENGTH, HOP = 8_000, 2_000, 200  # of SMALL_SPEC


def as_decoded(samples):
    return to_int16(samples).astype(np.float32) / 32768


def test_noise_is_looked_for_in_the_folder_given_then_directly_below_the_source(tmp_path):
    assert find_noise(str(tmp_path)) is None
    write_wav(tmp_path / "door" / "_background_noise_" / "deep.wav", noise(100))
    (tmp_path / "_background_noise_").mkdir()
    (tmp_path / "_background_noise_" / "README.md").write_text("no audio")
    assert find_noise(str(tmp_path)) is None
    write_wav(tmp_path / "_background_noise_" / "tap.wav", noise(100))
    assert find_noise(str(tmp_path)) == str(tmp_path / "_background_noise_")
    assert find_noise(str(tmp_path), str(tmp_path / "door" / "_background_noise_")) == str(
        tmp_path / "door" / "_background_noise_"
    )
    for folder, lacks in ((tmp_path / "none", "no folder"), (tmp_path / "door" / "empty", "no audio in")):
        (tmp_path / "door" / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=rf"--noise .* there is {lacks} {folder}"):
            find_noise(str(tmp_path), str(folder))


def test_windows_of_a_partition_lie_within_its_time_and_have_the_features_of_their_samples(tmp_path):
    samples = noise(50_000, seed=1)
    write_wav(tmp_path / "below" / "a.wav", samples, RATE)
    write_wav(tmp_path / "b.wav", np.stack([samples, samples], axis=1), 2 * RATE)
    found = compute_noise(str(tmp_path), SMALL_SPEC).windows
    for partition, begin, end in (("training", 0, 0.8), ("validation", 0.8, 0.9), ("testing", 0.9, 1.0)):
        windows = found[partition]
        assert len(windows) == len(windows.starts) == len(windows.recordings)
        for name, length in (("below/a.wav", LENGTH), ("b.wav", 2 * LENGTH)):
            starts = windows.starts[[recording == name for recording in windows.recordings]]
            assert starts[0] == round(begin * 50_000)
            assert starts[-1] + length <= end * 50_000 < starts[-1] + length + length // 10
            assert set(np.diff(starts)) == {length // 10}
    windows = found["training"]
    mine = [row for row, name in enumerate(windows.recordings) if name == "below/a.wav"]
    waveforms = np.stack([as_decoded(samples)[start : start + LENGTH] for start in windows.starts[mine]])
    np.testing.assert_array_equal(windows.features[mine], compute_features(waveforms, SMALL_SPEC))


@pytest.mark.parametrize(("samples", "windows"), [
    (0, 0), (1, 0), (LENGTH - 1, 0), (LENGTH, 1), (LENGTH + 1, 1), (LENGTH + HOP - 1, 1), (LENGTH + HOP, 2),
])  # fmt: skip
def test_a_recording_gives_the_windows_that_fit_into_the_time_of_training(tmp_path, samples, windows, caplog):
    write_wav(tmp_path / "long.wav", noise(10 * LENGTH), RATE)
    least = next(length for length in range(2 * LENGTH + 2 * HOP) if length * 8 // 10 == samples)
    write_wav(tmp_path / "short.wav", noise(least), RATE)
    found = compute_noise(str(tmp_path), SMALL_SPEC).windows
    assert found["training"].recordings.count("short.wav") == windows
    assert "short.wav" not in found["validation"].recordings + found["testing"].recordings
    assert ("short.wav is not used as background noise" in caplog.text) == (windows == 0)


def test_a_recording_that_cannot_be_decoded_is_named_and_only_bad_ones_are_refused(tmp_path, caplog):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(UsageError, match=r"none of the 1 recordings .* 0\.312 s at least"):
        compute_noise(str(tmp_path), SMALL_SPEC)
    assert "text.wav is not used" in caplog.text
    write_wav(tmp_path / "good.wav", noise(2 * LENGTH), RATE)
    assert set(compute_noise(str(tmp_path), SMALL_SPEC).windows["training"].recordings) == {"good.wav"}


def test_a_recording_that_was_cut_off_gives_the_windows_that_are_there(tmp_path):
    path = write_wav(tmp_path / "cut.wav", noise(20 * LENGTH), RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * (5 * LENGTH + 50)])
    windows = compute_noise(str(tmp_path), SMALL_SPEC).windows["training"]
    assert windows.starts[-1] + LENGTH <= 5 * LENGTH + 50
    assert np.isfinite(windows.features).all()


def test_more_noise_than_has_room_is_thinned_evenly(tmp_path, monkeypatch):
    for name in "abc":
        write_wav(tmp_path / f"{name}.wav", noise(100_000, seed=ord(name)), RATE)
    everything = compute_noise(str(tmp_path), SMALL_SPEC).windows
    room = 100
    monkeypatch.setattr(module, "MOST_BYTES", room * 4 * int(np.prod(SMALL_SPEC.shape)))
    monkeypatch.setattr(module, "_READ_SAMPLES", 30_000)
    thinned = compute_noise(str(tmp_path), SMALL_SPEC).windows
    assert [len(windows) for windows in thinned.values()] == [80, 10, 10]
    for partition, windows in thinned.items():
        whole = everything[partition]
        number = {key: row for row, key in enumerate(zip(whole.recordings, whole.starts.tolist(), strict=True))}
        rows = [number[key] for key in zip(windows.recordings, windows.starts.tolist(), strict=True)]
        np.testing.assert_array_equal(windows.features, whole.features[rows])
        assert set(np.diff(rows)) <= {len(whole) // len(rows), len(whole) // len(rows) + 1}


def test_what_is_kept_is_read_back_and_the_same_noise_gives_the_same_file(tmp_path):
    (tmp_path / "noise").mkdir()
    write_wav(tmp_path / "noise" / "a.wav", noise(10 * LENGTH), RATE)
    spec = dataclasses.replace(SMALL_SPEC, storage_dtype="float16")
    found = compute_noise(str(tmp_path / "noise"), spec)
    checksum = write_noise(tmp_path / "noise.parquet", found)
    assert write_noise(tmp_path / "again.parquet", compute_noise(str(tmp_path / "noise"), spec)) == checksum
    read = read_noise(tmp_path / "noise.parquet", checksum, spec)
    for partition, windows in found.windows.items():
        assert windows.features.dtype == read.windows[partition].features.dtype == np.float32
        np.testing.assert_array_equal(windows.features, windows.features.astype(np.float16))
        np.testing.assert_array_equal(read.windows[partition].features, windows.features)
        np.testing.assert_array_equal(read.windows[partition].starts, windows.starts)
        assert read.windows[partition].recordings == windows.recordings
    assert len(read.windows["validation"]) == len(read.windows["testing"]) == 1  # a tenth of ten lengths
    with pytest.raises(UsageError, match="damaged or another"):
        read_noise(tmp_path / "noise.parquet", checksum + 1, spec)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_noise(tmp_path / "gone.parquet", checksum, spec)


def test_pooled_features_without_a_length_have_windows_of_a_second(tmp_path):
    spec = FeatureSpec(
        front_end="stft", sample_rate_hz=RATE, window_samples=128, hop_samples=64, fft_samples=128, pool="mean"
    )
    write_wav(tmp_path / "a.wav", noise(10 * RATE), RATE)
    windows = compute_noise(str(tmp_path), spec).windows
    assert [len(part) for part in windows.values()] == [71, 1, 1]
    assert windows["testing"].features.shape == (1, 65)
