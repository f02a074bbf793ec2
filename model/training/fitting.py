"""The training itself, with Keras: from a feature set that can be trained on to a run folder with a model."""

import os
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from features.errors import UsageError
from features.io.filesystem import place
from features.runtime.log import LOG
from features.sources.partition import TESTING, TRAINING, VALIDATION
from features.store.manifest import Manifest
from model.inference.artifact import Artifact, has_artifact, read_description, save_artifact
from model.inference.calibration import Calibration
from model.inference.litert import check_convertible
from model.networks.builder import as_built, build, layer_table
from model.networks.registry import network
from model.pictures.run_pictures import draw_curves
from model.training.augment import changes_batches, make_augmenter
from model.training.calibrator import calibrate
from model.training.checkpoint import Keeper, last_checkpoint, restore, restore_best
from model.training.dataset import ordered_dataset, own_errors, training_dataset
from model.training.division import divide
from model.training.fused_normalization import fused_normalization
from model.training.history import Row, Watch, best_epoch, should_stop, write_history
from model.training.initial import InitialRun
from model.training.labelled_set import LabelledSet
from model.training.noise import Noise
from model.training.optimization import AverageInTests, compile_model
from model.training.partitions import validation_partitions
from model.training.precision import FLOAT32, building_in, with_float32_outputs
from model.training.recorder import Recorder, Watcher
from model.training.rows import Rows, steps
from model.training.run_folder import DivergedError, training_statistics
from model.training.settings import Settings
from model.training.still_bands import warn_of_still_bands

VERSIONS = {"keras": keras.__version__, "tensorflow": tf.__version__}
# Of the memory that is free, the share that a set in memory may take.
_MEMORY_SHARE = 0.5


def fits_in_memory(num_bytes: int) -> bool:
    """Returns whether so much may be kept beside what else is in memory."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return False
    return num_bytes <= _MEMORY_SHARE * free


class Training:
    """A network, the rows that it learns from, and the run folder in which that happens."""

    def __init__(
        self, run: Path, features: str, manifest: Manifest, settings: Settings, noise: Noise | None, keep_in_memory: str
    ) -> None:
        """Builds the network and opens the rows.

        Args:
            run: the run folder.
            features: a feature set.
            manifest: its state.
            settings: of the training.
            noise: background noise, None where none is used.
            keep_in_memory: `on`, `off`, or `auto` for where the set fits.

        Raises:
            UsageError: nothing can be held out to validate on, a network of the user's own cannot be used, or more
                epochs have ended in the run folder than are requested.
        """
        self._run, self._features, self._manifest, self._settings = run, features, manifest, settings
        self._network = network(settings.network)
        division = divide(features, manifest, settings)
        kept, held_out = division.training, division.held_out
        validate_on = validation_partitions(manifest, settings)
        is_changed = changes_batches(settings)
        total_bytes = sum(shard.bytes for shard in manifest.shards((*settings.rows.train_on, *validate_on)))
        in_memory = fits_in_memory(total_bytes) if keep_in_memory == "auto" else keep_in_memory == "on"

        labelled = LabelledSet.of(features, manifest, settings, noise, self._network.loss == "binary" or is_changed)
        train_on = settings.rows.train_on
        self.training = labelled.to_learn_from(train_on, kept, settings.schedule.balance == "sampling", in_memory)
        self.validation, _ = labelled.to_test_on(
            train_on if held_out else validate_on, VALIDATION, held_out, in_memory=in_memory
        )
        self.testing, _ = labelled.to_test_on(settings.rows.test_on, TESTING)
        self._learnt = (train_on, TRAINING, kept)
        self._labelled = labelled
        self.is_held_out = held_out is not None
        self._in_memory = in_memory
        keras.utils.set_random_seed(settings.seed)
        self.statistics = training_statistics(features, manifest, settings)
        precision = settings.schedule.precision
        with building_in(precision):
            self.model = self._build()
        self._network = as_built(self._network, self.model)
        if self._network.is_own:
            check_convertible(self._build(), manifest.spec.shape)  # in float32, as it is kept
        if precision != FLOAT32:
            self.model = with_float32_outputs(self.model)
        steps_per_epoch = steps(self.training, settings.schedule.batch_size)
        compile_model(self.model, self._network, settings.schedule, steps_per_epoch, is_changed)
        self._augmenter = None
        if is_changed:
            counts = self.training.class_counts()
            self._augmenter = make_augmenter(manifest.spec, self.statistics, settings, noise, counts)
        self._checkpoint = last_checkpoint(run)
        self._history = self._checkpoint.history if self._checkpoint else []
        if len(self._history) > settings.schedule.epochs:
            raise UsageError(
                f"--epochs is at least the {len(self._history)} that have ended in {run}, not "
                f"{settings.schedule.epochs}"
            )

    def _build(self) -> keras.Model:
        shape = self._manifest.spec.shape
        return build(self._network, shape, len(self._labelled.classes), self.statistics)

    def begin_with(self, initial: InitialRun) -> None:
        """Takes the weights of an earlier run, where no epoch has ended yet; raises `UsageError` where it cannot."""
        if self._checkpoint is None:
            initial.give_weights(self.model, self._labelled.classes)

    @property
    def has_ended(self) -> bool:
        """Whether no epoch is left to train."""
        schedule = self._settings.schedule
        return len(self._history) == schedule.epochs or should_stop(self._history, schedule)

    def describe(self) -> None:
        """Writes the table of layers, and logs it and what is trained on."""
        table = layer_table(self.model)
        (self._run / "layers.txt").write_text(table, encoding="utf-8")
        for line in table.splitlines():
            LOG.info("%s", line)
        validation = f"validating on {len(self.validation):,}" if self.validation else "not validating"
        if self.is_held_out:
            validation += ", a tenth of the training groups held out since there was nothing else"
        kept = "kept in memory" if self._in_memory else "streamed from the shards"
        LOG.info("training on %s clips, %s, %s", f"{len(self.training):,}", validation, kept)
        warn_of_still_bands(self.statistics, self._manifest.spec)
        if self.training.sampler is not None:
            LOG.info("an epoch has %s", self.training.sampler.describe())

    @property
    def learnt(self) -> Rows:
        """The rows to learn from as they are tested on."""
        return self.training if self.training.sampler is None else self._labelled.to_test_on(*self._learnt)[0]

    def accuracy(self, rows: Rows) -> float:
        """Returns the accuracy on some rows, with the network as it is used, without dropout."""
        dataset = ordered_dataset(rows, self._settings.schedule.batch_size)
        with own_errors(rows):
            return float(self.model.evaluate(dataset, verbose=0, return_dict=True)["accuracy"])

    def fit(self, watch: Watch | None = None) -> list[Row]:
        """Trains from the last checkpoint, or from the start, to the end, and returns the history.

        The network has the weights of the best epoch afterwards. `watch` is shown each epoch that has
        ended.

        Raises:
            RunError: a shard is missing or damaged, or the training diverged.
        """
        run, schedule, history = self._run, self._settings.schedule, self._history
        if self._checkpoint:
            restore(self.model, self._checkpoint)
            write_history(run / "history.csv", history)
        if not self.has_ended:
            if history:
                LOG.info("resuming after epoch %d", len(history))
            recorder = Recorder(run / "history.csv", history, schedule.epochs, schedule.batch_size, len(self.training))
            training = training_dataset(
                self.training, schedule.batch_size, self._settings.seed, len(history), self._augmenter
            )
            with own_errors(self.training, self.validation), fused_normalization(self.model):
                self.model.fit(
                    training,
                    steps_per_epoch=steps(self.training, schedule.batch_size),
                    validation_data=ordered_dataset(self.validation, schedule.batch_size) if self.validation else None,
                    initial_epoch=len(history),
                    epochs=schedule.epochs,
                    callbacks=[
                        AverageInTests(),
                        recorder,
                        Keeper(run, recorder, schedule),
                        Watcher(recorder, watch),
                    ],
                    shuffle=False,  # the data set has shuffled already
                    verbose=0,
                )
            history = recorder.rows
        best = best_epoch(history, schedule.best_by)
        if best is None:
            raise DivergedError(
                f"the loss was {history[-1]['loss']} in epoch {len(history)}: the training diverged; train into a new "
                "folder with a lower --learning-rate"
            )
        restore_best(self.model, run, best)
        return history

    def save(self, history: list[Row]) -> None:
        """Draws the curves, calibrates the network on the clips validated on, and saves the artifact, last.

        One that is there is of this very training, and stays.
        """
        if has_artifact(self._run):
            return
        draw_curves(history, self._run / "curves.png")
        settings, manifest = self._settings, self._manifest
        trained = self.model
        if settings.schedule.precision != FLOAT32:
            trained = self._build()
            trained.set_weights(self.model.get_weights())
        artifact = Artifact(
            network=trained,
            spec=manifest.spec,
            classes=self.training.classes,
            network_name=settings.network,
            returns_logits=self._network.returns_logits,
            trained_on=settings.rows.train_on,
        )
        rows, target_precision = self.validation, settings.labels.target_precision
        save_artifact(
            self._run,
            artifact,
            lambda litert, description: calibrate(litert, description, rows, target_precision),
            manifest.layout(place(self._features)).networks_folder,
        )

    @property
    def calibration(self) -> Calibration:
        """What was fitted when the artifact was saved."""
        return read_description(self._run).calibration


def run_training(training: Training, settings: Settings, watch: Watch | None = None) -> dict[str, Any]:
    """Trains, saves, and returns the figures of the run."""
    started = time.monotonic()
    if training.has_ended:
        LOG.info("the training has ended already: no epoch is left")
    else:
        training.describe()
    before = training.accuracy(training.testing) if training.testing else None
    history = training.fit(watch)
    training.save(history)
    calibration = training.calibration
    best = best_epoch(history, settings.schedule.best_by) or 0
    row = history[best - 1]
    seconds = sum(epoch["seconds"] for epoch in history)
    figures: dict[str, Any] = {
        "training_seconds": seconds,
        "clips": len(training.training),
        "validation_clips": len(training.validation),
        "clips_per_second": len(training.training) * len(history) / seconds,
        "epochs": len(history),
        "best_epoch": best,
        "accuracy": row.get("val_accuracy"),
        "loss": row.get("val_loss"),
        "training_accuracy": row["accuracy"],
        "parameters": training.model.count_params(),
        "test_on": list(settings.rows.test_on),
        "seed": settings.seed,
        "temperature": calibration.temperature,
        "target_precision": calibration.target_precision,
        "classes_without_threshold": calibration.without_threshold,
    }
    if training.testing:
        figures |= {
            "testing_clips": len(training.testing),
            "testing_accuracy_before": before,
            "testing_accuracy": training.accuracy(training.testing),
            "training_accuracy": training.accuracy(training.learnt),
        }
    figures["seconds"] = time.monotonic() - started
    return figures
