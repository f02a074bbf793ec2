"""The front end in TensorFlow: from waveforms or a WAV file to features.

It computes what `features.frontend.spectrogram` does, and what `features.frontend.waveform` does with WAV files of the
spec's own rate, in operations that a SavedModel carries along. The two agree to rounding: a clip's values to 1e-4 of
their range with every preset, to 1e-3 where the logarithm of nearly empty bands (HTK's are wide at the top) shows the
rounding of float32 itself.
"""

import math

import tensorflow as tf

from features.frontend.spec import LOUDEST, MEAN, FeatureSpec
from features.frontend.spectrogram import cosine_weights, mel_weights

# The header that tf.audio.decode_wav reads, to the bits per sample: `fmt ` is the first chunk, 1 is PCM, `\C` a byte.
_PCM_HEADER = rb"RIFF\C{4}WAVEfmt \C{4}\x01\x00\C{12}\x10\x00"
_PCM_HEADER_BYTES = 36


def compute_features(waveforms: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """Computes the features of a batch of fitted clips, each as if it were alone.

    Args:
        waveforms: float32 of shape (clips, spec.clip_samples); where the spec has no clip length, (clips, samples),
            all of them real.
        spec: the front end.

    Returns:
        float32 of shape (clips, *spec.shape), rounded to spec.storage_dtype.

    Raises:
        tf.errors.InvalidArgumentError: the waveforms are shorter than one window where nothing is padded; raised when
            the operations run.
    """
    samples = tf.shape(waveforms)[1]
    long_enough = _require(
        samples >= spec.least_samples,
        "waveforms of ",
        tf.strings.as_string(samples),
        f" samples are too short; give {spec.least_samples} or more",
    )
    with tf.control_dependencies([long_enough]):
        waveforms = tf.identity(waveforms)
    bands = _spectrum(waveforms, spec)
    if spec.front_end != "stft":
        bands = _log(tf.matmul(bands, mel_weights(spec)), spec)  # (clips, frames, bands)
    if spec.front_end == "mfcc":
        bands = tf.matmul(bands, cosine_weights(spec))
    if spec.pool is not None:
        # In float64, since a float32 sum over the frames of an hour would lose what the front end keeps.
        bands = tf.cast(tf.reduce_mean(tf.cast(bands, tf.float64), axis=1), tf.float32)  # (clips, bands)
    return tf.cast(tf.cast(bands, spec.storage_dtype), tf.float32)


def read_waveform(path: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """Reads a 16-bit PCM WAV file of the spec's rate and fits it: cut, the spec's channel, zeros at the end.

    Args:
        path: string of shape ().
        spec: the front end.

    Returns:
        float32 of shape (spec.clip_samples,), or all samples of the file where the spec has no clip length.

    Raises:
        tf.errors.NotFoundError: there is no such file; raised, as the next, when the operations run.
        tf.errors.InvalidArgumentError: it is not a 16-bit PCM WAV, has another rate or fewer channels than the spec
            takes the one of, or holds no samples.
    """
    content = tf.io.read_file(path)
    is_pcm = _require(
        tf.strings.regex_full_match(tf.strings.substr(content, 0, _PCM_HEADER_BYTES), _PCM_HEADER),
        path,
        " is not a plain 16-bit PCM WAV file, the one kind that is read by its path; convert it, or decode it "
        "elsewhere and give the samples as waveforms",
    )
    with tf.control_dependencies([is_pcm]):
        samples, rate_hz = tf.audio.decode_wav(content)  # (frames, channels), as many channels as the header names
    has_rate = _require(
        tf.equal(rate_hz, spec.sample_rate_hz),
        path,
        " has a sample rate of ",
        tf.strings.as_string(rate_hz),
        f" Hz, but the network takes {spec.sample_rate_hz} Hz; resample the file, or give resampled waveforms",
    )
    has_samples = _require(tf.size(samples) > 0, path, " holds no samples; leave it out")
    with tf.control_dependencies([has_rate, has_samples]):
        samples = tf.identity(samples)
    if spec.clip_samples is None:
        return _one_channel(samples, path, spec)
    start = tf.maximum(tf.shape(samples)[0] - spec.clip_samples, 0) // 2 if spec.crop == "centre" else 0
    waveform = _one_channel(samples[start : start + spec.clip_samples], path, spec)
    waveform = tf.pad(waveform, [[0, spec.clip_samples - tf.shape(waveform)[0]]])
    return tf.ensure_shape(waveform, (spec.clip_samples,))


def _one_channel(samples: tf.Tensor, path: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """Makes one channel of several, as `features.frontend.waveform.to_mono`: (frames, channels) to (frames,)."""
    if spec.channels == MEAN:
        return tf.reduce_mean(samples, axis=1)
    if spec.channels == LOUDEST:
        whole = tf.cast(samples * 32_768.0, tf.int64)  # the samples of the file, whose energies are exact
        energies = tf.reduce_sum(whole * whole, axis=0)
        return tf.gather(samples, tf.where(tf.equal(energies, tf.reduce_max(energies)))[0, 0], axis=1)
    channels = tf.shape(samples)[1]
    has_channel = _require(
        channels >= spec.channels,
        path,
        " has fewer channels, ",
        tf.strings.as_string(channels),
        f", than channel {spec.channels}, which the network takes; give waveforms of the channel that it shall have",
    )
    with tf.control_dependencies([has_channel]):
        return samples[:, int(spec.channels) - 1]


def _require(condition: tf.Tensor, *message: tf.Tensor | str) -> tf.Operation:
    return tf.debugging.Assert(condition, [tf.strings.join(message)])


def _spectrum(waveforms: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """Returns magnitudes or power of the short-time Fourier transform: (clips, frames, bins)."""
    if spec.centred:
        half = (spec.fft_samples or 0) // 2
        waveforms = tf.pad(waveforms, [[0, 0], [half, half]])
    # Its Hann window is the one of features.frontend.spectrogram: symmetric where the length is an odd number.
    spectrum = tf.signal.stft(waveforms, spec.window_samples, spec.hop_samples, spec.fft_samples)  # complex64
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    return power if spec.spectrum_power == 2 else tf.sqrt(power)


def _log(bands: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """Returns the logarithm of mel bands: (clips, frames, bands)."""
    offset = spec.log_offset or 0.0
    if spec.log_scale == "natural":
        return tf.math.log(bands + offset)
    bands = tf.math.log(tf.maximum(bands, offset)) * (10.0 / math.log(10.0))
    if spec.dynamic_range_db is not None:
        loudest = tf.reduce_max(bands, axis=(1, 2), keepdims=True)  # of each clip, never of the batch
        bands = tf.maximum(bands, loudest - spec.dynamic_range_db)
    return bands
