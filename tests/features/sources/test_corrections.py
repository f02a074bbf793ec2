"""Reviews on a source: what each row does, what fits no clip, and who disagrees."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest

from features.errors import ClipError, UsageError
from features.frontend.clip import decode_clip
from features.frontend.presets import preset
from features.sources.clip_order import limit
from features.sources.corrections import correct, corrections_sentence
from features.sources.folder import scan
from features.sources.partition import assign
from features.sources.paths import clip_file, escape_path
from features.sources.review import read_review
from features.sources.table import scan_table
from features.sources.table_layout import TableLayout
from tests.features.sources.reviews import write_review
from tests.object_store.upload import upload
from tests.signals import noise, write_wav

RATE_HZ = 8_000
ODD = ['"quoted", b.wav', "two\r\nlines\t.wav", "=1+1.wav", "é\\.wav"]
NOT_UTF8 = b"no/\xff\\.wav"


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes of clips of a second, a longer recording among them."""
    for number, name in enumerate(["a.wav", "b.wav", "c_nohash_0.wav", *ODD]):
        for label in ("no", "yes"):
            write_wav(tmp_path / "words" / label / name, noise(RATE_HZ, seed=number), RATE_HZ)
    os.rename(tmp_path / "words/no/b.wav", os.fsencode(tmp_path / "words") + b"/" + NOT_UTF8)
    write_wav(tmp_path / "words" / "yes" / "long.wav", noise(5 * RATE_HZ + 1, seed=9), RATE_HZ)
    return tmp_path / "words"


@pytest.fixture
def table(tmp_path) -> Path:
    """Parts of two recordings, with groups and partitions; a third has none."""
    for name in ("r.wav", "s.wav", "t.wav"):
        write_wav(tmp_path / "recordings" / name, noise(6 * RATE_HZ, seed=1), RATE_HZ)
    path = tmp_path / "recordings" / "clips.csv"
    path.write_text(
        "path,begin,end,label,group,fold\n"
        "r.wav,0.0,1.00005,owl,night,1\nr.wav,2.5001,3.1,crow,night,1\ns.wav,1,2,owl,dawn,2\ns.wav,3,9,crow,dusk,3\n"
    )
    return path


def of_table(path):
    return scan_table(str(path), TableLayout(start_column="begin", end_column="end"))


def read_all(folder, reviews):
    return [read_review(str(write_review(folder / f"review{number}.csv", rows)))
            for number, rows in enumerate(reviews, start=1)]  # fmt: skip


def corrected(source, *reviews, folder, is_divided=False):
    found, taken = correct(source, read_all(folder, reviews), is_divided=is_divided)
    assert taken is None
    return found


def clips_of(source):
    return {(row["path"], row["start"]): row for row in source.clips.to_pylist()}


def counts(source):
    return {name: source.corrections[name] for name in ("relabelled", "left_out", "added", "right")}


def refusal(source, *reviews, folder, **options):
    with pytest.raises(UsageError) as error:
        corrected(source, *reviews, folder=folder, **options)
    return str(error.value)


def test_a_row_keeps_changes_leaves_out_or_adds(root, tmp_path):
    source = scan(str(root), labelled=True)
    rows = [
        ("yes/a.wav", 0, 1, "yes", "right"),
        ("yes/b.wav", 0, 1, "yes", "wrong", "no"),
        ("no/a.wav", 0, 1, "no", "wrong"),
        ("yes/long.wav", 0, 5.000125, "yes", "right"),
        ("yes/long.wav", 1.5, 2.5, "yes", "right"),
        ("yes/long.wav", 2.5, 3.5, "no", "wrong", "maybe"),
        ("yes/long.wav", 3.5, 4.5, "no", "wrong"),
        ("yes/long.wav", 0, 1, "no", "wrong"),
        ("yes/long.wav", 4.5, 5.5, "yes", "right"),
    ]
    result = corrected(source, rows, folder=tmp_path)
    assert counts(result) == {"relabelled": 1, "left_out": 1, "added": 3, "right": 2}
    before, after = clips_of(source), clips_of(result)
    new = {("yes/long.wav", 12_000): (8_000, "yes"), ("yes/long.wav", 20_000): (8_000, "maybe"),
           ("yes/long.wav", 36_000): (4_001, "yes")}  # fmt: skip
    assert {key: (after[key]["duration"], after[key]["label"]) for key in after.keys() - before.keys()} == new
    assert before.keys() - after.keys() == {("no/a.wav", 0)}
    changed = {key: row["label"] for key, row in after.items() if key in before and row != before[key]}
    assert changed == {("yes/b.wav", 0): "no"}
    for key in new:  # the file is the one of its other clip
        assert {name: after[key][name] for name in ("size", "mtime_ns")} == {
            name: before["yes/long.wav", 0][name] for name in ("size", "mtime_ns")
        }
    order = [(row["path"], row["start"]) for row in result.clips.to_pylist() if "long" in row["path"]]
    assert order == sorted(order)
    assert result.notes == [f"no clip of the source has these labels, which the corrections make classes: 'maybe' "
                            f"({tmp_path}/review1.csv, line 7; there are no, yes)"]  # fmt: skip
    assert corrections_sentence(result.corrections) == " 1 label corrected, 1 clip left out, 3 windows added."


def test_a_review_without_rows_changes_nothing(root, tmp_path):
    source = scan(str(root), labelled=True)
    result = corrected(source, [], folder=tmp_path)
    assert result.clips.equals(source.clips) and result.notes == source.notes == []
    assert set(counts(result).values()) == {0}
    assert corrections_sentence(None) == ""


def test_paths_are_found_however_csv_has_to_hold_them(root, tmp_path):
    source = scan(str(root), labelled=True)
    names = [*(escape_path(os.fsencode(f"no/{name}")) for name in ODD), escape_path(NOT_UTF8)]
    assert corrected(source, [(name, 0, 1, "no", "wrong", "yes") for name in names], folder=tmp_path).corrections[
        "relabelled"
    ] == len(names)
    absolute = corrected(source, [(f"{root}/./no/../yes/a.wav", 0, 1, "yes", "wrong", "no")], folder=tmp_path)
    assert clips_of(absolute)["yes/a.wav", 0]["label"] == "no"


def test_times_are_frames_as_those_of_tables(table, tmp_path):
    source = of_table(table)
    clips = source.clips.to_pylist()
    assert [(clip["start"], clip["duration"]) for clip in clips] == [
        (0, 8_000), (20_001, 4_799), (8_000, 8_000), (24_000, 48_000),
    ]  # fmt: skip
    # As a page of the set has them: six digits, and a clip ends where its recording does.
    rows = [(clip["path"], round(clip["start"] / RATE_HZ, 6), round(min(clip["start"] + clip["duration"], 48_000)
             / RATE_HZ, 6), clip["label"], "wrong", f"not {clip['label']}") for clip in clips]  # fmt: skip
    assert corrected(source, rows, folder=tmp_path).corrections["relabelled"] == 4
    # And as the table has them: its end is rounded by itself there.
    rows = [("r.wav", 2.5001, 3.1, "crow", "right"), ("s.wav", 3, 9, "crow", "right")]
    assert counts(corrected(source, rows, folder=tmp_path)) == {
        "relabelled": 0, "left_out": 0, "added": 0, "right": 2,
    }  # fmt: skip


@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
def test_an_end_may_be_off_by_rounding_alone(table, tmp_path, off):
    row = ("s.wav", 1, (16_000 + off) / RATE_HZ, "owl", "wrong", "crow")
    if abs(off) < 2:
        assert corrected(of_table(table), [row], folder=tmp_path).corrections["relabelled"] == 1
        return
    said = refusal(of_table(table), [row], folder=tmp_path)
    assert f"review1.csv, line 2: s.wav from 1.000000 to {row[2]:.6f} s is not a clip of {table}" in said
    assert "what begins there ends at 2.000000" in said
    # What would do nothing anyway needs no place.
    assert set(counts(corrected(of_table(table), [(*row[:4], "wrong")], folder=tmp_path)).values()) == {0}


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_start_is_a_clip_to_the_frame(table, tmp_path, off):
    row = ("s.wav", (8_000 + off) / RATE_HZ, 2, "owl", "right")
    assert corrected(of_table(table), [row], folder=tmp_path).corrections["added"] == (off != 0)


def test_windows_take_group_and_partition_of_the_clips_of_their_recording(table, tmp_path):
    source = of_table(table)
    result = corrected(source, [("r.wav", 4, 5, "owl", "right")], folder=tmp_path, is_divided=True)
    clip = clips_of(result)["r.wav", 32_000]
    assert (clip["group"], clip["partition"], clip["duration"]) == ("night", "fold-1", 8_000)
    for name, several in (("s.wav", "clips of several partitions"), ("t.wav", "no clip")):
        rows = [(name, 4, 5, "owl", "right")]
        said = refusal(source, rows, folder=tmp_path, is_divided=True)
        assert f"review1.csv, line 2: {name} from 4.000000" in said and f"the source has {several}" in said
        assert said.endswith("or divide the clips anew by --split")
        clips = corrected(source, rows, folder=tmp_path).clips
        clips, _ = assign(clips, source.root, None, (80, 10, 10))
        [clip] = [row for row in clips.to_pylist() if row["path"] == name and row["start"] == 32_000]
        assert clip["group"] == name, "the path, as of a recording that the table gives none"


def test_a_limit_takes_clips_of_the_source_and_windows_besides(root, tmp_path):
    source = scan(str(root), labelled=True)
    number = 6
    taken = [(row["path"], row["start"]) for row in limit(source.clips, number).to_pylist()]
    others = [key for key in clips_of(source) if key not in taken and "long" not in key[0]]
    rows = [(path, 0, 1, path.split("/")[0], "wrong", *correct)
            for (path, _), *correct in [(taken[0], "x"), (taken[1],), (others[0], "x"), (others[1],)]
            if "long" not in path]  # fmt: skip
    rows.append(("yes/long.wav", 1, 2, "yes", "right"))
    result, is_taken = correct(source, read_all(tmp_path, [rows]), number)
    assert counts(result) == {"relabelled": 1, "left_out": 1, "added": 1, "right": 0}
    clips = [(row["path"], row["start"]) for row in result.clips.to_pylist()]
    found = set(itertools.compress(clips, is_taken))
    assert len(is_taken) == len(clips)
    assert found == {*taken, ("yes/long.wav", 8_000)} - {taken[1]}


def test_a_clip_has_the_label_that_was_judged(root, tmp_path):
    source = scan(str(root), labelled=True)
    said = refusal(source, [("yes/a.wav", 0, 1, "no", "wrong", "yes")], folder=tmp_path)
    assert said == (f"{tmp_path}/review1.csv, line 2: 'no' was judged of yes/a.wav from 0.000000 to 1.000000 s, and by "
                    f"{root} that has the label 'yes'; judge a page of this set, or leave the line out")  # fmt: skip
    # The page of a set that was corrected has the label that an earlier review made of it.
    first = [("yes/a.wav", 0, 1, "yes", "wrong", "no")]
    again = corrected(source, first, [("yes/a.wav", 0, 1, "no", "right")], folder=tmp_path)
    assert counts(again) == {"relabelled": 1, "left_out": 0, "added": 0, "right": 0}
    said = refusal(source, first, [("yes/a.wav", 0, 1, "maybe", "right")], folder=tmp_path)
    assert (
        f"review2.csv, line 2: 'maybe' was judged of yes/a.wav from 0.000000 to 1.000000 s, and by {tmp_path}/" in said
    )
    assert "review1.csv, line 2 that has the label 'no'" in said


def test_who_judges_what_an_earlier_review_made_is_told_how_to_say_it(root, tmp_path):
    source = scan(str(root), labelled=True)
    for path, label in (("yes/a.wav", "yes"), ("yes/long.wav", "x")):
        first, later = (path, 0.0, 1, label, "wrong", "no"), (path, 0.0, 1, "no", "wrong", "maybe")
        if label == "x":  # a window that is no clip yet
            first, later = ((path, 2, 3, *row[3:]) for row in (first, later))
        said = refusal(source, [first], [later], folder=tmp_path)
        assert "review1.csv, line 2, and 'no' is wrong, and 'maybe' correct by" in said
        assert said.endswith("review2.csv, line 2; have the first line say what is correct, and leave the second out")
        corrected(source, [(*first[:5], "maybe")], [], folder=tmp_path)  # as it says


# What may be said of a label `a`, and what it comes to: of a clip with that label, and of a window.
SAID = {"a right": "a", "a wrong b": "b", "a wrong c": "c", "a wrong": None}
OF_WINDOWS = {**SAID, "b right": "b", "b wrong": None, "b wrong a": "a"}


@pytest.mark.parametrize("files", [1, 2])
def test_who_disagrees_about_a_clip_is_named(root, tmp_path, files):
    source = scan(str(root), labelled=True)
    for one, other in itertools.product(SAID, repeat=2):
        rows = [("yes/a.wav", 0, 1, *said.replace("a ", "yes ", 1).split()) for said in (one, other)]
        reviews = [rows] if files == 1 else [[row] for row in rows]
        if SAID[one] == SAID[other]:
            found = clips_of(corrected(source, *reviews, folder=tmp_path)).get(("yes/a.wav", 0), {"label": None})
            assert found["label"] == {"a": "yes"}.get(SAID[one], SAID[one])
            continue
        said = refusal(source, *reviews, folder=tmp_path)
        places = ("review1.csv, line 2", "review1.csv, line 3" if files == 1 else "review2.csv, line 2")
        assert "two judgements of yes/a.wav from 0.000000 to 1.000000 s disagree" in said
        assert all(place in said for place in places), said


def agree(*said):
    """Returns whether there is one label, or none, that all of these leave a window."""
    outcomes = {OF_WINDOWS[one] for one in said} - {None}
    refuted = {one.split()[0] for one in said if one.split()[1] == "wrong"}
    return len(outcomes) < 2 and not outcomes & refuted


def test_who_disagrees_about_a_window_is_named_in_any_order(root, tmp_path):
    source = scan(str(root), labelled=True)
    disagreed = 0
    for one, other in itertools.product(OF_WINDOWS, repeat=2):
        rows = [("yes/long.wav", 2, 3, *said.split()) for said in (one, other)]
        if agree(one, other):
            clip = clips_of(corrected(source, rows, folder=tmp_path)).get(("yes/long.wav", 16_000))
            assert (clip and clip["label"]) == (OF_WINDOWS[one] or OF_WINDOWS[other])
            continue
        said = refusal(source, rows, folder=tmp_path)
        assert "two judgements of yes/long.wav from 2.000000 to 3.000000 s disagree" in said
        assert "line 2" in said and "line 3" in said
        disagreed += 1
    assert 10 < disagreed < len(OF_WINDOWS) ** 2


def test_a_window_that_is_no_clip_is_in_the_way_of_none_in_any_order(root, tmp_path):
    source = scan(str(root), labelled=True)
    longer, shorter = ("yes/long.wav", 2, 3, "yes", "right"), ("yes/long.wav", 2, 2.5, "no", "wrong")
    for rows in itertools.permutations([longer, shorter, (*shorter[:3], "yes", "wrong")]):
        clips = clips_of(corrected(source, rows, folder=tmp_path))
        assert clips["yes/long.wav", 16_000]["duration"] == RATE_HZ
    for rows in itertools.permutations([shorter, longer, (*longer[:4], "wrong")]):
        assert "from 2.000000 to 3.000000 s disagree" in refusal(source, rows, folder=tmp_path)
    for rows in itertools.permutations([longer, (*shorter, "maybe")]):
        assert "a path and a start name one clip" in refusal(source, rows, folder=tmp_path)


def test_recordings_that_are_not_below_the_root_are_counted(root, tmp_path):
    source = scan(str(root), labelled=True)
    write_wav(tmp_path / "outside.wav", noise(RATE_HZ), RATE_HZ)
    rows = [
        ("yes/a.wav", 0, 1, "yes", "right"),
        ("gone.wav", 0, 1, "yes", "wrong"),
        ("../outside.wav", 0, 1, "yes", "right"),
        (f"{tmp_path}/outside.wav", 0, 1, "yes", "right"),
        ("s3://bucket/a.wav", 0, 1, "yes", "right"),
        ("gone.wav", 1, 2, "yes", "right"),
    ]
    said = refusal(source, rows[:4] + rows[5:], folder=tmp_path)
    assert f"review1.csv, line 3: what is corrected is a clip of {root}" in said
    assert "gone.wav is not there, as are the recordings of 3 other lines" in said
    assert "pipelines.score --clips DIR cuts windows of other recordings out" in said
    for row, why in ((rows[2], "outside.wav lies elsewhere; "), (rows[3], "outside.wav lies elsewhere; ")):
        assert why in refusal(source, [row], folder=tmp_path)


def test_recordings_and_windows_that_hold_no_sound(root, tmp_path):
    source = scan(str(root), labelled=True)
    (root / "yes" / "text.wav").write_text("no sound")
    said = refusal(source, [("yes/text.wav", 0, 1, "yes", "right")], folder=tmp_path)
    assert "review1.csv, line 2: yes/text.wav cannot be read (not_audio, " in said
    said = refusal(source, [("yes/long.wav", 5.000125, 6, "yes", "right")], folder=tmp_path)
    assert "begins past the end of the recording, 5.000125 s" in said
    last = corrected(source, [("yes/long.wav", 5, 6, "yes", "right")], folder=tmp_path)
    assert clips_of(last)["yes/long.wav", 40_000]["duration"] == 1
    every = [(row["path"], 0, 1 if "long" not in row["path"] else 5.000125, row["label"], "wrong")
             for row in source.clips.to_pylist()]  # fmt: skip
    assert refusal(source, every, folder=tmp_path) == f"the corrections leave no clip of {root}"
    assert len(corrected(source, every[1:], folder=tmp_path).clips) == 1


def test_clips_of_tables_may_lie_outside_of_the_root(tmp_path):
    write_wav(tmp_path / "a.wav", noise(RATE_HZ), RATE_HZ)
    write_wav(tmp_path / "b.wav", noise(RATE_HZ), RATE_HZ)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "clips.csv").write_text(f"path,label\n../a.wav,x\n{tmp_path}/b.wav,y\n")
    source = scan_table(str(tmp_path / "deep" / "clips.csv"), TableLayout())
    rows = [("../a.wav", 0, 1, "x", "wrong", "y"), (f"{tmp_path}/b.wav", 0, 1, "y", "wrong", "x")]
    result = corrected(source, rows, folder=tmp_path)
    assert [row["label"] for row in result.clips.to_pylist()] == ["y", "x"]


def test_recordings_of_a_store_are_corrected_as_those_of_a_folder(tmp_path, s3):
    root = tmp_path / "words"
    for number, name in enumerate(("yes/b.wav", "no/=é.wav", "yes/long.wav")):
        write_wav(root / name, noise(3 * RATE_HZ, seed=number), RATE_HZ)
    rows = [
        ("yes/b.wav", 0, 3, "yes", "wrong", "no"),
        ("no/=é.wav", 0, 3, "no", "wrong"),
        ("yes/long.wav", 1.5, 2.5, "yes", "right"),
    ]
    here, there = (scan(place, labelled=True) for place in (str(root), upload(root, f"{s3.uri}/words")))
    both = [corrected(source, rows, folder=tmp_path) for source in (here, there)]
    known = [result.clips.drop_columns(["mtime_ns", "version"]).to_pylist() for result in both]
    assert known[0] == known[1] and len(known[0]) == 3
    assert counts(both[0]) == counts(both[1]) == {"relabelled": 1, "left_out": 1, "added": 1, "right": 0}
    versions = {row["version"] for row in both[1].clips.to_pylist() if row["path"] == "yes/long.wav"}
    assert len(versions) == 1 and None not in versions
    assert "gone.wav is not there" in refusal(there, [("gone.wav", 0, 1, "yes", "right")], folder=tmp_path)


@pytest.mark.data
def test_whole_recordings_of_many_formats_end_where_their_clips_do(data, tmp_path):
    source = scan(str(data / "odd_audio"), labelled=True, pattern="^(?P<label>[^_]+)__")
    spec = preset("log-mel-40")
    rows = []
    for clip in source.clips.to_pylist()[::3]:
        with contextlib.suppress(ClipError):
            seconds = decode_clip(clip_file(source.root, clip["path"]), spec).seconds
            rows.append((clip["path"], 0, seconds, clip["label"], "wrong", "other"))
    assert counts(corrected(source, rows, folder=tmp_path))["relabelled"] == len(rows) > 20
