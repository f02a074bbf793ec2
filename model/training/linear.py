"""Trains a linear network, without Keras: from a feature set that can be trained on to a run folder with a model.

What an epoch is to other networks, a row of the history, is an L2 penalty here.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import UsageError
from features.io.atomic import write_file
from features.io.filesystem import place
from features.runtime.log import LOG
from features.runtime.progress import Progress
from features.sources.partition import TESTING, TRAINING, VALIDATION
from features.store.manifest import Manifest
from model.inference.artifact import has_artifact, read_description, read_linear, read_litert, save_network
from model.inference.artifact_description import ArtifactDescription
from model.inference.calibration import Calibration
from model.inference.executor import Executor
from model.inference.linear_network import LINEAR, LinearNetwork
from model.training.augment import class_weights
from model.training.calibrator import calibrate, fit_calibration
from model.training.division import divide
from model.training.history import Row, Watch, best_epoch, read_history, should_stop, write_history
from model.training.l2_choice import GRID, L2Choice, LabelledClips, Tried
from model.training.labelled_set import LabelledSet
from model.training.linear_scaling import Scaled, Scaling, has_length
from model.training.logistic_regression import Array
from model.training.noise import Noise
from model.training.partitions import lacks_validation, validation_partitions
from model.training.rows import Rows
from model.training.run_folder import training_statistics
from model.training.settings import Settings
from model.training.still_bands import warn_of_still_bands

_HISTORY = "history.csv"
# Of the features in memory: as they are, along the directions in which they differ, and what is made of them meanwhile;
# of those to learn from also the parts of each inner fold.
_COPIES, _COPIES_OF_FOLDS = 4, 5


class LinearTraining:
    """The rows that a linear network learns from, and the run folder in which that happens."""

    def __init__(self, run: Path, features: str, manifest: Manifest, settings: Settings, noise: Noise | None) -> None:
        """Opens the rows, and reads them where there is something to learn.

        Args:
            run: the run folder.
            features: a feature set.
            manifest: its state.
            settings: of the training.
            noise: background noise, None where none is used.

        Raises:
            UsageError: the rows do not fit in memory, or there are none to choose the L2 penalty by.
            RunError: a shard is missing or damaged.
        """
        self._started = time.monotonic()
        self._run, self._manifest, self._settings = run, manifest, settings
        self._networks = manifest.layout(place(features)).networks_folder
        labelled = LabelledSet.of(features, manifest, settings, noise)
        train_on = settings.rows.train_on
        self._training, _ = labelled.to_test_on(train_on, TRAINING, divide(features, manifest, settings).training)
        self._validation, _ = labelled.to_test_on(validation_partitions(manifest, settings), VALIDATION)
        self._testing, _ = labelled.to_test_on(settings.rows.test_on, TESTING)
        self._has_inner_folds = lacks_validation(manifest, settings)
        self.statistics = training_statistics(features, manifest, settings)
        values = int(np.prod(manifest.spec.shape))
        held = _COPIES * (len(self._training) + len(self._validation))
        held += _COPIES_OF_FOLDS * len(self._training) if self._has_inner_folds else 0
        num_bytes = held * values * np.float64().itemsize * (1 + has_length(manifest.spec))
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if num_bytes > there:
            raise UsageError(
                f"{LINEAR} keeps its clips in memory, about {num_bytes / 2**30:,.1f} GiB for {len(self._training):,} "
                f"clips of {values:,} values, and this machine has {there / 2**30:,.1f}; train another network, or on "
                "fewer clips"
            )
        self._to_fit: list[Scaled] | None = None
        if not self.has_ended:
            with _one_thread():
                self._to_fit = self._read_all()

    @property
    def has_ended(self) -> bool:
        """Whether the network is there: it is solved for at once or not at all."""
        return has_artifact(self._run)

    def train(self, watch: Watch | None = None) -> dict[str, Any]:
        """Trains, saves, and returns the figures of the run.

        Args:
            watch: follows the training.

        Raises:
            RunError: a shard is missing or damaged.
        """
        if self._to_fit is None:
            LOG.info("the training has ended already: no penalty is left")
        else:
            with _one_thread():
                self._fit(self._to_fit, watch)
        return self._figures()

    def _read_all(self) -> list[Scaled]:
        settings, spec = self._settings, self._manifest.spec
        counts = np.zeros(len(self._training.classes), np.int64)
        learnt = self._read(self._training)
        np.add.at(counts, learnt.ids, 1)
        validated = None if self._has_inner_folds else self._read(self._validation)
        weights = class_weights(counts, settings.schedule.balance)
        scalings = [Scaling.by(self.statistics, spec.shape)]
        if has_length(spec) and (validated is None or len(validated)):
            scalings.append(Scaling.at_unit_length(learnt.features, spec.shape))
        found = [Scaled.of(one, learnt, weights, validated, settings.seed) for one in scalings]
        if not settings.schedule.l2 and not found[0].choice.is_measured.any():
            raise UsageError(
                f"the L2 penalty is chosen on the clips validated on, and none of them is of a class that {LINEAR} "
                "learns; choose others with --validate-on, or give --l2 and --validate-on none"
            )
        return found

    def _fit(self, to_fit: list[Scaled], watch: Watch | None) -> None:
        self._describe(to_fit[0].choice)
        scaled, history, best = self._choose(to_fit)
        write_history(self._run / _HISTORY, history)
        if watch:
            for row in history:
                watch.epoch(row)
        choice = scaled.choice
        solution = choice.fitted(best.row["l2"], best.solution)
        network = scaled.scaling.network(choice.directions.weights(solution), solution.bias)
        self._save(network, self._calibration(choice, best.logits))

    def _choose(self, to_fit: list[Scaled]) -> tuple[Scaled, list[Row], Tried]:
        """Returns the scaling whose best penalty is the best of all, the first of equals, its history and that penalty.

        Of each, penalties are tried until none is better any more.
        """
        schedule = self._settings.schedule
        penalties = (schedule.l2,) if schedule.l2 else GRID
        found: list[tuple[Scaled, list[Row], Tried]] = []
        progress = Progress("L2 penalties", len(penalties) * len(to_fit), "penalties")
        for scaled in to_fit:
            history: list[Row] = []
            best: Tried | None = None
            of = ", unit length" if scaled.scaling.unit_length else ""
            for tried in scaled.choice.tried(penalties):
                history.append(tried.row)
                write_history(self._run / _HISTORY, history)
                progress.update(len(found) * len(penalties) + len(history))
                LOG.info("L2 %g%s: %s", tried.row["l2"], of, _described(tried.row))
                if best_epoch(history, schedule.best_by) == len(history):
                    best = tried
                if should_stop(history, schedule):
                    break
            if best is None:
                raise AssertionError("the loss of logistic regression is finite")
            found.append((scaled, history, best))
        progress.close()
        rows: list[Row] = [{**best.row, "epoch": number} for number, (_, _, best) in enumerate(found, start=1)]
        return found[(best_epoch(rows, schedule.best_by) or 1) - 1]

    def _describe(self, choice: L2Choice) -> None:
        values, classes = int(np.prod(self._manifest.spec.shape)), choice.classes
        parameters = (values + 1) * classes
        lines = (
            f"{LINEAR}: logits of {classes:,} classes from {values:,} values",
            f"{parameters:,} parameters, {values * classes:,} multiply-adds a clip",
        )
        write_file(self._run / "layers.txt", "".join(f"{line}\n" for line in lines))
        LOG.info("%s", "; ".join(lines))
        if choice.folds:
            validation = f"validating by {choice.folds} inner folds, in which groups stay whole"
        else:
            validation = f"validating on {len(self._validation):,}" if self._validation else "not validating"
        LOG.info("training on %s clips, %s", f"{len(self._training):,}", validation)
        warn_of_still_bands(self.statistics, self._manifest.spec)

    def _read(self, rows: Rows) -> LabelledClips:
        features = np.empty((len(rows), int(np.prod(self._manifest.spec.shape))))
        ids = [np.empty(0, np.int32)]
        groups: list[str] = []
        for content in rows.contents():
            last = len(groups) + len(content.paths)
            features[len(groups) : last] = content.features.reshape(len(content.paths), -1)
            ids.append(rows.class_ids(content))
            groups += [group or path for group, path in zip(content.groups, content.paths, strict=True)]
        return LabelledClips(features, np.concatenate(ids).astype(np.int64), groups)

    def _calibration(self, choice: L2Choice, logits: Array | None) -> Calibration | None:
        """Returns what inner folds say of the network; None where validation has clips of its own, or there is none."""
        if not choice.folds or logits is None:
            return None
        measured = choice.is_measured
        return fit_calibration(
            logits[measured].astype(np.float32), choice.measured_ids[measured], self._description(),
            self._settings.labels.target_precision,
        )  # fmt: skip

    def _description(self) -> ArtifactDescription:
        spec = self._manifest.spec
        return ArtifactDescription(
            spec=spec,
            fingerprint=spec.fingerprint,
            classes=self._training.classes,
            network_name=self._settings.network,
            returns_logits=True,
            trained_on=self._settings.rows.train_on,
            network_sha256="",
            litert_sha256=None,
        )

    def _save(self, network: LinearNetwork, calibration: Calibration | None) -> None:
        """Draws the curves, calibrates the network, and saves the artifact, last."""
        from model.pictures.run_pictures import draw_curves  # which loads what draws

        draw_curves(read_history(self._run / _HISTORY), self._run / "curves.png")

        def write(path: Path) -> bytes:
            network.write(path, self._training.classes)
            return network.to_litert(self._manifest.spec.shape)

        def calibrated(litert: bytes, description: ArtifactDescription) -> Calibration:
            if calibration is not None:
                return calibration
            return calibrate(litert, description, self._validation, self._settings.labels.target_precision)

        save_network(self._run, self._description(), write, calibrated, self._networks)

    def _figures(self) -> dict[str, Any]:
        history, schedule = read_history(self._run / _HISTORY), self._settings.schedule
        description = read_description(self._run)
        calibration = description.calibration
        best = best_epoch(history, schedule.best_by) or 0
        row = history[best - 1]
        seconds = sum(one["seconds"] for one in history)
        figures: dict[str, Any] = {
            "training_seconds": seconds,
            "clips": len(self._training),
            "validation_clips": int(row.get("val_clips", 0)),
            "inner_folds": self._has_inner_folds,
            "clips_per_second": len(self._training) * len(history) / max(seconds, 1e-3),
            "epochs": len(history),
            "best_epoch": best,
            "l2": row["l2"],
            "unit_length": read_linear(self._run, description).unit_length,
            "accuracy": row.get("val_accuracy"),
            "loss": row.get("val_loss"),
            "training_accuracy": row["accuracy"],
            "parameters": (int(np.prod(description.spec.shape)) + 1) * len(description.classes),
            "test_on": list(self._settings.rows.test_on),
            "seed": self._settings.seed,
            "temperature": calibration.temperature,
            "target_precision": calibration.target_precision,
            "classes_without_threshold": calibration.without_threshold,
        }
        if self._testing:
            network = Executor(read_litert(self._run, description), description, "litert")
            figures |= {
                "testing_clips": len(self._testing),
                "testing_accuracy": _accuracy(network, self._testing),
                "training_accuracy": _accuracy(network, self._training),
            }
        figures["seconds"] = time.monotonic() - self._started
        return figures


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Has BLAS compute by one thread: sums of several have other last digits."""
    import scipy.linalg  # noqa: F401 - its BLAS is to be there when the number of threads is set
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def _accuracy(network: Executor, rows: Rows) -> float:
    right = 0
    for content in rows.contents():
        right += int(np.sum(network.outputs(content.features).argmax(axis=1) == rows.class_ids(content)))
    return right / len(rows)


def _described(row: Row) -> str:
    training, validation = (
        f"loss {row[f'{prefix}loss']:z.4f}, accuracy {row[f'{prefix}accuracy']:z.4f}" if f"{prefix}loss" in row else ""
        for prefix in ("", "val_")
    )
    return f"{training}{validation and f'; validation {validation}'}; {row['seconds']:.1f} s"
