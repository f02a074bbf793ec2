#!/usr/bin/env bash
# tf2onnx 1.17.0 leaves out a cast from float32 to float16 that is followed by one back, and so the rounding in between:
# its optimizer takes any float type for one that holds what comes out of it. TensorFlow 2.21.0 itself, and ONNX Runtime
# 1.32.0 where an operation stands between the two casts, round.
#
# Seen: of the graph with both casts that to float16 is gone and 1.0001 comes back as it is; with a reshape to its own
# shape in between it is there, and the answer is 1.0, as TensorFlow says.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work ORT_DISABLE_TELEMETRY=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 'protobuf>=6.33,<7' 2>&1 | grep -v '^WARNING' || true
"$work/env/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

for package in ("tensorflow", "tf2onnx", "onnxruntime"):
    print(package, version(package))

SIGNATURE = [tf.TensorSpec([None, 3], tf.float32, name="values")]
VALUES = np.array([[1.0001, 0.1, 1000.3]], np.float32)


@tf.function(input_signature=SIGNATURE)
def there_and_back(values):
    return tf.cast(tf.cast(values, tf.float16), tf.float32)


@tf.function(input_signature=SIGNATURE)
def with_a_reshape(values):
    half = tf.cast(values, tf.float16)
    return tf.cast(tf.reshape(half, tf.shape(half)), tf.float32)


rounded = VALUES.astype(np.float16).astype(np.float32)
for function, casts, expected in ((there_and_back, 0, VALUES), (with_a_reshape, 1, rounded)):
    np.testing.assert_array_equal(function(VALUES).numpy(), rounded)
    model, _ = tf2onnx.convert.from_function(function, input_signature=SIGNATURE, opset=17)
    number = sum(node.op_type == "Cast" and node.attribute[0].i == 10 for node in model.graph.node)  # to float16
    session = onnxruntime.InferenceSession(model.SerializeToString())
    [answer] = session.run(None, {session.get_inputs()[0].name: VALUES})
    print(f"{function.__name__}: {number} casts to float16; {VALUES[0]} becomes {answer[0]}; rounded it is {rounded[0]}")
    assert number == casts, number
    np.testing.assert_array_equal(answer, expected)
PYTHON
echo "as seen"
