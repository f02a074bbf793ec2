import gc
import json
import shutil
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from features.errors import UsageError
from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.store.statistics import Statistics
from model.inference import executor
from model.inference.artifact import Artifact, load_artifact, read_description, read_litert, save_artifact
from model.inference.artifact_description import ArtifactDescription
from model.inference.calibration import Calibration
from model.inference.embedding_output import with_embeddings
from model.inference.executor import EXECUTORS, Executor, choose_executor, executor_version, load_executor
from model.inference.litert import BATCH_CLIPS, convert
from model.networks.builder import build
from model.networks.registry import NETWORKS
from tests.model.networks.kinds import KINDS

EMBEDDING_SIZES = {
    "bc-resnet-1": 32, "ds-tc-resnet": 128, "mlp": 256, "raw-cnn": 128, "residual": 128, "tutorial-cnn": 128,
}  # fmt: skip
CLASSES = ["high", "low", "middle"]
SPEC = FeatureSpec.from_dict({**preset("log-mel").to_dict(), "clip_seconds": 0.2, "mel_bands": 40})


def save(run, name, spec):
    """An artifact of an untrained network, and features for it."""
    features = np.abs(np.random.default_rng(0).normal(0, 1, (300, *spec.shape))).astype(spec.storage_dtype)
    network = build(NETWORKS[name], spec.shape, len(CLASSES), Statistics.of(features))
    if NETWORKS[name].returns_logits:
        last = network.trainable_weights[-2]
        last.assign(last / np.std(network(features[..., np.newaxis])))  # logits apart, not all of them near 0
    run.mkdir()
    logits = NETWORKS[name].returns_logits
    save_artifact(
        run, Artifact(network, spec, CLASSES, name, logits, ("training",), calibration=Calibration(temperature=1.7))
    )
    return features


RELEASED = """
import signal, sys, threading
import numpy as np
from model.inference.executor import load_executor
held = [load_executor(sys.argv[1], sys.argv[2])]
print(held[0].probabilities(np.zeros((1, *held[0].spec.shape), np.float32)).shape)
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("name", EXECUTORS)
def test_ctrl_c_is_an_exception_after_another_thread_has_let_a_network_go(untrained, name):
    done = subprocess.run([sys.executable, "-c", RELEASED, untrained, name], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["interrupted"]), done.stderr


# What has most kinds of layers that are quick to convert, and what returns probabilities; the others with `make trial`.
BY_DEFAULT = ("mlp", "raw-cnn", "ds-tc-resnet")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.trial) for name in KINDS],
)
def case(request, tmp_path_factory):
    """A run folder, its features, and what Keras makes of them."""
    run = tmp_path_factory.mktemp("runs") / request.param
    features = save(run, request.param, SPEC)
    return run, features, load_artifact(run).probabilities(features)


@pytest.fixture(scope="module", params=EXECUTORS)
def network(request, case) -> Executor:
    description = read_description(case[0])
    return Executor(read_litert(case[0], description), description, request.param)


def test_probabilities_are_those_of_keras(network, case):
    _, features, expected = case
    found = network.probabilities(features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2, BATCH_CLIPS - 1, BATCH_CLIPS, BATCH_CLIPS + 1])
def test_probabilities_do_not_depend_on_the_number_of_clips_to_the_bit(network, case, number):
    features = case[1]
    expected = network.probabilities(features)[:number]
    np.testing.assert_array_equal(network.probabilities(features[:number]), expected)


@pytest.mark.parametrize("slot", [0, 1, 7, 128, 255])
def test_probabilities_do_not_depend_on_the_place_in_the_batch_to_the_bit(network, case, slot):
    features = case[1]
    batch = features[1 : 1 + BATCH_CLIPS].copy()
    batch[slot] = features[0]
    np.testing.assert_array_equal(network.probabilities(batch)[slot], network.probabilities(features)[0])


def test_each_of_four_threads_gets_what_one_gets_to_the_bit(network, case):
    random = np.random.default_rng(1)
    # Whole batches go to the network as they are, others by way of memory of its own.
    batches = [case[1][random.permutation(300)[:size]] for size in [1, BATCH_CLIPS, 7] * 2]
    expected = [network.probabilities(batch) for batch in batches]
    together = threading.Barrier(4)

    def compute(first: int) -> list[np.ndarray]:
        together.wait()
        return [network.probabilities(batches[number - first]) for number in range(len(batches))]

    with ThreadPoolExecutor(4) as pool:
        firsts = (0, 1, 2, 4)
        for first, found in zip(firsts, pool.map(compute, firsts), strict=True):
            for number, values in enumerate(found):
                np.testing.assert_array_equal(values, expected[number - first])


@pytest.mark.parametrize("name", EXECUTORS)
def test_one_pass_gives_the_same_probabilities_to_the_bit_and_the_layer_before_them(case, name):
    run, features, _ = case
    description = read_description(run)
    content = read_litert(run, description)
    alone, network = (Executor(one, description, name) for one in (content, with_embeddings(content)))
    probabilities, embeddings = network.probabilities_and_embeddings(features)
    np.testing.assert_array_equal(probabilities, alone.probabilities(features))
    np.testing.assert_array_equal(network.outputs(features), alone.outputs(features))
    keras_network = load_artifact(run).network
    before_last = keras.Model(keras_network.inputs, keras_network.layers[-1].input)
    expected = before_last(features[..., np.newaxis], training=False).numpy()
    assert embeddings.shape == expected.shape == (len(features), EMBEDDING_SIZES[run.name])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(embeddings / scale, expected / scale, atol=1e-5)
    for number in (0, 1, BATCH_CLIPS - 1, BATCH_CLIPS, BATCH_CLIPS + 1):
        some = network.probabilities_and_embeddings(features[:number])
        np.testing.assert_array_equal(some[0], probabilities[:number])
        np.testing.assert_array_equal(some[1], embeddings[:number])


def own_network(*last):
    return keras.Sequential([layers.Input((*SPEC.shape, 1)), layers.Conv2D(4, 3), *last])


def test_the_last_dense_layer_may_be_followed_by_others():
    last = layers.Dense(len(CLASSES))
    network = own_network(layers.GlobalAveragePooling2D(), layers.Dense(5, "relu"), last, layers.Softmax())
    features = np.random.default_rng(0).normal(0, 1, (3, *SPEC.shape)).astype(np.float32)
    expected = keras.Model(network.inputs, last.input)(features[..., np.newaxis]).numpy()
    description = ArtifactDescription(
        SPEC, SPEC.fingerprint, CLASSES, "module:own", False, ("training",), network_sha256="", litert_sha256=None
    )
    executed = Executor(with_embeddings(convert(network, SPEC.shape)), description, "litert")
    np.testing.assert_allclose(executed.probabilities_and_embeddings(features)[1], expected, atol=1e-5)


def test_a_network_without_a_dense_layer_at_its_end_has_no_embeddings():
    network = own_network(layers.Conv2D(len(CLASSES), 1), layers.GlobalAveragePooling2D())
    with pytest.raises(UsageError, match="ends with the operation MEAN"):
        with_embeddings(convert(network, SPEC.shape))


@pytest.mark.parametrize("name", EXECUTORS)
def test_features_of_half_precision_are_taken(tmp_path, name):
    spec = replace(SPEC, storage_dtype="float16")
    features = save(tmp_path / "run", "mlp", spec)
    description = read_description(tmp_path / "run")
    network = Executor(read_litert(tmp_path / "run", description), description, name)
    expected = load_artifact(tmp_path / "run").probabilities(features)
    np.testing.assert_allclose(network.probabilities(features), expected, atol=1e-5)


def test_an_artifact_of_an_earlier_version_is_converted(tmp_path, untrained):
    run = tmp_path / "run"
    shutil.copytree(untrained, run)
    path = run / "model" / "artifact.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["litert_sha256"]
    path.write_text(json.dumps(content), encoding="utf-8")
    (run / "model" / "network.tflite").unlink()
    description = read_description(run)
    converted = Executor(read_litert(run, description), description, "litert")
    features = np.abs(np.random.default_rng(0).normal(0, 1, (3, *description.spec.shape))).astype(np.float32)
    expected = load_artifact(untrained).probabilities(features)
    np.testing.assert_allclose(converted.probabilities(features), expected, atol=1e-5)


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_network_is_refused(tmp_path, untrained, damage):
    run = tmp_path / "run"
    shutil.copytree(untrained, run)
    path = run / "model" / "network.tflite"
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match=r"network\.tflite is missing or not the network"):
        read_litert(run, read_description(run))


def test_the_fastest_that_is_installed_is_chosen(monkeypatch):
    assert choose_executor("auto") == "openvino"
    assert choose_executor("litert") == "litert"
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    assert choose_executor("auto") == "litert"
    with pytest.raises(UsageError, match="pip install openvino"):
        choose_executor("openvino")


@pytest.mark.parametrize("name", EXECUTORS)
def test_what_a_network_computes_in_goes_with_the_last_that_refers_to_it(untrained, name):
    network = load_executor(untrained, name)
    network.probabilities(np.zeros((3, *network.spec.shape), np.float32))
    gone = weakref.ref(network)
    gc.disable()  # hundreds of megabytes would wait for it, as what holds them are few objects
    try:
        del network
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", EXECUTORS)
def test_versions_are_stated(name):
    assert executor_version(name).startswith(f"{name} 2")


@pytest.mark.parametrize("name", EXECUTORS)
def test_neither_tensorflow_nor_keras_is_loaded_and_nothing_is_chattered(untrained, name):
    code = f"""
import sys, numpy
from model.inference.artifact import read_description, read_litert
from model.inference.executor import Executor
import model.scoring.label_windows
description = read_description({str(untrained)!r})
network = Executor(read_litert({str(untrained)!r}, description), description, {name!r})
network.probabilities(numpy.zeros((1, *description.spec.shape), numpy.float32))
print(*sorted({{"tensorflow", "keras", "apache_beam"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("\n", "")
