"""From a feature set and settings to a run folder: all that can be refused is refused before TensorFlow is loaded."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import UsageError
from features.frontend.embedding import read_front_end_network
from features.io.atomic import naming_full_disk
from features.io.filesystem import absolute, place
from features.runtime.log import LOG
from features.store.locks import claim, is_claimed
from features.store.manifest import Manifest, load_manifest
from features.store.statistics import Statistics
from model.inference.artifact import remove_artifact
from model.inference.tensorflow_setup import load_tensorflow
from model.training.applicable import check_given, is_linear
from model.training.history import Watch
from model.training.initial import InitialRun, initial_run
from model.training.partitions import check, warn_of_classes, warn_of_test
from model.training.plan import Plan, plan_training
from model.training.recipes import write_recipe
from model.training.run_folder import RECIPE, check_new, check_resume, read_config, warn_of_versions, write_config
from model.training.settings import Given, Settings

if TYPE_CHECKING:
    from model.training.noise import Noise  # which loads the front end


def train(
    features: str,
    output: str,
    given: Given,
    keep_in_memory: str = "auto",
    resume: bool = False,
    noise: str | None = None,
    watch: Watch | None = None,
    init: str | None = None,
) -> dict[str, Any]:
    """Trains a network and leaves a run folder.

    Args:
        features: a feature set.
        output: the run folder, new or empty.
        given: settings that differ from those of the network's recipe; on resuming, they have to be those that the run
            was begun with.
        keep_in_memory: `on`, `off`, or `auto` for where the set fits; it changes the speed alone.
        resume: whether a run folder that is there continues after its last whole epoch, to the same bits as a run that
            was never interrupted. Its number of epochs alone may change, to a larger one, where the learning rate is
            constant and no average of the weights is kept.
        noise: folder of recordings of background noise; None for `_background_noise_` of the source, where that is. A
            run keeps what it takes of them, and has the same when it resumes.
        init: run folder whose weights the training begins with, and whose network it has where none is given; of its
            classes those that are trained again keep their outputs.
        watch: follows the training.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the features cannot be trained on, the output exists or was begun otherwise, or another training
            is writing it.
        RunError: a shard is missing or damaged, or the training diverged.
    """
    run = Path(output)
    manifest = load_manifest(features)
    if not is_claimed(run):
        _begin(run, features, manifest, given, resume, noise, init, keep_in_memory)  # what is refused is not touched
    with claim(run, "training", output):
        # Another may have trained in between.
        record, plan, initial = _begin(run, features, manifest, given, resume, noise, init, keep_in_memory)
        settings = plan.settings
        if manifest.spec.network_name is not None:  # the run keeps it: what is missing is missed now
            read_front_end_network(manifest.spec, manifest.layout(place(features)).networks_folder)
        warn_of_test(manifest, settings, settings.rows.test_on)
        warn_of_classes(manifest, settings, features)
        if resume and not record:
            LOG.info("nothing to resume in %s: the training begins", output)
        plan.log_left_out()
        from model.training.noise_file import noise_of_run

        kept_noise, noise_record = noise_of_run(run, record, plan.noise_folder, manifest.spec)
        training = _open(run, features, manifest, settings, kept_noise, keep_in_memory, initial)
        if record:
            warn_of_versions(record, training.versions)
        if not training.has_ended:
            remove_artifact(run)  # before the record, and not only when the next one is there: it is of fewer epochs
            taken = {"noise": noise_record, "init": asdict(initial) if initial else None}
            write_config(run, features, manifest, settings, training.statistics, taken, training.versions)
            write_recipe(run / RECIPE, settings)
        with naming_full_disk(run):
            if watch:
                watch.begin(run)
            return {"network": settings.network, **training.fit(watch)}


@dataclass(frozen=True)
class _Opened:
    """A training whose rows are open, and whose network is built if it is one of Keras.

    Attributes:
        statistics: of the features learnt from.
        has_ended: whether nothing is left to train.
        fit: trains, saves, and returns the figures; shows each row of the history to who watches.
        versions: of what trains.
    """

    statistics: Statistics
    has_ended: bool
    fit: Callable[[Watch | None], dict[str, Any]]
    versions: dict[str, str]


def _open(
    run: Path,
    features: str,
    manifest: Manifest,
    settings: Settings,
    noise: "Noise | None",
    keep_in_memory: str,
    initial: InitialRun | None,
) -> _Opened:
    if is_linear(settings.network):
        from model.training.linear import LinearTraining

        linear = LinearTraining(run, features, manifest, settings, noise)
        return _Opened(linear.statistics, linear.has_ended, linear.train, {})
    # TensorFlow takes seconds to load: what can be refused was refused before.
    load_tensorflow()
    from model.training.fitting import VERSIONS, Training, run_training

    training = Training(run, features, manifest, settings, noise, keep_in_memory)
    if initial:
        training.begin_with(initial)
    return _Opened(training.statistics, training.has_ended, partial(run_training, training, settings), VERSIONS)


def _begin(
    run: Path,
    features: str,
    manifest: Manifest,
    given: Given,
    resume: bool,
    noise: str | None,
    init: str | None,
    keep_in_memory: str,
) -> tuple[dict[str, Any] | None, Plan, InitialRun | None]:
    """Returns the record of the training that is resumed, None for a new one, its plan, and what it begins with.

    Raises:
        UsageError: it cannot be done; see `train`.
    """
    record = read_config(run) if resume else None
    if not record:
        initial = initial_run(init, manifest.spec) if init else None
        if initial and "network" not in given:
            given = {"network": initial.network, **given}
        plan = plan_training(features, manifest, given, noise)
        if initial and is_linear(plan.settings.network):
            raise UsageError(f"{plan.settings.network} is solved for, and comes out the same whatever it begins with; "
                             f"leave --init {init} out")  # fmt: skip
        _check_memory(plan.settings, keep_in_memory)
        check_new(run)
        return None, plan, initial
    settings = record["settings"].with_given(given)
    check_given(settings, given)
    _check_memory(settings, keep_in_memory)
    check(manifest, settings, features)
    check_resume(run, record, manifest, settings)
    folder = (record.get("noise") or {}).get("folder")
    if noise and absolute(noise) != folder:
        begun = f"with --noise {folder}" if folder else "without noise"
        raise UsageError(f"{run} was begun {begun}, not with --noise {noise}; leave that out, or give another --output")
    initial = InitialRun(**record["init"]) if record.get("init") else None
    if init and (initial is None or absolute(init) != initial.folder):
        begun = f"with --init {initial.folder}" if initial else "without --init"
        raise UsageError(f"{run} was begun {begun}, not with --init {init}; leave that out, or give another --output")
    return record, Plan(settings, folder, {}), initial


def _check_memory(settings: Settings, keep_in_memory: str) -> None:
    if is_linear(settings.network) and keep_in_memory == "off":
        raise UsageError(f"{settings.network} is solved for with its clips in memory; leave --keep-in-memory off out")
