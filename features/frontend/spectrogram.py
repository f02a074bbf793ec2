"""The front end: waveforms to spectrograms, mel bands or MFCCs, in batches.

One sentence holds for every front end: float32 waveforms of shape (clips, spec.clip_samples) become features of shape
(clips, *spec.shape), and a clip's values are the same to the bit whatever batch it came in. That is why spectra are
taken of frames in a ready buffer, all between is elementwise, and matrices are applied clip by clip (`matmul` in three
dimensions) on one BLAS thread. A spec without a clip length takes waveforms of any lengths, one after the other. What
a network makes of windows is computed in `features/frontend/embedding.py`.
"""

import contextlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from features.audio.plain_wav import PCM_SCALE
from features.frontend.embedding import Embedder
from features.frontend.embedding_spec import EMBEDDING
from features.frontend.mel import cosine_matrix, mel_matrix
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location
from features.runtime.blas_threads import one_blas_thread

Batch = NDArray[np.float32]
Waveform = NDArray[np.float32] | NDArray[np.int16]
"""Samples of a clip: float32 with full scale at 1, or those of a 16-bit PCM WAV as they are."""

_BLOCK_BYTES, _BLOCK_CLIPS = 2**19, 8
_MEL_BLOCK_BANDS = 16
_SUM_OF_PARTS = np.complex64(1 - 1j)


@cache
def block_clips(spec: FeatureSpec) -> int:
    """Returns how many clips are worked on at a time: so few that their spectra stay in the cache of a core.

    With a network as front end there are enough of them to fill its batches.

    Waveforms of their own lengths gain nothing from a batch, and one may be long.
    """
    if spec.clip_samples is None:
        return 1
    if spec.fft_samples is None:
        return _BLOCK_CLIPS
    spectrum_bytes = spec.count_frames(spec.clip_samples) * (spec.fft_samples // 2 + 1) * np.complex64().nbytes
    return min(_BLOCK_CLIPS, max(1, _BLOCK_BYTES // spectrum_bytes))


def compute_features(
    waveforms: Batch | Sequence[NDArray[np.float32]], spec: FeatureSpec, networks: Location | None = None
) -> NDArray[np.floating]:
    """Computes the features of a batch of fitted clips.

    Args:
        waveforms: float32 of shape (clips, spec.clip_samples); where the spec has no clip length, (samples,) of each
            clip, `spec.least_samples` at least.
        spec: the front end.
        networks: folder with the network of the front end, where it is one.

    Returns:
        spec.storage_dtype of shape (clips, *spec.shape); of waveforms that are too loud for it not finite.

    Raises:
        ValueError: the waveforms have another shape.
        UsageError: the network is missing or damaged.
    """
    result = np.empty((len(waveforms), *spec.shape), dtype=spec.storage_dtype)
    FrontEnd(spec, networks).compute(waveforms, result)
    return result


class FrontEnd:
    """Computes features batch after batch, in memory that it keeps."""

    def __init__(self, spec: FeatureSpec, networks: Location | None = None) -> None:
        """Takes the spec, and reads its network where this process has not; what an object holds is for one thread.

        Args:
            spec: the front end.
            networks: folder with the file `spec.network_name`; front ends without a network need none.

        Raises:
            UsageError: the network is missing or damaged.
        """
        self.spec = spec
        self._embedder = Embedder(spec, networks) if spec.front_end == EMBEDDING else None
        self._block: _Block | None = None
        self._block_clips = block_clips(spec)

    def compute(self, waveforms: Batch | Sequence[Waveform], out: NDArray[np.floating]) -> None:
        """Does what `compute_features` does, and writes what that returns into `out`.

        Waveforms of int16 are taken as they are too, unless the front end is a network: values are the same to the bit
        as of the same samples in float32.
        """
        spec, step = self.spec, self._block_clips
        # Only matrices go through BLAS.
        one_thread = one_blas_thread() if spec.mel_bands else contextlib.nullcontext()
        with one_thread, np.errstate(over="ignore", invalid="ignore"):
            if self._embedder is not None:
                for first in range(0, len(waveforms), step):
                    _checked_samples(waveforms[first : first + step], spec)
                self._embedder.compute(waveforms, out)  # type: ignore[arg-type]
                return
            for first in range(0, len(waveforms), step):
                block = waveforms[first : first + step]
                samples = _checked_samples(block, spec)
                if self._block is None or self._block.samples != samples:
                    self._block = _Block(step, samples, spec)
                self._block.compute(block, out[first : first + step])
        if spec.clip_samples is None and self._block is not None and self._block.bytes > _BLOCK_BYTES:
            self._block = None  # the next is as long as that only by chance, and it may be an hour


def _checked_samples(waveforms: Batch | Sequence[Waveform], spec: FeatureSpec) -> int:
    """Returns the length that waveforms have in common."""
    shape = np.shape(waveforms[0])
    alike = len(shape) == 1 and all(waveform.shape == shape for waveform in waveforms)
    if alike and spec.clip_samples in (None, shape[0]) and shape[0] >= spec.least_samples:
        return int(shape[0])
    length = spec.clip_samples or f"{spec.least_samples} or more"
    found = np.shape(waveforms) if isinstance(waveforms, np.ndarray) else [np.shape(one) for one in waveforms]
    raise ValueError(f"waveforms have shape (clips, {length}), not {found}")


class _Block:
    """Some clips on their way from samples to features, in memory that is there already."""

    def __init__(self, clips: int, samples: int, spec: FeatureSpec) -> None:
        from scipy.fft import rfft  # which takes a tenth of a second to load, and --help does not need

        self._rfft = rfft
        transform = spec.fft_samples or 0
        half = transform // 2 if spec.centred else 0
        count = spec.count_frames(samples)
        # Frames are as long as the transform and the window is zero where it is shorter.
        length = max(samples + 2 * half, (count - 1) * spec.hop_samples + transform)
        padded = np.zeros((clips, length), dtype=np.float32)
        self.samples, self._spec = samples, spec
        self._waveforms = padded[:, half : half + samples]
        # (clips, frames, fft_samples); numpy's own functions for such views take longer than a clip's transform.
        steps = padded.strides[0], spec.hop_samples * padded.itemsize, padded.itemsize
        self._frames = np.ndarray((clips, count, transform), np.float32, padded, strides=steps)
        self._windowed = np.empty(self._frames.shape, dtype=np.float32)
        self.bytes = self._windowed.nbytes
        window = _padded_window(spec)
        self._window, self._pcm_window = window, window * PCM_SCALE
        self._bins = np.empty((clips, count, transform // 2 + 1), dtype=np.float32)
        self._mel_blocks = _mel_blocks(spec) if spec.mel_bands else []
        self._bands = np.empty((clips, count, spec.mel_bands or 0), dtype=np.float32)

    def compute(self, waveforms: Batch | Sequence[Waveform], out: NDArray[np.floating]) -> None:
        """Writes the features of as many clips as there is room for, or fewer."""
        spec, clips = self._spec, len(waveforms)
        # What is not to be pooled nor stored in other numbers is computed where it is wanted.
        direct = out if spec.pool is None and out.dtype == np.float32 and out.flags.c_contiguous else None
        stft, log_mel = spec.front_end == "stft", spec.front_end == "log_mel"
        values = direct if stft and direct is not None else self._bins[:clips]
        _magnitudes(self._spectrum(waveforms), spec.spectrum_power, values)  # (clips, frames, bins)
        if not stft:
            bins, values = values, direct if log_mel and direct is not None else self._bands[:clips]
            for used, made, weights in self._mel_blocks:
                np.matmul(bins[..., used], weights, out=values[..., made])
            _log(values, spec)  # (clips, frames, bands)
        if spec.front_end == "mfcc":
            values = np.matmul(values, cosine_weights(spec), out=direct)  # (clips, frames, coefficients)
        if spec.pool is not None:
            # Clip by clip, so that the order of the sum never follows from the batch.
            for row, clip in enumerate(values):
                out[row] = clip.mean(axis=0, dtype=np.float64).astype(np.float32)
        elif direct is None:
            out[...] = values

    def _spectrum(self, waveforms: Batch | Sequence[Waveform]) -> NDArray[np.complex64]:
        """Returns the short-time Fourier transform: (clips, frames, bins)."""
        clips = len(waveforms)
        of_pcm = all(waveform.dtype == np.int16 for waveform in waveforms)
        for row, waveform in enumerate(waveforms):
            self._waveforms[row] = waveform
            if waveform.dtype == np.int16 and not of_pcm:
                self._waveforms[row] *= PCM_SCALE
        windowed = self._windowed[:clips]
        np.multiply(self._frames[:clips], self._pcm_window if of_pcm else self._window, out=windowed)
        spectrum: NDArray[np.complex64] = self._rfft(windowed, axis=-1, workers=1)
        return spectrum


def _magnitudes(spectrum: NDArray[np.complex64], power: int, out: Batch) -> None:
    """Writes the absolute values of a spectrum, or their squares; what it holds is written over."""
    # Not by `abs`, which rounds otherwise: what was computed before shall stay what it is.
    parts = spectrum.view(np.float32)  # (clips, frames, 2 * bins)
    np.multiply(parts, parts, out=parts)
    if power == 1:
        # (a + bi)(1 - i) has a + b as its real part, rounded once: numpy adds what does not lie together half as fast.
        np.multiply(spectrum, _SUM_OF_PARTS, out=spectrum)
        np.sqrt(spectrum.real, out=out)
    else:
        np.add(parts[..., ::2], parts[..., 1::2], out=out)


def _log(bands: Batch, spec: FeatureSpec) -> None:
    """Takes the logarithm of mel bands, in place: (clips, frames, bands)."""
    offset = np.float32(spec.log_offset or 0.0)
    if spec.log_scale == "natural":
        bands += offset
        np.log(bands, out=bands)
        return
    np.maximum(bands, offset, out=bands)
    np.log10(bands, out=bands)
    bands *= np.float32(10.0)
    if spec.dynamic_range_db is not None:
        loudest = bands.max(axis=(1, 2), keepdims=True)  # of each clip, never of the batch
        np.maximum(bands, loudest - np.float32(spec.dynamic_range_db), out=bands)


@cache
def hann_window(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the Hann window (Harris, 1978) as `tf.signal.hann_window` has it.

    It is periodic where the length is even, as librosa and scipy take it; where it is odd, as the tutorial's 255 is,
    TensorFlow's is the symmetric one.
    """
    period = spec.window_samples - spec.window_samples % 2
    phase = 2.0 * np.pi * np.arange(spec.window_samples) / max(period, 1)
    window = 0.5 - 0.5 * np.cos(phase)
    return (window if period else np.ones(1)).astype(np.float32)


@cache
def _padded_window(spec: FeatureSpec) -> NDArray[np.float32]:
    return np.pad(hann_window(spec), (0, (spec.fft_samples or 0) - spec.window_samples))


@cache
def mel_weights(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the weights from the bins of a spectrum to the mel bands of a spec: (bins, bands)."""
    return mel_matrix(
        spec.mel_filter_bank or "",
        spec.mel_bands or 0,
        spec.fft_samples or 0,
        spec.sample_rate_hz,
        spec.mel_low_hz or 0.0,
        spec.mel_high_hz or 0.0,
    )


@cache
def _mel_blocks(spec: FeatureSpec) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """Returns the weights in blocks, each with the bins that it reads and the bands that it makes.

    Of the whole matrix 97 % and more is zero, and the blocks are a third of its work.
    """
    weights = mel_weights(spec)
    blocks = []
    for first in range(0, weights.shape[1], _MEL_BLOCK_BANDS):
        made = slice(first, first + _MEL_BLOCK_BANDS)
        bins = np.flatnonzero(weights[:, made].any(axis=1))
        used = slice(bins[0], bins[-1] + 1) if bins.size else slice(0)  # a narrow band may lie between two bins
        blocks.append((used, made, np.ascontiguousarray(weights[used, made])))
    return blocks


@cache
def cosine_weights(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the weights from log mel bands to the coefficients of a spec: (bands, coefficients)."""
    return cosine_matrix(spec.mel_bands or 0, spec.coefficients or 0)
