"""What remains of a recording after its whole windows is a window of its own where it is not too short."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.audio.decode import AudioInfo, decode, probe
from features.errors import UsageError
from features.frontend.presets import preset
from features.frontend.windows import Windowing, num_windows, waveform_windows, window_waveforms, windowing_of
from tests.features.audio.test_decode import encoded
from tests.features.examples import STFT, TINY, changed
from tests.signals import noise, write_wav

POOLED = preset("urbansound-mfcc")
LEASTS = ("0", "0.00025", "0.001", "0.0025", "0.005")


def planned(frames: int, rate_hz: int, least: str) -> int:
    """The number of windows by the rule, in whole numbers and fractions, which round nothing."""
    starts = [0]
    while (start := len(starts) * TINY.clip_samples * rate_hz // TINY.sample_rate_hz) < frames:
        starts.append(start)
    if len(starts) == 1:
        return 1
    rest, whole = frames - starts[-1], len(starts) * TINY.clip_samples * rate_hz // TINY.sample_rate_hz - starts[-1]
    nothing_is_left = Fraction(rest, rate_hz) < Fraction(1, 2 * TINY.sample_rate_hz)
    too_short = rest < whole and Fraction(rest, rate_hz) < Fraction(least)
    return len(starts) - (nothing_is_left or too_short)


@given(
    frames=st.integers(0, 2_000),
    rate_hz=st.sampled_from((8_000, 11_025, 16_000, 44_100, 48_000, 192_000)),
    least=st.sampled_from(LEASTS),
)
@example(frames=80, rate_hz=16_000, least="0.00025")
@example(frames=81, rate_hz=16_000, least="0.00025")
@example(frames=83, rate_hz=16_000, least="0.00025")
@example(frames=84, rate_hz=16_000, least="0.00025")
@example(frames=159, rate_hz=16_000, least="0.005")
@example(frames=160, rate_hz=16_000, least="0.005")
@example(frames=110, rate_hz=11_025, least="0.005")  # two whole windows, of 55 frames where half a frame is lost
def test_windows_are_those_of_the_rule(frames, rate_hz, least):
    info = AudioInfo(frames, 1, rate_hz)
    count = num_windows(info, TINY, Windowing(least_seconds=float(least)))
    assert count == planned(frames, rate_hz, least)
    assert count >= 1
    if least == "0":
        assert count == num_windows(info, TINY)
    if frames > rate_hz * TINY.clip_seconds:
        windows = list(waveform_windows(noise(frames)[:, None], rate_hz, TINY, Windowing(least_seconds=float(least))))
        assert len(windows) == count
        assert windows[-1].end_seconds <= frames / rate_hz


def test_the_first_window_stays_however_short_it_is():
    for frames in (0, 1, 79, 80):
        assert num_windows(AudioInfo(frames, 1, 16_000), TINY, Windowing(least_seconds=TINY.clip_seconds)) == 1
    for seconds in (0.0, 0.5, 1e6):
        assert num_windows(AudioInfo(44_100, 1, 44_100), POOLED, Windowing(least_seconds=seconds)) == 1


@pytest.mark.parametrize("least", [0.0, 0.05, 1.0])
def test_what_is_left_of_a_file_that_was_cut_off_is_measured_too(tmp_path, least):
    """Its header promises two windows and a half; of the second the file has so many samples."""
    windowing = Windowing(least_seconds=least)
    content = encoded(noise(40_000), "WAV", "PCM_24")
    for rest in (0, 1, 799, 800, 801, 15_999):
        path = tmp_path / "cut.wav"
        path.write_bytes(content[: len(content) - 3 * (24_000 - rest)])
        info = probe(str(path))
        # As where decoding stops for a damage: the header was believed when the windows were planned.
        promised = AudioInfo(40_000, 1, 16_000, size=info.size)
        windows = list(window_waveforms(str(path), promised, STFT, 0, 3, windowing))
        expected = 1 + (rest > 0 and rest >= least * 16_000)
        assert len(windows) == expected == num_windows(info, STFT, windowing)
        assert [window.whole for window in windows] == [True, False][:expected]


def test_windows_that_stay_are_the_same_whatever_is_left_out(tmp_path):
    path = str(write_wav(tmp_path / "a.wav", noise(40_016)))
    info = probe(path)
    all_windows = list(window_waveforms(path, info, STFT, 0, 3))
    assert num_windows(info, STFT, Windowing(least_seconds=0.6)) == 2
    for kept in (
        list(window_waveforms(path, info, STFT, 0, 2, Windowing(least_seconds=0.6))),
        list(waveform_windows(decode(path, info), 16_000, STFT, Windowing(least_seconds=0.6))),
    ):
        assert len(kept) == 2
        for window, expected in zip(kept, all_windows, strict=False):
            assert window[1:] == expected[1:]
            assert np.array_equal(window.waveform, expected.waveform)


def test_the_least_is_a_twentieth_of_a_window_or_what_was_requested():
    assert windowing_of(STFT).least_seconds == 0.05
    assert windowing_of(changed(STFT, clip_seconds=3.0)).least_seconds == pytest.approx(0.15)
    assert windowing_of(POOLED).least_seconds == 0
    for spec, seconds in ((STFT, 0), (STFT, 1), (STFT, 0.3), (POOLED, 100)):
        assert windowing_of(spec, min_window_seconds=seconds).least_seconds == seconds
    for seconds in (-0.1, 1.001, math.nan, math.inf):
        with pytest.raises(UsageError, match=r"--min-window-seconds, is from 0 to 1 s, the length of a window, not "):
            windowing_of(STFT, min_window_seconds=seconds)
    for seconds in (-0.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="is at least 0, not "):
            windowing_of(POOLED, min_window_seconds=seconds)
