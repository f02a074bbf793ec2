import json
import shutil
import zipfile
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest
from scipy.special import softmax

from features.errors import UsageError
from features.frontend.presets import preset
from features.store.statistics import Statistics
from model.inference.artifact import Artifact, load_artifact, read_description, save_artifact
from model.inference.calibration import UNCALIBRATED, Calibration
from model.inference.executor import Executor, load_executor
from model.inference.outputs import Outputs
from model.networks.builder import build
from model.networks.registry import network
from tests.model.formats.dense import save_dense
from tests.peers.library import GOLDEN


@pytest.fixture
def run(untrained, tmp_path):
    return shutil.copytree(untrained, tmp_path / "run")


def edit_description(run, **changes):
    path = run / "model" / "artifact.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_loaded_is_what_was_saved(tmp_path):
    model = build(network("tutorial-cnn"), (124, 129), 3, Statistics(100, (200.0,), (900.0,)))
    calibration = Calibration(1.25, {"é": 0.5, "a,b": None, "c": 0.75}, 0.9)
    saved = Artifact(
        model, preset("speech-commands"), ["é", "a,b", "c"], "tutorial-cnn", True, ("fold-1", "training"),
        calibration=calibration,
    )  # fmt: skip
    save_artifact(tmp_path / "run", saved)
    loaded = load_artifact(tmp_path / "run")
    for name in ("spec", "classes", "network_name", "returns_logits", "trained_on", "calibration"):
        assert getattr(loaded, name) == getattr(saved, name)
    features = np.random.default_rng(0).random((3, 124, 129, 1), np.float32)
    np.testing.assert_array_equal(loaded.network(features), model(features))
    outputs = model(features).numpy()
    np.testing.assert_array_equal(loaded.probabilities(features[..., 0]), softmax(outputs / np.float32(1.25), axis=-1))


def test_the_state_of_the_optimizer_is_not_saved(trained):
    with zipfile.ZipFile(trained / "model" / "network.keras") as archive:
        assert not json.loads(archive.read("config.json"))["compile_config"]
        num_bytes = archive.getinfo("model.weights.h5").file_size
    weights = load_artifact(trained).network.get_weights()
    assert num_bytes < 1.1 * sum(weight.nbytes for weight in weights)


def test_saving_again_replaces_the_whole_artifact(tmp_path):
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        model = build(network("tutorial-cnn"), (124, 129), 3, Statistics(100, (0.0,), (100.0,)))
        save_artifact(tmp_path, Artifact(model, preset("speech-commands"), ["a", "b", "c"], "tutorial-cnn", True, ()))
    np.testing.assert_array_equal(load_artifact(tmp_path).network.get_weights()[-2], model.get_weights()[-2])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_one_changed_byte_in_the_network_is_refused(run):
    path = run / "model" / "network.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"network\.keras"):
        load_artifact(run)


def test_a_missing_network_is_refused(run):
    (run / "model" / "network.keras").unlink()
    with pytest.raises(UsageError, match=r"network\.keras"):
        load_artifact(run)


def test_a_folder_that_was_being_filled_is_refused(run):
    (run / "config.json").write_text("{}")
    (run / "model").rename(run / "model.123.partial")
    with pytest.raises(UsageError, match="did not end"):
        read_description(run)


def test_a_folder_without_a_description_is_refused(run):
    (run / "model" / "artifact.json").unlink()
    with pytest.raises(UsageError, match="is not a run folder"):
        load_artifact(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 3}, "format that this soundmill does not read; it reads versions 1 and 2"),
        ({"temperature": 0}, "damaged.*temperature"),
        ({"temperature": None}, "damaged"),
        ({"thresholds": {"high": 0.5}, "target_precision": 0.9}, "damaged.*classes in their order"),
        ({"thresholds": [0.5, 0.5, 0.5], "target_precision": 0.9}, "damaged"),
        ({"thresholds": {"high": 2, "low": None, "middle": None}, "target_precision": 0.9}, "damaged.*from 0 to 1"),
        ({"format": "something else"}, "format"),
        ({"fingerprint": "0" * 64}, "another version of the front end"),
        ({"spec": {"front_end": "stft"}}, "missing"),
        ({"spec": None}, "damaged"),
    ],
)
def test_a_description_of_another_kind_is_refused(run, changes, message):
    edit_description(run, **changes)
    with pytest.raises(UsageError, match=message):
        load_artifact(run)


@pytest.mark.parametrize(
    "missing",
    ["classes", "returns_logits", "network_sha256", "trained_on", "spec", "format", "temperature", "thresholds",
     "target_precision"],
)  # fmt: skip
def test_a_description_that_lacks_something_is_refused(run, missing):
    path = run / "model" / "artifact.json"
    content = json.loads(path.read_text())
    del content[missing]
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError):
        load_artifact(run)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\udcff"])
def test_a_description_that_is_no_json_is_refused(run, content):
    (run / "model" / "artifact.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"artifact\.json"):
        load_artifact(run)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such run folder"):
        read_description(tmp_path / "nothing")


def test_a_description_is_written_as_it_was_read(run):
    path = run / "model" / "artifact.json"
    description = read_description(run)
    assert description.to_json() == path.read_text(encoding="utf-8")
    assert (description.network_name, description.outputs) == ("tutorial-cnn", Outputs(are_logits=True))
    with pytest.raises(FrozenInstanceError):
        description.network_name = "another"


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_an_artifact_of_format_version_1_gives_what_it_gave(kind, tmp_path):
    run = shutil.copytree(GOLDEN / "artifact-v1" / kind, tmp_path / "run")
    description = read_description(run)
    assert json.loads((run / "model" / "artifact.json").read_text())["format_version"] == 1
    assert (description.calibration, description.outputs.temperature) == (UNCALIBRATED, 1)
    with np.load(GOLDEN / "artifact-v1" / "expected.npz") as expected:
        network = load_executor(run, "litert")
        found, outputs = network.probabilities(expected["features"]), network.outputs(expected["features"])
        # The logits are exact in any order of summation; the last bits of an exponential are the processor's.
        np.testing.assert_allclose(found, expected[kind], rtol=3e-7)
        np.testing.assert_array_equal(found, softmax(outputs, axis=-1) if kind == "logits" else outputs)
        np.testing.assert_allclose(load_artifact(run).probabilities(expected["features"]), expected[kind], rtol=3e-7)


def test_a_network_is_calibrated_as_scoring_runs_it_before_it_is_saved(tmp_path):
    spec, features = preset("urbansound-mfcc"), np.random.default_rng(0).random((3, 40), np.float32)
    artifact = load_artifact(save_dense(tmp_path / "before", spec, ["a", "b"]))
    found = []

    def calibrate(litert, description):
        assert not (tmp_path / "run" / "model").exists()
        found.append(Executor(litert, description, "litert").outputs(features))
        return Calibration(2.0, {"a": 0.6, "b": None}, 0.8)

    save_artifact(tmp_path / "run", artifact, calibrate)
    assert read_description(tmp_path / "run").calibration == Calibration(2.0, {"a": 0.6, "b": None}, 0.8)
    probabilities = load_executor(tmp_path / "run", "litert").probabilities(features)
    np.testing.assert_array_equal(probabilities, Outputs(True, 2.0).probabilities(found[0]))
