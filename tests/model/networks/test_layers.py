import numpy as np
import pytest

from model.networks.layers import normalization


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
