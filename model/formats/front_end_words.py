"""A front end in words, for people who read a card."""

from features.frontend.presets import preset_name
from features.frontend.spec import LOUDEST, MEAN, FeatureSpec


def clip_words(spec: FeatureSpec) -> str:
    """Returns what a clip is before the front end has it."""
    channels = {MEAN: "the mean of its channels", LOUDEST: "the channel of the most energy"}.get(
        str(spec.channels), f"channel {spec.channels}"
    )
    if spec.clip_samples is None:
        length = "of any length, all of its samples real"
    else:
        length = (f"{spec.clip_samples:,} samples ({spec.clip_seconds:g} s): of a longer clip its {spec.crop}, behind "
                  "a shorter one zeros")  # fmt: skip
    return (f"one channel, {channels}, float32 with full scale at 1, at {spec.sample_rate_hz:,} Hz (soundmill "
            f"resamples by soxr, {spec.resample_quality}), {length}.")  # fmt: skip


def front_end_words(spec: FeatureSpec) -> str:
    """Returns sentences on what features are, but for those of a network."""
    window, hop = (f"{samples} samples ({1000 * samples / spec.sample_rate_hz:.3g} ms)"
                   for samples in (spec.window_samples, spec.hop_samples))  # fmt: skip
    frames = "" if spec.clip_samples is None else f", {spec.count_frames(spec.clip_samples):,} frames"
    power = "power" if spec.spectrum_power == 2 else "magnitude"
    words = (
        f"the {power} of a short-time Fourier transform: Hann windows of {window} every {hop}, "
        f"{'centred, ' if spec.centred else ''}an FFT of {spec.fft_samples}{frames}."
    )
    if spec.front_end != "stft":
        words += (f" Of it {spec.mel_bands} mel bands ({spec.mel_filter_bank}) from {spec.mel_low_hz:g} to "
                  f"{spec.mel_high_hz:,g} Hz, and of these {_logarithm(spec)}.")  # fmt: skip
    if spec.front_end == "mfcc":
        words += f" Of that the first {spec.coefficients} cepstral coefficients (DCT-II, orthonormal)."
    if spec.pool is not None:
        words += " Of all frames the mean."
    name = preset_name(spec)
    return words if name is None else f"{words} That is the preset `{name}`."


def _logarithm(spec: FeatureSpec) -> str:
    if spec.log_scale == "natural":
        return f"the natural logarithm, of each value plus {spec.log_offset:g}"
    floor = "" if spec.dynamic_range_db is None else f", at most {spec.dynamic_range_db:g} dB below the clip's loudest"
    return f"decibels, of {spec.log_offset:g} at least{floor}"
