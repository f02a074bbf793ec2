"""Networks of others as front ends: BirdNET on real recordings against plain loops, one network by three runtimes."""

import numpy as np
import pytest
import soundfile
import soxr

from features.frontend.clip import clip_waveform
from features.frontend.embedding import check_network
from features.frontend.presets import load_preset
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from features.networks.network_file import read_network_file
from tests.features.frontend.interpreter import by_interpreter, in_batches
from tests.real_networks import BIRDNET
from tests.signals import noise


@pytest.fixture(scope="module")
def spec(birdnet):
    choice = load_preset("birdnet-2.4", str(birdnet / BIRDNET))
    assert choice.network.file == str(birdnet / BIRDNET)
    return choice.spec


@pytest.fixture(scope="module")
def networks(birdnet, spec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    (folder / spec.network_name).symlink_to((birdnet / BIRDNET).absolute())
    return folder


@pytest.fixture(scope="module")
def content(birdnet):
    return (birdnet / BIRDNET).read_bytes()


def recordings(data, begin, end):
    """Files of 5 s in Ogg Vorbis at 44,100 Hz, and their first 3 s at 48,000 Hz by other means."""
    paths = sorted((data / "esc10" / "audio").glob("*.ogg"))[begin:end]
    windows = np.empty((len(paths), 144_000), np.float32)
    for window, path in zip(windows, paths, strict=True):
        samples, rate_hz = soundfile.read(path, dtype="float32", frames=132_300)
        assert (rate_hz, samples.shape) == (44_100, (132_300,))
        window[:] = soxr.resample(samples, rate_hz, 48_000, quality="HQ")
    return paths, windows


@pytest.mark.data
def test_the_layer_before_the_last_of_a_recording(spec, networks, content, data):
    [path], windows = recordings(data, 0, 1)
    features = compute_features([clip_waveform(str(path), spec)[0]], spec, networks)
    expected = by_interpreter(windows, content, spec.network_output, batch=1)
    assert features.shape == expected.shape == (1, 1024)
    assert expected.max() > 0.5
    np.testing.assert_allclose(features, expected, atol=1e-4)


@pytest.mark.data
def test_every_batch_is_the_interpreter_to_the_bit(spec, networks, content, data):
    """On the network's own output, for which the interpreter needs not keep its other tensors."""
    spec = FeatureSpec.from_dict({**spec.to_dict(), "network_output": None, "embedding_size": 6_522})
    paths, windows = recordings(data, 1, 8)
    waveforms = np.stack([clip_waveform(str(path), spec)[0] for path in paths])
    together = compute_features(waveforms, spec, networks)
    assert together.tobytes() == by_interpreter(windows, content).tobytes()
    assert in_batches(waveforms, 2, spec, networks).tobytes() == together.tobytes()
    assert compute_features(waveforms[[5]], spec, networks)[0].tobytes() == together[5].tobytes()
    alone = by_interpreter(windows[:2], content, batch=1)
    print(f"largest distance from a batch of one window: {np.abs(together[:2] - alone).max():.3g}")
    np.testing.assert_allclose(together[:2], alone, atol=1e-2)


def test_it_is_checked_before_a_run(spec, content):
    check_network(content, spec)


# Basic Pitch's network: windows of 43,844 samples at 22,050 Hz, and of its three outputs the notes, 172 frames of 88.
NOTES = {"nmp.tflite": "note", "nmp.onnx": "StatefulPartitionedCall:1", "nmp": "note"}


def notes(birdnet, folder, name):
    """Its values for three clips together and one by one."""
    network = read_network_file(birdnet / name)
    spec = FeatureSpec(
        front_end="embedding", sample_rate_hz=22_050, clip_seconds=2.5, window_samples=43_844, hop_samples=20_000,
        network_sha256=network.sha256, network_format=network.format, network_output=NOTES[name],
        embedding_size=172 * 88,
    )  # fmt: skip
    check_network(network.content, spec)
    (folder / str(spec.network_name)).write_bytes(network.content)
    clips = np.stack([noise(55_125, seed) for seed in range(3)])
    together = compute_features(clips, spec, folder)
    assert together.shape == (3, 2, 172 * 88)
    assert in_batches(clips, 1, spec, folder).tobytes() == together.tobytes()
    return together


def test_two_runtimes_give_the_same_of_one_network(birdnet, tmp_path):
    expected = notes(birdnet, tmp_path, "nmp.tflite")
    assert expected.max() > 0.05
    np.testing.assert_allclose(notes(birdnet, tmp_path, "nmp.onnx"), expected, atol=1e-4)


@pytest.mark.trial
def test_tensorflow_gives_what_litert_does(birdnet, tmp_path):
    expected = notes(birdnet, tmp_path, "nmp.tflite")
    np.testing.assert_allclose(notes(birdnet, tmp_path, "nmp"), expected, atol=1e-4)
