import keras
import numpy as np
import pytest
from keras import layers

from features.errors import UsageError
from model.formats import int8
from model.formats.int8 import quantize
from model.inference.artifact_description import ArtifactDescription
from model.inference.executor import EXECUTORS, Executor
from model.inference.litert import BATCH_CLIPS, convert
from tests.model.inference.test_executor import CLASSES, SPEC

DESCRIPTION = ArtifactDescription(
    SPEC, SPEC.fingerprint, CLASSES, "module:own", True, ("training",), network_sha256="", litert_sha256=None
)


@pytest.fixture(scope="module")
def network() -> bytes:
    """A small network with an operation of each kind: normalization, convolutions, pooling, a dense layer."""
    keras.utils.set_random_seed(0)
    return convert(
        keras.Sequential(
            [
                layers.Input((*SPEC.shape, 1)),
                layers.Normalization(axis=None, mean=-5.0, variance=9.0),
                layers.Conv2D(32, 3, activation="relu"),
                layers.DepthwiseConv2D(3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(len(CLASSES)),
            ]
        ),
        SPEC.shape,
    )


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(-5, 3, (300, *SPEC.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def made(network, features) -> bytes:
    return quantize(network, features)


def test_ranges_do_not_follow_the_order_of_the_clips(network, features, made):
    assert quantize(network, features[::-1]) == made
    assert quantize(network, features[:200]) != made


@pytest.mark.parametrize("name", EXECUTORS)
def test_it_says_nearly_what_the_network_says_and_the_same_wherever_a_clip_stands(network, features, made, name):
    assert len(made) < 0.3 * len(network)
    whole = Executor(network, DESCRIPTION, name).outputs(features)
    executor = Executor(made, DESCRIPTION, name)
    found = executor.outputs(features)
    assert 0 < np.std(found - whole) < 0.1 * np.std(whole)
    assert len(np.unique(found)) > 256, "the last layer gives more than 256 steps"
    for number in (1, 7, BATCH_CLIPS):
        np.testing.assert_array_equal(executor.outputs(features[5 : 5 + number]), found[5 : 5 + number])


@pytest.mark.parametrize("name", EXECUTORS)
def test_there_are_embeddings_too(features, made, network, name):
    from model.inference.embedding_output import with_embeddings

    whole, found = (
        Executor(with_embeddings(content), DESCRIPTION, name).probabilities_and_embeddings(features)[1]
        for content in (network, made)
    )
    assert found.shape == (300, 64)
    assert 0 < np.std(found - whole) < 0.1 * np.std(whole)


def test_what_cannot_be_quantized_is_refused(monkeypatch, network, features):
    linear = keras.Sequential([layers.Input((*SPEC.shape, 1)), layers.Flatten(), layers.Dense(len(CLASSES))])
    with pytest.raises(UsageError, match="the network has 1 of them"):
        quantize(convert(linear, SPEC.shape), features)
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"ai-edge-quantizer, which is not installed: pip install"):
        quantize(network, features)
