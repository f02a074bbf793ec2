"""The recordings that an export in int8 is made and measured with."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.recording import open_recording
from features.errors import ClipError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.spec import FeatureSpec
from features.sources.paths import clip_file
from model.evaluation.quantization import RANGE_CLIPS, rows_learnt
from model.evaluation.tested_rows import tested_rows
from model.formats.int8_export import MAX_ACCURACY_LOSS, Int8Clips
from model.training.label_plan import NO_CLASS
from model.training.rows import Rows
from model.training.run_folder import CONFIG


def int8_clips(
    run: str, features: str, test_on: tuple[str, ...], max_accuracy_loss: float = MAX_ACCURACY_LOSS
) -> Int8Clips:
    """Returns recordings of a set, which are read when they are asked for; windows of `_silence_` are none.

    Args:
        run: a run folder.
        features: the feature set that it was trained on, or one of the same spec.
        test_on: partitions to measure accuracy on.
        max_accuracy_loss: see `Int8Clips`.

    Raises:
        UsageError: the run or the features cannot be used, or do not fit each other, or no clip of the set is where it
            was made from.
        RunError: the clips table cannot be read.
    """
    tested = tested_rows(run, features, test_on)
    spec = tested.description.spec
    learnt = _Recordings(rows_learnt(run, features, tested), spec, RANGE_CLIPS)
    if next(iter(learnt), None) is None:
        raise UsageError(f"int8 takes the recordings that {features} was made from, and {learnt.root} has none of them "
                         "any more; make the set again from where they are")  # fmt: skip
    measured = _Recordings(tested.rows, spec)
    return Int8Clips(learnt, measured, len(measured.clips), test_on, max_accuracy_loss)


def features_of(run: str) -> str:
    """Returns the feature set that a run was trained on, as its config.json names it.

    Raises:
        UsageError: it names none.
    """
    try:
        return str(json.loads((Path(run) / CONFIG).read_text(encoding="utf-8"))["features"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{run} does not say which set it was trained on; give it with --features") from error


class _Recordings:
    """The clips of some rows, each as its waveform and the number of its class; what cannot be read is left out."""

    def __init__(self, rows: Rows, spec: FeatureSpec, most: int | None = None) -> None:
        """Reads the clips table.

        Args:
            rows: of the clips.
            spec: the front end.
            most: so many of them, spread evenly over all; None for all.
        """
        clips = rows.clips(["path", "start", "duration", "label"])
        if most is not None and len(clips) > most:
            clips = clips.take(np.linspace(0, len(clips) - 1, most).round().astype(int))
        self.root: str = rows.manifest.source["root"]
        self.clips: list[dict[str, Any]] = clips.to_pylist()
        self._ids = {name: number for number, name in enumerate(rows.classes)}
        self._plan, self._spec = rows.plan, spec

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        for clip in self.clips:
            number = self._ids.get(self._plan.class_of(clip["label"]) or clip["label"], NO_CLASS)
            path = clip_file(self.root, clip["path"])
            with contextlib.suppress(ClipError), open_recording(path, whole=False) as recording:
                yield clip_waveform(recording.file, self._spec, clip["start"], clip["duration"])[0], number
