"""What is used of several channels: their mean, the loudest, or one by its number; a warning where they cancel."""

import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from features.audio.decode import AudioInfo, decode, probe
from features.errors import ClipError, Reason
from features.frontend.clip import clip_waveform
from features.frontend.waveform import fit, loudest_channel, to_mono
from features.frontend.windows import num_windows, waveform_windows, window_waveforms
from tests.features.examples import STFT, TINY, changed
from tests.signals import noise, sine, write_wav

RATE_HZ = 16_000
LOUDEST = changed(STFT, channels="loudest")


def levels(*amplitudes: float, frames: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """Channels of unrelated noise: (frames, channels), whose samples are those of 16 bits."""
    channels = [noise(frames, seed + number, amplitude) for number, amplitude in enumerate(amplitudes)]
    return (np.round(np.stack(channels, axis=1) * 32768) / 32768).astype(np.float32)


@pytest.mark.parametrize("frames", [0, 1, 2, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_one_channel_by_its_number_is_that_channel(frames, count):
    samples = levels(*[0.1] * count, frames=frames)
    for number in range(1, count + 1):
        mono = to_mono(samples, number)
        assert mono.waveform.flags.c_contiguous
        assert np.array_equal(mono.waveform, samples[:, number - 1])
        assert (mono.mixed, mono.cancelled) == (False, False)
    for number in (count + 1, count + 1000):
        with pytest.raises(ClipError) as error:
            to_mono(samples, number)
        assert (error.value.stage, error.value.reason) == ("fit", Reason.TOO_FEW_CHANNELS)
        assert str(error.value).startswith(f"it has {count} channel")
        assert f"channels = {number}" in str(error.value)


@given(
    amplitudes=st.lists(st.sampled_from((0.0, 0.01, 0.0100001, 0.1)), min_size=1, max_size=19),
    frames=st.sampled_from((0, 1, 2, 255, 256, 257, 5_000)),
)
def test_the_loudest_is_the_first_of_the_channels_of_the_most_energy(amplitudes, frames):
    """Channels of one amplitude are the same but for their sign, so that their energies are equal."""
    shape = noise(frames, 5, 1.0).astype(np.float64)
    samples = np.stack([shape * level * (-1) ** n for n, level in enumerate(amplitudes)], axis=1).astype(np.float32)
    expected = amplitudes.index(max(amplitudes)) if frames else 0
    assert loudest_channel(samples) == expected
    assert np.array_equal(to_mono(samples, "loudest").waveform, samples[:, expected])


def test_too_loud_to_be_squared_is_compared_all_the_same():
    samples = np.array([[2e38, 3e38, -1e38]] * 9, np.float32)
    assert loudest_channel(samples) == 1


@pytest.mark.parametrize("count", [2, 3, 8, 100, 1024])
def test_channels_that_have_nothing_in_common_do_not_cancel(count):
    """Nor does one that is alone: with many channels the mean of either is far below a channel."""
    unrelated = levels(*[0.1] * count, frames=4_000)
    assert not to_mono(unrelated).cancelled
    unrelated[:, 1:] = 0
    assert not to_mono(unrelated).cancelled
    opposite = np.outer(unrelated[:, 0], [1.0, -1.0] * (count // 2) + [0.0] * (count % 2)).astype(np.float32)
    assert to_mono(opposite).cancelled


@pytest.mark.parametrize(("below_db", "cancels"), [(-3.0, False), (19.9, False), (20.1, True), (40.0, True)])
def test_two_channels_cancel_where_their_mean_is_20_db_below_them(below_db, cancels):
    common, apart = 0.1 * sine(1_000, RATE_HZ), 0.1 * np.sin(2 * np.pi * 990 * np.arange(RATE_HZ) / RATE_HZ + 0.5)
    # What the channels have in common is left of their mean, and what is apart is of the other sign in each.
    share = 10 ** (-max(below_db, 0.0) / 20) if below_db > 0 else 1.0
    scale = np.sqrt(np.square(apart).mean() / np.square(common).mean()) * share
    rest = np.sqrt(1 - share**2) * apart
    samples = np.stack([scale * common + rest, scale * common - rest], axis=1).astype(np.float32)
    mono = to_mono(samples)
    below = 10 * np.log10(np.square(samples).mean() / np.square(mono.waveform).mean())
    assert below == pytest.approx(max(below_db, 0.0), abs=0.05)
    assert mono.cancelled == cancels


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_the_mean_of_channels_is_numpys_to_the_bit(channels):
    bits = np.random.default_rng(channels).integers(0, 2**32, (5_000, channels), np.uint32).view(np.float32)
    samples = np.where(np.isfinite(bits), bits, np.float32(-0.0))  # of all sizes, those that overflow too
    samples[:3] = [[0.0], [-0.0], [1e-45]]
    with np.errstate(over="ignore", invalid="ignore"):
        expected = samples.mean(axis=1, dtype=np.float32)
    np.testing.assert_array_equal(to_mono(samples).waveform.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("frames", [0, 1, 2, 1_000])
def test_silence_and_one_channel_cancel_nothing(frames):
    assert not to_mono(np.zeros((frames, 2), np.float32)).cancelled
    assert not to_mono(noise(frames)[:, None]).cancelled
    loud = np.full((frames, 2), 3e38, np.float32)
    assert not to_mono(loud).cancelled
    assert to_mono(loud * np.array([1, -1], np.float32)).cancelled == (frames > 0)


def written(folder, kind: str, samples: np.ndarray, ffmpeg) -> str:
    """Writes a file that is read by hand, by libsndfile, or by ffmpeg."""
    path = str(folder / {"plain": "a.wav", "libsndfile": "a.flac", "ffmpeg": "a.wv"}[kind])
    if kind == "libsndfile":
        soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
        return path
    plain = write_wav(folder / "a.wav", samples, RATE_HZ)
    if kind == "ffmpeg":
        command = [str(ffmpeg), "-v", "error", "-y", "-i", str(plain), path]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.mark.parametrize("kind", ["plain", "libsndfile", "ffmpeg"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_whatever_decodes_a_file_each_of_its_channels_can_be_used(tmp_path, ffmpeg, kind, count):
    samples = levels(*np.linspace(0.05, 0.1, count))
    path = written(tmp_path, kind, samples, ffmpeg)
    info = probe(path)
    assert (info.pcm_offset is not None, info.by_ffmpeg) == (kind == "plain", kind == "ffmpeg")
    for number in range(1, count + 1):
        waveform, _, warning = clip_waveform(path, changed(STFT, channels=number))
        np.testing.assert_array_equal(waveform, samples[:, number - 1])
        assert warning == ""
    np.testing.assert_array_equal(clip_waveform(path, LOUDEST)[0], samples[:, -1])
    np.testing.assert_array_equal(clip_waveform(path, STFT)[0], samples.mean(axis=1))
    (window,) = window_waveforms(path, info, LOUDEST, 0, 1)
    np.testing.assert_array_equal(window.waveform, samples[:, -1])
    spec = changed(STFT, channels=count + 1)
    for use in (lambda: clip_waveform(path, spec), lambda: list(window_waveforms(path, info, spec, 0, 1))):
        with pytest.raises(ClipError) as error:
            use()
        assert error.value.reason == Reason.TOO_FEW_CHANNELS


def test_the_loudest_is_that_of_the_part_that_is_used(tmp_path):
    """Of what is cut out of a clip, of each window by itself, and at the rate of the file."""
    samples = levels(0.01, 0.02, frames=3 * RATE_HZ)
    samples[RATE_HZ : 2 * RATE_HZ, 0] *= 10
    samples[:, 1] *= np.where(np.arange(len(samples)) < RATE_HZ // 2, 50, 1)  # loud where the clip is not
    path = str(write_wav(tmp_path / "a.wav", samples, RATE_HZ))
    centre = changed(LOUDEST, crop="centre")
    read = decode(path, probe(path))
    np.testing.assert_array_equal(clip_waveform(path, centre)[0], read[RATE_HZ : 2 * RATE_HZ, 0])
    info = probe(path)
    for windows in (window_waveforms(path, info, LOUDEST, 0, 3), waveform_windows(read, RATE_HZ, LOUDEST)):
        for number, (window, channel) in enumerate(zip(windows, (1, 0, 1), strict=True)):
            part = read[number * RATE_HZ : (number + 1) * RATE_HZ]
            np.testing.assert_array_equal(window.waveform, part[:, channel])
            np.testing.assert_array_equal(window.waveform, fit(part, RATE_HZ, LOUDEST))
    path = str(write_wav(tmp_path / "b.wav", samples, 2 * RATE_HZ))
    info = probe(path)
    for number, window in enumerate(window_waveforms(path, info, LOUDEST, 0, num_windows(info, LOUDEST))):
        part = read[number * 2 * RATE_HZ : (number + 1) * 2 * RATE_HZ]
        channel = int(np.square(part).sum(axis=0).argmax())
        np.testing.assert_array_equal(window.waveform, fit(part[:, channel, None], 2 * RATE_HZ, LOUDEST))


def test_a_recording_whose_channels_cancel_has_a_warning_unless_one_of_them_is_used(tmp_path):
    x = sine(300, 2 * RATE_HZ, amplitude=0.3) + noise(2 * RATE_HZ, amplitude=0.02)
    late = str(write_wav(tmp_path / "late.wav", np.stack([x, -np.roll(x, 1)], axis=1)))
    opposite = str(write_wav(tmp_path / "opposite.wav", np.stack([x, -x], axis=1)))
    half = np.where(np.arange(len(x)) < RATE_HZ, x, -x)  # the second second is of opposite phase
    partly = str(write_wav(tmp_path / "partly.wav", np.stack([x, half], axis=1)))
    assert clip_waveform(late, STFT)[2] == "channels_cancel"
    assert clip_waveform(opposite, STFT)[2] == "silent;channels_cancel"
    assert clip_waveform(partly, STFT)[2] == ""
    assert clip_waveform(partly, STFT, start=RATE_HZ)[2] == "silent;channels_cancel"
    info = probe(partly)
    assert [window.cancelled for window in window_waveforms(partly, info, STFT, 0, 2)] == [False, True]
    for channels in (1, 2, "loudest"):
        spec = changed(STFT, channels=channels)
        for path in (late, opposite, partly):
            assert clip_waveform(path, spec, start=RATE_HZ)[2] == ""
            assert not any(window.cancelled for window in window_waveforms(path, info, spec, 0, 2))


def test_a_file_without_samples_is_empty_whatever_channel_is_wanted():
    for channels in ("loudest", 1, 3):
        spec = changed(TINY, channels=channels)
        with pytest.raises(ClipError) as error:
            list(window_waveforms(b"", AudioInfo(0, 2, RATE_HZ, pcm_offset=0), spec, 0, 1))
        assert error.value.reason == Reason.EMPTY
