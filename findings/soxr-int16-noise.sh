#!/usr/bin/env bash
# Expected: `soxr.resample` of an int16 array gives the numbers that it gives of the same array as floats, rounded; silence stays silence, and where both
# rates are the same nothing changes.
# Seen (soxr 1.1.0 and 0.5.0.post1, NumPy 2.4.6, Python 3.11.7, Linux x86-64): noise of one bit is added to int16. Of zeros about a quarter come
# back as 1 or -1 (-97 dB of full scale), from any rate to any, from 16,000 Hz to 16,000 Hz too, in `ResampleStream` as well. A third of the samples
# of a tone differ from the rounded ones. float32, float64 and int32 are resampled without. It is the same noise in every call, so all
# silent clips become one and the same clip.
# Who meets it: whoever keeps sound as int16, as voice agents and readers of WAV do, and asks whether a clip is silent (`samples.any()`), pads with
# zeros before resampling, or takes logarithms: bands of silence that were at the floor are not. Neither README nor docstring says so.
# Where from: libsoxr dithers when it writes 16 bits, unless SOXR_NO_DITHER is set, and python-soxr does not set it (its issue 11 and pull request
# 12 are about the generator).
# Way out: resample floats, and round where 16 bits are wanted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for soxr in 1.1.0 0.5.0.post1; do
python3 -m venv --clear "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "soxr==$soxr" numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import platform
import sys
from importlib.metadata import version

import numpy as np
import soxr

print(f"soxr {version('soxr')}, numpy {np.__version__}, Python {platform.python_version()}")
as_described = True
for given, wanted in ((44_100, 16_000), (8_000, 16_000), (16_000, 16_000)):
    for kind in (np.int16, np.int32, np.float32):
        silence = soxr.resample(np.zeros(given, kind), given, wanted)
        share, largest = np.count_nonzero(silence) / len(silence), np.abs(silence).max()
        if kind == np.int16:
            level = 20 * np.log10(np.sqrt(np.mean((silence / 32_768) ** 2)) + 1e-12)
            print(f"a second of zeros, {given} to {wanted} Hz, int16: {share:.0%} are not zero, of {largest} at most, {level:.0f} dB")
        as_described &= 0.2 < share < 0.3 and largest == 1 if kind == np.int16 else share == 0
tone = np.round(3_000 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)).astype(np.int16)
whole = soxr.resample(tone, 44_100, 16_000)
floats = soxr.resample(tone.astype(np.float64), 44_100, 16_000)
differ = float(np.mean(whole != np.round(floats)))
stream = soxr.ResampleStream(44_100, 16_000, 1, dtype="int16").resample_chunk(np.zeros(44_100, np.int16), last=True)
same = np.array_equal(whole, soxr.resample(tone, 44_100, 16_000))
same_rate = float(np.mean(soxr.resample(tone, 16_000, 16_000) != tone))
print(f"a tone: {differ:.0%} of the samples differ from the rounded ones; at its own rate {same_rate:.0%} change; the same each time: {same}")
print(f"zeros through ResampleStream: {np.count_nonzero(stream) / len(stream):.0%} are not zero")
as_described &= 0.2 < differ < 0.45 and same_rate > 0.1 and same and stream.any()
print("as described" if as_described else "changed: this is not what was seen")
sys.exit(not as_described)
PYTHON
done
