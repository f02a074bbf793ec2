"""Recordings in an object store through an update: what is kept, copied, computed anew and refused, by versions."""

from pathlib import Path

import obstore
import pyarrow.parquet as pq
import pytest
import soundfile
from obstore.store import S3Store

from features.errors import RunError
from features.io.filesystem import filesystem_of
from features.maintenance.verification import verify
from features.sources.clips import Clip
from features.sources.rejects import read_csv
from features.sources.table import scan_table
from features.sources.table_layout import TableLayout
from features.store.layout import Layout
from features.store.manifest import load_manifest
from features.store.unit_report import read_report
from features.update.shard_builder import build_shard
from features.update.work_list import ShardUnit
from tests.features.examples import TINY, build_units, committed, featurized, prepared
from tests.object_store.faults import Faults, proxy
from tests.object_store.upload import upload
from tests.signals import noise, write_wav

LONG_SAMPLES = 2**20 + 1_000  # more than 2 MiB


@pytest.fixture
def words(tmp_path) -> Path:
    """Two classes: plain WAVs, what another process decodes, by the ending of its name too, and a broken file."""
    root = tmp_path / "words"
    for number in range(12):
        write_wav(root / ("no", "yes")[number % 2] / f"{number}.wav", noise(80, seed=number))
    soundfile.write(root / "no" / "coded.flac", noise(80, seed=20), 16_000)
    soundfile.write(root / "no" / "coded.mp3", noise(4_000, seed=21), 16_000)
    mp3 = (root / "no" / "coded.mp3").read_bytes()
    (root / "yes" / "padded.mp3").write_bytes(bytes(5_000) + mp3)  # by the name alone it is known to be one
    (root / "yes" / "broken.wav").write_bytes(b"no sound")
    return root


@pytest.fixture
def counted(s3, monkeypatch):
    """A proxy before the server, which counts and can be told to fail."""
    faults = Faults()
    with proxy(s3.endpoint, faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield faults


def shards(folder: Path) -> dict[str, bytes]:
    """Content of each shard by partition and place, whatever it is called."""
    manifest = load_manifest(folder)
    layout = manifest.layout(folder)
    return {f"{name}-{place}": layout.shard(shard.name).read_bytes()
            for name, held in manifest.partitions.items() for place, shard in enumerate(held)}  # fmt: skip


def clips(folder: Path):
    manifest = load_manifest(folder)
    return pq.read_table(folder / manifest.clips_file)


def rejects(folder: Path):
    return read_csv(folder / load_manifest(folder).rejects_file)


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_a_set_of_objects_has_the_bytes_of_one_of_files(words, s3, tmp_path, storage_format):
    write_wav(words / "no" / "long.wav", noise(LONG_SAMPLES, seed=5))
    soundfile.write(words / "yes" / "long.flac", noise(LONG_SAMPLES, seed=6), 16_000)
    featurized(words, tmp_path / "here", TINY, storage_format)
    uri = upload(words, f"{s3.uri}/words")
    update, manifest = featurized(uri, tmp_path / "there", TINY, storage_format)
    assert update.computed == 18
    assert shards(tmp_path / "there") == shards(tmp_path / "here")
    here, there = clips(tmp_path / "here"), clips(tmp_path / "there")
    same = [name for name in here.column_names if name not in ("mtime_ns", "shard")]
    assert there.select(same).equals(here.select(same))
    assert [row.reason for row in rejects(tmp_path / "there")] == [row.reason for row in rejects(tmp_path / "here")]
    assert [row.version for row in rejects(tmp_path / "there")] == [
        filesystem_of(uri).status(f"{uri}/yes/broken.wav")[3]
    ]
    assert (load_manifest(tmp_path / "here").format_version, manifest.format_version) == (3, 4)
    assert "version" not in here.column_names
    assert not verify(manifest.layout(tmp_path / "there"), manifest)
    names = [path.name for path in Path(tmp_path).rglob("*") if path.name.startswith("soundmill-")]
    assert not names, "no copy is left"


def test_what_has_its_version_is_not_asked_for_again(words, s3, tmp_path, counted):
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    featurized(uri, folder)
    counted.requests.clear()
    update, manifest = featurized(uri, folder)
    assert (update.computed, update.todo, manifest.state) == (0, [], 1)
    assert set(counted.requests) <= {"GET", "HEAD"}
    assert counted.requests["GET"] <= 2, "the listing"


def test_a_changed_object_is_computed_anew_and_only_that(words, s3, tmp_path):
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    featurized(uri, folder)
    files = filesystem_of(uri)
    files.write(f"{uri}/no/4.wav", write_wav(tmp_path / "new.wav", noise(80, seed=44)).read_bytes())
    files.write(f"{uri}/yes/broken.wav", b"no sound")  # the same again, later
    update, manifest = featurized(uri, folder)
    assert update.computed == 1
    assert clips(folder).filter(clips(folder)["path"].to_numpy() == "no/4.wav")["version"][0].as_py() == (
        files.status(f"{uri}/no/4.wav").version
    )
    write_wav(words / "no" / "4.wav", noise(80, seed=44))
    featurized(words, tmp_path / "fresh")
    assert sorted(clips(folder)["content_hash"].to_pylist()) == sorted(
        clips(tmp_path / "fresh")["content_hash"].to_pylist()
    )
    assert not verify(manifest.layout(folder), manifest)


def test_a_renamed_object_is_copied_by_its_etag_and_not_read(words, s3, tmp_path, counted):
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    featurized(uri, folder)
    files = filesystem_of(uri)
    for old, new in (("no/0.wav", "yes/was-0.wav"), ("no/2.wav", "no/was-2.dat.wav"), ("no/4.wav", "no/was-4.flac")):
        files.write(f"{uri}/{new}", files.read(f"{uri}/{old}"))
        files.delete(f"{uri}/{old}")
    counted.requests.clear()
    update = prepared(uri, folder)
    assert (update.changes.copied, update.computed) == (2, 1), "decoders go by the ending of the name"
    assert counted.requests["GET"] <= 2, "the listing"
    build_units(update)
    manifest, _ = committed(update)
    assert not verify(manifest.layout(folder), manifest)
    assert "yes/was-0.wav" in clips(folder)["path"].to_pylist()


def put_in_parts(s3, uri: str, content: bytes) -> None:
    """Uploads an object in two parts: its ETag is none of its content alone."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    store = S3Store(bucket, endpoint=s3.endpoint, access_key_id=s3.environment["AWS_ACCESS_KEY_ID"],
                    secret_access_key=s3.environment["AWS_SECRET_ACCESS_KEY"], region="us-east-1",
                    client_options={"allow_http": True})  # fmt: skip
    obstore.put(store, key, content, use_multipart=True, chunk_size=5 * 2**20)


def test_the_etag_of_an_upload_in_parts_says_nothing_of_another_name(words, s3, tmp_path):
    content = write_wav(tmp_path / "long.wav", noise(3 * 2**20, seed=5)).read_bytes()
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    put_in_parts(s3, f"{uri}/no/long.wav", content)
    featurized(uri, folder)
    assert filesystem_of(uri).status(f"{uri}/no/long.wav").version.strip('"').endswith("-2")
    assert prepared(uri, folder).todo == [], "of its own name it does"
    put_in_parts(s3, f"{uri}/no/moved.wav", content)
    filesystem_of(uri).delete(f"{uri}/no/long.wav")
    assert prepared(uri, folder).computed == 1


def test_a_source_that_moved_into_a_store_keeps_its_shards(words, s3, tmp_path):
    folder = tmp_path / "set"
    _, before = featurized(words, folder)
    uri = upload(words, f"{s3.uri}/words")
    update, manifest = featurized(uri, folder)
    assert (update.computed, manifest.partitions) == (0, before.partitions), "their contents are compared, once"
    assert manifest.format_version == 4
    again, after = featurized(uri, folder)
    assert (again.todo, after.state) == ([], 2)
    back, manifest = featurized(words, folder)
    assert (back.computed, manifest.partitions, manifest.format_version) == (0, before.partitions, 3)


def test_verify_content_reads_all(words, s3, tmp_path, counted):
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    featurized(uri, folder)
    counted.requests.clear()
    assert prepared(uri, folder, verify_content=True).todo == []
    assert counted.requests["GET"] >= 16


def test_what_goes_or_changes_after_the_listing_is_a_reject(words, s3, tmp_path):
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    update, files = prepared(uri, folder), filesystem_of(uri)
    files.delete(f"{uri}/no/0.wav")
    files.write(f"{uri}/no/2.wav", write_wav(tmp_path / "other.wav", noise(80, seed=44)).read_bytes())
    (s3.folder / "words" / "no" / "coded.mp3").write_bytes(b"")
    build_units(update)
    committed(update)
    reasons = {row.path: row.reason for row in rejects(folder)}
    assert reasons.items() >= {"no/0.wav": "missing", "no/2.wav": "vanished", "yes/broken.wav": "not_audio"}.items()
    again, _ = featurized(uri, folder)
    assert {"no/2.wav"} <= set(clips(folder)["path"].to_pylist())
    assert again.computed >= 1


def test_faults_cost_time_and_nothing_else(words, s3, tmp_path, counted):
    for number in range(100):
        write_wav(words / "no" / f"more-{number}.wav", noise(80, seed=100 + number))
    uri = upload(words, f"{s3.uri}/words")
    featurized(words, tmp_path / "here")
    counted.busy, counted.cut, counted.lost = 0.05, 0.05, 0.02
    featurized(uri, tmp_path / "there")
    assert {"busy", "cut"} <= counted.done.keys()
    assert counted.most_at_once > 10
    assert shards(tmp_path / "there") == shards(tmp_path / "here")


def test_a_store_that_does_not_answer_any_more_ends_the_run(words, s3, tmp_path, monkeypatch):
    uri, folder = upload(words, f"{s3.uri}/words"), tmp_path / "set"
    update = prepared(uri, folder)

    def gone(path, version=None):
        raise RunError(f"{path}: it does not answer any more")

    monkeypatch.setattr(filesystem_of(uri), "read", gone)
    with pytest.raises(RunError, match="does not answer any more"):
        build_units(update)
    assert not list(Layout(folder, "tfrecord").reports_folder.iterdir())


def test_parts_of_an_object_are_those_of_a_file(s3, tmp_path):
    write_wav(tmp_path / "a" / "long.wav", noise(LONG_SAMPLES, seed=5))
    soundfile.write(tmp_path / "a" / "long.ogg", noise(LONG_SAMPLES, seed=6), 16_000)
    lines = [f"{name},{start},0.005,x" for name in ("long.wav", "long.ogg") for start in (0, 1.5, 60)]
    for place in ("a", "b"):
        text = "\n".join(["path,start,duration,label", *lines])
        (tmp_path / f"{place}.csv").write_text(text)
    uri = upload(tmp_path / "a", f"{s3.uri}/a")
    made = []
    for root in (str(tmp_path / "a"), uri):
        layout = TableLayout(root=root, start_column="start", duration_column="duration")
        rows = scan_table(str(tmp_path / "a.csv"), layout).clips.to_pylist()
        unit = ShardUnit("training-" + "0" * 24, tuple(Clip(**row, group="g", partition="training") for row in rows))
        place = Layout(tmp_path / f"set{len(made)}", "tfrecord")
        place.make_folders()
        build_shard(unit, place, root, TINY)
        report = read_report(place, unit.name)
        made.append((place.shard(unit.name).read_bytes(), report.rows["content_hash"].to_pylist()))
    assert made[0] == made[1]
