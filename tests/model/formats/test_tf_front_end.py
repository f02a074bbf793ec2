"""The front end in TensorFlow against the one in NumPy: the same values, to a tolerance, of everything it is given."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from features.frontend.clip import clip_waveform
from features.frontend.presets import PRESETS, preset
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from model.formats import tf_front_end
from model.formats.tf_front_end import TensorFlowFrontEnd
from tests.features.examples import LOG_MEL, MFCC, STFT, changed, signals
from tests.signals import noise, write_wav

# Of the range of a clip's values, or of 0.1 where they are all alike. The largest met is 1e-5, of log-mel bands.
TOLERANCE = 1e-4
# Both front ends are that far from the one in float64 where a pure tone leaves bands next to empty.
HTK_TOLERANCE = 1e-3

SPECTRA = [name for name in PRESETS if preset(name).network_name is None]
POOLED = preset("urbansound-mfcc")
OF_16_KHZ = {"sample_rate_hz": 16_000, "mel_high_hz": 8_000.0}
DECIBEL = {"spectrum_power": 2, "log_scale": "decibel", "log_offset": 1e-10, "dynamic_range_db": 80.0}
OTHERS = {
    "htk": changed(LOG_MEL, mel_filter_bank="htk", mel_low_hz=125.0, mel_high_hz=7_600.0),
    "power": changed(LOG_MEL, spectrum_power=2),
    "centred-stft": changed(STFT, centred=True, window_samples=256),
    "decibel-bands": changed(LOG_MEL, **DECIBEL),
    "little-range": changed(LOG_MEL, **{**DECIBEL, "dynamic_range_db": 20.0}),
    "mfcc": changed(MFCC, centred=False),
    "one-coefficient": changed(MFCC, mel_bands=1, coefficients=1),
    "odd-fft": changed(MFCC, window_samples=1021, fft_samples=1021, centred=True, mel_bands=37, coefficients=37),
    "pooled-stft": changed(STFT, pool="mean"),
    "pooled-log-mel": changed(LOG_MEL, pool="mean"),
    "window-of-one": changed(STFT, window_samples=1, hop_samples=100),
    "hop-past-the-window": changed(STFT, hop_samples=1000),
}


def of_length(spec: FeatureSpec, samples: int) -> FeatureSpec:
    return spec if spec.clip_samples is None else changed(spec, clip_seconds=samples / spec.sample_rate_hz)


def near(actual: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Each clip is as expected to within `tolerance` of the range of its values."""
    assert actual.shape == expected.shape
    axes = tuple(range(1, expected.ndim))
    error = np.abs(actual - expected) / np.maximum(np.ptp(expected, axis=axes, keepdims=True), 0.1)
    assert np.max(error, initial=0) <= tolerance


def lengths(spec: FeatureSpec) -> list[int]:
    """Around a window and a second; less than a window has a frame only where the ends are padded."""
    window, second = spec.window_samples, spec.sample_rate_hz
    around = [1, 2, window - 1, window, window + 1, window + spec.hop_samples, second - 1, second, second + 1]
    return sorted({length for length in around if length >= spec.least_samples})


@pytest.mark.parametrize("by_fft", [True, False])
@pytest.mark.parametrize("name", SPECTRA)
def test_features_are_those_of_the_front_end(name, by_fft):
    spec = preset(name)
    for samples in lengths(spec):
        spec = of_length(spec, samples)
        waveforms = signals(samples, spec.sample_rate_hz)
        expected = compute_features(waveforms, spec)
        near(TensorFlowFrontEnd(spec, by_fft)(tf.constant(waveforms)).numpy(), expected)


@pytest.mark.parametrize("name", SPECTRA)
def test_features_are_those_of_the_front_end_inside_a_graph(name):
    spec = preset(name)
    waveforms = signals(spec.clip_samples or spec.sample_rate_hz, spec.sample_rate_hz)
    signature = [tf.TensorSpec((None, spec.clip_samples), tf.float32)]
    graph = tf.function(TensorFlowFrontEnd(spec).__call__, input_signature=signature, autograph=False)
    expected = compute_features(waveforms, spec)
    near(graph(waveforms).numpy(), expected)
    near(graph(waveforms[:1]).numpy(), expected[:1])
    if spec.clip_samples is None:
        for samples in lengths(spec):
            near(graph(waveforms[:, :samples]).numpy(), compute_features(waveforms[:, :samples], spec))


@pytest.mark.parametrize("by_fft", [True, False])
@pytest.mark.parametrize("name", OTHERS)
def test_every_field_of_a_spec_counts(name, by_fft):
    spec = OTHERS[name]
    waveforms = signals(spec.clip_samples, spec.sample_rate_hz)
    actual = TensorFlowFrontEnd(spec, by_fft)(tf.constant(waveforms)).numpy()
    near(actual, compute_features(waveforms, spec), HTK_TOLERANCE if name == "htk" else TOLERANCE)


@pytest.mark.parametrize("name", OTHERS)
def test_no_convolution_goes_on_by_more_than_it_covers(name):
    """There TensorFlow may damage memory, which shows later or never."""
    signature = [tf.TensorSpec((None, OTHERS[name].clip_samples), tf.float32)]
    made = tf.function(TensorFlowFrontEnd(OTHERS[name]).__call__, input_signature=signature, autograph=False)
    convolutions = [op for op in made.get_concrete_function().graph.get_operations() if op.type == "Conv2D"]
    assert len(convolutions) == 1
    assert convolutions[0].get_attr("strides")[1] <= convolutions[0].inputs[1].shape[0]


@st.composite
def specs(draw) -> FeatureSpec:
    """Spectra, log mel bands and MFCCs of any windows, hops and transforms."""
    window = draw(st.integers(16, 300))
    fft = window + draw(st.integers(0, 100))
    fields = {
        "front_end": "stft", "sample_rate_hz": 8_000, "clip_seconds": draw(st.integers(400, 900)) / 8_000,
        "window_samples": window, "hop_samples": draw(st.integers(1, 200)), "fft_samples": fft,
        "pool": draw(st.sampled_from([None, "mean"])),
    }  # fmt: skip
    if draw(st.booleans()):
        fields |= {"window_samples": fft, "centred": True}
    kind = draw(st.sampled_from(["stft", "log_mel", "mfcc"]))
    if kind != "stft":
        fields |= {"front_end": kind, "mel_filter_bank": "slaney", "mel_bands": draw(st.integers(1, 3)),
                   "mel_low_hz": draw(st.integers(0, 500)), "mel_high_hz": draw(st.integers(3_000, 4_000)),
                   "log_scale": "natural", "log_offset": 1e-3,
                   "spectrum_power": draw(st.sampled_from([1, 2]))}  # fmt: skip
    if kind == "mfcc":
        fields["coefficients"] = 1
    return FeatureSpec.from_dict({name: value for name, value in fields.items() if value is not None})


@settings(max_examples=25, deadline=None)
@given(spec=specs(), seed=st.integers(0, 9))
def test_convolutions_give_the_values_of_any_spec(spec, seed):
    waveforms = noise(2 * (spec.clip_samples or 0), seed=seed).reshape(2, -1)
    near(TensorFlowFrontEnd(spec)(tf.constant(waveforms)).numpy(), compute_features(waveforms, spec))


@pytest.mark.parametrize("spec", [STFT, LOG_MEL, POOLED], ids=["stft", "log-mel", "pooled"])
def test_half_precision_rounds(spec):
    spec = changed(spec, storage_dtype="float16")
    waveforms = signals(spec.clip_samples or 30_000, spec.sample_rate_hz)
    actual = TensorFlowFrontEnd(spec)(tf.constant(waveforms)).numpy()
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, actual.astype(np.float16))
    near(actual, compute_features(waveforms, spec).astype(np.float32), 1e-3)


@pytest.mark.parametrize("spec", [STFT, LOG_MEL, changed(LOG_MEL, **DECIBEL), MFCC, POOLED])
def test_a_clip_does_not_depend_on_its_batch(spec):
    samples = spec.clip_samples or 10_000
    loudness = np.logspace(0, -6, 9, dtype=np.float32)[:, None]
    loudness[4] = 0
    waveforms = tf.constant(noise(9 * samples, amplitude=0.3).reshape(9, samples) * loudness)
    front_end = TensorFlowFrontEnd(spec)
    together = front_end(waveforms).numpy()
    alone = [front_end(waveforms[row : row + 1]).numpy() for row in range(9)]
    near(together, np.concatenate(alone), 1e-5)  # a matrix product by oneDNN rounds by the number of its rows


def test_waveforms_without_a_frame_are_refused():
    spec = FeatureSpec.from_dict({**STFT.to_dict(), "clip_seconds": None, "pool": "mean"})
    required = lambda batch: tf_front_end.require_frames(batch, spec)  # noqa: E731
    for computed in (tf.function(required, autograph=False), required):
        assert TensorFlowFrontEnd(spec)(computed(tf.zeros((1, 255)))).shape == (1, 129)
        with pytest.raises(tf.errors.InvalidArgumentError, match="waveforms of 254 samples are too short; give 255"):
            computed(tf.zeros((1, 254)))


@pytest.mark.parametrize("crop", ["start", "centre"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_files_are_fitted_as_the_front_end_fits_them(tmp_path, crop, channels):
    spec = changed(STFT, crop=crop)
    for frames in (1, 254, 255, 256, 15_999, 16_000, 16_001, 16_002, 40_001):
        samples = noise(frames * channels, seed=frames).reshape(frames, channels)
        path = str(write_wav(tmp_path / "sound.wav", samples))
        actual = tf_front_end.read_waveform(tf.constant(path), spec).numpy()
        np.testing.assert_allclose(actual, clip_waveform(path, spec)[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 2, 4, "loudest"])
def test_files_give_the_channel_of_the_spec(tmp_path, channels):
    """Of the part that is used, in which the second channel is the loudest, and the fourth as loud."""
    for spec in (changed(STFT, channels=channels, crop="centre"), changed(POOLED, channels=channels, **OF_16_KHZ)):
        for frames in (1, 2, 15_999, 16_000, 16_001, 40_001):
            samples = noise(4 * frames, seed=frames).reshape(frames, 4)
            samples[:, 1] *= 2
            samples[:, 3] = -samples[:, 1]
            samples[: (frames - 16_000) // 4 if frames > 16_000 else 0, 0] = 0.9
            path = str(write_wav(tmp_path / "sound.wav", samples))
            actual = tf_front_end.read_waveform(tf.constant(path), spec).numpy()
            np.testing.assert_array_equal(actual, clip_waveform(path, spec)[0])
        path = str(write_wav(tmp_path / "mono.wav", noise(20_000)))
        if channels in (1, "loudest"):
            actual = tf_front_end.read_waveform(tf.constant(path), spec).numpy()
            np.testing.assert_array_equal(actual, clip_waveform(path, spec)[0])
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match=rf"has fewer channels, 1, .* {channels}"):
                tf_front_end.read_waveform(tf.constant(path), spec)


@pytest.mark.parametrize("frames", [1, 2047, 50_000])
def test_files_of_any_length_are_read_whole(tmp_path, frames):
    path = str(write_wav(tmp_path / "gehört.wav", noise(frames), 22_050))
    actual = tf_front_end.read_waveform(tf.constant(path), POOLED).numpy()
    np.testing.assert_array_equal(actual, clip_waveform(path, POOLED)[0])


@pytest.mark.parametrize("rate_hz", [8_000, 15_999, 22_050, 44_100])
def test_another_rate_is_refused(tmp_path, rate_hz):
    path = write_wav(tmp_path / "sound.wav", noise(100), rate_hz)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        tf_front_end.read_waveform(tf.constant(str(path)), STFT)
    for part in (str(path), f"{rate_hz} Hz", "16000 Hz", "resample"):
        assert part in error.value.message


@pytest.mark.parametrize(
    ("subtype", "container"),
    [("PCM_U8", "WAV"), ("PCM_24", "WAV"), ("FLOAT", "WAV"), ("ULAW", "WAV"), ("PCM_16", "WAVEX"), ("PCM_16", "FLAC")],
)
def test_what_is_no_plain_wav_is_refused(tmp_path, subtype, container):
    path = str(tmp_path / "sound.wav")
    soundfile.write(path, noise(100), 16_000, subtype=subtype, format=container)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sound\.wav is not a plain 16-bit PCM WAV.*convert it"):
        tf_front_end.read_waveform(tf.constant(path), STFT)


@pytest.mark.parametrize("content", [b"", b"R", b"RIFF", b"hello, world", bytes(range(256)) * 4])
def test_what_is_no_audio_is_refused(tmp_path, content):
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not a plain 16-bit PCM WAV"):
        tf_front_end.read_waveform(tf.constant(str(path)), STFT)


def test_a_file_without_samples_is_refused(tmp_path):
    path = write_wav(tmp_path / "sound.wav", noise(0))
    for spec in (STFT, changed(POOLED, sample_rate_hz=16_000, mel_high_hz=8_000.0)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="holds no samples"):
            tf_front_end.read_waveform(tf.constant(str(path)), spec)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(tf.errors.NotFoundError, match=r"nothing\.wav"):
        tf_front_end.read_waveform(tf.constant(str(tmp_path / "nothing.wav")), STFT)


@pytest.mark.data
def test_real_files_have_the_features_of_the_front_end(data):
    spec = preset("log-mel")
    paths = [str(path) for path in sorted(data.glob("speech_commands_8words/*/*.wav"))[::200]]
    assert len(paths) > 20
    actual = tf.stack([tf_front_end.read_waveform(tf.constant(path), spec) for path in paths])
    expected = np.stack([clip_waveform(path, spec)[0] for path in paths])
    near(TensorFlowFrontEnd(spec)(actual).numpy(), compute_features(expected, spec))
