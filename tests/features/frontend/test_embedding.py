"""Networks as front ends: values against plain loops of the interpreter, whatever batch a clip comes in."""

import hashlib
import multiprocessing
import threading

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from features.errors import UsageError
from features.frontend import embedding
from features.frontend.embedding import EMBEDDING_BATCH_WINDOWS, check_network
from features.frontend.spectrogram import FrontEnd, block_clips, compute_features
from tests.features.examples import changed
from tests.features.frontend.interpreter import by_interpreter, in_batches
from tests.features.networks.small import (
    HIDDEN,
    HIDDEN_OUTPUT,
    RATE_HZ,
    SAMPLES,
    SIZE,
    small_features,
    small_network,
    small_spec,
    write_small_network,
)
from tests.signals import noise

SPEC = small_spec()
CLIP = SPEC.clip_samples


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    write_small_network(folder / SPEC.network_name)
    return folder


@pytest.fixture
def nothing_read(monkeypatch):
    """A process that has read no network."""
    monkeypatch.setattr(embedding, "_pools", {})


def clips(number: int, samples: int = CLIP) -> np.ndarray:
    return np.stack([noise(samples, seed) for seed in range(number)])


@pytest.mark.parametrize("pool", ["mean", "max", None])
@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
def test_values_are_the_same_to_the_bit_in_every_batch(networks, pool, storage_dtype):
    spec = small_spec(pool=pool, storage_dtype=storage_dtype)
    waveforms = clips(64)
    alone = in_batches(waveforms, 1, spec, networks)
    assert (alone.shape, alone.dtype) == ((64, *spec.shape), storage_dtype)
    for size in (2, 7, 64):
        assert in_batches(waveforms, size, spec, networks).tobytes() == alone.tobytes(), size
    backwards = compute_features(waveforms[::-1], spec, networks)[::-1]
    assert backwards.tobytes() == alone.tobytes()


def test_values_are_the_interpreters(networks):
    spec = small_spec(clip_seconds=SAMPLES / RATE_HZ, pool=None)
    waveforms = clips(9, SAMPLES)
    assert spec.shape == (1, SIZE)
    assert EMBEDDING_BATCH_WINDOWS == 4
    expected = by_interpreter(waveforms, small_network())
    assert compute_features(waveforms, spec, networks)[:, 0].tobytes() == expected.tobytes()
    inner = small_spec(clip_seconds=SAMPLES / RATE_HZ, pool=None, network_output=HIDDEN_OUTPUT, embedding_size=HIDDEN)
    expected = by_interpreter(waveforms, small_network(), HIDDEN_OUTPUT)
    np.testing.assert_allclose(compute_features(waveforms, inner, networks)[:, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hop", [SAMPLES // 2, SAMPLES, 2 * SAMPLES])
@pytest.mark.parametrize(
    "samples", [1, SAMPLES - 1, SAMPLES, SAMPLES + 1, 2 * SAMPLES - 1, 2 * SAMPLES, 2 * SAMPLES + 1, 5 * SAMPLES + 3]
)
def test_windows_of_a_clip(networks, samples, hop):
    spec = small_spec(clip_seconds=samples / RATE_HZ, hop_samples=hop, pool=None)
    waveforms = clips(3, samples)
    begins = [0]
    while begins[-1] + SAMPLES < samples and begins[-1] + hop < samples:
        begins.append(begins[-1] + hop)
    padded = np.pad(waveforms, ((0, 0), (0, SAMPLES)))
    windows = np.concatenate([[clip[begin : begin + SAMPLES] for begin in begins] for clip in padded])
    features = compute_features(waveforms, spec, networks)
    assert features.shape == (3, len(begins), SIZE)
    assert features.tobytes() == by_interpreter(windows, small_network()).tobytes()
    if hop <= SAMPLES:
        np.testing.assert_allclose(features[0], small_features(waveforms[0], hop), rtol=1e-4, atol=1e-5)
    mean, most = (compute_features(waveforms, changed(spec, pool=pool), networks) for pool in ("mean", "max"))
    np.testing.assert_allclose(mean, features.mean(axis=1, dtype=np.float64), rtol=1e-6)
    np.testing.assert_array_equal(most, features.max(axis=1))


def test_clips_of_any_length(networks):
    spec = small_spec(clip_seconds=None)
    waveforms = [noise(samples, samples) for samples in (1, 799, 800, 801, 5000, 20_000)]
    together = compute_features(waveforms, spec, networks)
    for waveform, values in zip(waveforms, together, strict=True):
        assert compute_features([waveform], spec, networks)[0].tobytes() == values.tobytes()
        np.testing.assert_allclose(values, small_features(waveform).mean(axis=0), rtol=1e-4, atol=1e-5)
    assert block_clips(spec) == 1
    assert block_clips(SPEC) == 8
    assert compute_features([], spec, networks).shape == (0, SIZE)


def test_samples_are_scaled_for_the_network(networks):
    waveforms = clips(3)
    scaled = compute_features(waveforms, small_spec(input_scale=32_768), networks)
    assert scaled.tobytes() == compute_features(waveforms * np.float32(32_768), SPEC, networks).tobytes()
    assert np.abs(scaled).max() > 1000 * np.abs(compute_features(waveforms, SPEC, networks)).max()


def test_what_is_not_finite_stays_with_its_clip(networks):
    waveforms = clips(3)
    expected = compute_features(waveforms, SPEC, networks)
    loud = waveforms.copy()
    loud[1, 5] = 3e38
    features = compute_features(loud, small_spec(input_scale=100), networks)
    assert not np.isfinite(features[1]).any()
    assert np.isfinite(features[[0, 2]]).all()
    assert compute_features(loud, SPEC, networks)[[0, 2]].tobytes() == expected[[0, 2]].tobytes()


@pytest.mark.parametrize("shape", [(2, CLIP - 1), (2, CLIP + 1), (2, 0), (2, CLIP, 1)])
def test_other_shapes_are_named(networks, shape):
    with pytest.raises(ValueError, match=rf"waveforms have shape \(clips, {CLIP}\), not "):
        compute_features(np.zeros(shape, np.float32), SPEC, networks)
    with pytest.raises(ValueError, match="1 or more"):
        compute_features(np.zeros((1, 0), np.float32), small_spec(clip_seconds=None), networks)


def test_threads_compute_the_same(networks):
    waveforms = clips(40)
    expected = compute_features(waveforms, SPEC, networks).tobytes()
    results: list[bytes] = []

    def compute() -> None:
        results.extend(compute_features(waveforms, SPEC, networks).tobytes() for _ in range(5))

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 15


def test_a_process_reads_a_network_once(nothing_read, tmp_path):
    file = write_small_network(tmp_path / SPEC.network_name)
    first = FrontEnd(SPEC, tmp_path)
    file.unlink()
    second, values = FrontEnd(changed(SPEC, pool="max")), np.empty((1, SIZE), np.float32)
    for front_end in (first, second):
        front_end.compute(clips(1), values)
    np.testing.assert_allclose(values[0], small_features(clips(1)[0]).max(axis=0), rtol=1e-4, atol=1e-5)


def test_a_network_that_is_missing_or_damaged_is_named(nothing_read, tmp_path):
    with pytest.raises(UsageError, match=f"the network {SPEC.network_name}, and no folder was given"):
        FrontEnd(SPEC)
    with pytest.raises(UsageError, match=f"{SPEC.network_name}: the file of the network is missing; put a whole copy"):
        FrontEnd(SPEC, tmp_path)
    (tmp_path / SPEC.network_name).write_bytes(small_network()[:-1])
    with pytest.raises(
        UsageError, match=f"{SPEC.network_name}: the file of the network is damaged: its .* bytes have the sha256"
    ):
        FrontEnd(SPEC, tmp_path)
    write_small_network(tmp_path / SPEC.network_name)
    FrontEnd(SPEC, tmp_path)


def louder_than_none() -> bytes:
    """A network that takes the loudest of a whole batch from each sample, as decibels below a maximum do."""
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(np.array([0], np.int32).tobytes(), np.uint8)
    shapes = {"samples": [1, SAMPLES], "axis": [1], "loudest": [1, SAMPLES], "below": [1, SAMPLES]}
    graph = schema.SubGraphT()
    graph.tensors = []
    for name, shape in shapes.items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, shape
        tensor.shapeSignature = [-1, SAMPLES] if name in ("samples", "below") else shape
        tensor.type = schema.TensorType.INT32 if name == "axis" else schema.TensorType.FLOAT32
        tensor.buffer = 1 if name == "axis" else 0
        graph.tensors.append(tensor)
    model.operatorCodes, graph.operators = [], []
    reducer, difference = schema.ReducerOptionsT(), schema.SubOptionsT()
    reducer.keepDims = True
    for name, inputs, output, options in (
        ("REDUCE_MAX", [0, 1], 2, ("ReducerOptions", reducer)),
        ("SUB", [0, 2], 3, ("SubOptions", difference)),
    ):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        operator.opcodeIndex, operator.inputs, operator.outputs = len(graph.operators), inputs, [output]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
        operator.builtinOptions = options[1]
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [3]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def of_nan() -> bytes:
    """The small network with a weight of its last layer that is not a number."""
    content = bytearray(small_network())
    model = schema.Model.GetRootAs(content)
    vector = model.Buffers(2)
    place = vector._tab.Vector(vector._tab.Offset(4))
    content[place : place + 4] = np.float32(np.nan).tobytes()
    for number in range(SIZE):
        at = place + 4 * HIDDEN * number
        content[at : at + 4] = np.float32(np.nan).tobytes()
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (small_network(), {"window_samples": 900}, "windows of 800 samples, but the spec says window_samples=900"),
        (small_network(), {"embedding_size": 7}, "gives 6 values a window, but the spec says embedding_size=7"),
        (small_network(), {"network_output": "nothing"}, "nothing"),
        (small_network()[:300], {}, "network"),
        (b"not a network at all", {}, "network"),
        (of_nan(), {}, "gives no finite number, for silence and for noise"),
        (louder_than_none(), {"embedding_size": SAMPLES}, "other values beside other windows"),
    ],
    ids=["window", "size", "output", "cut off", "text", "not a number", "batch"],
)  # fmt: skip
def test_a_network_that_cannot_be_a_front_end_is_refused_in_one_line(content, fields, message):
    spec = small_spec(network_sha256=hashlib.sha256(content).hexdigest(), **fields)
    with pytest.raises(UsageError, match=message) as error:
        check_network(content, spec)
    assert "\n" not in str(error.value)


def test_a_network_that_can_be_one_passes():
    check_network(small_network(), SPEC)
    check_network(small_network(), small_spec(network_output=HIDDEN_OUTPUT, embedding_size=HIDDEN, input_scale=32_768))


def test_a_process_that_was_forked_while_another_thread_reads_a_network_can_read_its_own(networks):
    process = multiprocessing.get_context("fork").Process(target=compute_features, args=(clips(1), SPEC, networks))
    with embedding._pools_lock:
        process.start()
    process.join(20)
    process.kill()
    assert process.exitcode == 0
