"""Every file of a set is one that Layout names and that the inventory knows."""

import ast
import os
from pathlib import Path

import pytest

import features.maintenance.repair
from features.io.atomic import PARTIAL_SUFFIX, writer_name
from features.maintenance.repair import repair
from features.maintenance.verification import verify
from features.store.inventory import take_inventory
from features.store.layout import (
    FORMATS,
    LEFTOVERS,
    MANIFEST,
    PLACES,
    REPORTS,
    SHARDS,
    STATES,
    STAYING,
    TABLES,
    Layout,
    earlier_states,
    is_own,
    kind_of,
    state_number,
)
from features.store.locks import running
from features.store.manifest import Manifest, load_manifest
from tests.features.examples import TINY, build_units, committed, featurized, prepared
from tests.signals import noise, write_wav

PACKAGES = Path(__file__).parents[3]
UNIT = f"training-{'0' * 24}"


def test_the_names_are_those_of_the_sets_that_there_are():
    layout = Layout(Path("set"), "parquet")
    assert layout.shard(UNIT) == Path(f"set/shards/{UNIT}.parquet")
    assert Layout(Path("set"), "tfrecord").shard(UNIT) == Path(f"set/shards/{UNIT}.tfrecord")
    assert layout.report(UNIT) == Path(f"set/reports/{UNIT}.parquet")
    assert layout.state(7) == Path("set/states/manifest-000007.json")
    assert layout.work_list("12-ab") == Path("set/work/units-12-ab.arrow")
    assert layout.scratch.shard(UNIT) == Path(f"set/work/repair/shards/{UNIT}.parquet")
    files = (layout.manifest, layout.run_log, layout.commit_lock, layout.running_lock)
    assert files == tuple(map(Path, ("set/manifest.json", "set/runs.jsonl", "set/.lock", "set/.running")))


def test_kinds_follow_from_place_and_name():
    assert kind_of("shards", f"{UNIT}.tfrecord") == SHARDS
    assert kind_of("reports", f"{UNIT}.parquet") == REPORTS
    assert kind_of("reports", f"{UNIT}.tfrecord") is None
    assert kind_of("states", "manifest-1000000.json") == STATES
    assert kind_of("states", "manifest-1.json") is None
    assert kind_of("", "clips-000001-0123456789abcdef.parquet") == TABLES
    assert kind_of("", "clips-000001-0123456789abcdef.csv") is None
    assert kind_of("", f"{MANIFEST}.{writer_name()}{PARTIAL_SUFFIX}") == LEFTOVERS
    assert kind_of("work", f"{MANIFEST}.{writer_name()}{PARTIAL_SUFFIX}") is None
    assert (state_number("states/manifest-000012.json"), state_number("manifest-000012.json")) == (12, None)
    assert is_own("runs.jsonl")
    assert is_own("clips-of-mine")
    assert not is_own("notes.txt")


def test_earlier_states_stand_in_the_order_of_their_numbers(tmp_path):
    layout = Layout(tmp_path, "tfrecord")
    assert earlier_states(tmp_path) == []
    layout.states_folder.mkdir()
    paths = [layout.state(number) for number in (1, 20, 999_999, 1_000_000)]
    for path in [*reversed(paths), layout.states_folder / "manifest-old.json"]:
        path.touch()
    assert earlier_states(tmp_path) == paths


def named_by(layout: Layout, manifest: Manifest) -> set[Path]:
    """The files that a state names."""
    names = [shard.name for shard in manifest.all_shards]
    tables = [layout.path(manifest.clips_file), layout.path(manifest.rejects_file)]
    return {*tables, *map(layout.shard, names), *map(layout.report, names)}


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def expected_kind(layout: Layout, path: Path) -> str:
    kinds = {layout.shards_folder: SHARDS, layout.reports_folder: REPORTS, layout.states_folder: STATES}
    return TABLES if path.parent == layout.root else kinds.get(path.parent, LEFTOVERS)


def check_inventory(layout: Layout) -> None:
    """The inventory has every file but those that stay, each of its kind, and finds none that is not the set's."""
    inventory = take_inventory(layout)
    assert (inventory.foreign, inventory.links) == ([], [])
    there = {layout.path(file.path): file.kind for file in inventory.files}
    going = files_under(layout.root) - {layout.path(name) for name in STAYING}
    assert there == {path: expected_kind(layout, path) for path in going}


@pytest.mark.parametrize("storage_format", FORMATS)
def test_every_file_of_a_set_is_named_and_recognised(tmp_path, monkeypatch, storage_format):
    layout = Layout(tmp_path / "set", storage_format)
    for number in range(6):
        write_wav(tmp_path / "words" / "yes" / f"{number:08x}_nohash_0.wav", noise(60, seed=number))
    (tmp_path / "words" / "yes" / "empty.wav").write_bytes(b"")
    _, first = featurized(tmp_path / "words", layout.root, TINY, storage_format)

    # While the second run is at work.
    write_wav(tmp_path / "words" / "no" / "0000000a_nohash_0.wav", noise(60, seed=9))
    update = prepared(tmp_path / "words", layout.root, TINY, storage_format)
    with running(layout):
        update.write_work_list(layout.work_list(writer_name()))
        build_units(update)
        check_inventory(layout)
        second, new = committed(update)
        layout.work_list(writer_name()).unlink()
    assert new
    assert not layout.work_folder.exists()

    # While what is damaged lies made anew in the scratch folder.
    looked = []
    place = features.maintenance.repair._place

    def look_and_place(where, name, parts):
        looked.append({path.relative_to(layout.root).as_posix() for path in files_under(layout.work_folder)})
        check_inventory(layout)
        place(where, name, parts)

    monkeypatch.setattr(features.maintenance.repair, "_place", look_and_place)
    victim = second.all_shards[0]
    content = layout.shard(victim.name).read_bytes()
    layout.shard(victim.name).write_bytes(content[:-1])
    layout.report(victim.name).unlink()
    assert repair(layout, second, verify(layout, second)) == ([victim.name], {})
    assert layout.shard(victim.name).read_bytes() == content
    names = {layout.scratch.shard(victim.name), layout.scratch.report(victim.name)}
    assert looked == [{path.relative_to(layout.root).as_posix() for path in names}]

    assert load_manifest(layout.root) == second
    staying = {layout.manifest, layout.run_log, layout.commit_lock, layout.running_lock}
    expected = named_by(layout, first) | named_by(layout, second) | staying | {layout.state(1)}
    assert files_under(layout.root) - {layout.report(name) for name in layout.reported()} <= expected
    assert expected <= files_under(layout.root)
    check_inventory(layout)


def test_no_other_file_makes_paths_of_a_set():
    """A part of a path is written down beside a slash or a call of os.path.join."""
    parts = {part for place in PLACES for part in place.split("/") if part} | set(STAYING)
    found = []
    for package in ("features", "model", "pipelines"):
        for path in (PACKAGES / package).rglob("*.py"):
            if path == PACKAGES / "features/store/layout.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                    written = [node.right]
                elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.path.join", "Path"):
                    written = node.args
                else:
                    continue
                constants = [part.value for part in written if isinstance(part, ast.Constant)]
                found += [(os.path.relpath(path, PACKAGES), name) for name in constants if name in parts]
    assert found == []
