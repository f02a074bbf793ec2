import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.io.atomic import AtomicFile
from features.io.crc32c import joined_crc32c
from features.io.tfrecord import masked_crc32c, records, write_records

TENSOR = np.arange(6, dtype="<f4").reshape(2, 3)


def written(path, rows, name="features"):
    """Writes (fields, tensor) a row by one call and returns where the tensors lie."""
    with AtomicFile(path) as file:
        return write_records(file, [fields for fields, _ in rows], name, [tensor for _, tensor in rows])


def test_masked_checksum_is_tensorflows():
    # CRC-32C of 32 zero bytes from RFC 3720, masked as TFRecord's documentation says.
    crc = 0x8A9136AA
    assert masked_crc32c(crc) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert masked_crc32c(0xFFFFFFFF) < 2**32


fields = st.dictionaries(
    st.text(min_size=1, max_size=200).filter(lambda key: key != "features"),
    st.one_of(st.binary(max_size=300), st.integers(0, 2**63 - 1)),
    max_size=4,
)


@settings(max_examples=20)
@given(st.lists(st.tuples(fields, st.integers(0, 300)), max_size=4))
def test_tensorflow_reads_what_was_written(tf, tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "written.tfrecord"
    tensors = [np.arange(size, dtype="<f4") for _, size in rows]
    places = written(path, [(row, tensor) for (row, _), tensor in zip(rows, tensors, strict=True)])
    content = path.read_bytes()
    examples = [tf.train.Example.FromString(raw) for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    assert len(examples) == len(rows)
    for example, (row, _), tensor in zip(examples, rows, tensors, strict=True):
        features = example.features.feature
        assert set(features) == {*row, "features"}
        assert list(features["features"].bytes_list.value) == [tensor.tobytes()]
        for key, value in row.items():
            kind = "int64_list" if isinstance(value, int) else "bytes_list"
            assert list(getattr(features[key], kind).value) == [value]
    assert list(records(memoryview(content))) == [
        {**row, "features": tensor.tobytes()} for (row, _), tensor in zip(rows, tensors, strict=True)
    ]
    for (offset, crc32c), tensor in zip(places, tensors, strict=True):
        assert content[offset : offset + tensor.nbytes] == tensor.tobytes()
        assert crc32c == google_crc32c.value(tensor.tobytes())


@pytest.mark.parametrize("length", [0, 36, 37, 38, 127, 128, 0x2525 - 3, 0x2525])
def test_lengths_that_look_like_text_are_lengths(tf, tmp_path, length):
    """A length of 37 is the byte of a per cent sign, which has a meaning where bytes are put into a form."""
    row, tensor = {"%b": b"%" * length, "%": length, "100 %%": b"%b"}, np.arange(max(1, length // 4), dtype="<f4")
    written(tmp_path / "written", [(row, tensor), (row, tensor[:0])])
    raws = list(tf.data.TFRecordDataset(str(tmp_path / "written")).as_numpy_iterator())
    for raw, expected in zip(raws, (tensor, tensor[:0]), strict=True):
        feature = tf.train.Example.FromString(raw).features.feature
        assert feature["%b"].bytes_list.value[0] == row["%b"]
        assert feature["%"].int64_list.value[0] == length
        assert feature["100 %%"].bytes_list.value[0] == b"%b"
        assert feature["features"].bytes_list.value[0] == expected.tobytes()


def test_what_tensorflow_wrote_is_read(tf, tmp_path):
    path = str(tmp_path / "theirs.tfrecord")
    values = [{"path": "jä/\U0001f600.wav".encode(), "start": number, "label": b""} for number in (0, 127, 128, 2**62)]
    with tf.io.TFRecordWriter(path) as writer:
        for value in values:
            lists = {
                key: tf.train.Feature(int64_list=tf.train.Int64List(value=[one]))
                if isinstance(one, int)
                else tf.train.Feature(bytes_list=tf.train.BytesList(value=[one]))
                for key, one in value.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString())
    with open(path, "rb") as file:
        assert list(records(memoryview(file.read()))) == values


@pytest.mark.parametrize("at", [*range(24), 30, 60])
def test_tensorflow_sees_every_flipped_byte(tf, tmp_path, at):
    path = tmp_path / "a.tfrecord"
    written(path, [({"path": b"a"}, TENSOR)])
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises((tf.errors.DataLossError, tf.errors.OutOfRangeError)):
        next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def test_a_cut_is_seen(tmp_path):
    path = tmp_path / "a.tfrecord"
    written(path, [({"path": b"a"}, TENSOR), ({"path": b"b"}, TENSOR)])
    content = path.read_bytes()
    for size in range(1, len(content)):
        if size == len(content) // 2:  # the second record begins there
            continue
        with pytest.raises(ValueError, match="cut off at byte"):
            list(records(memoryview(content[:size])))
    assert list(records(memoryview(b""))) == []


def test_tensors_are_written_as_they_stand_in_memory(tmp_path):
    for dtype in ("<f4", "<f2", "u1"):
        tensor = np.arange(12, dtype=dtype).reshape(3, 4)
        written(tmp_path / "a", [({}, tensor)])
        (example,) = records(memoryview((tmp_path / "a").read_bytes()))
        assert np.array_equal(np.frombuffer(example["features"], dtype).reshape(3, 4), tensor)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 63_984])
@given(first=st.binary(max_size=40), seed=st.integers(0, 2**32 - 1))
def test_checksums_of_parts_are_joined_to_that_of_the_whole(length, first, seed):
    second = np.random.default_rng(seed).bytes(length)
    joined = joined_crc32c(google_crc32c.value(first), google_crc32c.value(second), length)
    assert joined == google_crc32c.value(first + second)
