import numpy as np
import pytest

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from model.formats.int8 import quantize
from model.inference.artifact import count_parameters, load_artifact, save_network
from model.inference.artifact_description import ArtifactDescription
from model.inference.calibration import Calibration
from model.inference.executor import Executor, load_executor
from model.inference.linear_network import LinearNetwork

POOLED = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, window_samples=256, hop_samples=64, fft_samples=256, pool="mean"
)
FRAMES = FeatureSpec(
    front_end="stft", sample_rate_hz=8_000, clip_seconds=0.1, window_samples=8, hop_samples=66, fft_samples=8
)
CLASSES = ["a", "b", "c"]


def linear(spec: FeatureSpec, unit_length: bool = False) -> LinearNetwork:
    generator = np.random.default_rng(0)
    values = int(np.prod(spec.shape))
    weights = generator.normal(0, 1 / np.sqrt(values), (len(CLASSES), values))
    bias = generator.normal(size=len(CLASSES)).astype(np.float32)
    return LinearNetwork(weights.astype(np.float32), bias, unit_length)


def described(spec: FeatureSpec) -> ArtifactDescription:
    return ArtifactDescription(spec, spec.fingerprint, CLASSES, "linear", True, ("training",), "", None)


def clips(spec: FeatureSpec, count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(3, 2, (count, *spec.shape)).astype(np.float32)


def logits(network: LinearNetwork, features: np.ndarray) -> np.ndarray:
    flat = features.reshape(len(features), network.weights.shape[1]).astype(np.float64)
    if network.unit_length:
        flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat @ network.weights.T.astype(np.float64) + network.bias


@pytest.mark.parametrize("name", ["litert", "openvino"])
@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize("spec", [POOLED, FRAMES])
def test_the_flat_buffer_gives_logits_and_as_embeddings_the_features(spec, name, unit_length):
    if name == "openvino":
        pytest.importorskip("openvino")
    network = linear(spec, unit_length)
    executor = Executor(network.to_litert(spec.shape), described(spec), name)
    both = executor.with_embeddings()
    assert both.embedding_size == network.weights.shape[1]
    for count in (0, 1, 255, 256, 257):
        features = clips(spec, count)
        features[1:2] = 0.0  # of no length
        features[2:3] *= 1e-9  # of less than is divided by
        features[3:4] *= 1e-5  # of a bit more
        expected = logits(network, features)
        np.testing.assert_allclose(executor.outputs(features), expected, rtol=1e-5, atol=1e-5)
        probabilities, embeddings = both.probabilities_and_embeddings(features)
        np.testing.assert_array_equal(embeddings, features.reshape(count, network.weights.shape[1]))
        np.testing.assert_array_equal(probabilities, executor.probabilities(features))


def test_tensors_begin_where_kernels_read_them_in_place():
    from ai_edge_litert.schema_py_generated import Model

    for spec, unit_length in ((POOLED, False), (FRAMES, False), (FRAMES, True)):
        content = linear(spec, unit_length).to_litert(spec.shape)
        model = Model.GetRootAs(content)
        buffers = [model.Buffers(number).DataAsNumpy() for number in range(model.BuffersLength())]
        held = [buffer for buffer in buffers if not isinstance(buffer, int)]
        assert len(held) == (5 if unit_length else 3)
        base = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
        assert all((buffer.__array_interface__["data"][0] - base) % 16 == 0 for buffer in held)


@pytest.mark.parametrize("unit_length", [False, True])
def test_the_same_network_is_the_same_file_and_comes_back(tmp_path, unit_length):
    network = linear(POOLED, unit_length)
    for name in ("one.npz", "other.npz"):
        network.write(tmp_path / name, CLASSES)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    back = LinearNetwork.read(tmp_path / "one.npz")
    np.testing.assert_array_equal(back.weights, network.weights)
    np.testing.assert_array_equal(back.bias, network.bias)
    assert back.unit_length is unit_length
    with np.load(tmp_path / "one.npz") as file:  # what knows no unit length looks for `weights`
        assert ("weights" in file) is not unit_length
    network.write(tmp_path / "other.npz", ["a", "b", "d"])
    assert (tmp_path / "one.npz").read_bytes() != (tmp_path / "other.npz").read_bytes(), "other classes"
    (tmp_path / "one.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"one\.npz cannot be loaded: .*; train again"):
        LinearNetwork.read(tmp_path / "one.npz")


@pytest.mark.parametrize("unit_length", [False, True])
def test_an_artifact_of_it_is_scored_by_litert_and_loaded_as_a_model_of_keras(tmp_path, unit_length):
    network, features = linear(FRAMES, unit_length), clips(FRAMES, 9)
    features[0] = 0.0
    calibration = Calibration(2.0, {"a": 0.5, "b": None, "c": 0.75}, 0.9)
    taken = []

    def write(path):
        network.write(path, CLASSES)
        return network.to_litert(FRAMES.shape)

    def calibrate(litert, description):
        taken.append((litert, description))
        return calibration

    save_network(tmp_path, described(FRAMES), write, calibrate)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "artifact.json", "network.npz", "network.tflite",
    ]  # fmt: skip
    executor = load_executor(tmp_path, "litert")
    assert (executor.calibration, executor.classes) == (calibration, CLASSES)
    [(content, description)] = taken
    np.testing.assert_array_equal(
        Executor(content, description, "litert").outputs(features), executor.outputs(features)
    )
    artifact = load_artifact(tmp_path)
    np.testing.assert_allclose(artifact.probabilities(features), executor.probabilities(features), atol=1e-6)
    assert count_parameters(tmp_path) == artifact.network.count_params() == network.parameters == 3 * (65 + 1)
    with pytest.raises(UsageError, match=r"int8 is for what lies between .* the network has 1 of them"):
        quantize(content, features)
    path = tmp_path / "model" / "network.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    for load in (load_artifact, count_parameters):
        with pytest.raises(UsageError, match=r"network\.npz is missing or not the network that artifact\.json"):
            load(tmp_path)
