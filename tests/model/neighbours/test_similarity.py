import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import soundmill
from features.errors import RunError
from features.sources.paths import unescape_path
from features.store.clips_table import read_clips
from features.store.manifest import load_manifest
from model.neighbours.similarity import NOT_COMPARED, cosines, most_alike, similarities

BLOCK_ROWS = 64  # of 1,024 values


def reference(rows, query):
    """The definition, by NumPy."""
    rows, query = np.stack(rows).reshape(len(rows), -1).astype(np.float64), query.ravel().astype(np.float64)
    return rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


def generated(count, shape, dtype="float32"):
    generator = np.random.default_rng(count)
    return list(generator.standard_normal((count, *shape)).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(1024,), (124, 129), (3, 5), (1,)])
@pytest.mark.parametrize("count", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_it_is_the_cosine_of_all_values(count, shape, dtype):
    query, *rows = generated(count + 1, shape, dtype)
    found = cosines(rows, query)
    np.testing.assert_allclose(found, reference(rows, query), rtol=0, atol=1e-14)
    assert found.dtype == np.float64
    assert cosines([query], query)[0] == pytest.approx(1, abs=1e-15)
    assert cosines([-query], query)[0] == pytest.approx(-1, abs=1e-15)


def test_no_rows_have_no_cosines():
    assert cosines([], np.ones(3, np.float32)).shape == (0,)


def test_zeros_are_alike_to_nothing_and_nothing_is_nan():
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    tiny, huge = np.full(4, 1e-45, np.float32), np.full(4, 3e38, np.float32)
    assert cosines([zeros, ones], ones).tolist() == [0, 1]
    assert cosines([zeros, ones], zeros).tolist() == [0, 0]
    assert cosines([tiny, huge], ones).tolist() == [1, 1]
    assert cosines([tiny, huge], tiny).tolist() == [1, 1]
    assert cosines([tiny, huge], huge).tolist() == [1, 1]


def test_equal_rows_are_equally_alike_to_the_bit_wherever_they_stand():
    for shape in ((1024,), (98, 40), (7,)):
        query, row, *others = generated(202, shape)
        alone = cosines([row], query)[0]
        for place in (0, 1, 3, 62, 63, 64, 65, 127, 199):
            rows = [*others[:place], row, *others[place:]]
            for first in (0, 1, 2, 3, 5):
                if first <= place:
                    assert cosines(rows[first:], query)[place - first] == alone


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_a_set_is_compared_row_by_row(small_shards, storage_format):
    folder = small_shards[storage_format]
    opened, manifest = soundmill.open_features(folder), load_manifest(folder)
    layout = manifest.layout(folder)
    clips = read_clips(layout, manifest)
    paths = clips["path"].to_pylist()
    rows = [opened.array(path) for path in paths]
    query = rows[17]
    found = similarities(layout, manifest, clips, np.ones(len(paths), bool), query)
    assert found.tolist() == cosines(rows, query).tolist()
    wanted = np.arange(len(paths)) % 3 == 1
    some = similarities(layout, manifest, clips, wanted, query)
    assert some.tolist() == np.where(wanted, found, NOT_COMPARED).tolist()
    unknown = clips.set_column(clips.column_names.index("offset"), "offset", pa.nulls(len(clips), pa.int64()))
    assert similarities(layout, manifest, unknown, wanted, query).tolist() == some.tolist(), "as of format version 1"


def test_a_shard_is_read_where_a_row_of_it_is_wanted_and_a_damaged_one_is_an_error(small_shards, tmp_path):
    folder = shutil.copytree(small_shards["tfrecord"], tmp_path / "set")
    manifest = load_manifest(folder)
    layout = manifest.layout(folder)
    clips = read_clips(layout, manifest)
    shard = manifest.all_shards[4]
    others = np.array(clips["shard"].to_pylist()) != shard.name
    query = soundmill.open_features(folder).array(clips["path"][0].as_py())
    content = layout.shard(shard.name).read_bytes()
    layout.shard(shard.name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match=rf"the shard .*{shard.name}\.tfrecord is damaged: .*--repair computes it again"):
        similarities(layout, manifest, clips, np.ones(len(clips), bool), query)
    layout.shard(shard.name).unlink()
    with pytest.raises(RunError, match=rf"cannot read the shard .*{shard.name}\.tfrecord: No such file"):
        similarities(layout, manifest, clips, np.ones(len(clips), bool), query)
    assert (similarities(layout, manifest, clips, others, query)[others] > NOT_COMPARED).all()
    nothing = similarities(layout, manifest, clips, np.zeros(len(clips), bool), query)
    assert (nothing == NOT_COMPARED).all()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NOT_COMPARED, -0.5, 0.0, 0.5, 1.0]),
            st.sampled_from(["a", "b", "é", "\\xe9", "Z", "a/b", "\\\\"]),
            st.integers(0, 3),
        ),
        max_size=20,
    ),
    st.integers(1, 25),
)
def test_the_most_alike_come_first_and_equals_by_the_bytes_of_their_paths(rows, top):
    similarity = np.array([row[0] for row in rows], np.float64)
    clips = pa.table({"path": pa.array([row[1] for row in rows], pa.string()),
                      "start": pa.array([row[2] for row in rows], pa.int64())})  # fmt: skip
    expected = sorted(
        (row for row in range(len(rows)) if rows[row][0] > NOT_COMPARED),
        key=lambda row: (-rows[row][0], unescape_path(rows[row][1]), rows[row][2]),
    )
    assert most_alike(similarity, clips, top) == expected[:top]
