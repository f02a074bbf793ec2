import keras
import numpy as np
import pytest

from features.store.statistics import Statistics
from model.networks.builder import build
from model.networks.layers import normalization, use_given_normalization
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
