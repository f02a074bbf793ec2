"""An output of a folder that grows: what is new is scored, and the bytes are those of a run from nothing."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import RunError, UsageError
from model.labels.events import EventOptions
from model.scoring.label_windows import LabelJob
from model.scoring.options import ClipOptions, EmbeddingOptions
from model.scoring.request import Request
from model.scoring.scorer import BatchSize, RunBatches, score
from tests.model.scoring.test_scorer import label_here
from tests.pipelines.conftest import files_of
from tests.signals import noise, write_wav

# Figures of what a run has done, and not of what is there after it.
OF_THE_RUN = ("seconds", "clips_per_second", "start_times", "events", "removed", "kept", "new", "new_clips",
              "new_audio_seconds", "lines", "lines_left_out")  # fmt: skip
FORMS = ("labels.csv", "labels.parquet", "labels.jsonl")


def not_called(job: LabelJob, windows: Mapping[int, BatchSize]) -> None:
    raise AssertionError("nothing is to be labelled")


def add(source: Path, name: str, seconds: float, seed: int = 0) -> None:
    write_wav(source / name, noise(int(seconds * 4_000), seed=seed), 4_000)


def files(folder: Path) -> dict[str, bytes]:
    """The files of an output, which may stand beside its source."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("labels")}


def of_the_output(figures: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in figures.items() if name not in OF_THE_RUN}


@pytest.fixture
def grown(tmp_path) -> Path:
    """A folder with a source of a few recordings; two of them cannot be used and one is silent."""
    source = tmp_path / "source"
    for number, name in enumerate(("b.wav", "d/e.wav", "f.wav")):
        add(source, name, 2.5 + number, number)
    write_wav(source / "silent.wav", np.zeros(8_000, np.float32), 4_000)
    (source / "empty.wav").write_bytes(b"")
    (source / "text.wav").write_bytes(b"no sound " * 20)
    return tmp_path


def change(source: Path, step: int) -> None:
    """Adds, changes and removes recordings, each step others."""
    if step == 1:
        add(source, "a.wav", 1, 11)
        add(source, "c, =1.wav", 20, 12)
        add(source, "z.wav", 2, 13)
        add(source, "b.wav", 3, 14)
        (source / "f.wav").unlink()
        add(source, "empty.wav", 2, 15)
    elif step == 2:
        for name in ("a.wav", "z.wav"):
            (source / name).unlink()
    elif step == 3:
        write_wav(source / "zz.wav", np.zeros(8_000, np.float32), 4_000)
        (source / "d" / "text.wav").write_bytes(b"no sound")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labels.csv", {"events": EventOptions("events.jsonl", smooth=3), "labels": ["audacity"]}),
        ("labels.parquet", {"top": 2, "threshold": 0.335, "embeddings": EmbeddingOptions("embeddings.parquet")}),
    ],
)
def test_what_has_grown_has_the_bytes_of_a_run_from_nothing(grown, untrained, monkeypatch, name, options):
    source, handed_over = grown / "source", []

    def run(job: LabelJob, windows: Mapping[int, BatchSize]) -> None:
        handed_over.append(sum(size.windows for size in windows.values()))
        label_here(job, windows)

    def scored(folder: Path, run: RunBatches) -> dict[str, object]:
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        return score(Request(str(untrained), str(source), str(folder / name), **options), run)

    for step in range(4):
        change(source, step)
        figures, fresh = scored(grown / "grown", run), scored(grown / "fresh", label_here)
        assert files_of(grown / "grown") == files_of(grown / "fresh")
        assert len(files_of(grown / "fresh")) == (5 + fresh["scored"] if "labels" in options else 5)
        assert of_the_output(figures) == of_the_output(fresh)
        assert (figures["kept"], figures["removed"]) == ((0, 0), (3, 1), (6, 2), (6, 0))[step]
        shutil.rmtree(grown / "fresh")
    # All, what is new or has changed, nothing, and the silent one.
    assert handed_over == [14, 28, 2]


def test_where_nothing_is_new_nothing_is_labelled_or_written(grown, untrained, caplog):
    events = EventOptions(str(grown / "labels-events.csv"))
    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"), events=events, labels=["raven"])
    first = score(request, label_here)
    of_tables = ("labels.csv*", "labels-events.csv", "labels.raven/**/*")
    before = {path: path.stat().st_ino for pattern in of_tables for path in grown.glob(pattern)}
    with caplog.at_level("INFO", "soundmill"):
        again = score(request, not_called)
    assert f"nothing is new: 6 recordings as {grown / 'labels.csv'} has them" in caplog.text
    assert {path: path.stat().st_ino for pattern in of_tables for path in grown.glob(pattern)} == before
    assert [first[name] for name in OF_THE_RUN[5:]] == [0, 6, 14, first["audio_seconds"], 14, 0]
    assert [again[name] for name in OF_THE_RUN[4:]] == [0, 6, 0, 0, 0, 0, 0]
    assert of_the_output(again) == of_the_output(first)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"top": 2}, "--top was 1 and is 2"),
        ({"threshold": 0.5}, "--threshold was 0.0 and is 0.5"),
        ({"probabilities": True}, "--probabilities was false and is true"),
        ({"min_window_seconds": 0.0}, "--min-window-seconds was 0.05 and is 0.0"),
        ({"policies": {"truncated": "keep", "silent": "reject"}}, '--silent was "keep" and is "reject"'),
    ],
)
def test_other_options_are_refused_and_named(grown, untrained, options, named):
    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"))
    score(request, label_here)
    before = files(grown)
    other = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"), **options)
    with pytest.raises(UsageError) as error:
        score(other, not_called)
    assert f"was made otherwise, and cannot be gone on from: {named}. --overwrite" in str(error.value)
    assert files(grown) == before


def test_another_file_or_table_of_the_same_folder_is_no_change_of_the_first(grown, untrained):
    """Else the labels of the one would leave for those of the other."""
    source, output = grown / "source", grown / "labels.csv"
    (source / "one.csv").write_text("path\nb.wav\n")
    (source / "other.csv").write_text("path\nf.wav\n")
    for first, other in (("b.wav", "f.wav"), ("one.csv", "other.csv")):
        score(Request(str(untrained), str(source / first), str(output), overwrite=True), label_here)
        before = files(grown)
        with pytest.raises(UsageError, match=f"--input was .*{first}.* and is .*{other}"):
            score(Request(str(untrained), str(source / other), str(output)), not_called)
        assert files(grown) == before


def test_outputs_of_others_are_not_replaced_since_a_run_was_killed(grown, untrained):
    def dies(job: LabelJob, windows: Mapping[int, BatchSize]) -> None:
        raise RunError("killed")

    events = EventOptions(str(grown / "labels-mine.csv"))
    with pytest.raises(RunError, match="killed"):
        score(Request(str(untrained), str(grown / "source"), str(grown / "labels.csv")), dies)
    (grown / "labels-mine.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"labels-mine\.csv exists; give another --events, or --overwrite"):
        score(Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"), events=events), not_called)


def test_no_output_takes_the_place_of_what_is_read(grown, untrained, tmp_path):
    table, allowed = grown / "source" / "table.csv", grown / "allowed.csv"
    table.write_text("path\nb.wav\n")
    allowed.write_text("low\n")
    (grown / "link.csv").symlink_to(table)
    labels = str(grown / "labels.csv")
    for output, events, only in ((str(table), None, None), (labels, str(grown / "link.csv"), None),
                                 (labels, str(allowed), str(allowed))):  # fmt: skip
        request = Request(str(untrained), str(table), output, events=EventOptions(events), only_labels=only,
                          overwrite=True)  # fmt: skip
        with pytest.raises(UsageError, match=r"would be written, and .* is read; give what is written another name"):
            score(request, not_called)


def test_cut_outs_have_a_folder_of_their_own(grown, untrained):
    """It is replaced as a whole: what else is written there would be lost."""
    (grown / "cut").mkdir()
    for output, events, folder in (("cut/labels.csv", None, "cut"), ("labels.csv", "cut/e.csv", "cut"),
                                   ("labels.csv", None, "labels.raven")):  # fmt: skip
        options = EventOptions(events and str(grown / events))
        request = Request(str(untrained), str(grown / "source"), str(grown / output), events=options, labels=["raven"],
                          clips=ClipOptions(str(grown / folder)))  # fmt: skip
        with pytest.raises(UsageError, match=r"takes cut-outs alone, and .* would lie there; give another folder"):
            score(request, not_called)
        assert not list(grown.glob("labels*")) and not list((grown / "cut").iterdir())


def test_another_version_is_refused_and_overwrite_scores_anew(grown, untrained, monkeypatch):
    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"))
    score(request, label_here)
    monkeypatch.setattr("model.scoring.scorer.library_versions", lambda *_: {"numpy": "9.9"})
    with pytest.raises(UsageError, match=r'made otherwise.*the version of numpy was "[\d.]+" and is "9\.9"'):
        score(request, not_called)
    anew = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"), overwrite=True)
    assert (score(anew, label_here)["kept"], score(request, not_called)["kept"]) == (0, 6)


@pytest.mark.parametrize("name", FORMS)
def test_an_output_that_was_edited_is_refused(grown, untrained, name):
    request = Request(str(untrained), str(grown / "source"), str(grown / name))
    score(request, label_here)
    content = (grown / name).read_bytes()
    (grown / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match="is not as score has written it: somebody has changed it since; --overwrite"):
        score(request, not_called)
    (grown / f"{name}.manifest.parquet").unlink()
    with pytest.raises(UsageError, match="exists; give another --output, or --overwrite"):
        score(request, not_called)
    (grown / f"{name}.manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="exists, and nothing beside it says what made it"):
        score(request, not_called)


def test_a_file_of_a_recording_that_is_gone_is_named(grown, untrained):
    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"), labels=["audacity"])
    score(request, label_here)
    (grown / "labels.audacity" / "d" / "e.wav.txt").unlink()
    before = (grown / "labels.csv").read_bytes()
    for _ in range(2):  # nothing else is new, and something is
        with pytest.raises(UsageError, match=r"labels\.audacity has no d/e\.wav\.txt any more.*--overwrite scores"):
            score(request, not_called)
        assert (grown / "labels.csv").read_bytes() == before
        add(grown / "source", "new.wav", 1)


def test_a_file_of_a_recording_that_was_edited_is_named(grown, untrained):
    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"), labels=["raven", "audacity"])
    score(request, label_here)
    add(grown / "source", "new.wav", 1)
    assert score(request, label_here)["kept"] == 6  # one file was written now, the others are of the run before
    for name in ("new.wav", "d/e.wav"):
        for form in ("raven", "audacity"):
            file = grown / f"labels.{form}" / f"{name}.txt"
            content = file.read_bytes()
            file.write_bytes(content + b"a line of somebody's own\n")
            with pytest.raises(UsageError, match=rf"labels\.{form}/{name}\.txt is not as score has written it.*--over"):
                score(request, not_called)
            file.write_bytes(content)
    assert score(request, not_called)["kept"] == 7
    manifest = grown / "labels.csv.manifest.parquet"
    table = pq.read_table(manifest)  # as it was before there were checksums
    pq.write_table(table.select([name for name in table.column_names if not name.startswith("checksum_")]), manifest)
    with pytest.raises(UsageError, match=r"kept no checksums of its raven files.*--overwrite scores everything anew"):
        score(request, not_called)


def test_rejects_are_tried_again_where_time_may_heal_them(grown, untrained, monkeypatch):
    from features.audio import recording
    from features.errors import ClipError, Reason

    whole = recording.probe_at

    def slow(path):
        if path.endswith("f.wav"):
            raise ClipError("decode", Reason.TIMEOUT, "decoding took too long and was ended")
        return whole(path)

    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"))
    with monkeypatch.context() as patch:
        patch.setattr(recording, "probe_at", slow)
        assert score(request, label_here)["rejects"] == {"empty": 1, "not_audio": 1, "timeout": 1}
    assert pq.read_table(grown / "labels.csv.manifest.parquet")["windows"].to_pylist() == [3, 4, 0, 0, 2, 0]
    probed = []
    monkeypatch.setattr(recording, "probe_at", lambda path: probed.append(Path(path).name) or whole(path))
    figures = score(request, label_here)
    assert (figures["rejects"], figures["kept"], probed) == ({"empty": 1, "not_audio": 1}, 5, ["f.wav"])


def test_all_that_is_left_being_rejects_is_an_error_that_leaves_the_labels(grown, untrained):
    request = Request(str(untrained), str(grown / "source"), str(grown / "labels.csv"))
    score(request, label_here)
    before = (grown / "labels.csv").read_bytes()
    for name in ("b.wav", "d/e.wav", "f.wav", "silent.wav"):
        (grown / "source" / name).unlink()
    with pytest.raises(RunError, match="every file was rejected, 2 in all"):
        score(request, not_called)
    assert (grown / "labels.csv").read_bytes() == before
    add(grown / "source", "b.wav", 2.5, 0)
    assert score(request, label_here)["scored"] == 1


def killed_at(request: Request, number: int) -> int:
    """Scores in a process that is killed before the file of this number of an output appears; returns its exit code."""

    def work() -> None:
        replace, count = os.replace, 0

        def replace_or_die(partial, path) -> None:
            nonlocal count
            # Of the output, and its manifest beside the parts.
            if not str(path).startswith(f"{request.output}.parts") or "manifest" in str(path):
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
            replace(partial, path)

        os.replace = replace_or_die
        score(request, label_here)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.mark.trial
def test_a_run_that_is_killed_before_any_file_appears_leads_to_the_bytes_of_an_unbroken_one(grown, untrained, tmp_path):
    """Also where the folder has grown once more before the next run, so that tables of two states lie there."""
    source, output = grown / "source", grown / "out"

    def request(folder: Path) -> Request:
        events = EventOptions(str(folder / "events.csv"))
        labels = str(folder / "labels.csv")
        return Request(str(untrained), str(source), labels, events=events, labels=["raven"], executor="litert")

    output.mkdir()
    score(request(output), label_here)
    first = shutil.copytree(output, tmp_path / "first")
    change(source, 1)
    (tmp_path / "fresh").mkdir()
    score(request(tmp_path / "fresh"), label_here)
    expected, number, codes = files_of(tmp_path / "fresh"), 0, []
    while not codes or codes[-1] != 0:
        shutil.rmtree(output)
        shutil.copytree(first, output)
        codes.append(killed_at(request(output), number))
        if number % 3 == 1:  # then two states of what has changed are known
            add(source, "y.wav", 1)
            killed_at(request(output), number)
            (source / "y.wav").unlink()
        score(request(output), label_here)
        assert files_of(output) == expected, f"killed before file {number} appeared"
        number += 1
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    assert len(codes) > 6
