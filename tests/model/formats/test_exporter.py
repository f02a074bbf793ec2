"""The exported model is the trained one, in a process that knows nothing of soundmill too, and agrees with librosa."""

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from features.errors import RunError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features, mel_weights
from features.runtime.quantities import size_text
from features.store.statistics import Statistics
from model.formats import exporter, tf_front_end
from model.formats.exporter import export
from model.formats.parity import TOLERANCE
from model.inference.artifact import Artifact, load_artifact, save_artifact
from model.inference.calibration import Calibration
from model.networks.builder import build
from model.networks.registry import NETWORKS
from tests.conftest import call, run_command
from tests.model.formats.dense import save_dense
from tests.peers.library import pooled_mfcc
from tests.signals import noise, sine, write_wav

LOG_MEL = preset("log-mel")
MFCC = preset("urbansound-mfcc")
RATE_HZ = MFCC.sample_rate_hz
CALIBRATION = Calibration(0.4, {"high": 0.5, "low": None, "middle": 0.75}, 0.9)
# Of the range of librosa's values over all clips compared.
LIBROSA_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def run(untrained, feature_set, tmp_path_factory) -> Path:
    """A run folder whose config.json names the features, as that of a training does, with a temperature."""
    run = shutil.copytree(untrained, tmp_path_factory.mktemp("runs") / "run")
    path = run / "model" / "artifact.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **CALIBRATION.to_dict()}))
    (run / "config.json").write_text(json.dumps({"features": str(feature_set)}))
    return run


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> tuple[Path, dict, subprocess.CompletedProcess]:
    """An export as the command writes it: the folder, the figures, what it said."""
    folder = tmp_path_factory.mktemp("exports")
    summary = folder / "summary.json"
    result = run_command("model.export", "--model", run, "--output", folder / "model", "--summary", summary)
    return folder / "model", json.loads(summary.read_text()), result


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported[0]))


@pytest.fixture(scope="module")
def features_of(tmp_path_factory):
    """An export whose predictions are the pooled MFCCs themselves: its one layer multiplies by the identity."""
    root = tmp_path_factory.mktemp("mfcc")
    save_dense(root / "run", MFCC, [f"coefficient {number}" for number in range(40)], np.eye(40, dtype=np.float32))
    export(str(root / "run"), str(root / "model"))
    model = tf.saved_model.load(str(root / "model"))
    return lambda path: model(tf.constant(str(path)))["predictions"][0].numpy()


@pytest.mark.parametrize("channels", ["loudest", pytest.param(3, marks=pytest.mark.trial)])
def test_an_export_reads_the_channel_of_the_spec_from_files(tmp_path, channels):
    spec = replace(preset("speech-commands"), clip_seconds=0.1, channels=channels)
    run = save_dense(tmp_path / "run", spec, ["a", "b"])
    figures = export(str(run), str(tmp_path / "model"))
    assert {"mono", "stereo"} & figures["differences"].keys() == {"stereo"}
    model = tf.saved_model.load(str(tmp_path / "model"))
    assert json.loads(Path(model.description.asset_path.numpy().decode()).read_text())["spec"]["channels"] == channels
    samples = np.stack([noise(1_600, number, 0.1 + 0.01 * (number == 1)) for number in range(3)], axis=1)
    path = str(write_wav(tmp_path / "three.wav", samples))
    chosen = 1 if channels == "loudest" else channels - 1
    written = np.round(samples[:, chosen] * 32768).astype(np.float32) / 32768
    expected = load_artifact(str(run)).probabilities(compute_features([written], spec))
    np.testing.assert_allclose(model(tf.constant(path))["probabilities"], expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(model(written[None])["probabilities"], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", [pytest.param("bc-resnet-1", marks=pytest.mark.endurance),
                                  pytest.param("ds-tc-resnet", marks=pytest.mark.trial)])  # fmt: skip
def test_the_export_of_a_convolutional_network_gives_its_probabilities(tmp_path, name):
    spec = replace(LOG_MEL, clip_seconds=0.2, mel_bands=40)
    keras.utils.set_random_seed(0)
    network = build(NETWORKS[name], spec.shape, 3, Statistics(100, (-500.0,) * 40, (6500.0,) * 40))
    features = np.random.default_rng(0).normal(-5, 6, (9, *spec.shape, 1)).astype(np.float32)
    last = network.trainable_weights[-2]
    last.assign(last * 3 / np.std(network(features)))  # logits far apart, as after a training
    run = tmp_path / "run"
    save_artifact(run, Artifact(network, spec, ["a", "b", "c"], name, NETWORKS[name].returns_logits, ("training",)))
    assert export(str(run), str(tmp_path / "export"))["largest_difference"] < 1e-5


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_command_says_what_it_wrote(exported):
    folder, figures, result = exported
    assert result.stderr == ""
    size = size_text(figures["bytes"])
    for part in (
        str(folder),
        size,
        "float32 [n, 16000]",
        "16,000 Hz",
        "from_path",
        str(folder / "README.md"),
    ):
        assert part in result.stdout
    assert f"{figures['largest_difference']:.1e}" in result.stdout
    assert "6 made signals and 8 clips of its source" in result.stdout
    assert "\n  loaded = tf.saved_model.load(" in result.stdout
    assert files_in(folder) >= {"saved_model.pb", "assets/soundmill.json", "variables/variables.index", "README.md"}
    assert figures["bytes"] == sum((folder / name).stat().st_size for name in files_in(folder) - {"README.md"})
    assert [path.name for path in sorted(folder.parent.iterdir())] == ["model", "summary.json"]


def test_the_differences_are_in_the_figures(exported):
    _, figures, _ = exported
    differences = figures["differences"]
    assert {"silence", "noise", "sine", "stereo", "short", "long"} < set(differences)
    assert sum(name.endswith(".wav") for name in differences) == figures["real_clips"] == 8
    assert figures["largest_difference"] == max(differences.values()) <= 1e-5 < figures["tolerance"]


def test_the_description_is_inside(exported, loaded, run):
    folder, _, _ = exported
    path = loaded.description.asset_path.numpy().decode()
    assert Path(path) == folder / "assets" / "soundmill.json"
    description = json.loads(Path(path).read_text())
    artifact = load_artifact(run)
    assert description["format"] == "soundmill-export"
    assert FeatureSpec.from_dict(description["spec"]) == artifact.spec
    assert (description["sample_rate_hz"], description["clip_samples"]) == (16_000, 16_000)
    assert description["classes"] == ["high", "low", "middle"]
    assert description["network_sha256"] == artifact.digest
    assert artifact.calibration == Calibration.from_dict(description) == CALIBRATION


def test_the_temperature_is_inside(loaded):
    answer = loaded(tf.constant(noise(2 * 16_000).reshape(2, 16_000)))
    logits, found = answer["predictions"].numpy(), answer["probabilities"].numpy()
    np.testing.assert_allclose(found, softmax(logits / 0.4, axis=1), rtol=1e-5)
    assert np.abs(found - softmax(logits, axis=1)).max() > 0.01


def test_no_path_of_the_machine_is_inside(exported, run):
    content = (exported[0] / "saved_model.pb").read_bytes()
    assert not [part for part in (str(Path(__file__).parents[3]), str(run.parent), "/tmp/") if part.encode() in content]


def test_the_signatures_are_as_promised(loaded):
    assert set(loaded.signatures) == {"serving_default", "from_path"}
    _, waveforms = loaded.signatures["serving_default"].structured_input_signature
    _, path = loaded.signatures["from_path"].structured_input_signature
    assert waveforms == {"waveforms": tf.TensorSpec((None, 16_000), tf.float32, name="waveforms")}
    assert path == {"path": tf.TensorSpec((), tf.string, name="path")}
    for signature in loaded.signatures.values():
        outputs = signature.structured_outputs
        assert {name: output.dtype for name, output in outputs.items()} == {
            "predictions": tf.float32,
            "probabilities": tf.float32,
            "class_ids": tf.int64,
            "class_names": tf.string,
        }


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_score_rejects_gets_no_label(loaded, bad):
    """A single sample spoils its own clip, wherever it is, and no other."""
    waveforms = noise(4 * 16_000).reshape(4, 16_000)
    clean = loaded(waveforms)
    waveforms[0, 5] = waveforms[2, -5] = bad
    for output in (loaded(waveforms), loaded.signatures["serving_default"](waveforms=tf.constant(waveforms))):
        assert np.isnan(output["predictions"].numpy()[[0, 2]]).all()
        assert np.isnan(output["probabilities"].numpy()[[0, 2]]).all()
        assert output["class_ids"].numpy()[[0, 2]].tolist() == [-1, -1]
        assert output["class_names"].numpy()[[0, 2]].tolist() == [b"", b""]
        for name, values in output.items():
            np.testing.assert_array_equal(values.numpy()[[1, 3]], clean[name].numpy()[[1, 3]])


@pytest.mark.parametrize("front_end", [LOG_MEL, MFCC, pytest.param(preset("speech-commands"), marks=pytest.mark.trial)])
def test_a_sample_that_is_no_number_is_none_by_any_front_end(tmp_path, front_end):
    """TensorFlow's maximum may lose it on the way to the features; those of pooled features sum it away."""
    export(str(save_dense(tmp_path / "run", front_end, ["a", "b"])), str(tmp_path / "model"))
    model = tf.saved_model.load(str(tmp_path / "model"))
    samples = front_end.clip_samples or 3_000
    waveforms = noise(2 * samples).reshape(2, samples)
    waveforms[1, samples // 2] = np.nan
    assert np.isnan(model(waveforms)["probabilities"].numpy()).any(axis=1).tolist() == [False, True]
    assert model(waveforms)["class_names"].numpy().tolist()[1] == b""


@pytest.mark.parametrize("clips", [0, 1, 2, 33])
def test_waveforms_get_the_probabilities_of_the_live_network(loaded, run, clips):
    waveforms = noise(33 * 16_000).reshape(33, 16_000) * np.logspace(0, -3, 33, dtype=np.float32)[:, None]
    waveforms = waveforms[:clips]
    artifact = load_artifact(run)
    features = compute_features(waveforms, artifact.spec)
    expected = artifact.probabilities(features) if clips else np.empty((0, 3))
    for output in (loaded(waveforms), loaded.signatures["serving_default"](waveforms=tf.constant(waveforms))):
        np.testing.assert_allclose(output["probabilities"], expected, rtol=0, atol=1e-5)
        assert output["predictions"].shape == output["probabilities"].shape == (clips, 3)
        assert output["class_ids"].shape == output["class_names"].shape == (clips,)
        ids = expected.argmax(axis=1)
        assert output["class_ids"].numpy().tolist() == ids.tolist()
        assert output["class_names"].numpy().tolist() == [artifact.classes[number].encode() for number in ids]
        if clips:
            logits = artifact.network(features[..., np.newaxis]).numpy()
            np.testing.assert_allclose(output["predictions"], logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("frames", "channels"), [(1, 1), (9_000, 2), (16_000, 1), (50_000, 2)])
def test_files_get_the_probabilities_of_the_live_network(loaded, run, tmp_path, frames, channels):
    path = str(write_wav(tmp_path / "é ü.wav", noise(frames * channels).reshape(frames, channels)))
    artifact = load_artifact(run)
    expected = artifact.probabilities(compute_features([clip_waveform(path, artifact.spec)[0]], artifact.spec))
    for output in (loaded(tf.constant(path)), loaded(path), loaded.signatures["from_path"](path=tf.constant(path))):
        np.testing.assert_allclose(output["probabilities"], expected, rtol=0, atol=1e-5)
        assert output["class_names"].shape == (1,)


def test_another_rate_is_an_error_that_names_both(loaded, tmp_path):
    path = write_wav(tmp_path / "sound.wav", noise(8_000), 8_000)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sound\.wav has a sample rate of 8000 Hz.*16000 Hz; res"):
        loaded(tf.constant(str(path)))


def test_a_process_that_knows_nothing_of_soundmill_runs_it(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "elsewhere" / "model")
    write_wav(tmp_path / "clip.wav", sine(440.0, 12_000))
    program = (
        "import json, sys\nimport tensorflow as tf\n"
        "model = tf.saved_model.load('elsewhere/model')\n"
        "by_path = model(tf.constant('clip.wav'))\n"
        "samples, _ = tf.audio.decode_wav(tf.io.read_file('clip.wav'), desired_samples=16_000)\n"
        "by_waveform = model(samples[tf.newaxis, :, 0])\n"
        "description = json.load(open(model.description.asset_path.numpy()))\n"
        "known = [name for name in sys.modules if name.split('.')[0] in ('features', 'model', 'pipelines')]\n"
        "print(json.dumps([known, description['classes'], by_path['class_names'].numpy()[0].decode(), "
        "by_path['probabilities'].numpy().tolist(), by_waveform['probabilities'].numpy().tolist()]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    known, classes, name, by_path, by_waveform = json.loads(result.stdout)
    assert known == []
    assert classes == ["high", "low", "middle"]
    assert name == classes[int(np.argmax(by_path))]
    np.testing.assert_allclose(by_path, by_waveform, rtol=0, atol=1e-6)


@pytest.mark.parametrize("storage_dtype", [pytest.param("float32", marks=pytest.mark.trial), "float16"])
def test_a_network_with_a_softmax_of_its_own(tmp_path, storage_dtype):
    spec = FeatureSpec.from_dict({**LOG_MEL.to_dict(), "crop": "centre", "storage_dtype": storage_dtype})
    run = save_dense(tmp_path / "run", spec, ["a", "é", "c,d", "e"], softmax=True)
    assert export(str(run), str(tmp_path / "model"))["largest_difference"] <= TOLERANCE
    output = tf.saved_model.load(str(tmp_path / "model"))(noise(16_000)[np.newaxis])
    np.testing.assert_array_equal(output["predictions"], output["probabilities"])
    assert output["probabilities"].numpy().sum() == pytest.approx(1, abs=1e-6)


def test_waveforms_of_any_length(tmp_path, capsys):
    run = save_dense(tmp_path / "run", MFCC, ["a", "b"], softmax=True)
    assert call("model.export", "--model", run, "--output", tmp_path / "model") == 0
    assert "float32 [n, samples] at 22,050 Hz" in capsys.readouterr().out
    model = tf.saved_model.load(str(tmp_path / "model"))
    artifact = load_artifact(run)
    for samples in (1, 511, 2_049, 100_000):
        waveforms = noise(2 * samples, seed=samples).reshape(2, samples)
        expected = artifact.probabilities(compute_features(waveforms, MFCC))
        np.testing.assert_allclose(model(waveforms)["probabilities"], expected, rtol=0, atol=1e-4)
    assert model(np.zeros((0, 5), np.float32))["probabilities"].shape == (0, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="waveforms of 0 samples are too short"):
        model(np.zeros((1, 0), np.float32))


def compare_with_librosa(librosa, name, features_of, paths) -> None:
    actual = np.stack([features_of(path) for path in paths])
    expected = librosa(name, lambda theirs: [pooled_mfcc(theirs, path) for path in paths])
    assert np.abs(actual - expected).max() <= LIBROSA_TOLERANCE * np.ptp(expected)


def test_the_pooled_features_are_librosas(librosa, features_of, tmp_path):
    paths = [
        write_wav(tmp_path / f"{number}.wav", samples, RATE_HZ)
        for number, samples in enumerate(
            [
                np.zeros(RATE_HZ, np.float32),
                noise(RATE_HZ),
                noise(3 * RATE_HZ // 2, amplitude=1e-3),
                sine(440.0, 2 * RATE_HZ, RATE_HZ),
                noise(4_000).reshape(2_000, 2),
                noise(2_049),
            ]
        )
    ]
    compare_with_librosa(librosa, "mean MFCC of files for an export", features_of, paths)


@pytest.mark.data
@pytest.mark.trial
@pytest.mark.peers("librosa")
@pytest.mark.parametrize("pattern", ["esc10/audio/*.ogg", "fsdd/recordings/*.wav"])
def test_the_pooled_features_of_real_clips_are_librosas(live_librosa, features_of, data, tmp_path, pattern):
    originals = sorted(data.glob(pattern))[::100]
    assert len(originals) >= 4

    def write(theirs):
        waveforms = [theirs.load(path)[0] for path in originals]
        paths.extend(write_wav(tmp_path / f"{number}.wav", one, RATE_HZ) for number, one in enumerate(waveforms))

    paths: list[Path] = []
    live_librosa("waveforms as librosa decodes and resamples them", write)
    compare_with_librosa(live_librosa, pattern, features_of, paths)


def test_an_output_that_exists_is_refused(exported, run, tmp_path):
    folder = exported[0]
    before = files_in(folder)
    with pytest.raises(UsageError, match="exists already; give another --output, or --overwrite"):
        call("model.export", "--model", run, "--output", folder)
    assert files_in(folder) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for other in ("notes", "file"):
        with pytest.raises(UsageError, match=r"is not an export: it has none of saved_model\.pb.*; give another --o"):
            call("model.export", "--model", run, "--output", tmp_path / other, "--overwrite")
    assert files_in(tmp_path) == {"notes/mine.txt", "file"}


def test_overwrite_replaces_an_export(tmp_path):
    run = save_dense(tmp_path / "run", LOG_MEL, ["a", "b"])
    export(str(run), str(tmp_path / "model"))
    (tmp_path / "model" / "stray").write_text("of the old one")
    (tmp_path / "link").symlink_to("model")
    assert call("model.export", "--model", run, "--output", tmp_path / "link", "--overwrite") == 0
    assert "stray" not in files_in(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model", "run"]


@pytest.mark.parametrize("name", ["birds [v2]", "a\\b", "a*b", "b?", "[v2]/export", "link", os.fsdecode(b"\xff")])
def test_a_path_that_tensorflow_cannot_load_from_is_refused_at_once(run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(exporter, "load_artifact", None)
    (tmp_path / "link").symlink_to(tmp_path / "[v2]")
    with pytest.raises(UsageError, match=r"^TensorFlow takes .*give an.* --output"):
        export(str(run), str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize("most_bytes", [100, 100_000])
def test_what_cannot_be_written_is_said_in_a_line_and_leaves_nothing(tmp_path, most_bytes):
    """By a limit for the size of files: TensorFlow's own writing fails, of the weights or of the graph."""
    run = save_dense(tmp_path / "run", LOG_MEL, ["a", "b"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        with pytest.raises(RunError) as raised:
            export(str(run), str(tmp_path / "model"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(raised.value) == f"cannot write {tmp_path / 'model'}: File too large; nothing was kept of it"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such run folder"):
        call("model.export", "--model", tmp_path / "nothing", "--output", tmp_path / "model")


def test_an_export_that_computes_something_else_leaves_nothing(tmp_path, monkeypatch):
    run = save_dense(tmp_path / "run", LOG_MEL, ["a", "b"])
    export(str(run), str(tmp_path / "old"))
    before = (tmp_path / "old" / "saved_model.pb").read_bytes()
    monkeypatch.setattr(tf_front_end, "mel_weights", lambda spec: mel_weights(replace(spec, mel_filter_bank="htk")))
    for output, options in (("new", ()), ("old", ("--overwrite",))):
        with pytest.raises(RunError, match=r"by \d\.\de.\d\d on noise, where 0\.0001 is allowed; nothing was kept"):
            call("model.export", "--model", run, "--output", tmp_path / output, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "run"]
    assert (tmp_path / "old" / "saved_model.pb").read_bytes() == before


def test_probabilities_that_are_no_numbers_are_no_agreement(tmp_path):
    size = int(np.prod(LOG_MEL.shape))
    run = save_dense(tmp_path / "run", LOG_MEL, ["a", "b"], np.full((size, 2), np.nan, np.float32))
    with pytest.raises(RunError, match="by nan on silence"):
        export(str(run), str(tmp_path / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_command_says_that_real_clips_are_missing(tmp_path, capsys):
    run = save_dense(tmp_path / "run", LOG_MEL, ["a", "b"])
    assert call("model.export", "--model", run, "--output", tmp_path / "model") == 0
    output = capsys.readouterr().out
    assert "on 6 made signals. It was not compared on real clips: the features that it was trained on are not" in output
