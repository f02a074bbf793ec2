from dataclasses import replace

import pytest

from features.errors import UsageError
from features.frontend.presets import preset
from model.networks.registry import NETWORKS
from model.train import parser
from model.training.applicable import applies
from model.training.options import settings_given
from model.training.recipes import choose_settings, read_recipe, recipe, write_recipe

FRAMES = preset("log-mel-40")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recipe_comes_back_from_its_file(tmp_path, name):
    path = tmp_path / "recipe.toml"
    given = {"classes": ("ja", '"nein"', "ä\\b", "🐦"), "noise_snr_db": (-5, 12.5)}
    settings = recipe(name).with_given({one: value for one, value in given.items() if applies(one, recipe(name))})
    write_recipe(path, settings)
    assert choose_settings(FRAMES, read_recipe(str(path))) == settings
    # The rows and the seed are a training's own.
    assert not {"train_on", "validate_on", "test_on", "seed"} & set(read_recipe(str(path)))


def test_what_is_given_stands_before_the_file_and_that_before_the_network(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('network = "raw-cnn"\nseed = 3\n[schedule]\nepochs = 7\nbatch_size = 8\n')
    options = parser().parse_args(["--features", "f", "--output", "r", "--config", str(path), "--epochs", "9"])
    settings = choose_settings(FRAMES, settings_given(options))
    assert (settings.network, settings.seed) == ("raw-cnn", 3)
    assert (settings.schedule.epochs, settings.schedule.batch_size, settings.schedule.patience) == (9, 8, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("--target-precision", "0.8"), ("--best-by", "accuracy"), ("--best-by", "loss"), ("--patience", "3")],
)
def test_what_takes_validation_and_is_typed_is_refused_without_it(name, value):
    typed = ["--features", "f", "--output", "r", name, value]
    with pytest.raises(UsageError, match=rf"{name} {value} would not be used: .* --validate-on is none; leave"):
        settings_given(parser().parse_args([*typed, "--validate-on", "none"]))
    assert settings_given(parser().parse_args(typed))
    without_patience = ["--features", "f", "--output", "r", "--patience", "0", "--validate-on", "none"]
    assert settings_given(parser().parse_args(without_patience))["patience"] == 0


def test_a_recipe_file_has_all_settings(tmp_path):
    path = tmp_path / "recipe.toml"
    write_recipe(path, recipe("mlp").with_given({"target_precision": 0.8}))

    def given(*options):
        return settings_given(parser().parse_args(["--features", "f", "--output", "r", *options]))

    assert given("--target-precision", "0.8", "--validate-on", "testing")["target_precision"] == 0.8
    assert given("--target-precision", "0.8")["target_precision"] == 0.8
    assert given("--config", str(path), "--validate-on", "none")["target_precision"] == 0.8, "files have all settings"


def test_a_part_of_a_recipe_joins_that_of_the_network(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[schedule]\nweight_decay = 0.02\n")
    settings = choose_settings(FRAMES, read_recipe(str(path)))
    assert (settings.schedule.optimizer, settings.schedule.weight_decay) == ("adamw", 0.02)
    with pytest.raises(UsageError, match="with --optimizer adam give --weight-decay 0"):
        choose_settings(FRAMES, {**read_recipe(str(path)), "network": "tutorial-cnn"})


def test_features_without_frames_have_a_network_of_their_own():
    assert choose_settings(preset("urbansound-mfcc"), {}) == recipe("mlp")


@pytest.mark.parametrize("more", [{}, {"clip_seconds": 5.0, "hop_samples": 48_000, "pool": None}])
def test_of_what_a_network_gave_the_linear_one_learns_pooled_or_not(more):
    spec = replace(preset("birdnet-2.4"), **more)
    assert choose_settings(spec, {}) == recipe("linear")
    assert choose_settings(spec, {"network": "mlp"}) == recipe("mlp")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs = 3", "no setting 'epochs' at its top; there are network, seed"),
        ("[schedule]\ncolour = 1", r"no setting 'colour' at \[schedule\]; there are epochs"),
        ("[rows]\nepochs = 3", r"no setting 'epochs' at \[rows\]"),
        ("[recipe]\nepochs = 3", "no setting 'recipe' at its top"),
        ("schedule = 3", r"schedule is a table of settings, \[schedule\]"),
        ("[schedule]\nepochs = 'many'", "--epochs is a whole number, not 'many'"),
        ("network = 'nothing'", "no network 'nothing'"),
        ("network = 5", "no network '5'"),
        ("seed = 'five'", "--seed is a whole number"),
        ("network = ", "is not TOML"),
        (None, "cannot read the recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, content, message):
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_recipe(str(path))
    assert str(path) in str(caught.value)
