import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from features.store.clips_table import CLIPS_COLUMNS, CLIPS_SCHEMA, clips_batches, read_clips
from features.store.manifest import load_manifest
from tests.conftest import clips_table
from tests.features.examples import TINY, featurized
from tests.signals import noise, write_wav


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("made")
    for speaker in range(4):
        for seed, word in enumerate(("no", "yes")):
            write_wav(base / "words" / word / f"{speaker:08x}_nohash_0.wav", noise(60, seed=2 * speaker + seed))
    featurized(base / "words", base / "set", TINY)
    return base / "set"


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "set")


def read(folder, *given):
    manifest = load_manifest(folder)
    return read_clips(manifest.layout(folder), manifest, *given)


def change_a_value(folder):
    """Puts a table there that is a clips table in all, and not the one that was committed."""
    path = folder / load_manifest(folder).clips_file
    table = pq.read_table(path)
    seconds = pa.array(np.asarray(table["seconds"]) + 1)
    pq.write_table(table.set_column(table.column_names.index("seconds"), "seconds", seconds), path)


def test_all_columns_some_and_a_few_rows_at_a_time(folder):
    whole = clips_table(folder, load_manifest(folder))
    clips = read(folder)
    assert clips.schema == CLIPS_SCHEMA
    assert whole.column_names == [name for name in CLIPS_COLUMNS if name != "version"], "of files there are none"
    assert clips.drop_columns(["version"]).equals(whole)
    assert clips["version"].null_count == len(clips)
    assert read(folder, ["shard", "row", "path"]).equals(whole.select(["shard", "row", "path"]))
    manifest = load_manifest(folder)
    for rows in (1, 3, len(whole), len(whole) + 1):
        batches = list(clips_batches(manifest.layout(folder), manifest, ["path"], rows=rows))
        assert {len(batch) for batch in batches[:-1]} <= {rows}
        assert pa.concat_tables(batches).equals(whole.select(["path"]))


@pytest.mark.parametrize("given", [(), (["label"],)], ids=["whole", "a column"])
def test_other_bytes_are_refused_however_much_is_read(folder, given):
    change_a_value(folder)
    path = folder / load_manifest(folder).clips_file
    with pytest.raises(RunError, match=f"the clips table {path} is not the one that was committed: the hash of its"):
        read(folder, *given)
    path.write_bytes(b"no table")
    with pytest.raises(RunError, match=f"the clips table {path} is not the one that was committed"):
        read(folder, *given)
    path.unlink()
    with pytest.raises(RunError, match=f"cannot read the clips table {path}: No such file or directory; ") as error:
        read(folder, *given)
    assert "\n" not in str(error.value)


def test_the_message_names_the_latest_earlier_state(made, folder):
    shutil.copytree(made.parent / "words", folder.parent / "words")
    for number in range(2):
        write_wav(folder.parent / "words" / "no" / f"0000000{number + 5}_nohash_0.wav", noise(60, seed=20 + number))
        featurized(folder.parent / "words", folder, TINY)
    change_a_value(folder)
    back = f"copy {folder}/states/manifest-000002.json over {folder}/manifest.json"
    with pytest.raises(RunError, match=rf"go back to an earlier state \({back}\), or featurize into a new folder"):
        read(folder)


def test_of_format_version_1_names_prove_nothing_and_places_are_those_of_records(folder):
    manifest = load_manifest(folder)
    whole = clips_table(folder, manifest)
    pq.write_table(whole.drop_columns(["crc32c", "warning"]), folder / manifest.clips_file)
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, "format_version": 1}))
    assert load_manifest(folder).format_version == 1
    clips = read(folder)
    assert clips.schema == CLIPS_SCHEMA
    for name in ("crc32c", "offset", "warning"):
        assert clips[name].null_count == len(clips), name
    rest = [name for name in CLIPS_COLUMNS if name not in ("crc32c", "offset", "warning", "version")]
    assert clips.select(rest).equals(whole.select(rest))
    assert read(folder, ["row", "offset", "crc32c"])["offset"].null_count == len(clips)
    # A table of the present version has no leave to be without the column.
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="is not the one that was committed"):
        read(folder)
