import matplotlib.image
import numpy as np
import pytest

from features.errors import UsageError
from features.frontend.presets import preset
from model.pictures.augmentation_picture import AugmentedClip, augmentation_figure
from tests.conftest import call
from tests.features.pictures.test_drawing import misplaced
from tests.signals import noise, write_wav

WORDS = ["a", "Grasshopper Warbler (Locustella) $5$"]


def test_the_preview_is_of_the_settings_given_and_nothing_else_is_written(feature_set, tmp_path, capsys):
    write_wav(tmp_path / "noise" / "hum.wav", noise(40_000))
    options = ("model.train", "--features", feature_set, "--mixup-alpha", 0.3)
    assert call(*options, "--preview", tmp_path / "mixup.png") == 0
    more = ("--noise", tmp_path / "noise", "--noise-probability", 1, "--gain-db", 6, "--time-masks", 1)
    assert call(*options, "--preview", tmp_path / "all.png", *more) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.png", "mixup.png", "noise"]
    mixup, everything = (matplotlib.image.imread(tmp_path / name) for name in ("mixup.png", "all.png"))
    clips = np.s_[:, : mixup.shape[1] // 6]  # as they are
    np.testing.assert_array_equal(mixup[clips], everything[clips])
    assert not np.array_equal(mixup, everything)
    assert "nothing was trained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--network", "tutorial-cnn"), "nothing to show: tutorial-cnn is trained without augmentation by default"),
        (("--resume", "--mixup-alpha", 1), "--resume goes with --output"),
        (("--noise-probability", 1), "cannot be done"),
    ],
)
def test_a_preview_that_shows_nothing_is_refused(feature_set, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        call("model.train", "--features", feature_set, "--preview", tmp_path / "a.png", *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["log-mel", "speech-commands", "urbansound-mfcc"])
@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.trial)])
def test_each_clip_has_a_row_in_its_own_colours(name, count):
    spec = preset(name)
    values = np.random.default_rng(0).random((3, *spec.shape)).astype(np.float32)
    draws = [(values[1], np.array([0.3, 0.7], np.float32)), (2 * values[2], np.array([0.98, 0.02], np.float32))]
    figure = augmentation_figure([AugmentedClip(WORDS[1], values[0], draws)] * count, spec, WORDS)
    assert len(figure.axes) == 3 * count
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[0].endswith("as it is")
    assert titles[1].startswith("0.70 Gra")
    assert titles[1].endswith("+ 0.30 a")
    assert titles[2] == "0.98 a"
    assert len({image.get_clim() for axes in figure.axes for image in axes.get_images()}) == (len(spec.shape) > 1)
    assert not misplaced(figure)
