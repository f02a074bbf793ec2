import keras
import numpy as np
import pytest

from features.errors import UsageError
from features.store.statistics import Statistics
from model.networks.registry import NETWORKS, layer_table, network, normalization


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


def test_raw_cnn_has_the_layers_of_its_source():
    model = network("raw-cnn", (124, 129)).build((124, 129), 8, statistics(0.0, 1.0))
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
    model = network("mlp", (2,)).build((2,), 3, sums)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    values = np.array([[5.0, -2.0], [15.0, 1.0]], np.float32)
    np.testing.assert_allclose(layer(values), [[0, 0], [10**0.5, 1]], rtol=1e-6)
    assert model.count_params() == 5 + (2 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 3


@pytest.mark.parametrize("shape", [(40,), (1,), (98, 13)])
def test_mlp_takes_features_of_any_shape(shape):
    model = network("mlp", shape).build(shape, 3, statistics(1.0, 4.0, shape[-1]))
    probabilities = model(np.ones((5, *shape, 1), np.float32)).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["tutorial-cnn", "raw-cnn"])
def test_a_mean_over_frames_is_refused_where_frames_are_needed(name):
    with pytest.raises(UsageError, match=r"\(frames, bands\), not \(40,\).*train mlp"):
        network(name, (40,))


@pytest.mark.parametrize("shape", [(4, 129), (124, 4)])
def test_fewer_values_than_the_convolutions_take_are_refused(shape):
    assert network("raw-cnn", (5, 5)).build((5, 5), 2, statistics(0.0, 1.0)).output_shape == (None, 2)
    with pytest.raises(UsageError, match="at least 5 frames and bands"):
        network("raw-cnn", shape)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_learns_from_labels_in_its_form(name):
    shape = (12, 10)
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 3, 240)
    features = generator.normal(0, 0.3, (240, *shape, 1)).astype(np.float32)
    for number in range(3):
        features[ids == number, :, 3 * number : 3 * number + 3] += 2
    keras.utils.set_random_seed(0)
    chosen = network(name, shape)
    model = chosen.build(shape, 3, Statistics.of(features[..., 0]))
    chosen.compile(model, 1e-3)
    labels = keras.utils.to_categorical(ids, 3) if chosen.is_binary else ids
    model.fit(features, labels, epochs=8, batch_size=16, verbose=0)
    figures = model.evaluate(features, labels, verbose=0, return_dict=True)
    assert figures["accuracy"] > 0.95
    assert set(figures) == {"loss", "accuracy"} | ({"recall"} if chosen.is_binary else set())
    outputs = model(features[:4]).numpy()
    assert (abs(outputs.sum(axis=1) - 1) < 1e-5).all() != chosen.returns_logits
