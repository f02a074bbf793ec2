import json

import numpy as np
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from features.store.statistics import Statistics
from model.evaluation.cross_validation import cross_validate, split_folds
from model.evaluation.evaluator import evaluate
from model.inference.artifact import load_artifact, read_description, read_linear
from model.inference.executor import load_executor
from model.training.history import EachEpoch, read_history
from model.training.linear_scaling import Scaling
from model.training.trainer import train
from model.tuning.study import tune
from tests.conftest import call
from tests.features.networks.small import HIDDEN, RATE_HZ, small_toml, write_small_network
from tests.model.training.test_linear import files, rows_of
from tests.signals import noise, sine, write_wav


def featurized(root, sounds):
    """Returns a set of what the small network gives, whose values are proportional to how loud a clip is.

    Args:
        root: folder for it.
        sounds: by label and number the frequency in Hz and the amplitude.
    """
    for (label, number), (hz, amplitude) in sounds.items():
        waveform = amplitude * (sine(hz, 2_000, RATE_HZ) + noise(2_000, seed=number, amplitude=0.3))
        write_wav(root / "clips" / label / f"{number}.wav", waveform, RATE_HZ)
    (root / "spec.toml").write_text(small_toml(clip_seconds=0.25))
    write_small_network(root / "network.tflite")
    featurize = (
        "--input",
        root / "clips",
        "--output",
        root / "set",
        "--spec",
        root / "spec.toml",
        "--split",
        "60/20/20",
    )
    assert call("pipelines.featurize", *featurize) == 0
    return root / "set"


@pytest.fixture(scope="module")
def near_and_far(tmp_path_factory):
    """Two tones, each from near and from far: what the network gives for one has any length."""
    amplitudes = 10 ** np.random.default_rng(0).uniform(-2.0, -0.3, 60)
    sounds = {(label, number): (hz + number, amplitudes[number])
              for label, hz in (("high", 900), ("low", 150)) for number in range(60)}  # fmt: skip
    return featurized(tmp_path_factory.mktemp("near"), sounds)


@pytest.fixture(scope="module")
def loud_and_quiet(tmp_path_factory):
    """One tone, loud and quiet: nothing but a length tells them apart."""
    sounds = {(label, number): (300 + number, amplitude + number / 1_000)
              for label, amplitude in (("loud", 0.5), ("quiet", 0.05)) for number in range(60)}  # fmt: skip
    return featurized(tmp_path_factory.mktemp("loud"), sounds)


def test_values_at_unit_length_are_those_of_scikit_learn(scikit_learn):
    generator = np.random.default_rng(0)
    features = generator.gamma(0.5, generator.uniform(0.1, 2.0, 12), (40, 12)) * generator.uniform(0.01, 10.0, (40, 1))
    expected = scikit_learn(
        "unit length, then mean 0 and variance 1",
        lambda library: library.preprocessing.scale(library.preprocessing.normalize(features)),
    )
    for shape in ((12,), (3, 4)):  # of windows that are not pooled the length is that of the clip
        scaling = Scaling.at_unit_length(features, shape)
        if shape == (12,):
            np.testing.assert_allclose(scaling.scaled(features), expected, atol=1e-4)
        weights, bias = generator.normal(size=(12, 3)), generator.normal(size=3)
        network = scaling.network(weights, bias)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        np.testing.assert_allclose(
            features / lengths @ network.weights.T + network.bias,
            scaling.scaled(features) @ weights + bias, rtol=1e-3, atol=1e-3,
        )  # fmt: skip


def test_a_clip_of_no_length_stays_as_it_is():
    features = np.random.default_rng(0).normal(size=(5, 4))
    features[2] = 0.0
    scaling = Scaling.at_unit_length(features, (4,))
    np.testing.assert_allclose(scaling.scaled(features)[2], -scaling.mean / scaling.deviation)
    as_they_are = Scaling.by(Statistics.of(features), (4,))
    assert (as_they_are.unit_length, scaling.unit_length) == (False, True)


def test_the_length_of_clips_is_left_out_where_validation_says_that_it_is_better(near_and_far, tmp_path):
    shown = []
    run = tmp_path / "run"
    figures = train(str(near_and_far), str(run), {"test_on": ("testing",)}, watch=EachEpoch(shown.append))
    assert (figures["network"], figures["unit_length"], figures["inner_folds"]) == ("linear", True, False)
    history = read_history(run / "history.csv")
    assert [row["l2"] for row in shown] == [row["l2"] for row in history], "those of what was chosen, and no others"
    assert min(row["val_loss"] for row in history) == figures["loss"]

    features, ids = rows_of(near_and_far, "testing")
    network = read_linear(run, read_description(run))
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    expected = features / lengths @ network.weights.T.astype(np.float64) + network.bias
    outputs = load_executor(run).outputs(features.astype(np.float32))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        load_artifact(run).probabilities(features.astype(np.float32)), load_executor(run).probabilities(features),
        atol=1e-5,
    )  # fmt: skip
    right = np.mean(expected.argmax(axis=1) == ids)
    metrics = evaluate(str(run), str(near_and_far), ("testing",))
    assert right == figures["testing_accuracy"] == metrics["accuracy"]

    whole = files(run)
    (run / "model" / "artifact.json").unlink()  # as it is while the last files are written
    for _ in range(2):  # the second has ended
        resumed = train(str(near_and_far), str(run), {}, resume=True)
        assert files(run) == whole
        assert (resumed["unit_length"], resumed["l2"], resumed["loss"]) == (True, figures["l2"], figures["loss"])


def test_inner_folds_choose_likewise_and_the_command_says_so(near_and_far, tmp_path, capsys):
    options = ("--features", near_and_far, "--train-on", "training,validation", "--validate-on", "testing")
    summary = tmp_path / "summary.json"
    assert call("model.train", *options, "--output", tmp_path / "run", "--summary", summary) == 0
    assert "The L2 penalty is 0.0" in (said := capsys.readouterr().out)
    assert ", of features at unit length, the best of " in said
    assert json.loads(summary.read_text())["unit_length"] is True
    figures = train(str(near_and_far), str(tmp_path / "inner"), {"train_on": ("training", "validation")})
    assert (figures["unit_length"], figures["inner_folds"]) == (True, True)
    # Where nothing says what is better, features are taken as they are.
    given = {"l2": figures["l2"], "validate_on": ()}
    assert train(str(near_and_far), str(tmp_path / "given"), given)["unit_length"] is False


def test_other_commands_that_train_take_the_linear_network_too(near_and_far, tmp_path):
    figures = cross_validate(str(near_and_far), str(tmp_path / "cv"), split_folds(str(near_and_far), splits=3), {})
    assert {fold["network"] for fold in figures["folds"]} == {"linear"}
    with pytest.raises(
        UsageError, match=r"linear chooses its L2 penalty by itself .* or another network with --network"
    ):
        tune(str(near_and_far), str(tmp_path / "study"), 2, {})


def test_features_stay_as_they_are_where_their_length_says_something(loud_and_quiet, tmp_path):
    assert load_manifest(loud_and_quiet).spec.shape == (HIDDEN,)
    figures = train(str(loud_and_quiet), str(tmp_path / "run"), {"test_on": ("testing",)})
    assert (figures["unit_length"], figures["testing_accuracy"]) == (False, 1.0)
    assert not read_linear(tmp_path / "run", read_description(tmp_path / "run")).unit_length
