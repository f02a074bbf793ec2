"""Clips as a training would see them, without one: what its settings do, before they cost an hour."""

from typing import Any

import numpy as np

from features.errors import UsageError
from features.pictures.drawing import save
from features.store.manifest import load_manifest
from model.pictures.augmentation_picture import AugmentedClip, augmentation_figure
from model.training.applicable import is_linear
from model.training.augment import batch_generator, changes_batches, make_augmenter
from model.training.division import divide
from model.training.labelled_set import LabelledSet
from model.training.noise import compute_noise
from model.training.plan import plan_training
from model.training.rows import batches
from model.training.run_folder import training_statistics
from model.training.settings import Given

CLIPS, DRAWS = 4, 4


def preview(features: str, picture: str, given: Given, noise: str | None = None) -> dict[str, Any]:
    """Draws clips of a training's first batch before and after its augmentation, and trains nothing.

    The first draw of each is what the training would begin with, the others are that batch in later epochs.

    Args:
        features: a feature set.
        picture: a file that ends in .png.
        given: settings that differ from those of the network's recipe.
        noise: folder of recordings of background noise, None for that of the source.

    Returns:
        `network`, the number of `clips` and of `draws` of each, and the `settings` of the augmentation.

    Raises:
        UsageError: there is no such training, or it changes no clip.
        RunError: a shard is missing or damaged.
    """
    manifest = load_manifest(features)
    plan = plan_training(features, manifest, given, noise)
    plan.log_left_out()
    settings = plan.settings
    if is_linear(settings.network):
        raise UsageError(f"--preview has nothing to show: {settings.network} is trained on clips as they are")
    if not changes_batches(settings):
        raise UsageError(
            f"--preview has nothing to show: {settings.network} is trained without augmentation by default; give "
            "some, such as --time-shift-seconds 0.1"
        )
    kept = divide(features, manifest, settings).training
    computed = compute_noise(plan.noise_folder, manifest.spec) if plan.noise_folder else None
    labelled = LabelledSet.of(features, manifest, settings, computed)
    rows = labelled.to_learn_from(settings.rows.train_on, kept, settings.schedule.balance == "sampling")
    statistics = training_statistics(features, manifest, settings)
    augmenter = make_augmenter(manifest.spec, statistics, settings, computed, rows.class_counts())
    batch, ids = next(batches(rows, settings.schedule.batch_size, settings.seed))
    draws = [augmenter.change(batch.copy(), ids, batch_generator(settings.seed, epoch, 0)) for epoch in range(DRAWS)]
    # One of each class first, then others, in the order of the batch.
    firsts = sorted(np.unique(ids, return_index=True)[1].tolist())
    chosen = [*firsts, *(row for row in range(len(ids)) if row not in firsts)][:CLIPS]
    clips = [
        AugmentedClip(
            rows.classes[ids[row]],
            batch[row, ..., 0],
            [(changed[row, ..., 0], targets[row]) for changed, targets, _ in draws],
        )
        for row in chosen
    ]
    save(augmentation_figure(clips, manifest.spec, rows.classes), picture)
    shown = {name: value for name, value in settings.flat().items() if hasattr(settings.augmentation, name)}
    return {"network": settings.network, "clips": len(clips), "draws": DRAWS, "settings": shown}
