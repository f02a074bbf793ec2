"""MLflow: a SQLite store of the run's own, `RUN/trackers/mlflow`, or where `MLFLOW_TRACKING_URI` says.

MLflow 3.17 refuses stores that are folders (`file:`), and takes an old `./mlruns` for the place to write to where no
other is named. Its names take letters, digits and `_-. :/`, a parameter 6,000 characters, and an infinite loss comes
back as 1.8e308.
"""

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import UsageError
from model.tracking.tracker import FAILED, FINISHED, PROJECT, STOPPED, Beginning, Outcome, Parameter

if TYPE_CHECKING:
    from mlflow import MlflowClient

_URI, _EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED", STOPPED: "KILLED"}
_OTHER = re.compile(r"[^\w\-. :/]")
_MOST_CHARACTERS = 6_000
_MOST_AT_A_TIME = 100  # parameters of a request


class MlflowStore:
    """See `Tracker`."""

    def begin(self, beginning: Beginning, key: str | None) -> str | None:
        """Opens the store, with an experiment in it, and a run in that; the key is the number of the run."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        given = os.environ.get(_URI)
        if (given and not re.match(r"\w[\w+-]+://|databricks\b", given)) or (given or "").startswith("file:"):
            raise UsageError(f"{_URI} is {given}, and MLflow keeps nothing in folders any more; set it to "
                             f"sqlite:///{Path(given or '').absolute()}.db or to a server, or unset it")  # fmt: skip
        from mlflow import MlflowClient

        self._client = MlflowClient(given or self._own(beginning.folder))
        if key is None:
            own = None if given else (beginning.folder / "mlflow" / "artifacts").as_uri()
            experiment = _experiment(self._client, own)
            tags = {"mlflow.source.name": PROJECT, "run folder": str(beginning.run)}
            key = str(self._client.create_run(experiment, run_name=beginning.name, tags=tags).info.run_id)
        else:
            self._client.update_run(key, status="RUNNING")
        self._key, self._step = key, 0
        self._parameters(beginning.parameters)
        return key

    def epoch(self, number: int, figures: dict[str, float]) -> None:
        """Adds the figures."""
        self._step = number
        self._metrics(figures)

    def text(self, name: str, text: str) -> None:
        """Adds a file."""
        self._client.log_text(self._key, text, name)

    def show(self, outcome: Outcome) -> None:
        """Adds figures, pictures, sounds, texts and the model, which are files among the artifacts."""
        numbers = {name: value for name, value in outcome.figures.items() if not isinstance(value, str)}
        self._metrics(numbers)
        for name, value in outcome.figures.items():
            if name not in numbers:
                self._client.set_tag(self._key, _name(name), value)
        for media, folder in ((outcome.pictures, "pictures"), (outcome.sounds, "sounds")):
            for one in media:
                self._client.log_artifact(self._key, str(one.path), folder)
        for name, text in outcome.texts.items():
            self.text(name, text)
        self._client.log_artifacts(self._key, str(outcome.model), "model")

    def end(self, how: str) -> None:
        """Ends the run."""
        self._client.set_terminated(self._key, _STATUS[how])

    def _own(self, folder: Path) -> str:
        (folder / "mlflow").mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}"

    def _metrics(self, figures: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        names = metric_names(list(figures))
        self._client.log_batch(
            self._key, [Metric(names[name], float(value), now, self._step) for name, value in figures.items()]
        )

    def _parameters(self, parameters: dict[str, Parameter]) -> None:
        """Adds those that are not there; one that has changed since, as the number of epochs may, is a tag."""
        from mlflow.entities import Param

        there = self._client.get_run(self._key).data.params
        texts = {_name(name): str(value)[:_MOST_CHARACTERS] for name, value in parameters.items()}
        added = [Param(name, text) for name, text in texts.items() if name not in there]
        for first in range(0, len(added), _MOST_AT_A_TIME):
            self._client.log_batch(self._key, params=added[first : first + _MOST_AT_A_TIME])
        for name, text in texts.items():
            if there.get(name, text) != text:
                self._client.set_tag(self._key, f"{name} when resumed", text)


def metric_names(names: list[str]) -> dict[str, str]:
    """Returns the name in MLflow of each figure, different ones for different figures; some hold names of classes."""
    taken: set[str] = set()
    result = {}
    for name in names:
        allowed, number = _name(name), 2
        while (unique := allowed if allowed not in taken else f"{allowed} {number}") in taken:
            number += 1
        taken.add(unique)
        result[name] = unique
    return result


def _name(name: str) -> str:
    """Returns a name with `_` for each character that MLflow refuses; names are paths to it, without `.` and `..`."""
    parts = [_OTHER.sub("_", part).strip() for part in name.split("/")]
    return "/".join(f"_{part}" if part in ("", ".", "..") else part for part in parts)[:250]


def _experiment(client: "MlflowClient", artifacts: str | None) -> str:
    """Returns the number of the experiment, which is made where it is missing."""
    name = os.environ.get(_EXPERIMENT) or PROJECT
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name, artifact_location=artifacts))
