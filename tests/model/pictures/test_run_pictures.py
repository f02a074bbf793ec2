import matplotlib.image
import numpy as np
import pytest

from features.frontend.presets import preset
from features.frontend.spectrogram import compute_features
from model.pictures.example_pictures import Example, ExampleGrid, draw_examples, examples_figure
from model.pictures.run_pictures import (
    LabelledWindow,
    confusion_figure,
    curves_figure,
    draw_confusion,
    draw_curves,
    windows_figure,
)
from tests.features.pictures.test_drawing import misplaced
from tests.signals import noise

STFT, LOG_MEL, POOLED = preset("speech-commands"), preset("log-mel"), preset("urbansound-mfcc")
LONG = "Grasshopper Warbler (Locustella) $5$ in the morning {:02d}"
HISTORY = [{"epoch": epoch, "loss": 2 / epoch, "accuracy": 1 - 1 / (epoch + 1), "seconds": 3.0} for epoch in (1, 2, 3)]


def validated(history, *names):
    return [{**row, **{f"val_{name}": row[name] / 2 for name in names}} for row in history]


def named(classes: int) -> list[str]:
    return [LONG.format(number) for number in range(classes)]


def window(spec, classes=3, true=None, probabilities=None, path="sounds/one.wav") -> LabelledWindow:
    waveform = noise(spec.clip_samples or 30_000)
    if probabilities is None:
        weights = np.arange(classes, 0, -1) / sum(range(classes + 1))
        probabilities = dict(zip((f"k{number}" for number in range(classes)), weights.tolist(), strict=True))
    return LabelledWindow(path, 0.0, 1.0, waveform, compute_features([waveform], spec)[0], probabilities, true)


def lines_of(axes) -> dict[str, list[float]]:
    return {line.get_label(): line.get_ydata().tolist() for line in axes.lines}


def test_curves_show_training_and_validation():
    figure = curves_figure(validated(HISTORY, "loss", "accuracy"))
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss (cross-entropy)")
    assert accuracy.get_ylabel() == "accuracy"
    assert lines_of(loss) == {"training": [2, 1, 2 / 3], "validation": [1, 0.5, 1 / 3]}
    assert "validation after each epoch" in figure.get_suptitle()


def test_curves_without_validation_say_so():
    figure = curves_figure(HISTORY)
    assert [list(lines_of(axes)) for axes in figure.axes] == [["training"]] * 2
    assert "there was no validation" in figure.get_suptitle()


def test_recall_has_a_panel_of_its_own_where_it_was_measured():
    history = [{**row, "recall": 0.3 * row["epoch"]} for row in HISTORY]
    figure = curves_figure(validated(history, "loss", "accuracy", "recall"))
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (cross-entropy)", "accuracy", "recall"]
    assert lines_of(figure.axes[2])["training"] == pytest.approx([0.3, 0.6, 0.9])
    assert not misplaced(figure)
    assert list(lines_of(curves_figure(history).axes[2])) == ["training"]


def test_one_epoch_has_curves():
    assert not misplaced(curves_figure(HISTORY[:1]))


@pytest.mark.parametrize(("classes", "numbers"), [(2, 4), pytest.param(8, 64, marks=pytest.mark.trial), (50, 0)])
@pytest.mark.parametrize("long_names", [True, False], ids=["long", "short"])
def test_a_confusion_matrix_has_room_for_its_names(classes, numbers, long_names):
    labels = named(classes) if long_names else [f"k{number}" for number in range(classes)]
    title = "accuracy 0.735 (95 %: 0.690 to 0.765) on 4,840 clips"
    figure = confusion_figure(np.full((classes, classes), 3), labels, title)
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "share of the true class"
    assert len(axes.texts) == numbers
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == classes
    assert [text.get_text() for text in figure.texts] == [title]
    assert not misplaced(figure)


@pytest.mark.parametrize("spec", [LOG_MEL, pytest.param(POOLED, marks=pytest.mark.trial)], ids=["log_mel", "pooled"])
def test_sixteen_examples_of_any_front_end(spec):
    labels = named(16)
    features = compute_features([noise(spec.clip_samples or 30_000)], spec)[0]
    examples = [
        Example(f"a/long/folder/{number:030d}.wav", features, labels[number], labels[number // 2], 0.5)
        for number in range(16)
    ]
    figure = examples_figure(examples, spec, "Mistakes first")
    assert len(figure.axes) == 16
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("right: ")
    assert all(title.startswith("wrong: ") for title in titles[1:])
    assert all(title.endswith(f"{number:02d}.wav") for number, title in enumerate(titles))
    assert figure.axes[12].get_xlabel() == ("MFCC (coefficient)" if spec is POOLED else "time (s)")
    assert not misplaced(figure)


def test_few_examples_leave_the_rest_of_the_grid_empty(tmp_path):
    features = compute_features([noise(16_000)], STFT)[0]
    figure = examples_figure([Example("up/$1.wav", features, "up", "down", 0.987)], STFT, "Mistakes first")
    assert figure.axes[0].get_position().x1 < 1 / 4
    assert len(figure.axes) == 1
    assert figure.axes[0].get_title() == "wrong: up → down (0.99)\nup/\\$1.wav"


def test_an_example_is_cut_out_of_the_picture_with_its_title_and_its_axes(tmp_path):
    features = compute_features([noise(16_000)], STFT)[0]
    examples = [Example(f"{number}.wav", features * number, "up", "down", 0.5) for number in range(1, 6)]
    draw_examples(examples, STFT, "Mistakes first", tmp_path / "examples.png")
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    grid = ExampleGrid.of(examples)
    grid.cut(tmp_path / "examples.png", paths)
    whole, *parts = (matplotlib.image.imread(path)[..., :3] for path in (tmp_path / "examples.png", *paths))
    height, width = parts[0].shape[:2]
    assert width == pytest.approx(whole.shape[1] / 4, abs=1)
    assert all(part.shape[:2] == pytest.approx((height, width), abs=1) for part in parts)
    top = round(grid.corner(4)[1] * whole.shape[1] / grid.size[0])
    np.testing.assert_array_equal(parts[4], whole[top : top + len(parts[4]), : parts[4].shape[1]])
    for part in parts:  # nothing is cut off
        assert all((edge == 1).all() for edge in (part[0], part[-1], part[:, 0], part[:, -1]))
        assert (part < 1).any()


@pytest.mark.parametrize(
    ("true", "title"),
    [
        ("k0", "right: k0 → k0 (0.50)    0.00 to 1.00 s of sounds/one.wav"),
        ("k2", "wrong: k2 → k0 (0.50)    0.00 to 1.00 s of sounds/one.wav"),
        (None, "k0 (0.50)    0.00 to 1.00 s of sounds/one.wav"),
    ],
)
def test_a_window_says_whether_its_label_is_right(true, title):
    figure = windows_figure([window(STFT, true=true)], STFT, "1 window")
    [row] = figure.subfigs
    assert row.get_suptitle() == title
    waveform, image, bars = row.axes
    assert (waveform.get_xlabel(), waveform.get_ylabel()) == ("time (s)", "amplitude")
    assert (image.get_xlabel(), image.get_ylabel()) == ("time (s)", "frequency (Hz)")
    assert bars.get_xlabel() == "probability"
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == [name + (" (true)" if name == true else "") for name in ("k0", "k1", "k2")]
    assert [patch.get_width() for patch in bars.patches] == pytest.approx([3 / 6, 2 / 6, 1 / 6])


@pytest.mark.parametrize(
    ("classes", "spec"), [(2, POOLED), pytest.param(10, LOG_MEL, marks=pytest.mark.trial), (50, POOLED)]
)
def test_windows_with_any_number_of_classes_have_room(classes, spec):
    probabilities = {label: 1 / classes for label in named(classes)}
    windows = [window(spec, true=named(1)[0], probabilities=probabilities, path="p/" * 60 + "one.wav")] * 2
    figure = windows_figure(windows, spec, "2 windows")
    assert len(figure.subfigs) == 2
    panels = figure.subfigs[0].axes
    assert len(panels) == (4 if spec is POOLED else 3)
    assert len(panels[-1].patches) == min(classes, 10)
    assert panels[-1].get_title() == ("the first 10 of 50 classes" if classes == 50 else "")
    assert not misplaced(figure)


def test_pictures_are_written_and_the_same_every_time(tmp_path):
    features = compute_features([noise(16_000)], STFT)[0]
    for number in "12":
        draw_curves(HISTORY[:1], tmp_path / f"curves{number}.png")
        draw_confusion(np.eye(3, dtype=np.int64), ["a", "b", "c"], "title", tmp_path / f"confusion{number}.png")
        draw_examples([Example("a/1.wav", features, "a", "b", 0.5)], STFT, "title", tmp_path / f"examples{number}.png")
    for name in ("curves", "confusion", "examples"):
        content = (tmp_path / f"{name}1.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content == (tmp_path / f"{name}2.png").read_bytes()
