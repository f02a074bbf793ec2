"""The run folder's record of how a training was made, and whether another may resume it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from features.errors import RunError, UsageError
from features.io.atomic import PARTIAL_SUFFIX, write_file
from features.io.filesystem import absolute, place
from features.runtime.log import LOG
from features.store.locks import CLAIM
from features.store.manifest import Manifest
from features.store.statistics import Statistics, Sums
from features.store.versions import library_versions
from model.inference.artifact import has_artifact
from model.training.circumstances import circumstances
from model.training.division import divide
from model.training.partitions import validation_partitions
from model.training.rows import Rows
from model.training.settings import Settings

CONFIG = "config.json"
RECIPE = "recipe.toml"
NOISE = "noise.parquet"

NoiseRecord = dict[str, Any]
"""What the record says of background noise: `folder`, `crc32c` of its file, and `windows` of each partition."""


class DivergedError(RunError):
    """The loss of a training was not finite, and its weights are lost."""


def read_config(run: Path) -> dict[str, Any] | None:
    """Returns how the training of a run folder was made, None where there is no such folder or it is empty.

    Raises:
        UsageError: the folder holds something else, or the record is damaged.
    """
    if _is_new(run):
        return None
    path = run / CONFIG
    if not path.is_file():
        raise UsageError(f"{run} exists and is not a run folder: it has no {CONFIG}; give another --output")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["settings"] = Settings.from_dict(config["settings"])
        return config
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(f"{path} is damaged: {error!r}; give another --output") from error


def write_config(
    run: Path,
    features: str,
    manifest: Manifest,
    settings: Settings,
    statistics: Statistics,
    taken: dict[str, Any],
    versions: dict[str, str],
) -> None:
    """Records how a training is made.

    Args:
        run: the run folder.
        features: the feature set.
        manifest: its state.
        settings: of the training.
        statistics: of the features learnt from.
        taken: what it takes beside the features: noise, and an earlier run.
        versions: of Keras and TensorFlow.
    """
    mean, variance = statistics.scalar()
    config = {
        "settings": asdict(settings),
        "features": absolute(features),
        "features_state": manifest.state,
        "rows_sha256": _rows_digest(manifest, settings),
        "spec": manifest.spec.to_dict(),
        "fingerprint": manifest.spec.fingerprint,
        "classes": manifest.classes,
        "normalization": {"mean": mean, "variance": variance},
        **taken,
        "versions": library_versions(manifest.spec) | versions,
        **circumstances(),
    }
    write_file(run / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def training_statistics(features: str, manifest: Manifest, settings: Settings) -> Statistics:
    """Returns the sums over the partitions trained on, without the split that is left out.

    Clips that are held out to validate on count, which reveals no labels.

    Raises:
        RunError: a shard is missing or damaged; without splits none is read.
    """
    train_on = settings.rows.train_on
    if not settings.rows.splits:
        return Statistics.merge(manifest.statistics[name] for name in train_on)
    counted = divide(features, manifest, settings).not_left_out
    sums = Sums(manifest.spec.shape)
    rows = Rows(place(features), manifest, train_on, manifest.classes, selection=counted)
    for shard in rows.shards:
        sums.add(rows.read(shard).features)
    return sums.statistics()


def check_new(run: Path) -> None:
    """Raises `UsageError` where there is something already that a new run would mix with."""
    if not _is_new(run):
        if (run / CONFIG).is_file() and not has_artifact(run):
            raise UsageError(f"the training in {run} did not end; add --resume to continue, or give another --output")
        raise UsageError(f"{run} exists already; give another --output, or remove it")


def check_resume(run: Path, config: dict[str, Any], manifest: Manifest, settings: Settings) -> None:
    """Raises `UsageError` where a training cannot resume in a run folder, since it would be another training."""
    difference = settings.difference(config["settings"])
    if difference:
        raise UsageError(f"{run} was begun with {difference}; leave that out, or give another --output")
    same = (config.get("fingerprint"), config.get("classes")) == (manifest.spec.fingerprint, manifest.classes)
    if not same or not _is_made_from(config, manifest):
        raise UsageError(
            f"{run} was begun with other features: the spec, the classes or the rows trained and validated on have "
            "changed since; train into a new folder"
        )


def warn_of_versions(config: dict[str, Any], versions: dict[str, str]) -> None:
    """Warns where a training resumes under other libraries: the bits of its weights may then differ."""
    earlier = config.get("versions", {})
    changed = [name for name, value in (library_versions() | versions).items() if earlier.get(name) != value]
    if changed:
        LOG.warning("warning: %s changed since this run was begun; its last digits may differ", ", ".join(changed))


def settings_of(run: Path, manifest: Manifest) -> Settings | None:
    """Returns the settings of a run; None without a record, or where the set has other rows than it was trained on."""
    try:
        config = read_config(run)
    except UsageError:  # a run folder takes no more than its model to be used
        return None
    return config["settings"] if config and _is_made_from(config, manifest) else None


def _is_made_from(config: dict[str, Any], manifest: Manifest) -> bool:
    digest: str | None = config.get("rows_sha256")
    return digest == _rows_digest(manifest, config["settings"])


def _is_new(run: Path) -> bool:
    # A run that was killed as it began leaves its claim and its noise, or a part of what it wrote.
    return not run.exists() or (
        run.is_dir()
        and all(path.name in (CLAIM, NOISE) or path.name.endswith(PARTIAL_SUFFIX) for path in run.iterdir())
    )


def _rows_digest(manifest: Manifest, settings: Settings) -> str:
    partitions = {*settings.rows.train_on, *validation_partitions(manifest, settings)}
    rows = [[shard.name, shard.rows, shard.crc32c] for shard in manifest.shards(partitions)]
    return hashlib.sha256(json.dumps([manifest.storage_format, rows]).encode()).hexdigest()
