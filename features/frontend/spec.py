"""The one frozen description of a front end: everything that changes a feature value, and nothing else."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from features.errors import UsageError
from features.frontend.embedding_spec import EMBEDDING, check_network_fields, count_windows
from features.frontend.field_rules import require, require_presence, typed
from features.frontend.mel import FILTER_BANKS, mel_matrix
from features.networks.network_file import FORMATS

# Raised whenever the same spec begins to give other numbers; it is part of every fingerprint.
FRONT_END_VERSION = 1

# The smallest float32 of full precision: less would be nothing, and its logarithm infinite.
_SMALLEST_OFFSET = 2.0**-126

FRONT_ENDS = ("stft", "log_mel", "mfcc", EMBEDDING)
_WITH_MEL = ("log_mel", "mfcc")
MEAN, LOUDEST = "mean", "loudest"
_MEL_FIELDS = ("mel_filter_bank", "mel_bands", "mel_low_hz", "mel_high_hz", "log_scale", "log_offset")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "front_end": FRONT_ENDS,
    "crop": ("start", "centre"),
    "resample_quality": ("QQ", "LQ", "MQ", "HQ", "VHQ"),
    "spectrum_power": (1, 2),
    "mel_filter_bank": (*FILTER_BANKS, None),
    "log_scale": ("natural", "decibel", None),
    "pool": ("mean", "max", None),
    "network_format": (*FORMATS, None),
    "storage_dtype": ("float32", "float16"),
}


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """How a clip becomes numbers. Fields that a front end does not use are None.

    Attributes:
        front_end: `stft` (magnitude), `log_mel`, `mfcc`, or `embedding`: what a network gives for windows of a clip.
        sample_rate_hz: rate that every clip is brought to.
        clip_seconds: length that every clip is fitted to; shorter clips get zeros at the end. It may be absent with
            `pool`: then clips of any length are taken as they are, nothing is padded or cut.
        crop: where a longer clip is cut: its `start` or its `centre`.
        channels: what is used of a recording of several channels: their `mean`, the `loudest` (of the most energy in a
            clip or window, the first of equals), or the channel of this number, counted from 1.
        resample_quality: soxr's recipe, `QQ` to `VHQ`.
        window_samples: length of the Hann window (periodic; symmetric where the length is odd, as in `tf.signal`), or
            of what a network takes.
        hop_samples: distance between the starts of two frames, or of two windows that a network takes.
        fft_samples: length of the Fourier transform; frames get zeros at the end up to it.
        centred: whether frames are centred on multiples of the hop, half a window of zeros at both ends of the
            clip, as librosa does; without it the first frame starts at the first sample, as in `tf.signal`.
        spectrum_power: 1 for magnitudes, 2 for power.
        mel_filter_bank: `slaney` as in librosa or `htk` as in `tf.signal`.
        mel_bands: number of mel bands.
        mel_low_hz: lower edge of the lowest band.
        mel_high_hz: upper edge of the highest band.
        log_scale: `natural` for ln(x + log_offset), `decibel` for 10 log10(max(x, log_offset)).
        log_offset: see log_scale.
        dynamic_range_db: values more than this below the clip's maximum are raised to it (decibel only).
        coefficients: number of MFCCs kept.
        pool: `mean` leaves of each clip the mean over its frames or windows; `max`, with a network, the largest value.
        storage_dtype: `float32` or `float16`.
        network_sha256: of the content of the network's file.
        network_format: `tflite`, `onnx` or `saved_model`.
        network_output: name of the tensor that is taken; absent for the only output of the network.
        embedding_size: values that it has for a window.
        input_scale: what samples are multiplied by for the network; absent for 1.
    """

    front_end: str
    sample_rate_hz: int
    clip_seconds: float | None = None
    crop: str = "start"
    channels: str | int = MEAN
    resample_quality: str = "HQ"
    window_samples: int
    hop_samples: int
    fft_samples: int | None = None
    centred: bool = False
    spectrum_power: int = 1
    mel_filter_bank: str | None = None
    mel_bands: int | None = None
    mel_low_hz: float | None = None
    mel_high_hz: float | None = None
    log_scale: str | None = None
    log_offset: float | None = None
    dynamic_range_db: float | None = None
    coefficients: int | None = None
    pool: str | None = None
    storage_dtype: str = "float32"
    network_sha256: str | None = None
    network_format: str | None = None
    network_output: str | None = None
    embedding_size: int | None = None
    input_scale: float | None = None

    def __post_init__(self) -> None:
        """Brings numbers to the declared types and raises `UsageError` where the fields contradict each other."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, typed(field.name, field.type, getattr(self, field.name)))
        for name, choices in _CHOICES.items():
            require(getattr(self, name) in choices, f"{name} is one of {choices}", name, getattr(self, name))
        for name in ("sample_rate_hz", "clip_seconds", "window_samples", "hop_samples", "fft_samples"):
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} is above 0", name, value)
        is_channel = self.channels in (MEAN, LOUDEST) if isinstance(self.channels, str) else self.channels >= 1
        rule = f'channels is "{MEAN}", "{LOUDEST}" or the number of a channel, from 1'
        require(is_channel, rule, "channels", self.channels)
        check_network_fields(vars(self))
        self._check_frames()
        self._check_mel()

    def _check_frames(self) -> None:
        window, fft, clip = self.window_samples, self.fft_samples, self.clip_samples
        is_spectrum = self.front_end != EMBEDDING
        require_presence(is_spectrum, self.front_end, "fft_samples", fft)
        if fft is not None:
            require(window <= fft, f"the window fits into the FFT (fft_samples={fft})", "window_samples", window)
            require(self.pool != "max", f"pool is one of ('mean', None) for {self.front_end}", "pool", self.pool)
        if clip is None:
            pools = "pool='mean'" if is_spectrum else "pool='mean' or pool='max'"
            require(self.pool is not None, f"clips of any length need {pools}", "clip_seconds", None)
        else:
            least = f"window at least (window_samples={window})" if is_spectrum else "sample at least"
            given = f"{self.clip_seconds:g} ({clip} samples)"
            require(clip >= self.least_samples, f"the clip holds one {least}", "clip_seconds", given)
        if self.centred:
            require(window == fft, f"centred frames have fft_samples={fft} as window", "window_samples", window)
        if self.front_end == "stft":
            require(self.spectrum_power == 1, "stft keeps magnitudes", "spectrum_power", self.spectrum_power)

    def _check_mel(self) -> None:
        uses_mel = self.front_end in _WITH_MEL
        for name in _MEL_FIELDS:
            require_presence(uses_mel, self.front_end, name, getattr(self, name))
        require_presence(self.front_end == "mfcc", self.front_end, "coefficients", self.coefficients)
        decibel = self.log_scale == "decibel"
        require(
            decibel or self.dynamic_range_db is None,
            "a dynamic range goes with log_scale='decibel'",
            "dynamic_range_db",
            self.dynamic_range_db,
        )
        if not uses_mel or self.mel_bands is None or self.mel_low_hz is None or self.mel_high_hz is None:
            return
        nyquist_hz = self.sample_rate_hz / 2
        require(self.mel_bands >= 1, "mel_bands is above 0", "mel_bands", self.mel_bands)
        require(self.mel_low_hz >= 0, "mel_low_hz is at least 0", "mel_low_hz", self.mel_low_hz)
        require(
            self.mel_low_hz < self.mel_high_hz,
            "mel_high_hz is above mel_low_hz",
            "mel_high_hz",
            self.mel_high_hz,
        )
        require(
            self.mel_high_hz <= nyquist_hz,
            f"the mel range ends at half the sample rate, {nyquist_hz:g} Hz, at most",
            "mel_high_hz",
            self.mel_high_hz,
        )
        offset = self.log_offset or 0.0
        least = _SMALLEST_OFFSET
        require(offset >= least, f"log_offset is above 0, {least:.3g} at least", "log_offset", offset)
        if decibel:
            require(self.spectrum_power == 2, "decibels are of power", "spectrum_power", self.spectrum_power)
            range_db = self.dynamic_range_db
            require(range_db is None or range_db > 0, "the range is above 0", "dynamic_range_db", range_db)
        if self.coefficients is not None:
            require(
                1 <= self.coefficients <= self.mel_bands,
                f"there are at most as many coefficients as mel_bands={self.mel_bands}",
                "coefficients",
                self.coefficients,
            )
        weights = mel_matrix(
            self.mel_filter_bank or "", self.mel_bands, self.fft_samples or 0, self.sample_rate_hz,
            self.mel_low_hz, self.mel_high_hz,
        )  # fmt: skip
        empty = int((weights.max(axis=0) == 0).sum())
        require(
            empty == 0,
            f"every mel band meets a bin of the FFT ({empty} do not; take fewer bands or a longer fft_samples)",
            "mel_bands",
            self.mel_bands,
        )

    @cached_property
    def clip_samples(self) -> int | None:
        """Length of a fitted clip in samples, None where clips keep their own."""
        return None if self.clip_seconds is None else round(self.clip_seconds * self.sample_rate_hz)

    @property
    def least_samples(self) -> int:
        """Samples of the shortest waveform that has a frame, or a window that a network takes."""
        return 1 if self.centred or self.fft_samples is None else self.window_samples

    def count_frames(self, samples: int) -> int:
        """Returns the number of frames, or of a network's windows, of a waveform of `least_samples` at least."""
        if self.fft_samples is None:
            return count_windows(samples, self.window_samples, self.hop_samples)
        padding = 2 * (self.fft_samples // 2) if self.centred else 0
        return 1 + (samples + padding - self.window_samples) // self.hop_samples

    @property
    def num_bands(self) -> int:
        """Values a frame: bins of the spectrum, mel bands or coefficients; of a network, values a window."""
        if self.front_end == "stft":
            return (self.fft_samples or 0) // 2 + 1
        return self.coefficients or self.mel_bands or self.embedding_size or 0

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of a clip's features: (frames, bands), or (windows, values) of a network; (bands,) with `pool`."""
        if self.pool is not None or self.clip_samples is None:
            return (self.num_bands,)
        return self.count_frames(self.clip_samples), self.num_bands

    @property
    def row_bytes(self) -> int:
        """Bytes that the features of one clip take in a shard."""
        return math.prod(self.shape) * (2 if self.storage_dtype == "float16" else 4)

    @property
    def network_name(self) -> str | None:
        """Name of the file in which a feature set and a run keep the network, None without one."""
        return None if self.network_format is None else f"{self.network_sha256}{FORMATS[self.network_format]}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields that are set, ready for JSON.

        Fields that are None are left out, and so is `channels` for the mean: specs had none when the mean was all there
        was, and their fingerprints stay what they were.
        """
        fields = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if self.channels == MEAN:
            del fields["channels"]
        return fields

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the canonical JSON of the spec and the version of the front end."""
        content = {"front_end_version": FRONT_END_VERSION, **self.to_dict()}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "spec") -> "FeatureSpec":
        """Builds a spec from names and values; raises `UsageError`, which names `where` they stand."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise UsageError(f"{where}: unknown field {unknown[0]!r}; a spec has {', '.join(known)}")
        needed = [name for name, field in known.items() if field.default is dataclasses.MISSING]
        if fields.get("front_end") != EMBEDDING:
            needed.append("fft_samples")
        missing = [name for name in needed if name not in fields]
        if missing:
            raise UsageError(f'{where}: {", ".join(missing)} missing; give it, or begin with preset = "..."')
        try:
            return cls(**fields)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error

    def differences(self, other: "FeatureSpec") -> str:
        """Names the fields in which two specs differ, as `field: mine against theirs`."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return "; ".join(
            f"{name}: {mine[name]} against {theirs[name]}" for name in sorted(mine) if mine[name] != theirs[name]
        )
