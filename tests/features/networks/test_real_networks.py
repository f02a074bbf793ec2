"""Networks that others have trained, as their files are: BirdNET's, and basic-pitch's one for three runtimes."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from features.errors import PassingError, UsageError
from features.io.temporary import temporary_folder
from features.networks.network import NetworkRunner, open_network
from features.networks.network_file import read_network_file
from tests.conftest import wait_until
from tests.real_networks import BIRDNET

EMBEDDING = "model/GLOBAL_AVG_POOL/Mean"
PITCH_SAMPLES = 43_844
# What basic-pitch's three files call one output: how likely each of 88 notes begins at each of 172 times.
NOTES = {"nmp.tflite": "note", "nmp.onnx": "StatefulPartitionedCall:1", "nmp": "note"}


def heard(count: int, samples: int, seed: int = 0) -> np.ndarray:
    """Chords of tones in noise, which these networks hear something in."""
    generator = np.random.default_rng(seed)
    times = np.arange(samples) / 22_050
    tones = np.sin(2 * np.pi * generator.uniform(100, 2_000, (count, 3, 1)) * times).sum(axis=1)
    return (0.1 * tones + generator.normal(0, 0.01, (count, samples))).astype(np.float32)


def runner_of(path, output: str | None, batch_windows: int = 4) -> NetworkRunner:
    network = read_network_file(path)
    return open_network(network.content, network.format, output, batch_windows)


def preserved(path, tensor: str, batch: np.ndarray) -> np.ndarray:
    """What the interpreter gives of an inner tensor, all tensors preserved."""
    with warnings.catch_warnings(action="ignore"):  # that it is for debugging
        interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.resize_tensor_input(0, batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, batch)
    interpreter.invoke()
    [index] = [details["index"] for details in interpreter.get_tensor_details() if details["name"] == tensor]
    return interpreter.get_tensor(index)


@pytest.fixture(scope="module")
def embedder(birdnet) -> NetworkRunner:
    return runner_of(birdnet / BIRDNET, EMBEDDING)


# To preserve all tensors of four windows takes 8 s.
@pytest.mark.parametrize("batch_windows", [1, pytest.param(4, marks=pytest.mark.trial)])
def test_an_inner_tensor_of_birdnet_is_that_of_the_interpreter_to_the_bit(birdnet, batch_windows):
    embedder = runner_of(birdnet / BIRDNET, EMBEDDING, batch_windows)
    assert (embedder.input_samples, embedder.size) == (144_000, 1_024)
    batch = heard(batch_windows, 144_000)
    found = embedder.run(batch)
    np.testing.assert_array_equal(found, preserved(birdnet / BIRDNET, EMBEDDING, batch))
    assert (found.std(axis=1) > 0.1).all()  # it hears something


def test_a_window_of_birdnet_has_the_same_values_to_the_bit_in_each_place_and_beside_any_others(embedder):
    window, *others = heard(8, 144_000)
    expected = embedder.run(np.stack([window, *np.zeros((3, 144_000), np.float32)]))[0]
    for place in range(1, 4):
        batch = np.stack(others[place - 1 : place + 3])
        batch[place] = window
        np.testing.assert_array_equal(embedder.run(batch)[place], expected)


def test_batches_of_birdnet_are_near_what_one_window_gives(birdnet, embedder):
    batch = heard(4, 144_000, seed=1)
    alone = runner_of(birdnet / BIRDNET, EMBEDDING, batch_windows=1)
    values = np.concatenate([alone.run(batch[number : number + 1]) for number in range(4)])
    np.testing.assert_allclose(embedder.run(batch), values, atol=1e-5 * np.abs(values).max())


@pytest.mark.parametrize("name", ["StatefulPartitionedCall:1", "model_1/conv2d_3/Sigmoid;model_1/conv2d_3/Sigmoid"])
def test_one_of_several_outputs_and_an_inner_tensor_are_those_of_the_interpreter(birdnet, name):
    batch = heard(2, PITCH_SAMPLES)
    found = runner_of(birdnet / "nmp.tflite", name, 2).run(batch)
    np.testing.assert_array_equal(found, preserved(birdnet / "nmp.tflite", name, batch[..., np.newaxis]).reshape(2, -1))


@pytest.mark.trial
def test_three_runtimes_give_the_same_of_one_network(birdnet):
    batch = heard(4, PITCH_SAMPLES)
    found = {}
    for name, output in NOTES.items():
        runner = runner_of(birdnet / name, output)
        assert (runner.input_samples, runner.size) == (PITCH_SAMPLES, 172 * 88)
        found[name] = runner.run(batch)
        # The place of a window, and what is beside it, change nothing.
        np.testing.assert_array_equal(runner.run(np.stack([*batch[::-1]]))[::-1], found[name])
        if name == "nmp":
            assert not list(Path(temporary_folder()).glob("soundmill-*")), "what was unpacked is gone"
            with pytest.raises(UsageError, match=r"takes no input of shape \(4, 1\)"):
                runner._network.compute(np.zeros((4, 1), np.float32))
            np.testing.assert_array_equal(runner.run(batch), found[name])  # it goes on
            kill_process_of(runner, batch)
    assert found["nmp.tflite"].max() > 0.3  # notes are heard
    np.testing.assert_allclose(found["nmp.onnx"], found["nmp.tflite"], atol=1e-5)
    np.testing.assert_allclose(found["nmp"], found["nmp.tflite"], atol=1e-3)


def kill_process_of(runner: NetworkRunner, batch: np.ndarray) -> None:
    """A process that is killed is one error, whatever is asked of it, and leaves nothing running."""
    process = runner._network._process
    os.kill(process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(PassingError, match=r"the process that runs the SavedModel died \(SIGKILL\)"):
            runner.run(batch)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The processes that are started for SavedModels."""
    found, start = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **named: found.append(start(*given, **named)) or found[-1])
    return found


@pytest.mark.trial
def test_an_output_that_a_saved_model_lacks_is_named_and_its_process_ends(birdnet, started):
    with pytest.raises(UsageError, match=r"has no output 'embedding'; there are 'contour', 'note', 'onset'$"):
        runner_of(birdnet / "nmp", "embedding")
    [process] = started
    assert process.returncode is not None


def save_nothing(folder: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(folder))


def save_no_graph(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"no graph")


SAVED_MODELS = {
    "no graph": (save_no_graph, "cannot be loaded by TensorFlow: "),
    "no signature": (save_nothing, "must have a signature 'serving_default' or a single one, and has none"),
}


@pytest.mark.trial
@pytest.mark.parametrize("case", SAVED_MODELS)
def test_a_saved_model_that_cannot_be_run_is_one_line_and_its_process_ends(tmp_path, started, case):
    save, expected = SAVED_MODELS[case]
    save(tmp_path)
    with pytest.raises(UsageError, match=expected) as raised:
        runner_of(tmp_path, None)
    assert "\n" not in str(raised.value)
    *_, process = started  # to load TensorFlow starts others
    assert process.returncode is not None


def test_a_process_of_a_saved_model_ends_with_the_one_that_started_it(tmp_path):
    """Also before it has loaded anything, and when that one is killed."""
    code = """
import sys, subprocess
start = subprocess.Popen
def started(*given, **named):
    process = start(*given, **named)
    print(process.pid, flush=True)
    return process
subprocess.Popen = started
from features.networks.saved_model import SavedModelNetwork
SavedModelNetwork(b"", None)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        process = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not is_running(process))


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
