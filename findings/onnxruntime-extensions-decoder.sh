#!/usr/bin/env bash
# Expected: `AudioDecoder` of onnxruntime-extensions, which makes a file's bytes the input of an ONNX graph (Whisper with its front end inside is exported
# so), gives the samples that libsndfile gives, and with `downsampling_rate=16000` what a resampler of Python gives.
# Seen (onnxruntime-extensions 0.15.2, onnxruntime 1.32.0, soundfile 0.14.0, soxr 1.1.0, Python 3.11.7, Linux x86-64):
# - From 44,100 Hz to 16,000 Hz next to nothing keeps out what lies above 8 kHz: a tone of 8.4 kHz comes back at 7.6 kHz 4 dB below its
#   level, one of 10 kHz at 6 kHz 11 dB below, one of 12 kHz at 4 kHz 20 dB below; soxr's are 100 dB below and more. 7 kHz loses 1 dB.
#   Two seconds are 32,001 samples.
# - A click at 1 s of an MP3 lies 2,257 samples later (51 ms): the delay of encoder and decoder, which the file names, stays in, and there are
#   2,808 samples more than the clip has. FLAC and WAV of 16 and 24 bits and of floats are exact.
# - Of stereo, unless `stereo_to_mono=1`, left and right come interleaved in one row, as a mono sound of twice the length.
# Who meets it: whoever checks such a graph on 16 kHz WAV, where all is exact, and ships it for recordings of a telephone or a field recorder.
# Way out: decode and resample outside the graph, or let in nothing but files of the network's own rate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
  onnxruntime-extensions==0.15.2 onnxruntime==1.32.0 onnx==1.23.2 soundfile==0.14.0 soxr==1.1.0 numpy==2.4.6
HOME=$folder ORT_DISABLE_TELEMETRY=1 "$folder/env/bin/python" - <<'PYTHON'
import io
import platform
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
import onnxruntime_extensions
import soundfile as sf
import soxr
from onnx import TensorProto, helper

RATE_HZ, WANTED_HZ = 44_100, 16_000
TIMES = np.arange(2 * RATE_HZ) / RATE_HZ


def decoded(samples, kind="WAV", subtype="PCM_16", **attributes):
    """Writes a file, and returns what the operator makes of its bytes: (samples,)."""
    file = io.BytesIO()
    sf.write(file, samples, RATE_HZ, format=kind, subtype=subtype)
    node = helper.make_node("AudioDecoder", ["content"], ["samples"], domain="ai.onnx.contrib", **attributes)
    graph = helper.make_graph(
        [node],
        "decoder",
        [helper.make_tensor_value_info("content", TensorProto.UINT8, [None])],
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, None)],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [result] = session.run(None, {"content": np.frombuffer(file.getvalue(), np.uint8)})
    assert result.shape[0] == 1, result.shape
    return result[0]


def tone(hz):
    return 0.5 * np.sin(2 * np.pi * hz * TIMES)


def level_db(samples, hz):
    """Of a tone at WANTED_HZ, against that of `tone`, without the ends."""
    window = np.hanning(24_000)
    turns = np.exp(-2j * np.pi * hz * np.arange(24_000) / WANTED_HZ)
    return 20 * np.log10(abs((samples[4_000:28_000] * window) @ turns) * 4 / window.sum() + 1e-12)


packages = ("onnxruntime-extensions", "onnxruntime", "soundfile", "soxr", "numpy")
print(", ".join(f"{name} {version(name)}" for name in packages) + f", Python {platform.python_version()}")
as_described = True
for hz, expected in ((1_000, -0.1), (7_000, -1.1), (8_400, -4.3), (10_000, -10.8), (12_000, -20.4)):
    back = min(hz, WANTED_HZ - hz)
    samples = decoded(tone(hz), subtype="FLOAT", downsampling_rate=WANTED_HZ)
    theirs, ours = level_db(samples, back), level_db(soxr.resample(tone(hz), RATE_HZ, WANTED_HZ), back)
    print(f"{hz} Hz at {RATE_HZ} Hz is at {WANTED_HZ} Hz {theirs:.1f} dB at {back} Hz, by soxr {ours:.1f} dB; {len(samples)} samples")
    as_described &= abs(theirs - expected) < 0.3 and len(samples) == 32_001
    as_described &= abs(ours) < 0.1 if hz < 8_000 else ours < -100
click = np.zeros(2 * RATE_HZ)
click[RATE_HZ] = 0.9
for kind, subtype, more, late in (
    ("WAV", "PCM_16", 0, 0), ("WAV", "PCM_24", 0, 0), ("WAV", "FLOAT", 0, 0), ("FLAC", "PCM_16", 0, 0), ("MP3", "MPEG_LAYER_III", 2_808, 2_257),
):  # fmt: skip
    samples = decoded(click, kind, subtype)
    seen = len(samples) - len(click), int(np.argmax(np.abs(samples))) - RATE_HZ
    print(f"{kind} {subtype}: {seen[0]:+} samples, click {seen[1]:+} samples ({1e3 * seen[1] / RATE_HZ:+.0f} ms)")
    as_described &= seen == (more, late)
stereo = np.stack([tone(1_000), 0 * TIMES], axis=1)
plain, mean = decoded(stereo), decoded(stereo, stereo_to_mono=1)
print(f"stereo, {len(stereo)} frames: {len(plain)} samples in one row, with stereo_to_mono {len(mean)}")
as_described &= len(plain) == 2 * len(stereo) and not plain[1::2].any() and len(mean) == len(stereo)
print("as described" if as_described else "changed: this is not what was seen")
sys.exit(not as_described)
PYTHON
