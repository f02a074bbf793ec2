"""Comet: an archive that `comet upload` sends, `RUN/trackers/comet`, or online where the user's settings say so.

Comet's own default is online. Here a run is sent while it is trained where `COMET_START_ONLINE`, or `start.online` of a
`.comet.config`, is true: a key alone, which many keep for other projects, is not enough. Python, system and code that
Comet notes by default are left out; what the run's record has of them is among the parameters.
"""

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from model.tracking.tracker import PROJECT, Beginning, Outcome

_DIRECTORY = "COMET_OFFLINE_DIRECTORY"
_SILENT = ("log_code", "log_graph", "log_git_metadata", "log_git_patch", "log_env_details", "auto_param_logging",
           "auto_metric_logging", "auto_output_logging", "auto_histogram_weight_logging", "parse_args")  # fmt: skip


class CometArchive:
    """See `Tracker`."""

    def begin(self, beginning: Beginning, key: str | None) -> str | None:
        """Begins an experiment, or goes on with it; offline by one more archive, which is uploaded after the first."""
        import comet_ml

        settings = comet_ml.get_config()
        own = beginning.folder / "comet"
        own.mkdir(parents=True, exist_ok=True)
        # What is not in the archive yet lies beside it, and not where a system removes it when it starts anew.
        self._partial = Path(tempfile.mkdtemp(prefix="partial-", dir=own))
        tempfile.tempdir = str(self._partial)
        options: dict[str, Any] = dict.fromkeys(_SILENT, False)
        config = comet_ml.ExperimentConfig(
            offline_directory=os.environ.get(_DIRECTORY) or str(own), display_summary_level=0, **options
        )
        new = key is None
        key = key or uuid.uuid4().hex
        self._experiment = comet_ml.start(
            online=bool(settings["comet.start.online"]),
            experiment_key=key,
            mode="create" if new else "get",
            project_name=None if settings["comet.project_name"] else PROJECT,
            experiment_config=config,
        )
        self._experiment.set_name(beginning.name)
        self._experiment.log_parameters(beginning.parameters)
        self._step = 0
        return key

    def epoch(self, number: int, figures: dict[str, float]) -> None:
        """Adds the figures."""
        self._step = number
        self._experiment.log_metrics(figures, step=number, epoch=number)

    def text(self, name: str, text: str) -> None:
        """Adds an asset."""
        self._experiment.log_asset_data(text, name=name, overwrite=True)

    def show(self, outcome: Outcome) -> None:
        """Adds figures, pictures, sounds, the matrix as Comet draws it, texts and the model."""
        experiment, step = self._experiment, self._step
        for name, value in outcome.figures.items():
            experiment.log_other(name, value)
        for picture in outcome.pictures:
            experiment.log_image(str(picture.path), name=picture.name, step=step, metadata={"caption": picture.caption})
        for sound in outcome.sounds:  # a file is sent as it is; an array would be scaled to its peak
            experiment.log_audio(
                str(sound.path), file_name=sound.path.name, step=step, metadata={"caption": sound.caption}
            )
        if outcome.confusion:
            classes = outcome.confusion.classes
            experiment.log_confusion_matrix(
                matrix=outcome.confusion.clips, labels=classes, max_categories=len(classes), step=step
            )
        for name, text in outcome.texts.items():
            self.text(name, text)
        experiment.log_model("model", str(outcome.model))

    def end(self, how: str) -> None:
        """Closes the archive."""
        self._experiment.log_other("end", how)
        self._experiment.end()
        shutil.rmtree(self._partial, ignore_errors=True)
