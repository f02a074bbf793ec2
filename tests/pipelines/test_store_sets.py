"""A feature set in an object store is the one in a folder: its bytes, its updates, its readers, its commits."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import soundmill
from features.errors import RunError, UsageError
from features.io.filesystem import Uri, filesystem_of, place
from features.io.unit_file import UnitFile
from features.maintenance.removal import prune
from features.maintenance.verification import verify
from features.runtime.unit_progress import UnitProgress, units_at_work
from features.store import commit as commit_module
from features.store import lease_objects
from features.store import row_reader as row_reader_module
from features.store.clips_table import read_clips
from features.store.lease import hold_object
from features.store.locks import alone, committing, is_running, running
from features.store.manifest import load_manifest
from features.store.parquet_rows import Place
from features.store.row_reader import RowReader
from features.store.shards import read_shard
from features.update.request import Request
from features.update.shard_builder import build_shard
from features.update.work_list import read_unit
from features.verify import main as verify_command
from features.verify import parser as verify_parser
from pipelines import featurize as command
from tests.features.examples import TINY, prepared
from tests.object_store.faults import Faults, proxy
from tests.pipelines.sets import PATTERN, begin, build_here, change, differences, featurize, named, put
from tests.signals import noise, write_wav


def request(root, output, storage_format="tfrecord"):
    return Request(str(root), str(output), TINY, storage_format, label_pattern=PATTERN)


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_a_set_in_a_store_has_the_bytes_of_one_in_a_folder(storage_format, tmp_path, s3):
    root, here, there = tmp_path / "clips", tmp_path / "set", f"{s3.uri}/deep/set"
    for step in (begin, change):
        step(root)
        figures = [featurize(request(root, output, storage_format))[1] for output in (here, there)]
        for name in ("computed", "copied", "kept", "removed", "rejected"):
            assert figures[0][name] == figures[1][name]
        assert figures[1]["committed"]
    assert differences(named(here), named(s3.folder / "deep" / "set")) == []
    _, again = featurize(request(root, there, storage_format))
    assert (again["computed"], again["committed"]) == (0, False)
    assert not [name for name in s3.names() if "/work/" in name or "/.lock" in name]

    folder, store = soundmill.open_features(here), soundmill.open_features(there)
    assert store.clips().equals(folder.clips())
    path = folder.clips()["path"][3].as_py()
    np.testing.assert_array_equal(store.array(path), folder.array(path))
    read = [list(features.batches("fold-1,fold-3", 7, seed=5)) for features in (folder, store)]
    assert len(read[0]) > 1
    for one, other in zip(*read, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    manifest = load_manifest(there)
    assert verify(manifest.layout(there), manifest) == []
    gone = [sorted(file.path for file in prune(output).going) for output in (str(here), there)]
    assert gone[0] == gone[1] != []
    assert differences(named(here, states=False), named(s3.folder / "deep" / "set")) == []

    shard = manifest.layout(there).shard(manifest.all_shards[0].name)
    content = filesystem_of(shard).read(shard)
    filesystem_of(shard).write(shard, content[:-1] + bytes([content[-1] ^ 1]))
    assert {damage.name for damage in verify(manifest.layout(there), manifest)} == {manifest.all_shards[0].name}
    with pytest.raises(RunError, match="is damaged"):
        list(store.batches(list(manifest.partitions), 7))
    whole = named(here, states=False)
    assert differences(whole, named(s3.folder / "deep" / "set", states=False)) != []
    report = manifest.layout(there).report(manifest.all_shards[1].name)
    filesystem_of(report).delete(report)
    assert verify_command(verify_parser().parse_args([there, "--repair", "--workers", "1"]), []) == 0
    assert differences(whole, named(s3.folder / "deep" / "set", states=False)) == []
    assert not [name for name in s3.names() if "/work/" in name or "/.lock" in name]


def test_a_run_that_finds_nothing_to_do_asks_for_the_set_and_not_for_its_units(tmp_path, s3, through):
    root = tmp_path / "clips"
    asked = []
    for count in (2, 12):
        for number in range(count):
            put(root, f"yes/fold-{number % 9}_{number}.wav", number)
        featurize(request(root, f"{s3.uri}/set"))
        faults = Faults()
        with through(faults):
            featurize(request(root, f"{s3.uri}/set"))
        asked.append(faults.requests.total())
    assert len(load_manifest(f"{s3.uri}/set").all_shards) >= 9
    assert asked[0] == asked[1] < 25


def requests_of(shard: str, faults: Faults) -> dict[tuple[str, str], int]:
    """Counts what was asked for of a shard and of its report, by method and folder."""
    asked = ((method, target.split("/"), count) for (method, target), count in faults.asked.items())
    return {(method, path[-2]): count for method, path, count in asked if path[-1].partition(".")[0] == shard}


def test_a_unit_costs_five_requests_and_a_shard_to_copy_from_one(tmp_path, s3, through):
    root, there = tmp_path / "clips", f"{s3.uri}/set"
    for number in range(27):
        put(root, f"yes/fold-{1 + number % 9}_{number}.wav", number)
    built = {("GET", "reports"): 2, ("HEAD", "reports"): 1, ("PUT", "shards"): 1, ("PUT", "reports"): 1}
    first, second = Faults(), Faults()
    with through(first):
        before, _ = featurize(request(root, there))
    assert len(before.all_shards) == 9
    for number in range(9):
        (root / f"yes/fold-{1 + number}_{number}.wav").unlink()
    with through(second):
        after, figures = featurize(request(root, there))
    assert (figures["removed"], len(after.all_shards), after.rows(after.partitions)) == (9, 9, 18)
    for manifest, faults in ((before, first), (after, second)):
        for shard in manifest.all_shards:
            assert requests_of(shard.name, faults) == built, "is it finished, is it still not, two writes, the commit"
        assert faults.requests.total() < 9 * 6 + 35
    for shard in before.all_shards:
        assert requests_of(shard.name, second) == {("GET", "shards"): 1}


def test_faults_cost_time_and_nothing_else(tmp_path, s3, through):
    root, here = tmp_path / "clips", tmp_path / "set"
    begin(root)
    featurize(request(root, here))
    faults = Faults(busy=0.05, cut=0.05, lost=0.05, half=0.05, seed=7)
    with through(faults):
        featurize(request(root, f"{s3.uri}/set"))
        assert soundmill.open_features(f"{s3.uri}/set").clips().equals(soundmill.open_features(here).clips())
    assert differences(named(here), named(s3.folder / "set")) == []
    assert faults.requests.total() - faults.done["pass"] > 5


def test_workers_of_this_machine_say_how_far_they_are(tmp_path, s3, monkeypatch):
    monkeypatch.setattr(UnitProgress, "_written", threading.local())  # the test before may have said something just now
    put(tmp_path / "clips", "yes/fold-1_1.wav", 1)
    said = []

    def run(job, numbers, pays):
        with job.progress_of("fold-1") as progress:
            progress.say(3, [])
            said.append(job.progress and [(unit, work.done) for unit, work in units_at_work(job.progress)])
        build_here(job, numbers, pays)

    for elsewhere in (False, True):
        command.featurize(request(tmp_path / "clips", f"{s3.uri}/{elsewhere}"), run, elsewhere)
    assert said == [[("fold-1", 3)], None], "those of another host have the store alone, and a request is no trifle"


def test_what_is_no_place_for_a_set_is_told(tmp_path, s3):
    put(tmp_path / "clips", "yes/fold-1_1.wav", 1)
    with pytest.raises(UsageError, match="hdfs://host/set: a place is a path, or begins with one of s3://, gs://"):
        featurize(request(tmp_path / "clips", "hdfs://host/set"))
    with pytest.raises(UsageError, match="no such bucket: s3://no-such-bucket"):
        featurize(request(tmp_path / "clips", "s3://no-such-bucket/set"))
    filesystem_of(s3.uri).write(f"{s3.uri}/notes/a.txt", b"")
    with pytest.raises(UsageError, match="is not a feature set"):
        featurize(request(tmp_path / "clips", f"{s3.uri}/notes"))
    with pytest.raises(UsageError, match="no such feature set: s3://"):
        load_manifest(f"{s3.uri}/none")
    assert s3.names() == ["notes/a.txt"]


@pytest.mark.parametrize("is_new", [True, False])
def test_of_two_commits_at_once_one_wins(is_new, tmp_path, s3, monkeypatch):
    folder = place(f"{s3.uri}/set")
    if not is_new:
        write_wav(tmp_path / "base" / "yes" / "a.wav", noise(80))
        featurize(Request(str(tmp_path / "base"), str(folder), TINY))
    updates = []
    for number in (1, 2):
        write_wav(tmp_path / str(number) / "yes" / "a.wav", noise(80))
        write_wav(tmp_path / str(number) / "yes" / f"{number}.wav", noise(80, seed=number))
        updates.append(prepared(tmp_path / str(number), folder))
        work_list = updates[-1].layout.work_list(f"{number}")
        updates[-1].write_work_list(work_list)
        with UnitFile(work_list) as units:
            for unit in range(len(updates[-1].todo)):
                build_shard(read_unit(units, unit), updates[-1].layout, updates[-1].source.root, TINY)
    # No lease, and both have looked at the committed state before either replaces it: the store alone decides.
    both, versions = threading.Barrier(2), commit_module.library_versions
    monkeypatch.setattr(commit_module, "committing", lambda layout: contextlib.nullcontext())
    monkeypatch.setattr(commit_module, "library_versions", lambda spec: (both.wait(60), versions(spec))[1])
    came = []

    def run(update):
        try:
            came.append(update.commit())
        except RunError as error:
            came.append(error)

    threads = [threading.Thread(target=run, args=(update,)) for update in updates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [result for result in came if not isinstance(result, RunError)]
    (lost,) = (result for result in came if isinstance(result, RunError))
    assert "another featurize committed into" in str(lost)
    assert load_manifest(folder) == won[0][0]
    assert load_manifest(folder).state == (1 if is_new else 2)
    layout = load_manifest(folder).layout(folder)
    assert verify(layout, load_manifest(folder)) == []


def test_an_upload_that_is_killed_shows_nothing(s3):
    faults = Faults()
    code = (f"import os; from features.io.filesystem import filesystem_of; files = filesystem_of({s3.uri!r})\n"
            f"files.write('{s3.uri}/first', b'')\nprint('ready', flush=True); input()\n"
            f"with files.begin('{s3.uri}/set/shard') as file: file.write(bytes(12_000_000))")  # fmt: skip
    with proxy(s3.endpoint, faults) as endpoint:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   env={**os.environ, "AWS_ENDPOINT_URL": endpoint})  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        faults.half = 1.0
        process.stdin.write(b"\n")
        process.stdin.flush()
        while not faults.done["half"]:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [entry.path for entry in filesystem_of(s3.uri).list(s3.uri)] == [f"{s3.uri}/first"]


def test_leases_say_who_is_at_work(tmp_path, s3, monkeypatch):
    root, there = tmp_path / "clips", place(f"{s3.uri}/set")
    put(root, "yes/fold-1_1.wav", 1)
    featurize(request(root, there))
    layout = load_manifest(there).layout(there)
    assert not is_running(layout)
    with running(layout) as lease:
        assert is_running(layout)
        lease.check()
        with pytest.raises(RunError, match="a featurize is running into s3://"):
            prune(there)
        lease.fail("the disk is full")
        with pytest.raises(RunError, match="the disk is full"):
            lease.check()
    assert not is_running(layout)
    with pytest.raises(RunError, match="is not there: the driver, process"):
        lease.check()

    monkeypatch.setattr(lease_objects, "_POLL_SECONDS", 0.05)
    order = []

    def begin_while_another_is_alone(lock):
        with lock(layout):
            order.append("second")

    for lock in (committing, running):
        with alone(layout):
            thread = threading.Thread(target=begin_while_another_is_alone, args=(lock,))
            # A run that has said that it is there waits; prune, had it looked then, would have refused.
            thread.start()
            time.sleep(0.5)
            order.append("first")
        thread.join()
    assert order == ["first", "second"] * 2
    assert not [name for name in s3.names() if "/work/" in name or "/.lock" in name]


def test_the_lease_of_a_dead_process_holds_nothing(tmp_path, s3, monkeypatch):
    root, there = tmp_path / "clips", place(f"{s3.uri}/set")
    put(root, "yes/fold-1_1.wav", 1)
    featurize(request(root, there))
    layout, files = load_manifest(there).layout(there), filesystem_of(there)
    dead = b"process 1 on host gone\n0123456789abcdef\n"
    files.write(layout.commit_lock, b"alone: process 1 on host gone, 0123")
    files.write(layout.lease("1-00000000"), dead)
    monkeypatch.setattr(lease_objects, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(lease_objects, "LEASE_SECONDS", 4.0)
    monkeypatch.setattr(lease_objects, "RENEWAL_SECONDS", 0.5)
    started = time.monotonic()
    with running(layout), committing(layout):
        # The living ones are renewed, so they do not grow old.
        assert time.monotonic() - started > 1
        time.sleep(4.5)
        assert is_running(layout)
    assert not is_running(layout)
    prune(there)
    assert not [name for name in s3.names() if "/work/" in name or "/.lock" in name]


def test_a_driver_that_dies_ends_its_workers(s3, monkeypatch):
    monkeypatch.setattr(lease_objects, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(lease_objects, "RENEWAL_SECONDS", 0.2)
    monkeypatch.setattr(lease_objects, "_SEEN_SECONDS", 0.1)
    with hold_object(Uri(f"{s3.uri}/set/work/lease-1-00000000")) as lease:
        lease.check()
        content = filesystem_of(lease.path).read(lease.path)
    filesystem_of(lease.path).write(lease.path, content)  # as one that was killed leaves it
    lease.check()
    time.sleep(3.1)
    with pytest.raises(RunError, match="was killed or stopped"):
        lease.check()


def test_rows_of_a_shard_in_a_store_are_few_requests(tmp_path, s3, through, monkeypatch):
    for number in range(40):
        put(tmp_path / "clips", f"yes/fold-{number % 4}_{number}.wav", number)
    manifest, _ = featurize(request(tmp_path / "clips", f"{s3.uri}/set"))
    layout, faults = manifest.layout(f"{s3.uri}/set"), Faults()
    rows = read_clips(layout, manifest, ["shard", "offset", "crc32c", "row"]).to_pylist()
    whole = {shard.name: read_shard(layout, shard, TINY).tensors for shard in manifest.all_shards}
    rows.sort(key=lambda row: row["row"])  # of one shard after the other
    for room, requests in ((2**30, 8), (1, 40)):
        monkeypatch.setattr(row_reader_module, "_MOST_HELD_BYTES", room)
        with through(faults), RowReader(layout, TINY) as reader:
            filesystem_of(layout.root).status(layout.manifest)
            faults.requests.clear()
            for row in rows:
                tensor = reader.read(row["shard"], Place(row["offset"], row["crc32c"]))
                np.testing.assert_array_equal(tensor, whole[row["shard"]][row["row"]])
        assert faults.requests.total() <= requests
