import dataclasses

import numpy as np
import pytest

from features.frontend.spec import FeatureSpec
from features.store.manifest import load_manifest
from model.training.augment import Augmenter, batch_generator, changes_batches, impossible, make_augmenter
from model.training.dataset import training_dataset
from model.training.recipes import recipe
from model.training.rows import Rows, batches
from model.training.settings import Settings
from tests.features.networks.small import small_spec
from tests.model.conftest import SMALL_SPEC

BANDS = SMALL_SPEC.num_bands
WARPS = {"time_shift_seconds": 0.05, "time_stretch": 0.1, "frequency_warp": 0.1}
MASKS = {"time_masks": 2, "time_mask_seconds": 0.05, "frequency_masks": 2}
EVERYTHING = {**WARPS, **MASKS, "gain_db": 4.0, "noise_probability": 0.5, "mixup_alpha": 0.4, "label_smoothing": 0.1}
MEAN = np.full(BANDS, -1, np.float32)  # no magnitude is that


def augmenter(spec=SMALL_SPEC, noise=True, **given) -> Augmenter:
    windows = np.random.default_rng(9).random((7, *spec.shape)).astype(np.float32) if noise else None
    return Augmenter(Settings().with_given(given), np.ones(3, np.float32), spec, MEAN, windows)


def batch(count=20, spec=SMALL_SPEC) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.random((count, *spec.shape, 1)).astype(np.float32), generator.integers(0, 3, count, np.int32)


def generator(number=0) -> np.random.Generator:
    return batch_generator(5, 2, number)


def test_without_augmentation_clips_stay_what_they_are():
    features, ids = batch()
    changed, targets, weights = augmenter(noise=False).change(features.copy(), ids, generator())
    np.testing.assert_array_equal(changed, features)
    np.testing.assert_array_equal(targets, np.eye(3)[ids])
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize("pool", ["mean", None])
def test_embeddings_are_mixed_alone(pool):
    spec = small_spec(pool=pool)
    features, ids = batch(spec=spec)
    changed, _, _ = augmenter(spec, noise=False).change(features.copy(), ids, generator())
    np.testing.assert_array_equal(changed, features)
    mixed, targets, _ = augmenter(spec, noise=False, mixup_alpha=0.4).change(features.copy(), ids, generator())
    assert (mixed != features).mean() > 0.5 < (targets.max(axis=1) >= 0.5).mean()


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_a_batch_of_any_size_keeps_its_shape_and_the_sum_of_its_targets(count):
    features, ids = batch(count)
    changed, targets, weights = augmenter(**EVERYTHING).change(features.copy(), ids, generator())
    assert changed.shape == features.shape
    assert changed.dtype == targets.dtype == weights.dtype == np.float32
    assert np.isfinite(changed).all()
    np.testing.assert_allclose(targets.sum(axis=1), np.ones(count), rtol=1e-6)
    if count == 20:
        assert (changed != features).mean() > 0.9


@pytest.mark.parametrize("given", [WARPS, MASKS, {"gain_db": 4.0}, {"mixup_alpha": 0.4}, EVERYTHING])
def test_the_same_generator_gives_the_same_bits_and_another_gives_others(given):
    features, ids = batch()
    uses_noise = "noise_probability" in given
    first, again, other = (
        augmenter(noise=uses_noise, **given).change(features.copy(), ids, generator(number)) for number in (0, 0, 1)
    )
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], features)


def test_masks_leave_the_mean_and_all_else_as_it_was():
    features, ids = batch(200)
    changed = augmenter(noise=False, **MASKS).change(features.copy(), ids, generator())[0]
    masked = changed != features
    assert (changed[masked] == -1).all()
    assert masked.all(axis=(2, 3)).sum(axis=1).max() == 2 * 6  # frames: twice 0.05 s of hops of 8 ms
    assert masked.all(axis=(1, 3)).sum(axis=1).max() <= 2 * 10  # bands: twice 15 % of 65


def test_mixup_mixes_features_targets_and_weights_by_the_same_shares_and_a_clip_has_the_larger():
    features, ids = batch(300)
    features[...] = ids[:, None, None, None]
    mixing = dataclasses.replace(augmenter(noise=False, mixup_alpha=0.5), class_weights=np.array([1, 2, 5], np.float32))
    changed, targets, weights = mixing.change(features.copy(), ids, generator())
    assert (targets[np.arange(300), ids] >= 0.5).all()
    assert ((targets > 0) & (targets < 0.5)).any()
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(changed[:, 3, 4, 0], targets @ [0, 1, 2], rtol=1e-5)
    np.testing.assert_allclose(weights, targets @ [1, 2, 5], rtol=1e-6)


def test_so_many_clips_get_noise_as_were_asked_for_none_of_it_louder_than_they_are():
    features, ids = batch(400)
    noisy = augmenter(noise_probability=0.25, noise_snr_db=(0.0, 20.0))
    changed = noisy.change(features.copy(), ids, generator())[0]
    added = np.square(changed).mean(axis=(1, 2, 3)) / np.square(features).mean(axis=(1, 2, 3)) - 1
    has_noise = added > 1e-3
    assert has_noise.mean() == pytest.approx(0.25, abs=0.06)
    snr_db = -10 * np.log10(added[has_noise])
    assert (snr_db.min() > -0.1, snr_db.max() < 20.1) == (True, True)
    assert np.median(snr_db) == pytest.approx(10, abs=3)
    np.testing.assert_allclose(changed[~has_noise], features[~has_noise], rtol=1e-6)


def test_features_without_frames_take_mixup_alone():
    pooled = dataclasses.replace(SMALL_SPEC, pool="mean")
    settings = recipe("residual")
    reasons = impossible(settings, pooled, has_noise=True)
    left = settings.with_given(dict.fromkeys(reasons, 0))
    assert left.augmentation.mixup_alpha == 0.2
    assert changes_batches(left)
    assert not impossible(left, pooled, has_noise=False)
    features, ids = batch(20, pooled)
    mixing = dataclasses.replace(augmenter(pooled, noise=False), settings=left)
    changed = mixing.change(features.copy(), ids, generator())[0]
    assert changed.shape == features.shape
    assert features.min() <= changed.min() < changed.max() <= features.max()


MEL = {"mel_filter_bank": "htk", "mel_bands": 20, "mel_low_hz": 60.0, "mel_high_hz": 4_000.0, "log_scale": "decibel",
       "log_offset": 1e-10}  # fmt: skip
MFCC = FeatureSpec(
    front_end="mfcc", sample_rate_hz=8_000, clip_seconds=0.25, window_samples=256, hop_samples=64, fft_samples=256,
    spectrum_power=2, coefficients=13, **MEL,
)  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (SMALL_SPEC, set()),
        (dataclasses.replace(SMALL_SPEC, clip_seconds=0.1), {"time_shift_seconds"}),
        (MFCC, {"gain_db", "noise_probability", "frequency_warp"}),
        (
            dataclasses.replace(MFCC, dynamic_range_db=80.0),
            {"gain_db", "noise_probability", "frequency_warp", "time_shift_seconds", "time_stretch"},
        ),
    ],
)
def test_what_a_front_end_does_not_allow_is_named(spec, names):
    settings = recipe("residual")
    assert set(impossible(settings, spec, has_noise=True)) == names
    assert set(impossible(settings, spec, has_noise=False)) == names | {"noise_probability"}
    assert not impossible(recipe("tutorial-cnn"), spec, has_noise=False)


def test_what_is_left_of_mfccs_changes_them():
    left = recipe("residual").with_given({"gain_db": 0, "noise_probability": 0, "frequency_warp": 0})
    moving = Augmenter(left, np.ones(3, np.float32), MFCC, np.zeros(13, np.float32))
    features, ids = batch(20, MFCC)
    changed = moving.change(features.copy(), ids, generator())[0]
    assert np.isfinite(changed).all()
    assert (changed != features).mean() > 0.5


def test_a_batch_follows_from_its_number_alone(small_shards):
    manifest = load_manifest(small_shards["tfrecord"])
    settings = Settings().with_given({name: value for name, value in EVERYTHING.items() if "noise" not in name})
    rows = Rows(small_shards["tfrecord"], manifest, ("training",), manifest.classes)
    statistics = manifest.statistics["training"]
    changing = make_augmenter(manifest.spec, statistics, settings, None, np.array([3, 2, 1]))
    features, ids = list(batches(rows, 32, 7, epoch=3))[1]
    expected = changing.change(features, ids, batch_generator(7, 3, 1))
    taken = list(training_dataset(rows, 32, 7, 3, changing).take(2).as_numpy_iterator())[1]
    for mine, theirs in zip(taken, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
