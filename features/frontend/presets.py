"""Specs by name, and specs from TOML files."""

import math
import tomllib
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.runtime.log import LOG

PRESETS: dict[str, dict[str, Any]] = {
    # The spectrogram of TensorFlow's audio recognition tutorial: (124, 129).
    "speech-commands": {
        "front_end": "stft",
        "sample_rate_hz": 16_000,
        "clip_seconds": 1.0,
        "window_samples": 255,
        "hop_samples": 128,
        "fft_samples": 256,
    },
    # 25 ms windows every 10 ms, 64 Slaney bands: (98, 64).
    "log-mel": {
        "front_end": "log_mel",
        "sample_rate_hz": 16_000,
        "clip_seconds": 1.0,
        "window_samples": 400,
        "hop_samples": 160,
        "fft_samples": 512,
        "mel_filter_bank": "slaney",
        "mel_bands": 64,
        "mel_low_hz": 20.0,
        "mel_high_hz": 8_000.0,
        "log_scale": "natural",
        "log_offset": 1e-3,
    },
    # 30 ms windows every 10 ms, 40 Slaney bands: (98, 40). Fewer numbers than `log-mel`, and `residual` is as accurate
    # on them.
    "log-mel-40": {
        "front_end": "log_mel",
        "sample_rate_hz": 16_000,
        "clip_seconds": 1.0,
        "window_samples": 480,
        "hop_samples": 160,
        "fft_samples": 512,
        "mel_filter_bank": "slaney",
        "mel_bands": 40,
        "mel_low_hz": 20.0,
        "mel_high_hz": 8_000.0,
        "log_scale": "natural",
        "log_offset": 1e-3,
    },
    # The mean of librosa's MFCCs over all frames of a file of any length: (40,).
    "urbansound-mfcc": {
        "front_end": "mfcc",
        "sample_rate_hz": 22_050,
        "window_samples": 2048,
        "hop_samples": 512,
        "fft_samples": 2048,
        "centred": True,
        "spectrum_power": 2,
        "mel_filter_bank": "slaney",
        "mel_bands": 128,
        "mel_low_hz": 0.0,
        "mel_high_hz": 11_025.0,
        "log_scale": "decibel",
        "log_offset": 1e-10,
        "dynamic_range_db": 80.0,
        "coefficients": 40,
        "pool": "mean",
    },
}
# Lengths that a file may give in seconds.
_IN_SECONDS = ("window", "hop")
DEFAULT_PRESET = "log-mel-40"
"""The preset where none is given; the fields of a preset never change."""


def preset(name: str) -> FeatureSpec:
    """Returns a preset by its name; raises `UsageError` for another name."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}; there are {', '.join(sorted(PRESETS))}")
    return FeatureSpec.from_dict(PRESETS[name])


def preset_name(spec: FeatureSpec) -> str | None:
    """Returns the name of the preset that a spec equals, None where it is one of its own."""
    return next((name for name in PRESETS if preset(name).fingerprint == spec.fingerprint), None)


def load_spec(path: str) -> FeatureSpec:
    """Reads a spec from a TOML file: all fields, or `preset = "NAME"` and the fields that differ from it.

    `window_seconds` and `hop_seconds` may stand for `window_samples` and `hop_samples`, which the spec has: rounded at
    its sample rate. With `window_seconds` alone, `fft_samples` follows from the window. Warns where another sample rate
    than the preset's leaves what the preset counts in samples or ends at half its rate as it is.
    """
    try:
        fields = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the spec {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the spec {path} is not TOML: {error}") from error
    base = fields.pop("preset", None)
    if base is not None and (not isinstance(base, str) or base not in PRESETS):
        raise UsageError(f"{path}: no preset {base!r}; there are {', '.join(sorted(PRESETS))}")
    begun = PRESETS[base] if base is not None else {}
    given = _in_samples(fields, begun, path)
    spec = FeatureSpec.from_dict({**begun, **given}, where=path)
    if base is not None:
        _warn_of_rate(base, given, spec, path)
    return spec


def _in_samples(fields: dict[str, Any], begun: dict[str, Any], path: str) -> dict[str, Any]:
    """Returns fields of a file with samples for seconds; `begun` are those that they differ from."""
    given = dict(fields)
    rate_hz = given.get("sample_rate_hz", begun.get("sample_rate_hz"))
    for name in _IN_SECONDS:
        if (seconds := given.pop(f"{name}_seconds", None)) is None:
            continue
        if f"{name}_samples" in given:
            raise UsageError(f"{path}: {name}_samples and {name}_seconds are one length; give one of them")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise UsageError(f"{path}: {name}_seconds is a number above 0, not {seconds!r}")
        if isinstance(rate_hz, bool) or not isinstance(rate_hz, int):
            raise UsageError(f"{path}: {name}_seconds needs sample_rate_hz, a whole number, not {rate_hz!r}; give it, "
                             'or begin with preset = "..."')  # fmt: skip
        given[f"{name}_samples"] = round(seconds * rate_hz)
    if "window_seconds" in fields and "fft_samples" not in given:
        window = given["window_samples"]
        is_centred = given.get("centred", begun.get("centred", False))
        given["fft_samples"] = window if is_centred else 1 << max(0, window - 1).bit_length()
    return given


def _warn_of_rate(base: str, given: dict[str, Any], spec: FeatureSpec, path: str) -> None:
    """Warns of what stays as in a preset although it was meant for the preset's sample rate."""
    rate_hz = PRESETS[base]["sample_rate_hz"]
    if spec.sample_rate_hz == rate_hz:
        return
    kept, instead = [], []
    if spec.mel_high_hz is not None and "mel_high_hz" not in given:
        kept.append(f"mel_high_hz = {spec.mel_high_hz:g}, above which nothing is used")
        instead.append(f"mel_high_hz = {spec.sample_rate_hz / 2:g}")
    for name in _IN_SECONDS:
        if f"{name}_samples" in given:
            continue
        samples = getattr(spec, f"{name}_samples")
        kept.append(f"{name}_samples = {samples}, {1000 * samples / spec.sample_rate_hz:.4g} ms instead of "
                    f"{1000 * samples / rate_hz:.4g}")  # fmt: skip
        instead.append(f"{name}_seconds = {samples / rate_hz:.6g}")
    if kept:
        LOG.warning("warning: %s changes the sample rate of the preset %s from %d to %d Hz and keeps %s; give %s, or "
                    "these values themselves if they are meant", path, base, rate_hz, spec.sample_rate_hz,
                    "; ".join(kept), ", ".join(instead))  # fmt: skip
