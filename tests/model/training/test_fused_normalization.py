"""Batch normalization as one operation is that of Keras."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from features.store.statistics import Statistics
from model.networks.builder import build
from model.networks.registry import network
from model.training.fused_normalization import FusedBatchNormalization, fused_normalization

SHAPE = (24, 40)
STATISTICS = Statistics.of(np.random.default_rng(1).normal(0.5, 2, (10, *SHAPE)))


def learn(layer: keras.layers.Layer, values: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Returns outputs, gradients and weights of a layer after a step."""
    inputs = tf.Variable(values)
    with tf.GradientTape() as tape:
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum((outputs - wanted) ** 2)
    gradients = tape.gradient(loss, [inputs, *(variable.value for variable in layer.trainable_variables)])
    return [np.asarray(each) for each in (outputs, *gradients, *layer.get_weights())]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 2, 3), (2, 1, 1, 8), (3, 7, 5, 9), (16, 1, 1, 17)])
def test_a_step_is_that_of_keras(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(shape)
    layers = [each(momentum=0.9, epsilon=1e-3) for each in (keras.layers.BatchNormalization, FusedBatchNormalization)]
    weights = [random.uniform(0.5, 2, shape[-1]).astype(np.float32) for _ in range(4)]
    values, wanted = (random.normal(3, 2, shape).astype(np.float32) for _ in range(2))
    for layer in layers:
        layer.build(shape)
        layer.set_weights(weights)
    for expected, found in zip(*(learn(layer, values, wanted) for layer in layers), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)
    np.testing.assert_array_equal(layers[1](values), layers[1](values, training=False))  # as it is used
    layers[1].trainable = False
    np.testing.assert_array_equal(layers[1](values, training=True), layers[1](values, training=False))


@pytest.mark.parametrize(
    ("name", "shape", "times"),
    [
        ("whole", (4, 6, 5, 3), 1),
        ("twice", (4, 6, 5, 3), 2),
        ("nested", (4, 6, 5, 3), 1),
        ("whole", (4, 3), 0),
        ("whole", (4, 5, 3), 0),
        ("rows", (4, 6, 5, 3), 0),
        ("no scale", (4, 6, 5, 3), 0),
        ("no center", (4, 6, 5, 3), 0),
        ("bfloat16", (4, 6, 5, 3), 0),
    ],
)
def test_what_the_operation_cannot_do_stays(name: str, shape: tuple[int, ...], times: int) -> None:
    """Other axes and ranks, no scale, other precisions; layers that are used twice or lie in a layer are changed."""
    normalization = keras.layers.BatchNormalization
    shared = normalization()
    layers = {
        "whole": normalization(),
        "twice": lambda x: shared(keras.ops.add(shared(x), 1)),
        "nested": keras.Sequential([keras.Sequential([normalization()])]),
        "rows": normalization(axis=1),
        "no scale": normalization(scale=False),
        "no center": normalization(center=False),
        "bfloat16": normalization(dtype="mixed_bfloat16"),
    }
    inputs = keras.layers.Input(shape[1:])
    model = keras.Model(inputs, layers[name](inputs))
    with fused_normalization(model):
        step = tf.function(lambda batch: model(batch, training=True)).get_concrete_function(tf.zeros(shape))
    assert sum(operation.type.startswith("FusedBatchNorm") for operation in step.graph.get_operations()) == times


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("residual", marks=pytest.mark.trial),
        pytest.param("bc-resnet-1", marks=pytest.mark.trial),
        "ds-tc-resnet",
        "mlp",
    ],
)
def test_a_network_learns_the_same(name: str) -> None:
    """After a step on the same clips the weights are nearly the same, and the layers Keras' own again."""
    values = np.random.default_rng(5).normal(0.5, 2, (12, *SHAPE, 1)).astype(np.float32)
    learnt = []
    for change in (contextlib.nullcontext, fused_normalization):
        keras.utils.set_random_seed(3)
        model = build(network(name), SHAPE, 3, STATISTICS)
        before = [type(layer) for layer in model.layers]
        model.compile(
            keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(network(name).returns_logits),
            run_eagerly=name != "residual",  # to compile many layers takes longer than all else here
        )  # fmt: skip
        with pytest.raises(ZeroDivisionError), change(model):
            model.fit(values, np.arange(12) % 3, batch_size=12, verbose=0)
            1 / 0  # noqa: B018
        assert [type(layer) for layer in model.layers] == before
        learnt.append(model.get_weights())
    for expected, found in zip(*learnt, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
