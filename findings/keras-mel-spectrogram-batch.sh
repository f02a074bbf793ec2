#!/usr/bin/env bash
# Expected: `keras.layers.MelSpectrogram` is a preprocessing layer of waveforms: what it gives for a clip follows from the clip.
# Seen (keras 3.15.1, tensorflow 2.21.0, Python 3.11.7, Linux x86-64): it follows from the clips beside it in the batch too. By default it
# gives decibels and cuts them off 80 dB (`top_db`) below the largest value of the whole batch. Noise of amplitude 0.001 alone goes down to
# -54 dB; in a batch with a loud tone nothing is below -38 dB, 7 of 100 values differ, by up to 17 dB. So a model with the layer inside gives
# a recording other scores for each batch size and order, and `fit` learns from values that `predict` of one clip never makes.
# Besides: under the policy `mixed_bfloat16`, which bfloat16 hardware suggests, its neighbour `STFTSpectrogram` raises ("Invalid input type"),
# while this one runs; and without scipy, which Keras does not ask pip for, it raises when it is built.
# Where from: `MelSpectrogram._dbscale` takes `max` over all axes. torchaudio (issue 994) and kapre (issue 46) had the same fault and take the
# maximum of each clip since; Keras' documentation gives the cut-off as `max(10 * log10(S)) - top_db` and says not over what.
# Way out: `power_to_db=False` and a logarithm of one's own, or a `top_db` so large that it cuts nothing off.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 scipy==1.17.1
CUDA_VISIBLE_DEVICES="" TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" - <<'PYTHON'
import platform
import sys

import keras
import numpy as np

RATE_HZ = 16_000
noise = (1e-3 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
tone = (0.9 * np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
SETTINGS = {"num_mel_bins": 40, "sampling_rate": RATE_HZ, "fft_length": 512, "sequence_stride": 160}


def decibels(*clips, **more):
    """Returns what the layer gives for the first of some clips."""
    return np.array(keras.layers.MelSpectrogram(**SETTINGS, **more)(np.stack(clips)))[0]


print("keras", keras.__version__, "Python", platform.python_version(), platform.machine())
alone, beside = decibels(noise), decibels(noise, tone)
share, largest = (alone != beside).mean(), np.abs(alone - beside).max()
print(f"alone {alone.min():.1f} dB and more, beside a tone {beside.min():.1f}; {share:.1%} differ, by up to {largest:.1f} dB")
uncut = np.abs(decibels(noise, top_db=1e6) - decibels(noise, tone, top_db=1e6)).max()
print(f"with nothing cut off they differ by {uncut:.1g} dB at most")
decibels(noise, dtype="mixed_bfloat16")
spectrum = keras.layers.STFTSpectrogram(frame_length=512, frame_step=160, fft_length=512, dtype="mixed_bfloat16")
try:
    spectrum(noise[np.newaxis, :, np.newaxis])
    refused = False
except Exception as error:
    refused = "bfloat16" in str(error)
print("STFTSpectrogram refuses mixed_bfloat16:", refused)
as_described = largest > 10 and 0.01 < share < 0.5 and uncut < 1e-3 and refused
sys.exit(0 if as_described else 1)
PYTHON
