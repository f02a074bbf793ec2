import numpy as np

from features.store.manifest import load_manifest
from model.training.dataset import ordered_dataset, training_dataset
from model.training.rows import Rows, batches, steps


def open_rows(folder) -> Rows:
    manifest = load_manifest(folder)
    return Rows(folder, manifest, ("training",), manifest.classes)


def test_training_data_set_yields_epoch_after_epoch_of_batches(small_shards):
    rows = open_rows(small_shards["tfrecord"])
    expected = [batch for epoch in (2, 3) for batch in batches(rows, 16, seed=7, epoch=epoch)]
    taken = list(training_dataset(rows, 16, seed=7, first_epoch=2).take(len(expected)).as_numpy_iterator())
    assert len(taken) == 2 * steps(rows, 16)
    for (features, ids), (expected_features, expected_ids) in zip(taken, expected, strict=True):
        np.testing.assert_array_equal(features, expected_features)
        np.testing.assert_array_equal(ids, expected_ids)


def test_ordered_data_set_yields_the_batches_of_one_epoch(small_shards):
    rows = open_rows(small_shards["parquet"])
    dataset = ordered_dataset(rows, 16)
    assert dataset.cardinality() == steps(rows, 16) == 6
    for found, expected in zip(dataset.as_numpy_iterator(), batches(rows, 16), strict=True):
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
