"""Labels samples that are in memory already, as scoring labels a file of them."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.audio.decode import LEAST_RATE_HZ, MOST_RATE_HZ
from features.errors import NOT_FINITE_FEATURES, ClipError, UsageError
from features.frontend.windows import Windowing, waveform_windows
from model.inference.executor import Executor
from model.inference.litert import BATCH_CLIPS
from model.labels.window_rows import WindowRows
from model.scoring.label_windows import WindowLabeller


def label_waveform(
    network: Executor,
    samples: NDArray[np.float32],
    rate_hz: int,
    windowing: Windowing,
    embeddings: str | None = None,
) -> WindowRows:
    """Labels every window of a waveform.

    Args:
        network: which labels them.
        samples: as `read_waveform` gives them.
        rate_hz: their rate.
        windowing: where windows begin, and which last one is kept.
        embeddings: type of the embeddings that windows get, None for none.

    Returns:
        Its windows, of a recording with an empty path.

    Raises:
        UsageError: they cannot be used.
    """
    labeller = WindowLabeller(network, BATCH_CLIPS, embeddings)
    try:
        for window in waveform_windows(samples, rate_hz, network.spec, windowing):
            labeller.take(window)
            if labeller.not_finite:
                break
    except ClipError as error:
        raise UsageError(f"the waveform cannot be used: {error.message}") from error
    labeller.finish()
    if labeller.not_finite:
        raise UsageError(f"the waveform cannot be used: {NOT_FINITE_FEATURES}")
    return labeller.labels(1, {}, []).rows([""])


def read_waveform(waveform: ArrayLike, rate_hz: int | None) -> tuple[NDArray[np.float32], int]:
    """Checks a waveform and its rate.

    Args:
        waveform: floating-point samples of shape (samples,) or (samples, channels), full scale at 1.
        rate_hz: their rate.

    Returns:
        The samples, float32 of shape (samples, channels), and the rate.

    Raises:
        UsageError: one of them is not what it should be.
    """
    samples = np.asarray(waveform)
    if rate_hz is None:
        raise UsageError("a waveform does not say its sample rate; give it: sample_rate_hz=16000, say")
    whole = isinstance(rate_hz, Real) and not isinstance(rate_hz, bool) and float(rate_hz).is_integer()
    if not whole or not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
        raise UsageError(
            f"sample_rate_hz is a whole number from {LEAST_RATE_HZ:,} to {MOST_RATE_HZ:,}, not {rate_hz!r}"
        )
    if samples.dtype.kind != "f":
        raise UsageError(f"a waveform is of floats with full scale at 1, not {samples.dtype}; divide 16-bit samples by "
                         "32768")  # fmt: skip
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise UsageError(f"a waveform has shape (samples,) or (samples, channels), not {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise UsageError(f"a waveform of shape {samples.shape} has more channels than samples: it is (samples, "
                         "channels); transpose it")  # fmt: skip
    with np.errstate(over="ignore"):
        samples = samples.reshape(len(samples), -1).astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        raise UsageError("a waveform holds finite numbers, and this one has others; remove them before")
    return samples, int(rate_hz)
