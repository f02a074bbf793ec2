import datetime
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio.decode import decode, probe
from features.errors import RunError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import fit
from features.maintenance.removal import prune
from features.pictures.comparison import compare, comparison_lines
from features.pictures.comparison_picture import draw_comparison
from features.pictures.examples import choose, load_examples, shown_classes
from features.pictures.overview import draw_overview
from features.runtime.quantities import duration_text
from features.store.layout import Layout
from features.store.manifest import load_manifest
from features.store.run_log import read_runs
from features.store.run_table import history_lines
from features.store.summary import Description, describe, figures_of, lines_of
from tests.conftest import call, clips_table, run_command
from tests.features.examples import LOG_MEL, STFT, changed, clip_rows, featurized
from tests.features.pictures.test_drawing import misplaced
from tests.signals import noise, sine, write_wav, write_words

SMALL = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, clip_seconds=0.25, window_samples=128, hop_samples=64, fft_samples=128
)
LONG = "Grasshopper Warbler (Locustella) $5$ in the morning {:02d}"
SMALL_MEL = changed(LOG_MEL, clip_seconds=0.25, mel_bands=20)
POOLED = preset("urbansound-mfcc")


def make_set(source: Path, folder: Path, spec: FeatureSpec = SMALL) -> Path:
    """A feature set of a labelled folder, made without Beam."""
    featurized(source, folder, spec)
    return folder


def write_classes(root: Path, labels: list[str], clips: int) -> Path:
    """A labelled folder with clips of several lengths; every third class has one."""
    for number, label in enumerate(labels):
        for clip in range(1 if number % 3 == 2 else clips):
            samples = 1_000 + 90 * number + 500 * clip
            write_wav(root / label / f"{number}-{clip}.wav", sine(200 + 50 * number, samples, 8_000), 8_000)
    return root


@pytest.fixture(scope="module")
def words_set(tmp_path_factory) -> Path:
    """A set of 60 clips of three words by 20 speakers, and a file that is rejected and a silent one."""
    root = write_words(tmp_path_factory.mktemp("source") / "words", speakers=20)
    (root / "low" / "text.wav").write_bytes(b"no sound " * 20)
    write_wav(root / "low" / "silence.wav", np.zeros(8_000, np.float32))
    return make_set(root, tmp_path_factory.mktemp("sets") / "words")


def described(folder: Path) -> Description:
    manifest = load_manifest(folder)
    return describe(manifest.layout(folder), manifest)


def shown(folder: Path):
    description = described(folder)
    examples = load_examples(description)
    return description, examples, draw_overview(description, examples)


def titles(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_the_text_says_what_is_in_a_set(words_set, capsys, tmp_path):
    assert call("features.show", words_set, "--summary", tmp_path / "summary.json") == 0
    text = capsys.readouterr().out
    manifest = load_manifest(words_set)
    for part in (
        manifest.source["root"], "none of the presets; a clip has shape (30, 65), float32", "sample_rate_hz = 8000",
        'front_end = "stft"', "state       1, format tfrecord", "1 not_audio", manifest.rejects_file, "1 silent",
        f"numpy {np.__version__}", "mean", "standard deviation", "61 clips in 3 classes",
        "--output overview.png",
    ):  # fmt: skip
        assert part in text, part
    table = clips_table(words_set, manifest)
    low = sum(label == "low" for label in table["label"].to_pylist())
    [row] = [line.split() for line in text.splitlines() if line.startswith("low ")]
    assert row[4] == str(low) == "21"
    [row] = [line.split() for line in text.splitlines() if line.startswith("all ")]
    assert [int(number) for number in row[1:4]] == [manifest.rows([name]) for name in manifest.partitions]
    figures = json.loads((tmp_path / "summary.json").read_text())
    assert figures["clips"] == 61
    assert figures["rejects"] == {"not_audio": 1}
    assert figures["warnings"] == {"silent": 1}
    assert figures["classes"]["low"]["training"]["clips"] > 0


def test_the_figures_are_those_of_the_clips(words_set):
    manifest = load_manifest(words_set)
    figures = figures_of(describe(manifest.layout(words_set), manifest))
    seconds = np.array(clips_table(words_set, manifest)["seconds"].to_pylist())
    assert figures["durations"] == {"min": seconds.min(), "median": np.median(seconds), "max": seconds.max()}
    assert figures["seconds"] == pytest.approx(seconds.sum())
    sizes = [path.stat().st_size for path in words_set.rglob("*") if path.is_file()]
    assert figures["disk_bytes"] == sum(sizes) > figures["shard_bytes"] > 0
    by_class = figures["classes"].values()
    assert sum(cell["seconds"] for cells in by_class for cell in cells.values()) == pytest.approx(seconds.sum())
    assert set(figures["statistics"]) >= {"training", "all"}


def test_a_preset_is_named(tmp_path):
    folder = make_set(write_classes(tmp_path / "source", ["a", "b"], 2), tmp_path / "set", STFT)
    description = described(folder)
    assert figures_of(description)["preset"] == "speech-commands"
    assert any("preset speech-commands; a clip has shape (124, 129)" in line for line in lines_of(description))


@pytest.fixture
def grown_set(tmp_path) -> Path:
    """A set after four runs: the second found nothing to do, the third more clips, the fourth another class."""
    source, folder = tmp_path / "source", tmp_path / "set"
    write_classes(source, ["a", "b"], 2)
    for labels in ([], [], ["c", "d"], ["e"]):
        write_classes(source, labels, 1)
        make_set(source, folder)
    return folder


def line_with(start: str, folder: Path) -> str:
    [line] = [line for line in lines_of(described(folder)) if line.startswith(start)]
    return line


def test_earlier_states_and_what_can_be_pruned_are_shown(grown_set):
    assert line_with("state  ", grown_set) == "state       3, format tfrecord; 2 earlier ones are still there, 1 to 2"
    old = [path for path in grown_set.rglob("*") if path.is_file()]
    lone = grown_set / "shards" / "training-0123456789abcdef01234567.tfrecord"
    lone.write_bytes(b"x" * 2_500)
    figures = figures_of(described(grown_set))
    assert figures["earlier_states"] == [1, 2]
    assert figures["unreferenced"]["by_none"] == {"files": 1, "bytes": 2_500}
    # Nothing but new shards was made: two tables of two states each, and the states.
    names = ("clips-000001-", "clips-000002-", "rejects-000001-", "rejects-000002-", "manifest-00000")
    sizes = [path.stat().st_size for path in old if path.name.startswith(names)]
    assert figures["unreferenced"]["by_earlier_states"] == {"files": 6, "bytes": sum(sizes)}
    kilobytes = f"{sum(sizes) / 1000:,.1f} kB"
    assert line_with("to prune ", grown_set) == (
        f"to prune    {kilobytes} in 6 files of earlier states only, 2.5 kB in 1 file that no state names;"
    )
    assert line_with(f"            python -m features.prune {grown_set} removes", grown_set)
    prune(grown_set, 1, 0)
    assert line_with("state  ", grown_set).endswith("; state 2 is still there")
    assert " in 3 files of earlier states only;" in line_with("to prune ", grown_set)
    prune(grown_set, 0, 0)
    assert line_with("state  ", grown_set).endswith("; no earlier ones there")
    assert line_with("to prune ", grown_set) == "to prune    nothing"
    assert "features.prune" not in "".join(lines_of(described(grown_set)))


def test_an_earlier_state_that_cannot_be_read_is_reported(grown_set, capsys):
    state = grown_set / "states" / "manifest-000001.json"
    state.write_text("{")
    assert call("features.show", grown_set) == 0
    text = capsys.readouterr().out
    assert f"{state} is not the manifest of a feature set" in text
    assert f"features.prune {grown_set} refuses" in text
    figures = figures_of(described(grown_set))
    assert figures["unreadable_states"] == ["states/manifest-000001.json"]
    assert figures["earlier_states"] == [1, 2]


def test_the_last_runs_are_shown(grown_set):
    table = [line.split() for line in history_lines(read_runs(Layout(grown_set, "tfrecord")))]
    assert table[0] == ["runs", "4,", "the", "latest", "last"]
    assert " ".join(table[1]) == "scan begun state clips computed copied kept removed rejected seconds hit rate"
    # Of this helper's lines; those of the command have all.
    assert [row[2:] for row in table[2:]] == [
        [state, "-", computed, "0", kept, "0", "-", "-", "-"]
        for state, computed, kept in (("1", "4", "0"), ("1", "0", "4"), ("2", "2", "4"), ("3", "1", "6"))
    ]
    figures = figures_of(described(grown_set))
    assert [run["computed"] for run in figures["runs"]] == [4, 0, 2, 1]
    assert figures["runs"] == read_runs(Layout(grown_set, "tfrecord"))


def test_the_runs_of_the_command_are_shown_in_full(feature_set, tmp_path, capsys):
    assert call("features.show", feature_set, "--summary", tmp_path / "summary.json") == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("runs  "))
    [run, *_] = json.loads((tmp_path / "summary.json").read_text())["runs"]
    row = lines[first + 2].split()
    assert row[2:8] == ["1", "120", "120", "0", "0", "0"]
    assert row[8:] == ["0", f"{run['seconds']:.1f}", "0.0", "%"]
    began = datetime.datetime.fromisoformat(f"{row[0]} {row[1]}").timestamp()
    assert run["scan_started_ns"] / 1e9 - began < 1


def test_of_many_runs_the_last_ten_are_shown():
    runs = [{"state": number, "clips": 1_234_567, "seconds": 0.25} for number in range(1, 1_201)]
    lines = history_lines(runs)
    assert lines[0] == "runs        the last 10 of 1,200, the latest last"
    assert [line.split()[1] for line in lines[2:]] == [f"1,{number:03d}" for number in range(191, 201)]
    assert "1,234,567" in lines[2]
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0.0 %"), (1, "100.0 %"), (0.99999, "99.9 %"), (0.5, "50.0 %"), (0.2567, "25.6 %")]
)
def test_a_hit_rate_of_100_percent_means_that_nothing_was_computed(rate, text):
    assert history_lines([{"hit_rate": rate}])[-1].endswith(f" {text}")


def test_the_lines_of_older_versions_and_of_other_hands_are_shown():
    older = {"clips": 5, "computed": 2, "kept": 3, "rejected": 0, "state": 1, "seconds": 1.25, "hit_rate": 0.6}
    strange = {"state": "first", "clips": None, "seconds": float("nan"), "hit_rate": float("inf"), "kept": True,
               "scan_started_ns": 10**40, "removed": [], "copied": 10**400}  # fmt: skip
    lines = history_lines([older, strange, {}])
    assert lines[2].split() == ["-", "1", "5", "2", "-", "3", "-", "0", "1.2", "60.0", "%"]
    assert [line.split() for line in lines[3:]] == [["-"] * 10] * 2
    repair = {"state": 3, "clips": 5, "repaired": 2, "scan_started_ns": None}
    row_text = " ".join(history_lines([repair])[-1].split())
    assert row_text == "- 3 5 - - - - - - - a repair: 2 shards have other bytes"
    assert history_lines([]) == ["runs        none is recorded"]


def test_a_file_that_goes_away_meanwhile_is_not_counted(grown_set, monkeypatch):
    size = described(grown_set).disk_bytes
    getsize = os.path.getsize

    def vanished(path):
        if str(path).endswith("runs.jsonl"):
            raise FileNotFoundError(path)
        return getsize(path)

    monkeypatch.setattr(os.path, "getsize", vanished)
    lost = (grown_set / "runs.jsonl").stat().st_size
    assert described(grown_set).disk_bytes == size - lost


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.50 s"), (119, "119.00 s"), (120, "2.0 min"), (7_200, "2.00 h"), (1e7, "2,777.78 h")]
)
def test_durations_are_in_the_unit_that_people_take(seconds, text):
    assert duration_text(seconds) == text


def test_the_overview_shows_three_clips_a_class(words_set):
    _, examples, figure = shown(words_set)
    assert [example.label for example in examples] == ["high"] * 3 + ["low"] * 3 + ["middle"] * 3
    assert all(example.trace for example in examples)
    shown_texts = [text.get_text() for text in figure.texts]
    assert all(example.path in shown_texts for example in examples)
    assert len(figure.axes) == 9 * 2 + 2
    waveform, image = figure.axes[:2]
    assert waveform.get_ylabel() == "amplitude"
    assert image.get_ylabel() == "frequency (Hz)"
    assert {axes.get_xlabel() for axes in figure.axes} == {"", "time (s)", "duration (s)"}
    counts, durations = figure.axes[-2:]
    assert [label.get_text() for label in counts.get_xticklabels()] == ["high", "low", "middle"]
    assert [text.get_text() for text in counts.get_legend().get_texts()] == ["training", "validation", "testing"]
    assert sum(patch.get_height() for patch in counts.patches) == 61
    assert "features take 0.25 s" in [text.get_text() for text in durations.get_legend().get_texts()]
    assert any("61 clips in 3 classes" in title for title in titles(figure))


def test_ten_folds_are_distinguished(words_set):
    description, examples, _ = shown(words_set)
    folds = [f"fold-{number}" for number in range(1, 11)]
    shards = description.manifest.partitions["training"]
    manifest = replace(description.manifest, partitions=dict.fromkeys(folds, shards))
    cells = {(label, fold): (3, 1.0) for label in manifest.classes for fold in folds}
    figure = draw_overview(replace(description, manifest=manifest, cells=cells), examples[:1])
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_title() == "clips by class"]
    assert [text.get_text() for text in legend.get_texts()] == folds
    assert len({(patch.get_facecolor(), patch.get_hatch()) for patch in legend.legend_handles}) == 10


def test_the_overview_is_the_same_every_time(tmp_path, capsys):
    folder = make_set(write_classes(tmp_path / "source", ["a", "b"], 1), tmp_path / "set")
    for name in ("one.png", "two.png"):
        assert call("features.show", folder, "--output", tmp_path / name) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert f"Look at {tmp_path / 'two.png'}" in capsys.readouterr().out


@pytest.mark.parametrize(("classes", "drawn", "name"), [(2, 6, LONG), (10, 24, "k{:02d}"),
                                                      pytest.param(50, 50, LONG, marks=pytest.mark.trial)])  # fmt: skip
def test_no_text_is_cut_off_or_overlaps(tmp_path, classes, drawn, name):
    labels = [name.format(number) for number in range(classes)]
    source = write_classes(tmp_path / "source", labels, 3)
    _, examples, figure = shown(make_set(source, tmp_path / "set", SMALL_MEL))
    assert len(examples) == drawn
    assert len(figure.axes) == 2 * drawn + 2
    assert not misplaced(figure)


def test_of_many_classes_the_largest_are_shown(tmp_path):
    source = write_classes(tmp_path / "source", [f"k{number:02d}" for number in range(70)], 2)
    folder = make_set(source, tmp_path / "set")
    description = described(folder)
    labels = shown_classes(description)
    examples = load_examples(description)
    figure = draw_overview(description, examples[:6])
    assert len(labels) == 60 == len(examples)
    assert labels == sorted(labels)
    left_out = set(description.manifest.classes) - set(labels)
    assert all(int(label[1:]) % 3 == 2 for label in left_out)  # those with one clip
    assert any("60 largest of 70 classes" in title for title in titles(figure))


@pytest.mark.parametrize("gone", ["all", "some", "changed"])
def test_without_the_source_the_shards_are_shown(tmp_path, gone):
    source = write_classes(tmp_path / "source", ["a", "b"], 1)
    folder = make_set(source, tmp_path / "set")
    expected = shown(folder)[1]
    if gone == "all":
        shutil.rmtree(source)
    for path in source.glob("a/*.wav"):
        if gone == "some":
            path.unlink()
        else:
            write_wav(path, noise(500), 8_000)
    _, examples, figure = shown(folder)
    assert [example.trace is None for example in examples] == [gone == "all" or e.label == "a" for e in examples]
    for example, before in zip(examples, expected, strict=True):
        assert example.features.tobytes() == before.features.tobytes()
    assert len(figure.axes) == len(examples) * (1 if gone == "all" else 2) + 2
    assert any("gone or have changed" in title for title in titles(figure))
    assert not misplaced(figure)


def test_pooled_features_stand_below_the_spectrogram_of_the_waveform(tmp_path):
    source = write_classes(tmp_path / "source", ["a", "b"], 2)
    _, examples, figure = shown(make_set(source, tmp_path / "set", POOLED))
    assert len(figure.axes) == 3 * len(examples) + 2
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[:3]]
    assert labels == [("", "amplitude"), ("time (s)", "frequency (Hz)"), ("MFCC (coefficient)", "mean value")]
    assert len(figure.axes[2].patches) == 40
    assert any("the mean of its mfcc" in title for title in titles(figure))
    assert not misplaced(figure)


def test_the_clips_shown_are_of_different_groups_where_there_are_some():
    clips = clip_rows(12, label=["a"] * 6 + ["b"] * 6, group=["one"] * 5 + ["two"] + ["one"] * 6)
    rows = choose(clips, ["a", "b"], 3)
    assert [row["label"] for row in rows] == ["a"] * 3 + ["b"] * 3
    assert {row["group"] for row in rows[:3]} == {"one", "two"}
    assert len({row["path"] for row in rows}) == 6
    again = choose(clips.take(list(range(11, -1, -1))), ["a", "b"], 3)
    assert again == rows


STEREO = np.stack([sine(440, 96_000, 48_000), -0.5 * sine(440, 96_000, 48_000)], axis=1)


def test_a_comparison_says_what_becomes_of_a_stereo_file(tmp_path, capsys, words_set):
    path, picture = tmp_path / "stereo.wav", tmp_path / "compare.png"
    soundfile.write(path, STEREO, 48_000, subtype="PCM_24")
    summary = tmp_path / "summary.json"
    assert call("features.show", words_set, "--compare", path, "--output", picture, "--summary", summary) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "sample rate 48,000 Hz 8,000 Hz" in text
    assert "channels 2 1" in text
    assert "duration 2.0000 s 0.2500 s" in text
    assert "peak -6.0 dBFS -18.1 dBFS" in text
    assert "the mean of 2 channels is used" in text
    assert "0.000 to 0.250 s of 2.000 s are used, the rest is cut" in text
    assert str(picture) in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    figures = json.loads(summary.read_text())
    assert figures["original"]["rms"] == pytest.approx(np.sqrt(np.square(STEREO).mean()), rel=1e-5)
    assert figures["cut_seconds"] == 1.75
    assert figures["padded_seconds"] == 0


@pytest.mark.parametrize(
    ("low_hz", "high_hz", "unused"),
    [
        (20.0, 8_000.0, ["8,000 to 16,000 Hz"]),
        (20.0, 16_000.0, []),
        (4_000.0, 12_000.0, ["0 to 4,000 Hz", "12,000 to"]),
    ],
)
def test_a_comparison_shows_what_lies_in_no_mel_band(tmp_path, low_hz, high_hz, unused):
    spec = changed(
        LOG_MEL, sample_rate_hz=32_000, clip_seconds=0.25, mel_bands=20, mel_low_hz=low_hz, mel_high_hz=high_hz
    )
    comparison = compare(str(write_wav(tmp_path / "a.wav", noise(12_000), 48_000)), spec)
    drawn = draw_comparison(comparison).axes
    original, used = [axes for axes in drawn if axes.get_ylabel() == "frequency (Hz)"]
    features = drawn[-1]
    assert f"{high_hz:,.0f} Hz: above is not used" in [text.get_text() for text in original.texts]
    texts = [text.get_text() for text in used.texts]
    assert len(texts) == len(used.patches) == len(unused)
    assert all(text.startswith(part) for text, part in zip(texts, unused, strict=True))
    # The whole spectrum is on the axis of the bands: they cover the image, and the rest is hatched.
    bottom, top = features.get_ylim()
    image = tuple(features.images[0].get_extent()[2:])
    hatched = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in features.patches]
    assert [patch.get_hatch() for patch in features.patches] == ["//"] * len(unused)
    assert image == (-0.5, 19.5)
    assert sorted([*hatched, image])[0][0] == bottom
    assert sorted([*hatched, image])[-1][1] == top
    for (_, end), (begin, _) in itertools.pairwise(sorted([*hatched, image])):
        assert end == begin
    ticks = dict(zip((label.get_text() for label in features.get_yticklabels()), features.get_yticks(), strict=True))
    assert ("16000" in ticks) == (high_hz < 16_000)
    if low_hz == 20:
        assert ticks.get("16000", 19.5) == pytest.approx(top)
    lines = [line for line in comparison_lines(comparison) if line.startswith("not used")]
    assert len(lines) == len(unused)
    assert all(part in line for line, part in zip(lines, unused, strict=True))


def test_the_picture_of_a_comparison(tmp_path):
    path = write_wav(tmp_path / "stereo.wav", STEREO, 48_000)
    figure = draw_comparison(compare(str(path), SMALL))
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == [
        "channel 1\n(left)", "channel 2\n(right)", "frequency (Hz)", "dB of a full-scale sine", "mono",
        "frequency (Hz)", "dB of a full-scale sine", "frequency (Hz)",
    ]  # fmt: skip
    original, fitted = figure.axes[2], figure.axes[5]
    assert original.get_ylim() == (0, 24_000)
    assert fitted.get_ylim() == (0, 4_000)
    assert original.get_xlim() == (0, 2)
    assert fitted.get_xlim() == (0, 0.25)
    assert original.images[0].get_clim() == fitted.images[0].get_clim()
    assert [text.get_text() for text in figure.axes[0].texts] == ["cut"]
    assert "4,000 Hz: above is not used" in [text.get_text() for text in original.texts]
    heads = [axes.get_title(loc="left") for axes in figure.axes]
    assert heads[0].startswith("original: 48,000 Hz, 2 channels, 2.000 s, -0.500 to 0.500")
    assert heads[4].startswith("used: 8,000 Hz, mono, 0.250 s")
    assert not misplaced(figure)


@pytest.mark.parametrize(
    ("frames", "channels", "spec"),
    [
        (1, 1, SMALL),
        pytest.param(300, 1, SMALL_MEL, marks=pytest.mark.trial),
        pytest.param(1_000, 3, SMALL, marks=pytest.mark.trial),
        (1_000, 12, SMALL_MEL),
        pytest.param(2_000, 2, SMALL, marks=pytest.mark.trial),
        (2_000, 1, POOLED),
    ],
)
def test_padding_is_shaded_and_no_text_is_cut_off(tmp_path, frames, channels, spec):
    samples = noise(frames * channels).reshape(frames, channels)
    path = write_wav(tmp_path / ("x" * 100 + ".wav"), samples, 8_000)
    comparison = compare(str(path), spec)
    figure = draw_comparison(comparison)
    assert comparison.cut_seconds == 0
    if spec.clip_seconds is None:
        assert comparison.padded_seconds == 0
    else:
        assert comparison.padded_seconds == pytest.approx(0.25 - frames / 8_000, abs=2e-4)
    zeros = [text.get_text() for axes in figure.axes for text in axes.texts].count("zeros")
    assert zeros == (comparison.padded_seconds > 0)
    assert len([axes for axes in figure.axes if axes.get_ylabel().startswith("channel")]) in (0, min(channels, 8))
    assert not misplaced(figure)


@pytest.mark.parametrize("crop", ["start", "centre"])
@pytest.mark.parametrize(("frames", "rate_hz"), [(20_001, 8_000), (30_000, 11_025), (1_000, 44_100), (11_024, 44_100)])
def test_the_part_that_is_called_used_is_the_one_that_is(tmp_path, crop, frames, rate_hz):
    spec = changed(SMALL, crop=crop)
    path = str(write_wav(tmp_path / "sound.wav", noise(frames), rate_hz))
    info = probe(path)
    comparison = compare(path, spec)
    waveform = fit(decode(path, info, comparison.start, comparison.end - comparison.start), rate_hz, spec)
    assert waveform.tobytes() == clip_waveform(path, spec)[0].tobytes()


def test_wrong_use_is_refused_in_one_line(words_set, tmp_path):
    wav = write_wav(tmp_path / "sound.wav", noise(1_000), 8_000)
    text = tmp_path / "text.wav"
    text.write_bytes(b"no sound " * 20)
    cases = {
        "no such feature set: nowhere": ["nowhere"],
        "is not a complete feature set": [tmp_path],
        "ends in .png, not overview.jpg": [words_set, "--output", "overview.jpg"],
        "make nowhere first": [words_set, "--output", "nowhere/overview.png"],
        "--compare draws a picture": [words_set, "--compare", wav],
        "is rejected: not_audio": [words_set, "--compare", text, "--output", tmp_path / "compare.png"],
        "is rejected: missing": [words_set, "--compare", tmp_path / "no.wav", "--output", tmp_path / "compare.png"],
        "is rejected: unreadable": [words_set, "--compare", tmp_path, "--output", tmp_path / "compare.png"],
    }
    for message, arguments in cases.items():
        with pytest.raises(UsageError, match=message.replace(".", r"\.")) as error:
            call("features.show", *arguments)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "compare.png").exists()


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_set_without_its_clips_table_ends_the_run(words_set, tmp_path, damage):
    folder = Path(shutil.copytree(words_set, tmp_path / "set"))
    table = folder / load_manifest(folder).clips_file
    table.unlink() if damage == "missing" else table.write_bytes(b"no table")
    message = "cannot read the clips table" if damage == "missing" else "is not the one that was committed"
    with pytest.raises(RunError, match=message) as error:
        call("features.show", folder)
    assert "\n" not in str(error.value)


def test_looking_loads_neither_tensorflow_nor_beam_nor_matplotlib(words_set):
    code = (
        "import sys; from tests.conftest import call; "
        f"call('features.show', {str(words_set)!r}); "
        "print({name.partition('.')[0] for name in sys.modules} & {'tensorflow', 'apache_beam', 'matplotlib'})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "set()"


def test_the_command_has_help_and_codes(tmp_path):
    assert "--compare recording.flac" in run_command("features.show", "--help").stdout
    result = run_command("features.show", tmp_path, check=False)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["audiofile__aiff_stereo_24bit_44100.aif", "made__yes_5.1_wavex.wav", "mutagen__48k-2ch-s16-silence.aif",
     "lhotse__stereo.mp3", "scipy__test-8000Hz-be-3ch-5S-24bit.wav", "made__yes_384k.wav"],
)  # fmt: skip
def test_damaged_files_are_compared(data, name):
    path = data / "odd_audio" / name
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    comparison = compare(str(path), STFT)
    original = comparison.original
    assert (original.rate_hz, original.samples, original.channels) == (rate_hz, *samples.shape)
    assert (original.minimum, original.maximum) == pytest.approx((samples.min(), samples.max()), abs=1e-6)
    figure = draw_comparison(comparison)
    assert not misplaced(figure)
