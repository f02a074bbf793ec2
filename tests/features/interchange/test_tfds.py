"""TensorFlow Datasets opens a publication as the set is: rows, class names, shapes and splits."""

import numpy as np
import pytest

from features.interchange.publication import publish
from features.store import shards
from tests.features.interchange.sets import HALF, ODD, POOLED, TINY, odd_rows, rows_of, table_set


@pytest.fixture(scope="module")
def tfds():
    """TensorFlow Datasets, which takes seconds to import."""
    import tensorflow_datasets

    return tensorflow_datasets


@pytest.mark.parametrize(
    ("spec", "form", "partitions"),
    [
        pytest.param(TINY, "tfrecord", ("fold-1", "fold-12"), id="float32"),
        pytest.param(HALF, "parquet", ("training", "validation", "testing"), id="float16", marks=pytest.mark.trial),
        pytest.param(POOLED, "tfrecord", ("training", "testing"), id="pooled", marks=pytest.mark.trial),
    ],
)
def test_tensorflow_datasets_reads_the_rows_to_the_bit(tmp_path, monkeypatch, tfds, spec, form, partitions):
    monkeypatch.setattr(shards, "MAX_ROWS", 8)
    features = table_set(tmp_path / "set", odd_rows(30, partitions), spec, form)
    publish(features, str(tmp_path / "Sounds 2"), "tfds")
    builder = tfds.builder_from_directory(tmp_path / "Sounds 2")
    assert builder.name == "sounds_2"
    assert list(builder.info.metadata["classes"]) == sorted(ODD)
    assert builder.info.metadata["fingerprint"] == spec.fingerprint
    feature = builder.info.features["features"]
    assert (feature.shape, feature.np_dtype) == (spec.shape, np.dtype(spec.storage_dtype))
    in_order = tfds.ReadConfig(interleave_cycle_length=1)  # files are read in turns, 16 rows of each, without it
    expected = rows_of(features)
    assert set(builder.info.splits) == set(expected)
    for split, rows in expected.items():
        assert builder.info.splits[split].num_examples == len(rows)
        read = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=in_order)))
        assert len(read) == len(rows)
        for one, row in zip(read, rows, strict=True):
            assert one["features"].dtype == spec.storage_dtype
            assert one["features"].shape == spec.shape
            assert one["features"].tobytes() == row.features.tobytes()
            texts = [one[name].decode() for name in ("label", "path", "group")]
            assert (texts, one["start"]) == ([row.label, row.path, row.group], row.start)
    supervised = builder.as_dataset(split="+".join(expected), as_supervised=True)
    assert len(list(supervised)) == 30
