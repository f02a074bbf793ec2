"""Windows of annotated recordings as clips: which there are, which label each takes, and which are background."""

from itertools import pairwise

import numpy as np
import pytest

from features.audio.decode import AudioInfo
from features.errors import NothingUsableError, UsageError
from features.frontend.presets import load_preset
from features.frontend.waveform import source_frames
from features.frontend.windows import num_windows, windowing_of
from features.sources.formats.annotated import Annotated, scan_annotated
from features.sources.formats.window_grid import WindowGrid
from features.sources.listing import InputFormat, list_labelled
from features.sources.table_layout import TableLayout
from features.sources.table_times import frame_at
from tests.features.sources.formats.sounds import RATE, clips_of
from tests.signals import noise, write_wav

GRID = WindowGrid(16_000, 16_000)  # of a second
SPEC = load_preset("log-mel-40").spec


def put(folder, name, seconds=5.0):
    path = folder / "recordings" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, noise(round(seconds * RATE)), RATE)


def track(folder, name, *lines):
    path = folder / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))


def scan(folder, layout=None, **settings):
    annotated = Annotated(str(folder / "labels"), settings.pop("grid", GRID), **settings)
    return scan_annotated(str(folder / "recordings"), layout or TableLayout(), annotated)


def seconds_of(source):
    return [(path, start / RATE, duration / RATE, label) for path, start, duration, label in clips_of(source)]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("seconds", [0.0, 1 / 48_000, 0.04, 0.05, 0.06, 0.999, 1.0, 1.0001, 2.04, 2.05, 2.06, 3.7])
def test_windows_are_those_that_scoring_has(rate_hz, seconds):
    for less in (-1, 0, 1):
        frames = max(0, round(seconds * rate_hz) + less)
        count = num_windows(AudioInfo(frames, 1, rate_hz), SPEC, windowing_of(SPEC))
        edges = [source_frames(number * SPEC.clip_samples, SPEC, rate_hz) for number in range(count + 1)]
        assert list(GRID.windows(frames, rate_hz)) == [(begin, min(end, frames)) for begin, end in pairwise(edges)]


@pytest.mark.parametrize(
    ("start", "end", "taken"),
    [
        (0.0, 1.0, [0]),
        (0.25, 0.75, [0]),
        (0.5, 1.5, [0, 1]),  # half of it in each
        (0.51, 1.51, [1]),
        (0.2, 2.6, [0, 1, 2]),  # of a long one, half of the window
        (0.6, 2.4, [1]),
        (0.95, 1.05, [0, 1]),
        (0.96, 1.06, [1]),
        (2.0, 2.0, [2]),  # a point
        (2.999, 2.999, [2]),
        (4.9, 9.0, [4]),  # it ends with the recording
        (-0.05, 0.3, [0]),
    ],
)
def test_a_window_takes_the_label_that_covers_half_of_the_shorter_of_the_two(tmp_path, start, end, taken):
    put(tmp_path, "a.wav")
    track(tmp_path, "a.txt", (start, end, "owl"))
    source = scan(tmp_path)
    assert seconds_of(source) == [("a.wav", float(number), 1.0, "owl") for number in taken]
    # A plain reference: samples of 0 and 1.
    said = np.zeros(5 * RATE, bool)
    said[max(0, round(start * RATE)) : round(end * RATE)] = True
    covered = said.reshape(5, RATE).sum(axis=1)
    if said.any():
        assert taken == list(np.flatnonzero(2 * covered >= min(RATE, said.sum())))


@pytest.mark.parametrize(
    ("least", "start", "end", "taken"),
    [(0.2, 0.8, 2.1, [0, 1]), (0.2, 0.81, 2.2, [1, 2]), (1.0, 0.5, 2.9, [1]), (0.9, 0.3, 0.4, [0]), (0.1, 0.95, 1.05,
    [])],
)  # fmt: skip
def test_the_least_overlap_is_that_of_the_option_or_all_of_what_is_shorter(tmp_path, least, start, end, taken):
    put(tmp_path, "a.wav")
    track(tmp_path, "a.txt", (start, end, "owl"), (4, 5, "frog"))
    source = scan(tmp_path, min_overlap_seconds=least)
    assert seconds_of(source)[:-1] == [("a.wav", float(number), 1.0, "owl") for number in taken]


def test_two_labels_in_a_window_are_a_reject_that_names_both(tmp_path):
    put(tmp_path, "a.wav")
    track(tmp_path, "a.txt", (0, 2, "owl"), (1.2, 1.4, "wren"), (2, 3, "owl"), (2.1, 2.3, "owl"), (3.4, 4.1, "frog"))
    source = scan(tmp_path, background_share=1)
    assert [row[1:] for row in seconds_of(source)] == [(0, 1, "owl"), (2, 1, "owl"), (3, 1, "frog")]
    [reject] = source.rejects
    assert (reject.path, reject.reason, reject.start, reject.duration) == ("a.wav", "bad_label", RATE, RATE)
    assert "'owl' (a.txt, line 1) and 'wren' (a.txt, line 2)" in reject.message
    assert source.left_out == {"windows with too little of an annotation": 1}


def test_a_share_of_the_windows_without_a_label_is_background_whatever_else_there_is(tmp_path):
    for name in ("a", "b"):
        put(tmp_path, f"{name}.wav", 200)
        track(tmp_path, f"{name}.txt", (0, 1, "owl"))
    every = scan(tmp_path, background_share=1.0, background_label="nothing")
    assert len(every.clips) == 400
    some = scan(tmp_path, background_share=0.25, background_label="nothing")
    chosen = {row for row in clips_of(some) if row[3] == "nothing"}
    assert 70 < len(chosen) < 130
    assert some.left_out == {"windows without a label": 398 - len(chosen)}
    more = scan(tmp_path, background_share=0.4, background_label="nothing")
    assert chosen < set(clips_of(more))
    put(tmp_path, "0.wav", 100)
    track(tmp_path, "0.txt")
    assert chosen == {row for row in clips_of(scan(tmp_path, background_share=0.25, background_label="nothing"))
                      if row[0] != "0.wav" and row[3] == "nothing"}  # fmt: skip
    assert scan(tmp_path).left_out["windows without a label"] == 498
    assert (
        some.rule
        == "windows of 1 s, labelled from half of the shorter of window and annotation, 0.25 of those without are "
        "nothing"
    )


def test_recordings_without_a_file_are_left_out_and_an_empty_file_is_a_recording_without_labels(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        put(tmp_path, name, 2.0)
    track(tmp_path, "a.txt", (0, 1, "owl"))
    track(tmp_path, "b.Table.1.selections.txt", ("Selection", "Begin Time (s)", "End Time (s)", "Annotation"))
    source = scan(tmp_path, background_share=1)
    assert seconds_of(source) == [("a.wav", 0, 1, "owl"), ("a.wav", 1, 1, "background"), ("b.wav", 0, 1, "background"),
                                  ("b.wav", 1, 1, "background")]  # fmt: skip
    assert source.left_out == {"recordings without annotations": 1}
    assert source.described["kind"] == "annotations"
    assert source.described["table"] == str(tmp_path / "labels")


def test_a_table_says_of_which_recording_its_rows_are(tmp_path):
    for name in ("a.wav", "b.wav", "new.wav"):
        put(tmp_path, name)
    header = ("Begin Time (s)", "End Time (s)", "Begin File", "File Offset (s)", "Annotation")
    track(
        tmp_path,
        "all.txt",
        header,
        (0, 1, "a.wav", 0, "owl"),
        (6, 7, "b.wav", 1, "wren"),
        (11, 12, "gone.wav", 1, "frog"),
    )
    track(tmp_path, "new.Table.1.selections.txt", header, (2, 3, "old.wav", 2, "frog"))
    source = scan(tmp_path)
    assert [row[:2] + row[3:] for row in seconds_of(source)] == [
        ("a.wav", 0, "owl"),
        ("b.wav", 1, "wren"),
        ("new.wav", 2, "frog"),
    ]
    [reject] = source.rejects
    assert (reject.path, reject.reason) == ("all.txt, line 4", "missing")
    assert reject.message == "there is no recording gone.wav"


def test_what_cannot_be_used_is_a_reject_that_names_its_place(tmp_path):
    put(tmp_path, "a.wav")
    (tmp_path / "recordings" / "broken.wav").write_bytes(b"no sound")
    track(tmp_path, "a.txt", (0, 1, "owl"), (2, 1, "owl"), ("x", "y", "z"), (3, 3.5, ""), (7, 8, "owl"), ("3.1", "3.2"))
    track(tmp_path, "broken.txt", (0, 1, "owl"))
    track(tmp_path, "gone.txt", (0, 1, "owl"))
    track(tmp_path, "notes.txt", ("some words",))
    source = scan(tmp_path, background_share=1)
    assert {reject.path: reject.reason for reject in source.rejects} == {
        "a.txt, line 2": "bad_row",
        "a.txt, line 3": "bad_row",
        "a.txt, line 4": "bad_label",
        "a.txt, line 5": "bad_row",
        "a.txt, line 6": "bad_label",
        "broken.wav": "not_audio",
        "gone.txt": "missing",
        "notes.txt": "bad_row",
    }
    # Where an annotation lies that cannot be read, nobody knows; beside them nothing is background.
    assert [row[1] for row in seconds_of(source)] == [0]
    assert source.left_out["windows beside annotations that cannot be read"] == 3
    assert source.left_out["windows with too little of an annotation"] == 1
    track(tmp_path, "a.txt", (0, 1, "owl"), (3, 3.5, ""), (7, 8, "owl"))
    assert [row[1] for row in seconds_of(scan(tmp_path, background_share=1))] == [0, 1, 2, 4]


def test_beside_rows_of_a_recording_that_is_not_there_nothing_is_background(tmp_path):
    put(tmp_path, "a.wav")
    put(tmp_path, "b.wav")
    columns = ("Begin Time (s)", "End Time (s)", "Annotation", "Begin File", "File Offset (s)")
    rows = (0, 1, "owl", "gone.wav", 0), (1, 2, "owl", "lost.wav", 1)
    track(tmp_path, "a.selections.txt", columns, *rows)
    track(tmp_path, "b.txt", (0, 1, "owl"))
    source = scan(tmp_path, background_share=1)
    assert {row[0] for row in seconds_of(source)} == {"b.wav"}
    assert [one.message for one in source.rejects] == [f"there is no recording {name}.wav" for name in ("gone", "lost")]
    # A table of many recordings, of which this folder has one, says nothing else of that.
    track(tmp_path, "a.selections.txt", columns)
    track(tmp_path, "all.txt", columns, (0, 1, "owl", "a.wav", 0), *rows)
    assert [row[:2] for row in seconds_of(scan(tmp_path, background_share=1)) if row[0] == "a.wav"][1] == ("a.wav", 1.0)


@pytest.mark.parametrize("rate_hz", [11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("samples", "spec_hz"), [(16_000, 16_000), (15_600, 16_000), (16_538, 22_050)])
def test_half_of_a_window_is_enough_at_any_rate(rate_hz, samples, spec_hz):
    grid = WindowGrid(samples, spec_hz)
    annotated = Annotated("labels", grid)
    windows = list(grid.windows(20 * rate_hz, rate_hz))
    for number in range(1, 15):
        begin, end = (frame_at(count * grid.seconds, rate_hz) for count in (number + 0.5, number + 2))
        taken = [one for one, overlap in grid.overlaps(begin, end, windows, rate_hz)
                 if annotated.is_enough(overlap, end - begin, windows[one][1] - windows[one][0], rate_hz)]  # fmt: skip
        assert taken == [number, number + 1]


def test_what_has_no_meaning_is_refused(tmp_path):
    put(tmp_path, "a.wav")
    for settings, said in (
        ({"min_overlap_seconds": 0}, "above 0 and at most 1 s"),
        ({"min_overlap_seconds": 1.5}, "above 0 and at most 1 s"),
        ({"background_share": 1.1}, "from 0 to 1"),
        ({"background_label": " "}, "the name of a class"),
    ):
        with pytest.raises(UsageError, match=said):
            scan(tmp_path, **settings)
    with pytest.raises(UsageError, match="there is no"):
        scan(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(UsageError, match="has no files that end in"):
        scan(tmp_path)
    with pytest.raises(UsageError, match="files of the file system"):
        Annotated("s3://bucket/labels", GRID)
    track(tmp_path, "a.txt", (0, 0.4, "owl"))
    with pytest.raises(UsageError, match="of recordings of a folder, not of --input-format nemo"):
        list_labelled(str(tmp_path), TableLayout(), InputFormat("nemo", Annotated(str(tmp_path / "labels"), GRID)))
    with pytest.raises(UsageError, match="leave one out"):
        list_labelled(str(tmp_path), TableLayout(), InputFormat(None, Annotated(str(tmp_path), GRID)), "(?P<label>.)")
    with pytest.raises(UsageError, match=r"^--annotations takes --label-column"):
        scan(tmp_path, TableLayout(path_column="x"))
    track(tmp_path, "a.txt", (0, 0.4, ""))
    with pytest.raises(NothingUsableError, match=r"no window of the 1 recording .*: a.txt, line 1: the label is empty"):
        scan(tmp_path)
