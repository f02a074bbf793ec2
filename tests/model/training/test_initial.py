"""A training that begins with the weights of an earlier run."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.inference.artifact import load_artifact
from model.training.initial import initial_run
from model.training.trainer import train
from tests.conftest import call
from tests.model.untrained import save_untrained

# So small a learning rate that the weights stay what they are, but for those that are 0.
SETTINGS = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-30}


def weights(run) -> list[np.ndarray]:
    return load_artifact(run).network.get_weights()


@pytest.fixture(scope="module")
def untrained_mlp(feature_set, tmp_path_factory) -> Path:
    """A run folder with a network of classes that are not quite those of the set."""
    run = tmp_path_factory.mktemp("runs") / "earlier"
    return save_untrained(run, feature_set, ["another", "low", "high"], seed=5, name="mlp")


@pytest.fixture
def earlier(untrained_mlp, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(untrained_mlp, tmp_path / "earlier")


def test_weights_are_those_of_the_earlier_run_and_classes_keep_their_outputs(earlier, feature_set, tmp_path):
    train(str(feature_set), str(tmp_path / "run"), SETTINGS, init=str(earlier))
    assert load_artifact(tmp_path / "run").network_name == "mlp"
    *mine, kernel, bias = weights(tmp_path / "run")
    *theirs, old_kernel, old_bias = weights(earlier)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-28)
    assert load_manifest(feature_set).classes == ["high", "low", "middle"]
    np.testing.assert_allclose(kernel[:, :2], old_kernel[:, [2, 1]], rtol=0, atol=1e-28)
    np.testing.assert_allclose(bias[:2], old_bias[[2, 1]], rtol=0, atol=1e-28)
    assert not np.isin(kernel[:, 2], old_kernel).any()
    # A run that goes on has its weights; it takes nothing from the earlier one any more.
    shutil.rmtree(earlier)
    with pytest.raises(UsageError, match=r"was begun with --init .*earlier, not with --init elsewhere"):
        train(str(feature_set), str(tmp_path / "run"), {}, resume=True, init="elsewhere")
    assert train(str(feature_set), str(tmp_path / "run"), {}, resume=True)["epochs"] == 1


def test_another_network_is_refused(earlier, feature_set, tmp_path):
    with pytest.raises(UsageError, match=r"--init .*earlier holds another network than the one to be trained"):
        train(str(feature_set), str(tmp_path / "run"), {**SETTINGS, "network": "tutorial-cnn"}, init=str(earlier))


def test_an_earlier_run_that_was_trained_anew_is_refused(earlier, feature_set):
    initial = initial_run(str(earlier), load_manifest(feature_set).spec)
    shutil.rmtree(earlier)
    save_untrained(earlier, feature_set, seed=1, name="mlp")
    artifact = load_artifact(earlier)
    with pytest.raises(UsageError, match="was trained anew since"):
        initial.give_weights(artifact.network, artifact.classes)


def test_features_of_another_spec_are_refused(earlier, words, tmp_path):
    assert call("pipelines.featurize", "--input", words, "--output", tmp_path / "set") == 0
    with pytest.raises(UsageError, match=r"--init .*earlier was .* of another spec: .*stft against log_mel"):
        train(str(tmp_path / "set"), str(tmp_path / "run"), SETTINGS, init=str(earlier))
    assert not (tmp_path / "run").exists()
