"""Exports in LiteRT and ONNX: what is in the file, what runs it, and what is refused; every network and preset."""

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from features.errors import RunError, UsageError
from features.frontend.presets import PRESETS, load_spec, preset
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features, mel_weights
from features.store.statistics import Statistics
from model.formats import export_format, exporter, tf_front_end
from model.formats.description import describe
from model.formats.export_format import FORMATS, LITERT, LITERT_INT8, ONNX, SAVED_MODEL
from model.formats.exporter import export
from model.formats.int8_export import Int8Clips, measure
from model.formats.parity import Exported
from model.formats.run_it import run_it
from model.inference.artifact import Artifact, load_artifact, save_artifact, save_network
from model.inference.artifact_description import ArtifactDescription
from model.inference.calibration import Calibration
from model.inference.linear_network import LinearNetwork
from model.inference.tensorflow_setup import load_openvino
from model.networks.builder import build
from model.networks.registry import NETWORKS
from tests.conftest import call
from tests.features.networks.small import small_toml, write_small_network
from tests.model.formats.dense import save_dense
from tests.model.networks.kinds import KINDS
from tests.signals import noise, write_wav

SHORT = replace(preset("log-mel-40"), clip_seconds=0.2)
CLASSES = ["high", "low, or not", "ö"]
NUMBERS = (LITERT, ONNX)


def live(run: Path, waveforms: np.ndarray) -> np.ndarray:
    artifact = load_artifact(str(run))
    return artifact.probabilities(compute_features(waveforms, artifact.spec))


def apart(network: keras.Model, spec: FeatureSpec) -> keras.Model:
    """A network whose logits are as far apart as after a training."""
    features = compute_features(noise(8 * 3_200).reshape(8, 3_200)[:, : spec.clip_samples], spec)
    last = network.trainable_weights[-2]
    last.assign(last * 3 / max(float(np.std(network(features[..., np.newaxis]))), 0.1))
    return network


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder with a small network of convolutions, a temperature and thresholds."""
    keras.utils.set_random_seed(0)
    strided = {"strides": 2, "activation": "relu"}
    network = keras.Sequential([
        layers.Input((*SHORT.shape, 1)), layers.Normalization(axis=None, mean=-5.0, variance=4.0),
        layers.Conv2D(16, 3, **strided), layers.Conv2D(32, 3, **strided), layers.Flatten(), layers.Dense(3),
    ])  # fmt: skip
    thresholds = Calibration(0.6, dict(zip(CLASSES, (0.5, None, 0.75), strict=True)), 0.9)
    run = tmp_path_factory.mktemp("run") / "run"
    artifact = Artifact(apart(network, SHORT), SHORT, CLASSES, "module:own", True, ("training",), "", thresholds)
    save_artifact(run, artifact)
    return run


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> dict[str, Path]:
    """The folders of an export of each format that is one file."""
    root = tmp_path_factory.mktemp("exports")
    for name in NUMBERS:
        export(str(run), str(root / name), format_name=name)
    return {name: root / name for name in NUMBERS}


def litert(content):
    from ai_edge_litert.interpreter import Interpreter

    source = {"model_content": content} if isinstance(content, bytes) else {"model_path": str(content)}
    runner = Interpreter(**source).get_signature_runner("serving_default")
    return lambda waveforms: runner(waveforms=waveforms)


def onnx(path):
    from features.networks.onnx_runtime import _load

    session = _load(path.read_bytes())
    names = [output.name for output in session.get_outputs()]
    return lambda waveforms: dict(zip(names, session.run(names, {"waveforms": waveforms}), strict=True))


@pytest.fixture(scope="module")
def runners(exported):
    return {LITERT: litert(exported[LITERT] / "model.tflite"), ONNX: onnx(exported[ONNX] / "model.onnx")}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("clips", [1, 2, 33, 0])
def test_any_number_of_clips_gets_the_probabilities_of_the_live_network(runners, run, name, clips):
    if clips == 0 and name == LITERT:
        pytest.skip("LiteRT takes no batch of nothing")
    waveforms = noise(33 * 3_200).reshape(33, 3_200)[:clips] * np.logspace(0, -3, 33, dtype=np.float32)[:clips, None]
    found = runners[name](waveforms)
    assert {key: (values.dtype.name, values.shape) for key, values in found.items()} == {
        "predictions": ("float32", (clips, 3)),
        "probabilities": ("float32", (clips, 3)),
        "class_ids": ("int32", (clips,)),
    }
    if clips:
        expected = live(run, waveforms)
        np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-5)
        assert np.ptp(expected) > 0.3
        assert found["class_ids"].tolist() == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_what_score_rejects_is_no_class(runners, name, bad):
    waveforms = noise(4 * 3_200).reshape(4, 3_200)
    clean = runners[name](waveforms)["probabilities"]
    waveforms[0, 5] = waveforms[2, -5] = bad
    found = runners[name](waveforms)
    assert np.isnan(found["probabilities"][[0, 2]]).all() and np.isnan(found["predictions"][[0, 2]]).all()
    assert found["class_ids"][[0, 2]].tolist() == [-1, -1]
    np.testing.assert_allclose(found["probabilities"][[1, 3]], clean[[1, 3]], rtol=0, atol=1e-6)


def test_all_that_a_user_has_to_know_is_inside(exported, run):
    import onnx as onnx_package

    expected = json.loads(describe(load_artifact(str(run))))
    assert expected["temperature"] == 0.6 and expected["thresholds"]["ö"] == 0.75
    with zipfile.ZipFile(exported[LITERT] / "model.tflite") as archive:
        assert json.loads(archive.read("soundmill.json")) == expected
        assert archive.read("labels.txt").decode().splitlines() == CLASSES
    model = onnx_package.load(exported[ONNX] / "model.onnx")
    assert {one.key: json.loads(one.value) for one in model.metadata_props} == {"soundmill": expected}
    assert [taken.name for taken in model.graph.input] == ["waveforms"]
    for name, file in ((LITERT, "model.tflite"), (ONNX, "model.onnx")):
        content = (exported[name] / file).read_bytes()
        for part in (str(Path(__file__).parents[3]), str(run.parent), "/tmp/"):
            assert part.encode() not in content


def test_litert_loads_the_file_from_memory_as_from_its_path(exported, runners):
    waveforms = noise(2 * 3_200).reshape(2, 3_200)
    found = litert((exported[LITERT] / "model.tflite").read_bytes())(waveforms)["probabilities"]
    np.testing.assert_array_equal(found, runners[LITERT](waveforms)["probabilities"])


@pytest.mark.parametrize("name", NUMBERS)
def test_openvino_runs_the_file_too(exported, runners, name):
    openvino = load_openvino()
    path = exported[name] / FORMATS[name].file
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for clips in (1, 3):
        waveforms = noise(clips * 3_200).reshape(clips, 3_200)
        found = compiled(waveforms)
        expected = runners[name](waveforms)["probabilities"]
        assert any(
            values.shape == expected.shape and np.abs(values - expected).max() < 1e-4 for values in found.values()
        )


@pytest.mark.parametrize("name", [*NUMBERS, pytest.param(SAVED_MODEL, marks=pytest.mark.trial)])
def test_the_lines_of_the_card_run_it_in_a_process_without_our_code(exported, run, tmp_path, name):
    if name == SAVED_MODEL:
        export(str(run), str(tmp_path / SAVED_MODEL))
    folder = exported.get(name, tmp_path / name)
    samples = noise(2 * 4_000).reshape(4_000, 2)
    write_wav(tmp_path / "clip.wav", samples)
    lines = run_it(name, SHORT, f"{folder}/")
    assert run_it(name, SHORT) in (folder / "README.md").read_text(encoding="utf-8")
    code = f"{lines}\nimport sys\nprint([one for one in sys.modules if one.split('.')[0] in ('features', 'model')])\n"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    written = np.round(samples * 32768).astype(np.float32) / 32768
    expected = live(run, written.mean(axis=1)[np.newaxis, :3_200])
    said, known = result.stdout.splitlines()[-2:]
    label, _, probability = said.rpartition(" ")
    assert (label, known) == (CLASSES[expected.argmax()], "[]")
    assert float(probability) == pytest.approx(float(expected.max()), abs=1e-5)


def operations(content: bytes) -> list[str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator, Model

    names = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    model = Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(graph.Operators(place).OpcodeIndex()) for place in range(graph.OperatorsLength())]
    return [names[code.BuiltinCode()] for code in codes]


def labelled(run: Path, clips: int) -> list[tuple[np.ndarray, int]]:
    """Waveforms with the labels of the live network."""
    waveforms = noise(clips * 3_200).reshape(clips, 3_200) * np.logspace(0, -3, clips, dtype=np.float32)[:, None]
    return list(zip(waveforms, live(run, waveforms).argmax(axis=1).tolist(), strict=True))


def test_int8_is_of_the_network_alone_and_as_often_right(run, exported, tmp_path):
    clips = labelled(run, 64)
    int8 = Int8Clips(clips, clips, 64, ("testing",), 0.05)
    figures = export(str(run), str(tmp_path / "model"), format_name=LITERT_INT8, int8_clips=int8)
    path = tmp_path / "model" / "model.tflite"
    found = operations(path.read_bytes())
    assert {"EXPAND_DIMS", "SPLIT", "SQRT"} < set(found[: found.index("QUANTIZE")])
    between = found[found.index("QUANTIZE") : found.index("DEQUANTIZE")]
    assert between.count("CONV_2D") == 2 and found[-1] == "SOFTMAX"
    assert 0 < figures["largest_difference"] < 0.5 and figures["tolerance"] is None
    assert figures["float_accuracy"] == 1 and figures["accuracy"] == figures["same_label"] >= 0.95

    float_bytes = (exported[LITERT] / "model.tflite").stat().st_size
    assert figures["bytes"] < float_bytes
    compiled = load_openvino().Core().compile_model(str(path), "CPU")
    waveforms = np.stack([waveform for waveform, _ in clips[:2]])
    expected = litert(path)(waveforms)["probabilities"]
    assert any(np.shape(one) == (2, 3) and np.abs(one - expected).max() < 0.2 for one in compiled(waveforms).values())
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("soundmill.json"))["temperature"] == 0.6


@pytest.mark.trial
def test_int8_by_the_command_from_the_recordings_of_the_set(trained, feature_set, tmp_path, capsys):
    arguments = ("--model", trained, "--format", LITERT_INT8, "--features", feature_set, "--test-on", "validation")
    assert call("model.export", *arguments, "--output", tmp_path / "model", "--summary", tmp_path / "figures") == 0
    figures = json.loads((tmp_path / "figures").read_text())
    assert figures["accuracy"] == figures["float_accuracy"] > 0.9
    said = f"In int8 it is right on {figures['accuracy']:.2%} of {figures['tested_clips']} clips of validation, in"
    assert said in capsys.readouterr().out
    moved = shutil.copytree(feature_set, tmp_path / "features")
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["source"]["root"] = str(tmp_path / "gone")
    (moved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"int8 takes the recordings .* has none of them any more"):
        call("model.export", *arguments, "--features", moved, "--output", tmp_path / "other")


def test_int8_that_loses_more_than_is_allowed_is_refused(run):
    artifact, tested = load_artifact(str(run)), labelled(run, 40)
    waveforms = np.stack([waveform for waveform, _ in tested])
    right = live(run, waveforms)

    def worse(wrong: int) -> Exported:
        """An export that gives another class to so many of the clips."""
        by_clip = {row.tobytes(): values for row, values in zip(waveforms, right, strict=True)}
        other = {row.tobytes() for row in waveforms[:wrong]}

        def probabilities(batch):
            return np.stack([(-1 if row.tobytes() in other else 1) * by_clip[row.tobytes()] for row in batch])

        return Exported(probabilities)

    clips = Int8Clips(tested, tested, 40, ("testing",), 0.05)
    assert measure(artifact, worse(2), clips)["accuracy"] == 0.95
    with pytest.raises(
        RunError, match=r"right on 92\.50% of 40 .* testing, in float32 on 100\.00%.*-loss 0\.05 allows"
    ):
        measure(artifact, worse(3), clips)
    with pytest.raises(RunError, match="none of them is where the features were made from"):
        measure(artifact, worse(0), replace(clips, tested=[]))


@pytest.mark.parametrize("option", [("--features", "x"), ("--test-on", "testing"), ("--max-accuracy-loss", "0.1")])
def test_options_of_int8_go_with_no_other_format(run, tmp_path, option):
    with pytest.raises(UsageError, match=f"{option[0]} goes with --format litert-int8"):
        call("model.export", "--model", run, "--output", tmp_path / "model", "--format", LITERT, *option)


def test_int8_names_what_it_lacks(run, tmp_path):
    with pytest.raises(UsageError, match="is a share from 0 to 1, not 2"):
        call("model.export", "--model", run, "--output", tmp_path / "model", "--format", LITERT_INT8,
             "--max-accuracy-loss", "2")  # fmt: skip
    with pytest.raises(UsageError, match="does not say which set it was trained on; give it with --features"):
        call("model.export", "--model", run, "--output", tmp_path / "model", "--format", LITERT_INT8)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [LITERT_INT8, ONNX])
def test_a_missing_package_is_named_with_its_extra_before_tensorflow_is_loaded(monkeypatch, run, tmp_path, name):
    monkeypatch.setattr(exporter, "load_artifact", None)
    missing = FORMATS[name].packages[0]
    found = export_format.importlib.util.find_spec
    monkeypatch.setattr(
        export_format.importlib.util, "find_spec", lambda package: None if package == missing else found(package)
    )
    with pytest.raises(UsageError, match=rf"--format {name} takes .* not installed: pip install 'soundmill\[\w+\]'"):
        call("model.export", "--model", run, "--output", tmp_path / "model", "--format", name)
    assert not list(tmp_path.iterdir())


def test_an_export_of_any_format_is_replaced_and_nothing_else(exported, run, tmp_path):
    for name in ("model.onnx", "model.tflite"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(b"of somebody else")
    with pytest.raises(UsageError, match="is not an export: it has none of"):
        export(str(run), str(tmp_path / "mine"), True, LITERT)
    export(str(run), str(tmp_path / "model"), format_name=LITERT)
    with pytest.raises(UsageError, match="exists already"):
        export(str(run), str(tmp_path / "model"), format_name=ONNX)
    export(str(run), str(tmp_path / "model"), True, ONNX)
    assert not (tmp_path / "model" / "model.tflite").exists()
    assert (tmp_path / "model" / "listen.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model"]


def save_linear(run, network, spec, networks):
    def write(path):
        network.write(path, CLASSES)
        return network.to_litert(spec.shape)

    description = ArtifactDescription(spec, spec.fingerprint, CLASSES, "linear", True, ("training",), "", None)
    save_network(run, description, write, networks=networks)


@pytest.mark.trial
@pytest.mark.parametrize("is_linear", [False, True])
@pytest.mark.parametrize("chosen", [SAVED_MODEL, *NUMBERS])
def test_a_head_takes_features_and_says_what_goes_before_it(tmp_path, chosen, is_linear):
    network = write_small_network(tmp_path / "network.tflite")
    (tmp_path / "spec.toml").write_text(small_toml(0.35))
    spec = load_spec(str(tmp_path / "spec.toml")).spec
    networks = tmp_path / "networks"
    networks.mkdir()
    shutil.copy(network, networks / str(spec.network_name))
    keras.utils.set_random_seed(0)
    head = keras.Sequential([layers.Input((*spec.shape, 1)), layers.Flatten(), layers.Dense(3)])
    artifact = Artifact(head, spec, CLASSES, "module:own", True, ("training",))
    if is_linear:
        weights = np.random.default_rng(0).normal(0, 9, (3, *spec.shape)).astype(np.float32)
        linear = LinearNetwork(weights, np.zeros(3, np.float32), unit_length=True)
        save_linear(run := tmp_path / "run", linear, spec, networks)
    else:
        save_artifact(run := tmp_path / "run", artifact, networks=networks)
    figures = export(str(run), str(tmp_path / "model"), format_name=chosen)
    assert (figures["takes"], figures["shape"]) == ("features", spec.shape)
    assert figures["largest_difference"] < 1e-5
    assert str(spec.network_name) in (tmp_path / "model" / "before.md").read_text()
    assert not (tmp_path / "model" / "listen.html").exists()


@keras.saving.register_keras_serializable("tests")
class Unknown(layers.Layer):
    """An operation that ONNX has not."""

    def call(self, inputs):
        import tensorflow as tf

        return tf.math.lgamma(tf.abs(inputs) + 1.0)


@pytest.mark.parametrize("chosen", [LITERT, pytest.param(ONNX, marks=pytest.mark.trial)])
def test_a_file_that_computes_something_else_leaves_nothing(run, tmp_path, monkeypatch, chosen):
    monkeypatch.setattr(tf_front_end, "mel_weights", lambda spec: 0.5 * mel_weights(spec))
    with pytest.raises(RunError, match=r"other probabilities than the live one: by .* on .* nothing was kept"):
        export(str(run), str(tmp_path / "model"), format_name=chosen)
    assert not list(tmp_path.iterdir())


@pytest.mark.trial
def test_what_onnx_has_not_is_refused_in_a_line(tmp_path, monkeypatch):
    from model.inference import artifact

    monkeypatch.setattr(artifact, "convert", lambda network, shape: b"")  # nor has LiteRT
    network = keras.Sequential([layers.Input((*SHORT.shape, 1)), Unknown(), layers.Flatten(), layers.Dense(3)])
    save_artifact(run := tmp_path / "run", Artifact(network, SHORT, CLASSES, "module:own", True, ("training",)))
    with pytest.raises(
        UsageError, match=r"^the network module:own cannot be converted to ONNX: .*; take another"
    ) as one:
        export(str(run), str(tmp_path / "model"), format_name=ONNX)
    assert "\n" not in str(one.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.trial
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("chosen", [SAVED_MODEL, *NUMBERS])
def test_every_network_goes_into_every_format(tmp_path, name, chosen):
    keras.utils.set_random_seed(0)
    network = build(NETWORKS[name], SHORT.shape, 3, Statistics(100, (-500.0,) * 40, (6500.0,) * 40))
    returns_logits = NETWORKS[name].returns_logits
    artifact = Artifact(apart(network, SHORT), SHORT, CLASSES, name, returns_logits, ("training",))
    save_artifact(run := tmp_path / "run", artifact)
    assert export(str(run), str(tmp_path / "model"), format_name=chosen)["largest_difference"] < 2e-5


@pytest.mark.trial
@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).network_name is None])
@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
@pytest.mark.parametrize("chosen", NUMBERS)
def test_every_front_end_goes_into_every_format(tmp_path, name, storage_dtype, chosen):
    run = save_dense(tmp_path / "run", replace(preset(name), storage_dtype=storage_dtype), ["a", "b"])
    assert export(str(run), str(tmp_path / "model"), format_name=chosen)["largest_difference"] <= 1e-4


@pytest.mark.trial
@pytest.mark.parametrize("chosen", NUMBERS)
def test_waveforms_of_any_length_go_into_every_format(tmp_path, chosen):
    spec = preset("urbansound-mfcc")
    run = save_dense(tmp_path / "run", spec, ["a", "b"], softmax=True)
    export(str(run), str(tmp_path / "model"), format_name=chosen)
    path = tmp_path / "model" / FORMATS[chosen].file
    model = litert(path) if chosen == LITERT else onnx(path)
    artifact = load_artifact(str(run))
    for samples in (1, 511, 2_049, 100_000):
        waveforms = noise(2 * samples, seed=samples).reshape(2, samples)
        expected = artifact.probabilities(compute_features(waveforms, spec))
        np.testing.assert_allclose(model(waveforms)["probabilities"], expected, rtol=0, atol=1e-4)
