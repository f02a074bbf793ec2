import keras
import numpy as np
import pytest

from features.store.statistics import Statistics
from model.networks.residual import residual


def statistics(bands: int) -> Statistics:
    """Of values of mean -3 and variance 4."""
    return Statistics(100, (-300.0,) * bands, (1300.0,) * bands)


def test_the_parameters_are_those_of_its_layers():
    model = residual((98, 40), 8, statistics(40))
    stem = 5 * 5 * 24 + 4 * 24
    stages = 0
    for before, channels in ((24, 24), (24, 48), (48, 96), (96, 128)):
        stages += 9 * before * channels + 9 * channels * channels + 2 * 4 * channels
        stages += 0 if before == channels else before * channels + 4 * channels
    assert model.count_params() == 3 + stem + stages + (128 + 1) * 8 == 447_171


def test_the_sizes_of_the_stages_are_halved():
    model = residual((98, 40), 8, statistics(40))
    sizes = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert sizes == [(49, 20, 24), (25, 10, 48), (13, 5, 96), (7, 3, 128)]


@pytest.mark.parametrize(("shape", "classes"), [((13, 7), 2), ((124, 129), 100)])
def test_features_of_any_size_and_any_number_of_classes_are_taken(shape, classes):
    model = residual(shape, classes, statistics(shape[1]))
    outputs = model(np.full((2, *shape, 1), -3, np.float32)).numpy()
    assert outputs.shape == (2, classes)
    assert np.isfinite(outputs).all()


def test_the_features_are_normalized_first():
    model = residual((13, 7), 2, statistics(7))
    values = np.full((1, 13, 7, 1), 1, np.float32)
    np.testing.assert_allclose(model.layers[1](values), (values + 3) / 2, rtol=1e-6)
