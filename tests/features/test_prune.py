import json
import os
import shutil
import time
from pathlib import Path

import pytest

from features.errors import RunError, UsageError
from features.io import filesystem
from features.maintenance import removal
from features.maintenance.removal import prune
from features.prune import parse_age
from features.store.inventory import Unreferenced, names_of, total_bytes, unreferenced
from features.store.known_rows import cache_parts
from features.store.layout import LOCKS, MANIFEST, RUN_LOG, Layout
from features.store.locks import committing, running
from features.store.manifest import Manifest, load_manifest
from features.store.shards import read_shard
from features.store.unit_report import read_report
from tests.conftest import call, run_command
from tests.features.examples import build_units, committed, featurized, new_set, prepared
from tests.signals import noise, write_wav

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
LONG_AGO_NS = 1_600_000_000 * 10**9
DIGEST = "0123456789abcdef01234567"


def make_words(root: Path, words: tuple[str, ...], speakers: range) -> None:
    for word in words:
        for speaker in speakers:
            sound = noise(60 + speaker, seed=100 * speaker + len(word))
            path = write_wav(root / word / f"{speaker:08x}_nohash_0.wav", sound)
            os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def make_old(folder: Path, days: int = 30) -> None:
    """Gives all files of a set a time some days ago."""
    old = time.time_ns() - days * DAY_NS
    for path in folder.rglob("*"):
        os.utime(path, ns=(old, old), follow_symlinks=False)


def set_age(folder: Path, hours: float, *names: str) -> None:
    for name in names:
        then = time.time_ns() - int(hours * HOUR_NS)
        os.utime(folder / name, ns=(then, then))


def state_file(number: int) -> str:
    return f"states/manifest-{number:06d}.json"


@pytest.fixture(scope="module", params=["tfrecord", "parquet"])
def history(request, tmp_path_factory) -> Path:
    """`words`, and `set` after five commits: rows come, leave and move, so that states name shards of their own."""
    base = tmp_path_factory.mktemp("history")
    root, folder = base / "words", base / "set"

    def change(number: int) -> None:
        if number == 1:
            make_words(root, ("no", "yes"), range(20))
        elif number == 2:
            shutil.rmtree(root / "no")
        elif number == 3:
            (root / "yes").rename(root / "ja")
        elif number == 4:
            make_words(root, ("maybe",), range(12))
        else:
            (root / "ja" / "00000003_nohash_0.wav").unlink()

    for number in range(1, 6):
        change(number)
        assert featurized(root, folder, storage_format=request.param)[1].state == number
    make_old(folder)
    return base


@pytest.fixture
def base(history, tmp_path) -> Path:
    """A copy of `history` with its times."""
    shutil.copytree(history, tmp_path / "base", symlinks=True)
    return tmp_path / "base"


def states_of(folder: Path) -> dict[int, Manifest]:
    """The committed state and all in `states`, by number."""
    paths = [*(folder / "states").glob("manifest-??????.json"), folder / MANIFEST]
    found = [Manifest.from_json(path.read_text(), str(path)) for path in paths]
    return {manifest.state: manifest for manifest in found}


def read_all(folder: Path, manifest: Manifest) -> int:
    """Reads all that a state names, and checks it; returns the number of rows."""
    shards = manifest.all_shards
    for shard in shards:
        assert len(read_shard(manifest.layout(folder), shard, manifest.spec).paths) == shard.rows
        assert read_report(manifest.layout(folder), shard.name).shard == shard
    assert (
        sum(map(len, cache_parts(manifest.layout(folder), manifest)))
        == manifest.counts["clips"]
        == sum(shard.rows for shard in shards)
    )
    return manifest.counts["clips"]


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file but the locks."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in LOCKS
    }


def unreferenced_in(folder: Path) -> Unreferenced:
    manifest = load_manifest(folder)
    return unreferenced(manifest.layout(folder), manifest)


def names_that_may_go(folder: Path) -> set[str]:
    return set(tree(folder)) - {MANIFEST, RUN_LOG}


@pytest.mark.parametrize("keep", [0, 1, 2, 4, 9])
def test_what_stays_is_what_the_kept_states_name(base, keep):
    folder = base / "set"
    before = states_of(folder)
    assert sorted(before) == [1, 2, 3, 4, 5]
    choice = prune(folder, keep, DAY_NS)
    after = states_of(folder)
    assert sorted(after) == list(range(max(1, 5 - keep), 6))
    expected = set().union(*(names_of(manifest) for manifest in after.values()))
    expected |= {state_file(number) for number in after if number != 5}
    assert names_that_may_go(folder) == expected
    assert [read_all(folder, manifest) for manifest in after.values()]
    assert choice.states == sorted(set(before) - set(after))
    assert choice.waiting == [] == choice.young
    # Each state had a shard of its own, so something really went.
    lost = set().union(*(names_of(before[number]) for number in choice.states)) - expected
    assert len([name for name in lost if name.startswith("shards/")]) >= len(choice.states)
    assert not lost & names_that_may_go(folder)


def test_a_pruned_set_is_brought_up_to_date_like_any_other(base):
    folder = base / "set"
    prune(folder, 0, 0)
    make_words(base / "words", ("yes",), range(3))
    update, manifest = featurized(base / "words", folder, storage_format=load_manifest(folder).storage_format)
    assert manifest.state == 6
    assert update.computed == 3
    assert read_all(folder, manifest) == 34


def test_states_that_were_superseded_a_short_time_ago_stay(base):
    folder = base / "set"
    for number, hours in ((1, 50), (2, 25), (3, 23), (4, 1)):
        set_age(folder, hours, state_file(number))
    choice = prune(folder, 0, DAY_NS)
    assert choice.young == [3, 4]
    assert choice.states == [1, 2]
    after = states_of(folder)
    assert sorted(after) == [3, 4, 5]
    assert [read_all(folder, manifest) for manifest in after.values()]
    # --keep and --min-age add up; with the age 0 the first alone counts.
    choice = prune(folder, 1, 2 * HOUR_NS)
    assert (choice.latest, choice.young, choice.states) == ([4], [], [3])
    choice = prune(folder, 0, 0)
    assert (choice.latest, choice.young, choice.states) == ([], [], [4])
    assert read_all(folder, load_manifest(folder)) == 31


def test_a_reader_of_the_old_state_goes_on_reading(base):
    folder = base / "set"
    held = load_manifest(folder)
    shutil.rmtree(base / "words" / "maybe")
    _, manifest = featurized(base / "words", folder, storage_format=held.storage_format)
    gone = names_of(held) - names_of(manifest)
    assert any(name.startswith("shards/") for name in gone)
    # The shards of the old state are a month old, and it was superseded just now.
    assert prune(folder, 0, DAY_NS).young == [5]
    assert read_all(folder, held) == 31
    set_age(folder, 25, state_file(5))
    prune(folder, 0, DAY_NS)
    with pytest.raises(RunError, match="cannot read the shard"):
        read_all(folder, held)
    assert read_all(folder, manifest) == 19


def test_what_a_stopped_run_has_finished_waits_until_it_is_old(base):
    folder = base / "set"
    make_words(base / "words", ("yes",), range(3))
    storage_format = load_manifest(folder).storage_format
    build_units(prepared(base / "words", folder, storage_format=storage_format))  # and no commit
    choice = prune(folder, 0, DAY_NS)
    assert {file.kind for file in choice.waiting} == {"shards", "reports"}
    assert prepared(base / "words", folder, storage_format=storage_format).todo == []
    names = [file.path for file in choice.waiting]
    set_age(folder, 25, *names)
    assert [file.path for file in prune(folder, 0, DAY_NS).going] == names
    assert not names_that_may_go(folder) & set(names)
    assert len(prepared(base / "words", folder, storage_format=storage_format).todo) > 0
    assert read_all(folder, load_manifest(folder)) == 31


def test_a_file_of_a_state_that_goes_waits_while_it_is_young(base):
    folder = base / "set"
    young = load_manifest(folder)
    (name, *_) = sorted(name for name in names_of(states_of(folder)[1]) - names_of(young) if name.startswith("shards/"))
    set_age(folder, 5, name)
    choice = prune(folder, 0, DAY_NS)
    assert [file.path for file in choice.waiting] == [name]
    assert sorted(states_of(folder)) == [5]
    set_age(folder, 25, name)
    assert [file.path for file in prune(folder, 0, DAY_NS).going] == [name]


@pytest.mark.parametrize("arguments", [(), ("--min-age", "0"), ("--keep", "2", "--verbose")])
def test_a_dry_run_changes_nothing_and_says_what_would_go(base, tmp_path, capsys, arguments):
    folder = base / "set"
    before = tree(folder)
    layout = Layout(folder, "tfrecord")
    with running(layout), committing(layout):  # it asks for neither lock, and makes none
        for name in LOCKS:
            (folder / name).unlink()
        result = run_command("features.prune", folder, "--dry-run", *arguments, "--summary", tmp_path / "dry.json")
    assert tree(folder) == before
    assert not any((folder / name).exists() for name in LOCKS)
    planned = json.loads((tmp_path / "dry.json").read_text())
    assert planned.pop("dry_run") is True
    assert "Nothing was removed (--dry-run)." in result.stdout
    assert call("features.prune", folder, *[name for name in arguments if name != "--verbose"],
                "--summary", tmp_path / "done.json") == 0  # fmt: skip
    done = json.loads((tmp_path / "done.json").read_text())
    assert done.pop("dry_run") is False
    assert planned.pop("seconds") > 0 < done.pop("seconds")
    assert planned == done
    gone = set(before) - set(tree(folder))
    assert planned["removed_files"] == len(gone) > 0
    assert planned["removed_bytes"] == sum(len(before[name][0]) for name in gone)
    assert sum(kind["files"] for kind in planned["kinds"].values()) == len(gone)
    assert planned["kinds"]["shards"]["files"] == len([name for name in gone if name.startswith("shards/")]) > 0
    listed = {line.split()[2].rstrip(",") for line in result.stderr.splitlines() if line.startswith("would remove ")}
    assert listed == (gone if "--verbose" in arguments else set())


def test_unreferenced_files_are_distinguished(base):
    folder = base / "set"
    states = states_of(folder)
    lone = f"shards/training-{DIGEST}.tfrecord"
    (folder / lone).write_bytes(b"12345")
    before = tree(folder)
    found = unreferenced_in(folder)
    assert tree(folder) == before
    assert [file.path for file in found.by_none] == [lone]
    assert total_bytes(found.by_none) == 5
    earlier = set().union(*(names_of(states[number]) for number in range(1, 5))) - names_of(states[5])
    assert {file.path for file in found.by_earlier} == earlier | {state_file(number) for number in range(1, 5)}
    assert total_bytes(found.by_earlier) == sum((folder / file.path).stat().st_size for file in found.by_earlier)
    assert found.states == [1, 2, 3, 4]
    prune(folder, 0, 0)
    found = unreferenced_in(folder)
    assert (found.by_none, found.by_earlier, found.states, found.unreadable) == ([], [], [], {})


@pytest.fixture
def watched(monkeypatch):
    """What is removed and which folders are synced, in order; the calls themselves are made."""
    made = []
    unlink, fsync = os.unlink, os.fsync

    def watched_unlink(path):
        made.append(("unlink", str(path)))
        unlink(path)

    def watched_fsync(descriptor):
        made.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "unlink", watched_unlink)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    return made


def test_states_go_first_and_folders_are_synced(base, watched):
    folder = base / "set"
    (folder / "work" / "repair" / "shards").mkdir(parents=True)  # as a repair that was killed
    (folder / "work" / "units-17.parquet").write_bytes(b"")
    choice = prune(folder, 0, 0)
    made = [(what, os.path.relpath(path, folder)) for what, path in watched]
    removed = [path for what, path in made if what == "unlink"]
    assert removed == [file.path for file in choice.going]
    states = [state_file(number) for number in range(1, 5)]
    assert made[:5] == [*(("unlink", path) for path in states), ("fsync", "states")]
    for place in ("shards", "reports", ".", "work"):
        last = max(number for number, path in enumerate(made) if path[0] == "unlink"
                   and os.path.dirname(path[1]) == place.strip("."))  # fmt: skip
        assert ("fsync", place) in made[last:], place
    assert not (folder / "work").exists()


class Killed(BaseException):
    """Ends a prune where it stands."""


def test_killed_anywhere_no_state_names_a_missing_file_and_the_next_prune_ends_it(base, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    shutil.copytree(base / "set", whole)
    set_age(base / "set", 1, state_file(4))
    set_age(whole, 1, state_file(4))
    number = len(prune(whole, 0, DAY_NS).going)
    assert number > 10
    unlink = os.unlink
    for survived in range(number):
        folder = tmp_path / f"killed-{survived}"
        shutil.copytree(base / "set", folder)
        left = survived

        def killed_unlink(path):
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            unlink(path)

        with monkeypatch.context() as patched:
            patched.setattr(removal.os, "unlink", killed_unlink)
            with pytest.raises(Killed):
                prune(folder, 0, DAY_NS)
        for manifest in states_of(folder).values():
            assert all((folder / name).exists() for name in names_of(manifest)), survived
        prune(folder, 0, DAY_NS)
        assert set(tree(folder)) == set(tree(whole))
        shutil.rmtree(folder)


def test_a_file_that_cannot_be_removed_ends_the_run_with_its_name(base, monkeypatch):
    folder = base / "set"

    def refused(path):
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(removal.os, "unlink", refused)
    with pytest.raises(RunError, match=r"cannot remove .*manifest-000001\.json: Operation not permitted; 0 files"):
        prune(folder, 0, 0)


LEFTOVERS = (
    f"shards/training-{DIGEST}.tfrecord.77.partial", f"shards/validation-{DIGEST}.parquet",
    f"reports/fold-10-{DIGEST}.parquet", f"reports/fold-10-{DIGEST}.parquet.7.partial",
    "states/manifest-000001.json.5.partial", "manifest.json.12345.partial", "rejects-000009-0123456789abcdef.csv",
    "clips-000009-0123456789abcdef.parquet.1.partial", "rejects-1000000-0123456789abcdef.csv.3.partial",
    f"shards/training-{DIGEST}.tfrecord.77-0a1b2c3d.partial", "work/units-1-0a1b2c3d.arrow",
    "work/units-1-0a1b2c3d.arrow.1-0a1b2c3d.partial", "work/units-4242.parquet",
    f"work/repair/shards/testing-{DIGEST}.parquet",
    f"work/repair/shards/testing-{DIGEST}.tfrecord.8.partial", f"work/repair/reports/testing-{DIGEST}.parquet",
)  # fmt: skip
FOREIGN = (
    "notes.txt", "clips.parquet", "clips-000001.parquet", "manifest.json.bak", "manifest.json.partial",
    "overview.png.12.partial", f"training-{DIGEST}.tfrecord", "other/manifest-000001.json",
    "shards/README", "shards/mine.tfrecord", f"shards/training-{DIGEST[1:]}.tfrecord", "shards/w\udcffrong",
    f"shards/training-{DIGEST.upper()}.tfrecord", f"shards/training-{DIGEST}.tfrecord.gz",
    f"shards/deep/training-{DIGEST}.tfrecord", "states/manifest-7.json", "states/manifest-0000007.json",
    "states/notes", "work/mine.parquet", "work/units-1-0A1B.parquet", "reports/x.partial",
    "work/repair/mine.parquet", f"work/repair/training-{DIGEST}.parquet",
)  # fmt: skip


def test_leftovers_of_killed_runs_go_and_foreign_files_stay(base, capsys):
    folder = base / "set"
    prune(folder, 0, 0)
    mine = names_that_may_go(folder)
    for name in (*LEFTOVERS, *FOREIGN):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1234567890")
    choice = prune(folder, 0, DAY_NS)
    assert choice.going == []
    assert {file.path for file in choice.waiting} == set(LEFTOVERS)
    make_old(folder)
    assert call("features.prune", folder) == 0
    text = capsys.readouterr().out
    assert f"Removed {len(LEFTOVERS)} files ({10 * len(LEFTOVERS)} bytes) from {folder}." in text
    assert "Not the set's own, so left alone: clips-000001.parquet, " in text
    assert names_that_may_go(folder) == mine | set(FOREIGN)
    # Folders count as one.
    found = prune(folder, 0, DAY_NS).inventory.foreign
    assert len(found) == len(FOREIGN)
    assert {"other/", "shards/deep/", "shards/w\\xffrong"} < set(found)


def test_links_are_not_followed(base, tmp_path, capsys):
    folder, outside = base / "set", tmp_path / "outside"
    prune(folder, 0, 0)
    outside.mkdir()
    name = f"training-{DIGEST}"
    (outside / f"{name}.tfrecord").write_bytes(b"not the set's")
    (folder / "shards" / f"{name}.tfrecord").symlink_to(outside / f"{name}.tfrecord")
    (folder / "shards" / "nowhere").symlink_to(outside / "nowhere")
    (folder / "work").symlink_to(outside)
    (outside / "units-1.parquet").write_bytes(b"not the set's")
    (outside / "repair" / "shards").mkdir(parents=True)
    (outside / "repair" / "shards" / f"{name}.tfrecord").write_bytes(b"not the set's")
    make_old(folder)
    before = tree(folder)
    assert call("features.prune", folder, "--min-age", 0) == 0
    text = capsys.readouterr().out
    assert f"Links, which are not followed and stay: shards/{name}.tfrecord, work." in text
    assert "left alone: shards/nowhere." in text
    assert set(tree(folder)) == set(before)
    assert (folder / "shards" / f"{name}.tfrecord").is_symlink()
    assert (outside / f"{name}.tfrecord").exists()
    assert (outside / "units-1.parquet").exists()
    assert (outside / "repair" / "shards" / f"{name}.tfrecord").exists()


def test_shards_on_another_disk_stay(base, tmp_path):
    folder = base / "set"
    (folder / "shards").rename(tmp_path / "elsewhere")
    (folder / "shards").symlink_to(tmp_path / "elsewhere")
    before = sorted(os.listdir(tmp_path / "elsewhere"))
    prune(folder, 0, 0)
    assert sorted(os.listdir(tmp_path / "elsewhere")) == before
    assert read_all(folder, load_manifest(folder)) == 31


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("damage", ["cut", "empty", "bytes", "format", "linked", "all linked"])
def test_where_a_state_cannot_be_read_nothing_goes(base, tmp_path, damage, dry_run):
    folder = base / "set"
    path = folder / state_file(2)
    content = path.read_bytes()
    if damage == "format":
        path.write_bytes(content.replace(b'"format_version": 3', b'"format_version": 99'))
    elif damage == "linked":
        path.rename(tmp_path / "state.json")
        path.symlink_to(tmp_path / "state.json")
    elif damage == "all linked":
        path = folder / "states"
        path.rename(tmp_path / "states")
        path.symlink_to(tmp_path / "states")
    else:
        path.write_bytes({"cut": content[:-30], "empty": b"", "bytes": b"\xff" + content}[damage])
    before = tree(folder)
    with pytest.raises(RunError, match="nothing was removed") as error:
        prune(folder, 0, 0, dry_run)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert tree(folder) == before
    assert list(unreferenced_in(folder).unreadable) == [str(path.relative_to(folder))]
    path.unlink()  # the way out
    prune(folder, 0, 0, dry_run)


def test_a_state_of_an_earlier_format_version_keeps_what_it_names(base):
    folder = base / "set"
    state = states_of(folder)[4]
    path = folder / state_file(4)
    path.write_text(path.read_text().replace('"format_version": 3', '"format_version": 1'))
    make_old(folder)
    assert prune(folder, 1, DAY_NS).latest == [4]
    assert read_all(folder, state)
    assert names_that_may_go(folder) > names_of(state)


def test_a_commit_that_did_not_end_leaves_no_earlier_state(base, monkeypatch):
    """It is killed just before its rename: the committed state stands in `states` too, and two tables of none."""
    folder = base / "set"
    make_words(base / "words", ("yes",), range(3))
    update = prepared(base / "words", folder, storage_format=load_manifest(folder).storage_format)
    build_units(update)
    write = filesystem.write_file

    def killed(path, content):
        if Path(path).name == MANIFEST:
            raise Killed
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(filesystem, "write_file", killed)
        with pytest.raises(Killed):
            committed(update)
    assert (folder / state_file(5)).exists()
    assert unreferenced_in(folder).states == [1, 2, 3, 4]
    choice = prune(folder, 1, DAY_NS)
    assert choice.latest == [4]
    assert state_file(5) in {file.path for file in choice.waiting}
    assert len([file for file in choice.waiting if file.kind == "tables"]) == 2
    # What the run has finished is not lost, and the commit can be made.
    assert prepared(base / "words", folder, storage_format=update.layout.storage_format).todo == []
    assert committed(update)[0].state == 6
    make_old(folder)
    assert prune(folder, 1, DAY_NS).latest == [5]
    assert sorted(states_of(folder)) == [5, 6]
    assert [read_all(folder, manifest) for manifest in states_of(folder).values()] == [31, 34]


def test_a_state_that_was_put_back_keeps_what_it_names(base):
    """The manifest of state 3 was put back: that is committed, and 4 is not an earlier one."""
    folder = base / "set"
    shutil.copy(folder / state_file(3), folder / MANIFEST)
    make_old(folder)
    set_age(folder, 1, state_file(4))
    choice = prune(folder, 0, DAY_NS)
    assert choice.committed == 3
    assert choice.states == [1, 2, 3]
    assert [read_all(folder, manifest) for manifest in states_of(folder).values()] == [32, 20]
    set_age(folder, 25, state_file(4))
    prune(folder, 0, DAY_NS)
    assert names_that_may_go(folder) == names_of(load_manifest(folder))
    assert read_all(folder, load_manifest(folder)) == 20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("30m", 1_800), ("12h", 43_200), ("1d", 86_400), ("1.5h", 5_400), ("0d", 0),
     ("0.000000001", 1e-9), ("9" * 60 + "d", int("9" * 60) * 86_400)],
)  # fmt: skip
def test_ages(text, seconds):
    assert parse_age(text) == pytest.approx(seconds * 10**9, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["", "d", "-1", "+1", "1w", "1 d", "1D", "1d12h", "1e3", "nan", "inf", "٣d", ".5h", "1d\n"]
)
def test_what_is_no_age(text):
    with pytest.raises(UsageError, match=r"--min-age is a number of seconds, or .* e\.g\. 1d, 12h, 30m, 0; not '"):
        parse_age(text)


def test_the_last_paragraph_says_what_went_and_what_stays_and_why(base, capsys):
    folder = base / "set"
    set_age(folder, 2, state_file(3), state_file(4))
    (folder / "notes.txt").write_text("mine")
    assert call("features.prune", folder, "--keep", 1, "--min-age", "5h") == 0
    text = capsys.readouterr().out
    for part in (
        f"from {folder}, states 1 and 2 among them.", "state 5 is the committed one", "state 4 stays for --keep",
        "state 3 was superseded less than 5h ago (--min-age)", "Not the set's own, so left alone: notes.txt.",
    ):  # fmt: skip
        assert part in text, part
    assert call("features.prune", folder, "--keep", 1, "--min-age", "5h") == 0
    text = capsys.readouterr().out
    assert f"Nothing to remove from {folder}. Kept, with all that they name: state 5" in text


def test_wrong_use_is_refused_in_one_line(base, tmp_path):
    folder = base / "set"
    before = tree(folder)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("mine")
    cases = {
        "--keep is a number of earlier states, 0 or more; not -1": [folder, "--keep", "-1"],
        "--min-age is a number of seconds": [folder, "--min-age", "soon"],
        "no such feature set: nowhere": ["nowhere"],
        "is not a complete feature set": [tmp_path / "home"],
    }
    for message, arguments in cases.items():
        with pytest.raises(UsageError, match=message.replace(".", r"\.")) as error:
            call("features.prune", *arguments)
        assert "\n" not in str(error.value)
    assert os.listdir(tmp_path / "home") == ["letter.txt"]  # not even a lock
    assert tree(folder) == before


def test_a_first_run_that_was_stopped_loses_nothing(tmp_path):
    make_words(tmp_path / "words", ("no", "yes"), range(5))
    new_set(tmp_path / "set")
    build_units(prepared(tmp_path / "words", tmp_path / "set"))
    before = tree(tmp_path / "set")
    with pytest.raises(UsageError, match="If featurize was interrupted, run it again"):
        prune(tmp_path / "set", 0, 0)
    assert tree(tmp_path / "set") == before


def test_the_command_has_help_and_codes(tmp_path):
    help_text = run_command("features.prune", "--help").stdout
    assert "features.prune speech-features/ --keep 2 --min-age 12h" in help_text
    assert "(1d)" in help_text
    result = run_command("features.prune", tmp_path, check=False)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
