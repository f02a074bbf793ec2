"""The way back from a page into the cache: featurize with what was said of its clips, and without it again."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import UsageError
from features.frontend.presets import load_spec
from features.sources.paths import clip_file, escape_path
from features.sources.table_layout import TableLayout
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from features.update.request import Request
from tests.conftest import call, clips_table
from tests.features.sources.reviews import write_review
from tests.pipelines import sets
from tests.pipelines.conftest import make_old
from tests.signals import noise, write_wav

ODD = os.fsencode("no/5") + b'_"quoted", \xff\n_nohash_0.wav'
LONG = "yes/long_nohash_0.wav"


@pytest.fixture
def root(tmp_path) -> Path:
    """24 clips of 5 ms by as many speakers, one of an odd name, and a recording of 50 ms."""
    for number in range(24):
        write_wav(tmp_path / "words" / f"{('no', 'yes')[number % 2]}/{number}_nohash_0.wav", noise(80, seed=number))
    os.rename(tmp_path / "words" / "yes" / "5_nohash_0.wav", os.fsencode(tmp_path / "words") + b"/" + ODD)
    write_wav(tmp_path / "words" / LONG, noise(800, seed=99))
    (tmp_path / "small.toml").write_text(sets.SMALL)
    return make_old(tmp_path / "words")


def request(root, *corrections, output="set", **options):
    folder = root.parent
    spec = load_spec(str(folder / "small.toml")).spec
    return Request(str(root), str(folder / output), spec, corrections=tuple(map(str, corrections)), **options)


def featurize(root, *corrections, **options):
    """Does what the command does, but for Beam; returns its figures."""
    return sets.featurize(request(root, *corrections, **options))[1]


def refused(asked):
    """Returns why a run is refused, which leaves the set as it was."""
    folder = Path(asked.output)
    before = sets.named(folder) if folder.exists() else None
    with pytest.raises(UsageError) as error:
        sets.featurize(asked)
    assert (sets.named(folder) if folder.exists() else None) == before
    return str(error.value)


def rows_of(folder):
    """Returns the rows as the clips table and the shards have them, each with its tensor."""
    manifest, found = load_manifest(folder), []
    lines = clips_table(folder, manifest).to_pylist()
    read = [read_shard(manifest.layout(folder), shard, manifest.spec) for shard in manifest.all_shards]
    assert [path for rows in read for path in rows.paths] == [line["path"] for line in lines]
    assert [label for rows in read for label in rows.labels] == [line["label"] for line in lines]
    tensors = [row.tobytes() for rows in read for row in rows.features]
    for line, tensor in zip(lines, tensors, strict=True):
        found.append((*(line[name] for name in ("path", "start", "label", "group", "partition")), tensor))
    return sorted(found)


def shards_of(folder):
    """Returns the bytes of the shards of each partition, in their order."""
    manifest = load_manifest(folder)
    return {name: [manifest.layout(folder).shard(shard.name).read_bytes() for shard in shards]
            for name, shards in manifest.partitions.items()}  # fmt: skip


def whole(path, label, *judged):
    return (path, 0, 0.005, label, *judged)


RELABELLED = [
    whole("no/0_nohash_0.wav", "no", "wrong", "yes"),
    whole("yes/3_nohash_0.wav", "yes", "wrong", "no"),
    whole(escape_path(ODD), "no", "wrong", "yes"),
]
RIGHT = whole("yes/7_nohash_0.wav", "yes", "right")


def test_labels_are_corrected_without_computing_anything_and_back(root, capsys):
    folder, review = root.parent, write_review(root.parent / "review.csv", [*RELABELLED, RIGHT])
    command = ("pipelines.featurize", "--input", root, "--output", folder / "set", "--spec", folder / "small.toml")
    featurize(root)
    before, shards = rows_of(folder / "set"), shards_of(folder / "set")
    assert call(*command, "--workers", 1, "--corrections", review, "--summary", folder / "run.json") == 0
    assert re.search(r"^25 clips in 2 classes .*; 0 computed, 22 kept, 3 copied and 0 removed in [\d.]+ s\. 3 labels "
                     r"corrected, 0 clips left out, 0 windows added\. ", capsys.readouterr().out)  # fmt: skip
    figures, manifest = json.loads((folder / "run.json").read_text()), load_manifest(folder / "set")
    assert (figures["computed"], figures["copied"], figures["decoded"], figures["hit_rate"]) == (0, 3, 0, 1.0)
    record = figures["corrections"]
    assert {name: record[name] for name in record if name != "files"} == {
        "relabelled": 3, "left_out": 0, "added": 0, "right": 1,
    }  # fmt: skip
    assert (manifest.corrections, manifest.format_version) == (record, 6)
    correct = {row[0]: row[5] for row in RELABELLED}
    assert rows_of(folder / "set") == [
        (path, start, correct.get(path, label), group, partition, tensor)
        for path, start, label, group, partition, tensor in before
    ]
    # A set that is corrected from its beginning has the same bytes.
    featurize(root, review, output="anew")
    assert shards_of(folder / "anew") == shards_of(folder / "set")
    again = featurize(root, review, review)
    assert (again["committed"], again["kept"], again["corrections"]) == (False, 25, record)
    figures, manifest = featurize(root, "none"), load_manifest(folder / "set")
    assert (figures["computed"], figures["copied"], figures["corrections"]) == (0, 3, None)
    assert (manifest.corrections, manifest.format_version, "corrections" in manifest.to_json()) == (None, 3, False)
    assert shards_of(folder / "set") == shards
    assert rows_of(folder / "set") == before


def test_a_clip_is_left_out_and_a_window_added(root, capsys):
    folder = root.parent
    featurize(root)
    before = rows_of(folder / "set")
    left_out = whole("yes/1_nohash_0.wav", "yes", "wrong")
    windows = [(LONG, 0.01, 0.015, "maybe", "right"), (LONG, 0.02, 0.025, "no", "wrong")]
    review = write_review(folder / "review.csv", [*RELABELLED, left_out, *windows])
    command = ("pipelines.featurize", "--input", root, "--output", folder / "set", "--spec", folder / "small.toml")
    assert call(*command, "--corrections", review, "--dry-run", "--summary", folder / "run.json") == 0
    assert "3 labels corrected, 1 clip left out, 1 window added." in capsys.readouterr().out
    assert json.loads((folder / "run.json").read_text())["computed"] == 1
    assert load_manifest(folder / "set").corrections is None
    figures = featurize(root, review)
    assert (figures["computed"], figures["copied"], figures["removed"], figures["clips"]) == (1, 3, 1, 25)
    known, after = ({row[:2]: row for row in rows} for rows in (before, rows_of(folder / "set")))
    assert known.keys() - after.keys() == {("yes/1_nohash_0.wav", 0)}
    assert after.keys() - known.keys() == {(LONG, 160)}
    *_, label, group, partition, tensor = after[LONG, 160]
    assert (label, group, partition) == ("maybe", "long", known[LONG, 0][4]), "as its recording"
    # The window has the features that a table gives of the same part.
    table = folder / "parts.csv"
    table.write_text(f"path,label,begin,end\n{LONG},maybe,0.01,0.015\n")
    layout = TableLayout(root=str(root), start_column="begin", end_column="end")
    sets.featurize(replace(request(root, output="parts"), input=str(table), table_layout=layout))
    assert rows_of(folder / "parts")[0][5] == tensor
    assert call("features.show", folder / "set", "--summary", folder / "show.json") == 0
    said = capsys.readouterr().out
    assert "corrected   3 labels corrected, 1 clip left out, 1 window added; 0 found right" in said
    assert f"by {review}, sha256 {figures['corrections']['files'][0]['sha256'][:16]}" in said
    assert json.loads((folder / "show.json").read_text())["corrections"] == figures["corrections"]
    assert call("features.verify", folder / "set") == 0
    assert featurize(root, "none")["computed"] == 1, "the clip that was left out"
    assert rows_of(folder / "set") == before


def test_a_run_that_forgets_the_corrections_is_refused(root, caplog):
    folder = root.parent
    first, second = folder / "first.csv", folder / "it's the 2nd.csv"
    write_review(first, RELABELLED[:1])
    write_review(second, [*RELABELLED[1:], whole("no/0_nohash_0.wav", "yes", "right")])
    featurize(root, first)
    assert refused(request(root)) == (
        f"{folder}/set was corrected by {first}; add --corrections {first} to keep to that, or --corrections none to "
        "return to the labels of the source"
    )
    assert f"was corrected by {first}; " in refused(request(root, write_review(folder / "3rd.csv", [])))
    assert featurize(root, first, second)["corrections"]["relabelled"] == 3
    said = refused(request(root))
    assert f"was corrected by {first} and {second}; " in said
    assert f"--corrections {first} --corrections '{folder}/it'\"'\"'s the 2nd.csv'" in said
    # It may lie elsewhere, and may have gone on, or be another one of its name.
    os.rename(first, folder / "moved.csv")
    assert featurize(root, folder / "moved.csv", second)["computed"] == 0
    assert not caplog.messages
    write_review(second, RELABELLED[1:])
    figures = featurize(root, folder / "moved.csv", second)
    assert caplog.messages == [f"warning: {second} says something else than when it corrected {folder}/set: what it "
                               "says no longer is taken back"]  # fmt: skip
    assert (figures["committed"], figures["computed"], figures["corrections"]["relabelled"]) == (True, 0, 3)
    assert [Path(file["path"]).name for file in figures["corrections"]["files"]] == ["moved.csv", second.name]
    # And one of them may be taken back.
    figures = featurize(root, "none", second)
    assert (figures["computed"], figures["copied"], figures["corrections"]["relabelled"]) == (0, 1, 2)
    assert featurize(root, "none")["corrections"] is None
    assert featurize(root)["committed"] is False


def test_what_cannot_be_corrected_is_refused_before_anything_is_written(root):
    folder = root.parent
    one = write_review(folder / "one.csv", RELABELLED[:1])
    two = write_review(folder / "two.csv", [RIGHT, whole("no/0_nohash_0.wav", "no", "right")])
    gone = write_review(folder / "gone.csv", [("elsewhere.wav", 0, 1, "no", "right")])
    said = refused(request(root, one, two))
    assert f"'no' is wrong, and 'yes' correct by {one}, line 2, and 'no' is right by {two}, line 3" in said
    assert f"{gone}, line 2: " in refused(request(root, gone))
    assert "no such file" in refused(request(root, folder / "none.csv"))
    assert not (folder / "set").exists()


def test_a_set_of_some_clips_stays_one_of_these(root):
    folder = root.parent
    featurize(root, limit=10)
    before = rows_of(folder / "set")
    chosen = [row for row in before if row[0] != LONG]
    rows = [whole(path, label, "wrong", *correct)
            for (path, _, label, *_), correct in zip(chosen, [["x"], ["x"], [], []], strict=False)]  # fmt: skip
    windows = [(LONG, number / 1000, (number + 1) / 1000, "x", "right") for number in range(1, 16)]
    review = write_review(folder / "review.csv", [*rows, *windows])
    figures = featurize(root, review, limit=10)
    assert (figures["clips"], figures["computed"], figures["removed"]) == (10 - 2 + 15, 15, 2)
    left = {row[0] for row in before} - {row[0] for row in rows[2:]}
    assert {row[0] for row in rows_of(folder / "set")} == left | {LONG}
    # More clips leave than stay, and more than the limit were there: that is what was asked for.
    assert featurize(root, "none", limit=10)["removed"] == 15
    assert rows_of(folder / "set") == before


def test_more_than_half_may_be_left_out(root):
    folder = root.parent
    featurize(root)
    rows = [whole(row[0], row[2], "wrong") for row in rows_of(folder / "set") if row[0] != LONG][:20]
    review = write_review(folder / "review.csv", rows)
    assert featurize(root, review)["removed"] == 20
    # What leaves later leaves for another reason.
    for path, *_ in rows_of(folder / "set")[:3]:
        os.unlink(clip_file(str(root), path))
    assert "3 of the 5 clips of" in refused(request(root, review))


def test_windows_have_the_partitions_of_their_recordings(root):
    folder, table = root.parent, root.parent / "parts.csv"
    lines = [f"{LONG},no,{number / 100},{number / 100 + 0.005},{number + 1}" for number in range(2)]
    lines += [f"yes/{number}_nohash_0.wav,yes,0,0.005,{number}" for number in (1, 3)]
    table.write_text("\n".join(["path,label,begin,end,fold", *lines]) + "\n")
    layout = TableLayout(root=str(root), start_column="begin", end_column="end")
    review = write_review(folder / "review.csv", [("yes/3_nohash_0.wav", 0.002, 0.003, "no", "right")])
    asked = replace(request(root, review), input=str(table), table_layout=layout)
    sets.featurize(asked)
    assert [row[4] for row in rows_of(folder / "set") if row[1] == 32] == ["fold-3"]
    write_review(review, [(LONG, 0.005, 0.01, "no", "right")])
    said = refused(asked)
    assert f"{review}, line 2: {LONG} from 0.005000 to 0.010000 s becomes a clip of the partition" in said
    assert "the source has clips of several partitions of that" in said
    assert sets.featurize(replace(asked, split=(80, 10, 10)))[1]["corrections"]["added"] == 1


def test_lists_beside_the_classes_decide_of_windows_too(root):
    (root / "testing_list.txt").write_text(f"{LONG}\n")
    featurize(root, write_review(root.parent / "review.csv", [(LONG, 0.005, 0.01, "no", "right")]))
    assert {row[4] for row in rows_of(root.parent / "set") if row[0] == LONG} == {"testing"}


def test_shards_are_named_by_the_labels_and_not_by_the_reviews(root):
    featurize(root)
    featurize(root, write_review(root.parent / "review.csv", [RIGHT]), output="checked")
    one, other = (load_manifest(root.parent / name) for name in ("set", "checked"))
    assert one.partitions == other.partitions and one.clips_file == other.clips_file
    assert (one.corrections, other.corrections["right"]) == (None, 1)
