"""From a feature set and settings to a run folder: all that can be refused is refused before TensorFlow is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from features.runtime.log import LOG
from features.store.locks import claim, is_claimed
from features.store.manifest import Manifest, load_manifest
from model.inference.artifact import remove_artifact
from model.inference.tensorflow_setup import load_tensorflow
from model.training.run_folder import check_new, check_resume, read_config, warn_of_versions, write_config
from model.training.settings import Settings, SettingsGiven, check, warn_of_test


def train(
    features: str, output: str, given: SettingsGiven, keep_in_memory: str = "auto", resume: bool = False
) -> dict[str, Any]:
    """Trains a network and leaves a run folder.

    Args:
        features: a feature set.
        output: the run folder, new or empty.
        given: settings that differ from the defaults; on resuming, from those that the run was begun with.
        keep_in_memory: `on`, `off`, or `auto` for where the set fits; it changes the speed alone.
        resume: whether a run folder that is there continues after its last whole epoch, to the same bits as a run that
            was never interrupted. Its number of epochs alone may change, to a larger one.

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
        _begin(run, features, manifest, given, resume)  # what is refused is not touched
    with claim(run, "training", output):
        config, settings = _begin(run, features, manifest, given, resume)  # another may have trained in between
        warn_of_test(manifest, settings, settings.test_on)
        if resume and not config:
            LOG.info("nothing to resume in %s: the training begins", output)
        # TensorFlow takes seconds to load: what can be refused was refused before.
        load_tensorflow()
        from model.training.fitting import VERSIONS, Training, run_training

        training = Training(run, features, manifest, settings, keep_in_memory)
        if config:
            warn_of_versions(config, VERSIONS)
        if not training.has_ended:
            remove_artifact(run)  # before the record, and not only when the next one is there: it is of fewer epochs
            write_config(run, features, manifest, settings, VERSIONS)
        return {"network": settings.network, **run_training(training, settings)}


def _begin(
    run: Path, features: str, manifest: Manifest, given: SettingsGiven, resume: bool
) -> tuple[dict[str, Any] | None, Settings]:
    """Returns the record of the training that is resumed, None for a new one, and its settings.

    Raises:
        UsageError: it cannot be done; see `train`.
    """
    config = read_config(run) if resume else None
    settings = replace(config["settings"] if config else Settings(), **given)
    check(manifest, settings, features)
    if config:
        check_resume(run, config, manifest, settings)
    else:
        check_new(run)
    return config, settings
