import keras
import numpy as np
import pytest

from features.store.statistics import Statistics
from model.networks.builder import build, layer_table
from model.networks.registry import network


def statistics(mean: float, variance: float, bands: int = 1) -> Statistics:
    """Of 100 values a band of this mean and variance."""
    return Statistics(100, (100 * mean,) * bands, (100 * (variance + mean * mean),) * bands)


def test_tutorial_cnn_has_the_parameters_of_the_tutorial():
    model = build(network("tutorial-cnn"), (124, 129), 8, statistics(0.0, 1.0))
    assert model.count_params() == 1_625_611
    assert model.output_shape == (None, 8)
    assert "1,625,611" in layer_table(model)


@pytest.mark.parametrize("shape", [(124, 129), (98, 64), (98, 13), (3, 2)])
def test_tutorial_cnn_takes_features_of_any_size(shape):
    model = build(network("tutorial-cnn"), shape, 3, statistics(0.0, 1.0))
    assert model(np.zeros((2, *shape, 1), np.float32)).shape == (2, 3)


def test_normalization_survives_save_and_load(tmp_path):
    model = build(network("tutorial-cnn"), (20, 10), 3, statistics(2.5, 9.0))
    model.save(tmp_path / "network.keras")
    model.save_weights(tmp_path / "network.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    other = build(network("tutorial-cnn"), (20, 10), 3, statistics(0.0, 1.0))
    other.load_weights(tmp_path / "network.weights.h5")
    features = np.random.default_rng(0).normal(2.5, 3.0, (4, 20, 10, 1)).astype(np.float32)
    for restored in (loaded, other):
        layer = next(layer for layer in restored.layers if isinstance(layer, keras.layers.Normalization))
        assert [float(weight) for weight in layer.get_weights()[:2]] == [2.5, 9.0]
        np.testing.assert_array_equal(restored(features), model(features))


def test_raw_cnn_has_the_layers_of_its_source():
    model = build(network("raw-cnn"), (124, 129), 8, statistics(0.0, 1.0))
    kinds = [(type(layer).__name__, tuple(layer.output.shape[1:])) for layer in model.layers]
    assert kinds == [
        ("Conv2D", (122, 127, 16)),
        ("Conv2D", (120, 125, 16)),
        ("Flatten", (240_000,)),
        ("Dense", (128,)),
        ("Dense", (8,)),
    ]
    assert model.count_params() == 160 + 2_320 + (240_000 + 1) * 128 + 129 * 8


def test_mlp_brings_each_band_to_mean_0_and_variance_1():
    sums = Statistics(10, (50.0, -20.0), (350.0, 130.0))  # means 5 and -2, variances 10 and 9
    model = build(network("mlp"), (2,), 3, sums)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    values = np.array([[5.0, -2.0], [15.0, 1.0]], np.float32)
    np.testing.assert_allclose(layer(values), [[0, 0], [10**0.5, 1]], rtol=1e-6)
    assert model.count_params() == 5 + (2 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 3


@pytest.mark.parametrize("shape", [(40,), (1,), (98, 13)])
def test_mlp_takes_features_of_any_shape(shape):
    model = build(network("mlp"), shape, 3, statistics(1.0, 4.0, shape[-1]))
    probabilities = model(np.ones((5, *shape, 1), np.float32)).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_mlp_takes_the_first_sound_in_a_band_that_stood_still(tmp_path):
    generator = np.random.default_rng(0)
    features = generator.normal(0.0, 1.0, (60, 5, 8)).astype(np.float32)
    features[..., 5:] = -6.9 + 1e-5 * features[..., 5:]  # nothing above 4 kHz, as of a telephone
    model = build(network("mlp"), (5, 8), 3, Statistics.of(features))
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    sound = features.copy()
    sound[..., 5:] += 5
    assert np.abs(layer(features)).max() < 5
    assert np.abs(layer(sound)).max() < 5, "and not 5e5"
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(sound[..., None]), model(sound[..., None]))
