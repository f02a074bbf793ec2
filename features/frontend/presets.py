"""Specs by name, and specs from TOML files."""

import tomllib
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.frontend.spec import FeatureSpec

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
    """Reads a spec from a TOML file: all fields, or `preset = "NAME"` and the fields that differ from it."""
    try:
        fields = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the spec {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the spec {path} is not TOML: {error}") from error
    base = fields.pop("preset", None)
    if base is not None:
        if not isinstance(base, str) or base not in PRESETS:
            raise UsageError(f"{path}: no preset {base!r}; there are {', '.join(sorted(PRESETS))}")
        fields = {**PRESETS[base], **fields}
    return FeatureSpec.from_dict(fields, where=path)
