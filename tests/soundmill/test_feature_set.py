import numpy as np
import pyarrow.parquet as pq
import pytest

import soundmill
from features.frontend.clip import clip_waveform
from features.frontend.spectrogram import compute_features
from features.store.manifest import load_manifest
from model.training.dataset import training_dataset
from model.training.rows import Rows, batches


@pytest.fixture(scope="module")
def opened(feature_set):
    return soundmill.open_features(feature_set)


def test_what_a_set_holds(opened, feature_set):
    manifest = load_manifest(feature_set)
    assert opened.classes == ["high", "low", "middle"]
    assert opened.counts["clips"] == len(opened) == 120
    assert sum(opened.partitions.values()) == 120
    assert list(opened.partitions) == list(manifest.partitions)
    assert opened.spec == manifest.spec
    assert opened.spec.shape == (124, 129)
    assert repr(opened) == f"FeatureSet(folder={feature_set!r})"


def test_the_table_of_clips_is_that_of_the_set(opened, feature_set):
    clips = opened.clips()
    whole = pq.read_table(feature_set / load_manifest(feature_set).clips_file)
    assert clips.column_names == [
        "path",
        "start",
        "duration",
        "label",
        "group",
        "partition",
        "seconds",
        "warning",
        "decoder",
    ]
    for name in clips.column_names:
        assert clips[name].to_pylist() == whole[name].to_pylist()
    frame = clips.to_pandas()
    assert frame.groupby("label").size().to_dict() == {"high": 40, "low": 40, "middle": 40}
    assert frame.groupby("partition").size().to_dict() == opened.partitions


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_the_array_of_a_clip_is_what_the_front_end_makes_of_its_file(feature_set, parquet_set, words, storage_format):
    opened = soundmill.open_features(feature_set if storage_format == "tfrecord" else parquet_set)
    for path in opened.clips()["path"].to_pylist()[::25]:
        waveform, _, _ = clip_waveform(str(words / path), opened.spec)
        array = opened.array(path)
        np.testing.assert_array_equal(array, compute_features([waveform], opened.spec)[0])
        assert array.dtype == opened.spec.storage_dtype
        array[:] = 0  # it is the caller's own
        assert opened.array(path).any()


def test_clips_within_one_file_are_told_apart_by_their_start(tmp_path, words):
    from tests.conftest import call

    name = sorted(words.glob("low/*.wav"))[0].relative_to(words)
    table = tmp_path / "clips.csv"
    rows = [f"{name},low,training,{start},0.25" for start in (0.0, 0.1, 0.2)]
    table.write_text("\n".join(["path,label,partition,start,seconds", *rows]) + "\n", encoding="utf-8")
    options = ["--root", words, "--start-column", "start", "--duration-column", "seconds"]
    assert call("pipelines.featurize", "--input", table, "--output", tmp_path / "set", *options) == 0
    opened = soundmill.open_features(tmp_path / "set")
    for start in (0, 1_600, 3_200):
        waveform, _, _ = clip_waveform(str(words / name), opened.spec, start, 4_000)
        np.testing.assert_array_equal(opened.array(str(name), start), compute_features([waveform], opened.spec)[0])
    with pytest.raises(soundmill.UsageError, match=r"no clip .* begins at 7 in .*; those .* begin at 0, 1600, 3200$"):
        opened.array(str(name), 7)


def test_a_clip_that_is_not_there_is_named(opened, feature_set):
    with pytest.raises(soundmill.UsageError, match=r"no clip 'low/none\.wav' .* clips\(\) lists"):
        opened.array("low/none.wav")


def test_batches_are_those_of_training(opened, feature_set):
    manifest = load_manifest(feature_set)
    rows = Rows(feature_set, manifest, ("training",), manifest.classes)
    for seed, epoch in ((None, 0), (3, 0), (3, 1)):
        pairs = list(zip(opened.batches("training", 16, seed, epoch), batches(rows, 16, seed, epoch), strict=True))
        assert len(pairs) == -(-opened.partitions["training"] // 16)
        for (features, ids), (same_features, same_ids) in pairs:
            np.testing.assert_array_equal(features, same_features)
            np.testing.assert_array_equal(ids, same_ids)
            assert features.dtype == np.float32
            assert features.shape[1:] == (124, 129, 1)


def test_a_union_of_partitions_by_a_list_or_a_text(opened):
    count = opened.partitions["training"] + opened.partitions["validation"]
    for partitions in (["training", "validation"], "train,val", ("validation", "training")):
        assert sum(len(ids) for _, ids in opened.batches(partitions, 50)) == count


def test_ids_and_labels_belong_together(opened):
    ids = np.concatenate([ids for _, ids in opened.batches("testing", 8)])
    clips = opened.clips().to_pandas()
    labels = clips[clips.partition == "testing"].label
    assert [opened.classes[number] for number in ids] == list(labels)


def test_a_dataset_passes_over_another_epoch_each_time(opened, feature_set):
    manifest = load_manifest(feature_set)
    rows = Rows(feature_set, manifest, ("training",), manifest.classes)
    dataset = opened.dataset("training", 16, seed=3)
    steps = -(-opened.partitions["training"] // 16)
    assert int(dataset.cardinality()) == steps
    endless = iter(training_dataset(rows, 16, seed=3))
    for _ in range(2):
        for features, ids in dataset:
            same_features, same_ids = next(endless)
            np.testing.assert_array_equal(features, same_features)
            np.testing.assert_array_equal(ids, same_ids)
    ordered = [ids.numpy() for _, ids in opened.dataset("training", 16)]
    np.testing.assert_array_equal(np.concatenate(ordered), np.concatenate([i for _, i in opened.batches("train", 7)]))


@pytest.mark.parametrize(
    ("partitions", "size", "message"),
    [
        ("nowhere", 8, "no partition 'nowhere' in the features; there are training"),
        ("", 8, "names one at least"),
        ("training", 0, "a batch has one clip at least, not 0"),
    ],
)
def test_what_cannot_be_streamed_is_said_at_once(opened, partitions, size, message):
    for method in (opened.batches, opened.dataset):
        with pytest.raises(soundmill.UsageError, match=message):
            method(partitions, size)


def test_an_empty_partition_is_named(tmp_path, words):
    from tests.conftest import call

    assert call("pipelines.featurize", "--input", words, "--output", tmp_path / "set", "--split", "100/0/0") == 0
    opened = soundmill.open_features(tmp_path / "set")
    with pytest.raises(soundmill.UsageError, match=r"no clip of .* is in testing; there are clips in training$"):
        opened.batches("testing", 8)


def test_what_is_not_a_set_is_named(tmp_path):
    with pytest.raises(soundmill.UsageError, match=r"no such feature set: .*; make it with"):
        soundmill.open_features(tmp_path / "none")
    with pytest.raises(soundmill.UsageError, match="is not a complete feature set"):
        soundmill.open_features(tmp_path)


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_a_damaged_shard_is_an_error_with_a_way_out(small_set, storage_format):
    folder = small_set(storage_format)
    opened = soundmill.open_features(folder)
    path = opened.clips()["path"].to_pylist()[0]
    opened.array(path)
    for shard in (folder / "shards").iterdir():
        content = bytearray(shard.read_bytes())
        content[1_000::64] = bytes(len(content[1_000::64]))
        shard.write_bytes(content)
    with pytest.raises(soundmill.RunError, match=r"--repair computes it again"):
        opened.array(path)
    with pytest.raises(soundmill.RunError, match=r"--repair computes it again"):
        list(opened.batches("training", 8))


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_a_set_of_format_version_1_has_the_same_arrays(small_set, storage_format):
    folder = small_set(storage_format)
    opened = soundmill.open_features(folder)
    paths = opened.clips()["path"].to_pylist()[::40]
    expected = [opened.array(path) for path in paths]
    (table,) = folder.glob("clips-*.parquet")
    pq.write_table(pq.read_table(table).drop_columns("crc32c"), table)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 3', '"format_version": 1'))
    again = soundmill.open_features(folder)
    np.testing.assert_array_equal([again.array(path) for path in paths], expected)


def test_a_damaged_clips_table_is_an_error(small_set):
    folder = small_set("tfrecord")
    (table,) = folder.glob("clips-*.parquet")
    table.write_bytes(table.read_bytes()[:-8] + bytes(8))
    with pytest.raises(soundmill.RunError, match="clips table"):
        soundmill.open_features(folder).clips()


@pytest.fixture
def small_set(tmp_path, feature_set, parquet_set):
    """Copies a set, by its format, to be damaged."""
    import shutil

    return lambda name: shutil.copytree({"tfrecord": feature_set, "parquet": parquet_set}[name], tmp_path / name)
