#!/usr/bin/env bash
# Expected: ONNX's operator MelWeightMatrix makes the mel filters that `tf.signal.linear_to_mel_weight_matrix` and librosa (htk=True, norm=None) make
# for the same numbers: its page has the words of TensorFlow's, the same formula of the mel scale, and `upper_edge_hertz` as "the desired top edge
# of the highest frequency band". So a front end within an ONNX file can use it in the place of a matrix of 257 x 40 numbers.
# Seen (onnxruntime 1.32.0, the reference of onnx 1.23.2, which gives the same to the bit; librosa 0.11.0, Python 3.11.7):
# - The highest band ends below `upper_edge_hertz`. Of 40 bands up to 8,000 Hz it ends at 7,493 Hz, of 20 at 7,058: a tone of 7,700 Hz is in no band,
#   and bands lie lower than they should, the highest of 40 by 15 bins of an FFT of 512.
# - Edges are rounded down to bins of the FFT. Of 80 bands at an FFT of 400 (16 kHz) 26 are one bin, and five are copies of their neighbours.
# Who meets it: whoever puts the front end of a network that was trained on features of TensorFlow, librosa or torchaudio into an ONNX file by
# its own operators, and whoever converts such a file: onnx2tf 1.29.24 puts tf.signal's matrix in its place (so its source says; it was not run).
# Nothing warns; white noise differs by up to 1.2 dB in 40 bands, by up to 6.6 dB in 80, and what is near the top is gone.
# Where from: `op_mel_weight_matrix.py` of onnx, and the same in ONNX Runtime: the step is the range in mel divided by num_mel_bins + 2, where
# num_mel_bins + 2 edges have num_mel_bins + 1 steps between them; then `(dft_length + 1) * hertz // sample_rate`. The page says neither.
# Way out: the matrix as a constant of the file. An upper edge that is raised by one step is refused by ONNX Runtime where it lies above half the rate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 librosa==0.11.0 numpy==2.4.6 scipy==1.17.1
HOME=$folder ORT_DISABLE_TELEMETRY=1 "$folder/env/bin/python" - <<'PYTHON'
import platform
import sys
from importlib.metadata import version

import librosa
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

INPUTS = {
    "num_mel_bins": (TensorProto.INT64, np.int64),
    "dft_length": (TensorProto.INT64, np.int64),
    "sample_rate": (TensorProto.INT64, np.int64),
    "lower_edge_hertz": (TensorProto.FLOAT, np.float32),
    "upper_edge_hertz": (TensorProto.FLOAT, np.float32),
}
graph = helper.make_graph(
    [helper.make_node("MelWeightMatrix", list(INPUTS), ["matrix"])],
    "mel",
    [helper.make_tensor_value_info(name, kind, []) for name, (kind, _) in INPUTS.items()],
    [helper.make_tensor_value_info("matrix", TensorProto.FLOAT, None)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
reference = ReferenceEvaluator(model)


def filters(*values):
    """Returns the matrix of ONNX Runtime (bins, bands), which has to be that of the reference."""
    feeds = {name: np.array(value, kind) for (name, (_, kind)), value in zip(INPUTS.items(), values, strict=True)}
    found = session.run(None, feeds)[0]
    assert np.array_equal(found, reference.run(None, feeds)[0])
    return found


def usual(bands, length, rate, low, high):
    return librosa.filters.mel(sr=rate, n_fft=length, n_mels=bands, fmin=low, fmax=high, htk=True, norm=None).T


def end(matrix, length, rate):
    """Returns the highest bin in any band."""
    return int(np.flatnonzero(matrix.any(axis=1))[-1])


def middle(matrix):
    """Returns the centroid of the highest band, in bins."""
    return float(np.arange(len(matrix)) @ matrix[:, -1] / matrix[:, -1].sum())


def mel(hertz):
    return 2595 * np.log10(1 + hertz / 700)


def hertz(mels):
    return 700 * (10 ** (mels / 2595) - 1)


print(", ".join(f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "librosa", "numpy")), f"Python {platform.python_version()}")
as_described = True
for case, last, single, copies in (
    ((40, 512, 16_000, 0, 8_000), 239, 1, 0),
    ((20, 512, 16_000, 0, 8_000), 225, 0, 0),
    ((80, 400, 16_000, 0, 8_000), 192, 26, 5),
    ((64, 512, 16_000, 20, 8_000), 245, 9, 0),
):
    bands, length, rate, low, high = case
    matrix, ours = filters(*case), usual(*case)
    ends = hertz(mel(low) + (mel(high) - mel(low)) * (bands + 1) / (bands + 2))
    ones = int((np.count_nonzero(matrix, axis=0) == 1).sum())
    equal = sum(np.array_equal(matrix[:, i], matrix[:, i + 1]) for i in range(bands - 1))
    level = 10 * np.log10(matrix.sum(axis=0)[ours.sum(axis=0) > 0] / ours.sum(axis=0)[ours.sum(axis=0) > 0])
    print(
        f"{bands} bands, FFT of {length}: the highest ends at bin {end(matrix, length, rate)} ({ends:,.0f} Hz), librosa's at {end(ours, length, rate)}; "
        f"its middle is at {middle(matrix):.1f} instead of {middle(ours):.1f}; {ones} of one bin, {equal} like the one before; "
        f"white noise {level.min():+.1f} to {level.max():+.1f} dB"
    )
    as_described &= (end(matrix, length, rate), ones, equal) == (last, single, copies) and end(ours, length, rate) == length // 2
    as_described &= middle(ours) - middle(matrix) > 5 and np.abs(level).max() > 0.7
tone = np.zeros(257)
tone[round(7_700 / 16_000 * 512)] = 1
theirs, ours = ((tone @ make(40, 512, 16_000, 0, 8_000)).max() for make in (filters, usual))
print(f"of a tone of 7,700 Hz the largest band has {theirs:.2f}, librosa's {ours:.2f}")
as_described &= theirs == 0 and ours > 0.5
print("as described" if as_described else "changed: this is not what was seen")
sys.exit(not as_described)
PYTHON
