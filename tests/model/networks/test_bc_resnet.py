import keras
import numpy as np
import pytest

from features.store.statistics import Statistics
from model.networks.bc_resnet import bc_resnet, sub_spectral_normalization
from model.networks.builder import build
from model.networks.registry import network
from model.training.optimization import compile_model
from model.training.settings import Schedule

# By width, the trained parameters that the paper's table 3 gives in thousands, and those of the authors' code.
PUBLISHED = {
    "1": (9.2, 9_232),
    "1.5": (17.2, 17_154),
    "2": (27.3, 27_284),
    "3": (54.2, 54_168),
    "6": (188, 187_812),
    "8": (321, 321_068),
}


def statistics(bands: int) -> Statistics:
    return Statistics(100, (0.0,) * bands, (100.0,) * bands)


def trained_parameters(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    "width", [pytest.param(width, marks=() if width in (1, 8) else pytest.mark.trial) for width in PUBLISHED]
)
def test_the_parameters_are_those_of_the_paper(width):
    thousands, exact = PUBLISHED[width]
    found = trained_parameters(build(network(f"bc-resnet-{width}"), (98, 40), 12, statistics(40)))
    assert found == exact
    assert round(found / 1000, 1 if thousands < 100 else 0) == thousands


@pytest.mark.parametrize(("shape", "classes"), [((13, 7), 2), ((124, 129), 100)])
def test_features_of_any_size_and_any_number_of_classes_are_taken(shape, classes):
    model = bc_resnet(1, shape, classes, statistics(shape[1]))
    assert model(np.zeros((2, *shape, 1), np.float32)).shape == (2, classes)


def test_time_is_kept_and_bands_are_halved():
    model = bc_resnet(1, (13, 40), 2, statistics(40))
    sizes = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert sizes == [(13, 20, 8)] * 2 + [(13, 10, 12)] * 2 + [(13, 5, 16)] * 4 + [(13, 5, 20)] * 4
    dilations = [
        layer.dilation_rate
        for layer in model.layers
        if isinstance(layer, keras.layers.DepthwiseConv2D) and layer.kernel_size == (3, 1)
    ]
    assert dilations == [(1, 1)] * 2 + [(2, 1)] * 2 + [(4, 1)] * 4 + [(8, 1)] * 4


@pytest.mark.parametrize(("bands", "sub_bands"), [(20, 5), (5, 5), (8, 4), (7, 1)])
def test_each_sub_band_is_normalized_by_itself(bands, sub_bands):
    features = keras.layers.Input((6, bands, 3))
    model = keras.Model(features, sub_spectral_normalization(features))
    random = np.random.default_rng(0)
    values = (random.normal(0, 1, (9, 6, bands, 3)) * np.arange(1, bands + 1)[:, None]).astype(np.float32)
    # (clips, frames, sub-bands, bands of each, channels), normalized over all but sub-bands and channels
    parts = values.reshape(9, 6, sub_bands, bands // sub_bands, 3)
    expected = (parts - parts.mean((0, 1, 3), keepdims=True)) / np.sqrt(parts.var((0, 1, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(model(values, training=True), expected.reshape(values.shape), atol=1e-5)


def test_what_bands_hold_that_stood_still_in_training_changes_nothing():
    """As in recordings of 16 kHz, where all that was learnt from had 8 kHz."""
    random = np.random.default_rng(0)
    learnt = random.normal(-3.0, 2.0, (2, 13, 40)).astype(np.float32)
    learnt[..., 25:] = -6.9
    model = bc_resnet(1, (13, 40), 2, Statistics.of(learnt))
    field = learnt.copy()
    field[..., 25:] = random.normal(-3.0, 2.0, field[..., 25:].shape)
    expected = model(learnt[..., np.newaxis]).numpy()
    np.testing.assert_array_equal(model(field[..., np.newaxis]).numpy(), expected)
    assert not np.allclose(model(field[..., ::-1, np.newaxis]), expected), "the other bands count"


def test_where_no_band_or_each_stands_still_the_network_is_the_published_one():
    for values in (np.random.default_rng(0).normal(0, 1, (2, 13, 40)), np.zeros((2, 13, 40))):
        names = [layer.name for layer in bc_resnet(1, (13, 40), 2, Statistics.of(values)).layers]
        assert not any("still" in name for name in names)


def test_a_step_of_training_changes_all_weights():
    keras.utils.set_random_seed(0)
    chosen = network("bc-resnet-1")
    model = build(chosen, (12, 10), 3, statistics(10))
    compile_model(model, chosen, Schedule(), 1, False)
    model.run_eagerly = True  # to compile its many layers takes longer than all else here
    before = [weight.numpy() for weight in model.trainable_weights]
    features = np.random.default_rng(0).normal(0, 1, (9, 12, 10, 1)).astype(np.float32)
    assert np.isfinite(model.train_on_batch(features, np.arange(9) % 3)).all()
    for weight, values in zip(model.trainable_weights, before, strict=True):
        assert not np.array_equal(weight.numpy(), values), weight.path
