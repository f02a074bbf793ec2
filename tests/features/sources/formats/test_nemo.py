"""NeMo's manifests, by the description of NeMo's own reader."""

import gzip
import json

import pytest

from features.errors import NothingUsableError, UsageError
from features.sources.formats.nemo import scan_nemo
from features.sources.formats.split_names import split_of_name
from features.sources.table_layout import TableLayout
from tests.features.sources.formats.sounds import clips_of, write_sounds


@pytest.fixture
def folder(tmp_path):
    return write_sounds(tmp_path)


def write(path, *lines, opened=open):
    with opened(path, "wt") as file:
        file.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return str(path)


def line(file="sounds/mono.wav", duration=1.0, **fields):
    return {"audio_filepath": file, "duration": duration, **(fields or {"label": "owl"})}


def nemo_reads(fields):
    """File, offset, duration and label of a line as `ASRSpeechLabel` of NeMo says them in its code."""
    file = fields["audio_filename"] if "audio_filename" in fields else fields["audio_filepath"]
    label = next(fields[name] for name in ("command", "target", "label") if name in fields)
    return file, fields.get("offset") or 0, fields["duration"], label


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".json.gz"])
def test_lines_are_what_nemo_reads(folder, ending):
    lines = [
        line(offset=0.5, command="yes", text="a b"),
        line(offset=None, duration=0.25, target="no"),
        line(offset=1, duration=0.5, label="other", command="yes"),
        {"audio_filename": "sounds/rate.wav", "duration": 0.33333, "offset": 0.1, "label": 7},
        line(str(folder / "sounds" / "rate.wav"), 1, offset=0, label="whole"),
    ]
    manifest = write(folder / f"x{ending}", *lines, "", opened=gzip.open if ending.endswith("gz") else open)
    source = scan_nemo(manifest, TableLayout())
    expected = []
    for file, offset, duration, label in map(nemo_reads, lines):
        rate_hz = 8000 if "mono" in file else 11_025
        name = file.removeprefix(f"{folder}/")
        expected.append((name, round(offset * rate_hz), round(duration * rate_hz), str(label)))
    assert clips_of(source) == sorted(expected)
    assert source.described == {"kind": "nemo", "root": str(folder), "table": manifest}
    assert source.columns["label"] == "command/target/label"


def test_fields_of_label_group_and_partition(folder):
    lines = [line(speaker=3, emotion="glad", set="dev", offset=0.1), line(emotion="sad", set="Train", offset=0)]
    manifest = write(folder / "x.json", *lines)
    source = scan_nemo(manifest, TableLayout(label_column="emotion", partition_column="set"))
    assert clips_of(source, "group", "partition") == [
        ("sounds/mono.wav", 0, 8000, "sad", None, "training"),
        ("sounds/mono.wav", 800, 8000, "glad", "3", "validation"),
    ]
    source = scan_nemo(manifest, TableLayout(label_column="emotion", group_column="set"), partitioned=False)
    assert clips_of(source, "group")[0][-1] == "Train"
    with pytest.raises(UsageError, match=r"x\.json, line 1: a partition is training"):
        scan_nemo(manifest, TableLayout(label_column="emotion", partition_column="emotion"))


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        ("{", "bad_row", "a line is one JSON object"),
        ("[1]", "bad_row", "a line is one JSON object, not '[1]'"),
        ({"duration": 1, "label": "x"}, "bad_row", "has audio_filepath or audio_filename, and this one has 'duration', "
                                                   "'label'"),
        ({"audio_filepath": "sounds/mono.wav", "label": "x"}, "bad_row", "has a duration, and this one has none"),
        (line(text="hello"), "bad_row", "has the label as command or target or label (--label-column"),
        (line(duration=None), "bad_row", "the duration is a number of seconds above 0"),
        (line(offset=-3, label="x"), "bad_row", "the start is a number of seconds not below 0"),
        (line(label=["x", "y"]), "bad_row", "the label of a clip is text or a number"),
        (line(label=" "), "bad_label", "the label is empty"),
        (line("sounds/gone.wav"), "missing", "No such file"),
        (line(""), "bad_row", "a row names a file"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_a_reject_that_names_it(folder, content, reason, said):
    source = scan_nemo(write(folder / "x.json", line(offset=0.5, label="a"), content), TableLayout())
    assert len(source.clips) == 1
    [reject] = source.rejects
    assert reject.reason == reason
    assert said in reject.message
    assert "x.json, line 2" in (reject.path + reject.message)


def test_a_folder_of_manifests_and_a_root(folder):
    (folder / "manifests").mkdir()
    for number, name in enumerate(("train", "validation", "test")):
        write(folder / "manifests" / f"{name}_manifest.json", line(offset=number / 2, duration=0.5, command="yes"))
    source = scan_nemo(str(folder / "manifests"), TableLayout(root=str(folder)))
    assert [row[4] for row in clips_of(source, "partition")] == ["training", "validation", "testing"]
    with pytest.raises(
        NothingUsableError, match=r"train_manifest\.json, line 1: No such file.*--root says where paths begin"
    ):
        scan_nemo(str(folder / "manifests"), TableLayout())
    with pytest.raises(UsageError, match="lines 1 and 2"):
        scan_nemo(write(folder / "x.json", line(), line()), TableLayout())
    with pytest.raises(UsageError, match="no manifest in"):
        scan_nemo(str(folder / "sounds"), TableLayout())
    with pytest.raises(UsageError, match="it has no lines"):
        scan_nemo(write(folder / "x.json"), TableLayout())


@pytest.mark.parametrize(
    ("name", "partition"),
    [("train", "training"), ("x-val_2", "validation"), ("cuts_dev.jsonl", "validation"), ("eval", "testing"),
     ("test01", "testing"), ("Train", None), ("trained", None), ("constrain", None), ("a", None), ("", None)],
)  # fmt: skip
def test_names_that_say_a_partition(name, partition):
    assert split_of_name(name) == partition


def test_a_name_that_says_two_partitions_is_refused():
    with pytest.raises(UsageError, match="says several partitions, training and validation"):
        split_of_name("train_val")
