import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio.recording import open_recording
from features.errors import UsageError
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.frontend.windows import num_windows, window_waveforms, windowing_of
from features.sources.folder import scan
from features.sources.paths import clip_file
from model.labels.cut_outs import check_cut_outs_folder
from model.labels.window_choice import BEST, BOTH, EVEN
from model.labels.window_rows import WindowRows
from model.scoring import cut_outs
from model.scoring.cut_outs import CutOuts, CutOutsJob
from model.scoring.options import ClipOptions
from tests.signals import noise, write_wav

SPEC = preset("speech-commands")
CLASSES = ["crow", "a/b", "..", "_silence_"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """One of each kind of samples, all of more than one window; of two channels, and of another rate."""
    root = tmp_path_factory.mktemp("recordings")
    write_wav(root / "plain.wav", noise(70_000, seed=1))
    write_wav(root / "-site" / "20260612_040000.wav", noise(2 * 120_000, seed=2).reshape(-1, 2), 48_000)
    soundfile.write(root / "deep.flac", noise(60_000, seed=3), 22_050, subtype="PCM_24")
    soundfile.write(root / "floats.wav", noise(50_000, seed=4), 16_000, subtype="FLOAT")
    soundfile.write(root / "lossy.ogg", noise(90_000, seed=5), 44_100)
    write_wav(root / "short.wav", noise(9_000, seed=6))
    return root


def windows_of(root: Path, spec: FeatureSpec, windowing) -> WindowRows:
    """All windows of the recordings, as they are labelled, with probabilities that were drawn; and their waveforms."""
    paths, counts, windows = scan(str(root), labelled=False).clips["path"].to_pylist(), [], []
    for path in paths:
        with open_recording(clip_file(str(root), path), whole=True) as recording:
            info = recording.probe()
            count = num_windows(info, spec, windowing)
            found = list(window_waveforms(recording.source, info, spec, 0, count, windowing))
        counts.append(len(found))
        windows += found
    random = np.random.default_rng(0)
    rows = WindowRows(
        paths=paths,
        counts=np.array(counts, np.int64),
        start_seconds=np.array([window.start_seconds for window in windows]),
        end_seconds=np.array([window.end_seconds for window in windows]),
        probabilities=random.random((len(windows), len(CLASSES))).astype(np.float32),
    )
    waveforms = {(paths[recording], window.start_seconds): window.waveform
                 for recording, window in zip(rows.recordings.tolist(), windows, strict=True)}  # fmt: skip
    return rows, waveforms


def job_of(root: Path, folder: Path, per_class: int, **changes) -> CutOutsJob:
    job = CutOutsJob(folder, per_class, str(root), scan(str(root), labelled=False).clips, SPEC, windowing_of(SPEC))
    return replace(job, **changes)


def cut(job: CutOutsJob, rows: WindowRows) -> list[dict[str, str]]:
    with CutOuts(job, CLASSES) as output:
        output.write(rows)
        output.complete()
        output.finish()
    lines = list(csv.DictReader((job.folder / "clips.csv").read_text().splitlines()))
    assert output.written == len(lines)
    return lines


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("hop_seconds", "tail"), [(None, "pad"), (0.3, "drop")])
def test_a_cut_out_has_the_waveform_of_its_window(recordings, tmp_path, hop_seconds, tail):
    windowing = windowing_of(SPEC, hop_seconds, tail)
    rows, waveforms = windows_of(recordings, SPEC, windowing)
    lines = cut(job_of(recordings, tmp_path / "clips", len(rows), windowing=windowing), rows)
    assert len(lines) == len(rows) * len(CLASSES)
    for line in lines[: len(rows)]:  # those of one label: all windows
        recording, start = line["group"].removeprefix("./"), float(line["start_seconds"])
        (key,) = [key for key in waveforms if key[0] == recording and abs(key[1] - start) < 1e-6]
        waveform, seconds, _ = clip_waveform(str(tmp_path / "clips" / line["path"]), SPEC)
        assert np.array_equal(waveform, waveforms[key]), line
        assert seconds == pytest.approx(float(line["end_seconds"]) - start, abs=1e-6)
    with soundfile.SoundFile(next((tmp_path / "clips" / "crow").glob("* %2Dsite*"))) as file:
        assert (file.samplerate, file.channels, file.subtype) == (48_000, 2, "PCM_16")
    with soundfile.SoundFile(next((tmp_path / "clips" / "crow").glob("*deep.flac*"))) as file:
        assert (file.samplerate, file.channels, file.subtype) == (22_050, 1, "PCM_24")


def test_files_say_where_they_are_from_and_how_probable_they_are(recordings, tmp_path):
    rows, _ = windows_of(recordings, SPEC, windowing_of(SPEC))
    lines = cut(job_of(recordings, tmp_path / "clips", 2), rows)
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {
        "crow", "a%2Fb", "%2E%2E", "_silence_", "clips.csv",
    }  # fmt: skip
    assert {line["path"] for line in lines} == content_of(tmp_path / "clips").keys() - {"clips.csv"}
    for label in CLASSES:
        drawn = [line["drawn"] for line in lines if line["label"] == label]
        assert drawn.count(BEST) + drawn.count(BOTH) == drawn.count(EVEN) + drawn.count(BOTH) == 2
    for line in lines:
        name = line["path"].partition("/")[2]
        probability, recording, _, start, unit = name.split(" ")
        assert probability == f"{float(line['probability']):.3f}"
        assert float(start) == pytest.approx(float(line["start_seconds"]), abs=1e-6) and unit == "s.wav"
        assert recording.replace("%2D", "-").replace("%2F", "/") == line["group"].removeprefix("./")


def test_pieces_of_the_windows_change_no_byte(recordings, tmp_path):
    rows, _ = windows_of(recordings, SPEC, windowing_of(SPEC))
    cut(job_of(recordings, tmp_path / "whole", 3), rows)
    with CutOuts(job_of(recordings, tmp_path / "pieces", 3), CLASSES) as output:
        for piece in rows.by_recording():
            output.write(piece)
        output.complete()
        output.finish()
    assert content_of(tmp_path / "whole") == content_of(tmp_path / "pieces")


def test_recordings_that_went_or_changed_are_named_and_left_out(recordings, tmp_path, caplog):
    root = tmp_path / "recordings"
    shutil.copytree(recordings, root)
    rows, _ = windows_of(root, SPEC, windowing_of(SPEC))
    job = job_of(root, tmp_path / "clips", 1_000)
    (root / "plain.wav").unlink()
    write_wav(root / "short.wav", noise(8_000, seed=7))
    lines = cut(job, rows)
    left = len(rows) - int(rows.counts[list(rows.paths).index("plain.wav")]) - 1
    assert len(lines) == left * len(CLASSES)
    assert "no cut-outs of plain.wav: missing, No such file" in caplog.text
    assert "no cut-outs of short.wav: vanished, it is not the file any more that was labelled" in caplog.text
    check_cut_outs_folder(str(job.folder), overwrite=True)  # the table is of what was written


def test_a_folder_appears_whole_or_not_at_all(recordings, tmp_path, monkeypatch):
    rows, _ = windows_of(recordings, SPEC, windowing_of(SPEC))
    job = job_of(recordings, tmp_path / "clips", 2)
    old = tmp_path / "clips.4711-abcd.partial"  # of a run that was killed
    (old / "crow").mkdir(parents=True)
    with pytest.raises(RuntimeError), monkeypatch.context() as patch:
        calls = iter(range(9))
        patch.setattr(cut_outs, "wav_file", lambda *_: b"" if next(calls) < 8 else stop())
        cut(job, rows)
    assert os.listdir(tmp_path) == []
    cut(job, rows)
    assert os.listdir(tmp_path) == ["clips"]


def stop():
    raise RuntimeError("killed")


def test_what_score_has_not_written_is_never_replaced(recordings, tmp_path):
    rows, _ = windows_of(recordings, SPEC, windowing_of(SPEC))
    folder = tmp_path / "clips"
    check_cut_outs_folder(str(folder), overwrite=False)
    folder.mkdir()
    (folder / "crow").mkdir()
    check_cut_outs_folder(str(folder), overwrite=False)  # there is no file in it
    lines = cut(job_of(recordings, folder, 2), rows)
    with pytest.raises(UsageError, match=r"exists; give another folder, or --overwrite"):
        check_cut_outs_folder(str(folder), overwrite=False)
    check_cut_outs_folder(str(folder), overwrite=True)
    (folder / lines[0]["path"]).rename(folder / "_silence_" / "moved.wav")  # sorted by hand
    with pytest.raises(UsageError, match=r"is not as score has written it \(_silence_/moved.wav was not\)"):
        check_cut_outs_folder(str(folder), overwrite=True)
    (folder / "_silence_" / "moved.wav").unlink()
    with pytest.raises(UsageError, match=r"crow/.* is not there any more\)"):
        check_cut_outs_folder(str(folder), overwrite=True)
    (folder / "clips.csv").write_text("other\n1\n")
    with pytest.raises(UsageError, match="is not the table of cut-outs"):
        check_cut_outs_folder(str(folder), overwrite=True)
    with pytest.raises(UsageError, match=r"holds -site/20260612_040000\.wav, which is no cut-out"):
        check_cut_outs_folder(str(recordings), overwrite=True)
    for path, message in [
        ("s3://bucket/clips", "in a store"),
        (str(recordings / "plain.wav"), "is a file"),
        (str(tmp_path / "none" / "clips"), "no folder for --clips"),
    ]:
        with pytest.raises(UsageError, match=message):
            check_cut_outs_folder(path, overwrite=True)


def test_options_that_cannot_be_used_are_refused(recordings, tmp_path):
    ClipOptions(str(tmp_path / "clips")).check(str(recordings), overwrite=False)
    ClipOptions(str(tmp_path / "clips")).check(str(recordings / "plain.wav"), overwrite=False)
    for options, message in [
        (ClipOptions(None, 3), "give --clips DIR"),
        (ClipOptions(str(tmp_path / "clips"), 0), "--per-class is 1 to 10,000, not 0"),
        (ClipOptions(str(recordings / "clips")), "lies within --input"),
    ]:
        with pytest.raises(UsageError, match=message):
            options.check(str(recordings), overwrite=False)


@pytest.mark.data
def test_cut_outs_of_real_recordings_have_the_waveforms_of_their_windows(data, tmp_path):
    """MP3 and FLAC of two minutes among them, 256 kHz of bats, and recorders' headers."""
    root, windowing = data / "field_recordings", windowing_of(SPEC, 0.7, "overlap")
    rows, waveforms = windows_of(root, SPEC, windowing)
    lines = cut(job_of(root, tmp_path / "clips", 12, windowing=windowing), rows)
    assert len({line["group"] for line in lines}) > 5
    assert {Path(line["group"]).suffix for line in lines} == {".wav", ".flac", ".mp3"}
    for line in lines:
        start = float(line["start_seconds"])
        (key,) = [key for key in waveforms if key[0] == line["group"] and abs(key[1] - start) < 1e-6]
        waveform, _, _ = clip_waveform(str(tmp_path / "clips" / line["path"]), SPEC)
        assert np.array_equal(waveform, waveforms[key]), line
