import hashlib
import os

import google_crc32c
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from features.sources.clips import Clip
from features.store.layout import FORMATS, Layout
from features.store.parquet_tensors import tensor_offsets
from features.store.row_reader import RowReader
from features.store.shards import (
    MAX_BYTES,
    Shard,
    ShardWriter,
    read_shard,
    rows_per_shard,
)
from tests.features.examples import LOG_MEL, MFCC, STFT, TINY, changed
from tests.features.networks.small import small_spec

LABELS = ("yes", "jä", "日本\U0001f600", "with space", '"quoted",\n', "")


def rows(number, storage_dtype="float32"):
    """Features and clips with unusual texts: (number, 4, 9)."""
    generator = np.random.default_rng(number)
    features = generator.standard_normal((number, *TINY.shape)).astype(storage_dtype)
    clips = [
        Clip(f"{LABELS[row % 6]}/ä\\xff {row}.wav", 2**40 * row, label=LABELS[row % 6], group=f"sprecher ß{row}")
        for row in range(number)
    ]
    return features, clips


def spec_of(storage_dtype):
    return changed(TINY, storage_dtype=storage_dtype)


def new_set(folder, storage_format="tfrecord"):
    layout = Layout(folder, storage_format)
    layout.make_folders()
    return layout


def write_shard(layout, features, clips, name="a", piece=5):
    """Writes rows a few at a time."""
    with ShardWriter(layout, name, spec_of(features.dtype.name)) as shard:
        for first in range(0, len(clips), piece):
            shard.write(features[first : first + piece], clips[first : first + piece])
        return shard.finish()


def write(layout, number, storage_dtype="float32", name="a"):
    return write_shard(layout, *rows(number, storage_dtype), name)


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
@pytest.mark.parametrize("number", [1, 2, 127, 128, 129, 257])
def test_what_is_read_is_what_was_written(tmp_path, storage_format, storage_dtype, number):
    layout = new_set(tmp_path, storage_format)
    features, clips = rows(number, storage_dtype)
    shard, _ = write_shard(layout, features, clips, "training-1")
    size = layout.shard("training-1").stat().st_size
    assert (shard.name, shard.rows, shard.bytes) == ("training-1", number, size)
    for is_mapped in (False, True):
        read = read_shard(layout, shard, spec_of(storage_dtype), is_mapped=is_mapped)
        assert read.features.dtype == storage_dtype
        assert np.array_equal(read.features, features)
        assert read.paths == [clip.path for clip in clips]
        assert read.labels == [clip.label for clip in clips]
        assert read.groups == [clip.group or "" for clip in clips]
        assert not any(tensor.flags.writeable for tensor in read.tensors)


@pytest.mark.parametrize("number", [1, 127, 257])
def test_tensors_of_parquet_are_found_where_pyarrow_reads_them(tmp_path, number):
    layout = new_set(tmp_path, "parquet")
    shard, places = write(layout, number)
    content = np.frombuffer(layout.shard(shard.name).read_bytes(), np.uint8)
    with pq.ParquetFile(layout.shard(shard.name)) as file:
        assert tensor_offsets(content, file.metadata, TINY.row_bytes) == [place.offset for place in places]
        assert tensor_offsets(content, file.metadata, TINY.row_bytes + 4) is None


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"use_dictionary": True}, {"data_page_version": "2.0"},
                                     {"write_statistics": True}, {"data_page_size": 300}])  # fmt: skip
def test_parquet_of_others_is_read_as_well(tmp_path, options):
    layout = new_set(tmp_path, "parquet")
    features, _ = rows(40)
    write(layout, 40)
    path = layout.shard("a")
    pq.write_table(pq.read_table(path), path, **{"compression": "none", "use_dictionary": False, **options})
    content = path.read_bytes()
    shard = Shard("a", 40, len(content), google_crc32c.value(content))
    for is_mapped in (False, True):
        assert np.array_equal(read_shard(layout, shard, TINY, is_mapped=is_mapped).features, features)


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
@pytest.mark.parametrize("number", [1, 2, 127, 128, 129, 257])
def test_every_row_is_found_at_its_place_and_nowhere_else(tmp_path, storage_format, storage_dtype, number):
    spec = spec_of(storage_dtype)
    features, clips = rows(number, storage_dtype)
    features[number // 2] = 0  # a silent clip, whose zeros are like those between rows
    if number > 2:
        features[1] = features[0]
    layout = new_set(tmp_path, storage_format)
    _, places = write_shard(layout, features, clips)
    assert len({place.offset for place in places}) == number
    with RowReader(layout, spec) as reader:
        for place, tensor in zip(places, features, strict=True):
            read = reader.read("a", place)
            assert read.dtype == storage_dtype
            assert np.array_equal(read, tensor)
        for wrong in (
            places[0]._replace(crc32c=places[0].crc32c ^ 1),
            places[0]._replace(offset=places[0].offset + 1),
            places[-1]._replace(offset=2**40),
        ):
            assert reader.read("a", wrong) is None
        assert reader.read("b", places[0]) is None


def test_rows_of_more_shards_than_files_may_be_open(tmp_path):
    layout = new_set(tmp_path)
    features, clips = rows(1)
    places = [write_shard(layout, features + number, clips, f"a{number}")[1][0] for number in range(300)]
    before = len(os.listdir("/proc/self/fd"))  # connections to a store that other tests began stay open
    with RowReader(layout, TINY) as reader:
        for _ in range(2):
            for number, place in enumerate(places):
                assert np.array_equal(reader.read(f"a{number}", place), features[0] + number)
        assert len(os.listdir("/proc/self/fd")) - before < 290


@pytest.mark.parametrize("storage_format", FORMATS)
def test_what_is_read_cannot_be_written_to(tmp_path, storage_format):
    layout = new_set(tmp_path, storage_format)
    shard, _ = write(layout, 3)
    assert not read_shard(layout, shard, TINY).tensors[0].flags.writeable


@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
def test_tfrecords_are_read_by_plain_tensorflow(tf, tmp_path, storage_dtype):
    layout = new_set(tmp_path)
    features, clips = rows(130, storage_dtype)
    write_shard(layout, features, clips)
    columns = {name: tf.io.FixedLenFeature([], tf.string) for name in ("features", "path", "label", "group")}
    columns["start"] = tf.io.FixedLenFeature([], tf.int64)

    def parse(record):
        example = tf.io.parse_single_example(record, columns)
        return {**example, "features": tf.reshape(tf.io.decode_raw(example["features"], storage_dtype), TINY.shape)}

    examples = list(tf.data.TFRecordDataset(str(layout.shard("a"))).map(parse).as_numpy_iterator())
    assert np.array_equal([example["features"] for example in examples], features)
    for name in ("path", "label", "group"):
        assert [example[name].decode() for example in examples] == [getattr(clip, name) for clip in clips]
    assert [example["start"] for example in examples] == [clip.start for clip in clips]


@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
def test_parquet_is_read_by_plain_pyarrow_and_pandas(tmp_path, storage_dtype):
    layout = new_set(tmp_path, "parquet")
    features, clips = rows(130, storage_dtype)
    write_shard(layout, features, clips)
    path = layout.shard("a")
    for frame in (pq.read_table(path).to_pandas(), pd.read_parquet(path)):
        assert list(frame.columns) == ["features", "path", "start", "label", "group"]
        tensors = np.stack([np.frombuffer(raw, storage_dtype).reshape(TINY.shape) for raw in frame["features"]])
        assert np.array_equal(tensors, features)
        for name in ("path", "label", "group", "start"):
            assert frame[name].tolist() == [getattr(clip, name) for clip in clips]
    with pq.ParquetFile(path) as file:
        assert file.metadata.num_row_groups == 2
        assert file.metadata.row_group(0).column(0).compression == "UNCOMPRESSED"


def test_both_formats_have_the_same_columns_and_bytes(tf, tmp_path):
    layouts = {storage_format: new_set(tmp_path, storage_format) for storage_format in FORMATS}
    for layout in layouts.values():
        write(layout, 5)
    (first, *_) = tf.data.TFRecordDataset(str(layouts["tfrecord"].shard("a"))).as_numpy_iterator()
    example = tf.train.Example.FromString(first).features.feature
    table = pq.read_table(layouts["parquet"].shard("a"))
    assert set(example) == set(table.column_names)
    row = table.slice(0, 1).to_pylist()[0]
    assert example["features"].bytes_list.value[0] == row["features"]
    assert example["start"].int64_list.value[0] == row["start"]
    for name in ("path", "label", "group"):
        assert example[name].bytes_list.value[0].decode() == row[name]


@pytest.mark.parametrize("storage_format", FORMATS)
def test_bytes_are_the_same_every_time(tmp_path, storage_format):
    layout = new_set(tmp_path, storage_format)
    for name in "ab":
        write(layout, 130, name=name)
    assert layout.shard("a").read_bytes() == layout.shard("b").read_bytes()


def test_tfrecord_bytes_are_those_of_format_version_1(tmp_path):
    # A literal, so that other bytes are a decision; Parquet's name the version of their writer.
    features = np.arange(36, dtype=np.float32).reshape(1, 4, 9)
    layout = new_set(tmp_path)
    shard, _ = write_shard(layout, features, [Clip("jä/a.wav", 7, label="jä", group="g")])
    digest = hashlib.sha256(layout.shard("a").read_bytes()).hexdigest()
    assert digest == "330cc71e565a5f20b60c30ebdae4c8ffbef21c5fc7883f75f195d0bdc22799b8"
    assert shard == Shard("a", 1, 258, 414980976)


@pytest.mark.parametrize("storage_format", FORMATS)
def test_memory_order_does_not_matter(tmp_path, storage_format):
    features, clips = rows(9)
    layout = new_set(tmp_path, storage_format)
    expected, _ = write_shard(layout, features, clips)
    for other in (np.asfortranarray(features), features.astype(">f4"), np.repeat(features, 2, axis=0)[::2]):
        shard, _ = write_shard(layout, other, clips)
        assert shard == expected


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
def test_one_flipped_byte_is_refused(tmp_path, storage_format, place):
    layout = new_set(tmp_path, storage_format)
    shard, _ = write(layout, 9)
    path = layout.shard("a")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    way_out = f"python -m features.verify {tmp_path} --repair computes it again"
    for is_mapped in (False, True):
        with pytest.raises(RunError, match=f"the shard {path} is damaged.*; {way_out}"):
            read_shard(layout, shard, TINY, is_mapped=is_mapped)


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_cut_shard_is_refused(tmp_path, storage_format, left):
    layout = new_set(tmp_path, storage_format)
    shard, _ = write(layout, 9)
    path = layout.shard("a")
    path.write_bytes(path.read_bytes()[:left])
    for is_mapped in (False, True):
        with pytest.raises(RunError, match=f"the shard {path} is damaged"):
            read_shard(layout, shard, TINY, is_mapped=is_mapped)


@pytest.mark.parametrize("storage_format", FORMATS)
def test_a_missing_shard_is_named(tmp_path, storage_format):
    layout = Layout(tmp_path, storage_format)
    message = f"cannot read the shard {layout.shard('a')}: No such file.*features.verify {tmp_path} --repair computes"
    with pytest.raises(RunError, match=message):
        read_shard(layout, Shard("a", 9, 100, 0), TINY)


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        (STFT, 1024),
        (LOG_MEL, 1024),
        (MFCC, 1024),
        (changed(STFT, clip_seconds=1.2), MAX_BYTES // changed(STFT, clip_seconds=1.2).row_bytes),
        (changed(STFT, clip_seconds=60.0), 17),
        (changed(STFT, clip_seconds=60.0, storage_dtype="float16"), 34),
        (changed(STFT, clip_seconds=3600.0), 1),
        (small_spec(clip_seconds=0.1), 64),  # a window a clip
        (small_spec(), 16),  # four
        (small_spec(clip_seconds=60.0), 1),
        (small_spec(clip_seconds=None), 64),
    ],
)
def test_rows_of_a_shard_follow_from_the_spec(spec, number):
    assert rows_per_shard(spec) == number
    assert number == 1 or number * spec.row_bytes <= 64 * 2**20


@pytest.mark.parametrize("storage_format", FORMATS)
def test_the_file_is_the_same_in_whatever_pieces_it_was_written(tmp_path, storage_format):
    features, clips = rows(300)
    layout = new_set(tmp_path, storage_format)
    written = [write_shard(layout, features, clips, piece=piece) for piece in (1, 7, 128, 300)]
    assert written[1:] == written[:-1]
    assert layout.shard("a").stat().st_size == written[0][0].bytes


@pytest.mark.parametrize("storage_format", FORMATS)
def test_of_a_shard_that_is_discarded_or_fails_nothing_is_left(tmp_path, storage_format):
    features, clips = rows(130)
    layout = new_set(tmp_path, storage_format)
    with ShardWriter(layout, "a", spec_of("float32")) as shard:
        shard.write(features, clips)
        shard.finish()
        shard.discard()
    with pytest.raises(KeyError), ShardWriter(layout, "a", spec_of("float32")) as shard:
        shard.write(features, clips)
        raise KeyError
    assert list(layout.shards_folder.iterdir()) == []
