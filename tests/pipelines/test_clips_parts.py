"""Sets whose clips table is several files: they say what one file says, and cost no more than what changes."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from features.io.filesystem import filesystem_of
from features.maintenance.removal import prune
from features.maintenance.repair import repair
from features.maintenance.verification import verify
from features.store.clip_lines import Staying
from features.store.clips_table import CLIPS_SCHEMA, clips_batches, clips_parts, read_clips
from features.store.contents import gather
from features.store.inventory import unreferenced
from features.store.known_rows import CACHE_SCHEMA, FEW_VALUES, cache_parts
from features.store.layout import FORMATS
from features.store.manifest import FORMAT_VERSION, load_manifest
from features.store.summary import describe, figures_of
from model.pages.set_description import describe_set
from model.training.holdout import clips_of, hold_out
from model.training.label_plan import LabelPlan, fixed_draw, label_rows
from model.training.rows import Rows
from model.training.settings import LabelSettings
from model.training.splits import split_rows
from tests.conftest import clips_table
from tests.features.examples import build_units, other_libraries
from tests.pipelines.instants import COMMIT, WORK, Run
from tests.pipelines.sets import (
    LONG_AGO_SECONDS,
    begin,
    change,
    check_whole,
    differences,
    featurize,
    finished_shards,
    make_case,
    named,
    put,
    read_all,
    small_parts,
)
from tests.pipelines.test_store_sets import request

GOLDEN = Path(__file__).parents[1] / "golden" / "features-v7"
NEVER_NAMED = ("clips_file", "clips_parts", "format_version")


def rounded(facts):
    """Facts without the last digits of numbers: durations that are added up part by part are rounded otherwise."""
    if isinstance(facts, dict):
        return {name: rounded(value) for name, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [rounded(value) for value in facts]
    return round(facts, 9) if isinstance(facts, float) else facts


def equal_but_for_the_table(one, other):
    facts = [{name: value for name, value in vars(each).items() if name not in NEVER_NAMED} for each in (one, other)]
    return rounded(facts[0]) == rounded(facts[1])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A source and its set twice: with the clips table in one file, and in several."""
    place = tmp_path_factory.mktemp("parts")
    begin(place / "clips")
    for copy in ("no/fold-2_copy.wav", "yes/fold-3_copy.wav"):
        put(place / "clips", copy, 0)
    featurize(request(place / "clips", place / "one"))
    with small_parts():
        featurize(request(place / "clips", place / "several"))
    return place


@pytest.fixture
def source(both, tmp_path):
    shutil.copytree(both / "clips", tmp_path / "clips")
    return tmp_path / "clips"


@pytest.mark.parametrize("rows", [1, 2, 6, 7, 8, 13, 14, 15])
def test_borders(rows, tmp_path, monkeypatch):
    """Sets of as many clips as a file has, one fewer, one more; each clip is a shard of its own."""
    monkeypatch.setattr("features.store.shards.MAX_ROWS", 1)
    for number in range(rows):
        put(tmp_path / "clips", f"{('no', 'yes')[number % 2]}/fold-{1 + number % 2}_{number}.wav", number)
    one, _ = featurize(request(tmp_path / "clips", tmp_path / "one"))
    with small_parts(7):
        several, _ = featurize(request(tmp_path / "clips", tmp_path / "several"))
        assert featurize(request(tmp_path / "clips", tmp_path / "several"))[1]["committed"] is False
    assert [part.rows for part in several.clips_tables] == [7] * (rows // 7) + [rows % 7] * (rows % 7 > 0)
    assert several.format_version == (FORMAT_VERSION if rows > 7 else one.format_version)
    if rows <= 7:
        assert several == one
        assert (tmp_path / "one" / one.clips_file).read_bytes() == (tmp_path / "several" / one.clips_file).read_bytes()
    assert equal_but_for_the_table(one, several)
    assert load_manifest(tmp_path / "several") == several
    layout = several.layout(tmp_path / "several")
    assert read_clips(layout, several).equals(read_clips(one.layout(tmp_path / "one"), one))
    read_all(tmp_path / "several", several)
    assert verify(layout, several) == []


def test_readers_find_in_several_files_what_they_find_in_one(both):
    manifests = [load_manifest(both / name) for name in ("one", "several")]
    layouts = [manifest.layout(both / name) for manifest, name in zip(manifests, ("one", "several"), strict=True)]
    one, several = zip(layouts, manifests, strict=True)
    assert len(manifests[1].clips_tables) == 4
    assert equal_but_for_the_table(*manifests)
    whole = read_clips(*one)
    assert read_clips(*several).equals(whole) and whole.schema == CLIPS_SCHEMA
    parts = list(clips_parts(*several, ["shard", "path"]))
    assert [len(part) for part in parts] == [part.rows for part in manifests[1].clips_tables]
    assert pa.concat_tables(parts).equals(whole.select(["shard", "path"]))
    wanted = [shard.name for shard in manifests[1].shards(["fold-3"])]
    assert read_clips(*several, ["shard"], wanted)["shard"].unique().to_pylist() == wanted
    assert read_clips(*several, ["shard"], []).equals(whole.select(["shard"]).slice(0, 0))
    for rows in (1, 3, 100):
        batches = list(clips_batches(*several, dictionaries=["label"], rows=rows))
        assert max(map(len, batches)) <= rows
        assert pa.types.is_dictionary(batches[0].schema.field("label").type)
        assert pa.concat_tables(batches).cast(CLIPS_SCHEMA).equals(whole)
    for parted in (one, several):
        tables = list(cache_parts(*parted))
        known = pa.concat_tables(tables)
        assert {field.name for field in known.schema if pa.types.is_dictionary(field.type)} == FEW_VALUES
        assert known.cast(CACHE_SCHEMA).equals(pa.concat_tables(cache_parts(*one)).cast(CACHE_SCHEMA))
        of_clips = pa.concat_tables(tables[:-1])
        assert of_clips.select(whole.column_names).cast(CLIPS_SCHEMA).equals(whole)
        some = ["reason", "path", "row", "label"]
        *clips, rejects = cache_parts(*parted, some)
        assert pa.concat_tables(clips).equals(of_clips.select(some))
        assert rejects.equals(tables[-1])
    facts = [figures_of(describe(*each)) for each in (one, several)]
    for fact in facts:
        del fact["disk_bytes"], fact["runs"]
    assert rounded(facts[0]) == rounded(facts[1])
    described = [describe_set(*each) for each in (one, several)]
    assert rounded(described[0]) == rounded(described[1])
    assert "1 content is in more than one partition" in described[0]["remarks"][0]


def test_training_has_the_same_rows_and_labels(both):
    settings = LabelSettings(classes=("yes",), unknown=("no",), unknown_share=0.5)
    seen = []
    for name in ("one", "several"):
        folder, manifest = both / name, load_manifest(both / name)
        names = ("fold-1", "fold-3", "fold-4")
        rows = Rows(folder, manifest, names, manifest.classes)
        plan = LabelPlan(settings)
        labelled = label_rows(folder, manifest, names, plan, ["yes", "_unknown_"])
        draw = fixed_draw(folder, manifest, names, plan, ["yes", "_unknown_"])
        seen.append(
            {
                "clips": rows.clips(["path", "label"]).to_pylist(),
                "labels": [label for held in rows.contents() for label in held.labels],
                "held out": hold_out(folder, manifest, names),
                "splits": split_rows(folder, manifest, names, 3, seed=1),
                "kinds": [labelled.shards, labelled.shard, labelled.row, labelled.kind],
                "draw": [draw.selection, draw.unknown, draw.unknown_of],
                "shards": clips_of(folder, manifest, names, [])["shard"].to_pylist(),
            }
        )
    np.testing.assert_equal(seen[0], seen[1])
    assert 0 < seen[0]["draw"][1] < seen[0]["draw"][2]
    assert seen[0]["labels"] == [clip["label"] for clip in seen[0]["clips"]]


def test_a_set_grows_from_one_file_to_several_and_shrinks_back(source, tmp_path):
    folder = tmp_path / "set"
    for copy in ("no/fold-2_copy.wav", "yes/fold-3_copy.wav"):
        (source / copy).unlink()
    with small_parts(32):
        first, _ = featurize(request(source, folder))
        assert [part.rows for part in first.clips_tables] == [32]
        for number in range(300, 310):
            put(source, f"yes/fold-4_{number}.wav", number)
        second, _ = featurize(request(source, folder))
        assert [part.rows for part in second.clips_tables] == [32, 10]
        assert second.clips_tables[0].file == first.clips_file
        assert second.format_version == FORMAT_VERSION
        for number in range(310, 314):
            put(source, f"yes/fold-4_{number}.wav", number)
        third, figures = featurize(request(source, folder))
        assert figures["computed"] == 4
        assert third.clips_tables[0] == second.clips_tables[0]
        assert third.clips_tables[1].rows == 14
        assert featurize(request(source, folder))[1]["committed"] is False
        for number in range(300, 314):
            (source / f"yes/fold-4_{number}.wav").unlink()
        fourth, _ = featurize(request(source, folder))
        assert (len(fourth.clips_tables), fourth.format_version) == (1, first.format_version)
        layout = fourth.layout(folder)
        assert sorted(read_clips(layout, fourth)["path"].to_pylist()) == sorted(
            read_clips(layout, first)["path"].to_pylist()
        )
        # What any kept state names stays.
        there = set(os.listdir(folder))
        prune(folder, keep=2)
        tables = [{part.file for part in state.clips_tables} for state in (second, third, fourth)]
        kept = {name for name in os.listdir(folder) if name.startswith("clips-")}
        assert kept == set.union(*tables) and kept < there
        prune(folder, keep=1)
        assert {name for name in os.listdir(folder) if name.startswith("clips-")} == tables[1] | tables[2]
        prune(folder)
        assert {name for name in os.listdir(folder) if name.startswith("clips-")} == tables[2]


def test_a_file_that_did_not_change_is_not_written_again(source, tmp_path):
    folder = tmp_path / "set"
    with small_parts():
        before, _ = featurize(request(source, folder))
        inodes = {part.file: (folder / part.file).stat().st_ino for part in before.clips_tables}
        put(source, "yes/fold-2_new.wav", 77)
        after, _ = featurize(request(source, folder))
        assert [part in before.clips_tables for part in after.clips_tables] == [True, True, False, True, True]
        (source / "no/fold-3_2.wav").unlink()
        after, _ = featurize(request(source, folder))
    assert [part in before.clips_tables for part in after.clips_tables] == [True, True, False, False, True]
    assert [part.file.split("-")[1] for part in after.clips_tables] == [
        "000001",
        "000001",
        "000002",
        "000003",
        "000001",
    ]
    assert all((folder / part.file).stat().st_ino == inodes.get(part.file, (folder / part.file).stat().st_ino)
               for part in after.clips_tables)  # fmt: skip
    assert all(file.kind != "tables" for file in unreferenced(after.layout(folder), after).by_none)
    assert verify(after.layout(folder), after) == []


def test_a_file_whose_lines_change_is_written_though_its_shards_stay(source, tmp_path):
    folder = tmp_path / "set"
    with small_parts():
        before, _ = featurize(request(source, folder))
        os.utime(source / "no/fold-3_6.wav", ns=(2_000_000_000, 2_000_000_000))
        after, figures = featurize(request(source, folder))
    assert (figures["computed"], figures["committed"]) == (0, True)
    assert before.partitions == after.partitions
    assert sum(one != other for one, other in zip(before.clips_tables, after.clips_tables, strict=True)) == 1
    times = dict(zip(*(read_clips(after.layout(folder), after)[name].to_pylist() for name in ("path", "mtime_ns")),
                     strict=True))  # fmt: skip
    assert times["no/fold-3_6.wav"] == 2_000_000_000


@pytest.mark.parametrize("damage", ["gone", "cut off", "changed"])
def test_a_damaged_file_is_named_by_all_who_read_it(both, tmp_path, damage):
    folder = tmp_path / "set"
    shutil.copytree(both / "several", folder)
    manifest = load_manifest(folder)
    layout, part = manifest.layout(folder), manifest.clips_tables[2]
    path = folder / part.file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(
            content[:-9] if damage == "cut off" else content[:50] + bytes([content[50] ^ 1]) + content[51:]
        )
    for read in (
        lambda: read_clips(layout, manifest),
        lambda: list(cache_parts(layout, manifest)),
        lambda: verify(layout, manifest),
        lambda: describe(layout, manifest),
        lambda: hold_out(folder, manifest, ["fold-3"]),
        lambda: featurize(request(both / "clips", folder)),
    ):
        with pytest.raises(RunError, match=f"the clips table .*{part.file}"):
            read()
    # What needs none of its rows reads the others.
    assert len(read_clips(layout, manifest, shards=[manifest.all_shards[0].name])) == manifest.clips_tables[0].rows

    # A commit writes it anew, of what stays.
    lines = clips_table(both / "several", manifest)

    def of(names):
        return lines.filter(pa.compute.is_in(lines["shard"], value_set=pa.array(names)))

    names = {name: [shard.name for shard in held] for name, held in manifest.partitions.items()}
    with small_parts():
        staying = Staying({shard.name: shard for shard in manifest.all_shards}, of)
        contents = gather(layout, names, staying, [], manifest.spec, manifest)
    assert [one == other for one, other in zip(contents.parts, manifest.clips_tables, strict=True)] == [
        True, True, False, True,
    ]  # fmt: skip
    assert pq.read_table(folder / contents.parts[2].file).equals(pq.read_table(both / "several" / part.file))


@pytest.mark.parametrize("others", [False, True], ids=["same bytes", "other bytes"])
def test_damaged_shards_of_several_files_are_made_again(source, tmp_path, others, monkeypatch):
    folder = tmp_path / "set"
    with small_parts():
        before, _ = featurize(request(source, folder))
        layout = before.layout(folder)
        for shard in (before.all_shards[0], before.all_shards[-1]):
            path = layout.shard(shard.name)
            path.write_bytes(path.read_bytes()[:-1])
        if others:
            layout.shard(before.all_shards[0].name).unlink()
            other_libraries(monkeypatch)
        damages = verify(layout, before)
        assert {damage.name for damage in damages} == {before.all_shards[0].name, before.all_shards[-1].name}
        made, failed = repair(layout, before, damages, workers=1)
        assert (len(made), failed) == (2, {})
        after = load_manifest(folder)
        assert (after == before) is not others
        assert verify(layout, after) == []
    if others:
        same = [one == other for one, other in zip(before.clips_tables, after.clips_tables, strict=True)]
        assert same[0] is False and any(same)


def test_lines_that_name_shards_of_another_file_are_named(both, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(both / "several", folder)
    manifest = load_manifest(folder)
    first, second = manifest.clips_tables[:2]
    text = (folder / "manifest.json").read_text().replace(first.file, "<").replace(second.file, first.file)
    (folder / "manifest.json").write_text(text.replace("<", second.file))
    damages = verify(manifest.layout(folder), load_manifest(folder))
    assert f"{second.rows} of {second.rows} lines name shards that it should have no line of" in damages[0].message
    assert {damage.name for damage in damages[2:]} == {shard.name for shard in manifest.all_shards[:2]}


@pytest.mark.parametrize("storage_format", FORMATS)
def test_a_run_that_is_killed_between_files_costs_nothing_but_time(storage_format, tmp_path):
    note = tmp_path / "note"
    with small_parts():
        case = make_case(tmp_path / "case", "incremental", storage_format)
        unbroken = Run(case.request(case.copy(case.unbroken)), note, in_parts=True).end()
        assert len(load_manifest(case.unbroken).clips_tables) > 3
        places, total = unbroken["first"][WORK], unbroken["counts"][COMMIT]
        of_parts = [number for place, number in places.items() if "part_writer.py" in place or place.endswith(" _part")]
        chosen = [*((WORK, number) for number in of_parts[:: max(1, len(of_parts) // 5)]),
                  *((COMMIT, int(total * share)) for share in (0, 0.35, 0.7, 0.95))]  # fmt: skip
        left = set()
        for turn, (part, number) in enumerate(chosen):
            folder = case.copy(tmp_path / f"set-{turn}")
            run = Run(case.request(folder), note, part, number, in_parts=True)
            assert run.ends_within(60) and run.process.exitcode == -signal.SIGKILL, run.place
            check_whole(folder, storage_format)
            manifest = load_manifest(folder)
            left |= {file.kind for file in unreferenced(manifest.layout(folder), manifest).by_none}
            finished = finished_shards(folder)
            featurize(case.request(folder))
            assert differences(named(folder), named(case.unbroken)) == [], run.place
            assert finished_shards(folder) == finished
            assert not list(folder.glob("clips-*.partial")), run.place
            _, figures = featurize(case.request(folder))
            assert (figures["computed"], figures["committed"]) == (0, False)
            prune(folder)
            assert sorted(folder.glob("clips-*")) == sorted(
                folder / part.file for part in load_manifest(folder).clips_tables
            )
            shutil.rmtree(folder)
    assert {"tables", "leftovers"} <= left


def test_a_set_in_a_store_has_the_same_files(both, tmp_path, s3):
    root, here, there = tmp_path / "clips", tmp_path / "set", f"{s3.uri}/deep/set"
    with small_parts():
        for step in (begin, change):
            step(root)
            for output in (here, there):
                manifest, figures = featurize(request(root, output))
                assert figures["committed"]
            assert len(manifest.clips_tables) > 3
            assert differences(named(here), named(s3.folder / "deep" / "set")) == []
        assert featurize(request(root, there))[1]["committed"] is False
    layout = manifest.layout(there)
    assert read_clips(layout, manifest).equals(read_clips(manifest.layout(here), manifest))
    assert verify(layout, manifest) == []
    gone = [sorted(file.path for file in prune(output).going) for output in (str(here), there)]
    assert gone[0] == gone[1]
    assert differences(named(here, states=False), named(s3.folder / "deep" / "set")) == []
    part = layout.path(manifest.clips_tables[1].file)
    filesystem_of(part).write(part, b"PAR1")
    with pytest.raises(RunError, match=f"the clips table {part} is not the one"):
        verify(layout, manifest)


def test_a_run_that_is_overtaken_leaves_files_that_no_state_names(source, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    with small_parts():
        featurize(request(source, folder))
        put(source, "yes/fold-2_new.wav", 77)
        slow = request(source, folder).read()

        def overtaken(*arguments):
            contents = gather(*arguments)
            monkeypatch.undo()
            with small_parts():
                (source / "yes/fold-2_new.wav").unlink()
                put(source, "no/fold-1_other.wav", 78)
                featurize(request(source, folder))
            return contents

        build_units(slow)
        monkeypatch.setattr("features.update.update.gather", overtaken)
        with pytest.raises(RunError, match="another featurize committed"):
            slow.commit()
    manifest = load_manifest(folder)
    assert manifest.state == 2
    assert verify(manifest.layout(folder), manifest) == []
    unnamed = {file.path for file in unreferenced(manifest.layout(folder), manifest).by_none}
    assert any(path.startswith("clips-000002-") for path in unnamed)
    prune(folder)
    assert verify(manifest.layout(folder), manifest) == []


def test_a_set_of_format_version_7_stays_readable_and_is_brought_up_to_date(tmp_path):
    """One of today; from the files it has, and those that it is given."""
    for name in ("set", "recordings"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    folder, root = tmp_path / "set", tmp_path / "recordings"
    for number, path in enumerate(sorted(root.rglob("*.wav"), key=lambda path: int(path.stem.partition("_")[2]))):
        os.utime(path, (LONG_AGO_SECONDS + number,) * 2)
    manifest = load_manifest(folder)
    assert manifest.format_version == 7
    assert [part.rows for part in manifest.clips_tables] == [8, 4]
    layout = manifest.layout(folder)
    assert verify(layout, manifest) == []
    clips = read_clips(layout, manifest)
    assert sorted(clips["path"].to_pylist()) == sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*.wav")
    )
    assert [path.split("/")[0] for path in clips["path"].to_pylist()] == clips["label"].to_pylist()
    with small_parts():
        put(root, "no/fold-3_12.wav", 12)
        after, figures = featurize(replace(request(root, folder), source_moved=True))
    assert (figures["computed"], figures["kept"]) == (1, 12)
    assert after.clips_tables[0] == manifest.clips_tables[0]
    assert after.clips_tables[1].rows == 5
