"""Background noise for augmentation and for the class of silence: windows of recordings, by the front end of the clips.

Of each recording the first 80 % of its time are for training, the next 10 % for validation and the last 10 % for
testing, so that no partition knows the others' noise. A run keeps the features of its windows in its own folder: the
feature set stays as it is, and what resumes or evaluates the run has the same noise.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, decode, probe
from features.errors import NOT_FINITE_FEATURES, ClipError, Reason, UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd
from features.frontend.waveform import fit
from features.io.filesystem import absolute, is_uri, join
from features.io.mirror import Mirror
from features.runtime.log import LOG
from features.sources.audio_names import BACKGROUND_FOLDER
from features.sources.object_tree import list_objects
from features.sources.partition import PARTITIONS, TESTING, TRAINING, VALIDATION
from features.sources.paths import escape_path
from features.sources.walk import walk

# What all windows of a run may take in memory: half an hour at a tenth of a second apart, of 98 frames of 40 bands.
MOST_BYTES = 2**28
# In tenths of a recording, where the time of each partition begins and ends.
_TENTHS = {TRAINING: (0, 8), VALIDATION: (8, 9), TESTING: (9, 10)}
_HOPS_A_WINDOW = 10
# So many samples of all channels are read at a time, and so many windows computed.
_READ_SAMPLES = 2**22
_COMPUTED_WINDOWS = 64


@dataclass(frozen=True)
class NoiseWindows:
    """Windows of background noise.

    Attributes:
        features: float32 of shape (windows, *shape).
        recordings: path of the recording of each, relative to the folder of noise.
        starts: frame of the recording at which each begins, (windows,).
    """

    features: NDArray[np.float32]
    recordings: list[str]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        """Returns the number of windows."""
        return len(self.features)


@dataclass(frozen=True)
class Noise:
    """The background noise of a run.

    Attributes:
        windows: of each partition; each may have none, but not all.
    """

    windows: Mapping[str, NoiseWindows]


def find_noise(root: str, folder: str | None = None) -> str | None:
    """Returns the folder of noise: one that was given, else `_background_noise_` of a source; None where there is none.

    Args:
        root: of the source of the clips.
        folder: that was given.

    Returns:
        Its absolute path; there is audio in it.

    Raises:
        UsageError: a folder was given that is not one, or has no audio.
    """
    place = absolute(join(root, BACKGROUND_FOLDER) if folder is None else folder)
    listed = list_objects(place) if is_uri(place) else None
    is_there = os.path.isdir(place) or (listed is not None and listed[0] == "folder")
    if is_there and (listed[1] if listed else walk(os.fsencode(place))).files:
        return place
    if folder is None:
        return None
    lacks = "there is no audio in" if is_there else "there is no folder"
    raise UsageError(f"--noise is a folder of recordings of background noise, but {lacks} {folder}")


def compute_noise(folder: str, spec: FeatureSpec) -> Noise:
    """Cuts windows of the clip length from all recordings of a folder and computes their features.

    Windows begin a tenth of their length apart and never cross from one partition's time into another's. Where all
    would take more than `MOST_BYTES`, evenly spaced ones of them are used. Without a clip length they last a second.

    Args:
        folder: of the recordings, as `find_noise` gives it.
        spec: the front end.

    Raises:
        UsageError: no recording can be used; each that cannot is named in a warning.
    """
    if is_uri(folder):
        with tempfile.TemporaryDirectory(prefix="soundmill-") as copied:
            Mirror(folder, Path(copied)).fetch()
            return compute_noise(copied, spec)
    paths: list[bytes] = walk(os.fsencode(folder)).files.take()["path"].to_pylist()
    infos: dict[bytes, AudioInfo] = {}
    for path in paths:
        try:
            info = probe(_file(folder, path))
            if _end_of(TRAINING, info) < _length(info, spec):
                raise ClipError("fit", Reason.TOO_SHORT, f"80 % of its {info.frames / info.rate_hz:.3g} s are less "
                                f"than a window of {_seconds(spec):.3g} s")  # fmt: skip
            infos[path] = info
        except ClipError as error:
            _warn(path, error.message)
    starts = _planned_starts(infos, spec)
    front_end = FrontEnd(spec)
    found: dict[str, list[NoiseWindows]] = {partition: [] for partition in PARTITIONS}
    for path, info in infos.items():
        try:
            parts = {one: _windows(folder, path, info, starts[one][path], front_end) for one in PARTITIONS}
        except ClipError as error:
            _warn(path, error.message)
            continue
        for partition, windows in parts.items():
            found[partition].append(windows)
    noise = Noise({partition: join_windows(parts, spec) for partition, parts in found.items()})
    if not any(map(len, noise.windows.values())):
        raise UsageError(
            f"none of the {len(paths)} recordings in {folder} can be used as background noise: one lasts "
            f"{_seconds(spec) / 0.8:.3g} s at least, the length of a clip within 80 % of its time; give others with "
            "--noise, or train without: --noise-probability 0"
        )
    return noise


def join_windows(parts: list[NoiseWindows], spec: FeatureSpec) -> NoiseWindows:
    """Returns the windows of all parts, one after the other; those of no part have the shape of the spec too."""
    empty = NoiseWindows(np.empty((0, *spec.shape), np.float32), [], np.empty(0, np.int64))
    return NoiseWindows(
        np.concatenate([empty.features, *(part.features for part in parts)]),
        [recording for part in parts for recording in part.recordings],
        np.concatenate([empty.starts, *(part.starts for part in parts)]),
    )


def _planned_starts(infos: Mapping[bytes, AudioInfo], spec: FeatureSpec) -> dict[str, dict[bytes, NDArray[np.int64]]]:
    """Returns where windows begin, by partition and recording: all, or as many evenly spaced ones as have room."""
    most = MOST_BYTES // (4 * int(np.prod(spec.shape)))
    result = {}
    for partition, (first, last) in _TENTHS.items():
        starts = {}
        for path, info in infos.items():
            length, begin = _length(info, spec), info.frames * first // 10
            last_start = _end_of(partition, info) - length
            starts[path] = np.arange(begin, last_start + 1, max(1, length // _HOPS_A_WINDOW), dtype=np.int64)
        total, room = sum(map(len, starts.values())), max(1, most * (last - first) // 10)
        if total > room:
            kept = np.arange(room) * total // room
            ends = np.cumsum([len(places) for places in starts.values()])
            for path, places, end in zip(starts, list(starts.values()), ends, strict=True):
                of_file = kept[(kept >= end - len(places)) & (kept < end)]
                starts[path] = places[of_file - (end - len(places))]
        result[partition] = starts
    return result


def _windows(folder: str, path: bytes, info: AudioInfo, starts: NDArray[np.int64], front_end: FrontEnd) -> NoiseWindows:
    """Computes windows of a recording; those that its file does not hold to their end are left out.

    Raises:
        ClipError: the recording cannot be used.
    """
    spec, length = front_end.spec, _length(info, front_end.spec)
    features = np.empty((len(starts), *spec.shape), np.float32)
    filled = 0
    for block in _blocks(starts, length, info.channels):
        samples = decode(_file(folder, path), info, int(block[0]), int(block[-1] - block[0]) + length)
        places = block[block - block[0] + length <= len(samples)] - block[0]
        for first in range(0, len(places), _COMPUTED_WINDOWS):
            some = places[first : first + _COMPUTED_WINDOWS]
            waveforms = [fit(samples[place : place + length], info.rate_hz, spec) for place in some]
            computed = np.empty((len(some), *spec.shape), spec.storage_dtype)  # rounded as those of the clips are
            front_end.compute(waveforms, computed)
            if not np.isfinite(computed).all():
                raise ClipError("features", Reason.NOT_FINITE, NOT_FINITE_FEATURES)
            features[filled : filled + len(some)] = computed
            filled += len(some)
        if len(places) < len(block):
            break  # the file is cut off here
    return NoiseWindows(features[:filled], [escape_path(path)] * filled, starts[:filled])


def _blocks(starts: NDArray[np.int64], length: int, channels: int) -> Iterator[NDArray[np.int64]]:
    """Yields the starts of windows that are read together."""
    first = 0
    while first < len(starts):
        reach = max(length, _READ_SAMPLES // channels)
        last = int(np.searchsorted(starts, starts[first] + reach - length, side="right"))
        yield starts[first:last]
        first = last


def _end_of(partition: str, info: AudioInfo) -> int:
    """Returns the frame of a recording at which the time of a partition ends."""
    return info.frames * _TENTHS[partition][1] // 10


def _seconds(spec: FeatureSpec) -> float:
    return _samples(spec) / spec.sample_rate_hz


def _samples(spec: FeatureSpec) -> int:
    return spec.clip_samples or max(spec.sample_rate_hz, spec.least_samples)


def _length(info: AudioInfo, spec: FeatureSpec) -> int:
    """Returns how many frames of a recording a window has."""
    return -(-_samples(spec) * info.rate_hz // spec.sample_rate_hz)


def _file(folder: str, path: bytes) -> str:
    return os.path.join(folder, os.fsdecode(path))


def _warn(path: bytes, message: str) -> None:
    LOG.warning("warning: %s is not used as background noise: %s", escape_path(path), message)
