"""A publication is whole or not there, takes the set's files by link, and says what is not in it."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml

from features.errors import RunError, UsageError
from features.interchange import audiofolder
from features.interchange.publication import LAYOUTS, publish
from features.interchange.tfds import dataset_name
from features.io.filesystem import place
from features.maintenance.removal import prune
from features.runtime.markdown import markdown_text
from features.sources.formats.audiofolder import scan_audiofolder
from features.sources.partition import assign
from features.sources.rejects import read_csv
from features.sources.table_layout import TableLayout
from features.store import shards
from features.store.manifest import load_manifest
from tests.conftest import call
from tests.features.examples import build_units, committed, featurized, prepared
from tests.features.interchange.sets import HALF, ODD, POOLED, TINY, odd_rows, rows_of, table_set
from tests.object_store.upload import upload
from tests.signals import noise, write_wav


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict[str, Path]:
    """Thirty clips with odd names in two folds, in both formats, eight rows a shard."""
    base = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "MAX_ROWS", 8)
        return {form: table_set(base / form, odd_rows(), TINY, form) for form in ("tfrecord", "parquet")}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def front(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("\n---\n")[0].removeprefix("---"))


def test_shards_in_tfrecord_are_linked_and_those_in_parquet_become_the_same_files(sets, tmp_path):
    linked = publish(sets["tfrecord"], str(tmp_path / "a" / "sound set"), "tfds")
    written = publish(sets["parquet"], str(tmp_path / "b" / "sound set"), "tfds")
    manifest = load_manifest(sets["tfrecord"])
    held = [shard for partition in manifest.partitions.values() for shard in partition]
    assert linked["files"] == {"linked": len(held), "cloned": 0, "copied": 0, "cut": 0, "written": 4}
    assert written["files"]["written"] == len(held) + 4
    assert len(held) > 3
    names = sorted((tmp_path / "a" / "sound set").glob("*.tfrecord-*"))
    assert [path.name for path in names][:2] == [f"sound_set-fold_1.tfrecord-0000{n}-of-00002" for n in range(2)]
    for path, shard in zip(names, held, strict=True):
        assert path.samefile(manifest.layout(sets["tfrecord"]).shard(shard.name))
    one, other = files(tmp_path / "a"), files(tmp_path / "b")
    del one["sound set/publication.json"], other["sound set/publication.json"]
    assert one == other


@pytest.mark.parametrize("spec", [TINY, HALF, POOLED], ids=["float32", "float16", "pooled"])
def test_parquet_has_typed_columns_with_the_bits_of_the_set(tmp_path, spec):
    features = table_set(tmp_path / "set", odd_rows(12, ("training", "testing")), spec)
    figures = publish(features, str(tmp_path / "out"), "huggingface")
    assert figures["splits"] == {"train": 6, "test": 6}
    assert figures["empty"] == ["validation"]
    for split, expected in rows_of(features).items():
        table = pq.read_table(tmp_path / "out" / "data" / f"{split}-00000-of-00001.parquet")
        values = table["features"].combine_chunks()
        for _ in spec.shape:
            values = values.flatten()
        values = values.to_numpy()
        assert values.dtype == spec.storage_dtype
        assert values.tobytes() == b"".join(row.features.tobytes() for row in expected)
        for name in ("label", "path", "start", "group"):
            assert table[name].to_pylist() == [getattr(row, name) for row in expected]


def test_files_of_parquet_hold_as_many_shards_as_fit(sets, tmp_path, monkeypatch):
    from features.interchange import huggingface

    spec = load_manifest(sets["tfrecord"]).spec
    monkeypatch.setattr(huggingface, "_FILE_BYTES", 15 * spec.row_bytes)
    publish(sets["tfrecord"], str(tmp_path / "out"), "huggingface")
    found = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert found == [f"fold_{fold}-0000{n}-of-00001.parquet" for fold in (1, 2) for n in range(1)]
    whole = pq.ParquetFile(tmp_path / "out" / "data" / "fold_1-00000-of-00001.parquet")  # of two shards, 8 and 7 rows
    assert [whole.metadata.row_group(number).num_rows for number in range(whole.num_row_groups)] == [15]
    monkeypatch.setattr(huggingface, "_GROUP_ROWS", 3)
    monkeypatch.setattr(huggingface, "_FILE_BYTES", 14 * spec.row_bytes)
    publish(sets["tfrecord"], str(tmp_path / "out"), "huggingface", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out" / "data").iterdir())[:2] == [
        "fold_1-00000-of-00002.parquet", "fold_1-00001-of-00002.parquet",
    ]  # fmt: skip
    parts = [pq.ParquetFile(tmp_path / "out" / "data" / f"fold_1-0000{n}-of-00002.parquet") for n in range(2)]
    groups = [[part.metadata.row_group(number).num_rows for number in range(part.num_row_groups)] for part in parts]
    assert groups == [[3, 3, 2], [3, 3, 1]]
    rows = pq.read_table(tmp_path / "out" / "data")
    assert sorted(rows["path"].to_pylist()) == sorted(row["path"] for row in odd_rows())


def test_the_card_has_measured_facts_and_every_name_as_it_is(sets, tmp_path):
    publish(sets["tfrecord"], str(tmp_path / "out"), "huggingface")
    head = front(tmp_path / "out")
    names = {column["name"]: column for column in head["dataset_info"]["features"]}
    assert names["label"]["dtype"]["class_label"]["names"] == sorted(ODD)
    assert names["features"]["dtype"]["array2_d"] == {"shape": list(TINY.shape), "dtype": "float32"}
    assert head["size_categories"] == ["n<1K"]
    assert [(split["name"], split["num_examples"]) for split in head["dataset_info"]["splits"]] == [
        ("fold_1", 15), ("fold_2", 15),
    ]  # fmt: skip
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"`{TINY.fingerprint}`" in text
    assert all(f"| {markdown_text(name)} | " in text for name in ODD)
    assert re.search(r"^\| all \| 15 \| 15 \| 30 \|$", text, re.MULTILINE)
    seconds = sum(row["seconds"] for row in pq.read_table(next(sets["tfrecord"].glob("clips-*"))).to_pylist())
    assert f"| {seconds / 3600:,.3f} |" in text
    assert "Rejected when the features were computed: no file." in text
    assert str(tmp_path) not in text
    assert str(sets["tfrecord"].parent) not in "".join(map(str, files(tmp_path / "out").values()))


def test_the_card_of_a_corrected_set_says_so_and_not_by_which_file(tmp_path):
    counts = {"relabelled": 2, "left_out": 1, "added": 3, "right": 4}
    record = {"files": [{"path": "/home/me/review.csv", "sha256": "0" * 64}], **counts}
    features = table_set(tmp_path / "set", odd_rows(8), corrections=record)
    assert load_manifest(features).format_version == 6
    publish(features, str(tmp_path / "out"), "tfds")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Reviews have changed it: 2 labels corrected, 1 clip left out, 3 windows added." in text
    assert "/home/me" not in text


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_there_is_replaced_where_it_is_a_publication_and_that_is_asked_for(sets, tmp_path, layout):
    out = tmp_path / "out"
    publish(sets["tfrecord"], str(out), layout)
    (out / "own.txt").touch()
    with pytest.raises(UsageError, match="exists already; give another --output, or --overwrite"):
        publish(sets["tfrecord"], str(out), layout)
    assert (out / "own.txt").exists()
    publish(sets["tfrecord"], str(out), layout, overwrite=True)
    assert not (out / "own.txt").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "publication.json").write_text('{"format": "another"}')
    for there in (foreign, sets["tfrecord"].with_name("tfrecord-sounds"), foreign / "publication.json"):
        with pytest.raises(UsageError, match="is not a publication"):
            publish(sets["parquet"], str(there), layout, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out", "foreign"] or len(list(tmp_path.iterdir())) == 2


def test_a_publication_that_holds_the_set_or_its_sounds_is_not_replaced(sets, tmp_path):
    out = tmp_path / "out"
    publish(sets["tfrecord"], str(out), "tfds")
    inner = shutil.copytree(sets["tfrecord"], out / "set")
    for output in (out, inner, inner / "new"):
        with pytest.raises(UsageError, match="one within the other"):
            publish(inner, str(output), "tfds", overwrite=True)
    sounds = Path(load_manifest(sets["tfrecord"]).source["root"])
    with pytest.raises(UsageError, match="one within the other"):
        publish(sets["tfrecord"], str(sounds / "out"), "audiofolder")


def test_a_prune_of_the_set_leaves_the_publication_whole(tmp_path):
    root = tmp_path / "words"
    for number in range(12):
        write_wav(root / ("no", "yes")[number % 2] / f"{number:08x}_nohash_0.wav", noise(80, seed=number))
    featurized(root, tmp_path / "set")
    publish(tmp_path / "set", str(tmp_path / "out"), "tfds")
    before = files(tmp_path / "out")
    for number in range(0, 6, 2):
        (root / "no" / f"{number:08x}_nohash_0.wav").unlink()
    update = prepared(root, tmp_path / "set")
    build_units(update)
    committed(update)
    gone = prune(str(tmp_path / "set"), 0, 0, False)
    assert any(file.kind == "shards" for file in gone.going)
    assert files(tmp_path / "out") == before
    counts = {path.stat().st_nlink for path in (tmp_path / "out").glob("*.tfrecord-*")}
    assert counts == {1}


@pytest.mark.parametrize("layout", ["tfds", "huggingface"])
def test_a_damaged_shard_is_not_published(sets, tmp_path, layout):
    features = shutil.copytree(sets["tfrecord"], tmp_path / "set")
    shard = sorted((features / "shards").iterdir())[-1]
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RunError, match=r"is damaged.*features\.verify .* --repair"):
        publish(features, str(tmp_path / "out"), layout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_killed_in_the_middle_it_leaves_nothing_under_the_name(sets, tmp_path):
    code = (
        "import os, signal\n"
        "from features.interchange import tfds\n"
        "from features.interchange.publication import publish\n"
        "real, left = tfds.place_file, [2]\n"
        "def place_file(*given):\n"
        "    left[0] -= 1\n"
        "    return real(*given) if left[0] else os.kill(os.getpid(), signal.SIGKILL)\n"
        "tfds.place_file = place_file\n"
        f"publish({str(sets['tfrecord'])!r}, {str(tmp_path / 'out')!r}, 'tfds')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    publish(sets["tfrecord"], str(tmp_path / "out"), "tfds")


def test_without_links_files_are_copied(sets, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    figures = publish(sets["tfrecord"], str(tmp_path / "out"), "tfds")
    assert figures["files"]["linked"] == 0
    assert figures["files"]["copied"] + figures["files"]["cloned"] == len(load_manifest(sets["tfrecord"]).all_shards)
    manifest = load_manifest(sets["tfrecord"])
    one = manifest.layout(sets["tfrecord"]).shard(manifest.all_shards[0].name).read_bytes()
    assert (tmp_path / "out" / "out-fold_1.tfrecord-00000-of-00002").read_bytes() == one


def metadata(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_whole_recordings_are_the_files_under_names_that_are_found(tmp_path):
    rows: list[dict[str, object]] = [
        {"path": "deep/a.wav", "label": "x", "partition": "train"},
        {"path": "__b/[1]*?.wav", "label": "y", "partition": "train"},
        {"path": ".c/%20.wav", "label": "x", "partition": "test"},
    ]
    out = tmp_path / "out"
    figures = publish(table_set(tmp_path / "set", rows), str(out), "audiofolder")
    assert figures["files"] == {"linked": 3, "cloned": 0, "copied": 0, "cut": 0, "written": 3}
    lines = [*metadata(out / "train"), *metadata(out / "test")]
    assert [(row["file_name"], row["path"], row["label"], row["start"]) for row in lines] == [
        ("%5F_b/[1]%2A%3F.wav", "__b/[1]*?.wav", "y", "0"),
        ("deep/a.wav", "deep/a.wav", "x", "0"),
        ("%2Ec/%2520.wav", ".c/%20.wav", "x", "0"),
    ]
    for row, split in zip(lines, ("train", "train", "test"), strict=True):
        assert (out / split / row["file_name"]).samefile(tmp_path / "set-sounds" / row["path"])
    columns = front(out)["configs"][0]["features"]
    assert [column["name"] for column in columns] == ["audio", "label", "group", "partition", "path", "start"]


def test_parts_of_recordings_are_cut_out_to_the_bit(tmp_path):
    sound = np.column_stack([noise(3_200, seed=5), noise(3_200, seed=6)])
    sounds = tmp_path / "set-sounds"
    sounds.mkdir()
    soundfile.write(sounds / "long.flac", sound, 16_000, subtype="PCM_24")
    soundfile.write(sounds / "long.ogg", sound, 16_000)
    names = ("long.flac", "long.ogg", "short.wav")
    rows: list[dict[str, object]] = [
        {"path": name, "label": "xy"[number % 2], "start": start, "duration": 0.05, "partition": "train"}
        for number, name in enumerate(names)
        for start in (0, 0.1)
    ]
    figures = publish(table_set(tmp_path / "set", rows), str(tmp_path / "out"), "audiofolder")
    assert figures["files"]["cut"] == 6
    found = metadata(tmp_path / "out" / "train")
    assert [row["file_name"] for row in found] == [
        f"{name}%-{at}.wav" for name in names for at in ("0-800", "1600-2400")
    ]
    for row in found:
        path = tmp_path / "out" / "train" / row["file_name"]
        expected, _ = soundfile.read(sounds / row["path"], dtype="float32")
        samples, rate_hz = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(samples, expected[int(row["start"]) :][:800])
        subtype = {"long.flac": "PCM_24", "long.ogg": "FLOAT", "short.wav": "PCM_16"}[row["path"]]
        assert (rate_hz, soundfile.info(path).subtype) == (16_000, subtype)


@pytest.mark.parametrize("label", ["None", "=1+1", "a\nb", "NA"])
def test_a_table_that_csv_readers_would_change_is_parquet(tmp_path, label):
    rows = [{"path": f"{n}.wav", "label": (label, "x")[n % 2], "group": "", "partition": "train"} for n in range(4)]
    publish(table_set(tmp_path / "set", rows), str(tmp_path / "out"), "audiofolder")
    assert sorted(path.name for path in (tmp_path / "out" / "train").iterdir() if path.suffix != ".wav") == [
        "metadata.parquet"
    ]
    table = pq.read_table(tmp_path / "out" / "train" / "metadata.parquet")
    assert sorted(table["label"].to_pylist()) == sorted([label, "x"] * 2)


@pytest.mark.parametrize("partitions", [("training", "testing"), ("fold-1", "fold-2")])
@pytest.mark.parametrize("labels", [("x", *ODD), ("NA", "=x")], ids=["csv", "parquet"])
def test_sounds_are_read_back_with_their_labels_groups_and_partitions(tmp_path, labels, partitions):
    rows = [{**row, "label": labels[n % len(labels)]} for n, row in enumerate(odd_rows(24, partitions))]
    features = table_set(tmp_path / "set", rows)
    publish(features, str(tmp_path / "out"), "audiofolder")
    source = scan_audiofolder(str(tmp_path / "out"), TableLayout())
    assert not source.rejects
    clips, _ = assign(source.clips, source.root, None, None)
    read = {(os.path.basename(row["path"]), row["label"], row["group"], row["partition"]) for row in clips.to_pylist()}
    assert read == {(row["path"], row["label"], row["group"], row["partition"]) for row in rows}


def test_sounds_that_changed_or_went_are_rejects(tmp_path, capsys):
    rows = [{"path": f"{n}.wav", "label": ("x", "y")[n % 2], "partition": "train"} for n in range(8)]
    features = table_set(tmp_path / "set", rows)
    sounds = tmp_path / "set-sounds"
    os.utime(sounds / "0.wav", (1, 1))  # as it was, and touched
    write_wav(sounds / "1.wav", noise(3_200, seed=99))
    write_wav(sounds / "2.wav", noise(3_100, seed=2))
    (sounds / "3.wav").unlink()
    (sounds / "4.wav").unlink()
    (sounds / "4.wav").mkdir()
    given = (features, "--output", tmp_path / "out", "--layout", "audiofolder")
    assert call("features.publish", *given, "--max-rejects", 4, "--summary", tmp_path / "figures.json") == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["rejects"] == {"vanished": 2, "missing": 1, "unreadable": 1}
    assert figures["clips"] == 4
    said = capsys.readouterr().out
    assert "4 files were rejected (1 missing, 1 unreadable, 2 vanished), each with its reason in" in said
    rejects = read_csv(tmp_path / "out" / audiofolder.REJECTS)
    assert [reject.path for reject in rejects] == [f"{n}.wav" for n in (1, 2, 3, 4)]
    assert {row["path"] for row in metadata(tmp_path / "out" / "train")} == {f"{n}.wav" for n in (0, 5, 6, 7)}
    assert len(list((tmp_path / "out" / "train").glob("*.wav"))) == 4
    assert call("features.publish", *given, "--max-rejects", 3, "--overwrite") == 3
    shutil.rmtree(sounds)
    with pytest.raises(RunError, match=r"none of the 8 sounds can be published; the first, 0\.wav: .*\(missing\)"):
        publish(features, str(tmp_path / "other"), "audiofolder")
    assert not (tmp_path / "other").exists()


def test_a_set_and_sounds_in_a_store_are_published_as_those_in_folders_are(sets, s3, tmp_path):
    uri = upload(sets["tfrecord"], f"{s3.uri}/set")
    for layout in ("tfds", "huggingface"):
        publish(place(uri), str(tmp_path / "there" / layout), layout)
        publish(sets["tfrecord"], str(tmp_path / "here" / layout), layout)
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    for name in ("tfds/publication.json",):
        del here[name], there[name]
    assert here == there
    sounds = tmp_path / "words"
    for number in range(6):
        write_wav(sounds / ("no", "yes")[number % 2] / f"{number}.wav", noise(80, seed=number))
    featurized(upload(sounds, f"{s3.uri}/words"), tmp_path / "set")
    figures = publish(tmp_path / "set", str(tmp_path / "sounds"), "audiofolder")
    assert figures["files"]["copied"] == 6
    for split in figures["splits"]:
        for row in metadata(tmp_path / "sounds" / split):
            content = (tmp_path / "sounds" / split / row["file_name"]).read_bytes()
            assert content == (sounds / row["path"]).read_bytes()
    with pytest.raises(UsageError, match="--output is a place on this machine"):
        call("features.publish", tmp_path / "set", "--output", f"{s3.uri}/out", "--layout", "tfds")


@pytest.mark.parametrize("layout", ["huggingface", "audiofolder"])
def test_a_path_that_datasets_takes_for_a_pattern_is_refused(sets, tmp_path, layout):
    with pytest.raises(
        UsageError, match=r"datasets takes \* \? \[ in a path for a pattern and cannot open .*b\[1\]/out"
    ):
        publish(sets["tfrecord"], str(tmp_path / "b[1]" / "out"), layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("speech", "speech"), ("My Set-2", "my_set_2"), ("2024", "features_2024"), ("日本", "features"), ("_a_", "a")],
)
def test_names_of_data_sets_are_what_tensorflow_datasets_takes(name, expected):
    assert dataset_name(name) == expected
