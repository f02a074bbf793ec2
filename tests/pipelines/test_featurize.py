import csv
import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from features.errors import RunError, UsageError
from features.frontend.presets import preset
from features.frontend.spectrogram import compute_features
from features.sources.partition import PARTITIONS, hash_partition
from features.sources.paths import unescape_path
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from tests.conftest import call, clips_table, run_command
from tests.pipelines.conftest import files_of, make_old
from tests.signals import film, noise, sine, write_wav

# The run log says when each run was, and the locks are empty files.
NOT_STATE = ("runs.jsonl", ".lock", ".running")


def featurize(source: Path, output: Path, *options: object) -> int:
    return call("pipelines.featurize", "--input", source, "--output", output, *options)


def rows_of(folder: Path) -> list[tuple[str, str, bytes]]:
    manifest = load_manifest(folder)
    found = []
    for shard in manifest.shards(PARTITIONS):
        content = read_shard(manifest.layout(folder), shard, manifest.spec)
        found += zip(content.paths, content.labels, [row.tobytes() for row in content.features], strict=True)
    return found


def test_the_names_of_new_folders_are_on_disk(tmp_path, monkeypatch):
    synced, fsync = set(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.readlink(f"/proc/self/fd/{file}")) or fsync(file))
    folder = tmp_path / "sets" / "of words" / "set"
    write_wav(tmp_path / "words" / "yes" / "a.wav", sine(440, 16_000))
    assert featurize(tmp_path / "words", folder) == 0
    assert {str(path) for path in (tmp_path, *folder.parents[:2], folder)} <= synced


def test_every_clip_is_counted_once_in_the_partition_of_its_speaker(words, feature_set):
    manifest = load_manifest(feature_set)
    clips = clips_table(feature_set, manifest).to_pylist()
    assert manifest.classes == ["high", "low", "middle"]
    assert sorted(clip["path"] for clip in clips) == sorted(str(p.relative_to(words)) for p in words.rglob("*.wav"))
    for clip in clips:
        speaker = clip["path"].split("/")[1].split("_nohash_")[0]
        assert (clip["label"], clip["group"]) == (clip["path"].split("/")[0], speaker)
        assert clip["partition"] == hash_partition(speaker)
    for name in PARTITIONS:
        assert manifest.rows([name]) == sum(clip["partition"] == name for clip in clips) > 0
    assert manifest.counts["clips"] == manifest.rows(PARTITIONS) == len(clips) == 120
    seconds = sum((path.stat().st_size - 44) / 32_000 for path in words.rglob("*.wav"))
    assert manifest.counts["seconds"] == pytest.approx(seconds)


def test_both_formats_hold_the_same_rows_in_the_same_order(feature_set, parquet_set):
    rows = rows_of(feature_set)
    assert len(rows) == 120
    assert rows == rows_of(parquet_set)


def test_a_row_is_the_spectrogram_of_its_clip(words, feature_set):
    for path, label, row in rows_of(feature_set)[::17]:
        assert path.startswith(f"{label}/")
        with wave.open(str(words / path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
        fitted = np.pad(samples, (0, 16_000 - len(samples))).astype(np.float32)[None]
        assert row == compute_features(fitted, preset("speech-commands"))[0].tobytes()


def test_tensorflow_reads_the_tfrecords(feature_set):
    files = sorted(str(path) for path in (feature_set / "shards").iterdir())
    assert len(files) == 3
    parsed = {}
    for record in tf.data.TFRecordDataset(files):
        example = tf.train.Example.FromString(record.numpy()).features.feature
        parsed[example["path"].bytes_list.value[0].decode()] = example
    for path, label, row in rows_of(feature_set):
        assert parsed[path]["features"].bytes_list.value[0] == row
        assert parsed[path]["label"].bytes_list.value[0].decode() == label
    assert len(parsed) == 120


def test_pyarrow_reads_the_parquet_shards(parquet_set):
    tables = [pq.read_table(path).to_pylist() for path in sorted((parquet_set / "shards").iterdir())]
    found = sorted((row["path"], row["label"], row["features"]) for table in tables for row in table)
    assert found == sorted(rows_of(parquet_set))


def test_the_summary_has_the_figures_of_the_run(old_words, tmp_path, capsys):
    assert featurize(old_words, tmp_path / "set", "--summary", tmp_path / "run.json") == 0
    figures = json.loads((tmp_path / "run.json").read_text())
    expected = {"clips": 120, "computed": 120, "kept": 0, "rejected": 0, "state": 1, "left_out": {}}
    assert expected.items() <= figures.items()
    assert figures["clips_per_second"] == pytest.approx(120 / figures["seconds"])
    said = capsys.readouterr().out
    assert "120 clips in 3 classes (81 training, 30 validation, 9 testing)" in said
    assert "No file was rejected." in said
    (line,) = (tmp_path / "set" / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["state"] == 1


def test_a_dry_run_prints_counts_and_writes_nothing(old_words, tmp_path, capsys):
    assert featurize(old_words, tmp_path / "set", "--dry-run") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        ["class", "training", "validation", "testing"],
        ["high", "27", "10", "3"],
        ["low", "27", "10", "3"],
        ["middle", "27", "10", "3"],
        ["all", "81", "30", "9"],
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_has_figures_and_counts_rejects(mixed, tmp_path, capsys):
    summary = tmp_path / "run.json"
    for most, code in ((6, 0), (5, 3)):
        options = ("--dry-run", "--summary", summary, "--max-rejects", most)
        assert featurize(mixed, tmp_path / "set", *options) == code
        figures = json.loads(summary.read_text())
        # What has no samples is seen when it is decoded, and not before.
        expected = {"clips": 9, "rejected": 6, "left_out": {}, "shards": 2, "audio_seconds": 4.0}
        assert expected.items() <= figures.items()
        summary.unlink()
    assert not (tmp_path / "set").exists()


def test_a_source_whose_name_no_manifest_can_hold_is_refused_before_anything_is_computed(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    for word in ("left", "right"):
        write_wav(root / word / "0_nohash_0.wav", noise(800))
    (root / "t.csv").write_text("path,label\nleft/0_nohash_0.wav,left\n")
    for source in (root, root / "t.csv"):
        with pytest.raises(UsageError, match=r"UTF-8, and /.*/r\\xff is not; rename it") as error:
            featurize(source, tmp_path / "set")
        assert str(error.value).isprintable()
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(UsageError, match=r"x\\xff is not"):
        featurize(tmp_path / "link", tmp_path / "set", "--group", os.fsdecode(b".|x\xff"))
    (root / "t.jsonl").write_text('{"path": "left/0_nohash_0.wav", "label": "left", "x\\udcff": "1"}\n')
    with pytest.raises(UsageError, match=r"x\\xff is not"):
        featurize(tmp_path / "link" / "t.jsonl", tmp_path / "set", "--group-column", "x\udcff")
    assert featurize(tmp_path / "link", tmp_path / "set", "--dry-run") == 0
    assert not (tmp_path / "set").exists()


IMPORTED = """
import runpy, sys
sys.argv = ["featurize", *sys.argv[1:]]
try:
    runpy.run_module("pipelines.featurize", run_name="__main__")
finally:
    print("IMPORTED", *(name for name in ("apache_beam", "tensorflow", "keras") if name in sys.modules))
"""


def test_a_second_run_computes_nothing_and_leaves_the_same_bytes_and_no_beam(old_words, tmp_path):
    assert featurize(old_words, tmp_path / "set") == 0
    before = files_of(tmp_path / "set", "runs.jsonl")
    arguments = ["--input", old_words, "--output", tmp_path / "set", "--summary", tmp_path / "run.json"]
    command = [sys.executable, "-c", IMPORTED, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "IMPORTED"
    figures = json.loads((tmp_path / "run.json").read_text())
    assert (figures["computed"], figures["kept"], figures["state"], figures["hit_rate"]) == (0, 120, 1, 1.0)
    assert files_of(tmp_path / "set", "runs.jsonl") == before


def test_the_number_of_workers_changes_no_byte(old_words, tmp_path):
    for workers in (1, 2):
        assert featurize(old_words, tmp_path / str(workers), "--workers", workers) == 0
    one, two = (files_of(tmp_path / workers, *NOT_STATE) for workers in ("1", "2"))
    assert len([name for name in one if name.startswith("shards/")]) == 3
    assert one == two


def test_the_order_of_the_files_changes_no_byte(old_words, tmp_path):
    """Written in another order, a folder lists its files in another order."""
    copied = tmp_path / "words"
    for output, backwards in (("one", False), ("two", True)):
        for path in sorted(old_words.rglob("*.wav"), key=lambda path: path.name[::-1], reverse=backwards):
            (copied / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copied / path.parent.name / path.name)
        make_old(copied)
        assert featurize(copied, tmp_path / output) == 0
        shutil.rmtree(copied)
    one, two = (files_of(tmp_path / name, *NOT_STATE) for name in ("one", "two"))
    assert one == two


CHANGE_FIGURES = ("computed", "copied", "kept", "removed", "rejected")


def test_computed_counts_the_rows_that_were_computed(tmp_path):
    """Not the files that became rejects, in a first run, in one that tries them again, and in one that resumes."""
    for number in range(5):
        write_wav(tmp_path / "words" / "ab"[number % 2] / f"{number}.wav", noise(16_000, seed=number))
    source = make_old(tmp_path / "words")
    (source / "a" / "0.wav").write_bytes(b"")
    (source / "b" / "1.wav").unlink()
    (source / "b" / "1.wav").symlink_to("nowhere")

    def counted(*options: str) -> tuple[int, ...]:
        assert featurize(source, tmp_path / "set", "--summary", tmp_path / "run.json", *options) == 0
        figures = json.loads((tmp_path / "run.json").read_text())
        assert figures["computed"] + figures["kept"] + figures["copied"] == figures["clips"]
        return figures["computed"], figures["kept"], figures["clips"], figures["rejected"]

    assert counted() == (3, 0, 3, 2)
    assert counted() == (0, 3, 3, 2)
    write_wav(source / "b" / "5.wav", noise(16_000, seed=5))
    (source / "b" / "6.wav").write_bytes(b"RIFF")
    assert counted() == (1, 3, 4, 3)
    (tmp_path / "set" / "manifest.json").unlink()  # as where a run was killed before its commit
    assert counted()[2:] == (4, 3)


def test_every_kind_of_change_in_one_run(old_words, tmp_path, capsys):
    source, summary = make_old(shutil.copytree(old_words, tmp_path / "words")), tmp_path / "run.json"
    assert featurize(source, tmp_path / "set") == 0
    before = load_manifest(tmp_path / "set")
    tested = [f"{number:08x}" for number in range(40) if hash_partition(f"{number:08x}") == "testing"]
    (source / "middle").rename(source / "medium")  # 40 rows with another path and label
    write_wav(source / "high" / f"{tested[0]}_nohash_0.wav", sine(500, 12_000))  # other content
    (source / "high" / f"{tested[1]}_nohash_0.wav").unlink()
    os.utime(source / "low" / f"{tested[0]}_nohash_0.wav")  # another time only
    write_wav(source / "low" / f"{tested[0]}_nohash_7.wav", sine(300, 12_000))
    write_wav(source / "low" / f"{tested[0]}_nohash_8.wav", sine(300, 0))
    assert featurize(source, tmp_path / "set", "--summary", summary) == 0
    figures = json.loads(summary.read_text())
    assert [figures[name] for name in CHANGE_FIGURES] == [2, 40, 78, 1, 1]
    assert figures["clips"] == 120
    assert "2 computed, 78 kept, 40 copied and 1 removed" in capsys.readouterr().out
    manifest = load_manifest(tmp_path / "set")
    assert manifest.state == before.state + 1
    assert manifest.classes == ["high", "low", "medium"]
    expected = tmp_path / "fresh"
    assert featurize(source, expected) == 0
    assert sorted(rows_of(tmp_path / "set")) == sorted(rows_of(expected))
    assert featurize(source, tmp_path / "set", "--summary", summary) == 0
    figures = json.loads(summary.read_text())
    assert [figures[name] for name in (*CHANGE_FIGURES, "state")] == [0, 0, 120, 0, 1, manifest.state]


def test_a_shard_stays_where_none_of_its_clips_has_changed(old_words, tmp_path):
    source = make_old(shutil.copytree(old_words, tmp_path / "words"))
    assert featurize(source, tmp_path / "set") == 0
    before = load_manifest(tmp_path / "set").partitions
    speaker = next(f"{number:08x}" for number in range(40) if hash_partition(f"{number:08x}") == "testing")
    (source / "high" / f"{speaker}_nohash_0.wav").unlink()
    write_wav(source / "high" / f"{speaker}_nohash_1.wav", sine(300, 12_000))
    assert featurize(source, tmp_path / "set") == 0
    after = load_manifest(tmp_path / "set").partitions
    assert after["training"] == before["training"]
    assert after["validation"] == before["validation"]
    # The rows that are left, and those that are new.
    assert [shard.rows for shard in before["testing"]] == [9]
    assert [shard.rows for shard in after["testing"]] == [8, 1]


def test_a_source_that_lacks_most_clips_or_is_another_one_is_refused(old_words, tmp_path):
    source = make_old(shutil.copytree(old_words, tmp_path / "words"))
    assert featurize(source, tmp_path / "set") == 0
    before = files_of(tmp_path / "set")
    make_old(shutil.copytree(old_words, tmp_path / "other"))
    with pytest.raises(UsageError, match=r"set was made from .*words, not from .*other; give another --output, --so"):
        featurize(tmp_path / "other", tmp_path / "set")
    for label in ("high", "low"):
        (source / label).rename(tmp_path / label)
    refusal = r"80 of the 120 clips of .*set are not in .*words any more; if that is meant, and no disk is missing"
    for dry in ((), ("--dry-run",)):
        with pytest.raises(UsageError, match=refusal):
            featurize(source, tmp_path / "set", *dry)
    with pytest.raises(UsageError, match=r"--limit 30 takes 90 of the 120 clips out of .*; if that is meant"):
        featurize(source, tmp_path / "set", "--limit", 30)
    assert files_of(tmp_path / "set") == before
    assert featurize(source, tmp_path / "set", "--allow-removal") == 0
    assert load_manifest(tmp_path / "set").rows(PARTITIONS) == 40
    # What is in the other place under the same names is known by its content.
    summary = tmp_path / "run.json"
    assert featurize(tmp_path / "other", tmp_path / "set", "--allow-removal", "--summary", summary) == 0
    figures = json.loads(summary.read_text())
    assert [figures[name] for name in CHANGE_FIGURES] == [80, 0, 40, 0, 0]


def test_a_source_that_has_moved_keeps_its_rows(tmp_path):
    """A folder and a table; nothing else passes for a move: neither other recordings nor a table of them."""
    source, moved, summary = tmp_path / "words", tmp_path / "mnt" / "words", tmp_path / "run.json"
    for number in range(6):
        write_wav(source / "ab"[number % 2] / f"{number}.wav", noise(16_000, seed=number))
    (source / "t.csv").write_text("path,label\n" + "".join(f"{'ab'[n % 2]}/{n}.wav,{n % 3}\n" for n in range(6)))
    for name, of in (("set", ""), ("of table", "t.csv")):
        assert featurize(source / of, tmp_path / name) == 0
    moved.parent.mkdir()
    source.rename(moved)
    (moved / "a" / "0.wav").unlink()
    (moved / "t.csv").write_text((moved / "t.csv").read_text().replace("a/0.wav,0\n", ""))
    for name, of in (("set", ""), ("of table", "t.csv")):
        with pytest.raises(UsageError, match=r"give another --output, --source-moved where the same recordings lie"):
            featurize(moved / of, tmp_path / name)
        assert featurize(moved / of, tmp_path / name, "--source-moved", "--summary", summary) == 0
        figures = json.loads(summary.read_text())
        assert (figures["computed"], figures["clips"], figures["removed"]) == (0, 5, 1)
        assert load_manifest(tmp_path / name).source["root"] == str(moved)
        assert featurize(moved / of, tmp_path / name, "--source-moved", "--summary", summary) == 0
        assert not json.loads(summary.read_text())["committed"]
    with pytest.raises(
        UsageError, match=r"was made from a folder, not from .*t\.csv; give another --output, or --allow-r"
    ):
        featurize(moved / "t.csv", tmp_path / "set", "--source-moved")
    write_wav(tmp_path / "other" / "a" / "9.wav", noise(16_000, seed=9))
    with pytest.raises(UsageError, match=r"5 of the 5 clips of .* are not in .*other any more"):
        featurize(tmp_path / "other", tmp_path / "set", "--source-moved")


def test_content_that_changed_under_its_old_time_is_found_when_contents_are_compared(old_words, tmp_path):
    source, summary = make_old(shutil.copytree(old_words, tmp_path / "words")), tmp_path / "run.json"
    assert featurize(source, tmp_path / "set") == 0
    path = source / "high" / "00000001_nohash_0.wav"
    content = bytearray(path.read_bytes())
    content[1_000] ^= 1
    path.write_bytes(content)
    make_old(source)
    for option, computed in (((), 0), (("--verify-content",), 1), ((), 0)):
        assert featurize(source, tmp_path / "set", "--summary", summary, *option) == 0
        assert json.loads(summary.read_text())["computed"] == computed
    assert featurize(source, tmp_path / "fresh") == 0
    assert sorted(rows_of(tmp_path / "set")) == sorted(rows_of(tmp_path / "fresh"))


def test_group_and_split_are_followed(old_words, tmp_path):
    assert featurize(old_words, tmp_path / "set", "--group", "^(.)", "--split", "0/50/50", "--limit", 50) == 0
    manifest = load_manifest(tmp_path / "set")
    clips = clips_table(tmp_path / "set", manifest).to_pylist()
    assert len(clips) == 50
    assert {clip["group"] for clip in clips} == {"h", "l", "m"}
    for clip in clips:
        assert clip["partition"] == hash_partition(clip["group"], (0, 50, 50))
    assert manifest.rows(["training"]) == 0
    assert manifest.options == {"group": "^(.)", "split": [0, 50, 50], "limit": 50}


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Four clips that can be used, and six that cannot."""
    root = tmp_path / "mixed"
    for word in ("left", "right"):
        for speaker in range(2):
            write_wav(root / word / f"{speaker}_nohash_0.wav", noise(16_000, seed=speaker))
    whole = (root / "left" / "0_nohash_0.wav").read_bytes()
    (root / "left" / "empty.wav").write_bytes(b"")
    (root / "left" / "text.wav").write_bytes(b"this is no sound\n" * 10)
    (root / "left" / "header.wav").write_bytes(whole[:30])
    (root / "right" / "no samples.wav").write_bytes(write_wav(tmp_path / "n.wav", noise(0)).read_bytes())
    (root / "right" / "film.m4a").write_bytes(film())
    os.symlink("nowhere.wav", root / "right" / "gone.wav")
    write_wav(root / "loose.wav", noise(16_000))
    return make_existing_old(root)


def make_existing_old(root: Path) -> Path:
    for path in root.rglob("*"):
        if path.exists():
            os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


REASONS = {
    "left/empty.wav": "empty",
    "left/header.wav": "damaged",
    "left/text.wav": "not_audio",
    "loose.wav": "bad_label",
    "right/film.m4a": "unsupported_codec",
    "right/gone.wav": "missing",
    "right/no samples.wav": "empty",
}


def test_clips_that_cannot_be_used_are_named_with_their_reasons(mixed, tmp_path, capsys):
    output = tmp_path / "set"
    assert featurize(mixed, output, "--summary", tmp_path / "run.json") == 0
    manifest = load_manifest(output)
    with open(output / manifest.rejects_file, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"]: row["reason"] for row in rows} == REASONS
    assert [row["path"] for row in rows] == sorted(REASONS, key=unescape_path)
    assert all(row["message"] and row["stage"] in ("scan", "decode", "fit") for row in rows)
    assert sorted(path for path, _, _ in rows_of(output)) == sorted(
        f"{word}/{speaker}_nohash_0.wav" for word in ("left", "right") for speaker in range(2)
    )
    assert json.loads((tmp_path / "run.json").read_text())["rejected"] == 7
    assert f"7 files were rejected (1 bad_label, 1 damaged, 2 empty, 1 missing, 1 not_audio, 1 unsupported_codec), " \
           f"each with its reason in {output / manifest.rejects_file}" in capsys.readouterr().out  # fmt: skip
    assert featurize(mixed, output, "--max-rejects", 7) == 0
    assert featurize(mixed, output, "--max-rejects", 6) == 3


def test_too_many_rejects_end_with_code_3_and_a_finished_set(mixed, tmp_path):
    arguments = ("--input", mixed, "--output", tmp_path / "set", "--max-rejects", 6)
    result = run_command("pipelines.featurize", *arguments, check=False)
    assert result.returncode == 3
    assert result.stderr.splitlines()[-1] == "error: 7 files were rejected, more than --max-rejects 6"
    assert load_manifest(tmp_path / "set").rows(PARTITIONS) == 4


def test_a_source_all_of_whose_clips_are_rejected_gives_no_set(mixed, tmp_path):
    for path in mixed.glob("*/*_nohash_*"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match=r"every clip was rejected, 11 in all; the first: left/0_nohash_0\.wav: empty"):
        featurize(mixed, tmp_path / "set")
    assert not (tmp_path / "set" / "manifest.json").exists()


@pytest.mark.data
@pytest.mark.parametrize("storage_format", ["tfrecord", pytest.param("parquet", marks=pytest.mark.trial)])
def test_speech_commands_counts_in_both_formats(data, tmp_path, storage_format):
    assert featurize(data / "speech_commands_8words", tmp_path / "set", "--format", storage_format) == 0
    manifest = load_manifest(tmp_path / "set")
    assert [manifest.rows([name]) for name in PARTITIONS] == [4_813, 671, 484]
    assert manifest.counts["rejected"] == 0
    assert manifest.spec.shape == (98, 40)
    assert len(manifest.classes) == 8


@pytest.mark.data
def test_damaged_recordings_become_clips_or_rejects_and_none_is_lost(data, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(data / "odd_audio", source / "odd", symlinks=True)
    write_wav(source / "even" / "one.wav", noise(16_000))
    assert featurize(source, tmp_path / "set", "--summary", tmp_path / "run.json") == 0
    figures = json.loads((tmp_path / "run.json").read_text())
    assert figures["clips"] > 50
    assert figures["clips"] + figures["rejected"] + sum(figures["left_out"].values()) == sum(
        path.is_file() for path in source.rglob("*")
    )
    assert all(np.isfinite(np.frombuffer(row, np.float32)).all() for _, _, row in rows_of(tmp_path / "set"))
