"""The recordings of a scoring, for a page: their sound as the model's front end mixes it, at their own rate."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, decode_part
from features.audio.recording import Recording, open_recording
from features.errors import ClipError, Reason
from features.frontend.waveform import to_mono
from features.io.filesystem import is_uri
from features.pictures.signal_summary import Trace, trace_file
from features.sources.audio_names import AUDIO_EXTENSIONS
from features.sources.paths import absolute_path, clip_file
from features.sources.table_rows import TABLE_ENDINGS

_READ_FRAMES = 2**20
NO_SOURCE = "it is not known where the recordings are"


@dataclass(frozen=True)
class OpenRecording:
    """A recording that is open.

    Attributes:
        recording: it.
        info: what its header says.
    """

    recording: Recording
    info: AudioInfo

    @property
    def seconds(self) -> float:
        """Its duration, as its header says."""
        return self.info.frames / self.info.rate_hz

    def waveform(self, start_seconds: float = 0.0, end_seconds: float | None = None) -> NDArray[np.float32]:
        """Returns a part of it, the mean of its channels, at its own rate: float32 of shape (samples,).

        Args:
            start_seconds: where the part begins.
            end_seconds: where it ends; at the end of the recording where None.

        Raises:
            ClipError: it is damaged, has changed, or has no sample there.
        """
        rate_hz, frames, source = self.info.rate_hz, self.info.frames, self.recording.source
        first = round(start_seconds * rate_hz)
        last = frames if end_seconds is None else min(frames, max(first + 1, round(end_seconds * rate_hz)))
        parts = [np.empty(0, np.float32)]
        for begin in range(first, last, _READ_FRAMES):
            wanted = min(_READ_FRAMES, last - begin)
            samples = decode_part(source, self.info, begin, wanted, forward=end_seconds is None).samples
            parts.append(to_mono(samples).waveform)
            if len(samples) < wanted:  # it is damaged there, or ends before its header says
                break
        waveform = np.concatenate(parts)
        if not len(waveform):
            raise ClipError("decode", Reason.TRUNCATED, f"it has no sample at {start_seconds:g} s")
        return waveform

    def trace(self) -> Trace:
        """Returns how it looks; raises `ClipError` as `waveform` does."""
        if not self.info.frames:
            raise ClipError("decode", Reason.EMPTY, "it has no samples")
        return trace_file(self.recording.source, self.info)


class ScoredRecordings:
    """Opens recordings by their paths, where they are as they were when they were scored."""

    def __init__(self, source: str | None, states: Mapping[str, tuple[int, int | None]]) -> None:
        """Keeps where they are.

        Args:
            source: what was scored: a folder, a file, or a table, whose paths begin in its folder; None where that is
                not known.
            states: size and modification time of recordings, as far as they are known and to be compared.
        """
        self._root = None if source is None else _folder_of(source)
        self._states = states

    @contextmanager
    def open(self, path: str) -> Iterator[OpenRecording]:
        """Opens a recording by its escaped path, for a `with` block.

        Raises:
            ClipError: it is not there, cannot be decoded, or has changed.
        """
        if self._root is None:
            raise ClipError("scan", Reason.MISSING, NO_SOURCE)
        with open_recording(clip_file(self._root, path), whole=False) as recording:
            size, mtime_ns = self._states.get(path, (recording.size, recording.mtime_ns))
            if recording.size != size or mtime_ns not in (None, recording.mtime_ns):
                raise ClipError("scan", Reason.VANISHED, "it has changed since it was scored")
            yield OpenRecording(recording, recording.probe())


def _folder_of(source: str) -> str:
    """Returns the folder in which the paths of a scoring begin."""
    root = absolute_path(source)
    ends_as_file = os.path.splitext(root)[1].lower() in {*AUDIO_EXTENSIONS, *TABLE_ENDINGS}
    is_file = ends_as_file if is_uri(root) else os.path.isfile(root)
    return root.rpartition("/")[0] if is_file else root
