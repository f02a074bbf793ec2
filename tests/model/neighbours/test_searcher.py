import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import soundmill
from features.errors import UsageError
from features.frontend.clip import clip_waveform
from features.frontend.presets import NetworkChoice
from features.frontend.spectrogram import compute_features
from features.store.manifest import load_manifest
from features.update.request import Request as Featurize
from model.neighbours.searcher import Request, search
from model.pictures.neighbours_picture import Panel, neighbours_figure
from model.search import main, parser
from tests.conftest import call, run_command
from tests.features.examples import LOG_MEL, MFCC, STFT, TINY, changed, featurized
from tests.features.networks.small import small_spec, write_small_network
from tests.features.pictures.test_drawing import misplaced
from tests.object_store.upload import upload
from tests.pipelines.sets import PATTERN, begin, featurize
from tests.signals import noise, sine, write_wav

WORD = "low/00000003_nohash_0.wav"
SPECS = {
    "stft": changed(STFT, clip_seconds=0.25),
    "log_mel": changed(LOG_MEL, clip_seconds=0.25, storage_dtype="float16"),
    "mfcc": changed(MFCC, clip_seconds=None, pool="mean"),
}


def rows_of(features, like, **options):
    return search(Request(str(features), str(like), **options)).table.to_pylist()


def expected_of(features, path, top):
    """Paths and similarities by the definition, without shards."""
    opened = soundmill.open_features(features)
    arrays = {one: opened.array(one).ravel().astype(np.float64) for one in opened.clips()["path"].to_pylist()}
    query = arrays.pop(path)
    found = {one: array @ query / np.linalg.norm(array) / np.linalg.norm(query) for one, array in arrays.items()}
    best = sorted(found, key=lambda one: (-found[one], one.encode()))[:top]
    return best, [found[one] for one in best]


@pytest.mark.parametrize("front_end", SPECS)
def test_any_front_end_is_searched_and_the_clip_itself_is_left_out(front_end, words, tmp_path):
    few = tmp_path / "few"
    for clip in sorted(words.glob("*/0000000?_nohash_0.wav")):
        (few / clip.parent.name).mkdir(parents=True, exist_ok=True)
        (few / clip.parent.name / clip.name).symlink_to(clip)
    featurized(few, tmp_path / "set", SPECS[front_end])
    rows = rows_of(tmp_path / "set", WORD, top=7)
    paths, similarity = expected_of(tmp_path / "set", WORD, 7)
    assert [row["path"] for row in rows] == paths
    np.testing.assert_allclose([row["similarity"] for row in rows], similarity, rtol=0, atol=1e-12)
    assert [row["rank"] for row in rows] == list(range(1, 8))
    opened = soundmill.open_features(tmp_path / "set").clips().to_pandas().set_index("path")
    for row in rows:
        clip = opened.loc[row["path"]]
        assert (row["label"], row["partition"]) == (clip["label"], clip["partition"])
        assert (row["start_seconds"], row["end_seconds"]) == (0, clip["seconds"])


def test_a_clip_is_named_as_the_set_or_a_table_or_the_system_names_it(feature_set, words, monkeypatch):
    expected = rows_of(feature_set, WORD)
    monkeypatch.chdir(words / "high")
    for name in (words / WORD, f"../{WORD}", words / "high" / ".." / WORD):
        assert rows_of(feature_set, name) == expected
    assert len(expected) == 20
    assert WORD not in [row["path"] for row in expected]


def test_names_that_a_table_writes_otherwise_are_found(tmp_path):
    names = ["-dash.wav", "back\\slash.wav", os.fsdecode(b"byte-\xe9.wav"), "é.wav"]
    for number, name in enumerate(names):
        write_wav(tmp_path / "clips" / "a" / name, noise(80, seed=number))
    table = tmp_path / "clips.csv"
    written = ["-dash.wav", "back\\\\slash.wav", "byte-\\xe9.wav", "é.wav"]
    table.write_text("path,label\n" + "".join(f"{name},x\n" for name in written), encoding="utf-8")
    featurized(tmp_path / "clips", tmp_path / "set", TINY)
    for name, text in zip(names, written, strict=True):
        there = {row["path"] for row in rows_of(tmp_path / "set", f"a/{name}")}
        assert there == {f"a/{other}" for other in written} - {f"a/{text}"}
        assert {row["path"] for row in rows_of(tmp_path / "set", f"a/{text}")} == there


def test_a_recording_outside_of_the_set_goes_through_its_front_end(feature_set, words, tmp_path, caplog):
    copy = shutil.copy(words / WORD, tmp_path / "mine.wav")
    first, *others = rows_of(feature_set, copy, top=21)
    assert (first["path"], first["similarity"]) == (WORD, pytest.approx(1, abs=1e-15))
    assert [row["path"] for row in others] == [row["path"] for row in rows_of(feature_set, WORD)]
    assert not caplog.records
    # At a time within it, at another rate, shorter than a clip of the set.
    sound = np.concatenate([noise(48_000), sine(300, 30_000, 48_000)])
    path = write_wav(tmp_path / "long.wav", sound, 48_000)
    spec = soundmill.open_features(feature_set).spec
    found = search(Request(str(feature_set), str(path), start_seconds=1.0))
    waveform = clip_waveform(str(path), spec, 48_000)[0]
    np.testing.assert_array_equal(found.query.features, compute_features([waveform], spec)[0])
    assert (found.query.row, found.query.start, found.compared) == (None, 48_000, 120)
    assert {row["label"] for row in found.table.to_pylist()[:3]} == {"low"}


def test_a_recording_goes_through_the_network_of_a_set_which_is_not_needed_for_a_clip_of_it(words, tmp_path):
    network, few, folder = write_small_network(tmp_path / "network.tflite"), tmp_path / "few", tmp_path / "set"
    for word in ("high", "low"):
        shutil.copytree(words / word, few / word, ignore=lambda _, names: set(names[4:]))
    choice = NetworkChoice(str(network), None, None)
    featurize(Featurize(str(few), str(folder), small_spec(), "tfrecord", network=choice))
    clip, *_ = soundmill.open_features(folder).clips()["path"].to_pylist()
    expected = rows_of(folder, clip)
    copy = shutil.copy(few / clip, tmp_path / "mine.wav")
    first, *others = rows_of(folder, copy, picture=str(tmp_path / "like.png"))
    assert (first["path"], first["similarity"]) == (clip, pytest.approx(1, abs=1e-15))
    assert [row["path"] for row in others] == [row["path"] for row in expected]
    shutil.rmtree(folder / "networks")
    assert rows_of(folder, clip) == expected


def test_a_recording_with_a_warning_is_used_and_one_that_cannot_be_used_is_refused(feature_set, tmp_path, caplog):
    silence = write_wav(tmp_path / "silence.wav", noise(16_000, amplitude=0))
    with pytest.raises(UsageError, match=r"all values of the features of .*silence\.wav are 0.*another clip"):
        rows_of(feature_set, silence)
    assert "silence.wav is silent; used all the same" in caplog.text
    (tmp_path / "text.wav").write_bytes(b"no sound")
    with pytest.raises(UsageError, match=r"but .*text\.wav is rejected: .*; give another$"):
        rows_of(feature_set, tmp_path / "text.wav")
    with pytest.raises(UsageError, match=r"is rejected: empty, it begins at 9\.000 s, past the end"):
        rows_of(feature_set, write_wav(tmp_path / "short.wav", noise(16_000)), start_seconds=9.0)


@pytest.fixture(scope="module")
def cut_set(words, tmp_path_factory):
    """A set of several clips of one recording, and a clip of another."""
    root = tmp_path_factory.mktemp("cut")
    for name, seed in (("long.wav", 5), ("other.wav", 6)):
        write_wav(root / "audio" / name, noise(40_000, seed=seed))
    starts = (0.0, 0.5, 1.25, 2.0)
    rows = [*(f"long.wav,x,training,{start},0.25" for start in starts), "other.wav,y,testing,0.75,0.25"]
    (root / "clips.csv").write_text("\n".join(["path,label,partition,start,seconds", *rows]) + "\n", encoding="utf-8")
    options = ("--root", root / "audio", "--start-column", "start", "--duration-column", "seconds")
    output = ("--output", root / "set", "--preset", "speech-commands")
    assert call("pipelines.featurize", "--input", root / "clips.csv", *options, *output) == 0
    return root / "set"


def test_clips_of_one_recording_are_told_apart_by_their_start(cut_set):
    rows = rows_of(cut_set, "long.wav", start_seconds=1.25)
    times = {(row["path"], row["start_seconds"], row["end_seconds"]) for row in rows}
    assert times == {("long.wav", start, start + 0.25) for start in (0.0, 0.5, 2.0)} | {("other.wav", 0.75, 1.0)}
    assert rows_of(cut_set, "other.wav") == rows_of(cut_set, "other.wav", start_seconds=0.75), "it is the only one"
    at_start = rows_of(cut_set, "long.wav", start_seconds=0.0)
    assert ("long.wav", 0.0) not in {(row["path"], row["start_seconds"]) for row in at_start}
    with pytest.raises(UsageError, match=r"long\.wav has 4 clips in .*, which begin at 0 s, 0\.5 s, 1\.25 s, \.\.\.; "
                                         r"--start SECONDS says which$"):  # fmt: skip
        rows_of(cut_set, "long.wav")
    with pytest.raises(
        UsageError, match=r"other\.wav has no clip in .* begins at 2 s; those of this file begin at 0\.75 s$"
    ):
        rows_of(cut_set, "other.wav", start_seconds=2.0)


def test_where_recordings_are_gone_the_set_is_searched_all_the_same(cut_set, tmp_path, monkeypatch):
    shutil.move(cut_set.parent / "audio", tmp_path / "away")
    try:
        rows = rows_of(cut_set, "long.wav", start_seconds=0.0, picture=str(tmp_path / "like.png"))
        assert [row["start_seconds"] for row in rows] == [None] * 4
        assert (tmp_path / "like.png").stat().st_size > 10_000
        message = r"long\.wav cannot be opened any more, .* --start 0\.5 .* frame 0, frame 8000, frame 20000, \.\.\.$"
        with pytest.raises(UsageError, match=message):
            rows_of(cut_set, "long.wav", start_seconds=0.5)
    finally:
        shutil.move(tmp_path / "away", cut_set.parent / "audio")


def test_partitions_and_labels_are_searched_alone(feature_set):
    opened = soundmill.open_features(feature_set).clips().to_pandas()
    everything = rows_of(feature_set, WORD, top=1_000)
    assert len(everything) == 119, "itself left out, and not more than there are"
    some = rows_of(feature_set, WORD, top=1_000, partitions=("validation", "testing"), labels=("low", "high"))
    kept = [row for row in everything if row["partition"] != "training" and row["label"] != "middle"]
    assert [row["path"] for row in some] == [row["path"] for row in kept]
    assert len(some) == ((opened.partition != "training") & (opened.label != "middle")).sum() - some.count(WORD) - (
        opened.set_index("path").loc[WORD, "partition"] != "training"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"like": "low/none.wav"}, r"low/none\.wav is neither a clip of .* nor a file$"),
        ({"like": "00000003_nohash_0.wav"}, r"nor a file; there is .*, low/00000003_nohash_0\.wav.*$"),
        ({"top": 0}, r"--top is 1 or more, not 0$"),
        ({"start_seconds": -1.0}, r"--start is a time in seconds .*, not -1$"),
        ({"start_seconds": float("nan")}, r"--start is a time in seconds .*, not nan$"),
        ({"partitions": ("fold-1",)}, r"no partition 'fold-1' in the features; there are training"),
        ({"labels": ("lwo",)}, r"no label 'lwo' in .* \(nearest: low\)$"),
        ({"labels": ("?",)}, r"no label '\?' in .* \(there are high, low, middle\)$"),
    ],
)
def test_what_cannot_be_searched_is_refused(feature_set, options, message):
    with pytest.raises(UsageError, match=message):
        search(Request(str(feature_set), **{"like": WORD, **options}))


def test_a_clip_alone_is_like_nothing(tmp_path):
    write_wav(tmp_path / "clips" / "a" / "one.wav", noise(80))
    featurized(tmp_path / "clips", tmp_path / "set", TINY)
    found = search(Request(str(tmp_path / "set"), "a/one.wav", output=str(tmp_path / "like.csv")))
    assert (len(found.table), found.compared) == (0, 0)
    header = "rank,path,start_seconds,end_seconds,label,partition,similarity\n"
    assert (tmp_path / "like.csv").read_text() == header
    search(Request(str(tmp_path / "set"), "a/one.wav", picture=str(tmp_path / "like.png")))


def test_the_command_prints_the_list_and_writes_it_in_any_form(feature_set, tmp_path, capsys):
    tables = {}
    for form in ("csv", "parquet", "jsonl"):
        output, summary = tmp_path / f"like.{form}", tmp_path / "summary.json"
        options = ("--features", feature_set, "--like", WORD, "--top", 3, "--output", output, "--summary", summary)
        assert call("model.search", *options) == 0
        tables[form] = {
            "csv": pd.read_csv,
            "parquet": pd.read_parquet,
            "jsonl": lambda path: pd.read_json(path, lines=True),
        }[form](output)
    expected = rows_of(feature_set, WORD, top=3)
    figures = json.loads(summary.read_text())
    assert figures["hits"] == expected
    assert (figures["clips"], figures["found"], figures["in_set"], figures["like"]) == (119, 3, True, WORD)
    for table in tables.values():
        assert list(table.columns) == list(expected[0])
        assert table["path"].to_list() == [row["path"] for row in expected]
        np.testing.assert_allclose(table["similarity"], [row["similarity"] for row in expected], atol=5e-7)
    head, *lines, empty, paragraph = capsys.readouterr().out.splitlines()[-6:]
    assert head.split() == ["rank", "similarity", "label", "partition", "path"]
    for line, row in zip(lines, expected, strict=True):
        assert line.split() == [
            str(row["rank"]),
            f"{row['similarity']:.6f}",
            row["label"],
            row["partition"],
            row["path"],
        ]
    assert empty == ""
    said = rf"Compared 119 clips with {re.escape(WORD)}, itself left out, in \d+\.\d s\. The list is in .*like\.jsonl\."
    assert re.fullmatch(said, paragraph)


def test_a_damaged_shard_is_one_line(feature_set, tmp_path):
    folder = shutil.copytree(feature_set, tmp_path / "set")
    manifest = load_manifest(folder)
    shard = manifest.layout(folder).shard(manifest.all_shards[0].name)
    shard.write_bytes(shard.read_bytes()[:-1])
    query = soundmill.open_features(folder).clips().to_pandas().query("partition != 'training'")["path"].iloc[0]
    result = run_command(
        "model.search", "--features", folder, "--like", query, "--output", tmp_path / "like.csv", check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"error: the shard .* is damaged: .*\n", result.stderr)
    assert not (tmp_path / "like.csv").exists()


def test_names_of_outputs_are_checked_first(feature_set, tmp_path):
    for option, name, message in (
        ("--output", "like.txt", "--output is a table whose name ends in"),
        ("--picture", "like.jpg", "--picture is a picture whose name ends in .png"),
        ("--picture", "nowhere/like.png", "no folder for --picture"),
    ):
        with pytest.raises(UsageError, match=message):
            main(parser().parse_args(["--features", str(tmp_path), "--like", "x", option, str(tmp_path / name)]), [])


def test_a_set_in_a_store_is_searched_as_one_in_a_folder(s3, tmp_path):
    root, there = tmp_path / "clips", f"{s3.uri}/set"
    begin(root)
    uri = upload(root, f"{s3.uri}/clips")
    featurize(Featurize(str(root), str(tmp_path / "set"), TINY, "tfrecord", label_pattern=PATTERN))
    featurize(Featurize(uri, there, TINY, "tfrecord", label_pattern=PATTERN))
    expected = rows_of(tmp_path / "set", "no/fold-1_0.wav", top=3)
    for like, outputs in (
        ("no/fold-1_0.wav", {}),
        (f"{uri}/no/fold-1_0.wav", {"output": f"{s3.uri}/like.parquet", "picture": str(tmp_path / "like.png")}),
    ):
        found = search(Request(there, like, top=3, **outputs))
        assert found.table.to_pylist() == expected
        assert found.query.row is not None
    assert "like.parquet" in "".join(s3.names())
    assert (tmp_path / "like.png").exists()
    upload(root / "no", f"{s3.uri}/others")
    other = search(Request(there, f"{s3.uri}/others/fold-1_0.wav"))
    assert (other.query.row, other.table["path"][0].as_py()) == (None, "no/fold-1_0.wav")


@pytest.mark.parametrize("count", [0, 8])
def test_the_picture_has_a_panel_a_clip_and_no_text_over_another(count):
    spec = SPECS["log_mel"]
    name = "Grasshopper Warbler (Locustella) $5$ in the morning"

    def panel(number, gone):
        waveform = noise(spec.clip_samples, seed=number)
        features = compute_features([waveform], spec)[0]
        facts = "0.9876, validation, from 12.3456 s"
        return Panel(f"{name}/{number}/{name}.wav", name, facts, None if gone else waveform, features if gone else None)

    figure = neighbours_figure(
        panel(0, False), [panel(1 + number, number % 2) for number in range(count)], spec, name * 3
    )
    assert misplaced(figure) == []
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == count + 1
    heads = [axes.get_title(loc="left").split("\n") for axes in drawn]
    assert heads[0][0].startswith("like: Grasshopper")
    assert [head[0].partition(".")[0] for head in heads[1:]] == [str(1 + number) for number in range(count)]
    assert [head[0].endswith(" *") for head in heads[1:]] == [bool(number % 2) for number in range(count)]
    assert ("* its file is gone" in figure.get_suptitle()) == (count > 1)
