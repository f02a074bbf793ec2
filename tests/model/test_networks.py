import keras
import numpy as np
import pytest

from features.errors import UsageError
from features.statistics import Statistics
from model.networks import layer_table, network, normalization


def statistics(mean: float, variance: float, bands: int = 1) -> Statistics:
    """Of 100 values a band of this mean and variance."""
    return Statistics(100, (100 * mean,) * bands, (100 * (variance + mean * mean),) * bands)


def test_tutorial_cnn_has_the_parameters_of_the_tutorial():
    model = network("tutorial-cnn", (124, 129)).build((124, 129), 8, statistics(0.0, 1.0))
    assert model.count_params() == 1_625_611
    assert model.output_shape == (None, 8)
    assert "1,625,611" in layer_table(model)


@pytest.mark.parametrize("shape", [(124, 129), (98, 64), (98, 13), (3, 2)])
def test_tutorial_cnn_takes_features_of_any_size(shape):
    model = network("tutorial-cnn", shape).build(shape, 3, statistics(0.0, 1.0))
    assert model(np.zeros((2, *shape, 1), np.float32)).shape == (2, 3)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (5.0, 0.25), (-3.0, 40.0)])
def test_normalization_gives_mean_0_and_variance_1(mean, deviation):
    features = np.random.default_rng(0).normal(mean, deviation, (50, 10, 8, 1)).astype(np.float32)
    layer = normalization(float(features.mean()), float(features.var()))
    normal = layer(features).numpy()
    assert normal.mean() == pytest.approx(0, abs=1e-4)
    assert normal.var() == pytest.approx(1, abs=1e-4)
    expected = (features - features.mean()) / np.sqrt(features.var())
    np.testing.assert_allclose(normal, expected, rtol=1e-4, atol=1e-5)


def test_normalization_survives_save_and_load(tmp_path):
    model = network("tutorial-cnn", (20, 10)).build((20, 10), 3, statistics(2.5, 9.0))
    model.save(tmp_path / "network.keras")
    model.save_weights(tmp_path / "network.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    other = network("tutorial-cnn", (20, 10)).build((20, 10), 3, statistics(0.0, 1.0))
    other.load_weights(tmp_path / "network.weights.h5")
    features = np.random.default_rng(0).normal(2.5, 3.0, (4, 20, 10, 1)).astype(np.float32)
    for restored in (loaded, other):
        layer = next(layer for layer in restored.layers if isinstance(layer, keras.layers.Normalization))
        assert [float(weight) for weight in layer.get_weights()[:2]] == [2.5, 9.0]
        np.testing.assert_array_equal(restored(features), model(features))


def test_features_that_are_all_the_same_stay_finite():
    assert np.isfinite(normalization(1.0, 0.0)(np.ones((1, 2, 2, 1), np.float32))).all()


def test_a_name_that_is_no_network_is_refused():
    with pytest.raises(UsageError, match=r"'nothing'.*tutorial-cnn"):
        network("nothing", (124, 129))
