"""Which rows of a feature set a training uses, and whether it can be trained on them."""

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.partition import VALIDATION, without_clips
from features.store.lost_classes import absent_folders, lost_classes, lost_text
from features.store.manifest import Manifest
from model.inference.classes import NOT_NAMED
from model.networks.registry import check_shape, network
from model.training.label_plan import LabelPlan
from model.training.precision import check_precision
from model.training.settings import Settings

_SHOWN_FOLDERS = 5


def lacks_validation(manifest: Manifest, settings: Settings) -> bool:
    """Returns whether nothing but the clips trained on is there to validate on, where validation is wanted."""
    if settings.rows.validate_on is not None:
        return False
    return VALIDATION in settings.rows.train_on or not (
        VALIDATION in manifest.partitions and manifest.rows([VALIDATION])
    )


def holds_out(manifest: Manifest, settings: Settings) -> bool:
    """Returns whether validation takes a tenth of the training groups.

    A linear network learns from all of them: inner folds say what its penalty is to be.
    """
    return lacks_validation(manifest, settings) and not network(settings.network).is_linear


def validation_partitions(manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    """Returns the partitions validated on; none where validation is of the clips trained on, or is not wanted."""
    if settings.rows.validate_on is not None:
        return settings.rows.validate_on
    return () if lacks_validation(manifest, settings) else (VALIDATION,)


def check(manifest: Manifest, settings: Settings, features: str) -> None:
    """Raises `UsageError` where a set cannot be trained on, or not in this precision here."""
    plan = LabelPlan(settings.labels)
    plan.check(manifest.classes, features)
    classes = plan.classes(manifest.classes)
    if len(classes) < 2:
        raise UsageError(
            f"training takes two classes at least, but {features} has only {classes[0]!r}; "
            + ("featurize a folder with one folder per class" if plan.is_plain else "see --classes and --unknown")
        )
    check_shape(network(settings.network), manifest.spec.shape)
    check_precision(settings.schedule.precision)
    validate_on = validation_partitions(manifest, settings)
    purposes = (("train", settings.rows.train_on), ("validate", validate_on), ("test", settings.rows.test_on))
    for purpose, partitions in purposes:
        if partitions and not manifest.rows(partitions):
            names = ", ".join(partitions)
            clips = ", ".join(f"{name}: {manifest.rows([name]):,}" for name in manifest.partitions)
            raise UsageError(
                f"nothing to {purpose} on: the {names} partition of {features} is empty ({clips}). Featurize with "
                f"another --split or --group, so that its groups spread, or choose with --{purpose}-on"
            )
    counts = manifest.counts["classes"]
    kept = [label for label in manifest.classes if plan.class_of(label) == label and label not in NOT_NAMED]
    if not any(counts[label].get(name, 0) for label in kept for name in settings.rows.train_on):
        raise UsageError(
            f"nothing to train on: {', '.join(settings.rows.train_on)} of {features} has no clip of {', '.join(kept)}; "
            "choose others with --classes, --unknown or --train-on"
        )
    for purpose, partitions in purposes[1:]:
        both = sorted(set(settings.rows.train_on) & set(partitions))
        if both:
            raise UsageError(f"{purpose} on other clips than those trained on, but --train-on and --{purpose}-on both "
                             f"name {both[0]!r}")  # fmt: skip


def warn_of_classes(manifest: Manifest, settings: Settings, features: str) -> None:
    """Warns of classes that the network will not know, for want of clips to learn from."""
    plan = LabelPlan(settings.labels)
    lost = lost_classes(manifest.layout(features), manifest)
    if lost := {label: number for label, number in lost.items() if plan.class_of(label) == label}:
        LOG.warning("warning: %s", lost_text(lost))
    absent = [name for name in absent_folders(manifest.layout(features), manifest) if plan.class_of(name) == name]
    if absent:
        more = f" and {len(absent) - _SHOWN_FOLDERS} more" if len(absent) > _SHOWN_FOLDERS else ""
        LOG.warning(
            "warning: the set has no clip of these class folders: %s%s", ", ".join(absent[:_SHOWN_FOLDERS]), more
        )
    names = [label for label in without_clips(manifest.counts["classes"], settings.rows.train_on)
             if plan.class_of(label) == label]  # fmt: skip
    if names:
        LOG.warning("warning: classes without a training clip, which the network does not learn: %s", ", ".join(names))


def warn_of_test(manifest: Manifest, settings: Settings, test_on: tuple[str, ...]) -> None:
    """Warns where a test is on clips that the network learns from, or by which its best weights are chosen."""
    for name in test_on:
        if name in settings.rows.train_on:
            LOG.warning("warning: the network is trained on %s: the accuracy there says nothing about new clips", name)
        if name in validation_partitions(manifest, settings):
            LOG.warning("warning: the best weights are chosen on %s: its accuracy is a little too high for new "
                        "clips", name)  # fmt: skip
