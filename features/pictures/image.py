"""An array of numbers as a small picture: a compressed file, without axes, for a page that draws them itself."""

import io

import numpy as np
from numpy.typing import NDArray

from features.pictures.drawing import DRAWN_DECIBELS, MAP, decibels
from features.pictures.signal_summary import Trace

_QUALITY = 60
_MOST_FRAMES, _MOST_BANDS = 400, 160


def image_of(
    values: NDArray[np.floating],
    lowest: float | None = None,
    highest: float | None = None,
    most_frames: int = _MOST_FRAMES,
) -> bytes:
    """Returns an array as a WebP file, which Chromium, Firefox and Safari show: time to the right, bands upwards.

    Args:
        values: finite, of shape (frames, bands), one of each at least; where there are more than a small picture has
            dots for, neighbours are averaged.
        lowest: what the darkest colour stands for, the least value where None.
        highest: what the brightest colour stands for, the largest value where None.
        most_frames: how many frames are shown at most.
    """
    from matplotlib import colormaps
    from PIL import Image

    shown = _averaged(_averaged(values.astype(np.float32), most_frames).T, _MOST_BANDS)  # (bands, frames)
    low = float(shown.min()) if lowest is None else lowest
    high = float(shown.max()) if highest is None else highest
    scaled = np.clip((shown - low) / (high - low), 0, 1) if high > low else np.zeros_like(shown)
    coloured = colormaps[MAP](scaled[::-1], bytes=True)[..., :3]  # (bands, frames, 3), the lowest band last
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(coloured)).save(file, format="WEBP", quality=_QUALITY, method=4)
    return file.getvalue()


def spectrogram_image(trace: Trace, most_frames: int = _MOST_FRAMES) -> bytes:
    """Returns the spectrogram of a sound as a picture: its loudest 80 dB, from 0 Hz to half its rate."""
    levels = decibels(trace.spectrum)
    top = max(float(levels.max()), float(decibels(np.zeros(1))[0]) + DRAWN_DECIBELS)
    return image_of(levels, top - DRAWN_DECIBELS, top, most_frames)


def _averaged(values: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Returns at most so many rows: (rows, columns) to (fewer rows, columns), neighbours averaged."""
    together = -(-len(values) // most)
    if together == 1:
        return values
    begins = np.arange(0, len(values), together)
    counts = np.diff([*begins, len(values)]).astype(np.float32)
    return np.asarray(np.add.reduceat(values, begins, axis=0) / counts[:, None], np.float32)
