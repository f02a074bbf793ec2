import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from model.inference.outputs import Outputs
from tests.signals import noise

LOGITS = 30 * noise(40).reshape(8, 5)


def test_logits_become_probabilities_of_each_clip():
    found = Outputs(are_logits=True).probabilities(LOGITS)
    assert found.dtype == np.float32
    exact = np.exp(LOGITS.astype(np.float64))
    np.testing.assert_allclose(found, exact / exact.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-12)


def test_probabilities_stay_as_they_are():
    shares = np.abs(LOGITS)
    np.testing.assert_array_equal(Outputs(are_logits=False).probabilities(shares), shares)


@pytest.mark.parametrize("temperature", [0.25, 0.999, 3.0])
def test_a_temperature_divides_the_logits(temperature):
    found = Outputs(True, temperature).probabilities(LOGITS)
    assert found.dtype == np.float32
    exact = np.exp(LOGITS.astype(np.float64) / temperature)
    np.testing.assert_allclose(found, exact / exact.sum(axis=1, keepdims=True), rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_of_probabilities_the_temperature_divides_the_logarithms(temperature):
    shares = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], np.float32)
    found = Outputs(False, temperature).probabilities(shares)
    powers = np.maximum(shares.astype(np.float64), 1e-7) ** (1 / temperature)  # as Keras clips them
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("are_logits", [True, False])
def test_a_temperature_of_1_changes_no_bit(are_logits):
    outputs = LOGITS if are_logits else softmax(LOGITS, axis=-1)
    found = Outputs(are_logits, 1.0).probabilities(outputs)
    np.testing.assert_array_equal(found, softmax(LOGITS, axis=-1))


@pytest.mark.parametrize("are_logits", [True, False])
@pytest.mark.parametrize("clips", [0, 1, 2, 7, 255, 256, 257])
def test_a_clip_has_the_same_bits_alone_and_among_others(are_logits, clips):
    logits = noise(300 * 3, amplitude=5).reshape(300, 3)
    outputs = Outputs(are_logits, 1.7)
    table = logits if are_logits else softmax(logits, axis=-1)
    np.testing.assert_array_equal(outputs.probabilities(table[:clips]), outputs.probabilities(table)[:clips])


@given(st.floats(0.05, 20), st.booleans(), st.integers(0, 2**32 - 1))
def test_no_temperature_changes_which_class_wins(temperature, are_logits, seed):
    logits = noise(40, seed=seed, amplitude=3).reshape(8, 5)
    found = Outputs(are_logits, temperature).probabilities(logits if are_logits else softmax(logits, axis=-1))
    np.testing.assert_array_equal(found.max(axis=1), found[np.arange(8), logits.argmax(axis=1)])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="a temperature is a finite number above 0"):
        Outputs(True, temperature)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 2.5])
def test_tensorflow_gives_the_same(temperature):
    for are_logits, table in ((True, LOGITS), (False, softmax(LOGITS, axis=-1))):
        outputs = Outputs(are_logits, temperature)
        found = outputs.in_tensorflow(tf.constant(table)).numpy()
        np.testing.assert_allclose(found, outputs.probabilities(table), rtol=1e-5, atol=1e-12)
