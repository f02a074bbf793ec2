import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from features.errors import UsageError
from features.networks.network import NetworkRunner, open_network
from tests.features.networks.onnx_files import INT64, constant, model, node, small_onnx, value
from tests.features.networks.small import (
    HIDDEN_OUTPUT,
    OUTPUT,
    SAMPLES,
    SIZE,
    small_features,
    small_network,
    small_weights,
)
from tests.features.networks.tflite_files import changed_network, network_of_shape
from tests.network import NetworkWatch

# The small network as each runtime has it: one window at a time, three, or any number.
NETWORKS = {
    "tflite, one": small_network(),
    "tflite, three": network_of_shape(3, SAMPLES),
    "tflite, any": network_of_shape(-1, SAMPLES),
    "tflite, no axis of windows": network_of_shape(SAMPLES),
    "onnx, one": small_onnx((1, SAMPLES)),
    "onnx, three": small_onnx((3, SAMPLES)),
    "onnx, any": small_onnx(),
    "onnx, any, channel last": small_onnx(("windows", SAMPLES, 1)),
    "onnx, any, channel first": small_onnx(("windows", 1, SAMPLES)),
    "onnx, no axis of windows": small_onnx((SAMPLES,)),
    "onnx, any, any length": small_onnx(("windows", "samples")),
}
each_network = pytest.mark.parametrize("name", NETWORKS)
SAMPLES_OF_ANY = value("samples", ("windows", SAMPLES))


def opened(name: str, batch_windows: int = 4, output: str | None = None) -> NetworkRunner:
    return open_network(NETWORKS[name], name.partition(",")[0], output, batch_windows, SAMPLES)


def windows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (count, SAMPLES)).astype(np.float32)


@each_network
@pytest.mark.parametrize("batch_windows", [1, 2, 3, 4, 7])
def test_each_window_gets_its_values_however_many_a_network_takes_at_a_time(name, batch_windows):
    runner = opened(name, batch_windows)
    assert (runner.batch_windows, runner.input_samples, runner.size) == (batch_windows, SAMPLES, SIZE)
    batch = windows(batch_windows)
    found = runner.run(batch)
    assert (found.dtype, found.shape) == (np.float32, (batch_windows, SIZE))
    np.testing.assert_allclose(found, np.concatenate([small_features(window) for window in batch]), atol=1e-5)


@each_network
def test_a_window_has_the_same_values_to_the_bit_in_each_place_and_beside_any_others(name):
    runner = opened(name)
    expected = runner.run(np.concatenate([windows(1), np.zeros((3, SAMPLES), np.float32)]))[0]
    for place in range(4):
        batch = windows(4, seed=1)
        batch[place] = windows(1)[0]
        np.testing.assert_array_equal(runner.run(batch)[place], expected)


@pytest.mark.parametrize("name", ["tflite, any", "tflite, three", "onnx, any", "onnx, three"])
def test_an_inner_tensor_is_taken_by_its_name(name):
    runner = opened(name, output=HIDDEN_OUTPUT)
    batch = windows(4)
    expected = np.maximum(batch.astype(np.float64) @ small_weights()[0].T, 0)
    found = runner.run(batch)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    runner.run(windows(4, seed=1))  # what was returned stays
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_name_that_a_signature_has_is_that_of_its_output_and_not_of_another_tensor():
    def name_the_output(network: schema.ModelT) -> None:
        taken, given, signature = schema.TensorMapT(), schema.TensorMapT(), schema.SignatureDefT()
        taken.name, taken.tensorIndex, given.name, given.tensorIndex = "samples", 0, HIDDEN_OUTPUT, 4
        signature.signatureKey, signature.inputs, signature.outputs = "serving_default", [taken], [given]
        network.signatureDefs = [signature]

    content = changed_network(name_the_output)
    for output in (None, HIDDEN_OUTPUT, OUTPUT):
        runner = open_network(content, "tflite", output, 4)
        np.testing.assert_array_equal(runner.run(windows(4)), opened("tflite, one").run(windows(4)))


@pytest.mark.parametrize(("frames", "size"), [(1, SAMPLES), (4, SAMPLES), (8, SAMPLES)])
def test_an_output_whose_first_axis_is_not_the_windows_is_computed_window_by_window(frames, size):
    """As many frames as the batch has windows too, where the shape alone would be taken for the right one."""
    shape = constant("shape", np.array([frames, -1]))
    content = model(
        [SAMPLES_OF_ANY], [node("Reshape", ["samples", "shape"], "frames")], [value("frames", ("a", "b"))], [shape]
    )
    runner = open_network(content, "onnx", None, 4)
    assert runner.size == size
    np.testing.assert_array_equal(runner.run(windows(4)), windows(4))


def test_the_length_of_windows_is_asked_for_where_a_network_takes_any():
    content = small_onnx(("windows", "samples"))
    with pytest.raises(UsageError, match="takes windows of any length"):
        open_network(content, "onnx", None, 4)
    # And where it has one, that counts.
    assert open_network(small_onnx(), "onnx", None, 4, SAMPLES // 2).input_samples == SAMPLES


def onnx(*nodes: bytes, inputs=(SAMPLES_OF_ANY,), output=("out", ("a", "b")), constants=()) -> bytes:
    return model(inputs, nodes, [value(*output)], constants)


ZERO, ONE = constant("zero", np.array([0])), constant("one", np.array([1]))
# What is wrong, the network, the output that is asked for, and what is said.
WRONG = {
    "no onnx": (
        "onnx", small_onnx()[:-30], None, "cannot be run by ONNX Runtime: ",
    ),
    "no operation of onnx": (
        "onnx", onnx(node("Own", ["samples"], "out")), None, "cannot be run by ONNX Runtime: .*Own",
    ),
    "no tflite": (
        "tflite", small_network()[:-200], None, "the network (is damaged|cannot be run by LiteRT)",
    ),
    "no flat buffer": (
        "tflite", b"\x1c\x00\x00\x00TFL3" + b"\xff" * 100, None, "the network (is damaged|cannot be run by LiteRT)",
    ),
    "no operation of tflite": (
        "tflite",
        changed_network(lambda network: vars(network.operatorCodes[0]).update(
            builtinCode=32, deprecatedBuiltinCode=32, customCode=b"Own")),
        None, "cannot be run by LiteRT: .*Own",
    ),
    "two inputs, tflite": (
        "tflite", changed_network(lambda network: vars(network.subgraphs[0]).update(inputs=[0, 1])), None,
        r"has 2 inputs \('samples', 'first'\); one that hears has one input, float32",
    ),
    "two inputs, onnx": (
        "onnx", onnx(node("Add", ["samples", "other"], "out"), inputs=(SAMPLES_OF_ANY, value("other", (1,)))), None,
        r"has 2 inputs \('samples', 'other'\)",
    ),
    "pictures": (
        "onnx", onnx(node("Relu", ["image"], "out"), inputs=(value("image", ("n", 8, 8, 3)),)), None,
        r"input is 'image', float32 of \(any, 8, 8, 3\); one that hears has one input",
    ),
    "two channels": (
        "onnx", onnx(node("Relu", ["stereo"], "out"), inputs=(value("stereo", ("n", 2, SAMPLES)),)), None,
        r"input is 'stereo', float32 of \(any, 2, 800\)",
    ),
    "whole numbers": (
        "onnx", onnx(node("Abs", ["pcm"], "out"), inputs=(value("pcm", ("n", SAMPLES), INT64),),
                     output=("out", ("n", SAMPLES), INT64)), None, r"input is 'pcm', int64 of \(any, 800\)",
    ),
    "whole numbers come out": (
        "onnx", onnx(node("ArgMax", ["samples"], "out"), output=("out", (1, "a"), INT64)), None,
        r"output is 'out', int64 of \(1, 800\); take one of float32",
    ),
    "no such output, tflite": (
        "tflite", small_network(), "embeddings",
        "has no output 'embeddings'; there are 'embedding'; inner tensors can be named too, 1 of them",
    ),
    "a constant": ("tflite", small_network(), "first", "has no output 'first'"),
    "no such output, onnx": (
        "onnx", small_onnx(), "embeddings", "has no output 'embeddings'; there are 'embedding'; inner .* 3 of them",
    ),
    "two outputs": (
        "tflite", changed_network(lambda network: vars(network.subgraphs[0]).update(outputs=[4, 2])), None,
        "has 2 outputs: name one of 'embedding', 'hidden'",
    ),
    "one name, two tensors": (
        "tflite", changed_network(lambda network: vars(network.subgraphs[0].tensors[2]).update(name=b"embedding")),
        "embedding", "has 2 tensors of the name 'embedding'",
    ),
    "the windows at a time are mixed": (
        "onnx", onnx(node("ReduceMax", ["samples"], "out"), inputs=(value("samples", (3, SAMPLES)),)), None,
        r"takes 3 windows at a time, and its output has the shape \(1, 1\)",
    ),
    "no values": (
        "onnx", onnx(node("Slice", ["samples", "zero", "zero", "one"], "out"), constants=(ZERO, ONE)), None,
        r"output has no values: its shape is \(1, 0\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_network_that_cannot_be_a_front_end_is_refused_in_one_line(case, capfd):
    format, content, output, expected = WRONG[case]
    with pytest.raises(UsageError, match=expected) as raised:
        open_network(content, format, output, 4)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_an_output_whose_size_depends_on_what_is_heard_is_refused():
    content = onnx(node("Unique", ["samples"], "out"), output=("out", ("a",)))
    runner = open_network(content, "onnx", None, 2)
    with pytest.raises(
        UsageError, match=r"had 1 values a window for zeros, and .* the shape \(800,\); it must have one"
    ):
        runner.run(windows(2))


def test_a_runtime_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape("pip install 'soundmill[onnx]'")):
        open_network(small_onnx(), "onnx", None, 4)


def test_running_networks_loads_no_tensorflow_says_nothing_and_asks_nobody(tmp_path):
    (tmp_path / "a").write_bytes(small_network())
    (tmp_path / "b").write_bytes(small_onnx())
    code = """
import sys
import numpy as np
from features.networks.network import open_network
from features.networks.network_file import read_network_file
for path in sys.argv[1:]:
    read = read_network_file(path)
    open_network(read.content, read.format, None, 4).run(np.ones((4, 800), np.float32))
print(*sorted({"tensorflow", "keras", "apache_beam", "onnx"} & set(sys.modules)))
"""
    watch = NetworkWatch(tmp_path)
    command = [sys.executable, "-c", code, str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=watch.environment)
    assert (done.stdout, done.stderr) == ("\n", "")
    assert (watch.attempts(), watch.written_into_home()) == ([], [])


def test_what_another_thread_says_while_a_network_loads_is_not_held_back(monkeypatch, capfd):
    start = Interpreter.allocate_tensors

    def talking(interpreter: Interpreter) -> None:
        os.write(2, b"said by another thread\n")
        start(interpreter)

    monkeypatch.setattr(Interpreter, "allocate_tensors", talking)
    opened("tflite, one")
    assert set(capfd.readouterr().err.splitlines()) == {"said by another thread"}
