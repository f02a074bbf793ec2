import keras
import numpy as np
import pytest

from features.store.statistics import Statistics
from model.networks.builder import BUILDERS, build
from model.networks.registry import NETWORKS, network
from model.training.optimization import compile_model
from model.training.settings import Schedule
from tests.model.networks.kinds import KINDS


def test_every_network_of_the_registry_can_be_built_and_no_other():
    assert list(BUILDERS) == [name for name, one in NETWORKS.items() if not one.is_linear]


@pytest.mark.parametrize("name", KINDS)
def test_every_network_takes_the_least_features_that_its_entry_names(name):
    chosen = network(name)
    shape = (chosen.least_size, chosen.least_size)
    statistics = Statistics(100, (0.0,) * chosen.least_size, (100.0,) * chosen.least_size)
    assert build(chosen, shape, 2, statistics).output_shape == (None, 2)


# To compile many layers takes long; a BC-ResNet's longest, see its own test.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("mlp", "raw-cnn") else pytest.mark.trial)
        for name in KINDS
        if name != "bc-resnet-1"
    ],
)
def test_every_network_learns_from_labels_in_its_form(name):
    shape = (12, 10)
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 3, 240)
    features = generator.normal(0, 0.3, (240, *shape, 1)).astype(np.float32)
    for number in range(3):
        features[ids == number, :, 3 * number : 3 * number + 3] += 2
    keras.utils.set_random_seed(0)
    chosen = network(name)
    model = build(chosen, shape, 3, Statistics.of(features[..., 0]))
    compile_model(model, chosen, Schedule(), 15, soft_targets=False)
    labels = keras.utils.to_categorical(ids, 3) if chosen.loss == "binary" else ids
    model.fit(features, labels, epochs=8, batch_size=16, verbose=0)
    figures = model.evaluate(features, labels, verbose=0, return_dict=True)
    assert figures["accuracy"] > 0.95
    assert set(figures) == {"loss", "accuracy"} | ({"recall"} if chosen.loss == "binary" else set())
    outputs = model(features[:4]).numpy()
    assert (abs(outputs.sum(axis=1) - 1) < 1e-5).all() != chosen.returns_logits
