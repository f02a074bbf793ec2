"""A trained network, ready to label."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import Reject, UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.windows import PAD, windowing_of
from features.io.filesystem import Location, place
from model.inference.executor import Executor, load_executor
from model.inference.run_store import MODEL_ALONE, local_run
from model.scoring.labels_table import audio_embeddings, audio_labels

Paths = str | PathLike[str] | Iterable[str | PathLike[str]]


@dataclass(frozen=True)
class TrainedModel:
    """The network of a run with its front end and its class names; `soundmill.load_model` makes one.

    It may be used by several threads.

    Attributes:
        folder: the run folder.
    """

    folder: Location
    _network: Executor = field(repr=False)

    @classmethod
    def load(
        cls, run: str | PathLike[str], executor: str = "auto", network_precision: str = "float32"
    ) -> "TrainedModel":
        """Loads a run; see `soundmill.load_model`."""
        with local_run(os.fspath(run), MODEL_ALONE) as folder:
            network = load_executor(Path(folder), executor, network_precision)
            network.front_end()  # reads what it needs: the copy of a run in a store goes now
            return cls(place(os.fspath(run)), network)

    @property
    def spec(self) -> FeatureSpec:
        """The front end whose features the network takes."""
        return self._network.spec

    @property
    def classes(self) -> list[str]:
        """The labels, in the order of the network's outputs."""
        return list(self._network.classes)

    @property
    def thresholds(self) -> dict[str, float | None] | None:
        """The probability from which on each label was right often enough in validation, as `--threshold auto` uses it.

        None for a label that had none, and None as a whole where the training had no validation.
        """
        thresholds = self._network.calibration.thresholds
        return None if thresholds is None else dict(thresholds)

    def predict(
        self,
        audio: Paths | NDArray[np.floating],
        sample_rate_hz: int | None = None,
        top: int = 1,
        rejects: list[Reject] | None = None,
        min_window_seconds: float | None = None,
        hop_seconds: float | None = None,
        tail: str = PAD,
    ) -> pa.Table:
        """Labels every window of one file, of several, or of a waveform, as `soundmill score` does.

        ```python
        model.predict("recording.flac")
        model.predict(["one.wav", "two.wav"], top=3).to_pandas()
        model.predict(samples, sample_rate_hz=48_000)
        ```

        Args:
            audio: a path; paths; or floating-point samples of shape (samples,) or (samples, channels), full scale at 1.
            sample_rate_hz: of a waveform, which does not say it. Files say theirs.
            top: labels a window, the most probable first.
            rejects: a list that takes the files that cannot be used, each with `path`, `reason` and `message`. Without
                it such a file is an error.
            min_window_seconds: the last of several windows is left out where it is shorter than this, by default a
                twentieth of a window; 0 leaves none out.
            hop_seconds: from the start of a window to that of the next, by default a window.
            tail: what becomes of what remains behind the last whole window: `pad` fills a window up with zeros, `drop`
                leaves it out, `overlap` takes a window that ends with the recording.

        Returns:
            Arrow table with the columns of the CSV: `path` (as it was given; null for a waveform), `start_seconds`,
            `end_seconds`, `label`, `probability`, and `rank` where `top` is above 1; a row a window and rank, in the
            order of the paths. Numbers are not rounded: with six digits they are those of `soundmill score`.

        Raises:
            UsageError: a number, the waveform or its rate is not what it should be; a path is that of a folder; or a
                file cannot be used and there is no list for `rejects`.
        """
        if not 1 <= top <= len(self.classes):
            raise UsageError(f"top is 1 to {len(self.classes)}, the number of classes, not {top}")
        windowing = windowing_of(self.spec, hop_seconds, tail, min_window_seconds)
        return audio_labels(self._network, audio, sample_rate_hz, top, windowing, rejects)

    def embeddings(
        self,
        audio: Paths | NDArray[np.floating],
        sample_rate_hz: int | None = None,
        rejects: list[Reject] | None = None,
        min_window_seconds: float | None = None,
        hop_seconds: float | None = None,
        tail: str = PAD,
    ) -> pa.Table:
        """Returns what the layer before the last gives of every window, to search in or to train something small on.

        ```python
        table = model.embeddings(["one.wav", "two.wav"])
        vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        ```

        Args:
            audio: as in `predict`, as are the following.
            sample_rate_hz: of a waveform, which does not say it.
            rejects: a list that takes the files that cannot be used.
            min_window_seconds: the last of several windows is left out where it is shorter than this.
            hop_seconds: from the start of a window to that of the next.
            tail: what becomes of what remains behind the last whole window.

        Returns:
            Arrow table with the columns of `soundmill score --embeddings`: `path`, `start_seconds`, `end_seconds`, and
            `embedding`, a list of as many float32 as the last dense layer of the network takes.

        Raises:
            UsageError: as in `predict`; or the network does not end with a dense layer.
        """
        windowing = windowing_of(self.spec, hop_seconds, tail, min_window_seconds)
        return audio_embeddings(self._embedding_network, audio, sample_rate_hz, windowing, rejects)

    @cached_property
    def _embedding_network(self) -> Executor:
        return self._network.with_embeddings()
