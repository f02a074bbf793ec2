"""What others publish, as a way in: sets of it, and the way from scoring to annotations and back."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from features.frontend.presets import preset_name
from features.store.manifest import load_manifest
from model.inference.artifact import read_description
from tests.conftest import call, clips_table
from tests.features.sources.formats.sounds import write_sounds
from tests.features.sources.reviews import write_review
from tests.signals import noise, sine, write_wav


def featurize(source, output, *options):
    summary = output.parent / "summary.json"
    assert call("pipelines.featurize", "--input", source, "--output", output, "--summary", summary, *options) == 0
    return json.loads(summary.read_text())


def cuts(folder, *labels):
    """Writes a manifest of a cut of half a second for each label."""
    source = {"type": "file", "channels": [0], "source": "sounds/mono.wav"}
    recording = {"id": "mono", "sampling_rate": 8000, "num_samples": 16007, "duration": 2.000875, "sources": [source]}
    always = {"duration": 0.5, "channel": 0, "type": "MonoCut", "recording": recording}
    lines = [{"start": number / 2, "supervisions": [{"text": label}], **always} for number, label in enumerate(labels)]
    path = folder / "cuts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_manifest_is_a_source_like_others(tmp_path):
    write_sounds(tmp_path)
    output = tmp_path / "features"
    options = ("--input-format", "lhotse")
    figures = featurize(cuts(tmp_path, "owl", "wren", "owl"), output, *options)
    assert (figures["clips"], figures["computed"]) == (3, 3)
    assert load_manifest(output).source == {
        "kind": "lhotse",
        "root": str(tmp_path),
        "table": str(tmp_path / "cuts.jsonl"),
    }
    figures = featurize(cuts(tmp_path, "owl", "owl", "owl", "wren"), output, *options)
    assert (figures["computed"], figures["removed"]) == (1, 0)
    assert featurize(tmp_path / "cuts.jsonl", output, *options)["computed"] == 0
    assert clips_table(output, load_manifest(output)).sort_by("start")["label"].to_pylist() == [
        "owl",
        "owl",
        "owl",
        "wren",
    ]
    with pytest.raises(UsageError, match="was made from"):
        featurize(tmp_path / "sounds", output, "--label-pattern", "(?P<label>.)")


def test_a_set_keeps_to_the_format_that_it_was_made_of(tmp_path):
    for seed, name in enumerate(("a/0.wav", "b/1.wav")):
        (tmp_path / "sounds" / name).parent.mkdir(parents=True)
        write_wav(tmp_path / "sounds" / name, noise(8000, seed=seed), 8000)
    (tmp_path / "sounds" / "metadata.csv").write_text("file_name,label\na/0.wav,dog\nb/1.wav,cat\n")
    output, options = tmp_path / "features", ("--input-format", "audiofolder")
    featurize(tmp_path / "sounds", output, *options)
    for moved in ((), ("--source-moved",)):
        with pytest.raises(UsageError, match="of the kind folder; add --input-format audiofolder to keep to that"):
            featurize(tmp_path / "sounds", output, *moved)
    assert load_manifest(output).classes == ["cat", "dog"]
    assert featurize(tmp_path / "sounds", output, *options)["computed"] == 0
    assert featurize(tmp_path / "sounds", output, "--allow-removal")["computed"] == 0
    assert load_manifest(output).classes == ["a", "b"]


def test_an_audiofolder_that_was_published_comes_back(tmp_path):
    write_sounds(tmp_path / "source")
    manifest = cuts(tmp_path / "source", "owl", "wren", "owl", "wren")
    featurize(manifest, tmp_path / "features", "--input-format", "lhotse", "--group", "content")
    published = tmp_path / "published"
    assert call("features.publish", tmp_path / "features", "--output", published, "--layout", "audiofolder") == 0
    featurize(published, tmp_path / "again", "--input-format", "audiofolder")
    found = []
    for folder in (tmp_path / "features", tmp_path / "again"):
        clips = clips_table(folder, load_manifest(folder)).to_pylist()
        found.append(sorted((row["label"], row["partition"], row["group"], row["seconds"]) for row in clips))
    assert found[0] == found[1]


@pytest.mark.parametrize("form", ["raven", "audacity"])
def test_labels_of_scoring_become_the_windows_that_they_are_of(run_folder, tmp_path, form):
    sounds = [sine(hz, 16_000) for hz in (300, 700, 2500, 6000)] + [noise(2_000)]
    write_wav(tmp_path / "recordings" / "a.wav", np.concatenate(sounds))
    write_wav(tmp_path / "recordings" / "b" / "c.wav", np.concatenate(sounds[::-1]))
    labels = tmp_path / "labels.parquet"
    assert call("pipelines.score", "--model", run_folder, "--input", tmp_path / "recordings", "--output", labels,
                "--labels", form) == 0  # fmt: skip
    description = read_description(run_folder)
    name = preset_name(description.spec)
    assert name is not None
    featurize(tmp_path / "recordings", tmp_path / "features", "--annotations", f"{labels}.{form}", "--preset", name)
    manifest = load_manifest(tmp_path / "features")
    clips = clips_table(tmp_path / "features", manifest).to_pylist()
    windows = pq.read_table(labels).to_pylist()
    assert len(windows) == 10
    assert len({row["label"] for row in windows}) > 1
    assert sorted((row["path"], row["start"], row["label"]) for row in clips) == sorted(
        (row["path"], round(row["start_seconds"] * 16_000), row["label"]) for row in windows
    )
    assert manifest.source["kind"] == "annotations"


def test_background_comes_and_goes_and_a_review_corrects_windows(tmp_path):
    write_wav(tmp_path / "recordings" / "a.wav", noise(16_000 * 5))
    (tmp_path / "a.txt").write_text("0\t1\towl\n2\t3\towl\n4\t4.5\twren\n")
    options = ("--annotations", tmp_path / "a.txt", "--background-share", 1)
    figures = featurize(tmp_path / "recordings", tmp_path / "features", *options)
    assert figures["clips"] == 5
    assert load_manifest(tmp_path / "features").classes == ["background", "owl", "wren"]
    assert featurize(tmp_path / "recordings", tmp_path / "features", *options)["computed"] == 0
    figures = featurize(tmp_path / "recordings", tmp_path / "features", *options[:2])
    assert (figures["clips"], figures["computed"], figures["removed"]) == (3, 0, 2)
    assert figures["left_out"] == {"windows without a label": 2}
    review = write_review(
        tmp_path / "review.csv", [("a.wav", 2, 3, "owl", "wrong", "frog"), ("a.wav", 1, 2, "owl", "wrong", "bat")]
    )
    figures = featurize(tmp_path / "recordings", tmp_path / "features", *options[:2], "--corrections", review)
    assert (figures["clips"], figures["computed"]) == (4, 1)
    clips = clips_table(tmp_path / "features", load_manifest(tmp_path / "features")).sort_by("start")
    assert clips["label"].to_pylist() == ["owl", "bat", "frog", "wren"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--min-overlap-seconds", 0.5), "--min-overlap-seconds says which windows are clips"),
        (("--background-share", 0.5), "--background-share says which windows are clips"),
        (("--background-label", "x"), "--background-label says which windows are clips"),
        (("--annotations", ".", "--preset", "urbansound-mfcc"), "the spec takes files of any length whole"),
        (("--annotations", ".", "--min-overlap-seconds", 2), "at most 1 s, the length of a window"),
        (("--annotations", ".", "--label-pattern", "(?P<label>.)"), "leave one out"),
    ],
)
def test_options_without_a_meaning_are_refused(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        featurize(tmp_path, tmp_path / "features", *options)
