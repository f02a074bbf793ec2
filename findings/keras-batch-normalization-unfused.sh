#!/usr/bin/env bash
# Expected: on TensorFlow, `keras.layers.BatchNormalization` in training is TensorFlow's one operation for it, FusedBatchNormV3, as it was in
# Keras 2 (its argument `fused` was on by default for images).
# Seen (keras 3.15.1, tensorflow 2.21.0, Python 3.11.7, Linux x86-64): it is not used, neither in training nor in use. The layer takes the moments
# with some ten operations, each of which passes over all values, and as many again for the gradients; with oneDNN switched on, which has
# the fused operation too, nothing changes. On (100, 49, 20, 24) float32 a step forward and back took 2.5 times as long as by
# `tf.compat.v1.nn.fused_batch_norm`; a training of a small residual network with oneDNN went from 5.2 to 3.1 ms a clip on two cores.
# Nothing warns: the argument `fused` is gone.
# Where from: `BatchNormalization.call` computes with `ops.moments` and `ops.batch_normalization` for all backends;
# `keras/src/backend/tensorflow/nn.py` has `tf.nn.batch_normalization` for the latter, which is no fused operation.
# Way out: a subclass whose `call` uses `tf.compat.v1.nn.fused_batch_norm` for training on rank 4, channels last, float32. It returns the variance
# with n - 1 in its denominator where Keras' running variance has n: multiply it by (n - 1) / n.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=1 "$folder/env/bin/python" - <<'PYTHON'
import platform
import sys
import time

import keras
import numpy as np
import tensorflow as tf

VALUES = tf.constant(np.random.default_rng(0).normal(size=(100, 49, 20, 24)).astype(np.float32))


class Fused(keras.layers.BatchNormalization):
    def call(self, inputs, training=None):
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
        )
        count = inputs.shape[0] * inputs.shape[1] * inputs.shape[2]
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
        variance *= (count - 1) / count
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        return outputs


def step_of(layer):
    layer.build(VALUES.shape)

    @tf.function(autograph=False)
    def step(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = tf.reduce_sum(layer(values, training=True) ** 3)
        return tape.gradient(loss, [values, layer.gamma.value, layer.beta.value])

    return step.get_concrete_function(VALUES)


def seconds(step):
    least = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        step(VALUES)
        least = min(least, time.perf_counter() - started)
    return least


print(f"keras {keras.__version__}, tensorflow {tf.__version__}, Python {platform.python_version()}")
layers = {"keras.layers.BatchNormalization": keras.layers.BatchNormalization(), "the fused operation": Fused()}
steps = {name: step_of(layer) for name, layer in layers.items()}
uses, taken = {}, {}
for name, step in steps.items():
    kinds = [operation.type for operation in step.graph.get_operations()]
    uses[name] = sum(kind.startswith("FusedBatchNorm") for kind in kinds)
    taken[name] = seconds(step)
    print(f"{name}: {len(kinds)} operations, {uses[name]} of them FusedBatchNorm*, {1000 * taken[name]:.1f} ms a step")
gradients = [step(VALUES) for step in steps.values()]
for ours, theirs in zip(*gradients, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-2 * float(tf.reduce_max(tf.abs(theirs))))
for name in ("moving_mean", "moving_variance"):
    np.testing.assert_allclose(*(getattr(layer, name).numpy() for layer in layers.values()), rtol=1e-3, atol=1e-5)
print("gradients and running means of the two agree")
first, second = taken.values()
print(f"the layer takes {first / second:.1f} times as long")
if list(uses.values())[0] or not list(uses.values())[1] or first < 1.3 * second:
    sys.exit("it has changed: the layer uses the fused operation, or is as fast without")
PYTHON
