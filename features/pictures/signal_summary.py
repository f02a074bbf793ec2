"""What is drawn of a sound: the range of its samples and its spectrum in a thousand columns, however long it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, AudioSource, decode

# More columns than a picture has dots for would not be seen.
_MAX_COLUMNS = 1000
# Of a long recording, so many samples of all channels are read at a time where a column is not longer.
_READ_SAMPLES = 2**18
# A window this long separates tones without blurring words.
_WINDOW_SECONDS = 0.025
_MIN_WINDOW_SAMPLES = 64


@dataclass(frozen=True)
class Trace:
    """A sound as a picture shows it.

    Attributes:
        rate_hz: sample rate.
        samples: number of samples per channel.
        column_seconds: how much time a column of `low` and `high` stands for; the last may be shorter.
        low: smallest sample of each column and channel: (columns, channels).
        high: largest sample of each column and channel: (columns, channels).
        rms: root of the mean square of all samples of all channels.
        spectrum_column_seconds: how much time a column of `spectrum` stands for.
        spectrum: amplitude of the loudest frame of each column, root mean square over the channels, a sine of full
            scale has 1: (columns, bins); the bins go from 0 Hz to half the sample rate.
    """

    rate_hz: int
    samples: int
    column_seconds: float
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    rms: float
    spectrum_column_seconds: float
    spectrum: NDArray[np.float32]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.low.shape[1])

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.rate_hz

    @property
    def minimum(self) -> float:
        """The smallest sample, full scale at -1."""
        return float(self.low.min())

    @property
    def maximum(self) -> float:
        """The largest sample, full scale at 1."""
        return float(self.high.max())

    @property
    def peak(self) -> float:
        """The largest absolute sample."""
        return abs(max(-self.minimum, self.maximum))  # not -0 where all is silent


def trace_waveform(waveform: NDArray[np.float32], rate_hz: int) -> Trace:
    """Traces a waveform of shape (samples,), one sample at least."""
    return _trace(lambda first, count: waveform[first : first + count, None], len(waveform), 1, rate_hz)


def trace_file(source: AudioSource, info: AudioInfo) -> Trace:
    """Traces a file with all its channels at its own rate, block by block.

    Args:
        source: path or content of the file.
        info: what `probe` said of it; it has one sample at least.

    Raises:
        ClipError: the file is damaged, or holds values that are not finite.
    """
    return _trace(lambda first, count: decode(source, info, first, count), info.frames, info.channels, info.rate_hz)


def _trace(read: Callable[[int, int], NDArray[np.float32]], samples: int, channels: int, rate_hz: int) -> Trace:
    """Traces what `read(first, count)` returns: (at most count, channels)."""
    window = max(_MIN_WINDOW_SAMPLES, 2 ** round(np.log2(_WINDOW_SECONDS * rate_hz)))
    hop = window // 4
    step = -(-samples // _MAX_COLUMNS)  # samples per column
    spectrum_step = step * max(1, -(-hop // step))
    lows, highs, spectra, squares, counted = [], [], [], 0.0, 0
    block = spectrum_step * max(1, _READ_SAMPLES // (spectrum_step * channels))
    for first in range(0, samples, block):
        # Half a window on both sides, so that a frame's middle is where its column begins.
        lead = min(first, window // 2)
        wanted = min(block, samples - first)
        around = read(first - lead, lead + wanted + window)
        inside = around[lead : lead + wanted]
        squares += float(np.square(inside, dtype=np.float64).sum())
        counted += inside.size
        low, high = _ranges(inside, wanted, step)
        lows.append(low)
        highs.append(high)
        padded = np.zeros((window // 2 + block + window, channels), dtype=np.float32)
        padded[window // 2 - lead : window // 2 - lead + len(around)] = around[: len(padded) - (window // 2 - lead)]
        spectra.append(_spectra(padded, -(-wanted // spectrum_step), spectrum_step, hop, window))
    return Trace(
        rate_hz=rate_hz,
        samples=samples,
        column_seconds=step / rate_hz,
        low=np.concatenate(lows),
        high=np.concatenate(highs),
        rms=float(np.sqrt(squares / max(1, counted))),
        spectrum_column_seconds=spectrum_step / rate_hz,
        spectrum=np.concatenate(spectra),
    )


def _ranges(samples: NDArray[np.float32], wanted: int, step: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the smallest and the largest sample of each column: (columns, channels) each."""
    if len(samples) < wanted:  # a damaged file may end early
        samples = np.pad(samples, ((0, wanted - len(samples)), (0, 0)))
    starts = np.arange(0, wanted, step)
    return np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)


def _spectra(padded: NDArray[np.float32], columns: int, step: int, hop: int, window: int) -> NDArray[np.float32]:
    """Returns the amplitudes of the loudest frame of each column: (columns, bins)."""
    from scipy.fft import rfft  # which takes a tenth of a second to load, and --help does not need

    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, axis=0)  # (samples, channels, window)
    result = np.empty((columns, window // 2 + 1), dtype=np.float32)
    for column in range(columns):
        begin = column * step
        spectrum = rfft(frames[begin : begin + step : hop] * hann, axis=-1, workers=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)  # (frames, channels, bins)
        result[column] = np.sqrt(power.mean(axis=1).max(axis=0))
    return result * np.float32(2.0 / hann.sum())
