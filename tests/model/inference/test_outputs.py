import numpy as np
import tensorflow as tf

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


def test_tensorflow_gives_the_same():
    for outputs in (Outputs(are_logits=True), Outputs(are_logits=False)):
        found = outputs.in_tensorflow(tf.constant(LOGITS)).numpy()
        np.testing.assert_allclose(found, outputs.probabilities(LOGITS), rtol=1e-5, atol=1e-12)
