"""From the samples of a file to the waveform that the front end takes: mono, resampled, of the clip length.

A clip longer than `clip_seconds` is cut at its own rate before it is resampled. Where the spec has no clip length, it
is used whole.
"""

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, AudioSource, decode_part, is_cut_off, probe, probe_and_decode
from features.audio.protocol import Decoded, limit_bytes
from features.errors import ClipError, Reason
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import DecodedClip, clip_length, fit_clips, to_mono, used_part

NO_SAMPLES = "the file holds no samples"


def clip_waveform(
    source: AudioSource, spec: FeatureSpec, start: int = 0, duration: int | None = None
) -> tuple[NDArray[np.float32], float, str]:
    """Decodes one clip and fits it.

    Args:
        source: path or content of the file.
        spec: the front end.
        start: first frame of the clip within the file.
        duration: frames of the clip, None for all that follow.

    Returns:
        The waveform as `fit` gives it; the seconds of the clip before it was fitted; and its warnings: `truncated` or
        `silent`, `wrong_size`, `joined`, `channels_cancel`, with `;` between them.

    Raises:
        ClipError: the clip cannot be used.
    """
    clip = decode_clip(source, spec, start, duration)
    ((waveform, warning),) = fit_clips([clip], spec)
    if isinstance(waveform, ClipError):
        raise waveform
    return waveform, clip.seconds, warning


def decode_clip(
    source: AudioSource,
    spec: FeatureSpec,
    start: int = 0,
    duration: int | None = None,
    info: AudioInfo | None = None,
    decoded: Decoded | None = None,
) -> DecodedClip:
    """Decodes what is used of one clip.

    Args:
        source: path or content of the file.
        spec: the front end.
        start: first frame of the clip within the file.
        duration: frames of the clip, None for all that follow.
        info: what `probe` said of the file, None to ask it.
        decoded: what is used of it, where `probe_and_decode` or `decode_together` gave that with `info`.

    Raises:
        ClipError: the clip cannot be used.
    """
    if info is None and start == 0 and duration is None:
        info, decoded = probe_and_decode(source, clip_length(spec))
    info = info or probe(source)
    left = max(0, info.frames - start)
    frames = left if duration is None else min(left, duration)
    if frames == 0:
        past = f"it begins at {start / info.rate_hz:.3f} s, past the end at {info.frames / info.rate_hz:.3f} s"
        raise ClipError("decode", Reason.EMPTY, NO_SAMPLES if start == 0 else past)
    check_room(frames, info, spec)
    skipped, wanted = used_part(frames, info.rate_hz, spec)
    decoded = decoded or decode_part(source, info, start + skipped, wanted)
    samples, lacks = decoded.part(0, wanted)
    if len(samples) == 0:
        raise ClipError("decode", Reason.DAMAGED, f"the header promises {info.frames} samples and none can be read")
    # One frame is what rounding start and duration from seconds may add.
    truncated = info.truncated or lacks or len(samples) < wanted or (duration is not None and duration - left > 1)
    if not truncated and start + skipped + wanted < info.frames:  # what was decoded to its end is whole
        truncated = is_cut_off(source, info)
    mono = to_mono(samples, spec.channels)
    return DecodedClip(
        mono=mono.waveform,
        rate_hz=info.rate_hz,
        mixed=mono.mixed,
        seconds=frames / info.rate_hz,
        truncated=truncated,
        header_warnings=tuple(info.header_warnings),
        cancelled=mono.cancelled,
        decoder=info.decoder,
    )


def check_room(frames: int, info: AudioInfo, spec: FeatureSpec) -> None:
    """Raises `ClipError` where a whole file would become more at the spec's rate than one of its size may."""
    if spec.clip_samples is None and 4 * frames * spec.sample_rate_hz // info.rate_hz > limit_bytes(info.size):
        raise ClipError("fit", Reason.OUT_OF_MEMORY_GUARD, f"{frames:,} samples at {info.rate_hz:,} Hz are more at "
                        f"{spec.sample_rate_hz:,} Hz than a file of its size can hold")  # fmt: skip
