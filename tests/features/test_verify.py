"""A set is checked as a whole, each kind of damage is named, and what can be made again is, to the byte."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import features.store.shards
import features.update.shard_builder
from features.errors import RunError, UsageError
from features.maintenance.repair import repair
from features.maintenance.verification import verify
from features.sources.content_hash import table_hash
from features.store.layout import FORMATS, Layout
from features.store.locks import committing
from features.store.manifest import load_manifest
from features.store.shards import Shard, read_shard
from tests.conftest import call, clips_table, run_command, start_command, wait_until
from tests.features.examples import STFT, TINY, featurized, other_libraries
from tests.model.untrained import save_untrained
from tests.signals import noise, write_wav

WORDS = ("yes", "nö", "日本")
ROWS = 4


def make_words(root: Path, speakers: int = 25, samples: int = 50) -> Path:
    """A labelled folder as it was left long ago, with two files that have no label."""
    for speaker in range(speakers):
        for number, word in enumerate(WORDS):
            samples_of_it = noise(samples + speaker, seed=speaker * len(WORDS) + number)
            write_wav(root / word / f"{speaker:08x}_nohash_0.wav", samples_of_it)
    write_wav(root / "one.wav", noise(60))
    write_wav(root / "two.wav", noise(60))
    for path in root.rglob("*.wav"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


@pytest.fixture(scope="module")
def small_shards():
    """Four rows a shard, so that a few clips make many shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features.store.shards, "MAX_ROWS", ROWS)
        yield


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    return make_words(tmp_path_factory.mktemp("recordings") / "words")


@pytest.fixture(scope="module")
def made(recordings, tmp_path_factory, small_shards) -> dict[str, Path]:
    """A set of some twenty shards, by format."""
    base = tmp_path_factory.mktemp("made")
    for storage_format in FORMATS:
        featurized(recordings, base / storage_format, TINY, storage_format)
    return {storage_format: base / storage_format for storage_format in FORMATS}


@pytest.fixture(params=FORMATS)
def whole(request, made, tmp_path) -> Path:
    """A copy of a set in either format."""
    return shutil.copytree(made[request.param], tmp_path / "set")


@pytest.fixture
def own(tmp_path, recordings, small_shards):
    """Makes a set whose recordings are its own, so that they can be changed."""

    def make(storage_format: str = "tfrecord") -> tuple[Path, Path]:
        root = shutil.copytree(recordings, tmp_path / "words")
        featurized(root, tmp_path / "set", TINY, storage_format)
        return root, tmp_path / "set"

    return make


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a set but for the lock, which is not content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def shards_of(folder: Path) -> list[Shard]:
    manifest = load_manifest(folder)
    return manifest.all_shards


def path_of(folder: Path, shard: Shard) -> Path:
    return load_manifest(folder).layout(folder).shard(shard.name)


def flip(path: Path, offset: int, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= mask
    path.write_bytes(content)


def checked(folder: Path, capsys, *options: object) -> tuple[int, dict, list[str], str]:
    """Verifies a set; returns exit code, figures, the lines of what is damaged, and the last paragraph."""
    summary = folder.parent / "summary.json"
    code = call("features.verify", folder, *options, "--summary", summary)
    *lines, paragraph = capsys.readouterr().out.splitlines()
    return code, json.loads(summary.read_text()), lines, paragraph


def test_a_whole_set_is_proved_and_left_alone(whole, capsys):
    (whole / ".lock").unlink()
    before = tree(whole)
    code, figures, lines, paragraph = checked(whole, capsys)
    manifest, shards = load_manifest(whole), shards_of(whole)
    assert (code, lines) == (0, [])
    assert len(shards) >= 20
    assert paragraph.startswith(f"Checked {len(shards)} shards with 75 rows of {whole}, state 1: ")
    assert paragraph.endswith(" a second. All is whole.")
    assert (figures["shards"], figures["rows"]) == (len(shards), 75) == (len(shards), manifest.counts["clips"])
    assert figures["bytes"] == sum(path.stat().st_size for path in (whole / "shards").iterdir())
    assert figures["seconds"] * figures["bytes_per_second"] >= figures["bytes"]
    assert figures["damaged"] == figures["repaired"] == []
    assert tree(whole) == before
    assert not (whole / ".lock").exists()


@pytest.mark.parametrize("whole", ["tfrecord", pytest.param("parquet", marks=pytest.mark.trial)], indirect=True)
def test_two_processes_find_and_repair_what_one_finds(whole):
    shards = shards_of(whole)
    for shard in shards[1:8:3]:
        flip(path_of(whole, shard), shard.bytes // 2)
    path_of(whole, shards[9]).unlink()
    manifest = load_manifest(whole)
    found = verify(manifest.layout(whole), manifest, workers=2)
    assert [damage.name for damage in found] == [shards[number].name for number in (1, 4, 7, 9)]
    assert found == verify(manifest.layout(whole), manifest, workers=1)
    assert repair(manifest.layout(whole), manifest, found, workers=2) == ([damage.name for damage in found], {})
    assert verify(manifest.layout(whole), manifest, workers=1) == []


def damage_a_tensor(folder: Path, shard: Shard) -> str:
    lines = [line for line in clips_table(folder, load_manifest(folder)).to_pylist() if line["shard"] == shard.name]
    line = next(line for line in lines if line["row"] == shard.rows - 1)
    flip(path_of(folder, shard), line["offset"] + TINY.row_bytes - 1, 128)
    return f"; the features of 1 of {shard.rows} clips are damaged, the first {line['path']}"


def damage_a_label(folder: Path, shard: Shard) -> str:
    rows = read_shard(load_manifest(folder).layout(folder), shard, TINY)
    flip(path_of(folder, shard), path_of(folder, shard).read_bytes().rindex(rows.labels[0].encode()))
    return f"; the features of 0 of {shard.rows} clips are damaged"


def cut_off(folder: Path, shard: Shard) -> str:
    os.truncate(path_of(folder, shard), shard.bytes // 2)
    return f"the file has {shard.bytes // 2:,} bytes, and the manifest says {shard.bytes:,}"


def empty(folder: Path, shard: Shard) -> str:
    os.truncate(path_of(folder, shard), 0)
    return f"; the features of {shard.rows} of {shard.rows} clips are damaged"


def lengthen(folder: Path, shard: Shard) -> str:
    with open(path_of(folder, shard), "ab") as file:
        file.write(b"\0")
    return f"the file has {shard.bytes + 1:,} bytes"


def remove(folder: Path, shard: Shard) -> str:
    path_of(folder, shard).unlink()
    return "the file is missing"


def make_a_folder(folder: Path, shard: Shard) -> str:
    remove(folder, shard)
    path_of(folder, shard).symlink_to(folder)
    return "the file cannot be read: Is a directory"


def remove_the_report(folder: Path, shard: Shard) -> str:
    Layout(folder, "tfrecord").report(shard.name).unlink()
    return "its report is missing"


def garble_the_report(folder: Path, shard: Shard) -> str:
    Layout(folder, "tfrecord").report(shard.name).write_bytes(b"PAR1 and nothing more PAR1")
    return "its report is not the one that was written: "


def take_another_report(folder: Path, shard: Shard) -> str:
    other = next(other for other in shards_of(folder) if other.name != shard.name)
    shutil.copy(Layout(folder, "tfrecord").report(other.name), Layout(folder, "tfrecord").report(shard.name))
    return f"its report is not the one that was written: it is of Shard(name='{other.name}'"


def change_the_sums_of_the_report(folder: Path, shard: Shard) -> str:
    table = pq.read_table(Layout(folder, "tfrecord").report(shard.name))
    metadata = json.loads(table.schema.metadata[b"soundmill"])
    metadata["statistics"]["total"][3] += 1e-5 * metadata["statistics"]["count"]
    table = table.replace_schema_metadata({b"soundmill": json.dumps(metadata, sort_keys=True)})
    pq.write_table(table, Layout(folder, "tfrecord").report(shard.name))
    return "the sums of its report are not those of its rows"


DAMAGES = (
    damage_a_tensor,
    damage_a_label,
    cut_off,
    empty,
    lengthen,
    remove,
    make_a_folder,
    remove_the_report,
    garble_the_report,
    take_another_report,
    change_the_sums_of_the_report,
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_shard_is_named_and_made_again_to_the_byte(whole, capsys, damage):
    before = tree(whole)
    shard = shards_of(whole)[5]
    partition = shard.name.rpartition("-")[0]
    message = damage(whole, shard)
    damaged = tree(whole)
    code, figures, lines, paragraph = checked(whole, capsys)
    assert (code, figures["damaged"], figures["repaired"]) == (1, [shard.name], [])
    assert len(lines) == 1
    assert lines[0].startswith(f"{shard.name} ({partition}): ")
    assert message in lines[0]
    assert f"Damaged: 1 shard. python -m features.verify {whole} --repair" in paragraph
    assert tree(whole) == damaged, "without --repair nothing is written"
    code, figures, again, paragraph = checked(whole, capsys, "--repair")
    assert (code, figures["damaged"], figures["repaired"]) == (0, [], [shard.name])
    assert again == lines
    assert paragraph.endswith("Made 1 shard again. All is whole.")
    assert tree(whole) == before
    assert not (whole / "work").exists()


def test_shards_that_are_in_each_others_place_are_named_and_made_again(whole, capsys):
    before = tree(whole)
    first, second = shards_of(whole)[2:4]
    aside = whole / "aside"
    os.rename(path_of(whole, first), aside)
    os.rename(path_of(whole, second), path_of(whole, first))
    os.rename(aside, path_of(whole, second))
    code, figures, lines, _ = checked(whole, capsys)
    assert (code, figures["damaged"], len(lines)) == (1, [first.name, second.name], 2)
    assert f"the features of {first.rows} of {first.rows} clips are damaged" in lines[0]
    assert checked(whole, capsys, "--repair")[0] == 0
    assert tree(whole) == before


def test_everything_at_once(whole, capsys):
    before = tree(whole)
    shards = shards_of(whole)
    for damage, shard in zip(DAMAGES, shards[3:], strict=False):
        damage(whole, shard)
    flip(path_of(whole, shards[3]), 3)
    remove_the_report(whole, shards[3])
    code, figures, lines, _ = checked(whole, capsys)
    names = [shard.name for shard in shards[3 : 3 + len(DAMAGES) - 1]]  # whose sums say nothing beside damaged shards
    assert (code, figures["damaged"], [line.split()[0] for line in lines]) == (1, names, names)
    assert lines[0].endswith("; its report is missing")
    code, figures, _, _ = checked(whole, capsys, "--repair")
    assert figures["repaired"] == names
    assert (code, figures["damaged"]) == (1, [shards[3 + len(DAMAGES) - 1].name])
    assert checked(whole, capsys, "--repair")[0] == 0
    assert tree(whole) == before


def flip_a_byte_in_each_of(number: int, folder: Path, seed: int, capsys, *options: object) -> None:
    """Damages shards at random places; all are found, and made again to the byte."""
    before = tree(folder)
    generator = random.Random(seed)
    shards = shards_of(folder)
    chosen = sorted(generator.sample(range(len(shards)), number))
    names = [shards[place].name for place in chosen]
    for place in chosen:
        flip(path_of(folder, shards[place]), generator.randrange(shards[place].bytes), 1 << generator.randrange(8))
    code, figures, lines, _ = checked(folder, capsys, *options)
    assert (code, figures["damaged"], [line.split()[0] for line in lines]) == (1, names, names)
    code, figures, _, _ = checked(folder, capsys, "--repair", *options)
    assert (code, figures["damaged"], figures["repaired"]) == (0, [], names)
    assert tree(folder) == before


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_byte_in_each_of_five_shards_is_found_and_repaired(whole, capsys, seed):
    flip_a_byte_in_each_of(5, whole, seed, capsys)


@pytest.mark.endurance
@pytest.mark.parametrize("storage_format", FORMATS)
def test_a_flipped_byte_in_each_of_twenty_shards_is_found_and_repaired(tmp_path, monkeypatch, capsys, storage_format):
    monkeypatch.setattr(features.store.shards, "MAX_ROWS", 64)
    root = make_words(tmp_path / "words", speakers=450, samples=16_000)
    featurized(root, tmp_path / "set", STFT, storage_format)
    assert len(shards_of(tmp_path / "set")) >= 22
    for seed in range(2):
        flip_a_byte_in_each_of(20, tmp_path / "set", seed, capsys, "--workers", 2)


def with_clips(folder: Path, **columns: object) -> None:
    """Puts another clips table under a name that fits it; a column is what makes its values from the table's."""
    manifest = load_manifest(folder)
    table = clips_table(folder, manifest)
    for name, change in columns.items():
        values = change(table[name].to_pylist())
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    named = f"clips-000001-{table_hash(content)}.parquet"
    (folder / named).write_bytes(content)
    with_manifest(folder, clips_file=named)


def with_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}), encoding="utf-8")


def changed_at(line: int, value: object):
    return lambda values: [*values[:line], value, *values[line + 1 :]]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("path", "no/such.wav", "has another path than the file for 1 of 4 rows, the first row 1 (no/such.wav)"),
        ("start", 7, "has another start than the file for 1 of 4 rows, the first row 1 ("),
        ("group", "other", "has another group than the file for 1 of 4 rows, the first row 1 ("),
        ("offset", 3, "has another place than the file for 1 of 4 rows, the first row 1 ("),
        ("crc32c", 3, "has another checksum than the file for 1 of 4 rows, the first row 1 ("),
        ("row", 0, "has 4 lines of it and names 3 of its 4 rows"),
        ("partition", "fold-3", "has clips of it in the partition fold-3"),
    ],
)
def test_a_wrong_line_of_the_clips_table_is_named_and_nothing_is_made_of_it(whole, capsys, column, value, message):
    with_clips(whole, **{column: changed_at(1, value)})
    shard = shards_of(whole)[0]
    flip(path_of(whole, shards_of(whole)[1]), 100)
    before = tree(whole)
    code, figures, lines, paragraph = checked(whole, capsys)
    assert code == 1
    assert shard.name in figures["damaged"]
    line = next(line for line in lines if line.startswith(shard.name))
    assert line.startswith(f"{shard.name} (training): the clips table {message}")
    assert "--repair cannot make it again; featurize into a new folder" in paragraph
    code, figures, _, _ = checked(whole, capsys, "--repair")
    assert (code, figures["repaired"]) == (1, [shards_of(whole)[1].name])
    after = tree(whole)
    differing = [name for name in before if after.get(name) != before[name]]
    assert differing == [str(path_of(whole, shards_of(whole)[1]).relative_to(whole))]


def test_a_line_of_a_shard_that_is_not_there_is_named(whole, capsys):
    with_clips(whole, shard=changed_at(1, "training-0"))
    _, figures, lines, _ = checked(whole, capsys)
    assert figures["damaged"] == [load_manifest(whole).clips_file, shards_of(whole)[0].name]
    assert "1 of 75 lines name shards that the manifest has not, the first training-0" in lines[0]
    assert "the clips table has 3 lines of it and names 3 of its 4 rows" in lines[1]


def test_a_wrong_label_and_wrong_counts_are_named(whole, capsys):
    with_clips(whole, label=changed_at(1, "zebra"))
    code, figures, lines, _ = checked(whole, capsys)
    assert (code, figures["damaged"]) == (1, ["manifest.json", shards_of(whole)[0].name])
    assert "its number of clips per class is {'nö'" in lines[0]
    assert "its list of classes is ['nö', 'yes', '日本'], and the clips table's ['nö', 'yes', 'zebra'" in lines[0]
    assert "another label than the file" in lines[1]


def test_the_order_of_the_clips_table_is_of_no_account(whole):
    table = clips_table(whole, load_manifest(whole))
    order = np.random.default_rng(0).permutation(len(table)).tolist()
    with_clips(whole, **{name: lambda values: [values[line] for line in order] for name in table.column_names})
    assert verify(load_manifest(whole).layout(whole), load_manifest(whole)) == []


def test_sums_of_the_manifest_that_are_not_those_of_the_rows_are_named(whole, capsys):
    statistics = json.loads((whole / "manifest.json").read_text())["statistics"]
    statistics["validation"]["squares"][0] *= 1 + 1e-6
    with_manifest(whole, statistics=statistics)
    code, figures, lines, _ = checked(whole, capsys, "--repair")
    assert (code, figures["damaged"], figures["repaired"]) == (1, ["manifest.json"], [])
    assert lines == ["manifest.json: its sums of validation are not those of its rows"]


@pytest.mark.parametrize(("field", "value"), [("rows", 3), ("rows", 5), ("bytes", 7), ("crc32c", 7)])
def test_a_manifest_that_says_something_else_of_a_shard_is_seen(whole, capsys, field, value):
    partitions = json.loads((whole / "manifest.json").read_text())["partitions"]
    partitions["training"][0][field] = value
    with_manifest(whole, partitions=partitions)
    assert checked(whole, capsys)[:2][1]["damaged"] == [partitions["training"][0]["name"]]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_clips_table_ends_it_with_the_way_out(whole, capsys, damage):
    path = whole / load_manifest(whole).clips_file
    if damage == "flip":
        flip(path, path.stat().st_size // 2)
    elif damage == "cut":
        os.truncate(path, 100)
    else:
        path.unlink()
    before = tree(whole)
    with pytest.raises(RunError, match=rf"the clips table {path}.*--repair cannot make it again; featurize into a new"):
        call("features.verify", whole, "--repair")
    assert tree(whole) == before


def test_a_flip_that_hides_a_column_is_not_taken_for_an_old_set(whole):
    """Without checksums the tables of format version 1 are read, and those have names of another kind."""
    path = whole / load_manifest(whole).clips_file
    path.write_bytes(path.read_bytes().replace(b"crc32c", b"crc32d"))
    with pytest.raises(RunError, match="is not the one that was committed"):
        call("features.verify", whole)


@pytest.mark.parametrize("victim", ["manifest", "clips"])
def test_the_earlier_state_that_is_named_is_whole(own, capsys, victim):
    root, folder = own()
    write_wav(root / "yes" / "aaaaaaaa_nohash_0.wav", noise(70, seed=9))
    _, manifest = featurized(root, folder)
    assert manifest.state == 2
    if victim == "manifest":
        os.truncate(folder / "manifest.json", 500)
    else:
        os.truncate(folder / manifest.clips_file, 500)
    earlier = folder / "states" / "manifest-000001.json"
    with pytest.raises(RunError, match=rf"copy {earlier} over {folder / 'manifest.json'}\), or featurize into a new"):
        call("features.verify", folder)
    shutil.copy(earlier, folder / "manifest.json")
    assert checked(folder, capsys)[0] == 0
    assert load_manifest(folder).state == 1


@pytest.mark.parametrize("change", ["save as", "remove", "cut"])
def test_a_changed_table_of_rejects_is_named_beside_the_shards(whole, capsys, change):
    path = whole / load_manifest(whole).rejects_file
    if change == "save as":
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    elif change == "remove":
        path.unlink()
    else:
        text = "".join(path.read_text().splitlines(keepends=True)[:-1]).encode()
        path.unlink()
        (whole / f"rejects-000001-{table_hash(text)}.csv").write_bytes(text)
        with_manifest(whole, rejects_file=f"rejects-000001-{table_hash(text)}.csv")
    flip(path_of(whole, shards_of(whole)[0]), 9)
    code, figures, lines, _ = checked(whole, capsys)
    assert (code, figures["damaged"]) == (1, [load_manifest(whole).rejects_file, shards_of(whole)[0].name])
    expected = {"save as": "its bytes have another hash", "remove": "it cannot be read", "cut": "{'bad_label': 1}"}
    assert expected[change] in lines[0]
    code, figures, _, _ = checked(whole, capsys, "--repair")
    assert (code, figures["repaired"]) == (1, [shards_of(whole)[0].name])


def test_a_folder_that_is_no_set_is_refused(tmp_path, whole):
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UsageError, match="feature set"):
            call("features.verify", folder)
    with pytest.raises(UsageError, match="--workers is auto or a number above 0, not 'two'"):
        call("features.verify", whole, "--workers", "two")


def test_no_source_is_asked_for_where_the_features_are_whole(own, capsys):
    """Labels, frames and reports are made again from rows that are copied."""
    root, folder = own("parquet")
    before = tree(folder)
    os.rename(root, root.parent / "elsewhere")
    shards = shards_of(folder)
    for damage, shard in zip((damage_a_label, lengthen, remove_the_report), shards, strict=False):
        damage(folder, shard)
    assert checked(folder, capsys, "--repair")[0] == 0
    assert tree(folder) == before


def test_a_report_made_again_knows_no_rejects_and_the_state_does(own, capsys):
    root, folder = own()
    write_wav(root / "yes" / "ffffffff_nohash_0.wav", noise(0))
    featurized(root, folder)
    manifest = load_manifest(folder)
    assert manifest.counts["rejects"] == {"bad_label": 2, "empty": 1}
    for path in (folder / "reports").iterdir():
        path.unlink()
    assert checked(folder, capsys, "--repair")[0] == 0
    update, again = featurized(root, folder)
    assert (update.computed, again) == (0, manifest)


def clip_of(folder: Path, shard: Shard, row: int) -> str:
    lines = clips_table(folder, load_manifest(folder)).to_pylist()
    return next(line["path"] for line in lines if (line["shard"], line["row"]) == (shard.name, row))


def change_size(path: Path) -> None:
    write_wav(path, noise(99, seed=99))
    os.utime(path, (1_600_000_000, 1_600_000_000))


def change_content(path: Path) -> None:
    flip(path, path.stat().st_size - 1)
    os.utime(path, (1_600_000_000, 1_600_000_000))


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_size, "vanished, the file changed after it was listed"),
        (change_content, "vanished, the file changed after it was listed"),
        (os.unlink, "missing, No such file"),
    ],
)
def test_a_shard_whose_recording_changed_stays_and_featurize_makes_it_new(
    own, capsys, caplog, storage_format, change, message
):
    root, folder = own(storage_format)
    mended, victim = shards_of(folder)[2:4]
    original = path_of(folder, mended).read_bytes()
    path = clip_of(folder, victim, victim.rows - 1)
    for shard in (mended, victim):
        damage_a_tensor(folder, shard)
    change(root / path)
    before = tree(folder)
    code, figures, _, paragraph = checked(folder, capsys, "--repair")
    assert (code, figures["damaged"], figures["repaired"]) == (1, [victim.name], [mended.name])
    assert f"{victim.name} cannot be made again: {path}: {message}" in caplog.text
    assert "Still damaged: 1 shard. Where a recording has changed or is gone, another featurize brings" in paragraph
    assert path_of(folder, mended).read_bytes() == original
    after = tree(folder)
    assert [name for name in before if before[name] != after.get(name)] == [
        str(path_of(folder, mended).relative_to(folder))
    ]
    featurized(root, folder, TINY, storage_format, verify_content=change is change_content)
    code, figures, _, _ = checked(folder, capsys)
    assert (code, figures["rows"]) == (0, 74 if change is os.unlink else 75)


def test_recordings_that_were_only_touched_are_still_the_source(own, capsys):
    root, folder = own()
    before = tree(folder)
    for shard in shards_of(folder)[::3]:
        remove(folder, shard)
    for path in root.rglob("*.wav"):
        os.utime(path)
    assert checked(folder, capsys, "--repair")[0] == 0
    assert tree(folder) == before


def as_version_1(folder: Path) -> None:
    """Makes a set what format version 1 wrote: names of rows, no checksums of tensors, offsets of records."""
    manifest = load_manifest(folder)
    clips = clips_table(folder, manifest).drop_columns(["crc32c", "decoder"])
    place = clips.column_names.index("offset")
    clips = clips.set_column(place, "offset", pa.array([12 * row for row in range(len(clips))], pa.int64()))
    rows = json.dumps({name: clips[name].to_pylist() for name in clips.column_names}).encode()
    named = f"clips-000001-{hashlib.sha256(rows).hexdigest()[:16]}.parquet"
    (folder / manifest.clips_file).unlink()
    pq.write_table(clips, folder / named)
    counts = {name: count for name, count in manifest.counts.items() if name != "decoders"}
    with_manifest(folder, clips_file=named, format_version=1, counts=counts)
    for path in (folder / "reports").iterdir():
        table = pq.read_table(path)
        metadata = json.loads(table.schema.metadata[b"soundmill"])
        del metadata["fingerprint"]
        table = table.drop_columns(["crc32c", "decoder"]).replace_schema_metadata({b"soundmill": json.dumps(metadata)})
        pq.write_table(table, path)


@pytest.mark.parametrize("storage_format", FORMATS)
def test_a_set_of_format_version_1_is_proved_and_repaired(own, capsys, storage_format):
    _, folder = own(storage_format)
    as_version_1(folder)
    assert checked(folder, capsys)[0] == 0
    before = tree(folder)
    shards = shards_of(folder)
    flip(path_of(folder, shards[1]), 100)
    remove(folder, shards[3])
    code, figures, lines, _ = checked(folder, capsys, "--repair")
    assert (code, figures["repaired"]) == (0, [shards[1].name, shards[3].name])
    assert "the file has the CRC-32C" in lines[0]
    assert "features of" not in lines[0]
    assert tree(folder) == before
    remove_the_report(folder, shards[5])
    assert checked(folder, capsys, "--repair")[0] == 0


@pytest.mark.parametrize("storage_format", FORMATS)
def test_other_bytes_under_other_versions_become_a_new_state(
    recordings, tmp_path, small_shards, capsys, storage_format
):
    folder = tmp_path / "set"
    with pytest.MonkeyPatch.context() as patch:
        other_libraries(patch)
        _, base = featurized(recordings, folder, TINY, storage_format)
    shards = shards_of(folder)
    for shard in shards[:5:2]:
        remove(folder, shard)
    before = tree(folder)
    code, figures, _, _ = checked(folder, capsys, "--repair")
    assert (code, figures["damaged"], figures["state"]) == (0, [], 2)
    assert figures["repaired"] == [shard.name for shard in shards[:5:2]]
    manifest = load_manifest(folder)
    assert [shard.name for shard in shards_of(folder)] == [shard.name for shard in shards]
    differing = [new.name for new, old in zip(shards_of(folder), shards, strict=True) if new != old]
    assert differing == figures["repaired"]
    assert manifest.counts == base.counts
    assert (manifest.source, manifest.options, manifest.policies) == (base.source, base.options, base.policies)
    assert (folder / "states" / "manifest-000001.json").read_bytes() == before["manifest.json"]
    assert (folder / manifest.rejects_file).read_bytes() == (folder / base.rejects_file).read_bytes()
    # The scan of the state that was repaired still confirms which files are as they were.
    update, again = featurized(recordings, folder, TINY, storage_format)
    assert (update.computed, update.changes.copied, again.state) == (0, 0, 2)
    runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    assert runs[1]["scan_started_ns"] == runs[0]["scan_started_ns"]


def test_other_bytes_are_not_taken_into_a_set_that_is_damaged_otherwise(own, tmp_path, capsys, caplog):
    root, folder = own()
    shutil.rmtree(folder)
    with pytest.MonkeyPatch.context() as patch:
        other_libraries(patch)
        featurized(root, folder)
    lost, differing = shards_of(folder)[:2]
    os.unlink(root / clip_of(folder, lost, 0))
    remove(folder, lost)
    remove(folder, differing)
    before = tree(folder)
    code, figures, _, _ = checked(folder, capsys, "--repair")
    assert (code, figures["repaired"], figures["damaged"]) == (1, [], [lost.name, differing.name])
    assert f"{differing.name} cannot be made again: these versions of libraries give it other bytes" in caplog.text
    assert tree(folder) == before


def test_a_state_that_was_committed_meanwhile_is_left_alone(own, capsys, monkeypatch):
    root, folder = own()
    stale = load_manifest(folder)
    write_wav(root / "yes" / "aaaaaaaa_nohash_0.wav", noise(70, seed=9))
    featurized(root, folder)
    remove(folder, shards_of(folder)[0])
    monkeypatch.setattr("features.maintenance.verification.load_manifest", lambda _: stale)
    before = tree(folder)
    with pytest.raises(RunError, match="another state was committed into"):
        call("features.verify", folder, "--repair")
    assert tree(folder) == before


def test_a_repair_waits_for_a_commit(made, tmp_path):
    folder = shutil.copytree(made["tfrecord"], tmp_path / "set")
    before = tree(folder)
    victim = shards_of(folder)[0]
    remove(folder, victim)
    with committing(Layout(folder, "tfrecord")):
        lock = f":{os.stat(folder / '.lock').st_ino} "
        process = start_command("features.verify", folder, "--repair")
        waiting = r"\d+: -> FLOCK +ADVISORY +WRITE .*" + lock
        wait_until(lambda: re.search(waiting, Path("/proc/locks").read_text()))
        assert not path_of(folder, victim).exists()
        assert not (folder / "work").exists()
    assert process.wait(timeout=60) == 0
    assert tree(folder) == before


def test_a_full_disk_ends_a_repair_and_leaves_the_set_as_it_was(whole, monkeypatch):
    for shard in shards_of(whole)[:3]:
        remove(whole, shard)
    before = tree(whole)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("features.io.atomic.os.fsync", full)
    with pytest.raises((OSError, RunError), match=r"(?i)no space"):
        call("features.verify", whole, "--repair")
    assert tree(whole) == before
    assert not (whole / "work").exists()


def test_the_command_says_what_is_wrong_and_ends_with_1(made, tmp_path):
    whole = shutil.copytree(made["tfrecord"], tmp_path / "set")
    victim = shards_of(whole)[4]
    remove(whole, victim)
    ended = run_command("features.verify", whole, check=False)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[0] == f"{victim.name} ({victim.name.rpartition('-')[0]}): the file is missing"
    assert ended.stderr == ""
    os.truncate(whole / load_manifest(whole).clips_file, 100)
    ended = run_command("features.verify", whole, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: the clips table ")


# In a Python process that finds this module: what is started as a worker waits until it may go on.
WAITING = """
import os, sys, time
while "--multiprocessing-fork" in sys.orig_argv and not os.path.exists({!r}):
    time.sleep(0.01)
"""


def test_ctrl_c_ends_it_in_one_line_while_its_workers_start(made, tmp_path, monkeypatch):
    goes_on = tmp_path / "goes-on"
    (tmp_path / "sitecustomize.py").write_text(WAITING.format(str(goes_on)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    process = start_command("features.verify", made["tfrecord"], "--workers", 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 3)  # two workers and what watches their semaphores
    os.killpg(process.pid, signal.SIGINT)
    goes_on.touch()
    assert process.communicate(timeout=60) == (
        "", "interrupted; nothing half-written stands under its final name\n",
    )  # fmt: skip
    assert process.returncode == 130


def harm(folder: Path, shard: Shard, damage: str) -> str:
    """Damages a set; returns what a reader says of it."""
    path = path_of(folder, shard)
    if damage == "flip":
        flip(path, shard.bytes - 9)
    elif damage == "cut":
        os.truncate(path, shard.bytes - 1)
    elif damage == "remove":
        path.unlink()
    else:
        (folder / "manifest.json").unlink()
        return f"{folder} is not a complete feature set"
    return f"shard {path}.*python -m features.verify {folder} --repair"


@pytest.fixture(scope="module")
def run(feature_set, tmp_path_factory) -> Path:
    """A run folder with a network for the features that both sets hold."""
    return save_untrained(tmp_path_factory.mktemp("runs") / "run", feature_set, name="mlp")


@pytest.mark.parametrize(
    ("fixture", "damage"),
    [*(("feature_set", damage) for damage in ("flip", "cut", "remove", "half-written")), ("parquet_set", "flip")],
)
def test_an_evaluation_stops_with_the_name_of_the_shard(request, run, tmp_path, fixture, damage):
    folder = shutil.copytree(request.getfixturevalue(fixture), tmp_path / "set")
    message = harm(folder, load_manifest(folder).shards(["testing"])[0], damage)
    with pytest.raises((RunError, UsageError), match=message):
        call("model.evaluate", "--model", run, "--features", folder)
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize("damage", ["remove", "half-written"])
def test_a_training_stops_with_the_name_of_the_shard(feature_set, tmp_path, damage):
    folder = shutil.copytree(feature_set, tmp_path / "set")
    message = harm(folder, load_manifest(folder).shards(["training"])[0], damage)
    with pytest.raises((RunError, UsageError), match=message):
        call("model.train", "--features", folder, "--output", tmp_path / "run", "--epochs", 1, "--network", "mlp")
    assert not (tmp_path / "run" / "model").exists()
