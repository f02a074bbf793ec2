import itertools

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from features.audio.decode import decode, probe
from features.errors import ClipError, Reason
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.waveform import DecodedClip, fit, fit_clips, resample, source_frames, to_mono
from features.frontend.windows import num_windows, window_waveforms
from tests.features.audio.test_decode import encoded, wav
from tests.features.examples import STFT, TINY, changed
from tests.signals import noise, sine, to_int16

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000)
CENTRE = changed(TINY, crop="centre")
CLIP = TINY.clip_samples  # 80


def ramp(frames: int, rate_hz: int = 16_000) -> bytes:
    """A WAV whose samples say where they stand."""
    return wav(1, rate_hz, np.arange(1, frames + 1).astype("<i2"))


def positions(waveform: np.ndarray) -> list[int]:
    return (waveform * 32768).astype(int).tolist()


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("frames", [0, 1, 2, 100])
def test_mono_is_the_mean_of_the_channels(channels, frames):
    samples = noise(frames * channels).reshape(frames, channels)
    mono = to_mono(samples).waveform
    assert mono.shape == (frames,)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, samples.astype(np.float64).mean(axis=1), rtol=0, atol=1e-7)
    if channels == 1:
        assert np.array_equal(mono, samples[:, 0])


def test_opposite_channels_are_silent():
    samples = to_int16(noise(1000)) // 2
    waveform, _, warning = clip_waveform(wav(2, samples=np.stack([samples, -samples], 1).astype("<i2")), STFT)
    assert not waveform.any()
    assert warning == "silent;channels_cancel"


@pytest.mark.parametrize("quality", ["QQ", "LQ", "MQ", "HQ", "VHQ"])
@pytest.mark.parametrize("rate_hz", RATES)
def test_resampled_sine_is_a_sine_at_the_other_rate(rate_hz, quality):
    resampled = resample(sine(440.0, rate_hz, rate_hz), rate_hz, 16_000, quality)
    assert resampled.dtype == np.float32
    assert abs(len(resampled) - 16_000) <= 1
    expected = sine(440.0, 16_000)[1_000:15_000]
    np.testing.assert_allclose(resampled[1_000:15_000], expected, rtol=0, atol=0.01 if quality == "QQ" else 1e-3)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_what_lies_above_half_the_rate_is_gone(rate_hz):
    resampled = resample(sine(12_000.0, rate_hz, rate_hz), rate_hz, 16_000, "HQ")
    assert np.abs(resampled[1_000:15_000]).max() < 1e-4


def test_equal_rates_change_nothing():
    waveform = noise(100)
    assert np.array_equal(resample(waveform, 16_000, 16_000, "HQ"), waveform)


def test_fitted_clips_end_in_zeros():
    for samples in (1, CLIP - 1, CLIP):
        fitted = fit(np.ones((samples, 1), np.float32), 16_000, TINY)
        assert fitted.shape == (CLIP,)
        assert fitted.dtype == np.float32
        assert fitted.tolist() == [1.0] * samples + [0.0] * (CLIP - samples)


@pytest.mark.parametrize("spec", [STFT, preset("urbansound-mfcc")], ids=["one second", "own lengths"])
@given(
    clips=st.lists(
        st.tuples(st.sampled_from((1, 2, 700, 8_000)), st.sampled_from((8_000, 16_000, 44_100)), st.booleans()),
        max_size=9,
    )
)
def test_what_clips_become_does_not_depend_on_what_they_are_fitted_with(spec, clips):
    def sound(frames: int, number: int, is_loud: bool) -> np.ndarray:
        made = noise(frames, seed=number)
        return np.sign(made) * np.float32(3e38) if is_loud else made  # too loud to be resampled

    decoded = [
        DecodedClip(sound(frames, number, is_loud), rate_hz, False, 1.0, False)
        for number, (frames, rate_hz, is_loud) in enumerate(clips)
    ]
    together = fit_clips(decoded, spec)
    assert len(together) == len(clips)
    for clip, (waveform, warning) in zip(decoded, together, strict=True):
        try:
            alone = fit(clip.mono[:, None], clip.rate_hz, spec)
        except ClipError as error:
            assert (waveform.reason, waveform.message, warning) == (error.reason, error.message, "")
        else:
            assert waveform.tobytes() == alone.tobytes()
            assert warning == ""


def test_a_clip_that_is_too_loud_does_not_spoil_the_one_that_it_is_resampled_with():
    samples = noise(8_000)
    too_loud = np.sign(samples) * np.float32(3e38)
    clips = [DecodedClip(mono, 8_000, False, 1.0, False) for mono in (too_loud, samples)]
    (error, _), (waveform, _) = fit_clips(clips, STFT)
    assert error.reason == Reason.NOT_FINITE
    assert waveform.tobytes() == fit(samples[:, None], 8_000, STFT).tobytes()


def test_nothing_to_hear_is_a_reason():
    for samples, rate_hz in ((0, 16_000), (1, 192_000)):
        with pytest.raises(ClipError) as error:
            fit(np.ones((samples, 1), np.float32), rate_hz, TINY)
        assert (error.value.stage, error.value.reason) == ("fit", Reason.TOO_SHORT)
        assert f"a length of {samples} at {rate_hz:,} Hz" in error.value.message


@pytest.mark.parametrize("spec", [TINY, CENTRE], ids=["start", "centre"])
@pytest.mark.parametrize("frames", [1, CLIP - 1, CLIP])
def test_clips_that_are_no_longer_are_not_cut(spec, frames):
    waveform, seconds, warning = clip_waveform(ramp(frames), spec)
    assert positions(waveform) == [*range(1, frames + 1)] + [0] * (CLIP - frames)
    assert (seconds, warning) == (frames / 16_000, "")


@pytest.mark.parametrize("extra", [1, 2, 3, 100, 101])
def test_longer_clips_are_cut(extra):
    start, seconds, _ = clip_waveform(ramp(CLIP + extra), TINY)
    centre, _, _ = clip_waveform(ramp(CLIP + extra), CENTRE)
    assert positions(start) == [*range(1, CLIP + 1)]
    assert positions(centre) == [*range(extra // 2 + 1, extra // 2 + CLIP + 1)]
    assert seconds == (CLIP + extra) / 16_000


def test_a_clip_within_a_file():
    content = ramp(1_000)
    for start, duration, first, kept in (
        (10, None, 11, CLIP),
        (10, 20, 11, 20),
        (990, None, 991, 10),
        (0, 90, 1, CLIP),
    ):
        waveform, seconds, _ = clip_waveform(content, TINY, start, duration)
        assert positions(waveform) == [*range(first, first + kept)] + [0] * (CLIP - kept)
        assert seconds == min(1_000 - start, 1_000 if duration is None else duration) / 16_000
    centre, _, _ = clip_waveform(content, CENTRE, 10, 90)
    assert positions(centre) == [*range(16, 16 + CLIP)]


@pytest.mark.parametrize(("start", "duration"), [(1_000, None), (1_001, None), (10**12, 5), (0, 0), (999, 0)])
def test_a_clip_beyond_its_file_is_empty(start, duration):
    with pytest.raises(ClipError) as error:
        clip_waveform(ramp(1_000), TINY, start, duration)
    assert (error.value.stage, error.value.reason) == ("decode", Reason.EMPTY)


@pytest.mark.parametrize(("start", "frames"), [(1_000, 1_000), (1_500, 1_000), (8, 0)])
def test_a_clip_beyond_its_file_says_where_both_are(start, frames):
    with pytest.raises(ClipError) as error:
        clip_waveform(ramp(frames, 8_000), TINY, start, 80)
    assert error.value.message == f"it begins at {start / 8_000:.3f} s, past the end at {frames / 8_000:.3f} s"


@pytest.mark.parametrize(
    ("start", "duration", "warning"),
    [
        (0, 1_000, ""),
        (0, 1_001, ""),  # a frame of rounding
        (0, 1_002, "truncated"),
        (900, 101, ""),
        (900, 102, "truncated"),
        (0, 1_000_000, "truncated"),  # milliseconds named as seconds
        (900, None, ""),
    ],
)
def test_a_clip_that_its_file_ends_before_is_truncated(start, duration, warning):
    waveform, seconds, said = clip_waveform(ramp(1_000), TINY, start, duration)
    assert waveform.any()
    assert seconds == min(1_000 - start, duration or 1_000) / 16_000
    assert said == warning


def test_silence_is_used_and_named():
    waveform, _, warning = clip_waveform(wav(samples=np.zeros(100, "<i2")), TINY)
    assert not waveform.any()
    assert warning == "silent"


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("crop", ["start", "centre"])
def test_a_long_clip_of_any_rate_fills_the_whole_clip(rate_hz, crop):
    spec = changed(STFT, crop=crop)
    content = wav(rate_hz=rate_hz, samples=to_int16(sine(1_000.0, 3 * rate_hz, rate_hz)))
    waveform, seconds, _ = clip_waveform(content, spec)
    assert seconds == 3.0
    middle = waveform[2_000:14_000]
    assert np.abs(middle).max() == pytest.approx(0.5, abs=1e-3)
    assert np.abs(waveform[-20:]).max() > 0.3
    # The spectrum says that the pitch has not changed.
    assert np.abs(np.fft.rfft(middle)).argmax() * 16_000 / len(middle) == pytest.approx(1_000.0, abs=2)


@pytest.mark.data
def test_real_clips_of_other_rates(data):
    """The same word says the same in every file format, rate and number of channels."""
    folder = data / "odd_audio"
    plain = clip_waveform(str(folder / "made__yes.flac"), STFT)[0]
    assert np.abs(plain).max() > 0.01
    expected, _ = soundfile.read(folder / "made__yes.flac", dtype="float32")
    assert np.array_equal(plain, expected)
    for name in ("yes.aiff", "yes.caf", "yes.rf64", "yes_double.wav", "yes_pcm_32.wav"):
        assert np.array_equal(clip_waveform(str(folder / f"made__{name}"), STFT)[0], plain), name
    for name in ("yes_8k.wav", "yes.mp3", "yes.ogg"):
        other = clip_waveform(str(folder / f"made__{name}"), STFT)[0]
        assert np.corrcoef(other, plain)[0, 1] > 0.9, name
    stereo, _ = soundfile.read(folder / "made__yes_stereo.wav", dtype="float32")
    mean = clip_waveform(str(folder / "made__yes_stereo.wav"), STFT)[0]
    np.testing.assert_allclose(mean, stereo.mean(axis=1), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("frames", "windows"),
    [(0, 1), (1, 1), (CLIP - 1, 1), (CLIP, 1), (CLIP + 1, 2), (2 * CLIP - 1, 2), (2 * CLIP, 2), (2 * CLIP + 1, 3)],
)
def test_windows_follow_each_other_and_lose_nothing(frames, windows):
    content = ramp(frames)
    info = probe(content)
    assert num_windows(info, TINY) == windows
    if not frames:
        return
    parts = list(window_waveforms(content, info, TINY, 0, windows))
    positions_read = [position for waveform, *_ in parts for position in positions(waveform)]
    assert positions_read == [*range(1, frames + 1)] + [0] * (windows * CLIP - frames)
    assert [start for _, start, *_ in parts] == [index * CLIP / 16_000 for index in range(windows)]
    assert [end for _, _, end, *_ in parts] == [min((index + 1) * CLIP, frames) / 16_000 for index in range(windows)]


def test_a_window_of_a_file_without_samples_is_empty():
    content = ramp(0)
    with pytest.raises(ClipError) as error:
        next(window_waveforms(content, probe(content), TINY, 0, 1))
    assert error.value.reason == Reason.EMPTY


@given(st.sampled_from(RATES), st.integers(1, 4), st.integers(-8, 8))
def test_every_planned_window_can_be_used(rate_hz, seconds, more):
    content = wav(rate_hz=rate_hz, samples=np.ones(seconds * rate_hz + more, "<i2"))
    info = probe(content)
    spans = [window[1:3] for window in window_waveforms(content, info, STFT, 0, num_windows(info, STFT))]
    assert spans[0][0] == 0
    # A remainder too short for a sample of its own may be left out, and nothing else.
    assert info.frames / rate_hz - spans[-1][1] < 1 / 16_000
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_window_follows_from_its_own_samples(rate_hz):
    samples = to_int16(noise(3 * rate_hz + 1_000))
    long = wav(rate_hz=rate_hz, samples=samples)
    for index in range(4):
        first, end = (source_frames(number * 16_000, STFT, rate_hz) for number in (index, index + 1))
        alone = wav(rate_hz=rate_hz, samples=samples[first:end])
        window, start, stop, *_ = next(window_waveforms(long, probe(long), STFT, index, 1))
        assert np.array_equal(window, clip_waveform(alone, STFT)[0])
        assert (start, stop) == (first / rate_hz, min(end, len(samples)) / rate_hz)


def test_a_window_never_changes_with_the_window_that_reading_began_at():
    samples = np.random.default_rng(0).integers(-9_000, 9_000, (2_300_000, 2), "<i2")  # more than is read at a time
    content = wav(2, samples=samples)
    info = probe(content)
    windows = [waveform for waveform, *_ in window_waveforms(content, info, STFT, 0, num_windows(info, STFT))]
    assert len(windows) == 144
    for first in (1, 100, 130, 143):
        for window, (waveform, start, *_) in enumerate(
            window_waveforms(content, info, STFT, first, 144 - first), first
        ):
            assert start == window
            assert np.array_equal(waveform, windows[window]), (first, window)


def test_parts_of_a_file_that_no_seek_works_in_are_those_that_were_asked_for():
    pitches = [200 + 20 * second for second in range(70)]
    tones = np.concatenate([sine(pitch, 8_000, 8_000) for pitch in pitches])
    content = encoded(tones, "WAV", "GSM610", 8_000)
    info = probe(content)
    whole = decode(content, info)
    windows = window_waveforms(content, info, STFT, 0, 70)  # more than one read brings
    for second, (waveform, start, *_) in enumerate(windows):
        assert start == second
        assert np.array_equal(waveform, fit(whole[8_000 * second : 8_000 * (second + 1)], 8_000, STFT))
        assert np.abs(np.fft.rfft(waveform)).argmax() == pitches[second]
    assert np.array_equal(next(window_waveforms(content, info, STFT, 67, 1))[0],
                          clip_waveform(content, STFT, 67 * 8_000, 8_000)[0])  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", ["birds_10s.wav", "soundscape_120s.flac", "soundscape_120s.mp3", "aru_1min.wav"])
def test_a_window_of_a_real_recording_never_changes_either(data, name):
    path = str(data / "field_recordings" / name)
    info = probe(path)
    windows = [waveform for waveform, *_ in window_waveforms(path, info, STFT, 0, min(num_windows(info, STFT), 9))]
    for index, window in enumerate(windows):
        assert np.array_equal(next(window_waveforms(path, info, STFT, index, 1))[0], window), index


@pytest.mark.parametrize("file_format", [("WAV", "PCM_24"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")], ids=str)
def test_window_zero_of_a_short_clip_is_that_clip(tmp_path, file_format):
    content = encoded(np.stack([noise(9_000), noise(9_000, seed=1)], 1), *file_format, rate_hz=22_050)
    path = tmp_path / "clip"
    path.write_bytes(content)
    window, start, end, *_ = next(window_waveforms(content, probe(content), STFT, 0, 1))
    assert np.array_equal(window, clip_waveform(content, STFT)[0])
    assert np.array_equal(window, clip_waveform(str(path), STFT)[0])
    assert np.array_equal(window, fit(decode(content, probe(content)), 22_050, STFT))
    assert (start, end) == (0.0, 9_000 / 22_050)
