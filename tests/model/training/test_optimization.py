"""The learning rate, the optimizers and the running average, against formulas and plain loops."""

import math

import keras
import numpy as np
import pytest

from model.networks.registry import network
from model.training.augment import class_weights
from model.training.optimization import (
    LearningRate,
    RecallOfLargestShare,
    average_decay,
    averaged_weights,
    compile_model,
)
from model.training.settings import Schedule


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(learning_rate=0.5), [0.5] * 8),
        (Schedule(learning_rate=0.5, warmup_epochs=1.0), [0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5, 0.5]),
        (Schedule(epochs=2, learning_rate=0.5, schedule="cosine"),
         [0.25 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]),
        (Schedule(epochs=5, learning_rate=0.5, schedule="cosine", warmup_epochs=1.0),
         [0.125, 0.25, 0.375, 0.5] + [0.25 * (1 + math.cos(math.pi * step / 16)) for step in range(4)]),
        # A fifth of all steps at most.
        (Schedule(epochs=2, learning_rate=0.5, schedule="cosine", warmup_epochs=3.0),
         [0.3125, 0.5] + [0.25 * (1 + math.cos(math.pi * (step - 1.6) / 6.4)) for step in range(2, 8)]),
    ],
)  # fmt: skip
def test_the_learning_rate_of_each_step(schedule, expected):
    rate = LearningRate(schedule, steps_per_epoch=4)
    assert [float(rate(step)) for step in range(8)] == pytest.approx(expected, abs=1e-6)


def test_class_weights_bring_all_classes_to_one_sum():
    weights = class_weights(np.array([100, 300, 0]), "weights")
    assert weights[:2] == pytest.approx([2.0, 2 / 3])  # scikit-learn's `balanced` of two classes
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal(class_weights(np.array([100, 300]), "none"), [1, 1])


def test_the_recall_on_shares_of_the_classes_is_that_on_the_labels():
    generator = np.random.default_rng(2)
    labels, outputs = np.eye(4, dtype="float32")[generator.integers(0, 4, 60)], generator.random((60, 4), "float32")
    labels[:5] = 0  # of none of the classes
    expected = keras.metrics.Recall()
    expected.update_state(labels, outputs)
    for targets in (labels, labels * 0.9 + 0.025 * labels.any(axis=1, keepdims=True)):
        recall = RecallOfLargestShare()
        recall.update_state(targets, outputs)
        assert float(recall.result()) == pytest.approx(float(expected.result()))


def small_model(schedule: Schedule) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(2)
    ])  # fmt: skip
    compile_model(model, network("residual"), schedule, 4, soft_targets=True)
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.normal(size=(8, 3)).astype("float32"), np.eye(2, dtype="float32")[generator.integers(0, 2, 8)]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_kernels_alone_decay(optimizer):
    """Two steps with and without decay differ where kernels are, and nowhere else after the first step."""
    after = []
    for decay in (0.0, 0.5):
        model = small_model(Schedule(optimizer=optimizer, learning_rate=0.1, weight_decay=decay))
        begun = [weight.numpy() for weight in model.trainable_variables]
        model.train_on_batch(*batch())
        after.append([weight.numpy() for weight in model.trainable_variables])
    for variable, start, plain, decayed in zip(model.trainable_variables, begun, *after, strict=True):
        shrunk = 0.1 * 0.5 * start if variable.name == "kernel" else 0
        np.testing.assert_allclose(plain - decayed, shrunk, atol=1e-6)


def test_the_running_average_is_that_of_a_plain_loop_and_leaves_the_weights_alone():
    model = small_model(Schedule(epochs=100, average_decay=0.9))
    expected = None
    for _ in range(4):
        model.train_on_batch(*batch())
        weights = model.trainable_variables[0].numpy()
        expected = weights if expected is None else 0.9 * expected + 0.1 * weights
    learnt = model.trainable_variables[0].numpy()
    with averaged_weights(model):
        np.testing.assert_allclose(model.trainable_variables[0].numpy(), expected, rtol=1e-5)
        assert not np.allclose(expected, learnt)
    np.testing.assert_array_equal(model.trainable_variables[0].numpy(), learnt)


@pytest.mark.parametrize(
    ("steps_per_epoch", "expected"),
    [(1_000, 0.995), (47, 0.995), (46, 1 - 7 / (46 * 30)), (4, 1 - 7 / 120), (1, 1 - 7 / 30)],
)
def test_the_average_looks_back_over_a_part_of_a_short_training(steps_per_epoch, expected):
    schedule = Schedule(epochs=30, average_decay=0.995)
    assert average_decay(schedule, steps_per_epoch) == pytest.approx(expected)
    assert average_decay(Schedule(epochs=1, average_decay=0.995), 1) == 0
    assert average_decay(Schedule(epochs=30), steps_per_epoch) is None


def test_without_an_average_nothing_is_changed():
    model = small_model(Schedule())
    model.train_on_batch(*batch())
    learnt = model.get_weights()
    with averaged_weights(model):
        for mine, theirs in zip(model.get_weights(), learnt, strict=True):
            np.testing.assert_array_equal(mine, theirs)
