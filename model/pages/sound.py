"""A waveform as a sound that browsers play: MP3, or 16-bit WAV where that is smaller.

By their documentation Chromium, Firefox and Safari play both; Chromium is tested, at each of the rates. Opus would be a
tenth smaller at 16 kHz, but Safari plays it in an Ogg file only since version 18.4, and it knows five rates where MP3
knows nine.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.frontend.waveform import resample

RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""The rates of MP3 (ISO/IEC 11172-3 and 13818-3, and the half of the latter), which each browser plays."""

_QUALITY = "HQ"
MP3, WAV = "audio/mpeg", "audio/wav"
_FORMATS = {MP3: ("MP3", "MPEG_LAYER_III"), WAV: ("WAV", "PCM_16")}


@dataclass(frozen=True)
class Sound:
    """A sound in a page.

    Attributes:
        media_type: of its content.
        content: the bytes of a file.
        seconds: its duration.
    """

    media_type: str
    content: bytes
    seconds: float


def played_rate_hz(rate_hz: int) -> int:
    """Returns the rate at which a sound of some rate is played: its own, else the next one that each browser knows.

    What lies above 24 kHz is left out thereby, which nobody hears.
    """
    return next((known for known in RATES_HZ if known >= rate_hz), RATES_HZ[-1])


def encode_sound(waveform: NDArray[np.float32], rate_hz: int, media_types: Sequence[str] = (MP3, WAV)) -> Sound:
    """Returns a waveform as a file, the smaller one of MP3 and 16-bit WAV.

    Args:
        waveform: float32 of shape (samples,), one at least; what is beyond full scale is cut off there.
        rate_hz: its rate.
        media_types: those of the two that it may be.
    """
    import soundfile

    rate = played_rate_hz(rate_hz)
    played = waveform if rate == rate_hz else resample(waveform, rate_hz, rate, _QUALITY)
    if not len(played):  # less than a sample of that rate
        played = waveform[:1]
    played = np.clip(played, -1.0, 1.0)
    files = {}
    for media_type in media_types:
        file = io.BytesIO()
        soundfile.write(file, played, rate, format=_FORMATS[media_type][0], subtype=_FORMATS[media_type][1])
        files[media_type] = file.getvalue()
    media_type = min(files, key=lambda name: len(files[name]))
    return Sound(media_type, files[media_type], len(played) / rate)
