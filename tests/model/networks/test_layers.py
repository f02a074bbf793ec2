from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import softmax

from features.frontend.presets import preset
from features.store.statistics import Statistics
from model.inference.artifact import Artifact, load_artifact, save_artifact
from model.inference.executor import EXECUTORS, load_executor
from model.networks.builder import build
from model.networks.layers import normalization, use_given_normalization, without_still_bands
from model.networks.registry import network


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (5.0, 0.25), (-3.0, 40.0)])
def test_normalization_gives_mean_0_and_variance_1(mean, deviation):
    features = np.random.default_rng(0).normal(mean, deviation, (50, 10, 8, 1)).astype(np.float32)
    layer = normalization(float(features.mean()), float(features.var()))
    normal = layer(features).numpy()
    assert normal.mean() == pytest.approx(0, abs=1e-4)
    assert normal.var() == pytest.approx(1, abs=1e-4)
    expected = (features - features.mean()) / np.sqrt(features.var())
    np.testing.assert_allclose(normal, expected, rtol=1e-4, atol=1e-5)


def test_features_that_are_all_the_same_stay_finite():
    assert np.isfinite(normalization(1.0, 0.0)(np.ones((1, 2, 2, 1), np.float32))).all()


@pytest.mark.parametrize("name", EXECUTORS)
def test_bands_that_stand_still_are_left_out_by_what_runs_the_network(tmp_path, name):
    spec = replace(preset("log-mel-40"), clip_seconds=0.1)
    random = np.random.default_rng(0)
    learnt = random.normal(-3.0, 2.0, (4, *spec.shape)).astype(np.float32)
    learnt[..., 30:] = -6.9
    statistics = Statistics.of(learnt)
    features = keras.layers.Input((*spec.shape, 1))
    x = without_still_bands(normalization(*statistics.scalar())(features), statistics)
    network = keras.Model(features, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    save_artifact(tmp_path, Artifact(network, spec, ["a", "b"], "dense", True, ("training",)))
    field = learnt.copy()
    field[..., 30:] = 5.0
    found = load_executor(tmp_path, name).probabilities(field)
    np.testing.assert_allclose(found, softmax(network(learnt[..., None]), axis=1), rtol=0, atol=1e-5)
    found = load_artifact(tmp_path).probabilities(field)
    np.testing.assert_allclose(found, softmax(network(learnt[..., None]), axis=1), rtol=0, atol=1e-5)


def test_a_network_computes_with_the_normalization_that_it_was_given():
    features = np.random.default_rng(0).normal(3.0, 2.0, (8, 12, 10)).astype(np.float32)
    one, other = (build(network("mlp"), (12, 10), 3, Statistics.of(values)) for values in (features, 4 * features - 5))
    outer = keras.Model(other.inputs[0], other(other.inputs[0]))  # as a network of one's own may hold another
    before = outer.predict(features[..., None], verbose=0)
    outer.set_weights(one.get_weights())
    assert not np.allclose(outer.predict(features[..., None], verbose=0), one(features[..., None]), atol=1e-3)
    use_given_normalization(outer)
    after = outer.predict(features[..., None], verbose=0)
    np.testing.assert_allclose(after, one(features[..., None]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(after, before, atol=1e-3)
