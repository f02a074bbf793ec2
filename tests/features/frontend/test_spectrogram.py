import contextlib
import threading
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import threadpoolctl

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from tests.features.examples import LOG_MEL, MFCC, SPECS, STFT, changed, signals
from tests.peers.library import LIVE, WRITTEN, Expected
from tests.signals import noise

BATCHES = (1, 2, 7, 64, 256)
RATE_HZ = MFCC.sample_rate_hz


def centred(spec: FeatureSpec) -> FeatureSpec:
    return changed(spec, centred=True, window_samples=spec.fft_samples)


def not_centred(spec: FeatureSpec) -> FeatureSpec:
    return changed(spec, centred=False)


def bits(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint16 if values.dtype == np.float16 else np.uint32)


def near(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Each clip is as expected to within `tolerance` of the range of its values, or to the last digits of float32."""
    assert actual.shape == expected.shape
    axes = tuple(range(1, expected.ndim))
    allowed = tolerance * np.maximum(np.ptp(expected, axis=axes, keepdims=True), 0.1)
    # Where a clip is silent its values have no range, and may be far from 0: the first MFCC is -1,131.
    rounding = 16 * np.spacing(np.abs(expected).astype(np.float32))
    assert (np.abs(actual - expected) <= np.maximum(allowed, rounding)).all()


def spread_noise(clips: int, samples: int) -> np.ndarray:
    """Noise of loudnesses from 1 to 1e-6, and a silent clip: (clips, samples)."""
    loudness = np.logspace(0, -6, clips, dtype=np.float32)[:, None]
    loudness[clips // 2] = 0
    return noise(clips * samples, amplitude=0.3).reshape(clips, samples) * loudness


@pytest.mark.parametrize("padding", [centred, not_centred])
@pytest.mark.parametrize("front_end", SPECS)
def test_values_are_the_same_to_the_bit_in_every_batch(front_end, padding):
    """Those of float16 are these, rounded, as a test below has it."""
    # 0.3 s give frames and bands whose product is not a multiple of a vector register.
    spec = changed(padding(SPECS[front_end]), clip_seconds=0.3)
    waveforms = spread_noise(256, spec.clip_samples)
    alone = np.concatenate([compute_features(waveforms[[row]], spec) for row in range(256)])
    assert np.isfinite(alone).all()
    for size in BATCHES[1:]:
        together = np.concatenate([compute_features(waveforms[at : at + size], spec) for at in range(0, 256, size)])
        assert np.array_equal(bits(together), bits(alone)), size


@pytest.mark.parametrize(
    "fields",
    [
        {"clip_seconds": 2048 / RATE_HZ, "centred": False},
        {"mel_bands": 1, "coefficients": 1},
        {"coefficients": 1},
        {"clip_seconds": 2048 / RATE_HZ, "centred": False, "mel_bands": 1, "coefficients": 1},
        {"mel_bands": 37, "coefficients": 37, "window_samples": 1021, "fft_samples": 1021, "centred": False},
    ],
    ids=str,
)
def test_values_are_the_same_to_the_bit_where_matrices_are_vectors(fields):
    spec = changed(MFCC, **{"clip_seconds": 0.3, **fields})
    waveforms = spread_noise(64, spec.clip_samples)
    alone = np.concatenate([compute_features(waveforms[[row]], spec) for row in range(64)])
    for size in BATCHES[1:4]:
        together = np.concatenate([compute_features(waveforms[at : at + size], spec) for at in range(0, 64, size)])
        assert np.array_equal(bits(together), bits(alone)), size


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_values_do_not_depend_on_how_waveforms_lie_in_memory(spec):
    spec = changed(spec, clip_seconds=0.3)
    waveforms = spread_noise(9, spec.clip_samples)
    expected = compute_features(waveforms, spec)
    shifted = np.empty(waveforms.size + 1, np.float32)[1:].reshape(waveforms.shape)
    shifted[:] = waveforms
    reverse = np.ascontiguousarray(waveforms[::-1])[::-1]
    for other in (np.asfortranarray(waveforms), shifted, reverse, waveforms.astype(np.float64)):
        assert np.array_equal(bits(compute_features(other, spec)), bits(expected))
    assert np.array_equal(waveforms, spread_noise(9, spec.clip_samples)), "the waveforms were written to"


@pytest.mark.data
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_real_clips_are_the_same_to_the_bit_in_every_batch(real_clips, spec):
    waveforms = np.zeros((len(real_clips), spec.clip_samples), np.float32)
    waveforms[:, :16_000] = real_clips
    alone = np.concatenate([compute_features(waveforms[[row]], spec) for row in range(len(waveforms))])
    for size in (7, len(waveforms)):
        rows = range(0, len(waveforms), size)
        together = np.concatenate([compute_features(waveforms[at : at + size], spec) for at in rows])
        assert np.array_equal(bits(together), bits(alone)), size


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("clips", [0, 1, 7, 8, 9])
def test_shape_is_the_specs(spec, clips):
    features = compute_features(np.zeros((clips, spec.clip_samples), np.float32), spec)
    assert features.shape == (clips, *spec.shape)
    assert features.dtype == np.float32


@pytest.mark.parametrize("shape", [(16_000,), (1, 15_999), (1, 16_001), (1, 16_000, 1)])
def test_waveforms_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="16000"):
        compute_features(np.zeros(shape, np.float32), STFT)


def window_of(spec: FeatureSpec) -> np.ndarray:
    """Hann, periodic; of odd lengths `tf.signal` takes the symmetric one."""
    return scipy.signal.get_window("hann", spec.window_samples, fftbins=spec.window_samples % 2 == 0)


@pytest.mark.parametrize("samples", [1, 2, 3, 16, 255, 256])
def test_window_is_scipys_and_tensorflows(tf, samples):
    spec = changed(STFT, clip_seconds=samples / 16_000, window_samples=samples)
    # The spectrum of an impulse is flat, and as high as the window where it stands.
    values = compute_features(np.eye(samples, dtype=np.float32), spec)[:, 0, :]
    assert np.ptp(values, axis=1).max() <= 1e-6
    np.testing.assert_allclose(values[:, 0], window_of(spec), rtol=0, atol=1e-6)
    np.testing.assert_allclose(values[:, 0], tf.signal.hann_window(samples).numpy(), rtol=0, atol=1e-6)


def frames_of(waveform: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The contract in one line of float64 a frame: (frames, bins)."""
    pad = spec.fft_samples // 2 if spec.centred else 0
    padded = np.pad(waveform.astype(np.float64), pad)
    starts = range(0, len(padded) - spec.window_samples + 1, spec.hop_samples)
    frames = [padded[at : at + spec.window_samples] * window_of(spec) for at in starts]
    return np.abs(np.fft.rfft(frames, spec.fft_samples)) ** spec.spectrum_power


@pytest.mark.parametrize("samples", [255, 256, 255 + 127, 255 + 128, 255 + 129, 4000])
@pytest.mark.parametrize("padding", [centred, not_centred])
def test_frames_of_every_length(samples, padding):
    spec = changed(padding(STFT), clip_seconds=max(samples, 256) / 16_000)
    waveforms = signals(spec.clip_samples)
    near(compute_features(waveforms, spec), np.stack([frames_of(clip, spec) for clip in waveforms]), 1e-6)


@pytest.mark.parametrize("samples", [1, 2, 127, 128, 129])
def test_centred_frames_of_clips_shorter_than_a_window(samples):
    spec = changed(centred(STFT), clip_seconds=samples / 16_000)
    waveforms = np.stack([np.ones(samples, np.float32), noise(samples)])
    near(compute_features(waveforms, spec), np.stack([frames_of(clip, spec) for clip in waveforms]), 1e-6)


@pytest.mark.parametrize("fft_samples", [2, 3, 255, 257])
@pytest.mark.parametrize("hop_samples", [1, 50, 160])
def test_frames_of_odd_and_tiny_transforms(fft_samples, hop_samples):
    spec = changed(
        STFT, clip_seconds=0.05, window_samples=fft_samples, hop_samples=hop_samples, fft_samples=fft_samples
    )
    waveforms = signals(spec.clip_samples)
    near(compute_features(waveforms, spec), np.stack([frames_of(clip, spec) for clip in waveforms]), 2e-6)


@pytest.mark.parametrize("fft_samples", [2, 3, 255, 256, 257])
@pytest.mark.parametrize("samples", [799, 800, 801])
def test_centred_frames_are_as_many_as_the_spec_says(librosa, fft_samples, samples):
    spec = changed(
        STFT, clip_seconds=samples / 16_000, window_samples=fft_samples, hop_samples=160, fft_samples=fft_samples,
        centred=True,
    )  # fmt: skip
    waveforms = signals(samples)
    features = compute_features(waveforms, spec)
    assert features.shape == (len(waveforms), *spec.shape)
    shape = librosa(
        f"shape of {samples} samples in frames of {fft_samples}",
        lambda theirs: (
            theirs.stft(waveforms, n_fft=fft_samples, hop_length=160, center=True, pad_mode="constant").shape
        ),
    )
    assert tuple(shape[:0:-1]) == spec.shape


def test_float16_is_the_float32_value_rounded():
    for spec in SPECS.values():
        waveforms = spread_noise(8, spec.clip_samples)
        rounded = compute_features(waveforms, spec).astype(np.float16)
        assert np.array_equal(compute_features(waveforms, changed(spec, storage_dtype="float16")), rounded)


@pytest.fixture(params=["generated", pytest.param("real", marks=pytest.mark.data)])
def waveforms(request) -> np.ndarray:
    """Clips of one second at 16 kHz."""
    return signals(16_000) if request.param == "generated" else request.getfixturevalue("real_clips")


def test_stft_is_tensorflows(tf, waveforms):
    expected = np.abs(tf.signal.stft(waveforms, frame_length=255, frame_step=128).numpy())
    actual = compute_features(waveforms, STFT)
    assert actual.shape == expected.shape == (len(waveforms), 124, 129)
    loudest = expected.max(axis=(1, 2), keepdims=True)
    assert (np.abs(actual - expected) <= 1e-5 * loudest).all()


def test_htk_log_mel_is_tensorflows(tf, waveforms):
    spec = changed(LOG_MEL, mel_filter_bank="htk", mel_low_hz=125.0, mel_high_hz=7_600.0)
    spectrum = tf.abs(tf.signal.stft(waveforms, frame_length=400, frame_step=160, fft_length=512))
    mel = tf.signal.linear_to_mel_weight_matrix(64, 257, 16_000, 125.0, 7_600.0)
    near(compute_features(waveforms, spec), np.log(spectrum.numpy() @ mel.numpy() + np.float32(1e-3)), 1e-3)


@pytest.fixture(
    params=[WRITTEN, pytest.param("generated", marks=LIVE), pytest.param("real", marks=[*LIVE, pytest.mark.data])]
)
def compared(request) -> tuple[Callable[[int], np.ndarray], Expected]:
    """Clips as if recorded at a rate, and what librosa computes: of a quarter of a second in tests/golden."""
    if request.param == "golden":
        return lambda rate_hz: signals(rate_hz // 4, rate_hz), request.getfixturevalue("golden_librosa")
    live = request.getfixturevalue("live_librosa")
    if request.param == "generated":
        return lambda rate_hz: signals(rate_hz, rate_hz), live
    clips = request.getfixturevalue("real_clips")
    return lambda rate_hz: np.pad(clips, ((0, 0), (0, rate_hz - 16_000))), live


def seconds_of(clips: np.ndarray, rate_hz: int) -> dict[str, float]:
    return {"clip_seconds": clips.shape[1] / rate_hz}


@pytest.mark.parametrize("power", [1, 2])
def test_slaney_mel_is_librosas(compared, power):
    clips_at, librosa = compared
    clips = clips_at(16_000)
    spec = changed(centred(LOG_MEL), spectrum_power=power, log_offset=1.0, **seconds_of(clips, 16_000))
    expected = librosa(
        f"mel, power {power}",
        lambda theirs: [
            theirs.feature.melspectrogram(
                y=clip, sr=16_000, n_fft=512, hop_length=160, n_mels=64, fmin=20.0, fmax=8_000.0, power=power
            ).T
            for clip in clips
        ],
    )
    # With an offset of 1 features are ln(1 + x): this undoes it.
    near(np.expm1(compute_features(clips, spec)), expected, 1e-5)


@pytest.mark.parametrize("range_db", [80.0, 30.0])
def test_decibels_are_librosas(compared, range_db):
    clips_at, librosa = compared
    clips = clips_at(16_000)
    fields = {name: value for name, value in MFCC.to_dict().items() if name not in ("coefficients", "dynamic_range_db")}
    spec = FeatureSpec.from_dict(
        {
            **fields,
            "front_end": "log_mel",
            "sample_rate_hz": 16_000,
            "mel_high_hz": 8_000.0,
            "dynamic_range_db": range_db,
            **seconds_of(clips, 16_000),
        }
    )
    expected = librosa(
        f"decibels, range {range_db}",
        lambda theirs: [
            theirs.power_to_db(theirs.feature.melspectrogram(y=clip, sr=16_000), amin=1e-10, top_db=range_db).T
            for clip in clips
        ],
    )
    near(compute_features(clips, spec), expected, 1e-4)


@pytest.mark.parametrize("coefficients", [1, 13, 40, 128])
def test_mfcc_is_librosas(compared, coefficients):
    clips_at, librosa = compared
    # What the rate is called does not matter: real clips are taken as if they were recorded at it.
    clips = clips_at(RATE_HZ)
    spec = changed(MFCC, coefficients=coefficients, **seconds_of(clips, RATE_HZ))
    expected = librosa(
        f"MFCC, coefficients {coefficients}",
        lambda theirs: [theirs.feature.mfcc(y=clip, sr=RATE_HZ, n_mfcc=coefficients).T for clip in clips],
    )
    near(compute_features(clips, spec), expected, 1e-3)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_silence_is_finite(spec):
    features = compute_features(np.zeros((1, spec.clip_samples), np.float32), spec)
    assert np.isfinite(features).all()
    # Not to the bit: some of OpenBLAS' kernels add up the last rows of a matrix in another order than the rows before.
    assert np.abs(features - features[:, :1]).max() <= 1e-5 * np.abs(features).max()


@pytest.mark.parametrize("log_scale", ["natural", "decibel"])
@pytest.mark.parametrize("log_offset", [1e-10, 1e-38, 1e-46, 1e-300])
def test_silence_is_finite_with_every_offset_that_a_spec_takes(log_offset, log_scale):
    with contextlib.suppress(UsageError):  # a spec may refuse an offset that is 0 in float32
        spec = changed(LOG_MEL, spectrum_power=2, log_scale=log_scale, log_offset=log_offset)
        assert np.isfinite(compute_features(np.zeros((1, spec.clip_samples), np.float32), spec)).all()


class Met(list):
    """Waveforms at which others meet while features of them are computed."""

    def __init__(self, waveforms: np.ndarray, meet) -> None:
        super().__init__(waveforms)
        self._meet = meet

    def __getitem__(self, key):
        if isinstance(key, slice):
            self._meet()
        return super().__getitem__(key)


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}


def test_a_thread_that_ends_leaves_the_others_on_one_blas_thread_and_the_last_restores_the_number():
    both_compute, first_ended, seen = threading.Barrier(2), threading.Event(), []
    waveforms = noise(LOG_MEL.clip_samples).reshape(1, -1)

    def second():
        def meet():
            both_compute.wait(10)
            first_ended.wait(10)
            seen.append(blas_threads())

        compute_features(Met(waveforms, meet), LOG_MEL)

    before = blas_threads()
    thread = threading.Thread(target=second)

    def meet():
        seen.append(blas_threads())
        thread.start()
        both_compute.wait(10)

    compute_features(Met(waveforms, meet), LOG_MEL)
    first_ended.set()
    thread.join()
    assert seen == [{1}, {1}]
    assert blas_threads() == before
