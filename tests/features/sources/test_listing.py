"""The format of an input: which reader takes it, and what is said of one that looks like another."""

import gzip
import json

import pytest

from features.errors import UsageError
from features.sources.listing import InputFormat, list_labelled, looks_like
from features.sources.table_layout import TableLayout
from tests.features.sources.formats.sounds import write_sounds

NEMO = {"audio_filepath": "sounds/mono.wav", "duration": 1, "label": "x"}
RECORDING = {"id": "mono", "sources": [{"type": "file", "channels": [0], "source": "x.wav"}], "sampling_rate": 8000}
CUT = {
    "id": "c",
    "start": 0,
    "duration": 1,
    "channel": 0,
    "type": "MonoCut",
    "supervisions": [],
    "recording": RECORDING,
}
SUPERVISION = {"id": "s", "recording_id": "mono", "start": 0, "duration": 1}


def listed(place, name=None, **layout):
    return list_labelled(str(place), TableLayout(**layout), InputFormat(name))


@pytest.mark.parametrize(
    ("name", "line", "read_by", "said"),
    [
        ("x.json", NEMO, "nemo", "a NeMo manifest, as its first line has audio_filepath"),
        ("x.jsonl", NEMO, "nemo", "a NeMo manifest"),
        ("x.jsonl.gz", CUT, "lhotse", "a Lhotse CutSet, as its first line is a MonoCut"),
        ("x.jsonl", CUT, "lhotse", "a Lhotse CutSet"),
        ("x.jsonl.gz", RECORDING, "lhotse", "a Lhotse manifest of recordings"),
        ("x.jsonl", SUPERVISION, "lhotse", "a Lhotse manifest of supervisions"),
    ],
)
def test_the_error_of_a_manifest_says_which_option_reads_it(tmp_path, name, line, read_by, said):
    text = f"{json.dumps(line)}\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    with pytest.raises(UsageError) as error:
        listed(tmp_path / name)
    assert f"{tmp_path / name} looks like {said}" in str(error.value)
    assert str(error.value).endswith(f"which --input-format {read_by} reads")
    assert str(error.value).count("looks like") == 1


def test_annotations_and_folders_of_manifests_are_named_with_their_option(tmp_path):
    (tmp_path / "x.txt").write_text("0.5\t1.5\towl\n")
    (tmp_path / "y.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\t0\t1\towl\n")
    for name, kind in (("x.txt", "label track of Audacity"), ("y.txt", "selection table of Raven")):
        with pytest.raises(UsageError, match=f"{name} looks like a {kind}, which --annotations reads"):
            listed(tmp_path / name)
    with pytest.raises(UsageError, match=r"has x\.txt, which looks like a label track of Audacity"):
        listed(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(NEMO) + "\n")
    with pytest.raises(UsageError, match=r"has a\.json, which looks like a NeMo manifest.*--input-format nemo reads$"):
        listed(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{", b"[1]", b'{"path": "a.wav"}\n', b"\x1f\x8b\x08", b"\xff\xfe\x00", b"x" * 100]
)
def test_other_files_look_like_nothing(tmp_path, content):
    for name in ("x.jsonl", "x.json", "x.jsonl.gz", "x.csv", "x.txt", "x.ndjson"):
        (tmp_path / name).write_bytes(content)
        assert looks_like(str(tmp_path / name)) is None
    assert looks_like(str(tmp_path / "gone.jsonl")) is None
    assert looks_like("s3://bucket/x.jsonl") is None


def test_a_folder_with_metadata_is_read_as_always_and_a_note_says_so(tmp_path):
    write_sounds(tmp_path / "dog")
    assert listed(tmp_path).notes == []
    for place in (tmp_path / "dog" / "metadata.jsonl", tmp_path / "metadata.csv"):
        place.write_text("file_name,label\n")
        source = listed(tmp_path)
        assert source.kind == "folder" and set(source.clips["label"].to_pylist()) == {"dog"}
        assert source.notes == [f"{tmp_path} looks like Hugging Face's audiofolder, as it has {place.name}, which "
                                "--input-format audiofolder reads"]  # fmt: skip


def test_a_table_of_the_fields_of_nemo_is_a_table_where_options_name_its_columns(tmp_path):
    write_sounds(tmp_path)
    (tmp_path / "x.jsonl").write_text(json.dumps(NEMO) + "\n")
    source = listed(tmp_path / "x.jsonl", path_column="audio_filepath")
    assert (source.kind, len(source.clips), source.notes) == ("table", 1, [])
    assert listed(tmp_path / "x.jsonl", "table", path_column="audio_filepath").kind == "table"
    assert listed(tmp_path, "folder").kind == "folder"


def test_options_of_another_format_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--label-column is for a table, and --input-format folder"):
        listed(tmp_path, "folder", label_column="x")
    for name in ("table", "audiofolder", "lhotse", "nemo"):
        with pytest.raises(
            UsageError, match=f"--label-pattern finds labels in the paths of a folder, and --input-format {name}"
        ):
            list_labelled(str(tmp_path), TableLayout(), InputFormat(name), "(?P<label>.)")
