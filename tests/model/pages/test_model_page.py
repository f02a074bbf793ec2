"""The page of a model: its clips are those of the set, its sounds are what the network heard, its counts add up."""

import base64
import csv
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.errors import UsageError
from features.io.filesystem import filesystem_of, place
from features.pictures.examples import source_waveform
from features.store.manifest import load_manifest
from model.evaluation.predictions import measure
from model.pages.clip_cards import make_cards
from model.pages.model_comparison import compare_models
from model.pages.model_page import build_model_page, write_model_page
from model.pages.tested_clips import predict_clips
from tests.conftest import call, clips_table, succeed
from tests.model.pages.test_document import Elements
from tests.signals import noise, write_wav, write_words

HOSTILE = "<img src=x onerror=alert(1)>&\"'"
WORD = "low"
LAST_WORD = "middle"  # of the words by their names
TESTED = ("validation", "testing")
LINEAR = ("--network", "linear")


def data_of(page: str) -> dict:
    """What a page's scripts read."""
    return json.loads(Elements(page).texts["script"][0])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """A set of three words, of which one has a hostile name, and some clips that lie in the folder of another."""
    root = tmp_path_factory.mktemp("mixed")
    words = write_words(root / "words")
    folders = sorted(path for path in words.iterdir() if path.is_dir())
    assert folders[1].name == WORD
    for speaker in range(0, 40, 3):
        name = f"{speaker:08x}_nohash_"
        (folders[0] / f"{name}0.wav").rename(folders[1] / f"{name}1.wav")
    folders[2].rename(words / HOSTILE)
    (words / HOSTILE / "00000001_nohash_0.wav").rename(words / HOSTILE / f"00000001_nohash_{HOSTILE}.wav")
    (words / WORD / "broken.wav").write_bytes(b"RIFF" + bytes(40))
    succeed("pipelines.featurize", "--input", words, "--output", root / "set", "--preset", "log-mel")
    return root / "set"


@pytest.fixture(scope="module")
def run(mixed) -> Path:
    output = mixed.parent / "run"
    succeed("model.train", "--features", mixed, "--output", output, *LINEAR)
    return output


@pytest.fixture(scope="module")
def clips(run, mixed):
    return predict_clips(str(run), str(mixed), TESTED)


@pytest.fixture(scope="module")
def page(run, mixed) -> str:
    return build_model_page(str(run), None, TESTED).html


def test_counts_add_up(page, clips):
    data, table = data_of(page), clips_table(Path(clips.features), clips.manifest).to_pylist()
    tested = [row for row in table if row["partition"] in TESTED]
    measures = data["measured"]
    assert measures["clips"] == len(tested) == sum(number for *_, number in measures["confusion"])
    assert sum(number for row, column, number in measures["confusion"] if row == column) == measures["correct"]
    dense = np.zeros((3, 3), int)
    for row, column, number in measures["confusion"]:
        dense[row, column] = number
    assert dense.tolist() == measure(clips.predictions, clips.classes)["confusion"]
    assert {one["label"]: one["clips"] for one in measures["classes"]} == Counter(row["label"] for row in tested)
    assert measures["clips_trained_on"] == 0
    labels = [sum(one[0][1:]) for one in data["thresholds"]["counts"]]
    assert sum(labels) == len(tested)
    mistakes = [card for card in data["cards"] if card["predicted"] != card["true"]]
    assert len(mistakes) == measures["clips"] - measures["correct"] == data["shown"]["mistakes"] > 2
    in_set = Counter((row["label"], row["partition"]) for row in table)
    for label, cells in data["set"]["classes"]:
        for name, (number, _) in zip(data["set"]["partitions"], cells, strict=True):
            assert number == in_set[label, name]
    assert data["set"]["rejects"][0]["files"] == 1
    assert data["set"]["rejects"][0]["examples"][0][0] == f"{WORD}/broken.wav"


def test_a_clip_sounds_as_the_network_heard_it(page, clips):
    rows = {row["path"]: row for row in clips_table(Path(clips.features), clips.manifest).to_pylist()}
    manifest, cards = clips.manifest, data_of(page)["cards"]
    assert {card["path"] for card in cards} <= set(rows)
    for card in cards:
        row = rows[card["path"]]
        heard, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(card["sound"])), dtype="float32")
        fitted = source_waveform(row, manifest)
        assert (rate_hz, len(heard)) == (manifest.spec.sample_rate_hz, len(fitted))
        assert np.corrcoef(heard, fitted)[0, 1] > 0.95
        assert (card["label"], card["group"], card["partition"]) == (row["label"], row["group"], row["partition"])
        assert (card["start"], card["end"]) == (0, pytest.approx(row["seconds"], abs=1e-6))
        assert base64.b64decode(card["image"])[8:12] == b"WEBP"


def test_what_a_card_says_is_what_was_predicted(page, clips):
    of_path = dict(zip(clips.predictions.paths, clips.predictions.probabilities, strict=True))
    for card in data_of(page)["cards"]:
        expected = dict(zip(clips.classes, of_path[card["path"]].tolist(), strict=True))
        assert dict(card["top"]) == pytest.approx(expected, abs=1e-6)
        assert [value for _, value in card["top"]] == sorted((value for _, value in card["top"]), reverse=True)
        assert card["predicted"] == card["top"][0][0]


def test_names_stay_text(page):
    found, data = Elements(page), data_of(page)
    assert HOSTILE in data["classes"]
    assert any(HOSTILE in card["path"] for card in data["cards"])
    assert "img" not in {tag for tag, _ in found.attributes}
    assert len(found.texts["script"]) == 6
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_page_says_where_its_model_comes_from(page, clips):
    said = data_of(page)["provenance"]
    assert said["network"] == "linear"
    assert said["machine"] and said["cores"] >= 1 and said["begun"][0].endswith("+00:00")
    assert said["settings"]["train_on"] == ["training"] and said["seed"] == 0
    assert said["spec"] == clips.manifest.spec.to_dict()
    assert {"soundmill", "numpy"} <= set(said["versions"])
    assert said["training_seconds"] > 0
    curve = data_of(page)["curves"][0]
    assert curve["place"] == "l2" and len(curve["columns"]["l2"]) == len(curve["columns"]["val_loss"])


def test_a_set_without_a_partition_for_testing_asks_for_one(folds, tmp_path):
    with pytest.raises(UsageError, match=r"name with --test-on what .* no partition testing, but fold-1, fold-2"):
        call("model.report", folds / "fold-1", "--output", tmp_path / "page.html")


def test_mistakes_that_have_no_room_are_counted(run, mixed, tmp_path):
    summary = tmp_path / "summary.json"
    succeed("model.report", run, "--output", tmp_path / "page.html", "--test-on", ",".join(TESTED), "--mistakes", 2,
            "--summary", summary)  # fmt: skip
    figures, data = json.loads(summary.read_text()), data_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert figures["bytes"] == (tmp_path / "page.html").stat().st_size
    assert figures["mistakes"] == data["measured"]["clips"] - data["measured"]["correct"] > figures["shown"]["mistakes"]
    assert len(data["cards"]) == figures["shown"]["clips"] < 8


def test_a_run_in_a_store_has_the_same_page(run, s3, page):
    uri = f"{s3.uri}/run"
    for path in run.rglob("*"):
        if path.is_file():
            filesystem_of(uri).write(place(f"{uri}/{path.relative_to(run)}"), path.read_bytes())
    succeed("model.report", uri, "--output", f"{s3.uri}/page.html", "--test-on", ",".join(TESTED))
    stored = data_of(filesystem_of(uri).read(place(f"{s3.uri}/page.html")).decode())
    assert stored["provenance"].pop("run") == uri
    here = data_of(page)
    assert here["provenance"].pop("run") == str(run)
    assert stored == here


def test_clips_that_were_learnt_from_are_named(run, caplog):
    built = build_model_page(str(run), None, ("training",), most_mistakes=0)
    clips = built.figures["clips"]
    assert built.figures["clips_trained_on"] == clips
    assert "the network is trained on training" in caplog.text
    assert f"{clips:,} of these clips are, by content, clips that the network was trained on" in built.html


def test_a_recording_that_is_gone_has_its_picture_alone(run, clips, tmp_path, capsys):
    root = Path(clips.manifest.source["root"])
    root.rename(root.with_name("away"))
    try:
        cards = make_cards(clips, [0, 1])
        succeed("model.report", run, "--output", tmp_path / "page.html", "--test-on", ",".join(TESTED))
    finally:
        root.with_name("away").rename(root)
    for card in cards.content:
        assert "sound" not in card
        assert card["image"] and "not there any more" in card["silent"]
    shown = data_of((tmp_path / "page.html").read_text(encoding="utf-8"))["shown"]
    assert shown["heard"] == 0
    assert f"{shown['clips']} clips of these cannot be heard" in capsys.readouterr().out


def test_two_runs_side_by_side(run, mixed, clips):
    other = mixed.parent / "other"
    succeed("model.train", "--features", mixed, "--output", other, *LINEAR, "--train-on", "validation",
            "--validate-on", "none", "--l2", 0.1)  # fmt: skip
    built = build_model_page(str(run), str(mixed), TESTED, str(other))
    data, second = data_of(built.html), predict_clips(str(other), str(mixed), TESTED)
    right = dict(zip(clips.predictions.paths, clips.predictions.correct(clips.classes).tolist(), strict=True))
    there = dict(zip(second.predictions.paths, second.predictions.correct(second.classes).tolist(), strict=True))
    won = {path for path in right if there[path] and not right[path]}
    lost = {path for path in right if right[path] and not there[path]}
    found = data["comparison"]
    assert (found["won"]["clips"], found["lost"]["clips"]) == (len(won), len(lost))
    assert built.figures["comparison"]["test"]["won"] == len(won) > 0
    for name, paths in (("won", won), ("lost", lost)):
        assert {data["cards"][place]["path"] for place, *_ in found[name]["shown"]} == paths
    assert found["accuracies"][0]["accuracy"] == data["measured"]["accuracy"]
    nothing = compare_models(clips, clips, ("one", "one"))
    assert (nothing["won"]["clips"], nothing["lost"]["clips"]) == (0, 0)


@pytest.mark.trial
def test_windows_of_silence_are_seen_but_not_marked(mixed):
    for number in range(3):
        write_wav(mixed.parent / "noise" / f"{number}.wav", noise(160_000, seed=number, amplitude=0.3))
    output = mixed.parent / "with-silence"
    succeed("model.train", "--features", mixed, "--output", output, *LINEAR, "--silence-share", 0.5,
            "--noise", mixed.parent / "noise")  # fmt: skip
    data = data_of(build_model_page(str(output), None, TESTED, most_mistakes=1_000).html)
    silent = [card for card in data["cards"] if card["true"] == "_silence_"]
    assert len(silent) == next(one["clips"] for one in data["measured"]["classes"] if one["label"] == "_silence_")
    assert all(card["unmarked"] and card["image"] and "sound" not in card for card in silent)
    assert sum("unmarked" in card for card in data["cards"]) == len(silent) > 0
    assert "_silence_" not in data["labels"][:3]


@pytest.fixture(scope="module")
def folds(tmp_path_factory) -> Path:
    """A cross-validation over clips of long files, by a table: each speaker says three words in one recording.

    The last clip of each ends a frame behind its recording, as a table's rounded times may have it.
    """
    root = tmp_path_factory.mktemp("page-folds")
    words = write_words(root / "words", speakers=6)
    lines = ["path,start,end,label,fold,speaker"]
    for speaker in range(6):
        parts, at = [], 0
        for path in sorted(words.glob(f"*/{speaker:08x}_*.wav")):
            samples, rate_hz = soundfile.read(path, dtype="float32")
            lines.append(f"{speaker}.wav,{at / rate_hz:.6f},{(at + len(samples)) / rate_hz:.6f},{path.parent.name},"
                         f"{speaker % 2 + 1},{speaker}")  # fmt: skip
            parts.append(samples)
            at += len(samples)
        write_wav(root / "long" / f"{speaker}.wav", np.concatenate(parts)[:-1], rate_hz)
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    succeed("pipelines.featurize", "--input", root / "table.csv", "--root", root / "long", "--output", root / "set",
            "--fold-column", "fold", "--group-column", "speaker", "--start-column", "start", "--end-column", "end",
            "--preset", "urbansound-mfcc")  # fmt: skip
    succeed("model.crossvalidate", "--features", root / "set", "--output", root / "runs", *LINEAR)
    return root / "runs"


@pytest.fixture(scope="module")
def page_of_folds(folds, tmp_path_factory) -> dict:
    """What the page of the cross-validation says."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_model_page(str(folds), None, str(path))
    return data_of(path.read_text(encoding="utf-8"))


def test_each_clip_is_judged_by_the_network_that_did_not_meet_its_fold(folds, page_of_folds):
    data = page_of_folds
    assert data["measured"]["clips"] == len(data["cards"]) == 18
    assert all(card["fold"] == card["partition"] for card in data["cards"])
    with open(folds / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = Counter((row["path"], row["true"], row["predicted"], row["probability"]) for row in rows)
    assert expected == Counter(
        (card["path"], card["true"], card["predicted"], f"{card['top'][0][1]:.6f}") for card in data["cards"]
    )
    figures = json.loads((folds / "crossvalidation.json").read_text())
    assert (data["measured"]["correct"], data["measured"]["loss"]) == (figures["correct"], figures["loss"])
    assert [one["name"] for one in data["curves"]] == ["fold-1", "fold-2"]
    assert data["thresholds"]["fitted"] is None
    assert data["set"]["chosen"] == []


def test_clips_of_one_recording_have_their_times(folds, page_of_folds):
    manifest = load_manifest(folds.parent / "set")
    rows = {(row["path"], row["label"]): row for row in clips_table(folds.parent / "set", manifest).to_pylist()}
    with open(folds.parent / "table.csv", newline="", encoding="utf-8") as file:
        table = {(row["path"], row["label"]): row for row in csv.DictReader(file)}
    for card in page_of_folds["cards"]:
        line = table[card["path"], card["label"]]
        assert f"{card['start']:.6f}" == line["start"]
        heard, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(card["sound"])))
        fitted = source_waveform(rows[card["path"], card["label"]], manifest)
        assert (rate_hz, len(heard)) == (manifest.spec.sample_rate_hz, len(fitted))
        assert card["image"]  # pooled features are no picture: the sound's spectrogram is
        longer_frames = (float(line["end"]) - card["end"]) * 16_000
        assert round(longer_frames, 1) == (1 if card["label"] == LAST_WORD else 0)


def test_clips_of_recordings_that_are_gone_have_their_times_where_these_are_known(folds, page_of_folds):
    long = folds.parent / "long"
    long.rename(long.with_name("away"))
    try:
        clips = predict_clips(str(folds), str(folds.parent / "set"), None)
        cards = make_cards(clips, range(len(clips.predictions.paths))).content
    finally:
        long.with_name("away").rename(long)
    times = {(card["path"], card["label"]): (card["start"], card["end"]) for card in page_of_folds["cards"]}
    known = [card for card in cards if "unmarked" not in card]
    assert all(times[card["path"], card["label"]] == (card["start"], card["end"]) for card in known)
    assert {card["label"] for card in cards if "unmarked" in card} == {LAST_WORD}
    assert len(known) == 12


def test_what_has_no_page_is_refused(folds, run, mixed, tmp_path):
    for arguments, said in (
        ((folds, "--test-on", "testing"), "is a cross-validation, which tests each of its folds; leave --test-on out"),
        ((tmp_path / "none",), "^no such run folder: "),
        ((run, "--mistakes", "-1"), "--mistakes is a number of clips, not -1"),
        ((run, "--compare", folds), "the same classes, but one of"),
    ):
        with pytest.raises(UsageError, match=said):
            call("model.report", *arguments, "--output", tmp_path / "page.html")
    with pytest.raises(UsageError, match="no folder for --output"):
        call("model.report", run, "--output", tmp_path / "none" / "page.html")
    copy = tmp_path / "runs"
    shutil.copytree(folds, copy)
    config = json.loads((copy / "fold-2" / "config.json").read_text())
    (copy / "fold-2" / "config.json").write_text(json.dumps({**config, "rows_sha256": "0"}))
    with pytest.raises(UsageError, match="fold-2 was trained on other rows than"):
        call("model.report", copy, "--output", tmp_path / "page.html")
    shutil.rmtree(copy / "fold-1" / "model")
    for features in ((), ("--features", folds.parent / "set")):
        with pytest.raises(
            UsageError, match=r"1 of its 2 folds have no network yet \(fold-1\); run .*crossvalidate again"
        ):
            call("model.report", copy, *features, "--output", tmp_path / "page.html")
    (copy / "request.json").write_text("{}")
    with pytest.raises(UsageError, match=r"request\.json is damaged"):
        call("model.report", copy, "--output", tmp_path / "page.html")
    assert not list(tmp_path.glob("*.html"))
