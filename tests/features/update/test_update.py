"""What a run does with what an earlier one has finished and not committed."""

import os
import shutil

import pytest

from features.errors import RunError, UsageError
from features.store.layout import FORMATS, Layout
from features.update import shard_builder
from features.update.shard_builder import build_shard
from features.update.update import check_removal, check_space
from tests.features.examples import (
    TINY,
    build_units,
    changed,
    committed,
    featurized,
    new_set,
    prepared,
    units_of,
)
from tests.signals import noise, write_wav


def write_old(path, samples):
    os.utime(write_wav(path, samples), ns=(1_000, 1_000))


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the clips that are decoded."""
    paths, load = [], shard_builder._load
    monkeypatch.setattr(shard_builder, "_load", lambda clip, *others: paths.append(clip.path) or load(clip, *others))
    return paths


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Forty clips; a shard holds six."""
    monkeypatch.setattr("features.update.plan.rows_per_shard", lambda spec: 6)
    for number in range(40):
        write_old(tmp_path / "words" / ("yes", "no")[number % 2] / f"{number}.wav", noise(50 + number, seed=number))
    return tmp_path / "words"


def interrupted(words, folder, units, spec=TINY, storage_format="tfrecord"):
    """A run that came to its end after so many units; returns their clips."""
    update = prepared(words, folder, spec, storage_format)
    new_set(folder)
    done = units_of(update)[:units]
    for unit in done:
        build_shard(unit, Layout(folder, storage_format), str(words), spec)
    return {clip.path for unit in done for clip in unit.clips}


@pytest.mark.parametrize("storage_format", FORMATS)
def test_what_an_interrupted_run_has_finished_serves_a_source_that_has_changed(
    words, tmp_path, decoded, storage_format
):
    done = interrupted(words, tmp_path / "set", 4, storage_format=storage_format)
    decoded.clear()
    write_old(words / "yes" / "new.wav", noise(60, seed=99))
    removed, touched, changed_clip = sorted(done)[:3]
    (words / removed).unlink()
    # Long ago: which clips a shard is named after follows from whether a file was changed within the last two seconds.
    os.utime(words / touched, ns=(2_000, 2_000))
    write_old(words / changed_clip, noise(10))
    update, manifest = featurized(words, tmp_path / "set", TINY, storage_format)
    # Of a touched file nothing is known but that it is another; it is computed.
    assert set(decoded) == {str(path.relative_to(words)) for path in words.rglob("*.wav")} - done | {
        touched,
        changed_clip,
    }
    assert update.computed == len(decoded)
    _, cold = featurized(words, tmp_path / "cold", TINY, storage_format)
    assert cold.all_shards == manifest.all_shards


def test_a_file_that_changed_under_its_old_time_is_not_taken_for_what_was_finished(words, tmp_path, decoded):
    done = sorted(interrupted(words, tmp_path / "set", 4))
    decoded.clear()
    write_old(words / "yes" / "new.wav", noise(60, seed=99))
    path = words / done[0]
    content = bytearray(path.read_bytes())
    content[60] ^= 64
    path.write_bytes(content)
    os.utime(path, ns=(1_000, 1_000))
    _, manifest = featurized(words, tmp_path / "set")
    assert done[0] in decoded
    _, cold = featurized(words, tmp_path / "cold")
    assert cold.all_shards == manifest.all_shards


def test_what_was_finished_for_another_spec_is_not_taken(words, tmp_path, decoded):
    interrupted(words, tmp_path / "set", 4, changed(TINY, crop="centre"))
    decoded.clear()
    featurized(words, tmp_path / "set")
    assert len(decoded) == 40


def test_shards_of_earlier_states_are_not_searched(words, tmp_path):
    """Else a set that has seen many states would be read as a whole for each new file."""
    _, first = featurized(words, tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    for path in (tmp_path / "set" / "reports").iterdir():
        os.utime(path, ns=(manifest.stat().st_mtime_ns - 1,) * 2)
    (words / "no" / "1.wav").unlink()
    write_old(words / "yes" / "new.wav", noise(60, seed=99))
    update = prepared(words, tmp_path / "set")
    assert update.computed == 1
    assert len(update.spare) == 0
    assert first.state == 1


def test_a_shard_whose_file_is_gone_is_built_anew(words, tmp_path, decoded):
    _, first = featurized(words, tmp_path / "set")
    decoded.clear()
    lost = first.partitions["training"][0]
    Layout(tmp_path / "set", "tfrecord").shard(lost.name).unlink()
    update, second = featurized(words, tmp_path / "set")
    assert len(decoded) == lost.rows
    assert [len(unit) for unit in update.plan.units.values()] == [lost.rows]
    assert second.rows(second.partitions) == 40
    assert featurized(words, tmp_path / "set")[1] == second


def test_there_is_room_or_nothing_is_written(words, tmp_path, monkeypatch, caplog):
    update = prepared(words, tmp_path / "set")
    new_set(tmp_path / "set")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=update.bytes))
    check_space(update)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=update.bytes - 1))
    with pytest.raises(RunError, match=r"set has room for \d.*, and this run writes about .*features\.prune"):
        check_space(update)
    build_units(update)
    written = sum(path.stat().st_size for path in (tmp_path / "set").rglob("*") if path.is_file())
    assert committed(update)[1]
    assert 0.5 * written < update.bytes < 4 * written
    # Nothing is to be written any more, so nothing is asked.
    check_space(prepared(words, tmp_path / "set"))


@pytest.mark.parametrize(
    ("gone", "limit", "refused"), [(20, None, False), (21, None, True), (1, 40, False), (1, 39, True)]
)
def test_how_much_may_leave_a_set(words, tmp_path, gone, limit, refused):
    featurized(words, tmp_path / "set")
    for path in sorted(words.rglob("*.wav"))[:gone]:
        path.unlink()
    update = prepared(words, tmp_path / "set")
    assert update.changes.removed == gone
    if refused:
        with pytest.raises(UsageError, match=rf"{gone} of the 40 clips .*give --allow-removal"):
            check_removal(update, limit)
    else:
        check_removal(update, limit)


def test_clips_that_are_found_elsewhere_have_not_left_a_set(words, tmp_path):
    featurized(words, tmp_path / "set")
    (words / "yes").rename(words / "yea")
    (words / "no").rename(words / "nay")
    update = prepared(words, tmp_path / "set")
    assert update.figures == {"computed": 0, "copied": 40, "kept": 0, "removed": 0}
    check_removal(update, None)


def test_a_run_that_has_nothing_to_do_does_not_make_the_clips_table(words):
    first, manifest = featurized(words, words.parent / "set")
    assert first.computed_rows() == 40
    again = prepared(words, words.parent / "set")
    assert (again.todo, again.commit(), again.computed_rows()) == ([], (manifest, False), 0)
    assert "contents" not in vars(again)
