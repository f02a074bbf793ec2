"""Cuts the windows that were chosen for each label out of their recordings, into a folder that appears whole."""

import contextlib
import glob
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, AudioSource, decode
from features.audio.recording import open_recording
from features.audio.remote import Listed
from features.audio.wav_file import wav_file
from features.errors import ClipError, Reason, RunError
from features.frontend.spec import FeatureSpec
from features.frontend.windows import Windowing, block_reader
from features.io.atomic import PARTIAL_SUFFIX, atomic_folder
from features.runtime.log import LOG
from features.runtime.progress import Progress
from features.sources.paths import clip_file
from model.labels.cut_outs import TABLE, cut_out_paths, cut_out_table
from model.labels.output import Output
from model.labels.window_choice import ChosenWindow, WindowChoice
from model.labels.window_rows import WindowRows

# Size, modification time and version of a file.
_State = tuple[int, int | None, str | None]
_CHANGED = "it is not the file any more that was labelled"


@dataclass(frozen=True)
class CutOutsJob:
    """What cutting takes beside the windows.

    Attributes:
        folder: to write.
        per_class: windows of each label that are the most probable, and as many drawn evenly.
        root: where the paths of the recordings begin.
        clips: table of the recordings, as they were listed.
        spec: the front end.
        windowing: where windows begin.
    """

    folder: Path
    per_class: int
    root: str
    clips: pa.Table
    spec: FeatureSpec
    windowing: Windowing


class CutOuts(Output):
    """Cut-outs of the windows that are chosen for each label.

    A cut-out has the samples of its window to the bit, at the recording's own rate and with its channels, so that the
    features of it are those that the window had.

    Attributes:
        written: how many were written.
    """

    def __init__(self, job: CutOutsJob, classes: Sequence[str]) -> None:
        """Takes the labels in the order of the network's outputs."""
        self._job, self._classes = job, classes
        self._choice = WindowChoice(classes, job.per_class)
        self._folder = contextlib.ExitStack()  # from `complete` to `finish`
        self.written = 0

    def write(self, rows: WindowRows) -> None:
        """See `Output`."""
        self._choice.add(rows)

    def complete(self) -> None:
        """Cuts what was chosen; one that cannot be read any more is said to be left out."""
        chosen = list(self._choice.chosen())
        paths = cut_out_paths(chosen, self._classes)
        by_recording = sorted(
            range(len(chosen)), key=lambda number: (chosen[number].path, chosen[number].start_seconds)
        )
        listed = self._listed({window.path for window in chosen})
        written: set[int] = set()
        progress = Progress("cut out", len(chosen), "clips")
        folder = self._folder.enter_context(atomic_folder(self._job.folder))
        for recording, numbers in groupby(by_recording, lambda number: chosen[number].path):
            windows = {number: chosen[number] for number in numbers}
            try:
                for number, content in self._cut(windows, listed[recording]):
                    (folder / paths[number]).parent.mkdir(exist_ok=True)
                    (folder / paths[number]).write_bytes(content)
                    written.add(number)
                    progress.update(len(written))
            except ClipError as error:
                LOG.warning("warning: no cut-outs of %s: %s, %s", recording, error.reason, error.message)
        in_order = sorted(written)
        table = cut_out_table([chosen[number] for number in in_order], [paths[number] for number in in_order])
        (folder / TABLE).write_text(table, encoding="utf-8")
        progress.close()
        self.written = len(written)

    def finish(self) -> None:
        """See `Output`."""
        self._folder.close()

    def _cut(self, windows: Mapping[int, ChosenWindow], listed: _State) -> Iterator[tuple[int, bytes]]:
        """Yields number and content of each of some windows of one recording, which are in the order of their starts.

        Raises:
            ClipError: it cannot be read, or is not the one that was labelled.
        """
        size, mtime_ns, version = listed
        place = clip_file(self._job.root, next(iter(windows.values())).path)
        with open_recording(place, whole=True, listed=Listed(place, size, version)) as recording:
            if (recording.size, recording.mtime_ns) != (size, mtime_ns):
                raise ClipError("decode", Reason.VANISHED, _CHANGED)
            info = recording.probe()
            reader = block_reader(recording.source, info, self._job.spec, self._job.windowing, info.frames)
            for number, window in windows.items():
                begin, end = (round(seconds * info.rate_hz) for seconds in (window.start_seconds, window.end_seconds))
                samples = _plain(recording.source, info, begin, end)
                if samples is None:
                    samples, _ = reader.read(begin, end)
                if len(samples) != end - begin:
                    raise ClipError("decode", Reason.VANISHED, _CHANGED)
                yield number, wav_file(samples, info.rate_hz)

    def _listed(self, paths: set[str]) -> dict[str, _State]:
        """Returns size, time and version of recordings, as they were when they were listed."""
        clips = self._job.clips
        rows = clips.filter(pc.is_in(clips["path"], value_set=pa.array(sorted(paths), pa.string())))
        states = (rows[name].to_pylist() for name in ("size", "mtime_ns", "version"))
        return dict(zip(rows["path"].to_pylist(), zip(*states, strict=True), strict=True))

    def __enter__(self) -> "CutOuts":
        """Removes what a run that was killed has left."""
        folder = self._job.folder
        for left in folder.parent.glob(f"{glob.escape(folder.name)}.[0-9]*{PARTIAL_SUFFIX}"):
            shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes what was cut, where `finish` was not called."""
        reason = error or RunError("it was not finished")
        with contextlib.suppress(type(reason)):
            self._folder.__exit__(type(reason), reason, trace)


def _plain(source: AudioSource, info: AudioInfo, begin: int, end: int) -> NDArray[np.float32] | None:
    """Returns frames of a plain WAV, which are the same from wherever reading begins; None for everything else."""
    return None if info.pcm_offset is None else decode(source, info, begin, end - begin)
