"""Audiofolders of Hugging Face, compared with what its `datasets` reads of the same folders."""

import json
import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import NothingUsableError, UsageError
from features.sources.formats.audiofolder import scan_audiofolder
from features.sources.table_layout import TableLayout
from tests.features.sources.formats.sounds import clips_of
from tests.peers.library import ENVIRONMENTS
from tests.signals import noise, write_wav

CLASSES = ("dog", "cat")
IN_FOLDERS = [
    f"{split}/{label}/{number}.wav" for split in ("train", "validation", "test") for label in CLASSES for number in "01"
]
CSV = "file_name,label,note\n0.wav,dog,x\n1.wav,cat,\n"
LINES = '{"file_name": "0.wav", "label": "dog"}\n{"file_name": "1.wav", "label": "cat"}\n'
# By name: sounds, and texts of files; each a folder that datasets reads and that is read here to the same end.
FOLDERS = {
    "classes": ([f"{label}/{number}.wav" for label in CLASSES for number in "012"], {}),
    "splits": (IN_FOLDERS, {}),
    "deep-splits": ([f"data/{path}" for path in IN_FOLDERS], {}),
    "splits-with-words": ([path.replace("train", "train-clean "
                                                 "100").replace("test", "eval_2") for path in IN_FOLDERS], {}),
    "outside-of-splits": ([*IN_FOLDERS, "other/dog/9.wav"], {}),
    "splits-in-names": ([f"{label}/{split}-{label}.wav" for label in CLASSES for split in ("train", "dev")], {}),
    "case-counts": (["Train/dog/a.wav", "Test/cat/b.wav"], {}),
    "metadata": (["0.wav", "1.wav"], {"metadata.csv": CSV}),
    "metadata-of-splits": (["train/0.wav", "train/1.wav", "test/0.wav", "test/1.wav", "train/extra.wav"],
                           {"train/metadata.csv": CSV, "test/metadata.csv": CSV}),
    "metadata-below": (["a/x/0.wav", "a/1.wav"], {"a/metadata.csv": CSV.replace("0.wav", "x/0.wav")}),
    "metadata-of-lines": (["0.wav", "1.wav"], {"metadata.jsonl": LINES}),
}  # fmt: skip
READ = """
import json, os, sys
import datasets
found = {}
for name in sys.argv[1:]:
    parts = datasets.load_dataset("audiofolder", data_dir=os.path.abspath(name), streaming=True)
    found[name] = []
    for split, part in parts.items():
        for _, row in part._ex_iterable:  # before the sound is decoded, for which datasets takes torchcodec
            found[name].append([os.path.relpath(row["audio"], name), split, row["label"]])
print(json.dumps(found))
"""
PARTITIONS = {"train": "training", "validation": "validation", "test": "testing"}


def make(root, sounds, texts):
    for number, name in enumerate(sounds):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(root / name, noise(160, seed=number))
    for name, text in texts.items():
        (root / name).write_text(text)
    return root


def rows_of(source):
    """Path, partition and label of each clip; training where the folder says no partition, as datasets has it."""
    is_divided = "partition" in source.clips.column_names
    found = clips_of(source, *(["partition"] if is_divided else []))
    return [(row[0], row[4] if is_divided else "training", row[3]) for row in found]


EXPECTED = {
    "classes": 6, "splits": 12, "deep-splits": 12, "splits-with-words": 12, "outside-of-splits": 12,
    "splits-in-names": 4, "case-counts": 2, "metadata": 2, "metadata-of-splits": 4, "metadata-below": 2,
    "metadata-of-lines": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_files_have_the_labels_and_partitions_that_the_folder_says(tmp_path, name):
    sounds, texts = FOLDERS[name]
    rows = rows_of(scan_audiofolder(str(make(tmp_path, sounds, texts)), TableLayout()))
    assert len(rows) == EXPECTED[name]
    for path, partition, label in rows:
        parts = path.split("/")
        if not texts:
            assert label == parts[-2]
            word = next((one for one in ("train", "validation", "test", "eval", "dev") if f"{one}" in path), "train")
            words = {"eval": "test", "dev": "validation"}
            assert partition == PARTITIONS[words.get(word, word)]
        else:
            assert label == CLASSES[int(parts[-1][0])]
            assert partition == PARTITIONS.get(parts[0], "training")


@pytest.mark.trial
@pytest.mark.peers("datasets")
def test_datasets_reads_the_same(tmp_path):
    for name, (sounds, texts) in FOLDERS.items():
        make(tmp_path / name, sounds, texts)
    python = ENVIRONMENTS / "datasets" / "bin" / "python"
    variables = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [python, "-I", "-c", READ, *FOLDERS]
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True,
                            check=True)  # fmt: skip
    theirs = json.loads(result.stdout)
    for name in FOLDERS:
        ours = rows_of(scan_audiofolder(str(tmp_path / name), TableLayout()))
        assert sorted(ours) == sorted((path, PARTITIONS[split], label) for path, split, label in theirs[name])


def test_metadata_beside_folders_of_partitions_is_read_which_datasets_passes_over(tmp_path):
    texts = {"metadata.csv": "file_name,label\ntrain/0.wav,dog\ntest/1.wav,cat\n"}
    source = scan_audiofolder(str(make(tmp_path, ["train/0.wav", "test/1.wav"], texts)), TableLayout())
    assert rows_of(source) == [("test/1.wav", "testing", "cat"), ("train/0.wav", "training", "dog")]
    assert "partition" not in scan_audiofolder(str(tmp_path), TableLayout(), partitioned=False).clips.column_names


def test_folders_say_partitions_before_columns_and_columns_before_names_of_files(tmp_path):
    rows = "file_name,label,fold\n{}/train_0.wav,dog,1\n{}/1.wav,cat,2\n,cat,1\n"
    for folders, partitions, left_out in (
        (("one", "two"), {"fold-1", "fold-2"}, {}),
        (("train", "dev"), {"training", "validation"}, {}),
        (("train", "two"), {"training"}, {"files in no partition": 1}),
    ):
        root = make(tmp_path / "".join(folders), [f"{folders[0]}/train_0.wav", f"{folders[1]}/1.wav"],
                    {"metadata.csv": rows.format(*folders)})  # fmt: skip
        source = scan_audiofolder(str(root), TableLayout())
        assert set(source.clips["partition"].to_pylist()) == partitions
        assert source.left_out == left_out
        assert [reject.path for reject in source.rejects] == ["metadata.csv, line 4"]
    texts = {"metadata.csv": "file_name,label\ntrain_0.wav,dog\n1.wav,cat\n"}
    source = scan_audiofolder(str(make(tmp_path / "names", ["train_0.wav", "1.wav"], texts)), TableLayout())
    assert rows_of(source) == [("train_0.wav", "training", "dog")]
    assert source.left_out == {"files in no partition": 1}


def test_labels_stay_the_text_that_they_are(tmp_path):
    make(tmp_path, ["0.wav", "1.wav"], {"metadata.csv": "file_name,label\n0.wav,001\n1.wav,NA\n"})
    assert [row[2] for row in rows_of(scan_audiofolder(str(tmp_path), TableLayout()))] == ["001", "NA"]


def test_columns_of_metadata(tmp_path):
    make(tmp_path, ["0.wav"], {})
    columns = {"file_name": ["0.wav", "0.wav"], "species": ["dog", "cat"], "begin": [0.0, 0.005],
               "seconds": [0.005, 0.005], "site": ["a", "b"], "fold": [1, 2]}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "metadata.parquet")
    layout = TableLayout(label_column="species", start_column="begin", duration_column="seconds", group_column="site")
    source = scan_audiofolder(str(tmp_path), layout)
    assert clips_of(source, "group", "partition") == [
        ("0.wav", 0, 80, "dog", "a", "fold-1"),
        ("0.wav", 80, 80, "cat", "b", "fold-2"),
    ]
    assert source.described == {"kind": "audiofolder", "root": str(tmp_path)}


def test_what_cannot_be_used_is_a_reject_that_names_its_place(tmp_path):
    texts = {
        "a/metadata.csv": "file_name,label\n0.wav,dog\ngone.wav,dog\n,dog\n",
        "b/metadata.csv": "file_name,label\n1.wav,\n",
    }
    source = scan_audiofolder(str(make(tmp_path, ["a/0.wav", "b/1.wav"], texts)), TableLayout())
    assert rows_of(source) == [("a/0.wav", "training", "dog")]
    assert {(reject.path, reject.reason) for reject in source.rejects} == {
        ("a/gone.wav", "missing"), ("a/metadata.csv, line 4", "bad_row"), ("b/1.wav", "bad_label")
    }  # fmt: skip
    assert "a/metadata.csv, line 3: No such file" in next(
        one.message for one in source.rejects if one.reason == "missing"
    )


def test_files_directly_in_the_folder_of_a_partition_have_no_label(tmp_path):
    make(tmp_path, ["train/0.wav", "test/1.wav"], {})
    with pytest.raises(UsageError, match="directly in the folder of its partition"):
        scan_audiofolder(str(tmp_path), TableLayout())


@pytest.mark.parametrize(
    ("sounds", "texts", "layout", "said"),
    [
        (["dog/0.wav", "cat/x/1.wav"], {}, {}, r"lie at different depths, such as dog/0\.wav and cat/x/1\.wav"),
        (["0.wav"], {"metadata.csv": CSV, "metadata.jsonl": "{}"}, {}, r"metadata\.csv and metadata\.jsonl"),
        (["0.wav"], {"metadata.csv": "file,label\n0.wav,dog\n"}, {}, "has no column 'file_name'"),
        (["0.wav"], {"metadata.csv": "file_name,class\n0.wav,dog\n"}, {}, "has no column 'label'; --label-column names "
                                                                          "one of"),
        (["0.wav"], {"metadata.csv": "file_name,label\n"}, {}, r"no row in metadata\.csv"),
        (["0.wav"], {"metadata.csv": "file_name,label\n0.wav,a\n0.wav,b\n"}, {}, "lines 2 and 3.*or give "
                                                                                 "--start-column"),
        (["dog/0.wav"], {}, {"label_column": "x"}, "--label-column names a column of metadata"),
        (["dog/0.wav"], {}, {"root": "/"}, "not --root: the format itself says it"),
        (["train_val/dog/0.wav", "x/cat/1.wav"], {}, {}, "says several partitions"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused(tmp_path, sounds, texts, layout, said):
    make(tmp_path, sounds, texts)
    with pytest.raises(UsageError, match=said):
        scan_audiofolder(str(tmp_path), TableLayout(**layout))


def test_what_is_not_a_folder_is_refused(tmp_path):
    for place, said in (("s3://bucket/x", "a folder of the file system"), (str(tmp_path / "gone"), "is not one")):
        with pytest.raises(UsageError, match=said):
            scan_audiofolder(place, TableLayout())
    make(tmp_path, [], {"metadata.csv": CSV})
    with pytest.raises(NothingUsableError, match=r"metadata\.csv, line 2"):
        scan_audiofolder(str(tmp_path), TableLayout())
    assert Path(tmp_path).is_dir()
