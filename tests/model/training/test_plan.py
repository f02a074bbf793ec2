import json
import shutil
from dataclasses import replace

import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.training.plan import plan_training
from model.training.recipes import read_recipe
from tests.features.networks.small import small_spec
from tests.signals import noise, write_wav

LEFT_OUT = "training without --noise-probability: there is no background noise, neither a folder _background_noise_"


@pytest.fixture(scope="module")
def with_noise(feature_set, tmp_path_factory):
    """A feature set whose source has background noise, and that folder."""
    root = tmp_path_factory.mktemp("source")
    write_wav(root / "_background_noise_" / "hum.wav", noise(40_000))
    folder = shutil.copytree(feature_set, root / "set")
    content = json.loads((folder / "manifest.json").read_text())
    content["source"]["root"] = str(root)
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder, root / "_background_noise_"


def plan(features, given, **options):
    return plan_training(str(features), load_manifest(features), {"network": "tutorial-cnn", **given}, **options)


def test_noise_of_a_recipe_is_left_out_where_there_is_none_and_said_in_a_line(feature_set, with_noise, caplog):
    caplog.set_level("INFO")
    chosen = plan(feature_set, {"network": "residual"})
    assert (chosen.settings.augmentation.noise_probability, chosen.noise_folder) == (0, None)
    chosen.log_left_out()
    [record] = caplog.records
    assert record.message.startswith(LEFT_OUT)
    there = plan(with_noise[0], {"network": "residual"})
    assert (there.settings.augmentation.noise_probability, there.noise_folder) == (0.5, str(with_noise[1]))
    assert not there.left_out
    assert plan(feature_set, {"network": "residual"}, noise=str(with_noise[1])).noise_folder == str(with_noise[1])
    # Nothing wants it: nothing is computed.
    assert plan(with_noise[0], {}).noise_folder is None
    assert plan(with_noise[0], {"network": "residual", "noise_probability": 0}).noise_folder is None


def test_what_is_asked_for_and_cannot_be_is_refused(feature_set, with_noise, tmp_path):
    with pytest.raises(UsageError, match=r"--noise-probability 0.3 cannot be done: there is no background noise"):
        plan(feature_set, {"noise_probability": 0.3})
    (tmp_path / "recipe.toml").write_text("[augmentation]\nnoise_probability = 0.2\n")
    with pytest.raises(UsageError, match=r"--noise-probability 0.2 cannot be done"):
        plan(feature_set, read_recipe(str(tmp_path / "recipe.toml")))
    assert plan(feature_set, {**read_recipe(str(tmp_path / "recipe.toml")), "noise_probability": 0}).left_out == {}
    with pytest.raises(UsageError, match=r"--time-shift-seconds 2 cannot be done: a clip of 1 s would be moved out"):
        plan(feature_set, {"time_shift_seconds": 2})
    with pytest.raises(UsageError, match=r"--noise .*_background_noise_ would not be used: give --noise-probability"):
        plan(feature_set, {}, noise=str(with_noise[1]))
    for name, value, switches in (
        ("left_out", 2, "--splits"),
        ("unknown_share", 0.2, "--classes or --unknown"),
        ("time_mask_seconds", 0.1, "--time-masks"),
        ("noise_snr_db", (0, 10), "--noise-probability"),
    ):
        with pytest.raises(UsageError, match=rf"--{name.replace('_', '-')} .* would not be used: give {switches} too"):
            plan(feature_set, {name: value})
    # A recipe file says that they are off.
    assert plan(feature_set, {"time_mask_seconds": 0.1, "time_masks": 0}).left_out == {}
    with pytest.raises(UsageError, match="there is no folder"):
        plan(with_noise[0], {"noise_probability": 0.3}, noise=str(tmp_path / "nothing"))


@pytest.mark.parametrize("pool", ["mean", None])
def test_what_changes_spectra_is_not_for_embeddings(feature_set, with_noise, pool):
    def plan_for_embeddings(given, folder=with_noise[0]):
        manifest = replace(load_manifest(folder), spec=small_spec(pool=pool))
        return plan_training(str(folder), manifest, {"network": "mlp", **given})

    for name, value in (
        ("time_shift_seconds", 0.01),
        ("time_stretch", 0.1),
        ("frequency_warp", 0.1),
        ("gain_db", 4.0),
        ("time_masks", 1),
        ("frequency_masks", 1),
        ("noise_probability", 0.5),
    ):
        said = rf"--{name.replace('_', '-')} .* cannot be done: embeddings are no spectrogram: they take --mixup-alpha"
        with pytest.raises(UsageError, match=said):
            plan_for_embeddings({name: value})
    for folder in (with_noise[0], feature_set):  # not: give noise, which would be refused then
        with pytest.raises(UsageError, match=r"--silence-share 0.1 makes spectra louder and softer, which embeddings"):
            plan_for_embeddings({"silence_share": 0.1}, folder)
    assert plan_for_embeddings({"mixup_alpha": 0.2}).left_out == {}
    # The recipe of a network switches them on, and they are off all the same.
    if pool is None:
        chosen = plan_for_embeddings({"network": "residual"})
        left = {name for name, value in vars(chosen.settings.augmentation).items() if value and "mask_" not in name}
        assert (left, chosen.noise_folder) == ({"mixup_alpha", "noise_snr_db"}, None)
