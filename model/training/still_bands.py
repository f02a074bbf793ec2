"""Bands of the features in which nothing happens in training, of which a network learns nothing."""

import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.runtime.log import LOG
from features.store.statistics import Statistics

# Of half the sample rate: above it the filter of a resampler lets nothing through, whatever a recording holds.
_FILTER_SHARE = 0.95


def warn_of_still_bands(statistics: Statistics, spec: FeatureSpec) -> None:
    """Logs a warning where bands stand still in the features learnt from, with their likely cause.

    Args:
        statistics: of the features.
        spec: their front end.
    """
    still = np.flatnonzero(statistics.still_bands())
    if spec.front_end == "embedding":
        if len(still) < spec.num_bands:
            return  # of a network that has heard everything, some values are 0 for all sounds of one kind
        names, cause, there = "values", "all clips may be alike or silent", "differ there"
    elif spec.front_end == "mfcc":
        names, cause, there = "coefficients", "all clips may be alike or silent", "differ there"
    else:
        edges_hz = _lower_edges_hz(spec)
        still = still[edges_hz[still] <= _FILTER_SHARE * spec.sample_rate_hz / 2]
        names, cause, there = "bands", "the clips may be silent, or all alike there", "hold sound there"
        if len(still) and still[0] > 0 and still[-1] - still[0] + 1 == len(still):
            hz = edges_hz[still[0]]
            cause = (
                f"the recordings may be of about {2 * hz:,.0f} samples a second, below the {spec.sample_rate_hz:,} of "
                f"the spec, or have lost what is above {hz:,.0f} Hz by a filter or a codec"
            )
    if len(still):
        LOG.warning(
            "warning: %s %s of %d stand still in training: %s; nothing is learnt of them, and recordings that %s may "
            "get wrong labels: train on such recordings too, or featurize all with a spec without these %s",
            names, _ranges(still), spec.num_bands, cause, there, names,
        )  # fmt: skip


def _lower_edges_hz(spec: FeatureSpec) -> NDArray[np.float64]:
    """Returns the lowest frequency of the bins in each band of a spectrum: (bands,)."""
    from features.frontend.spectrogram import mel_weights

    transform = spec.fft_samples or 1
    bins_hz = np.arange(transform // 2 + 1, dtype=np.float64) * spec.sample_rate_hz / transform
    if spec.front_end == "stft":
        return bins_hz
    edges: NDArray[np.float64] = bins_hz[(mel_weights(spec) > 0).argmax(axis=0)]
    return edges


def _ranges(numbers: NDArray[np.int64]) -> str:
    """Returns ascending numbers as text, `0, 4 to 9`."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
