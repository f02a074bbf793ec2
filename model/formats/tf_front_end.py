"""The front end of every export: from waveforms to features, in operations that each format has, and from WAV files.

It computes what `features.frontend.spectrogram` does. The Fourier transform is a convolution, whose kernels are cosines
and sines under the window: LiteRT, ONNX Runtime and OpenVINO run that for any number of clips, and ONNX and OpenVINO
take no `tf.signal.stft` whose number of clips is free. In TensorFlow it is `tf.signal.stft`. The two front ends agree
to rounding: a clip's values to 1e-4 of their range with every preset, to 1e-3 where the logarithm of nearly empty bands
(HTK's are wide at the top) shows the rounding of float32 itself.

Files are for TensorFlow alone: what `features.frontend.waveform` does with WAV files of the spec's own rate.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from features.frontend.spec import LOUDEST, MEAN, FeatureSpec
from features.frontend.spectrogram import cosine_weights, hann_window, mel_weights

SCOPE = "front_end"
"""Part of the names of all operations here, by which others tell them from those of the network."""
# The header that tf.audio.decode_wav reads, to the bits per sample: `fmt ` is the first chunk, 1 is PCM, `\C` a byte.
_PCM_HEADER = rb"RIFF\C{4}WAVEfmt \C{4}\x01\x00\C{12}\x10\x00"
_PCM_HEADER_BYTES = 36


class TensorFlowFrontEnd(tf.Module):
    """Computes the features of batches of fitted clips, each as if it were alone.

    Its matrices are variables, which a SavedModel with several functions holds once.
    """

    def __init__(self, spec: FeatureSpec, by_fft: bool = False) -> None:
        """Makes the matrices of a spec.

        Args:
            spec: the front end.
            by_fft: whether the Fourier transform is `tf.signal.stft`, for TensorFlow alone, which takes 6 to 67 times
                as long for the convolutions.
        """
        super().__init__(name=SCOPE)
        self._spec = spec
        kernels = None if by_fft else _fourier_kernels(spec)
        # Where a step is longer than the kernel, the oneDNN of TensorFlow 2.21 may write past its memory; so zeros
        # lengthen the kernel.
        self._past = 0 if kernels is None else max(0, spec.hop_samples - len(kernels))
        self._kernels = None if kernels is None else _constant(np.pad(kernels, [(0, self._past)] + [(0, 0)] * 3))
        self._mel = None if spec.front_end == "stft" else _constant(mel_weights(spec))
        self._cosines = _constant(cosine_weights(spec)) if spec.front_end == "mfcc" else None

    def __call__(self, waveforms: tf.Tensor) -> tf.Tensor:
        """Computes features.

        Args:
            waveforms: float32 of shape (clips, spec.clip_samples); where the spec has no clip length, (clips, samples),
                all of them real, `spec.least_samples` at least.

        Returns:
            float32 of shape (clips, *spec.shape), rounded to spec.storage_dtype.
        """
        with tf.name_scope(SCOPE):
            bands = self._spectrum(waveforms)
            if self._mel is not None:
                bands = _log(tf.matmul(bands, self._mel), self._spec)  # (clips, frames, bands)
            if self._cosines is not None:
                bands = tf.matmul(bands, self._cosines)
            if self._spec.pool is not None:
                # A float32 sum over the frames of an hour would lose what the front end keeps, and not every format
                # has float64; what is left of the mean is small.
                mean = tf.reduce_mean(bands, axis=1, keepdims=True)
                bands = tf.squeeze(mean + tf.reduce_mean(bands - mean, axis=1, keepdims=True), axis=1)
            return _rounded(bands, self._spec.storage_dtype)

    def _spectrum(self, waveforms: tf.Tensor) -> tf.Tensor:
        """Returns magnitudes or power of the short-time Fourier transform: (clips, frames, bins)."""
        if self._spec.centred:
            half = (self._spec.fft_samples or 0) // 2
            waveforms = tf.pad(waveforms, [[0, 0], [half, half]])
        real, imaginary = self._transform(waveforms)
        power = tf.square(real) + tf.square(imaginary)
        return power if self._spec.spectrum_power == 2 else tf.sqrt(power)

    def _transform(self, waveforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the parts of the short-time Fourier transform: (clips, frames, bins) each."""
        spec = self._spec
        if self._kernels is None:
            # Its Hann window is the one of features.frontend.spectrogram: symmetric where the length is an odd number.
            spectrum = tf.signal.stft(waveforms, spec.window_samples, spec.hop_samples, spec.fft_samples)
            return tf.math.real(spectrum), tf.math.imag(spectrum)
        if self._past:
            waveforms = tf.pad(waveforms, [[0, 0], [0, self._past]])
        # Not by `[..., tf.newaxis]`, which LiteRT converts to what it cannot run where the number of clips is free.
        samples = tf.expand_dims(tf.expand_dims(waveforms, axis=2), axis=3)  # (clips, samples, 1, 1)
        parts = tf.nn.conv2d(samples, self._kernels, (spec.hop_samples, 1), "VALID")
        real, imaginary = tf.split(tf.squeeze(parts, axis=2), 2, axis=2)
        return real, imaginary


def require_frames(waveforms: tf.Tensor, spec: FeatureSpec) -> tf.Tensor:
    """Returns waveforms that have a frame, where TensorFlow runs the operations.

    Raises:
        tf.errors.InvalidArgumentError: they are shorter than one window where nothing is padded; raised when the
            operations run.
    """
    samples = tf.shape(waveforms)[1]
    long_enough = _require(
        samples >= spec.least_samples,
        "waveforms of ",
        tf.strings.as_string(samples),
        f" samples are too short; give {spec.least_samples} or more",
    )
    with tf.control_dependencies([long_enough]):
        return tf.identity(waveforms)


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


def _fourier_kernels(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the cosines and then the sines of all bins under the window: (window, 1, 1, 2 * bins)."""
    fft_samples = spec.fft_samples or 0
    turns = np.outer(np.arange(spec.window_samples), np.arange(fft_samples // 2 + 1)) % fft_samples
    phase = 2.0 * np.pi * turns / fft_samples
    kernels = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * hann_window(spec)[:, np.newaxis]
    return np.asarray(kernels[:, np.newaxis, np.newaxis], np.float32)


def _constant(matrix: NDArray[np.float32]) -> tf.Variable:
    return tf.Variable(matrix, trainable=False, dtype=tf.float32)


def _rounded(bands: tf.Tensor, dtype: str) -> tf.Tensor:
    """Returns float32 values as a set keeps them: rounded to a dtype, and float32 again."""
    if dtype == "float32":
        return bands
    # tf2onnx (1.17) leaves out two casts that follow each other there and back, and with them what is rounded.
    kept = tf.cast(bands, dtype)
    return tf.cast(tf.reshape(kept, tf.shape(kept)), tf.float32)


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
