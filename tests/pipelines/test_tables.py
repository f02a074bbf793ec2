"""Tables, names and folds as ways in: each line of the README as a real command, and what comes of it."""

import csv
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from features.errors import RunError, UsageError
from features.frontend.presets import preset
from features.sources.partition import hash_partition
from features.sources.table_layout import TableLayout
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from features.update.request import Request
from model.training.partitions import warn_of_classes
from model.training.settings import Settings
from tests.conftest import call, clips_table, run_command
from tests.pipelines.conftest import make_old
from tests.signals import noise, sine, write_wav

FOLDS = [f"fold-{number}" for number in range(1, 6)]


def featurize(source: Path, output: Path, *options: object) -> int:
    return call("pipelines.featurize", "--input", source, "--output", output, *options)


def rows_of(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """The features of a set by path and start."""
    manifest = load_manifest(folder)
    found = {}
    for shard in manifest.all_shards:
        content = read_shard(manifest.layout(folder), shard, manifest.spec)  # fmt: skip
        members = clips_table(folder, manifest).filter(
            [name == shard.name for name in clips_table(folder, manifest)["shard"].to_pylist()]
        )
        for path, start, row in zip(*(members[name].to_pylist() for name in ("path", "start", "row")), strict=True):
            assert content.paths[row] == path
            found[path, start] = np.array(content.features[row])
    return found


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def urban(tmp_path_factory) -> Path:
    """UrbanSound8K in small: its columns, its folders, two slices of each of 15 recordings."""
    root = tmp_path_factory.mktemp("urban")
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for number in range(15):
        fold, label = number % 5 + 1, ("dog_bark", "siren", "drilling")[number % 3]
        for part in range(2):
            name = f"{100 + number}-{number % 3}-0-{part}.wav"
            write_wav(root / "UrbanSound8K" / "audio" / f"fold{fold}" / name, noise(8_000, seed=2 * number + part))
            lines.append(f"{name},{100 + number},{14.5 * part},{18.5 + part},1,{fold},{number % 3},{label}")
    (root / "UrbanSound8K" / "metadata").mkdir()
    (root / "UrbanSound8K" / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines))
    make_old(root)
    return root


URBAN = (
    "--input UrbanSound8K/metadata/UrbanSound8K.csv --root UrbanSound8K "
    "--path-template audio/fold{fold}/{slice_file_name} --label-column class --group-column fsID --output"
)


def test_urbansound8k_in_one_line(urban, tmp_path):
    result = run_command("pipelines.featurize", *URBAN.split(), tmp_path / "urban-features", cwd=urban)
    assert "30 clips in 3 classes (6 fold-1, 6 fold-2, 6 fold-3, 6 fold-4, 6 fold-5)" in result.stdout
    assert "--train-on fold-1,fold-2,fold-3,fold-4 --test-on fold-5" in result.stdout
    assert "warning" not in result.stderr, "a set of folds has no training to be empty"
    manifest = load_manifest(tmp_path / "urban-features")
    assert list(manifest.partitions) == FOLDS
    root = str(urban / "UrbanSound8K")
    assert manifest.source == {"kind": "table", "root": root, "table": f"{root}/metadata/UrbanSound8K.csv"}
    assert manifest.options == {
        "group": None, "split": None, "limit": None,
        "columns": {"path_template": "audio/fold{fold}/{slice_file_name}", "label": "class", "fold": "fold",
                    "group": "fsID"},
    }  # fmt: skip
    for clip in clips_table(tmp_path / "urban-features", manifest).to_pylist():
        assert clip["path"].startswith(f"audio/fold{clip['partition'][-1]}/{clip['group']}-")
        assert (clip["start"], clip["duration"], clip["seconds"]) == (0, None, 0.5)


def test_a_second_run_computes_nothing_and_other_tables_are_refused(urban, tmp_path, monkeypatch):
    monkeypatch.chdir(urban)
    arguments = [*URBAN.split(), tmp_path / "set"]
    assert call("pipelines.featurize", *arguments) == 0
    assert call("pipelines.featurize", *arguments, "--summary", tmp_path / "run.json") == 0
    assert json.loads((tmp_path / "run.json").read_text())["computed"] == 0
    other = shutil.copy(urban / "UrbanSound8K/metadata/UrbanSound8K.csv", tmp_path / "other.csv")
    with pytest.raises(UsageError, match=r"was made from .*UrbanSound8K\.csv, not from .*other\.csv; give another"):
        call("pipelines.featurize", *("--input", other, *arguments[2:]))
    with pytest.raises(UsageError, match=r"was made from .*UrbanSound8K, not from .*/metadata"):
        call("pipelines.featurize", *arguments, "--root", "UrbanSound8K/metadata", "--path-template",
             "../audio/fold{fold}/{slice_file_name}")  # fmt: skip
    with pytest.raises(UsageError, match=r"UrbanSound8K\.csv, not from a folder; give another"):
        featurize(urban / "UrbanSound8K", tmp_path / "set")


def test_a_dry_run_counts_folds(urban, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(urban)
    assert call("pipelines.featurize", *URBAN.split(), tmp_path / "set", "--dry-run") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == [["class", *FOLDS], ["dog_bark", "2", "2", "2", "2", "2"]]
    assert lines[4] == ["all", "6", "6", "6", "6", "6"]
    assert "0.00 hours" in " ".join(lines[6])
    assert not (tmp_path / "set").exists()


def test_split_and_group_win_over_the_table(urban, tmp_path, monkeypatch):
    monkeypatch.chdir(urban)
    options = ("--split", "50/25/25", "--group", r"/(\d+)-")
    assert call("pipelines.featurize", *URBAN.split(), tmp_path / "set", *options) == 0
    manifest = load_manifest(tmp_path / "set")
    assert list(manifest.partitions) == ["training", "validation", "testing"]
    assert not {"fold", "group"} & manifest.options["columns"].keys()
    for clip in clips_table(tmp_path / "set", manifest).to_pylist():
        assert clip["group"] == clip["path"].split("/")[2].split("-")[0]
        assert clip["partition"] == hash_partition(clip["group"], (50, 25, 25))


def test_lists_where_the_paths_of_a_table_begin_win_over_its_column(tmp_path, caplog):
    for name in ("a", "b", "c"):
        write_wav(tmp_path / "root" / "yes" / f"{name}.wav", noise(800))
    (tmp_path / "root" / "testing_list.txt").write_text("yes/b.wav\nyes/c.wav\nno/z.wav\n")
    (tmp_path / "t.csv").write_text("path,label,fold\nyes/a.wav,yes,1\nyes/b.wav,no,1\n")
    spec = preset("speech-commands")
    request = Request(
        str(tmp_path / "t.csv"), str(tmp_path / "set"), spec, table_layout=TableLayout(root=str(tmp_path / "root"))
    )
    source, clips = request.find_clips()
    assert clips["partition"].to_pylist() == ["training", "testing"]
    assert source.columns == {"path": "path", "label": "label"}
    message, other = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert other == "warning: classes without a training clip, which no network learns: no"
    assert message.startswith(f"warning: the partitions are those of the lists in {tmp_path / 'root'}, not those")
    assert message.endswith("move testing_list.txt away to have these")
    (tmp_path / "root" / "testing_list.txt").unlink()
    source, clips = request.find_clips()
    assert clips["partition"].to_pylist() == ["fold-1", "fold-1"]
    assert source.columns["fold"] == "fold"


@pytest.mark.data
def test_esc10_in_one_line(data, tmp_path):
    line = (
        "--input esc10/esc10.csv --root esc10/audio --path-column filename --label-column category "
        "--group-column src_file --limit 40 --output"
    )
    run_command("pipelines.featurize", *line.split(), tmp_path / "esc10-features", cwd=data)
    manifest = load_manifest(tmp_path / "esc10-features")
    assert list(manifest.partitions) == FOLDS
    assert (manifest.rows(FOLDS), manifest.counts["rejected"]) == (40, 0)
    for clip in clips_table(tmp_path / "esc10-features", manifest).to_pylist():
        assert clip["path"].split("-")[:2] == [clip["partition"].removeprefix("fold-"), clip["group"]]


@pytest.mark.data
def test_fsdd_in_one_line(data, tmp_path):
    line = "--input fsdd/fsdd.csv --label-column digit --limit 40 --output"
    run_command("pipelines.featurize", *line.split(), tmp_path / "fsdd-features", cwd=data)
    manifest = load_manifest(tmp_path / "fsdd-features")
    assert list(manifest.partitions) == ["training", "validation", "testing"]
    assert manifest.counts["clips"] == 40
    for clip in clips_table(tmp_path / "fsdd-features", manifest).to_pylist():
        label, _, take = Path(clip["path"]).stem.split("_")
        assert clip["label"] == label
        assert clip["partition"] == ("testing" if int(take) < 5 else "training")


def test_labels_and_groups_from_names(tmp_path):
    for digit in range(3):
        for speaker in ("jackson", "theo"):
            write_wav(tmp_path / "digits" / f"{digit}_{speaker}_7.wav", noise(4_000, seed=digit))
    write_wav(tmp_path / "digits" / "noise.wav", noise(4_000))
    make_old(tmp_path / "digits")
    pattern = r"(?P<label>\d)_(?P<group>\w+)_\d+"
    assert featurize(tmp_path / "digits", tmp_path / "set", "--label-pattern", pattern, "--split", "0/50/50") == 0
    manifest = load_manifest(tmp_path / "set")
    assert manifest.classes == ["0", "1", "2"]
    assert manifest.source == {"kind": "folder", "root": str(tmp_path / "digits"), "pattern": pattern}
    assert "columns" not in manifest.options
    for clip in clips_table(tmp_path / "set", manifest).to_pylist():
        assert clip["path"] == f"{clip['label']}_{clip['group']}_7.wav"
        assert clip["partition"] == hash_partition(clip["group"], (0, 50, 50))
    assert [row["path"] for row in read(tmp_path / "set" / manifest.rejects_file)] == ["noise.wav"]


@pytest.mark.parametrize("rate_hz", [16_000, 22_050])
@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_parts_of_a_recording_are_as_if_they_had_been_cut_out(tmp_path, rate_hz, storage_format):
    recording = np.concatenate([sine(100 * number + 100, rate_hz, rate_hz) for number in range(6)])
    recording += noise(len(recording), amplitude=0.05)
    write_wav(tmp_path / "long" / "day.wav", recording, rate_hz)
    # The last one has a rest of a quarter of a second, and the file ends before its duration does.
    parts = [(0.0, 1.0), (0.5, 1.0), (2.25, 0.3), (5.75, 1.0)]
    lines = ["path,label,from,seconds", *(f"day.wav,{'ab'[n % 2]},{s},{d}" for n, (s, d) in enumerate(parts))]
    (tmp_path / "long" / "parts.csv").write_text("\n".join(lines))
    for number, (start, seconds) in enumerate(parts):
        first = round(start * rate_hz)
        piece = recording[first : first + round(seconds * rate_hz)]
        write_wav(tmp_path / "cut" / "ab"[number % 2] / f"{number}.wav", piece, rate_hz)
    make_old(tmp_path)
    options = ("--format", storage_format)
    named = ("--start-column", "from", "--duration-column", "seconds")
    assert featurize(tmp_path / "long" / "parts.csv", tmp_path / "of parts", *options, *named) == 0
    assert featurize(tmp_path / "cut", tmp_path / "of cuts", *options) == 0
    of_parts, of_cuts = rows_of(tmp_path / "of parts"), rows_of(tmp_path / "of cuts")
    assert len(of_parts) == len(of_cuts) == 4
    for number, (start, _) in enumerate(parts):
        part = of_parts["day.wav", round(start * rate_hz)]
        assert part.tobytes() == of_cuts[f"{'ab'[number % 2]}/{number}.wav", 0].tobytes()
        assert part.any()
    clips = clips_table(tmp_path / "of parts", load_manifest(tmp_path / "of parts"))
    assert sorted(clips["seconds"].to_pylist()) == pytest.approx([0.25, 0.3, 1.0, 1.0], abs=1e-4)
    assert {round(clip["start"] / rate_hz, 2): clip["warning"] for clip in clips.to_pylist() if clip["warning"]} == {
        5.75: "truncated"
    }


def test_a_part_that_begins_past_the_end_is_a_reject(tmp_path, capsys):
    write_wav(tmp_path / "day.wav", noise(32_000))
    (tmp_path / "t.csv").write_text(
        "path,label,s\nday.wav,a,0\nday.wav,b,1\nday.wav,b,2\nday.wav,b,2.5\nnone.wav,b,0\n"
    )
    make_old(tmp_path)
    assert featurize(tmp_path / "t.csv", tmp_path / "set", "--start-column", "s", "--dry-run") == 0
    assert "4 clips" in capsys.readouterr().out
    assert featurize(tmp_path / "t.csv", tmp_path / "set", "--start-column", "s") == 0
    manifest = load_manifest(tmp_path / "set")
    assert manifest.counts["rejects"] == {"empty": 2, "missing": 1}
    rejects = [(row["path"], row["message"]) for row in read(tmp_path / "set" / manifest.rejects_file)]
    assert sorted(rejects) == [
        ("day.wav", "it begins at 2.000 s, past the end at 2.000 s"),
        ("day.wav", "it begins at 2.500 s, past the end at 2.000 s"),
        ("none.wav", "t.csv, line 6: No such file or directory"),
    ]


def test_equal_files_stay_together_and_paths_are_split_at_random(tmp_path):
    for number in range(8):
        write_wav(tmp_path / "words" / "ab"[number % 2] / f"{number}.wav", noise(4_000, seed=number // 4))
    make_old(tmp_path)
    for rule, groups in (("content", 2), ("path", 8)):
        assert featurize(tmp_path / "words", tmp_path / rule, "--group", rule) == 0
        clips = clips_table(tmp_path / rule, load_manifest(tmp_path / rule)).to_pylist()
        assert len({clip["group"] for clip in clips}) == groups
        for clip in clips:
            assert clip["partition"] == hash_partition(clip["group"])


def test_equal_contents_in_two_partitions_are_warned_of_until_they_are_one_group(tmp_path, caplog):
    names = [f"{label}/{number}.wav" for label in "ab" for number in range(12)]
    for seed, name in enumerate(names):
        write_wav(tmp_path / "words" / name, noise(4_000, seed=seed))
    make_old(tmp_path)

    def warnings(*options: object) -> list[str]:
        caplog.clear()
        assert featurize(tmp_path / "words", tmp_path / "set", "--summary", tmp_path / "run.json", *options) == 0
        said = [record for record in caplog.records if record.name == "soundmill" and record.levelname == "WARNING"]
        return [record.getMessage() for record in said]

    assert warnings() == []
    placed = {name: hash_partition(name) for name in names}
    copies = [next(copy for copy in (f"{name[:-4]} copy {number}.wav" for number in range(99))
                   if hash_partition(copy) != part) for name, part in placed.items() if name[0] == "a"]  # fmt: skip
    for name in copies:
        shutil.copy(tmp_path / "words" / f"{name.split(' ')[0]}.wav", tmp_path / "words" / name)
    (said,) = warnings()
    assert said.startswith("warning: 12 contents are in more than one partition, such as a/0")
    assert said.endswith("; --group content keeps each in one")
    assert warnings() == [], "nothing has changed"
    assert warnings("--group", "content") == []
    assert json.loads((tmp_path / "run.json").read_text())["computed"] == 0
    by_content: dict[str, set[str]] = {}
    for clip in clips_table(tmp_path / "set", load_manifest(tmp_path / "set")).to_pylist():
        by_content.setdefault(clip["content_hash"], set()).add(clip["partition"])
    assert {len(partitions) for partitions in by_content.values()} == {1}
    assert warnings("--group", "content") == []
    figures = json.loads((tmp_path / "run.json").read_text())
    assert (figures["computed"], figures["copied"], figures["committed"]) == (0, 0, False)
    shutil.copy(tmp_path / "words" / "a" / "0.wav", tmp_path / "words" / "b" / "again.wav")
    assert [text[:45] for text in warnings("--group", "content")] == ["warning: 1 content has more than one label, s"]


@pytest.mark.parametrize("listed", [False, True])
def test_parts_of_recordings_in_two_partitions_get_a_group(tmp_path, caplog, listed):
    for number in range(48):
        name = f"{'ab'[number % 2]}/XC{100 + number // 8}_{number % 8 // 2}.wav"
        write_wav(tmp_path / "words" / name, noise(4_000, seed=number))
    if listed:
        (tmp_path / "words" / "testing_list.txt").write_text("a/XC100_0.wav\nb/XC100_1.wav\n")
    assert featurize(tmp_path / "words", tmp_path / "set", "--dry-run") == 0
    hints = [record.getMessage() for record in caplog.records if "hint: " in record.getMessage()]
    assert len(hints) == (0 if listed else 1)
    if hints:
        words = shlex.split(hints[0])
        caplog.clear()
        assert featurize(tmp_path / "words", tmp_path / "set", "--dry-run", *words[words.index("--group") :][:2]) == 0
        assert "hint" not in caplog.text


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Path:
    """A table of three files that are there, one twice, one that is not audio, and one that is gone."""
    root = tmp_path_factory.mktemp("named")
    for number, name in enumerate(("audio/b.wav", "audio/=a.wav", "audio/not named.wav")):
        write_wav(root / name, noise(24_000, seed=number))
    (root / "audio" / "text.wav").write_text("no sound")
    lines = ["file,start,label,n", "b.wav,x,,b", "=a.wav,,,=a", "b.wav,,,b", "gone.wav,,,gone", "text.wav,,,text"]
    (root / "files.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize(
    "options",
    [("--root", "audio", "--path-column", "file"), ("--path-template", "audio/{n}.wav")],
    ids=["column", "template"],
)
def test_files_that_a_table_names_are_scored(named, run_folder, tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(named)
    arguments = ("--model", run_folder, "--input", "files.csv", "--output", tmp_path / "labels.csv", *options)
    assert call("pipelines.score", *arguments, "--summary", tmp_path / "run.json") == 0
    folder = "" if "--root" in options else "audio/"
    first = "./=a.wav" if "--root" in options else "audio/=a.wav"
    rows = read(tmp_path / "labels.csv")
    assert [(row["path"], row["start_seconds"]) for row in rows] == [
        (first, "0.000000"), (first, "1.000000"), (f"{folder}b.wav", "0.000000"), (f"{folder}b.wav", "1.000000")
    ]  # fmt: skip
    rejects = {row["path"]: (row["reason"], row["message"]) for row in read(tmp_path / "labels.rejects.csv")}
    assert rejects[f"{folder}gone.wav"] == ("missing", "files.csv, line 5: No such file or directory")
    assert rejects[f"{folder}text.wav"][0] == "not_audio"
    figures = json.loads((tmp_path / "run.json").read_text())
    assert (figures["files"], figures["scored"], figures["rejected"]) == (4, 2, 2)
    assert figures["rejects"] == {"missing": 1, "not_audio": 1}
    assert "4 files in = 2 scored + 2 rejected" in capsys.readouterr().out


def test_files_left_out_by_name_are_said_in_the_last_line(run_folder, tmp_path, capsys):
    write_wav(tmp_path / "source" / "a.wav", noise(16_000))
    arguments = ("--model", run_folder, "--input", tmp_path / "source", "--output", tmp_path / "labels.csv")
    for names, said in (((), ""), (("a.txt",), "1 file was"), (("b.mid", "wav"), "3 files were")):
        for name in names:
            (tmp_path / "source" / name).write_text("text")
        assert call("pipelines.score", *arguments, "--overwrite") == 0
        line = capsys.readouterr().out
        assert "1 file in = 1 scored + 0 rejected; 1.0 s of audio, 1 window in " in line
        assert line.count(" left out by name, as no audio ends so.") == bool(names)
        assert f" {said} left out by name" in line or not names


def test_links_that_lead_nowhere_are_rejects_of_a_folder_too(run_folder, tmp_path):
    write_wav(tmp_path / "source" / "b.wav", noise(16_000))
    for name in ("a.wav", "c.wav"):
        os.symlink("gone.wav", tmp_path / "source" / name)
    arguments = ("--model", run_folder, "--input", tmp_path / "source", "--output", tmp_path / "labels.csv")
    assert call("pipelines.score", *arguments, "--summary", tmp_path / "run.json", "--max-rejects", 1) == 3
    figures = json.loads((tmp_path / "run.json").read_text())
    assert (figures["files"], figures["scored"], figures["rejected"], figures["clips"]) == (3, 1, 2, 1)
    rows = read(tmp_path / "labels.rejects.csv")
    assert [(row["path"], row["stage"], row["reason"]) for row in rows] == [
        ("a.wav", "scan", "missing"), ("c.wav", "scan", "missing")
    ]  # fmt: skip
    assert [row["path"] for row in read(tmp_path / "labels.csv")] == ["b.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "labels.csv",
        "labels.csv.manifest.parquet",
        "labels.rejects.csv",
        "labels.warnings.csv",
        "run.json",
        "source",
    ]


def test_files_none_of_which_can_be_scored_are_all_counted(run_folder, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "b.wav").write_bytes(b"")
    os.symlink("gone.wav", tmp_path / "source" / "a.wav")
    with pytest.raises(RunError, match=r"every file was rejected, 2 in all; the first: a\.wav: missing"):
        call("pipelines.score", "--model", run_folder, "--input", tmp_path / "source", "--output", tmp_path / "l.csv")
    assert [row["path"] for row in read(tmp_path / "l.rejects.csv")] == ["a.wav", "b.wav"]


def test_a_table_none_of_whose_files_is_there_leaves_the_table_of_rejects(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\na.wav,x\nb.wav,y\n")
    with pytest.raises(UsageError, match=r"all 2 rows were rejected.*; all are in .*set/rejects-000001-.*\.csv$"):
        featurize(tmp_path / "t.csv", tmp_path / "set")
    (table,) = (tmp_path / "set").iterdir()
    assert [(row["path"], row["label"]) for row in read(table)] == [("a.wav", "x"), ("b.wav", "y")]
    for name in "ab":
        write_wav(tmp_path / f"{name}.wav", noise(16_000))
    assert featurize(tmp_path / "t.csv", tmp_path / "set") == 0


def test_of_a_table_none_of_whose_files_can_be_scored_the_table_of_rejects_is_left(run_folder, tmp_path):
    (tmp_path / "t.csv").write_text("path\na.wav\nb.wav\n")
    with pytest.raises(UsageError, match=r"all 2 rows were rejected.*; all are in .*/l\.rejects\.csv$"):
        call("pipelines.score", "--model", run_folder, "--input", tmp_path / "t.csv", "--output", tmp_path / "l.csv")
    assert [row["reason"] for row in read(tmp_path / "l.rejects.csv")] == ["missing"] * 2


def test_classes_that_vanish_are_named_by_featurize_and_by_train(tmp_path, caplog):
    caplog.set_level("INFO", "soundmill")
    held_out = [number for number in range(99) if hash_partition(f"owl/{number}.wav") == "testing"][:2]
    for number in range(4):
        write_wav(tmp_path / "words" / "a" / f"{number}.wav", noise(4_000, seed=number))
        write_wav(tmp_path / "words" / "b" / f"{number}.wav", noise(4_000, seed=number + 9))
    for number in held_out:
        write_wav(tmp_path / "words" / "owl" / f"{number}.wav", noise(4_000, seed=number + 99))
    for path in ("broken/1.wav", "broken/2.wav", "nothing/notes.txt"):
        (tmp_path / "words" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "words" / path).write_bytes(b"")
    assert featurize(tmp_path / "words", tmp_path / "set") == 0
    remarks = [message for message in caplog.messages if "classes" in message]
    assert remarks == [
        "warning: no audio in these folders, which are no classes: nothing",
        "warning: classes without a training clip, which no network learns: owl",
        "warning: no file of these classes could be used: broken (2 rejected)",
    ]
    manifest = load_manifest(tmp_path / "set")
    assert [row["label"] for row in read(tmp_path / "set" / manifest.rejects_file)] == ["broken", "broken"]
    caplog.clear()
    warn_of_classes(manifest, Settings(), str(tmp_path / "set"))
    assert caplog.messages == [
        "warning: no file of these classes could be used: broken (2 rejected)",
        "warning: the set has no clip of these class folders: nothing",
        "warning: classes without a training clip, which the network does not learn: owl",
    ]
    caplog.clear()
    warn_of_classes(manifest, Settings().with_given({"classes": ("a", "b")}), str(tmp_path / "set"))
    assert caplog.messages == [], "those that are none of the classes are not missing"
    for name in ("_background_noise_", "lost+found", ".hidden", "new"):
        (tmp_path / "words" / name).mkdir()
    (tmp_path / "words" / "link").symlink_to(tmp_path)
    warn_of_classes(manifest, Settings(), str(tmp_path / "set"))
    assert caplog.messages[1] == "warning: the set has no clip of these class folders: new, nothing"
    shutil.move(tmp_path / "words", tmp_path / "elsewhere")
    caplog.clear()
    warn_of_classes(manifest, Settings(), str(tmp_path / "set"))
    assert [message for message in caplog.messages if "folders" in message] == []
