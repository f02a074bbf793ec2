"""What a page knows of one clip or window: what it is, what is said of it, how it looks and how it sounds."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.pictures.image import image_of, spectrogram_image
from features.pictures.signal_summary import trace_waveform
from features.sources.paths import csv_path
from model.pages.sound import encode_sound

MOST_TOP = 5
"""Of the most probable classes, so many are shown."""

_ENVELOPE_COLUMNS = 160
_LARGEST = 127


def card(
    path: str,
    seconds: tuple[float, float],
    label: str,
    top: Sequence[tuple[str, float]],
    waveform: NDArray[np.float32] | None,
    rate_hz: int,
    values: NDArray[np.floating] | None = None,
) -> dict[str, Any]:
    """Returns a card, ready for JSON; see `assets/clips.js` for what is made of it.

    Args:
        path: of the file, as `escape_path` writes it.
        seconds: where the clip begins and where it ends within its file.
        label: that is judged: of the set, or that was given.
        top: classes and probabilities, the most probable first; at most `MOST_TOP` are kept.
        waveform: that is shown and played, (samples,), one at least; None where the recording is not there.
        rate_hz: its rate.
        values: features that are shown instead of the spectrogram of the waveform: (frames, bands).
    """
    result: dict[str, Any] = {
        "path": csv_path(path),
        "start": round(seconds[0], 6),
        "end": round(seconds[1], 6),
        "label": label,
        "predicted": top[0][0],
        "top": [[name, round(float(probability), 6)] for name, probability in top[:MOST_TOP]],
    }
    if values is not None:
        result["image"] = _text(image_of(values))
    if waveform is not None:
        result |= sound_of(waveform, rate_hz)
        if values is None:
            result["image"] = _text(spectrogram_image(trace_waveform(waveform, rate_hz)))
    return result


def sound_of(waveform: NDArray[np.float32], rate_hz: int) -> Mapping[str, Any]:
    """Returns the part of a card that is heard: `sound`, `type`, `seconds`, `envelope`, and `peak` of full scale."""
    sound = encode_sound(waveform, rate_hz)
    return {
        "sound": _text(sound.content),
        "type": sound.media_type,
        "seconds": round(sound.seconds, 6),
        "envelope": _text(envelope(waveform).tobytes()),
        "peak": float(f"{min(_peak(waveform), 1.0):.3g}"),
    }


def envelope(waveform: NDArray[np.float32]) -> NDArray[np.int8]:
    """Returns the smallest and the largest sample of each of some columns, the loudest one at 127: (columns, 2)."""
    begins = np.unique(np.linspace(0, len(waveform), _ENVELOPE_COLUMNS, endpoint=False).astype(np.int64))
    both = np.stack([np.minimum.reduceat(waveform, begins), np.maximum.reduceat(waveform, begins)], axis=1)
    peak = _peak(waveform)
    return np.asarray(np.round(both * (_LARGEST / peak)) if peak else both, np.int8)


def _peak(waveform: NDArray[np.float32]) -> float:
    return float(np.abs(waveform).max())


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
