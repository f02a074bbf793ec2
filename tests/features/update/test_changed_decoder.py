"""What becomes of rows when another version of a decoder is here than the one that read their files."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from features.audio.ffmpeg import ffmpeg_version
from features.maintenance.verification import verify
from features.store import decoders
from features.store.layout import Layout
from features.store.manifest import load_manifest
from features.store.summary import describe, figures_of, lines_of
from features.store.unit_report import is_finished
from features.store.versions import library_versions
from tests.conftest import call
from tests.features.examples import build_units, featurized, prepared
from tests.features.test_cache_properties import assert_equal_sets, rows_of
from tests.features.update.test_changes import LONG_AGO_NS, SECOND_NS, clip, old, write
from tests.signals import noise, write_wav

GOLDEN = Path(__file__).parents[2] / "golden" / "features-v2"
SNDFILE = f"libsndfile {soundfile.__libsndfile_version__}"


@pytest.fixture
def ffmpeg_says(ffmpeg) -> Callable[[str], None]:
    """What makes the ffmpeg on the PATH, a real one, say that it is of another version."""
    real = os.path.realpath(ffmpeg)

    def says(version: str) -> None:
        ffmpeg.unlink(missing_ok=True)
        ffmpeg.write_text(
            f'#!/bin/sh\nif [ "$1" = -version ]; then echo "ffmpeg version {version} (c)"; exit; fi\nexec {real} "$@"\n'
        )
        ffmpeg.chmod(0o755)
        for asked_once in (ffmpeg_version, library_versions):
            asked_once.cache_clear()

    yield says
    ffmpeg_version.cache_clear()


def write_m4a(ffmpeg: Path, path: Path, seed: int) -> Path:
    source = write_wav(path.with_suffix(".source"), noise(80, seed=seed))
    path.unlink(missing_ok=True)
    subprocess.run([ffmpeg, "-v", "error", "-i", source, "-c:a", "alac", path], check=True, stdin=subprocess.DEVNULL)
    source.unlink()
    return old(path, LONG_AGO_NS + seed * SECOND_NS)


@pytest.fixture
def recordings(tmp_path, ffmpeg, ffmpeg_says) -> Path:
    """Two WAVs, a FLAC and two M4As, all of training, and ffmpeg says that it is 5.1.9."""
    root = tmp_path / "words"
    write(clip(root, "no", 1), seed=1)
    write(clip(root, "yes", 1), seed=2)
    soundfile.write(clip(root, "no", 3, ".flac"), noise(80, seed=3), 16_000)
    old(clip(root, "no", 3, ".flac"))
    for number, label in enumerate(("no", "yes")):
        write_m4a(ffmpeg, clip(root, label, 4, ".m4a"), seed=10 + number)
    ffmpeg_says("5.1.9")
    return root


def decoders_of(folder: Path) -> dict[str, str | None]:
    manifest = load_manifest(folder)
    assert verify(manifest.layout(folder), manifest, workers=1) == []
    table = pq.read_table(folder / manifest.clips_file)
    assert manifest.counts["decoders"] == dict(
        sorted(Counter(table["decoder"].fill_null("unknown").to_pylist()).items())
    )
    return dict(zip(table["path"].to_pylist(), table["decoder"].to_pylist(), strict=True))


def of_m4a(folder: Path) -> list[str | None]:
    return [decoder for path, decoder in sorted(decoders_of(folder).items()) if path.endswith(".m4a")]


def figures_after(root: Path, folder: Path, changed_decoder: str | None = None) -> tuple[int, int, int]:
    update, _ = featurized(root, folder, changed_decoder=changed_decoder)
    assert update.figures["removed"] == 0
    return update.figures["computed"], update.figures["kept"], update.figures["copied"]


def test_a_row_says_what_read_it(recordings, tmp_path):
    (recordings / "no" / "text.wav").write_bytes(b"no sound")
    _, manifest = featurized(recordings, tmp_path / "set")
    by_ending = {Path(path).suffix: decoder for path, decoder in decoders_of(tmp_path / "set").items()}
    assert by_ending == {".wav": "wav", ".flac": SNDFILE, ".m4a": "ffmpeg 5.1.9"}
    counted = {"ffmpeg 5.1.9": 2, SNDFILE: 1, "wav": 2}
    description = describe(manifest.layout(tmp_path / "set"), manifest)
    assert figures_of(description)["decoders"] == counted
    assert f"decoders    2 ffmpeg 5.1.9, 1 {SNDFILE}, 2 wav" in lines_of(description)


def test_rows_of_another_ffmpeg_are_computed_anew_and_no_others(recordings, tmp_path, ffmpeg, ffmpeg_says):
    folder = tmp_path / "set"
    assert figures_after(recordings, folder) == (5, 0, 0)
    assert figures_after(recordings, folder) == (0, 5, 0)
    ffmpeg_says("9.0.2")
    assert prepared(recordings, folder).changes.outdated == 2
    assert figures_after(recordings, folder, "keep") == (0, 5, 0)
    assert load_manifest(folder).state == 1
    # A new file is read by what is here, and the others are what they were.
    write_m4a(ffmpeg, clip(recordings, "yes", 5, ".m4a"), seed=20)
    assert figures_after(recordings, folder, "keep") == (1, 5, 0)
    assert of_m4a(folder) == ["ffmpeg 5.1.9", "ffmpeg 5.1.9", "ffmpeg 9.0.2"]
    assert figures_after(recordings, folder) == (2, 4, 0)
    assert of_m4a(folder) == ["ffmpeg 9.0.2"] * 3
    assert figures_after(recordings, folder) == (0, 6, 0)
    _, expected = featurized(recordings, tmp_path / "cold")
    assert_equal_sets(folder, load_manifest(folder), tmp_path / "cold", expected)


def test_without_an_ffmpeg_its_rows_are_kept(recordings, tmp_path, ffmpeg):
    featurized(recordings, tmp_path / "set")
    ffmpeg.unlink()
    library_versions.cache_clear()
    for choice in (None, "keep", "recompute"):
        assert figures_after(recordings, tmp_path / "set", choice) == (0, 5, 0)
    assert load_manifest(tmp_path / "set").state == 1


@pytest.mark.parametrize(("choice", "computed"), [(None, 0), ("keep", 0), ("recompute", 1)])
def test_rows_of_another_libsndfile_are_computed_anew_on_request(recordings, tmp_path, monkeypatch, choice, computed):
    featurized(recordings, tmp_path / "set")
    monkeypatch.setattr(decoders, "library_versions", lambda: {"libsndfile": "9.9.9"})
    assert figures_after(recordings, tmp_path / "set", choice) == (computed, 5 - computed, 0)
    counts = load_manifest(tmp_path / "set").counts["decoders"]
    said = decoders.kept_sentence(counts, choice)
    assert said.startswith(f" Rows of other decoders than those here are kept, 1 of {SNDFILE}")
    assert ("--changed-decoder recompute" in said) == (choice != "recompute")


def test_a_file_found_again_by_its_content_keeps_its_decoder_or_is_computed(recordings, tmp_path, ffmpeg_says):
    folder = tmp_path / "set"
    featurized(recordings, folder)
    ffmpeg_says("9.0.2")
    for speaker, choice in ((5, "keep"), (6, None)):
        (before,) = (recordings / "no").glob("*.m4a")
        before.rename(clip(recordings, "no", speaker, ".m4a"))
        update, _ = featurized(recordings, folder, changed_decoder=choice)
        moved = {"computed": 0, "copied": 1} if choice == "keep" else {"computed": 2, "copied": 0}
        assert {name: update.figures[name] for name in moved} == moved
        assert of_m4a(folder) == (["ffmpeg 5.1.9"] * 2 if choice == "keep" else ["ffmpeg 9.0.2"] * 2)


def test_a_relabelled_row_and_the_rest_of_its_shard_keep_their_decoders(recordings, tmp_path):
    featurized(recordings, tmp_path / "set")
    clip(recordings, "no", 4, ".m4a").rename(clip(recordings, "yes", 6, ".m4a"))
    clip(recordings, "no", 1).unlink()
    update, _ = featurized(recordings, tmp_path / "set")
    assert (update.figures["computed"], update.figures["copied"]) == (0, 1)
    assert sorted(decoders_of(tmp_path / "set").values()) == ["ffmpeg 5.1.9", "ffmpeg 5.1.9", SNDFILE, "wav"]


@pytest.mark.parametrize("renamed", [False, True], ids=["the same unit", "its rows in another unit"])
def test_what_an_interrupted_run_has_finished_is_used_by_the_same_rule(recordings, tmp_path, ffmpeg_says, renamed):
    for choice, computed in ((None, 2), ("keep", 0)):
        folder = tmp_path / f"{choice}"
        ffmpeg_says("5.1.9")
        build_units(prepared(recordings, folder))  # and does not come to its commit
        if renamed:  # another clip makes another unit, which takes the rows that are there
            write(clip(recordings, "yes", 5), seed=30)
        ffmpeg_says("9.0.2")
        update, _ = featurized(recordings, folder, changed_decoder=choice)
        assert update.computed == computed + renamed
        assert of_m4a(folder) == ["ffmpeg 9.0.2" if computed else "ffmpeg 5.1.9"] * 2
        clip(recordings, "yes", 5).unlink(missing_ok=True)


@pytest.fixture
def version_2(tmp_path, no_ffmpeg, monkeypatch) -> tuple[Path, Path]:
    """Recordings and their set as format version 2 wrote it, in another place; libraries have not changed since."""
    root, folder = tmp_path / "recordings", tmp_path / "set"
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    for number, path in enumerate(sorted(root.rglob("*.*"))):
        old(path, LONG_AGO_NS + number * SECOND_NS)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"/recordings"', f'"{root}"'))
    made_by = load_manifest(folder).versions
    for module in ("features.store.commit", "features.store.unit_report", "features.store.decoders"):
        monkeypatch.setattr(f"{module}.library_versions", lambda *_: made_by)
    return root, folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_unchanged_set_of_version_2_stays_as_it_is(version_2):
    root, folder = version_2
    before = contents(folder)
    (report,) = (folder / "reports").iterdir()
    assert not is_finished(Layout(folder, "tfrecord"), report.stem, "recompute")
    for choice in (None, "keep"):
        assert is_finished(Layout(folder, "tfrecord"), report.stem, choice)
        update = prepared(root, folder, changed_decoder=choice)
        assert update.todo == []
        assert update.figures == {"computed": 0, "copied": 0, "kept": 5, "removed": 0}
        assert update.commit() == (load_manifest(folder), False)
    assert contents(folder) == before
    manifest = load_manifest(folder)
    assert manifest.decoders == {"unknown": 5}
    assert verify(manifest.layout(folder), manifest, workers=1) == []
    assert "decoders    5 unknown" in lines_of(describe(manifest.layout(folder), manifest))


def test_rows_of_version_2_are_kept_until_it_is_asked_for_them(version_2):
    root, folder = version_2
    before = {path: row.tensor for path, row in rows_of(folder, load_manifest(folder)).items()}
    write(clip(root, "no", 5), seed=40)
    assert figures_after(root, folder) == (1, 5, 0)
    assert load_manifest(folder).format_version == 3
    assert Counter(decoders_of(folder).values()) == {None: 5, "wav": 1}
    said = decoders.kept_sentence(load_manifest(folder).decoders, None)
    assert "5 of an unknown one: --changed-decoder recompute" in said
    assert figures_after(root, folder) == (0, 6, 0)
    assert figures_after(root, folder, "recompute") == (5, 1, 0)
    assert Counter(decoders_of(folder).values()) == {"wav": 5, SNDFILE: 1}
    after = {path: row.tensor for path, row in rows_of(folder, load_manifest(folder)).items()}
    assert {path: after[path] for path in before} == before
    assert figures_after(root, folder, "recompute") == (0, 6, 0)


def test_the_command_says_what_was_computed_anew_and_what_is_kept(recordings, tmp_path, ffmpeg_says, capsys):
    command = ("pipelines.featurize", "--input", recordings, "--output", tmp_path / "set", "--workers", 1)
    call(*command)
    assert "other decoders" not in capsys.readouterr().out
    ffmpeg_says("9.0.2")
    call(*command, "--dry-run")
    assert "would compute 2 clips (2 anew for their decoder) and write 2 tfrecord shards" in capsys.readouterr().out
    call(*command, "--changed-decoder", "keep")
    assert "0 computed, 5 kept" in (said := capsys.readouterr().out)
    assert "Rows of other decoders than those here are kept, 2 of ffmpeg 5.1.9: --changed-decoder recompute" in said
    call(*command)
    assert "2 computed, 3 kept" in (said := capsys.readouterr().out)
    assert "2 were computed anew as another decoder had read them." in said


def test_the_column_takes_next_to_no_room(tmp_path):
    """As it is written: a value is a number in a dictionary."""
    names = ["wav", SNDFILE, "ffmpeg 9.0.2"]
    for count in (1, 100_000):
        pq.write_table(pa.table({"decoder": [names[number % 3] for number in range(count)]}), tmp_path / f"{count}")
    assert (tmp_path / "100000").stat().st_size - (tmp_path / "1").stat().st_size < 100_000 / 3
